//! Numbers: their grammar and their bounds.

use super::ScanErrorKind;
use super::text::Fault;

/// Integers with fewer digits are within the range of `f64`.
const SAFE_DIGITS: usize = 300;

/// Reads the number at `start`, which must be a digit or a minus sign, and returns the position
/// after it.
pub(super) fn end(body: &[u8], start: usize, longest: usize) -> Result<usize, Fault> {
    let integer = start + usize::from(body.get(start) == Some(&b'-'));
    let mut at = digits(body, integer)?;
    if body.get(integer) == Some(&b'0') && at > integer + 1 {
        return Err((ScanErrorKind::BadNumber, integer));
    }
    let mut is_safe = at - integer < SAFE_DIGITS;
    if body.get(at) == Some(&b'.') {
        at = digits(body, at + 1)?;
    }
    if let Some(b'e' | b'E') = body.get(at) {
        let sign = usize::from(matches!(body.get(at + 1), Some(b'+' | b'-')));
        at = digits(body, at + 1 + sign)?;
        is_safe = false;
    }
    if at - start > longest {
        return Err((ScanErrorKind::NumberTooLong, start));
    }
    if !is_safe && !is_finite(body.get(start..at).unwrap_or_default()) {
        return Err((ScanErrorKind::NumberOutOfRange, start));
    }
    Ok(at)
}

/// The position after the digits at `from`, of which there must be one.
fn digits(body: &[u8], from: usize) -> Result<usize, Fault> {
    let rest = body.get(from..).unwrap_or_default();
    match rest.iter().position(|byte| !byte.is_ascii_digit()) {
        Some(0) => Err((ScanErrorKind::BadNumber, from)),
        Some(count) => Ok(from + count),
        None if rest.is_empty() => Err((ScanErrorKind::UnexpectedEnd, body.len())),
        None => Ok(body.len()),
    }
}

fn is_finite(number: &[u8]) -> bool {
    let text = std::str::from_utf8(number).ok();
    let parsed = text.and_then(|text| text.parse::<f64>().ok());
    parsed.is_some_and(f64::is_finite)
}
