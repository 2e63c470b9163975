//! What the gateway tells its operator: metrics, one access-log line per
//! request, traces, and the operator's own log.
//!
//! The gateway fills in one [`Record`] per request and hands it over once,
//! when the request is settled; metrics, access log and traces are all made
//! from it, so they cannot disagree. Nothing here blocks a request, and nothing here
//! ever sees a prompt, a completion or a key: a [`Record`] has no field for
//! one.

mod access_line;
pub mod access_log;
mod accounting;
mod failover;
pub mod log;
pub mod metrics;
mod process;
mod record;
mod scrub;
pub mod traces;

pub use access_log::{AccessLog, Output};
pub use metrics::{Counted, Metrics};
pub use record::{Attempt, AttemptOutcome, AttemptRole, MODEL_CHARS, NONE, Outcome, Record, Span};
pub use traces::Traces;

use humantime::Rfc3339Timestamp;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io;
use std::time::SystemTime;

/// A time as it is written everywhere: RFC 3339, UTC, milliseconds.
///
/// A clock before 1970, which the format cannot write, counts as 1970.
pub(crate) fn timestamp(time: SystemTime) -> Rfc3339Timestamp {
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH))
}

/// The first `chars` characters of `text`.
fn capped(text: &str, chars: usize) -> &str {
    text.char_indices()
        .nth(chars)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// One line of JSON, newline included. `None` when `value` cannot be JSON at
/// all (a map with keys that are not strings), which no caller's type allows.
fn json_line(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(768);
    value
        .serialize(&mut Serializer::with_formatter(&mut line, Terminal))
        .ok()?;
    line.push(b'\n');
    Some(line)
}

/// JSON that is safe to show on a terminal. JSON itself demands escapes only
/// below U+0020; a terminal also obeys the C1 controls, a viewer may break
/// lines at U+2028, and the bidirectional controls reorder what is read.
struct Terminal;

impl Formatter for Terminal {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.contains('\u{7f}') {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        for part in fragment.split_inclusive(deceives) {
            let last = part.chars().next_back().filter(|c| deceives(*c));
            let plain = part.len() - last.map_or(0, char::len_utf8);
            writer.write_all(part.as_bytes().get(..plain).unwrap_or_default())?;
            if let Some(c) = last {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
        }
        Ok(())
    }
}

fn deceives(c: char) -> bool {
    matches!(c,
        '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        String::from_utf8(json_line(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_clock_before_1970_is_no_reason_to_panic() {
        let early = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        assert_eq!(timestamp(early).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn capping_keeps_whole_characters() {
        assert_eq!(capped("gpt", 3), "gpt");
        assert_eq!(capped("gpt-4", 3), "gpt");
        assert_eq!(capped("äöü", 2), "äö");
        assert_eq!(capped("", 0), "");
    }

    #[test]
    fn a_line_has_no_control_character_and_reads_back() {
        let nasty = "a\n\r\u{1b}[31m\u{7f}\u{9b}0m\u{2028}\u{202e}x\u{2067}é漢\"\\\0";
        let written = line(nasty);
        let (end, body) = (written.chars().next_back(), written.trim_end_matches('\n'));
        assert_eq!(end, Some('\n'));
        assert!(
            !body.chars().any(|c| c.is_control() || deceives(c)),
            "{body}"
        );
        assert!(body.contains("é漢") && body.contains("\\u009b"), "{body}");
        assert_eq!(serde_json::from_str::<String>(body).unwrap(), nasty);
    }
}
