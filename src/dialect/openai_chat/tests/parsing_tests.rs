//! Requests of clients: what each field becomes, and what each mistake is
//! called.

use super::*;
use crate::chat::{
    CacheMark, Content, Format, Logprobs, Message, Reasoning, Source, Thought, Tool, ToolChoice,
    Turn,
};
use crate::chat::{Origin, Sealed};

/// A request with more fields, which replace those of the least request.
fn with(more: &Value) -> String {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn parse(more: &Value) -> Conversation {
    Chat::default()
        .parse(with(more).as_bytes())
        .unwrap_or_else(|e| panic!("{e}: {more}"))
}

fn message(message: &Value) -> Message {
    parse(&json!({ "messages": [message] }))
        .messages
        .pop()
        .unwrap()
}

fn turn(fields: &Value) -> Turn {
    let mut fields = fields.clone();
    fields["role"] = "assistant".into();
    match message(&fields) {
        Message::Assistant(turn) => turn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_shapes_are_named_by_their_place() {
    let user = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let second =
        |message: Value| json!({ "messages": [{ "role": "user", "content": "hi" }, message] });
    let calls = |call: Value| second(json!({ "role": "assistant", "tool_calls": [call] }));
    let tool = |tool: Value| json!({ "tools": [tool] });
    for (more, param) in [
        (json!({ "model": 1 }), "model"),
        (json!({ "model": null }), "model"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": "hi" }), "messages"),
        (json!({ "messages": ["hi"] }), "messages[0]"),
        (
            json!({ "messages": [{ "content": "hi" }] }),
            "messages[0].role",
        ),
        (
            json!({ "messages": [{ "role": "robot", "content": "hi" }] }),
            "messages[0].role",
        ),
        (
            json!({ "messages": [{ "role": "user" }] }),
            "messages[0].content",
        ),
        (user(json!(null)), "messages[0].content"),
        (user(json!(1)), "messages[0].content"),
        (user(json!([])), "messages[0].content"),
        (user(json!([1])), "messages[0].content[0]"),
        (
            user(json!([{ "text": "a" }])),
            "messages[0].content[0].type",
        ),
        (
            user(json!([{ "type": "refusal", "refusal": "a" }])),
            "messages[0].content[0].type",
        ),
        (
            user(json!([{ "type": "text" }])),
            "messages[0].content[0].text",
        ),
        (
            user(json!([{ "type": "text", "text": 1 }])),
            "messages[0].content[0].text",
        ),
        (
            user(json!([{ "type": "image_url" }])),
            "messages[0].content[0].image_url",
        ),
        (
            user(json!([{ "type": "image_url", "image_url": { "url": "" } }])),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!([{ "type": "image_url", "image_url": { "url": "data:image/png,x" } }])),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!([{ "type": "image_url", "image_url": { "url": "data:;base64,x" } }])),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!([{ "type": "input_audio", "input_audio": { "data": "" } }])),
            "messages[0].content[0].input_audio.format",
        ),
        (
            user(json!([{ "type": "file", "file": {} }])),
            "messages[0].content[0].file.file_data",
        ),
        (
            user(json!([{ "type": "file", "file": { "file_data": "QUJD" } }])),
            "messages[0].content[0].file.file_data",
        ),
        (
            user(json!([{ "type": "text", "text": "a", "cache_control": 1 }])),
            "messages[0].content[0].cache_control",
        ),
        (
            json!({ "messages": [{ "role": "system", "content": [{ "type": "image_url" }] }] }),
            "messages[0].content[0].type",
        ),
        (
            second(json!({ "role": "tool", "content": "r" })),
            "messages[1].tool_call_id",
        ),
        (
            second(json!({ "role": "tool", "tool_call_id": "x", "content": "r" })),
            "messages[1].tool_call_id",
        ),
        (
            second(json!({ "role": "function", "name": "f", "content": "r" })),
            "messages[1].name",
        ),
        (
            second(json!({ "role": "assistant", "audio": { "id": "a" } })),
            "messages[1].audio",
        ),
        (
            calls(json!({ "type": "function", "function": { "name": "f" } })),
            "messages[1].tool_calls[0].id",
        ),
        (
            calls(json!({ "id": "", "function": { "name": "f" } })),
            "messages[1].tool_calls[0].id",
        ),
        (
            calls(json!({ "id": "a", "type": "custom", "custom": {} })),
            "messages[1].tool_calls[0].type",
        ),
        (
            calls(json!({ "id": "a" })),
            "messages[1].tool_calls[0].function",
        ),
        (
            calls(json!({ "id": "a", "function": {} })),
            "messages[1].tool_calls[0].function.name",
        ),
        (
            calls(json!({ "id": "a", "function": { "name": "f", "arguments": 1 } })),
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            second(json!({ "role": "assistant", "thinking_blocks": [{ "type": "x" }] })),
            "messages[1].thinking_blocks[0].type",
        ),
        (
            second(
                json!({ "role": "assistant", "thinking_blocks": [{ "type": "redacted_thinking" }] }),
            ),
            "messages[1].thinking_blocks[0].data",
        ),
        (tool(json!({})), "tools[0].type"),
        (tool(json!({ "type": "function" })), "tools[0].function"),
        (
            tool(json!({ "type": "function", "function": { "name": "" } })),
            "tools[0].function.name",
        ),
        (
            tool(json!({ "type": "function", "function": { "name": "f", "parameters": 1 } })),
            "tools[0].function.parameters",
        ),
        (json!({ "tool_choice": "sometimes" }), "tool_choice"),
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (
            json!({ "tool_choice": { "type": "function", "function": { "name": "f" } } }),
            "tool_choice",
        ),
        (
            json!({ "tool_choice": { "type": "function" } }),
            "tool_choice.function",
        ),
        (json!({ "tool_choice": {} }), "tool_choice.type"),
        (
            json!({ "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "x" } } }),
            "tool_choice.allowed_tools.mode",
        ),
        (
            json!({ "functions": [{ "name": "f" }], "function_call": { "name": "g" } }),
            "function_call",
        ),
        (
            json!({ "functions": [{ "name": "f" }], "tools": [{ "type": "x" }] }),
            "functions",
        ),
        (json!({ "function_call": { "name": "g" } }), "function_call"),
        (
            json!({ "response_format": { "type": "json_schema" } }),
            "response_format.json_schema",
        ),
        (
            json!({ "response_format": { "type": "json_schema", "json_schema": {} } }),
            "response_format.json_schema.schema",
        ),
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": -1 }), "n"),
        (json!({ "max_tokens": 1.5 }), "max_tokens"),
        (json!({ "stop": [1] }), "stop[0]"),
        (json!({ "stop": 1 }), "stop"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (json!({ "logit_bias": [] }), "logit_bias"),
        (json!({ "reasoning_effort": 3 }), "reasoning_effort"),
        (
            json!({ "stream_options": { "include_usage": 1 } }),
            "stream_options.include_usage",
        ),
        (json!({ "metadata": 1 }), "metadata"),
    ] {
        let error = Chat::default()
            .parse(with(&more).as_bytes())
            .expect_err(&more.to_string());
        assert_eq!(
            (error.status(), error.param()),
            (400, Some(param)),
            "{more}: {error}"
        );
        assert!(error.public().contains(param), "{error}");
    }
    for body in ["", "[]", "{"] {
        assert_eq!(
            Chat::default().parse(body.as_bytes()).unwrap_err().code(),
            "invalid_json",
            "{body}"
        );
    }
}

#[test]
fn null_is_absent() {
    let fields = [
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_tokens",
        "temperature",
        "stop",
        "n",
        "logprobs",
        "user",
        "response_format",
        "reasoning_effort",
        "metadata",
        "stream",
        "stream_options",
        "modalities",
        "anything",
    ];
    let nulls = Value::Object(
        fields
            .iter()
            .map(|name| ((*name).to_owned(), Value::Null))
            .collect(),
    );
    assert_eq!(parse(&nulls), parse(&json!({})));
    let said = json!({ "modalities": ["text"], "logprobs": false, "top_logprobs": 0, "stream": false, "logit_bias": {} });
    assert_eq!(parse(&said), parse(&json!({})));
}

#[test]
fn settings() {
    let asked = parse(&json!({
        "max_tokens": 5, "max_completion_tokens": 7.0, "stop": "a", "logprobs": true, "top_k": -1, "stream": true,
        "stream_options": { "include_usage": true }, "store": true, "modalities": ["text", "audio"],
    }));
    assert_eq!(
        (asked.max_tokens, asked.stop, asked.sampling.top_k),
        (Some(7), vec!["a".to_owned()], None)
    );
    assert_eq!(asked.logprobs, Some(Logprobs { top: None }));
    assert!(asked.stream && asked.include_usage);
    let other = json!({ "store": true, "modalities": ["text", "audio"], "top_k": -1 });
    assert_eq!(Value::Object(asked.other), other);
    assert!(!parse(&json!({ "stream_options": { "include_usage": true } })).include_usage);
    let format = json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": {}, "strict": false } } });
    let expected = Format::JsonSchema {
        name: None,
        description: None,
        schema: json!({}),
        strict: Some(false),
    };
    assert_eq!(parse(&format).format, expected);
}

#[test]
fn ways_to_ask_for_thinking() {
    let asked = |effort: Option<&str>, budget, visible| {
        Some(Reasoning {
            effort: effort.map(str::to_owned),
            budget,
            visible,
        })
    };
    for (more, expected, left) in [
        (
            json!({ "reasoning_effort": "xhigh" }),
            asked(Some("xhigh"), None, None),
            0,
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 2048 } }),
            asked(None, Some(2048), None),
            0,
        ),
        (
            json!({ "thinking": { "type": "disabled" } }),
            asked(Some("none"), None, None),
            0,
        ),
        (
            json!({ "thinking": { "type": "disabled" }, "reasoning_effort": "low" }),
            asked(Some("low"), None, None),
            0,
        ),
        (json!({ "thinking": { "type": "enabled" } }), None, 1),
        (json!({ "thinking": true }), None, 1),
        (
            json!({ "reasoning": { "effort": "low", "exclude": true } }),
            asked(Some("low"), None, Some(false)),
            0,
        ),
        (
            json!({ "reasoning": { "max_tokens": 9 } }),
            asked(None, Some(9), None),
            0,
        ),
        (json!({ "reasoning": { "enabled": true } }), None, 1),
    ] {
        let got = parse(&more);
        assert_eq!((got.reasoning, got.other.len()), (expected, left), "{more}");
    }
}

#[test]
fn tools_and_choices() {
    let tools = json!([
        { "type": "function", "function": { "name": "f", "parameters": null }, "cache_control": { "type": "ephemeral" } },
        { "function": { "name": "g" } },
        { "type": "custom", "custom": { "name": "c" } },
        { "type": "web_search" },
    ]);
    let asked = parse(&json!({ "tools": tools }));
    let names: Vec<&str> = asked.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["f", "g", "c", "web_search"]);
    assert_eq!(
        asked.tools[0],
        Tool {
            name: "f".into(),
            cache: Some(CacheMark::default()),
            ..Tool::default()
        }
    );
    assert_eq!(asked.tools[2].foreign, Some(tools[2].clone()));
    let named = |names: &[&str]| {
        json!(
            names
                .iter()
                .map(|n| json!({ "type": "function", "function": { "name": n } }))
                .collect::<Vec<_>>()
        )
    };
    let custom = json!({ "type": "custom", "custom": { "name": "c" } });
    let mixed =
        json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [custom] } });
    for (choice, expected) in [
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (json!("any"), ToolChoice::Required),
        (
            json!({ "type": "function", "function": { "name": "f" } }),
            ToolChoice::Function("f".into()),
        ),
        (
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": named(&["f", "g"]) } }),
            ToolChoice::Allowed {
                required: false,
                names: vec!["f".into(), "g".into()],
            },
        ),
        (custom.clone(), ToolChoice::Foreign(custom.to_string())),
        (mixed.clone(), ToolChoice::Foreign(mixed.to_string())),
    ] {
        let asked = parse(&json!({ "tools": tools, "tool_choice": choice }));
        assert_eq!(asked.tool_choice, Some(expected), "{choice}");
    }
    assert_eq!(parse(&json!({ "tool_choice": "auto" })).tool_choice, None);
}

#[test]
fn functions_are_tools() {
    let functions = json!([{ "name": "f", "parameters": {} }]);
    for (choice, expected) in [
        (json!(null), None),
        (json!("none"), Some(ToolChoice::None)),
        (json!("auto"), Some(ToolChoice::Auto)),
        (
            json!({ "name": "f" }),
            Some(ToolChoice::Function("f".into())),
        ),
    ] {
        let asked = parse(&json!({ "functions": functions, "function_call": choice }));
        assert_eq!((asked.tools.len(), asked.tool_choice), (1, expected));
        assert_eq!(asked.parallel_tool_calls, Some(false));
        assert!(asked.other.is_empty());
    }
    assert!(Chat::of(with(&json!({ "functions": functions })).as_bytes()).legacy);
    assert!(!Chat::of(with(&json!({ "functions": functions, "tools": [{}] })).as_bytes()).legacy);
    assert!(!Chat::of(b"{").legacy);
}

#[test]
fn signatures_come_back_in_every_way() {
    let function = json!({ "name": "f", "arguments": "{}" });
    for call in [
        json!({ "id": "a", "function": function, "extra_content": { "google": { "thought_signature": "Zw==" } } }),
        json!({ "id": "a", "function": function, "provider_specific_fields": { "thought_signature": "Zw==" } }),
        json!({ "id": "a", "function": { "name": "f", "arguments": "{}", "provider_specific_fields": { "thought_signature": "Zw==" } } }),
        json!({ "id": "a__thought__Zw==", "function": function }),
    ] {
        let call = turn(&json!({ "tool_calls": [call] })).calls.pop().unwrap();
        assert_eq!(
            (
                call.id.as_str(),
                call.signature.as_ref().map(|s| s.text.as_str())
            ),
            ("a", Some("Zw=="))
        );
    }
}

#[test]
fn thoughts_come_back_in_every_way() {
    let signed = Thought {
        text: "t".into(),
        signature: Some(Sealed::new(Origin::Claude, "s")),
        redacted: None,
    };
    let plain = Thought {
        signature: None,
        ..signed.clone()
    };
    let hidden = Thought {
        redacted: Some(Sealed::new(Origin::Claude, "r")),
        ..Thought::default()
    };
    let blocks = json!([{ "type": "thinking", "thinking": "t", "signature": "s" }, { "type": "redacted_thinking", "data": "r" }]);
    for (fields, expected) in [
        (
            json!({ "thinking_blocks": blocks, "reasoning_content": "t" }),
            vec![signed.clone(), hidden.clone()],
        ),
        (
            json!({ "provider_specific_fields": { "thinking_blocks": blocks } }),
            vec![signed, hidden],
        ),
        (json!({ "reasoning_content": "t" }), vec![plain.clone()]),
        (
            json!({ "reasoning": "t", "thinking_blocks": [] }),
            vec![plain.clone()],
        ),
        (
            json!({ "content": [{ "type": "thinking", "thinking": "t" }] }),
            vec![plain.clone()],
        ),
        (
            json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "t" }] }] }),
            vec![plain],
        ),
        (json!({ "reasoning_content": "", "content": null }), vec![]),
    ] {
        assert_eq!(turn(&fields).thoughts, expected, "{fields}");
    }
}

#[test]
fn contents() {
    let Message::User { parts, .. } = message(
        &json!({ "role": "user", "cache_control": { "type": "ephemeral", "ttl": "1h" }, "content": [
        "bare",
        { "type": "image_url", "image_url": "https://example.com/a.png" },
        { "type": "file", "file": { "file_data": "JVBERi0x" } },
        { "type": "file", "file": { "file_id": "gs://bucket/a.pdf" } },
    ] }),
    ) else {
        panic!("not a user's message");
    };
    let pdf = Source::Inline {
        media_type: "application/pdf".into(),
        data: "JVBERi0x".into(),
    };
    let contents: Vec<Content> = parts.iter().map(|part| part.content.clone()).collect();
    assert_eq!(
        contents,
        [
            Content::Text("bare".into()),
            Content::Image {
                source: Source::Url("https://example.com/a.png".into()),
                detail: None
            },
            Content::File {
                source: pdf,
                name: None
            },
            Content::File {
                source: Source::Url("gs://bucket/a.pdf".into()),
                name: None
            },
        ]
    );
    let marks: Vec<bool> = parts.iter().map(|part| part.cache.is_some()).collect();
    assert_eq!(marks, [false, false, false, true]);
    let turn = turn(&json!({ "content": null, "refusal": "no", "name": "bot" }));
    assert_eq!(
        (turn.parts[0].content.clone(), turn.name.as_deref()),
        (Content::Refusal("no".into()), Some("bot"))
    );
}
