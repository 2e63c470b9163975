//! Classes of keywords in many languages, from `cues.txt`.
//!
//! A class holds words that say the same about a request in all languages, so that what is learned
//! of "write" and "poem" in one holds for those of the others. The list is part of what a model is
//! trained on: [`fingerprint`] is in the weights, and others are refused.

use super::featurise::{Word, pair, words_of};
use super::judgement::Kind;
use std::sync::LazyLock;

/// Classes at most; 0 is none.
pub const MOST: usize = 64;

const LIST: &str = include_str!("cues.txt");
const PHRASE_TAG: u32 = 0x1b87_3593;

/// A table of hashes, open-addressed.
#[derive(Debug)]
pub struct Cues {
    slots: Vec<(u32, u8)>,
    /// A bit for each hash that is held, by its last 16 bits: small enough to stay near, and most words
    /// are no cue.
    held: Vec<u64>,
    /// For which kind a class votes, by its number.
    votes: Vec<Option<Kind>>,
}

static TABLE: LazyLock<Cues> = LazyLock::new(|| Cues::parse(LIST));

/// Of the list, with what reads it: other cues give other rows.
#[must_use]
pub fn fingerprint() -> u32 {
    crc32fast::hash(LIST.as_bytes()) ^ super::featurise::VERSION.rotate_left(24)
}

impl Cues {
    /// The one that is built in.
    #[must_use]
    pub fn table() -> &'static Self {
        &TABLE
    }

    /// Of lines `class [= kind]: word, word`. A word that ends in `*` stands for all with its first
    /// five letters; one of two words, or two signs, is a phrase. The first that names a word has it.
    fn parse(list: &str) -> Self {
        let size = (list.len() / 2).next_power_of_two();
        let mut table = Self {
            slots: vec![(0, 0); size],
            held: vec![0; 1024],
            votes: vec![None; MOST],
        };
        let mut class = 0_u8;
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let words = match line.split_once(": ") {
                Some((head, words)) if !line.starts_with(' ') => {
                    class += 1;
                    let kind = head.split_once(" = ").map(|(_, kind)| kind);
                    if let Some(votes) = table.votes.get_mut(usize::from(class)) {
                        *votes = kind.and_then(Kind::named);
                    }
                    words
                }
                _ => line,
            };
            for word in words.split(',').map(str::trim) {
                table.add(word, class);
            }
        }
        table
    }

    fn add(&mut self, cue: &str, class: u8) {
        let (cue, stem) = match cue.strip_suffix('*') {
            Some(stem) if !stem.is_empty() => (stem, true),
            _ => (cue, false),
        };
        let found = words_of(cue);
        match found.as_slice() {
            [word] => {
                if !stem || word.stem.is_none() {
                    self.insert(word.hash, class);
                }
                // A stem of five letters has none itself: one letter more, and it has.
                let longer = words_of(&format!("{cue}x"));
                if let (true, Some(stem)) = (stem, longer.first().and_then(|word| word.stem)) {
                    self.insert(stem, class);
                }
            }
            [first, second] => self.insert(pair(first.hash, second.hash) ^ PHRASE_TAG, class),
            _ => {}
        }
    }

    fn insert(&mut self, hash: u32, class: u8) {
        if let Some(bits) = self.held.get_mut(word_of(hash)) {
            *bits |= 1 << (hash % 64);
        }
        let mask = self.slots.len() - 1;
        let mut at = start(hash) & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.1 == 0 {
                *slot = (hash, class);
                return;
            }
            if slot.0 == hash {
                return;
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn find(&self, hash: u32) -> u8 {
        match self.held.get(word_of(hash)) {
            Some(bits) if bits >> (hash % 64) & 1 == 1 => self.look_up(hash),
            _ => 0,
        }
    }

    fn look_up(&self, hash: u32) -> u8 {
        let mask = self.slots.len() - 1;
        let mut at = start(hash) & mask;
        while let Some(&(held, class)) = self.slots.get(at) {
            if class == 0 || held == hash {
                return class;
            }
            at = (at + 1) & mask;
        }
        0
    }

    /// The class of a word; 0 if it is in none.
    #[must_use]
    pub fn of_word(&self, word: &Word) -> u8 {
        match (self.find(word.hash), word.stem) {
            (0, Some(stem)) => self.find(stem),
            (class, _) => class,
        }
    }

    /// The class of two words as a phrase; 0 if it is in none.
    #[must_use]
    pub fn of_phrase(&self, first: &Word, second: &Word) -> u8 {
        self.find(pair(first.hash, second.hash) ^ PHRASE_TAG)
    }

    /// The kind that a class of words names by itself, if it does.
    #[must_use]
    pub fn votes_for(&self, class: u8) -> Option<Kind> {
        self.votes.get(usize::from(class)).copied().flatten()
    }
}

fn word_of(hash: u32) -> usize {
    (hash >> 6) as usize % 1024
}

fn start(hash: u32) -> usize {
    (hash.wrapping_mul(0x9e37_79b1) >> 12) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> u8 {
        match words_of(text).as_slice() {
            [word] => Cues::table().of_word(word),
            [first, second] => Cues::table().of_phrase(first, second),
            _ => 0,
        }
    }

    #[test]
    fn one_class_in_all_languages() {
        for word in [
            "übersetze",
            "translate",
            "Traduis",
            "翻译",
            "번역",
            "переведи",
            "ترجم",
        ] {
            assert_eq!(class(word), class("translate"), "{word}");
        }
        assert_ne!(class("poem"), 0);
        assert_ne!(class("poem"), class("python"));
        assert_eq!(class("xyzzy"), 0);
    }

    #[test]
    fn the_list_is_sound() {
        let classes = LIST
            .lines()
            .filter(|line| !line.starts_with([' ', '#']) && line.contains(": "));
        let classes = classes.count();
        assert!((30..MOST).contains(&classes), "{classes}");
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let words = line.split_once(": ").map_or(line, |(_, words)| words);
            for cue in words.split(',').map(str::trim) {
                let count = words_of(cue.trim_end_matches('*')).len();
                assert!((1..=2).contains(&count), "{cue:?} has {count} words");
                let letters = cue.trim_end_matches('*').chars().count();
                assert!(!cue.ends_with('*') || letters >= 5, "{cue:?} is short");
            }
        }
    }
}
