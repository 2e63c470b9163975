//! What a client of Anthropic's Messages API sends and reads: `/v1/messages`
//! and `/v1/messages/count_tokens`, in front of any provider.
//!
//! Requests become a [`Conversation`]; answers, streams and errors are written
//! as Anthropic writes them. A request that goes to Anthropic itself does not
//! come here, but where it brings back what others sealed ([`is_tagged`]): its
//! bytes pass through.
//!
//! An image or a sound that a model made, and a citation of what Anthropic does
//! not cite, have no form here: the message (in a stream, the delta that ends
//! it) names the kinds of what was left out in `tollgate_omitted`.
//!
//! Three things have no place in the canonical form and are carried so:
//! - A field of the top level without a form goes to [`Conversation::other`]
//!   under the client's name; [`HARMLESS`] says which may be left out.
//! - Gemini's signature of a tool call leaves as a `redacted_thinking` block
//!   before the call, because these are what every client sends back untouched,
//!   and is put back on its call when it returns.
//! - Arguments that are no JSON object leave, in a whole answer, as
//!   `{"INVALID_JSON": "..."}`, the form that Anthropic's guide names for them.

mod answer;
mod citations;
mod content;
mod encode;
mod fields;
mod parse;
#[cfg(test)]
mod parse_tests;
mod shape;
#[cfg(test)]
mod tests;
mod words;

use super::{Face, Label};
use crate::chat::{Answer, Conversation, Encoder};
use crate::error::GatewayError;

/// Names in [`Conversation::other`] that change how an answer is made or
/// reported, not what is asked: a dialect that lacks them may leave them out.
/// Those with a dot are marks on something in the request that had no place on
/// it; no provider takes them under this name.
pub const HARMLESS: [&str; 19] = [
    "billing_policy",
    "cache_control",
    "compaction",
    "container",
    "context_management",
    "diagnostics",
    "document.citations",
    "fallback_credit_token",
    "fallbacks",
    "inference_geo",
    "output_config",
    "speed",
    "tool_result.cache_control",
    "tools.allowed_callers",
    "tools.defer_loading",
    "tools.eager_input_streaming",
    "tools.input_examples",
    "user_profile_id",
    "workspace_id",
];

/// The face of Anthropic's Messages API.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessagesFace;

impl Face for MessagesFace {
    fn parse(&self, body: &[u8]) -> Result<Conversation, GatewayError> {
        parse::conversation(body, parse::For::Answer)
    }

    fn answer(&self, answer: &Answer, label: &Label) -> Vec<u8> {
        answer::whole(answer, label)
    }

    fn encoder(&self, label: Label) -> Box<dyn Encoder> {
        Box::new(encode::Stream::new(label))
    }

    fn error(&self, error: &GatewayError) -> (u16, Vec<u8>) {
        (error_status(error), shape::json(&error_frame(error, None)))
    }

    fn field(&self, body: &[u8], name: &str) -> String {
        words::field(body, name)
    }
}

/// Reads a request whose tokens are to be counted: a request for an answer,
/// but `max_tokens` may be missing.
///
/// # Errors
/// 400 with `param`, in words for the client.
pub fn parse_count_tokens(body: &[u8]) -> Result<Conversation, GatewayError> {
    parse::conversation(body, parse::For::Count)
}

/// Writes the answer of `/v1/messages/count_tokens`.
pub fn count_tokens_answer(tokens: u64) -> Vec<u8> {
    format!("{{\"input_tokens\":{tokens}}}").into_bytes()
}

/// HTTP status and body of an error, with the id of the request: what clients of
/// Anthropic's are asked for by its support, they send to the gateway's operator.
pub fn error(error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
    let frame = error_frame(error, Some(request_id));
    (error_status(error), shape::json(&frame))
}

/// Whether a request brings back what models of others than Anthropic sealed: to
/// Anthropic itself its bytes must then not pass, which refuses all of it for
/// one signature that is not its own.
pub fn is_tagged(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"tollgate:").is_some()
}

/// Anthropic's status of an error. It knows no 503; its clients retry 529.
fn error_status(error: &GatewayError) -> u16 {
    match error.status() {
        503 => 529,
        status => status,
    }
}

/// Anthropic's `error.type` of a status.
const fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn error_frame<'a>(error: &GatewayError, request_id: Option<&'a str>) -> shape::Frame<'a> {
    shape::Frame::Error {
        error: shape::ErrorBody {
            type_: error_type(error_status(error)),
            message: error_message(error),
        },
        request_id,
    }
}

/// The text of an error. Anthropic's errors have neither `param` nor `code`:
/// the field at fault stands in the text, and a prompt over the context window
/// is known by its words alone.
fn error_message(error: &GatewayError) -> String {
    const TOO_LONG: &str = "prompt is too long";
    let mut message = error.public().to_owned();
    if let Some(param) = error.param()
        && !message.contains(param)
    {
        message = format!("{param}: {message}");
    }
    if error.code() == "context_length_exceeded" && !message.contains(TOO_LONG) {
        message = format!("{TOO_LONG}: {message}");
    }
    message
}
