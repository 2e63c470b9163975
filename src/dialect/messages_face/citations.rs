//! Citations in Anthropic's form, of any provider's annotations.

use serde::Serialize;
use serde_json::{Map, Value};

/// Anthropic's kinds of places. An annotation of such a kind has Anthropic's
/// own fields, and where in the answer it is, which Anthropic does not say.
const OWN: [&str; 5] = [
    "char_location",
    "content_block_location",
    "page_location",
    "search_result_location",
    "web_search_result_location",
];

/// One citation.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Citation {
    Web {
        #[serde(rename = "type")]
        kind: &'static str,
        /// Nobody but Anthropic tells it.
        cited_text: &'static str,
        encrypted_index: &'static str,
        title: Option<String>,
        url: String,
    },
    Own(Map<String, Value>),
}

impl Citation {
    /// Reads an annotation; `None` if Anthropic has no form for it.
    pub fn of(annotation: &Value) -> Option<Self> {
        if let Some(cited) = annotation.get("url_citation") {
            let title = cited.get("title").and_then(Value::as_str);
            return Some(Self::Web {
                kind: "web_search_result_location",
                cited_text: "",
                encrypted_index: "",
                title: title.map(str::to_owned),
                url: cited.get("url")?.as_str()?.to_owned(),
            });
        }
        let kind = annotation.get("type")?.as_str()?;
        let cited = annotation.get(kind)?.as_object()?;
        if !OWN.contains(&kind) {
            return None;
        }
        let mut own = Map::new();
        own.insert("type".to_owned(), kind.into());
        let fields = cited.iter();
        let fields = fields.filter(|(name, _)| *name != "start_index" && *name != "end_index");
        own.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        Some(Self::Own(own))
    }
}

/// Where in the whole text an annotation ends, in characters.
pub fn end(annotation: &Value) -> Option<usize> {
    let kind = annotation.get("type")?.as_str()?;
    let end = annotation.get(kind)?.get("end_index")?.as_u64()?;
    usize::try_from(end).ok()
}
