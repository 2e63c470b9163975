//! A conversation as the body of `/v2/chat`: everything but its messages.

use serde_json::{Map, Value, json};

use super::super::{Rendered, Target, meaningful};
use super::messages;
use crate::chat::{
    Capabilities, Conversation, Format, Losses, Reasoning, SamplingRule, Thinking, Tool,
    ToolChoice, Unsupported,
};

/// Stop texts that Cohere takes.
const STOPS: usize = 5;

/// Cohere's own fields, which a client may send by their own names.
const NATIVE: [&str; 4] = ["documents", "citation_options", "safety_mode", "priority"];

pub(super) fn chat(asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
    let mut losses = Losses::new(target.strict);
    losses.strays(asked)?;
    let mut body = Map::new();
    body.insert("model".into(), asked.model.as_str().into());
    body.insert(
        "messages".into(),
        messages::render(asked, &target, &mut losses)?,
    );
    if asked.stream {
        body.insert("stream".into(), true.into());
    }
    meaningful::refuse(asked)?;
    limits(asked, &mut body)?;
    sampling(asked, &target, &mut body, &mut losses)?;
    tools(asked, target.capabilities, &mut body, &mut losses)?;
    format(asked, target.capabilities, &mut body, &mut losses)?;
    if let Some(reasoning) = &asked.reasoning {
        thinking(reasoning, target.capabilities, &mut body, &mut losses)?;
    }
    leave_out(asked, &mut losses)?;
    other(&asked.other, &mut body, &mut losses)?;
    Ok(Rendered {
        path: "/v2/chat".to_owned(),
        body: Value::Object(body).to_string().into_bytes(),
        headers: Vec::new(),
        dropped: losses.dropped,
    })
}

fn limits(asked: &Conversation, body: &mut Map<String, Value>) -> Result<(), Unsupported> {
    if let Some(limit) = asked.max_tokens {
        body.insert("max_tokens".into(), limit.into());
    }
    if asked.stop.len() > STOPS {
        return Err(Unsupported::new(
            "stop",
            "Cohere takes at most 5 stop texts.",
        ));
    }
    // An empty text ends nothing.
    let stop: Vec<&String> = asked.stop.iter().filter(|stop| !stop.is_empty()).collect();
    if !stop.is_empty() {
        body.insert("stop_sequences".into(), json!(stop));
    }
    if asked.n.is_some_and(|n| n != 1) {
        return Err(Unsupported::new(
            "n",
            "Cohere gives one answer to a request.",
        ));
    }
    if let Some(logprobs) = &asked.logprobs {
        if logprobs.top.is_some_and(|top| top > 0) {
            return Err(Unsupported::new(
                "top_logprobs",
                "Cohere gives the log probabilities of the tokens drawn only, not of others.",
            ));
        }
        body.insert("logprobs".into(), true.into());
    }
    Ok(())
}

fn sampling(
    asked: &Conversation,
    target: &Target<'_>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let drawn = &asked.sampling;
    let rule = target.capabilities.sampling;
    let top_p_too = rule == SamplingRule::Free || drawn.temperature.is_none();
    if let Some(temperature) = drawn.temperature {
        match rule {
            SamplingRule::None => losses.drop("temperature")?,
            _ => within("temperature", temperature, body, "temperature")?,
        }
    }
    if let Some(top_p) = drawn.top_p {
        match rule {
            SamplingRule::None => losses.drop("top_p")?,
            _ if !top_p_too => losses.drop("top_p")?,
            _ => nucleus(top_p, target.strict, body)?,
        }
    }
    for (name, value) in [
        ("frequency_penalty", drawn.frequency_penalty),
        ("presence_penalty", drawn.presence_penalty),
    ] {
        if let Some(value) = value {
            within(name, value, body, name)?;
        }
    }
    if let Some(k) = drawn.top_k {
        body.insert("k".into(), k.into());
    }
    match drawn.seed.map(u64::try_from) {
        Some(Ok(seed)) => {
            body.insert("seed".into(), seed.into());
        }
        Some(Err(_)) => losses.drop("seed")?,
        None => {}
    }
    Ok(())
}

/// Cohere's scales reach from 0 to 1 where OpenAI's reach further. What lies
/// beyond has no equal there.
fn within(
    param: &str,
    value: f64,
    body: &mut Map<String, Value>,
    field: &str,
) -> Result<(), Unsupported> {
    if !(0.0..=1.0).contains(&value) {
        let reason = format!("Cohere takes a {param} from 0 to 1.");
        return Err(Unsupported::new(param, reason));
    }
    body.insert(field.into(), value.into());
    Ok(())
}

/// OpenAI's scale ends at 0 and 1, Cohere's a hundredth before. The nearest
/// value means the same to any tokens that matter, but it is another value:
/// a strict route refuses it.
fn nucleus(top_p: f64, strict: bool, body: &mut Map<String, Value>) -> Result<(), Unsupported> {
    let near = top_p.clamp(0.01, 0.99);
    #[expect(
        clippy::float_cmp,
        reason = "clamp returns its argument itself where it is inside"
    )]
    let moved = near != top_p;
    if !(0.0..=1.0).contains(&top_p) || (strict && moved) {
        return Err(Unsupported::new(
            "top_p",
            "Cohere takes a top_p from 0.01 to 0.99.",
        ));
    }
    body.insert("p".into(), near.into());
    Ok(())
}

fn tools(
    asked: &Conversation,
    can: &Capabilities,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let (wanted, choice) = choose(asked, can)?;
    if let Some(choice) = choice {
        body.insert("tool_choice".into(), choice.into());
    }
    // Several calls in a turn cannot be forbidden.
    if asked.parallel_tool_calls == Some(false) && !asked.tools.is_empty() {
        losses.drop("parallel_tool_calls")?;
    }
    if wanted.is_empty() {
        return Ok(());
    }
    if !can.tools {
        return Err(Unsupported::new("tools", "This model calls no tools."));
    }
    let mut list = Vec::with_capacity(wanted.len());
    for (at, tool) in &wanted {
        if tool.foreign.is_some() {
            return Err(Unsupported::new(
                format!("tools[{at}]"),
                "Cohere knows function tools only.",
            ));
        }
        if tool.cache.is_some() {
            losses.drop("cache_control")?;
        }
        list.push(declaration(tool));
    }
    // One switch for all: who asked for it gets it, the others lose nothing but width.
    if wanted.iter().any(|(_, tool)| tool.strict == Some(true)) {
        body.insert("strict_tools".into(), true.into());
    }
    body.insert("tools".into(), Value::Array(list));
    Ok(())
}

fn declaration(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    if let Some(description) = &tool.description {
        function.insert("description".into(), description.as_str().into());
    }
    let parameters = tool.parameters.clone();
    let none = || json!({"type": "object", "properties": {}});
    function.insert("parameters".into(), parameters.unwrap_or_else(none));
    json!({"type": "function", "function": function})
}

type Wanted<'a> = Vec<(usize, &'a Tool)>;

/// The tools to send with their place in the request, and `tool_choice`.
fn choose<'a>(
    asked: &'a Conversation,
    can: &Capabilities,
) -> Result<(Wanted<'a>, Option<&'static str>), Unsupported> {
    let all = || asked.tools.iter().enumerate();
    let (wanted, choice): (Wanted<'a>, _) = match &asked.tool_choice {
        None | Some(ToolChoice::Auto) => (all().collect(), None),
        Some(ToolChoice::None) => (all().collect(), (!asked.tools.is_empty()).then_some("NONE")),
        Some(ToolChoice::Required) => (all().collect(), Some("REQUIRED")),
        Some(ToolChoice::Function(name)) => (
            all().filter(|(_, tool)| tool.name == *name).collect(),
            Some("REQUIRED"),
        ),
        Some(ToolChoice::Allowed { required, names }) => {
            if let Some(name) = names
                .iter()
                .find(|&n| all().all(|(_, tool)| tool.name != *n))
            {
                return Err(missing(name));
            }
            let wanted = all().filter(|(_, tool)| names.contains(&tool.name));
            (wanted.collect(), required.then_some("REQUIRED"))
        }
        Some(ToolChoice::Foreign(_)) => {
            let reason = "Cohere knows function tools only.";
            return Err(Unsupported::new("tool_choice", reason));
        }
    };
    if choice == Some("REQUIRED") {
        if wanted.is_empty() {
            return Err(match &asked.tool_choice {
                Some(ToolChoice::Function(name)) => missing(name),
                _ => Unsupported::new("tool_choice", "A tool is required, but there is none."),
            });
        }
        if !can.forced_tools {
            let reason = "This model cannot be made to call a tool.";
            return Err(Unsupported::new("tool_choice", reason));
        }
    }
    Ok((wanted, choice))
}

fn missing(name: &str) -> Unsupported {
    let reason = format!("tool_choice names the tool '{name}', which is not among the tools.");
    Unsupported::new("tool_choice", reason)
}

fn format(
    asked: &Conversation,
    can: &Capabilities,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let schema = match &asked.format {
        Format::Text => return Ok(()),
        Format::JsonObject => None,
        Format::JsonSchema {
            schema,
            description,
            ..
        } => {
            if !can.json_schema {
                let reason = "This model takes no JSON schema.";
                return Err(Unsupported::new("response_format", reason));
            }
            if description.is_some() {
                losses.drop("response_format.json_schema.description")?;
            }
            Some(schema)
        }
    };
    if body.contains_key("tools") || asked.other.get("documents").is_some_and(|d| !d.is_null()) {
        return Err(Unsupported::new(
            "response_format",
            "Cohere takes no response_format together with tools or documents.",
        ));
    }
    let mut format = Map::new();
    format.insert("type".into(), "json_object".into());
    if let Some(schema) = schema {
        format.insert("json_schema".into(), schema.clone());
    }
    body.insert("response_format".into(), Value::Object(format));
    Ok(())
}

fn thinking(
    reasoning: &Reasoning,
    can: &Capabilities,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let off = reasoning.effort.as_deref() == Some("none") || reasoning.budget == Some(0);
    let asked = reasoning.effort.is_some() || reasoning.budget.is_some();
    if !asked || (can.thinking == Thinking::None && off) {
        return Ok(());
    }
    if can.thinking == Thinking::None || (off && can.thinks_always) {
        return losses.drop("reasoning_effort");
    }
    let said = match (off, tokens(reasoning)) {
        (true, _) => json!({"type": "disabled"}),
        (false, Some(budget)) => json!({"type": "enabled", "token_budget": budget}),
        (false, None) => {
            let reason =
                "'reasoning_effort' must be one of none, minimal, low, medium, high, xhigh, max.";
            return Err(Unsupported::new("reasoning_effort", reason));
        }
    };
    body.insert("thinking".into(), said);
    Ok(())
}

/// Tokens as asked, or for OpenAI's efforts, on the scale that other budget
/// models get too. `None` for an effort that nobody knows.
fn tokens(reasoning: &Reasoning) -> Option<u64> {
    let scale = || match reasoning.effort.as_deref()? {
        "minimal" | "low" => Some(1024),
        "medium" => Some(2048),
        "high" => Some(4096),
        "xhigh" => Some(8192),
        "max" => Some(16384),
        _ => None,
    };
    reasoning.budget.or_else(scale)
}

fn leave_out(asked: &Conversation, losses: &mut Losses) -> Result<(), Unsupported> {
    let harmless = [
        ("user", asked.user.is_some()),
        ("metadata", !asked.metadata.is_empty()),
        ("logit_bias", asked.sampling.logit_bias.is_some()),
        ("service_tier", asked.service_tier.is_some()),
    ];
    for (name, _) in harmless.iter().filter(|(_, there)| *there) {
        losses.drop(name)?;
    }
    Ok(())
}

fn other(
    fields: &Map<String, Value>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            native if NATIVE.contains(&native) => {
                body.insert(name.clone(), value.clone());
            }
            "strict_tools" if value.is_boolean() => {
                body.entry("strict_tools").or_insert_with(|| value.clone());
            }
            "modalities" => {}
            _ if !meaningful::says(value) => {}
            _ => losses.drop(name)?,
        }
    }
    Ok(())
}
