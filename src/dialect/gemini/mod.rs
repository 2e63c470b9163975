//! Google's `generateContent`, in its two flavours: AI Studio and Vertex AI.
//!
//! They differ in where a model lives, in what a URL in a message may be, in
//! their embeddings, and in nothing else. The credential is not written here;
//! [`crate::credential::google`] makes Vertex's.
//!
//! What a base URL ends with: AI Studio `/v1beta` (or `/v1`), Vertex `/v1`.
//!
//! Options (`[providers.NAME.options]`), all of them optional:
//!
//! | name | flavour | meaning |
//! | --- | --- | --- |
//! | `project`, `location` | Vertex | where models live; without a project the path is that of express mode, without a location `global` |
//! | `safety_settings` | both | JSON text of a list: `[{"category":"...","threshold":"OFF"}]` |
//! | `labels` | Vertex | JSON text of an object of strings, sent with every request |
//! | `embedding_method` | Vertex | `predict` (default) or `embedContent`, for models that know only that |
//!
//! Not here: explicit caches (a resource of their own), streamed arguments of
//! calls (off unless asked for, and never asked for).

mod answer;
mod citations;
mod contents;
mod embeddings;
mod failure;
mod lenient;
mod pieces;
mod request;
mod stream;
mod tools;

#[cfg(test)]
mod tests;

use super::option::{Form, Opt};
use super::{Dialect, Embeddings, Rendered, Target, Vectors};
use crate::chat::{Answer, Conversation, DecodeError, Decoder, Failure, Losses, Unsupported};
use crate::wire::percent;

/// Whose `generateContent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    AiStudio,
    Vertex,
}

/// The dialect of Gemini models.
#[derive(Debug, Clone, Copy)]
pub struct Gemini {
    flavour: Flavour,
}

impl Gemini {
    pub const fn new(flavour: Flavour) -> Self {
        Self { flavour }
    }

    fn path(self, model: &str, method: &str, target: Target<'_>) -> String {
        let model = segment(model.strip_prefix("models/").unwrap_or(model));
        if self.flavour == Flavour::AiStudio {
            return format!("/models/{model}:{method}");
        }
        match target.options.get("project") {
            None => format!("/publishers/google/models/{model}:{method}"),
            Some(project) => {
                let project = segment(project);
                let location = target.options.get("location").map_or("global", |l| l);
                let location = segment(location);
                format!(
                    "/projects/{project}/locations/{location}/publishers/google/models/{model}:{method}"
                )
            }
        }
    }
}

const SAFETY: Opt = Opt::new(
    "safety_settings",
    Form::Array,
    "sent with every request: [{\"category\":\"...\",\"threshold\":\"OFF\"}]",
);

const VERTEX: &[Opt] = &[
    SAFETY,
    Opt::new(
        "project",
        Form::Text,
        "where the models are; without one, express mode",
    ),
    Opt::new("location", Form::Text, "default global"),
    Opt::new(
        "labels",
        Form::Object,
        "an object of strings, sent with every request",
    ),
    Opt::new(
        "embedding_method",
        Form::Word(&["predict", "embedContent"]),
        "default predict",
    ),
];

impl Dialect for Gemini {
    fn options(&self) -> &'static [Opt] {
        match self.flavour {
            Flavour::AiStudio => &[SAFETY],
            Flavour::Vertex => VERTEX,
        }
    }

    fn chat(&self, asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
        let mut losses = Losses::new(target.strict);
        losses.strays(asked)?;
        let body = request::body(self.flavour, asked, target, &mut losses)?;
        let body = request::bytes(&body)?;
        // Without `alt=sse` a stream is one JSON array.
        let method = if asked.stream {
            "streamGenerateContent?alt=sse"
        } else {
            "generateContent"
        };
        Ok(Rendered {
            path: self.path(&asked.model, method, target),
            body,
            headers: Vec::new(),
            dropped: losses.dropped,
        })
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
        failure::read(status, header, body)
    }

    fn count_tokens(
        &self,
        asked: &Conversation,
        target: Target<'_>,
    ) -> Result<Option<Rendered>, Unsupported> {
        let mut losses = Losses::new(target.strict);
        let body = request::body(self.flavour, asked, target, &mut losses)?;
        let body = match self.flavour {
            Flavour::AiStudio => request::bytes(&body.counted_whole(&asked.model))?,
            Flavour::Vertex => request::bytes(&body.counted_parts())?,
        };
        Ok(Some(Rendered {
            path: self.path(&asked.model, "countTokens", target),
            body,
            headers: Vec::new(),
            dropped: losses.dropped,
        }))
    }

    fn counted(&self, body: &[u8]) -> Result<u64, DecodeError> {
        answer::counted(body)
    }

    fn embeddings(&self, asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
        let rendered = embeddings::request(self.flavour, asked, target)?;
        Ok(Rendered {
            path: self.path(&asked.model, rendered.method, target),
            body: rendered.body,
            headers: Vec::new(),
            dropped: rendered.dropped,
        })
    }

    fn embedded(
        &self,
        _header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<Vectors, DecodeError> {
        embeddings::read(body)
    }
}

/// Encodes a name so that it is one segment of a path, whatever it holds.
fn segment(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    percent::encode_but(name, b"@", &mut encoded);
    encoded
}
