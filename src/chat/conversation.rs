//! A request for an answer of a model, in no provider's form: the hub of every
//! translation. One parser per client format makes it, one renderer per
//! provider format reads it.
//!
//! It keeps what was said, not how: texts are unescaped, tool arguments stay
//! the JSON text that a model wrote. Nothing in it is invented.

use super::{Sealed, Slot};
use serde_json::{Map, Value};

/// A whole request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// What the provider calls the model.
    pub model: String,
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// May several tools be called in one turn?
    pub parallel_tool_calls: Option<bool>,
    /// Longest answer in tokens, thinking included.
    pub max_tokens: Option<u64>,
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Number of answers.
    pub n: Option<u64>,
    pub logprobs: Option<Logprobs>,
    pub format: Format,
    pub reasoning: Option<Reasoning>,
    /// The end user.
    pub user: Option<String>,
    pub metadata: Map<String, Value>,
    pub service_tier: Option<String>,
    /// Fields without a form here, by the name that the client gave them.
    pub other: Map<String, Value>,
    /// The same below the top level.
    pub strays: Vec<super::Stray>,
    pub stream: bool,
    /// The client wants the usage chunk of a stream.
    pub include_usage: bool,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub seed: Option<i64>,
    /// OpenAI's map from token id to bias.
    pub logit_bias: Option<Value>,
}

/// Log probabilities of the answer's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logprobs {
    /// Alternatives per token.
    pub top: Option<u64>,
}

/// The form of the answer's text.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Format {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: Option<String>,
        description: Option<String>,
        schema: Value,
        strict: Option<bool>,
    },
}

/// How much a model thinks before it answers. The two ways to say it are kept
/// apart; a renderer takes the one that its model knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// OpenAI's scale: `none minimal low medium high xhigh max`.
    pub effort: Option<String>,
    /// Anthropic's and Gemini's older scale: tokens.
    pub budget: Option<u64>,
    /// The client wants to read the thoughts (or a summary of them).
    pub visible: Option<bool>,
}

/// One turn, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Instructions; OpenAI's `developer` is the same thing.
    System {
        parts: Vec<Part>,
    },
    User {
        parts: Vec<Part>,
        name: Option<String>,
    },
    Assistant(Turn),
    /// What a tool gave back.
    Tool {
        call_id: String,
        parts: Vec<Part>,
        is_error: bool,
    },
}

/// A model's turn. [`Turn::items`] tells it in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    pub thoughts: Vec<Thought>,
    /// Texts, refusals, and images that the model made.
    pub parts: Vec<Part>,
    pub calls: Vec<ToolCall>,
    pub name: Option<String>,
    /// Which of the three comes next, where that is not the usual order.
    pub order: Vec<Slot>,
}

/// A piece of content, and whether the prompt may be cached up to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub content: Content,
    pub cache: Option<CacheMark>,
}

impl Part {
    /// A text without a cache mark.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: Content::Text(text.into()),
            cache: None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text(String),
    /// `detail`: OpenAI's `auto low high`.
    Image {
        source: Source,
        detail: Option<String>,
    },
    /// Base64, and OpenAI's name of the format: `wav`, `mp3`.
    Audio {
        data: String,
        format: String,
    },
    /// A document.
    File {
        source: Source,
        name: Option<String>,
    },
    /// What a model said in place of an answer.
    Refusal(String),
}

/// Where bytes are. The gateway itself never fetches a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `data` is base64.
    Inline {
        media_type: String,
        data: String,
    },
    Url(String),
    /// A file that the client uploaded to the provider.
    Id(String),
}

impl Source {
    /// Reads a URL: `data:TYPE;base64,DATA` is inline, everything else stays a URL.
    pub fn from_url(url: &str) -> Self {
        let inline = url
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(','));
        match inline.and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data))) {
            Some((media_type, data)) => {
                let essence = media_type.split(';').next().unwrap_or_default();
                Self::Inline {
                    media_type: essence.to_ascii_lowercase(),
                    data: data.to_owned(),
                }
            }
            None => Self::Url(url.to_owned()),
        }
    }

    /// The source as a URL: `data:` for what is inline, `None` for an id.
    pub fn to_url(&self) -> Option<String> {
        match self {
            Self::Inline { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
            Self::Url(url) => Some(url.clone()),
            Self::Id(_) => None,
        }
    }
}

/// Anthropic's `cache_control`, OpenAI's `prompt_cache_breakpoint`, Bedrock's
/// `cachePoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheMark {
    /// `5m` or `1h`.
    pub ttl: Option<String>,
}

/// A thought of a model, with what its provider needs to take it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thought {
    pub text: String,
    pub signature: Option<Sealed>,
    /// A thought that only its model can read.
    pub redacted: Option<Sealed>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON text as the model wrote it; may be empty, may be no JSON.
    pub arguments: String,
    /// Gemini's `thoughtSignature` of this call.
    pub signature: Option<Sealed>,
    /// The prompt may be cached up to here.
    pub cache: Option<CacheMark>,
}

/// A tool on offer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema; absent for a tool without parameters.
    pub parameters: Option<Value>,
    pub strict: Option<bool>,
    pub cache: Option<CacheMark>,
    /// A tool that is not a function (OpenAI's `custom`, server tools), whole
    /// as the client wrote it; the other fields then hold only its name.
    pub foreign: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Some tool must be called.
    Required,
    /// This function must be called.
    Function(String),
    /// Only these may (or, if `required`, one of these must) be called.
    Allowed {
        required: bool,
        names: Vec<String>,
    },
    /// A choice of a tool that is not a function, as the client wrote it.
    Foreign(String),
}
