use super::*;
use crate::admission::{Dimension, Priority, Selector};
use crate::units::{MicroUsd, Pattern};
use std::future::Future;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// 2026-07-01T00:00:00Z.
pub(in crate::admission) const JULY: Moment = Moment(1_782_864_000_000_000);

pub(in crate::admission) fn at(seconds: u64) -> Moment {
    JULY.plus(Duration::from_secs(seconds))
}

pub(in crate::admission) fn rule(name: &str, allow: &str) -> Rule {
    Rule {
        name: name.into(),
        allowance: allow.parse().unwrap(),
        per: Vec::new(),
        on: Selector::default(),
        hard: false,
        wait: Duration::ZERO,
        depth: 0,
    }
}

fn rules(allowed: &[&str]) -> Vec<Arc<Rule>> {
    let name = |at: usize| format!("rule {at}");
    let all = allowed.iter().enumerate();
    all.map(|(at, allow)| Arc::new(rule(&name(at), allow)))
        .collect()
}

pub(in crate::admission) const SUBJECT: Subject<'_> = Subject {
    key: "app",
    team: Some("search"),
    user: Some("8473"),
    route: "fast",
    endpoint: "chat_completions",
    target: None,
};

pub(in crate::admission) fn dollars(micros: u64) -> Load {
    Load {
        requests: 1,
        cost: MicroUsd(micros),
        ..Load::default()
    }
}

fn tokens(input: u64, output: u64) -> Load {
    Load {
        requests: 1,
        input_tokens: input,
        output_tokens: output,
        ..Load::default()
    }
}

/// The outcome of what does not wait.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

fn turn() -> Turn {
    Turn {
        priority: Priority::Normal,
        until: std::time::Instant::now(),
    }
}

pub(in crate::admission) fn ask(
    limiter: &Limiter,
    rules: &[Arc<Rule>],
    subject: &Subject<'_>,
    load: &Load,
    now: Moment,
) -> Result<Hold, Refusal> {
    ready(limiter.reserve(rules, subject, Stage::Request, load, turn(), now))
}

/// Settled and reserved, and what of it is reserved.
pub(in crate::admission) fn used(
    limiter: &Limiter,
    rules: &[Arc<Rule>],
    now: Moment,
) -> (u64, u64) {
    let left = limiter.left(rules, now);
    (left[0].used, left[0].reserved)
}

#[test]
fn each_measure_counts_its_own() {
    let limiter = Limiter::new();
    let rules = rules(&[
        "5 requests / 1m",
        "100 input_tokens / 1m",
        "100 output_tokens / hour",
        "150 total_tokens / day",
        "1 usd / month",
        "2 concurrent",
    ]);
    let mut load = tokens(60, 70);
    load.cost = MicroUsd(400_000);
    let hold = ask(&limiter, &rules, &SUBJECT, &load, at(0)).unwrap();
    let seen = |limiter: &Limiter| -> Vec<u64> {
        let left = limiter.left(&rules, at(0));
        left.iter().map(|left| left.used).collect()
    };
    assert_eq!(seen(&limiter), [1, 60, 70, 130, 400_000, 1]);
    let refused = ask(&limiter, &rules, &SUBJECT, &load, at(0)).err().unwrap();
    assert_eq!(refused.measure, Measure::TotalTokens, "for longest");
    assert_eq!((refused.limit, refused.left), (150, 20));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(86_400)));
    assert_eq!(refused.why, Why::Exhausted);
    assert_eq!(seen(&limiter), [1, 60, 70, 130, 400_000, 1]);
    let mut real = tokens(61, 7);
    real.cost = MicroUsd(123);
    let charged = hold.settle(&real);
    assert_eq!((charged.input_tokens, charged.output_tokens), (60, 7));
    assert_eq!(seen(&limiter), [1, 60, 7, 67, 123, 0]);
}

#[test]
fn what_is_released_was_never_there_and_what_is_dropped_is_charged() {
    let limiter = Limiter::new();
    let rules = rules(&["10 usd", "1 concurrent", "3 requests / 1m"]);
    let hold = ask(&limiter, &rules, &SUBJECT, &dollars(7), at(0)).unwrap();
    hold.release();
    assert_eq!(used(&limiter, &rules, at(0)), (0, 0));
    assert_eq!(limiter.left(&rules, at(0))[2].used, 0);
    let hold = ask(&limiter, &rules, &SUBJECT, &dollars(7), at(0)).unwrap();
    assert_eq!(used(&limiter, &rules, at(0)), (7, 7));
    drop(hold);
    assert_eq!(used(&limiter, &rules, at(0)), (7, 0));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _hold = ask(&limiter, &rules, &SUBJECT, &dollars(5), at(0)).unwrap();
        std::panic::resume_unwind(Box::new("after it was sent"));
    }));
    assert!(panicked.is_err());
    assert_eq!(used(&limiter, &rules, at(0)), (12, 0));
    assert_eq!(limiter.left(&rules, at(0))[1].used, 0, "the place is free");
}

#[test]
fn a_hold_grows_under_all_rules_or_none() {
    let limiter = Limiter::new();
    let rules = rules(&["100 usd / hour", "20 total_tokens / hour"]);
    let mut load = tokens(5, 5);
    load.cost = MicroUsd(5);
    let mut hold = ask(&limiter, &rules, &SUBJECT, &load, at(0)).unwrap();
    hold.grow(&load, at(1)).unwrap();
    load.requests = 0;
    let refused = hold.grow(&load, at(2)).unwrap_err();
    assert_eq!(refused.measure, Measure::TotalTokens);
    assert_eq!(used(&limiter, &rules, at(2)), (10, 10));
    assert_eq!(hold.bound().cost, MicroUsd(10));
    // Grown in the next hour: charged to the hour of its admission first.
    hold.grow(&load, at(3_600)).unwrap();
    assert_eq!(used(&limiter, &rules, at(3_600)), (5, 5));
    let mut real = tokens(1, 1);
    real.cost = MicroUsd(12);
    assert_eq!(hold.settle(&real).cost, MicroUsd(12));
    assert_eq!(used(&limiter, &rules, at(3_600)), (2, 0));
}

#[test]
fn a_request_that_never_fits_is_told_so() {
    let limiter = Limiter::new();
    for (allow, amount) in [("10 usd / hour", 10_000_001), ("0 usd", 1)] {
        let rules = rules(&[allow]);
        let refused = ask(&limiter, &rules, &SUBJECT, &dollars(amount), at(0));
        let refused = refused.err().unwrap();
        assert_eq!((refused.why, refused.retry_after), (Why::TooLarge, None));
    }
    let none = rules(&["0 concurrent"]);
    let refused = ask(&limiter, &none, &SUBJECT, &dollars(0), at(0));
    assert_eq!(refused.err().unwrap().why, Why::TooLarge);
    let spent = rules(&["1 usd"]);
    let all = ask(&limiter, &spent, &SUBJECT, &dollars(1_000_000), at(0)).unwrap();
    let refused = ask(&limiter, &spent, &SUBJECT, &dollars(1), at(0));
    let refused = refused.err().unwrap();
    assert_eq!((refused.why, refused.retry_after), (Why::Exhausted, None));
    drop(all);
}

#[test]
fn standing_is_the_tightest_rules() {
    let limiter = Limiter::new();
    let rules = rules(&[
        "10 requests / 1m",
        "3 requests / hour",
        "1000 requests",
        "100 input_tokens / 1m",
        "500 total_tokens / 1m",
    ]);
    let hold = ask(&limiter, &rules, &SUBJECT, &tokens(10, 400), at(60)).unwrap();
    let standing = hold.standing();
    let requests = standing.requests.unwrap();
    assert_eq!((requests.limit, requests.remaining), (3, 2));
    assert_eq!(requests.reset, Duration::from_secs(3_540));
    let left = standing.tokens.unwrap();
    assert_eq!((left.limit, left.remaining), (100, 90));
    assert_eq!(left.reset, Duration::from_secs(61));
    let refused = ask(&limiter, &rules, &SUBJECT, &tokens(10, 400), at(60));
    let refused = refused.err().unwrap();
    assert_eq!(*refused.standing, standing, "a refusal tells it too");
    assert_eq!(Limiter::new().size(), 0);
    assert_eq!(limiter.size(), 5);
}

fn patterns(all: &[&str]) -> Vec<Pattern> {
    all.iter().map(|pattern| Pattern::new(*pattern)).collect()
}

#[test]
fn rules_count_whom_they_are_for() {
    let mut searching = rule("s", "1 requests / 1m");
    searching.on.teams = patterns(&["search", "find*"]);
    searching.on.endpoints = patterns(&["chat_*"]);
    let embeddings = Subject {
        endpoint: "embeddings",
        ..SUBJECT
    };
    let finders = Subject {
        team: Some("finders"),
        ..SUBJECT
    };
    let nobody = Subject {
        team: None,
        ..SUBJECT
    };
    assert!(searching.counts(&SUBJECT) && searching.counts(&finders));
    assert!(!searching.counts(&embeddings) && !searching.counts(&nobody));
    let mut each = rule("e", "1 requests / 1m");
    each.per = vec![Dimension::User, Dimension::Key];
    let unnamed = Subject {
        user: None,
        ..SUBJECT
    };
    assert!(each.counts(&SUBJECT) && !each.counts(&unnamed));

    let limiter = Limiter::new();
    let rules = [Arc::new(each)];
    let count = |subject| ask(&limiter, &rules, &subject, &dollars(0), at(0)).map(drop);
    let other = Subject {
        key: "other",
        ..SUBJECT
    };
    assert!(count(SUBJECT).is_ok() && count(other).is_ok());
    assert!(count(SUBJECT).is_err() && count(other).is_err());
    assert!(count(unnamed).is_ok() && count(unnamed).is_ok());
    let mut counters = limiter.counters(&rules[0], 10, at(0));
    counters.sort_by(|a, b| a.of.cmp(&b.of));
    assert_eq!(counters.len(), 2);
    assert_eq!(counters[0].of, ["8473", "app"]);
    assert_eq!((counters[1].used, counters[1].left), (1, 0));
    assert_eq!(limiter.counters(&rules[0], 1, at(0)).len(), 1);
    assert!(limiter.left(&rules, at(0)).is_empty());
}

#[test]
fn rules_of_targets_are_asked_when_one_is_chosen() {
    let limiter = Limiter::new();
    let mut provider = rule("p", "1 requests / 1m");
    provider.per = vec![Dimension::Provider];
    let mut model = rule("m", "1 requests / 1m");
    model.on.models = patterns(&["gpt-*"]);
    let rules = [Arc::new(provider), Arc::new(model)];
    let first = ask(&limiter, &rules, &SUBJECT, &dollars(0), at(0));
    assert!(first.is_ok() && limiter.size() == 0);
    let at_target = |target| {
        let subject = Subject {
            target: Some(target),
            ..SUBJECT
        };
        ready(limiter.reserve(&rules, &subject, Stage::Target, &dollars(0), turn(), at(0)))
            .map(drop)
            .map_err(|refusal| refusal.rule.to_string())
    };
    assert_eq!(at_target(("a", "gpt-5")), Ok(()));
    assert_eq!(at_target(("a", "other")), Err("p".to_owned()));
    assert_eq!(at_target(("b", "gpt-5")), Err("m".to_owned()));
    assert_eq!(at_target(("b", "other")), Ok(()));
}

#[test]
fn a_reload_changes_the_limit_and_forgets_no_use() {
    let limiter = Limiter::new();
    let small = rules(&["10 requests / hour"]);
    for _ in 0..10 {
        drop(ask(&limiter, &small, &SUBJECT, &dollars(0), at(0)).unwrap());
    }
    assert!(ask(&limiter, &small, &SUBJECT, &dollars(0), at(0)).is_err());
    let large = rules(&["12 requests / hour"]);
    drop(ask(&limiter, &large, &SUBJECT, &dollars(0), at(0)).unwrap());
    assert_eq!(limiter.left(&large, at(0))[0].left, 1);
    assert_eq!(limiter.left(&small, at(0))[0].left, 0);
    assert!(ask(&limiter, &small, &SUBJECT, &dollars(0), at(0)).is_err());
    assert_eq!(
        limiter.left(&rules(&["5 requests / hour"]), at(0))[0].used,
        11
    );
}

#[test]
fn what_the_ledger_knows_is_used_at_start() {
    let limiter = Limiter::new();
    let mut of_model = rule("model", "10 usd / day");
    of_model.per = vec![Dimension::Model];
    let mut all = rules(&["10 usd / day", "5 requests / 1m", "1 concurrent"]);
    all.push(Arc::new(of_model));
    let subject = Subject {
        target: Some(("a", "gpt-5")),
        ..SUBJECT
    };
    limiter.record(&all, &subject, &dollars(9_999_999), at(100));
    limiter.record(&all, &subject, &dollars(9_999_999), Moment(JULY.0 - 1));
    assert_eq!(used(&limiter, &all, at(200)), (9_999_999, 0));
    assert_eq!(limiter.left(&all, at(200))[1].used, 0);
    assert_eq!(limiter.counters(&all[3], 9, at(200))[0].used, 9_999_999);
    assert!(ask(&limiter, &all, &SUBJECT, &dollars(2), at(200)).is_err());
    assert!(ask(&limiter, &all, &SUBJECT, &dollars(1), at(200)).is_ok());
}

#[test]
fn what_was_under_way_when_a_process_died_counts_wherever_it_may_have_been() {
    let limiter = Limiter::new();
    let named = |name: &str, provider: &str, key: &str| {
        let mut rule = rule(name, "10 usd / day");
        rule.on.providers = vec![crate::units::Pattern::new(provider)];
        rule.on.keys = vec![crate::units::Pattern::new(key)];
        Arc::new(rule)
    };
    let all = [
        named("a", "a", "*"),
        named("b", "b", "*"),
        named("c", "*", "nobody"),
    ];
    limiter.record(&all, &SUBJECT, &dollars(7), at(100));
    // It was refused before it was anywhere.
    limiter.record(&all, &SUBJECT, &dollars(0), at(100));
    let used: Vec<u64> = limiter
        .left(&all, at(200))
        .iter()
        .map(|one| one.used)
        .collect();
    assert_eq!(used, [7, 7, 0]);
}

/// A rule named twice is locked and counted once.
#[test]
fn the_same_rule_twice_is_one() {
    let limiter = Limiter::new();
    let mut rules = rules(&["10 requests / hour"]);
    rules.push(Arc::clone(&rules[0]));
    drop(ask(&limiter, &rules, &SUBJECT, &dollars(0), at(0)).unwrap());
    assert_eq!(used(&limiter, &rules, at(0)), (1, 0));
}

/// 200 requests at once, of which each could cost all of one in ten of a budget;
/// 50 rounds. Some settle for less, at a time when all others were refused.
#[test]
fn of_two_hundred_that_race_ten_are_admitted() {
    let threads = 8;
    for round in 0..50 {
        let limiter = Limiter::new();
        let rules = rules(&["10 usd / hour", "1000 requests / 1m", "1000 concurrent"]);
        let (admitted, barrier) = (AtomicU64::new(0), Barrier::new(threads));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    barrier.wait();
                    let race = |_| ask(&limiter, &rules, &SUBJECT, &dollars(1_000_000), at(round));
                    let holds: Vec<_> = (0..200 / threads).filter_map(|n| race(n).ok()).collect();
                    admitted.fetch_add(holds.len() as u64, Ordering::Relaxed);
                    barrier.wait();
                    for hold in holds {
                        hold.settle(&dollars(900_000));
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 10, "round {round}");
        assert_eq!(used(&limiter, &rules, at(round)), (9_000_000, 0));
        assert_eq!(limiter.left(&rules, at(round))[1].used, 10);
        assert_eq!(limiter.left(&rules, at(round))[2].used, 0);
    }
}

/// Counters come and go while threads use them, each for some rules in another
/// order: nothing is lost and nobody waits for ever.
#[test]
fn threads_that_share_some_counters_lose_nothing() {
    let limiter = Limiter::with_room(2_000);
    let mut each = rule("each", "1000000 requests / 1s");
    each.per = vec![Dimension::User];
    let all = rule("all", "1000000 requests / day");
    let mut forth = vec![Arc::new(each), Arc::new(all)];
    let back: Vec<_> = forth.iter().rev().cloned().collect();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (limiter, rules) = (&limiter, if thread % 2 == 0 { &forth } else { &back });
            scope.spawn(move || {
                for n in 0..2_000 {
                    let user = (n % 700).to_string();
                    let subject = Subject {
                        user: Some(&user),
                        ..SUBJECT
                    };
                    let hold = ask(limiter, rules, &subject, &dollars(0), at(n / 10)).unwrap();
                    match n % 3 {
                        0 => drop(hold.settle(&dollars(0))),
                        1 => drop(hold),
                        _ => hold.release(),
                    }
                }
            });
        }
    });
    forth.remove(0);
    let kept = (0..2_000).filter(|n| n % 3 != 2).count() as u64;
    assert_eq!(used(&limiter, &forth, at(200)), (4 * kept, 0));
}
