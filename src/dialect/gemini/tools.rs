//! Tools and the choice among them.

use super::contents::is_levelled;
use crate::chat::{Capabilities, Conversation, Losses, Tool, ToolChoice, Unsupported};
use serde::Serialize;
use serde_json::{Value, json};

/// Gemini's own tools, which a client may send as they are.
const OWN: [&str; 12] = [
    "googleSearch",
    "google_search",
    "googleSearchRetrieval",
    "google_search_retrieval",
    "codeExecution",
    "code_execution",
    "urlContext",
    "url_context",
    "googleMaps",
    "google_maps",
    "enterpriseWebSearch",
    "enterprise_web_search",
];

/// An entry of `tools`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry<'a> {
    Functions {
        #[serde(rename = "functionDeclarations")]
        declarations: Vec<Declaration<'a>>,
    },
    Own(Value),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// Full JSON Schema; `parameters` would be a subset of OpenAPI's.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Value>,
}

/// `tools` and `toolConfig`.
pub(super) type Tools<'a> = (Vec<Entry<'a>>, Option<Value>);

/// Writes tools.
pub(super) fn write<'a>(
    capabilities: &Capabilities,
    asked: &'a Conversation,
    losses: &mut Losses,
) -> Result<Tools<'a>, Unsupported> {
    if !asked.tools.is_empty() && !capabilities.tools {
        return Err(Unsupported::new("tools", "This model takes no tools."));
    }
    let (mut declarations, mut own) = (Vec::new(), Vec::new());
    for (at, tool) in asked.tools.iter().enumerate() {
        if tool.cache.is_some() {
            losses.drop("cache_control")?;
        }
        match &tool.foreign {
            Some(foreign) => own.push(Entry::Own(own_tool(at, foreign)?)),
            None => declarations.push(declaration(at, tool)?),
        }
    }
    let config = choice(capabilities, asked, &mut declarations, losses)?;
    if asked.parallel_tool_calls == Some(false) && !asked.tools.is_empty() {
        losses.drop("parallel_tool_calls")?;
    }
    let mut entries = Vec::new();
    if !declarations.is_empty() {
        entries.push(Entry::Functions { declarations });
    }
    entries.append(&mut own);
    Ok((entries, config))
}

fn declaration(at: usize, tool: &Tool) -> Result<Declaration<'_>, Unsupported> {
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    let fits = matches!(tool.name.as_bytes(), [first, rest @ ..]
        if (first.is_ascii_alphabetic() || *first == b'_')
            && rest.len() < 128
            && rest.iter().copied().all(named));
    if !fits {
        return Err(Unsupported::new(
            format!("tools[{at}].function.name"),
            "For this model's provider a function's name starts with a letter or '_' and holds letters, digits and '_.:-', at most 128.",
        ));
    }
    Ok(Declaration {
        name: &tool.name,
        description: tool.description.as_deref(),
        // An empty schema says nothing, and is none to this API.
        parameters_json_schema: tool
            .parameters
            .as_ref()
            .filter(|schema| schema.as_object().is_none_or(|members| !members.is_empty())),
    })
}

fn own_tool(at: usize, foreign: &Value) -> Result<Value, Unsupported> {
    let fields = foreign.as_object().into_iter().flatten();
    let mut fields = fields.filter(|(name, _)| *name != "type" && *name != "name");
    match (fields.next(), fields.next()) {
        (Some((name, options)), None) if OWN.contains(&name.as_str()) => Ok(Value::Object(
            [(name.clone(), options.clone())].into_iter().collect(),
        )),
        _ => Err(Unsupported::new(
            format!("tools[{at}]"),
            "This model's provider takes functions and Google's own tools only.",
        )),
    }
}

/// `toolConfig`; takes out declarations that must not be called.
fn choice(
    capabilities: &Capabilities,
    asked: &Conversation,
    declarations: &mut Vec<Declaration<'_>>,
    losses: &mut Losses,
) -> Result<Option<Value>, Unsupported> {
    let strict = asked.tools.iter().any(|tool| tool.strict == Some(true));
    let known = |name: &String| declarations.iter().any(|d| d.name == name);
    let (mode, allowed) = match &asked.tool_choice {
        None => (None, Vec::new()),
        Some(ToolChoice::Auto) => (Some("AUTO"), Vec::new()),
        Some(ToolChoice::None) => (Some("NONE"), Vec::new()),
        Some(ToolChoice::Required) => (Some("ANY"), Vec::new()),
        Some(ToolChoice::Function(name)) => {
            all_known(std::slice::from_ref(name), known)?;
            (Some("ANY"), vec![name.clone()])
        }
        Some(ToolChoice::Allowed {
            required: true,
            names,
        }) => {
            all_known(names, known)?;
            (Some("ANY"), names.clone())
        }
        Some(ToolChoice::Allowed {
            required: false,
            names,
        }) => {
            all_known(names, known)?;
            // `allowedFunctionNames` goes with ANY only.
            declarations.retain(|d| names.iter().any(|name| name == d.name));
            (Some("AUTO"), Vec::new())
        }
        Some(ToolChoice::Foreign(_)) => {
            let reason = "Only functions can be chosen with this model's provider.";
            return Err(Unsupported::new("tool_choice", reason));
        }
    };
    if mode == Some("ANY") && (declarations.is_empty() || !capabilities.forced_tools) {
        let reason =
            "A tool call cannot be demanded: there is no function, or the model does not obey.";
        return Err(Unsupported::new("tool_choice", reason));
    }
    let mode = if strict {
        strictly(capabilities, mode, losses)?
    } else {
        mode
    };
    Ok(mode.filter(|_| !declarations.is_empty()).map(|mode| {
        let config = match allowed.as_slice() {
            [] => json!({ "mode": mode }),
            names => json!({ "mode": mode, "allowedFunctionNames": names }),
        };
        json!({ "functionCallingConfig": config })
    }))
}

/// VALIDATED holds calls to their schemas as ANY does, and lets the model
/// choose. It is a word of the newer models.
fn strictly(
    capabilities: &Capabilities,
    mode: Option<&'static str>,
    losses: &mut Losses,
) -> Result<Option<&'static str>, Unsupported> {
    Ok(match mode {
        None | Some("AUTO") if is_levelled(capabilities) => Some("VALIDATED"),
        None | Some("AUTO") => {
            losses.drop("tools[].function.strict")?;
            mode
        }
        mode => mode,
    })
}

fn all_known(names: &[String], known: impl Fn(&String) -> bool) -> Result<(), Unsupported> {
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(Unsupported::new(
            "tool_choice",
            format!("There is no function '{name}' among the tools."),
        )),
    }
}
