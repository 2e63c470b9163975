//! Who goes first.

use serde::{Deserialize, Serialize};

/// Who goes first where requests wait for their turn.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Somebody sits before it.
    Interactive,
    #[default]
    Normal,
    /// It may take its time.
    Batch,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Normal, Self::Batch];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}
