//! Answers, streams and errors. What is written is kept under
//! `tests/golden/messages` (blessed with `TOLLGATE_BLESS=1`), and every stream
//! is read again as a client reads it: it must come to the same message as the
//! whole answer, however its texts are cut.

use super::*;
use crate::chat::{Choice, Event, Failure, Finish, Thought, ToolCall, Usage};
use crate::chat::{Origin, Sealed};
use crate::error::ErrorKind;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/messages")
        .join(name)
}

/// Compares with what was blessed.
pub(super) fn same_as_blessed(name: &str, got: &str) {
    let path = golden(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(&path, got).expect("golden files can be written");
    }
    let blessed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, blessed, "{name} is not as blessed");
}

pub(super) fn client_cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<_> = std::fs::read_dir(golden(""))
        .expect("the golden tree is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter_map(|path| {
            let name = path
                .file_name()?
                .to_str()?
                .strip_suffix(".client.json")?
                .to_owned();
            Some((name, std::fs::read(&path).ok()?))
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn label() -> Label {
    Label {
        model: "house-model".to_owned(),
        seed: "5eed".to_owned(),
        created: 1_790_000_000,
        include_usage: true,
        ..Label::default()
    }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        signature: None,
        ..ToolCall::default()
    }
}

fn thought(text: &str, signature: Option<&str>) -> Thought {
    Thought {
        text: text.to_owned(),
        signature: signature.map(|text| Sealed::new(Origin::Claude, text)),
        redacted: None,
    }
}

const USED: Usage = Usage {
    prompt: 1105,
    completion: 34,
    cached: 1000,
    cache_write: 100,
    cache_write_1h: 0,
    reasoning: 30,
    audio_in: 0,
    audio_out: 0,
    images: 0,
};

/// Whole answers by name; each is also told as a stream.
fn answers() -> Vec<(&'static str, Answer)> {
    let one = |choice| Answer {
        choices: vec![choice],
        usage: Some(USED),
        ..Answer::default()
    };
    let redacted = Thought {
        redacted: Some(Sealed::new(Origin::Claude, "b3BhcXVl")),
        ..Thought::default()
    };
    let cited = json!({"type": "url_citation", "url_citation":
        {"url": "https://example.org/a", "title": "A", "start_index": 0, "end_index": 2}});
    let mut signed = call("call_g", "get_weather", r#"{"city":"Oslo"}"#);
    signed.signature = Some(Sealed::new(Origin::Gemini, "c2ln"));
    vec![
        (
            "text",
            one(Choice {
                text: Some("Hello, wörld".into()),
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
        (
            "length",
            one(Choice {
                text: Some("Once".into()),
                finish: Some(Finish::Length),
                ..Choice::default()
            }),
        ),
        (
            "filter",
            one(Choice {
                finish: Some(Finish::ContentFilter),
                ..Choice::default()
            }),
        ),
        (
            "empty",
            one(Choice {
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
        (
            "refusal",
            one(Choice {
                refusal: Some("I cannot.".into()),
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
        (
            "explained",
            one(Choice {
                text: Some("Well".into()),
                refusal: Some("Policy.".into()),
                finish: Some(Finish::ContentFilter),
                ..Choice::default()
            }),
        ),
        (
            "cited",
            one(Choice {
                text: Some("It is so.".into()),
                annotations: vec![cited, json!({"type": "file_citation"})],
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
        (
            "thinking",
            one(Choice {
                thoughts: vec![
                    thought("Let me think.", Some("c2ln")),
                    redacted,
                    thought("", Some("b25seQ==")),
                ],
                text: Some("42".into()),
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
        (
            "unsigned",
            one(Choice {
                thoughts: vec![thought("Hm.", None)],
                text: Some("42".into()),
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
        (
            "tools",
            one(Choice {
                text: Some("Checking.".into()),
                calls: vec![
                    call(
                        "call_1",
                        "get_weather",
                        r#"{"city":"Oslo","z":1,"a":[1.0,"}\"{"]}"#,
                    ),
                    call("call_2", "get_time", ""),
                    call("call_3", "get_time", "{}"),
                ],
                finish: Some(Finish::ToolCalls),
                ..Choice::default()
            }),
        ),
        (
            "signed_call",
            one(Choice {
                calls: vec![signed],
                finish: Some(Finish::Stop),
                ..Choice::default()
            }),
        ),
    ]
}

/// The events that a decoder would make of an answer, texts in pieces of so
/// many characters.
fn events(answer: &Answer, piece: usize) -> Vec<Event> {
    let cut = |text: &str| -> Vec<String> {
        let letters: Vec<char> = text.chars().collect();
        letters.chunks(piece).map(|c| c.iter().collect()).collect()
    };
    let choice = 0;
    let said = &answer.choices[0];
    let mut events = vec![Event::Start {
        id: Some("x".into()),
        model: Some("m".into()),
    }];
    for thought in &said.thoughts {
        events.extend(
            cut(&thought.text)
                .into_iter()
                .map(|text| Event::Thought { choice, text }),
        );
        let signature = thought.signature.clone();
        events.extend(signature.map(|signature| Event::Signature { choice, signature }));
        let redacted = thought.redacted.clone();
        events.extend(redacted.map(|data| Event::RedactedThought { choice, data }));
    }
    let text = said.text.as_deref().unwrap_or_default();
    events.extend(
        cut(text)
            .into_iter()
            .map(|text| Event::Text { choice, text }),
    );
    let refusal = said.refusal.as_deref().unwrap_or_default();
    events.extend(
        cut(refusal)
            .into_iter()
            .map(|text| Event::Refusal { choice, text }),
    );
    if !said.annotations.is_empty() {
        let annotations = said.annotations.clone();
        events.push(Event::Annotations {
            choice,
            annotations,
        });
    }
    for (index, made) in said.calls.iter().enumerate() {
        let call = index as u32;
        let (id, name) = (made.id.clone(), made.name.clone());
        let signature = made.signature.clone();
        events.push(Event::CallStart {
            choice,
            call,
            id,
            name,
            signature,
        });
        let arguments = if made.arguments.is_empty() {
            "{}"
        } else {
            &made.arguments
        };
        events.extend(cut(arguments).into_iter().map(|text| Event::CallArguments {
            choice,
            call,
            text,
        }));
    }
    events.extend(said.finish.map(|finish| Event::Finish { choice, finish }));
    events.extend(answer.usage.map(Event::Usage));
    events.push(Event::End);
    events
}

fn streamed(events: Vec<Event>) -> String {
    let mut encoder = MessagesFace.encoder(label());
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    String::from_utf8(out).expect("streams are UTF-8")
}

fn frames(stream: &str) -> Vec<Value> {
    let events = stream.split_terminator("\n\n");
    events
        .map(|event| {
            let (name, data) = event.split_once("\ndata: ").expect("an event has data");
            let data: Value = serde_json::from_str(data).expect("data is JSON");
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect()
}

/// What a client makes of a stream; checks the order of the events on the way.
fn message(stream: &str) -> Value {
    let mut frames = frames(stream).into_iter().filter(|f| f["type"] != "ping");
    let first = frames.next().expect("a stream has a first event");
    assert_eq!(first["type"], "message_start");
    let mut message = first["message"].clone();
    let mut content: Vec<Value> = Vec::new();
    let (mut open, mut json, mut stopped) = (None, String::new(), false);
    for frame in frames {
        match frame["type"].as_str().unwrap_or_default() {
            "content_block_start" => {
                assert!(open.is_none() && !stopped, "blocks do not overlap");
                assert_eq!(frame["index"], content.len());
                open = Some(content.len());
                content.push(frame["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(frame["index"].as_u64(), open.map(|i| i as u64));
                let block = content.last_mut().expect("a block is open");
                add(block, &frame["delta"], &mut json);
            }
            "content_block_stop" => {
                assert_eq!(frame["index"].as_u64(), open.take().map(|i| i as u64));
                if !json.is_empty() {
                    let block = content.last_mut().expect("a block was open");
                    block["input"] = serde_json::from_str(&std::mem::take(&mut json)).unwrap();
                }
            }
            "message_delta" => {
                assert!(open.is_none());
                merge(&mut message, &frame["delta"]);
                merge(&mut message["usage"], &frame["usage"]);
            }
            "message_stop" => stopped = true,
            other => panic!("unexpected {other}"),
        }
    }
    assert!(stopped, "a whole stream ends with message_stop");
    message["content"] = content.into();
    message
}

fn add(block: &mut Value, delta: &Value, json: &mut String) {
    let append = |value: &mut Value, piece: &Value| {
        *value = format!("{}{}", value.as_str().unwrap(), piece.as_str().unwrap()).into();
    };
    match (
        delta["type"].as_str().unwrap(),
        block["type"].as_str().unwrap(),
    ) {
        ("text_delta", "text") => append(&mut block["text"], &delta["text"]),
        ("thinking_delta", "thinking") => append(&mut block["thinking"], &delta["thinking"]),
        ("signature_delta", "thinking") => block["signature"] = delta["signature"].clone(),
        ("input_json_delta", "tool_use") => json.push_str(delta["partial_json"].as_str().unwrap()),
        ("citations_delta", "text") => match block["citations"].as_array_mut() {
            Some(citations) => citations.push(delta["citation"].clone()),
            None => block["citations"] = json!([delta["citation"]]),
        },
        (delta, block) => panic!("{delta} in {block}"),
    }
}

fn merge(into: &mut Value, from: &Value) {
    let none = Map::new();
    for (name, value) in from.as_object().unwrap_or(&none) {
        into[name] = value.clone();
    }
}

fn whole(answer: &Answer) -> Value {
    serde_json::from_slice(&MessagesFace.answer(answer, &label())).expect("an answer is JSON")
}

#[test]
fn answers_and_streams_are_as_blessed() {
    for (name, answer) in answers() {
        let body = String::from_utf8(MessagesFace.answer(&answer, &label())).unwrap();
        same_as_blessed(&format!("{name}.answer.json"), &(body + "\n"));
        same_as_blessed(&format!("{name}.stream.sse"), &streamed(events(&answer, 7)));
    }
}

#[test]
fn a_stream_comes_to_the_same_message_as_the_whole_answer() {
    for (name, answer) in answers() {
        for piece in [1, 7, 10_000] {
            let read = message(&streamed(events(&answer, piece)));
            assert_eq!(read, whole(&answer), "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn reasons_to_stop_are_anthropics() {
    use Finish::{ContentFilter, Length, Stop, ToolCalls};
    let calls = vec![call("c", "f", "{}")];
    let reason = |finish, calls: &[ToolCall], refusal: Option<&str>| {
        let calls = calls.to_vec();
        let refusal = refusal.map(str::to_owned);
        let choice = Choice {
            finish,
            calls,
            refusal,
            ..Choice::default()
        };
        let answer = Answer {
            choices: vec![choice],
            ..Answer::default()
        };
        whole(&answer)["stop_reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(Some(Stop), &[], None), "end_turn");
    assert_eq!(reason(None, &[], None), "end_turn");
    assert_eq!(reason(Some(Length), &calls, None), "max_tokens");
    assert_eq!(reason(Some(ToolCalls), &calls, None), "tool_use");
    assert_eq!(reason(Some(Stop), &calls, None), "tool_use");
    assert_eq!(reason(Some(ContentFilter), &[], None), "refusal");
    assert_eq!(reason(Some(Stop), &[], Some("No.")), "refusal");
}

#[test]
fn usage_is_split_back() {
    let answer = Answer {
        usage: Some(USED),
        ..Answer::default()
    };
    let expected = json!({
        "input_tokens": 5, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 1000,
        "output_tokens": 34, "output_tokens_details": {"thinking_tokens": 30},
    });
    assert_eq!(whole(&answer)["usage"], expected);
    let odd = Usage {
        prompt: 1,
        cached: 5,
        ..Usage::default()
    };
    let answer = Answer {
        usage: Some(odd),
        ..Answer::default()
    };
    assert_eq!(whole(&answer)["usage"]["input_tokens"], 0);
    let unknown = whole(&Answer::default());
    assert_eq!(unknown["usage"]["input_tokens"], 0);
    assert_eq!(unknown["usage"]["output_tokens"], 0);
    assert_eq!(unknown["content"], json!([]));
}

#[test]
fn the_tier_that_served_has_anthropics_name() {
    let tier = |tier: &str| {
        let answer = Answer {
            service_tier: Some(tier.to_owned()),
            ..Answer::default()
        };
        whole(&answer)["usage"]["service_tier"].clone()
    };
    assert_eq!(tier("default"), "standard");
    assert_eq!(tier("priority"), "priority");
    assert_eq!(tier("flex"), Value::Null);
}

#[test]
fn arguments_that_are_no_object_are_not_lost() {
    for text in [r#"{"city":"Os"#, "[1]", "plain", r#""text""#] {
        let calls = vec![call("c", "f", text)];
        let choice = Choice {
            calls,
            ..Choice::default()
        };
        let answer = Answer {
            choices: vec![choice],
            ..Answer::default()
        };
        let input = &whole(&answer)["content"][0]["input"];
        assert_eq!(input, &json!({"INVALID_JSON": text}));
    }
}

#[test]
fn arguments_keep_their_order_and_numbers() {
    let text = r#"{"z":1,"a":12345678901234567890123,"m":1.0}"#;
    let choice = Choice {
        calls: vec![call("c", "f", text)],
        ..Choice::default()
    };
    let answer = Answer {
        choices: vec![choice],
        ..Answer::default()
    };
    let body = String::from_utf8(MessagesFace.answer(&answer, &label())).unwrap();
    assert!(body.contains(text), "{body}");
}

fn start(call: u32) -> Event {
    let (id, name) = (format!("call_{call}"), "f".to_owned());
    Event::CallStart {
        choice: 0,
        call,
        id,
        name,
        signature: None,
    }
}

fn arguments(call: u32, text: &str) -> Event {
    Event::CallArguments {
        choice: 0,
        call,
        text: text.to_owned(),
    }
}

fn text(text: &str) -> Event {
    Event::Text {
        choice: 0,
        text: text.to_owned(),
    }
}

const BEGIN: Event = Event::Start {
    id: None,
    model: None,
};
const CALLED: Event = Event::Finish {
    choice: 0,
    finish: Finish::ToolCalls,
};

#[test]
fn interleaved_calls_come_out_one_after_the_other() {
    let stream = streamed(vec![
        BEGIN,
        text("Both."),
        start(0),
        start(1),
        arguments(0, r#"{"a""#),
        arguments(1, r#"{"b":"#),
        arguments(0, ":1}"),
        text("And more."),
        arguments(1, "2}"),
        CALLED,
        Event::End,
    ]);
    same_as_blessed("interleaved.stream.sse", &stream);
    let content = message(&stream)["content"].clone();
    assert_eq!(content[0]["text"], "Both.");
    assert_eq!(content[1]["input"], json!({"a": 1}));
    assert_eq!(content[2]["input"], json!({"b": 2}));
    assert_eq!(content[3]["text"], "And more.");
}

#[test]
fn a_complete_call_does_not_keep_the_next_one_waiting() {
    let mut encoder = MessagesFace.encoder(label());
    let mut out = Vec::new();
    for event in [
        BEGIN,
        start(0),
        arguments(0, r#"{"a":"}"#),
        arguments(0, r#"\""}"#),
        start(1),
    ] {
        encoder.encode(event, &mut out);
    }
    let got = String::from_utf8(out).unwrap();
    assert!(
        got.contains(r#"{"type":"content_block_start","index":1"#),
        "{got}"
    );
}

#[test]
fn the_start_tells_a_usage_that_is_known_and_the_end_the_last_one() {
    let early = Event::Usage(Usage {
        prompt: 12,
        completion: 1,
        ..Usage::default()
    });
    let late = Event::Usage(Usage {
        prompt: 12,
        completion: 9,
        ..Usage::default()
    });
    let stop = Event::Finish {
        choice: 0,
        finish: Finish::Stop,
    };
    let stream = streamed(vec![BEGIN, early, text("a"), stop, late, Event::End]);
    let frames = frames(&stream);
    assert_eq!(frames[0]["message"]["usage"]["input_tokens"], 12);
    assert_eq!(frames[0]["message"]["usage"]["output_tokens"], 1);
    assert_eq!(message(&stream)["usage"]["output_tokens"], 9);
}

#[test]
fn without_a_usage_the_end_claims_no_input() {
    let stop = Event::Finish {
        choice: 0,
        finish: Finish::Stop,
    };
    let frames = frames(&streamed(vec![BEGIN, text("a"), stop, Event::End]));
    assert_eq!(frames[4]["usage"], json!({"output_tokens": 0}));
}

#[test]
fn nothing_says_success_before_the_end() {
    let stop = Event::Finish {
        choice: 0,
        finish: Finish::Stop,
    };
    let stream = streamed(vec![BEGIN, text("a"), stop, Event::Usage(USED)]);
    assert!(!stream.contains("message_delta") && !stream.contains("message_stop"));
    let all = streamed(vec![
        BEGIN,
        text("a"),
        Event::End,
        text("b"),
        Event::End,
        Event::Ping,
    ]);
    assert_eq!(
        all.matches("message_stop").count(),
        2,
        "its event line and its type"
    );
    assert!(all.ends_with("data: {\"type\":\"message_stop\"}\n\n"));
}

#[test]
fn pings_pass() {
    let stream = streamed(vec![
        Event::Ping,
        BEGIN,
        Event::Ping,
        text("a"),
        Event::Ping,
        Event::End,
    ]);
    let types: Vec<_> = frames(&stream).iter().map(|f| f["type"].clone()).collect();
    assert_eq!(types[..3], ["ping", "message_start", "ping"]);
    assert_eq!(message(&stream)["content"][0]["text"], "a");
    assert!(stream.contains("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
}

#[test]
fn other_choices_and_logprobs_have_no_word() {
    let logprobs = Event::Logprobs {
        choice: 0,
        logprobs: json!({}),
    };
    let second = Event::Text {
        choice: 1,
        text: "b".to_owned(),
    };
    let read = message(&streamed(vec![
        BEGIN,
        text("a"),
        second,
        logprobs,
        Event::End,
    ]));
    assert_eq!(read["content"], json!([{"type": "text", "text": "a"}]));
}

#[test]
fn sources_wait_for_the_text_that_they_belong_to() {
    let annotations = vec![json!({"url_citation": {"url": "https://example.org/"}})];
    let early = Event::Annotations {
        choice: 0,
        annotations,
    };
    let read = message(&streamed(vec![
        BEGIN,
        early,
        text("a"),
        text("b"),
        Event::End,
    ]));
    assert_eq!(
        read["content"][0]["citations"][0]["url"],
        "https://example.org/"
    );
    assert_eq!(read["content"][0]["text"], "ab");
}

#[test]
fn a_signature_without_a_thought_is_kept() {
    let signature = Event::Signature {
        choice: 0,
        signature: Sealed::new(Origin::Claude, "c2ln"),
    };
    let read = message(&streamed(vec![
        BEGIN,
        text("a"),
        signature,
        text("b"),
        Event::End,
    ]));
    let empty = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
    assert_eq!(read["content"][1], empty);
    assert_eq!(read["content"][2]["text"], "b");
}

#[test]
fn a_call_comes_back_with_its_signature() {
    let (_, answer) = answers().pop().expect("the signed call is the last");
    let content = whole(&answer)["content"].clone();
    let body = json!({"model": "m", "max_tokens": 1, "messages": [
        {"role": "assistant", "content": [content[0]]},
        {"role": "assistant", "content": [content[1]]},
    ]});
    let asked = MessagesFace.parse(body.to_string().as_bytes()).unwrap();
    let turn = crate::chat::Turn {
        calls: answer.choices[0].calls.clone(),
        ..Default::default()
    };
    assert_eq!(asked.messages, [crate::chat::Message::Assistant(turn)]);
}

#[test]
fn a_failure_ends_a_stream_without_success() {
    let error = GatewayError::new(ErrorKind::UpstreamOverloaded, "The provider is overloaded.");
    let mut encoder = MessagesFace.encoder(label());
    let mut out = Vec::new();
    encoder.encode(BEGIN, &mut out);
    encoder.encode(text("a"), &mut out);
    encoder.encode(Event::Failed(Failure::default()), &mut out);
    encoder.fail(&error, &mut out);
    encoder.fail(&error, &mut out);
    encoder.encode(Event::End, &mut out);
    same_as_blessed("failed.stream.sse", std::str::from_utf8(&out).unwrap());
    let stream = String::from_utf8(out).unwrap();
    let expected = concat!(
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",",
        "\"message\":\"The provider is overloaded.\"}}\n\n"
    );
    assert!(stream.ends_with(expected));
    assert_eq!(stream.matches("event: error").count(), 1);
    assert!(!stream.contains("message_stop"));
}

#[test]
fn errors_have_anthropics_status_and_type() {
    use ErrorKind as K;
    let cases = [
        (K::InvalidJson, 400, "invalid_request_error"),
        (K::InvalidValue, 400, "invalid_request_error"),
        (K::ProviderRejected, 400, "invalid_request_error"),
        (K::Unauthenticated, 401, "authentication_error"),
        (K::ModelNotAllowed, 403, "permission_error"),
        (K::RouteNotAllowed, 403, "permission_error"),
        (K::EndpointNotAllowed, 403, "permission_error"),
        (K::UnknownUrl, 404, "not_found_error"),
        (K::UnknownModel, 404, "not_found_error"),
        (K::MethodNotAllowed, 405, "invalid_request_error"),
        (K::BodyTimeout, 408, "invalid_request_error"),
        (K::Conflict, 409, "conflict_error"),
        (K::BodyTooLarge, 413, "request_too_large"),
        (K::UnsupportedMediaType, 415, "invalid_request_error"),
        (K::RateLimited, 429, "rate_limit_error"),
        (K::QuotaExhausted, 429, "rate_limit_error"),
        (K::Internal, 500, "api_error"),
        (K::UpstreamError, 502, "api_error"),
        (K::UpstreamAuth, 502, "api_error"),
        (K::UpstreamOverloaded, 529, "overloaded_error"),
        (K::Overloaded, 529, "overloaded_error"),
        (K::Stopping, 529, "overloaded_error"),
        (K::NoTarget, 529, "overloaded_error"),
        (K::DeadlineExceeded, 504, "timeout_error"),
    ];
    for (kind, status, type_) in cases {
        let (got, body) = MessagesFace.error(&GatewayError::new(kind, "Why."));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(got, status, "{kind:?}");
        let expected = json!({"type": "error", "error": {"type": type_, "message": "Why."}});
        assert_eq!(body, expected, "{kind:?}");
    }
    assert_eq!(error_type(402), "billing_error");
}

#[test]
fn an_errors_text_tells_the_field_and_the_long_prompt() {
    let said = |error: GatewayError| -> String {
        let (_, body) = MessagesFace.error(&error);
        let body: Value = serde_json::from_slice(&body).unwrap();
        body["error"]["message"].as_str().unwrap().to_owned()
    };
    let error = GatewayError::new(ErrorKind::InvalidValue, "No audio here.");
    let named = error.clone().with_param(Some("messages[0].content[1]"));
    assert_eq!(said(named), "messages[0].content[1]: No audio here.");
    let code = Some("context_length_exceeded".to_owned());
    assert_eq!(
        said(error.with_code(code)),
        "prompt is too long: No audio here."
    );
}

#[test]
fn counted_tokens_are_told_alone() {
    assert_eq!(count_tokens_answer(2095), br#"{"input_tokens":2095}"#);
}
