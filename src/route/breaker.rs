//! A circuit breaker: a target that fails is left alone for a while.
//!
//! Closed, it admits everything and watches the outcomes. It opens after some
//! failures in a row, when too many of the last outcomes were failures, or at
//! once when the provider asks for it with `Retry-After`. Open, it admits
//! nothing until its time has passed. Then it is half open and admits one
//! probe at a time: a good one closes it, a failed one opens it again for
//! twice as long. The three states are those of Nygard, Release It! (2007).
//!
//! Three promises. A success never opens it. A verdict on what was admitted
//! before the last change between closed and open (or before the last failed
//! probe) changes nothing: it tells of another time. And a probe that ends
//! without a verdict gives its place back, so that nothing stays shut because
//! a client went away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many outcomes the error rate is taken over, at most: the bits of the
/// history.
pub const HISTORY: u32 = u64::BITS;

/// The longest that a `Retry-After` is believed.
pub const TOLD_MAX: Duration = Duration::from_secs(600);

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; 0 is as 1.
    pub consecutive_failures: u32,
    /// Share of failures among the last [`HISTORY`] outcomes that opens it,
    /// 0 to 1. It is looked at with each failure.
    pub error_rate: f64,
    /// Outcomes that must be known before the rate counts; by default 20, and
    /// more than [`HISTORY`] is as many as that.
    pub min_outcomes: u32,
    /// How long it stays open the first time.
    pub open: Duration,
    /// How long it stays open at most, however many probes fail.
    pub open_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            error_rate: 0.5,
            min_outcomes: 20,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(30),
        }
    }
}

/// The three states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Everything is admitted.
    Closed,
    /// Nothing is admitted.
    Open,
    /// The open time has passed: one probe at a time is admitted.
    HalfOpen,
}

impl State {
    /// How far it is from being in use: 0 closed, 1 half open, 2 open.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

    /// The state's name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The answer to [`Breaker::admit`].
#[must_use]
pub enum Admission {
    /// Go ahead, and say how it went.
    Admitted(Permit),
    /// Not now.
    Shut {
        /// Until it would be half open; zero when a probe is under way.
        wait: Duration,
        /// The provider itself asked for it, with `Retry-After`.
        told: bool,
    },
}

/// What a look at a breaker shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    pub state: State,
    /// What [`Admission::Shut`] would say (wait, told), or `None` where
    /// [`Breaker::admit`] would admit.
    pub shut: Option<(Duration, bool)>,
    /// It is not closed, or the last outcome was a failure.
    pub is_suspect: bool,
}

impl Peek {
    /// Whether nobody is let through.
    pub const fn is_open(&self) -> bool {
        self.shut.is_some()
    }
}

/// The breaker of one target, shared by all its requests.
pub struct Breaker {
    inner: Mutex<Inner>,
}

struct Inner {
    settings: Settings,
    /// Counts openings and closings. A permit of another generation is late.
    generation: u64,
    /// `None` is closed.
    opening: Option<Opening>,
    /// Failed probes since it was closed last.
    failed_probes: u32,
    outcomes: Outcomes,
}

/// The open time; when it is over, the state is half open.
struct Opening {
    since: Instant,
    lasts: Duration,
    told: bool,
    is_probing: bool,
}

/// What became of the requests since it was closed last.
#[derive(Default)]
struct Outcomes {
    /// One bit each, the last one lowest; 1 is a failure.
    bits: u64,
    /// How many bits mean something.
    known: u32,
    /// Failures in a row, up to now.
    row: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Admitted while closed.
    Usual,
    /// The one whose outcome decides.
    Probe,
    /// Admitted although it was shut.
    Forced,
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Good,
    Bad { retry_after: Option<Duration> },
}

/// The right to ask a target once. Dropped without a verdict (the client went
/// away, say) it counts for nothing.
#[must_use]
pub struct Permit {
    breaker: Arc<Breaker>,
    generation: u64,
    role: Role,
}

impl Breaker {
    /// A closed breaker that knows of no outcome.
    pub fn new(settings: Settings) -> Self {
        let inner = Inner {
            settings,
            generation: 0,
            opening: None,
            failed_probes: 0,
            outcomes: Outcomes::default(),
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Other settings from the next outcome on. The state, what is known and
    /// an open time that has begun stay.
    pub fn configure(&self, settings: Settings) {
        self.lock().settings = settings;
    }

    /// Asks to be let through. Closed: always. Open: not before its time has
    /// passed, and then as one probe at a time.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Admission {
        let mut inner = self.lock();
        match inner.enter(now) {
            Ok(role) => Admission::Admitted(self.permit(&inner, role)),
            Err((wait, told)) => Admission::Shut { wait, told },
        }
    }

    /// Lets through whatever the state, for the last target that is left. It
    /// is the probe where [`Self::admit`] would have made it one.
    pub fn force(self: &Arc<Self>, now: Instant) -> Permit {
        let mut inner = self.lock();
        let role = inner.enter(now).unwrap_or(Role::Forced);
        self.permit(&inner, role)
    }

    /// Looks, and changes nothing.
    pub fn peek(&self, now: Instant) -> Peek {
        let inner = self.lock();
        let state = inner.state(now);
        Peek {
            state,
            shut: inner.shut(now),
            is_suspect: state != State::Closed || inner.outcomes.row > 0,
        }
    }

    fn permit(self: &Arc<Self>, inner: &Inner, role: Role) -> Permit {
        Permit {
            breaker: Arc::clone(self),
            generation: inner.generation,
            role,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn state(&self, now: Instant) -> State {
        match &self.opening {
            None => State::Closed,
            Some(opening) if opening.left(now).is_zero() => State::HalfOpen,
            Some(_) => State::Open,
        }
    }

    fn shut(&self, now: Instant) -> Option<(Duration, bool)> {
        let opening = self.opening.as_ref()?;
        let left = opening.left(now);
        (opening.is_probing || !left.is_zero()).then_some((left, opening.told))
    }

    /// The role in which somebody comes in now, or how long to wait.
    fn enter(&mut self, now: Instant) -> Result<Role, (Duration, bool)> {
        if let Some(shut) = self.shut(now) {
            return Err(shut);
        }
        let Some(opening) = &mut self.opening else {
            return Ok(Role::Usual);
        };
        opening.is_probing = true;
        Ok(Role::Probe)
    }

    fn settle(&mut self, role: Role, verdict: Verdict, now: Instant) {
        match (role, verdict) {
            (Role::Usual, Verdict::Good) => self.outcomes.push(false),
            (Role::Probe | Role::Forced, Verdict::Good) => self.close(),
            (Role::Usual, Verdict::Bad { retry_after }) => {
                self.outcomes.push(true);
                if retry_after.is_some() || self.outcomes.are_too_bad(&self.settings) {
                    self.open(retry_after, now);
                }
            }
            (Role::Probe, Verdict::Bad { retry_after }) => {
                self.failed_probes = self.failed_probes.saturating_add(1);
                self.open(retry_after, now);
            }
            (Role::Forced, Verdict::Bad { retry_after }) => self.extend(retry_after, now),
        }
    }

    /// Opens for as long as was told, else for `open` doubled with each failed
    /// probe.
    fn open(&mut self, told: Option<Duration>, now: Instant) {
        let factor = 2_u32.saturating_pow(self.failed_probes);
        let backed_off = self.settings.open.saturating_mul(factor);
        self.generation = self.generation.wrapping_add(1);
        self.opening = Some(Opening {
            since: now,
            lasts: told.unwrap_or_else(|| backed_off.min(self.settings.open_max)),
            told: told.is_some(),
            is_probing: false,
        });
    }

    /// A forced request failed: only a longer `Retry-After` is news.
    fn extend(&mut self, told: Option<Duration>, now: Instant) {
        let (Some(told), Some(opening)) = (told, &mut self.opening) else {
            return;
        };
        if told > opening.left(now) {
            opening.since = now;
            opening.lasts = told;
            opening.told = true;
        }
    }

    fn close(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.opening = None;
        self.failed_probes = 0;
        self.outcomes = Outcomes::default();
    }
}

impl Opening {
    /// What is left of the open time.
    fn left(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since);
        self.lasts.saturating_sub(passed)
    }
}

impl Outcomes {
    fn push(&mut self, failed: bool) {
        self.bits = self.bits << 1 | u64::from(failed);
        self.known = (self.known + 1).min(HISTORY);
        self.row = if failed {
            self.row.saturating_add(1)
        } else {
            0
        };
    }

    fn are_too_bad(&self, settings: &Settings) -> bool {
        // Divided, not multiplied: 3 of 30 is exactly the 0.1 that is written.
        let rate = f64::from(self.bits.count_ones()) / f64::from(self.known);
        let has_enough = self.known >= settings.min_outcomes.min(HISTORY);
        self.row >= settings.consecutive_failures || has_enough && rate >= settings.error_rate
    }
}

impl Permit {
    /// The target served.
    pub fn succeeded(self, now: Instant) {
        self.settle(Verdict::Good, now);
    }

    /// The target failed. `retry_after` is how long it asked to be left alone:
    /// believed up to [`TOLD_MAX`]; zero asks for nothing.
    pub fn failed(self, now: Instant, retry_after: Option<Duration>) {
        let retry_after = retry_after
            .filter(|told| !told.is_zero())
            .map(|told| told.min(TOLD_MAX));
        self.settle(Verdict::Bad { retry_after }, now);
    }

    /// Whether this one's outcome closes or reopens a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.role == Role::Probe
    }

    /// The drop that follows finds another generation, or is no probe's.
    fn settle(self, verdict: Verdict, now: Instant) {
        let mut inner = self.breaker.lock();
        if inner.generation == self.generation {
            inner.settle(self.role, verdict, now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.role != Role::Probe {
            return;
        }
        let mut inner = self.breaker.lock();
        if inner.generation == self.generation
            && let Some(opening) = &mut inner.opening
        {
            opening.is_probing = false;
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
