//! A clock that was years ahead.

use super::*;
use crate::ledger::clock;

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn only_what_is_far_ahead_is_told() {
    assert_eq!(clock::ahead(TEN, TEN.plus(HOUR)), None);
    assert_eq!(clock::ahead(TEN.plus(HOUR), TEN), None);
    assert_eq!(clock::ahead(TEN.plus(HOUR * 2), TEN), Some(HOUR * 2));
}

#[tokio::test]
async fn what_is_dated_in_the_future_is_dated_now_and_counts() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let years = HOUR * 24 * 1_000;
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let times = [
        TEN,
        TEN.plus(years),
        TEN.plus(years + HOUR),
        TEN.plus(HOUR / 2),
    ];
    for (id, time) in (1..).zip(times) {
        ledger.begin(intent(id, time), Need::Durable).await.unwrap();
        ledger.settle(settlement(id));
    }
    ledger.flush().await.unwrap();
    let now = TEN.plus(HOUR / 4);
    let refused = reset(&file, now, Mode::Write);
    let is_locked = matches!(refused, Err(AskError::Open(OpenError::Locked { .. })));
    assert!(is_locked, "a gateway has it");
    drop(ledger);
    let expected = Reset {
        latest: TEN.plus(years + HOUR),
        entries: 3,
    };
    assert_eq!(reset(&file, now, Mode::DryRun).unwrap(), expected);
    assert_eq!(number(&file, "SELECT count(*) FROM rollups"), 3);
    assert_eq!(reset(&file, now, Mode::Write).unwrap(), expected);
    assert_eq!(number(&file, "SELECT count(*) FROM rollups"), 1);
    assert_eq!(number(&file, "SELECT sum(cost) FROM rollups"), 4 * 700);
    assert_rolled_up(&file);
    let again = reset(&file, now, Mode::Write).unwrap();
    assert_eq!((again.latest, again.entries), (now, 0));
    let (ledger, recovery) = Ledger::open(settings(&file)).unwrap();
    assert_eq!(recovery.latest, Some(now));
    drop(ledger);
    let question = Question {
        since: now,
        until: Some(now.plus(Duration::from_micros(1))),
        ..Question::default()
    };
    let reader = Reader::open(&file).unwrap();
    let row = reader.view().ask(&question).unwrap().rows.remove(0);
    assert_eq!(
        (row.requests, row.cost.0),
        (3, 2_100),
        "spent now, not never"
    );
    let missing = reset(&scratch.0.join("none"), now, Mode::Write);
    assert!(missing.is_err() && !scratch.0.join("none").exists());
}
