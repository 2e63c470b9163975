//! For whom a request is, as the client says: the end user and tags. Both go to
//! the ledger and the access log, never to a metric's label.

use super::{Ctx, GatewayError};
use crate::error::ErrorKind;
use pingora_proxy::Session;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Longest name of an end user that is kept as it is, in bytes.
const USER_BYTES: usize = 256;

/// Most tags of a client's.
const TAGS: usize = 16;

const NAME_BYTES: usize = 64;
const VALUE_BYTES: usize = 128;

/// Reads `x-tollgate-user`, which is for bodies that name no end user, and
/// `x-tollgate-tags: feature=search,team=a`.
///
/// # Errors
/// 400 for a header that has not its form.
pub fn run(session: &Session, ctx: &mut Ctx) -> Result<(), GatewayError> {
    let head = session.req_header();
    if ctx.record.user.is_none()
        && let Some(value) = only(head, "x-tollgate-user")?
    {
        let is_name = !value.is_empty() && value.len() <= USER_BYTES;
        if !is_name {
            return Err(malformed("x-tollgate-user", "1 to 256 visible characters"));
        }
        ctx.affinity = value.as_bytes().into();
        ctx.record.user = Some(value.into());
    }
    if let Some(value) = only(head, "x-tollgate-tags")? {
        let mut tags = tags(value).ok_or_else(|| {
            let form = "at most 16 pairs name=value, separated by commas, of letters, digits, \
                        \".\", \"_\", \"-\" (values also \":\", \"/\", \"@\", \"+\")";
            malformed("x-tollgate-tags", form)
        })?;
        // What the operator says of the key is not the client's to change.
        let own = ctx.record.metadata.iter();
        tags.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        ctx.record.tags = Arc::new(tags);
    }
    Ok(())
}

/// The end user under a name that can be kept: a very long one is told by its
/// digest, `sha256:HEX`.
pub fn user(name: &str) -> Arc<str> {
    if name.len() <= USER_BYTES {
        return name.into();
    }
    let mut short = "sha256:".to_owned();
    for byte in Sha256::digest(name.as_bytes()) {
        let _ = write!(short, "{byte:02x}");
    }
    short.into()
}

/// A header's one value, of visible ASCII characters and spaces.
fn only<'a>(
    head: &'a pingora_http::RequestHeader,
    name: &'static str,
) -> Result<Option<&'a str>, GatewayError> {
    let mut all = head.headers.get_all(name).iter();
    let Some(value) = all.next() else {
        return Ok(None);
    };
    match (value.to_str(), all.next()) {
        (Ok(value), None) => Ok(Some(value.trim())),
        _ => Err(malformed(name, "one value of visible characters")),
    }
}

fn malformed(name: &'static str, form: &str) -> GatewayError {
    let text = format!("The header {name} is not {form}.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(name))
}

/// `None` when it is no list of tags, or names one twice.
fn tags(text: &str) -> Option<BTreeMap<String, String>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let mut tags = BTreeMap::new();
    for pair in text.split(',') {
        let (name, value) = pair.trim().split_once('=')?;
        let is_name = (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(plain);
        let fits = (1..=VALUE_BYTES).contains(&value.len());
        let is_value = fits && value.bytes().all(|b| plain(b) || b":/@+".contains(&b));
        if !is_name || !is_value || tags.insert(name.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    (tags.len() <= TAGS).then_some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs_and_nothing_else() {
        let read = tags("feature=search, team=a/b").unwrap();
        assert_eq!((&*read["feature"], &*read["team"]), ("search", "a/b"));
        let many: Vec<_> = (0..17).map(|i| format!("t{i}=x")).collect();
        let long = format!("a={}", "x".repeat(129));
        for bad in [
            "",
            "a",
            "a=",
            "=b",
            "a=b,",
            "a=b,a=c",
            "a=b c",
            "a=b\u{7f}",
            "a=\"b\"",
            &many.join(","),
            &long,
        ] {
            assert_eq!(tags(bad), None, "{bad}");
        }
        assert!(tags(&many[..16].join(",")).is_some());
    }

    #[test]
    fn a_long_user_is_told_by_digest() {
        assert_eq!(&*user("8473"), "8473");
        let long = user(&"x".repeat(300));
        assert_eq!((long.len(), &long[..7]), (71, "sha256:"));
        assert_ne!(long, user(&"x".repeat(301)));
    }
}
