//! Whether what came is what had to come: pure, values in and a verdict out.
//!
//! An answer is read without good will. What looks finished and is not whole,
//! an error that no client of OpenAI's could read, an end without a word of
//! why: each is a lie, and no row expects one.

use super::catalogue::{By, Come, Expected};
use super::client::Answer;
use super::provider::Seen;
use super::said::{ARGUMENTS, TEXT};
use crate::wire::sse::{Event, Framer};
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;

/// What a client of the gateway met.
#[derive(Debug, Clone)]
pub struct Met {
    /// The answer, or why there was none.
    pub answer: Result<Answer, String>,
    /// How long it took, answer or not.
    pub took: Duration,
    pub streamed: bool,
    /// A tool call was asked for.
    pub calls: bool,
    /// Requests that the providers saw for it.
    pub seen: Seen,
}

/// What is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What came, in a few words.
    pub came: String,
    /// Why it is wrong; `None` when it is right.
    pub why: Option<String>,
    pub took: Duration,
}

/// An answer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Whole,
    Refused {
        status: u16,
        code: String,
    },
    /// An error in place of the first content, under the status 200.
    RefusedInStream {
        code: String,
    },
    Broken {
        code: String,
        said: usize,
    },
    Lie(String),
}

/// What has been read, and when its first content or error came.
struct Reading {
    read: Read,
    first: Duration,
}

/// Judges what came by what had to.
pub fn judge(met: &Met, expected: &Expected) -> Verdict {
    let answer = match &met.answer {
        Ok(answer) => answer,
        Err(why) => {
            return Verdict {
                came: "no answer".to_owned(),
                why: Some(why.clone()),
                took: met.took,
            };
        }
    };
    let Reading { read, first } = read(answer, met);
    let took = met.took;
    let fits = expected
        .come
        .iter()
        .any(|come| fits(*come, &read, met.seen, expected));
    let why = match &read {
        Read::Lie(why) => Some(why.clone()),
        _ if !fits => Some(format!("expected {}", wanted(expected))),
        _ if first > expected.first_by => Some(late("first content", first, expected.first_by)),
        _ if took > expected.all_by => Some(late("its end", took, expected.all_by)),
        _ => None,
    };
    Verdict {
        came: came(&read, answer, met.seen),
        why,
        took,
    }
}

fn fits(come: Come, read: &Read, seen: Seen, expected: &Expected) -> bool {
    match (come, read) {
        (Come::Whole(by), Read::Whole) => match by {
            By::Anyone => true,
            By::Primary => seen.fallback == 0,
            By::Fallback => seen.fallback > 0,
        },
        (Come::Refused(among), Read::Refused { status, .. }) => among.contains(status),
        (Come::Refused(_), Read::RefusedInStream { .. }) => expected.told_in_stream,
        (Come::Broken, Read::Broken { .. }) => true,
        _ => false,
    }
}

fn late(what: &str, at: Duration, by: Duration) -> String {
    format!(
        "{what} after {} ms, due by {} ms",
        at.as_millis(),
        by.as_millis()
    )
}

/// What came, in words.
fn came(read: &Read, answer: &Answer, seen: Seen) -> String {
    let total = seen.primary.saturating_add(seen.fallback);
    let attempts = format!("{total} attempt{}", if total == 1 { "" } else { "s" });
    let by = match (seen.primary, seen.fallback) {
        (_, 0) => "primary",
        _ => "fallback",
    };
    match read {
        Read::Whole => format!("{} by {by}, {attempts}", answer.status),
        Read::Refused { status, code } => format!("{status} {code}, {attempts}"),
        Read::RefusedInStream { code } => format!("200, error event {code}, {attempts}"),
        Read::Broken { code, said } => {
            format!("{said} bytes, error event {code}, {attempts}")
        }
        Read::Lie(_) => format!("{}, {attempts}", answer.status),
    }
}

/// What had to come, in words.
fn wanted(expected: &Expected) -> String {
    let each = expected.come.iter().map(|come| match come {
        Come::Whole(By::Anyone) => "the whole answer".to_owned(),
        Come::Whole(By::Primary) => "the whole answer by the primary alone".to_owned(),
        Come::Whole(By::Fallback) => "the whole answer by the fallback".to_owned(),
        Come::Refused(among) => {
            let among: Vec<String> = among.iter().map(u16::to_string).collect();
            format!("an error {}", among.join("/"))
        }
        Come::Broken => "an error event after the tokens".to_owned(),
    });
    each.collect::<Vec<_>>().join(", or ")
}

fn read(answer: &Answer, met: &Met) -> Reading {
    let kind = answer.header("content-type").unwrap_or_default();
    let stream = kind.starts_with("text/event-stream");
    let lie = |why: String| Reading {
        read: Read::Lie(why),
        first: answer.took,
    };
    match answer.status {
        200 if met.streamed && stream => return Stream::of(answer).reading(met, answer),
        200 if met.streamed => return lie(format!("a stream was asked for, {kind:?} came")),
        _ => {}
    }
    if !answer.complete {
        return lie("the answer broke off".to_owned());
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body()) else {
        return lie(format!("{} with a body that is no JSON", answer.status));
    };
    let read = match answer.status {
        200 => whole(&body, met.calls),
        400..=599 => match code(&body) {
            Some(code) => Read::Refused {
                status: answer.status,
                code,
            },
            None => Read::Lie("an error that is not in the client's shape".to_owned()),
        },
        other => Read::Lie(format!("the status {other}")),
    };
    Reading {
        read,
        first: answer.took,
    }
}

/// The code of an error in OpenAI's shape, with all four keys.
fn code(body: &Value) -> Option<String> {
    let error = body.get("error")?.as_object()?;
    let shaped = ["message", "type", "param", "code"]
        .iter()
        .all(|key| error.contains_key(*key));
    let code = error.get("code")?.as_str()?;
    (shaped && error.get("message")?.is_string()).then(|| code.to_owned())
}

/// The text at a place.
fn text<'a>(value: &'a Value, place: &str) -> Option<&'a str> {
    value.pointer(place)?.as_str()
}

/// Reads an answer that is not streamed.
fn whole(body: &Value, calls: bool) -> Read {
    let (said, meant, finish) = match calls {
        true => {
            let call = "/choices/0/message/tool_calls/0/function/arguments";
            (text(body, call), ARGUMENTS, "tool_calls")
        }
        false => (text(body, "/choices/0/message/content"), TEXT, "stop"),
    };
    match said {
        None if body.get("error").is_some() => Read::Lie("an error under the status 200".into()),
        None => Read::Lie("200 without an answer in it".into()),
        Some(said) if said != meant => Read::Lie(format!(
            "looks finished with {} of {} bytes",
            said.len(),
            meant.len()
        )),
        Some(_) if text(body, "/choices/0/finish_reason") != Some(finish) => {
            Read::Lie("no finish reason".into())
        }
        Some(_) => Read::Whole,
    }
}

/// What a stream says, put together.
#[derive(Debug, Default)]
struct Stream {
    text: String,
    arguments: String,
    finish: Option<String>,
    done: bool,
    error: Option<String>,
    /// The first thing that no honest stream has.
    wrong: Option<String>,
    first: Option<Duration>,
    /// There was content before any error.
    spoke: bool,
}

impl Stream {
    fn of(answer: &Answer) -> Self {
        let mut stream = Self::default();
        let mut framer = Framer::default();
        for (at, piece) in &answer.pieces {
            framer.push(Bytes::copy_from_slice(piece));
            while let Ok(Some(raw)) = framer.next_event() {
                if let Some(data) = Event::parse(&raw).data {
                    stream.event(&data, *at);
                }
            }
        }
        if framer.rest() > 0 {
            stream.wrong("an event that is cut off");
        }
        stream
    }

    fn wrong(&mut self, what: &str) {
        self.wrong.get_or_insert_with(|| what.to_owned());
    }

    fn event(&mut self, data: &[u8], at: Duration) {
        if self.done || self.error.is_some() {
            self.wrong("an event after the end");
        }
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            return self.wrong("an event that is no JSON");
        };
        if event.get("error").is_some_and(|error| !error.is_null()) {
            self.first.get_or_insert(at);
            match code(&event) {
                Some(code) => self.error = Some(code),
                None => self.wrong("an error event that is not in the client's shape"),
            }
            return;
        }
        if let Some(choice) = event.pointer("/choices/0") {
            self.choice(choice, at);
        }
    }

    fn choice(&mut self, choice: &Value, at: Duration) {
        let said = text(choice, "/delta/content").unwrap_or_default();
        let arguments = text(choice, "/delta/tool_calls/0/function/arguments");
        let says = !said.is_empty() || choice.pointer("/delta/tool_calls/0").is_some();
        if says {
            self.first.get_or_insert(at);
            self.spoke = true;
            if self.finish.is_some() {
                self.wrong("content after the finish reason");
            }
        }
        self.text.push_str(said);
        self.arguments.push_str(arguments.unwrap_or_default());
        if let Some(reason) = text(choice, "/finish_reason") {
            self.finish = Some(reason.to_owned());
        }
    }

    fn reading(self, met: &Met, answer: &Answer) -> Reading {
        Reading {
            first: self.first.unwrap_or(answer.took),
            read: self.read(met, answer.complete),
        }
    }

    fn read(self, met: &Met, complete: bool) -> Read {
        let (said, meant, finish) = match met.calls {
            true => (&self.arguments, ARGUMENTS, "tool_calls"),
            false => (&self.text, TEXT, "stop"),
        };
        let ended = self.done || self.finish.is_some();
        match (self.wrong, self.error) {
            (Some(wrong), _) => Read::Lie(wrong),
            (None, _) if !complete => Read::Lie("the connection broke".to_owned()),
            (None, Some(_)) if ended => Read::Lie("an error in a stream that has ended".to_owned()),
            (None, Some(code)) if !self.spoke => Read::RefusedInStream { code },
            (None, Some(_)) if !meant.starts_with(said.as_str()) => {
                Read::Lie("what came before the error is not the answer's beginning".to_owned())
            }
            (None, Some(code)) => Read::Broken {
                code,
                said: said.len(),
            },
            (None, None) if !ended => Read::Lie("an end without a word of why".to_owned()),
            (None, None) if said != meant => Read::Lie(format!(
                "looks finished with {} of {} bytes",
                said.len(),
                meant.len()
            )),
            (None, None) if !self.done => Read::Lie("no [DONE]".to_owned()),
            (None, None) if self.finish.as_deref() != Some(finish) => {
                Read::Lie("no finish reason".to_owned())
            }
            (None, None) => Read::Whole,
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
