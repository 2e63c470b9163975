//! A provider that others wrote and that marks its clients (llmock): each of its faults through the real binary, and
//! then its verdict on the gateway.
//!
//! Every scenario is run with nobody behind it and with a healthy provider behind it, streamed and not. The client
//! must get a whole answer or an honest error, and llmock must find no fault with the gateway. It cannot see that
//! another provider was asked or that the client was told, and it is right about events that nobody can read, which
//! are left out: there exactly its finding is expected, and nothing else.
//!
//! Not to be confused with aimock (`sdk`), whose program has the same name.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Request, Response, capped};
use crate::gate::STURDY;
use crate::gateway::{Gateway, KEY, SECRET_VARIABLE, free_port, model, own_key, provider};
use crate::provider::{Provider, Script, completion, delta, finish};
use crate::sdk::prepared;
use crate::wait::{DEADLINE, within};

/// What both providers say, when they say all of it.
const SAID: &str = "one two three four five";
/// How long a number that is not as expected may take to become so.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any test: only who gives up gets on.
const FOREVER: u32 = 3600;

/// A running llmock, ended by its pid when the value is dropped.
struct Llmock {
    child: Child,
    address: SocketAddr,
}

impl Drop for Llmock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Llmock {
    fn start() -> Self {
        let program = prepared("TOLLGATE_TEST_VENV").join("bin/llmock");
        for _ in 0..4 {
            let port = free_port();
            let child = Command::new(&program)
                .args(["serve", "--port", &port.to_string()])
                .args(["--log-level", "critical"])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| {
                    let program = program.display();
                    panic!("{program} does not start ({error}): run `make test`")
                });
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let mut llmock = Self { child, address };
            let up = within(DEADLINE, || match llmock.child.try_wait() {
                Ok(Some(_)) => Some(false),
                _ => Client::connect(address).is_ok().then_some(true),
            });
            if up == Some(true) {
                return llmock;
            }
        }
        panic!("llmock does not start");
    }

    /// Asks its control API, on a connection of its own.
    fn control(&self, request: &Request) -> Value {
        let mut client = Client::connect(self.address).unwrap();
        let response = client.call(request).unwrap();
        let status = response.status;
        assert!(matches!(status, 200 | 201), "{status} {}", response.text());
        response.json()
    }

    /// Forgets everything, and does this from now on.
    fn script<'a>(&self, fault: impl Into<Option<&'a Value>>) {
        self.control(&Request::post("/_llmock/reset").body(""));
        // A model that is offered a tool calls it.
        let says = json!({"type": "reply", "text": SAID, "times": null, "match": {"tools": false}});
        let all: Vec<_> = fault.into().into_iter().chain([&says]).collect();
        let body = json!({ "behaviors": all }).to_string();
        self.control(&Request::post("/_llmock/scenario").json(body));
    }

    /// How many requests have come and ended.
    fn count(&self) -> usize {
        let seen = self.control(&Request::get("/_llmock/requests"));
        seen["requests"].as_array().unwrap().len()
    }

    /// The same, as soon as there are as many as `expected`, or when there will not be.
    fn settled(&self, expected: usize) -> usize {
        within(PATIENCE, || Some(self.count()).filter(|n| *n == expected))
            .unwrap_or_else(|| self.count())
    }

    /// What it finds fault with: errors and warnings alike.
    fn findings(&self) -> Vec<String> {
        let verdict = self.control(&Request::get("/_llmock/verdict"));
        let findings = verdict["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A provider's format, at llmock, and the client that asks for it.
#[derive(Clone, Copy)]
struct Form {
    dialect: &'static str,
    base: &'static str,
    /// What the client asks.
    face: &'static str,
    /// How many events stand before the first that has text.
    opening: u32,
}

const OPENAI: Form = Form {
    dialect: "openai",
    base: "/v1",
    face: "/v1/chat/completions",
    opening: 1,
};
const ANTHROPIC: Form = Form {
    dialect: "anthropic",
    base: "/anthropic/v1",
    face: "/v1/messages",
    opening: 3,
};
const GEMINI: Form = Form {
    dialect: "gemini",
    base: "/gemini/v1beta",
    face: "/v1/chat/completions",
    opening: 0,
};

impl Form {
    /// The status with which its clients are told what others are told with `status`.
    fn tells(self, status: u16) -> u16 {
        match (self.face, status) {
            ("/v1/messages", 503) => 529,
            _ => status,
        }
    }
}

/// Says `SAID`, streamed if asked so.
fn healthy() -> Script {
    Arc::new(|request, wire| {
        if request.json()["stream"] != true {
            let body = completion(&request.model(), SAID);
            return wire.answer(200, &["content-type: application/json"], body.as_bytes());
        }
        wire.stream_head()?;
        for event in [&delta(SAID), &finish(), "[DONE]"] {
            wire.event(event)?;
        }
        wire.end()
    })
}

/// What a client has got.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Got {
    /// All that was said.
    Whole,
    /// The same without one word, and no error.
    Short,
    /// All that was said, without the event that opens Anthropic's streams.
    Headless,
    /// An error before anything else.
    Refused(u16),
    /// A part, and then an error in band.
    Told,
    /// Anything else: half an answer, or none.
    Odd,
}

fn got(response: &Response) -> Got {
    let text = response.text();
    if response.status != 200 {
        let error = &response.json()["error"];
        return match error["message"].as_str() {
            Some(_) => Got::Refused(response.status),
            None => Got::Odd,
        };
    }
    let streamed = response
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    let events: Vec<Value> = match streamed {
        true => data(&text)
            .filter_map(|d| serde_json::from_str(d).ok())
            .collect(),
        false => vec![response.json()],
    };
    let said: String = events.iter().filter_map(piece).collect();
    let ends = events.iter().filter(|event| is_end(event)).count();
    let errors = events.iter().filter(|e| e["error"].is_object()).count();
    let last = data(&text).last().unwrap_or_default();
    let done = !streamed || last == "[DONE]" || last.contains("message_stop");
    match (ends, done, errors) {
        (1, true, 0) if said == SAID && is_headless(&events) => Got::Headless,
        (1, true, 0) if said == SAID => Got::Whole,
        (1, true, 0) if lacks_a_word(&said) => Got::Short,
        (0, false, 1) if !said.is_empty() && SAID.starts_with(&said) => Got::Told,
        _ => Got::Odd,
    }
}

fn is_headless(events: &[Value]) -> bool {
    let is = |name: &str| events.iter().any(|event| event["type"] == name);
    is("message_stop") && !is("message_start")
}

fn lacks_a_word(said: &str) -> bool {
    let words: Vec<&str> = SAID.split_inclusive(' ').collect();
    (0..words.len()).any(|at| [&words[..at], &words[at + 1..]].concat().concat() == said)
}

fn data(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("data: "))
}

/// The text in a whole answer or an event, in either format.
fn piece(event: &Value) -> Option<&str> {
    let choice = &event["choices"][0];
    let places = [
        &choice["message"]["content"],
        &choice["delta"]["content"],
        &event["content"][0]["text"],
        &event["delta"]["text"],
    ];
    places.into_iter().find_map(Value::as_str)
}

/// Whether it says why the answer ended.
fn is_end(event: &Value) -> bool {
    let places = [
        &event["choices"][0]["finish_reason"],
        &event["stop_reason"],
        &event["delta"]["stop_reason"],
    ];
    places.into_iter().any(Value::is_string)
}

/// What one run of a scenario comes to.
#[derive(Debug, PartialEq, Clone)]
struct Outcome {
    got: Got,
    /// How often llmock was asked.
    asked: usize,
    /// How often the other one was asked.
    moved: usize,
    /// What llmock finds fault with.
    findings: Vec<String>,
}

fn outcome(got: Got, asked: usize, moved: usize) -> Outcome {
    Outcome {
        got,
        asked,
        moved,
        findings: Vec::new(),
    }
}

impl Outcome {
    /// llmock finds fault all the same; the case says why that stands.
    fn but(mut self, finding: &str) -> Self {
        self.findings.push(finding.to_owned());
        self
    }
}

/// A scenario of llmock's, and what becomes of it.
struct Case {
    what: String,
    fault: Value,
    /// Further lines of llmock's stanza.
    limits: &'static str,
    /// The deadline where there is nobody else.
    deadline: &'static str,
    /// Whether answers that are not streamed can have it.
    whole: bool,
    /// With nobody behind it.
    alone: Outcome,
    /// With a healthy provider behind it.
    two: Outcome,
}

fn case(what: &str, fault: Value, alone: Outcome, two: Outcome) -> Case {
    Case {
        what: what.to_owned(),
        fault,
        limits: "",
        deadline: "60s",
        whole: true,
        alone,
        two,
    }
}

/// So many requests fail with a status; all do if it is `None`.
fn fail(status: u16, times: Option<u32>, retry_after: Option<f64>) -> Value {
    json!({"type": "fail", "status": status, "times": times, "retry_after": retry_after})
}

/// What is for the moment only is asked for once more, after a pause.
fn transient(form: Form) -> Vec<Case> {
    use Got::{Refused, Whole};
    let statuses = [(408, 504), (409, 409), (500, 502), (501, 502), (502, 502)];
    let cases = statuses.map(|(status, told)| {
        let saved = outcome(Whole, 2, 0);
        let lost = outcome(Refused(form.tells(told)), 2, 0);
        let (once, always) = (fail(status, Some(1), None), fail(status, None, None));
        [
            case(&format!("{status} once"), once, saved.clone(), saved),
            case(&format!("{status}"), always, lost, outcome(Whole, 2, 1)),
        ]
    });
    cases.into_iter().flatten().collect()
}

/// Whoever says when to come back is not asked before; `retry-after-ms` is more exact than `retry-after`. llmock
/// does not see that somebody else was asked, or that what is left of the deadline is shorter.
fn told_when(form: Form) -> Vec<Case> {
    use Got::{Refused, Whole};
    let moved = || outcome(Whole, 1, 1).but("gave_up");
    let soon = [408, 409, 429, 500, 502, 503, 504, 529].map(|status| {
        let fault = fail(status, Some(1), Some(0.4));
        case(
            &format!("{status}, 0.4 s"),
            fault,
            outcome(Whole, 2, 0),
            moved(),
        )
    });
    let statuses = [(408, 504), (429, 429), (500, 502), (503, 503), (529, 503)];
    let late = statuses.map(|(status, told)| {
        let fault = fail(status, None, Some(f64::from(FOREVER)));
        let told = outcome(Refused(form.tells(told)), 1, 0).but("gave_up");
        case(&format!("{status}, an hour"), fault, told, moved())
    });
    soon.into_iter().chain(late).collect()
}

/// What no repetition mends is not repeated; what another provider may take goes there.
fn for_good(form: Form) -> Vec<Case> {
    use Got::{Refused, Whole};
    let here = [(401, 502), (402, 429), (403, 502), (404, 404)].map(|(status, told)| {
        let told = outcome(Refused(form.tells(told)), 1, 0);
        case(
            &status.to_string(),
            fail(status, None, None),
            told,
            outcome(Whole, 1, 1),
        )
    });
    let everywhere = [(400, 400), (413, 413), (418, 400), (422, 400)].map(|(status, told)| {
        let told = outcome(Refused(form.tells(told)), 1, 0);
        case(
            &status.to_string(),
            fail(status, None, None),
            told.clone(),
            told,
        )
    });
    here.into_iter().chain(everywhere).collect()
}

/// Answers that come late.
fn late() -> Vec<Case> {
    use Got::{Refused, Whole};
    let fine = || outcome(Whole, 1, 0);
    let slow = |seconds: f64| json!({"type": "slow_first_token", "seconds": seconds});
    let never = slow(f64::from(FOREVER));
    vec![
        case(
            "a delay",
            json!({"type": "delay", "seconds": 0.1}),
            fine(),
            fine(),
        ),
        case("a slow start", slow(0.1), fine(), fine()),
        Case {
            limits: "timeouts = { first_token = \"300ms\" }",
            deadline: "1s",
            whole: false,
            ..case(
                "no start",
                never,
                outcome(Refused(504), 1, 0),
                outcome(Whole, 1, 1),
            )
        },
    ]
}

/// Streams that break. Before the first word the same is asked again; after it somebody else goes on, or the client
/// is told in band: of neither llmock knows.
fn broken(form: Form) -> Vec<Case> {
    use Got::{Refused, Short, Told, Whole};
    let (early, amid) = ([0, form.opening], form.opening + 2);
    let mut all = Vec::new();
    let mut add = |kind: &str, after: u32, alone: Outcome, two: Outcome| {
        let fault = json!({"type": "stream_fault", "kind": kind, "after_chunks": after, "stall_seconds": FOREVER});
        let what = format!("{kind} after {after} events");
        all.push(Case {
            whole: false,
            ..case(&what, fault, alone, two)
        });
    };
    for (kind, blame) in [
        ("disconnect", "gave_up"),
        ("truncate", "truncated_stream_accepted"),
    ] {
        for after in early {
            add(kind, after, outcome(Whole, 2, 0), outcome(Whole, 2, 0));
        }
        let told = outcome(Told, 1, 0).but(blame);
        add(kind, amid, told, outcome(Whole, 1, 1).but(blame));
    }
    // Left out and counted, so that one event does not cost the whole answer. llmock's warning is true of it: a word
    // is missing where it stood, or whatever else the event said.
    for after in [0, form.opening, amid] {
        // What opens Anthropic's streams cannot be done without: somebody else is asked. llmock finds the same all
        // the same, for it does not see that nothing of it was used.
        if after <= form.opening && form.dialect == "anthropic" {
            let noted = |got, second| outcome(got, 1, second).but("malformed_chunk_ignored");
            add("malformed", after, noted(Refused(502), 0), noted(Whole, 1));
            continue;
        }
        let got = match after < form.opening {
            true => Whole,
            false => Short,
        };
        let left_out = outcome(got, 1, 0).but("malformed_chunk_ignored");
        add("malformed", after, left_out.clone(), left_out);
    }
    for after in early {
        add(
            "stall",
            after,
            outcome(Refused(504), 1, 0),
            outcome(Whole, 1, 1),
        );
    }
    add("stall", amid, outcome(Told, 1, 0), outcome(Whole, 1, 1));
    for case in &mut all {
        if case.fault["kind"] == "stall" {
            case.limits = "timeouts = { first_token = \"500ms\", stall = \"500ms\" }";
        }
        // The only one may take all the time there is until the first word.
        if case.alone.got == Refused(504) {
            case.deadline = "1s";
        }
    }
    all
}

/// One run of a case. Each has a provider and a route of its own, so that no run's breaker knows of another.
struct Run<'a> {
    case: &'a Case,
    streamed: bool,
    alone: bool,
}

fn runs(cases: &[Case]) -> Vec<Run<'_>> {
    let ways = [(false, false), (false, true), (true, false), (true, true)];
    let each = cases.iter().flat_map(|case| {
        ways.map(|(streamed, alone)| Run {
            case,
            streamed,
            alone,
        })
    });
    each.filter(|run| run.streamed || run.case.whole).collect()
}

impl Run<'_> {
    fn expected(&self) -> &Outcome {
        match self.alone {
            true => &self.case.alone,
            false => &self.case.two,
        }
    }

    /// The provider `p{i}`, which is llmock, and the route `m{i}` to it.
    fn config(&self, i: usize, form: Form, llmock: &Llmock) -> String {
        let (targets, deadline) = match self.alone {
            true => (format!("\"p{i}/one\""), self.case.deadline),
            false => (format!("\"p{i}/one\", \"second/two\""), "60s"),
        };
        let provider = stanza(form, &format!("p{i}"), llmock, self.case.limits);
        format!(
            "{provider}[models.m{i}]\ntargets = [{targets}]\nretries = 1\ndeadline = \"{deadline}\"\n"
        )
    }

    /// What the head and the log say besides.
    fn check(&self, gateway: &Gateway, response: &Response) {
        let (what, outcome) = (&self.case.what, self.expected());
        if self.case.fault["retry_after"] == f64::from(FOREVER) && self.alone {
            assert_eq!(response.header("retry-after"), Some("3600"), "{what}");
        }
        if outcome
            .findings
            .iter()
            .any(|f| f == "malformed_chunk_ignored")
        {
            let line = gateway.access_line(response.header("x-request-id").unwrap());
            // Left out of an answer, or the end of an attempt.
            let ended = line["attempts"][0]["outcome"] == "invalid_response";
            assert_eq!(line["malformed_events"], u8::from(!ended), "{what}: {line}");
        }
    }
}

fn stanza(form: Form, name: &str, llmock: &Llmock, rest: &str) -> String {
    let Form { dialect, base, .. } = form;
    let address = llmock.address;
    format!(
        "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"http://{address}{base}\"\n\
         credential = \"env:{SECRET_VARIABLE}\"\n{STURDY}\n{rest}\n"
    )
}

fn body(form: Form, model: &str, streamed: bool) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "count"}]});
    if form.face == ANTHROPIC.face {
        body["max_tokens"] = 50.into();
    }
    if streamed {
        body["stream"] = true.into();
    }
    body
}

fn ask(form: Form, body: &Value) -> Request {
    Request::post(form.face).key(KEY).json(body.to_string())
}

/// Runs all cases, one after the other, and shows all that comes out otherwise.
fn grade(form: Form) {
    let cases = [
        transient(form),
        told_when(form),
        for_good(form),
        late(),
        broken(form),
    ];
    let cases = cases.into_iter().flatten().collect::<Vec<_>>();
    let (llmock, second) = (Llmock::start(), Provider::start(healthy()));
    let runs = runs(&cases);
    let mut config = own_key() + &provider("second", &second);
    for (i, run) in runs.iter().enumerate() {
        config += &run.config(i, form, &llmock);
    }
    let gateway = Gateway::start(&config);
    let mut wrong = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        llmock.script(&run.case.fault);
        let asked = ask(form, &body(form, &format!("m{i}"), run.streamed));
        let response = gateway.call(&asked);
        let seen = Outcome {
            got: got(&response),
            asked: llmock.settled(run.expected().asked),
            moved: second.count(),
            findings: llmock.findings(),
        };
        second.forget();
        if seen == *run.expected() {
            run.check(&gateway, &response);
        } else {
            let (
                what,
                Run {
                    streamed, alone, ..
                },
            ) = (&run.case.what, run);
            let (expected, text) = (run.expected(), capped(&response.text()));
            wrong.push(format!(
                "{what}, streamed: {streamed}, alone: {alone}: {seen:?}, and not {expected:?}: {text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn openai_s_clients_get_a_whole_answer_or_an_honest_error_and_the_gateway_good_marks() {
    grade(OPENAI);
}

#[test]
fn anthropic_s_clients_get_a_whole_answer_or_an_honest_error_and_the_gateway_good_marks() {
    grade(ANTHROPIC);
}

#[test]
fn gemini_s_answers_are_translated_whole_or_honestly_not_and_the_gateway_gets_good_marks() {
    grade(GEMINI);
}

/// Whoever never answers is left at the limit. llmock does not see that the gateway hung up, since it looks at the
/// connection only when it writes: what it has not finished it does not judge.
#[test]
fn a_provider_that_never_answers_is_left_without_blame() {
    let (llmock, second) = (Llmock::start(), Provider::start(healthy()));
    let limits = "timeouts = { first_byte = \"300ms\" }";
    let config = [
        own_key(),
        provider("second", &second),
        stanza(OPENAI, "a", &llmock, limits),
        stanza(ANTHROPIC, "b", &llmock, limits),
        model("a-alone", &["a/one"]),
        model("b-alone", &["b/one"]),
        model("a-two", &["a/one", "second/two"]),
        model("b-two", &["b/one", "second/two"]),
    ];
    let gateway = Gateway::start(&config.concat());
    llmock.script(&json!({"type": "delay", "seconds": FOREVER, "times": null}));
    for (form, name) in [(OPENAI, "a"), (ANTHROPIC, "b")] {
        for streamed in [false, true] {
            let call = |way: &str| {
                let body = body(form, &format!("{name}-{way}"), streamed);
                got(&gateway.call(&ask(form, &body)))
            };
            assert_eq!(call("alone"), Got::Refused(504), "{name} {streamed}");
            assert_eq!(call("two"), Got::Whole, "{name} {streamed}");
        }
    }
    assert_eq!(second.count(), 4);
    assert_eq!(llmock.findings(), [""; 0]);
}

/// With as many retries as there may be: they are counted, and further and further apart. llmock warns where no
/// pause is longer than the one before, which chance brings about now and then, with full jitter; where pauses do not
/// grow it always warns.
#[test]
fn an_outage_is_not_stormed() {
    let llmock = Llmock::start();
    let config = [
        own_key(),
        stanza(OPENAI, "a", &llmock, "retry_budget = 1.0"),
        stanza(ANTHROPIC, "b", &llmock, "retry_budget = 1.0"),
        model("a", &["a/one"]) + "retries = 5\n",
        model("b", &["b/one"]) + "retries = 5\n",
    ];
    let gateway = Gateway::start(&config.concat());
    for (form, name, streamed) in [(OPENAI, "a", false), (ANTHROPIC, "b", true)] {
        let request = ask(form, &body(form, name, streamed));
        let marks = (0..3).map(|_| {
            // What has gone well pays for retries.
            llmock.script(None);
            for _ in 0..5 {
                assert_eq!(got(&gateway.call(&request)), Got::Whole, "{name}");
            }
            llmock.script(&fail(500, None, None));
            assert_eq!(got(&gateway.call(&request)), Got::Refused(502), "{name}");
            assert_eq!(llmock.settled(6), 6, "{name}");
            llmock.findings()
        });
        let mut marks = marks.inspect(|found| {
            assert!(found.iter().all(|f| f == "no_backoff"), "{name}: {found:?}");
        });
        assert!(
            marks.any(|found| found.is_empty()),
            "{name}: no pause grows"
        );
    }
}

/// The name and the arguments of an answer's tool call, as text, in either format.
fn call(response: &Response) -> (String, String) {
    let text = response.text();
    let mut events: Vec<Value> = data(&text)
        .filter_map(|d| serde_json::from_str(d).ok())
        .collect();
    if events.is_empty() {
        events.push(response.json());
    }
    let (mut name, mut arguments) = (String::new(), String::new());
    for event in &events {
        let choice = &event["choices"][0];
        let calls = [&choice["message"], &choice["delta"]].map(|m| &m["tool_calls"][0]["function"]);
        let [whole, piece] = calls;
        let claude = &event["content"][0];
        let names = [whole, piece, claude, &event["content_block"]].map(|c| &c["name"]);
        name.extend(names.into_iter().find_map(Value::as_str));
        let texts = [
            &whole["arguments"],
            &piece["arguments"],
            &event["delta"]["partial_json"],
        ];
        arguments.extend(texts.into_iter().find_map(Value::as_str));
        if claude["input"].is_object() {
            arguments += &claude["input"].to_string();
        }
    }
    (name, arguments)
}

/// What a model calls is the client's to judge: it comes as it was said.
#[test]
fn broken_tool_calls_come_as_they_were_said() {
    let llmock = Llmock::start();
    let config = [
        own_key(),
        stanza(OPENAI, "a", &llmock, ""),
        stanza(ANTHROPIC, "b", &llmock, ""),
        model("a", &["a/one"]),
        model("b", &["b/one"]),
    ];
    let gateway = Gateway::start(&config.concat());
    let schema =
        json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let function =
        json!({"type": "function", "function": {"name": "weather", "parameters": schema}});
    let claude = json!({"name": "weather", "input_schema": schema});
    for (form, name, tool) in [(OPENAI, "a", &function), (ANTHROPIC, "b", &claude)] {
        for (kind, named) in [
            ("unknown_tool", "llmock_unknown_tool"),
            ("malformed_arguments", "weather"),
        ] {
            for streamed in [false, true] {
                let what = format!("{name}, {kind}, {streamed}");
                let fault = json!({"type": "tool_fault", "kind": kind, "times": 2});
                llmock.script(&fault);
                let mut body = body(form, "one", streamed);
                body["tools"] = json!([tool]);
                let path = format!("{}{}", form.base, form.face.trim_start_matches("/v1"));
                let asked = Request::post(&path).json(body.to_string());
                let mut direct = Client::connect(llmock.address).unwrap();
                let said = call(&direct.call(&asked).unwrap());
                assert_eq!(said.0, named, "{what}");
                body["model"] = name.into();
                let response = gateway.call(&ask(form, &body));
                assert_eq!(call(&response), said, "{what}: {}", response.text());
                let is_whole = serde_json::from_str::<Value>(&said.1).is_ok();
                // Anthropic's whole answers hold arguments as JSON, which cannot be broken.
                let can = form.dialect == "openai" || streamed;
                assert_eq!(
                    is_whole,
                    kind == "unknown_tool" || !can,
                    "{what}: {}",
                    said.1
                );
                assert_eq!(llmock.settled(2), 2, "{what}");
                assert_eq!(llmock.findings(), [""; 0], "{what}");
            }
        }
    }
}
