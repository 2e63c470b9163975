//! Groups of digits that stand together, and the parts of them that may be one number.
//!
//! A cluster is digits with single separators between: `+49 (0)30 1234-567`. It is read once. Every
//! run of its groups that stands free on both sides (at the end of the cluster, or beside a space) is
//! offered to those who know numbers, the longest first, and first to those who need no words beside
//! it. A cluster has at most [`GROUPS`] groups; what is longer is read with overlap, so that the work
//! is bounded by the length of the text.

use super::cue::{self, Context, Cues};
use super::kind::Kind;
use super::text::{Text, is_word};
use super::{card, ident, phone};
use std::cell::OnceCell;

/// As many groups a cluster has at most.
const GROUPS: usize = 16;
/// What goes on starts so many groups before the end.
const OVERLAP: usize = 7;
/// No number has more digits.
const MOST: usize = 20;
/// No number has fewer.
pub(super) const FEWEST: usize = 6;
/// A group of more digits belongs to no number.
const LONGEST_GROUP: usize = 20;

/// What stands between two groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Between {
    /// Nothing: it is the first.
    #[default]
    Start,
    Space,
    Dash,
    Dot,
    Slash,
    Bracket,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where its digits stand among all of the cluster.
    first: usize,
    pub(super) between: Between,
}

/// How a cluster stands in what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Free,
    /// It hangs on a word that says what it is: `tel.0171`.
    OnCue,
    /// It is a part of something else.
    Bound,
}

#[derive(Debug)]
pub(super) struct Cluster<'a> {
    pub(super) text: Text<'a>,
    digits: [u8; GROUPS * LONGEST_GROUP],
    groups: [Group; GROUPS],
    count: usize,
    left: Left,
    /// Whether a number may end where the cluster ends.
    ends_free: bool,
    /// Where to go on.
    next: usize,
    /// The end of an extension (`x123`), which belongs to the last group.
    extension: Option<usize>,
    floor: usize,
    last: Option<Kind>,
}

/// So many bytes at most stand between two numbers for which one word is said.
const AND: usize = 8;

/// The word that goes for the next number too.
const fn cue_of(kind: Kind) -> Option<Cues> {
    match kind {
        Kind::Phone => Some(Cues::PHONE),
        Kind::PaymentCard => Some(Cues::CARD),
        Kind::UsSsn => Some(Cues::SSN),
        Kind::Passport => Some(Cues::PASSPORT),
        _ => None,
    }
}

/// What is said before the numbers that start with a group, once it is read.
#[derive(Debug)]
struct Said {
    floor: usize,
    /// What was found last, up to the floor.
    last: Option<Kind>,
    told: OnceCell<Context>,
}

/// A run of groups that may be one number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    pub(super) text: Text<'a>,
    pub(super) digits: &'a [u8],
    pub(super) groups: &'a [Group],
    /// Whether it hangs on a word, so that only that word may say what it is.
    pub(super) bound: bool,
    said: &'a Said,
    pub(super) end: usize,
}

impl Window<'_> {
    pub(super) fn start(&self) -> usize {
        self.groups.first().map_or(0, |group| group.start)
    }

    /// Whether its groups have these lengths.
    pub(super) fn lengths(&self, lengths: &[usize]) -> bool {
        self.groups.len() == lengths.len()
            && self
                .groups
                .iter()
                .zip(lengths)
                .all(|(group, length)| group.end - group.start == *length)
    }

    /// What stands between all of its groups, when that is one thing.
    pub(super) fn between(&self) -> Option<Between> {
        let mut all = self.groups.iter().skip(1).map(|group| group.between);
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    /// The digit at a place, as a number.
    pub(super) fn digit(&self, place: usize) -> u8 {
        self.digits.get(place).copied().unwrap_or(0)
    }

    /// What is said before it, which is read when it is first asked for.
    pub(super) fn said(&self) -> Context {
        let read = || {
            let said = cue::before(self.text, self.start(), self.said.floor);
            // "Call 030 1234567 or 0171 2345678": the word is said once.
            let near = self.start() <= self.said.floor + AND;
            match self.said.last.filter(|_| near).and_then(cue_of) {
                Some(cue) if said.last.is_empty() => said.with(cue),
                _ => said,
            }
        };
        *self.said.told.get_or_init(read)
    }

    /// The meanings of the words after it.
    pub(super) fn said_after(&self) -> Cues {
        cue::after(self.text, self.end)
    }

    /// Whether the last word before it calls it something that is no personal detail.
    pub(super) fn is_other(&self) -> bool {
        self.said()
            .last
            .any(Cues::OTHER.or(Cues::MATHS).or(Cues::VERSION))
    }

    /// Whether it is assigned or handed to a function, as in a program: `X = 5`, `f(3, 5)`.
    pub(super) fn is_argument(&self) -> bool {
        let text = self.text;
        let start = self.start();
        let left = text.run_back(start, 0, 2, |byte| byte == b' ');
        let near = text.part(start.saturating_sub(28), start);
        let call = |two: &[u8]| matches!(two, [word, b'('] if is_word(*word) || *word == b'_');
        text.before(left) == b'=' || (self.groups.len() == 1 && near.windows(2).any(call))
    }

    /// Whether it is a term of a sum.
    pub(super) fn in_sum(&self) -> bool {
        let text = self.text;
        let right = text.run(self.end, 3, |byte| byte == b' ');
        let left = text.run_back(self.start(), 0, 3, |byte| byte == b' ');
        let sign = |byte| matches!(byte, b'+' | b'*' | b'^' | b'%');
        let next = text.run(right + 1, 2, |byte| byte == b' ');
        let over = text.at(right) == b'/' && text.at(next).is_ascii_digit();
        let minus = text.at(right) == b'-'
            && text.at(right + 1) == b' '
            && text.at(right + 2).is_ascii_digit();
        sign(text.at(right))
            || minus
            || over
            || (text.at(right) == b'=' && text.at(right + 1) != b'\'')
            || matches!(text.before(left), b'*' | b'/' | b'^' | b'%' | b'$')
            || (text.before(left) == b'+' && left < self.start())
    }
}

/// Where to go on after the digits at a place, of which `found` is told what they are.
pub(super) fn read(
    text: Text<'_>,
    start: usize,
    floor: usize,
    last: Option<Kind>,
    found: &mut impl FnMut(Kind, usize, usize),
) -> usize {
    let mut cluster = Cluster {
        text,
        digits: [0; GROUPS * LONGEST_GROUP],
        groups: [Group::default(); GROUPS],
        count: 0,
        left: Left::Free,
        ends_free: true,
        next: start,
        extension: None,
        floor,
        last,
    };
    cluster.gather(start);
    if cluster.total() >= FEWEST {
        cluster.left = cluster.left_of(start);
        if cluster.left != Left::Bound {
            cluster.offer(found);
        }
    }
    cluster.next.max(start + 1)
}

impl<'a> Cluster<'a> {
    fn total(&self) -> usize {
        let groups = self.groups.iter().take(self.count);
        groups.map(|group| group.end - group.start).sum()
    }

    fn gather(&mut self, start: usize) {
        let mut place = start;
        let mut between = Between::Start;
        let mut first = 0;
        while self.count < GROUPS {
            let end = self
                .text
                .run(place, LONGEST_GROUP + 1, |byte| byte.is_ascii_digit());
            if end - place > LONGEST_GROUP {
                self.next = self.text.run(end, usize::MAX, is_word);
                self.ends_free = between == Between::Space;
                return;
            }
            if self.is_glued(end) {
                self.next = self.text.run(end, usize::MAX, is_word);
                self.ends_free = between == Between::Space;
                return;
            }
            for (slot, byte) in self
                .digits
                .iter_mut()
                .skip(first)
                .zip(self.text.part(place, end))
            {
                *slot = byte - b'0';
            }
            if let Some(slot) = self.groups.get_mut(self.count) {
                *slot = Group {
                    start: place,
                    end,
                    first,
                    between,
                };
            }
            first += end - place;
            self.count += 1;
            self.next = end;
            if self.extended(end) {
                return;
            }
            let Some((next, what)) = separator(self.text, end) else {
                return;
            };
            (place, between) = (next, what);
        }
        // It goes on: what comes is read again with some of what was.
        let again = self.groups.get(GROUPS - OVERLAP);
        self.next = again.map_or(self.next, |group| group.start);
        self.count = GROUPS;
        self.ends_free = between == Between::Space;
    }

    /// Whether a letter, a sign or an `@` after a group makes it a part of something else.
    fn is_glued(&self, end: usize) -> bool {
        let after = self.text.at(end);
        (is_word(after) && extension(self.text, end).is_none()) || matches!(after, b'_' | b'@')
    }

    /// Reads an extension after a group.
    fn extended(&mut self, end: usize) -> bool {
        let Some(digits) = extension(self.text, end) else {
            return false;
        };
        let stop = self.text.run(digits, 7, |byte| byte.is_ascii_digit());
        self.next = self.text.run(stop, usize::MAX, is_word);
        match self.next == stop && stop - digits < 7 {
            true => self.extension = Some(stop),
            false => self.ends_free = digits > end + 1,
        }
        true
    }

    fn left_of(&self, start: usize) -> Left {
        let text = self.text;
        let before = text.before(start);
        if !text.starts_word(start) {
            return Left::Bound;
        }
        let second = text.before(start.wrapping_sub(1));
        let joins = matches!(before, b'-' | b'.' | b'/' | b'\\' | b'@' | b'~');
        if joins && before != b'\\' && (is_word(second) || matches!(second, b'_' | b'%')) {
            let word = text.run_back(start - 1, self.floor, 16, |byte| byte.is_ascii_alphabetic());
            let said = cue::before(text, start, word).last;
            return if said.is_empty() || !is_boundary(text.before(word)) {
                Left::Bound
            } else {
                Left::OnCue
            };
        }
        // "1,234,567", but not the fields of a table.
        let three = self.count == 1
            && self
                .groups
                .first()
                .is_some_and(|first| first.end == start + 3);
        if before == b',' && second.is_ascii_digit() && three {
            return Left::Bound;
        }
        Left::Free
    }

    fn offer(&self, found: &mut impl FnMut(Kind, usize, usize)) {
        let groups = self.groups.get(..self.count).unwrap_or_default();
        let (mut floor, mut last) = (self.floor, self.last);
        let mut from = 0;
        while let Some(group) = groups.get(from) {
            let free = from == 0 || group.between == Between::Space;
            let starts_free = free && group.start >= floor;
            // What the next reading starts with is left to it.
            if self.next <= group.start {
                return;
            }
            let hit = match starts_free {
                true => self.starting_at(from, floor, last),
                false => None,
            };
            match hit {
                Some((kind, start, end, until)) => {
                    found(kind, start, end);
                    (floor, last) = (end, Some(kind));
                    from = until;
                }
                None => from += 1,
            }
        }
    }

    /// The longest number that starts with a group.
    fn starting_at(
        &self,
        from: usize,
        floor: usize,
        last_kind: Option<Kind>,
    ) -> Option<(Kind, usize, usize, usize)> {
        let groups = self.groups.get(..self.count)?;
        let first = groups.get(from)?;
        let said = Said {
            floor,
            last: last_kind,
            told: OnceCell::new(),
        };
        for needs_words in [false, true] {
            for until in (from + 1..=groups.len().min(from + 8)).rev() {
                let last = groups.get(until - 1)?;
                let ends = match groups.get(until) {
                    Some(next) => next.between == Between::Space,
                    None => self.ends_free,
                };
                let digits = self
                    .digits
                    .get(first.first..last.first + last.end - last.start)?;
                if !ends || !(FEWEST..=MOST).contains(&digits.len()) {
                    continue;
                }
                let extension = self.extension.filter(|_| until == groups.len());
                let window = Window {
                    text: self.text,
                    digits,
                    groups: groups.get(from..until)?,
                    bound: from == 0 && self.left == Left::OnCue,
                    said: &said,
                    end: extension.unwrap_or(last.end),
                };
                // Dates and fractions are most of what has so many digits.
                if phone::is_count(&window) || phone::is_date(&window) {
                    continue;
                }
                let hit = match needs_words {
                    false => card::strict(&window)
                        .or_else(|| ident::strict(&window))
                        .or_else(|| phone::strict(&window)),
                    true => card::said(&window)
                        .or_else(|| ident::said(&window))
                        .or_else(|| phone::said(&window)),
                };
                if let Some((kind, start, end)) = hit {
                    return Some((kind, start.max(floor), end, until));
                }
            }
        }
        None
    }
}

const fn is_boundary(byte: u8) -> bool {
    !is_word(byte) && byte != b'_'
}

/// Where the digits of an extension start: "x123", " x123", " ext. 123".
fn extension(text: Text<'_>, end: usize) -> Option<usize> {
    let place = text.run(end, 1, |byte| byte == b' ');
    let digits = match text.at(place) {
        b'x' | b'X' => place + 1,
        b'e' | b'E' if text.part(place, place + 3).eq_ignore_ascii_case(b"ext") => {
            text.run(place + 3, 2, |byte| matches!(byte, b'.' | b' '))
        }
        _ => return None,
    };
    text.at(digits).is_ascii_digit().then_some(digits)
}

/// Whether another group follows the one that ends there.
pub(super) fn goes_on(text: Text<'_>, end: usize) -> bool {
    separator(text, end).is_some()
}

/// Where the next group starts, and what stands between.
fn separator(text: Text<'_>, end: usize) -> Option<(usize, Between)> {
    let one = |byte| match byte {
        b' ' => Some(Between::Space),
        b'-' => Some(Between::Dash),
        b'.' => Some(Between::Dot),
        b'/' => Some(Between::Slash),
        b'(' | b')' => Some(Between::Bracket),
        _ => None,
    };
    let mut place = end;
    let mut between = one(text.at(place))?;
    let mut brackets = 0;
    while place < end + 4 {
        let byte = text.at(place);
        if byte.is_ascii_digit() {
            let plain = place == end + 1 || brackets > 0;
            // " (" opens a group of its own unless it is closed inside the number: "+44 (0)20".
            return plain.then_some((place, between));
        }
        if one(byte)? == Between::Bracket {
            brackets += 1;
            between = Between::Bracket;
        }
        place += 1;
    }
    None
}
