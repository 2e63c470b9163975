//! Requests: each row of the mapping, each generation of models.

use super::Anthropic;
use super::tests::golden;
use crate::chat::{
    CacheMark, Capabilities, Content, Conversation, Format, Logprobs, Message, Part, Reasoning,
    Sampling, SamplingRule, Source, Thinking, Thought, Tool, ToolCall, ToolChoice, Turn,
    Unsupported,
};
use crate::chat::{Origin, Sealed};
use crate::dialect::{Dialect as _, Embeddings, Rendered, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Sonnet 4.5 and its like.
fn budget() -> Capabilities {
    Capabilities {
        sampling: SamplingRule::One,
        thinking: Thinking::Budget,
        max_output: Some(64_000),
        ..Capabilities::default()
    }
}

/// Opus 4.8 and its like.
fn adaptive() -> Capabilities {
    Capabilities {
        sampling: SamplingRule::None,
        thinking: Thinking::Adaptive,
        max_output: Some(128_000),
        prefill: false,
        mid_system: true,
        ..Capabilities::default()
    }
}

struct Asking {
    able: Capabilities,
    options: BTreeMap<String, String>,
    strict: bool,
}

impl Asking {
    fn of(able: Capabilities) -> Self {
        Self {
            able,
            options: BTreeMap::new(),
            strict: false,
        }
    }

    fn option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    fn target(&self) -> Target<'_> {
        Target {
            capabilities: &self.able,
            options: &self.options,
            strict: self.strict,
        }
    }

    fn chat(&self, asked: &Conversation) -> Result<Rendered, Unsupported> {
        Anthropic.chat(asked, self.target())
    }

    /// The body, and what was dropped.
    fn sends(&self, asked: &Conversation) -> (Value, Vec<String>) {
        let rendered = self.chat(asked).expect("it can be sent");
        let body = serde_json::from_slice(&rendered.body).expect("it is JSON");
        (body, rendered.dropped)
    }

    fn refuses(&self, asked: &Conversation) -> String {
        self.chat(asked).expect_err("it cannot be sent").param
    }
}

fn says(messages: Vec<Message>) -> Conversation {
    Conversation {
        model: "claude-x".into(),
        messages,
        ..Conversation::default()
    }
}

fn hi() -> Conversation {
    says(vec![user("hi")])
}

fn user(text: &str) -> Message {
    user_parts(vec![Part::text(text)])
}

fn user_parts(parts: Vec<Part>) -> Message {
    Message::User { parts, name: None }
}

fn system(text: &str) -> Message {
    Message::System {
        parts: vec![Part::text(text)],
    }
}

fn assistant(text: &str) -> Message {
    Message::Assistant(Turn {
        parts: vec![Part::text(text)],
        ..Turn::default()
    })
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        signature: None,
        ..ToolCall::default()
    }
}

fn calls(calls: Vec<ToolCall>) -> Message {
    Message::Assistant(Turn {
        calls,
        ..Turn::default()
    })
}

fn result(id: &str, text: &str) -> Message {
    Message::Tool {
        call_id: id.into(),
        parts: vec![Part::text(text)],
        is_error: false,
    }
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.into(),
        ..Tool::default()
    }
}

fn marked(text: &str, ttl: Option<&str>) -> Part {
    let cache = Some(CacheMark {
        ttl: ttl.map(str::to_owned),
    });
    Part {
        cache,
        ..Part::text(text)
    }
}

fn with_other(name: &str, value: Value) -> Conversation {
    let mut asked = hi();
    asked.other.insert(name.into(), value);
    asked
}

fn texts(texts: &[&str]) -> Value {
    texts
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect()
}

#[test]
fn the_worked_example_is_written_as_it_should_be() {
    let city =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let picture = Content::Image {
        source: Source::from_url("data:image/png;base64,iVBORw0KGgo="),
        detail: None,
    };
    let asked = Conversation {
        model: "claude-sonnet-4-5".into(),
        tools: vec![
            Tool {
                description: Some("Weather by city".into()),
                parameters: Some(city),
                ..tool("get_weather")
            },
            Tool {
                parameters: Some(json!({"type": "object", "properties": {}})),
                ..tool("get_time")
            },
        ],
        tool_choice: Some(ToolChoice::Required),
        sampling: Sampling {
            temperature: Some(0.2),
            ..Sampling::default()
        },
        max_tokens: Some(200),
        stop: vec!["\n\n".into()],
        parallel_tool_calls: Some(false),
        ..says(vec![
            system("You are terse."),
            user_parts(vec![
                Part::text("Weather where this was taken, and the time?"),
                Part {
                    content: picture,
                    cache: None,
                },
            ]),
            Message::Assistant(Turn {
                parts: vec![Part::text("Checking.")],
                calls: vec![
                    call("call_1", "get_weather", "{\"city\":\"Oslo\"}"),
                    call("call_2", "get_time", "{}"),
                ],
                ..Turn::default()
            }),
            result("call_1", "3C, snow"),
            result("call_2", "{\"iso\":\"12:00\"}"),
            user("Now in one line."),
        ])
    };
    let (body, dropped) = Asking::of(budget()).sends(&asked);
    let path = golden("request/example.provider.json");
    let expected = std::fs::read(path).expect("the case can be read");
    assert_eq!(
        body,
        serde_json::from_slice::<Value>(&expected).expect("it is JSON")
    );
    // White space alone is a stop sequence that the API refuses.
    assert_eq!(dropped, ["stop"]);
}

#[test]
fn path_and_headers_are_anthropics() {
    let rendered = Asking::of(budget()).chat(&hi()).expect("it can be sent");
    assert_eq!(rendered.path, "/messages");
    assert_eq!(
        rendered.headers,
        [("anthropic-version", "2023-06-01".to_owned())]
    );
    let asking = Asking::of(budget())
        .option("anthropic_version", "2026-10-21")
        .option("anthropic_beta", "a,b");
    let expected = [
        ("anthropic-version", "2026-10-21".to_owned()),
        ("anthropic-beta", "a,b".to_owned()),
    ];
    assert_eq!(
        asking.chat(&hi()).expect("it can be sent").headers,
        expected
    );
}

#[test]
fn the_smallest_request_has_nothing_more() {
    let (body, dropped) = Asking::of(budget()).sends(&hi());
    let messages = json!([{"role": "user", "content": texts(&["hi"])}]);
    let expected = json!({"model": "claude-x", "max_tokens": 64_000, "messages": messages});
    assert_eq!((body, dropped), (expected, vec![]));
    let streamed = Conversation {
        stream: true,
        include_usage: true,
        ..hi()
    };
    assert_eq!(Asking::of(budget()).sends(&streamed).0["stream"], true);
}

#[test]
fn leading_instructions_stay_apart_and_later_ones_keep_their_place() {
    let asked = says(vec![
        system("a"),
        system(" "),
        Message::System {
            parts: vec![marked("b", Some("1h")), Part::text("")],
        },
        user("1"),
        assistant("2"),
        system("c"),
        user("3"),
    ]);
    let (body, _) = Asking::of(budget()).sends(&asked);
    let marked =
        json!({"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}});
    assert_eq!(
        body["system"],
        json!([{"type": "text", "text": "a"}, marked])
    );
    assert_eq!(
        body["messages"][2],
        json!({"role": "user", "content": texts(&["c", "3"])})
    );
    let (body, _) = Asking::of(adaptive()).sends(&asked);
    let after = json!([
        {"role": "user", "content": texts(&["1"])},
        {"role": "assistant", "content": texts(&["2"])},
        {"role": "user", "content": texts(&["3"])},
        {"role": "system", "content": texts(&["c"])},
    ]);
    assert_eq!(body["messages"], after);
}

#[test]
fn instructions_at_the_end_are_never_a_prefill() {
    let asked = says(vec![user("1"), assistant("2"), system("c")]);
    for able in [budget(), adaptive()] {
        let (body, _) = Asking::of(able).sends(&asked);
        assert_eq!(
            body["messages"][2],
            json!({"role": "user", "content": texts(&["c"])})
        );
    }
    let picture = Content::Image {
        source: Source::Url("https://a/b".into()),
        detail: None,
    };
    let parts = vec![Part {
        content: picture,
        cache: None,
    }];
    let asked = says(vec![Message::System { parts }, user("1")]);
    assert_eq!(
        Asking::of(budget()).refuses(&asked),
        "messages[0].content[0]"
    );
}

#[test]
fn blank_texts_are_left_out_and_nothing_is_put_in_their_place() {
    let asked = says(vec![
        user_parts(vec![Part::text(""), Part::text("1"), Part::text("\n")]),
        assistant(""),
        calls(vec![]),
        user("2"),
    ]);
    let (body, _) = Asking::of(budget()).sends(&asked);
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": texts(&["1", "2"])}])
    );
    for nothing in [vec![], vec![user("")], vec![system("a")]] {
        assert_eq!(Asking::of(budget()).refuses(&says(nothing)), "messages");
    }
}

#[test]
fn results_of_a_turn_come_together_and_before_any_text() {
    let asked = says(vec![
        user("1"),
        calls(vec![
            call("a", "f", ""),
            call("b.c", "f", " {\"x\": 1.0}\n"),
        ]),
        user("meanwhile"),
        result("a", "A"),
        Message::Tool {
            call_id: "b.c".into(),
            parts: vec![Part::text("B"), marked("C", None)],
            is_error: true,
        },
        user("then"),
    ]);
    let (body, _) = Asking::of(budget()).sends(&asked);
    let id = body["messages"][1]["content"][1]["id"].clone();
    assert!(
        id.as_str().is_some_and(|id| id.starts_with("call_")),
        "{id}"
    );
    let expected = json!([
        {"role": "user", "content": texts(&["1"])},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "f", "input": {}},
            {"type": "tool_use", "id": id, "name": "f", "input": {"x": 1.0}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "A"},
            {"type": "tool_result", "tool_use_id": id, "content": texts(&["B", "C"]),
             "is_error": true, "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "meanwhile"},
            {"type": "text", "text": "then"},
        ]},
    ]);
    assert_eq!(body["messages"], expected);
    let empty = says(vec![
        user("1"),
        calls(vec![call("a", "f", "")]),
        result("a", ""),
    ]);
    let bare = json!([{"type": "tool_result", "tool_use_id": "a"}]);
    assert_eq!(
        Asking::of(budget()).sends(&empty).0["messages"][2]["content"],
        bare
    );
}

#[test]
fn arguments_stay_as_the_model_wrote_them() {
    let written = r#"{"z":1.0,"a":12345678901234567890123}"#;
    let asked = says(vec![
        user("1"),
        calls(vec![call("a", "f", written)]),
        result("a", "A"),
    ]);
    let body = Asking::of(budget())
        .chat(&asked)
        .expect("it can be sent")
        .body;
    assert!(String::from_utf8_lossy(&body).contains(written));
    for broken in ["{", "[]", "\"x\"", "{} {}"] {
        let wrong = vec![call("a", "f", ""), call("b", "f", broken)];
        let asked = says(vec![user("1"), calls(wrong)]);
        let param = "messages[1].tool_calls[1].function.arguments";
        assert_eq!(Asking::of(budget()).refuses(&asked), param, "{broken}");
    }
}

#[test]
fn thoughts_come_first_with_their_signatures() {
    let turn = Turn {
        thoughts: vec![
            Thought {
                text: "t".into(),
                signature: Some(Sealed::new(Origin::Claude, "s")),
                redacted: None,
            },
            Thought {
                redacted: Some(Sealed::new(Origin::Claude, "r")),
                ..Thought::default()
            },
            Thought {
                text: "lost".into(),
                ..Thought::default()
            },
        ],
        parts: vec![
            Part::text("x"),
            Part {
                content: Content::Refusal("no".into()),
                cache: None,
            },
        ],
        calls: vec![ToolCall {
            signature: Some(Sealed::new(Origin::Gemini, "g")),
            ..call("a", "f", "")
        }],
        name: Some("me".into()),
        ..Turn::default()
    };
    let asked = says(vec![user("1"), Message::Assistant(turn), result("a", "A")]);
    let (body, dropped) = Asking::of(budget()).sends(&asked);
    let expected = json!([
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "text", "text": "x"},
        {"type": "text", "text": "no"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
    ]);
    assert_eq!(body["messages"][1]["content"], expected);
    let lost = [
        "messages[].name",
        "messages[].reasoning_content",
        "messages[].tool_calls[].thought_signature",
    ];
    assert_eq!(dropped, lost);
}

#[test]
fn a_last_assistant_message_is_a_prefill() {
    let asked = says(vec![user("1"), assistant("{\"a\":  \n")]);
    let (body, _) = Asking::of(budget()).sends(&asked);
    assert_eq!(body["messages"][1]["content"], texts(&["{\"a\":"]));
    assert_eq!(Asking::of(adaptive()).refuses(&asked), "messages[1]");
    // One at the beginning is nothing special.
    let first = says(vec![assistant("1 "), assistant("2"), user("3")]);
    let (body, _) = Asking::of(adaptive()).sends(&first);
    assert_eq!(body["messages"][0]["content"], texts(&["1 ", "2"]));
}

#[test]
fn parts_become_blocks() {
    let image = |url: &str| Content::Image {
        source: Source::from_url(url),
        detail: None,
    };
    let file = |source: Source| Content::File {
        source,
        name: Some("n".into()),
    };
    let inline = |kind: &str, data: &str| Source::Inline {
        media_type: kind.into(),
        data: data.into(),
    };
    #[rustfmt::skip]
    let table = [
        (image("data:image/jpg;base64,QQ=="), json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QQ=="}})),
        (image("https://a/b.png"), json!({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}})),
        (Content::Image { source: Source::Id("file_1".into()), detail: Some("auto".into()) }, json!({"type": "image", "source": {"type": "file", "file_id": "file_1"}})),
        (file(inline("application/pdf", "QQ==")), json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}, "title": "n"})),
        (file(inline("text/plain", "SMOkIQ==")), json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hä!"}, "title": "n"})),
        (file(Source::Url("https://a/b.pdf".into())), json!({"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}, "title": "n"})),
        (file(Source::Id("file_1".into())), json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}, "title": "n"})),
        (Content::Refusal("no".into()), json!({"type": "text", "text": "no"})),
    ];
    for (content, block) in table {
        let asked = says(vec![user_parts(vec![Part {
            content,
            cache: None,
        }])]);
        let (body, dropped) = Asking::of(budget()).sends(&asked);
        assert_eq!(
            (&body["messages"][0]["content"][0], dropped),
            (&block, vec![])
        );
    }
    let refused = [
        image("http://a/b.png"),
        image("data:image/png,raw"),
        image("data:image/tiff;base64,QQ=="),
        file(inline("text/plain", "/w==")),
        file(inline("application/zip", "QQ==")),
        file(Source::Id("file-1".into())),
        Content::Audio {
            data: "QQ==".into(),
            format: "wav".into(),
        },
    ];
    for content in refused {
        let parts = vec![
            Part::text("1"),
            Part {
                content,
                cache: None,
            },
        ];
        let param = Asking::of(budget()).refuses(&says(vec![user_parts(parts)]));
        assert_eq!(param, "messages[0].content[1]");
    }
}

#[test]
fn what_a_model_cannot_see_is_refused() {
    let blind = Capabilities {
        images: false,
        documents: false,
        tools: false,
        ..budget()
    };
    let source = || Source::Url("https://a/b".into());
    for content in [
        Content::Image {
            source: source(),
            detail: None,
        },
        Content::File {
            source: source(),
            name: None,
        },
    ] {
        let asked = says(vec![user_parts(vec![Part {
            content,
            cache: None,
        }])]);
        assert_eq!(
            Asking::of(blind.clone()).refuses(&asked),
            "messages[0].content[0]"
        );
    }
    let asked = Conversation {
        tools: vec![tool("f")],
        ..hi()
    };
    assert_eq!(Asking::of(blind).refuses(&asked), "tools");
    let content = Content::Image {
        source: source(),
        detail: Some("low".into()),
    };
    let asked = says(vec![user_parts(vec![Part {
        content,
        cache: None,
    }])]);
    assert_eq!(Asking::of(budget()).sends(&asked).1, ["image_url.detail"]);
}

#[test]
fn sampling_follows_the_generation() {
    type Case = (SamplingRule, Sampling, Value, &'static [&'static str]);
    let of = |temperature, top_p, top_k| Sampling {
        temperature,
        top_p,
        top_k,
        ..Sampling::default()
    };
    #[rustfmt::skip]
    let table: [Case; 7] = [
        (SamplingRule::Free, of(Some(0.5), Some(0.9), Some(4)), json!([0.5, 0.9, 4]), &[]),
        (SamplingRule::Free, of(Some(1.7), None, None), json!([1.0, null, null]), &["temperature"]),
        (SamplingRule::One, of(Some(0.5), Some(0.9), Some(4)), json!([0.5, null, 4]), &["top_p"]),
        (SamplingRule::One, of(None, Some(0.9), None), json!([null, 0.9, null]), &[]),
        (SamplingRule::One, of(Some(0.5), Some(1.0), None), json!([0.5, null, null]), &[]),
        (SamplingRule::None, of(Some(0.5), Some(0.9), Some(4)), json!([null, null, null]), &["temperature", "top_p", "top_k"]),
        (SamplingRule::None, of(Some(1.0), Some(1.0), None), json!([null, null, null]), &[]),
    ];
    for (rule, sampling, sent, lost) in table {
        let able = Capabilities {
            sampling: rule,
            ..budget()
        };
        let asked = Conversation { sampling, ..hi() };
        let (body, dropped) = Asking::of(able).sends(&asked);
        assert_eq!(
            json!([body["temperature"], body["top_p"], body["top_k"]]),
            sent
        );
        assert_eq!(dropped, lost);
    }
    let asked = Conversation {
        sampling: of(Some(0.5), None, None),
        ..hi()
    };
    let newer = Asking::of(budget()).option("anthropic_version", "2026-10-21");
    assert_eq!(newer.sends(&asked).1, ["temperature"]);
    let other = Asking::of(budget()).option("anthropic_version", "vertex-2023-10-16");
    assert_eq!(other.sends(&asked).0["temperature"], 0.5);
    let strict = Asking {
        strict: true,
        ..newer
    };
    assert_eq!(strict.refuses(&asked), "temperature");
}

#[test]
fn thinking_takes_sampling_away() {
    let reasoning = Some(Reasoning {
        effort: Some("low".into()),
        ..Reasoning::default()
    });
    let of = |temperature, top_p| Conversation {
        sampling: Sampling {
            temperature,
            top_p,
            top_k: None,
            ..Sampling::default()
        },
        reasoning: reasoning.clone(),
        ..hi()
    };
    let (body, dropped) = Asking::of(budget()).sends(&of(Some(0.2), Some(0.5)));
    assert_eq!(dropped, ["temperature", "top_p"]);
    assert!(body.get("temperature").is_none() && body.get("top_p").is_none());
    let (body, dropped) = Asking::of(budget()).sends(&of(Some(1.0), Some(0.96)));
    assert_eq!((&body["top_p"], dropped), (&json!(0.96), vec![]));
}

fn thinks(effort: Option<&str>, budget: Option<u64>, visible: Option<bool>) -> Conversation {
    let effort = effort.map(str::to_owned);
    Conversation {
        reasoning: Some(Reasoning {
            effort,
            budget,
            visible,
        }),
        ..hi()
    }
}

#[test]
fn older_models_think_by_budget() {
    #[rustfmt::skip]
    let table = [
        (thinks(Some("none"), None, None), Value::Null),
        (thinks(None, None, Some(true)), Value::Null),
        (thinks(None, Some(0), None), Value::Null),
        (thinks(Some("minimal"), None, None), json!({"type": "enabled", "budget_tokens": 1024})),
        (thinks(Some("low"), None, None), json!({"type": "enabled", "budget_tokens": 1024})),
        (thinks(Some("medium"), None, None), json!({"type": "enabled", "budget_tokens": 2048})),
        (thinks(Some("high"), None, None), json!({"type": "enabled", "budget_tokens": 4096})),
        (thinks(Some("xhigh"), None, None), json!({"type": "enabled", "budget_tokens": 8192})),
        (thinks(Some("max"), None, None), json!({"type": "enabled", "budget_tokens": 16384})),
        (thinks(Some("low"), Some(5000), Some(false)), json!({"type": "enabled", "budget_tokens": 5000, "display": "omitted"})),
        (thinks(None, Some(7), None), json!({"type": "enabled", "budget_tokens": 1024})),
    ];
    for (asked, thinking) in table {
        let (body, dropped) = Asking::of(budget()).sends(&asked);
        assert_eq!(
            (&body["thinking"], dropped),
            (&thinking, vec![]),
            "{:?}",
            asked.reasoning
        );
        assert!(body.get("output_config").is_none());
    }
    let asked = thinks(Some("somewhat"), None, None);
    assert_eq!(Asking::of(budget()).refuses(&asked), "reasoning_effort");
    let asked = thinks(Some("high"), None, None);
    let none = Asking::of(Capabilities::default());
    assert_eq!(none.sends(&asked).1, ["reasoning_effort"]);
    assert!(none.sends(&thinks(Some("none"), None, None)).1.is_empty());
}

#[test]
fn newer_models_think_by_effort() {
    let shown = json!({"type": "adaptive", "display": "summarized"});
    #[rustfmt::skip]
    let table = [
        (thinks(Some("none"), None, None), json!({"type": "disabled"}), Value::Null),
        (thinks(None, Some(0), None), json!({"type": "disabled"}), Value::Null),
        (thinks(Some("minimal"), None, None), shown.clone(), json!("low")),
        (thinks(Some("low"), None, Some(true)), shown.clone(), json!("low")),
        (thinks(Some("xhigh"), None, Some(false)), json!({"type": "adaptive", "display": "omitted"}), json!("xhigh")),
        (thinks(None, Some(1024), None), shown.clone(), json!("low")),
        (thinks(None, Some(2048), None), shown.clone(), json!("medium")),
        (thinks(None, Some(9999), None), shown.clone(), json!("high")),
        (thinks(Some("newest"), None, None), shown.clone(), json!("newest")),
        (thinks(None, None, Some(true)), shown, Value::Null),
        (thinks(None, None, None), Value::Null, Value::Null),
    ];
    for (asked, thinking, effort) in table {
        let (body, dropped) = Asking::of(adaptive()).sends(&asked);
        let found = (&body["thinking"], &body["output_config"]["effort"]);
        assert_eq!(
            (found, dropped),
            ((&thinking, &effort), vec![]),
            "{:?}",
            asked.reasoning
        );
    }
}

#[test]
fn an_effort_that_a_model_lacks_is_the_nearest_below() {
    let efforts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let able = Capabilities {
        effort: efforts(&["medium", "high", "max"]),
        ..adaptive()
    };
    for (asked, sent) in [("xhigh", "high"), ("low", "medium"), ("minimal", "medium")] {
        let (body, dropped) = Asking::of(able.clone()).sends(&thinks(Some(asked), None, None));
        assert_eq!(body["output_config"]["effort"], sent);
        assert_eq!(dropped, ["reasoning_effort"]);
    }
    let asked = thinks(Some("newest"), None, None);
    assert_eq!(Asking::of(able).refuses(&asked), "reasoning_effort");
    let always = Capabilities {
        thinks_always: true,
        ..adaptive()
    };
    let (body, dropped) = Asking::of(always).sends(&thinks(Some("none"), None, None));
    assert_eq!(
        (body.get("thinking"), dropped),
        (None, vec!["reasoning_effort".to_owned()])
    );
}

#[test]
fn the_limit_exceeds_the_budget() {
    #[rustfmt::skip]
    let table = [
        (None, None, Some(64_000), 64_000),
        (None, None, None, 64_000),
        (Some(0), None, Some(64_000), 0),
        (Some(200), Some("high"), Some(64_000), 4_296),
        (Some(5_000), Some("high"), Some(64_000), 5_000),
        (Some(4_096), Some("high"), Some(5_000), 5_000),
    ];
    for (max_tokens, effort, max_output, sent) in table {
        let able = Capabilities {
            max_output,
            ..budget()
        };
        let reasoning = thinks(effort, None, None).reasoning;
        let asked = Conversation {
            max_tokens,
            reasoning,
            ..hi()
        };
        assert_eq!(Asking::of(able).sends(&asked).0["max_tokens"], sent);
    }
}

#[test]
fn a_forced_tool_and_thinking_exclude_each_other() {
    let forced = |effort: Option<&str>| Conversation {
        tools: vec![tool("f")],
        tool_choice: Some(ToolChoice::Function("f".into())),
        reasoning: effort.and_then(|effort| thinks(Some(effort), None, None).reasoning),
        ..hi()
    };
    let (body, dropped) = Asking::of(budget()).sends(&forced(Some("high")));
    assert_eq!(body.get("thinking"), None);
    assert_eq!(dropped, ["reasoning_effort"]);
    for (effort, lost) in [(Some("high"), 1), (Some("none"), 0), (None, 0)] {
        let (body, dropped) = Asking::of(adaptive()).sends(&forced(effort));
        assert_eq!(
            (&body["thinking"], dropped.len()),
            (&json!({"type": "disabled"}), lost)
        );
    }
    let always = Capabilities {
        thinks_always: true,
        ..adaptive()
    };
    assert_eq!(Asking::of(always).refuses(&forced(None)), "tool_choice");
    let free = Capabilities {
        forced_tools: false,
        ..adaptive()
    };
    assert_eq!(Asking::of(free).refuses(&forced(None)), "tool_choice");
}

#[test]
fn a_tool_loop_without_its_thoughts_goes_on_without_thinking() {
    let with = |thoughts: Vec<Thought>| Conversation {
        reasoning: thinks(Some("low"), None, None).reasoning,
        tools: vec![tool("f")],
        ..says(vec![
            user("1"),
            Message::Assistant(Turn {
                thoughts,
                calls: vec![call("a", "f", "")],
                ..Turn::default()
            }),
            result("a", "A"),
        ])
    };
    let kept = Thought {
        text: "t".into(),
        signature: Some(Sealed::new(Origin::Claude, "s")),
        redacted: None,
    };
    let (body, dropped) = Asking::of(budget()).sends(&with(vec![kept]));
    assert_eq!(
        (&body["thinking"]["type"], dropped),
        (&json!("enabled"), vec![])
    );
    let (body, dropped) = Asking::of(budget()).sends(&with(vec![]));
    assert_eq!((body.get("thinking"), dropped.len()), (None, 1));
    let (body, dropped) = Asking::of(adaptive()).sends(&with(vec![]));
    assert_eq!(
        (&body["thinking"]["type"], dropped),
        (&json!("adaptive"), vec![])
    );
}

#[test]
fn tools_have_schemas_of_objects() {
    let any = json!({"type": "object", "properties": {}});
    #[rustfmt::skip]
    let table = [
        (None, any.clone()),
        (Some(json!({})), any),
        (Some(json!({"required": ["a"]})), json!({"type": "object", "required": ["a"]})),
        (Some(json!({"type": "object", "x": 1})), json!({"type": "object", "x": 1})),
    ];
    for (parameters, schema) in table {
        let cache = Some(CacheMark {
            ttl: Some("5m".into()),
        });
        let offered = Tool {
            parameters,
            strict: Some(true),
            cache,
            ..tool("f")
        };
        let asked = Conversation {
            tools: vec![offered],
            ..hi()
        };
        let expected = json!([{"name": "f", "input_schema": schema, "strict": true,
            "cache_control": {"type": "ephemeral", "ttl": "5m"}}]);
        assert_eq!(Asking::of(budget()).sends(&asked).0["tools"], expected);
    }
    for wrong in [json!({"type": "string"}), json!(7)] {
        let offered = Tool {
            parameters: Some(wrong),
            ..tool("f")
        };
        let asked = Conversation {
            tools: vec![tool("e"), offered],
            ..hi()
        };
        let param = Asking::of(budget()).refuses(&asked);
        assert_eq!(param, "tools[1].function.parameters");
    }
}

#[test]
fn anthropics_own_tools_pass_and_others_do_not() {
    let own = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 2});
    let foreign = |value: &Value| Conversation {
        tools: vec![Tool {
            foreign: Some(value.clone()),
            ..tool("x")
        }],
        ..hi()
    };
    assert_eq!(
        Asking::of(budget()).sends(&foreign(&own)).0["tools"],
        json!([own])
    );
    for other in [
        json!({"type": "custom", "custom": {"name": "x"}}),
        json!({"type": "a_2025"}),
    ] {
        assert_eq!(Asking::of(budget()).refuses(&foreign(&other)), "tools[0]");
    }
}

fn chooses(choice: Option<ToolChoice>, parallel: Option<bool>) -> Conversation {
    Conversation {
        tools: vec![tool("f"), tool("g")],
        tool_choice: choice,
        parallel_tool_calls: parallel,
        ..hi()
    }
}

fn allowed(required: bool, names: &[&str]) -> ToolChoice {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    ToolChoice::Allowed { required, names }
}

#[test]
fn tool_choices_are_translated() {
    use ToolChoice as C;
    let named = || Some(C::Function("g".into()));
    #[rustfmt::skip]
    let table = [
        (None, None, Value::Null, 2),
        (None, Some(true), Value::Null, 2),
        (None, Some(false), json!({"type": "auto", "disable_parallel_tool_use": true}), 2),
        (Some(C::Auto), None, json!({"type": "auto"}), 2),
        (Some(C::None), Some(false), json!({"type": "none"}), 2),
        (Some(C::Required), None, json!({"type": "any"}), 2),
        (named(), Some(false), json!({"type": "tool", "name": "g", "disable_parallel_tool_use": true}), 2),
        (Some(allowed(false, &["g"])), None, json!({"type": "auto"}), 1),
        (Some(allowed(true, &["g"])), None, json!({"type": "any"}), 1),
        (Some(allowed(false, &[])), None, json!({"type": "none"}), 2),
    ];
    for (choice, parallel, sent, count) in table {
        let (body, dropped) = Asking::of(budget()).sends(&chooses(choice.clone(), parallel));
        assert_eq!(
            (&body["tool_choice"], dropped),
            (&sent, vec![]),
            "{choice:?}"
        );
        assert_eq!(
            body["tools"].as_array().map(Vec::len),
            Some(count),
            "{choice:?}"
        );
    }
    let refused = [
        C::Function("h".into()),
        C::Foreign("{}".into()),
        allowed(true, &["h"]),
        allowed(true, &[]),
    ];
    for choice in refused {
        let param = Asking::of(budget()).refuses(&chooses(Some(choice), None));
        assert_eq!(param, "tool_choice");
    }
    let uncontrolled = Capabilities {
        parallel_control: false,
        ..budget()
    };
    let (body, dropped) = Asking::of(uncontrolled).sends(&chooses(None, Some(false)));
    assert_eq!((body.get("tool_choice"), dropped.len()), (None, 1));
}

#[test]
fn without_tools_only_a_demand_is_an_error() {
    for choice in [ToolChoice::Auto, ToolChoice::None] {
        let asked = Conversation {
            tool_choice: Some(choice),
            parallel_tool_calls: Some(false),
            ..hi()
        };
        assert_eq!(
            Asking::of(budget()).sends(&asked).0.get("tool_choice"),
            None
        );
    }
    let asked = Conversation {
        tool_choice: Some(ToolChoice::Required),
        ..hi()
    };
    assert_eq!(Asking::of(budget()).refuses(&asked), "tool_choice");
    let history = vec![
        user("1"),
        calls(vec![
            call("a", "f", ""),
            call("b", "g", ""),
            call("c", "f", ""),
        ]),
        result("a", "A"),
    ];
    let (body, _) = Asking::of(budget()).sends(&says(history));
    let schema = json!({"type": "object", "properties": {}});
    let stubs =
        json!([{"name": "f", "input_schema": schema}, {"name": "g", "input_schema": schema}]);
    assert_eq!(
        (&body["tools"], &body["tool_choice"]),
        (&stubs, &json!({"type": "none"}))
    );
}

#[test]
fn a_json_schema_is_closed_where_it_does_not_say() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": ["object", "null"], "properties": {}},
        "b": {"type": "array", "items": {"type": "object"}},
        "c": {"type": "object", "additionalProperties": {"type": "string"}},
        "d": {"anyOf": [{"properties": {}}, {"$ref": "#/$defs/e"}]},
        "f": {"allOf": [{"type": "object"}]},
    }, "$defs": {"e": {"type": "object"}}});
    let closed = json!({"type": "object", "additionalProperties": false, "properties": {
        "a": {"type": ["object", "null"], "properties": {}, "additionalProperties": false},
        "b": {"type": "array", "items": {"type": "object", "additionalProperties": false}},
        "c": {"type": "object", "additionalProperties": {"type": "string"}},
        "d": {"anyOf": [{"properties": {}, "additionalProperties": false}, {"$ref": "#/$defs/e"}]},
        "f": {"allOf": [{"type": "object"}]},
    }, "$defs": {"e": {"type": "object", "additionalProperties": false}}});
    let format = |description: Option<&str>| Format::JsonSchema {
        name: Some("n".into()),
        description: description.map(str::to_owned),
        schema: schema.clone(),
        strict: Some(true),
    };
    let asked = Conversation {
        format: format(None),
        ..hi()
    };
    let (body, dropped) = Asking::of(budget()).sends(&asked);
    let sent = json!({"format": {"type": "json_schema", "schema": closed}});
    assert_eq!((&body["output_config"], dropped), (&sent, vec![]));
    let described = Conversation {
        format: format(Some("d")),
        ..hi()
    };
    let lost = Asking::of(budget()).sends(&described).1;
    assert_eq!(lost, ["response_format.json_schema.description"]);
    let older = Capabilities {
        json_schema: false,
        ..budget()
    };
    assert_eq!(Asking::of(older).refuses(&asked), "response_format");
}

#[test]
fn a_json_object_is_refused_unless_the_operator_says_drop() {
    let asked = Conversation {
        format: Format::JsonObject,
        ..hi()
    };
    assert_eq!(Asking::of(budget()).refuses(&asked), "response_format");
    let lenient = Asking::of(budget()).option("json_object", "drop");
    assert_eq!(lenient.sends(&asked).1, ["response_format"]);
    let strict = Asking {
        strict: true,
        ..lenient
    };
    assert_eq!(strict.refuses(&asked), "response_format");
}

#[test]
fn stop_sequences_of_white_space_are_dropped() {
    let asked = Conversation {
        stop: vec!["END".into(), "\n".into()],
        ..hi()
    };
    let (body, dropped) = Asking::of(budget()).sends(&asked);
    assert_eq!(
        (&body["stop_sequences"], dropped),
        (&json!(["END"]), vec!["stop".to_owned()])
    );
}

#[test]
fn users_are_ids_and_no_addresses() {
    let of = |user: &str| Conversation {
        user: Some(user.into()),
        ..hi()
    };
    for id in [
        "u-1",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "1234567",
        "175928847299117063",
    ] {
        let (body, dropped) = Asking::of(budget()).sends(&of(id));
        assert_eq!(
            (&body["metadata"], dropped),
            (&json!({"user_id": id}), vec![])
        );
    }
    let long = "x".repeat(257);
    for id in [
        "a@b.example",
        "+49 30 123456",
        "4930123456",
        "(030) 123-4567",
        &long,
    ] {
        let (body, dropped) = Asking::of(budget()).sends(&of(id));
        assert_eq!((body.get("metadata"), dropped.len()), (None, 1), "{id}");
    }
    let (body, _) = Asking::of(budget()).sends(&with_other("safety_identifier", json!("s")));
    assert_eq!(body["metadata"]["user_id"], "s");
    let both = Conversation {
        user: Some("u".into()),
        ..with_other("safety_identifier", json!("s"))
    };
    let (body, dropped) = Asking::of(budget()).sends(&both);
    assert_eq!(body["metadata"]["user_id"], "u");
    assert_eq!(dropped, ["safety_identifier"]);
}

#[test]
fn service_tiers_are_translated() {
    for (asked, sent) in [("auto", "auto"), ("default", "standard_only")] {
        let asked = Conversation {
            service_tier: Some(asked.into()),
            ..hi()
        };
        assert_eq!(Asking::of(budget()).sends(&asked).0["service_tier"], sent);
    }
    let asked = Conversation {
        service_tier: Some("flex".into()),
        ..hi()
    };
    assert_eq!(Asking::of(budget()).sends(&asked).1, ["service_tier"]);
}

#[test]
fn no_more_marks_than_the_api_takes() {
    let parts = (0..5)
        .map(|n| marked(&n.to_string(), Some("30m")))
        .collect();
    let mut asked = says(vec![system("s"), user_parts(parts)]);
    asked.tools = vec![Tool {
        cache: Some(CacheMark::default()),
        ..tool("f")
    }];
    let marks = |body: &Value| {
        let blocks = body["messages"][0]["content"].as_array().expect("blocks");
        let blocks = body["tools"]
            .as_array()
            .expect("tools")
            .iter()
            .chain(blocks);
        blocks
            .map(|block| block.get("cache_control").is_some())
            .collect::<Vec<_>>()
    };
    let (body, dropped) = Asking::of(budget()).sends(&asked);
    assert_eq!(marks(&body), [true, false, false, true, true, true]);
    assert_eq!(dropped, ["cache_control.ttl", "cache_control"]);
    asked
        .other
        .insert("cache_control".into(), json!({"type": "ephemeral"}));
    let (body, _) = Asking::of(budget()).sends(&asked);
    assert_eq!(marks(&body), [true, false, false, false, true, true]);
    assert_eq!(body["cache_control"], json!({"type": "ephemeral"}));
}

#[test]
fn what_changes_the_meaning_is_refused() {
    let refuses = |asked: Conversation| Asking::of(budget()).refuses(&asked);
    assert_eq!(refuses(Conversation { n: Some(2), ..hi() }), "n");
    assert_eq!(
        refuses(Conversation {
            logprobs: Some(Logprobs::default()),
            ..hi()
        }),
        "logprobs"
    );
    assert_eq!(
        refuses(with_other("modalities", json!(["text", "audio"]))),
        "modalities"
    );
    for name in ["audio", "web_search_options", "moderation", "guided_json"] {
        assert_eq!(refuses(with_other(name, json!({}))), name);
    }
}

#[test]
fn what_is_harmless_is_dropped_by_name_or_refused_where_strict() {
    let harmless = [
        "store",
        "verbosity",
        "prediction",
        "prompt_cache_key",
        "min_p",
    ];
    for name in harmless {
        let asked = with_other(name, json!("x"));
        assert_eq!(Asking::of(budget()).sends(&asked).1, [name]);
        let strict = Asking {
            strict: true,
            ..Asking::of(budget())
        };
        assert_eq!(strict.refuses(&asked), name);
    }
    let mut asked = hi();
    asked.sampling = Sampling {
        frequency_penalty: Some(1.0),
        presence_penalty: Some(0.0),
        seed: Some(7),
        logit_bias: Some(json!({"1": 2})),
        ..Sampling::default()
    };
    asked.metadata.insert("team".into(), json!("a"));
    let lost = ["frequency_penalty", "seed", "logit_bias", "metadata"];
    assert_eq!(Asking::of(budget()).sends(&asked).1, lost);
}

#[test]
fn what_asks_for_nothing_is_no_loss() {
    let strict = Asking {
        strict: true,
        ..Asking::of(budget())
    };
    for (name, value) in [
        ("store", json!(false)),
        ("audio", Value::Null),
        ("modalities", json!(["text"])),
        ("background", json!(false)),
    ] {
        assert!(strict.chat(&with_other(name, value)).is_ok(), "{name}");
    }
    assert!(strict.chat(&Conversation { n: Some(1), ..hi() }).is_ok());
}

#[test]
fn anthropics_own_fields_pass() {
    let (body, dropped) = Asking::of(budget()).sends(&with_other("inference_geo", json!("us")));
    assert_eq!((&body["inference_geo"], dropped), (&json!("us"), vec![]));
    let own = json!({"type": "enabled", "budget_tokens": 2000});
    let asked = Conversation {
        max_tokens: Some(10),
        ..with_other("thinking", own.clone())
    };
    let (body, dropped) = Asking::of(budget()).sends(&asked);
    assert_eq!((&body["thinking"], dropped), (&own, vec![]));
    assert_eq!(body["max_tokens"], 2010);
}

#[test]
fn a_count_asks_for_the_prompt_alone() {
    let asked = Conversation {
        stream: true,
        max_tokens: Some(5),
        stop: vec!["x".into()],
        user: Some("u".into()),
        sampling: Sampling {
            temperature: Some(0.1),
            ..Sampling::default()
        },
        tools: vec![tool("f")],
        n: Some(3),
        ..says(vec![system("s"), user("hi")])
    };
    let asking = Asking::of(budget());
    let rendered = Anthropic.count_tokens(&asked, asking.target());
    let rendered = rendered.expect("it can be sent").expect("it has a counter");
    assert_eq!(rendered.path, "/messages/count_tokens");
    let body: Value = serde_json::from_slice(&rendered.body).expect("it is JSON");
    let names: Vec<&str> = body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let expected = BTreeMap::from(["messages", "model", "system", "tools"].map(|name| (name, ())));
    assert_eq!(
        names
            .into_iter()
            .map(|name| (name, ()))
            .collect::<BTreeMap<_, _>>(),
        expected
    );
}

#[test]
fn embeddings_are_refused() {
    let asking = Asking::of(budget());
    let refused = Anthropic.embeddings(&Embeddings::default(), asking.target());
    assert_eq!(refused.expect_err("there are none").param, "model");
}
