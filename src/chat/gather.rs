//! Events to the whole answer that they tell: a provider's whole answer is read
//! as the events that its stream would have brought, so that both say the same,
//! in the same order.

use super::order::{Span, is_usual};
use super::{Answer, Audio, Choice, Event, Medium, Thought, ToolCall};
use serde_json::Value;
use std::collections::BTreeMap;

/// What events add up to. Signs of life and ends say nothing of an answer, and
/// who gathers has no failure in it.
pub fn gather(events: impl IntoIterator<Item = Event>) -> Answer {
    let mut answer = Answer::default();
    let mut choices = BTreeMap::<u32, Growing>::new();
    for event in events {
        match event {
            Event::Start { id, model } => (answer.id, answer.model) = (id, model),
            Event::Usage(usage) => answer.usage = Some(usage),
            Event::Other(other) => answer.other.extend(other),
            Event::Ping | Event::End | Event::Failed(_) => {}
            event => {
                if let Some(choice) = event.choice() {
                    choices.entry(choice).or_default().take(event);
                }
            }
        }
    }
    answer.choices = choices.into_values().map(Growing::finish).collect();
    answer
}

/// A choice that is being told.
#[derive(Default)]
struct Growing {
    choice: Choice,
    spans: Vec<Span>,
    /// By the decoder's number of them: their places in the list.
    calls: BTreeMap<u32, usize>,
    /// The last thought was not ended.
    thinking: bool,
    /// The last text was cited: what follows it is another text.
    cited: bool,
}

impl Growing {
    fn take(&mut self, event: Event) {
        match event {
            Event::Text { text, .. } => self.text(&text),
            Event::Refusal { text, .. } => {
                self.choice.refusal.get_or_insert_default().push_str(&text)
            }
            Event::Thought { text, .. } => self.thought().text.push_str(&text),
            Event::Signature { signature, .. } => {
                self.thought().signature = Some(signature);
                self.thinking = false;
            }
            Event::RedactedThought { data, .. } => {
                self.thinking = false;
                self.thought().redacted = Some(data);
                self.thinking = false;
            }
            Event::CallStart {
                call,
                id,
                name,
                signature,
                ..
            } => {
                self.push(Span::Call);
                self.calls.insert(call, self.choice.calls.len());
                self.choice.calls.push(ToolCall {
                    id,
                    name,
                    signature,
                    ..ToolCall::default()
                });
            }
            Event::CallArguments { call, text, .. } => {
                let at = self.calls.get(&call);
                if let Some(call) = at.and_then(|at| self.choice.calls.get_mut(*at)) {
                    call.arguments.push_str(&text);
                }
            }
            Event::Image { image, .. } => {
                self.push(Span::Medium);
                self.choice.media.push(Medium::Image(image));
            }
            Event::Audio { audio, .. } => self.audio(audio),
            Event::Annotations { annotations, .. } => {
                self.cited |= !annotations.is_empty();
                self.choice.annotations.extend(annotations);
            }
            Event::Logprobs { logprobs, .. } => self.logprobs(logprobs),
            Event::Native { native, .. } => self.choice.native = Some(native),
            Event::Finish { finish, .. } => self.choice.finish = Some(finish),
            Event::Start { .. }
            | Event::Usage(_)
            | Event::Other(_)
            | Event::Ping
            | Event::End
            | Event::Failed(_) => {}
        }
    }

    fn push(&mut self, span: Span) {
        self.thinking = false;
        self.spans.push(span);
    }

    fn text(&mut self, text: &str) {
        self.choice.text.get_or_insert_default().push_str(text);
        let cited = std::mem::take(&mut self.cited);
        match self.spans.last_mut() {
            Some(Span::Text(length)) if !cited => *length = length.saturating_add(text.len()),
            _ if text.is_empty() => {}
            _ => self.push(Span::Text(text.len())),
        }
    }

    /// The thought that is not ended, or a new one.
    fn thought(&mut self) -> &mut Thought {
        if !self.thinking || self.choice.thoughts.is_empty() {
            self.push(Span::Thought);
            self.thinking = true;
            self.choice.thoughts.push(Thought::default());
        }
        let last = self.choice.thoughts.len().saturating_sub(1);
        #[expect(clippy::indexing_slicing, reason = "one was pushed if there was none")]
        &mut self.choice.thoughts[last]
    }

    fn audio(&mut self, piece: Audio) {
        match self.choice.media.last_mut() {
            Some(Medium::Audio(audio)) => audio.append(piece),
            _ => {
                self.push(Span::Medium);
                self.choice.media.push(Medium::Audio(piece));
            }
        }
    }

    /// Lists of tokens follow each other.
    fn logprobs(&mut self, more: Value) {
        let Some(Value::Object(all)) = &mut self.choice.logprobs else {
            self.choice.logprobs = Some(more);
            return;
        };
        let Value::Object(more) = more else { return };
        for (name, list) in more {
            match (all.get_mut(&name), list) {
                (Some(Value::Array(all)), Value::Array(list)) => all.extend(list),
                (Some(all), list) if all.is_null() => *all = list,
                (None, list) => drop(all.insert(name, list)),
                _ => {}
            }
        }
    }

    fn finish(mut self) -> Choice {
        let choice = &mut self.choice;
        if choice.calls.is_empty() && choice.refusal.is_none() && choice.media.is_empty() {
            choice.text.get_or_insert_default();
        }
        if !is_usual(&self.spans) {
            choice.order = self.spans;
        }
        self.choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Finish, Native, Origin, Said, Sealed};

    fn text(text: &str) -> Event {
        let text = text.to_owned();
        Event::Text { choice: 0, text }
    }

    fn thought(text: &str) -> Event {
        let text = text.to_owned();
        Event::Thought { choice: 0, text }
    }

    fn signature(text: &str) -> Event {
        let signature = Sealed::new(Origin::Claude, text);
        Event::Signature {
            choice: 0,
            signature,
        }
    }

    fn call(call: u32) -> Event {
        Event::CallStart {
            choice: 0,
            call,
            id: format!("c{call}"),
            name: "f".to_owned(),
            signature: None,
        }
    }

    fn arguments(call: u32, text: &str) -> Event {
        let text = text.to_owned();
        Event::CallArguments {
            choice: 0,
            call,
            text,
        }
    }

    fn one(events: Vec<Event>) -> Choice {
        gather(events).choices.pop().expect("a choice")
    }

    #[test]
    fn thoughts_texts_and_calls_keep_their_order() {
        let choice = one(vec![
            thought("a"),
            thought("b"),
            signature("s1"),
            text("x"),
            call(0),
            call(1),
            arguments(0, "{"),
            arguments(1, "{}"),
            arguments(0, "}"),
            thought("c"),
            text("y"),
            text("z"),
        ]);
        let told = choice.items().into_iter().map(|said| match said {
            Said::Thought(thought) => format!("t:{}", thought.text),
            Said::Text { text, start } => format!("{start}:{text}"),
            Said::Call(call) => format!("{}{}", call.id, call.arguments),
            Said::Medium(_) => String::new(),
        });
        let told: Vec<String> = told.collect();
        assert_eq!(told, ["t:ab", "0:x", "c0{}", "c1{}", "t:c", "1:yz"]);
        assert_eq!(choice.text.as_deref(), Some("xyz"));
    }

    #[test]
    fn the_usual_order_is_not_written_down() {
        let choice = one(vec![thought("a"), text("x"), text("y"), call(0)]);
        assert_eq!(choice.order, []);
        let cited = vec![Value::Null];
        let annotations = Event::Annotations {
            choice: 0,
            annotations: cited,
        };
        let choice = one(vec![text("x"), annotations, text("y")]);
        assert_eq!(choice.order, [Span::Text(1), Span::Text(1)]);
    }

    #[test]
    fn a_signature_after_a_text_ends_no_thought_before_it() {
        let choice = one(vec![thought("a"), text("x"), signature("s")]);
        assert_eq!(choice.thoughts.len(), 2);
        assert_eq!(choice.thoughts[0].signature, None);
        assert_eq!(choice.thoughts[1].text, "");
    }

    #[test]
    fn an_answer_without_anything_is_an_empty_text() {
        let finish = Finish::Stop;
        let choice = one(vec![Event::Finish { choice: 0, finish }]);
        assert_eq!(choice.text.as_deref(), Some(""));
        assert_eq!(one(vec![call(0)]).text, None);
    }

    #[test]
    fn pieces_of_sound_are_one_sound() {
        let piece = |data: &str, transcript: &str| Event::Audio {
            choice: 0,
            audio: Audio {
                data: data.to_owned(),
                transcript: transcript.to_owned(),
                ..Audio::default()
            },
        };
        let choice = one(vec![piece("QQ==", "a"), piece("Qg==", "b"), piece("", "c")]);
        let Some(Medium::Audio(audio)) = choice.media.first() else {
            panic!("no sound: {choice:?}");
        };
        assert_eq!(
            (audio.data.as_str(), audio.transcript.as_str()),
            ("QUI=", "abc")
        );
    }

    #[test]
    fn only_a_word_that_says_more_is_kept() {
        assert_eq!(Native::of("STOP"), None);
        assert_eq!(Native::of("end_turn"), None);
        assert_eq!(Native::of(""), None);
        let told = Native::of("MALFORMED_FUNCTION_CALL").map(|native| native.reason);
        assert_eq!(told.as_deref(), Some("MALFORMED_FUNCTION_CALL"));
    }
}
