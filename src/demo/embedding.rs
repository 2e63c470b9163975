//! Embeddings without a model: each word votes for one dimension.
//!
//! Texts that share words come out close, texts that do not come out nearly
//! orthogonal, which is enough to try a vector store with. Nothing is known of
//! meaning.

use super::{Answer, Call, Refusal, tokens};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const DIMENSIONS: usize = 64;
const MAX_DIMENSIONS: usize = 4096;
/// As OpenAI's.
const MAX_INPUTS: usize = 2048;
/// Words of one input that vote; a bound on the work, not on the input.
const WORDS: usize = 4096;

/// `POST /v1/embeddings`.
pub(super) fn embeddings(call: &Call<'_>) -> Result<Answer, Refusal> {
    let model = call.model()?;
    let inputs = inputs(call)?;
    let dimensions = call.count("dimensions")?.unwrap_or(DIMENSIONS);
    if dimensions > MAX_DIMENSIONS {
        return Err(Refusal::invalid(
            "dimensions",
            format!("At most {MAX_DIMENSIONS} dimensions."),
        ));
    }
    let encode = match call.field("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => |vector: Vec<f32>| json!(vector),
        Some(Some("base64")) => |vector: Vec<f32>| {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!(base64(&bytes))
        },
        Some(_) => {
            return Err(Refusal::invalid(
                "encoding_format",
                "Use 'float' or 'base64'.",
            ));
        }
    };
    let prompt_tokens: usize = inputs.iter().map(Input::tokens).sum();
    let embedded = inputs.iter().enumerate().map(|(index, input)| {
        let vector = encode(embed(input.words(), dimensions));
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    Ok(Answer::Json(json!({
        "object": "list",
        "data": embedded.collect::<Vec<_>>(),
        "model": model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    })))
}

/// One text, or one list of token ids.
enum Input<'a> {
    Text(&'a str),
    Ids(Vec<u64>),
}

impl Input<'_> {
    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => tokens(text).count(),
            Self::Ids(ids) => ids.len(),
        }
    }

    fn words(&self) -> Box<dyn Iterator<Item = String> + '_> {
        match self {
            Self::Text(text) => Box::new(
                text.split(|c: char| !c.is_alphanumeric())
                    .filter(|word| !word.is_empty())
                    .map(str::to_lowercase),
            ),
            Self::Ids(ids) => Box::new(ids.iter().map(u64::to_string)),
        }
    }
}

fn inputs<'a>(call: &Call<'a>) -> Result<Vec<Input<'a>>, Refusal> {
    let inputs = match call.field("input") {
        Some(Value::String(text)) => Some(vec![Input::Text(text)]),
        Some(Value::Array(many)) => match ids(many) {
            Some(ids) => Some(vec![Input::Ids(ids)]),
            None => many.iter().map(input).collect(),
        },
        _ => None,
    };
    inputs
        .filter(|inputs| (1..=MAX_INPUTS).contains(&inputs.len()))
        .filter(|inputs| inputs.iter().all(|input| input.tokens() > 0))
        .ok_or_else(|| {
            Refusal::invalid(
                "input",
                "'input' is no text, no token ids and no list of either.",
            )
        })
}

fn input(value: &Value) -> Option<Input<'_>> {
    match value {
        Value::String(text) => Some(Input::Text(text)),
        Value::Array(many) => ids(many).map(Input::Ids),
        _ => None,
    }
}

fn ids(values: &[Value]) -> Option<Vec<u64>> {
    values.iter().map(Value::as_u64).collect()
}

/// A vector of length 1.
fn embed(words: impl Iterator<Item = String>, dimensions: usize) -> Vec<f32> {
    let mut votes = vec![0_i32; dimensions];
    for word in words.take(WORDS) {
        let (dimension, vote) = ballot(&word, dimensions);
        if let Some(votes) = votes.get_mut(dimension) {
            *votes += vote;
        }
    }
    // No words, or words that cancel out, still make a unit vector.
    if votes.iter().all(|votes| *votes == 0)
        && let Some(first) = votes.first_mut()
    {
        *first = 1;
    }
    let norm = votes
        .iter()
        .map(|votes| f64::from(*votes).powi(2))
        .sum::<f64>()
        .sqrt();
    votes
        .iter()
        .map(|votes| (f64::from(*votes) / norm) as f32)
        .collect()
}

/// Which dimension a word votes for, and whether for or against.
fn ballot(word: &str, dimensions: usize) -> (usize, i32) {
    let hash = Sha256::digest(word.as_bytes());
    let number = hash
        .iter()
        .take(4)
        .fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    let dimension = usize::try_from(number >> 1)
        .unwrap_or(0)
        .checked_rem(dimensions)
        .unwrap_or(0);
    (dimension, if number & 1 == 0 { 1 } else { -1 })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at| group.get(at).copied().map_or(0, u32::from);
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4 {
            let sextet = usize::try_from((bits >> (18 - 6 * at)) & 63).unwrap_or(0);
            let padding = usize::try_from(at).unwrap_or(0) > group.len();
            let letter = ALPHABET.get(sextet).copied().map_or('=', char::from);
            out.push(if padding { '=' } else { letter });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    fn embedded(text: &str) -> Vec<f32> {
        embed(Input::Text(text).words(), DIMENSIONS)
    }

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_one_and_shared_words_bring_them_close() {
        let texts = [
            "",
            "!",
            "the cat sat",
            "The cat, sat!",
            "the cat slept",
            "bond yields fell",
        ];
        for text in texts {
            let vector = embedded(text);
            assert!((dot(&vector, &vector) - 1.0).abs() < 1e-5, "{text}");
            assert_eq!(vector, embedded(text));
        }
        assert_eq!(embedded("the cat sat"), embedded("The cat, sat!"));
        let cat = embedded("the cat sat");
        assert!(dot(&cat, &embedded("the cat slept")) > dot(&cat, &embedded("bond yields fell")));
    }
}
