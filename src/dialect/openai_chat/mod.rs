//! OpenAI's Chat Completions, from both sides: [`Chat`] is the face for
//! clients that speak it, [`Compatible`] the dialect of providers that do
//! (OpenAI, Azure, and the many that imitate it), for clients that speak
//! something else. Where both sides speak it, bytes pass through and nothing
//! of this is asked.
//!
//! Reasoning travels statelessly: `reasoning_content` for reading,
//! `thinking_blocks` and `extra_content.google.thought_signature` for sending
//! back. What providers do differently is data ([`OPTIONS`]), not code.

mod answer;
mod besides;
mod content;
mod embeddings;
mod encode;
mod failure;
mod messages;
mod options;
mod parse;
mod pieces;
mod reasoning;
mod request;
mod running;
pub(crate) mod shape;
mod strays;
mod stream;
mod think;
mod tools;
mod turns;
pub(crate) mod whole;

pub use options::{OPTIONS, limit_field, passes, path, takes_stream_options};
pub(crate) use parse::{fields, settings};
pub(super) use pieces::counted;

use super::option::Opt;
use super::{Dialect, Embeddings, Face, Label, Rendered, Target, Vectors, openai};
use crate::chat::{Answer, Conversation, DecodeError, Decoder, Encoder, Failure, Unsupported};
use crate::error::GatewayError;

/// The client's side of Chat Completions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chat {
    /// The client knows `function_call` only, not `tool_calls`.
    pub legacy: bool,
}

impl Chat {
    /// The face that a request asks for: one that says `functions` is answered
    /// in kind.
    pub fn of(body: &[u8]) -> Self {
        Self {
            legacy: parse::is_legacy(body),
        }
    }
}

impl Face for Chat {
    fn parse(&self, body: &[u8]) -> Result<Conversation, GatewayError> {
        parse::conversation(body)
    }

    fn answer(&self, answer: &Answer, label: &Label) -> Vec<u8> {
        whole::completion(answer, label, self.legacy)
    }

    fn encoder(&self, label: Label) -> Box<dyn Encoder> {
        Box::new(encode::Chunks::new(label, self.legacy))
    }

    fn error(&self, error: &GatewayError) -> (u16, Vec<u8>) {
        (error.status(), openai::error_body(error))
    }

    /// A client of the time before tools calls them functions.
    fn field(&self, _: &[u8], name: &str) -> String {
        if !self.legacy {
            return name.to_owned();
        }
        match (name, name.strip_prefix("tools")) {
            ("tool_choice", _) => "function_call".to_owned(),
            (_, Some(rest)) => format!("functions{}", rest.replace(".function", "")),
            _ => name.to_owned(),
        }
    }
}

/// Whether a JSON body of status 2xx that is passed on is a failure after all.
pub fn failure_in(body: &[u8]) -> Option<Failure> {
    failure::in_body(body)
}

/// A provider that speaks Chat Completions, more or less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compatible {
    /// Its thoughts come inside the content (option `think_tags`).
    pub think_tags: bool,
}

impl Dialect for Compatible {
    fn options(&self) -> &'static [Opt] {
        OPTIONS
    }

    fn chat(&self, asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
        request::chat(asked, target)
    }

    fn answer(&self, _: &str, body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError> {
        answer::read(body, self.think_tags)
    }

    fn decoder(&self, _: &str, limit: usize) -> Box<dyn Decoder> {
        Box::new(stream::Chunks::new(limit, self.think_tags))
    }

    fn failure(
        &self,
        status: u16,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Failure {
        failure::read(status, header, body)
    }

    fn in_band(&self, data: &[u8]) -> Failure {
        failure::named(data)
    }

    fn embeddings(&self, asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
        embeddings::render(asked, target)
    }

    fn embedded(
        &self,
        _: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<Vectors, DecodeError> {
        embeddings::read(body)
    }
}

#[cfg(test)]
mod tests;
