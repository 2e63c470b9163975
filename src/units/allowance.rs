//! What may be used in which time, as operators write it: `60 requests / 1m`,
//! `10 usd / month`, `5 usd`, `8 concurrent`.
//!
//! ```text
//! AMOUNT MEASURE [ / WINDOW ]
//! measure   requests | input_tokens | output_tokens | total_tokens | usd | concurrent
//! window    a length (1s 1m 1h 1d 30d): any stretch of time that long
//!           hour | day | week | month: as the calendar has them, in UTC
//!           none: for ever
//! ```

use super::money::MicroUsd;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    Requests,
    InputTokens,
    OutputTokens,
    TotalTokens,
    /// Micro-dollars.
    Usd,
    /// Requests at the same time.
    Concurrent,
}

impl Measure {
    pub const ALL: [Self; 6] = [
        Self::Requests,
        Self::InputTokens,
        Self::OutputTokens,
        Self::TotalTokens,
        Self::Usd,
        Self::Concurrent,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::TotalTokens => "total_tokens",
            Self::Usd => "usd",
            Self::Concurrent => "concurrent",
        }
    }
}

/// A part of the calendar, in UTC. Weeks begin on Monday (ISO 8601).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Calendar {
    Hour,
    Day,
    Week,
    Month,
}

impl Calendar {
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// The time for which something may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// Any stretch of time of this length; at least a second, at most 366 days.
    Rolling(Duration),
    Calendar(Calendar),
    /// For ever; for concurrency: at any moment.
    Total,
}

/// So much of something in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Allowance {
    /// In the measure's unit: micro-dollars for money.
    pub amount: u64,
    pub measure: Measure,
    pub window: Window,
}

/// A text that is no allowance, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write it as \"60 requests / 1m\", \"10 usd / month\" or \"8 concurrent\"")]
pub struct NotAnAllowance(String);

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl FromStr for Allowance {
    type Err = NotAnAllowance;

    fn from_str(text: &str) -> Result<Self, NotAnAllowance> {
        let (what, window) = match text.split_once('/') {
            Some((what, window)) => (what, Some(window.trim())),
            None => (text, None),
        };
        let mut words = what.split_ascii_whitespace();
        let (Some(amount), Some(noun), None) = (words.next(), words.next(), words.next()) else {
            return Err(NotAnAllowance("expected an amount and what of".to_owned()));
        };
        let measure = Measure::ALL.into_iter().find(|m| m.name() == noun);
        let Some(measure) = measure else {
            let names: Vec<_> = Measure::ALL.iter().map(|m| m.name()).collect();
            let text = format!("\"{noun}\" is none of {}", names.join(", "));
            return Err(NotAnAllowance(text));
        };
        let amount = match measure {
            Measure::Usd => amount.parse().ok().map(|MicroUsd(micros)| micros),
            _ => amount.replace('_', "").parse().ok(),
        };
        let amount = amount.ok_or_else(|| NotAnAllowance(format!("{what:?} has no amount")))?;
        let window = match window {
            None => Window::Total,
            Some(_) if measure == Measure::Concurrent => {
                let text = "concurrency has no window".to_owned();
                return Err(NotAnAllowance(text));
            }
            Some(window) => window_of(window)?,
        };
        Ok(Self {
            amount,
            measure,
            window,
        })
    }
}

fn window_of(text: &str) -> Result<Window, NotAnAllowance> {
    if let Some(part) = Calendar::ALL.into_iter().find(|part| part.name() == text) {
        return Ok(Window::Calendar(part));
    }
    let length = humantime::parse_duration(text)
        .map_err(|_| NotAnAllowance(format!("\"{text}\" is no window")))?;
    match (SHORTEST..=LONGEST).contains(&length) {
        true => Ok(Window::Rolling(length)),
        false => {
            let text = format!("a window is from 1s to 366d long, not {text}");
            Err(NotAnAllowance(text))
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(length) => write!(f, "{}", humantime::format_duration(*length)),
            Self::Calendar(part) => f.write_str(part.name()),
            Self::Total => f.write_str("total"),
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.measure {
            Measure::Usd => {
                let text = MicroUsd(self.amount).to_string();
                let text = text.trim_end_matches('0').trim_end_matches('.');
                write!(f, "{text} usd")?;
            }
            other => write!(f, "{} {}", self.amount, other.name())?,
        }
        match self.window {
            Window::Total => Ok(()),
            window => write!(f, " / {window}"),
        }
    }
}

impl Serialize for Allowance {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_written_again() {
        let minute = Window::Rolling(Duration::from_secs(60));
        for (text, amount, measure, window) in [
            ("60 requests / 1m", 60, Measure::Requests, minute),
            (
                "10 usd / month",
                10_000_000,
                Measure::Usd,
                Window::Calendar(Calendar::Month),
            ),
            ("0.5 usd", 500_000, Measure::Usd, Window::Total),
            ("8 concurrent", 8, Measure::Concurrent, Window::Total),
            (
                "1000000 total_tokens / day",
                1_000_000,
                Measure::TotalTokens,
                Window::Calendar(Calendar::Day),
            ),
        ] {
            let allowance = Allowance {
                amount,
                measure,
                window,
            };
            assert_eq!(text.parse(), Ok(allowance), "{text}");
            assert_eq!(allowance.to_string(), text);
        }
        let loose: Allowance = "1_000 requests/60s".parse().unwrap();
        assert_eq!(loose, "1000 requests / 1m".parse().unwrap());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "an amount"),
            ("60", "an amount"),
            ("60 request / 1m", "\"request\" is none of"),
            ("-1 requests", "no amount"),
            ("1.5 requests", "no amount"),
            ("0.0000001 usd", "no amount"),
            ("1 requests / 1x", "no window"),
            ("1 requests / 100ms", "from 1s"),
            ("1 requests / 2y", "from 1s"),
            ("1 concurrent / 1m", "no window"),
        ] {
            let error = text.parse::<Allowance>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
