//! What a case means, written by hand: `expected.json` has under `all` what holds for every provider, and under a
//! provider's name what is different for it.

use crate::case::Input;
use crate::heard::{Call, Choice, Heard, Thought, Usage, must};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tollgate::dialect::Face;
use tollgate::dialect::messages_face::MessagesFace;
use tollgate::dialect::openai_chat::Chat;
use tollgate::dialect::responses_face::Responses;

/// A client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Chat,
    Messages,
    Responses,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Messages, Self::Responses];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Responses => "responses",
        }
    }

    pub fn face(self) -> Box<dyn Face> {
        match self {
            Self::Chat => Box::new(Chat::default()),
            Self::Messages => Box::new(MessagesFace),
            Self::Responses => Box::new(Responses::default()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    #[serde(default)]
    pub choices: Vec<Choice>,
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Some members of the error that ends it.
    #[serde(default)]
    error: Option<Map<String, Value>>,
}

impl Expected {
    pub fn of(input: &Input) -> Self {
        let path = input.path.with_file_name("expected.json");
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut file: Map<String, Value> =
            serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(file["about"].is_string(), "{}: about what?", path.display());
        let mut all = file.remove("all").unwrap_or_else(|| Map::new().into());
        if let Some(Value::Object(own)) = file.remove(&input.speaker) {
            all.as_object_mut().unwrap().extend(own);
        }
        serde_json::from_value(all).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Compares with what a client of this format heard.
    pub fn compare(
        mut self,
        mut heard: Heard,
        format: Format,
        streamed: bool,
    ) -> Result<(), String> {
        self.as_told_in(format);
        self.as_far_as_told(format, streamed);
        let ordered = streamed || format != Format::Chat;
        self.error_is(heard.error.take(), format)?;
        must!(
            self.choices.len() == heard.choices.len(),
            "{} choices, not {}",
            heard.choices.len(),
            self.choices.len()
        );
        for (expected, got) in self.choices.iter().zip(&mut heard.choices) {
            same(expected, got, ordered)?;
        }
        must!(
            self.usage == heard.usage,
            "usage {:?}, not {:?}",
            heard.usage,
            self.usage
        );
        Ok(())
    }

    /// Compares with what a client of OpenAI's heard of a stream that was cut: an error, or all of it.
    pub fn compare_cut(mut self, mut heard: Heard) -> Result<(), String> {
        // Cut before its error, a stream may have been whole.
        if heard.error.is_some() || self.error.is_some() {
            return Ok(());
        }
        (self.usage, heard.usage) = (None, None);
        self.compare(heard, Format::Chat, true)
    }

    /// Takes out what a format has no word for.
    fn as_told_in(&mut self, format: Format) {
        if format != Format::Chat {
            self.choices.truncate(1);
            if let Some(usage) = &mut self.usage {
                (usage.audio_in, usage.audio_out) = (0, 0);
            }
        }
        for choice in &mut self.choices {
            if format != Format::Chat {
                // Kinds of citations differ: each format counts those that it can tell.
                choice.annotations.retain(|one| {
                    format == Format::Responses || one["type"] != "document_citation"
                });
                choice
                    .annotations
                    .iter_mut()
                    .for_each(|one| *one = Value::Null);
            }
            if format == Format::Messages {
                // Images have no place there, and are said to be left out: once.
                choice.images.truncate(1);
                choice.images.fill("omitted".to_owned());
                choice.logprobs.clear();
                let refused = !choice.refusal.is_empty();
                if refused && choice.finish.as_deref() == Some("stop") {
                    choice.finish = Some("content_filter".to_owned());
                }
                if refused {
                    let text = std::mem::take(&mut choice.refusal);
                    if choice.text.is_empty() {
                        choice.text = text;
                    }
                    choice
                        .order
                        .iter_mut()
                        .filter(|kind| *kind == "refusal")
                        .for_each(|kind| *kind = "text".to_owned());
                }
            }
        }
    }

    /// A finish is told with the end, but to OpenAI's clients; arguments that are no object are told in one, where
    /// only an object may stand.
    fn as_far_as_told(&mut self, format: Format, streamed: bool) {
        for choice in &mut self.choices {
            if self.error.is_some() && format != Format::Chat {
                choice.finish = None;
            }
            if format != Format::Messages || streamed {
                continue;
            }
            for call in &mut choice.calls {
                if serde_json::from_str::<Map<String, Value>>(&call.arguments).is_err() {
                    call.arguments = json!({ "INVALID_JSON": call.arguments }).to_string();
                }
            }
        }
    }

    fn error_is(&self, got: Option<Value>, format: Format) -> Result<(), String> {
        let (Some(expected), Some(got)) = (&self.error, &got) else {
            must!(
                self.error.is_none() && got.is_none(),
                "error {got:?}, not {:?}",
                self.error
            );
            return Ok(());
        };
        for (name, value) in expected {
            // Anthropic's errors have a type of their own and no code.
            let told = format != Format::Messages || name == "message";
            must!(
                !told || got[name] == *value,
                "error's {name} is {}, not {value}",
                got[name]
            );
        }
        Ok(())
    }
}

fn same(expected: &Choice, got: &mut Choice, ordered: bool) -> Result<(), String> {
    // OpenAI's whole message has no order.
    if expected.order.is_empty() || !ordered {
        got.order.clone_from(&expected.order);
    }
    same_thoughts(&expected.thoughts, &got.thoughts)?;
    got.thoughts.clone_from(&expected.thoughts);
    same_calls(&expected.calls, &got.calls)?;
    got.calls.clone_from(&expected.calls);
    must!(expected == got, "heard {got:?}\n  but not {expected:?}");
    Ok(())
}

/// A signature may travel in an envelope.
fn signed(expected: Option<&String>, got: Option<&String>) -> bool {
    match (expected, got) {
        (Some(expected), Some(got)) => got.contains(expected.as_str()),
        (expected, got) => expected == got,
    }
}

fn same_thoughts(expected: &[Thought], got: &[Thought]) -> Result<(), String> {
    let alike = |(expected, got): (&Thought, &Thought)| {
        expected.text == got.text
            && signed(expected.signature.as_ref(), got.signature.as_ref())
            && signed(expected.redacted.as_ref(), got.redacted.as_ref())
    };
    let same = expected.len() == got.len() && expected.iter().zip(got).all(alike);
    must!(same, "thoughts {got:?}, not {expected:?}");
    Ok(())
}

fn same_calls(expected: &[Call], got: &[Call]) -> Result<(), String> {
    let id = |expected: &Call, got: &Call| match expected.id.as_str() {
        "*" => !got.id.is_empty(),
        id => got.id == id,
    };
    let alike = |(expected, got): (&Call, &Call)| {
        id(expected, got)
            && expected.name == got.name
            && expected.arguments == got.arguments
            && signed(expected.signature.as_ref(), got.signature.as_ref())
    };
    let same = expected.len() == got.len() && expected.iter().zip(got).all(alike);
    must!(same, "calls {got:?}, not {expected:?}");
    for (at, call) in got.iter().enumerate() {
        let again = got.iter().skip(at + 1).any(|other| other.id == call.id);
        must!(!again, "two calls are {}", call.id);
    }
    Ok(())
}
