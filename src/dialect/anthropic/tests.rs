//! Answers, streams and failures, against golden files. `TOLLGATE_BLESS=1`
//! writes what is read now; the difference is for a reader's eyes.

use super::{Anthropic, stream::Stream};
use crate::chat::{DecodeError, Decoder as _, Event, Failure};
use crate::dialect::Dialect as _;
use bytes::Bytes;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const LIMIT: usize = 64 * 1024;

pub(super) fn golden(under: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/anthropic")
        .join(under)
}

/// Compares with a golden file, or writes it.
pub(super) fn agree(path: &Path, found: &str) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(path, found).expect("the golden tree can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(expected, found, "{}", path.display());
}

fn cases(under: &str, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(golden(under)).expect("the golden tree is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut paths: Vec<_> = paths
        .filter(|p| p.extension().is_some_and(|e| e == kind))
        .collect();
    paths.sort();
    assert!(paths.len() > 5, "{under} has only {} cases", paths.len());
    paths
}

fn decode(bytes: &[u8], piece: usize, limit: usize) -> (Vec<Event>, Result<(), DecodeError>) {
    let mut decoder = Stream::new(limit);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        if let Err(error) = decoder.push(Bytes::copy_from_slice(piece), &mut events) {
            return (events, Err(error));
        }
    }
    let end = decoder.end(&mut events);
    (events, end)
}

/// Events a line each, neighbouring pieces of one text merged.
fn written(events: Vec<Event>, end: Result<(), DecodeError>) -> String {
    let mut merged: Vec<Event> = Vec::new();
    for event in events {
        match (merged.last_mut(), event) {
            (Some(Event::Text { text, .. }), Event::Text { text: more, .. })
            | (Some(Event::Thought { text, .. }), Event::Thought { text: more, .. }) => {
                text.push_str(&more);
            }
            (
                Some(Event::CallArguments { call, text, .. }),
                Event::CallArguments {
                    call: same,
                    text: more,
                    ..
                },
            ) if *call == same => text.push_str(&more),
            (_, event) => merged.push(event),
        }
    }
    let mut out = String::new();
    for event in merged {
        writeln!(out, "{event:?}").expect("a string takes everything");
    }
    writeln!(out, "{end:?}").expect("a string takes everything");
    out
}

#[test]
fn streams_are_read_however_they_are_cut() {
    for path in cases("stream", "sse") {
        let bytes = fs::read(&path).expect("a case can be read");
        let (events, end) = decode(&bytes, bytes.len(), LIMIT);
        let whole = written(events, end);
        for piece in [1, 7] {
            let (events, end) = decode(&bytes, piece, LIMIT);
            assert_eq!(whole, written(events, end), "{} by {piece}", path.display());
        }
        agree(&path.with_extension("events"), &whole);
    }
}

#[test]
fn every_cut_of_a_stream_is_an_error() {
    let bytes = fs::read(golden("stream/tools.sse")).expect("a case can be read");
    for end in 0..bytes.len() {
        let (events, result) = decode(&bytes[..end], end, LIMIT);
        assert_eq!(result, Err(DecodeError::Truncated), "cut at {end}");
        let over = |e: &Event| matches!(e, Event::End | Event::Finish { .. } | Event::Failed(_));
        assert!(!events.iter().any(over), "cut at {end}");
    }
}

#[test]
fn an_event_over_the_limit_is_an_error() {
    let bytes = fs::read(golden("stream/tools.sse")).expect("a case can be read");
    assert_eq!(decode(&bytes, 7, 64).1, Err(DecodeError::TooLong));
}

#[test]
fn answers_are_read() {
    for path in cases("answer", "json") {
        let body = fs::read(&path).expect("a case can be read");
        let answer = Anthropic.answer("m", &body);
        agree(&path.with_extension("answer"), &format!("{answer:#?}\n"));
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"object":"chat.completion","choices":[]}"#,
    ] {
        let answer = Anthropic.answer("m", body.as_bytes());
        assert!(matches!(answer, Err(DecodeError::Malformed(_))), "{body}");
    }
}

fn failure(status: u16, body: &str) -> Failure {
    Anthropic.failure(status, &|_| None, body.as_bytes())
}

#[test]
fn failures_have_openais_codes() {
    #[rustfmt::skip]
    let table = [
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", Some("context_length_exceeded"), None),
        (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 9", Some("context_length_exceeded"), None),
        (400, "invalid_request_error", "exceeds the model's context window", Some("context_length_exceeded"), None),
        (400, "invalid_request_error", "Output blocked by content filtering policy", Some("content_filter"), None),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", Some("insufficient_quota"), None),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", Some("insufficient_quota"), None),
        (400, "invalid_request_error", "temperature: Extra inputs are not permitted", Some("invalid_request_error"), Some("temperature")),
        (400, "invalid_request_error", "stop_sequences: too many", Some("invalid_request_error"), Some("stop")),
        (400, "invalid_request_error", "messages.0.content: Field required", Some("invalid_request_error"), None),
        (401, "authentication_error", "invalid x-api-key", Some("authentication_error"), None),
        (402, "billing_error", "pay", Some("insufficient_quota"), None),
        (403, "permission_error", "no", Some("permission_error"), None),
        (404, "not_found_error", "model: claude-none", Some("model_not_found"), None),
        (404, "not_found_error", "Not found", Some("not_found_error"), None),
        (409, "conflict_error", "again", Some("conflict_error"), None),
        (413, "request_too_large", "too large", Some("request_too_large"), None),
        (429, "rate_limit_error", "slow", Some("rate_limit_exceeded"), None),
        (500, "api_error", "oops", Some("api_error"), None),
        (504, "timeout_error", "late", Some("timeout"), None),
        (529, "overloaded_error", "Overloaded", Some("overloaded"), None),
    ];
    for (status, kind, message, code, param) in table {
        let error = serde_json::json!({"type": kind, "message": message});
        let body = serde_json::json!({"type": "error", "error": error, "request_id": "r"});
        let expected = Failure {
            status,
            message: Some(message.to_owned()),
            code: code.map(str::to_owned),
            param: param.map(str::to_owned),
            retry_after: None,
        };
        assert_eq!(failure(status, &body.to_string()), expected);
        // In band, the type tells the status.
        let in_band = Anthropic.answer("m", body.to_string().as_bytes());
        assert_eq!(
            in_band.expect("it is read").expect_err("it is none"),
            expected
        );
    }
}

#[test]
fn failures_without_a_body_keep_their_status() {
    for body in [
        "",
        "<html>Bad gateway</html>",
        "{}",
        r#"{"error":"text"}"#,
        "[]",
    ] {
        let found = failure(502, body);
        assert_eq!(
            found,
            Failure {
                status: 502,
                ..Failure::default()
            },
            "{body}"
        );
    }
    assert_eq!(failure(529, "").code.as_deref(), Some("overloaded"));
}

#[test]
fn retry_after_is_seconds() {
    let after = |value: &str| {
        let header = |name: &str| (name == "retry-after").then(|| value.to_owned());
        Anthropic.failure(429, &header, b"").retry_after
    };
    assert_eq!(after("13"), Some(13));
    assert_eq!(after(" 0.2 "), Some(1));
    assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    assert_eq!(after("-1"), None);
    assert_eq!(after("inf"), None);
}

#[test]
fn token_counts_are_read() {
    assert_eq!(Anthropic.counted(br#"{"input_tokens":2095}"#), Ok(2095));
    assert_eq!(Anthropic.counted(br#"{"input_tokens":2095.0}"#), Ok(2095));
    assert!(Anthropic.counted(b"{}").is_err());
}

#[test]
fn there_are_no_embeddings() {
    assert!(Anthropic.embedded(&|_| None, b"{}").is_err());
}
