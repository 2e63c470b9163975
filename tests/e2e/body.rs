//! Bodies reach the provider as they were sent, whatever their size and framing, with and without a failover.

use crate::client::{Request, Response};
use crate::gateway::{
    Gateway, KEY, chat_request, model, own_key, provider, provider_with, sha256, simple,
};
use crate::provider::{Provider, chat, completion, fail};
use crate::tool;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// 0 stands for the smallest body; around 64 KiB lies the size of many a buffer.
const SIZES: [usize; 6] = [0, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB, 31 * MIB];

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunked,
    /// HTTP/2 without a content-length, which only the end of the stream ends.
    Http2,
}

/// A body of exactly `size` bytes (or the smallest), with everything in it that a careless rewrite would change:
/// unknown members, odd numbers, white space, escapes that need none, text beyond ASCII.
fn body(model: &str, size: usize) -> Vec<u8> {
    let head = format!(
        "{{ \"x_vendor\" : [1.50e+01, -0, {{\"a\\/b\":\"\\u0041\\ud83d\\ude00\"}}],\t\"model\":\"{model}\" ,\r\n\
         \"messages\":[{{\"role\":\"user\",\"content\":\"grüße 🦀 "
    );
    let tail = "\"}], \"max_tokens\":5,\"metadata\":{ }}\n";
    let mut body = head.into_bytes();
    let filler = b"the quick brown fox \\\"jumps\\\" over the lazy dog \\\\ 0123456789 ";
    let end = size.saturating_sub(tail.len());
    while body.len() + filler.len() < end {
        body.extend_from_slice(filler);
    }
    body.resize(body.len().max(end), b'x');
    body.extend_from_slice(tail.as_bytes());
    body
}

fn send(gateway: &Gateway, framing: Framing, body: &[u8]) -> Response {
    let request = Request::post("/v1/chat/completions").key(KEY).json(body);
    match framing {
        Framing::Length => gateway.send(&request.bytes()),
        Framing::Chunked => gateway.send(&request.chunked(50_021).bytes()),
        Framing::Http2 => {
            let url = format!("http://{}/v1/chat/completions", gateway.address);
            let key = format!("authorization: Bearer {KEY}");
            let json = "content-type: application/json";
            let arguments = [
                "--http2-prior-knowledge",
                "-X",
                "POST",
                "-T",
                "-",
                "-H",
                &key,
                "-H",
                json,
                &url,
            ];
            let answer = tool::curl(&arguments, body);
            assert_eq!(answer.version, "2");
            Response {
                status: answer.status,
                headers: Vec::new(),
                body: answer.body.into_bytes(),
            }
        }
    }
}

/// Compares without printing 31 MiB.
fn assert_same(what: &str, seen: &[u8], expected: &[u8]) {
    let first = seen.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        seen == expected,
        "{what}: {} bytes arrived, {} expected, first difference at {first:?}, {} instead of {}",
        seen.len(),
        expected.len(),
        sha256(seen),
        sha256(expected)
    );
}

fn matrix(framing: Framing) {
    let (good, bad, gone) = (
        Provider::start(chat("ok")),
        Provider::start(fail(500)),
        Provider::refusing(),
    );
    let gateway = Gateway::start(
        &[
            provider("good", &good),
            provider_with("bad", &bad, "breaker = { consecutive_failures = 1000 }"),
            provider("gone", &gone),
            model("direct", &["good/a-much-longer-upstream-model-name"]),
            model("after-500", &["bad/b", "good/up"]) + "retries = 0\n",
            model("after-refusal", &["gone/g", "good/up"]),
            own_key(),
        ]
        .concat(),
    );
    for size in SIZES {
        let cases = [
            ("direct", "a-much-longer-upstream-model-name"),
            ("after-500", "up"),
            ("after-refusal", "up"),
        ];
        for (alias, upstream) in cases {
            let what = format!("{framing:?}, {size} bytes, {alias}");
            let answer = send(&gateway, framing, &body(alias, size));
            assert_eq!(
                (answer.status, answer.content().as_str()),
                (200, "ok"),
                "{what}"
            );
            let seen = good.take_one();
            assert_same(&what, &seen.body, &spliced(size, alias, upstream));
            assert_eq!(
                seen.header("content-length"),
                Some(seen.body.len().to_string()),
                "{what}"
            );
            assert_eq!(seen.header("transfer-encoding"), None, "{what}");
            if alias == "after-500" {
                assert_same(
                    &format!("{what}, first attempt"),
                    &bad.take_one().body,
                    &spliced(size, alias, "b"),
                );
            }
        }
    }
}

/// The body that was sent, with the model's value replaced and nothing else.
fn spliced(size: usize, alias: &str, upstream: &str) -> Vec<u8> {
    let sent = body(alias, size);
    let value = format!("\"{alias}\"");
    let at = sent
        .windows(value.len())
        .position(|window| window == value.as_bytes())
        .expect("the model is there");
    [
        &sent[..at],
        format!("\"{upstream}\"").as_bytes(),
        &sent[at + value.len()..],
    ]
    .concat()
}

#[test]
fn bodies_with_a_length_arrive_byte_for_byte() {
    matrix(Framing::Length);
}

#[test]
fn chunked_bodies_arrive_byte_for_byte() {
    matrix(Framing::Chunked);
}

#[test]
fn http2_bodies_without_a_length_arrive_byte_for_byte() {
    matrix(Framing::Http2);
}

#[test]
fn bodies_that_come_byte_by_byte_arrive_whole() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let request = chat_request("m").chunked(1);
    let mut client = gateway.connect();
    for byte in request.bytes() {
        client.send(&[byte]).unwrap();
    }
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(provider.take_one().model(), "upstream-m");
}

#[test]
fn more_than_the_limit_is_413_in_every_framing() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    // With a length, the head alone decides: not one byte of the body is needed.
    let announced = Request::post("/v1/chat/completions")
        .key(KEY)
        .header("content-type", "application/json")
        .header("content-length", &(32 * MIB + 1).to_string());
    let mut answers = vec![gateway.send(&announced.bytes())];
    let large = body("m", 32 * MIB + 1);
    answers.push(send(&gateway, Framing::Chunked, &large));
    answers.push(send(&gateway, Framing::Http2, &large));
    for answer in answers {
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert_eq!(answer.error("code"), "request_too_large");
    }
    assert_eq!(provider.count(), 0, "something was sent upstream");
    // The limit itself is allowed.
    assert_eq!(
        send(&gateway, Framing::Length, &body("m", 32 * MIB)).status,
        200
    );
}

#[test]
fn the_limit_can_be_configured() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&format!("[limits]\nbody = \"2KiB\"\n{}", simple(&provider)));
    assert_eq!(
        send(&gateway, Framing::Length, &body("m", 2 * KIB)).status,
        200
    );
    for framing in [Framing::Length, Framing::Chunked, Framing::Http2] {
        assert_eq!(
            send(&gateway, framing, &body("m", 2 * KIB + 1)).status,
            413,
            "{framing:?}"
        );
    }
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let request = chat_request("m").header("expect", "100-continue");
    let (head, whole) = (request.head_bytes(), request.bytes());
    let mut client = gateway.connect();
    client.send(&head).unwrap();
    assert_eq!(
        client.head().unwrap().status,
        100,
        "no go-ahead for a body that is wanted"
    );
    client.send(&whole[head.len()..]).unwrap();
    assert_eq!(client.response().unwrap().status, 200);
    assert_eq!(provider.take_one().header("expect"), None);
}

#[test]
fn a_body_that_breaks_off_is_never_sent() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    for request in [chat_request("m"), chat_request("m").chunked(16)] {
        let bytes = request.bytes();
        let mut client = gateway.connect();
        client.send(&bytes[..bytes.len() - 8]).unwrap();
        drop(client);
    }
    // A request that comes later and is answered shows that the broken ones had their chance.
    assert_eq!(gateway.chat("m").status, 200);
    assert_eq!(provider.count(), 1);
}

#[test]
fn connections_are_kept_on_both_sides() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.call(&chat_request("m")).unwrap().status, 200);
    }
    assert_eq!(
        provider.opened(),
        1,
        "a connection to the provider for each request"
    );
    assert_eq!(
        gateway.chat("m").body,
        completion("upstream-m", "ok").into_bytes()
    );
}

#[test]
fn requests_sent_before_the_answer_to_the_last_one_are_answered_in_order() {
    let provider = Provider::start(chat("ok"));
    let gateway = Gateway::start(&simple(&provider));
    let bytes: Vec<u8> = ["m", "unknown", "m"]
        .iter()
        .flat_map(|model| chat_request(model).bytes())
        .collect();
    let mut client = gateway.connect();
    client.send(&bytes).unwrap();
    let statuses: Vec<u16> = (0..3)
        .map(|_| client.response().expect("no answer").status)
        .collect();
    assert_eq!(statuses, [200, 404, 200]);
}
