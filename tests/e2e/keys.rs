//! Who may use what: the list of models, wildcards, and models asked for by their provider.

use serde_json::Value;

use crate::client::{Request, Response};
use crate::gateway::{Gateway, KEY, chat_body, key, model, own_key, provider};
use crate::provider::{Provider, chat};

const SMALL: &str = "tg-small-key-1";
const DIRECT: &str = "tg-direct-key-2";
const PATTERN: &str = "tg-pattern-key-3";

fn gateway(scripted: &Provider) -> Gateway {
    let config = [
        provider("openai", scripted),
        crate::gateway::provider_with("closed", scripted, "models = [\"only-this\"]"),
        model("fast", &["openai/gpt-5-mini"]),
        model("team/strong", &["openai/gpt-5"]),
        model("openai/*", &["openai/*"]),
        own_key(),
        key("small", SMALL, "models = [\"fast\"]"),
        key("direct", DIRECT, "models = [\"fast\"]\ndirect = true"),
        key("pattern", PATTERN, "models = [\"team/*\"]"),
    ];
    Gateway::start(&config.concat())
}

fn ask(gateway: &Gateway, key: &str, model: &str) -> Response {
    gateway.call(
        &Request::post("/v1/chat/completions")
            .key(key)
            .json(chat_body(model)),
    )
}

fn listed(gateway: &Gateway, key: &str) -> Vec<String> {
    let answer = gateway.call(&Request::get("/v1/models").key(key));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let list = answer.json();
    assert_eq!(list["object"], "list");
    let entries = list["data"].as_array().expect("data is a list");
    for entry in entries {
        assert_eq!(entry["object"], "model");
        assert!(
            entry["created"].is_u64() && entry["owned_by"].is_string(),
            "{entry}"
        );
    }
    entries
        .iter()
        .map(|entry| entry["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn a_key_sees_only_the_models_that_it_may_use() {
    let provider = Provider::start(chat("ok"));
    let gateway = gateway(&provider);
    assert_eq!(listed(&gateway, SMALL), ["fast"]);
    assert_eq!(listed(&gateway, PATTERN), ["team/strong"]);
    let all = listed(&gateway, KEY);
    assert!(
        all.contains(&"fast".to_owned()) && all.contains(&"team/strong".to_owned()),
        "{all:?}"
    );
    let one =
        |key: &str, id: &str| gateway.call(&Request::get(&format!("/v1/models/{id}")).key(key));
    let found = one(SMALL, "fast");
    assert_eq!(
        (found.status, found.json()["id"].clone()),
        (200, Value::from("fast"))
    );
    // A slash belongs to the id.
    assert_eq!(one(PATTERN, "team/strong").status, 200);
    for hidden in ["team/strong", "no-such-model"] {
        let answer = one(SMALL, hidden);
        assert_eq!(
            (answer.status, answer.error("code").as_str()),
            (404, "model_not_found"),
            "{hidden}"
        );
    }
    assert_eq!(provider.count(), 0, "the list of models is our own");
}

#[test]
fn a_wildcard_carries_the_rest_of_the_name_over() {
    let provider = Provider::start(chat("ok"));
    let gateway = gateway(&provider);
    for (asked, upstream) in [
        ("openai/gpt-9", "gpt-9"),
        ("openai/ft:gpt-4o:org::id", "ft:gpt-4o:org::id"),
        ("openai/a/b", "a/b"),
    ] {
        assert_eq!(ask(&gateway, KEY, asked).status, 200, "{asked}");
        assert_eq!(provider.take_one().model(), upstream);
    }
    // A wildcard's list says nothing about a key that may not use it.
    assert_eq!(ask(&gateway, SMALL, "openai/gpt-9").status, 403);
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_model_can_be_asked_for_by_its_provider_where_the_key_allows_it() {
    let provider = Provider::start(chat("ok"));
    let gateway = gateway(&provider);
    let answer = ask(&gateway, DIRECT, "closed/only-this");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(provider.take_one().model(), "only-this");
    for (key, model) in [
        (DIRECT, "closed/another"),
        (DIRECT, "nowhere/x"),
        (SMALL, "closed/only-this"),
    ] {
        let answer = ask(&gateway, key, model);
        assert!(
            [403, 404].contains(&answer.status),
            "{model}: {}",
            answer.text()
        );
    }
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_model_name_never_becomes_part_of_a_head() {
    let provider = Provider::start(chat("ok"));
    let gateway = gateway(&provider);
    let plain = |value: &str| value.bytes().all(|byte| byte.is_ascii_graphic());
    for name in [
        "openai/a\\r\\nx-evil: 1",
        "openai/\\u0000",
        "openai/ü\\u2028",
        &"openai/x".repeat(900),
    ] {
        let answer = ask(&gateway, KEY, name);
        assert!(answer.header("x-evil").is_none());
        assert!(
            answer
                .header("x-tollgate-model")
                .is_none_or(|value| plain(value) && value.len() <= 128),
            "{name}"
        );
        for request in provider.requests() {
            assert!(request.header("x-evil").is_none());
        }
    }
    provider.forget();
    for name in ["openai/", "/", "/x"] {
        let answer = ask(&gateway, KEY, name);
        assert!(
            [400, 404].contains(&answer.status),
            "{name}: {}",
            answer.status
        );
    }
    assert_eq!(provider.count(), 0);
}
