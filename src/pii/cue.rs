//! Words that say what the number beside them is.
//!
//! Digits alone are often ambiguous: nine of them may be a passport, a part or a sum. The words
//! in the 64 bytes before decide, back to the last thing found, and a few after it. Words are
//! cut at what is neither letter nor digit and where `camelCase` turns, and lower-cased; words of
//! scripts that write without spaces are looked for inside their run.

use super::text::Text;
use super::words::meaning;

/// A set of meanings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cues(pub(super) u64);

macro_rules! cues {
    ($($name:ident = $bit:expr;)*) => {
        impl Cues { $(pub(super) const $name: Self = Self(1 << $bit);)* }
    };
}

cues! {
    PHONE = 0; CALL = 1; NUMBER = 2; CARD = 3; SSN = 4; TAX = 5; PASSPORT = 6; DRIVE = 7;
    LICENCE = 8; INSURANCE = 9; NHS = 10; STEUER = 11; NIR = 12; DNI = 13; BSN = 14; CPF = 15;
    CNPJ = 16; AADHAAR = 17; PAN = 18; SIN = 19; TFN = 20; PESEL = 21; PERSONNUMMER = 22; AHV = 23;
    HETU = 24; CPR = 25; FODSEL = 26; RIJKS = 27; CN_ID = 28; RRN = 29; MY_NUMBER = 30; ZA_ID = 31;
    KIMLIK = 32; CNP = 33; NIF = 34; IP = 35; VERSION = 36; OTHER = 37; MATHS = 38; CURP = 39;
    RODNE = 40; NINO = 41; OFFICE = 42; IDENTITY = 43; SECURITY = 44;
}

impl Cues {
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How far back words count, in bytes.
const BEFORE: usize = 64;
/// How far back a word counts that is weak alone.
const NEAR: usize = 28;
/// How far words after a number count.
const AFTER: usize = 40;

/// What is said around a number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// All that is said before it.
    pub(super) before: Cues,
    /// What is said close before it.
    pub(super) near: Cues,
    /// The meaning of the last word before it that has one.
    pub(super) last: Cues,
}

/// What is said before a place, not looking before `floor`.
pub(super) fn before(text: Text<'_>, place: usize, floor: usize) -> Context {
    let start = place.saturating_sub(BEFORE).max(floor).min(place);
    let mut context = Context::default();
    each_word(text.part(start, place), |word, end| {
        let meaning = meaning(word);
        if !meaning.is_empty() {
            context.before = context.before.or(meaning);
            context.last = meaning;
            if start + end + NEAR >= place {
                context.near = context.near.or(meaning);
            }
        }
        true
    });
    context
}

/// What is said after a place, to the end of the line.
pub(super) fn after(text: Text<'_>, place: usize) -> Cues {
    let line = text.run(place, AFTER, |byte| byte != b'\n');
    let mut cues = Cues::default();
    each_word(text.part(place, line), |word, _| {
        cues = cues.or(meaning(word));
        true
    });
    cues
}

/// The meaning of the first word after a place, which must follow at once.
pub(super) fn next_word(text: Text<'_>, place: usize) -> Cues {
    let mut cues = Cues::default();
    let end = text.run(place, 16, |byte| byte != b'\n');
    each_word(text.part(place, end), |word, _| {
        cues = meaning(word);
        false
    });
    cues
}

/// The longest word that has a meaning, and of what is longer only so much is read.
const LONGEST: usize = 32;

/// Calls with each word, lower-cased where it is ASCII, and where it ends, while told to go on.
fn each_word(part: &[u8], mut tell: impl FnMut(&[u8], usize) -> bool) {
    let mut word = [0_u8; LONGEST];
    let mut length = 0;
    let (mut last, mut command) = (0_u8, false);
    let ends = part.iter().copied().chain([b' ']).enumerate();
    for (place, byte) in ends {
        let letter = byte.is_ascii_alphabetic() || byte >= 0x80;
        // Not in "iPhone", which is no phone number.
        let turns = byte.is_ascii_uppercase() && last.is_ascii_lowercase() && length > 1;
        if (!letter || turns) && length > 0 {
            let whole = word.get(..length.min(LONGEST)).unwrap_or_default();
            if !command && !told(whole, place, &mut tell) {
                return;
            }
            length = 0;
        }
        // A command of LaTeX says nothing of a number: "\text".
        if !letter {
            command = byte == b'\\';
        } else {
            if let Some(slot) = word.get_mut(length) {
                *slot = byte.to_ascii_lowercase();
            }
            length += 1;
        }
        last = byte;
    }
}

/// Tells a word, and what stands in it when its script writes without spaces.
fn told(word: &[u8], place: usize, tell: &mut impl FnMut(&[u8], usize) -> bool) -> bool {
    if !word.iter().any(|byte| (0xe3..=0xed).contains(byte)) {
        return tell(word, place);
    }
    for start in 0..word.len() {
        for length in [12, 9, 6] {
            let Some(part) = word.get(start..start + length) else {
                continue;
            };
            if !meaning(part).is_empty() {
                if !tell(part, place) {
                    return false;
                }
                break;
            }
        }
    }
    true
}
