//! A provider as requests see it.

use super::capabilities::Known;
use crate::chat::{Capabilities, Operation, Speech};
use crate::config::Secret;
use crate::credential::Credential;
use crate::dialect::anthropic::Anthropic;
use crate::dialect::bedrock::Bedrock;
use crate::dialect::cohere::Cohere;
use crate::dialect::gemini::{Flavour, Gemini};
use crate::dialect::openai_chat::{self, Compatible};
use crate::route::balance::Pool;
use crate::route::breaker::Settings;
use crate::units::Pattern;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::config::{Dialect, Timeouts};

/// Somebody who serves models: data, not code.
pub struct Provider {
    pub name: Arc<str>,
    pub dialect: Dialect,
    /// The code of the dialect.
    pub wire: &'static dyn crate::dialect::Dialect,
    /// Settings that only the dialect knows.
    pub options: BTreeMap<String, String>,
    pub pool: Arc<Pool>,
    pub timeouts: Timeouts,
    /// Run by the operator.
    pub self_hosted: bool,
    /// When its targets and endpoints are left alone.
    pub breaker: Settings,
    /// Retries at it, as a share of the requests that it gets.
    pub retry_budget: f64,
    /// Added to every request, a fixed credential among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A credential that is more than a header.
    pub credential: Option<Arc<Credential>>,
    /// Never to be seen by a client.
    pub(super) secrets: Vec<Secret>,
    pub(super) models: Vec<Pattern>,
    pub(super) capabilities: Known,
}

const AI_STUDIO: Gemini = Gemini::new(Flavour::AiStudio);
const VERTEX: Gemini = Gemini::new(Flavour::Vertex);

/// The code of a dialect.
pub(super) fn wire(
    dialect: Dialect,
    options: &BTreeMap<String, String>,
) -> &'static dyn crate::dialect::Dialect {
    match dialect {
        Dialect::OpenAi | Dialect::Azure => {
            match options.get("think_tags").is_some_and(|flag| flag == "true") {
                true => &Compatible { think_tags: true },
                false => &Compatible { think_tags: false },
            }
        }
        Dialect::Anthropic => &Anthropic,
        Dialect::Gemini => &AI_STUDIO,
        Dialect::Vertex => &VERTEX,
        Dialect::Bedrock => &Bedrock,
        Dialect::Cohere => &Cohere,
    }
}

/// A dialect's name in the capability table.
pub(super) fn family(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi | Dialect::Azure => "openai",
        Dialect::Anthropic => "anthropic",
        Dialect::Gemini | Dialect::Vertex => "gemini",
        Dialect::Bedrock => "bedrock",
        Dialect::Cohere => "cohere",
    }
}

impl Provider {
    /// May `model` be asked for as `provider/model`?
    pub fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|p| p.matches(model))
    }

    /// Does the provider speak the client's format itself, so that bytes can
    /// pass? Of the OpenAI-compatible, those that depart from OpenAI in
    /// something do not, and only some have Responses: their options say so.
    pub fn speaks(&self, operation: Operation) -> bool {
        match (self.dialect, operation.speech()) {
            (Dialect::OpenAi | Dialect::Azure, Speech::OpenAi) => {
                openai_chat::passes(&self.options, operation)
            }
            (Dialect::OpenAi | Dialect::Azure, Speech::Responses) => {
                self.options.get("responses").is_some_and(|r| r == "native")
            }
            (Dialect::Anthropic, Speech::Anthropic) => true,
            _ => false,
        }
    }

    /// Where an operation is, below the base URL, for bytes that pass.
    pub fn path(&self, operation: Operation, model: &str) -> String {
        match self.dialect {
            Dialect::OpenAi | Dialect::Azure => openai_chat::path(&self.options, operation, model),
            _ => operation.path().to_owned(),
        }
    }

    /// What a model of this provider can do.
    pub fn capabilities(&self, model: &str) -> Arc<Capabilities> {
        self.capabilities.of(model)
    }

    /// `text` without this provider's secrets.
    pub fn scrub(&self, text: &str) -> String {
        let text = self.secrets.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose(), "[redacted]")
        });
        match &self.credential {
            Some(credential) => credential.scrub(&text),
            None => text,
        }
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
