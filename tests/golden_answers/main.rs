//! Every answer, stream and error of every provider format, in every client format, as data.
//!
//! `tests/golden/answers/CASE/SPEAKER.json`, `streams/CASE/SPEAKER.sse` (Bedrock's: `.frames`, see [`provider`]) and
//! `errors/CASE/SPEAKER.json` are what a provider sends. Beside each stands what the three client formats make of it
//! (`SPEAKER.chat.*`, `.messages.*`, `.responses.*`; of an error `SPEAKER.clients.json`), which `TOLLGATE_BLESS=1`
//! writes anew.
//!
//! A blessed mistake cannot hide, because two things are not blessed: `CASE/expected.json` says by hand what every
//! client must hear of the case, whoever is the provider, and is compared with what readers of the client's format,
//! which know nothing of the product's code, make of the output; and those readers insist on what the format promises
//! for any stream ([`chat`], [`messages`], [`responses`]).
//!
//! A stream is fed whole, in single bytes and in sevens, and has to come out the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assertion is a test's way to speak"
)]

mod case;
mod chat;
mod errors;
mod expected;
mod heard;
mod messages;
mod provider;
mod responses;

use case::{Input, Problems, inputs, pretty};
use expected::{Expected, Format};
use heard::Heard;
use serde_json::Value;
use tollgate::dialect::openai::refusal;

/// What a reader says: what it heard, or which promise of the format is broken.
type Reading = Result<Heard, String>;

#[test]
fn every_answer_reads_as_it_was_meant() {
    let mut problems = Problems::new("answers");
    for input in inputs("answers", &["json"]) {
        let dialect = provider::dialect(&input.speaker);
        let told = match dialect.answer(provider::model(&input.speaker), &input.bytes) {
            Ok(told) => told.map_err(|failure| refusal(failure, str::to_owned)),
            Err(e) => Err(provider::broken(&e.to_string())),
        };
        for format in Format::ALL {
            let face = format.face();
            let raw = match &told {
                Ok(answer) => face.answer(answer, &provider::label(true)),
                Err(error) => face.error(error).1,
            };
            let raw = String::from_utf8(raw).expect("a client reads UTF-8");
            let body: Value = serde_json::from_str(&raw).expect("a client reads JSON");
            let name = format!("{}.{}.json", input.speaker, format.name());
            problems.compare(&input, &name, &pretty(&raw));
            let heard = match (&told, format) {
                (Err(_), _) => errors::in_band(&body, format),
                (_, Format::Chat) => chat::answer(&body),
                (_, Format::Messages) => messages::answer(&body, &raw),
                (_, Format::Responses) => responses::answer(&body),
            };
            check(&input, format, heard, false, &mut problems);
        }
    }
    problems.report();
}

#[test]
fn every_stream_reads_as_it_was_meant() {
    let mut problems = Problems::new("streams");
    for input in inputs("streams", &["sse", "frames"]) {
        let wire = provider::wire(&input);
        if let Err(e) = provider::events_in_order(&input.speaker, &wire) {
            problems.add(&input, &e);
        }
        for format in Format::ALL {
            let whole = provider::relay(&input.speaker, format, &wire, wire.len().max(1), true);
            for size in [1, 7] {
                if provider::relay(&input.speaker, format, &wire, size, true) != whole {
                    let text = format!("{}: other in pieces of {size}", format.name());
                    problems.add(&input, &text);
                }
            }
            let name = format!("{}.{}.sse", input.speaker, format.name());
            problems.compare(&input, &name, &whole);
            check(
                &input,
                format,
                read(format, &whole, true),
                true,
                &mut problems,
            );
            let silent = provider::relay(&input.speaker, format, &wire, 64, false);
            unasked(&input, format, &silent, &mut problems);
        }
    }
    problems.report();
}

/// The readers find what is wrong: no event of these streams can be lost or come twice.
#[test]
fn a_lost_or_repeated_event_is_found() {
    const CASES: [&str; 6] = [
        "calls-parallel",
        "choices-two",
        "citations-web",
        "cut-in-call",
        "refusal",
        "thinking-interleaved",
    ];
    let mut problems = Problems::new("streams");
    let mut inputs = inputs("streams", &["sse", "frames"]);
    inputs.retain(|input| CASES.contains(&input.case.as_str()));
    for (input, format) in inputs
        .iter()
        .flat_map(|input| Format::ALL.map(|format| (input, format)))
    {
        let wire = provider::wire(input);
        let whole = provider::relay(&input.speaker, format, &wire, wire.len(), true);
        let events: Vec<&str> = whole.split_inclusive("\n\n").collect();
        let means = |(_, event): &(usize, &&str)| {
            !event.starts_with(": ") && !event.starts_with("event: ping")
        };
        for (at, event) in events.iter().enumerate().filter(means) {
            for times in [0, 2] {
                let mut other = events.clone();
                other.splice(at..=at, vec![*event; times]);
                let heard = read(format, &other.concat(), true);
                let told = heard.and_then(|heard| Expected::of(input).compare(heard, format, true));
                if told.is_ok() {
                    problems.add(input, &format!("{}: {times} times {event}", format.name()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:?}");
}

/// Wherever a stream is cut, its client is told so, or has lost nothing but a count of tokens.
#[test]
fn a_stream_that_is_cut_does_not_look_whole() {
    let mut problems = Problems::new("streams");
    for input in inputs("streams", &["sse", "frames"]) {
        // Every chunk of it says that it is the last.
        if input.case == "finish-everywhere" && input.speaker == "gemini" {
            continue;
        }
        for wire in provider::cuts(&input) {
            let stream =
                provider::relay(&input.speaker, Format::Chat, &wire, wire.len().max(1), true);
            let heard = chat::stream(&stream, true);
            let told = heard.and_then(|heard| Expected::of(&input).compare_cut(heard));
            if let Err(e) = told {
                let end = String::from_utf8_lossy(&wire[wire.len().saturating_sub(40)..]);
                problems.add(&input, &format!("cut after {end:?}: {e}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

fn read(format: Format, stream: &str, asked: bool) -> Reading {
    match format {
        Format::Chat => chat::stream(stream, asked),
        Format::Messages => messages::stream(stream),
        Format::Responses => responses::stream(stream),
    }
}

/// A client that did not ask for usage hears the same, but for that.
fn unasked(input: &Input, format: Format, stream: &str, problems: &mut Problems) {
    let heard = read(format, stream, false).map(|mut heard| {
        if format == Format::Chat {
            heard.usage = Expected::of(input).usage;
        }
        heard
    });
    check(input, format, heard, true, problems);
}

fn check(input: &Input, format: Format, heard: Reading, streamed: bool, problems: &mut Problems) {
    let told = heard.and_then(|heard| Expected::of(input).compare(heard, format, streamed));
    if let Err(e) = told {
        problems.add(input, &format!("{}: {e}", format.name()));
    }
}
