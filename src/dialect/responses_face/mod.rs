//! OpenAI's Responses API as a client's side: `POST /v1/responses`, to any
//! provider.
//!
//! Promises: what the request says about input, tools, format, reasoning and
//! sampling reaches the conversation; what has no form there is left under its
//! own name for the dialect to drop or refuse; every stream has its events in
//! OpenAI's order, numbered from 0, and a last one that tells how it ended.
//!
//! Does not keep state. `previous_response_id`, `conversation`, `prompt`,
//! `item_reference` and `background: true` need a store and are refused;
//! `store` is answered with `false`.
//!
//! # Thoughts
//!
//! A reasoning item's `encrypted_content` is how thoughts travel with their
//! signatures through a client and back: Base64 of a JSON list (see
//! [`thoughts`]). It is not secret, only opaque; a provider checks its own
//! signatures.

mod answer;
mod encode;
mod input;
mod open;
mod parse;
#[cfg(test)]
mod tests;
mod thoughts;
mod tools;
mod words;

pub use thoughts::is_sealed;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;

use super::{Face, Label};
use crate::chat::{Answer, Conversation, Encoder};
use crate::error::GatewayError;

/// OpenAI's Responses API.
#[derive(Debug, Clone, Default)]
pub struct Responses {
    echo: Echo,
}

impl Responses {
    /// The face for one request: its answer repeats the request's settings, as
    /// OpenAI's does. [`Responses::default`] answers with OpenAI's defaults
    /// instead. A body that is no JSON object repeats nothing.
    pub fn echoing(body: &[u8]) -> Self {
        Self {
            echo: Echo::of(body),
        }
    }
}

impl Face for Responses {
    fn parse(&self, body: &[u8]) -> Result<Conversation, GatewayError> {
        parse::request(body)
    }

    fn answer(&self, answer: &Answer, label: &Label) -> Vec<u8> {
        answer::whole(answer, label, &self.echo)
            .to_string()
            .into_bytes()
    }

    fn encoder(&self, label: Label) -> Box<dyn Encoder> {
        Box::new(encode::Stream::new(label, self.echo.clone()))
    }

    fn error(&self, error: &GatewayError) -> (u16, Vec<u8>) {
        let body = json!({"error": error_object(error)});
        (error.status(), body.to_string().into_bytes())
    }

    fn field(&self, body: &[u8], name: &str) -> String {
        words::field(body, name)
    }
}

/// Writes the answer of `/v1/responses/input_tokens`.
pub fn input_tokens(tokens: u64) -> Vec<u8> {
    let body = json!({"object": "response.input_tokens", "input_tokens": tokens});
    body.to_string().into_bytes()
}

fn error_object(error: &GatewayError) -> Value {
    json!({
        "message": error.public(),
        "type": error.type_(),
        "param": error.param(),
        "code": error.code(),
    })
}

/// The settings of a request that its answer repeats.
#[derive(Debug, Clone, Default)]
struct Echo(Map<String, Value>);

impl Echo {
    const FIELDS: [&str; 17] = [
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
        "prompt_cache_options",
    ];

    fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Echo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Settings)
    }
}

/// Reads past what is not repeated: the input may be most of a large body.
struct Settings;

impl<'de> Visitor<'de> for Settings {
    type Value = Echo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Echo, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if !Echo::FIELDS.contains(&name.as_ref()) {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Value = members.next_value()?;
            if !value.is_null() {
                kept.insert(name.into_owned(), value);
            }
        }
        Ok(Echo(kept))
    }
}
