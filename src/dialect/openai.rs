//! OpenAI's wire format, which is also every client's: errors both ways, and
//! where a stream stands.

use crate::chat::Failure;
use crate::error::{ErrorKind, GatewayError};
use crate::wire::sse::Event;
use serde::Deserialize;
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
    /// A chunk.
    Chunk,
    /// A chunk with a finish reason: the answer is complete.
    Finish,
    /// `[DONE]`.
    Done,
    /// The provider reports a failure in band.
    Error,
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
    if has_finish_reason(data) {
        Progress::Finish
    } else {
        Progress::Chunk
    }
}

/// The same for Anthropic's Messages and OpenAI's Responses, whose events are
/// named and say themselves what they are.
pub fn named_progress(event: &Event<'_>) -> Progress {
    if event.data.is_none() {
        return Progress::Nothing;
    }
    match event.name.unwrap_or_default() {
        "ping" => Progress::Nothing,
        "error" | "response.failed" => Progress::Error,
        "message_stop" | "response.completed" | "response.incomplete" => Progress::Done,
        _ => Progress::Chunk,
    }
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

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// A provider's refusal, rebuilt in our words and kinds. `scrub` removes known
/// secrets from texts. Nothing else of the provider's answer goes on.
pub fn provider_error(
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
    scrub: impl Fn(&str) -> String,
) -> GatewayError {
    let told = Told::read(body);
    let failure = Failure {
        status,
        message: told.message,
        code: told.code,
        param: told.param,
        retry_after: retry_after.map(|after| after.as_secs()),
    };
    refusal(failure, scrub)
}

/// What any dialect read of a provider's failure, in our words and kinds.
pub fn refusal(failure: Failure, scrub: impl Fn(&str) -> String) -> GatewayError {
    let kind = kind_of(failure.status, failure.code.as_deref().unwrap_or_default());
    let public = match (kind, &failure.message) {
        // What the provider says of our credential is not for the client.
        (ErrorKind::UpstreamAuth, _) => "The provider refused the gateway's credential.".to_owned(),
        (_, Some(message)) => clip(&scrub(message)),
        (_, None) => format!("The provider answered with HTTP status {}.", failure.status),
    };
    // Elsewhere it would tell the client to come back for the same refusal.
    let waiting = matches!(
        kind,
        ErrorKind::RateLimited | ErrorKind::UpstreamOverloaded | ErrorKind::UpstreamError
    );
    let retry_after = failure
        .retry_after
        .filter(|_| waiting)
        .map(Duration::from_secs);
    let error = GatewayError::new(kind, public)
        .with_retry_after(retry_after)
        .because(format!("provider answered {}", failure.status));
    if kind != ErrorKind::ProviderRejected && kind != ErrorKind::UnknownModel {
        return error;
    }
    let told_of = |text: &Option<String>| text.as_deref().map(|t| clip(&scrub(t)));
    error
        .with_code(told_of(&failure.code))
        .with_param(told_of(&failure.param))
}

/// Statuses of providers to kinds of ours.
fn kind_of(status: u16, code: &str) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::UpstreamAuth,
        402 => ErrorKind::QuotaExhausted,
        404 => ErrorKind::UnknownModel,
        408 | 504 => ErrorKind::DeadlineExceeded,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::BodyTooLarge,
        400 | 429 if code == "insufficient_quota" => ErrorKind::QuotaExhausted,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::ProviderRejected,
        503 | 529 => ErrorKind::UpstreamOverloaded,
        _ => ErrorKind::UpstreamError,
    }
}

/// Longest text of a provider that is passed on.
const CLIP: usize = 500;

fn clip(text: &str) -> String {
    text.chars().take(CLIP).collect()
}

/// What an error body says, in any of the shapes that compatible providers use.
#[derive(Debug, Default)]
struct Told {
    message: Option<String>,
    code: Option<String>,
    param: Option<String>,
}

impl Told {
    fn read(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
            return Self::default();
        };
        // {"error":{...}} (OpenAI), {"error":"text"}, or flat (vLLM, Mistral).
        let object = value
            .get("error")
            .filter(|e| e.is_object())
            .unwrap_or(&value);
        let text = |key: &str| match object.get(key) {
            Some(serde_json::Value::String(s)) if !s.is_empty() => Some(s.clone()),
            Some(serde_json::Value::Number(n)) => Some(n.to_string()),
            _ => None,
        };
        let plain = value
            .get("error")
            .and_then(|e| e.as_str())
            .map(str::to_owned);
        Self {
            message: text("message").or(plain),
            code: text("code"),
            param: text("param"),
        }
    }
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
                r#"data: {"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}"#,
                Progress::Chunk,
            ),
            (r#"data: {"error":{"message":"x"}}"#, Progress::Error),
            (
                r#"data: {"error":null,"choices":[{"delta":{}}]}"#,
                Progress::Chunk,
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
    fn provider_errors_are_rebuilt() {
        let scrub = |s: &str| s.replace("sk-1", "[redacted]");
        for (status, body, expected, text) in [
            (
                401,
                r#"{"error":{"message":"bad sk-1"}}"#,
                502,
                "The provider refused the gateway's credential.",
            ),
            (
                403,
                "",
                502,
                "The provider refused the gateway's credential.",
            ),
            (
                400,
                r#"{"error":{"message":"no sk-1 here","code":"c"}}"#,
                400,
                "no [redacted] here",
            ),
            (
                400,
                r#"{"object":"error","message":"flat","code":40}"#,
                400,
                "flat",
            ),
            (400, r#"{"error":"plain"}"#, 400, "plain"),
            (
                422,
                "<html>",
                400,
                "The provider answered with HTTP status 422.",
            ),
            (
                429,
                "{}",
                429,
                "The provider answered with HTTP status 429.",
            ),
            (
                402,
                "{}",
                429,
                "The provider answered with HTTP status 402.",
            ),
            (
                500,
                "oops",
                502,
                "The provider answered with HTTP status 500.",
            ),
            (529, "", 503, "The provider answered with HTTP status 529."),
            (302, "", 502, "The provider answered with HTTP status 302."),
        ] {
            let e = provider_error(status, body.as_bytes(), None, scrub);
            assert_eq!(
                (e.status(), e.public()),
                (expected, text),
                "{status} {body}"
            );
        }
    }
}
