//! All limits and budgets: the one place that lets a request in.
//!
//! It outlives the routing table. What is used is kept by the names of rules, so
//! a reload changes limits and forgets nothing.

use super::counter::{Counter, Slot};
use super::hold::Share;
use super::hold::{Charge, Hold};
use super::memory::{Key, Memory, ROOM};
use super::queue::Who;
use super::{Fleet, Load, Refusal, Rule, Stage, Subject, Turn, Why};
use crate::units::{Allowance, Measure, Moment, Window};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// When to come again for a place: nobody knows when one is free, and most
/// requests take seconds.
const PLACE_AFTER: Duration = Duration::from_secs(1);

/// When to come again for a counter: some are dropped each second.
const CROWDED_FOR: Duration = Duration::from_secs(10);

/// How often a request that waits asks for a place among the fleet's.
const ASK_EVERY: Duration = Duration::from_millis(25);

/// Limits and budgets, shared by all requests.
pub struct Limiter {
    memory: Memory,
    fleet: Option<Arc<Fleet>>,
}

/// What a rule has left for one of those that it tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    pub rule: Arc<Rule>,
    /// The values of `per`, in that order; `*` for all that the ledger knew and
    /// that found no counter of their own, and the key that they are of.
    pub of: Vec<String>,
    /// In the measure's unit: settled and reserved.
    pub used: u64,
    /// Of it, what is only reserved.
    pub reserved: u64,
    pub left: u64,
    /// How many wait for a place.
    pub waiting: usize,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Limiter {
    /// Nothing is used, and there is room for [`ROOM`] counters.
    pub fn new() -> Self {
        Self::with_room(ROOM)
    }

    /// As [`Self::new`], with room for about so many counters.
    pub fn with_room(counters: usize) -> Self {
        Self {
            memory: Memory::new(counters),
            fleet: None,
        }
    }

    /// As [`Self::new`], for a gateway of a fleet.
    pub fn of_fleet(fleet: Fleet) -> Self {
        Self {
            fleet: Some(Arc::new(fleet)),
            ..Self::new()
        }
    }

    /// The fleet's counters, if this gateway has any.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_deref()
    }

    /// Keeps the fleet's counters and this gateway's agreed, for ever. `now`: the
    /// time of budgets.
    pub async fn tend(&self, now: impl Fn() -> Moment + Send) {
        if let Some(fleet) = &self.fleet {
            fleet.tend(&self.memory, now).await;
        }
    }

    /// What was recorded is all there is: the fleet counts it too.
    pub fn recorded(&self) {
        if let Some(fleet) = &self.fleet {
            fleet.renew();
        }
    }

    /// Reserves `load` under all rules of this stage that count the request, and
    /// a place under those that count who is under way; waits for a place where
    /// the rule allows it. All or nothing. A future that is dropped while it
    /// waits leaves no trace.
    ///
    /// # Errors
    ///
    /// When a rule has not enough left, or its turn does not come in time.
    pub async fn reserve(
        &self,
        rules: &[Arc<Rule>],
        subject: &Subject<'_>,
        stage: Stage,
        load: &Load,
        turn: Turn,
        now: Moment,
    ) -> Result<Hold, Refusal> {
        let is_asked = |rule: &Arc<Rule>| match stage {
            Stage::Request => !rule.is_of_targets(),
            Stage::Target => rule.is_of_targets(),
        };
        let asked = rules.iter().filter(|rule| is_asked(rule));
        let counting = asked.filter(|rule| rule.counts(subject));
        let (places, budgets): (Vec<_>, Vec<_>) =
            counting.partition(|rule| rule.allowance.measure == Measure::Concurrent);
        if let Some(fleet) = &self.fleet {
            let both = (places, budgets);
            return self.share(fleet, both, subject, load, turn, now).await;
        }
        let (slots, now) = self.enter(places, subject, turn, now).await?;
        let charge = |rule: &Arc<Rule>| {
            let counter = self.counter(rule, subject, now)?;
            Ok(Charge::new(Arc::clone(rule), counter))
        };
        let charges: Result<Vec<_>, Refusal> = budgets.into_iter().map(charge).collect();
        Hold::new(charges?, slots, load, now)
    }

    /// Reserves in this gateway's memory and in the fleet's store.
    async fn share(
        &self,
        fleet: &Arc<Fleet>,
        (places, budgets): (Vec<&Arc<Rule>>, Vec<&Arc<Rule>>),
        subject: &Subject<'_>,
        load: &Load,
        turn: Turn,
        now: Moment,
    ) -> Result<Hold, Refusal> {
        let shared = places.iter().map(|rule| {
            let key = fleet.place(Key::of(rule, subject).as_str());
            (Arc::clone(rule), key)
        });
        let shared: Vec<_> = shared.collect();
        let patience = shared.iter().map(|(rule, _)| rule.wait).max();
        let until = tokio::time::Instant::from_std(turn.until);
        let until = until.min(tokio::time::Instant::now() + patience.unwrap_or_default());
        let (slots, now) = self.enter(places, subject, turn, now).await?;
        let charge = |rule: &Arc<Rule>| {
            let counter = self.counter(rule, subject, now)?;
            Ok(Charge {
                name: Some(Key::of(rule, subject).as_str().into()),
                ..Charge::new(Arc::clone(rule), counter)
            })
        };
        let charges: Result<Vec<_>, Refusal> = budgets.into_iter().map(charge).collect();
        let charges = charges?;
        if charges.is_empty() && shared.is_empty() {
            return Ok(Hold::default());
        }
        let share = Share {
            fleet: Arc::clone(fleet),
            member: match shared.is_empty() {
                true => String::new(),
                false => fleet.member(),
            },
            places: shared,
            is_placed: false,
        };
        let mut hold = Hold::shared(charges, slots, share);
        loop {
            let Err(refusal) = hold.extend(load, now).await else {
                return Ok(hold);
            };
            let is_place = refusal.measure == Measure::Concurrent && refusal.why == Why::Exhausted;
            if !is_place || tokio::time::Instant::now() + ASK_EVERY >= until {
                return Err(refusal);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Takes a place under each rule, the narrowest rule first: nobody who waits
    /// behind their own requests holds a place that others could use. All take
    /// them in this order, so that no two wait for each other. Returns the time
    /// after that.
    async fn enter(
        &self,
        mut rules: Vec<&Arc<Rule>>,
        subject: &Subject<'_>,
        turn: Turn,
        mut now: Moment,
    ) -> Result<(Vec<Slot>, Moment), Refusal> {
        if rules.is_empty() {
            return Ok((Vec::new(), now));
        }
        rules.sort_by(|a, b| (b.per.len(), &a.name).cmp(&(a.per.len(), &b.name)));
        // Users are a key's own: whoever names somebody else's does not stand in
        // their line.
        let who = Who {
            key: subject.key,
            user: subject.user,
        };
        let mut slots = Vec::with_capacity(rules.len());
        for rule in rules {
            let counter = self.counter(rule, subject, now)?;
            match counter.enter(rule, who, turn, now).await {
                Ok((slot, waited)) => {
                    now = now.plus(waited);
                    slots.push(slot);
                }
                Err(why) => return Err(no_place(rule, &counter, why)),
            }
        }
        Ok((slots, now))
    }

    /// Counts what was used already, at the time of its admission, under all
    /// rules that count the request. No limit is asked. Of what nobody knows where
    /// it was (no target, and more than a request), it counts under every rule of
    /// targets that it may be of.
    pub fn record(&self, rules: &[Arc<Rule>], subject: &Subject<'_>, used: &Load, at: Moment) {
        // A request that used nothing was nowhere.
        let is_lost = *used
            != Load {
                requests: used.requests,
                ..Load::default()
            };
        let counts =
            |rule: &&Arc<Rule>| rule.counts(subject) || (is_lost && rule.may_count(subject));
        for rule in rules.iter().filter(counts) {
            let used = used.of(rule.allowance.measure);
            if used > 0 {
                let key = Key::of(rule, subject);
                let counter = self.memory.recorded(&key, rule.allowance.window, at);
                self.mark(&counter, rule);
                counter.lock().tally.record(counter.window, used, at);
            }
        }
    }

    /// As [`Self::record`], of what was used by one of these, nobody knows which:
    /// each counter that may count it does, once.
    pub fn presume<'a>(
        &self,
        rules: &[Arc<Rule>],
        subjects: impl IntoIterator<Item = Subject<'a>> + Clone,
        used: &Load,
        at: Moment,
    ) {
        for rule in rules {
            let used = used.of(rule.allowance.measure);
            if used == 0 {
                continue;
            }
            for (counter, _) in self.distinct(rule, subjects.clone(), at) {
                counter.lock().tally.record(counter.window, used, at);
            }
        }
    }

    /// Reserves what a request may use that was under way before this rule came:
    /// once in each counter that counts any of its subjects, with the places of
    /// these. No limit is asked. `now`: it is reserved at this time.
    pub fn adopt<'a>(
        &self,
        rule: &Arc<Rule>,
        subjects: impl IntoIterator<Item = Subject<'a>>,
        load: &Load,
        now: Moment,
    ) -> Vec<(Hold, Vec<usize>)> {
        let subjects: Vec<_> = subjects.into_iter().collect();
        let found = self.distinct(rule, subjects.iter().copied(), now);
        let adopted = |(counter, of): (Arc<Counter>, Vec<usize>)| {
            let mut charge = Charge::new(Arc::clone(rule), counter);
            let one = of.first().and_then(|at| subjects.get(*at));
            if let (Some(one), true) = (one, self.fleet.is_some()) {
                charge.name = Some(Key::of(rule, one).as_str().into());
            }
            let hold = Hold::adopted(charge, self.fleet.as_ref(), load, now);
            (hold, of)
        };
        found.into_iter().map(adopted).collect()
    }

    /// The counters that count any of these, each once, with the places of whom
    /// it counts.
    fn distinct<'a>(
        &self,
        rule: &Rule,
        subjects: impl IntoIterator<Item = Subject<'a>>,
        now: Moment,
    ) -> Vec<(Arc<Counter>, Vec<usize>)> {
        let mut found: Vec<(Arc<Counter>, Vec<usize>)> = Vec::new();
        for (at, subject) in subjects.into_iter().enumerate() {
            if !rule.counts(&subject) {
                continue;
            }
            // Of what was let in already, whatever room there is.
            let key = Key::of(rule, &subject);
            let counter = self.memory.recorded(&key, rule.allowance.window, now);
            self.mark(&counter, rule);
            match found.iter_mut().find(|(known, _)| known.id == counter.id) {
                Some((_, of)) => of.push(at),
                None => found.push((counter, vec![at])),
            }
        }
        found
    }

    /// What is left of the rules that have one allowance for all, in their order.
    pub fn left(&self, rules: &[Arc<Rule>], now: Moment) -> Vec<Remaining> {
        let single = rules.iter().filter(|rule| rule.per.is_empty());
        let look = |rule: &Arc<Rule>| {
            let known = self.memory.known(&Key::of_rule(rule));
            let unused = || Remaining::of(rule, Vec::new(), None, now);
            known.map_or_else(unused, |counter| {
                Remaining::of(rule, Vec::new(), Some(&counter), now)
            })
        };
        single.map(look).collect()
    }

    /// What is left of one rule for those that used some of it: any `most` of
    /// them. Looks at all counters of all rules; for a page that people read.
    pub fn counters(&self, rule: &Arc<Rule>, most: usize, now: Moment) -> Vec<Remaining> {
        let found = self.memory.of_rule(&Key::of_rule(rule), most);
        let look = |(of, counter): (Vec<String>, Arc<Counter>)| {
            Remaining::of(rule, of, Some(&counter), now)
        };
        found.into_iter().map(look).collect()
    }

    /// Forgets what was counted of a rule, before it is [recorded](Self::record)
    /// anew. Requests that were let in under it settle what nobody sees.
    pub fn forget(&self, rule: &Rule) {
        self.memory.forget(&Key::of_rule(rule));
    }

    /// How many counters are kept.
    pub fn size(&self) -> usize {
        self.memory.len()
    }

    /// The counter of a request under this rule.
    ///
    /// # Errors
    ///
    /// When it has none, and its key has as many as it may have.
    fn counter(
        &self,
        rule: &Rule,
        subject: &Subject<'_>,
        now: Moment,
    ) -> Result<Arc<Counter>, Refusal> {
        let key = Key::of(rule, subject);
        let counter = self.memory.counter(&key, rule.allowance.window, now);
        let counter = counter.ok_or_else(|| crowded(rule))?;
        self.mark(&counter, rule);
        Ok(counter)
    }

    fn mark(&self, counter: &Counter, rule: &Rule) {
        if self.fleet.is_some() {
            counter.is_hard.store(rule.hard, Ordering::Relaxed);
        }
    }
}

impl Remaining {
    fn of(rule: &Arc<Rule>, of: Vec<String>, counter: Option<&Counter>, now: Moment) -> Self {
        let (used, reserved, waiting) = counter.map_or((0, 0, 0), |counter| {
            let mut held = counter.lock();
            held.tally.turn(counter.window, now);
            let elsewhere = held.elsewhere(counter.window, now);
            let used = held.tally.used().saturating_add(elsewhere);
            (used, held.tally.reserved(), held.waiting())
        });
        Self {
            rule: Arc::clone(rule),
            of,
            used,
            reserved,
            left: rule.allowance.amount.saturating_sub(used),
            waiting,
        }
    }
}

fn no_place(rule: &Rule, counter: &Counter, why: Why) -> Refusal {
    let limit = rule.allowance.amount;
    Refusal {
        rule: Arc::clone(&rule.name),
        measure: rule.allowance.measure,
        window: rule.allowance.window,
        limit,
        left: counter.lock().tally.left(limit),
        retry_after: (why != Why::TooLarge).then_some(PLACE_AFTER),
        why,
        standing: Box::default(),
    }
}

fn crowded(rule: &Rule) -> Refusal {
    let Allowance {
        amount,
        measure,
        window,
    } = rule.allowance;
    Refusal {
        rule: Arc::clone(&rule.name),
        measure,
        window,
        limit: amount,
        left: 0,
        // What is used of a total is so for ever.
        retry_after: (window != Window::Total || measure == Measure::Concurrent)
            .then_some(CROWDED_FOR),
        why: Why::Crowded,
        standing: Box::default(),
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
pub(super) mod tests;
