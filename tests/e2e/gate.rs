//! Scripts that wait for the test: for its leave to go on, and for the other side to go away.
//!
//! Promises: what is shut stays shut until the test opens it, so that "not before" needs no clock; a script that
//! waits ends with the test.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::provider::Script;
use crate::wait::{DEADLINE, eventually, within};

/// A breaker that does not get into the way of what else is looked at.
pub const STURDY: &str = "breaker = { consecutive_failures = 1000, error_rate = 1.0 }";

/// Shut at first. What waits at it goes on when the test opens it, or drops the last handle that could.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        let (is_open, changed) = &*self.0;
        *is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    fn wait(&self) {
        let (is_open, changed) = &*self.0;
        let shut = is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = changed.wait_timeout_while(shut, DEADLINE, |is_open| !*is_open);
    }
}

/// Does nothing before the gate is open.
pub fn behind(gate: &Gate, script: Script) -> Script {
    let gate = gate.clone();
    Arc::new(move |request, wire| {
        gate.wait();
        script(request, wire)
    })
}

/// Sends the head of a stream and these bytes of it at once, and the rest, if any, once the gate is open; then it
/// says nothing more until the peer leaves.
pub fn begun(chunks: &[&str], gate: &Gate, rest: &[&str]) -> Script {
    let own = |list: &[&str]| list.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    let (chunks, rest, gate) = (own(chunks), own(rest), gate.clone());
    Arc::new(move |_, wire| {
        wire.stream_head()?;
        for chunk in &chunks {
            wire.chunk(chunk.as_bytes())?;
        }
        if rest.is_empty() {
            wire.done = true;
            wire.peer_left();
            return Ok(());
        }
        gate.wait();
        for chunk in &rest {
            wire.chunk(chunk.as_bytes())?;
        }
        wire.end()
    })
}

/// A stream of nothing but comments, which goes on until the peer leaves.
pub fn pings() -> Script {
    Arc::new(|_, wire| {
        wire.stream_head()?;
        wire.done = true;
        let left = within(DEADLINE, || wire.chunk(b": ping\n\n").err());
        left.map_or(Ok(()), Err)
    })
}

/// Says nothing, and tells the test how often the peer of such a connection has left.
pub fn abandoned(left: &Arc<Mutex<usize>>) -> Script {
    let left = Arc::clone(left);
    Arc::new(move |_, wire| {
        wire.done = true;
        if wire.peer_left() {
            *left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        Ok(())
    })
}

/// An address where connections are neither taken nor refused: its queue is full and nobody takes from it.
pub struct Hole {
    pub address: SocketAddr,
    _listener: socket2::Socket,
    _waiting: Vec<TcpStream>,
}

impl Hole {
    pub fn dig() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        let second = std::time::Duration::from_secs(1);
        eventually(
            "the queue of a listener is full",
            || match TcpStream::connect_timeout(&address, second) {
                Ok(stream) => {
                    waiting.push(stream);
                    None
                }
                Err(_) => Some(()),
            },
        );
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }
}
