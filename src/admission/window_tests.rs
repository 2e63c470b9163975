use super::*;
use crate::units::Calendar;

const MINUTE: Window = Window::Rolling(Duration::from_secs(60));
const HOUR: Window = Window::Calendar(Calendar::Hour);

/// 2026-07-01T00:00:00Z.
const JULY: Moment = Moment(1_782_864_000_000_000);

fn at(seconds: u64) -> Moment {
    JULY.plus(Duration::from_secs(seconds))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ask(tally: &mut Tally, window: Window, amount: u64) -> Ask<'_> {
    Ask {
        tally,
        window,
        limit: 10,
        amount,
    }
}

fn take(tally: &mut Tally, window: Window, amount: u64, now: Moment) -> Option<Part> {
    admit(&mut [ask(tally, window, amount)], now).ok()?.pop()
}

#[test]
fn what_is_settled_counts_in_its_bucket_and_the_rest_is_free() {
    let mut tally = Tally::default();
    let part = take(&mut tally, MINUTE, 10, at(0)).unwrap();
    assert!(take(&mut tally, MINUTE, 1, at(0)).is_none());
    tally.settle(part, 4);
    assert_eq!((tally.settled(), tally.reserved()), (4, 0));
    let part = take(&mut tally, MINUTE, 6, at(30)).unwrap();
    tally.settle(part, 7);
    assert_eq!(tally.used(), 10, "never more than was reserved");
    assert!(take(&mut tally, MINUTE, 4, at(60)).is_none());
    assert!(take(&mut tally, MINUTE, 4, at(61)).is_some());
    assert!(take(&mut tally, MINUTE, 1, at(61)).is_none());
}

#[test]
fn all_is_reserved_or_nothing() {
    let (mut wide, mut narrow) = (Tally::default(), Tally::default());
    let part = take(&mut narrow, MINUTE, 8, at(0)).unwrap();
    let mut both = |amount| {
        let both = &mut [
            ask(&mut wide, HOUR, amount),
            ask(&mut narrow, MINUTE, amount),
        ];
        admit(both, at(1))
    };
    assert_eq!(both(3), Err(1));
    assert_eq!(both(11), Err(0), "of two that never fit, the first");
    assert!(both(2).is_ok());
    assert_eq!((wide.used(), narrow.used()), (2, 10));
    narrow.settle(part, 0);
    assert_eq!(narrow.used(), 2);
}

#[test]
fn a_refusal_names_the_rule_that_lasts_longest() {
    let (mut minute, mut hour) = (Tally::default(), Tally::default());
    let now = at(1_800);
    for (tally, window) in [(&mut minute, MINUTE), (&mut hour, HOUR)] {
        take(tally, window, 10, now).unwrap();
    }
    let refused = admit(
        &mut [ask(&mut minute, MINUTE, 1), ask(&mut hour, HOUR, 1)],
        now,
    );
    assert_eq!(refused, Err(1));
    let refused = admit(
        &mut [ask(&mut hour, HOUR, 1), ask(&mut minute, MINUTE, 1)],
        now,
    );
    assert_eq!(refused, Err(0));
}

#[test]
fn free_after_is_exact() {
    let mut tally = Tally::default();
    for second in [0, 20, 40] {
        let part = take(&mut tally, MINUTE, 3, at(second)).unwrap();
        tally.settle(part, 3);
    }
    let free = |amount| tally.free_after(MINUTE, 10, amount, at(45));
    assert_eq!(free(1), Some(secs(0)));
    assert_eq!(free(4), Some(secs(16)));
    assert_eq!(free(5), Some(secs(36)));
    assert_eq!(free(10), Some(secs(56)));
    assert_eq!(free(11), None);
    for (amount, after) in [(4, 16), (5, 36), (10, 56)] {
        let free = at(45).plus(secs(after));
        let mut early = tally.clone();
        assert!(take(&mut early, MINUTE, amount, Moment(free.0 - 1)).is_none());
        assert!(take(&mut early, MINUTE, amount, free).is_some());
    }
    let mut total = Tally::default();
    take(&mut total, Window::Total, 8, at(0)).unwrap();
    assert_eq!(total.free_after(Window::Total, 10, 3, at(0)), None);
    assert_eq!(total.free_after(Window::Total, 10, 2, at(0)), Some(secs(0)));
}

#[test]
fn reset_is_when_all_is_there_again() {
    let mut tally = Tally::default();
    assert_eq!(tally.reset(MINUTE, at(0)), Some(secs(0)));
    take(&mut tally, MINUTE, 1, at(5)).unwrap();
    assert_eq!(tally.reset(MINUTE, at(10)), Some(secs(56)));
    assert_eq!(Tally::default().reset(HOUR, at(60)), Some(secs(3_540)));
    assert_eq!(Tally::default().reset(Window::Total, at(0)), None);
    assert_eq!(tally.reset(Window::Total, at(0)), None);
}

#[test]
fn time_that_goes_back_opens_no_other_period() {
    for back in [1, 3_600, 7_200, 86_400] {
        let mut tally = Tally::default();
        take(&mut tally, HOUR, 10, at(86_400 + 60)).unwrap();
        let earlier = Moment(at(86_400 + 60).0 - back * 1_000_000);
        assert!(take(&mut tally, HOUR, 1, earlier).is_none(), "{back}");
        assert!(take(&mut tally, HOUR, 1, at(86_400 + 3_599)).is_none());
        assert!(take(&mut tally, HOUR, 10, at(86_400 + 3_600)).is_some());
        assert!(take(&mut tally, HOUR, 1, at(86_400 + 3_599)).is_none());
    }
}

#[test]
fn what_ends_after_its_window_changes_nothing() {
    let mut tally = Tally::default();
    let old = take(&mut tally, HOUR, 10, at(0)).unwrap();
    let new = take(&mut tally, HOUR, 7, at(3_600)).unwrap();
    tally.settle(old, 10);
    assert_eq!((tally.settled(), tally.reserved()), (0, 7));
    tally.settle(new, 7);
    assert_eq!(tally.used(), 7);
}

#[test]
fn what_the_ledger_knows_is_counted_in_any_order() {
    let mut tally = Tally::default();
    for (second, used) in [(50, 5), (10, 20), (30, 1), (50, 2)] {
        tally.record(MINUTE, used, at(second));
    }
    assert_eq!(tally.used(), 28);
    assert!(
        take(&mut tally, MINUTE, 1, at(60)).is_none(),
        "more than all"
    );
    assert!(take(&mut tally, MINUTE, 2, at(71)).is_some());
    tally.record(MINUTE, 9, at(9));
    assert_eq!(tally.used(), 10, "that was too long ago");
    tally.record(MINUTE, u64::MAX, at(60));
    tally.record(MINUTE, u64::MAX, at(62));
    assert_eq!(tally.used(), u64::MAX);
    assert_eq!(tally.left(10), 0);
}

#[test]
fn nothing_is_always_admitted() {
    let mut tally = Tally::default();
    tally.record(MINUTE, 50, at(0));
    assert!(take(&mut tally, MINUTE, 0, at(0)).is_some());
    assert!(take(&mut tally, MINUTE, 1, at(0)).is_none());
}

#[test]
fn memory_of_a_window_is_bounded() {
    let mut tally = Tally::default();
    for second in 0..1_000 {
        tally.record(MINUTE, 1, at(second));
        assert!(tally.buckets.len() <= 61);
    }
}
