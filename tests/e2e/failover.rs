//! When a provider fails, the next one answers, and the client is none the wiser.

use std::sync::Arc;

use crate::gateway::{
    Gateway, chat_request, model, own_key, provider, provider_with, stream_request,
};
use crate::load::Load;
use crate::provider::{
    Cut, Provider, Script, chat, cut, delta, fail, hang_up, plain, reset, silence, status, stream,
};
use crate::wait::eventually;

/// A breaker that does not get into the way of what else is looked at.
const STURDY: &str = "breaker = { consecutive_failures = 1000, error_rate = 1.0 }";

/// `m` on a first and then a second provider, the first with a short patience.
fn pair(first: &Provider, second: &Provider) -> String {
    [
        provider_with(
            "first",
            first,
            &format!("timeouts = {{ connect = \"5s\", first_byte = \"700ms\" }}\n{STURDY}"),
        ),
        provider("second", second),
        "[models.m]\ntargets = [\"first/one\", \"second/two\"]\nretries = 0\n".to_owned(),
        own_key(),
    ]
    .concat()
}

/// Every way to fail after which another provider may be asked.
fn failures() -> Vec<(&'static str, Script)> {
    let garbage: Script = Arc::new(|_, wire| {
        wire.done = true;
        wire.raw(b"220 mail.test ESMTP\r\n\r\n")
    });
    let half_a_head: Script = Arc::new(|_, wire| {
        wire.done = true;
        wire.raw(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
    });
    let half_a_body: Script = Arc::new(|_, wire| {
        wire.done = true;
        wire.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":")
    });
    vec![
        ("reset", reset()),
        ("hang-up", hang_up()),
        ("silence", silence()),
        ("no HTTP", garbage),
        ("half a head", half_a_head),
        ("half a body", half_a_body),
        ("429", status(429, &[], "{}")),
        ("500", fail(500)),
        ("502 with HTML", status(502, &[], "<html>")),
        ("503", fail(503)),
        ("504", fail(504)),
        ("529", fail(529)),
        ("HTML with 200", plain("text/html", b"<html>")),
    ]
}

#[test]
fn the_next_target_answers_for_one_that_fails() {
    let (first, second) = (Provider::start(fail(500)), Provider::start(chat("saved")));
    let gateway = Gateway::start(&pair(&first, &second));
    for (what, script) in failures() {
        first.become_script(script);
        let answer = gateway.chat("m");
        assert_eq!(
            (answer.status, answer.content().as_str()),
            (200, "saved"),
            "{what}"
        );
        assert_eq!(
            answer.header("x-tollgate-provider"),
            Some("second"),
            "{what}"
        );
        assert_eq!(answer.header("x-tollgate-model"), Some("two"), "{what}");
        assert_eq!(answer.header("x-tollgate-attempts"), Some("2"), "{what}");
        assert_eq!(first.take_one().model(), "one", "{what}");
        assert_eq!(second.take_one().model(), "two", "{what}");
    }
}

#[test]
fn the_next_target_answers_for_one_that_refuses_the_connection() {
    let (first, second) = (Provider::refusing(), Provider::start(chat("saved")));
    let gateway = Gateway::start(&pair(&first, &second));
    for _ in 0..3 {
        assert_eq!(gateway.chat("m").content(), "saved");
    }
    assert_eq!(second.count(), 3);
    // The attempt that served is counted when its request is settled, after the answer has left.
    eventually("three attempts at the second are counted", || {
        let attempts = gateway.metric("tollgate_attempts_total", &[("provider", "second")]);
        (attempts == 3.0).then_some(())
    });
    assert!(gateway.metric("tollgate_attempts_total", &[("provider", "first")]) >= 1.0);
}

#[test]
fn a_stream_that_fails_before_its_first_event_is_served_by_the_next_target() {
    let (first, second) = (
        Provider::start(fail(500)),
        Provider::start(stream(vec![delta("saved")])),
    );
    let gateway = Gateway::start(&pair(&first, &second));
    let head_then_silence: Script = Arc::new(|request, wire| {
        wire.stream_head()?;
        silence()(request, wire)
    });
    for (what, script) in [
        ("reset", reset()),
        ("503", fail(503)),
        ("a head and then a cut", cut(Vec::new(), Cut::Close)),
        ("a head and then a reset", cut(Vec::new(), Cut::Reset)),
        ("a head and then silence", head_then_silence),
    ] {
        first.become_script(script);
        let mut events = gateway.connect().stream(&stream_request("m")).unwrap();
        assert_eq!(events.head.status, 200, "{what}");
        assert_eq!(
            events.events(),
            [delta("saved"), "[DONE]".to_owned()],
            "{what}"
        );
    }
}

#[test]
fn what_has_begun_is_never_begun_again_elsewhere() {
    let (first, second) = (
        Provider::start(cut(vec![delta("half")], Cut::Close)),
        Provider::start(stream(vec![])),
    );
    // Unless the route lets another model go on with it: that is the theme of `broken_streams`.
    let config = pair(&first, &second).replace("[models.m]", "[models.m]\non_break = \"error\"");
    let gateway = Gateway::start(&config);
    let events = gateway.stream("m").events();
    assert_eq!(events[0], delta("half"));
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[test]
fn a_request_that_is_wrong_is_not_tried_elsewhere() {
    for code in [400, 413, 422] {
        let (first, second) = (Provider::start(fail(code)), Provider::start(chat("ok")));
        let gateway = Gateway::start(&pair(&first, &second));
        let answer = gateway.chat("m");
        assert!(
            (400..500).contains(&answer.status),
            "{code}: {}",
            answer.text()
        );
        assert_eq!(second.count(), 0, "{code} was tried elsewhere");
    }
}

#[test]
fn fallbacks_come_after_the_targets_and_the_last_failure_is_told() {
    let scripted: Vec<Provider> = (0..3).map(|_| Provider::start(fail(500))).collect();
    let config = [
        provider("a", &scripted[0]),
        provider("b", &scripted[1]),
        provider("c", &scripted[2]),
        "[models.m]\ntargets = [\"a/m\", \"b/m\"]\nfallbacks = [\"c/m\"]\nretries = 0\n".to_owned(),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    let answer = gateway.chat("m");
    assert_eq!(
        (answer.status, answer.error("type").as_str()),
        (502, "api_error")
    );
    for provider in &scripted {
        assert_eq!(provider.take_one().model(), "m");
    }
    scripted[2].become_script(chat("fallback"));
    let answer = gateway.chat("m");
    assert_eq!(
        (
            answer.content().as_str(),
            answer.header("x-tollgate-attempts")
        ),
        ("fallback", Some("3"))
    );
    for provider in &scripted {
        provider.kill();
    }
    let answer = gateway.chat("m");
    assert!([502, 503].contains(&answer.status), "{}", answer.text());
}

#[test]
fn weighted_targets_share_the_work() {
    let (heavy, light) = (
        Provider::start(chat("heavy")),
        Provider::start(chat("light")),
    );
    let targets = "[models.m]\nstrategy = \"weighted\"\ntargets = [{ target = \"heavy/x\", weight = 3 }, \"light/x\"]\n";
    let config = [
        provider("heavy", &heavy),
        provider("light", &light),
        targets.to_owned(),
        own_key(),
    ]
    .concat();
    let gateway = Gateway::start(&config);
    let mut client = gateway.connect();
    for _ in 0..400 {
        assert_eq!(client.call(&chat_request("m")).unwrap().status, 200);
    }
    // 300 expected; a fair draw leaves these bounds once in more than a million runs (over 5 standard deviations).
    assert!(
        (250..=350).contains(&heavy.count()),
        "{} of 400 went to the target of weight 3",
        heavy.count()
    );
    assert_eq!(heavy.count() + light.count(), 400);
    light.kill();
    for _ in 0..40 {
        assert_eq!(client.call(&chat_request("m")).unwrap().content(), "heavy");
    }
}

#[test]
fn a_provider_survives_the_death_of_one_of_its_addresses() {
    let (one, two) = (Provider::start(chat("one")), Provider::start(chat("two")));
    let urls = format!(
        "base_urls = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]",
        one.base_url(),
        two.base_url()
    );
    let config = format!("[providers.main]\ndialect = \"openai\"\n{urls}\n");
    let gateway = Gateway::start(&[config, model("m", &["main/x"]), own_key()].concat());
    let load = Load::start(gateway.address, 4, &chat_request("m"), |answer| {
        answer.status == 200
    });
    load.pass(200);
    one.kill();
    load.pass(200);
    load.finish();
    assert!(one.count() > 0 && two.count() > 0);
}

#[test]
fn health_checks_take_a_dead_address_out_and_put_it_back() {
    let sick = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&sick);
    let scripted = Provider::start(Arc::new(move |request, wire| {
        let code = if seen.load(std::sync::atomic::Ordering::SeqCst) {
            503
        } else {
            200
        };
        wire.answer(
            code,
            &["content-type: application/json"],
            crate::provider::completion(&request.path(), "ok").as_bytes(),
        )
    }));
    let check = "health_check = { kind = \"http\", path = \"/models\", interval = \"100ms\", timeout = \"5s\", healthy_after = 1, unhealthy_after = 2 }";
    let config = [
        provider_with("main", &scripted, check),
        model("m", &["main/x"]),
        own_key(),
    ]
    .concat();
    let gateway = Gateway::start(&config);
    let healthy = || gateway.metric("tollgate_endpoint_healthy", &[("provider", "main")]);
    for (state, expected) in [(false, 1.0), (true, 0.0), (false, 1.0)] {
        sick.store(state, std::sync::atomic::Ordering::SeqCst);
        eventually(&format!("health {expected}"), || {
            (healthy() == expected).then_some(())
        });
    }
    assert!(
        scripted
            .requests()
            .iter()
            .any(|request| request.method() == "GET" && request.path() == "/v1/models")
    );
}

#[test]
fn killing_a_provider_under_load_loses_no_request() {
    let (first, second) = (
        Provider::start(chat("first")),
        Provider::start(chat("second")),
    );
    let gateway = Gateway::start(&pair(&first, &second));
    let load = Load::start(gateway.address, 6, &chat_request("m"), |answer| {
        answer.status == 200
    });
    load.pass(300);
    first.kill();
    load.pass(300);
    let done = load.finish();
    assert!(first.count() > 0 && second.count() > 0);
    println!("{done} requests around a provider's death, none lost");
}

#[test]
fn a_name_that_does_not_resolve_is_a_failure_like_any_other() {
    let second = Provider::start(chat("saved"));
    let first =
        "[providers.first]\ndialect = \"openai\"\nbase_url = \"http://no-such-host.invalid/v1\"\n"
            .to_owned();
    let config = [
        first,
        provider("second", &second),
        model("m", &["first/a", "second/b"]),
        own_key(),
    ];
    let gateway = Gateway::start(&config.concat());
    assert_eq!(gateway.chat("m").content(), "saved");
}
