//! Loading the config again while requests are served.
//!
//! Load, check, compile, store: the new table replaces the old one only when
//! all of it is good. Requests in flight keep the table that they started
//! with. What only a start can change (listeners, threads) is said in the log.

use crate::admission::Rule;
use crate::config::{self, Config, Diagnostic};
use crate::gateway::{Accounts, Coming};
use crate::ledger::AskError;
use crate::route::standing::Board;
use crate::table::RoutingTable;
use crate::telemetry::{AccessLog, Metrics, log as operator_log};
use crate::tls::Certificate;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the config comes from.
#[derive(Debug, Clone)]
pub enum Source {
    File(PathBuf),
    /// Part of the program; never changes.
    Embedded {
        name: &'static str,
        text: &'static str,
    },
}

impl Source {
    /// What to call it in messages.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    /// The text as it is now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<String, Diagnostic> {
        match self {
            Self::File(path) => config::read(path),
            Self::Embedded { text, .. } => Ok((*text).to_owned()),
        }
    }
}

/// A config that can be used, its table, and what to warn of.
pub type Compiled = (Config, RoutingTable, Vec<Diagnostic>);

/// Compiles `text` to serve it.
///
/// # Errors
/// Every problem found, with its line.
pub fn compile(text: &str, previous: Option<&RoutingTable>) -> Result<Compiled, Vec<Diagnostic>> {
    compile_with(text, |config| {
        RoutingTable::compile_to_serve(config, previous)
    })
}

/// Compiles `text` with one of the table's compilers. Where the file itself has
/// problems, what is left of it is compiled all the same, to find the others.
///
/// # Errors
/// Every problem found, with its line.
pub fn compile_with(
    text: &str,
    compile: impl FnOnce(&Config) -> (Option<RoutingTable>, Vec<Diagnostic>),
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut loaded = config::load_rest(text);
    let Some(config) = loaded.rest.take() else {
        return Err(loaded.found);
    };
    let sound = loaded.found.is_empty();
    let (table, mut more) = compile(&config);
    more.retain(|problem| !loaded.explains(problem));
    loaded.found.extend(more);
    let problems = config::with_lines(text, loaded.found);
    match table.filter(|_| sound) {
        Some(table) => Ok((config, table, problems)),
        None => Err(problems),
    }
}

/// Swaps tables.
pub struct Reloader {
    pub source: Source,
    pub table: Arc<ArcSwap<RoutingTable>>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
    pub board: Arc<Board>,
    pub accounts: Arc<Accounts>,
    pub certificates: Vec<Arc<Certificate>>,
    /// The config that the process started with, and the text last tried.
    state: Mutex<State>,
}

struct State {
    started_with: Config,
    /// `None` until the file is looked at for the first time after the start.
    tried: Option<String>,
}

/// What a reloader shares with those who serve.
pub struct Shared {
    pub table: Arc<ArcSwap<RoutingTable>>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
    pub board: Arc<Board>,
    pub accounts: Arc<Accounts>,
}

impl Reloader {
    pub fn new(
        source: Source,
        shared: Shared,
        certificates: Vec<Arc<Certificate>>,
        started_with: Config,
    ) -> Self {
        let Shared {
            table,
            metrics,
            access_log,
            board,
            accounts,
        } = shared;
        let state = Mutex::new(State {
            started_with,
            tried: None,
        });
        Self {
            source,
            table,
            metrics,
            access_log,
            board,
            accounts,
            certificates,
            state,
        }
    }

    /// Loads the config again, whether it changed or not.
    pub fn reload(&self) {
        self.access_log.reopen();
        self.reload_certificates();
        match self.source.read() {
            Ok(text) => self.apply(text),
            Err(problem) => self.reject(&[problem]),
        }
    }

    /// Loads the config again if the file is not what was tried last, and the
    /// certificates if theirs are renewed.
    pub fn reload_if_changed(&self) {
        self.reload_certificates();
        let Ok(text) = self.source.read() else {
            return;
        };
        if !self.is_old(&text) {
            self.apply(text);
        }
    }

    fn reload_certificates(&self) {
        for certificate in &self.certificates {
            let path = certificate.path().display().to_string();
            match certificate.reload() {
                Ok(false) => certificate.complained.store(false, Ordering::Relaxed),
                Ok(true) => log::info!(certificate = path.as_str(); "certificate loaded"),
                // Once, not every second until it is mended.
                Err(_) if certificate.complained.swap(true, Ordering::Relaxed) => {}
                Err(e) => {
                    let reason = e.to_string();
                    log::error!(certificate = path.as_str(), reason = reason.as_str(); "certificate not loaded, the old one stays");
                }
            }
        }
    }

    fn is_old(&self, text: &str) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.tried {
            Some(tried) => tried == text,
            // The start read the file itself; has it changed since?
            None => {
                let same = config::load(text).0.as_ref() == Some(&state.started_with);
                if same {
                    state.tried = Some(text.to_owned());
                }
                same
            }
        }
    }

    fn apply(&self, text: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.table.load();
        let result = compile(&text, Some(&current));
        state.tried = Some(text);
        let (config, mut table, warnings) = match result {
            Ok(compiled) => compiled,
            Err(problems) => return self.reject(&problems),
        };
        table.version = current.version + 1;
        let table = Arc::new(table);
        if let Err(reason) = self.publish(&current, &table) {
            let text = format!("what new limits have spent cannot be read: {reason}");
            let hint = "the ledger has to be readable, and to be written";
            return self.reject(&[Diagnostic::error(config::Path::root(), text).hint(hint)]);
        }
        announce(&self.metrics, &self.board, &table);
        self.metrics.reload(true);
        operator_log::set_level(config.log.level.into());
        self.warn_of_restart(&state.started_with, &config);
        for warning in &warnings {
            self.report(warning);
        }
        log::info!(
            version = table.version, routes = table.routes_len(), providers = table.providers.len();
            "config loaded"
        );
    }

    /// Puts a table in force. Limits that come with it count what was used before
    /// it, by those too who are under way; one that the ledger cannot tell of
    /// would let its budget be spent again, so it does not come.
    fn publish(&self, old: &RoutingTable, new: &Arc<RoutingTable>) -> Result<(), AskError> {
        let (old, all) = (old.all_rules(), new.all_rules());
        let is_fresh = |rule: &&Arc<Rule>| !old.iter().any(|other| other.counts_as(rule));
        let coming = Coming {
            fresh: all.iter().filter(is_fresh).cloned().collect(),
            all: &all,
            version: new.version,
        };
        // First of all: whoever sees the metrics move may rely on the table.
        self.accounts
            .take_up(&coming, || self.table.store(Arc::clone(new)))
    }

    fn warn_of_restart(&self, old: &Config, new: &Config) {
        let changed = [
            ("server", old.server != new.server),
            ("listen", old.listeners() != new.listeners()),
            ("admin.listen", old.admin.listen != new.admin.listen),
            ("demo", old.demo != new.demo),
            ("access_log", old.access_log != new.access_log),
            ("ledger", old.ledger != new.ledger),
            ("state", old.state != new.state),
            ("traces", old.traces != new.traces),
            (
                "limits.connections",
                old.limits.connections != new.limits.connections,
            ),
            ("times.header", old.times.header != new.times.header),
        ];
        for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
            log::warn!(key = key; "changed in the config, takes effect at the next start");
        }
    }

    fn reject(&self, problems: &[Diagnostic]) {
        self.metrics.reload(false);
        for problem in problems {
            self.report(problem);
        }
        log::error!(problems = problems.len(); "config not loaded, the old one stays");
    }

    fn report(&self, problem: &Diagnostic) {
        let text = problem.render(&self.source.name());
        if problem.is_error() {
            log::error!(problem = text.as_str(); "config problem");
        } else {
            log::warn!(problem = text.as_str(); "config problem");
        }
    }
}

/// Makes the metrics' label sets and the settings of what is known by name
/// those of `table`.
pub fn announce(metrics: &Metrics, board: &Board, table: &RoutingTable) {
    let routes = table.route_labels();
    board.retain(
        |provider| table.providers.contains_key(provider),
        |route| routes.contains(&route),
    );
    for (name, provider) in &table.providers {
        board.configure(name, provider.breaker, provider.retry_budget);
        provider.pool.configure(provider.breaker);
    }
    metrics.retain(table.route_labels(), table.providers.keys().map(|n| &**n));
    for provider in table.providers.keys() {
        metrics.failover.provider_known(provider);
    }
    for rule in &*table.rules {
        metrics.accounting.limit_known(&rule.name);
    }
    metrics.config_version(table.version);
}
