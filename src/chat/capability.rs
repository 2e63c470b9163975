//! What a model can do, as far as translation and routing need to know, and
//! what becomes of what it cannot.

/// One model's row of the capability table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    pub sampling: SamplingRule,
    pub thinking: Thinking,
    /// Effort values that the model takes; empty: unknown, pass on.
    pub effort: Vec<String>,
    /// Thinking cannot be switched off.
    pub thinks_always: bool,
    /// Longest answer in tokens.
    pub max_output: Option<u64>,
    /// Context window in tokens.
    pub context: Option<u64>,
    /// The last message may be the assistant's, to be continued.
    pub prefill: bool,
    /// System messages may stand between others.
    pub mid_system: bool,
    /// Takes a JSON schema by itself.
    pub json_schema: bool,
    pub images: bool,
    pub audio: bool,
    pub documents: bool,
    /// Makes images.
    pub image_output: bool,
    /// Speaks.
    pub audio_output: bool,
    pub tools: bool,
    /// A tool call can be demanded.
    pub forced_tools: bool,
    pub parallel_control: bool,
}

impl Default for Capabilities {
    /// Everything: a model that nobody described is asked as it is, and its
    /// provider's 400 is passed on.
    fn default() -> Self {
        Self {
            sampling: SamplingRule::Free,
            thinking: Thinking::None,
            effort: Vec::new(),
            thinks_always: false,
            max_output: None,
            context: None,
            prefill: true,
            mid_system: false,
            json_schema: true,
            images: true,
            audio: true,
            documents: true,
            image_output: true,
            audio_output: true,
            tools: true,
            forced_tools: true,
            parallel_control: true,
        }
    }
}

/// Which sampling parameters a model takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SamplingRule {
    #[default]
    Free,
    /// Temperature or top_p, not both.
    One,
    /// Neither.
    None,
}

/// How a model is told to think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thinking {
    #[default]
    None,
    /// By a number of tokens.
    Budget,
    /// By an effort; the model decides.
    Adaptive,
    /// By a level (Gemini 3).
    Level,
    /// By OpenAI's `reasoning_effort`.
    Effort,
}

/// What a target cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unsupported {
    /// The field at fault, in the client's words: `messages[2].content[0]`.
    pub param: String,
    pub reason: String,
}

impl Unsupported {
    pub fn new(param: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            param: param.into(),
            reason: reason.into(),
        }
    }
}

/// Collects what is left out on the way to a provider.
#[derive(Debug, Default)]
pub struct Losses {
    strict: bool,
    /// Names of fields that were dropped, each once.
    pub dropped: Vec<String>,
}

impl Losses {
    /// `strict`: nothing may be dropped.
    pub fn new(strict: bool) -> Self {
        Self {
            strict,
            dropped: Vec::new(),
        }
    }

    /// Drops a harmless field (seed, user, penalties, metadata ...), or refuses
    /// where the route is strict. What changes the meaning of a request is
    /// never dropped: return [`Unsupported`] for that.
    ///
    /// # Errors
    /// Where the route is strict.
    pub fn drop(&mut self, param: &str) -> Result<(), Unsupported> {
        if self.strict {
            let reason = format!("'{param}' is not supported by this model's provider.");
            return Err(Unsupported::new(param, reason));
        }
        if !self.dropped.iter().any(|d| d == param) {
            self.dropped.push(param.to_owned());
        }
        Ok(())
    }

    /// Drops what has no form, for a provider whose format is another than the client's.
    ///
    /// # Errors
    /// Where the route is strict, and for whole parts of messages.
    pub fn strays(&mut self, asked: &super::Conversation) -> Result<(), Unsupported> {
        for stray in &asked.strays {
            if stray.matters() {
                let field = stray.field();
                let kind = stray.value.get("type").and_then(serde_json::Value::as_str);
                let reason = format!(
                    "'{field}' of type '{}' is not supported by this model's provider.",
                    kind.unwrap_or_default()
                );
                return Err(Unsupported::new(field, reason));
            }
            if !stray.is_echo() && !stray.names_tool(&asked.messages) {
                self.drop(&stray.field())?;
            }
        }
        Ok(())
    }
}
