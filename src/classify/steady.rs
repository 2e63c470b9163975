//! Exponential and logarithm that give the same bits on every machine.
//!
//! The ones of the standard library are those of the platform, which differ in the last place.
//! These use only what IEEE 754 defines exactly: addition, multiplication, division, square root.

/// e to the power of `x`, to about one part in a million; 0 below -87, its largest at 88.
#[must_use]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let whole = (x * std::f32::consts::LOG2_E).round();
    // ln 2 in two parts, so that the remainder is exact.
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut sum = 1.0;
    for divisor in [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + rest / divisor * sum;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped: -126 to 127, so that the sum is 1 to 254"
    )]
    let bits = ((whole as i32 + 127) as u32) << 23;
    sum * f32::from_bits(bits)
}

/// 1 / (1 + e^-x).
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The natural logarithm of `x`, to about one part in a million; of what is not above zero, -87.
#[must_use]
pub fn ln(x: f32) -> f32 {
    if x <= f32::MIN_POSITIVE {
        return -87.0;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as f32 - 127.0;
    let mut mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    if mantissa > std::f32::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1))
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut sum = 0.0;
    for divisor in [9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = 1.0 / divisor + square * sum;
    }
    2.0 * ratio * sum + exponent * std::f32::consts::LN_2
}

/// SplitMix64: the same draws on every machine.
#[derive(Clone, Debug)]
pub struct Draws(pub u64);

impl Draws {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.draw()) * bound as u128;
        (wide >> 64) as usize
    }

    /// Mixes the order, each order as likely as the others.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_platforms_own() {
        for step in -800..=800 {
            let x = step as f32 / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 4e-6, "{x}");
            let y = x.exp();
            assert!((ln(y) - x).abs() < 1e-4, "{x}");
        }
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(ln(0.0), -87.0);
        assert!(exp(f32::INFINITY).is_finite() && exp(f32::NEG_INFINITY) < 1e-30);
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut items: Vec<usize> = (0..100).collect();
        Draws(1).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        assert_eq!(Draws(1).below(0), 0);
    }
}
