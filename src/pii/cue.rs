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

impl Context {
    /// The same, as if that were the last word.
    pub(super) const fn with(self, cue: Cues) -> Self {
        Self {
            before: self.before.or(cue),
            near: self.near.or(cue),
            last: cue,
        }
    }
}

/// What is said before a place, not looking before `floor`.
pub(super) fn before(text: Text<'_>, place: usize, floor: usize) -> Context {
    let start = place.saturating_sub(BEFORE).max(floor).min(place);
    let mut context = Context::default();
    each_word(text.part(start, place), |word, end| {
        let meaning = meaning(word);
        if !meaning.is_empty() {
            context.before = context.before.or(meaning);
            // "Tracking number" is a tracking number.
            if meaning != Cues::NUMBER || context.last.is_empty() {
                context.last = meaning;
            }
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

/// No word of an alphabet that has a meaning is longer, in bytes.
const LONGEST: usize = 48;

/// Calls with each word, lower-cased, and where it ends, while told to go on.
fn each_word(part: &[u8], mut tell: impl FnMut(&[u8], usize) -> bool) {
    let mut start = None;
    let (mut last, mut command, mut sign) = (0_u8, false, 0);
    let ends = part.iter().copied().chain([b' ']).enumerate();
    for (place, byte) in ends {
        // Signs of Latin-1, punctuation of all scripts, and forms of full width, byte by byte.
        sign = match (byte, part.get(place + 1)) {
            (0xc2, _) => 2,
            (0xe2 | 0xef, _) | (0xe3, Some(0x80)) => 3,
            _ => usize::saturating_sub(sign, 1),
        };
        let letter = byte.is_ascii_alphabetic() || (byte >= 0x80 && sign == 0);
        // Not in "iPhone", which is no phone number.
        let turns = byte.is_ascii_uppercase() && last.is_ascii_lowercase();
        if let Some(from) = start
            && (!letter || (turns && from + 1 < place))
        {
            let word = part.get(from..place).unwrap_or_default();
            if !command && !told(word, place, &mut tell) {
                return;
            }
            start = None;
        }
        // A command of LaTeX says nothing of a number: "\text".
        if !letter {
            command = byte == b'\\';
        } else if start.is_none() {
            start = Some(place);
        }
        last = byte;
    }
}

/// Tells a word, or what stands in it when its script writes without spaces.
fn told(word: &[u8], place: usize, tell: &mut impl FnMut(&[u8], usize) -> bool) -> bool {
    if word.iter().any(|byte| (0xe3..=0xed).contains(byte)) {
        return told_within(word, place, tell);
    }
    let mut lower = [0_u8; LONGEST];
    let Some(lower) = lower.get_mut(..word.len()) else {
        return true;
    };
    lower.copy_from_slice(word);
    lower_case(lower);
    tell(lower, place)
}

/// Tells what stands in a run of characters of three bytes, the longest at each place.
fn told_within(word: &[u8], place: usize, tell: &mut impl FnMut(&[u8], usize) -> bool) -> bool {
    for start in 0..word.len() {
        let parts = [18, 15, 12, 9, 6].map(|length| word.get(start..start + length));
        let known = parts
            .into_iter()
            .flatten()
            .find(|part| !meaning(part).is_empty());
        if let Some(part) = known
            && !tell(part, place - word.len() + start + part.len())
        {
            return false;
        }
    }
    true
}

/// Lower case of ASCII, of the Latin letters with accents of Latin-1, and of Cyrillic.
fn lower_case(word: &mut [u8]) {
    word.make_ascii_lowercase();
    if word.is_ascii() {
        return;
    }
    let mut before: Option<&mut u8> = None;
    for second in word {
        if let Some(first) = before.take() {
            match (*first, *second) {
                (0xc3, 0x80..=0x9e) | (0xd0, 0x90..=0x9f) => *second += 0x20,
                (0xd0, 0xa0..=0xaf) => (*first, *second) = (0xd1, *second - 0x20),
                _ => {}
            }
        }
        before = Some(second);
    }
}
