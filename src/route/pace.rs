//! The guard of a stream after its first token: is it still worth waiting for?
//!
//! A stream is too slow when nothing comes for a while, or when fewer tokens
//! than agreed come within a window. Windows follow one another without a gap
//! from the first token on; the one in which the stream ends is not judged.
//! Time in which the client was waited for is not the provider's: it counts
//! for neither. Pings and empty pieces are not content and are not told here,
//! so a provider that only keeps the connection warm is seen to have stalled.
//!
//! A window that was too slow stays so, even when it is looked at late and
//! content has come since: the outcome does not hang on who woke up first.

use std::time::{Duration, Instant};

/// Bytes of text that make about a token.
const TOKEN_BYTES: usize = 4;

/// Stands in for limits too long to be added to an instant.
const FAR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a stream is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How long nothing may come.
    pub stall: Duration,
    /// How much must come, if that is asked for.
    pub min_rate: Option<Rate>,
}

/// A least rate, taken over windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Output tokens; a rate that is not above 0 asks for nothing.
    pub tokens_per_second: f64,
    /// How long a window is; an empty one asks for nothing.
    pub window: Duration,
}

/// Why a stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooSlow {
    /// Nothing came for as long as [`Limits::stall`].
    #[error("the stream has stalled")]
    Stalled,
    /// A window ended with fewer tokens than [`Limits::min_rate`] asks for.
    #[error("the stream is below its least rate")]
    BelowRate,
}

/// The guard of one stream.
#[derive(Debug, Clone)]
pub struct Pace {
    stall: Duration,
    /// When content came last.
    heard: Instant,
    window: Option<Window>,
}

/// The window that runs now.
#[derive(Debug, Clone)]
struct Window {
    began: Instant,
    lasts: Duration,
    /// Tokens that it must have at its end.
    needed: f64,
    tokens: u64,
    /// An earlier one ended with too few.
    was_slow: bool,
}

impl Pace {
    /// Begins at `now`, when the first token has come. That token's own count
    /// is told with [`Self::said`].
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            stall: limits.stall,
            heard: now,
            window: limits.min_rate.and_then(|rate| Window::new(rate, now)),
        }
    }

    /// When to [`check`](Self::check) again: when the stream would have
    /// stalled or the window ends, whichever is earlier.
    pub fn due(&self) -> Instant {
        let stalled = later(self.heard, self.stall);
        let ended = self.window.as_ref().map(|w| later(w.began, w.lasts));
        ended.map_or(stalled, |ended| ended.min(stalled))
    }

    /// Content came: about so many tokens, as [`tokens_in`] counts them.
    pub fn said(&mut self, tokens: u64, now: Instant) {
        self.heard = self.heard.max(now);
        if let Some(window) = &mut self.window {
            window.advance(now);
            window.tokens = window.tokens.saturating_add(tokens);
        }
    }

    /// For so long it was the client that was waited for. To be told before
    /// what comes or is checked after the pause.
    pub fn paused(&mut self, by: Duration) {
        self.heard = self.heard.checked_add(by).unwrap_or(self.heard);
        if let Some(window) = &mut self.window {
            window.began = window.began.checked_add(by).unwrap_or(window.began);
        }
    }

    /// Whether the stream may go on.
    ///
    /// # Errors
    ///
    /// [`TooSlow`]; a stall is named first, where both are true.
    pub fn check(&mut self, now: Instant) -> Result<(), TooSlow> {
        if now.saturating_duration_since(self.heard) >= self.stall {
            return Err(TooSlow::Stalled);
        }
        let Some(window) = &mut self.window else {
            return Ok(());
        };
        window.advance(now);
        if window.was_slow {
            return Err(TooSlow::BelowRate);
        }
        Ok(())
    }
}

impl Window {
    /// `None` for a rate that asks for nothing.
    fn new(rate: Rate, now: Instant) -> Option<Self> {
        let needed = rate.tokens_per_second * rate.window.as_secs_f64();
        (needed > 0.0).then_some(Self {
            began: now,
            lasts: rate.window,
            needed,
            tokens: 0,
            was_slow: false,
        })
    }

    /// Judges the windows that have ended by now. After the first of them the
    /// others are empty, so they are skipped and not walked through.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began);
        if passed < self.lasts {
            return;
        }
        let lasts = self.lasts.as_nanos().max(1);
        let (ended, into) = (passed.as_nanos() / lasts, passed.as_nanos() % lasts);
        // Tokens are whole and decimals are not exact: a billionth is no lack.
        let has_enough = self.tokens as f64 >= self.needed * (1.0 - 1e-9);
        self.was_slow |= ended > 1 || !has_enough;
        self.tokens = 0;
        let into = Duration::from_nanos(u64::try_from(into).unwrap_or(0));
        self.began = now.checked_sub(into).unwrap_or(now);
    }
}

/// An instant that can be waited for, however long a limit is.
fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by)
        .or_else(|| at.checked_add(FAR))
        .unwrap_or(at)
}

/// About how many tokens a piece of an answer is: four bytes each, the started
/// ones too. That is a rule of thumb for English, and pieces are short, so it
/// rather says too much, to the provider's favour. The better estimate in
/// `chat::estimate` looks at every character; this is asked for every piece.
pub const fn tokens_in(text: &str) -> u64 {
    text.len().div_ceil(TOKEN_BYTES) as u64
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
