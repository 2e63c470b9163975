//! The gateway under drill: a process of the same binary, with a directory of
//! its own.
//!
//! Promises: the directory is the user's alone, and both are gone when the
//! value is dropped, whatever happened. What the process logs stays in the
//! directory; its last lines are shown when it does not start.

use super::client;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take, on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Lines of the log that are shown.
const SHOWN: usize = 8;

/// A directory that is removed when the value is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("tollgate-drill-{:016x}", u64::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        // Fails where there is one already: nobody else's is taken.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.0.join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The running process.
pub struct Gateway {
    child: Child,
    // Dropped after the process is gone.
    directory: Directory,
}

impl Gateway {
    /// Starts the gateway with this config, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready, with the end of its log.
    pub async fn start(config: &str, admin: SocketAddr) -> Result<Self, String> {
        let mut gateway = Self::spawn(config)
            .map_err(|error| format!("the gateway under drill cannot be started: {error}"))?;
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                return Err(gateway.trouble(&format!("ended with {status}")));
            }
            if is_ready(admin).await {
                return Ok(gateway);
            }
            if started.elapsed() > START {
                return Err(gateway.trouble("does not become ready"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn spawn(config: &str) -> io::Result<Self> {
        let directory = Directory::new()?;
        directory
            .create("tollgate.toml")?
            .write_all(config.as_bytes())?;
        let log = directory.create("log")?;
        let child = Command::new(std::env::current_exe()?)
            .args(["run", "-c", "tollgate.toml"])
            .current_dir(&directory.0)
            // Whoever supervises this process is told nothing about that one.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, directory })
    }

    fn trouble(&self, what: &str) -> String {
        let log = tail(&self.directory.0.join("log"));
        format!("the gateway under drill {what}; the end of its log:\n{log}")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let answer = client::call(admin, request.as_bytes(), Duration::from_secs(1)).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_directory_is_the_users_alone_and_goes() {
        let directory = Directory::new().unwrap();
        let path = directory.0.clone();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path) & 0o077, 0);
        drop(directory.create("log").unwrap());
        assert_eq!(mode(&path.join("log")) & 0o077, 0);
        assert!(directory.create("log").is_err(), "a file was opened twice");
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        let directory = Directory::new().unwrap();
        let lines: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let text = lines.join("\n");
        directory
            .create("log")
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let shown = tail(&directory.0.join("log"));
        assert_eq!(shown.lines().next(), Some("12"));
        assert_eq!(shown.lines().last(), Some("19"));
        assert_eq!(tail(Path::new("/nonexistent")), "");
    }
}
