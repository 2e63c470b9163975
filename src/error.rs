//! The one error that leaves the house.
//!
//! Rooms below the gateway have small errors of their own; here they become a
//! [`GatewayError`]: a fieldless [`ErrorKind`], a text for the client, a text
//! for the operator, and when to come back. One `const` table gives each kind
//! its status, type, code and outcome. Building an error has no side effect;
//! the gateway logs it once, when it settles the request.
//!
//! What a client reads is [`GatewayError::public`]: it never holds a
//! provider's body, host or credential that was not scrubbed first.

use std::borrow::Cow;
use std::time::Duration;

/// Why a request was not served. Closed: metrics use it as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    InvalidJson,
    InvalidValue,
    InvalidRequest,
    Unauthenticated,
    ModelNotAllowed,
    RouteNotAllowed,
    EndpointNotAllowed,
    UnknownUrl,
    UnknownModel,
    MethodNotAllowed,
    BodyTimeout,
    LengthRequired,
    BodyTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    HeadersTooLarge,
    /// The provider refused what the client sent.
    ProviderRejected,
    Conflict,
    RateLimited,
    /// A limit of the gateway's own.
    LimitReached,
    /// A budget of the gateway's own.
    BudgetExceeded,
    QuotaExhausted,
    UpstreamError,
    /// The provider refused *our* credential.
    UpstreamAuth,
    /// The provider has more than it can do.
    UpstreamOverloaded,
    /// The gateway has.
    Overloaded,
    /// What is used cannot be written down, and has to be.
    LedgerUnavailable,
    /// What is left cannot be told, and has to be known.
    LimitsUnavailable,
    /// A budget is to be kept, and nobody knows what the model costs.
    PriceUnknown,
    /// The gateway is being stopped.
    Stopping,
    NoTarget,
    /// The rules of the route leave none.
    NoCandidate,
    DeadlineExceeded,
    Internal,
}

/// Whose doing an error is, for metrics and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    Client,
    Provider,
    Gateway,
}

/// What a kind looks like from outside.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub type_: &'static str,
    /// OpenAI's `error.code`.
    pub code: &'static str,
    pub blame: Blame,
}

impl ErrorKind {
    /// The one table of statuses, types and codes.
    pub const fn row(self) -> Row {
        use Blame::{Client, Gateway, Provider};
        use ErrorKind as K;
        const INVALID: &str = "invalid_request_error";
        const API: &str = "api_error";
        let (status, type_, code, blame) = match self {
            K::InvalidJson => (400, INVALID, "invalid_json", Client),
            K::InvalidValue => (400, INVALID, "invalid_value", Client),
            K::InvalidRequest => (400, INVALID, "invalid_request", Client),
            K::Unauthenticated => (401, "authentication_error", "invalid_api_key", Client),
            K::ModelNotAllowed => (403, "permission_error", "model_not_allowed", Client),
            K::RouteNotAllowed => (403, "permission_error", "route_not_allowed", Client),
            K::EndpointNotAllowed => (403, "permission_error", "endpoint_not_allowed", Client),
            K::UnknownUrl => (404, "not_found_error", "unknown_url", Client),
            K::UnknownModel => (404, INVALID, "model_not_found", Client),
            K::MethodNotAllowed => (405, INVALID, "method_not_allowed", Client),
            K::BodyTimeout => (408, INVALID, "request_timeout", Client),
            K::LengthRequired => (411, INVALID, "length_required", Client),
            K::BodyTooLarge => (413, INVALID, "request_too_large", Client),
            K::UriTooLong => (414, INVALID, "uri_too_long", Client),
            K::UnsupportedMediaType => (415, INVALID, "unsupported_media_type", Client),
            K::HeadersTooLarge => (431, INVALID, "headers_too_large", Client),
            K::ProviderRejected => (400, INVALID, "provider_rejected", Client),
            K::Conflict => (409, "conflict_error", "conflict", Provider),
            K::RateLimited => (429, "rate_limit_error", "rate_limit_exceeded", Provider),
            K::LimitReached => (429, "rate_limit_error", "rate_limit_exceeded", Client),
            K::BudgetExceeded => (402, "insufficient_quota", "budget_exceeded", Client),
            K::LedgerUnavailable => (503, API, "ledger_unavailable", Gateway),
            K::LimitsUnavailable => (503, API, "limits_unavailable", Gateway),
            K::PriceUnknown => (503, API, "price_unknown", Gateway),
            K::QuotaExhausted => (429, "insufficient_quota", "insufficient_quota", Provider),
            K::UpstreamError => (502, API, "upstream_error", Provider),
            K::UpstreamAuth => (502, API, "upstream_auth", Provider),
            K::UpstreamOverloaded => (503, "overloaded_error", "upstream_overloaded", Provider),
            K::Stopping => (503, API, "stopping", Gateway),
            K::Overloaded => (503, API, "overloaded", Gateway),
            K::NoCandidate => (503, API, "no_candidate", Gateway),
            K::NoTarget => (503, API, "no_target", Provider),
            K::DeadlineExceeded => (504, API, "timeout", Provider),
            K::Internal => (500, API, "internal_error", Gateway),
        };
        Row {
            status,
            type_,
            code,
            blame,
        }
    }
}

/// A request that was not served, and what to say about it.
#[derive(Debug, Clone)]
pub struct GatewayError {
    pub kind: ErrorKind,
    public: Cow<'static, str>,
    /// Boxed: errors travel in every `Result` of the data path.
    detail: Box<Detail>,
}

#[derive(Debug, Clone, Default)]
struct Detail {
    param: Option<String>,
    code: Option<String>,
    source: Option<String>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl GatewayError {
    /// An error with `public` as its text for the client.
    pub fn new(kind: ErrorKind, public: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            public: public.into(),
            detail: Box::default(),
        }
    }

    /// Names the field of the request that is at fault, if it is one.
    pub fn with_param(mut self, param: Option<impl Into<String>>) -> Self {
        self.detail.param = param.map(Into::into);
        self
    }

    /// A provider's own code, where it says more than the kind's.
    pub fn with_code(mut self, code: Option<String>) -> Self {
        self.detail.code = code;
        self
    }

    /// Says when another try may succeed.
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.detail.retry_after = after;
        self
    }

    /// Names the method that a 405 would have liked.
    pub fn with_allow(mut self, method: &'static str) -> Self {
        self.detail.allow = Some(method);
        self
    }

    /// Adds what only the operator may read.
    pub fn because(mut self, source: impl ToString) -> Self {
        self.detail.source = Some(source.to_string());
        self
    }

    /// The text for the client.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.kind.row().status
    }

    /// `error.type` of the answer.
    pub fn type_(&self) -> &'static str {
        self.kind.row().type_
    }

    /// `error.code` of the answer.
    pub fn code(&self) -> &str {
        self.detail.code.as_deref().unwrap_or(self.kind.row().code)
    }

    /// `error.param` of the answer.
    pub fn param(&self) -> Option<&str> {
        self.detail.param.as_deref()
    }

    /// For the operator's log only.
    pub fn source(&self) -> Option<&str> {
        self.detail.source.as_deref()
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.detail.retry_after
    }

    /// The `Allow` header of a 405.
    pub fn allow(&self) -> Option<&'static str> {
        self.detail.allow
    }
}

impl std::fmt::Display for GatewayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status(), self.code(), self.public)
    }
}

impl std::error::Error for GatewayError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_refusing_our_credential_is_not_the_clients_401() {
        assert_eq!(ErrorKind::UpstreamAuth.row().status, 502);
        assert_eq!(ErrorKind::UpstreamAuth.row().blame, Blame::Provider);
    }

    #[test]
    fn a_providers_own_code_wins_over_the_kinds() {
        let e = GatewayError::new(ErrorKind::ProviderRejected, "too long");
        assert_eq!(e.code(), "provider_rejected");
        let e = e.with_code(Some("context_length_exceeded".to_owned()));
        assert_eq!(e.code(), "context_length_exceeded");
    }
}
