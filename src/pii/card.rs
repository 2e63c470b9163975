//! Payment cards: the length and first digits of a brand, and a Luhn check digit.
//!
//! Four groups of four are a card as they stand. Digits in one piece are one when there are 15 or
//! 16 of a large brand and no word calls them something else; all others (12 to 14 digits, 17 to 19,
//! smaller brands) need a word that speaks of cards or paying.

use super::check::{luhn, number};
use super::cue::Cues;
use super::kind::Kind;
use super::number::{Between, Window};
use super::text::is_word;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Brand {
    /// Found often, with few other numbers that look like it.
    Large,
    Small,
}

type Found = Option<(Kind, usize, usize)>;

/// ISO/IEC 7812 issuer ranges, as the schemes publish them.
fn brand(digits: &[u8]) -> Option<Brand> {
    let length = digits.len();
    let (two, three, four) = (
        number(digits, 0, 2),
        number(digits, 0, 3),
        number(digits, 0, 4),
    );
    let six = number(digits, 0, 6);
    let large = match length {
        16 => {
            two / 10 == 4
                || (51..=55).contains(&two)
                || (2221..=2720).contains(&four)
                || four == 6011
                || (644..=659).contains(&three)
                || (622_126..=622_925).contains(&six)
                || (3528..=3589).contains(&four)
        }
        15 => matches!(two, 34 | 37) || matches!(four, 2131 | 1800),
        _ => false,
    };
    if large {
        return Some(Brand::Large);
    }
    let diners = (300..=305).contains(&three) || three == 309 || matches!(two, 36 | 38 | 39);
    let maestro = matches!(four, 604 | 5018 | 5020 | 5038 | 5893 | 6304 | 6390)
        || (56..=58).contains(&two)
        || (two == 67 && (12..=19).contains(&length));
    let long = matches!(two, 62 | 65 | 35 | 60) || four == 6011 || (2200..=2204).contains(&four);
    let small = match length {
        12 => maestro,
        13 => two / 10 == 4 || maestro,
        14 => diners || maestro,
        15 => maestro,
        16 => {
            maestro
                || diners
                || long
                || matches!(two, 81 | 82 | 50)
                || matches!(four, 9792 | 6362 | 6363)
        }
        17..=19 => maestro || long || (two / 10 == 4 && length == 19),
        _ => false,
    };
    small.then_some(Brand::Small)
}

fn checked(window: &Window<'_>) -> Option<Brand> {
    let brand = brand(window.digits)?;
    luhn(window.digits).then_some(brand)
}

fn found(window: &Window<'_>) -> Found {
    Some((Kind::PaymentCard, window.start(), window.end))
}

/// A card that needs no word beside it.
pub(super) fn strict(window: &Window<'_>) -> Found {
    if window.bound || window.digits.len() < 14 {
        return None;
    }
    let single = window.groups.len() == 1;
    let grouped = matches!(
        window.between(),
        Some(Between::Space | Between::Dash | Between::Dot)
    ) && (window.lengths(&[4, 4, 4, 4])
        || window.lengths(&[4, 6, 5])
        || window.lengths(&[4, 6, 4])
        || window.lengths(&[4, 4, 4, 4, 3]));
    if !(single || grouped && !in_table(window)) {
        return None;
    }
    let brand = checked(window)?;
    if grouped {
        let row = window.said().last.any(Cues::MATHS) || beside_numbers(window);
        let said = window.said().before.any(Cues::CARD);
        return if row && !said { None } else { found(window) };
    }
    let said = window.said().before.any(Cues::CARD);
    let quiet = !window.is_other()
        && (said || !window.is_argument())
        && !window.in_sum()
        && !window.said_after().any(Cues::MATHS);
    (brand == Brand::Large && quiet).then_some(())?;
    found(window)
}

/// Whether it stands in a row of numbers.
fn beside_numbers(window: &Window<'_>) -> bool {
    let (text, start, end) = (window.text, window.start(), window.end);
    let two = |from: usize| text.at(from).is_ascii_digit() && text.at(from + 1).is_ascii_digit();
    (text.at(end) == b' ' && two(end + 1))
        || (text.before(start) == b' ' && two(start.saturating_sub(3)))
}

/// Whether groups of four go on before or after it, as in a table or a dump.
fn in_table(window: &Window<'_>) -> bool {
    let text = window.text;
    let (start, end) = (window.start(), window.end);
    let four = |from: usize, to: usize| {
        let word = text.part(from, to);
        word.len() == 4
            && word.iter().all(u8::is_ascii_hexdigit)
            && word.iter().any(u8::is_ascii_digit)
    };
    let after = text.run(end + 1, 5, is_word);
    let before = text.run_back(start.saturating_sub(1), 0, 5, is_word);
    text.at(end).is_ascii_whitespace() && four(end + 1, after)
        || text.before(start).is_ascii_whitespace() && four(before, start.saturating_sub(1))
}

/// A card by the words around it.
pub(super) fn said(window: &Window<'_>) -> Found {
    let plain = window
        .groups
        .iter()
        .skip(1)
        .all(|group| matches!(group.between, Between::Space | Between::Dash | Between::Dot));
    if window.digits.len() < 12 || !plain || (window.groups.len() > 1 && in_table(window)) {
        return None;
    }
    let brand = checked(window)?;
    let before = window.said().before.any(Cues::CARD);
    if window.bound && !window.said().last.any(Cues::CARD) {
        return None;
    }
    // Words after it count for less: it must not be called something else before.
    let after = !before && !window.is_other() && window.said_after().any(Cues::CARD);
    let tight = window.groups.len() <= 5 || brand == Brand::Large;
    ((before || after) && tight).then_some(())?;
    found(window)
}
