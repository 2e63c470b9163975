//! Clients that keep asking while a test changes something.
//!
//! Promises: every request is counted, either as done or, with what was wrong, as failed. Connections are kept and
//! nothing is retried, so a request that the gateway loses is seen.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::client::{Kept, Request, Response};
use crate::wait::eventually;

/// Running clients. A client stops at its first failure.
pub struct Load {
    state: Arc<State>,
    clients: Vec<JoinHandle<()>>,
}

struct State {
    stop: AtomicBool,
    done: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl State {
    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }
}

impl Load {
    /// Starts `clients` clients that send `request` again and again; an answer is right when `check` says so.
    pub fn start(
        address: SocketAddr,
        clients: usize,
        request: &Request,
        check: fn(&Response) -> bool,
    ) -> Self {
        let state = Arc::new(State {
            stop: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        let clients = (0..clients)
            .map(|_| {
                let (state, request) = (Arc::clone(&state), request.clone());
                std::thread::spawn(move || run(address, &request, check, &state))
            })
            .collect();
        Self { state, clients }
    }

    pub fn done(&self) -> usize {
        self.state.done.load(Ordering::SeqCst)
    }

    /// Waits until this many more requests have been answered, so that a change has met real traffic.
    pub fn pass(&self, more: usize) {
        let goal = self.done() + more;
        eventually("the load makes progress", || {
            (self.done() >= goal || self.failed()).then_some(())
        });
    }

    fn failed(&self) -> bool {
        !self.state.failures.lock().unwrap().is_empty()
    }

    /// Stops the clients of a gateway that has ended, and returns how many requests were answered before.
    pub fn abandon(self) -> usize {
        self.state.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client panicked");
        }
        self.state.done.load(Ordering::SeqCst)
    }

    /// Stops the clients and returns how many requests were answered.
    ///
    /// # Panics
    /// When a single request failed; the message shows the first ones.
    pub fn finish(self) -> usize {
        self.state.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client panicked");
        }
        let failures = self.state.failures.lock().unwrap();
        let done = self.state.done.load(Ordering::SeqCst);
        let first = &failures[..failures.len().min(5)];
        assert!(
            failures.is_empty(),
            "{} requests failed beside {done} good ones: {first:#?}",
            failures.len()
        );
        done
    }
}

fn run(address: SocketAddr, request: &Request, check: fn(&Response) -> bool, state: &State) {
    let mut client = Kept::new(address);
    while !state.stop.load(Ordering::SeqCst) {
        match client.call(request) {
            Ok(response) if check(&response) => {
                state.done.fetch_add(1, Ordering::SeqCst);
            }
            Ok(response) => return state.fail(format!("{}: {}", response.status, response.text())),
            Err(error) => return state.fail(error.to_string()),
        }
    }
}
