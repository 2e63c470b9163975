//! Requests are data under `tests/golden/responses_face/`; answers and streams
//! are built here and compared with what stands there. `TOLLGATE_BLESS=1`
//! writes it anew.

use crate::chat::{Origin, Sealed};
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Choice, Content, Event, Failure, Finish, Format, Message, Thought, ToolCall, ToolChoice, Usage,
};
use crate::error::ErrorKind;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/responses_face")
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

fn parse(body: &Value) -> Result<Conversation, GatewayError> {
    Responses::default().parse(body.to_string().as_bytes())
}

fn ask(more: Value) -> Result<Conversation, GatewayError> {
    let mut body = json!({"model": "m", "input": "Hi"});
    let fields = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(fields);
    parse(&body)
}

fn refused(more: Value) -> String {
    let error = ask(more).expect_err("a refusal");
    assert_eq!((error.status(), error.kind), (400, ErrorKind::InvalidValue));
    error.param().expect("a field").to_owned()
}

fn label() -> Label {
    Label {
        model: "alias".into(),
        seed: "s33d".into(),
        created: 1_763_850_000,
        include_usage: true,
        ..Label::default()
    }
}

#[test]
fn whole_requests() {
    for name in ["string", "items"] {
        let body = fs::read(golden(&format!("{name}.client.json"))).expect("a golden request");
        let asked = Responses::default().parse(&body).expect("a conversation");
        check(&format!("{name}.conversation"), &format!("{asked:#?}\n"));
    }
}

#[test]
fn what_needs_state_is_refused_by_name() {
    assert_eq!(
        refused(json!({"previous_response_id": "resp_1"})),
        "previous_response_id"
    );
    assert_eq!(
        refused(json!({"conversation": {"id": "c"}})),
        "conversation"
    );
    assert_eq!(refused(json!({"prompt": {"id": "p"}})), "prompt");
    assert_eq!(refused(json!({"background": true})), "background");
    let reference = json!({"input": [{"type": "item_reference", "id": "rs_1"}]});
    assert_eq!(refused(reference), "input[0].type");
}

#[test]
fn openais_defaults_are_no_loss() {
    let defaults = json!({
        "background": false, "store": false, "truncation": "disabled", "conversation": null,
        "include": ["reasoning.encrypted_content"], "stream_options": {"include_obfuscation": false}
    });
    let asked = ask(defaults).expect("a conversation");
    assert!(asked.other.is_empty(), "{:?}", asked.other);
    assert!(asked.logprobs.is_none() && asked.reasoning.is_none() && !asked.include_usage);
    let stored = ask(json!({"store": true})).expect("a conversation");
    assert_eq!(stored.other["store"], true);
}

#[test]
fn chat_fields_are_unknown_here() {
    for name in [
        "messages",
        "max_tokens",
        "response_format",
        "n",
        "stop",
        "function_call",
    ] {
        assert_eq!(refused(json!({name: 1})), name);
    }
}

#[test]
fn wrong_types_are_named() {
    assert_eq!(refused(json!({"model": 1})), "model");
    assert_eq!(refused(json!({"input": 1})), "input");
    assert_eq!(refused(json!({"input": [1]})), "input[0]");
    assert_eq!(
        refused(json!({"input": [{"role": "x", "content": ""}]})),
        "input[0].role"
    );
    assert_eq!(
        refused(json!({"input": [{"role": "user"}]})),
        "input[0].content"
    );
    let part = json!({"input": [{"role": "user", "content": [{"type": "odd"}]}]});
    assert_eq!(refused(part), "input[0].content[0].type");
    let image = json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]});
    assert_eq!(refused(image), "input[0].content[0].image_url");
    let file = json!({"type": "input_file", "file_data": "AA=="});
    let file = json!({"input": [{"role": "user", "content": [file]}]});
    assert_eq!(refused(file), "input[0].content[0].file_data");
    let system = json!({"type": "input_image", "image_url": "https://a.example/b"});
    let system = json!({"input": [{"role": "system", "content": [system]}]});
    assert_eq!(refused(system), "input[0].content[0]");
    assert_eq!(
        refused(json!({"input": [{"type": "mcp_call"}]})),
        "input[0].type"
    );
    let output = json!({"type": "function_call_output", "output": "x"});
    assert_eq!(refused(json!({"input": [output]})), "input[0].call_id");
    assert_eq!(
        refused(json!({"tools": [{"type": "function"}]})),
        "tools[0].name"
    );
    assert_eq!(refused(json!({"tool_choice": "some"})), "tool_choice");
    assert_eq!(
        refused(json!({"text": {"format": {"type": "xml"}}})),
        "text.format.type"
    );
    let schema = json!({"text": {"format": {"type": "json_schema", "name": "x"}}});
    assert_eq!(refused(schema), "text.format.schema");
    assert_eq!(
        refused(json!({"max_output_tokens": -1})),
        "max_output_tokens"
    );
    assert_eq!(
        refused(json!({"reasoning": {"effort": 1}})),
        "reasoning.effort"
    );
}

#[test]
fn model_and_input_must_be_there_and_the_body_json() {
    let param = |body: Value| {
        parse(&body)
            .expect_err("a refusal")
            .param()
            .map(str::to_owned)
    };
    assert_eq!(param(json!({"input": "x"})).as_deref(), Some("model"));
    assert_eq!(param(json!({"model": "x"})).as_deref(), Some("input"));
    let error = Responses::default().parse(b"{").expect_err("a refusal");
    assert_eq!(error.code(), "invalid_json");
}

#[test]
fn tool_choices() {
    let choice = |choice: Value| {
        let tools = json!([{"type": "function", "name": "f"}]);
        ask(json!({"tool_choice": choice, "tools": tools}))
            .expect("a conversation")
            .tool_choice
    };
    assert_eq!(choice(json!("auto")), Some(ToolChoice::Auto));
    assert_eq!(choice(json!("none")), Some(ToolChoice::None));
    assert_eq!(choice(json!("required")), Some(ToolChoice::Required));
    let named = json!({"type": "function", "name": "f"});
    assert_eq!(
        choice(named.clone()),
        Some(ToolChoice::Function("f".into()))
    );
    let allowed = |tool: Value| json!({"type": "allowed_tools", "mode": "auto", "tools": [tool]});
    let names = vec!["f".to_owned()];
    assert_eq!(
        choice(allowed(named)),
        Some(ToolChoice::Allowed {
            required: false,
            names
        })
    );
    let foreign = choice(allowed(json!({"type": "mcp", "server_label": "x"})));
    assert!(matches!(foreign, Some(ToolChoice::Foreign(_))));
    assert!(matches!(
        choice(json!({"type": "web_search"})),
        Some(ToolChoice::Foreign(_))
    ));
    assert_eq!(refused(json!({"tool_choice": "required"})), "tool_choice");
    let missing = json!({"type": "function", "name": "g"});
    assert_eq!(refused(json!({"tool_choice": missing})), "tool_choice");
}

#[test]
fn formats() {
    let format = |format: Value| {
        ask(json!({"text": {"format": format}}))
            .expect("one")
            .format
    };
    assert_eq!(format(json!({"type": "text"})), Format::Text);
    assert_eq!(format(json!({"type": "json_object"})), Format::JsonObject);
    let schema = format(json!({"type": "json_schema", "name": "x", "schema": {}}));
    assert!(matches!(schema, Format::JsonSchema { strict: None, .. }));
}

#[test]
fn what_nobody_knows_is_left_under_its_name() {
    let asked = ask(json!({
        "max_tool_calls": 3, "include": ["web_search_call.results"],
        "reasoning": {"mode": "pro"}, "text": {"odd": 1},
        "input": [{"role": "assistant", "phase": "commentary", "content": "x"}]
    }));
    let asked = asked.expect("a conversation");
    let names: Vec<&str> = asked.other.keys().map(String::as_str).collect();
    let mut names = names;
    names.sort_unstable();
    let expected = [
        "include",
        "input[].phase",
        "max_tool_calls",
        "reasoning.mode",
        "text.odd",
    ];
    assert_eq!(names, expected);
}

#[test]
fn thoughts_travel_sealed() {
    let thoughts = vec![
        Thought {
            text: "Hm.".into(),
            signature: Some(Sealed::new(Origin::Claude, "sig")),
            redacted: None,
        },
        Thought {
            redacted: Some(Sealed::new(Origin::Claude, "data")),
            ..Thought::default()
        },
    ];
    let opened = thoughts::open(&thoughts::seal(&thoughts)).expect("ours");
    assert_eq!((opened.thoughts, opened.calls.len()), (thoughts, 0));
    let signature = Sealed::new(Origin::Gemini, "sig");
    let opened = thoughts::open(&thoughts::seal_call("c", &signature)).expect("ours");
    assert_eq!(opened.calls, [("c".to_owned(), signature)]);
    for foreign in ["gAAAAABo", "!", "", "eyJhIjoxfQ=="] {
        assert_eq!(thoughts::open(foreign), None);
    }
}

#[test]
fn a_request_with_thoughts_that_were_sealed_here_is_known() {
    let sealed = thoughts::seal(&[Thought {
        text: "Hm.".into(),
        ..Thought::default()
    }]);
    let with = |text: String| thoughts::is_sealed(text.as_bytes());
    assert!(with(format!(r#"{{"encrypted_content":"{sealed}"}}"#)));
    assert!(with(format!(
        "{{\"encrypted_content\":null,\"x\":{{\"encrypted_content\" :\n \"{sealed}\"}}}}"
    )));
    assert!(!with(r#"{"encrypted_content":"gAAAAABo"}"#.to_owned()));
    assert!(!with(format!(r#"{{"text":"{sealed}","encrypted_content""#)));
}

/// The output items of an answer, sent back as input, are the turn that they were.
#[test]
fn an_answer_comes_back_as_it_was() {
    let choice = choice();
    let answer = Answer {
        choices: vec![choice.clone()],
        ..Answer::default()
    };
    let body: Value =
        serde_json::from_slice(&Responses::default().answer(&answer, &label())).expect("JSON");
    let asked = ask(json!({"input": body["output"]})).expect("a conversation");
    let [Message::Assistant(turn)] = asked.messages.as_slice() else {
        panic!("one turn, not {:?}", asked.messages);
    };
    assert_eq!(turn.thoughts, choice.thoughts);
    assert_eq!(turn.calls, choice.calls);
    assert_eq!(turn.parts[0].as_text(), choice.text.as_deref());
    assert!(matches!(&turn.parts[1].content, Content::Refusal(text) if text == "No."));
    assert!(asked.other.is_empty(), "{:?}", asked.other);
}

/// The same for the items of a stream.
#[test]
fn a_stream_comes_back_as_it_was() {
    let items: Vec<Value> = lines(&encode(&Responses::default(), everything()))
        .into_iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| event["item"].clone())
        .collect();
    let asked = ask(json!({"input": items})).expect("a conversation");
    let [Message::Assistant(turn)] = asked.messages.as_slice() else {
        panic!("one turn, not {:?}", asked.messages);
    };
    let signatures: Vec<_> = turn
        .thoughts
        .iter()
        .map(|t| t.signature.as_ref().map(|s| s.text.as_str()))
        .collect();
    assert_eq!(signatures, [Some("c2ln"), None, None]);
    assert_eq!(
        turn.thoughts[1].redacted.as_ref().map(|s| s.text.as_str()),
        Some("zz")
    );
    let calls: Vec<_> = turn
        .calls
        .iter()
        .map(|c| {
            (
                c.arguments.as_str(),
                c.signature.as_ref().map(|s| s.text.as_str()),
            )
        })
        .collect();
    assert_eq!(calls, [("{\"a\":1}", Some("g")), ("{}", None)]);
    assert_eq!(turn.parts[0].as_text(), Some("Hello."));
}

fn choice() -> Choice {
    let call = |id: &str, signature: Option<&str>| ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: "{\"a\":1}".into(),
        signature: signature.map(|text| Sealed::new(Origin::Claude, text)),
        ..ToolCall::default()
    };
    Choice {
        thoughts: vec![
            Thought {
                text: "Hm.".into(),
                signature: Some(Sealed::new(Origin::Claude, "c2ln")),
                redacted: None,
            },
            Thought {
                redacted: Some(Sealed::new(Origin::Claude, "zz")),
                ..Thought::default()
            },
        ],
        text: Some("42".into()),
        refusal: Some("No.".into()),
        calls: vec![call("call_1", Some("g")), call("call_2", None)],
        annotations: vec![citation()],
        logprobs: Some(json!({"content": [
            {"token": "42", "logprob": -0.5, "bytes": null,
             "top_logprobs": [{"token": "43", "logprob": -2.0, "bytes": [52, 51]}]}
        ]})),
        finish: Some(Finish::ToolCalls),
        ..Choice::default()
    }
}

fn citation() -> Value {
    json!({"type": "url_citation", "url_citation": {
        "start_index": 0, "end_index": 2, "title": "A", "url": "https://a.example/"}})
}

fn usage() -> Usage {
    Usage {
        prompt: 10,
        completion: 5,
        cached: 4,
        cache_write: 2,
        reasoning: 3,
        ..Usage::default()
    }
}

fn whole(face: &Responses, name: &str, choice: Choice) {
    let answer = Answer {
        id: Some("upstream".into()),
        choices: vec![choice],
        usage: Some(usage()),
        service_tier: Some("default".into()),
        ..Answer::default()
    };
    let body: Value = serde_json::from_slice(&face.answer(&answer, &label())).expect("JSON");
    let text = serde_json::to_string_pretty(&body).expect("JSON");
    check(&format!("{name}.answer.json"), &format!("{text}\n"));
}

#[test]
fn whole_answers() {
    let face = Responses::default();
    whole(&face, "everything", choice());
    let text = |finish| Choice {
        text: Some("Half".into()),
        finish: Some(finish),
        ..Choice::default()
    };
    whole(&face, "length", text(Finish::Length));
    whole(&face, "filtered", text(Finish::ContentFilter));
    let request = fs::read(golden("items.client.json")).expect("a golden request");
    whole(&Responses::echoing(&request), "echo", text(Finish::Stop));
    let request = fs::read(golden("string.client.json")).expect("a golden request");
    whole(
        &Responses::echoing(&request),
        "echo_string",
        text(Finish::Stop),
    );
}

#[test]
fn an_empty_answer_has_no_items() {
    let empty = Choice {
        text: Some(String::new()),
        ..Choice::default()
    };
    let answer = Answer {
        choices: vec![empty],
        ..Answer::default()
    };
    let body: Value =
        serde_json::from_slice(&Responses::default().answer(&answer, &label())).expect("JSON");
    assert_eq!(
        (&body["output"], &body["usage"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(
        (&body["store"], &body["status"]),
        (&json!(false), &json!("completed"))
    );
}

fn encode(face: &Responses, events: Vec<Event>) -> Vec<u8> {
    let mut encoder = face.encoder(label());
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    out
}

/// The events of a stream, after checking what every stream must keep.
fn lines(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).expect("UTF-8");
    assert!(!text.contains("[DONE]"));
    let mut events = Vec::new();
    for block in text
        .split_terminator("\n\n")
        .filter(|block| !block.starts_with(':'))
    {
        let (name, data) = block.split_once('\n').expect("two lines");
        let event: Value =
            serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
        assert_eq!(event["sequence_number"], events.len());
        events.push(event);
    }
    events
}

fn start() -> Event {
    Event::Start {
        id: Some("up".into()),
        model: Some("m".into()),
    }
}

fn text(text: &str) -> Event {
    Event::Text {
        choice: 0,
        text: text.into(),
    }
}

fn thought(text: &str) -> Event {
    Event::Thought {
        choice: 0,
        text: text.into(),
    }
}

fn call(call: u32, signature: Option<&str>) -> Event {
    Event::CallStart {
        choice: 0,
        call,
        id: format!("call_{call}"),
        name: "f".into(),
        signature: signature.map(|text| Sealed::new(Origin::Claude, text)),
    }
}

fn arguments(call: u32, text: &str) -> Event {
    Event::CallArguments {
        choice: 0,
        call,
        text: text.into(),
    }
}

fn finish(finish: Finish) -> Event {
    Event::Finish { choice: 0, finish }
}

fn everything() -> Vec<Event> {
    vec![
        start(),
        Event::Ping,
        thought("Let me "),
        thought("think."),
        Event::Signature {
            choice: 0,
            signature: Sealed::new(Origin::Claude, "c2ln"),
        },
        Event::RedactedThought {
            choice: 0,
            data: Sealed::new(Origin::Claude, "zz"),
        },
        thought("More."),
        text("Hel"),
        text("lo."),
        Event::Logprobs {
            choice: 0,
            logprobs: json!({"content": [{"token": "lo.", "logprob": -0.5, "bytes": null}]}),
        },
        Event::Annotations {
            choice: 0,
            annotations: vec![citation()],
        },
        call(0, Some("g")),
        arguments(0, "{\"a\""),
        arguments(0, ":1}"),
        call(1, None),
        arguments(1, "{}"),
        finish(Finish::ToolCalls),
        Event::Usage(usage()),
        Event::End,
    ]
}

#[test]
fn streams() {
    let half = |finish_: Finish| vec![start(), text("Half"), finish(finish_), Event::End];
    let refusal = vec![
        start(),
        Event::Refusal {
            choice: 0,
            text: "I can".into(),
        },
        Event::Refusal {
            choice: 0,
            text: "not.".into(),
        },
        finish(Finish::ContentFilter),
        Event::End,
    ];
    let interleaved = vec![
        start(),
        call(0, None),
        call(1, None),
        arguments(0, "{\"a\":"),
        arguments(1, "{\"b\":"),
        arguments(0, "1}"),
        arguments(1, "2}"),
        finish(Finish::ToolCalls),
        Event::Usage(usage()),
        Event::End,
    ];
    let failed = Failure {
        status: 429,
        message: Some("secret".into()),
        ..Failure::default()
    };
    let failed = vec![
        start(),
        text("Half"),
        Event::Failed(failed),
        text("more"),
        Event::End,
    ];
    let empty = vec![
        start(),
        finish(Finish::Stop),
        Event::Usage(usage()),
        Event::End,
    ];
    for (name, events) in [
        ("everything", everything()),
        ("stop", half(Finish::Stop)),
        ("length", half(Finish::Length)),
        ("refusal", refusal),
        ("interleaved", interleaved),
        ("failed", failed),
        ("empty", empty),
    ] {
        let stream = encode(&Responses::default(), events);
        lines(&stream);
        let text = String::from_utf8(stream).expect("UTF-8");
        check(&format!("{name}.sse"), &text);
        assert!(!text.contains("secret"));
    }
}

#[test]
fn the_events_of_a_plain_text_come_in_openais_order() {
    let stream = encode(
        &Responses::default(),
        vec![
            start(),
            text("a"),
            text("b"),
            finish(Finish::Stop),
            Event::End,
        ],
    );
    let kinds: Vec<String> = lines(&stream)
        .iter()
        .map(|event| {
            event["type"]
                .as_str()
                .expect("a type")
                .replace("response.", "")
        })
        .collect();
    assert_eq!(
        kinds.join(" "),
        "created in_progress output_item.added content_part.added output_text.delta \
         output_text.delta output_text.done content_part.done output_item.done completed"
    );
}

#[test]
fn a_stream_that_breaks_ends_with_an_error_and_nothing_else() {
    let mut encoder = Responses::default().encoder(label());
    let mut out = Vec::new();
    encoder.encode(start(), &mut out);
    encoder.encode(text("Half"), &mut out);
    let error = GatewayError::new(ErrorKind::UpstreamError, "It broke.");
    encoder.fail(&error, &mut out);
    encoder.fail(&error, &mut out);
    encoder.encode(Event::End, &mut out);
    let events = lines(&out);
    let last = events.last().expect("an event");
    assert_eq!(last["type"], "error");
    assert_eq!(
        (&last["message"], &last["code"]),
        (&json!("It broke."), &json!("upstream_error"))
    );
    assert_eq!(last["error"]["type"], "api_error");
    check("broken.sse", std::str::from_utf8(&out).expect("UTF-8"));
}

#[test]
fn other_choices_have_no_place() {
    let other = Event::Text {
        choice: 1,
        text: "x".into(),
    };
    let stream = encode(&Responses::default(), vec![start(), other, Event::End]);
    assert_eq!(lines(&stream).len(), 3);
}

#[test]
fn errors_are_openais() {
    let error = GatewayError::new(ErrorKind::InvalidValue, "No.").with_param(Some("input"));
    let (status, body) = Responses::default().error(&error);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(status, 400);
    let expected = json!({"error": {"message": "No.", "type": "invalid_request_error",
        "param": "input", "code": "invalid_value"}});
    assert_eq!(body, expected);
}
