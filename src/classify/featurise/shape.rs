//! The shape of a text: what can be told without reading it.

use super::words::Script;
use super::{Group, Sink};

/// Rows of one property.
const STEPS: usize = 16;
/// How many properties there are.
const PROPERTIES: usize = 24;
pub const ROWS: usize = STEPS * PROPERTIES;

/// Counts over what is read of a text.
#[derive(Debug)]
pub struct Shape {
    /// Of the whole text, in bytes.
    length: usize,
    chars: u32,
    letters: u32,
    capitals: u32,
    digits: u32,
    code: u32,
    math: u32,
    lines: u32,
    indents: u32,
    sentences: u32,
    questions: u32,
    quotes: u32,
    colons: u32,
    blanks: u32,
    pub numbers: u32,
    scripts: [u32; 12],
    before: char,
}

impl Shape {
    pub fn new(text: &str) -> Self {
        Self {
            length: text.len(),
            chars: 0,
            letters: 0,
            capitals: 0,
            digits: 0,
            code: 0,
            math: 0,
            lines: 0,
            indents: 0,
            sentences: 0,
            questions: 0,
            quotes: 0,
            colons: 0,
            blanks: 0,
            numbers: 0,
            scripts: [0; 12],
            before: '\n',
        }
    }

    pub fn count(&mut self, c: char, script: Script) {
        self.chars += 1;
        match c {
            'a'..='z' => self.letters += 1,
            'A'..='Z' => {
                self.letters += 1;
                self.capitals += 1;
                // camelCase is code's.
                self.code += u32::from(self.before.is_ascii_lowercase());
            }
            '0'..='9' => self.digits += 1,
            ' ' | '\t' => {
                self.blanks += 1;
                self.indents += u32::from(self.before == '\n');
            }
            '\n' => {
                self.lines += 1;
                self.code += u32::from(matches!(self.before, ';' | '{' | ')'));
            }
            '{' | '}' | ';' | '[' | ']' | '_' | '<' | '>' | '`' | '#' | '|' | '&' | '@' => {
                self.code += 1;
            }
            '(' => self.code += u32::from(self.before.is_ascii_alphanumeric()),
            '=' => {
                self.code += 1;
                self.math += 1;
            }
            '^' | '+' | '*' | '/' | '\\' | '$' | '%' => self.math += 1,
            '.' | '!' | '。' => self.sentences += 1,
            '?' | '？' | '؟' => self.questions += 1,
            '"' | '“' | '”' | '«' | '»' | '「' | '」' => self.quotes += 1,
            ':' | '：' => self.colons += 1,
            '×' | '÷' | '√' | '∫' | '∑' | '≤' | '≥' | 'π' | '²' | '³' | '∈' | '≠' =>
            {
                self.math += 2;
            }
            _ => {}
        }
        if let Some(count) = self.scripts.get_mut(script as usize) {
            *count += 1;
        }
        self.before = c;
    }

    /// Hands over the rows of all properties.
    pub fn rows(&self, text: &str, sink: &mut impl Sink) {
        let mut put = |property: usize, step: usize| {
            let row = property * STEPS + step.min(STEPS - 1);
            sink.take(Group::Dense, row as u32);
        };
        let length = half_octaves(self.length);
        // A thermometer: what is longer is also as long, so that the steps between are smooth.
        for step in 0..=length {
            put(0, step);
        }
        put(1, per_mille(self.digits, self.chars));
        put(2, per_mille(self.code, self.chars));
        put(3, per_mille(self.math, self.chars));
        put(4, few(self.numbers));
        put(5, few(self.lines));
        put(6, few(self.sentences));
        put(7, few(self.questions));
        put(8, few(self.quotes));
        put(9, per_mille(self.capitals, self.letters.max(1)));
        put(10, few(self.indents));
        put(11, few(self.colons));
        let last = text.trim_end().chars().next_back().unwrap_or(' ');
        let asks = matches!(last, '?' | '？' | '؟');
        put(12 + usize::from(asks), length);
        let numbers = self.numbers.min(7) as usize;
        put(14, numbers * 2 + usize::from(asks));
        self.scripts_into(&mut put);
        self.flags(text, last, &mut put);
        put(20, (self.letters * 2 / (self.blanks + 1)) as usize);
    }

    fn scripts_into(&self, put: &mut impl FnMut(usize, usize)) {
        let [ascii, foreign @ ..] = &self.scripts;
        let ascii = (*ascii).min(self.letters);
        let sum: u32 = foreign.iter().sum();
        // Signs weigh more than letters: a word has one or two of them.
        let most = foreign
            .iter()
            .enumerate()
            .max_by_key(|(at, count)| (**count, 12 - at));
        let main = match most {
            Some((at, count)) if *count > 0 => at + 1,
            _ => 0,
        };
        put(15, main);
        put(16, (sum * 10 / (sum + ascii).max(1)) as usize);
        let latin = self.scripts.get(1).copied().unwrap_or(0);
        let other = sum - latin;
        let mixed = other * 8 > ascii && ascii > 8 && other > 2;
        put(17, usize::from(mixed) + usize::from(mixed && ascii > other));
    }

    fn flags(&self, text: &str, last: char, put: &mut impl FnMut(usize, usize)) {
        let head = text.get(..text.floor_char_boundary(512)).unwrap_or(text);
        let first = head.trim_start().chars().next().unwrap_or(' ');
        let flags = [
            first.is_lowercase(),
            self.capitals == 0 && self.letters > 0,
            matches!(last, '.' | '。' | '!' | '।'),
            matches!(last, ':' | '：' | '='),
            matches!(last, '}' | ';' | ')' | '`'),
            last.is_alphanumeric(),
            head.contains("```"),
            head.contains("http"),
            head.contains(":\n"),
            head.contains("\n\n"),
            head.contains("A)") || head.contains("A.") || head.contains("(a)"),
            head.contains("\\frac") || head.contains('$'),
            head.contains("__") || head.contains("def ") || head.contains("();"),
            first.is_numeric() || first == '(',
            first == '"' || first == '“',
        ];
        for (at, flag) in flags.into_iter().enumerate() {
            if flag {
                put(18, at);
            }
        }
        put(19, usize::from(self.length > 400 && self.lines > 2));
    }
}

/// 0 below 12 bytes, then two steps for each doubling; 15 from 2 KB on.
fn half_octaves(bytes: usize) -> usize {
    const FROM: [usize; 15] = [
        12, 20, 32, 45, 64, 90, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048,
    ];
    FROM.iter().take_while(|from| bytes >= **from).count()
}

/// 0 for none, then steps of about a doubling.
fn per_mille(part: u32, whole: u32) -> usize {
    const FROM: [u32; 9] = [1, 5, 10, 20, 40, 70, 120, 200, 400];
    if part == 0 {
        return 0;
    }
    let share = (part * 1000 / whole.max(1)).max(1);
    FROM.iter().take_while(|from| share >= **from).count()
}

/// 0, 1, 2, 3 to 4, 5 to 8, and so on.
fn few(count: u32) -> usize {
    match count {
        0..=2 => count as usize,
        _ => (2 + (count - 1).ilog2()) as usize,
    }
}
