//! What Google says when it fails: `google.rpc.Status` with its details.

use super::lenient::as_count;
use crate::chat::Failure;
use crate::dialect::seconds;
use crate::wire::json;
use serde_json::Value;

/// Reads an answer with an error status.
pub(super) fn read(status: u16, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Failure {
    let body = json::lenient::<Value>(body).unwrap_or_default();
    let mut failure = match error_of(&body) {
        Some(error) => of(error, Some(status)),
        None => Failure {
            status,
            code: (status == 404).then(|| "model_not_found".to_owned()),
            ..Failure::default()
        },
    };
    if failure.retry_after.is_none() && failure.code.as_deref() != Some(QUOTA_USED_UP) {
        failure.retry_after = header("retry-after").and_then(|text| seconds(&text));
    }
    failure
}

const QUOTA_USED_UP: &str = "insufficient_quota";

/// The error object of a body; streams wrap it in a list.
pub(super) fn error_of(body: &Value) -> Option<&Value> {
    let body = match body {
        Value::Array(items) => items.first()?,
        body => body,
    };
    body.get("error").filter(|error| !error.is_null())
}

/// Reads an error object. `status` is the HTTP status, unless it came in band.
pub(super) fn of(error: &Value, status: Option<u16>) -> Failure {
    let message = match error {
        Value::String(message) => Some(message.as_str()),
        error => error.get("message").and_then(Value::as_str),
    };
    let word = error.get("status").and_then(Value::as_str);
    let status = status
        .or_else(|| in_band(error))
        .or_else(|| word.and_then(status_of))
        .unwrap_or(500);
    let used_up = quota_of_the_day(error);
    let (status, code) = verdict(status, word, message.unwrap_or_default(), error, used_up);
    Failure {
        status,
        message: message.map(str::to_owned),
        code,
        param: None,
        retry_after: if used_up { None } else { retry_delay(error) },
    }
}

/// The status to go on with, and OpenAI's code if it has one.
fn verdict(
    status: u16,
    word: Option<&str>,
    message: &str,
    error: &Value,
    used_up: bool,
) -> (u16, Option<String>) {
    let (status, code) = match status {
        // A bad key is a 400 at AI Studio.
        400 if bad_key(error, message) => (401, Some("invalid_api_key")),
        400 if too_long(message) => (400, Some("context_length_exceeded")),
        400 if message.contains("payload size exceeds") => (413, Some("request_too_large")),
        404 => (404, Some("model_not_found")),
        429 if used_up => (429, Some(QUOTA_USED_UP)),
        429 => (429, Some("rate_limit_exceeded")),
        status => (status, word),
    };
    (status, code.map(str::to_owned))
}

fn bad_key(error: &Value, message: &str) -> bool {
    let by_reason = details(error).any(|detail| {
        let reason = detail.get("reason").and_then(Value::as_str);
        matches!(reason, Some("API_KEY_INVALID" | "API_KEY_EXPIRED"))
    });
    by_reason || message.starts_with("API key not valid") || message.starts_with("API key expired")
}

/// AI Studio: «The input token count (N) exceeds the maximum number of tokens
/// allowed (M).» Vertex: «... the input token count is N but model only
/// supports up to M.»
fn too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("token count")
        && (message.contains("exceeds the maximum") || message.contains("only supports up to"))
}

/// Whether what is used up comes back tomorrow only.
fn quota_of_the_day(error: &Value) -> bool {
    details(error)
        .filter_map(|detail| detail.get("violations")?.as_array())
        .flatten()
        .filter_map(|violation| violation.get("quotaId")?.as_str())
        .any(|id| id.contains("PerDay"))
}

/// `retryDelay`, in whole seconds, rounded up.
fn retry_delay(error: &Value) -> Option<u64> {
    let delay = details(error).find_map(|detail| detail.get("retryDelay"))?;
    match delay {
        Value::String(text) => {
            let (whole, fraction) = match text.strip_suffix('s')?.split_once('.') {
                Some(parts) => parts,
                None => (text.strip_suffix('s')?, ""),
            };
            let up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
            Some(whole.parse::<u64>().ok()?.saturating_add(up))
        }
        // A `Duration` as an object.
        delay => as_count(delay.get("seconds")?),
    }
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    let details = error.get("details").and_then(Value::as_array);
    details.into_iter().flatten()
}

fn in_band(error: &Value) -> Option<u16> {
    let code = as_count(error.get("code")?)?;
    u16::try_from(code)
        .ok()
        .filter(|code| (400..600).contains(code))
}

/// The HTTP status of a `google.rpc.Code`.
fn status_of(word: &str) -> Option<u16> {
    Some(match word {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "ALREADY_EXISTS" | "ABORTED" => 409,
        "RESOURCE_EXHAUSTED" => 429,
        "CANCELLED" => 499,
        "UNIMPLEMENTED" => 501,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => 500,
        _ => return None,
    })
}
