//! What is said about a prompt: its kind, and how likely the cheap model is to do worse.

use serde::{Deserialize, Serialize};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A question, from "who wrote Faust" to "explain how vaccines work".
    SimpleQa,
    /// To write, mend, read or explain code, queries, or the tools of programmers.
    Code,
    /// To compute, prove, or draw a conclusion.
    Math,
    /// To find, sum up, sort or check something in a text that comes along.
    Extract,
    /// To put a text that comes along into other words of the same language.
    Rewrite,
    /// To write something new: stories, letters, posts, parts to play.
    Creative,
    /// To put something into another language.
    Translate,
    /// Small talk: greetings, thanks, feelings, questions about the assistant.
    Chat,
    /// None of these with enough confidence.
    Other,
}

impl Kind {
    /// Those that a model tells apart, in the order of its outputs.
    pub const ALL: [Self; 8] = [
        Self::SimpleQa,
        Self::Code,
        Self::Math,
        Self::Extract,
        Self::Rewrite,
        Self::Creative,
        Self::Translate,
        Self::Chat,
    ];

    /// As it is written in rules, headers and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SimpleQa => "simple_qa",
            Self::Code => "code",
            Self::Math => "math",
            Self::Extract => "extract",
            Self::Rewrite => "rewrite",
            Self::Creative => "creative",
            Self::Translate => "translate",
            Self::Chat => "chat",
            Self::Other => "other",
        }
    }

    /// The kind of that name. Data sets may say `qa`, `summarise` and `reasoning` as well.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "qa" => Some(Self::SimpleQa),
            "reasoning" => Some(Self::Math),
            "summarise" | "summarize" => Some(Self::Extract),
            "other" => Some(Self::Other),
            _ => Self::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }

    /// Its output in the weights; [`Kind::Other`] has none.
    #[must_use]
    pub fn output(self) -> Option<usize> {
        Self::ALL.iter().position(|kind| *kind == self)
    }
}

/// What the model says about one prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The likeliest kind; [`Kind::Other`] where even that is less likely than the weights' bound.
    pub kind: Kind,
    /// The likeliest of [`Kind::ALL`], however unlikely.
    pub likeliest: Kind,
    /// The probability of `likeliest`, 0 to 1.
    pub confidence: f32,
    /// The probability that the cheap model would do worse than the strong one, 0 to 1, calibrated
    /// on sources that were not trained on.
    pub difficulty: f32,
    /// What thresholds are set on: orders prompts by what the strong model gains. No unit.
    pub score: f32,
}
