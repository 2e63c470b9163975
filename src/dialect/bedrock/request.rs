//! A conversation as a Converse request.

use serde_json::Value;

use super::body::{Body, Count, Tier};
use super::{Family, messages, path, thinking, tools};
use crate::chat::{Conversation, Losses, SamplingRule, Unsupported};
use crate::dialect::{Rendered, Target, meaningful};

pub(super) fn chat(asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
    let mut losses = Losses::new(target.strict);
    losses.strays(asked)?;
    let body = body(asked, target, &mut losses)?;
    let operation = if asked.stream {
        "converse-stream"
    } else {
        "converse"
    };
    rendered(path(&asked.model, operation)?, &body, losses)
}

pub(super) fn count(asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
    let mut losses = Losses::new(target.strict);
    let body = body(asked, target, &mut losses)?;
    rendered(
        path(&asked.model, "count-tokens")?,
        &Count::of(&body),
        losses,
    )
}

pub(super) fn rendered(
    path: String,
    body: &impl serde::Serialize,
    losses: Losses,
) -> Result<Rendered, Unsupported> {
    // Only maps with keys that are no texts fail, and there are none.
    let body = serde_json::to_vec(body)
        .map_err(|_| Unsupported::new("messages", "The request has no JSON form."))?;
    Ok(Rendered {
        path,
        body,
        headers: Vec::new(),
        dropped: losses.dropped,
    })
}

fn body<'a>(
    asked: &'a Conversation,
    target: Target<'a>,
    losses: &mut Losses,
) -> Result<Body<'a>, Unsupported> {
    let mut body = Body::default();
    single(asked)?;
    (body.system, body.messages) = messages::write(asked, target.capabilities, losses)?;
    inference(asked, target, losses, &mut body)?;
    let forced = tools::write(asked, target, losses, &mut body)?;
    thinking::write(asked, target, forced, losses, &mut body)?;
    labels(asked, losses, &mut body)?;
    other(asked, losses, &mut body)?;
    Ok(body)
}

fn single(asked: &Conversation) -> Result<(), Unsupported> {
    if asked.n.is_some_and(|n| n > 1) {
        return Err(Unsupported::new(
            "n",
            "This model's provider gives one answer per request.",
        ));
    }
    if asked.logprobs.is_some() {
        return Err(Unsupported::new(
            "logprobs",
            "This model's provider gives no log probabilities.",
        ));
    }
    Ok(())
}

fn inference<'a>(
    asked: &'a Conversation,
    target: Target<'_>,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<(), Unsupported> {
    body.inference_config.max_tokens = asked.max_tokens;
    body.inference_config.stop_sequences = asked.stop.iter().map(String::as_str).collect();
    // White space alone is refused as a stop sequence only by Claude, an empty one by all.
    body.inference_config
        .stop_sequences
        .retain(|stop| !stop.is_empty());
    draw(asked, target.capabilities.sampling, losses, body)?;
    let sampling = &asked.sampling;
    let unset = |penalty: Option<f64>| penalty.is_none_or(|penalty| penalty == 0.0);
    let lost = [
        (!unset(sampling.frequency_penalty), "frequency_penalty"),
        (!unset(sampling.presence_penalty), "presence_penalty"),
        (sampling.seed.is_some(), "seed"),
        (sampling.logit_bias.is_some(), "logit_bias"),
    ];
    for (_, name) in lost.into_iter().filter(|(given, _)| *given) {
        losses.drop(name)?;
    }
    Ok(())
}

fn draw(
    asked: &Conversation,
    rule: SamplingRule,
    losses: &mut Losses,
    body: &mut Body<'_>,
) -> Result<(), Unsupported> {
    let sampling = &asked.sampling;
    // The default says nothing.
    let said = |value: Option<f64>| value.is_some_and(|value| value != 1.0);
    let given = [
        (said(sampling.temperature), "temperature"),
        (said(sampling.top_p), "top_p"),
        (sampling.top_k.is_some(), "top_k"),
    ];
    if rule == SamplingRule::None {
        return given
            .into_iter()
            .filter(|(given, _)| *given)
            .try_for_each(|(_, name)| losses.drop(name));
    }
    let both = sampling.temperature.is_some() && sampling.top_p.is_some();
    if rule == SamplingRule::One && both {
        losses.drop("top_p")?;
    } else {
        body.inference_config.top_p = sampling.top_p;
    }
    // OpenAI's scale goes to 2, Bedrock's to 1.
    if sampling
        .temperature
        .is_some_and(|temperature| temperature > 1.0)
    {
        losses.drop("temperature")?;
    }
    body.inference_config.temperature =
        sampling.temperature.map(|temperature| temperature.min(1.0));
    if let Some(top_k) = sampling.top_k {
        let (name, value) = match Family::of(&asked.model) {
            Family::Nova => ("inferenceConfig", serde_json::json!({"topK": top_k})),
            _ => ("top_k", Value::from(top_k)),
        };
        body.additional_model_request_fields
            .insert(name.to_owned(), value);
    }
    Ok(())
}

fn labels<'a>(
    asked: &'a Conversation,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<(), Unsupported> {
    if asked.user.is_some() {
        losses.drop("user")?;
    }
    for (key, value) in &asked.metadata {
        match value.as_str().filter(|value| is_label(key, value)) {
            Some(value) if body.request_metadata.len() < 16 => {
                body.request_metadata.insert(key, value);
            }
            _ => losses.drop("metadata")?,
        }
    }
    match asked.service_tier.as_deref() {
        None => {}
        Some("auto" | "default") => body.service_tier = Some(Tier { r#type: "default" }),
        Some(tier @ ("flex" | "priority" | "reserved")) => {
            body.service_tier = Some(Tier { r#type: tier })
        }
        Some(_) => losses.drop("service_tier")?,
    }
    Ok(())
}

/// Whether Bedrock takes a pair of `requestMetadata`.
fn is_label(key: &str, value: &str) -> bool {
    let plain = |text: &str| {
        let kept = |c: char| {
            c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":_@$#=/+,-.".contains(c)
        };
        text.len() <= 256 && text.chars().all(kept)
    };
    !key.is_empty() && plain(key) && plain(value)
}

/// Fields of Converse by their own names are passed on; others are dropped or refused.
fn other<'a>(
    asked: &'a Conversation,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<(), Unsupported> {
    meaningful::refuse(asked)?;
    for (name, value) in asked
        .other
        .iter()
        .filter(|(_, value)| meaningful::says(value))
    {
        match name.as_str() {
            "additionalModelRequestFields" => {
                let fields = value
                    .as_object()
                    .ok_or_else(|| Unsupported::new(name, "This must be an object."))?;
                let own = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()));
                body.additional_model_request_fields.extend(own);
            }
            "additionalModelResponseFieldPaths" => {
                body.additional_model_response_field_paths = Some(value)
            }
            "guardrailConfig" => body.guardrail_config = Some(value),
            "performanceConfig" => body.performance_config = Some(value),
            "promptVariables" => body.prompt_variables = Some(value),
            "modalities" => {}
            name => losses.drop(name)?,
        }
    }
    Ok(())
}
