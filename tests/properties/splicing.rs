//! Another model in a body is an edit of one value: whatever the body and whatever the name.

use super::drawn::{config, json, object};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tollgate::chat::{Media, Operation, Rewrite, inspect};

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_splice_is_parse_edit_print(
        members in object(json()),
        asked in ".{1,20}",
        sent in any::<String>(),
        at in 0_usize..8,
        pretty in any::<bool>(),
    ) {
        // Names that the scan reads for routing have documented types, and no NUL in them.
        let mut members: Vec<(String, Value)> = members
            .into_iter()
            .filter(|(name, _)| !["role", "user"].contains(&name.as_str()))
            .collect();
        members.insert(at.min(members.len()), ("model".into(), asked.into()));
        let before = Value::Object(members.into_iter().collect());
        let mut after = before.clone();
        after["model"] = sent.clone().into();
        let print = |value: &Value| if pretty { format!("{value:#}") } else { value.to_string() };
        let body = Bytes::from(print(&before));
        let Ok(request) = inspect(Operation::Moderations, Media::Json, "", &body, 64).or_else(|_| inspect(Operation::Rerank, Media::Json, "", &body, 64)) else {
            // Refused for a name: a NUL in it, or a known one in other letters.
            return Ok(());
        };
        let rewrite = Rewrite { model: &sent, ..Rewrite::default() };
        let spliced = request.rewritten(&body, &rewrite).concat();
        prop_assert_eq!(String::from_utf8(spliced).unwrap(), print(&after));
    }
}
