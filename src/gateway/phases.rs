//! Where a request's time goes, until its first content.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its own body.
    Receiving,
    /// A pause before another try.
    Pausing,
    /// A provider's name, connection, credential.
    Connecting,
    /// The head of an answer.
    Head,
    /// The first content of a stream whose head is there.
    Content,
    /// The body of an answer whose head is there.
    Body,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Receiving,
        Self::Pausing,
        Self::Connecting,
        Self::Head,
        Self::Content,
        Self::Body,
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::Receiving => "receiving the request",
            Self::Pausing => "pausing between attempts",
            Self::Connecting => "connecting to providers",
            Self::Head => "waiting for an answer to begin",
            Self::Content => "waiting for the first token",
            Self::Body => "waiting for the whole answer",
        }
    }
}

/// Watches one request, or one attempt beside another.
#[derive(Debug)]
pub struct Stopwatch(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    phase: Phase,
    since: Instant,
    spent: [Duration; Phase::ALL.len()],
}

impl Stopwatch {
    /// One that is in its first phase since `now`.
    pub fn new(phase: Phase, now: Instant) -> Self {
        Self(Mutex::new(Inner {
            phase,
            since: now,
            spent: [Duration::ZERO; Phase::ALL.len()],
        }))
    }

    /// From now on, the time is this phase's.
    pub fn enter(&self, phase: Phase, now: Instant) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.settle(now);
        inner.phase = phase;
    }

    /// Whether a request has gone out that is not answered.
    pub fn is_sent(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(inner.phase, Phase::Head | Phase::Content | Phase::Body)
    }

    /// Whether a request has gone out of whose answer only the head is there.
    pub fn is_answered(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(inner.phase, Phase::Content | Phase::Body)
    }

    /// Where the time went, in words, the longest first: "1.7 s waiting for the
    /// first token, 0.3 s receiving the request".
    pub fn told(&self, now: Instant) -> String {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.settle(now);
        let mut spent: Vec<_> = Phase::ALL.into_iter().zip(inner.spent).collect();
        spent.retain(|(_, time)| *time >= Duration::from_millis(1));
        spent.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        let words = spent.iter();
        words
            .map(|(phase, time)| format!("{} {}", seconds(*time), phase.text()))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Inner {
    fn settle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        self.since = now;
        if let Some(spent) = self.spent.get_mut(self.phase as usize) {
            *spent += passed;
        }
    }
}

/// A time as people read it: "1.7 s", "40 ms".
pub fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => {
            let tenths = (millis + 50) / 100;
            match tenths % 10 {
                0 => format!("{} s", tenths / 10),
                rest => format!("{}.{rest} s", tenths / 10),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_in_one_phase() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let watch = Stopwatch::new(Phase::Receiving, start);
        watch.enter(Phase::Connecting, at(40));
        watch.enter(Phase::Head, at(300));
        watch.enter(Phase::Content, at(300));
        watch.enter(Phase::Connecting, at(2000));
        assert_eq!(
            watch.told(at(2100)),
            "1.7 s waiting for the first token, 360 ms connecting to providers, \
             40 ms receiving the request"
        );
    }

    #[test]
    fn times_are_short_and_not_wrong() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (1040, "1 s"),
            (1050, "1.1 s"),
            (61_250, "61.3 s"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
