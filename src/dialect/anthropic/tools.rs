//! Tools on offer, and how a model is told to use them.

use super::blocks;
use super::body::{Block, Tool, ToolChoice, Turn};
use crate::chat::{self, Capabilities, Conversation, Losses, ToolChoice as Asked, Unsupported};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What a request says about tools.
#[derive(Debug, Default)]
pub(super) struct Toolbox<'a> {
    pub tools: Vec<Tool<'a>>,
    pub choice: Option<ToolChoice<'a>>,
}

impl Toolbox<'_> {
    /// Some tool must be called.
    pub fn is_forced(&self) -> bool {
        self.choice
            .as_ref()
            .is_some_and(|choice| matches!(choice.kind, "any" | "tool"))
    }
}

pub(super) fn write<'a>(
    asked: &'a Conversation,
    able: &Capabilities,
    turns: &[Turn<'a>],
    losses: &mut Losses,
) -> Result<Toolbox<'a>, Unsupported> {
    if asked.tools.is_empty() {
        return no_tools(asked, turns);
    }
    if !able.tools {
        return Err(Unsupported::new("tools", "This model takes no tools."));
    }
    let mut tools = Vec::with_capacity(asked.tools.len());
    for (at, tool) in asked.tools.iter().enumerate() {
        if is_allowed(asked, &tool.name) {
            tools.push(one(at, tool, losses)?);
        }
    }
    let mut choice = choice(asked)?;
    if asked.parallel_tool_calls == Some(false) {
        one_at_a_time(&mut choice, able, losses)?;
    }
    let toolbox = Toolbox { tools, choice };
    if toolbox.is_forced() && !able.forced_tools {
        return Err(Unsupported::new(
            "tool_choice",
            "This model decides by itself whether it calls a tool: only 'auto' and 'none' are supported.",
        ));
    }
    Ok(toolbox)
}

/// Without tools on offer. The API wants the tools of the history defined all
/// the same: they are, by name, and the model may not call them.
fn no_tools<'a>(asked: &Conversation, turns: &[Turn<'a>]) -> Result<Toolbox<'a>, Unsupported> {
    if !matches!(
        asked.tool_choice,
        None | Some(
            Asked::Auto
                | Asked::None
                | Asked::Allowed {
                    required: false,
                    ..
                }
        )
    ) {
        return Err(Unsupported::new(
            "tool_choice",
            "A tool is demanded, but there are no tools.",
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    for block in turns.iter().flat_map(|turn| &turn.content) {
        if let Block::ToolUse { name, .. } = block
            && !names.contains(name)
        {
            names.push(name);
        }
    }
    let choice = (!names.is_empty()).then(|| plain("none"));
    let tools = names.into_iter().map(|name| Tool::Function {
        name,
        description: None,
        input_schema: Cow::Owned(any_object(Map::new())),
        strict: None,
        cache_control: None,
    });
    Ok(Toolbox {
        tools: tools.collect(),
        choice,
    })
}

fn one<'a>(at: usize, tool: &'a chat::Tool, losses: &mut Losses) -> Result<Tool<'a>, Unsupported> {
    if let Some(foreign) = &tool.foreign {
        return own(at, foreign);
    }
    Ok(Tool::Function {
        name: &tool.name,
        description: tool.description.as_deref(),
        input_schema: schema(at, tool.parameters.as_ref())?,
        strict: tool.strict,
        cache_control: blocks::mark(tool.cache.as_ref(), losses)?,
    })
}

/// A tool that is no function: one of Anthropic's, which carry a date in their
/// type (`web_search_20250305`), or one that Anthropic does not have.
fn own(at: usize, tool: &Value) -> Result<Tool<'_>, Unsupported> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
    let date = kind.rsplit_once('_').map_or("", |(_, date)| date);
    if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Tool::Own(tool));
    }
    Err(Unsupported::new(
        format!("tools[{at}]"),
        "Anthropic models take function tools and Anthropic's own tools only.",
    ))
}

/// Parameters as an input schema, whose root must be of type object.
fn schema(at: usize, parameters: Option<&Value>) -> Result<Cow<'_, Value>, Unsupported> {
    match parameters {
        None | Some(Value::Null) => Ok(Cow::Owned(any_object(Map::new()))),
        Some(schema @ Value::Object(members)) => match members.get("type") {
            Some(Value::String(kind)) if kind == "object" => Ok(Cow::Borrowed(schema)),
            None => Ok(Cow::Owned(any_object(members.clone()))),
            Some(_) => bad_schema(at),
        },
        Some(_) => bad_schema(at),
    }
}

fn bad_schema<T>(at: usize) -> Result<T, Unsupported> {
    Err(Unsupported::new(
        format!("tools[{at}].function.parameters"),
        "A tool's parameters must be a JSON schema of type 'object'.",
    ))
}

/// Says of a schema what its place already says: that it is an object's.
fn any_object(mut schema: Map<String, Value>) -> Value {
    schema.insert("type".to_owned(), Value::from("object"));
    if schema.len() == 1 {
        schema.insert("properties".to_owned(), Value::Object(Map::new()));
    }
    Value::Object(schema)
}

fn is_allowed(asked: &Conversation, name: &str) -> bool {
    match &asked.tool_choice {
        // An empty list means that none may be called, and the choice says so.
        Some(Asked::Allowed { names, .. }) => {
            names.is_empty() || names.iter().any(|allowed| allowed == name)
        }
        _ => true,
    }
}

fn choice(asked: &Conversation) -> Result<Option<ToolChoice<'_>>, Unsupported> {
    let Some(choice) = &asked.tool_choice else {
        return Ok(None);
    };
    Ok(Some(match choice {
        Asked::Auto => plain("auto"),
        Asked::None => plain("none"),
        Asked::Required => plain("any"),
        Asked::Function(name) => {
            offered(asked, name)?;
            ToolChoice {
                name: Some(name),
                ..plain("tool")
            }
        }
        Asked::Allowed { required, names } => {
            for name in names {
                offered(asked, name)?;
            }
            match (required, names.is_empty()) {
                (true, true) => return Err(missing("no tool")),
                (false, true) => plain("none"),
                (true, false) => plain("any"),
                (false, false) => plain("auto"),
            }
        }
        Asked::Foreign(_) => {
            return Err(Unsupported::new(
                "tool_choice",
                "Anthropic takes a choice of function tools only.",
            ));
        }
    }))
}

fn offered(asked: &Conversation, name: &str) -> Result<(), Unsupported> {
    let found = asked.tools.iter().any(|tool| tool.name == name);
    found.then_some(()).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Unsupported {
    let reason = format!("'tool_choice' names '{name}', which is not among the tools.");
    Unsupported::new("tool_choice", reason)
}

fn one_at_a_time(
    choice: &mut Option<ToolChoice<'_>>,
    able: &Capabilities,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    if !able.parallel_control {
        return losses.drop("parallel_tool_calls");
    }
    let choice = choice.get_or_insert_with(|| plain("auto"));
    choice.disable_parallel_tool_use = choice.kind != "none";
    Ok(())
}

const fn plain(kind: &'static str) -> ToolChoice<'static> {
    ToolChoice {
        kind,
        name: None,
        disable_parallel_tool_use: false,
    }
}
