//! An answer in no provider's form: whole ([`Answer`]) or as it comes
//! ([`Event`]). A decoder per provider format makes events, an encoder per
//! client format reads them.

use super::Sealed;
use serde_json::Value;

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The provider's id of it.
    pub id: Option<String>,
    /// What the provider says the model was.
    pub model: Option<String>,
    /// Unix seconds.
    pub created: Option<u64>,
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    pub service_tier: Option<String>,
}

/// One of an answer's choices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    pub thoughts: Vec<super::Thought>,
    /// `None` when the model said nothing but calls.
    pub text: Option<String>,
    pub refusal: Option<String>,
    pub calls: Vec<super::ToolCall>,
    /// OpenAI's `annotations`.
    pub annotations: Vec<Value>,
    /// OpenAI's `logprobs`.
    pub logprobs: Option<Value>,
    pub finish: Option<Finish>,
}

/// Why a model stopped; OpenAI's scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

impl Finish {
    /// OpenAI's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// Tokens, in OpenAI's meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// With what was read from and written to a cache.
    pub prompt: u64,
    /// With thinking.
    pub completion: u64,
    /// Of `prompt`: read from a cache.
    pub cached: u64,
    /// Of `prompt`: written to a cache.
    pub cache_write: u64,
    /// Of `completion`.
    pub reasoning: u64,
    /// Of `prompt`.
    pub audio_in: u64,
    /// Of `completion`.
    pub audio_out: u64,
}

impl Usage {
    pub const fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// One thing that happens in a stream. `choice` counts answers from 0, `call`
/// counts the tool calls of a choice from 0 in the order of their appearance.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First of all, once.
    Start {
        id: Option<String>,
        model: Option<String>,
    },
    Text {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    /// A piece of a thought.
    Thought {
        choice: u32,
        text: String,
    },
    /// Ends the running thought.
    Signature {
        choice: u32,
        signature: Sealed,
    },
    /// A whole thought that only its model can read.
    RedactedThought {
        choice: u32,
        data: Sealed,
    },
    CallStart {
        choice: u32,
        call: u32,
        id: String,
        name: String,
        signature: Option<Sealed>,
    },
    /// A piece of a call's JSON text. A call without any is a call with `{}`:
    /// decoders say so before its end.
    CallArguments {
        choice: u32,
        call: u32,
        text: String,
    },
    Annotations {
        choice: u32,
        annotations: Vec<Value>,
    },
    /// OpenAI's `logprobs` of the tokens just sent.
    Logprobs {
        choice: u32,
        logprobs: Value,
    },
    /// Nothing follows for this choice.
    Finish {
        choice: u32,
        finish: Finish,
    },
    /// The usage so far; the last one counts.
    Usage(Usage),
    /// A sign of life.
    Ping,
    /// The provider's own terminal event: the stream is whole.
    End,
    /// The provider reports a failure in band; nothing follows.
    Failed(Failure),
}

/// What a provider says when it fails, in band or with a status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, or the one that it would have been.
    pub status: u16,
    pub message: Option<String>,
    /// OpenAI's code where there is one: `context_length_exceeded`,
    /// `content_filter`, `insufficient_quota`; else the provider's own.
    pub code: Option<String>,
    pub param: Option<String>,
    /// Seconds until another try.
    pub retry_after: Option<u64>,
}

/// Why bytes of a provider are no answer. Never holds any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not the JSON that was expected: {0}")]
    Malformed(&'static str),
    #[error("an event over the limit")]
    TooLong,
    #[error("the stream ended before its terminal event")]
    Truncated,
}

/// Provider bytes to events. However the bytes are cut into pieces, the events
/// are the same, but for how texts are cut.
pub trait Decoder: Send {
    /// Takes in the next bytes and appends what they tell.
    ///
    /// # Errors
    /// When the stream cannot be read on.
    fn push(&mut self, bytes: bytes::Bytes, out: &mut Vec<Event>) -> Result<(), DecodeError>;

    /// The provider has nothing more. Appends what is still to tell.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] unless the stream was whole.
    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), DecodeError>;
}

/// Events to client bytes.
pub trait Encoder: Send {
    /// Appends the client's form of an event; nothing for what the client's
    /// format has no word for, or what must wait.
    fn encode(&mut self, event: Event, out: &mut Vec<u8>);

    /// Appends an error as the stream's last event, without a success marker.
    fn fail(&mut self, error: &crate::error::GatewayError, out: &mut Vec<u8>);
}
