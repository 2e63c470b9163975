//! A tool loop with thinking, through every client format to every provider
//! that signs thoughts: what a model said goes out to the client, comes back in
//! the client's next request, and stands in the provider's next one as it was,
//! signature for signature. The gateway remembers nothing in between.

use super::anthropic::Anthropic;
use super::bedrock::Bedrock;
use super::gemini::{Flavour, Gemini};
use super::messages_face::{MessagesFace, is_tagged};
use super::openai_chat::Chat;
use super::responses_face::Responses;
use super::{Dialect, Face, Label, Target};
use crate::chat::{Capabilities, Thinking};
use crate::wire::eventstream::{Message, Value as Header};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A provider, and a turn of its model in its own form.
struct Provider {
    dialect: Box<dyn Dialect>,
    model: &'static str,
    thinking: Thinking,
    /// The turn's items, thoughts between them.
    turn: Vec<Value>,
    whole: fn(&[Value]) -> Vec<u8>,
    stream: fn(&[Value]) -> Vec<u8>,
    /// Where in the next request the turn is.
    place: &'static str,
}

fn providers() -> Vec<Provider> {
    vec![claude(), gemini(), converse()]
}

fn claude() -> Provider {
    Provider {
        dialect: Box::new(Anthropic),
        model: "claude-sonnet-4-5",
        thinking: Thinking::Budget,
        turn: vec![
            json!({"type": "thinking", "thinking": "First.", "signature": "c2lnMQ=="}),
            json!({"type": "redacted_thinking", "data": "b3BhcXVl"}),
            json!({"type": "text", "text": "I look."}),
            json!({"type": "thinking", "thinking": "Second.", "signature": "c2lnMg=="}),
            json!({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": 1}}),
        ],
        whole: |turn| {
            let body = json!({"type": "message", "id": "msg_1", "role": "assistant",
                "model": "claude", "content": turn, "stop_reason": "tool_use"});
            body.to_string().into_bytes()
        },
        stream: claude_stream,
        place: "/messages/1/content",
    }
}

fn claude_stream(turn: &[Value]) -> Vec<u8> {
    let mut events = vec![json!({"type": "message_start", "message": {"id": "msg_1"}})];
    for (index, block) in turn.iter().enumerate() {
        let mut opening = block.clone();
        let mut deltas = Vec::new();
        for (field, kind, name) in [
            ("text", "text_delta", "text"),
            ("thinking", "thinking_delta", "thinking"),
            ("signature", "signature_delta", "signature"),
            ("input", "input_json_delta", "partial_json"),
        ] {
            let Some(value) = block.get(field) else {
                continue;
            };
            opening[field] = if field == "input" {
                json!({})
            } else {
                json!("")
            };
            let piece = value.as_str().map_or(value.to_string(), str::to_owned);
            deltas.push(json!({"type": kind, name: piece}));
        }
        events
            .push(json!({"type": "content_block_start", "index": index, "content_block": opening}));
        for delta in deltas {
            events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}));
    events.push(json!({"type": "message_stop"}));
    let lines = events.iter();
    let lines = lines.map(|event| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    });
    lines.collect::<String>().into_bytes()
}

fn gemini() -> Provider {
    Provider {
        dialect: Box::new(Gemini::new(Flavour::AiStudio)),
        model: "gemini-3-pro-preview",
        thinking: Thinking::Level,
        turn: vec![
            json!({"text": "Hm.", "thought": true}),
            json!({"text": "I look.", "thoughtSignature": "c2lnMQ=="}),
            json!({"functionCall": {"id": "fc1", "name": "look", "args": {"at": 1}}, "thoughtSignature": "c2lnMg=="}),
        ],
        whole: |turn| {
            let mut body = json!({"candidates": [{"content": {"role": "model", "parts": turn}}]});
            body["candidates"][0]["finishReason"] = "STOP".into();
            body.to_string().into_bytes()
        },
        stream: |turn| {
            let reply = |parts: &[Value]| json!({"candidates": [{"content": {"role": "model", "parts": parts}}]});
            let mut events: Vec<Value> = turn.chunks(1).map(reply).collect();
            events.push(json!({"candidates": [{"finishReason": "STOP"}]}));
            let lines = events.iter().map(|event| format!("data: {event}\n\n"));
            lines.collect::<String>().into_bytes()
        },
        place: "/contents/1/parts",
    }
}

fn converse() -> Provider {
    Provider {
        dialect: Box::new(Bedrock),
        model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        thinking: Thinking::Budget,
        turn: vec![
            json!({"reasoningContent": {"reasoningText": {"text": "First.", "signature": "c2lnMQ=="}}}),
            json!({"reasoningContent": {"redactedContent": "b3BhcXVl"}}),
            json!({"text": "I look."}),
            json!({"reasoningContent": {"reasoningText": {"text": "Second.", "signature": "c2lnMg=="}}}),
            json!({"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"at": 1}}}),
        ],
        whole: |turn| {
            let message = json!({"role": "assistant", "content": turn});
            let body = json!({"output": {"message": message}, "stopReason": "tool_use"});
            body.to_string().into_bytes()
        },
        stream: converse_stream,
        place: "/messages/1/content",
    }
}

fn converse_stream(turn: &[Value]) -> Vec<u8> {
    let mut events = vec![("messageStart", json!({"role": "assistant"}))];
    for (index, block) in turn.iter().enumerate() {
        let mut deltas = Vec::new();
        if let Some(call) = block.get("toolUse") {
            let start = json!({"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}});
            let start = json!({"contentBlockIndex": index, "start": start});
            events.push(("contentBlockStart", start));
            deltas.push(json!({"toolUse": {"input": call["input"].to_string()}}));
        } else if let Some(text) = block.pointer("/reasoningContent/reasoningText") {
            deltas.push(json!({"reasoningContent": {"text": text["text"]}}));
            deltas.push(json!({"reasoningContent": {"signature": text["signature"]}}));
        } else {
            deltas.push(block.clone());
        }
        for delta in deltas {
            let delta = json!({"contentBlockIndex": index, "delta": delta});
            events.push(("contentBlockDelta", delta));
        }
        events.push(("contentBlockStop", json!({"contentBlockIndex": index})));
    }
    events.push(("messageStop", json!({"stopReason": "tool_use"})));
    events.push((
        "metadata",
        json!({"usage": {"inputTokens": 1, "outputTokens": 1}}),
    ));
    let frames = events.iter().map(|(kind, payload)| {
        let header = |name: &str, text: &str| (name.into(), Header::Text(text.into()));
        let frame = Message {
            headers: vec![
                header(":message-type", "event"),
                header(":event-type", kind),
            ],
            payload: payload.to_string().into_bytes().into(),
        };
        frame.encode().unwrap()
    });
    frames.flatten().collect()
}

/// A client format, and what its clients do with an answer.
struct Client {
    face: Box<dyn Face>,
    /// The next request, of the whole answer: the tool gave "3".
    next: fn(&Value) -> Value,
    /// The whole answer, of its stream.
    gather: fn(&str) -> Value,
    /// It keeps thoughts between what else was said.
    ordered: bool,
}

fn clients() -> Vec<Client> {
    vec![
        Client {
            face: Box::new(Chat::default()),
            next: |answer| {
                let turn = answer["choices"][0]["message"].clone();
                let id = turn["tool_calls"][0]["id"].clone();
                json!({"model": "m", "messages": [
                    {"role": "user", "content": "Look."}, turn,
                    {"role": "tool", "tool_call_id": id, "content": "3"}]})
            },
            gather: gather_chat,
            ordered: false,
        },
        Client {
            face: Box::new(MessagesFace),
            next: |answer| {
                let content = answer["content"].clone();
                let id = content.as_array().unwrap().last().unwrap()["id"].clone();
                json!({"model": "m", "max_tokens": 9000, "messages": [
                    {"role": "user", "content": "Look."},
                    {"role": "assistant", "content": content},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": id, "content": "3"}]}]})
            },
            gather: gather_messages,
            ordered: true,
        },
        Client {
            face: Box::new(Responses::default()),
            next: |answer| {
                let mut input = vec![json!({"role": "user", "content": "Look."})];
                input.extend(answer["output"].as_array().unwrap().iter().cloned());
                let id = input.last().unwrap()["call_id"].clone();
                input.push(json!({"type": "function_call_output", "call_id": id, "output": "3"}));
                json!({"model": "m", "input": input})
            },
            gather: |stream| {
                let last = data(stream).last().unwrap().clone();
                assert_eq!(last["type"], "response.completed");
                last["response"].clone()
            },
            ordered: true,
        },
    ]
}

fn data(stream: &str) -> Vec<Value> {
    let lines = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let lines = lines.filter(|line| *line != "[DONE]");
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn append(map: &mut Map<String, Value>, name: &str, piece: &Value) {
    match (map.get_mut(name), piece) {
        (Some(Value::String(all)), Value::String(more)) => all.push_str(more),
        (Some(Value::Array(all)), Value::Array(more)) => all.extend(more.iter().cloned()),
        _ => drop(map.insert(name.to_owned(), piece.clone())),
    }
}

fn gather_chat(stream: &str) -> Value {
    let mut message = Map::new();
    let mut calls: Vec<Value> = Vec::new();
    for chunk in data(stream) {
        let delta = chunk["choices"][0]["delta"].as_object().cloned();
        for (name, piece) in delta.unwrap_or_default() {
            if name != "tool_calls" {
                append(&mut message, &name, &piece);
                continue;
            }
            let at = usize::try_from(piece[0]["index"].as_u64().unwrap()).unwrap();
            match calls.get_mut(at) {
                None => calls.push(piece[0].clone()),
                Some(call) => {
                    let function = call["function"].as_object_mut().unwrap();
                    append(function, "arguments", &piece[0]["function"]["arguments"]);
                }
            }
        }
    }
    message.insert("tool_calls".to_owned(), calls.into());
    json!({"choices": [{"message": message}]})
}

fn gather_messages(stream: &str) -> Value {
    let mut blocks: Vec<Value> = Vec::new();
    for event in data(stream) {
        let block = blocks.last_mut().and_then(Value::as_object_mut);
        match (event["type"].as_str().unwrap(), block) {
            ("content_block_start", _) => blocks.push(event["content_block"].clone()),
            ("content_block_delta", Some(block)) => {
                for (name, piece) in event["delta"].as_object().unwrap() {
                    match name.as_str() {
                        "type" => {}
                        "partial_json" => {
                            let text = piece.as_str().unwrap();
                            block["input"] = serde_json::from_str(text).unwrap();
                        }
                        name => append(block, name, piece),
                    }
                }
            }
            _ => {}
        }
    }
    json!({"content": blocks})
}

fn label() -> Label {
    Label {
        model: "m".into(),
        seed: "seed".into(),
        created: 7,
        include_usage: false,
        ..Label::default()
    }
}

/// The bytes of a stream, as the client gets them.
fn streamed(provider: &Provider, client: &Client, piece: usize) -> String {
    let bytes = (provider.stream)(&provider.turn);
    let mut decoder = provider.dialect.decoder(provider.model, 1 << 20);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder
            .push(Bytes::copy_from_slice(piece), &mut events)
            .unwrap();
    }
    decoder.end(&mut events).unwrap();
    let mut encoder = client.face.encoder(label());
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// What the provider is sent next.
fn sent(provider: &Provider, client: &Client, answer: &Value) -> (Value, Vec<String>) {
    let next = (client.next)(answer).to_string();
    let mut asked = client.face.parse(next.as_bytes()).unwrap();
    asked.model = provider.model.to_owned();
    let capabilities = Capabilities {
        thinking: provider.thinking,
        ..Capabilities::default()
    };
    let options = BTreeMap::new();
    let target = Target {
        capabilities: &capabilities,
        options: &options,
        strict: false,
    };
    let rendered = provider.dialect.chat(&asked, target).unwrap();
    (
        serde_json::from_slice(&rendered.body).unwrap(),
        rendered.dropped,
    )
}

/// The turn as a client brings it back whose format has thoughts ahead.
fn thoughts_ahead(turn: &[Value]) -> Vec<Value> {
    let thinks = |item: &Value| {
        let kind = item["type"].as_str().unwrap_or_default();
        kind.ends_with("thinking") || item.get("reasoningContent").is_some()
    };
    let (thoughts, rest): (Vec<Value>, Vec<Value>) =
        turn.iter().cloned().partition(|item| thinks(item));
    thoughts.into_iter().chain(rest).collect()
}

fn whole(provider: &Provider, client: &Client) -> Value {
    let body = (provider.whole)(&provider.turn);
    let answer = provider
        .dialect
        .answer(provider.model, &body)
        .unwrap()
        .unwrap();
    serde_json::from_slice(&client.face.answer(&answer, &label())).unwrap()
}

#[test]
fn a_turn_comes_back_as_it_was() {
    for provider in providers() {
        for client in clients() {
            let expected = match client.ordered {
                true => provider.turn.clone(),
                false => thoughts_ahead(&provider.turn),
            };
            let mut answers = vec![whole(&provider, &client)];
            for piece in [usize::MAX, 1, 7] {
                answers.push((client.gather)(&streamed(&provider, &client, piece)));
            }
            for answer in answers {
                let (body, dropped) = sent(&provider, &client, &answer);
                let found = body.pointer(provider.place).unwrap_or(&body);
                assert_eq!(*found, json!(expected), "{}: {answer}", provider.model);
                assert_eq!(dropped, Vec::<String>::new(), "{}", provider.model);
            }
        }
    }
}

#[test]
fn what_another_model_signed_is_not_sent_but_named() {
    let signatures = ["c2lnMQ==", "c2lnMg==", "b3BhcXVl"];
    for client in clients() {
        for (from, to) in [
            (claude(), gemini()),
            (gemini(), claude()),
            (gemini(), converse()),
        ] {
            let (body, dropped) = sent(&to, &client, &whole(&from, &client));
            let body = body.to_string();
            for signature in signatures {
                assert!(
                    !body.contains(signature),
                    "{} to {}: {body}",
                    from.model,
                    to.model
                );
            }
            assert!(!body.contains("tollgate:"), "{body}");
            assert!(body.contains("look"), "{body}");
            assert_ne!(
                dropped,
                Vec::<String>::new(),
                "{} to {}",
                from.model,
                to.model
            );
        }
        // Gemini 3 takes no call without a signature: another's has the one for all.
        let (body, _) = sent(&gemini(), &client, &whole(&claude(), &client));
        let sentinel = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
        assert!(body.to_string().contains(sentinel), "{body}");
    }
}

#[test]
fn a_messages_request_shows_whether_it_holds_what_others_sealed() {
    let messages = || clients().into_iter().nth(1).expect("the second");
    for (provider, foreign) in [(claude(), false), (gemini(), true), (converse(), false)] {
        let client = messages();
        let next = (client.next)(&whole(&provider, &client)).to_string();
        assert_eq!(is_tagged(next.as_bytes()), foreign, "{}", provider.model);
    }
}

#[test]
fn claudes_signatures_are_read_by_claude_wherever_it_runs() {
    for client in clients() {
        let (body, dropped) = sent(&converse(), &client, &whole(&claude(), &client));
        let text = body.to_string();
        assert!(
            text.contains("c2lnMQ==") && text.contains("b3BhcXVl"),
            "{text}"
        );
        assert_eq!(dropped, Vec::<String>::new());
    }
}
