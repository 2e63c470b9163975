//! What compatible providers tell besides what has a form: `citations`,
//! `x_groq`, what a call cost. Clients of the same format get it at its place.

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// What has a form, or says nothing to a client.
const ANSWER: [&str; 9] = [
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "service_tier",
    "error",
    "obfuscation",
];
const CHOICE: [&str; 6] = [
    "index",
    "message",
    "delta",
    "logprobs",
    "finish_reason",
    "usage",
];
const MESSAGE: [&str; 9] = [
    "role",
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "thinking_blocks",
    "tool_calls",
    "function_call",
    "annotations",
];
const USAGE: [&str; 5] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
];
const PROMPT: [&str; 3] = ["cached_tokens", "cache_write_tokens", "audio_tokens"];
const COMPLETION: [&str; 2] = ["reasoning_tokens", "audio_tokens"];

/// Of a whole answer, or of a chunk; `choices` in the order of their numbers.
pub(super) fn told<'a>(
    body: &'a Fields,
    choices: impl Iterator<Item = (u32, &'a Fields)>,
) -> Fields {
    let mut other = rest(body, &ANSWER);
    if let Some(usage) = body.get("usage").and_then(Value::as_object) {
        put(&mut other, "usage", counted(usage));
    }
    let mut listed: Vec<Value> = Vec::new();
    for (at, choice) in choices {
        let mut more = rest(choice, &CHOICE);
        if let Some(message) = choice.get("message").and_then(Value::as_object) {
            put(&mut more, "message", rest(message, &MESSAGE));
        }
        let at = usize::try_from(at).unwrap_or_default();
        // A number that is far off is none: nobody asks for so many answers.
        if !more.is_empty() && at < 128 {
            listed.resize(listed.len().max(at.saturating_add(1)), Value::Null);
            if let Some(place) = listed.get_mut(at) {
                *place = Value::Object(more);
            }
        }
    }
    if !listed.is_empty() {
        other.insert("choices".to_owned(), listed.into());
    }
    other
}

fn counted(usage: &Fields) -> Fields {
    let mut more = rest(usage, &USAGE);
    for (name, known) in [
        ("prompt_tokens_details", &PROMPT[..]),
        ("completion_tokens_details", &COMPLETION[..]),
    ] {
        if let Some(details) = usage.get(name).and_then(Value::as_object) {
            put(&mut more, name, rest(details, known));
        }
    }
    more
}

fn rest(map: &Fields, known: &[&str]) -> Fields {
    let unknown = map
        .iter()
        .filter(|(name, value)| !value.is_null() && !known.contains(&name.as_str()));
    unknown
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn put(map: &mut Fields, name: &str, inner: Fields) {
    if !inner.is_empty() {
        map.insert(name.to_owned(), inner.into());
    }
}

/// Adds what is missing; what is there stays, unless it is `null`.
pub(super) fn add(into: &mut Fields, more: &Fields) {
    for (name, value) in more {
        match (into.get_mut(name), value) {
            (Some(Value::Object(into)), Value::Object(more)) => add(into, more),
            (Some(Value::Array(into)), Value::Array(more)) if name == "choices" => {
                for (into, more) in into.iter_mut().zip(more) {
                    if let (Some(into), Some(more)) = (into.as_object_mut(), more.as_object()) {
                        add(into, more);
                    }
                }
            }
            (Some(there), _) if !there.is_null() => {}
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Takes up what a later chunk tells: the later one counts.
pub(super) fn update(into: &mut Fields, more: Fields) {
    for (name, value) in more {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(more)) => update(into, more),
            (Some(Value::Array(into)), Value::Array(more)) if name == "choices" => {
                for (at, more) in more.into_iter().enumerate() {
                    match (into.get_mut(at), more) {
                        (_, Value::Null) => {}
                        (Some(Value::Object(into)), Value::Object(more)) => update(into, more),
                        (Some(into), more) => *into = more,
                        (None, more) => {
                            into.resize(at, Value::Null);
                            into.push(more);
                        }
                    }
                }
            }
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}
