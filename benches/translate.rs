//! What translation costs: requests, whole answers and the events of a stream, for each provider
//! format and each client format, in time and in allocations.
//!
//! The measure is the least that any translation does with a JSON tree: `serde_json` parses the
//! same bytes and prints them again. The table at the end says how many times that each takes,
//! from medians of the same run; absolute times are only good beside each other.
//!
//! Run with `cargo bench --bench translate`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot measure must say so, and its table is what it is for"
)]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, SamplingMode};
use serde_json::{Value, json};
use tollgate::chat::{Capabilities, Event};
use tollgate::dialect::anthropic::Anthropic;
use tollgate::dialect::bedrock::Bedrock;
use tollgate::dialect::cohere::Cohere;
use tollgate::dialect::gemini::{Flavour, Gemini};
use tollgate::dialect::messages_face::MessagesFace;
use tollgate::dialect::openai_chat::{Chat, Compatible};
use tollgate::dialect::openai_completions::Completions;
use tollgate::dialect::responses_face::Responses;
use tollgate::dialect::{Dialect, Face, Label, Target};
use tollgate::wire::eventstream;

const DIALECTS: [(&str, &dyn Dialect); 5] = [
    ("compatible", &Compatible { think_tags: false }),
    ("anthropic", &Anthropic),
    ("bedrock", &Bedrock),
    ("cohere", &Cohere),
    ("gemini", &Gemini::new(Flavour::AiStudio)),
];

/// Deltas of one stream.
const DELTAS: usize = 256;

/// What one operation does, and how many of them a call of it stands for.
struct Case {
    group: &'static str,
    name: String,
    /// The name of the case that it is compared with.
    against: String,
    operations: usize,
    run: Box<dyn Fn()>,
}

fn main() {
    let cases: Vec<Case> = [requests(), answers(), streams()]
        .into_iter()
        .flatten()
        .collect();
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for case in &cases {
        let mut group = criterion.benchmark_group(case.group);
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(case.name.as_str(), |bencher| bencher.iter(|| (case.run)()));
        group.finish();
    }
    criterion.final_summary();
    println!("{}", table(&cases));
}

/// The medians, per operation. A case that was filtered out has none.
fn table(cases: &[Case]) -> String {
    let mut out = String::from(
        "| case | ns | times serde_json | allocations | bytes allocated |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let Some(median) = median(case.group, &case.name) else {
            continue;
        };
        let per = |count: f64| count / case.operations as f64;
        let base = median_of(cases, case.group, &case.against);
        let ratio = base.map_or_else(String::new, |base| format!("{:.2}", per(median) / base));
        let told = allocation_counter::measure(|| (case.run)());
        let _ = writeln!(
            out,
            "| {}/{} | {:.0} | {ratio} | {:.1} | {:.0} |",
            case.group,
            case.name,
            per(median),
            per(told.count_total as f64),
            per(told.bytes_total as f64),
        );
    }
    out
}

fn median_of(cases: &[Case], group: &str, name: &str) -> Option<f64> {
    let case = cases
        .iter()
        .find(|case| case.group == group && case.name == name)?;
    Some(median(group, name)? / case.operations as f64)
}

/// What Criterion wrote down, in nanoseconds.
fn median(group: &str, name: &str) -> Option<f64> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(target)
        .join("criterion");
    let path = folder
        .join(group)
        .join(name.replace('/', "_"))
        .join("new/estimates.json");
    let read: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    read.pointer("/median/point_estimate")?.as_f64()
}

fn case(group: &'static str, name: String, against: &str, run: impl Fn() + 'static) -> Case {
    Case {
        group,
        name,
        against: against.to_owned(),
        operations: 1,
        run: Box::new(run),
    }
}

/// The baseline: a tree there and back.
fn reprint(bytes: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(bytes).expect("JSON");
    serde_json::to_vec(&value).expect("JSON")
}

/// A conversation with tools; texts fill it up to `size`, or a picture does.
fn request(size: usize, picture: bool) -> Vec<u8> {
    const TEXT: &str =
        "The gateway reads a body once, and says \"why\" when it refuses.\nGrößer ist naïve. ";
    let tool = |name: &str| {
        json!({ "type": "function", "function": {
            "name": name,
            "description": "Looks something up.",
            "parameters": { "type": "object", "properties": {
                "city": { "type": "string" }, "days": { "type": "integer" },
            }, "required": ["city"] },
        }})
    };
    let mut messages = vec![json!({ "role": "system", "content": "Be brief." })];
    if picture {
        let url = format!(
            "data:image/png;base64,{}",
            "iVBORw0KGgoAAAAN".repeat(size * 3 / 64)
        );
        messages.push(json!({ "role": "user", "content": [
            { "type": "text", "text": "What is this?" },
            { "type": "image_url", "image_url": { "url": url } },
        ]}));
    }
    let filled = |messages: &Vec<Value>| serde_json::to_vec(messages).map_or(0, |text| text.len());
    let mut length = filled(&messages);
    let mut turn = 0;
    while length + 500 < size || turn == 0 {
        let id = format!("call_{turn}");
        let text = TEXT.repeat(if size < 4096 { 1 } else { 10 });
        messages.extend([
            json!({ "role": "user", "content": text }),
            json!({ "role": "assistant", "content": text, "tool_calls": [
                { "id": id, "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Oslo\"}" } },
            ]}),
            json!({ "role": "tool", "tool_call_id": id, "content": "3 degrees, snow" }),
        ]);
        turn += 1;
        length = filled(&messages);
    }
    messages.push(json!({ "role": "user", "content": "And now?" }));
    let tools: &[&str] = if size < 4096 {
        &["weather"]
    } else {
        &["weather", "time", "news", "search"]
    };
    let tools: Vec<Value> = tools.iter().map(|name| tool(name)).collect();
    let body = json!({ "model": "m", "max_tokens": 512, "temperature": 0.5, "messages": messages, "tools": tools });
    body.to_string().into_bytes()
}

fn requests() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, body) in [
        ("1KB", request(1024, false)),
        ("64KB", request(64 * 1024, false)),
        ("1MB", request(1024 * 1024, true)),
    ] {
        let base = format!("serde_json-{size}");
        let bytes = body.clone();
        cases.push(case("request", base.clone(), &base, move || {
            drop(black_box(reprint(&bytes)))
        }));
        let bytes = body.clone();
        cases.push(case("request", format!("parse-{size}"), &base, move || {
            let asked = Chat::default().parse(&bytes).expect("a request");
            drop(black_box(asked));
        }));
        for (name, dialect) in DIALECTS {
            let bytes = body.clone();
            let able = Capabilities::default();
            cases.push(case(
                "request",
                format!("{name}-{size}"),
                &base,
                move || {
                    let asked = Chat::default().parse(&bytes).expect("a request");
                    let options = Default::default();
                    let target = Target {
                        capabilities: &able,
                        options: &options,
                        strict: false,
                    };
                    drop(black_box(dialect.chat(&asked, target).expect("a body")));
                },
            ));
        }
    }
    cases
}

/// An answer of each provider: a text of about 1 KB and a call.
fn answer(name: &str) -> Value {
    let text = "It snows in Oslo. ".repeat(56);
    match name {
        "compatible" => json!({ "id": "c", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": text, "tool_calls": [
                    { "id": "t", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } }] } }],
            "usage": { "prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18 } }),
        "anthropic" => json!({ "id": "m", "type": "message", "role": "assistant", "model": "m",
            "content": [{ "type": "text", "text": text },
                { "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } }],
            "stop_reason": "tool_use", "usage": { "input_tokens": 9, "output_tokens": 9 } }),
        "bedrock" => json!({ "output": { "message": { "role": "assistant", "content": [
                { "text": text }, { "toolUse": { "toolUseId": "t", "name": "f", "input": { "a": 1 } } }] } },
            "stopReason": "tool_use", "usage": { "inputTokens": 9, "outputTokens": 9, "totalTokens": 18 } }),
        "cohere" => {
            json!({ "id": "c", "finish_reason": "TOOL_CALL", "message": { "role": "assistant",
                "content": [{ "type": "text", "text": text }], "tool_calls": [
                    { "id": "t", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } }] },
            "usage": { "tokens": { "input_tokens": 9, "output_tokens": 9 } } })
        }
        _ => {
            json!({ "candidates": [{ "index": 0, "finishReason": "STOP", "content": { "role": "model", "parts": [
                { "text": text }, { "functionCall": { "id": "t", "name": "f", "args": { "a": 1 } } }] } }],
            "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": 9, "totalTokenCount": 18 } })
        }
    }
}

fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, dialect) in DIALECTS {
        let body = answer(name).to_string().into_bytes();
        let base = format!("serde_json-{name}");
        let bytes = body.clone();
        cases.push(case("answer", base.clone(), &base, move || {
            drop(black_box(reprint(&bytes)))
        }));
        for (client, make) in FACES {
            let (bytes, face) = (body.clone(), make());
            cases.push(case(
                "answer",
                format!("{name}-{client}"),
                &base,
                move || {
                    let read = dialect
                        .answer("m", &bytes)
                        .expect("an answer")
                        .expect("a success");
                    drop(black_box(face.answer(&read, &label())));
                },
            ));
        }
    }
    cases
}

type MakeFace = fn() -> Box<dyn Face>;

const FACES: [(&str, MakeFace); 4] = [
    ("chat", || Box::new(Chat::default())),
    ("completions", || Box::new(Completions)),
    ("messages", || Box::new(MessagesFace)),
    ("responses", || Box::new(Responses::default())),
];

fn label() -> Label {
    Label {
        id: None,
        model: "asked".into(),
        seed: "0123456789abcdef".into(),
        created: 1_700_000_000,
        include_usage: true,
    }
}

/// The events of a stream of one text: what comes before, a delta, what comes after.
fn events(name: &str) -> [Vec<(&'static str, Value)>; 3] {
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18 });
    match name {
        "compatible" => {
            let chunk = |choice: Value| {
                (
                    "",
                    json!({ "id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice] }),
                )
            };
            [
                vec![chunk(
                    json!({ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null }),
                )],
                vec![chunk(
                    json!({ "index": 0, "delta": { "content": "It snows" }, "finish_reason": null }),
                )],
                vec![
                    chunk(json!({ "index": 0, "delta": {}, "finish_reason": "stop" })),
                    ("", json!({ "id": "c", "choices": [], "usage": usage })),
                ],
            ]
        }
        "anthropic" => [
            vec![
                (
                    "message_start",
                    json!({ "type": "message_start", "message": { "id": "m", "model": "m", "usage": { "input_tokens": 9, "output_tokens": 1 } } }),
                ),
                (
                    "content_block_start",
                    json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                ),
            ],
            vec![(
                "content_block_delta",
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "It snows" } }),
            )],
            vec![
                (
                    "content_block_stop",
                    json!({ "type": "content_block_stop", "index": 0 }),
                ),
                (
                    "message_delta",
                    json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 9 } }),
                ),
                ("message_stop", json!({ "type": "message_stop" })),
            ],
        ],
        "bedrock" => [
            vec![("messageStart", json!({ "role": "assistant" }))],
            vec![(
                "contentBlockDelta",
                json!({ "contentBlockIndex": 0, "delta": { "text": "It snows" }, "p": "abcdefgh" }),
            )],
            vec![
                ("messageStop", json!({ "stopReason": "end_turn" })),
                (
                    "metadata",
                    json!({ "usage": { "inputTokens": 9, "outputTokens": 9, "totalTokens": 18 } }),
                ),
            ],
        ],
        "cohere" => [
            vec![(
                "message-start",
                json!({ "type": "message-start", "id": "c", "delta": { "message": { "role": "assistant" } } }),
            )],
            vec![(
                "content-delta",
                json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "text": "It snows" } } } }),
            )],
            vec![(
                "message-end",
                json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE", "usage": { "tokens": { "input_tokens": 9, "output_tokens": 9 } } } }),
            )],
        ],
        _ => {
            let chunk = |candidate: Value| {
                (
                    "",
                    json!({ "candidates": [candidate], "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": 9 }, "modelVersion": "m", "responseId": "r" }),
                )
            };
            let content = json!({ "role": "model", "parts": [{ "text": "It snows" }] });
            [
                vec![],
                vec![chunk(json!({ "index": 0, "content": content }))],
                vec![chunk(json!({ "index": 0, "finishReason": "STOP" }))],
            ]
        }
    }
}

/// An event as its provider frames it.
fn framed(name: &str, kind: &str, json: &Value) -> Bytes {
    if name != "bedrock" {
        let named = if kind.is_empty() {
            String::new()
        } else {
            format!("event: {kind}\n")
        };
        return format!("{named}data: {json}\n\n").into();
    }
    let text =
        |name: &str, value: &str| (name.to_owned(), eventstream::Value::Text(value.to_owned()));
    let message = eventstream::Message {
        headers: vec![
            text(":event-type", kind),
            text(":content-type", "application/json"),
            text(":message-type", "event"),
        ],
        payload: json.to_string().into(),
    };
    message.encode().expect("a short message").into()
}

/// Each delta comes in a read of its own, as models write them.
fn streams() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, dialect) in DIALECTS {
        let [before, delta, after] = events(name);
        let deltas = std::iter::repeat_n(delta, DELTAS).flatten();
        let all: Vec<(&str, Value)> = before.into_iter().chain(deltas).chain(after).collect();
        let pieces: Vec<Bytes> = all
            .iter()
            .map(|(kind, json)| framed(name, kind, json))
            .collect();
        let bodies: Vec<String> = all.iter().map(|(_, json)| json.to_string()).collect();
        let base = format!("serde_json-{name}");
        let mut against = case("event", base.clone(), &base, move || {
            bodies
                .iter()
                .for_each(|body| drop(black_box(reprint(body.as_bytes()))));
        });
        against.operations = all.len();
        cases.push(against);
        for (client, make) in FACES {
            let (pieces, face) = (pieces.clone(), make());
            let mut one = case("event", format!("{name}-{client}"), &base, move || {
                translate(dialect, face.as_ref(), &pieces);
            });
            one.operations = all.len();
            cases.push(one);
        }
    }
    cases
}

/// As the relay does it: all that one read tells goes out in one write.
fn translate(dialect: &dyn Dialect, face: &dyn Face, pieces: &[Bytes]) {
    let (mut decoder, mut encoder) = (dialect.decoder("m", 1 << 20), face.encoder(label()));
    let mut events: Vec<Event> = Vec::new();
    for piece in pieces {
        decoder.push(piece.clone(), &mut events).expect("a stream");
        let mut out = Vec::new();
        events
            .drain(..)
            .for_each(|event| encoder.encode(event, &mut out));
        black_box(&out);
    }
    decoder.end(&mut events).expect("a whole stream");
    let mut out = Vec::new();
    events.push(Event::End);
    events
        .drain(..)
        .for_each(|event| encoder.encode(event, &mut out));
    black_box(&out);
}
