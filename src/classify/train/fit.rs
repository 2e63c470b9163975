//! Fits a linear model by stochastic gradient descent (AdaGrad), the same bits every time.

use super::super::featurise::{GROUPS, Group, ROWS, Scratch, Sink, featurise, norms};
use super::super::steady::{Draws, exp, sigmoid};

/// A text as rows with their values, duplicates added up.
#[derive(Clone, Debug, Default)]
pub struct Sparse(pub Vec<(u32, f32)>);

#[derive(Default)]
struct Taken(Vec<(u32, u8)>);

impl Sink for Taken {
    fn take(&mut self, group: Group, row: u32) {
        self.0.push((row, group as u8));
    }
}

impl Sparse {
    /// The rows of a text as the server would add them up.
    #[must_use]
    pub fn of(text: &str, scratch: &mut Scratch) -> Self {
        let mut taken = Taken::default();
        let words = featurise(text, scratch, &mut taken);
        let norms: [f32; GROUPS] = norms(words);
        taken.0.sort_unstable();
        let mut rows: Vec<(u32, f32)> = Vec::new();
        for (row, group) in taken.0 {
            let norm = norms.get(usize::from(group)).copied().unwrap_or(0.0);
            match rows.last_mut() {
                Some((last, value)) if *last == row => *value += norm,
                _ => rows.push((row, norm)),
            }
        }
        Self(rows)
    }
}

/// What an example should give.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// One of the outputs: softmax.
    One(usize),
    /// Each output by itself, 0 to 1: logistic.
    Each([f32; 2]),
}

/// One example with its weight.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    pub rows: &'a Sparse,
    pub target: Target,
    pub weight: f32,
}

/// How it is fitted.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub epochs: usize,
    pub rate: f32,
    /// L2, for each visit of a row.
    pub decay: f32,
    /// The share of rows left out at each visit.
    pub dropout: f32,
    pub seed: u64,
}

/// Weights of `N` outputs.
#[derive(Clone, Debug)]
pub struct Fitted<const N: usize> {
    pub rows: Vec<[f32; N]>,
    pub biases: [f32; N],
}

impl<const N: usize> Fitted<N> {
    /// All zero.
    #[must_use]
    pub fn zero() -> Self {
        Self {
            rows: vec![[0.0; N]; ROWS],
            biases: [0.0; N],
        }
    }

    /// The outputs for a text.
    #[must_use]
    pub fn outputs(&self, text: &Sparse) -> [f32; N] {
        self.partly(text, |_| true)
    }

    fn partly(&self, text: &Sparse, mut keep: impl FnMut(u32) -> bool) -> [f32; N] {
        let mut outputs = self.biases;
        for (row, value) in &text.0 {
            if !keep(*row) {
                continue;
            }
            if let Some(weights) = self.rows.get(*row as usize) {
                for (output, weight) in outputs.iter_mut().zip(weights) {
                    *output += weight * value;
                }
            }
        }
        outputs
    }
}

/// Fits from zero.
#[must_use]
pub fn fit<const N: usize>(examples: &[Example], course: &Course) -> Fitted<N> {
    let mut fitted = Fitted::zero();
    #[expect(clippy::useless_vec, reason = "a megabyte is too much for the stack")]
    let mut squares = vec![[1e-3_f32; N]; ROWS];
    let mut bias_squares = [1e-3_f32; N];
    let mut draws = Draws(course.seed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let bound = (course.dropout * u32::MAX as f32) as u32;
    for epoch in 0..course.epochs {
        draws.shuffle(&mut order);
        // Down to a fifth at the end, so that the last examples do not count more.
        let rate = course.rate * (1.0 - 0.8 * epoch as f32 / course.epochs as f32);
        for at in &order {
            let Some(example) = examples.get(*at) else {
                continue;
            };
            let salt = draws.draw() as u32;
            let keep = |row: u32| {
                row.wrapping_mul(0x9e37_79b1)
                    .rotate_left(15)
                    .wrapping_mul(salt | 1)
                    >= bound
            };
            let mut errors = fitted.partly(example.rows, keep);
            errors_of(&mut errors, example.target);
            for error in &mut errors {
                *error *= example.weight;
            }
            step(
                &mut fitted.biases,
                &mut bias_squares,
                &errors,
                1.0,
                rate,
                0.0,
            );
            for (row, value) in &example.rows.0 {
                if !keep(*row) {
                    continue;
                }
                let at = *row as usize;
                if let (Some(weights), Some(squares)) =
                    (fitted.rows.get_mut(at), squares.get_mut(at))
                {
                    step(weights, squares, &errors, *value, rate, course.decay);
                }
            }
        }
    }
    let kept = 1.0 - course.dropout;
    for weights in &mut fitted.rows {
        for weight in weights {
            *weight *= kept;
        }
    }
    fitted
}

/// Outputs into how far they are from the target.
fn errors_of<const N: usize>(outputs: &mut [f32; N], target: Target) {
    match target {
        Target::One(right) => {
            let most = outputs.iter().copied().fold(f32::MIN, f32::max);
            let mut sum = 0.0;
            for output in outputs.iter_mut() {
                *output = exp(*output - most);
                sum += *output;
            }
            for (at, output) in outputs.iter_mut().enumerate() {
                *output = *output / sum - f32::from(u8::from(at == right));
            }
        }
        Target::Each(wanted) => {
            for (output, wanted) in outputs.iter_mut().zip(wanted) {
                *output = sigmoid(*output) - wanted;
            }
        }
    }
}

#[inline]
fn step<const N: usize>(
    weights: &mut [f32; N],
    squares: &mut [f32; N],
    errors: &[f32; N],
    value: f32,
    rate: f32,
    decay: f32,
) {
    for ((weight, square), error) in weights.iter_mut().zip(squares).zip(errors) {
        let slope = error * value + decay * *weight;
        *square += slope * slope;
        *weight -= rate * slope / square.sqrt();
    }
}
