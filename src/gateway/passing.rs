//! Where a stream stands whose bytes pass, and whether it can still be
//! understood without the events that nobody could read.
//!
//! An event that is no JSON is left out, so that one broken event does not cost
//! the answer. It does where it may have been a piece of a tool call: half a
//! call must never look like a whole one.

use super::attempt::progress;
use crate::chat::{self, DecodeError, Decoder, Finish, Operation, Speech};
use crate::dialect::openai::{Progress, tokens};
use crate::wire::sse::Event;
use bytes::Bytes;
use memchr::memmem;

/// Most events that are left out of one stream.
const LEFT_OUT: usize = 16;

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To send; of about so many tokens of content, if those were asked for.
    Send { tokens: u64 },
    /// To send, and the stream is complete.
    Last,
    /// To leave out.
    Skip,
    /// It reports a failure.
    Failed,
    /// It, or what follows, has no meaning any more.
    Lost(&'static str),
}

/// A stream of the client's own format.
#[derive(Debug)]
pub(super) struct Reading {
    operation: Operation,
    /// Answers that the client asked for.
    choices: u64,
    /// All that was asked for has come, but for the farewell.
    pub finished: bool,
    pub faults: Faults,
}

impl Reading {
    pub fn new(operation: Operation, choices: u64) -> Self {
        Self {
            operation,
            choices,
            finished: false,
            faults: Faults::default(),
        }
    }

    /// Takes the next event. `counts`: its tokens are asked for.
    pub fn step(&mut self, raw: &[u8], counts: bool) -> Step {
        let event = Event::parse(raw);
        let progress = progress(self.operation, &event);
        let known = match progress {
            Progress::Error => return Step::Failed,
            Progress::Malformed => self.faults.left_out(),
            Progress::Nothing => Ok(()),
            Progress::Empty | Progress::Chunk | Progress::Finish | Progress::Done => {
                self.calls(&event, progress == Progress::Finish)
            }
        };
        if let Err(why) = known {
            return Step::Lost(why);
        }
        match progress {
            Progress::Malformed => Step::Skip,
            Progress::Done if self.is_amid_a_call() => {
                Step::Lost("a tool call that did not finish")
            }
            Progress::Done => {
                self.finished = true;
                Step::Last
            }
            Progress::Finish => {
                self.finished |= self.choices == 1;
                Step::Send { tokens: 1 }
            }
            Progress::Chunk => Step::Send {
                tokens: if counts { tokens(&event) } else { 1 },
            },
            _ => Step::Send { tokens: 0 },
        }
    }

    /// Whether a stream that ends here was whole. `rest`: what came of an event
    /// that did not end.
    pub fn is_whole(&self, rest: &[u8]) -> bool {
        // A [DONE] without its blank line is still a farewell.
        let waved = progress(self.operation, &Event::parse(rest)) == Progress::Done;
        let waved = waved && !self.is_amid_a_call();
        match self.operation.has_end() {
            true => self.finished || waved,
            false => rest.is_empty() || waved,
        }
    }

    /// Whether a farewell would come in the middle of a call's arguments. With
    /// several answers nobody can tell whose.
    fn is_amid_a_call(&self) -> bool {
        let chats = self.operation.speech() == Speech::OpenAi;
        chats && self.choices == 1 && self.faults.calling
    }

    /// Keeps account of tool calls.
    fn calls(&mut self, event: &Event<'_>, ends: bool) -> Result<(), &'static str> {
        let data = event.data.as_deref().unwrap_or_default();
        let has = |word: &str| memmem::find(data, word.as_bytes()).is_some();
        let faults = &mut self.faults;
        match self.operation.speech() {
            Speech::OpenAi if ends => {
                let calls = has("\"tool_calls\"") || has("\"function_call\"");
                let calling = faults.calling;
                faults.finishes(calls)?;
                // Another answer's call may still be under way.
                faults.calling = calling && self.choices != 1;
                Ok(())
            }
            Speech::OpenAi if has("\"arguments\"") => faults.calls(has("\"name\"")),
            Speech::OpenAi => Ok(()),
            Speech::Anthropic | Speech::Responses => match event.name.unwrap_or_default() {
                "content_block_start" if has("tool_use\"") => faults.calls(true),
                "content_block_delta" if has("\"partial_json\"") => faults.calls(false),
                "content_block_stop" | "response.output_item.done" => {
                    faults.calling = false;
                    Ok(())
                }
                "message_delta" if has("\"tool_use\"") => faults.finishes(true),
                "response.output_item.added" if has("_call\"") => faults.calls(true),
                "response.function_call_arguments.delta"
                | "response.custom_tool_call_input.delta" => faults.calls(false),
                _ => Ok(()),
            },
        }
    }
}

/// The events that were left out of a stream, and its tool calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    count: usize,
    /// Those of them that were counted elsewhere.
    counted: usize,
    /// A call's arguments are under way.
    calling: bool,
    /// A call has begun.
    called: bool,
}

impl Faults {
    /// An event could not be read.
    ///
    /// # Errors
    /// When the stream is not to be understood without it.
    pub fn left_out(&mut self) -> Result<(), &'static str> {
        self.count = self.count.saturating_add(1);
        if self.calling {
            return Err("a malformed event within a tool call");
        }
        match self.count > LEFT_OUT {
            true => Err("too many malformed events"),
            false => Ok(()),
        }
    }

    /// How many were left out since this was last asked.
    pub fn fresh(&mut self) -> usize {
        let counted = std::mem::replace(&mut self.counted, self.count);
        self.count.saturating_sub(counted)
    }

    /// A call begins, with its name, or goes on.
    ///
    /// # Errors
    /// When its beginning was left out.
    pub fn calls(&mut self, named: bool) -> Result<(), &'static str> {
        if self.count > 0 && !named && !self.calling {
            return Err("a tool call whose beginning was malformed");
        }
        self.calling = true;
        self.called = true;
        Ok(())
    }

    /// The answer finishes.
    ///
    /// # Errors
    /// When it finishes for a call that nobody has seen.
    pub fn finishes(&mut self, for_calls: bool) -> Result<(), &'static str> {
        if self.count > 0 && for_calls && !self.called {
            return Err("a tool call that was malformed");
        }
        self.calling = false;
        Ok(())
    }
}

/// Decodes a piece of a stream without the events that cannot be read, as long
/// as it can be understood without them.
///
/// # Errors
/// When the stream cannot be read on. The events up to there are in `out`.
pub(super) fn decode(
    decoder: &mut dyn Decoder,
    mut piece: Bytes,
    faults: &mut Faults,
    out: &mut Vec<chat::Event>,
) -> Result<(), DecodeError> {
    loop {
        let from = out.len();
        // What is left of the piece waits in the decoder.
        let read = decoder.push(std::mem::take(&mut piece), out);
        faults.judge(from, out)?;
        match read {
            Err(DecodeError::Malformed(_)) => faults.left_out().map_err(DecodeError::Malformed)?,
            read => return read,
        }
    }
}

impl Faults {
    /// Keeps account of the tool calls in the events from `from` on.
    fn judge(&mut self, from: usize, events: &mut Vec<chat::Event>) -> Result<(), DecodeError> {
        for at in from..events.len() {
            let known = match events.get(at) {
                // A call that begins in its middle is given a start without a name.
                Some(chat::Event::CallStart { name, .. }) => self.calls(!name.is_empty()),
                Some(chat::Event::CallArguments { .. }) => self.calls(false),
                Some(chat::Event::Finish { finish, .. }) => {
                    self.finishes(*finish == Finish::ToolCalls)
                }
                _ => Ok(()),
            };
            if let Err(why) = known {
                events.truncate(at);
                return Err(DecodeError::Malformed(why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}}]}"#;
    const MORE: &str = r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}"#;
    const TEXT: &str = r#"data: {"choices":[{"delta":{"content":"hello"}}]}"#;
    const FINISH: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    const FINISH_CALLS: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#;
    const BROKEN: &str = r#"data: {"choices":[{"del"#;

    fn steps(events: &[&str]) -> Vec<Step> {
        let mut reading = Reading::new(Operation::ChatCompletions, 1);
        let events = events.iter();
        events
            .map(|event| reading.step(format!("{event}\n\n").as_bytes(), false))
            .collect()
    }

    const SEND: Step = Step::Send { tokens: 1 };

    #[test]
    fn a_broken_event_is_left_out_of_a_text() {
        let events = [TEXT, BROKEN, TEXT, FINISH, "data: [DONE]"];
        assert_eq!(steps(&events), [SEND, Step::Skip, SEND, SEND, Step::Last]);
    }

    #[test]
    fn seventeen_broken_events_are_too_many() {
        let seen = steps(&[BROKEN; 17]);
        assert_eq!(seen[15], Step::Skip);
        assert_eq!(seen[16], Step::Lost("too many malformed events"));
    }

    #[test]
    fn a_call_with_a_hole_is_lost() {
        for events in [
            vec![CALL, BROKEN],
            vec![CALL, MORE, BROKEN],
            vec![BROKEN, MORE],
            vec![BROKEN, FINISH_CALLS],
        ] {
            let seen = steps(&events);
            assert!(
                matches!(seen.last(), Some(Step::Lost(_))),
                "{events:?}: {seen:?}"
            );
        }
        assert_eq!(steps(&[BROKEN, CALL, MORE, FINISH_CALLS])[1..], [SEND; 3]);
        // Some providers never repeat nor name; nothing was left out there.
        assert_eq!(steps(&[MORE, FINISH_CALLS]), [SEND; 2]);
    }

    #[test]
    fn a_farewell_amid_a_call_is_none() {
        let done = "data: [DONE]";
        let seen = steps(&[CALL, MORE, done]);
        assert_eq!(seen[2], Step::Lost("a tool call that did not finish"));
        assert_eq!(steps(&[CALL, MORE, FINISH_CALLS, done])[3], Step::Last);
        assert_eq!(steps(&[TEXT, done])[1], Step::Last);
        let mut reading = Reading::new(Operation::ChatCompletions, 1);
        reading.step(format!("{CALL}\n\n").as_bytes(), false);
        assert!(!reading.is_whole(b"data: [DONE]"));
    }

    #[test]
    fn a_call_with_a_hole_is_lost_though_another_answer_has_finished() {
        let mut reading = Reading::new(Operation::ChatCompletions, 2);
        let mut step = |event: &str| reading.step(format!("{event}\n\n").as_bytes(), false);
        for event in [CALL, MORE, FINISH_CALLS] {
            assert_eq!(step(event), SEND);
        }
        assert!(matches!(step(BROKEN), Step::Lost(_)));
        assert_eq!(step("data: [DONE]"), Step::Last);
    }

    #[test]
    fn calls_of_named_events_end_with_their_block() {
        let mut reading = Reading::new(Operation::Messages, 1);
        let mut step = |name: &str, data: &str| {
            reading.step(format!("event: {name}\ndata: {data}\n\n").as_bytes(), false)
        };
        let start = r#"{"content_block":{"type":"tool_use","name":"f"}}"#;
        let delta = r#"{"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
        step("content_block_start", start);
        step("content_block_delta", delta);
        step("content_block_stop", "{}");
        assert_eq!(step("content_block_delta", "{"), Step::Skip);
        assert!(matches!(step("content_block_delta", delta), Step::Lost(_)));
    }

    #[test]
    fn tokens_are_counted_where_they_are_asked_for() {
        let mut reading = Reading::new(Operation::ChatCompletions, 1);
        let raw = format!("{TEXT}\n\n");
        assert_eq!(reading.step(raw.as_bytes(), true), Step::Send { tokens: 2 });
        let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
        assert_eq!(
            reading.step(role.as_bytes(), true),
            Step::Send { tokens: 0 }
        );
    }

    #[test]
    fn a_stream_is_whole_with_its_finish_or_its_farewell() {
        let mut reading = Reading::new(Operation::ChatCompletions, 1);
        assert!(!reading.is_whole(b""));
        assert!(reading.is_whole(b"data: [DONE]"));
        reading.step(format!("{FINISH}\n\n").as_bytes(), false);
        assert!(reading.is_whole(b"data: {\"ch"));
        let mut two = Reading::new(Operation::ChatCompletions, 2);
        two.step(format!("{FINISH}\n\n").as_bytes(), false);
        assert!(!two.is_whole(b""));
        let mut image = Reading::new(Operation::ImageGenerations, 1);
        assert_eq!(
            image.step(b"data: no JSON\n\n", false),
            Step::Send { tokens: 1 }
        );
        assert!(image.is_whole(b"") && !image.is_whole(b"data: x"));
    }
}
