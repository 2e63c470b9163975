//! Reading of a request body what routing needs: one strict pass, no copy.
//!
//! The body is forwarded as it was read, with the model spliced in, so
//! everything that two readers could read differently is refused here; see
//! [`crate::wire::json`]. Known fields must have their documented type;
//! unknown fields are nobody's business and pass.

use super::operation::{Media, Operation, Speech};
use super::rewrite::Places;
use crate::wire::json::{self, Document, Kind, Known, Limits, Member, ScanError, Span};
use crate::wire::multipart;
use bytes::Bytes;
use std::borrow::Cow;

/// What was read of a body. Holds positions, and the few values that routing
/// looks at.
#[derive(Debug, Clone)]
pub struct Request {
    /// The model as the client named it.
    pub model: String,
    /// Where the model's value stands: a JSON string with its quotes, or a
    /// form part's content.
    pub(super) model_span: Span,
    pub(super) media: Media,
    pub stream: bool,
    /// The end user, as the client named them: `user`, `safety_identifier`, or
    /// Anthropic's `metadata.user_id`.
    pub user: Option<String>,
    /// How many answers the client wants, of all its prompts together.
    pub choices: u64,
    /// How many answers are generated for it, and paid for.
    pub generated: u64,
    /// The longest answer that the client wants, in tokens.
    pub max_output: Option<u64>,
    /// A stream is to tell its usage at its end (`stream_options`).
    pub include_usage: bool,
    /// The field that asks for more than a model's list price pays for: a faster
    /// tier, a certain region.
    pub surcharge: Option<&'static str>,
    pub(super) places: Places,
}

/// Why a body was refused, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    #[error("The request body is not acceptable JSON: {0}.")]
    Json(#[from] ScanError),
    #[error("The request body is not acceptable multipart/form-data: {0}.")]
    Multipart(String),
    #[error("Invalid type for '{param}': expected {expected}, but got {got} at byte {offset}.")]
    Type {
        param: &'static str,
        expected: &'static str,
        got: &'static str,
        offset: usize,
    },
    #[error("Missing required parameter: '{param}'.")]
    Missing { param: &'static str },
    #[error("Invalid value for '{param}': {reason}.")]
    Value {
        param: &'static str,
        reason: &'static str,
    },
}

impl Request {
    /// The body is JSON, not a form.
    pub fn is_json(&self) -> bool {
        self.media == Media::Json
    }
}

impl InspectError {
    /// The field at fault, if it is one.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Json(e) => e.path.as_deref(),
            Self::Multipart(_) => None,
            Self::Type { param, .. } | Self::Missing { param } | Self::Value { param, .. } => {
                Some(param)
            }
        }
    }
}

/// Longest model name that is looked up.
const MODEL_BYTES: usize = 256;

/// Reads a JSON or multipart body.
///
/// # Errors
/// When the body is not what its media type says, could be read in two ways,
/// names no model, or gives a known field another type than documented.
pub fn inspect(
    operation: Operation,
    media: Media,
    content_type: &str,
    body: &Bytes,
    depth: usize,
) -> Result<Request, InspectError> {
    match media {
        Media::Json => inspect_json(operation, body, depth),
        Media::Multipart => inspect_form(content_type, body),
    }
}

fn inspect_json(operation: Operation, body: &Bytes, depth: usize) -> Result<Request, InspectError> {
    let limits = Limits {
        depth,
        ..Limits::default()
    };
    let known = if operation.has_messages() {
        &CHAT
    } else {
        &OTHER
    };
    let document = json::scan(body, &limits, known)?;
    let mut found = Found::default();
    for member in document.members() {
        found.take(operation, body, member)?;
        found.places.end = member.value.end;
    }
    require(operation, &document, body)?;
    let model = found
        .model
        .ok_or(InspectError::Missing { param: "model" })?;
    let name = model
        .string(body)
        .ok_or(InspectError::Missing { param: "model" })?;
    let prompts = found.prompts.unwrap_or(1);
    let choices = found.choices.unwrap_or(1);
    let generated = choices.max(found.best_of.unwrap_or(0));
    Ok(Request {
        model: checked_model(name)?,
        model_span: model.value,
        media: Media::Json,
        stream: found.stream,
        user: found.user.or(found.identifier).or(found.user_id),
        choices: choices.saturating_mul(prompts),
        generated: generated.saturating_mul(prompts),
        max_output: found.max_output,
        include_usage: found.include_usage,
        surcharge: found.surcharge,
        places: found.places,
    })
}

fn checked_model(name: Cow<'_, str>) -> Result<String, InspectError> {
    let reason = match name.len() {
        0 => "it is empty",
        n if n > MODEL_BYTES => "it is longer than 256 bytes",
        _ => return Ok(name.into_owned()),
    };
    Err(InspectError::Value {
        param: "model",
        reason,
    })
}

fn require(operation: Operation, document: &Document, body: &[u8]) -> Result<(), InspectError> {
    let needed: &[&'static str] = match operation {
        Operation::ChatCompletions => &["messages"],
        Operation::Completions => &["prompt"],
        Operation::Messages | Operation::CountTokens => &["messages"],
        Operation::Embeddings | Operation::Moderations => &["input"],
        _ => &[],
    };
    match needed
        .iter()
        .find(|name| document.member(body, name).is_none())
    {
        Some(param) => Err(InspectError::Missing { param }),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Found<'a> {
    model: Option<&'a Member>,
    stream: bool,
    user: Option<String>,
    /// `safety_identifier`.
    identifier: Option<String>,
    /// `metadata.user_id`.
    user_id: Option<String>,
    choices: Option<u64>,
    /// Of so many answers the client gets the best.
    best_of: Option<u64>,
    prompts: Option<u64>,
    max_output: Option<u64>,
    include_usage: bool,
    surcharge: Option<&'static str>,
    places: Places,
}

impl<'a> Found<'a> {
    fn take(
        &mut self,
        operation: Operation,
        body: &[u8],
        member: &'a Member,
    ) -> Result<(), InspectError> {
        let Some(field) = FIELDS.iter().find(|f| member.is_named(body, f.name)) else {
            return Ok(());
        };
        if !field.form.admits(member, body) && field.applies(operation) {
            return Err(InspectError::Type {
                param: field.name,
                expected: field.form.noun(),
                got: member.kind.noun(),
                offset: member.value.start,
            });
        }
        match field.name {
            "model" => self.model = Some(member),
            "stream" => self.stream = member.kind == Kind::True,
            "n" => self.choices = member.u64(body),
            "best_of" => self.best_of = member.u64(body),
            "prompt" if operation == Operation::Completions && member.kind == Kind::Array => {
                self.prompts = Some(prompts(member.value.of(body)));
            }
            "user" => self.user = named(member.string(body)),
            "safety_identifier" => self.identifier = named(member.string(body)),
            "metadata" if operation.speech() == Speech::Anthropic => {
                self.user_id = user_id(member.value.of(body));
            }
            "service_tier" | "speed" | "inference_geo" => {
                let asked = member.string(body).unwrap_or_default();
                let is_usual = USUAL.iter().any(|usual| usual.eq_ignore_ascii_case(&asked));
                if !is_usual {
                    self.surcharge = Some(field.name);
                }
            }
            "stream_options" => {
                self.places.stream_options = Some(member.value);
                self.include_usage = includes_usage(member.value.of(body));
            }
            "max_tokens" | "max_completion_tokens" | "max_output_tokens"
                if limits_output(operation, field.name) =>
            {
                self.places.limits.push(member.value);
                // Of two the larger counts: which one a provider heeds is its own.
                self.max_output = self.max_output.max(member.u64(body));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Tiers and speeds at the list price or below it. Who names a region pays for
/// that (OpenAI's and Anthropic's price lists, 2026).
const USUAL: [&str; 8] = [
    "",
    "auto",
    "default",
    "standard",
    "standard_only",
    "flex",
    "batch",
    "global",
];

/// An empty name is none.
fn named(name: Option<Cow<'_, str>>) -> Option<String> {
    name.filter(|name| !name.is_empty()).map(Cow::into_owned)
}

fn user_id(metadata: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        user_id: Option<Cow<'a, str>>,
    }
    let read: Metadata<'_> = serde_json::from_slice(metadata).ok()?;
    named(read.user_id)
}

/// How many prompts an array of Completions holds: texts, or lists of tokens.
/// One of numbers is a single prompt.
fn prompts(array: &[u8]) -> u64 {
    let inner = array.get(1..).unwrap_or_default();
    let is_single = memchr::memchr2(b'"', b'[', inner).is_none();
    match serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(array) {
        Ok(all) if !is_single => all.len() as u64,
        _ => 1,
    }
}

/// Whether this is a field that limits the answers of an operation: a provider
/// may pass over one of another API, so that it bounds nothing.
fn limits_output(operation: Operation, field: &str) -> bool {
    match operation.speech() {
        Speech::Responses => field == "max_output_tokens",
        Speech::Anthropic => field == "max_tokens",
        Speech::OpenAi if operation.has_messages() => field != "max_output_tokens",
        Speech::OpenAi => field == "max_tokens",
    }
}

fn includes_usage(options: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Options {
        include_usage: Option<bool>,
    }
    let read = serde_json::from_slice::<Option<Options>>(options);
    read.ok().flatten().and_then(|read| read.include_usage) == Some(true)
}

fn inspect_form(content_type: &str, body: &Bytes) -> Result<Request, InspectError> {
    let refuse = |e: multipart::FormError| InspectError::Multipart(e.to_string());
    let boundary = multipart::boundary(content_type).map_err(refuse)?;
    let parts = multipart::parts(body, &boundary).map_err(refuse)?;
    // A reader that does not mind case would take another part than we do.
    let twin = |p: &&multipart::Part| {
        ["model", "stream", "user", "n"]
            .iter()
            .any(|known| p.name != *known && p.name.eq_ignore_ascii_case(known))
    };
    if parts.iter().any(|p| twin(&p)) {
        let text = "a part's name differs from a known one only in case";
        return Err(InspectError::Multipart(text.to_owned()));
    }
    let text = |param: &'static str| -> Result<Option<(&str, Span)>, InspectError> {
        let mut named = parts.iter().filter(|p| p.name == param);
        let Some(part) = named.next() else {
            return Ok(None);
        };
        if named.next().is_some() || part.is_file {
            let reason = "it is a file, or given twice";
            return Err(InspectError::Value { param, reason });
        }
        let text = std::str::from_utf8(part.content.of(body)).map_err(|_| InspectError::Value {
            param,
            reason: "it is not UTF-8",
        })?;
        Ok(Some((text, part.content)))
    };
    let (model, model_span) = text("model")?.ok_or(InspectError::Missing { param: "model" })?;
    let choices = match text("n")? {
        None => 1,
        Some((number, _)) => number.parse().map_err(|_| InspectError::Value {
            param: "n",
            reason: "it is no whole number",
        })?,
    };
    Ok(Request {
        model: checked_model(Cow::Borrowed(model))?,
        model_span,
        media: Media::Multipart,
        stream: text("stream")?.is_some_and(|(t, _)| t == "true"),
        user: named(text("user")?.map(|(t, _)| Cow::Borrowed(t))),
        choices,
        generated: choices,
        max_output: None,
        include_usage: false,
        surcharge: None,
        places: Places::default(),
    })
}

/// The type of a known field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    String,
    OptionalString,
    OptionalBool,
    OptionalNumber,
    /// An integer that is not negative.
    OptionalCount,
    Array,
    OptionalArray,
    OptionalObject,
    Any,
}

impl Form {
    fn admits(self, member: &Member, body: &[u8]) -> bool {
        let kind = member.kind;
        match self {
            Self::String => kind == Kind::String,
            Self::OptionalString => matches!(kind, Kind::String | Kind::Null),
            Self::OptionalBool => matches!(kind, Kind::True | Kind::False | Kind::Null),
            Self::OptionalNumber => matches!(kind, Kind::Number | Kind::Null),
            Self::OptionalCount => kind == Kind::Null || member.u64(body).is_some(),
            Self::Array => kind == Kind::Array,
            Self::OptionalArray => matches!(kind, Kind::Array | Kind::Null),
            Self::OptionalObject => matches!(kind, Kind::Object | Kind::Null),
            Self::Any => true,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::String | Self::OptionalString => "a string",
            Self::OptionalBool => "a boolean",
            Self::OptionalNumber => "a number",
            Self::OptionalCount => "an integer of at least 0",
            Self::Array | Self::OptionalArray => "an array",
            Self::OptionalObject => "an object",
            Self::Any => "any value",
        }
    }
}

struct Field {
    name: &'static str,
    form: Form,
    /// Only chat completions document this type for the name.
    chat_only: bool,
}

impl Field {
    fn applies(&self, operation: Operation) -> bool {
        !self.chat_only || operation.has_messages()
    }
}

const fn all(name: &'static str, form: Form) -> Field {
    Field {
        name,
        form,
        chat_only: false,
    }
}

const fn chat(name: &'static str, form: Form) -> Field {
    Field {
        name,
        form,
        chat_only: true,
    }
}

/// Top-level fields whose type is documented, the frequent ones first (OpenAI's
/// API reference, 2026). Where compatible providers widened a type, the wider
/// one stands here: `logprobs` is also an integer, `stop` has three forms.
const FIELDS: [Field; 39] = [
    all("model", Form::String),
    chat("messages", Form::Array),
    all("stream", Form::OptionalBool),
    all("max_tokens", Form::OptionalCount),
    chat("max_completion_tokens", Form::OptionalCount),
    all("max_output_tokens", Form::OptionalCount),
    all("temperature", Form::OptionalNumber),
    all("user", Form::OptionalString),
    chat("tools", Form::OptionalArray),
    chat("tool_choice", Form::Any),
    all("stream_options", Form::OptionalObject),
    all("top_p", Form::OptionalNumber),
    all("n", Form::OptionalCount),
    all("best_of", Form::OptionalCount),
    all("stop", Form::Any),
    all("seed", Form::OptionalNumber),
    chat("response_format", Form::OptionalObject),
    chat("reasoning_effort", Form::OptionalString),
    chat("parallel_tool_calls", Form::OptionalBool),
    all("frequency_penalty", Form::OptionalNumber),
    all("presence_penalty", Form::OptionalNumber),
    all("logit_bias", Form::OptionalObject),
    all("logprobs", Form::Any),
    chat("top_logprobs", Form::OptionalCount),
    all("metadata", Form::OptionalObject),
    chat("store", Form::OptionalBool),
    all("service_tier", Form::OptionalString),
    all("speed", Form::Any),
    all("inference_geo", Form::Any),
    all("safety_identifier", Form::OptionalString),
    all("prompt_cache_key", Form::OptionalString),
    chat("verbosity", Form::OptionalString),
    chat("modalities", Form::OptionalArray),
    chat("functions", Form::OptionalArray),
    chat("function_call", Form::Any),
    all("input", Form::Any),
    all("prompt", Form::Any),
    all("dimensions", Form::OptionalCount),
    all("encoding_format", Form::OptionalString),
];

/// The names of [`FIELDS`], for the scanner's search for case twins.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const TOP: [&str; FIELDS.len()] = {
    let mut names = [""; FIELDS.len()];
    let mut i = 0;
    while i < FIELDS.len() {
        names[i] = FIELDS[i].name;
        i += 1;
    }
    names
};

const MESSAGE: [&str; 9] = [
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "refusal",
    "function_call",
    "audio",
    "reasoning_content",
];

const CHAT: Known<'static> = Known {
    top: &TOP,
    nested: &[("messages", &MESSAGE)],
};
const OTHER: Known<'static> = Known {
    top: &TOP,
    nested: &[],
};

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
