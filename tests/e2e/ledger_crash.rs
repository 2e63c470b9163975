//! The ledger when the process dies, the disk is full, or the file is another's.
//!
//! `TOLLGATE_KILLS` says how often the process is killed in the loop: 5 without it, for CI; 100 is what was promised.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::accounts::{
    ESTIMATED, Ledger, RECOVERED, Settled, TOLD, chat_of, limit, price, prices, rest, spends,
};
use crate::client::{Client, Kept, Request};
use crate::gate::{Gate, begun, behind};
use crate::gateway::{Gateway, KEY, directory, free_port, model, own_key, provider, run, sum};
use crate::provider::{Provider, Script, delta};
use crate::tool;
use crate::wait::eventually;

const CLIENTS: usize = 8;

fn kills() -> usize {
    let told = std::env::var("TOLLGATE_KILLS").ok();
    told.map_or(5, |text| text.parse().expect("TOLLGATE_KILLS is a number"))
}

/// A gateway on this ledger, `m` at a micro-dollar for a token of its answer.
fn config(prices: &str, ledger: &Path, scripted: &Provider, limits: &str) -> String {
    [
        prices,
        &format!("[ledger]\npath = {ledger:?}\n"),
        limits,
        &provider("main", scripted),
        &model("m", &["main/upstream-m"]),
        &own_key(),
    ]
    .join("\n")
}

fn of(all: &[Settled]) -> BTreeMap<String, Settled> {
    let mut found = BTreeMap::new();
    for one in all {
        let before = found.insert(one.request_id.clone(), one.clone());
        assert_eq!(before, None, "settled twice");
    }
    found
}

/// A chat with an id of its own.
fn chat_as(id: &str, most: u64) -> Request {
    chat_of(id, most).header("x-request-id", id)
}

fn user_of(request: &crate::provider::Request) -> String {
    let user = &request.json()["user"];
    user.as_str().unwrap_or_default().to_owned()
}

/// Answers at once, but for those who are called so.
fn stuck_behind(gate: &Gate) -> Script {
    let (stuck, free) = (behind(gate, spends(1)), spends(1));
    Arc::new(
        move |request, wire| match user_of(request).starts_with("stuck-") {
            true => stuck(request, wire),
            false => free(request, wire),
        },
    )
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_was_settled_and_settles_nothing_twice() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let scripted = Provider::start(spends(1));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let budget = limit("all", "1000 usd / day", "");
    let config = config(&prices, &path, &scripted, &budget);
    let ids = AtomicU64::new(0);
    // What was read back from the ledger: it may never change again.
    let mut known: BTreeMap<String, Settled> = BTreeMap::new();
    let mut stuck = Vec::new();
    for round in 0..kills() {
        let gateway = Gateway::start(&config);
        let ledger = Ledger::at(&path);
        // Whatever the last process left open is settled before anybody is served.
        assert_eq!(ledger.open_intents(), 0, "round {round}");
        let now = of(&ledger.settled());
        for (id, one) in &known {
            assert_eq!(
                now.get(id),
                Some(one),
                "round {round}: {id} is lost or changed"
            );
        }
        for id in stuck.drain(..) {
            // Held at its bound, and said so.
            let one: &Settled = &now[&id];
            assert_eq!(
                (one.cost, one.completion, one.source),
                (50, 50, RECOVERED),
                "{one:?}"
            );
            assert_eq!(one.outcome, "recovered");
        }
        let left = || gateway.metric("tollgate_limit_remaining", &[("limit", "all")]);
        assert_eq!(
            left(),
            1e9 - ledger.spent() as f64,
            "round {round}: the budget knows what was spent"
        );
        // Some stay open until the end: their provider does not answer.
        let gate = Gate::default();
        scripted.become_script(stuck_behind(&gate));
        let mut waiting = Vec::new();
        for n in 0..3 {
            let id = format!("stuck-{round}-{n}");
            let mut client: Client = gateway.connect();
            client.send(&chat_as(&id, 50).bytes()).unwrap();
            waiting.push(client);
            stuck.push(id);
        }
        eventually("they are with their provider", || {
            let prefix = format!("stuck-{round}-");
            let all = scripted.requests();
            let came = all.iter().filter(|one| user_of(one).starts_with(&prefix));
            (came.count() == 3).then_some(())
        });
        let (over, complete) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = Kept::new(gateway.address);
                    while !over.load(Ordering::SeqCst) {
                        let id = format!("load-{}", ids.fetch_add(1, Ordering::SeqCst));
                        match client.call(&chat_as(&id, 100)) {
                            Ok(answer) if answer.status == 200 => complete.lock().unwrap().push(id),
                            _ => return,
                        }
                    }
                });
            }
            let target = 40 + 37 * (round as u64 % 5);
            eventually("some of the load is settled", || {
                let done = ledger
                    .settled()
                    .iter()
                    .filter(|one| one.source == TOLD)
                    .count() as u64;
                (done >= known.values().filter(|one| one.source == TOLD).count() as u64 + target)
                    .then_some(())
            });
            let read = of(&ledger.settled());
            gateway.signal("KILL");
            over.store(true, Ordering::SeqCst);
            known = read;
        });
        // A complete answer that was read back is among what is known by construction; and no answer of any kind
        // went out for which nothing was written.
        let after = Ledger::at(&path);
        for id in complete.lock().unwrap().iter() {
            let query = format!("SELECT count(*) FROM intents WHERE request_id = '{id}'");
            assert_eq!(after.number(&query), 1, "{id} was answered and never begun");
        }
        drop(waiting);
        gate.open();
    }
    let gateway = Gateway::start(&config);
    let answer = gateway.call(&chat_as("the-last", 100));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ledger = Ledger::at(&path);
    rest(&gateway, &ledger);
    let all = of(&ledger.settled());
    assert_eq!(all["the-last"].cost, 99);
    assert!(
        all.values()
            .all(|one| one.source == TOLD || one.source == RECOVERED || one.source == ESTIMATED)
    );
}

#[test]
fn a_budget_that_was_spent_stays_spent_when_the_process_is_killed() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let limits = [
        limit("each", "0.001 usd / month", "per = [\"user\"]"),
        limit("of-main", "0.0015 usd", "providers = [\"main\"]"),
    ];
    let config = config(&prices, &path, &scripted, &limits.concat());
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.call(&chat_of("a", 700)).status, 200);
    let ledger = Ledger::at(&path);
    rest(&gateway, &ledger);
    // One is under way at the end, and counts for all that it may have cost.
    scripted.become_script(crate::provider::silence());
    let mut client = gateway.connect();
    client.send(&chat_of("b", 300).bytes()).unwrap();
    eventually("it is under way", || (scripted.count() == 2).then_some(()));
    gateway.signal("KILL");
    drop(gateway);
    scripted.become_script(spends(0));
    let gateway = Gateway::start(&config);
    let ask = |user: &str, most| gateway.call(&chat_of(user, most)).status;
    assert_eq!([ask("a", 301), ask("a", 300)], [402, 200]);
    assert_eq!(
        [ask("b", 701), ask("c", 201), ask("c", 200), ask("c", 1)],
        [402, 402, 200, 402]
    );
}

/// Starts a gateway that is told of a file that is too long by an error rather than by its death, as of a full disk.
fn start_limited(config: &str) -> Gateway {
    let program = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    Gateway::start_through(&program, &[], config)
}

/// From now on no file of the process's may become longer than this; `None`: any length again.
fn limit_files(gateway: &Gateway, bytes: Option<u64>) {
    let size = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let pid = gateway.pid().to_string();
    let ran = tool::run(
        "prlimit",
        &["--pid", &pid, &format!("--fsize={size}:")],
        b"",
    );
    assert!(ran.success, "{}", ran.stderr);
}

#[test]
fn a_full_disk_stops_hard_budgets_and_nothing_else() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let hard = limit("careful", "1 usd", "users = [\"careful\"]");
    // Room for some of those who do not mind.
    let buffer = "buffer = 40\n";
    let text = config(&prices, &path, &scripted, &hard)
        .replace("[ledger]\n", &format!("[ledger]\n{buffer}"));
    let gateway = start_limited(&text);
    let ask = |user: &str| gateway.call(&chat_of(user, 10));
    assert_eq!([ask("careful").status, ask("free").status], [200, 200]);
    let ledger = Ledger::at(&path);
    rest(&gateway, &ledger);
    let before = ledger.settled().len();
    limit_files(&gateway, Some(4_096));
    // The first to notice may have waited for its commit, or not.
    let refused = eventually("a hard budget is refused", || {
        let answer = ask("careful");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.error("code"), "ledger_unavailable");
    let asked = scripted.count();
    assert_eq!(ask("careful").status, 503);
    assert_eq!(scripted.count(), asked, "nobody is asked without an intent");
    let metric = |name: &str| sum(&gateway.metrics(), name, &[]);
    assert_eq!(metric("tollgate_ledger_failing"), 1.0);
    assert!(metric("tollgate_ledger_write_errors") >= 1.0);
    // The others go on, as far as the buffer goes: an intent and a settlement each.
    let mut served = 0;
    let end = loop {
        match ask("free").status {
            200 => served += 1,
            other => break other,
        }
        assert!(served <= 40, "the buffer has no end");
    };
    assert_eq!(end, 503);
    assert!((15..=40).contains(&served), "{served}");
    assert!(metric("tollgate_ledger_queued_entries") >= 40.0);
    assert!(metric("tollgate_ledger_lag_seconds") > 0.0);
    // There is room again: no restart, and all that was served is there.
    limit_files(&gateway, None);
    eventually("hard budgets are served again", || {
        (ask("careful").status == 200).then_some(())
    });
    rest(&gateway, &ledger);
    assert_eq!(metric("tollgate_ledger_failing"), 0.0);
    let settled = ledger.settled();
    let of = |user: &str| settled.iter().filter(|one| one.user == user).count();
    assert_eq!(of("free"), 1 + served);
    assert!(settled.len() > before + served);
    assert_eq!(
        scripted.count(),
        settled.iter().filter(|one| one.source == TOLD).count()
    );
    let spent: u64 = settled
        .iter()
        .filter(|one| one.user == "careful")
        .map(|one| one.cost)
        .sum();
    assert_eq!(metric("tollgate_limit_remaining"), 1e6 - spent as f64);
    let stderr = gateway.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
    for sentence in [
        "the ledger cannot be written",
        "the ledger is written again",
    ] {
        assert!(stderr.contains(sentence), "{sentence}: {stderr}");
    }
}

#[test]
fn where_nothing_may_be_buffered_all_are_refused_on_a_full_disk() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let text = config(&prices, &path, &scripted, "")
        .replace("[ledger]\n", "[ledger]\non_failure = \"deny\"\n");
    let gateway = start_limited(&text);
    assert_eq!(gateway.call(&chat_of("free", 10)).status, 200);
    limit_files(&gateway, Some(4_096));
    let refused = eventually("it is refused", || {
        let answer = gateway.call(&chat_of("free", 10));
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.error("code"), "ledger_unavailable");
    limit_files(&gateway, None);
    eventually("it is served again", || {
        (gateway.call(&chat_of("free", 10)).status == 200).then_some(())
    });
}

/// Runs a gateway that is to fail at its start.
fn fails(text: &str) -> crate::gateway::Finished {
    let directory = directory();
    let file = directory.join("tollgate.toml");
    let port = free_port();
    let text = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n\n{text}");
    fs::write(&file, text).unwrap();
    run(&["run", "-c", file.to_str().unwrap()])
}

#[test]
fn a_second_gateway_on_the_same_ledger_does_not_start() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let scripted = Provider::start(spends(0));
    let text = config("", &path, &scripted, "").replace("env:TOLLGATE_E2E_SECRET", "env:HOME");
    let gateway = Gateway::start(&text);
    let second = fails(&text);
    assert_eq!(second.code, Some(1), "{second:?}");
    let says = format!(
        "another gateway writes this ledger (process {})",
        gateway.pid()
    );
    assert!(second.stderr.contains(&says), "{second:?}");
    assert!(second.stderr.contains(path.to_str().unwrap()), "{second:?}");
    assert_eq!(gateway.call(&chat_of("u", 10)).status, 200);
}

#[test]
fn a_file_that_is_no_ledger_is_refused_by_name_and_left_alone() {
    let directory = directory();
    let scripted = Provider::start(spends(0));
    let garbage = b"this is no database at all, and is longer than a header of one hundred bytes is in any case.........".repeat(9);
    let foreign = {
        let path = directory.join("foreign.db");
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(other);
        fs::read(&path).unwrap()
    };
    for (name, bytes) in [("garbage.db", garbage), ("foreign.db", foreign)] {
        let path = directory.join(name);
        fs::write(&path, &bytes).unwrap();
        let text = config("", &path, &scripted, "").replace("env:TOLLGATE_E2E_SECRET", "env:HOME");
        let ran = fails(&text);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(path.to_str().unwrap()), "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} was changed");
    }
}

#[test]
fn a_ledger_that_breaks_under_way_is_an_alarm_and_no_end() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let scripted = Provider::start(spends(0));
    let (_file, prices) = prices(&price("main", 0.0, 1.0));
    let text = config(&prices, &path, &scripted, &limit("all", "1 usd", ""));
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.call(&chat_of("u", 10)).status, 200);
    rest(&gateway, &Ledger::at(&path));
    // Somebody writes over it, and over what is beside it.
    for suffix in ["", "-wal", "-shm"] {
        let file = path.with_file_name(format!("ledger.db{suffix}"));
        if file.exists() {
            fs::write(&file, [0x55; 8_192]).unwrap();
        }
    }
    let refused = eventually("it is noticed", || {
        let answer = gateway.call(&chat_of("u", 10));
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.error("code"), "ledger_unavailable");
    assert!(
        !gateway.stderr().contains("panicked"),
        "{}",
        gateway.stderr()
    );
    // The operator puts it away; a new one is begun.
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(path.with_file_name(format!("ledger.db{suffix}")));
    }
    eventually("it is written again", || {
        (gateway.call(&chat_of("u", 10)).status == 200).then_some(())
    });
}

#[test]
fn a_gateway_that_is_stopped_settles_what_it_cuts_off() {
    let directory = directory();
    let path = directory.join("ledger.db");
    let gate = Gate::default();
    let words =
        [delta("one"), delta(" two"), delta(" three")].map(|data| format!("data: {data}\n\n"));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let scripted = Provider::start(begun(&words, &gate, &[]));
    let (_file, prices) = prices(&price("main", 1.0, 1.0));
    let text = config(&prices, &path, &scripted, &limit("all", "1 usd", ""));
    let mut gateway = Gateway::start(&format!("[server]\ngrace_period = \"1s\"\n{text}"));
    let body = r#"{"model":"m","user":"u","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let request = Request::post("/v1/chat/completions").key(KEY).json(body);
    let mut stream = gateway.connect().stream(&request).unwrap();
    for _ in 0..3 {
        assert!(stream.event().is_some());
    }
    // Another has no answer yet.
    let silent = chat_as("silent", 50);
    scripted.become_script(crate::provider::silence());
    let mut client = gateway.connect();
    client.send(&silent.bytes()).unwrap();
    eventually("both are with their provider", || {
        (scripted.count() == 2).then_some(())
    });
    gateway.signal("TERM");
    gateway.wait();
    let ledger = Ledger::at(&path);
    assert_eq!(ledger.open_intents(), 0);
    let all = of(&ledger.settled());
    assert_eq!(all.len(), 2);
    for one in all.values() {
        let said = if one.request_id == "silent" { 0 } else { 3 };
        assert_eq!((one.completion, one.source), (said, ESTIMATED), "{one:?}");
        assert!((1..30).contains(&one.prompt), "{one:?}");
    }
}
