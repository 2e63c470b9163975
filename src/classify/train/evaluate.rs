//! Measures training on what was left out of it: whole sources, languages and benchmarks.

use super::super::featurise::{Scratch, by_keywords};
use super::super::judgement::Kind;
use super::super::model::{KINDS, OUTPUTS, Parameters};
use super::super::report::{Routed, Telling, interval, reliability, routing, telling};
use super::super::steady::{Draws, sigmoid};
use super::fit::{Fitted, Sparse};
use super::rows::{KindRow, RouteRow};
use super::{Plan, SCORE, Seen, fit_kinds, fit_routes, templates};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Draws of an interval.
const ROUNDS: usize = 200;

/// What is found, for the header and for people, and the calibration of the difficulty.
pub fn evaluate(
    kinds: &[Seen<KindRow>],
    routes: &[Seen<RouteRow>],
    held_out: &[Seen<KindRow>],
    plan: &Plan,
) -> (Value, String, [f32; 2]) {
    let mut text = String::from("Kind of request (F1 is the mean over kinds)\n");
    let mut told = Vec::new();
    held_out_kinds(kinds, held_out, plan, &mut told);
    left_out_sources(kinds, plan, &mut told);
    let mut values = Vec::new();
    for (name, telling, keywords) in &told {
        let each: Vec<String> = telling
            .f1
            .iter()
            .map(|(kind, f1)| format!("{} {f1:.2}", kind.name()))
            .collect();
        let _ = writeln!(
            text,
            "  {name:<34} n {:>5}  accuracy {:.3}  F1 {:.3}  (keywords {:.3})  {}",
            telling.count,
            telling.accuracy,
            telling.macro_f1,
            keywords.macro_f1,
            each.join(", "),
        );
        values.push(json!({"on": name, "model": telling, "keywords_macro_f1": keywords.macro_f1}));
    }
    let (difficulty, routed, calibration) = difficulty(kinds, routes, plan);
    text.push_str(&routed);
    (
        json!({"kind": values, "difficulty": difficulty}),
        text,
        calibration,
    )
}

type Told = (String, Telling, Telling);

fn likeliest(model: &Fitted<KINDS>, sparse: &Sparse) -> Kind {
    let outputs = model.outputs(sparse);
    let mut best = (Kind::SimpleQa, f32::MIN);
    for (kind, output) in Kind::ALL.into_iter().zip(outputs) {
        if output > best.1 {
            best = (kind, output);
        }
    }
    best.0
}

/// Adds the figures of a model on rows.
fn tell(name: &str, pairs: &[(&Seen<KindRow>, Kind)], told: &mut Vec<Told>) {
    if pairs.is_empty() {
        return;
    }
    let mut scratch = Scratch::default();
    let model: Vec<(Kind, Kind)> = pairs
        .iter()
        .map(|(seen, kind)| (seen.0.kind, *kind))
        .collect();
    let keywords: Vec<(Kind, Kind)> = pairs
        .iter()
        .map(|(seen, _)| (seen.0.kind, by_keywords(&seen.0.prompt, &mut scratch)))
        .collect();
    told.push((name.to_owned(), telling(&model), telling(&keywords)));
}

fn held_out_kinds(
    kinds: &[Seen<KindRow>],
    held_out: &[Seen<KindRow>],
    plan: &Plan,
    told: &mut Vec<Told>,
) {
    let model = fit_kinds(kinds, plan, |_| true);
    let on = |keep: &dyn Fn(&KindRow) -> bool| -> Vec<(&Seen<KindRow>, Kind)> {
        let kept = held_out.iter().filter(|(row, _)| keep(row));
        kept.map(|seen| (seen, likeliest(&model, &seen.1)))
            .collect()
    };
    let families: BTreeSet<&str> = held_out
        .iter()
        .map(|(row, _)| family(&row.source))
        .collect();
    for name in families {
        let pairs = on(&|row| family(&row.source) == name);
        tell(&format!("held out: {name}"), &pairs, told);
    }
    tell("held out: all", &on(&|_| true), told);
}

/// Sources that are of one hand.
fn family(source: &str) -> &str {
    source.split(['_', ' ']).next().unwrap_or(source)
}

fn left_out_sources(kinds: &[Seen<KindRow>], plan: &Plan, told: &mut Vec<Told>) {
    let own = |row: &KindRow| row.source.starts_with(templates::SOURCE);
    let families: BTreeSet<&str> = kinds
        .iter()
        .filter(|(row, _)| !own(row))
        .map(|(row, _)| family(&row.source))
        .collect();
    let mut pooled = Vec::new();
    for name in families {
        let held = |row: &KindRow| !own(row) && family(&row.source) == name;
        pooled.extend(without(kinds, plan, &held));
    }
    tell("each source left out in turn", &pooled, told);
    let mut pooled = Vec::new();
    let english = format!("{}_en", templates::SOURCE);
    let languages: BTreeSet<&str> = kinds
        .iter()
        .filter(|(row, _)| own(row) && row.source != english)
        .map(|(row, _)| row.source.as_str())
        .collect();
    for third in 0..3 {
        let out: Vec<&str> = languages.iter().copied().skip(third).step_by(3).collect();
        pooled.extend(without(kinds, plan, &|row| {
            out.contains(&row.source.as_str())
        }));
    }
    tell("each language left out in turn", &pooled, told);
    let mut draws = Draws(11);
    let out: BTreeSet<usize> = (0..kinds.len()).filter(|_| draws.below(5) == 0).collect();
    let prompts: BTreeSet<&str> = out
        .iter()
        .filter_map(|at| kinds.get(*at).map(|(row, _)| row.prompt.as_str()))
        .collect();
    let pairs = without(kinds, plan, &|row| prompts.contains(row.prompt.as_str()));
    tell("a random fifth left out", &pairs, told);
}

fn without<'a>(
    kinds: &'a [Seen<KindRow>],
    plan: &Plan,
    held: &dyn Fn(&KindRow) -> bool,
) -> Vec<(&'a Seen<KindRow>, Kind)> {
    let model = fit_kinds(kinds, plan, |row| !held(row));
    let out = kinds.iter().filter(|(row, _)| held(row));
    out.map(|seen| (seen, likeliest(&model, &seen.1))).collect()
}

/// One prompt that was left out: its score, its length, and what came of it.
#[derive(Clone, Copy)]
struct Out {
    routed: Routed,
    length: f32,
}

struct Judge<'a> {
    kinds: Fitted<KINDS>,
    routes: &'a [Seen<RouteRow>],
    plan: &'a Plan,
}

impl Judge<'_> {
    /// Scores the rows that are held with a model that was trained on the others.
    fn without(&self, held: &dyn Fn(&RouteRow) -> bool) -> Vec<Out> {
        let model = fit_routes(self.routes, self.plan, |row| !held(row));
        let parameters = Parameters {
            scales: [0.0; OUTPUTS],
            biases: [0.0; OUTPUTS],
            score: SCORE,
            calibration: [1.0, 0.0],
            other_below: 0.0,
        };
        let out = self.routes.iter().filter(|(row, _)| held(row));
        out.map(|(row, sparse)| {
            let mut outputs = [0.0; OUTPUTS];
            let both = self
                .kinds
                .outputs(sparse)
                .into_iter()
                .chain(model.outputs(sparse));
            for (output, value) in outputs.iter_mut().zip(both) {
                *output = value;
            }
            let judged = parameters.judgement(&outputs, row.prompt.len());
            Out {
                routed: Routed {
                    score: judged.score,
                    weak: row.weak_score,
                    strong: row.strong_score,
                },
                length: row.prompt.len() as f32,
            }
        })
        .collect()
    }
}

fn difficulty(
    kinds: &[Seen<KindRow>],
    routes: &[Seen<RouteRow>],
    plan: &Plan,
) -> (Value, String, [f32; 2]) {
    // Some of those prompts are among the benchmarks': what tells their kind must not know them.
    let unseen = |row: &KindRow| !["llmrouter", "mmlu"].contains(&family(&row.source));
    let judge = Judge {
        kinds: fit_kinds(kinds, plan, unseen),
        routes,
        plan,
    };
    let mut text = String::from("\nDifficulty (APGR; 0.5 is random; 95 % intervals)\n");
    let mut values = Vec::new();
    let mut pooled = Vec::new();
    let benches: BTreeSet<&str> = routes.iter().map(|(row, _)| row.bench.as_str()).collect();
    for bench in benches {
        let out = judge.without(&|row| row.bench == bench);
        show(
            &format!("benchmark left out: {bench}"),
            &out,
            &mut text,
            &mut values,
        );
        pooled.extend(out);
    }
    let subjects: BTreeSet<&str> = routes
        .iter()
        .filter(|(row, _)| row.bench == "mmlu")
        .map(|(row, _)| row.group.as_str())
        .collect();
    let mut out = Vec::new();
    for third in 0..3 {
        let held: Vec<&str> = subjects.iter().copied().skip(third).step_by(3).collect();
        out.extend(judge.without(&|row| row.bench == "mmlu" && held.contains(&row.group.as_str())));
    }
    show("mmlu: unseen subjects", &out, &mut text, &mut values);
    let maths = |row: &RouteRow| row.group.contains("math");
    show(
        "all mathematics left out",
        &judge.without(&maths),
        &mut text,
        &mut values,
    );
    let (calibration, calibrated) = calibrated(&pooled, &mut text);
    (
        json!({"left_out": values, "calibration": calibrated}),
        text,
        calibration,
    )
}

fn show(name: &str, out: &[Out], text: &mut String, values: &mut Vec<Value>) {
    let model: Vec<Routed> = out.iter().map(|out| out.routed).collect();
    let length = |out: &Out| Routed {
        score: out.length,
        ..out.routed
    };
    let length: Vec<Routed> = out.iter().map(length).collect();
    let apgr = |prompts: &[Routed]| routing(prompts).map(|figures| figures.apgr);
    let (Some(figures), Some(trivial)) = (routing(&model), apgr(&length)) else {
        return;
    };
    let [low, high] = interval(&model, ROUNDS, apgr).unwrap_or_default();
    let _ = writeln!(
        text,
        "  {name:<34} n {:>5}  APGR {:.3} ({low:.3} to {high:.3})  CPT50 {:.0}  CPT80 {:.0}  (length {trivial:.3})",
        out.len(),
        figures.apgr,
        figures.cpt50,
        figures.cpt80,
    );
    values.push(json!({
        "on": name, "count": out.len(), "model": figures, "apgr_95": [low, high],
        "length_apgr": trivial,
    }));
}

/// Slope and offset that make the score a probability, from prompts of benchmarks that were left out:
/// fitted on every other one, measured on the rest.
fn calibrated(out: &[Out], text: &mut String) -> ([f32; 2], Value) {
    let pair = |out: &Out| {
        let worse = out.routed.strong > out.routed.weak + 1e-6;
        (out.routed.score, f32::from(u8::from(worse)))
    };
    let half =
        |from: usize| -> Vec<(f32, f32)> { out.iter().skip(from).step_by(2).map(pair).collect() };
    let [slope, offset] = platt(&half(0));
    let stated: Vec<(f32, f32)> = half(1)
        .into_iter()
        .map(|(score, worse)| (sigmoid(slope * score + offset), worse))
        .collect();
    let found = reliability(&stated);
    let _ = writeln!(
        text,
        "\nCalibration of the difficulty: ECE {:.3}",
        found.ece
    );
    for bin in &found.bins {
        let _ = writeln!(
            text,
            "  stated {:.3}  observed {:.3}  n {}",
            bin.stated, bin.observed, bin.count
        );
    }
    let all: Vec<(f32, f32)> = out.iter().map(pair).collect();
    (platt(&all), json!(found))
}

/// Logistic regression on one number (Platt, 1999), by Newton's method; the slope is not below zero.
pub fn platt(pairs: &[(f32, f32)]) -> [f32; 2] {
    let (mut slope, mut offset) = (0.0_f32, 0.0_f32);
    for _ in 0..20 {
        let [mut ga, mut gb, mut aa, mut ab, mut bb] = [0.0_f64; 5];
        for (score, outcome) in pairs {
            let p = sigmoid(slope * score + offset);
            let (error, spread) = (f64::from(p - outcome), f64::from(p * (1.0 - p)));
            let score = f64::from(*score);
            ga += error * score;
            gb += error;
            aa += spread * score * score;
            ab += spread * score;
            bb += spread;
        }
        let (aa, bb) = (aa + 1e-3, bb + 1e-3);
        let det = aa * bb - ab * ab;
        slope -= ((bb * ga - ab * gb) / det) as f32;
        offset -= ((aa * gb - ab * ga) / det) as f32;
    }
    match slope.is_finite() && offset.is_finite() && slope > 0.0 {
        true => [slope, offset],
        false => [0.0, 0.0],
    }
}
