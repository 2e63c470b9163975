//! Every client format on every provider format, through the real binary: the client never learns which provider
//! answered. What the translations hold in detail is in the golden files beside each dialect; here it is that the
//! right lane is taken, the right path, credential and headers leave, and streams end as they should.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Request, Response};
use crate::gateway::{Gateway, KEY, key, model};
use crate::provider::{Provider, Script};

/// One provider format: how it is configured, where it must be asked, and what it answers.
struct Wire {
    dialect: &'static str,
    base: &'static str,
    path: &'static str,
    stream_path: &'static str,
    credential: (&'static str, &'static str),
    whole: &'static str,
    /// Server-sent events, complete.
    stream: &'static str,
}

const WIRES: [Wire; 3] = [
    Wire {
        dialect: "anthropic",
        base: "/v1",
        path: "/v1/messages",
        stream_path: "/v1/messages",
        credential: ("x-api-key", "sk-upstream"),
        whole: r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"Hi there"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#,
        stream: concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" there\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
    },
    Wire {
        dialect: "gemini",
        base: "/v1beta",
        path: "/v1beta/models/upstream-m:generateContent",
        stream_path: "/v1beta/models/upstream-m:streamGenerateContent?alt=sse",
        credential: ("x-goog-api-key", "sk-upstream"),
        whole: r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hi there"}]},"finishReason":"STOP"}],"modelVersion":"gemini","responseId":"r1","usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"totalTokenCount":7}}"#,
        stream: concat!(
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"Hi\"}]},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":5},\"responseId\":\"r1\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\" there\"}]},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2,\"totalTokenCount\":7},\"responseId\":\"r1\"}\n\n",
        ),
    },
    Wire {
        dialect: "cohere",
        base: "",
        path: "/v2/chat",
        stream_path: "/v2/chat",
        credential: ("authorization", "Bearer sk-upstream"),
        whole: r#"{"id":"c1","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hi there"}]},"usage":{"tokens":{"input_tokens":5,"output_tokens":2}}}"#,
        stream: concat!(
            "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"c1\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[]}}}\n\n",
            "event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n\n",
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}}}\n\n",
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\" there\"}}}}\n\n",
            "event: content-end\ndata: {\"type\":\"content-end\",\"index\":0}\n\n",
            "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":5,\"output_tokens\":2}}}}\n\n",
        ),
    },
];

impl Wire {
    fn start(&self, script: Script) -> (Provider, Gateway) {
        let provider = Provider::start(script);
        let origin = provider.base_url().replace("/v1", "");
        let secret =
            std::env::temp_dir().join(format!("tollgate-e2e-secret-{}", std::process::id()));
        std::fs::write(&secret, "sk-upstream").unwrap();
        let config = format!(
            "[providers.main]\ndialect = \"{}\"\nbase_url = \"{origin}{}\"\ncredential = \"file:{}\"\n{}{}",
            self.dialect,
            self.base,
            secret.display(),
            model("m", &["main/upstream-m"]),
            key("tester", KEY, "models = [\"*\"]"),
        );
        let gateway = Gateway::start(&config);
        (provider, gateway)
    }

    /// Answers whole, or with the stream cut into pieces of `size` bytes.
    fn script(&self, streamed: bool, cut_at: usize, size: usize) -> Script {
        let (whole, stream) = (self.whole, &self.stream[..cut_at]);
        Arc::new(move |_, wire| {
            if !streamed {
                return wire.answer(200, &["content-type: application/json"], whole.as_bytes());
            }
            wire.stream_head()?;
            for piece in stream.as_bytes().chunks(size) {
                wire.chunk(piece)?;
            }
            wire.end()
        })
    }
}

pub fn request(path: &str, stream: bool) -> Request {
    let body = match path {
        "/v1/messages" => {
            json!({ "model": "m", "max_tokens": 50, "stream": stream, "messages": [{ "role": "user", "content": "Hello" }] })
        }
        "/v1/responses" => json!({ "model": "m", "stream": stream, "input": "Hello" }),
        _ => {
            json!({ "model": "m", "stream": stream, "stream_options": { "include_usage": true }, "messages": [{ "role": "user", "content": "Hello" }] })
        }
    };
    Request::post(path).key(KEY).json(body.to_string())
}

pub const FACES: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

/// The text and the two counts of a whole answer, in any client format.
fn told(path: &str, answer: &Value) -> (String, u64, u64) {
    let (text, usage, names) = match path {
        "/v1/messages" => (
            &answer["content"][0]["text"],
            &answer["usage"],
            ["input_tokens", "output_tokens"],
        ),
        "/v1/responses" => (
            &answer["output"][0]["content"][0]["text"],
            &answer["usage"],
            ["input_tokens", "output_tokens"],
        ),
        _ => (
            &answer["choices"][0]["message"]["content"],
            &answer["usage"],
            ["prompt_tokens", "completion_tokens"],
        ),
    };
    let count = |name: &str| usage[name].as_u64().unwrap_or_default();
    (
        text.as_str().unwrap_or_default().to_owned(),
        count(names[0]),
        count(names[1]),
    )
}

fn checked(answer: &Response, what: &str) -> Value {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    answer.json()
}

#[test]
fn every_client_format_reaches_every_provider_format() {
    for wire in &WIRES {
        let (provider, gateway) = wire.start(wire.script(false, 0, 1));
        for face in FACES {
            let what = format!("{face} on {}", wire.dialect);
            let answer = checked(&gateway.call(&request(face, false)), &what);
            if face == "/v1/messages" && wire.dialect == "anthropic" {
                assert_eq!(answer["id"], "msg_1", "{what} passes through");
            }
            assert_eq!(
                told(face, &answer),
                ("Hi there".to_owned(), 5, 2),
                "{what}: {answer}"
            );
            let sent = provider.take_one();
            assert_eq!(sent.path(), wire.path, "{what}");
            let (name, value) = wire.credential;
            assert_eq!(sent.header(name).as_deref(), Some(value), "{what}");
            let text = String::from_utf8(sent.body).unwrap();
            assert!(
                text.contains("Hello") && !text.contains(KEY),
                "{what}: {text}"
            );
        }
    }
}

/// The events' data of a stream, joined where they are texts.
fn streamed(gateway: &Gateway, face: &str) -> (String, Vec<String>) {
    let mut stream = gateway.connect().stream(&request(face, true)).unwrap();
    let events = stream.events();
    let text = events.iter().map(|event| text_of(face, event)).collect();
    (text, events)
}

/// The text that one event of a stream brings, in any client format.
pub fn text_of(face: &str, event: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let delta = match face {
        "/v1/messages" => &event["delta"]["text"],
        "/v1/responses" if event["type"] == "response.output_text.delta" => &event["delta"],
        "/v1/responses" => &Value::Null,
        _ => &event["choices"][0]["delta"]["content"],
    };
    delta.as_str().unwrap_or_default().to_owned()
}

#[test]
fn streams_are_translated_whole_however_they_are_cut_into_pieces() {
    for wire in &WIRES {
        for size in [1, 7, usize::MAX] {
            let (provider, gateway) = wire.start(wire.script(true, wire.stream.len(), size));
            for face in FACES {
                let (text, events) = streamed(&gateway, face);
                let what = format!(
                    "{face} on {} in pieces of {size}: {events:#?}",
                    wire.dialect
                );
                assert_eq!(text, "Hi there", "{what}");
                assert_eq!(provider.take_one().path(), wire.stream_path, "{what}");
                let last = events.last().unwrap();
                match face {
                    "/v1/messages" => assert!(last.contains("message_stop"), "{what}"),
                    "/v1/responses" => assert!(last.contains("response.completed"), "{what}"),
                    _ => {
                        assert_eq!(last, "[DONE]", "{what}");
                        let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
                        assert_eq!(
                            (&usage["choices"], &usage["usage"]["total_tokens"]),
                            (&json!([]), &json!(7)),
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_stream_without_its_end_is_an_error_in_every_format() {
    for wire in &WIRES {
        let after_text = wire.stream.find(" there").unwrap();
        let cut = after_text
            - wire.stream[..after_text]
                .rfind("\n\n")
                .map_or(0, |at| after_text - at - 2);
        let (_provider, gateway) = wire.start(wire.script(true, cut, usize::MAX));
        for face in FACES {
            let (text, events) = streamed(&gateway, face);
            let what = format!("{face} on {}: {events:#?}", wire.dialect);
            assert_eq!(text, "Hi", "{what}");
            assert!(events.last().unwrap().contains("error"), "{what}");
            for end in ["[DONE]", "message_stop", "response.completed"] {
                assert!(!events.iter().any(|event| event.contains(end)), "{what}");
            }
        }
    }
}

#[test]
fn errors_have_the_shape_of_the_clients_format() {
    let wire = &WIRES[1];
    let script: Script = Arc::new(|_, wire| {
        let body = r#"{"error":{"code":400,"message":"bad sk-upstream thing","status":"INVALID_ARGUMENT"}}"#;
        wire.answer(400, &["content-type: application/json"], body.as_bytes())
    });
    let (_provider, gateway) = wire.start(script);
    for face in FACES {
        let answer = gateway.call(&request(face, false));
        assert_eq!(answer.status, 400, "{face}");
        let body = answer.json();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("bad") && !message.contains("sk-upstream"),
            "{face}: {body}"
        );
        assert_eq!(
            body["type"] == "error",
            face == "/v1/messages",
            "{face}: {body}"
        );
    }
    let unauthenticated = gateway.call(&Request::post("/v1/messages").json("{}"));
    assert_eq!(
        unauthenticated.json()["error"]["type"],
        "authentication_error"
    );
}

#[test]
fn what_a_target_cannot_carry_is_named_or_refused() {
    let wire = &WIRES[0];
    let (provider, gateway) = wire.start(wire.script(false, 0, 1));
    let ask = |rest: Value| {
        let mut body =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello" }] });
        body.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        gateway.call(
            &Request::post("/v1/chat/completions")
                .key(KEY)
                .json(body.to_string()),
        )
    };
    let answer = ask(json!({ "seed": 7, "presence_penalty": 0.5 }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("x-tollgate-dropped"),
        Some("presence_penalty,seed")
    );
    provider.forget();
    let refused = ask(json!({ "n": 2 }));
    assert_eq!(
        (refused.status, refused.error("param")),
        (400, "n".to_owned()),
        "{}",
        refused.text()
    );
    assert_eq!(provider.count(), 0);
}
