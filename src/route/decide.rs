//! Which targets a request may go to, and in which order.
//!
//! Pure: values in, values out. The clock, the network and chance are
//! arguments or are not here; chance comes in as a seed.

/// How a route orders its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As written.
    Ordered,
    /// By chance, in proportion to the weights, without repetition.
    Weighted,
}

/// The targets of a route as far as ordering them needs to know.
#[derive(Debug, Clone)]
pub struct Choice<'a> {
    pub order: Order,
    /// Weights of the targets, in the order of the config.
    pub weights: &'a [usize],
    /// How many fallbacks follow the targets.
    pub fallbacks: usize,
}

/// Indexes into "targets, then fallbacks", first choice first. Every index
/// occurs once: what fails is not tried twice.
pub fn decide(choice: &Choice<'_>, seed: u64) -> Vec<usize> {
    let n = choice.weights.len();
    let mut order: Vec<usize> = (0..n).collect();
    if choice.order == Order::Weighted {
        shuffle(&mut order, choice.weights, seed);
    }
    order.extend(n..n + choice.fallbacks);
    order
}

/// A weighted shuffle: draw without replacement, each time in proportion to
/// the weights that are left. Weights of 0 come last, in their order.
fn shuffle(order: &mut [usize], weights: &[usize], seed: u64) {
    let weight = |i: usize| weights.get(i).copied().unwrap_or(0) as u64;
    let mut state = seed;
    for placed in 0..order.len() {
        let Some(rest) = order.get_mut(placed..) else {
            return;
        };
        let total: u64 = rest.iter().map(|i| weight(*i)).sum();
        if total == 0 {
            return;
        }
        let mut drawn = next(&mut state) % total;
        let hit = rest.iter().position(|i| {
            let w = weight(*i);
            let here = drawn < w;
            drawn = drawn.wrapping_sub(w);
            here
        });
        // Rotating keeps the losers in their order.
        if let Some(taken) = hit.and_then(|h| rest.get_mut(..=h)) {
            taken.rotate_right(1);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(weights: &[usize], fallbacks: usize, seed: u64) -> Vec<usize> {
        decide(
            &Choice {
                order: Order::Weighted,
                weights,
                fallbacks,
            },
            seed,
        )
    }

    #[test]
    fn ordered_is_as_written_and_fallbacks_follow() {
        let choice = Choice {
            order: Order::Ordered,
            weights: &[1, 5, 1],
            fallbacks: 2,
        };
        assert_eq!(decide(&choice, 7), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_same_seed_gives_the_same_order() {
        assert_eq!(weighted(&[1, 2, 3], 1, 42), weighted(&[1, 2, 3], 1, 42));
    }

    #[test]
    fn every_target_occurs_once() {
        for seed in 0..1000 {
            let mut order = weighted(&[1, 0, 3, 9], 1, seed);
            assert_eq!(order.last(), Some(&4));
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn first_places_follow_the_weights() {
        let mut firsts = [0; 3];
        for seed in 0..60_000 {
            firsts[weighted(&[1, 2, 3], 0, seed)[0]] += 1;
        }
        for (count, expected) in firsts.iter().zip([10_000, 20_000, 30_000]) {
            assert!((expected - count as &i32).abs() < 600, "{firsts:?}");
        }
    }

    #[test]
    fn weight_zero_is_the_last_resort() {
        assert!((0..100).all(|seed| weighted(&[0, 1], 0, seed) == [1, 0]));
    }
}
