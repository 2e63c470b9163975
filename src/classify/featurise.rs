//! Text into rows of the table of weights.
//!
//! Promises: never panics, reads at most [`WINDOW`] bytes from each end of the text, gives the same
//! rows for the same text on every machine, and allocates only while the scratch grows.
//!
//! The rows are of three groups, each with its own norm. [`Group::Body`]: hashed 1- and 2-grams of
//! lower-cased words (accents folded, digit runs by their length, punctuation and line ends as words,
//! one word a character in scripts without spaces) and the first letters of long words.
//! [`Group::Ends`]: the same for the first and last [`END`] words, tagged. [`Group::Dense`]: shape
//! and script of the text, and its cues ([`super::cues`]): classes of keywords in many languages,
//! where they stand and in which order, so that what is learned in one language holds in the others.

use super::cues::{self, Cues};
use super::judgement::Kind;
use shape::Shape;
pub use words::Word;
use words::words;

mod shape;
mod words;

/// How much is read from each end of a text, in bytes.
pub const WINDOW: usize = 1024;
/// How many words count as its beginning, and as its end.
pub const END: usize = 12;
/// How many words from either end the order of cues is looked at.
const ORDERED: usize = 24;

/// Rows for what is hashed.
pub const HASHED: usize = 1 << 15;
/// Rows for shapes, then cues, then pairs of cues; they stand before those that are hashed.
pub const DENSE: usize = shape::ROWS + CUE_ROWS + PAIR_ROWS;
const CUE_ROWS: usize = cues::MOST * PLACES;
const PAIR_ROWS: usize = cues::MOST * cues::MOST;
/// All rows of the table.
pub const ROWS: usize = DENSE + HASHED;
/// Where a cue can stand: anywhere, at the beginning, at the end, first of all, three times or more.
const PLACES: usize = 5;

/// Changes whenever the same text would give other rows.
pub const VERSION: u32 = 1;
/// Mixed into every hash.
pub const SEED: u32 = 0x7011_6a7e;

/// Which norm a row is weighted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Body,
    Ends,
    Dense,
}

/// How many groups there are.
pub const GROUPS: usize = 3;

/// Who takes the rows: the model adds up weights, the trainer writes them down.
pub trait Sink {
    /// One occurrence of a row below [`ROWS`].
    fn take(&mut self, group: Group, row: u32);
}

/// What is used again from text to text.
#[derive(Debug, Default)]
pub struct Scratch {
    words: Vec<Word>,
    places: Vec<[u8; PLACES]>,
}

/// The norm of each group, by how many words the text has: means for what is counted, so that a long
/// text weighs as much as a short one.
#[must_use]
pub fn norms(words: usize) -> [f32; GROUPS] {
    let words = words.max(1) as f32;
    [1.0 / words.sqrt(), 0.25, 0.35]
}

/// Hands the rows of a text to `sink`; returns how many words were read.
pub fn featurise(text: &str, scratch: &mut Scratch, sink: &mut impl Sink) -> usize {
    let (head, tail) = ends(text);
    scratch.words.clear();
    let mut shape = Shape::new(text);
    words(head, &mut scratch.words, &mut shape);
    let cut = scratch.words.len();
    if !tail.is_empty() {
        words(tail, &mut scratch.words, &mut shape);
    }
    shape.rows(text, sink);
    let table = Cues::table();
    for word in &mut scratch.words {
        word.cue = table.of_word(word);
    }
    grams(&scratch.words, cut, sink);
    cue_rows(scratch, table, sink);
    scratch.words.len()
}

/// The first and the last [`WINDOW`] bytes, to whole characters; all of a shorter text is its head.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= 2 * WINDOW {
        return (text, "");
    }
    let whole = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=WINDOW).rev().find(whole).unwrap_or(0);
    let tail = (text.len() - WINDOW..text.len()).find(whole);
    (
        text.get(..head).unwrap_or_default(),
        text.get(tail.unwrap_or(text.len())..).unwrap_or_default(),
    )
}

/// The last step of a hash, so that all bits count (from MurmurHash3).
fn mixed(hash: u32) -> u32 {
    let mut z = hash ^ SEED;
    z = (z ^ (z >> 16)).wrapping_mul(0x85eb_ca6b);
    z = (z ^ (z >> 13)).wrapping_mul(0xc2b2_ae35);
    z ^ (z >> 16)
}

fn hashed(hash: u32) -> u32 {
    DENSE as u32 + (mixed(hash) & (HASHED as u32 - 1))
}

/// The words of a text that is not to be judged.
pub(super) fn words_of(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    words(text, &mut found, &mut Shape::new(text));
    found
}

/// A hash of two words in that order.
pub(super) fn pair(first: u32, second: u32) -> u32 {
    first
        .rotate_left(7)
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(second)
}

fn grams(words: &[Word], cut: usize, sink: &mut impl Sink) {
    let count = words.len();
    let mut before = None;
    for (at, word) in words.iter().enumerate() {
        if at == cut {
            before = None;
        }
        let single = word.hash;
        let double = before.map(|before| pair(before, single));
        sink.take(Group::Body, hashed(single));
        if let Some(double) = double {
            sink.take(Group::Body, hashed(double));
        }
        if let Some(stem) = word.stem {
            sink.take(Group::Body, hashed(stem));
        }
        if at < END {
            sink.take(Group::Ends, hashed(single ^ 0x5bd1_e995));
            if let Some(double) = double {
                sink.take(Group::Ends, hashed(double ^ 0x5bd1_e995));
            }
        }
        if at + END >= count {
            sink.take(Group::Ends, hashed(single ^ 0xa5a5_1f3d));
            if let Some(double) = double {
                sink.take(Group::Ends, hashed(double ^ 0xa5a5_1f3d));
            }
        }
        before = Some(single);
    }
}

fn cue_rows(scratch: &mut Scratch, table: &Cues, sink: &mut impl Sink) {
    let Scratch { words, places } = scratch;
    places.clear();
    places.resize(cues::MOST, [0; PLACES]);
    let count = words.len();
    let (mut last, mut first) = (0_u8, true);
    for at in 0..count {
        let Some(word) = words.get(at) else { break };
        let phrase = words
            .get(at + 1)
            .map_or(0, |next| table.of_phrase(word, next));
        for cue in [phrase, word.cue] {
            if cue == 0 {
                continue;
            }
            let Some(seen) = places.get_mut(usize::from(cue)) else {
                continue;
            };
            let [any, begins, ends, leads, _] = seen;
            *any = any.saturating_add(1);
            *begins |= u8::from(at < END);
            *ends |= u8::from(at + END >= count);
            *leads |= u8::from(first);
            first = false;
            let near = at < ORDERED || at + ORDERED >= count;
            if near && last != 0 && last != cue {
                let row = usize::from(last) * cues::MOST + usize::from(cue);
                sink.take(Group::Dense, (shape::ROWS + CUE_ROWS + row) as u32);
            }
            last = cue;
        }
    }
    for (cue, seen) in places.iter_mut().enumerate() {
        let [any, .., many] = seen;
        *many = u8::from(*any >= 3);
        for (place, &there) in seen.iter().enumerate() {
            if there > 0 {
                let row = shape::ROWS + cue * PLACES + place;
                sink.take(Group::Dense, row as u32);
            }
        }
    }
}

/// The likeliest kind by cues alone: the classes that name a task vote with how often they occur. The
/// trivial baseline that the model is compared with.
#[must_use]
pub fn by_keywords(text: &str, scratch: &mut Scratch) -> Kind {
    let (head, _) = ends(text);
    scratch.words.clear();
    words(head, &mut scratch.words, &mut Shape::new(text));
    let table = Cues::table();
    let mut votes = [0_u32; Kind::ALL.len()];
    for (at, word) in scratch.words.iter().enumerate() {
        let next = scratch.words.get(at + 1);
        let phrase = next.map_or(0, |next| table.of_phrase(word, next));
        for cue in [phrase, table.of_word(word)] {
            let output = table.votes_for(cue).and_then(Kind::output);
            if let Some(votes) = output.and_then(|output| votes.get_mut(output)) {
                *votes += if at < END { 2 } else { 1 };
            }
        }
    }
    let mut best = (Kind::SimpleQa, 0);
    for (kind, votes) in Kind::ALL.into_iter().zip(votes) {
        if votes > best.1 {
            best = (kind, votes);
        }
    }
    best.0
}
