//! OpenAI's older Completions, for clients that still speak it to models that
//! only chat: the prompt becomes one message of the user, the answer's text
//! the completion. What has no counterpart in a chat is refused by name.
//! Where the provider has Completions itself, bytes pass through instead.

use super::openai_chat::shape::{Path, boolean, count, invalid, mistyped, need, string, take};
use super::openai_chat::whole::{finish_body, head, reason, usage};
use super::openai_chat::{fields, settings};
use super::{Face, Label, openai};
use crate::chat::{Answer, Choice, Conversation, Encoder, Event, Finish, Message, Part, Usage};
use crate::error::{ErrorKind, GatewayError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The client's side of Completions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completions;

/// The API's own default.
const MAX_TOKENS: u64 = 16;

impl Face for Completions {
    fn parse(&self, body: &[u8]) -> Result<Conversation, GatewayError> {
        let mut map = fields(body)?;
        refuse(&mut map)?;
        let prompt = need(&mut map, &Path::Top, "prompt", prompt)?;
        let mut asked = Conversation {
            model: need(&mut map, &Path::Top, "model", string)?,
            ..Conversation::default()
        };
        asked.messages = vec![Message::User {
            parts: vec![Part::text(prompt)],
            name: None,
        }];
        settings(&mut map, &mut asked)?;
        asked.max_tokens.get_or_insert(MAX_TOKENS);
        asked.other = map;
        asked.other.retain(|_, value| !value.is_null());
        Ok(asked)
    }

    fn answer(&self, answer: &Answer, label: &Label) -> Vec<u8> {
        let choices = answer
            .choices
            .iter()
            .enumerate()
            .map(|(at, choice)| completion(at, choice));
        let mut body = head(answer.id.as_deref(), "cmpl-", "text_completion", label);
        body.insert(
            "created".to_owned(),
            answer.created.unwrap_or(label.created).into(),
        );
        body.insert("choices".to_owned(), choices.collect());
        finish_body(body, answer)
    }

    fn encoder(&self, label: Label) -> Box<dyn Encoder> {
        Box::new(Chunks {
            label,
            head: None,
            open: BTreeMap::new(),
            usage: None,
            closed: false,
        })
    }

    fn error(&self, error: &GatewayError) -> (u16, Vec<u8>) {
        (error.status(), openai::error_body(error))
    }

    /// The one message of the conversation is the prompt.
    fn field(&self, _: &[u8], name: &str) -> String {
        let own = match name.starts_with("messages") {
            true => "prompt",
            false => name,
        };
        own.to_owned()
    }
}

/// Takes out what a chat cannot do, if it is asked for nothing.
fn refuse(map: &mut Map<String, Value>) -> Result<(), GatewayError> {
    let top = &Path::Top;
    let echo = take(map, top, "echo", boolean)?.unwrap_or(false);
    let suffix = take(map, top, "suffix", string)?.is_some_and(|suffix| !suffix.is_empty());
    let best = take(map, top, "best_of", count)?.is_some_and(|best| best > 1);
    // A number here, unlike in a chat: even 0 asks for something.
    let logprobs = match map.remove("logprobs") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(_) => true,
    };
    for (asked, name) in [
        (echo, "echo"),
        (suffix, "suffix"),
        (best, "best_of"),
        (logprobs, "logprobs"),
    ] {
        if asked {
            return Err(invalid(
                &top.key(name),
                "it is not supported for a model that only chats.",
            ));
        }
    }
    Ok(())
}

fn prompt(value: Value, path: &Path<'_>) -> Result<String, GatewayError> {
    let mut prompts = match value {
        Value::String(text) => return Ok(text),
        Value::Array(prompts) => prompts,
        other => return Err(mistyped(path, "a string", &other)),
    };
    match (prompts.pop(), prompts.is_empty()) {
        (Some(Value::String(text)), true) => Ok(text),
        (Some(Value::Number(_) | Value::Array(_)), _) => Err(invalid(
            path,
            "prompts of token ids are not supported for a model that only chats.",
        )),
        (Some(Value::String(_)), false) => Err(invalid(
            path,
            "several prompts in one request are not supported for a model that only chats.",
        )),
        _ => Err(invalid(path, "expected a string.")),
    }
}

fn completion(at: usize, choice: &Choice) -> Value {
    json!({
        "index": at,
        "text": choice.text.as_deref().or(choice.refusal.as_deref()).unwrap_or_default(),
        "logprobs": null,
        "finish_reason": word(reason(choice)),
    })
}

/// There are no tools in a completion.
const fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::ToolCalls => "stop",
        other => other.as_str(),
    }
}

/// Events to chunks.
#[derive(Debug)]
struct Chunks {
    label: Label,
    head: Option<Map<String, Value>>,
    /// The choices that began, and whether they go on.
    open: BTreeMap<u32, bool>,
    usage: Option<Usage>,
    closed: bool,
}

impl Chunks {
    fn chunk(&mut self, choices: Value, usage: Option<Value>, out: &mut Vec<u8>) {
        let label = &self.label;
        let mut body = self
            .head
            .get_or_insert_with(|| head(None, "cmpl-", "text_completion", label))
            .clone();
        body.insert("choices".to_owned(), choices);
        if self.label.include_usage {
            body.insert("usage".to_owned(), usage.into());
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(Value::Object(body).to_string().as_bytes());
        out.extend_from_slice(b"\n\n");
    }

    fn text(&mut self, choice: u32, text: &str, finish: Option<Finish>, out: &mut Vec<u8>) {
        let open = self.open.entry(choice).or_insert(true);
        if !*open || (text.is_empty() && finish.is_none()) {
            return;
        }
        *open = finish.is_none();
        let finish = finish.map(word);
        let one =
            json!([{ "index": choice, "text": text, "logprobs": null, "finish_reason": finish }]);
        self.chunk(one, None, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.open.is_empty() || self.open.values().any(|open| *open) {
            let text = "The provider's stream ended before the answer was complete.";
            return self.fail(&GatewayError::new(ErrorKind::UpstreamError, text), out);
        }
        if let Some(counted) = self.usage.filter(|_| self.label.include_usage) {
            self.chunk(json!([]), Some(usage(&counted)), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.closed = true;
    }
}

impl Encoder for Chunks {
    fn encode(&mut self, event: Event, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        match event {
            Event::Start { id, .. } => {
                let label = &self.label;
                self.head
                    .get_or_insert_with(|| head(id.as_deref(), "cmpl-", "text_completion", label));
            }
            Event::Text { choice, text } | Event::Refusal { choice, text } => {
                self.text(choice, &text, None, out)
            }
            Event::Finish { choice, finish } => self.text(choice, "", Some(finish), out),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::End => self.end(out),
            Event::Failed(failure) => {
                let error =
                    GatewayError::new(ErrorKind::UpstreamError, "The provider reported a failure.");
                self.fail(&error.because(failure.message.unwrap_or_default()), out);
            }
            // A completion has no word for these.
            Event::Thought { .. }
            | Event::Signature { .. }
            | Event::RedactedThought { .. }
            | Event::CallStart { .. }
            | Event::CallArguments { .. }
            | Event::Image { .. }
            | Event::Audio { .. }
            | Event::Annotations { .. }
            | Event::Native { .. }
            | Event::Logprobs { .. }
            | Event::Other(_) => {}
        }
    }

    fn fail(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if !self.closed {
            out.extend(openai::error_event(error));
            self.closed = true;
        }
    }
}

#[cfg(test)]
#[path = "openai_completions_tests.rs"]
mod tests;
