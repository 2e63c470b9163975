//! In which letters a text is written.

use serde::{Deserialize, Serialize};

/// The writing system of most of a text's letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// There are no letters.
    #[default]
    None,
    Latin,
    Cyrillic,
    Greek,
    Arabic,
    Hebrew,
    Indic,
    Thai,
    /// Chinese; Japanese is [`Script::Kana`] as soon as there is any.
    Han,
    Kana,
    Hangul,
    Other,
}

impl Script {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::Latin,
        Self::Cyrillic,
        Self::Greek,
        Self::Arabic,
        Self::Hebrew,
        Self::Indic,
        Self::Thai,
        Self::Han,
        Self::Kana,
        Self::Hangul,
        Self::Other,
    ];

    /// As it is written in rules and in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Latin => "latin",
            Self::Cyrillic => "cyrillic",
            Self::Greek => "greek",
            Self::Arabic => "arabic",
            Self::Hebrew => "hebrew",
            Self::Indic => "indic",
            Self::Thai => "thai",
            Self::Han => "han",
            Self::Kana => "kana",
            Self::Hangul => "hangul",
            Self::Other => "other",
        }
    }

    /// That of most letters of `text`.
    pub fn of(text: &str) -> Self {
        let mut counts = [0_u32; Self::ALL.len()];
        for c in text.chars() {
            let script = Self::of_letter(c);
            if let Some(count) = counts.get_mut(script as usize) {
                *count = count.saturating_add(1);
            }
        }
        let count = |script: Self| counts.get(script as usize).copied().unwrap_or_default();
        let letters = Self::ALL.into_iter().filter(|script| *script != Self::None);
        let most = letters.max_by_key(|script| count(*script));
        match most.filter(|script| count(*script) > 0) {
            Some(Self::Han) if count(Self::Kana) > 0 => Self::Kana,
            found => found.unwrap_or_default(),
        }
    }

    /// By the blocks of Unicode 16.
    fn of_letter(c: char) -> Self {
        match c {
            'a'..='z' | 'A'..='Z' => Self::Latin,
            '\0'..='\u{bf}' => Self::None,
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Self::Latin,
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{590}'..='\u{5ff}' => Self::Hebrew,
            '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{fb50}'..='\u{fdff}' => Self::Arabic,
            '\u{900}'..='\u{dff}' => Self::Indic,
            '\u{e00}'..='\u{e7f}' => Self::Thai,
            '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => Self::Kana,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}' => {
                Self::Hangul
            }
            '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}' => {
                Self::Han
            }
            c if c.is_alphabetic() => Self::Other,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_letters_decide() {
        let cases = [
            ("What is the time?", Script::Latin),
            ("Wie spät ist es? Größe", Script::Latin),
            ("Который час? ok", Script::Cyrillic),
            ("现在几点了", Script::Han),
            ("今何時ですか", Script::Kana),
            ("지금 몇 시예요", Script::Hangul),
            ("كم الساعة", Script::Arabic),
            ("क्या समय हुआ है", Script::Indic),
            ("12:30 \u{1f600}", Script::None),
        ];
        for (text, script) in cases {
            assert_eq!(Script::of(text), script, "{text}");
        }
    }

    #[test]
    fn each_is_counted_in_its_place() {
        for (place, script) in Script::ALL.into_iter().enumerate() {
            assert_eq!(script as usize, place);
        }
    }
}
