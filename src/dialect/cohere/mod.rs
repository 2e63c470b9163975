//! Cohere v2: `/v2/chat` and `/v2/embed` under `https://api.cohere.com`.
//!
//! Promises: every field of a conversation is carried, dropped by name, or
//! refused; thoughts come out of `thinking` parts and out of `tool_plan`, and
//! go back as whichever of the two the model knows; a generation that ended in
//! `ERROR` or `TIMEOUT` is a failure, never an answer.
//!
//! Does not: rerank, classify.

mod answer;
mod embed;
mod messages;
mod request;
mod stream;
#[cfg(test)]
mod tests;

use super::option::Opt;
use super::{Dialect, Embeddings, Rendered, Target, Vectors};
use crate::chat::{Answer, Conversation, DecodeError, Decoder, Failure, Unsupported};

/// Cohere v2.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cohere;

impl Dialect for Cohere {
    fn options(&self) -> &'static [Opt] {
        &[]
    }

    fn chat(&self, asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
        request::chat(asked, target)
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
        answer::failure(status, header, body)
    }

    fn embeddings(&self, asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
        embed::render(asked, target)
    }

    fn embedded(
        &self,
        _header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<Vectors, DecodeError> {
        embed::read(body)
    }
}
