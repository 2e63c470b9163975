//! A conversation as a request.

use super::body::{Body, Metadata, OutputConfig, OutputFormat, Thinking};
use super::{messages, thinking, tools, version};
use crate::chat::{
    Capabilities, Conversation, Format, Losses, Sampling, SamplingRule, Unsupported,
};
use crate::dialect::Target;
use crate::dialect::meaningful::{self, says};
use serde_json::{Map, Value};

/// From this API version on, sampling parameters are a 400 on every model.
const NO_SAMPLING_SINCE: &str = "2026-10-21";

/// The API demands a limit. This is it for models of which none is known:
/// within what every model takes that is sold today.
const LONGEST_ANSWER: u64 = 64_000;

/// Anthropic takes longer user ids for an error.
const LONGEST_USER_ID: usize = 256;

/// Fields of Anthropic's own that have no form in a conversation: passed on.
const OWN: [&str; 7] = [
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "mcp_servers",
    "speed",
];

/// A request for an answer.
pub(super) fn chat<'a>(
    asked: &'a Conversation,
    target: Target<'a>,
    losses: &mut Losses,
) -> Result<Body<'a>, Unsupported> {
    refuse(asked)?;
    let mut body = prompt(asked, target, losses)?;
    others(asked, &mut body, losses)?;
    let budget = body.thinking.as_ref().and_then(Thinking::budget);
    body.max_tokens = Some(max_tokens(asked.max_tokens, budget, target.capabilities));
    sampling(&asked.sampling, target, &mut body, losses)?;
    body.stop_sequences = stop(&asked.stop, losses)?;
    body.metadata = user(asked, losses)?.map(|user_id| Metadata { user_id });
    body.service_tier = service_tier(asked.service_tier.as_deref(), losses)?;
    body.stream = asked.stream;
    if !asked.metadata.is_empty() {
        losses.drop("metadata")?;
    }
    Ok(body)
}

/// The part of a request that the model reads.
pub(super) fn prompt<'a>(
    asked: &'a Conversation,
    target: Target<'a>,
    losses: &mut Losses,
) -> Result<Body<'a>, Unsupported> {
    let able = target.capabilities;
    let script = messages::write(asked, able, losses)?;
    let toolbox = tools::write(asked, able, &script.turns, losses)?;
    let forced = toolbox.is_forced();
    let plan = thinking::plan(asked, able, &script.turns, forced, losses)?;
    let mut body = Body {
        model: &asked.model,
        system: script.system,
        messages: script.turns,
        tools: toolbox.tools,
        tool_choice: toolbox.choice,
        thinking: plan.thinking,
        output_config: OutputConfig {
            effort: plan.effort,
            format: format(&asked.format, target, losses)?,
        },
        ..Body::default()
    };
    for name in OWN {
        let value = asked
            .other
            .get_key_value(name)
            .filter(|(_, value)| !value.is_null());
        body.own
            .extend(value.map(|(name, value)| (name.as_str(), value)));
    }
    if body.limit_marks() {
        losses.drop("cache_control")?;
    }
    Ok(body)
}

/// What would make the answer another one.
fn refuse(asked: &Conversation) -> Result<(), Unsupported> {
    let no = |param: &str, reason: &str| Err(Unsupported::new(param, reason));
    if asked.n.is_some_and(|n| n > 1) {
        return no(
            "n",
            "Anthropic gives one answer to a request: 'n' must be 1.",
        );
    }
    if asked.logprobs.is_some() {
        return no("logprobs", "Anthropic gives no log probabilities.");
    }
    meaningful::refuse(asked)
}

/// Fields without a form in a conversation, but for those that have their own
/// place above.
fn others(
    asked: &Conversation,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    for (name, value) in &asked.other {
        let placed = body.own.contains_key(name.as_str())
            || matches!(name.as_str(), "modalities" | "safety_identifier")
            || (name == "thinking" && value.is_object());
        if !placed && says(value) {
            losses.drop(name)?;
        }
    }
    Ok(())
}

/// The limit of the answer, thinking included. It must exceed what is set aside
/// for thinking, so it is raised where it does not.
fn max_tokens(asked: Option<u64>, budget: Option<u64>, able: &Capabilities) -> u64 {
    let most = able.max_output;
    let wanted = asked.or(most).unwrap_or(LONGEST_ANSWER);
    match budget {
        Some(budget) if wanted <= budget => {
            let raised = budget.saturating_add(wanted.max(1));
            most.filter(|most| *most > budget)
                .map_or(raised, |most| raised.min(most))
        }
        _ => wanted,
    }
}

fn sampling(
    asked: &Sampling,
    target: Target<'_>,
    body: &mut Body<'_>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    unknown_sampling(asked, losses)?;
    let version = version(target.options);
    let newer = version.starts_with('2') && version >= NO_SAMPLING_SINCE;
    let rule = target.capabilities.sampling;
    let fixed = newer || rule == SamplingRule::None;
    let thinks = body.thinking.as_ref().is_some_and(Thinking::is_on);
    // While it thinks, a model takes no temperature and nearly no top_p.
    let takes_temperature = !fixed && !thinks;
    let takes_top_p = |p: f64| !fixed && (!thinks || p >= 0.95);

    match asked.temperature {
        Some(temperature) if takes_temperature && temperature > 1.0 => {
            losses.drop("temperature")?;
            body.temperature = Some(1.0);
        }
        Some(temperature) if takes_temperature => body.temperature = Some(temperature),
        // The default, which is what the model does anyway.
        None | Some(1.0) => {}
        Some(_) => losses.drop("temperature")?,
    }
    let one = rule == SamplingRule::One && body.temperature.is_some();
    match asked.top_p {
        Some(p) if takes_top_p(p) && !one => body.top_p = Some(p),
        None | Some(1.0) => {}
        Some(_) => losses.drop("top_p")?,
    }
    match asked.top_k {
        Some(k) if takes_temperature => body.top_k = Some(k),
        None => {}
        Some(_) => losses.drop("top_k")?,
    }
    Ok(())
}

/// What Anthropic has no word for. Defaults say nothing, so nothing is lost.
fn unknown_sampling(asked: &Sampling, losses: &mut Losses) -> Result<(), Unsupported> {
    let set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let bias = asked.logit_bias.as_ref();
    let biased =
        bias.is_some_and(|bias| says(bias) && bias.as_object().is_none_or(|b| !b.is_empty()));
    let lost = [
        ("frequency_penalty", set(asked.frequency_penalty)),
        ("presence_penalty", set(asked.presence_penalty)),
        ("seed", asked.seed.is_some()),
        ("logit_bias", biased),
    ];
    for (name, _) in lost.iter().filter(|(_, lost)| *lost) {
        losses.drop(name)?;
    }
    Ok(())
}

/// Texts that end the answer. Those of white space alone are a 400.
fn stop<'a>(asked: &'a [String], losses: &mut Losses) -> Result<Vec<&'a str>, Unsupported> {
    let kept = asked
        .iter()
        .map(String::as_str)
        .filter(|stop| !stop.trim().is_empty());
    let kept: Vec<&str> = kept.collect();
    if kept.len() < asked.len() {
        losses.drop("stop")?;
    }
    Ok(kept)
}

/// The end user. Anthropic forbids e-mail addresses and phone numbers there.
fn user<'a>(asked: &'a Conversation, losses: &mut Losses) -> Result<Option<&'a str>, Unsupported> {
    let identifier = asked.other.get("safety_identifier").and_then(Value::as_str);
    let given = [
        ("user", asked.user.as_deref()),
        ("safety_identifier", identifier),
    ];
    let mut user = None;
    for (name, id) in given {
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            continue;
        };
        if user.is_none() && id.len() <= LONGEST_USER_ID && !is_contact(id) {
            user = Some(id);
        } else if user != Some(id) {
            losses.drop(name)?;
        }
    }
    Ok(user)
}

fn is_contact(id: &str) -> bool {
    let digits = id.chars().filter(char::is_ascii_digit).count();
    let dialled = id
        .chars()
        .all(|c| c.is_ascii_digit() || "+-() ./".contains(c));
    // Fewer bare digits are more likely a number in somebody's table, more of
    // them are longer than any phone number.
    let phone = match id.chars().all(|c| c.is_ascii_digit()) {
        true => (10..=15).contains(&digits),
        false => dialled && (7..=15).contains(&digits),
    };
    phone || id.contains('@')
}

fn service_tier(
    asked: Option<&str>,
    losses: &mut Losses,
) -> Result<Option<&'static str>, Unsupported> {
    match asked {
        None => Ok(None),
        Some("auto") => Ok(Some("auto")),
        Some("default" | "standard_only") => Ok(Some("standard_only")),
        Some(_) => losses.drop("service_tier").map(|()| None),
    }
}

fn format(
    asked: &Format,
    target: Target<'_>,
    losses: &mut Losses,
) -> Result<Option<OutputFormat>, Unsupported> {
    match asked {
        Format::Text => Ok(None),
        Format::JsonObject => {
            let option = target.options.get("json_object").map(String::as_str);
            if option == Some("drop") {
                return losses.drop("response_format").map(|()| None);
            }
            Err(Unsupported::new(
                "response_format",
                "Anthropic has no 'json_object' format: ask for a 'json_schema' instead.",
            ))
        }
        Format::JsonSchema {
            description,
            schema,
            ..
        } => {
            if !target.capabilities.json_schema {
                return Err(Unsupported::new(
                    "response_format",
                    "This model takes no JSON schema for its answer.",
                ));
            }
            if description.is_some() {
                losses.drop("response_format.json_schema.description")?;
            }
            let mut schema = schema.clone();
            close(&mut schema);
            Ok(Some(OutputFormat { schema }))
        }
    }
}

/// Says of every object that it has no other properties, where the schema does
/// not say whether it has: the API demands it, and what fits the closed schema
/// fits the open one. Not inside `allOf`, whose members would then exclude each
/// other.
fn close(schema: &mut Value) {
    let Value::Object(members) = schema else {
        return;
    };
    if is_object_schema(members) && !members.contains_key("additionalProperties") {
        members.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (name, below) in members {
        match (name.as_str(), below) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                schemas.values_mut().for_each(close);
            }
            ("anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(close);
            }
            ("items", schema) => close(schema),
            _ => {}
        }
    }
}

fn is_object_schema(members: &Map<String, Value>) -> bool {
    match members.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => members.contains_key("properties"),
    }
}
