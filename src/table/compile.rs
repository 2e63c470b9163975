//! From the config to the table, with every problem found, not the first.

use super::{Provider, Route, RoutingTable, TargetPattern, Terms};
use crate::chat::{Operation, models};
use crate::config::{self, Config, Diagnostic, Path, TargetName};
use crate::identity::{self, KeyRing, Principal};
use crate::meter::Book;
use crate::route::decide::Order;
use crate::route::fault::Kinds;
use crate::tls;
use crate::units::{Moment, Pattern, Wildcard};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// Characters of a token that cannot be guessed over the network.
const SHORTEST_TOKEN: usize = 16;

type Providers = BTreeMap<Arc<str>, Arc<Provider>>;
type Routes = (HashMap<String, Arc<Route>>, Vec<(Wildcard, Arc<Route>)>);

/// What becomes of a secret that does not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// `check` may run on a machine that does not have the secrets.
    Warn,
    Fail,
}

impl RoutingTable {
    /// Compiles `config` to see what is wrong with it. Secrets that do not
    /// resolve are warnings: the check may run elsewhere. The table is `None`
    /// exactly when a diagnostic is an error. Paths carry no line numbers yet.
    pub fn compile(config: &Config) -> (Option<Self>, Vec<Diagnostic>) {
        Compiler::new(config, None, Unresolved::Warn).table()
    }

    /// Compiles `config` to serve it, carrying over the pools of `previous`.
    /// Secrets that do not resolve are errors.
    pub fn compile_to_serve(
        config: &Config,
        previous: Option<&Self>,
    ) -> (Option<Self>, Vec<Diagnostic>) {
        Compiler::new(config, previous, Unresolved::Fail).table()
    }
}

pub(super) struct Compiler<'a> {
    pub(super) config: &'a Config,
    pub(super) previous: Option<&'a RoutingTable>,
    pub(super) unresolved: Unresolved,
    problems: Vec<Diagnostic>,
    /// Providers that are left out because they are optional and have no
    /// credential; and those with errors of their own. Targets on either are
    /// not reported again.
    pub(super) capabilities: Arc<models::Table>,
    pub(super) absent: BTreeSet<&'a str>,
    broken: BTreeSet<&'a str>,
}

pub(super) fn path<const N: usize>(segments: [&str; N]) -> Path {
    Path(segments.iter().map(|s| (*s).to_owned()).collect())
}

impl<'a> Compiler<'a> {
    fn new(config: &'a Config, previous: Option<&'a RoutingTable>, unresolved: Unresolved) -> Self {
        Self {
            config,
            previous,
            unresolved,
            problems: Vec::new(),
            capabilities: Arc::default(),
            absent: BTreeSet::new(),
            broken: BTreeSet::new(),
        }
    }

    pub(super) fn error(&mut self, at: Path, message: impl Into<String>, hint: &str) {
        self.problems
            .push(Diagnostic::error(at, message).hint(hint));
    }

    pub(super) fn warn(&mut self, at: Path, message: impl Into<String>, hint: &str) {
        self.problems
            .push(Diagnostic::warning(at, message).hint(hint));
    }

    fn table(mut self) -> (Option<RoutingTable>, Vec<Diagnostic>) {
        self.listeners();
        self.models();
        self.capabilities();
        let providers = self.providers();
        let policies = self.policies();
        let (routes, wildcards) = self.routes(&providers);
        let all: Vec<_> = routes
            .values()
            .chain(wildcards.iter().map(|(_, r)| r))
            .collect();
        all.into_iter()
            .for_each(|route| self.closures(route, &policies));
        let keys = self.keys();
        let rules = self.limits().into();
        let prices = self.prices();
        let admin_token = self.admin_token(&keys);
        let traces = self.traces();
        let failed = self
            .problems
            .iter()
            .any(|p| p.severity == config::Severity::Error);
        let table = (!failed).then(|| RoutingTable {
            version: 0,
            loaded_at: SystemTime::now(),
            limits: self.config.limits.clone(),
            times: self.config.times.clone(),
            keys,
            rules,
            prices,
            admin_token,
            providers,
            traces,
            redacted: serde_json::to_value(self.config).unwrap_or_default(),
            direct_terms: Arc::new(Terms::direct(self.config.times.request)),
            policies,
            routes,
            wildcards,
        });
        (table, self.problems)
    }

    /// The operator's prices over those that come with the gateway.
    fn prices(&mut self) -> Arc<Book> {
        let mut all = match Book::shipped() {
            Ok(book) => book,
            // Proved by a test; said all the same rather than hidden.
            Err(e) => {
                self.error(Path::root(), e, "the shipped prices are broken");
                return Arc::default();
            }
        };
        for (i, file) in self.config.prices.files.iter().enumerate() {
            let read = std::fs::read_to_string(file).map_err(|e| e.to_string());
            match read.and_then(|text| Book::parse(&text).map_err(|e| e.join("; "))) {
                Ok(own) => all = all.overlaid(own),
                Err(e) => {
                    let at = path(["prices", "files", &i.to_string()]);
                    let text = format!("{}: {e}", file.display());
                    self.error(at, text, "tollgate prices import makes one");
                }
            }
        }
        Arc::new(all)
    }

    /// Loads the capability table.
    fn models(&mut self) {
        match models::shipped() {
            Ok(table) => self.capabilities = table,
            // Proved by a test; said all the same rather than hidden.
            Err(e) => self.error(Path::root(), e, "the shipped model table is broken"),
        }
    }

    /// Checks what the operator says of models.
    fn capabilities(&mut self) {
        let config = self.config;
        for (i, said) in config.capabilities.iter().enumerate() {
            let at = |rest: &[&str]| {
                let start = ["capabilities".to_owned(), i.to_string()];
                let rest = rest.iter().map(|s| (*s).to_owned());
                Path(start.into_iter().chain(rest).collect())
            };
            if said.models.is_empty() || said.models.iter().any(String::is_empty) {
                let hint = "write the provider's name of it, or a pattern such as \"llama-*\"";
                self.error(at(&["models"]), "names no model", hint);
            }
            for (n, name) in said.providers.iter().enumerate() {
                if !config.providers.contains_key(name) {
                    self.no_provider(at(&["providers", &n.to_string()]), name);
                }
            }
            for (key, tokens) in [("max_output", said.max_output), ("context", said.context)] {
                if tokens == Some(0) {
                    let hint = "leave it out where it is not known";
                    self.error(at(&[key]), "zero tokens", hint);
                }
            }
        }
    }

    fn no_provider(&mut self, at: Path, name: &str) {
        let known: Vec<_> = self.config.providers.keys().map(String::as_str).collect();
        let message = format!("there is no provider \"{}\"", name.escape_default());
        let hint = format!("known providers: {}", known.join(", "));
        self.error(at, message, &hint);
    }

    fn listeners(&mut self) {
        let mut seen = BTreeMap::new();
        let admin = (self.config.admin.listen, path(["admin", "listen"]));
        let demo = self
            .config
            .demo
            .as_ref()
            .map(|d| (d.listen, path(["demo", "listen"])));
        let all = self
            .config
            .listen
            .iter()
            .enumerate()
            .map(|(i, l)| (l.address, path(["listen", &i.to_string(), "address"])));
        for (address, at) in all.chain([admin]).chain(demo) {
            if let Some(other) = seen.insert(address, at.clone()) {
                self.error(
                    at,
                    format!("{address} is used twice, also at {other}"),
                    "give each listener its own port",
                );
            }
        }
        for (i, listen) in self.config.listen.iter().enumerate() {
            let Some(tls) = &listen.tls else { continue };
            if let Err(e) = tls::certified_key(&tls.certificate, &tls.key) {
                self.error(
                    path(["listen", &i.to_string(), "tls"]),
                    e.to_string(),
                    "certificate and key are PEM files that belong together",
                );
            }
        }
    }

    fn providers(&mut self) -> Providers {
        let config = self.config;
        let mut compiled = BTreeMap::new();
        for (name, written) in &config.providers {
            let before = self.problems.len();
            if let Some(provider) = self.provider(name, written) {
                compiled.insert(Arc::clone(&provider.name), Arc::new(provider));
            }
            let new = self.problems.get(before..).unwrap_or_default();
            if new.iter().any(|p| p.severity == config::Severity::Error) {
                self.broken.insert(name);
            }
        }
        compiled
    }

    fn routes(&mut self, providers: &Providers) -> Routes {
        let config = self.config;
        let mut routes = HashMap::new();
        let mut wildcards = Vec::new();
        for (alias, written) in &config.models {
            let Some(route) = self.route(alias, written, providers).map(Arc::new) else {
                continue;
            };
            match Wildcard::parse(alias) {
                Some(wildcard) => wildcards.push((wildcard, route)),
                None => {
                    routes.insert(alias.clone(), route);
                }
            }
        }
        wildcards.sort_by_key(|(w, _)| std::cmp::Reverse(w.literal_len()));
        (routes, wildcards)
    }

    /// `None` when nothing of the route is left.
    fn route(
        &mut self,
        alias: &str,
        written: &config::Model,
        providers: &Providers,
    ) -> Option<Route> {
        let stars = alias.matches('*').count();
        if stars > 1 || alias.is_empty() || alias.chars().any(char::is_control) {
            self.error(
                path(["models", alias]),
                "an alias is not empty and holds at most one '*'",
                "write it as openai/*",
            );
        }
        if written.targets.is_empty() {
            self.error(
                path(["models", alias, "targets"]),
                "no targets",
                "targets = [\"provider/model\"]",
            );
        }
        self.timing(alias, written);
        let mut route = Route {
            alias: alias.into(),
            order: order(written.strategy),
            terms: Arc::new(Terms::of(written, self.config.times.request)),
            weights: Vec::new(),
            targets: Vec::new(),
            policy: self.policy(alias, written),
        };
        for (list, names, on) in lists(written) {
            for (i, target) in names.iter().enumerate() {
                let at = path(["models", alias, list, &i.to_string()]);
                let Some(pattern) = self.target(at, stars == 1, target, providers) else {
                    continue;
                };
                if list == "targets" {
                    route.targets.push(TargetPattern { on, ..pattern });
                    route.weights.push(target.weight);
                    continue;
                }
                route.fall_back(TargetPattern { on, ..pattern });
            }
        }
        (!route.targets.is_empty()).then_some(route)
    }

    /// What a route says of time that cannot be meant.
    fn timing(&mut self, alias: &str, written: &config::Model) {
        let deadline = written.deadline.unwrap_or(self.config.times.request);
        if written.keep_alive.is_some_and(|every| every >= deadline) {
            self.warn(
                path(["models", alias, "keep_alive"]),
                "as long as the deadline or longer: no comment is ever sent",
                "use a tenth of the deadline",
            );
        }
        if written.hedge.is_some() && written.targets.len() + written.fallbacks.len() < 2 {
            self.warn(
                path(["models", alias, "hedge"]),
                "there is no second target to ask",
                "add one to targets or fallbacks",
            );
        }
    }

    fn target(
        &mut self,
        at: Path,
        wild: bool,
        target: &TargetName,
        providers: &Providers,
    ) -> Option<TargetPattern> {
        if target.model.contains('*') && !wild {
            self.error(
                at.clone(),
                "a '*' in a target needs one in the alias",
                "write [models.\"name/*\"]",
            );
        }
        let name = target.provider.as_str();
        if self.absent.contains(name) || self.broken.contains(name) {
            return None;
        }
        let Some(provider) = providers.get(name) else {
            self.no_provider(at, name);
            return None;
        };
        Some(TargetPattern {
            provider: Arc::clone(provider),
            model: target.model.clone(),
            on: Kinds::NONE,
        })
    }

    fn keys(&mut self) -> KeyRing {
        let config = self.config;
        let runtime = self.previous.map(|table| table.keys.runtime());
        let mut ring = KeyRing::over(runtime.map(Arc::clone).unwrap_or_default());
        if config.keys.is_empty() {
            self.warn(
                path(["keys"]),
                "there are no keys here: every request is refused without one made at runtime",
                "tollgate keys new NAME makes one",
            );
        }
        for (name, written) in &config.keys {
            if ring.runtime().has(name) {
                self.warn(
                    path(["keys", name]),
                    "a key of this name was made at runtime; it is refused, this one counts",
                    "revoke that one with tollgate keys revoke, or give this one another name",
                );
            }
            self.endpoints(name, written);
            if written.disabled {
                ring.claim(name);
                continue;
            }
            if !ring.insert(written.hash.0, principal(name, written)) {
                self.error(
                    path(["keys", name, "hash"]),
                    "another key has the same hash",
                    "make a new one with tollgate keys new",
                );
            }
        }
        ring
    }

    /// What lets an operator change something. Read anew at every reload.
    fn admin_token(&mut self, keys: &KeyRing) -> Option<identity::Digest> {
        let reference = self.config.admin.token.as_ref()?;
        let at = path(["admin", "token"]);
        let token = match reference.resolve() {
            Ok(token) => token,
            Err(e) => {
                let hint = "set it where the gateway runs";
                match self.unresolved {
                    Unresolved::Warn => self.warn(at, e.to_string(), hint),
                    Unresolved::Fail => self.error(at, e.to_string(), hint),
                }
                return None;
            }
        };
        let token = token.expose().as_bytes();
        if token.len() < SHORTEST_TOKEN {
            let message = format!("shorter than {SHORTEST_TOKEN} characters");
            self.error(at, message, "openssl rand -hex 32 makes one");
            return None;
        }
        // At the beginning of time no key has expired.
        if keys.find(token, Moment(0)).is_some() {
            let hint = "openssl rand -hex 32 makes another";
            self.error(at, "it is a client's key too", hint);
            return None;
        }
        Some(identity::digest(token))
    }

    /// A pattern that fits no endpoint is a slip of the pen: it lets nothing in.
    fn endpoints(&mut self, name: &str, written: &config::Key) {
        for (i, pattern) in written.endpoints.iter().enumerate() {
            let pattern = Pattern::new(pattern);
            if Operation::ALL.iter().all(|op| !pattern.matches(op.name())) {
                let known = Operation::ALL.map(Operation::name).join(", ");
                self.warn(
                    path(["keys", name, "endpoints", &i.to_string()]),
                    "no endpoint has this name",
                    &format!("the names are {known}"),
                );
            }
        }
    }
}

/// Who holds a key of the config.
fn principal(name: &str, written: &config::Key) -> Principal {
    let patterns = |list: &[String]| list.iter().map(Pattern::new).collect();
    Principal {
        name: name.into(),
        team: written.team.as_deref().map(Into::into),
        models: patterns(&written.models),
        routes: patterns(&written.routes),
        endpoints: patterns(&written.endpoints),
        direct: written.direct,
        explain: written.explain,
        expires: written.expires.map(Into::into),
        priority: written.priority,
        limits: written.limits.clone(),
        metadata: Arc::new(written.metadata.clone()),
    }
}

impl Route {
    /// Adds a fallback. One that stands in several lists is one candidate, for
    /// what has failed is not tried twice.
    fn fall_back(&mut self, pattern: TargetPattern) {
        let fallbacks = self.targets.get_mut(self.weights.len()..);
        let known = fallbacks.unwrap_or_default().iter_mut().find(|other| {
            other.model == pattern.model && Arc::ptr_eq(&other.provider, &pattern.provider)
        });
        match known {
            Some(other) => other.on = other.on.and(pattern.on),
            None => self.targets.push(pattern),
        }
    }
}

/// A route's lists of targets, each with the failures that lead there. The
/// list of a kind stands in place of `fallbacks` for that kind.
fn lists(written: &config::Model) -> Vec<(&'static str, &[TargetName], Kinds)> {
    let unless = |list: &Option<Vec<TargetName>>, kinds| match list {
        Some(_) => Kinds::NONE,
        None => kinds,
    };
    let larger = unless(&written.on_context_length, Kinds::IF_LARGER);
    let fallbacks = unless(&written.on_error, Kinds::ERROR)
        .and(unless(&written.on_rate_limit, Kinds::RATE_LIMIT))
        .and(larger);
    let mut lists: Vec<(_, &[TargetName], _)> = vec![
        ("targets", &written.targets, larger),
        ("fallbacks", &written.fallbacks, fallbacks),
    ];
    for (name, list, kinds) in [
        ("on_error", &written.on_error, Kinds::ERROR),
        ("on_rate_limit", &written.on_rate_limit, Kinds::RATE_LIMIT),
        (
            "on_context_length",
            &written.on_context_length,
            Kinds::CONTEXT_LENGTH,
        ),
        (
            "on_content_policy",
            &written.on_content_policy,
            Kinds::CONTENT_POLICY,
        ),
    ] {
        lists.extend(list.as_deref().map(|list| (name, list, kinds)));
    }
    lists
}

fn order(strategy: config::Strategy) -> Order {
    match strategy {
        config::Strategy::Ordered => Order::Ordered,
        config::Strategy::Weighted => Order::Weighted,
    }
}
