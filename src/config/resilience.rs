//! The keys of failover: limits in time, breakers, streams that break off,
//! hedging.

use super::value;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a provider's targets and endpoints are left alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures in a row that open it.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub consecutive_failures: usize,
    /// Share of failures among the latest outcomes that opens it: over 0, to 1.
    #[serde(deserialize_with = "value::share::deserialize")]
    pub error_rate: f64,
    /// How long it stays open at first; each probe that fails doubles it.
    #[serde(with = "value::duration")]
    pub open: Duration,
    /// To at most this.
    #[serde(with = "value::duration")]
    pub open_max: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            error_rate: 0.5,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(30),
        }
    }
}

/// What has to be there when a deadline passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// A stream's first token; a whole answer that is not streamed.
    #[default]
    FirstToken,
    /// The whole answer, streamed or not.
    Answer,
}

/// What becomes of a stream that breaks off after its first token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBreak {
    /// Another target goes on with it, where that is sound; else as `Error`.
    #[default]
    Continue,
    /// The client is told in band.
    Error,
    /// Nothing is sent before all of it is there.
    Hold,
}

/// Limits in time of one attempt at a provider.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// TCP and TLS together.
    #[serde(with = "value::duration")]
    pub connect: Duration,
    /// From the request's last byte to the answer's first body byte.
    #[serde(with = "value::duration")]
    pub first_byte: Duration,
    /// From the request's last byte to the answer's first content, while there
    /// is somebody else to ask.
    #[serde(with = "value::duration")]
    pub first_token: Duration,
    /// Between two pieces of an answer.
    #[serde(with = "value::duration")]
    pub idle: Duration,
    /// Between two pieces of a stream's content.
    #[serde(with = "value::duration")]
    pub stall: Duration,
    /// A stream that is slower than this over `rate_window` has broken off; 0
    /// lets any pace pass.
    #[serde(deserialize_with = "value::rate::deserialize")]
    pub min_tokens_per_second: f64,
    #[serde(with = "value::duration")]
    pub rate_window: Duration,
    /// One write of the request.
    #[serde(with = "value::duration")]
    pub write: Duration,
    /// A pooled connection without a request.
    #[serde(with = "value::duration")]
    pub pool_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            first_token: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            min_tokens_per_second: 0.0,
            rate_window: Duration::from_secs(10),
            write: Duration::from_secs(30),
            pool_idle: Duration::from_secs(60),
        }
    }
}

/// A route's limits in time of one attempt, each in place of the provider's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    #[serde(with = "value::duration::optional")]
    pub first_byte: Option<Duration>,
    #[serde(with = "value::duration::optional")]
    pub first_token: Option<Duration>,
    #[serde(with = "value::duration::optional")]
    pub idle: Option<Duration>,
    #[serde(with = "value::duration::optional")]
    pub stall: Option<Duration>,
    #[serde(deserialize_with = "value::rate::optional")]
    pub min_tokens_per_second: Option<f64>,
    #[serde(with = "value::duration::optional")]
    pub rate_window: Option<Duration>,
}

/// When a second target is asked before the first has failed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hedge {
    /// The first one's silence after which it is; its usual 95th percentile
    /// when absent.
    #[serde(with = "value::duration::optional")]
    pub after: Option<Duration>,
    /// Of the route's requests, at most.
    #[serde(deserialize_with = "value::share::deserialize")]
    pub share: f64,
    /// At most, of the route.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub per_hour: usize,
}

impl Default for Hedge {
    fn default() -> Self {
        Self {
            after: None,
            share: 0.05,
            per_hour: 100,
        }
    }
}
