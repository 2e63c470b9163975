//! What is done with entries later: budgets taken up again, other prices,
//! retention.

use super::retention::{Retention, Room};
use super::*;
use std::collections::BTreeSet;

const MINUTE: Duration = Duration::from_secs(60);

/// One entry each minute for so many minutes, from 10:00 on, with three tenths
/// of its cost for a hedge that lost.
async fn entries(file: &Path, minutes: u32) {
    let (ledger, _) = Ledger::open(settings(file)).unwrap();
    for minute in 0..minutes {
        let id = ledger.next_id();
        let begun = intent(id, TEN.plus(MINUTE * minute));
        ledger.begin(begun, Need::Durable).await.unwrap();
        let mut settled = settlement(id);
        let lost = Usage {
            prompt: 10,
            ..Usage::default()
        };
        let won = Usage {
            prompt: 30,
            ..settled.usage
        };
        settled.attempts = vec![attempt("other", lost, 210), attempt("openai", won, 490)];
        ledger.settle(settled);
    }
    drop(ledger);
}

fn all(file: &Path) -> Vec<Row> {
    let question = Question {
        by: vec![By::Provider],
        ..Question::default()
    };
    let reader = Reader::open(file).unwrap();
    reader.view().ask(&question).unwrap().rows
}

#[tokio::test]
async fn all_that_was_used_is_told_once_and_finer_the_later() {
    let scratch = Scratch::new();
    let file = scratch.file();
    entries(&file, 300).await;
    let reader = Reader::open(&file).unwrap();
    let horizon = Horizon {
        windows_from: TEN.plus(MINUTE * 70),
        fine_from: TEN.plus(MINUTE * 190),
        grain: MINUTE,
        mark: None,
    };
    let mut told = Vec::new();
    reader
        .view()
        .used(&horizon, |used| told.push(used))
        .unwrap();
    let sum = |of: fn(&Used) -> u64| told.iter().map(of).sum::<u64>();
    assert_eq!(sum(|used| used.requests), 300);
    assert_eq!(sum(|used| used.cost.0), 300 * 700);
    assert_eq!(sum(|used| used.input_tokens), 300 * 40);
    let times: BTreeSet<_> = told.iter().map(|used| used.at).collect();
    // An hour before the windows, two by the hour, two by the minute.
    assert_eq!(times.len(), 1 + 2 + 120);
    let hour = MINUTE * 60;
    let last_of = |hours: u32| TEN.plus(hour * hours).minus(Duration::from_micros(1));
    let expected = [last_of(1), last_of(2), last_of(3)];
    assert!(times.iter().take(3).eq(&expected), "{times:?}");
    let others: Vec<_> = told
        .iter()
        .filter(|used| used.provider.as_deref() == Some("other"))
        .collect();
    let of_others: u64 = others.iter().map(|used| used.cost.0).sum();
    assert_eq!(of_others, 300 * 210);
    assert!(others.iter().all(|used| used.requests == 0));
    assert_eq!(sum(|used| used.sent), 600, "an attempt at each of two");
    assert_eq!(told[0].user.as_deref(), Some("8473"));
}

#[tokio::test]
async fn a_period_at_other_prices_is_a_row_beside_each_entry() {
    let scratch = Scratch::new();
    let file = scratch.file();
    entries(&file, 130).await;
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let mut bare = settlement(ledger.next_id());
    bare.unpriced = true;
    bare.cost = MicroUsd::ZERO;
    bare.attempts[0].cost = MicroUsd::ZERO;
    bare.attempts[0].price = None;
    let begun = intent(bare.id, TEN.plus(MINUTE * 125));
    ledger.begin(begun, Need::Durable).await.unwrap();
    ledger.settle(bare);
    ledger.flush().await.unwrap();
    let mut period = Period {
        since: TEN.plus(MINUTE * 30),
        until: Some(TEN.plus(MINUTE * 127)),
        now: TEN.plus(MINUTE * 200),
        mode: Mode::DryRun,
    };
    // Beside the gateway that has it open.
    let run = |period: &Period| {
        let changes = reprice(&file, period, |attempt| {
            let price = (Arc::from("later"), MicroUsd(attempt.usage.prompt * 3));
            (attempt.provider == "openai").then_some(price)
        });
        changes.unwrap()
    };
    let before = all(&file);
    let dry = run(&period);
    assert_eq!(all(&file), before, "a dry run changes nothing");
    period.mode = Mode::Write;
    assert_eq!(run(&period), dry, "a dry run tells what would change");
    let of = |provider: &str| dry[&(provider.into(), "text-embedding-3-small".into())];
    assert_eq!((of("openai").attempts, of("openai").changed), (98, 98));
    assert_eq!((of("other").unpriced, of("other").changed), (97, 0));
    let again = run(&period);
    let key = ("openai".into(), "text-embedding-3-small".into());
    assert_eq!(again[&key].changed, 0, "once is enough");
    assert_eq!(again[&key].before, of("openai").after);
    ledger.close(Duration::from_secs(10)).unwrap();
    assert_rolled_up(&file);
    let rows = all(&file);
    let cost = |provider: &str| {
        let row = rows
            .iter()
            .find(|row| row.by[0].as_deref() == Some(provider));
        row.map(|row| (row.cost.0, row.unpriced)).unwrap()
    };
    // Thirty and three minutes are as they were, 97 are new, and the bare one.
    assert_eq!(cost("openai"), (33 * 490 + 97 * 90 + 120, 0));
    assert_eq!(cost("other"), (130 * 210, 0));
    // By single entries it is the same: from the minute that changes on.
    let question = Question {
        since: TEN.plus(MINUTE * 125),
        until: Some(TEN.plus(MINUTE * 126)),
        ..Question::default()
    };
    let reader = Reader::open(&file).unwrap();
    let row = reader.view().ask(&question).unwrap().rows.remove(0);
    assert_eq!(
        (row.requests, row.cost.0, row.unpriced),
        (2, 210 + 90 + 120, 0)
    );
    let stories = reader.view().stories("req_131").unwrap();
    assert_eq!(stories[0]["settled"]["cost_usd"], "0.000120");
    assert_eq!(stories[0]["settled"]["unpriced"], false);
    assert_eq!(stories[0]["repricings"][0]["difference_usd"], "0.000120");
    assert!(reprice(&scratch.0.join("none"), &period, |_| None).is_err());
}

#[tokio::test]
async fn what_is_old_is_deleted_and_its_sums_stay() {
    let scratch = Scratch::new();
    let file = scratch.file();
    entries(&file, 150).await;
    let before = all(&file);
    let connection = database::to_write(&file, Durability::Process).unwrap();
    let keep = |minutes: u32| Retention {
        time: Some(MINUTE * minutes),
        bytes: None,
    };
    let now = TEN.plus(MINUTE * 150);
    assert_eq!(keep(150).step(&connection, now).unwrap().entries, 0);
    assert_eq!(keep(60).step(&connection, now).unwrap().entries, 90);
    assert_eq!(keep(60).step(&connection, now).unwrap().entries, 0);
    assert_eq!(all(&file), before);
    let reader = Reader::open(&file).unwrap();
    let of = |since: u32, until: u32| {
        let question = Question {
            since: TEN.plus(MINUTE * since),
            until: Some(TEN.plus(MINUTE * until)),
            ..Question::default()
        };
        let answer = reader.view().ask(&question).unwrap();
        (answer.rows[0].requests, answer.is_widened)
    };
    assert_eq!(of(130, 140), (10, false));
    assert_eq!(
        of(61, 130),
        (60 + 10, true),
        "the hour of the edge as a whole"
    );
    let mut told = 0;
    let horizon = Horizon {
        windows_from: TEN,
        fine_from: TEN,
        grain: MINUTE,
        mark: None,
    };
    reader
        .view()
        .used(&horizon, |used| told += used.cost.0)
        .unwrap();
    assert_eq!(told, 150 * 700, "also where there are only sums");
    // The size: all goes that may, and never more.
    let small = Retention {
        time: None,
        bytes: Some(1),
    };
    let steps = [(); 2].map(|()| small.step(&connection, now).unwrap());
    assert_eq!(steps.map(|step| step.entries), [60, 0]);
    assert_eq!(steps.map(|step| step.room), [Room::Making, Room::None]);
    assert_eq!(all(&file), before);
    drop(connection);
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    assert_eq!(ledger.next_id(), 151, "no id comes again");
}

#[tokio::test]
async fn what_is_open_is_not_deleted() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    for id in 1..=3 {
        ledger.begin(intent(id, TEN), Need::Durable).await.unwrap();
        if id != 2 {
            ledger.settle(settlement(id));
        }
    }
    ledger.flush().await.unwrap();
    let connection = database::to_write(&file, Durability::Process).unwrap();
    let all = Retention {
        time: Some(Duration::ZERO),
        bytes: None,
    };
    let later = TEN.plus(MINUTE);
    assert_eq!(all.step(&connection, later).unwrap().entries, 1);
    ledger.settle(settlement(2));
    ledger.flush().await.unwrap();
    assert_eq!(all.step(&connection, later).unwrap().entries, 2);
    assert_eq!(
        retention::now(later, TEN.minus(MINUTE * 600)),
        TEN.minus(MINUTE * 540),
        "a clock that runs ahead deletes nothing"
    );
}

#[tokio::test]
async fn sums_that_take_the_whole_size_leave_the_latest_entries() {
    let scratch = Scratch::new();
    let file = scratch.file();
    entries(&file, 700).await;
    let connection = database::to_write(&file, Durability::Process).unwrap();
    // Stands for sums that have grown.
    connection
        .execute_batch("CREATE TABLE sums AS SELECT zeroblob(1048576) AS it")
        .unwrap();
    let small = Retention {
        time: None,
        bytes: Some(100 * 4 * retention::ENTRY_BYTES),
    };
    let now = TEN.plus(MINUTE * 700);
    let mut rooms = Vec::new();
    loop {
        let step = small.step(&connection, now).unwrap();
        rooms.push(step.room);
        if step.entries == 0 {
            break;
        }
    }
    assert_eq!(rooms, [Room::Making, Room::Making, Room::None]);
    let left = |what: &str| number(&file, &format!("SELECT {what} FROM intents"));
    assert_eq!((left("count(*)"), left("min(id)")), (100, 601));
    // Age deletes them all the same.
    let aged = Retention {
        time: Some(MINUTE),
        ..small
    };
    assert_eq!(aged.step(&connection, now).unwrap().entries, 99);
}

#[tokio::test]
async fn an_entry_takes_about_what_is_said() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    for _ in 0..3_000 {
        let id = ledger.next_id();
        let mut begun = intent(id, TEN);
        begun.request_id = format!("req_{id:032x}").into();
        while ledger.begin(begun.clone(), Need::Buffered).await.is_err() {
            ledger.flush().await.unwrap();
        }
        ledger.settle(settlement(id));
    }
    drop(ledger);
    let bytes = number(
        &file,
        "SELECT sum(pgsize) FROM dbstat WHERE name NOT IN \
         ('names', 'tags', 'tag_sets', 'rollups', 'state', 'folded')",
    );
    let each = u64::try_from(bytes).unwrap() / 3_000;
    println!("an entry takes {each} bytes");
    let said = retention::ENTRY_BYTES;
    assert!((said / 2..=said).contains(&each), "{each}");
}
