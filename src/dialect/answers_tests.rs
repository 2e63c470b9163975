//! What providers tell besides words, whole and streamed, as each client format
//! has it: finish reasons, images and sounds, citations, broken characters, and
//! the cache marks of calls on their way in.

use super::anthropic::Anthropic;
use super::bedrock::Bedrock;
use super::cohere::Cohere;
use super::gemini::{Flavour, Gemini};
use super::messages_face::MessagesFace;
use super::openai_chat::{Chat, Compatible};
use super::responses_face::Responses;
use super::{Dialect, Face, Label, Target};
use crate::chat::{Answer, Capabilities, Event, Finish, gather};
use crate::wire::eventstream::{Message, Value as Header};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GEMINI: Gemini = Gemini::new(Flavour::AiStudio);

fn label() -> Label {
    Label {
        model: "m".into(),
        seed: "seed".into(),
        created: 7,
        include_usage: false,
        ..Label::default()
    }
}

fn read(dialect: &dyn Dialect, body: &str) -> Answer {
    dialect.answer("m", body.as_bytes()).unwrap().unwrap()
}

/// The events of a stream, the same however it is cut but for how texts are.
fn decoded(dialect: &dyn Dialect, bytes: &[u8]) -> Vec<Event> {
    let decode = |size: usize| {
        let mut decoder = dialect.decoder("m", 1 << 20);
        let mut events = Vec::new();
        for piece in bytes.chunks(size) {
            decoder
                .push(Bytes::copy_from_slice(piece), &mut events)
                .unwrap();
        }
        decoder.end(&mut events).unwrap();
        events
    };
    let whole = decode(usize::MAX);
    for size in [1, 7] {
        assert_eq!(
            gather(decode(size)),
            gather(whole.clone()),
            "pieces of {size}"
        );
    }
    whole
}

fn written(face: &dyn Face, answer: &Answer) -> Value {
    serde_json::from_slice(&face.answer(answer, &label())).unwrap()
}

fn encoded(face: &dyn Face, events: &[Event]) -> Vec<Value> {
    let mut encoder = face.encoder(label());
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event.clone(), &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let lines = lines.filter(|line| *line != "[DONE]");
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The events of server-sent JSON, named by their type.
fn sse(events: &[Value]) -> Vec<u8> {
    let lines = events.iter().map(|event| format!("data: {event}\n\n"));
    lines.collect::<String>().into_bytes()
}

fn claude_says(content: Value, delta: Value) -> (String, Vec<u8>) {
    let mut whole = json!({"type": "message", "id": "a", "content": content});
    whole
        .as_object_mut()
        .unwrap()
        .extend(delta.as_object().unwrap().clone());
    let mut events = vec![json!({"type": "message_start", "message": {"id": "a"}})];
    for (index, block) in content.as_array().unwrap().iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": delta}));
    events.push(json!({"type": "message_stop"}));
    (whole.to_string(), sse(&events))
}

#[test]
fn anthropics_finer_ends_survive() {
    let text = json!([{"type": "text", "text": "a"}]);
    for (reason, sequence, coarse) in [
        ("stop_sequence", json!("###"), "stop"),
        ("pause_turn", Value::Null, "stop"),
        ("model_context_window_exceeded", Value::Null, "length"),
    ] {
        let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
        let (whole, stream) = claude_says(text.clone(), delta.clone());
        let (answer, events) = (read(&Anthropic, &whole), decoded(&Anthropic, &stream));
        let message = written(&MessagesFace, &answer);
        assert_eq!(message["stop_reason"], delta["stop_reason"]);
        assert_eq!(message["stop_sequence"], sequence);
        let frames = encoded(&MessagesFace, &events);
        assert_eq!(frames[frames.len() - 2]["delta"], delta);
        let choice = written(&Chat::default(), &answer)["choices"][0].clone();
        let last = encoded(&Chat::default(), &events).pop().unwrap()["choices"][0].clone();
        for choice in [choice, last] {
            assert_eq!(choice["finish_reason"], coarse);
            assert_eq!(choice["native_finish_reason"], reason);
            assert_eq!(
                choice.get("stop_reason").cloned().unwrap_or_default(),
                sequence
            );
        }
    }
    let (whole, stream) = claude_says(text, json!({"stop_reason": "end_turn"}));
    let plain = written(&Chat::default(), &read(&Anthropic, &whole))["choices"][0].clone();
    assert!(plain.get("native_finish_reason").is_none(), "{plain}");
    let chunks = encoded(&Chat::default(), &decoded(&Anthropic, &stream));
    assert!(
        chunks
            .iter()
            .all(|c| c["choices"][0].get("native_finish_reason").is_none())
    );
}

#[test]
fn other_providers_words_are_theirs() {
    let gemini = json!({"candidates": [{"content": {"parts": [{"text": "a"}]},
        "finishReason": "MALFORMED_FUNCTION_CALL"}]});
    let answer = read(&GEMINI, &gemini.to_string());
    let choice = &written(&Chat::default(), &answer)["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["native_finish_reason"], "MALFORMED_FUNCTION_CALL");
    assert_eq!(written(&MessagesFace, &answer)["stop_reason"], "end_turn");
    // vLLM tells which stop text it was.
    let vllm = json!({"choices": [{"message": {"content": "a"}, "finish_reason": "stop", "stop_reason": "###"}]});
    let message = written(
        &MessagesFace,
        &read(&Compatible { think_tags: false }, &vllm.to_string()),
    );
    assert_eq!(message["stop_reason"], "stop_sequence");
    assert_eq!(message["stop_sequence"], "###");
    let cohere = json!({"finish_reason": "STOP_SEQUENCE", "message": {"content": []}});
    let message = written(&MessagesFace, &read(&Cohere, &cohere.to_string()));
    assert_eq!(message["stop_reason"], "stop_sequence");
    assert_eq!(message["stop_sequence"], Value::Null);
}

#[test]
fn a_turn_that_was_cut_within_a_call_is_no_turn_of_calls() {
    let calls = [
        (
            Box::new(Anthropic) as Box<dyn Dialect>,
            json!({"type": "message", "stop_reason": "max_tokens",
                "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}),
        ),
        (
            Box::new(Bedrock),
            json!({"stopReason": "max_tokens", "output": {"message": {"content": [
                {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]}}}),
        ),
        (
            Box::new(GEMINI),
            json!({"candidates": [{"finishReason": "MAX_TOKENS",
                "content": {"parts": [{"functionCall": {"name": "f"}}]}}]}),
        ),
        (
            Box::new(Cohere),
            json!({"finish_reason": "MAX_TOKENS", "message": {"tool_calls": [
                {"id": "a", "function": {"name": "f", "arguments": "{}"}}]}}),
        ),
        (
            Box::new(Compatible::default()),
            json!({"choices": [{"finish_reason": "length", "message": {"tool_calls": [
                {"id": "a", "function": {"name": "f", "arguments": "{}"}}]}}]}),
        ),
    ];
    for (dialect, body) in calls {
        let choice = read(dialect.as_ref(), &body.to_string()).choices.remove(0);
        assert_eq!(
            (choice.calls.len(), choice.finish),
            (1, Some(Finish::Length)),
            "{body}"
        );
    }
}

/// An image between two texts, and a sound.
fn shown() -> (Answer, Vec<Event>) {
    let parts = json!([{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"text": "b"}, {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "RA=="}}]);
    let reply = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let stream = sse(std::slice::from_ref(&reply));
    (read(&GEMINI, &reply.to_string()), decoded(&GEMINI, &stream))
}

#[test]
fn what_is_no_text_reaches_chat_clients() {
    let (answer, events) = shown();
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}});
    let sound = json!({"id": "audio_seed_0", "data": "RA==", "transcript": "", "expires_at": 7,
        "format": "L16;rate=24000"});
    let message = &written(&Chat::default(), &answer)["choices"][0]["message"];
    assert_eq!(message["content"], "ab");
    assert_eq!(message["images"], json!([image]));
    assert_eq!(message["audio"], sound);
    let chunks = encoded(&Chat::default(), &events);
    let delta = |name: &str| {
        let deltas = chunks
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"][name].clone());
        deltas
            .filter(|delta| !delta.is_null())
            .collect::<Vec<Value>>()
    };
    assert_eq!(delta("images"), [json!([image])]);
    let heard =
        json!({"id": "audio_seed_0", "data": "RA==", "expires_at": 7, "format": "L16;rate=24000"});
    assert_eq!(delta("audio"), [heard]);
}

#[test]
fn what_is_no_text_reaches_responses_clients_and_messages_clients_hear_of_it() {
    let (answer, events) = shown();
    let face = Responses::default();
    let output = written(&face, &answer)["output"].clone();
    let kinds: Vec<&str> = output
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["message", "image_generation_call", "message", "message"]
    );
    assert_eq!(output[1]["result"], "QUJD");
    assert_eq!(output[3]["content"][0]["type"], "output_audio");
    assert_eq!(output[3]["content"][0]["data"], "RA==");
    let last = encoded(&face, &events).pop().unwrap();
    assert_eq!(last["response"]["output"][1], output[1]);
    let sounds = last["response"]["output"].to_string();
    assert!(sounds.contains("RA=="), "{sounds}");

    let message = written(&MessagesFace, &answer);
    assert_eq!(message["tollgate_omitted"], json!(["image", "audio"]));
    let frames = encoded(&MessagesFace, &events);
    let delta = &frames[frames.len() - 2]["delta"];
    assert_eq!(delta["tollgate_omitted"], json!(["image", "audio"]));
    assert_eq!(
        message["content"],
        json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    );
}

#[test]
fn compatible_providers_show_and_speak_too() {
    let image = json!({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}});
    let audio = json!({"id": "audio_1", "data": "QUI=", "transcript": "hi", "expires_at": 9});
    let body = json!({"choices": [{"finish_reason": "stop",
        "message": {"content": null, "images": [image], "audio": audio}}]});
    let whole = read(&Compatible { think_tags: false }, &body.to_string());
    let message = &written(&Chat::default(), &whole)["choices"][0]["message"];
    assert_eq!(
        (&message["images"], &message["audio"]),
        (&json!([image]), &audio)
    );
    let chunk = |delta: Value| json!({"id": "a", "choices": [{"index": 0, "delta": delta}]});
    let stream = sse(&[
        chunk(json!({"images": [image]})),
        chunk(json!({"audio": {"id": "audio_1", "transcript": "h"}})),
        chunk(json!({"audio": {"data": "QQ==", "transcript": "i"}})),
        chunk(json!({"audio": {"data": "Qg==", "expires_at": 9}})),
        json!({"id": "a", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ]);
    let streamed = gather(decoded(&Compatible { think_tags: false }, &stream));
    assert_eq!(streamed.choices[0].media, whole.choices[0].media);
}

fn rendered(dialect: &dyn Dialect, face: &dyn Face, request: &Value) -> (Value, Vec<String>) {
    let asked = face.parse(request.to_string().as_bytes()).unwrap();
    let options = BTreeMap::new();
    let target = Target {
        capabilities: &Capabilities::default(),
        options: &options,
        strict: false,
    };
    let rendered = dialect.chat(&asked, target).unwrap();
    (
        serde_json::from_slice(&rendered.body).unwrap(),
        rendered.dropped,
    )
}

#[test]
fn an_image_that_the_model_made_goes_back_to_it() {
    let (answer, _) = shown();
    let turn = written(&Chat::default(), &answer)["choices"][0]["message"]["images"].clone();
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Draw."},
        {"role": "assistant", "content": "a", "images": turn}, {"role": "user", "content": "Again."}]});
    let image = written(&Responses::default(), &answer)["output"][1].clone();
    let input = json!([{"role": "user", "content": "Draw."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        image, {"role": "user", "content": "Again."}]);
    let responses = json!({"model": "m", "input": input});
    let expected =
        json!([{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]);
    let chat = rendered(&GEMINI, &Chat::default(), &chat).0;
    let responses = rendered(&GEMINI, &Responses::default(), &responses).0;
    for body in [chat, responses] {
        assert_eq!(body["contents"][1]["parts"], expected);
    }
}

#[test]
fn a_mark_on_a_call_is_where_the_provider_has_it() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let call =
        json!({"type": "tool_use", "id": "t", "name": "f", "input": {}, "cache_control": mark});
    let messages = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Go."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]});
    let function = json!({"name": "f", "arguments": "{}"});
    let call = json!({"id": "t", "type": "function", "function": function, "cache_control": mark});
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Go."},
        {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "t", "content": "x"}]});
    let faces: [(Box<dyn Face>, Value); 2] = [
        (Box::new(MessagesFace), messages),
        (Box::new(Chat::default()), chat),
    ];
    for (face, request) in faces {
        let (body, dropped) = rendered(&Anthropic, face.as_ref(), &request);
        assert_eq!(body["messages"][1]["content"][0]["cache_control"], mark);
        assert_eq!(dropped, Vec::<String>::new());
        let (body, dropped) = rendered(&Bedrock, face.as_ref(), &request);
        let content = &body["messages"][1]["content"];
        assert!(content[0].get("toolUse").is_some(), "{content}");
        assert_eq!(
            content[1],
            json!({"cachePoint": {"type": "default", "ttl": "1h"}})
        );
        assert_eq!(dropped, Vec::<String>::new());
        for dialect in [
            &GEMINI as &dyn Dialect,
            &Cohere,
            &Compatible { think_tags: false },
        ] {
            let (_, dropped) = rendered(dialect, face.as_ref(), &request);
            assert_eq!(dropped, ["cache_control"]);
        }
    }
}

#[test]
fn a_place_in_a_document_is_cited_in_its_own_block() {
    let cited = json!({"type": "char_location", "cited_text": "x", "document_index": 0,
        "document_title": "D", "start_char_index": 3, "end_char_index": 4});
    let content = json!([{"type": "text", "text": "a "}, {"type": "text", "text": "b", "citations": [cited]},
        {"type": "text", "text": " c"}]);
    let (whole, stream) = claude_says(content, json!({"stop_reason": "end_turn"}));
    let answer = read(&Anthropic, &whole);
    let message = written(&MessagesFace, &answer);
    let texts = json!([{"type": "text", "text": "a b", "citations": [cited]}, {"type": "text", "text": " c"}]);
    assert_eq!(message["content"], texts);
    let frames = encoded(&MessagesFace, &decoded(&Anthropic, &stream));
    let told = |kind: &str| frames.iter().filter(|f| f["type"] == kind).count();
    assert_eq!(
        (told("content_block_start"), told("content_block_stop")),
        (2, 2)
    );
    let delta = frames
        .iter()
        .find(|f| f["delta"]["type"] == "citations_delta")
        .unwrap();
    assert_eq!(
        (&delta["index"], &delta["delta"]["citation"]),
        (&json!(0), &cited)
    );
    // OpenAI's clients count characters of the whole text.
    let annotation = &written(&Chat::default(), &answer)["choices"][0]["message"]["annotations"][0];
    assert_eq!(annotation["char_location"]["start_index"], 2);
    assert_eq!(annotation["char_location"]["end_index"], 3);
}

#[test]
fn a_source_that_a_format_cannot_cite_is_named() {
    let citation = json!({"start": 0, "end": 1, "text": "a", "sources": [
        {"type": "document", "id": "d", "document": {"id": "d", "title": "D"}}]});
    let body = json!({"finish_reason": "COMPLETE", "message": {
        "content": [{"type": "text", "text": "a"}], "citations": [citation]}});
    let answer = read(&Cohere, &body.to_string());
    assert_eq!(
        written(&MessagesFace, &answer)["tollgate_omitted"],
        json!(["citation"])
    );
    let annotation = &written(&Chat::default(), &answer)["choices"][0]["message"]["annotations"][0];
    assert_eq!(annotation["document_citation"]["source"]["id"], "d");
    let chunk = json!({"retrievedContext": {"title": "T", "text": "t"}});
    let support = json!({"segment": {"endIndex": 1}, "groundingChunkIndices": [0]});
    let grounded = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP",
        "groundingMetadata": {"groundingChunks": [chunk], "groundingSupports": [support]}}]});
    let annotations = read(&GEMINI, &grounded.to_string())
        .choices
        .remove(0)
        .annotations;
    assert_eq!(annotations[0]["document_citation"]["source"], chunk);
}

#[test]
fn half_a_character_does_not_cost_the_answer() {
    let lone = r#"{"text":"a\ud83e"}"#;
    let said = |frame: &str| frame.replace("LONE", r"a\ud83e");
    let whole: [(Box<dyn Dialect>, &str); 5] = [
        (
            Box::new(Anthropic),
            r#"{"type":"message","content":[{"type":"text","text":"LONE"}]}"#,
        ),
        (
            Box::new(Bedrock),
            r#"{"output":{"message":{"content":[{"text":"LONE"}]}}}"#,
        ),
        (
            Box::new(GEMINI),
            r#"{"candidates":[{"content":{"parts":[{"text":"LONE"}]},"finishReason":"STOP"}]}"#,
        ),
        (
            Box::new(Cohere),
            r#"{"message":{"content":[{"type":"text","text":"LONE"}]}}"#,
        ),
        (
            Box::new(Compatible::default()),
            r#"{"choices":[{"message":{"content":"LONE"}}]}"#,
        ),
    ];
    for (dialect, body) in whole {
        let answer = read(dialect.as_ref(), &said(body));
        assert_eq!(
            answer.choices[0].text.as_deref(),
            Some("a\u{fffd}"),
            "{body}"
        );
    }
    let anthropic = concat!(
        "data: {\"type\":\"message_start\",\"message\":{}}\n\n",
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"LONE\"}}\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );
    let frame = |kind: &str, payload: &str| {
        let header = |name: &str, text: &str| (name.to_owned(), Header::Text(text.to_owned()));
        let headers = vec![
            header(":message-type", "event"),
            header(":event-type", kind),
        ];
        let payload = payload.as_bytes().to_vec().into();
        Message { headers, payload }.encode().unwrap()
    };
    let bedrock = [
        frame(
            "contentBlockDelta",
            &format!("{{\"contentBlockIndex\":0,\"delta\":{lone}}}"),
        ),
        frame("messageStop", "{\"stopReason\":\"end_turn\"}"),
        frame("metadata", "{}"),
    ];
    let streams: [(Box<dyn Dialect>, Vec<u8>); 2] = [
        (Box::new(Anthropic), said(anthropic).into_bytes()),
        (Box::new(Bedrock), bedrock.concat()),
    ];
    for (dialect, bytes) in streams {
        let answer = gather(decoded(dialect.as_ref(), &bytes));
        assert_eq!(answer.choices[0].text.as_deref(), Some("a\u{fffd}"));
    }
}
