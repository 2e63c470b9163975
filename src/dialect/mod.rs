//! The wire formats, one file each, in two traits: [`Dialect`] is a provider's
//! side, [`Face`] a client's. N faces and M dialects meet in
//! [`crate::chat::Conversation`], [`Answer`] and [`crate::chat::Event`]: never a pair.
//!
//! A provider is data; a dialect is code. Bytes and values in, values out: no
//! I/O, no clock, no logging. What is needed of the time comes in as an
//! argument.

pub mod anthropic;
pub mod bedrock;
mod blank;
pub mod cohere;
pub mod embeddings;
pub mod gemini;
mod meaningful;
pub mod messages_face;
pub mod openai;
pub mod openai_chat;
pub mod openai_completions;
pub mod option;
mod places;
pub mod rate_limits;
pub mod responses_face;
pub mod usage;

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod round_trip_tests;

use crate::chat::{
    Answer, Capabilities, Conversation, DecodeError, Decoder, Encoder, Failure, Unsupported,
};
use crate::error::GatewayError;
use std::collections::BTreeMap;

/// One provider request, as its dialect writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Appended to the provider's base URL; starts with `/`, query included.
    pub path: String,
    /// JSON.
    pub body: Vec<u8>,
    /// Besides content type, credential and what every request carries.
    pub headers: Vec<(&'static str, String)>,
    /// What was left out: names of the client's fields.
    pub dropped: Vec<String>,
}

/// What a dialect may look at besides the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub capabilities: &'a Capabilities,
    /// `[providers.NAME.options]`: settings that only this dialect knows.
    pub options: &'a BTreeMap<String, String>,
    /// Refuse rather than drop.
    pub strict: bool,
}

/// A provider's wire format.
pub trait Dialect: Send + Sync {
    /// What may stand in `[providers.NAME.options]`.
    fn options(&self) -> &'static [option::Opt];

    /// What is wrong with the options of a provider.
    fn problems(&self, written: &BTreeMap<String, String>) -> Vec<option::Problem> {
        option::problems(self.options(), written)
    }

    /// Writes a conversation.
    ///
    /// # Errors
    /// When the target cannot carry something that changes the meaning.
    fn chat(&self, asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported>;

    /// Reads a whole answer of status 2xx, of the model that was asked.
    ///
    /// # Errors
    /// When it is none. An error inside a 2xx is `Ok(Err(failure))`.
    fn answer(&self, model: &str, body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError>;

    /// A decoder for one stream of the model that was asked; `limit` bounds one
    /// event, in bytes.
    fn decoder(&self, model: &str, limit: usize) -> Box<dyn Decoder>;

    /// Reads an answer that is not 2xx. `header` looks a response header up by
    /// its lower-case name.
    fn failure(&self, status: u16, header: &dyn Fn(&str) -> Option<String>, body: &[u8])
    -> Failure;

    /// Reads a failure that came inside a success: the data of an error event,
    /// in a stream whose bytes pass.
    fn in_band(&self, _data: &[u8]) -> Failure {
        Failure {
            status: 500,
            ..Failure::default()
        }
    }

    /// Headers without which bytes that pass are not understood, unless the
    /// client brought them.
    fn headers(&self, _options: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Writes a request that only counts the tokens of a conversation; `None`
    /// where the provider has no counter.
    ///
    /// # Errors
    /// As [`Dialect::chat`], for what is part of the prompt.
    fn count_tokens(
        &self,
        _asked: &Conversation,
        _target: Target<'_>,
    ) -> Result<Option<Rendered>, Unsupported> {
        Ok(None)
    }

    /// Reads what a request of [`Dialect::count_tokens`] is answered with.
    ///
    /// # Errors
    /// When it is no count.
    fn counted(&self, _body: &[u8]) -> Result<u64, DecodeError> {
        Err(DecodeError::Malformed("a count of tokens"))
    }

    /// Writes a request for embeddings.
    ///
    /// # Errors
    /// When the provider has none, or cannot take these.
    fn embeddings(&self, asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported>;

    /// Reads embeddings.
    ///
    /// # Errors
    /// When the body is none.
    fn embedded(
        &self,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<Vectors, DecodeError>;
}

/// A request for embeddings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embeddings {
    pub model: String,
    pub texts: Vec<String>,
    pub dimensions: Option<u64>,
    /// The client wants base64 of little-endian f32.
    pub base64: bool,
    pub user: Option<String>,
    /// Fields without a form here, such as Cohere's `input_type`.
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Embeddings, in the order of the texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    pub vectors: Vec<Vec<f32>>,
    /// Input tokens, if the provider counts them.
    pub tokens: Option<u64>,
}

/// What an answer is given that no provider knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    /// The model as the client named it.
    pub model: String,
    /// Random and unique, letters and digits: ids are made of it.
    pub seed: String,
    /// Unix seconds.
    pub created: u64,
    /// Of a stream: the client asked for the usage chunk.
    pub include_usage: bool,
    /// The id that the client has seen already, where a stream goes on that
    /// began without us. Else it is the provider's, or made of `seed`.
    pub id: Option<String>,
}

/// A client's wire format.
pub trait Face: Send + Sync {
    /// Reads a request. The body was scanned already (strict JSON, known types
    /// at the top level).
    ///
    /// # Errors
    /// 400 with `param`, in words for the client.
    fn parse(&self, body: &[u8]) -> Result<Conversation, GatewayError>;

    /// Writes a whole answer.
    fn answer(&self, answer: &Answer, label: &Label) -> Vec<u8>;

    /// An encoder for one stream.
    fn encoder(&self, label: Label) -> Box<dyn Encoder>;

    /// HTTP status and body of an error.
    fn error(&self, error: &GatewayError) -> (u16, Vec<u8>);

    /// What the client calls a field of `body`, which this face has read.
    /// Dialects name fields as Chat Completions does.
    fn field(&self, body: &[u8], name: &str) -> String {
        let _ = body;
        name.to_owned()
    }

    /// What a dialect refused, in the client's words.
    fn worded(&self, body: &[u8], refused: Unsupported) -> Unsupported {
        let own = self.field(body, &refused.param);
        let reason = refused
            .reason
            .replace(&format!("'{}'", refused.param), &format!("'{own}'"));
        Unsupported::new(own, reason)
    }
}

/// Whether a request asks for more than a text, by fields without a canonical
/// form (`audio`, `web_search_options`, `guided_json` ...).
pub fn asks_for_more(asked: &Conversation) -> bool {
    meaningful::refuse(asked).is_err()
}

/// A `retry-after` in seconds, rounded up; some providers send fractions. A date
/// tells nothing without a clock.
fn seconds(header: &str) -> Option<u64> {
    let seconds: f64 = header.trim().parse().ok()?;
    let sane = (0.0..=f64::from(u32::MAX)).contains(&seconds);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range and not negative"
    )]
    sane.then(|| seconds.ceil() as u64)
}
