//! One pool per provider: which of its addresses serves the next request.
//!
//! Selection, weights and health counters are pingora-load-balancing's. What
//! it lacks is here: discovery by DNS that keeps the last good answer, weights
//! per base URL however many addresses it resolves to, least latency, and a
//! first resolution on demand, a breaker per address. A pool outlives reloads as
//! long as its [`PoolSpec`] stays the same, and hands its breakers on to the
//! next one, so a reload forgets nobody's health.

use super::breaker::{Admission, Breaker, Permit, Settings};
use super::endpoint::{Address, Origin};
use super::health::{Probe, ProbeSpec};
use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::upstreams::peer::PeerOptions;
use pingora_core::{Error, ErrorType};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::selection::{Consistent, Random, RoundRobin};
use pingora_load_balancing::{Backend, Backends, Extensions, LoadBalancer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many candidates a selection looks at before it gives up.
const MAX_STEPS: usize = 256;

/// How often names are resolved again: the floor and ceiling of what a cache
/// may do with a provider's record, since the system's resolver hides TTLs.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How long after a failed first resolution requests are told so at once.
const RESOLVE_AGAIN: Duration = Duration::from_secs(2);

/// With least latency, one pick in so many is by chance alone.
const EXPLORE: usize = 32;

/// Largest weight on a consistent-hash ring, which has 160 points for each.
const RING_WEIGHT: usize = 100;

/// How endpoints share requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    RoundRobin,
    ConsistentHash,
    LeastLatency,
}

/// Everything that makes a pool what it is. Equal specs mean the same pool.
#[derive(Debug, Clone)]
pub struct PoolSpec {
    /// Base URLs with their weights (at least 1).
    pub origins: Vec<(Arc<Origin>, usize)>,
    pub strategy: Strategy,
    pub options: PeerOptions,
    /// Keeps connections of different trust apart.
    pub group: u64,
    pub probe: Option<ProbeSpec>,
    /// Of the addresses' breakers. May change while the pool stays.
    pub breaker: Settings,
    /// Text that tells this spec from others: what the operator wrote.
    pub fingerprint: String,
}

impl PartialEq for PoolSpec {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.group == other.group
    }
}

/// The addresses behind one backend. Mostly one; several where two base URLs
/// resolve to the same socket, which the load balancer cannot tell apart.
struct Shared {
    addresses: Vec<Arc<Address>>,
    turn: AtomicUsize,
}

enum Balancer {
    RoundRobin(LoadBalancer<RoundRobin>),
    Hash(LoadBalancer<Consistent>),
    Random(LoadBalancer<Random>),
}

macro_rules! each {
    ($balancer:expr, $lb:ident => $do:expr) => {
        match $balancer {
            Balancer::RoundRobin($lb) => $do,
            Balancer::Hash($lb) => $do,
            Balancer::Random($lb) => $do,
        }
    };
}

/// A provider's endpoints.
pub struct Pool {
    spec: PoolSpec,
    balancer: Balancer,
    breakers: Arc<Mutex<Breakers>>,
    picks: AtomicUsize,
    resolved: AtomicBool,
    /// Held by whoever resolves; when that failed last.
    resolving: tokio::sync::Mutex<Option<Instant>>,
}

/// A usable address, and the right to ask it once.
pub struct Picked {
    pub address: Arc<Address>,
    pub permit: Permit,
}

/// The breakers of a pool's addresses, by base URL and socket.
struct Breakers {
    settings: Settings,
    all: HashMap<(String, SocketAddr), Arc<Breaker>>,
}

impl Breakers {
    fn of(&mut self, url: &str, addr: SocketAddr) -> Arc<Breaker> {
        let settings = self.settings;
        let new = || Arc::new(Breaker::new(settings));
        Arc::clone(self.all.entry((url.to_owned(), addr)).or_insert_with(new))
    }
}

impl Pool {
    /// A pool that has resolved nothing yet. It takes over the breakers of the
    /// one that it follows.
    pub fn new(spec: PoolSpec, previous: Option<&Self>) -> Self {
        let all = previous.map(|p| lock(&p.breakers).all.clone());
        let breakers = Arc::new(Mutex::new(Breakers {
            settings: spec.breaker,
            all: all.unwrap_or_default(),
        }));
        let names = Names {
            spec: spec.clone(),
            known: Mutex::default(),
            breakers: Arc::clone(&breakers),
        };
        let mut backends = Backends::new(Box::new(names));
        if let Some(probe) = &spec.probe {
            backends.set_health_check(Box::new(Probe::new(probe.clone())));
        }
        let balancer = match spec.strategy {
            Strategy::RoundRobin => Balancer::RoundRobin(LoadBalancer::from_backends(backends)),
            Strategy::ConsistentHash => Balancer::Hash(LoadBalancer::from_backends(backends)),
            Strategy::LeastLatency => Balancer::Random(LoadBalancer::from_backends(backends)),
        };
        Self {
            spec,
            balancer,
            breakers,
            picks: AtomicUsize::new(0),
            resolved: AtomicBool::new(false),
            resolving: tokio::sync::Mutex::default(),
        }
    }

    pub fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// Other settings for the breakers of all addresses, from now on.
    pub fn configure(&self, settings: Settings) {
        let mut breakers = lock(&self.breakers);
        breakers.settings = settings;
        for breaker in breakers.all.values() {
            breaker.configure(settings);
        }
    }

    /// A usable address for a request with this `key` (used by consistent
    /// hashing), other than those `tried`; `None` when there is none.
    pub async fn pick(&self, key: &[u8], tried: &[Arc<Address>]) -> Option<Picked> {
        self.ready().await;
        // Whoever was usable a moment ago may have been taken as a probe.
        let mut passed = tried.to_vec();
        let single = self.is_single();
        loop {
            let address = self.choose(key, &passed, single)?;
            if single {
                let permit = address.breaker.force(Instant::now());
                return Some(Picked { address, permit });
            }
            match address.breaker.admit(Instant::now()) {
                Admission::Admitted(permit) => return Some(Picked { address, permit }),
                Admission::Shut { .. } => passed.push(address),
            }
        }
    }

    /// A healthy address whatever its breaker says, if there is none that is
    /// usable.
    pub async fn pick_any(&self, key: &[u8], tried: &[Arc<Address>]) -> Option<Picked> {
        if let Some(picked) = self.pick(key, tried).await {
            return Some(picked);
        }
        let address = self.select(key, |a| !is_among(a, tried))?;
        let permit = address.breaker.force(Instant::now());
        Some(Picked { address, permit })
    }

    /// Whether there is a usable address other than those `tried`.
    pub fn has_other(&self, tried: &[Arc<Address>]) -> bool {
        let now = Instant::now();
        let single = self.is_single();
        let usable = |a: &Arc<Address>| single || a.breaker.peek(now).shut.is_none();
        let backends = each!(&self.balancer, lb => lb.backends());
        let all = backends.get_backend();
        let mut healthy = all.iter().filter(|b| backends.ready(b)).filter_map(shared);
        healthy.any(|s| {
            let mut addresses = s.addresses.iter();
            addresses.any(|a| usable(a) && !is_among(a, tried))
        })
    }

    async fn ready(&self) {
        if !self.resolved.load(Ordering::Acquire) {
            self.resolve_first().await;
        }
    }

    /// Whether there is one address only. Its breaker is not heeded: the
    /// targets' are, and one model that fails must not take the others along.
    fn is_single(&self) -> bool {
        let backends = each!(&self.balancer, lb => lb.backends()).get_backend();
        let addresses = backends.iter().filter_map(shared);
        addresses.map(|s| s.addresses.len()).sum::<usize>() == 1
    }

    fn choose(&self, key: &[u8], tried: &[Arc<Address>], single: bool) -> Option<Arc<Address>> {
        let now = Instant::now();
        let open = |a: &Arc<Address>| single || a.breaker.peek(now).shut.is_none();
        let usable = |a: &Arc<Address>| open(a) && !is_among(a, tried);
        let first = self.select(key, usable)?;
        if self.spec.strategy != Strategy::LeastLatency {
            return Some(first);
        }
        // The better of two random ones: close to the best without every
        // request piling onto whichever was fastest a moment ago.
        // An address that once was slow is looked at again now and then.
        if self
            .picks
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(EXPLORE)
        {
            return Some(first);
        }
        let other = |a: &Arc<Address>| usable(a) && !Arc::ptr_eq(a, &first);
        Some(match self.select(key, other) {
            Some(second) if second.latency.micros() < first.latency.micros() => second,
            _ => first,
        })
    }

    fn select(&self, key: &[u8], usable: impl Fn(&Arc<Address>) -> bool) -> Option<Arc<Address>> {
        let fresh = |b: &Backend| shared(b).is_some_and(|s| s.addresses.iter().any(&usable));
        let backend =
            each!(&self.balancer, lb => lb.select_with(key, MAX_STEPS, |b, ok| ok && fresh(b)))?;
        let shared = shared(&backend)?;
        let turn = shared.turn.fetch_add(1, Ordering::Relaxed);
        let n = shared.addresses.len();
        (0..n)
            .filter_map(|i| shared.addresses.get((turn.wrapping_add(i)) % n))
            .find(|a| usable(a))
            .cloned()
    }

    /// Did names ever resolve?
    pub fn is_resolved(&self) -> bool {
        self.resolved.load(Ordering::Acquire)
    }

    /// Resolves names for the requests that wait for the first answer: once for
    /// all of them, and not again right after a failure.
    async fn resolve_first(&self) {
        let mut failed = self.resolving.lock().await;
        let again = failed.is_none_or(|at| at.elapsed() >= RESOLVE_AGAIN);
        if !self.is_resolved() && again {
            self.update(&mut failed).await;
        }
    }

    /// Resolves names again; on failure the last good answer stays.
    pub async fn resolve(&self) {
        // One at a time: the load balancer does not take two updates at once.
        let mut failed = self.resolving.lock().await;
        self.update(&mut failed).await;
    }

    async fn update(&self, failed: &mut Option<Instant>) {
        let result = each!(&self.balancer, lb => lb.update().await);
        match result {
            Ok(()) => {
                *failed = None;
                self.resolved.store(true, Ordering::Release);
            }
            Err(e) => {
                *failed = Some(Instant::now());
                let hosts = self
                    .spec
                    .origins
                    .iter()
                    .map(|(o, _)| &*o.host)
                    .collect::<Vec<_>>();
                log::warn!(hosts = hosts.join(","), error = e.to_string().as_str(); "name resolution failed");
            }
        }
    }

    /// Probes every address once, if the provider has a health check.
    pub async fn probe(&self) {
        if self.spec.probe.is_some() {
            each!(&self.balancer, lb => lb.backends().run_health_check(true).await);
        }
    }

    /// Every address with its health.
    pub fn health(&self) -> Vec<(Arc<Address>, bool)> {
        let backends = each!(&self.balancer, lb => lb.backends());
        let all = backends.get_backend();
        all.iter()
            .filter_map(|b| Some((shared(b)?, backends.ready(b))))
            .flat_map(|(s, ready)| s.addresses.iter().map(move |a| (Arc::clone(a), ready)))
            .collect()
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("spec", &self.spec.fingerprint)
            .finish_non_exhaustive()
    }
}

fn is_among(address: &Arc<Address>, others: &[Arc<Address>]) -> bool {
    others.iter().any(|other| Arc::ptr_eq(address, other))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared(backend: &Backend) -> Option<&Shared> {
    backend.ext.get::<Arc<Shared>>().map(|s| &**s)
}

/// The first address behind a backend: what a probe connects to.
pub(super) fn first_address(backend: &Backend) -> Option<&Arc<Address>> {
    shared(backend)?.addresses.first()
}

/// Discovery by the system's resolver.
struct Names {
    spec: PoolSpec,
    /// Addresses seen before, so that their latency outlives a resolution.
    known: Mutex<HashMap<(usize, SocketAddr), Arc<Address>>>,
    breakers: Arc<Mutex<Breakers>>,
}

impl Names {
    async fn lookup(&self) -> Vec<Vec<SocketAddr>> {
        let mut all = Vec::with_capacity(self.spec.origins.len());
        for (index, (origin, _)) in self.spec.origins.iter().enumerate() {
            let found = match tokio::net::lookup_host((&*origin.host, origin.port)).await {
                Ok(addrs) => addrs.collect::<BTreeSet<_>>().into_iter().collect(),
                Err(_) => self.last_good(index),
            };
            all.push(found);
        }
        all
    }

    fn last_good(&self, index: usize) -> Vec<SocketAddr> {
        let known = lock(&self.known);
        let mut addrs: Vec<_> = known
            .keys()
            .filter(|(i, _)| *i == index)
            .map(|(_, a)| *a)
            .collect();
        addrs.sort_unstable();
        addrs
    }

    fn assemble(&self, found: &[Vec<SocketAddr>]) -> BTreeSet<Backend> {
        let mut known = lock(&self.known);
        let mut breakers = lock(&self.breakers);
        let mut next = HashMap::new();
        let mut by_addr: BTreeMap<SocketAddr, (usize, Vec<Arc<Address>>)> = BTreeMap::new();
        let scale = found.iter().map(Vec::len).filter(|n| *n > 0).fold(1, lcm);
        for (index, ((origin, weight), addrs)) in self.spec.origins.iter().zip(found).enumerate() {
            for addr in addrs {
                let address = known.remove(&(index, *addr)).unwrap_or_else(|| {
                    let options = self.spec.options.clone();
                    let group = self.spec.group;
                    Arc::new(Address {
                        breaker: breakers.of(&origin.url, *addr),
                        ..Address::new(Arc::clone(origin), *addr, options, group)
                    })
                });
                next.insert((index, *addr), Arc::clone(&address));
                let entry = by_addr.entry(*addr).or_default();
                entry.0 += weight * scale / addrs.len();
                entry.1.push(address);
            }
        }
        // Addresses come and go with each resolution; their breakers must not
        // pile up.
        breakers.all.retain(|(url, addr), _| {
            next.values()
                .any(|a| a.origin.url == *url && a.peer._address == PeerAddr::Inet(*addr))
        });
        *known = next;
        let shares = by_addr.values().map(|(w, _)| *w).fold(0, gcd).max(1);
        let heaviest = by_addr
            .values()
            .map(|(w, _)| *w / shares)
            .max()
            .unwrap_or(1);
        let shares = match self.spec.strategy {
            Strategy::ConsistentHash => shares * heaviest.div_ceil(RING_WEIGHT),
            _ => shares,
        };
        by_addr
            .into_iter()
            .map(|(addr, (weight, addresses))| {
                let mut ext = Extensions::new();
                ext.insert(Arc::new(Shared {
                    addresses,
                    turn: AtomicUsize::new(0),
                }));
                Backend {
                    addr: PeerAddr::Inet(addr),
                    weight: (weight / shares).max(1),
                    ext,
                }
            })
            .collect()
    }
}

#[async_trait]
impl ServiceDiscovery for Names {
    async fn discover(&self) -> pingora_core::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let found = self.lookup().await;
        let backends = self.assemble(&found);
        if backends.is_empty() {
            return Error::e_explain(ErrorType::ConnectNoRoute, "no address found");
        }
        Ok((backends, HashMap::new()))
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Least common multiple, capped: a name with a dozen addresses must not make
/// the selector's table huge.
fn lcm(a: usize, b: usize) -> usize {
    (a / gcd(a, b) * b).min(720)
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
