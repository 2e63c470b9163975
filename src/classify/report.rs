//! How good it is: the figures that the literature uses, and the baselines that cost nothing.

use super::judgement::Kind;
use super::steady::Draws;
use serde::{Deserialize, Serialize};

/// How the score orders prompts for the strong model, as RouteLLM measures it (Ong et al., 2024).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// The mean share of the gap between the two models that is closed, over all shares of requests
    /// that go to the strong one; 0.5 is random.
    pub apgr: f32,
    /// The percentage of requests that must go to the strong model to close half of the gap.
    pub cpt50: f32,
    /// The same for four fifths of it.
    pub cpt80: f32,
}

/// One prompt: its score, and what the two models were worth at it.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    pub score: f32,
    pub weak: f32,
    pub strong: f32,
}

/// Figures of the order that the scores give; none where the strong model is not better.
#[must_use]
pub fn routing(prompts: &[Routed]) -> Option<Routing> {
    let gap: f64 = prompts.iter().map(gain).sum();
    if gap <= 0.0 {
        return None;
    }
    let mut order: Vec<&Routed> = prompts.iter().collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let count = prompts.len() as f64;
    let (mut area, mut closed, mut at) = (0.0, 0.0, 0.0);
    let mut cpt = [None, None];
    // Those of one score go together: half of the area of the step between.
    for ties in order.chunk_by(|a, b| a.score == b.score) {
        let step: f64 = ties.iter().map(|prompt| gain(prompt)).sum::<f64>() / gap;
        let wide = ties.len() as f64 / count;
        area += (closed + step / 2.0) * wide;
        for (share, wanted) in cpt.iter_mut().zip([0.5, 0.8]) {
            if share.is_none() && step > 0.0 && closed + step >= wanted {
                *share = Some(100.0 * (at + wide * (wanted - closed) / step));
            }
        }
        closed += step;
        at += wide;
    }
    let [cpt50, cpt80] = cpt.map(|share| share.unwrap_or(100.0) as f32);
    Some(Routing {
        apgr: area as f32,
        cpt50,
        cpt80,
    })
}

fn gain(prompt: &Routed) -> f64 {
    f64::from(prompt.strong) - f64::from(prompt.weak)
}

/// The 95 % interval of a figure, by drawing the prompts again `rounds` times; the same every time.
#[must_use]
pub fn interval(
    prompts: &[Routed],
    rounds: usize,
    figure: impl Fn(&[Routed]) -> Option<f32>,
) -> Option<[f32; 2]> {
    let mut draws = Draws(0xb007);
    let mut drawn = Vec::with_capacity(prompts.len());
    let mut figures: Vec<f32> = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        drawn.clear();
        for _ in prompts {
            drawn.extend(prompts.get(draws.below(prompts.len())).copied());
        }
        figures.extend(figure(&drawn));
    }
    figures.sort_by(f32::total_cmp);
    let at = |share: f32| {
        figures
            .get((share * figures.len() as f32) as usize)
            .copied()
    };
    Some([at(0.025)?, at(0.975)?])
}

/// One step of a reliability table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The mean of the probabilities that were stated.
    pub stated: f32,
    /// How often it was so.
    pub observed: f32,
    pub count: usize,
}

/// How far stated probabilities are from what is observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The expected calibration error: the mean distance, weighted by count.
    pub ece: f32,
    /// Tenths of the prompts, in the order of what was stated.
    pub bins: Vec<Bin>,
}

/// The reliability of probabilities (first) against outcomes (second, 0 to 1).
#[must_use]
pub fn reliability(stated: &[(f32, f32)]) -> Reliability {
    let mut sorted = stated.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wide = sorted.len().div_ceil(10).max(1);
    let bins: Vec<Bin> = sorted
        .chunks(wide)
        .map(|chunk| Bin {
            stated: chunk.iter().map(|pair| pair.0).sum::<f32>() / chunk.len() as f32,
            observed: chunk.iter().map(|pair| pair.1).sum::<f32>() / chunk.len() as f32,
            count: chunk.len(),
        })
        .collect();
    let off: f32 = bins
        .iter()
        .map(|bin| (bin.stated - bin.observed).abs() * bin.count as f32)
        .sum();
    Reliability {
        ece: off / sorted.len().max(1) as f32,
        bins,
    }
}

/// How well kinds are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Telling {
    pub count: usize,
    pub accuracy: f32,
    /// The mean of F1 over the kinds that occur.
    pub macro_f1: f32,
    /// F1 of each kind that occurs.
    pub f1: Vec<(Kind, f32)>,
}

/// Figures of what was told (second) against what is so (first).
#[must_use]
pub fn telling(pairs: &[(Kind, Kind)]) -> Telling {
    let count =
        |what: &dyn Fn(&(Kind, Kind)) -> bool| pairs.iter().filter(|pair| what(pair)).count();
    let mut f1 = Vec::new();
    for kind in Kind::ALL {
        let is = count(&|pair| pair.0 == kind);
        let told = count(&|pair| pair.1 == kind);
        let both = count(&|pair| pair.0 == kind && pair.1 == kind);
        if is > 0 {
            f1.push((kind, 2.0 * both as f32 / (is + told) as f32));
        }
    }
    let sum: f32 = f1.iter().map(|(_, f1)| f1).sum();
    Telling {
        count: pairs.len(),
        accuracy: count(&|pair| pair.0 == pair.1) as f32 / pairs.len().max(1) as f32,
        macro_f1: sum / f1.len().max(1) as f32,
        f1,
    }
}
