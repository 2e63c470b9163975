//! Taking a client's JSON apart, with a name for the place of every mistake.
//!
//! Values are moved out of their objects, so that a large prompt is not
//! copied; what is left in an object afterwards is what nobody asked for.

use crate::error::{ErrorKind, GatewayError};
use serde_json::{Map, Value};
use std::fmt;

/// Where in a body a value stands: `messages[2].content[0].type`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Top,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) const fn key(&'a self, name: &'a str) -> Path<'a> {
        Path::Key(self, name)
    }

    pub(crate) const fn at(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Key(Self::Top, name) => f.write_str(name),
            Self::Key(above, name) => write!(f, "{above}.{name}"),
            Self::Index(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// 400: the value at `path` cannot be read, for `reason`, which ends in a dot.
pub(crate) fn invalid(path: &Path<'_>, reason: &str) -> GatewayError {
    let text = format!("Invalid value for '{path}': {reason}");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(path.to_string()))
}

pub(crate) fn missing(path: &Path<'_>) -> GatewayError {
    let text = format!("Missing required parameter: '{path}'.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(path.to_string()))
}

/// 400: the value at `path` is of another type than `expected`.
pub(crate) fn mistyped(path: &Path<'_>, expected: &str, got: &Value) -> GatewayError {
    let got = noun(got);
    let text = format!("Invalid type for '{path}': expected {expected}, but got {got}.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(path.to_string()))
}

const fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub(crate) fn string(value: Value, path: &Path<'_>) -> Result<String, GatewayError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(mistyped(path, "a string", &other)),
    }
}

pub(crate) fn object(value: Value, path: &Path<'_>) -> Result<Map<String, Value>, GatewayError> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(mistyped(path, "an object", &other)),
    }
}

pub(crate) fn array(value: Value, path: &Path<'_>) -> Result<Vec<Value>, GatewayError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(mistyped(path, "an array", &other)),
    }
}

pub(crate) fn boolean(value: Value, path: &Path<'_>) -> Result<bool, GatewayError> {
    match value {
        Value::Bool(truth) => Ok(truth),
        other => Err(mistyped(path, "a boolean", &other)),
    }
}

pub(crate) fn float(value: Value, path: &Path<'_>) -> Result<f64, GatewayError> {
    match value.as_f64() {
        Some(number) => Ok(number),
        None => Err(mistyped(path, "a number", &value)),
    }
}

pub(crate) fn count(value: Value, path: &Path<'_>) -> Result<u64, GatewayError> {
    match whole(&value) {
        Some(number) => Ok(number),
        None if value.is_number() => {
            Err(invalid(path, "expected an integer that is not negative."))
        }
        None => Err(mistyped(path, "an integer", &value)),
    }
}

pub(crate) fn integer(value: Value, path: &Path<'_>) -> Result<i64, GatewayError> {
    let number = value.as_i64();
    match number.or_else(|| whole(&value).and_then(|n| i64::try_from(n).ok())) {
        Some(number) => Ok(number),
        None => Err(mistyped(path, "an integer", &value)),
    }
}

/// A count, also where it is written as a float (`71.0`).
pub(crate) fn whole(value: &Value) -> Option<u64> {
    /// Above, a float has no unit digit.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        let counts = (0.0..=EXACT).contains(&float) && float.fract() == 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range"
        )]
        counts.then_some(float as u64)
    })
}

/// Takes a member out; `null` is the same as absent.
///
/// # Errors
/// As `read`, with the member's path.
pub(crate) fn take<T>(
    map: &mut Map<String, Value>,
    path: &Path<'_>,
    name: &str,
    read: impl FnOnce(Value, &Path<'_>) -> Result<T, GatewayError>,
) -> Result<Option<T>, GatewayError> {
    match map.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value, &path.key(name)).map(Some),
    }
}

/// Like [`take`], of a member that must be there.
///
/// # Errors
/// As `read`, or that the member is missing.
pub(crate) fn need<T>(
    map: &mut Map<String, Value>,
    path: &Path<'_>,
    name: &str,
    read: impl FnOnce(Value, &Path<'_>) -> Result<T, GatewayError>,
) -> Result<T, GatewayError> {
    take(map, path, name, read)?.ok_or_else(|| missing(&path.key(name)))
}

/// Reads each element of an array.
///
/// # Errors
/// As `read`, with the element's path.
pub(crate) fn each<T>(
    value: Value,
    path: &Path<'_>,
    mut read: impl FnMut(Value, &Path<'_>) -> Result<T, GatewayError>,
) -> Result<Vec<T>, GatewayError> {
    let items = array(value, path)?.into_iter().enumerate();
    items.map(|(at, item)| read(item, &path.at(at))).collect()
}
