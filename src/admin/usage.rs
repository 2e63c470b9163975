//! `GET /usage` and `GET /requests/{id}`: what was used, and one request's whole
//! story, from the ledger.
//!
//! They name end users. Where the config has an admin token they need it, as
//! keys do; without one they are as open as the rest of this listener.

use super::keys::{answer, refuse};
use crate::ledger::{AskError, By, Filter, Ledger, Question};
use crate::units::Moment;
use http::Response;
use serde_json::json;
use std::borrow::Cow;
use std::time::Duration;

type Answer = Response<Vec<u8>>;

/// What is asked of the ledger.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    Usage(Box<Question>),
    Request(String),
}

impl Asked {
    /// `None` when the path asks nothing of the ledger.
    ///
    /// # Errors
    /// What is wrong with the question, as an answer.
    pub fn of(path: &str, query: Option<&str>, now: Moment) -> Option<Result<Self, Box<Answer>>> {
        if path == "/usage" {
            let asked = question(query.unwrap_or_default(), now);
            let refused = |text: String| Box::new(refuse(400, "invalid_request", &text));
            return Some(asked.map(|q| Self::Usage(Box::new(q))).map_err(refused));
        }
        let id = path.strip_prefix("/requests/")?;
        let id = form_urlencoded::parse(id.as_bytes()).next();
        let id = id.map(|(id, _)| id.into_owned()).unwrap_or_default();
        Some(Ok(Self::Request(id)))
    }

    /// Asks. Blocks for as long as it reads.
    pub fn ask(self, ledger: &Ledger) -> Answer {
        match self {
            Self::Usage(question) => {
                let by = question.by.clone();
                match ledger.read(move |view| view.ask(&question)) {
                    Ok(found) => answer(200, &found.json(&by)),
                    Err(error) => unavailable(&error),
                }
            }
            Self::Request(id) => {
                let asked = id.clone();
                match ledger.read(move |view| view.stories(&asked)) {
                    Ok(stories) if stories.is_empty() => {
                        refuse(404, "request_not_found", "the ledger has no such request")
                    }
                    Ok(stories) => answer(200, &json!({ "request_id": id, "requests": stories })),
                    Err(error) => unavailable(&error),
                }
            }
        }
    }
}

fn unavailable(error: &AskError) -> Answer {
    let reason = error.to_string();
    log::error!(reason = reason.as_str(); "the ledger cannot be read");
    refuse(503, "ledger_unavailable", &reason)
}

/// `since=1h&user=8473&endpoint=embeddings&tag=feature=search&by=user,model`.
fn question(query: &str, now: Moment) -> Result<Question, String> {
    let mut since = now.minus(Duration::from_secs(86_400));
    let (mut until, mut of, mut by) = (None, Filter::default(), Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let field = match &*name {
            "since" => {
                since = Moment::before(now, &value).map_err(|e| format!("since: {e}"))?;
                continue;
            }
            "until" => {
                until = Some(Moment::before(now, &value).map_err(|e| format!("until: {e}"))?);
                continue;
            }
            "by" => {
                for one in value.split(',') {
                    by.push(one.parse::<By>().map_err(|e| format!("by: {e}"))?);
                }
                continue;
            }
            "tag" => {
                let pair = value.split_once('=').filter(|(name, _)| !name.is_empty());
                let (name, value) = pair.ok_or("tag: expected NAME=VALUE")?;
                of.tags.insert(name.to_owned(), value.to_owned());
                continue;
            }
            "user" => &mut of.user,
            "key" => &mut of.key,
            "team" => &mut of.team,
            "endpoint" => &mut of.endpoint,
            "route" => &mut of.route,
            "provider" => &mut of.provider,
            "model" => &mut of.model,
            "outcome" => &mut of.outcome,
            other => return Err(unknown(other)),
        };
        *field = Some(Cow::into_owned(value));
    }
    Ok(Question {
        since,
        until,
        of,
        by,
    })
}

fn unknown(name: &str) -> String {
    let known = "since, until, by, user, key, team, endpoint, route, provider, model, outcome, tag";
    format!("{}: expected one of {known}", name.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(7_200_000_000);

    #[test]
    fn a_question_is_read_of_its_query() {
        let query = "user=8473&endpoint=embeddings&since=1h&by=user,tag:feature&tag=a%3Db%26c";
        let asked = question(query, NOW).unwrap();
        assert_eq!(asked.since, Moment(3_600_000_000));
        assert_eq!(asked.of.user.as_deref(), Some("8473"));
        assert_eq!(asked.of.endpoint.as_deref(), Some("embeddings"));
        assert_eq!(asked.of.tags["a"], "b&c");
        assert_eq!(asked.by, [By::User, By::Tag("feature".to_owned())]);
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        for (query, word) in [
            ("since=x", "since:"),
            ("by=x", "by:"),
            ("tag=x", "NAME=VALUE"),
            ("usr=1", "usr: expected one of"),
        ] {
            let said = question(query, NOW).unwrap_err();
            assert!(said.contains(word), "{query}: {said}");
        }
    }

    #[test]
    fn paths_of_the_ledger() {
        let of = |path| Asked::of(path, None, NOW).map(|asked| asked.map_err(|_| ()));
        assert_eq!(of("/status"), None);
        let id = Asked::Request("req a".to_owned());
        assert_eq!(of("/requests/req%20a"), Some(Ok(id)));
    }
}
