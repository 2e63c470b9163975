//! How much a model is told to think: by tokens on older models, by effort on
//! newer ones, which decide the tokens themselves.

use super::body::{Thinking, Turn};
use super::messages;
use crate::chat::{Capabilities, Conversation, Losses, Reasoning, Thinking as Style, Unsupported};

/// The smallest budget that the API takes.
const LEAST_BUDGET: u64 = 1024;

/// Anthropic's efforts, from little to much.
const SCALE: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// What a request says about thinking.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub thinking: Option<Thinking<'a>>,
    pub effort: Option<&'a str>,
}

impl Plan<'_> {
    fn thinks(&self) -> bool {
        self.thinking.as_ref().is_some_and(Thinking::is_on)
    }

    fn off() -> Self {
        Self {
            thinking: Some(how("disabled", None, None)),
            ..Self::default()
        }
    }
}

/// `forced`: some tool must be called, which no model does while it thinks.
pub(super) fn plan<'a>(
    asked: &'a Conversation,
    able: &'a Capabilities,
    turns: &[Turn<'_>],
    forced: bool,
    losses: &mut Losses,
) -> Result<Plan<'a>, Unsupported> {
    let plan = wanted(asked, able, losses)?;
    if forced && able.thinks_always {
        return Err(Unsupported::new(
            "tool_choice",
            "This model always thinks, and cannot be made to call a tool while it does.",
        ));
    }
    if forced && plan.thinks() {
        losses.drop(param(asked))?;
    }
    let by_budget = matches!(able.thinking, Style::Budget | Style::None);
    if forced && !by_budget {
        // Such models may think without being told to.
        return Ok(Plan::off());
    }
    if forced && plan.thinks() {
        return Ok(Plan::default());
    }
    if by_budget && plan.thinks() && !messages::thoughts_complete(turns) {
        // A client that does not send thoughts back would get a 400 at every
        // step of its tool loop.
        losses.drop(param(asked))?;
        return Ok(Plan::default());
    }
    Ok(plan)
}

/// The client's name for how it asked for thinking.
fn param(asked: &Conversation) -> &'static str {
    match &asked.reasoning {
        Some(reasoning) if reasoning.effort.is_some() => "reasoning_effort",
        _ => "thinking",
    }
}

fn wanted<'a>(
    asked: &'a Conversation,
    able: &'a Capabilities,
    losses: &mut Losses,
) -> Result<Plan<'a>, Unsupported> {
    let own = asked.other.get("thinking").filter(|own| own.is_object());
    match (&asked.reasoning, own) {
        (None, None) => Ok(Plan::default()),
        (None, Some(own)) => Ok(Plan {
            thinking: Some(Thinking::Own(own)),
            effort: None,
        }),
        (Some(reasoning), _) => match able.thinking {
            Style::None => not_at_all(reasoning, param(asked), losses),
            Style::Budget => by_budget(reasoning),
            Style::Adaptive | Style::Level | Style::Effort => by_effort(reasoning, able, losses),
        },
    }
}

fn not_at_all<'a>(
    reasoning: &Reasoning,
    param: &str,
    losses: &mut Losses,
) -> Result<Plan<'a>, Unsupported> {
    let effort = reasoning
        .effort
        .as_deref()
        .is_some_and(|effort| effort != "none");
    let budget = reasoning.budget.is_some_and(|budget| budget > 0);
    if effort || budget {
        losses.drop(param)?;
    }
    Ok(Plan::default())
}

fn by_budget<'a>(reasoning: &Reasoning) -> Result<Plan<'a>, Unsupported> {
    let budget = match (reasoning.budget, reasoning.effort.as_deref()) {
        (Some(budget), _) => budget,
        (None, None | Some("none")) => 0,
        (None, Some("minimal" | "low")) => 1024,
        (None, Some("medium")) => 2048,
        (None, Some("high")) => 4096,
        (None, Some("xhigh")) => 8192,
        (None, Some("max")) => 16384,
        (None, Some(_)) => {
            return Err(Unsupported::new(
                "reasoning_effort",
                "'reasoning_effort' must be one of none, minimal, low, medium, high, xhigh, max.",
            ));
        }
    };
    if budget == 0 {
        return Ok(Plan::default());
    }
    let budget = Some(budget.max(LEAST_BUDGET));
    let display = (reasoning.visible == Some(false)).then_some("omitted");
    Ok(Plan {
        thinking: Some(how("enabled", budget, display)),
        effort: None,
    })
}

fn by_effort<'a>(
    reasoning: &'a Reasoning,
    able: &'a Capabilities,
    losses: &mut Losses,
) -> Result<Plan<'a>, Unsupported> {
    let asked = match (reasoning.effort.as_deref(), reasoning.budget) {
        (Some(effort), _) => Some(effort),
        (None, Some(0)) => Some("none"),
        (None, Some(..=1024)) => Some("low"),
        (None, Some(..=2048)) => Some("medium"),
        (None, Some(_)) => Some("high"),
        (None, None) => None,
    };
    if asked == Some("none") {
        if able.thinks_always {
            losses.drop("reasoning_effort")?;
            return Ok(Plan::default());
        }
        return Ok(Plan::off());
    }
    if asked.is_none() && reasoning.visible.is_none() {
        return Ok(Plan::default());
    }
    let effort = match asked {
        Some(asked) => Some(nearest(asked, &able.effort, losses)?),
        None => None,
    };
    // Left unsaid, newer models keep the text of their thoughts to themselves.
    let display = if reasoning.visible == Some(false) {
        "omitted"
    } else {
        "summarized"
    };
    Ok(Plan {
        thinking: Some(how("adaptive", None, Some(display))),
        effort,
    })
}

/// The effort that the model takes: the one that was asked for, or the nearest
/// one below it, or the least.
fn nearest<'a>(
    asked: &'a str,
    taken: &'a [String],
    losses: &mut Losses,
) -> Result<&'a str, Unsupported> {
    let takes = |effort: &str| taken.is_empty() || taken.iter().any(|taken| taken == effort);
    let word = if asked == "minimal" { "low" } else { asked };
    if takes(word) {
        return Ok(word);
    }
    let Some(at) = SCALE.iter().position(|effort| *effort == word) else {
        let reason = format!("This model takes 'reasoning_effort' {}.", taken.join(", "));
        return Err(Unsupported::new("reasoning_effort", reason));
    };
    losses.drop("reasoning_effort")?;
    let below = SCALE.iter().take(at).rev().find(|effort| takes(effort));
    let above = SCALE.iter().skip(at).find(|effort| takes(effort));
    Ok(below.or(above).copied().unwrap_or(word))
}

const fn how<'a>(
    kind: &'static str,
    budget_tokens: Option<u64>,
    display: Option<&'static str>,
) -> Thinking<'a> {
    Thinking::How {
        kind,
        budget_tokens,
        display,
    }
}
