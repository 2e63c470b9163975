//! `tollgate calibrate`: fits the shipped weights to an operator's own traffic.
//!
//! Without labels only the quantiles are set, so that a share of requests means a share of these.
//! With [`ENOUGH`] labels or more a head is fitted to them and mixed with the shipped score. What is
//! said about it is measured on prompts that it was not fitted to: five folds, and how much of the
//! shipped score stays is chosen, for each fold, on the others. What does not beat both random and
//! the length of the prompt is refused.

use super::featurise::Scratch;
use super::model::{GAIN, Model, OUTPUTS};
use super::quantiles::Quantiles;
use super::report::{Routed, Routing, interval, reliability, routing};
use super::steady::sigmoid;
use super::train::fit::{Course, Example, Fitted, Sparse, Target, fit};
use super::train::platt;
use super::weights;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write as _;

/// Labels that are needed to refit; with fewer, what is measured is mostly chance.
pub const ENOUGH: usize = 400;
const FOLDS: usize = 5;
const ROUNDS: usize = 1000;
/// Shares of the new head in the score that are tried.
const SHARES: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A prompt and what the two models were worth at it, both 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub prompt: String,
    pub weak: f32,
    pub strong: f32,
}

#[derive(Deserialize)]
struct Line {
    prompt: String,
    weak_score: Option<f32>,
    strong_score: Option<f32>,
    label: Option<Label>,
}

/// Which model a prompt needs, where nobody gave scores.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Label {
    Weak,
    Strong,
}

/// Reads JSON lines: `prompt`, with `weak_score` and `strong_score` or with a `label` of `weak` (the
/// cheap model is good enough) or `strong`.
///
/// # Errors
/// Names the first line that is no such row.
pub fn labelled(text: &str) -> Result<Vec<Labelled>, String> {
    let lines = text.lines().enumerate();
    let full = lines.filter(|(_, line)| !line.trim().is_empty());
    full.map(|(at, line)| {
        let read: Result<Line, _> = serde_json::from_str(line);
        let line = read.map_err(|error| format!("line {}: {error}", at + 1))?;
        let (weak, strong) = match (line.weak_score, line.strong_score, line.label) {
            (Some(weak), Some(strong), _) => (weak, strong),
            (_, _, Some(Label::Weak)) => (1.0, 1.0),
            (_, _, Some(Label::Strong)) => (0.0, 1.0),
            _ => {
                let needs = "needs weak_score and strong_score, or label";
                return Err(format!("line {}: {needs}", at + 1));
            }
        };
        match [weak, strong]
            .iter()
            .all(|score| (0.0..=1.0).contains(score))
        {
            true => Ok(Labelled {
                prompt: line.prompt,
                weak,
                strong,
            }),
            false => Err(format!("line {}: scores are 0 to 1", at + 1)),
        }
    })
    .collect()
}

/// The model with the quantiles of these prompts, all else as it was.
#[must_use]
pub fn requantiled<'a>(model: &Model, prompts: impl Iterator<Item = &'a str>) -> Model {
    let mut scratch = Scratch::default();
    let scores: Vec<f32> = prompts
        .map(|prompt| model.judge(prompt, &mut scratch).score)
        .collect();
    Model {
        rows: model.rows.clone(),
        parameters: model.parameters.clone(),
        quantiles: Quantiles::of(&scores),
        header: model.header.clone(),
    }
}

/// What came of a refit.
#[derive(Debug)]
pub struct Refit {
    /// The new weights; none if they do not beat random and length.
    pub model: Option<Model>,
    /// On prompts that were not fitted to.
    pub figures: Routing,
    /// For people.
    pub report: String,
}

/// Why there is nothing to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0} labels are too few to refit: it takes {ENOUGH}; quantiles can be set without any")]
    TooFew(usize),
    #[error("the strong model is not better on these prompts: there is nothing to route by")]
    NoGain,
}

struct Row<'a> {
    of: &'a Labelled,
    sparse: Sparse,
    shipped: f32,
    /// By the head that was fitted without its fold.
    fitted: f32,
}

/// Refits the score to labelled prompts.
///
/// # Errors
/// Where labels are too few, or say that the strong model is no better.
pub fn refit(model: &Model, labels: &[Labelled]) -> Result<Refit, Unfit> {
    if labels.len() < ENOUGH {
        return Err(Unfit::TooFew(labels.len()));
    }
    let mut scratch = Scratch::default();
    let mut rows: Vec<Row> = labels
        .iter()
        .map(|of| Row {
            of,
            sparse: Sparse::of(&of.prompt, &mut scratch),
            shipped: model.judge(&of.prompt, &mut scratch).score,
            fitted: 0.0,
        })
        .collect();
    for fold in 0..FOLDS {
        let head = head(&rows, Some(fold));
        for row in rows.iter_mut().skip(fold).step_by(FOLDS) {
            let [gain, _] = head.outputs(&row.sparse);
            row.fitted = gain;
        }
    }
    let spread = |of: fn(&Row) -> f32| deviation(&rows.iter().map(of).collect::<Vec<_>>());
    let widths = [spread(|row| row.shipped), spread(|row| row.fitted)];
    let mut out = vec![0.0; rows.len()];
    for fold in 0..FOLDS {
        let share = best_share(&rows, widths, Some(fold));
        let of_fold = out.iter_mut().zip(&rows).skip(fold).step_by(FOLDS);
        for (score, row) in of_fold {
            *score = mixed(row, widths, share);
        }
    }
    let share = best_share(&rows, widths, None);
    let (figures, beats, mut report) = compared(&rows, &out).ok_or(Unfit::NoGain)?;
    let _ = writeln!(
        report,
        "the new head is {:.0} % of the score",
        share * 100.0
    );
    let model = beats.then(|| installed(model, &rows, widths, share, &out, &report));
    Ok(Refit {
        model,
        figures,
        report,
    })
}

/// Fitted to all rows but those of a fold.
fn head(rows: &[Row], without: Option<usize>) -> Fitted<2> {
    let kept = rows.iter().enumerate();
    let kept = kept.filter(|(at, _)| Some(at % FOLDS) != without);
    let kept: Vec<&Row> = kept.map(|(_, row)| row).collect();
    let gain = |row: &Row| row.of.strong - row.of.weak;
    let mean = kept.iter().map(|row| gain(row)).sum::<f32>() / kept.len().max(1) as f32;
    let examples: Vec<Example> = kept
        .iter()
        .map(|row| {
            let target = (0.5 + 0.5 * (gain(row) - mean)).clamp(0.0, 1.0);
            Example {
                rows: &row.sparse,
                target: Target::Each([target, target]),
                weight: 1.0,
            }
        })
        .collect();
    let course = Course {
        epochs: 10,
        rate: 0.05,
        decay: 1e-3,
        dropout: 0.3,
        seed: 3,
    };
    fit(&examples, &course)
}

fn deviation(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let square = values.iter().map(|value| (value - mean) * (value - mean));
    (square.sum::<f32>() / count).sqrt().max(1e-6)
}

fn mixed(row: &Row, widths: [f32; 2], share: f32) -> f32 {
    let [shipped, fitted] = widths;
    (1.0 - share) * row.shipped / shipped + share * row.fitted / fitted
}

/// The share of the new head that orders best, by all rows but those of a fold.
fn best_share(rows: &[Row], widths: [f32; 2], without: Option<usize>) -> f32 {
    let mut best = (0.0, f32::MIN);
    for share in SHARES {
        let kept = rows.iter().enumerate();
        let kept = kept.filter(|(at, _)| Some(at % FOLDS) != without);
        let routed: Vec<Routed> = kept
            .map(|(_, row)| routed(row, mixed(row, widths, share)))
            .collect();
        let apgr = routing(&routed).map_or(0.5, |figures| figures.apgr);
        if apgr > best.1 {
            best = (share, apgr);
        }
    }
    best.0
}

fn routed(row: &Row, score: f32) -> Routed {
    Routed {
        score,
        weak: row.of.weak,
        strong: row.of.strong,
    }
}

/// The figures of the scores, whether they beat random and length, and both as text.
fn compared(rows: &[Row], scores: &[f32]) -> Option<(Routing, bool, String)> {
    let own: Vec<Routed> = rows
        .iter()
        .zip(scores)
        .map(|(row, score)| routed(row, *score))
        .collect();
    let of = |score: fn(&Row) -> f32| -> Vec<Routed> {
        rows.iter().map(|row| routed(row, score(row))).collect()
    };
    let (shipped, length) = (of(|row| row.shipped), of(|row| row.of.prompt.len() as f32));
    let figures = routing(&own)?;
    let mut text = format!(
        "{} labelled prompts; measured on those that were not fitted to; 95 % intervals\n",
        rows.len()
    );
    for (name, prompts) in [
        ("refitted", &own),
        ("shipped", &shipped),
        ("length", &length),
    ] {
        let figures = routing(prompts)?;
        let [low, high] = interval(prompts, ROUNDS, |p| Some(routing(p)?.apgr))?;
        let [low50, high50] = interval(prompts, ROUNDS, |p| Some(routing(p)?.cpt50))?;
        let [low80, high80] = interval(prompts, ROUNDS, |p| Some(routing(p)?.cpt80))?;
        let _ = writeln!(
            text,
            "  {name:<9} APGR {:.3} ({low:.3} to {high:.3})  CPT50 {:.0} ({low50:.0} to {high50:.0})  CPT80 {:.0} ({low80:.0} to {high80:.0})",
            figures.apgr, figures.cpt50, figures.cpt80,
        );
    }
    text.push_str("  random    APGR 0.500  CPT50 50  CPT80 80\n");
    let [over_random, _] = interval(&own, ROUNDS, |p| Some(routing(p)?.apgr - 0.5))?;
    let over_length = paired(&own, &length)?;
    let verdict = |low: f32| if low > 0.0 { "beaten" } else { "not beaten" };
    let _ = writeln!(
        text,
        "random is {} (by at least {over_random:.3}), length is {} (by at least {over_length:.3})",
        verdict(over_random),
        verdict(over_length),
    );
    Some((figures, over_random > 0.0 && over_length > 0.0, text))
}

/// The lower end of the interval of how much the one orders better than the other, both measured on the
/// same draws.
fn paired(one: &[Routed], other: &[Routed]) -> Option<f32> {
    let both: Vec<(Routed, Routed)> = one.iter().copied().zip(other.iter().copied()).collect();
    let mut draws = super::steady::Draws(0xb007);
    let mut differences: Vec<f32> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let drawn = both
            .iter()
            .filter_map(|_| both.get(draws.below(both.len())));
        let (one, other): (Vec<Routed>, Vec<Routed>) = drawn.copied().unzip();
        if let (Some(one), Some(other)) = (routing(&one), routing(&other)) {
            differences.push(one.apgr - other.apgr);
        }
    }
    differences.sort_by(f32::total_cmp);
    differences.get(differences.len() / 40).copied()
}

/// The shipped model with the new head mixed into its gain.
fn installed(
    model: &Model,
    rows: &[Row],
    widths: [f32; 2],
    share: f32,
    scores: &[f32],
    report: &str,
) -> Model {
    let [shipped, fitted] = widths;
    let keep = (1.0 - share) / shipped;
    let mut refitted = with_head(model, &head(rows, None), keep, share / fitted);
    let outcomes: Vec<(f32, f32)> = rows
        .iter()
        .zip(scores)
        .map(|(row, score)| {
            let worse = row.of.strong > row.of.weak + 1e-6;
            (*score, f32::from(u8::from(worse)))
        })
        .collect();
    let [slope, offset] = platt(&outcomes);
    refitted.parameters.calibration = [slope, offset];
    let stated: Vec<(f32, f32)> = outcomes
        .iter()
        .map(|(score, outcome)| (sigmoid(slope * score + offset), *outcome))
        .collect();
    refitted.header.sources.push(weights::Source {
        name: "own_labels".to_owned(),
        licence: "own".to_owned(),
        used_for: "difficulty".to_owned(),
        rows: rows.len(),
    });
    refitted.header.evaluation = json!({
        "shipped": model.header.evaluation,
        "calibrated": report,
        "calibration": reliability(&stated),
    });
    requantiled(&refitted, rows.iter().map(|row| row.of.prompt.as_str()))
}

/// A model whose score is `keep` times the old one and `add` times the head's gain.
fn with_head(model: &Model, head: &Fitted<2>, keep: f32, add: f32) -> Model {
    let old = &model.parameters;
    let of = |values: &[f32; OUTPUTS]| values.get(GAIN).copied().unwrap_or(0.0);
    let old_gain = old.score.gain * keep;
    let scale = of(&old.scales) * old_gain;
    let joined: Vec<f32> = model
        .rows
        .iter()
        .zip(&head.rows)
        .map(|(row, [gain, _])| f32::from(row.get(GAIN).copied().unwrap_or(0)) * scale + gain * add)
        .collect();
    let most = joined
        .iter()
        .fold(0.0_f32, |most, weight| most.max(weight.abs()));
    let step = (most / 127.0).max(f32::MIN_POSITIVE);
    let mut rows = model.rows.clone();
    for (row, weight) in rows.iter_mut().zip(&joined) {
        if let Some(lane) = row.get_mut(GAIN) {
            *lane = (weight / step).round() as i8;
        }
    }
    let [bias, _] = head.biases;
    let mut parameters = old.clone();
    if let Some(slot) = parameters.scales.get_mut(GAIN) {
        *slot = step;
    }
    if let Some(slot) = parameters.biases.get_mut(GAIN) {
        *slot = of(&old.biases) * old_gain + bias * add;
    }
    parameters.score.gain = 1.0;
    parameters.score.weak_fails *= keep;
    parameters.score.length *= keep;
    for kind in &mut parameters.score.kinds {
        *kind *= keep;
    }
    Model {
        rows,
        parameters,
        quantiles: model.quantiles.clone(),
        header: model.header.clone(),
    }
}

#[cfg(test)]
#[path = "calibrate_tests.rs"]
mod tests;
