//! `[providers.NAME.options]` of a compatible provider: how it departs from
//! OpenAI, as data.
//!
//! They also choose the lane: a client of OpenAI's own format has its bytes
//! passed to a provider that departs from nothing, and is translated for one
//! that does, so that no client ever has to know which provider it is.

use super::super::option::{self, Form, Opt};
use crate::chat::Operation;
use crate::wire::percent;
use std::collections::BTreeMap;

/// Options that say where something is, or what there is. With them alone the
/// provider departs from nothing.
const PLACES: [&str; 7] = [
    "api_version",
    "completions",
    "deployment",
    "embeddings_extra",
    "responses",
    "tool_images",
    "top_k",
];

/// Fields of a request for embeddings that an option may speak of.
const EMBEDDINGS: [&str; 4] = ["dimensions", "encoding_format", "input_type", "user"];

/// Every option.
pub const OPTIONS: &[Opt] = &[
    Opt::new(
        "api_version",
        Form::Text,
        "appended to every path as ?api-version= (Azure)",
    ),
    Opt::new(
        "cache_marks",
        Form::Word(&["cache_control", "breakpoint"]),
        "how prompts are marked for caching; not at all by default",
    ),
    Opt::new(
        "completions",
        Form::Word(&["native", "chat"]),
        "chat: the provider has no /completions, its models answer them in a chat; default native",
    ),
    Opt::new(
        "deployment",
        Form::Flag,
        "the model is in the path, /openai/deployments/MODEL (Azure); default: where api_version is a date",
    ),
    Opt::new(
        "drop",
        Form::List,
        "fields that are left out and named in x-tollgate-dropped; also messages[].name, tools[].function.strict and the like",
    ),
    Opt::new(
        "efforts",
        Form::Pairs,
        "renamed efforts: minimal:low,xhigh:high",
    ),
    Opt::new(
        "embeddings_extra",
        Form::Object,
        "members that are added to every request for embeddings, unless the client sends them",
    ),
    Opt::new(
        "extra",
        Form::Object,
        "members that are added to every chat request, unless the client sends them",
    ),
    Opt::new(
        "images",
        Form::Word(&["inline"]),
        "inline: images by URL are refused",
    ),
    Opt::new(
        "logprobs",
        Form::Word(&["count"]),
        "count: logprobs is a number, and there is no top_logprobs",
    ),
    Opt::new("max_stop", Form::Count, "most stop texts; default 4"),
    Opt::new(
        "max_tokens_field",
        Form::Word(&["max_tokens", "max_completion_tokens"]),
        "default max_completion_tokens",
    ),
    Opt::new(
        "members",
        Form::List,
        "the only members of messages, parts, calls and tools beyond OpenAI's that the provider takes, or none; the others are left out and named. All by default",
    ),
    Opt::new(
        "no_stream_options",
        Form::Flag,
        "stream_options is not sent",
    ),
    Opt::new(
        "parts",
        Form::Word(&["string"]),
        "string: messages of several texts and nothing else are sent as one string",
    ),
    Opt::new(
        "prefill",
        Form::Text,
        "name of a flag that is set on a last message of the assistant (Mistral: prefix)",
    ),
    Opt::new(
        "reasoning",
        Form::Word(&["effort", "thinking", "enabled", "reasoning", "none"]),
        "the field that says how much to think: reasoning_effort (default), thinking.type, reasoning.enabled, reasoning.effort",
    ),
    Opt::new(
        "refusals",
        Form::Word(&["content"]),
        "content: refusals of earlier turns are sent as their text",
    ),
    Opt::new(
        "refuse",
        Form::List,
        "fields that the provider cannot honour and that matter: a request with one is refused with 400",
    ),
    Opt::new(
        "rename",
        Form::Pairs,
        "renamed top-level fields: seed:random_seed",
    ),
    Opt::new(
        "required",
        Form::Text,
        "the word for a tool choice of any tool; default required",
    ),
    Opt::new(
        "responses",
        Form::Word(&["native"]),
        "native: the provider has /responses itself",
    ),
    Opt::new(
        "system_role",
        Form::Word(&["system", "developer"]),
        "default system",
    ),
    Opt::new(
        "temperature_min",
        Form::Number,
        "temperatures below are raised to it",
    ),
    Opt::new(
        "think_tags",
        Form::Flag,
        "thoughts come inside the content, between <think> and </think>",
    ),
    Opt::new(
        "thought_signature",
        Form::Word(&["google"]),
        "google: signatures of tool calls are sent back",
    ),
    Opt::new(
        "thoughts",
        Form::Word(&[
            "reasoning_content",
            "reasoning",
            "thinking_blocks",
            "reasoning_details",
        ]),
        "where thoughts of earlier turns go; nowhere by default",
    ),
    Opt::new(
        "tool_choice",
        Form::Words(&["auto", "none", "required", "function"]),
        "the only tool choices that the provider honours; all by default",
    ),
    Opt::new(
        "tool_id",
        Form::Word(&["mistral9"]),
        "mistral9: ids of tool calls are nine letters and digits",
    ),
    Opt::new(
        "tool_images",
        Form::Flag,
        "tool results may hold images and files",
    ),
    Opt::new("tool_name", Form::Flag, "tool results name their tool"),
    Opt::new("top_k", Form::Flag, "the provider takes top_k"),
];

/// Whether bytes of a client that speaks OpenAI's format can pass to a
/// provider with these options. What is neither a chat, a completion nor
/// embeddings always can: there is no other way.
pub fn passes(options: &BTreeMap<String, String>, operation: Operation) -> bool {
    let options = Options(options);
    match operation {
        Operation::ChatCompletions => options.0.keys().all(|name| PLACES.contains(&name.as_str())),
        Operation::Completions => options.text("completions") != Some("chat"),
        Operation::Embeddings => {
            let spoken = options.list("drop").chain(options.list("refuse"));
            let mut spoken = spoken.chain(options.pairs("rename").map(|(from, _)| from));
            options.text("embeddings_extra").is_none()
                && !spoken.any(|name| EMBEDDINGS.contains(&name))
        }
        _ => true,
    }
}

/// What the provider calls the limit of a chat's answer.
pub fn limit_field(options: &BTreeMap<String, String>) -> &str {
    Options(options).limit_field()
}

/// Whether the provider can be asked for the usage of a stream.
pub fn takes_stream_options(options: &BTreeMap<String, String>) -> bool {
    !Options(options).flag("no_stream_options")
}

/// Where an operation is, below the base URL. Azure's deployment API names
/// the model there; its base URL is the resource itself.
pub fn path(options: &BTreeMap<String, String>, operation: Operation, model: &str) -> String {
    let options = Options(options);
    let mut path = String::new();
    if options.deployment() {
        path.push_str("/openai");
        if operation != Operation::Responses {
            path.push_str("/deployments/");
            percent::encode(model, &mut path);
        }
    }
    path.push_str(operation.path());
    if let Some(version) = options.text("api_version") {
        path.push_str("?api-version=");
        percent::encode(version, &mut path);
    }
    path
}

/// A provider's options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options<'a>(pub(super) &'a BTreeMap<String, String>);

impl<'a> Options<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn limit_field(self) -> &'a str {
        let named = self.text("max_tokens_field");
        named.unwrap_or("max_completion_tokens")
    }

    pub(super) fn flag(self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    pub(super) fn list(self, name: &str) -> impl Iterator<Item = &'a str> {
        option::items(self.text(name).unwrap_or_default())
    }

    /// `from:to,from:to`.
    pub(super) fn pairs(self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.list(name).filter_map(|pair| pair.split_once(':'))
    }

    pub(super) fn drops(self, field: &str) -> bool {
        self.list("drop").any(|name| name == field)
    }

    /// Whether a member beyond OpenAI's goes on.
    pub(super) fn takes_member(self, name: &str) -> bool {
        self.text("members").is_none() || self.list("members").any(|member| member == name)
    }

    /// Whether a tool choice is honoured.
    pub(super) fn honours(self, choice: &str) -> bool {
        self.text("tool_choice").is_none() || self.list("tool_choice").any(|word| word == choice)
    }

    /// Azure's v1 API has versions, too, but they are words.
    pub(super) fn deployment(self) -> bool {
        match self.text("deployment") {
            Some(said) => said == "true",
            None => self
                .text("api_version")
                .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())),
        }
    }

    /// The JSON object of an option.
    pub(super) fn object(self, name: &str) -> serde_json::Map<String, serde_json::Value> {
        let read = |text| serde_json::from_str(text).ok();
        self.text(name).and_then(read).unwrap_or_default()
    }
}
