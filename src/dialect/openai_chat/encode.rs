//! An answer as a Chat Completions client reads it: in chunks.
//!
//! Per choice the role comes first and once; tool calls count from 0; nothing
//! follows a finish; the usage chunk comes exactly when it was asked for and
//! is known; `[DONE]` is the last thing and means that the answer is whole. A
//! stream that fails ends with an error instead.

use super::super::{Label, openai};
use super::{besides, whole};
use crate::chat::{Audio, Encoder, Event, Finish, Native, Sealed, Source, Thought, Usage};
use crate::error::{ErrorKind, GatewayError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Events to chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    label: Label,
    legacy: bool,
    /// The start of every chunk, up to its choices: one id, time and model.
    head: Vec<u8>,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    /// What the provider told besides and no chunk told yet.
    other: Map<String, Value>,
    closed: bool,
}

/// What was said of one choice.
#[derive(Debug, Default)]
struct Choice {
    /// In the order of their appearance.
    calls: Vec<Call>,
    /// The running thought, for the block that its signature ends.
    thought: String,
    /// Something else followed the running thought: a signature that comes now
    /// is not its.
    interrupted: bool,
    native: Option<Native>,
    /// A sound has begun.
    heard: bool,
    /// How many entries of each list the client has.
    told: BTreeMap<&'static str, usize>,
    finished: bool,
}

#[derive(Debug)]
struct Call {
    /// The decoder's number of it.
    number: u32,
    argued: bool,
}

impl Chunks {
    pub(super) fn new(label: Label, legacy: bool) -> Self {
        Self {
            label,
            legacy,
            head: Vec::new(),
            choices: BTreeMap::new(),
            usage: None,
            other: Map::new(),
            closed: false,
        }
    }

    fn start(&mut self, id: Option<&str>) {
        let head = whole::head(id, "chatcmpl-", "chat.completion.chunk", &self.label);
        self.head = Value::Object(head).to_string().into_bytes();
        self.head.pop();
        self.head.extend_from_slice(b",\"choices\":[");
    }

    /// One chunk; `choice` is the JSON of its choice, if it has one.
    fn chunk(&mut self, choice: &[u8], out: &mut Vec<u8>) {
        self.chunk_with(choice, None, &Map::new(), out);
    }

    /// One chunk with more members.
    fn chunk_with(
        &mut self,
        choice: &[u8],
        usage: Option<Value>,
        more: &Map<String, Value>,
        out: &mut Vec<u8>,
    ) {
        if self.head.is_empty() {
            self.start(None);
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.head);
        out.extend_from_slice(choice);
        out.push(b']');
        if let Some(usage) = usage {
            out.extend_from_slice(b",\"usage\":");
            write(&usage, out);
        } else if self.label.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        for (name, value) in more {
            out.push(b',');
            write(name, out);
            out.push(b':');
            write(value, out);
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn delta(&mut self, choice: u32, delta: &impl Serialize, out: &mut Vec<u8>) {
        let mut text = format!("{{\"index\":{choice},\"delta\":").into_bytes();
        write(delta, &mut text);
        text.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":null}");
        self.chunk(&text, out);
    }

    /// The choice, opened by its role if this is its first chunk; `None` once
    /// it is finished. A turn that does not begin with text may have none.
    fn open(
        &mut self,
        choice: u32,
        content: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Option<&mut Choice> {
        if let Entry::Vacant(unseen) = self.choices.entry(choice) {
            unseen.insert(Choice::default());
            let role = json!({ "role": "assistant", "content": content });
            self.delta(choice, &role, out);
        }
        self.choices
            .get_mut(&choice)
            .filter(|choice| !choice.finished)
    }

    fn text(&mut self, choice: u32, name: &str, text: &str, out: &mut Vec<u8>) {
        let content = (name == "content").then_some("");
        let Some(open) = self.open(choice, content, out) else {
            return;
        };
        if name == "reasoning_content" {
            open.thought.push_str(text);
            open.interrupted = false;
        } else {
            open.interrupted = true;
        }
        if !text.is_empty() {
            self.delta(choice, &One(name, text), out);
        }
    }

    fn block(
        &mut self,
        choice: u32,
        signature: Option<Sealed>,
        redacted: Option<Sealed>,
        out: &mut Vec<u8>,
    ) {
        let Some(open) = self.open(choice, None, out) else {
            return;
        };
        let mut blocks = Vec::new();
        let mut text = std::mem::take(&mut open.thought);
        let apart = std::mem::take(&mut open.interrupted) || redacted.is_some();
        if apart && !text.is_empty() {
            let text = std::mem::take(&mut text);
            blocks.push(whole::block(&Thought {
                text,
                ..Thought::default()
            }));
        }
        blocks.push(whole::block(&Thought {
            text,
            signature,
            redacted,
        }));
        self.entries(choice, "thinking_blocks", blocks, out);
    }

    /// Entries of a list that a choice is told piece by piece. Its first delta is
    /// the list so far; what a later one adds says where it goes, because OpenAI's
    /// SDK raises on an entry that has no index.
    fn entries(
        &mut self,
        choice: u32,
        name: &'static str,
        mut entries: Vec<Value>,
        out: &mut Vec<u8>,
    ) {
        let Some(open) = self.choices.get_mut(&choice) else {
            return;
        };
        let told = open.told.entry(name).or_default();
        let later = *told > 0;
        for entry in &mut entries {
            if let Some(fields) = entry.as_object_mut().filter(|_| later) {
                fields.insert("index".to_owned(), (*told).into());
            }
            *told += 1;
        }
        self.delta(choice, &One(name, &entries), out);
    }

    fn call(&mut self, choice: u32, start: CallStart, out: &mut Vec<u8>) {
        let Some(open) = self.open(choice, None, out) else {
            return;
        };
        if open.calls.iter().any(|call| call.number == start.call) {
            return;
        }
        open.interrupted = true;
        let at = open.calls.len();
        open.calls.push(Call {
            number: start.call,
            argued: false,
        });
        let function = json!({ "name": start.name, "arguments": "" });
        if self.legacy && at == 0 {
            return self.delta(choice, &One("function_call", &function), out);
        }
        let minted = || whole::mint(&self.label, usize::try_from(choice).unwrap_or_default(), at);
        let id = if start.id.is_empty() {
            minted()
        } else {
            start.id
        };
        let mut call = Map::new();
        call.insert("index".to_owned(), self.index(at).into());
        call.insert("id".to_owned(), id.into());
        call.insert("type".to_owned(), "function".into());
        call.insert("function".to_owned(), function);
        if let Some(signature) = start.signature {
            call.insert("extra_content".to_owned(), whole::google(&signature));
        }
        self.delta(choice, &One("tool_calls", &[call]), out);
    }

    /// A client that reads the first call as `function_call` finds the others
    /// counted from 0.
    fn index(&self, at: usize) -> usize {
        at.saturating_sub(usize::from(self.legacy))
    }

    fn arguments(&mut self, choice: u32, number: u32, text: &str, out: &mut Vec<u8>) {
        let Some(open) = self
            .choices
            .get_mut(&choice)
            .filter(|choice| !choice.finished)
        else {
            return;
        };
        let calls = open.calls.iter_mut().enumerate();
        let Some((at, call)) = calls.into_iter().find(|(_, call)| call.number == number) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        call.argued = true;
        let function = json!({ "arguments": text });
        if self.legacy && at == 0 {
            return self.delta(choice, &One("function_call", &function), out);
        }
        let piece = json!([{ "index": self.index(at), "function": function }]);
        self.delta(choice, &One("tool_calls", &piece), out);
    }

    fn image(&mut self, choice: u32, source: &Source, out: &mut Vec<u8>) {
        if let (Some(open), Some(image)) = (self.open(choice, Some(""), out), whole::image(source))
        {
            open.interrupted = true;
            self.entries(choice, "images", vec![image], out);
        }
    }

    /// A piece of a sound has the fields that it brings.
    fn audio(&mut self, choice: u32, audio: Audio, out: &mut Vec<u8>) {
        let Some(open) = self.open(choice, None, out) else {
            return;
        };
        open.interrupted = true;
        let first = !std::mem::replace(&mut open.heard, true);
        let minted = format!("audio_{}_{choice}", self.label.seed);
        let id = audio.id.or(first.then_some(minted));
        let some = |text: String| (!text.is_empty()).then_some(text);
        let fields = [
            ("id", id),
            ("data", some(audio.data)),
            ("transcript", some(audio.transcript)),
            ("format", audio.format),
        ];
        let fields = fields.into_iter();
        let mut written: Map<String, Value> = fields
            .filter_map(|(name, text)| Some((name.to_owned(), text?.into())))
            .collect();
        let expires = audio.expires_at.or(first.then_some(self.label.created));
        if let Some(expires) = expires {
            written.insert("expires_at".to_owned(), expires.into());
        }
        self.delta(choice, &One("audio", &written), out);
    }

    fn logprobs(&mut self, choice: u32, logprobs: &Value, out: &mut Vec<u8>) {
        if self.open(choice, Some(""), out).is_some() {
            let text = json!({ "index": choice, "delta": {}, "logprobs": logprobs, "finish_reason": null });
            self.chunk(text.to_string().as_bytes(), out);
        }
    }

    fn finish(&mut self, choice: u32, finish: Finish, out: &mut Vec<u8>) {
        let Some(open) = self.open(choice, Some(""), out) else {
            return;
        };
        let silent = open.calls.iter().filter(|call| !call.argued);
        for number in silent.map(|call| call.number).collect::<Vec<_>>() {
            self.arguments(choice, number, "{}", out);
        }
        let mut native = None;
        if let Some(open) = self.choices.get_mut(&choice) {
            open.finished = true;
            native = open.native.take();
        }
        let reason = whole::word(finish, self.legacy);
        let mut text = Map::new();
        text.insert("index".to_owned(), choice.into());
        text.insert("delta".to_owned(), json!({}));
        text.insert("logprobs".to_owned(), Value::Null);
        text.insert("finish_reason".to_owned(), reason.into());
        text.extend(native.iter().flat_map(whole::native_fields));
        let own = usize::try_from(choice)
            .ok()
            .and_then(|at| self.other.get("choices")?.get(at)?.as_object());
        if let Some(own) = own {
            besides::add(&mut text, own);
            // Of a whole answer: its messages were told in pieces.
            text.remove("message");
        }
        let more = self.besides();
        let text = Value::Object(text).to_string();
        self.chunk_with(text.as_bytes(), None, &more, out);
    }

    /// What the next chunk tells besides; the rest waits for its own.
    fn besides(&mut self) -> Map<String, Value> {
        let (kept, more) = std::mem::take(&mut self.other)
            .into_iter()
            .partition(|(name, _)| matches!(name.as_str(), "choices" | "usage"));
        self.other = kept;
        more
    }

    /// The answer is whole only if every choice of it is.
    fn end(&mut self, out: &mut Vec<u8>) {
        if self.choices.is_empty() || self.choices.values().any(|choice| !choice.finished) {
            let text = "The provider's stream ended before the answer was complete.";
            return self.fail(&GatewayError::new(ErrorKind::UpstreamError, text), out);
        }
        if let Some(usage) = self.usage.filter(|_| self.label.include_usage) {
            let mut usage = whole::usage(&usage);
            let more = self.other.get("usage").and_then(Value::as_object);
            if let Some((usage, more)) = usage.as_object_mut().zip(more) {
                besides::add(usage, more);
            }
            let more = self.besides();
            self.chunk_with(b"", Some(usage), &more, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.closed = true;
    }
}

struct CallStart {
    call: u32,
    id: String,
    name: String,
    signature: Option<Sealed>,
}

impl Encoder for Chunks {
    fn encode(&mut self, event: Event, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        match event {
            Event::Start { id, .. } if self.head.is_empty() => self.start(id.as_deref()),
            Event::Start { .. } => {}
            Event::Text { choice, text } => self.text(choice, "content", &text, out),
            Event::Refusal { choice, text } => self.text(choice, "refusal", &text, out),
            Event::Thought { choice, text } => self.text(choice, "reasoning_content", &text, out),
            Event::Signature { choice, signature } => {
                self.block(choice, Some(signature), None, out)
            }
            Event::RedactedThought { choice, data } => self.block(choice, None, Some(data), out),
            Event::CallStart {
                choice,
                call,
                id,
                name,
                signature,
            } => {
                self.call(
                    choice,
                    CallStart {
                        call,
                        id,
                        name,
                        signature,
                    },
                    out,
                );
            }
            Event::CallArguments { choice, call, text } => self.arguments(choice, call, &text, out),
            Event::Annotations {
                choice,
                annotations,
            } => {
                if !annotations.is_empty() && self.open(choice, Some(""), out).is_some() {
                    self.entries(choice, "annotations", annotations, out);
                }
            }
            Event::Logprobs { choice, logprobs } => self.logprobs(choice, &logprobs, out),
            Event::Image { choice, image } => self.image(choice, &image, out),
            Event::Audio { choice, audio } => self.audio(choice, audio, out),
            Event::Native { choice, native } => {
                if let Some(open) = self.open(choice, Some(""), out) {
                    open.native = Some(native);
                }
            }
            Event::Finish { choice, finish } => self.finish(choice, finish, out),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Other(more) => besides::update(&mut self.other, more),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::End => self.end(out),
            // Its text may hold what is not for the client: who relays the stream
            // knows how to scrub it and calls `fail` itself.
            Event::Failed(failure) => {
                let error =
                    GatewayError::new(ErrorKind::UpstreamError, "The provider reported a failure.");
                self.fail(&error.because(failure.message.unwrap_or_default()), out);
            }
        }
    }

    fn fail(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if !self.closed {
            out.extend(openai::error_event(error));
            self.closed = true;
        }
    }
}

/// An object of one member.
struct One<'a, T: ?Sized>(&'a str, &'a T);

impl<T: Serialize + ?Sized> Serialize for One<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, self.1)])
    }
}

/// Appends JSON. Writing to memory does not fail, and neither do maps whose
/// keys are strings.
fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}
