use super::*;
use crate::admission::Load;
use crate::admission::window::{self, Ask};
use std::time::Duration;

const MINUTE: Window = Window::Rolling(Duration::from_secs(60));

fn rule(name: &str, per: &[Dimension]) -> Rule {
    Rule {
        name: name.into(),
        allowance: "10 requests / 1m".parse().unwrap(),
        per: per.to_vec(),
        on: super::super::Selector::default(),
        hard: false,
        wait: Duration::ZERO,
        depth: 0,
    }
}

fn subject<'a>(key: &'a str, user: &'a str) -> Subject<'a> {
    Subject {
        key,
        team: None,
        user: Some(user),
        route: "chat",
        endpoint: "chat_completions",
        target: None,
    }
}

fn at(seconds: u64) -> Moment {
    Moment(1_800_000_000_000_000).plus(Duration::from_secs(seconds))
}

/// Counts one request of a user's.
fn count(memory: &Memory, rule: &Rule, user: &str, now: Moment) -> Arc<Counter> {
    let counter = memory.counter(&Key::of(rule, &subject("k", user)), MINUTE, now);
    let one = Load {
        requests: 1,
        ..Load::default()
    };
    let requests = one.of(rule.allowance.measure);
    counter.lock().tally.record(MINUTE, requests, now);
    counter
}

#[test]
fn no_two_requests_share_a_counter_by_clever_names() {
    let rule = rule("r", &[Dimension::Key, Dimension::User]);
    let long = "x".repeat(NAME + 1);
    let longer = "x".repeat(NAME + 2);
    let digest = Key::of(&rule, &subject("a", &long));
    let digest = digest.as_str().rsplit('#').next().unwrap().to_owned();
    let names = [
        ("a", "b"),
        ("a|1:b", ""),
        ("", "a|1:b"),
        ("a", "|1:b"),
        ("a|", "b"),
        ("a", "*"),
        ("a", &long),
        ("a", &longer),
        ("a", &digest),
    ];
    let keys: std::collections::BTreeSet<_> = names
        .iter()
        .map(|(key, user)| Key::of(&rule, &subject(key, user)).text)
        .collect();
    assert_eq!(keys.len(), names.len());
    for (key, user) in &names[..6] {
        let counted = Key::of(&rule, &subject(key, user));
        assert_eq!(values(&counted.text[counted.rule..]), [*key, *user]);
        assert_ne!(counted.text, counted.rest());
    }
}

#[test]
fn one_rule_is_not_found_under_anothers_name() {
    let memory = Memory::new(1_000);
    let short = rule("a", &[]);
    let long = rule("a:/requests", &[]);
    count(&memory, &short, "u", at(0));
    count(&memory, &long, "u", at(0));
    let per_user = rule("a", &[Dimension::User]);
    count(&memory, &per_user, "u", at(0));
    for (rule, of) in [(&short, vec![]), (&long, vec![]), (&per_user, vec!["u"])] {
        let found = memory.of_rule(&Key::of_rule(rule), 10);
        assert_eq!(found.len(), 1, "{}", rule.name);
        assert_eq!(found[0].0, of);
    }
}

#[test]
fn idle_counters_are_dropped_in_passing() {
    let memory = Memory::new(100_000);
    let rule = rule("r", &[Dimension::User]);
    for user in 0..5_000 {
        count(&memory, &rule, &user.to_string(), at(0));
    }
    let kept = count(&memory, &rule, "kept", at(0));
    assert_eq!(memory.len(), 5_001);
    for _ in 0..SHARDS as u64 * SWEEP_EVERY {
        count(&memory, &rule, "other", at(62));
    }
    assert_eq!(memory.len(), 2, "who is held and who is used");
    assert!(Arc::ptr_eq(&kept, &count(&memory, &rule, "kept", at(62))));
}

#[test]
fn invented_users_share_what_is_left_of_the_room() {
    let memory = Memory::new(2 * SHARDS);
    let rule = rule("r", &[Dimension::User]);
    let known = count(&memory, &rule, "known", at(0));
    for user in 0..100_000 {
        count(&memory, &rule, &user.to_string(), at(0));
    }
    assert!(memory.len() <= 3 * SHARDS, "two and a shared one in each");
    assert!(Arc::ptr_eq(&known, &count(&memory, &rule, "known", at(1))));
    assert_eq!(known.lock().tally.used(), 2);
    let crowd = count(&memory, &rule, "new", at(1));
    assert!(crowd.lock().tally.used() > 2, "it shares");
    // Whoever was counted there begins anew only when all that is over.
    assert!(Arc::ptr_eq(&crowd, &count(&memory, &rule, "new", at(59))));
    drop(crowd);
    let own = count(&memory, &rule, "new", at(200));
    assert_eq!(own.lock().tally.used(), 1);
    let all = self::rule("all", &[]);
    assert_eq!(count(&memory, &all, "x", at(200)).lock().tally.used(), 1);
}

/// A thread that came with an earlier time than the one that dropped a counter
/// does not begin a new one in the past.
#[test]
fn a_new_counter_begins_no_earlier_than_the_old_one_was_dropped() {
    let memory = Memory::new(1_000);
    let rule = rule("r", &[Dimension::User]);
    count(&memory, &rule, "u", at(0));
    for _ in 0..SHARDS as u64 * SWEEP_EVERY {
        count(&memory, &rule, "other", at(100));
    }
    let counter = memory.counter(&Key::of(&rule, &subject("k", "u")), MINUTE, at(50));
    let mut held = counter.lock();
    let ask = Ask {
        tally: &mut held.tally,
        window: MINUTE,
        limit: 1,
        amount: 1,
    };
    window::admit(&mut [ask], at(50)).unwrap();
    held.tally.turn(MINUTE, at(160));
    assert_eq!(held.tally.used(), 1, "it is counted at 100");
    held.tally.turn(MINUTE, at(161));
    assert_eq!(held.tally.used(), 0);
}
