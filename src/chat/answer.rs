//! An answer in no provider's form: whole ([`Answer`]) or as it comes
//! ([`Event`]). A decoder per provider format makes events, an encoder per
//! client format reads them.

use super::{Sealed, Source, Span};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

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
    /// What a provider of the client's own format tells besides, at its places:
    /// `{"citations":[...],"usage":{"cost":1}}`.
    pub other: Map<String, Value>,
}

/// One of an answer's choices. [`Choice::items`] tells it in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    pub thoughts: Vec<super::Thought>,
    /// `None` when the model said nothing but calls.
    pub text: Option<String>,
    pub refusal: Option<String>,
    /// What the model made that is no text.
    pub media: Vec<Medium>,
    pub calls: Vec<super::ToolCall>,
    /// OpenAI's `annotations`, with `start_index` and `end_index` in characters
    /// of the whole text. What OpenAI does not cite has Anthropic's type and
    /// fields, or is a `document_citation` with the provider's own.
    pub annotations: Vec<Value>,
    /// OpenAI's `logprobs`.
    pub logprobs: Option<Value>,
    pub finish: Option<Finish>,
    pub native: Option<Native>,
    /// What comes next, where that is not thoughts, text, media, calls.
    pub order: Vec<Span>,
}

/// An image or a sound that a model made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    Image(Source),
    Audio(Audio),
}

/// A sound, or a piece of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audio {
    pub id: Option<String>,
    /// Base64.
    pub data: String,
    /// OpenAI's name of the format (`wav`, `mp3`, `pcm16`), or what stands
    /// behind `audio/` in the media type.
    pub format: Option<String>,
    pub transcript: String,
    /// Unix seconds, until when the provider knows the id.
    pub expires_at: Option<u64>,
}

impl Audio {
    /// Adds the next piece of the same sound.
    pub fn append(&mut self, piece: Self) {
        self.id = self.id.take().or(piece.id);
        self.format = self.format.take().or(piece.format);
        self.expires_at = self.expires_at.or(piece.expires_at);
        self.transcript.push_str(&piece.transcript);
        // Base64 that ends in padding is decoded to be gone on with.
        if self.data.ends_with('=')
            && let (Ok(mut bytes), Ok(more)) =
                (STANDARD.decode(&self.data), STANDARD.decode(&piece.data))
        {
            bytes.extend(more);
            self.data = STANDARD.encode(bytes);
            return;
        }
        self.data.push_str(&piece.data);
    }
}

/// How a provider says why its model stopped, where it says more than
/// [`Finish`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Native {
    /// Its own word: `pause_turn`, `MALFORMED_FUNCTION_CALL`.
    pub reason: String,
    /// The stop text that the model wrote, if the provider tells it.
    pub matched: Option<String>,
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

    /// The finish of a turn: one with calls is `tool_calls`, whatever the
    /// provider says (Gemini always says that it stopped), and one without is
    /// none. A turn that was cut short or filtered stays so: its last call may
    /// be half a call.
    pub const fn settled(self, calls: bool) -> Self {
        match self {
            Self::Stop if calls => Self::ToolCalls,
            Self::ToolCalls if !calls => Self::Stop,
            other => other,
        }
    }
}

impl Native {
    /// The provider's word, if it says more than OpenAI's.
    pub fn of(word: &str) -> Option<Self> {
        const PLAIN: [&str; 14] = [
            "complete",
            "content_filter",
            "content_filtered",
            "end_turn",
            "eos",
            "finish_reason_unspecified",
            "function_call",
            "length",
            "max_tokens",
            "refusal",
            "stop",
            "tool_call",
            "tool_calls",
            "tool_use",
        ];
        let plain = PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(word));
        (!plain && !word.is_empty()).then(|| Self {
            reason: word.to_owned(),
            matched: None,
        })
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
    /// Of `cache_write`: to be kept for an hour, not five minutes.
    pub cache_write_1h: u64,
    /// Of `completion`.
    pub reasoning: u64,
    /// Of `prompt`.
    pub audio_in: u64,
    /// Of `completion`.
    pub audio_out: u64,
    /// Images made, where they are not told in tokens.
    pub images: u64,
}

impl Usage {
    pub const fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    /// Of two answers together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
            cached: self.cached.saturating_add(other.cached),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            audio_in: self.audio_in.saturating_add(other.audio_in),
            audio_out: self.audio_out.saturating_add(other.audio_out),
            images: self.images.saturating_add(other.images),
        }
    }

    /// The same with estimates where nothing was told: of the prompt, and of a
    /// completion that has at least so many tokens.
    #[must_use]
    pub fn or_estimated(self, prompt: impl FnOnce() -> u64, completion: u64) -> Self {
        Self {
            prompt: match self.prompt {
                0 => prompt(),
                told => told,
            },
            completion: self.completion.max(completion),
            ..self
        }
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
    /// A whole image that the model made.
    Image {
        choice: u32,
        image: Source,
    },
    /// A piece of a sound that the model made.
    Audio {
        choice: u32,
        audio: Audio,
    },
    /// Sources of the text so far. Text that follows is another one.
    Annotations {
        choice: u32,
        annotations: Vec<Value>,
    },
    /// OpenAI's `logprobs` of the tokens just sent.
    Logprobs {
        choice: u32,
        logprobs: Value,
    },
    /// More about the finish that follows.
    Native {
        choice: u32,
        native: Native,
    },
    /// Nothing follows for this choice.
    Finish {
        choice: u32,
        finish: Finish,
    },
    /// The usage so far; the last one counts.
    Usage(Usage),
    /// As [`Answer::other`]; the later adds to the earlier.
    Other(Map<String, Value>),
    /// A sign of life.
    Ping,
    /// The provider's own terminal event: the stream is whole.
    End,
    /// The provider reports a failure in band; nothing follows.
    Failed(Failure),
}

impl Event {
    /// The choice that the event is of; `None` if it is of the whole answer.
    pub const fn choice(&self) -> Option<u32> {
        match self {
            Self::Text { choice, .. }
            | Self::Refusal { choice, .. }
            | Self::Thought { choice, .. }
            | Self::Signature { choice, .. }
            | Self::RedactedThought { choice, .. }
            | Self::CallStart { choice, .. }
            | Self::CallArguments { choice, .. }
            | Self::Image { choice, .. }
            | Self::Audio { choice, .. }
            | Self::Annotations { choice, .. }
            | Self::Logprobs { choice, .. }
            | Self::Native { choice, .. }
            | Self::Finish { choice, .. } => Some(*choice),
            Self::Start { .. }
            | Self::Usage(_)
            | Self::Other(_)
            | Self::Ping
            | Self::End
            | Self::Failed(_) => None,
        }
    }
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
