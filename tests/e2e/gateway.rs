//! The real binary, started with a config of the test's own.
//!
//! Promises: a started gateway is ready, listens on ports of its own, and is gone (by its pid) when the value is
//! dropped; what it printed can be read at any time. Its directory is new for every start and removed on drop.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{Client, Request, Response, Stream};
use crate::provider::Provider;
use crate::wait::{DEADLINE, eventually, within};

/// The key that most tests use. Its text is also the canary that must never be printed or sent upstream.
pub const KEY: &str = "tg-canary-client-0d5e21f7c9a84b36";
/// The provider's credential, likewise a canary.
pub const SECRET: &str = "sk-canary-provider-77aa41e0b2c94d15";
/// The environment variable that holds it.
pub const SECRET_VARIABLE: &str = "TOLLGATE_E2E_SECRET";

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");

/// A `[keys.NAME]` stanza for a key; `rest` holds further lines.
pub fn key(name: &str, key: &str, rest: &str) -> String {
    format!(
        "[keys.{name}]\nhash = \"sha256:{}\"\n{rest}\n",
        sha256(key.as_bytes())
    )
}

/// The stanza of the test's own key, which may use every alias.
pub fn own_key() -> String {
    key("tester", KEY, "models = [\"*\"]")
}

/// A `[providers.NAME]` stanza for a scripted provider.
pub fn provider(name: &str, provider: &Provider) -> String {
    provider_with(name, provider, "")
}

/// The same with further lines.
pub fn provider_with(name: &str, provider: &Provider, rest: &str) -> String {
    let url = provider.base_url();
    format!(
        "[providers.{name}]\ndialect = \"openai\"\nbase_url = \"{url}\"\ncredential = \"env:{SECRET_VARIABLE}\"\n{rest}\n"
    )
}

/// A `[models.ALIAS]` stanza with ordered targets.
pub fn model(alias: &str, targets: &[&str]) -> String {
    format!("[models.\"{alias}\"]\ntargets = {targets:?}\n")
}

/// The same, where no target is asked again.
pub fn model_once(alias: &str, targets: &[&str]) -> String {
    model(alias, targets) + "retries = 0\n"
}

/// One provider, one alias `m` on it, and the test's own key: what most tests need.
pub fn simple(scripted: &Provider) -> String {
    [
        provider("main", scripted),
        model("m", &["main/upstream-m"]),
        own_key(),
    ]
    .concat()
}

/// A chat request's body.
pub fn chat_body(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}"#)
}

/// A streaming chat request's body.
pub fn stream_body(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}"#
    )
}

/// A chat request with the test's own key.
pub fn chat_request(model: &str) -> Request {
    Request::post("/v1/chat/completions")
        .key(KEY)
        .json(chat_body(model))
}

/// A streaming chat request with the test's own key.
pub fn stream_request(model: &str) -> Request {
    Request::post("/v1/chat/completions")
        .key(KEY)
        .json(stream_body(model))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A port that nobody used a moment ago. Each call gives another one, and all lie below the range from which the
/// system picks ports for outgoing connections, so that only another process's fixed port can be in the way.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    eventually("a free port", || {
        let step = NEXT.fetch_add(1, Ordering::SeqCst);
        let port = u16::try_from(12_000 + start.wrapping_add(step) % 18_000).ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    })
}

/// A directory that is removed when the value is dropped.
pub struct Directory(PathBuf);

impl std::ops::Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new, empty directory.
pub fn directory() -> Directory {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("no temporary directory");
    Directory(path)
}

/// Runs the binary to its end: a verb such as `check`.
pub fn run(arguments: &[&str]) -> Finished {
    let output = Command::new(BINARY)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary does not start");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a finished run left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub directory: Directory,
    stdout: Output,
    stderr: Output,
}

type Output = Arc<Mutex<Vec<u8>>>;

impl Gateway {
    /// Starts a gateway whose config is the listeners followed by `toml`, and waits until it is ready.
    pub fn start(toml: &str) -> Self {
        Self::start_with("", toml)
    }

    /// The same with further lines of the first `[[listen]]` stanza.
    pub fn start_with(listener: &str, toml: &str) -> Self {
        Self::start_from(|address, admin| {
            format!(
                "[[listen]]\naddress = \"{address}\"\n{listener}\n\n[admin]\nlisten = \"{admin}\"\n\n{toml}"
            )
        })
    }

    /// Starts a gateway as `start` does, with these variables in its environment.
    pub fn start_in(environment: &[(&str, &str)], toml: &str) -> Self {
        Self::start_all(environment, |address, admin| {
            format!(
                "[[listen]]\naddress = \"{address}\"\n\n[admin]\nlisten = \"{admin}\"\n\n{toml}"
            )
        })
    }

    /// Starts a gateway through a program that ends as the gateway: `sh -c 'ulimit ...; exec "$@"' sh`.
    pub fn start_through(program: &[&str], environment: &[(&str, &str)], toml: &str) -> Self {
        Self::start_as(program, environment, |address, admin| {
            format!(
                "[[listen]]\naddress = \"{address}\"\n\n[admin]\nlisten = \"{admin}\"\n\n{toml}"
            )
        })
    }

    /// Starts a gateway from the whole text of a config, made from its address and its admin address.
    pub fn start_from(text: impl Fn(SocketAddr, SocketAddr) -> String) -> Self {
        Self::start_all(&[], text)
    }

    /// Starts a gateway from an environment and a config.
    ///
    /// # Panics
    /// When it does not become ready; the message shows what it printed.
    fn start_all(
        environment: &[(&str, &str)],
        text: impl Fn(SocketAddr, SocketAddr) -> String,
    ) -> Self {
        Self::start_as(&[], environment, text)
    }

    fn start_as(
        program: &[&str],
        environment: &[(&str, &str)],
        text: impl Fn(SocketAddr, SocketAddr) -> String,
    ) -> Self {
        let mut failures = String::new();
        for _ in 0..4 {
            match Self::try_start(program, environment, &text) {
                Ok(gateway) => return gateway,
                Err(failure) => failures.push_str(&failure),
            }
        }
        panic!("the gateway did not start:\n{failures}");
    }

    fn try_start(
        program: &[&str],
        environment: &[(&str, &str)],
        text: impl Fn(SocketAddr, SocketAddr) -> String,
    ) -> Result<Self, String> {
        let directory = directory();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = directory.join("tollgate.toml");
        fs::write(&config, text(address, admin)).expect("the config cannot be written");
        let words = [program, &[BINARY, "run", "-c"]].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(&config)
            .env(SECRET_VARIABLE, SECRET)
            .envs(environment.iter().copied())
            .current_dir(&*directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary does not start");
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let mut gateway = Self {
            child,
            address,
            admin,
            directory,
            stdout,
            stderr,
        };
        let ready = within(DEADLINE, || {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                return Some(Err(status));
            }
            let both = gateway.is_ready() && Client::connect(address).is_ok();
            both.then_some(Ok(()))
        });
        match ready {
            Some(Ok(())) => Ok(gateway),
            end => Err(format!(
                "{end:?}, stdout:\n{}\nstderr:\n{}\n",
                gateway.stdout(),
                gateway.stderr()
            )),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.try_admin("/readyz")
            .is_some_and(|response| response.status == 200)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed on standard output so far: the access log.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// What it printed on standard error so far: the operator's log.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// The access log's line about a request, as soon as it is there.
    pub fn access_line(&self, id: &str) -> Value {
        eventually(&format!("an access log line about {id}"), || {
            self.stdout()
                .lines()
                .find(|line| line.contains(id))
                .map(|line| {
                    serde_json::from_str(line)
                        .unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
                })
        })
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address).expect("the gateway does not accept connections")
    }

    /// Sends a request on a connection of its own.
    pub fn call(&self, request: &Request) -> Response {
        self.connect()
            .call(request)
            .expect("the gateway gave no answer")
    }

    /// Sends bytes on a connection of their own and reads the answer.
    pub fn send(&self, bytes: &[u8]) -> Response {
        let mut client = self.connect();
        // The gateway may refuse and close before it has read everything; the answer counts.
        let _ = client.send(bytes);
        client.response().expect("the gateway gave no answer")
    }

    /// A chat with the test's own key.
    pub fn chat(&self, model: &str) -> Response {
        self.call(&chat_request(model))
    }

    /// A streaming chat with the test's own key, from its head on.
    pub fn stream(&self, model: &str) -> Stream {
        self.connect()
            .stream(&stream_request(model))
            .expect("no stream")
    }

    fn try_admin(&self, path: &str) -> Option<Response> {
        let request = Request::get(path).header("connection", "close");
        Client::connect(self.admin).ok()?.call(&request).ok()
    }

    pub fn admin(&self, path: &str) -> Response {
        self.try_admin(path)
            .expect("the admin listener gave no answer")
    }

    pub fn metrics(&self) -> String {
        let response = self.admin("/metrics");
        assert_eq!(response.status, 200);
        response.text()
    }

    /// The sum of all series of a metric that carry these labels; 0 when there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.metrics(), name, labels)
    }

    /// The version of the table in force.
    pub fn version(&self) -> f64 {
        self.metric("tollgate_config_version", &[])
    }

    pub fn config_path(&self) -> PathBuf {
        self.directory.join("tollgate.toml")
    }

    /// Puts a new config file in the place of the old one, all at once, with the same listeners.
    pub fn replace_config(&self, toml: &str) {
        let text = format!(
            "[[listen]]\naddress = \"{}\"\n\n[admin]\nlisten = \"{}\"\n\n{toml}",
            self.address, self.admin
        );
        self.replace_file(&text);
    }

    /// Puts this text in the place of the config file, all at once.
    pub fn replace_file(&self, text: &str) {
        let next = self.directory.join("next.toml");
        fs::write(&next, text).expect("the config cannot be written");
        fs::rename(&next, self.config_path()).expect("the config cannot be replaced");
    }

    /// Replaces the config, sends SIGHUP and waits until it was taken (`"ok"`) or refused (`"error"`).
    pub fn reload(&self, toml: &str, result: &str) {
        let before = self.reloads(result);
        self.replace_config(toml);
        self.signal("HUP");
        eventually(&format!("a reload with the result {result}"), || {
            (self.reloads(result) > before).then_some(())
        });
    }

    pub fn reloads(&self, result: &str) -> f64 {
        self.metric("tollgate_config_reload_total", &[("result", result)])
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .expect("no kill command");
        assert!(status.success(), "the gateway is gone: {}", self.stderr());
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the gateway ends", || {
            child.try_wait().expect("the gateway cannot be waited for")
        })
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the gateway is gone");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("no VmRSS");
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .expect("VmRSS is a number")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of the gateway\n{}", tail(&self.stderr()));
            eprintln!("--- stdout of the gateway\n{}", tail(&self.stdout()));
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(crate::client::capped).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

fn collect(mut pipe: impl Read + Send + 'static) -> Output {
    let output = Output::default();
    let sink = Arc::clone(&output);
    std::thread::spawn(move || {
        let mut piece = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            sink.lock().unwrap().extend_from_slice(&piece[..length]);
        }
    });
    output
}

/// The sum of the series of `name` in Prometheus's text format that carry `labels`.
pub fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    let values = metrics.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, set) = series.split_once('{').unwrap_or((series, ""));
        (found == name && wanted.iter().all(|label| set.contains(label))).then_some(value)
    });
    values
        .map(|value| value.parse::<f64>().expect("a metric's value is a number"))
        .sum()
}

#[test]
fn sums_only_the_series_that_carry_the_labels() {
    let text = "# HELP a x\n# TYPE a counter\na{r=\"1\",s=\"2\"} 3\na{r=\"1\",s=\"3\"} 4\nab{r=\"1\"} 9\nplain 7\n";
    assert_eq!(sum(text, "a", &[("r", "1")]), 7.0);
    assert_eq!(sum(text, "a", &[("s", "3")]), 4.0);
    assert_eq!(sum(text, "plain", &[]), 7.0);
}
