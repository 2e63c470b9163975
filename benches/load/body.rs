//! The requests: chat bodies of an exact size, made of ordinary prose.
//!
//! The members are in the order in which the official Python SDK sends them (`messages` first), so
//! a scanner that stops at the model still has to pass the whole text.

use std::time::Duration;

/// What the client asks for. As long as `UPSTREAM_MODEL`, so that the provider sees a body of the
/// same length whether or not the model was rewritten, and the probe can compare lengths exactly.
pub const ALIAS: &str = "bench-chat-1";
pub const UPSTREAM_MODEL: &str = "mock-model-1";
pub const PATH: &str = "/v1/chat/completions";

/// Events with text in a streamed answer; `data: [DONE]` follows them.
pub const EVENTS: usize = 24;

/// Prose with the escapes that prose has: a scanner must not be flattered by text without any.
const PROSE: &str = concat!(
    r"The valve on line 4 was replaced on Tuesday; pressure is back to 6.2 bar.\n\nPlease write a ",
    r#"short note for the night shift that says what changed, what to watch (the \"slow leak\" near "#,
    r"the second flange), and whom to call. Keep it under 120 words, in plain language.\n- temperature: ",
    r"steady at 71 degrees\n- vibration: within limits, see the table below\n\n",
);
/// Length of one message's text in long bodies, before escapes are counted out: a long
/// conversation is many turns, not one enormous string.
const TURN: usize = 1500;

/// One row of the table.
pub struct Workload {
    pub name: String,
    pub body: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Completion,
    Stream,
}

impl Workload {
    /// The smallest body `completion` can make.
    pub const SMALLEST: usize = 256;

    /// A request of exactly `size` bytes (at least `SMALLEST`) that is answered whole.
    pub fn completion(size: usize) -> Self {
        Self {
            name: size_name(size),
            body: chat(size, ""),
            kind: Kind::Completion,
        }
    }

    /// A request of 1 KiB that is answered with `EVENTS` events, `gap` apart.
    pub fn stream(gap: Duration) -> Self {
        let pace = match gap.as_millis() {
            0 => "at once".to_owned(),
            ms => format!("{ms} ms apart"),
        };
        Self {
            name: format!("stream, {EVENTS} events {pace}"),
            body: chat(1 << 10, r#","stream":true"#),
            kind: Kind::Stream,
        }
    }
}

fn size_name(size: usize) -> String {
    match size {
        n if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

fn chat(size: usize, extra: &str) -> String {
    let head = r#"{"messages":[{"role":"system","content":"You are a careful assistant."}"#;
    let tail = format!(r#"],"model":"{ALIAS}","temperature":0.2{extra}}}"#);
    let mut body = String::with_capacity(size);
    body.push_str(head);
    let roles = ["user", "assistant"].into_iter().cycle();
    for role in roles {
        let frame = format!(r#",{{"role":"{role}","content":""}}"#).len();
        let room = size.saturating_sub(body.len() + tail.len());
        // The last turn takes all that is left, so that no remainder is too small for a frame.
        let text = match room.saturating_sub(frame) {
            left if left > TURN + 2 * frame => TURN,
            left => left,
        };
        body.push_str(&format!(
            r#",{{"role":"{role}","content":"{}"}}"#,
            prose(text)
        ));
        if text + frame >= room {
            break;
        }
    }
    body.push_str(&tail);
    body
}

/// `PROSE` over and over, cut to exactly `length` bytes of JSON string content.
fn prose(length: usize) -> String {
    let mut text: String = PROSE.chars().cycle().take(length).collect();
    // A cut right after a backslash would escape the closing quote.
    if text.ends_with('\\') {
        text.pop();
        text.push('.');
    }
    text
}
