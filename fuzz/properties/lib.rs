//! What must hold for any bytes at all: one function each, which panics where it does not.
//!
//! They are used twice. `fuzz/fuzz_targets` hands them to libFuzzer; `tests/properties` takes
//! this folder in as a module and runs them over the golden files and seeded damage of these,
//! on every `cargo test`. So they know the public API of the gateway, and nothing of either
//! driver.

pub mod answer;
pub mod damage;
pub mod draw;
pub mod formats;
pub mod frames;
pub mod grammar;
pub mod request;
pub mod stream;
pub mod strict;
pub mod wire;

/// One property.
pub type Property = fn(&[u8]);

/// All of them, by the names of their fuzz targets.
pub const ALL: [(&str, Property); 21] = [
    ("wire_json", wire::json),
    ("wire_sse", wire::sse),
    ("wire_event_stream", wire::event_stream),
    ("wire_multipart", wire::multipart),
    ("wire_sigv4", wire::sigv4),
    ("request_chat", request::chat),
    ("request_completions", request::completions),
    ("request_messages", request::messages),
    ("request_responses", request::responses),
    ("request_embeddings", request::embeddings),
    ("answer_anthropic", answer::anthropic),
    ("answer_bedrock", answer::bedrock),
    ("answer_cohere", answer::cohere),
    ("answer_compatible", answer::compatible),
    ("answer_gemini", answer::gemini),
    ("stream_anthropic", stream::anthropic),
    ("stream_bedrock", stream::bedrock),
    ("stream_cohere", stream::cohere),
    ("stream_compatible", stream::compatible),
    ("stream_gemini", stream::gemini),
    ("stream_encoders", stream::encoders),
];

/// Bytes for a message: text where they are text.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
