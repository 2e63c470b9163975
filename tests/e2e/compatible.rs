//! Providers that depart from OpenAI, and clients that need not know: the lane that the options choose, what goes
//! through it in both directions, and errors inside HTTP 200, which are failures and go to the next target.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Request, Response};
use crate::gateway::{Gateway, KEY, key, model, provider, provider_with};
use crate::provider::{Provider, Script, chat, completion, plain};

fn start(stanzas: &str, targets: &[&str], policy: &str) -> Gateway {
    let model = model("m", targets) + policy;
    Gateway::start(&format!(
        "{stanzas}{model}\n{}",
        key("tester", KEY, "models = [\"*\"]")
    ))
}

fn ask(gateway: &Gateway, path: &str, body: &Value) -> Response {
    gateway.call(&Request::post(path).key(KEY).json(body.to_string()))
}

fn asking(more: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello" }] });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

fn whole(body: &Value) -> Script {
    plain("application/json", body.to_string().as_bytes())
}

const CHAT: &str = "/v1/chat/completions";

/// Options as a stanza's rest.
fn options(text: &str) -> String {
    format!("options = {{ {text} }}")
}

#[test]
fn who_departs_from_nothing_gets_the_bytes_of_the_client() {
    let scripted = Provider::start(chat("hi"));
    let places = options(r#"responses = "native", top_k = "true""#);
    let gateway = start(&provider_with("main", &scripted, &places), &["main/m"], "");
    let odd = r#"{ "model":"m",  "min_p":0.10, "messages":[{"role":"user","content":"Hello","x":null}] }"#;
    let answer = gateway.call(&Request::post(CHAT).key(KEY).json(odd));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(scripted.take_one().body, odd.as_bytes());
}

/// A conversation that changes its provider brings thoughts of another's model along: to OpenAI's own Responses, which
/// would refuse the whole request for them, the bytes do not pass.
#[test]
fn thoughts_of_another_provider_keep_bytes_from_passing() {
    let scripted = Provider::start(chat("hi"));
    let native = provider_with("main", &scripted, &options(r#"responses = "native""#));
    let gateway = start(&native, &["main/m"], "");
    let turn = |sealed: &str| {
        json!({ "model": "m", "input": [
            { "role": "user", "content": "Hello" },
            { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed },
            { "role": "assistant", "content": "Hi" },
            { "role": "user", "content": "And now?" },
        ]})
    };
    // Base64 of [{"text":"Hm.","signature":"c2ln"}]
    let ours = "W3sidGV4dCI6IkhtLiIsInNpZ25hdHVyZSI6ImMybG4ifV0=";
    let answer = ask(&gateway, "/v1/responses", &turn(ours));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = scripted.take_one();
    assert_eq!(sent.path(), "/v1/chat/completions");
    assert!(!String::from_utf8_lossy(&sent.body).contains("c2ln"));
    assert!(answer.header("x-tollgate-dropped").is_some());
    ask(&gateway, "/v1/responses", &turn("gAAAAABo"));
    let sent = scripted.take_one();
    assert_eq!(sent.path(), "/v1/responses");
    assert!(String::from_utf8_lossy(&sent.body).contains("gAAAAABo"));
}

#[test]
fn who_departs_gets_what_it_takes_and_the_client_is_told_of_the_rest() {
    let answered = json!({
        "id": "c1", "object": "chat.completion", "created": 5, "model": "up", "provider": "Inner",
        "citations": ["https://a"],
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hi", "reasoning": "hm" }, "finish_reason": "eos" }],
        "usage": { "prompt_tokens": 3.0, "completion_tokens": 1, "total_tokens": 4, "cost": 0.5 },
    });
    let scripted = Provider::start(whole(&answered));
    let rest = options(
        r#"max_tokens_field = "max_tokens", drop = "logit_bias,messages[].name", refuse = "n", members = "prefix", rename = "seed:random_seed""#,
    );
    let gateway = start(&provider_with("main", &scripted, &rest), &["main/up"], "");
    let body = asking(json!({
        "messages": [
            { "role": "user", "content": "Hello", "name": "ann" },
            { "role": "assistant", "content": "So", "prefix": true, "mood": "good", "audio": null },
        ],
        "max_completion_tokens": 9, "seed": 3, "logit_bias": { "1": 2 }, "min_p": 0.1,
    }));
    let answer = ask(&gateway, CHAT, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("x-tollgate-dropped"),
        Some("logit_bias,messages[].mood,messages[].name")
    );
    assert_eq!(
        scripted.take_one().json(),
        json!({
            "model": "up", "max_tokens": 9, "random_seed": 3, "min_p": 0.1,
            "messages": [
                { "role": "user", "content": "Hello" },
                { "role": "assistant", "content": "So", "prefix": true },
            ],
        })
    );
    let got = answer.json();
    assert_eq!(got["model"], "m");
    assert_eq!(got["choices"][0]["finish_reason"], "stop");
    assert_eq!(got["choices"][0]["message"]["reasoning_content"], "hm");
    assert_eq!(
        (&got["provider"], &got["citations"], &got["usage"]["cost"]),
        (&json!("Inner"), &json!(["https://a"]), &json!(0.5))
    );
    scripted.forget();
    let refused = ask(&gateway, CHAT, &asking(json!({ "n": 2 })));
    assert_eq!(
        (refused.status, refused.error("param"), scripted.count()),
        (400, "n".to_owned(), 0),
        "{}",
        refused.text()
    );
}

#[test]
fn a_strict_route_refuses_what_it_would_drop() {
    let scripted = Provider::start(chat("hi"));
    let rest = options(r#"members = "none""#);
    let gateway = start(
        &provider_with("main", &scripted, &rest),
        &["main/m"],
        "policy = \"strict\"",
    );
    let body = asking(json!({ "messages": [{ "role": "user", "content": "a", "mood": "good" }] }));
    let refused = ask(&gateway, CHAT, &body);
    assert_eq!(
        (refused.status, refused.error("param")),
        (400, "messages[].mood".to_owned())
    );
    assert_eq!(scripted.count(), 0);
}

#[test]
fn streams_keep_what_the_provider_tells_besides() {
    let script: Script = Arc::new(|_, wire| {
        wire.stream_head()?;
        for event in [
            json!({ "id": "c1", "citations": ["https://a"], "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "H" } }], "usage": { "prompt_tokens": 3, "completion_tokens": 1 } }),
            json!({ "id": "c1", "citations": ["https://a", "https://b"], "choices": [{ "index": 0, "delta": { "content": "i" }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5 } }),
        ] {
            wire.event(&event.to_string())?;
        }
        wire.event("[DONE]")?;
        wire.end()
    });
    let scripted = Provider::start(script);
    let rest = options(r#"max_tokens_field = "max_tokens""#);
    let gateway = start(&provider_with("main", &scripted, &rest), &["main/m"], "");
    let body = asking(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let request = Request::post(CHAT).key(KEY).json(body.to_string());
    let events = gateway.connect().stream(&request).unwrap().events();
    assert_eq!(
        events.last().map(String::as_str),
        Some("[DONE]"),
        "{events:#?}"
    );
    let chunks: Vec<Value> = events
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok())
        .collect();
    let finished = chunks
        .iter()
        .find(|chunk| chunk["choices"][0]["finish_reason"] == "stop")
        .unwrap();
    assert_eq!(finished["citations"], json!(["https://a", "https://b"]));
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!(
        (&usage["total_tokens"], &usage["cost"]),
        (&json!(5), &json!(0.5))
    );
}

/// Errors that come as successes.
const HIDDEN: [&str; 3] = [
    r#"{"error":{"message":"overloaded","code":503,"metadata":{}}}"#,
    r#"{"id":"1","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#,
    r#"{"error":"Internal server error"}"#,
];

#[test]
fn an_error_inside_a_success_goes_to_the_next_target_in_both_lanes() {
    for hidden in HIDDEN {
        for rest in ["", r#"max_tokens_field = "max_tokens""#] {
            let first = Provider::start(plain("application/json", hidden.as_bytes()));
            let second = Provider::start(whole(
                &serde_json::from_str(&completion("m", "rescued")).unwrap(),
            ));
            let stanzas =
                provider_with("first", &first, &options(rest)) + &provider("second", &second);
            let gateway = start(&stanzas, &["first/m", "second/m"], "retries = 0\n");
            let what = format!("{hidden} {rest}");
            let answer = ask(&gateway, CHAT, &asking(json!({})));
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert_eq!(answer.content(), "rescued", "{what}");
            assert_eq!(
                answer.header("x-tollgate-provider"),
                Some("second"),
                "{what}"
            );
            // The same in place of a stream.
            let answer = ask(&gateway, CHAT, &asking(json!({ "stream": true })));
            assert_eq!(
                answer.header("x-tollgate-provider"),
                Some("second"),
                "{what}"
            );
            assert_eq!((first.count(), second.count()), (2, 2), "{what}");
        }
    }
}

#[test]
fn an_error_inside_a_success_is_an_error_where_nobody_is_left() {
    for (hidden, status) in [(HIDDEN[0], 503), (HIDDEN[1], 429), (HIDDEN[2], 502)] {
        for rest in ["", r#"max_tokens_field = "max_tokens""#] {
            let only = Provider::start(plain("application/json", hidden.as_bytes()));
            let stanza = provider_with("only", &only, &options(rest));
            let gateway = start(&stanza, &["only/m"], "");
            let answer = ask(&gateway, CHAT, &asking(json!({})));
            assert_eq!(answer.status, status, "{hidden} {rest}: {}", answer.text());
            assert!(answer.json()["error"]["message"].is_string());
        }
    }
}

#[test]
fn completions_are_answered_in_a_chat_where_there_are_no_others() {
    let scripted = Provider::start(chat("text"));
    let rest = options(r#"completions = "chat""#);
    let gateway = start(&provider_with("main", &scripted, &rest), &["main/m"], "");
    let answer = ask(
        &gateway,
        "/v1/completions",
        &json!({ "model": "m", "prompt": ["Say"], "max_tokens": 5 }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["text"], "text");
    let sent = scripted.take_one();
    assert!(
        sent.path().ends_with("/chat/completions"),
        "{}",
        sent.path()
    );
    assert_eq!(
        sent.json()["messages"],
        json!([{ "role": "user", "content": "Say" }])
    );
    scripted.forget();
    for (body, param) in [
        (json!({ "model": "m", "prompt": "a", "echo": true }), "echo"),
        (json!({ "model": "m", "prompt": [1, 2] }), "prompt"),
        (
            json!({ "model": "m", "prompt": "a", "logprobs": 0 }),
            "logprobs",
        ),
    ] {
        let refused = ask(&gateway, "/v1/completions", &body);
        assert_eq!(
            (refused.status, refused.error("param")),
            (400, param.to_owned())
        );
    }
    assert_eq!(scripted.count(), 0);
}

#[test]
fn embeddings_are_packed_here_where_the_provider_has_its_own_names() {
    let vectors = json!({ "object": "list", "data": [{ "index": 0, "embedding": [1.0, -0.5] }], "usage": { "prompt_tokens": 2 } });
    let scripted = Provider::start(whole(&vectors));
    let rest = options(
        r#"rename = "dimensions:output_dimension", drop = "user", embeddings_extra = "{\"input_type\":\"query\"}""#,
    );
    let gateway = start(&provider_with("main", &scripted, &rest), &["main/m"], "");
    let body = json!({ "model": "m", "input": "a", "dimensions": 2, "user": "u", "encoding_format": "base64" });
    let answer = ask(&gateway, "/v1/embeddings", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-dropped"), Some("user"));
    assert_eq!(answer.json()["data"][0]["embedding"], "AACAPwAAAL8=");
    let expected = json!({ "model": "m", "input": ["a"], "output_dimension": 2, "encoding_format": "float", "input_type": "query" });
    assert_eq!(scripted.take_one().json(), expected);
    let mut own = body;
    own["input_type"] = "passage".into();
    ask(&gateway, "/v1/embeddings", &own);
    assert_eq!(
        scripted.requests().last().unwrap().json()["input_type"],
        "passage"
    );
    let refused = ask(
        &gateway,
        "/v1/embeddings",
        &json!({ "model": "m", "input": [1, 2] }),
    );
    assert_eq!(
        (refused.status, refused.error("param")),
        (400, "input".to_owned())
    );
}

#[test]
fn azure_is_asked_at_its_deployments_in_both_lanes() {
    for (rest, lane) in [("", "bytes"), (r#", drop = "user""#, "translated")] {
        let scripted = Provider::start(chat("hi"));
        let origin = scripted.base_url().replace("/v1", "");
        let stanza = format!(
            "[providers.az]\ndialect = \"azure\"\nbase_url = \"{origin}\"\noptions = {{ api_version = \"2024-10-21\"{rest} }}\n"
        );
        let gateway = start(&stanza, &["az/gpt-4o"], "");
        let answer = ask(&gateway, CHAT, &asking(json!({})));
        assert_eq!(answer.status, 200, "{lane}: {}", answer.text());
        assert_eq!(
            scripted.take_one().path(),
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            "{lane}"
        );
    }
}
