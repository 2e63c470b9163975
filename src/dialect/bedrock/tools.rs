//! Tools, the choice among them, and the form of the answer.
//!
//! A form that the model has no field for is emulated by a tool that must be called and whose
//! input is the answer ([`ANSWER_TOOL`]); a strict route refuses it instead.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::body::{
    Body, CachePoint, Choice, JsonSchema, Schema, Spec, Structure, TextFormat, Tool, ToolConfig,
};
use super::{ANSWER_TOOL, Family};
use crate::chat::{
    Conversation, Format, Losses, Message, Tool as Offered, ToolChoice, Unsupported,
};
use crate::dialect::Target;

/// Writes tools, choice and form into the body; `true` if the model must call a tool.
pub(super) fn write<'a>(
    asked: &'a Conversation,
    target: Target<'_>,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<bool, Unsupported> {
    let answer = format(asked, target, body)?;
    let offered = offered(asked, target)?;
    let mut choice = choice(asked, target, &offered, losses)?;
    let mut forced = choice.is_some();
    let mut tools = Vec::new();
    if !offered.is_empty() && !left_out(asked) {
        specs(asked, &offered, target, losses, &mut tools)?;
        serial(asked, target, forced, losses, body)?;
    } else {
        // Bedrock refuses a history with calls unless tools are defined.
        tools.extend(
            called(asked)
                .into_iter()
                .map(|name| plain(name, None, None)),
        );
    }
    if let Some(spec) = answer {
        if !offered.is_empty() && !left_out(asked) {
            let reason = "This model answers in a given form only by a tool call, which excludes other tools.";
            return Err(Unsupported::new("response_format", reason));
        }
        tools.push(spec);
        choice = Some(Choice::Tool { name: ANSWER_TOOL });
        forced = true;
    }
    if !tools.is_empty() {
        body.tool_config = Some(ToolConfig {
            tools,
            tool_choice: choice,
        });
    }
    Ok(forced)
}

/// The form of the answer: a field of the body, or the tool that emulates it.
fn format<'a>(
    asked: &'a Conversation,
    target: Target<'_>,
    body: &mut Body<'a>,
) -> Result<Option<Tool<'a>>, Unsupported> {
    let can = target.capabilities;
    let (schema, description) = match &asked.format {
        Format::Text => return Ok(None),
        Format::JsonSchema {
            name,
            description,
            schema,
            ..
        } if can.json_schema => {
            let json_schema = JsonSchema {
                schema: schema.to_string(),
                name: name.as_deref(),
                description: description.as_deref(),
            };
            let structure = Structure { json_schema };
            body.output_config.text_format = Some(TextFormat {
                r#type: "json_schema",
                structure,
            });
            return Ok(None);
        }
        Format::JsonSchema {
            schema,
            description,
            ..
        } => (Cow::Borrowed(schema), description.as_deref()),
        Format::JsonObject => (Cow::Owned(json!({"type": "object"})), None),
    };
    if target.strict || !can.tools || !can.forced_tools {
        return Err(Unsupported::new(
            "response_format",
            "This model does not take this form of answer.",
        ));
    }
    Ok(Some(plain(ANSWER_TOOL, description, Some(schema))))
}

fn plain<'a>(
    name: &'a str,
    description: Option<&'a str>,
    schema: Option<Cow<'a, Value>>,
) -> Tool<'a> {
    let json = schema.unwrap_or_else(|| Cow::Owned(json!({"type": "object", "properties": {}})));
    let description = description.filter(|text| !text.is_empty());
    Tool::ToolSpec(Spec {
        name,
        description,
        input_schema: Schema { json },
        strict: None,
    })
}

/// The tools that may be called: all, or those that the choice allows.
fn offered<'a>(
    asked: &'a Conversation,
    target: Target<'_>,
) -> Result<Vec<&'a Offered>, Unsupported> {
    if !asked.tools.is_empty() && !target.capabilities.tools {
        return Err(Unsupported::new("tools", "This model takes no tools."));
    }
    for (index, tool) in asked.tools.iter().enumerate() {
        let reason = if tool.foreign.is_some() {
            "Only function tools are supported by this model's provider."
        } else if tool.name == ANSWER_TOOL {
            "The gateway needs this name itself."
        } else {
            continue;
        };
        return Err(Unsupported::new(format!("tools[{index}]"), reason));
    }
    let Some(ToolChoice::Allowed { names, .. }) = &asked.tool_choice else {
        return Ok(asked.tools.iter().collect());
    };
    for name in names {
        present(asked, name)?;
    }
    let allowed: Vec<&Offered> = asked
        .tools
        .iter()
        .filter(|tool| names.contains(&tool.name))
        .collect();
    if allowed.is_empty() {
        return Err(Unsupported::new("tool_choice", "No tool is allowed."));
    }
    Ok(allowed)
}

fn present(asked: &Conversation, name: &str) -> Result<(), Unsupported> {
    if asked.tools.iter().any(|tool| tool.name == name) {
        return Ok(());
    }
    Err(Unsupported::new(
        "tool_choice",
        "The tool that was chosen is not among the tools.",
    ))
}

/// Nothing may be called, and nothing was: then the model need not know of the tools.
fn left_out(asked: &Conversation) -> bool {
    let talked = asked.messages.iter().any(|message| match message {
        Message::Assistant(turn) => !turn.calls.is_empty(),
        Message::Tool { .. } => true,
        _ => false,
    });
    asked.tool_choice == Some(ToolChoice::None) && !talked
}

/// Names of the tools that were called before, each once.
fn called(asked: &Conversation) -> Vec<&str> {
    let mut names = Vec::new();
    for message in &asked.messages {
        let Message::Assistant(turn) = message else {
            continue;
        };
        for call in &turn.calls {
            if !names.contains(&call.name.as_str()) {
                names.push(call.name.as_str());
            }
        }
    }
    names
}

/// A tool's parameters, whose root must say that it is an object's; `None` without any.
fn schema<'a>(
    asked: &Conversation,
    tool: &'a Offered,
) -> Result<Option<Cow<'a, Value>>, Unsupported> {
    let Some(parameters) = &tool.parameters else {
        return Ok(None);
    };
    match (parameters.as_object(), parameters.get("type")) {
        (Some(_), Some(kind)) if kind == "object" => Ok(Some(Cow::Borrowed(parameters))),
        (Some(members), None) if members.is_empty() => Ok(None),
        (Some(members), None) => {
            let mut members = members.clone();
            members.insert("type".to_owned(), "object".into());
            Ok(Some(Cow::Owned(Value::Object(members))))
        }
        _ => {
            let at = asked.tools.iter().position(|one| std::ptr::eq(one, tool));
            let param = format!("tools[{}].function.parameters", at.unwrap_or_default());
            let reason = "A tool's parameters must be a JSON schema of type 'object'.";
            Err(Unsupported::new(param, reason))
        }
    }
}

fn specs<'a>(
    asked: &Conversation,
    offered: &[&'a Offered],
    target: Target<'_>,
    losses: &mut Losses,
    tools: &mut Vec<Tool<'a>>,
) -> Result<(), Unsupported> {
    for tool in offered {
        let mut spec = plain(
            &tool.name,
            tool.description.as_deref(),
            schema(asked, tool)?,
        );
        if tool.strict == Some(true) {
            // Models that keep to a schema in their answers are those that do in calls.
            match &mut spec {
                Tool::ToolSpec(spec) if target.capabilities.json_schema => spec.strict = Some(true),
                _ => losses.drop("tools[].function.strict")?,
            }
        }
        tools.push(spec);
        tools.extend(
            tool.cache
                .as_ref()
                .map(|mark| Tool::CachePoint(CachePoint::of(mark))),
        );
    }
    Ok(())
}

/// `None` is the default, automatic: models that have no choice refuse even that one by name.
fn choice<'a>(
    asked: &'a Conversation,
    target: Target<'_>,
    offered: &[&Offered],
    losses: &mut Losses,
) -> Result<Option<Choice<'a>>, Unsupported> {
    let wanted = match &asked.tool_choice {
        None
        | Some(
            ToolChoice::Auto
            | ToolChoice::Allowed {
                required: false, ..
            },
        ) => return Ok(None),
        Some(ToolChoice::None) => {
            // Converse has no such choice, and the tools must stay with a history of calls.
            if !left_out(asked) && !offered.is_empty() {
                losses.drop("tool_choice")?;
            }
            return Ok(None);
        }
        Some(ToolChoice::Foreign(_)) => {
            return Err(Unsupported::new(
                "tool_choice",
                "Only function tools are supported by this model's provider.",
            ));
        }
        Some(ToolChoice::Function(name)) => {
            present(asked, name)?;
            Choice::Tool { name }
        }
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => Choice::Any {},
    };
    if offered.is_empty() {
        return Err(Unsupported::new(
            "tool_choice",
            "A tool must be called, but there are no tools.",
        ));
    }
    if !target.capabilities.forced_tools {
        losses.drop("tool_choice")?;
        return Ok(None);
    }
    Ok(Some(wanted))
}

/// One call at a time: only Claude can be told, and only in its own form of the automatic choice.
/// A forced choice keeps Converse's form, next to which a second one would contradict it.
fn serial(
    asked: &Conversation,
    target: Target<'_>,
    forced: bool,
    losses: &mut Losses,
    body: &mut Body<'_>,
) -> Result<(), Unsupported> {
    if asked.parallel_tool_calls != Some(false) {
        return Ok(());
    }
    let told = Family::of(&asked.model) == Family::Claude && target.capabilities.parallel_control;
    if !told || forced {
        return losses.drop("parallel_tool_calls");
    }
    let native = json!({"type": "auto", "disable_parallel_tool_use": true});
    body.additional_model_request_fields
        .insert("tool_choice".to_owned(), native);
    Ok(())
}
