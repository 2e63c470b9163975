//! Requests of all roles, parts, tools and thoughts through the format's own provider side and
//! back: what the client said is what the provider reads.

use super::drawn::{config, name, text};
use super::properties::formats::COMPATIBLE;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tollgate::chat::Capabilities;
use tollgate::dialect::anthropic::Anthropic;
use tollgate::dialect::messages_face::MessagesFace;
use tollgate::dialect::openai_chat::Chat;
use tollgate::dialect::{Dialect, Face, Target};

/// What a provider is sent, read as a request of the same format.
fn there_and_back(
    (face, dialect): (&dyn Face, &dyn Dialect),
    options: &BTreeMap<String, String>,
    body: &Value,
) -> Result<(), TestCaseError> {
    let refused = |why: String| TestCaseError::fail(format!("{why}: {body}"));
    let read = |body: &[u8]| face.parse(body).map_err(|e| refused(e.to_string()));
    let asked = read(body.to_string().as_bytes())?;
    let able = Capabilities::default();
    let target = Target {
        capabilities: &able,
        options,
        strict: true,
    };
    let sent = dialect
        .chat(&asked, target)
        .map_err(|e| refused(e.to_string()))?;
    prop_assert_eq!(read(&sent.body)?, asked);
    Ok(())
}

/// An object of the members that are there.
fn of(members: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let there = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect())
}

fn schema() -> impl Strategy<Value = Value> {
    vec((name(), prop_oneof![Just("string"), Just("number")]), 0..3).prop_map(|fields| {
        let fields = fields
            .into_iter()
            .map(|(name, kind)| (name, json!({ "type": kind })));
        json!({ "type": "object", "properties": fields.collect::<Map<_, _>>() })
    })
}

/// A call's arguments.
fn arguments() -> impl Strategy<Value = Value> {
    vec((name(), text()), 0..3).prop_map(|fields| {
        Value::Object(
            fields
                .into_iter()
                .map(|(name, text)| (name, text.into()))
                .collect(),
        )
    })
}

/// Up to two calls, whose ids are made by their place.
fn calls() -> impl Strategy<Value = Vec<(String, Value)>> {
    vec((name(), arguments()), 0..3)
}

mod chat {
    use super::*;

    fn part() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => text().prop_map(|text| json!({ "type": "text", "text": text })),
            1 => option::of(prop_oneof![Just("low"), Just("high"), Just("auto")]).prop_map(|detail| {
                let url = of([("url", Some("data:image/png;base64,AAAA".into())), ("detail", detail.map(Value::from))]);
                json!({ "type": "image_url", "image_url": url })
            }),
            1 => name().prop_map(|path| json!({ "type": "image_url", "image_url": { "url": format!("https://example.com/{path}") } })),
            1 => Just(json!({ "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } })),
            1 => name().prop_map(|name| json!({ "type": "file", "file": { "filename": name, "file_data": "data:application/pdf;base64,AAAA" } })),
            1 => name().prop_map(|id| json!({ "type": "file", "file": { "file_id": id } })),
        ]
    }

    fn content() -> impl Strategy<Value = Value> {
        prop_oneof![
            text().prop_map(Value::from),
            vec(part(), 1..4).prop_map(Value::from)
        ]
    }

    /// A turn of the user and one of the model with what its tools gave back.
    fn turn() -> impl Strategy<Value = Vec<Value>> {
        let user = (content(), option::of(name())).prop_map(|(content, name)| {
            of([
                ("role", Some("user".into())),
                ("content", Some(content)),
                ("name", name.map(Value::from)),
            ])
        });
        let model = (option::of(text()), option::of(text()), calls(), text());
        (user, model).prop_map(|(user, (text, thought, calls, given))| {
            let calls: Vec<(String, Value)> = calls.into_iter().enumerate().map(|(at, (name, arguments))| {
                let id = format!("call_{at}");
                let call = json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments.to_string() } });
                (id, call)
            }).collect();
            let silent = text.is_none() && calls.is_empty();
            let called: Vec<Value> = calls.iter().map(|(_, call)| call.clone()).collect();
            let spoken = of([
                ("role", Some("assistant".into())),
                ("content", if silent { Some("Yes.".into()) } else { text.map(Value::from) }),
                ("reasoning_content", thought.map(Value::from)),
                ("tool_calls", (!called.is_empty()).then(|| called.into())),
            ]);
            let results = calls.iter().map(|(id, _)| json!({ "role": "tool", "tool_call_id": id, "content": given }));
            [user, spoken].into_iter().chain(results).collect()
        })
    }

    fn tools() -> impl Strategy<Value = Vec<Value>> {
        vec(
            (
                option::of(text()),
                option::of(schema()),
                option::of(any::<bool>()),
            ),
            0..3,
        )
        .prop_map(|tools| {
            tools
                .into_iter()
                .enumerate()
                .map(|(at, (description, parameters, strict))| {
                    let function = of([
                        ("name", Some(format!("tool_{at}").into())),
                        ("description", description.map(Value::from)),
                        ("parameters", parameters),
                        ("strict", strict.map(Value::from)),
                    ]);
                    json!({ "type": "function", "function": function })
                })
                .collect()
        })
    }

    fn format() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!({ "type": "json_object" })),
            (name(), schema(), option::of(any::<bool>())).prop_map(|(name, schema, strict)| {
                let inner = of([
                    ("name", Some(name.into())),
                    ("schema", Some(schema)),
                    ("strict", strict.map(Value::from)),
                ]);
                json!({ "type": "json_schema", "json_schema": inner })
            }),
        ]
    }

    fn settings() -> impl Strategy<Value = Value> {
        let sampling = (
            option::of(0.0..2.0),
            option::of(0.0..1.0),
            option::of(-2.0..2.0),
            option::of(any::<i32>()),
        );
        let limits = (
            option::of(1_u64..9999),
            option::of(vec(text(), 1..4)),
            option::of(2_u64..5),
            option::of(0_u64..20),
        );
        (
            sampling,
            limits,
            option::of(format()),
            option::of(name()),
            option::of(any::<bool>()),
        )
            .prop_map(
                |(
                    (warm, top, penalty, seed),
                    (longest, stop, n, top_logprobs),
                    format,
                    user,
                    parallel,
                )| {
                    of([
                        ("temperature", warm.map(Value::from)),
                        ("top_p", top.map(Value::from)),
                        ("presence_penalty", penalty.map(Value::from)),
                        ("seed", seed.map(Value::from)),
                        ("max_completion_tokens", longest.map(Value::from)),
                        ("stop", stop.map(Value::from)),
                        ("n", n.map(Value::from)),
                        ("logprobs", top_logprobs.map(|_| true.into())),
                        ("top_logprobs", top_logprobs.map(Value::from)),
                        ("response_format", format),
                        ("user", user.map(Value::from)),
                        ("parallel_tool_calls", parallel.map(Value::from)),
                    ])
                },
            )
    }

    fn request() -> impl Strategy<Value = Value> {
        let system = option::of((prop_oneof![Just("system"), Just("developer")], text()));
        (system, vec(turn(), 1..4), tools(), settings()).prop_map(
            |(system, turns, tools, mut body)| {
                let system = system.map(|(role, text)| json!({ "role": role, "content": text }));
                let messages: Vec<Value> = system
                    .into_iter()
                    .chain(turns.into_iter().flatten())
                    .collect();
                body["model"] = "m".into();
                body["messages"] = messages.into();
                match body.as_object_mut() {
                    Some(members) if tools.is_empty() => {
                        drop(members.remove("parallel_tool_calls"))
                    }
                    _ => body["tools"] = tools.into(),
                }
                body
            },
        )
    }

    proptest! {
        #![proptest_config(config(200))]

        #[test]
        fn chat_completions_come_back(body in request()) {
            // Thoughts go back to providers that ask for them.
            let options = [("thoughts", "reasoning_content")];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            there_and_back((&Chat::default(), &COMPATIBLE), &options, &body)?;
        }
    }
}

mod messages {
    use super::*;

    fn marked(mut block: Value, cached: bool) -> Value {
        if cached {
            block["cache_control"] = json!({ "type": "ephemeral" });
        }
        block
    }

    fn block() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => text().prop_map(|text| json!({ "type": "text", "text": text })),
            1 => Just(json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } })),
            1 => Just(json!({ "type": "image", "source": { "type": "url", "url": "https://example.com/a.png" } })),
            1 => option::of(name()).prop_map(|title| {
                let source = json!({ "type": "base64", "media_type": "application/pdf", "data": "AAAA" });
                of([("type", Some("document".into())), ("source", Some(source)), ("title", title.map(Value::from))])
            }),
        ]
    }

    fn markable() -> impl Strategy<Value = Value> {
        (block(), prop::bool::weighted(0.1)).prop_map(|(block, cached)| marked(block, cached))
    }

    /// What the user says, what the model answers, and what its tools gave back.
    fn turn() -> impl Strategy<Value = Vec<Value>> {
        let model = (
            option::of(text()),
            text(),
            calls(),
            vec(block(), 1..3),
            any::<bool>(),
        );
        (vec(markable(), 1..4), model).prop_map(|(said, (thought, text, calls, given, wrong))| {
            let mut content = Vec::new();
            content.extend(thought.map(
                |thought| json!({ "type": "thinking", "thinking": thought, "signature": "c2ln" }),
            ));
            content.push(json!({ "type": "text", "text": text }));
            let mut results = Vec::new();
            for (at, (name, input)) in calls.into_iter().enumerate() {
                let id = format!("toolu_{at}");
                content.push(json!({ "type": "tool_use", "id": id, "name": name, "input": input }));
                let failed = wrong.then(|| true.into());
                results.push(of([
                    ("type", Some("tool_result".into())),
                    ("tool_use_id", Some(id.into())),
                    ("content", Some(given.clone().into())),
                    ("is_error", failed),
                ]));
            }
            let mut turn = vec![
                json!({ "role": "user", "content": said }),
                json!({ "role": "assistant", "content": content }),
            ];
            if !results.is_empty() {
                results.push(json!({ "type": "text", "text": "And?" }));
                turn.push(json!({ "role": "user", "content": results }));
                turn.push(
                    json!({ "role": "assistant", "content": [{ "type": "text", "text": "So." }] }),
                );
            }
            turn
        })
    }

    fn request() -> impl Strategy<Value = Value> {
        let tools = vec((option::of(text()), schema()), 1..3).prop_map(|tools| {
            let tool = |(at, (description, schema)): (usize, (Option<String>, Value))| {
                of([
                    ("name", Some(format!("tool_{at}").into())),
                    ("description", description.map(Value::from)),
                    ("input_schema", Some(schema)),
                ])
            };
            tools.into_iter().enumerate().map(tool).collect::<Vec<_>>()
        });
        let settings = (
            1_u64..9999,
            option::of(0.0..1.0),
            option::of(1_u64..99),
            option::of(vec(text(), 1..3)),
            option::of(name()),
        );
        let system = option::of(vec(text(), 1..3));
        (
            system,
            vec(turn(), 1..3),
            vec(markable(), 1..3),
            tools,
            settings,
        )
            .prop_map(
                |(system, turns, last, tools, (longest, warm, top_k, stop, user))| {
                    let last = json!({ "role": "user", "content": last });
                    let messages: Vec<Value> = turns.into_iter().flatten().chain([last]).collect();
                    let block = |text: String| json!({ "type": "text", "text": text });
                    of([
                        ("model", Some("m".into())),
                        ("max_tokens", Some(longest.into())),
                        (
                            "system",
                            system.map(|texts| texts.into_iter().map(block).collect()),
                        ),
                        ("messages", Some(messages.into())),
                        ("tools", Some(tools.into())),
                        ("temperature", warm.map(Value::from)),
                        ("top_k", top_k.map(Value::from)),
                        ("stop_sequences", stop.map(Value::from)),
                        ("metadata", user.map(|user| json!({ "user_id": user }))),
                    ])
                },
            )
    }

    proptest! {
        #![proptest_config(config(200))]

        #[test]
        fn messages_come_back(body in request()) {
            there_and_back((&MessagesFace, &Anthropic), &BTreeMap::new(), &body)?;
        }
    }
}
