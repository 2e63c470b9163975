//! The table of faults: for each way to fail, how often the same target is asked, whether another one is, and what the
//! client is told.

use std::sync::Arc;

use serde_json::Value;

use crate::client::{Request, Response};
use crate::gate::STURDY;
use crate::gateway::{Gateway, KEY, SECRET, chat_request, own_key, provider_with, stream_request};
use crate::provider::{
    Cut, Provider, Script, chat, cut, delta, error_body, fail, hang_up, plain, reset, status,
    stream,
};
use crate::translation::request;

const FACES: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

/// What is asked in a row: so often the first, and then perhaps the second target.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// The first once.
    Once,
    /// The first twice.
    Twice,
}

/// One way to fail.
struct Case {
    what: &'static str,
    script: Script,
    /// How often the first target is asked.
    first: Way,
    /// What the attempts at it are called.
    outcome: &'static str,
    /// What a client of OpenAI's chats is told where the second target is not asked: status and code.
    told: Option<(u16, &'static str)>,
    /// The same where there is no second target.
    alone: (u16, &'static str),
}

fn raw(bytes: &'static str) -> Script {
    Arc::new(move |_, wire| {
        wire.done = true;
        wire.raw(bytes.as_bytes())
    })
}

/// A 400 with a code that says more.
pub fn coded(code: u16, name: &str) -> Script {
    let body = error_body(
        "the scripted provider refuses",
        "invalid_request_error",
        name,
    );
    status(code, &[], &body)
}

fn case(
    what: &'static str,
    script: Script,
    first: Way,
    outcome: &'static str,
    alone: (u16, &'static str),
) -> Case {
    Case {
        what,
        script,
        first,
        outcome,
        told: None,
        alone,
    }
}

/// One that ends the request.
fn last(
    what: &'static str,
    script: Script,
    outcome: &'static str,
    told: (u16, &'static str),
) -> Case {
    Case {
        told: Some(told),
        ..case(what, script, Way::Once, outcome, told)
    }
}

fn broken_off() -> Vec<Case> {
    use Way::Twice;
    let bad = (502, "upstream_error");
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    vec![
        case("reset", reset(), Twice, "reset", bad),
        case("hang-up", hang_up(), Twice, "reset", bad),
        case(
            "half a head",
            raw("HTTP/1.1 200 OK\r\ncontent-type: appl"),
            Twice,
            "reset",
            bad,
        ),
        case(
            "no HTTP",
            raw("220 mail.test ESMTP\r\n\r\n"),
            Twice,
            "reset",
            bad,
        ),
        case(
            "half a body",
            raw(concat!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n",
                "content-length: 500\r\n\r\n{\"id\":"
            )),
            Twice,
            "reset",
            bad,
        ),
        case(
            "a body without a length that is cut off",
            Arc::new(move |_, wire| {
                wire.done = true;
                wire.raw(format!("{json}connection: close\r\n\r\n{{\"choices\":[").as_bytes())
            }),
            Twice,
            "reset",
            bad,
        ),
    ]
}

fn statuses() -> Vec<Case> {
    use Way::{Once, Twice};
    let (bad, busy) = ((502, "upstream_error"), (503, "upstream_overloaded"));
    let of = |what, code, first, outcome, alone| case(what, fail(code), first, outcome, alone);
    vec![
        of("408", 408, Twice, "server_error", (504, "timeout")),
        of("409", 409, Twice, "server_error", (409, "conflict")),
        of("424", 424, Twice, "server_error", bad),
        of("498", 498, Twice, "server_error", busy),
        of("499", 499, Twice, "server_error", busy),
        of("500", 500, Twice, "server_error", bad),
        of("502", 502, Twice, "server_error", bad),
        of("503", 503, Twice, "server_error", busy),
        of("504", 504, Twice, "server_error", (504, "timeout")),
        of("529", 529, Twice, "server_error", busy),
        of("401", 401, Once, "auth_failed", (502, "upstream_auth")),
        of("403", 403, Once, "auth_failed", (502, "upstream_auth")),
        of(
            "402",
            402,
            Once,
            "rate_limited",
            (429, "insufficient_quota"),
        ),
        of("404", 404, Once, "rejected", (404, "model_not_found")),
        case(
            "429 for good",
            coded(429, "insufficient_quota"),
            Once,
            "rate_limited",
            (429, "insufficient_quota"),
        ),
        case(
            "503 with a time to come back",
            status(503, &["retry-after: 3600"], "{}"),
            Once,
            "server_error",
            busy,
        ),
        case(
            "429 with a time to come back",
            status(429, &["retry-after: 3600"], "{}"),
            Once,
            "rate_limited",
            (429, "rate_limit_exceeded"),
        ),
        last(
            "a refused content",
            coded(400, "content_filter"),
            "rejected",
            (400, "content_filter"),
        ),
        last("400", coded(400, "odd"), "rejected", (400, "odd")),
        last("413", fail(413), "rejected", (413, "request_too_large")),
        last("422", coded(422, "odd"), "rejected", (400, "odd")),
    ]
}

fn no_answers() -> Vec<Case> {
    use Way::{Once, Twice};
    let bad = (502, "upstream_error");
    let error = error_body("not now", "server_error", "odd");
    vec![
        case(
            "HTML",
            plain("text/html", b"<html>"),
            Once,
            "invalid_response",
            bad,
        ),
        case(
            "text that says JSON",
            plain("application/json", b"upstream is sad"),
            Once,
            "invalid_response",
            bad,
        ),
        case(
            "HTML that says JSON",
            plain("application/json", b"<html>no</html>"),
            Once,
            "invalid_response",
            bad,
        ),
        case(
            "nothing that says JSON",
            plain("application/json", b""),
            Once,
            "invalid_response",
            bad,
        ),
        case(
            "an error inside a 200",
            plain("application/json", error.as_bytes()),
            Twice,
            "server_error",
            bad,
        ),
        case(
            "a prompt that is too long",
            coded(400, "context_length_exceeded"),
            Once,
            "rejected",
            (400, "context_length_exceeded"),
        ),
    ]
}

/// What only streams can do.
fn broken_streams() -> Vec<Case> {
    use Way::Twice;
    let bad = (502, "upstream_error");
    let error = error_body("not now", "server_error", "odd");
    vec![
        case(
            "a cut before the first event",
            cut(Vec::new(), Cut::Close),
            Twice,
            "reset",
            bad,
        ),
        case(
            "an end before the first event",
            cut(Vec::new(), Cut::LastChunk),
            Twice,
            "reset",
            bad,
        ),
        case(
            "an error as the first event",
            cut(vec![error], Cut::LastChunk),
            Twice,
            "server_error",
            bad,
        ),
    ]
}

/// One gateway for all cases: case `i` has its own providers `a{i}` and `b{i}`, and routes `m{i}` over both and
/// `alone{i}` over the first. Budgets of one case know nothing of another.
struct Table {
    cases: Vec<Case>,
    firsts: Vec<Provider>,
    seconds: Vec<Provider>,
    gateway: Gateway,
}

impl Table {
    fn start(cases: Vec<Case>) -> Self {
        let firsts: Vec<_> = cases
            .iter()
            .map(|case| Provider::start(Arc::clone(&case.script)))
            .collect();
        let seconds: Vec<_> = cases
            .iter()
            .map(|_| Provider::start(chat("saved")))
            .collect();
        let mut config = own_key();
        for i in 0..cases.len() {
            config += &provider_with(&format!("a{i}"), &firsts[i], STURDY);
            config += &provider_with(&format!("b{i}"), &seconds[i], STURDY);
            config += &format!(
                "[models.m{i}]\ntargets = [\"a{i}/one\", \"b{i}/two\"]\nretries = 1\n\
                 [models.alone{i}]\ntargets = [\"a{i}/three\"]\nretries = 0\ndeadline = \"60s\"\n"
            );
        }
        Self {
            gateway: Gateway::start(&config),
            cases,
            firsts,
            seconds,
        }
    }

    /// Sends one request through case `i` and checks all that was asked.
    fn check(&self, i: usize, streamed: bool) {
        let case = &self.cases[i];
        let what = format!("{}, streamed: {streamed}", case.what);
        let (first, second) = (&self.firsts[i], &self.seconds[i]);
        second.become_script(match streamed {
            true => stream(vec![delta("saved")]),
            false => chat("saved"),
        });
        let name = format!("m{i}");
        let answer = match streamed {
            true => self.gateway.call(&stream_request(&name)),
            false => self.gateway.call(&chat_request(&name)),
        };
        match case.told {
            None => {
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                assert!(answer.text().contains("saved"), "{what}: {}", answer.text());
            }
            Some((code, name)) => {
                assert_eq!(answer.status, code, "{what}: {}", answer.text());
                assert_eq!(answer.error("code"), name, "{what}: {}", answer.text());
            }
        }
        let tries = match case.first {
            Way::Once => 1,
            Way::Twice => 2,
        };
        let moved = usize::from(case.told.is_none());
        assert_eq!((first.count(), second.count()), (tries, moved), "{what}");
        first.forget();
        second.forget();
        let mut roles = vec!["first", "retry"];
        roles.truncate(tries);
        let mut expected: Vec<_> = roles
            .iter()
            .map(|role| (format!("a{i}"), *role, case.outcome))
            .collect();
        if case.told.is_none() {
            expected.push((format!("b{i}"), "fallback", "ok"));
        }
        let line = self
            .gateway
            .access_line(answer.header("x-request-id").unwrap());
        assert_attempts(&line, &expected, &what);
        let count = expected.len().to_string();
        assert_eq!(
            answer.header("x-tollgate-attempts"),
            Some(&*count),
            "{what}"
        );
    }
}

/// Provider, role and outcome of each attempt, and that exactly those that served have a first token.
pub fn assert_attempts(line: &Value, expected: &[(String, &str, &str)], what: &str) {
    let attempts = line["attempts"].as_array().unwrap();
    let shown: Vec<_> = attempts
        .iter()
        .map(|a| {
            let word = |name: &str| a[name].as_str().unwrap_or_default();
            (word("provider").to_owned(), word("role"), word("outcome"))
        })
        .collect();
    assert_eq!(shown, expected, "{what}: {line}");
    for attempt in attempts {
        let token = &attempt["first_token_ms"];
        let whole = attempt["duration_ms"].as_f64().unwrap();
        match attempt["outcome"].as_str() {
            Some("ok") => assert!(token.as_f64().unwrap() <= whole, "{what}: {line}"),
            _ => assert!(token.is_null(), "{what}: {line}"),
        }
    }
}

#[test]
fn what_broke_off_is_asked_again_and_then_another() {
    let table = Table::start(broken_off());
    for i in 0..table.cases.len() {
        table.check(i, false);
        table.check(i, true);
    }
}

#[test]
fn each_status_leads_where_its_row_says() {
    let table = Table::start(statuses());
    for i in 0..table.cases.len() {
        table.check(i, false);
    }
    // A provider that has said when to come back is left alone; the others are asked as before.
    for (i, case) in table.cases.iter().enumerate() {
        if !case.what.contains("come back") {
            table.check(i, true);
        }
    }
}

#[test]
fn what_is_no_answer_is_not_asked_again() {
    let table = Table::start(no_answers());
    for i in 0..table.cases.len() {
        table.check(i, false);
        table.check(i, true);
    }
}

#[test]
fn a_stream_without_an_event_has_not_begun() {
    let table = Table::start(broken_streams());
    for i in 0..table.cases.len() {
        table.check(i, true);
    }
}

/// Anthropic's words for our statuses.
fn anthropic(told: (u16, &'static str)) -> (u16, &'static str) {
    match told {
        (503, _) => (529, "overloaded_error"),
        (504, _) => (504, "timeout_error"),
        (502, _) => (502, "api_error"),
        (429, _) => (429, "rate_limit_error"),
        (413, _) => (413, "request_too_large"),
        (409, _) => (409, "conflict_error"),
        (404, _) => (404, "not_found_error"),
        (code, _) => (code, "invalid_request_error"),
    }
}

#[test]
fn each_client_is_told_in_its_own_words_when_there_is_nobody_else() {
    let mut all = broken_off();
    all.extend(statuses());
    all.extend(no_answers());
    let table = Table::start(all);
    for (i, case) in table.cases.iter().enumerate() {
        for face in FACES {
            for streamed in [false, true] {
                let body = request(face, streamed).bytes();
                let body = String::from_utf8(body).unwrap();
                let (_, json) = body.split_once("\r\n\r\n").unwrap();
                let mut json: Value = serde_json::from_str(json).unwrap();
                json["model"] = format!("alone{i}").into();
                let asked = Request::post(face).key(KEY).json(json.to_string());
                let answer = table.gateway.call(&asked);
                let what = format!("{face}, {}, streamed: {streamed}", case.what);
                // Whoever has said when to come back is not asked before, and the client is told the same.
                assert_told(face, case, case.alone, &answer, &what);
            }
        }
    }
}

fn assert_told(face: &str, case: &Case, told: (u16, &'static str), answer: &Response, what: &str) {
    let shown = answer.text();
    assert!(!shown.contains(SECRET), "{what}: {shown}");
    let body = answer.json();
    let (status, name, member) = match face {
        "/v1/messages" => {
            let (status, kind) = anthropic(told);
            assert_eq!(body["type"], "error", "{what}: {shown}");
            (status, kind, "type")
        }
        _ => (told.0, told.1, "code"),
    };
    assert_eq!(answer.status, status, "{what}: {shown}");
    assert_eq!(body["error"][member], name, "{what}: {shown}");
    assert_ne!(answer.status, 401, "{what}: the client's key is good");
    if case.what.contains("come back") {
        assert!(answer.header("retry-after").is_some(), "{what}: {shown}");
    }
}
