//! Own prompts, made from templates: what collections of benchmarks lack.
//!
//! Short, colloquial, misspelt, in eighteen languages, with long pasted texts; every kind in each
//! language, so that a script or a language says nothing about the kind. The same seed gives the same
//! prompts.

use super::super::judgement::Kind;
use super::super::steady::Draws;
use super::rows::KindRow;
use std::collections::BTreeMap;

const ENGLISH: &str = include_str!("templates_en.txt");
const WEST: &str = include_str!("templates_west.txt");
const FAR: &str = include_str!("templates_far.txt");
const CODE: &str = include_str!("templates_code.txt");

/// What they are called among the sources.
pub const SOURCE: &str = "own_templates";

/// Patterns and what fills them, of one language.
#[derive(Debug, Default)]
struct Language {
    name: String,
    slots: BTreeMap<String, Vec<String>>,
    patterns: Vec<(Kind, String)>,
}

/// How many prompts are made.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// From each English pattern.
    pub english: usize,
    /// From each pattern of another language.
    pub others: usize,
}

/// Makes the prompts.
#[must_use]
pub fn prompts(amount: Amount, seed: u64) -> Vec<KindRow> {
    let languages = languages();
    let codes: Vec<String> = CODE.lines().map(unescaped).collect();
    let mut maker = Maker {
        languages: &languages,
        codes: &codes,
        draws: Draws(seed),
    };
    let mut rows = Vec::new();
    for language in &languages {
        let count = match language.name.as_str() {
            "en" => amount.english,
            _ => amount.others,
        };
        for (kind, pattern) in &language.patterns {
            // A pattern without a slot has fewer faces.
            let count = if pattern.contains('{') {
                count
            } else {
                count.div_ceil(2)
            };
            for _ in 0..count {
                let prompt = maker.filled(pattern, language, 0);
                let prompt = maker.worn(prompt, *kind, language);
                rows.push(KindRow {
                    kind: *kind,
                    source: format!("{SOURCE}_{}", language.name),
                    licence: "own".to_owned(),
                    prompt,
                });
            }
        }
    }
    rows
}

fn unescaped(line: &str) -> String {
    line.replace("\\n", "\n").replace("\\t", "\t")
}

fn languages() -> Vec<Language> {
    let mut found: Vec<Language> = Vec::new();
    let mut section = String::new();
    let lines = ["[lang en]"].into_iter();
    let lines = lines.chain(ENGLISH.lines()).chain(WEST.lines());
    for line in lines
        .chain(FAR.lines())
        .filter(|line| !line.starts_with("# "))
    {
        if let Some(head) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            if let Some(name) = head.strip_prefix("lang ") {
                found.push(Language {
                    name: name.to_owned(),
                    ..Language::default()
                });
            }
            head.clone_into(&mut section);
            continue;
        }
        let Some(language) = found.last_mut() else {
            continue;
        };
        if let Some(slot) = section.strip_prefix("slot ") {
            let values = line.split('|').map(str::to_owned);
            language
                .slots
                .entry(slot.to_owned())
                .or_default()
                .extend(values);
        } else if let Some(kind) = Kind::named(&section) {
            language.patterns.push((kind, unescaped(line)));
        }
    }
    found
}

struct Maker<'a> {
    languages: &'a [Language],
    codes: &'a [String],
    draws: Draws,
}

impl<'a> Maker<'a> {
    fn one<'b>(&mut self, values: &'b [String]) -> &'b str {
        let at = self.draws.below(values.len());
        values.get(at).map_or("", String::as_str)
    }

    fn filled(&mut self, pattern: &str, language: &'a Language, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            match after.split_once('}') {
                Some((name, after))
                    if name.bytes().all(|c| c.is_ascii_lowercase()) && depth < 3 =>
                {
                    let value = self.slot(name, language, depth);
                    out.push_str(&value);
                    rest = after;
                }
                _ => {
                    out.push('{');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn slot(&mut self, name: &str, language: &'a Language, depth: usize) -> String {
        match name {
            "n" => (self.draws.below(98) + 2).to_string(),
            "year" => (self.draws.below(90) + 1934).to_string(),
            "code" => {
                let codes = self.codes;
                self.one(codes).to_owned()
            }
            "long" => self.long(language),
            "foreign" => {
                let others = self.languages;
                let at = self.draws.below(others.len());
                match others.get(at) {
                    Some(other) if other.name != language.name => {
                        self.slot("sent", other, depth + 1)
                    }
                    _ => self.slot("phrase", language, depth + 1),
                }
            }
            _ => {
                let english = self.languages.first();
                let of = |language: &'a Language| language.slots.get(name);
                let values = of(language).or_else(|| english.and_then(of));
                let value = values.map_or("", |values| self.one(values));
                self.filled(value, language, depth + 1)
            }
        }
    }

    /// Two to nine sentences, as one pastes them; sometimes many more.
    fn long(&mut self, language: &'a Language) -> String {
        let mut count = 2 + self.draws.below(5);
        if self.draws.below(8) == 0 {
            count += 12;
        }
        // People paste English under instructions in their own language.
        let foreign = language.name != "en" && self.draws.below(5) == 0;
        let from = match foreign {
            true => self.languages.first().unwrap_or(language),
            false => language,
        };
        let gap = if self.draws.below(5) == 0 { "\n" } else { " " };
        let sentences: Vec<String> = (0..count).map(|_| self.slot("sent", from, 1)).collect();
        sentences.join(gap)
    }

    /// As people type: without capitals or the last mark, with a slip, with a word before or after.
    fn worn(&mut self, mut prompt: String, kind: Kind, language: &Language) -> String {
        let coded = kind == Kind::Code && prompt.contains('\n');
        if self.draws.below(4) == 0 && !coded {
            prompt = prompt.to_lowercase();
        }
        if self.draws.below(4) == 0 {
            let cut = prompt.trim_end_matches(['?', '.', '？', '。', '؟']).len();
            prompt.truncate(cut);
        }
        if self.draws.below(8) == 0 && !coded {
            prompt = self.slip(&prompt);
        }
        if language.name == "en" && kind != Kind::Chat && self.draws.below(6) == 0 {
            const BEFORE: [&str; 10] = [
                "hey, ",
                "Please ",
                "Hi! ",
                "Can you help me? ",
                "I have a question: ",
                "pls ",
                "Hello, I need help. ",
                "You are a helpful assistant.\n\n",
                "quick one: ",
                "For a school project: ",
            ];
            let at = self.draws.below(BEFORE.len());
            prompt.insert_str(0, BEFORE.get(at).copied().unwrap_or_default());
        }
        if language.name == "en" && kind != Kind::Chat && self.draws.below(12) == 0 {
            const AFTER: [&str; 6] = [
                " thanks",
                "\n\nKeep it short.",
                " Be concise.",
                " please",
                "\nThanks in advance!",
                " Explain your answer.",
            ];
            let at = self.draws.below(AFTER.len());
            prompt.push_str(AFTER.get(at).copied().unwrap_or_default());
        }
        prompt
    }

    /// Two letters in the wrong order, or one left out.
    fn slip(&mut self, prompt: &str) -> String {
        let mut letters: Vec<char> = prompt.chars().collect();
        let at = self.draws.below(letters.len().saturating_sub(1));
        let both = letters.get(at..at + 2).unwrap_or_default();
        if both.iter().all(|c| c.is_ascii_lowercase()) && both.len() == 2 {
            match self.draws.below(2) {
                0 => letters.swap(at, at + 1),
                _ => drop(letters.remove(at)),
            }
        }
        letters.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const AMOUNT: Amount = Amount {
        english: 2,
        others: 2,
    };

    #[test]
    fn every_kind_in_every_language() {
        for language in languages() {
            let kinds: BTreeSet<Kind> = language.patterns.iter().map(|(kind, _)| *kind).collect();
            assert_eq!(kinds.len(), Kind::ALL.len(), "{}", language.name);
        }
        assert!(languages().len() >= 9);
    }

    #[test]
    fn the_same_every_time_and_filled() {
        let rows = prompts(AMOUNT, 1);
        let again = prompts(AMOUNT, 1);
        assert!(rows.len() > 1000);
        for (row, other) in rows.iter().zip(&again) {
            assert_eq!(row.prompt, other.prompt);
            assert!(!row.prompt.is_empty());
            for slot in ["{topic}", "{n}", "{sent}", "{long}", "{noun}", "{name}"] {
                assert!(!row.prompt.contains(slot), "{}", row.prompt);
            }
        }
        assert!(
            rows.iter()
                .zip(prompts(AMOUNT, 2))
                .any(|(a, b)| a.prompt != b.prompt)
        );
    }
}
