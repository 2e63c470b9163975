//! Who calls: from a key to a [`Principal`].
//!
//! Keys are random and long, so one round of SHA-256 is enough at rest. A
//! lookup hashes what the client sent and compares digests; its time says
//! nothing about the keys that exist. A disabled key is not in the ring at
//! all, so that unknown and disabled keys cannot be told apart.

use crate::units::Pattern;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Somebody who may use the gateway.
#[derive(Debug)]
pub struct Principal {
    /// The key's name in the config.
    pub name: Arc<str>,
    /// Aliases that it may use.
    pub models: Vec<Pattern>,
    /// May it ask for `provider/model` past the aliases?
    pub direct: bool,
    pub metadata: Arc<BTreeMap<String, String>>,
}

impl Principal {
    /// May it use this alias?
    pub fn may_use(&self, alias: &str) -> bool {
        self.models.iter().any(|p| p.matches(alias))
    }
}

/// All enabled keys, by digest.
#[derive(Debug, Default)]
pub struct KeyRing(HashMap<[u8; 32], Arc<Principal>>);

impl KeyRing {
    /// Adds a key; false when its digest is already there.
    pub fn insert(&mut self, digest: [u8; 32], principal: Principal) -> bool {
        self.0.insert(digest, Arc::new(principal)).is_none()
    }

    /// The key's holder.
    pub fn find(&self, key: &[u8]) -> Option<&Arc<Principal>> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (known, principal) = self.0.get_key_value(&digest)?;
        bool::from(known.ct_eq(&digest)).then_some(principal)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens() {
        let mut ring = KeyRing::default();
        let principal = Principal {
            name: "a".into(),
            models: vec![Pattern::new("gpt-*")],
            direct: false,
            metadata: Arc::default(),
        };
        assert!(ring.insert(Sha256::digest(b"tg-secret").into(), principal));
        let found = ring.find(b"tg-secret").unwrap();
        assert!(found.may_use("gpt-5") && !found.may_use("o3"));
        assert!(ring.find(b"tg-secre").is_none());
        assert!(ring.find(b"").is_none());
    }
}
