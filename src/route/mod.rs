//! Where a request goes.
//!
//! [`decide`] orders the targets of a route: a pure function. [`balance`]
//! picks one address among a provider's endpoints; [`endpoint`] and
//! [`health`] say what those are and which of them answer.

pub mod balance;
pub mod decide;
pub mod endpoint;
pub mod health;
