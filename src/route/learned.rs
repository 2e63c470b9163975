//! How long a target usually takes, learned from its last answers: to the
//! first token, or to the whole answer.
//!
//! Quantiles of the last [`SAMPLES`] durations by nearest rank: of n sorted
//! samples the one at place ceil(p * n), counted from 1. That is the first
//! definition in Hyndman and Fan, Sample Quantiles in Statistical Packages,
//! The American Statistician 50 (1996): always a duration that was seen.
//!
//! Recording sorts, reading is one atomic load; requests read more often than
//! they record. Each value on its own is exact after the last `record`; two
//! reads with a `record` between them may belong to different samples.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many durations are remembered.
pub const SAMPLES: usize = 64;

/// With fewer durations than these nothing is known: one slow answer should
/// not pass for the usual.
pub const MIN_SAMPLES: usize = 5;

/// Stands for "not known". No recorded duration is as long: 584 years.
const UNKNOWN: u64 = u64::MAX;

/// The durations of one target, shared by all its requests.
#[derive(Debug)]
pub struct Learned {
    ring: Mutex<Ring>,
    /// Nanoseconds, or [`UNKNOWN`]. Written under the lock of the ring.
    p50: AtomicU64,
    p95: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    nanos: [u64; SAMPLES],
    /// Durations that were ever recorded.
    recorded: usize,
}

impl Learned {
    /// One that knows nothing yet.
    pub const fn new() -> Self {
        let ring = Ring {
            nanos: [0; SAMPLES],
            recorded: 0,
        };
        Self {
            ring: Mutex::new(ring),
            p50: AtomicU64::new(UNKNOWN),
            p95: AtomicU64::new(UNKNOWN),
        }
    }

    /// Another answer took so long. It replaces the oldest of [`SAMPLES`].
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(UNKNOWN);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push(nanos.min(UNKNOWN - 1));
        let mut sorted = ring.nanos;
        let Some(sorted) = sorted.get_mut(..ring.len()) else {
            return;
        };
        if sorted.len() < MIN_SAMPLES {
            return;
        }
        sorted.sort_unstable();
        self.p50.store(quantile(sorted, 50), Ordering::Relaxed);
        self.p95.store(quantile(sorted, 95), Ordering::Relaxed);
    }

    /// An answer was not waited for any longer: it would have taken so long at
    /// least. That it takes less than usual is nothing that was seen, so it
    /// counts as the 95th percentile at least.
    pub fn outlasted(&self, took: Duration) {
        self.record(self.p95().map_or(took, |usual| usual.max(took)));
    }

    /// Half of the answers took no longer. `None` before [`MIN_SAMPLES`].
    pub fn p50(&self) -> Option<Duration> {
        known(&self.p50)
    }

    /// 95 of 100 answers took no longer. `None` before [`MIN_SAMPLES`].
    pub fn p95(&self) -> Option<Duration> {
        known(&self.p95)
    }
}

impl Default for Learned {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    fn push(&mut self, nanos: u64) {
        if let Some(oldest) = self.nanos.get_mut(self.recorded % SAMPLES) {
            *oldest = nanos;
        }
        self.recorded = self.recorded.wrapping_add(1);
    }

    fn len(&self) -> usize {
        self.recorded.min(SAMPLES)
    }
}

/// The sample at the nearest rank of a percentage.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let place = rank.saturating_sub(1);
    sorted.get(place).copied().unwrap_or(UNKNOWN)
}

fn known(nanos: &AtomicU64) -> Option<Duration> {
    let nanos = nanos.load(Ordering::Relaxed);
    (nanos != UNKNOWN).then(|| Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::decide::next;

    fn recorded(millis: impl IntoIterator<Item = u64>) -> Learned {
        let learned = Learned::new();
        for millis in millis {
            learned.record(Duration::from_millis(millis));
        }
        learned
    }

    fn quantiles(learned: &Learned) -> (Option<u128>, Option<u128>) {
        let millis = |d: Duration| d.as_millis();
        (learned.p50().map(millis), learned.p95().map(millis))
    }

    #[test]
    fn nothing_is_known_before_five_samples() {
        assert_eq!(quantiles(&recorded([])), (None, None));
        assert_eq!(quantiles(&recorded([1, 2, 3, 4])), (None, None));
        assert_eq!(quantiles(&recorded([5, 1, 4, 2, 3])), (Some(3), Some(5)));
    }

    #[test]
    fn who_was_not_waited_for_does_not_look_fast() {
        let learned = recorded([100; 64]);
        for _ in 0..200 {
            learned.outlasted(Duration::from_millis(3));
        }
        assert_eq!(quantiles(&learned), (Some(100), Some(100)));
        for _ in 0..64 {
            learned.outlasted(Duration::from_millis(700));
        }
        assert_eq!(quantiles(&learned), (Some(700), Some(700)));
    }

    #[test]
    fn ranks_are_the_nearest() {
        for (n, p50, p95) in [
            (6, 3, 6),
            (10, 5, 10),
            (20, 10, 19),
            (21, 11, 20),
            (64, 32, 61),
        ] {
            assert_eq!(quantiles(&recorded(1..=n)), (Some(p50), Some(p95)), "{n}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let slow = std::iter::repeat_n(900, 64);
        assert_eq!(quantiles(&recorded(slow.clone())), (Some(900), Some(900)));
        let slow_then_fast = slow.chain(std::iter::repeat_n(7, 61));
        assert_eq!(
            quantiles(&recorded(slow_then_fast.clone())),
            (Some(7), Some(7))
        );
        let again_slow = slow_then_fast.chain([800]);
        assert_eq!(quantiles(&recorded(again_slow)), (Some(7), Some(7)));
        assert_eq!(
            quantiles(&recorded((0..64).chain([100; 4]))),
            (Some(35), Some(100))
        );
    }

    #[test]
    fn no_duration_passes_for_unknown() {
        let learned = Learned::new();
        for _ in 0..5 {
            learned.record(Duration::MAX);
        }
        assert_eq!(learned.p50(), Some(Duration::from_nanos(u64::MAX - 1)));
        let instant = recorded([0; 5]);
        assert_eq!(quantiles(&instant), (Some(0), Some(0)));
    }

    /// The definition: the smallest sample such that at least so many percent
    /// are no greater.
    fn plainly(samples: &[u64], percent: usize) -> Option<u128> {
        let enough = |candidate: &&u64| {
            let within = samples.iter().filter(|sample| sample <= candidate).count();
            within * 100 >= percent * samples.len()
        };
        samples
            .iter()
            .filter(enough)
            .min()
            .map(|millis| u128::from(*millis))
    }

    #[test]
    fn quantiles_are_those_of_the_definition() {
        for seed in 0..50 {
            let mut chance = seed;
            let mut samples = Vec::new();
            let learned = Learned::new();
            for _ in 0..200 {
                let millis = next(&mut chance) % 300;
                samples.push(millis);
                learned.record(Duration::from_millis(millis));
                let last = &samples[samples.len().saturating_sub(SAMPLES)..];
                if last.len() >= MIN_SAMPLES {
                    let expected = (plainly(last, 50), plainly(last, 95));
                    assert_eq!(quantiles(&learned), expected, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn threads_record_every_duration() {
        let learned = Learned::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| learned.record(Duration::from_secs(3))));
            }
        });
        let ring = learned.ring.lock().expect("no thread panicked");
        assert_eq!(ring.recorded, 4_000);
        assert_eq!(learned.p95(), Some(Duration::from_secs(3)));
    }
}
