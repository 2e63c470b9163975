//! What was used, by whom, and what it cost: written down before anything is
//! sent, and once more when it is known.

mod entry;

pub use entry::{Attempt, Intent, Settlement, UsageSource};
