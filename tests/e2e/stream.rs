//! Streams: relayed event by event and byte for byte, honest when they break, and never faster than the reader.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{
    Gateway, chat_request, model, own_key, provider_with, simple, stream_request,
};
use crate::provider::{
    Cut, Provider, Script, cut, delta, error_body, finish, silence, status, stream,
};
use crate::wait::{DEADLINE, eventually, settled};

/// A stream whose every event waits for the test to open the gate; it ends with `[DONE]`.
fn gated(events: usize) -> (Sender<()>, Script) {
    let (open, gate) = channel();
    let gate = Mutex::new(gate);
    let script: Script = Arc::new(move |_, wire| {
        wire.stream_head()?;
        for number in 0..events {
            pass(&gate);
            wire.event(&delta(&format!("event {number}")))?;
        }
        pass(&gate);
        wire.event("[DONE]")?;
        wire.end()
    });
    (open, script)
}

fn pass(gate: &Mutex<Receiver<()>>) {
    // A closed gate means that the test has ended; the script goes on and finds its connection closed.
    let _ = gate.lock().unwrap().recv();
}

#[test]
fn each_event_arrives_before_the_next_one_is_sent() {
    let (open, script) = gated(5);
    let provider = Provider::start(script);
    let gateway = Gateway::start(&simple(&provider));
    // Before the first event the gateway has not committed itself to this provider, so there may be no head yet.
    open.send(()).unwrap();
    let mut events = gateway.stream("m");
    assert_eq!(events.head.status, 200);
    assert_eq!(
        events.head.header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(events.head.header("content-length"), None);
    for number in 0..5 {
        assert_eq!(events.event(), Some(delta(&format!("event {number}"))));
        open.send(()).unwrap();
    }
    assert_eq!(events.event().as_deref(), Some("[DONE]"));
    assert_eq!(events.event(), None);
    assert_eq!(events.complete, Some(true));
}

/// Everything that is allowed in an event stream and that a re-encoding would change.
const ODD: &str = ": a comment\n\ndata:{\"choices\":[]}\n\nevent: x\r\ndata: {\"a\": 1.50,\r\ndata:  \"b\":2}\r\n\r\n\
                   id: 7\ndata: {\"text\":\"grüße 🦀 \\ud83e\"}\nretry: 5\n\ndata\n\ndata: [DONE]\n\n";

#[test]
fn a_stream_is_passed_through_byte_for_byte_however_it_is_cut_into_pieces() {
    for size in [1, 7, ODD.len()] {
        let provider = Provider::start(Arc::new(move |_, wire| {
            wire.stream_head()?;
            for piece in ODD.as_bytes().chunks(size) {
                wire.chunk(piece)?;
            }
            wire.end()
        }));
        let gateway = Gateway::start(&simple(&provider));
        let mut events = gateway.stream("m");
        while events.event().is_some() {}
        assert_eq!(
            String::from_utf8_lossy(&events.raw),
            ODD,
            "in pieces of {size} bytes"
        );
        assert_eq!(events.complete, Some(true));
    }
}

#[test]
fn a_stream_that_breaks_ends_with_an_error_event_and_without_done() {
    for how in [Cut::Close, Cut::Reset] {
        // The gate makes sure that the client has the first event before the provider breaks off: a reset may
        // overtake what was sent before it.
        let (open, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let provider = Provider::start(Arc::new(move |_, wire| {
            wire.stream_head()?;
            wire.event(&delta("half an"))?;
            pass(&gate);
            wire.cut(how)
        }));
        let gateway = Gateway::start(&simple(&provider));
        let mut events = gateway.stream("m");
        assert_eq!(events.event(), Some(delta("half an")));
        open.send(()).unwrap();
        let rest = events.events();
        assert_eq!(rest.len(), 1, "{how:?}: {rest:?}");
        let error: Value = serde_json::from_str(&rest[0]).expect("the error event is JSON");
        let mut members: Vec<&String> = error["error"]
            .as_object()
            .expect("an error object")
            .keys()
            .collect();
        members.sort();
        assert_eq!(members, ["code", "message", "param", "type"], "{how:?}");
        assert_eq!(
            events.complete,
            Some(true),
            "{how:?}: the client's connection broke too"
        );
        let line =
            gateway.access_line(events.head.header("x-request-id").expect("no x-request-id"));
        assert!(!line.to_string().contains("half an"));
    }
}

#[test]
fn an_end_without_done_is_not_made_to_look_like_success() {
    let provider = Provider::start(cut(vec![delta("half an")], Cut::LastChunk));
    let gateway = Gateway::start(&simple(&provider));
    let events = gateway.stream("m").events();
    assert_eq!(events[0], delta("half an"));
    assert!(!events.iter().any(|event| event == "[DONE]"), "{events:?}");
}

#[test]
fn a_provider_that_falls_silent_in_mid_stream_is_given_up() {
    let scripted = Provider::start(Arc::new(|request, wire| {
        wire.stream_head()?;
        wire.event(&delta("and then"))?;
        silence()(request, wire)
    }));
    let main = provider_with("main", &scripted, "timeouts = { idle = \"500ms\" }");
    let gateway = Gateway::start(&[main, model("m", &["main/up"]), own_key()].concat());
    let mut events = gateway.stream("m");
    let seen = events.events();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[1].contains("\"error\""), "{seen:?}");
    eventually("the silent provider is left", || {
        (scripted.closed() == 1).then_some(())
    });
}

#[test]
fn a_stream_may_outlive_the_deadline_of_its_request() {
    let provider = Provider::start(Arc::new(|_, wire| {
        wire.stream_head()?;
        for text in ["soon", "later", "late"] {
            wire.event(&delta(text))?;
            // A slow provider, not a wait for something: the three pauses together pass the deadline of one second.
            let (_closed, slow) = channel::<()>();
            let _ = slow.recv_timeout(Duration::from_millis(700));
        }
        wire.event(&finish())?;
        wire.event("[DONE]")?;
        wire.end()
    }));
    let gateway = Gateway::start(&format!("[times]\nrequest = \"1s\"\n{}", simple(&provider)));
    let mut events = gateway.stream("m");
    assert_eq!(events.events().last().map(String::as_str), Some("[DONE]"));
}

#[test]
fn a_refusal_of_a_streaming_request_is_an_ordinary_error() {
    let provider = Provider::start(status(
        400,
        &[],
        &error_body("no", "invalid_request_error", "nope"),
    ));
    let gateway = Gateway::start(&simple(&provider));
    let answer = gateway.call(&stream_request("m"));
    assert_eq!(
        (answer.status, answer.error("code").as_str()),
        (400, "nope")
    );
}

#[test]
fn a_client_that_leaves_cancels_the_provider() {
    let (left, sightings) = channel();
    let left = Mutex::new(left);
    let provider = Provider::start(Arc::new(move |_, wire| {
        wire.stream_head()?;
        wire.event(&delta("first"))?;
        wire.done = true;
        let seen = wire.peer_left().then(Instant::now);
        let _ = left.lock().unwrap().send(seen);
        Ok(())
    }));
    let gateway = Gateway::start(&simple(&provider));
    let mut delays = Vec::new();
    for _ in 0..9 {
        let mut events = gateway.stream("m");
        assert_eq!(events.event(), Some(delta("first")));
        let leaving = Instant::now();
        drop(events);
        let seen = sightings
            .recv_timeout(DEADLINE)
            .expect("nothing seen")
            .expect("the provider was not left");
        delays.push(seen.saturating_duration_since(leaving));
    }
    delays.sort();
    println!("cancelled after {delays:?}; the aim is 100 ms");
    // The median, and ten times the aim: a loaded machine may stop any of the three processes for a while.
    assert!(
        delays[4] < Duration::from_secs(1),
        "cancelled after {delays:?}"
    );
    eventually("nothing is in flight", || {
        (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(())
    });
}

#[test]
fn a_client_that_leaves_before_the_answer_cancels_the_provider() {
    let provider = Provider::start(silence());
    let gateway = Gateway::start(&simple(&provider));
    let mut client = gateway.connect();
    client.send(&chat_request("m").bytes()).unwrap();
    eventually("the request arrived", || {
        (provider.count() == 1).then_some(())
    });
    drop(client);
    eventually("the provider was left", || {
        (provider.closed() == 1).then_some(())
    });
    assert_eq!(
        provider.count(),
        1,
        "a request that nobody waits for was tried again"
    );
}

const EVENTS: usize = 4096;
const EVENT_BYTES: usize = 16 * 1024;

/// 64 MiB of events, as fast as the socket takes them.
fn flood() -> Script {
    stream(vec![delta(&"x".repeat(EVENT_BYTES)); EVENTS])
}

#[test]
fn a_slow_reader_slows_the_provider_and_costs_no_memory() {
    let provider = Provider::start(flood());
    let gateway = Gateway::start(&simple(&provider));
    let mut warm = gateway.stream("m");
    while warm.event().is_some() {}
    let (memory, written) = (gateway.resident_kib(), provider.written());
    let mut events = gateway.stream("m");
    // Half a second without a byte taken: all buffers on the way are full.
    let stalled = settled("the provider is slowed down", 120, || provider.written()) - written;
    let total = (EVENTS * EVENT_BYTES) as u64;
    // The kernel's socket buffers on both sides of the gateway may hold several MiB each; the gateway 256 KiB.
    assert!(
        stalled < total / 2,
        "{stalled} of {total} bytes were taken from the provider for a reader that reads nothing"
    );
    let grown = gateway.resident_kib().saturating_sub(memory);
    assert!(grown < 8 * 1024, "one stalled stream took {grown} KiB");
    let seen = events.events();
    assert_eq!(seen.len(), EVENTS + 1);
    assert_eq!(seen.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(events.complete, Some(true));
}

#[test]
fn a_reader_that_takes_nothing_is_cut_and_the_provider_released() {
    let provider = Provider::start(flood());
    let gateway = Gateway::start(&format!(
        "[times]\nclient_stall = \"1s\"\n{}",
        simple(&provider)
    ));
    let events = gateway.stream("m");
    eventually("the provider is released", || {
        (provider.closed() == 1).then_some(())
    });
    eventually("nothing is in flight", || {
        (gateway.metric("tollgate_in_flight_requests", &[]) == 0.0).then_some(())
    });
    drop(events);
    assert!(provider.written() < (EVENTS * EVENT_BYTES) as u64);
}

#[test]
fn connections_are_kept_on_both_sides_after_a_stream() {
    let provider = Provider::start(stream(vec![delta("a")]));
    let gateway = Gateway::start(&simple(&provider));
    let mut client = gateway.connect();
    for _ in 0..5 {
        let mut events = client.stream(&stream_request("m")).unwrap();
        assert_eq!(events.events().len(), 2);
        client = events.into_client();
    }
    // A slow machine may open another before the first is given back, but not for each stream.
    let opened = provider.opened();
    assert!(
        opened < 5,
        "{opened} connections to the provider for 5 streams"
    );
}
