//! Embeddings, which are not part of Converse: `InvokeModel` with each maker's own body. Titan
//! takes one text per call, Cohere many.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::path;
use super::request::rendered;
use crate::chat::{DecodeError, Losses, Unsupported};
use crate::dialect::{Embeddings, Rendered, Target, Vectors};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Titan<'a> {
    input_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize: Option<&'a Value>,
}

#[derive(Serialize)]
struct Cohere<'a> {
    texts: &'a [String],
    input_type: &'a str,
    embedding_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<&'a Value>,
}

pub(super) fn request(asked: &Embeddings, target: Target<'_>) -> Result<Rendered, Unsupported> {
    let mut losses = Losses::new(target.strict);
    if asked.user.is_some() {
        losses.drop("user")?;
    }
    let path = path(&asked.model, "invoke")?;
    if asked.model.contains("titan-embed") {
        let body = titan(asked, &mut losses)?;
        return rendered(path, &body, losses);
    }
    if asked.model.contains("cohere.embed") {
        let body = cohere(asked, &mut losses)?;
        return rendered(path, &body, losses);
    }
    Err(Unsupported::new(
        "model",
        "Embeddings of this model are not supported.",
    ))
}

fn titan<'a>(asked: &'a Embeddings, losses: &mut Losses) -> Result<Titan<'a>, Unsupported> {
    let [text] = asked.texts.as_slice() else {
        return Err(Unsupported::new(
            "input",
            "This model embeds one text per request.",
        ));
    };
    // The first version has neither field.
    let first =
        asked.model.contains("titan-embed-text-v1") || asked.model.contains("titan-embed-g1");
    if first && asked.dimensions.is_some() {
        return Err(Unsupported::new(
            "dimensions",
            "This model's embeddings have one length.",
        ));
    }
    let taken: &[&str] = if first { &[] } else { &["normalize"] };
    lose_others(asked, taken, losses)?;
    let normalize = asked.other.get("normalize").filter(|_| !first);
    Ok(Titan {
        input_text: text,
        dimensions: asked.dimensions,
        normalize,
    })
}

fn cohere<'a>(asked: &'a Embeddings, losses: &mut Losses) -> Result<Cohere<'a>, Unsupported> {
    // Only from version 4 on.
    if asked.dimensions.is_some() && asked.model.contains("-v3") {
        return Err(Unsupported::new(
            "dimensions",
            "This model's embeddings have one length.",
        ));
    }
    lose_others(asked, &["input_type", "truncate"], losses)?;
    let input_type = match asked.other.get("input_type").filter(|kind| !kind.is_null()) {
        // OpenAI does not tell texts from queries; what is embedded in numbers are texts.
        None => "search_document",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(Unsupported::new("input_type", "This must be a string.")),
    };
    Ok(Cohere {
        texts: &asked.texts,
        input_type,
        embedding_types: ["float"],
        output_dimension: asked.dimensions,
        truncate: asked.other.get("truncate"),
    })
}

fn lose_others(asked: &Embeddings, taken: &[&str], losses: &mut Losses) -> Result<(), Unsupported> {
    let others = asked
        .other
        .iter()
        .filter(|(name, value)| !value.is_null() && !taken.contains(&name.as_str()));
    for (name, _) in others {
        losses.drop(name)?;
    }
    Ok(())
}

/// Titan's answer or Cohere's: no field is in both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    embedding: Option<Vec<f32>>,
    input_text_token_count: Option<f64>,
    /// By type, or bare.
    #[serde(borrow)]
    embeddings: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ByType {
    float: Vec<Vec<f32>>,
}

pub(super) fn answer(
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Result<Vectors, DecodeError> {
    const MALFORMED: DecodeError = DecodeError::Malformed("embeddings");
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| MALFORMED)?;
    let vectors = match (body.embedding, body.embeddings.map(RawValue::get)) {
        (Some(vector), _) => vec![vector],
        (None, Some(bare)) if bare.starts_with('[') => {
            serde_json::from_str(bare).map_err(|_| MALFORMED)?
        }
        (None, Some(typed)) => {
            serde_json::from_str::<ByType>(typed)
                .map_err(|_| MALFORMED)?
                .float
        }
        (None, None) => return Err(MALFORMED),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and NaN is 0"
    )]
    let counted = body.input_text_token_count.map(|count| count as u64);
    let told = || {
        header("x-amzn-bedrock-input-token-count")?
            .trim()
            .parse()
            .ok()
    };
    Ok(Vectors {
        vectors,
        tokens: counted.or_else(told),
    })
}
