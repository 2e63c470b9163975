//! How fast text is scanned for personal details, and, on labelled data, how well.
//!
//! Speed is given beside the check of UTF-8 in the standard library and `memchr` of a byte that is not
//! there, over the same text, since megabytes a second say more about a machine than about a scanner.
//! The text is drawn from a few sentences, lines of a log and lines of code, or is what `--data` holds.
//!
//! Run with `cargo bench --bench pii -- [--data FILE...] [--misses]`. A file has a JSON object a line: its
//! `text` (or `prompt`), and its `spans`, each with `type`, `start` and `end` in characters. What is
//! found counts when it overlaps a span of its type that nothing else was found in. Types that start
//! with `X_` are of things that are not looked for: they count neither way.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a bench prints, has nobody to give its errors to, and divides counts"
)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;
use tollgate::pii::{Group, Kind, scan, spans};

/// Bytes that are scanned at once.
const CHUNK: usize = 1 << 18;
const ROUNDS: usize = 9;

/// What a kind is called in labelled data.
fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Email => "EMAIL",
        Kind::Phone => "PHONE",
        Kind::IpAddress => "IP",
        Kind::PaymentCard => "CREDIT_CARD",
        Kind::Iban => "IBAN",
        Kind::Passport => "PASSPORT",
        Kind::DrivingLicence => "X_US_DRIVER_LICENSE",
        Kind::UsSsn | Kind::UsItin => "US_SSN",
        kind if kind.group() == Group::Secret => "SECRET",
        kind => kind.name(),
    }
}

struct Row {
    text: String,
    /// Type, start and end in bytes.
    wanted: Vec<(String, usize, usize)>,
}

fn row(line: &str) -> Row {
    let value: Value = serde_json::from_str(line).expect("a JSON object a line");
    let text = value.get("text").or_else(|| value.get("prompt"));
    let text = text.and_then(Value::as_str).expect("a text").to_owned();
    let ends = text
        .char_indices()
        .map(|(place, _)| place)
        .chain([text.len()]);
    let ends: Vec<usize> = ends.collect();
    let place = |span: &Value, name: &str| {
        let place = span.get(name).and_then(Value::as_u64).unwrap_or(0);
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        ends.get(place).copied().unwrap_or(text.len())
    };
    let spans = value.get("spans").and_then(Value::as_array);
    let wanted = spans.into_iter().flatten().map(|span| {
        let kind = span.get("type").and_then(Value::as_str).unwrap_or_default();
        (kind.to_owned(), place(span, "start"), place(span, "end"))
    });
    let wanted = wanted.collect();
    Row { text, wanted }
}

#[derive(Clone, Copy, Default)]
struct Score {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Score {
    fn line(self, name: &str) {
        let share = |of: usize| self.right as f64 / (self.right + of).max(1) as f64;
        let (precision, recall) = (share(self.wrong), share(self.missed));
        println!(
            "    {name:20} {:6} right {:5} wrong {:5} missed   precision {precision:.4} recall {recall:.4}",
            self.right, self.wrong, self.missed
        );
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }
}

fn judge(rows: &[Row], misses: bool) {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let (mut clean, mut alarms) = (0_usize, 0_usize);
    for Row { text, wanted } in rows {
        let found = spans(text.as_bytes());
        let bare = wanted.iter().all(|(kind, ..)| kind.starts_with("X_"));
        clean += usize::from(bare);
        alarms += usize::from(bare && !found.is_empty());
        let mut open: Vec<_> = wanted.iter().collect();
        for span in found {
            let name = label(span.kind);
            let hit = open.iter().position(|(kind, start, end)| {
                kind == name && *start < span.range.end && span.range.start < *end
            });
            let score = scores.entry(name.to_owned()).or_default();
            match hit {
                Some(place) => {
                    open.swap_remove(place);
                    score.right += 1;
                }
                None => {
                    score.wrong += 1;
                    if misses {
                        println!("    wrong {name}: {:?}", text.get(span.range));
                    }
                }
            }
        }
        for (kind, start, end) in open {
            scores.entry(kind.clone()).or_default().missed += 1;
            if misses && !kind.starts_with("X_") {
                println!("    missed {kind}: {:?}", text.get(*start..*end));
            }
        }
    }
    let (mut all, mut without_phone) = (Score::default(), Score::default());
    for (name, score) in scores
        .into_iter()
        .filter(|(name, _)| !name.starts_with("X_"))
    {
        score.line(&name);
        all.add(score);
        if name != "PHONE" {
            without_phone.add(score);
        }
    }
    all.line("all");
    without_phone.line("all without PHONE");
    let rate = alarms as f64 / clean.max(1) as f64;
    println!("    {clean} texts have none; something was found in {alarms} of them ({rate:.4})");
}

/// The best of some rounds over each part of a text, in megabytes a second.
fn speed(text: &str, mut run: impl FnMut(&[u8])) -> f64 {
    let mut seconds = 0.0;
    for part in text.as_bytes().chunks(CHUNK) {
        let once = |_| {
            let start = Instant::now();
            run(black_box(part));
            start.elapsed().as_secs_f64()
        };
        seconds += (0..ROUNDS).map(once).fold(f64::INFINITY, f64::min);
    }
    text.len() as f64 / seconds / 1e6
}

fn race(name: &str, text: &str) {
    let scanned = speed(text, |part| {
        black_box(scan(part));
    });
    let checked = speed(text, |part| {
        black_box(std::str::from_utf8(part).is_ok());
    });
    let searched = speed(text, |part| {
        black_box(memchr::memchr(1, part));
    });
    let (ratio, kilobytes) = (checked / scanned, text.len() / 1000);
    println!(
        "{name} ({kilobytes} kB): {scanned:.0} MB/s; UTF-8 check {checked:.0} MB/s ({ratio:.1} times), memchr {searched:.0} MB/s"
    );
}

/// Two megabytes of lines, in an order that every run repeats.
fn written(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut state = 7_usize;
    while text.len() < 2_000_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text.push_str(
            lines
                .get((state >> 33) % lines.len())
                .copied()
                .unwrap_or_default(),
        );
        text.push('\n');
    }
    text
}

const PROSE: [&str; 5] = [
    "The committee met on Tuesday to discuss what had been left open in the spring: funding, staff, and the roof.",
    "Could you summarise the second chapter in about 200 words, and say which of its claims the author goes back on?",
    "In 1969, after eleven years of work, the bridge was opened; it had cost 3.4 million, twice what was planned.",
    "Write a short story in which a lighthouse keeper finds a letter that was not meant for him.",
    "Explain why the sky is blue to a child of six, then to a student of physics - each in three sentences.",
];
const LOG: [&str; 4] = [
    "2026-03-05T13:55:36.123456Z INFO request 316db0c2-63ac-4c3d-a85b-2c102e001c9c took 1843 us, status=200",
    "2026-03-05 13:55:36,871 WARN  [worker-12] retry 3/5 of job 8274619 after 500 ms: connection reset",
    "GET /api/v2/items/48213/thumb.png?size=640x480 HTTP/1.1 304 0 10.0.3.17 Mozilla/5.0 Chrome/120.0.6099.109",
    "kernel: [12345.678901] eth0: link up, 1000 Mbps, full duplex, mac fc:62:4d:1e:12:b5",
];
const CODE: [&str; 6] = [
    "    let rest = self.bytes.get(start..end).unwrap_or_default();",
    "pub const MAX_FRAME_SIZE: usize = 16_384; // RFC 9113, 4.2",
    "def merge(left: list[int], right: list[int], key=lambda x: x[0]) -> list[int]:",
    "    for i in range(0, len(items), 16): total += items[i].price * 1.19",
    "if (err != null && err.code === 'ECONNRESET') { return retry(fn, n - 1); }",
    "SELECT u.id, count(*) AS n FROM users u JOIN orders o ON o.user_id = u.id GROUP BY 1;",
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let misses = words.iter().any(|word| word == "--misses");
    let files = words.iter().skip_while(|word| *word != "--data").skip(1);
    for (name, lines) in [
        ("prose", &PROSE[..]),
        ("log", &LOG[..]),
        ("code", &CODE[..]),
    ] {
        race(name, &written(lines));
    }
    for path in files.filter(|word| !word.starts_with("--")) {
        let body = std::fs::read_to_string(path).expect("the file can be read");
        let rows: Vec<Row> = body.lines().map(row).collect();
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        race(path, &texts.join("\n"));
        judge(&rows, misses);
    }
}
