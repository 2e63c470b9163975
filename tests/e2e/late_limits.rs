//! Limits that come late: with a reload while requests are under way, or with a restart after a crash. They count what
//! was used before them, each request once.

use serde_json::json;

use crate::accounts::{Ledger, at_rest, chat_of, limit, price, prices, rest, spends};
use crate::client::{Client, Request};
use crate::gate::{Gate, STURDY, behind};
use crate::gateway::{Gateway, KEY, directory, model, own_key, provider, provider_with};
use crate::provider::{Provider, fail, in_turn, silence};
use crate::wait::eventually;

/// Sends a chat that stays with its provider.
fn send(gateway: &Gateway, scripted: &Provider, user: &str, most: u64) -> Client {
    let before = scripted.count();
    let mut client = gateway.connect();
    client.send(&chat_of(user, most).bytes()).unwrap();
    eventually("it is under way", || {
        (scripted.count() == before + 1).then_some(())
    });
    client
}

#[test]
fn a_budget_that_comes_with_a_reload_cannot_be_overspent_by_what_is_under_way() {
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let config = |limits: &str| {
        [
            &*prices,
            limits,
            &provider("main", &scripted),
            &model("m", &["main/upstream-m"]),
            &own_key(),
        ]
        .join("\n")
    };
    let gateway = Gateway::start(&config(""));
    let gate = Gate::default();
    scripted.become_script(behind(&gate, spends(500)));
    let mut under = send(&gateway, &scripted, "a", 600);
    scripted.become_script(spends(0));
    assert_eq!(gateway.call(&chat_of("b", 300)).status, 200);
    let all = [
        limit("all", "0.001 usd / month", ""),
        limit("of-main", "0.001 usd", "per = [\"provider\"]"),
    ];
    let with = config(&all.concat());
    gateway.reload(&with, "ok");
    let ask = |most| gateway.call(&chat_of("c", most)).status;
    let left = || gateway.metric("tollgate_limit_remaining", &[("limit", "all")]);
    assert_eq!((left(), ask(101)), (100.0, 402));
    // What it did not use is free again, of a limit too that was taken out and put in again meanwhile.
    for (without, again) in [(false, 0), (true, 1)] {
        if without {
            gateway.reload(&config(""), "ok");
            gateway.reload(&format!("# {again}\n{with}"), "ok");
        }
        assert_eq!((left(), ask(101)), (100.0, 402));
    }
    gate.open();
    assert_eq!(under.response().unwrap().status, 200);
    let ledger = at_rest(&gateway);
    assert_eq!((left(), ledger.spent()), (600.0, 400));
    assert_eq!([ask(601), ask(600), ask(1)], [402, 200, 402]);
    at_rest(&gateway);
    assert_eq!((left(), ledger.spent()), (0.0, 1_000));
}

#[test]
fn what_a_process_that_died_had_under_way_counts_at_each_provider_it_may_have_asked() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let (a, b) = (Provider::start(silence()), Provider::start(silence()));
    let (_file, prices) = prices(&(price("a", 0.0, 1.0) + &price("b", 0.0, 1.0)));
    let limits = [
        limit("each", "0.001 usd / month", "per = [\"provider\"]"),
        limit("model", "0.0012 usd / month", "per = [\"model\"]"),
        limit("both", "0.0015 usd", "providers = [\"a\", \"b\"]"),
    ];
    let config = |name: &str| {
        [
            &*prices,
            &format!("[ledger]\npath = {path:?}\n"),
            &limits.concat(),
            &provider("a", &a),
            &provider("b", &b),
            &model("m", &[name]),
            &model("two", &["a/one", "b/two"]),
            &own_key(),
        ]
        .join("\n")
    };
    let gateway = Gateway::start(&config("a/one"));
    let body = json!({
        "model": "two", "user": "u", "max_tokens": 700,
        "messages": [{"role": "user", "content": "hello"}],
    });
    let two = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    let mut client = gateway.connect();
    client.send(&two.bytes()).unwrap();
    eventually("it is under way", || {
        (a.count() + b.count() == 1).then_some(())
    });
    gateway.signal("KILL");
    drop(gateway);
    for one in [&a, &b] {
        one.become_script(spends(0));
    }
    for name in ["a/one", "b/two"] {
        let gateway = Gateway::start(&config(name));
        let ask = |most| gateway.call(&chat_of("u", most)).status;
        assert_ne!(ask(301), 200, "{name}");
        assert_eq!(ask(300), 200, "{name}");
        rest(&gateway, &Ledger::at(&path));
        // A stop, and no crash.
        gateway.signal("TERM");
        drop(gateway);
    }
    // Once under a limit of both: 700 and twice 300.
    let gateway = Gateway::start(&config("a/one"));
    let left = gateway.metric("tollgate_limit_remaining", &[("limit", "both")]);
    assert_eq!(left, 200.0);
}

#[test]
fn requests_are_counted_after_a_restart_as_they_are_before_it() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let (a, b) = (
        Provider::start(in_turn(vec![fail(500), spends(0), fail(503), fail(503)])),
        Provider::start(in_turn(vec![spends(0), fail(500)])),
    );
    let limits = [
        limit("all", "1000 requests / day", ""),
        limit("a", "1000 requests / day", "providers = [\"a\"]"),
        limit("b", "1000 requests / month", "models = [\"two\"]"),
        limit("usd", "1 usd", ""),
    ];
    let (_file, prices) = prices(&(price("a", 0.0, 1.0) + &price("b", 0.0, 1.0)));
    let config = [
        &*prices,
        &format!("[ledger]\npath = {path:?}\n"),
        &limits.concat(),
        &provider_with("a", &a, STURDY),
        &provider_with("b", &b, STURDY),
        "[models.m]\ntargets = [\"a/one\"]\nfallbacks = [\"b/two\"]\nretries = 0\n",
        &own_key(),
    ]
    .join("\n");
    let gateway = Gateway::start(&config);
    let left = |gateway: &Gateway| {
        ["all", "a", "b", "usd"]
            .map(|name| gateway.metric("tollgate_limit_remaining", &[("limit", name)]))
    };
    let statuses: Vec<u16> = (0..3)
        .map(|_| gateway.call(&chat_of("u", 10)).status)
        .collect();
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses[2] >= 500, "{statuses:?}");
    // One of which nothing came: no provider has room for it.
    let ledger = Ledger::at(&path);
    rest(&gateway, &ledger);
    let before = left(&gateway);
    let attempts = |provider: &str| {
        ledger.number(&format!(
            "SELECT count(*) FROM attempts a JOIN names n ON n.id = a.provider WHERE n.name = '{provider}'"
        ))
    };
    let counted = |n: u64| 1_000.0 - n as f64;
    assert_eq!(
        before[..3],
        [counted(3), counted(attempts("a")), counted(attempts("b"))]
    );
    assert!(attempts("a") >= 3 && attempts("b") >= 2);
    gateway.signal("KILL");
    drop(gateway);
    let gateway = Gateway::start(&config);
    assert_eq!(left(&gateway), before);
}
