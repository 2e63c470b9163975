//! Who may use how much: limits and budgets, reserved before anything is sent
//! and settled when it is known what was used.
//!
//! A [`Limiter`] holds the counters. A request asks it for a [`Hold`] of the most
//! that it may use; it is let in only where `settled + reserved <= limit` still
//! stands under every rule that counts it (`window::admit` is the one place that
//! says so). A hold is settled, released or charged in full, once.
//!
//! Nothing here reads the time: moments are given by the caller, who has them
//! from the [`Clock`] of budgets. Waiting for a turn is the one thing that takes
//! time by itself.

mod clock;
mod counter;
mod fleet;
mod hold;
mod limiter;
mod memory;
mod period;
mod queue;
mod rule;
mod verdict;
mod window;

pub use clock::Clock;
pub use fleet::{Condition, Fleet, MOST_SHARED, Shared};
pub use hold::Hold;
pub use limiter::{Limiter, Remaining};
pub use memory::ROOM;
pub use rule::{Dimension, Load, Rule, Selector, Subject};
pub use verdict::{Left, Priority, Refusal, Stage, Standing, Turn, Why};
