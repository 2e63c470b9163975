//! Embeddings: `batchEmbedContents` at AI Studio, `predict` at Vertex, or
//! `embedContent` there if the provider's options say so.

use super::lenient::as_count;
use super::{Embeddings, Flavour, Target, Vectors};
use crate::chat::{DecodeError, Losses, Unsupported};
use crate::wire::json::lenient;
use serde_json::{Map, Value, json};

pub(super) struct Written {
    pub(super) method: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) dropped: Vec<String>,
}

/// Writes a request for embeddings.
pub(super) fn request(
    flavour: Flavour,
    asked: &Embeddings,
    target: Target<'_>,
) -> Result<Written, Unsupported> {
    let mut losses = Losses::new(target.strict);
    let task = task(asked, &mut losses)?;
    let by_content = target
        .options
        .get("embedding_method")
        .is_some_and(|m| m == "embedContent");
    let (method, body) = match flavour {
        Flavour::AiStudio => ("batchEmbedContents", batch(asked, task)),
        Flavour::Vertex if by_content => ("embedContent", single(asked, task)?),
        Flavour::Vertex => ("predict", predict(asked, task)),
    };
    let body = super::request::bytes(&body)?;
    Ok(Written {
        method,
        body,
        dropped: losses.dropped,
    })
}

/// What the vectors are for, in Google's words; Cohere's are understood.
fn task(asked: &Embeddings, losses: &mut Losses) -> Result<Option<String>, Unsupported> {
    if asked.user.is_some() {
        losses.drop("user")?;
    }
    let mut task = None;
    for (name, value) in &asked.other {
        match (name.as_str(), value.as_str()) {
            ("task_type" | "taskType", Some(word)) => task = Some(word.to_owned()),
            ("input_type", Some("search_document")) => task = Some("RETRIEVAL_DOCUMENT".to_owned()),
            ("input_type", Some("search_query")) => task = Some("RETRIEVAL_QUERY".to_owned()),
            ("input_type", Some("classification")) => task = Some("CLASSIFICATION".to_owned()),
            ("input_type", Some("clustering")) => task = Some("CLUSTERING".to_owned()),
            _ if value.is_null() => {}
            (name, _) => losses.drop(name)?,
        }
    }
    Ok(task)
}

fn batch(asked: &Embeddings, task: Option<String>) -> Value {
    let model = asked.model.strip_prefix("models/").unwrap_or(&asked.model);
    let requests: Vec<Value> = asked
        .texts
        .iter()
        .map(|text| {
            let mut request = content(text, asked.dimensions, task.as_deref());
            request.insert("model".to_owned(), format!("models/{model}").into());
            request.into()
        })
        .collect();
    json!({ "requests": requests })
}

fn single(asked: &Embeddings, task: Option<String>) -> Result<Value, Unsupported> {
    match asked.texts.as_slice() {
        [text] => Ok(content(text, asked.dimensions, task.as_deref()).into()),
        _ => Err(Unsupported::new(
            "input",
            "This model takes one text at a time.",
        )),
    }
}

fn content(text: &str, dimensions: Option<u64>, task: Option<&str>) -> Map<String, Value> {
    let mut request = Map::new();
    request.insert("content".to_owned(), json!({ "parts": [{ "text": text }] }));
    if let Some(dimensions) = dimensions {
        request.insert("outputDimensionality".to_owned(), dimensions.into());
    }
    if let Some(task) = task {
        request.insert("taskType".to_owned(), task.into());
    }
    request
}

fn predict(asked: &Embeddings, task: Option<String>) -> Value {
    let instances: Vec<Value> = asked
        .texts
        .iter()
        .map(|text| match &task {
            Some(task) => json!({ "content": text, "task_type": task }),
            None => json!({ "content": text }),
        })
        .collect();
    match asked.dimensions {
        Some(dimensions) => {
            json!({ "instances": instances, "parameters": { "outputDimensionality": dimensions } })
        }
        None => json!({ "instances": instances }),
    }
}

/// Reads embeddings of any of the three.
pub(super) fn read(body: &[u8]) -> Result<Vectors, DecodeError> {
    const WRONG: DecodeError = DecodeError::Malformed("embeddings");
    let body: Value = lenient(body).ok_or(WRONG)?;
    let list = |name: &str| body.get(name).and_then(Value::as_array);
    let embeddings: Vec<&Value> = if let Some(embeddings) = list("embeddings") {
        embeddings.iter().collect()
    } else if let Some(predictions) = list("predictions") {
        let embeddings = predictions.iter().map(|p| p.get("embeddings"));
        embeddings.collect::<Option<_>>().ok_or(WRONG)?
    } else {
        vec![body.get("embedding").ok_or(WRONG)?]
    };
    let vectors = embeddings.iter().map(|e| vector(e)).collect::<Option<_>>();
    Ok(Vectors {
        vectors: vectors.ok_or(WRONG)?,
        tokens: tokens(&body, &embeddings),
    })
}

fn vector(embedding: &Value) -> Option<Vec<f32>> {
    let values = embedding.get("values")?.as_array()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "vectors are f32 wherever they are made"
    )]
    values
        .iter()
        .map(|value| value.as_f64().map(|value| value as f32))
        .collect()
}

/// Input tokens: of the whole, or of each.
fn tokens(body: &Value, embeddings: &[&Value]) -> Option<u64> {
    let whole = body
        .get("usageMetadata")
        .and_then(|usage| usage.get("promptTokenCount"));
    whole.and_then(as_count).or_else(|| {
        let each = embeddings
            .iter()
            .map(|e| as_count(e.get("statistics")?.get("token_count")?));
        let each: Vec<u64> = each.collect::<Option<_>>()?;
        (!each.is_empty()).then(|| each.into_iter().fold(0, u64::saturating_add))
    })
}
