//! Keys over the operator's listener: `GET /keys`, `POST /keys`,
//! `POST /keys/{name}/revoke`, `POST /keys/{name}/rotate`.
//!
//! All of it needs the operator's token, compared by its digest in constant
//! time; without a token in the config nothing of it works. A body is JSON, says
//! so, and is small. Together with the token, which no browser sends by itself,
//! that keeps other sites' pages out. What was made is in the answer once and
//! nowhere else.

use super::{JSON, respond};
use crate::identity::is_digest_of;
use crate::ledger::keys::{
    Actor, Listed, Live, Made, Order, Refused, Shown, Store, overlap, rfc3339,
};
use crate::table::RoutingTable;
use crate::units::{Moment, is_plain};
use arc_swap::ArcSwap;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes of a body.
pub(super) const BODY: usize = 64 << 10;

/// For how long a body may come.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    All,
    Revoke(String),
    Rotate(String),
}

impl Asked {
    /// `None` when the path is not one of these.
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/keys")?;
        if rest.is_empty() {
            return Some(Self::All);
        }
        let (name, verb) = rest.strip_prefix('/')?.split_once('/')?;
        if !is_plain(name) {
            return None;
        }
        match verb {
            "revoke" => Some(Self::Revoke(name.to_owned())),
            "rotate" => Some(Self::Rotate(name.to_owned())),
            _ => None,
        }
    }
}

/// The keys of the process, and who may touch them.
pub struct Keys {
    table: Arc<ArcSwap<RoutingTable>>,
    live: Option<Arc<Live>>,
}

type Answer = Response<Vec<u8>>;

impl Keys {
    /// Those of `table` and those of `live`; nothing can be changed without it.
    pub fn new(table: Arc<ArcSwap<RoutingTable>>, live: Option<Arc<Live>>) -> Arc<Self> {
        Arc::new(Self { table, live })
    }

    /// Whether the request may be read on.
    ///
    /// # Errors
    /// The answer that says why not.
    pub(super) fn admit(
        &self,
        asked: &Asked,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Box<Answer>> {
        let (methods, allowed) = match asked {
            Asked::All => (&[Method::GET, Method::POST][..], "GET, POST"),
            Asked::Revoke(_) | Asked::Rotate(_) => (&[Method::POST][..], "POST"),
        };
        if !methods.contains(method) {
            let text = format!("only {allowed}");
            let mut answer = refuse(405, "method_not_allowed", &text);
            let allowed = HeaderValue::from_static(allowed);
            answer.headers_mut().insert(ALLOW, allowed);
            return Err(Box::new(answer));
        }
        self.authorize(headers)?;
        if method == Method::POST && !is_json(headers) {
            let text = "send Content-Type: application/json";
            return Err(Box::new(refuse(415, "unsupported_media_type", text)));
        }
        Ok(())
    }

    /// As [`Self::authorize`], where there is a token; else nothing is needed.
    pub(super) fn authorize_if_set(&self, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        match self.table.load().admin_token {
            Some(_) => self.authorize(headers),
            None => Ok(()),
        }
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        let Some(token) = self.table.load().admin_token else {
            let text = "there is no admin token: set one, [admin] token = \"file:PATH\" in the \
                        config, and send it as Authorization: Bearer TOKEN";
            return Err(Box::new(refuse(403, "no_admin_token", text)));
        };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let given = match (given.next(), given.next()) {
            (Some(one), None) => one.as_bytes(),
            _ => b"",
        };
        let bearer = match given.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => b"",
        };
        if is_digest_of(&token, bearer) {
            return Ok(());
        }
        let text = "the admin token is missing or wrong: send Authorization: Bearer TOKEN";
        let mut answer = refuse(401, "invalid_admin_token", text);
        let scheme = HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        Err(Box::new(answer))
    }

    /// Does what was asked for. Blocks on the file system.
    pub(super) fn act(&self, asked: &Asked, method: &Method, body: &[u8]) -> Answer {
        let now = Moment::from(SystemTime::now());
        let done = match asked {
            Asked::All if method == Method::GET => self.all(now),
            Asked::All => self.create(body, now),
            Asked::Revoke(name) => self.revoke(name, body, now),
            Asked::Rotate(name) => self.rotate(name, body, now),
        };
        done.unwrap_or_else(|refused| refusal(&refused))
    }

    fn all(&self, now: Moment) -> Result<Answer, Refused> {
        let table = self.table.load();
        let listed = match &self.live {
            Some(live) => live.list()?,
            None => Listed::default(),
        };
        let written = table.keys.written().map(|who| Shown::config(who, now));
        let runtime = listed.records.iter().map(|record| {
            let is_shadowed = table.keys.claims(&record.name);
            Shown::runtime(record, is_shadowed, now)
        });
        let mut keys: Vec<_> = written.chain(runtime).collect();
        keys.sort_by(|a, b| (&a.name, a.source).cmp(&(&b.name, b.source)));
        let body = json!({ "keys": keys, "damaged": listed.damaged });
        Ok(answer(200, &body))
    }

    fn create(&self, body: &[u8], now: Moment) -> Result<Answer, Refused> {
        let order = Order::from_json(body, now)?;
        if self.table.load().keys.claims(&order.name) {
            return Err(Refused::Taken(order.name));
        }
        let made = self.change(|store| store.create(&order, Actor::Admin, now))?;
        Ok(answer(201, &told(&made, order.expires)))
    }

    fn revoke(&self, name: &str, body: &[u8], now: Moment) -> Result<Answer, Refused> {
        members(body, &[])?;
        self.change(|store| store.revoke(name, Actor::Admin, now))?;
        Ok(answer(200, &json!({ "name": name, "revoked": true })))
    }

    fn rotate(&self, name: &str, body: &[u8], now: Moment) -> Result<Answer, Refused> {
        let asked = members(body, &["overlap"])?;
        let length = match asked.get("overlap") {
            None => Duration::ZERO,
            Some(Value::String(text)) => overlap(text)?,
            Some(_) => return Err(Refused::Invalid("overlap: is not a string".to_owned())),
        };
        let made = self.change(|store| store.rotate(name, length, Actor::Admin, now))?;
        Ok(answer(200, &told(&made, None)))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let none = || Refused::File(std::io::Error::other("the config is part of the program"));
        self.live.as_ref().ok_or_else(none)?.change(change)
    }
}

fn told(made: &Made, expires: Option<Moment>) -> Value {
    json!({
        "name": made.name,
        "key": made.key.as_str(),
        "expires": expires.map(rfc3339),
        "old_key_until": made.old_until.map(rfc3339),
    })
}

/// The body's object; nothing at all is an empty one.
fn members(body: &[u8], known: &[&str]) -> Result<serde_json::Map<String, Value>, Refused> {
    if body.trim_ascii().is_empty() {
        return Ok(serde_json::Map::new());
    }
    let invalid = |e: serde_json::Error| Refused::Invalid(format!("body: {e}"));
    let object: serde_json::Map<String, Value> = serde_json::from_slice(body).map_err(invalid)?;
    match object
        .keys()
        .find(|member| !known.contains(&member.as_str()))
    {
        Some(member) => Err(Refused::Invalid(format!("{member}: is not known here"))),
        None => Ok(object),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|e| e.trim().eq_ignore_ascii_case("application/json"))
}

fn refusal(refused: &Refused) -> Answer {
    let (status, code) = match refused {
        Refused::Invalid(_) => (400, "invalid_request"),
        Refused::Unknown(_) => (404, "key_not_found"),
        Refused::Taken(_) => (409, "name_taken"),
        Refused::Revoked(_) => (409, "key_revoked"),
        Refused::Expired(_) => (409, "key_expired"),
        Refused::NoRandom(_) | Refused::File(_) | Refused::Ledger(_) | Refused::Database(_) => {
            let reason = refused.to_string();
            log::error!(reason = reason.as_str(); "keys cannot be read or changed");
            (503, "keys_unavailable")
        }
    };
    refuse(status, code, &refused.to_string())
}

/// An error, as JSON.
pub(super) fn refuse(status: u16, code: &str, message: &str) -> Answer {
    answer(
        status,
        &json!({ "error": { "code": code, "message": message } }),
    )
}

/// A JSON answer.
pub(super) fn answer(status: u16, body: &Value) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, JSON, format!("{body:#}\n").into_bytes())
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
