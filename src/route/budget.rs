//! A retry budget: how many retries a provider's requests pay for.
//!
//! A request's first attempt at the provider puts a share of a token in, a
//! retry takes a whole one out. So a provider that is down gets its usual load
//! and that share more, never a multiple of it: retries cannot keep it down.
//! The idea is Finagle's `RetryBudget`; this one knows no time, because what
//! it holds is bounded.
//!
//! It promises that, over any sequence and any number of threads, the retries
//! are at most `2 + share * first attempts`: the [`FLOOR`] is given once, so
//! that the first requests may retry too. What is not used adds up to [`CAP`]
//! tokens and no further, which bounds the burst after a quiet time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens that a new budget holds.
pub const FLOOR: f64 = 2.0;

/// Tokens that a budget holds at most: the floor and ten more.
pub const CAP: f64 = 12.0;

/// Thousandths: all that is counted is whole.
const TOKEN: u64 = 1_000;
const FLOOR_MILLIS: u64 = 2 * TOKEN;
const CAP_MILLIS: u64 = 12 * TOKEN;

/// The retry budget of one provider, shared by all its requests.
#[derive(Debug)]
pub struct Budget {
    /// Thousandths of a token. Nothing else hangs on the value, so no order
    /// of memory is asked for.
    level: AtomicU64,
    /// Thousandths of a token for a first attempt.
    share: AtomicU64,
}

impl Budget {
    /// A budget that holds the [`FLOOR`]. `share` is in tokens for a first
    /// attempt, rounded down to thousandths; what is no number or below 0 is 0.
    pub fn new(share: f64) -> Self {
        Self {
            level: AtomicU64::new(FLOOR_MILLIS),
            share: AtomicU64::new(millis(share)),
        }
    }

    /// Another share from the next deposit on; the level stays.
    pub fn configure(&self, share: f64) {
        self.share.store(millis(share), Ordering::Relaxed);
    }

    /// A request's first attempt at this provider: adds a share of a token, up
    /// to the [`CAP`].
    pub fn deposit(&self) {
        let share = self.share.load(Ordering::Relaxed);
        self.change(|level| Some(level.saturating_add(share).min(CAP_MILLIS)));
    }

    /// Takes a token for a retry; false when there is less than one.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.change(|level| level.checked_sub(TOKEN))
    }

    /// A retry that was paid for was not made.
    pub fn give_back(&self) {
        self.change(|level| Some(level.saturating_add(TOKEN).min(CAP_MILLIS)));
    }

    /// Tokens that are left.
    pub fn level(&self) -> f64 {
        self.level.load(Ordering::Relaxed) as f64 / TOKEN as f64
    }

    /// Compare and swap until nobody came in between; whether it was changed.
    fn change(&self, to: impl FnMut(u64) -> Option<u64>) -> bool {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.level.fetch_update(set, fetch, to).is_ok()
    }
}

/// Whole thousandths. The little that is added makes up for decimals that have
/// no exact binary form.
fn millis(share: f64) -> u64 {
    // From a float, `as` saturates and makes 0 of what is no number.
    (share * TOKEN as f64 + 1e-6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::decide::next;

    /// Retries that go through, one after another.
    fn drain(budget: &Budget) -> u64 {
        std::iter::repeat_with(|| budget.withdraw())
            .take_while(|taken| *taken)
            .count() as u64
    }

    #[test]
    fn a_new_one_allows_two_retries() {
        let budget = Budget::new(0.2);
        assert_eq!(budget.level(), FLOOR);
        assert_eq!(drain(&budget), 2);
        assert_eq!(budget.level(), 0.0);
    }

    #[test]
    fn a_fifth_of_a_token_makes_a_retry_for_every_five_requests() {
        let budget = Budget::new(0.2);
        drain(&budget);
        for _ in 0..10 {
            for _ in 0..4 {
                budget.deposit();
                assert!(!budget.withdraw(), "less than one token");
            }
            budget.deposit();
            assert_eq!(drain(&budget), 1);
        }
    }

    #[test]
    fn a_retry_that_was_not_made_can_be_made_later() {
        let budget = Budget::new(0.0);
        assert!(budget.withdraw());
        budget.give_back();
        assert_eq!(drain(&budget), 2);
    }

    #[test]
    fn it_holds_no_more_than_the_cap() {
        let budget = Budget::new(0.7);
        for _ in 0..1000 {
            budget.deposit();
        }
        assert_eq!(budget.level(), CAP);
        assert_eq!(drain(&budget), 12);
    }

    #[test]
    fn a_share_of_nothing_leaves_the_floor() {
        for share in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 0.000_4] {
            let budget = Budget::new(share);
            budget.deposit();
            assert_eq!(budget.level(), FLOOR, "{share}");
        }
    }

    #[test]
    fn a_share_without_bounds_fills_it_and_no_more() {
        for share in [f64::INFINITY, f64::MAX, 12.0, 1e9] {
            let budget = Budget::new(share);
            budget.deposit();
            budget.deposit();
            assert_eq!(budget.level(), CAP, "{share}");
        }
    }

    #[test]
    fn decimals_are_what_they_say() {
        for thousandths in 0..=12_000_u32 {
            assert_eq!(
                millis(f64::from(thousandths) / 1000.0),
                u64::from(thousandths)
            );
        }
    }

    #[test]
    fn another_share_leaves_the_level() {
        let budget = Budget::new(1.0);
        budget.deposit();
        budget.configure(0.5);
        assert_eq!(budget.level(), 3.0);
        budget.deposit();
        assert_eq!(budget.level(), 3.5);
    }

    #[test]
    fn retries_are_at_most_the_floor_and_the_share_of_first_attempts() {
        for seed in 0..500 {
            let mut chance = seed;
            let thousandths = next(&mut chance) % 1_500;
            let budget = Budget::new(thousandths as f64 / 1000.0);
            let eagerness = 1 + next(&mut chance) % 8;
            let (mut deposits, mut withdrawals) = (0, 0);
            for _ in 0..500 {
                if next(&mut chance).is_multiple_of(eagerness) {
                    budget.deposit();
                    deposits += 1;
                } else if budget.withdraw() {
                    withdrawals += 1;
                } else {
                    assert!(budget.level() < 1.0, "seed {seed}: refused with a token");
                }
                assert!((0.0..=CAP).contains(&budget.level()), "seed {seed}");
                let allowed = FLOOR_MILLIS + thousandths * deposits;
                assert!(withdrawals * TOKEN <= allowed, "seed {seed}");
            }
        }
    }

    #[test]
    fn threads_lose_and_invent_nothing() {
        let budget = Budget::new(0.001);
        let start = std::sync::Barrier::new(4);
        let run = || -> u64 {
            start.wait();
            let round = |_| {
                budget.deposit();
                u64::from(budget.withdraw())
            };
            (0..50_000).map(round).sum()
        };
        let taken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no thread panics"))
                .sum()
        });
        // 200,000 thousandths and the floor came in, and all of it can go out:
        // with a withdrawal for every deposit the cap is far away.
        assert_eq!(taken + drain(&budget), 202);
        assert_eq!(budget.level(), 0.0);
    }
}
