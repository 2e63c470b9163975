//! The scripted provider and the client, tried on each other: a broken instrument must not look like a broken gateway.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::{Arc, mpsc};

use crate::client::{Client, Request};
use crate::gateway::{chat_request, stream_request};
use crate::provider::{Cut, Provider, chat, cut, delta, fail, in_turn, reset, silence, stream};
use crate::wait::eventually;

#[test]
fn many_requests_on_one_connection_are_recorded_exactly() {
    let provider = Provider::start(chat("hi"));
    let mut client = Client::connect(provider.address).unwrap();
    for size in [None, Some(3), Some(64)] {
        let mut request = Request::post("/v1/x")
            .header("X-Odd", "  a:b ")
            .json(r#"{"model":"m","n":[1,2]}"#);
        if let Some(size) = size {
            request = request.chunked(size);
        }
        assert_eq!(client.call(&request).unwrap().content(), "hi");
        let seen = provider.take_one();
        assert_eq!(seen.head, request.head_bytes());
        assert_eq!(seen.body, br#"{"model":"m","n":[1,2]}"#);
        assert_eq!(seen.connection, 0);
    }
    assert_eq!((provider.opened(), provider.closed()), (1, 0));
    drop(client);
    eventually("the provider sees that the client left", || {
        (provider.closed() == 1).then_some(())
    });
}

#[test]
fn scripts_run_in_turn_and_the_last_one_stays() {
    let provider = Provider::start(in_turn(vec![fail(500), reset(), chat("ok")]));
    let call = || {
        Client::connect(provider.address)
            .unwrap()
            .call(&chat_request("m"))
    };
    assert_eq!(call().unwrap().status, 500);
    assert_eq!(call().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(call().unwrap().status, 200);
    assert_eq!(call().unwrap().status, 200);
    provider.kill();
    assert_eq!(
        Client::connect(provider.address)
            .err()
            .map(|error| error.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
}

#[test]
fn streams_are_read_event_by_event_and_a_cut_is_seen() {
    let whole = Provider::start(stream(vec![delta("a"), delta("b")]));
    let mut events = Client::connect(whole.address)
        .unwrap()
        .stream(&stream_request("m"))
        .unwrap();
    assert_eq!(
        events.events(),
        [delta("a"), delta("b"), "[DONE]".to_owned()]
    );
    assert_eq!(events.complete, Some(true));
    for (how, complete) in [
        (Cut::Close, false),
        (Cut::Reset, false),
        (Cut::LastChunk, true),
    ] {
        let provider = Provider::start(cut(vec![delta("a")], how));
        let mut events = Client::connect(provider.address)
            .unwrap()
            .stream(&stream_request("m"))
            .unwrap();
        let seen = events.events();
        // A reset may overtake what was sent before it.
        assert!(
            seen == [delta("a")] || matches!(how, Cut::Reset),
            "{how:?}: {seen:?}"
        );
        assert_eq!(events.complete, Some(complete), "{how:?}");
    }
}

#[test]
fn a_script_can_wait_for_the_test_and_for_the_peer() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let provider = Provider::start(Arc::new(move |_, wire| {
        wire.stream_head()?;
        for text in ["1", "2"] {
            let _ = gate.lock().unwrap().recv();
            wire.event(text)?;
        }
        wire.end()
    }));
    let mut events = Client::connect(provider.address)
        .unwrap()
        .stream(&stream_request("m"))
        .unwrap();
    for text in ["1", "2"] {
        open.send(()).unwrap();
        assert_eq!(events.event().as_deref(), Some(text));
    }
    assert_eq!(events.event(), None);

    provider.become_script(silence());
    let mut client = Client::connect(provider.address).unwrap();
    client.send(&chat_request("m").bytes()).unwrap();
    eventually("the request arrived", || {
        (provider.count() == 2).then_some(())
    });
    let closed = provider.closed();
    drop(client);
    eventually("the silent provider sees the client leave", || {
        (provider.closed() > closed).then_some(())
    });
}
