//! The scripts that Redis runs, and their arguments.

use crate::units::Window;
use redis::{Script, ScriptInvocation};

/// The greatest amount that a fleet's store counts exactly.
pub const EXACT: u64 = (1 << 53) - 1;

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("window.lua"), include_str!($file)))
    };
}

/// Each is one step that nothing comes between.
pub struct Scripts {
    pub reserve: Script,
    pub apply: Script,
    pub own: Script,
    pub join: Script,
    pub keep: Script,
}

impl Scripts {
    pub fn new() -> Self {
        Self {
            reserve: script!("reserve.lua"),
            apply: script!("apply.lua"),
            own: script!("own.lua"),
            join: script!("join.lua"),
            keep: script!("keep.lua"),
        }
    }
}

/// Adds a window's three arguments.
pub fn window(to: &mut ScriptInvocation<'_>, window: Window, width: u64) {
    let (kind, length) = match window {
        Window::Rolling(length) => ("rolling", length.as_micros()),
        Window::Calendar(part) => (part.name(), 0),
        Window::Total => ("total", 0),
    };
    let length = u64::try_from(length).unwrap_or(EXACT);
    to.arg(kind).arg(width).arg(length);
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
