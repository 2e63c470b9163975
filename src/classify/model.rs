//! The model: a table of int8 weights, added up row by row.
//!
//! Promises: the same text gives the same bits on every machine, no text makes it panic, and nothing
//! is allocated beyond the scratch.

use super::featurise::{self, GROUPS, Group, ROWS, Scratch, Sink};
use super::judgement::{Judgement, Kind};
use super::quantiles::Quantiles;
use super::steady::{exp, sigmoid};
use super::weights::{self, Header, WeightsError};
use std::sync::{Arc, LazyLock};

/// How many kinds there are; their outputs come first.
pub const KINDS: usize = Kind::ALL.len();
/// The logit of "the strong model does better here".
pub const GAIN: usize = KINDS;
/// The logit of "the cheap model fails here".
pub const WEAK_FAILS: usize = KINDS + 1;
/// All outputs.
pub const OUTPUTS: usize = KINDS + 2;
/// A row in memory: outputs, and room to make it a power of two.
pub(super) const LANES: usize = 16;

/// What turns sums of weights into a judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// What one step of an int8 weight is worth, for each output.
    pub scales: [f32; OUTPUTS],
    /// Added to each output.
    pub biases: [f32; OUTPUTS],
    /// How much of the score is the gain; the rest is the cheap model's failure.
    pub mix: f32,
    /// Slope and offset of the score's logit to the calibrated one.
    pub calibration: [f32; 2],
    /// Below this confidence the kind is [`Kind::Other`].
    pub other_below: f32,
}

/// Weights that were read and are right.
#[derive(Debug)]
pub struct Model {
    pub(super) rows: Box<[[i8; LANES]]>,
    pub(super) parameters: Parameters,
    pub(super) quantiles: Quantiles,
    pub(super) header: Header,
}

static BUILT_IN: LazyLock<Option<Arc<Model>>> = LazyLock::new(|| {
    let file = include_bytes!("../../conf/classifier.weights");
    Model::read(file).ok().map(Arc::new)
});

/// Adds up weights, apart for each group.
struct Sums<'a> {
    rows: &'a [[i8; LANES]],
    sums: [[i32; LANES]; GROUPS],
}

impl Sink for Sums<'_> {
    #[inline]
    fn take(&mut self, group: Group, row: u32) {
        let weights = self.rows.get(row as usize);
        if let (Some(weights), Some(sums)) = (weights, self.sums.get_mut(group as usize)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += i32::from(*weight);
            }
        }
    }
}

impl Model {
    /// The weights that come with the program; none if they are not those of this program, which a
    /// test rules out.
    #[must_use]
    pub fn built_in() -> Option<Arc<Self>> {
        BUILT_IN.clone()
    }

    /// Reads a file of weights.
    ///
    /// # Errors
    /// Says what is wrong with the file: it is no such file, of another version, damaged, of another
    /// shape, or was trained on other features than this program computes.
    pub fn read(file: &[u8]) -> Result<Self, WeightsError> {
        weights::read(file)
    }

    /// The header of the file: where the weights are from, and how good they are.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The scores of the traffic that the weights were made for.
    #[must_use]
    pub fn quantiles(&self) -> &Quantiles {
        &self.quantiles
    }

    /// Judges a prompt: the last message of the user.
    #[must_use]
    pub fn judge(&self, text: &str, scratch: &mut Scratch) -> Judgement {
        self.parameters.judgement(&self.outputs(text, scratch))
    }

    /// The outputs before they are made probabilities.
    #[must_use]
    pub fn outputs(&self, text: &str, scratch: &mut Scratch) -> [f32; OUTPUTS] {
        let mut sums = Sums {
            rows: &self.rows,
            sums: [[0; LANES]; GROUPS],
        };
        let words = featurise::featurise(text, scratch, &mut sums);
        let norms = featurise::norms(words);
        let mut outputs = self.parameters.biases;
        for (sums, norm) in sums.sums.iter().zip(norms) {
            let scaled = sums.iter().zip(self.parameters.scales);
            for (output, (sum, scale)) in outputs.iter_mut().zip(scaled) {
                *output += *sum as f32 * scale * norm;
            }
        }
        outputs
    }
}

impl Parameters {
    /// What the outputs say.
    #[must_use]
    pub fn judgement(&self, outputs: &[f32; OUTPUTS]) -> Judgement {
        let [kinds @ .., gain, weak_fails] = outputs;
        let mut likeliest = (Kind::SimpleQa, f32::MIN);
        for (kind, output) in Kind::ALL.into_iter().zip(kinds) {
            if *output > likeliest.1 {
                likeliest = (kind, *output);
            }
        }
        let sum: f32 = kinds.iter().map(|output| exp(output - likeliest.1)).sum();
        let confidence = 1.0 / sum.max(1.0);
        let score = self.mix * gain + (1.0 - self.mix) * weak_fails;
        let [slope, offset] = self.calibration;
        Judgement {
            kind: match confidence < self.other_below {
                true => Kind::Other,
                false => likeliest.0,
            },
            likeliest: likeliest.0,
            confidence,
            difficulty: sigmoid(slope * score + offset),
            score,
        }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
