//! Requests. Whole ones are golden cases (`*.client.json` becomes
//! `*.conversation.txt`); the rows of the mapping are tested one by one.

use super::tests::{client_cases, same_as_blessed};
use super::*;
use crate::chat::{
    CacheMark, Content, Format, Message, Part, Reasoning, Source, Thought, ToolChoice, Turn,
};
use crate::chat::{Origin, Sealed};
use serde_json::{Value, json};

fn parse(body: &Value) -> Result<Conversation, GatewayError> {
    MessagesFace.parse(body.to_string().as_bytes())
}

/// A request with some fields more.
fn with(fields: Value) -> Conversation {
    parse(&request(fields)).expect("the request is right")
}

fn request(fields: Value) -> Value {
    let mut body = json!({
        "model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}],
    });
    for (name, value) in fields.as_object().expect("fields are an object") {
        body[name] = value.clone();
    }
    body
}

/// One message's content.
fn said(role: &str, content: Value) -> Vec<Message> {
    with(json!({"messages": [{"role": role, "content": content}]})).messages
}

/// Parts of a user's message with one block.
fn block(block: Value) -> Vec<Part> {
    match said("user", json!([block])).as_slice() {
        [Message::User { parts, name: None }] => parts.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(fields: Value) -> (String, String) {
    let error = parse(&request(fields)).expect_err("the request is wrong");
    assert_eq!(error.status(), 400);
    let param = error.param().unwrap_or_default().to_owned();
    (param, error.public().to_owned())
}

fn file(media_type: &str, data: &str, name: Option<&str>) -> Part {
    let source = inline(media_type, data);
    let name = name.map(str::to_owned);
    Part {
        content: Content::File { source, name },
        cache: None,
    }
}

fn inline(media_type: &str, data: &str) -> Source {
    Source::Inline {
        media_type: media_type.to_owned(),
        data: data.to_owned(),
    }
}

fn picture(source: Source) -> Part {
    Part {
        content: Content::Image {
            source,
            detail: None,
        },
        cache: None,
    }
}

#[test]
fn members_that_nobody_reads_are_noted() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[
        {"role":"user","content":[{"type":"text","text":"a","mood":"good","citations":null}],"weight":1},
        {"role":"assistant","content":[
            {"type":"text","text":"b","citations":[]},
            {"type":"tool_use","id":"t","name":"f","input":{},"caller":{"type":"direct"},"odd":1}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r","x":2}]}]}]}"#;
    let asked = parse(&serde_json::from_str(body).unwrap()).unwrap();
    let mut noted: Vec<&str> = asked.other.keys().map(String::as_str).collect();
    noted.sort_unstable();
    assert_eq!(
        noted,
        ["messages.weight", "text.mood", "text.x", "tool_use.odd"]
    );
}

#[test]
fn whole_requests_are_as_blessed() {
    for (name, body) in client_cases() {
        let asked = MessagesFace
            .parse(&body)
            .expect("golden requests are right");
        same_as_blessed(
            &format!("{name}.conversation.txt"),
            &format!("{asked:#?}\n"),
        );
    }
}

#[test]
fn the_top_level_is_read() {
    let asked = with(json!({
        "temperature": 0, "top_p": 0.5, "top_k": 40.0, "stop_sequences": ["\n\n", "END"],
        "stream": true, "metadata": {"user_id": "u-1", "team": "x"}, "service_tier": "standard_only",
        "max_tokens": 1024.0,
    }));
    assert_eq!(asked.model, "m");
    assert_eq!(asked.max_tokens, Some(1024));
    assert_eq!(asked.sampling.temperature, Some(0.0));
    assert_eq!(asked.sampling.top_p, Some(0.5));
    assert_eq!(asked.sampling.top_k, Some(40));
    assert_eq!(asked.stop, ["\n\n", "END"]);
    assert!(asked.stream && asked.include_usage);
    assert_eq!(asked.user.as_deref(), Some("u-1"));
    assert_eq!(asked.metadata["team"], "x");
    assert_eq!(asked.service_tier.as_deref(), Some("default"));
    assert_eq!(
        with(json!({"service_tier": "auto"}))
            .service_tier
            .as_deref(),
        Some("auto")
    );
    assert!(asked.other.is_empty());
}

#[test]
fn null_is_absent() {
    let asked = with(json!({
        "temperature": null, "system": null, "thinking": null, "tools": null, "tool_choice": null,
        "metadata": {"user_id": null}, "container": null, "cache_control": null,
    }));
    let plain = with(json!({}));
    assert_eq!(asked, plain);
}

#[test]
fn unknown_fields_are_kept_by_name() {
    let asked = with(json!({
        "context_management": {"edits": []}, "speed": "fast", "made_up": 1,
        "output_config": {"task_budget": {"type": "tokens", "total": 5}},
    }));
    let mut names: Vec<&str> = asked.other.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["context_management", "made_up", "output_config", "speed"]
    );
    assert!(HARMLESS.contains(&"speed") && HARMLESS.contains(&"context_management"));
}

#[test]
fn a_count_needs_no_max_tokens() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    assert!(parse_count_tokens(body.as_bytes()).is_ok());
    let error = MessagesFace.parse(body.as_bytes()).unwrap_err();
    assert_eq!(error.param(), Some("max_tokens"));
    assert_eq!(error.public(), "Missing required parameter: 'max_tokens'.");
    assert_eq!(with(json!({"max_tokens": 0})).max_tokens, Some(0));
}

#[test]
fn system_prompts_come_first() {
    let system = |value: Value| with(json!({"system": value})).messages;
    let text = |text: &str| Message::System {
        parts: vec![Part::text(text)],
    };
    assert_eq!(system(json!("Be terse."))[0], text("Be terse."));
    let marked = json!([{"type": "text", "text": "A"},
        {"type": "text", "text": "B", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    let mut last = Part::text("B");
    last.cache = Some(CacheMark {
        ttl: Some("1h".to_owned()),
    });
    let expected = Message::System {
        parts: vec![Part::text("A"), last],
    };
    assert_eq!(system(marked)[0], expected);
    assert_eq!(system(json!("")).len(), 1, "an empty prompt is none");
    assert_eq!(system(json!([])).len(), 1);
    let between = with(json!({"messages": [
        {"role": "user", "content": "a"}, {"role": "system", "content": [{"type": "text", "text": "s"}]},
    ]}));
    assert_eq!(between.messages[1], text("s"));
}

#[test]
fn images_are_read() {
    let image = |source: Value| block(json!({"type": "image", "source": source}));
    let base64 = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="});
    assert_eq!(
        image(base64),
        [picture(inline("image/png", "iVBORw0KGgo="))]
    );
    let url = json!({"type": "url", "url": "https://example.org/a.png"});
    assert_eq!(
        image(url),
        [picture(Source::Url("https://example.org/a.png".to_owned()))]
    );
    let id = json!({"type": "file", "file_id": "file_1"});
    assert_eq!(image(id), [picture(Source::Id("file_1".to_owned()))]);
}

#[test]
fn documents_are_read() {
    let document =
        |source: Value| block(json!({"type": "document", "title": "T", "source": source}));
    let named = |source: Source| {
        let name = Some("T".to_owned());
        vec![Part {
            content: Content::File { source, name },
            cache: None,
        }]
    };
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
    assert_eq!(
        document(pdf),
        [file("application/pdf", "JVBERi0=", Some("T"))]
    );
    let text = json!({"type": "text", "media_type": "text/plain", "data": "Hi"});
    assert_eq!(document(text), [file("text/plain", "SGk=", Some("T"))]);
    let url = json!({"type": "url", "url": "https://example.org/a.pdf"});
    assert_eq!(
        document(url),
        named(Source::Url("https://example.org/a.pdf".to_owned()))
    );
    let id = json!({"type": "file", "file_id": "file_1"});
    assert_eq!(document(id), named(Source::Id("file_1".to_owned())));
    let content = json!({"type": "content", "content": "Hi"});
    assert_eq!(document(content), [file("text/plain", "SGk=", Some("T"))]);
}

#[test]
fn a_document_made_of_blocks_is_its_blocks() {
    let source = json!({"type": "content", "content": [
        {"type": "text", "text": "A"},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ]});
    let parts = block(
        json!({"type": "document", "title": "T", "context": "C", "source": source,
        "cache_control": {"type": "ephemeral"}}),
    );
    let texts: Vec<_> = parts.iter().map(Part::as_text).collect();
    assert_eq!(texts, [Some("C"), Some("T"), Some("A"), None]);
    let marks: Vec<_> = parts.iter().map(|part| part.cache.is_some()).collect();
    assert_eq!(marks, [false, false, false, true]);
}

#[test]
fn citations_that_cannot_be_had_are_noted() {
    let source = json!({"type": "text", "media_type": "text/plain", "data": "Hi"});
    let asked = |enabled: bool| {
        let block =
            json!({"type": "document", "source": source, "citations": {"enabled": enabled}});
        with(json!({"messages": [{"role": "user", "content": [block]}]})).other
    };
    assert!(asked(true).contains_key("document.citations"));
    assert!(asked(false).is_empty());
}

#[test]
fn results_of_tools_come_before_what_else_is_said() {
    let messages = said(
        "user",
        json!([
            {"type": "text", "text": "first"},
            {"type": "tool_result", "tool_use_id": "a", "content": "3C"},
            {"type": "tool_result", "tool_use_id": "b", "is_error": true, "cache_control": {"type": "ephemeral"},
             "content": [{"type": "text", "text": "x"},
                         {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]},
            {"type": "tool_result", "tool_use_id": "c"},
            {"type": "text", "text": "last"},
        ]),
    );
    let result = |id: &str, parts: Vec<Part>, is_error| Message::Tool {
        call_id: id.to_owned(),
        parts,
        is_error,
    };
    let mut image = picture(Source::Url("https://example.org/a.png".to_owned()));
    image.cache = Some(CacheMark::default());
    let expected = [
        result("a", vec![Part::text("3C")], false),
        result("b", vec![Part::text("x"), image], true),
        result("c", vec![], false),
        Message::User {
            parts: vec![Part::text("first"), Part::text("last")],
            name: None,
        },
    ];
    assert_eq!(messages, expected);
}

#[test]
fn turns_keep_thoughts_texts_and_calls() {
    let messages = said(
        "assistant",
        json!([
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "thinking", "thinking": "own", "signature": ""},
            {"type": "redacted_thinking", "data": "b3BhcXVl"},
            {"type": "text", "text": "Checking.", "citations": null},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        ]),
    );
    let [Message::Assistant(turn)] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    let thought = |text: &str, signature: Option<&str>, redacted: Option<&str>| Thought {
        text: text.to_owned(),
        signature: signature.map(|text| Sealed::new(Origin::Claude, text)),
        redacted: redacted.map(|text| Sealed::new(Origin::Claude, text)),
    };
    let thoughts = [
        thought("hm", Some("c2ln"), None),
        thought("own", None, None),
        thought("", None, Some("b3BhcXVl")),
    ];
    assert_eq!(turn.thoughts, thoughts);
    assert_eq!(turn.parts, [Part::text("Checking.")]);
    assert_eq!(
        (turn.calls[0].id.as_str(), turn.calls[0].arguments.as_str()),
        ("t1", "{}")
    );
    let plain = Turn {
        parts: vec![Part::text("Hi")],
        ..Turn::default()
    };
    assert_eq!(said("assistant", json!("Hi")), [Message::Assistant(plain)]);
}

#[test]
fn input_becomes_the_text_that_it_was() {
    let body = br#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[
        {"type":"tool_use","id":"t","name":"f","input":{ "z" : 1.0, "a": "x \" }  y",
         "n": 12345678901234567890123 }}]}]}"#;
    let asked = MessagesFace.parse(body).unwrap();
    let Message::Assistant(turn) = &asked.messages[0] else {
        panic!()
    };
    let expected = r#"{"z":1.0,"a":"x \" }  y","n":12345678901234567890123}"#;
    assert_eq!(turn.calls[0].arguments, expected);
}

#[test]
fn tools_are_read_and_servers_tools_stay_foreign() {
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3});
    let asked = with(json!({"tools": [
        {"name": "f", "description": "D", "input_schema": {"type": "object"}, "strict": true,
         "cache_control": {"type": "ephemeral"}, "type": "custom", "input_examples": [{}]},
        search, {"type": "browser_toolset_20260801"},
    ]}));
    let [f, s, b] = asked.tools.as_slice() else {
        panic!()
    };
    assert_eq!(
        (f.name.as_str(), f.description.as_deref(), f.strict),
        ("f", Some("D"), Some(true))
    );
    assert_eq!(f.parameters, Some(json!({"type": "object"})));
    assert_eq!(f.cache, Some(CacheMark::default()));
    assert!(f.foreign.is_none());
    assert_eq!((s.name.as_str(), &s.foreign), ("web_search", &Some(search)));
    assert_eq!(b.name, "browser_toolset_20260801");
    assert!(asked.other.contains_key("tools.input_examples"));
}

#[test]
fn every_tool_choice_is_read() {
    let chosen = |choice: Value| {
        let tools = json!([{"name": "f", "input_schema": {"type": "object"}},
            {"type": "bash_20250124", "name": "bash"}]);
        let asked = with(json!({"tools": tools, "tool_choice": choice}));
        (asked.tool_choice, asked.parallel_tool_calls)
    };
    assert_eq!(
        chosen(json!({"type": "auto"})),
        (Some(ToolChoice::Auto), None)
    );
    assert_eq!(
        chosen(json!({"type": "none"})),
        (Some(ToolChoice::None), None)
    );
    let one = json!({"type": "any", "disable_parallel_tool_use": true});
    assert_eq!(chosen(one), (Some(ToolChoice::Required), Some(false)));
    let f = json!({"type": "tool", "name": "f", "disable_parallel_tool_use": false});
    assert_eq!(
        chosen(f),
        (Some(ToolChoice::Function("f".to_owned())), None)
    );
    let bash = json!({"type": "tool", "name": "bash"});
    assert_eq!(
        chosen(bash),
        (Some(ToolChoice::Foreign("bash".to_owned())), None)
    );
    assert_eq!(
        with(json!({"tool_choice": {"type": "auto"}})).tool_choice,
        None
    );
}

#[test]
fn thinking_is_read() {
    let reasoning = |fields: Value| with(fields).reasoning;
    let some = |effort: Option<&str>, budget, visible| {
        Some(Reasoning {
            effort: effort.map(str::to_owned),
            budget,
            visible,
        })
    };
    let thinking = |value: Value| reasoning(json!({"thinking": value}));
    assert_eq!(reasoning(json!({})), None);
    let enabled = json!({"type": "enabled", "budget_tokens": 2048});
    assert_eq!(thinking(enabled), some(None, Some(2048), Some(true)));
    let hidden = json!({"type": "enabled", "budget_tokens": 2048, "display": "omitted"});
    assert_eq!(thinking(hidden), some(None, Some(2048), Some(false)));
    assert_eq!(
        thinking(json!({"type": "adaptive"})),
        some(None, None, None)
    );
    let shown = json!({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "xhigh"}});
    assert_eq!(reasoning(shown), some(Some("xhigh"), None, Some(true)));
    assert_eq!(
        thinking(json!({"type": "between_tools"})),
        some(None, None, None)
    );
    assert_eq!(
        thinking(json!({"type": "disabled"})),
        some(Some("none"), None, None)
    );
    let effort = json!({"output_config": {"effort": "low"}});
    assert_eq!(reasoning(effort), some(Some("low"), None, None));
}

#[test]
fn a_schema_is_read_from_both_its_places() {
    let schema = json!({"type": "object", "properties": {}});
    let format = json!({"type": "json_schema", "schema": schema});
    let expected = Format::JsonSchema {
        name: Some("response".to_owned()),
        description: None,
        schema,
        strict: Some(true),
    };
    assert_eq!(
        with(json!({"output_config": {"format": format}})).format,
        expected
    );
    assert_eq!(with(json!({"output_format": format})).format, expected);
    assert_eq!(with(json!({})).format, Format::Text);
}

fn call_mark(asked: &Conversation) -> Option<CacheMark> {
    let Some(Message::Assistant(turn)) = asked.messages.last() else {
        panic!("no turn: {asked:?}");
    };
    turn.calls[0].cache.clone()
}

#[test]
fn a_mark_for_the_whole_request_is_on_its_last_part() {
    let mark = json!({"type": "ephemeral"});
    let asked = with(json!({"cache_control": mark}));
    let Message::User { parts, .. } = &asked.messages[0] else {
        panic!()
    };
    assert_eq!(parts[0].cache, Some(CacheMark::default()));
    let call = json!([{"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "f", "input": {}, "cache_control": mark}]}]);
    let asked = with(json!({"messages": call}));
    assert_eq!(call_mark(&asked), Some(CacheMark::default()));
    let call = json!([{"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "f", "input": {}}]}]);
    let asked = with(json!({"messages": call, "cache_control": mark}));
    assert_eq!(call_mark(&asked), Some(CacheMark::default()));
    let result = json!({"type": "tool_result", "tool_use_id": "t", "cache_control": mark});
    let asked = with(json!({"messages": [{"role": "user", "content": [result]}]}));
    assert!(asked.other.contains_key("tool_result.cache_control"));
    for name in asked.other.keys() {
        assert!(HARMLESS.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let message =
        |role: &str, content: Value| json!({"messages": [{"role": role, "content": content}]});
    let at = "messages[0].content[0]";
    let cases = [
        (json!({"model": 5}), "model"),
        (json!({"max_tokens": "10"}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"max_tokens": 1.5}), "max_tokens"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": null}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": ["x"]}), "messages[0]"),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
        ),
        (json!({"messages": [{"content": "x"}]}), "messages[0].role"),
        (message("tool", json!("x")), "messages[0].role"),
        (message("user", json!([])), "messages[0].content"),
        (message("user", json!(5)), "messages[0].content"),
        (message("user", json!(["x"])), at),
        (
            message("user", json!([{"type": "text"}])),
            "messages[0].content[0].text",
        ),
        (
            message("user", json!([{"type": "text", "text": 1}])),
            "messages[0].content[0].text",
        ),
        (
            message(
                "user",
                json!([{"type": "tool_use", "id": "a", "name": "f", "input": {}}]),
            ),
            at,
        ),
        (message("user", json!([{"type": "search_result"}])), at),
        (
            message("user", json!([{"type": "image"}])),
            "messages[0].content[0].source",
        ),
        (
            message(
                "user",
                json!([{"type": "image", "source": {"type": "ftp"}}]),
            ),
            "messages[0].content[0].source",
        ),
        (
            message(
                "user",
                json!([{"type": "image", "source": {"type": "base64", "data": ""}}]),
            ),
            "messages[0].content[0].source.media_type",
        ),
        (
            message("user", json!([{"type": "tool_result"}])),
            "messages[0].content[0].tool_use_id",
        ),
        (
            message(
                "user",
                json!([{"type": "tool_result", "tool_use_id": "a",
                "content": [{"type": "tool_reference", "tool_name": "f"}]}]),
            ),
            "messages[0].content[0].content[0]",
        ),
        (message("system", json!([{"type": "image"}])), at),
        (
            message("assistant", json!([{"type": "server_tool_use"}])),
            at,
        ),
        (
            message(
                "assistant",
                json!([{"type": "tool_result", "tool_use_id": "a"}]),
            ),
            at,
        ),
        (
            message(
                "assistant",
                json!([{"type": "tool_use", "id": "a", "name": "f", "input": "x"}]),
            ),
            "messages[0].content[0].input",
        ),
        (
            json!({"system": [{"type": "text", "text": "x", "cache_control": {"type": "forever"}}]}),
            "system[0].cache_control",
        ),
        (json!({"stop_sequences": ["a", 1]}), "stop_sequences[1]"),
        (json!({"tools": [{"name": "f"}]}), "tools[0].input_schema"),
        (
            json!({"tools": [{"name": "f", "input_schema": []}]}),
            "tools[0].input_schema",
        ),
        (json!({"tools": [{"input_schema": {}}]}), "tools[0].name"),
        (json!({"tool_choice": "auto"}), "tool_choice"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (
            json!({"tool_choice": {"type": "tool", "name": "g"}}),
            "tool_choice.name",
        ),
        (json!({"tool_choice": {"type": "some"}}), "tool_choice.type"),
        (json!({"thinking": {"type": "deep"}}), "thinking.type"),
        (
            json!({"thinking": {"type": "enabled"}}),
            "thinking.budget_tokens",
        ),
        (
            json!({"output_config": {"format": {"type": "yaml"}}}),
            "output_config.format",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema"}}}),
            "output_config.format.schema",
        ),
        (json!({"metadata": {"user_id": 5}}), "metadata.user_id"),
        (json!({"mcp_servers": [{"type": "url"}]}), "mcp_servers"),
    ];
    for (fields, param) in cases {
        let (got, text) = refused(fields.clone());
        assert_eq!(got, param, "{fields}: {text}");
    }
    assert!(parse(&request(json!({"mcp_servers": []}))).is_ok());
}

#[test]
fn what_is_no_object_is_refused() {
    for body in ["", "{", "[]", "null", "5", "{\"model\":}", "\u{feff}{}"] {
        let error = MessagesFace.parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.status(), 400, "{body}");
    }
    let error = MessagesFace.parse(&[b'{', 0xff, b'}']).unwrap_err();
    assert_eq!(error.code(), "invalid_json");
}
