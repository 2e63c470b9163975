//! The words of a text, each as a hash, counted by the way into its shape.

use super::shape::Shape;

/// Where a cue in letters is cut to its stem.
pub const STEM: u32 = 5;

/// One word, number, mark, line end, or character of a script without spaces.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    pub hash: u32,
    /// The hash of its first [`STEM`] letters, if it has more.
    pub stem: Option<u32>,
    /// The class of keywords that it belongs to; 0 is none.
    pub cue: u8,
}

/// The writing systems that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Ascii,
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    Indic,
    Thai,
    Han,
    Kana,
    Hangul,
    Other,
}

const BASIS: u32 = 0x811c_9dc5;
const STEM_TAG: u32 = 0x3c6e_f372;

/// One step of FNV-1a, over a character.
fn step(hash: u32, c: u32) -> u32 {
    (hash ^ c).wrapping_mul(0x0100_0193)
}

/// What a character is to the words.
#[derive(Clone, Copy)]
enum Class {
    Letter(u32, Script),
    /// A word of its own.
    Sign(u32, Script),
    Digit,
    Joint,
    Blank,
    Mark(u32),
    Nothing,
}

#[derive(Default)]
struct Run {
    hash: u32,
    stem: u32,
    letters: u32,
}

impl Run {
    fn letter(&mut self, c: u32) {
        if self.letters == 0 {
            self.hash = BASIS;
        }
        if self.letters == STEM {
            self.stem = self.hash;
        }
        self.hash = step(self.hash, c);
        self.letters += 1;
    }

    fn end(&mut self, words: &mut Vec<Word>) {
        if self.letters == 0 {
            return;
        }
        words.push(Word {
            hash: self.hash,
            stem: (self.letters > STEM).then_some(self.stem ^ STEM_TAG),
            cue: 0,
        });
        self.letters = 0;
    }
}

/// Adds the words of `text`.
pub fn words(text: &str, words: &mut Vec<Word>, shape: &mut Shape) {
    let mut run = Run::default();
    let mut digits = 0_u32;
    let mut mark = 0_u32;
    for c in text.chars() {
        let class = match ASCII.get(c as usize) {
            Some(class) => {
                shape.ascii(c as u8);
                *class
            }
            None => {
                let class = beyond_ascii(c);
                shape.beyond(c, script_of(class));
                class
            }
        };
        if let (Class::Letter(c, _), 0) = (class, digits) {
            run.letter(c);
            mark = 0;
            continue;
        }
        if digits > 0 && !matches!(class, Class::Digit) {
            words.push(number(digits, shape));
            digits = 0;
        }
        let before = std::mem::take(&mut mark);
        match class {
            Class::Letter(c, _) => run.letter(c),
            Class::Joint | Class::Nothing => mark = before,
            Class::Digit if run.letters > 0 => run.letter(u32::from(c)),
            Class::Digit => digits += 1,
            Class::Blank => run.end(words),
            Class::Sign(c, _) => {
                run.end(words);
                words.push(single(c));
            }
            Class::Mark(sign) => {
                run.end(words);
                if sign != before {
                    words.push(single(sign));
                }
                mark = sign;
            }
        }
    }
    if digits > 0 {
        words.push(number(digits, shape));
    }
    run.end(words);
}

/// A number, by how many digits it has.
fn number(digits: u32, shape: &mut Shape) -> Word {
    shape.numbers += 1;
    single(0x0100_0000 + digits.min(6))
}

fn single(sign: u32) -> Word {
    Word {
        hash: step(BASIS, sign),
        stem: None,
        cue: 0,
    }
}

fn script_of(class: Class) -> Script {
    match class {
        Class::Letter(_, script) | Class::Sign(_, script) => script,
        _ => Script::Ascii,
    }
}

/// What each ASCII character is.
static ASCII: [Class; 128] = {
    let mut table = [Class::Blank; 128];
    let mut code = 0_u8;
    while code < 128 {
        #[expect(
            clippy::indexing_slicing,
            reason = "below 128, and done by the compiler"
        )]
        {
            table[code as usize] = match code {
                b'a'..=b'z' => Class::Letter(code as u32, Script::Ascii),
                b'A'..=b'Z' => Class::Letter(code as u32 | 0x20, Script::Ascii),
                b'0'..=b'9' => Class::Digit,
                b' ' | b'\t' | b'\r' => Class::Blank,
                b'\'' => Class::Joint,
                _ => Class::Mark(code as u32),
            };
        }
        code += 1;
    }
    table
};

/// Full-width and typographic marks count as their ASCII ones.
fn beyond_ascii(c: char) -> Class {
    let code = u32::from(c);
    match c {
        '’' | 'ʼ' => Class::Joint,
        '“' | '”' | '„' | '«' | '»' | '「' | '」' | '『' | '』' => {
            Class::Mark(u32::from(b'"'))
        }
        '？' | '؟' => Class::Mark(u32::from(b'?')),
        '！' => Class::Mark(u32::from(b'!')),
        '。' | '।' => Class::Mark(u32::from(b'.')),
        '，' | '、' | '،' => Class::Mark(u32::from(b',')),
        '：' => Class::Mark(u32::from(b':')),
        '–' | '—' => Class::Mark(u32::from(b'-')),
        '\u{a0}' | '\u{3000}' | '\u{2000}'..='\u{200a}' => Class::Blank,
        '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{652}' | '\u{200b}'..='\u{200f}' | '\u{640}' => {
            Class::Nothing
        }
        '\u{ff10}'..='\u{ff19}' => Class::Digit,
        _ => match script(code) {
            Some(Script::Latin) => Class::Letter(folded(code), Script::Latin),
            Some(script @ (Script::Thai | Script::Han | Script::Hangul)) => {
                Class::Sign(code, script)
            }
            // Katakana words are long, hiragana ones are endings.
            Some(Script::Kana) if code < 0x30a0 => Class::Sign(code, Script::Kana),
            Some(Script::Greek) => Class::Letter(lower(c), Script::Greek),
            Some(Script::Cyrillic) => Class::Letter(lower(c), Script::Cyrillic),
            Some(script) => Class::Letter(code, script),
            None => Class::Mark(code),
        },
    }
}

fn lower(c: char) -> u32 {
    c.to_lowercase().next().map_or(0, u32::from)
}

fn script(code: u32) -> Option<Script> {
    Some(match code {
        0xc0..=0x24f | 0x1e00..=0x1eff => Script::Latin,
        0x370..=0x3ff => Script::Greek,
        0x400..=0x52f => Script::Cyrillic,
        0x590..=0x5ff => Script::Hebrew,
        0x600..=0x77f | 0xfb50..=0xfdff | 0xfe70..=0xfeff => Script::Arabic,
        0x900..=0xdff => Script::Indic,
        0xe00..=0xeff => Script::Thai,
        0x3040..=0x30ff => Script::Kana,
        0x3400..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff => Script::Han,
        0xac00..=0xd7af | 0x1100..=0x11ff | 0x3130..=0x318f => Script::Hangul,
        0x500..=0x1fff | 0xa000..=0xabff => Script::Other,
        _ => return None,
    })
}

/// The letter without its accent, for U+00C0 to U+017F and Vietnamese; people type without them.
fn folded(code: u32) -> u32 {
    const TO: &[u8; 192] = b"aaaaaaaceeeeiiiidnooooo*ouuuuypsaaaaaaaceeeeiiiidnooooo/ouuuuypy\
aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
    let at = code.checked_sub(0xc0).map(|at| at as usize);
    if let Some(to) = at.and_then(|at| TO.get(at)) {
        return u32::from(*to);
    }
    u32::from(match code {
        0x1ea0..=0x1eb7 => b'a',
        0x1eb8..=0x1ec7 => b'e',
        0x1ec8..=0x1ecb => b'i',
        0x1ecc..=0x1ee3 | 0x1a0 | 0x1a1 => b'o',
        0x1ee4..=0x1ef1 | 0x1af | 0x1b0 => b'u',
        0x1ef2..=0x1ef9 => b'y',
        0x218 | 0x219 => b's',
        0x21a | 0x21b => b't',
        _ => return code,
    })
}
