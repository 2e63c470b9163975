//! The official SDKs, through the real binary, to a provider that others wrote (aimock).
//!
//! The scripts are in `tests/sdk`. What they need is installed by `make test`, which says where in two variables.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::gateway::{Gateway, KEY, SECRET_VARIABLE, free_port, key, model};
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

fn run_scripts(node: &Path, program: OsString, folder: &str, suffix: &str) {
    let aimock = aimock(node);
    let gateway = gateway(aimock.port);
    let mut failures = Vec::new();
    for name in SCRIPTS {
        let script = sources().join(folder).join(format!("{name}.{suffix}"));
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(&program)
            .arg(&script)
            .env("BASE_URL", format!("http://{}/v1", gateway.address))
            .env("API_KEY", KEY)
            .env("NARROW_KEY", NARROW)
            .env("TOLLGATE_TEST_NODE", node)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| {
                panic!("{program:?} does not start ({error}): run `make test`")
            });
        if !status.success() {
            let text = [stdout, stderr].concat();
            failures.push(format!(
                "{}: {}",
                script.display(),
                String::from_utf8_lossy(&text)
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_python_sdk_works() {
    let (node, python) = (
        prepared("TOLLGATE_TEST_NODE"),
        prepared("TOLLGATE_TEST_VENV").join("bin/python"),
    );
    run_scripts(&node, python.into_os_string(), "python", "py");
}

#[test]
fn the_node_sdk_works() {
    run_scripts(
        &prepared("TOLLGATE_TEST_NODE"),
        OsString::from("node"),
        "node",
        "mjs",
    );
}
