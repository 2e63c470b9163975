//! OpenAI's chat requests, as far as golden cases need them read.

use crate::chat::*;
use crate::chat::{Origin, Sealed};
use serde_json::{Map, Value};

pub(super) fn conversation(client: &Value) -> Conversation {
    let mut other = client.as_object().unwrap().clone();
    let mut take = |name: &str| other.remove(name).unwrap_or_default();
    let mut asked = Conversation {
        model: take("model").as_str().unwrap_or_default().to_owned(),
        messages: items(take("messages")).iter().map(message).collect(),
        tools: items(take("tools")).iter().map(tool).collect(),
        tool_choice: tool_choice(&take("tool_choice")),
        parallel_tool_calls: take("parallel_tool_calls").as_bool(),
        max_tokens: take("max_completion_tokens").as_u64(),
        stop: items(take("stop")).iter().filter_map(text_of).collect(),
        n: take("n").as_u64(),
        format: format(&take("response_format")),
        user: text_of(&take("user")),
        metadata: take("metadata").as_object().cloned().unwrap_or_default(),
        service_tier: text_of(&take("service_tier")),
        stream: take("stream").as_bool().unwrap_or_default(),
        ..Conversation::default()
    };
    asked.sampling = Sampling {
        temperature: take("temperature").as_f64(),
        top_p: take("top_p").as_f64(),
        top_k: take("top_k").as_u64(),
        frequency_penalty: take("frequency_penalty").as_f64(),
        presence_penalty: take("presence_penalty").as_f64(),
        seed: take("seed").as_i64(),
        logit_bias: Some(take("logit_bias")).filter(|bias| !bias.is_null()),
    };
    let top = take("top_logprobs").as_u64();
    asked.logprobs = (take("logprobs") == true).then_some(Logprobs { top });
    let effort = text_of(&take("reasoning_effort"));
    let budget = take("thinking_budget").as_u64();
    let visible = take("thoughts_visible").as_bool();
    asked.reasoning =
        (effort.is_some() || budget.is_some() || visible.is_some()).then_some(Reasoning {
            effort,
            budget,
            visible,
        });
    asked.other = other;
    asked
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn message(from: &Value) -> Message {
    let parts = items(from["content"].clone()).iter().map(part).collect();
    match from["role"].as_str().unwrap() {
        "system" | "developer" => Message::System { parts },
        "user" => Message::User {
            parts,
            name: text_of(&from["name"]),
        },
        "tool" => Message::Tool {
            call_id: text_of(&from["tool_call_id"]).unwrap(),
            parts,
            is_error: from["is_error"] == true,
        },
        "assistant" => Message::Assistant(Turn {
            thoughts: items(from["thoughts"].clone())
                .iter()
                .map(thought)
                .collect(),
            parts,
            calls: items(from["tool_calls"].clone()).iter().map(call).collect(),
            name: text_of(&from["name"]),
            ..Turn::default()
        }),
        role => panic!("role {role}"),
    }
}

fn thought(from: &Value) -> Thought {
    Thought {
        text: text_of(&from["text"]).unwrap_or_default(),
        signature: text_of(&from["signature"]).map(|t| Sealed::returned(t, Origin::Gemini)),
        redacted: text_of(&from["redacted"]).map(|t| Sealed::returned(t, Origin::Claude)),
    }
}

fn call(from: &Value) -> ToolCall {
    ToolCall {
        id: text_of(&from["id"]).unwrap(),
        name: text_of(&from["function"]["name"]).unwrap(),
        arguments: text_of(&from["function"]["arguments"]).unwrap(),
        signature: text_of(&from["extra_content"]["google"]["thought_signature"])
            .map(|t| Sealed::returned(t, Origin::Gemini)),
        ..ToolCall::default()
    }
}

fn part(from: &Value) -> Part {
    let cache = from.get("cache_control").map(|_| CacheMark::default());
    let Some(kind) = from["type"].as_str() else {
        return Part::text(from.as_str().unwrap());
    };
    let body = &from[kind];
    let content = match kind {
        "text" => Content::Text(text_of(body).unwrap()),
        "refusal" => Content::Refusal(text_of(body).unwrap()),
        "image_url" => Content::Image {
            source: Source::from_url(body["url"].as_str().unwrap()),
            detail: text_of(&body["detail"]),
        },
        "input_audio" => Content::Audio {
            data: text_of(&body["data"]).unwrap(),
            format: text_of(&body["format"]).unwrap(),
        },
        "file" => Content::File {
            source: match (text_of(&body["file_id"]), text_of(&body["file_data"])) {
                (Some(id), _) => Source::Id(id),
                (None, data) => Source::from_url(&data.unwrap()),
            },
            name: text_of(&body["filename"]),
        },
        kind => panic!("part {kind}"),
    };
    Part { content, cache }
}

fn tool(from: &Value) -> Tool {
    let function = &from["function"];
    Tool {
        name: text_of(&function["name"]).unwrap_or_default(),
        description: text_of(&function["description"]),
        parameters: function.get("parameters").cloned(),
        strict: function["strict"].as_bool(),
        cache: from.get("cache_control").map(|_| CacheMark::default()),
        foreign: (from["type"] != "function").then(|| from.clone()),
    }
}

fn tool_choice(from: &Value) -> Option<ToolChoice> {
    let name = |of: &Value| text_of(&of["function"]["name"]).unwrap();
    Some(match (from.as_str(), from["type"].as_str()) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("none"), _) => ToolChoice::None,
        (Some("required"), _) => ToolChoice::Required,
        (_, Some("function")) => ToolChoice::Function(name(from)),
        (_, Some("allowed_tools")) => ToolChoice::Allowed {
            required: from["allowed_tools"]["mode"] == "required",
            names: items(from["allowed_tools"]["tools"].clone())
                .iter()
                .map(name)
                .collect(),
        },
        (_, Some(_)) => ToolChoice::Foreign(from.to_string()),
        _ => return None,
    })
}

fn format(from: &Value) -> Format {
    let schema = &from["json_schema"];
    match from["type"].as_str() {
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => Format::JsonSchema {
            name: text_of(&schema["name"]),
            description: text_of(&schema["description"]),
            schema: schema["schema"].clone(),
            strict: schema["strict"].as_bool(),
        },
        _ => Format::Text,
    }
}

/// A row of the capability table: what `from` says, and the defaults.
pub(super) fn capabilities(from: &Value) -> Capabilities {
    let flag = |name: &str, default: bool| from[name].as_bool().unwrap_or(default);
    let default = Capabilities::default();
    Capabilities {
        sampling: match from["sampling"].as_str() {
            Some("one") => SamplingRule::One,
            Some("none") => SamplingRule::None,
            _ => SamplingRule::Free,
        },
        thinking: match from["thinking"].as_str() {
            Some("budget") => Thinking::Budget,
            Some("level") => Thinking::Level,
            _ => Thinking::None,
        },
        effort: items(from["effort"].clone())
            .iter()
            .filter_map(text_of)
            .collect(),
        thinks_always: flag("thinks_always", false),
        prefill: flag("prefill", true),
        json_schema: flag("json_schema", true),
        images: flag("images", true),
        audio: flag("audio", true),
        image_output: flag("image_output", true),
        audio_output: flag("audio_output", true),
        documents: flag("documents", true),
        tools: flag("tools", true),
        forced_tools: flag("forced_tools", true),
        ..default
    }
}

pub(super) fn options(from: &Value) -> std::collections::BTreeMap<String, String> {
    let empty = Map::new();
    let options = from.as_object().unwrap_or(&empty);
    options
        .iter()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
        .collect()
}
