//! What the tests of the ledger share: a directory, intents, settlements.

mod clock_tests;
mod counts_tests;
mod disk_tests;
mod later_tests;
mod lifetime_tests;
mod questions_tests;

use super::*;
use crate::chat::Usage;
use crate::units::MicroUsd;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::AtomicU32;

/// 2026-11-01T10:00:00Z.
pub const TEN: Moment = Moment(1_793_527_200_000_000);

/// A directory that is removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tollgate-ledger-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("ledger.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn settings(path: impl Into<PathBuf>) -> Settings {
    Settings {
        path: path.into(),
        durability: Durability::Process,
        buffer: 1_000,
        retention: None,
        max_bytes: None,
    }
}

pub fn intent(id: u64, time: Moment) -> Intent {
    Intent {
        id,
        time,
        request_id: format!("req_{id}").into(),
        key: "search".into(),
        team: Some("core".into()),
        user: Some("8473".into()),
        tags: Arc::default(),
        endpoint: "embeddings",
        route: "fast".into(),
        asked: "fast".into(),
        stream: false,
        request_bytes: 100,
        bound: MicroUsd(1_000),
        input_bound: 50,
        output_bound: 10,
        targets: Arc::default(),
        decided: None,
    }
}

pub fn settlement(id: u64) -> Settlement {
    let usage = Usage {
        prompt: 40,
        completion: 5,
        cached: 8,
        ..Usage::default()
    };
    Settlement {
        id,
        outcome: "ok",
        error: None,
        status: 200,
        duration: Duration::from_millis(120),
        first_byte: Some(Duration::from_millis(80)),
        provider: Some("openai".into()),
        model: Some("text-embedding-3-small".into()),
        usage,
        source: UsageSource::Provider,
        cost: MicroUsd(700),
        unpriced: false,
        attempts: vec![attempt("openai", usage, 700)],
    }
}

pub fn attempt(provider: &str, usage: Usage, cost: u64) -> Attempt {
    Attempt {
        provider: provider.into(),
        model: "text-embedding-3-small".into(),
        endpoint: "https://api.example.com/v1".into(),
        role: "first",
        outcome: "ok",
        status: Some(200),
        duration: Duration::from_millis(110),
        first_token: None,
        usage,
        source: UsageSource::Provider,
        cost: MicroUsd(cost),
        price: Some("2026-11-01".into()),
    }
}

/// One number of the file.
pub fn number(path: &Path, question: &str) -> i64 {
    Connection::open(path)
        .and_then(|connection| connection.query_row(question, (), |row| row.get(0)))
        .unwrap()
}

/// The sums of the hours are those of the entries, for every hour and name.
pub fn assert_rolled_up(path: &Path) {
    let sums = number(
        path,
        "SELECT count(*) FROM (
             SELECT hour, key, user, provider, sum(requests), sum(prompt), sum(cost) FROM (
                 SELECT i.hour, i.key, i.user, s.provider, 1 requests, s.prompt, s.cost
                     FROM intents i JOIN settlements s USING (id)
                 UNION ALL SELECT i.hour, i.key, i.user, s.provider, 0, s.prompt, s.cost
                     FROM intents i JOIN shares s USING (id)
                 UNION ALL SELECT i.hour, i.key, i.user, r.provider, 0, 0, r.cost
                     FROM intents i JOIN repricings r USING (id)
                 UNION ALL SELECT hour, key, user, provider, -requests, -prompt, -cost FROM rollups)
             GROUP BY hour, key, user, provider
             HAVING sum(requests) <> 0 OR sum(prompt) <> 0 OR sum(cost) <> 0)",
    );
    assert_eq!(sums, 0, "sums of hours that are not those of their entries");
}
