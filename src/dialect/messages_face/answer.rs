//! A whole answer as one message. Anthropic has one choice: the first.

use super::citations::{self, Citation};
use super::shape::{Block, Input, Message, Spent, Stop, json, sealed_signature};
use crate::chat::{Answer, Choice, Medium, Origin, Said, Sealed, Thought};
use crate::dialect::Label;
use serde_json::Value;
use std::borrow::Cow;

pub fn whole(answer: &Answer, label: &Label) -> Vec<u8> {
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let mut usage = Spent::new(&answer.usage.unwrap_or_default());
    usage.service_tier = answer.service_tier.as_deref().and_then(service_tier);
    let refusal = choice.refusal.as_deref().unwrap_or_default();
    let mut message = Message::new(&label.seed, &label.model, usage);
    let calls = !choice.calls.is_empty();
    message.stop = Stop::new(choice.finish, choice.native.as_ref(), calls, refusal);
    message.stop.omitted = omitted(choice);
    message.content = content(choice);
    json(&message)
}

fn omitted(choice: &Choice) -> Vec<&'static str> {
    let image = |medium: &Medium| matches!(medium, Medium::Image(_));
    let found = [
        ("image", choice.media.iter().any(image)),
        ("audio", choice.media.iter().any(|medium| !image(medium))),
        (
            "citation",
            choice.annotations.iter().any(|a| Citation::of(a).is_none()),
        ),
    ];
    let found = found.into_iter();
    found
        .filter_map(|(kind, left_out)| left_out.then_some(kind))
        .collect()
}

fn content(choice: &Choice) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let whole = choice
        .text
        .as_deref()
        .map_or(0, |text| text.chars().count());
    for item in choice.items() {
        match item {
            Said::Thought(thought) => blocks.extend(thinking(thought)),
            Said::Text { text, start } => {
                let end = start.saturating_add(text.chars().count());
                let citations = citations(choice, start, end, whole);
                blocks.push(Block::Text { text, citations });
            }
            Said::Medium(_) => {}
            Said::Call(call) => {
                if let Some(signature) = &call.signature {
                    let data = sealed_signature(&call.id, signature).into();
                    blocks.push(Block::RedactedThinking { data });
                }
                blocks.push(Block::ToolUse {
                    id: &call.id,
                    name: &call.name,
                    input: Input::of(&call.arguments),
                });
            }
        }
    }
    // What was said in place of an answer stands where the answer would be.
    let refusal = choice.refusal.as_deref().filter(|text| !text.is_empty());
    if let Some(text) = refusal.filter(|_| choice.text.as_deref().is_none_or(str::is_empty)) {
        let citations = Vec::new();
        blocks.push(Block::Text { text, citations });
    }
    blocks
}

fn thinking(thought: &Thought) -> impl Iterator<Item = Block<'_>> {
    let readable = !thought.text.is_empty() || thought.signature.is_some();
    let readable = readable.then(|| Block::Thinking {
        thinking: &thought.text,
        signature: thought.signature.as_ref().map(carried).unwrap_or_default(),
    });
    let redacted = thought.redacted.as_ref().map(carried);
    let redacted = redacted.map(|data| Block::RedactedThinking { data });
    readable.into_iter().chain(redacted)
}

/// The sources of the text from `start` to `end` of the `whole`; those of no
/// place in it are the last one's.
fn citations(choice: &Choice, start: usize, end: usize, whole: usize) -> Vec<Citation> {
    let here = |annotation: &&Value| {
        let at = citations::end(annotation).filter(|at| (1..=whole).contains(at));
        let at = at.unwrap_or(whole);
        at > start && at <= end
    };
    let found = choice.annotations.iter().filter(here);
    found.filter_map(Citation::of).collect()
}

/// As Anthropic's clients carry it, who know Claude's alone.
fn carried(sealed: &Sealed) -> Cow<'_, str> {
    sealed.carried(Origin::Claude)
}

/// Anthropic's word for the tier that served; `None` if it has none.
fn service_tier(tier: &str) -> Option<&'static str> {
    match tier {
        "default" | "standard" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}
