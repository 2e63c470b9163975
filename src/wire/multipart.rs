//! Where the parts of a `multipart/form-data` body are (RFC 7578, RFC 2046 section 5.1).
//!
//! [`boundary`] reads the content type, [`parts`] lists the parts in order with the span of
//! each content. Nothing is copied but names. To replace a field, splice its span with
//! [`crate::wire::json::splice`].
//!
//! The body is forwarded as it came, so whatever two readers could take apart differently is
//! refused: anything before the first delimiter or after the last, delimiters after a bare CR
//! or LF or followed by other text, folded or repeated headers, escapes in field names,
//! transfer encodings. Two parts may have the same name: forms allow it, and the caller knows
//! which fields must be unique.

use super::json::Span;

/// Parts accepted in a body.
pub const MOST_PARTS: usize = 128;

/// Bytes accepted in the headers of one part.
pub const LONGEST_HEAD: usize = 8 * 1024;

/// What may surround parameters and header values.
const BLANKS: [char; 2] = [' ', '\t'];

/// The longest boundary that RFC 2046 allows.
const LONGEST_BOUNDARY: usize = 70;

/// Why a form was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormErrorKind {
    /// The content type is another or has no usable boundary.
    #[error("content type is not multipart/form-data with a valid boundary")]
    ContentType,
    /// The body does not begin with the boundary.
    #[error("the body must begin with the boundary")]
    Start,
    /// No final boundary.
    #[error("the final boundary is missing")]
    Unterminated,
    /// A boundary that is not a whole line, or whose line does not begin after CR LF.
    #[error("malformed boundary line")]
    Delimiter,
    /// Something follows the final boundary.
    #[error("unexpected data after the final boundary")]
    TrailingData,
    /// More parts than allowed.
    #[error("more than {MOST_PARTS} parts")]
    TooManyParts,
    /// More headers in a part than allowed.
    #[error("more than {LONGEST_HEAD} bytes of headers in a part")]
    HeadTooLong,
    /// A header that is malformed, repeated or not supported.
    #[error("malformed or unsupported header in a part")]
    Header,
    /// A part without a name, or with one that could be read in several ways.
    #[error("missing or malformed Content-Disposition in a part")]
    Disposition,
}

/// A refused form: what, and where in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct FormError {
    /// What was wrong.
    pub kind: FormErrorKind,
    /// The byte of the body at which it was found, from 0.
    pub offset: usize,
}

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// Whether it has a file name: a file, not a value.
    pub is_file: bool,
    /// The content, without the line ends around it.
    pub content: Span,
}

/// The boundary that a `Content-Type` value names.
///
/// # Errors
/// If the type is not `multipart/form-data`, or if it has not exactly one boundary of 1 to 70
/// of the characters that RFC 2046 allows.
pub fn boundary(content_type: &str) -> Result<String, FormError> {
    let invalid = FormError {
        kind: FormErrorKind::ContentType,
        offset: 0,
    };
    let (essence, parameters) = content_type.split_once(';').ok_or(invalid)?;
    if !essence
        .trim_matches(BLANKS)
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return Err(invalid);
    }
    let parameters = Parameters(parameters)
        .collect::<Option<Vec<_>>>()
        .ok_or(invalid)?;
    let mut found = parameters
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    match (found.next(), found.next()) {
        (Some((_, boundary)), None) if is_boundary(boundary) => Ok((*boundary).to_owned()),
        _ => Err(invalid),
    }
}

fn is_boundary(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    (1..=LONGEST_BOUNDARY).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.ends_with(' ')
}

/// Lists the parts of `body`.
///
/// # Errors
/// The first fault found, with its position.
pub fn parts(body: &[u8], boundary: &str) -> Result<Vec<Part>, FormError> {
    let dashes = format!("--{boundary}");
    let form = Form {
        body,
        dashes: dashes.as_bytes(),
    };
    if !body.starts_with(form.dashes) {
        return Err(fault(FormErrorKind::Start, 0));
    }
    let mut parts = Vec::new();
    let mut at = form.dashes.len();
    loop {
        let after = body.get(at..).unwrap_or_default();
        if after.starts_with(b"--") {
            return match after.get(2..) {
                Some(b"" | b"\r\n") => Ok(parts),
                _ => Err(fault(FormErrorKind::TrailingData, at + 2)),
            };
        }
        if !after.starts_with(b"\r\n") {
            return Err(fault(FormErrorKind::Delimiter, at));
        }
        if parts.len() == MOST_PARTS {
            return Err(fault(FormErrorKind::TooManyParts, at));
        }
        let (part, end) = form.part(at + 2)?;
        parts.push(part);
        at = end;
    }
}

const fn fault(kind: FormErrorKind, offset: usize) -> FormError {
    FormError { kind, offset }
}

struct Form<'a> {
    body: &'a [u8],
    /// Two dashes and the boundary.
    dashes: &'a [u8],
}

impl Form<'_> {
    /// Reads the part that begins at `start` and returns the position after the delimiter that
    /// ends it.
    fn part(&self, start: usize) -> Result<(Part, usize), FormError> {
        let mut head = Head::default();
        let mut at = start;
        loop {
            let line = self.header_line(start, at)?;
            head.read(line).map_err(|kind| fault(kind, at))?;
            at += line.len() + 2;
            if line.is_empty() {
                break;
            }
        }
        let (name, is_file) = head
            .disposition
            .ok_or(fault(FormErrorKind::Disposition, start))?;
        let delimiter = self.delimiter(at)?;
        let part = Part {
            name,
            is_file,
            content: Span::new(at, delimiter - 2),
        };
        Ok((part, delimiter + self.dashes.len()))
    }

    /// The header line at `at`, without its CR LF, of a part that begins at `start`.
    fn header_line(&self, start: usize, at: usize) -> Result<&[u8], FormError> {
        let longest = start + LONGEST_HEAD;
        let rest = self.body.get(at..longest.min(self.body.len()));
        let rest = rest.unwrap_or_default();
        let Some(len) = rest.iter().position(|&b| matches!(b, b'\r' | b'\n')) else {
            return Err(if longest < self.body.len() {
                fault(FormErrorKind::HeadTooLong, start)
            } else {
                fault(FormErrorKind::Unterminated, self.body.len())
            });
        };
        match self.body.get(at + len..at + len + 2) {
            Some(b"\r\n") => Ok(rest.get(..len).unwrap_or_default()),
            _ => Err(fault(FormErrorKind::Header, at + len)),
        }
    }

    /// The position of the dashes that end the content which begins at `content`.
    fn delimiter(&self, content: usize) -> Result<usize, FormError> {
        let mut from = content;
        loop {
            let at = find(self.body, from, self.dashes)
                .ok_or(fault(FormErrorKind::Unterminated, self.body.len()))?;
            let before = self.body.get(content..at).unwrap_or_default();
            if before.ends_with(b"\r\n") {
                return Ok(at);
            }
            // Some readers take these for a line's end.
            if before.is_empty() || before.ends_with(b"\n") || before.ends_with(b"\r") {
                return Err(fault(FormErrorKind::Delimiter, at));
            }
            from = at + 1;
        }
    }
}

/// The first position at or after `from` where `dashes`, which begins with two dashes, occurs.
fn find(body: &[u8], from: usize, dashes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut at = from;
    loop {
        let rest = body.get(at..)?;
        let next = rest.get(1..)?;
        // Files are megabytes in which two dashes are rare: look for those, a block at a time.
        if let (Some(block), Some(next)) =
            (rest.first_chunk::<BLOCK>(), next.first_chunk::<BLOCK>())
        {
            let pairs = block.iter().zip(next);
            if !pairs.fold(false, |any, (&a, &b)| any | ((a == b'-') & (b == b'-'))) {
                at += BLOCK;
                continue;
            }
        }
        let here = |within: &usize| {
            rest.get(*within..)
                .is_some_and(|text| text.starts_with(dashes))
        };
        if let Some(within) = (0..BLOCK).find(here) {
            return Some(at + within);
        }
        at += BLOCK;
    }
}

/// What the headers of a part say.
#[derive(Default)]
struct Head {
    disposition: Option<(String, bool)>,
}

impl Head {
    fn read(&mut self, line: &[u8]) -> Result<(), FormErrorKind> {
        if line.is_empty() {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| FormErrorKind::Header)?;
        let (name, value) = line.split_once(':').ok_or(FormErrorKind::Header)?;
        if !is_token(name) || value.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return Err(FormErrorKind::Header);
        }
        let value = value.trim_matches(BLANKS);
        if name.eq_ignore_ascii_case("content-disposition") {
            let read = disposition(value).ok_or(FormErrorKind::Disposition)?;
            return match self.disposition.replace(read) {
                None => Ok(()),
                Some(_) => Err(FormErrorKind::Disposition),
            };
        }
        // An encoding would make the field's value another text than its bytes.
        let plain = ["binary", "8bit", "7bit"];
        let encodes = name.eq_ignore_ascii_case("content-transfer-encoding")
            && !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain));
        if encodes {
            Err(FormErrorKind::Header)
        } else {
            Ok(())
        }
    }
}

/// The field's name and whether there is a file name.
fn disposition(value: &str) -> Option<(String, bool)> {
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim_matches(BLANKS).eq_ignore_ascii_case("form-data") {
        return None;
    }
    let parameters = Parameters(parameters).collect::<Option<Vec<_>>>()?;
    let mut seen: Vec<String> = Vec::new();
    let mut field = None;
    for (name, value) in parameters {
        let name = name.to_ascii_lowercase();
        if seen.contains(&name) || name == "name*" {
            return None;
        }
        if name == "name" {
            field = Some(value);
        }
        seen.push(name);
    }
    let field = field.filter(|field| !field.contains('\\'))?;
    let is_file = seen
        .iter()
        .any(|name| matches!(name.as_str(), "filename" | "filename*"));
    Some((field.to_owned(), is_file))
}

/// The parameters in what follows the first semicolon: names and values, the latter without
/// quotes but with their backslashes. Yields `None` and ends at the first malformed one.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_start_matches(BLANKS);
        if self.0.is_empty() {
            return None;
        }
        let parameter = self.parameter();
        if parameter.is_none() {
            self.0 = "";
        }
        Some(parameter)
    }
}

impl<'a> Parameters<'a> {
    fn parameter(&mut self) -> Option<(&'a str, &'a str)> {
        let (name, rest) = self.0.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                // Readers differ on whether a backslash quotes a quote.
                quoted
                    .split_once('"')
                    .filter(|(value, _)| !value.ends_with('\\'))?
            }
            None => rest.split_at(rest.find([';', ' ', '\t', '"']).unwrap_or(rest.len())),
        };
        let rest = rest.trim_start_matches(BLANKS);
        self.0 = match rest.strip_prefix(';') {
            Some(next) => next,
            None if rest.is_empty() => "",
            None => return None,
        };
        is_token(name).then_some((name, value))
    }
}

/// Whether `text` is a token as RFC 9110 section 5.6.2 has it.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
