//! One run of wrk, read through a line that its own script prints.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::body::PATH;
use crate::failure::Failure;
use crate::gateway::loopback;
use crate::process::{Running, pinned};
use crate::scratch::Scratch;
use crate::tollgate::KEY;

/// How long wrk may take over the time it was given, to connect and to close.
const SLACK: Duration = Duration::from_secs(15);
const MARK: &str = "load-summary";

pub struct Run<'a> {
    pub port: u16,
    pub script: &'a Path,
    pub connections: usize,
    pub seconds: u64,
    pub cpu: usize,
}

#[derive(Debug, PartialEq)]
pub struct Summary {
    pub requests: u64,
    /// All that was received, heads included.
    pub bytes: u64,
    pub duration_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Statuses above 399.
    pub refused: u64,
    /// Failed connects, reads and writes, and time-outs.
    pub socket_errors: u64,
}

/// The script that sends `body`. It defines no `request` function, so wrk formats the request
/// once and Lua is out of the way while the run lasts.
pub fn write_script(scratch: &Scratch, body: &str) -> Result<std::path::PathBuf, Failure> {
    let body = scratch.write("body.json", body)?;
    let body = body.display().to_string();
    let script = format!(
        r#"local file = assert(io.open({body:?}, "rb"))
wrk.method = "POST"
wrk.path = "{PATH}"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {KEY}"
file:close()

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("{MARK} %d %d %d %.1f %.1f %d %d\n",
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"#
    );
    scratch.write("wrk.lua", &script)
}

pub fn run(run: &Run<'_>) -> Result<Summary, Failure> {
    let mut command = pinned(run.cpu, Path::new("wrk"));
    command
        .args(["--threads", "1", "--timeout", "10s", "--connections"])
        .arg(run.connections.to_string())
        .arg("--duration")
        .arg(format!("{}s", run.seconds))
        .arg("--script")
        .arg(run.script)
        .arg(format!("http://{}", loopback(run.port)))
        .stdout(Stdio::piped());
    let limit = Duration::from_secs(run.seconds) + SLACK;
    let (status, output) = Running::start("wrk", &mut command)?.finish(limit)?;
    if !status.success() {
        return Err(Failure::Run(format!("wrk: {status}\n{output}")));
    }
    parse(&output).ok_or_else(|| Failure::Run(format!("wrk printed no summary:\n{output}")))
}

pub fn parse(output: &str) -> Option<Summary> {
    let line = output.lines().find_map(|line| line.strip_prefix(MARK))?;
    let mut fields = line.split_whitespace();
    let mut next = || fields.next();
    Some(Summary {
        requests: next()?.parse().ok()?,
        bytes: next()?.parse().ok()?,
        duration_us: next()?.parse().ok()?,
        p50_us: next()?.parse().ok()?,
        p99_us: next()?.parse().ok()?,
        refused: next()?.parse().ok()?,
        socket_errors: next()?.parse().ok()?,
    })
}
