//! Anthropic's JSON as it is written, whole and streamed, and the words that
//! both share. The order of fields is Anthropic's own.

use crate::chat::{Finish, Origin, Sealed, Usage};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One event of a stream; an error looks the same outside of one.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame<'a> {
    MessageStart {
        message: Message<'a>,
    },
    ContentBlockStart {
        index: u32,
        content_block: Block<'a>,
    },
    ContentBlockDelta {
        index: u32,
        delta: Delta<'a>,
    },
    ContentBlockStop {
        index: u32,
    },
    MessageDelta {
        delta: Stop<'a>,
        usage: Spent,
    },
    MessageStop,
    Ping,
    Error {
        error: ErrorBody,
    },
}

impl Frame<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error { .. } => "error",
        }
    }

    /// Appends the event in the form of server-sent events.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(self.name().as_bytes());
        out.extend_from_slice(b"\ndata: ");
        out.append(&mut json(self));
        out.extend_from_slice(b"\n\n");
    }
}

/// JSON of a value whose maps have string keys, which cannot fail.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[derive(Serialize)]
pub struct ErrorBody {
    #[serde(rename = "type")]
    pub type_: &'static str,
    pub message: String,
}

/// An answer.
#[derive(Serialize)]
pub struct Message<'a> {
    pub id: String,
    #[serde(rename = "type")]
    type_: &'static str,
    role: &'static str,
    pub model: &'a str,
    pub content: Vec<Block<'a>>,
    #[serde(flatten)]
    pub stop: Stop<'a>,
    pub usage: Spent,
}

impl<'a> Message<'a> {
    /// A message with nothing in it.
    pub fn new(seed: &str, model: &'a str, usage: Spent) -> Self {
        Self {
            id: format!("msg_{seed}"),
            type_: "message",
            role: "assistant",
            model,
            content: Vec::new(),
            stop: Stop::default(),
            usage,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<Citation<'a>>,
    },
    Thinking {
        thinking: &'a str,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Input<'a>,
    },
}

/// The input of a call.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Input<'a> {
    Empty {},
    Object(&'a RawValue),
    Invalid {
        #[serde(rename = "INVALID_JSON")]
        text: &'a str,
    },
}

impl<'a> Input<'a> {
    pub fn of(arguments: &'a str) -> Self {
        if arguments.trim().is_empty() {
            return Self::Empty {};
        }
        match serde_json::from_str::<&RawValue>(arguments) {
            Ok(raw) if raw.get().starts_with('{') => Self::Object(raw),
            _ => Self::Invalid { text: arguments },
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the wire's own names")]
pub enum Delta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
    CitationsDelta { citation: Citation<'a> },
    ThinkingDelta { thinking: &'a str },
    SignatureDelta { signature: &'a str },
}

/// A source on the web.
#[derive(Serialize)]
pub struct Citation<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    /// Nobody but Anthropic tells it.
    cited_text: &'static str,
    encrypted_index: &'static str,
    title: Option<&'a str>,
    url: &'a str,
}

impl<'a> Citation<'a> {
    /// Reads one of OpenAI's annotations; `None` if it is not of the web.
    pub fn of(annotation: &'a Value) -> Option<Self> {
        let cited = annotation.get("url_citation")?;
        Some(Self {
            type_: "web_search_result_location",
            cited_text: "",
            encrypted_index: "",
            title: cited.get("title").and_then(Value::as_str),
            url: cited.get("url").and_then(Value::as_str)?,
        })
    }
}

/// Why a message ended.
#[derive(Default, Serialize)]
pub struct Stop<'a> {
    pub stop_reason: Option<&'static str>,
    stop_sequence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_details: Option<Refused<'a>>,
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    category: Option<&'static str>,
    explanation: &'a str,
}

impl<'a> Stop<'a> {
    /// `refusal`: what the model said in place of an answer, or empty.
    pub fn new(finish: Option<Finish>, calls: bool, refusal: &'a str) -> Self {
        let refused = !refusal.is_empty();
        let stop_reason = match finish {
            Some(Finish::Length) => "max_tokens",
            Some(Finish::ToolCalls) => "tool_use",
            Some(Finish::ContentFilter) => "refusal",
            Some(Finish::Stop) | None if calls => "tool_use",
            Some(Finish::Stop) | None if refused => "refusal",
            Some(Finish::Stop) | None => "end_turn",
        };
        let explained = refused && stop_reason == "refusal";
        Self {
            stop_reason: Some(stop_reason),
            stop_sequence: None,
            stop_details: explained.then_some(Refused {
                type_: "refusal",
                category: None,
                explanation: refusal,
            }),
        }
    }
}

/// Tokens in Anthropic's meaning: what a cache gave or took is not input.
#[derive(Default, Serialize)]
pub struct Spent {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputTokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct OutputTokens {
    thinking_tokens: u64,
}

impl Spent {
    /// Of a whole answer: all that is required is there.
    pub fn new(usage: &Usage) -> Self {
        let cache = usage.cached.saturating_add(usage.cache_write);
        let thinking_tokens = usage.reasoning;
        Self {
            input_tokens: Some(usage.prompt.saturating_sub(cache)),
            cache_creation_input_tokens: Some(usage.cache_write),
            cache_read_input_tokens: Some(usage.cached),
            output_tokens: usage.completion,
            output_tokens_details: (thinking_tokens > 0)
                .then_some(OutputTokens { thinking_tokens }),
            service_tier: None,
        }
    }

    /// Of a stream's end: what is unknown stays as the beginning told it.
    pub fn last(usage: Option<&Usage>) -> Self {
        usage.map(Self::new).unwrap_or_default()
    }
}

/// Marks a redacted thought that is a call's signature; what follows is the
/// length of the call's id, the id and the signature.
const SIGNED_CALL: &str = "tollgate:call:";

/// A call's signature as a thought that clients send back untouched.
pub fn sealed_signature(id: &str, signature: &Sealed) -> String {
    let signature = signature.carried(Origin::Gemini);
    format!("{SIGNED_CALL}{}:{id}:{signature}", id.len())
}

/// Id and signature of a sealed one.
pub fn call_signature(sealed: &str) -> Option<(String, Sealed)> {
    let (length, rest) = sealed.strip_prefix(SIGNED_CALL)?.split_once(':')?;
    let (id, signature) = rest.split_at_checked(length.parse().ok()?)?;
    let signature = Sealed::returned(signature.strip_prefix(':')?, Origin::Gemini);
    Some((id.to_owned(), signature))
}
