//! What the answer that a client is being served uses: as its provider tells
//! it, else as far as it was seen.
//!
//! On the way of an answer this only keeps: the provider's report when there is
//! one, and the beginning of what was said. Tokens are counted at the end, off
//! the path, and only where the report is missing or cannot be believed.

use super::Ctx;
use super::attempt::Body;
use crate::chat::{Answer, Event, Operation, Speech, Usage};
use crate::dialect::usage::{self, Reader, Report, texts};
use crate::meter::tokens;
use bytes::Bytes;

/// Bytes of an answer that are kept to count its tokens. What comes after them
/// is taken to be as dense.
const KEPT: usize = 64 << 10;

/// Bytes of a token, where only the length of a text is known.
const BYTES: u64 = 4;

/// Bytes of a token of sound: some 20 of them are a second, which takes 4 to 24
/// kB where it is compressed.
pub const SOUND_BYTES: u64 = 512;

/// Bytes that a token of ordinary text has at most. Fewer tokens than this allows
/// may be true (of blanks, say), and are worth a count.
pub const TOKEN_BYTES: u64 = 12;

/// The same of an event as it is written around its text.
const EVENT_BYTES: u64 = 600;

/// Events of a stream that carry no text.
const FORMAL_EVENTS: u64 = 12;

/// Bytes of a whole answer that are none of its text: names, ids, usage.
const BODY_BYTES: u64 = 2_048;

/// An answer under way.
#[derive(Debug, Default)]
pub struct Tally {
    reader: Reader,
    report: Option<Report>,
    kept: Vec<u8>,
    /// A whole answer, which is not copied. Cut JSON cannot be read: all or
    /// nothing.
    whole: Bytes,
    /// Of what is kept and what is not.
    bytes: u64,
    events: u64,
    form: Form,
}

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Text,
    /// Events as they came.
    Events(Speech),
    /// A whole answer as it came.
    Body,
    /// A part of a whole answer, of which only the length is known.
    Piece,
    /// The same, of a sound.
    Sound,
}

impl Tally {
    /// That of an answer of which this is there.
    pub fn of(body: &Body, operation: Operation) -> Self {
        let mut tally = Self::default();
        match body {
            Body::Whole(body) => tally.body(operation, body),
            Body::Answer(answer) => tally.answer(answer),
            Body::Vectors { vectors, .. } => {
                tally.report = vectors.tokens.map(|prompt| {
                    Report::Told(Usage {
                        prompt,
                        ..Usage::default()
                    })
                });
            }
            // Nobody asks money for a number.
            Body::Count { .. } => tally.report = Some(Report::Told(Usage::default())),
            Body::Raw { .. } if operation == Operation::Speech => tally.form = Form::Sound,
            Body::Events { .. } | Body::Decoded { .. } | Body::Raw { .. } => {}
        }
        tally
    }

    /// An event of the client's own format passes. Whether it may tell usage.
    pub fn event(&mut self, speech: Speech, raw: &[u8]) -> bool {
        self.form = Form::Events(speech);
        let may_tell = self.reader.event(speech, raw);
        // Half an event cannot be read.
        if self.bytes == self.kept.len() as u64 && self.kept.len() + raw.len() <= KEPT {
            self.kept.extend_from_slice(raw);
        }
        self.bytes = self.bytes.saturating_add(raw.len() as u64);
        self.events = self.events.saturating_add(1);
        may_tell
    }

    /// An event was decoded.
    pub fn decoded(&mut self, event: &Event) {
        match event {
            Event::Text { text, .. }
            | Event::Thought { text, .. }
            | Event::Refusal { text, .. }
            | Event::CallArguments { text, .. } => self.said(text),
            Event::CallStart { name, .. } => self.said(name),
            Event::Usage(usage) => self.report = Some(Report::Told(*usage)),
            _ => {}
        }
    }

    /// A whole answer of the client's own format.
    fn body(&mut self, operation: Operation, body: &Bytes) {
        self.report = usage::whole(operation, body);
        self.form = Form::Body;
        self.bytes = body.len() as u64;
        // Also where there is a report: nobody knows yet what it is worth.
        self.whole = body.clone();
    }

    /// A part of a whole answer came.
    pub fn piece(&mut self, bytes: usize) {
        if self.form != Form::Sound {
            self.form = Form::Piece;
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// A whole answer was decoded.
    fn answer(&mut self, answer: &Answer) {
        self.report = answer.usage.map(Report::Told);
        for choice in &answer.choices {
            let texts = choice.thoughts.iter().map(|thought| &thought.text);
            let calls = choice.calls.iter().flat_map(|c| [&c.name, &c.arguments]);
            let said = choice.text.iter().chain(&choice.refusal);
            for text in texts.chain(said).chain(calls) {
                self.said(text);
            }
        }
    }

    fn said(&mut self, text: &str) {
        let room = KEPT.saturating_sub(self.kept.len());
        let mut cuts = (0..=room.min(text.len())).rev();
        let part = cuts.find_map(|cut| text.get(..cut)).unwrap_or_default();
        self.kept.extend_from_slice(part.as_bytes());
        self.bytes = self.bytes.saturating_add(text.len() as u64);
    }

    /// The provider's report.
    pub fn report(&self) -> Option<Report> {
        self.reader.report().or(self.report)
    }

    /// Whether anything of the answer was seen.
    pub const fn has_content(&self) -> bool {
        self.bytes > 0
    }

    /// Bytes of the answer that were seen; no token has less than one.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether so many tokens are fewer than what was seen looks like. It does
    /// not mean that they are: that takes a count.
    pub fn looks_longer_than(&self, tokens: u64) -> bool {
        match self.form {
            Form::Text => self.bytes > tokens.saturating_mul(TOKEN_BYTES),
            // An event is a token or more.
            Form::Events(_) => {
                self.reader.is_of_start()
                    || self.events > tokens.saturating_add(FORMAL_EVENTS)
                    || self.bytes
                        > tokens
                            .saturating_mul(EVENT_BYTES)
                            .saturating_add(BODY_BYTES)
            }
            Form::Body => {
                self.bytes
                    > tokens
                        .saturating_mul(TOKEN_BYTES)
                        .saturating_add(BODY_BYTES)
            }
            Form::Piece | Form::Sound => false,
        }
    }

    /// Output tokens of what was seen, by a tokenizer. Takes milliseconds: off
    /// the path of requests.
    pub fn tokens(&self, model: &str) -> u64 {
        let text = match self.form {
            Form::Text => String::from_utf8_lossy(&self.kept).into_owned(),
            Form::Events(speech) => texts::of_events(speech, &self.kept),
            Form::Body => texts::of_body(&self.whole),
            Form::Piece => return self.bytes.div_ceil(BYTES),
            Form::Sound => return self.bytes.div_ceil(SOUND_BYTES),
        };
        let counted = tokens::count(model, &text);
        let kept = self.kept.len() as u64;
        if kept == 0 || self.bytes <= kept {
            return counted;
        }
        let all = u128::from(counted) * u128::from(self.bytes) / u128::from(kept);
        u64::try_from(all).unwrap_or(u64::MAX)
    }
}

/// The events of `out` with the cost beside the usage, as a field of our own:
/// `"tollgate":{"cost_usd":"0.000123"}`. Without a known cost they stay as they
/// are.
pub fn with_cost(out: &[u8], ctx: &Ctx) -> Bytes {
    let Some(cost) = ctx.cost_so_far() else {
        return Bytes::copy_from_slice(out);
    };
    let mut priced = Vec::with_capacity(out.len() + 64);
    for event in texts::events(out) {
        let brace = memchr::memrchr(b'}', event).filter(|_| usage::is_usage_alone(event));
        match brace.and_then(|at| event.split_at_checked(at)) {
            Some((before, after)) => {
                priced.extend_from_slice(before);
                let field = format!(",\"tollgate\":{{\"cost_usd\":\"{cost}\"}}");
                priced.extend_from_slice(field.as_bytes());
                priced.extend_from_slice(after);
            }
            None => priced.extend_from_slice(event),
        }
    }
    priced.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    }

    #[test]
    fn what_passed_is_counted_where_nothing_is_told() {
        let mut tally = Tally::default();
        for word in ["one", " two", " three"] {
            tally.event(Speech::OpenAi, chunk(word).as_bytes());
        }
        assert_eq!(tally.report(), None);
        assert_eq!(tally.tokens("gpt-4o"), 3);
    }

    #[test]
    fn what_is_over_the_limit_is_taken_to_be_as_dense() {
        let mut tally = Tally::default();
        let events = 2 * KEPT / chunk(" word").len();
        for _ in 0..events {
            tally.event(Speech::OpenAi, chunk(" word").as_bytes());
        }
        let counted = tally.tokens("gpt-4o");
        assert!(
            counted.abs_diff(events as u64) <= 2,
            "{counted} of {events}"
        );
        let mut decoded = Tally::default();
        for _ in 0..50_000 {
            let text = " word".to_owned();
            decoded.decoded(&Event::Text { choice: 0, text });
        }
        assert!(decoded.tokens("gpt-4o").abs_diff(50_000) < 50);
        assert!(decoded.kept.len() <= KEPT);
    }

    #[test]
    fn a_report_is_the_last_word() {
        let mut tally = Tally::default();
        tally.event(Speech::OpenAi, chunk("one").as_bytes());
        let last =
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n";
        tally.event(Speech::OpenAi, last.as_bytes());
        let Some(Report::Told(usage)) = tally.report() else {
            panic!("{tally:?}");
        };
        assert_eq!((usage.prompt, usage.completion), (5, 6));
    }

    #[test]
    fn a_whole_answer_without_usage_is_read_for_its_texts() {
        let mut tally = Tally::default();
        let body = Bytes::from_static(
            br#"{"id":"x","choices":[{"message":{"role":"assistant","content":"one two three"}}]}"#,
        );
        tally.body(Operation::ChatCompletions, &body);
        assert_eq!((tally.report(), tally.tokens("gpt-4o")), (None, 3));
    }

    #[test]
    fn a_whole_answer_is_read_for_its_texts_whatever_it_tells() {
        let mut tally = Tally::default();
        let body = Bytes::from_static(
            br#"{"choices":[{"message":{"content":"one two three"}}],"usage":{"prompt_tokens":5,"completion_tokens":900000000}}"#,
        );
        tally.body(Operation::ChatCompletions, &body);
        assert!(matches!(tally.report(), Some(Report::Told(_))));
        assert_eq!(tally.tokens("gpt-4o"), 3);
    }

    #[test]
    fn a_part_of_a_whole_answer_is_as_long_as_it_is() {
        let mut tally = Tally::default();
        tally.piece(40);
        tally.piece(3);
        assert_eq!((tally.tokens("gpt-4o"), tally.has_content()), (11, true));
        let mut sound = Tally {
            form: Form::Sound,
            ..Tally::default()
        };
        sound.piece(5_000);
        sound.piece(240);
        assert_eq!((sound.tokens("tts"), sound.has_content()), (11, true));
    }
}
