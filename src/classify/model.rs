//! The model: a table of int8 weights, added up row by row.
//!
//! Promises: the same text gives the same bits on every machine, no text makes it panic, and nothing
//! is allocated beyond the scratch.

use super::featurise::{self, GROUPS, Group, Scratch, Sink};
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
    /// What the score is made of.
    pub score: Score,
    /// Slope and offset of the score's logit to the calibrated one.
    pub calibration: [f32; 2],
    /// Below this confidence the kind is [`Kind::Other`].
    pub other_below: f32,
}

/// What each thing adds to the score. Few numbers, since they have to hold on traffic that nobody has
/// seen: what a benchmark teaches about its own words is worth less elsewhere than that long prompts
/// and those of some kinds are harder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// For a logit of the gain.
    pub gain: f32,
    /// For a logit of the cheap model's failure.
    pub weak_fails: f32,
    /// For each doubling of the length over 256 bytes, to 4 KB.
    pub length: f32,
    /// For the probability of each kind.
    pub kinds: [f32; KINDS],
}

/// Doublings of a length in bytes over 256; between 16 bytes and 4 KB.
#[must_use]
pub fn doublings(bytes: usize) -> f32 {
    super::steady::ln(bytes.clamp(16, 4096) as f32 / 256.0) * std::f32::consts::LOG2_E
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

/// Adds up weights, apart for each group. In 16 bits, which twice as many fit into a register, and
/// from there in 32 before they could overflow.
struct Sums<'a> {
    rows: &'a [[i8; LANES]],
    short: [[i16; LANES]; GROUPS],
    counts: [u32; GROUPS],
    sums: [[i32; LANES]; GROUPS],
}

/// 128 times this is the largest sum of 16 bits.
const BEFORE_OVERFLOW: u32 = 255;

impl Sink for Sums<'_> {
    #[inline]
    fn take(&mut self, group: Group, row: u32) {
        let at = group as usize;
        let weights = self.rows.get(row as usize);
        if let (Some(weights), Some(sums), Some(count)) =
            (weights, self.short.get_mut(at), self.counts.get_mut(at))
        {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = sum.wrapping_add(i16::from(*weight));
            }
            *count += 1;
            if *count == BEFORE_OVERFLOW {
                self.carry();
            }
        }
    }
}

impl Sums<'_> {
    fn carry(&mut self) {
        for (sums, short) in self.sums.iter_mut().zip(&mut self.short) {
            for (sum, short) in sums.iter_mut().zip(short) {
                *sum += i32::from(std::mem::take(short));
            }
        }
        self.counts = [0; GROUPS];
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
        let outputs = self.outputs(text, scratch);
        self.parameters.judgement(&outputs, text.len())
    }

    /// The outputs before they are made probabilities.
    #[must_use]
    pub fn outputs(&self, text: &str, scratch: &mut Scratch) -> [f32; OUTPUTS] {
        let mut sums = Sums {
            rows: &self.rows,
            short: [[0; LANES]; GROUPS],
            counts: [0; GROUPS],
            sums: [[0; LANES]; GROUPS],
        };
        let words = featurise::featurise(text, scratch, &mut sums);
        sums.carry();
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
    /// What the outputs say of a text of that length in bytes.
    #[must_use]
    pub fn judgement(&self, outputs: &[f32; OUTPUTS], bytes: usize) -> Judgement {
        let [kinds @ .., gain, weak_fails] = outputs;
        let probabilities = softmax(kinds);
        let mut likeliest = (Kind::SimpleQa, 0.0);
        for (kind, probability) in Kind::ALL.into_iter().zip(probabilities) {
            if probability > likeliest.1 {
                likeliest = (kind, probability);
            }
        }
        let mut score = self.score.gain * gain
            + self.score.weak_fails * weak_fails
            + self.score.length * doublings(bytes);
        for (weight, probability) in self.score.kinds.iter().zip(probabilities) {
            score += weight * probability;
        }
        let [slope, offset] = self.calibration;
        Judgement {
            kind: match likeliest.1 < self.other_below {
                true => Kind::Other,
                false => likeliest.0,
            },
            likeliest: likeliest.0,
            confidence: likeliest.1,
            difficulty: sigmoid(slope * score + offset),
            score,
        }
    }
}

/// Logits into probabilities.
#[must_use]
pub fn softmax<const N: usize>(logits: &[f32; N]) -> [f32; N] {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let mut out = logits.map(|logit| exp(logit - most));
    let sum: f32 = out.iter().sum();
    for probability in &mut out {
        *probability /= sum;
    }
    out
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
