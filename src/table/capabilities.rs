//! What the models of one provider can do: the table that comes with the
//! gateway under the operator's own, and the answers that were just given.

use crate::chat::models::{self, Row};
use crate::chat::{Capabilities, SamplingRule, Thinking};
use crate::config::{Capability, capability};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Models whose answer is kept. A client that may name any model could name a
/// million: when the room is full, it is emptied.
const KEPT: usize = 256;

/// A provider's part of the capability table.
pub(super) struct Known {
    table: Arc<models::Table>,
    family: &'static str,
    seen: RwLock<HashMap<String, Arc<Capabilities>>>,
}

impl Known {
    /// `said` lies over `shipped`; it is what concerns this provider.
    pub(super) fn new(shipped: &Arc<models::Table>, said: Vec<Row>, family: &'static str) -> Self {
        let table = match said.is_empty() {
            // Shared among providers and reloads.
            true => Arc::clone(shipped),
            false => Arc::new(models::Table::clone(shipped).overlaid(models::Table::of(said))),
        };
        Self {
            table,
            family,
            seen: RwLock::default(),
        }
    }

    pub(super) fn of(&self, model: &str) -> Arc<Capabilities> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.get(model) {
            return Arc::clone(known);
        }
        drop(seen);
        let found = Arc::new(self.table.lookup(self.family, model));
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KEPT {
            seen.clear();
        }
        seen.insert(model.to_owned(), Arc::clone(&found));
        found
    }
}

/// What the operator wrote, as a row of the table.
pub(super) fn row(said: &Capability) -> Row {
    Row {
        patterns: said.models.clone(),
        sampling: said.sampling.map(sampling),
        thinking: said.thinking.map(thinking),
        effort: said.effort.clone(),
        thinks_always: said.thinks_always,
        max_output: said.max_output,
        context: said.context,
        prefill: said.prefill,
        mid_system: said.mid_system,
        json_schema: said.json_schema,
        images: said.images,
        audio: said.audio,
        documents: said.documents,
        image_output: said.image_output,
        audio_output: said.audio_output,
        tools: said.tools,
        forced_tools: said.forced_tools,
        parallel_control: said.parallel_control,
        ..Row::default()
    }
}

const fn sampling(said: capability::Sampling) -> SamplingRule {
    match said {
        capability::Sampling::Free => SamplingRule::Free,
        capability::Sampling::One => SamplingRule::One,
        capability::Sampling::None => SamplingRule::None,
    }
}

const fn thinking(said: capability::Thinking) -> Thinking {
    match said {
        capability::Thinking::None => Thinking::None,
        capability::Thinking::Budget => Thinking::Budget,
        capability::Thinking::Adaptive => Thinking::Adaptive,
        capability::Thinking::Level => Thinking::Level,
        capability::Thinking::Effort => Thinking::Effort,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_and_the_room_for_them_is_bounded() {
        let shipped = models::shipped().unwrap();
        let known = Known::new(&shipped, Vec::new(), "openai");
        let first = known.of("gpt-4o");
        assert!(Arc::ptr_eq(&first, &known.of("gpt-4o")));
        assert!(Arc::ptr_eq(&shipped, &known.table));
        for number in 0..10 * KEPT {
            known.of(&format!("model-{number}"));
            assert!(known.seen.read().unwrap().len() <= KEPT);
        }
        assert_eq!(known.of("gpt-4o"), first);
    }

    #[test]
    fn what_the_operator_says_lies_over_what_was_known() {
        let shipped = models::shipped().unwrap();
        let said = Capability {
            models: vec!["GPT-4*".to_owned()],
            sampling: Some(capability::Sampling::One),
            context: Some(7),
            ..Capability::default()
        };
        let known = Known::new(&shipped, vec![row(&said)], "openai");
        let (ours, theirs) = (known.of("gpt-4o"), shipped.lookup("openai", "gpt-4o"));
        assert_eq!((ours.sampling, ours.context), (SamplingRule::One, Some(7)));
        assert_eq!(ours.max_output, theirs.max_output);
        assert_eq!(*known.of("o3"), shipped.lookup("openai", "o3"));
    }
}
