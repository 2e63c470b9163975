//! A stream as a client reads it: every frame is one of its format's, in its format's order,
//! and what a success marker promises was kept.

use super::grammar::Said;
use super::strict;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How a stream looks to its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The format's success marker.
    Whole,
    /// An error.
    Failed,
    /// Neither yet.
    Open,
}

/// A stream that was read.
#[derive(Debug)]
pub struct Heard {
    pub ending: Ending,
    pub said: BTreeMap<u32, Said>,
}

/// Reads the output of the encoder of a face.
pub fn read(face: &str, bytes: &[u8]) -> Heard {
    let frames = frames(bytes);
    match face {
        "messages" => messages(&frames),
        "responses" => responses(&frames),
        "completions" => chunks(&frames, completion),
        "functions" => chunks(&frames, words),
        _ => chunks(&frames, chunk),
    }
}

/// An event's name and its JSON; `None` for `[DONE]`.
type Frame = (Option<String>, Option<Value>);

/// The frames but for comments. Written as `event: NAME` and `data: JSON`, nothing else.
fn frames(bytes: &[u8]) -> Vec<Frame> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    assert!(
        text.is_empty() || text.ends_with("\n\n"),
        "half a frame: {text}"
    );
    let events = text
        .split_terminator("\n\n")
        .filter(|event| !event.starts_with(':'));
    let frame = |event: &str| {
        let (name, data) = match event.split_once('\n') {
            Some((name, data)) => (name.strip_prefix("event: ").map(str::to_owned), data),
            None => (None, event),
        };
        let data = data
            .strip_prefix("data: ")
            .unwrap_or_else(|| panic!("no data: {event}"));
        let json = (data != "[DONE]").then(|| strict::read(data.as_bytes()));
        (name, json)
    };
    events.map(frame).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> usize {
    let number = value.pointer(pointer).and_then(Value::as_u64);
    number
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(usize::MAX)
}

/// Both of OpenAI's older streams: chunks of one head, `[DONE]` or an error last.
fn chunks(frames: &[Frame], read: fn(&Value, &mut BTreeMap<u32, Said>)) -> Heard {
    let mut heard = Heard {
        ending: Ending::Open,
        said: BTreeMap::new(),
    };
    let mut finished = BTreeSet::new();
    let mut head = None;
    for (name, json) in frames {
        assert_eq!(
            heard.ending,
            Ending::Open,
            "something follows the end: {frames:?}"
        );
        assert_eq!(*name, None);
        let Some(json) = json else {
            let all = heard.said.keys().all(|choice| finished.contains(choice));
            assert!(
                all && !finished.is_empty(),
                "done, but not finished: {frames:?}"
            );
            heard.ending = Ending::Whole;
            continue;
        };
        if json.get("error").is_some() {
            heard.ending = Ending::Failed;
            continue;
        }
        let own = ["id", "object", "created", "model"].map(|name| json[name].clone());
        assert_eq!(
            *head.get_or_insert(own.clone()),
            own,
            "one stream, two heads"
        );
        for choice in json["choices"].as_array().expect("choices") {
            let index = u32::try_from(number(choice, "/index")).expect("an index");
            assert!(
                !finished.contains(&index),
                "something follows a finish: {frames:?}"
            );
            let opens = choice.pointer("/delta/role").is_some();
            let chat = choice.get("delta").is_some();
            assert!(
                !chat || opens != heard.said.contains_key(&index),
                "the role comes first, once"
            );
            heard.said.entry(index).or_default();
            read(choice, &mut heard.said);
            if choice["finish_reason"].is_string() {
                finished.insert(index);
            }
        }
    }
    heard
}

fn completion(choice: &Value, said: &mut BTreeMap<u32, Said>) {
    let index = u32::try_from(number(choice, "/index")).expect("an index");
    said.entry(index)
        .or_default()
        .text
        .push_str(choice["text"].as_str().expect("a text"));
}

fn words(choice: &Value, said: &mut BTreeMap<u32, Said>) {
    let index = u32::try_from(number(choice, "/index")).expect("an index");
    let said = said.entry(index).or_default();
    said.text.push_str(text(choice, "/delta/content"));
    said.refusal.push_str(text(choice, "/delta/refusal"));
    said.thought
        .push_str(text(choice, "/delta/reasoning_content"));
}

fn chunk(choice: &Value, said: &mut BTreeMap<u32, Said>) {
    words(choice, said);
    let index = u32::try_from(number(choice, "/index")).expect("an index");
    let said = said.entry(index).or_default();
    let listed = choice
        .pointer("/delta/tool_calls")
        .and_then(Value::as_array);
    for call in listed.into_iter().flatten() {
        call_piece(said, number(call, "/index"), &call["function"]);
    }
}

fn call_piece(said: &mut Said, at: usize, function: &Value) {
    if function.get("name").is_some() {
        assert_eq!(at, said.calls.len(), "calls count from 0");
        said.calls.push(String::new());
    }
    said.calls[at].push_str(text(function, "/arguments"));
}

/// Anthropic's: a message of blocks, one after the other, each with a start and a stop.
fn messages(frames: &[Frame]) -> Heard {
    let (mut said, mut ending) = (Said::default(), Ending::Open);
    let (mut begun, mut told, mut index) = (false, false, 0);
    // The type of the block that is open.
    let mut open: Option<String> = None;
    for (name, json) in frames {
        let json = json.as_ref().expect("no [DONE] here");
        assert_eq!(
            ending,
            Ending::Open,
            "something follows the end: {frames:?}"
        );
        let kind = text(json, "/type");
        assert_eq!(name.as_deref(), Some(kind));
        assert!(
            begun || ["ping", "message_start", "error"].contains(&kind),
            "{frames:?}"
        );
        assert!(
            !told || ["ping", "message_stop", "error"].contains(&kind),
            "{frames:?}"
        );
        match kind {
            "message_start" => assert!(!std::mem::replace(&mut begun, true), "two starts"),
            "ping" => {}
            "error" => ending = Ending::Failed,
            "content_block_start" => {
                assert!(
                    open.is_none() && number(json, "/index") == index,
                    "{frames:?}"
                );
                let kind = text(json, "/content_block/type");
                if kind == "tool_use" {
                    said.calls.push(String::new());
                }
                open = Some(kind.to_owned());
            }
            "content_block_delta" => {
                let kind = open
                    .as_deref()
                    .unwrap_or_else(|| panic!("no block: {frames:?}"));
                assert_eq!(number(json, "/index"), index);
                delta(kind, &json["delta"], &mut said);
            }
            "content_block_stop" => {
                assert!(open.take().is_some() && number(json, "/index") == index);
                index += 1;
            }
            "message_delta" => {
                assert!(open.is_none() && !std::mem::replace(&mut told, true));
            }
            "message_stop" => {
                assert!(told, "no message_delta: {frames:?}");
                ending = Ending::Whole;
            }
            kind => panic!("{kind} is no event of this format"),
        }
    }
    Heard {
        ending,
        said: BTreeMap::from([(0, said)]),
    }
}

fn delta(block: &str, delta: &Value, said: &mut Said) {
    match (block, text(delta, "/type")) {
        ("text", "text_delta") => said.text.push_str(text(delta, "/text")),
        ("thinking", "thinking_delta") => said.thought.push_str(text(delta, "/thinking")),
        ("tool_use", "input_json_delta") => {
            let call = said.calls.last_mut().expect("a call");
            call.push_str(text(delta, "/partial_json"));
        }
        ("text", "citations_delta") | ("thinking", "signature_delta") => {}
        (block, kind) => panic!("{kind} in a block of {block}"),
    }
}

/// OpenAI's Responses: numbered events; items that begin and end, once each.
fn responses(frames: &[Frame]) -> Heard {
    let (mut said, mut ending) = (Said::default(), Ending::Open);
    let mut open: BTreeMap<usize, (String, String)> = BTreeMap::new();
    let (mut items, mut calls) = (0, BTreeMap::new());
    for (count, (name, json)) in frames.iter().enumerate() {
        let json = json.as_ref().expect("no [DONE] here");
        assert_eq!(
            ending,
            Ending::Open,
            "something follows the end: {frames:?}"
        );
        let kind = text(json, "/type");
        assert_eq!(name.as_deref(), Some(kind));
        assert_eq!(number(json, "/sequence_number"), count);
        assert!(
            (kind == "response.created") == (count == 0) || kind == "error",
            "{frames:?}"
        );
        let at = number(json, "/output_index");
        match kind {
            "response.output_item.added" => {
                assert_eq!(at, items, "items count from 0");
                items += 1;
                let kind = text(json, "/item/type").to_owned();
                if kind == "function_call" {
                    calls.insert(at, said.calls.len());
                    said.calls.push(String::new());
                }
                open.insert(at, (kind, text(json, "/item/id").to_owned()));
            }
            "response.output_item.done" => {
                let (kind, id) = open.remove(&at).expect("an open item");
                assert_eq!(
                    (kind.as_str(), id.as_str()),
                    (text(json, "/item/type"), text(json, "/item/id"))
                );
            }
            "response.completed" | "response.incomplete" => {
                assert!(open.is_empty(), "an item was left open: {frames:?}");
                let output = json["response"]["output"].as_array().expect("an output");
                assert_eq!(output.len(), items);
                ending = Ending::Whole;
            }
            "response.failed" | "error" => ending = Ending::Failed,
            "response.created" | "response.in_progress" => {}
            kind => {
                let item = &open
                    .get(&at)
                    .unwrap_or_else(|| panic!("{kind} of no item: {frames:?}"))
                    .1;
                assert_eq!(item, text(json, "/item_id"));
                piece(kind, json, calls.get(&at).copied(), &mut said);
            }
        }
    }
    Heard {
        ending,
        said: BTreeMap::from([(0, said)]),
    }
}

fn piece(kind: &str, json: &Value, call: Option<usize>, said: &mut Said) {
    let delta = text(json, "/delta");
    match kind {
        "response.output_text.delta" => said.text.push_str(delta),
        "response.refusal.delta" => said.refusal.push_str(delta),
        "response.reasoning_summary_text.delta" => said.thought.push_str(delta),
        "response.function_call_arguments.delta" => {
            said.calls[call.expect("a call")].push_str(delta)
        }
        "response.function_call_arguments.done" => {
            assert_eq!(said.calls[call.expect("a call")], text(json, "/arguments"));
        }
        _ => assert!(kind.starts_with("response."), "{kind}"),
    }
}

/// Whether the same was said, as far as the format has a word for it; of a stream that broke,
/// up to where it broke.
pub fn agrees(face: &str, heard: &Heard, told: &BTreeMap<u32, Said>) {
    let whole = heard.ending == Ending::Whole;
    for (choice, told) in told {
        if *choice > 0 && ["messages", "responses"].contains(&face) {
            continue;
        }
        let nothing = Said::default();
        let heard = heard.said.get(choice).unwrap_or(&nothing);
        let same = |heard: &str, told: &str| {
            assert!(
                told.starts_with(heard),
                "{face} says {heard:?}, not {told:?}"
            );
            assert!(
                !whole || heard == told,
                "{face} says {heard:?}, not {told:?}"
            );
        };
        match face {
            "completions" if told.refusal.is_empty() => same(&heard.text, &told.text),
            "completions" => {}
            // A refusal is part of the text, or an explanation beside it.
            "messages" => {
                if told.refusal.is_empty() {
                    same(&heard.text, &told.text);
                }
                same(&heard.thought, &told.thought);
                arguments(heard, told, whole);
            }
            _ => {
                same(&heard.text, &told.text);
                same(&heard.refusal, &told.refusal);
                same(&heard.thought, &told.thought);
                let calls = heard.calls.iter().zip(&told.calls);
                match face {
                    "responses" => arguments(heard, told, whole),
                    _ => calls.for_each(|(heard, told)| same(heard, told)),
                }
                assert!(
                    !whole || heard.calls.len() == told.calls.len(),
                    "{face}: {heard:?} {told:?}"
                );
            }
        }
    }
}

/// What follows a whole object is left out by a format that writes call after call.
fn arguments(heard: &Said, told: &Said, whole: bool) {
    assert!(
        !whole || heard.calls.len() == told.calls.len(),
        "{heard:?} {told:?}"
    );
    for (heard, told) in heard.calls.iter().zip(&told.calls) {
        assert!(told.starts_with(heard), "{heard:?} {told:?}");
        let json = |text: &str| serde_json::from_str::<Value>(text).ok();
        assert!(
            !whole || json(told).is_none() || json(heard) == json(told),
            "{heard:?} {told:?}"
        );
    }
}
