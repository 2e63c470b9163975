//! Where the answer of one model goes on as another's.
//!
//! A model that was given the text so far goes on where it ended. One that was
//! not begins anew, and only as long as it says the very same is the client
//! spared the repetition; at the first difference there is no honest way to go
//! on. Thoughts, sources and a second start are the second model's own affair.

use crate::chat::{Event, Usage};
use crate::route::pace::tokens_in;

/// Why two answers do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misfit {
    #[error("the continuation began with another text")]
    Other,
    #[error("the continuation ended before the text that the client has")]
    Short,
    #[error("the continuation is no text")]
    NoText,
}

/// How the second model came to the text so far.
#[derive(Debug)]
enum Joint {
    /// It was given it, without the white space at its end.
    Given { blank: String },
    /// It has to say it again; this is what is left to say.
    Again { awaited: String },
}

/// The seam of a stream that goes on.
#[derive(Debug)]
pub(super) struct Seam {
    joint: Joint,
    /// What was spent before.
    before: Usage,
    /// Should the provider not tell what the second answer cost.
    prompt: u64,
    tokens: u64,
    own: Usage,
}

impl Seam {
    /// For a model that was given `text`, trimmed at its end.
    pub fn given(text: &str, before: Usage, prompt: u64) -> Self {
        let blank = text.get(text.trim_end().len()..).unwrap_or_default();
        let blank = blank.to_owned();
        Self::of(Joint::Given { blank }, before, prompt)
    }

    /// For a model that begins anew.
    pub fn again(text: &str, before: Usage, prompt: u64) -> Self {
        let awaited = text.to_owned();
        Self::of(Joint::Again { awaited }, before, prompt)
    }

    fn of(joint: Joint, before: Usage, prompt: u64) -> Self {
        Self {
            joint,
            before,
            prompt,
            tokens: 0,
            own: Usage::default(),
        }
    }

    /// Appends what of an event is for the client.
    ///
    /// # Errors
    /// When the answer does not fit to what the client has.
    pub fn pass(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Misfit> {
        let waits = matches!(&self.joint, Joint::Again { awaited } if !awaited.is_empty());
        match event {
            Event::Text { choice: 0, text } => {
                self.tokens = self.tokens.saturating_add(tokens_in(&text));
                let text = self.text(text)?;
                if !text.is_empty() {
                    out.push(Event::Text { choice: 0, text });
                }
            }
            Event::Usage(usage) => {
                self.own = usage;
                out.push(Event::Usage(self.before.plus(usage)));
            }
            Event::Finish { .. } | Event::End if waits => return Err(Misfit::Short),
            Event::End => {
                if self.own == Usage::default() {
                    out.push(Event::Usage(self.spent()));
                }
                out.push(Event::End);
            }
            Event::Refusal { ref text, .. } if text.is_empty() => {}
            Event::Refusal { .. } if waits => return Err(Misfit::Other),
            Event::CallStart { .. }
            | Event::CallArguments { .. }
            | Event::Image { .. }
            | Event::Audio { .. } => return Err(Misfit::NoText),
            Event::Start { .. }
            | Event::Text { .. }
            | Event::Thought { .. }
            | Event::Signature { .. }
            | Event::RedactedThought { .. }
            | Event::Annotations { .. }
            | Event::Logprobs { .. }
            | Event::Other(_) => {}
            Event::Refusal { .. }
            | Event::Native { .. }
            | Event::Finish { .. }
            | Event::Ping
            | Event::Failed(_) => out.push(event),
        }
        Ok(())
    }

    /// What all answers cost so far: as it was told, else estimated.
    pub fn spent(&self) -> Usage {
        let own = self.own.or_estimated(|| self.prompt, self.tokens);
        self.before.plus(own)
    }

    /// What of a piece of text the client does not have.
    fn text(&mut self, mut text: String) -> Result<String, Misfit> {
        match &mut self.joint {
            Joint::Given { blank } if text.is_empty() || blank.is_empty() => {}
            Joint::Given { blank } => {
                let same = common(blank, &text);
                // A piece that is nothing but the blank may be followed by more of it.
                let goes_on = same == text.len();
                text.drain(..same);
                match goes_on {
                    true => drop(blank.drain(..same)),
                    false => blank.clear(),
                }
            }
            Joint::Again { awaited } => {
                let same = common(awaited, &text);
                if same < awaited.len() && same < text.len() {
                    return Err(Misfit::Other);
                }
                awaited.drain(..same);
                text.drain(..same);
            }
        }
        Ok(text)
    }
}

/// Bytes of the longest beginning that both have, up to a whole character.
fn common(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    let same = pairs.take_while(|(one, other)| one == other);
    same.map(|(one, _)| one.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Finish;

    const BEFORE: Usage = Usage {
        prompt: 10,
        completion: 4,
        cached: 0,
        cache_write: 0,
        reasoning: 0,
        audio_in: 0,
        audio_out: 0,
        cache_write_1h: 0,
        images: 0,
    };

    fn said(seam: &mut Seam, pieces: &[&str]) -> Result<String, Misfit> {
        let mut out = Vec::new();
        for piece in pieces {
            let text = (*piece).to_owned();
            seam.pass(Event::Text { choice: 0, text }, &mut out)?;
        }
        let texts = out.into_iter().map(|event| match event {
            Event::Text { text, .. } => text,
            other => panic!("{other:?}"),
        });
        Ok(texts.collect())
    }

    #[test]
    fn a_model_that_was_given_the_text_goes_on_without_its_white_space_twice() {
        for (text, pieces, expected) in [
            ("one", vec![" two"], " two"),
            ("one ", vec![" two"], "two"),
            ("one ", vec!["two"], "two"),
            ("one\n\n", vec!["\n", "", "\n", "two"], "two"),
            ("one\n\n", vec!["\n\n\ntwo"], "\ntwo"),
            ("one\n\n", vec!["\ntwo\n"], "two\n"),
            ("one ", vec!["\ntwo", " three"], "\ntwo three"),
            ("one ", vec![" ", " two"], " two"),
        ] {
            let mut seam = Seam::given(text, BEFORE, 0);
            assert_eq!(
                said(&mut seam, &pieces).as_deref(),
                Ok(expected),
                "{text:?} {pieces:?}"
            );
        }
    }

    #[test]
    fn a_model_that_begins_anew_is_heard_once_it_says_more_of_the_same() {
        for (pieces, expected) in [
            (vec!["grüße an alle"], Ok(" an alle")),
            (vec!["gr", "ü", "ße an", " alle"], Ok(" an alle")),
            (vec!["grüße"], Ok("")),
            (vec!["grü"], Ok("")),
            (vec!["gruss"], Err(Misfit::Other)),
            (vec!["grü", "sse"], Err(Misfit::Other)),
        ] {
            let mut seam = Seam::again("grüße", BEFORE, 0);
            assert_eq!(
                said(&mut seam, &pieces).as_deref(),
                expected.as_ref().copied(),
                "{pieces:?}"
            );
        }
    }

    #[test]
    fn an_end_before_the_client_has_more_is_no_end() {
        let finish = Event::Finish {
            choice: 0,
            finish: Finish::Stop,
        };
        let mut seam = Seam::again("one two", BEFORE, 0);
        said(&mut seam, &["one"]).unwrap();
        assert_eq!(
            seam.pass(finish.clone(), &mut Vec::new()),
            Err(Misfit::Short)
        );
        said(&mut seam, &[" two"]).unwrap();
        assert_eq!(seam.pass(finish, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn both_answers_are_counted() {
        let counted = |told: Option<Usage>| {
            let mut seam = Seam::given("x", BEFORE, 20);
            said(&mut seam, &["12345678"]).unwrap();
            let mut out = Vec::new();
            for event in told.map(Event::Usage).into_iter().chain([Event::End]) {
                seam.pass(event, &mut out).unwrap();
            }
            let usages = out.into_iter().filter_map(|event| match event {
                Event::Usage(usage) => Some((usage.prompt, usage.completion)),
                _ => None,
            });
            usages.collect::<Vec<_>>()
        };
        let told = Usage {
            prompt: 12,
            completion: 3,
            ..Usage::default()
        };
        assert_eq!(counted(Some(told)), [(22, 7)]);
        assert_eq!(counted(None), [(30, 6)]);
    }

    #[test]
    fn what_is_no_text_is_left_out_or_does_not_fit() {
        let mut out = Vec::new();
        let mut seam = Seam::given("x", BEFORE, 0);
        for event in [
            Event::Start {
                id: None,
                model: None,
            },
            Event::Thought {
                choice: 0,
                text: "hm".to_owned(),
            },
        ] {
            seam.pass(event, &mut out).unwrap();
        }
        assert_eq!(out, []);
        let call = Event::CallStart {
            choice: 0,
            call: 0,
            id: "c".to_owned(),
            name: "f".to_owned(),
            signature: None,
        };
        assert_eq!(seam.pass(call, &mut out), Err(Misfit::NoText));
    }
}
