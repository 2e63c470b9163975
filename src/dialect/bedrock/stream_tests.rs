use serde_json::json;

use super::*;
use crate::chat::{Finish, Native, Usage};
use crate::wire::eventstream::Value as Header;

/// The frames of the wire documentation, which boto3 decodes.
const ROLE: &str = "0000007700000052abb5d36e0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a2022617373697374616e74227d5be0d2f5";
const HI: &str = "0000009800000057715b77ef0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a20302c202264656c7461223a207b2274657874223a20224869227d7d28f0287b";
const STOP: &str = "0000007b00000051f74c6fd50b3a6576656e742d7479706507000b6d65737361676553746f700d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2273746f70526561736f6e223a2022656e645f7475726e227de70e424b";
const THROTTLED: &str = "0000009100000061b3f180070f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a2022546f6f206d616e79207265717565737473227d898cacc1";

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn frame(headers: &[(&str, &str)], payload: &Value) -> Vec<u8> {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Header::Text((*value).to_owned())));
    let payload = Bytes::from(payload.to_string());
    Message {
        headers: headers.collect(),
        payload,
    }
    .encode()
    .unwrap()
}

/// A stream of events, written as `[type, payload]`.
fn stream(events: &Value) -> Vec<u8> {
    let frames = events.as_array().unwrap().iter().map(|event| {
        let headers = [
            (":event-type", event[0].as_str().unwrap()),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ];
        frame(&headers, &event[1])
    });
    frames.flatten().collect()
}

type Outcome = (Vec<Event>, Result<(), DecodeError>);

/// What comes of a stream in pieces of `size` bytes, its end included.
fn decode(bytes: &[u8], size: usize) -> Outcome {
    let mut decoder = Stream::new(Origin::Claude, 1 << 20);
    let mut out = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        if let Err(error) = decoder.push(Bytes::copy_from_slice(piece), &mut out) {
            assert!(decoder.end(&mut out).is_err());
            return (out, Err(error));
        }
    }
    let end = decoder.end(&mut out);
    (out, end)
}

#[track_caller]
fn check_bytes(bytes: &[u8], events: &[Event], end: Result<(), DecodeError>) {
    for size in [bytes.len(), 1, 7] {
        assert_eq!(
            decode(bytes, size),
            (events.to_vec(), end.clone()),
            "pieces of {size}"
        );
    }
}

#[track_caller]
fn check(events: &Value, expected: &[Event]) {
    check_bytes(&stream(events), expected, Ok(()));
}

fn start() -> Event {
    Event::Start {
        id: None,
        model: None,
    }
}

fn text(text: &str) -> Event {
    Event::Text {
        choice: 0,
        text: text.into(),
    }
}

fn call(call: u32, id: &str, name: &str) -> Event {
    Event::CallStart {
        choice: 0,
        call,
        id: id.into(),
        name: name.into(),
        signature: None,
    }
}

fn arguments(call: u32, text: &str) -> Event {
    Event::CallArguments {
        choice: 0,
        call,
        text: text.into(),
    }
}

fn finished(finish: Finish) -> Event {
    Event::Finish { choice: 0, finish }
}

fn counted(prompt: u64, completion: u64) -> Event {
    Event::Usage(Usage {
        prompt,
        completion,
        ..Usage::default()
    })
}

fn delta(index: u64, delta: Value) -> Value {
    json!(["contentBlockDelta", {"contentBlockIndex": index, "delta": delta, "p": "abcdef"}])
}

fn stop(index: u64) -> Value {
    json!(["contentBlockStop", {"contentBlockIndex": index}])
}

fn call_start(index: u64, id: &str, name: &str) -> Value {
    json!(["contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": id, "name": name}}}])
}

fn role() -> Value {
    json!(["messageStart", {"role": "assistant"}])
}

fn message_stop(reason: &str) -> Value {
    json!(["messageStop", {"stopReason": reason}])
}

fn metadata() -> Value {
    let usage = json!({"inputTokens": 10, "outputTokens": 5, "totalTokens": 15});
    json!(["metadata", {"usage": usage, "metrics": {"latencyMs": 9}, "p": "abc"}])
}

#[test]
fn the_documented_frames() {
    let mut bytes = [unhex(ROLE), unhex(HI), unhex(STOP)].concat();
    let said = [start(), text("Hi"), finished(Finish::Stop)];
    check_bytes(&bytes, &said, Err(DecodeError::Truncated));
    bytes.extend(stream(&json!([metadata()])));
    let whole = [
        start(),
        text("Hi"),
        finished(Finish::Stop),
        counted(10, 5),
        Event::End,
    ];
    check_bytes(&bytes, &whole, Ok(()));
    let failure = Failure {
        status: 429,
        message: Some("Too many requests".into()),
        code: Some("rate_limit_exceeded".into()),
        ..Failure::default()
    };
    let bytes = [unhex(ROLE), unhex(HI), unhex(THROTTLED), unhex(STOP)].concat();
    check_bytes(
        &bytes,
        &[start(), text("Hi"), Event::Failed(failure.clone())],
        Ok(()),
    );
    check_bytes(&unhex(THROTTLED), &[Event::Failed(failure)], Ok(()));
}

#[test]
fn calls_are_counted_from_zero_in_their_order() {
    let events = json!([
        role(),
        delta(0, json!({"text": "Checking "})),
        delta(0, json!({"text": ""})),
        delta(0, json!({"text": "🌍."})),
        stop(0),
        call_start(1, "tooluse_1", "get_weather"),
        delta(1, json!({"toolUse": {"input": ""}})),
        delta(1, json!({"toolUse": {"input": "{\"city\":"}})),
        delta(1, json!({"toolUse": {"input": "\"Paris\"}"}})),
        stop(1),
        call_start(2, "tooluse_2", "get_time"),
        delta(2, json!({"toolUse": {"input": ""}})),
        stop(2),
        call_start(3, "", "open"),
        message_stop("end_turn"),
        metadata(),
        message_stop("max_tokens"),
    ]);
    let expected = [
        start(),
        text("Checking "),
        text("🌍."),
        call(0, "tooluse_1", "get_weather"),
        arguments(0, "{\"city\":"),
        arguments(0, "\"Paris\"}"),
        call(1, "tooluse_2", "get_time"),
        arguments(1, "{}"),
        call(2, "call_2", "open"),
        arguments(2, "{}"),
        finished(Finish::ToolCalls),
        counted(10, 5),
        Event::End,
    ];
    check(&events, &expected);
}

#[test]
fn calls_may_run_side_by_side() {
    let events = json!([
        role(),
        call_start(0, "a", "f"),
        call_start(1, "b", "g"),
        delta(1, json!({"toolUse": {"input": "{\"b\":"}})),
        delta(0, json!({"toolUse": {"input": "{\"a\":1}"}})),
        delta(1, json!({"toolUse": {"input": "2}"}})),
        stop(1),
        stop(0),
        message_stop("tool_use"),
        metadata(),
    ]);
    let expected = [
        start(),
        call(0, "a", "f"),
        call(1, "b", "g"),
        arguments(1, "{\"b\":"),
        arguments(0, "{\"a\":1}"),
        arguments(1, "2}"),
        finished(Finish::ToolCalls),
        counted(10, 5),
        Event::End,
    ];
    check(&events, &expected);
}

#[test]
fn thoughts_with_signatures() {
    let events = json!([
        role(),
        delta(0, json!({"reasoningContent": {"text": "Let me "}})),
        delta(0, json!({"reasoningContent": {"text": "think."}})),
        delta(0, json!({"reasoningContent": {"signature": "c2ln"}})),
        stop(0),
        delta(1, json!({"reasoningContent": {"redactedContent": "AAE="}})),
        stop(1),
        delta(2, json!({"text": "42"})),
        stop(2),
        message_stop("end_turn"),
        metadata(),
    ]);
    let expected = [
        start(),
        Event::Thought {
            choice: 0,
            text: "Let me ".into(),
        },
        Event::Thought {
            choice: 0,
            text: "think.".into(),
        },
        Event::Signature {
            choice: 0,
            signature: Sealed::new(Origin::Claude, "c2ln"),
        },
        Event::RedactedThought {
            choice: 0,
            data: Sealed::new(Origin::Claude, "AAE="),
        },
        text("42"),
        finished(Finish::Stop),
        counted(10, 5),
        Event::End,
    ];
    check(&events, &expected);
}

#[test]
fn citations_follow_their_text() {
    let citation = json!({"title": "T", "location": {"web": {"url": "https://a.example"}}});
    let events = json!([
        role(),
        delta(0, json!({"text": "Año "})),
        stop(0),
        delta(1, json!({"citation": citation})),
        delta(1, json!({"text": "in "})),
        delta(1, json!({"text": "2026"})),
        stop(1),
        message_stop("end_turn"),
        metadata(),
    ]);
    let cited =
        json!({"start_index": 4, "end_index": 11, "title": "T", "url": "https://a.example"});
    let annotations = vec![json!({"type": "url_citation", "url_citation": cited})];
    let expected = [
        start(),
        text("Año "),
        text("in "),
        text("2026"),
        Event::Annotations {
            choice: 0,
            annotations,
        },
        finished(Finish::Stop),
        counted(10, 5),
        Event::End,
    ];
    check(&events, &expected);
}

#[test]
fn citations_held_back_are_bounded() {
    let mut events = vec![role()];
    events.extend((0..200).map(|_| delta(0, json!({"citation": {"title": "T"}}))));
    events.extend([message_stop("end_turn"), metadata()]);
    let (events, end) = decode(&stream(&Value::from(events)), 7);
    assert_eq!(end, Ok(()));
    let counts = events.iter().filter_map(|event| match event {
        Event::Annotations { annotations, .. } => Some(annotations.len()),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [64, 64, 64, 8]);
}

#[test]
fn the_tools_of_the_provider_are_not_the_clients() {
    let server = json!({"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"});
    let events = json!([
        role(),
        ["contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": server}}],
        delta(0, json!({"toolUse": {"input": "{\"q\":1}"}})),
        stop(0),
        ["contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "s"}}}],
        delta(1, json!({"toolResult": [{"text": "found"}]})),
        stop(1),
        delta(2, json!({"text": "ok"})),
        stop(2),
        message_stop("end_turn"),
        metadata(),
    ]);
    check(
        &events,
        &[
            start(),
            text("ok"),
            finished(Finish::Stop),
            counted(10, 5),
            Event::End,
        ],
    );
}

#[test]
fn an_emulated_form_comes_as_text() {
    let events = json!([
        role(),
        call_start(0, "a", ANSWER_TOOL),
        delta(0, json!({"toolUse": {"input": "{\"n\":"}})),
        delta(0, json!({"toolUse": {"input": "1}"}})),
        stop(0),
        message_stop("tool_use"),
        metadata(),
    ]);
    let expected = [
        start(),
        text("{\"n\":"),
        text("1}"),
        finished(Finish::Stop),
        counted(10, 5),
        Event::End,
    ];
    check(&events, &expected);
    let empty = json!([
        role(),
        call_start(0, "a", ANSWER_TOOL),
        stop(0),
        message_stop("tool_use"),
        metadata()
    ]);
    check(
        &empty,
        &[
            start(),
            text("{}"),
            finished(Finish::Stop),
            counted(10, 5),
            Event::End,
        ],
    );
}

#[test]
fn odd_orders_and_unknown_events() {
    let events = json!([
        ["ping", 1],
        // Some servers announce texts as well.
        ["contentBlockStart", {"contentBlockIndex": 0, "start": {"text": ""}}],
        delta(0, json!({"text": "a"})),
        delta(0, json!({"image": {}})),
        ["contentBlockDelta", {"delta": null}],
        ["contentBlockDelta", {}],
        stop(9),
        role(),
        ["metadata", {"usage": {"inputTokens": 3.0, "outputTokens": 1, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1}}],
        message_stop("guardrail_intervened"),
    ]);
    let usage = Usage {
        prompt: 6,
        completion: 1,
        cached: 2,
        cache_write: 1,
        ..Usage::default()
    };
    let expected = [
        start(),
        text("a"),
        Event::Usage(usage),
        Event::Native {
            choice: 0,
            native: Native {
                reason: "guardrail_intervened".into(),
                matched: None,
            },
        },
        finished(Finish::ContentFilter),
        Event::End,
    ];
    check(&events, &expected);
    let bare = json!([
        message_stop("max_tokens"),
        delta(0, json!({"text": "late"})),
        call_start(1, "a", "f"),
        ["metadata", {}]
    ]);
    check(&bare, &[start(), finished(Finish::Length), Event::End]);
}

#[test]
fn a_stream_without_its_end_is_truncated() {
    let whole = json!([
        role(),
        delta(0, json!({"text": "Hi"})),
        stop(0),
        message_stop("end_turn"),
        metadata()
    ]);
    let bytes = stream(&whole);
    for cut in 0..bytes.len() {
        let (events, end) = decode(&bytes[..cut], 7);
        assert_eq!(end, Err(DecodeError::Truncated), "cut at {cut}");
        assert!(!events.contains(&Event::End));
    }
}

#[test]
fn exceptions_have_the_status_of_their_kind() {
    let cases = [
        ("internalServerException", 500, "InternalServerException"),
        (
            "modelStreamErrorException",
            424,
            "ModelStreamErrorException",
        ),
        ("throttlingException", 429, "rate_limit_exceeded"),
        ("validationException", 400, "ValidationException"),
        (
            "serviceUnavailableException",
            503,
            "ServiceUnavailableException",
        ),
        ("brandNewException", 500, "brandNewException"),
    ];
    for (kind, status, code) in cases {
        let headers = [(":exception-type", kind), (":message-type", "exception")];
        let payload = json!({"message": "why", "originalStatusCode": 500});
        let failure = Failure {
            status,
            message: Some("why".into()),
            code: Some(code.into()),
            ..Failure::default()
        };
        check_bytes(
            &frame(&headers, &payload),
            &[Event::Failed(failure)],
            Ok(()),
        );
    }
    let long = json!({"message": "Input is too long for requested model."});
    let headers = [
        (":message-type", "exception"),
        (":exception-type", "validationException"),
    ];
    let (events, _) = decode(&frame(&headers, &long), 7);
    let [Event::Failed(failure)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(failure.code.as_deref(), Some("context_length_exceeded"));
}

#[test]
fn errors_without_a_model() {
    let headers = [
        (":message-type", "error"),
        (":error-code", "InternalError"),
        (":error-message", "broken"),
    ];
    let failure = Failure {
        status: 500,
        message: Some("broken".into()),
        code: Some("InternalError".into()),
        ..Failure::default()
    };
    check_bytes(
        &frame(&headers, &json!({})),
        &[Event::Failed(failure)],
        Ok(()),
    );
    let other = frame(&[(":message-type", "initial-response")], &json!({}));
    check_bytes(&other, &[], Err(DecodeError::Truncated));
}

#[test]
fn an_event_that_cannot_be_read_is_passed_over_and_a_frame_is_not() {
    let headers = vec![(
        ":event-type".to_owned(),
        Header::Text("contentBlockDelta".into()),
    )];
    let payload = Bytes::from_static(b"{");
    let bad = Message { headers, payload }.encode().unwrap();
    let good = stream(&json!([delta(0, json!({"text": "a"}))]));
    let mut decoder = Stream::new(Origin::Claude, 1 << 20);
    let mut out = Vec::new();
    let bytes = Bytes::from([bad, good.clone()].concat());
    let read = decoder.push(bytes, &mut out);
    assert_eq!(read, Err(DecodeError::Malformed("an event")));
    assert_eq!(decoder.push(Bytes::new(), &mut out), Ok(()));
    assert_eq!(out, [start(), text("a")]);
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let read = decoder.push(Bytes::from([flipped, good].concat()), &mut out);
    assert!(matches!(read, Err(DecodeError::Malformed(_))), "{read:?}");
    assert_eq!(
        decoder.push(Bytes::new(), &mut out),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn broken_streams() {
    let mut flipped = stream(&json!([role(), metadata()]));
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    check_bytes(
        &flipped,
        &[start()],
        Err(DecodeError::Malformed("a frame's checksum")),
    );
    let html = b"<html><body>504 Gateway Time-out</body></html>";
    check_bytes(html, &[], Err(DecodeError::Malformed("a frame's checksum")));
    let orphan = stream(&json!([
        role(),
        delta(0, json!({"toolUse": {"input": "{"}}))
    ]));
    let without = Err(DecodeError::Malformed("a call's input without its start"));
    check_bytes(&orphan, &[start()], without);
    let object = stream(&json!([
        role(),
        call_start(0, "a", "f"),
        delta(0, json!({"toolUse": {"input": {}}}))
    ]));
    check_bytes(
        &object,
        &[start(), call(0, "a", "f")],
        Err(DecodeError::Malformed("a call's input")),
    );
    let headers = vec![(
        ":event-type".to_owned(),
        Header::Text("messageStart".into()),
    )];
    let payload = Bytes::from_static(b"{");
    let bad = Message { headers, payload }.encode().unwrap();
    check_bytes(&bad, &[], Err(DecodeError::Malformed("an event")));
    let mut decoder = Stream::new(Origin::Claude, 64);
    let long = decoder.push(Bytes::from(unhex(HI)), &mut Vec::new());
    assert_eq!(long, Err(DecodeError::TooLong));
}
