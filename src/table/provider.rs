//! A provider as requests see it.

use crate::config::Secret;
use crate::route::balance::Pool;
use crate::units::Pattern;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

pub use crate::config::{Dialect, Timeouts};

/// Somebody who serves models: data, not code.
pub struct Provider {
    pub name: Arc<str>,
    pub dialect: Dialect,
    pub pool: Arc<Pool>,
    pub timeouts: Timeouts,
    /// Added to every request, the credential among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Never to be seen by a client.
    pub(super) secrets: Vec<Secret>,
    pub(super) models: Vec<Pattern>,
}

impl Provider {
    /// May `model` be asked for as `provider/model`?
    pub fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|p| p.matches(model))
    }

    /// `text` without this provider's secrets.
    pub fn scrub(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose(), "[redacted]")
        })
    }
}

impl std::fmt::Debug for Provider {
    // The headers hold the credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
