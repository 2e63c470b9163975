//! A stream: typed events, each with its number.
//!
//! One reasoning item or message is open at a time, and it is closed before
//! another kind of item starts. Calls may grow side by side, as providers may
//! send them so: one is closed when its arguments are whole and another item
//! starts, the rest at the finish.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::Label;
use super::answer::{
    self, Progress, Status, annotation, item_id, shifted, summary_part, token_list,
};
use super::open::{Call, Message, Part, Reasoning, with};
use super::{Echo, error_object};
use crate::chat::{Audio, Encoder, Event, Failure, Finish, Sealed, Source, Thought, Usage};
use crate::error::GatewayError;

/// Writes one stream.
pub(super) struct Stream {
    label: Label,
    echo: Echo,
    sequence: u64,
    started: bool,
    ended: bool,
    /// Items started so far, which is the next one's index.
    items: usize,
    /// Items that are done.
    done: BTreeMap<usize, Value>,
    reasoning: Option<Reasoning>,
    message: Option<Message>,
    calls: BTreeMap<u32, Call>,
    /// Characters of text in items that are done.
    told: usize,
    /// The sound so far, which is one part at the end.
    sound: Option<Audio>,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Stream {
    pub(super) fn new(label: Label, echo: Echo) -> Self {
        Self {
            label,
            echo,
            sequence: 0,
            started: false,
            ended: false,
            items: 0,
            done: BTreeMap::new(),
            reasoning: None,
            message: None,
            calls: BTreeMap::new(),
            told: 0,
            sound: None,
            finish: None,
            usage: None,
        }
    }

    fn send(&mut self, kind: &str, fields: Value, out: &mut Vec<u8>) {
        let mut event = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        event.insert("type".into(), kind.into());
        event.insert("sequence_number".into(), self.sequence.into());
        self.sequence = self.sequence.saturating_add(1);
        let event = Value::Object(event);
        out.extend_from_slice(format!("event: {kind}\ndata: {event}\n\n").as_bytes());
    }

    fn response(&self, status: Status, error: Option<Value>) -> Value {
        let progress = Progress {
            status: Some(status),
            finish: self.finish,
            output: self.done.values().cloned().collect(),
            usage: self.usage.as_ref().filter(|_| status != Status::InProgress),
            error,
            service_tier: None,
        };
        answer::response(&self.label, &self.echo, progress)
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let response = self.response(Status::InProgress, None);
        self.send("response.created", json!({"response": response}), out);
        self.send("response.in_progress", json!({"response": response}), out);
    }

    /// The next item's index and id.
    fn next(&mut self, kind: &str) -> (usize, String) {
        let index = self.items;
        self.items = index.saturating_add(1);
        (index, item_id(kind, &self.label.seed, index))
    }

    fn added(&mut self, index: usize, item: &Value, out: &mut Vec<u8>) {
        let fields = json!({"output_index": index, "item": item});
        self.send("response.output_item.added", fields, out);
    }

    fn item_done(&mut self, index: usize, item: Value, out: &mut Vec<u8>) {
        let fields = json!({"output_index": index, "item": item});
        self.send("response.output_item.done", fields, out);
        self.done.insert(index, item);
    }

    /// Opens a reasoning item unless one is.
    fn think(&mut self, out: &mut Vec<u8>) -> &mut Reasoning {
        self.start(out);
        self.close_message(Status::Completed, out);
        let reasoning = match self.reasoning.take() {
            Some(open) => open,
            None => {
                self.close_calls(Status::Completed, Call::is_whole, out);
                let (index, id) = self.next("rs");
                let item = answer::reasoning_item(&id, Vec::new(), None, Status::InProgress);
                self.added(index, &item, out);
                Reasoning {
                    index,
                    id,
                    thoughts: Vec::new(),
                    text: None,
                    parts: 0,
                }
            }
        };
        self.reasoning.insert(reasoning)
    }

    fn thought(&mut self, text: &str, out: &mut Vec<u8>) {
        let reasoning = self.think(out);
        let place = reasoning.place();
        let opens = reasoning.text.is_none();
        reasoning.text.get_or_insert_default().push_str(text);
        if opens {
            let part = json!({"part": summary_part("")});
            self.send(
                "response.reasoning_summary_part.added",
                with(&place, part),
                out,
            );
        }
        let delta = with(&place, json!({"delta": text}));
        self.send("response.reasoning_summary_text.delta", delta, out);
    }

    /// Ends the running thought, if one is running, and signs it.
    fn end_thought(&mut self, signature: Option<Sealed>, out: &mut Vec<u8>) {
        let Some(reasoning) = self.reasoning.as_mut() else {
            return;
        };
        let place = reasoning.place();
        let text = reasoning.text.take();
        if text.is_some() || signature.is_some() {
            reasoning.thoughts.push(Thought {
                text: text.clone().unwrap_or_default(),
                signature,
                redacted: None,
            });
        }
        if let Some(text) = text {
            reasoning.parts = reasoning.parts.saturating_add(1);
            let done = with(&place, json!({"text": text}));
            self.send("response.reasoning_summary_text.done", done, out);
            let done = with(&place, json!({"part": summary_part(&text)}));
            self.send("response.reasoning_summary_part.done", done, out);
        }
    }

    fn redacted(&mut self, data: Sealed, out: &mut Vec<u8>) {
        self.think(out);
        self.end_thought(None, out);
        self.think(out).thoughts.push(Thought {
            redacted: Some(data),
            ..Thought::default()
        });
    }

    fn close_reasoning(&mut self, status: Status, out: &mut Vec<u8>) {
        self.end_thought(None, out);
        if let Some(open) = self.reasoning.take() {
            let item = answer::reasoning(&open.id, &open.thoughts, status);
            self.item_done(open.index, item, out);
        }
    }

    /// Opens a message unless one is.
    fn speak(&mut self, out: &mut Vec<u8>) -> &mut Message {
        self.start(out);
        self.close_reasoning(Status::Completed, out);
        let message = match self.message.take() {
            Some(open) => open,
            None => {
                self.close_calls(Status::Completed, Call::is_whole, out);
                let (index, id) = self.next("msg");
                let item = answer::message(&id, Vec::new(), Status::InProgress);
                self.added(index, &item, out);
                Message {
                    index,
                    id,
                    content: Vec::new(),
                    part: None,
                }
            }
        };
        self.message.insert(message)
    }

    /// The place of a part of the kind of `fresh`, which is opened unless it is.
    fn part(&mut self, fresh: Part, out: &mut Vec<u8>) -> Value {
        let message = self.speak(out);
        let same = message
            .part
            .as_ref()
            .is_some_and(|open| open.is_like(&fresh));
        if same {
            return message.place();
        }
        self.close_part(out);
        let message = self.speak(out);
        let place = message.place();
        let fields = with(&place, json!({"part": fresh.value()}));
        message.part = Some(fresh);
        self.send("response.content_part.added", fields, out);
        place
    }

    fn text(&mut self, delta: &str, out: &mut Vec<u8>) {
        let place = self.part(Part::text(), out);
        if let Some(Part::Text { text, .. }) = self.open_part() {
            text.push_str(delta);
        }
        let fields = with(&place, json!({"delta": delta, "logprobs": []}));
        self.send("response.output_text.delta", fields, out);
    }

    fn refuse(&mut self, delta: &str, out: &mut Vec<u8>) {
        let place = self.part(Part::Refusal(String::new()), out);
        if let Some(Part::Refusal(text)) = self.open_part() {
            text.push_str(delta);
        }
        self.send(
            "response.refusal.delta",
            with(&place, json!({"delta": delta})),
            out,
        );
    }

    fn annotate(&mut self, found: &[Value], out: &mut Vec<u8>) {
        let place = self.part(Part::text(), out);
        let told = self.told;
        for value in found.iter().map(annotation) {
            let value = shifted(value, told);
            let mut at = 0;
            if let Some(Part::Text { annotations, .. }) = self.open_part() {
                at = annotations.len();
                annotations.push(value.clone());
            }
            let fields = json!({"annotation": value, "annotation_index": at});
            self.send(
                "response.output_text.annotation.added",
                with(&place, fields),
                out,
            );
        }
    }

    /// The tokens were sent already: their log probabilities come with the
    /// whole text.
    fn weigh(&mut self, logprobs: &Value) {
        if let Some(Part::Text { logprobs: all, .. }) = self.open_part() {
            all.extend(token_list(logprobs));
        }
    }

    fn open_part(&mut self) -> Option<&mut Part> {
        self.message.as_mut()?.part.as_mut()
    }

    fn close_part(&mut self, out: &mut Vec<u8>) {
        let Some(message) = self.message.as_mut() else {
            return;
        };
        let place = message.place();
        let Some(part) = message.part.take() else {
            return;
        };
        message.content.push(part.value());
        if let Part::Text { text, .. } = &part {
            self.told = self.told.saturating_add(text.chars().count());
        }
        let (kind, fields) = match &part {
            Part::Text { text, logprobs, .. } => (
                "response.output_text.done",
                json!({"text": text, "logprobs": logprobs}),
            ),
            Part::Refusal(text) => ("response.refusal.done", json!({"refusal": text})),
        };
        self.send(kind, with(&place, fields), out);
        let fields = with(&place, json!({"part": part.value()}));
        self.send("response.content_part.done", fields, out);
    }

    fn close_message(&mut self, status: Status, out: &mut Vec<u8>) {
        self.close_part(out);
        if let Some(open) = self.message.take() {
            let item = answer::message(&open.id, open.content, status);
            self.item_done(open.index, item, out);
        }
    }

    fn image(&mut self, source: &Source, out: &mut Vec<u8>) {
        self.start(out);
        self.close_reasoning(Status::Completed, out);
        self.close_message(Status::Completed, out);
        let (index, id) = self.next("ig");
        let item = answer::image(&id, source);
        let mut begun = item.clone();
        if let Some(begun) = begun.as_object_mut() {
            begun.insert("status".into(), Status::InProgress.as_str().into());
            begun.insert("result".into(), Value::Null);
        }
        self.added(index, &begun, out);
        self.item_done(index, item, out);
    }

    /// Pieces of a sound are of no use before it is whole: no client reads them.
    fn close_sound(&mut self, out: &mut Vec<u8>) {
        let Some(sound) = self.sound.take() else {
            return;
        };
        self.close_part(out);
        let message = self.speak(out);
        let place = message.place();
        let part = json!({"part": answer::audio_part(&sound)});
        message.content.push(answer::audio_part(&sound));
        let fields = with(&place, part);
        self.send("response.content_part.added", fields.clone(), out);
        self.send("response.content_part.done", fields, out);
        self.close_message(Status::Completed, out);
    }

    fn call(
        &mut self,
        number: u32,
        call: (String, String),
        signature: Option<&Sealed>,
        out: &mut Vec<u8>,
    ) {
        if self.calls.contains_key(&number) {
            return;
        }
        self.start(out);
        self.close_reasoning(Status::Completed, out);
        self.close_message(Status::Completed, out);
        self.close_calls(Status::Completed, Call::is_whole, out);
        let (call_id, name) = call;
        if let Some(signature) = signature {
            let (index, id) = self.next("rs");
            let item = answer::reasoning_item(&id, Vec::new(), None, Status::InProgress);
            self.added(index, &item, out);
            let item = answer::call_signature(&id, &call_id, signature);
            self.item_done(index, item, out);
        }
        let (index, id) = self.next("fc");
        let item = answer::call(&id, &call_id, &name, "", Status::InProgress);
        self.added(index, &item, out);
        let call = Call {
            index,
            id,
            call_id,
            name,
            arguments: String::new(),
        };
        self.calls.insert(number, call);
    }

    fn arguments(&mut self, number: u32, delta: &str, out: &mut Vec<u8>) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        call.arguments.push_str(delta);
        let fields = json!({"item_id": call.id, "output_index": call.index, "delta": delta});
        self.send("response.function_call_arguments.delta", fields, out);
    }

    fn close_calls(&mut self, status: Status, which: fn(&Call) -> bool, out: &mut Vec<u8>) {
        let (closing, open) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(|(_, call)| which(call));
        self.calls = open;
        let closing: BTreeMap<u32, Call> = closing;
        for call in closing.into_values() {
            let fields = json!({
                "item_id": call.id,
                "output_index": call.index,
                "arguments": call.arguments,
            });
            self.send("response.function_call_arguments.done", fields, out);
            let item = answer::call(&call.id, &call.call_id, &call.name, &call.arguments, status);
            self.item_done(call.index, item, out);
        }
    }

    /// What is open when a model stops is what was cut off, if it was.
    fn close(&mut self, status: Status, out: &mut Vec<u8>) {
        self.close_sound(out);
        self.close_reasoning(status, out);
        self.close_message(status, out);
        self.close_calls(status, |_| true, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let status = Status::of(self.finish);
        self.close(status, out);
        let response = self.response(status, None);
        let kind = match status {
            Status::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        self.send(kind, json!({"response": response}), out);
        self.ended = true;
    }

    /// The provider's words stay inside: they may hold what is not for clients.
    fn failed(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.start(out);
        let code = match failure.status {
            429 => "rate_limit_exceeded",
            400 | 413 | 422 => "invalid_prompt",
            _ => "server_error",
        };
        let message = "The model's provider failed before the response was complete.";
        let error = json!({"code": code, "message": message});
        let response = self.response(Status::Failed, Some(error));
        self.send("response.failed", json!({"response": response}), out);
        self.ended = true;
    }
}

impl Encoder for Stream {
    fn encode(&mut self, event: Event, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Start { .. } => self.start(out),
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::End => self.end(out),
            Event::Failed(failure) => self.failed(&failure, out),
            Event::Text { choice: 0, text } if !text.is_empty() => self.text(&text, out),
            Event::Refusal { choice: 0, text } if !text.is_empty() => self.refuse(&text, out),
            Event::Thought { choice: 0, text } if !text.is_empty() => self.thought(&text, out),
            Event::Signature {
                choice: 0,
                signature,
            } => {
                self.think(out);
                self.end_thought(Some(signature), out);
            }
            Event::RedactedThought { choice: 0, data } => self.redacted(data, out),
            Event::CallStart {
                choice: 0,
                call,
                id,
                name,
                signature,
            } => {
                self.call(call, (id, name), signature.as_ref(), out);
            }
            Event::CallArguments {
                choice: 0,
                call,
                text,
            } if !text.is_empty() => {
                self.arguments(call, &text, out);
            }
            Event::Annotations {
                choice: 0,
                annotations,
            } if !annotations.is_empty() => {
                self.annotate(&annotations, out);
            }
            Event::Logprobs {
                choice: 0,
                logprobs,
            } => self.weigh(&logprobs),
            Event::Image { choice: 0, image } => self.image(&image, out),
            Event::Audio { choice: 0, audio } => match &mut self.sound {
                Some(sound) => sound.append(audio),
                None => self.sound = Some(audio),
            },
            Event::Finish { choice: 0, finish } => {
                self.finish = Some(finish);
                self.close(Status::of(self.finish), out);
            }
            // Nothing in it, or of an answer that a response has no place for.
            _ => {}
        }
    }

    /// The event has the fields of this API, and under `error` what makes
    /// OpenAI's clients raise an exception rather than hand it on as an event.
    fn fail(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let fields = json!({
            "code": error.code(),
            "message": error.public(),
            "param": error.param(),
            "error": error_object(error),
        });
        self.send("error", fields, out);
    }
}
