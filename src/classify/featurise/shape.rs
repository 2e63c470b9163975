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
    /// How often each ASCII character occurs.
    ascii: [u32; 128],
    /// Letters and signs of each script beyond ASCII.
    scripts: [u32; 12],
    chars: u32,
    /// camelCase, calls, and lines that end as code does.
    code: u32,
    /// Signs of mathematics beyond ASCII.
    math: u32,
    indents: u32,
    sentences: u32,
    questions: u32,
    quotes: u32,
    colons: u32,
    pub numbers: u32,
    /// `()` occurs.
    calls: bool,
    /// `A)`, `A.` or `(a)` occurs: answers to choose from.
    options: bool,
    /// `:/` occurs.
    links: bool,
    /// `__` occurs: a gap to fill, or code.
    gaps: bool,
    /// An empty line occurs.
    paragraphs: bool,
    /// A line ends with a colon.
    announced: bool,
    before: u8,
}

impl Shape {
    pub fn new(text: &str) -> Self {
        Self {
            length: text.len(),
            ascii: [0; 128],
            scripts: [0; 12],
            chars: 0,
            code: 0,
            math: 0,
            indents: 0,
            sentences: 0,
            questions: 0,
            quotes: 0,
            colons: 0,
            numbers: 0,
            calls: false,
            options: false,
            links: false,
            gaps: false,
            paragraphs: false,
            announced: false,
            before: b'\n',
        }
    }

    /// Counts an ASCII character.
    #[inline]
    pub fn ascii(&mut self, c: u8) {
        if let Some(count) = self.ascii.get_mut(usize::from(c)) {
            *count += 1;
        }
        let before = std::mem::replace(&mut self.before, c);
        if c.is_ascii_lowercase() {
            return;
        }
        match c {
            b'A'..=b'Z' => self.code += u32::from(before.is_ascii_lowercase()),
            b'(' => self.code += u32::from(before.is_ascii_alphanumeric()),
            b')' => {
                self.calls |= before == b'(';
                self.options |= matches!(before, b'A' | b'a');
            }
            b'.' => self.options |= before == b'A',
            b'/' => self.links |= before == b':',
            b'_' => self.gaps |= before == b'_',
            b'\n' => {
                self.code += u32::from(matches!(before, b';' | b'{' | b')'));
                self.paragraphs |= before == b'\n';
                self.announced |= before == b':';
            }
            b' ' | b'\t' => self.indents += u32::from(before == b'\n'),
            _ => {}
        }
    }

    /// Counts any other character.
    pub fn beyond(&mut self, c: char, script: Script) {
        self.chars += 1;
        self.before = b'a';
        match c {
            '。' | '।' | '！' => self.sentences += 1,
            '？' | '؟' => self.questions += 1,
            '“' | '”' | '«' | '»' | '「' | '」' => self.quotes += 1,
            '：' => self.colons += 1,
            '×' | '÷' | '√' | '∫' | '∑' | '≤' | '≥' | 'π' | '²' | '³' | '∈' | '≠' =>
            {
                self.math += 2;
            }
            _ => {}
        }
        if let Some(count) = self.scripts.get_mut(script as usize) {
            *count += u32::from(script != Script::Ascii);
        }
    }

    /// How often the ASCII characters of a set occur.
    fn of(&self, set: &[u8]) -> u32 {
        let counts = set.iter().filter_map(|c| self.ascii.get(usize::from(*c)));
        counts.sum()
    }

    fn range(&self, from: u8, to: u8) -> u32 {
        let range = usize::from(from)..=usize::from(to);
        self.ascii
            .get(range)
            .map_or(0, |counts| counts.iter().sum())
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
        let chars = self.chars + self.range(0, 127);
        let capitals = self.range(b'A', b'Z');
        let letters = capitals + self.range(b'a', b'z');
        let code = self.code + self.of(b"{};[]_<>`#|&@=");
        let math = self.math + self.of(b"=^+*/\\$%");
        let blanks = self.of(b" \t");
        let questions = self.questions + self.of(b"?");
        put(1, per_mille(self.range(b'0', b'9'), chars));
        put(2, per_mille(code, chars));
        put(3, per_mille(math, chars));
        put(4, few(self.numbers));
        put(5, few(self.of(b"\n")));
        put(6, few(self.sentences + self.of(b".!")));
        put(7, few(questions));
        put(8, few(self.quotes + self.of(b"\"")));
        put(9, per_mille(capitals, letters.max(1)));
        put(10, few(self.indents));
        put(11, few(self.colons + self.of(b":")));
        let last = text.trim_end().chars().next_back().unwrap_or(' ');
        let asks = matches!(last, '?' | '？' | '؟');
        put(12 + usize::from(asks), length);
        let numbers = self.numbers.min(7) as usize;
        put(14, numbers * 2 + usize::from(asks));
        self.scripts_into(letters, &mut put);
        self.flags(text, last, capitals == 0 && letters > 0, &mut put);
        put(19, usize::from(self.length > 400 && self.of(b"\n") > 2));
        put(20, (letters * 2 / (blanks + 1)) as usize);
    }

    fn flags(&self, text: &str, last: char, small: bool, put: &mut impl FnMut(usize, usize)) {
        let first = text.trim_start().chars().next().unwrap_or(' ');
        let flags = [
            first.is_lowercase(),
            small,
            matches!(last, '.' | '。' | '!' | '।'),
            matches!(last, ':' | '：' | '='),
            matches!(last, '}' | ';' | ')' | '`'),
            last.is_alphanumeric(),
            self.of(b"`") > 2,
            self.links,
            self.announced,
            self.paragraphs,
            self.options,
            self.of(b"$\\") > 0,
            self.gaps || self.calls,
            first.is_numeric() || first == '(',
            first == '"' || first == '“',
        ];
        for (at, flag) in flags.into_iter().enumerate() {
            if flag {
                put(18, at);
            }
        }
    }

    fn scripts_into(&self, ascii: u32, put: &mut impl FnMut(usize, usize)) {
        let [_, foreign @ ..] = &self.scripts;
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
