//! How a route's requests are served: deadline, retries, what becomes of a
//! stream that breaks off.

use super::provider::Timeouts;
use crate::config::{self, Covers, OnBreak, RouteTimeouts};
use std::time::Duration;

/// When a second target is asked before the first has failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Hedge {
    /// The first one's silence after which it is; learned when absent.
    pub after: Option<Duration>,
    /// Of the route's requests, at most.
    pub share: f64,
    pub per_hour: u64,
}

/// How the requests of one route are served.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Refuse rather than drop what a target cannot carry.
    pub strict: bool,
    /// From a request's head; the client may lower it.
    pub deadline: Duration,
    /// A stream has to be complete by the deadline, not only begun.
    pub covers_answer: bool,
    /// Tries at a target after its first.
    pub retries: usize,
    pub on_break: OnBreak,
    pub early_headers: bool,
    /// How often a waiting client hears a comment.
    pub keep_alive: Option<Duration>,
    pub hedge: Option<Hedge>,
    /// An answer may be made shorter where a budget does not cover it.
    pub clamp_output: bool,
    timeouts: RouteTimeouts,
}

impl Terms {
    /// Those of a route; `request` is the deadline where it names none.
    pub(super) fn of(written: &config::Model, request: Duration) -> Self {
        Self {
            strict: written.policy == config::Policy::Strict,
            deadline: written.deadline.unwrap_or(request),
            covers_answer: written.deadline_covers == Covers::Answer,
            retries: written.retries,
            on_break: written.on_break,
            early_headers: written.early_headers,
            keep_alive: written.keep_alive,
            hedge: written.hedge.as_ref().map(|hedge| Hedge {
                after: hedge.after,
                share: hedge.share,
                per_hour: hedge.per_hour as u64,
            }),
            clamp_output: written.clamp_output,
            timeouts: written.timeouts.clone(),
        }
    }

    /// Those of requests that name their target themselves.
    pub(super) fn direct(request: Duration) -> Self {
        Self {
            strict: false,
            deadline: request,
            covers_answer: false,
            retries: 1,
            on_break: OnBreak::default(),
            early_headers: false,
            keep_alive: None,
            hedge: None,
            clamp_output: false,
            timeouts: RouteTimeouts::default(),
        }
    }

    /// An attempt's limits at a provider that has these of its own.
    pub fn timeouts(&self, own: &Timeouts) -> Timeouts {
        merged(&self.timeouts, own)
    }
}

/// Limits of an attempt: the route's go before the provider's.
pub fn merged(route: &RouteTimeouts, own: &Timeouts) -> Timeouts {
    Timeouts {
        first_byte: route.first_byte.unwrap_or(own.first_byte),
        first_token: route.first_token.unwrap_or(own.first_token),
        idle: route.idle.unwrap_or(own.idle),
        stall: route.stall.unwrap_or(own.stall),
        min_tokens_per_second: route
            .min_tokens_per_second
            .unwrap_or(own.min_tokens_per_second),
        rate_window: route.rate_window.unwrap_or(own.rate_window),
        ..own.clone()
    }
}
