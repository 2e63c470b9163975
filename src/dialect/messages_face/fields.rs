//! Reading JSON that a client wrote, member by member, with the path of each
//! value for the error that it may cause.
//!
//! Values stay the client's text until somebody asks for them: arguments of
//! tools keep their order and numbers, and images are not copied twice.

use crate::chat::CacheMark;
use crate::error::{ErrorKind, GatewayError};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// Where a value stands in the body. Costs nothing until it is printed.
#[derive(Debug, Clone, Copy)]
pub enum At<'p> {
    Root,
    Key(&'p Self, &'p str),
    Index(&'p Self, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, name) => f.write_str(name),
            Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

/// An object whose members are taken out one after the other. `null` is as
/// good as absent.
pub struct Fields<'a, 'p> {
    pub at: &'p At<'p>,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a, 'p> Fields<'a, 'p> {
    pub fn of(raw: &'a RawValue, at: &'p At<'p>) -> Result<Self, GatewayError> {
        let members: Members<'a> = read(raw, at, "an object")?;
        Ok(Self {
            at,
            members: members.0,
        })
    }

    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.members.iter().position(|(key, _)| key == name)?;
        let (_, raw) = self.members.remove(at);
        (raw.get() != "null").then_some(raw)
    }

    pub fn need(&mut self, name: &str) -> Result<&'a RawValue, GatewayError> {
        self.take(name).ok_or_else(|| missing(self.at, name))
    }

    pub fn string(&mut self, name: &str) -> Result<Option<String>, GatewayError> {
        self.typed(name, "a string")
    }

    pub fn need_string(&mut self, name: &str) -> Result<String, GatewayError> {
        self.string(name)?.ok_or_else(|| missing(self.at, name))
    }

    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, GatewayError> {
        self.typed(name, "a boolean")
    }

    pub fn number(&mut self, name: &str) -> Result<Option<f64>, GatewayError> {
        self.typed(name, "a number")
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, GatewayError> {
        self.typed(name, "an object")
    }

    /// A number of things; `1024.0` is one, too.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>, GatewayError> {
        /// Above it not every integer is an `f64`.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let Some(raw) = self.take(name) else {
            return Ok(None);
        };
        if let Ok(count) = raw.get().parse() {
            return Ok(Some(count));
        }
        let at = At::Key(self.at, name);
        let number: f64 = read(raw, &at, "an integer")?;
        if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
            return Ok(Some(number as u64));
        }
        Err(invalid(&at, "it must be an integer of at least 0"))
    }

    /// `cache_control`.
    pub fn cache(&mut self) -> Result<Option<CacheMark>, GatewayError> {
        const NAME: &str = "cache_control";
        let Some(raw) = self.take(NAME) else {
            return Ok(None);
        };
        let at = At::Key(self.at, NAME);
        let mut mark = Fields::of(raw, &at)?;
        if mark.need_string("type")? != "ephemeral" {
            return Err(invalid(&at, "its type must be 'ephemeral'"));
        }
        let ttl = mark.string("ttl")?;
        Ok(Some(CacheMark { ttl }))
    }

    /// The names of what was not taken.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        let said = self.members.iter().filter(|(_, raw)| raw.get() != "null");
        said.map(|(name, _)| name.as_ref())
    }

    /// What was not taken.
    pub fn rest(self) -> Result<Map<String, Value>, GatewayError> {
        let mut rest = Map::new();
        for (name, raw) in self.members.into_iter().filter(|(_, v)| v.get() != "null") {
            let value = read(raw, &At::Key(self.at, &name), "a value")?;
            rest.insert(name.into_owned(), value);
        }
        Ok(rest)
    }

    fn typed<T: Deserialize<'a>>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, GatewayError> {
        let at = At::Key(self.at, name);
        self.take(name)
            .map(|raw| read(raw, &at, expected))
            .transpose()
    }
}

/// Reads a value of a known type.
pub fn read<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    at: &At<'_>,
    expected: &str,
) -> Result<T, GatewayError> {
    serde_json::from_str(raw.get()).map_err(|_| wrong_type(at, expected, raw))
}

/// The elements of an array.
pub fn elements<'a>(raw: &'a RawValue, at: &At<'_>) -> Result<Vec<&'a RawValue>, GatewayError> {
    read(raw, at, "an array")
}

pub fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

pub fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

pub fn wrong_type(at: &At<'_>, expected: &str, raw: &RawValue) -> GatewayError {
    let got = noun(raw);
    let text = format!("Invalid type for '{at}': expected {expected}, but got {got}.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(at.to_string()))
}

pub fn missing(object: &At<'_>, name: &str) -> GatewayError {
    let at = At::Key(object, name).to_string();
    let text = format!("Missing required parameter: '{at}'.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(at))
}

pub fn invalid(at: &At<'_>, reason: &str) -> GatewayError {
    let text = format!("Invalid value for '{at}': {reason}.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(at.to_string()))
}

fn noun(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The members of an object in their order, names unescaped.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A name; borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, raw));
                }
                Ok(members)
            }
        }
        from.deserialize_map(Reader).map(Self)
    }
}
