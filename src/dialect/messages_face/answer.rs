//! A whole answer as one message. Anthropic has one choice: the first.

use super::shape::{Block, Citation, Input, Message, Spent, Stop, json, sealed_signature};
use crate::chat::{Answer, Choice, Origin, Sealed};
use crate::dialect::Label;
use std::borrow::Cow;

pub fn whole(answer: &Answer, label: &Label) -> Vec<u8> {
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let mut usage = Spent::new(&answer.usage.unwrap_or_default());
    usage.service_tier = answer.service_tier.as_deref().and_then(service_tier);
    let refusal = choice.refusal.as_deref().unwrap_or_default();
    let mut message = Message::new(&label.seed, &label.model, usage);
    message.stop = Stop::new(choice.finish, !choice.calls.is_empty(), refusal);
    message.content = content(choice);
    json(&message)
}

fn content(choice: &Choice) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    for thought in &choice.thoughts {
        if !thought.text.is_empty() || thought.signature.is_some() {
            blocks.push(Block::Thinking {
                thinking: &thought.text,
                signature: thought.signature.as_ref().map(carried).unwrap_or_default(),
            });
        }
        let redacted = thought.redacted.as_ref().map(carried);
        blocks.extend(redacted.map(|data| Block::RedactedThinking { data }));
    }
    // What was said in place of an answer stands where the answer would be.
    let said = choice.text.as_deref().filter(|text| !text.is_empty());
    let text = said.or(choice.refusal.as_deref()).unwrap_or_default();
    if !text.is_empty() {
        let citations = choice.annotations.iter().filter_map(Citation::of).collect();
        blocks.push(Block::Text { text, citations });
    }
    for call in &choice.calls {
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
    blocks
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
