//! The rows of the training data, as JSON lines.

use super::super::judgement::Kind;
use serde::Deserialize;

/// A prompt of which the kind is known.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct KindRow {
    #[serde(deserialize_with = "kind")]
    pub kind: Kind,
    /// The collection that it is from: what is held out together.
    pub source: String,
    pub licence: String,
    pub prompt: String,
}

/// A prompt with the scores (0 to 1) of a cheap and a strong model at it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RouteRow {
    /// The benchmark that it is from.
    pub bench: String,
    /// The part of the benchmark.
    pub group: String,
    pub licence: String,
    pub prompt: String,
    pub weak_score: f32,
    pub strong_score: f32,
}

fn kind<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
    let name = String::deserialize(from)?;
    Kind::named(&name).ok_or_else(|| serde::de::Error::custom(format!("no kind is called {name}")))
}

/// Reads JSON lines.
///
/// # Errors
/// Names the first line that is not a row.
pub fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, String> {
    let lines = text.lines().enumerate();
    let full = lines.filter(|(_, line)| !line.trim().is_empty());
    full.map(|(at, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))
    })
    .collect()
}
