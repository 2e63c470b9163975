//! Why a body was refused, in words that can be shown to whoever sent it.

use std::fmt;

/// What was wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ScanErrorKind {
    /// The text is JSON of another kind, or not JSON at all.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// The text starts with a byte order mark.
    #[error("byte order mark before the JSON text")]
    ByteOrderMark,
    /// The text is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// The text ends too early.
    #[error("unexpected end of the JSON text")]
    UnexpectedEnd,
    /// Something else stands where a value must.
    #[error("expected a value")]
    ExpectedValue,
    /// Something else stands where a member's name must.
    #[error("expected a name in double quotes")]
    ExpectedName,
    /// No colon after a name.
    #[error("expected a colon after the name")]
    ExpectedColon,
    /// Neither a comma nor a closing bracket after a value.
    #[error("expected a comma or the closing bracket")]
    ExpectedComma,
    /// A comma before a closing bracket.
    #[error("trailing comma")]
    TrailingComma,
    /// Something follows the object.
    #[error("unexpected data after the JSON object")]
    TrailingData,
    /// A raw byte below 0x20 in a string.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// A backslash followed by something that is no escape.
    #[error("invalid escape in a string")]
    BadEscape,
    /// Half of a UTF-16 surrogate pair.
    #[error("lone surrogate escape in a string")]
    LoneSurrogate,
    /// Not a number as RFC 8259 writes them.
    #[error("invalid number")]
    BadNumber,
    /// A number with more characters than allowed.
    #[error("number with too many digits")]
    NumberTooLong,
    /// A number that `f64` cannot hold.
    #[error("number out of range")]
    NumberOutOfRange,
    /// More brackets open at the same time than allowed.
    #[error("nested too deeply")]
    TooDeep,
    /// More names than allowed.
    #[error("too many names in objects")]
    TooManyNames,
    /// A name longer than allowed.
    #[error("name too long")]
    NameTooLong,
    /// A name that contains U+0000.
    #[error("NUL in a name")]
    NulInName,
    /// Two members of one object have the same name.
    #[error("duplicate name")]
    DuplicateName,
    /// A name equals a known one but for case.
    #[error("name differs from a known one only in case")]
    NameCase,
}

/// A refused body: what, where, and in which field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ScanError {
    /// What was wrong.
    pub kind: ScanErrorKind,
    /// The byte at which it was found, from 0.
    pub offset: usize,
    /// The field being read, such as `messages[3].role`, if any. Its parts are names from the
    /// body only if short and printable ASCII; others are shown as `*`.
    pub path: Option<String>,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)?;
        match &self.path {
            Some(path) => write!(f, " (in {path})"),
            None => Ok(()),
        }
    }
}
