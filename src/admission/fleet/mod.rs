//! Limits and budgets of a fleet: counters in Redis or Valkey, beside those in
//! memory.
//!
//! Each gateway keeps on counting in memory what it uses itself, and asks Redis
//! besides: a request is let in where both have enough left. In Redis a counter
//! is a sum, and for each gateway its part of the sum. One script per decision
//! looks at all counters of a request and adds to all or none, by Redis' time.
//! All keys have one hash tag, so that a cluster keeps them together.
//!
//! What is promised, and how:
//!
//! - **Never too much.** Only the script adds while Redis is there. What is given
//!   back is sent by one task, in numbered batches: each counts once.
//! - **A decision of unknown outcome** (no answer in time) may have been counted,
//!   or may be on its way. The task then begins a new epoch, after which the old
//!   one's decisions are refused, and writes what this gateway knows of those
//!   counters over its part of them.
//! - **Redis away.** Under hard rules a gateway spends what it holds as a lease,
//!   a share of each budget that it had taken out while Redis was there, and then
//!   nothing. Other rules are kept in memory alone: at most the limit for each
//!   gateway. What was spent is added when Redis is back.
//! - **Redis emptied or set back.** The gateway's marker is gone or knows fewer
//!   decisions than were made: all of the hard rules' counters are written again,
//!   from what this gateway's ledger and memory say, before a hard rule lets
//!   anything in.
//! - **A gateway that died** leaves what it had reserved counted. At its next
//!   start it writes its part as its ledger says. Its places among concurrent
//!   requests end by themselves.
//!
//! A rolling window may lose what was spent from a lease while Redis was away for
//! longer than the window: at most the lease. The gateways' clocks have to agree
//! with Redis' to a sixtieth of the shortest window.

mod decide;
mod journal;
mod script;
mod tend;

pub(super) use decide::Asked;
use journal::Journal;
use redis::IntoConnectionInfo as _;
use redis::aio::MultiplexedConnection;
pub use script::EXACT as MOST_SHARED;
use script::Scripts;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, RwLock, watch};

/// How the shared store is reached, and what it is for.
pub struct Shared {
    /// `redis://HOST:PORT/DB`.
    pub url: String,
    pub password: Option<String>,
    /// Names of all keys begin with it.
    pub prefix: String,
    /// How long a decision may take.
    pub timeout: Duration,
    /// The share of a hard budget that may be spent without the store, in
    /// millionths.
    pub lease: u64,
    /// This gateway's name in the store: the same at each start, and no other's.
    pub gateway: String,
}

/// The counters that this gateway shares.
pub struct Fleet {
    shared: Shared,
    client: redis::Client,
    scripts: Scripts,
    /// `None` while decisions are not asked of Redis.
    link: watch::Sender<Option<Arc<Link>>>,
    /// Held by each decision while it is under way; by the task, alone, while it
    /// writes this gateway's part.
    gate: RwLock<()>,
    journal: Mutex<Journal>,
    /// There is something to do for the task.
    nudge: Notify,
    /// The number of the latest decision that Redis has told of.
    seen: AtomicU64,
    /// Numbers of places.
    places: AtomicU64,
    /// How often it stopped being asked.
    losses: AtomicU64,
}

/// How it is with the shared store, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Decisions are asked of it.
    pub is_linked: bool,
    /// How often they stopped being, since the start.
    pub losses: u64,
    /// Changes of counters that it has not been told of.
    pub untold: usize,
    /// Counters of which this gateway holds a lease.
    pub leases: usize,
}

/// A connection on which decisions are made.
struct Link {
    connection: MultiplexedConnection,
    epoch: String,
}

impl Fleet {
    /// Nothing is connected yet: [`Limiter::tend`](super::Limiter::tend) does it.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(shared: Shared) -> Result<Self, String> {
        let wrong = |e: redis::RedisError| format!("state.url: {e}");
        let mut address = shared.url.as_str().into_connection_info().map_err(wrong)?;
        if let Some(password) = &shared.password {
            let login = address.redis_settings().clone().set_password(password);
            address = address.set_redis_settings(login);
        }
        Ok(Self {
            client: redis::Client::open(address).map_err(wrong)?,
            shared,
            scripts: Scripts::new(),
            link: watch::Sender::new(None),
            gate: RwLock::new(()),
            journal: Mutex::new(Journal::new()),
            nudge: Notify::new(),
            seen: AtomicU64::new(0),
            places: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        })
    }

    /// What is wrong with this address of a store, and what would be right. Says
    /// nothing of what the address holds: that may be a password.
    pub fn fault_of(url: &str) -> Option<(&'static str, &'static str)> {
        const FORM: &str = "redis://HOST:PORT/DB";
        let is_of = |scheme: &str| {
            let start = url.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if is_of("rediss:") || is_of("valkeys:") {
            let hint = "redis:// to a tunnel on this machine, such as stunnel";
            return Some(("a shared store is not reached by TLS", hint));
        }
        let Ok(address) = url.into_connection_info() else {
            return Some(("this is no address of a Redis", FORM));
        };
        if address.redis_settings().password().is_some() {
            let hint = "state.password = \"env:NAME\"";
            return Some(("the address holds a password", hint));
        }
        None
    }

    /// Resolves when decisions are asked of Redis, or after `most`.
    pub async fn ready(&self, most: Duration) {
        let mut link = self.link.subscribe();
        let _ = tokio::time::timeout(most, link.wait_for(Option::is_some)).await;
    }

    /// Resolves when Redis has all that was given back, or after `most`.
    pub async fn flushed(&self, most: Duration) {
        let flushed = async {
            while !self.lock().is_empty() {
                self.nudge.notify_one();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(most, flushed).await;
    }

    /// Whether decisions are asked of Redis at the moment.
    pub fn is_linked(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// How it is with the store at the moment.
    pub fn condition(&self) -> Condition {
        let is_linked = self.is_linked();
        let journal = self.lock();
        Condition {
            is_linked,
            losses: self.losses.load(Ordering::Relaxed),
            untold: journal.changes.len(),
            leases: journal.leases(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to send.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// All counters of the hard rules are to be written again.
    pub(super) fn renew(&self) {
        self.lock().renew = true;
        self.nudge();
    }

    /// Decisions are no longer asked of Redis, until the task has found it well.
    fn unlink(&self) {
        self.cut();
        self.nudge();
    }

    fn cut(&self) {
        if self.link.send_replace(None).is_some() {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn marker(&self) -> String {
        format!("{}{{fleet}}:g:{}", self.shared.prefix, self.shared.gateway)
    }

    /// The key of a counter, and that of this gateway's part of it.
    fn keys(&self, name: &str) -> [String; 2] {
        let Shared {
            prefix, gateway, ..
        } = &self.shared;
        [
            format!("{prefix}{{fleet}}:c:{name}"),
            format!("{prefix}{{fleet}}:o:{gateway}:{name}"),
        ]
    }

    /// The key of the places under a rule.
    pub(super) fn place(&self, name: &str) -> String {
        format!("{}{{fleet}}:p:{name}", self.shared.prefix)
    }

    /// A name for places that nobody else has.
    pub(super) fn member(&self) -> String {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        let run = self.lock().run.clone();
        format!("{}:{run}:{number}", self.shared.gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_address_is_told_without_what_it_holds() {
        let fault = |url| Fleet::fault_of(url).map(|(text, _)| text);
        for right in [
            "redis://127.0.0.1:6379/0",
            "redis://limits@redis.internal:6380/3",
            "valkey://[::1]/",
        ] {
            assert_eq!(fault(right), None, "{right}");
        }
        let by_tls = Some("a shared store is not reached by TLS");
        assert_eq!(fault("rediss://10.0.0.1:6379"), by_tls);
        assert_eq!(fault("REDISS://10.0.0.1:6379/0"), by_tls);
        let told = Some("the address holds a password");
        assert_eq!(fault("redis://:secret@10.0.0.1/0"), told);
        assert_eq!(fault("redis://limits:secret@10.0.0.1/0"), told);
        for none in ["", "10.0.0.1:6379", "http://10.0.0.1", "redis://10.0.0.1/x"] {
            assert_eq!(fault(none), Some("this is no address of a Redis"), "{none}");
        }
    }
}
