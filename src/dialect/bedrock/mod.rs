//! AWS Bedrock: `Converse` and `ConverseStream`, and `InvokeModel` for embeddings.
//!
//! The model is part of the path, as one percent-encoded segment. What Converse has no field for
//! goes into `additionalModelRequestFields`, whose names depend on the family of the model. An
//! answer holds no id and no model; a stream is binary ([`crate::wire::eventstream`]).
//!
//! Signing ([`crate::wire::sigv4`]) is not done here: it comes last, over the bytes as sent.

mod answer;
mod body;
mod embeddings;
mod media;
mod messages;
mod request;
mod stream;
mod thinking;
mod tools;

use serde::Deserialize;

use crate::chat::{Answer, Conversation, DecodeError, Decoder, Failure, Origin, Unsupported};
use crate::dialect::option::{Form, Opt};
use crate::dialect::{Dialect, Embeddings, Rendered, Target, Vectors};
use crate::wire::percent;

/// The name of the tool whose input is the answer, where a form of answer is emulated by a
/// forced call. It is the only thing that tells the reader of an answer that it was: no state is
/// kept between a request and its answer.
const ANSWER_TOOL: &str = "tollgate_answer";

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bedrock;

const OPTIONS: &[Opt] = &[Opt::new(
    "region",
    Form::Text,
    "where the models are, for signatures",
)];

impl Dialect for Bedrock {
    fn options(&self) -> &'static [Opt] {
        OPTIONS
    }

    fn chat(&self, asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
        request::chat(asked, target)
    }

    fn answer(&self, model: &str, body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError> {
        answer::answer(Family::of(model).origin(), body).map(Ok)
    }

    fn decoder(&self, model: &str, limit: usize) -> Box<dyn Decoder> {
        Box::new(stream::Stream::new(Family::of(model).origin(), limit))
    }

    fn failure(
        &self,
        status: u16,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Failure {
        answer::failure(status, header, body)
    }

    fn count_tokens(
        &self,
        asked: &Conversation,
        target: Target<'_>,
    ) -> Result<Option<Rendered>, Unsupported> {
        request::count(asked, target).map(Some)
    }

    fn counted(&self, body: &[u8]) -> Result<u64, DecodeError> {
        #[derive(Deserialize)]
        struct Counted {
            #[serde(rename = "inputTokens")]
            tokens: u64,
        }
        let counted: Result<Counted, _> = serde_json::from_slice(body);
        counted
            .map(|counted| counted.tokens)
            .map_err(|_| DecodeError::Malformed("a count of tokens"))
    }

    fn embeddings(&self, asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
        embeddings::request(asked, target)
    }

    fn embedded(
        &self,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<Vectors, DecodeError> {
        embeddings::answer(header, body)
    }
}

/// The path of an operation on a model.
fn path(model: &str, operation: &str) -> Result<String, Unsupported> {
    // Dots are not encoded: `.` and `..` would be resolved by whoever reads the path, and name
    // another operation.
    if model.is_empty() || model == "." || model == ".." {
        return Err(Unsupported::new("model", "This is not the id of a model."));
    }
    let mut path = String::from("/model/");
    percent::encode(model, &mut path);
    path.push('/');
    path.push_str(operation);
    Ok(path)
}

/// Whose fields a model takes. What it can do is in its capabilities; this is only how its
/// maker spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Claude,
    Nova,
    GptOss,
    DeepSeek,
    /// Any other, and inference profiles, whose ids hide the model.
    Other,
}

impl Family {
    fn of(model: &str) -> Self {
        const NAMES: [(&str, Family); 4] = [
            ("claude", Family::Claude),
            ("amazon.nova", Family::Nova),
            ("gpt-oss", Family::GptOss),
            ("deepseek", Family::DeepSeek),
        ];
        let found = NAMES.iter().find(|(name, _)| model.contains(name));
        found.map_or(Self::Other, |(_, family)| *family)
    }

    /// Whose signatures its models write, and can read.
    const fn origin(self) -> Origin {
        match self {
            Self::Claude => Origin::Claude,
            Self::Nova => Origin::Nova,
            Self::GptOss | Self::DeepSeek | Self::Other => Origin::Bedrock,
        }
    }
}

/// The first 16 hexadecimal digits of a text's SHA-256: a short name that is always the same.
fn short_hash(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod client;
#[cfg(test)]
mod tests;
