//! The file of weights.
//!
//! ```text
//! magic       8 bytes, "tollclas"
//! version     u32, little-endian as all numbers here
//! length      u32, of the header
//! header      JSON: features, labels, sources with licences, evaluation
//! parameters  f32: a scale and a bias for each output, what the score is made of, the calibration's
//!             two, the bound of "other", then the quantiles of the score
//! rows        int8: for each row, one weight for each output
//! crc         u32, CRC-32 (IEEE) of all before it
//! ```
//!
//! A file is refused as a whole or taken as a whole. What is read may be anything: nothing is trusted
//! before the CRC is right, and nothing panics after.

use super::cues;
use super::featurise::{HASHED, ROWS, SEED, VERSION as FEATURES};
use super::judgement::Kind;
use super::model::{KINDS, LANES, Model, OUTPUTS, Parameters, Score};
use super::quantiles::{Quantiles, STEPS};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"tollclas";
/// The version of this format.
pub const VERSION: u32 = 1;
const FLOATS: usize = 2 * OUTPUTS + 3 + KINDS + 3 + STEPS;

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WeightsError {
    #[error("it is no file of weights")]
    Magic,
    #[error("it is of version {0}, this program reads version {VERSION}")]
    Version(u32),
    #[error("it is damaged: its checksum is wrong")]
    Crc,
    #[error("it ends too soon or goes on too long")]
    Length,
    #[error("its header cannot be read: {0}")]
    Header(String),
    #[error("it was trained on other features than this program computes; train it again")]
    Features,
    #[error("it has other outputs than this program knows")]
    Outputs,
    #[error("it holds numbers that are not finite or not in order")]
    Numbers,
}

/// What the weights say about themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub features: Features,
    /// The names of the outputs, in their order.
    pub outputs: Vec<String>,
    /// What they were trained on.
    pub sources: Vec<Source>,
    /// SHA-256 over all rows that they were trained on.
    pub data_sha256: String,
    /// What [`super::report`] found, as it prints it.
    pub evaluation: serde_json::Value,
}

/// How text becomes rows; weights fit one way only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    pub version: u32,
    pub seed: u32,
    pub rows: usize,
    pub hashed: usize,
    pub cues_crc32: u32,
}

impl Features {
    /// Those that this program computes.
    #[must_use]
    pub fn own() -> Self {
        Self {
            version: FEATURES,
            seed: SEED,
            rows: ROWS,
            hashed: HASHED,
            cues_crc32: cues::fingerprint(),
        }
    }
}

/// A source of training data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub licence: String,
    /// What it was used for: `kind` or `difficulty`.
    pub used_for: String,
    pub rows: usize,
}

/// The names of the outputs, in their order.
#[must_use]
pub fn outputs() -> Vec<String> {
    let kinds = Kind::ALL.iter().map(|kind| kind.name());
    let heads = ["gain", "weak_fails"];
    kinds.chain(heads).map(str::to_owned).collect()
}

/// Writes a model as a file.
#[must_use]
pub fn write(model: &Model) -> Vec<u8> {
    let header = serde_json::to_vec(&model.header).unwrap_or_default();
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    file.extend(u32::try_from(header.len()).unwrap_or(0).to_le_bytes());
    file.extend(header);
    let parameters = &model.parameters;
    let score = &parameters.score;
    let [slope, offset] = parameters.calibration;
    let mixed = [score.gain, score.weak_fails, score.length];
    let rest = [slope, offset, parameters.other_below];
    let floats = parameters.scales.iter().chain(&parameters.biases);
    let floats = floats.chain(&mixed).chain(&score.kinds).chain(&rest);
    for float in floats.chain(model.quantiles.values()) {
        file.extend(float.to_le_bytes());
    }
    for row in &model.rows {
        let weights = row.iter().take(OUTPUTS);
        file.extend(weights.flat_map(|weight| weight.to_le_bytes()));
    }
    let crc = crc32fast::hash(&file);
    file.extend(crc.to_le_bytes());
    file
}

/// Reads a file.
///
/// # Errors
/// Where it is not a whole and sound file for this program.
pub fn read(file: &[u8]) -> Result<Model, WeightsError> {
    let (magic, rest) = file
        .split_at_checked(MAGIC.len())
        .ok_or(WeightsError::Magic)?;
    if magic != MAGIC {
        return Err(WeightsError::Magic);
    }
    let (version, rest) = number(rest)?;
    if version != VERSION {
        return Err(WeightsError::Version(version));
    }
    let (body, crc) = file.split_last_chunk::<4>().ok_or(WeightsError::Length)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(WeightsError::Crc);
    }
    let (length, rest) = number(rest)?;
    let length = usize::try_from(length).map_err(|_| WeightsError::Length)?;
    let (header, rest) = rest.split_at_checked(length).ok_or(WeightsError::Length)?;
    let header: Header =
        serde_json::from_slice(header).map_err(|error| WeightsError::Header(error.to_string()))?;
    if header.features != Features::own() {
        return Err(WeightsError::Features);
    }
    if header.outputs != outputs() {
        return Err(WeightsError::Outputs);
    }
    let (floats, rest) = rest
        .split_at_checked(FLOATS * 4)
        .ok_or(WeightsError::Length)?;
    let (rows, crc) = rest
        .split_at_checked(ROWS * OUTPUTS)
        .ok_or(WeightsError::Length)?;
    if crc.len() != 4 {
        return Err(WeightsError::Length);
    }
    let (parameters, quantiles) = parameters(floats).ok_or(WeightsError::Numbers)?;
    Ok(Model {
        rows: rows.chunks_exact(OUTPUTS).map(lanes).collect(),
        parameters,
        quantiles,
        header,
    })
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), WeightsError> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(WeightsError::Length)?;
    Ok((u32::from_le_bytes(*number), rest))
}

fn lanes(weights: &[u8]) -> [i8; LANES] {
    let mut row = [0; LANES];
    for (lane, weight) in row.iter_mut().zip(weights) {
        *lane = i8::from_le_bytes([*weight]);
    }
    row
}

fn many<const N: usize>(next: &mut impl FnMut() -> Option<f32>) -> Option<[f32; N]> {
    let mut values = [0.0; N];
    for value in &mut values {
        *value = next()?;
    }
    Some(values)
}

/// The floats in their order; none where one is not finite, or quantiles fall.
fn parameters(bytes: &[u8]) -> Option<(Parameters, Quantiles)> {
    let (chunks, _) = bytes.as_chunks::<4>();
    let mut floats = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk));
    // A million is far beyond what training gives, and far from where sums overflow.
    let mut next = || floats.next().filter(|float| float.abs() < 1e6);
    let parameters = Parameters {
        scales: many(&mut next)?,
        biases: many(&mut next)?,
        score: Score {
            gain: next()?,
            weak_fails: next()?,
            length: next()?,
            kinds: many(&mut next)?,
        },
        calibration: [next()?, next()?],
        other_below: next()?,
    };
    let quantiles = Quantiles::read(floats.collect())?;
    Some((parameters, quantiles))
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
