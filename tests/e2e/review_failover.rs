//! What one request must not do to others, and what it must not hide: corners where failover, deadlines, breakers,
//! budgets and hedging meet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Request;
use crate::gate::{Gate, STURDY, behind};
use crate::gateway::{Gateway, KEY, chat_request, model, own_key, provider_with, stream_request};
use crate::provider::{
    Cut, Provider, Script, chat, cut, delta, fail, finish, silence, status, stream,
};
use crate::wait::{eventually, within};

/// Two failures open it for longer than any test.
const SHARP: &str =
    "breaker = { consecutive_failures = 2, error_rate = 1.0, open = \"1h\", open_max = \"1h\" }";

fn anthropic(name: &str, provider: &Provider) -> String {
    let url = provider.base_url();
    format!("[providers.{name}]\ndialect = \"anthropic\"\nbase_url = \"{url}\"\n")
}

/// What `/status` tells of a target.
fn target(gateway: &Gateway, model: &str) -> Value {
    let status = gateway.admin("/status").json();
    let all = status["targets"].as_array().unwrap().clone();
    let found = all.into_iter().find(|one| one["model"] == model);
    found.unwrap_or_default()
}

fn retries_left(gateway: &Gateway) -> Value {
    gateway.admin("/status").json()["providers"][0]["retries_left"].clone()
}

#[test]
fn clients_without_patience_shut_nobody_out() {
    for (targets, served) in [(vec!["a/one"], false), (vec!["a/one", "b/two"], true)] {
        for streamed in [false, true] {
            let (a, b) = (Provider::start(silence()), Provider::start(chat("b")));
            if streamed {
                b.become_script(stream(vec![delta("b"), finish()]));
            }
            let gateway = Gateway::start(
                &[
                    provider_with("a", &a, SHARP),
                    provider_with("b", &b, SHARP),
                    model("m", &targets),
                    "retries = 0\n".to_owned(),
                    own_key(),
                ]
                .concat(),
            );
            for _ in 0..6 {
                let asked = match streamed {
                    true => stream_request("m"),
                    false => chat_request("m"),
                };
                let answer = gateway.call(&asked.header("x-tollgate-deadline-ms", "150"));
                // A slow machine may take all of it.
                assert!(answer.status == 504 || served && answer.status == 200);
            }
            assert_eq!(a.count(), 6, "{targets:?}");
            let shown = target(&gateway, "one");
            assert_eq!(shown["breaker"]["state"], "closed", "{shown}");
            // Nor do they make it look fast.
            assert_eq!(shown["first_token_ms"], Value::Null, "{shown}");
            assert_eq!(shown["whole_answer_ms"], Value::Null, "{shown}");
            let endpoint = [("endpoint", &*a.base_url())];
            assert_eq!(gateway.metric("tollgate_endpoint_breaker", &endpoint), 0.0);
        }
    }
}

#[test]
fn the_deadline_of_a_route_shuts_a_silent_target_out() {
    let a = Provider::start(silence());
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, SHARP),
            model("m", &["a/one"]),
            "retries = 0\ndeadline = \"150ms\"\n".to_owned(),
            own_key(),
        ]
        .concat(),
    );
    for _ in 0..2 {
        let asked = chat_request("m").header("x-tollgate-deadline-ms", "60000");
        assert_eq!(gateway.call(&asked).status, 504);
    }
    let shown = target(&gateway, "one");
    assert_eq!(shown["breaker"]["state"], "open", "{shown}");
}

#[test]
fn a_hedge_that_the_caps_refuse_costs_no_retry() {
    // Its time is what is tried here.
    let slow: Script = Arc::new(|request, wire| {
        within(Duration::from_millis(200), || None::<()>);
        chat("slow")(request, wire)
    });
    let a = Provider::start(slow);
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, &format!("retry_budget = 0.0\n{STURDY}")),
            model("m", &["a/one", "a/two"]),
            "hedge = { after = \"20ms\", share = 0.01, per_hour = 10 }\n".to_owned(),
            own_key(),
        ]
        .concat(),
    );
    for _ in 0..3 {
        assert_eq!(gateway.chat("m").content(), "slow");
    }
    assert_eq!((a.count(), retries_left(&gateway)), (3, json!(2.0)));
}

#[test]
fn a_refusal_that_is_the_same_everywhere_ends_a_race() {
    let gate = Gate::default();
    let a = Provider::start(behind(&gate, fail(400)));
    let b = Provider::start(silence());
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, STURDY),
            provider_with("b", &b, STURDY),
            model("m", &["a/one", "b/two"]),
            "deadline = \"20s\"\nhedge = { after = \"50ms\", share = 1.0, per_hour = 10 }\n"
                .to_owned(),
            own_key(),
        ]
        .concat(),
    );
    let mut client = gateway.connect();
    client.send(&chat_request("m").bytes()).unwrap();
    eventually("the second is asked", || (b.count() == 1).then_some(()));
    gate.open();
    let answer = client.response().unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    eventually("the second is cut off", || (b.closed() == 1).then_some(()));
}

/// A request that only OpenAI's own format carries.
fn seeded() -> Request {
    let body = json!({"model": "m", "seed": 7, "messages": [{"role": "user", "content": "hi"}]});
    Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string())
}

fn strict(a: &Provider, c: &Provider, targets: &[&str]) -> Gateway {
    Gateway::start(
        &[
            provider_with("a", a, SHARP),
            anthropic("c", c),
            model("m", targets),
            "policy = \"strict\"\nretries = 0\n".to_owned(),
            own_key(),
        ]
        .concat(),
    )
}

#[test]
fn a_fallback_that_cannot_carry_it_does_not_blame_the_client_for_an_outage() {
    let (a, c) = (Provider::start(fail(500)), Provider::start(silence()));
    let gateway = strict(&a, &c, &["a/one", "c/claude-haiku-4-5"]);
    let answer = gateway.call(&seeded());
    assert_eq!(
        (answer.status, answer.error("code")),
        (502, "upstream_error".to_owned()),
        "{}",
        answer.text()
    );
    assert_eq!((a.count(), c.count()), (1, 0));
}

#[test]
fn the_only_one_that_can_carry_it_is_asked_though_its_breaker_is_open() {
    let (a, c) = (Provider::start(fail(500)), Provider::start(silence()));
    let gateway = strict(&a, &c, &["c/claude-haiku-4-5", "a/one"]);
    for _ in 0..2 {
        gateway.call(&seeded());
    }
    assert_eq!(target(&gateway, "one")["breaker"]["state"], "open");
    a.become_script(chat("back"));
    let answer = gateway.call(&seeded());
    assert_eq!(answer.content(), "back", "{}", answer.text());
}

#[test]
fn counting_tokens_teaches_nothing_of_answers() {
    let c = Provider::start(status(200, &[], r#"{"input_tokens":42}"#));
    let gateway = Gateway::start(
        &[
            anthropic("c", &c),
            model("m", &["c/claude-haiku-4-5"]),
            own_key(),
        ]
        .concat(),
    );
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..8 {
        let asked = Request::post("/v1/messages/count_tokens").key(KEY);
        assert_eq!(gateway.call(&asked.json(body.to_string())).status, 200);
    }
    let shown = target(&gateway, "claude-haiku-4-5");
    assert_eq!(shown["breaker"]["state"], "closed", "{shown}");
    assert_eq!(shown["whole_answer_ms"], Value::Null, "{shown}");
}

#[test]
fn a_stream_that_is_continued_keeps_to_the_clients_deadline() {
    let a = Provider::start(cut(vec![delta("one ")], Cut::Close));
    let b = Provider::start(silence());
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, STURDY),
            provider_with("b", &b, STURDY),
            model("m", &["a/one", "b/two"]),
            "deadline = \"1h\"\non_break = \"continue\"\nkeep_alive = \"50ms\"\n".to_owned(),
            own_key(),
        ]
        .concat(),
    );
    let asked = stream_request("m").header("x-tollgate-deadline-ms", "3000");
    let mut stream = gateway.connect().stream(&asked).unwrap();
    let events = stream.events();
    assert_eq!(stream.complete, Some(true), "{events:?}");
    assert!(
        events.iter().any(|e| e.contains("the deadline of 3 s")),
        "{events:?}"
    );
    assert_eq!(b.count(), 1);
    assert!(!gateway.stderr().contains("already sent"));
}

#[test]
fn who_is_overloaded_leads_to_the_fallback_for_errors_also_while_left_alone() {
    let busy = status(503, &["retry-after: 60"], "{}");
    let (a, b) = (Provider::start(busy), Provider::start(chat("b")));
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, STURDY),
            provider_with("b", &b, STURDY),
            model("m", &["a/one"]),
            "on_error = [\"b/two\"]\nretries = 0\ndeadline = \"20s\"\n".to_owned(),
            model("n", &["a/other"]),
            "on_error = [\"b/two\"]\nretries = 0\ndeadline = \"20s\"\n".to_owned(),
            own_key(),
        ]
        .concat(),
    );
    for _ in 0..3 {
        let answer = gateway.chat("m");
        assert_eq!(answer.content(), "b", "{}", answer.text());
    }
    assert_eq!((a.count(), b.count()), (1, 3));
    // A limit of the rate is not what that fallback is for.
    a.become_script(status(429, &["retry-after: 60"], "{}"));
    for _ in 0..2 {
        assert_eq!(gateway.chat("n").status, 429);
    }
    assert_eq!((a.count(), b.count()), (2, 3));
}

#[test]
fn a_stream_that_has_no_farewell_can_be_held() {
    let picture = json!({"type": "image_generation.completed", "b64_json": "aGk="}).to_string();
    let sent = picture.clone();
    let a = Provider::start(Arc::new(move |_, wire| {
        wire.stream_head()?;
        wire.event(&sent)?;
        wire.end()
    }));
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, STURDY),
            model("m", &["a/one"]),
            "on_break = \"hold\"\nretries = 0\n".to_owned(),
            own_key(),
        ]
        .concat(),
    );
    let body = json!({"model": "m", "prompt": "a cat", "stream": true});
    let asked = Request::post("/v1/images/generations").key(KEY);
    let answer = gateway.call(&asked.json(body.to_string()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(&picture), "{}", answer.text());
}

#[test]
fn nobody_is_promised_a_stream_where_there_may_be_none() {
    let body = r#"{"data":[{"b64_json":"aGk="}],"totalTokens":42}"#;
    let a = Provider::start(status(200, &[], body));
    let url = a.base_url();
    let gateway = Gateway::start(
        &[
            provider_with("a", &a, STURDY),
            format!(
                "[providers.g]\ndialect = \"gemini\"\nbase_url = \"{url}\"\ncredential = \"env:{}\"\n",
                crate::gateway::SECRET_VARIABLE
            ),
            model("m", &["a/one"]),
            "early_headers = true\n".to_owned(),
            model("n", &["g/gemini-2.5-flash"]),
            "early_headers = true\n".to_owned(),
            own_key(),
        ]
        .concat(),
    );
    let call = |path: &str, body: Value| {
        let answer = gateway.call(&Request::post(path).key(KEY).json(body.to_string()));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(
            !answer.text().contains("error"),
            "{path}: {}",
            answer.text()
        );
        answer.text()
    };
    let picture = json!({"model": "m", "prompt": "a cat", "stream": true});
    assert!(call("/v1/images/generations", picture).contains("aGk="));
    let count =
        json!({"model": "n", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    assert!(call("/v1/messages/count_tokens", count).contains("42"));
}
