//! A gateway under test, and how to know that it is up.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cpu;
use crate::failure::Failure;
use crate::measure::Bench;
use crate::process::{Running, wait_for};
use crate::scratch;

const START: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_millis(500);

/// Something to measure: its name in the table, and how to start it.
pub struct Contender {
    pub name: &'static str,
    pub start: fn(&Bench<'_>) -> Result<Gateway, Failure>,
}

/// A contender that is up; dropping it ends it.
pub struct Gateway {
    pub port: u16,
    pub process: Running,
    /// Where it writes errors.
    pub log: PathBuf,
}

impl Gateway {
    /// An error about this gateway, with the last lines of its log.
    pub fn failure(&self, what: impl std::fmt::Display) -> Failure {
        with_log(self.process.name(), what, &self.log)
    }
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports that nobody listens on now. All are held until all are known, so they differ.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Failure> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(loopback(0)).map_err(Failure::during("finding a port"))?;
        let address = listener
            .local_addr()
            .map_err(Failure::during("finding a port"))?;
        *port = address.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Polls until `port` accepts a connection; a process that ends meanwhile fails at once.
pub fn wait_until_listening(port: u16, process: &Running, log: &Path) -> Result<(), Failure> {
    let outcome = wait_for("listening", START, || {
        cpu::ticks(process.pid())?;
        Ok(TcpStream::connect_timeout(&loopback(port), CONNECT).ok())
    });
    match outcome {
        Ok(_) => Ok(()),
        Err(Failure::Run(what)) => Err(with_log(process.name(), what, log)),
        Err(other) => Err(other),
    }
}

fn with_log(name: &str, what: impl std::fmt::Display, log: &Path) -> Failure {
    let lines = scratch::last_lines(log);
    let separator = if lines.is_empty() {
        ""
    } else {
        "\nits log ends with:\n"
    };
    Failure::Run(format!("{name}: {what}{separator}{lines}"))
}
