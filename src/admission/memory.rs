//! The counters of this process, by rule and by the values that it tells apart.
//!
//! A reservation over several counters locks them all, in the order of their
//! numbers, for the microseconds that it takes to look and to add: it is exact
//! under any number of threads, and no two can wait for each other.
//!
//! **Bounds.** A counter takes about 400 bytes, more where a rolling window has
//! much use spread over it (24 bytes for each sixtieth of the window that has
//! any). Counters that hold nothing (the window has passed, nothing is reserved,
//! nobody waits) are dropped in passing by ordinary calls; no other ever is, for
//! that would open its budget again. There are at most [`ROOM`] of them, however
//! many users a client invents. Names longer than 64 bytes are kept as their
//! SHA-256.
//!
//! **Whose room it is.** Users can be invented, keys cannot: so the room is shared
//! out by rule and key. A key has a further counter under a rule only while it has
//! fewer there than four times what is free. One that takes all it can gets four
//! fifths of the room, and two of them four ninths each: something is always free
//! for who comes next (the dynamic threshold of Choudhury and Hahne, 1998). When a
//! key is at its bound, its new users are refused until others of its counters are
//! idle, rather than let in uncounted or counted together; those who have a
//! counter feel nothing, nor does any other key.
//!
//! What the ledger knows from before the process began is counted in any case. It
//! has more right to room than who is new, and what finds none is counted together,
//! by key where the rule tells keys apart: those users may be refused early, never
//! admitted too often, until all of that is over.

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

/// Of what is free, a key may have so many times as much under a rule, counting
/// its new users, and those that the ledger knows.
const NEW: usize = 4;
const KNOWN: usize = 16;

/// Stands for all values that found no room.
const REST: &str = "|*";

/// All counters. A shard is locked before the census.
pub(super) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    census: Mutex<Census>,
    ids: AtomicU64,
    calls: AtomicU64,
}

#[derive(Default)]
struct Shard {
    counters: HashMap<Box<str>, Entry>,
    /// When it was looked through last; what begins here begins no earlier.
    swept: Moment,
}

struct Entry {
    counter: Arc<Counter>,
    /// In whose part of the room it is; `None` for those that nobody can invent.
    owner: Option<Arc<str>>,
}

/// How the room is shared out.
struct Census {
    free: usize,
    /// By rule and key.
    owners: HashMap<Arc<str>, usize>,
}

/// By what right a counter is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    New,
    Known,
}

/// The name of a counter: the rule, its measure and window, and the values of
/// what it tells apart, each with its length before it.
pub(super) struct Key<'a> {
    text: String,
    /// How long the part is that is the rule's.
    rule: usize,
    /// The key of whose request it is, and whether the rule tells keys apart.
    owner: &'a str,
    is_per_key: bool,
}

impl<'a> Key<'a> {
    /// The counter of a request that the rule counts.
    pub fn of(rule: &Rule, subject: &Subject<'a>) -> Self {
        let mut key = Self::of_rule(rule);
        key.owner = subject.key;
        for per in &rule.per {
            add(&mut key.text, subject.value(*per).unwrap_or_default());
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
        Self {
            rule: text.len(),
            text,
            owner: "",
            is_per_key: rule.per.contains(&Dimension::Key),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The counter of those that found no room. Where a rule counts the same user
    /// of several keys together, so does this.
    fn rest(&self) -> String {
        let rule = self.text.get(..self.rule).unwrap_or_default();
        let mut rest = format!("{rule}{REST}");
        if self.is_per_key {
            add(&mut rest, self.owner);
        }
        rest
    }

    /// In whose part of the room it is.
    fn owner(&self) -> String {
        let mut owner = self.text.get(..self.rule).unwrap_or_default().to_owned();
        add(&mut owner, self.owner);
        owner
    }

    fn has_values(&self) -> bool {
        self.text.len() > self.rule
    }
}

/// Adds a value to a name.
fn add(name: &mut String, value: &str) {
    if value.len() <= NAME {
        let _ = write!(name, "|{}:{value}", value.len());
        return;
    }
    name.push_str("|#");
    for byte in Sha256::digest(value) {
        let _ = write!(name, "{byte:02x}");
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
        let census = Census {
            free: room,
            owners: HashMap::new(),
        };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            census: Mutex::new(census),
            ids: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    /// The counter of this name; it is made where there is none. `None` where
    /// there is none and its key has no more room.
    pub fn counter(&self, key: &Key<'_>, window: Window, now: Moment) -> Option<Arc<Counter>> {
        self.pass_by(now);
        let mut shard = self.shard(key);
        self.find(&mut shard, key, window, now, Claim::New)
    }

    /// As [`Self::counter`], for what is used already.
    pub fn recorded(&self, key: &Key<'_>, window: Window, now: Moment) -> Arc<Counter> {
        self.pass_by(now);
        let mut shard = self.shard(key);
        let found = self.find(&mut shard, key, window, now, Claim::Known);
        found.unwrap_or_else(|| self.add(&mut shard, &key.rest(), window, None))
    }

    fn find(
        &self,
        shard: &mut Shard,
        key: &Key<'_>,
        window: Window,
        now: Moment,
        claim: Claim,
    ) -> Option<Arc<Counter>> {
        if let Some(entry) = shard.counters.get(key.as_str()) {
            return Some(Arc::clone(&entry.counter));
        }
        if !key.has_values() {
            return Some(self.add(shard, key.as_str(), window, None));
        }
        if let Some(shared) = shard.rest(&key.rest(), now) {
            return Some(shared);
        }
        let owner = key.owner();
        let mut place = lock(&self.census).enter(&owner, claim);
        if place.is_none() && shard.sweep(now, &self.census) {
            place = lock(&self.census).enter(&owner, claim);
        }
        place.map(|owner| self.add(shard, key.as_str(), window, Some(owner)))
    }

    fn add(
        &self,
        shard: &mut Shard,
        name: &str,
        window: Window,
        owner: Option<Arc<str>>,
    ) -> Arc<Counter> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let counter = Arc::new(Counter::new(id, window, shard.swept));
        let entry = Entry {
            counter: Arc::clone(&counter),
            owner,
        };
        shard.counters.insert(name.into(), entry);
        counter
    }

    /// The counter of this name, if there is one.
    pub fn known(&self, key: &Key<'_>) -> Option<Arc<Counter>> {
        let shard = self.shard(key);
        let entry = shard.counters.get(key.as_str());
        entry.map(|entry| Arc::clone(&entry.counter))
    }

    /// Counters of a rule, at most so many, with the values they are for: `*`
    /// for those that found no room, before their key where keys are told apart.
    pub fn of_rule(&self, rule: &Key<'_>, most: usize) -> Vec<(Vec<String>, Arc<Counter>)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let own = shard.counters.iter().filter_map(|(name, entry)| {
                let rest = name.strip_prefix(rule.as_str())?;
                let is_own = rest.is_empty() || rest.starts_with('|');
                is_own.then(|| (values(rest), Arc::clone(&entry.counter)))
            });
            found.extend(own.take(most.saturating_sub(found.len())));
            if found.len() >= most {
                break;
            }
        }
        found
    }

    /// Drops the counters of a rule.
    pub fn forget(&self, rule: &Key<'_>) {
        let is_other = |name: &str| {
            let rest = name.strip_prefix(rule.as_str());
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        for shard in &self.shards {
            lock(shard).retain(&self.census, |name, _| is_other(name));
        }
    }

    /// All counters of hard rules, with their names.
    pub fn hard(&self) -> Vec<(Arc<str>, Arc<Counter>)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let all = shard.counters.iter();
            let all = all.map(|(name, entry)| (name, &entry.counter));
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

    fn shard(&self, key: &Key<'_>) -> MutexGuard<'_, Shard> {
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
                lock(shard).sweep(now, &self.census);
            }
        }
    }
}

impl Shard {
    /// The counter of those that found no room, while anything is counted there:
    /// a counter of its own would let who is counted there begin anew.
    fn rest(&mut self, name: &str, now: Moment) -> Option<Arc<Counter>> {
        let shared = &self.counters.get(name)?.counter;
        if is_used(shared, now) {
            return Some(Arc::clone(shared));
        }
        self.counters.remove(name);
        None
    }

    /// Drops what is idle, unless that was done just now.
    fn sweep(&mut self, now: Moment, census: &Mutex<Census>) -> bool {
        if now.since(self.swept) < SWEEP_PAUSE {
            return false;
        }
        self.swept = now;
        self.retain(census, |_, counter| is_used(counter, now));
        if self.counters.capacity() > 64 && self.counters.len() * 4 < self.counters.capacity() {
            self.counters.shrink_to(self.counters.len() * 2);
        }
        true
    }

    /// Drops all others, and makes their room free.
    fn retain(&mut self, census: &Mutex<Census>, stays: impl Fn(&str, &Arc<Counter>) -> bool) {
        let mut owners = Vec::new();
        self.counters.retain(|name, entry| {
            let stays = stays(name, &entry.counter);
            if !stays {
                owners.extend(entry.owner.take());
            }
            stays
        });
        if !owners.is_empty() {
            let mut census = lock(census);
            owners.iter().for_each(|owner| census.leave(owner));
        }
    }
}

impl Census {
    /// Room for one more, unless this owner has its part. Returns its name, to
    /// [leave](Self::leave) with.
    fn enter(&mut self, owner: &str, claim: Claim) -> Option<Arc<str>> {
        let times = match claim {
            Claim::New => NEW,
            Claim::Known => KNOWN,
        };
        let most = self.free.saturating_mul(times);
        let known = self.owners.get_key_value(owner);
        let (name, own) = known.map_or_else(|| (owner.into(), 0), |(n, own)| (Arc::clone(n), *own));
        if own >= most {
            return None;
        }
        self.free -= 1;
        self.owners.insert(Arc::clone(&name), own + 1);
        Some(name)
    }

    fn leave(&mut self, owner: &Arc<str>) {
        self.free += 1;
        if let Some(own) = self.owners.get_mut(owner) {
            *own -= 1;
            if *own == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// Whether somebody has it, or it holds something. Asked under the lock of its
/// shard: nobody can come to have it who has not.
fn is_used(counter: &Arc<Counter>, now: Moment) -> bool {
    Arc::strong_count(counter) > 1 || !counter.lock().is_idle(counter.window, now)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
