//! `[[capabilities]]`: what models can do, where the table that comes with
//! tollgate does not know better.

use serde::{Deserialize, Serialize};

/// What is said of some models. Each key that is absent leaves what was known.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// Models as their providers call them; `*` matches any run of characters.
    pub models: Vec<String>,
    /// Only at these; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinks_always: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid_system: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_output: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced_tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_control: Option<bool>,
}

/// Which sampling parameters a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    Free,
    One,
    None,
}

/// How a model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    None,
    Budget,
    Adaptive,
    Level,
    Effort,
}
