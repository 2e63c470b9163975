use super::*;
use proptest::prelude::*;

const DAY: u64 = 86_400_000_000;
const NOW: u64 = SET.0 + 200 * DAY;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A clock that goes with the wall clock until that is put elsewhere, looked at
/// each second from there; the times that it said.
fn after_a_jump(to: u64, seconds: u64) -> Vec<u64> {
    let mut course = Course::starting(Moment(NOW), Moment(0));
    let at = |second: u64| Moment(to + second * 1_000_000);
    (1..=seconds)
        .map(|second| course.step(secs(second), at(second)).0)
        .collect()
}

#[test]
fn a_jump_forward_is_followed_at_double_speed() {
    let times = after_a_jump(NOW + DAY, 3 * 86_400);
    assert_eq!(times[0], NOW + 2_000_000);
    assert_eq!(times[3_599], NOW + 2 * 3_600_000_000);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 2_000_000));
    // A day later it is there, and goes with it.
    assert_eq!(times[86_399], NOW + 2 * DAY);
    assert_eq!(times[86_400], NOW + 2 * DAY + 1_000_000);
}

#[test]
fn a_jump_back_is_waited_for_at_half_speed() {
    let times = after_a_jump(NOW - DAY, 3 * 86_400);
    assert_eq!(times[0], NOW + 500_000);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 500_000));
    let there = 2 * 86_400 - 1;
    assert_eq!(times[there], NOW + DAY);
    assert_eq!(times[there + 1], NOW + DAY + 1_000_000);
}

#[test]
fn it_begins_no_earlier_than_the_ledger_ends() {
    let ledger = Moment(NOW + DAY);
    let mut course = Course::starting(Moment(NOW), ledger);
    assert_eq!(course.step(secs(0), Moment(NOW)), ledger);
    let Moment(later) = course.step(secs(10), Moment(NOW + 10_000_000));
    assert_eq!(later, NOW + DAY + 5_000_000);
    let course = Course::starting(Moment(NOW), Moment(NOW - DAY));
    assert_eq!(course.now, Moment(NOW));
}

#[test]
fn a_clock_that_was_never_set_is_set_once() {
    let mut course = Course::starting(Moment(5), Moment(0));
    assert_eq!(course.step(secs(1), Moment(1_000_005)), Moment(1_000_005));
    assert_eq!(course.step(secs(2), Moment(NOW)), Moment(NOW));
    let Moment(again) = course.step(secs(3), Moment(NOW + DAY));
    assert_eq!(
        again,
        NOW + 2_000_000,
        "the second jump is one like any other"
    );

    // With a ledger that knows better, it goes on from there until then.
    let mut course = Course::starting(Moment(5), Moment(NOW));
    let Moment(first) = course.step(secs(1), Moment(1_000_005));
    assert_eq!(first, NOW + 1_000_000);
    assert_eq!(course.step(secs(2), Moment(NOW + DAY)), Moment(NOW + DAY));
    // Set to a time before the ledger's, it is waited for.
    let mut course = Course::starting(Moment(5), Moment(NOW + DAY));
    course.step(secs(1), Moment(NOW));
    let Moment(second) = course.step(secs(2), Moment(NOW + 1_000_000));
    assert_eq!(second, NOW + DAY + 1_500_000);
}

#[test]
fn time_passes_however_often_it_is_read() {
    let mut course = Course::starting(Moment(NOW), Moment(0));
    for nanos in (0..1_000_000).step_by(300) {
        let wall = Moment(NOW - DAY + nanos / 1_000);
        course.step(Duration::from_nanos(nanos), wall);
    }
    let passed = course.now.0 - NOW;
    assert!((499..=999).contains(&passed), "{passed} us of 1000");
}

#[test]
fn threads_see_no_time_go_back() {
    let clock = Clock::starting(Moment(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = Moment(0);
                for _ in 0..1_000 {
                    let now = clock.now();
                    assert!(now >= last);
                    last = now;
                }
            });
        }
    });
    let ledger = Moment::from(SystemTime::now()).plus(secs(1_000_000));
    let ahead = Clock::starting(ledger).ahead();
    assert!((900_000_000_000..=1_000_000_000_000).contains(&ahead));
}

proptest! {
    /// Whatever the wall clock does: never back, half to double the speed.
    #[test]
    fn it_is_steady(
        steps in prop::collection::vec((0..10_000_000u64, NOW - 3 * DAY..NOW + 3 * DAY), 1..50),
        latest in NOW - DAY..NOW + DAY,
    ) {
        let mut course = Course::starting(Moment(NOW), Moment(latest));
        let (mut elapsed, mut last) = (0, course.now);
        for (passed, wall) in steps {
            elapsed += passed;
            let now = course.step(Duration::from_micros(elapsed), Moment(wall));
            let gone = now.0.checked_sub(last.0);
            prop_assert!(gone.is_some_and(|gone| (passed.div_ceil(2)..=2 * passed).contains(&gone)));
            last = now;
        }
    }
}
