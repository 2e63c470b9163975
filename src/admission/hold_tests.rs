use super::super::limiter::tests::{JULY, SUBJECT, ask, at, dollars, rule, used};
use super::*;
use crate::admission::Limiter;
use crate::units::{Calendar, Window};
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

// ---- Every order in which three can come ------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Step {
    Reserve(u64),
    Extend(u64),
    Settle(u64),
    Release,
    Drop,
}

/// What an actor has of the budget, as a model of it knows.
#[derive(Default)]
struct Actor {
    hold: Option<Hold>,
    reserved: u64,
}

impl Actor {
    /// Takes a step, and says how much became used by it.
    fn take(&mut self, step: Step, limiter: &Limiter, rules: &[Arc<Rule>], free: u64) -> u64 {
        match step {
            Step::Reserve(amount) => {
                let outcome = ask(limiter, rules, &SUBJECT, &dollars(amount), at(0));
                assert_eq!(outcome.is_ok(), amount <= free);
                self.reserved = outcome.as_ref().map_or(0, |_| amount);
                self.hold = outcome.ok();
            }
            Step::Extend(amount) => {
                if let Some(hold) = &mut self.hold {
                    let outcome = hold.grow(&dollars(amount), at(0));
                    assert_eq!(outcome.is_ok(), amount <= free);
                    self.reserved += outcome.map_or(0, |()| amount);
                }
            }
            Step::Settle(amount) => {
                let charged = self
                    .hold
                    .take()
                    .map(|hold| hold.settle(&dollars(amount)).cost.0);
                assert_eq!(charged.unwrap_or(0), amount.min(self.reserved));
                self.reserved = 0;
                return charged.unwrap_or(0);
            }
            Step::Release => {
                self.hold.take().into_iter().for_each(Hold::release);
                self.reserved = 0;
            }
            Step::Drop => {
                drop(self.hold.take());
                return std::mem::take(&mut self.reserved);
            }
        }
        0
    }
}

const LIMIT: u64 = 4;

const ENDS: [Step; 5] = [
    Step::Settle(0),
    Step::Settle(2),
    Step::Settle(9),
    Step::Release,
    Step::Drop,
];

/// What each of the three does before it ends in one of those ways.
const BEGINNINGS: [[Step; 2]; 3] = [
    [Step::Reserve(2), Step::Extend(1)],
    [Step::Reserve(1), Step::Extend(2)],
    [Step::Reserve(3), Step::Extend(1)],
];

/// How far each actor is, and all that a later step can see: the counter and the
/// actors' holds, to the last field, and what the model knows of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    steps: [usize; 3],
    seen: String,
}

/// Runs the actors' steps in this order; after each, the counter is what the
/// model says, and never more than the limit.
fn run(order: &[(usize, Step)]) -> State {
    let limiter = Limiter::with_room(1);
    let rules = [Arc::new(rule("budget", "0.000004 usd"))];
    // Holds nothing, and so changes nothing: it shows the counter.
    let witness = ask(&limiter, &rules, &SUBJECT, &dollars(0), at(0)).unwrap();
    let mut actors: [Actor; 3] = Default::default();
    let mut steps = [0; 3];
    let mut settled = 0;
    for &(who, step) in order {
        let reserved: u64 = actors.iter().map(|actor| actor.reserved).sum();
        settled += actors[who].take(step, &limiter, &rules, LIMIT - settled - reserved);
        steps[who] += 1;
        let reserved: u64 = actors.iter().map(|actor| actor.reserved).sum();
        let held = used(&limiter, &rules, at(0));
        assert_eq!(held, (settled + reserved, reserved), "{order:?}");
        assert!(settled + reserved <= LIMIT);
    }
    if steps == [3; 3] {
        let held = used(&limiter, &rules, at(0));
        assert_eq!(held, (settled, 0), "nothing is left reserved");
    }
    let of = |actor: &Actor| {
        let hold = actor.hold.as_ref();
        let of_hold = hold.map(|hold| (&hold.charges[0].parts, hold.bound));
        format!("{of_hold:?} {};", actor.reserved)
    };
    let mut seen = actors.each_ref().map(of).concat();
    seen += &format!("{:?}", witness.charges[0].counter.lock().tally);
    State { steps, seen }
}

/// Each of the 210,000 orders of three actors' steps and ways to end. Two orders
/// that come to the same state go on in the same way: what comes after is looked
/// at once, and counted for both.
#[test]
fn in_no_order_of_three_actors_is_a_budget_overspent() {
    let start = run(&[]);
    let mut front: HashMap<State, (Vec<(usize, Step)>, u64)> =
        HashMap::from([(start, (Vec::new(), 1))]);
    let mut states = 0;
    for _ in 0..9 {
        let mut next = HashMap::new();
        for (state, (order, ways)) in front {
            for (who, beginnings) in BEGINNINGS.iter().enumerate() {
                let choices = match state.steps[who] {
                    3 => &[][..],
                    2 => &ENDS,
                    at => &beginnings[at..=at],
                };
                for step in choices {
                    let mut order = order.clone();
                    order.push((who, *step));
                    let reached = run(&order);
                    next.entry(reached).or_insert((order, 0)).1 += ways;
                }
            }
        }
        front = next;
        states += front.len();
    }
    let ways: u64 = front.values().map(|(_, ways)| ways).sum();
    assert_eq!(ways, 1_680 * 125, "none is left out");
    assert!(states > 250, "{states} states are told apart");
}

// ---- Any operations at any time --------------------------------------------------------

#[derive(Debug, Clone)]
enum Deed {
    Reserve(u64),
    Extend(usize, u64),
    Settle(usize, u64),
    Release(usize),
    Drop(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..7u64).prop_map(Deed::Reserve),
        2 => (any::<usize>(), 1..4u64).prop_map(|(who, more)| Deed::Extend(who, more)),
        3 => (any::<usize>(), 0..12u64).prop_map(|(who, used)| Deed::Settle(who, used)),
        1 => any::<usize>().prop_map(Deed::Release),
        1 => any::<usize>().prop_map(Deed::Drop),
    ]
}

/// So much, reserved at that time.
type Parts = Vec<(u64, u64)>;

/// Of what was reserved, the oldest first, so much is used.
fn charged(parts: Parts, mut used: u64) -> Parts {
    let take = |(time, amount): (u64, u64)| {
        let charged = amount.min(used);
        used -= charged;
        (time, charged)
    };
    parts.into_iter().map(take).collect()
}

/// Does all that, and says what was charged, what is open still and how much the
/// counter says is. The counter's time is the latest that it was told.
fn play(window: Window, deeds: &[(Deed, i64)]) -> (Parts, Vec<Parts>, u64) {
    let mut budget = rule("b", "0.000010 usd");
    budget.allowance.window = window;
    let rules = [Arc::new(budget)];
    let limiter = Limiter::new();
    let (mut now, mut latest) = (JULY.0, JULY.0);
    let mut open: Vec<(Hold, Parts)> = Vec::new();
    let mut done = Parts::new();
    for (deed, step) in deeds {
        now = now.saturating_add_signed(*step).max(JULY.0);
        let count = open.len().max(1);
        match *deed {
            Deed::Reserve(amount) => {
                latest = latest.max(now);
                if let Ok(hold) = ask(&limiter, &rules, &SUBJECT, &dollars(amount), Moment(now)) {
                    open.push((hold, vec![(latest, amount)]));
                }
            }
            Deed::Extend(who, more) => {
                if let Some((hold, parts)) = open.get_mut(who % count) {
                    latest = latest.max(now);
                    if hold.grow(&dollars(more), Moment(now)).is_ok() {
                        parts.push((latest, more));
                    }
                }
            }
            Deed::Settle(who, _) | Deed::Release(who) | Deed::Drop(who)
                if open.len() > who % count =>
            {
                let (hold, parts) = open.swap_remove(who % count);
                match *deed {
                    Deed::Settle(_, used) => {
                        done.extend(charged(parts, hold.settle(&dollars(used)).cost.0));
                    }
                    Deed::Release(_) => hold.release(),
                    _ => done.extend(parts),
                }
            }
            _ => {}
        }
    }
    let (open, parts): (Vec<_>, Vec<_>) = open.into_iter().unzip();
    let reserved = limiter.left(&rules, Moment(latest))[0].reserved;
    drop(open);
    assert_eq!(limiter.left(&rules, Moment(latest))[0].reserved, 0);
    (done, parts, reserved)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// In no stretch of the window's length is more charged than the limit.
    #[test]
    fn no_stretch_of_time_holds_more_than_the_limit(
        deeds in prop::collection::vec((deed(), -20_000_000..60_000_000i64), 1..80),
        seconds in 1..400u64,
    ) {
        let length = seconds * 1_000_000;
        let window = Window::Rolling(Duration::from_micros(length));
        let (mut done, open, _) = play(window, &deeds);
        done.extend(open.into_iter().flatten());
        for &(from, _) in &done {
            let within = done.iter().filter(|(time, _)| (from..=from + length).contains(time));
            prop_assert!(within.map(|(_, amount)| amount).sum::<u64>() <= 10);
        }
    }

    /// Nor in any hour of the calendar, nor ever in all.
    #[test]
    fn no_period_holds_more_than_the_limit(
        deeds in prop::collection::vec((deed(), -600_000_000..1_200_000_000i64), 1..80),
    ) {
        let hour = 3_600_000_000;
        let (mut done, open, _) = play(Window::Calendar(Calendar::Hour), &deeds);
        done.extend(open.into_iter().flatten());
        for &(from, _) in &done {
            let within = done.iter().filter(|(time, _)| time / hour == from / hour);
            prop_assert!(within.map(|(_, amount)| amount).sum::<u64>() <= 10);
        }
        let (done, open, reserved) = play(Window::Total, &deeds);
        let sum = |parts: &Parts| parts.iter().map(|(_, amount)| amount).sum::<u64>();
        let pending: u64 = open.iter().map(sum).sum();
        prop_assert!(sum(&done) + pending <= 10);
        prop_assert_eq!(pending, reserved);
    }
}
