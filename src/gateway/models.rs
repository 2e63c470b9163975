//! `GET /v1/models` and `/v1/models/{id}`: what this key may use, in the form of
//! whoever asks. A client that sends `anthropic-version` gets Anthropic's, in
//! pages; every other OpenAI's, in one list.

use super::reply::{head, json};
use super::{Ctx, Stop, decide};
use crate::chat::Speech;
use crate::error::{ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::table::Refusal;
use crate::telemetry::{Outcome, timestamp};
use pingora_proxy::Session;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What of a list is asked for (Anthropic's API reference).
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    after: Option<String>,
    before: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: 20,
            after: None,
            before: None,
        }
    }
}

impl Page {
    /// Reads a query. What it does not know is nobody's business.
    ///
    /// # Errors
    /// 400 that names the parameter at fault.
    pub fn of(query: Option<&str>) -> Result<Self, GatewayError> {
        let mut page = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = || super::intake::percent_decoded(value);
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|n| (1..=1000).contains(n));
                    page.limit = limit.ok_or_else(|| wrong("limit", "a number from 1 to 1000"))?;
                }
                "after_id" => page.after = Some(text().ok_or_else(|| wrong(name, "an id"))?),
                "before_id" => page.before = Some(text().ok_or_else(|| wrong(name, "an id"))?),
                _ => {}
            }
        }
        if page.after.is_some() && page.before.is_some() {
            return Err(wrong("before_id", "absent where after_id is given"));
        }
        Ok(page)
    }

    /// The names on this page of all, which are sorted, and whether more follow
    /// in the direction of reading. A cursor is a place in the order: the model
    /// that it names may be gone.
    fn cut<'a, 'b>(&self, all: &'b [&'a str]) -> (&'b [&'a str], bool) {
        if let Some(before) = &self.before {
            let end = all.partition_point(|name| *name < before.as_str());
            let start = end.saturating_sub(self.limit);
            return (all.get(start..end).unwrap_or_default(), start > 0);
        }
        let start = self.after.as_ref().map_or(0, |after| {
            all.partition_point(|name| *name <= after.as_str())
        });
        let end = start.saturating_add(self.limit).min(all.len());
        (all.get(start..end).unwrap_or_default(), end < all.len())
    }
}

fn wrong(param: &str, expected: &str) -> GatewayError {
    let text = format!("Invalid value for '{param}': it must be {expected}.");
    GatewayError::new(ErrorKind::InvalidValue, text).with_param(Some(param))
}

/// The list.
pub async fn list(
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Principal,
    page: &Page,
) -> Result<(), Stop> {
    let table = Arc::clone(&ctx.table);
    let all = table.aliases(who);
    let body = match ctx.speech {
        Speech::Anthropic => {
            let (shown, more) = page.cut(&all);
            let data: Vec<_> = shown
                .iter()
                .map(|id| anthropic(id, table.loaded_at))
                .collect();
            json!({
                "data": data,
                "has_more": more,
                "first_id": shown.first(),
                "last_id": shown.last(),
            })
        }
        Speech::OpenAi | Speech::Responses => {
            let data: Vec<_> = all.iter().map(|id| openai(id, table.loaded_at)).collect();
            json!({ "object": "list", "data": data })
        }
    };
    served(session, ctx, &body).await
}

/// One of it.
pub async fn one(
    session: &mut Session,
    ctx: &mut Ctx,
    who: &Principal,
    id: &str,
) -> Result<(), Stop> {
    let loaded_at = ctx.table.loaded_at;
    match (ctx.table.knows(who, id), ctx.speech) {
        (Ok(()), Speech::Anthropic) => served(session, ctx, &anthropic(id, loaded_at)).await,
        (Ok(()), _) => served(session, ctx, &openai(id, loaded_at)).await,
        // What a key may not use does not exist for it.
        (Err(_), _) => Err(decide::refused(Refusal::Unknown, id).into()),
    }
}

async fn served(session: &mut Session, ctx: &mut Ctx, body: &Value) -> Result<(), Stop> {
    let head = head(200, ctx)?;
    json(session, ctx, head, body.to_string().into_bytes()).await?;
    ctx.record.outcome = Outcome::Ok;
    Ok(())
}

fn openai(id: &str, loaded_at: SystemTime) -> Value {
    let created = loaded_at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    json!({ "id": id, "object": "model", "created": created, "owned_by": "tollgate" })
}

fn anthropic(id: &str, loaded_at: SystemTime) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": timestamp(loaded_at).to_string(),
        "lifecycle": "active",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn page(query: &str) -> (Vec<&'static str>, bool) {
        let page = Page::of(Some(query)).unwrap();
        let (shown, more) = page.cut(&ALL);
        (shown.to_vec(), more)
    }

    #[test]
    fn pages_go_both_ways() {
        for (query, shown, more) in [
            ("", &ALL[..], false),
            ("beta=true", &ALL[..], false),
            ("limit=2", &["a", "b"][..], true),
            ("limit=2&after_id=b", &["c", "d"][..], true),
            ("limit=2&after_id=c", &["d", "e"][..], false),
            ("after_id=bb", &["c", "d", "e"][..], false),
            ("after_id=e", &[][..], false),
            ("limit=2&before_id=e", &["c", "d"][..], true),
            ("limit=2&before_id=c", &["a", "b"][..], false),
            ("before_id=%61", &[][..], false),
        ] {
            assert_eq!(page(query), (shown.to_vec(), more), "{query}");
        }
    }

    #[test]
    fn a_wrong_page_is_refused_by_name() {
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=ten", "limit"),
            ("after_id=%zz", "after_id"),
            ("after_id=a&before_id=b", "before_id"),
        ] {
            let error = Page::of(Some(query)).unwrap_err();
            assert_eq!(
                (error.status(), error.param()),
                (400, Some(param)),
                "{query}"
            );
        }
    }
}
