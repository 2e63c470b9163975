//! The bodies of Converse and CountTokens, as they are written. Texts and bytes are borrowed
//! from the conversation: a body of megabytes is copied once, into its JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::chat::CacheMark;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    pub messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Inference::is_empty")]
    pub inference_config: Inference<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Output::is_empty")]
    pub output_config: Output<'a>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub additional_model_request_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_model_response_field_paths: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrail_config: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance_config: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_variables: Option<&'a Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_metadata: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Tier<'a>>,
}

/// The part of a body whose tokens can be counted.
#[derive(Serialize)]
pub(super) struct Count<'a> {
    pub input: CountInput<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum CountInput<'a> {
    #[serde(rename_all = "camelCase")]
    Converse {
        messages: &'a [Message<'a>],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        system: &'a [Block<'a>],
        #[serde(skip_serializing_if = "Option::is_none")]
        tool_config: Option<&'a ToolConfig<'a>>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        additional_model_request_fields: &'a Map<String, Value>,
    },
}

impl<'a> Count<'a> {
    pub fn of(body: &'a Body<'a>) -> Self {
        let input = CountInput::Converse {
            messages: &body.messages,
            system: &body.system,
            tool_config: body.tool_config.as_ref(),
            additional_model_request_fields: &body.additional_model_request_fields,
        };
        Self { input }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    pub role: Role,
    pub content: Vec<Block<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    System,
}

/// A union: the variant's name is the one key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Block<'a> {
    Text(&'a str),
    Image(Media<'a>),
    Audio(Media<'a>),
    Document(Document<'a>),
    ToolUse(ToolUse<'a>),
    ToolResult(ToolResult<'a>),
    ReasoningContent(Reasoning<'a>),
    CachePoint(CachePoint),
}

#[derive(Debug, Serialize)]
pub(super) struct Media<'a> {
    pub format: &'static str,
    pub source: Bytes<'a>,
}

/// Base64.
#[derive(Debug, Serialize)]
pub(super) struct Bytes<'a> {
    pub bytes: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    pub format: &'static str,
    pub name: String,
    pub source: Bytes<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUse<'a> {
    pub tool_use_id: Cow<'a, str>,
    pub name: &'a str,
    pub input: &'a RawValue,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolResult<'a> {
    pub tool_use_id: Cow<'a, str>,
    pub content: Vec<Block<'a>>,
    /// Left out for success, which is the default and which not all models take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reasoning<'a> {
    ReasoningText {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<&'a str>,
    },
    RedactedContent(&'a str),
}

#[derive(Debug, Serialize)]
pub(super) struct CachePoint {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl CachePoint {
    /// A time to live that Bedrock has no word for is left to its default.
    pub fn of(mark: &CacheMark) -> Self {
        let ttl = match mark.ttl.as_deref() {
            Some("5m") => Some("5m"),
            Some("1h") => Some("1h"),
            _ => None,
        };
        Self {
            r#type: "default",
            ttl,
        }
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<&'a str>,
}

impl Inference<'_> {
    fn is_empty(&self) -> bool {
        let unset = self.max_tokens.is_none() && self.temperature.is_none() && self.top_p.is_none();
        unset && self.stop_sequences.is_empty()
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Choice<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Tool<'a> {
    ToolSpec(Spec<'a>),
    CachePoint(CachePoint),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    pub input_schema: Schema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct Schema<'a> {
    pub json: Cow<'a, Value>,
}

/// There is `auto` as well, but it is what no choice means, and models without a choice refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Choice<'a> {
    Any {},
    Tool { name: &'a str },
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_format: Option<TextFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<&'a str>,
}

impl Output<'_> {
    fn is_empty(&self) -> bool {
        self.text_format.is_none() && self.effort.is_none()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TextFormat<'a> {
    pub r#type: &'static str,
    pub structure: Structure<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Structure<'a> {
    pub json_schema: JsonSchema<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct JsonSchema<'a> {
    /// JSON in a string.
    pub schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tier<'a> {
    pub r#type: &'a str,
}
