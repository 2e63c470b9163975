//! Answers: the response object and its items, which streams are made of too.

use serde_json::{Map, Value, json};

use super::super::Label;
use super::{Echo, thoughts};
use crate::chat::{Answer, Choice, Finish, Sealed, Thought, Usage};

/// How far a response or an item has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }

    pub(super) const fn of(finish: Option<Finish>) -> Self {
        match finish {
            Some(Finish::Length | Finish::ContentFilter) => Self::Incomplete,
            Some(Finish::Stop | Finish::ToolCalls) | None => Self::Completed,
        }
    }
}

/// What of a response is not its label.
#[derive(Debug, Default)]
pub(super) struct Progress<'a> {
    pub status: Option<Status>,
    pub finish: Option<Finish>,
    pub output: Vec<Value>,
    pub usage: Option<&'a Usage>,
    pub error: Option<Value>,
    pub service_tier: Option<&'a str>,
}

/// A response is one answer: other choices than the first were not asked for.
pub(super) fn whole(answer: &Answer, label: &Label, echo: &Echo) -> Value {
    let choice = answer.choices.first();
    let finish = choice.and_then(|choice| choice.finish);
    let progress = Progress {
        status: Some(Status::of(finish)),
        finish,
        output: choice
            .map(|choice| output(choice, &label.seed))
            .unwrap_or_default(),
        usage: answer.usage.as_ref(),
        error: None,
        service_tier: answer.service_tier.as_deref(),
    };
    response(label, echo, progress)
}

fn output(choice: &Choice, seed: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let done = Status::Completed;
    if !choice.thoughts.is_empty() {
        let id = item_id("rs", seed, items.len());
        items.push(reasoning(&id, &choice.thoughts, done));
    }
    let content = content(choice);
    if !content.is_empty() {
        items.push(message(&item_id("msg", seed, items.len()), content, done));
    }
    for each in &choice.calls {
        if let Some(signature) = &each.signature {
            let id = item_id("rs", seed, items.len());
            items.push(call_signature(&id, &each.id, signature));
        }
        let id = item_id("fc", seed, items.len());
        items.push(call(&id, &each.id, &each.name, &each.arguments, done));
    }
    // Only the last one can have been cut off.
    let status = Status::of(choice.finish);
    if let Some(Value::Object(last)) = items.last_mut() {
        last.insert("status".into(), status.as_str().into());
    }
    items
}

fn content(choice: &Choice) -> Vec<Value> {
    let logprobs = choice.logprobs.as_ref().map(token_list).unwrap_or_default();
    let annotations: Vec<Value> = choice.annotations.iter().map(annotation).collect();
    let text = choice.text.as_deref().filter(|text| !text.is_empty());
    let refusal = choice.refusal.as_deref().filter(|text| !text.is_empty());
    let text = text.map(|text| text_part(text, &annotations, &logprobs));
    text.into_iter().chain(refusal.map(refusal_part)).collect()
}

pub(super) fn item_id(kind: &str, seed: &str, index: usize) -> String {
    format!("{kind}_{seed}_{index}")
}

/// Redacted thoughts have no text to show; they travel in the sealed list.
pub(super) fn reasoning(id: &str, thoughts: &[Thought], status: Status) -> Value {
    let summary: Vec<Value> = thoughts
        .iter()
        .filter(|thought| !thought.text.is_empty())
        .map(|thought| summary_part(&thought.text))
        .collect();
    reasoning_item(id, summary, Some(thoughts::seal(thoughts)), status)
}

/// The item before a call that must come back with its signature.
pub(super) fn call_signature(id: &str, call_id: &str, signature: &Sealed) -> Value {
    let sealed = thoughts::seal_call(call_id, signature);
    reasoning_item(id, Vec::new(), Some(sealed), Status::Completed)
}

pub(super) fn reasoning_item(
    id: &str,
    summary: Vec<Value>,
    sealed: Option<String>,
    status: Status,
) -> Value {
    json!({
        "id": id,
        "type": "reasoning",
        "status": status.as_str(),
        "summary": summary,
        "encrypted_content": sealed,
    })
}

pub(super) fn summary_part(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

pub(super) fn message(id: &str, content: Vec<Value>, status: Status) -> Value {
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "status": status.as_str(),
        "content": content,
    })
}

pub(super) fn text_part(text: &str, annotations: &[Value], logprobs: &[Value]) -> Value {
    json!({
        "type": "output_text",
        "text": text,
        "annotations": annotations,
        "logprobs": logprobs,
    })
}

pub(super) fn refusal_part(text: &str) -> Value {
    json!({"type": "refusal", "refusal": text})
}

pub(super) fn call(id: &str, call_id: &str, name: &str, arguments: &str, status: Status) -> Value {
    json!({
        "id": id,
        "type": "function_call",
        "status": status.as_str(),
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    })
}

/// Chat nests a citation under its type; here it is flat.
pub(super) fn annotation(value: &Value) -> Value {
    let kind = value
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match value.get(kind) {
        Some(Value::Object(inner)) => {
            let mut flat = inner.clone();
            flat.insert("type".into(), kind.into());
            Value::Object(flat)
        }
        _ => value.clone(),
    }
}

/// Chat's `logprobs` as the list that they are here. `bytes` may be null
/// there, but not here: they are those of the token.
pub(super) fn token_list(logprobs: &Value) -> Vec<Value> {
    let list = logprobs.get("content").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|entry| token(entry, true))
        .collect()
}

fn token(entry: &Value, outer: bool) -> Value {
    let text = entry
        .get("token")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let bytes = entry.get("bytes").filter(|bytes| bytes.is_array()).cloned();
    let mut out = Map::new();
    out.insert("token".into(), text.into());
    out.insert(
        "logprob".into(),
        entry.get("logprob").cloned().unwrap_or(0.into()),
    );
    out.insert(
        "bytes".into(),
        bytes.unwrap_or_else(|| json!(text.as_bytes())),
    );
    if outer {
        let top = entry.get("top_logprobs").and_then(Value::as_array);
        let top = top.into_iter().flatten().map(|entry| token(entry, false));
        out.insert("top_logprobs".into(), top.collect());
    }
    Value::Object(out)
}

pub(super) fn response(label: &Label, echo: &Echo, progress: Progress<'_>) -> Value {
    let mut out = defaults();
    out.extend(echo.0.clone());
    let status = progress.status.unwrap_or(Status::InProgress);
    let reason = match progress.finish {
        Some(Finish::Length) => Some("max_output_tokens"),
        Some(Finish::ContentFilter) => Some("content_filter"),
        _ => None,
    };
    let reason = reason.filter(|_| status == Status::Incomplete);
    let own = [
        ("id", format!("resp_{}", label.seed).into()),
        ("object", "response".into()),
        ("created_at", label.created.into()),
        ("model", label.model.as_str().into()),
        ("status", status.as_str().into()),
        ("output", Value::Array(progress.output)),
        ("usage", progress.usage.map_or(Value::Null, usage)),
        ("error", progress.error.unwrap_or_default()),
        (
            "incomplete_details",
            reason.map_or(Value::Null, |r| json!({"reason": r})),
        ),
    ];
    for (name, value) in own {
        out.insert(name.into(), value);
    }
    if let Some(tier) = progress.service_tier {
        out.insert("service_tier".into(), tier.into());
    }
    Value::Object(out)
}

/// What OpenAI answers where the request said nothing.
fn defaults() -> Map<String, Value> {
    let fields = json!({
        "background": false,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": null,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "truncation": "disabled",
        "user": null,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total(),
    })
}
