//! `tollgate train`: from labelled prompts to a file of weights, the same bytes every time.
//!
//! Two linear models over the same rows: one tells kinds (softmax), one says what a strong model gains
//! and where a cheap one fails (two logistic outputs). Kinds are learned from collections of
//! benchmarks and from own templates ([`templates`]), each source weighted by the root of its size,
//! so that no collection's habits count for a kind. Difficulty is learned within each benchmark: its
//! mean is taken off first, since that a benchmark is easy says nothing about its words.
//!
//! Before the weights are made, everything that the report says is measured with models that were
//! trained without what they are measured on ([`evaluate`]).

mod evaluate;
pub(super) use evaluate::platt;
pub mod fit;
pub mod rows;
pub mod templates;

use super::featurise::Scratch;
use super::judgement::Kind;
use super::model::{KINDS, LANES, Model, OUTPUTS, Parameters, Score};
use super::quantiles::Quantiles;
use super::weights::{self, Features, Header, Source};
use fit::{Course, Example, Fitted, Sparse, Target, fit};
use rows::{KindRow, RouteRow};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is trained on.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Prompts of known kind; own templates are added.
    pub kinds: Vec<KindRow>,
    /// Prompts with the scores of two models.
    pub routes: Vec<RouteRow>,
    /// Prompts of known kind that are measured on and never trained on.
    pub held_out: Vec<KindRow>,
}

/// What comes of it.
#[derive(Debug)]
pub struct Trained {
    pub model: Model,
    /// The file.
    pub file: Vec<u8>,
    /// For people.
    pub report: String,
}

impl Trained {
    /// What goes beside the file: where the weights are from, and how good they are.
    #[must_use]
    pub fn text(&self) -> String {
        let header = self.model.header();
        let mut text = String::from(
            "The classifier's weights: what they were trained on, and how good they are.\n\
             Prompts that are held out were not trained on, but were looked at while the templates\n\
             were written and the settings chosen: on others, expect less.\n\n",
        );
        for source in &header.sources {
            let _ = writeln!(
                text,
                "{:<10} {:>5} rows  {}: {}",
                source.used_for, source.rows, source.name, source.licence
            );
        }
        let _ = writeln!(text, "\nSHA-256 of all rows: {}\n", header.data_sha256);
        text.push_str(&self.report);
        text
    }
}

/// Whether rows of that licence may be trained on: not where it forbids commerce or is not stated.
#[must_use]
pub fn permits(licence: &str) -> bool {
    !licence.contains("-NC") && !licence.contains("no licence stated")
}

/// How much of everything; tests take less.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub kinds: Course,
    pub routes: Course,
    pub templates: templates::Amount,
    /// Whether to measure on what was left out, which costs a dozen trainings more.
    pub evaluation: Evaluation,
}

/// Whether the report is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    Full,
    None,
}

impl Plan {
    /// What the weights that are built in were trained with.
    #[must_use]
    pub fn full() -> Self {
        Self {
            kinds: Course {
                epochs: 8,
                rate: 0.1,
                decay: 1e-3,
                dropout: 0.2,
                seed: 1,
            },
            routes: Course {
                epochs: 6,
                rate: 0.05,
                decay: 1e-4,
                dropout: 0.3,
                seed: 1,
            },
            templates: templates::Amount {
                english: 8,
                others: 6,
            },
            evaluation: Evaluation::Full,
        }
    }
}

/// What the score is made of. Chosen by hand among a few dozen mixtures, by how they order
/// benchmarks that the two heads were not trained on.
pub const SCORE: Score = Score {
    gain: 1.7,
    weak_fails: 0.5,
    length: 0.7,
    kinds: [0.0, 0.95, 1.2, 0.0, -0.35, 0.0, -0.35, -0.35],
};

/// Below this confidence a kind is "other": with eight kinds, hardly better than a guess.
const OTHER_BELOW: f32 = 0.3;

/// A row with its text as sparse rows.
pub(super) type Seen<R> = (R, Sparse);

/// Trains, measures, and writes the file.
#[must_use]
pub fn train(inputs: &Inputs, plan: &Plan) -> Trained {
    let mut kinds = inputs.kinds.clone();
    kinds.extend(templates::prompts(plan.templates, 5));
    let data_sha256 = digest(&kinds, &inputs.routes);
    let sources = sources(&kinds, &inputs.routes);
    let kinds = seen(kinds, |row| &row.prompt);
    let routes = seen(inputs.routes.clone(), |row| &row.prompt);
    let held_out = seen(inputs.held_out.clone(), |row| &row.prompt);
    let (evaluation, report, calibration) = match plan.evaluation {
        Evaluation::Full => evaluate::evaluate(&kinds, &routes, &held_out, plan),
        Evaluation::None => (serde_json::Value::Null, String::new(), [1.0, -1.5]),
    };
    let kind_model = fit_kinds(&kinds, plan, |_| true);
    let route_model = fit_routes(&routes, plan, |_| true);
    let header = Header {
        features: Features::own(),
        outputs: weights::outputs(),
        sources,
        data_sha256,
        evaluation,
    };
    let mut model = assembled(&kind_model, &route_model, calibration, header);
    model.quantiles = traffic_quantiles(&model, &kinds, &routes);
    Trained {
        file: weights::write(&model),
        model,
        report,
    }
}

fn seen<R>(rows: Vec<R>, prompt: impl Fn(&R) -> &String) -> Vec<Seen<R>> {
    let mut scratch = Scratch::default();
    rows.into_iter()
        .map(|row| {
            let sparse = Sparse::of(prompt(&row), &mut scratch);
            (row, sparse)
        })
        .collect()
}

/// SHA-256 over everything that is trained on.
fn digest(kinds: &[KindRow], routes: &[RouteRow]) -> String {
    let mut hash = Sha256::new();
    for row in kinds {
        hash.update(format!(
            "{}\0{}\0{}\n",
            row.kind.name(),
            row.source,
            row.prompt
        ));
    }
    for row in routes {
        let scores = (row.weak_score.to_bits(), row.strong_score.to_bits());
        hash.update(format!(
            "{}\0{}\0{}\0{scores:?}\n",
            row.bench, row.group, row.prompt
        ));
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn sources(kinds: &[KindRow], routes: &[RouteRow]) -> Vec<Source> {
    let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for row in kinds {
        *counts
            .entry(("kind", &row.source, &row.licence))
            .or_default() += 1;
    }
    for row in routes {
        *counts
            .entry(("difficulty", &row.bench, &row.licence))
            .or_default() += 1;
    }
    let named = counts
        .into_iter()
        .map(|((used_for, name, licence), rows)| Source {
            name: name.to_owned(),
            licence: licence.to_owned(),
            used_for: used_for.to_owned(),
            rows,
        });
    named.collect()
}

/// Fits what tells kinds, on the rows that are kept.
pub(super) fn fit_kinds(
    rows: &[Seen<KindRow>],
    plan: &Plan,
    keep: impl Fn(&KindRow) -> bool,
) -> Fitted<KINDS> {
    let kept: Vec<&Seen<KindRow>> = rows.iter().filter(|(row, _)| keep(row)).collect();
    let mut sizes: BTreeMap<(&str, Kind), f32> = BTreeMap::new();
    for (row, _) in &kept {
        *sizes.entry((&row.source, row.kind)).or_default() += 1.0;
    }
    let mut sums: BTreeMap<Kind, f32> = BTreeMap::new();
    for ((_, kind), size) in &sizes {
        *sums.entry(*kind).or_default() += size.sqrt();
    }
    let total: f32 = sums.values().sum();
    let weight = |row: &KindRow| {
        let size = sizes
            .get(&(row.source.as_str(), row.kind))
            .copied()
            .unwrap_or(1.0);
        let sum = sums.get(&row.kind).copied().unwrap_or(1.0);
        // A rare kind counts more, by half of what would make all kinds even.
        let rarity = (total / KINDS as f32 / sum).sqrt();
        rarity / size.sqrt() * kept.len() as f32 / total
    };
    let examples: Vec<Example> = kept
        .iter()
        .filter_map(|(row, sparse)| {
            Some(Example {
                rows: sparse,
                target: Target::One(row.kind.output()?),
                weight: weight(row),
            })
        })
        .collect();
    fit(&examples, &plan.kinds)
}

/// Fits gain and failure, on the rows that are kept.
pub(super) fn fit_routes(
    rows: &[Seen<RouteRow>],
    plan: &Plan,
    keep: impl Fn(&RouteRow) -> bool,
) -> Fitted<2> {
    let kept: Vec<&Seen<RouteRow>> = rows.iter().filter(|(row, _)| keep(row)).collect();
    let mut sums: BTreeMap<&str, [f32; 3]> = BTreeMap::new();
    for (row, _) in &kept {
        let [count, gains, fails] = sums.entry(&row.bench).or_default();
        *count += 1.0;
        *gains += row.strong_score - row.weak_score;
        *fails += 1.0 - row.weak_score;
    }
    let examples: Vec<Example> = kept
        .iter()
        .map(|(row, sparse)| {
            let [count, gains, fails] = sums.get(row.bench.as_str()).copied().unwrap_or([1.0; 3]);
            let gain = row.strong_score - row.weak_score - gains / count;
            let fail = 1.0 - row.weak_score - fails / count;
            let target = [gain, fail].map(|value| (0.5 + 0.5 * value).clamp(0.0, 1.0));
            Example {
                rows: sparse,
                target: Target::Each(target),
                // The cube root: a large benchmark counts more than a small one, but not by its size.
                weight: cube_root(4000.0 / count),
            }
        })
        .collect();
    fit(&examples, &plan.routes)
}

fn cube_root(x: f32) -> f32 {
    super::steady::exp(super::steady::ln(x) / 3.0)
}

/// Both models as one, in int8.
fn assembled(
    kinds: &Fitted<KINDS>,
    routes: &Fitted<2>,
    calibration: [f32; 2],
    header: Header,
) -> Model {
    let both = || kinds.rows.iter().zip(&routes.rows);
    let joined = both().map(|(kinds, routes)| {
        let mut row = [0.0; OUTPUTS];
        for (out, weight) in row.iter_mut().zip(kinds.iter().chain(routes)) {
            *out = *weight;
        }
        row
    });
    let joined: Vec<[f32; OUTPUTS]> = joined.collect();
    let mut scales = [0.0_f32; OUTPUTS];
    for row in &joined {
        for (scale, weight) in scales.iter_mut().zip(row) {
            *scale = scale.max(weight.abs() / 127.0);
        }
    }
    let mut biases = [0.0; OUTPUTS];
    for (out, bias) in biases
        .iter_mut()
        .zip(kinds.biases.iter().chain(&routes.biases))
    {
        *out = *bias;
    }
    let quantised = joined.iter().map(|row| {
        let mut lanes = [0_i8; LANES];
        for (lane, (weight, scale)) in lanes.iter_mut().zip(row.iter().zip(scales)) {
            *lane = (weight / scale.max(f32::MIN_POSITIVE)).round() as i8;
        }
        lanes
    });
    Model {
        rows: quantised.collect(),
        parameters: Parameters {
            scales,
            biases,
            score: SCORE,
            calibration,
            other_below: OTHER_BELOW,
        },
        quantiles: Quantiles::of(&[]),
        header,
    }
}

/// The scores of prompts as a gateway might see them: own templates, which are made like traffic, and
/// the questions of the benchmarks, one in four.
fn traffic_quantiles(
    model: &Model,
    kinds: &[Seen<KindRow>],
    routes: &[Seen<RouteRow>],
) -> Quantiles {
    let mut scratch = Scratch::default();
    let own = kinds
        .iter()
        .filter(|(row, _)| row.source.starts_with(templates::SOURCE))
        .map(|(row, _)| row.prompt.as_str());
    let others = routes.iter().step_by(4).map(|(row, _)| row.prompt.as_str());
    let scores: Vec<f32> = own
        .chain(others)
        .map(|prompt| model.judge(prompt, &mut scratch).score)
        .collect();
    Quantiles::of(&scores)
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
