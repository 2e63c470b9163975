//! The official SDKs in front of a provider of every dialect, and the providers' own types as judges of what the
//! gateway sends them.
//!
//! The provider is `tests/sdk/python/provider.py`: it answers each dialect in its true form, checks that tool
//! results and signatures come back where that provider wants them, and has every request judged by botocore's
//! service model, by google-genai's, cohere's, anthropic's and openai's types.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::client::{Client, Request};
use crate::gateway::{Gateway, KEY, directory, key, model_once};
use crate::sdk::{prepared, run_script, sources};
use crate::tool;

/// How a provider is configured: the scripted provider's path for it, the gateway's settings, a chat model and an
/// embedding model.
struct Wire {
    name: &'static str,
    dialect: &'static str,
    path: &'static str,
    options: &'static str,
    chat: &'static str,
    embed: &'static str,
}

const WIRES: [Wire; 8] = [
    Wire {
        name: "openai",
        dialect: "openai",
        path: "openai/v1",
        options: "",
        chat: "gpt-5.1",
        embed: "text-embedding-3-small",
    },
    Wire {
        name: "azure",
        dialect: "azure",
        path: "azure",
        options: "api_version = \"2024-10-21\"",
        chat: "my-gpt.5",
        embed: "my-embedder",
    },
    Wire {
        name: "azure-v1",
        dialect: "azure",
        path: "azure-v1/openai/v1",
        options: "",
        chat: "my-gpt.5",
        embed: "my-embedder",
    },
    Wire {
        name: "anthropic",
        dialect: "anthropic",
        path: "anthropic/v1",
        options: "",
        chat: "claude-sonnet-4-5",
        embed: "claude-sonnet-4-5",
    },
    Wire {
        name: "gemini",
        dialect: "gemini",
        path: "gemini/v1beta",
        options: "",
        chat: "gemini-2.5-flash",
        embed: "gemini-embedding-001",
    },
    Wire {
        name: "vertex",
        dialect: "vertex",
        path: "vertex/v1",
        options: "project = \"p-1\", location = \"europe-west4\"",
        chat: "gemini-3-pro-preview",
        embed: "text-embedding-005",
    },
    Wire {
        name: "bedrock",
        dialect: "bedrock",
        path: "bedrock",
        options: "",
        chat: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        embed: "amazon.titan-embed-text-v2:0",
    },
    Wire {
        name: "cohere",
        dialect: "cohere",
        path: "cohere",
        options: "",
        chat: "command-a-reasoning-08-2025",
        embed: "embed-v4.0",
    },
];

/// The scripted provider of all dialects; it ends when its standard input does, at the latest by its pid.
struct Scripted {
    child: Child,
    _stdin: ChildStdin,
    port: u16,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scripted {
    fn start(python: &Path) -> Self {
        let mut child = Command::new(python)
            .arg(sources().join("python/provider.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{} does not start ({error}): run `make test`",
                    python.display()
                )
            });
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the scripted provider says its port");
        let mut scripted = Self {
            child,
            _stdin: stdin,
            port: 0,
        };
        scripted.port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("no port but {line:?}"));
        scripted
    }

    /// What the judges said since the last look, and how many requests there were.
    fn verdict(&self) -> (Vec<String>, u64) {
        let address = ([127, 0, 0, 1], self.port).into();
        let request = Request::get("/verdict").header("connection", "close");
        let answer = Client::connect(address).and_then(|mut client| client.call(&request));
        let report = answer.expect("the scripted provider is gone").json();
        let wrong = report["wrong"].as_array().expect("a list");
        let told = wrong
            .iter()
            .map(|line| line.as_str().unwrap_or_default().to_owned());
        let requests = report["requests"].as_object().expect("a map").values();
        (told.collect(), requests.filter_map(Value::as_u64).sum())
    }

    fn gateway(&self) -> Gateway {
        let directory = directory();
        let secret = directory.join("secret");
        std::fs::write(&secret, "upstream-secret").expect("no temporary file");
        let mut config = key("tester", KEY, "models = [\"*\"]");
        for wire in &WIRES {
            let Wire {
                name,
                dialect,
                path,
                options,
                chat,
                embed,
            } = wire;
            config.push_str(&format!(
                "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"http://127.0.0.1:{}/{path}\"\ncredential = \"file:{}\"\noptions = {{ {options} }}\n",
                self.port,
                secret.display()
            ));
            config.push_str(&model_once(name, &[&format!("{name}/{chat}")]));
            config.push_str(&model_once(
                &format!("embed-{name}"),
                &[&format!("{name}/{embed}")],
            ));
        }
        Gateway::start(&config)
    }
}

/// The scripts that tell the scenario, and what runs them.
const CLIENTS: [(&str, &str); 4] = [
    ("python", "python/dialects_openai.py"),
    ("python", "python/dialects_anthropic.py"),
    ("node", "node/dialects_openai.mjs"),
    ("node", "node/dialects_anthropic.mjs"),
];

#[test]
fn the_official_sdks_work_on_every_dialect() {
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    let scripted = Scripted::start(&python);
    let gateway = scripted.gateway();
    // At once: most of their time they load themselves.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = |(program, script): (&str, &'static str)| {
            let program = match program {
                "python" => python.clone().into_os_string(),
                other => other.into(),
            };
            let gateway = &gateway;
            scope.spawn(move || run_script(&program, script, gateway))
        };
        let running: Vec<_> = CLIENTS.into_iter().map(run).collect();
        running
            .into_iter()
            .filter_map(|client| client.join().expect("no client panics"))
            .collect()
    });
    let (wrong, requests) = scripted.verdict();
    assert!(
        failures.is_empty() && wrong.is_empty() && requests > 0,
        "{}\nof {requests} requests the judges say:\n{}",
        failures.join("\n"),
        wrong.join("\n")
    );
}

#[test]
fn the_golden_files_satisfy_the_official_types() {
    let python = prepared("TOLLGATE_TEST_VENV").join("bin/python");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let script = sources().join("python/golden.py");
    let arguments = ["-B", &tool::path(&script), &tool::path(&golden)];
    let ran = tool::run(&tool::path(&python), &arguments, b"");
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
}
