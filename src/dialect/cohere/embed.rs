//! Embeddings: `/v2/embed`.

use serde_json::{Map, Value, json};

use super::super::{Embeddings, Rendered, Target, Vectors};
use super::answer::count;
use crate::chat::{DecodeError, Losses, Unsupported};

/// Texts that one request may hold.
const TEXTS: usize = 96;

/// What the vectors are for, unless the client says it in `input_type`.
const PURPOSE: &str = "search_document";

pub(super) fn render(asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
    if asked.texts.len() > TEXTS {
        let reason = "Cohere embeds at most 96 texts in a request.";
        return Err(Unsupported::new("input", reason));
    }
    let mut losses = Losses::new(target.strict);
    let mut body = Map::new();
    body.insert("model".into(), asked.model.as_str().into());
    body.insert("texts".into(), json!(asked.texts));
    body.insert("input_type".into(), PURPOSE.into());
    body.insert("embedding_types".into(), json!(["float"]));
    // Cohere cuts a text that is too long unless told not to; OpenAI refuses it.
    body.insert("truncate".into(), "NONE".into());
    if let Some(dimensions) = asked.dimensions {
        body.insert("output_dimension".into(), dimensions.into());
    }
    if asked.user.is_some() {
        losses.drop("user")?;
    }
    for (name, value) in asked.other.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "input_type" | "truncate" if value.is_string() => {
                body.insert(name.clone(), value.clone());
            }
            "input_type" | "truncate" => {
                return Err(Unsupported::new(name.as_str(), "It must be a string."));
            }
            _ => losses.drop(name)?,
        }
    }
    Ok(Rendered {
        path: "/v2/embed".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        headers: Vec::new(),
        dropped: losses.dropped,
    })
}

pub(super) fn read(body: &[u8]) -> Result<Vectors, DecodeError> {
    let body: Value =
        serde_json::from_slice(body).map_err(|_| DecodeError::Malformed("embeddings"))?;
    let lists = match body.get("embeddings") {
        Some(Value::Object(by_type)) => by_type.get("float").and_then(Value::as_array),
        Some(Value::Array(lists)) => Some(lists),
        _ => None,
    };
    let lists = lists.ok_or(DecodeError::Malformed("embeddings"))?;
    Ok(Vectors {
        vectors: lists.iter().map(vector).collect::<Result<_, _>>()?,
        tokens: count(body.pointer("/meta/billed_units/input_tokens"))
            .or_else(|| count(body.pointer("/meta/tokens/input_tokens"))),
    })
}

fn vector(list: &Value) -> Result<Vec<f32>, DecodeError> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the numbers are f32 at their origin; JSON only spells them longer"
    )]
    let number = |value: &Value| value.as_f64().map(|v| v as f32);
    let numbers = list
        .as_array()
        .map(|list| list.iter().map(number).collect());
    numbers.flatten().ok_or(DecodeError::Malformed("a vector"))
}
