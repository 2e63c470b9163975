//! The house's rules, kept by a test that reads the tree. Each rule has its reason, and says it when it is broken.
//!
//! What it reads is text, not syntax: the tree is formatted by rustfmt, so that an item ends at the closing brace
//! under its first column. Only product code is held to the rules; what stands under `#[cfg(test)]` is left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assertion is a test's way to speak"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room may know the rooms below it, never one above or beside it.
const STOREYS: [&[&str]; 13] = [
    &["units", "error"],
    &["config", "wire", "classify"],
    &["chat", "pii"],
    &["dialect", "features"],
    &["identity", "tls"],
    &["route", "meter", "admission", "ledger"],
    &["fetch"],
    &["credential"],
    &["telemetry"],
    &["table"],
    &["gateway", "admin", "demo", "drill"],
    &["reload", "server"],
    &["cli", "lib", "main"],
];

/// Neighbours on one storey that may know each other, one way.
const NEIGHBOURS: [(&str, &str); 4] = [
    ("error", "units"),
    ("server", "reload"),
    ("main", "lib"),
    ("main", "cli"),
];

/// Who may read what the operator wrote. All others read the compiled table. The drill is among them because it writes
/// a config: a copy of one route's, for a gateway of its own.
const CONFIG_READERS: [&str; 7] = ["table", "cli", "reload", "server", "drill", "lib", "main"];

/// Where Pingora may be named. The table is among them because it builds, once for all requests, the options with
/// which the gateway connects; `fetch`, because what the gateway asks for itself goes over the connector that requests go over.
const PINGORA: [&str; 11] = [
    "src/gateway/",
    "src/admin/",
    "src/server",
    "src/reload",
    "src/demo",
    "src/tls",
    "src/table/",
    "src/route/balance",
    "src/route/health",
    "src/route/endpoint",
    "src/fetch",
];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 80;
const USUAL_FUNCTION_LINES: usize = 40;

/// One file of the product.
struct Source {
    /// Relative to the root, with forward slashes.
    path: String,
    /// The room that it belongs to.
    room: String,
    /// Line number and text, without tests and comments.
    code: Vec<(usize, String)>,
    /// As it is.
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &str, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(under)];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the tree can be read").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("below the root");
    path.to_string_lossy().replace('\\', "/")
}

fn product() -> Vec<Source> {
    let all: Vec<(PathBuf, String)> = files("src", "rs")
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            (path, text)
        })
        .collect();
    let tests: BTreeSet<(PathBuf, String)> = all
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let sources: Vec<Source> = all
        .into_iter()
        .filter(|(path, _)| {
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let above = path.ancestors().skip(1);
            let tested = above
                .take(2)
                .any(|directory| tests.contains(&(directory.to_owned(), stem.clone())));
            !tested && stem != "tests" && !stem.ends_with("_tests")
        })
        .map(|(path, text)| {
            let path = relative(&path);
            let room = path["src/".len()..]
                .split(['/', '.'])
                .next()
                .unwrap_or_default()
                .to_owned();
            Source {
                code: without_tests(&text),
                path,
                room,
                text,
            }
        })
        .collect();
    assert!(
        sources.len() > 10,
        "only {} files of product code were found",
        sources.len()
    );
    sources
}

/// The modules that a file declares for tests only, each with the directory of that file.
fn test_modules(path: &Path, text: &str) -> Vec<(PathBuf, String)> {
    let directory = path.parent().unwrap_or(path).to_owned();
    let after = text.split("#[cfg(test)]").skip(1);
    let declared = after.filter_map(|rest| {
        let line = rest
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with("#["))?;
        line.strip_prefix("mod ")?
            .strip_suffix(';')
            .map(str::to_owned)
    });
    declared.map(|name| (directory.clone(), name)).collect()
}

/// The lines of code that are neither comments nor under `#[cfg(test)]`.
fn without_tests(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.trim_start().starts_with("#[cfg(test)]") {
            at = end_of_item(&lines, at + 1) + 1;
            continue;
        }
        if !line.trim_start().starts_with("//") && !line.trim().is_empty() {
            kept.push((at + 1, line.to_owned()));
        }
        at += 1;
    }
    kept
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The last line of the item that starts at `from`: a line that ends it, or the closing brace under its column.
fn end_of_item(lines: &[&str], from: usize) -> usize {
    let column = indent(lines.get(from).copied().unwrap_or_default());
    for (at, line) in lines.iter().enumerate().skip(from) {
        let closes = indent(line) == column && line.trim_start().starts_with('}');
        let ends = indent(line) == column && (line.ends_with(';') || line.ends_with("{}"));
        if closes || ends {
            return at;
        }
    }
    lines.len()
}

/// Fails with all the places where a rule is broken, and the rule's reason.
fn keep(rule: &str, reason: &str, broken: &[String]) {
    let mut places = String::new();
    for place in broken {
        let _ = writeln!(places, "  {place}");
    }
    assert!(broken.is_empty(), "{rule}\nwhy: {reason}\n{places}");
}

fn storey(room: &str) -> Option<usize> {
    STOREYS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a line of code names through `crate::`, `tollgate::` or a chain of `super::` that reaches the root.
fn rooms_named(source: &Source, line: &str) -> Vec<String> {
    let depth = source.path.matches('/').count()
        - usize::from(source.path.ends_with("/mod.rs") && source.path.matches('/').count() > 1);
    let chain = "super::".repeat(depth.max(1));
    let mut named = Vec::new();
    for start in ["crate::", "tollgate::", chain.as_str()] {
        for (at, _) in line.match_indices(start) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &line[at + start.len()..];
            let group = rest
                .strip_prefix('{')
                .map(|inner| inner.split(['}', ';']).next().unwrap_or_default());
            let names: Vec<&str> =
                group.map_or_else(|| vec![rest], |inner| inner.split(", ").collect());
            named.extend(names.iter().map(|name| word(name)));
        }
    }
    named.retain(|name| storey(name).is_some());
    named
}

fn word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn rooms_know_only_the_rooms_below() {
    let mut broken = Vec::new();
    for source in product() {
        let Some(own) = storey(&source.room) else {
            broken.push(format!(
                "{}: the room {} is on no storey of this test",
                source.path, source.room
            ));
            continue;
        };
        for (number, line) in &source.code {
            for room in rooms_named(&source, line) {
                let neighbour = NEIGHBOURS.contains(&(source.room.as_str(), room.as_str()));
                let below = storey(&room).is_some_and(|storey| storey < own);
                if room != source.room && !below && !neighbour {
                    broken.push(format!(
                        "{}:{number}: {} names {room}",
                        source.path, source.room
                    ));
                }
            }
        }
    }
    keep(
        "a room knows only the rooms below it",
        "a cycle makes two rooms one; what is below can be read, tested and changed without what is above",
        &broken,
    );
}

#[test]
fn only_the_compiler_of_the_table_reads_the_config() {
    let mut broken = Vec::new();
    for source in product()
        .iter()
        .filter(|source| source.room != "config" && !CONFIG_READERS.contains(&source.room.as_str()))
    {
        for (number, line) in &source.code {
            if rooms_named(source, line)
                .iter()
                .any(|room| room == "config")
            {
                broken.push(format!("{}:{number}", source.path));
            }
        }
    }
    keep(
        "config is read by table, cli, reload, drill and the assembly only",
        "what the operator wrote and what a request reads are two things; only the compiled table is known to be right",
        &broken,
    );
}

#[test]
fn pingora_is_named_at_the_edge_only() {
    let mut broken = Vec::new();
    for source in product()
        .iter()
        .filter(|source| !PINGORA.iter().any(|place| source.path.starts_with(place)))
    {
        for (number, line) in &source.code {
            if line.contains("pingora") {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    keep(
        "Pingora is named only where sockets are",
        "minor versions of it change behaviour, and everything else must be testable without a socket",
        &broken,
    );
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml can be read");
    let loose: Vec<String> = manifest
        .lines()
        .filter(|line| line.starts_with("pingora") && !line.contains("\"=0.9.1\""))
        .map(str::to_owned)
        .collect();
    keep(
        "every Pingora crate is pinned exactly",
        "its retry and header rules differ between minor versions",
        &loose,
    );
}

#[test]
fn bytes_and_decisions_do_no_io() {
    const SANS_IO: [&str; 6] = [
        "src/wire/",
        "src/classify/",
        "src/chat/",
        "src/dialect/",
        "src/meter/",
        "src/route/decide",
    ];
    const IO: [&str; 9] = [
        "async fn",
        ".await",
        "tokio::",
        "std::net",
        "std::fs",
        "std::io",
        "log::",
        "Instant::now",
        "SystemTime::now",
    ];
    let mut broken = Vec::new();
    for source in product()
        .iter()
        .filter(|source| SANS_IO.iter().any(|place| source.path.starts_with(place)))
    {
        for (number, line) in &source.code {
            if IO.iter().any(|word| line.contains(word)) {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    keep(
        "wire, classify, chat, dialect, meter and decide take values and return values",
        "the live path, explain and replay must call the same function, and a test must be able to try every input",
        &broken,
    );
}

#[test]
fn product_code_does_not_panic() {
    const WORDS: [&str; 8] = [
        ".unwrap()",
        ".expect(\"",
        ".unwrap_err()",
        "panic!(",
        "unreachable!(",
        "unimplemented!(",
        "todo!(",
        "dbg!(",
    ];
    let mut broken = Vec::new();
    for source in product() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in &source.code {
            // An `#[expect]` of the lint, shortly before, carries the proof that it cannot happen.
            let before = &lines[number.saturating_sub(12)..*number];
            let proven = before.iter().any(|line| line.contains("reason ="))
                && before.iter().any(|line| line.contains("expect("));
            if !proven && WORDS.iter().any(|word| line.contains(word)) {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    keep(
        "no unwrap, expect or panic in product code",
        "one request must never take the others down with it",
        &broken,
    );
}

#[test]
fn unsafe_code_is_forbidden() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_default();
    let by_manifest = read("Cargo.toml").contains("unsafe_code = \"forbid\"");
    let attribute = "#![forbid(unsafe_code)]";
    let by_roots = ["src/lib.rs", "src/main.rs"]
        .iter()
        .all(|path| read(path).contains(attribute));
    assert!(
        by_manifest || by_roots,
        "unsafe code must be forbidden, in [lints.rust] or at both roots\nwhy: what is not there needs no proof"
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not break its own rule.
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|halves| halves.concat());
    let mut broken = Vec::new();
    for path in [
        files("src", "rs"),
        files("tests", "rs"),
        files("benches", "rs"),
        files("conf", "toml"),
    ]
    .concat()
    {
        let text = fs::read_to_string(&path).expect("the tree is UTF-8");
        for (number, line) in text.lines().enumerate() {
            let mut words_of_line = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if words_of_line.any(|found| words.iter().any(|word| word == found)) {
                broken.push(format!(
                    "{}:{}: {}",
                    relative(&path),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    keep(
        "nothing is marked to be done later",
        "what is in is finished; what is not finished is not in",
        &broken,
    );
}

#[test]
fn names_say_what_a_thing_is() {
    const EMPTY: [&str; 15] = [
        "util",
        "utils",
        "helper",
        "helpers",
        "common",
        "misc",
        "manager",
        "handler",
        "processor",
        "engine",
        "wrapper",
        "service",
        "data",
        "info",
        "base",
    ];
    let mut broken = Vec::new();
    for source in product() {
        let stem = source
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
            .to_owned();
        if stem.split('_').any(|part| EMPTY.contains(&part)) {
            broken.push(format!("{}: a file's name", source.path));
        }
        for (number, line) in &source.code {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| word.starts_with("pub"));
            let (kind, name) = (
                words.next().unwrap_or_default(),
                word(words.next().unwrap_or_default()),
            );
            let bad = match kind {
                "struct" | "enum" | "trait" | "type" => {
                    let last = camel_words(&name).pop().unwrap_or_default();
                    EMPTY.contains(&last.as_str())
                        || name.starts_with("Llm")
                        || name.starts_with("LLM")
                }
                "mod" => name.split('_').any(|part| EMPTY.contains(&part)),
                _ => line.contains("fn get_") && !line.contains("fn get_mut"),
            };
            if bad {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    keep(
        "no empty names: manager, handler, util, data, get_ and their kin",
        "a name that fits everything says nothing; the field's own words are in the glossary of lib.rs",
        &broken,
    );
}

fn camel_words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !c.is_uppercase() => word.push(c),
            _ => words.push(c.to_lowercase().collect()),
        }
    }
    words
}

#[test]
fn files_and_functions_are_short_enough_to_be_read() {
    let (mut broken, mut functions, mut long) = (Vec::new(), 0, Vec::new());
    for source in product() {
        if source.code.len() > FILE_LINES {
            broken.push(format!(
                "{}: {} lines of code",
                source.path,
                source.code.len()
            ));
        }
        let lines: Vec<&str> = source.code.iter().map(|(_, line)| line.as_str()).collect();
        for (at, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| is_function(line))
        {
            let length = end_of_item(&lines, at) - at + 1;
            functions += 1;
            let place = format!(
                "{}:{}: {length} lines: {}",
                source.path,
                source.code[at].0,
                line.trim()
            );
            if length > FUNCTION_LINES {
                broken.push(place.clone());
            }
            if length > USUAL_FUNCTION_LINES {
                long.push(place);
            }
        }
    }
    let reason =
        "what separates code that is a pleasure to read from code that tires is only the long tail";
    keep(
        &format!("files have at most {FILE_LINES} lines of code, functions {FUNCTION_LINES}"),
        reason,
        &broken,
    );
    let few = long.len() * 20 <= functions;
    keep(
        &format!("19 of 20 functions have at most {USUAL_FUNCTION_LINES} lines"),
        reason,
        if few { &[] } else { &long },
    );
}

fn is_function(line: &str) -> bool {
    let start = line.trim_start();
    let word = start.split_whitespace().find(|word| {
        !word.starts_with("pub") && !["async", "const", "in"].contains(word) && !word.ends_with(')')
    });
    word == Some("fn")
}

#[test]
fn every_file_opens_with_what_it_promises() {
    let sources = product();
    let silent = sources
        .iter()
        .filter(|source| !source.text.starts_with("//!"));
    let broken: Vec<String> = silent.map(|source| source.path.clone()).collect();
    keep(
        "every file opens with prose",
        "a reader must know what a room promises before reading how",
        &broken,
    );
}

#[test]
fn log_messages_are_constant() {
    let mut broken = Vec::new();
    for source in product() {
        let joined: String = source
            .code
            .iter()
            .map(|(_, line)| format!("{}\n", line.trim()))
            .collect();
        for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
            for (at, _) in joined.match_indices(level) {
                if joined[..at]
                    .chars()
                    .next_back()
                    .is_some_and(|c| c.is_alphanumeric() || c == '_')
                {
                    continue;
                }
                let call = &joined[at..at + joined[at..].find(");").unwrap_or(0)];
                let text = call.rsplit('"').nth(1).unwrap_or_default();
                if text.contains('{') {
                    broken.push(format!("{}: {}", source.path, call.replace('\n', " ")));
                }
            }
        }
    }
    keep(
        "log lines are constant messages with fields",
        "a constant can be searched and counted, and a message that is put together can hold a prompt or a key",
        &broken,
    );
}

#[test]
fn every_key_of_the_config_is_explained() {
    let shown = fs::read_to_string(root().join("conf/tollgate.toml"))
        .expect("conf/tollgate.toml can be read");
    let words: BTreeSet<&str> = shown
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let source = fs::read_to_string(root().join("src/config/mod.rs"))
        .expect("src/config/mod.rs can be read");
    let mut keys = Vec::new();
    for (_, line) in without_tests(&source) {
        if let Some((name, _)) = line
            .trim()
            .strip_prefix("pub ")
            .and_then(|rest| rest.split_once(": "))
        {
            keys.push(name.to_owned());
        }
    }
    assert!(keys.len() > 30, "only {} keys were found", keys.len());
    let missing: Vec<String> = keys
        .into_iter()
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    keep(
        "every key of the config is in conf/tollgate.toml",
        "that file is the reference: an operator must find each key there, with its default and its reason",
        &missing,
    );
}

#[test]
fn tests_neither_sleep_nor_are_skipped() {
    let mut broken = Vec::new();
    // The one place that may pause is the one that waits for a condition.
    for path in [files("src", "rs"), files("tests", "rs")].concat() {
        let name = relative(&path);
        if name == "tests/e2e/wait.rs" || name == "tests/tidy.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("the tree is UTF-8");
        for (number, line) in text.lines().enumerate() {
            if line.contains("thread::sleep") || line.trim_start().starts_with("#[ignore") {
                broken.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    keep(
        "no test sleeps or is skipped",
        "a sleep is either too short on a slow machine or too long on all others; a skipped test tests nothing",
        &broken,
    );
}

#[test]
fn the_rules_see_what_they_should() {
    let source = |path: &str| Source {
        path: path.into(),
        room: String::new(),
        code: Vec::new(),
        text: String::new(),
    };
    let nested = source("src/route/decide.rs");
    assert_eq!(
        rooms_named(&nested, "use crate::{chat, config::Config};"),
        ["chat", "config"]
    );
    assert_eq!(
        rooms_named(&nested, "use super::super::gateway::X;"),
        ["gateway"]
    );
    assert_eq!(
        rooms_named(&nested, "use super::units;"),
        Vec::<String>::new()
    );
    assert_eq!(
        rooms_named(&source("src/table.rs"), "use super::units::Bytes;"),
        ["units"]
    );
    assert_eq!(
        rooms_named(&source("src/route/mod.rs"), "fn f(x: crate::cli::X)"),
        ["cli"]
    );
    let text = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\nmod tests;\nd\n// e\n";
    let kept: Vec<String> = without_tests(text)
        .into_iter()
        .map(|(_, line)| line)
        .collect();
    assert_eq!(kept, ["a", "c", "d"]);
    assert!(
        is_function("    pub(crate) async fn x(")
            && !is_function("// fn")
            && !is_function("let fn_ = 1;")
    );
    assert_eq!(camel_words("RouteInfo"), ["route", "info"]);
}
