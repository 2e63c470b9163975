//! What a client's side has besides the answer itself: token counts, the model list, ids, rate limits and errors, in
//! the form that each client knows, whichever provider is behind.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Request, Response};
use crate::gateway::{Gateway, KEY, SECRET_VARIABLE, chat_request, model, model_once, own_key};
use crate::provider::{Provider, Script, fail, status};
use crate::wait::eventually;

/// A `[providers.NAME]` stanza of any dialect.
fn stanza(name: &str, dialect: &str, base: &str, provider: &Provider) -> String {
    let origin = provider.base_url().replace("/v1", "");
    format!(
        "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"{origin}{base}\"\ncredential = \"env:{SECRET_VARIABLE}\"\n"
    )
}

fn behind(dialect: &str, base: &str, script: Script) -> (Provider, Gateway) {
    let provider = Provider::start(script);
    let config = [
        stanza("main", dialect, base, &provider),
        model("m", &["main/upstream-m"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    (provider, gateway)
}

fn json_answer(body: &'static str) -> Script {
    status(200, &[], body)
}

fn count(path: &str) -> Request {
    let body = match path {
        "/v1/messages/count_tokens" => {
            json!({ "model": "m", "system": "Be brief.", "messages": [{ "role": "user", "content": "Hello, world" }] })
        }
        _ => json!({ "model": "m", "instructions": "Be brief.", "input": "Hello, world" }),
    };
    Request::post(path).key(KEY).json(body.to_string())
}

const COUNTS: [&str; 2] = ["/v1/messages/count_tokens", "/v1/responses/input_tokens"];

fn counted(answer: &Response, path: &str) -> u64 {
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let body = answer.json();
    let object = (path == COUNTS[1]).then_some("response.input_tokens");
    assert_eq!(body["object"].as_str(), object, "{path}: {body}");
    body["input_tokens"].as_u64().unwrap()
}

#[test]
fn tokens_are_counted_by_the_provider_that_can() {
    for (dialect, base, sent_to, body) in [
        (
            "anthropic",
            "/v1",
            "/v1/messages/count_tokens",
            r#"{"input_tokens":42}"#,
        ),
        (
            "gemini",
            "/v1beta",
            "/v1beta/models/upstream-m:countTokens",
            r#"{"totalTokens":42}"#,
        ),
        (
            "bedrock",
            "",
            "/model/upstream-m/count-tokens",
            r#"{"inputTokens":42}"#,
        ),
    ] {
        let (provider, gateway) = behind(dialect, base, json_answer(body));
        for path in COUNTS {
            let answer = gateway.call(&count(path));
            assert_eq!(counted(&answer, path), 42, "{path} on {dialect}");
            assert_eq!(answer.header("x-tollgate-estimated"), None, "{dialect}");
            let sent = provider.take_one();
            assert_eq!(sent.path(), sent_to, "{path} on {dialect}");
            let text = String::from_utf8(sent.body).unwrap();
            assert!(
                text.contains("Hello, world") && text.contains("Be brief."),
                "{text}"
            );
        }
    }
}

#[test]
fn tokens_are_estimated_where_no_provider_can_count_them_and_so_it_is_said() {
    for (dialect, base) in [("openai", "/v1"), ("cohere", "")] {
        let (provider, gateway) = behind(dialect, base, fail(500));
        for path in COUNTS {
            let answer = gateway.call(&count(path));
            let tokens = counted(&answer, path);
            assert!((8..=20).contains(&tokens), "{path} on {dialect}: {tokens}");
            assert_eq!(answer.header("x-tollgate-estimated"), Some("true"));
            assert_eq!(answer.header("x-tollgate-provider"), None);
        }
        assert_eq!(provider.count(), 0, "an estimate needs nobody");
    }
}

#[test]
fn a_counter_that_fails_is_followed_by_the_next_target() {
    let broken = Provider::start(fail(500));
    let other = Provider::start(fail(500));
    let config = [
        stanza("claude", "anthropic", "/v1", &broken),
        stanza("other", "openai", "/v1", &other),
        model_once("m", &["claude/a", "other/b"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let answer = gateway.call(&count(COUNTS[0]));
    counted(&answer, COUNTS[0]);
    assert_eq!(answer.header("x-tollgate-estimated"), Some("true"));
    assert_eq!((broken.count(), other.count()), (1, 0));
    assert_eq!(answer.header("x-tollgate-provider"), None);
    // One that is not there is no failure.
    broken.become_script(status(404, &[], r#"{"detail":"Not Found"}"#));
    let answer = gateway.call(&count(COUNTS[0]));
    counted(&answer, COUNTS[0]);
    assert_eq!(answer.header("x-tollgate-estimated"), Some("true"));
    assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
    // A limit of the answer may be missing here, and only here.
    let answer = gateway.call(&Request::post("/v1/messages").key(KEY).json(
        json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] }).to_string(),
    ));
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn anthropics_headers_go_to_anthropic_with_a_version_in_any_case() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#;
    let (provider, gateway) = behind("anthropic", "/v1", json_answer(body));
    let request = || {
        let body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }] });
        Request::post("/v1/messages?beta=true")
            .header("x-api-key", KEY)
            .json(body.to_string())
    };
    for (version, sent) in [
        (None, "2023-06-01"),
        (Some("2026-10-21"), "2026-10-21"),
        (Some("2099-01-01"), "2099-01-01"),
    ] {
        let request = version.map_or_else(request, |v| request().header("anthropic-version", v));
        let answer = gateway.call(&request.header("anthropic-beta", "a,b"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
        let seen = provider.take_one();
        assert_eq!(seen.header("anthropic-version").as_deref(), Some(sent));
        assert_eq!(seen.header("anthropic-beta").as_deref(), Some("a,b"));
        assert_eq!(seen.path(), "/v1/messages");
    }
    // Elsewhere a beta has no meaning, and that is said.
    let body = r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}"#;
    let (provider, gateway) = behind("gemini", "/v1beta", json_answer(body));
    let answer = gateway.call(&request().header("anthropic-beta", "a,b"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-dropped"), Some("anthropic-beta"));
    assert_eq!(provider.take_one().header("anthropic-beta"), None);
}

fn models_gateway() -> (Provider, Gateway) {
    let provider = Provider::start(fail(500));
    let mut config = stanza("main", "openai", "/v1", &provider);
    for alias in ["a", "b", "c", "d"] {
        config += &model(alias, &["main/x"]);
    }
    let gateway = Gateway::start(&(config + &own_key()));
    (provider, gateway)
}

#[test]
fn the_model_list_has_the_form_of_who_asks() {
    let (_provider, gateway) = models_gateway();
    let ask = |path: &str| {
        let request = Request::get(path).header("x-api-key", KEY);
        gateway.call(&request.header("anthropic-version", "2023-06-01"))
    };
    let page = ask("/v1/models?limit=2&after_id=a").json();
    let ids: Vec<_> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].clone())
        .collect();
    assert_eq!(ids, ["b", "c"]);
    assert_eq!(
        (&page["has_more"], &page["first_id"], &page["last_id"]),
        (&json!(true), &json!("b"), &json!("c"))
    );
    let one = ask("/v1/models/b").json();
    assert_eq!(one, page["data"][0]);
    assert_eq!(
        (&one["type"], &one["display_name"]),
        (&json!("model"), &json!("b"))
    );
    let created = one["created_at"].as_str().unwrap();
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{created}"
    );
    let gone = ask("/v1/models/nothing");
    assert_eq!(gone.status, 404);
    assert_eq!(gone.json()["type"], "error");
    assert_eq!(gone.error("type"), "not_found_error");
    assert_eq!(
        ask("/v1/models?limit=0").error("type"),
        "invalid_request_error"
    );
    assert_eq!(ask("/v1/messages/batches").error("type"), "not_found_error");

    let list = gateway.call(&Request::get("/v1/models").key(KEY)).json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().unwrap().len(), 4);
    let gone = gateway.call(&Request::get("/v1/models/nothing").key(KEY));
    assert_eq!(
        (gone.status, gone.error("code")),
        (404, "model_not_found".to_owned())
    );
}

#[test]
fn stored_responses_are_not_here() {
    let (_provider, gateway) = models_gateway();
    for (method, path) in [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items?limit=2"),
    ] {
        let answer = gateway.call(&Request::new(method, path).key(KEY));
        assert_eq!(
            (answer.status, answer.error("code")),
            (404, "response_not_found".to_owned()),
            "{method} {path}"
        );
    }
}

const LIMITS: [&str; 6] = [
    "request-id: req_upstream_1",
    "anthropic-ratelimit-requests-limit: 50",
    "anthropic-ratelimit-requests-remaining: 0",
    "anthropic-ratelimit-requests-reset: 2020-01-01T00:00:00Z",
    "anthropic-ratelimit-tokens-limit: lots",
    "retry-after: 9",
];

#[test]
fn rate_limits_have_openais_names_on_every_lane_and_ids_are_told_apart() {
    let busy = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let answers: Script = Arc::new(move |_, wire| wire.answer(429, &LIMITS, busy.as_bytes()));
    let (_provider, gateway) = behind("anthropic", "/v1", answers);
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        let answer = gateway.call(&ask(path));
        assert_eq!(answer.status, 429, "{path}: {}", answer.text());
        for (name, value) in [
            ("x-ratelimit-limit-requests", Some("50")),
            ("x-ratelimit-remaining-requests", Some("0")),
            ("x-ratelimit-reset-requests", Some("0s")),
            ("x-ratelimit-limit-tokens", None),
            ("anthropic-ratelimit-tokens-limit", None),
            ("retry-after", Some("9")),
            ("x-should-retry", None),
            ("x-tollgate-upstream-request-id", Some("req_upstream_1")),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let own = answer.header("anthropic-ratelimit-requests-limit");
        assert_eq!(own, (path == "/v1/messages").then_some("50"), "{path}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_ne!(id, "req_upstream_1");
        if path == "/v1/messages" {
            assert_eq!(answer.header("request-id"), Some(id.as_str()));
            assert_eq!(answer.json()["request_id"], id, "{}", answer.text());
        }
    }
    eventually("the provider's id is in the access log", || {
        let logged = gateway.stdout();
        let known = logged.contains("\"request_id\":\"req_upstream_1\"");
        known.then_some(())
    });
}

fn ask(path: &str) -> Request {
    let body = match path {
        "/v1/messages" => {
            json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }] })
        }
        "/v1/responses" => json!({ "model": "m", "input": "x" }),
        _ => json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] }),
    };
    Request::post(path).key(KEY).json(body.to_string())
}

#[test]
fn a_time_to_come_back_reaches_the_client_in_every_form() {
    for (header, seconds, millis) in [
        ("retry-after: Fri, 31 Dec 1999 23:59:59 GMT", "0", None),
        ("retry-after-ms: 1500", "2", Some("1500")),
        ("retry-after: 1.2", "2", None),
    ] {
        let answers: Script = Arc::new(move |_, wire| {
            let body = r#"{"error":{"code":"429","message":"slow down"}}"#;
            wire.answer(429, &[header], body.as_bytes())
        });
        let (_provider, gateway) = behind("azure", "/openai/v1", answers);
        let answer = gateway.call(&chat_request("m"));
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), Some(seconds), "{header}");
        assert_eq!(answer.header("retry-after-ms"), millis, "{header}");
    }
}

/// What a provider answers, and what each client format says then.
#[test]
fn errors_keep_their_meaning_in_every_client_format() {
    for (code, headers, body, openai, anthropic) in [
        (
            529,
            "retry-after: 4",
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            (503, "overloaded_error", "upstream_overloaded"),
            (529, "overloaded_error"),
        ),
        (
            400,
            "x: y",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
            (400, "invalid_request_error", "context_length_exceeded"),
            (400, "invalid_request_error"),
        ),
        (
            400,
            "x: y",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            (429, "insufficient_quota", "insufficient_quota"),
            (429, "rate_limit_error"),
        ),
        (
            401,
            "x: y",
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
            (502, "api_error", "upstream_auth"),
            (502, "api_error"),
        ),
    ] {
        let answers: Script =
            Arc::new(move |_, wire| wire.answer(code, &[headers], body.as_bytes()));
        let (_provider, gateway) = behind("anthropic", "/v1", answers);
        for path in ["/v1/chat/completions", "/v1/responses"] {
            let answer = gateway.call(&ask(path));
            let told = (answer.status, answer.error("type"), answer.error("code"));
            let expected = (openai.0, openai.1.to_owned(), openai.2.to_owned());
            assert_eq!(told, expected, "{path}: {}", answer.text());
            let last = ["insufficient_quota", "upstream_auth"].contains(&openai.2);
            let again = answer.header("x-should-retry");
            assert_eq!(again, last.then_some("false"), "{path} {body}");
            let wait = answer.header("retry-after");
            assert_eq!(wait, (code == 529).then_some("4"), "{path} {body}");
        }
        let answer = gateway.call(&ask("/v1/messages"));
        let told = (answer.status, answer.error("type"));
        assert_eq!(
            told,
            (anthropic.0, anthropic.1.to_owned()),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_prompt_that_is_too_long_for_one_model_goes_to_the_next() {
    let small = Provider::start(status(
        400,
        &[],
        r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}}"#,
    ));
    let large = Provider::start(crate::provider::chat("fits"));
    let config = [
        stanza("small", "openai", "/v1", &small),
        stanza("large", "openai", "/v1", &large),
        model("m", &["small/a", "large/b"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let answer = gateway.call(&chat_request("m"));
    assert_eq!((answer.status, answer.content()), (200, "fits".to_owned()));
}

#[test]
fn an_error_in_a_stream_that_passes_keeps_its_kind() {
    let overloaded =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let start = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":1}}}"#;
    let said =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
    for first in [true, false] {
        let answers: Script = Arc::new(move |_, wire| {
            wire.stream_head()?;
            if !first {
                wire.chunk(format!("event: message_start\ndata: {start}\n\n").as_bytes())?;
                wire.chunk(format!("event: content_block_delta\ndata: {said}\n\n").as_bytes())?;
            }
            wire.chunk(format!("event: error\ndata: {overloaded}\n\n").as_bytes())?;
            wire.end()
        });
        let (_provider, gateway) = behind("anthropic", "/v1", answers);
        let body = json!({ "model": "m", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "x" }] });
        let request = Request::post("/v1/messages")
            .key(KEY)
            .json(body.to_string());
        let told: Value = if first {
            let answer = gateway.call(&request);
            assert_eq!(answer.status, 529, "{}", answer.text());
            answer.json()
        } else {
            let events = gateway.connect().stream(&request).unwrap().events();
            serde_json::from_str(events.last().unwrap()).unwrap()
        };
        assert_eq!(told["error"]["type"], "overloaded_error", "{told}");
    }
}

/// A whole answer in each provider format that Responses is translated to.
const ANSWERS: [(&str, &str, &str); 3] = [
    (
        "openai",
        "/v1",
        r#"{"id":"1","object":"chat.completion","created":1,"model":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#,
    ),
    (
        "anthropic",
        "/v1",
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":2}}"#,
    ),
    (
        "gemini",
        "/v1beta",
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}"#,
    ),
];

#[test]
fn responses_without_a_store_say_so() {
    for (dialect, base, body) in ANSWERS {
        let (provider, gateway) = behind(dialect, base, json_answer(body));
        let ask = |rest: Value| {
            let mut body = json!({ "model": "m", "input": "x" });
            body.as_object_mut()
                .unwrap()
                .extend(rest.as_object().unwrap().clone());
            gateway.call(
                &Request::post("/v1/responses")
                    .key(KEY)
                    .json(body.to_string()),
            )
        };
        for (rest, dropped) in [
            (json!({}), None),
            (
                json!({ "store": false, "previous_response_id": null }),
                None,
            ),
            // OpenAI's chat completions have the field too.
            (
                json!({ "store": true }),
                (dialect != "openai").then_some("store"),
            ),
        ] {
            let answer = ask(rest);
            assert_eq!(answer.status, 200, "{dialect}: {}", answer.text());
            assert_eq!(answer.json()["store"], false, "{dialect}");
            assert_eq!(answer.header("x-tollgate-dropped"), dropped, "{dialect}");
        }
        provider.forget();
        for (rest, param) in [
            (
                json!({ "previous_response_id": "resp_1" }),
                "previous_response_id",
            ),
            (json!({ "conversation": "conv_1" }), "conversation"),
            (json!({ "background": true }), "background"),
            (json!({ "prompt": { "id": "p" } }), "prompt"),
            (json!({ "tools": [{ "type": "web_search" }] }), "tools[0]"),
            (
                json!({ "tools": [{ "type": "mcp", "server_label": "x" }] }),
                "tools[0]",
            ),
            (
                json!({ "input": [{ "type": "item_reference", "id": "x" }] }),
                "input[0].type",
            ),
        ] {
            let answer = ask(rest);
            let told = (answer.status, answer.error("param"));
            assert_eq!(
                told,
                (400, param.to_owned()),
                "{dialect}: {}",
                answer.text()
            );
        }
        assert_eq!(provider.count(), 0, "{dialect}");
    }
}

#[test]
fn what_the_config_says_of_a_model_is_what_it_is_asked_by() {
    let provider = Provider::start(json_answer(ANSWERS[1].2));
    let config = [
        stanza("main", "anthropic", "/v1", &provider),
        model("m", &["main/my-model"]),
        "[[capabilities]]\nmodels = [\"my-*\"]\nproviders = [\"main\"]\nsampling = \"none\"\nmax_output = 77\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let body = json!({ "model": "m", "temperature": 0.5, "messages": [{ "role": "user", "content": "x" }] });
    let request = Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string());
    let answer = gateway.call(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-dropped"), Some("temperature"));
    assert_eq!(provider.take_one().json()["max_tokens"], 77);
}
