//! What must hold for every input, not only for those that somebody thought of.
//!
//! [`smoke`] runs the properties of the fuzz targets over the golden files and what seeded damage
//! makes of them; the others draw conversations and events and follow them through a format and
//! back; [`failover`] lets providers fail at random. All of it is the same in every run. `TOLLGATE_CASES=20 cargo test --test properties`
//! runs twenty times as many cases, and other ones beyond the usual.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assertion is a test's way to speak"
)]

#[path = "../../fuzz/properties/lib.rs"]
mod properties;

mod conversations;
mod drawn;
mod failover;
mod smoke;
mod splicing;
mod streams;

/// How many cases to run where `usual` is what every run can afford.
fn cases(usual: usize) -> usize {
    let times = std::env::var("TOLLGATE_CASES").ok();
    let times = times.map_or(1, |text| text.parse().expect("TOLLGATE_CASES is a number"));
    usual * times
}
