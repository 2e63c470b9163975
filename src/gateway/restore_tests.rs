use super::super::bill::Names;
use super::super::open::{Ending, Open, Outlook, Request};
use super::*;
use crate::admission::{Clock, Dimension, Hold, Limiter, Priority, Selector, Stage, Turn};
use crate::chat::Usage;
use crate::ledger::{
    Attempt, Durability, Intent, Ledger, MEMORY, Need, Settings, Settlement, Targets, UsageSource,
};
use crate::units::{MicroUsd, Pattern};
use std::time::Instant;

const JULY: Moment = Moment(1_782_864_000_000_000);

fn accounts() -> Accounts {
    let settings = Settings {
        path: MEMORY.into(),
        durability: Durability::Process,
        buffer: 10_000,
        retention: None,
        max_bytes: None,
    };
    let (ledger, _) = Ledger::open(settings).unwrap();
    Accounts {
        limiter: Limiter::new(),
        open: Open::default(),
        clock: Clock::starting(JULY),
        ledger: Arc::new(ledger),
        buffers: true,
    }
}

fn rule(name: &str, allow: &str) -> Rule {
    Rule {
        name: name.into(),
        allowance: allow.parse().unwrap(),
        per: Vec::new(),
        on: Selector::default(),
        hard: true,
        wait: Duration::ZERO,
        depth: 0,
    }
}

fn names() -> Names {
    Names {
        key: "k".into(),
        team: None,
        user: None,
        route: "m".into(),
        endpoint: "chat_completions",
        priority: Priority::Normal,
    }
}

fn targets(named: &[(&str, &str)]) -> Targets {
    let named = named.iter();
    named.map(|(p, m)| ((*p).into(), (*m).into())).collect()
}

fn load(cost: u64) -> Load {
    Load {
        requests: 1,
        cost: MicroUsd(cost),
        ..Load::default()
    }
}

fn attempt(provider: &str, model: &str, cost: u64) -> Attempt {
    Attempt {
        provider: provider.into(),
        model: model.into(),
        endpoint: "https://example.com".into(),
        role: "first",
        outcome: "ok",
        status: Some(200),
        duration: Duration::ZERO,
        first_token: None,
        usage: Usage::default(),
        source: UsageSource::Provider,
        cost: MicroUsd(cost),
        price: None,
    }
}

/// A request as the gateway has it.
struct Under {
    id: u64,
    hold: Option<Hold>,
}

type Rules = Vec<Arc<Rule>>;

/// Reserves and enters; `None` where it has to ask again.
async fn enter(
    accounts: &Accounts,
    (rules, outlook): (&Rules, &Outlook),
    named: &[(&str, &str)],
    bound: u64,
) -> Option<Under> {
    let now = accounts.clock.now();
    let names = names();
    let turn = Turn {
        priority: Priority::Normal,
        until: Instant::now(),
    };
    let all: Rules = rules.iter().chain(&outlook.came).cloned().collect();
    let (subject, most) = (names.subject(None), load(bound));
    let limiter = &accounts.limiter;
    let asked = limiter.reserve(&all, &subject, Stage::Request, &most, turn, now);
    let hold = asked.await.unwrap();
    let targets = targets(named);
    let request = Request::new((names, Arc::clone(&targets)), all.into(), now, load(bound));
    let Some(id) = accounts.open.enter(&accounts.ledger, outlook, request) else {
        hold.release();
        return None;
    };
    let begun = accounts
        .ledger
        .begin(intent((id, now), targets, bound), Need::Buffered);
    begun.await.unwrap();
    let hold = Some(hold);
    Some(Under { id, hold })
}

/// As the gateway lets a request in that goes by this table.
async fn begin(
    accounts: &Accounts,
    (rules, version): (&Rules, u64),
    named: &[(&str, &str)],
    bound: u64,
) -> Under {
    loop {
        let outlook = accounts.open.outlook(version);
        if let Some(under) = enter(accounts, (rules, &outlook), named, bound).await {
            return under;
        }
    }
}

fn intent((id, time): (u64, Moment), targets: Targets, bound: u64) -> Intent {
    Intent {
        id,
        time,
        request_id: "r".into(),
        key: "k".into(),
        team: None,
        user: None,
        tags: Arc::default(),
        endpoint: "chat_completions",
        route: "m".into(),
        asked: "m".into(),
        stream: false,
        request_bytes: 1,
        bound: MicroUsd(bound),
        input_bound: 0,
        output_bound: 0,
        targets,
        decided: None,
    }
}

fn end(accounts: &Accounts, mut under: Under, attempts: Vec<Attempt>) {
    let cost = attempts.iter().map(|attempt| attempt.cost.0).sum();
    let last = attempts.last();
    let settlement = Settlement {
        provider: last.map(|attempt| Arc::clone(&attempt.provider)),
        model: last.map(|attempt| Arc::clone(&attempt.model)),
        source: match last {
            Some(_) => UsageSource::Provider,
            None => UsageSource::None,
        },
        cost: MicroUsd(cost),
        attempts,
        ..Settlement::of_nothing(under.id, "canceled")
    };
    if let Some(hold) = under.hold.take() {
        match settlement.is_void() {
            true => hold.release(),
            false => drop(hold.settle(&load(cost))),
        }
    }
    let ending = Ending::of(&settlement);
    accounts.ledger.settle(settlement);
    accounts.open.leave(under.id, ending);
}

fn take_up(accounts: &Accounts, old: &Rules, new: &Rules, version: u64) {
    let mut fresh = new.clone();
    fresh.retain(|rule| !old.iter().any(|other| other.counts_as(rule)));
    let coming = Coming {
        fresh,
        all: new,
        version,
    };
    accounts.take_up(&coming, || ()).unwrap();
}

/// Settled and reserved of a rule, and what of it is reserved.
fn used(accounts: &Accounts, rule: &Arc<Rule>) -> (u64, u64) {
    let now = accounts.clock.now();
    let all = accounts.limiter.counters(rule, 10, now);
    let sum = |of: fn(&crate::admission::Remaining) -> u64| all.iter().map(of).sum();
    (sum(|one| one.used), sum(|one| one.reserved))
}

const M: &[(&str, &str)] = &[("main", "x")];

#[tokio::test]
async fn a_budget_that_comes_counts_what_ended_and_what_is_under_way_once() {
    let accounts = accounts();
    let none: Rules = Vec::new();
    let ended = begin(&accounts, (&none, 1), M, 50).await;
    end(&accounts, ended, vec![attempt("main", "x", 7)]);
    let void = begin(&accounts, (&none, 1), M, 50).await;
    end(&accounts, void, Vec::new());
    let [first, second, third] = [
        begin(&accounts, (&none, 1), M, 100).await,
        begin(&accounts, (&none, 1), M, 200).await,
        begin(&accounts, (&none, 1), M, 400).await,
    ];
    let with = vec![
        Arc::new(rule("usd", "1 usd / month")),
        Arc::new(rule("requests", "1000 requests / day")),
    ];
    take_up(&accounts, &none, &with, 2);
    assert_eq!(used(&accounts, &with[0]), (707, 700));
    assert_eq!(used(&accounts, &with[1]), (1 + 3, 3), "nothing came of one");
    end(&accounts, first, vec![attempt("main", "x", 30)]);
    end(&accounts, second, Vec::new());
    assert_eq!(used(&accounts, &with[0]), (437, 400));
    assert_eq!(used(&accounts, &with[1]), (3, 1));
    // The rules of the table before it do not name them: it is sent back.
    let outlook = Outlook::default();
    assert!(enter(&accounts, (&none, &outlook), M, 1).await.is_none());
    assert_eq!(used(&accounts, &with[0]), (437, 400));
    let late = begin(&accounts, (&none, 1), M, 1_000).await;
    assert_eq!(used(&accounts, &with[0]), (1_437, 1_400));
    let own = begin(&accounts, (&with, 2), M, 2_000).await;
    assert_eq!(used(&accounts, &with[0]), (3_437, 3_400));
    for (under, cost) in [(third, 1), (late, 2), (own, 3)] {
        end(&accounts, under, vec![attempt("main", "x", cost)]);
    }
    assert_eq!(used(&accounts, &with[0]), (43, 0));
    assert_eq!(used(&accounts, &with[1]), (5, 0));
    // A start counts the same.
    accounts.restore(&with).unwrap();
    assert_eq!(used(&accounts, &with[0]), (43, 0));
    assert_eq!(used(&accounts, &with[1]), (5, 0));
}

#[tokio::test]
async fn a_request_under_way_asks_a_budget_that_came_for_all_that_it_needs_more() {
    let accounts = accounts();
    let none: Rules = Vec::new();
    let under = begin(&accounts, (&none, 1), M, 600_000).await;
    let with = vec![Arc::new(rule("usd", "1 usd"))];
    take_up(&accounts, &none, &with, 2);
    let now = accounts.clock.now();
    let grow = |more| accounts.open.grow(under.id, &load(more), now);
    let refused = grow(400_001).unwrap_err();
    assert_eq!((&*refused.rule, refused.left), ("usd", 400_000));
    grow(400_000).unwrap();
    assert_eq!(used(&accounts, &with[0]).0, 1_000_000);
    assert!(grow(1).is_err());
}

#[tokio::test]
async fn limits_of_targets_that_come_count_each_target_that_may_be_asked() {
    let accounts = accounts();
    let none: Rules = Vec::new();
    let each = Rule {
        per: vec![Dimension::Provider],
        ..rule("each", "1000 usd")
    };
    let both = Rule {
        on: Selector {
            providers: vec![Pattern::new("a"), Pattern::new("b")],
            ..Selector::default()
        },
        ..rule("both", "100 requests / day")
    };
    let with = vec![Arc::new(each), Arc::new(both)];
    let named = &[("a", "x"), ("b", "y"), ("c", "z")];
    // Both providers were tried; and one in vain.
    let ended = begin(&accounts, (&none, 1), named, 50).await;
    end(
        &accounts,
        ended,
        vec![attempt("a", "x", 0), attempt("b", "y", 5)],
    );
    let under = begin(&accounts, (&none, 1), named, 100).await;
    take_up(&accounts, &none, &with, 2);
    let of = |name: &str| {
        let all = accounts
            .limiter
            .counters(&with[0], 10, accounts.clock.now());
        let one = all.into_iter().find(|one| one.of == [name]);
        one.map_or((0, 0), |one| (one.used, one.reserved))
    };
    assert_eq!(
        [of("a"), of("b"), of("c")],
        [(100, 100), (105, 100), (100, 100)]
    );
    assert_eq!(used(&accounts, &with[1]), (3, 1));
    end(&accounts, under, vec![attempt("c", "z", 40)]);
    assert_eq!([of("a"), of("b"), of("c")], [(0, 0), (5, 0), (40, 0)]);
    assert_eq!(used(&accounts, &with[1]), (2, 0));
    accounts.restore(&with).unwrap();
    assert_eq!([of("a"), of("b"), of("c")], [(0, 0), (5, 0), (40, 0)]);
    assert_eq!(used(&accounts, &with[1]), (2, 0));
}

#[tokio::test]
async fn who_was_lost_counts_for_each_target_it_may_have_asked() {
    let accounts = accounts();
    let none: Rules = Vec::new();
    let each = Rule {
        per: vec![Dimension::Provider, Dimension::Model],
        ..rule("each", "1 usd / month")
    };
    let both = Rule {
        on: Selector {
            providers: vec![Pattern::new("a"), Pattern::new("b")],
            ..Selector::default()
        },
        ..rule("both", "1 usd / month")
    };
    let with = vec![
        Arc::new(each),
        Arc::new(both),
        Arc::new(rule("all", "1 usd / month")),
    ];
    let under = begin(&accounts, (&none, 1), &[("a", "x"), ("b", "y")], 100).await;
    let lost = Settlement::at_bound(under.id, "recovered", [0, 0], MicroUsd(100));
    accounts.ledger.settle(lost);
    accounts.restore(&with).unwrap();
    assert_eq!(used(&accounts, &with[0]), (200, 0), "at each");
    assert_eq!(used(&accounts, &with[1]), (100, 0));
    assert_eq!(used(&accounts, &with[2]), (100, 0));
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// What can happen while limits are taken up, between its steps.
async fn something(
    accounts: &Accounts,
    chance: &mut Chance,
    tables: &[(Rules, u64)],
    under: &mut Vec<Under>,
    spent: &mut [u64; 2],
) {
    for _ in 0..chance.below(6) {
        let end_one = under.len() as u64 > chance.below(12);
        if end_one {
            let place = usize::try_from(chance.below(under.len() as u64)).unwrap();
            let one = under.swap_remove(place);
            let cost = chance.below(100);
            if chance.below(5) == 0 {
                end(accounts, one, Vec::new());
            } else {
                end(accounts, one, vec![attempt("main", "x", cost)]);
                *spent = [spent[0] + cost, spent[1] + 1];
            }
        } else {
            // Some read their table long ago.
            let back = usize::try_from(chance.below(4))
                .unwrap()
                .min(tables.len() - 1);
            let (rules, version) = &tables[tables.len() - 1 - back];
            under.push(begin(accounts, (rules, *version), M, 100).await);
        }
    }
}

#[tokio::test]
async fn whatever_happens_while_limits_come_and_go_each_request_counts_once() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let accounts = accounts();
        let with: Rules = vec![
            Arc::new(rule("usd", "1000 usd")),
            Arc::new(rule("requests", "1000000 requests / month")),
        ];
        let none: Rules = Vec::new();
        let mut tables = vec![(none.clone(), 1)];
        let (mut under, mut spent) = (Vec::new(), [0, 0]);
        for round in 0..8u64 {
            something(&accounts, &mut chance, &tables, &mut under, &mut spent).await;
            let (new, fresh) = match tables.last().unwrap().0.is_empty() {
                true => (&with, with.clone()),
                false => (&none, Vec::new()),
            };
            if !fresh.is_empty() {
                let mark = accounts
                    .open
                    .begin(&accounts.ledger, || accounts.forget(&fresh));
                something(&accounts, &mut chance, &tables, &mut under, &mut spent).await;
                accounts.ledger.flush().await.unwrap();
                accounts.record(&fresh, Some(mark)).unwrap();
                something(&accounts, &mut chance, &tables, &mut under, &mut spent).await;
            }
            let of = (&*fresh, &**new, round + 2);
            let now = accounts.clock.now();
            accounts.open.publish(&accounts.limiter, of, now, || ());
            tables.push((new.clone(), round + 2));
            if fresh.is_empty() {
                continue;
            }
            something(&accounts, &mut chance, &tables, &mut under, &mut spent).await;
            let open = under.len() as u64;
            let what = format!("seed {seed}, round {round}");
            assert_eq!(
                used(&accounts, &with[0]),
                (spent[0] + 100 * open, 100 * open),
                "{what}"
            );
            assert_eq!(used(&accounts, &with[1]), (spent[1] + open, open), "{what}");
        }
    }
}
