//! What is said to a request: who goes first, what is left, why not.

pub use crate::units::Priority;
use crate::units::{Measure, Window};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request's place among others.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub priority: Priority,
    /// It waits no longer than this, whatever a rule allows.
    pub until: Instant,
}

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Those that are not about providers or their models.
    Request,
    /// Those that are; the subject names the target.
    Target,
}

/// What a rule has left, for `x-ratelimit-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is there again, when nobody uses more.
    pub reset: Duration,
}

/// What the tightest rules have left: those with the least remaining, of all
/// rules with a window that count the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub requests: Option<Left>,
    /// Of input, output or all tokens.
    pub tokens: Option<Left>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Not enough is left.
    Exhausted,
    /// It is more than the rule allows at all.
    TooLarge,
    /// Its turn did not come in time.
    Waited,
    /// Too many wait.
    QueueFull,
    /// So many users of the key are counted that there is no room for a new one.
    Crowded,
    /// It cannot be told what is left.
    Unavailable,
}

impl Why {
    /// As metrics and logs call it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::TooLarge => "too_large",
            Self::Waited => "waited",
            Self::QueueFull => "queue_full",
            Self::Crowded => "crowded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A rule says no. Of several, the one that will say so for longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub rule: Arc<str>,
    pub measure: Measure,
    pub window: Window,
    /// In the measure's unit, as `left`.
    pub limit: u64,
    pub left: u64,
    /// When to come again; `None` when it will not fit then either.
    pub retry_after: Option<Duration>,
    pub why: Why,
    /// Boxed, for a refusal travels through many hands.
    pub standing: Box<Standing>,
}

impl Standing {
    /// Takes a rule into account.
    pub(super) fn see(&mut self, measure: Measure, left: Left) {
        let place = match measure {
            Measure::Requests => &mut self.requests,
            Measure::InputTokens | Measure::OutputTokens | Measure::TotalTokens => &mut self.tokens,
            Measure::Usd | Measure::Concurrent => return,
        };
        if place.is_none_or(|tightest| left.remaining < tightest.remaining) {
            *place = Some(left);
        }
    }

    /// The tighter of both, for a request that two stages admitted.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (measure, left) in [
            (Measure::Requests, other.requests),
            (Measure::TotalTokens, other.tokens),
        ] {
            if let Some(left) = left {
                self.see(measure, left);
            }
        }
        self
    }
}
