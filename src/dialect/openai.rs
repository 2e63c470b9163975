//! OpenAI's wire format, which is also every client's: errors both ways, and
//! where a stream stands.

use super::blank;
use crate::chat::Failure;
use crate::error::{ErrorKind, GatewayError};
use crate::wire::json;
use crate::wire::sse::Event;
use memchr::memmem::find;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::time::Duration;

/// The error object as an OpenAI client expects it: all four keys, always.
/// `{"error":{"message","type","param","code"}}` (OpenAI's API reference).
pub fn error_body(error: &GatewayError) -> Vec<u8> {
    let body = serde_json::json!({ "error": {
        "message": error.public(),
        "type": error.type_(),
        "param": error.param(),
        "code": error.code(),
    }});
    body.to_string().into_bytes()
}

/// An error as the last event of a stream. The official SDKs raise an error on
/// a data event with a top-level `error`; no `[DONE]` follows.
pub fn error_event(error: &GatewayError) -> Vec<u8> {
    let mut event = b"data: ".to_vec();
    event.extend(error_body(error));
    event.extend_from_slice(b"\n\n");
    event
}

/// What one event says about where its stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Comments and keep-alives.
    Nothing,
    /// A chunk that tells nothing of the answer yet: a role, an empty delta.
    Empty,
    /// A chunk.
    Chunk,
    /// A chunk with a finish reason: the answer is complete.
    Finish,
    /// `[DONE]`.
    Done,
    /// The provider reports a failure in band.
    Error,
    /// No JSON: nobody can read it.
    Malformed,
}

/// Reads just as much of an event as tells where the stream stands.
pub fn progress(event: &Event<'_>) -> Progress {
    let data = event.data.as_deref().unwrap_or_default().trim_ascii();
    if data.is_empty() {
        return Progress::Nothing;
    }
    if data == b"[DONE]" {
        return Progress::Done;
    }
    if event.name == Some("error") || has_error(data) {
        return Progress::Error;
    }
    if !is_json(data) {
        Progress::Malformed
    } else if has_finish_reason(data) {
        Progress::Finish
    } else if blank::chunk(data) {
        Progress::Empty
    } else {
        Progress::Chunk
    }
}

/// The same for Anthropic's Messages and OpenAI's Responses, whose events are
/// named and say themselves what they are.
pub fn named_progress(event: &Event<'_>) -> Progress {
    let data = event.data.as_deref().unwrap_or_default().trim_ascii();
    // Imitators end with [DONE], which is no event of these formats.
    if data.is_empty() || data == b"[DONE]" {
        return Progress::Nothing;
    }
    match event.name.unwrap_or_default() {
        "ping" => Progress::Nothing,
        "error" | "response.failed" => Progress::Error,
        _ if !is_json(data) => Progress::Malformed,
        "message_stop" | "response.completed" | "response.incomplete" => Progress::Done,
        name if blank::named(name, data) => Progress::Empty,
        _ => Progress::Chunk,
    }
}

/// About how many tokens a chunk or a named event tells, four bytes each. What
/// cannot be counted is one.
pub fn tokens(event: &Event<'_>) -> u64 {
    let data = event.data.as_deref().unwrap_or_default();
    let bytes = blank::chunk_bytes(data).or_else(|| blank::delta_bytes(data));
    bytes.map_or(1, |bytes| bytes.div_ceil(4).max(1) as u64)
}

/// Whether it can be read, with the leniency that decoders have too.
fn is_json(data: &[u8]) -> bool {
    json::lenient::<IgnoredAny>(data).is_some()
}

/// Whether the chunk has a top-level `error`. Parsed only if the word occurs
/// as a key somewhere, which ordinary chunks do not have.
fn has_error(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    find(data, b"\"error\"").is_some()
        && serde_json::from_slice::<Chunk<'_>>(data).is_ok_and(|c| c.error.is_some())
}

/// Whether any choice carries a finish reason. A text search: inside a JSON
/// string the key's quotes would be escaped, so it cannot be imitated by text.
fn has_finish_reason(data: &[u8]) -> bool {
    const KEY: &[u8] = b"\"finish_reason\"";
    let mut rest = data;
    while let Some(at) = find(rest, KEY) {
        rest = rest.get(at + KEY.len()..).unwrap_or_default();
        let value = rest
            .trim_ascii_start()
            .strip_prefix(b":")
            .unwrap_or_default()
            .trim_ascii_start();
        // Some providers send "" before the end (llama.cpp's relatives).
        if value.starts_with(b"\"") && !value.starts_with(b"\"\"") {
            return true;
        }
    }
    false
}

/// What any dialect read of a provider's failure, in our words and kinds.
/// `scrub` removes known secrets from texts. Nothing else of the provider's
/// answer goes on.
pub fn refusal(failure: Failure, scrub: impl Fn(&str) -> String) -> GatewayError {
    let kind = kind_of(failure.status, failure.code.as_deref().unwrap_or_default());
    let text = failure.message.as_deref().filter(|text| !is_markup(text));
    let public = match (kind, text) {
        // What the provider says of our credential is not for the client.
        (ErrorKind::UpstreamAuth, _) => "The provider refused the gateway's credential.".to_owned(),
        (_, Some(message)) => clip(&scrub(message)),
        (_, None) => format!("The provider answered with HTTP status {}.", failure.status),
    };
    let retry_after = failure.retry_after.filter(|_| waits(kind));
    let error = GatewayError::new(kind, public)
        .with_retry_after(retry_after.map(Duration::from_secs))
        .because(format!("provider answered {}", failure.status));
    let told_of = |text: &Option<String>| text.as_deref().map(|t| clip(&scrub(t)));
    match kind {
        ErrorKind::ProviderRejected => error
            .with_code(told_of(&failure.code))
            .with_param(told_of(&failure.param)),
        // Providers have many words for it (`DeploymentNotFound`, `404`), OpenAI one.
        ErrorKind::UnknownModel => error.with_param(told_of(&failure.param)),
        _ => error,
    }
}

/// Whether coming back later may help. Elsewhere a time would tell the client
/// to come back for the same refusal.
const fn waits(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::RateLimited
            | ErrorKind::UpstreamOverloaded
            | ErrorKind::UpstreamError
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Conflict
    )
}

/// A page of a proxy in between: not the provider's words, and not for clients.
fn is_markup(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

/// Statuses of providers to kinds of ours. A code that says more than its
/// status goes first: a quota that is used up comes as 400, 402 or 429, a
/// prompt that is too long as 400, 413 or 422.
fn kind_of(status: u16, code: &str) -> ErrorKind {
    match (status, code) {
        (400..=499, "insufficient_quota") => ErrorKind::QuotaExhausted,
        (400 | 413 | 422, "context_length_exceeded") => ErrorKind::ProviderRejected,
        (401 | 403, _) => ErrorKind::UpstreamAuth,
        (402, _) => ErrorKind::QuotaExhausted,
        (404, _) => ErrorKind::UnknownModel,
        (408 | 504, _) => ErrorKind::DeadlineExceeded,
        (409, _) => ErrorKind::Conflict,
        (413, _) => ErrorKind::BodyTooLarge,
        // The model failed, not the request (Bedrock).
        (424, _) => ErrorKind::UpstreamError,
        (429, _) => ErrorKind::RateLimited,
        // No capacity for this tier (Groq), given up on the way (nginx, Google).
        (498 | 499 | 503 | 529, _) => ErrorKind::UpstreamOverloaded,
        (400..=499, _) => ErrorKind::ProviderRejected,
        _ => ErrorKind::UpstreamError,
    }
}

/// Longest text of a provider that is passed on.
const CLIP: usize = 500;

fn clip(text: &str) -> String {
    text.chars().take(CLIP).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: &str) -> Progress {
        progress(&Event::parse(raw.as_bytes()))
    }

    #[test]
    fn where_a_stream_stands() {
        for (raw, expected) in [
            (": keep-alive\n\n", Progress::Nothing),
            ("data: [DONE]\n\n", Progress::Done),
            ("data:[DONE]\r\n\r\n", Progress::Done),
            (
                r#"data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}"#,
                Progress::Chunk,
            ),
            (
                r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
                Progress::Finish,
            ),
            (
                r#"data: {"choices":[{"delta":{},"finish_reason" : "length"}]}"#,
                Progress::Finish,
            ),
            (
                r#"data: {"choices":[{"delta":{"content":"x"},"finish_reason":""}]}"#,
                Progress::Chunk,
            ),
            (
                r#"data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
                Progress::Empty,
            ),
            (
                r#"data: {"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}"#,
                Progress::Chunk,
            ),
            (r#"data: {"error":{"message":"x"}}"#, Progress::Error),
            (
                r#"data: {"choices":[{"finish_reason":"stop""#,
                Progress::Malformed,
            ),
            ("data: <html>", Progress::Malformed),
            (r#"data: {"a":"\ud83e"}"#, Progress::Chunk),
            (
                r#"data: {"error":null,"choices":[{"delta":{}}]}"#,
                Progress::Empty,
            ),
            (r#"data: {"id":1,"error":{"message":"x"}}"#, Progress::Error),
            (
                r#"data: {"choices":[{"delta":{"content":"\"error\""}}]}"#,
                Progress::Chunk,
            ),
            (
                r#"data: {"choices":[{"delta":{"error":1}}],"error":null}"#,
                Progress::Chunk,
            ),
        ] {
            let raw = if raw.ends_with('\n') {
                raw.to_owned()
            } else {
                format!("{raw}\n\n")
            };
            assert_eq!(at(&raw), expected, "{raw}");
        }
    }

    #[test]
    fn the_error_object_has_all_four_keys() {
        let body =
            error_body(&GatewayError::new(ErrorKind::UnknownModel, "no").with_param(Some("model")));
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let error = value["error"].as_object().unwrap();
        assert_eq!(
            error.keys().collect::<Vec<_>>(),
            ["message", "type", "param", "code"]
        );
        assert_eq!(error["param"], "model");
    }

    #[test]
    fn what_a_providers_failure_becomes() {
        for (status, code, expected) in [
            (400, "", (400, "invalid_request_error", "provider_rejected")),
            (
                400,
                "bad_thing",
                (400, "invalid_request_error", "bad_thing"),
            ),
            (
                400,
                "content_filter",
                (400, "invalid_request_error", "content_filter"),
            ),
            (
                413,
                "context_length_exceeded",
                (400, "invalid_request_error", "context_length_exceeded"),
            ),
            (
                400,
                "insufficient_quota",
                (429, "insufficient_quota", "insufficient_quota"),
            ),
            (401, "invalid_api_key", (502, "api_error", "upstream_auth")),
            (403, "", (502, "api_error", "upstream_auth")),
            (402, "", (429, "insufficient_quota", "insufficient_quota")),
            (
                404,
                "DeploymentNotFound",
                (404, "invalid_request_error", "model_not_found"),
            ),
            (408, "", (504, "api_error", "timeout")),
            (409, "", (409, "conflict_error", "conflict")),
            (413, "", (413, "invalid_request_error", "request_too_large")),
            (422, "", (400, "invalid_request_error", "provider_rejected")),
            (424, "", (502, "api_error", "upstream_error")),
            (
                429,
                "whatever",
                (429, "rate_limit_error", "rate_limit_exceeded"),
            ),
            (
                429,
                "insufficient_quota",
                (429, "insufficient_quota", "insufficient_quota"),
            ),
            (498, "", (503, "overloaded_error", "upstream_overloaded")),
            (499, "", (503, "overloaded_error", "upstream_overloaded")),
            (500, "internal", (502, "api_error", "upstream_error")),
            (502, "", (502, "api_error", "upstream_error")),
            (503, "", (503, "overloaded_error", "upstream_overloaded")),
            (504, "", (504, "api_error", "timeout")),
            (522, "", (502, "api_error", "upstream_error")),
            (
                529,
                "overloaded",
                (503, "overloaded_error", "upstream_overloaded"),
            ),
            (302, "", (502, "api_error", "upstream_error")),
        ] {
            let failure = Failure {
                status,
                code: (!code.is_empty()).then(|| code.to_owned()),
                ..Failure::default()
            };
            let e = refusal(failure, str::to_owned);
            assert_eq!(
                (e.status(), e.type_(), e.code()),
                expected,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_providers_words_are_scrubbed_and_its_pages_are_not_shown() {
        let told = |status, message: &str| {
            let failure = Failure {
                status,
                message: Some(message.to_owned()),
                ..Failure::default()
            };
            let scrub = |s: &str| s.replace("sk-1", "[redacted]");
            refusal(failure, scrub).public().to_owned()
        };
        assert_eq!(told(400, "no sk-1 here"), "no [redacted] here");
        assert_eq!(
            told(401, "bad sk-1"),
            "The provider refused the gateway's credential."
        );
        assert_eq!(
            told(502, " <html>10.0.0.1"),
            "The provider answered with HTTP status 502."
        );
    }

    #[test]
    fn a_time_to_come_back_is_told_where_coming_back_helps() {
        let told = |status, code: Option<&str>| {
            let failure = Failure {
                status,
                code: code.map(str::to_owned),
                retry_after: Some(7),
                ..Failure::default()
            };
            refusal(failure, str::to_owned).retry_after()
        };
        for status in [408, 409, 424, 429, 500, 503, 504, 529] {
            assert_eq!(told(status, None), Some(Duration::from_secs(7)), "{status}");
        }
        for status in [400, 401, 402, 403, 404, 413, 422] {
            assert_eq!(told(status, None), None, "{status}");
        }
        assert_eq!(told(429, Some("insufficient_quota")), None);
    }
}
