//! What kind of request a prompt is, and how likely a cheap model is to do worse at it.
//!
//! Both come from one sparse linear pass over the text: [`featurise`] turns it into rows of a table
//! of int8 weights, [`Model::judge`] adds those rows up. The cost is constant beyond 2 KB, nothing is
//! allocated once the scratch has grown, and the same text gives the same judgement on every machine:
//! sums are integers, and the few operations on floats are those that IEEE 754 defines exactly.
//!
//! The weights are a file ([`weights`]): built in, or read from a path. `tollgate train` writes it
//! ([`train`]), with its own evaluation on sources that it was not trained on ([`report`]).
//! [`quantiles`] turns "30 % to the strong model" into a threshold, and [`calibrate`] refits the
//! heads to an operator's own traffic. Nothing here reads a file, a clock or the network.
//!
//! What is learned from benchmarks is how hard a task is, not which answer people like better: on
//! judged open chat the score is close to a coin, and the header of the weights says so in figures.

pub mod calibrate;
pub mod cues;
pub mod featurise;
mod judgement;
pub mod model;
pub mod quantiles;
pub mod report;
pub mod steady;
pub mod train;
pub mod weights;

pub use featurise::Scratch;
pub use judgement::{Judgement, Kind};
pub use model::Model;
pub use quantiles::{Quantiles, Sketch};
pub use weights::WeightsError;
