//! Who calls: from a key to a [`Principal`].
//!
//! Keys are random and long, so one round of SHA-256 is enough at rest. A
//! lookup hashes what the client sent and compares digests; its time says
//! nothing about the keys that exist. A disabled or revoked key is not in the
//! ring at all, and one whose time is over is not found in it, so that unknown,
//! disabled, revoked and expired keys cannot be told apart.
//!
//! Keys come from two places: the config, compiled into each table's
//! [`KeyRing`], and [`RuntimeKeys`], which are made and taken back while the
//! process runs and which all its tables share. Where both have a key of one
//! name, the config's counts.

pub use crate::units::Priority;
use crate::units::{Allowance, Moment, Pattern};
use arc_swap::ArcSwap;

use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// SHA-256 of a key.
pub type Digest = [u8; 32];

/// Somebody who may use the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key's name.
    pub name: Arc<str>,
    /// Who owns it.
    pub team: Option<Arc<str>>,
    /// Names that it may ask for.
    pub models: Vec<Pattern>,
    /// Routes that these may lead to.
    pub routes: Vec<Pattern>,
    /// Endpoints of the API that it may call, by [`crate::chat::Operation::name`].
    pub endpoints: Vec<Pattern>,
    /// May it ask for `provider/model` past the aliases?
    pub direct: bool,
    /// It is told why its requests go where they go.
    pub explain: bool,
    /// It is unknown from then on.
    pub expires: Option<Moment>,
    pub priority: Priority,
    /// Limits of this key alone.
    pub limits: Vec<Allowance>,
    /// Tags of each of its requests.
    pub metadata: Arc<BTreeMap<String, String>>,
}

impl Principal {
    /// Somebody who may use everything but `provider/model`, for ever.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let any = || vec![Pattern::new("*")];
        Self {
            name: name.into(),
            team: None,
            models: any(),
            routes: any(),
            endpoints: any(),
            direct: false,
            explain: false,
            expires: None,
            priority: Priority::default(),
            limits: Vec::new(),
            metadata: Arc::default(),
        }
    }

    /// May it ask for this name?
    pub fn may_use(&self, alias: &str) -> bool {
        self.models.iter().any(|p| p.matches(alias))
    }

    /// May it be sent over this route?
    pub fn may_take(&self, route: &str) -> bool {
        self.routes.iter().any(|p| p.matches(route))
    }

    /// May it call this endpoint of the API?
    pub fn may_call(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|p| p.matches(endpoint))
    }
}

/// What a digest opens, and until when.
#[derive(Debug, Clone)]
struct Held {
    principal: Arc<Principal>,
    until: Option<Moment>,
}

impl Held {
    fn opens(&self, now: Moment) -> bool {
        let ahead = |end: Option<Moment>| end.is_none_or(|end| now < end);
        ahead(self.until) & ahead(self.principal.expires)
    }
}

type Digests = HashMap<Digest, Held>;

fn find<'a>(digests: &'a Digests, digest: &Digest, now: Moment) -> Option<&'a Arc<Principal>> {
    let (known, held) = digests.get_key_value(digest)?;
    let opens = bool::from(known.ct_eq(digest)) & held.opens(now);
    opens.then_some(&held.principal)
}

/// All keys of one table.
#[derive(Debug, Default)]
pub struct KeyRing {
    written: Digests,
    /// Names of the config's keys, those of disabled ones too.
    names: HashSet<Arc<str>>,
    runtime: Arc<RuntimeKeys>,
}

impl KeyRing {
    /// No keys but those of `runtime`.
    pub fn over(runtime: Arc<RuntimeKeys>) -> Self {
        Self {
            runtime,
            ..Self::default()
        }
    }

    /// Adds a key of the config; false when its digest is already there.
    pub fn insert(&mut self, digest: Digest, principal: Principal) -> bool {
        self.claim(&principal.name);
        let held = Held {
            principal: Arc::new(principal),
            until: None,
        };
        self.written.insert(digest, held).is_none()
    }

    /// Keeps a name from the runtime keys, without a key of its own.
    pub fn claim(&mut self, name: &str) {
        self.names.insert(name.into());
    }

    /// Does the config have a key of that name, be it a disabled one?
    pub fn claims(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The key's holder at `now`.
    pub fn find(&self, key: &[u8], now: Moment) -> Option<Arc<Principal>> {
        let digest = digest(key);
        // Both are always asked: the time is the same for all that is refused.
        let written = find(&self.written, &digest, now).cloned();
        let runtime = self.runtime.find(&digest, now);
        written.or_else(|| runtime.filter(|who| !self.names.contains(&who.name)))
    }

    /// The keys that all tables of the process share.
    pub fn runtime(&self) -> &Arc<RuntimeKeys> {
        &self.runtime
    }

    /// Everybody whom the config names, each once, in no order.
    pub fn written(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.written.values().map(|held| &held.principal)
    }

    /// Keys of the config.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }
}

/// What is stored of a key in place of itself.
pub fn digest(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

/// A new key: `tg-` and 256 random bits. That is what lets its plain SHA-256
/// stand for it at rest: a slow, salted hash protects guessable secrets, and
/// this one cannot be guessed.
///
/// # Errors
/// When the system gives no random numbers.
pub fn fresh_key() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut())?;
    Ok(key(&random))
}

/// `tg-` and the bits in base64url: 46 characters that survive any shell,
/// header and URL.
fn key(random: &[u8; 32]) -> Zeroizing<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // All at once: growing would leave copies of the key behind.
    let mut key = Zeroizing::new(String::with_capacity(64));
    key.push_str("tg-");
    let (mut bits, mut count) = (0u32, 0);
    for byte in random.iter().chain(&[0]) {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 6 && key.len() < 46 {
            count -= 6;
            let digit = DIGITS.get((bits >> count) as usize & 63);
            key.extend(digit.map(|digit| char::from(*digit)));
        }
    }
    key
}

/// Is `given` the text of that digest? It takes as long for every text of one
/// length.
pub fn is_digest_of(digest: &Digest, given: &[u8]) -> bool {
    self::digest(given).ct_eq(digest).into()
}

/// A key that was made while the process ran, or before it by the same means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeKey {
    pub principal: Arc<Principal>,
    /// What opens it, each until its time: while a key is being replaced, the old
    /// one and the new one.
    pub digests: Vec<(Digest, Option<Moment>)>,
}

/// The keys that come and go while the process runs. They are replaced as a
/// whole; a lookup sees them all as they were at one moment.
#[derive(Debug, Default)]
pub struct RuntimeKeys(ArcSwap<Runtime>);

#[derive(Debug, Default)]
struct Runtime {
    digests: Digests,
    everybody: BTreeMap<Arc<str>, Arc<Principal>>,
}

impl RuntimeKeys {
    /// Puts `keys` in the place of all that were there.
    pub fn replace(&self, keys: impl IntoIterator<Item = RuntimeKey>) {
        let mut runtime = Runtime::default();
        for RuntimeKey { principal, digests } in keys {
            for (digest, until) in digests {
                let principal = Arc::clone(&principal);
                runtime.digests.insert(digest, Held { principal, until });
            }
            let name = Arc::clone(&principal.name);
            runtime.everybody.insert(name, principal);
        }
        self.0.store(Arc::new(runtime));
    }

    /// Everybody who has one, by name.
    pub fn everybody(&self) -> Vec<Arc<Principal>> {
        self.0.load().everybody.values().cloned().collect()
    }

    /// Is there one of that name?
    pub fn has(&self, name: &str) -> bool {
        self.0.load().everybody.contains_key(name)
    }

    fn find(&self, digest: &Digest, now: Moment) -> Option<Arc<Principal>> {
        find(&self.0.load().digests, digest, now).cloned()
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
