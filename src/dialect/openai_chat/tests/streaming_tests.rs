//! The decoder's ends and the encoder's promises, event by event.

use super::*;
use crate::chat::{Failure, Finish, Usage};
use crate::chat::{Origin, Sealed};

fn encoded(events: Vec<Event>, include_usage: bool) -> String {
    encode(
        events,
        None,
        false,
        Label {
            include_usage,
            ..label()
        },
    )
}

fn start() -> Event {
    Event::Start {
        id: Some("x".into()),
        model: None,
    }
}

fn text(text: &str) -> Event {
    Event::Text {
        choice: 0,
        text: text.into(),
    }
}

fn finish(finish: Finish) -> Event {
    Event::Finish { choice: 0, finish }
}

fn call(number: u32, id: &str) -> Event {
    Event::CallStart {
        choice: 0,
        call: number,
        id: id.into(),
        name: "f".into(),
        signature: Some(Sealed::new(Origin::Gemini, "Zw==")),
    }
}

/// The chunks' JSON.
fn chunks(out: &str) -> Vec<Value> {
    let lines = out
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: {"));
    lines
        .map(|rest| serde_json::from_str(&format!("{{{rest}")).unwrap())
        .collect()
}

#[test]
fn usage_comes_exactly_when_asked_for_and_known() {
    let usage = |prompt| {
        Event::Usage(Usage {
            prompt,
            completion: 1,
            ..Usage::default()
        })
    };
    let events = vec![
        start(),
        usage(1),
        text("a"),
        finish(Finish::Stop),
        usage(2),
        Event::End,
    ];
    let out = encoded(events.clone(), true);
    let last = chunks(&out).pop().unwrap();
    assert_eq!(
        (
            last["choices"].as_array().unwrap().len(),
            last["usage"]["total_tokens"].as_u64()
        ),
        (0, Some(3))
    );
    assert_eq!(out.matches("total_tokens").count(), 1);
    let out = encoded(events, false);
    assert!(
        !out.contains("usage") && out.ends_with("data: [DONE]\n\n"),
        "{out}"
    );
    let out = encoded(
        vec![start(), text("a"), finish(Finish::Stop), Event::End],
        true,
    );
    assert!(
        !out.contains("\"choices\":[]") && out.ends_with("data: [DONE]\n\n"),
        "{out}"
    );
}

#[test]
fn an_answer_that_is_not_whole_is_not_done() {
    let second = Event::Text {
        choice: 1,
        text: "b".into(),
    };
    for events in [
        vec![Event::End],
        vec![start(), Event::End],
        vec![start(), text("a"), Event::End],
        vec![start(), text("a"), second, finish(Finish::Stop), Event::End],
        vec![
            start(),
            text("a"),
            Event::Failed(Failure {
                message: Some("secret".into()),
                ..Failure::default()
            }),
            Event::End,
        ],
    ] {
        let out = encoded(events, true);
        assert!(!out.contains("[DONE]") && !out.contains("secret"), "{out}");
        assert_eq!(
            chunks(&out)
                .iter()
                .filter(|chunk| chunk.get("error").is_some())
                .count(),
            1,
            "{out}"
        );
    }
}

#[test]
fn nothing_follows_the_end() {
    let whole = vec![start(), text("a"), finish(Finish::Stop), Event::End];
    let expected = encoded(whole.clone(), true);
    for extra in [
        text("b"),
        Event::Ping,
        Event::End,
        finish(Finish::Length),
        call(0, "c"),
    ] {
        let mut events = whole.clone();
        events.push(extra);
        assert_eq!(encoded(events, true), expected);
    }
    let failed = encode(whole, Some(&DecodeError::Truncated), false, label());
    assert_eq!(failed, expected);
    let late = vec![
        start(),
        text("a"),
        finish(Finish::Stop),
        text("b"),
        call(0, "c"),
        finish(Finish::Length),
        Event::End,
    ];
    assert_eq!(encoded(late, true), expected);
}

#[test]
fn calls_count_from_nought_and_have_arguments() {
    let arguments = |call, text: &str| Event::CallArguments {
        choice: 0,
        call,
        text: text.into(),
    };
    let events = vec![
        call(3, "a"),
        call(3, "a"),
        arguments(3, ""),
        call(7, ""),
        arguments(7, "{"),
        arguments(9, "x"),
        arguments(7, "}"),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    let all = chunks(&encoded(events.clone(), false));
    let calls: Vec<&Value> = all
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls"))
        .map(|calls| &calls[0])
        .collect();
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call["index"].as_u64().unwrap(),
                call["function"]["arguments"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(0, ""), (1, ""), (1, "{"), (1, "}"), (0, "{}")]);
    assert_eq!(
        calls[0]["extra_content"]["google"]["thought_signature"],
        "Zw=="
    );
    assert_eq!(
        (calls[0]["type"].as_str(), calls[1]["id"].as_str()),
        (Some("function"), Some("call_seed_0_1"))
    );
    assert_eq!(
        all[0]["choices"][0]["delta"],
        json!({ "role": "assistant", "content": null })
    );
    let out = encode(events, None, true, label());
    let all = chunks(&out);
    assert_eq!(all[1]["choices"][0]["delta"]["function_call"]["name"], "f");
    assert_eq!(all[2]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    assert!(out.contains("\"finish_reason\":\"function_call\""), "{out}");
}

#[test]
fn a_signature_ends_its_thought_in_one_block() {
    let thought = |text: &str| Event::Thought {
        choice: 0,
        text: text.into(),
    };
    let signature = |s: &str| Event::Signature {
        choice: 0,
        signature: Sealed::new(Origin::Claude, s),
    };
    let redacted = Event::RedactedThought {
        choice: 0,
        data: Sealed::new(Origin::Claude, "r"),
    };
    let events = vec![
        thought("a"),
        thought("b"),
        signature("1"),
        signature("2"),
        thought("c"),
        redacted,
    ];
    let all = chunks(&encoded(events, false));
    let blocks: Vec<&Value> = all
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"].get("thinking_blocks"))
        .collect();
    assert_eq!(
        json!(blocks),
        json!([
            [{ "type": "thinking", "thinking": "ab", "signature": "1" }],
            [{ "type": "thinking", "thinking": "", "signature": "2", "index": 1 }],
            [
                { "type": "thinking", "thinking": "c", "index": 2 },
                { "type": "redacted_thinking", "data": "r", "index": 3 },
            ],
        ])
    );
}

#[test]
fn pings_are_comments_and_start_nothing() {
    let out = encoded(vec![Event::Ping, start(), Event::Ping, text("a")], false);
    assert!(out.starts_with(": ping\n\n: ping\n\ndata: {"), "{out}");
    assert_eq!(chunks(&out)[0]["id"], "x");
    assert_eq!(chunks(&encoded(vec![text("")], false)).len(), 1);
}

#[test]
fn where_a_stream_may_end() {
    let chunk = |finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    for (stream, error, end) in [
        (String::new(), Some(DecodeError::Truncated), false),
        ("\n\n".into(), Some(DecodeError::Truncated), false),
        (
            "data: [DONE]\n\n".into(),
            Some(DecodeError::Truncated),
            false,
        ),
        (chunk("null"), Some(DecodeError::Truncated), false),
        (
            chunk("null") + "data: {\"choi",
            Some(DecodeError::Truncated),
            false,
        ),
        (
            chunk("null") + "data: {\"choi\n\n",
            Some(DecodeError::Malformed("a chunk in JSON")),
            false,
        ),
        (chunk("null") + "data: [DONE]", None, true),
        (chunk("\"\"") + "data: [DONE]\n\n", None, true),
        (chunk("\"stop\""), None, true),
        (chunk("\"stop\"") + ": bye\n\n", None, true),
        (
            chunk("\"stop\"") + "data: [DONE]\n\ndata: junk\n\n",
            None,
            true,
        ),
        (
            "data: {\"error\":{\"message\":\"m\"}}\n\ndata: junk\n\n".into(),
            None,
            false,
        ),
        (
            "{\"choices\":[{\"message\":".into(),
            Some(DecodeError::Truncated),
            false,
        ),
    ] {
        for size in [1, 7, 4096] {
            let (events, ended) = decode(stream.as_bytes(), size);
            assert_eq!(
                (ended, events.last() == Some(&Event::End)),
                (error.clone(), end),
                "{stream}"
            );
        }
    }
}

#[test]
fn an_event_over_the_limit_is_refused() {
    for stream in [
        "data: aaaaaaaaaaaaaaaaaaaaaa",
        "{\"aaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let mut decoder = Compatible::default().decoder("m", 16);
        let got = decoder.push(bytes::Bytes::from(stream), &mut Vec::new());
        assert_eq!(got, Err(DecodeError::TooLong));
    }
}

#[test]
fn finish_reasons() {
    for (word, calls, expected) in [
        ("stop", false, Finish::Stop),
        ("eos", false, Finish::Stop),
        ("stop", true, Finish::ToolCalls),
        ("length", true, Finish::Length),
        ("model_length", false, Finish::Length),
        ("tool_calls", true, Finish::ToolCalls),
        ("tool_calls", false, Finish::Stop),
        ("function_call", true, Finish::ToolCalls),
        ("content_filter", false, Finish::ContentFilter),
        ("something_new", false, Finish::Stop),
    ] {
        let calls = if calls {
            json!([{ "id": "a", "function": { "name": "f", "arguments": "" } }])
        } else {
            json!(null)
        };
        let choice = |name: &str| json!({ "choices": [{ "index": 0, name: { "content": "", "tool_calls": calls }, "finish_reason": word }] });
        let answer = Compatible::default()
            .answer("m", choice("message").to_string().as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(answer.choices[0].finish, Some(expected), "{word}");
        let (events, _) = decode(format!("data: {}\n\n", choice("delta")).as_bytes(), 4096);
        assert!(events.contains(&finish(expected)), "{word}: {events:?}");
    }
}

#[test]
fn usage_wherever_it_stands() {
    let usage = json!({ "prompt_tokens": 5.0, "completion_tokens": 2 });
    let choice = json!({ "delta": { "content": "a" }, "finish_reason": "stop" });
    let mut inner = choice.clone();
    inner["usage"] = usage.clone();
    for chunk in [
        json!({ "choices": [choice], "usage": usage }),
        json!({ "choices": [choice], "x_groq": { "usage": usage } }),
        json!({ "choices": [inner] }),
    ] {
        let (events, _) = decode(format!("data: {chunk}\n\n").as_bytes(), 4096);
        let expected = Usage {
            prompt: 5,
            completion: 2,
            ..Usage::default()
        };
        assert!(events.contains(&Event::Usage(expected)), "{chunk}");
    }
}

#[test]
fn which_call_a_piece_belongs_to() {
    let piece = |index: Value, id: Value, name: Value, arguments: &str| json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } });
    let null = Value::Null;
    let two = [("f", "12"), ("g", "34")];
    for (told, pieces, expected) in [
        (
            "numbered",
            vec![
                piece(json!(0), json!("a"), json!("f"), "1"),
                piece(json!(1), json!("b"), json!("g"), "3"),
                piece(json!(0), null.clone(), null.clone(), "2"),
                piece(json!(1), null.clone(), null.clone(), "4"),
            ],
            &two[..],
        ),
        (
            "all number 0",
            vec![
                piece(json!(0), json!("a"), json!("f"), "1"),
                piece(json!(0), json!("b"), json!("g"), "34"),
                piece(json!(0), json!("a"), null.clone(), "2"),
            ],
            &two,
        ),
        (
            "no numbers",
            vec![
                piece(null.clone(), json!("a"), json!("f"), "1"),
                piece(null.clone(), null.clone(), null.clone(), "2"),
                piece(null.clone(), json!("b"), json!("g"), "34"),
            ],
            &two,
        ),
        (
            "no ids",
            vec![
                piece(json!(0), null.clone(), json!("f"), "12"),
                piece(json!(1), null.clone(), json!("g"), "34"),
            ],
            &two,
        ),
        (
            "neither",
            vec![
                piece(null.clone(), null.clone(), json!("f"), "12"),
                piece(null.clone(), null.clone(), json!("g"), "34"),
            ],
            &two,
        ),
        (
            "the same id twice",
            vec![
                piece(json!(0), json!("a"), json!("f"), "12"),
                piece(json!(1), json!("a"), json!("g"), "34"),
            ],
            &two,
        ),
        (
            "a new id each time",
            vec![
                piece(json!(0), json!("a"), json!("f"), "1"),
                piece(json!(0), json!("x"), null.clone(), "2"),
                piece(json!(1), json!("b"), json!("g"), "34"),
            ],
            &two,
        ),
        (
            "id and name each time",
            vec![
                piece(json!(0), json!("a"), json!("f"), "1"),
                piece(json!(0), json!("a"), json!("f"), "2"),
            ],
            &two[..1],
        ),
        (
            "name later",
            vec![
                piece(json!(0), json!("a"), null.clone(), ""),
                piece(json!(0), null.clone(), json!("f"), "12"),
            ],
            &two[..1],
        ),
    ] {
        let lines: String = pieces
            .iter()
            .map(|p| {
                format!(
                    "data: {}\n\n",
                    json!({ "choices": [{ "delta": { "tool_calls": [p] } }] })
                )
            })
            .collect();
        let (events, ended) = decode((lines + "data: [DONE]\n\n").as_bytes(), 4096);
        assert_eq!(ended, None, "{told}");
        let (mut calls, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
        for event in &events {
            match event {
                Event::CallStart { id, name, .. } => {
                    assert!(ids.insert(id.clone()), "{told}: {id} twice");
                    calls.push((name.as_str(), String::new()));
                }
                Event::CallArguments { call, text, .. } => calls[*call as usize].1.push_str(text),
                _ => {}
            }
        }
        let calls: Vec<_> = calls
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        assert_eq!(calls, expected, "{told}");
    }
}
