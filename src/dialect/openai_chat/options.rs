//! `[providers.NAME.options]` of a compatible provider: how it departs from
//! OpenAI, as data.

use std::collections::BTreeMap;

/// Every option, with what it does.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "api_version",
        "appended to every path as ?api-version= (Azure)",
    ),
    (
        "cache_marks",
        "how prompts are marked for caching: cache_control, breakpoint; default: not at all",
    ),
    (
        "deployment",
        "true: the model is in the path, not in the body (Azure's deployment API)",
    ),
    (
        "drop",
        "comma-separated fields that are left out and named; also messages[].name",
    ),
    ("efforts", "renamed efforts: minimal:low,xhigh:high"),
    (
        "extra",
        "JSON object whose members are added to every chat request",
    ),
    ("images", "inline: images by URL are refused"),
    ("max_stop", "most stop texts; default 4"),
    (
        "max_tokens_field",
        "max_tokens or max_completion_tokens (default)",
    ),
    ("no_stream_options", "true: stream_options is not sent"),
    (
        "parts",
        "string: messages of several texts and nothing else are sent as one string",
    ),
    (
        "prefill",
        "name of a flag that is set on a last message of the assistant (Mistral: prefix)",
    ),
    (
        "reasoning",
        "effort (default), thinking, enabled, reasoning, none: the field that says how much to think",
    ),
    (
        "refuse",
        "comma-separated fields that the provider cannot honour: a request with one is refused",
    ),
    ("rename", "renamed top-level fields: seed:random_seed"),
    (
        "required",
        "the word for a tool choice of any tool; default required",
    ),
    ("system_role", "system (default) or developer"),
    ("temperature_min", "temperatures below are raised to it"),
    (
        "thought_signature",
        "google: signatures of tool calls are sent back",
    ),
    (
        "thoughts",
        "where thoughts of earlier turns go: reasoning_content, reasoning, thinking_blocks, reasoning_details",
    ),
    (
        "tool_id",
        "mistral9: ids of tool calls are nine letters and digits",
    ),
    (
        "tool_images",
        "true: tool results may hold images and files",
    ),
    ("tool_name", "true: tool results name their tool"),
    ("top_k", "true: the provider takes top_k"),
];

/// A provider's options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options<'a>(pub(super) &'a BTreeMap<String, String>);

impl<'a> Options<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn flag(self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    pub(super) fn list(self, name: &str) -> impl Iterator<Item = &'a str> {
        let items = self.text(name).unwrap_or_default().split(',');
        items.map(str::trim).filter(|item| !item.is_empty())
    }

    /// `from:to,from:to`.
    pub(super) fn pairs(self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.list(name).filter_map(|pair| pair.split_once(':'))
    }

    pub(super) fn drops(self, field: &str) -> bool {
        self.list("drop").any(|name| name == field)
    }

    /// The path of an operation, with what Azure wants in it.
    pub(super) fn path(self, operation: &str, model: &str) -> String {
        let mut path = if self.flag("deployment") {
            format!("/deployments/{}{operation}", encoded(model))
        } else {
            operation.to_owned()
        };
        if let Some(version) = self.text("api_version") {
            path.push_str("?api-version=");
            path.push_str(&encoded(version));
        }
        path
    }
}

/// Percent-encodes what is not unreserved (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
