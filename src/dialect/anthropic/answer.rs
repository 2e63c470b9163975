//! A whole answer, and what it has in common with a stream: usage, stop
//! reasons, citations.

use super::stream::Stream;
use super::{blocks, failure};
use crate::chat::{Answer, DecodeError, Failure, Finish, Native, Origin, Sealed, Usage, gather};
use crate::dialect::openai_chat::shape::whole;
use crate::wire::json;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The top level of an answer.
#[derive(Debug, Deserialize)]
struct Reply<'a> {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(borrow, default)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(flatten)]
    stop: Stop,
    #[serde(default)]
    error: Option<failure::Error>,
}

/// Why the model stopped, in a whole answer and in a stream's `message_delta`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Stop {
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
    #[serde(default)]
    stop_details: Option<StopDetails>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct StopDetails {
    #[serde(default)]
    explanation: Option<String>,
}

impl Stop {
    pub const fn is_known(&self) -> bool {
        self.stop_reason.is_some()
    }

    /// `calls`: the model called tools.
    pub fn finish(&self, calls: bool) -> Finish {
        let told = match self.stop_reason.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded" | "compaction") => Finish::Length,
            Some("refusal") => Finish::ContentFilter,
            Some("tool_use") => Finish::ToolCalls,
            _ => Finish::Stop,
        };
        told.settled(calls)
    }

    pub fn native(&self) -> Option<Native> {
        let native = Native::of(self.stop_reason.as_deref()?)?;
        Some(Native {
            matched: self.stop_sequence.clone(),
            ..native
        })
    }

    /// What is said in place of an answer.
    pub fn refusal(&self) -> Option<String> {
        let refused = self.stop_reason.as_deref() == Some("refusal");
        let details = self.stop_details.as_ref().filter(|_| refused)?;
        details.explanation.clone().filter(|text| !text.is_empty())
    }
}

/// Anthropic's `usage`. Each number is optional: a stream repeats only some.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Counts {
    #[serde(default, deserialize_with = "number")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    output_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_details: Option<Details>,
    #[serde(default)]
    cache_creation: Option<Creation>,
    #[serde(default)]
    service_tier: Option<String>,
}

/// How long what was written to the cache is kept.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Creation {
    #[serde(default, deserialize_with = "number")]
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Details {
    #[serde(default, deserialize_with = "number")]
    thinking_tokens: Option<u64>,
}

impl Counts {
    /// Takes over what newer counts say: they replace, they do not add.
    pub fn update(&mut self, newer: Self) {
        let Self {
            input_tokens,
            cache_creation_input_tokens,
            cache_read_input_tokens,
            output_tokens,
            output_tokens_details,
            cache_creation,
            service_tier,
        } = newer;
        self.cache_creation = cache_creation.or(self.cache_creation);
        self.input_tokens = input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = output_tokens.or(self.output_tokens);
        self.output_tokens_details = output_tokens_details.or(self.output_tokens_details);
        self.service_tier = service_tier.or_else(|| self.service_tier.take());
    }

    /// In OpenAI's meaning, where the prompt holds what caches did.
    pub fn usage(&self) -> Usage {
        let cached = self.cache_read_input_tokens.unwrap_or_default();
        let cache_write = self.cache_creation_input_tokens.unwrap_or_default();
        let fresh = self.input_tokens.unwrap_or_default();
        let details = self.output_tokens_details.unwrap_or_default();
        let kept = self.cache_creation.unwrap_or_default();
        Usage {
            prompt: fresh.saturating_add(cached).saturating_add(cache_write),
            completion: self.output_tokens.unwrap_or_default(),
            cached,
            cache_write,
            cache_write_1h: kept.ephemeral_1h_input_tokens.unwrap_or_default(),
            reasoning: details.thinking_tokens.unwrap_or_default(),
            ..Usage::default()
        }
    }
}

/// Reads a count, also one that is written as a float. What is there and cannot
/// be one is 0, so that no earlier count stands for it: nobody believes in 0
/// tokens of what was said.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Null => None,
        value => Some(whole(&value).unwrap_or_default()),
    })
}

/// A content block's type, and nothing else of it: what a block of a type that
/// is not known here holds is nobody's business.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Kind {
    #[serde(rename = "type", default)]
    pub kind: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct TextBlock {
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub citations: Option<Vec<Value>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ThinkingBlock {
    #[serde(default)]
    pub thinking: Option<String>,
    #[serde(default)]
    pub signature: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RedactedBlock {
    #[serde(default)]
    pub data: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CallBlock<'a> {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
}

impl CallBlock<'_> {
    /// The provider's id of the call, or one made of the answer's.
    pub fn id(&mut self, answer: Option<&str>, index: usize) -> String {
        let given = self.id.take().filter(|id| !id.is_empty());
        given.unwrap_or_else(|| blocks::minted(&format!("{}:{index}", answer.unwrap_or_default())))
    }

    /// The input as compact JSON; empty if there is none.
    pub fn arguments(&self) -> String {
        let input = self
            .input
            .map(RawValue::get)
            .filter(|input| *input != "null");
        input.map(compact).unwrap_or_default()
    }
}

/// Parses one of the blocks above.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    what: &'static str,
) -> Result<T, DecodeError> {
    serde_json::from_str(raw.get()).map_err(|_| DecodeError::Malformed(what))
}

pub(super) fn read(body: &[u8]) -> Result<Result<Answer, Failure>, DecodeError> {
    let body = json::mended(body);
    let reply: Reply<'_> =
        serde_json::from_slice(&body).map_err(|_| DecodeError::Malformed("message"))?;
    if let Some(error) = reply.error {
        return Ok(Err(error.in_band()));
    }
    if reply.content.is_none() && reply.kind.as_deref() != Some("message") {
        return Err(DecodeError::Malformed("message"));
    }
    let tier = reply
        .usage
        .as_ref()
        .and_then(|usage| usage.service_tier.as_deref());
    let service_tier =
        tier.map(|tier| if tier == "standard" { "default" } else { tier }.to_owned());
    let blocks = reply.content.unwrap_or_default();
    let events = Stream::whole(reply.id.clone(), &blocks, reply.stop)?;
    Ok(Ok(Answer {
        id: reply.id,
        model: reply.model,
        service_tier,
        usage: reply.usage.map(|counts| counts.usage()),
        ..gather(events)
    }))
}

/// What Claude wants back as it is.
pub(super) fn sealed(text: String) -> Option<Sealed> {
    (!text.is_empty()).then(|| Sealed::new(Origin::Claude, text))
}

/// Citations of a text from `start` to `end`, in characters of the whole answer.
/// A web page is OpenAI's `url_citation`; what OpenAI does not cite keeps
/// Anthropic's type and fields, in the same form.
pub(super) fn annotations(
    citations: Vec<Value>,
    start: usize,
    end: usize,
) -> impl Iterator<Item = Value> {
    citations.into_iter().filter_map(move |citation| {
        let Value::Object(mut cited) = citation else {
            return None;
        };
        let Some(Value::String(mut kind)) = cited.remove("type") else {
            return None;
        };
        if kind == "web_search_result_location" {
            kind = "url_citation".to_owned();
            cited.retain(|name, _| name == "url" || name == "title");
        }
        cited.insert("start_index".to_owned(), start.into());
        cited.insert("end_index".to_owned(), end.into());
        let mut annotation = Map::new();
        annotation.insert("type".to_owned(), Value::from(kind.as_str()));
        annotation.insert(kind, Value::Object(cited));
        Some(Value::Object(annotation))
    })
}

/// JSON text without the white space between its tokens. Numbers and the order
/// of keys stay as they are, which a parse and a print would not promise.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut quoted = false;
    let mut escaped = false;
    for c in json.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        out.push(c);
    }
    out
}

pub(super) fn counted(body: &[u8]) -> Result<u64, DecodeError> {
    let counts: Counts =
        serde_json::from_slice(body).map_err(|_| DecodeError::Malformed("token count"))?;
    counts
        .input_tokens
        .ok_or(DecodeError::Malformed("token count"))
}
