//! Streams and answers are data under `tests/golden/cohere/`; requests are
//! built here, one test per row of the mapping. `TOLLGATE_BLESS=1` writes what
//! is read anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::chat::{
    CacheMark, Capabilities, Content, Event, Format, Logprobs, Message, Part, Reasoning, Source,
    Thinking, Thought, Tool, ToolCall, ToolChoice, Turn,
};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/cohere")
        .join(name)
}

fn check(name: &str, found: &str) {
    let path = golden(name);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(&path, found).expect("the golden tree can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}");
}

/// Feeds a stream in pieces; neighbouring texts are merged, as cuts may differ.
fn events(bytes: &[u8], piece: usize) -> (Vec<Event>, Result<(), DecodeError>) {
    let mut decoder = Cohere.decoder("m", 1 << 20);
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        let piece = bytes::Bytes::copy_from_slice(piece);
        if let Err(error) = decoder.push(piece, &mut out) {
            return (out, Err(error));
        }
    }
    let end = decoder.end(&mut out);
    let mut merged: Vec<Event> = Vec::new();
    for event in out {
        match (merged.last_mut(), event) {
            (Some(Event::Text { text, .. }), Event::Text { text: more, .. })
            | (Some(Event::Thought { text, .. }), Event::Thought { text: more, .. }) => {
                text.push_str(&more);
            }
            (_, event) => merged.push(event),
        }
    }
    (merged, end)
}

#[test]
fn streams_read_the_same_however_they_are_cut() {
    for name in ["tools", "thinking", "error", "surrogate"] {
        let bytes = fs::read(golden(&format!("{name}.sse"))).expect("a golden stream");
        let whole = events(&bytes, bytes.len());
        assert_eq!(events(&bytes, 1), whole, "{name}");
        assert_eq!(events(&bytes, 7), whole, "{name}");
        assert_eq!(whole.1, Ok(()), "{name}");
        let lines: Vec<String> = whole.0.iter().map(|event| format!("{event:?}\n")).collect();
        check(&format!("{name}.events"), &lines.concat());
    }
}

#[test]
fn a_stream_cut_anywhere_is_truncated() {
    for name in ["tools", "thinking"] {
        let bytes = fs::read(golden(&format!("{name}.sse"))).expect("a golden stream");
        let last = b"message-end";
        let end = bytes
            .windows(last.len())
            .rposition(|w| w == last)
            .expect("its end");
        for cut in 0..end {
            let (events, end) = events(&bytes[..cut], bytes.len());
            assert_eq!(end, Err(DecodeError::Truncated), "{name} at {cut}");
            assert!(
                !events
                    .iter()
                    .any(|e| matches!(e, Event::End | Event::Finish { .. }))
            );
        }
    }
}

#[test]
fn a_done_without_a_message_end_is_no_end() {
    let (_, end) = events(
        b"data: {\"type\":\"message-start\"}\n\ndata: [DONE]\n\n",
        100,
    );
    assert_eq!(end, Err(DecodeError::Truncated));
}

#[test]
fn an_untyped_message_in_a_stream_is_a_failure() {
    let (events, end) = events(b"data: {\"message\":\"too many tokens\"}\n\n", 3);
    assert!(matches!(events.as_slice(), [Event::Failed(f)] if f.status == 502));
    assert_eq!(end, Ok(()));
}

#[test]
fn what_is_no_json_or_too_long_is_said() {
    let (_, end) = events(b"data: {\"type\":\n\n", 100);
    assert_eq!(end, Err(DecodeError::Malformed("an event of a stream")));
    let mut decoder = Cohere.decoder("m", 16);
    let long = bytes::Bytes::from_static(b"data: 0123456789abcdef\n\n");
    assert_eq!(
        decoder.push(long, &mut Vec::new()),
        Err(DecodeError::TooLong)
    );
}

#[test]
fn whole_answers() {
    for name in ["tools", "text"] {
        let body = fs::read(golden(&format!("{name}.answer.json"))).expect("a golden answer");
        let answer = Cohere
            .answer("m", &body)
            .expect("an answer")
            .expect("no failure");
        check(&format!("{name}.answer"), &format!("{answer:#?}\n"));
    }
}

#[test]
fn finish_reasons() {
    let finish = |reason: &str| {
        let body = json!({"id": "x", "finish_reason": reason, "message": {"role": "assistant"}});
        Cohere
            .answer("m", body.to_string().as_bytes())
            .expect("JSON")
    };
    let word = |reason: &str| {
        finish(reason).expect("an answer").choices[0]
            .finish
            .map(|f| f.as_str())
    };
    assert_eq!(word("COMPLETE"), Some("stop"));
    assert_eq!(word("STOP_SEQUENCE"), Some("stop"));
    assert_eq!(word("MAX_TOKENS"), Some("length"));
    // Without a call there is none to wait for.
    assert_eq!(word("TOOL_CALL"), Some("stop"));
    assert_eq!(finish("ERROR").expect_err("a failure").status, 502);
    assert_eq!(finish("TIMEOUT").expect_err("a failure").status, 504);
    let empty = finish("COMPLETE").expect("an answer");
    assert_eq!(empty.choices[0].text.as_deref(), Some(""));
}

#[test]
fn an_error_under_a_status_of_success_is_one() {
    let failure = Cohere
        .answer("m", br#"{"message":"no"}"#)
        .expect("JSON")
        .expect_err("a failure");
    assert_eq!(failure.message.as_deref(), Some("no"));
    assert!(Cohere.answer("m", b"<html>").is_err());
    assert!(Cohere.answer("m", b"{}").is_err());
}

#[test]
fn errors() {
    let header = |name: &str| (name == "retry-after").then(|| "7".to_owned());
    let read = |status, body: &[u8]| Cohere.failure(status, &header, body);
    let limited = read(429, br#"{"message":"slow down","id":"r"}"#);
    assert_eq!(
        (limited.status, limited.retry_after, limited.code),
        (429, Some(7), None)
    );
    let monthly = read(
        429,
        br#"{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}"#,
    );
    assert_eq!(monthly.code.as_deref(), Some("insufficient_quota"));
    let minute = read(429, br#"{"message":"Trial key: 20 calls / minute"}"#);
    assert_eq!(minute.code, None);
    let long = read(400, br#"{"message":"too many tokens: 5000"}"#);
    assert_eq!(long.code.as_deref(), Some("context_length_exceeded"));
    assert_eq!(read(498, br#"{"data":"invalid token"}"#).status, 401);
    assert_eq!(
        read(498, br#"{"data":"invalid token"}"#).message.as_deref(),
        Some("invalid token")
    );
    let page = read(502, "<html>é".repeat(400).as_bytes())
        .message
        .expect("a text");
    assert_eq!(page.chars().count(), 500);
}

struct Asked(Conversation, Capabilities, bool);

fn asked() -> Asked {
    let conversation = Conversation {
        model: "command-a-03-2025".to_owned(),
        messages: vec![user("Hi")],
        ..Conversation::default()
    };
    Asked(conversation, Capabilities::default(), false)
}

fn user(text: &str) -> Message {
    Message::User {
        parts: vec![Part::text(text)],
        name: None,
    }
}

fn function(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        ..Tool::default()
    }
}

impl Asked {
    fn with(mut self, change: impl FnOnce(&mut Conversation)) -> Self {
        change(&mut self.0);
        self
    }

    fn model(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.1);
        self
    }

    fn strict(mut self) -> Self {
        self.2 = true;
        self
    }

    fn render(&self) -> Result<Rendered, Unsupported> {
        let options = BTreeMap::new();
        let target = Target {
            capabilities: &self.1,
            options: &options,
            strict: self.2,
        };
        Cohere.chat(&self.0, target)
    }

    fn sent(&self) -> (Value, Vec<String>) {
        let rendered = self.render().expect("it can be carried");
        assert_eq!(rendered.path, "/v2/chat");
        (
            serde_json::from_slice(&rendered.body).expect("JSON"),
            rendered.dropped,
        )
    }

    fn field(&self, pointer: &str) -> Value {
        self.sent().0.pointer(pointer).cloned().unwrap_or_default()
    }

    fn refused(&self) -> String {
        self.render().expect_err("it cannot be carried").param
    }
}

#[test]
fn the_example_of_all_providers() {
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        signature: None,
        ..ToolCall::default()
    };
    let result = |id: &str, text: &str| Message::Tool {
        call_id: id.to_owned(),
        parts: vec![Part::text(text)],
        is_error: false,
    };
    let city = json!({"type":"object","properties":{"city":{"type":"string"}},"required":["city"]});
    let image = Source::from_url("data:image/png;base64,iVBORw0KGgo=");
    let asked = asked().with(|c| {
        c.messages = vec![
            Message::System {
                parts: vec![Part::text("You are terse.")],
            },
            Message::User {
                parts: vec![
                    Part::text("Weather where this was taken, and the time?"),
                    Part {
                        content: Content::Image {
                            source: image,
                            detail: None,
                        },
                        cache: None,
                    },
                ],
                name: None,
            },
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
        ];
        c.tools = vec![
            Tool {
                description: Some("Weather by city".to_owned()),
                parameters: Some(city),
                ..function("get_weather")
            },
            function("get_time"),
        ];
        c.tool_choice = Some(ToolChoice::Required);
        c.sampling.temperature = Some(0.2);
        c.max_tokens = Some(200);
        c.stop = vec!["\n\n".to_owned()];
        c.parallel_tool_calls = Some(false);
    });
    let (body, dropped) = asked.sent();
    let text = fs::read_to_string(golden("example.provider.json")).expect("a golden body");
    assert_eq!(body, serde_json::from_str::<Value>(&text).expect("JSON"));
    assert_eq!(dropped, ["parallel_tool_calls"]);
}

#[test]
fn stream_is_said_in_the_body() {
    assert_eq!(asked().field("/stream"), Value::Null);
    assert_eq!(asked().with(|c| c.stream = true).field("/stream"), true);
}

#[test]
fn several_system_messages_stay_apart_and_names_are_dropped() {
    let asked = asked().with(|c| {
        let system = |text: &str| Message::System {
            parts: vec![Part::text(text)],
        };
        let named = Message::User {
            parts: vec![Part::text("Hi")],
            name: Some("Ann".into()),
        };
        c.messages = vec![system("a"), system(""), system("b"), named];
    });
    let (body, dropped) = asked.sent();
    let roles = json!([
        {"role":"system","content":"a"},
        {"role":"system","content":"b"},
        {"role":"user","content":"Hi"}
    ]);
    assert_eq!(body["messages"], roles);
    assert_eq!(dropped, ["messages[].name"]);
}

#[test]
fn nothing_left_to_send_is_refused() {
    assert_eq!(
        asked().with(|c| c.messages = vec![user("")]).refused(),
        "messages"
    );
}

#[test]
fn image_urls_pass_with_their_detail() {
    let image = |source| Part {
        content: Content::Image {
            source,
            detail: Some("high".into()),
        },
        cache: None,
    };
    let with = |source| {
        asked().with(|c| {
            c.messages = vec![Message::User {
                parts: vec![image(source)],
                name: None,
            }]
        })
    };
    let url = Source::Url("https://a.example/b.png".into());
    assert_eq!(
        with(url.clone()).field("/messages/0/content"),
        json!([{"type":"image_url","image_url":{"url":"https://a.example/b.png","detail":"high"}}])
    );
    assert_eq!(
        with(Source::Id("file-1".into())).refused(),
        "messages[0].content[0]"
    );
    assert_eq!(
        with(Source::Url("gs://b/c".into())).refused(),
        "messages[0].content[0]"
    );
    assert_eq!(
        with(url).model(|m| m.images = false).refused(),
        "messages[0].content[0]"
    );
}

#[test]
fn audio_and_files_are_refused() {
    for content in [
        Content::Audio {
            data: "AA==".into(),
            format: "wav".into(),
        },
        Content::File {
            source: Source::Id("f".into()),
            name: None,
        },
    ] {
        let asked = asked().with(|c| {
            let parts = vec![
                Part::text("a"),
                Part {
                    content,
                    cache: None,
                },
            ];
            c.messages = vec![Message::User { parts, name: None }];
        });
        assert_eq!(asked.refused(), "messages[0].content[1]");
    }
}

fn after_thinking(calls: Vec<ToolCall>) -> Asked {
    asked().with(|c| {
        let thought = |text: &str| Thought {
            text: text.into(),
            ..Thought::default()
        };
        let turn = Turn {
            thoughts: vec![thought("Hm."), thought(" So.")],
            parts: vec![Part::text("42")],
            calls,
            name: None,
            ..Turn::default()
        };
        c.messages = vec![user("?"), Message::Assistant(turn), user("More.")];
    })
}

#[test]
fn thoughts_go_back_as_the_model_knows_them() {
    let call = ToolCall {
        id: "a".into(),
        name: "f".into(),
        ..ToolCall::default()
    };
    let plan = after_thinking(vec![call.clone()]);
    assert_eq!(plan.field("/messages/1/tool_plan"), "Hm. So.");
    assert_eq!(plan.field("/messages/1/content"), "42");
    assert_eq!(
        plan.field("/messages/1/tool_calls/0/function/arguments"),
        "{}"
    );
    let content = after_thinking(vec![call]).model(|m| m.thinking = Thinking::Budget);
    assert_eq!(
        content.field("/messages/1/content"),
        json!([
            {"type":"thinking","thinking":"Hm."},
            {"type":"thinking","thinking":" So."},
            {"type":"text","text":"42"}
        ])
    );
    let (body, dropped) = after_thinking(Vec::new()).sent();
    assert_eq!(
        body["messages"][1],
        json!({"role":"assistant","content":"42"})
    );
    assert_eq!(dropped, ["messages[].reasoning_content"]);
}

#[test]
fn empty_turns_are_left_out_and_empty_results_are_not() {
    let asked = asked().with(|c| {
        let result = Message::Tool {
            call_id: "a".into(),
            parts: Vec::new(),
            is_error: true,
        };
        c.messages = vec![user("?"), Message::Assistant(Turn::default()), result];
    });
    let (body, dropped) = asked.sent();
    assert_eq!(
        body["messages"][1],
        json!({"role":"tool","tool_call_id":"a","content":""})
    );
    assert_eq!(dropped, ["is_error"]);
}

#[test]
fn a_refusal_goes_back_as_text_and_prefill_asks_the_model() {
    let turn = Turn {
        parts: vec![Part {
            content: Content::Refusal("No.".into()),
            cache: None,
        }],
        ..Turn::default()
    };
    let ends = asked().with(|c| c.messages = vec![user("?"), Message::Assistant(turn)]);
    assert_eq!(ends.field("/messages/1/content"), "No.");
    assert_eq!(ends.model(|m| m.prefill = false).refused(), "messages[1]");
}

#[test]
fn sampling_is_carried_within_coheres_ranges() {
    let asked_for = asked().with(|c| {
        c.sampling.temperature = Some(1.0);
        c.sampling.top_p = Some(0.5);
        c.sampling.top_k = Some(40);
        c.sampling.frequency_penalty = Some(0.0);
        c.sampling.presence_penalty = Some(0.7);
        c.sampling.seed = Some(9);
        c.max_tokens = Some(3);
    });
    let (body, dropped) = asked_for.sent();
    let expected = json!({
        "temperature": 1.0, "p": 0.5, "k": 40, "frequency_penalty": 0.0,
        "presence_penalty": 0.7, "seed": 9, "max_tokens": 3
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&body[name], value, "{name}");
    }
    assert!(dropped.is_empty());
    assert_eq!(
        asked()
            .with(|c| c.sampling.temperature = Some(1.1))
            .refused(),
        "temperature"
    );
    let negative = asked().with(|c| c.sampling.presence_penalty = Some(-0.1));
    assert_eq!(negative.refused(), "presence_penalty");
    let seed = asked().with(|c| c.sampling.seed = Some(-1));
    assert_eq!(seed.sent().1, ["seed"]);
}

#[test]
fn top_p_moves_to_the_nearest_that_there_is_unless_strict() {
    let top_p = |value| asked().with(|c| c.sampling.top_p = Some(value));
    assert_eq!(top_p(1.0).field("/p"), 0.99);
    assert_eq!(top_p(0.0).field("/p"), 0.01);
    assert_eq!(top_p(1.0).strict().refused(), "top_p");
    assert_eq!(top_p(0.9).strict().field("/p"), 0.9);
    assert_eq!(top_p(1.5).refused(), "top_p");
}

#[test]
fn stops_logprobs_and_n() {
    let stops = |n| asked().with(|c| c.stop = vec!["x".into(); n]);
    assert_eq!(stops(5).field("/stop_sequences/4"), "x");
    assert_eq!(stops(6).refused(), "stop");
    let logprobs = |top| asked().with(|c| c.logprobs = Some(Logprobs { top }));
    assert_eq!(logprobs(None).field("/logprobs"), true);
    assert_eq!(logprobs(Some(0)).field("/logprobs"), true);
    assert_eq!(logprobs(Some(2)).refused(), "top_logprobs");
    assert_eq!(asked().with(|c| c.n = Some(2)).refused(), "n");
    assert_eq!(asked().with(|c| c.n = Some(1)).field("/n"), Value::Null);
}

#[test]
fn tools_and_every_tool_choice() {
    let with = |choice| {
        asked().with(|c| {
            c.tools = vec![
                function("a"),
                Tool {
                    strict: Some(true),
                    ..function("b")
                },
            ];
            c.tool_choice = choice;
        })
    };
    let sent = |choice| {
        let asked = with(choice);
        let tools = asked.field("/tools");
        let names = tools.as_array().expect("tools").iter();
        let names: Vec<String> = names
            .map(|t| t["function"]["name"].as_str().expect("a name").to_owned())
            .collect();
        (asked.field("/tool_choice"), names.concat())
    };
    let allowed = |required, name: &str| {
        Some(ToolChoice::Allowed {
            required,
            names: vec![name.to_owned()],
        })
    };
    assert_eq!(sent(None), (Value::Null, "ab".into()));
    assert_eq!(sent(Some(ToolChoice::Auto)), (Value::Null, "ab".into()));
    assert_eq!(sent(Some(ToolChoice::None)), ("NONE".into(), "ab".into()));
    assert_eq!(
        sent(Some(ToolChoice::Required)),
        ("REQUIRED".into(), "ab".into())
    );
    assert_eq!(
        sent(Some(ToolChoice::Function("b".into()))),
        ("REQUIRED".into(), "b".into())
    );
    assert_eq!(sent(allowed(false, "a")), (Value::Null, "a".into()));
    assert_eq!(sent(allowed(true, "a")), ("REQUIRED".into(), "a".into()));
    assert_eq!(
        with(Some(ToolChoice::Function("c".into()))).refused(),
        "tool_choice"
    );
    assert_eq!(with(allowed(false, "c")).refused(), "tool_choice");
    assert_eq!(
        with(Some(ToolChoice::Foreign("{}".into()))).refused(),
        "tool_choice"
    );
    let unforced = with(Some(ToolChoice::Required)).model(|m| m.forced_tools = false);
    assert_eq!(unforced.refused(), "tool_choice");
    assert_eq!(with(None).model(|m| m.tools = false).refused(), "tools");
    assert_eq!(with(None).field("/strict_tools"), true);
    assert_eq!(
        with(None).field("/tools/0/function/parameters"),
        json!({"type":"object","properties":{}})
    );
}

#[test]
fn tools_that_are_no_functions_are_refused() {
    let custom = Tool {
        foreign: Some(json!({"type":"custom"})),
        ..function("x")
    };
    let asked = asked().with(|c| c.tools = vec![function("a"), custom]);
    assert_eq!(asked.refused(), "tools[1]");
}

#[test]
fn formats() {
    let schema = || Format::JsonSchema {
        name: Some("x".into()),
        description: None,
        schema: json!({"type":"object"}),
        strict: Some(true),
    };
    let object = asked().with(|c| c.format = Format::JsonObject);
    assert_eq!(
        object.field("/response_format"),
        json!({"type":"json_object"})
    );
    let by_schema = asked().with(|c| c.format = schema());
    assert_eq!(
        by_schema.field("/response_format"),
        json!({"type":"json_object","json_schema":{"type":"object"}})
    );
    assert_eq!(
        by_schema.model(|m| m.json_schema = false).refused(),
        "response_format"
    );
    let tools = asked().with(|c| {
        c.format = schema();
        c.tools = vec![function("a")];
    });
    assert_eq!(tools.refused(), "response_format");
    let documents = asked().with(|c| {
        c.format = Format::JsonObject;
        c.other.insert("documents".into(), json!(["a"]));
    });
    assert_eq!(documents.refused(), "response_format");
}

#[test]
fn thinking_is_switched_and_budgeted() {
    let effort = |effort: &str| {
        let reasoning = Reasoning {
            effort: Some(effort.into()),
            ..Reasoning::default()
        };
        asked().with(|c| c.reasoning = Some(reasoning))
    };
    let thinks = |asked: Asked| {
        asked
            .model(|m| m.thinking = Thinking::Budget)
            .field("/thinking")
    };
    assert_eq!(thinks(effort("none")), json!({"type":"disabled"}));
    assert_eq!(
        thinks(effort("low")),
        json!({"type":"enabled","token_budget":1024})
    );
    assert_eq!(
        thinks(effort("high")),
        json!({"type":"enabled","token_budget":4096})
    );
    let odd = effort("odd").model(|m| m.thinking = Thinking::Budget);
    assert_eq!(odd.refused(), "reasoning_effort");
    let budget = Reasoning {
        budget: Some(777),
        ..Reasoning::default()
    };
    let budget = asked().with(|c| c.reasoning = Some(budget));
    assert_eq!(thinks(budget), json!({"type":"enabled","token_budget":777}));
    assert_eq!(effort("low").sent().1, ["reasoning_effort"]);
    assert!(effort("none").sent().1.is_empty());
}

#[test]
fn what_harms_nobody_is_dropped_by_name_and_refused_where_strict() {
    let asked = || {
        asked().with(|c| {
            c.user = Some("u".into());
            c.metadata.insert("a".into(), "b".into());
            c.sampling.logit_bias = Some(json!({"1": 2}));
            c.service_tier = Some("flex".into());
            c.other.insert("store".into(), true.into());
            c.other.insert("verbosity".into(), Value::Null);
            c.messages = vec![Message::User {
                parts: vec![Part {
                    cache: Some(CacheMark::default()),
                    ..Part::text("a")
                }],
                name: None,
            }];
        })
    };
    let names = [
        "cache_control",
        "user",
        "metadata",
        "logit_bias",
        "service_tier",
        "store",
    ];
    assert_eq!(asked().sent().1, names);
    assert_eq!(asked().strict().refused(), "cache_control");
}

#[test]
fn what_changes_the_meaning_is_refused_and_coheres_own_fields_pass() {
    let with =
        |name: &str, value: Value| asked().with(|c| drop(c.other.insert(name.into(), value)));
    assert_eq!(
        with("modalities", json!(["text", "audio"])).refused(),
        "modalities"
    );
    assert_eq!(with("audio", json!({"voice": "x"})).refused(), "audio");
    assert_eq!(
        with("web_search_options", json!({})).refused(),
        "web_search_options"
    );
    assert_eq!(
        with("modalities", json!(["text"])).field("/modalities"),
        Value::Null
    );
    assert_eq!(
        with("safety_mode", json!("OFF")).field("/safety_mode"),
        "OFF"
    );
    assert_eq!(with("documents", json!(["a"])).field("/documents/0"), "a");
    assert_eq!(
        with("strict_tools", json!(false)).field("/strict_tools"),
        false
    );
}

fn embed(asked: &Embeddings) -> Result<Rendered, Unsupported> {
    let options = BTreeMap::new();
    let capabilities = Capabilities::default();
    Cohere.embeddings(
        asked,
        Target {
            capabilities: &capabilities,
            options: &options,
            strict: false,
        },
    )
}

#[test]
fn embeddings_are_asked_for_with_a_purpose() {
    let mut asked = Embeddings {
        model: "embed-v4.0".into(),
        texts: vec!["a".into(), "b".into()],
        dimensions: Some(256),
        base64: true,
        user: Some("u".into()),
        ..Embeddings::default()
    };
    let rendered = embed(&asked).expect("it can be carried");
    assert_eq!(rendered.path, "/v2/embed");
    let body: Value = serde_json::from_slice(&rendered.body).expect("JSON");
    let expected = json!({
        "model": "embed-v4.0", "texts": ["a", "b"], "input_type": "search_document",
        "embedding_types": ["float"], "truncate": "NONE", "output_dimension": 256
    });
    assert_eq!(body, expected);
    assert_eq!(rendered.dropped, ["user"]);
    asked
        .other
        .insert("input_type".into(), "search_query".into());
    let rendered = embed(&asked).expect("it can be carried");
    let body: Value = serde_json::from_slice(&rendered.body).expect("JSON");
    assert_eq!(body["input_type"], "search_query");
    asked.other.insert("input_type".into(), 1.into());
    assert_eq!(embed(&asked).expect_err("no string").param, "input_type");
    asked.texts = vec![String::new(); 97];
    assert_eq!(embed(&asked).expect_err("too many").param, "input");
}

#[test]
fn embeddings_are_read_in_both_forms() {
    let read = |body: &str| Cohere.embedded(&|_| None, body.as_bytes());
    let vectors = read(
        r#"{"embeddings":{"float":[[0.5,1],[2,3.25]]},"meta":{"billed_units":{"input_tokens":4.0}}}"#,
    );
    let vectors = vectors.expect("embeddings");
    assert_eq!(vectors.vectors, [[0.5, 1.0], [2.0, 3.25]]);
    assert_eq!(vectors.tokens, Some(4));
    assert_eq!(
        read(r#"{"embeddings":[[1]]}"#).expect("embeddings").vectors,
        [[1.0]]
    );
    assert!(read(r#"{"embeddings":{"float":[["a"]]}}"#).is_err());
    assert!(read("{}").is_err());
}
