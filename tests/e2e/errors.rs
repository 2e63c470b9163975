//! Every refusal: its status, OpenAI's error shape, its line in the access log, and that nothing was sent upstream.

use std::sync::mpsc;

use crate::client::{Request, Response};
use crate::gateway::{
    Gateway, KEY, chat_body, chat_request, key, model, own_key, provider, provider_with, simple,
};
use crate::provider::{
    Provider, Script, chat, completion, error_body, fail, plain, reset, silence, status,
};
use crate::wait::eventually;

const NARROW: &str = "tg-canary-narrow-41d0";
const DISABLED: &str = "tg-canary-disabled-9e77";

fn config(scripted: &Provider) -> String {
    [
        simple(scripted),
        model("other", &["main/upstream-other"]),
        key("narrow", NARROW, "models = [\"other\"]"),
        key("off", DISABLED, "models = [\"*\"]\ndisabled = true"),
    ]
    .concat()
}

/// Checks an error's status, `type` and `code` (an empty expectation accepts any), its shape and its log line.
fn assert_error(gateway: &Gateway, what: &str, answer: &Response, expected: (u16, &str, &str)) {
    let (code, kind, name) = expected;
    assert_eq!(answer.status, code, "{what}: {}", answer.text());
    let shown = answer.text();
    let body = answer.json();
    let error = body["error"]
        .as_object()
        .unwrap_or_else(|| panic!("{what}: no error object in {shown}"));
    let mut members: Vec<&str> = error.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "message", "param", "type"], "{what}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}: {shown}"
    );
    assert!(kind.is_empty() || error["type"] == kind, "{what}: {shown}");
    assert!(name.is_empty() || error["code"] == name, "{what}: {shown}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    let id = answer
        .header("x-request-id")
        .unwrap_or_else(|| panic!("{what}: no x-request-id"));
    assert_eq!(
        gateway.access_line(id)["status"],
        code,
        "{what}: another status in the access log"
    );
}

/// Bodies that are not JSON, or not JSON that every reader reads alike.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let with = |member: &str| format!(r#"{{"model":"m","messages":[],{member}}}"#).into_bytes();
    let message = |member: &str| {
        format!(r#"{{"model":"m","messages":[{{"role":"user",{member}}}]}}"#).into_bytes()
    };
    let text = |bytes: &[u8]| [br#"{"model":"m","messages":[],"x":""#, bytes, br#""}"#].concat();
    let good = chat_body("m").into_bytes();
    let deep = format!("\"x\":{}{}", "[".repeat(64), "]".repeat(64));
    vec![
        ("empty body", Vec::new()),
        ("white space only", b" \r\n ".to_vec()),
        ("not an object", br#"["model","m"]"#.to_vec()),
        ("cut off", good[..good.len() - 1].to_vec()),
        ("trailing comma", with(r#""x":1,"#)),
        ("comment", with(r#"/**/"x":1"#)),
        ("single quotes", br"{'model':'m'}".to_vec()),
        ("NaN", with(r#""temperature":NaN"#)),
        ("Infinity", with(r#""temperature":-Infinity"#)),
        ("leading zero", with(r#""x":01"#)),
        ("plus sign", with(r#""x":+1"#)),
        ("bare point", with(r#""x":1."#)),
        ("bare exponent", with(r#""x":1e"#)),
        ("unknown word", with(r#""x":True"#)),
        ("trailing data", [&good[..], b"{}"].concat()),
        ("trailing NUL", [&good[..], b"\0"].concat()),
        ("NUL in a string", text(b"a\0b")),
        ("newline in a string", text(b"a\nb")),
        ("unknown escape", text(br"\x41")),
        ("short escape", text(br"\u12")),
        ("byte order mark", [b"\xef\xbb\xbf", &good[..]].concat()),
        ("UTF-16", good.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("stray byte", text(b"\xff")),
        ("overlong", text(b"\xc0\x80")),
        ("encoded surrogate", text(b"\xed\xa0\x80")),
        ("beyond Unicode", text(b"\xf4\x90\x80\x80")),
        ("broken character", text(b"\xe2\x82")),
        ("lone leading surrogate", text(br"\ud83e")),
        ("lone trailing surrogate", text(br"\udd16")),
        ("surrogates the wrong way round", text(br"\udd16\ud83e")),
        ("lone surrogate in a name", with(r#""\ud83e":1"#)),
        ("depth 65", with(&deep)),
        (
            "model twice",
            br#"{"model":"m","messages":[],"model":"other"}"#.to_vec(),
        ),
        (
            "model twice, once escaped",
            br#"{"model":"m","messages":[],"\u006dodel":"other"}"#.to_vec(),
        ),
        ("unknown name twice", with(r#""x":1,"x":1"#)),
        (
            "unknown name twice, once escaped",
            with(r#""xy":1,"x\u0079":1"#),
        ),
        (
            "role twice in a message",
            message(r#""content":"a","role":"system""#),
        ),
        (
            "content twice in a message, once escaped",
            message(r#""content":"a","c\u006fntent":"b""#),
        ),
    ]
}

/// JSON whose known members are not what they must be.
fn misshapen() -> Vec<(&'static str, &'static str)> {
    vec![
        ("no model", r#"{"messages":[]}"#),
        ("model null", r#"{"model":null,"messages":[]}"#),
        ("model number", r#"{"model":7,"messages":[]}"#),
        ("model array", r#"{"model":["m"],"messages":[]}"#),
        ("model empty", r#"{"model":"","messages":[]}"#),
        ("messages string", r#"{"model":"m","messages":"hello"}"#),
        ("messages object", r#"{"model":"m","messages":{}}"#),
        (
            "stream text",
            r#"{"model":"m","messages":[],"stream":"true"}"#,
        ),
        ("stream number", r#"{"model":"m","messages":[],"stream":1}"#),
        (
            "max_tokens text",
            r#"{"model":"m","messages":[],"max_tokens":"5"}"#,
        ),
        (
            "max_tokens negative",
            r#"{"model":"m","messages":[],"max_tokens":-1}"#,
        ),
        (
            "max_tokens fraction",
            r#"{"model":"m","messages":[],"max_tokens":1.5}"#,
        ),
        (
            "max_completion_tokens text",
            r#"{"model":"m","messages":[],"max_completion_tokens":"5"}"#,
        ),
        ("Model", r#"{"Model":"m","messages":[]}"#),
        (
            "model and MODEL",
            r#"{"model":"m","MODEL":"other","messages":[]}"#,
        ),
        ("Stream", r#"{"model":"m","messages":[],"Stream":true}"#),
        (
            "escaped Stream",
            r#"{"model":"m","messages":[],"\u0053tream":true}"#,
        ),
        (
            "long s in messages",
            r#"{"model":"m","messages":[],"me\u017f\u017fages":[]}"#,
        ),
        (
            "Kelvin sign in max_tokens",
            r#"{"model":"m","messages":[],"max_to\u212aens":5}"#,
        ),
    ]
}

#[test]
fn malformed_json_is_400_with_the_position_and_goes_nowhere() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    for (what, body) in malformed() {
        let answer = gateway.send(
            &Request::post("/v1/chat/completions")
                .key(KEY)
                .json(body)
                .bytes(),
        );
        assert_error(&gateway, what, &answer, (400, "invalid_request_error", ""));
        let message = answer.error("message");
        assert!(
            what == "empty body" || message.contains(|c: char| c.is_ascii_digit()),
            "{what}: no position in {message:?}"
        );
        assert_eq!(provider.count(), 0, "{what}: something was sent upstream");
    }
}

#[test]
fn wrong_types_and_look_alike_names_are_400_and_go_nowhere() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    for (what, body) in misshapen() {
        let answer = gateway.send(
            &Request::post("/v1/chat/completions")
                .key(KEY)
                .json(body)
                .bytes(),
        );
        assert_error(&gateway, what, &answer, (400, "invalid_request_error", ""));
        assert_eq!(provider.count(), 0, "{what}: something was sent upstream");
    }
}

#[test]
fn strictness_refuses_nothing_that_is_right() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    let deep = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let bodies = [
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"x":{deep}}}"#),
        r#" {"m\u006fdel":"\u006d","messages":[{"role":"user","content":[{"type":"text","text":"\ud83e\udd16"}]}]} "#.into(),
        r#"{"model":"m","messages":[{"role":"a","content":"x"},{"role":"b","content":"x"}],"stream":null,"max_tokens":null}"#.into(),
        r#"{"model":"m","messages":[{"role":"user","content":null,"a":{"a":1}}],"a":{"a":{"a":-0.5e-3}},"models":["x"]}"#.into(),
    ];
    for body in bodies {
        let answer = gateway.send(
            &Request::post("/v1/chat/completions")
                .key(KEY)
                .json(body.as_str())
                .bytes(),
        );
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert_eq!(provider.take_one().model(), "upstream-m");
    }
}

#[test]
fn a_key_that_is_missing_unknown_or_disabled_is_401_and_tells_nothing() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    let post = || Request::post("/v1/chat/completions").json(chat_body("m"));
    let refused = [
        ("no key", post()),
        ("unknown", post().key("tg-canary-nobody")),
        ("disabled", post().key(DISABLED)),
        ("empty", post().key("")),
        (
            "other scheme",
            post().header("authorization", &format!("Basic {KEY}")),
        ),
        (
            "unknown x-api-key",
            post().header("x-api-key", "tg-canary-nobody"),
        ),
    ];
    let mut bodies = Vec::new();
    for (what, request) in refused {
        let answer = gateway.call(&request);
        assert_error(
            &gateway,
            what,
            &answer,
            (401, "authentication_error", "invalid_api_key"),
        );
        bodies.push(answer.text());
    }
    assert_eq!(
        bodies[1], bodies[2],
        "the answer tells a disabled key from an unknown one"
    );
    assert_eq!(provider.count(), 0);
    assert_eq!(gateway.call(&Request::get("/v1/models")).status, 401);
    for request in [post().key(KEY), post().header("x-api-key", KEY)] {
        assert_eq!(gateway.call(&request).status, 200);
    }
}

#[test]
fn a_model_that_the_key_may_not_use_is_403_and_an_unknown_one_404() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    let ask = |key: &str, model: &str| {
        gateway.call(
            &Request::post("/v1/chat/completions")
                .key(key)
                .json(chat_body(model)),
        )
    };
    assert_error(
        &gateway,
        "narrow key",
        &ask(NARROW, "m"),
        (403, "permission_error", "model_not_allowed"),
    );
    let unknown = ask(KEY, "no-such-model");
    assert_error(
        &gateway,
        "unknown model",
        &unknown,
        (404, "invalid_request_error", "model_not_found"),
    );
    assert_eq!(provider.count(), 0);
    assert_eq!(ask(NARROW, "other").status, 200);
}

#[test]
fn what_is_not_there_is_404_and_a_wrong_method_405() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    for path in [
        "/",
        "/v1",
        "/v1/chat/completions/",
        "/v1/files",
        "/metrics",
        "/healthz",
        "/v1/%63hat/completions",
    ] {
        for request in [
            Request::get(path).key(KEY),
            Request::post(path).key(KEY).json(chat_body("m")),
        ] {
            let answer = gateway.call(&request);
            assert_error(
                &gateway,
                path,
                &answer,
                (404, "not_found_error", "unknown_url"),
            );
        }
    }
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("PUT", "/v1/images/generations", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("PUT", "/v1/models/m", "GET"),
    ] {
        let answer = gateway.call(&Request::new(method, path).key(KEY).json("{}"));
        assert_error(
            &gateway,
            path,
            &answer,
            (405, "invalid_request_error", "method_not_allowed"),
        );
        let allowed = answer.header("allow").unwrap_or_default();
        assert!(
            allowed.split(',').any(|method| method.trim() == allow),
            "{method} {path}: Allow is {allowed:?}"
        );
    }
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_body_of_unknown_length_or_type_is_411_and_415() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    let post = || Request::post("/v1/chat/completions").key(KEY);
    let answer = gateway.call(&post().header("content-type", "application/json"));
    assert_error(&gateway, "no length", &answer, (411, "", ""));
    for (what, request) in [
        (
            "text",
            post()
                .header("content-type", "text/plain")
                .body(chat_body("m")),
        ),
        (
            "form",
            post()
                .header("content-type", "application/x-www-form-urlencoded")
                .body("model=m"),
        ),
        (
            "multipart",
            post()
                .header("content-type", "multipart/form-data; boundary=x")
                .body("--x--"),
        ),
        ("no type", post().body(chat_body("m"))),
        (
            "look-alike",
            post()
                .header("content-type", "application/jsonp")
                .body(chat_body("m")),
        ),
        (
            "compressed",
            post()
                .header("content-encoding", "gzip")
                .json(chat_body("m")),
        ),
    ] {
        let answer = gateway.call(&request);
        assert_error(&gateway, what, &answer, (415, "", "unsupported_media_type"));
    }
    assert_eq!(provider.count(), 0);
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let request = post().header("content-type", kind).body(chat_body("m"));
        assert_eq!(gateway.call(&request).status, 200, "{kind}");
    }
}

#[test]
fn heads_that_are_too_large_are_414_and_431() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    let long = format!("/v1/chat/completions?x={}", "a".repeat(9 * 1024));
    let answer = gateway.call(&Request::post(&long).key(KEY).json(chat_body("m")));
    assert_error(&gateway, "long URI", &answer, (414, "", ""));
    let large = chat_request("m").header("x-large", &"a".repeat(65 * 1024));
    assert_error(
        &gateway,
        "large head",
        &gateway.call(&large),
        (431, "", "headers_too_large"),
    );
    let many = (0..130).fold(chat_request("m"), |request, n| {
        request.header(&format!("x-{n}"), "1")
    });
    assert_error(
        &gateway,
        "many fields",
        &gateway.call(&many),
        (431, "", "headers_too_large"),
    );
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_body_that_does_not_come_in_time_is_408() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&format!("[times]\nbody = \"1s\"\n{}", config(&provider)));
    let bytes = chat_request("m").bytes();
    let mut client = gateway.connect();
    client.send(&bytes[..bytes.len() - 1]).unwrap();
    let answer = client.response().expect("no answer");
    assert_error(&gateway, "body", &answer, (408, "", "request_timeout"));
    assert_eq!(provider.count(), 0);
}

#[test]
fn connections_that_do_not_bring_a_request_in_time_are_closed() {
    let provider = Provider::start(chat("ok"));
    let times = "[times]\nheader = \"2s\"\nidle = \"2s\"\n";
    let gateway = Gateway::start(&format!("{times}{}", config(&provider)));
    let bytes = chat_request("m").bytes();
    let mut half = gateway.connect();
    half.send(&bytes[..30]).unwrap();
    assert!(half.closed(), "a head that never ends keeps its connection");
    assert!(
        gateway.connect().closed(),
        "a connection that says nothing is kept"
    );
    let mut idle = gateway.connect();
    assert_eq!(
        idle.call(&chat_request("m")).expect("no answer").status,
        200
    );
    assert!(
        idle.closed(),
        "a connection that brings no second request is kept"
    );
}

/// Sends a chat whose head starts with these lines, and expects that it is refused: in words, or by closing the
/// connection; never answered as if all were well. Returns what was wrong.
fn refuses(lines: &str) -> Option<String> {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&config(&provider));
    let body = chat_body("m");
    let common = format!("authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n");
    let request = format!("POST /v1/chat/completions HTTP/1.1\r\n{lines}{common}\r\n{body}");
    let mut client = gateway.connect();
    client.send(request.as_bytes()).unwrap();
    let status = client.response().map_or(400, |answer| answer.status);
    let refused = (400..500).contains(&status) && provider.count() == 0;
    (!refused).then(|| {
        format!(
            "{lines:?}: {status}, {} requests at the provider",
            provider.count()
        )
    })
}

#[test]
fn a_host_that_is_missing_or_malformed_is_refused() {
    let length = format!("content-length: {}\r\n", chat_body("m").len());
    let hosts = [
        "",
        "host: a b\r\n",
        "host: x/#\r\n",
        "host: x\r\nhost: y\r\n",
        "host: x@y\r\n",
    ];
    let wrong: Vec<String> = hosts
        .iter()
        .filter_map(|host| refuses(&format!("{host}{length}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn framing_that_two_readers_may_read_differently_is_refused() {
    let length = chat_body("m").len();
    let framings = [
        format!("content-length: {length}\r\ncontent-length: 3\r\n"),
        format!("content-length: {length}, 3\r\n"),
        format!("content-length: +{length}\r\n"),
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        "transfer-encoding: xchunked\r\n".to_owned(),
        format!("content-length : {length}\r\n"),
        format!("content-length: {length}\r\nx: a\r\n b\r\ntransfer-encoding:\x0bchunked\r\n"),
    ];
    let wrong: Vec<String> = framings
        .iter()
        .filter_map(|framing| refuses(&format!("host: x\r\n{framing}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A gateway before one provider that fails in this way.
fn failing(script: Script, rest: &str) -> (Provider, Gateway) {
    let scripted = Provider::start(script);
    let config = [
        rest,
        &provider_with("main", &scripted, ""),
        &model("m", &["main/up"]),
        &own_key(),
    ]
    .concat();
    let gateway = Gateway::start(&config);
    (scripted, gateway)
}

#[test]
fn a_provider_that_refuses_our_credential_is_our_fault() {
    for code in [401, 403] {
        let body = error_body(
            "Incorrect API key provided: sk-canary",
            "invalid_request_error",
            "invalid_api_key",
        );
        let (_provider, gateway) = failing(status(code, &[], &body), "");
        let answer = gateway.chat("m");
        assert_error(
            &gateway,
            "provider auth",
            &answer,
            (502, "api_error", "upstream_auth"),
        );
        assert!(!answer.text().contains("sk-canary"), "{}", answer.text());
        assert_eq!(
            gateway.metric("tollgate_provider_alarms_total", &[("provider", "main")]),
            1.0
        );
    }
}

#[test]
fn a_request_that_the_provider_refuses_is_the_clients_400() {
    let body = error_body(
        "max_tokens is too large: 9",
        "invalid_request_error",
        "context_length_exceeded",
    );
    let (provider, gateway) = failing(status(400, &["set-cookie: a=b"], &body), "");
    let answer = gateway.chat("m");
    assert_error(
        &gateway,
        "400",
        &answer,
        (400, "invalid_request_error", "context_length_exceeded"),
    );
    assert!(
        answer
            .error("message")
            .contains("max_tokens is too large: 9"),
        "{}",
        answer.text()
    );
    assert_eq!(provider.count(), 1, "a refusal is not tried again");
    provider.become_script(status(
        400,
        &[],
        "<html><body>proxy-7.internal says no</body></html>",
    ));
    let answer = gateway.chat("m");
    assert_error(
        &gateway,
        "HTML",
        &answer,
        (400, "invalid_request_error", ""),
    );
    assert!(!answer.text().contains("html"), "{}", answer.text());
}

#[test]
fn a_provider_that_is_busy_broken_or_gone_is_429_or_5xx() {
    let busy = error_body("slow down", "rate_limit_error", "rate_limit_exceeded");
    let (_provider, gateway) = failing(status(429, &["retry-after: 7"], &busy), "");
    let answer = gateway.chat("m");
    assert_error(&gateway, "429", &answer, (429, "rate_limit_error", ""));
    assert_eq!(answer.header("retry-after"), Some("7"));
    for (what, script) in [
        ("500", fail(500)),
        ("reset", reset()),
        ("HTML 502", status(502, &[], "<html>bad gateway</html>")),
        (
            "nonsense",
            std::sync::Arc::new(|_, wire| {
                wire.done = true;
                wire.raw(b"SMTP ready\r\n\r\n")
            }),
        ),
    ] {
        let (_provider, gateway) = failing(script, "");
        assert_error(
            &gateway,
            what,
            &gateway.chat("m"),
            (502, "api_error", "upstream_error"),
        );
    }
    for code in [503, 529] {
        let (_provider, gateway) = failing(fail(code), "");
        let answer = gateway.chat("m");
        assert!(
            [502, 503].contains(&answer.status),
            "{code}: {}",
            answer.text()
        );
    }
}

#[test]
fn an_answer_that_is_not_json_or_not_the_expected_kind_is_502() {
    let (_provider, gateway) = failing(plain("text/html", b"<html>please log in</html>"), "");
    let answer = gateway.chat("m");
    assert_error(
        &gateway,
        "HTML with 200",
        &answer,
        (502, "api_error", "upstream_error"),
    );
    assert!(!answer.text().contains("log in"), "{}", answer.text());
}

#[test]
fn a_provider_that_says_nothing_is_504() {
    let (provider, gateway) = failing(silence(), "[times]\nrequest = \"1s\"\n");
    assert_error(
        &gateway,
        "deadline",
        &gateway.chat("m"),
        (504, "api_error", "timeout"),
    );
    eventually("the provider's connection is given up", || {
        (provider.closed() == 1).then_some(())
    });

    let silent = Provider::start(silence());
    let timeouts = "timeouts = { first_byte = \"500ms\" }";
    let config = [
        provider_with("main", &silent, timeouts),
        model("m", &["main/up"]),
        own_key(),
    ]
    .concat();
    let gateway = Gateway::start(&config);
    assert_error(
        &gateway,
        "first byte",
        &gateway.chat("m"),
        (504, "api_error", "timeout"),
    );
}

#[test]
fn more_requests_than_the_gateway_takes_at_once_are_503_with_a_time_to_come_back() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let scripted = Provider::start(std::sync::Arc::new(move |request, wire| {
        let _ = gate.lock().unwrap().recv();
        chat("late")(request, wire)
    }));
    let config = [
        "[limits]\nin_flight = 1\n",
        &provider("main", &scripted),
        &model("m", &["main/up"]),
        &own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let mut first = gateway.connect();
    first.send(&chat_request("m").bytes()).unwrap();
    eventually("the first request is in flight", || {
        (scripted.count() == 1).then_some(())
    });
    let answer = gateway.chat("m");
    assert_error(
        &gateway,
        "one too many",
        &answer,
        (503, "api_error", "overloaded"),
    );
    assert!(
        answer
            .header("retry-after")
            .is_some_and(|seconds| seconds.parse::<u32>().is_ok())
    );
    open.send(()).unwrap();
    assert_eq!(first.response().unwrap().content(), "late");
    drop(open);
    eventually("room again", || {
        (gateway.chat("m").status == 200).then_some(())
    });
}

#[test]
fn answers_that_are_too_large_or_switch_protocols_are_502() {
    let switch: Script = std::sync::Arc::new(|_, wire| {
        wire.done = true;
        wire.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhidden",
        )
    });
    let (provider, gateway) = failing(chat(&"x".repeat(4096)), "[limits]\nresponse = \"2KiB\"\n");
    assert_error(
        &gateway,
        "too large",
        &gateway.chat("m"),
        (502, "api_error", "upstream_error"),
    );
    provider.become_script(switch);
    let answer = gateway.chat("m");
    assert_error(
        &gateway,
        "101",
        &answer,
        (502, "api_error", "upstream_error"),
    );
    assert!(!answer.text().contains("hidden"));
}

#[test]
fn bytes_after_an_answer_are_nobodys_answer() {
    let (provider, gateway) = failing(chat("ok"), "");
    provider.become_script(std::sync::Arc::new(|request, wire| {
        let mine = completion(&request.model(), "mine");
        let head = |length: usize| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
        };
        // In one write, so that the stray answer is there before the connection could be used again.
        let both = head(mine.len()) + &mine + &head(13) + "{\"evil\":true}";
        wire.raw(both.as_bytes())
    }));
    for _ in 0..20 {
        let answer = gateway.chat("m");
        assert_eq!(answer.content(), "mine", "{}", answer.text());
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_served() {
    let (_provider, gateway) = failing(chat("ok"), "[limits]\nconnections = 2\n");
    // The connection that saw the gateway ready may take a moment to be forgotten.
    let mut kept = eventually("two connections are served", || {
        let mut clients = [gateway.connect(), gateway.connect()];
        let served = clients
            .iter_mut()
            .all(|client| client.call(&chat_request("m")).is_ok());
        served.then_some(clients)
    });
    let mut third = gateway.connect();
    let _ = third.send(&chat_request("m").bytes());
    assert!(third.response().map_or(true, |answer| answer.status == 503));
    for client in &mut kept {
        assert_eq!(client.call(&chat_request("m")).unwrap().status, 200);
    }
    drop(kept);
    eventually("room again", || {
        gateway
            .connect()
            .call(&chat_request("m"))
            .is_ok()
            .then_some(())
    });
}
