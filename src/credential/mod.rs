//! Credentials that are more than a fixed header: they are fetched, they end,
//! or they sign.

pub mod google;
