//! What Redis does not know yet, and what may be spent without it.
//!
//! Bounded by the counters there are: changes of one bucket are one sum.

use super::super::Why;
use super::super::counter::Counter;
use super::super::hold::Charge;
use crate::admission::{Load, Rule};
use crate::units::Window;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Counters for which a lease is remembered; without one, nothing can be spent
/// while Redis is away.
const LEASES: usize = 1 << 17;

/// Changes that are kept while Redis is away. Beyond it, what soft rules count is
/// not told; hard rules let in nothing new.
const CHANGES: usize = 1 << 18;

/// Under the lock of the fleet. Whoever changes a counter in memory without
/// holding the gate does both under this lock.
pub struct Journal {
    /// Names this run of the gateway.
    pub run: String,
    /// What Redis has to add to a bucket, or to take from it.
    pub changes: HashMap<(Arc<str>, u64), Change>,
    leases: HashMap<Arc<str>, Lease>,
    /// Counters whose part in Redis may be wrong.
    pub doubtful: HashMap<Arc<str>, Arc<Counter>>,
    /// All counters of hard rules may be wrong.
    pub renew: bool,
    /// Places taken, and who has them: key and member.
    pub places: HashSet<(String, String)>,
    /// Places left.
    pub left: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub window: Window,
    pub amount: i64,
}

/// What this gateway has taken out of a budget, to spend without asking.
struct Lease {
    left: u64,
    /// `None`: it never ends.
    until: Option<Instant>,
    /// The decision that told of it.
    told: u64,
}

impl Journal {
    pub fn new() -> Self {
        Self {
            run: super::tend::token(),
            changes: HashMap::new(),
            leases: HashMap::new(),
            doubtful: HashMap::new(),
            renew: true,
            places: HashSet::new(),
            left: Vec::new(),
        }
    }

    /// Whether Redis has been told everything.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.left.is_empty()
    }

    /// Counters of which a lease is known.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// One more change of a bucket.
    pub fn change(&mut self, name: &Arc<str>, window: Window, from: u64, amount: i64) {
        if amount == 0 {
            return;
        }
        let key = (Arc::clone(name), from);
        if self.changes.len() >= CHANGES && !self.changes.contains_key(&key) {
            return;
        }
        let change = self
            .changes
            .entry(key)
            .or_insert(Change { window, amount: 0 });
        change.amount = change.amount.saturating_add(amount);
    }

    /// What Redis says that is left of a lease.
    pub fn lease(&mut self, name: &Arc<str>, left: u64, until: Option<Instant>, told: u64) {
        if left == 0 {
            if self.leases.get(name).is_some_and(|known| told > known.told) {
                self.leases.remove(name);
            }
            return;
        }
        if self.leases.len() >= LEASES {
            let now = Instant::now();
            self.leases
                .retain(|_, lease| lease.until.is_none_or(|until| until > now));
            if self.leases.len() >= LEASES {
                return;
            }
        }
        let lease = self
            .leases
            .entry(Arc::clone(name))
            .or_insert(Lease { left, until, told });
        if told > lease.told {
            *lease = Lease { left, until, told };
        }
    }

    /// Places that are taken: the store is told of them for as long as they are.
    pub fn placed(&mut self, places: &[(Arc<Rule>, String)], member: &str) {
        let taken = places
            .iter()
            .map(|(_, key)| (key.clone(), member.to_owned()));
        self.places.extend(taken);
    }

    /// A lease of which this much at most may still be there.
    pub fn cap(&mut self, name: &Arc<str>, most: u64) {
        if let Some(lease) = self.leases.get_mut(name) {
            lease.left = lease.left.min(most);
        }
    }

    pub fn forget_lease(&mut self, name: &Arc<str>) {
        self.leases.remove(name);
    }

    /// The hard rule under which this much cannot be spent without Redis.
    pub fn short<'c>(&self, charges: &'c [Charge], load: &Load) -> Option<&'c Arc<Rule>> {
        let now = Instant::now();
        let is_full = self.changes.len() >= CHANGES;
        let covered = |charge: &Charge| {
            let amount = charge.amount(load);
            let lease = charge.name.as_ref().and_then(|name| self.leases.get(name));
            let lease = lease.filter(|lease| lease.until.is_none_or(|until| until > now));
            amount == 0 || (!is_full && lease.is_some_and(|lease| lease.left >= amount))
        };
        let hard = charges.iter().filter(|charge| charge.rule.hard);
        let mut short = hard.filter(|charge| !covered(charge));
        short.next().map(|charge| &charge.rule)
    }

    /// Notes what these have just reserved in memory, to tell Redis later.
    pub fn spend(&mut self, charges: &mut [Charge], load: &Load) {
        for charge in charges {
            let amount = charge.amount(load);
            let (Some(name), Some(part)) = (charge.name.clone(), charge.parts.last()) else {
                continue;
            };
            if amount == 0 {
                continue;
            }
            let from = part.from();
            charge.shared.push(from);
            if charge.rule.hard
                && let Some(lease) = self.leases.get_mut(&name)
            {
                lease.left = lease.left.saturating_sub(amount);
            }
            let signed = i64::try_from(amount).unwrap_or(i64::MAX);
            self.change(&name, charge.counter.window, from, signed);
        }
    }
}

/// Why a hard rule lets nobody in.
pub const AWAY: Why = Why::Unavailable;
