//! International bank account numbers: ISO 13616, with the length of each country and MOD 97-10.

use super::kind::Kind;
use super::text::{Text, is_word};

/// SWIFT, IBAN Registry, release 99: country and length.
fn length(country: [u8; 2]) -> Option<usize> {
    Some(match &country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"FK" | b"FO" | b"GL" | b"NL" | b"SD" => 18,
        b"MK" | b"SI" => 19,
        b"AT" | b"BA" | b"EE" | b"KZ" | b"LT" | b"LU" | b"XK" | b"MN" => 20,
        b"CH" | b"HR" | b"LI" | b"LV" => 21,
        b"BG" | b"BH" | b"CR" | b"DE" | b"GB" | b"GE" | b"IE" | b"ME" | b"RS" | b"VA" => 22,
        b"AE" | b"GI" | b"IL" | b"IQ" | b"TL" | b"OM" | b"SO" => 23,
        b"AD" | b"CZ" | b"ES" | b"MD" | b"PK" | b"RO" | b"SA" | b"SE" | b"SK" | b"TN" | b"VG" => 24,
        b"LY" | b"PT" | b"ST" => 25,
        b"IS" | b"TR" => 26,
        b"BI" | b"DJ" | b"FR" | b"GR" | b"IT" | b"MC" | b"MR" | b"SM" => 27,
        b"AL" | b"AZ" | b"BY" | b"CY" | b"DO" | b"GT" | b"HU" | b"LB" | b"NI" | b"PL" | b"SV" => 28,
        b"BR" | b"EG" | b"PS" | b"QA" | b"UA" => 29,
        b"JO" | b"KW" | b"MU" | b"YE" => 30,
        b"MT" | b"SC" => 31,
        b"LC" => 32,
        b"RU" => 33,
        _ => return None,
    })
}

/// Whether what starts there may be one: two letters of a country and two check digits.
fn may_start(text: Text<'_>, start: usize) -> bool {
    text.at(start).is_ascii_alphabetic()
        && text.at(start + 1).is_ascii_alphabetic()
        && text.at(start + 2).is_ascii_digit()
        && text.at(start + 3).is_ascii_digit()
}

/// The account number that starts there.
pub(super) fn read(text: Text<'_>, start: usize) -> Option<(Kind, usize, usize)> {
    if !may_start(text, start) {
        return None;
    }
    let upper = |place| text.at(place).to_ascii_uppercase();
    let length = length([upper(start), upper(start + 1)])?;
    let mut symbols = [0_u8; 40];
    let mut count = 0;
    let mut place = start;
    while count < length {
        let byte = text.at(place);
        if is_word(byte) {
            *symbols.get_mut(count)? = byte.to_ascii_uppercase();
            count += 1;
        } else if !matches!(byte, b' ' | b'-' | b'.') || !is_word(text.at(place + 1)) {
            return None;
        }
        place += 1;
    }
    let ends = !is_word(text.at(place)) && text.at(place) != b'_';
    let symbols = symbols.get(..count)?;
    (ends && is_checked(symbols)).then_some((Kind::Iban, start, place))
}

/// The four first symbols go to the end, letters become two digits, and one is left of 97.
fn is_checked(symbols: &[u8]) -> bool {
    let (head, body) = symbols.split_at_checked(4).unwrap_or_default();
    let rest = body
        .iter()
        .chain(head)
        .fold(0_u32, |rest, symbol| match symbol {
            b'0'..=b'9' => (rest * 10 + u32::from(symbol - b'0')) % 97,
            _ => (rest * 100 + u32::from(symbol - b'A') + 10) % 97,
        });
    rest == 1
}
