//! Strings: finding their end, checking and undoing their escapes.

use std::borrow::Cow;

use super::ScanErrorKind;

/// A string that was found to be well formed.
pub(super) struct Scanned {
    /// Position of the closing quote.
    pub close: usize,
    pub escaped: bool,
}

/// A fault and where it is.
pub(super) type Fault = (ScanErrorKind, usize);

const BLOCK: usize = 64;

/// Finds the bytes that end a run of plain text in a string: quotes, backslashes, control
/// characters.
///
/// The last block looked at is kept as a bit mask, so that short strings, of which JSON is
/// full, are found without reading their bytes one by one.
pub(super) struct Stops<'a> {
    body: &'a [u8],
    /// Position of the first byte that `mask` describes.
    block: usize,
    mask: u64,
}

impl<'a> Stops<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            block: 0,
            mask: stop_mask(body),
        }
    }

    /// Reads a string whose first byte after the opening quote is at `start`.
    ///
    /// The body must be valid UTF-8 as a whole: only ASCII bytes are looked at here.
    pub(super) fn string(&mut self, start: usize) -> Result<Scanned, Fault> {
        let mut at = start;
        let mut escaped = false;
        loop {
            at = self.next(at);
            match self.body.get(at) {
                Some(b'"') => return Ok(Scanned { close: at, escaped }),
                Some(b'\\') => {
                    escaped = true;
                    at = skip_escape(self.body, at)?;
                }
                Some(_) => return Err((ScanErrorKind::ControlCharacter, at)),
                None => return Err((ScanErrorKind::UnexpectedEnd, self.body.len())),
            }
        }
    }

    /// The position of the first stop at or after `at`, or the body's length or more.
    fn next(&mut self, at: usize) -> usize {
        let within = at.wrapping_sub(self.block);
        if within < BLOCK {
            let ahead = self.mask >> within;
            if ahead != 0 {
                return at + ahead.trailing_zeros() as usize;
            }
            self.advance(self.block + BLOCK)
        } else {
            self.advance(at)
        }
    }

    /// Looks at blocks from `at` on until one has a stop, and returns the position of that.
    fn advance(&mut self, at: usize) -> usize {
        let rest = self.body.get(at..).unwrap_or_default();
        self.block = at;
        self.mask = stop_mask(rest);
        if self.mask == 0 {
            let stopped = skip_blocks(rest);
            self.block = at + (rest.len() - stopped.len());
            self.mask = stop_mask(stopped);
        }
        self.block + self.mask.trailing_zeros() as usize
    }
}

/// Skips blocks without a stop: images in base64 are megabytes of them.
fn skip_blocks(mut rest: &[u8]) -> &[u8] {
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        if block.iter().fold(false, |found, &b| found | is_stop(b)) {
            break;
        }
        rest = tail;
    }
    rest
}

const fn is_stop(byte: u8) -> bool {
    // `|`, not `||`: without branches the loops here become vector code.
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// One bit for each byte of the first block of `text`, the first byte's lowest: whether it is a
/// stop. Bytes past the end count as stops.
fn stop_mask(text: &[u8]) -> u64 {
    if let Some(block) = text.first_chunk() {
        return block_mask(block);
    }
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(text) {
        *to = *from;
    }
    block_mask(&block)
}

fn block_mask(block: &[u8; BLOCK]) -> u64 {
    /// Moves the lowest bit of each byte into the highest byte of the product.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let flags = block.map(|byte| u8::from(is_stop(byte)));
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().zip(0..).fold(0, |mask, (eight, nth)| {
        let bits = u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56;
        mask | bits << (8 * nth)
    })
}

/// Checks the escape whose backslash is at `at` and returns the position after it.
fn skip_escape(body: &[u8], at: usize) -> Result<usize, Fault> {
    match body.get(at + 1) {
        Some(&kind) if is_short_escape(kind) => Ok(at + 2),
        Some(b'u') => skip_unicode_escape(body, at),
        Some(_) => Err((ScanErrorKind::BadEscape, at)),
        None => Err((ScanErrorKind::UnexpectedEnd, body.len())),
    }
}

/// On its own, so that it becomes one table lookup and not a jump for each letter.
const fn is_short_escape(kind: u8) -> bool {
    matches!(kind, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')
}

fn skip_unicode_escape(body: &[u8], at: usize) -> Result<usize, Fault> {
    let unit = hex4(body, at + 2).ok_or((ScanErrorKind::BadEscape, at))?;
    match unit {
        0xd800..=0xdbff => {
            let low = match body.get(at + 6..at + 8) {
                Some(br"\u") => hex4(body, at + 8),
                _ => None,
            };
            match low {
                Some(0xdc00..=0xdfff) => Ok(at + 12),
                _ => Err((ScanErrorKind::LoneSurrogate, at)),
            }
        }
        0xdc00..=0xdfff => Err((ScanErrorKind::LoneSurrogate, at)),
        _ => Ok(at + 6),
    }
}

fn hex4(body: &[u8], at: usize) -> Option<u32> {
    let digits: &[u8; 4] = body.get(at..)?.first_chunk()?;
    digits.iter().try_fold(0, |unit, &digit| {
        char::from(digit)
            .to_digit(16)
            .map(|value| unit * 16 + value)
    })
}

/// Whether the text of a scanned string, unescaped, is `plain`.
pub(super) fn same(raw: &[u8], escaped: bool, plain: &[u8]) -> bool {
    if escaped {
        *unescape(raw, true) == *plain
    } else {
        raw == plain
    }
}

/// Any part of a document with its escapes resolved, whatever they stand in and
/// wherever it was cut. For counting, not for reading.
pub fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    unescape(raw, raw.contains(&b'\\'))
}

/// The text of a scanned string without its escapes.
pub(super) fn unescape(raw: &[u8], escaped: bool) -> Cow<'_, [u8]> {
    if !escaped {
        return Cow::Borrowed(raw);
    }
    let mut plain = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(backslash) = rest.iter().position(|&b| b == b'\\') {
        let (before, escape) = rest.split_at(backslash);
        plain.extend_from_slice(before);
        let (c, len) = decode_escape(escape);
        plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escape.get(len..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// As [`unescape`], as text. `None` only if `raw` was never scanned and is not UTF-8.
pub(super) fn unescape_str(raw: &[u8], escaped: bool) -> Option<Cow<'_, str>> {
    match unescape(raw, escaped) {
        Cow::Borrowed(plain) => std::str::from_utf8(plain).ok().map(Cow::Borrowed),
        Cow::Owned(plain) => String::from_utf8(plain).ok().map(Cow::Owned),
    }
}

/// The character that an escape stands for, and how many bytes the escape takes.
fn decode_escape(escape: &[u8]) -> (char, usize) {
    let c = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return decode_unicode_escape(escape),
        Some(&literal) => char::from(literal),
        None => char::REPLACEMENT_CHARACTER,
    };
    (c, 2)
}

fn decode_unicode_escape(escape: &[u8]) -> (char, usize) {
    let first = hex4(escape, 2).unwrap_or_default();
    match (first, hex4(escape, 8)) {
        (high @ 0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            let scalar = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (
                char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER),
                12,
            )
        }
        _ => (
            char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
            6,
        ),
    }
}

/// Whether `name` equals none of `known` but one of them after case folding.
pub(super) fn differs_in_case(name: &[u8], known: &[&str]) -> bool {
    let exact = known.iter().any(|known| known.as_bytes() == name);
    !exact && known.iter().any(|known| folds_to(name, known))
}

/// Whether two texts are equal under case folding, where `known` is ASCII.
///
/// Besides the ASCII letters, two others fold into ASCII: U+212A (Kelvin sign) to `k` and
/// U+017F (long s) to `s`.
fn folds_to(name: &[u8], known: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(known.as_bytes());
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let folded = name.chars().map(|c| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        _ => c.to_ascii_lowercase(),
    });
    folded.eq(known.chars().map(|c| c.to_ascii_lowercase()))
}
