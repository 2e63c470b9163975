//! Events of any provider as Anthropic's stream.
//!
//! Anthropic writes one block after the other. What comes interleaved (calls
//! side by side, texts after an unfinished call) waits in a queue: its head is
//! written as it comes, the others when their turn is there. A call gives way
//! once its JSON is complete, so that calls in sequence do not wait for the
//! end.
//!
//! `message_start` waits for the event after the start, because that may be a
//! usage; `message_delta` waits for the end, because only the last usage
//! counts.

use super::citations::Citation;
use super::error_frame;
use super::shape::{Block, Delta, Frame, Input, Message, Spent, Stop, sealed_signature};
use crate::chat::{Encoder, Event, Finish, Native, Origin, Sealed, Usage};
use crate::dialect::Label;
use crate::error::GatewayError;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::VecDeque;

/// One stream.
pub struct Stream {
    label: Label,
    state: State,
    /// Blocks that are not closed; only the first may be open.
    blocks: VecDeque<Waiting>,
    /// Of the first block.
    index: u32,
    /// Sources that came before the text that they belong to.
    annotations: Vec<Value>,
    usage: Option<Usage>,
    finish: Option<Finish>,
    native: Option<Native>,
    /// Kinds of what was left out.
    omitted: Vec<&'static str>,
    refusal: String,
    said: bool,
    called: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was heard of the provider.
    Before,
    /// `message_start` is due.
    Begun,
    Running,
    Over,
}

impl Encoder for Stream {
    fn encode(&mut self, event: Event, out: &mut Vec<u8>) {
        if self.state == State::Over || event.choice().is_some_and(|choice| choice != 0) {
            return;
        }
        match event {
            Event::Start { .. } if self.state == State::Before => self.state = State::Begun,
            // The gateway words a failure and calls `fail`: a provider's own
            // text is not scrubbed.
            Event::Start { .. } | Event::Failed(_) => {}
            Event::Usage(usage) => {
                self.usage = Some(usage);
                if self.state == State::Begun {
                    self.start(out);
                }
            }
            Event::Ping => {
                if self.state == State::Begun {
                    self.start(out);
                }
                Frame::Ping.write(out);
            }
            Event::End => self.end(out),
            event => {
                self.start(out);
                let last = matches!(event, Event::Finish { .. });
                self.take(event);
                self.write(last, out);
            }
        }
    }

    fn fail(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if self.state != State::Over {
            self.state = State::Over;
            error_frame(error, None).write(out);
        }
    }
}

impl Stream {
    pub fn new(label: Label) -> Self {
        Self {
            label,
            state: State::Before,
            blocks: VecDeque::new(),
            index: 0,
            annotations: Vec::new(),
            usage: None,
            finish: None,
            native: None,
            omitted: Vec::new(),
            refusal: String::new(),
            said: false,
            called: false,
        }
    }

    /// Writes `message_start` unless it was written.
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Running {
            return;
        }
        self.state = State::Running;
        let usage = Spent::new(&self.usage.unwrap_or_default());
        let message = Message::new(&self.label.seed, &self.label.model, usage);
        Frame::MessageStart { message }.write(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.write(true, out);
        self.state = State::Over;
        let native = self.native.as_ref();
        let mut delta = Stop::new(self.finish, native, self.called, &self.refusal);
        delta.omitted.clone_from(&self.omitted);
        let usage = Spent::last(self.usage.as_ref());
        Frame::MessageDelta { delta, usage }.write(out);
        Frame::MessageStop.write(out);
    }

    /// Takes in what belongs to a block, and why the answer ended.
    fn take(&mut self, event: Event) {
        match event {
            Event::Text { text, .. } => {
                self.said |= !text.is_empty();
                self.text(&text);
            }
            Event::Refusal { text, .. } => {
                self.refusal.push_str(&text);
                // What was said in place of an answer stands where the answer would be.
                if !self.said {
                    self.text(&text);
                }
            }
            Event::Thought { text, .. } => self.thought(&text),
            Event::Signature { signature, .. } => self.signature(&signature),
            Event::RedactedThought { data, .. } => {
                let data = data.carried(Origin::Claude).into_owned();
                self.push(Kind::Redacted { data });
            }
            Event::CallStart {
                call,
                id,
                name,
                signature,
                ..
            } => self.call(call, id, name, signature),
            Event::CallArguments { call, text, .. } => self.arguments(call, &text),
            Event::Annotations { annotations, .. } => self.annotate(annotations),
            Event::Image { .. } => self.omit("image"),
            Event::Audio { .. } => self.omit("audio"),
            Event::Native { native, .. } => self.native = Some(native),
            Event::Finish { finish, .. } => self.finish = Some(finish),
            _ => {}
        }
    }

    fn omit(&mut self, kind: &'static str) {
        if !self.omitted.contains(&kind) {
            self.omitted.push(kind);
        }
    }

    fn push(&mut self, kind: Kind) {
        self.blocks.push_back(Waiting {
            kind,
            open: false,
            text: String::new(),
            annotations: Vec::new(),
            cited: false,
        });
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.blocks.back().is_some_and(|b| b.is_text() && !b.cited) {
            self.push(Kind::Text);
        }
        if let Some(block) = self.blocks.back_mut() {
            block.text.push_str(text);
            block.annotations.append(&mut self.annotations);
        }
    }

    fn annotate(&mut self, mut annotations: Vec<Value>) {
        if annotations.iter().any(|a| Citation::of(a).is_none()) {
            self.omit("citation");
        }
        match self.blocks.back_mut().filter(|block| block.is_text()) {
            Some(block) => {
                block.cited |= !annotations.is_empty();
                block.annotations.append(&mut annotations);
            }
            None => self.annotations.append(&mut annotations),
        }
    }

    fn thought(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.blocks.back().is_some_and(Waiting::is_thought) {
            self.push(Kind::Thinking { signature: None });
        }
        if let Some(block) = self.blocks.back_mut() {
            block.text.push_str(text);
        }
    }

    /// Ends the running thought; one without words where none is running.
    fn signature(&mut self, signature: &Sealed) {
        let running = self.blocks.back_mut().filter(|block| block.is_thought());
        let signed = Kind::Thinking {
            signature: Some(signature.carried(Origin::Claude).into_owned()),
        };
        match running {
            Some(block) => block.kind = signed,
            None => self.push(signed),
        }
    }

    fn call(&mut self, call: u32, id: String, name: String, signature: Option<Sealed>) {
        self.called = true;
        if let Some(signature) = signature {
            let data = sealed_signature(&id, &signature);
            self.push(Kind::Redacted { data });
        }
        let json = Nesting::default();
        self.push(Kind::Tool {
            call,
            id,
            name,
            json,
        });
    }

    /// What follows a complete call is no part of its JSON and has no place.
    fn arguments(&mut self, of: u32, piece: &str) {
        for block in &mut self.blocks {
            if let Kind::Tool { call, json, .. } = &mut block.kind
                && *call == of
            {
                json.read(piece);
                block.text.push_str(piece);
                return;
            }
        }
    }

    /// Writes what can be written: all of the first block, and of those after
    /// it as far as the ones before are complete. `last`: all are.
    fn write(&mut self, last: bool, out: &mut Vec<u8>) {
        while let Some(block) = self.blocks.front_mut() {
            block.write(self.index, out);
            let followed = self.blocks.len() > 1;
            let complete = self.blocks.front().is_some_and(|b| b.is_complete(followed));
            if !complete && !last {
                return;
            }
            Frame::ContentBlockStop { index: self.index }.write(out);
            self.blocks.pop_front();
            self.index = self.index.saturating_add(1);
        }
    }
}

/// A block, with what of it is not written yet.
struct Waiting {
    kind: Kind,
    open: bool,
    text: String,
    annotations: Vec<Value>,
    /// Sources were told of all of it: what follows is another text.
    cited: bool,
}

enum Kind {
    Text,
    /// Complete once it is signed.
    Thinking {
        signature: Option<String>,
    },
    Redacted {
        data: String,
    },
    Tool {
        call: u32,
        id: String,
        name: String,
        json: Nesting,
    },
}

impl Waiting {
    const fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text)
    }

    /// A thought that is not over.
    const fn is_thought(&self) -> bool {
        matches!(self.kind, Kind::Thinking { signature: None })
    }

    /// Whether nothing can follow for it. `followed`: another block is waiting.
    const fn is_complete(&self, followed: bool) -> bool {
        match &self.kind {
            Kind::Text | Kind::Thinking { signature: None } => followed,
            Kind::Thinking { .. } | Kind::Redacted { .. } => true,
            Kind::Tool { json, .. } => followed && json.complete,
        }
    }

    fn write(&mut self, index: u32, out: &mut Vec<u8>) {
        if !self.open {
            self.open = true;
            let content_block = self.opening();
            Frame::ContentBlockStart {
                index,
                content_block,
            }
            .write(out);
        }
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            let delta = self.piece(&text);
            Frame::ContentBlockDelta { index, delta }.write(out);
        }
        let annotations = std::mem::take(&mut self.annotations);
        for citation in annotations.iter().filter_map(Citation::of) {
            let delta = Delta::CitationsDelta { citation };
            Frame::ContentBlockDelta { index, delta }.write(out);
        }
        if let Kind::Thinking {
            signature: Some(signature),
        } = &self.kind
        {
            let delta = Delta::SignatureDelta { signature };
            Frame::ContentBlockDelta { index, delta }.write(out);
        }
    }

    fn opening(&self) -> Block<'_> {
        match &self.kind {
            Kind::Text => Block::Text {
                text: "",
                citations: Vec::new(),
            },
            Kind::Thinking { .. } => Block::Thinking {
                thinking: "",
                signature: Cow::Borrowed(""),
            },
            Kind::Redacted { data } => Block::RedactedThinking { data: data.into() },
            Kind::Tool { id, name, .. } => Block::ToolUse {
                id,
                name,
                input: Input::Empty {},
            },
        }
    }

    const fn piece<'a>(&self, text: &'a str) -> Delta<'a> {
        match self.kind {
            Kind::Text | Kind::Redacted { .. } => Delta::TextDelta { text },
            Kind::Thinking { .. } => Delta::ThinkingDelta { thinking: text },
            Kind::Tool { .. } => Delta::InputJsonDelta { partial_json: text },
        }
    }
}

/// Reads JSON as it comes, to know when its object is closed.
#[derive(Default)]
struct Nesting {
    depth: u32,
    quoted: bool,
    escaped: bool,
    complete: bool,
}

impl Nesting {
    fn read(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.complete |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}
