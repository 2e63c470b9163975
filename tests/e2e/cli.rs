//! The command line, as an operator meets it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::Request;
use crate::gateway::{
    BINARY, Finished, Gateway, chat_body, directory, free_port, run, sha256, simple,
};
use crate::provider::{Provider, chat};
use crate::tool::path;
use crate::wait::eventually;

fn root(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// Checks a file with every credential that it names set to something, as it would be on the operator's machine.
fn check(file: &Path) -> Finished {
    let text = fs::read_to_string(file).unwrap();
    let mut command = Command::new(BINARY);
    for named in text.split("env:").skip(1) {
        let name: String = named
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if !name.is_empty() {
            command.env(name, "set");
        }
    }
    let output = command
        .args(["check", "-c"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("the binary does not start");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn check_text(text: &str) -> Finished {
    let directory = directory();
    let file = directory.join("tollgate.toml");
    fs::write(&file, text).unwrap();
    check(&file)
}

const WRONG: &str = r#"[[listen]]
address = "nowhere"

[server]
grace_period = "soon"
treads = 2

[limits]
body = "32 elephants"

[providers.openai]
dialect = "openai"
base_url = "ftp://example.test/v1"

[models.fast]
targets = ["opena/gpt-5-mini"]

[keys.me]
hash = "sha256:1234"
modells = ["*"]
"#;

#[test]
fn check_tells_all_problems_at_once_each_with_its_line_and_path() {
    let ran = check_text(WRONG);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    let told = ran.stdout + &ran.stderr;
    for (line, what) in [
        (2, "address"),
        (5, "grace_period"),
        (6, "treads"),
        (9, "body"),
        (13, "base_url"),
        (16, "opena"),
        (19, "hash"),
        (20, "modells"),
    ] {
        let found = told.lines().any(|printed| {
            printed.contains(what)
                && printed
                    .split(|c: char| !c.is_ascii_digit())
                    .any(|word| word == line.to_string())
        });
        assert!(
            found,
            "line {line}, {what}: not told on one line of\n{told}"
        );
    }
    // A hint for what looks like a slip of the pen.
    for meant in ["threads", "openai", "models"] {
        assert!(told.contains(meant), "no hint at {meant} in\n{told}");
    }
}

#[test]
fn check_is_silent_about_what_is_right_and_precise_about_what_is_not_toml() {
    let provider = Provider::start(chat("ok"));
    let ran = check_text(&simple(&provider));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = check_text("[server]\nthreads = = 2\n");
    assert_eq!(ran.code, Some(78));
    assert!((ran.stdout.clone() + &ran.stderr).contains('2'), "{ran:?}");
    assert_eq!(run(&["check", "-c", "/nonexistent.toml"]).code, Some(78));
    assert_eq!(provider.opened(), 0, "check asked a provider");
}

#[test]
fn credentials_that_are_missing_are_told_by_check_and_stop_run() {
    let text = "[providers.p]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                credential = \"file:/nonexistent/key\"\n";
    // The check may run on a machine that does not have the secrets, so this is a warning there.
    let ran = check_text(text);
    assert!(
        (ran.stdout.clone() + &ran.stderr).contains("/nonexistent/key"),
        "{ran:?}"
    );
    let directory = directory();
    let file = directory.join("tollgate.toml");
    fs::write(&file, text).unwrap();
    let ran = run(&["run", "-c", &path(&file)]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.stderr.contains("/nonexistent/key"), "{ran:?}");
    let plain = check_text(&text.replace("file:/nonexistent/key", "sk-canary-plain"));
    assert_eq!(plain.code, Some(78));
    let told = plain.stdout + &plain.stderr;
    assert!(
        !told.contains("sk-canary-plain"),
        "a secret in the wrong place was printed"
    );
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(root(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect()
}

#[test]
fn every_config_that_we_ship_passes_check() {
    let (mut own, stanzas) = (toml_files("conf"), toml_files("conf/providers"));
    // Prices are no config; tests of their own read them.
    own.retain(|path| !path.ends_with("prices.toml"));
    assert!(own.len() >= 2, "{own:?}");
    assert!(stanzas.len() >= 12, "{} provider stanzas", stanzas.len());
    for file in own.iter().chain(&stanzas) {
        let ran = check(file);
        assert_eq!(
            ran.code,
            Some(0),
            "{}: {}{}",
            file.display(),
            ran.stdout,
            ran.stderr
        );
    }
}

#[test]
fn the_demo_config_needs_nothing_and_answers() {
    let demo = fs::read_to_string(root("conf/demo.toml")).unwrap();
    let unset = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"];
    let mut command = Command::new(BINARY);
    for name in unset {
        command.env_remove(name);
    }
    let status = command
        .args(["check", "-c"])
        .arg(root("conf/demo.toml"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let gateway = Gateway::start_from(|address, admin| {
        demo.replace("127.0.0.1:8080", &address.to_string())
            .replace("127.0.0.1:9090", &admin.to_string())
            .replace("127.0.0.1:8088", &format!("127.0.0.1:{}", free_port()))
    });
    let models = gateway
        .call(&Request::get("/v1/models").key("tg-demo"))
        .json();
    let model = models["data"][0]["id"]
        .as_str()
        .expect("the demo has no model")
        .to_owned();
    let ask = |body: String| {
        Request::post("/v1/chat/completions")
            .key("tg-demo")
            .json(body)
    };
    let one = gateway.call(&ask(chat_body(&model)));
    assert_eq!(one.status, 200, "{}", one.text());
    assert!(
        !one.content().is_empty() && one.json()["usage"]["total_tokens"].is_u64(),
        "{}",
        one.text()
    );
    assert_eq!(
        gateway.call(&ask(chat_body(&model))).content(),
        one.content(),
        "the demo is not deterministic"
    );
    let mut events = gateway
        .connect()
        .stream(&ask(crate::gateway::stream_body(&model)))
        .unwrap();
    let seen = events.events();
    assert!(
        seen.len() > 3 && seen.last().is_some_and(|event| event == "[DONE]"),
        "{seen:?}"
    );
}

#[test]
fn the_demo_verb_needs_no_file() {
    // It listens on fixed ports, which something else may hold; so only what can be tried without them is.
    let ran = run(&["demo", "--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("demo"), "{ran:?}");
}

#[test]
fn a_new_key_is_shown_once_with_a_stanza_that_fits() {
    let provider = Provider::start(chat("ok"));
    let (one, two) = (
        run(&["keys", "new", "search-team"]),
        run(&["keys", "new", "search-team"]),
    );
    let key = |ran: &Finished| {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // The stanza goes where it can be appended to a file; the key is for the person at the terminal.
        let printed = ran.stdout.clone() + &ran.stderr;
        let words = printed
            .split(|c: char| c.is_whitespace() || c == '"')
            .map(str::to_owned);
        let keys: BTreeSet<String> = words.filter(|word| word.starts_with("tg-")).collect();
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys.into_iter().next().unwrap()
    };
    let (first, second) = (key(&one), key(&two));
    assert_ne!(first, second);
    assert!(
        first.len() >= 35,
        "{} characters are too few to be safe",
        first.len()
    );
    assert!(
        one.stdout
            .contains(&format!("sha256:{}", sha256(first.as_bytes()))),
        "{}",
        one.stdout
    );
    let shown = (one.stdout.clone() + &one.stderr).matches(&first).count();
    assert_eq!(shown, 1, "the key is shown {shown} times");
    // What is on standard output can be appended to a config as it is.
    let gateway = Gateway::start(&(simple(&provider) + &one.stdout));
    assert_eq!(
        gateway.call(&Request::get("/v1/models").key(&first)).status,
        200
    );
    assert_ne!(run(&["keys", "new", "not a name\n"]).code, Some(0));
}

#[test]
fn the_version_names_the_commit() {
    let ran = run(&["--version"]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout
            .starts_with(&format!("tollgate {}", env!("CARGO_PKG_VERSION"))),
        "{}",
        ran.stdout
    );
    let mut words = ran.stdout.split(|c: char| !c.is_ascii_alphanumeric());
    let is_commit = |word: &str| {
        word == "unknown" || (word.len() >= 7 && word.chars().all(|c| c.is_ascii_hexdigit()))
    };
    assert!(words.any(is_commit), "no commit in {}", ran.stdout);
}

#[test]
fn help_completions_and_the_manual_come_from_one_table() {
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    let man = run(&["man"]);
    assert!(man.code == Some(0) && man.stdout.contains(".TH"), "{man:?}");
    for verb in [
        "run",
        "demo",
        "check",
        "drill",
        "keys",
        "completions",
        "man",
    ] {
        assert!(help.stdout.contains(verb), "{verb} is not in --help");
        assert!(man.stdout.contains(verb), "{verb} is not in the manual");
        let own = run(&[verb, "--help"]);
        assert!(
            own.code == Some(0) && own.stdout.contains("Usage:"),
            "{own:?}"
        );
        for shell in ["bash", "zsh", "fish"] {
            let ran = run(&["completions", shell]);
            assert!(
                ran.code == Some(0) && ran.stdout.contains(verb),
                "{shell} knows no {verb}"
            );
        }
    }
    for wrong in [
        &["no-such-verb"][..],
        &["run", "--no-such-flag"],
        &["completions", "no-such-shell"],
        &[],
    ] {
        let ran = run(wrong);
        assert!(
            ran.code == Some(2) && !ran.stderr.is_empty(),
            "{wrong:?}: {ran:?}"
        );
    }
}

#[test]
fn the_operators_log_is_json() {
    let provider = Provider::start(chat("ok"));
    let mut gateway = Gateway::start(&simple(&provider));
    gateway.reload(&format!("# again\n{}", simple(&provider)), "ok");
    gateway.signal("TERM");
    gateway.wait();
    let log = eventually("something is logged", || {
        Some(gateway.stderr()).filter(|text| !text.is_empty())
    });
    for line in log.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value.is_object(), "{line}");
    }
}
