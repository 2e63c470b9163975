//! An attempt that failed: what to tell the client, what to write down, and
//! which fault it was, from which all else follows.

use super::returned::Returned;
use crate::chat;
use crate::error::{ErrorKind, GatewayError};
use crate::route::fault::Fault;
use crate::telemetry::AttemptOutcome;
use pingora_core::{Error, ErrorType};
use std::time::Duration;

/// An attempt that failed.
#[derive(Debug)]
pub struct Failure {
    pub fault: Fault,
    pub status: Option<u16>,
    pub error: GatewayError,
    /// When the provider says that it may be asked again.
    pub retry_after: Option<Duration>,
    pub returned: Returned,
}

impl Failure {
    fn new(fault: Fault, kind: ErrorKind, public: &'static str, source: impl ToString) -> Self {
        Self {
            fault,
            status: None,
            error: GatewayError::new(kind, public).because(source),
            retry_after: None,
            returned: Returned::default(),
        }
    }

    pub fn connect(e: &Error) -> Self {
        let fault = match e.etype {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Fault::ConnectSilent,
            _ => Fault::Connect,
        };
        let text = "The provider could not be reached.";
        Self::new(fault, ErrorKind::UpstreamError, text, e)
    }

    pub fn unresolved() -> Self {
        let text = "The provider could not be reached.";
        let why = "its name does not resolve";
        Self::new(Fault::Connect, ErrorKind::UpstreamError, text, why)
    }

    pub fn unauthorized(e: impl ToString) -> Self {
        let text = "The credential for the provider could not be had.";
        Self::new(Fault::Credential, ErrorKind::UpstreamAuth, text, e)
    }

    pub fn reset(e: impl ToString) -> Self {
        let text = "The provider broke off before its answer.";
        Self::new(Fault::Reset, ErrorKind::UpstreamError, text, e)
    }

    pub fn truncated(e: impl ToString) -> Self {
        let text = "The provider's answer broke off.";
        Self::new(Fault::Truncated, ErrorKind::UpstreamError, text, e)
    }

    pub fn silent() -> Self {
        let text = "The provider did not answer in time.";
        let why = "no first byte in time";
        Self::new(Fault::Silent, ErrorKind::DeadlineExceeded, text, why)
    }

    /// It was given up while there was time to ask somebody else.
    pub fn slow() -> Self {
        let text = "The provider did not answer in time.";
        let why = "no first token in time for another try";
        Self::new(Fault::SlowStart, ErrorKind::DeadlineExceeded, text, why)
    }

    /// A stream that is held back has begun and is not gone on with in time.
    pub fn stalled(why: impl ToString) -> Self {
        let text = "The provider's answer broke off.";
        Self::new(Fault::Silent, ErrorKind::DeadlineExceeded, text, why)
    }

    pub fn invalid(why: &'static str) -> Self {
        let text = "The provider's answer was not understood.";
        Self::new(Fault::Garbled, ErrorKind::UpstreamError, text, why)
    }

    /// What the access log and the metrics call it.
    pub const fn outcome(&self) -> AttemptOutcome {
        outcome(self.fault)
    }
}

/// A fault's name in the access log and the metrics.
pub const fn outcome(fault: Fault) -> AttemptOutcome {
    match fault {
        Fault::Connect | Fault::ConnectSilent => AttemptOutcome::ConnectFailed,
        Fault::Reset | Fault::Truncated => AttemptOutcome::Reset,
        Fault::Silent | Fault::SlowStart | Fault::Hurried => AttemptOutcome::Timeout,
        Fault::RateLimited | Fault::Payment => AttemptOutcome::RateLimited,
        Fault::Overloaded | Fault::Transient | Fault::Conflict | Fault::Server | Fault::InBand => {
            AttemptOutcome::ServerError
        }
        Fault::Garbled => AttemptOutcome::InvalidResponse,
        Fault::Credential => AttemptOutcome::AuthFailed,
        Fault::NoModel
        | Fault::ContextLength
        | Fault::ContentPolicy
        | Fault::Rejected
        | Fault::NoCounter => AttemptOutcome::Rejected,
    }
}

/// Which fault a provider's failure is. What its dialect read of it goes before
/// the status: a quota that is used up may be a 400, and so may a bad key.
pub fn classify(told: &chat::Failure) -> Fault {
    match (told.status, told.code.as_deref().unwrap_or_default()) {
        (400..=499, "insufficient_quota") => Fault::Payment,
        (400..=499, "content_filter" | "content_policy_violation") => Fault::ContentPolicy,
        (400 | 413 | 422, "context_length_exceeded") => Fault::ContextLength,
        (401 | 403, _) => Fault::Credential,
        (402, _) => Fault::Payment,
        (404, _) => Fault::NoModel,
        (408, _) => Fault::Transient,
        (409, _) => Fault::Conflict,
        (429, _) => Fault::RateLimited,
        // The model failed, not the request (Bedrock); given up on the way.
        (424 | 499, _) => Fault::Server,
        (498 | 503 | 529, _) => Fault::Overloaded,
        (400..=499, _) => Fault::Rejected,
        (500..=599, _) => Fault::Server,
        // A redirect is never followed, and nothing else is an answer.
        _ => Fault::Garbled,
    }
}

/// The same for one that came inside a success.
pub fn classify_in_band(told: &chat::Failure) -> Fault {
    match classify(told) {
        Fault::Transient | Fault::Conflict | Fault::Server | Fault::Garbled => Fault::InBand,
        fault => fault,
    }
}

/// Whether a refused count says that there is no counter: not at this address,
/// as with those who imitate Anthropic, or not for this model (Bedrock's
/// "The provided model doesn't support counting tokens").
pub fn lacks_counter(told: &chat::Failure) -> bool {
    let says = |words| told.message.as_deref().is_some_and(|m| m.contains(words));
    match told.status {
        405 | 501 => true,
        404 => told.code.as_deref() != Some("model_not_found"),
        400 => says("counting tokens"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_not_there_is_told_from_a_request_that_is_wrong() {
        for (status, code, message, lacks) in [
            (404, "not_found_error", "", true),
            (404, "model_not_found", "", false),
            (405, "", "", true),
            (501, "", "", true),
            (
                400,
                "ValidationException",
                "The provided model doesn't support counting tokens.",
                true,
            ),
            (400, "ValidationException", "messages: too few", false),
            (500, "", "", false),
        ] {
            let told = failed(status, code, message);
            assert_eq!(lacks_counter(&told), lacks, "{status} {code}");
        }
    }

    fn failed(status: u16, code: &str, message: &str) -> chat::Failure {
        chat::Failure {
            status,
            code: Some(code.to_owned()),
            message: Some(message.to_owned()),
            ..chat::Failure::default()
        }
    }

    #[test]
    fn what_a_failure_means() {
        for (status, code, fault, in_band) in [
            (400, "", Fault::Rejected, Fault::Rejected),
            (
                400,
                "content_filter",
                Fault::ContentPolicy,
                Fault::ContentPolicy,
            ),
            (
                400,
                "context_length_exceeded",
                Fault::ContextLength,
                Fault::ContextLength,
            ),
            (
                413,
                "context_length_exceeded",
                Fault::ContextLength,
                Fault::ContextLength,
            ),
            (413, "", Fault::Rejected, Fault::Rejected),
            (422, "", Fault::Rejected, Fault::Rejected),
            (400, "insufficient_quota", Fault::Payment, Fault::Payment),
            (429, "insufficient_quota", Fault::Payment, Fault::Payment),
            (402, "", Fault::Payment, Fault::Payment),
            (429, "", Fault::RateLimited, Fault::RateLimited),
            (401, "", Fault::Credential, Fault::Credential),
            (403, "", Fault::Credential, Fault::Credential),
            (404, "", Fault::NoModel, Fault::NoModel),
            (408, "", Fault::Transient, Fault::InBand),
            (409, "", Fault::Conflict, Fault::InBand),
            (424, "", Fault::Server, Fault::InBand),
            (498, "", Fault::Overloaded, Fault::Overloaded),
            (500, "", Fault::Server, Fault::InBand),
            (503, "", Fault::Overloaded, Fault::Overloaded),
            (529, "", Fault::Overloaded, Fault::Overloaded),
            (302, "", Fault::Garbled, Fault::InBand),
        ] {
            let told = failed(status, code, "");
            assert_eq!(classify(&told), fault, "{status} {code}");
            assert_eq!(classify_in_band(&told), in_band, "{status} {code}");
        }
    }
}
