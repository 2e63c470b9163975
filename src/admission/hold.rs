//! What a request holds of its limits and budgets, from before it is sent until
//! it is known what it used.
//!
//! A hold ends exactly once: settled, released, or dropped. That is by its type:
//! the first two consume it, and its charges are taken out when they are ended.

use super::counter::{Counter, Held, Slot};
use super::fleet::Asked;
use super::period;
use super::window::{self, Ask, Part};
use super::{Fleet, Left, Load, Refusal, Rule, Standing, Why};
use crate::units::Moment;
use std::sync::{Arc, MutexGuard};

/// A reservation under all rules that count a request. One that is dropped was
/// not ended by who made it, which may have sent something: it is charged in
/// full.
#[derive(Default)]
pub struct Hold {
    /// In the order of their counters' numbers, each counter once.
    charges: Vec<Charge>,
    slots: Vec<Slot>,
    /// What is reserved.
    bound: Load,
    standing: Standing,
    /// What the gateways of a fleet share of it.
    share: Option<Box<Share>>,
}

/// A hold's other half, in the shared store.
pub(super) struct Share {
    pub fleet: Arc<Fleet>,
    /// Rules that want a place, with the key of their places.
    pub places: Vec<(Arc<Rule>, String)>,
    pub member: String,
    /// The places are taken.
    pub is_placed: bool,
}

/// What is reserved in one counter.
pub(super) struct Charge {
    pub rule: Arc<Rule>,
    pub counter: Arc<Counter>,
    /// The oldest first.
    pub parts: Vec<Part>,
    /// Its name in the shared store, where there is one, and the buckets there of
    /// all parts.
    pub name: Option<Arc<str>>,
    pub shared: Vec<u64>,
}

impl Hold {
    /// Reserves `load` in all of these counters, or nothing in any.
    pub(super) fn new(
        mut charges: Vec<Charge>,
        slots: Vec<Slot>,
        load: &Load,
        now: Moment,
    ) -> Result<Self, Refusal> {
        order(&mut charges);
        let standing = reserve(&mut charges, load, now)?;
        Ok(Self {
            charges,
            slots,
            bound: *load,
            standing,
            share: None,
        })
    }

    /// Nothing is reserved yet: the first [`Self::extend`] does it, in the shared
    /// store too.
    pub(super) fn shared(mut charges: Vec<Charge>, slots: Vec<Slot>, share: Share) -> Self {
        order(&mut charges);
        Self {
            charges,
            slots,
            share: Some(Box::new(share)),
            ..Self::default()
        }
    }

    /// Reserves more, for a further attempt or a hedge: all of it under each
    /// rule, or nothing. Asks the shared store where there is one; a future that
    /// is dropped while it waits leaves the hold as it was.
    ///
    /// # Errors
    ///
    /// When a rule has not enough left. The hold is as it was.
    pub async fn extend(&mut self, more: &Load, now: Moment) -> Result<(), Refusal> {
        let Some(share) = &mut self.share else {
            return self.grow(more, now);
        };
        let places = match share.is_placed {
            true => &[][..],
            false => &share.places,
        };
        let mut asked = Asked {
            charges: &mut self.charges,
            places,
            member: &share.member,
            load: *more,
        };
        self.standing = share.fleet.take(&mut asked, now).await?;
        share.is_placed = true;
        self.bound = self.bound.plus(more);
        Ok(())
    }

    /// Reserves `load` in one counter, whether it has so much left or not: of a
    /// request that was under way before its rule. The fleet is told later.
    pub(super) fn adopted(
        mut charge: Charge,
        fleet: Option<&Arc<Fleet>>,
        load: &Load,
        now: Moment,
    ) -> Self {
        let rule = Arc::clone(&charge.rule);
        let mut unlimited = Rule::clone(&rule);
        unlimited.allowance.amount = u64::MAX;
        charge.rule = Arc::new(unlimited);
        let mut charges = vec![charge];
        let mut journal = fleet.map(|fleet| fleet.lock());
        let standing = reserve(&mut charges, load, now).unwrap_or_default();
        for charge in &mut charges {
            charge.rule = Arc::clone(&rule);
        }
        if let Some(journal) = &mut journal {
            journal.spend(&mut charges, load);
        }
        drop(journal);
        let share = |fleet: &Arc<Fleet>| {
            Box::new(Share {
                fleet: Arc::clone(fleet),
                places: Vec::new(),
                member: String::new(),
                is_placed: true,
            })
        };
        Self {
            charges,
            slots: Vec::new(),
            bound: *load,
            standing,
            share: fleet.map(share),
        }
    }

    /// As [`Self::extend`], as far as this gateway knows; the fleet is told later.
    ///
    /// # Errors
    ///
    /// When a rule has not enough left. The hold is as it was.
    pub fn extend_here(&mut self, more: &Load, now: Moment) -> Result<(), Refusal> {
        let Some(share) = &self.share else {
            return self.grow(more, now);
        };
        let fleet = Arc::clone(&share.fleet);
        let mut journal = fleet.lock();
        self.grow(more, now)?;
        journal.spend(&mut self.charges, more);
        Ok(())
    }

    /// As [`Self::extend`], in memory.
    pub(super) fn grow(&mut self, more: &Load, now: Moment) -> Result<(), Refusal> {
        self.standing = reserve(&mut self.charges, more, now)?;
        self.bound = self.bound.plus(more);
        Ok(())
    }

    /// Charges what was used, never more than is reserved, and frees the rest.
    /// It is charged to the time at which it was reserved. Returns what was
    /// charged.
    pub fn settle(mut self, used: &Load) -> Load {
        let charged = used.within(&self.bound);
        self.close(&charged);
        charged
    }

    /// Frees everything: nothing was sent. The request does not count either.
    pub fn release(mut self) {
        self.close(&Load::default());
    }

    /// Gives its places back: it is no longer under way. What it used is yet to
    /// be settled.
    pub fn leave(&mut self) {
        self.slots.clear();
        if let Some(share) = &mut self.share {
            share.leave();
        }
    }

    /// Whether a rule is among them under which nobody gets anything while it
    /// cannot be told what is left.
    pub fn is_hard(&self) -> bool {
        self.charges.iter().any(|charge| charge.rule.hard)
    }

    /// What is reserved.
    pub const fn bound(&self) -> &Load {
        &self.bound
    }

    /// What is left beside this, as of the last reservation.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    fn close(&mut self, used: &Load) {
        let charges = std::mem::take(&mut self.charges);
        match self.share.take() {
            None => {
                for charge in charges {
                    charge.settle(charge.amount(used), |_, _| ());
                }
            }
            Some(share) => share.close(&charges, used),
        }
        self.slots.clear();
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = self.charges.iter().map(|charge| &charge.rule.name);
        f.debug_struct("Hold")
            .field("bound", &self.bound)
            .field("rules", &rules.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let bound = self.bound;
        self.close(&bound);
    }
}

impl Charge {
    pub const fn new(rule: Arc<Rule>, counter: Arc<Counter>) -> Self {
        Self {
            rule,
            counter,
            parts: Vec::new(),
            name: None,
            shared: Vec::new(),
        }
    }

    /// What it counts of a load.
    pub fn amount(&self, load: &Load) -> u64 {
        load.of(self.rule.allowance.measure)
    }

    /// How long its buckets are, in microseconds.
    pub fn width(&self) -> u64 {
        period::width(self.counter.window)
    }

    /// Takes back what was reserved last, which was `load`.
    pub fn undo(&mut self, load: &Load) {
        if self.amount(load) > 0
            && let Some(part) = self.parts.pop()
        {
            self.counter.lock().tally.settle(part, 0);
        }
    }

    /// The oldest parts are charged first: the ledger knows a request by the time
    /// at which it was admitted.
    /// Tells how much is free again of which part.
    fn settle(&self, mut used: u64, mut free: impl FnMut(usize, u64)) {
        let mut held = self.counter.lock();
        for (at, part) in self.parts.iter().enumerate() {
            let charged = used.min(part.amount());
            held.tally.settle(*part, charged);
            used -= charged;
            free(at, part.amount() - charged);
        }
    }
}

impl Share {
    /// Gives the places back.
    fn leave(&mut self) {
        let mut journal = self.fleet.lock();
        for (_, key) in std::mem::take(&mut self.places) {
            let place = (key, self.member.clone());
            if journal.places.remove(&place) {
                journal.left.push(place);
            }
        }
        let is_empty = journal.is_empty();
        drop(journal);
        if !is_empty {
            self.fleet.nudge();
        }
    }

    /// Settles in memory, and notes what the store is to be told.
    fn close(mut self, charges: &[Charge], used: &Load) {
        let mut journal = self.fleet.lock();
        for charge in charges {
            let (window, name) = (charge.counter.window, &charge.name);
            charge.settle(charge.amount(used), |at, free| {
                if let (Some(name), Some(from)) = (name, charge.shared.get(at)) {
                    let free = i64::try_from(free).unwrap_or(i64::MAX);
                    journal.change(name, window, *from, -free);
                }
            });
        }
        drop(journal);
        // Tells the store of all that is noted.
        self.leave();
    }
}

fn order(charges: &mut Vec<Charge>) {
    charges.sort_by_key(|charge| charge.counter.id);
    charges.dedup_by_key(|charge| charge.counter.id);
}

/// Adds `load` to all charges or none. The counters are locked together, in the
/// order of their numbers.
pub(super) fn reserve(
    charges: &mut [Charge],
    load: &Load,
    now: Moment,
) -> Result<Standing, Refusal> {
    let mut guards: Vec<_> = charges.iter().map(|charge| charge.counter.lock()).collect();
    let locked = charges.iter().zip(&mut guards);
    let mut asks: Vec<_> = locked
        .map(|(charge, held)| Ask {
            tally: &mut held.tally,
            window: charge.counter.window,
            limit: charge.rule.allowance.amount,
            amount: load.of(charge.rule.allowance.measure),
        })
        .collect();
    let outcome = window::admit(&mut asks, now);
    let standing = standing(charges, &guards, now);
    match outcome {
        Ok(parts) => {
            drop(guards);
            for (charge, part) in charges.iter_mut().zip(parts) {
                if part.amount() > 0 {
                    charge.parts.push(part);
                }
            }
            Ok(standing)
        }
        Err(place) => Err(refusal(charges, &guards, place, load, now, standing)),
    }
}

fn standing(charges: &[Charge], guards: &[MutexGuard<'_, Held>], now: Moment) -> Standing {
    let mut standing = Standing::default();
    for (charge, held) in charges.iter().zip(guards) {
        let window = charge.counter.window;
        let limit = charge.rule.allowance.amount;
        if let Some(reset) = held.tally.reset(window, now) {
            let remaining = held.tally.left(limit);
            let left = Left {
                limit,
                remaining,
                reset,
            };
            standing.see(charge.rule.allowance.measure, left);
        }
    }
    standing
}

#[expect(clippy::indexing_slicing, reason = "the place is one of these")]
fn refusal(
    charges: &[Charge],
    guards: &[MutexGuard<'_, Held>],
    place: usize,
    load: &Load,
    now: Moment,
    standing: Standing,
) -> Refusal {
    let Charge { rule, counter, .. } = &charges[place];
    let tally = &guards[place].tally;
    let limit = rule.allowance.amount;
    let amount = load.of(rule.allowance.measure);
    let why = match amount > limit {
        true => Why::TooLarge,
        false => Why::Exhausted,
    };
    Refusal {
        rule: Arc::clone(&rule.name),
        measure: rule.allowance.measure,
        window: counter.window,
        limit,
        left: tally.left(limit),
        retry_after: tally.free_after(counter.window, limit, amount, now),
        why,
        standing: Box::new(standing),
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
