use super::*;
use crate::route::decide::next;

const SETTINGS: Settings = Settings {
    consecutive_failures: 3,
    error_rate: 0.5,
    min_outcomes: 20,
    open: Duration::from_secs(10),
    open_max: Duration::from_secs(60),
};

/// A breaker and a clock that is set by hand.
struct Scene {
    breaker: Arc<Breaker>,
    now: Instant,
}

impl Scene {
    fn new(settings: Settings) -> Self {
        Self {
            breaker: Arc::new(Breaker::new(settings)),
            now: Instant::now(),
        }
    }

    /// One that has just opened, for 10 s.
    fn opened() -> Self {
        let scene = Self::new(SETTINGS);
        scene.outcomes("fff");
        assert_eq!(scene.state(), State::Open);
        scene
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn admitted(&self) -> Permit {
        match self.breaker.admit(self.now) {
            Admission::Admitted(permit) => permit,
            Admission::Shut { wait, told } => panic!("shut for {wait:?}, told: {told}"),
        }
    }

    /// Seconds to wait, and whether the provider said so.
    fn shut(&self) -> (f64, bool) {
        match self.breaker.admit(self.now) {
            Admission::Admitted(_) => panic!("admitted"),
            Admission::Shut { wait, told } => (wait.as_secs_f64(), told),
        }
    }

    fn forced(&self) -> Permit {
        self.breaker.force(self.now)
    }

    fn peek(&self) -> Peek {
        self.breaker.peek(self.now)
    }

    fn state(&self) -> State {
        self.peek().state
    }

    fn fail(&self, permit: Permit) {
        permit.failed(self.now, None);
    }

    fn tell(&self, permit: Permit, seconds: u64) {
        permit.failed(self.now, Some(Duration::from_secs(seconds)));
    }

    /// One request after another: `f` fails, anything else succeeds.
    fn outcomes(&self, outcomes: &str) {
        for outcome in outcomes.chars() {
            let permit = self.admitted();
            if outcome == 'f' {
                permit.failed(self.now, None);
            } else {
                permit.succeeded(self.now);
            }
        }
    }
}

#[test]
fn new_it_is_closed_and_trusted() {
    let scene = Scene::new(SETTINGS);
    let expected = Peek {
        state: State::Closed,
        shut: None,
        is_suspect: false,
    };
    assert_eq!(scene.peek(), expected);
    assert!(!scene.admitted().is_probe());
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_counts_anew() {
    let scene = Scene::new(SETTINGS);
    scene.outcomes("ff.ff");
    assert_eq!(scene.state(), State::Closed);
    scene.outcomes("f");
    assert_eq!(scene.shut(), (10.0, false));
}

#[test]
fn a_failure_makes_it_suspect_until_the_next_success() {
    let scene = Scene::new(SETTINGS);
    scene.outcomes("f");
    assert!(scene.peek().is_suspect);
    scene.outcomes(".");
    assert!(!scene.peek().is_suspect);
}

#[test]
fn no_failures_in_a_row_is_as_one() {
    let settings = Settings {
        consecutive_failures: 0,
        ..SETTINGS
    };
    let scene = Scene::new(settings);
    scene.outcomes("....");
    assert_eq!(scene.state(), State::Closed);
    scene.outcomes("f");
    assert_eq!(scene.state(), State::Open);
}

#[test]
fn the_rate_counts_from_enough_outcomes_on() {
    let scene = Scene::new(SETTINGS);
    scene.outcomes(&".f".repeat(9));
    scene.outcomes(".");
    assert_eq!(scene.state(), State::Closed, "19 are too few");
    scene.outcomes("f");
    assert_eq!(scene.state(), State::Open, "10 of 20");
}

#[test]
fn a_rate_below_the_limit_is_fine_for_ever() {
    let scene = Scene::new(SETTINGS);
    scene.outcomes(&"..ff.".repeat(100));
    assert_eq!(scene.state(), State::Closed);
}

#[test]
fn a_rate_that_is_written_in_decimals_is_met_exactly() {
    let settings = Settings {
        error_rate: 0.1,
        min_outcomes: 30,
        ..SETTINGS
    };
    let scene = Scene::new(settings);
    scene.outcomes("f.f");
    scene.outcomes(&".".repeat(26));
    assert_eq!(scene.state(), State::Closed);
    scene.outcomes("f");
    assert_eq!(scene.state(), State::Open, "3 of 30");
}

#[test]
fn outcomes_older_than_the_history_are_forgotten() {
    let settings = Settings {
        consecutive_failures: 100,
        error_rate: 1.0,
        min_outcomes: 1000,
        ..SETTINGS
    };
    let scene = Scene::new(settings);
    scene.outcomes(".");
    scene.outcomes(&"f".repeat(63));
    assert_eq!(scene.state(), State::Closed, "one of 64 was good");
    scene.outcomes("f");
    assert_eq!(scene.state(), State::Open, "and is out of sight");
}

#[test]
fn a_success_never_opens_it() {
    let settings = Settings {
        error_rate: 0.0,
        ..SETTINGS
    };
    let scene = Scene::new(settings);
    scene.outcomes(&".".repeat(100));
    assert_eq!(scene.state(), State::Closed);
}

#[test]
fn open_it_is_shut_until_its_time_has_passed() {
    let mut scene = Scene::opened();
    scene.pass(9_999);
    assert_eq!(scene.shut(), (0.001, false));
    let left = Duration::from_millis(1);
    let expected = Peek {
        state: State::Open,
        shut: Some((left, false)),
        is_suspect: true,
    };
    assert_eq!(scene.peek(), expected);
    scene.pass(1);
    let expected = Peek {
        state: State::HalfOpen,
        shut: None,
        is_suspect: true,
    };
    assert_eq!(scene.peek(), expected);
    assert_eq!(scene.peek(), expected, "looking changes nothing");
    assert!(scene.admitted().is_probe());
}

#[test]
fn half_open_it_admits_one_probe_at_a_time() {
    let mut scene = Scene::opened();
    scene.pass(10_000);
    let probe = scene.admitted();
    assert_eq!(scene.shut(), (0.0, false));
    assert_eq!(scene.peek().shut, Some((Duration::ZERO, false)));
    assert_eq!(scene.state(), State::HalfOpen);
    drop(probe);
    assert_eq!(scene.peek().shut, None, "its place is free at once");
    let probe = scene.admitted();
    assert!(probe.is_probe());
    probe.succeeded(scene.now);
    assert_eq!(scene.state(), State::Closed);
    let both = (scene.admitted(), scene.admitted());
    assert!(!both.0.is_probe() && !both.1.is_probe());
}

#[test]
fn a_good_probe_forgets_everything() {
    let mut scene = Scene::new(SETTINGS);
    scene.outcomes(&"..ff.".repeat(10));
    scene.outcomes("fff");
    scene.pass(10_000);
    scene.outcomes(".");
    assert!(!scene.peek().is_suspect);
    // With the old history these would be more than half of the last 64.
    scene.outcomes("ff.ff.ff.ff.ff.ff.f");
    assert_eq!(scene.state(), State::Closed, "19 outcomes");
    scene.outcomes("f");
    assert_eq!(scene.shut(), (10.0, false));
}

#[test]
fn each_failed_probe_doubles_the_open_time_up_to_its_maximum() {
    let mut scene = Scene::opened();
    for expected in [10.0, 20.0, 40.0, 60.0, 60.0] {
        assert_eq!(scene.shut(), (expected, false));
        scene.pass((expected * 1000.0) as u64);
        scene.outcomes("f");
        assert_eq!(scene.state(), State::Open);
    }
    scene.pass(60_000);
    scene.outcomes(".fff");
    assert_eq!(scene.shut(), (10.0, false), "after a good probe as new");
}

#[test]
fn doubling_has_no_end_to_run_over() {
    let settings = Settings {
        open_max: Duration::MAX,
        open: Duration::from_nanos(1),
        ..SETTINGS
    };
    let mut scene = Scene::new(settings);
    scene.outcomes("fff");
    for _ in 0..40 {
        scene.now += scene.peek().shut.expect("open").0;
        scene.outcomes("f");
    }
    let longest = Duration::from_nanos(u64::from(u32::MAX));
    assert_eq!(scene.peek().shut, Some((longest, false)));
}

#[test]
fn an_open_time_beyond_its_maximum_is_the_maximum() {
    let settings = Settings {
        open: Duration::from_secs(90),
        ..SETTINGS
    };
    let scene = Scene::new(settings);
    scene.outcomes("fff");
    assert_eq!(scene.shut(), (60.0, false));
}

#[test]
fn a_retry_after_opens_at_once_for_exactly_that_long() {
    for (asked, waited) in [(1, 1.0), (300, 300.0), (600, 600.0), (86_400, 600.0)] {
        let scene = Scene::new(SETTINGS);
        scene.tell(scene.admitted(), asked);
        assert_eq!(scene.shut(), (waited, true));
    }
}

#[test]
fn a_retry_after_of_nothing_is_a_failure_like_others() {
    let scene = Scene::new(SETTINGS);
    scene.tell(scene.admitted(), 0);
    assert_eq!(scene.state(), State::Closed);
    assert!(scene.peek().is_suspect);
    scene.tell(scene.admitted(), 0);
    scene.tell(scene.admitted(), 0);
    assert_eq!(scene.shut(), (10.0, false));
}

#[test]
fn a_probe_may_be_told_too_and_counts_as_failed() {
    let mut scene = Scene::opened();
    scene.pass(10_000);
    scene.tell(scene.admitted(), 5);
    assert_eq!(scene.shut(), (5.0, true));
    scene.pass(5_000);
    scene.outcomes("f");
    assert_eq!(scene.shut(), (40.0, false));
}

#[test]
fn what_is_told_of_a_waiting_probe_is_what_shut_it() {
    let mut scene = Scene::new(SETTINGS);
    scene.tell(scene.admitted(), 5);
    scene.pass(5_000);
    let _probe = scene.admitted();
    assert_eq!(scene.shut(), (0.0, true));
}

#[test]
fn forced_while_closed_is_as_admitted() {
    let scene = Scene::new(SETTINGS);
    for _ in 0..3 {
        scene.fail(scene.forced());
    }
    assert_eq!(scene.state(), State::Open);
}

#[test]
fn a_forced_success_closes_it() {
    let scene = Scene::opened();
    let permit = scene.forced();
    assert!(!permit.is_probe());
    permit.succeeded(scene.now);
    assert_eq!(scene.state(), State::Closed);
    assert!(!scene.peek().is_suspect);
    scene.outcomes("ff");
    assert_eq!(scene.state(), State::Closed, "and the row begins anew");
}

#[test]
fn a_forced_failure_extends_nothing_unless_told_to_wait_longer() {
    let mut scene = Scene::opened();
    scene.pass(4_000);
    scene.fail(scene.forced());
    assert_eq!(scene.shut(), (6.0, false));
    scene.tell(scene.forced(), 5);
    assert_eq!(scene.shut(), (6.0, false));
    scene.tell(scene.forced(), 7);
    assert_eq!(scene.shut(), (7.0, true));
    scene.pass(7_000);
    scene.outcomes("f");
    assert_eq!(
        scene.shut(),
        (20.0, false),
        "one probe has failed, not four"
    );
}

#[test]
fn forced_takes_the_probes_place_when_it_is_free() {
    let mut scene = Scene::opened();
    scene.pass(10_000);
    let probe = scene.forced();
    assert!(probe.is_probe());
    assert_eq!(scene.shut(), (0.0, false));
    let second = scene.forced();
    assert!(!second.is_probe());
    drop(second);
    assert_eq!(scene.shut(), (0.0, false), "the place was not its to free");
    scene.fail(probe);
    assert_eq!(scene.shut(), (20.0, false));
}

#[test]
fn told_to_wait_while_a_probe_is_out_the_probe_still_decides() {
    for good in [true, false] {
        let mut scene = Scene::opened();
        scene.pass(10_000);
        let probe = scene.admitted();
        scene.tell(scene.forced(), 30);
        assert_eq!(scene.shut(), (30.0, true));
        scene.pass(1_000);
        if good {
            probe.succeeded(scene.now);
            assert_eq!(scene.state(), State::Closed);
        } else {
            scene.fail(probe);
            assert_eq!(scene.shut(), (20.0, false));
        }
    }
}

#[test]
fn late_verdicts_change_nothing() {
    let mut scene = Scene::new(SETTINGS);
    let late: Vec<Permit> = (0..3).map(|_| scene.admitted()).collect();
    scene.outcomes("fff");
    scene.pass(4_000);
    let [success, failure, told] = late.try_into().ok().expect("three");
    success.succeeded(scene.now);
    assert_eq!(scene.shut(), (6.0, false));
    scene.fail(failure);
    assert_eq!(scene.shut(), (6.0, false));
    scene.tell(told, 60);
    assert_eq!(scene.shut(), (6.0, false));
}

#[test]
fn verdicts_from_before_it_closed_do_not_count_afterwards() {
    let mut scene = Scene::new(SETTINGS);
    let late: Vec<Permit> = (0..5).map(|_| scene.admitted()).collect();
    scene.outcomes("fff");
    let forced = scene.forced();
    scene.pass(10_000);
    scene.outcomes(".");
    for permit in late.into_iter().chain([forced]) {
        scene.tell(permit, 60);
    }
    assert_eq!(scene.state(), State::Closed);
    assert!(!scene.peek().is_suspect);
}

#[test]
fn once_closed_neither_probe_nor_forced_request_has_a_say() {
    let mut scene = Scene::opened();
    let forced = scene.forced();
    scene.pass(10_000);
    let probe = scene.admitted();
    scene.forced().succeeded(scene.now);
    scene.outcomes("ff");
    forced.succeeded(scene.now);
    assert!(scene.peek().is_suspect, "the row of failures stands");
    scene.fail(probe);
    assert_eq!(scene.state(), State::Closed);
    scene.outcomes("f");
    assert_eq!(scene.shut(), (10.0, false));
}

#[test]
fn a_forced_success_from_before_the_last_failed_probe_is_late() {
    let mut scene = Scene::opened();
    let forced = scene.forced();
    scene.pass(10_000);
    scene.outcomes("f");
    forced.succeeded(scene.now);
    assert_eq!(scene.shut(), (20.0, false));
}

#[test]
fn an_old_probe_frees_nobody_elses_place() {
    let mut scene = Scene::opened();
    let forced = scene.forced();
    scene.pass(10_000);
    let old = scene.admitted();
    forced.succeeded(scene.now);
    scene.outcomes("fff");
    scene.pass(10_000);
    let _probe = scene.admitted();
    drop(old);
    assert_eq!(scene.shut(), (0.0, false));
}

#[test]
fn other_settings_change_no_state() {
    let mut scene = Scene::new(SETTINGS);
    scene.outcomes("ff");
    let strict = Settings {
        consecutive_failures: 1,
        open: Duration::from_secs(1),
        ..SETTINGS
    };
    scene.breaker.configure(strict);
    assert_eq!(scene.state(), State::Closed, "the next failure opens it");
    scene.outcomes("f");
    assert_eq!(scene.shut(), (1.0, false));
    scene.breaker.configure(SETTINGS);
    assert_eq!(scene.shut(), (1.0, false), "what has begun stays");
    scene.pass(1_000);
    scene.outcomes("f");
    assert_eq!(scene.shut(), (20.0, false));
}

#[test]
fn a_clock_that_seems_to_go_back_is_no_harm() {
    let scene = Scene::opened();
    let earlier = scene.now.checked_sub(Duration::from_secs(1));
    let peek = scene.breaker.peek(earlier.unwrap_or(scene.now));
    assert_eq!(peek.shut, Some((Duration::from_secs(10), false)));
}

#[test]
fn labels_are_the_metrics_words() {
    let labels = [State::Closed, State::Open, State::HalfOpen].map(State::label);
    assert_eq!(labels, ["closed", "open", "half_open"]);
}

/// What the closed state should do, in the plainest way.
fn should_open(settings: &Settings, outcomes: &[bool]) -> bool {
    let row = outcomes.iter().rev().take_while(|failed| **failed).count();
    let seen = &outcomes[outcomes.len().saturating_sub(64)..];
    let failures = seen.iter().filter(|failed| **failed).count();
    outcomes.last() == Some(&true)
        && (row >= settings.consecutive_failures as usize
            || seen.len() >= settings.min_outcomes as usize
                && failures as f64 / seen.len() as f64 >= settings.error_rate)
}

#[test]
fn closed_it_opens_exactly_when_the_rules_say_so() {
    for seed in 0..300 {
        let mut chance = seed;
        let settings = Settings {
            consecutive_failures: 2 + (next(&mut chance) % 8) as u32,
            error_rate: (next(&mut chance) % 101) as f64 / 100.0,
            min_outcomes: (next(&mut chance) % 65) as u32,
            ..SETTINGS
        };
        let often = 1 + next(&mut chance) % 9;
        let scene = Scene::new(settings);
        let mut outcomes = Vec::new();
        for _ in 0..300 {
            let failed = next(&mut chance).is_multiple_of(often);
            outcomes.push(failed);
            scene.outcomes(if failed { "f" } else { "." });
            let opened = scene.state() == State::Open;
            assert_eq!(opened, should_open(&settings, &outcomes), "seed {seed}");
            if opened {
                break;
            }
        }
    }
}

/// Any number of requests at once, in any order, with any outcome.
#[test]
fn in_any_order_of_things_its_promises_hold() {
    for seed in 0..200 {
        let mut chance = seed;
        let mut scene = Scene::new(SETTINGS);
        let mut held: Vec<Permit> = Vec::new();
        for _ in 0..400 {
            scene.pass(next(&mut chance) % 3_000);
            let before = scene.peek();
            match next(&mut chance) % 4 {
                0 | 1 => match scene.breaker.admit(scene.now) {
                    Admission::Admitted(permit) => {
                        assert_eq!(before.shut, None);
                        assert_eq!(permit.is_probe(), before.state == State::HalfOpen);
                        held.push(permit);
                    }
                    Admission::Shut { wait, told } => {
                        assert_eq!(before.shut, Some((wait, told)));
                        assert_ne!(before.state, State::Closed);
                    }
                },
                2 => held.push(scene.forced()),
                _ if held.is_empty() => {}
                _ => {
                    let chosen = next(&mut chance) as usize % held.len();
                    end(&scene, held.swap_remove(chosen), &mut chance);
                }
            }
            let peek = scene.peek();
            let longest = if peek.shut.is_some_and(|shut| shut.1) {
                TOLD_MAX
            } else {
                SETTINGS.open_max
            };
            assert!(peek.shut.is_none_or(|shut| shut.0 <= longest));
            let current = scene.breaker.lock().generation;
            let is_out = |p: &&Permit| p.is_probe() && p.generation == current;
            let probes = held.iter().filter(is_out).count();
            assert!(probes <= 1, "seed {seed}: {probes} probes");
            if peek.state == State::HalfOpen {
                assert_eq!(peek.shut.is_some(), probes == 1, "seed {seed}");
            }
        }
        // Whatever happened: with nobody out, time alone makes it usable again.
        held.clear();
        scene.now += TOLD_MAX;
        assert_eq!(scene.peek().shut, None);
        scene.outcomes(".");
        assert_eq!(scene.state(), State::Closed);
    }
}

/// Ends a permit by chance, and sees that a late verdict changes nothing.
fn end(scene: &Scene, permit: Permit, chance: &mut u64) {
    let before = scene.peek();
    let is_late = permit.generation != scene.breaker.lock().generation;
    match next(chance) % 5 {
        0 => drop(permit),
        1 | 2 => permit.succeeded(scene.now),
        3 => permit.failed(scene.now, None),
        _ => scene.tell(permit, next(chance) % 900),
    }
    if is_late {
        assert_eq!(scene.peek(), before);
    }
}

#[test]
fn of_many_threads_one_gets_to_probe() {
    let mut scene = Scene::opened();
    scene.pass(10_000);
    let probes: Vec<Option<Permit>> = std::thread::scope(|scope| {
        let asking = || match scene.breaker.admit(scene.now) {
            Admission::Admitted(permit) => Some(permit),
            Admission::Shut { .. } => None,
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(asking)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    assert_eq!(probes.iter().flatten().count(), 1);
}

#[test]
fn a_lock_that_was_poisoned_still_opens() {
    let scene = Scene::opened();
    let poisoning = std::panic::catch_unwind(|| {
        let _held = scene.breaker.inner.lock();
        panic!("on purpose");
    });
    assert!(poisoning.is_err() && scene.breaker.inner.is_poisoned());
    assert_eq!(scene.shut(), (10.0, false));
}

/// With tokio's clock, as the gateway uses it.
#[tokio::test(start_paused = true)]
async fn tokio_time_opens_the_way_to_a_probe() {
    let breaker = Arc::new(Breaker::new(SETTINGS));
    let now = || tokio::time::Instant::now().into_std();
    for _ in 0..3 {
        breaker.force(now()).failed(now(), None);
    }
    let Admission::Shut { wait, .. } = breaker.admit(now()) else {
        panic!("it should be open");
    };
    tokio::time::sleep(wait).await;
    let Admission::Admitted(probe) = breaker.admit(now()) else {
        panic!("it should be half open after {wait:?}");
    };
    assert!(probe.is_probe());
    probe.succeeded(now());
    assert_eq!(breaker.peek(now()).state, State::Closed);
}
