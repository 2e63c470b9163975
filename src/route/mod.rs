//! Where a request goes.
//!
//! [`decide`] orders the targets of a route: a pure function. [`course`] is one
//! request's way through them; what a failure means for the next step is the
//! table in [`fault`]. [`balance`] picks one address among a provider's
//! endpoints; [`endpoint`] and [`health`] say what those are and which of them
//! answer.
//!
//! The control loops know no clock and no network; time is an argument.
//! [`breaker`] leaves a failing target alone and finds out when it is well
//! again. [`budget`] bounds retries. [`learned`] knows how long things take. [`pace`]
//! guards a stream after its first token. [`hedging`] bounds what is asked
//! twice. [`standing`] keeps them by name, so that no reload forgets.

pub mod balance;
pub mod breaker;
pub mod budget;
pub mod conversations;
pub mod course;
pub mod decide;
pub mod endpoint;
pub mod fault;
pub mod health;
pub mod hedging;
pub mod learned;
pub mod pace;
pub mod policy;
pub mod standing;
pub mod when;
