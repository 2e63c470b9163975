//! Fields without a canonical form that make an answer another one: where a
//! provider has nothing like them, a request with one is refused, by name. All
//! other fields without a form are hints, which may be left out and told.
//!
//! One list for all dialects whose format is not the client's, so that what is
//! refused does not depend on who serves the request.

use crate::chat::{Conversation, Unsupported};
use serde_json::Value;

const NAMES: [&str; 21] = [
    "audio",
    "background",
    "best_of",
    "conversation",
    "echo",
    "extra_body",
    "function_call",
    "functions",
    "grammar",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "logprobs",
    "moderation",
    "previous_response_id",
    "structured_outputs",
    "suffix",
    "tool_resources",
    "top_logprobs",
    "web_search_options",
];

/// Refuses a request with such a field.
///
/// # Errors
/// Naming the field.
pub(super) fn refuse(asked: &Conversation) -> Result<(), Unsupported> {
    refuse_but(asked, &[])
}

/// The same, for a provider that has a form for those that are `taken`.
///
/// # Errors
/// Naming the field.
pub(super) fn refuse_but(asked: &Conversation, taken: &[&str]) -> Result<(), Unsupported> {
    let refused = |name: &str| !taken.contains(&name);
    let modalities = asked.other.get_key_value("modalities");
    let spoken =
        modalities.filter(|(name, value)| refused(name) && says(value) && !is_text_only(value));
    let named = || {
        let mut fields = asked.other.iter();
        fields.find(|(name, value)| NAMES.contains(&name.as_str()) && refused(name) && says(value))
    };
    match spoken.or_else(named) {
        None => Ok(()),
        Some((name, _)) => {
            let reason = format!("'{name}' is not supported by this model's provider.");
            Err(Unsupported::new(name, reason))
        }
    }
}

/// Whether a field asks for anything. `store: false` and its like do not.
pub(super) const fn says(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// Whether `modalities` asks for what is given anyway.
fn is_text_only(modalities: &Value) -> bool {
    let all = modalities.as_array();
    all.is_some_and(|all| !all.is_empty() && all.iter().all(|modality| modality == "text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(fields: Value) -> Option<String> {
        let asked = Conversation {
            other: fields.as_object().cloned().unwrap_or_default(),
            ..Conversation::default()
        };
        refuse(&asked).err().map(|e| e.param)
    }

    #[test]
    fn what_changes_the_answer_is_refused_by_name() {
        assert_eq!(
            refused(json!({"top_a": 1, "grammar": "x"})).as_deref(),
            Some("grammar")
        );
        let spoken = json!({"audio": {"voice": "alloy"}, "modalities": ["text", "audio"]});
        assert_eq!(refused(spoken).as_deref(), Some("modalities"));
        assert_eq!(
            refused(json!({"modalities": []})).as_deref(),
            Some("modalities")
        );
    }

    #[test]
    fn what_asks_for_nothing_is_not() {
        assert_eq!(refused(json!({"background": false, "audio": null})), None);
        assert_eq!(refused(json!({"modalities": ["text"], "seed": 1})), None);
    }
}
