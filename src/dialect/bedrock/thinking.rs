//! How a model is told to think: in the fields of its maker, which Converse passes on.
//!
//! A number of tokens and an effort are two scales: where the model knows only one of them, what
//! is given on the other is looked up in a table.

use serde_json::{Value, json};

use super::Family;
use super::body::Body;
use crate::chat::{
    Conversation, Format, Losses, Message, Reasoning, Sealed, Thinking, Thought, Unsupported,
};
use crate::dialect::Target;

/// The client's name of the field, whatever the client's format.
const FIELD: &str = "reasoning_effort";

/// OpenAI's efforts, from little to much.
const SCALE: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Writes the fields. `forced`: a tool must be called, before which no Claude thinks. Those that
/// decide by themselves may think without being told to, and are told not to.
pub(super) fn write<'a>(
    asked: &'a Conversation,
    target: Target<'a>,
    forced: bool,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<(), Unsupported> {
    let decides = Family::of(&asked.model) == Family::Claude
        && matches!(
            target.capabilities.thinking,
            Thinking::Adaptive | Thinking::Level | Thinking::Effort
        );
    if forced && decides {
        unthinking(asked, target, body)?;
    }
    let Some(wish) = asked
        .reasoning
        .as_ref()
        .filter(|wish| wish.effort.is_some() || wish.budget.is_some())
    else {
        return Ok(());
    };
    let off =
        wish.effort.as_deref() == Some("none") || (wish.effort.is_none() && wish.budget == Some(0));
    let can = target.capabilities;
    if off && can.thinks_always {
        return losses.drop(FIELD);
    }
    match (Family::of(&asked.model), can.thinking) {
        (_, Thinking::None) if off => Ok(()),
        (_, Thinking::None) => losses.drop(FIELD),
        (Family::Nova, _) => nova(wish, off, losses, body),
        (Family::Claude | Family::Other, Thinking::Budget) => {
            budget(asked, wish, off, forced, losses, body)
        }
        (Family::Claude, _) | (Family::Other, Thinking::Adaptive) => {
            adaptive(wish, target, off, forced, losses, body)
        }
        _ => effort_field(wish, target, losses, body),
    }
}

fn unthinking(
    asked: &Conversation,
    target: Target<'_>,
    body: &mut Body<'_>,
) -> Result<(), Unsupported> {
    if target.capabilities.thinks_always {
        let param = match asked.format {
            Format::Text => "tool_choice",
            _ => "response_format",
        };
        let reason = "This model always thinks, and cannot be made to call a tool while it does.";
        return Err(Unsupported::new(param, reason));
    }
    put(body, "thinking", json!({"type": "disabled"}));
    Ok(())
}

/// The effort that was asked for, or that a number of tokens comes to.
fn effort_of(wish: &Reasoning) -> Option<&str> {
    wish.effort
        .as_deref()
        .or(wish.budget.map(|tokens| match tokens {
            0 => "none",
            1..=1024 => "low",
            1025..=2048 => "medium",
            _ => "high",
        }))
}

fn put(body: &mut Body<'_>, name: &str, value: Value) {
    body.additional_model_request_fields
        .insert(name.to_owned(), value);
}

fn nova(
    wish: &Reasoning,
    off: bool,
    losses: &mut Losses,
    body: &mut Body<'_>,
) -> Result<(), Unsupported> {
    let effort = match effort_of(wish) {
        _ if off => {
            put(body, "reasoningConfig", json!({"type": "disabled"}));
            return Ok(());
        }
        Some("minimal" | "low") => "low",
        Some("medium") => "medium",
        Some("high") => "high",
        // Nova's scale ends here.
        Some("xhigh" | "max") => {
            losses.drop(FIELD)?;
            "high"
        }
        Some(other) => other,
        None => return Ok(()),
    };
    put(
        body,
        "reasoningConfig",
        json!({"type": "enabled", "maxReasoningEffort": effort}),
    );
    Ok(())
}

/// Claude up to 4.5: a number of tokens, which the longest answer must exceed.
fn budget(
    asked: &Conversation,
    wish: &Reasoning,
    off: bool,
    forced: bool,
    losses: &mut Losses,
    body: &mut Body<'_>,
) -> Result<(), Unsupported> {
    if off {
        return Ok(());
    }
    if forced || unsigned_loop(asked) {
        return losses.drop(FIELD);
    }
    let tokens = match (wish.budget, wish.effort.as_deref()) {
        (Some(tokens), _) => tokens,
        (None, effort) => {
            let tokens = match effort.unwrap_or_default() {
                "minimal" | "low" => 1024,
                "medium" => 2048,
                "high" => 4096,
                "xhigh" => 8192,
                "max" => 16_384,
                _ => {
                    return Err(Unsupported::new(
                        FIELD,
                        "This model does not know this effort.",
                    ));
                }
            };
            let longest = &mut body.inference_config.max_tokens;
            // The client's number is then what is left for the answer.
            *longest = longest.map(|given| {
                if given > tokens {
                    given
                } else {
                    given.saturating_add(tokens)
                }
            });
            tokens
        }
    };
    put(
        body,
        "thinking",
        json!({"type": "enabled", "budget_tokens": tokens}),
    );
    steady(losses, body)
}

/// Whether the conversation stands in a tool loop whose first turn came without a signed thought:
/// such a turn is refused while thinking is on.
fn unsigned_loop(asked: &Conversation) -> bool {
    let after_user = asked
        .messages
        .iter()
        .rev()
        .take_while(|message| !matches!(message, Message::User { .. }));
    let turns = after_user.filter_map(|message| match message {
        Message::Assistant(turn) if !turn.calls.is_empty() => Some(turn),
        _ => None,
    });
    let origin = Family::of(&asked.model).origin();
    let own = |sealed: &Sealed| sealed.origin == origin;
    let signed = |thought: &Thought| {
        let sealed = thought.signature.as_ref().or(thought.redacted.as_ref());
        sealed.is_some_and(own)
    };
    turns
        .last()
        .is_some_and(|first| !first.thoughts.iter().any(signed))
}

/// A Claude that thinks takes no temperature but 1, no top_k, and a top_p from 0.95.
fn steady(losses: &mut Losses, body: &mut Body<'_>) -> Result<(), Unsupported> {
    let inference = &mut body.inference_config;
    if inference
        .temperature
        .is_some_and(|temperature| temperature < 1.0)
    {
        losses.drop("temperature")?;
        inference.temperature = None;
    }
    if inference.top_p.is_some_and(|top_p| top_p < 0.95) {
        losses.drop("top_p")?;
        inference.top_p = None;
    }
    if body
        .additional_model_request_fields
        .remove("top_k")
        .is_some()
    {
        losses.drop("top_k")?;
    }
    Ok(())
}

/// Claude from 4.6 on: an effort, and the model decides.
fn adaptive<'a>(
    wish: &'a Reasoning,
    target: Target<'a>,
    off: bool,
    forced: bool,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<(), Unsupported> {
    if off {
        put(body, "thinking", json!({"type": "disabled"}));
        return Ok(());
    }
    if forced {
        return losses.drop(FIELD);
    }
    if let Some(effort) = effort_of(wish) {
        body.output_config.effort = Some(known(effort, &target.capabilities.effort, losses)?);
    }
    // Without `summarized` newer models give blank thoughts.
    let display = if wish.visible == Some(false) {
        "omitted"
    } else {
        "summarized"
    };
    put(
        body,
        "thinking",
        json!({"type": "adaptive", "display": display}),
    );
    steady(losses, body)
}

fn effort_field<'a>(
    wish: &'a Reasoning,
    target: Target<'a>,
    losses: &mut Losses,
    body: &mut Body<'a>,
) -> Result<(), Unsupported> {
    let Some(effort) = effort_of(wish) else {
        return Ok(());
    };
    let known = &target.capabilities.effort;
    let taken = if known.is_empty() {
        effort
    } else {
        nearest(effort, known, losses)?
    };
    put(body, "reasoning_effort", Value::from(taken));
    Ok(())
}

/// Claude's word for an effort; it has no `minimal`.
fn known<'a>(
    effort: &'a str,
    known: &'a [String],
    losses: &mut Losses,
) -> Result<&'a str, Unsupported> {
    let effort = if effort == "minimal" && !known.iter().any(|one| one == effort) {
        "low"
    } else {
        effort
    };
    if known.is_empty() {
        Ok(effort)
    } else {
        nearest(effort, known, losses)
    }
}

/// The effort itself if the model takes it, else the next lower one that it takes, else its
/// lowest; that it is another one is told.
fn nearest<'a>(
    effort: &'a str,
    known: &'a [String],
    losses: &mut Losses,
) -> Result<&'a str, Unsupported> {
    if known.iter().any(|one| one == effort) {
        return Ok(effort);
    }
    let place = |word: &str| SCALE.iter().position(|one| *one == word);
    let Some(asked) = place(effort) else {
        return Err(Unsupported::new(
            FIELD,
            "This model does not know this effort.",
        ));
    };
    losses.drop(FIELD)?;
    let mut ranked: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|one| Some((place(one)?, one.as_str())))
        .collect();
    ranked.retain(|(_, one)| *one != "none");
    ranked.sort_unstable();
    let lower = ranked.iter().rev().find(|(rank, _)| *rank <= asked);
    Ok(lower.or(ranked.first()).map_or(effort, |(_, one)| one))
}
