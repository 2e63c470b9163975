//! What waits to be written, between the requests and the writer.
//!
//! Requests hold its lock for as long as a push takes, and never wait for the
//! disk but where they ask to. The bound is on those who begin: whatever has
//! begun may settle, so at most the bound and the open requests are here.

use super::entry::{Intent, Settlement};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How sure a request has to be of its intent before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It is committed. What a hard budget asks for.
    Durable,
    /// It has its place in the buffer, and is written soon.
    Buffered,
}

/// The ledger takes no intent now; nothing was written of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Why, without anything of a request's.
    #[error("the ledger cannot be written: {0}")]
    Failing(Arc<str>),
    /// The file can be written, but not this entry. Why, without anything of a request's.
    #[error("the ledger refuses the entry: {0}")]
    Refused(Arc<str>),
    #[error("the ledger's buffer is full")]
    Full,
    #[error("the ledger is closed")]
    Closed,
}

/// How the ledger is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why nothing can be written at the moment; safe for logs.
    pub failing: Option<Arc<str>>,
    /// Intents and settlements that are not yet written.
    pub queued: usize,
    /// For how long the first of them has waited.
    pub oldest: Duration,
    /// Requests that have begun, as far as the writer knows, and not ended.
    pub open: usize,
    /// Intents and settlements written since the start.
    pub written: u64,
    /// Attempts to write that failed since the start.
    pub errors: u64,
    /// Settlements that belong to no intent, or came a second time, and entries
    /// that SQLite refuses for what they are, since the start.
    pub refused: u64,
}

type Read = Box<dyn FnOnce(&Connection) + Send>;

pub(super) enum Item {
    Begin {
        intent: Arc<Intent>,
        /// Told when it is committed.
        told: Option<oneshot::Sender<Result<(), Unavailable>>>,
    },
    Settle(Box<Settlement>),
    /// Told when all before it is written.
    Flush(oneshot::Sender<()>),
    /// Done between two transactions.
    Read(Read),
}

pub(super) struct Waiting {
    pub item: Item,
    pub since: Instant,
}

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    closed: Condvar,
    bound: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// In the writer's hands: how many, and since when the first.
    taken: usize,
    taken_since: Option<Instant>,
    open: usize,
    failing: Option<Arc<str>>,
    written: u64,
    errors: u64,
    refused: u64,
    stage: Stage,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Taking,
    /// What is here is still written.
    Closing,
    /// The writer is gone.
    Closed,
}

/// What the writer is to do next.
pub(super) enum Next {
    Write(Vec<Waiting>),
    /// Nothing came for a while.
    Idle,
    Stop,
}

impl Queue {
    pub fn new(bound: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            closed: Condvar::new(),
            bound,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an intent in. `told` makes it one that a request waits for.
    pub fn begin(
        &self,
        intent: Intent,
        told: Option<oneshot::Sender<Result<(), Unavailable>>>,
    ) -> Result<(), Unavailable> {
        let intent = Arc::new(intent);
        let state = self.state();
        if state.stage != Stage::Taking {
            return Err(Unavailable::Closed);
        }
        if let (Some(why), Some(_)) = (&state.failing, &told) {
            return Err(Unavailable::Failing(why.clone()));
        }
        if state.waiting.len() + state.taken >= self.bound {
            return Err(state
                .failing
                .clone()
                .map_or(Unavailable::Full, Unavailable::Failing));
        }
        self.push(state, Item::Begin { intent, told });
        Ok(())
    }

    /// Takes anything else in, always; but once the writer is gone, nobody is
    /// left to tell.
    pub fn add(&self, item: Item) {
        let state = self.state();
        if state.stage == Stage::Closed && matches!(item, Item::Flush(_) | Item::Read(_)) {
            return;
        }
        self.push(state, item);
    }

    fn push(&self, mut state: MutexGuard<'_, State>, item: Item) {
        state.waiting.push_back(Waiting {
            item,
            since: Instant::now(),
        });
        drop(state);
        self.wake.notify_one();
    }

    pub fn health(&self) -> Health {
        let state = self.state();
        let first = state.waiting.front().map(|waiting| waiting.since);
        Health {
            failing: state.failing.clone(),
            queued: state.waiting.len() + state.taken,
            oldest: state
                .taken_since
                .or(first)
                .map(|since| since.elapsed())
                .unwrap_or_default(),
            open: state.open,
            written: state.written,
            errors: state.errors,
            refused: state.refused,
        }
    }

    /// For the writer: what to write, at most so much, waiting `idle` for it.
    pub fn next(&self, most: usize, idle: Duration) -> Next {
        let mut state = self.state();
        if state.waiting.is_empty() && state.stage == Stage::Taking {
            let (after, _) = self
                .wake
                .wait_timeout_while(state, idle, |state| {
                    state.waiting.is_empty() && state.stage == Stage::Taking
                })
                .unwrap_or_else(PoisonError::into_inner);
            state = after;
        }
        if state.waiting.is_empty() {
            return match state.stage {
                Stage::Taking => Next::Idle,
                _ => Next::Stop,
            };
        }
        let count = state.waiting.len().min(most);
        let taken: Vec<_> = state.waiting.drain(..count).collect();
        state.taken = taken.len();
        state.taken_since = taken.first().map(|waiting| waiting.since);
        Next::Write(taken)
    }

    /// For the writer: what it took is written, and works again if it did not.
    pub fn wrote(&self, written: usize, refused: usize, open: usize) {
        let mut state = self.state();
        state.taken = 0;
        state.taken_since = None;
        state.failing = None;
        state.open = open;
        state.written += written as u64;
        state.refused += refused as u64;
    }

    /// For the writer: nothing can be written. `taken` are the entries that it
    /// keeps for later. Gives those of the queue that wait for their commit: they
    /// are told at once, and not kept.
    pub fn failed(&self, why: &Arc<str>, taken: usize) -> Vec<Item> {
        let mut state = self.state();
        state.failing = Some(why.clone());
        state.errors += 1;
        state.taken = taken;
        let waiting = std::mem::take(&mut state.waiting);
        let (told, kept): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| matches!(waiting.item, Item::Begin { told: Some(_), .. }));
        state.waiting = kept.into();
        told.into_iter().map(|waiting| waiting.item).collect()
    }

    /// For the writer: waits before the next try, less when it is to stop.
    /// Whether it is.
    pub fn pause(&self, time: Duration) -> bool {
        let (state, _) = self
            .wake
            .wait_timeout_while(self.state(), time, |state| state.stage == Stage::Taking)
            .unwrap_or_else(PoisonError::into_inner);
        state.stage != Stage::Taking
    }

    /// Takes no more intents, and waits until all that is here is written.
    /// Whether it was in time.
    pub fn close(&self, within: Duration) -> bool {
        let mut state = self.state();
        if state.stage == Stage::Taking {
            state.stage = Stage::Closing;
        }
        self.wake.notify_all();
        let (state, _) = self
            .closed
            .wait_timeout_while(state, within, |state| state.stage != Stage::Closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.stage == Stage::Closed && state.waiting.is_empty() && state.taken == 0
    }

    /// For the writer: it ends, whatever is left.
    pub fn ended(&self) {
        let mut state = self.state();
        state.stage = Stage::Closed;
        let is_told = |waiting: &Waiting| matches!(waiting.item, Item::Flush(_) | Item::Read(_));
        state.waiting.retain(|waiting| !is_told(waiting));
        drop(state);
        self.closed.notify_all();
    }
}
