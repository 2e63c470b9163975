//! What a request holds of its limits and budgets, from before it is sent until
//! it is known what it used.
//!
//! A hold ends exactly once: settled, released, or dropped. That is by its type:
//! the first two consume it, and its charges are taken out when they are ended.

use super::counter::{Counter, Held, Slot};
use super::window::{self, Ask, Part};
use super::{Left, Load, Refusal, Rule, Standing, Why};
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
}

/// What is reserved in one counter.
pub(super) struct Charge {
    pub rule: Arc<Rule>,
    pub counter: Arc<Counter>,
    /// The oldest first.
    parts: Vec<Part>,
}

impl Hold {
    /// Reserves `load` in all of these counters, or nothing in any.
    pub(super) fn new(
        mut charges: Vec<Charge>,
        slots: Vec<Slot>,
        load: &Load,
        now: Moment,
    ) -> Result<Self, Refusal> {
        charges.sort_by_key(|charge| charge.counter.id);
        charges.dedup_by_key(|charge| charge.counter.id);
        let standing = reserve(&mut charges, load, now)?;
        Ok(Self {
            charges,
            slots,
            bound: *load,
            standing,
        })
    }

    /// Reserves more, for a further attempt or a hedge: all of it under each
    /// rule, or nothing.
    ///
    /// # Errors
    ///
    /// When a rule has not enough left. The hold is as it was.
    pub fn extend(&mut self, more: &Load, now: Moment) -> Result<(), Refusal> {
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
        for charge in std::mem::take(&mut self.charges) {
            charge.settle(used.of(charge.rule.allowance.measure));
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
        }
    }

    /// The oldest parts are charged first: the ledger knows a request by the time
    /// at which it was admitted.
    fn settle(&self, mut used: u64) {
        let mut held = self.counter.lock();
        for part in &self.parts {
            let charged = used.min(part.amount());
            held.tally.settle(*part, charged);
            used -= charged;
        }
    }
}

/// Adds `load` to all charges or none. The counters are locked together, in the
/// order of their numbers.
fn reserve(charges: &mut [Charge], load: &Load, now: Moment) -> Result<Standing, Refusal> {
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
