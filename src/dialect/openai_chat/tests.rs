//! Golden cases under `tests/golden/openai_chat`, by their endings:
//! `X.client.json` (+ `X.options.json`) is parsed and rendered to
//! `X.provider.json`; `X.answer.json` is read and written as `X.reply.json`;
//! `X.sse` is decoded and encoded to `X.client.sse`. `TOLLGATE_BLESS=1` writes
//! what comes out.

mod departures_tests;
mod parsing_tests;
mod rendering_tests;
mod streaming_tests;

use super::*;
use crate::chat::{Capabilities, Event, Thinking};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openai_chat")
}

/// The names of the cases with an ending.
fn cases(ending: &str) -> Vec<String> {
    let entries = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = entries.filter_map(|name| name.strip_suffix(ending).map(str::to_owned));
    let mut names: Vec<String> = names.filter(|name| !name.contains('.')).collect();
    names.sort();
    assert!(names.len() > 4, "{ending}");
    names
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(golden().join(name)).ok()
}

fn check(name: &str, got: &str) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(golden().join(name), got).unwrap();
    }
    assert_eq!(read(name).unwrap_or_default(), got, "{name}");
}

fn check_json(name: &str, got: &Value) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(golden().join(name), format!("{got:#}\n")).unwrap();
    }
    let expected: Value = serde_json::from_str(&read(name).unwrap_or_default()).unwrap_or_default();
    assert_eq!(&expected, got, "{name}");
}

fn label() -> Label {
    Label {
        model: "asked".into(),
        seed: "seed".into(),
        created: 7,
        include_usage: true,
        ..Label::default()
    }
}

fn options(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap()
}

fn render(
    body: &str,
    opts: &BTreeMap<String, String>,
    able: &Capabilities,
    strict: bool,
) -> Result<Rendered, Unsupported> {
    let asked = Chat::default()
        .parse(body.as_bytes())
        .unwrap_or_else(|e| panic!("{e}: {body}"));
    Compatible::default().chat(
        &asked,
        Target {
            capabilities: able,
            options: opts,
            strict,
        },
    )
}

#[test]
fn requests() {
    for case in cases(".client.json") {
        let body = read(&format!("{case}.client.json")).unwrap();
        let opts = read(&format!("{case}.options.json"))
            .map(|text| options(&text))
            .unwrap_or_default();
        let able = Capabilities {
            thinking: Thinking::Effort,
            ..Capabilities::default()
        };
        let got = render(&body, &opts, &able, false).unwrap();
        let body: Value = serde_json::from_slice(&got.body).unwrap();
        let got = json!({ "path": got.path, "dropped": got.dropped, "body": body });
        check_json(&format!("{case}.provider.json"), &got);
    }
}

#[test]
fn answers() {
    for case in cases(".answer.json") {
        let body = read(&format!("{case}.answer.json")).unwrap();
        let answer = Compatible::default()
            .answer("m", body.as_bytes())
            .unwrap()
            .unwrap();
        let reply = |legacy| -> Value {
            serde_json::from_slice(&Chat { legacy }.answer(&answer, &label())).unwrap()
        };
        check_json(&format!("{case}.reply.json"), &reply(false));
        if case == "function" {
            check_json("function.legacy.json", &reply(true));
        }
    }
}

/// The events of a stream fed in pieces, adjacent texts merged, and how it
/// ended.
fn decode(bytes: &[u8], size: usize) -> (Vec<Event>, Option<DecodeError>) {
    let mut decoder = Compatible::default().decoder("m", 1 << 20);
    let (mut events, mut ended) = (Vec::new(), Ok(()));
    for piece in bytes.chunks(size) {
        ended =
            ended.and_then(|()| decoder.push(bytes::Bytes::copy_from_slice(piece), &mut events));
    }
    let ended = ended.and_then(|()| decoder.end(&mut events)).err();
    (merged(events), ended)
}

fn merged(events: Vec<Event>) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for event in events {
        match (out.last_mut(), &event) {
            (Some(Event::Text { choice, text }), Event::Text { choice: c, text: t })
                if choice == c =>
            {
                text.push_str(t)
            }
            _ => out.push(event),
        }
    }
    out
}

fn encode(events: Vec<Event>, ended: Option<&DecodeError>, legacy: bool, label: Label) -> String {
    let mut encoder = Chat { legacy }.encoder(label);
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    if let Some(error) = ended {
        let error = GatewayError::new(crate::error::ErrorKind::UpstreamError, error.to_string());
        encoder.fail(&error, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn streams() {
    for case in cases(".sse") {
        let bytes = read(&format!("{case}.sse")).unwrap().into_bytes();
        let (events, ended) = decode(&bytes, usize::MAX);
        for size in [1, 7] {
            assert_eq!(
                decode(&bytes, size),
                (events.clone(), ended.clone()),
                "{case} in pieces of {size}"
            );
        }
        let out = encode(events.clone(), ended.as_ref(), false, label());
        check(&format!("{case}.client.sse"), &out);
        conforms(&case, &out);
        if case == "function" {
            check("function.legacy.sse", &encode(events, None, true, label()));
        }
    }
}

/// What every stream that leaves the house keeps to.
fn conforms(case: &str, out: &str) {
    let events: Vec<&str> = out
        .split_terminator("\n\n")
        .filter(|event| !event.starts_with(':'))
        .collect();
    let (last, rest) = events.split_last().unwrap();
    let failed = last.contains("\"error\"");
    assert!(failed != (*last == "data: [DONE]"), "{case}: {last}");
    let (mut begun, mut finished, mut usages) = (BTreeMap::new(), BTreeMap::new(), 0);
    let mut head = None;
    for event in rest {
        let chunk: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        let own = json!([
            chunk["id"],
            chunk["created"],
            chunk["model"],
            chunk["object"]
        ]);
        assert_eq!(*head.get_or_insert(own.clone()), own, "{case}");
        assert!(chunk.as_object().unwrap().contains_key("usage"), "{case}");
        let choices = chunk["choices"].as_array().unwrap();
        usages += usize::from(choices.is_empty());
        assert_eq!(choices.is_empty(), chunk["usage"].is_object(), "{case}");
        for choice in choices {
            let index = choice["index"].as_u64().unwrap();
            assert!(
                !finished.contains_key(&index),
                "{case}: something follows a finish"
            );
            let role = choice["delta"].get("role").is_some();
            assert_eq!(begun.insert(index, ()).is_none(), role, "{case}: role");
            if choice["finish_reason"].is_string() {
                finished.insert(index, ());
            }
        }
    }
    assert!(usages <= 1, "{case}");
    assert!(failed || begun == finished, "{case}");
}
