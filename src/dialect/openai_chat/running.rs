//! Thoughts of a stream, each told once.
//!
//! Gateways (this one among them) stream a thought as `reasoning_content` and, at its end, all of
//! it again in the `thinking_blocks` that a client sends back with its signature.

use crate::chat::Event;
use std::collections::BTreeMap;

/// The thought that is running, by choice.
#[derive(Debug, Default)]
pub(super) struct Running(BTreeMap<u32, String>);

impl Running {
    /// Takes out of the events from `from` on what only repeats the running thought.
    pub(super) fn told_once(&mut self, from: usize, out: &mut Vec<Event>) {
        let mut fresh = out.split_off(from).into_iter().peekable();
        while let Some(event) = fresh.next() {
            match &event {
                Event::Thought { choice, text } => {
                    let running = self.0.entry(*choice).or_default();
                    let ends = |next: &Event| {
                        matches!(
                            next,
                            Event::Signature { .. } | Event::RedactedThought { .. }
                        )
                    };
                    if running == text && fresh.peek().is_some_and(ends) {
                        continue;
                    }
                    running.push_str(text);
                }
                Event::Signature { choice, .. } | Event::RedactedThought { choice, .. } => {
                    self.0.remove(choice);
                }
                _ => {}
            }
            out.push(event);
        }
    }
}
