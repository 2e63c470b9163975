//! Waiting for a provider while the client waits too.
//!
//! Whatever is waited for, the client is watched: when it leaves, so does the
//! wait, and what was waited for is dropped, which closes its connection. A
//! client of a stream can be kept company: its route may ask for the head to be
//! sent early, and for comments while nothing else comes. What has been sent
//! then commits to nothing but a stream; who serves it is still open.

use super::relay::{open_body, write};
use super::reply::{head, put};
use super::{Ctx, Ending, Stop};
use crate::table::Terms;
use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::Session;
use std::pin::pin;
use std::time::{Duration, Instant};

/// A line that SSE clients ignore (HTML, 9.2.6: lines that begin with a colon).
const COMMENT: &[u8] = b": keep-alive\n\n";

/// Why the waiting for a provider ends before the provider says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The client left.
    Client,
    /// The gateway is being stopped and its grace period is over.
    Gateway,
}

/// Keeps a waiting client of a stream company.
#[derive(Debug, Default)]
pub struct Company {
    every: Option<Duration>,
    next: Option<Instant>,
    /// The head goes out before anybody has answered.
    pub is_early: bool,
    /// The head of the answer is out: what follows is a stream.
    pub head_sent: bool,
}

impl Company {
    /// For a stream under these terms.
    pub fn of(terms: &Terms, now: Instant) -> Self {
        Self {
            every: terms.keep_alive,
            next: terms.keep_alive.map(|every| now + every),
            is_early: terms.early_headers,
            head_sent: false,
        }
    }
}

/// Waits for `work` as long as the client and the gateway are there.
pub async fn watch<F: Future>(
    session: &mut Session,
    ctx: &mut Ctx,
    work: F,
) -> Result<F::Output, Interruption> {
    let mut work = pin!(work);
    let mut ending = ctx.ending.clone();
    loop {
        let comment = ctx.company.next;
        let due = async {
            match comment {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            why = interrupted(&mut session.downstream_session, &mut ending) => return Err(why),
            () = due => speak(session, ctx).await.map_err(|_| Interruption::Client)?,
        }
    }
}

/// Sends the head of a stream before there is one.
pub async fn greet(session: &mut Session, ctx: &mut Ctx) -> Result<(), Stop> {
    if ctx.company.head_sent {
        return Ok(());
    }
    let mut to = head(200, ctx)?;
    put(&mut to, "content-type", "text/event-stream");
    put(&mut to, "cache-control", "no-cache");
    open_body(session, ctx, to).await
}

async fn speak(session: &mut Session, ctx: &mut Ctx) -> Result<(), Stop> {
    greet(session, ctx).await?;
    let comment = Bytes::from_static(COMMENT);
    write(&mut session.downstream_session, ctx, comment, false).await?;
    ctx.company.next = ctx.company.every.map(|every| Instant::now() + every);
    Ok(())
}

/// Resolves when there is nobody left to wait for, or no time.
pub async fn interrupted(session: &mut ServerSession, ending: &mut Ending) -> Interruption {
    tokio::select! {
        () = gone(session) => Interruption::Client,
        _ = ending.wait_for(|over| *over) => Interruption::Gateway,
    }
}

async fn gone(session: &mut ServerSession) {
    if session.read_body_or_idle(true).await.is_ok() {
        // Not a disconnect, and there is nothing more to learn here.
        std::future::pending::<()>().await;
    }
}
