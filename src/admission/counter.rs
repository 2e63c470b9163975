//! One counter, shared: what it holds, and who waits for a place in it.
//!
//! A place ([`Slot`]) is given back when it is dropped, whatever happens to who
//! had it, and then goes to the next one who waits. It travels as a value to
//! who waits: when that one has left in the meantime, the value is dropped with
//! the channel that it lies in, and so goes on to the next. No place is lost.

use super::queue::{Queue, Ticket, Who};
use super::verdict::{Turn, Why};
use super::window::{self, Ask, Part, Tally};
use super::{Rule, period};
use crate::units::{Moment, Window};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// A counter of one rule, for one value of what it tells apart.
pub(super) struct Counter {
    /// Locks are taken in this order.
    pub id: u64,
    pub window: Window,
    /// A hard rule's, where counters are shared with a fleet.
    pub is_hard: AtomicBool,
    held: Mutex<Held>,
}

/// What is under the lock.
pub(super) struct Held {
    pub tally: Tally,
    /// As the last request knew it that came to wait or to take a place.
    limit: u64,
    /// What the other gateways of a fleet used, as far as it was last told, and
    /// when.
    elsewhere: (u64, Moment),
    queue: Option<Box<Queue<oneshot::Sender<Slot>>>>,
}

/// A place among those that a rule lets be under way at the same time.
pub(super) struct Slot {
    /// `None` once it is given back.
    counter: Option<Arc<Counter>>,
    part: Part,
}

/// Somebody in the queue, who leaves it when this is dropped.
struct Waiting {
    counter: Arc<Counter>,
    ticket: Ticket,
}

/// What comes of asking for a place.
enum Entry {
    Taken(Slot),
    Queued(oneshot::Receiver<Slot>, Waiting),
    Refused(Why),
}

impl Counter {
    pub fn new(id: u64, window: Window, latest: Moment) -> Self {
        let held = Held {
            tally: Tally::since(latest),
            limit: 0,
            elsewhere: (0, Moment(0)),
            queue: None,
        };
        Self {
            id,
            window,
            is_hard: AtomicBool::new(false),
            held: Mutex::new(held),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, after a time in the queue where the rule allows it. Says
    /// how long that was.
    ///
    /// # Errors
    ///
    /// When there is none, or none in time, or too many wait.
    pub async fn enter(
        self: &Arc<Self>,
        rule: &Rule,
        who: Who<'_>,
        turn: Turn,
        now: Moment,
    ) -> Result<(Slot, Duration), Why> {
        let entry = self.ask(rule, who, turn, now);
        // Those who wait may be let in by a limit that was raised.
        self.advance(now);
        let (mut told, waiting) = match entry {
            Entry::Taken(slot) => return Ok((slot, Duration::ZERO)),
            Entry::Refused(why) => return Err(why),
            Entry::Queued(told, waiting) => (told, waiting),
        };
        let began = Instant::now();
        let until = Instant::from_std(turn.until);
        let patience = began.checked_add(rule.wait).unwrap_or(until);
        let slot = match timeout_at(patience.min(until), &mut told).await {
            Ok(told) => told.map_err(|_| Why::QueueFull),
            Err(_) => {
                drop(waiting);
                // The turn may have come at the same moment.
                told.try_recv().map_err(|_| Why::Waited)
            }
        };
        slot.map(|slot| (slot, began.elapsed()))
    }

    fn ask(self: &Arc<Self>, rule: &Rule, who: Who<'_>, turn: Turn, now: Moment) -> Entry {
        let mut held = self.lock();
        held.limit = rule.allowance.amount;
        if held.waiting() == 0
            && let Some(part) = held.take(self.window, now)
        {
            return Entry::Taken(Slot {
                counter: Some(Arc::clone(self)),
                part,
            });
        }
        if held.limit == 0 {
            return Entry::Refused(Why::TooLarge);
        }
        // Who has no time to wait makes nobody give way in the queue.
        if rule.wait.is_zero() || Instant::from_std(turn.until) <= Instant::now() {
            return Entry::Refused(Why::Exhausted);
        }
        let (tell, told) = oneshot::channel();
        let queue = held.queue.get_or_insert_with(|| Box::new(Queue::new()));
        match queue.join(turn.priority, who, rule.depth, tell) {
            None => Entry::Refused(Why::QueueFull),
            Some(ticket) => {
                let counter = Arc::clone(self);
                Entry::Queued(told, Waiting { counter, ticket })
            }
        }
    }

    /// Gives free places to those who wait.
    fn advance(self: &Arc<Self>, now: Moment) {
        loop {
            let mut held = self.lock();
            if held.waiting() == 0 {
                return;
            }
            let Some(part) = held.take(self.window, now) else {
                return;
            };
            let next = held.queue.as_mut().and_then(|queue| queue.next());
            let Some(tell) = next else {
                held.tally.settle(part, 0);
                return;
            };
            drop(held);
            let counter = Some(Arc::clone(self));
            if let Err(mut slot) = tell.send(Slot { counter, part }) {
                // It left just now. The place is free again: once more.
                slot.counter = None;
                self.lock().tally.settle(part, 0);
            }
        }
    }
}

impl Held {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// The fleet's store says that this much is used of the counter in all.
    pub fn told(&mut self, used: u64, at: Moment) {
        self.elsewhere = (used.saturating_sub(self.tally.used()), at);
    }

    /// What others used, as far as is known; nothing where that window has passed.
    pub fn elsewhere(&self, window: Window, now: Moment) -> u64 {
        let (used, at) = self.elsewhere;
        let end = period::end(window, period::start(window, at));
        match end.is_none_or(|end| end > now) {
            true => used,
            false => 0,
        }
    }

    /// Whether it can be forgotten, when nobody has a hold of it.
    pub fn is_idle(&mut self, window: Window, now: Moment) -> bool {
        self.tally.is_idle(window, now) && self.waiting() == 0
    }

    /// One place, if there is one.
    fn take(&mut self, window: Window, now: Moment) -> Option<Part> {
        let ask = Ask {
            tally: &mut self.tally,
            window,
            limit: self.limit,
            amount: 1,
        };
        window::admit(&mut [ask], now).ok()?.pop()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(counter) = self.counter.take() {
            counter.lock().tally.settle(self.part, 0);
            // Places have no time: it is as late as it was.
            counter.advance(Moment::default());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(queue) = self.counter.lock().queue.as_mut() {
            queue.leave(&self.ticket);
        }
    }
}
