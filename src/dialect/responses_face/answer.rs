//! Answers: the response object and its items, which streams are made of too.

use serde_json::{Map, Value, json};

use super::super::Label;
use super::{Echo, thoughts};
use crate::chat::{Answer, Audio, Choice, Finish, Medium, Said, Sealed, Source, Thought, Usage};

/// How far a response or an item has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
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
    let mut said = choice.items();
    while !said.is_empty() {
        let rest = said.split_off(run(&said));
        let last = !rest.iter().any(is_text);
        item(choice, &said, last, seed, &mut items);
        said = rest;
    }
    refuse(choice, seed, &mut items);
    // Only the last one can have been cut off.
    let status = Status::of(choice.finish);
    if let Some(Value::Object(last)) = items.last_mut() {
        last.insert("status".into(), status.as_str().into());
    }
    items
}

/// How many of what was said make one item: thoughts in a row, or texts.
fn run(said: &[Said<'_>]) -> usize {
    let thought = |one: &Said<'_>| matches!(one, Said::Thought(_));
    let thoughts = said.iter().take_while(|one| thought(one)).count();
    let texts = said.iter().take_while(|one| is_text(one)).count();
    thoughts.max(texts).max(1)
}

const fn is_text(said: &Said<'_>) -> bool {
    matches!(said, Said::Text { .. })
}

/// `last`: no text follows.
fn item(choice: &Choice, said: &[Said<'_>], last: bool, seed: &str, items: &mut Vec<Value>) {
    let done = Status::Completed;
    let id = |kind: &str, items: &[Value]| item_id(kind, seed, items.len());
    match said.first() {
        None => {}
        Some(Said::Thought(_)) => {
            let thoughts = said.iter().filter_map(|one| match one {
                Said::Thought(thought) => Some((*thought).clone()),
                _ => None,
            });
            let thoughts: Vec<Thought> = thoughts.collect();
            items.push(reasoning(&id("rs", items), &thoughts, done));
        }
        Some(Said::Text { start, .. }) => {
            let texts = said.iter().filter_map(|one| match one {
                Said::Text { text, .. } => Some(*text),
                _ => None,
            });
            let text: String = texts.collect();
            let logprobs = choice.logprobs.as_ref().filter(|_| *start == 0);
            let logprobs = logprobs.map(token_list).unwrap_or_default();
            let part = text_part(&text, &annotations(choice, &text, *start, last), &logprobs);
            items.push(message(&id("msg", items), vec![part], done));
        }
        Some(Said::Medium(Medium::Image(source))) => items.push(image(&id("ig", items), source)),
        Some(Said::Medium(Medium::Audio(audio))) => {
            items.push(message(&id("msg", items), vec![audio_part(audio)], done));
        }
        Some(Said::Call(each)) => {
            if let Some(signature) = &each.signature {
                items.push(call_signature(&id("rs", items), &each.id, signature));
            }
            let id = id("fc", items);
            items.push(call(&id, &each.id, &each.name, &each.arguments, done));
        }
    }
}

/// A refusal is said in the last message, or in one of its own.
fn refuse(choice: &Choice, seed: &str, items: &mut Vec<Value>) {
    let Some(text) = choice.refusal.as_deref().filter(|text| !text.is_empty()) else {
        return;
    };
    let part = refusal_part(text);
    let said = items.iter_mut().rev();
    let content = said
        .filter_map(|item| item.get_mut("content")?.as_array_mut())
        .next();
    match content {
        Some(content) => content.push(part),
        None => {
            let id = item_id("msg", seed, items.len());
            items.push(message(&id, vec![part], Status::Completed));
        }
    }
}

/// The annotations of a part of the text that starts at a character, counted
/// from there; those of no place in the text are the last part's.
fn annotations(choice: &Choice, text: &str, start: usize, last: bool) -> Vec<Value> {
    let end = start.saturating_add(text.chars().count());
    let flat = choice.annotations.iter().map(annotation);
    let here = flat.filter(|found| match index(found, "end_index") {
        Some(at) if at > 0 => at > start && (at <= end || last),
        _ => last,
    });
    here.map(|found| shifted(found, start)).collect()
}

fn index(annotation: &Value, name: &str) -> Option<usize> {
    usize::try_from(annotation.get(name)?.as_u64()?).ok()
}

/// An annotation counted from a later character.
pub(super) fn shifted(mut annotation: Value, by: usize) -> Value {
    for name in ["start_index", "end_index"] {
        if let Some(at) = index(&annotation, name)
            && let Some(fields) = annotation.as_object_mut()
        {
            fields.insert(name.to_owned(), at.saturating_sub(by).into());
        }
    }
    annotation
}

/// An image that the model made, as OpenAI's own tool for that would have it.
pub(super) fn image(id: &str, source: &Source) -> Value {
    let mut item = json!({
        "id": id,
        "type": "image_generation_call",
        "status": Status::Completed.as_str(),
        "result": null,
    });
    if let Some(fields) = item.as_object_mut() {
        match source {
            Source::Inline { media_type, data } => {
                let format = media_type.strip_prefix("image/").unwrap_or(media_type);
                fields.insert("result".into(), data.as_str().into());
                fields.insert("output_format".into(), format.into());
            }
            // OpenAI has no field for an address.
            Source::Url(url) | Source::Id(url) => {
                fields.insert("url".into(), url.as_str().into());
            }
        }
    }
    item
}

/// OpenAI's name for a sound among the parts of a message.
pub(super) fn audio_part(audio: &Audio) -> Value {
    let mut part = json!({
        "type": "output_audio",
        "data": audio.data,
        "transcript": audio.transcript,
    });
    if let Some((part, format)) = part.as_object_mut().zip(audio.format.as_ref()) {
        part.insert("format".into(), format.clone().into());
    }
    part
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
