//! How many requests of a route may be hedged: asked a second time, elsewhere,
//! before the first attempt has answered.
//!
//! A hedge costs twice, so two caps hold together. The share: hedges are at
//! most that share of the last thousand or so requests that could have been
//! hedged, and so of all of them ever (Dean and Barroso, The Tail at Scale,
//! 2013, keep to a few percent). The hour: no 60 minutes see more than so many,
//! wherever they begin.
//!
//! Both windows slide in steps: requests by the hundred, time by the minute.
//! A hedge that slides out of a window makes room up to one step late, never
//! early.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Requests that slide out of the window together.
const BLOCK: u64 = 100;

/// Blocks in the window, with the one that fills.
const BLOCKS: usize = 10;

const MINUTE_SECONDS: u64 = 60;
const HOUR_MINUTES: u64 = 60;

/// What a route may spend on hedges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Caps {
    /// Of the requests that could be hedged, 0 to 1. What is no number allows
    /// nothing.
    pub share: f64,
    /// Hedges within an hour.
    pub per_hour: u64,
}

/// What a route has spent on hedges lately, shared by all its requests.
#[derive(Debug, Default)]
pub struct Hedging {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The last requests, oldest first, [`BLOCKS`] at most.
    blocks: VecDeque<Block>,
    /// When minutes began to be counted: with the first hedge.
    origin: Option<Instant>,
    /// Minutes in which there were hedges, and how many; oldest first.
    minutes: VecDeque<(u64, u64)>,
}

/// Some requests in a row, and the hedges that were made while they came in.
#[derive(Debug, Default)]
struct Block {
    asked: u64,
    hedged: u64,
}

impl Hedging {
    /// One that has seen no request.
    pub fn new() -> Self {
        Self::default()
    }

    /// One request that could be hedged, whether or not it will be.
    pub fn asked(&self) {
        let mut inner = self.lock();
        if let Some(block) = inner.blocks.back_mut().filter(|b| b.asked < BLOCK) {
            block.asked += 1;
            return;
        }
        if inner.blocks.len() >= BLOCKS {
            inner.blocks.pop_front();
        }
        let (asked, hedged) = (1, 0);
        inner.blocks.push_back(Block { asked, hedged });
    }

    /// Whether one more request may be hedged now. If so, it is counted.
    #[must_use]
    pub fn take(&self, caps: &Caps, now: Instant) -> bool {
        let mut inner = self.lock();
        let minute = inner.minute(now);
        if !inner.has_share(caps.share) || inner.within_hour(minute) >= caps.per_hour {
            return false;
        }
        inner.count(minute);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether one hedge more keeps to the share.
    fn has_share(&self, share: f64) -> bool {
        let asked: u64 = self.blocks.iter().map(|block| block.asked).sum();
        let hedged: u64 = self.blocks.iter().map(|block| block.hedged).sum();
        // Decimals are not exact: 0.29 of 100 is 29, not a little less.
        (hedged + 1) as f64 <= share * asked as f64 + 1e-9
    }

    /// Minutes since the first look. Those of different threads may come in a
    /// little out of order; time does not go back for that.
    fn minute(&mut self, now: Instant) -> u64 {
        let origin = *self.origin.get_or_insert(now);
        let minute = now.saturating_duration_since(origin).as_secs() / MINUTE_SECONDS;
        let last = self.minutes.back().map_or(0, |(last, _)| *last);
        minute.max(last)
    }

    /// Hedges that may be less than an hour old: of this minute, which is not
    /// over, and the sixty before it.
    fn within_hour(&mut self, minute: u64) -> u64 {
        let oldest = minute.saturating_sub(HOUR_MINUTES);
        while self.minutes.front().is_some_and(|(at, _)| *at < oldest) {
            self.minutes.pop_front();
        }
        self.minutes.iter().map(|(_, hedged)| hedged).sum()
    }

    fn count(&mut self, minute: u64) {
        if let Some(block) = self.blocks.back_mut() {
            block.hedged += 1;
        }
        match self.minutes.back_mut() {
            Some((last, hedged)) if *last == minute => *hedged += 1,
            _ => self.minutes.push_back((minute, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::decide::next;
    use std::time::Duration;

    const FREELY: Caps = Caps {
        share: 1.0,
        per_hour: u64::MAX,
    };

    fn asked(times: u64) -> Hedging {
        let hedging = Hedging::new();
        ask(&hedging, times);
        hedging
    }

    fn ask(hedging: &Hedging, times: u64) {
        for _ in 0..times {
            hedging.asked();
        }
    }

    /// Hedges that are allowed, one after another at the same instant.
    fn drain(hedging: &Hedging, caps: Caps, now: Instant) -> u64 {
        std::iter::repeat_with(|| hedging.take(&caps, now))
            .take_while(|taken| *taken)
            .count() as u64
    }

    fn share(share: f64) -> Caps {
        Caps { share, ..FREELY }
    }

    fn hourly(per_hour: u64) -> Caps {
        Caps { per_hour, ..FREELY }
    }

    #[test]
    fn without_requests_there_are_no_hedges() {
        assert!(!Hedging::new().take(&FREELY, Instant::now()));
    }

    #[test]
    fn the_share_is_met_exactly_and_never_passed() {
        let now = Instant::now();
        for (requests, of, hedges) in [(19, 0.05, 0), (20, 0.05, 1), (39, 0.05, 1), (40, 0.05, 2)] {
            assert_eq!(drain(&asked(requests), share(of), now), hedges);
        }
        for percent in 0..=100 {
            let caps = share(percent as f64 / 100.0);
            assert_eq!(drain(&asked(100), caps, now), percent);
        }
    }

    #[test]
    fn strange_shares_allow_nothing_or_what_requests_there_are() {
        let now = Instant::now();
        for none in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(drain(&asked(500), share(none), now), 0, "{none}");
        }
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let now = Instant::now();
        let hedging = asked(10);
        for _ in 0..100 {
            assert!(!hedging.take(&share(0.05), now));
            assert!(!hedging.take(&hourly(0), now));
        }
        ask(&hedging, 10);
        assert_eq!(drain(&hedging, share(0.05), now), 1);
    }

    #[test]
    fn a_quiet_past_is_worth_a_thousand_requests_and_no_more() {
        let now = Instant::now();
        let hedges = drain(&asked(1_000_000), share(0.05), now);
        assert_eq!(hedges, 50);
    }

    #[test]
    fn old_hedges_slide_out_with_their_requests() {
        let now = Instant::now();
        let hedging = asked(1_000);
        assert_eq!(drain(&hedging, share(0.05), now), 50);
        ask(&hedging, 900);
        assert_eq!(
            drain(&hedging, share(0.05), now),
            0,
            "the block is still in sight"
        );
        ask(&hedging, 1);
        // Nine full blocks and a request are in sight, and none of the fifty.
        assert_eq!(drain(&hedging, share(0.05), now), 45);
    }

    #[test]
    fn the_hour_slides_by_minutes() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let hedging = asked(1_000);
        assert_eq!(drain(&hedging, hourly(3), at(0)), 3);
        assert!(!hedging.take(&hourly(3), at(1)));
        assert_eq!(
            drain(&hedging, hourly(5), at(119)),
            2,
            "other caps count at once"
        );
        assert!(!hedging.take(&hourly(5), at(3_600)));
        assert!(!hedging.take(&hourly(5), at(3_659)));
        assert_eq!(
            drain(&hedging, hourly(5), at(3_660)),
            3,
            "the first minute is out"
        );
        assert_eq!(drain(&hedging, hourly(5), at(3_719)), 0);
        assert_eq!(
            drain(&hedging, hourly(5), at(3_720)),
            2,
            "and the second one"
        );
        assert_eq!(drain(&hedging, hourly(5), at(1_000_000)), 5);
    }

    #[test]
    fn both_caps_hold() {
        let now = Instant::now();
        let caps = Caps {
            share: 0.1,
            per_hour: 7,
        };
        assert_eq!(drain(&asked(50), caps, now), 5);
        assert_eq!(drain(&asked(500), caps, now), 7);
    }

    #[test]
    fn an_earlier_instant_is_taken_for_the_last_minute() {
        let now = Instant::now();
        let hedging = asked(100);
        assert!(!hedging.take(&hourly(0), now));
        assert!(hedging.take(&hourly(2), now + Duration::from_secs(600)));
        assert!(hedging.take(&hourly(2), now));
        assert!(!hedging.take(&hourly(2), now));
        assert_eq!(hedging.lock().minutes, [(10, 2)]);
    }

    #[test]
    fn over_any_sequence_the_caps_hold_in_every_window() {
        for seed in 0..60 {
            let mut chance = seed;
            let caps = Caps {
                share: (next(&mut chance) % 300) as f64 / 1000.0,
                per_hour: 1 + next(&mut chance) % 200,
            };
            let hedging = Hedging::new();
            let mut now = Instant::now();
            let (mut requests, mut hedges) = (0_u64, Vec::<Instant>::new());
            for _ in 0..6_000 {
                now += Duration::from_millis(next(&mut chance) % 8_000);
                if !next(&mut chance).is_multiple_of(4) {
                    hedging.asked();
                    requests += 1;
                } else if hedging.take(&caps, now) {
                    hedges.push(now);
                }
                let allowed = caps.share * requests as f64 + 1e-6;
                assert!(hedges.len() as f64 <= allowed, "seed {seed}: share");
            }
            let hour = Duration::from_secs(3_600);
            for (first, from) in hedges.iter().enumerate() {
                let within = hedges[first..].iter().take_while(|at| **at - *from < hour);
                assert!(within.count() as u64 <= caps.per_hour, "seed {seed}: hour");
            }
            assert!(caps.share < 0.01 || !hedges.is_empty(), "seed {seed}: none");
        }
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let (hedging, now) = (asked(1_000), Instant::now());
        let taken: u64 = std::thread::scope(|scope| {
            let run = || drain(&hedging, share(0.5), now);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no thread panics"))
                .sum()
        });
        assert_eq!(taken, 500);
    }
}
