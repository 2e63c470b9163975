//! Limits as clients and operators meet them: who is counted, what is told, who waits, and for whom requests are.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::accounts::{Ledger, at_rest, chat_of, limit, price, prices, spends};
use crate::client::{Client, Request, Response};
use crate::gateway::{Gateway, KEY, chat_body, key, model, own_key, provider};
use crate::provider::{Provider, Script, chat};
use crate::wait::{DEADLINE, eventually};

const OTHER: &str = "tg-other-client-of-the-same-team";
const STRANGER: &str = "tg-client-of-another-team";

fn ask(path: &str, key: &str, body: &Value) -> Request {
    Request::post(path).key(key).json(body.to_string())
}

/// An endpoint, a key and a body.
type Asked = (&'static str, &'static str, Value);

fn chat_body_of(model: &str, user: &str) -> Value {
    json!({"model": model, "user": user, "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]})
}

fn number(answer: &Response, name: &str) -> u64 {
    let value = answer
        .header(name)
        .unwrap_or_else(|| panic!("no {name}: {:?}", answer.headers));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

/// `m` and `other`, three keys in two teams, and these limits.
fn config(scripted: &Provider, limits: &str) -> String {
    [
        limits,
        &provider("main", scripted),
        &model("m", &["main/upstream-m"]),
        &model("other", &["main/upstream-o"]),
        &key("tester", KEY, "team = \"web\""),
        &key("second", OTHER, "team = \"web\""),
        &key("stranger", STRANGER, "team = \"shop\""),
    ]
    .join("\n")
}

#[test]
fn each_kind_of_limit_counts_those_it_is_for_and_says_what_is_left() {
    let scripted = Provider::start(chat("ok"));
    let chat = "/v1/chat/completions";
    let a = chat_body_of("m", "a");
    // What the limit is of; who shares it; who has another.
    let cases: [(&str, &str, Asked, Option<Asked>); 7] = [
        (
            "global",
            "",
            (chat, STRANGER, chat_body_of("other", "b")),
            None,
        ),
        (
            "key",
            "per = [\"key\"]",
            (chat, KEY, chat_body_of("other", "b")),
            Some((chat, OTHER, a.clone())),
        ),
        (
            "team",
            "per = [\"team\"]",
            (chat, OTHER, a.clone()),
            Some((chat, STRANGER, a.clone())),
        ),
        (
            "user",
            "per = [\"user\"]",
            (chat, STRANGER, a.clone()),
            Some((chat, KEY, chat_body_of("m", "b"))),
        ),
        (
            "route",
            "routes = [\"m\"]",
            (chat, OTHER, a.clone()),
            Some((chat, KEY, chat_body_of("other", "a"))),
        ),
        (
            "endpoint",
            "endpoints = [\"chat_completions\"]",
            (chat, OTHER, chat_body_of("other", "b")),
            Some((
                "/v1/completions",
                KEY,
                json!({"model": "m", "max_tokens": 10, "prompt": "x"}),
            )),
        ),
        (
            "model",
            "models = [\"upstream-m\"]",
            (chat, OTHER, a.clone()),
            Some((chat, KEY, chat_body_of("other", "a"))),
        ),
    ];
    for (name, rest, shares, differs) in cases {
        // One of its own for each: a limit that a reload brings counts what was used before.
        let gateway = Gateway::start(&config(&scripted, &limit(name, "3 requests / 1h", rest)));
        for (n, (path, key, body)) in [
            (chat, KEY, a.clone()),
            shares.clone(),
            (chat, KEY, a.clone()),
        ]
        .iter()
        .enumerate()
        {
            let answer = gateway.call(&ask(path, key, body));
            assert_eq!(answer.status, 200, "{name} {n}: {}", answer.text());
            if name == "model" {
                // It is not known of the client's request before a target is chosen.
                continue;
            }
            let told = ["limit", "remaining"]
                .map(|what| number(&answer, &format!("x-ratelimit-{what}-requests")));
            assert_eq!(told, [3, 2 - n as u64], "{name}");
            let reset = answer.header("x-ratelimit-reset-requests").unwrap();
            let is_hour = reset == "1h0m0s"
                || reset.starts_with("59m")
                || reset.starts_with("1h1m")
                || reset.starts_with("1h0m");
            assert!(is_hour, "{name}: {reset}");
        }
        let seen = scripted.count();
        for (path, key, body) in [(chat, KEY, a.clone()), shares] {
            let refused = gateway.call(&ask(path, key, &body));
            assert_eq!(refused.status, 429, "{name}: {}", refused.text());
            assert_eq!(refused.error("code"), "rate_limit_exceeded", "{name}");
            assert_eq!(refused.error("type"), "rate_limit_error", "{name}");
            assert!(
                refused.error("message").contains(&format!("'{name}'")),
                "{name}: {}",
                refused.text()
            );
            let after = number(&refused, "retry-after");
            assert!((3_500..=3_660).contains(&after), "{name}: {after}");
            assert_eq!(
                number(&refused, "x-ratelimit-remaining-requests"),
                0,
                "{name}"
            );
            assert_eq!(refused.header("x-should-retry"), None, "{name}");
        }
        assert_eq!(
            scripted.count(),
            seen,
            "{name}: nobody is asked for what is refused"
        );
        if let Some((path, key, body)) = differs {
            let answer = gateway.call(&ask(path, key, &body));
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
        let refusals = gateway.metric(
            "tollgate_limit_refusals_total",
            &[("limit", name), ("reason", "exhausted")],
        );
        assert!(refusals >= 2.0, "{name}: {refusals}");
    }
}

#[test]
fn tokens_are_limited_by_what_may_be_used_and_freed_by_what_was() {
    let scripted = Provider::start(spends(100));
    let limits = limit("out", "1000 output_tokens / 1h", "per = [\"user\"]");
    let gateway = Gateway::start(&config(&scripted, &limits));
    let told = |answer: &Response| {
        ["limit", "remaining"].map(|what| number(answer, &format!("x-ratelimit-{what}-tokens")))
    };
    let first = gateway.call(&chat_of("a", 600));
    assert_eq!((first.status, told(&first)), (200, [1_000, 400]));
    at_rest(&gateway);
    // 500 were used.
    let second = gateway.call(&chat_of("a", 501));
    assert_eq!((second.status, told(&second)), (429, [1_000, 500]));
    assert!(number(&second, "retry-after") > 3_000);
    let third = gateway.call(&chat_of("a", 500));
    assert_eq!((third.status, told(&third)), (200, [1_000, 0]));
    // What never fits need not come again.
    let never = gateway.call(&chat_of("b", 1_001));
    assert_eq!(
        (never.status, never.header("retry-after")),
        (429, None),
        "{}",
        never.text()
    );
    assert_eq!(never.header("x-should-retry"), Some("false"));
    drop(gateway);
    // The same for a limit that has no window.
    let gateway = Gateway::start(&config(&scripted, &limit("ever", "1 requests", "")));
    assert_eq!(gateway.call(&chat_of("a", 200)).status, 200);
    let over = gateway.call(&chat_of("a", 200));
    assert_eq!(
        (over.status, over.header("retry-after")),
        (429, None),
        "{}",
        over.text()
    );
    assert_eq!(over.header("x-should-retry"), Some("false"));
}

#[test]
fn a_providers_limit_sends_requests_on_to_the_next_target() {
    let (a, b) = (Provider::start(chat("a")), Provider::start(chat("b")));
    let config = [
        limit("of-a", "2 requests / 1h", "providers = [\"a\"]"),
        limit("of-b", "1 requests / 1h", "providers = [\"b\"]"),
        provider("a", &a),
        provider("b", &b),
        model("m", &["a/one", "b/two"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let said: Vec<String> = (0..3).map(|_| gateway.chat("m").content()).collect();
    assert_eq!(said, ["a", "a", "b"]);
    let refused = gateway.chat("m");
    assert_eq!(
        (refused.status, refused.error("code").as_str()),
        (429, "rate_limit_exceeded")
    );
    assert!((3_500..=3_660).contains(&number(&refused, "retry-after")));
    assert_eq!((a.count(), b.count()), (2, 1));
    // One that is refused is no attempt, and costs its target nothing.
    let settled = Ledger::of(&gateway).settlement_of(&refused);
    assert_eq!((settled.outcome.as_str(), settled.cost), ("refused", 0));
}

/// A provider that answers one request for each word of the test's, in the order in which they came.
fn turnstile() -> (Sender<()>, Provider) {
    let (open, turns) = channel::<()>();
    let turns = Mutex::new(turns);
    let script: Script = Arc::new(move |request, wire| {
        let _ = turns.lock().unwrap().recv_timeout(DEADLINE);
        chat("ok")(request, wire)
    });
    (open, Provider::start(script))
}

fn waiting(gateway: &Gateway, many: f64) {
    eventually(&format!("{many} wait for their turn"), || {
        (gateway.metric("tollgate_limit_waiting_requests", &[("limit", "one")]) == many)
            .then_some(())
    });
}

/// Asks and does not wait for the answer.
fn send(gateway: &Gateway, key: &str, user: &str) -> Client {
    let mut client = gateway.connect();
    let request = ask("/v1/chat/completions", key, &chat_body_of("m", user));
    client.send(&request.bytes()).unwrap();
    client
}

fn users(provider: &Provider) -> Vec<String> {
    let all = provider.requests();
    all.iter()
        .map(|r| r.json()["user"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn who_waits_is_served_by_class_and_who_leaves_is_passed_over() {
    let (open, scripted) = turnstile();
    let config = [
        limit("one", "1 concurrent", "wait = \"60s\"\ndepth = 5"),
        provider("main", &scripted),
        model("m", &["main/upstream-m"]),
        key("normal", KEY, ""),
        key("interactive", OTHER, "priority = \"interactive\""),
        key("batch", STRANGER, "priority = \"batch\""),
    ];
    let gateway = Gateway::start(&config.concat());
    let mut first = send(&gateway, KEY, "first");
    eventually("the first has the place", || {
        (scripted.count() == 1).then_some(())
    });
    // One after the other, so that it is known in which order they came.
    let mut clients = Vec::new();
    for (n, (key, user)) in [
        (STRANGER, "batch"),
        (KEY, "leaves"),
        (KEY, "normal"),
        (OTHER, "interactive"),
    ]
    .into_iter()
    .enumerate()
    {
        clients.push(send(&gateway, key, user));
        waiting(&gateway, n as f64 + 1.0);
    }
    drop(clients.remove(1));
    waiting(&gateway, 3.0);
    assert_eq!(scripted.count(), 1, "one at a time");
    open.send(()).unwrap();
    assert_eq!(first.response().unwrap().status, 200);
    for (n, index) in [(2, 2), (3, 1), (4, 0)] {
        eventually("the next is served", || {
            (scripted.count() == n).then_some(())
        });
        open.send(()).unwrap();
        assert_eq!(clients[index].response().unwrap().status, 200);
    }
    assert_eq!(
        users(&scripted),
        ["first", "interactive", "normal", "batch"]
    );
    // The place is free again.
    open.send(()).unwrap();
    assert_eq!(send(&gateway, KEY, "last").response().unwrap().status, 200);
    waiting(&gateway, 0.0);
}

#[test]
fn waiting_ends_in_time_and_the_line_has_an_end() {
    let (open, scripted) = turnstile();
    let config = |wait: &str| {
        [
            limit("one", "1 concurrent", wait),
            provider("main", &scripted),
            model("m", &["main/upstream-m"]),
            own_key(),
        ]
        .concat()
    };
    let gateway = Gateway::start(&config("wait = \"300ms\""));
    let mut first = send(&gateway, KEY, "first");
    eventually("the first has the place", || {
        (scripted.count() == 1).then_some(())
    });
    let late = send(&gateway, KEY, "late").response().unwrap();
    assert_eq!(
        (late.status, late.error("code").as_str()),
        (429, "rate_limit_exceeded")
    );
    assert_eq!(late.header("retry-after"), Some("1"));
    let refusals = |reason: &str| {
        gateway.metric(
            "tollgate_limit_refusals_total",
            &[("limit", "one"), ("reason", reason)],
        )
    };
    assert_eq!(refusals("waited"), 1.0);
    gateway.reload(&config("wait = \"60s\"\ndepth = 1"), "ok");
    let mut waits = send(&gateway, KEY, "waits");
    waiting(&gateway, 1.0);
    let full = send(&gateway, KEY, "full").response().unwrap();
    assert_eq!(
        (full.status, refusals("queue_full")),
        (429, 1.0),
        "{}",
        full.text()
    );
    for client in [&mut first, &mut waits] {
        open.send(()).unwrap();
        assert_eq!(client.response().unwrap().status, 200);
    }
    assert_eq!(users(&scripted), ["first", "waits"]);
    // Without a wait nobody waits.
    gateway.reload(&config(""), "ok");
    let mut first = send(&gateway, KEY, "again");
    eventually("the place is taken", || {
        (scripted.count() == 3).then_some(())
    });
    assert_eq!(send(&gateway, KEY, "no").response().unwrap().status, 429);
    open.send(()).unwrap();
    assert_eq!(first.response().unwrap().status, 200);
}

#[test]
fn a_spent_budget_is_told_in_the_clients_words() {
    let scripted = Provider::start(chat("ok"));
    let (_file, prices) = prices(&price("main", 1.0, 1.0));
    let gateway = Gateway::start(
        &[
            prices,
            config(&scripted, &limit("all", "0.000001 usd / 1d", "")),
        ]
        .concat(),
    );
    let refused = gateway.call(&ask("/v1/chat/completions", KEY, &chat_body_of("m", "u")));
    assert_eq!(refused.status, 402, "{}", refused.text());
    let said = ["type", "code"].map(|member| refused.error(member));
    assert_eq!(said, ["insufficient_quota", "budget_exceeded"]);
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let members: Vec<String> = refused.json()["error"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(members.len(), 4, "{members:?}");
    let body =
        json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]});
    let refused = gateway.call(&ask("/v1/messages", KEY, &body));
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (402, &json!("error"))
    );
    assert_eq!(
        refused.json()["error"]["type"],
        "billing_error",
        "{}",
        refused.text()
    );
    let refused = gateway.call(&ask(
        "/v1/responses",
        KEY,
        &json!({"model": "m", "input": "x", "max_output_tokens": 10}),
    ));
    assert_eq!(
        (refused.status, refused.error("code").as_str()),
        (402, "budget_exceeded")
    );
    // A stream that was not begun is refused as a whole.
    let mut body = chat_body_of("m", "u");
    body["stream"] = true.into();
    assert_eq!(
        gateway
            .call(&ask("/v1/chat/completions", KEY, &body))
            .status,
        402
    );
    assert_eq!(scripted.count(), 0);
    // Nothing was begun, so there is nothing to settle.
    assert_eq!(at_rest(&gateway).intents(), 0);
}

#[test]
fn a_request_is_for_the_user_that_its_body_names_or_its_header() {
    let scripted = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&scripted, ""));
    let ledger = Ledger::of(&gateway);
    let user = |request: &Request| {
        let answer = gateway.call(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        ledger.settlement_of(&answer).user
    };
    let plain = || Request::post("/v1/chat/completions").key(KEY);
    let body = |member: &str, value: &str| {
        let mut body: Value = serde_json::from_str(&chat_body("m")).unwrap();
        body[member] = value.into();
        body.to_string()
    };
    assert_eq!(user(&plain().json(chat_body("m"))), "");
    assert_eq!(user(&plain().json(body("user", "8473"))), "8473");
    assert_eq!(
        user(&plain().json(body("safety_identifier", "hashed"))),
        "hashed"
    );
    assert_eq!(
        user(
            &plain()
                .header("x-tollgate-user", "from-head")
                .json(chat_body("m"))
        ),
        "from-head"
    );
    let both = plain()
        .header("x-tollgate-user", "from-head")
        .json(body("user", "8473"));
    assert_eq!(user(&both), "8473");
    let claude = json!({"model": "m", "max_tokens": 10, "metadata": {"user_id": "of-claude"}, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(user(&ask("/v1/messages", KEY, &claude)), "of-claude");
    // A long name is told by its digest, another one by another.
    let long = |n: usize| user(&plain().json(body("user", &"x".repeat(n))));
    assert_eq!(long(256).len(), 256);
    let (one, other) = (long(257), long(5_000));
    assert!(
        one.starts_with("sha256:") && one.len() == 71 && one != other,
        "{one} {other}"
    );
    for bad in ["", " ", &"x".repeat(257), "caf\u{e9}"] {
        let refused = gateway.call(&plain().header("x-tollgate-user", bad).json(chat_body("m")));
        assert_eq!(
            (refused.status, refused.error("param").as_str()),
            (400, "x-tollgate-user"),
            "{bad:?}"
        );
    }
    // Neither header goes to the provider.
    let sent = scripted.requests();
    assert!(
        sent.iter()
            .all(|request| request.header("x-tollgate-user").is_none())
    );
}

#[test]
fn tags_reach_the_ledger_and_bad_ones_nobody() {
    let scripted = Provider::start(chat("ok"));
    let own = key("tester", KEY, "metadata = { team = \"web\" }");
    let config = [
        provider("main", &scripted),
        model("m", &["main/upstream-m"]),
        own,
    ];
    let gateway = Gateway::start(&config.concat());
    let tagged = |tags: &str| {
        Request::post("/v1/chat/completions")
            .key(KEY)
            .header("x-tollgate-tags", tags)
            .json(chat_body("m"))
    };
    let answer = gateway.call(&tagged("feature=search, team=mine,run=2026-01-02T03:04"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ledger = at_rest(&gateway);
    let tags = ledger.text("SELECT t.tags FROM intents i JOIN tag_sets t ON t.id = i.tags");
    let tags: Value = serde_json::from_str(&tags).unwrap();
    // What the operator says of the key stands.
    assert_eq!(
        tags,
        json!({"feature": "search", "team": "web", "run": "2026-01-02T03:04"})
    );
    assert!(scripted.take_one().header("x-tollgate-tags").is_none());
    let many = (0..17)
        .map(|n| format!("t{n}=x"))
        .collect::<Vec<_>>()
        .join(",");
    for bad in [
        "feature",
        "=x",
        "a=",
        "a=b,a=c",
        "a=b c",
        "a=\u{e9}",
        &many,
        &format!("a={}", "x".repeat(129)),
    ] {
        let refused = gateway.call(&tagged(bad));
        assert_eq!(
            (refused.status, refused.error("param").as_str()),
            (400, "x-tollgate-tags"),
            "{bad:?}: {}",
            refused.text()
        );
    }
    let twice = tagged("a=b").header("x-tollgate-tags", "c=d");
    assert_eq!(gateway.call(&twice).status, 400);
    assert_eq!(scripted.count(), 0);
}
