//! Child processes that do not outlive the harness.
//!
//! Three things end them: the guard's `Drop` (normal end, error, panic), the harness noticing
//! SIGINT or SIGTERM and returning (they are in process groups of their own, so a terminal's
//! Ctrl-C reaches only the harness), and the kernel's parent-death signal if it is killed.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cpu;
use crate::failure::Failure;

const POLL: Duration = Duration::from_millis(10);
const TOOLS: [&str; 5] = ["nginx", "wrk", "taskset", "setpriv", "getconf"];

static STOPPED: AtomicBool = AtomicBool::new(false);

/// # Errors
/// `Setup` naming every program that is missing.
pub fn require_tools() -> Result<(), Failure> {
    let missing: Vec<&str> = TOOLS.into_iter().filter(|t| !is_installed(t)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Setup(format!(
        "not installed: {}. `make bench` installs them (Debian packages nginx, wrk, util-linux, libc-bin)",
        missing.join(", ")
    )))
}

fn is_installed(tool: &str) -> bool {
    // Debian keeps nginx in /usr/sbin, which is not on everyone's PATH.
    search_path().is_some_and(|path| std::env::split_paths(&path).any(|d| d.join(tool).is_file()))
}

fn search_path() -> Option<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::join_paths(std::env::split_paths(&path).chain(sbin)).ok()
}

/// A command for one of `TOOLS`, found where `require_tools` found it.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    if let Some(path) = search_path() {
        command.env("PATH", path);
    }
    command
}

/// From now on SIGINT and SIGTERM make every wait in this module end with `Interrupted`.
pub fn watch_signals() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::during("starting the signal watch"))?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        signal(SignalKind::interrupt())
            .and_then(|i| Ok((i, signal(SignalKind::terminate())?)))
            .map_err(Failure::during("watching signals"))?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        STOPPED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Polls `attempt` until it yields, the time is up (`Run`, naming `what`) or we are interrupted.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        if STOPPED.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Failure::Run(format!("{what}: not within {limit:?}")));
        }
        #[expect(clippy::disallowed_methods, reason = "the pause between two polls")]
        std::thread::sleep(POLL);
    }
}

/// A command that will run on one CPU, with nothing on stdin.
pub fn pinned(cpu: usize, program: &Path) -> Command {
    let mut command = tool("setpriv");
    command
        .args(["--pdeathsig", "TERM", "taskset", "-c"])
        .arg(cpu.to_string())
        .arg(program)
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// Both output streams of `command` into `log`.
pub fn log_to(command: &mut Command, log: &Path) -> Result<(), Failure> {
    let open = || File::options().create(true).append(true).open(log);
    let (out, err) = open()
        .and_then(|out| Ok((out, open()?)))
        .map_err(Failure::during(format!("opening {}", log.display())))?;
    command.stdout(out).stderr(err);
    Ok(())
}

/// A child process; dropping it ends it and its descendants.
pub struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    pub fn start(name: &'static str, command: &mut Command) -> Result<Self, Failure> {
        let child = command
            .spawn()
            .map_err(Failure::during(format!("starting {name}")))?;
        Ok(Self { name, child })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for an end by itself, for at most `limit`; gives what it wrote to a piped stdout.
    pub fn finish(mut self, limit: Duration) -> Result<(ExitStatus, String), Failure> {
        let status = wait_for(self.name, limit, || {
            self.child.try_wait().map_err(Failure::during(self.name))
        })?;
        let mut output = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut output)
                .map_err(Failure::during(format!("reading from {}", self.name)))?;
        }
        Ok((status, output))
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing here has state worth a graceful end, but nginx's worker would outlive
            // `Child::kill`, which knows one process.
            kill(&cpu::family(self.pid()));
        }
        // Reaped, or about to be: SIGKILL cannot be refused.
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn kill(pids: &[u32]) {
    // The shell's own kill: the program of that name is not on every machine.
    let sent = Command::new("sh")
        .args(["-c", "kill -KILL \"$@\"", "kill"])
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
    if let Err(error) = sent {
        eprintln!("load: cannot end {pids:?}: {error}");
    }
}
