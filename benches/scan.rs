//! How fast a chat body is inspected, beside the JSON parsers one could use instead.
//!
//! Each contestant is asked for where `model`, `stream`, `user`, `max_tokens` and `messages`
//! are, over bodies from 1 KB to 5 MB. They do not promise the same: the scan and
//! `serde_json` validate everything, the scan alone also refuses duplicate names at every
//! level; `std_utf8` only checks the encoding and is the floor for anyone who does.
//!
//! Run with `cargo bench --bench scan`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate::wire::json::{Known, Limits, scan};

const KNOWN: Known<'static> = Known {
    top: &[
        "model",
        "messages",
        "stream",
        "user",
        "max_tokens",
        "temperature",
        "tools",
    ],
    nested: &[(
        "messages",
        &["role", "content", "name", "tool_calls", "tool_call_id"],
    )],
};

const WORDS: [&str; 12] = [
    "the",
    "gateway",
    "reads",
    "a",
    "body",
    "once,",
    "and",
    "forwards",
    "it",
    "unchanged.",
    "when",
    "provider",
];

/// What makes text harder to read: escapes and letters outside ASCII. One word in ten.
const HARDER: [&str; 8] = [
    r"line.\n",
    r"end\n\n",
    r#"\"quoted\""#,
    "fn main() {}",
    r"path\\to",
    "größer",
    "naïve",
    "—",
];

/// A small generator with a fixed seed, so that every run measures the same bytes.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        from.get(self.below(from.len()))
            .copied()
            .unwrap_or_default()
    }
}

/// A conversation of about `size` bytes: messages of 40 to 1,200 bytes, a few escapes, mostly
/// ASCII.
fn conversation(size: usize) -> Vec<u8> {
    let mut sequence = Sequence(0x5eed);
    let mut body = String::from(r#"{"model":"gpt-5-mini","stream":true,"messages":["#);
    let mut role = "system";
    while body.len() + 100 < size {
        if role != "system" {
            body.push(',');
        }
        body.push_str(&format!(r#"{{"role":"{role}","content":""#));
        let end = (body.len() + 40 + sequence.below(1160)).min(size - 60);
        while body.len() < end {
            let words: &[&str] = if sequence.below(10) == 0 {
                &HARDER
            } else {
                &WORDS
            };
            body.push_str(sequence.pick(words));
            body.push(' ');
        }
        body.push_str(r#""}"#);
        role = if role == "user" { "assistant" } else { "user" };
    }
    body.push_str(r#"],"user":"user-1234","max_tokens":1024,"temperature":0.7}"#);
    body.into_bytes()
}

/// One question about an image of about `size` bytes in base64.
fn image(size: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut sequence = Sequence(0x5eed);
    let mut body = Vec::from(
        br#"{"model":"gpt-5-mini","messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,"#,
    );
    body.extend((0..size).map(|_| sequence.pick(ALPHABET)));
    body.extend_from_slice(br#""}}]}],"stream":true,"user":"user-1234","max_tokens":1024}"#);
    body
}

/// What `serde_json` finds without building a tree.
#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
}

fn with_raw_values(body: &[u8]) -> serde_json::Result<usize> {
    let found: Borrowed<'_> = serde_json::from_slice(body)?;
    let optional = [found.stream, found.user, found.max_tokens];
    let optional = optional
        .into_iter()
        .flatten()
        .map(|value| value.get().len());
    Ok(found.model.get().len() + found.messages.get().len() + optional.sum::<usize>())
}

fn with_sonic(body: &[u8]) -> sonic_rs::Result<usize> {
    sonic_rs::to_object_iter(body)
        .map(|member| Ok(member?.1.as_raw_str().len()))
        .sum()
}

fn with_simd_json(body: &[u8]) -> simd_json::Result<usize> {
    // It rewrites what it reads, and the body must stay as it is.
    let mut copy = body.to_vec();
    Ok(simd_json::to_tape(&mut copy)?.0.len())
}

fn bodies(criterion: &mut Criterion) {
    compare(criterion, "1KB", &conversation(1_000));
    compare(criterion, "10KB", &conversation(10_000));
    compare(criterion, "100KB", &conversation(100_000));
    compare(criterion, "5MB_text", &conversation(5_000_000));
    compare(criterion, "5MB_base64", &image(5_000_000));
}

fn compare(criterion: &mut Criterion, name: &str, body: &[u8]) {
    let limits = Limits {
        // The text of 5 MB has more messages than a gateway lets through.
        names: 100_000,
        ..Limits::default()
    };
    let valid = [
        scan(body, &limits, &KNOWN).is_ok(),
        with_raw_values(body).is_ok(),
        with_sonic(body).is_ok(),
        with_simd_json(body).is_ok(),
    ];
    assert_eq!(valid, [true; 4], "all must read the same body to its end");

    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("tollgate_scan", |b| {
        b.iter(|| scan(black_box(body), &limits, &KNOWN));
    });
    group.bench_function("sonic_rs_object_iter", |b| {
        b.iter(|| with_sonic(black_box(body)))
    });
    group.bench_function("serde_json_raw_value", |b| {
        b.iter(|| with_raw_values(black_box(body)))
    });
    group.bench_function("serde_json_value", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body)));
    });
    group.bench_function("simd_json_tape_with_copy", |b| {
        b.iter(|| with_simd_json(black_box(body)))
    });
    group.bench_function("std_utf8", |b| {
        b.iter(|| std::str::from_utf8(black_box(body)))
    });
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
