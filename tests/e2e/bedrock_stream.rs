//! Bedrock's binary stream, byte by byte: whichever way it is cut, and whatever breaks in it, every client format
//! tells the truth about the end.
//!
//! The frames are built here, checksums and all, and botocore's own parser judges them: those that are called whole
//! it must read, those that are called broken it must refuse.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::client::{Request, Stream};
use crate::gateway::{Gateway, KEY, SECRET_VARIABLE, key, model};
use crate::provider::{Provider, Script, plain};
use crate::sdk::{prepared, sources};
use crate::tool;
use crate::translation::{FACES, request, text_of};
use crate::wait::DEADLINE;

/// One message of the event stream.
fn frame(kind: &str, name: &str, payload: &Value) -> Vec<u8> {
    let fields = [
        (format!(":{kind}-type"), name),
        (":content-type".to_owned(), "application/json"),
        (":message-type".to_owned(), kind),
    ];
    let mut headers = Vec::new();
    for (field, value) in &fields {
        headers.push(u8::try_from(field.len()).unwrap());
        headers.extend_from_slice(field.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    sealed(&headers, payload.to_string().as_bytes())
}

fn sealed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    let mut message = length(16 + headers.len() + payload.len()).to_vec();
    message.extend_from_slice(&length(headers.len()));
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}

fn event(name: &str, payload: &Value) -> Vec<u8> {
    frame("event", name, payload)
}

fn delta(text: &str) -> Vec<u8> {
    event(
        "contentBlockDelta",
        &json!({ "contentBlockIndex": 0, "delta": { "text": text }, "p": "abc" }),
    )
}

/// An answer of two words, a frame each.
fn answer() -> Vec<Vec<u8>> {
    let usage = json!({ "inputTokens": 5, "outputTokens": 2, "totalTokens": 7 });
    vec![
        event("messageStart", &json!({ "role": "assistant" })),
        delta("Hi"),
        delta(" there"),
        event("contentBlockStop", &json!({ "contentBlockIndex": 0 })),
        event("messageStop", &json!({ "stopReason": "end_turn" })),
        event(
            "metadata",
            &json!({ "usage": usage, "metrics": { "latencyMs": 3 } }),
        ),
    ]
}

/// A stream, and what a client must be told of it.
struct Case {
    name: String,
    wire: Vec<u8>,
    /// What comes before the end.
    text: &'static str,
    whole: bool,
    /// Whether botocore reads all of its frames.
    readable: bool,
}

fn case(
    name: &str,
    frames: &[Vec<u8>],
    (text, whole, readable): (&'static str, bool, bool),
) -> Case {
    Case {
        name: name.to_owned(),
        wire: frames.concat(),
        text,
        whole,
        readable,
    }
}

/// The first word, then this.
fn after_a_word(last: Vec<u8>) -> Vec<Vec<u8>> {
    let mut frames = answer()[..2].to_vec();
    frames.push(last);
    frames
}

fn flipped(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    frame[at] ^= 0x20;
    frame
}

fn cases() -> Vec<Case> {
    let broken = ("Hi", false, true);
    let unreadable = ("Hi", false, false);
    let next = delta(" there");
    let mut all = vec![
        case("whole", &answer(), ("Hi there", true, true)),
        case("without its end", &answer()[..3], ("Hi there", false, true)),
        case(
            "without messageStop",
            &[answer()[..4].to_vec(), answer()[5..].to_vec()].concat(),
            ("Hi there", false, true),
        ),
    ];
    for (what, at) in [
        ("a length", 3),
        ("the lengths' checksum", 9),
        ("a header", 20),
        ("the payload", next.len() - 8),
        ("the checksum", next.len() - 1),
    ] {
        let frames = after_a_word(flipped(next.clone(), at));
        all.push(case(
            &format!("a flipped bit in {what}"),
            &frames,
            unreadable,
        ));
    }
    for name in [
        "internalServerException",
        "modelStreamErrorException",
        "throttlingException",
        "validationException",
        "serviceUnavailableException",
    ] {
        let last = frame("exception", name, &json!({ "message": "Why." }));
        all.push(case(name, &after_a_word(last), broken));
    }
    let at_once = [
        "internalServerException",
        "throttlingException",
        "validationException",
    ];
    for name in at_once {
        let first = frame("exception", name, &json!({ "message": "Why." }));
        let frames = [answer()[0].clone(), first];
        all.push(case(
            &format!("{name} before the first word"),
            &frames,
            ("", false, true),
        ));
    }
    // In the lengths, in the headers, in the payload, in the checksum: the rest never comes.
    for at in [1, 11, 30, next.len() - 9, next.len() - 2] {
        let frames = after_a_word(next[..at].to_vec());
        all.push(case(
            &format!("cut after {at} bytes of a frame"),
            &frames,
            unreadable,
        ));
    }
    all
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Answers with these bytes in pieces of `size`; what follows the first word only after the client has it, so that
/// it is always what comes after something was shown.
fn script(case: &Case, size: usize) -> (Script, Sender<()>) {
    let shown = if case.text.is_empty() {
        case.wire.len()
    } else {
        answer()[..2].concat().len()
    };
    let (first, rest) = case.wire.split_at(shown);
    let (first, rest) = (first.to_vec(), rest.to_vec());
    let (seen, gate) = channel();
    let gate = Mutex::new(gate);
    let script: Script = Arc::new(move |_, out| {
        out.raw(HEAD)?;
        for piece in first.chunks(size) {
            out.chunk(piece)?;
        }
        if !rest.is_empty() {
            let _ = gate.lock().unwrap().recv_timeout(DEADLINE);
        }
        for piece in rest.chunks(size) {
            out.chunk(piece)?;
        }
        out.end()
    });
    (script, seen)
}

fn started() -> (Provider, Gateway) {
    let provider = Provider::start(plain("application/json", b"{}"));
    let config = format!(
        "[providers.main]\ndialect = \"bedrock\"\nbase_url = \"http://{}\"\ncredential = \"env:{SECRET_VARIABLE}\"\n{}{}",
        provider.address,
        model("m", &["main/us.anthropic.claude-sonnet-4-5-20250929-v1:0"]),
        key("tester", KEY, "models = [\"*\"]"),
    );
    (provider, Gateway::start(&config))
}

const ENDS: [&str; 3] = ["[DONE]", "message_stop", "response.completed"];

fn read(mut stream: Stream, seen: &Sender<()>, face: &str, case: &Case, what: &str) {
    let mut events = Vec::new();
    while let Some(event) = stream.event() {
        let word = !text_of(face, &event).is_empty();
        events.push(event);
        if word {
            break;
        }
    }
    let _ = seen.send(());
    events.extend(stream.events());
    let text: String = events.iter().map(|event| text_of(face, event)).collect();
    assert_eq!(text, case.text, "{what}: {events:#?}");
    let ended = events
        .iter()
        .any(|event| ENDS.iter().any(|end| event.contains(end)));
    assert_eq!(ended, case.whole, "{what}: {events:#?}");
    let last = events.last().expect("a stream with an event");
    assert_eq!(is_failure(last), !case.whole, "{what}: {events:#?}");
}

/// Whether an event is how a client format tells that the stream failed.
fn is_failure(event: &str) -> bool {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    event["error"].is_object() || event["type"] == "error" || event["type"] == "response.failed"
}

fn asked(gateway: &Gateway, seen: &Sender<()>, face: &str, case: &Case, what: &str) {
    let request: Request = request(face, true);
    if case.text.is_empty() {
        // Nothing was shown yet, so that it is a plain error.
        let answer = gateway.call(&request);
        assert!(answer.status >= 400, "{what}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{what}");
    } else {
        let stream = gateway.connect().stream(&request);
        let stream = stream.unwrap_or_else(|error| panic!("{what}: {error}"));
        read(stream, seen, face, case, what);
    }
}

#[test]
fn every_end_of_a_binary_stream_is_told_truly() {
    let all = cases();
    let (provider, gateway) = started();
    for case in &all {
        for size in [1, 7, usize::MAX] {
            for face in FACES {
                let (script, seen) = script(case, size);
                provider.become_script(script);
                let what = format!("{} in pieces of {size} for {face}", case.name);
                asked(&gateway, &seen, face, case, &what);
            }
        }
    }
}

#[test]
fn botocore_reads_the_frames_of_these_tests() {
    let told: Vec<Value> = cases()
        .iter()
        .map(|case| {
            let hex = case.wire.iter().map(|byte| format!("{byte:02x}"));
            json!({ "name": case.name, "wire": hex.collect::<String>(), "readable": case.readable })
        })
        .collect();
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    let script = sources().join("python/frames.py");
    let ran = tool::run(
        &tool::path(&python),
        &["-B", &tool::path(&script)],
        Value::from(told).to_string().as_bytes(),
    );
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
}
