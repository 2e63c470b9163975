//! Requests: the top level, tools, and how much to think.

use super::content::Reader;
use super::fields::{At, Fields, elements, invalid, is_object, is_string, read, wrong_type};
use crate::chat::{CacheMark, Conversation, Format, Item, Message, Reasoning, Tool, ToolChoice};
use crate::error::{ErrorKind, GatewayError};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    Answer,
    /// Counting its tokens: needs no `max_tokens`.
    Count,
}

pub fn conversation(body: &[u8], purpose: For) -> Result<Conversation, GatewayError> {
    let raw: &RawValue = serde_json::from_slice(body).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        let text = "The request body is not acceptable JSON.";
        GatewayError::new(ErrorKind::InvalidJson, text).because(place)
    })?;
    let mut fields = Fields::of(raw, &At::Root)?;
    refuse_mcp(&mut fields)?;
    let stream = fields.boolean("stream")?.unwrap_or_default();
    let mut asked = Conversation {
        model: fields.need_string("model")?,
        max_tokens: fields.count("max_tokens")?,
        stop: stop_sequences(&mut fields)?,
        service_tier: fields.string("service_tier")?.map(service_tier),
        stream,
        // Anthropic's streams always tell it.
        include_usage: stream,
        ..Conversation::default()
    };
    if asked.max_tokens.is_none() && purpose == For::Answer {
        return Err(super::fields::missing(&At::Root, "max_tokens"));
    }
    asked.sampling.temperature = fields.number("temperature")?;
    asked.sampling.top_p = fields.number("top_p")?;
    asked.sampling.top_k = fields.count("top_k")?;
    metadata(&mut fields, &mut asked)?;
    thinking_and_format(&mut fields, &mut asked)?;
    tools(&mut fields, &mut asked)?;
    tool_choice(&mut fields, &mut asked)?;
    messages(&mut fields, &mut asked)?;
    asked.other.append(&mut fields.rest()?);
    Ok(asked)
}

/// Servers that Anthropic would call have no counterpart at other providers.
fn refuse_mcp(fields: &mut Fields<'_, '_>) -> Result<(), GatewayError> {
    const NAME: &str = "mcp_servers";
    let Some(raw) = fields.take(NAME) else {
        return Ok(());
    };
    let at = At::Key(fields.at, NAME);
    if elements(raw, &at)?.is_empty() {
        return Ok(());
    }
    let text = "MCP servers are not supported by this model's provider.";
    Err(GatewayError::new(ErrorKind::InvalidRequest, text).with_param(Some(NAME)))
}

/// System prompt and messages, and the cache mark on the last of them.
fn messages(fields: &mut Fields<'_, '_>, asked: &mut Conversation) -> Result<(), GatewayError> {
    let mut reader = Reader::default();
    if let Some(raw) = fields.take("system") {
        reader.system(raw, &At::Key(fields.at, "system"))?;
    }
    let at = At::Key(fields.at, "messages");
    let list = elements(fields.need("messages")?, &at)?;
    if list.is_empty() {
        return Err(invalid(&at, "at least one message is required"));
    }
    for (i, raw) in list.into_iter().enumerate() {
        reader.message(raw, &At::Index(&at, i))?;
    }
    let (messages, mut noted) = reader.finish();
    asked.messages = messages;
    asked.other.append(&mut noted);
    if let Some(mark) = fields.cache()? {
        match last_mark(&mut asked.messages) {
            Some(place) => drop(place.get_or_insert(mark)),
            None => drop(
                asked
                    .other
                    .insert("cache_control".to_owned(), written(&mark)),
            ),
        }
    }
    Ok(())
}

fn written(mark: &CacheMark) -> Value {
    match &mark.ttl {
        Some(ttl) => json!({"type": "ephemeral", "ttl": ttl}),
        None => json!({"type": "ephemeral"}),
    }
}

/// Where the end of the prompt has its cache mark, if it can have one: a thought
/// cannot.
fn last_mark(messages: &mut [Message]) -> Option<&mut Option<CacheMark>> {
    let last = match messages.last_mut()? {
        Message::System { parts } | Message::User { parts, .. } | Message::Tool { parts, .. } => {
            parts.last_mut()
        }
        Message::Assistant(turn) => {
            return match turn.items().last()? {
                Item::Thought(_) => None,
                Item::Part(..) => turn.parts.last_mut().map(|part| &mut part.cache),
                Item::Call(..) => turn.calls.last_mut().map(|call| &mut call.cache),
            };
        }
    };
    last.map(|part| &mut part.cache)
}

fn stop_sequences(fields: &mut Fields<'_, '_>) -> Result<Vec<String>, GatewayError> {
    const NAME: &str = "stop_sequences";
    let Some(raw) = fields.take(NAME) else {
        return Ok(Vec::new());
    };
    let at = At::Key(fields.at, NAME);
    let list = elements(raw, &at)?.into_iter().enumerate();
    list.map(|(i, raw)| read(raw, &At::Index(&at, i), "a string"))
        .collect()
}

/// OpenAI's word for a tier. `standard_only` forbids the paid-for capacity,
/// as `default` does.
fn service_tier(tier: String) -> String {
    match tier.as_str() {
        "standard_only" => "default".to_owned(),
        _ => tier,
    }
}

fn metadata(fields: &mut Fields<'_, '_>, asked: &mut Conversation) -> Result<(), GatewayError> {
    let at = At::Key(fields.at, "metadata");
    if let Some(raw) = fields.take("metadata") {
        let mut metadata = Fields::of(raw, &at)?;
        asked.user = metadata.string("user_id")?;
        asked.metadata = metadata.rest()?;
    }
    Ok(())
}

fn thinking_and_format(
    fields: &mut Fields<'_, '_>,
    asked: &mut Conversation,
) -> Result<(), GatewayError> {
    let mut effort = None;
    // The older place of `output_config.format`, still sent by some clients.
    let mut format = fields
        .take("output_format")
        .map(|raw| schema(raw, &At::Key(fields.at, "output_format")))
        .transpose()?;
    let at = At::Key(fields.at, "output_config");
    if let Some(raw) = fields.take("output_config") {
        let mut config = Fields::of(raw, &at)?;
        effort = config.string("effort")?;
        if let Some(raw) = config.take("format") {
            format = Some(schema(raw, &At::Key(&at, "format"))?);
        }
        let rest = config.rest()?;
        if !rest.is_empty() {
            let name = "output_config".to_owned();
            asked.other.insert(name, Value::Object(rest));
        }
    }
    asked.format = format.unwrap_or_default();
    asked.reasoning = reasoning(fields, effort)?;
    Ok(())
}

/// A schema needs a name elsewhere; here it has none.
fn schema(raw: &RawValue, at: &At<'_>) -> Result<Format, GatewayError> {
    let mut format = Fields::of(raw, at)?;
    if format.need_string("type")? != "json_schema" {
        return Err(invalid(at, "its type must be 'json_schema'"));
    }
    let at = At::Key(at, "schema");
    let schema: Map<String, Value> = read(format.need("schema")?, &at, "an object")?;
    Ok(Format::JsonSchema {
        name: Some("response".to_owned()),
        description: None,
        schema: Value::Object(schema),
        strict: Some(true),
    })
}

fn reasoning(
    fields: &mut Fields<'_, '_>,
    effort: Option<String>,
) -> Result<Option<Reasoning>, GatewayError> {
    let at = At::Key(fields.at, "thinking");
    let Some(raw) = fields.take("thinking") else {
        return Ok(effort.map(|effort| Reasoning {
            effort: Some(effort),
            ..Reasoning::default()
        }));
    };
    let mut thinking = Fields::of(raw, &at)?;
    let kind = thinking.need_string("type")?;
    let shown = thinking.string("display")?.map(|d| d != "omitted");
    let reasoning = match kind.as_str() {
        "enabled" => Reasoning {
            effort,
            budget: Some(budget(&mut thinking)?),
            // What takes a budget shows its thoughts unless told otherwise.
            visible: shown.or(Some(true)),
        },
        // Whether to think before the first call, too, no other provider can be told.
        "adaptive" | "between_tools" => Reasoning {
            effort,
            budget: None,
            visible: shown,
        },
        "disabled" => Reasoning {
            effort: Some("none".to_owned()),
            ..Reasoning::default()
        },
        _ => {
            let types = "'enabled', 'adaptive', 'between_tools' or 'disabled'";
            return Err(invalid(
                &At::Key(&at, "type"),
                &format!("it must be {types}"),
            ));
        }
    };
    Ok(Some(reasoning))
}

fn budget(thinking: &mut Fields<'_, '_>) -> Result<u64, GatewayError> {
    const NAME: &str = "budget_tokens";
    let budget = thinking.count(NAME)?;
    budget.ok_or_else(|| super::fields::missing(thinking.at, NAME))
}

fn tools(fields: &mut Fields<'_, '_>, asked: &mut Conversation) -> Result<(), GatewayError> {
    let Some(raw) = fields.take("tools") else {
        return Ok(());
    };
    let at = At::Key(fields.at, "tools");
    for (i, raw) in elements(raw, &at)?.into_iter().enumerate() {
        let tool = tool(raw, &At::Index(&at, i), &mut asked.other)?;
        asked.tools.push(tool);
    }
    Ok(())
}

fn tool(raw: &RawValue, at: &At<'_>, noted: &mut Map<String, Value>) -> Result<Tool, GatewayError> {
    let mut fields = Fields::of(raw, at)?;
    let kind = fields.string("type")?;
    if let Some(kind) = kind.filter(|kind| kind != "custom") {
        return Ok(Tool {
            name: fields.string("name")?.unwrap_or(kind),
            foreign: Some(read(raw, at, "an object")?),
            ..Tool::default()
        });
    }
    let tool = Tool {
        name: fields.need_string("name")?,
        description: fields.string("description")?,
        parameters: Some(input_schema(&mut fields)?),
        strict: fields.boolean("strict")?,
        cache: fields.cache()?,
        foreign: None,
    };
    let rest = fields.rest()?.into_iter();
    noted.extend(rest.map(|(name, value)| (format!("tools.{name}"), value)));
    Ok(tool)
}

fn input_schema(fields: &mut Fields<'_, '_>) -> Result<Value, GatewayError> {
    const NAME: &str = "input_schema";
    let at = At::Key(fields.at, NAME);
    let raw = fields.need(NAME)?;
    if !is_object(raw) {
        return Err(wrong_type(&at, "an object", raw));
    }
    read(raw, &at, "an object")
}

fn tool_choice(fields: &mut Fields<'_, '_>, asked: &mut Conversation) -> Result<(), GatewayError> {
    let Some(raw) = fields.take("tool_choice") else {
        return Ok(());
    };
    let at = At::Key(fields.at, "tool_choice");
    if is_string(raw) {
        return Err(wrong_type(&at, "an object", raw));
    }
    let mut choice = Fields::of(raw, &at)?;
    let kind = choice.need_string("type")?;
    // False is what every provider does unasked.
    if choice.boolean("disable_parallel_tool_use")? == Some(true) {
        asked.parallel_tool_calls = Some(false);
    }
    let chosen = match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" => ToolChoice::Required,
        "tool" => named(choice.need_string("name")?, &at, &asked.tools)?,
        _ => {
            let reason = "it must be 'auto', 'any', 'tool' or 'none'";
            return Err(invalid(&At::Key(&at, "type"), reason));
        }
    };
    if asked.tools.is_empty() {
        // Elsewhere a choice without tools is an error; here these two choose nothing.
        asked.parallel_tool_calls = None;
        return match chosen {
            ToolChoice::Auto | ToolChoice::None => Ok(()),
            _ => Err(invalid(&at, "it needs 'tools'")),
        };
    }
    asked.tool_choice = Some(chosen);
    Ok(())
}

/// The choice of one tool, which must be on offer.
fn named(name: String, at: &At<'_>, tools: &[Tool]) -> Result<ToolChoice, GatewayError> {
    match tools.iter().find(|tool| tool.name == name) {
        Some(tool) if tool.foreign.is_some() => Ok(ToolChoice::Foreign(name)),
        Some(_) => Ok(ToolChoice::Function(name)),
        None => Err(invalid(&At::Key(at, "name"), "no tool has this name")),
    }
}
