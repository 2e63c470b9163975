//! What tokens cost, and how many there are where nobody says.
//!
//! A [`Book`] of prices is read from TOML: rows name models by patterns, with
//! the dates between which they hold. It finds the [`Price`] of a model at a
//! moment, and that tells what was used ([`Price::cost`]), or the most that
//! something can come to ([`Price::bound`], for [`Size::tokens`] of a request).
//! Both are integers; what was used never costs more than its bound.
//!
//! [`tokens::count`] counts texts for estimates, where a provider reports
//! nothing. Nothing here reads a file or a clock.

mod book;
pub mod bound;
pub mod litellm;
mod price;
mod row;
pub mod tokens;

pub use book::{Book, SHIPPED, shipped};
pub use bound::{REQUEST_TOKENS, Size, TOOL_TOKENS};
pub use price::{IMAGE_TOKENS, Price, Rates, Tier};
pub use row::Row;
