//! A Chat Completions request of a client, to the conversation that it means.
//!
//! Shapes are checked, values are not: whether a temperature is too high is
//! for the model to say. `null` is the same as absent, everywhere. Fields
//! without a canonical form go to [`Conversation::other`] under their names.

use super::reasoning;
use super::shape::{
    Path, boolean, count, each, float, integer, invalid, mistyped, need, object, string, take,
};
use super::strays::Left;
use super::{messages, tools};
use crate::chat::{
    Conversation, Format, Logprobs, Message, Place, Sampling, Stray, Tool, ToolChoice,
};
use crate::error::{ErrorKind, GatewayError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Whether a request is of the time before tools.
pub(super) fn is_legacy(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Asked {
        functions: Option<IgnoredAny>,
        tools: Option<Vec<IgnoredAny>>,
    }
    serde_json::from_slice(body).is_ok_and(|asked: Asked| {
        asked.functions.is_some() && asked.tools.is_none_or(|tools| tools.is_empty())
    })
}

/// The top-level object of a body.
///
/// # Errors
/// When it is none.
pub(crate) fn fields(body: &[u8]) -> Result<Fields, GatewayError> {
    let value = serde_json::from_slice(body).map_err(|e| {
        let text = "The request body is not acceptable JSON.";
        GatewayError::new(ErrorKind::InvalidJson, text).because(e)
    })?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(GatewayError::new(
            ErrorKind::InvalidJson,
            "The request body is not a JSON object.",
        )),
    }
}

pub(super) fn conversation(body: &[u8]) -> Result<Conversation, GatewayError> {
    let mut map = fields(body)?;
    let mut asked = Conversation {
        model: need(&mut map, &Path::Top, "model", string)?,
        ..Conversation::default()
    };
    let list = need(&mut map, &Path::Top, "messages", |value, _| Ok(value))?;
    asked.messages = messages::list(list, &Path::Top.key("messages"), &mut asked.strays)?;
    take_tools(&mut map, &mut asked)?;
    settings(&mut map, &mut asked)?;
    asked.format = take(&mut map, &Path::Top, "response_format", |value, path| {
        format(value, path, &mut asked.strays)
    })?
    .unwrap_or_default();
    asked.reasoning = reasoning::take_settings(&mut map)?;
    only_text(&mut map)?;
    asked.other = map;
    asked.other.retain(|_, value| !value.is_null());
    Ok(asked)
}

/// The fields that mean the same in the older Completions API, and everything
/// of a request that is no message, tool or format. They are taken out of
/// `map`.
pub(crate) fn settings(map: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    let top = &Path::Top;
    let longest = take(map, top, "max_tokens", count)?;
    asked.max_tokens = take(map, top, "max_completion_tokens", count)?.or(longest);
    asked.sampling = sampling(map)?;
    asked.stop = take(map, top, "stop", stop)?.unwrap_or_default();
    asked.n = take(map, top, "n", count)?;
    if asked.n == Some(0) {
        return Err(invalid(&top.key("n"), "expected at least 1."));
    }
    asked.logprobs = logprobs(map)?;
    asked.user = take(map, top, "user", string)?;
    asked.metadata = take(map, top, "metadata", object)?.unwrap_or_default();
    asked.service_tier = take(map, top, "service_tier", string)?;
    asked.stream = take(map, top, "stream", boolean)?.unwrap_or(false);
    stream_options(map, asked)
}

fn sampling(map: &mut Fields) -> Result<Sampling, GatewayError> {
    let top = &Path::Top;
    // vLLM's -1 (no limit) has no canonical form and stays among the others.
    let top_k = map.get("top_k").and_then(super::shape::whole);
    if top_k.is_some() {
        map.remove("top_k");
    }
    Ok(Sampling {
        temperature: take(map, top, "temperature", float)?,
        top_p: take(map, top, "top_p", float)?,
        top_k,
        frequency_penalty: take(map, top, "frequency_penalty", float)?,
        presence_penalty: take(map, top, "presence_penalty", float)?,
        seed: take(map, top, "seed", integer)?,
        logit_bias: take(map, top, "logit_bias", object)?
            .filter(|bias| !bias.is_empty())
            .map(Value::Object),
    })
}

fn stop(value: Value, path: &Path<'_>) -> Result<Vec<String>, GatewayError> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(_) => each(value, path, string),
        other => Err(mistyped(path, "a string or an array of strings", &other)),
    }
}

fn logprobs(map: &mut Fields) -> Result<Option<Logprobs>, GatewayError> {
    let wanted = take(map, &Path::Top, "logprobs", boolean)?.unwrap_or(false);
    let top = take(map, &Path::Top, "top_logprobs", count)?;
    match (wanted, top) {
        (true, top) => Ok(Some(Logprobs { top })),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(invalid(
            &Path::Top.key("top_logprobs"),
            "it needs 'logprobs' to be true.",
        )),
    }
}

fn stream_options(map: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    let path = Path::Top.key("stream_options");
    let Some(mut options) = take(map, &Path::Top, "stream_options", object)? else {
        return Ok(());
    };
    let wanted = take(&mut options, &path, "include_usage", boolean)?;
    asked.include_usage = asked.stream && wanted == Some(true);
    let obfuscated = take(&mut options, &path, "include_obfuscation", boolean)?;
    options.retain(|_, value| !value.is_null());
    if !options.is_empty() {
        map.insert("stream_options".to_owned(), Value::Object(options));
    }
    // False asks for what is done anyway.
    if obfuscated == Some(true) {
        map.insert(
            "stream_options.include_obfuscation".to_owned(),
            Value::Bool(true),
        );
    }
    Ok(())
}

fn format(value: Value, path: &Path<'_>, strays: &mut Vec<Stray>) -> Result<Format, GatewayError> {
    let mut map = object(value, path)?;
    match need(&mut map, path, "type", string)?.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let path = &path.key("json_schema");
            let mut schema = object(
                map.remove("json_schema")
                    .ok_or_else(|| super::shape::missing(path))?,
                path,
            )?;
            Ok(Format::JsonSchema {
                name: take(&mut schema, path, "name", string)?,
                description: take(&mut schema, path, "description", string)?,
                schema: Value::Object(need(&mut schema, path, "schema", object)?),
                strict: take(&mut schema, path, "strict", boolean)?,
            })
        }
        // A provider's own, such as a grammar.
        kind => {
            map.insert("type".to_owned(), kind.into());
            strays.push(Stray {
                place: Place::Top,
                name: "response_format".to_owned(),
                value: Value::Object(map),
            });
            Ok(Format::Text)
        }
    }
}

fn offered(read: Vec<(Tool, Left)>, strays: &mut Vec<Stray>) -> Vec<Tool> {
    let mut tools = Vec::with_capacity(read.len());
    for (at, (tool, left)) in read.into_iter().enumerate() {
        left.put(strays, |within| Place::Tool { tool: at, within });
        tools.push(tool);
    }
    tools
}

fn take_tools(map: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    let top = &Path::Top;
    let read = take(map, top, "tools", |value, path| {
        each(value, path, tools::tool)
    })?;
    asked.tools = offered(read.unwrap_or_default(), &mut asked.strays);
    asked.tool_choice = take(map, top, "tool_choice", tools::choice)?;
    asked.parallel_tool_calls = take(map, top, "parallel_tool_calls", boolean)?;
    let functions = take(map, top, "functions", |value, path| {
        each(value, path, tools::function)
    })?;
    let functions = functions.filter(|functions| !functions.is_empty());
    let legacy = take(map, top, "function_call", tools::legacy_choice)?;
    let named = match (functions, legacy) {
        (Some(_), _) if !asked.tools.is_empty() => {
            return Err(invalid(
                &top.key("functions"),
                "it cannot stand beside 'tools'.",
            ));
        }
        (None, Some(ToolChoice::Function(_))) => {
            return Err(invalid(
                &top.key("function_call"),
                "there are no 'functions'.",
            ));
        }
        (Some(functions), legacy) => {
            asked.tools = offered(functions, &mut asked.strays);
            asked.tool_choice = legacy;
            // `function_call` has room for one.
            asked.parallel_tool_calls = Some(false);
            "function_call"
        }
        (None, _) => "tool_choice",
    };
    tools::check_choice(asked, named)?;
    if asked.tools.is_empty()
        && matches!(asked.tool_choice, Some(ToolChoice::Auto | ToolChoice::None))
    {
        // Says nothing where there is nothing to choose from.
        asked.tool_choice = None;
    }
    Ok(())
}

/// Takes `modalities` out if they ask for text alone, which is what everyone
/// answers with.
fn only_text(map: &mut Fields) -> Result<(), GatewayError> {
    let Some(kinds) = take(map, &Path::Top, "modalities", |value, path| {
        each(value, path, string)
    })?
    else {
        return Ok(());
    };
    if kinds.iter().any(|kind| kind != "text") {
        map.insert("modalities".to_owned(), kinds.into());
    }
    Ok(())
}

/// Whether `id` is the id of a call that a turn before made.
pub(super) fn was_called(messages: &[Message], id: &str) -> bool {
    messages.iter().rev().any(|message| match message {
        Message::Assistant(turn) => turn.calls.iter().any(|call| call.id == id),
        _ => false,
    })
}
