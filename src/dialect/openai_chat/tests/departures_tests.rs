//! How providers depart from OpenAI: what chooses the lane, what goes where,
//! what is refused, what is named.

use super::*;
use crate::chat::Operation;

fn asking(more: &Value) -> String {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn sent(more: &Value, opts: &str) -> (Value, Vec<String>) {
    let got = render(
        &asking(more),
        &options(opts),
        &Capabilities::default(),
        false,
    );
    let got = got.unwrap_or_else(|e| panic!("{more} {opts}: {e}"));
    (serde_json::from_slice(&got.body).unwrap(), got.dropped)
}

fn refused(more: &Value, opts: &str, strict: bool) -> String {
    let got = render(
        &asking(more),
        &options(opts),
        &Capabilities::default(),
        strict,
    );
    got.expect_err(&more.to_string()).param
}

#[test]
fn bytes_pass_to_who_departs_from_nothing() {
    use Operation as Op;
    for (opts, chat, completions, embeddings) in [
        ("{}", true, true, true),
        (
            r#"{"api_version":"2024-10-21","deployment":"true","responses":"native","top_k":"true"}"#,
            true,
            true,
            true,
        ),
        (r#"{"completions":"chat"}"#, true, false, true),
        (r#"{"refuse":"n"}"#, false, true, true),
        (r#"{"drop":"user"}"#, false, true, false),
        (
            r#"{"rename":"dimensions:output_dimension"}"#,
            false,
            true,
            false,
        ),
        (
            r#"{"embeddings_extra":"{\"input_type\":\"query\"}"}"#,
            true,
            true,
            false,
        ),
        (r#"{"thoughts":"reasoning"}"#, false, true, true),
    ] {
        let opts_map = options(opts);
        let passing = |op| passes(&opts_map, op);
        assert_eq!(passing(Op::ChatCompletions), chat, "{opts}");
        assert_eq!(passing(Op::Completions), completions, "{opts}");
        assert_eq!(passing(Op::Embeddings), embeddings, "{opts}");
        assert!(passing(Op::ImageGenerations), "{opts}");
    }
}

#[test]
fn azure_has_one_path_for_both_lanes() {
    for (opts, operation, expected) in [
        ("{}", Operation::ChatCompletions, "/chat/completions"),
        (
            r#"{"api_version":"2024-10-21"}"#,
            Operation::Embeddings,
            "/openai/deployments/my%20m/embeddings?api-version=2024-10-21",
        ),
        (
            r#"{"api_version":"2025-03-01-preview"}"#,
            Operation::Responses,
            "/openai/responses?api-version=2025-03-01-preview",
        ),
        (
            r#"{"api_version":"preview"}"#,
            Operation::ChatCompletions,
            "/chat/completions?api-version=preview",
        ),
        (
            r#"{"api_version":"2024-10-21","deployment":"false"}"#,
            Operation::ChatCompletions,
            "/chat/completions?api-version=2024-10-21",
        ),
    ] {
        assert_eq!(path(&options(opts), operation, "my m"), expected, "{opts}");
    }
    let got = render(
        &asking(&json!({})),
        &options(r#"{"api_version":"preview"}"#),
        &Capabilities::default(),
        false,
    );
    let got = got.unwrap();
    assert_eq!(got.path, "/chat/completions?api-version=preview");
    assert!(
        String::from_utf8(got.body)
            .unwrap()
            .contains(r#""model":"m""#)
    );
}

#[test]
fn members_that_a_provider_does_not_take_are_named() {
    let asked = json!({
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "a", "x": 1 }], "name": "n" },
            { "role": "assistant", "content": "b", "annotations": [{ "type": "url_citation" }] },
            { "role": "assistant", "content": "So", "prefix": true, "id": "7" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f", "strict": true, "y": 1 } }],
    });
    let opts = r#"{"members":"prefix","drop":"messages[].name,tools[].function.strict"}"#;
    let (body, mut dropped) = sent(&asked, opts);
    dropped.sort();
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": "b" },
            { "role": "assistant", "content": "So", "prefix": true },
        ])
    );
    assert_eq!(
        body["tools"],
        json!([{ "type": "function", "function": { "name": "f" } }])
    );
    assert_eq!(
        dropped,
        [
            "messages[].content[].x",
            "messages[].id",
            "messages[].name",
            "tools[].function.strict",
            "tools[].function.y",
        ]
    );
    let (all, dropped) = sent(&asked, "{}");
    assert_eq!(all["messages"][0]["content"][0]["x"], 1);
    assert_eq!(all["messages"][1]["annotations"][0]["type"], "url_citation");
    assert_eq!(dropped, Vec::<String>::new());
    assert_eq!(
        refused(
            &json!({ "messages": [{ "role": "user", "content": "a", "x": 1 }] }),
            r#"{"members":"none"}"#,
            true
        ),
        "messages[].x"
    );
}

#[test]
fn other_formats_drop_members_by_name_and_refuse_parts() {
    let target = Target {
        capabilities: &Capabilities::default(),
        options: &BTreeMap::new(),
        strict: false,
    };
    let strict = Target {
        strict: true,
        ..target
    };
    let parse = |more: Value| {
        let mut asked = Chat::default().parse(asking(&more).as_bytes()).unwrap();
        asked.max_tokens = Some(9);
        asked
    };
    let member = parse(json!({ "messages": [{ "role": "user", "content": "a", "prefix": true }] }));
    let echo = parse(json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "b", "annotations": [{}], "reasoning_details": [{ "type": "reasoning.text", "text": "t" }] },
        { "role": "user", "content": "c" },
    ] }));
    let part = parse(
        json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "video_url" }] }] }),
    );
    let format = parse(json!({ "response_format": { "type": "grammar" } }));
    let dialects: [&dyn Dialect; 4] = [
        &crate::dialect::anthropic::Anthropic,
        &crate::dialect::bedrock::Bedrock,
        &crate::dialect::cohere::Cohere,
        &crate::dialect::gemini::Gemini::new(crate::dialect::gemini::Flavour::AiStudio),
    ];
    for dialect in dialects {
        assert_eq!(
            dialect.chat(&member, target).unwrap().dropped,
            ["messages[].prefix"]
        );
        assert_eq!(
            dialect.chat(&member, strict).unwrap_err().param,
            "messages[].prefix"
        );
        // Said again of an answer, and known as thoughts.
        let dropped = dialect.chat(&echo, target).unwrap().dropped;
        for echo in ["messages[].annotations", "messages[].reasoning_details"] {
            assert!(!dropped.contains(&echo.to_owned()), "{dropped:?}");
        }
        assert_eq!(
            dialect.chat(&part, target).unwrap_err().param,
            "messages[].content[]"
        );
        assert_eq!(
            dialect.chat(&format, target).unwrap_err().param,
            "response_format"
        );
    }
}

#[test]
fn the_name_in_a_tools_result_is_no_loss() {
    let asked = json!({ "messages": [
        { "role": "assistant", "tool_calls": [{ "id": "a", "function": { "name": "f" } }] },
        { "role": "tool", "tool_call_id": "a", "name": "f", "content": "r" },
    ] });
    let (body, _) = sent(&asked, r#"{"members":"none"}"#);
    assert_eq!(body["messages"][1]["name"], "f");
    let (body, dropped) = sent(&asked, r#"{"drop":"messages[].name"}"#);
    assert_eq!((body["messages"][1].get("name"), dropped.len()), (None, 0));
}

#[test]
fn tool_choices_that_are_not_honoured() {
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let with = |choice: &str| json!({ "tools": tools, "tool_choice": choice });
    let only_auto = r#"{"tool_choice":"auto"}"#;
    let (body, _) = sent(&with("auto"), only_auto);
    assert_eq!(
        (body["tools"].is_array(), &body["tool_choice"]),
        (true, &json!("auto"))
    );
    let (body, _) = sent(&with("none"), only_auto);
    assert_eq!(
        (&body["tools"], &body["tool_choice"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(refused(&with("required"), only_auto, false), "tool_choice");
    let (body, _) = sent(&with("none"), r#"{"tool_choice":"auto,none"}"#);
    assert_eq!(body["tool_choice"], "none");
    let named = json!({ "tools": tools, "tool_choice": { "type": "function", "function": { "name": "f" } } });
    assert_eq!(
        refused(&named, r#"{"tool_choice":"auto,required"}"#, false),
        "tool_choice"
    );
}

#[test]
fn small_departures() {
    let probs = json!({ "logprobs": true, "top_logprobs": 3 });
    let (body, _) = sent(&probs, r#"{"logprobs":"count"}"#);
    assert_eq!(
        (&body["logprobs"], body.get("top_logprobs")),
        (&json!(3), None)
    );
    let refusal = json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": null, "refusal": "no" },
        { "role": "user", "content": "b" },
    ] });
    let (body, dropped) = sent(&refusal, r#"{"refusals":"content"}"#);
    assert_eq!(
        body["messages"][1],
        json!({ "role": "assistant", "content": "no" })
    );
    assert!(dropped.is_empty());
    // What OpenRouter said goes back in its own words.
    let details = json!([{ "type": "reasoning.text", "text": "t", "id": "r1", "format": "x" }]);
    let told = json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "b", "reasoning_details": details },
    ] });
    let (body, _) = sent(&told, r#"{"thoughts":"reasoning_details"}"#);
    assert_eq!(body["messages"][1]["reasoning_details"], details);
    let (body, _) = sent(
        &told,
        r#"{"thoughts":"reasoning_content","members":"none"}"#,
    );
    assert_eq!(
        body["messages"][1],
        json!({ "role": "assistant", "content": "b", "reasoning_content": "t" })
    );
    // Places in another format are no fields of this one.
    let mut asked = Conversation {
        messages: vec![crate::chat::Message::User {
            parts: vec![crate::chat::Part::text("a")],
            name: None,
        }],
        ..Conversation::default()
    };
    asked.other.insert("tools.eager".into(), true.into());
    let target = Target {
        capabilities: &Capabilities::default(),
        options: &BTreeMap::new(),
        strict: false,
    };
    let got = Compatible::default().chat(&asked, target).unwrap();
    assert_eq!(got.dropped, ["tools.eager"]);
    assert!(!String::from_utf8(got.body).unwrap().contains("eager"));
}

#[test]
fn thoughts_in_tags_are_taken_out() {
    let tagged = Compatible { think_tags: true };
    let body = br#"{"choices":[{"message":{"content":"<think>\nhm</think>\n\nHi"},"finish_reason":"stop"}]}"#;
    let answer = tagged.answer("m", body).unwrap().unwrap();
    let choice = &answer.choices[0];
    assert_eq!(
        (choice.thoughts[0].text.as_str(), choice.text.as_deref()),
        ("\nhm", Some("Hi"))
    );
    let plain = Compatible::default().answer("m", body).unwrap().unwrap();
    assert_eq!(
        plain.choices[0].text.as_deref(),
        Some("<think>\nhm</think>\n\nHi")
    );
    let empty = br#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#;
    let empty = tagged.answer("m", empty).unwrap().unwrap();
    assert_eq!(empty.choices[0].text.as_deref(), Some(""));

    let mut stream = String::new();
    for piece in ["<th", "ink>h", "m</thi", "nk>\n", "\nHi <", "b>"] {
        let chunk =
            json!({ "id": "1", "choices": [{ "index": 0, "delta": { "content": piece } }] });
        stream.push_str(&format!("data: {chunk}\n\n"));
    }
    stream.push_str("data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    let (mut decoder, mut events) = (tagged.decoder("m", 1 << 20), Vec::new());
    decoder.push(stream.into(), &mut events).unwrap();
    decoder.end(&mut events).unwrap();
    let (mut thoughts, mut texts) = (String::new(), String::new());
    for event in events {
        match event {
            Event::Thought { text, .. } => thoughts.push_str(&text),
            Event::Text { text, .. } => texts.push_str(&text),
            _ => {}
        }
    }
    assert_eq!((thoughts.as_str(), texts.as_str()), ("hm", "Hi <b>"));
}

#[test]
fn a_failure_in_a_body_that_passes_is_seen() {
    for (body, status) in [
        (r#"{"error":{"message":"gone","code":502}}"#, Some(502)),
        (
            r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#,
            Some(429),
        ),
        (
            r#"{"id":"1","choices":null,"base_resp":{"status_code":1004,"status_msg":"key"}}"#,
            Some(401),
        ),
        (r#"{"choices":[],"error":{"message":"x"}}"#, Some(500)),
        (
            r#"{"choices":[{"message":{"content":"\"error\" is a word"}}]}"#,
            None,
        ),
        (
            r#"{"id":"1","base_resp":{"status_code":0},"choices":[{}]}"#,
            None,
        ),
        (
            r#"{"id":"r","object":"response","error":null,"output":[]}"#,
            None,
        ),
        (
            r#"{"status":"failed","error":{"code":"server_error"},"output":[{}]}"#,
            None,
        ),
        (r#"{"object":"list","data":[{"error":1}]}"#, None),
        ("[]", None),
        ("", None),
    ] {
        let found = failure_in(body.as_bytes()).map(|failure| failure.status);
        assert_eq!(found, status, "{body}");
    }
}

#[test]
fn what_mistral_wraps_is_unwrapped() {
    let header = |_: &str| None;
    for body in [
        r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","n"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error"}"#,
        r#"{"object":"error","message":"{\"detail\":[{\"loc\":[\"body\",\"n\"],\"msg\":\"Extra inputs are not permitted\"}]}"}"#,
        r#"{"object":"Error","message":[{"loc":["body","n"],"msg":"Extra inputs are not permitted"}]}"#,
    ] {
        let failure = Compatible::default().failure(422, &header, body.as_bytes());
        assert_eq!(
            failure.message.as_deref(),
            Some("body.n: Extra inputs are not permitted"),
            "{body}"
        );
    }
}
