//! tollgate: the LLM gateway that runs at the network edge.
//!
//! Applications send one OpenAI-shaped request with one key. tollgate reads
//! the body without copying it, decides which provider and model serve it,
//! gets an answer inside the caller's deadline whatever the providers are
//! doing, and writes down what happened.
//!
//! # One request
//!
//! A request walks through rooms in one direction. Nothing reaches back; a
//! later room reads what an earlier one wrote down.
//!
//! ```text
//! accept    listener, connection cap, time for the head            server::front
//! intake    method, path, sizes, key, whole body                   gateway::intake
//! inspect   one strict pass over the bytes, no copy                chat + wire::json
//! describe  what some rule asks for: shape, kind, difficulty,      features + classify, pii
//!           personal data; counts and names, never a text
//! decide    which targets, in which order, and why: pure           table + route::{decide,
//!                                                                  policy, when}
//! admit     reserve a bound in every limit, write it down          gateway::admit + admission,
//!           before anything is sent                                ledger, meter
//! prepare   the bytes as they came, or translated                  gateway::translate
//! dispatch  whom to ask next, for how long: the course is pure     gateway::dispatch + route::course
//! attempt   credential, connect, send, wait for some content;      gateway::attempt
//!           two beside each other where the route hedges           gateway::race
//! relay     event by event; honest about the end                   gateway::relay
//! rescue    somebody else goes on with a stream that broke off     gateway::rescue
//! settle    what it used and cost, budgets, ledger, metrics,       gateway::settle
//!           access log, traces: once, on every exit
//! ```
//!
//! # Who knows whom
//!
//! `units, error <- {wire, classify} <- {chat, pii} <- {dialect, features} <-
//! identity <- {route, meter, admission, ledger} <- fetch <- credential <-
//! table <- gateway <- server, reload <- cli`. `config` is what the operator wrote and
//! is read by `table`, `telemetry`, `server`, `cli`, `reload` and `drill` (which
//! copies a part of it for a gateway of its own) only; requests read
//! [`table::RoutingTable`]. Pingora is named where bytes meet sockets:
//! `gateway`, `server`, `admin`, `demo`, the endpoints and health checks of
//! `route`, `fetch` (what the gateway asks for itself goes over the same connector), and
//! the table's compiler that configures them. `wire`, `chat`,
//! `dialect` and `route::decide` are sans-IO. `tests/tidy.rs` keeps this.
//!
//! # Invariants
//!
//! - A request reads one table, pinned when it arrives.
//! - What a request may reach is fixed once, by its decision, as
//!   [`table::Candidates`]: nothing after that adds to it.
//! - What was inspected is what is forwarded: where both sides speak the same
//!   format, the model is spliced in and every other byte survives; else one
//!   canonical conversation stands between them, never a pair of formats.
//! - Nothing of an answer reaches the client before an attempt holds some of its
//!   content, so failover is invisible; after it, another candidate may only go
//!   on with what the client has.
//! - A stream that did not reach its end never looks as if it had.
//! - What a failure leads to (again, elsewhere, a breaker, an alarm) stands in
//!   one table, `route::fault`.
//! - Breakers, budgets and learned times live outside the table, by name: no
//!   reload forgets them.
//! - No client header leaves but an allow-list; no provider header, error body
//!   or credential comes back but through one.
//! - Every exit of a request passes `gateway::settle` once.
//! - `settled + reserved <= limit`: one function adds to a counter
//!   (`admission::window`), and a request holds an upper bound of all that it may
//!   still cost (`gateway::bill`) from before its intent is in the ledger until
//!   its settlement is.
//! - Money is whole micro-dollars, rounded once; what the budgets were charged is
//!   what the ledger says.
//! - Labels of metrics come from the config, never from a client.
//!
//! # Words
//!
//! `downstream` and `upstream` are the client's and the provider's side. A
//! `Principal` calls; a `Route` (alias) has `Target`s (provider and model); a
//! `Decision` lists candidates; an `Attempt` tries one at an `Address` of one of
//! the provider's endpoints.

pub mod admin;
pub mod admission;
pub mod chat;
pub mod classify;
pub mod cli;
pub mod config;
pub mod credential;
pub mod demo;
pub mod dialect;
pub mod drill;
pub mod error;
pub mod features;
pub mod fetch;
pub mod gateway;
pub mod identity;
pub mod ledger;
pub mod meter;
pub mod pii;
pub mod reload;
pub mod route;
pub mod server;
pub mod table;
pub mod telemetry;
pub mod tls;
pub mod units;
pub mod wire;

/// What providers see as `User-Agent`.
pub const USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
