//! What becomes of traces, in numbers. Declared and kept as
//! [`super::super::Metrics`] says.

use crate::telemetry::metrics::{Declare, with};
use prometheus::{Error, IntCounter, IntCounterVec};

/// Why spans were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Requests ended faster than spans could be sent.
    QueueFull,
    /// The collector did not take them.
    Unsent,
}

impl Loss {
    /// The value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unsent => "unsent",
        }
    }
}

/// Counts requests whose spans were sent, or lost.
#[derive(Debug)]
pub struct Counts {
    sent: IntCounter,
    dropped: IntCounterVec,
}

impl Counts {
    pub(in crate::telemetry) fn declare(declare: &Declare) -> Result<Self, Error> {
        let counts = Self {
            sent: declare.counter(
                "tollgate_traces_sent_total",
                "Requests whose spans the collector took.",
            )?,
            dropped: declare.counters(
                "tollgate_traces_dropped_total",
                "Requests whose spans were lost: the queue was full (queue_full), or the \
                 collector was away, too slow or refused them (unsent).",
                &["reason"],
            )?,
        };
        // An alert needs the zero before the first loss.
        for reason in [Loss::QueueFull, Loss::Unsent] {
            counts.dropped(reason, 0);
        }
        Ok(counts)
    }

    /// The collector took the spans of so many requests.
    pub fn sent(&self, requests: u64) {
        self.sent.inc_by(requests);
    }

    /// The spans of so many requests were lost.
    pub fn dropped(&self, reason: Loss, requests: u64) {
        with(&self.dropped, &[reason.label()], |dropped| {
            dropped.inc_by(requests);
        });
    }
}
