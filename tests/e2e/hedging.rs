//! Asking a second target while the first is silent: whoever speaks first is heard, the other is cut off, and it
//! never costs more than the caps allow.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, Response};
use crate::gate::{Gate, STURDY, abandoned, behind};
use crate::gateway::{Gateway, chat_request, own_key, provider_with, stream_request};
use crate::provider::{Provider, Script, chat, delta, fail, finish, silence, stream};
use crate::wait::eventually;

/// How long the first target may be silent in most tests.
const SOON: &str = "after = \"100ms\", share = 1.0, per_hour = 1000";

/// `m` on `a` and then `b`, hedged like this; `rest` holds further lines of both providers.
fn config(a: &Provider, b: &Provider, hedge: &str, rest: &str) -> String {
    let hedge = match hedge {
        "" => String::new(),
        caps => format!("hedge = {{ {caps} }}\n"),
    };
    [
        provider_with("a", a, rest),
        provider_with("b", b, rest),
        format!("[models.m]\ntargets = [\"a/one\", \"b/two\"]\nretries = 0\n{hedge}"),
        own_key(),
    ]
    .concat()
}

fn ask(streamed: bool) -> crate::client::Request {
    match streamed {
        true => stream_request("m"),
        false => chat_request("m"),
    }
}

fn saying(streamed: bool, text: &str) -> Script {
    match streamed {
        true => stream(vec![delta(text), finish()]),
        false => chat(text),
    }
}

/// Provider, role and outcome of each attempt.
fn attempts(gateway: &Gateway, answer: &Response) -> Vec<(String, String, String)> {
    let line = gateway.access_line(answer.header("x-request-id").unwrap());
    let all = line["attempts"].as_array().unwrap();
    let word = |attempt: &Value, name: &str| attempt[name].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = all
        .iter()
        .map(|a| (word(a, "provider"), word(a, "role"), word(a, "outcome")))
        .collect();
    all.sort();
    all
}

fn told(all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    all.iter()
        .map(|(p, r, o)| ((*p).to_owned(), (*r).to_owned(), (*o).to_owned()))
        .collect()
}

fn hedges(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(
        "tollgate_hedges_total",
        &[("route", "m"), ("result", result)],
    )
}

#[test]
fn the_second_answers_for_a_silent_first_which_is_cut_off() {
    let left = Arc::new(Mutex::new(0));
    let (a, b) = (
        Provider::start(abandoned(&left)),
        Provider::start(silence()),
    );
    // A breaker that opens at the first failure: to be overtaken is none.
    let sharp = "breaker = { consecutive_failures = 1, open = \"1h\", open_max = \"1h\" }";
    let gateway = Gateway::start(&config(&a, &b, SOON, sharp));
    for (i, streamed) in [false, true, false, true].into_iter().enumerate() {
        b.become_script(saying(streamed, "saved"));
        let began = Instant::now();
        let answer = gateway.call(&ask(streamed));
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("saved"), "{}", answer.text());
        assert_eq!(answer.header("x-tollgate-provider"), Some("b"));
        assert_eq!(answer.header("x-tollgate-model"), Some("two"));
        eventually("the first one's connection is closed", || {
            (*left.lock().unwrap() == i + 1).then_some(())
        });
        assert_eq!(
            attempts(&gateway, &answer),
            told(&[("a", "first", "canceled"), ("b", "hedge", "ok")])
        );
        assert_eq!((a.count(), b.count()), (i + 1, i + 1));
        assert_eq!(
            (hedges(&gateway, "won"), hedges(&gateway, "lost")),
            ((i + 1) as f64, 0.0)
        );
    }
    assert_eq!(gateway.metric("tollgate_target_breaker", &[]), 0.0);
}

#[test]
fn the_first_still_wins_if_it_speaks_first() {
    let left = Arc::new(Mutex::new(0));
    let (a, b) = (
        Provider::start(silence()),
        Provider::start(abandoned(&left)),
    );
    let gateway = Gateway::start(&config(&a, &b, SOON, STURDY));
    for (i, streamed) in [false, true].into_iter().enumerate() {
        let gate = Gate::default();
        a.become_script(behind(&gate, saying(streamed, "first")));
        let mut client = gateway.connect();
        client.send(&ask(streamed).bytes()).unwrap();
        eventually("the second one is asked", || {
            (b.count() == i + 1).then_some(())
        });
        gate.open();
        let answer = client.response().unwrap();
        assert!(answer.text().contains("first"), "{}", answer.text());
        assert_eq!(answer.header("x-tollgate-provider"), Some("a"));
        eventually("the second one's connection is closed", || {
            (*left.lock().unwrap() == i + 1).then_some(())
        });
        assert_eq!(
            attempts(&gateway, &answer),
            told(&[("a", "first", "ok"), ("b", "hedge", "canceled")])
        );
        assert_eq!(
            (hedges(&gateway, "won"), hedges(&gateway, "lost")),
            (0.0, (i + 1) as f64)
        );
    }
}

#[test]
fn without_the_setting_nobody_is_asked_beside_a_slow_one() {
    let (a, b) = (Provider::start(silence()), Provider::start(chat("no")));
    let gateway = Gateway::start(&config(&a, &b, "", STURDY));
    for streamed in [false, true] {
        let gate = Gate::default();
        a.become_script(behind(&gate, saying(streamed, "first")));
        let mut client = gateway.connect();
        client.send(&ask(streamed).bytes()).unwrap();
        assert!(client.is_quiet(Duration::from_millis(300)));
        gate.open();
        assert!(client.response().unwrap().text().contains("first"));
    }
    assert_eq!(b.count(), 0);
}

#[test]
fn a_quick_first_is_not_hedged() {
    let (a, b) = (Provider::start(chat("first")), Provider::start(chat("no")));
    let slowly = "after = \"1h\", share = 1.0, per_hour = 1000";
    let gateway = Gateway::start(&config(&a, &b, slowly, STURDY));
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.call(&chat_request("m")).unwrap().content(), "first");
    }
    assert_eq!((a.count(), b.count()), (20, 0));
}

/// Sends requests that are all silent at the first target, and waits until no more of them are hedged; how many were.
fn hedged(a: &Provider, b: &Provider, gateway: &Gateway, requests: usize, least: usize) -> usize {
    let gate = Gate::default();
    a.become_script(behind(&gate, chat("first")));
    b.become_script(chat("second"));
    let mut clients: Vec<Client> = (0..requests)
        .map(|_| {
            let mut client = gateway.connect();
            client.send(&chat_request("m").bytes()).unwrap();
            client
        })
        .collect();
    eventually("every request is at the first target", || {
        (a.count() == requests).then_some(())
    });
    eventually("some are hedged", || (b.count() >= least).then_some(()));
    // Each one's time to be hedged is over when one that is not has been silent for longer than that.
    let mut waiting = clients.iter_mut();
    assert!(waiting.any(|client| client.is_quiet(Duration::from_millis(600))));
    gate.open();
    let answers: Vec<_> = clients.iter_mut().map(|c| c.response().unwrap()).collect();
    let second = answers.iter().filter(|a| a.content() == "second").count();
    assert!(answers.iter().all(|answer| answer.status == 200));
    // On a slow machine the first may have been let go before the second had spoken.
    assert!(second <= b.count(), "{second} of {}", b.count());
    b.count()
}

#[test]
fn hedges_are_no_more_than_their_share_of_the_requests() {
    let (a, b) = (Provider::start(silence()), Provider::start(silence()));
    let caps = "after = \"300ms\", share = 0.1, per_hour = 1000";
    let gateway = Gateway::start(&config(&a, &b, caps, STURDY));
    let done = hedged(&a, &b, &gateway, 100, 5);
    assert!((5..=10).contains(&done), "{done} of 100");
    let counted = hedges(&gateway, "won") + hedges(&gateway, "lost");
    assert_eq!(counted, done as f64);
}

#[test]
fn a_request_that_tries_twice_is_one_request_for_the_share() {
    let (a, b) = (Provider::start(fail(500)), Provider::start(silence()));
    let c = Provider::start(silence());
    let caps = "after = \"50ms\", share = 0.5, per_hour = 1000";
    let config = [
        provider_with("a", &a, STURDY),
        provider_with("b", &b, STURDY),
        provider_with("c", &c, STURDY),
        format!(
            "[models.m]\ntargets = [\"a/one\", \"b/two\", \"c/three\"]\nretries = 0\nhedge = {{ {caps} }}\n"
        ),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    // The first has failed; the second is silent. One request is too little for a hedge, two are enough for one.
    let gate = Gate::default();
    b.become_script(behind(&gate, chat("second")));
    c.become_script(chat("third"));
    let mut client = gateway.connect();
    client.send(&chat_request("m").bytes()).unwrap();
    eventually("the second is asked", || (b.count() == 1).then_some(()));
    assert!(client.is_quiet(Duration::from_millis(300)));
    assert_eq!(c.count(), 0, "hedged beyond its share");
    assert_eq!(gateway.chat("m").content(), "third");
    gate.open();
    assert_eq!(client.response().unwrap().content(), "second");
}

#[test]
fn hedges_are_no_more_than_so_many_in_an_hour() {
    let (a, b) = (Provider::start(silence()), Provider::start(silence()));
    let caps = "after = \"100ms\", share = 1.0, per_hour = 3";
    let gateway = Gateway::start(&config(&a, &b, caps, STURDY));
    assert_eq!(hedged(&a, &b, &gateway, 12, 3), 3);
    // Nor does a reload forget them.
    gateway.reload(&format!("# again\n{}", config(&a, &b, caps, STURDY)), "ok");
    a.forget();
    b.forget();
    assert_eq!(hedged(&a, &b, &gateway, 4, 0), 0);
}

#[test]
fn without_a_time_it_waits_for_the_usual_one_once_that_is_known() {
    let (a, b) = (Provider::start(silence()), Provider::start(chat("second")));
    let caps = "share = 1.0, per_hour = 1000";
    let gateway = Gateway::start(&config(&a, &b, caps, STURDY));
    // The slowest of five answers is their 95th percentile.
    let gate = Gate::default();
    a.become_script(behind(&gate, chat("first")));
    let mut client = gateway.connect();
    client.send(&chat_request("m").bytes()).unwrap();
    assert!(
        client.is_quiet(Duration::from_millis(300)),
        "hedged unknowingly"
    );
    gate.open();
    assert_eq!(client.response().unwrap().content(), "first");
    a.become_script(chat("first"));
    for _ in 0..4 {
        assert_eq!(gateway.chat("m").content(), "first");
    }
    assert_eq!(b.count(), 0, "hedged unknowingly");
    a.become_script(silence());
    let began = Instant::now();
    let answer = gateway.chat("m");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(answer.content(), "second");
    assert_eq!(
        attempts(&gateway, &answer),
        told(&[("a", "first", "canceled"), ("b", "hedge", "ok")])
    );
    // Streams have times of their own, of which nothing is known.
    let gate = Gate::default();
    a.become_script(behind(&gate, saying(true, "first")));
    let mut client = gateway.connect();
    client.send(&ask(true).bytes()).unwrap();
    assert!(client.is_quiet(Duration::from_millis(200)));
    gate.open();
    assert!(client.response().unwrap().text().contains("first"));
}

#[test]
fn when_one_of_two_fails_the_other_is_still_heard() {
    let (a, b) = (Provider::start(silence()), Provider::start(silence()));
    let gateway = Gateway::start(&config(&a, &b, SOON, STURDY));
    for streamed in [false, true] {
        for first_fails in [true, false] {
            let (gate_a, gate_b) = (Gate::default(), Gate::default());
            let (script_a, script_b) = match first_fails {
                true => (fail(500), saying(streamed, "second")),
                false => (saying(streamed, "first"), fail(500)),
            };
            a.become_script(behind(&gate_a, script_a));
            b.become_script(behind(&gate_b, script_b));
            a.forget();
            b.forget();
            let mut client = gateway.connect();
            client.send(&ask(streamed).bytes()).unwrap();
            eventually("both are asked", || {
                (a.count() == 1 && b.count() == 1).then_some(())
            });
            let (bad, good) = match first_fails {
                true => (&gate_a, &gate_b),
                false => (&gate_b, &gate_a),
            };
            bad.open();
            assert!(
                client.is_quiet(Duration::from_millis(100)),
                "it was not waited for"
            );
            good.open();
            let answer = client.response().unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let expected = match first_fails {
                true => told(&[("a", "first", "server_error"), ("b", "hedge", "ok")]),
                false => told(&[("a", "first", "ok"), ("b", "hedge", "server_error")]),
            };
            assert_eq!(attempts(&gateway, &answer), expected);
        }
    }
    // Both: then that is the answer.
    let gate = Gate::default();
    a.become_script(behind(&gate, fail(500)));
    b.become_script(behind(&gate, fail(503)));
    a.forget();
    b.forget();
    let mut client = gateway.connect();
    client.send(&ask(false).bytes()).unwrap();
    eventually("both are asked", || {
        (a.count() == 1 && b.count() == 1).then_some(())
    });
    gate.open();
    let answer = client.response().unwrap();
    assert!([502, 503].contains(&answer.status), "{}", answer.text());
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[test]
fn a_client_that_leaves_ends_both() {
    let (left_a, left_b) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let a = Provider::start(abandoned(&left_a));
    let b = Provider::start(abandoned(&left_b));
    let gateway = Gateway::start(&config(&a, &b, SOON, STURDY));
    for (i, streamed) in [false, true].into_iter().enumerate() {
        let mut client = gateway.connect();
        client.send(&ask(streamed).bytes()).unwrap();
        eventually("both are asked", || (b.count() == i + 1).then_some(()));
        drop(client);
        eventually("both connections are closed", || {
            let both = (*left_a.lock().unwrap(), *left_b.lock().unwrap());
            (both == (i + 1, i + 1)).then_some(())
        });
    }
}

#[test]
fn a_second_that_is_left_alone_is_no_hedge() {
    let (a, b) = (Provider::start(silence()), Provider::start(fail(500)));
    let sharp = "breaker = { consecutive_failures = 1, open = \"1h\", open_max = \"1h\" }";
    let config = config(&a, &b, SOON, sharp) + "[models.two]\ntargets = [\"b/two\"]\nretries = 0\n";
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.chat("two").status, 502);
    b.forget();
    let gate = Gate::default();
    a.become_script(behind(&gate, chat("first")));
    let mut client = gateway.connect();
    client.send(&chat_request("m").bytes()).unwrap();
    assert!(client.is_quiet(Duration::from_millis(400)));
    assert_eq!(b.count(), 0);
    gate.open();
    assert_eq!(client.response().unwrap().content(), "first");
}
