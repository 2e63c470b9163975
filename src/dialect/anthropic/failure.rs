//! How Anthropic fails, with a status or inside a stream.

use crate::chat::Failure;
use crate::dialect::seconds;
use crate::wire::json;
use serde::Deserialize;

/// `{"type":"error","error":{...}}`
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Option<Error>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Error {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Error {
    /// The failure that this is where no status came with it.
    pub fn in_band(self) -> Failure {
        let status = match self.kind.as_deref().unwrap_or_default() {
            "invalid_request_error" => 400,
            "authentication_error" => 401,
            "billing_error" => 402,
            "permission_error" => 403,
            "not_found_error" => 404,
            "conflict_error" => 409,
            "request_too_large" => 413,
            "rate_limit_error" => 429,
            "timeout_error" => 504,
            "overloaded_error" => 529,
            _ => 500,
        };
        self.with_status(status)
    }

    fn with_status(self, status: u16) -> Failure {
        let message = self.message.unwrap_or_default();
        Failure {
            status,
            code: code(status, self.kind.as_deref(), &message),
            param: param(status, &message),
            message: Some(message).filter(|message| !message.is_empty()),
            retry_after: None,
        }
    }
}

/// Reads an answer that is not 2xx. A body that is not Anthropic's (a proxy's
/// HTML) tells nothing but its status.
pub(super) fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Failure {
    let body: Body = json::lenient(body).unwrap_or_default();
    let mut failure = body.error.unwrap_or_default().with_status(status);
    failure.retry_after = retry_after.and_then(seconds);
    failure
}

/// Reads the data of an error event.
pub(super) fn in_band(data: &[u8]) -> Failure {
    let body: Body = serde_json::from_slice(data).unwrap_or_default();
    body.error.unwrap_or_default().in_band()
}

/// OpenAI's code where it has one; else Anthropic's type.
fn code(status: u16, kind: Option<&str>, message: &str) -> Option<String> {
    let says = |phrases: &[&str]| {
        let message = message.to_ascii_lowercase();
        phrases.iter().any(|phrase| message.contains(phrase))
    };
    let code = match (status, kind.unwrap_or_default()) {
        (400 | 413, _) if says(&["prompt is too long", "context window", "context limit"]) => {
            "context_length_exceeded"
        }
        (400, _) if says(&["content filter"]) => "content_filter",
        (400, _) if says(&["credit balance", "usage limit", "spend limit"]) => "insufficient_quota",
        (402, _) | (_, "billing_error") => "insufficient_quota",
        (404, "not_found_error") if message.starts_with("model:") => "model_not_found",
        (413, _) => "request_too_large",
        (429, _) => "rate_limit_exceeded",
        (529, _) | (_, "overloaded_error") => "overloaded",
        (504, _) | (_, "timeout_error") => "timeout",
        (_, "") => return None,
        (_, other) => other,
    };
    Some(code.to_owned())
}

/// The field at fault, where the message begins with it and the client knows it
/// by a name. Places inside messages differ from the client's: not told.
fn param(status: u16, message: &str) -> Option<String> {
    let (field, _) = message.split_once(": ").filter(|_| status == 400)?;
    let name = match field {
        "model" | "messages" | "max_tokens" | "temperature" | "top_p" | "top_k" | "tools"
        | "tool_choice" | "service_tier" => field,
        "stop_sequences" => "stop",
        "metadata.user_id" => "user",
        "output_config.effort" => "reasoning_effort",
        _ if field.starts_with("output_config.format") => "response_format",
        _ => return None,
    };
    Some(name.to_owned())
}
