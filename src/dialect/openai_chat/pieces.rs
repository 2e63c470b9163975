//! What whole answers and chunks of compatible providers have in common, in
//! all the spellings that are about.

use super::shape::whole;
use super::turns::hex;
use crate::chat::{Audio, Failure, Finish, Native, Origin, Sealed, Source, Thought, Usage};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

type Fields = Map<String, Value>;

/// A non-empty string.
pub(super) fn text<'a>(map: &'a Fields, name: &str) -> Option<&'a str> {
    map.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// An id; some providers number theirs.
pub(super) fn id(map: &Fields) -> Option<String> {
    match map.get("id") {
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => text(map, "id").map(str::to_owned),
    }
}

/// A piece of `content`.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Thought(Thought),
}

/// Reads `content`: a string, or Mistral's list.
pub(super) fn content(value: Option<&Value>) -> Vec<Piece> {
    match value {
        Some(Value::String(text)) => vec![Piece::Text(text.clone())],
        Some(Value::Array(parts)) => parts.iter().filter_map(piece).collect(),
        _ => Vec::new(),
    }
}

fn piece(part: &Value) -> Option<Piece> {
    let map = part.as_object()?;
    if map.contains_key("thinking") {
        return block(map).map(Piece::Thought);
    }
    text(map, "text").map(|text| Piece::Text(text.to_owned()))
}

/// The thoughts of a message or a delta. `reasoning_content` and `reasoning`
/// are the same; blocks beside them repeat the text, or add the signature.
pub(super) fn thoughts(map: &Fields) -> Vec<Thought> {
    let blocks = ["thinking_blocks", "reasoning_details"]
        .iter()
        .find_map(|name| map.get(*name)?.as_array());
    let mut blocks: Vec<Thought> = blocks
        .into_iter()
        .flatten()
        .filter_map(|value| block(value.as_object()?))
        .collect();
    let plain = text(map, "reasoning_content").or_else(|| text(map, "reasoning"));
    if let Some(plain) = plain.filter(|_| blocks.iter().all(|block| block.text.is_empty())) {
        match blocks.first_mut().filter(|block| block.redacted.is_none()) {
            Some(first) => first.text = plain.to_owned(),
            None => blocks.insert(
                0,
                Thought {
                    text: plain.to_owned(),
                    ..Thought::default()
                },
            ),
        }
    }
    blocks
}

/// A block of Anthropic's, OpenRouter's, MiniMax's or Mistral's form.
fn block(map: &Fields) -> Option<Thought> {
    let origin = origin(map);
    if let Some(data) = text(map, "data") {
        return Some(Thought {
            redacted: Some(Sealed::returned(data, origin)),
            ..Thought::default()
        });
    }
    let listed = |value: &Value| {
        let parts = value.as_array()?.iter();
        Some(
            parts
                .filter_map(|part| part.get("text")?.as_str())
                .collect::<String>(),
        )
    };
    let plain = ["thinking", "text", "summary"]
        .iter()
        .find_map(|name| text(map, name).map(str::to_owned));
    let told = plain
        .or_else(|| map.get("thinking").and_then(listed))
        .unwrap_or_default();
    let signature = text(map, "signature").map(|text| Sealed::returned(text, origin));
    (!told.is_empty() || signature.is_some()).then_some(Thought {
        text: told,
        signature,
        redacted: None,
    })
}

/// Whose a block is. OpenRouter says it beside the block; a block that does
/// not say it has Anthropic's form, and is Claude's unless it is tagged.
fn origin(map: &Fields) -> Origin {
    let encrypted = map
        .get("type")
        .is_some_and(|kind| kind == "reasoning.encrypted");
    match text(map, "format") {
        Some(format) if format.starts_with("anthropic") => Origin::Claude,
        Some(format) if format.starts_with("google") => Origin::Gemini,
        Some(_) => Origin::Other,
        None if encrypted => Origin::Other,
        None => Origin::Claude,
    }
}

/// A call's arguments; some providers send the object itself.
pub(super) fn arguments(function: &Fields) -> String {
    match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Object(_) | Value::Array(_))) => value.to_string(),
        _ => String::new(),
    }
}

/// The signature that Google's own Chat Completions hand out with a call.
pub(super) fn signature(call: &Fields) -> Option<Sealed> {
    let google = call.get("extra_content")?.get("google")?;
    let text = google.get("thought_signature")?.as_str()?;
    Some(Sealed::returned(text, Origin::Gemini))
}

/// An id for a call without one: the same whenever the same answer is read.
pub(super) fn mint(answer: Option<&str>, choice: u32, call: usize) -> String {
    let place = format!("{}/{choice}/{call}", answer.unwrap_or_default());
    format!("call_{}", hex(&Sha256::digest(place), 24))
}

/// What a `finish_reason` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not yet.
    None,
    Finish(Finish),
    /// No answer after all; the status that it would have had.
    Failed(u16),
}

/// Reads a `finish_reason`.
pub(super) fn ending(value: Option<&Value>) -> Ending {
    match value.and_then(Value::as_str).unwrap_or_default() {
        "" | "null" => Ending::None,
        "length" | "model_length" | "max_tokens" => Ending::Finish(Finish::Length),
        "tool_calls" | "function_call" | "tool_use" => Ending::Finish(Finish::ToolCalls),
        "content_filter" => Ending::Finish(Finish::ContentFilter),
        "error" | "abort" => Ending::Failed(502),
        "insufficient_system_resource" => Ending::Failed(503),
        _ => Ending::Finish(Finish::Stop),
    }
}

/// What a provider says of an end that OpenAI has no word for: its own word,
/// which `OpenRouter` hands through, and the stop text, which vLLM tells.
pub(super) fn native(choice: &Fields) -> Option<Native> {
    let own = text(choice, "native_finish_reason");
    let word = own.or_else(|| text(choice, "finish_reason"))?;
    let matched = text(choice, "stop_reason").map(str::to_owned);
    match Native::of(word) {
        Some(native) => Some(Native { matched, ..native }),
        None => matched.map(|matched| Native {
            reason: word.to_owned(),
            matched: Some(matched),
        }),
    }
}

/// The images of a message or a delta, as `OpenRouter` and `LiteLLM` write them.
pub(super) fn images(map: &Fields) -> Vec<Source> {
    let list = map.get("images").and_then(Value::as_array);
    let urls = list.into_iter().flatten().filter_map(|image| {
        let inner = image.get("image_url")?;
        inner.get("url").unwrap_or(inner).as_str()
    });
    urls.filter(|url| !url.is_empty())
        .map(Source::from_url)
        .collect()
}

/// The sound of a message, or what a delta has of it.
pub(super) fn audio(map: &Fields) -> Option<Audio> {
    let audio = map.get("audio")?.as_object()?;
    let owned = |name| text(audio, name).map(str::to_owned);
    Some(Audio {
        id: owned("id"),
        data: owned("data").unwrap_or_default(),
        format: owned("format"),
        transcript: owned("transcript").unwrap_or_default(),
        expires_at: audio.get("expires_at").and_then(whole),
    })
}

/// A failure of which the provider says no more than that.
pub(super) fn failed(status: u16) -> Failure {
    let message = Some("The provider could not complete the answer.".to_owned());
    Failure {
        status,
        message,
        ..Failure::default()
    }
}

/// The usage of an answer or a chunk, wherever it stands.
pub(super) fn usage(body: &Fields) -> Option<Usage> {
    let first = || body.get("choices").and_then(|choices| choices.get(0));
    let places = [
        body.get("usage"),
        body.get("x_groq").and_then(|groq| groq.get("usage")),
        first().and_then(|choice| choice.get("usage")),
    ];
    places
        .into_iter()
        .flatten()
        .find_map(Value::as_object)
        .map(counted)
}

/// A `usage` object, in whichever words providers have for it.
pub(in crate::dialect) fn counted(map: &Fields) -> Usage {
    let direct = |name: &str| map.get(name).and_then(whole);
    let of = |outer: &str, inner: &str| {
        map.get(outer)
            .and_then(|details| details.get(inner))
            .and_then(whole)
    };
    let prompt = direct("prompt_tokens").unwrap_or_default();
    let reasoning =
        of("completion_tokens_details", "reasoning_tokens").or(direct("reasoning_tokens"));
    let reasoning = reasoning.unwrap_or_default();
    let mut completion = direct("completion_tokens").unwrap_or_default();
    // Some versions of xAI count thinking apart; only the total shows it.
    let apart = prompt.saturating_add(completion).saturating_add(reasoning);
    if reasoning > 0 && direct("total_tokens") == Some(apart) {
        completion = completion.saturating_add(reasoning);
    }
    let cached = of("prompt_tokens_details", "cached_tokens").or(direct("prompt_cache_hit_tokens"));
    Usage {
        prompt,
        completion,
        cached: cached.or(direct("cached_tokens")).unwrap_or_default(),
        cache_write: of("prompt_tokens_details", "cache_write_tokens").unwrap_or_default(),
        reasoning,
        audio_in: of("prompt_tokens_details", "audio_tokens").unwrap_or_default(),
        audio_out: of("completion_tokens_details", "audio_tokens").unwrap_or_default(),
        ..Usage::default()
    }
}
