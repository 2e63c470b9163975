//! Tools, which are flat here, and the choice among them.

use serde_json::Value;

use super::parse::{Fields, invalid};
use crate::chat::{Conversation, Tool, ToolChoice};
use crate::error::GatewayError;

pub(super) fn read(fields: &mut Fields, asked: &mut Conversation) -> Result<(), GatewayError> {
    match fields.take("tools") {
        None => {}
        Some(Value::Array(list)) => {
            for (at, value) in list.into_iter().enumerate() {
                let tool = tool(&format!("tools[{at}]"), value, asked)?;
                asked.tools.push(tool);
            }
        }
        Some(_) => return Err(invalid("tools", "It must be a list.")),
    }
    if let Some(choice) = fields.take("tool_choice") {
        asked.tool_choice = Some(self::choice(choice)?);
    }
    check(asked)
}

/// Refuses a choice of what is not on offer.
fn check(asked: &Conversation) -> Result<(), GatewayError> {
    let offered = |name: &String| asked.tools.iter().any(|tool| tool.name == *name);
    let reason = match &asked.tool_choice {
        Some(ToolChoice::Function(name)) if !offered(name) => {
            "It names a tool that is not among 'tools'."
        }
        Some(ToolChoice::Allowed { names, .. }) if !names.iter().all(offered) => {
            "It names a tool that is not among 'tools'."
        }
        Some(ToolChoice::Allowed { names, .. }) if names.is_empty() => "It allows no tool.",
        Some(ToolChoice::Required) if asked.tools.is_empty() => "There are no 'tools'.",
        _ => return Ok(()),
    };
    Err(invalid("tool_choice", reason))
}

fn tool(place: &str, value: Value, asked: &mut Conversation) -> Result<Tool, GatewayError> {
    let kept = value.clone();
    let mut fields = Fields::of(place, value)?;
    let kind = fields.required("type")?;
    if kind != "function" {
        return Ok(Tool {
            name: fields.string("name")?.unwrap_or(kind),
            foreign: Some(kept),
            ..Tool::default()
        });
    }
    let tool = Tool {
        name: fields.required("name")?,
        description: fields.string("description")?,
        parameters: fields.object("parameters")?.map(Value::Object),
        strict: fields.boolean("strict")?,
        ..Tool::default()
    };
    fields.leave("tools[].", &mut asked.other);
    Ok(tool)
}

fn choice(value: Value) -> Result<ToolChoice, GatewayError> {
    if let Value::String(word) = &value {
        return match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(invalid(
                "tool_choice",
                "It must be 'none', 'auto', 'required' or an object.",
            )),
        };
    }
    let kept = value.to_string();
    let mut fields = Fields::of("tool_choice", value)?;
    match fields.required("type")?.as_str() {
        "function" => Ok(ToolChoice::Function(fields.required("name")?)),
        "allowed_tools" => Ok(allowed(&mut fields)?.unwrap_or(ToolChoice::Foreign(kept))),
        _ => Ok(ToolChoice::Foreign(kept)),
    }
}

/// `None` where tools are allowed that are no functions.
fn allowed(fields: &mut Fields) -> Result<Option<ToolChoice>, GatewayError> {
    let required = match fields.required("mode")?.as_str() {
        "auto" => false,
        "required" => true,
        _ => {
            return Err(invalid(
                fields.name("mode"),
                "It must be 'auto' or 'required'.",
            ));
        }
    };
    let Some(Value::Array(list)) = fields.take("tools") else {
        return Err(invalid(fields.name("tools"), "It must be a list of tools."));
    };
    let names = list.iter().map(|tool| {
        let function = tool.get("type").is_some_and(|kind| kind == "function");
        function
            .then(|| tool.get("name")?.as_str().map(str::to_owned))
            .flatten()
    });
    let names: Option<Vec<String>> = names.collect();
    Ok(names.map(|names| ToolChoice::Allowed { required, names }))
}
