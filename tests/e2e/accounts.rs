//! What the tests of accounting share: prices of their own, and the ledger as it stands in its file.
//!
//! Prices are such that money can be read as tokens: a dollar for a million of them is a micro-dollar for one.
//! The ledger is read with SQLite alone, so that nothing of the gateway's judges itself.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::client::{Request, Response};
use crate::gateway::{Directory, Gateway, KEY, directory};
use crate::provider::Script;
use crate::wait::eventually;

/// How a number of tokens came to be known, as the ledger writes it.
pub const TOLD: i64 = 1;
pub const ESTIMATED: i64 = 2;
pub const RECOVERED: i64 = 3;

/// A price of all models of a provider, in dollars for a million tokens.
pub fn price(provider: &str, input: f64, output: f64) -> String {
    format!(
        "[[price]]\nmatch = [\"*\"]\nproviders = [\"{provider}\"]\ninput = {input}\noutput = {output}\n"
    )
}

/// A file of prices and the lines of a config that name it. The file goes with the directory.
pub fn prices(rows: &str) -> (Directory, String) {
    let directory = directory();
    let file = directory.join("prices.toml");
    fs::write(&file, rows).expect("the prices cannot be written");
    (directory, format!("[prices]\nfiles = [{file:?}]\n"))
}

/// A limit; `rest` holds further lines.
pub fn limit(name: &str, allow: &str, rest: &str) -> String {
    format!("[[limit]]\nname = \"{name}\"\nallow = \"{allow}\"\n{rest}\n")
}

/// A chat of this user, whose answer has at most so many tokens.
pub fn chat_of(user: &str, max_tokens: u64) -> Request {
    let body = json!({
        "model": "m", "user": user, "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": "hello"}],
    });
    Request::post("/v1/chat/completions")
        .key(KEY)
        .json(body.to_string())
}

/// Answers with as many tokens as were allowed, less `less`, and says so.
pub fn spends(less: u64) -> Script {
    std::sync::Arc::new(move |request, wire| {
        let asked = request.json();
        let most = asked["max_tokens"].as_u64().expect("a limit of the answer");
        let body = told(asked["model"].clone(), 8, most - less);
        wire.answer(200, &["content-type: application/json"], body.as_bytes())
    })
}

/// A completion that tells this usage.
pub fn told(model: serde_json::Value, prompt: u64, completion: u64) -> String {
    json!({
        "id": "chatcmpl-x", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    })
    .to_string()
}

/// One settlement.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub id: i64,
    pub request_id: String,
    pub user: String,
    pub outcome: String,
    pub provider: String,
    pub prompt: u64,
    pub completion: u64,
    pub source: i64,
    /// Micro-dollars.
    pub cost: u64,
}

/// One attempt of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub provider: String,
    pub role: String,
    pub outcome: String,
    pub prompt: u64,
    pub completion: u64,
    pub source: i64,
    pub cost: u64,
}

/// A ledger's file.
pub struct Ledger(PathBuf);

impl Ledger {
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn of(gateway: &Gateway) -> Self {
        Self(gateway.directory.join("tollgate.db"))
    }

    fn open(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.0, flags).expect("no ledger");
        connection
            .busy_timeout(crate::wait::DEADLINE)
            .expect("a busy timeout");
        connection
    }

    /// All settlements.
    pub fn settled(&self) -> Vec<Settled> {
        let connection = self.open();
        let mut all = connection
            .prepare(
                "SELECT s.id, i.request_id, coalesce(u.name, ''), o.name, coalesce(p.name, ''), \
                 s.prompt, s.completion, s.source, s.cost FROM settlements s \
                 JOIN intents i USING (id) LEFT JOIN names u ON u.id = i.user \
                 LEFT JOIN names o ON o.id = s.outcome LEFT JOIN names p ON p.id = s.provider",
            )
            .expect("a query");
        let rows = all.query_map((), |row| {
            Ok(Settled {
                id: row.get(0)?,
                request_id: row.get(1)?,
                user: row.get(2)?,
                outcome: row.get(3)?,
                provider: row.get(4)?,
                prompt: count(row, 5)?,
                completion: count(row, 6)?,
                source: row.get(7)?,
                cost: count(row, 8)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// The attempts of a request, in order.
    pub fn attempts(&self, request_id: &str) -> Vec<Attempt> {
        let connection = self.open();
        let mut all = connection
            .prepare(
                "SELECT p.name, r.name, o.name, a.prompt, a.completion, a.source, a.cost \
                 FROM attempts a JOIN intents i USING (id) JOIN names p ON p.id = a.provider \
                 JOIN names r ON r.id = a.role JOIN names o ON o.id = a.outcome \
                 WHERE i.request_id = ? ORDER BY a.n",
            )
            .expect("a query");
        let rows = all.query_map([request_id], |row| {
            Ok(Attempt {
                provider: row.get(0)?,
                role: row.get(1)?,
                outcome: row.get(2)?,
                prompt: count(row, 3)?,
                completion: count(row, 4)?,
                source: row.get(5)?,
                cost: count(row, 6)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// Intents without a settlement.
    pub fn open_intents(&self) -> u64 {
        self.number("SELECT count(*) FROM intents WHERE id NOT IN (SELECT id FROM settlements)")
    }

    pub fn intents(&self) -> u64 {
        self.number("SELECT count(*) FROM intents")
    }

    /// What all of it cost, in micro-dollars, shares of those who did not serve included.
    pub fn spent(&self) -> u64 {
        self.number(
            "SELECT (SELECT coalesce(sum(cost), 0) FROM settlements) \
             + (SELECT coalesce(sum(cost), 0) FROM shares)",
        )
    }

    pub fn number(&self, query: &str) -> u64 {
        let one = self.open().query_row(query, (), |row| count(row, 0));
        one.expect("a number")
    }

    pub fn text(&self, query: &str) -> String {
        let one = self.open().query_row(query, (), |row| row.get(0));
        one.expect("a text")
    }

    /// The one settlement of a request, as soon as it is written.
    pub fn settlement(&self, request_id: &str) -> Settled {
        eventually(&format!("a settlement of {request_id}"), || {
            let mut all = self.settled();
            all.retain(|one| one.request_id == request_id);
            assert!(all.len() < 2, "settled twice: {all:?}");
            all.pop()
        })
    }

    /// That of an answer.
    pub fn settlement_of(&self, answer: &Response) -> Settled {
        self.settlement(answer.header("x-request-id").expect("an id"))
    }

    /// Settlements by their users.
    pub fn by_user(&self) -> HashMap<String, Vec<Settled>> {
        let mut all: HashMap<String, Vec<Settled>> = HashMap::new();
        for one in self.settled() {
            all.entry(one.user.clone()).or_default().push(one);
        }
        all
    }
}

fn count(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let count: i64 = row.get(at)?;
    u64::try_from(count).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, count))
}

/// Waits until every request is over and the ledger has all of it.
pub fn at_rest(gateway: &Gateway) -> Ledger {
    let ledger = Ledger::of(gateway);
    rest(gateway, &ledger);
    ledger
}

/// The same for a ledger that is elsewhere.
pub fn rest(gateway: &Gateway, ledger: &Ledger) {
    eventually("nothing is under way and the ledger has it all", || {
        let metrics = gateway.metrics();
        let of = |name| crate::gateway::sum(&metrics, name, &[]);
        let is_quiet = of("tollgate_in_flight_requests") == 0.0
            && of("tollgate_ledger_queued_entries") == 0.0
            && ledger.open_intents() == 0;
        is_quiet.then_some(())
    });
    assert_eq!(gateway.metric("tollgate_ledger_refused_entries", &[]), 0.0);
}
