//! The official SDKs, through the real binary, to a provider that others wrote (aimock).
//!
//! The scripts are in `tests/sdk`. What they need is installed by `make test`, which says where in two variables.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::accounts::{limit, price, prices};
use crate::gate::STURDY;
use crate::gateway::{
    Gateway, KEY, SECRET_VARIABLE, free_port, key, model, provider, provider_with,
};
use crate::provider::{Cut, Provider, chat, cut, delta, fail, finish, silence, stream};
use crate::wait::{DEADLINE, within};

const NARROW: &str = "tg-sdk-narrow-key";
const SCRIPTS: [&str; 5] = ["chat", "tools", "embeddings", "models", "errors"];

pub fn prepared(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        panic!("{variable} is not set: run `make test`, which installs the SDKs and says where");
    };
    PathBuf::from(path)
}

pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// A running aimock, ended by its pid when the value is dropped.
struct Aimock {
    child: Child,
    port: u16,
}

impl Drop for Aimock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn aimock(node: &Path) -> Aimock {
    for _ in 0..4 {
        let port = free_port();
        let program = node.join("node_modules/.bin/llmock");
        let child = Command::new(&program)
            .args([
                "-p",
                &port.to_string(),
                "-c",
                "8",
                "--strict",
                "--log-level",
                "silent",
                "-f",
            ])
            .arg(sources().join("fixtures"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{} does not start ({error}): run `make test`",
                    program.display()
                )
            });
        let mut aimock = Aimock { child, port };
        let up = within(DEADLINE, || match aimock.child.try_wait() {
            Ok(Some(_)) => Some(false),
            _ => TcpStream::connect(("127.0.0.1", port))
                .is_ok()
                .then_some(true),
        });
        if up == Some(true) {
            return aimock;
        }
    }
    panic!("aimock does not start");
}

fn gateway(port: u16) -> Gateway {
    let config = [
        format!(
            "[providers.aimock]\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:{port}/v1\"\ncredential = \"env:{SECRET_VARIABLE}\"\n"
        ),
        model("chat", &["aimock/gpt-4o"]),
        model("embed", &["aimock/text-embedding-3-small"]),
        key("wide", KEY, "models = [\"*\"]"),
        key("narrow", NARROW, "models = [\"embed\"]"),
    ];
    Gateway::start(&config.concat())
}

/// Runs a script of `tests/sdk` against a gateway; what it printed if it failed.
pub fn run_script(program: &OsStr, script: &str, gateway: &Gateway) -> Option<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program)
        .arg(sources().join(script))
        .env("BASE_URL", format!("http://{}/v1", gateway.address))
        .env("API_KEY", KEY)
        .env("NARROW_KEY", NARROW)
        .env("TOLLGATE_TEST_NODE", prepared("TOLLGATE_TEST_NODE"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program:?} does not start ({error}): run `make test`"));
    let text = [stdout, stderr].concat();
    (!status.success()).then(|| format!("{script}: {}", String::from_utf8_lossy(&text)))
}

fn run_scripts(program: &OsStr, folder: &str, suffix: &str) {
    let aimock = aimock(&prepared("TOLLGATE_TEST_NODE"));
    let gateway = gateway(aimock.port);
    let failures: Vec<String> = SCRIPTS
        .iter()
        .filter_map(|name| run_script(program, &format!("{folder}/{name}.{suffix}"), &gateway))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// aimock's own forms of other providers' APIs: dialect, path below its origin, options, model.
const FOREIGN: [(&str, &str, &str, &str); 4] = [
    ("anthropic", "/v1", "", "claude-sonnet-4-5"),
    ("azure", "", "api_version = \"2024-10-21\"", "gpt-4o"),
    ("cohere", "", "", "command-a-03-2025"),
    ("gemini", "/v1beta", "", "gemini-2.5-flash"),
];

#[test]
fn aimock_serves_through_every_dialect_that_it_knows() {
    let aimock = aimock(&prepared("TOLLGATE_TEST_NODE"));
    let mut config = key("wide", KEY, "models = [\"*\"]");
    for (dialect, path, options, name) in FOREIGN {
        config.push_str(&format!(
            "[providers.{dialect}]\ndialect = \"{dialect}\"\nbase_url = \"http://127.0.0.1:{}{path}\"\ncredential = \"env:{SECRET_VARIABLE}\"\noptions = {{ {options} }}\n{}",
            aimock.port,
            model(dialect, &[&format!("{dialect}/{name}")]),
        ));
    }
    let gateway = Gateway::start(&config);
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    let failure = run_script(python.as_os_str(), "python/mocks.py", &gateway);
    assert_eq!(failure, None, "{}", failure.clone().unwrap_or_default());
}

#[test]
fn the_python_sdk_works() {
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    run_scripts(python.as_os_str(), "python", "py");
}

#[test]
fn the_node_sdk_works() {
    run_scripts(OsStr::new("node"), "node", "mjs");
}

/// What the SDKs make of failover: routes of each kind, over scripted providers.
fn faltering(program: &OsStr, script: &str) {
    let breaks = Provider::start(cut(vec![delta("one ")], Cut::Close));
    let whole: Vec<String> = ["one ", "two ", "three"].map(delta).into();
    let whole = Provider::start(stream([whole, vec![finish()]].concat()));
    let (mute, sick) = (Provider::start(silence()), Provider::start(fail(500)));
    let route = |name: &str, targets: &[&str], rest: &str| model(name, targets) + rest + "\n";
    let config = [
        provider_with("breaks", &breaks, STURDY),
        provider("whole", &whole),
        provider_with("mute", &mute, STURDY),
        provider_with("sick", &sick, STURDY),
        route("continued", &["breaks/m", "whole/m"], ""),
        route("told", &["breaks/m"], ""),
        route("early", &["sick/m"], "early_headers = true\nretries = 0"),
        route(
            "waiting",
            &["mute/m", "whole/m"],
            "keep_alive = \"20ms\"\ntimeouts = { first_byte = \"300ms\" }",
        ),
        route("late", &["mute/m"], "deadline = \"200ms\""),
        route("patient", &["mute/m"], ""),
        key("wide", KEY, "models = [\"*\"]"),
    ];
    let gateway = Gateway::start(&config.concat());
    let failure = run_script(program, script, &gateway);
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}

#[test]
fn the_python_sdks_take_failover_for_what_it_is() {
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    faltering(python.as_os_str(), "python/failover.py");
}

#[test]
fn the_node_sdk_takes_failover_for_what_it_is() {
    faltering(OsStr::new("node"), "node/failover.mjs");
}

/// What the SDKs make of limits: the number of requests that were refused tells how often they tried.
fn limited(program: &OsStr, script: &str, spent: f64, never: f64) {
    let scripted = Provider::start(chat("ok"));
    let (_file, prices) = prices(&price("main", 1.0, 1.0));
    let alias = |name: &str| model(name, &["main/m"]);
    let config = [
        prices,
        limit("spent", "0.000001 usd / 1d", "routes = [\"spent\"]"),
        limit("never", "10 output_tokens / 1h", "routes = [\"never\"]"),
        limit("once", "1 requests / 1h", "routes = [\"once\"]"),
        provider("main", &scripted),
        alias("spent") + &alias("never") + &alias("once"),
        key("wide", KEY, "models = [\"*\"]"),
    ];
    let gateway = Gateway::start(&config.join("\n"));
    let failure = run_script(program, script, &gateway);
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    let refused = |name: &str| gateway.metric("tollgate_limit_refusals_total", &[("limit", name)]);
    assert_eq!((refused("spent"), refused("never")), (spent, never));
}

#[test]
fn the_python_sdks_take_limits_for_what_they_are() {
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    limited(python.as_os_str(), "python/limits.py", 3.0, 2.0);
}

#[test]
fn the_node_sdk_takes_limits_for_what_they_are() {
    limited(OsStr::new("node"), "node/limits.mjs", 2.0, 1.0);
}
