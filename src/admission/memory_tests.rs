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
    count_of(memory, rule, subject("k", user), now).expect("there is room")
}

fn count_of(
    memory: &Memory,
    rule: &Rule,
    subject: Subject<'_>,
    now: Moment,
) -> Option<Arc<Counter>> {
    let counter = memory.counter(&Key::of(rule, &subject), MINUTE, now)?;
    let one = Load {
        requests: 1,
        ..Load::default()
    };
    let requests = one.of(rule.allowance.measure);
    counter.lock().tally.record(MINUTE, requests, now);
    Some(counter)
}

/// Counts one request that the ledger knows of.
fn record(memory: &Memory, rule: &Rule, subject: Subject<'_>, now: Moment) -> Arc<Counter> {
    let counter = memory.recorded(&Key::of(rule, &subject), MINUTE, now);
    counter.lock().tally.record(MINUTE, 1, now);
    counter
}

fn used(counter: &Counter) -> u64 {
    counter.lock().tally.used()
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

/// A rule that tells users apart, and keys or not.
fn of_users() -> [Rule; 2] {
    let both = rule("both", &[Dimension::Key, Dimension::User]);
    [rule("users", &[Dimension::User]), both]
}

#[test]
fn a_key_that_invents_users_takes_no_others_room_and_opens_no_budget_again() {
    const ROOM: usize = 10_000;
    for flooded in of_users() {
        let memory = Memory::new(ROOM);
        let known = count_of(&memory, &flooded, subject("a", "known"), at(0)).unwrap();
        let (mut most, mut refused) = (0, 0);
        for user in 0..3 * ROOM {
            match count_of(&memory, &flooded, subject("a", &user.to_string()), at(0)) {
                Some(counter) => most = used(&counter).max(most),
                None => refused += 1,
            }
        }
        assert_eq!((memory.len(), most), (ROOM * 4 / 5, 1));
        assert_eq!(refused, 3 * ROOM + 1 - ROOM * 4 / 5);
        // Its own budgets are what they were, and for those who have one it is as before.
        let again = count_of(&memory, &flooded, subject("a", "known"), at(1)).unwrap();
        assert!(Arc::ptr_eq(&known, &again) && used(&again) == 2);
        let first = count_of(&memory, &flooded, subject("a", "0"), at(1)).unwrap();
        assert_eq!(used(&first), 2);
        assert!(count_of(&memory, &flooded, subject("a", "new"), at(1)).is_none());
        // Others have counters of their own, and so has it under other rules.
        for user in 0..ROOM / 20 {
            let user = format!("b{user}");
            let other = count_of(&memory, &flooded, subject("b", &user), at(1)).unwrap();
            assert_eq!(used(&other), 1);
        }
        for other in [rule("all", &[]), rule("keys", &[Dimension::Key])] {
            assert!(count_of(&memory, &other, subject("a", "new"), at(1)).is_some());
        }
        // When its users are forgotten, new ones are let in.
        for _ in 0..SHARDS as u64 * SWEEP_EVERY {
            count_of(&memory, &flooded, subject("b", "b0"), at(70));
        }
        let new = count_of(&memory, &flooded, subject("a", "new"), at(70)).unwrap();
        assert_eq!(
            (used(&new), memory.len()),
            (1, 4),
            "two that are held, and who came"
        );
    }
}

#[test]
fn idle_counters_make_room_for_who_comes() {
    let memory = Memory::new(SHARDS);
    let [rule, _] = of_users();
    for user in 0..2 * SHARDS {
        count_of(&memory, &rule, subject("a", &user.to_string()), at(0));
    }
    // Whoever finds none looks for idle ones in the part where its own would be.
    let mut tries = 0..;
    let is_in = |n: usize| count_of(&memory, &rule, subject("a", &format!("n{n}")), at(70));
    assert!(tries.by_ref().take(10).any(|n| is_in(n).is_some()));
}

#[test]
fn however_many_keys_take_all_they_can_the_next_finds_room() {
    let memory = Memory::new(1_000);
    let [rule, _] = of_users();
    let keys: Vec<String> = (0..10).map(|key| format!("k{key}")).collect();
    let mut held = vec![0; keys.len()];
    for user in 0..1_000 {
        for (key, held) in keys.iter().zip(&mut held) {
            let user = format!("{key}-{user}");
            let counter = count_of(&memory, &rule, subject(key, &user), at(0));
            *held += usize::from(counter.is_some());
        }
    }
    // 4 / 41 of the room each.
    assert!(held.iter().all(|held| (96..=98).contains(held)), "{held:?}");
    let free: usize = 1_000 - held.iter().sum::<usize>();
    let next = (0..100).map(|n| format!("next-{n}"));
    let is_in = |user: &String| count_of(&memory, &rule, subject("next", user), at(0)).is_some();
    let four_fifths = (4 * free).div_ceil(5);
    assert_eq!(next.filter(is_in).count(), four_fifths);
    assert!(four_fifths > 15);
}

#[test]
fn what_the_ledger_knows_is_counted_where_there_is_no_room_too() {
    const ROOM: usize = 2_000;
    for rule in of_users() {
        let is_per_key = rule.per.contains(&Dimension::Key);
        let memory = Memory::new(ROOM);
        let mut counters = Vec::new();
        for user in 0..10 * ROOM {
            counters.push(record(
                &memory,
                &rule,
                subject("a", &user.to_string()),
                at(0),
            ));
        }
        assert!(memory.len() <= ROOM + SHARDS);
        counters.sort_by_key(|counter| counter.id);
        counters.dedup_by_key(|counter| counter.id);
        let all: u64 = counters.iter().map(|counter| used(counter)).sum();
        assert_eq!(all, 10 * ROOM as u64, "nothing is lost");
        drop(counters);
        // Whoever was counted with others is counted there, until all that is over.
        let last = (10 * ROOM - 1).to_string();
        let of_a = count_of(&memory, &rule, subject("a", &last), at(1)).unwrap();
        assert!(used(&of_a) > 2, "it shares");
        // Under another key it is the same user, or another's that nobody has counted.
        let of_b = count_of(&memory, &rule, subject("b", &last), at(1)).unwrap();
        assert_eq!(Arc::ptr_eq(&of_a, &of_b), !is_per_key);
        assert_eq!(used(&of_b) == 1, is_per_key);
        drop((of_a, of_b));
        let found = memory.of_rule(&Key::of_rule(&rule), usize::MAX);
        let rest = match is_per_key {
            true => vec!["*", "a"],
            false => vec!["*"],
        };
        assert!(found.iter().any(|(of, _)| *of == rest));
        drop(found);
        for _ in 0..SHARDS as u64 * SWEEP_EVERY {
            count_of(&memory, &rule, subject("b", "b"), at(200));
        }
        let own = count_of(&memory, &rule, subject("a", &last), at(200)).unwrap();
        assert_eq!(used(&own), 1);
        drop(own);
        memory.forget(&Key::of_rule(&rule));
        assert_eq!((memory.len(), lock(&memory.census).free), (0, ROOM));
    }
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
    let counter = counter.expect("there is room");
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
