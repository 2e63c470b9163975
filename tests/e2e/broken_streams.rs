//! Streams that break after the first token: another model goes on where that is honest, and where it is not the
//! client is told.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Request, Stream};
use crate::gate::STURDY;
use crate::gateway::{Gateway, KEY, model, own_key, provider, provider_with};
use crate::provider::{
    Cut, Provider, Script, Wire, cut, delta, error_body, fail, finish, silence, stream,
};
use crate::wait::eventually;

/// A `[providers.NAME]` stanza for a scripted Anthropic.
fn anthropic(name: &str, provider: &Provider) -> String {
    format!(
        "[providers.{name}]\ndialect = \"anthropic\"\nbase_url = \"{}\"\n",
        provider.base_url()
    )
}

/// Of the models that the table knows to go on with an assistant's message.
const CLAUDE: &str = "claude-haiku-4-5";

fn route(targets: &[&str], rest: &str) -> String {
    format!("{}{rest}\n{}", model("m", targets), own_key())
}

/// A gateway with `m` on a first and then a second provider, and further lines of the route.
fn both(first: &Provider, second: &Provider, rest: &str) -> Gateway {
    let config = [
        provider("first", first),
        provider("second", second),
        route(&["first/one", "second/two"], rest),
    ];
    Gateway::start(&config.concat())
}

/// A stream of Anthropic's that says `texts`; whole unless it is cut.
fn claude(texts: &'static [&'static str], how: Option<Cut>) -> Script {
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        claude_says(wire, texts)?;
        if let Some(how) = how {
            return wire.cut(how);
        }
        for event in [
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                   "usage": {"output_tokens": 7}}),
            json!({"type": "message_stop"}),
        ] {
            named(wire, &event)?;
        }
        wire.end()
    })
}

fn claude_says(wire: &mut Wire, texts: &[&str]) -> std::io::Result<()> {
    let message = json!({"id": "msg_scripted", "type": "message", "role": "assistant", "model": CLAUDE, "content": [],
                         "stop_reason": null, "stop_sequence": null,
                         "usage": {"input_tokens": 50, "output_tokens": 1}});
    named(wire, &json!({"type": "message_start", "message": message}))?;
    let block = json!({"type": "text", "text": ""});
    named(
        wire,
        &json!({"type": "content_block_start", "index": 0, "content_block": block}),
    )?;
    for text in texts {
        let delta = json!({"type": "text_delta", "text": text});
        named(
            wire,
            &json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        )?;
    }
    Ok(())
}

fn named(wire: &mut Wire, event: &Value) -> std::io::Result<()> {
    let name = event["type"].as_str().unwrap();
    wire.chunk(format!("event: {name}\ndata: {event}\n\n").as_bytes())
}

/// Says `texts` and finishes.
fn says(texts: &[&str]) -> Script {
    let mut events: Vec<String> = texts.iter().map(|text| delta(text)).collect();
    events.push(finish());
    stream(events)
}

/// A client's streaming request; `more` are further members.
fn ask(path: &str, more: &Value) -> Request {
    let mut body = match path {
        "/v1/messages" => {
            json!({"max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]})
        }
        "/v1/responses" => json!({"input": "Hello"}),
        _ => json!({"messages": [{"role": "user", "content": "Hello"}]}),
    };
    body["model"] = "m".into();
    body["stream"] = true.into();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(path).key(KEY).json(body.to_string())
}

const CHAT: &str = "/v1/chat/completions";

fn open(gateway: &Gateway, request: &Request) -> Stream {
    gateway.connect().stream(request).unwrap()
}

/// Events that are JSON.
fn parsed(events: &[String]) -> Vec<Value> {
    let events = events
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok());
    events.collect()
}

/// The text of a stream in any of the three formats.
fn text(events: &[String]) -> String {
    let pieces = parsed(events).into_iter().filter_map(|event| {
        let chat = event["choices"][0]["delta"]["content"].as_str();
        let claude = event["delta"]["text"].as_str();
        let response = event["delta"].as_str();
        chat.or(claude).or(response).map(str::to_owned)
    });
    pieces.collect()
}

fn outcomes(gateway: &Gateway, stream: &Stream) -> (String, Vec<String>) {
    let line = gateway.access_line(stream.head.header("x-request-id").unwrap());
    let attempts = line["attempts"].as_array().unwrap().iter();
    let attempts = attempts.map(|attempt| attempt["outcome"].as_str().unwrap().to_owned());
    (
        line["outcome"].as_str().unwrap().to_owned(),
        attempts.collect(),
    )
}

fn told(outcome: &str, attempts: &[&str]) -> (String, Vec<String>) {
    let attempts = attempts.iter().map(|attempt| (*attempt).to_owned());
    (outcome.to_owned(), attempts.collect())
}

/// Whether the stream ends with an error and shows no sign of success.
fn is_honest(events: &[String]) -> bool {
    let finished = |event: &String| {
        let success = [
            "message_stop",
            "message_delta",
            "response.completed",
            "[DONE]",
            "_stop\"",
        ];
        success.iter().any(|word| event.contains(word)) || event.contains("\"finish_reason\":\"")
    };
    events.last().is_some_and(|last| last.contains("\"error\"")) && !events.iter().any(finished)
}

/// A pause of a slow provider, and not a wait for something.
fn pause(milliseconds: u64) {
    let (_closed, slow) = channel::<()>();
    let _ = slow.recv_timeout(Duration::from_millis(milliseconds));
}

fn pass(gate: &Mutex<Receiver<()>>) {
    let _ = gate.lock().unwrap().recv();
}

/// Says `first`, waits for the test, and resets the connection: a reset may overtake what was sent before it.
fn gated_reset(first: &'static str) -> (Sender<()>, Script) {
    let (open, gate) = channel();
    let gate = Mutex::new(gate);
    let script: Script = Arc::new(move |_, wire| {
        wire.stream_head()?;
        wire.event(&delta(first))?;
        pass(&gate);
        wire.reset()
    });
    (open, script)
}

/// Every way to break in mid-stream but the reset.
fn breaks() -> Vec<(&'static str, Script)> {
    let stalls: Script = Arc::new(|request, wire| {
        wire.stream_head()?;
        wire.event(&delta("one "))?;
        silence()(request, wire)
    });
    let error: Script = Arc::new(|_, wire| {
        wire.stream_head()?;
        wire.event(&delta("one "))?;
        wire.event(&error_body("overloaded", "server_error", "x"))?;
        wire.cut(Cut::LastChunk)
    });
    vec![
        ("a close", cut(vec![delta("one ")], Cut::Close)),
        ("an early end", cut(vec![delta("one ")], Cut::LastChunk)),
        ("a stall", stalls),
        ("an error in band", error),
    ]
}

#[test]
fn a_model_that_can_is_given_the_text_and_goes_on() {
    let (first, second) = (
        Provider::start(fail(500)),
        Provider::start(claude(&[" two", " three"], None)),
    );
    let config = [
        provider_with("first", &first, "timeouts = { stall = \"400ms\" }"),
        anthropic("second", &second),
        route(&["first/one", &format!("second/{CLAUDE}")], ""),
    ];
    let gateway = Gateway::start(&config.concat());
    let usage = json!({"stream_options": {"include_usage": true}, "max_tokens": 40});
    for (what, script) in breaks() {
        first.become_script(script);
        let mut client = open(&gateway, &ask(CHAT, &usage));
        let events = client.events();
        assert_eq!(events[0], delta("one "), "{what}");
        assert_eq!(text(&events), "one two three", "{what}: {events:?}");
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{what}");
        assert_eq!(client.complete, Some(true), "{what}");
        let chunks = parsed(&events);
        for chunk in &chunks {
            assert_eq!(chunk["id"], "chatcmpl-scripted", "{what}");
            assert_eq!(chunk["model"], "scripted", "{what}");
            assert_eq!(chunk["created"], 1_763_850_000, "{what}");
        }
        let finishes = chunks
            .iter()
            .filter(|c| c["choices"][0]["finish_reason"].is_string());
        assert_eq!(finishes.count(), 1, "{what}: {events:?}");
        // The first told nothing: its prompt and "one " are estimated. The second told 50 and 7.
        let usage = &chunks.last().unwrap()["usage"];
        assert!(
            usage["prompt_tokens"].as_u64().unwrap() > 50,
            "{what}: {usage}"
        );
        assert_eq!(usage["completion_tokens"], 1 + 7, "{what}");
        let asked = second.take_one().json();
        let last = asked["messages"].as_array().unwrap().last().unwrap();
        assert_eq!(last["role"], "assistant", "{what}: {asked}");
        assert!(last.to_string().contains("\"one\""), "{what}: {asked}");
        assert_eq!(asked["max_tokens"], 39, "{what}");
        assert_eq!(
            outcomes(&gateway, &client),
            told("ok", &["truncated", "ok"]),
            "{what}"
        );
    }
    let attempts = |provider, outcome| {
        let labels = [("provider", provider), ("outcome", outcome)];
        gateway.metric("tollgate_attempts_total", &labels)
    };
    eventually("the attempts are counted", || {
        (attempts("first", "truncated") == 4.0 && attempts("second", "ok") == 4.0).then_some(())
    });
}

#[test]
fn a_reset_is_a_break_like_any_other() {
    let (reset, script) = gated_reset("one ");
    let (first, second) = (
        Provider::start(script),
        Provider::start(claude(&["two"], None)),
    );
    let config = [
        provider("first", &first),
        anthropic("second", &second),
        route(&["first/one", &format!("second/{CLAUDE}")], ""),
    ];
    let gateway = Gateway::start(&config.concat());
    let mut client = open(&gateway, &ask(CHAT, &json!({})));
    assert_eq!(client.event(), Some(delta("one ")));
    reset.send(()).unwrap();
    let rest = client.events();
    assert_eq!(text(&rest), "two");
    assert_eq!(rest.last().map(String::as_str), Some("[DONE]"));
}

#[test]
fn a_model_that_cannot_is_asked_anew_and_heard_if_it_says_the_same() {
    let (first, second) = (
        Provider::start(cut(vec![delta("one "), delta("two")], Cut::Close)),
        Provider::start(fail(500)),
    );
    let config = [
        provider_with("first", &first, STURDY),
        provider("second", &second),
        route(&["first/one", "second/two"], ""),
    ];
    let gateway = Gateway::start(&config.concat());
    for (texts, expected) in [
        (&["one two three"][..], Some("one two three")),
        (&["o", "ne t", "wo", " three"], Some("one two three")),
        (&["one two"], Some("one two")),
        (&["one Two three"], None),
        (&["One"], None),
        (&["one"], None),
    ] {
        second.become_script(says(texts));
        let mut client = open(&gateway, &ask(CHAT, &json!({})));
        let events = client.events();
        match expected {
            Some(expected) => {
                assert_eq!(text(&events), expected, "{texts:?}");
                assert_eq!(
                    events.last().map(String::as_str),
                    Some("[DONE]"),
                    "{texts:?}"
                );
            }
            None => {
                assert_eq!(text(&events), "one two", "{texts:?}");
                assert!(is_honest(&events), "{texts:?}: {events:?}");
                assert_eq!(outcomes(&gateway, &client).0, "truncated", "{texts:?}");
            }
        }
        let asked = second.take_one().json();
        assert_eq!(asked["messages"].as_array().unwrap().len(), 1, "{asked}");
    }
}

#[test]
fn a_translated_stream_goes_on_with_a_provider_that_has_a_flag_for_it() {
    let (first, second) = (
        Provider::start(claude(&["one", " two"], Some(Cut::Close))),
        Provider::start(says(&[" three"])),
    );
    let config = [
        anthropic("first", &first),
        provider_with("second", &second, "options = { prefill = \"prefix\" }"),
        route(&[&format!("first/{CLAUDE}"), "second/mistral"], ""),
    ];
    let gateway = Gateway::start(&config.concat());
    for path in [CHAT, "/v1/responses"] {
        let mut client = open(&gateway, &ask(path, &json!({})));
        let events = client.events();
        assert_eq!(text(&events), "one two three", "{path}: {events:?}");
        let asked = second.take_one().json();
        let last = asked["messages"].as_array().unwrap().last().unwrap();
        assert_eq!(last["prefix"], true, "{path}: {asked}");
        assert_eq!(last["content"], "one two", "{path}: {asked}");
        assert_eq!(
            outcomes(&gateway, &client),
            told("ok", &["truncated", "ok"]),
            "{path}"
        );
        if path == CHAT {
            let ids = parsed(&events)
                .into_iter()
                .map(|chunk| chunk["id"].to_string());
            let ids: std::collections::BTreeSet<String> = ids.collect();
            assert_eq!(ids.len(), 1, "{ids:?}");
            continue;
        }
        let kinds = parsed(&events)
            .into_iter()
            .map(|event| event["type"].to_string());
        let kinds: Vec<String> = kinds.collect();
        let once = |kind: &str| kinds.iter().filter(|k| k.contains(kind)).count();
        assert_eq!(once("response.created"), 1, "{kinds:?}");
        assert_eq!(once("response.completed"), 1, "{kinds:?}");
        assert_eq!(once("response.output_text.done"), 1, "{kinds:?}");
        let whole = parsed(&events).pop().unwrap()["response"].clone();
        assert_eq!(whole["output"][0]["content"][0]["text"], "one two three");
        // The first told 50; the second nothing, so its prompt is estimated.
        assert!(
            whole["usage"]["input_tokens"].as_u64().unwrap() > 50,
            "{whole}"
        );
    }
}

#[test]
fn a_messages_client_sees_one_message() {
    let (first, second) = (
        Provider::start(claude(&["one"], Some(Cut::Close))),
        Provider::start(claude(&[" two"], None)),
    );
    let config = [
        anthropic("first", &first),
        anthropic("second", &second),
        route(
            &[&format!("first/{CLAUDE}"), &format!("second/{CLAUDE}")],
            "",
        ),
    ];
    let gateway = Gateway::start(&config.concat());
    let mut client = open(&gateway, &ask("/v1/messages", &json!({})));
    let events = client.events();
    assert_eq!(text(&events), "one two", "{events:?}");
    let kinds = parsed(&events)
        .into_iter()
        .map(|event| event["type"].as_str().unwrap().to_owned());
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    // What the first told of its output, 1, is as old as its start; "one" is 1 as well.
    let usage = parsed(&events)[5]["usage"].clone();
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"]),
        (&json!(100), &json!(8))
    );
}

#[test]
fn a_message_that_is_cut_behind_its_block_is_not_continued() {
    let first = Provider::start(Arc::new(|_, wire: &mut Wire| {
        wire.stream_head()?;
        claude_says(wire, &["one"])?;
        named(wire, &json!({"type": "content_block_stop", "index": 0}))?;
        wire.cut(Cut::Close)
    }));
    let second = Provider::start(claude(&[" two"], None));
    let config = [
        anthropic("first", &first),
        anthropic("second", &second),
        route(
            &[&format!("first/{CLAUDE}"), &format!("second/{CLAUDE}")],
            "",
        ),
    ];
    let gateway = Gateway::start(&config.concat());
    let events = open(&gateway, &ask("/v1/messages", &json!({}))).events();
    assert!(events.last().unwrap().contains("\"error\""), "{events:?}");
    assert_eq!(second.count(), 0);
}

#[test]
fn several_break_in_a_row_and_the_last_one_ends_it() {
    let providers = [
        Provider::start(cut(vec![delta("one")], Cut::Close)),
        Provider::start(claude(&[" two"], Some(Cut::Close))),
        Provider::start(fail(503)),
        Provider::start(claude(&[" three"], None)),
    ];
    let config = [
        provider("a", &providers[0]),
        anthropic("b", &providers[1]),
        anthropic("c", &providers[2]),
        anthropic("d", &providers[3]),
        route(
            &[
                "a/x",
                &format!("b/{CLAUDE}"),
                &format!("c/{CLAUDE}"),
                &format!("d/{CLAUDE}"),
            ],
            "",
        ),
    ];
    let gateway = Gateway::start(&config.concat());
    let usage = json!({"stream_options": {"include_usage": true}});
    let mut client = open(&gateway, &ask(CHAT, &usage));
    let events = client.events();
    assert_eq!(text(&events), "one two three", "{events:?}");
    let seen = outcomes(&gateway, &client);
    assert_eq!(
        seen,
        told(
            "ok",
            &[
                "truncated",
                "truncated",
                "server_error",
                "server_error",
                "ok"
            ]
        )
    );
    let chunks = parsed(&events);
    let usage = &chunks.last().unwrap()["usage"];
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 100, "{usage}");
    assert_eq!(usage["completion_tokens"], 1 + 1 + 7, "{usage}");
    let asked = providers[3].take_one().json();
    assert!(asked["messages"].to_string().contains("one two"), "{asked}");
}

#[test]
fn what_breaks_behind_its_finish_is_whole() {
    let scripted = Provider::start(cut(vec![delta("one"), finish()], Cut::Close));
    let gateway = Gateway::start(&[provider("main", &scripted), route(&["main/x"], "")].concat());
    for path in [CHAT, "/v1/messages", "/v1/responses"] {
        let mut client = open(&gateway, &ask(path, &json!({})));
        let events = client.events();
        assert_eq!(text(&events), "one", "{path}: {events:?}");
        assert!(!is_honest(&events), "{path}: {events:?}");
        assert_eq!(outcomes(&gateway, &client), told("ok", &["ok"]), "{path}");
    }
}

#[test]
fn when_nobody_is_left_the_break_is_told() {
    let (first, second) = (
        Provider::start(cut(vec![delta("one")], Cut::Close)),
        Provider::start(fail(500)),
    );
    let config = [
        provider("first", &first),
        anthropic("second", &second),
        route(&["first/one", &format!("second/{CLAUDE}")], ""),
    ];
    let gateway = Gateway::start(&config.concat());
    let mut client = open(&gateway, &ask(CHAT, &json!({})));
    let events = client.events();
    assert_eq!(events[0], delta("one"));
    assert!(is_honest(&events), "{events:?}");
    let seen = outcomes(&gateway, &client);
    // It is tried again, as a transient fault is.
    let attempts = ["truncated", "server_error", "server_error"];
    assert_eq!(seen, told("truncated", &attempts));
}

#[test]
fn what_is_more_than_a_text_is_not_continued() {
    let (first, second) = (
        Provider::start(cut(vec![delta("one")], Cut::Close)),
        Provider::start(says(&["one two"])),
    );
    let gateway = both(&first, &second, "");
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    for more in [
        json!({"tools": [tool]}),
        json!({"response_format": {"type": "json_object"}}),
        json!({"n": 2}),
        json!({"logprobs": true}),
    ] {
        let events = open(&gateway, &ask(CHAT, &more)).events();
        assert!(is_honest(&events), "{more}: {events:?}");
        assert_eq!(second.count(), 0, "{more}");
    }
    let thought = json!({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": null}]});
    first.become_script(cut(vec![thought.to_string(), delta("one")], Cut::Close));
    let events = open(&gateway, &ask(CHAT, &json!({}))).events();
    assert!(is_honest(&events), "{events:?}");
    assert_eq!(second.count(), 0);
}

#[test]
fn a_route_that_wants_an_error_gets_one() {
    let (first, second) = (
        Provider::start(cut(vec![delta("one")], Cut::Close)),
        Provider::start(says(&["one two"])),
    );
    let gateway = both(&first, &second, "on_break = \"error\"");
    let events = open(&gateway, &ask(CHAT, &json!({}))).events();
    assert!(is_honest(&events), "{events:?}");
    assert_eq!(second.count(), 0);
}

#[test]
fn a_route_that_holds_shows_nothing_of_what_broke() {
    let (first, second) = (
        Provider::start(fail(500)),
        Provider::start(says(&["whole"])),
    );
    let config = [
        provider_with(
            "first",
            &first,
            "timeouts = { stall = \"400ms\" }\nbreaker = { consecutive_failures = 1000, error_rate = 1.0 }",
        ),
        provider("second", &second),
        // Held back, a cut is as any other fault; here it is not tried again.
        route(
            &["first/one", "second/two"],
            "on_break = \"hold\"\nretries = 0",
        ),
    ];
    let gateway = Gateway::start(&config.concat());
    for (what, script) in breaks() {
        first.become_script(script);
        // Translated as well, on its way to the client of the Messages API.
        for path in [CHAT, "/v1/messages"] {
            let mut client = open(&gateway, &ask(path, &json!({})));
            let events = client.events();
            assert_eq!(text(&events), "whole", "{what} {path}: {events:?}");
            assert_eq!(
                client.head.header("x-tollgate-provider"),
                Some("second"),
                "{what} {path}"
            );
            let (outcome, attempts) = outcomes(&gateway, &client);
            assert_eq!(
                (outcome.as_str(), attempts.len()),
                ("ok", 2),
                "{what} {path}"
            );
        }
    }
    first.become_script(says(&["all ", "of it"]));
    let mut client = open(&gateway, &ask(CHAT, &json!({})));
    assert_eq!(
        client.events(),
        [delta("all "), delta("of it"), finish(), "[DONE]".to_owned()]
    );
    assert_eq!(client.head.header("x-tollgate-provider"), Some("first"));
}

#[test]
fn an_event_that_nobody_can_read_is_left_out_and_counted() {
    let broken: Script = Arc::new(|_, wire| {
        wire.stream_head()?;
        wire.event(&delta("one"))?;
        wire.event("{\"choices\":[{\"del")?;
        wire.event("<html>")?;
        wire.event(&delta(" two"))?;
        wire.event(&finish())?;
        wire.event("[DONE]")?;
        wire.end()
    });
    let scripted = Provider::start(broken);
    let gateway = Gateway::start(&[provider("main", &scripted), route(&["main/x"], "")].concat());
    let mut seen = 0.0;
    for path in [CHAT, "/v1/messages", "/v1/responses"] {
        let mut client = open(&gateway, &ask(path, &json!({})));
        let events = client.events();
        assert_eq!(text(&events), "one two", "{path}: {events:?}");
        assert!(
            !events.iter().any(|event| event.contains("\"error\":{")),
            "{path}: {events:?}"
        );
        assert!(!events.concat().contains("<html>"), "{path}");
        let line = gateway.access_line(client.head.header("x-request-id").unwrap());
        assert_eq!(
            (&line["malformed_events"], &line["outcome"]),
            (&json!(2), &json!("ok")),
            "{path}"
        );
        seen += 2.0;
        assert_eq!(
            gateway.metric("tollgate_malformed_events_total", &[("provider", "main")]),
            seen
        );
    }
}

#[test]
fn a_call_with_a_hole_is_never_shown_as_whole() {
    let piece = |fields: Value| {
        let call = json!({"choices": [{"index": 0, "delta": {"tool_calls": [fields]}, "finish_reason": null}]});
        call.to_string()
    };
    let start = piece(
        json!({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}),
    );
    let more = piece(json!({"index": 0, "function": {"arguments": "{\"a\":"}}));
    let end = piece(json!({"index": 0, "function": {"arguments": "1}"}}));
    let finish =
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}).to_string();
    let scripted = Provider::start(fail(500));
    let gateway = Gateway::start(&[provider("main", &scripted), route(&["main/x"], "")].concat());
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let claude_tool = json!({"name": "f", "input_schema": {"type": "object"}});
    let response_tool = json!({"type": "function", "name": "f", "parameters": {"type": "object"}});
    let hole = "{\"choices\":".to_owned();
    for events in [
        vec![
            start.clone(),
            more.clone(),
            hole.clone(),
            end.clone(),
            finish.clone(),
        ],
        vec![delta("hm"), hole, more.clone(), end.clone(), finish.clone()],
    ] {
        scripted.become_script(stream(events));
        for (path, tool) in [
            (CHAT, &tool),
            ("/v1/messages", &claude_tool),
            ("/v1/responses", &response_tool),
        ] {
            let events = open(&gateway, &ask(path, &json!({"tools": [tool]}))).events();
            assert!(is_honest(&events), "{path}: {events:?}");
            let closing = |event: &String| event.contains(".done\"") && event.contains("arguments");
            assert!(!events.iter().any(closing), "{path}: {events:?}");
        }
    }
}

#[test]
fn a_stream_of_broken_events_is_broken() {
    let mut events = vec![delta("one")];
    events.extend(vec!["{".to_owned(); 17]);
    events.extend([delta(" two"), finish()]);
    let scripted = Provider::start(stream(events));
    let gateway = Gateway::start(&[provider("main", &scripted), route(&["main/x"], "")].concat());
    for path in [CHAT, "/v1/messages"] {
        let events = open(&gateway, &ask(path, &json!({}))).events();
        assert_eq!(text(&events), "one", "{path}");
        assert!(is_honest(&events), "{path}: {events:?}");
    }
}

#[test]
fn signs_of_life_are_no_content() {
    let scripted = Provider::start(Arc::new(|_, wire: &mut Wire| {
        wire.stream_head()?;
        wire.event(&delta("one"))?;
        let role =
            json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]});
        loop {
            wire.chunk(b": still here\n\n")?;
            wire.event(&role.to_string())?;
            pause(20);
        }
    }));
    let main = provider_with("main", &scripted, "timeouts = { stall = \"500ms\" }");
    let gateway = Gateway::start(&[main, route(&["main/x"], "")].concat());
    for path in [CHAT, "/v1/messages"] {
        let events = open(&gateway, &ask(path, &json!({}))).events();
        assert!(
            events.last().unwrap().contains("\"error\""),
            "{path}: {events:?}"
        );
        assert_eq!(text(&events), "one", "{path}");
    }
    eventually("the provider is left", || {
        (scripted.closed() == 2).then_some(())
    });
}

#[test]
fn a_trickle_is_not_enough_where_a_rate_is_asked_for() {
    let scripted = Provider::start(Arc::new(|_, wire: &mut Wire| {
        wire.stream_head()?;
        loop {
            wire.event(&delta("a "))?;
            pause(20);
        }
    }));
    let limits = "timeouts = { min_tokens_per_second = 1000.0, rate_window = \"1s\" }";
    let main = provider_with("main", &scripted, limits);
    let gateway = Gateway::start(&[main, route(&["main/x"], "")].concat());
    for path in [CHAT, "/v1/messages"] {
        let events = open(&gateway, &ask(path, &json!({}))).events();
        assert!(is_honest(&events), "{path}: {events:?}");
    }
}

#[test]
fn the_deadline_of_a_whole_answer_ends_it() {
    let scripted = Provider::start(Arc::new(|_, wire: &mut Wire| {
        wire.stream_head()?;
        loop {
            wire.event(&delta("a "))?;
            pause(20);
        }
    }));
    let second = Provider::start(says(&["a "]));
    let config = [
        provider("main", &scripted),
        provider("second", &second),
        route(
            &["main/x", "second/y"],
            "deadline = \"1s\"\ndeadline_covers = \"answer\"",
        ),
    ];
    let gateway = Gateway::start(&config.concat());
    for path in [CHAT, "/v1/messages", "/v1/responses"] {
        let mut client = open(&gateway, &ask(path, &json!({})));
        let events = client.events();
        assert!(is_honest(&events), "{path}: {events:?}");
        let line = gateway.access_line(client.head.header("x-request-id").unwrap());
        assert_eq!(line["error"], "timeout", "{path}: {line}");
    }
    assert_eq!(second.count(), 0);
}

#[test]
fn a_client_that_leaves_cancels_the_continuation() {
    let (first, second) = (
        Provider::start(cut(vec![delta("one")], Cut::Close)),
        Provider::start(silence()),
    );
    let config = [
        provider("first", &first),
        anthropic("second", &second),
        route(&["first/one", &format!("second/{CLAUDE}")], ""),
    ];
    let gateway = Gateway::start(&config.concat());
    let mut client = open(&gateway, &ask(CHAT, &json!({})));
    assert_eq!(client.event(), Some(delta("one")));
    eventually("the second is asked", || {
        (second.count() == 1).then_some(())
    });
    drop(client);
    eventually("the second is left", || {
        (second.closed() == 1).then_some(())
    });
    eventually("nothing is in flight", || {
        (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(())
    });
}
