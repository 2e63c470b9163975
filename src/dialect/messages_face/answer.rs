//! A whole answer as one message. Anthropic has one choice: the first.

use super::shape::{Block, Citation, Input, Message, Spent, Stop, json, sealed_signature};
use crate::chat::{Answer, Choice};
use crate::dialect::Label;

pub fn whole(answer: &Answer, label: &Label) -> Vec<u8> {
    let none = Choice::default();
    let choice = answer.choices.first().unwrap_or(&none);
    let mut usage = Spent::new(&answer.usage.unwrap_or_default());
    usage.service_tier = answer.service_tier.as_deref().and_then(service_tier);
    let signatures = sealed(choice);
    let refusal = choice.refusal.as_deref().unwrap_or_default();
    let mut message = Message::new(&label.seed, &label.model, usage);
    message.stop = Stop::new(choice.finish, !choice.calls.is_empty(), refusal);
    message.content = content(choice, &signatures);
    json(&message)
}

/// The signatures of the calls, in their order; empty where there is none.
fn sealed(choice: &Choice) -> Vec<String> {
    let calls = choice.calls.iter();
    calls
        .map(|call| match call.signature.as_deref() {
            Some(signature) => sealed_signature(&call.id, signature),
            None => String::new(),
        })
        .collect()
}

fn content<'a>(choice: &'a Choice, signatures: &'a [String]) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    for thought in &choice.thoughts {
        if !thought.text.is_empty() || thought.signature.is_some() {
            blocks.push(Block::Thinking {
                thinking: &thought.text,
                signature: thought.signature.as_deref().unwrap_or_default(),
            });
        }
        let redacted = thought.redacted.as_deref();
        blocks.extend(redacted.map(|data| Block::RedactedThinking { data }));
    }
    // What was said in place of an answer stands where the answer would be.
    let said = choice.text.as_deref().filter(|text| !text.is_empty());
    let text = said.or(choice.refusal.as_deref()).unwrap_or_default();
    if !text.is_empty() {
        let citations = choice.annotations.iter().filter_map(Citation::of).collect();
        blocks.push(Block::Text { text, citations });
    }
    for (call, data) in choice.calls.iter().zip(signatures) {
        if !data.is_empty() {
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

/// Anthropic's word for the tier that served; `None` if it has none.
fn service_tier(tier: &str) -> Option<&'static str> {
    match tier {
        "default" | "standard" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}
