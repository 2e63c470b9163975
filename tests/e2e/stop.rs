//! Stopping: what has begun is finished, nothing new is begun, and the exit is clean.

use std::sync::{Arc, Mutex, mpsc};

use crate::client::Client;
use crate::gateway::{Gateway, KEY, own_key, simple};
use crate::load::Load;
use crate::provider::{Provider, chat, delta};
use crate::wait::eventually;

#[test]
fn a_stream_in_flight_is_finished_while_new_connections_are_refused() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let provider = Provider::start(Arc::new(move |_, wire| {
        wire.stream_head()?;
        wire.event(&delta("before"))?;
        let _ = gate.lock().unwrap().recv();
        wire.event(&delta("after"))?;
        wire.event("[DONE]")?;
        wire.end()
    }));
    let mut gateway = Gateway::start(&format!(
        "[server]\ngrace_period = \"30s\"\n{}",
        simple(&provider)
    ));
    let mut events = gateway.stream("m");
    assert_eq!(events.event(), Some(delta("before")));
    gateway.signal("TERM");
    eventually("new connections are refused", || {
        Client::connect(gateway.address).is_err().then_some(())
    });
    open.send(()).unwrap();
    assert_eq!(events.events(), [delta("after"), "[DONE]".to_owned()]);
    assert_eq!(events.complete, Some(true));
    assert_eq!(gateway.wait().code(), Some(0));
    let id = events.head.header("x-request-id").expect("no x-request-id");
    assert!(
        gateway.stdout().contains(id),
        "the last request is missing from the access log"
    );
}

#[test]
fn an_idle_gateway_stops_at_once_whatever_the_grace_period() {
    let provider = Provider::start(chat("ok"));
    // The test's own deadline is a tenth of the grace period.
    let mut gateway = Gateway::start(&format!(
        "[server]\ngrace_period = \"10m\"\n{}",
        simple(&provider)
    ));
    let mut kept = gateway.connect();
    assert_eq!(
        kept.call(&crate::gateway::chat_request("m"))
            .unwrap()
            .status,
        200
    );
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_stream_that_never_ends_is_cut_when_the_grace_period_is_over() {
    let provider = Provider::start(Arc::new(|request, wire| {
        wire.stream_head()?;
        wire.event(&delta("for ever"))?;
        crate::provider::silence()(request, wire)
    }));
    let mut gateway = Gateway::start(&format!(
        "[server]\ngrace_period = \"1s\"\n{}",
        simple(&provider)
    ));
    let mut events = gateway.stream("m");
    assert_eq!(events.event(), Some(delta("for ever")));
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!events.events().iter().any(|event| event == "[DONE]"));
}

#[test]
fn stopping_under_load_answers_every_request_that_was_taken() {
    let provider = Provider::start(chat("ok"));
    let mut gateway = Gateway::start(&simple(&provider));
    let load = Load::start(
        gateway.address,
        4,
        &crate::gateway::chat_request("m"),
        |answer| answer.status == 200,
    );
    load.pass(100);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    // After the stop the clients fail, as they must; until then every request that reached the provider was answered.
    let answered = load.abandon();
    assert!(
        provider.count() <= answered,
        "{} requests at the provider, {answered} answered",
        provider.count()
    );
}

#[test]
fn a_gateway_that_cannot_start_says_why() {
    let directory = crate::gateway::directory();
    let file = directory.join("tollgate.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[[listen]]\naddress = \"{}\"\n{}",
        taken.local_addr().unwrap(),
        own_key()
    );
    std::fs::write(&file, config).unwrap();
    let ran = crate::gateway::run(&["run", "-c", &crate::tool::path(&file)]);
    assert_ne!(ran.code, Some(0));
    assert!(!ran.stderr.is_empty() && !ran.stderr.contains(KEY));
    let ran = crate::gateway::run(&["run", "-c", "/nonexistent/tollgate.toml"]);
    assert!(
        ran.code.is_some_and(|code| code != 0) && ran.stderr.contains("/nonexistent/tollgate.toml"),
        "{ran:?}"
    );
}
