//! Money: whole millionths of a US dollar, and prices per unit that are finer.
//!
//! Nothing here is a float. A sum of prices is exact, in picodollars, and is
//! rounded to micro-dollars once: that is [`Rate::cost`] for one kind of unit,
//! and whoever adds several kinds adds picodollars first.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Picodollars in a micro-dollar.
pub const PICOS: u128 = 1_000_000;

/// An amount of money that is not negative, in millionths of a US dollar.
/// Written and read as a decimal number of dollars: `12.5`, `0.000001`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroUsd(pub u64);

/// A text that is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected dollars with at most {0} digits after the point")]
pub struct NotMoney(usize);

impl MicroUsd {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The nearest amount to so many picodollars; half a micro-dollar goes up.
    pub fn nearest(picos: u128) -> Self {
        Self(u64::try_from(picos.saturating_add(PICOS / 2) / PICOS).unwrap_or(u64::MAX))
    }

    /// The least amount that covers so many picodollars.
    pub fn covering(picos: u128) -> Self {
        Self(u64::try_from(picos.div_ceil(PICOS)).unwrap_or(u64::MAX))
    }
}

impl std::iter::Sum for MicroUsd {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for MicroUsd {
    /// Dollars with six digits after the point; `{:.2}` is refused by none but
    /// ignored: money is never shown rounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.pad(&text)
    }
}

impl FromStr for MicroUsd {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let micros = decimal(text, 6).ok_or(NotMoney(6))?;
        u64::try_from(micros).map(Self).map_err(|_| NotMoney(6))
    }
}

/// The price of one unit (a token, an image, a request), in picodollars: a
/// dollar for a million tokens is 1,000,000. Written and read as dollars for a
/// **million** units: `2.5`, `0.075`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

impl Rate {
    pub const ZERO: Self = Self(0);

    /// What so many units cost, in picodollars.
    pub const fn of(self, units: u64) -> u128 {
        (self.0 as u128).saturating_mul(units as u128)
    }

    /// Reads the price of **one** unit in dollars, as images and requests are
    /// priced: `0.04`.
    ///
    /// # Errors
    /// When it is no decimal number, or finer than a picodollar.
    pub fn of_one(text: &str) -> Result<Self, NotMoney> {
        let picos = decimal(text, 12).ok_or(NotMoney(12))?;
        u64::try_from(picos).map(Self).map_err(|_| NotMoney(12))
    }

    /// Dollars for one unit, exactly: what [`Rate::of_one`] reads.
    pub fn for_one(self) -> String {
        const DOLLAR: u64 = 1_000_000_000_000;
        let text = format!("{}.{:012}", self.0 / DOLLAR, self.0 % DOLLAR);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// What so many units cost, to the nearest micro-dollar.
    pub fn cost(self, units: u64) -> MicroUsd {
        MicroUsd::nearest(self.of(units))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.pad(text)
    }
}

impl FromStr for Rate {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let picos = decimal(text, 6).ok_or(NotMoney(6))?;
        u64::try_from(picos).map(Self).map_err(|_| NotMoney(6))
    }
}

/// Reads a decimal number as a whole number of its `places`-th digit. Zeros
/// beyond are no harm; other digits there are not rounded away.
fn decimal(text: &str, places: usize) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_number = !whole.is_empty() && digits(whole) && digits(part);
    let has_part = !text.contains('.') || !part.is_empty();
    let part = part.trim_end_matches('0');
    if !is_number || !has_part || part.len() > places || whole.len() > 20 {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(MicroUsd);
as_text!(Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly_or_not_at_all() {
        for (text, micros) in [
            ("0", 0),
            ("10", 10_000_000),
            ("10.00", 10_000_000),
            ("0.000001", 1),
            ("0.00000100", 1),
            ("12.5", 12_500_000),
        ] {
            assert_eq!(text.parse(), Ok(MicroUsd(micros)), "{text}");
        }
        for bad in [
            "",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "0.0000001",
            "$1",
            " 1",
        ] {
            assert_eq!(bad.parse::<MicroUsd>(), Err(NotMoney(6)), "{bad}");
        }
        assert!("99999999999999999999".parse::<MicroUsd>().is_err());
        assert_eq!(MicroUsd(12_500_000).to_string(), "12.500000");
    }

    #[test]
    fn prices_are_for_a_million_and_cost_is_rounded_once() {
        let cheap: Rate = "0.02".parse().unwrap();
        assert_eq!(cheap, Rate(20_000));
        assert_eq!(cheap.cost(1), MicroUsd(0));
        assert_eq!(cheap.cost(25), MicroUsd(1), "half goes up");
        assert_eq!(cheap.cost(1_000_000), MicroUsd(20_000));
        assert_eq!(MicroUsd::covering(cheap.of(1)), MicroUsd(1));
        assert_eq!(MicroUsd::covering(0), MicroUsd::ZERO);
        assert_eq!(Rate(u64::MAX).cost(u64::MAX), MicroUsd::MAX);
        assert_eq!(cheap.to_string(), "0.02");
        assert_eq!(Rate(5_000_000).to_string(), "5");
        assert_eq!(Rate::of_one("0.04"), Ok(Rate(40_000_000_000)));
        assert_eq!(Rate(40_000_000_000).for_one(), "0.04");
        assert_eq!(Rate::of_one("0.0000000000001"), Err(NotMoney(12)));
    }
}
