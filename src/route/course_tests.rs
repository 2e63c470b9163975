use super::*;
use std::collections::HashMap;

const MS: Duration = Duration::from_millis(1);
const DEADLINE: Duration = Duration::from_secs(10);

/// A world that is written down.
#[derive(Default)]
struct World {
    shut: HashMap<usize, (Duration, bool)>,
    expected: HashMap<usize, Duration>,
    usual: HashMap<usize, Duration>,
    endpoints: HashMap<usize, usize>,
    windows: HashMap<usize, u64>,
    models: HashMap<usize, &'static str>,
    budget: usize,
    asked: Vec<usize>,
    forced: Vec<usize>,
}

impl World {
    fn new() -> Self {
        Self {
            budget: 100,
            ..Self::default()
        }
    }
}

impl View for World {
    fn admit(&mut self, at: usize) -> Admit {
        match self.shut.get(&at) {
            Some((wait, told)) => Admit::Shut {
                wait: *wait,
                told: *told,
                kind: match told {
                    true => Kind::RateLimit,
                    false => Kind::Error,
                },
            },
            None => Admit::Yes,
        }
    }

    fn force(&mut self, at: usize) {
        self.forced.push(at);
    }

    fn is_ready(&self, at: usize) -> bool {
        !self.shut.contains_key(&at)
    }

    fn expected(&self, at: usize) -> Option<Duration> {
        self.expected.get(&at).copied()
    }

    /// Where only one is written down, it always needs as long.
    fn usual(&self, at: usize) -> Option<Duration> {
        let always = self.expected.get(&at);
        self.usual.get(&at).or(always).copied()
    }

    fn withdraw(&mut self, _at: usize) -> bool {
        let some = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        some
    }

    fn has_asked(&self, at: usize) -> bool {
        self.asked.contains(&at)
    }

    fn has_other_endpoint(&self, at: usize) -> bool {
        self.endpoints.get(&at).is_some_and(|n| *n > 1)
    }

    fn is_larger(&self, at: usize, than: usize) -> bool {
        match (self.windows.get(&at), self.windows.get(&than)) {
            (Some(one), Some(other)) => one > other,
            _ => !self.is_same_model(at, than),
        }
    }

    fn is_same_model(&self, at: usize, other: usize) -> bool {
        match (self.models.get(&at), self.models.get(&other)) {
            (Some(one), Some(other)) => one == other,
            _ => at == other,
        }
    }
}

fn target() -> Leg {
    Leg {
        is_target: true,
        on: Kinds::IF_LARGER,
    }
}

fn fallback(on: Kinds) -> Leg {
    Leg {
        is_target: false,
        on,
    }
}

fn usual() -> Kinds {
    Kinds::ERROR.and(Kinds::RATE_LIMIT).and(Kinds::IF_LARGER)
}

fn report(fault: Fault, retry_after: Option<Duration>) -> Report {
    Report {
        fault,
        retry_after,
        elapsed: Duration::from_secs(1),
        deadline: DEADLINE,
        chance: 123_456_789,
    }
}

fn start(course: &mut Course, world: &mut World) -> Step {
    course.next(Duration::ZERO, DEADLINE, world)
}

fn tries(at: usize, role: Role) -> Step {
    Step::Try { at, role }
}

#[test]
fn a_transient_fault_is_tried_again_after_a_short_pause_then_somebody_else() {
    let mut world = World::new();
    let mut course = Course::new([target(), target()], 1);
    assert_eq!(start(&mut course, &mut world), tries(0, Role::First));
    let Step::Wait { at: 0, pause } = course.failed(0, &report(Fault::Server, None), &mut world)
    else {
        panic!("no pause")
    };
    assert!(pause < PAUSE);
    assert_eq!(course.resumed(0), tries(0, Role::Retry));
    let step = course.failed(0, &report(Fault::Server, None), &mut world);
    assert_eq!(step, tries(1, Role::Fallback));
    assert_eq!(course.made(), 3);
}

#[test]
fn another_endpoint_is_tried_at_once() {
    let mut world = World::new();
    world.endpoints.insert(0, 2);
    let mut course = Course::new([target()], 1);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::Reset, None), &mut world);
    assert_eq!(step, tries(0, Role::Retry));
}

#[test]
fn a_silent_target_is_never_asked_twice() {
    for fault in [Fault::Silent, Fault::SlowStart, Fault::ConnectSilent] {
        let mut world = World::new();
        world.endpoints.insert(0, 2);
        let mut course = Course::new([target()], 5);
        start(&mut course, &mut world);
        let step = course.failed(0, &report(fault, None), &mut world);
        assert_eq!(step, Step::End(End::Nobody), "{fault:?}");
    }
}

#[test]
fn a_retry_needs_its_budget() {
    let mut world = World::new();
    world.budget = 0;
    let mut course = Course::new([target(), target()], 2);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::Server, None), &mut world);
    assert_eq!(step, tries(1, Role::Fallback));
}

#[test]
fn a_retry_that_cannot_be_done_in_time_is_not_begun() {
    let mut world = World::new();
    world.expected.insert(0, Duration::from_secs(9));
    let mut course = Course::new([target()], 2);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::Server, None), &mut world);
    assert_eq!(step, Step::End(End::Nobody));
}

#[test]
fn a_rate_limit_is_waited_for_only_without_somebody_better() {
    let after = Some(Duration::from_secs(3));
    let mut world = World::new();
    let mut course = Course::new([target(), target()], 1);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::RateLimited, after), &mut world);
    assert_eq!(step, tries(1, Role::Fallback));
    // The other one fails too: now the first is the best there is.
    let step = course.failed(1, &report(Fault::Silent, None), &mut world);
    assert_eq!(
        step,
        Step::Wait {
            at: 0,
            pause: Duration::from_secs(3)
        }
    );
    assert_eq!(course.resumed(0), tries(0, Role::Retry));
    let step = course.failed(0, &report(Fault::RateLimited, after), &mut world);
    assert_eq!(
        step,
        Step::End(End::Nobody),
        "asked once more, not for ever"
    );
}

#[test]
fn a_rate_limit_that_does_not_fit_is_told_at_once() {
    let mut world = World::new();
    let mut course = Course::new([target()], 1);
    start(&mut course, &mut world);
    let after = Duration::from_secs(30);
    let step = course.failed(0, &report(Fault::RateLimited, Some(after)), &mut world);
    assert_eq!(step, Step::End(End::Later(after)));
}

#[test]
fn an_error_that_says_when_to_come_back_is_waited_for_like_a_rate_limit() {
    let after = Duration::from_secs(3);
    let wait = Step::Wait {
        at: 0,
        pause: after,
    };
    for fault in [Fault::Server, Fault::Transient, Fault::Conflict] {
        let told = report(fault, Some(after));
        let mut world = World::new();
        let mut course = Course::new([target()], 1);
        start(&mut course, &mut world);
        assert_eq!(course.failed(0, &told, &mut world), wait, "{fault:?}");
        // Another one is not waited for.
        let mut course = Course::new([target(), target()], 1);
        start(&mut course, &mut world);
        let step = course.failed(0, &told, &mut world);
        assert_eq!(step, tries(1, Role::Fallback), "{fault:?}");
        // Nor is another endpoint, which has said nothing.
        world.endpoints.insert(0, 2);
        let mut course = Course::new([target()], 1);
        start(&mut course, &mut world);
        let step = course.failed(0, &told, &mut world);
        assert_eq!(step, tries(0, Role::Retry), "{fault:?}");
        // Zero asks for nothing.
        let mut world = World::new();
        let mut course = Course::new([target(), target()], 1);
        start(&mut course, &mut world);
        let step = course.failed(0, &report(fault, Some(Duration::ZERO)), &mut world);
        assert!(matches!(step, Step::Wait { at: 0, pause } if pause < PAUSE));
    }
}

#[test]
fn open_breakers_are_passed_by_and_the_last_resort_is_the_first() {
    let mut world = World::new();
    world.shut.insert(0, (Duration::from_secs(5), false));
    let mut course = Course::new([target(), fallback(usual())], 1);
    assert_eq!(start(&mut course, &mut world), tries(1, Role::First));
    world.shut.insert(1, (Duration::from_secs(5), false));
    let mut course = Course::new([target(), fallback(usual())], 1);
    assert_eq!(start(&mut course, &mut world), tries(0, Role::First));
    assert_eq!(world.forced, [0]);
    // One forced attempt, not one per candidate.
    let step = course.failed(0, &report(Fault::Silent, None), &mut world);
    assert_eq!(step, Step::End(End::Nobody));
}

#[test]
fn who_asked_to_be_left_alone_is_waited_for_or_told() {
    let mut world = World::new();
    world.shut.insert(0, (Duration::from_secs(4), true));
    let mut course = Course::new([target()], 1);
    let pause = Duration::from_secs(4);
    assert_eq!(start(&mut course, &mut world), Step::Wait { at: 0, pause });
    world.shut.insert(0, (Duration::from_secs(40), true));
    let mut course = Course::new([target()], 1);
    let after = Duration::from_secs(40);
    assert_eq!(start(&mut course, &mut world), Step::End(End::Later(after)));
    assert!(world.forced.is_empty());
}

#[test]
fn fallbacks_are_chosen_by_the_kind_of_failure() {
    let legs = || {
        [
            target(),
            fallback(Kinds::ERROR),
            fallback(Kinds::RATE_LIMIT),
            fallback(Kinds::CONTEXT_LENGTH),
            fallback(Kinds::CONTENT_POLICY),
        ]
    };
    for (fault, next) in [
        (Fault::Garbled, Some(1)),
        (Fault::Credential, Some(1)),
        (Fault::RateLimited, Some(2)),
        (Fault::Payment, Some(2)),
        (Fault::ContextLength, Some(3)),
        (Fault::ContentPolicy, Some(4)),
        (Fault::Rejected, None),
    ] {
        let mut world = World::new();
        let mut course = Course::new(legs(), 0);
        start(&mut course, &mut world);
        let step = course.failed(0, &report(fault, None), &mut world);
        match next {
            Some(at) => assert_eq!(step, tries(at, Role::Fallback), "{fault:?}"),
            None => assert_eq!(step, Step::End(End::Stop), "{fault:?}"),
        }
    }
}

#[test]
fn a_content_policy_is_not_routed_around_by_itself() {
    let mut world = World::new();
    let mut course = Course::new([target(), target(), fallback(usual())], 2);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::ContentPolicy, None), &mut world);
    assert_eq!(step, Step::End(End::Nobody));
}

#[test]
fn a_prompt_that_is_too_long_goes_to_a_larger_window_never_to_the_same_model() {
    let mut world = World::new();
    world.models = HashMap::from([(0, "m"), (1, "m"), (2, "small"), (3, "large")]);
    world.windows = HashMap::from([(0, 128), (1, 128), (2, 32), (3, 1000)]);
    let mut course = Course::new([target(), target(), target(), fallback(usual())], 2);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::ContextLength, None), &mut world);
    assert_eq!(step, tries(3, Role::Fallback));
    // What is too long stays so, whatever else goes wrong.
    let step = course.failed(3, &report(Fault::Silent, None), &mut world);
    assert_eq!(step, Step::End(End::Nobody));
}

#[test]
fn an_attempt_leaves_time_for_the_best_of_the_others() {
    let mut world = World::new();
    let course = Course::new([target(), target(), fallback(usual())], 1);
    let left = Duration::from_secs(10);
    let own = Duration::from_secs(60);
    let cut = |world: &World| course.cut_after(0, left, own, world);
    assert_eq!(cut(&world), Some(left / 2), "nothing is known of anybody");
    // What it usually needs, and an eighth of the rest.
    world.expected.insert(1, 3600 * MS);
    assert_eq!(cut(&world), Some(5600 * MS));
    world.expected.insert(2, 2000 * MS);
    assert_eq!(cut(&world), Some(7000 * MS));
    assert_eq!(
        course.cut_after(0, left, 2000 * MS, &world),
        Some(2000 * MS),
        "its own limit is shorter"
    );
    world.expected.insert(1, Duration::from_secs(11));
    world.expected.insert(2, Duration::from_secs(12));
    assert_eq!(cut(&world), None, "the others would come too late");
    // Mostly they would not.
    world.usual.insert(2, 2000 * MS);
    assert_eq!(cut(&world), Some(7000 * MS));
}

#[test]
fn the_last_candidate_is_never_cut_for_one_that_does_not_exist() {
    let mut world = World::new();
    let left = Duration::from_secs(10);
    let course = Course::new([target()], 1);
    assert_eq!(course.cut_after(0, left, MS, &world), None);
    // One that is down, or only there for another kind of failure, is nobody.
    let legs = [target(), target(), fallback(Kinds::CONTENT_POLICY)];
    let course = Course::new(legs, 1);
    world.shut.insert(1, (left, false));
    assert_eq!(course.cut_after(0, left, MS, &world), None);
}

#[test]
fn pauses_are_random_and_grow_to_a_limit() {
    for tries in 1..20 {
        let most = (PAUSE * (1 << (tries - 1).min(8))).min(LONGEST_PAUSE);
        let all: Vec<_> = (0..200_u64)
            .map(|chance| jitter(PAUSE, tries, chance.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        assert!(all.iter().all(|pause| *pause < most), "{tries}");
        assert!(all.iter().any(|pause| *pause < most / 4), "{tries}");
        assert!(all.iter().any(|pause| *pause > most / 2), "{tries}");
    }
}

#[test]
fn waiting_for_another_model_of_a_provider_that_was_asked_is_a_retry_there() {
    let mut world = World {
        budget: 0,
        asked: vec![1],
        ..World::new()
    };
    world.shut.insert(1, (Duration::from_secs(1), true));
    let mut course = Course::new([target(), target()], 0);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::Server, None), &mut world);
    assert_eq!(step, Step::End(End::Later(Duration::from_secs(1))));
}

#[test]
fn a_probe_of_who_told_when_to_come_back_is_one_at_a_time() {
    let mut world = World::new();
    world.shut.insert(1, (Duration::ZERO, true));
    let mut course = Course::new([target(), target()], 0);
    start(&mut course, &mut world);
    let step = course.failed(0, &report(Fault::Server, None), &mut world);
    assert_eq!(step, Step::End(End::Nobody));
    // Where there is nobody else, it is asked all the same.
    let mut alone = Course::new([fallback(usual()), target()], 0);
    assert_eq!(start(&mut alone, &mut world), tries(1, Role::First));
    assert_eq!(world.forced, [1]);
}

#[test]
fn who_could_not_be_asked_does_not_leave_the_last_one_unasked() {
    let mut world = World::new();
    world.shut.insert(1, (Duration::from_secs(9), false));
    let mut course = Course::new([target(), target()], 0);
    assert_eq!(start(&mut course, &mut world), tries(0, Role::First));
    course.spare(0);
    course.unusable(0);
    let step = course.next(MS, DEADLINE, &mut world);
    assert_eq!(step, tries(1, Role::First));
    assert_eq!(world.forced, [1]);
}

#[test]
fn of_two_that_were_asked_at_once_both_failures_count() {
    let mut world = World::new();
    let legs = [target(), target(), fallback(Kinds::RATE_LIMIT)];
    let mut course = Course::new(legs, 0);
    start(&mut course, &mut world);
    assert_eq!(course.hedge(0, &mut world), Some(1));
    course.lost(0, Fault::RateLimited);
    let step = course.failed(1, &report(Fault::Server, None), &mut world);
    assert_eq!(step, tries(2, Role::Fallback));
}

#[test]
fn those_who_wait_for_the_same_target_come_back_one_after_the_other() {
    let told = Duration::from_secs(2);
    let pauses: Vec<_> = (1..50_u64)
        .map(|i| {
            let mut world = World::new();
            world.shut.insert(0, (told, true));
            let chance = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut course = Course::new([target()], 1).with_chance(chance);
            match start(&mut course, &mut world) {
                Step::Wait { at: 0, pause } => pause,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let most = told + told / SPREAD;
    assert!(pauses.iter().all(|pause| (told..=most).contains(pause)));
    let (first, last) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
    assert!(*last - *first > told / SPREAD / 2, "{first:?} {last:?}");
}
