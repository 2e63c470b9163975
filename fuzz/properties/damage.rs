//! Damage: what real inputs become on their way to a case that nobody thought of.
//!
//! Bytes are damaged as bytes, and JSON also as JSON, because most byte damage only ever tests
//! the parser of JSON.

use super::draw::Sequence;
use serde_json::{Map, Value};

/// Words that mean something to some format.
pub const TOKENS: [&str; 96] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "0",
    "-1",
    "1e400",
    "1e39",
    "18446744073709551616",
    "9007199254740993",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\u{feff}",
    "\0",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r",
    " ",
    "é",
    "data:",
    "data: ",
    "event: ",
    ": ",
    "id: 1",
    "[DONE]",
    "data: [DONE]\n\n",
    "--b",
    "--b--\r\n",
    "\"model\":\"m\",",
    "\"Model\":1,",
    "\"messages\":[],",
    "\"role\":\"tool\",",
    "\"role\":\"assistant\",",
    "\"stream\":true,",
    "\"n\":2,",
    "\"tool_calls\":[],",
    "\"function_call\":{},",
    "\"content\":null,",
    "\"type\":\"error\",",
    "\"type\":\"ping\",",
    "\"error\":{\"message\":\"x\"},",
    "\"index\":1,",
    "\"index\":4294967296,",
    "\"finish_reason\":\"stop\",",
    "\"finish_reason\":\"error\",",
    "\"finishReason\":\"STOP\",",
    "\"stop_reason\":\"end_turn\",",
    "\"stopReason\":\"tool_use\",",
    "\"usage\":{},",
    "\"usage\":null,",
    "\"choices\":[{}],",
    "\"delta\":{},",
    "\"candidates\":[{}],",
    "message_start",
    "message_delta",
    "message_stop",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "input_json_delta",
    "text_delta",
    "thinking_delta",
    "signature_delta",
    "citations_delta",
    "tool_use",
    "thinking",
    "redacted_thinking",
    "message-start",
    "message-end",
    "content-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "tool-plan-delta",
    "citation-start",
    "messageStart",
    "messageStop",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "metadata",
    "functionCall",
    "promptFeedback",
    "toolUse",
    "reasoningContent",
    "thought",
    "refusal",
];

/// Damages an input once; `other` is one to take pieces from.
pub fn damage(input: &mut Vec<u8>, other: &[u8], sequence: &mut Sequence) {
    match sequence.below(4) {
        0 => bytes(input, other, sequence),
        1 => events(input, sequence),
        _ => document(input, other, sequence),
    }
}

fn range(length: usize, longest: usize, sequence: &mut Sequence) -> std::ops::Range<usize> {
    let start = sequence.below(length + 1);
    start..(start + sequence.below(longest)).min(length)
}

fn bytes(input: &mut Vec<u8>, other: &[u8], sequence: &mut Sequence) {
    let at = sequence.below(input.len() + 1);
    let token = TOKENS[sequence.below(TOKENS.len())].as_bytes();
    match sequence.below(7) {
        0 => drop(input.splice(at..at, token.iter().copied())),
        1 => {
            let place = range(input.len(), 12, sequence);
            drop(input.splice(place, token.iter().copied()));
        }
        2 => drop(input.drain(range(input.len(), 6, sequence))),
        3 => {
            let copied = input[range(input.len(), 200, sequence)].to_vec();
            drop(input.splice(at..at, copied));
        }
        4 => {
            let taken = other[range(other.len(), 400, sequence)].to_vec();
            drop(input.splice(at..at, taken));
        }
        5 => input.truncate(at),
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << sequence.below(8);
            }
        }
    }
}

/// Drops, repeats or swaps whole events.
fn events(input: &mut Vec<u8>, sequence: &mut Sequence) {
    let text = super::shown(input);
    let mut events: Vec<&str> = text.split_inclusive("\n\n").collect();
    if events.len() < 2 {
        return;
    }
    let (one, two) = (sequence.below(events.len()), sequence.below(events.len()));
    match sequence.below(3) {
        0 => drop(events.remove(one)),
        1 => events.insert(one, events[two]),
        _ => events.swap(one, two),
    }
    *input = events.concat().into_bytes();
}

/// Changes one value of a JSON document, or of one event's.
fn document(input: &mut Vec<u8>, other: &[u8], sequence: &mut Sequence) {
    let donor = serde_json::from_slice::<Value>(other).unwrap_or(Value::Null);
    if let Ok(mut value) = serde_json::from_slice::<Value>(input) {
        change(&mut value, &donor, sequence);
        *input = value.to_string().into_bytes();
        return;
    }
    let text = super::shown(input);
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let at = sequence.below(lines.len());
    let json = lines[at]
        .strip_prefix("data:")
        .and_then(|data| serde_json::from_str::<Value>(data).ok());
    if let Some(mut value) = json {
        change(&mut value, &donor, sequence);
        lines[at] = format!("data: {value}");
        *input = lines.join("\n").into_bytes();
    }
}

fn change(value: &mut Value, donor: &Value, sequence: &mut Sequence) {
    let count = nodes(value);
    let fresh = fresh(donor, sequence);
    let kind = sequence.below(4);
    let mut target = sequence.below(count);
    at(value, &mut target, &mut |node| match (kind, node) {
        (0, Value::Array(items)) if !items.is_empty() => {
            let copied = items[0].clone();
            items.push(copied);
        }
        (0, Value::Object(members)) => {
            let first = members.keys().next().cloned();
            first.map(|name| members.remove(&name));
        }
        (1, Value::Array(items)) => items.push(fresh.clone()),
        (1, Value::Object(members)) => {
            members.insert("index".into(), fresh.clone());
        }
        (2, Value::Array(items)) => items.reverse(),
        (2, Value::Object(members)) => {
            if let Some(first) = members.values_mut().next() {
                first.clone_from(&fresh);
            }
        }
        (_, node) => *node = fresh.clone(),
    });
}

/// A value that a reader may not expect.
fn fresh(donor: &Value, sequence: &mut Sequence) -> Value {
    let kind = sequence.below(14);
    match kind {
        0 => Value::Null,
        1 => true.into(),
        2 => 0.into(),
        3 => u64::MAX.into(),
        4 => (-1).into(),
        5 => 1.5.into(),
        6 => 1e300.into(),
        7 => "".into(),
        8 => Value::Array(Vec::new()),
        9 => Value::Object(Map::new()),
        10 => TOKENS[sequence.below(TOKENS.len())].into(),
        11 => "data:image/png;base64,AAAA".into(),
        _ => {
            let mut found = Value::Null;
            let mut target = sequence.below(nodes(donor));
            at(&mut donor.clone(), &mut target, &mut |node| {
                found = node.clone()
            });
            found
        }
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Visits the node of this number, counted from the root.
fn at(value: &mut Value, number: &mut usize, visit: &mut dyn FnMut(&mut Value)) {
    if *number == 0 {
        *number = usize::MAX;
        return visit(value);
    }
    *number -= 1;
    let members: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    for member in members {
        if *number == usize::MAX {
            return;
        }
        at(member, number, visit);
    }
}
