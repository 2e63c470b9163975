//! What a target takes and what it does not; failures; embeddings.

use super::*;
use crate::chat::{Origin, Sealed};
use crate::chat::{SamplingRule, Thought, ToolCall};

fn body_of(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.body).unwrap()
}

fn asking(more: &Value) -> String {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// As the table says of a model that it does not know.
fn able() -> Capabilities {
    Capabilities {
        thinking: Thinking::Effort,
        ..Capabilities::default()
    }
}

#[test]
fn what_changes_the_meaning_is_refused() {
    let none = options("{}");
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    let image = part(json!({ "type": "image_url", "image_url": { "url": "https://x/a.png" } }));
    let called =
        json!({ "role": "assistant", "tool_calls": [{ "id": "a", "function": { "name": "f" } }] });
    let shown = json!({ "role": "tool", "tool_call_id": "a", "content": [{ "type": "image_url", "image_url": { "url": "https://x/a.png" } }] });
    let schema = json!({ "type": "json_schema", "json_schema": { "schema": {} } });
    for (more, opts, able, param) in [
        (
            json!({ "tools": tools }),
            none.clone(),
            Capabilities {
                tools: false,
                ..able()
            },
            "tools",
        ),
        (
            json!({ "tools": tools, "tool_choice": "required" }),
            none.clone(),
            Capabilities {
                forced_tools: false,
                ..able()
            },
            "tool_choice",
        ),
        (
            json!({ "tools": [{ "type": "web_search" }] }),
            none.clone(),
            able(),
            "tools[0]",
        ),
        (
            json!({ "response_format": schema }),
            none.clone(),
            Capabilities {
                json_schema: false,
                ..able()
            },
            "response_format",
        ),
        (
            image.clone(),
            none.clone(),
            Capabilities {
                images: false,
                ..able()
            },
            "messages[0].content[0]",
        ),
        (
            image,
            options(r#"{"images":"inline"}"#),
            able(),
            "messages[0].content[0]",
        ),
        (
            part(json!({ "type": "input_audio", "input_audio": { "data": "", "format": "wav" } })),
            none.clone(),
            Capabilities {
                audio: false,
                ..able()
            },
            "messages[0].content[0]",
        ),
        (
            part(json!({ "type": "file", "file": { "file_id": "f" } })),
            none.clone(),
            Capabilities {
                documents: false,
                ..able()
            },
            "messages[0].content[0]",
        ),
        (
            part(json!({ "type": "file", "file": { "file_id": "gs://a" } })),
            none.clone(),
            able(),
            "messages[0].content[0]",
        ),
        (
            json!({ "messages": [called, shown] }),
            none.clone(),
            able(),
            "messages[1].content[0]",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": "So" }] }),
            none.clone(),
            Capabilities {
                prefill: false,
                ..able()
            },
            "messages[0]",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": "" }] }),
            none.clone(),
            able(),
            "messages",
        ),
        (
            json!({ "modalities": ["audio"] }),
            none.clone(),
            able(),
            "modalities",
        ),
        (
            json!({ "n": 2 }),
            options(r#"{"refuse":"n,logprobs"}"#),
            able(),
            "n",
        ),
    ] {
        let error = render(&asking(&more), &opts, &able, false).expect_err(&more.to_string());
        assert_eq!(error.param, param, "{more}");
    }
    assert!(
        render(
            &asking(&json!({ "n": 1 })),
            &options(r#"{"refuse":"n"}"#),
            &able(),
            false
        )
        .is_ok()
    );
}

#[test]
fn what_is_harmless_is_dropped_and_named() {
    let parallel = Capabilities {
        parallel_control: false,
        ..able()
    };
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    for (more, opts, able, dropped) in [
        (
            json!({ "temperature": 0.5, "top_p": 0.5 }),
            "{}",
            Capabilities {
                sampling: SamplingRule::None,
                ..able()
            },
            vec!["temperature", "top_p"],
        ),
        (
            json!({ "temperature": 1, "top_p": 1 }),
            "{}",
            Capabilities {
                sampling: SamplingRule::None,
                ..able()
            },
            vec![],
        ),
        (
            json!({ "reasoning_effort": "low" }),
            "{}",
            Capabilities::default(),
            vec!["reasoning_effort"],
        ),
        (
            json!({ "temperature": 1, "top_p": 1 }),
            "{}",
            Capabilities {
                sampling: SamplingRule::One,
                ..able()
            },
            vec!["top_p"],
        ),
        (
            json!({ "top_p": 1 }),
            "{}",
            Capabilities {
                sampling: SamplingRule::One,
                ..able()
            },
            vec![],
        ),
        (json!({ "top_k": 1 }), "{}", able(), vec!["top_k"]),
        (json!({ "top_k": 1 }), r#"{"top_k":"true"}"#, able(), vec![]),
        (
            json!({ "speed": "fast", "min_p": 1 }),
            "{}",
            able(),
            vec!["speed"],
        ),
        (
            json!({ "seed": 1, "user": "u" }),
            r#"{"drop":"seed, user, store"}"#,
            able(),
            vec!["seed", "user"],
        ),
        (
            json!({ "reasoning_effort": "low" }),
            r#"{"reasoning":"none"}"#,
            able(),
            vec!["reasoning_effort"],
        ),
        (
            json!({ "reasoning_effort": "none" }),
            "{}",
            Capabilities {
                thinks_always: true,
                ..able()
            },
            vec!["reasoning_effort"],
        ),
        (
            json!({ "tools": tools, "parallel_tool_calls": false }),
            "{}",
            parallel.clone(),
            vec!["parallel_tool_calls"],
        ),
        (
            json!({ "tools": tools, "parallel_tool_calls": true }),
            "{}",
            parallel,
            vec![],
        ),
        (
            json!({ "stop": ["a", "b", "c", "d", "e"] }),
            "{}",
            able(),
            vec!["stop"],
        ),
    ] {
        let body = asking(&more);
        let got = render(&body, &options(opts), &able, false).unwrap();
        assert_eq!(got.dropped, dropped, "{more}");
        for name in dropped.iter().filter(|name| **name != "stop") {
            assert_eq!(body_of(&got).get(name), None, "{more}");
        }
        let strict = render(&body, &options(opts), &able, true);
        assert_eq!(
            strict.err().map(|e| e.param),
            dropped.first().map(|name| (*name).to_owned()),
            "{more}"
        );
    }
}

#[test]
fn errors_of_tools_have_no_field_here() {
    let asked = Conversation {
        messages: vec![
            crate::chat::Message::Assistant(crate::chat::Turn {
                calls: vec![ToolCall {
                    id: "a".into(),
                    name: "f".into(),
                    arguments: "no json".into(),
                    signature: None,
                    ..ToolCall::default()
                }],
                ..Default::default()
            }),
            crate::chat::Message::Tool {
                call_id: "a".into(),
                parts: vec![],
                is_error: true,
            },
        ],
        ..Conversation::default()
    };
    let target = Target {
        capabilities: &able(),
        options: &BTreeMap::new(),
        strict: false,
    };
    let got = Compatible::default().chat(&asked, target).unwrap();
    assert_eq!(got.dropped, ["is_error"]);
    let body = body_of(&got);
    // Text to this format: who wrote it may send it back as it is.
    assert_eq!(
        body["messages"][0]["tool_calls"][0]["function"]["arguments"],
        "no json"
    );
    assert_eq!(body["messages"][1]["content"], "");
}

#[test]
fn efforts_are_the_providers() {
    let able = |efforts: &[&str]| Capabilities {
        effort: efforts.iter().map(|e| (*e).to_owned()).collect(),
        ..able()
    };
    let deepseek = ["low", "high", "max"];
    for (asked, opts, able, expected) in [
        (
            json!({ "reasoning_effort": "minimal" }),
            "{}",
            able(&deepseek),
            json!("low"),
        ),
        (
            json!({ "reasoning_effort": "medium" }),
            "{}",
            able(&deepseek),
            json!("high"),
        ),
        (
            json!({ "reasoning_effort": "xhigh" }),
            "{}",
            able(&deepseek),
            json!("high"),
        ),
        (
            json!({ "reasoning_effort": "xhigh" }),
            "{}",
            able(&["low", "medium", "high"]),
            json!("high"),
        ),
        (
            json!({ "reasoning_effort": "new" }),
            "{}",
            able(&deepseek),
            json!("new"),
        ),
        (
            json!({ "reasoning_effort": "max" }),
            r#"{"efforts":"xhigh:high,max:high"}"#,
            able(&[]),
            json!("high"),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }),
            "{}",
            able(&[]),
            json!("low"),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 2048 } }),
            "{}",
            able(&[]),
            json!("medium"),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 9000 } }),
            "{}",
            able(&[]),
            json!("high"),
        ),
        (
            json!({ "reasoning_effort": "none" }),
            "{}",
            able(&[]),
            json!("none"),
        ),
        (
            json!({ "reasoning_effort": "none" }),
            r#"{"reasoning":"thinking"}"#,
            able(&[]),
            json!({ "type": "disabled" }),
        ),
        (
            json!({ "reasoning_effort": "low" }),
            r#"{"reasoning":"enabled"}"#,
            able(&[]),
            json!({ "enabled": true }),
        ),
        (
            json!({ "reasoning": { "max_tokens": 9, "exclude": true } }),
            r#"{"reasoning":"reasoning"}"#,
            able(&[]),
            json!({ "max_tokens": 9, "exclude": true }),
        ),
    ] {
        let body = body_of(&render(&asking(&asked), &options(opts), &able, false).unwrap());
        let field = ["thinking", "reasoning", "reasoning_effort"]
            .iter()
            .find_map(|name| body.get(*name));
        assert_eq!(field, Some(&expected), "{asked} {opts}");
    }
}

#[test]
fn parts_and_marks_as_the_provider_likes_them() {
    let texts = json!({ "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "a" }, { "type": "text", "text": "b", "cache_control": { "type": "ephemeral" } },
    ] }] });
    let plain = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
    let mut pointed = plain.clone();
    pointed[1]["prompt_cache_breakpoint"] = json!({ "mode": "explicit" });
    for (opts, expected, dropped) in [
        ("{}", plain, 1),
        (r#"{"parts":"string"}"#, json!("ab"), 1),
        (r#"{"cache_marks":"breakpoint"}"#, pointed, 0),
    ] {
        let got = render(&asking(&texts), &options(opts), &able(), false).unwrap();
        assert_eq!(body_of(&got)["messages"][0]["content"], expected, "{opts}");
        assert_eq!(got.dropped.len(), dropped, "{opts}");
    }
}

#[test]
fn every_option_is_listed() {
    let source = include_str!("../request.rs").to_owned()
        + include_str!("../turns.rs")
        + include_str!("../embeddings.rs")
        + include_str!("../options.rs");
    let table = include_str!("../../../table/provider.rs");
    let ways = [
        ".text(\"",
        ".flag(\"",
        ".list(\"",
        ".pairs(\"",
        ".object(\"",
    ];
    let calls = ways.iter().flat_map(|way| source.split(way).skip(1));
    let calls = calls.chain(table.split("options.get(\"").skip(1));
    let mut used: Vec<&str> = calls.filter_map(|rest| rest.split('"').next()).collect();
    used.sort_unstable();
    used.dedup();
    let listed: Vec<&str> = OPTIONS.iter().map(|opt| opt.name).collect();
    assert_eq!(used, listed);
}

#[test]
fn failures() {
    let long = "x".repeat(900);
    let header = |_: &str| None;
    for (status, body, message, code, param) in [
        (
            400,
            r#"{"error":{"message":"bad","type":"invalid_request_error","param":"n","code":"c"}}"#,
            Some("bad"),
            Some("c"),
            Some("n"),
        ),
        (400, r#"{"error":"plain"}"#, Some("plain"), None, None),
        (
            400,
            r#"{"object":"error","message":"flat","type":"x","code":40}"#,
            Some("flat"),
            Some("40"),
            None,
        ),
        (
            422,
            r#"{"detail":[{"loc":["body","n"],"msg":"too many"},{"msg":"b"}]}"#,
            Some("body.n: too many; b"),
            None,
            None,
        ),
        (422, r#"{"detail":"no"}"#, Some("no"), None, None),
        (
            401,
            r#"{"statusCode":401,"message":"denied"}"#,
            Some("denied"),
            None,
            None,
        ),
        (
            502,
            "<html>Bad gateway</html>",
            Some("<html>Bad gateway</html>"),
            None,
            None,
        ),
        (500, long.as_str(), Some(&long[..500]), None, None),
        (503, "", None, None, None),
        (402, "{}", None, Some("insufficient_quota"), None),
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota"}}"#,
            Some("m"),
            Some("insufficient_quota"),
            None,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8"}}"#,
            Some("This model's maximum context length is 8"),
            Some("context_length_exceeded"),
            None,
        ),
        (
            400,
            r#"{"error":{"message":"m","code":"content_policy_violation"}}"#,
            Some("m"),
            Some("content_filter"),
            None,
        ),
        (
            400,
            r#"{"error":{"message":"m","param":"prompt","code":"content_filter"}}"#,
            Some("m"),
            Some("content_filter"),
            Some("prompt"),
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"m"}}"#,
            Some("m"),
            Some("DeploymentNotFound"),
            None,
        ),
    ] {
        let got = Compatible::default().failure(status, &header, body.as_bytes());
        let told = (
            got.status,
            got.message.as_deref(),
            got.code.as_deref(),
            got.param.as_deref(),
        );
        assert_eq!(told, (status, message, code, param), "{body}");
    }
    for (name, value, expected) in [
        ("retry-after", "13", Some(13)),
        ("retry-after", "1.2", Some(2)),
        ("retry-after-ms", "1500", Some(2)),
        ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("retry-after", "-1", None),
        ("retry-after", "1e300", Some(86_400)),
    ] {
        let header = |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(
            Compatible::default()
                .failure(429, &header, b"{}")
                .retry_after,
            expected,
            "{value}"
        );
    }
}

#[test]
fn failures_inside_of_a_200() {
    for (body, status, code) in [
        (
            r#"{"error":{"code":429,"message":"m","metadata":{}}}"#,
            429,
            Some("429"),
        ),
        (
            r#"{"error":{"code":"502","message":"m"}}"#,
            502,
            Some("502"),
        ),
        (
            r#"{"error":{"message":"m","type":"rate_limit_error"}}"#,
            429,
            None,
        ),
        (
            r#"{"error":{"message":"m","type":"overloaded_error"}}"#,
            503,
            None,
        ),
        (
            r#"{"error":{"message":"m","code":"insufficient_quota"}}"#,
            402,
            Some("insufficient_quota"),
        ),
        (
            r#"{"error":{"message":"m","code":"invalid_api_key"}}"#,
            401,
            Some("invalid_api_key"),
        ),
        (
            r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
            400,
            Some("context_length_exceeded"),
        ),
        (r#"{"error":"m"}"#, 500, None),
        (
            r#"{"base_resp":{"status_code":1002,"status_msg":"m"}}"#,
            429,
            Some("1002"),
        ),
        (
            r#"{"base_resp":{"status_code":1004,"status_msg":"m"}}"#,
            401,
            Some("1004"),
        ),
        (
            r#"{"base_resp":{"status_code":1008,"status_msg":"m"}}"#,
            402,
            Some("insufficient_quota"),
        ),
        (
            r#"{"base_resp":{"status_code":1027,"status_msg":"m"}}"#,
            400,
            Some("content_filter"),
        ),
        (
            r#"{"base_resp":{"status_code":2013,"status_msg":"m"}}"#,
            400,
            Some("2013"),
        ),
        (
            r#"{"base_resp":{"status_code":1,"status_msg":"m"},"choices":[]}"#,
            500,
            Some("1"),
        ),
    ] {
        let got = Compatible::default()
            .answer("m", body.as_bytes())
            .unwrap()
            .unwrap_err();
        assert_eq!(
            (got.status, got.code.as_deref(), got.message.as_deref()),
            (status, code, Some("m")),
            "{body}"
        );
    }
    for (finish, status) in [
        ("error", 502),
        ("abort", 502),
        ("insufficient_system_resource", 503),
    ] {
        let body =
            json!({ "choices": [{ "message": { "content": "" }, "finish_reason": finish }] })
                .to_string();
        assert_eq!(
            Compatible::default()
                .answer("m", body.as_bytes())
                .unwrap()
                .unwrap_err()
                .status,
            status
        );
    }
    let fine =
        br#" {"error":null,"base_resp":{"status_code":0},"choices":[{"message":{"content":"a"}}]}"#;
    assert_eq!(
        Compatible::default()
            .answer("m", fine)
            .unwrap()
            .unwrap()
            .choices[0]
            .text
            .as_deref(),
        Some("a")
    );
    for body in ["", "{", "[]", "{}", r#"{"choices":[]}"#, "<html>"] {
        assert!(
            matches!(
                Compatible::default().answer("m", body.as_bytes()),
                Err(DecodeError::Malformed(_))
            ),
            "{body}"
        );
    }
}

#[test]
fn broken_characters_do_not_cost_the_answer() {
    for (written, read) in [
        (r"a\ud83d", "a\u{fffd}"),
        (r"\ude42\ud83d\ude42", "\u{fffd}\u{1f642}"),
        (r"\ud83d\ud83d\ude42x", "\u{fffd}\u{1f642}x"),
        (r"\\ud83d\ud83d", "\\ud83d\u{fffd}"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\uD83Dé", "\u{fffd}é"),
    ] {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"{written}"}}}}]}}"#);
        let got = Compatible::default()
            .answer("m", body.as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(got.choices[0].text.as_deref(), Some(read), "{written}");
    }
    let got = Compatible::default()
        .answer(
            "m",
            b"{\"choices\":[{\"message\":{\"content\":\"a\xff\"}}]}",
        )
        .unwrap()
        .unwrap();
    assert_eq!(got.choices[0].text.as_deref(), Some("a\u{fffd}"));
}

#[test]
fn what_an_answer_lacks_is_made_up_for() {
    let call = ToolCall {
        name: "f".into(),
        ..ToolCall::default()
    };
    let unsigned = Thought {
        text: "u".into(),
        ..Thought::default()
    };
    let signed = Thought {
        text: "s".into(),
        signature: Some(Sealed::new(Origin::Claude, "x")),
        redacted: None,
    };
    let choice = crate::chat::Choice {
        calls: vec![call.clone(), call],
        thoughts: vec![unsigned, signed],
        ..Default::default()
    };
    let answer = Answer {
        choices: vec![choice],
        ..Answer::default()
    };
    let reply = |legacy| -> Value {
        serde_json::from_slice(&Chat { legacy }.answer(&answer, &label())).unwrap()
    };
    let got = reply(false);
    assert_eq!(got["id"], "chatcmpl-seed");
    assert_eq!(got.get("usage"), None);
    let (one, message) = (&got["choices"][0], &got["choices"][0]["message"]);
    assert_eq!(
        (&one["finish_reason"], &message["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    assert_eq!(message["tool_calls"][1]["id"], "call_seed_0_1");
    assert_eq!(message["tool_calls"][1]["function"]["arguments"], "{}");
    assert_eq!(message["reasoning_content"], "us");
    assert_eq!(
        message["thinking_blocks"][0],
        json!({ "type": "thinking", "thinking": "u" })
    );
    let got = reply(true);
    let message = &got["choices"][0]["message"];
    assert_eq!(got["choices"][0]["finish_reason"], "function_call");
    assert_eq!(
        (
            message["function_call"]["name"].as_str(),
            message["tool_calls"].as_array().unwrap().len()
        ),
        (Some("f"), 1)
    );
}

#[test]
fn embeddings() {
    let asked = Embeddings {
        model: "e".into(),
        texts: vec!["a".into(), "b".into()],
        dimensions: Some(2),
        base64: true,
        user: Some("u".into()),
        other: json!({ "input_type": "query" })
            .as_object()
            .cloned()
            .unwrap(),
    };
    let able = able();
    let opts = options(r#"{"drop":"user,encoding_format","api_version":"v"}"#);
    let got = Compatible::default()
        .embeddings(
            &asked,
            Target {
                capabilities: &able,
                options: &opts,
                strict: false,
            },
        )
        .unwrap();
    assert_eq!(
        (got.path.as_str(), got.dropped.as_slice()),
        ("/embeddings?api-version=v", ["user".to_owned()].as_slice())
    );
    assert_eq!(
        body_of(&got),
        json!({ "model": "e", "input": ["a", "b"], "dimensions": 2, "input_type": "query" })
    );
    let got = Compatible::default()
        .embeddings(
            &asked,
            Target {
                capabilities: &able,
                options: &BTreeMap::new(),
                strict: true,
            },
        )
        .unwrap();
    assert_eq!(body_of(&got)["encoding_format"], "float");
    let header = |_: &str| None;
    let body = br#"{"data":[{"index":1,"embedding":[0.5,1]},{"index":0,"embedding":"AACAPwAAAMA="}],"usage":{"prompt_tokens":3.0}}"#;
    let got = Compatible::default().embedded(&header, body).unwrap();
    assert_eq!(
        got,
        Vectors {
            vectors: vec![vec![1.0, -2.0], vec![0.5, 1.0]],
            tokens: Some(3)
        }
    );
    for body in [
        "",
        "{}",
        r#"{"data":[{}]}"#,
        r#"{"data":[{"embedding":"AAA="}]}"#,
        r#"{"data":[{"embedding":["a"]}]}"#,
    ] {
        assert!(
            Compatible::default()
                .embedded(&header, body.as_bytes())
                .is_err(),
            "{body}"
        );
    }
}
