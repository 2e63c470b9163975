//! Small values with a meaning: patterns of names, money, moments, what may be used in
//! which time.

mod allowance;
mod moment;
mod money;
mod name;
mod pattern;
mod priority;

pub use allowance::{Allowance, Calendar, Measure, NotAnAllowance, Window};
pub use moment::{Moment, NotAMoment};
pub use money::{MicroUsd, NotMoney, Rate};
pub use name::is_plain;
pub use pattern::{Pattern, Wildcard};
pub use priority::Priority;
