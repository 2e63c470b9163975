//! What a client says about thinking: how much of it, and the thoughts of
//! earlier turns on their way back to the model.
//!
//! OpenAI has `reasoning_effort` only. Clients of other providers say
//! `thinking` (Anthropic, DeepSeek) or `reasoning` (OpenRouter) in a Chat
//! Completions body; those are read where they are understood whole, and else
//! left among the unknown fields.

use super::content::thinking;
use super::shape::{Path, each, need, object, string, take, whole};
use crate::chat::{Reasoning, Thought};
use crate::error::GatewayError;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Takes the settings out of a request.
///
/// # Errors
/// When `reasoning_effort` is not a string.
pub(super) fn take_settings(map: &mut Fields) -> Result<Option<Reasoning>, GatewayError> {
    let effort = take(map, &Path::Top, "reasoning_effort", string)?;
    let mut asked = Reasoning {
        effort,
        ..Reasoning::default()
    };
    if map
        .get("thinking")
        .is_some_and(|value| read_thinking(value, &mut asked))
    {
        map.remove("thinking");
    }
    if map
        .get("reasoning")
        .is_some_and(|value| read_reasoning(value, &mut asked))
    {
        map.remove("reasoning");
    }
    Ok((asked != Reasoning::default()).then_some(asked))
}

/// `{type:"enabled",budget_tokens}` or `{type:"disabled"}`; false if it is
/// something else.
fn read_thinking(value: &Value, asked: &mut Reasoning) -> bool {
    let Some(map) = value.as_object() else {
        return false;
    };
    let budget = map.get("budget_tokens").and_then(whole);
    match (map.get("type").and_then(Value::as_str), budget, map.len()) {
        (Some("enabled"), Some(budget), 2) => asked.budget = Some(budget),
        (Some("disabled"), None, 1) => {
            asked.effort.get_or_insert_with(|| "none".to_owned());
        }
        _ => return false,
    }
    true
}

/// `{effort?,max_tokens?,exclude?}`; false if it is something else.
fn read_reasoning(value: &Value, asked: &mut Reasoning) -> bool {
    let Some(map) = value.as_object() else {
        return false;
    };
    let mut read = Reasoning::default();
    for (name, value) in map {
        match (name.as_str(), value) {
            ("effort", Value::String(effort)) => read.effort = Some(effort.clone()),
            ("max_tokens", value) if whole(value).is_some() => read.budget = whole(value),
            ("exclude", Value::Bool(exclude)) => read.visible = Some(!exclude),
            (_, Value::Null) => {}
            _ => return false,
        }
    }
    asked.effort = asked.effort.take().or(read.effort);
    asked.budget = asked.budget.or(read.budget);
    asked.visible = read.visible;
    true
}

/// Takes the thoughts out of an assistant message: `thinking_blocks` (also
/// where LiteLLM puts a copy), else the plain text.
///
/// # Errors
/// When they have not the shape of their kind.
pub(super) fn take_thoughts(
    map: &mut Fields,
    path: &Path<'_>,
) -> Result<Vec<Thought>, GatewayError> {
    let blocks = take(map, path, "thinking_blocks", |value, path| {
        each(value, path, block)
    })?;
    let text = take(map, path, "reasoning_content", string)?;
    let other = map
        .remove("reasoning")
        .and_then(|value| value.as_str().map(str::to_owned));
    if let Some(blocks) = blocks.filter(|blocks| !blocks.is_empty()) {
        return Ok(blocks);
    }
    let copy = map
        .get_mut("provider_specific_fields")
        .and_then(|fields| fields.get_mut("thinking_blocks"));
    if let Some(Value::Array(copy)) = copy.map(Value::take) {
        return each(
            Value::Array(copy),
            &path.key("provider_specific_fields.thinking_blocks"),
            block,
        );
    }
    let text = text.or(other).filter(|text| !text.is_empty());
    if let (None, Some(Value::Array(_))) = (&text, map.get("reasoning_details")) {
        // OpenRouter's list alone; it also goes back as it is, to who takes it.
        return Ok(super::pieces::thoughts(map));
    }
    Ok(text
        .map(|text| Thought {
            text,
            ..Thought::default()
        })
        .into_iter()
        .collect())
}

fn block(value: Value, path: &Path<'_>) -> Result<Thought, GatewayError> {
    let mut map = object(value, path)?;
    let kind = need(&mut map, path, "type", string)?;
    match kind.as_str() {
        "thinking" | "redacted_thinking" => thinking(&kind, &mut map, path),
        _ => Err(super::shape::invalid(
            &path.key("type"),
            "expected 'thinking' or 'redacted_thinking'.",
        )),
    }
}
