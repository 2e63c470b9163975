//! Where a request goes.
//!
//! [`decide`] orders the targets of a route: a pure function. [`balance`]
//! picks one address among a provider's endpoints; [`endpoint`] and
//! [`health`] say what those are and which of them answer. What an attempt's
//! failure means for the next one is the table in [`fault`].

pub mod balance;
pub mod course;
pub mod decide;
pub mod endpoint;
pub mod fault;
pub mod health;
