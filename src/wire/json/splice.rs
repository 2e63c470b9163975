//! Edits of a body that share the untouched bytes with it.

use bytes::Bytes;

use super::{Document, Span};

/// Bodies up to this size are joined into one buffer: one copy of it costs less than sending
/// several pieces.
const JOIN_BELOW: usize = 32 * 1024;

/// One replacement: the bytes at `span` become `with`.
///
/// An empty span inserts, an empty `with` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Span,
    /// What it is replaced with.
    pub with: Bytes,
}

/// Edits that contradict each other or the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// Two edits share a byte.
    #[error("edits overlap at byte {0}")]
    Overlap(usize),
    /// An edit reaches past the end of the body, or ends before it starts.
    #[error("an edit at byte {0} does not lie within the body")]
    OutOfRange(usize),
}

/// An edited body, as the pieces that follow each other on the wire. None is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spliced {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Spliced {
    /// The pieces in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Total number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All bytes in one buffer; copies only if there is more than one piece.
    pub fn into_bytes(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.pieces) {
            Ok([only]) => only,
            Err(pieces) => pieces.concat().into(),
        }
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }
}

impl IntoIterator for Spliced {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

/// Applies `edits` to `body`. Their order does not matter, except that insertions at the same
/// place appear in the order given.
///
/// # Errors
/// If an edit lies outside the body or shares a byte with another.
pub fn splice(body: &Bytes, mut edits: Vec<Edit>) -> Result<Spliced, SpliceError> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut spliced = Spliced {
        pieces: Vec::with_capacity(edits.len() * 2 + 1),
        len: 0,
    };
    let mut done = 0;
    for Edit { span, with } in edits {
        if span.end < span.start || span.end > body.len() {
            return Err(SpliceError::OutOfRange(span.start));
        }
        if span.start < done {
            return Err(SpliceError::Overlap(span.start));
        }
        spliced.push(body.slice(done..span.start));
        spliced.push(with);
        done = span.end;
    }
    spliced.push(body.slice(done..));
    if spliced.len < JOIN_BELOW && spliced.pieces.len() > 1 {
        spliced.pieces = vec![spliced.pieces.concat().into()];
    }
    Ok(spliced)
}

/// The edit that adds members at the end of the top-level object.
///
/// `members` are unescaped names and JSON texts. The caller sees to it that neither name is
/// there already and that each value is valid JSON.
pub fn append_members(document: &Document, members: &[(&str, &[u8])]) -> Edit {
    let at = document.end_of_members();
    let mut with = Vec::new();
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 || !document.members().is_empty() {
            with.push(b',');
        }
        write_string(&mut with, name);
        with.push(b':');
        with.extend_from_slice(value);
    }
    Edit {
        span: Span::new(at, at),
        with: with.into(),
    }
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            0..0x20 => {
                let low = HEX.get(usize::from(byte & 0xf)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
