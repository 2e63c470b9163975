//! A client's tools and what it says about their use.

use super::content::cache_mark;
use super::shape::{Path, boolean, each, invalid, mistyped, need, object, string, take};
use super::strays::Left;
use crate::chat::{Conversation, Tool, ToolChoice};
use crate::error::GatewayError;
use serde_json::{Map, Value};

/// An element of `tools`.
///
/// # Errors
/// When a function is none. What is not a function is kept as it is.
pub(super) fn tool(value: Value, path: &Path<'_>) -> Result<(Tool, Left), GatewayError> {
    let mut map = object(value, path)?;
    match map.get("type") {
        Some(Value::String(kind)) if kind != "function" => {
            return Ok((foreign(map), Left::default()));
        }
        Some(Value::String(_)) => {}
        // Some clients leave it out; a function is a function all the same.
        None | Some(Value::Null) if map.contains_key("function") => {}
        None | Some(Value::Null) => return Err(super::shape::missing(&path.key("type"))),
        Some(other) => return Err(mistyped(&path.key("type"), "a string", other)),
    }
    let cache = cache_mark(&mut map, path)?;
    let (mut tool, mut left) = need(&mut map, path, "function", function)?;
    tool.cache = tool.cache.or(cache);
    map.remove("type");
    left.keep(None, map);
    Ok((tool, left))
}

fn foreign(map: Map<String, Value>) -> Tool {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let kind = text(map.get("type")).unwrap_or_default();
    let inner = map.get(&kind).and_then(|inner| text(inner.get("name")));
    let name = inner.or_else(|| text(map.get("name"))).unwrap_or(kind);
    Tool {
        name,
        foreign: Some(Value::Object(map)),
        ..Tool::default()
    }
}

/// A function on offer: `tools[].function`, or an element of `functions`.
///
/// # Errors
/// When it has no name, or fields of the wrong type.
pub(super) fn function(value: Value, path: &Path<'_>) -> Result<(Tool, Left), GatewayError> {
    let mut map = object(value, path)?;
    let name = need(&mut map, path, "name", string)?;
    if name.is_empty() {
        return Err(invalid(&path.key("name"), "it is empty."));
    }
    let tool = Tool {
        name,
        description: take(&mut map, path, "description", string)?,
        parameters: take(&mut map, path, "parameters", object)?.map(Value::Object),
        strict: take(&mut map, path, "strict", boolean)?,
        cache: cache_mark(&mut map, path)?,
        foreign: None,
    };
    let mut left = Left::default();
    left.keep(Some("function"), map);
    Ok((tool, left))
}

/// `tool_choice`, in all its forms.
///
/// # Errors
/// When it is none of them.
pub(super) fn choice(value: Value, path: &Path<'_>) -> Result<ToolChoice, GatewayError> {
    let mut map = match value {
        Value::String(word) => return word_choice(&word, path),
        Value::Object(map) => map,
        other => return Err(mistyped(path, "a string or an object", &other)),
    };
    match map.get("type").and_then(Value::as_str) {
        Some("function") => {
            let function = need(&mut map, path, "function", object)?;
            Ok(ToolChoice::Function(name_of(
                function,
                &path.key("function"),
            )?))
        }
        Some("allowed_tools") => allowed(map, path),
        Some(_) => Ok(ToolChoice::Foreign(Value::Object(map).to_string())),
        None => Err(super::shape::missing(&path.key("type"))),
    }
}

fn word_choice(word: &str, path: &Path<'_>) -> Result<ToolChoice, GatewayError> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // Mistral's word for it, and of clients written for it.
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(invalid(
            path,
            "expected 'none', 'auto', 'required' or an object.",
        )),
    }
}

fn name_of(mut function: Map<String, Value>, path: &Path<'_>) -> Result<String, GatewayError> {
    need(&mut function, path, "name", string)
}

fn allowed(mut map: Map<String, Value>, path: &Path<'_>) -> Result<ToolChoice, GatewayError> {
    let whole = Value::Object(map.clone()).to_string();
    let path = &path.key("allowed_tools");
    let value = map
        .remove("allowed_tools")
        .ok_or_else(|| super::shape::missing(path))?;
    let mut map = object(value, path)?;
    let required = match need(&mut map, path, "mode", string)?.as_str() {
        "auto" => false,
        "required" => true,
        _ => return Err(invalid(&path.key("mode"), "expected 'auto' or 'required'.")),
    };
    let names = need(&mut map, path, "tools", |value, path| {
        each(value, path, |value, path| {
            let mut tool = object(value, path)?;
            let functional = tool.get("type").and_then(Value::as_str) == Some("function");
            let function = take(&mut tool, path, "function", object)?;
            match function.filter(|_| functional) {
                Some(function) => name_of(function, &path.key("function")).map(Some),
                None => Ok(None),
            }
        })
    })?;
    let names: Option<Vec<String>> = names.into_iter().collect();
    Ok(
        names.map_or(ToolChoice::Foreign(whole), |names| ToolChoice::Allowed {
            required,
            names,
        }),
    )
}

/// `function_call` of a request: `none`, `auto` or `{name}`.
///
/// # Errors
/// When it is none of them.
pub(super) fn legacy_choice(value: Value, path: &Path<'_>) -> Result<ToolChoice, GatewayError> {
    match value {
        Value::String(word) if word == "none" => Ok(ToolChoice::None),
        Value::String(word) if word == "auto" => Ok(ToolChoice::Auto),
        Value::String(_) => Err(invalid(path, "expected 'none', 'auto' or an object.")),
        Value::Object(map) => name_of(map, path).map(ToolChoice::Function),
        other => Err(mistyped(path, "a string or an object", &other)),
    }
}

/// Refuses a choice of a tool that is not on offer. `field` is what the client
/// calls its choice.
///
/// # Errors
/// 400, naming `field`.
pub(super) fn check_choice(asked: &Conversation, field: &str) -> Result<(), GatewayError> {
    let path = &Path::Top.key(field);
    let offered = |name: &String| asked.tools.iter().any(|tool| tool.name == *name);
    let reason = match &asked.tool_choice {
        Some(ToolChoice::Function(name)) if !offered(name) => {
            "it names a tool that is not among 'tools'."
        }
        Some(ToolChoice::Allowed { names, .. }) if !names.iter().all(offered) => {
            "it names a tool that is not among 'tools'."
        }
        Some(ToolChoice::Allowed { names, .. }) if names.is_empty() => "it allows no tool.",
        Some(ToolChoice::Required | ToolChoice::Foreign(_)) if asked.tools.is_empty() => {
            "there are no 'tools'."
        }
        _ => return Ok(()),
    };
    Err(invalid(path, reason))
}
