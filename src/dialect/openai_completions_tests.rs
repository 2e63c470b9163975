use super::*;
use crate::chat::{Thought, ToolCall};

fn parse(more: &Value) -> Result<Conversation, GatewayError> {
    let mut body = json!({ "model": "m", "prompt": "Once" });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Completions.parse(body.to_string().as_bytes())
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

#[test]
fn a_prompt_is_a_message_of_the_user() {
    for prompt in [json!("Once"), json!(["Once"])] {
        let asked = parse(&json!({ "prompt": prompt, "echo": false, "best_of": 1, "suffix": "", "logprobs": null, "n": 2, "stop": "." })).unwrap();
        assert_eq!(
            asked.messages,
            [Message::User {
                parts: vec![Part::text("Once")],
                name: None
            }]
        );
        assert_eq!(
            (
                asked.max_tokens,
                asked.n,
                asked.stop.len(),
                asked.other.len()
            ),
            (Some(16), Some(2), 1, 0)
        );
    }
    let asked = parse(&json!({ "max_tokens": 5, "stream": true, "stream_options": { "include_usage": true }, "min_p": 1 })).unwrap();
    assert_eq!(
        (asked.max_tokens, asked.include_usage, asked.other.len()),
        (Some(5), true, 1)
    );
}

#[test]
fn what_a_chat_cannot_do_is_refused() {
    for (more, param) in [
        (json!({ "prompt": null }), "prompt"),
        (json!({ "prompt": [] }), "prompt"),
        (json!({ "prompt": [1, 2] }), "prompt"),
        (json!({ "prompt": [[1, 2]] }), "prompt"),
        (json!({ "prompt": ["a", "b"] }), "prompt"),
        (json!({ "prompt": {} }), "prompt"),
        (json!({ "model": null }), "model"),
        (json!({ "echo": true }), "echo"),
        (json!({ "suffix": "x" }), "suffix"),
        (json!({ "best_of": 2 }), "best_of"),
        (json!({ "logprobs": 0 }), "logprobs"),
    ] {
        let error = parse(&more).expect_err(&more.to_string());
        assert_eq!(
            (error.status(), error.param()),
            (400, Some(param)),
            "{more}"
        );
    }
}

#[test]
fn a_whole_answer() {
    let choice = Choice {
        text: Some(" upon".into()),
        finish: Some(Finish::Length),
        ..Choice::default()
    };
    let called = Choice {
        calls: vec![ToolCall::default()],
        ..Choice::default()
    };
    let usage = Some(Usage {
        prompt: 1,
        completion: 2,
        ..Usage::default()
    });
    let answer = Answer {
        choices: vec![choice, called],
        usage,
        ..Answer::default()
    };
    let got: Value = serde_json::from_slice(&Completions.answer(&answer, &label())).unwrap();
    assert_eq!(
        (&got["id"], &got["object"], &got["model"]),
        (
            &json!("cmpl-seed"),
            &json!("text_completion"),
            &json!("asked")
        )
    );
    assert_eq!(
        got["choices"][0],
        json!({ "index": 0, "text": " upon", "logprobs": null, "finish_reason": "length" })
    );
    assert_eq!(
        (
            &got["choices"][1]["finish_reason"],
            &got["usage"]["total_tokens"]
        ),
        (&json!("stop"), &json!(3))
    );
}

fn encoded(events: Vec<Event>, label: Label) -> String {
    let mut encoder = Completions.encoder(label);
    let mut out = Vec::new();
    for event in events {
        encoder.encode(event, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream() {
    let text = |text: &str| Event::Text {
        choice: 0,
        text: text.into(),
    };
    let finish = Event::Finish {
        choice: 0,
        finish: Finish::Stop,
    };
    let events = vec![
        Event::Start {
            id: Some("x".into()),
            model: None,
        },
        Event::Thought {
            choice: 0,
            text: Thought::default().text,
        },
        Event::Ping,
        text("a"),
        text(""),
        finish.clone(),
        text("late"),
        Event::Usage(Usage {
            prompt: 1,
            ..Usage::default()
        }),
        Event::End,
        text("later"),
    ];
    let out = encoded(events.clone(), label());
    let (pings, rest): (Vec<&str>, Vec<&str>) = out
        .split_terminator("\n\n")
        .partition(|event| event.starts_with(':'));
    assert_eq!(
        (pings.len(), rest.len(), rest.last()),
        (1, 4, Some(&"data: [DONE]"))
    );
    let chunk: Value = serde_json::from_str(rest[0].strip_prefix("data: ").unwrap()).unwrap();
    let choices = json!([{ "index": 0, "text": "a", "logprobs": null, "finish_reason": null }]);
    let expected = json!({ "id": "x", "object": "text_completion", "created": 7, "model": "asked", "choices": choices, "usage": null });
    assert_eq!(chunk, expected);
    assert!(rest[2].contains("\"choices\":[]") && rest[2].contains("\"prompt_tokens\":1"));
    assert!(
        !encoded(
            events,
            Label {
                include_usage: false,
                ..label()
            }
        )
        .contains("usage")
    );
    for cut in [
        vec![Event::End],
        vec![text("a"), Event::End],
        vec![Event::Failed(crate::chat::Failure::default())],
    ] {
        let out = encoded(cut, label());
        assert!(
            out.contains("\"error\"") && !out.contains("[DONE]"),
            "{out}"
        );
    }
}
