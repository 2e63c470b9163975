//! From opening to closing, and what a death in between leaves.

use super::*;
use crate::ledger::queue::Item;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

#[tokio::test]
async fn what_begins_and_settles_is_in_the_file_once() {
    let scratch = Scratch::new();
    let (ledger, recovery) = Ledger::open(settings(scratch.file())).unwrap();
    assert_eq!(recovery, Recovery::default());
    for need in [Need::Durable, Need::Buffered] {
        let id = ledger.next_id();
        ledger.begin(intent(id, TEN), need).await.unwrap();
        ledger.settle(settlement(id));
        ledger.settle(settlement(id));
        ledger.settle(settlement(id + 1_000));
    }
    ledger.flush().await.unwrap();
    let health = ledger.health();
    assert_eq!((health.queued, health.open, health.failing), (0, 0, None));
    assert_eq!(
        (health.written, health.refused),
        (4, 4),
        "twice, and unknown"
    );
    ledger.close(Duration::from_secs(10)).unwrap();
    let file = scratch.file();
    assert_eq!(number(&file, "SELECT count(*) FROM settlements"), 2);
    assert_eq!(number(&file, "SELECT sum(cost) FROM rollups"), 1_400);
    assert_eq!(number(&file, "SELECT count(*) FROM rollups"), 1);
    assert_rolled_up(&file);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let closed = ledger.begin(intent(9, TEN), Need::Durable).await;
    assert_eq!(closed, Err(Unavailable::Closed));
}

#[tokio::test]
async fn a_durable_intent_is_committed_when_it_resolves() {
    let scratch = Scratch::new();
    let (ledger, _) = Ledger::open(settings(scratch.file())).unwrap();
    let id = ledger.next_id();
    ledger.begin(intent(id, TEN), Need::Durable).await.unwrap();
    assert_eq!(number(&scratch.file(), "SELECT count(*) FROM intents"), 1);
    drop(ledger);
}

#[tokio::test]
async fn open_intents_are_settled_at_their_bound_once() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    // The second id begins last: what is settled is not told by the order.
    for id in [1, 3, 2] {
        ledger.begin(intent(id, TEN), Need::Buffered).await.unwrap();
        if id != 2 {
            ledger.settle(settlement(id));
        }
        ledger.flush().await.unwrap();
    }
    drop(ledger);
    let (ledger, recovery) = Ledger::open(settings(&file)).unwrap();
    assert_eq!(
        recovery,
        Recovery {
            recovered: 1,
            cost: MicroUsd(1_000),
            latest: Some(TEN),
        }
    );
    assert_eq!(ledger.next_id(), 4, "ids are not given twice");
    drop(ledger);
    assert_eq!(
        number(
            &file,
            "SELECT cost + prompt + completion + id FROM settlements WHERE source = 3"
        ),
        1_000 + 50 + 10 + 2
    );
    assert_eq!(number(&file, "SELECT sum(recovered) FROM rollups"), 1);
    assert_rolled_up(&file);
    let (_ledger, again) = Ledger::open(settings(&file)).unwrap();
    assert_eq!(again.recovered, 0);
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_nothing_open() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let id = ledger.next_id();
    let mut waits = Box::pin(ledger.begin(intent(id, TEN), Need::Durable));
    // Polled once, so that it has begun; then its client is gone. The writer is
    // held up until then: it may commit, but tells nobody.
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    ledger.queue.add(Item::Read(Box::new(move |_| {
        let _ = held.recv();
    })));
    let is_ready = std::future::poll_fn(|context| {
        std::task::Poll::Ready(waits.as_mut().poll(context).is_ready())
    })
    .await;
    assert!(!is_ready, "it was told before the writer could tell it");
    drop(waits);
    drop(go_on);
    ledger.flush().await.unwrap();
    assert_eq!(ledger.health().open, 0);
    drop(ledger);
    assert_eq!(number(&file, "SELECT sum(cost) FROM settlements"), 0);
}

#[tokio::test]
async fn parts_go_to_those_who_used_them_and_sum_up() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let used = Usage {
        prompt: 10,
        ..Usage::default()
    };
    let mut hedged = settlement(1);
    hedged.attempts = vec![attempt("other", used, 100), attempt("openai", used, 600)];
    let mut absurd = settlement(2);
    absurd.attempts = vec![attempt("other", used, 701)];
    for settled in [hedged, absurd] {
        let begun = intent(settled.id, TEN);
        ledger.begin(begun, Need::Durable).await.unwrap();
        ledger.settle(settled);
    }
    drop(ledger);
    let of = |name: &str, what: &str| {
        let from = "FROM rollups JOIN names ON names.id = provider";
        number(
            &file,
            &format!("SELECT sum({what}) {from} WHERE name = '{name}'"),
        )
    };
    assert_eq!((of("other", "cost"), of("openai", "cost")), (100, 1_300));
    assert_eq!((of("other", "prompt"), of("openai", "prompt")), (10, 70));
    assert_eq!((of("other", "requests"), of("openai", "requests")), (0, 2));
    assert_rolled_up(&file);
}

#[test]
fn one_gateway_writes_and_only_ledgers_of_known_versions_are_opened() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let first = Ledger::open(settings(&file)).unwrap();
    let second = Ledger::open(settings(&file)).map(drop).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }));
    let by = format!("(process {})", std::process::id());
    assert!(second.to_string().contains(&by), "{second}");
    drop(first);
    let change = |pragma: &str| Connection::open(&file).unwrap().execute_batch(pragma);
    change("PRAGMA user_version = 99").unwrap();
    let newer = Ledger::open(settings(&file)).map(drop).unwrap_err();
    assert!(
        matches!(newer, OpenError::Newer { found: 99, .. }),
        "{newer}"
    );
    change("PRAGMA user_version = 1; PRAGMA application_id = 5").unwrap();
    let foreign = Ledger::open(settings(&file)).map(drop).unwrap_err();
    assert!(matches!(foreign, OpenError::Foreign { .. }), "{foreign}");
    std::fs::write(
        &file,
        "no database at all, but long enough to look for a header",
    )
    .unwrap();
    let text = Ledger::open(settings(&file)).map(drop).unwrap_err();
    assert!(matches!(text, OpenError::Sqlite { .. }), "{text}");
}

#[tokio::test]
async fn a_ledger_in_memory_leaves_no_file() {
    let (ledger, _) = Ledger::open(settings(MEMORY)).unwrap();
    let begun = ledger.begin(intent(1, TEN), Need::Durable).await;
    assert_eq!(begun, Ok(()));
    ledger.settle(settlement(1));
    ledger.close(Duration::from_secs(10)).unwrap();
    assert!(!Path::new(MEMORY).exists() && !Path::new(":memory:.lock").exists());
}

/// The child of the test below: begins and settles until it is killed, and says
/// what was committed.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(path) = std::env::var_os("TOLLGATE_TEST_LEDGER_KILLED") else {
        return;
    };
    let (ledger, _) = Ledger::open(settings(path)).unwrap();
    loop {
        let ids: Vec<_> = (0..20).map(|_| ledger.next_id()).collect();
        for id in &ids {
            ledger.begin(intent(*id, TEN), Need::Durable).await.unwrap();
            println!("begun {id}");
        }
        // The last stays open.
        for id in &ids[1..] {
            ledger.settle(settlement(*id));
        }
        ledger.flush().await.unwrap();
        for id in &ids[1..] {
            println!("settled {id}");
        }
    }
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let mut settled = Vec::new();
    let mut begun = Vec::new();
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "ledger::tests::lifetime_tests::child_that_is_killed",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env("TOLLGATE_TEST_LEDGER_KILLED", &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another moment in each round.
        let mut left = 60 + round * 17;
        while let Some(Ok(line)) = lines.next() {
            let mut note = |word: &str, ids: &mut Vec<i64>| {
                let id: Option<i64> = line.strip_prefix(word).and_then(|id| id.parse().ok());
                ids.extend(id);
                left -= i32::from(id.is_some());
            };
            note("begun ", &mut begun);
            note("settled ", &mut settled);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
    }
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    drop(ledger);
    let connection = Connection::open(&file).unwrap();
    let mut source = connection
        .prepare("SELECT source, cost FROM settlements WHERE id = ?")
        .unwrap();
    let mut of = |id: &i64| -> (i64, i64) {
        source
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    assert!(settled.len() > 100 && begun.len() > settled.len());
    for id in &settled {
        assert_eq!(of(id), (1, 700), "{id} was acknowledged as settled");
    }
    for id in &begun {
        assert!(matches!(of(id), (1, 700) | (3, 1_000)), "{id} had begun");
    }
    assert_eq!(
        number(&file, "SELECT count(*) FROM intents"),
        number(&file, "SELECT count(*) FROM settlements"),
    );
    assert_rolled_up(&file);
}
