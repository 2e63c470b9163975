//! The knob: from a share of requests to a threshold of the score.
//!
//! [`Quantiles`] are the scores of known traffic and ship with the weights. A [`Sketch`] holds those of
//! a route's own traffic, so that "30 % to the strong model" holds whatever the route is asked: it
//! starts as the shipped ones and becomes the route's own within a thousand requests.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many quantiles there are: each half percent, both ends with them.
pub const STEPS: usize = 201;

/// Scores in ascending order, each half percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantiles(Vec<f32>);

impl Quantiles {
    /// Of scores, in any order; of none, those of a normal distribution nobody has measured: all zero.
    #[must_use]
    pub fn of(scores: &[f32]) -> Self {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = |step: usize| {
            let place = last * step / (STEPS - 1);
            sorted.get(place).copied().unwrap_or(0.0)
        };
        Self((0..STEPS).map(at).collect())
    }

    /// Those of a file: as many as there must be, finite, ascending.
    #[must_use]
    pub fn read(values: Vec<f32>) -> Option<Self> {
        let ascending = values.is_sorted() && values.iter().all(|value| value.is_finite());
        (values.len() == STEPS && ascending).then_some(Self(values))
    }

    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// The score that `strong_share` (0 to 1) of the requests are at or above.
    #[must_use]
    pub fn threshold(&self, strong_share: f32) -> f32 {
        let place = (1.0 - strong_share.clamp(0.0, 1.0)) * (STEPS - 1) as f32;
        let below = place as usize;
        let at = |step: usize| self.0.get(step.min(STEPS - 1)).copied().unwrap_or(0.0);
        let part = place - below as f32;
        at(below) + (at(below + 1) - at(below)) * part
    }
}

/// Cells of a sketch; the outer two hold what lies beyond.
const CELLS: usize = 256;
/// The score is cut into cells from minus this to plus this.
const REACH: f32 = 8.0;
/// What the shipped quantiles weigh, in requests.
const PRIOR: u32 = 1_000;
/// At this weight all cells are halved: what a route was asked before fades.
const FULL: u32 = 8_192;

/// A histogram of the scores of one route, shared by all threads without a lock.
///
/// Requests that are counted while the cells are halved may count half or twice; nothing else is lost.
#[derive(Debug)]
pub struct Sketch {
    cells: [AtomicU32; CELLS],
    weight: AtomicU32,
}

impl Sketch {
    /// One that starts as the shipped quantiles.
    #[must_use]
    pub fn new(prior: &Quantiles) -> Self {
        let sketch = Self {
            cells: [const { AtomicU32::new(0) }; CELLS],
            weight: AtomicU32::new(PRIOR),
        };
        for step in 0..PRIOR {
            let share = 1.0 - (step as f32 + 0.5) / PRIOR as f32;
            if let Some(cell) = sketch.cells.get(cell(prior.threshold(share))) {
                cell.fetch_add(1, Ordering::Relaxed);
            }
        }
        sketch
    }

    /// Counts the score of a request.
    pub fn add(&self, score: f32) {
        if let Some(cell) = self.cells.get(cell(score)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        if self.weight.fetch_add(1, Ordering::Relaxed) + 1 == FULL {
            let mut left = 0;
            for cell in &self.cells {
                let half = cell.load(Ordering::Relaxed).div_ceil(2);
                cell.fetch_sub(half, Ordering::Relaxed);
                left += cell.load(Ordering::Relaxed);
            }
            self.weight.store(left, Ordering::Relaxed);
        }
    }

    /// The score that `strong_share` (0 to 1) of the requests were at or above. Exact to a cell, within
    /// which scores are taken as evenly spread.
    #[must_use]
    pub fn threshold(&self, strong_share: f32) -> f32 {
        let share = strong_share.clamp(0.0, 1.0);
        let counts = self
            .cells
            .each_ref()
            .map(|cell| cell.load(Ordering::Relaxed));
        let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        let mut wanted = share * sum as f32;
        for (at, count) in counts.iter().enumerate().rev() {
            let count = *count as f32;
            if wanted <= count {
                let part = match count > 0.0 {
                    true => wanted / count,
                    false => 0.0,
                };
                return edge(at + 1) + (edge(at) - edge(at + 1)) * part;
            }
            wanted -= count;
        }
        edge(0)
    }

    /// Whether a request of that score is among the `strong_share` hardest; it is counted by the way.
    #[must_use]
    pub fn is_strong(&self, score: f32, strong_share: f32) -> bool {
        let threshold = self.threshold(strong_share);
        self.add(score);
        score >= threshold
    }
}

fn cell(score: f32) -> usize {
    let place = (score + REACH) / (2.0 * REACH) * CELLS as f32;
    // A cast of what is below zero or no number gives zero.
    (place as usize).min(CELLS - 1)
}

/// The lower edge of a cell.
fn edge(cell: usize) -> f32 {
    cell as f32 / CELLS as f32 * 2.0 * REACH - REACH
}

#[cfg(test)]
mod tests {
    use super::super::steady::Draws;
    use super::*;

    fn bell(draws: &mut Draws, middle: f32, width: f32) -> f32 {
        let sum: f32 = (0..12)
            .map(|_| draws.below(1 << 20) as f32 / 1_048_576.0)
            .sum();
        middle + (sum - 6.0) * width
    }

    #[test]
    fn a_share_of_known_traffic() {
        let scores: Vec<f32> = (0..1000).map(|n| n as f32 / 1000.0).collect();
        let quantiles = Quantiles::of(&scores);
        for share in [0.0, 0.1, 0.3, 0.5, 0.9, 1.0] {
            let threshold = quantiles.threshold(share);
            let above = scores.iter().filter(|score| **score >= threshold).count();
            assert!((above as f32 / 1000.0 - share).abs() < 0.01, "{share}");
        }
        assert_eq!(
            Quantiles::read(quantiles.values().to_vec()),
            Some(quantiles)
        );
        assert_eq!(Quantiles::read(vec![1.0; STEPS - 1]), None);
        assert_eq!(Quantiles::read(vec![f32::NAN; STEPS]), None);
        assert_eq!(Quantiles::of(&[]).threshold(0.3), 0.0);
    }

    #[test]
    fn the_share_holds_within_two_points_on_traffic_unlike_the_shipped() {
        let mut draws = Draws(7);
        let shipped: Vec<f32> = (0..4000).map(|_| bell(&mut draws, 0.0, 0.8)).collect();
        let sketch = Sketch::new(&Quantiles::of(&shipped));
        for (middle, width) in [(1.0, 0.3), (-1.5, 0.2), (0.2, 1.5)] {
            // Until what was asked before has faded.
            for _ in 0..40_000 {
                sketch.add(bell(&mut draws, middle, width));
            }
            for share in [0.05, 0.3, 0.5, 0.8] {
                let strong = (0..8000)
                    .filter(|_| sketch.is_strong(bell(&mut draws, middle, width), share))
                    .count();
                let held = strong as f32 / 8000.0;
                assert!((held - share).abs() < 0.02, "{share} became {held}");
            }
        }
    }

    #[test]
    fn a_new_sketch_is_the_shipped_quantiles() {
        let mut draws = Draws(3);
        let shipped: Vec<f32> = (0..4000).map(|_| bell(&mut draws, 0.4, 0.6)).collect();
        let sketch = Sketch::new(&Quantiles::of(&shipped));
        for share in [0.1, 0.3, 0.7] {
            let strong = shipped
                .iter()
                .filter(|score| **score >= sketch.threshold(share));
            let held = strong.count() as f32 / 4000.0;
            assert!((held - share).abs() < 0.02, "{share} became {held}");
        }
        sketch.add(f32::NAN);
        sketch.add(f32::INFINITY);
    }
}
