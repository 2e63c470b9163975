//! How compatible providers say no: with a status, or inside of a 200.
//!
//! The texts read here are the provider's own; who shows them to a client
//! scrubs them first.

use super::shape::whole;
use crate::chat::Failure;
use crate::wire::json;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Longest text that is kept of a body that is no JSON, in characters.
const CLIP: usize = 500;

/// Reads an answer that is not 2xx.
pub(super) fn read(status: u16, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Failure {
    let mut failure = match json::lenient::<Value>(body) {
        Some(value) => told(&value),
        None => plain(body),
    };
    failure.status = status;
    failure.code = code(status, &failure);
    failure.retry_after = retry_after(header);
    failure
}

/// Reads a failure in a 2xx body or a chunk, if there is one.
pub(super) fn in_band(value: &Value) -> Option<Failure> {
    if let Some(failure) = minimax(value) {
        return Some(failure);
    }
    let mut places = [Some(value), value.get("x_groq")].into_iter().flatten();
    let (place, error) = places.find_map(|place| Some((place, error_of(place)?)))?;
    let mut failure = told(place);
    failure.status = status_of(error, &failure);
    failure.code = code(failure.status, &failure);
    Some(failure)
}

/// The error of a body or a chunk: under `error`, or all of it (older vLLM).
fn error_of(value: &Value) -> Option<&Value> {
    let flat = value.get("object").is_some_and(|object| object == "error");
    let error = if flat { value } else { value.get("error")? };
    let none = matches!(error, Value::Null | Value::Bool(false)) || error.as_str() == Some("");
    (!none).then_some(error)
}

/// Bytes of a body of status 2xx that are looked at for a failure. One stands
/// at the front, since there is little beside it.
const FRONT: usize = 1024;

/// Reads a failure in the body of an answer that is passed on as it came. Only
/// what looks like one at its front is read.
pub(super) fn in_body(body: &[u8]) -> Option<Failure> {
    /// What only answers have, of all operations and formats.
    const ANSWERS: [&str; 6] = ["choices", "data", "output", "content", "results", "text"];
    let front = body.get(..FRONT).unwrap_or(body);
    let says = |word: &[u8]| memchr::memmem::find(front, word).is_some();
    if !says(b"\"error\"") && !says(b"\"base_resp\"") {
        return None;
    }
    let value: Value = json::lenient(body)?;
    let answers = |name: &str| {
        value
            .get(name)
            .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|a| !a.is_empty()))
    };
    match ANSWERS.iter().any(|name| answers(name)) {
        true => None,
        false => in_band(&value),
    }
}

/// An SSE event called `error`, whatever its data is.
pub(super) fn named(data: &[u8]) -> Failure {
    let mut failure = match json::lenient::<Value>(data) {
        // Responses has it inside of the response that failed.
        Some(value) => match in_band(value.get("response").unwrap_or(&value)) {
            Some(failure) => return failure,
            None => told(&value),
        },
        None => plain(data),
    };
    failure.status = status_of(&Value::Null, &failure);
    failure.code = code(failure.status, &failure);
    failure
}

/// MiniMax reports failures in `base_resp` of a 200.
fn minimax(value: &Value) -> Option<Failure> {
    let resp = value.get("base_resp")?;
    let number = resp
        .get("status_code")?
        .as_i64()
        .filter(|number| *number != 0)?;
    let (status, code) = match number {
        1001 => (504, None),
        1002 | 1039 => (429, None),
        1004 | 2049 => (401, None),
        1008 => (402, Some("insufficient_quota")),
        1026 | 1027 => (400, Some("content_filter")),
        2013 => (400, None),
        _ => (500, None),
    };
    let message = resp
        .get("status_msg")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty());
    let code = code.map_or_else(|| number.to_string(), str::to_owned);
    Some(Failure {
        status,
        message: message.map(str::to_owned),
        code: Some(code),
        ..Failure::default()
    })
}

/// `{"error":{...}}` (OpenAI), `{"error":"text"}`, flat (vLLM, Mistral,
/// Azure's gateway), `{"detail":...}` (FastAPI).
fn told(value: &Value) -> Failure {
    let empty = Fields::new();
    let outer = value.as_object().unwrap_or(&empty);
    let inner = outer
        .get("error")
        .and_then(Value::as_object)
        .unwrap_or(outer);
    // Mistral wraps FastAPI's list in its message, as an object or as its text.
    let wrapped = || match inner.get("message")? {
        Value::Object(map) => detail(map.get("detail")?),
        Value::String(text) if text.starts_with('{') => {
            let map: Fields = serde_json::from_str(text).ok()?;
            detail(map.get("detail")?)
        }
        list @ Value::Array(_) => detail(list),
        _ => None,
    };
    let message = wrapped()
        .or_else(|| word(inner, "message"))
        .or_else(|| word(outer, "error"))
        .or_else(|| detail(outer.get("detail")?));
    // Some put the kind of failure where others have a code.
    let kind = word(inner, "type").filter(|kind| kind == "insufficient_quota");
    let code = kind.or_else(|| word(inner, "code"));
    Failure {
        message,
        code,
        param: word(inner, "param"),
        ..Failure::default()
    }
}

fn word(map: &Fields, name: &str) -> Option<String> {
    match map.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn detail(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(problems) => {
            let texts: Vec<String> = problems.iter().filter_map(problem).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        Value::Object(map) => word(map, "message").or_else(|| word(map, "msg")),
        _ => None,
    }
}

/// `{"loc":["body","temperature"],"msg":"..."}` of FastAPI.
fn problem(value: &Value) -> Option<String> {
    let text = value.get("msg")?.as_str()?;
    let place = value
        .get("loc")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let place: Vec<String> = place
        .map(|step| {
            step.as_str()
                .map_or_else(|| step.to_string(), str::to_owned)
        })
        .collect();
    Some(if place.is_empty() {
        text.to_owned()
    } else {
        format!("{}: {text}", place.join("."))
    })
}

/// What a proxy between says in HTML or plain text.
fn plain(body: &[u8]) -> Failure {
    // A character has at most four bytes; the rest need not be looked at.
    let head = body.get(..CLIP * 4).unwrap_or(body);
    let text: String = String::from_utf8_lossy(head)
        .trim()
        .chars()
        .take(CLIP)
        .collect();
    Failure {
        message: (!text.is_empty()).then_some(text),
        ..Failure::default()
    }
}

/// The status that an in-band error would have had.
fn status_of(error: &Value, failure: &Failure) -> u16 {
    let numbers = [
        error.get("code"),
        error.get("status"),
        error.get("status_code"),
    ];
    let said = numbers.into_iter().flatten().find_map(|number| {
        whole(number)
            .or_else(|| number.as_str()?.parse().ok())
            .filter(|number| (400..600).contains(number))
    });
    if let Some(status) = said.and_then(|status| u16::try_from(status).ok()) {
        return status;
    }
    let kind = error
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let code = failure.code.as_deref().unwrap_or_default();
    let says = |word: &str| kind.contains(word) || code.contains(word);
    match () {
        () if says("insufficient_quota") => 402,
        () if says("rate_limit") => 429,
        () if says("authentication") || says("invalid_api_key") => 401,
        () if says("permission") => 403,
        () if says("overloaded") || says("unavailable") => 503,
        () if says("timeout") => 504,
        () if says("context_length") || says("content_filter") || says("invalid_request") => 400,
        () => 500,
    }
}

/// OpenAI's code where the failure is one of those that have one.
fn code(status: u16, failure: &Failure) -> Option<String> {
    let message = failure
        .message
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let own = failure.code.as_deref().unwrap_or_default();
    let known = match status {
        402 => Some("insufficient_quota"),
        400 | 413 | 422 if own == "context_length_exceeded" || is_too_long(&message) => {
            Some("context_length_exceeded")
        }
        400 if own == "content_policy_violation" => Some("content_filter"),
        _ => None,
    };
    known.map(str::to_owned).or_else(|| failure.code.clone())
}

/// The many ways to say that the prompt does not fit.
fn is_too_long(message: &str) -> bool {
    const WAYS: [&str; 8] = [
        "maximum context length",
        "context length exceeded",
        "context_length_exceeded",
        "exceeds the context",
        "exceed the context",
        "exceeds the available context",
        "context window",
        "prompt is too long",
    ];
    WAYS.iter().any(|way| message.contains(way))
}

/// Seconds, from milliseconds rounded up. A date needs a clock, and is left to
/// who has one.
fn retry_after(header: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |name: &str| {
        header(name)?
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite() && *n >= 0.0)
    };
    let seconds = number("retry-after-ms")
        .map(|ms| ms / 1000.0)
        .or_else(|| number("retry-after"))?;
    /// Longer is no plan.
    const LONGEST: f64 = 86_400.0;
    whole(&Value::from(seconds.min(LONGEST).ceil()))
}
