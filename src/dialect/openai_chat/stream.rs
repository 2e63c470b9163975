//! A compatible provider's stream.
//!
//! Tolerant of everything seen in the wild but of one thing: an answer that
//! stops short. A stream is whole when `[DONE]` came, or when every choice
//! that began has finished; anything else is [`DecodeError::Truncated`].

use super::pieces::{self, Ending, Piece};
use super::running::Running;
use super::think::Tags;
use super::{answer, besides, failure, shape};
use crate::chat::{
    self, Answer, DecodeError, Decoder, Event, Finish, Medium, Said, Sealed, Thought, Usage,
};
use crate::wire::{json, sse};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

type Fields = Map<String, Value>;

/// Provider bytes to events.
#[derive(Debug)]
pub(super) struct Chunks {
    framer: sse::Framer,
    limit: usize,
    form: Form,
    /// The answer's id, once the stream has started.
    id: Option<String>,
    started: bool,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    /// What was told besides, and not yet told on.
    other: Fields,
    think_tags: bool,
    running: Running,
    over: bool,
}

/// What the bytes turn out to be.
#[derive(Debug)]
enum Form {
    /// Nothing but white space so far.
    Unknown,
    Events,
    /// One JSON document: an error with status 200, or a provider that does
    /// not stream.
    Document(Vec<u8>),
}

#[derive(Debug, Default)]
struct Choice {
    calls: Vec<Call>,
    finished: bool,
    /// Where the thoughts are in the content.
    tags: Option<Tags>,
}

#[derive(Debug, Default)]
struct Call {
    /// The provider's number of it, if it numbers them.
    index: Option<u64>,
    /// The provider's id of it.
    id: Option<String>,
    name: String,
    signature: Option<Sealed>,
    /// `CallStart` was told, which waits for the name.
    told: bool,
    /// Arguments that came before.
    waiting: String,
    argued: bool,
}

impl Chunks {
    pub(super) fn new(limit: usize, think_tags: bool) -> Self {
        Self {
            framer: sse::Framer::new(limit),
            limit,
            form: Form::Unknown,
            id: None,
            started: false,
            choices: BTreeMap::new(),
            usage: None,
            other: Fields::new(),
            think_tags,
            running: Running::default(),
            over: false,
        }
    }

    fn event(&mut self, raw: &[u8], out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let event = sse::Event::parse(raw);
        if event.is_comment_only() {
            out.push(Event::Ping);
            return Ok(());
        }
        let data = event.data.as_deref().unwrap_or_default().trim_ascii();
        if event.name == Some("error") {
            self.fail(failure::named(data), out);
            return Ok(());
        }
        match data {
            b"" => Ok(()),
            b"[DONE]" => self.done(out),
            data => {
                let value: Value =
                    json::lenient(data).ok_or(DecodeError::Malformed("a chunk in JSON"))?;
                let from = out.len();
                self.chunk(&value, out);
                self.running.told_once(from, out);
                Ok(())
            }
        }
    }

    fn fail(&mut self, failure: crate::chat::Failure, out: &mut Vec<Event>) {
        out.push(Event::Failed(failure));
        self.over = true;
    }

    fn chunk(&mut self, value: &Value, out: &mut Vec<Event>) {
        if let Some(failure) = failure::in_band(value) {
            return self.fail(failure, out);
        }
        let Some(body) = value.as_object() else {
            return;
        };
        let choices = body
            .get("choices")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let id = pieces::id(body);
        // Azure's first chunk has neither, and is not the answer's start.
        if !choices.is_empty() || id.is_some() {
            self.start(id, pieces::text(body, "model"), out);
        }
        let choices: Vec<(u32, &Fields)> = numbered(choices).collect();
        besides::update(
            &mut self.other,
            besides::told(body, choices.iter().copied()),
        );
        if let Some(tier) = pieces::text(body, "service_tier") {
            self.other.insert("service_tier".to_owned(), tier.into());
        }
        let ends = |(_, map): &(u32, &Fields)| {
            !matches!(pieces::ending(map.get("finish_reason")), Ending::None)
        };
        if choices.iter().any(ends) {
            self.tell_besides(out);
        }
        for (index, map) in choices {
            if !self.over {
                self.choice(index, map, out);
            }
        }
        if self.over {
            return;
        }
        if let Some(usage) = pieces::usage(body).filter(|usage| self.usage != Some(*usage)) {
            self.usage = Some(usage);
            out.push(Event::Usage(usage));
        }
    }

    fn start(&mut self, id: Option<String>, model: Option<&str>, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            self.id.clone_from(&id);
            out.push(Event::Start {
                id,
                model: model.map(str::to_owned),
            });
        }
    }

    fn tell_besides(&mut self, out: &mut Vec<Event>) {
        if !self.other.is_empty() {
            out.push(Event::Other(std::mem::take(&mut self.other)));
        }
    }

    fn choice(&mut self, index: u32, map: &Fields, out: &mut Vec<Event>) {
        let tags = self.think_tags.then(Tags::default);
        let choice = self.choices.entry(index).or_insert_with(|| Choice {
            tags,
            ..Choice::default()
        });
        if choice.finished {
            return;
        }
        if let Some(delta) = map.get("delta").and_then(Value::as_object) {
            said(index, delta, choice.tags.as_mut(), out);
            choice.called(index, delta, self.id.as_deref(), out);
        }
        if let Some(logprobs) = map.get("logprobs").filter(|logprobs| logprobs.is_object()) {
            out.push(Event::Logprobs {
                choice: index,
                logprobs: logprobs.clone(),
            });
        }
        match pieces::ending(map.get("finish_reason")) {
            Ending::None => {}
            Ending::Finish(finish) => {
                let native = pieces::native(map);
                out.extend(native.map(|native| Event::Native {
                    choice: index,
                    native,
                }));
                choice.finish(index, finish, self.id.as_deref(), out);
            }
            Ending::Failed(status) => self.fail(pieces::failed(status), out),
        }
    }

    /// The stream is whole. Providers that never give a reason have stopped.
    fn done(&mut self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.choices.is_empty() {
            return Err(DecodeError::Truncated);
        }
        self.tell_besides(out);
        for (index, choice) in &mut self.choices {
            if !choice.finished {
                choice.finish(*index, Finish::Stop, self.id.as_deref(), out);
            }
        }
        out.push(Event::End);
        self.over = true;
        Ok(())
    }

    /// Leaves white space off until the form of the bytes is known.
    fn recognise(&mut self, bytes: &mut Bytes) {
        if !matches!(self.form, Form::Unknown) {
            return;
        }
        let blank = bytes
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let _ = bytes.split_to(blank);
        match bytes.first() {
            None => {}
            Some(b'{') => self.form = Form::Document(Vec::new()),
            Some(_) => self.form = Form::Events,
        }
    }

    /// Reads what came as one document.
    fn document(&mut self, body: &[u8], out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let value: Value = json::lenient(body).ok_or(DecodeError::Truncated)?;
        match answer::whole(&value, self.think_tags)? {
            Err(failure) => out.push(Event::Failed(failure)),
            Ok(answer) => told_at_once(answer, out),
        }
        self.over = true;
        Ok(())
    }
}

impl Decoder for Chunks {
    fn push(&mut self, mut bytes: Bytes, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.recognise(&mut bytes);
        if let Form::Document(body) = &mut self.form {
            if body.len().saturating_add(bytes.len()) > self.limit {
                return Err(DecodeError::TooLong);
            }
            body.extend_from_slice(&bytes);
            return Ok(());
        }
        self.framer.push(bytes);
        while let Some(raw) = self.framer.next_event().map_err(|_| DecodeError::TooLong)? {
            if !self.over {
                self.event(&raw, out)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), DecodeError> {
        if let Form::Document(body) = &mut self.form {
            let body = std::mem::take(body);
            return self.document(&body, out);
        }
        if self.framer.rest() > 0 && !self.over {
            // Some servers leave out the last blank line.
            let rest = self.push(Bytes::from_static(b"\n\n"), out);
            rest.map_err(|_| DecodeError::Truncated)?;
        }
        if self.over {
            return Ok(());
        }
        if self.choices.values().any(|choice| !choice.finished) {
            return Err(DecodeError::Truncated);
        }
        self.done(out)
    }
}

/// What a message or a delta holds besides calls.
pub(super) fn said(choice: u32, delta: &Fields, mut tags: Option<&mut Tags>, out: &mut Vec<Event>) {
    for thought in pieces::thoughts(delta) {
        thought_events(choice, thought, out);
    }
    for piece in pieces::content(delta.get("content")) {
        match (piece, tags.as_deref_mut()) {
            (Piece::Text(text), Some(tags)) => {
                let mut pieces = Vec::new();
                tags.read(&text, &mut pieces);
                for piece in pieces {
                    piece_event(choice, piece, out);
                }
            }
            (piece, _) => piece_event(choice, piece, out),
        }
    }
    let images = pieces::images(delta).into_iter();
    out.extend(images.map(|image| Event::Image { choice, image }));
    out.extend(pieces::audio(delta).map(|audio| Event::Audio { choice, audio }));
    if let Some(text) = pieces::text(delta, "refusal") {
        out.push(Event::Refusal {
            choice,
            text: text.to_owned(),
        });
    }
    let annotations = delta
        .get("annotations")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty());
    if let Some(annotations) = annotations {
        out.push(Event::Annotations {
            choice,
            annotations: annotations.iter().map(unplaced).collect(),
        });
    }
}

/// An entry of a streamed list without its place in the list, which is none of
/// its own fields.
fn unplaced(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.shift_remove("index");
    }
    entry
}

/// The choices of a chunk with their numbers.
fn numbered(choices: &[Value]) -> impl Iterator<Item = (u32, &Fields)> {
    (0..).zip(choices).filter_map(|(at, choice)| {
        let map = choice.as_object()?;
        let index = map.get("index").and_then(shape::whole);
        let index = index.and_then(|index| u32::try_from(index).ok());
        Some((index.unwrap_or(at), map))
    })
}

pub(super) fn piece_event(choice: u32, piece: Piece, out: &mut Vec<Event>) {
    match piece {
        Piece::Text(text) if !text.is_empty() => out.push(Event::Text { choice, text }),
        Piece::Text(_) => {}
        Piece::Thought(thought) => thought_events(choice, thought, out),
    }
}

fn thought_events(choice: u32, thought: Thought, out: &mut Vec<Event>) {
    if let Some(data) = thought.redacted {
        out.push(Event::RedactedThought { choice, data });
        return;
    }
    if !thought.text.is_empty() {
        out.push(Event::Thought {
            choice,
            text: thought.text,
        });
    }
    if let Some(signature) = thought.signature {
        out.push(Event::Signature { choice, signature });
    }
}

impl Choice {
    fn called(&mut self, choice: u32, delta: &Fields, answer: Option<&str>, out: &mut Vec<Event>) {
        let listed = delta.get("tool_calls").and_then(Value::as_array);
        for call in listed.into_iter().flatten().filter_map(Value::as_object) {
            self.piece(choice, call, answer, out);
        }
        if let Some(function) = delta
            .get("function_call")
            .filter(|function| function.is_object())
        {
            let call = Fields::from_iter([
                ("index".to_owned(), 0.into()),
                ("function".to_owned(), function.clone()),
            ]);
            self.piece(choice, &call, answer, out);
        }
    }

    /// A piece of a call, or all of one.
    fn piece(&mut self, choice: u32, piece: &Fields, answer: Option<&str>, out: &mut Vec<Event>) {
        let empty = Fields::new();
        let function = piece
            .get("function")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let name = pieces::text(function, "name");
        let at = self.place(piece, name.is_some());
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        if let Some(name) = name.filter(|_| call.name.is_empty()) {
            call.name = name.to_owned();
        }
        call.signature = call.signature.take().or_else(|| pieces::signature(piece));
        call.waiting.push_str(&pieces::arguments(function));
        if !call.name.is_empty() {
            call.tell(choice, at, answer, out);
        }
    }

    /// Which call a piece belongs to; a new one if it begins one. Some
    /// providers do not number their calls, some give all of them number 0,
    /// some repeat the id, and some make up a new one for every piece.
    fn place(&mut self, piece: &Fields, named: bool) -> usize {
        let index = piece.get("index").and_then(shape::whole);
        let id = pieces::id(piece);
        let numbered = |call: &Call| index.is_none() || call.index == index;
        let known = |call: &Call| id.is_some() && call.id == id && numbered(call);
        let found = self.calls.iter().position(known).or_else(|| {
            let last = self.calls.iter().rposition(numbered)?;
            let begins = match index {
                Some(_) => named && id.is_some() && self.calls.get(last)?.id.is_some(),
                None => named || id.is_some(),
            };
            (!begins).then_some(last)
        });
        found.unwrap_or_else(|| {
            // Twice the same id would make two calls one.
            let id = id.filter(|id| self.calls.iter().all(|call| call.id.as_ref() != Some(id)));
            self.calls.push(Call {
                index,
                id,
                ..Call::default()
            });
            self.calls.len().saturating_sub(1)
        })
    }

    fn finish(&mut self, choice: u32, finish: Finish, answer: Option<&str>, out: &mut Vec<Event>) {
        let mut pieces = Vec::new();
        if let Some(tags) = &mut self.tags {
            tags.end(&mut pieces);
        }
        for piece in pieces {
            piece_event(choice, piece, out);
        }
        for (at, call) in self.calls.iter_mut().enumerate() {
            if !call.argued && call.waiting.is_empty() {
                call.waiting.push_str("{}");
            }
            call.tell(choice, at, answer, out);
        }
        self.finished = true;
        let finish = finish.settled(!self.calls.is_empty());
        out.push(Event::Finish { choice, finish });
    }
}

impl Call {
    /// Tells what is known and was not told.
    fn tell(&mut self, choice: u32, at: usize, answer: Option<&str>, out: &mut Vec<Event>) {
        let Ok(call) = u32::try_from(at) else {
            return;
        };
        if !self.told {
            self.told = true;
            let id = self
                .id
                .clone()
                .unwrap_or_else(|| pieces::mint(answer, choice, at));
            let (name, signature) = (self.name.clone(), self.signature.clone());
            out.push(Event::CallStart {
                choice,
                call,
                id,
                name,
                signature,
            });
        }
        if !self.waiting.is_empty() {
            self.argued = true;
            let text = std::mem::take(&mut self.waiting);
            out.push(Event::CallArguments { choice, call, text });
        }
    }
}

/// The events of an answer that came whole.
fn told_at_once(answer: Answer, out: &mut Vec<Event>) {
    out.push(Event::Start {
        id: answer.id,
        model: answer.model,
    });
    let mut other = answer.other;
    if let Some(tier) = answer.service_tier {
        other.insert("service_tier".to_owned(), tier.into());
    }
    if !other.is_empty() {
        out.push(Event::Other(other));
    }
    for (choice, one) in (0..).zip(answer.choices) {
        told_choice(choice, one, out);
    }
    out.extend(answer.usage.map(Event::Usage));
    out.push(Event::End);
}

fn told_choice(choice: u32, one: chat::Choice, out: &mut Vec<Event>) {
    let mut calls = 0;
    for item in one.items() {
        match item {
            Said::Thought(thought) => thought_events(choice, thought.clone(), out),
            Said::Text { text, .. } => {
                let text = text.to_owned();
                out.push(Event::Text { choice, text });
            }
            Said::Medium(Medium::Image(image)) => {
                let image = image.clone();
                out.push(Event::Image { choice, image });
            }
            Said::Medium(Medium::Audio(audio)) => {
                let audio = audio.clone();
                out.push(Event::Audio { choice, audio });
            }
            Said::Call(made) => {
                out.push(Event::CallStart {
                    choice,
                    call: calls,
                    id: made.id.clone(),
                    name: made.name.clone(),
                    signature: made.signature.clone(),
                });
                out.push(Event::CallArguments {
                    choice,
                    call: calls,
                    text: made.arguments.clone(),
                });
                calls = calls.saturating_add(1);
            }
        }
    }
    out.extend(one.refusal.map(|text| Event::Refusal { choice, text }));
    if !one.annotations.is_empty() {
        out.push(Event::Annotations {
            choice,
            annotations: one.annotations,
        });
    }
    out.extend(
        one.logprobs
            .map(|logprobs| Event::Logprobs { choice, logprobs }),
    );
    out.extend(one.native.map(|native| Event::Native { choice, native }));
    let finish = one.finish.unwrap_or(Finish::Stop).settled(calls > 0);
    out.push(Event::Finish { choice, finish });
}
