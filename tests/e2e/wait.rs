//! Waiting for a condition, in one place.
//!
//! Promises: a test that waits says what it waits for and fails with that sentence when the deadline passes.
//! The pause between two looks only spares the processor; no test's outcome depends on its length.

use std::time::{Duration, Instant};

/// The longest that any test waits for something that should happen "soon". A busy two-core machine may stop a
/// process for seconds, so this is generous; a healthy run never comes near it.
pub const DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(4);

/// Looks at `condition` until it gives a value, and returns that value.
///
/// # Panics
/// When `DEADLINE` passes first; the message names `what`.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    match within(DEADLINE, &mut condition) {
        Some(value) => value,
        None => panic!("did not happen within {DEADLINE:?}: {what}"),
    }
}

/// As [`eventually`], with a deadline of its own and `None` instead of a panic.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two looks at a condition, on the test's own thread; no outcome depends on it"
)]
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks at a number until it has not changed for `looks` looks in a row, and returns it: "it has stalled".
pub fn settled(what: &str, looks: u32, mut number: impl FnMut() -> u64) -> u64 {
    let (mut last, mut same) = (number(), 0);
    eventually(what, || {
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same >= looks).then_some(now)
    })
}
