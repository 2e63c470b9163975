//! One problem of a configuration: where, what, and what to do about it.
//!
//! A diagnostic never holds the value of a secret. Names in it come from the
//! file, so rendering escapes control characters: a file cannot write to the
//! operator's terminal.

use std::fmt::{self, Write as _};

/// Does the problem keep the configuration from being used?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// Where in the file, from its root: `models."gpt-4.1".targets[0]`. An element
/// of an array is written as its index, from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<String>);

impl Path {
    /// The file as a whole.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path one step further in: a key or an index.
    #[must_use]
    pub fn then(mut self, segment: impl ToString) -> Self {
        self.0.push(segment.to_string());
        self
    }

    /// The path one step further out, and the step; `None` at the root.
    pub(super) fn split_last(mut self) -> Option<(Self, String)> {
        let last = self.0.pop()?;
        Some((self, last))
    }

    /// Is the segment at `position` an index? Digits are, but not where the
    /// operator chooses the names: a key may well be called `7`.
    pub(super) fn is_index(&self, position: usize) -> bool {
        let before = position
            .checked_sub(1)
            .and_then(|before| self.0.get(before));
        let named = match before.map(String::as_str) {
            None | Some("headers" | "metadata") => true,
            Some("providers" | "models" | "keys") => position == 1,
            Some(_) => false,
        };
        let digits = |s: &String| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        !named && self.0.get(position).is_some_and(digits)
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for Path {
    fn from(segments: [S; N]) -> Self {
        Self(segments.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            if self.is_index(position) {
                write!(f, "[{segment}]")?;
                continue;
            }
            if position > 0 {
                f.write_char('.')?;
            }
            if is_bare(segment) {
                f.write_str(segment)?;
            } else {
                write!(f, "\"{}\"", segment.escape_debug())?;
            }
        }
        Ok(())
    }
}

/// TOML's rule for keys that need no quotes.
fn is_bare(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub path: Path,
    /// Line in the file, from 1; `None` until [`super::with_lines`] knows it.
    pub line: Option<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A problem that keeps the configuration from being used.
    pub fn error(path: impl Into<Path>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, path.into(), message.into())
    }

    /// Something the operator should know; the configuration works.
    pub fn warning(path: impl Into<Path>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, path.into(), message.into())
    }

    fn new(severity: Severity, path: Path, message: String) -> Self {
        Self {
            severity,
            path,
            line: None,
            message,
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the line, counted from 1.
    #[must_use]
    pub fn at(mut self, line: impl Into<Option<usize>>) -> Self {
        self.line = line.into();
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// For a terminal, without the last line's end:
    /// `error: tollgate.toml:12: providers.openai.dialect: ...`, and the hint
    /// on a second line.
    pub fn render(&self, file: &str) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{severity}: {}", printable(file));
        if let Some(line) = self.line {
            text.push_str(&format!(":{line}"));
        }
        text.push_str(": ");
        if !self.path.0.is_empty() {
            text.push_str(&format!("{}: ", self.path));
        }
        text.push_str(&printable(&self.message));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n  hint: {}", printable(hint)));
        }
        text
    }
}

/// `text` with everything escaped that could move a terminal's cursor or
/// reorder its line.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled_as_in_toml() {
        assert_eq!(Path::root().to_string(), "");
        assert_eq!(
            Path::from(["server", "threads"]).to_string(),
            "server.threads"
        );
        let target = Path::from(["models", "gpt-4.1", "targets"]).then(0);
        assert_eq!(target.to_string(), "models.\"gpt-4.1\".targets[0]");
        assert_eq!(
            Path::from(["listen"]).then(1).then("tls").to_string(),
            "listen[1].tls"
        );
        assert_eq!(Path::from(["keys", "0"]).to_string(), "keys.0");
        assert_eq!(
            Path::from(["keys", "a\"\u{1b}[2J"]).to_string(),
            "keys.\"a\\\"\\u{1b}[2J\""
        );
        assert_eq!(
            Path::from(["providers", "1", "models", "1"]).to_string(),
            "providers.1.models[1]"
        );
        assert_eq!(Path::from([""]).to_string(), "\"\"");
    }

    #[test]
    fn renders_what_is_known() {
        let cases = [
            (Diagnostic::error(Path::root(), "no"), "error: f: no"),
            (Diagnostic::error(["a"], "no").at(7), "error: f:7: a: no"),
            (
                Diagnostic::warning(["a"], "no").hint("yes"),
                "warning: f: a: no\n  hint: yes",
            ),
            (
                Diagnostic::error(["a"], "x\n\u{202e}y"),
                "error: f: a: x\\n\\u{202e}y",
            ),
        ];
        for (diagnostic, expected) in cases {
            assert_eq!(diagnostic.render("f"), expected);
        }
    }
}
