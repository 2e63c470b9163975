//! Keys as an operator is shown them: all but what opens them.

use super::Record;
use crate::identity::{Principal, Priority};
use crate::units::{Allowance, Moment, Pattern};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

/// The last moment that RFC 3339 can write.
const LAST: u64 = 253_402_300_799_000_000;

/// Digits of a digest that tell keys apart, and no more.
const DIGITS: usize = 12;

/// One key, for JSON and tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub name: String,
    /// `config` or `runtime`.
    pub source: &'static str,
    /// `active`, `expired`, `revoked`; `shadowed` when the config has a key of
    /// this name, which counts.
    pub state: &'static str,
    pub team: Option<String>,
    pub models: Vec<String>,
    pub routes: Vec<String>,
    pub endpoints: Vec<String>,
    pub direct: bool,
    pub priority: Priority,
    pub limits: Vec<Allowance>,
    pub metadata: BTreeMap<String, String>,
    pub created: Option<String>,
    pub expires: Option<String>,
    pub revoked: Option<String>,
    /// What opens it: the beginning of the SHA-256, and its end.
    pub keys: Vec<Opens>,
}

/// Something that opens a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opens {
    /// The first digits of its SHA-256.
    pub sha256: String,
    pub until: Option<String>,
}

impl Shown {
    /// A key of the file.
    pub fn runtime(record: &Record, is_shadowed: bool, now: Moment) -> Self {
        let who = record.rights.principal(&record.name, record.expires);
        let state = match record.state(now) {
            "active" if is_shadowed => "shadowed",
            state => state,
        };
        Self {
            source: "runtime",
            state,
            created: Some(rfc3339(record.created)),
            revoked: record.revoked.map(rfc3339),
            keys: record.digests.iter().map(opens).collect(),
            ..Self::config(&who, now)
        }
    }

    /// A key of the config.
    pub fn config(who: &Principal, now: Moment) -> Self {
        let texts = |list: &[Pattern]| list.iter().map(|p| p.as_str().to_owned()).collect();
        Self {
            name: who.name.to_string(),
            source: "config",
            state: match who.expires {
                Some(end) if end <= now => "expired",
                _ => "active",
            },
            team: who.team.as_deref().map(str::to_owned),
            models: texts(&who.models),
            routes: texts(&who.routes),
            endpoints: texts(&who.endpoints),
            direct: who.direct,
            priority: who.priority,
            limits: who.limits.clone(),
            metadata: (*who.metadata).clone(),
            created: None,
            expires: who.expires.map(rfc3339),
            revoked: None,
            keys: Vec::new(),
        }
    }
}

fn opens((digest, until): &(crate::identity::Digest, Option<Moment>)) -> Opens {
    let mut sha256 = String::new();
    for byte in digest.iter().take(DIGITS / 2) {
        let _ = write!(sha256, "{byte:02x}");
    }
    Opens {
        sha256,
        until: until.map(rfc3339),
    }
}

/// To the second, in UTC.
pub fn rfc3339(moment: Moment) -> String {
    let time = SystemTime::from(moment.min(Moment(LAST)));
    humantime::format_rfc3339_seconds(time).to_string()
}
