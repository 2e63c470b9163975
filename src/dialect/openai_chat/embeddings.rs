//! Embeddings of compatible providers. Floats are asked for, whatever the
//! client wants: some providers know nothing else. Base64 is read all the
//! same.

use super::super::{Embeddings, Rendered, Target, Vectors};
use super::options::{self, Options};
use super::shape;
use crate::chat::{DecodeError, Losses, Operation, Unsupported};
use crate::wire::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

pub(super) fn render(asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
    let options = Options(target.options);
    let mut losses = Losses::new(target.strict);
    let mut body: Map<String, Value> = asked.other.clone();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if !options.deployment() {
        set("model", asked.model.clone().into());
    }
    set("input", asked.texts.clone().into());
    set("encoding_format", "float".into());
    if let Some(dimensions) = asked.dimensions {
        set("dimensions", dimensions.into());
    }
    if let Some(user) = &asked.user {
        set("user", user.clone().into());
    }
    for name in options.list("refuse") {
        if body.contains_key(name) {
            let reason = format!("'{name}' is not supported by this model's provider.");
            return Err(Unsupported::new(name, reason));
        }
    }
    for name in options.list("drop") {
        let kept = matches!(name, "model" | "input");
        // The encoding is not the client's wish but this dialect's.
        if !kept && body.remove(name).is_some() && name != "encoding_format" {
            losses.drop(name)?;
        }
    }
    for (from, to) in options.pairs("rename") {
        if let Some(value) = body.remove(from) {
            body.insert(to.to_owned(), value);
        }
    }
    for (name, value) in options.object("embeddings_extra") {
        body.entry(name).or_insert(value);
    }
    Ok(Rendered {
        path: options::path(target.options, Operation::Embeddings, &asked.model),
        body: Value::Object(body).to_string().into_bytes(),
        headers: Vec::new(),
        dropped: losses.dropped,
    })
}

pub(super) fn read(body: &[u8]) -> Result<Vectors, DecodeError> {
    let value = json::lenient::<Value>(body).ok_or(DecodeError::Malformed("embeddings in JSON"))?;
    let items = value
        .get("data")
        .and_then(Value::as_array)
        .ok_or(DecodeError::Malformed("a list of embeddings"))?;
    let mut ordered = Vec::with_capacity(items.len());
    for (at, item) in (0..).zip(items) {
        let index = item.get("index").and_then(shape::whole).unwrap_or(at);
        let vector = item.get("embedding").and_then(vector);
        ordered.push((index, vector.ok_or(DecodeError::Malformed("an embedding"))?));
    }
    ordered.sort_by_key(|(index, _)| *index);
    let counted = value.get("usage");
    let tokens = ["prompt_tokens", "total_tokens"]
        .iter()
        .find_map(|name| counted?.get(*name).and_then(shape::whole));
    Ok(Vectors {
        vectors: ordered.into_iter().map(|(_, vector)| vector).collect(),
        tokens,
    })
}

fn vector(value: &Value) -> Option<Vec<f32>> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "embeddings are f32 to begin with"
    )]
    let float = |value: &Value| value.as_f64().map(|float| float as f32);
    match value {
        Value::Array(floats) => floats.iter().map(float).collect(),
        Value::String(text) => {
            let bytes = STANDARD
                .decode(text)
                .ok()
                .filter(|bytes| bytes.len() % 4 == 0)?;
            let quads = bytes.chunks_exact(4);
            quads
                .map(|quad| Some(f32::from_le_bytes(quad.try_into().ok()?)))
                .collect()
        }
        _ => None,
    }
}
