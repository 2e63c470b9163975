//! Reads the OpenAI requests of the golden cases: as much of the format as they use.

use crate::chat::{Origin, Sealed};
use serde_json::{Map, Value};

use crate::chat::{
    CacheMark, Capabilities, Content, Conversation, Format, Logprobs, Message, Part, Reasoning,
    SamplingRule, Source, Thinking, Thought, Tool, ToolCall, ToolChoice, Turn,
};

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn mark(value: &Value) -> Option<CacheMark> {
    let mark = value.get("cache_control")?;
    Some(CacheMark {
        ttl: text(&mark["ttl"]),
    })
}

fn parts(content: &Value) -> Vec<Part> {
    if let Some(text) = content.as_str() {
        return vec![Part::text(text)];
    }
    list(content).map(part).collect()
}

fn part(part: &Value) -> Part {
    let content = match part["type"].as_str().unwrap() {
        "text" => Content::Text(text(&part["text"]).unwrap()),
        "refusal" => Content::Refusal(text(&part["refusal"]).unwrap()),
        "image_url" => Content::Image {
            source: Source::from_url(part["image_url"]["url"].as_str().unwrap()),
            detail: text(&part["image_url"]["detail"]),
        },
        "input_audio" => Content::Audio {
            data: text(&part["input_audio"]["data"]).unwrap(),
            format: text(&part["input_audio"]["format"]).unwrap(),
        },
        "file" => Content::File {
            source: match part["file"]["file_data"].as_str() {
                Some(url) => Source::from_url(url),
                None => Source::Id(text(&part["file"]["file_id"]).unwrap()),
            },
            name: text(&part["file"]["filename"]),
        },
        other => panic!("part {other}"),
    };
    Part {
        content,
        cache: mark(part),
    }
}

fn thoughts(message: &Value) -> Vec<Thought> {
    let blocks = list(&message["thinking_blocks"]).map(|block| Thought {
        text: text(&block["thinking"]).unwrap_or_default(),
        signature: text(&block["signature"]).map(|t| Sealed::returned(t, Origin::Claude)),
        redacted: text(&block["data"]).map(|t| Sealed::returned(t, Origin::Claude)),
    });
    let plain = text(&message["reasoning_content"]).map(|text| Thought {
        text,
        ..Thought::default()
    });
    blocks.chain(plain).collect()
}

fn message(message: &Value) -> Message {
    let name = text(&message["name"]);
    let mut parts = parts(&message["content"]);
    match message["role"].as_str().unwrap() {
        "system" | "developer" => Message::System { parts },
        "user" => Message::User { parts, name },
        "tool" => Message::Tool {
            call_id: text(&message["tool_call_id"]).unwrap(),
            parts,
            is_error: message["is_error"] == true,
        },
        "assistant" => {
            let refusal = text(&message["refusal"]).map(Content::Refusal);
            parts.extend(refusal.map(|content| Part {
                content,
                cache: None,
            }));
            let calls = list(&message["tool_calls"]).map(|call| ToolCall {
                id: text(&call["id"]).unwrap(),
                name: text(&call["function"]["name"]).unwrap(),
                arguments: text(&call["function"]["arguments"]).unwrap(),
                signature: text(&call["signature"]).map(|t| Sealed::returned(t, Origin::Gemini)),
                ..ToolCall::default()
            });
            Message::Assistant(Turn {
                thoughts: thoughts(message),
                parts,
                calls: calls.collect(),
                name,
                ..Turn::default()
            })
        }
        other => panic!("role {other}"),
    }
}

fn tool(tool: &Value) -> Tool {
    let function = &tool["function"];
    if tool["type"] != "function" {
        return Tool {
            foreign: Some(tool.clone()),
            ..Tool::default()
        };
    }
    Tool {
        name: text(&function["name"]).unwrap(),
        description: text(&function["description"]),
        parameters: function.get("parameters").cloned(),
        strict: function["strict"].as_bool(),
        cache: mark(tool),
        foreign: None,
    }
}

fn choice(choice: &Value) -> Option<ToolChoice> {
    if let Some(name) = choice["function"]["name"].as_str() {
        return Some(ToolChoice::Function(name.to_owned()));
    }
    if let Some(allowed) = choice.get("allowed_tools") {
        let names = list(&allowed["tools"]).filter_map(|tool| text(&tool["function"]["name"]));
        return Some(ToolChoice::Allowed {
            required: allowed["mode"] == "required",
            names: names.collect(),
        });
    }
    match choice {
        Value::Null => None,
        Value::String(word) => Some(match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            _ => ToolChoice::Required,
        }),
        other => Some(ToolChoice::Foreign(other.to_string())),
    }
}

fn format(format: &Value) -> Format {
    let schema = &format["json_schema"];
    match format["type"].as_str() {
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => Format::JsonSchema {
            name: text(&schema["name"]),
            description: text(&schema["description"]),
            schema: schema["schema"].clone(),
            strict: schema["strict"].as_bool(),
        },
        _ => Format::Text,
    }
}

fn reasoning(body: &Map<String, Value>) -> Option<Reasoning> {
    let thinking = body.get("thinking");
    let budget = thinking.and_then(|thinking| thinking["budget_tokens"].as_u64());
    let effort = body.get("reasoning_effort").and_then(text);
    let visible = thinking.and_then(|thinking| thinking["visible"].as_bool());
    (effort.is_some() || budget.is_some()).then_some(Reasoning {
        effort,
        budget,
        visible,
    })
}

/// The conversation that an OpenAI client asks for.
pub(super) fn conversation(body: &Value) -> Conversation {
    const KNOWN: &str = "model messages tools tool_choice parallel_tool_calls max_tokens max_completion_tokens stop n \
        logprobs response_format reasoning_effort thinking user metadata service_tier stream \
        stream_options temperature top_p top_k frequency_penalty presence_penalty seed logit_bias";
    let body = body.as_object().unwrap();
    let field = |name: &str| body.get(name).cloned().unwrap_or_default();
    let mut asked = Conversation {
        model: text(&field("model")).unwrap(),
        messages: list(&field("messages")).map(message).collect(),
        tools: list(&field("tools")).map(tool).collect(),
        tool_choice: choice(&field("tool_choice")),
        parallel_tool_calls: field("parallel_tool_calls").as_bool(),
        max_tokens: field("max_completion_tokens")
            .as_u64()
            .or_else(|| field("max_tokens").as_u64()),
        stop: list(&field("stop")).filter_map(text).collect(),
        n: field("n").as_u64(),
        logprobs: (field("logprobs") == true).then(Logprobs::default),
        format: format(&field("response_format")),
        reasoning: reasoning(body),
        user: text(&field("user")),
        metadata: field("metadata").as_object().cloned().unwrap_or_default(),
        service_tier: text(&field("service_tier")),
        stream: field("stream") == true,
        ..Conversation::default()
    };
    asked.stop.extend(text(&field("stop")));
    asked.sampling.temperature = field("temperature").as_f64();
    asked.sampling.top_p = field("top_p").as_f64();
    asked.sampling.top_k = field("top_k").as_u64();
    asked.sampling.frequency_penalty = field("frequency_penalty").as_f64();
    asked.sampling.presence_penalty = field("presence_penalty").as_f64();
    asked.sampling.seed = field("seed").as_i64();
    asked.sampling.logit_bias = body.get("logit_bias").cloned();
    let other = body
        .iter()
        .filter(|(name, _)| !KNOWN.split(' ').any(|known| known == *name));
    asked.other = other
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    asked
}

/// The capabilities that a case names; all others are as for an unknown model.
pub(super) fn capabilities(row: &Value) -> Capabilities {
    let mut can = Capabilities::default();
    let flag = |name: &str, default: bool| row[name].as_bool().unwrap_or(default);
    can.sampling = match row["sampling"].as_str() {
        Some("one") => SamplingRule::One,
        Some("none") => SamplingRule::None,
        _ => SamplingRule::Free,
    };
    can.thinking = match row["thinking"].as_str() {
        Some("budget") => Thinking::Budget,
        Some("adaptive") => Thinking::Adaptive,
        Some("effort") => Thinking::Effort,
        Some("level") => Thinking::Level,
        _ => Thinking::None,
    };
    can.effort = list(&row["effort"]).filter_map(text).collect();
    can.thinks_always = flag("thinks_always", false);
    can.prefill = flag("prefill", true);
    can.mid_system = flag("mid_system", false);
    can.json_schema = flag("json_schema", true);
    can.images = flag("images", true);
    can.audio = flag("audio", true);
    can.documents = flag("documents", true);
    can.tools = flag("tools", true);
    can.forced_tools = flag("forced_tools", true);
    can.parallel_control = flag("parallel_control", true);
    can
}
