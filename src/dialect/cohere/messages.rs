//! The messages of a conversation in Cohere's form, which needs no merging.

use serde_json::{Map, Value, json};

use super::super::Target;
use crate::chat::{
    Capabilities, Content, Conversation, Losses, Message, Part, Source, Thinking, ToolCall, Turn,
    Unsupported,
};

pub(super) fn render(
    asked: &Conversation,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Value, Unsupported> {
    let mut out = Vec::with_capacity(asked.messages.len());
    for (at, message) in asked.messages.iter().enumerate() {
        let place = format!("messages[{at}]");
        out.extend(match message {
            Message::System { parts } => system(parts, &place, losses)?,
            Message::User { parts, name } => {
                drop_name(name.as_deref(), losses)?;
                user(parts, &place, target.capabilities, losses)?
            }
            Message::Assistant(turn) => {
                assistant(turn, &place, target.capabilities.thinking, losses)?
            }
            Message::Tool {
                call_id,
                parts,
                is_error,
            } => {
                if *is_error {
                    losses.drop("is_error")?;
                }
                Some(tool_result(call_id, parts, &place, losses)?)
            }
        });
    }
    if out.is_empty() {
        return Err(Unsupported::new(
            "messages",
            "Nothing is left to send: every message is empty.",
        ));
    }
    let last = asked.messages.len().saturating_sub(1);
    if !target.capabilities.prefill && matches!(asked.messages.last(), Some(Message::Assistant(_)))
    {
        return Err(Unsupported::new(
            format!("messages[{last}]"),
            "This model does not continue a message of the assistant: the last message must be \
             of the user or a tool.",
        ));
    }
    Ok(Value::Array(out))
}

fn system(parts: &[Part], place: &str, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    let texts = texts(parts, place, losses)?;
    Ok((!texts.is_empty()).then(|| json!({"role": "system", "content": flat(texts)})))
}

fn user(
    parts: &[Part],
    place: &str,
    can: &Capabilities,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let mut content = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let place = format!("{place}.content[{at}]");
        drop_mark(part, losses)?;
        match &part.content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => {}
            Content::Text(text) | Content::Refusal(text) => {
                content.push(json!({"type": "text", "text": text}));
            }
            Content::Image { source, detail } => {
                content.push(image(source, detail.as_deref(), can, place)?);
            }
            Content::Audio { .. } => {
                return Err(Unsupported::new(place, "Cohere takes no audio."));
            }
            Content::File { .. } => {
                return Err(Unsupported::new(place, "Cohere takes no files."));
            }
        }
    }
    Ok((!content.is_empty()).then(|| json!({"role": "user", "content": flat(content)})))
}

fn image(
    source: &Source,
    detail: Option<&str>,
    can: &Capabilities,
    place: String,
) -> Result<Value, Unsupported> {
    if !can.images {
        return Err(Unsupported::new(place, "This model takes no images."));
    }
    let url = source.to_url().ok_or_else(|| {
        Unsupported::new(
            place.clone(),
            "Cohere takes images as data: or https: URLs only, not by file id.",
        )
    })?;
    if !["data:", "https:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(Unsupported::new(
            place,
            "Cohere takes images as data: or https: URLs only.",
        ));
    }
    let mut image = Map::new();
    image.insert("url".into(), url.into());
    if let Some(detail) = detail {
        image.insert("detail".into(), detail.into());
    }
    Ok(json!({"type": "image_url", "image_url": image}))
}

/// A turn with nothing in it is left out: there is nothing to send.
fn assistant(
    turn: &Turn,
    place: &str,
    style: Thinking,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    drop_name(turn.name.as_deref(), losses)?;
    let mut content = Vec::new();
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    if let Some(plan) = thoughts(turn, style, &mut content, losses)? {
        message.insert("tool_plan".into(), plan.into());
    }
    let said = texts(&turn.parts, place, losses)?;
    if turn.calls.is_empty() && said.is_empty() {
        return Ok(None);
    }
    content.extend(said);
    if !content.is_empty() {
        message.insert("content".into(), flat(content));
    }
    if turn.calls.iter().any(|call| call.cache.is_some()) {
        losses.drop("cache_control")?;
    }
    if !turn.calls.is_empty() {
        if turn.calls.iter().any(|call| call.signature.is_some()) {
            losses.drop("messages[].tool_calls[].thought_signature")?;
        }
        let calls = turn.calls.iter().map(tool_call).collect();
        message.insert("tool_calls".into(), Value::Array(calls));
    }
    Ok(Some(Value::Object(message)))
}

/// Models that think take their thoughts back as content. The others know of
/// none but the plan before a tool call, which is returned.
fn thoughts(
    turn: &Turn,
    style: Thinking,
    content: &mut Vec<Value>,
    losses: &mut Losses,
) -> Result<Option<String>, Unsupported> {
    let sealed = |t: &crate::chat::Thought| t.redacted.is_some() || t.signature.is_some();
    if turn.thoughts.iter().any(sealed) {
        losses.drop("messages[].thinking_blocks")?;
    }
    let readable: Vec<&str> = turn
        .thoughts
        .iter()
        .filter(|t| t.redacted.is_none() && !t.text.is_empty())
        .map(|t| t.text.as_str())
        .collect();
    if readable.is_empty() {
        return Ok(None);
    }
    if style != Thinking::None {
        content.extend(
            readable
                .iter()
                .map(|t| json!({"type": "thinking", "thinking": t})),
        );
        return Ok(None);
    }
    if turn.calls.is_empty() {
        losses.drop("messages[].reasoning_content")?;
        return Ok(None);
    }
    Ok(Some(readable.concat()))
}

fn tool_call(call: &ToolCall) -> Value {
    let arguments = match call.arguments.trim() {
        "" => "{}",
        _ => &call.arguments,
    };
    json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    })
}

/// An empty result is still a result: its call must not stay unanswered.
fn tool_result(
    call_id: &str,
    parts: &[Part],
    place: &str,
    losses: &mut Losses,
) -> Result<Value, Unsupported> {
    let content = flat(texts(parts, place, losses)?);
    Ok(json!({"role": "tool", "tool_call_id": call_id, "content": content}))
}

/// Text parts without the empty ones.
fn texts(parts: &[Part], place: &str, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut out = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        drop_mark(part, losses)?;
        match &part.content {
            Content::Text(text) | Content::Refusal(text) if text.is_empty() => {}
            Content::Text(text) | Content::Refusal(text) => {
                out.push(json!({"type": "text", "text": text}));
            }
            Content::Image { .. } | Content::Audio { .. } | Content::File { .. } => {
                return Err(Unsupported::new(
                    format!("{place}.content[{at}]"),
                    "Cohere takes text only in a message of this role.",
                ));
            }
        }
    }
    Ok(out)
}

/// A single text stands as a string, which is the same and what older models expect.
fn flat(mut parts: Vec<Value>) -> Value {
    let single = match parts.as_mut_slice() {
        [] => Some(Value::String(String::new())),
        [part] if part.get("type").is_some_and(|kind| kind == "text") => {
            part.get_mut("text").map(Value::take)
        }
        _ => None,
    };
    single.unwrap_or(Value::Array(parts))
}

fn drop_name(name: Option<&str>, losses: &mut Losses) -> Result<(), Unsupported> {
    name.map_or(Ok(()), |_| losses.drop("messages[].name"))
}

fn drop_mark(part: &Part, losses: &mut Losses) -> Result<(), Unsupported> {
    match part.cache {
        Some(_) => losses.drop("cache_control"),
        None => Ok(()),
    }
}
