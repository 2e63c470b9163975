//! Streams through a provider's decoder and every client's encoder.

use super::draw::{Sequence, cuts};
use super::formats::{COMPATIBLE, faces, label};
use super::frames::{self, Ending};
use super::grammar::{self, check, joined};
use super::{shown, wire};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tollgate::chat::{Audio, DecodeError, Encoder, Event, Failure, Finish, Origin, Sealed, Usage};
use tollgate::dialect::Dialect;
use tollgate::dialect::Face;
use tollgate::dialect::anthropic::Anthropic;
use tollgate::dialect::bedrock::Bedrock;
use tollgate::dialect::cohere::Cohere;
use tollgate::dialect::gemini::{Flavour, Gemini};
use tollgate::dialect::openai_chat::{Chat, Compatible};
use tollgate::error::{ErrorKind, GatewayError};
use tollgate::wire::json::lenient;
use tollgate::wire::{eventstream, sse};

const LIMIT: usize = 1 << 20;

pub fn anthropic(bytes: &[u8]) {
    stream(&Anthropic, bytes, |frames| {
        frames.iter().any(|(_, json)| kind(json) == "message_stop")
    });
}

/// As it came, and with every server-sent event of it as a message of AWS, since no damage keeps
/// a checksum right.
pub fn bedrock(bytes: &[u8]) {
    let ends = |bytes: &[u8]| {
        let mut framer = eventstream::Framer::new(LIMIT);
        framer.push(Bytes::copy_from_slice(bytes));
        let mut kinds = Vec::new();
        while let Ok(Some(message)) = framer.next_message() {
            kinds.extend(message.text(":event-type").map(str::to_owned));
        }
        ["messageStop", "metadata"]
            .iter()
            .all(|end| kinds.iter().any(|kind| kind == end))
    };
    for stream in [bytes.to_vec(), reframed(bytes)] {
        decoded(&Bedrock, &stream, ends(&stream));
    }
}

pub fn cohere(bytes: &[u8]) {
    stream(&Cohere, bytes, |frames| {
        let end = "message-end";
        frames
            .iter()
            .any(|(name, json)| kind(json) == end || name.as_deref() == Some(end))
    });
}

pub fn compatible(bytes: &[u8]) {
    // Its readers are lenient, so this looks for words only.
    let has = |word: &str| bytes.windows(word.len()).any(|at| at == word.as_bytes());
    let ends = has("[DONE]") || has("finish_reason") || has("\\u");
    let document = bytes.trim_ascii_start().starts_with(b"{");
    for think_tags in [false, true] {
        decoded(&Compatible { think_tags }, bytes, ends || document);
    }
}

pub fn gemini(bytes: &[u8]) {
    let has = |word: &str| bytes.windows(word.len()).any(|at| at == word.as_bytes());
    let ends = ["finishReason", "blockReason", "promptFeedback", "\\u"]
        .into_iter()
        .any(has);
    decoded(&Gemini::new(Flavour::AiStudio), bytes, ends);
}

fn kind(json: &Value) -> &str {
    json["type"].as_str().unwrap_or_default()
}

type Frames = Vec<(Option<String>, Value)>;

fn stream(dialect: &dyn Dialect, bytes: &[u8], ends: fn(&Frames) -> bool) {
    let mut framer = sse::Framer::new(LIMIT);
    framer.push(Bytes::copy_from_slice(bytes));
    let mut frames = Vec::new();
    while let Ok(Some(raw)) = framer.next_event() {
        let event = sse::Event::parse(&raw);
        // As the decoders do, which read what is not quite JSON.
        let json = event.data.and_then(|data| lenient(&data));
        frames.push((event.name.map(str::to_owned), json.unwrap_or_default()));
    }
    decoded(dialect, bytes, ends(&frames));
}

/// A stream of server-sent events as one of AWS: `event` is the type.
pub fn reframed(bytes: &[u8]) -> Vec<u8> {
    let mut framer = sse::Framer::new(LIMIT);
    framer.push(Bytes::copy_from_slice(bytes));
    let mut out = Vec::new();
    while let Ok(Some(raw)) = framer.next_event() {
        let event = sse::Event::parse(&raw);
        let name = event.name.unwrap_or_default();
        let kind = if name.ends_with("Exception") {
            "exception"
        } else {
            "event"
        };
        let mut headers = header(":message-type", kind);
        headers.extend(header(&format!(":{kind}-type"), name));
        out.extend(wire::frame(&headers, &event.data.unwrap_or_default()));
    }
    out
}

fn header(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(name.len()).expect("a short name")];
    out.extend(name.as_bytes());
    out.push(7);
    let size = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(size.to_be_bytes());
    out.extend(value.bytes().take(usize::from(size)));
    out
}

/// What a stream tells, as the gateway takes it in: nothing after an error is read, and the end
/// of a whole stream is an event.
pub fn decode(
    dialect: &dyn Dialect,
    pieces: Vec<Bytes>,
    limit: usize,
) -> (Vec<Event>, Result<(), DecodeError>) {
    let mut decoder = dialect.decoder("m", limit);
    let mut events = Vec::new();
    let read = pieces
        .into_iter()
        .try_for_each(|piece| decoder.push(piece, &mut events));
    let read = read.and_then(|()| decoder.end(&mut events));
    (events, read)
}

/// Chunks change nothing; events are in order; only what the provider's own terminal event ended
/// is whole; and every client is told just that.
fn decoded(dialect: &dyn Dialect, bytes: &[u8], ends: bool) {
    for limit in [LIMIT, 64] {
        let (events, read) = decode(dialect, vec![Bytes::copy_from_slice(bytes)], limit);
        let whole = (joined(events), read);
        for pieces in cuts(bytes) {
            let (events, read) = decode(dialect, pieces, limit);
            assert_eq!((joined(events), read), whole, "{}", shown(bytes));
        }
    }
    let (mut events, read) = decode(dialect, vec![Bytes::copy_from_slice(bytes)], LIMIT);
    check(&events);
    let told: usize = events.iter().map(size).sum();
    assert!(
        told <= bytes.len() * 16 + 4096,
        "{told} bytes told of {}",
        bytes.len()
    );
    let failed = matches!(events.last(), Some(Event::Failed(_)));
    let over = matches!(events.last(), Some(Event::End | Event::Failed(_)));
    if read.is_ok() {
        assert!(failed || ends, "whole without its end: {}", shown(bytes));
        assert!(
            over,
            "the decoder is content, but the events are not: {events:?}"
        );
    }
    if matches!(events.last(), Some(Event::End)) {
        assert!(ends, "an end that nobody told: {}", shown(bytes));
    }
    if !over {
        // As the gateway takes an unreadable stream.
        assert!(read.is_err());
        events.push(Event::Failed(Failure::default()));
    }
    encoded(&events);
}

/// Bytes that an event holds, roughly.
fn size(event: &Event) -> usize {
    format!("{event:?}").len().saturating_sub(80)
}

/// Writes events of one stream for every client, and reads what they get.
pub fn encoded(events: &[Event]) {
    let told = grammar::said(events);
    let whole = matches!(events.last(), Some(Event::End));
    for (name, face) in faces() {
        let out = written(face.encoder(label()).as_mut(), events);
        let heard = frames::read(name, &out);
        let expected = if whole { Ending::Whole } else { Ending::Failed };
        assert_eq!(
            heard.ending,
            expected,
            "{name}: {events:?} became {}",
            shown(&out)
        );
        if name != "functions" {
            frames::agrees(name, &heard, &told);
        }
    }
    if whole {
        survives(events);
    }
}

/// As the gateway writes: a failure through `fail`, in its own words.
pub fn written(encoder: &mut dyn Encoder, events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        match event {
            Event::Failed(_) => {
                let error = GatewayError::new(ErrorKind::UpstreamError, "It failed.");
                encoder.fail(&error, &mut out);
            }
            event => encoder.encode(event.clone(), &mut out),
        }
    }
    out
}

/// The hub's own format loses nothing: chunks that a client of Chat Completions gets, read by
/// the dialect of providers that speak it, are the events that were written.
pub fn survives(events: &[Event]) {
    if !is_plain(events) {
        return;
    }
    let out = written(Chat::default().encoder(label()).as_mut(), events);
    let (again, read) = decode(&COMPATIBLE, vec![out.clone().into()], usize::MAX);
    assert_eq!(read, Ok(()), "{}", shown(&out));
    assert_eq!(canonical(&again), canonical(events), "{}", shown(&out));
}

/// Whether every call has what a reader can tell calls apart by, and ends as its calls say.
fn is_plain(events: &[Event]) -> bool {
    let mut ids = Vec::new();
    for event in events {
        match event {
            Event::CallStart { id, name, .. }
                if id.is_empty() || name.is_empty() || ids.contains(&id) =>
            {
                return false;
            }
            Event::CallStart { id, .. } => ids.push(id),
            _ => {}
        }
    }
    true
}

/// The events of each choice in order, without what carries no content; the last usage.
pub fn canonical(events: &[Event]) -> (Vec<Vec<Event>>, Option<Usage>) {
    let mut usage = None;
    let mut choices: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
    for event in events {
        match event {
            Event::Usage(counted) => usage = Some(*counted),
            Event::Start { .. }
            | Event::Native { .. }
            | Event::Other(_)
            | Event::Ping
            | Event::End
            | Event::Failed(_) => {}
            Event::Text { text, .. }
            | Event::Thought { text, .. }
            | Event::Refusal { text, .. }
            | Event::CallArguments { text, .. }
                if text.is_empty() => {}
            // A sound has an id and a date there, made up if need be.
            Event::Audio { choice, audio } => {
                let audio = Audio {
                    id: None,
                    expires_at: None,
                    ..audio.clone()
                };
                let choice = *choice;
                let all = choices.entry(choice).or_default();
                all.push(Event::Audio { choice, audio });
            }
            // Whether there were calls is told by the calls.
            Event::Finish { choice, finish } if *finish == Finish::ToolCalls => {
                choices.entry(*choice).or_default().push(Event::Finish {
                    choice: *choice,
                    finish: Finish::Stop,
                });
            }
            event => choices
                .entry(grammar::choice(event))
                .or_default()
                .push(event.clone()),
        }
    }
    (choices.into_values().map(joined).collect(), usage)
}

/// Any events at all, in any order, read from the bytes: an encoder writes frames of its format,
/// ends once, and says that an answer is whole only if it was told so.
pub fn encoders(bytes: &[u8]) {
    let events = events(bytes);
    let end = events.iter().position(|event| matches!(event, Event::End));
    let failure = events
        .iter()
        .position(|event| matches!(event, Event::Failed(_)));
    for (name, face) in faces() {
        let out = written(face.encoder(label()).as_mut(), &events);
        let heard = frames::read(name, &out);
        if heard.ending == Ending::Whole {
            let end = end.unwrap_or_else(|| panic!("{name} ended by itself: {events:?}"));
            assert!(
                failure.is_none_or(|failure| end < failure),
                "{name}: {events:?}"
            );
        }
        assert!(
            end.or(failure).is_none() || heard.ending != Ending::Open,
            "{name}: {events:?}"
        );
    }
}

/// Two bytes an event.
fn events(bytes: &[u8]) -> Vec<Event> {
    let mut sequence = Sequence::of(bytes);
    let pairs = bytes.chunks(2);
    pairs.map(|pair| event(pair, &mut sequence)).collect()
}

fn event(pair: &[u8], sequence: &mut Sequence) -> Event {
    const PIECES: [&str; 8] = ["{", "}", "{}", "\"a\":1", "x", "", "[", "\""];
    const ENDS: [Finish; 4] = [
        Finish::Stop,
        Finish::Length,
        Finish::ToolCalls,
        Finish::ContentFilter,
    ];
    let choice = u32::from(pair[0] >> 6 == 3);
    let call = u32::from(pair.get(1).copied().unwrap_or_default() & 3);
    let text = wire::odd_text(pair);
    let sealed = Sealed::new(Origin::Gemini, text.as_str());
    match pair[0] & 15 {
        0 => Event::Start {
            id: None,
            model: None,
        },
        1 | 2 => Event::Text { choice, text },
        3 => Event::Refusal { choice, text },
        4 => Event::Thought { choice, text },
        5 => Event::Signature {
            choice,
            signature: sealed,
        },
        6 => Event::RedactedThought {
            choice,
            data: sealed,
        },
        7 => Event::CallStart {
            choice,
            call,
            id: text.clone(),
            name: text,
            signature: (call == 1).then_some(sealed),
        },
        8 | 9 => Event::CallArguments {
            choice,
            call,
            text: PIECES[sequence.below(PIECES.len())].into(),
        },
        10 => Event::Annotations {
            choice,
            annotations: vec![Value::Null, cited(&text)],
        },
        11 => Event::Logprobs {
            choice,
            logprobs: json!({ "content": [{ "token": text, "logprob": -0.5 }] }),
        },
        12 => Event::Finish {
            choice,
            finish: ENDS[sequence.below(ENDS.len())],
        },
        13 => Event::Usage(Usage {
            prompt: u64::from(call),
            completion: u64::MAX,
            ..Usage::default()
        }),
        14 if call == 0 => Event::Failed(Failure::default()),
        15 if call == 0 => Event::End,
        _ => Event::Ping,
    }
}

fn cited(url: &str) -> Value {
    json!({ "type": "url_citation", "url_citation": {
        "url": url, "title": "t", "start_index": 0, "end_index": 1,
    }})
}
