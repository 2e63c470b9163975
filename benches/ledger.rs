//! How many entries a second the ledger takes, and how soon it answers.
//!
//! An entry is an intent, one attempt and a settlement, of one of 10,000 users, each under a
//! request id of its own; the entries are spread evenly over a day. Then it is asked what one
//! user spent on embeddings in the last hour of it, which no roll-up answers alone, since that
//! hour begins between two full ones; and for one request's story.
//!
//! Run with `cargo bench --bench ledger -- --entries 10000000 [--directory DIR]`. The file is
//! made in DIR (the system's directory for temporary files) and removed at the end.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench prints, and has nobody to give its errors to"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollgate::chat::Usage;
use tollgate::ledger::{
    Attempt, Durability, Filter, Intent, Ledger, Need, Question, Reader, Settings, Settlement,
    UsageSource,
};
use tollgate::units::{MicroUsd, Moment};

const USERS: u64 = 10_000;
const ASKED: &str = "8473";
const DAY: u64 = 86_400_000_000;
/// 2026-11-01T00:30:00Z, so that no stretch of whole hours before its end is one of roll-ups.
const START: u64 = 1_793_493_000_000_000;
const ENDPOINTS: [&str; 3] = ["chat_completions", "embeddings", "responses"];

struct Names {
    users: Vec<Arc<str>>,
    keys: Vec<Arc<str>>,
    models: Vec<Arc<str>>,
    team: Arc<str>,
    provider: Arc<str>,
    url: Arc<str>,
    price: Arc<str>,
}

impl Names {
    fn new() -> Self {
        let many = |what: &str, count: u64| -> Vec<Arc<str>> {
            (0..count).map(|n| format!("{what}{n}").into()).collect()
        };
        Self {
            users: many("", USERS),
            keys: many("key-", 20),
            models: many("model-", 6),
            team: "core".into(),
            provider: "openai".into(),
            url: "https://api.example.com/v1".into(),
            price: "model@2026-03-05#1b2f99c0".into(),
        }
    }

    fn one_of(&self, names: &[Arc<str>], draw: u64) -> Arc<str> {
        names
            .get(usize::try_from(draw).unwrap_or(0) % names.len())
            .map_or_else(|| self.team.clone(), Arc::clone)
    }

    /// One request in a hundred is of the user who is asked for.
    fn user(&self, draw: u64) -> Arc<str> {
        match draw.is_multiple_of(100) {
            true => ASKED.into(),
            false => self.one_of(&self.users, draw),
        }
    }

    fn intent(&self, id: u64, time: Moment, draw: u64) -> Intent {
        Intent {
            id,
            time,
            request_id: format!("{draw:016x}{id:016x}").into(),
            key: self.one_of(&self.keys, draw >> 40),
            team: Some(self.team.clone()),
            user: Some(self.user(draw >> 8)),
            tags: Arc::default(),
            endpoint: ENDPOINTS
                .get(usize::try_from(draw >> 50).unwrap_or(0) % 3)
                .copied()
                .unwrap_or_default(),
            route: self.one_of(&self.models, draw >> 30),
            asked: self.one_of(&self.models, draw >> 30),
            stream: draw & 1 == 0,
            request_bytes: 2_000,
            bound: MicroUsd(10_000),
            input_bound: 2_000,
            output_bound: 4_000,
            targets: Arc::default(),
            decided: None,
        }
    }

    fn settlement(&self, id: u64, draw: u64) -> Settlement {
        let usage = Usage {
            prompt: draw % 2_000,
            completion: draw % 500,
            ..Usage::default()
        };
        let (model, cost) = (
            self.one_of(&self.models, draw >> 30),
            MicroUsd(draw % 9_000),
        );
        Settlement {
            id,
            outcome: "ok",
            error: None,
            status: 200,
            duration: Duration::from_millis(900),
            first_byte: Some(Duration::from_millis(300)),
            provider: Some(self.provider.clone()),
            model: Some(model.clone()),
            usage,
            source: UsageSource::Provider,
            cost,
            unpriced: false,
            attempts: vec![Attempt {
                provider: self.provider.clone(),
                model,
                endpoint: self.url.clone(),
                role: "first",
                outcome: "ok",
                status: Some(200),
                duration: Duration::from_millis(890),
                first_token: Some(Duration::from_millis(290)),
                usage,
                source: UsageSource::Provider,
                cost,
                price: Some(self.price.clone()),
            }],
        }
    }
}

/// SplitMix64: every run writes the same entries.
fn draw(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

async fn fill(ledger: &Ledger, entries: u64) {
    let names = Names::new();
    for n in 0..entries {
        let (id, drawn) = (ledger.next_id(), draw(n));
        let after = u64::try_from(u128::from(DAY) * u128::from(n) / u128::from(entries));
        let time = Moment(START + after.unwrap_or(0));
        let intent = names.intent(id, time, drawn);
        // The buffer is full whenever requests come faster than the disk.
        while ledger.begin(intent.clone(), Need::Buffered).await.is_err() {
            ledger.flush().await.expect("it is open");
        }
        ledger.settle(names.settlement(id, drawn));
    }
    ledger.flush().await.expect("it is open");
}

fn option(name: &str) -> Option<String> {
    let mut words = std::env::args();
    words.find(|word| word == name)?;
    words.next()
}

fn timed(what: &str, mut ask: impl FnMut() -> String) {
    let mut times = Vec::new();
    let mut told = String::new();
    for _ in 0..11 {
        let start = Instant::now();
        told = ask();
        times.push(start.elapsed());
    }
    let first = times.first().copied().unwrap_or_default();
    times.sort();
    let middle = times.get(5).copied().unwrap_or_default();
    println!("{what}: {told}\n    the first time {first:.2?}, median of 11 {middle:.2?}");
}

fn main() {
    let entries = option("--entries").and_then(|count| count.parse().ok());
    let entries: u64 = entries.unwrap_or(100_000);
    let directory = option("--directory").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("tollgate-bench-ledger-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    let path = directory.join("ledger.db");
    let settings = Settings {
        path: path.clone(),
        durability: Durability::Process,
        buffer: 20_000,
        retention: None,
        max_bytes: None,
    };
    let (ledger, _) = Ledger::open(settings).expect("a new file");
    let start = Instant::now();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(fill(&ledger, entries));
    let taken = start.elapsed();
    let rate = entries as f64 / taken.as_secs_f64();
    println!("{entries} entries in {taken:.2?}: {rate:.0} a second");
    let question = Question {
        since: Moment(START + DAY - DAY / 24),
        until: None,
        of: Filter {
            user: Some(ASKED.to_owned()),
            endpoint: Some("embeddings".to_owned()),
            ..Filter::default()
        },
        by: Vec::new(),
    };
    // With opening the file, as the command line does it.
    timed("user 8473, embeddings, the last hour", || {
        let reader = Reader::open(&path).expect("a ledger");
        let answer = reader.view().ask(&question).expect("an answer");
        answer.rows.first().map_or_else(String::new, |row| {
            format!("{} requests, {} usd", row.requests, row.cost)
        })
    });
    let first = format!("{:016x}{:016x}", draw(0), 1);
    timed("the story of the first request", || {
        let reader = Reader::open(&path).expect("a ledger");
        let stories = reader.view().stories(&first).expect("an answer");
        format!("{} found", stories.len())
    });
    drop(ledger);
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    let each = bytes / entries.max(1);
    println!("the file has {} MiB, {each} bytes an entry", bytes >> 20);
    let _ = std::fs::remove_dir_all(&directory);
}
