//! A compatible provider's whole answer.

use super::pieces::{self, Ending};
use super::stream::{piece_event, said};
use super::think::Tags;
use super::{besides, failure, shape};
use crate::chat::{Answer, Choice, DecodeError, Event, Failure, ToolCall, gather};
use crate::wire::json;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

type Fields = Map<String, Value>;

/// Reads a body of status 2xx; a failure may hide in it.
pub(super) fn read(body: &[u8], think_tags: bool) -> Result<Result<Answer, Failure>, DecodeError> {
    let value: Value = json::lenient(body).ok_or(DecodeError::Malformed("an answer in JSON"))?;
    whole(&value, think_tags)
}

pub(super) fn whole(
    value: &Value,
    think_tags: bool,
) -> Result<Result<Answer, Failure>, DecodeError> {
    if let Some(failure) = failure::in_band(value) {
        return Ok(Err(failure));
    }
    let body = value
        .as_object()
        .ok_or(DecodeError::Malformed("an object"))?;
    let choices = body
        .get("choices")
        .and_then(Value::as_array)
        .filter(|choices| choices.iter().any(Value::is_object));
    let choices = choices.ok_or(DecodeError::Malformed("an answer with choices"))?;
    let id = pieces::id(body);
    let mut read = Vec::with_capacity(choices.len());
    let ordered = in_order(choices);
    for (at, choice) in &ordered {
        match one(choice, *at, id.as_deref(), think_tags) {
            Ok(choice) => read.push(choice),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Ok(Answer {
        id,
        model: pieces::text(body, "model").map(str::to_owned),
        created: body.get("created").and_then(shape::whole),
        choices: read,
        usage: pieces::usage(body),
        service_tier: pieces::text(body, "service_tier").map(str::to_owned),
        other: besides::told(body, ordered.into_iter()),
    }))
}

/// The choices by their index, which is not always their place.
fn in_order(choices: &[Value]) -> Vec<(u32, &Fields)> {
    let mut ordered: Vec<(u64, &Fields)> = Vec::with_capacity(choices.len());
    for (at, choice) in (0..).zip(choices) {
        if let Some(map) = choice.as_object() {
            ordered.push((map.get("index").and_then(shape::whole).unwrap_or(at), map));
        }
    }
    ordered.sort_by_key(|(index, _)| *index);
    (0..).zip(ordered.into_iter().map(|(_, map)| map)).collect()
}

fn one(map: &Fields, at: u32, answer: Option<&str>, think_tags: bool) -> Result<Choice, Failure> {
    let empty = Fields::new();
    let message = map
        .get("message")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut events = Vec::new();
    let mut tags = think_tags.then(Tags::default);
    said(0, message, tags.as_mut(), &mut events);
    let mut rest = Vec::new();
    tags.iter_mut().for_each(|tags| tags.end(&mut rest));
    for piece in rest {
        piece_event(0, piece, &mut events);
    }
    let calls = calls(message, at, answer);
    let called = !calls.is_empty();
    for (call, made) in (0..).zip(calls) {
        let (id, name, signature) = (made.id, made.name, made.signature);
        events.push(Event::CallStart {
            choice: 0,
            call,
            id,
            name,
            signature,
        });
        events.push(Event::CallArguments {
            choice: 0,
            call,
            text: made.arguments,
        });
    }
    let gathered = gather(events).choices.into_iter().next();
    let mut choice = gathered.unwrap_or_default();
    // An empty text is one where nothing else was said.
    if choice == Choice::default() {
        choice.text = message
            .get("content")
            .and_then(Value::as_str)
            .map(str::to_owned);
    }
    choice.logprobs = map
        .get("logprobs")
        .filter(|logprobs| logprobs.is_object())
        .cloned();
    choice.native = pieces::native(map);
    choice.finish = match pieces::ending(map.get("finish_reason")) {
        Ending::Finish(finish) => Some(finish.settled(called)),
        Ending::None => None,
        Ending::Failed(status) => return Err(pieces::failed(status)),
    };
    Ok(choice)
}

fn calls(message: &Fields, at: u32, answer: Option<&str>) -> Vec<ToolCall> {
    let listed = message.get("tool_calls").and_then(Value::as_array);
    let mut calls: Vec<ToolCall> = Vec::new();
    for call in listed.into_iter().flatten().filter_map(Value::as_object) {
        if let Some(read) = tool_call(call) {
            calls.push(read);
        }
    }
    let older = message
        .get("function_call")
        .and_then(Value::as_object)
        .filter(|_| calls.is_empty());
    calls.extend(older.map(function_of));
    let mut seen = BTreeSet::new();
    for (k, call) in calls.iter_mut().enumerate() {
        // Twice the same id would make two calls one.
        if call.id.is_empty() || !seen.insert(call.id.clone()) {
            call.id = pieces::mint(answer, at, k);
        }
        if call.arguments.trim().is_empty() {
            call.arguments = "{}".to_owned();
        }
    }
    calls
}

fn tool_call(call: &Fields) -> Option<ToolCall> {
    let mut read = function_of(call.get("function")?.as_object()?);
    read.id = pieces::id(call).unwrap_or_default();
    read.signature = pieces::signature(call);
    Some(read)
}

fn function_of(function: &Fields) -> ToolCall {
    ToolCall {
        name: pieces::text(function, "name")
            .unwrap_or_default()
            .to_owned(),
        arguments: pieces::arguments(function),
        ..ToolCall::default()
    }
}
