//! Who may use how much: limits and budgets, reserved before anything is sent
//! and settled when it is known what was used.

mod rule;

pub use rule::{Dimension, Load, Rule, Selector, Subject};
