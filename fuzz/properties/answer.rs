//! Whole answers, failures and embeddings: read from any bytes, written for every client.

use super::formats::{faces, label};
use super::shown;
use super::strict;
use serde_json::Value;
use tollgate::chat::{Answer, Failure};
use tollgate::dialect::anthropic::Anthropic;
use tollgate::dialect::bedrock::Bedrock;
use tollgate::dialect::cohere::Cohere;
use tollgate::dialect::gemini::{Flavour, Gemini};
use tollgate::dialect::openai_chat::Compatible;
use tollgate::dialect::{Dialect, embeddings, openai};

pub fn anthropic(bytes: &[u8]) {
    read(&Anthropic, bytes);
}

pub fn bedrock(bytes: &[u8]) {
    read(&Bedrock, bytes);
}

pub fn cohere(bytes: &[u8]) {
    read(&Cohere, bytes);
}

pub fn compatible(bytes: &[u8]) {
    for think_tags in [false, true] {
        read(&Compatible { think_tags }, bytes);
    }
}

pub fn gemini(bytes: &[u8]) {
    read(&Gemini::new(Flavour::AiStudio), bytes);
    vectors(&Gemini::new(Flavour::Vertex), bytes);
}

fn read(dialect: &dyn Dialect, bytes: &[u8]) {
    match dialect.answer("m", bytes) {
        Ok(Ok(answer)) => {
            assert!(
                !answer.choices.is_empty(),
                "an answer without any: {}",
                shown(bytes)
            );
            written(&answer);
        }
        Ok(Err(failure)) => failed(failure),
        Err(_) => {}
    }
    for status in [
        400, 401, 403, 404, 408, 413, 424, 429, 498, 500, 503, 529, 599,
    ] {
        let header = |name: &str| header(name, bytes);
        let failure = dialect.failure(status, &header, bytes);
        assert!((400..600).contains(&failure.status), "{failure:?}");
        failed(failure);
    }
    vectors(dialect, bytes);
}

/// The headers that failures are read from, with a value of the input's.
fn header(name: &str, bytes: &[u8]) -> Option<String> {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    (name.len() % 2 == line.len() % 2).then(|| shown(line))
}

/// Every client's form of an answer is JSON in which no name stands twice, and holds the text
/// and the calls of the first choice.
pub fn written(answer: &Answer) {
    for (name, face) in faces() {
        let body = strict::read(&face.answer(answer, &label()));
        let mut texts = Vec::new();
        strict::texts(&body, &mut texts);
        let Some(choice) = answer.choices.first() else {
            continue;
        };
        if let Some(text) = &choice.text {
            let mut said = String::new();
            spoken(&body, &mut said);
            let whole = texts.iter().any(|found| found.contains(text.as_str()));
            assert!(
                whole || said.contains(text.as_str()),
                "{name}: {text:?} is not in {body}"
            );
        }
        if name == "completions" {
            continue;
        }
        for call in &choice.calls {
            assert!(
                texts.iter().any(|found| *found == call.name),
                "{name}: {call:?} is not in {body}"
            );
            arguments(name, &call.arguments, &body, &texts);
        }
    }
}

/// The texts of all blocks, which may stand between calls and thoughts.
fn spoken(value: &Value, said: &mut String) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| spoken(item, said)),
        Value::Object(members) => {
            if members
                .get("type")
                .is_some_and(|kind| kind == "text" || kind == "output_text")
            {
                let text = members.get("text").and_then(Value::as_str);
                said.push_str(text.unwrap_or_default());
            }
            members.values().for_each(|member| spoken(member, said));
        }
        _ => {}
    }
}

/// As their text, or as the JSON that they are.
fn arguments(face: &str, text: &str, body: &Value, texts: &[&str]) {
    let said = texts.contains(&text) || text.is_empty();
    let json = serde_json::from_str::<Value>(text);
    let held = json.is_ok_and(|json| holds(body, &json));
    assert!(said || held, "{face}: {text:?} is not in {body}");
}

/// Whether a value is somewhere in another.
pub fn holds(whole: &Value, part: &Value) -> bool {
    whole == part
        || match whole {
            Value::Array(items) => items.iter().any(|item| holds(item, part)),
            Value::Object(members) => members.values().any(|member| holds(member, part)),
            _ => false,
        }
}

fn failed(failure: Failure) {
    let error = openai::refusal(failure, str::to_owned);
    assert!((400..600).contains(&error.status()), "{error:?}");
    for (_, face) in faces() {
        let (status, body) = face.error(&error);
        assert!((400..600).contains(&status), "{status}");
        assert!(strict::read(&body)["error"].is_object());
    }
}

/// Numbers of an embedding are numbers when they are written, and all of them are.
fn vectors(dialect: &dyn Dialect, bytes: &[u8]) {
    let Ok(read) = dialect
        .embedded(&|_| Some("3".into()), bytes)
        .and_then(embeddings::finite)
    else {
        return;
    };
    let body = strict::read(&embeddings::render(&read, "asked", false));
    let rows = body["data"].as_array().expect("rows");
    assert_eq!(rows.len(), read.vectors.len());
    for (row, vector) in rows.iter().zip(&read.vectors) {
        let numbers = row["embedding"].as_array().expect("numbers");
        assert_eq!(numbers.len(), vector.len());
        assert!(numbers.iter().all(Value::is_number), "{body}");
    }
    strict::read(&embeddings::render(&read, "asked", true));
}
