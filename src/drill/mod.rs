//! The drill: what a route does when its provider misbehaves, tried and not
//! argued.
//!
//! A provider on loopback fails in every way that is known ([`fault`]), byte
//! by byte ([`provider`]). Between it and a client stands the real gateway, a
//! process of its own ([`child`]) under a copy of the route's policy
//! ([`mod@copy`]). Each row of the [`catalogue`] says what has to come out and by
//! when; [`mod@judge`] compares. Nothing of it reaches a real provider, and nobody
//! is billed.
//!
//! All rows run at once, each over an alias and providers of its own, so that a
//! drill lasts about as long as its slowest row.

pub mod catalogue;
mod child;
mod client;
pub mod copy;
pub mod fault;
pub mod judge;
pub mod policy;
pub mod provider;
mod said;
mod scorecard;
mod script;

pub use scorecard::{Line, Scorecard};

use crate::config::{Config, Hash};
use catalogue::{Row, expected, rows};
use child::Gateway;
use copy::{Places, copy};
use judge::{Met, judge};
use policy::Policy;
use provider::{Provider, Seen};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// How long a client waits on after the latest time at which a row is right.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody else may take a port between its choice and its use.
const STARTS: usize = 3;

/// What to drill.
#[derive(Debug)]
pub struct Task<'a> {
    pub config: &'a Config,
    /// The alias, as it stands in the config.
    pub route: &'a str,
    /// The longest deadline; the route's own is taken where it is shorter.
    pub deadline: Duration,
    /// How late an answer may be.
    pub tolerance: Duration,
}

/// Why there was no drill.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("there is no route of this name")]
    NoRoute,
    #[error("{0}")]
    NotStarted(String),
    #[error("interrupted")]
    Interrupted,
}

/// Runs the drill, on a runtime of its own.
///
/// # Errors
/// When there is no such route, the gateway does not start, or a signal came.
pub fn run(task: &Task<'_>) -> Result<Scorecard, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Trouble::NotStarted(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        // Both end the drill only when its process and directory are gone.
        tokio::select! {
            card = drill(task) => card,
            () = told_to_stop() => Err(Trouble::Interrupted),
        }
    })
}

async fn told_to_stop() {
    let terminated = signal(SignalKind::terminate());
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = async {
            match terminated {
                Ok(mut terminated) => { terminated.recv().await; }
                Err(_) => std::future::pending().await,
            }
        } => {}
    }
}

async fn drill(task: &Task<'_>) -> Result<Scorecard, Trouble> {
    let policy = Policy::of(task.config, task.route, task.deadline).ok_or(Trouble::NoRoute)?;
    let rows = rows(&policy);
    let faults = rows.iter().map(|row| (row.name.clone(), row.fault));
    let provider = Provider::start(faults.collect())
        .await
        .map_err(|error| Trouble::NotStarted(format!("no port for the provider: {error}")))?;
    let key = key().map_err(|error| Trouble::NotStarted(format!("no random key: {error}")))?;
    let (_gateway, listen) = started(task, &rows, &provider, &key).await?;
    let deadline = policy.deadline;
    let provider = Arc::new(provider);
    let mut running = JoinSet::new();
    for (at, row) in rows.iter().enumerate() {
        let expected = expected(row, &policy, task.tolerance);
        let request = request(row, listen, &key, deadline);
        let (row, provider) = (row.clone(), Arc::clone(&provider));
        running.spawn(async move {
            let within = expected.all_by + PATIENCE;
            let started = Instant::now();
            let answer = client::call(listen, request.as_bytes(), within).await;
            let seen = provider.seen(&row.name);
            let met = met(&row, answer, started.elapsed(), seen);
            let line = Line {
                verdict: judge(&met, &expected),
                name: row.name,
                seen,
            };
            (at, line)
        });
    }
    let mut lines = running.join_all().await;
    lines.sort_by_key(|(at, _)| *at);
    Ok(Scorecard {
        route: task.route.to_owned(),
        policy,
        lines: lines.into_iter().map(|(_, line)| line).collect(),
    })
}

fn met(row: &Row, answer: io::Result<client::Answer>, took: Duration, seen: Seen) -> Met {
    let answer = answer.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => format!("no end after {} ms", took.as_millis()),
        _ => format!("no head came: {error}"),
    });
    Met {
        answer,
        took,
        streamed: row.streamed,
        calls: row.calls(),
        seen,
    }
}

/// Starts the gateway on ports that are free.
async fn started(
    task: &Task<'_>,
    rows: &[Row],
    provider: &Provider,
    key: &str,
) -> Result<(Gateway, SocketAddr), Trouble> {
    let hash = Hash(Sha256::digest(key.as_bytes()).into());
    let mut last = String::new();
    for _ in 0..STARTS {
        let (listen, admin) = ports()
            .map_err(|error| Trouble::NotStarted(format!("no port for the gateway: {error}")))?;
        let places = Places {
            listen,
            admin,
            provider: provider.address,
            closed: provider.closed,
        };
        let text = copy(task.config, task.route, rows, places, hash).ok_or(Trouble::NoRoute)?;
        match Gateway::start(&text, admin).await {
            Ok(gateway) => return Ok((gateway, listen)),
            Err(error) => last = error,
        }
    }
    Err(Trouble::NotStarted(last))
}

/// Two ports of 127.0.0.1 that nobody had a moment ago.
fn ports() -> io::Result<(SocketAddr, SocketAddr)> {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let (one, two) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
    Ok((one.local_addr()?, two.local_addr()?))
}

/// A fresh key, which dies with the drill.
fn key() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut())?;
    let mut key = Zeroizing::new(String::with_capacity(80));
    key.push_str("tg-drill-");
    for byte in random.iter() {
        let _ = write!(*key, "{byte:02x}");
    }
    Ok(key)
}

/// A row's request, as bytes.
fn request(row: &Row, listen: SocketAddr, key: &str, deadline: Duration) -> Zeroizing<String> {
    let body = said::request(&row.model(), row.streamed, row.calls());
    Zeroizing::new(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {listen}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\
         x-tollgate-deadline-ms: {}\r\nconnection: close\r\n\r\n{body}",
        body.len(),
        deadline.as_millis().max(1),
    ))
}
