//! A disk that fails, and comes back.

use super::*;
use std::process::Command;

/// Ends only when `seen` is so: the writer tries again by itself.
async fn until(ledger: &Ledger, seen: impl Fn(&Health) -> bool) -> Health {
    loop {
        let health = ledger.health();
        if seen(&health) {
            return health;
        }
        tokio::task::yield_now().await;
    }
}

/// The child of the test below. Its files may not grow beyond a limit, as on a
/// full disk, until it lifts it.
#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(path) = std::env::var_os("TOLLGATE_TEST_LEDGER_FULL") else {
        return;
    };
    let (ledger, _) = Ledger::open(Settings {
        buffer: 50,
        ..settings(path)
    })
    .unwrap();
    let (mut begun, mut settled) = (Vec::new(), 0);
    // Until it is full; half of them stay open.
    let refusal = loop {
        let id = ledger.next_id();
        if let Err(refusal) = ledger.begin(intent(id, TEN), Need::Durable).await {
            break refusal;
        }
        begun.push(id);
        if id % 2 == 0 {
            ledger.settle(settlement(id));
            settled += 1;
        }
        assert!(id < 100_000, "the disk is never full");
    };
    assert!(matches!(refusal, Unavailable::Failing(_)), "{refusal}");
    until(&ledger, |health| health.failing.is_some()).await;
    // Those who are under no hard budget go on while there is room.
    let mut buffered = 0;
    loop {
        let id = ledger.next_id();
        if ledger.begin(intent(id, TEN), Need::Buffered).await.is_err() {
            break;
        }
        begun.push(id);
        buffered += 1;
    }
    assert!((1..=50).contains(&buffered), "{buffered}");
    // Whatever has begun can settle, though there is no room for another.
    for id in begun.iter().filter(|id| *id % 2 == 1) {
        ledger.settle(settlement(*id));
        settled += 1;
    }
    let again = ledger.begin(intent(900_000, TEN), Need::Durable).await;
    assert!(matches!(again, Err(Unavailable::Failing(_))), "{again:?}");
    let lifted = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid"])
        .arg(std::process::id().to_string())
        .status()
        .unwrap();
    assert!(lifted.success());
    ledger.flush().await.unwrap();
    let health = ledger.health();
    assert_eq!((health.failing, health.queued), (None, 0));
    assert!(health.errors > 0);
    let id = ledger.next_id();
    ledger.begin(intent(id, TEN), Need::Durable).await.unwrap();
    ledger.settle(settlement(id));
    // The buffered ones with even numbers are still open.
    let open = begun.len() - settled;
    assert_eq!(until(&ledger, |health| health.queued == 0).await.open, open);
    ledger.close(Duration::from_secs(10)).unwrap();
    println!("begun {} settled {}", begun.len() + 1, settled + 1);
}

#[test]
fn a_full_disk_refuses_hard_budgets_keeps_the_rest_and_is_written_when_it_has_room() {
    let scratch = Scratch::new();
    let file = scratch.file();
    // In blocks of 512 bytes. A signal would end the child; it gets the error.
    let script = "trap '' XFSZ; ulimit -S -f 1000; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::tests::disk_tests::child_on_a_full_disk"])
        .args(["--nocapture", "--test-threads=1"])
        .env("TOLLGATE_TEST_LEDGER_FULL", &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    let line = said.lines().find(|line| line.contains("begun ")).unwrap();
    let numbers: Vec<i64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert_eq!(number(&file, "SELECT count(*) FROM intents"), numbers[0]);
    assert_eq!(
        number(&file, "SELECT count(*) FROM settlements"),
        numbers[1]
    );
    assert_eq!(
        number(&file, "SELECT count(*) FROM intents WHERE id = 900000"),
        0
    );
    assert_rolled_up(&file);
}

#[tokio::test]
async fn a_file_that_is_replaced_gets_what_is_open() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    ledger.begin(intent(1, TEN), Need::Durable).await.unwrap();
    // Broken under the writer: it drops the tables that are written to.
    let broken = Connection::open(&file).unwrap();
    broken
        .execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE rollups; DROP TABLE intents;")
        .unwrap();
    drop(broken);
    let refused = ledger.begin(intent(2, TEN), Need::Durable).await;
    assert!(refused.is_err());
    ledger.settle(settlement(1));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(database::beside(&file, suffix));
    }
    ledger.flush().await.unwrap();
    assert_eq!(ledger.health().refused, 0);
    drop(ledger);
    assert_eq!(number(&file, "SELECT count(*) FROM intents"), 1);
    assert_eq!(number(&file, "SELECT sum(cost) FROM settlements"), 700);
    assert_rolled_up(&file);
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_made_anew() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    ledger.begin(intent(1, TEN), Need::Durable).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let to = scratch.0.join(format!("away{suffix}"));
        std::fs::rename(database::beside(&file, suffix), to).unwrap();
    }
    // Seen within a second or so; entries of that time are in the other file.
    until(&ledger, |health| health.errors > 0).await;
    ledger.settle(settlement(1));
    ledger.flush().await.unwrap();
    drop(ledger);
    assert_eq!(number(&file, "SELECT sum(cost) FROM settlements"), 700);
    assert_rolled_up(&file);
}

#[tokio::test]
async fn an_intent_that_the_file_refuses_is_told_so_and_forgotten() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let strict = Connection::open(&file).unwrap();
    strict
        .execute_batch(
            "CREATE TRIGGER strict BEFORE INSERT ON intents WHEN new.request_id = 'req_9' \
             BEGIN SELECT raise(ABORT, 'not that one'); END",
        )
        .unwrap();
    // All in one batch: the writer is held up until they are there.
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    ledger.queue.add(queue::Item::Read(Box::new(move |_| {
        let _ = held.recv();
    })));
    let far = TEN.plus(Duration::from_secs(86_400));
    let begin = |id, time| ledger.begin(intent(id, time), Need::Durable);
    let (first, refused, third, ()) =
        tokio::join!(begin(1, TEN), begin(9, far), begin(3, TEN), async {
            drop(go_on)
        });
    assert_eq!((first, third), (Ok(()), Ok(())));
    assert!(
        matches!(refused, Err(Unavailable::Refused(_))),
        "{refused:?}"
    );
    let health = ledger.health();
    assert_eq!((health.open, health.refused), (2, 1));
    assert_eq!(health.failing, None);
    ledger.settle(settlement(1));
    ledger.settle(settlement(3));
    ledger.flush().await.unwrap();
    assert_eq!(ledger.health().open, 0);
    drop(ledger);
    assert_eq!(number(&file, "SELECT count(*) FROM settlements"), 2);
    assert_eq!(number(&file, "SELECT settled_through FROM state"), 3);
    let latest = number(&file, "SELECT latest FROM state");
    assert_eq!(latest, i64::try_from(TEN.0).unwrap(), "it is kept nowhere");
}
