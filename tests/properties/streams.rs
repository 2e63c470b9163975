//! Streams: any orderly sequence of events is what every client reads, and survives Chat
//! Completions and back; any cut of any provider's stream tells the same.

use super::drawn::{config, name, text};
use super::properties::formats::DIALECTS;
use super::properties::grammar::{check, joined};
use super::properties::stream::{decode, encoded, reframed};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tollgate::chat::{Event, Finish, Origin, Sealed, Usage};

/// What a model does next.
#[derive(Debug, Clone)]
enum Act {
    Text(String),
    Refusal(String),
    Thought(String),
    Sign(String),
    Redact(String),
    Call(String, String),
    Cite(String),
    Ping,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => text().prop_map(Act::Text),
        1 => text().prop_map(Act::Refusal),
        2 => text().prop_map(Act::Thought),
        1 => name().prop_map(Act::Sign),
        1 => name().prop_map(Act::Redact),
        2 => (name(), text()).prop_map(|(name, text)| Act::Call(name, text)),
        1 => name().prop_map(Act::Cite),
        1 => Just(Act::Ping),
    ]
}

/// The events of one choice. A finish goes with what was done.
fn choice(choice: u32, acts: Vec<Act>, cut: bool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut calls = 0;
    let mut thinking = false;
    for act in acts {
        // Only a thought that runs can be signed.
        let runs = std::mem::replace(&mut thinking, matches!(act, Act::Thought(_)));
        match act {
            Act::Text(text) => events.push(Event::Text { choice, text }),
            Act::Refusal(text) => events.push(Event::Refusal { choice, text }),
            Act::Thought(text) => events.push(Event::Thought { choice, text }),
            Act::Sign(signature) if runs => {
                let signature = Sealed::new(Origin::Claude, signature);
                events.push(Event::Signature { choice, signature });
            }
            Act::Sign(_) => {}
            Act::Redact(data) if !runs => {
                let data = Sealed::new(Origin::Claude, data);
                events.push(Event::RedactedThought { choice, data });
            }
            Act::Redact(_) => {}
            Act::Call(name, text) => {
                let (call, id) = (calls, format!("call_{choice}_{calls}"));
                calls += 1;
                let arguments = json!({ "a": text }).to_string();
                let (head, tail) = arguments.split_at(1);
                events.push(Event::CallStart { choice, call, id, name, signature: None });
                for text in [head, tail] {
                    events.push(Event::CallArguments { choice, call, text: text.into() });
                }
            }
            Act::Cite(name) => events.push(Event::Annotations {
                choice,
                annotations: vec![json!({ "type": "url_citation", "url_citation": {
                    "url": format!("https://example.com/{name}"), "title": name, "start_index": 0, "end_index": 1,
                }})],
            }),
            Act::Ping => events.push(Event::Ping),
        }
    }
    let finish = match (cut, calls) {
        (true, _) => Finish::Length,
        (false, 0) => Finish::Stop,
        (false, _) => Finish::ToolCalls,
    };
    events.push(Event::Finish { choice, finish });
    events
}

fn stream() -> impl Strategy<Value = Vec<Event>> {
    let choices = vec((vec(act(), 0..8), any::<bool>()), 1..3);
    (choices, any::<[u16; 4]>()).prop_map(|(choices, [prompt, completion, cached, reasoning])| {
        let mut events = vec![Event::Start {
            id: Some("id".into()),
            model: Some("m".into()),
        }];
        for (index, (acts, cut)) in (0..).zip(choices) {
            events.extend(choice(index, acts, cut));
        }
        events.push(Event::Usage(Usage {
            prompt: prompt.into(),
            completion: completion.into(),
            cached: cached.into(),
            // More than that would be thinking that was counted apart.
            reasoning: u64::from(reasoning).min(completion.into()),
            ..Usage::default()
        }));
        events.push(Event::End);
        events
    })
}

/// Streams of every provider, as they came.
fn recorded() -> Vec<(usize, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        ("anthropic", "tests/golden/anthropic/stream"),
        ("bedrock", "fuzz/seeds/stream_bedrock"),
        ("cohere", "tests/golden/cohere"),
        ("compatible", "tests/golden/openai_chat"),
        ("gemini", "tests/golden/gemini/streams"),
    ];
    let mut all = Vec::new();
    for (name, folder) in folders {
        let dialect = DIALECTS
            .iter()
            .position(|(known, _)| *known == name)
            .unwrap();
        let mut paths: Vec<PathBuf> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths.retain(|path| {
            name == "bedrock" || path.extension().is_some_and(|extension| extension == "sse")
        });
        assert!(!paths.is_empty(), "{folder}");
        for path in paths {
            let bytes = fs::read(path).unwrap();
            all.push((
                dialect,
                if name == "bedrock" {
                    reframed(&bytes)
                } else {
                    bytes
                },
            ));
        }
    }
    all
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn every_client_reads_what_was_told(events in stream()) {
        check(&events);
        encoded(&events);
    }

    #[test]
    fn cuts_change_nothing((dialect, bytes) in select(recorded()), cuts in vec(any::<Index>(), 0..12)) {
        let dialect = DIALECTS[dialect].1;
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|ends| Bytes::copy_from_slice(&bytes[ends[0]..ends[1]])).collect();
        let (whole, ended) = decode(dialect, vec![Bytes::copy_from_slice(&bytes)], 1 << 20);
        let (cut, cut_ended) = decode(dialect, pieces, 1 << 20);
        prop_assert_eq!((joined(cut), cut_ended), (joined(whole), ended));
    }
}
