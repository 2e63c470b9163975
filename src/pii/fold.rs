//! Ways round a scanner of ASCII, taken back.
//!
//! Covered: full-width letters, digits and signs (U+FF01 to U+FF5E); the digits of Arabic, Persian
//! and Devanagari; invisible characters (soft hyphen, zero-width space, joiners, marks of
//! direction, word joiner, byte order mark), which are left out; no-break and thin spaces; hyphens
//! and dashes of Unicode. Not covered: letters that only look like others (Cyrillic `а`), `at`
//! and `dot` in words, numbers in words.
//!
//! A text is copied only when such a character stands where it may hide something. Few texts have
//! one, and those that have pay one copy.

use super::text::is_word;

/// The copy, and where its bytes stood.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) bytes: Vec<u8>,
    /// Where the distance between copy and text changes: place in the copy, place in the text.
    moved: Vec<(usize, usize)>,
}

/// What a character becomes.
enum Fold {
    /// It stays, and the one after it is looked at next.
    Keep,
    /// Another byte stands for it, and it has that length.
    To(u8, usize),
    /// It is left out, and has that length.
    Drop(usize),
}

/// Full-width forms, of which the last two bytes are given.
fn full_width(second: u8, third: u8) -> Option<u8> {
    match (second, third) {
        (0xbc, 0x81..=0xbf) => Some(third - 0x60),
        (0xbd, 0x80..=0x9e) => Some(third - 0x20),
        _ => None,
    }
}

fn fold(rest: &[u8]) -> Fold {
    match *rest {
        [0xc2, 0xa0, ..] => Fold::To(b' ', 2),
        [0xc2, 0xad, ..] => Fold::Drop(2),
        [0xd9, digit @ 0xa0..=0xa9, ..] => Fold::To(digit - 0xa0 + b'0', 2),
        [0xdb, digit @ 0xb0..=0xb9, ..] => Fold::To(digit - 0xb0 + b'0', 2),
        [0xe0, 0xa5, digit @ 0xa6..=0xaf, ..] => Fold::To(digit - 0xa6 + b'0', 3),
        [0xe2, 0x80, 0x80..=0x8a | 0xaf, ..] | [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => {
            Fold::To(b' ', 3)
        }
        [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae, ..]
        | [0xe2, 0x81, 0xa0..=0xa4 | 0xa6..=0xa9, ..]
        | [0xef, 0xbb, 0xbf, ..] => Fold::Drop(3),
        [0xe2, 0x80, 0x90..=0x95, ..] | [0xe2, 0x88, 0x92, ..] => Fold::To(b'-', 3),
        [0xef, second, third, ..] => {
            full_width(second, third).map_or(Fold::Keep, |byte| Fold::To(byte, 3))
        }
        _ => Fold::Keep,
    }
}

/// Whether the character there may hide something, so that the text must be folded. Spaces, dashes
/// and what is invisible do so only beside a letter or digit of ASCII; signs of full width, which
/// every Chinese text has, only with others.
fn hides(text: &[u8], place: usize) -> bool {
    let rest = text.get(place..).unwrap_or_default();
    let beside = |place: usize| text.get(place).is_some_and(|byte| is_word(*byte));
    match fold(rest) {
        Fold::Keep => false,
        Fold::To(byte, _) if is_word(byte) || byte == b'@' => true,
        Fold::To(b' ', length) => beside(place.wrapping_sub(1)) || beside(place + length),
        Fold::To(b'-', length) => {
            let digit = |place: usize| text.get(place).is_some_and(u8::is_ascii_digit);
            digit(place.wrapping_sub(1)) || digit(place + length)
        }
        Fold::To(..) => false,
        Fold::Drop(length) => beside(place.wrapping_sub(1)) || beside(place + length),
    }
}

/// Whether any character of the text may hide something.
pub(super) fn is_needed(text: &[u8]) -> bool {
    if text.is_ascii() {
        return false;
    }
    let leads = |byte: &u8| matches!(byte, 0xc2 | 0xd9 | 0xdb | 0xe0 | 0xe2 | 0xef);
    let mut places = text.iter().enumerate().filter(|(_, byte)| leads(byte));
    places.any(|(place, _)| hides(text, place))
}

/// The text with every such character taken back.
pub(super) fn folded(text: &[u8]) -> Folded {
    let mut folded = Folded {
        bytes: Vec::with_capacity(text.len()),
        moved: Vec::new(),
    };
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        let rest = text.get(place..).unwrap_or_default();
        let change = match byte.is_ascii() {
            true => Fold::Keep,
            false => fold(rest),
        };
        let length = match change {
            Fold::Keep => {
                folded.bytes.push(*byte);
                place += 1;
                continue;
            }
            Fold::To(other, length) => {
                // The byte that stands for it has a place of its own, so that a span can end before it.
                folded.moved.push((folded.bytes.len(), place));
                folded.bytes.push(other);
                length
            }
            Fold::Drop(length) => length,
        };
        place += length;
        folded.moved.push((folded.bytes.len(), place));
    }
    folded
}

impl Folded {
    /// Where in the text a span of the copy starts.
    pub(super) fn start(&self, place: usize) -> usize {
        let after = self.moved.partition_point(|(copy, _)| *copy <= place);
        match self.moved.get(after.wrapping_sub(1)) {
            Some((copy, text)) => text + (place - copy),
            None => place,
        }
    }

    /// Where in the text, which is given, a span of the copy ends: behind its last character, and
    /// before what is invisible after it.
    pub(super) fn end(&self, place: usize, text: &[u8]) -> usize {
        let last = self.start(place.saturating_sub(1));
        match fold(text.get(last..).unwrap_or_default()) {
            Fold::To(_, length) => last + length,
            Fold::Keep | Fold::Drop(_) => last + 1,
        }
    }
}
