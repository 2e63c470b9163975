//! A client's messages. Tool calls of the old kind (`function_call`, role
//! `function`) have no ids: they are given some, by their place.

use super::content::{Contents, Speaker, cache_mark, contents, image};
use super::parse::was_called;
use super::reasoning;
use super::shape::{Path, array, each, invalid, missing, need, object, string, take};
use crate::chat::{CacheMark, Content, Message, Origin, Part, Sealed, ToolCall, Turn};
use crate::error::GatewayError;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// LiteLLM's way to carry a signature: behind the call's id.
const SUFFIX: &str = "__thought__";

/// Reads `messages`.
///
/// # Errors
/// When there are none, or one cannot be read.
pub(super) fn list(value: Value, path: &Path<'_>) -> Result<Vec<Message>, GatewayError> {
    let items = array(value, path)?;
    if items.is_empty() {
        return Err(invalid(path, "expected at least one message."));
    }
    let mut messages = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let path = path.at(at);
        let mut map = object(item, &path)?;
        let message = message(&mut map, &path, at, &messages)?;
        messages.push(message);
    }
    Ok(messages)
}

fn message(
    map: &mut Fields,
    path: &Path<'_>,
    at: usize,
    before: &[Message],
) -> Result<Message, GatewayError> {
    let role = need(map, path, "role", string)?;
    let cache = cache_mark(map, path)?;
    let mut message = match role.as_str() {
        "system" | "developer" => Message::System {
            parts: required(map, path, Speaker::System)?,
        },
        "user" => Message::User {
            parts: required(map, path, Speaker::User)?,
            name: take(map, path, "name", string)?,
        },
        "assistant" => Message::Assistant(turn(map, path, at)?),
        "tool" => tool_result(map, path, before)?,
        "function" => function_result(map, path, before)?,
        _ => return Err(invalid(&path.key("role"), ROLES)),
    };
    if let Some(mark) = cache {
        mark_last(&mut message, mark);
    }
    Ok(message)
}

const ROLES: &str = "expected 'system', 'developer', 'user', 'assistant', 'tool' or 'function'.";

/// A mark on a message is one on the last thing in it.
fn mark_last(message: &mut Message, mark: CacheMark) {
    let parts = match message {
        Message::System { parts } | Message::User { parts, .. } | Message::Tool { parts, .. } => {
            parts
        }
        Message::Assistant(turn) => {
            if let Some(call) = turn.calls.last_mut() {
                call.cache.get_or_insert(mark);
                return;
            }
            &mut turn.parts
        }
    };
    if let Some(last) = parts.last_mut() {
        last.cache.get_or_insert(mark);
    }
}

fn required(
    map: &mut Fields,
    path: &Path<'_>,
    speaker: Speaker,
) -> Result<Vec<Part>, GatewayError> {
    let found = need(map, path, "content", |value, path| {
        contents(value, path, speaker)
    })?;
    if found.parts.is_empty() && speaker != Speaker::Tool {
        return Err(invalid(
            &path.key("content"),
            "expected at least one content part.",
        ));
    }
    Ok(found.parts)
}

fn tool_result(
    map: &mut Fields,
    path: &Path<'_>,
    before: &[Message],
) -> Result<Message, GatewayError> {
    let id = need(map, path, "tool_call_id", string)?;
    let call_id = unsuffixed(&id).0.to_owned();
    if !was_called(before, &call_id) {
        let reason = "it is not the id of a tool call in a message before.";
        return Err(invalid(&path.key("tool_call_id"), reason));
    }
    Ok(Message::Tool {
        call_id,
        parts: required(map, path, Speaker::Tool)?,
        is_error: false,
    })
}

/// The answer to the last `function_call` of that name.
fn function_result(
    map: &mut Fields,
    path: &Path<'_>,
    before: &[Message],
) -> Result<Message, GatewayError> {
    let name = need(map, path, "name", string)?;
    let called = before.iter().rev().find_map(|message| match message {
        Message::Assistant(turn) => turn.calls.iter().rev().find(|call| call.name == name),
        _ => None,
    });
    let Some(call) = called else {
        return Err(invalid(
            &path.key("name"),
            "no message before has a 'function_call' of that name.",
        ));
    };
    // OpenAI takes null for a function that returned nothing.
    let found = take(map, path, "content", |value, path| {
        contents(value, path, Speaker::Tool)
    })?;
    Ok(Message::Tool {
        call_id: call.id.clone(),
        parts: found.unwrap_or_default().parts,
        is_error: false,
    })
}

fn turn(map: &mut Fields, path: &Path<'_>, at: usize) -> Result<Turn, GatewayError> {
    if map.get("audio").is_some_and(|audio| !audio.is_null()) {
        let reason = "the audio of an earlier answer cannot be taken up by this model's provider.";
        return Err(invalid(&path.key("audio"), reason));
    }
    let found = take(map, path, "content", |value, path| {
        contents(value, path, Speaker::Assistant)
    })?;
    let Contents {
        mut parts,
        thoughts,
    } = found.unwrap_or_default();
    // What the model made in an earlier answer, as that answer had it.
    let images = take(map, path, "images", |value, path| each(value, path, made))?;
    parts.extend(images.unwrap_or_default());
    if let Some(refusal) = take(map, path, "refusal", string)? {
        parts.push(Part {
            content: Content::Refusal(refusal),
            cache: None,
        });
    }
    let calls = take(map, path, "tool_calls", |value, path| {
        each(value, path, tool_call)
    })?;
    let mut calls = calls.unwrap_or_default();
    let older = take(map, path, "function_call", |value, path| {
        function(value, path)
    })?;
    if let Some(call) = older.filter(|_| calls.is_empty()) {
        let id = format!("call_fn{at}");
        calls.push(ToolCall { id, ..call });
    }
    let told = reasoning::take_thoughts(map, path)?;
    let thoughts = if told.is_empty() { thoughts } else { told };
    Ok(Turn {
        thoughts,
        parts,
        calls,
        name: take(map, path, "name", string)?,
        ..Turn::default()
    })
}

/// An image of `images`.
fn made(value: Value, path: &Path<'_>) -> Result<Part, GatewayError> {
    let mut map = object(value, path)?;
    let content = need(&mut map, path, "image_url", image)?;
    let cache = None;
    Ok(Part { content, cache })
}

fn tool_call(value: Value, path: &Path<'_>) -> Result<ToolCall, GatewayError> {
    let mut map = object(value, path)?;
    let kind = take(&mut map, path, "type", string)?;
    if kind.is_some_and(|kind| kind != "function") {
        return Err(invalid(
            &path.key("type"),
            "only calls of functions can be taken up by this model's provider.",
        ));
    }
    let id = need(&mut map, path, "id", string)?;
    let (id, suffix) = unsuffixed(&id);
    if id.is_empty() {
        return Err(invalid(&path.key("id"), "it is empty."));
    }
    let cache = cache_mark(&mut map, path)?;
    let carried = carried_signature(&map);
    let inner = map
        .get("function")
        .and_then(|function| signature_in(function.get("provider_specific_fields")));
    let signature = carried.or(inner).or_else(|| suffix.map(str::to_owned));
    let call = match map.remove("function") {
        Some(value) => function(value, &path.key("function"))?,
        None => return Err(missing(&path.key("function"))),
    };
    Ok(ToolCall {
        id: id.to_owned(),
        signature: signature.map(|text| Sealed::returned(text, Origin::Gemini)),
        cache,
        ..call
    })
}

/// The signature beside a call: Google's own form, then LiteLLM's.
fn carried_signature(map: &Fields) -> Option<String> {
    let google = map
        .get("extra_content")
        .and_then(|extra| extra.get("google"));
    signature_in(google).or_else(|| signature_in(map.get("provider_specific_fields")))
}

fn signature_in(value: Option<&Value>) -> Option<String> {
    let text = value?.get("thought_signature")?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// An id, and the signature that hangs on it.
fn unsuffixed(id: &str) -> (&str, Option<&str>) {
    match id.split_once(SUFFIX) {
        Some((id, signature)) => (id, Some(signature).filter(|s| !s.is_empty())),
        None => (id, None),
    }
}

/// `{name, arguments}`. The arguments stay as they are, JSON or not.
fn function(value: Value, path: &Path<'_>) -> Result<ToolCall, GatewayError> {
    let mut map = object(value, path)?;
    let name = need(&mut map, path, "name", string)?;
    let arguments = take(&mut map, path, "arguments", |value, path| match value {
        // Not in the specification, but in the histories of some clients.
        Value::Object(_) => Ok(value.to_string()),
        other => string(other, path),
    })?;
    Ok(ToolCall {
        name,
        arguments: arguments.unwrap_or_default(),
        ..ToolCall::default()
    })
}
