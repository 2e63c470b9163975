//! What is told about one request, and the closed sets of how it can end.

use crate::chat::Usage;
use crate::features::Features;
use crate::ledger::UsageSource;
use crate::units::MicroUsd;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The label value where a request reached no route or no provider.
pub const NONE: &str = "none";

/// The longest model name that is kept of what a client asked for, in
/// characters. Whatever is longer is cut; no real model's name comes close.
pub const MODEL_CHARS: usize = 128;

/// Everything that is told about one request, once it is over.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the head was received.
    pub time: SystemTime,
    pub request_id: String,
    /// The trace id of `traceparent`: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    pub span: Span,
    /// The peer of the client's connection.
    pub client: Option<SocketAddr>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    pub method: String,
    /// The template of a known endpoint, such as `/v1/models/{id}`, else
    /// `other`: a client's own path may hold anything.
    pub path: &'static str,
    /// The alias, as the config spells it, that matched. `None` when none did.
    pub route: Option<Arc<str>>,
    /// The rule of the route that chose.
    pub rule: Option<Arc<str>>,
    /// Why it went where it went, in one line, where there was a choice.
    pub decision: Option<Arc<str>>,
    /// What was known of it for that.
    pub features: Option<Arc<Features>>,
    /// The name of the client's key.
    pub key: Option<Arc<str>>,
    /// The metadata of the client's key.
    pub metadata: Arc<BTreeMap<String, String>>,
    /// The end user that the client named.
    pub user: Option<Arc<str>>,
    /// The key's metadata and the client's own tags.
    pub tags: Arc<BTreeMap<String, String>>,
    /// The model that the client asked for, at most [`MODEL_CHARS`] of it.
    pub model: Option<String>,
    /// Who gave the answer, or who was tried last.
    pub provider: Option<Arc<str>>,
    /// The model that `provider` was asked for.
    pub upstream_model: Option<Arc<str>>,
    /// In the order in which they were made.
    pub attempts: Vec<Attempt>,
    /// The status sent to the client; 0 when it left before there was one.
    pub status: u16,
    pub outcome: Outcome,
    /// The code of the error's kind. The client may have been told a provider's own.
    pub error: Option<&'static str>,
    /// The client asked for a stream.
    pub stream: bool,
    /// Body bytes read from the client.
    pub request_bytes: u64,
    /// Body bytes written to the client.
    pub response_bytes: u64,
    /// From the head's receipt to the settling.
    pub duration: Duration,
    /// From the head's receipt to the answer's first body byte.
    pub first_byte: Option<Duration>,
    /// The part of `duration` spent waiting for providers.
    pub upstream_time: Duration,
    /// The part of `duration` spent waiting for the client: reading its body,
    /// and writing to it while it did not read.
    pub client_time: Duration,
    /// Events of providers that could not be read and were left out.
    pub malformed_events: u64,
    /// What all attempts used together.
    pub usage: Usage,
    pub usage_source: UsageSource,
    /// What the budgets were charged.
    pub cost: MicroUsd,
    /// Something of it was at no known price, and is not in `cost`.
    pub unpriced: bool,
}

impl Record {
    /// What the gateway itself added: neither provider nor client was waited for.
    pub fn overhead(&self) -> Duration {
        self.duration
            .saturating_sub(self.upstream_time)
            .saturating_sub(self.client_time)
    }

    pub(super) fn route_label(&self) -> &str {
        self.route.as_deref().unwrap_or(NONE)
    }

    pub(super) fn provider_label(&self) -> &str {
        self.provider.as_deref().unwrap_or(NONE)
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH,
            request_id: String::new(),
            trace_id: None,
            span: Span::default(),
            client: None,
            protocol: "HTTP/1.1",
            method: String::new(),
            path: "other",
            route: None,
            rule: None,
            decision: None,
            features: None,
            key: None,
            metadata: Arc::default(),
            user: None,
            tags: Arc::default(),
            model: None,
            provider: None,
            upstream_model: None,
            attempts: Vec::new(),
            status: 0,
            outcome: Outcome::Internal,
            error: None,
            stream: false,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            first_byte: None,
            upstream_time: Duration::ZERO,
            client_time: Duration::ZERO,
            malformed_events: 0,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            cost: MicroUsd::ZERO,
            unpriced: false,
        }
    }
}

/// Where a request stands in its trace (W3C Trace Context).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// This gateway's own: 16 hexadecimal digits, the parent of what providers
    /// may write. Empty where there is none.
    pub id: String,
    /// The client's, if it sent one.
    pub parent: Option<String>,
    /// The trace is to be kept: the client says so, or chance.
    pub sampled: bool,
}

/// One try at one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub provider: Arc<str>,
    /// The provider's dialect, as the config spells it.
    pub dialect: &'static str,
    /// The upstream model.
    pub model: Arc<str>,
    /// The endpoint's address, as the config spells it.
    pub endpoint: Arc<str>,
    pub role: AttemptRole,
    pub outcome: AttemptOutcome,
    /// The status of the provider's answer, when there was one.
    pub status: Option<u16>,
    /// The provider's own id of the request, to ask its support with.
    pub request_id: Option<Arc<str>>,
    /// When it began, from the receipt of the request's head.
    pub began: Duration,
    /// Until there was something to send to the client, or the attempt ended
    /// without it.
    pub duration: Duration,
    /// Until the answer's first content was there, if it ever was.
    pub first_token: Option<Duration>,
    pub usage: Usage,
    pub usage_source: UsageSource,
    pub cost: MicroUsd,
    /// The version of the price that it cost by; `None` where none is known.
    pub price: Option<Arc<str>>,
}

impl Attempt {
    /// One at nobody yet.
    pub fn new(role: AttemptRole) -> Self {
        Self {
            provider: "".into(),
            dialect: "",
            model: "".into(),
            endpoint: "".into(),
            role,
            outcome: AttemptOutcome::Canceled,
            status: None,
            request_id: None,
            began: Duration::ZERO,
            duration: Duration::ZERO,
            first_token: None,
            usage: Usage::default(),
            usage_source: UsageSource::None,
            cost: MicroUsd::ZERO,
            price: None,
        }
    }
}

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptRole {
    /// The first of its request.
    First,
    /// At a target that had failed before.
    Retry,
    /// At another target.
    Fallback,
    /// Beside another one that was slow.
    Hedge,
    /// To go on with a stream that had broken off.
    Continue,
}

impl AttemptRole {
    pub const ALL: [Self; 5] = [
        Self::First,
        Self::Retry,
        Self::Fallback,
        Self::Hedge,
        Self::Continue,
    ];

    /// As in the access log and the ledger.
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
            Self::Hedge => "hedge",
            Self::Continue => "continue",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered in full.
    Ok,
    /// The request was wrong: the gateway or the provider said so.
    ClientError,
    /// The request was right, but may not be served: key, limit or overload.
    Refused,
    /// Every provider that could be tried failed.
    ProviderError,
    /// A deadline passed.
    Timeout,
    /// The client left before its answer was complete.
    Canceled,
    /// The answer broke off after the client had a part of it.
    Truncated,
    /// A fault of the gateway.
    Internal,
}

impl Outcome {
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::ClientError,
        Self::Refused,
        Self::ProviderError,
        Self::Timeout,
        Self::Canceled,
        Self::Truncated,
        Self::Internal,
    ];

    /// The value of the label `outcome`; the same as in the access log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Refused => "refused",
            Self::ProviderError => "provider_error",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Truncated => "truncated",
            Self::Internal => "internal",
        }
    }
}

/// How one attempt ended. Finer than [`Outcome`]: this is what tells an
/// operator which part of a provider is ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Ok,
    /// No connection: name resolution, TCP or TLS.
    ConnectFailed,
    /// The connection broke before the answer began.
    Reset,
    Timeout,
    /// 429, or 402: the account with the provider is used up.
    RateLimited,
    /// 5xx.
    ServerError,
    /// 401 or 403: the gateway's own credential is wrong; or it could not be fetched.
    AuthFailed,
    /// Another 4xx: the provider does not take this request.
    Rejected,
    /// An answer that is not one: bad framing, bad event, too long.
    InvalidResponse,
    /// Given up because the client left.
    Canceled,
    /// The answer broke off after the client had a part of it.
    Truncated,
}

impl AttemptOutcome {
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::ConnectFailed,
        Self::Reset,
        Self::Timeout,
        Self::RateLimited,
        Self::ServerError,
        Self::AuthFailed,
        Self::Rejected,
        Self::InvalidResponse,
        Self::Canceled,
        Self::Truncated,
    ];

    /// The value of the label `outcome`; the same as in the access log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ConnectFailed => "connect_failed",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::AuthFailed => "auth_failed",
            Self::Rejected => "rejected",
            Self::InvalidResponse => "invalid_response",
            Self::Canceled => "canceled",
            Self::Truncated => "truncated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_serde_writes() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.label());
        }
        for outcome in AttemptOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.label());
        }
        for role in AttemptRole::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.label());
        }
    }

    #[test]
    fn overhead_is_what_nobody_else_took_and_never_below_zero() {
        let mut record = Record {
            duration: Duration::from_millis(100),
            upstream_time: Duration::from_millis(70),
            client_time: Duration::from_millis(20),
            ..Record::default()
        };
        assert_eq!(record.overhead(), Duration::from_millis(10));
        record.upstream_time = Duration::from_secs(1);
        assert_eq!(record.overhead(), Duration::ZERO);
    }
}
