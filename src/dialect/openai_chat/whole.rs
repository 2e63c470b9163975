//! An answer as a Chat Completions client reads it: whole.
//!
//! Every key that the official SDKs call required is there, `null` where there
//! is nothing to say. Thoughts are `reasoning_content`; if their provider
//! wants any of them back, also `thinking_blocks`, to be sent back unchanged.

use super::super::Label;
use super::besides;
use crate::chat::{
    Answer, Audio, Choice, Finish, Medium, Native, Origin, Sealed, Source, Thought, ToolCall, Usage,
};
use serde_json::{Map, Value, json};

/// Writes a `chat.completion`. `legacy`: calls as `function_call`.
pub(super) fn completion(answer: &Answer, label: &Label, legacy: bool) -> Vec<u8> {
    let choices = answer
        .choices
        .iter()
        .enumerate()
        .map(|(at, one)| choice(at, one, label, legacy));
    let mut body = head(answer.id.as_deref(), "chatcmpl-", "chat.completion", label);
    body.insert(
        "created".to_owned(),
        answer.created.unwrap_or(label.created).into(),
    );
    body.insert("choices".to_owned(), choices.collect());
    if let Some(choices) = answer.other.get("choices") {
        let choices = Map::from_iter([("choices".to_owned(), choices.clone())]);
        besides::add(&mut body, &choices);
    }
    finish_body(body, answer)
}

/// What answers and chunks have in common. `prefix` starts an id that is made
/// here, because the provider gave none.
pub(crate) fn head(
    id: Option<&str>,
    prefix: &str,
    object: &str,
    label: &Label,
) -> Map<String, Value> {
    let id = label.id.as_deref().or(id).filter(|id| !id.is_empty());
    let id = id.map(str::to_owned);
    let mut head = Map::new();
    head.insert(
        "id".to_owned(),
        id.unwrap_or_else(|| format!("{prefix}{}", label.seed))
            .into(),
    );
    head.insert("object".to_owned(), object.into());
    head.insert("created".to_owned(), label.created.into());
    head.insert("model".to_owned(), label.model.clone().into());
    head
}

/// Adds what ends every whole answer.
pub(crate) fn finish_body(mut body: Map<String, Value>, answer: &Answer) -> Vec<u8> {
    if let Some(counted) = &answer.usage {
        body.insert("usage".to_owned(), usage(counted));
    }
    if let Some(tier) = &answer.service_tier {
        body.insert("service_tier".to_owned(), tier.clone().into());
    }
    body.insert("system_fingerprint".to_owned(), Value::Null);
    // `choices` are the caller's.
    let rest = answer.other.iter().filter(|(name, _)| *name != "choices");
    let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
    besides::add(&mut body, &rest.collect());
    Value::Object(body).to_string().into_bytes()
}

fn choice(at: usize, choice: &Choice, label: &Label, legacy: bool) -> Value {
    let finish = reason(choice);
    let mut written = json!({
        "index": at,
        "message": message(at, choice, label, legacy),
        "logprobs": choice.logprobs,
        "finish_reason": word(finish, legacy),
    });
    if let Some((written, native)) = written.as_object_mut().zip(choice.native.as_ref()) {
        written.extend(native_fields(native));
    }
    written
}

/// What the provider said of the end beyond OpenAI's word: `OpenRouter`'s field
/// for its reason, vLLM's for the stop text.
pub(super) fn native_fields(native: &Native) -> Map<String, Value> {
    let mut fields = Map::new();
    if Native::of(&native.reason).is_some() {
        fields.insert(
            "native_finish_reason".to_owned(),
            native.reason.clone().into(),
        );
    }
    if let Some(matched) = &native.matched {
        fields.insert("stop_reason".to_owned(), matched.clone().into());
    }
    fields
}

/// Why a choice ended. Calls speak for themselves where nobody says it.
pub(crate) fn reason(choice: &Choice) -> Finish {
    let told = choice.finish.unwrap_or(Finish::Stop);
    told.settled(!choice.calls.is_empty())
}

/// OpenAI's word for an end.
pub(super) const fn word(finish: Finish, legacy: bool) -> &'static str {
    match finish {
        Finish::ToolCalls if legacy => "function_call",
        other => other.as_str(),
    }
}

fn message(at: usize, choice: &Choice, label: &Label, legacy: bool) -> Map<String, Value> {
    let mut message = Map::new();
    let mut set = |name: &str, value: Value| message.insert(name.to_owned(), value);
    set("role", "assistant".into());
    set("content", choice.text.clone().into());
    set("refusal", choice.refusal.clone().into());
    let thoughts: String = choice
        .thoughts
        .iter()
        .map(|thought| thought.text.as_str())
        .collect();
    if !thoughts.is_empty() {
        set("reasoning_content", thoughts.into());
    }
    if choice
        .thoughts
        .iter()
        .any(|thought| thought.signature.is_some() || thought.redacted.is_some())
    {
        set(
            "thinking_blocks",
            choice.thoughts.iter().map(block).collect(),
        );
    }
    let mut calls = choice
        .calls
        .iter()
        .enumerate()
        .map(|(k, call)| tool_call(call, || mint(label, at, k)));
    if let Some(call) = choice.calls.first().filter(|_| legacy) {
        set("function_call", function(call));
        calls.next();
    }
    let calls: Vec<Value> = calls.collect();
    if !calls.is_empty() {
        set("tool_calls", calls.into());
    }
    if !choice.annotations.is_empty() {
        set("annotations", choice.annotations.clone().into());
    }
    let images: Vec<Value> = choice.media.iter().filter_map(image_of).collect();
    if !images.is_empty() {
        set("images", images.into());
    }
    let sound = choice.media.iter().find_map(|medium| match medium {
        Medium::Audio(audio) => Some(audio),
        Medium::Image(_) => None,
    });
    if let Some(sound) = sound {
        set("audio", audio(sound, label, at));
    }
    message
}

fn image_of(medium: &Medium) -> Option<Value> {
    match medium {
        Medium::Image(source) => image(source),
        Medium::Audio(_) => None,
    }
}

/// An image that the model made, as `OpenRouter` and `LiteLLM` write it.
pub(super) fn image(source: &Source) -> Option<Value> {
    let url = source.to_url()?;
    Some(json!({ "type": "image_url", "image_url": { "url": url } }))
}

/// OpenAI's `audio`, all of whose fields its clients demand. An id that is made
/// here names nothing that could be referred to later, so it is over at once.
fn audio(audio: &Audio, label: &Label, choice: usize) -> Value {
    let minted = || format!("audio_{}_{choice}", label.seed);
    let mut written = json!({
        "id": audio.id.clone().unwrap_or_else(minted),
        "data": audio.data,
        "transcript": audio.transcript,
        "expires_at": audio.expires_at.unwrap_or(label.created),
    });
    if let Some((written, format)) = written.as_object_mut().zip(audio.format.as_ref()) {
        written.insert("format".to_owned(), format.clone().into());
    }
    written
}

/// An id for a call that came without one.
pub(super) fn mint(label: &Label, choice: usize, call: usize) -> String {
    format!("call_{}_{choice}_{call}", label.seed)
}

fn tool_call(call: &ToolCall, id: impl FnOnce() -> String) -> Value {
    let id = if call.id.is_empty() {
        id()
    } else {
        call.id.clone()
    };
    let mut written = json!({ "id": id, "type": "function", "function": function(call) });
    if let Some((written, signature)) = written.as_object_mut().zip(call.signature.as_ref()) {
        written.insert("extra_content".to_owned(), google(signature));
    }
    written
}

/// Google's own way to hand a signature through Chat Completions; its own
/// signatures are bare there.
pub(super) fn google(signature: &Sealed) -> Value {
    json!({ "google": { "thought_signature": signature.carried(Origin::Gemini) } })
}

/// A call without arguments is one with none of them: clients parse the text.
fn function(call: &ToolCall) -> Value {
    let arguments = if call.arguments.is_empty() {
        "{}"
    } else {
        &call.arguments
    };
    json!({ "name": call.name, "arguments": arguments })
}

/// A thought in Anthropic's form, where Claude's signatures are bare.
pub(super) fn block(thought: &Thought) -> Value {
    match (&thought.redacted, &thought.signature) {
        (Some(redacted), _) => {
            json!({ "type": "redacted_thinking", "data": redacted.carried(Origin::Claude) })
        }
        (None, Some(signature)) => {
            let signature = signature.carried(Origin::Claude);
            json!({ "type": "thinking", "thinking": thought.text, "signature": signature })
        }
        (None, None) => json!({ "type": "thinking", "thinking": thought.text }),
    }
}

/// OpenAI's `usage`.
pub(crate) fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": usage.audio_in,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_out,
        },
    })
}
