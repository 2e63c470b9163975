//! Who is asked again, when, and who instead: waits, lists of fallbacks, windows, budgets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::faults::{assert_attempts, coded};
use crate::gate::STURDY;
use crate::gateway::{Gateway, chat_request, model, own_key, provider_with, stream_request};
use crate::provider::{
    Provider, chat, delta, fail, hang_up, in_turn, plain, silence, status, stream,
};
use crate::translation::request;
use crate::wait::eventually;

const FACES: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

#[test]
fn a_refused_connection_is_tried_again_and_then_another() {
    let (dead, second) = (Provider::refusing(), Provider::start(chat("saved")));
    let config = [
        provider_with("a", &dead, STURDY),
        provider_with("b", &second, STURDY),
        model("m", &["a/one", "b/two"]),
        model("alone", &["a/one"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let expected = [
        ("a".to_owned(), "first", "connect_failed"),
        ("a".to_owned(), "retry", "connect_failed"),
        ("b".to_owned(), "fallback", "ok"),
    ];
    let answer = gateway.chat("m");
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    assert_attempts(&line, &expected, "refused");
    assert_eq!(answer.content(), "saved");
    second.become_script(stream(vec![delta("saved")]));
    assert_eq!(gateway.stream("m").events()[0], delta("saved"));
    let answer = gateway.chat("alone");
    assert_eq!(
        (answer.status, answer.error("code").as_str()),
        (502, "upstream_error")
    );
}

#[test]
fn what_the_operator_has_to_mend_raises_an_alarm() {
    let (first, second) = (Provider::start(fail(401)), Provider::start(chat("saved")));
    let config = [
        provider_with("a", &first, STURDY),
        provider_with("b", &second, STURDY),
        model("m", &["a/one", "b/two"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let count = |reason: &str| {
        gateway.metric(
            "tollgate_provider_alarms_total",
            &[("provider", "a"), ("reason", reason)],
        )
    };
    for (codes, reason) in [
        (&[401, 403][..], "credential"),
        (&[402], "payment"),
        (&[404], "model"),
    ] {
        let metrics = gateway.metrics();
        assert!(
            metrics.contains(&format!("reason=\"{reason}\"")),
            "no zero to begin with for {reason}"
        );
        for code in codes {
            first.become_script(fail(*code));
            assert_eq!(gateway.chat("m").content(), "saved", "{code}");
            assert_eq!(gateway.chat("m").content(), "saved", "{code}");
        }
        assert_eq!(count(reason), 2.0 * codes.len() as f64, "{reason}");
        let lines = || {
            let log = gateway.stderr();
            log.lines()
                .filter(|line| line.contains("operator's to mend"))
                .filter(|line| line.contains(&format!("\"reason\":\"{reason}\"")))
                .count()
        };
        eventually("a line in the operator's log", || {
            (lines() > 0).then_some(())
        });
        assert_eq!(lines(), 1, "each request said it: {}", gateway.stderr());
    }
    first.become_script(fail(500));
    gateway.chat("m");
    assert_eq!(count("credential") + count("payment") + count("model"), 8.0);
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    // Closes each connection with its second request, as if it had closed it just before.
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    let whole = stream(vec![delta("ok")]);
    let ok = chat("ok");
    let scripted = Provider::start(Arc::new(move |request, wire| {
        if !seen.lock().unwrap().insert(request.connection) {
            wire.done = true;
            return Ok(());
        }
        match request.json()["stream"] == true {
            true => whole(request, wire),
            false => ok(request, wire),
        }
    }));
    let config = [
        provider_with("a", &scripted, "retry_budget = 0.0"),
        "[models.m]\ntargets = [\"a/one\"]\nretries = 0\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for streamed in [false, true, false, true] {
        scripted.forget();
        for _ in 0..3 {
            let asked = match streamed {
                true => stream_request("m"),
                false => chat_request("m"),
            };
            let answer = gateway.call(&asked);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
            let line = gateway.access_line(answer.header("x-request-id").unwrap());
            assert_attempts(&line, &[("a".to_owned(), "first", "ok")], "stale");
        }
        assert!(scripted.count() > 3, "no connection was used again");
    }
    // A new connection that is closed is a failed attempt, and nothing is sent again by itself.
    scripted.become_script(hang_up());
    scripted.forget();
    let answer = gateway.chat("m");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
    assert!(scripted.count() <= 2, "{}", scripted.count());
}

#[test]
fn a_silent_target_is_never_asked_twice_at_no_address() {
    let (one, two) = (Provider::start(silence()), Provider::start(silence()));
    let second = Provider::start(chat("saved"));
    let config = format!(
        "[providers.a]\ndialect = \"openai\"\nbase_urls = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]\n\
         timeouts = {{ first_byte = \"200ms\" }}\n{STURDY}\n{}{}\
         [models.alone]\ntargets = [\"a/one\"]\nretries = 5\n\
         [models.both]\ntargets = [\"a/one\", \"b/two\"]\nretries = 5\n",
        one.base_url(),
        two.base_url(),
        provider_with("b", &second, STURDY),
        own_key(),
    );
    let gateway = Gateway::start(&config);
    for streamed in [false, true] {
        let asked = match streamed {
            true => stream_request("alone"),
            false => chat_request("alone"),
        };
        let answer = gateway.call(&asked);
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert_eq!(one.count() + two.count(), 1);
        one.forget();
        two.forget();
    }
    assert_eq!(gateway.chat("both").content(), "saved");
    assert_eq!(one.count() + two.count(), 1);
}

#[test]
fn a_retry_goes_to_another_address_at_once() {
    let (one, two) = (Provider::start(fail(500)), Provider::start(chat("ok")));
    let config = format!(
        "[providers.a]\ndialect = \"openai\"\nbase_urls = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]\n{STURDY}\n{}\
         [models.m]\ntargets = [\"a/x\"]\nretries = 1\n",
        one.base_url(),
        two.base_url(),
        own_key(),
    );
    let gateway = Gateway::start(&config);
    // As many retries as its budget has to begin with.
    for _ in 0..2 {
        assert_eq!(gateway.chat("m").content(), "ok");
    }
    assert!((1..=2).contains(&one.count()), "{}", one.count());
    assert_eq!(two.count(), 2);
    // Garbled answers, too, but not the refusal of a credential, which is the same everywhere.
    let gateway = Gateway::start(&config);
    one.become_script(plain("text/html", b"<html>"));
    two.become_script(plain("text/html", b"<html>"));
    one.forget();
    two.forget();
    assert_eq!(gateway.chat("m").status, 502);
    assert_eq!((one.count(), two.count()), (1, 1));
    one.become_script(fail(401));
    two.become_script(fail(401));
    one.forget();
    two.forget();
    assert_eq!(gateway.chat("m").error("code"), "upstream_auth");
    assert_eq!(one.count() + two.count(), 1);
}

/// `m` on `a` alone, `both` on `a` and then `b`.
fn alone_and_both(first: &Provider, second: &Provider, retries: usize) -> Gateway {
    let config = [
        provider_with("a", first, STURDY),
        provider_with("b", second, STURDY),
        format!("[models.m]\ntargets = [\"a/one\"]\nretries = {retries}\ndeadline = \"20s\"\n"),
        format!("[models.both]\ntargets = [\"a/one\", \"b/two\"]\nretries = {retries}\n"),
        own_key(),
    ];
    Gateway::start(&config.concat())
}

#[test]
fn whoever_says_when_to_come_back_is_waited_for_if_there_is_nobody_else() {
    for (line, wait) in [
        ("retry-after: 1", Duration::from_secs(1)),
        ("retry-after-ms: 200", Duration::from_millis(200)),
    ] {
        for code in [429, 503] {
            let later = status(code, &[line], "{}");
            let first = Provider::start(in_turn(vec![later, chat("ok")]));
            let second = Provider::start(chat("saved"));
            let gateway = alone_and_both(&first, &second, 1);
            let began = Instant::now();
            let answer = gateway.chat("m");
            assert!(began.elapsed() >= wait, "{code} {line}");
            assert_eq!(answer.content(), "ok", "{code} {line}: {}", answer.text());
            let log = gateway.access_line(answer.header("x-request-id").unwrap());
            let outcome = match code {
                429 => "rate_limited",
                _ => "server_error",
            };
            let expected = [
                ("a".to_owned(), "first", outcome),
                ("a".to_owned(), "retry", "ok"),
            ];
            assert_attempts(&log, &expected, line);
        }
    }
    // A stream waits like a whole answer.
    let later = status(429, &["retry-after-ms: 100"], "{}");
    let first = Provider::start(in_turn(vec![later, stream(vec![delta("ok")])]));
    let gateway = alone_and_both(&first, &Provider::start(chat("no")), 1);
    assert_eq!(gateway.stream("m").events()[0], delta("ok"));
}

#[test]
fn whoever_says_when_to_come_back_is_not_waited_for_where_another_can_be_asked() {
    let later = status(429, &["retry-after: 1"], "{}");
    let first = Provider::start(later);
    let second = Provider::start(chat("saved"));
    let gateway = alone_and_both(&first, &second, 1);
    let answer = gateway.chat("both");
    assert_eq!(answer.content(), "saved");
    let log = gateway.access_line(answer.header("x-request-id").unwrap());
    let expected = [
        ("a".to_owned(), "first", "rate_limited"),
        ("b".to_owned(), "fallback", "ok"),
    ];
    assert_attempts(&log, &expected, "both");
    assert_eq!(first.count(), 1);
    // If the other one fails, there is nobody else any more.
    first.become_script(chat("ok"));
    second.become_script(fail(400));
    let again = Provider::start(in_turn(vec![
        status(429, &["retry-after-ms: 300"], "{}"),
        chat("ok"),
    ]));
    let failing = Provider::start(fail(500));
    let gateway = alone_and_both(&again, &failing, 1);
    let began = Instant::now();
    assert_eq!(gateway.chat("both").content(), "ok");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(again.count(), 2);
}

#[test]
fn a_time_that_does_not_fit_is_told_at_once() {
    let first = Provider::start(status(429, &["retry-after: 3600"], "{}"));
    let gateway = alone_and_both(&first, &Provider::start(chat("no")), 1);
    for (i, face) in FACES.into_iter().enumerate() {
        for streamed in [false, true] {
            let began = Instant::now();
            let answer = gateway.call(&request(face, streamed));
            // Whoever waits at all waits for the deadline.
            assert!(began.elapsed() < Duration::from_secs(20));
            assert_eq!(answer.status, 429, "{face}: {}", answer.text());
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            // Only the first request asked; what it was told is kept to, as far as such times are believed.
            match (i, streamed) {
                (0, false) => assert_eq!(after, 3600),
                _ => assert!((1..=600).contains(&after), "{after}"),
            }
        }
    }
    assert_eq!(first.count(), 1, "it had asked to be left alone");
}

#[test]
fn a_time_to_come_back_holds_for_the_next_requests_too() {
    let later = status(429, &["retry-after: 1"], "{}");
    let first = Provider::start(in_turn(vec![later, chat("ok")]));
    let second = Provider::start(chat("saved"));
    let gateway = alone_and_both(&first, &second, 0);
    let began = Instant::now();
    assert_eq!(gateway.chat("both").content(), "saved");
    assert_eq!(first.count(), 1);
    // Nobody else can be asked here: the time is waited for, before the first try.
    let answer = gateway.chat("m");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(answer.content(), "ok", "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-attempts"), Some("1"));
    let first = Provider::start(status(429, &["retry-after: 600"], "{}"));
    let gateway = alone_and_both(&first, &second, 0);
    for _ in 0..5 {
        assert_eq!(gateway.chat("both").content(), "saved");
    }
    assert_eq!(first.count(), 1, "it had asked to be left alone");
}

#[test]
fn each_kind_of_failure_has_its_own_list() {
    let scripted: Vec<Provider> = (0..3).map(|_| Provider::start(chat("no"))).collect();
    let (a, b, c) = (&scripted[0], &scripted[1], &scripted[2]);
    let mut config = [
        provider_with("a", a, STURDY),
        provider_with("b", b, STURDY),
        provider_with("c", c, STURDY),
        own_key(),
    ]
    .concat();
    let lists = [
        "on_error",
        "on_rate_limit",
        "on_context_length",
        "on_content_policy",
    ];
    for list in lists {
        for (name, targets) in [("c", "[\"c/three\"]"), ("nobody", "[]")] {
            config += &format!(
                "[models.{list}-{name}]\ntargets = [\"a/one\"]\nfallbacks = [\"b/two\"]\n\
                 {list} = {targets}\nretries = 0\n"
            );
        }
    }
    let gateway = Gateway::start(&config);
    let failures = [
        ("on_error", fail(500)),
        ("on_rate_limit", fail(429)),
        ("on_context_length", coded(400, "context_length_exceeded")),
        ("on_content_policy", coded(400, "content_filter")),
    ];
    for (kind, script) in failures {
        // The breaker opens when all of the latest outcomes are failures.
        a.become_script(chat("ok"));
        assert_eq!(gateway.chat("on_error-c").status, 200);
        a.become_script(script);
        for list in lists {
            for (name, listed) in [("c", Some("c")), ("nobody", None)] {
                // `fallbacks` stand for every kind without a list; but a refused content is refused everywhere.
                let usual = (kind != "on_content_policy").then_some("b");
                let expected = if list == kind { listed } else { usual };
                for streamed in [false, true] {
                    for (provider, text) in [(b, "b"), (c, "c")] {
                        provider.become_script(match streamed {
                            true => stream(vec![delta(text)]),
                            false => chat(text),
                        });
                    }
                    let route = format!("{list}-{name}");
                    let answer = match streamed {
                        true => gateway.call(&stream_request(&route)),
                        false => gateway.call(&chat_request(&route)),
                    };
                    let what = format!("{kind} on {route}: {}", answer.text());
                    match expected {
                        Some(who) => {
                            assert_eq!(answer.status, 200, "{what}");
                            assert_eq!(answer.header("x-tollgate-provider"), Some(who), "{what}");
                        }
                        None => assert!(answer.status >= 400, "{what}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_prompt_that_is_too_long_goes_to_larger_windows_only() {
    let scripted: Vec<Provider> = (0..4).map(|_| Provider::start(chat("ok"))).collect();
    let too_long = || coded(400, "context_length_exceeded");
    let mut config = own_key();
    for (name, provider) in ["a", "b", "c", "d"].into_iter().zip(&scripted) {
        config += &provider_with(name, provider, STURDY);
    }
    for (name, context) in [
        ("small", 1000),
        ("tiny", 500),
        ("equal", 1000),
        ("large", 9000),
    ] {
        config += &format!("[[capabilities]]\nmodels = [\"{name}\"]\ncontext = {context}\n");
    }
    config += concat!(
        "[models.m]\ntargets = [\"a/small\", \"b/tiny\", \"c/equal\"]\nfallbacks = [\"d/large\"]\n",
        "[models.same]\ntargets = [\"a/unknown\", \"b/unknown\"]\nfallbacks = [\"c/unknown\"]\n",
        "[models.listed]\ntargets = [\"a/unknown\"]\non_context_length = [\"b/unknown\", \"d/other\"]\n",
        "[models.unknown]\ntargets = [\"a/unknown\", \"b/other\"]\n",
    );
    let gateway = Gateway::start(&config);
    scripted[0].become_script(too_long());
    let counts = || -> Vec<usize> {
        let counts = scripted.iter().map(Provider::count).collect();
        scripted.iter().for_each(Provider::forget);
        counts
    };
    assert_eq!(gateway.chat("m").header("x-tollgate-model"), Some("large"));
    assert_eq!(counts(), [1, 0, 0, 1]);
    let answer = gateway.chat("same");
    assert_eq!(
        (answer.status, answer.error("code").as_str()),
        (400, "context_length_exceeded")
    );
    assert_eq!(counts(), [1, 0, 0, 0], "the same model, elsewhere");
    assert_eq!(
        gateway.chat("listed").header("x-tollgate-model"),
        Some("other")
    );
    assert_eq!(counts(), [1, 0, 0, 1]);
    assert_eq!(
        gateway.chat("unknown").header("x-tollgate-model"),
        Some("other")
    );
    assert_eq!(counts(), [1, 1, 0, 0]);
    // Too long for the largest as well: that is the answer, in each client's words.
    scripted[3].become_script(too_long());
    for face in FACES {
        let answer = gateway.call(&request(face, true));
        assert_eq!(answer.status, 400, "{face}: {}", answer.text());
        match face {
            "/v1/messages" => assert!(answer.error("message").contains("prompt is too long")),
            _ => assert_eq!(answer.error("code"), "context_length_exceeded"),
        }
        assert_eq!(counts(), [1, 0, 0, 1], "{face}");
    }
}

/// Requests that fail, one after another, and one in 25 that does not, so that no breaker opens; how many attempts
/// there were, and how many retries were refused.
fn outage(failing: usize, budget: &str, targets: &str) -> (usize, f64) {
    let down = Provider::start(fail(500));
    let config = [
        provider_with("a", &down, &format!("{budget}\n{STURDY}")),
        format!("[models.m]\ntargets = {targets}\nretries = 1\n"),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for i in 0..failing {
        if i % 25 == 0 {
            down.become_script(chat("ok"));
            assert_eq!(gateway.chat("m").status, 200);
            down.become_script(fail(500));
        }
        assert_eq!(gateway.chat("m").status, 502);
    }
    let labels = [("provider", "a")];
    let refused = gateway.metric("tollgate_retries_refused_total", &labels);
    (down.count(), refused)
}

#[test]
fn in_an_outage_retries_are_a_fifth_of_the_requests() {
    // Two that every provider has to begin with, and a fifth of a retry for each of 104 requests.
    let (attempts, refused) = outage(100, "", "[\"a/one\"]");
    assert_eq!((attempts, refused), (104 + 2 + 20, 78.0));
    let (attempts, refused) = outage(20, "retry_budget = 0.0", "[\"a/one\"]");
    assert_eq!((attempts, refused), (21 + 2, 18.0));
}

#[test]
fn another_model_at_the_same_provider_is_a_retry_for_its_budget() {
    let (attempts, _) = outage(20, "retry_budget = 0.0", "[\"a/one\", \"a/two\"]");
    assert_eq!(attempts, 21 + 2);
}

#[test]
fn a_retry_that_succeeds_is_an_answer_like_any_other() {
    for streamed in [false, true] {
        let good = match streamed {
            true => stream(vec![delta("ok")]),
            false => chat("ok"),
        };
        let flaky = Provider::start(in_turn(vec![fail(500), fail(502), good]));
        let config = [
            provider_with("a", &flaky, STURDY),
            "[models.m]\ntargets = [\"a/one\"]\nretries = 2\n".to_owned(),
            own_key(),
        ];
        let gateway = Gateway::start(&config.concat());
        let answer = match streamed {
            true => gateway.call(&stream_request("m")),
            false => gateway.call(&chat_request("m")),
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-tollgate-attempts"), Some("3"));
        let bodies: Vec<Value> = flaky.requests().iter().map(|r| r.json()).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        let line = gateway.access_line(answer.header("x-request-id").unwrap());
        let expected = [
            ("a".to_owned(), "first", "server_error"),
            ("a".to_owned(), "retry", "server_error"),
            ("a".to_owned(), "retry", "ok"),
        ];
        assert_attempts(&line, &expected, "flaky");
        assert_eq!(line["attempts"][0]["status"], json!(500), "{line}");
    }
}

#[test]
fn whoever_does_not_say_when_to_come_back_is_asked_again_after_a_pause() {
    for streamed in [false, true] {
        let good = match streamed {
            true => stream(vec![delta("ok")]),
            false => chat("ok"),
        };
        let first = Provider::start(in_turn(vec![status(429, &[], "{}"), good]));
        let second = Provider::start(chat("no"));
        let gateway = alone_and_both(&first, &second, 1);
        let answer = match streamed {
            true => gateway.call(&stream_request("m")),
            false => gateway.call(&chat_request("m")),
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((first.count(), second.count()), (2, 0));
    }
    // Where that was in vain, or may not be tried, the refusal is the answer.
    for retries in [0, 1] {
        let first = Provider::start(status(429, &[], "{}"));
        let gateway = alone_and_both(&first, &Provider::start(chat("no")), retries);
        let answer = gateway.chat("m");
        assert_eq!(
            (answer.status, answer.error("code").as_str()),
            (429, "rate_limit_exceeded")
        );
        assert_eq!(first.count(), 1 + retries);
    }
}

#[test]
fn a_client_may_leave_while_it_waits_for_a_time_to_come_back() {
    let first = Provider::start(status(429, &["retry-after: 600"], "{}"));
    let config = [
        provider_with("a", &first, STURDY),
        "[models.m]\ntargets = [\"a/one\"]\ndeadline = \"2h\"\nkeep_alive = \"20ms\"\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    // One that has asked, and one that finds the target left alone.
    for _ in 0..2 {
        let mut waiting = gateway.connect().stream(&stream_request("m")).unwrap();
        for _ in 0..3 {
            assert_eq!(waiting.event().as_deref(), Some(""), "no comment");
        }
        assert_eq!(gateway.metric("tollgate_in_flight_requests", &[]), 1.0);
        drop(waiting);
        eventually("nobody waits any more", || {
            (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(())
        });
    }
    assert_eq!(first.count(), 1);
}
