//! One strict pass over a JSON body, and edits that leave every other byte alone.
//!
//! [`scan()`] validates the whole text and reports where the members of the top-level object
//! are. It builds no tree and copies nothing: a [`Document`] holds positions in the caller's
//! bytes. It is stricter than RFC 8259 where readers are known to differ, because the bytes
//! that were read here are read again by a provider, and both must see the same thing:
//! duplicate names (compared after unescaping) are refused at every level, names that differ
//! from a known one only in case are refused where names have a meaning, and so are lone
//! surrogates, numbers beyond `f64`, byte order marks and anything after the object.
//!
//! [`splice()`] replaces spans without copying the rest of the body.
//!
//! [`lenient`] and [`mended`] are for what providers send, which is read whatever is broken in
//! its texts.
//!
//! It does not judge types or values: whether `model` is a string is for the caller, who sees
//! its [`Kind`].

mod error;
mod mend;
mod number;
mod scan;
mod splice;
mod text;

pub use error::{ScanError, ScanErrorKind};
pub use mend::{lenient, mended};
pub use scan::scan;
pub use splice::{Edit, SpliceError, Spliced, append_members, splice, write_string};
pub use text::unescaped;

use std::borrow::Cow;

/// A half-open range of byte positions in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The range `start..end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Bytes covered.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether nothing is covered.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The covered bytes; empty if the span does not lie within `body`.
    pub fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start..self.end).unwrap_or_default()
    }
}

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// `-1.5e3`
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

impl Kind {
    /// The kind with its article, for messages: `an object`, `a string`.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::True | Self::False => "a boolean",
            Self::Null => "null",
        }
    }
}

/// One member of the top-level object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name as written, without its quotes.
    pub name: Span,
    /// Whether the name contains a backslash.
    pub name_escaped: bool,
    /// The value as written, with its quotes if it is a string.
    pub value: Span,
    /// What the value is.
    pub kind: Kind,
    /// Whether the value is a string that contains a backslash.
    pub value_escaped: bool,
    /// Number of elements if the value is an array, otherwise 0.
    pub elements: usize,
}

impl Member {
    /// Whether the name, unescaped, is `name`.
    pub fn is_named(&self, body: &[u8], name: &str) -> bool {
        text::same(self.name.of(body), self.name_escaped, name.as_bytes())
    }

    /// The unescaped text if the value is a string; borrowed unless it contains escapes.
    pub fn string<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        if self.kind != Kind::String {
            return None;
        }
        let inner = Span::new(
            self.value.start.checked_add(1)?,
            self.value.end.checked_sub(1)?,
        );
        text::unescape_str(body.get(inner.start..inner.end)?, self.value_escaped)
    }

    /// The value if it is an integer written without sign, fraction or exponent, within `u64`.
    pub fn u64(&self, body: &[u8]) -> Option<u64> {
        self.number(body)?.parse().ok()
    }

    /// The value if it is a number, rounded to the nearest `f64`.
    pub fn f64(&self, body: &[u8]) -> Option<f64> {
        self.number(body)?.parse().ok()
    }

    /// The value if it is `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        match self.kind {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    fn number<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        if self.kind != Kind::Number {
            return None;
        }
        std::str::from_utf8(self.value.of(body)).ok()
    }
}

/// Bounds on what a body may make the scanner do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open objects and arrays at the same time; the top-level object is 1.
    pub depth: usize,
    /// Names in all objects together.
    pub names: usize,
    /// Bytes of one name as written.
    pub name_bytes: usize,
    /// Bytes of one number as written.
    pub number_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            // A conversation of an agent has about ten names a turn; the scan's
            // time and memory stay linear in them.
            names: 100_000,
            name_bytes: 1024,
            number_bytes: 400,
        }
    }
}

/// The names that mean something to the caller, all ASCII.
///
/// A name that equals one of them after case folding but is not identical to it is refused:
/// some readers match names without regard to case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Names in the top-level object; the most frequent first.
    pub top: &'a [&'a str],
    /// Names in the objects directly inside a top-level array, by the array's own name.
    pub nested: &'a [(&'a str, &'a [&'a str])],
}

/// Where the members of a scanned body are.
///
/// Holds no bytes: pass the same body that was scanned to whatever asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    members: Vec<Member>,
    open: usize,
    depth: usize,
}

impl Document {
    /// The top-level members in the order written.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The top-level member whose unescaped name is `name`.
    pub fn member(&self, body: &[u8], name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.is_named(body, name))
    }

    /// The greatest number of objects and arrays open at the same time.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Where another member can be inserted: after the last one, or inside empty braces.
    fn end_of_members(&self) -> usize {
        match self.members.last() {
            Some(last) => last.value.end,
            None => self.open + 1,
        }
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
