//! The process: listeners, the gateway behind them, the operator's listener,
//! and the background work, assembled on Pingora's server.

mod accounts;
mod control;
mod fleet;
mod front;
mod keys;
mod status;

use crate::admin::{self, Admin};
use crate::config::{self, Config, Listen};
use crate::demo;
use crate::gateway::{Accounts, Gateway};
use crate::ledger::keys::Live;
pub use crate::reload::Source;
use crate::reload::{self, Reloader, Shared};
use crate::route::standing::Board;
use crate::table::RoutingTable;
use crate::telemetry::{AccessLog, Metrics, Traces, access_log};
use crate::tls::{Certificate, Resolver};
use arc_swap::ArcSwap;
use control::{Control, FAREWELL, Stopping};
use front::{Front, Opening};
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::background::background_service;
use pingora_core::services::listening::Service;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::watch;

/// Read buffer of a client's connection. Pingora's default is 64 KiB, kept for
/// as long as the connection lives, and most connections are idle.
const READ_BUFFER: usize = 4 << 10;

/// Write buffer of a client's connection; larger writes pass it by.
const WRITE_BUFFER: usize = 1460;

/// Everything that the process shares.
struct House {
    source: Source,
    config: Config,
    table: Arc<ArcSwap<RoutingTable>>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    traces: Arc<Traces>,
    board: Arc<Board>,
    accounts: Arc<Accounts>,
    /// Keys that are made at runtime; `None` where there is no file for them.
    keys: Option<Arc<Live>>,
    /// Listeners accept; cleared when the process begins to stop.
    ready: Arc<AtomicBool>,
    /// Turns true when the grace period of a stopping process is over.
    ending: watch::Sender<bool>,
}

/// Serves `table` until told to stop.
///
/// # Errors
/// None: the exit code says it. 0 after a graceful stop, 1 when something
/// needed cannot be had (a port, the access log's file).
pub fn run(source: Source, config: Config, mut table: RoutingTable) -> ExitCode {
    table.version = 1;
    match serve(source, config, table) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::error!(reason = reason.as_str(); "cannot start");
            ExitCode::FAILURE
        }
    }
}

fn serve(source: Source, config: Config, table: RoutingTable) -> Result<(), String> {
    probe_ports(&config)?;
    // Two crypto providers could be compiled in by a dependency; we mean ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = Arc::new(Metrics::new().map_err(|e| format!("metrics: {e}"))?);
    let board = Arc::new(Board::default());
    reload::announce(&metrics, &board, &table);
    let access_log = AccessLog::start(&log_output(&config), Arc::clone(&metrics))
        .map_err(|e| format!("access log: {e}"))?;
    let traces = Traces::start(table.traces.clone(), Arc::clone(&metrics))
        .map_err(|e| format!("traces: {e}"))?;
    let accounts = Arc::new(accounts::open(&source, &config)?);
    accounts::warm();
    let keys = keys::live(&source, &config, &table);
    if let Some(live) = &keys {
        // Their limits count what was used before, as all others do.
        let _ = live.look();
    }
    accounts
        .restore(&table.all_rules())
        .map_err(|e| format!("what budgets have spent: {e}"))?;
    let house = House {
        source,
        config,
        table: Arc::new(ArcSwap::from_pointee(table)),
        metrics,
        access_log: Arc::new(access_log),
        traces: Arc::new(traces),
        board,
        accounts,
        keys,
        ready: Arc::new(AtomicBool::new(false)),
        ending: watch::Sender::new(false),
    };
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&house.config));
    server.bootstrap();
    let certificates = add_fronts(&mut server, &house)?;
    add_services(&mut server, &house, certificates);
    server.run(RunArgs::default());
    house.access_log.shutdown();
    control::close(&house.accounts.ledger);
    house.traces.shutdown();
    Ok(())
}

fn log_output(config: &Config) -> access_log::Output {
    match &config.access_log.output {
        config::Output::Stdout => access_log::Output::Stdout,
        config::Output::Stderr => access_log::Output::Stderr,
        config::Output::Off => access_log::Output::Off,
        config::Output::File(path) => access_log::Output::File(path.clone()),
    }
}

fn server_conf(config: &Config) -> ServerConf {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ServerConf {
        threads: if config.server.threads == 0 {
            cores
        } else {
            config.server.threads
        },
        // `control` ends the process in time; this is the net below it.
        grace_period_seconds: Some((config.server.grace_period + FAREWELL * 2).as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        // Pingora's own upstream path is not used; it must not retry either.
        max_retries: 1,
        upstream_keepalive_pool_size: 1,
        ..ServerConf::default()
    }
}

/// Pingora panics inside a task when it cannot bind, and goes on without the
/// listener; so every address is tried first.
fn probe_ports(config: &Config) -> Result<(), String> {
    let listeners = config.listeners();
    let demo = config.demo.iter().map(|d| d.listen);
    let all = listeners
        .iter()
        .map(|l| l.address)
        .chain([config.admin.listen])
        .chain(demo);
    for address in all {
        TcpListener::bind(address).map_err(|e| format!("cannot listen on {address}: {e}"))?;
    }
    Ok(())
}

/// One service for listeners with h2c and one without: Pingora has the switch
/// per service, and each service has threads and a connection pool of its own.
fn add_fronts(server: &mut Server, house: &House) -> Result<Vec<Arc<Certificate>>, String> {
    let mut certificates = Vec::new();
    let (h2c, plain): (Vec<_>, Vec<_>) = house
        .config
        .listeners()
        .into_iter()
        .partition(|l| l.http2 || l.tls.is_some());
    let open = Arc::new(Opening::new(
        house.config.limits.connections,
        Arc::clone(&house.metrics),
    ));
    for (listeners, http2, name) in [
        (h2c, true, "gateway"),
        (plain, false, "gateway without h2c"),
    ] {
        if listeners.is_empty() {
            continue;
        }
        let gateway = Gateway::new(
            Arc::clone(&house.table),
            Arc::clone(&house.metrics),
            Arc::clone(&house.access_log),
            Arc::clone(&house.traces),
            Arc::clone(&house.board),
            Arc::clone(&house.accounts),
            house.ending.subscribe(),
        );
        let front = Front::new(
            &server.configuration,
            gateway,
            http2,
            Arc::clone(&open),
            &house.config.times,
        );
        let mut service = Service::new(name.to_owned(), front);
        for listener in &listeners {
            service.add_listener(listener_config(listener, &mut certificates)?);
        }
        server.add_service(service);
    }
    Ok(certificates)
}

fn listener_config(
    listen: &Listen,
    certificates: &mut Vec<Arc<Certificate>>,
) -> Result<ListenerConfig, String> {
    let buffers = L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER);
    let config = ListenerConfig::tcp(listen.address.to_string()).l4_buffer(buffers);
    let Some(tls) = &listen.tls else {
        return Ok(config);
    };
    let certificate = Certificate::load(&tls.certificate, &tls.key).map_err(|e| e.to_string())?;
    let certificate = Arc::new(certificate);
    certificates.push(Arc::clone(&certificate));
    let mut settings =
        TlsSettings::with_callbacks(Box::new(front::NoCallback)).map_err(|e| e.to_string())?;
    settings.set_cert_resolver(Arc::new(Resolver(certificate)));
    if listen.http2 {
        settings.enable_h2();
    }
    Ok(config.tls(settings))
}

fn add_services(server: &mut Server, house: &House, certificates: Vec<Arc<Certificate>>) {
    server.add_service(admin::service(
        house.config.admin.listen,
        Admin {
            metrics: Arc::clone(&house.metrics),
            status: status::status(house),
            look: status::look(house),
            ledger: Arc::clone(&house.accounts.ledger),
            keys: admin::Keys::new(Arc::clone(&house.table), house.keys.clone()),
        },
    ));
    if let Some(live) = &house.keys {
        let watching = keys::Watching(keys::Watch::new(house, live));
        server.add_service(background_service("keys", watching));
    }
    if house.accounts.limiter.fleet().is_some() {
        let tending = fleet::Tending(Arc::clone(&house.accounts));
        server.add_service(background_service("fleet", tending));
    }
    if let Some(demo) = &house.config.demo {
        server.add_service(demo::service(demo.listen));
    }
    let shared = Shared {
        table: Arc::clone(&house.table),
        metrics: Arc::clone(&house.metrics),
        access_log: Arc::clone(&house.access_log),
        board: Arc::clone(&house.board),
        accounts: Arc::clone(&house.accounts),
    };
    let reloader = Reloader::new(
        house.source.clone(),
        shared,
        certificates,
        house.config.clone(),
    );
    let stopping = Stopping {
        grace: house.config.server.grace_period,
        ending: house.ending.clone(),
        accounts: Arc::clone(&house.accounts),
        traces: Arc::clone(&house.traces),
    };
    let listening: Vec<SocketAddr> = house.config.listeners().iter().map(|l| l.address).collect();
    let control = Control::new(reloader, Arc::clone(&house.ready), listening, stopping);
    server.add_service(background_service("control", control));
}
