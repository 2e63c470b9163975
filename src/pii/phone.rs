//! Telephone numbers.
//!
//! Without a word beside them: international ones (`+` or `00`, a country code that is given out,
//! 8 to 15 digits), North American ones with dashes, dots or brackets, and those with a trunk zero in
//! a shape that a country writes (`(0306) 999 0742`, `06 12 34 56 78`, `07911 123456`). All others
//! need a word that speaks of telephones, before them or right after.

use super::cue::{self, Cues};
use super::kind::Kind;
use super::number::{Between, Window};

type Found = Option<(Kind, usize, usize)>;

/// Whether an E.164 number may start so: assigned country codes, ITU-T, 2024.
fn is_international(digits: &[u8]) -> bool {
    let at = |place: usize| digits.get(place).copied().unwrap_or(10);
    let length = digits.len();
    match (at(0), at(1), at(2)) {
        (1, area, _) => length == 11 && area >= 2,
        (7, next, _) => length == 11 && next >= 3,
        (4, 4, _) => (11..=13).contains(&length),
        (2, 0 | 7, _) | (3, 0..=4 | 6 | 9, _) | (4, 0 | 1 | 3..=9, _) => (9..=15).contains(&length),
        (5, 1..=8, _) | (6, 0..=6, _) | (8, 1 | 2 | 4 | 6, _) | (9, 0..=5 | 8, _) => {
            (9..=15).contains(&length)
        }
        (2, 1..=6 | 9, _) | (3, 5 | 7 | 8, _) | (4, 2, _) | (5, 0 | 9, _) => {
            (9..=14).contains(&length)
        }
        (6, 7..=9, _) | (8, 0 | 5 | 7 | 8, _) | (9, 6 | 7 | 9, _) => (9..=14).contains(&length),
        _ => false,
    }
}

/// Where the number starts, with the plus and the bracket that belong to it.
fn whole(window: &Window<'_>) -> (usize, bool) {
    let mut start = window.start();
    let text = window.text;
    let closes = text.part(start, window.end).contains(&b')');
    if text.before(start) == b'(' && closes {
        start -= 1;
    }
    let gap = text.run_back(start, 0, 1, |byte| byte == b' ');
    let plus = match text.before(start) {
        b'+' => Some(start - 1),
        // "(+49) 30", and "+ 49 30" where no sum goes on.
        b' ' if text.before(gap) == b'+' && !super::text::is_word(text.before(gap - 1)) => None,
        _ => None,
    };
    match plus {
        Some(place) if text.before(place) == b'(' && closes => (place - 1, true),
        Some(place) => (place, true),
        None => (start, false),
    }
}

fn found(window: &Window<'_>) -> Found {
    let (start, _) = whole(window);
    Some((Kind::Phone, start, window.end))
}

/// Whether it reads as a date, with or without an hour after it.
pub(super) fn is_date(window: &Window<'_>) -> bool {
    let lengths: Vec3 = lengths(window);
    let number = |from: usize, count: usize| super::check::number(window.digits, from, count);
    let year = |year: u32| (1800..=2199).contains(&year);
    match lengths {
        [4, 2, 2] | [4, 1, 2] | [4, 2, 1] => year(number(0, 4)) && number(4, 1) <= 1,
        [2, 2, 4] | [1, 2, 4] | [2, 1, 4] | [1, 1, 4] => {
            let [one, other, _] = lengths;
            let days = (number(0, one), number(one, other));
            year(number(one + other, 4)) && days.0.max(days.1) <= 31 && days.0.min(days.1) <= 12
        }
        [2, 2, 2] if window.between() == Some(Between::Slash) => {
            number(0, 2) <= 31 && number(2, 2) <= 31
        }
        [8, ..] => year(number(0, 4)) && number(4, 2) <= 12 && number(6, 2) <= 31,
        [4, 4, 0] => year(number(0, 4)) && year(number(4, 4)),
        _ => false,
    }
}

type Vec3 = [usize; 3];

fn lengths(window: &Window<'_>) -> Vec3 {
    let mut lengths = [0; 3];
    for (slot, group) in lengths.iter_mut().zip(window.groups) {
        *slot = group.end - group.start;
    }
    lengths
}

/// A telephone number that needs no word beside it.
pub(super) fn strict(window: &Window<'_>) -> Found {
    let (start, plus) = whole(window);
    let before = window.text.before(start);
    if window.bound || window.digits.len() < 9 || matches!(before, b'$' | b'#') {
        return None;
    }
    if plus {
        let apart = !super::text::is_word(before) && before != b')';
        return (apart && !is_count(window) && is_international(window.digits)).then_some((
            Kind::Phone,
            start,
            window.end,
        ));
    }
    if window.groups.len() < 2 {
        return None;
    }
    let local = is_long_international(window) || is_north_american(window) || is_trunk(window);
    let quiet = local && !is_date(window) && !window.is_other() && !window.in_sum();
    quiet.then_some((Kind::Phone, start, window.end))
}

fn is_long_international(window: &Window<'_>) -> bool {
    let head = lengths(window)[0];
    window.digits.starts_with(&[0, 0])
        && (2..=6).contains(&head)
        && window
            .groups
            .iter()
            .any(|group| group.end - group.start != head)
        && window.digits.get(2..).is_some_and(is_international)
}

fn is_north_american(window: &Window<'_>) -> bool {
    let (head, area) = match window.digit(0) {
        1 if window.lengths(&[1, 3, 3, 4]) => (1, window.digit(1)),
        _ if window.lengths(&[3, 3, 4]) => (0, window.digit(0)),
        _ => return false,
    };
    let spaced = window
        .groups
        .iter()
        .skip(head + 1)
        .all(|group| group.between == Between::Space);
    area >= 2 && window.digit(head + 3) >= 2 && !spaced
}

/// A trunk zero, in a shape that tells.
fn is_trunk(window: &Window<'_>) -> bool {
    let total = window.digits.len();
    if window.digit(0) != 0 || window.digit(1) == 0 {
        return false;
    }
    let bracket = window.text.before(window.start()) == b'('
        && window
            .groups
            .get(1)
            .is_some_and(|group| group.between == Between::Bracket);
    if bracket {
        return (9..=13).contains(&total) && window.groups.len() <= 5;
    }
    let same = window.between();
    let pairs = window.lengths(&[2, 2, 2, 2, 2])
        && matches!(same, Some(Between::Space | Between::Dot | Between::Dash))
        && !counts_up(window)
        && !beside_pairs(window);
    let british = (window.lengths(&[5, 6])
        || window.lengths(&[3, 4, 4])
        || window.lengths(&[4, 3, 4])
        || window.lengths(&[5, 3, 3]))
        && matches!(same, Some(Between::Space | Between::Dash))
        && matches!(window.digit(1), 1 | 2 | 3 | 7 | 8 | 9);
    pairs || british
}

/// Whether pairs are a list that counts up.
fn counts_up(window: &Window<'_>) -> bool {
    let pairs = window
        .digits
        .chunks_exact(2)
        .map(|pair| super::check::number(pair, 0, 2));
    let pairs: [u32; 5] = {
        let mut all = [0; 5];
        for (slot, pair) in all.iter_mut().zip(pairs) {
            *slot = pair;
        }
        all
    };
    pairs.windows(2).all(|two| matches!(two, [a, b] if a < b))
        && pairs
            .windows(3)
            .all(|three| matches!(three, [a, b, c] if b - a == c - b))
}

/// Whether pairs of hexadecimal digits go on before or after it, as in a dump of bytes.
fn beside_pairs(window: &Window<'_>) -> bool {
    let (text, start, end) = (window.text, window.start(), window.end);
    let pair = |place: usize| {
        text.at(place).is_ascii_hexdigit()
            && text.at(place + 1).is_ascii_hexdigit()
            && !super::text::is_word(text.at(place + 2))
    };
    let after = text.at(end) == b' ' && pair(end + 1);
    let before = start >= 3
        && text.before(start) == b' '
        && pair(start - 3)
        && !super::text::is_word(text.before(start - 3));
    after || before
}

/// A telephone number by the words around it.
pub(super) fn said(window: &Window<'_>) -> Found {
    let total = window.digits.len();
    let limit = if window.groups.len() == 1 {
        7..=13
    } else {
        6..=15
    };
    let start = whole(window).0;
    let start = window.text.run_back(start, 0, 2, |byte| byte == b' ');
    let before = window.text.before(start);
    let single = window
        .groups
        .iter()
        .filter(|group| group.end - group.start == 1);
    if !limit.contains(&total)
        || single.count() > 1
        || matches!(before, b'$' | b'=' if !window.said().last.any(Cues::PHONE))
    {
        return None;
    }
    let sum = window.in_sum() && !window.said().last.any(Cues::PHONE);
    if sum || window.groups.len() > 6 || window.lengths(&[5, 4]) {
        return None;
    }
    let said = window.said();
    if window.bound && !said.last.any(Cues::PHONE) {
        return None;
    }
    let after = cue::next_word(window.text, window.end);
    let other = said.last.any(
        Cues::OTHER
            .or(Cues::VERSION)
            .or(Cues::CARD)
            .or(Cues::PASSPORT),
    ) && !said.last.any(Cues::PHONE.or(Cues::CALL));
    let strong = !other
        && (said.near.any(Cues::PHONE) || (said.before.any(Cues::PHONE) && is_likely(window)));
    let close = said.near.any(Cues::CALL) && !other && !window.is_argument();
    let weak = said.near.any(Cues::NUMBER) && !window.is_other() && window.groups.len() > 1;
    let follows = after.any(Cues::PHONE.or(Cues::OFFICE));
    let follows = follows && !other && (window.groups.len() > 1 || total >= 9);
    let likely = strong && (total > 6 || window.groups.len() == 3)
        || (close || weak) && is_likely(window)
        || follows;
    likely.then_some(())?;
    found(window)
}

/// Whether it is a decimal fraction, a list of years, or a word of bits.
pub(super) fn is_count(window: &Window<'_>) -> bool {
    let dots = window
        .groups
        .iter()
        .filter(|group| group.between == Between::Dot);
    let spaces = window
        .groups
        .iter()
        .filter(|group| group.between == Between::Space);
    let fraction = dots.count() == 1 && spaces.count() + 2 == window.groups.len();
    let years = window.lengths(&[4, 4, 4]) || window.lengths(&[4, 2]) || window.lengths(&[4, 4]);
    let century = |four: &[u8]| matches!(super::check::number(four, 0, 2), 17..=20);
    let years = years
        && window
            .digits
            .chunks(4)
            .all(|four| four.len() < 4 || century(four));
    let bits = window.digits.iter().all(|digit| *digit < 2);
    fraction || years || bits
}

/// Whether it looks more like a telephone number than like a time or a count.
fn is_likely(window: &Window<'_>) -> bool {
    let total = window.digits.len();
    if window.groups.len() > 1 {
        return total >= 7;
    }
    match window.digit(0) {
        0 => (9..=12).contains(&total),
        1 => total == 11,
        _ => (8..=12).contains(&total),
    }
}
