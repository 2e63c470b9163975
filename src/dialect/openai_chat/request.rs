//! A conversation as a compatible provider's request.
//!
//! What departs from OpenAI is said by [`options`]; fields
//! that the canonical form does not know go on under their names, unless they
//! are known to belong to another format.

use super::super::{Rendered, Target};
use super::options::{self, Options};
use super::strays::Returns;
use super::turns::{Turns, cache_fields};
use crate::chat::{
    Capabilities, Conversation, Format, Losses, Operation, Place, SamplingRule, Thinking, Tool,
    ToolChoice, Unsupported,
};
use serde_json::{Map, Value, json};

/// Fields of other formats, which no provider of this one takes.
const FOREIGN: [&str; 20] = [
    "anthropic_version",
    "billing_policy",
    "compaction",
    "fallback_credit_token",
    "fallbacks",
    "user_profile_id",
    "workspace_id",
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "speed",
    "thinking",
    "include",
    "max_tool_calls",
    "truncation",
    "text",
    "output_config",
    "prompt",
];

pub(super) fn chat(asked: &Conversation, target: Target<'_>) -> Result<Rendered, Unsupported> {
    let mut request = Request {
        asked,
        able: target.capabilities,
        options: Options(target.options),
        returns: Returns::new(asked, Options(target.options)),
        losses: Losses::new(target.strict),
        body: Map::new(),
    };
    request.write()?;
    request.finish()
}

struct Request<'a> {
    asked: &'a Conversation,
    able: &'a Capabilities,
    options: Options<'a>,
    returns: Returns<'a>,
    losses: Losses,
    body: Map<String, Value>,
}

impl Request<'_> {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.body.insert(name.to_owned(), value.into());
    }

    fn write(&mut self) -> Result<(), Unsupported> {
        // First, so that what is known better overwrites it.
        self.other()?;
        if !self.options.deployment() {
            self.set("model", self.asked.model.as_str());
        }
        let messages = Turns::new(
            self.asked,
            self.able,
            self.options,
            &self.returns,
            &mut self.losses,
        )
        .all()?;
        self.set("messages", messages);
        self.tools()?;
        self.tool_choice()?;
        self.limits()?;
        self.sampling()?;
        self.format()?;
        self.reasoning()?;
        self.caller()?;
        self.stream();
        Ok(())
    }

    fn other(&mut self) -> Result<(), Unsupported> {
        for (name, value) in &self.asked.other {
            match name.as_str() {
                "modalities" | "audio" => {
                    return Err(Unsupported::new(name, "Answers can only be text here."));
                }
                "stream_options.include_obfuscation" => self.losses.drop(name)?,
                name if FOREIGN.contains(&name) => self.losses.drop(name)?,
                // Not a name but a place in another format.
                name if name.contains(['.', '[']) => self.losses.drop(name)?,
                name => self.set(name, value.clone()),
            }
        }
        let top: Vec<_> = self.returns.top().collect();
        for stray in top {
            self.set(&stray.name, stray.value.clone());
        }
        Ok(())
    }

    fn tools(&mut self) -> Result<(), Unsupported> {
        let none = self.asked.tool_choice == Some(ToolChoice::None);
        // Where nobody can be told not to call a tool, there must be none.
        if self.asked.tools.is_empty() || (none && !self.options.honours("none")) {
            return Ok(());
        }
        if !self.able.tools {
            return Err(Unsupported::new("tools", "This model takes no tools."));
        }
        let mut written = Vec::new();
        for (at, tool) in self.asked.tools.iter().enumerate() {
            if self.is_allowed(&tool.name) {
                written.push(self.tool(at, tool)?);
            }
        }
        self.set("tools", written);
        match self.asked.parallel_tool_calls {
            Some(false) if !self.able.parallel_control => {
                self.losses.drop("parallel_tool_calls")?
            }
            Some(parallel) if self.able.parallel_control => {
                self.set("parallel_tool_calls", parallel)
            }
            _ => {}
        }
        Ok(())
    }

    /// Few providers know `allowed_tools`; all understand a shorter list.
    fn is_allowed(&self, name: &String) -> bool {
        match &self.asked.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) => names.contains(name),
            _ => true,
        }
    }

    fn tool(&mut self, at: usize, tool: &Tool) -> Result<Value, Unsupported> {
        if let Some(foreign) = &tool.foreign {
            return match foreign.get("custom") {
                Some(Value::Object(_)) => Ok(foreign.clone()),
                _ => Err(Unsupported::new(
                    format!("tools[{at}]"),
                    "Only functions can be offered to this model.",
                )),
            };
        }
        let mut function = Map::new();
        function.insert("name".to_owned(), tool.name.clone().into());
        if let Some(description) = &tool.description {
            function.insert("description".to_owned(), description.clone().into());
        }
        if let Some(parameters) = &tool.parameters {
            function.insert("parameters".to_owned(), parameters.clone());
        }
        if tool.strict.is_some() && self.options.drops("tools[].function.strict") {
            self.losses.drop("tools[].function.strict")?;
        } else if let Some(strict) = tool.strict {
            function.insert("strict".to_owned(), strict.into());
        }
        let mut written = Map::new();
        written.insert("type".to_owned(), "function".into());
        written.insert("function".to_owned(), function.into());
        if let Some(mark) = &tool.cache {
            // OpenAI has breakpoints on contents only.
            match self.options.text("cache_marks") {
                Some("cache_control") => written.extend(cache_fields(mark)),
                _ => self.losses.drop("cache_control")?,
            }
        }
        let place = |within| Place::Tool { tool: at, within };
        self.returns
            .members(place, &mut written, &mut self.losses)?;
        Ok(Value::Object(written))
    }

    fn tool_choice(&mut self) -> Result<(), Unsupported> {
        let refused = |reason| Err(Unsupported::new("tool_choice", reason));
        let Some(choice) = &self.asked.tool_choice else {
            return Ok(());
        };
        let forced = match choice {
            ToolChoice::Required | ToolChoice::Function(_) => true,
            ToolChoice::Allowed { required, .. } => *required,
            _ => false,
        };
        if forced && !self.able.forced_tools {
            return refused("This model cannot be made to call a tool.");
        }
        if self.asked.tools.is_empty() {
            return if forced {
                refused("There are no tools to choose from.")
            } else {
                Ok(())
            };
        }
        if !self.is_honoured(choice, forced)? {
            return Ok(());
        }
        let required = self.options.text("required").unwrap_or("required");
        let written = match choice {
            ToolChoice::Auto
            | ToolChoice::Allowed {
                required: false, ..
            } => "auto".into(),
            ToolChoice::None => "none".into(),
            ToolChoice::Required | ToolChoice::Allowed { .. } => required.into(),
            ToolChoice::Function(name) => {
                json!({ "type": "function", "function": { "name": name } })
            }
            ToolChoice::Foreign(text) => match serde_json::from_str::<Value>(text) {
                Ok(value)
                    if value.get("custom").is_some() || value.get("allowed_tools").is_some() =>
                {
                    value
                }
                _ => return refused("Only functions can be chosen with this model."),
            },
        };
        let empty = self
            .body
            .get("tools")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty);
        if empty {
            return refused("It allows none of the tools.");
        }
        self.set("tool_choice", written);
        Ok(())
    }

    /// Whether the provider is told of the choice: not where it is the default
    /// anyway, or where there are no tools any more because of it.
    fn is_honoured(&self, choice: &ToolChoice, forced: bool) -> Result<bool, Unsupported> {
        let word = match choice {
            ToolChoice::None => "none",
            ToolChoice::Function(_) => "function",
            _ if forced => "required",
            _ => "auto",
        };
        if self.options.honours(word) || !matches!(word, "required" | "function") {
            return Ok(self.options.honours(word));
        }
        let reason = "This model's provider cannot be made to call a tool.";
        Err(Unsupported::new("tool_choice", reason))
    }

    fn limits(&mut self) -> Result<(), Unsupported> {
        if let Some(longest) = self.asked.max_tokens {
            self.set(self.options.limit_field(), longest);
        }
        let most = self
            .options
            .text("max_stop")
            .and_then(|text| text.parse().ok())
            .unwrap_or(4);
        if self.asked.stop.len() > most {
            self.losses.drop("stop")?;
        }
        if !self.asked.stop.is_empty() {
            let kept: Vec<Value> = self
                .asked
                .stop
                .iter()
                .take(most)
                .cloned()
                .map(Value::String)
                .collect();
            self.set("stop", kept);
        }
        if let Some(n) = self.asked.n.filter(|n| *n != 1) {
            self.set("n", n);
        }
        if let Some(logprobs) = self.asked.logprobs {
            match (self.options.text("logprobs"), logprobs.top) {
                (Some("count"), top) => self.set("logprobs", top.unwrap_or(1)),
                (_, top) => {
                    self.set("logprobs", true);
                    if let Some(top) = top {
                        self.set("top_logprobs", top);
                    }
                }
            }
        }
        Ok(())
    }

    fn sampling(&mut self) -> Result<(), Unsupported> {
        let asked = &self.asked.sampling;
        let (warm, top) = (asked.temperature, asked.top_p);
        match self.able.sampling {
            // The default says nothing.
            SamplingRule::None if warm.is_none_or(|warm| warm == 1.0) => {}
            SamplingRule::None => self.losses.drop("temperature")?,
            _ => self.temperature(warm),
        }
        match (self.able.sampling, top) {
            (_, None) | (SamplingRule::None, Some(1.0)) => {}
            (SamplingRule::None, Some(_)) => self.losses.drop("top_p")?,
            (SamplingRule::One, Some(_)) if warm.is_some() => self.losses.drop("top_p")?,
            (_, Some(top)) => self.set("top_p", top),
        }
        match asked.top_k {
            Some(top_k) if self.options.flag("top_k") => self.set("top_k", top_k),
            Some(_) => self.losses.drop("top_k")?,
            None => {}
        }
        if let Some(penalty) = asked.frequency_penalty {
            self.set("frequency_penalty", penalty);
        }
        if let Some(penalty) = asked.presence_penalty {
            self.set("presence_penalty", penalty);
        }
        if let Some(seed) = asked.seed {
            self.set("seed", seed);
        }
        if let Some(bias) = &asked.logit_bias {
            self.set("logit_bias", bias.clone());
        }
        Ok(())
    }

    fn temperature(&mut self, warm: Option<f64>) {
        let least = self
            .options
            .text("temperature_min")
            .and_then(|text| text.parse::<f64>().ok());
        if let Some(warm) = warm {
            self.set("temperature", least.map_or(warm, |least| warm.max(least)));
        }
    }

    fn format(&mut self) -> Result<(), Unsupported> {
        let written = match &self.asked.format {
            Format::Text => return Ok(()),
            Format::JsonObject => json!({ "type": "json_object" }),
            Format::JsonSchema { .. } if !self.able.json_schema => {
                return Err(Unsupported::new(
                    "response_format",
                    "This model takes no JSON schema.",
                ));
            }
            Format::JsonSchema {
                name,
                description,
                schema,
                strict,
            } => {
                let mut inner = Map::new();
                // A name must be there and says nothing to the model's side.
                inner.insert(
                    "name".to_owned(),
                    name.as_deref().unwrap_or("response").into(),
                );
                if let Some(description) = description {
                    inner.insert("description".to_owned(), description.clone().into());
                }
                inner.insert("schema".to_owned(), schema.clone());
                if let Some(strict) = strict {
                    inner.insert("strict".to_owned(), (*strict).into());
                }
                json!({ "type": "json_schema", "json_schema": inner })
            }
        };
        self.set("response_format", written);
        Ok(())
    }

    fn reasoning(&mut self) -> Result<(), Unsupported> {
        let Some(asked) = &self.asked.reasoning else {
            return Ok(());
        };
        let wanted = asked.effort.as_deref().or(asked.budget.map(effort_of));
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let thinks = wanted != "none";
        if self.able.thinking == Thinking::None && self.options.text("reasoning").is_none() {
            return match thinks {
                true => self.losses.drop("reasoning_effort"),
                false => Ok(()),
            };
        }
        let effort = self.effort(wanted)?;
        match self.options.text("reasoning").unwrap_or("effort") {
            "none" => self.losses.drop("reasoning_effort")?,
            "thinking" => {
                self.set(
                    "thinking",
                    json!({ "type": if thinks { "enabled" } else { "disabled" } }),
                );
                if thinks && asked.effort.is_some() {
                    self.set("reasoning_effort", effort);
                }
            }
            "enabled" => {
                self.set("reasoning", json!({ "enabled": thinks }));
                if thinks && asked.effort.is_some() {
                    self.set("reasoning_effort", effort);
                }
            }
            "reasoning" => {
                let (name, much): (_, Value) = match (&asked.effort, asked.budget) {
                    (None, Some(budget)) => ("max_tokens", budget.into()),
                    _ => ("effort", effort.into()),
                };
                let mut inner = Map::from_iter([(name.to_owned(), much)]);
                if let Some(visible) = asked.visible {
                    inner.insert("exclude".to_owned(), (!visible).into());
                }
                self.set("reasoning", inner);
            }
            _ if !thinks && self.able.thinks_always => self.losses.drop("reasoning_effort")?,
            _ => self.set("reasoning_effort", effort),
        }
        Ok(())
    }

    /// The provider's word for an effort, or the nearest that the model takes:
    /// that it is another is told.
    fn effort(&mut self, wanted: &str) -> Result<String, Unsupported> {
        let renamed = self
            .options
            .pairs("efforts")
            .find(|(from, _)| *from == wanted);
        if let Some((_, to)) = renamed {
            return Ok(to.to_owned());
        }
        let taken = &self.able.effort;
        if wanted == "none" || taken.is_empty() || taken.iter().any(|effort| effort == wanted) {
            return Ok(wanted.to_owned());
        }
        let nearest = rank(wanted).and_then(|wanted| {
            // Of two as near, the one nearer to high: models think rather more.
            let high = rank("high").unwrap_or_default();
            let ranked = taken
                .iter()
                .filter(|effort| *effort != "none")
                .filter_map(|e| rank(e).map(|r| (e, r)));
            ranked.min_by_key(|(_, rank)| (rank.abs_diff(wanted), rank.abs_diff(high)))
        });
        let Some((nearest, _)) = nearest else {
            return Ok(wanted.to_owned());
        };
        self.losses.drop("reasoning_effort")?;
        Ok(nearest.clone())
    }

    fn caller(&mut self) -> Result<(), Unsupported> {
        if let Some(user) = &self.asked.user {
            self.set("user", user.as_str());
        }
        if !self.asked.metadata.is_empty() {
            self.set("metadata", self.asked.metadata.clone());
        }
        match self.asked.service_tier.as_deref() {
            // Anthropic's word for it.
            Some("standard_only") => self.set("service_tier", "default"),
            Some(tier) => self.set("service_tier", tier),
            None => {}
        }
        Ok(())
    }

    /// The usage chunk is asked for always: tokens are paid for whether the
    /// client wants to read of them or not.
    fn stream(&mut self) {
        if !self.asked.stream {
            return;
        }
        self.set("stream", true);
        let options = self.body.remove("stream_options");
        if !self.options.flag("no_stream_options") {
            let mut options = options
                .and_then(|options| options.as_object().cloned())
                .unwrap_or_default();
            options.insert("include_usage".to_owned(), true.into());
            self.set("stream_options", options);
        }
    }

    fn finish(mut self) -> Result<Rendered, Unsupported> {
        for name in self.options.list("refuse") {
            if self.body.contains_key(name) {
                let reason = format!("'{name}' is not supported by this model's provider.");
                return Err(Unsupported::new(name, reason));
            }
        }
        for name in self.options.list("drop") {
            if self.body.remove(name).is_some() {
                self.losses.drop(name)?;
            }
        }
        for (from, to) in self.options.pairs("rename") {
            if let Some(value) = self.body.remove(from) {
                self.set(to, value);
            }
        }
        for (name, value) in self.options.object("extra") {
            self.body.entry(name).or_insert(value);
        }
        Ok(Rendered {
            path: options::path(
                self.options.0,
                Operation::ChatCompletions,
                &self.asked.model,
            ),
            body: Value::Object(self.body).to_string().into_bytes(),
            headers: Vec::new(),
            dropped: self.losses.dropped,
        })
    }
}

/// OpenAI's scale, from the least.
const SCALE: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

fn rank(effort: &str) -> Option<usize> {
    SCALE.iter().position(|word| *word == effort)
}

/// A budget of thinking tokens on OpenAI's scale.
const fn effort_of(budget: u64) -> &'static str {
    match budget {
        0 => "none",
        1..=1024 => "low",
        1025..=2048 => "medium",
        _ => "high",
    }
}
