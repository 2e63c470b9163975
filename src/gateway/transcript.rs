//! What the client of a stream has been told, as far as another model must
//! know it to go on.
//!
//! Only a single plain text can be gone on with. Thoughts, calls, refusals,
//! images, sources, log probabilities: whoever continues has not made them and
//! cannot make sense of them, so a stream that told any of them is not
//! continued; nor is one that has its finish.

use crate::chat::{Event, Usage};
use crate::dialect::Label;
use crate::route::pace::tokens_in;
use crate::table::Provider;
use crate::wire::sse;
use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use std::borrow::Cow;

/// Most that is kept of an answer, in bytes. One that is longer is not
/// continued.
const KEPT: usize = 1 << 20;

/// The text of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    text: String,
    usage: Option<Usage>,
    /// Something was told that nobody can go on with.
    closed: bool,
}

impl Transcript {
    /// Takes note of an event that goes to the client.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Text { choice: 0, text } => self.say(text),
            Event::Text { text, .. }
            | Event::Thought { text, .. }
            | Event::Refusal { text, .. }
                if text.is_empty() => {}
            Event::Annotations { annotations, .. } if annotations.is_empty() => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Start { .. } | Event::Ping | Event::Other(_) => {}
            _ => self.close(),
        }
    }

    fn say(&mut self, text: &str) {
        if self.closed {
            return;
        }
        self.text.push_str(text);
        if self.text.len() > KEPT {
            self.close();
        }
    }

    /// Nobody can go on from here.
    fn close(&mut self) {
        self.closed = true;
        self.text = String::new();
    }

    /// The text, if it can be gone on with.
    pub fn text(&self) -> Option<&str> {
        (!self.closed).then_some(self.text.as_str())
    }

    /// What the answer so far cost: as the provider told, else estimated. What
    /// it told of the completion may be older than the text.
    pub fn spent(&self, prompt: impl FnOnce() -> u64) -> Usage {
        let told = self.usage.unwrap_or_default();
        told.or_estimated(prompt, tokens_in(&self.text))
    }
}

/// The bytes of a stream that passes, for the case that it breaks off. Copied:
/// a piece of a shared buffer would keep all of that alive.
#[derive(Debug, Default)]
pub(super) struct Passed {
    bytes: Vec<u8>,
    over: bool,
}

/// What a client has seen of its stream: the names that must stay.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    created: Option<u64>,
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

impl Passed {
    /// Keeps an event that went to the client.
    pub fn keep(&mut self, raw: &[u8]) {
        if self.over {
            return;
        }
        self.over = self.bytes.len().saturating_add(raw.len()) > KEPT;
        match self.over {
            true => self.bytes = Vec::new(),
            false => self.bytes.extend_from_slice(raw),
        }
    }

    /// The events, as they came.
    fn events(&self) -> impl Iterator<Item = Bytes> {
        let mut framer = sse::Framer::new(KEPT);
        framer.push(Bytes::copy_from_slice(&self.bytes));
        std::iter::from_fn(move || framer.next_event().ok().flatten())
    }

    /// What was told, as events of `provider`'s; `None` if it cannot be gone on
    /// with.
    pub fn read(&self, provider: &Provider, model: &str, limit: usize) -> Option<Vec<Event>> {
        if self.over || self.events().any(|raw| is_settled(&raw)) {
            return None;
        }
        let mut decoder = provider.wire.decoder(model, limit);
        let mut events = Vec::new();
        let bytes = Bytes::copy_from_slice(&self.bytes);
        decoder.push(bytes, &mut events).ok()?;
        Some(events)
    }

    /// Gives a label the names that the client has seen.
    pub fn name(&self, label: &mut Label) {
        let seen = self.events().find_map(|raw| {
            let event = sse::Event::parse(&raw);
            let head: Head<'_> = serde_json::from_slice(event.data.as_deref()?).ok()?;
            let id = head.id.filter(|id| !id.is_empty())?.into_owned();
            Some((id, head.created, head.model.map(Cow::into_owned)))
        });
        let Some((id, created, model)) = seen else {
            return;
        };
        label.id = Some(id);
        label.created = created.unwrap_or(label.created);
        label.model = model.unwrap_or(std::mem::take(&mut label.model));
    }
}

/// Whether the event says what a canonical one does not: that a block of
/// Anthropic's is closed, or has sources. Both are told with the next block.
fn is_settled(raw: &[u8]) -> bool {
    const SOURCE: &[u8] = b"\"citations_delta\"";
    let event = sse::Event::parse(raw);
    match event.name {
        Some("content_block_stop") => true,
        Some("content_block_delta") => memmem::find(raw, SOURCE).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Event {
        Event::Text {
            choice: 0,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_plain_text_is_kept_and_anything_else_closes_it() {
        let mut said = Transcript::default();
        for event in [text("a"), Event::Ping, text("b")] {
            said.note(&event);
        }
        assert_eq!(said.text(), Some("ab"));
        for other in [
            Event::Thought {
                choice: 0,
                text: "hm".to_owned(),
            },
            Event::Finish {
                choice: 0,
                finish: crate::chat::Finish::Stop,
            },
            Event::Text {
                choice: 1,
                text: "x".to_owned(),
            },
        ] {
            let mut said = Transcript::default();
            said.note(&text("a"));
            said.note(&other);
            said.note(&text("b"));
            assert_eq!(said.text(), None, "{other:?}");
        }
    }

    #[test]
    fn too_long_a_text_is_not_kept() {
        let mut said = Transcript::default();
        said.note(&text(&"x".repeat(KEPT)));
        assert!(said.text().is_some());
        said.note(&text("x"));
        assert_eq!(said.text(), None);
        let mut passed = Passed::default();
        passed.keep(&vec![b'x'; KEPT]);
        assert!(!passed.over);
        passed.keep(b"x");
        assert!(passed.over && passed.bytes.is_empty());
    }

    #[test]
    fn what_was_told_of_the_cost_counts_and_the_rest_is_estimated() {
        let mut said = Transcript::default();
        said.note(&text("12345678"));
        assert_eq!(said.spent(|| 7).total(), 9);
        said.note(&Event::Usage(Usage {
            prompt: 20,
            completion: 1,
            ..Usage::default()
        }));
        assert_eq!(said.spent(|| 7).total(), 22);
    }

    #[test]
    fn the_names_that_the_client_has_seen_stay() {
        let mut passed = Passed::default();
        for raw in [
            ": hi\n\n",
            "data: {\"id\":\"\",\"model\":\"\",\"choices\":[]}\n\n",
            "data: {\"id\":\"chatcmpl-1\",\"created\":5,\"model\":\"up\",\"choices\":[]}\n\n",
        ] {
            passed.keep(raw.as_bytes());
        }
        let mut label = Label {
            model: "alias".to_owned(),
            created: 9,
            ..Label::default()
        };
        passed.name(&mut label);
        assert_eq!(
            (label.id.as_deref(), label.created, label.model.as_str()),
            (Some("chatcmpl-1"), 5, "up")
        );
    }

    #[test]
    fn a_block_that_is_closed_or_has_sources_is_settled() {
        assert!(is_settled(b"event: content_block_stop\ndata: {}\n\n"));
        let sources =
            b"event: content_block_delta\ndata: {\"delta\":{\"type\":\"citations_delta\"}}\n\n";
        assert!(is_settled(sources));
        let words = b"event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"\\\"citations_delta\\\"\"}}\n\n";
        assert!(!is_settled(words));
    }
}
