//! Headers are built, not forwarded: nothing of the client's reaches the provider by accident, nor the other way round.

use crate::client::Request;
use crate::gateway::{
    Gateway, KEY, SECRET, SECRET_VARIABLE, chat_body, chat_request, model, own_key, provider_with,
    simple,
};
use crate::provider::{Provider, chat, completion, error_body, status};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn the_clients_key_stays_here_and_the_providers_is_sent() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let request = chat_request("m")
        .header("x-api-key", KEY)
        .header("cookie", "session=canary")
        .header("x-custom", KEY)
        .header("x-forwarded-for", "10.1.2.3")
        .header("accept-encoding", "gzip, br")
        .header("connection", "authorization, x-custom, keep-alive");
    assert_eq!(gateway.call(&request).status, 200);
    let seen = provider.take_one();
    let head = String::from_utf8(seen.head.clone()).unwrap();
    assert!(!head.contains(KEY), "{head}");
    assert_eq!(
        seen.header("authorization"),
        Some(format!("Bearer {SECRET}"))
    );
    assert_eq!(
        (seen.method().as_str(), seen.path().as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(seen.header("host"), Some(provider.address.to_string()));
    assert_eq!(
        seen.header("content-type").as_deref(),
        Some("application/json")
    );
    for name in [
        "cookie",
        "x-custom",
        "x-api-key",
        "x-forwarded-for",
        "expect",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(name), None, "{name} was forwarded");
    }
    // What we cannot read we must not ask for.
    assert!(
        seen.header("accept-encoding")
            .is_none_or(|value| value == "identity")
    );
}

#[test]
fn a_query_and_a_fragment_of_the_client_are_not_forwarded() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let request = Request::post("/v1/chat/completions?api-key=x&api_base=http://evil.test")
        .key(KEY)
        .json(chat_body("m"));
    assert_eq!(gateway.call(&request).status, 200);
    assert_eq!(provider.take_one().path(), "/v1/chat/completions");
}

#[test]
fn configured_headers_are_sent_and_a_provider_without_credential_gets_none() {
    let scripted = Provider::start(chat("ok"));
    let url = scripted.base_url();
    let config = format!(
        "[providers.open]\ndialect = \"openai\"\nbase_url = \"{url}\"\nheaders = {{ \"OpenAI-Organization\" = \"org-1\" }}\n"
    );
    let gateway = Gateway::start(&[config, model("m", &["open/up"]), own_key()].concat());
    assert_eq!(
        gateway
            .call(&chat_request("m").header("openai-organization", "org-client"))
            .status,
        200
    );
    let seen = scripted.take_one();
    assert_eq!(seen.header("openai-organization").as_deref(), Some("org-1"));
    assert_eq!(seen.header("authorization"), None);
}

#[test]
fn a_credential_can_come_from_a_file() {
    let scripted = Provider::start(chat("ok"));
    let directory = crate::gateway::directory();
    let file = directory.join("credential");
    std::fs::write(&file, format!("{SECRET}-from-file\n")).unwrap();
    let url = scripted.base_url();
    let file = crate::tool::path(&file);
    let config = format!(
        "[providers.main]\ndialect = \"openai\"\nbase_url = \"{url}\"\ncredential = \"file:{file}\"\n"
    );
    let gateway = Gateway::start(&[config, model("m", &["main/up"]), own_key()].concat());
    assert_eq!(gateway.chat("m").status, 200);
    assert_eq!(
        scripted.take_one().header("authorization"),
        Some(format!("Bearer {SECRET}-from-file"))
    );
}

#[test]
fn of_the_providers_headers_only_the_known_ones_reach_the_client() {
    let secret = format!("x-echo: {SECRET}");
    let lines = [
        "set-cookie: a=b",
        "server: provider-7",
        "x-internal-host: h7",
        "www-authenticate: Bearer",
        "alt-svc: h3",
        "strict-transport-security: max-age=1",
        "access-control-allow-origin: *",
        "x-request-id: theirs",
        &secret,
    ];
    let provider = Provider::start(status(200, &lines, &completion("x", "ok")));
    let gateway = Gateway::start(&simple(&provider));
    let answer = gateway.chat("m");
    assert_eq!(answer.content(), "ok");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for name in [
        "set-cookie",
        "server",
        "x-internal-host",
        "www-authenticate",
        "alt-svc",
        "x-echo",
        "strict-transport-security",
        "access-control-allow-origin",
    ] {
        assert_eq!(answer.header(name), None, "{name} was forwarded");
    }
    assert_ne!(answer.header("x-request-id"), Some("theirs"));
    assert_eq!(answer.header("x-tollgate-provider"), Some("main"));
    assert_eq!(answer.header("x-tollgate-model"), Some("upstream-m"));
    assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
}

#[test]
fn a_secret_that_a_provider_echoes_goes_no_further() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let base64 = "Basic c2stY2FuYXJ5";
    for code in [400, 404, 422, 429, 500] {
        let body = error_body(
            &format!("key {SECRET} ({base64}) may not"),
            "invalid_request_error",
            SECRET,
        );
        provider.become_script(status(code, &[&format!("x-echo: {SECRET}")], &body));
        let answer = gateway.chat("m");
        assert!(answer.status >= 400);
        assert!(!answer.text().contains(SECRET), "{code}: {}", answer.text());
        assert!(
            answer
                .headers
                .iter()
                .all(|(_, value)| !value.contains(SECRET)),
            "{code}"
        );
    }
    // In the operator's log and on the admin listener neither.
    let outside = [
        gateway.stdout(),
        gateway.stderr(),
        gateway.metrics(),
        gateway.admin("/config").text(),
    ]
    .concat();
    assert!(!outside.contains(SECRET) && !outside.contains(KEY));
}

#[test]
fn a_well_formed_request_id_is_kept_and_any_other_replaced() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let longest = "a".repeat(128);
    for id in ["req-e2e.1:a/b@c+d", &longest] {
        let answer = gateway.call(&chat_request("m").header("x-request-id", id));
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert_eq!(
            provider.take_one().header("x-request-id").as_deref(),
            Some(id)
        );
        gateway.access_line(id);
    }
    let too_long = "b".repeat(129);
    let mut made = Vec::new();
    for id in ["", "a b", "a\"b", "a\u{e9}", "{${jndi}}", &too_long] {
        let answer = gateway.call(&chat_request("m").header("x-request-id", id));
        let own = answer
            .header("x-request-id")
            .expect("no x-request-id")
            .to_owned();
        assert!(own != id && own.len() >= 16, "{id:?} became {own:?}");
        assert_eq!(
            provider.take_one().header("x-request-id").as_deref(),
            Some(own.as_str())
        );
        made.push(own);
    }
    let answer = gateway.chat("m");
    made.push(
        answer
            .header("x-request-id")
            .expect("no x-request-id")
            .to_owned(),
    );
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 7, "request ids repeat");
}

#[test]
fn a_trace_goes_on_and_a_broken_one_does_not() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let answer = gateway
        .call(&chat_request("m").header("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01")));
    let sent = provider
        .take_one()
        .header("traceparent")
        .expect("no traceparent upstream");
    assert_eq!(sent.split('-').nth(1), Some(TRACE));
    let line = gateway
        .access_line(answer.header("x-request-id").unwrap())
        .to_string();
    assert!(line.contains(TRACE), "{line}");
    for broken in [
        "00-xyz-1-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-1",
    ] {
        assert_eq!(
            gateway
                .call(&chat_request("m").header("traceparent", broken))
                .status,
            200
        );
        assert_ne!(
            provider.take_one().header("traceparent").as_deref(),
            Some(broken)
        );
    }
    assert_eq!(gateway.chat("m").status, 200);
    let made = provider
        .take_one()
        .header("traceparent")
        .expect("no traceparent was made");
    let lengths: Vec<usize> = made.split('-').map(str::len).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{made}");
}

#[test]
fn a_provider_may_have_a_path_and_several_addresses() {
    let (one, two) = (Provider::start(chat("one")), Provider::start(chat("two")));
    let urls = format!(
        "[{{ url = \"http://{}/deep/er/v1\", weight = 3 }}, {{ url = \"http://{}/other\", weight = 1 }}]",
        one.address, two.address
    );
    let config = format!(
        "[providers.main]\ndialect = \"openai\"\nbase_urls = {urls}\ncredential = \"env:{SECRET_VARIABLE}\"\nbalance = \"round_robin\"\n"
    );
    let gateway = Gateway::start(&[config, model("m", &["main/up"]), own_key()].concat());
    for _ in 0..40 {
        assert_eq!(gateway.chat("m").status, 200);
    }
    assert_eq!(
        (one.count(), two.count()),
        (30, 10),
        "weights 3 and 1 over 40 requests"
    );
    assert_eq!(one.requests()[0].path(), "/deep/er/v1/chat/completions");
    assert_eq!(two.requests()[0].path(), "/other/chat/completions");
}

#[test]
fn the_http_version_to_the_provider_is_configured() {
    let scripted = Provider::start(chat("ok"));
    let main = provider_with(
        "main",
        &scripted,
        "http = \"1.1\"\nbalance = \"least_latency\"",
    );
    let gateway = Gateway::start(&[main, model("m", &["main/up"]), own_key()].concat());
    assert_eq!(gateway.chat("m").status, 200);
    assert!(
        scripted
            .take_one()
            .head
            .starts_with(b"POST /v1/chat/completions HTTP/1.1\r\n")
    );
}
