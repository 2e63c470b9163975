//! The provider's side: which dialect reads it, and the bytes of its stream.
//!
//! Bedrock's frames are written as lines: `event TYPE JSON`, `exception TYPE JSON` or `error CODE TEXT`, each a frame;
//! after `bad-prelude` or `bad-message` with that checksum wrong, after `half` cut in the middle.

use crate::case::Input;
use crate::expected::Format;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tollgate::chat::{Event, Finish};
use tollgate::dialect::gemini::{Flavour, Gemini};
use tollgate::dialect::{Dialect, Label, anthropic, bedrock, cohere, openai, openai_chat};
use tollgate::error::{ErrorKind, GatewayError};

/// Providers of OpenAI's format, by the habits that their files show.
const COMPATIBLE: [&str; 17] = [
    "azure",
    "deepseek",
    "fireworks",
    "groq",
    "llama_cpp",
    "minimax",
    "mistral",
    "moonshot",
    "ollama",
    "openai",
    "openrouter",
    "perplexity",
    "proxy",
    "together",
    "transformers",
    "vllm",
    "xai",
];

pub fn dialect(speaker: &str) -> Box<dyn Dialect> {
    match speaker {
        "anthropic" => Box::new(anthropic::Anthropic),
        "bedrock" => Box::new(bedrock::Bedrock),
        "cohere" => Box::new(cohere::Cohere),
        "gemini" => Box::new(Gemini::new(Flavour::AiStudio)),
        "vertex" => Box::new(Gemini::new(Flavour::Vertex)),
        known if COMPATIBLE.contains(&known) => Box::new(openai_chat::Compatible::default()),
        other => panic!("nobody speaks like {other}"),
    }
}

pub fn label(include_usage: bool) -> Label {
    Label {
        model: "client-model".to_owned(),
        seed: "seed".to_owned(),
        created: 1_763_850_000,
        include_usage,
        ..Label::default()
    }
}

/// As the gateway words it.
pub fn broken(why: &str) -> GatewayError {
    let text = "The provider's stream broke off; the answer is incomplete.";
    GatewayError::new(ErrorKind::UpstreamError, text).because(why)
}

/// The bytes of a stream.
pub fn wire(input: &Input) -> Vec<u8> {
    if input.path.extension().is_some_and(|ending| ending == "sse") {
        return input.bytes.clone();
    }
    let text = std::str::from_utf8(&input.bytes).unwrap();
    text.lines().flat_map(frame).collect()
}

/// The stream cut before, and in the middle of, each of its events.
pub fn cuts(input: &Input) -> Vec<Vec<u8>> {
    let wire = wire(input);
    let mut ends = vec![0];
    if input.path.extension().is_some_and(|ending| ending == "sse") {
        ends.extend(
            wire.windows(2)
                .enumerate()
                .filter(|(_, pair)| *pair == b"\n\n")
                .map(|(at, _)| at + 2),
        );
    } else {
        let text = std::str::from_utf8(&input.bytes).unwrap();
        let lengths = text.lines().map(|line| frame(line).len());
        ends.extend(lengths.scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
    }
    let middles: Vec<usize> = ends
        .windows(2)
        .map(|pair| usize::midpoint(pair[0], pair[1]))
        .collect();
    let places = ends
        .into_iter()
        .chain(middles)
        .filter(|end| *end < wire.len());
    places.map(|end| wire[..end].to_vec()).collect()
}

fn frame(line: &str) -> Vec<u8> {
    let (kind, rest) = line.split_once(' ').unwrap();
    match kind {
        "bad-prelude" => {
            let mut bytes = frame(rest);
            bytes[8] ^= 1;
            return bytes;
        }
        "bad-message" => {
            let mut bytes = frame(rest);
            *bytes.last_mut().unwrap() ^= 1;
            return bytes;
        }
        "half" => {
            let mut bytes = frame(rest);
            bytes.truncate(bytes.len() / 2);
            return bytes;
        }
        _ => {}
    }
    let (name, payload) = rest.split_once(' ').unwrap_or((rest, ""));
    let named = match kind {
        "event" => ":event-type",
        "exception" => ":exception-type",
        "error" => ":error-code",
        other => panic!("no frame is a {other}"),
    };
    let mut headers = header(named, name);
    let payload = if kind == "error" {
        headers.extend(header(":error-message", payload));
        ""
    } else {
        headers.extend(header(":content-type", "application/json"));
        payload
    };
    headers.extend(header(":message-type", kind));
    let total = u32::try_from(16 + headers.len() + payload.len()).unwrap();
    let mut bytes = total.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(headers);
    bytes.extend(payload.as_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn header(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(name.len()).unwrap()];
    bytes.extend(name.as_bytes());
    bytes.push(7);
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value.as_bytes());
    bytes
}

/// A frame that an AWS SDK read: the ones here are made alike.
#[test]
fn frames_are_as_botocore_reads_them() {
    const KNOWN: &str = "0000007b00000051f74c6fd50b3a6576656e742d7479706507000b6d65737361676553746f70\
        0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e\
        0d3a6d6573736167652d747970650700056576656e74\
        7b2273746f70526561736f6e223a2022656e645f7475726e227de70e424b";
    let made = frame(r#"event messageStop {"stopReason": "end_turn"}"#);
    let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, KNOWN);
}

/// The model that was asked, where an answer is read by it.
pub fn model(speaker: &str) -> &'static str {
    match speaker {
        "bedrock" => "anthropic.claude-sonnet-4-5-20250929-v1:0",
        _ => "m",
    }
}

/// Passes a stream on as the gateway does, in pieces of `size` bytes.
pub fn relay(speaker: &str, format: Format, wire: &[u8], size: usize, usage: bool) -> String {
    let mut decoder = dialect(speaker).decoder(model(speaker), 1 << 20);
    let mut encoder = format.face().encoder(label(usage));
    let mut out = Vec::new();
    let mut pieces = wire.chunks(size);
    loop {
        let mut events = Vec::new();
        let read = match pieces.next() {
            Some(piece) => decoder.push(Bytes::copy_from_slice(piece), &mut events),
            None => decoder.end(&mut events).map(|()| events.push(Event::End)),
        };
        for event in events {
            match event {
                Event::Failed(failure) => {
                    encoder.fail(&openai::refusal(failure, str::to_owned), &mut out);
                    return String::from_utf8(out).unwrap();
                }
                Event::End => {
                    encoder.encode(Event::End, &mut out);
                    return String::from_utf8(out).unwrap();
                }
                event => encoder.encode(event, &mut out),
            }
        }
        if let Err(e) = read {
            encoder.fail(&broken(&e.to_string()), &mut out);
            return String::from_utf8(out).unwrap();
        }
    }
}

/// What [`Event`] promises, for whatever a provider sends.
pub fn events_in_order(speaker: &str, wire: &[u8]) -> Result<(), String> {
    let mut decoder = dialect(speaker).decoder(model(speaker), 1 << 20);
    let mut events = Vec::new();
    let read = decoder.push(Bytes::copy_from_slice(wire), &mut events);
    if read.is_ok() {
        let _ = decoder.end(&mut events);
    }
    let mut order = Order::default();
    for event in &events {
        order
            .take(event)
            .map_err(|e| format!("{e}: {event:?}\n  in {events:?}"))?;
    }
    Ok(())
}

#[derive(Default)]
struct Order {
    started: bool,
    over: bool,
    calls: BTreeMap<u32, u32>,
    argued: BTreeSet<(u32, u32)>,
    finished: BTreeSet<u32>,
}

impl Order {
    fn take(&mut self, event: &Event) -> Result<(), &'static str> {
        if self.over {
            return Err("after the end");
        }
        match event {
            Event::Start { .. } if std::mem::replace(&mut self.started, true) => {
                return Err("a second start");
            }
            Event::Start { .. } | Event::Ping => {}
            Event::Failed(_) => self.over = true,
            _ if !self.started => return Err("before the start"),
            Event::End => self.over = true,
            Event::Usage(_) | Event::Other(_) => {}
            Event::Finish { choice, finish } => self.finish(*choice, *finish)?,
            Event::CallStart {
                choice,
                call,
                id,
                name,
                ..
            } => {
                self.open(*choice)?;
                let calls = self.calls.entry(*choice).or_default();
                if call != calls || id.is_empty() || name.is_empty() {
                    return Err("a call that is not the next one, or has no name or id");
                }
                *calls += 1;
            }
            Event::CallArguments { choice, call, .. } => {
                self.open(*choice)?;
                if *call >= self.calls.get(choice).copied().unwrap_or_default() {
                    return Err("arguments of no call");
                }
                self.argued.insert((*choice, *call));
            }
            Event::Text { choice, .. }
            | Event::Refusal { choice, .. }
            | Event::Thought { choice, .. }
            | Event::Signature { choice, .. }
            | Event::RedactedThought { choice, .. }
            | Event::Image { choice, .. }
            | Event::Audio { choice, .. }
            | Event::Native { choice, .. }
            | Event::Annotations { choice, .. }
            | Event::Logprobs { choice, .. } => self.open(*choice)?,
        }
        Ok(())
    }

    fn open(&self, choice: u32) -> Result<(), &'static str> {
        if self.finished.contains(&choice) {
            return Err("after the choice's finish");
        }
        Ok(())
    }

    fn finish(&mut self, choice: u32, finish: Finish) -> Result<(), &'static str> {
        let calls = self.calls.get(&choice).copied().unwrap_or_default();
        let silent = (0..calls).any(|call| !self.argued.contains(&(choice, call)));
        if silent {
            return Err("a call without arguments, not even {}");
        }
        if (finish == Finish::ToolCalls) != (calls > 0)
            && matches!(finish, Finish::Stop | Finish::ToolCalls)
        {
            return Err("calls and finish do not fit");
        }
        if !self.finished.insert(choice) {
            return Err("a second finish");
        }
        Ok(())
    }
}
