//! What streams and whole answers are billed, however they end and whatever their providers say of it.
//!
//! Tolerance: where nobody tells the tokens they are counted here. Of what was said, the words of these tests are
//! one token each, and the count has to be exact. Of what went in, the count has to be within a quarter of OpenAI's
//! own (a token for each word, and 7 for the form of one message).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::accounts::{ESTIMATED, Ledger, Settled, TOLD, at_rest, limit, price, prices, told};
use crate::client::{Client, Request, Response};
use crate::gate::STURDY;
use crate::gateway::{
    Directory, Gateway, KEY, SECRET_VARIABLE, model_once, own_key, provider, provider_with,
};
use crate::provider::{Cut, Provider, Script, Wire, delta, error_body, finish};
use crate::wait::eventually;

const STREAMS: usize = 2_000;
const CLIENTS: usize = 16;
/// Words of a request, each of them a token.
const ASKED: u64 = 40;
/// What OpenAI counts for it.
const PROMPT: u64 = ASKED + 7;

const WORDS: [&str; 8] = [
    "one", " two", " three", " four", " five", " six", " seven", " eight",
];
const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const JSON: [&str; 1] = ["content-type: application/json"];

fn question() -> String {
    "word".to_owned() + &" word".repeat(ASKED as usize - 1)
}

/// A request to any endpoint; `more` are further members.
fn ask(path: &str, more: &Value) -> Request {
    let said = json!([{"role": "user", "content": question()}]);
    let mut body = match path {
        MESSAGES => json!({"model": "m", "max_tokens": 100, "messages": said}),
        RESPONSES => json!({"model": "m", "max_output_tokens": 100, "input": question()}),
        "/v1/embeddings" => json!({"model": "m", "input": question()}),
        "/v1/completions" => json!({"model": "m", "max_tokens": 100, "prompt": question()}),
        _ => json!({"model": "m", "max_tokens": 100, "messages": said}),
    };
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(path).key(KEY).json(body.to_string())
}

/// `m` on one provider of this dialect, a micro-dollar for each token either way.
fn one(dialect: &str, scripted: &Provider, route: &str) -> (Directory, Gateway) {
    // Chats pass as ever; so do Responses.
    let options = match dialect {
        "openai" => "options = { responses = \"native\" }\n",
        _ => "",
    };
    let (file, prices) = prices(&price("main", 1.0, 1.0));
    let config = [
        prices,
        limit("all", "100 usd", ""),
        format!(
            "[providers.main]\ndialect = \"{dialect}\"\nbase_url = \"{}\"\ncredential = \"env:{SECRET_VARIABLE}\"\n{options}",
            scripted.base_url()
        ),
        model_once("m", &["main/upstream-m"]) + route,
        own_key(),
    ];
    (file, Gateway::start(&config.join("\n")))
}

/// Asks, reads to the end, and gives what the ledger has of it.
fn billed(gateway: &Gateway, request: &Request) -> (Response, Vec<String>, Settled) {
    let mut client: Client = gateway.connect();
    client.send(&request.bytes()).unwrap();
    let head = client.head().unwrap();
    let (head, events) = match head.header("content-type") {
        Some("text/event-stream") => {
            let mut stream = client.stream_of(head);
            let events = stream.events();
            (stream.head, events)
        }
        _ => (client.rest_of(head).unwrap(), Vec::new()),
    };
    let settled = Ledger::of(gateway).settlement_of(&head);
    (head, events, settled)
}

fn is_estimated(one: &Settled, said: u64, what: &str) {
    let near = PROMPT - PROMPT / 4..=PROMPT + PROMPT / 4;
    assert_eq!(
        (one.completion, one.source),
        (said, ESTIMATED),
        "{what}: {one:?}"
    );
    assert!(near.contains(&one.prompt), "{what}: {one:?}");
    assert_eq!(one.cost, one.prompt + one.completion, "{what}: {one:?}");
}

fn is_told(one: &Settled, prompt: u64, said: u64, what: &str) {
    let found = (one.prompt, one.completion, one.source, one.cost);
    assert_eq!(
        found,
        (prompt, said, TOLD, prompt + said),
        "{what}: {one:?}"
    );
}

/// The event that tells usage alone.
fn usage_chunk(usage: &Value) -> String {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_763_850_000, "model": "scripted",
        "choices": [], "usage": usage,
    })
    .to_string()
}

/// A chat's stream that says so many words, and then this of its usage.
fn chat_stream(words: usize, usage: Option<Value>) -> Script {
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        say(wire, words)?;
        wire.event(&finish())?;
        if let Some(usage) = &usage {
            wire.event(&usage_chunk(usage))?;
        }
        wire.event("[DONE]")?;
        wire.end()
    })
}

fn say(wire: &mut Wire, words: usize) -> std::io::Result<()> {
    WORDS
        .iter()
        .take(words)
        .try_for_each(|word| wire.event(&delta(word)))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Whole,
    Left,
    Broken,
    Silent,
}

fn fate(n: usize) -> Fate {
    [Fate::Whole, Fate::Left, Fate::Broken, Fate::Silent][n % 4]
}

fn words_of(n: usize) -> usize {
    2 + n / 4 % 6
}

/// What happens to the stream of the user `n`.
fn fated() -> Script {
    Arc::new(|request, wire| {
        let n: usize = request.json()["user"].as_str().unwrap().parse().unwrap();
        let words = words_of(n);
        wire.stream_head()?;
        say(wire, words)?;
        match fate(n) {
            Fate::Left => {
                wire.done = true;
                wire.peer_left();
                return Ok(());
            }
            Fate::Broken => {
                return match n / 4 % 3 {
                    0 => wire.cut(Cut::Close),
                    1 => wire.cut(Cut::LastChunk),
                    _ => {
                        wire.event(&error_body("out of order", "server_error", "x"))?;
                        wire.end()
                    }
                };
            }
            Fate::Whole => {
                wire.event(&finish())?;
                wire.event(&usage_chunk(
                    &json!({"prompt_tokens": 41, "completion_tokens": words}),
                ))?;
            }
            Fate::Silent => wire.event(&finish())?,
        }
        wire.event("[DONE]")?;
        wire.end()
    })
}

/// Reads a stream as its fate has it; the client of one that is left goes in the middle.
fn live(gateway: &Gateway, n: usize) {
    let request = ask(CHAT, &json!({"stream": true, "user": n.to_string()}));
    let mut stream = gateway.connect().stream(&request).unwrap();
    if fate(n) == Fate::Left {
        for _ in 0..words_of(n) {
            assert!(stream.event().is_some(), "{n}");
        }
        return;
    }
    let events = stream.events();
    let is_whole = events.last().is_some_and(|last| last == "[DONE]");
    assert_eq!(is_whole, fate(n) != Fate::Broken, "{n}: {events:?}");
    assert!(
        !events.iter().any(|event| event.contains("\"usage\"")),
        "{n}: {events:?}"
    );
}

#[test]
fn two_thousand_streams_are_billed_once_each_and_for_what_they_said() {
    let scripted = Provider::start(fated());
    let (_file, prices) = prices(&price("main", 1.0, 1.0));
    let config = [
        prices,
        limit("all", "100 usd", ""),
        provider_with("main", &scripted, STURDY),
        model_once("m", &["main/upstream-m"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.join("\n"));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::SeqCst) {
                        n if n < STREAMS => live(&gateway, n),
                        _ => break,
                    }
                }
            });
        }
    });
    let ledger = at_rest(&gateway);
    let mut of = ledger.by_user();
    assert_eq!(of.len(), STREAMS);
    for n in 0..STREAMS {
        let mut all = of.remove(&n.to_string()).unwrap_or_default();
        assert_eq!(all.len(), 1, "{n}: {all:?}");
        let (one, said, what) = (
            all.remove(0),
            words_of(n) as u64,
            format!("{n} {:?}", fate(n)),
        );
        let outcome = match fate(n) {
            Fate::Whole => {
                is_told(&one, 41, said, &what);
                "ok"
            }
            other => {
                is_estimated(&one, said, &what);
                match other {
                    Fate::Left => "canceled",
                    Fate::Broken => "truncated",
                    _ => "ok",
                }
            }
        };
        assert_eq!(one.outcome, outcome, "{what}: {one:?}");
    }
    let spent = ledger.spent() as f64;
    assert_eq!(
        gateway.metric("tollgate_cost_microdollars_total", &[]),
        spent
    );
    let left = gateway.metric("tollgate_limit_remaining", &[("limit", "all")]);
    assert_eq!(left, 100e6 - spent);
    let reports = |source| gateway.metric("tollgate_usage_reports_total", &[("source", source)]);
    let quarter = STREAMS as f64 / 4.0;
    assert_eq!(
        (reports("provider"), reports("estimated")),
        (quarter, 3.0 * quarter)
    );
}

#[test]
fn usage_is_asked_for_and_told_only_to_those_who_asked() {
    let usage = json!({"prompt_tokens": 41, "completion_tokens": 3, "total_tokens": 44});
    let scripted = Provider::start(chat_stream(3, Some(usage)));
    let (_file, gateway) = one("openai", &scripted, "");
    let plain = [
        delta("one"),
        delta(" two"),
        delta(" three"),
        finish(),
        "[DONE]".to_owned(),
    ];
    for options in [
        json!({}),
        json!({"stream_options": {"include_usage": false}}),
    ] {
        let mut more = options.clone();
        more["stream"] = true.into();
        let (_, events, settled) = billed(&gateway, &ask(CHAT, &more));
        assert_eq!(events, plain, "{options}");
        is_told(&settled, 41, 3, "hidden");
        let sent = scripted.take_one().json();
        assert_eq!(
            sent["stream_options"]["include_usage"], true,
            "{options}: {sent}"
        );
    }
    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let (_, events, settled) = billed(&gateway, &ask(CHAT, &more));
    is_told(&settled, 41, 3, "asked for");
    let chunk: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(
        (&chunk["choices"], &chunk["usage"]["total_tokens"]),
        (&json!([]), &json!(44))
    );
    assert_eq!(chunk["tollgate"]["cost_usd"], "0.000044", "{chunk}");
    // Of a whole answer it is a header.
    let script: Script =
        Arc::new(|_, wire| wire.answer(200, &JSON, told(json!("x"), 41, 3).as_bytes()));
    scripted.become_script(script);
    let (answer, _, settled) = billed(&gateway, &ask(CHAT, &json!({})));
    assert_eq!(answer.header("x-tollgate-cost-usd"), Some("0.000044"));
    is_told(&settled, 41, 3, "whole");
}

/// Reports that nobody may believe. Numbers that are none, and such as cannot be.
fn lies(prompt: &str, completion: &str) -> Vec<Value> {
    let odd = [
        json!(-3),
        json!(9_223_372_036_854_775_808_u64),
        json!(u64::MAX),
        json!(3.5),
        json!("3"),
        json!(0),
        json!(1e300),
        json!([3]),
    ];
    let lie = |p: &Value, c: &Value| json!({prompt: p, completion: c});
    let mut all: Vec<Value> = odd.iter().map(|odd| lie(&json!(41), odd)).collect();
    all.extend(odd.iter().map(|odd| lie(odd, &json!(3))));
    all.push(lie(&json!(0), &json!(0)));
    all.push(json!({}));
    all
}

fn whole_chat(words: usize, usage: &Value) -> String {
    json!({
        "id": "chatcmpl-x", "object": "chat.completion", "created": 1, "model": "x",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS[..words].concat()}, "finish_reason": "stop"}],
        "usage": usage,
    })
    .to_string()
}

#[test]
fn what_cannot_be_true_of_a_chat_is_counted() {
    let scripted = Provider::start(crate::provider::silence());
    let (_file, gateway) = one("openai", &scripted, "");
    let mut all = lies("prompt_tokens", "completion_tokens");
    all.extend([json!("x"), json!([1]), Value::Null]);
    for lie in all {
        for words in [1, 8] {
            scripted.become_script(chat_stream(words, Some(lie.clone())));
            let (_, events, settled) = billed(&gateway, &ask(CHAT, &json!({"stream": true})));
            assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{lie}");
            is_estimated(&settled, words as u64, &format!("stream {lie}"));
            let body = whole_chat(words, &lie);
            let script: Script = Arc::new(move |_, wire| wire.answer(200, &JSON, body.as_bytes()));
            scripted.become_script(script);
            let (answer, _, settled) = billed(&gateway, &ask(CHAT, &json!({})));
            assert_eq!(answer.status, 200, "{lie}");
            is_estimated(&settled, words as u64, &format!("whole {lie}"));
        }
    }
    // An answer that says nothing is nothing.
    let nothing = json!({"prompt_tokens": 41, "completion_tokens": 0});
    let body = whole_chat(0, &nothing);
    scripted.become_script(Arc::new(move |_, wire| {
        wire.answer(200, &JSON, body.as_bytes())
    }));
    let (_, _, settled) = billed(&gateway, &ask(CHAT, &json!({})));
    is_told(&settled, 41, 0, "nothing said");
}

fn named(wire: &mut Wire, event: &Value) -> std::io::Result<()> {
    let name = event["type"].as_str().unwrap();
    wire.chunk(format!("event: {name}\ndata: {event}\n\n").as_bytes())
}

/// A stream of Anthropic's with this usage at its beginning and at its end; `None`: without any word of it.
fn claude_stream(words: usize, usage: Option<(Value, Value)>) -> Script {
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        let mut message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
                                 "stop_reason": null, "stop_sequence": null});
        let mut last = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}});
        if let Some((begin, end)) = &usage {
            message["usage"] = begin.clone();
            last["usage"] = end.clone();
        }
        named(wire, &json!({"type": "message_start", "message": message}))?;
        named(
            wire,
            &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        )?;
        for word in &WORDS[..words] {
            let delta = json!({"type": "text_delta", "text": word});
            named(
                wire,
                &json!({"type": "content_block_delta", "index": 0, "delta": delta}),
            )?;
        }
        named(wire, &json!({"type": "content_block_stop", "index": 0}))?;
        named(wire, &last)?;
        named(wire, &json!({"type": "message_stop"}))?;
        wire.end()
    })
}

fn whole_claude(words: usize, usage: &Value) -> String {
    let mut body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": WORDS[..words].concat()}],
        "stop_reason": "end_turn", "stop_sequence": null,
    });
    if !usage.is_null() {
        body["usage"] = usage.clone();
    }
    body.to_string()
}

/// Streams and whole answers of Anthropic's, to clients of all formats.
#[test]
fn anthropics_word_is_taken_where_it_can_be_true_and_counted_where_not() {
    let scripted = Provider::start(crate::provider::silence());
    let (_file, gateway) = one("anthropic", &scripted, "");
    let whole = |usage: &Value| -> Script {
        let body = whole_claude(8, usage);
        Arc::new(move |_, wire| wire.answer(200, &JSON, body.as_bytes()))
    };
    for path in [CHAT, MESSAGES, RESPONSES] {
        let true_ones = (
            json!({"input_tokens": 41, "output_tokens": 1}),
            json!({"output_tokens": 9}),
        );
        scripted.become_script(claude_stream(8, Some(true_ones)));
        let (_, _, settled) = billed(&gateway, &ask(path, &json!({"stream": true})));
        is_told(&settled, 41, 9, path);
        scripted.become_script(claude_stream(8, None));
        let (_, events, settled) = billed(&gateway, &ask(path, &json!({"stream": true})));
        is_estimated(&settled, 8, &format!("{path}: {events:?}"));
        scripted.become_script(whole(&Value::Null));
        let (_, _, settled) = billed(&gateway, &ask(path, &json!({})));
        is_estimated(&settled, 8, path);
        for lie in lies("input_tokens", "output_tokens") {
            let what = format!("{path}: {lie}");
            let (mut begin, mut end) = (json!({"output_tokens": 1}), json!({}));
            if let Some(prompt) = lie.get("input_tokens") {
                begin["input_tokens"] = prompt.clone();
                end["output_tokens"] = lie["output_tokens"].clone();
            }
            scripted.become_script(claude_stream(8, Some((begin, end))));
            let (_, events, settled) = billed(&gateway, &ask(path, &json!({"stream": true})));
            assert!(
                !events.iter().any(|event| event.contains("\"error\":{")),
                "{what}: {events:?}"
            );
            is_estimated(&settled, 8, &format!("stream {what}"));
            scripted.become_script(whole(&lie));
            let (answer, _, settled) = billed(&gateway, &ask(path, &json!({})));
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            is_estimated(&settled, 8, &format!("whole {what}"));
        }
    }
}

/// OpenAI's Responses, whole: the body, or what its last event holds.
fn response(words: usize, usage: &Value) -> Value {
    let text = WORDS[..words].concat();
    let mut body = json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "x",
        "output": [{"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": text, "annotations": []}]}],
    });
    if !usage.is_null() {
        body["usage"] = usage.clone();
    }
    body
}

fn response_stream(words: usize, usage: Value) -> Script {
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        let begun = json!({"id": "resp_1", "object": "response", "status": "in_progress", "model": "x", "output": []});
        named(
            wire,
            &json!({"type": "response.created", "sequence_number": 0, "response": begun}),
        )?;
        for (n, word) in WORDS[..words].iter().enumerate() {
            named(
                wire,
                &json!({"type": "response.output_text.delta", "sequence_number": n + 1, "item_id": "msg_1",
                                "output_index": 0, "content_index": 0, "delta": word}),
            )?;
        }
        named(
            wire,
            &json!({"type": "response.completed", "sequence_number": 99, "response": response(words, &usage)}),
        )?;
        wire.end()
    })
}

#[test]
fn responses_are_billed_by_their_last_event_or_by_what_they_said() {
    let scripted = Provider::start(crate::provider::silence());
    let (_file, gateway) = one("openai", &scripted, "");
    let mut all = lies("input_tokens", "output_tokens");
    all.push(Value::Null);
    let truth = json!({"input_tokens": 41, "output_tokens": 9, "total_tokens": 50});
    for (usage, is_true) in [(truth, true)]
        .into_iter()
        .chain(all.into_iter().map(|lie| (lie, false)))
    {
        let judge = |settled: &Settled, what: &str| match is_true {
            true => is_told(settled, 41, 9, what),
            false => is_estimated(settled, 8, &format!("{what} {usage}")),
        };
        scripted.become_script(response_stream(8, usage.clone()));
        let (answer, events, settled) = billed(&gateway, &ask(RESPONSES, &json!({"stream": true})));
        let last = events.last().map_or_else(|| answer.text(), Clone::clone);
        assert!(last.contains("response.completed"), "{last}");
        judge(&settled, "stream");
        let body = response(8, &usage).to_string();
        scripted.become_script(Arc::new(move |_, wire| {
            wire.answer(200, &JSON, body.as_bytes())
        }));
        let (_, _, settled) = billed(&gateway, &ask(RESPONSES, &json!({})));
        judge(&settled, "whole");
    }
}

#[test]
fn embeddings_and_completions_without_usage_are_counted() {
    let body = |usage: Value| {
        let mut body = json!({"object": "list", "model": "x", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]});
        if !usage.is_null() {
            body["usage"] = usage;
        }
        body.to_string()
    };
    let scripted = Provider::start(crate::provider::silence());
    let (_file, gateway) = one("openai", &scripted, "");
    let answers = |body: String| -> Script {
        Arc::new(move |_, wire| wire.answer(200, &JSON, body.as_bytes()))
    };
    scripted.become_script(answers(body(
        json!({"prompt_tokens": 41, "total_tokens": 41}),
    )));
    let (_, _, settled) = billed(&gateway, &ask("/v1/embeddings", &json!({})));
    is_told(&settled, 41, 0, "embeddings");
    for lie in [
        Value::Null,
        json!({"prompt_tokens": 0}),
        json!({"prompt_tokens": -1}),
        json!({"prompt_tokens": 1e30}),
    ] {
        scripted.become_script(answers(body(lie.clone())));
        let (_, _, settled) = billed(&gateway, &ask("/v1/embeddings", &json!({})));
        is_estimated(&settled, 0, &format!("embeddings {lie}"));
    }
    let text = WORDS.concat();
    let completed = json!({"id": "c", "object": "text_completion", "model": "x",
                           "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]});
    scripted.become_script(answers(completed.to_string()));
    let (_, _, settled) = billed(&gateway, &ask("/v1/completions", &json!({})));
    is_estimated(&settled, 8, "completions");
    // What a model calls is what it says.
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "one", "arguments": " two three"}});
    let calling = json!({"id": "c", "object": "chat.completion", "model": "x",
                         "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": [call]},
                                      "finish_reason": "tool_calls"}]});
    scripted.become_script(answers(calling.to_string()));
    let (_, _, settled) = billed(&gateway, &ask(CHAT, &json!({})));
    is_estimated(&settled, 3, "a call");
}

/// What came before a break is billed, also where the client sees nothing of it.
#[test]
fn what_broke_off_unseen_is_billed_for_what_it_said() {
    let cut_after = |words: usize, how: Cut| -> Script {
        Arc::new(move |_, wire| {
            wire.stream_head()?;
            say(wire, words)?;
            wire.cut(how)
        })
    };
    let scripted = Provider::start(crate::provider::silence());
    let (_file, gateway) = one(
        "openai",
        &scripted,
        "on_break = \"hold\"\n[models.m.timeouts]\nidle = \"5s\"\n",
    );
    for how in [Cut::Close, Cut::LastChunk] {
        scripted.become_script(cut_after(5, how));
        let (answer, _, settled) = billed(&gateway, &ask(CHAT, &json!({"stream": true})));
        assert_eq!(answer.status, 502, "{how:?}");
        is_estimated(&settled, 5, &format!("held and cut by {how:?}"));
    }
    // One that is whole is told as ever.
    let usage = json!({"prompt_tokens": 41, "completion_tokens": 3});
    scripted.become_script(chat_stream(3, Some(usage)));
    let (_, _, settled) = billed(&gateway, &ask(CHAT, &json!({"stream": true})));
    is_told(&settled, 41, 3, "held");
    // The client leaves while it is held back.
    let said = Arc::new(AtomicUsize::new(0));
    let saying = Arc::clone(&said);
    scripted.become_script(Arc::new(move |_, wire| {
        wire.stream_head()?;
        say(wire, 6)?;
        saying.fetch_add(1, Ordering::SeqCst);
        wire.done = true;
        wire.peer_left();
        Ok(())
    }));
    let before = Ledger::of(&gateway).settled().len();
    let mut client = gateway.connect();
    client
        .send(&ask(CHAT, &json!({"stream": true, "user": "left"})).bytes())
        .unwrap();
    eventually("all of it was said", || {
        (said.load(Ordering::SeqCst) == 1).then_some(())
    });
    drop(client);
    let ledger = at_rest(&gateway);
    assert_eq!(ledger.settled().len(), before + 1);
    let mut all = ledger.by_user().remove("left").unwrap();
    let one = all.remove(0);
    assert_eq!(
        (&*one.outcome, one.source),
        ("canceled", ESTIMATED),
        "{one:?}"
    );
    // The gateway may not have read all of it before it saw the client leave.
    assert!(one.completion <= 6 && one.prompt > 30, "{one:?}");
}

#[test]
fn a_whole_answer_that_is_cut_is_billed() {
    let scripted = Provider::start(crate::provider::silence());
    let (_file, gateway) = one("openai", &scripted, "");
    let text = WORDS.concat().repeat(50);
    let body = json!({"id": "c", "choices": [{"message": {"role": "assistant", "content": text}}]})
        .to_string();
    let half = body[..body.len() / 2].to_owned();
    scripted.become_script(Arc::new(move |_, wire| {
        wire.done = true;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        wire.raw(head.as_bytes())?;
        wire.raw(half.as_bytes())
    }));
    let (answer, _, settled) = billed(&gateway, &ask(CHAT, &json!({"max_tokens": 1_000})));
    assert_eq!(answer.status, 502);
    // Half of 400 words, by its bytes: four are taken for a token, and these words have five.
    assert_eq!(settled.source, ESTIMATED, "{settled:?}");
    assert!((150..=300).contains(&settled.completion), "{settled:?}");
    assert!(settled.prompt > 30, "{settled:?}");
}

#[test]
fn a_stream_that_another_goes_on_with_is_billed_for_both() {
    let (a, b) = (
        Provider::start(Arc::new(|_, wire: &mut Wire| {
            wire.stream_head()?;
            say(wire, 5)?;
            wire.cut(Cut::Close)
        })),
        // Asked anew, it says the very same and more.
        Provider::start(chat_stream(
            8,
            Some(json!({"prompt_tokens": 41, "completion_tokens": 8})),
        )),
    );
    let (_file, prices) = prices(&(price("a", 1.0, 1.0) + &price("b", 1.0, 1.0)));
    let config = [
        prices,
        limit("all", "1 usd", ""),
        provider("a", &a),
        provider("b", &b),
        model_once("m", &["a/one", "b/two"]) + "on_break = \"continue\"\n",
        own_key(),
    ];
    let gateway = Gateway::start(&config.join("\n"));
    let (head, events, settled) = billed(
        &gateway,
        &ask(CHAT, &json!({"stream": true, "temperature": 0})),
    );
    assert_eq!(
        events.last().map(String::as_str),
        Some("[DONE]"),
        "{events:?}"
    );
    let attempts = at_rest(&gateway).attempts(head.header("x-request-id").unwrap());
    let of = |name: &str| attempts.iter().find(|one| one.provider == name).unwrap();
    assert_eq!(
        (of("a").completion, of("a").source),
        (5, ESTIMATED),
        "{attempts:?}"
    );
    assert_eq!(
        (of("b").prompt, of("b").completion, of("b").source),
        (41, 8, TOLD),
        "{attempts:?}"
    );
    assert_eq!(
        settled.source, ESTIMATED,
        "some of it was counted: {settled:?}"
    );
    let ledger = Ledger::of(&gateway);
    assert_eq!(
        ledger.spent(),
        attempts.iter().map(|one| one.cost).sum::<u64>()
    );
    assert_eq!(
        gateway.metric("tollgate_limit_remaining", &[("limit", "all")]),
        1e6 - ledger.spent() as f64
    );
}
