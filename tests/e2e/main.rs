//! End to end: the real binary between real sockets.
//!
//! Each file is one theme. A test starts providers that do exactly what it says (`provider`), the binary with a
//! config of its own (`gateway`), and looks at both sides through clients that hide nothing (`client`). curl,
//! h2load, openssl, promtool and the official SDKs are the clients that we did not write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a failed assertion is a test's way to speak, in its instruments too"
)]

mod accounts;
mod client;
mod gate;
mod gateway;
mod load;
mod provider;
mod rig;
mod tool;
mod translation;
mod wait;

mod access_log;
mod adversity;
mod bedrock_stream;
mod body;
mod breaker;
mod broken_streams;
mod budgets;
mod cli;
mod clock_jumps;
mod compatible;
mod credential_aws;
mod credential_google;
mod deadline;
mod dialects;
mod drill;
mod endpoints;
mod errors;
mod failover;
mod faults;
mod fleet;
mod graded;
mod headers;
mod hedging;
mod http2_tls;
mod inbound;
mod keys;
mod late_limits;
mod ledger_crash;
mod limits;
mod metrics;
mod monitoring;
mod packaging;
mod prices;
mod reload;
mod retries;
mod review_failover;
mod routing;
mod sdk;
mod stop;
mod storm;
mod stream;
mod streams_billed;
mod traces;
mod virtual_keys;
