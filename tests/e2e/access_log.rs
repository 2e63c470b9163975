//! The access log: one line of JSON for each request, with everything about it but what was said and with which key.

use serde_json::Value;

use crate::client::Request;
use crate::gateway::{Gateway, KEY, SECRET, model_once, own_key, provider};
use crate::provider::{Provider, chat, completion, delta, fail, stream};
use crate::wait::eventually;

const PROMPT: &str = "canary-prompt-5b1f";
const ANSWER: &str = "canary-answer-8c2e";

fn gateway(first: &Provider, second: &Provider) -> Gateway {
    let config = [
        provider("first", first),
        provider("second", second),
        model_once("m", &["first/a", "second/b"]),
        own_key(),
    ];
    Gateway::start(&config.concat())
}

fn request(id: &str, body: String) -> Request {
    Request::post("/v1/chat/completions")
        .key(KEY)
        .header("x-request-id", id)
        .json(body)
}

fn body(rest: &str) -> String {
    format!(
        "{{\"model\":\"m\",\"user\":\"{PROMPT}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{PROMPT}\"}}]{rest}}}"
    )
}

#[test]
fn a_line_tells_the_whole_story_of_a_request() {
    let (first, second) = (Provider::start(fail(503)), Provider::start(chat(ANSWER)));
    let gateway = gateway(&first, &second);
    let body = body("");
    let answer = gateway.call(&request("story-1", body.clone()));
    assert_eq!(answer.status, 200);
    let line = gateway.access_line("story-1");
    for (field, value) in [
        ("request_id", Value::from("story-1")),
        ("key", Value::from("tester")),
        ("route", Value::from("m")),
        ("provider", Value::from("second")),
        ("model", Value::from("m")),
        ("upstream_model", Value::from("b")),
        ("status", Value::from(200)),
        ("request_bytes", Value::from(body.len())),
        ("response_bytes", Value::from(answer.body.len())),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    let attempts = line["attempts"]
        .as_array()
        .unwrap_or_else(|| panic!("no attempts in {line}"));
    assert_eq!(attempts.len(), 2, "{line}");
    for (attempt, (name, model)) in attempts.iter().zip([("first", "a"), ("second", "b")]) {
        assert_eq!(
            (&attempt["provider"], &attempt["model"]),
            (&Value::from(name), &Value::from(model)),
            "{line}"
        );
        assert!(
            attempt["outcome"]
                .as_str()
                .is_some_and(|outcome| !outcome.is_empty()),
            "{line}"
        );
    }
    assert_ne!(attempts[0]["outcome"], attempts[1]["outcome"], "{line}");
    for field in ["duration_ms", "first_byte_ms", "upstream_ms", "overhead_ms"] {
        assert!(line[field].is_number(), "{field} in {line}");
    }
    assert_eq!(answer.body, completion("b", ANSWER).into_bytes());
}

#[test]
fn each_request_has_one_line_whatever_became_of_it() {
    let (first, second) = (Provider::start(chat(ANSWER)), Provider::start(chat(ANSWER)));
    let gateway = gateway(&first, &second);
    let stream_of = |id: &str| request(id, body(",\"stream\":true"));
    let requests = [
        ("one-200", request("one-200", body("")), 200),
        ("one-400", request("one-400", body(",")), 400),
        (
            "one-404",
            Request::get("/nowhere")
                .header("x-request-id", "one-404")
                .key(KEY),
            404,
        ),
        (
            "one-405",
            Request::get("/v1/chat/completions")
                .header("x-request-id", "one-405")
                .key(KEY),
            405,
        ),
        (
            "one-401",
            Request::get("/v1/models").header("x-request-id", "one-401"),
            401,
        ),
        (
            "one-models",
            Request::get("/v1/models")
                .header("x-request-id", "one-models")
                .key(KEY),
            200,
        ),
    ];
    for (_, request, status) in &requests {
        assert_eq!(gateway.call(request).status, *status);
    }
    first.become_script(stream(vec![delta(ANSWER)]));
    gateway
        .connect()
        .stream(&stream_of("one-stream"))
        .unwrap()
        .events();
    first.become_script(crate::provider::silence());
    let mut leaving = gateway.connect();
    leaving
        .send(&request("one-gone", body("")).bytes())
        .unwrap();
    let count = first.count();
    eventually("the request arrived", || {
        (first.count() >= count.min(3)).then_some(())
    });
    drop(leaving);
    let ids = requests
        .iter()
        .map(|(id, _, _)| *id)
        .chain(["one-stream", "one-gone"]);
    for id in ids {
        gateway.access_line(id);
        let lines = gateway
            .stdout()
            .lines()
            .filter(|line| line.contains(id))
            .count();
        assert_eq!(lines, 1, "{id}");
    }
    for line in gateway.stdout().lines() {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value.is_object(), "{line}");
    }
}

#[test]
fn nothing_that_was_said_and_no_key_is_ever_printed() {
    let (first, second) = (Provider::start(fail(500)), Provider::start(chat(ANSWER)));
    let gateway = gateway(&first, &second);
    let ids = ["said-1", "said-2", "said-3", "said-4"];
    assert_eq!(gateway.call(&request(ids[0], body(""))).status, 200);
    assert_eq!(
        gateway.call(&request(ids[1], body(",\"stream\":5"))).status,
        400
    );
    let unknown = Request::post("/v1/chat/completions")
        .key("tg-canary-nobody")
        .header("x-request-id", ids[2]);
    assert_eq!(gateway.call(&unknown.json(body(""))).status, 401);
    second.become_script(crate::provider::status(
        400,
        &[],
        &crate::provider::error_body(PROMPT, ANSWER, ANSWER),
    ));
    assert_eq!(gateway.call(&request(ids[3], body(""))).status, 400);
    for id in ids {
        gateway.access_line(id);
    }
    // Bytes that are not HTTP: the parser's own error text would hold them.
    let mut client = gateway.connect();
    client.send(format!("POST /v1/chat HTTP/1.1\r\nauthorization: Bearer {KEY}\r\nbad header {PROMPT}\r\n\r\n").as_bytes()).unwrap();
    let _ = client.response();
    gateway.reload("[keys.x]\nhash = \"tg-canary-in-config\"\n", "error");
    let printed = gateway.stdout()
        + &gateway.stderr()
        + &gateway.metrics()
        + &gateway.admin("/config").text();
    for canary in [
        PROMPT,
        ANSWER,
        KEY,
        SECRET,
        "tg-canary-nobody",
        "tg-canary-in-config",
    ] {
        assert!(
            !printed.contains(canary),
            "{canary} was printed:\n{printed}"
        );
    }
}

#[test]
fn control_characters_cannot_break_a_line() {
    let provider_ = Provider::start(chat("ok"));
    let gateway = gateway(&provider_, &provider_);
    let odd = r#"{"model":"nobody\u001b[31m\n{\"status\":200}\u2028\u0085","messages":[]}"#;
    let answer = gateway.call(&request("odd-1", odd.to_owned()));
    assert!([400, 404].contains(&answer.status));
    gateway.access_line("odd-1");
    let printed = gateway.stdout() + &gateway.stderr();
    assert!(
        !printed.chars().any(|c| c.is_control() && c != '\n'),
        "{printed:?}"
    );
    for line in gateway.stdout().lines() {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|value| value.is_object()),
            "{line}"
        );
    }
}

#[test]
fn the_log_can_go_to_a_file_or_nowhere() {
    let provider_ = Provider::start(chat("ok"));
    let directory = crate::gateway::directory();
    let file = directory.join("access.log");
    let rest = crate::gateway::simple(&provider_);
    let gateway = Gateway::start(&format!(
        "[access_log]\noutput = \"{}\"\n{rest}",
        crate::tool::path(&file)
    ));
    assert_eq!(gateway.call(&request("file-1", body(""))).status, 200);
    eventually("the line is in the file", || {
        std::fs::read_to_string(&file)
            .is_ok_and(|text| text.contains("file-1"))
            .then_some(())
    });
    assert!(!gateway.stdout().contains("file-1"));
    let mut quiet = Gateway::start(&format!("[access_log]\noutput = \"off\"\n{rest}"));
    assert_eq!(quiet.call(&request("file-2", body(""))).status, 200);
    quiet.signal("TERM");
    quiet.wait();
    assert_eq!(quiet.stdout(), "");
}
