//! What is asked for a new key, as an operator writes it, checked.
//!
//! An [`Order`] that was made has plain names and bounded lists: what stands in
//! the file, in the logs and in tables on a terminal is harmless text.

use super::Refused;
use crate::chat::Operation;
use crate::identity::{Principal, Priority};
use crate::units::is_plain;
use crate::units::{Allowance, Moment, Pattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Entries of each list.
const ENTRIES: usize = 64;
/// Bytes of each text.
const BYTES: usize = 256;
/// The longest time that an old key may go on beside a new one.
const LONGEST_OVERLAP: Duration = Duration::from_secs(366 * 86_400);

/// The longest life of a key that has an end.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    pub team: Option<String>,
    pub models: Vec<String>,
    pub routes: Vec<String>,
    pub endpoints: Vec<String>,
    pub direct: bool,
    pub priority: Priority,
    pub limits: Vec<Allowance>,
    /// Tags of each request.
    pub metadata: BTreeMap<String, String>,
}

impl Default for Rights {
    fn default() -> Self {
        let any = || vec!["*".to_owned()];
        Self {
            team: None,
            models: any(),
            routes: any(),
            endpoints: any(),
            direct: false,
            priority: Priority::default(),
            limits: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }
}

impl Rights {
    /// Somebody of that name with these rights.
    pub fn principal(&self, name: &str, expires: Option<Moment>) -> Principal {
        let patterns = |list: &[String]| list.iter().map(Pattern::new).collect();
        Principal {
            name: name.into(),
            team: self.team.as_deref().map(Into::into),
            models: patterns(&self.models),
            routes: patterns(&self.routes),
            endpoints: patterns(&self.endpoints),
            direct: self.direct,
            explain: false,
            expires,
            priority: self.priority,
            limits: self.limits.clone(),
            metadata: Arc::new(self.metadata.clone()),
        }
    }

    fn check(&self) -> Result<(), Refused> {
        for (list, what) in [
            (&self.models, "models"),
            (&self.routes, "routes"),
            (&self.endpoints, "endpoints"),
        ] {
            few(list.len(), what)?;
            if list.is_empty() {
                return Err(wrong(what, "names nothing; \"*\" is everything"));
            }
            list.iter().try_for_each(|pattern| text(pattern, what))?;
        }
        for pattern in &self.endpoints {
            let fits = Pattern::new(pattern);
            if Operation::ALL.iter().all(|op| !fits.matches(op.name())) {
                let known = Operation::ALL.map(Operation::name).join(", ");
                let why = format!("\"{pattern}\" is none of {known}");
                return Err(wrong("endpoints", &why));
            }
        }
        few(self.limits.len(), "limits")?;
        few(self.metadata.len(), "metadata")?;
        for (tag, value) in &self.metadata {
            if !is_plain(tag) {
                return Err(wrong("metadata", &format!("a tag's name has {PLAIN}")));
            }
            text(value, "metadata")?;
        }
        self.team.iter().try_for_each(|team| text(team, "team"))
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub name: String,
    pub expires: Option<Moment>,
    pub rights: Rights,
}

impl Order {
    /// Checks all of it.
    ///
    /// # Errors
    /// For what is malformed, too long, too many, or in the past.
    pub fn check(&self, now: Moment) -> Result<(), Refused> {
        if !is_plain(&self.name) {
            return Err(wrong("name", &format!("a name has {PLAIN}")));
        }
        if self.expires.is_some_and(|end| end <= now) {
            return Err(wrong("expires", "is in the past"));
        }
        if self.expires.is_some_and(|end| end > now.plus(LONGEST_LIFE)) {
            return Err(wrong("expires", "is more than a hundred years away"));
        }
        self.rights.check()
    }

    /// Reads it from a JSON object: `name`, `expires` as [`expiry`] reads it, and
    /// the members of [`Rights`].
    ///
    /// # Errors
    /// For all else.
    pub fn from_json(body: &[u8], now: Moment) -> Result<Self, Refused> {
        let invalid = |e: serde_json::Error| wrong("body", &e.to_string());
        let mut members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(body).map_err(invalid)?;
        let mut taken = |member: &str| match members.remove(member) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(member, "is not a string")),
        };
        let name = taken("name")?.ok_or_else(|| wrong("name", "is missing"))?;
        let expires = taken("expires")?;
        let expires = expires.map(|text| expiry(&text, now)).transpose()?;
        let rights = serde_json::from_value(members.into()).map_err(invalid)?;
        let order = Self {
            name,
            expires,
            rights,
        };
        order.check(now)?;
        Ok(order)
    }
}

const PLAIN: &str = "1 to 64 letters, digits, \".\", \"_\", \"-\"";

fn wrong(what: &str, why: &str) -> Refused {
    Refused::Invalid(format!("{what}: {why}"))
}

fn few(count: usize, what: &str) -> Result<(), Refused> {
    match count <= ENTRIES {
        true => Ok(()),
        false => Err(wrong(what, &format!("has more than {ENTRIES} entries"))),
    }
}

fn text(text: &str, what: &str) -> Result<(), Refused> {
    let good = (1..=BYTES).contains(&text.len()) && !text.contains(char::is_control);
    match good {
        true => Ok(()),
        false => {
            let why = format!("a text has 1 to {BYTES} bytes and no control characters");
            Err(wrong(what, &why))
        }
    }
}

/// Reads when a key ends, as [`Moment::after`] does.
///
/// # Errors
/// For all else.
pub fn expiry(text: &str, now: Moment) -> Result<Moment, Refused> {
    Moment::after(now, text).map_err(|e| wrong("expires", &e.to_string()))
}

/// Reads how long an old key goes on beside the new one: `24h`, `0s`.
///
/// # Errors
/// For all else, and for more than a year.
pub fn overlap(text: &str) -> Result<Duration, Refused> {
    let length = humantime::parse_duration(text).ok();
    let why = "write a length such as \"24h\" or \"0s\", at most 366d";
    let fits = length.filter(|length| *length <= LONGEST_OVERLAP);
    fits.ok_or_else(|| wrong("overlap", why))
}
