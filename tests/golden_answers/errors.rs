//! Failures, with a status or inside a success: what they become for each client.
//!
//! A file has what the provider answers (`status`, `headers`, `body`: JSON, or a text that is none) and what a client
//! must get (`client`: status, type, code, param, retry_after, message where it is known). A status of 2xx is read as
//! an answer.

use crate::Reading;
use crate::case::{Input, Problems, inputs, pretty};
use crate::expected::Format;
use crate::heard::{Heard, must, text};
use crate::provider;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tollgate::chat::Failure;
use tollgate::dialect::openai::refusal;
use tollgate::error::GatewayError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Value,
    client: Wanted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    status: u16,
    #[serde(rename = "type")]
    kind: String,
    code: String,
    param: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
    /// What the client reads, where the provider's own words do not do.
    message: Option<String>,
}

#[test]
fn every_error_is_told_to_every_client() {
    let mut problems = Problems::new("errors");
    for input in inputs("errors", &["json"]) {
        let case: Case = serde_json::from_slice(&input.bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", input.path.display()));
        match failure(&input.speaker, &case) {
            Ok(failure) => told(
                &input,
                &case,
                &refusal(failure, str::to_owned),
                &mut problems,
            ),
            Err(e) => problems.add(&input, &e),
        }
    }
    problems.report();
}

fn failure(speaker: &str, case: &Case) -> Result<Failure, String> {
    let body = match &case.body {
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    };
    let dialect = provider::dialect(speaker);
    if case.status < 300 {
        return match dialect.answer(provider::model(speaker), &body) {
            Ok(Err(failure)) => Ok(failure),
            other => Err(format!("not read as a failure but as {other:?}")),
        };
    }
    let header = |name: &str| {
        case.headers
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Ok(dialect.failure(case.status, &header, &body))
}

fn told(input: &Input, case: &Case, error: &GatewayError, problems: &mut Problems) {
    let wanted = &case.client;
    let mut all = Map::new();
    for format in Format::ALL {
        let (status, body) = format.face().error(error);
        let body: Value = serde_json::from_slice(&body).expect("a client reads JSON");
        let heard = match format {
            Format::Messages => anthropic(status, &body, wanted),
            Format::Chat | Format::Responses => openai(status, &body, wanted),
        };
        if let Err(e) = heard {
            problems.add(input, &format!("{}: {e}", format.name()));
        }
        all.insert(
            format.name().to_owned(),
            json!({ "status": status, "body": body }),
        );
    }
    let seconds = error.retry_after().map(|after| after.as_secs());
    if seconds != wanted.retry_after {
        let text = format!("retry after {seconds:?}, not {:?}", wanted.retry_after);
        problems.add(input, &text);
    }
    let name = format!("{}.clients.json", input.speaker);
    problems.compare(input, &name, &pretty(&Value::from(all).to_string()));
}

fn openai(status: u16, body: &Value, wanted: &Wanted) -> Result<(), String> {
    let error = &body["error"];
    let keys = error
        .as_object()
        .map(|error| error.keys().cloned().collect::<Vec<_>>());
    must!(
        keys.unwrap_or_default() == ["message", "type", "param", "code"],
        "keys of {body}"
    );
    must!(
        status == wanted.status,
        "status {status}, not {}",
        wanted.status
    );
    let got = (
        text(error, "type"),
        text(error, "code"),
        error["param"].as_str(),
    );
    let expected = (
        wanted.kind.clone(),
        wanted.code.clone(),
        wanted.param.as_deref(),
    );
    must!(got == expected, "{got:?}, not {expected:?}");
    must!(!text(error, "message").is_empty(), "no message");
    let message = wanted.message.as_deref().unwrap_or_default();
    must!(
        text(error, "message").contains(message),
        "{error} does not say {message:?}"
    );
    Ok(())
}

/// Anthropic's statuses and their types; it has no 502 and 503.
fn anthropic(status: u16, body: &Value, wanted: &Wanted) -> Result<(), String> {
    let expected = match wanted.status {
        400 => (400, "invalid_request_error"),
        404 => (404, "not_found_error"),
        409 => (409, "conflict_error"),
        413 => (413, "request_too_large"),
        429 => (429, "rate_limit_error"),
        502 => (502, "api_error"),
        503 => (529, "overloaded_error"),
        504 => (504, "timeout_error"),
        other => return Err(format!("no client is to get {other}")),
    };
    must!(body["type"] == "error", "no error: {body}");
    let kind = text(&body["error"], "type");
    must!(
        (status, kind.as_str()) == expected,
        "{status} {kind}, not {expected:?}"
    );
    let message = text(&body["error"], "message");
    must!(!message.is_empty(), "no message");
    must!(
        message.contains(wanted.message.as_deref().unwrap_or_default()),
        "message: {message}"
    );
    must!(
        wanted.code != "context_length_exceeded" || message.contains("prompt is too long"),
        "a prompt over the window is told by its words: {message}"
    );
    Ok(())
}

/// An error where an answer was to be.
pub fn in_band(body: &Value, format: Format) -> Reading {
    must!(body["error"].is_object(), "no error: {body}");
    must!(
        format != Format::Messages || body["type"] == "error",
        "no error of Anthropic's: {body}"
    );
    Ok(Heard {
        error: Some(body["error"].clone()),
        ..Heard::default()
    })
}
