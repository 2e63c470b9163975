//! Where a message of the conversation stands in a client's request.
//!
//! Dialects name a field as a client of Chat Completions knows it:
//! `messages[2].content[0]`, `tools[1].function.parameters`. Other formats have
//! other shapes (a system prompt beside the messages, results of tools within
//! them), so their faces tell for each message where it came from, and
//! [`Names::of`] turns one name into the other. Nothing of it is worked out
//! before there is something to name.

/// Where one message, its parts and its calls came from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub whole: String,
    pub parts: Vec<String>,
    pub calls: Vec<String>,
}

impl Place {
    /// A message that is one text at one place.
    pub(super) fn single(at: impl Into<String>) -> Self {
        let whole = at.into();
        Self {
            parts: vec![whole.clone()],
            whole,
            calls: Vec::new(),
        }
    }
}

/// What a format calls things.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// A call's arguments.
    pub arguments: &'static str,
    /// The call that a result belongs to.
    pub call_id: &'static str,
    /// A tool's parameters.
    pub parameters: &'static str,
    /// Whole fields, by their name in Chat Completions.
    pub fields: &'static [(&'static str, &'static str)],
}

impl Names {
    /// The client's name of a field. `places` are asked for only where a message
    /// is named.
    pub(super) fn of(&self, field: &str, places: impl FnOnce() -> Vec<Place>) -> String {
        let known = self.fields.iter().find(|(name, _)| *name == field);
        if let Some((_, own)) = known {
            return (*own).to_owned();
        }
        let within = element(field, "messages[").and_then(|(at, rest)| {
            let places = places();
            self.within(places.get(at)?, rest)
        });
        within.unwrap_or_else(|| self.of_tool(field))
    }

    /// Functions stand one level higher elsewhere.
    fn of_tool(&self, field: &str) -> String {
        match field.split_once("].function.") {
            Some((tool, "parameters")) => format!("{tool}].{}", self.parameters),
            Some((tool, rest)) if tool.starts_with("tools[") => format!("{tool}].{rest}"),
            _ => field.to_owned(),
        }
    }

    fn within(&self, place: &Place, rest: &str) -> Option<String> {
        if let Some((part, rest)) = element(rest, ".content[") {
            return Some(format!("{}{rest}", place.parts.get(part)?));
        }
        if let Some((call, rest)) = element(rest, ".tool_calls[") {
            let call = place.calls.get(call)?;
            return Some(match rest {
                ".function.arguments" => format!("{call}.{}", self.arguments),
                _ => call.clone(),
            });
        }
        Some(match rest {
            ".tool_call_id" => format!("{}.{}", place.whole, self.call_id),
            rest => format!("{}{rest}", place.whole),
        })
    }
}

/// The number of an element, and what follows it.
fn element<'a>(text: &'a str, list: &str) -> Option<(usize, &'a str)> {
    let (at, rest) = text.strip_prefix(list)?.split_once(']')?;
    Some((at.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_the_clients() {
        let names = Names {
            arguments: "input",
            call_id: "tool_use_id",
            parameters: "input_schema",
            fields: &[("stop", "stop_sequences")],
        };
        let places = || {
            vec![
                Place::single("system"),
                Place {
                    whole: "messages[0]".to_owned(),
                    parts: vec!["messages[0].content[1]".to_owned()],
                    calls: vec!["messages[0].content[2]".to_owned()],
                },
            ]
        };
        for (field, own) in [
            ("stop", "stop_sequences"),
            ("seed", "seed"),
            ("messages", "messages"),
            ("messages[].name", "messages[].name"),
            ("messages[0].content[0]", "system"),
            ("messages[1]", "messages[0]"),
            ("messages[1].content[0]", "messages[0].content[1]"),
            ("messages[1].content[7]", "messages[1].content[7]"),
            ("messages[1].tool_calls[0]", "messages[0].content[2]"),
            ("messages[1].tool_call_id", "messages[0].tool_use_id"),
            ("messages[9]", "messages[9]"),
            ("tools[3].function.parameters", "tools[3].input_schema"),
            ("tools[].function.strict", "tools[].strict"),
            ("tools[3]", "tools[3]"),
        ] {
            assert_eq!(names.of(field, places), own, "{field}");
        }
        let arguments = "messages[1].tool_calls[0].function.arguments";
        assert_eq!(names.of(arguments, places), "messages[0].content[2].input");
    }
}
