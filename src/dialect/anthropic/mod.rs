//! Anthropic's Messages API, as a provider.
//!
//! Requests go to `/messages` below a base URL that ends in `/v1`. What a model
//! takes changes with its generation (sampling, thinking, prefill, forced tools,
//! system messages in the middle): [`Capabilities`](crate::chat::Capabilities)
//! say so, nothing here knows a model by its name.
//!
//! Options: `anthropic_version` (default `2023-06-01`), `anthropic_beta` (a
//! comma-separated list, sent as it is), `json_object = "drop"` (send a request
//! for `json_object` without it, where the route is lenient: the instruction in
//! the client's own messages then has to do).
//!
//! Where bytes pass, the client's own `anthropic-version` (any) and
//! `anthropic-beta` go on as they are, and the options stand in for what it did
//! not send.
//!
//! Not here: embeddings, which Anthropic has none of, and the same body's other
//! homes (Bedrock `InvokeModel`, Vertex `rawPredict`) with their own envelopes.

mod answer;
mod blocks;
mod body;
mod failure;
mod messages;
mod request;
mod stream;
mod thinking;
mod tools;

pub(super) use answer::Counts;

#[cfg(test)]
#[path = "request_tests.rs"]
mod request_tests;
#[cfg(test)]
mod tests;

use super::option::{Form, Opt};
use super::{Dialect, Embeddings, Rendered, Target, Vectors};
use crate::chat::{Answer, Conversation, DecodeError, Decoder, Failure, Losses, Unsupported};
use body::Body;
use std::collections::BTreeMap;

/// The API version that is asked for by default: the last one in which models
/// that take a temperature still do.
const VERSION: &str = "2023-06-01";

/// Anthropic Messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anthropic;

const OPTIONS: &[Opt] = &[
    Opt::new("anthropic_version", Form::Text, "default 2023-06-01"),
    Opt::new(
        "anthropic_beta",
        Form::List,
        "beta features, sent as they are",
    ),
    Opt::new(
        "json_object",
        Form::Word(&["drop"]),
        "drop: a request for json_object is sent without it, where the route is lenient",
    ),
];

impl Dialect for Anthropic {
    fn options(&self) -> &'static [Opt] {
        OPTIONS
    }

    fn chat(&self, asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
        let mut losses = Losses::new(target.strict);
        losses.strays(asked)?;
        let body = request::chat(asked, target, &mut losses)?;
        rendered("/messages", &body, target, losses)
    }

    fn answer(&self, _: &str, body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError> {
        answer::read(body)
    }

    fn decoder(&self, _: &str, limit: usize) -> Box<dyn Decoder> {
        Box::new(stream::Stream::new(limit))
    }

    fn failure(
        &self,
        status: u16,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Failure {
        failure::read(status, header("retry-after").as_deref(), body)
    }

    fn in_band(&self, data: &[u8]) -> Failure {
        failure::in_band(data)
    }

    fn headers(&self, options: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
        headers(options)
    }

    /// What has no influence on the number (sampling, stop, limits, user) is
    /// not sent.
    fn count_tokens(
        &self,
        asked: &Conversation,
        target: Target<'_>,
    ) -> Result<Option<Rendered>, Unsupported> {
        let mut losses = Losses::new(target.strict);
        let body = request::prompt(asked, target, &mut losses)?;
        rendered("/messages/count_tokens", &body, target, losses).map(Some)
    }

    fn counted(&self, body: &[u8]) -> Result<u64, DecodeError> {
        answer::counted(body)
    }

    fn embeddings(&self, _: &Embeddings, _: Target<'_>) -> Result<Rendered, Unsupported> {
        Err(Unsupported::new(
            "model",
            "Anthropic has no embedding models.",
        ))
    }

    fn embedded(
        &self,
        _: &dyn Fn(&str) -> Option<String>,
        _: &[u8],
    ) -> Result<Vectors, DecodeError> {
        Err(DecodeError::Malformed(
            "embeddings, which Anthropic does not have",
        ))
    }
}

fn rendered(
    path: &str,
    body: &Body<'_>,
    target: Target<'_>,
    losses: Losses,
) -> Result<Rendered, Unsupported> {
    let body = serde_json::to_vec(body)
        .map_err(|_| Unsupported::new("messages", "The request cannot be written as JSON."))?;
    Ok(Rendered {
        path: path.to_owned(),
        body,
        headers: headers(target.options),
        dropped: losses.dropped,
    })
}

fn version(options: &BTreeMap<String, String>) -> &str {
    let option = options.get("anthropic_version");
    option.map_or(VERSION, String::as_str)
}

fn headers(options: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("anthropic-version", version(options).to_owned())];
    if let Some(beta) = options.get("anthropic_beta").filter(|b| !b.is_empty()) {
        headers.push(("anthropic-beta", beta.clone()));
    }
    headers
}
