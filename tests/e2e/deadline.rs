//! One deadline for all that a request needs, and nothing shown to a client before there is something to show.
//!
//! Times here are of two kinds: what must not happen earlier, and the one upper bound that the product promises (the
//! 504 within 100 ms of the deadline), to which `SLACK` is added because the machine may stop a process for a while.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Request, Response, Stream};
use crate::gate::{Gate, Hole, STURDY, abandoned, begun, behind, pings};
use crate::gateway::{
    Gateway, KEY, SECRET_VARIABLE, chat_body, chat_request, own_key, provider_with, stream_request,
};
use crate::provider::{
    Provider, Script, chat, delta, fail, finish, in_turn, reset, silence, status, stream,
};
use crate::translation::request;
use crate::wait::eventually;

const SLACK: Duration = Duration::from_secs(2);

const FACES: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

/// `m` on these providers in their order, each as a provider `p0`, `p1`, ...; `route` holds further lines of its stanza.
fn gateway(providers: &[&Provider], rest: &str, route: &str) -> Gateway {
    let mut config = String::new();
    let mut targets = Vec::new();
    for (i, scripted) in providers.iter().enumerate() {
        config += &provider_with(&format!("p{i}"), scripted, &format!("{rest}\n{STURDY}"));
        targets.push(format!("p{i}/model{i}"));
    }
    config += &format!("[models.m]\ntargets = {targets:?}\nretries = 0\n{route}\n");
    Gateway::start(&(config + &own_key()))
}

fn data(text: &str) -> String {
    format!("data: {text}\n\n")
}

fn role() -> String {
    let delta = json!({"role": "assistant", "content": ""});
    data(
        &json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x",
                "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
        .to_string(),
    )
}

/// What a provider may send without having said anything.
fn nothing_yet() -> Vec<String> {
    vec![
        ": processing\n\n".to_owned(),
        role(),
        data(&delta("")),
        ": ping\n\n".to_owned(),
    ]
}

fn borrowed(chunks: &[String]) -> Vec<&str> {
    chunks.iter().map(String::as_str).collect()
}

/// Events without comments.
fn said(mut stream: Stream) -> Vec<String> {
    let mut events = stream.events();
    events.retain(|event| !event.is_empty());
    assert_eq!(stream.complete, Some(true), "{events:?}");
    events
}

/// A 504 in the shape of the client's format; its message.
fn timeout(face: &str, answer: &Response) -> String {
    let body = answer.json();
    assert_eq!(answer.status, 504, "{face}: {body}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{face}"
    );
    let error = &body["error"];
    match face {
        "/v1/messages" => {
            assert_eq!(body["type"], "error", "{body}");
            assert_eq!(error["type"], "timeout_error", "{body}");
            assert_eq!(
                body["request_id"].as_str(),
                answer.header("x-request-id"),
                "{body}"
            );
        }
        _ => {
            assert_eq!(error["type"], "api_error", "{face}: {body}");
            assert_eq!(error["code"], "timeout", "{face}: {body}");
            assert!(
                body.as_object().is_some_and(|o| o.len() == 1),
                "{face}: {body}"
            );
        }
    }
    error["message"].as_str().unwrap_or_default().to_owned()
}

/// The error that is a stream's only event, in the shape of the client's format: its code or type, and its message.
fn only_error(face: &str, raw: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(raw).into_owned();
    let events: Vec<&str> = text
        .split("\n\n")
        .filter(|event| !event.is_empty() && !event.starts_with(':'))
        .collect();
    assert_eq!(events.len(), 1, "{face}: {text}");
    let (name, shown) = match events[0].split_once('\n') {
        Some((name, shown)) => (name.strip_prefix("event: "), shown),
        None => (None, events[0]),
    };
    let shown: Value = serde_json::from_str(shown.strip_prefix("data: ").unwrap()).unwrap();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match face {
        "/v1/messages" => {
            assert_eq!((name, &shown["type"]), (Some("error"), &json!("error")));
            (
                word(&shown["error"]["type"]),
                word(&shown["error"]["message"]),
            )
        }
        "/v1/responses" => {
            assert_eq!((name, &shown["type"]), (Some("error"), &json!("error")));
            (word(&shown["code"]), word(&shown["message"]))
        }
        _ => {
            assert_eq!(name, None, "{text}");
            (
                word(&shown["error"]["code"]),
                word(&shown["error"]["message"]),
            )
        }
    }
}

/// Calls and checks that the answer came neither before the deadline nor long after.
fn timed(gateway: &Gateway, request: &Request, deadline: Duration) -> Response {
    let began = Instant::now();
    let answer = gateway.call(request);
    let took = began.elapsed();
    assert!(took >= deadline, "after {took:?}: {}", answer.text());
    assert!(took < deadline + SLACK, "after {took:?}: {}", answer.text());
    answer
}

#[test]
fn a_silent_provider_is_a_504_in_each_clients_words_at_the_deadline() {
    let silent = Provider::start(silence());
    let gateway = gateway(&[&silent], "", "deadline = \"500ms\"");
    let deadline = Duration::from_millis(500);
    for face in FACES {
        for streamed in [false, true] {
            let answer = timed(&gateway, &request(face, streamed), deadline);
            let message = timeout(face, &answer);
            assert!(
                message.contains("the deadline of 500 ms")
                    && message.contains("waiting for an answer to begin")
                    && !message.contains("first token"),
                "{face}: {message}"
            );
            let line = gateway.access_line(answer.header("x-request-id").unwrap());
            assert_eq!(
                (&line["status"], &line["outcome"]),
                (&json!(504), &json!("timeout")),
                "{line}"
            );
        }
    }
    assert_eq!(silent.count(), 6, "one try for each request");
}

#[test]
fn clients_lower_the_deadline_and_never_raise_it() {
    let silent = Provider::start(silence());
    let long = gateway(&[&silent], "", "deadline = \"1h\"");
    for (headers, millis) in [
        (vec![("x-tollgate-deadline-ms", "300")], 300),
        (vec![("x-request-timeout", "0.3")], 300),
        (
            vec![
                ("x-tollgate-deadline-ms", "60000"),
                ("x-request-timeout", "0.25"),
            ],
            250,
        ),
        (
            vec![
                ("x-tollgate-deadline-ms", "200"),
                ("x-request-timeout", "3600"),
            ],
            200,
        ),
    ] {
        for face in FACES {
            let mut asked = request(face, false);
            for (name, value) in &headers {
                asked = asked.header(name, value);
            }
            let answer = timed(&long, &asked, Duration::from_millis(millis));
            let message = timeout(face, &answer);
            let told = format!("the deadline of {millis} ms");
            assert!(message.contains(&told), "{headers:?}: {message}");
        }
    }
    let short = gateway(&[&silent], "", "deadline = \"300ms\"");
    for (name, value) in [
        ("x-tollgate-deadline-ms", "3600000"),
        ("x-request-timeout", "3600"),
    ] {
        let asked = chat_request("m").header(name, value);
        let answer = timed(&short, &asked, Duration::from_millis(300));
        let message = timeout("chat", &answer);
        assert!(message.contains("the deadline of 300 ms"), "{message}");
    }
}

#[test]
fn a_deadline_that_is_no_number_is_a_400_and_none_at_all_is_a_504() {
    let idle = Provider::start(chat("no"));
    let gateway = gateway(&[&idle], "", "");
    let nonsense = [
        ("x-tollgate-deadline-ms", "soon"),
        ("x-tollgate-deadline-ms", ""),
        ("x-tollgate-deadline-ms", "-1"),
        ("x-tollgate-deadline-ms", "1.5"),
        ("x-tollgate-deadline-ms", "99999999999999999999999"),
        ("x-request-timeout", "NaN"),
        ("x-request-timeout", "inf"),
        ("x-request-timeout", "-0.1"),
        ("x-request-timeout", "10s"),
    ];
    for face in FACES {
        for (name, value) in nonsense {
            let answer = gateway.call(&request(face, true).header(name, value));
            let body = answer.json();
            assert_eq!(answer.status, 400, "{face} {name}: {value}: {body}");
            assert_eq!(body["error"]["type"], "invalid_request_error", "{body}");
            assert!(answer.text().contains(name), "{body}");
        }
        let twice = request(face, false)
            .header("x-request-timeout", "1")
            .header("x-request-timeout", "2");
        assert_eq!(gateway.call(&twice).status, 400);
        let none = request(face, false).header("x-tollgate-deadline-ms", "0");
        timeout(face, &gateway.call(&none));
    }
    assert_eq!(idle.count(), 0);
}

#[test]
fn a_client_that_does_not_finish_its_request_is_told_so_at_its_deadline() {
    let idle = Provider::start(chat("no"));
    let gateway = gateway(&[&idle], "", "");
    for face in FACES {
        let whole = request(face, true)
            .header("x-tollgate-deadline-ms", "300")
            .bytes();
        let began = Instant::now();
        let answer = gateway.send(&whole[..whole.len() - 20]);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(took < Duration::from_millis(300) + SLACK, "{took:?}");
        let message = timeout(face, &answer);
        assert!(message.contains("receiving the request"), "{message}");
        assert!(!message.contains("provider"), "{message}");
    }
    assert_eq!(idle.count(), 0);
}

#[test]
fn a_provider_that_takes_no_connection_is_told_apart() {
    let hole = Hole::dig();
    let config = format!(
        "[providers.p]\ndialect = \"openai\"\nbase_url = \"http://{}/v1\"\ntimeouts = {{ connect = \"1h\" }}\n\
         [models.m]\ntargets = [\"p/x\"]\ndeadline = \"400ms\"\n{}",
        hole.address,
        own_key()
    );
    let gateway = Gateway::start(&config);
    for face in FACES {
        let answer = timed(&gateway, &request(face, true), Duration::from_millis(400));
        let message = timeout(face, &answer);
        assert!(message.contains("connecting to providers"), "{message}");
    }
}

#[test]
fn a_stream_without_content_is_told_apart() {
    let empty = Provider::start(begun(&borrowed(&nothing_yet()), &Gate::default(), &[]));
    let gateway = gateway(&[&empty], "", "deadline = \"1s\"");
    for face in FACES {
        let answer = timed(&gateway, &request(face, true), Duration::from_secs(1));
        let message = timeout(face, &answer);
        assert!(
            message.contains("the deadline of 1 s")
                && message.contains("waiting for the first token"),
            "{message}"
        );
    }
}

#[test]
fn the_deadline_is_for_all_attempts_together_and_only_own_servers_are_told() {
    let silent: Vec<Provider> = (0..3).map(|_| Provider::start(silence())).collect();
    let quick = "timeouts = { first_byte = \"300ms\" }";
    let config = [
        provider_with("a", &silent[0], &format!("{quick}\nself_hosted = true")),
        provider_with("b", &silent[1], quick),
        provider_with("c", &silent[2], &format!("{quick}\nself_hosted = true")),
        "[models.m]\ntargets = [\"a/x\", \"b/x\"]\nfallbacks = [\"c/x\"]\ndeadline = \"20s\"\n"
            .to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for streamed in [false, true] {
        let asked = request(FACES[0], streamed).header("x-tollgate-deadline-ms", "10000");
        let answer = gateway.call(&asked);
        assert_eq!(answer.status, 504, "{}", answer.text());
        let left: Vec<_> = silent
            .iter()
            .map(|provider| provider.take_one().header("x-tollgate-deadline-ms"))
            .collect();
        let millis = |text: &Option<String>| text.as_ref().unwrap().parse::<u64>().unwrap();
        assert!((1..=10_000).contains(&millis(&left[0])), "{left:?}");
        assert_eq!(left[1], None);
        // Two others were waited for, each for no less than its patience.
        assert!((1..=9_400).contains(&millis(&left[2])), "{left:?}");
    }
}

#[test]
fn a_retry_has_what_the_first_try_left() {
    let scripted = Provider::start(in_turn(vec![fail(500), chat("ok")]));
    let config = [
        provider_with("a", &scripted, "self_hosted = true"),
        "[models.m]\ntargets = [\"a/x\"]\nretries = 1\ndeadline = \"20s\"\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    assert_eq!(gateway.chat("m").content(), "ok");
    let left: Vec<u64> = scripted
        .requests()
        .iter()
        .map(|r| r.header("x-tollgate-deadline-ms").unwrap().parse().unwrap())
        .collect();
    assert_eq!(left.len(), 2);
    assert!(left[1] <= left[0] && left[0] <= 20_000, "{left:?}");
}

/// Ways to begin a stream and to say nothing in it.
fn slow_starts() -> Vec<(&'static str, Script)> {
    vec![
        ("silence", silence()),
        ("pings", pings()),
        (
            "a head and empty chunks",
            begun(&borrowed(&nothing_yet()), &Gate::default(), &[]),
        ),
    ]
}

#[test]
fn a_slow_starter_is_cut_at_its_limit_while_somebody_else_can_be_asked() {
    let slow = Provider::start(silence());
    let second = Provider::start(stream(vec![delta("saved")]));
    // Without the cut it would be an hour.
    let gateway = gateway(
        &[&slow, &second],
        "timeouts = { first_byte = \"1h\", idle = \"1h\", first_token = \"1h\" }",
        "deadline = \"1h\"\ntimeouts = { first_token = \"300ms\" }",
    );
    for (what, script) in slow_starts() {
        slow.become_script(script);
        let began = Instant::now();
        let events = said(gateway.stream("m"));
        assert!(began.elapsed() >= Duration::from_millis(300), "{what}");
        assert_eq!(events, [delta("saved"), "[DONE]".to_owned()], "{what}");
        assert_eq!((slow.count(), second.count()), (1, 1), "{what}");
        slow.forget();
        second.forget();
    }
    eventually("its connections are closed", || {
        (slow.closed() == slow.opened()).then_some(())
    });
}

#[test]
fn a_slow_starter_is_cut_in_time_for_another_though_nothing_is_known_of_that() {
    let slow = Provider::start(silence());
    let second = Provider::start(silence());
    let gateway = gateway(
        &[&slow, &second],
        "self_hosted = true\ntimeouts = { first_byte = \"1h\", idle = \"1h\", first_token = \"1h\" }",
        "deadline = \"4s\"",
    );
    slow.become_script(pings());
    second.become_script(stream(vec![delta("saved")]));
    assert_eq!(said(gateway.stream("m"))[0], delta("saved"));
    slow.become_script(silence());
    second.become_script(chat("saved"));
    assert_eq!(gateway.chat("m").content(), "saved");
    assert_eq!((slow.count(), second.count()), (2, 2));
}

#[test]
fn a_slow_starter_leaves_another_more_time_than_that_usually_needs() {
    let slow = Provider::start(silence());
    let second = Provider::start(stream(vec![delta("saved")]));
    let config = [
        provider_with(
            "slow",
            &slow,
            &format!("timeouts = {{ first_byte = \"1h\", first_token = \"1h\" }}\n{STURDY}"),
        ),
        provider_with("second", &second, &format!("self_hosted = true\n{STURDY}")),
        "[models.known]\ntargets = [\"second/x\"]\n".to_owned(),
        "[models.m]\ntargets = [\"slow/x\", \"second/x\"]\nretries = 0\ndeadline = \"4s\"\n"
            .to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for _ in 0..6 {
        said(gateway.stream("known"));
    }
    second.forget();
    let events = said(gateway.stream("m"));
    assert_eq!(events, [delta("saved"), "[DONE]".to_owned()]);
    let left = second.take_one().header("x-tollgate-deadline-ms").unwrap();
    // The usual time is a few milliseconds here: just that would be too little half of the time, and on a bad day
    // always.
    assert!(left.parse::<u64>().unwrap() > 250, "{left} ms were left");
}

/// Makes five answers of a target and one silence, for the whole of its deadline, known.
fn five_good_and_one_silent(gateway: &Gateway, scripted: &Provider, route: &str) {
    scripted.become_script(chat("ok"));
    for _ in 0..5 {
        assert_eq!(gateway.chat(route).content(), "ok");
    }
    scripted.become_script(silence());
    assert_eq!(gateway.chat(route).status, 504);
    scripted.forget();
}

#[test]
fn one_silence_does_not_pass_for_the_usual_time_of_a_retry() {
    let scripted = Provider::start(silence());
    let config = [
        provider_with("a", &scripted, STURDY),
        "[models.m]\ntargets = [\"a/x\"]\nretries = 1\ndeadline = \"3s\"\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    five_good_and_one_silent(&gateway, &scripted, "m");
    scripted.become_script(in_turn(vec![fail(500), chat("ok")]));
    assert_eq!(gateway.chat("m").content(), "ok");
    // Nor of one that is waited for.
    let later = status(429, &["retry-after-ms: 50"], "{}");
    scripted.become_script(in_turn(vec![later, chat("ok")]));
    assert_eq!(gateway.chat("m").content(), "ok");
}

#[test]
fn one_silence_of_another_does_not_keep_a_silent_one_from_being_cut() {
    let (slow, second) = (Provider::start(silence()), Provider::start(silence()));
    let config = [
        provider_with("slow", &slow, STURDY),
        provider_with("second", &second, STURDY),
        "[models.known]\ntargets = [\"second/x\"]\ndeadline = \"3s\"\n".to_owned(),
        "[models.m]\ntargets = [\"slow/x\", \"second/x\"]\nretries = 0\ndeadline = \"3s\"\n"
            .to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    five_good_and_one_silent(&gateway, &second, "known");
    second.become_script(chat("saved"));
    let answer = gateway.chat("m");
    assert_eq!(answer.content(), "saved", "{}", answer.text());
    assert_eq!((slow.count(), second.count()), (1, 1));
}

#[test]
fn the_last_one_may_take_the_whole_deadline() {
    let gate = Gate::default();
    let rest = [data(&delta("late")), data(&finish()), data("[DONE]")];
    let start = nothing_yet();
    let late = begun(&borrowed(&start), &gate, &borrowed(&rest));
    let slow = Provider::start(late.clone());
    let limits = "deadline = \"1h\"\ntimeouts = { first_token = \"100ms\" }";
    // Alone; and after the other one has failed.
    let alone = gateway(&[&slow], "", limits);
    let failed = Provider::start(fail(500));
    let after = gateway(&[&failed, &slow], "", limits);
    for gateway in [&alone, &after] {
        let shut = Gate::default();
        slow.become_script(begun(&borrowed(&start), &shut, &borrowed(&rest)));
        let mut client = gateway.connect();
        client.send(&stream_request("m").bytes()).unwrap();
        assert!(client.is_quiet(Duration::from_millis(400)));
        shut.open();
        let events = said(client.into_stream().unwrap());
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
        assert!(events.contains(&delta("late")), "{events:?}");
    }
    assert_eq!((slow.count(), failed.count()), (2, 1));
}

#[test]
fn nothing_reaches_the_client_before_there_is_content() {
    let scripted = Provider::start(silence());
    let second = Provider::start(silence());
    let gateway = gateway(&[&scripted, &second], "", "");
    for face in FACES {
        let gate = Gate::default();
        let rest = [data(&delta("now")), data(&finish()), data("[DONE]")];
        scripted.become_script(begun(&borrowed(&nothing_yet()), &gate, &borrowed(&rest)));
        let mut client = gateway.connect();
        client.send(&request(face, true).bytes()).unwrap();
        eventually("the provider has sent its empty events", || {
            (scripted.count() == 1).then_some(())
        });
        assert!(client.is_quiet(Duration::from_millis(200)), "{face}");
        gate.open();
        let events = said(client.into_stream().unwrap());
        assert!(events.concat().contains("now"), "{face}: {events:?}");
        scripted.forget();
        // What was empty can still become another one's answer.
        let gate = Gate::default();
        let start = nothing_yet();
        let begin = begun(
            &borrowed(&start),
            &gate,
            &["data: {\"error\":{\"message\":\"no\"}}\n\n"],
        );
        scripted.become_script(begin);
        second.become_script(stream(vec![delta("saved"), finish()]));
        let mut client = gateway.connect();
        client.send(&request(face, true).bytes()).unwrap();
        assert!(client.is_quiet(Duration::from_millis(100)), "{face}");
        gate.open();
        let stream = client.into_stream().unwrap();
        assert_eq!(stream.head.status, 200);
        assert_eq!(stream.head.header("x-tollgate-provider"), Some("p1"));
        assert!(said(stream).concat().contains("saved"), "{face}");
        scripted.forget();
    }
}

#[test]
fn an_early_head_is_followed_by_whoever_answers() {
    let (first, second) = (Provider::start(silence()), Provider::start(silence()));
    let gateway = gateway(&[&first, &second], "", "early_headers = true");
    for face in FACES {
        let gate = Gate::default();
        first.become_script(behind(&gate, reset()));
        second.become_script(stream(vec![delta("saved"), finish()]));
        // The head is here while nobody has said anything: it is read before the gate is opened.
        let stream = gateway.connect().stream(&request(face, true)).unwrap();
        assert_eq!(stream.head.status, 200, "{face}");
        assert_eq!(
            stream.head.header("content-type"),
            Some("text/event-stream"),
            "{face}"
        );
        assert!(stream.head.header("x-request-id").is_some(), "{face}");
        gate.open();
        let events = said(stream);
        assert!(events.concat().contains("saved"), "{face}: {events:?}");
        if face == FACES[0] {
            assert_eq!(events, [delta("saved"), finish(), "[DONE]".to_owned()]);
        }
    }
}

#[test]
fn after_an_early_head_an_error_is_the_only_event() {
    let (first, second) = (Provider::start(silence()), Provider::start(fail(500)));
    let gateway = gateway(&[&first, &second], "", "early_headers = true");
    for (face, code) in FACES
        .into_iter()
        .zip(["upstream_error", "api_error", "upstream_error"])
    {
        let gate = Gate::default();
        first.become_script(behind(&gate, fail(500)));
        let asked = request(face, true).header("x-request-id", &format!("early-{}", code_of(face)));
        let mut stream = gateway.connect().stream(&asked).unwrap();
        gate.open();
        stream.events();
        assert_eq!(stream.complete, Some(true), "{face}");
        let (told, message) = only_error(face, &stream.raw);
        assert_eq!(told, code, "{face}: {message}");
        let line = gateway.access_line(&format!("early-{}", code_of(face)));
        assert_eq!(line["outcome"], "provider_error", "{line}");
        // The connection is as good as before.
        first.become_script(chat("again"));
        let answer = stream.into_client().call(&chat_request("m")).unwrap();
        assert_eq!(answer.content(), "again");
    }
    // Without a stream there is no early head; nor where the request is refused before anybody is asked.
    first.become_script(fail(500));
    assert_eq!(gateway.chat("m").status, 502);
    assert_eq!(gateway.call(&stream_request("unknown")).status, 404);
    // A deadline, too, is told in band, with where the time went.
    first.become_script(silence());
    second.become_script(silence());
    for (face, code) in FACES
        .into_iter()
        .zip(["timeout", "timeout_error", "timeout"])
    {
        let asked = request(face, true).header("x-tollgate-deadline-ms", "300");
        let mut stream = gateway.connect().stream(&asked).unwrap();
        stream.events();
        assert_eq!(stream.complete, Some(true), "{face}");
        let (told, message) = only_error(face, &stream.raw);
        assert_eq!(told, code, "{face}: {message}");
        assert!(
            message.contains("waiting for an answer to begin"),
            "{message}"
        );
    }
}

fn code_of(face: &str) -> &str {
    face.rsplit('/').next().unwrap_or_default()
}

#[test]
fn a_waiting_client_gets_comments_and_then_the_whole_stream() {
    let (first, second) = (Provider::start(silence()), Provider::start(silence()));
    let gateway = gateway(&[&first, &second], "", "keep_alive = \"50ms\"");
    for face in FACES {
        let gate = Gate::default();
        first.become_script(behind(&gate, reset()));
        second.become_script(stream(vec![delta("saved"), finish()]));
        let mut stream = gateway.connect().stream(&request(face, true)).unwrap();
        assert_eq!(stream.head.status, 200, "{face}");
        for _ in 0..3 {
            assert_eq!(stream.event().as_deref(), Some(""), "{face}: no comment");
        }
        assert!(stream.raw.starts_with(b":"), "{face}");
        gate.open();
        let events = said(stream);
        assert!(events.concat().contains("saved"), "{face}: {events:?}");
        if face == FACES[0] {
            assert_eq!(events, [delta("saved"), finish(), "[DONE]".to_owned()]);
        }
        // After a comment an error is an event.
        let gate = Gate::default();
        first.become_script(behind(&gate, reset()));
        second.become_script(fail(500));
        let mut stream = gateway.connect().stream(&request(face, true)).unwrap();
        assert_eq!(stream.event().as_deref(), Some(""), "{face}: no comment");
        gate.open();
        stream.events();
        assert_eq!(stream.complete, Some(true), "{face}");
        let (told, _) = only_error(face, &stream.raw);
        assert!(["upstream_error", "api_error"].contains(&told.as_str()));
    }
}

#[test]
fn before_the_first_comment_an_error_has_its_status() {
    let failing = Provider::start(fail(500));
    let gateway = gateway(&[&failing], "", "keep_alive = \"1h\"");
    for face in FACES {
        assert_eq!(gateway.call(&request(face, true)).status, 502, "{face}");
    }
    // Whole answers know no comments.
    let gate = Gate::default();
    failing.become_script(behind(&gate, status(429, &[], "{}")));
    let config = [
        provider_with("p0", &failing, STURDY),
        "[models.m]\ntargets = [\"p0/x\"]\nretries = 0\nkeep_alive = \"20ms\"\n".to_owned(),
        own_key(),
    ];
    gateway.reload(&config.concat(), "ok");
    let mut client = gateway.connect();
    client.send(&chat_request("m").bytes()).unwrap();
    assert!(client.is_quiet(Duration::from_millis(200)));
    gate.open();
    assert_eq!(client.response().unwrap().status, 429);
}

#[test]
fn who_is_given_up_is_cut_off() {
    let left = Arc::new(Mutex::new(0));
    let silent = Provider::start(abandoned(&left));
    let gateway = gateway(&[&silent], "", "deadline = \"200ms\"");
    for streamed in [false, true] {
        gateway.call(&request(FACES[0], streamed));
    }
    eventually("both connections were closed by the gateway", || {
        (*left.lock().unwrap() == 2).then_some(())
    });
}

#[test]
fn an_answer_that_trickles_has_the_deadline_all_the_same() {
    // The head and half of the body are there; whoever asked for no stream has nothing until all of it is.
    let half: Script = Arc::new(|_, wire| {
        wire.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\":")?;
        wire.done = true;
        wire.peer_left();
        Ok(())
    });
    let slow = Provider::start(half);
    let gateway = gateway(&[&slow], "", "deadline = \"500ms\"");
    for face in FACES {
        let answer = timed(&gateway, &request(face, false), Duration::from_millis(500));
        timeout(face, &answer);
    }
}

#[test]
fn a_name_of_the_clients_own_has_the_deadline_of_all_requests() {
    let silent = Provider::start(silence());
    let url = silent.base_url();
    let config = format!(
        "[times]\nrequest = \"300ms\"\n[providers.p]\ndialect = \"openai\"\nbase_url = \"{url}\"\n\
         credential = \"env:{SECRET_VARIABLE}\"\n[models.m]\ntargets = [\"p/x\"]\n{}",
        crate::gateway::key("tester", KEY, "models = [\"*\"]\ndirect = true")
    );
    let gateway = Gateway::start(&config);
    for model in ["m", "p/anything"] {
        let asked = Request::post(FACES[0]).key(KEY).json(chat_body(model));
        let answer = timed(&gateway, &asked, Duration::from_millis(300));
        timeout("chat", &answer);
    }
}

#[test]
fn an_early_head_and_comments_reach_a_client_of_http_1_0() {
    let (first, second) = (Provider::start(silence()), Provider::start(silence()));
    let gateway = gateway(
        &[&first, &second],
        "",
        "early_headers = true\nkeep_alive = \"20ms\"",
    );
    let whole = String::from_utf8(stream_request("m").bytes()).unwrap();
    let asked = whole.replace("HTTP/1.1", "HTTP/1.0");
    for (script, end) in [
        (
            stream(vec![delta("saved"), finish()]),
            format!("{}{}", data(&finish()), data("[DONE]")),
        ),
        (fail(500), "}}\n\n".to_owned()),
    ] {
        let gate = Gate::default();
        first.become_script(behind(&gate, reset()));
        second.become_script(script);
        let mut client = gateway.connect();
        client.send(asked.as_bytes()).unwrap();
        let head = client.head().unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("transfer-encoding"), None);
        gate.open();
        let body = client.until_closed();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.ends_with(&end), "{text}");
    }
}
