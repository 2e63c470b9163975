//! The counters of this process, by rule and by the values that it tells apart.
//!
//! A reservation over several counters locks them all, in the order of their
//! numbers, for the microseconds that it takes to look and to add: it is exact
//! under any number of threads, and no two can wait for each other.
//!
//! **Bounds.** A counter takes about 350 bytes, more where a rolling window has
//! much use spread over it (24 bytes for each sixtieth of the window that has
//! any). Counters that hold nothing (the window has passed, nothing is reserved,
//! nobody waits) are dropped in passing by ordinary calls. There are at most
//! [`ROOM`] of them, however many users a client invents. When a shard of the
//! map is full, those who come new to it share one counter for each rule until
//! that one is idle again: they may be refused early, never admitted too often,
//! and nobody who has a counter feels it. Names longer than 64 bytes are kept as
//! their SHA-256.

use super::counter::Counter;
use super::{Dimension, Rule, Subject};
use crate::units::{Moment, Window};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many counters there may be, unless told otherwise.
pub const ROOM: usize = 1 << 20;

const SHARDS: usize = 256;

/// A name that is longer is kept as a digest.
const NAME: usize = 64;

/// One call in so many looks for counters to drop.
const SWEEP_EVERY: u64 = 16;

/// A shard is looked through at most so often.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Stands for all values that found no room.
const REST: &str = "|*";

/// All counters.
pub(super) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Counters in one shard, at most.
    room: usize,
    ids: AtomicU64,
    calls: AtomicU64,
}

#[derive(Default)]
struct Shard {
    counters: HashMap<Box<str>, Arc<Counter>>,
    /// When it was looked through last; what begins here begins no earlier.
    swept: Moment,
}

/// The name of a counter: the rule, its measure and window, and the values of
/// what it tells apart, each with its length before it.
pub(super) struct Key {
    text: String,
    /// How long the part is that is the rule's.
    rule: usize,
}

impl Key {
    /// The counter of a request that the rule counts.
    pub fn of(rule: &Rule, subject: &Subject<'_>) -> Self {
        let mut key = Self::of_rule(rule);
        for per in &rule.per {
            key.add(*per, subject);
        }
        key
    }

    /// What all counters of a rule begin with. A rule whose measure or window
    /// was changed is another rule: what was counted of one is no count of the
    /// other.
    pub fn of_rule(rule: &Rule) -> Self {
        let mut text = String::with_capacity(96);
        let measure = rule.allowance.measure.name();
        let _ = write!(text, "{}:{}/{measure}/", rule.name.len(), rule.name);
        let _ = match rule.allowance.window {
            Window::Rolling(length) => write!(text, "{}us", length.as_micros()),
            Window::Calendar(part) => write!(text, "{}", part.name()),
            Window::Total => write!(text, "total"),
        };
        for per in &rule.per {
            let _ = write!(text, "/{per:?}");
        }
        let rule = text.len();
        Self { text, rule }
    }

    fn add(&mut self, per: Dimension, subject: &Subject<'_>) {
        let value = subject.value(per).unwrap_or_default();
        if value.len() <= NAME {
            let _ = write!(self.text, "|{}:{value}", value.len());
            return;
        }
        self.text.push_str("|#");
        for byte in Sha256::digest(value) {
            let _ = write!(self.text, "{byte:02x}");
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn rest(&self) -> String {
        let rule = self.text.get(..self.rule).unwrap_or_default();
        format!("{rule}{REST}")
    }

    fn has_values(&self) -> bool {
        self.text.len() > self.rule
    }
}

/// The values in a counter's name, after the rule's part of it.
fn values(mut text: &str) -> Vec<String> {
    let mut values = Vec::new();
    while let Some(rest) = text.strip_prefix('|') {
        let sized = rest.split_once(':').and_then(|(length, value)| {
            let length: usize = length.parse().ok()?;
            Some((value.get(..length)?, value.get(length..)?))
        });
        let (value, after) = match sized {
            Some(sized) => sized,
            None => rest.split_at(rest.find('|').unwrap_or(rest.len())),
        };
        values.push(value.to_owned());
        text = after;
    }
    values
}

impl Memory {
    pub fn new(room: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            room: room.div_ceil(SHARDS).max(1),
            ids: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    /// The counter of this name; it is made where there is none.
    pub fn counter(&self, key: &Key, window: Window, now: Moment) -> Arc<Counter> {
        self.pass_by(now);
        let mut shard = self.shard(key);
        if let Some(counter) = shard.counters.get(key.as_str()) {
            return Arc::clone(counter);
        }
        let rest = key.rest();
        if let Some(shared) = shard.counters.get(&*rest) {
            // Whoever was counted there is counted there until all is forgotten:
            // a counter of its own would let it begin anew.
            let is_used = Arc::strong_count(shared) > 1 || !shared.lock().is_idle(window, now);
            if is_used && key.has_values() {
                return Arc::clone(shared);
            }
            shard.counters.remove(&*rest);
        }
        if shard.counters.len() >= self.room {
            shard.sweep(now);
        }
        let is_full = shard.counters.len() >= self.room && key.has_values();
        let name = if is_full { rest.as_str() } else { key.as_str() };
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let counter = Arc::new(Counter::new(id, window, shard.swept));
        shard.counters.insert(name.into(), Arc::clone(&counter));
        counter
    }

    /// The counter of this name, if there is one.
    pub fn known(&self, key: &Key) -> Option<Arc<Counter>> {
        self.shard(key).counters.get(key.as_str()).map(Arc::clone)
    }

    /// Counters of a rule, at most so many, with the values they are for; `*`
    /// stands for all that found no room.
    pub fn of_rule(&self, rule: &Key, most: usize) -> Vec<(Vec<String>, Arc<Counter>)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let own = shard.counters.iter().filter_map(|(name, counter)| {
                let rest = name.strip_prefix(rule.as_str())?;
                let is_own = rest.is_empty() || rest.starts_with('|');
                is_own.then(|| (values(rest), Arc::clone(counter)))
            });
            found.extend(own.take(most.saturating_sub(found.len())));
            if found.len() >= most {
                break;
            }
        }
        found
    }

    /// Drops the counters of a rule.
    pub fn forget(&self, rule: &Key) {
        let is_other = |name: &str| {
            let rest = name.strip_prefix(rule.as_str());
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        for shard in &self.shards {
            lock(shard).counters.retain(|name, _| is_other(name));
        }
    }

    /// All counters of hard rules, with their names.
    pub fn hard(&self) -> Vec<(Arc<str>, Arc<Counter>)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let all = shard.counters.iter();
            let hard = all.filter(|(_, counter)| counter.is_hard.load(Ordering::Relaxed));
            found.extend(hard.map(|(name, counter)| (Arc::from(&**name), Arc::clone(counter))));
        }
        found
    }

    /// How many counters there are.
    pub fn len(&self) -> usize {
        let of_each = self.shards.iter().map(|shard| lock(shard).counters.len());
        of_each.sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key.as_str());
        let place = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "there are SHARDS of them")]
        lock(&self.shards[place])
    }

    /// Every few calls, one shard is looked through.
    fn pass_by(&self, now: Moment) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call.is_multiple_of(SWEEP_EVERY) {
            let turn = usize::try_from(call / SWEEP_EVERY % SHARDS as u64).unwrap_or_default();
            if let Some(shard) = self.shards.get(turn) {
                lock(shard).sweep(now);
            }
        }
    }
}

impl Shard {
    /// Drops what is idle, unless that was done just now.
    fn sweep(&mut self, now: Moment) {
        if now.since(self.swept) < SWEEP_PAUSE {
            return;
        }
        self.swept = now;
        // Nobody else has it, and nobody can come to have it: they would have to
        // ask this shard.
        self.counters.retain(|_, counter| {
            Arc::strong_count(counter) > 1 || !counter.lock().is_idle(counter.window, now)
        });
        if self.counters.capacity() > 64 && self.counters.len() * 4 < self.counters.capacity() {
            self.counters.shrink_to(self.counters.len() * 2);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
