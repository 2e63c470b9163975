//! A client's messages. Tool calls of the old kind (`function_call`, role
//! `function`) have no ids: they are given some, by their place.

use super::content::{Contents, Speaker, cache_mark, contents, image};
use super::parse::was_called;
use super::reasoning;
use super::shape::{Path, array, each, invalid, missing, need, object, string, take};
use super::strays::Left;
use crate::chat::{
    CacheMark, Content, Message, Origin, Part, Place, Sealed, Stray, ToolCall, Turn,
};
use crate::error::GatewayError;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// LiteLLM's way to carry a signature: behind the call's id.
const SUFFIX: &str = "__thought__";

/// Reads `messages`.
///
/// # Errors
/// When there are none, or one cannot be read.
pub(super) fn list(
    value: Value,
    path: &Path<'_>,
    strays: &mut Vec<Stray>,
) -> Result<Vec<Message>, GatewayError> {
    let items = array(value, path)?;
    if items.is_empty() {
        return Err(invalid(path, "expected at least one message."));
    }
    let mut messages = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let path = path.at(at);
        let mut map = object(item, &path)?;
        let mut reader = Reader {
            at,
            before: &messages,
            strays,
        };
        let message = reader.message(&mut map, &path)?;
        for echo in ECHOES {
            map.remove(echo);
        }
        let mut left = Left::default();
        left.keep(None, map);
        left.put(strays, |_| Place::Message(at));
        messages.push(message);
    }
    Ok(messages)
}

/// What clients send back of an answer that says nothing to a model: LiteLLM's
/// copies, and the number of a call that came in pieces.
const ECHOES: [&str; 2] = ["provider_specific_fields", "index"];

/// Reads one message.
struct Reader<'a> {
    at: usize,
    before: &'a [Message],
    strays: &'a mut Vec<Stray>,
}

impl Reader<'_> {
    fn message(&mut self, map: &mut Fields, path: &Path<'_>) -> Result<Message, GatewayError> {
        let role = need(map, path, "role", string)?;
        let cache = cache_mark(map, path)?;
        let mut message = match role.as_str() {
            "system" | "developer" => Message::System {
                parts: self.required(map, path, Speaker::System)?,
            },
            "user" => Message::User {
                parts: self.required(map, path, Speaker::User)?,
                name: take(map, path, "name", string)?,
            },
            "assistant" => Message::Assistant(self.turn(map, path)?),
            "tool" => self.tool_result(map, path)?,
            "function" => self.function_result(map, path)?,
            _ => return Err(invalid(&path.key("role"), ROLES)),
        };
        if let Some(mark) = cache {
            mark_last(&mut message, mark);
        }
        Ok(message)
    }

    fn required(
        &mut self,
        map: &mut Fields,
        path: &Path<'_>,
        speaker: Speaker,
    ) -> Result<Vec<Part>, GatewayError> {
        let mut found = need(map, path, "content", |value, path| {
            contents(value, path, speaker)
        })?;
        if found.is_empty() && speaker != Speaker::Tool {
            return Err(invalid(
                &path.key("content"),
                "expected at least one content part.",
            ));
        }
        found.put_strays(self.at, self.strays);
        Ok(found.parts)
    }

    fn tool_result(&mut self, map: &mut Fields, path: &Path<'_>) -> Result<Message, GatewayError> {
        let id = need(map, path, "tool_call_id", string)?;
        let call_id = unsuffixed(&id).0.to_owned();
        if !was_called(self.before, &call_id) {
            let reason = "it is not the id of a tool call in a message before.";
            return Err(invalid(&path.key("tool_call_id"), reason));
        }
        Ok(Message::Tool {
            call_id,
            parts: self.required(map, path, Speaker::Tool)?,
            is_error: false,
        })
    }

    /// The answer to the last `function_call` of that name.
    fn function_result(
        &mut self,
        map: &mut Fields,
        path: &Path<'_>,
    ) -> Result<Message, GatewayError> {
        let name = need(map, path, "name", string)?;
        let called = self.before.iter().rev().find_map(|message| match message {
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
        let mut found = found.unwrap_or_default();
        let call_id = call.id.clone();
        found.put_strays(self.at, self.strays);
        Ok(Message::Tool {
            call_id,
            parts: found.parts,
            is_error: false,
        })
    }

    fn turn(&mut self, map: &mut Fields, path: &Path<'_>) -> Result<Turn, GatewayError> {
        if map.get("audio").is_some_and(|audio| !audio.is_null()) {
            let reason =
                "the audio of an earlier answer cannot be taken up by this model's provider.";
            return Err(invalid(&path.key("audio"), reason));
        }
        let found = take(map, path, "content", |value, path| {
            contents(value, path, Speaker::Assistant)
        })?;
        let mut found = found.unwrap_or_default();
        found.put_strays(self.at, self.strays);
        let Contents {
            mut parts,
            thoughts,
            ..
        } = found;
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
        let mut calls = self.calls(calls.unwrap_or_default());
        let older = take(map, path, "function_call", |value, path| {
            function(value, path, &mut Left::default())
        })?;
        if let Some(call) = older.filter(|_| calls.is_empty()) {
            let id = format!("call_fn{}", self.at);
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

    fn calls(&mut self, read: Vec<(ToolCall, Left)>) -> Vec<ToolCall> {
        let message = self.at;
        let mut calls = Vec::with_capacity(read.len());
        for (call, (made, left)) in read.into_iter().enumerate() {
            left.put(self.strays, |within| Place::Call {
                message,
                call,
                within,
            });
            calls.push(made);
        }
        calls
    }
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

/// An image of `images`.
fn made(value: Value, path: &Path<'_>) -> Result<Part, GatewayError> {
    let mut map = object(value, path)?;
    let content = need(&mut map, path, "image_url", |value, path| {
        image(value, path, &mut Left::default())
    })?;
    let cache = None;
    Ok(Part { content, cache })
}

fn tool_call(value: Value, path: &Path<'_>) -> Result<(ToolCall, Left), GatewayError> {
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
    let mut left = Left::default();
    let call = match map.remove("function") {
        Some(value) => function(value, &path.key("function"), &mut left)?,
        None => return Err(missing(&path.key("function"))),
    };
    for read in ["extra_content"].into_iter().chain(ECHOES) {
        map.remove(read);
    }
    left.keep(None, map);
    let call = ToolCall {
        id: id.to_owned(),
        signature: signature.map(|text| Sealed::returned(text, Origin::Gemini)),
        cache,
        ..call
    };
    Ok((call, left))
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
fn function(value: Value, path: &Path<'_>, left: &mut Left) -> Result<ToolCall, GatewayError> {
    let mut map = object(value, path)?;
    let name = need(&mut map, path, "name", string)?;
    let arguments = take(&mut map, path, "arguments", |value, path| match value {
        // Not in the specification, but in the histories of some clients.
        Value::Object(_) => Ok(value.to_string()),
        other => string(other, path),
    })?;
    map.remove("provider_specific_fields");
    left.keep(Some("function"), map);
    Ok(ToolCall {
        name,
        arguments: arguments.unwrap_or_default(),
        ..ToolCall::default()
    })
}
