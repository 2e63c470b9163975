//! A provider on loopback that fails on purpose, byte by byte.
//!
//! Promises: OpenAI's chat completions over HTTP/1.1, streamed or not, written
//! to the socket as the fault of the request's path says; every request is
//! counted; no fault lasts longer than [`LONGEST`]. It serves
//! `/SIDE/NAME/v1/chat/completions`: at `primary` it does the fault of that
//! name, at `fallback` it answers whole. No framework: what is on the wire is
//! what is in `script`.

use super::fault::{Fault, LONGEST};
use super::said::Asked;
use super::script::{self, After};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// More than any request of the drill's.
const LONGEST_REQUEST: usize = 1 << 20;

/// A connection without a request.
const IDLE: Duration = Duration::from_secs(60);

/// How long a reset waits, so that what was written before it gets through.
const BEFORE_RESET: Duration = Duration::from_millis(50);

/// Which of the two providers was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Primary,
    Fallback,
}

impl Side {
    /// Its name in the config and in paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Fallback => "fallback",
        }
    }
}

/// How many requests came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub primary: usize,
    pub fallback: usize,
}

/// The running provider. It ends when the value is dropped.
pub struct Provider {
    pub address: SocketAddr,
    /// An address at which connecting is refused, for as long as this lives.
    pub closed: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
    /// Bound, so that the port stays taken; not listening.
    _grave: TcpSocket,
}

struct State {
    faults: HashMap<String, Fault>,
    seen: Mutex<HashMap<String, Seen>>,
}

impl State {
    /// Counts a request; gives its number from 0 at this side.
    fn count(&self, side: Side, name: &str) -> usize {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(name.to_owned()).or_default();
        let counter = match side {
            Side::Primary => &mut seen.primary,
            Side::Fallback => &mut seen.fallback,
        };
        let before = *counter;
        *counter = counter.saturating_add(1);
        before
    }
}

impl Provider {
    /// Starts it on free ports of 127.0.0.1, with the faults by their names.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(faults: HashMap<String, Fault>) -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await?;
        let grave = TcpSocket::new_v4()?;
        grave.bind(any)?;
        let state = Arc::new(State {
            faults,
            seen: Mutex::default(),
        });
        Ok(Self {
            address: listener.local_addr()?,
            closed: grave.local_addr()?,
            accepting: tokio::spawn(accept(listener, Arc::clone(&state))),
            state,
            _grave: grave,
        })
    }

    /// Requests that came so far for the fault of this name.
    pub fn seen(&self, name: &str) -> Seen {
        let all = self.state.seen.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        all.get(name).copied().unwrap_or_default()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connections are this task's own: they end with it.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    open.spawn(converse(stream, Arc::clone(&state)));
                }
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// Serves one connection to its end. A peer that breaks off wants no answer.
async fn converse(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire {
        stream,
        read: Vec::new(),
    };
    loop {
        let asked = tokio::time::timeout(IDLE, wire.request()).await;
        let Ok(Ok(Some((path, body)))) = asked else {
            return;
        };
        let after = match place(&path) {
            Some((side, name)) => {
                let nth = state.count(side, name);
                let fault = match (side, state.faults.get(name)) {
                    (Side::Primary, Some(fault)) if nth == 0 || !fault.passes() => *fault,
                    _ => Fault::Healthy,
                };
                let asked = Asked::of(&body);
                let acting = script::act(fault, &asked, &mut wire);
                tokio::time::timeout(LONGEST, acting).await
            }
            None => Ok(script::nowhere(&mut wire).await),
        };
        match after {
            Ok(Ok(After::Keep)) => {}
            Ok(Ok(After::Reset)) => {
                tokio::time::sleep(BEFORE_RESET).await;
                let _ = wire.stream.set_zero_linger();
                return;
            }
            _ => return,
        }
    }
}

/// The side and the fault's name that a path names.
fn place(path: &str) -> Option<(Side, &str)> {
    let (side, rest) = path.strip_prefix('/')?.split_once('/')?;
    let side = [Side::Primary, Side::Fallback]
        .into_iter()
        .find(|known| known.name() == side)?;
    Some((side, rest.strip_suffix("/v1/chat/completions")?))
}

/// One end of a connection, for raw bytes.
pub struct Wire {
    stream: TcpStream,
    /// Read, but not used yet.
    read: Vec<u8>,
}

impl Wire {
    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the peer has left.
    pub async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// One chunk of a chunked body.
    ///
    /// # Errors
    /// When the peer has left.
    pub async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut message = format!("{:x}\r\n", bytes.len()).into_bytes();
        message.extend_from_slice(bytes);
        message.extend_from_slice(b"\r\n");
        self.raw(&message).await
    }

    /// Says nothing until the peer leaves.
    ///
    /// # Errors
    /// When the connection breaks, which is the same.
    pub async fn hold(&mut self) -> io::Result<()> {
        let mut piece = [0; 1024];
        while self.stream.read(&mut piece).await? > 0 {}
        Ok(())
    }

    /// The next request's path and body; `None` at the connection's end.
    async fn request(&mut self) -> io::Result<Option<(String, Vec<u8>)>> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break at.saturating_add(4);
            }
            if self.more().await? == 0 {
                return Ok(None);
            }
        };
        let rest = self.read.split_off(end);
        let head = String::from_utf8_lossy(&std::mem::replace(&mut self.read, rest)).into_owned();
        let path = head.split_ascii_whitespace().nth(1).unwrap_or_default();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(Ok(0), |(_, value)| value.trim().parse())
            .map_err(|_| io::ErrorKind::InvalidData)?;
        while self.read.len() < length {
            if self.more().await? == 0 {
                return Ok(None);
            }
        }
        let rest = self.read.split_off(length);
        let body = std::mem::replace(&mut self.read, rest);
        Ok(Some((path.to_owned(), body)))
    }

    async fn more(&mut self) -> io::Result<usize> {
        if self.read.len() > LONGEST_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.stream.read_buf(&mut self.read).await
    }
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
