//! OpenAI's embeddings, from the client's side (OpenAI's API reference):
//! `{model, input, encoding_format, dimensions, user}` to
//! `{object: "list", data: [{object, index, embedding}], model, usage}`.

use super::openai_chat::shape::whole;
use super::{Embeddings, Vectors};
use crate::chat::DecodeError;
use crate::error::{ErrorKind, GatewayError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Reads a request that was scanned already.
///
/// # Errors
/// 400 for inputs without a counterpart elsewhere: token ids.
pub fn parse(body: &[u8]) -> Result<Embeddings, GatewayError> {
    let refuse = |param: &str, text: &'static str| {
        GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(param))
    };
    let mut fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| refuse("input", "The request body is not a JSON object."))?;
    let texts = match fields.remove("input") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) if !items.is_empty() => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(refuse(
                    "input",
                    "Only texts can be embedded by this model's provider, not token ids.",
                )),
            })
            .collect::<Result<_, _>>()?,
        _ => {
            return Err(refuse(
                "input",
                "'input' must be a text or a list of texts.",
            ));
        }
    };
    let base64 = match fields.remove("encoding_format") {
        None | Some(Value::Null) => false,
        Some(Value::String(format)) if format == "float" => false,
        Some(Value::String(format)) if format == "base64" => true,
        Some(_) => {
            return Err(refuse(
                "encoding_format",
                "'encoding_format' is 'float' or 'base64'.",
            ));
        }
    };
    let dimensions = match fields.remove("dimensions") {
        None | Some(Value::Null) => None,
        Some(value) => match whole(&value) {
            Some(dimensions) => Some(dimensions),
            None => return Err(refuse("dimensions", "'dimensions' is a whole number.")),
        },
    };
    let user = match fields.remove("user") {
        None | Some(Value::Null) => None,
        Some(Value::String(user)) => Some(user),
        Some(_) => return Err(refuse("user", "'user' is a text.")),
    };
    let model = fields.remove("model");
    fields.retain(|_, value| !value.is_null());
    Ok(Embeddings {
        model: model
            .and_then(|model| model.as_str().map(str::to_owned))
            .unwrap_or_default(),
        texts,
        dimensions,
        base64,
        user,
        other: fields,
    })
}

/// Vectors that have a form: a number over what an `f32` holds is none, and would be written as
/// `null`.
///
/// # Errors
/// When there is such a number.
pub fn finite(read: Vectors) -> Result<Vectors, DecodeError> {
    if read
        .vectors
        .iter()
        .flatten()
        .all(|number| number.is_finite())
    {
        Ok(read)
    } else {
        Err(DecodeError::Malformed("numbers of single precision"))
    }
}

/// Writes an answer. `tokens` is 0 where the provider does not count.
pub fn render(vectors: &Vectors, model: &str, base64: bool) -> Vec<u8> {
    let data: Vec<Value> = vectors
        .vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            let embedding = if base64 {
                packed(vector).into()
            } else {
                json!(vector)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let tokens = vectors.tokens.unwrap_or(0);
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    json!({ "object": "list", "data": data, "model": model, "usage": usage })
        .to_string()
        .into_bytes()
}

/// Little-endian f32, as OpenAI's SDKs unpack it.
fn packed(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|f| f.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_token_ids_refused() {
        let one = parse(br#"{"model":"m","input":"a","encoding_format":"base64","dimensions":3}"#)
            .unwrap();
        assert_eq!(
            (one.texts, one.base64, one.dimensions),
            (vec!["a".to_owned()], true, Some(3))
        );
        let two = parse(br#"{"model":"m","input":["a","b"],"input_type":"x"}"#).unwrap();
        assert_eq!(two.texts.len(), 2);
        assert_eq!(two.other["input_type"], "x");
        for bad in [
            r#"{"input":[1,2]}"#,
            r#"{"input":[[1]]}"#,
            r#"{"input":[]}"#,
            r#"{"input":7}"#,
            r#"{}"#,
        ] {
            assert_eq!(
                parse(bad.as_bytes()).unwrap_err().param(),
                Some("input"),
                "{bad}"
            );
        }
    }

    #[test]
    fn wrong_types_are_refused_and_null_says_nothing() {
        for (bad, param) in [
            (r#"{"input":"a","dimensions":"x"}"#, "dimensions"),
            (r#"{"input":"a","dimensions":1.5}"#, "dimensions"),
            (r#"{"input":"a","user":7}"#, "user"),
            (
                r#"{"input":"a","encoding_format":"int8"}"#,
                "encoding_format",
            ),
        ] {
            let refused = parse(bad.as_bytes()).unwrap_err();
            assert_eq!(refused.param(), Some(param), "{bad}");
        }
        let got = parse(br#"{"input":"a","dimensions":null,"user":null,"truncate":null}"#).unwrap();
        assert_eq!((got.dimensions, got.user, got.other.len()), (None, None, 0));
    }

    #[test]
    fn vectors_are_written_as_the_client_asked() {
        let vectors = Vectors {
            vectors: vec![vec![1.0, -0.5]],
            tokens: Some(2),
        };
        let float: Value = serde_json::from_slice(&render(&vectors, "m", false)).unwrap();
        assert_eq!(float["data"][0]["embedding"], json!([1.0, -0.5]));
        assert_eq!(float["usage"]["total_tokens"], 2);
        let packed: Value = serde_json::from_slice(&render(&vectors, "m", true)).unwrap();
        assert_eq!(packed["data"][0]["embedding"], "AACAPwAAAL8=");
    }

    #[test]
    fn a_number_without_a_form_is_refused() {
        let vectors = |number| Vectors {
            vectors: vec![vec![1.0], vec![0.5, number]],
            tokens: None,
        };
        assert_eq!(finite(vectors(-f32::MAX)), Ok(vectors(-f32::MAX)));
        for number in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            assert!(finite(vectors(number)).is_err(), "{number}");
        }
    }
}
