//! A target that fails is left alone, tried by one request at a time, and in use again once it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, Request};
use crate::gate::{Gate, behind};
use crate::gateway::{
    Gateway, chat_body, chat_request, own_key, provider, provider_with, stream_request,
};
use crate::load::Load;
use crate::provider::{
    Cut, Provider, Script, chat, cut, delta, error_body, fail, finish, reset, silence, status,
    stream,
};
use crate::translation::request;
use crate::wait::eventually;

/// Two failures open it for longer than any test.
const SHARP: &str =
    "breaker = { consecutive_failures = 2, error_rate = 1.0, open = \"1h\", open_max = \"1h\" }";

/// The same for a moment.
const BRIEF: &str = "breaker = { consecutive_failures = 2, error_rate = 1.0, open = \"200ms\", open_max = \"400ms\" }";

/// `m` on `a`, then `b`; `alone` on `a` only; nobody is asked twice, but on `eager`.
fn config(a: &Provider, b: &Provider, rest: &str) -> String {
    [
        provider_with("a", a, rest),
        provider("b", b),
        "[models.m]\ntargets = [\"a/one\", \"b/two\"]\nretries = 0\n".to_owned(),
        "[models.alone]\ntargets = [\"a/one\"]\nretries = 0\n".to_owned(),
        "[models.eager]\ntargets = [\"a/one\"]\nretries = 3\n".to_owned(),
        own_key(),
    ]
    .concat()
}

/// The state of a target's breaker: 0 closed, 1 half open, 2 open.
fn target(gateway: &Gateway, provider: &str, model: &str) -> f64 {
    let labels = [("provider", provider), ("model", model)];
    gateway.metric("tollgate_target_breaker", &labels)
}

fn endpoint(gateway: &Gateway, provider: &Provider) -> f64 {
    let url = provider.base_url();
    gateway.metric("tollgate_endpoint_breaker", &[("endpoint", &url)])
}

/// The states of all breakers in a list of `/status`.
fn states(gateway: &Gateway, list: &str, name: &str) -> Vec<(String, String)> {
    let status = gateway.admin("/status").json();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = status[list].as_array().unwrap().iter();
    all.map(|one| (word(&one[name]), word(&one["breaker"]["state"])))
        .collect()
}

/// Asks so often, and expects each answer from this text.
fn served(gateway: &Gateway, requests: usize, text: &str) {
    for _ in 0..requests {
        let answer = gateway.chat("m");
        assert_eq!(answer.content(), text, "{}", answer.text());
    }
}

#[test]
fn failures_in_a_row_open_it() {
    for (what, script) in [("500", fail(500)), ("503", fail(503)), ("reset", reset())] {
        let (a, b) = (Provider::start(script), Provider::start(chat("b")));
        let gateway = Gateway::start(&config(&a, &b, SHARP));
        assert_eq!(target(&gateway, "a", "one"), 0.0);
        served(&gateway, 12, "b");
        assert_eq!((a.count(), b.count()), (2, 12), "{what}");
        assert_eq!(target(&gateway, "a", "one"), 2.0, "{what}");
        assert_eq!(target(&gateway, "b", "two"), 0.0, "{what}");
        let shown = states(&gateway, "targets", "model");
        assert!(
            shown.contains(&("one".to_owned(), "open".to_owned()))
                && shown.contains(&("two".to_owned(), "closed".to_owned())),
            "{shown:?}"
        );
        eventually("a line in the operator's log", || {
            gateway
                .stderr()
                .contains("target is left alone")
                .then_some(())
        });
        // Streams stay away as well.
        b.become_script(stream(vec![delta("b"), finish()]));
        assert_eq!(gateway.stream("m").events()[0], delta("b"));
        assert_eq!(a.count(), 2, "{what}");
    }
}

#[test]
fn streams_that_do_not_begin_open_it() {
    let empty: Script = Arc::new(|_, wire| {
        wire.stream_head()?;
        wire.done = true;
        wire.end()
    });
    let error: Script = Arc::new(|_, wire| {
        wire.stream_head()?;
        wire.event(&error_body("not now", "server_error", "odd"))?;
        wire.end()
    });
    for (what, script) in [("empty", empty), ("error", error), ("silence", silence())] {
        let b = Provider::start(stream(vec![delta("b"), finish()]));
        let a = Provider::start(script);
        let patience = format!("{SHARP}\ntimeouts = {{ first_byte = \"200ms\" }}");
        let gateway = Gateway::start(&config(&a, &b, &patience));
        for _ in 0..6 {
            assert_eq!(gateway.stream("m").events()[0], delta("b"), "{what}");
        }
        assert_eq!((a.count(), b.count()), (2, 6), "{what}");
        assert_eq!(target(&gateway, "a", "one"), 2.0, "{what}");
    }
}

#[test]
fn a_share_of_failures_opens_it() {
    let good = Arc::new(AtomicBool::new(false));
    let turn = Arc::clone(&good);
    let a = Provider::start(Arc::new(move |request, wire| {
        match turn.fetch_xor(true, Ordering::SeqCst) {
            false => chat("a")(request, wire),
            true => fail(500)(request, wire),
        }
    }));
    let b = Provider::start(chat("b"));
    let half = "breaker = { consecutive_failures = 1000, error_rate = 0.5, open = \"1h\", open_max = \"1h\" }";
    let gateway = Gateway::start(&config(&a, &b, half));
    for i in 0..30 {
        let text = if i < 20 && i % 2 == 0 { "a" } else { "b" };
        assert_eq!(gateway.chat("m").content(), text, "{i}");
    }
    // The rate is looked at with a failure, from the twentieth outcome on.
    assert_eq!(a.count(), 20);
    assert_eq!(target(&gateway, "a", "one"), 2.0);
}

#[test]
fn what_clients_do_wrong_never_opens_it() {
    let a = Provider::start(silence());
    let b = Provider::start(chat("b"));
    let sharpest = "breaker = { consecutive_failures = 1, error_rate = 0.01, open = \"1h\", open_max = \"1h\" }";
    let gateway = Gateway::start(&config(&a, &b, sharpest));
    let coded = |code| status(400, &[], &error_body("no", "invalid_request_error", code));
    let scripts = [
        ("400", coded("odd")),
        ("413", fail(413)),
        ("422", fail(422)),
        ("409", fail(409)),
        ("length", coded("context_length_exceeded")),
        ("content", coded("content_filter")),
    ];
    let mut asked = 0;
    for (what, script) in scripts {
        a.become_script(script);
        for _ in 0..5 {
            assert!(gateway.chat("alone").status >= 400);
            assert!(gateway.call(&stream_request("alone")).status >= 400);
        }
        asked += 10;
        assert_eq!(a.count(), asked, "{what}");
        assert_eq!(target(&gateway, "a", "one"), 0.0, "{what}");
        assert_eq!(endpoint(&gateway, &a), 0.0, "{what}");
    }
    // Nor do clients that leave.
    a.become_script(silence());
    for _ in 0..5 {
        let mut client = gateway.connect();
        client.send(&chat_request("alone").bytes()).unwrap();
        asked += 1;
        eventually("the request arrived", || (a.count() == asked).then_some(()));
    }
    eventually("all have left", || {
        (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(())
    });
    a.become_script(chat("a"));
    served(&gateway, 3, "a");
}

/// Sends requests until one of them is at `a`, which hangs: the probe. The others are answered by `b` meanwhile.
fn probe(gateway: &Gateway, a: &Provider) -> Client {
    let before = a.count();
    eventually("a request tries the open target", || {
        let mut client = gateway.connect();
        client.send(&chat_request("m").bytes()).unwrap();
        let is_probe = eventually("the request is somewhere", || {
            if a.count() > before {
                return Some(true);
            }
            (!client.is_quiet(Duration::from_millis(1))).then_some(false)
        });
        if is_probe {
            return Some(client);
        }
        assert_eq!(client.response().unwrap().content(), "b");
        None
    })
}

#[test]
fn one_request_at_a_time_tries_whether_it_is_back() {
    let (a, b) = (Provider::start(fail(500)), Provider::start(chat("b")));
    let gateway = Gateway::start(&config(&a, &b, BRIEF));
    served(&gateway, 2, "b");
    let gate = Gate::default();
    a.become_script(behind(&gate, chat("a")));
    a.forget();
    let mut first = probe(&gateway, &a);
    // While it hangs, the others are served at once, and the target is left alone.
    served(&gateway, 20, "b");
    assert_eq!(a.count(), 1);
    assert_eq!(target(&gateway, "a", "one"), 1.0);
    // A probe that ends without a verdict gives its place to another.
    drop(first);
    eventually("the probe's client has left", || {
        (a.closed() == a.opened())
            .then_some(())
            .or_else(|| (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(()))
    });
    first = probe(&gateway, &a);
    served(&gateway, 5, "b");
    assert_eq!(a.count(), 2);
    // The first good one closes it.
    gate.open();
    assert_eq!(first.response().unwrap().content(), "a");
    served(&gateway, 10, "a");
    assert_eq!(target(&gateway, "a", "one"), 0.0);
    eventually("a line in the operator's log", || {
        gateway
            .stderr()
            .contains("target is in use again")
            .then_some(())
    });
}

#[test]
fn a_failed_try_keeps_it_shut() {
    let (a, b) = (Provider::start(fail(500)), Provider::start(chat("b")));
    let gateway = Gateway::start(&config(&a, &b, BRIEF));
    served(&gateway, 2, "b");
    let gate = Gate::default();
    a.become_script(behind(&gate, fail(500)));
    a.forget();
    let mut first = probe(&gateway, &a);
    // From the next opening on it is longer, so that no look at a clock is needed.
    gateway.reload(&config(&a, &b, SHARP), "ok");
    served(&gateway, 3, "b");
    gate.open();
    assert_eq!(first.response().unwrap().content(), "b");
    a.become_script(chat("a"));
    served(&gateway, 20, "b");
    assert_eq!(a.count(), 1);
    assert_eq!(target(&gateway, "a", "one"), 2.0);
}

#[test]
fn a_target_comes_back_by_itself() {
    for streamed in [false, true] {
        let (a, b) = (Provider::start(fail(500)), Provider::start(silence()));
        let say = |text: &str| match streamed {
            true => stream(vec![delta(text), finish()]),
            false => chat(text),
        };
        b.become_script(say("saved by b"));
        let gateway = Gateway::start(&config(&a, &b, BRIEF));
        let asked = match streamed {
            true => stream_request("m"),
            false => chat_request("m"),
        };
        for _ in 0..5 {
            assert!(gateway.call(&asked).text().contains("saved by b"));
        }
        a.become_script(say("back again"));
        eventually("the target is back", || {
            let answer = gateway.call(&asked);
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.text().contains("back again").then_some(())
        });
        for _ in 0..10 {
            assert!(gateway.call(&asked).text().contains("back again"));
        }
    }
}

#[test]
fn one_address_of_two_is_taken_out() {
    for (what, script) in [("500", Some(fail(500))), ("refused", None)] {
        let bad = match script {
            Some(script) => Provider::start(script),
            None => Provider::refusing(),
        };
        let good = Provider::start(chat("good"));
        let config = format!(
            "[providers.main]\ndialect = \"openai\"\nbase_urls = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]\n{SHARP}\n\
             [models.m]\ntargets = [\"main/one\"]\nretries = 1\n{}",
            bad.base_url(),
            good.base_url(),
            own_key()
        );
        let gateway = Gateway::start(&config);
        served(&gateway, 20, "good");
        if what == "500" {
            assert_eq!(bad.count(), 2);
        }
        assert_eq!(good.count(), 20);
        assert_eq!(endpoint(&gateway, &bad), 2.0, "{what}");
        assert_eq!(endpoint(&gateway, &good), 0.0, "{what}");
        assert_eq!(target(&gateway, "main", "one"), 0.0, "{what}");
        let shown = states(&gateway, "endpoints", "endpoint");
        for (provider, state) in [(&bad, "open"), (&good, "closed")] {
            let entry = (provider.base_url(), state.to_owned());
            assert!(shown.contains(&entry), "{what}: {shown:?}");
        }
    }
}

#[test]
fn a_target_with_one_address_has_two_breakers_and_comes_back_all_the_same() {
    // Refused connections count for both; after that, both have to let a request through.
    let (a, b) = (Provider::start(fail(500)), Provider::start(chat("b")));
    let gateway = Gateway::start(&config(&a, &b, BRIEF));
    served(&gateway, 4, "b");
    assert!(target(&gateway, "a", "one") > 0.0);
    assert!(endpoint(&gateway, &a) > 0.0);
    a.become_script(chat("a"));
    eventually("it is back", || {
        (gateway.chat("m").content() == "a").then_some(())
    });
    served(&gateway, 5, "a");
    assert_eq!(endpoint(&gateway, &a), 0.0);
}

#[test]
fn a_reload_forgets_nothing_of_it() {
    let (a, b) = (Provider::start(fail(500)), Provider::start(chat("b")));
    let gateway = Gateway::start(&config(&a, &b, SHARP));
    served(&gateway, 3, "b");
    a.become_script(chat("a"));
    let milder = "breaker = { consecutive_failures = 50, error_rate = 1.0, open = \"100ms\", open_max = \"100ms\" }";
    for rest in [
        SHARP.to_owned(),
        milder.to_owned(),
        // These make another pool of connections.
        format!("{SHARP}\ntimeouts = {{ connect = \"3s\", first_byte = \"50s\" }}"),
        format!("{SHARP}\nbalance = \"least_latency\""),
    ] {
        gateway.reload(&config(&a, &b, &rest), "ok");
        served(&gateway, 5, "b");
        assert_eq!(a.count(), 2, "{rest}");
        assert_eq!(target(&gateway, "a", "one"), 2.0, "{rest}");
        eventually("its address, once it is looked up, is as known", || {
            (endpoint(&gateway, &a) == 2.0).then_some(())
        });
    }
    // But what is gone is gone.
    let only_b = [
        provider("b", &b),
        "[models.m]\ntargets = [\"b/two\"]\n".to_owned(),
        own_key(),
    ];
    gateway.reload(&only_b.concat(), "ok");
    assert!(
        !gateway.metrics().contains("provider=\"a\",model") && target(&gateway, "a", "one") == 0.0
    );
    gateway.reload(&config(&a, &b, SHARP), "ok");
    served(&gateway, 3, "a");
}

#[test]
fn the_last_one_left_is_asked_whatever_its_breaker_says() {
    let (a, b) = (Provider::start(fail(500)), Provider::start(fail(500)));
    let gateway = Gateway::start(&config(&a, &b, SHARP));
    for i in 1..=10 {
        assert_eq!(gateway.chat("alone").status, 502);
        assert_eq!(a.count(), i, "not asked blindly");
    }
    assert_eq!(target(&gateway, "a", "one"), 2.0);
    // It is asked once, not again, and in each client's format.
    let mut asked = 10;
    for face in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        for streamed in [false, true] {
            let body = request(face, streamed).bytes();
            let body = String::from_utf8(body).unwrap();
            let json = body.split_once("\r\n\r\n").unwrap().1;
            let json = json.replace("\"model\":\"m\"", "\"model\":\"alone\"");
            let asking = Request::post(face).key(crate::gateway::KEY).json(json);
            assert_eq!(gateway.call(&asking).status, 502);
            asked += 1;
            assert_eq!(a.count(), asked);
        }
    }
    // Whoever is known to be down is not asked again.
    assert_eq!(gateway.chat("eager").status, 502);
    assert_eq!(a.count(), asked + 1);
    // The first good answer is passed on, and closes it.
    a.become_script(chat("a"));
    assert_eq!(gateway.chat("alone").content(), "a");
    assert_eq!(target(&gateway, "a", "one"), 0.0);
    assert_eq!(endpoint(&gateway, &a), 0.0);
}

#[test]
fn where_all_are_left_alone_the_first_is_asked() {
    let (a, b) = (Provider::start(fail(500)), Provider::start(fail(500)));
    let both = config(&a, &b, SHARP).replace("[providers.b]", &format!("[providers.b]\n{SHARP}"));
    let gateway = Gateway::start(&both);
    for _ in 0..2 {
        assert_eq!(gateway.chat("m").status, 502);
    }
    assert_eq!((a.count(), b.count()), (2, 2));
    for _ in 0..3 {
        assert_eq!(gateway.chat("m").status, 502);
    }
    assert_eq!((a.count(), b.count()), (5, 2));
    a.become_script(chat("a"));
    served(&gateway, 3, "a");
}

#[test]
fn an_outage_is_hardly_felt_by_whoever_is_down() {
    let (a, b) = (Provider::start(chat("any")), Provider::start(chat("any")));
    let gateway = Gateway::start(&config(&a, &b, SHARP));
    const CLIENTS: usize = 4;
    let load = Load::start(gateway.address, CLIENTS, &chat_request("m"), |answer| {
        answer.content() == "any"
    });
    load.pass(50);
    a.become_script(fail(500));
    let before = a.count();
    load.pass(400);
    // One request of each client may have been under way when the breaker opened, and one when the outage began.
    let during = a.count() - before;
    assert!(during <= 2 + 2 * CLIENTS, "asked {during} times");
    assert!(load.finish() >= 450);
    assert_eq!(target(&gateway, "a", "one"), 2.0);
}

#[test]
fn after_an_outage_under_load_it_is_in_use_again() {
    let (a, b) = (Provider::start(chat("any")), Provider::start(chat("any")));
    let gateway = Gateway::start(&config(&a, &b, BRIEF));
    let load = Load::start(gateway.address, 4, &chat_request("m"), |answer| {
        answer.content() == "any"
    });
    for script in [fail(500), reset(), status(503, &[], "<html>")] {
        load.pass(50);
        a.become_script(script);
        let before = b.count();
        eventually("the second one has taken over", || {
            (b.count() >= before + 100).then_some(())
        });
        a.become_script(chat("any"));
        let before = a.count();
        eventually("the first one is back", || {
            (a.count() >= before + 50).then_some(())
        });
        eventually("its breaker is closed", || {
            (target(&gateway, "a", "one") == 0.0).then_some(())
        });
    }
    load.finish();
}

#[test]
fn a_model_that_a_client_invents_opens_nothing() {
    let a = Provider::start(silence());
    let sharpest = "breaker = { consecutive_failures = 1, error_rate = 0.01, open = \"1h\", open_max = \"1h\" }";
    let config = [
        provider_with("a", &a, sharpest),
        "[models.\"w/*\"]\ntargets = [\"a/*\"]\nretries = 0\n".to_owned(),
        "[models.exact]\ntargets = [\"a/wrong\"]\nfallbacks = [\"a/right\"]\nretries = 0\n"
            .to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    a.become_script(Arc::new(|request, wire| match request.model().as_str() {
        "right" => chat("right")(request, wire),
        _ => fail(404)(request, wire),
    }));
    for _ in 0..3 {
        for model in ["w/made-up", "w/other"] {
            let answer = gateway.chat(model);
            assert_eq!(answer.status, 404, "{}", answer.text());
            assert_eq!(answer.error("code"), "model_not_found");
        }
    }
    assert_eq!(a.count(), 6);
    assert_eq!(gateway.metric("tollgate_target_breaker", &[]), 0.0);
    let alarms = || gateway.metric("tollgate_provider_alarms_total", &[("provider", "a")]);
    assert_eq!(alarms(), 0.0);
    // Of what the operator wrote down it is the operator's fault.
    assert_eq!(gateway.chat("exact").content(), "right");
    assert_eq!(gateway.chat("exact").content(), "right");
    assert_eq!(alarms(), 1.0);
    assert_eq!(target(&gateway, "a", "wrong"), 2.0);
    assert_eq!(target(&gateway, "a", "right"), 0.0);
    assert_eq!(a.count(), 6 + 3);
    assert_eq!(endpoint(&gateway, &a), 0.0, "it answered each time");
    let wild = Request::post("/v1/chat/completions")
        .key(crate::gateway::KEY)
        .json(chat_body("w/right"));
    assert_eq!(gateway.call(&wild).content(), "right");
}

#[test]
fn streams_that_always_break_off_open_it_though_each_has_begun_well() {
    let breaks = cut(vec![delta("half")], Cut::Reset);
    let (a, b) = (
        Provider::start(breaks),
        Provider::start(stream(vec![delta("b")])),
    );
    let config = [
        provider_with("a", &a, SHARP),
        provider("b", &b),
        "[models.m]\ntargets = [\"a/one\", \"b/two\"]\non_break = \"error\"\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    for _ in 0..2 {
        assert!(
            gateway
                .stream("m")
                .events()
                .last()
                .unwrap()
                .contains("error")
        );
    }
    // The verdict falls when the request is settled, after the client has all of it.
    eventually("it is left alone", || {
        (target(&gateway, "a", "one") == 2.0).then_some(())
    });
    assert_eq!(gateway.stream("m").events()[0], delta("b"));
    assert_eq!(a.count(), 2);
}
