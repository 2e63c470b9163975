//! What limits count of requests, told by the hour and entry by entry.

use super::*;
use std::collections::BTreeMap;

/// For each target, or none: requests, attempts, cost.
type Sums = BTreeMap<String, [u64; 3]>;

fn told(file: &Path, fine_from: Moment, mark: Option<Mark>) -> Sums {
    let horizon = Horizon {
        windows_from: Moment(0),
        fine_from,
        grain: Duration::from_secs(1),
        mark,
    };
    let mut sums = Sums::new();
    let reader = Reader::open(file).unwrap();
    let tell = |used: Used| {
        let name = match (&used.certainty, &used.provider) {
            (Certainty::Known, None) => String::new(),
            (Certainty::Known, Some(provider)) => provider.to_string(),
            (Certainty::Presumed(of), _) => {
                let names: Vec<_> = of.iter().map(|(provider, _)| &**provider).collect();
                names.join("+")
            }
        };
        let sum = sums.entry(name).or_default();
        let of = [used.requests, used.sent, used.cost.0];
        *sum = [sum[0] + of[0], sum[1] + of[1], sum[2] + of[2]];
    };
    reader.view().used(&horizon, tell).unwrap();
    sums.retain(|_, sum| *sum != [0, 0, 0]);
    sums
}

fn served_after(id: u64, failed: &[&str]) -> Settlement {
    let mut settled = settlement(id);
    let failed = failed.iter().map(|name| attempt(name, Usage::default(), 0));
    settled.attempts = failed.chain(settled.attempts.clone()).collect();
    settled
}

fn named(id: u64, of: &[&str]) -> Intent {
    let named = of.iter();
    Intent {
        targets: named.map(|name| ((*name).into(), "m".into())).collect(),
        ..intent(id, TEN)
    }
}

#[tokio::test]
async fn attempts_and_voids_and_the_lost_are_counted_alike_however_old_they_are() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let begin = async |id, of: &[&str]| {
        assert_eq!(ledger.next_id(), id);
        ledger.begin(named(id, of), Need::Buffered).await.unwrap();
    };
    for id in 1..=3 {
        begin(id, &["openai", "b"]).await;
    }
    ledger.settle(settlement(1));
    // Tried again at the same, after another.
    ledger.settle(served_after(2, &["b", "openai"]));
    // Nothing was sent.
    ledger.release(3, "canceled");
    ledger.flush().await.unwrap();
    let candidates = "SELECT count(*) FROM candidates";
    assert_eq!(number(&file, candidates), 0, "only of those that are open");
    begin(4, &["openai", "b", "b"]).await;
    begin(5, &[]).await;
    ledger.flush().await.unwrap();
    assert_eq!(number(&file, candidates), 1);
    drop(ledger);
    let (ledger, recovery) = Ledger::open(settings(&file)).unwrap();
    assert_eq!(recovery.recovered, 2);
    let sums = |all: &[(&str, [u64; 3])]| -> Sums {
        let all = all.iter();
        all.map(|(name, sum)| ((*name).to_owned(), *sum)).collect()
    };
    let later = TEN.plus(Duration::from_secs(7_200));
    for fine in [TEN, later] {
        let mut all = told(&file, fine, None);
        // Where it is known that nobody served, the presumed without a name are
        // beside those that are no target's.
        assert_eq!(all.remove(""), Some([2, 1, 3_000]), "{fine:?}");
        let at_b = all.remove("b").unwrap_or_default();
        assert_eq!(at_b, [0, 1, 0], "{fine:?}");
        let both = ("b+openai", [0, 1, 1_000]);
        assert_eq!(all, sums(&[("openai", [2, 3, 1_400]), both]), "{fine:?}");
    }
    // What was open at the mark, or came after it, is not told.
    let id = ledger.next_id();
    ledger
        .begin(named(id, &["openai"]), Need::Buffered)
        .await
        .unwrap();
    ledger.settle(settlement(id));
    ledger.flush().await.unwrap();
    let mark = |last, open: &[u64]| {
        let open = open.to_vec();
        let told = told(&file, TEN, Some(Mark { last, open }));
        told.get("openai").copied().unwrap_or_default()
    };
    assert_eq!(mark(id, &[]), [3, 4, 2_100]);
    assert_eq!(mark(id - 1, &[]), [2, 3, 1_400]);
    assert_eq!(mark(id, &[2]), [2, 2, 1_400]);
    assert_eq!(mark(id, &[1, 2, id]), [0, 0, 0]);
}
