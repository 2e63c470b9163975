//! Anthropic's JSON as it is written, whole and streamed, and the words that
//! both share. The order of fields is Anthropic's own.

use super::citations::Citation;
use crate::chat::{Finish, Native, Origin, Sealed, Usage};
use serde::Serialize;
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
        /// Where the whole answer is an error.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
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
        citations: Vec<Citation>,
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
    CitationsDelta { citation: Citation },
    ThinkingDelta { thinking: &'a str },
    SignatureDelta { signature: &'a str },
}

/// Why a message ended.
#[derive(Default, Serialize)]
pub struct Stop<'a> {
    pub stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_details: Option<Refused<'a>>,
    /// What was left out, since Anthropic has no form for it; each kind once.
    /// An extension, which its clients read over.
    #[serde(rename = "tollgate_omitted", skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<&'static str>,
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
    pub fn new(
        finish: Option<Finish>,
        native: Option<&'a Native>,
        calls: bool,
        refusal: &'a str,
    ) -> Self {
        let refused = !refusal.is_empty();
        let finish = finish.unwrap_or(Finish::Stop).settled(calls);
        let stop_reason = match finish {
            Finish::Length => "max_tokens",
            Finish::ToolCalls => "tool_use",
            Finish::ContentFilter => "refusal",
            Finish::Stop if refused => "refusal",
            Finish::Stop => "end_turn",
        };
        let own = native.and_then(|native| own_reason(native, stop_reason));
        let explained = refused && stop_reason == "refusal";
        Self {
            stop_reason: Some(own.unwrap_or(stop_reason)),
            stop_sequence: native
                .and_then(|native| native.matched.as_deref())
                .filter(|_| own == Some("stop_sequence")),
            stop_details: explained.then_some(Refused {
                type_: "refusal",
                category: None,
                explanation: refusal,
            }),
            omitted: Vec::new(),
        }
    }
}

/// Anthropic's finer word for an end, where the provider meant just that.
fn own_reason(native: &Native, coarse: &str) -> Option<&'static str> {
    const FINER: [(&str, &str); 4] = [
        ("stop_sequence", "end_turn"),
        ("pause_turn", "end_turn"),
        ("model_context_window_exceeded", "max_tokens"),
        ("compaction", "max_tokens"),
    ];
    let said = |word: &str| native.reason.eq_ignore_ascii_case(word);
    let mut finer = FINER.into_iter();
    let found = finer.find(|(word, of)| said(word) && *of == coarse);
    let matched = native.matched.is_some() && coarse == "end_turn";
    found
        .map(|(word, _)| word)
        .or(matched.then_some("stop_sequence"))
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
