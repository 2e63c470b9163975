//! What the Messages endpoint takes, as types that serialise to it.

use crate::chat::CacheMark;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// More `cache_control` marks than this are a 400.
const MARKS: usize = 4;

/// A whole request.
#[derive(Debug, Default, Serialize)]
pub(super) struct Body<'a> {
    pub model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<Block<'a>>,
    pub messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking<'a>>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub output_config: OutputConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    pub stream: bool,
    /// Anthropic's own fields, as the client wrote them.
    #[serde(flatten)]
    pub own: BTreeMap<&'a str, &'a Value>,
}

impl Body<'_> {
    /// Takes cache marks away until no more are left than the API allows, and
    /// tells whether there were too many. The first stays, since what comes
    /// before it (tools, instructions) is what most requests share, and so do
    /// the last ones, where the conversation grows.
    pub fn limit_marks(&mut self) -> bool {
        let limit = MARKS.saturating_sub(usize::from(self.own.contains_key("cache_control")));
        let tools = self.tools.iter_mut().filter_map(Tool::mark);
        let turns = self.messages.iter_mut().flat_map(|turn| &mut turn.content);
        let blocks = self.system.iter_mut().chain(turns).filter_map(Block::mark);
        let marks: Vec<_> = tools.chain(blocks).filter(|mark| mark.is_some()).collect();
        let excess = marks.len().saturating_sub(limit);
        for mark in marks.into_iter().skip(1).take(excess) {
            *mark = None;
        }
        excess > 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

/// One message.
#[derive(Debug, Serialize)]
pub(super) struct Turn<'a> {
    pub role: Role,
    pub content: Vec<Block<'a>>,
}

/// A piece of content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        /// As the model wrote it, to the byte.
        input: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "ResultContent::is_empty")]
        content: ResultContent<'a>,
        #[serde(skip_serializing_if = "is_false")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
}

impl Block<'_> {
    /// Where the block's cache mark is, if its kind can have one.
    pub const fn mark(&mut self) -> Option<&mut Option<CacheControl>> {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::Document { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => Some(cache_control),
            Self::Thinking { .. } | Self::RedactedThinking { .. } => None,
        }
    }

    pub const fn is_thought(&self) -> bool {
        matches!(self, Self::Thinking { .. } | Self::RedactedThinking { .. })
    }
}

/// A tool's result: one text, or blocks.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ResultContent<'a> {
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

impl ResultContent<'_> {
    const fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Blocks(blocks) => blocks.is_empty(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Text { media_type: &'a str, data: String },
    Url { url: &'a str },
    File { file_id: &'a str },
}

/// The prompt may be cached up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "ephemeral")]
pub(super) struct CacheControl {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<&'static str>,
}

impl CacheControl {
    /// The mark, and whether it asks for a lifetime that does not exist here.
    pub fn of(mark: &CacheMark) -> (Self, bool) {
        let ttl = match mark.ttl.as_deref() {
            Some("5m") => Some("5m"),
            Some("1h") => Some("1h"),
            _ => None,
        };
        let lost = ttl.is_none() && mark.ttl.is_some();
        (Self { ttl }, lost)
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Tool<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        input_schema: Cow<'a, Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    /// One of Anthropic's server tools, as the client wrote it.
    Own(&'a Value),
}

impl Tool<'_> {
    const fn mark(&mut self) -> Option<&mut Option<CacheControl>> {
        match self {
            Self::Function { cache_control, .. } => Some(cache_control),
            Self::Own(_) => None,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ToolChoice<'a> {
    /// `auto any tool none`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    pub disable_parallel_tool_use: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Thinking<'a> {
    How {
        /// `enabled adaptive disabled`.
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        budget_tokens: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
    /// As the client wrote it.
    Own(&'a Value),
}

impl Thinking<'_> {
    /// The model thinks.
    pub fn is_on(&self) -> bool {
        match self {
            Self::How { kind, .. } => *kind != "disabled",
            Self::Own(own) => own.get("type").is_none_or(|kind| kind != "disabled"),
        }
    }

    /// Tokens set aside for it, of those that the answer may have.
    pub fn budget(&self) -> Option<u64> {
        match self {
            Self::How { budget_tokens, .. } => *budget_tokens,
            Self::Own(own) => own.get("budget_tokens").and_then(Value::as_u64),
        }
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<OutputFormat>,
}

impl OutputConfig<'_> {
    const fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "json_schema")]
pub(super) struct OutputFormat {
    pub schema: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata<'a> {
    pub user_id: &'a str,
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}
