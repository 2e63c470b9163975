//! One counter over time: what is reserved and what was used, by buckets.
//!
//! [`admit`] is the only place where something is let in. It keeps
//! `settled + reserved <= limit` for all that a window holds, and it is pure:
//! a shared store can do the same in a script of its own.
//!
//! A counter's time never goes back: a moment before the latest that it has
//! seen is as the latest. So a wall clock that is set back opens no earlier
//! period, and nothing is counted twice.

use super::period;
use crate::units::{Moment, Window};
use std::collections::VecDeque;
use std::time::Duration;

/// What was counted from some time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// Microseconds since 1970.
    from: u64,
    settled: u64,
    reserved: u64,
}

/// What a window holds. Buckets without any use do not exist: 24 bytes for each
/// other, at most 62 of them in a rolling window, one in any other.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// The oldest first.
    buckets: VecDeque<Bucket>,
    latest: Moment,
}

/// Part of what is reserved: so much, in the bucket that begins then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    from: u64,
    amount: u64,
}

/// One of the counters that a reservation is to be made in.
pub(super) struct Ask<'a> {
    pub tally: &'a mut Tally,
    pub window: Window,
    pub limit: u64,
    pub amount: u64,
}

/// Reserves all of it in each, or nothing in any.
///
/// # Errors
///
/// When one has not enough left: the place of that one, of several the one that
/// will take longest.
pub(super) fn admit(asks: &mut [Ask<'_>], now: Moment) -> Result<Vec<Part>, usize> {
    let mut short: Option<(Duration, usize)> = None;
    for (place, ask) in asks.iter_mut().enumerate() {
        ask.tally.turn(ask.window, now);
        if ask.amount <= ask.tally.left(ask.limit) {
            continue;
        }
        let after = ask.tally.free_after(ask.window, ask.limit, ask.amount, now);
        let after = after.unwrap_or(Duration::MAX);
        if short.is_none_or(|(longest, _)| after > longest) {
            short = Some((after, place));
        }
    }
    if let Some((_, place)) = short {
        return Err(place);
    }
    let reserve = |ask: &mut Ask<'_>| {
        let from = period::start(ask.window, ask.tally.latest);
        let amount = ask.amount;
        if amount > 0 {
            let bucket = ask.tally.bucket(from);
            bucket.reserved = bucket.reserved.saturating_add(amount);
        }
        Part { from, amount }
    };
    Ok(asks.iter_mut().map(reserve).collect())
}

impl Tally {
    /// A counter whose time is not before `latest`.
    pub fn since(latest: Moment) -> Self {
        Self {
            buckets: VecDeque::new(),
            latest,
        }
    }

    /// Forgets what the window no longer holds.
    pub fn turn(&mut self, window: Window, now: Moment) {
        self.latest = self.latest.max(now);
        let is_over = |from| period::end(window, from).is_some_and(|end| end <= self.latest);
        while self
            .buckets
            .front()
            .is_some_and(|first| is_over(first.from))
        {
            self.buckets.pop_front();
        }
    }

    /// Each bucket's beginning, and what is settled and reserved in it.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let all = self.buckets.iter();
        all.map(|b| (b.from, b.settled.saturating_add(b.reserved)))
            .collect()
    }

    /// Settled and reserved, as of the last [`Self::turn`].
    pub fn used(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| {
            sum.saturating_add(bucket.settled)
                .saturating_add(bucket.reserved)
        })
    }

    /// What was used, without what is only reserved.
    #[cfg(test)]
    pub fn settled(&self) -> u64 {
        let all = self.buckets.iter().map(|bucket| bucket.settled);
        all.fold(0, u64::saturating_add)
    }

    /// What is reserved.
    pub fn reserved(&self) -> u64 {
        let all = self.buckets.iter().map(|bucket| bucket.reserved);
        all.fold(0, u64::saturating_add)
    }

    /// As of the last [`Self::turn`].
    pub fn left(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.used())
    }

    /// Whether the window holds nothing.
    pub fn is_idle(&mut self, window: Window, now: Moment) -> bool {
        self.turn(window, now);
        self.used() == 0
    }

    /// After how long there is room for `amount` when nobody uses more and what
    /// is reserved is used; `None` when there never is.
    pub fn free_after(
        &self,
        window: Window,
        limit: u64,
        amount: u64,
        now: Moment,
    ) -> Option<Duration> {
        if amount > limit {
            return None;
        }
        let now = self.latest.max(now);
        let mut used = self.used();
        let mut free = now;
        let mut buckets = self.buckets.iter();
        while limit.saturating_sub(used) < amount {
            let first = buckets.next()?;
            used = used
                .saturating_sub(first.settled)
                .saturating_sub(first.reserved);
            free = period::end(window, first.from)?;
        }
        Some(free.since(now))
    }

    /// After how long the window holds nothing of what it holds now; `None` for
    /// one that never ends.
    pub fn reset(&self, window: Window, now: Moment) -> Option<Duration> {
        let now = self.latest.max(now);
        let last = match self.buckets.back() {
            Some(last) => last.from,
            None if matches!(window, Window::Calendar(_)) => period::start(window, now),
            None => return (window != Window::Total).then_some(Duration::ZERO),
        };
        period::end(window, last).map(|end| end.since(now))
    }

    /// Ends a reservation: `used` of it, at most all, stays as used in the
    /// bucket in which it was reserved; the rest is free again. Where the window
    /// has passed in the meantime there is nothing left to change.
    pub fn settle(&mut self, part: Part, used: u64) {
        let place = self.buckets.binary_search_by_key(&part.from, |b| b.from);
        let Some(bucket) = place.ok().and_then(|at| self.buckets.get_mut(at)) else {
            return;
        };
        bucket.reserved = bucket.reserved.saturating_sub(part.amount);
        bucket.settled = bucket.settled.saturating_add(used.min(part.amount));
        if bucket.settled == 0 && bucket.reserved == 0 {
            self.buckets.retain(|bucket| bucket.from != part.from);
        }
    }

    /// Counts what was used before this process began; no limit is asked.
    pub fn record(&mut self, window: Window, used: u64, at: Moment) {
        self.turn(window, at);
        let from = period::start(window, at);
        let is_over = period::end(window, from).is_some_and(|end| end <= self.latest);
        if used > 0 && !is_over {
            let bucket = self.bucket(from);
            bucket.settled = bucket.settled.saturating_add(used);
        }
    }

    /// The bucket that begins then; it is made where there is none.
    fn bucket(&mut self, from: u64) -> &mut Bucket {
        let place = self.buckets.partition_point(|bucket| bucket.from < from);
        let is_there = self.buckets.get(place).is_some_and(|b| b.from == from);
        if !is_there {
            let empty = Bucket {
                from,
                settled: 0,
                reserved: 0,
            };
            self.buckets.insert(place, empty);
        }
        #[expect(clippy::indexing_slicing, reason = "it was there or is there now")]
        &mut self.buckets[place]
    }
}

impl Part {
    pub const fn amount(self) -> u64 {
        self.amount
    }

    /// The bucket that it is in: since when that takes.
    pub const fn from(self) -> u64 {
        self.from
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
