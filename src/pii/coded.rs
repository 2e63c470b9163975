//! Numbers of letters and digits: identity numbers with a check letter, passports and driving
//! licences by the words before them.

use super::cue::{self, Cues};
use super::kind::Kind;
use super::national::{resident_body, resident_check};
use super::text::{Text, is_word};

type Found = Option<(Kind, usize, usize)>;

/// What a token of letters and digits is, which stands free on the left.
pub(super) fn read(text: Text<'_>, start: usize, end: usize, floor: usize) -> Found {
    let token = text.part(start, end);
    let joined = text.at(end) == b'_' || (text.at(end) == b'-' && is_word(text.at(end + 1)));
    let hangs = matches!(text.before(start), b'-' | b'/' | b'.' | b'@' | b'$' | b'#')
        && is_word(text.before(start.wrapping_sub(1)));
    if !joined && !hangs {
        let upper = !token.iter().any(u8::is_ascii_lowercase);
        if let Some((kind, cues)) = by_form(token) {
            let said = || cue::before(text, start, floor);
            let sure = cues.is_empty()
                || said().before.any(cues)
                || (upper && is_rare(kind) && !said().last.any(Cues::OTHER));
            if sure {
                return Some((kind, start, end));
            }
        }
    }
    if hangs || text.at(end) == b'_' {
        return None;
    }
    by_words(text, start, end, floor, joined)
}

/// Kinds whose form few other things have.
const fn is_rare(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UkNino | Kind::EsDni | Kind::InPan | Kind::SgNric
    )
}

/// The kind by form and check, and the words that it needs unless it is of upper case and rare.
fn by_form(token: &[u8]) -> Option<(Kind, Cues)> {
    let mut upper = [0_u8; 18];
    let upper = upper.get_mut(..token.len())?;
    for (slot, byte) in upper.iter_mut().zip(token) {
        *slot = byte.to_ascii_uppercase();
    }
    match upper.len() {
        9 if is_nino(upper) => Some((Kind::UkNino, Cues::NINO.or(Cues::INSURANCE))),
        9 if is_dni(upper) => Some((Kind::EsDni, Cues::DNI)),
        9 if is_nric(upper) => Some((Kind::SgNric, Cues::IDENTITY)),
        10 if is_pan(upper) => Some((Kind::InPan, Cues::PAN.or(Cues::TAX))),
        15 if is_corsican(upper) => Some((Kind::FrNir, Cues::default())),
        16 if is_codice_fiscale(upper) => Some((Kind::ItCodiceFiscale, Cues::default())),
        18 if is_curp(upper) => Some((Kind::MxCurp, Cues::default())),
        18 if is_resident(upper) => Some((Kind::CnResidentId, Cues::default())),
        _ => None,
    }
}

/// Whether each byte is of the class of its place: `A` letter, `9` digit, `*` either.
fn shaped(token: &[u8], shape: &[u8]) -> bool {
    token.len() == shape.len()
        && token.iter().zip(shape).all(|(byte, class)| match class {
            b'A' => byte.is_ascii_uppercase(),
            b'9' => byte.is_ascii_digit(),
            _ => true,
        })
}

/// HMRC, NIM39110.
pub(super) fn is_nino(token: &[u8]) -> bool {
    let Some(&[first, second, .., last]) = token.first_chunk::<9>() else {
        return false;
    };
    let barred = |byte| matches!(byte, b'D' | b'F' | b'I' | b'Q' | b'U' | b'V');
    shaped(token, b"AA999999A")
        && !barred(first)
        && !barred(second)
        && second != b'O'
        && matches!(last, b'A'..=b'D')
        && !matches!(
            &[first, second],
            b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ"
        )
}

/// Real Decreto 1553/2005: the remainder of 23 picks the letter; X, Y, Z stand for 0, 1, 2.
fn is_dni(token: &[u8]) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    if !shaped(token, b"*9999999A") {
        return false;
    }
    let digits = token.iter().take(8).map(|byte| match byte {
        b'X'..=b'Z' => Some(byte - b'X'),
        b'0'..=b'9' => Some(byte - b'0'),
        _ => None,
    });
    let number = digits
        .into_iter()
        .try_fold(0_usize, |sum, digit| Some(sum * 10 + usize::from(digit?)));
    number.is_some_and(|number| LETTERS.get(number % 23) == token.last())
}

fn is_nric(token: &[u8]) -> bool {
    if !shaped(token, b"A9999999A") {
        return false;
    }
    let digits = token.get(1..8).unwrap_or_default().iter();
    let sum: usize = digits
        .zip([2, 7, 6, 5, 4, 3, 2])
        .map(|(byte, weight)| usize::from(byte - b'0') * weight)
        .sum();
    let (more, letters): (usize, &[u8; 11]) = match token.first() {
        Some(b'S') => (0, b"JZIHGFEDCBA"),
        Some(b'T') => (4, b"JZIHGFEDCBA"),
        Some(b'F') => (0, b"XWUTRQPNMLK"),
        Some(b'G') => (4, b"XWUTRQPNMLK"),
        Some(b'M') => (3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    letters.get((sum + more) % 11) == token.last()
}

/// Income Tax Department: the fourth letter is the kind of holder, of which only persons count.
fn is_pan(token: &[u8]) -> bool {
    shaped(token, b"AAAAA9999A") && token.get(3) == Some(&b'P')
}

/// An NIR of somebody born in Corsica: 2A and 2B count as 19 and 18.
fn is_corsican(token: &[u8]) -> bool {
    if !shaped(token, b"999999A99999999") || token.get(5) != Some(&b'2') {
        return false;
    }
    let letter = token.get(6).copied();
    let department = match letter {
        Some(b'A') => b"19",
        Some(b'B') => b"18",
        _ => return false,
    };
    let mut digits = token.iter().enumerate().map(|(place, byte)| match place {
        5 => department[0] - b'0',
        6 => department[1] - b'0',
        _ => byte - b'0',
    });
    let body = digits
        .by_ref()
        .take(13)
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit));
    let key = digits.fold(0_u64, |sum, digit| sum * 10 + u64::from(digit));
    97 - body % 97 == key
}

/// Decreto 23 dicembre 1976; digits may be letters where two persons would share one (omocodia).
fn is_codice_fiscale(token: &[u8]) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let digit = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'L'..=b'N' | b'P'..=b'V');
    let month = |byte: &u8| matches!(byte, b'A'..=b'E' | b'H' | b'L' | b'M' | b'P' | b'R'..=b'T');
    let fits = token.iter().enumerate().all(|(place, byte)| match place {
        6 | 7 | 9 | 10 | 12..=14 => digit(byte),
        8 => month(byte),
        _ => byte.is_ascii_uppercase(),
    });
    let value = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte.wrapping_sub(b'A'),
    };
    let sum: u32 = token
        .iter()
        .take(15)
        .enumerate()
        .map(|(place, byte)| match place % 2 {
            0 => ODD.get(usize::from(value(*byte))).copied().unwrap_or(0),
            _ => u32::from(value(*byte)),
        })
        .sum();
    fits && token
        .get(15)
        .is_some_and(|byte| u32::from(value(*byte)) == sum % 26)
}

/// RENAPO: the check digit is left to itself, for its alphabet has a letter beyond ASCII.
fn is_curp(token: &[u8]) -> bool {
    shaped(token, b"AAAA999999AAAAAA*9")
        && matches!(token.get(10), Some(b'H' | b'M' | b'X'))
        && token
            .get(6..8)
            .is_some_and(|month| (&b"01"[..]..=&b"12"[..]).contains(&month))
}

/// A Chinese identity number whose check is X.
fn is_resident(token: &[u8]) -> bool {
    if !shaped(token, b"99999999999999999A") || token.last() != Some(&b'X') {
        return false;
    }
    let mut digits = [0_u8; 17];
    for (slot, byte) in digits.iter_mut().zip(token) {
        *slot = byte - b'0';
    }
    resident_body(&digits) && resident_check(&digits) == 10
}

/// A passport or a driving licence, by the words before it.
fn by_words(text: Text<'_>, start: usize, end: usize, floor: usize, joined: bool) -> Found {
    let token = text.part(start, end);
    let digits = token.iter().filter(|byte| byte.is_ascii_digit()).count();
    let shortest = if joined { 4 } else { 6 };
    if !(shortest..=18).contains(&token.len()) || digits == 0 {
        return None;
    }
    let hex = token.iter().all(u8::is_ascii_hexdigit) && token.len() > 10;
    let has = |of: fn(&u8) -> bool| token.iter().any(of);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    // Literals of programs: "0x8803", "1792u32".
    let literal = token.starts_with(b"0x")
        || [&b"u32"[..], b"i32", b"u64", b"i64", b"UL", b"u16"]
            .iter()
            .any(|end| token.ends_with(end));
    // German ones have few digits, and letters that spell no word.
    let vowel = |byte: &u8| matches!(byte, b'A' | b'E' | b'I' | b'O' | b'U' | b'a'..=b'z');
    let few = token.len() == 9 && (digits >= 2 || !token.iter().any(vowel));
    let letters = token.len() - digits;
    let size = letters == 1 && matches!(token.get(token.len() / 2), Some(b'x' | b'X'));
    if hex
        || mixed
        || literal
        || size
        || (digits < 4 && !joined && (!few || has(u8::is_ascii_lowercase)))
    {
        return None;
    }
    let said = cue::before(text, start, floor);
    if said.last.any(Cues::OTHER.or(Cues::VERSION)) {
        return None;
    }
    let driving = said.before.any(Cues::DRIVE) && said.before.any(Cues::LICENCE);
    if joined && !driving {
        return None;
    }
    // "D123-4567-8901", of which only the first part is given.
    let end = match joined {
        true => text.run(end, 16, |byte| byte.is_ascii_digit() || byte == b'-'),
        false => end,
    };
    if is_word(text.at(end)) || text.before(end) == b'-' {
        return None;
    }
    if driving && !said.last.any(Cues::PASSPORT) {
        return Some((Kind::DrivingLicence, start, end));
    }
    (said.before.any(Cues::PASSPORT) && token.len() <= 10).then_some((Kind::Passport, start, end))
}

/// A national insurance number in pairs, "AB 12 34 56 C", of which the first digit is given.
pub(super) fn spaced_nino(text: Text<'_>, digit: usize, floor: usize) -> Found {
    let start = digit.checked_sub(3).filter(|start| *start >= floor)?;
    if text.before(digit) != b' ' || !text.at(start).is_ascii_uppercase() {
        return None;
    }
    let written = text.part(start, digit + 10);
    let spaces = |(place, byte): (usize, &u8)| (*byte == b' ') == matches!(place, 2 | 5 | 8 | 11);
    if written.len() != 13 || !written.iter().enumerate().all(spaces) {
        return None;
    }
    let mut compact = [0_u8; 9];
    let letters = written.iter().filter(|byte| **byte != b' ');
    for (slot, byte) in compact.iter_mut().zip(letters) {
        *slot = *byte;
    }
    let free = text.starts_word(start) && !is_word(text.at(digit + 10));
    (free && is_nino(&compact)).then_some((Kind::UkNino, start, digit + 10))
}

/// A Finnish identity code, "131052-308T", of which the first digit is given.
pub(super) fn hetu(text: Text<'_>, start: usize) -> Found {
    const LETTERS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let sign = text.at(start + 6);
    if !matches!(sign, b'-' | b'+' | b'A'..=b'F' | b'U'..=b'Y') || is_word(text.at(start + 11)) {
        return None;
    }
    let number = text
        .part(start, start + 6)
        .iter()
        .chain(text.part(start + 7, start + 10));
    let number = number.map(|byte| byte.is_ascii_digit().then(|| u32::from(byte - b'0')));
    let number = number
        .into_iter()
        .try_fold(0_u32, |sum, digit| Some(sum * 10 + digit?))?;
    let (day, month) = (number / 10_000_000, number / 100_000 % 100);
    let check = LETTERS.get(usize::try_from(number % 31).unwrap_or(0))?;
    (super::check::day_of_month(month, day)
        && text.at(start + 10) == *check
        && text.starts_word(start))
    .then_some((Kind::FiHetu, start, start + 11))
}

/// A Spanish number with a dash or a space before its letter, "12345678-Z", or after its first, "X-1234567-L".
pub(super) fn dashed_dni(text: Text<'_>, start: usize, floor: usize) -> Found {
    let end = text.run(start, 9, |byte| byte.is_ascii_digit());
    if !matches!(text.at(end), b'-' | b' ')
        || !text.at(end + 1).is_ascii_uppercase()
        || is_word(text.at(end + 2))
    {
        return None;
    }
    let first = match end - start {
        8 => start,
        7 if text.before(start) == b'-' && start >= floor + 2 => start - 2,
        _ => return None,
    };
    let mut token = [0_u8; 9];
    let letters = text
        .part(first, end + 2)
        .iter()
        .filter(|byte| is_word(**byte));
    for (slot, byte) in token.iter_mut().zip(letters) {
        *slot = *byte;
    }
    let sure = text.at(end) == b'-' || cue::before(text, first, floor).before.any(Cues::DNI);
    (text.starts_word(first) && is_dni(&token) && sure).then_some((Kind::EsDni, first, end + 2))
}
