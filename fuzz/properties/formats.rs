//! All the formats there are, under names for messages.

use std::collections::BTreeMap;
use tollgate::chat::{Capabilities, SamplingRule, Thinking};
use tollgate::dialect::anthropic::Anthropic;
use tollgate::dialect::bedrock::Bedrock;
use tollgate::dialect::cohere::Cohere;
use tollgate::dialect::gemini::{Flavour, Gemini};
use tollgate::dialect::messages_face::MessagesFace;
use tollgate::dialect::openai_chat::{Chat, Compatible};
use tollgate::dialect::openai_completions::Completions;
use tollgate::dialect::responses_face::Responses;
use tollgate::dialect::{Dialect, Face, Label};

/// A provider that speaks Chat Completions, its thoughts apart from its texts.
pub const COMPATIBLE: Compatible = Compatible { think_tags: false };

/// The providers' sides.
pub const DIALECTS: [(&str, &dyn Dialect); 6] = [
    ("anthropic", &Anthropic),
    ("bedrock", &Bedrock),
    ("cohere", &Cohere),
    ("compatible", &COMPATIBLE),
    ("gemini", &Gemini::new(Flavour::AiStudio)),
    ("vertex", &Gemini::new(Flavour::Vertex)),
];

/// The clients' sides.
pub fn faces() -> [(&'static str, Box<dyn Face>); 5] {
    [
        ("chat", Box::new(Chat::default())),
        ("functions", Box::new(Chat { legacy: true })),
        ("completions", Box::new(Completions)),
        ("messages", Box::new(MessagesFace)),
        ("responses", Box::new(Responses::default())),
    ]
}

pub fn label() -> Label {
    Label {
        model: "asked".into(),
        seed: "seed".into(),
        created: 7,
        include_usage: true,
        ..Label::default()
    }
}

/// Models of several kinds: one that takes everything, one that thinks, one
/// that can do little.
pub fn models() -> [Capabilities; 4] {
    let thinks = |thinking| Capabilities {
        thinking,
        sampling: SamplingRule::One,
        max_output: Some(4096),
        mid_system: true,
        ..Capabilities::default()
    };
    let poor = Capabilities {
        sampling: SamplingRule::None,
        prefill: false,
        json_schema: false,
        images: false,
        audio: false,
        documents: false,
        forced_tools: false,
        parallel_control: false,
        ..Capabilities::default()
    };
    [
        Capabilities::default(),
        thinks(Thinking::Budget),
        thinks(Thinking::Adaptive),
        poor,
    ]
}

pub fn no_options() -> BTreeMap<String, String> {
    BTreeMap::new()
}
