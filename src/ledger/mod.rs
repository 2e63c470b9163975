//! What was used, by whom, and what it cost: written down before anything is
//! sent, and once more when it is known.
//!
//! A request [begins](Ledger::begin) with an intent that holds the most it may
//! cost, and [settles](Ledger::settle) once. Both go to one thread that writes
//! them to an SQLite file in batches; a request waits for that only where a hard
//! budget asks for it, and settling never waits and never fails. What a process
//! that died had begun is settled at its bound when the file is opened again.
//!
//! The ledger holds counts, names and times, never a text of a request's.

mod book;
mod checkpoint;
mod clock;
mod counts;
mod database;
mod entry;
pub mod keys;
mod names;
mod query;
mod queue;
mod recovery;
mod reprice;
mod retention;
mod rollups;
mod schema;
mod sources;
mod story;
mod used;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use clock::{Reset, reset};
pub use database::{Durability, MEMORY, OpenError, place};
pub use entry::{Attempt, Decided, Intent, Settlement, Targets, UsageSource};
pub use query::{Answer, By, Filter, Question, Row};
pub use queue::{Health, Need, Unavailable};
pub use recovery::{RECOVERED, Recovery};
pub use reprice::{Change, Changes, Mode, Period, Priced, reprice};
pub use used::{Certainty, Horizon, Mark, Used};
pub use view::{AskError, Reader, View};

use crate::units::Moment;
use queue::{Item, Queue};
use retention::{Retention, Room};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use writer::{Fitness, Writer};

/// How a ledger is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The SQLite file, or [`MEMORY`].
    pub path: PathBuf,
    pub durability: Durability,
    /// Intents and settlements that may wait to be written before no more
    /// intents are taken.
    pub buffer: usize,
    /// Single entries are deleted after so long; hourly sums stay.
    pub retention: Option<Duration>,
    /// Single entries are deleted, the oldest first, while the file has more
    /// bytes.
    pub max_bytes: Option<u64>,
}

/// A ledger that is written. Dropping it closes it, within ten seconds.
pub struct Ledger {
    queue: Arc<Queue>,
    next: AtomicU64,
    path: PathBuf,
}

/// A ledger that was closed before all was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} entries of the ledger could not be written in time")]
pub struct Unwritten(pub usize);

impl Ledger {
    /// Opens or makes the file, settles what a process that died left open, and
    /// starts to write.
    ///
    /// # Errors
    /// When another gateway has it, it is no ledger of this version or an older
    /// one, or it cannot be written.
    pub fn open(settings: Settings) -> Result<(Self, Recovery), OpenError> {
        let path = settings.path;
        let lock = database::lock(&path)?;
        let connection = database::to_write(&path, settings.durability)?;
        let (recovery, last) =
            recovery::recover(&connection).map_err(|source| OpenError::Sqlite {
                path: path.clone(),
                source,
            })?;
        warn_of_clock(recovery.latest.unwrap_or_default());
        let queue = Arc::new(Queue::new(settings.buffer));
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let writer = Writer {
            queue: queue.clone(),
            path: path.clone(),
            durability: settings.durability,
            checkpoints: None,
            open: BTreeMap::new(),
            last,
            latest: recovery.latest.unwrap_or_default(),
            pending: Vec::new(),
            fitness: Fitness::Well,
            retention: Retention {
                time: settings.retention,
                bytes: settings.max_bytes,
            },
            room: Room::default(),
            lock,
        };
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run(connection))
            .map_err(io)?;
        let ledger = Self {
            queue,
            next: AtomicU64::new(last + 1),
            path,
        };
        Ok((ledger, recovery))
    }

    /// An id that no intent of this ledger has had.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes down that a request is about to be sent. Whatever begins has to
    /// [settle](Self::settle). A future that is dropped before it is ready has
    /// begun nothing, or has settled it as canceled, at no cost.
    ///
    /// # Errors
    /// When the intent was not taken; then there is nothing to settle.
    pub async fn begin(&self, intent: Intent, need: Need) -> Result<(), Unavailable> {
        let id = intent.id;
        if need == Need::Buffered {
            return self.queue.begin(intent, None);
        }
        let (told, commit) = oneshot::channel();
        self.queue.begin(intent, Some(told))?;
        let mut left = Left {
            queue: Some(&self.queue),
            id,
        };
        let outcome = commit.await.unwrap_or(Err(Unavailable::Closed));
        left.queue = None;
        outcome
    }

    /// Writes down what became of a request that has begun. Never waits for the
    /// disk; what cannot be written now is kept until it can.
    pub fn settle(&self, settlement: Settlement) {
        self.queue.add(Item::Settle(Box::new(settlement)));
    }

    /// Settles a request for which nothing was sent to anybody.
    pub fn release(&self, id: u64, outcome: &'static str) {
        self.settle(Settlement::of_nothing(id, outcome));
    }

    /// Waits until all that came before is written.
    ///
    /// # Errors
    /// [`Unavailable::Closed`] when it never will be.
    pub async fn flush(&self) -> Result<(), Unavailable> {
        let (told, written) = oneshot::channel();
        self.queue.add(Item::Flush(told));
        written.await.map_err(|_| Unavailable::Closed)
    }

    /// As [`Self::flush`], for who may block.
    ///
    /// # Errors
    /// When it was not written in this time, or never will be.
    pub fn flush_within(&self, within: Duration) -> Result<(), Unavailable> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.queue.add(Item::Read(Box::new(move |_| {
            let _ = tell.send(());
        })));
        told.recv_timeout(within).map_err(|why| match why {
            RecvTimeoutError::Disconnected => Unavailable::Closed,
            RecvTimeoutError::Timeout => {
                let failing = self.health().failing;
                Unavailable::Failing(failing.unwrap_or_else(|| "it takes too long".into()))
            }
        })
    }

    /// The last id that was given.
    pub fn last_id(&self) -> u64 {
        self.next.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Asks the ledger while it is written. Blocks for as long as it reads, but
    /// holds nobody up.
    ///
    /// # Errors
    /// When it cannot be opened to read, or is closed.
    pub fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&View<'_>) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, AskError> {
        if !database::is_memory(&self.path) {
            return ask(&Reader::open(&self.path)?.view());
        }
        // What is in memory, only the writer's connection can see.
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.queue.add(Item::Read(Box::new(move |connection| {
            let _ = tell.send(ask(&View::new(connection)));
        })));
        told.recv().unwrap_or(Err(AskError::Closed))
    }

    /// How it is, at the moment.
    pub fn health(&self) -> Health {
        self.queue.health()
    }

    /// Takes no more intents, writes what is queued, and ends. Blocks for at
    /// most `within`.
    ///
    /// # Errors
    /// What could not be written is lost with this process; its intents are
    /// settled at their bound when the file is opened again.
    pub fn close(&self, within: Duration) -> Result<(), Unwritten> {
        match self.queue.close(within) {
            true => Ok(()),
            false => Err(Unwritten(self.queue.health().queued)),
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.queue.close(Duration::from_secs(10));
    }
}

/// Whoever runs the machine is the only one who can know which clock is right.
fn warn_of_clock(latest: Moment) {
    if let Some(ahead) = clock::ahead(latest, SystemTime::now().into()) {
        log::error!(
            seconds_ahead = ahead.as_secs();
            "the ledger knows a later time than this machine's clock, and budgets go by the \
             later; if this machine's clock is right, stop the gateway, run `tollgate ledger \
             reset-clock`, and start it again"
        );
    }
}

/// A request that waits for its intent, and may be dropped meanwhile.
struct Left<'a> {
    queue: Option<&'a Queue>,
    id: u64,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            let settlement = Settlement::of_nothing(self.id, "canceled");
            queue.add(Item::Settle(Box::new(settlement)));
        }
    }
}
