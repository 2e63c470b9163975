//! What the operator is shown: a line a row, or one JSON object.

use super::fault::Fault;
use super::judge::Verdict;
use super::policy::Policy;
use super::provider::Seen;
use crate::config::OnBreak;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// One drilled fault.
#[derive(Debug, Clone)]
pub struct Line {
    pub name: String,
    pub verdict: Verdict,
    pub seen: Seen,
}

/// The whole drill.
#[derive(Debug, Clone)]
pub struct Scorecard {
    pub route: String,
    pub policy: Policy,
    pub lines: Vec<Line>,
}

impl Scorecard {
    /// Rows that went as they had to.
    pub fn passed(&self) -> usize {
        let good = self.lines.iter().filter(|line| line.verdict.why.is_none());
        good.count()
    }

    pub fn all_passed(&self) -> bool {
        self.passed() == self.lines.len()
    }

    /// Attempts that the provider saw, for each request of a client.
    fn attempts(&self) -> (usize, f64) {
        let all = self.lines.iter().map(|line| line.seen);
        let total: usize = all
            .map(|seen| seen.primary.saturating_add(seen.fallback))
            .sum();
        (total, total as f64 / self.lines.len().max(1) as f64)
    }

    /// What the route's own settings keep a drill from showing.
    fn notes(&self) -> Vec<String> {
        let policy = &self.policy;
        let mut notes = Vec::new();
        if policy.alone() {
            notes.push(
                "the route has one target and nobody else to ask: an honest error is expected \
                 where others would have answered"
                    .to_owned(),
            );
        } else if !policy.on_error {
            notes.push("nobody else is asked after an error: on_error is empty".to_owned());
        }
        if policy.deadline < policy.own {
            notes.push(format!(
                "drilled with a deadline of {}; the route's own is {} (--deadline)",
                shown(policy.deadline),
                shown(policy.own)
            ));
        }
        let own = &policy.timeouts;
        let late = |fault| policy.on_error && !policy.leaves_time(fault);
        if late(Fault::Silence) {
            notes.push(format!(
                "first_byte ({}) is too long for the deadline to ask somebody else after a \
                 silence: a 504 passes there",
                shown(own.first_byte)
            ));
        } else if late(Fault::CommentsOnly) {
            notes.push(format!(
                "first_byte and first_token ({}) are too long for the deadline to ask somebody \
                 else after an answer without content: a 504 passes there",
                shown(own.first_byte + own.first_token)
            ));
        }
        notes
    }

    /// The lines, aligned.
    pub fn text(&self) -> String {
        let mut text = format!("route {}: {}\n", self.route, limits(&self.policy));
        for note in self.notes() {
            let _ = writeln!(text, "note: {note}");
        }
        text.push('\n');
        let width = |of: fn(&Line) -> usize| self.lines.iter().map(of).max().unwrap_or(0);
        let names = width(|line| line.name.len());
        let came = width(|line| line.verdict.came.len());
        for line in &self.lines {
            let verdict = &line.verdict;
            let mark = if verdict.why.is_none() {
                "ok  "
            } else {
                "FAIL"
            };
            let _ = write!(
                text,
                "{mark}  {:names$}  {:came$}  {:>6} ms",
                line.name,
                verdict.came,
                verdict.took.as_millis()
            );
            if let Some(why) = &verdict.why {
                let _ = write!(text, "  {why}");
            }
            text.push('\n');
        }
        let (attempts, each) = self.attempts();
        let (all, passed) = (self.lines.len(), self.passed());
        let failed = all.saturating_sub(passed);
        let _ = writeln!(
            text,
            "\n{all} rows: {passed} ok, {failed} FAIL; the provider saw {attempts} attempts, \
             {each:.2} per client request"
        );
        text
    }

    /// The same as one JSON object. Times are in milliseconds.
    pub fn json(&self) -> Value {
        let (attempts, each) = self.attempts();
        let rows = self.lines.iter().map(|line| {
            json!({
                "name": line.name,
                "ok": line.verdict.why.is_none(),
                "came": line.verdict.came,
                "duration_ms": line.verdict.took.as_secs_f64() * 1000.0,
                "attempts": {"primary": line.seen.primary, "fallback": line.seen.fallback},
                "why": line.verdict.why,
            })
        });
        json!({
            "route": self.route,
            "deadline_ms": self.policy.deadline.as_secs_f64() * 1000.0,
            "limits": limits(&self.policy),
            "notes": self.notes(),
            "rows": rows.collect::<Vec<_>>(),
            "passed": self.passed(),
            "failed": self.lines.len().saturating_sub(self.passed()),
            "attempts": attempts,
            "attempts_per_request": each,
        })
    }
}

/// A time as the config writes it.
fn shown(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// The route's own limits, in a line.
fn limits(policy: &Policy) -> String {
    let own = &policy.timeouts;
    let on_break = match policy.on_break {
        OnBreak::Continue => "continue",
        OnBreak::Error => "error",
        OnBreak::Hold => "hold",
    };
    let covers = if policy.covers_answer {
        "answer"
    } else {
        "first_token"
    };
    format!(
        "deadline {} (covers {covers}), first_byte {}, first_token {}, idle {}, stall {}, \
         min_tokens_per_second {}, retries {}, on_break {on_break}",
        shown(policy.own),
        shown(own.first_byte),
        shown(own.first_token),
        shown(own.idle),
        shown(own.stall),
        own.min_tokens_per_second,
        policy.retries,
    )
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::policy;
    use super::*;

    fn line(name: &str, why: Option<&str>) -> Line {
        Line {
            name: name.to_owned(),
            verdict: Verdict {
                came: "200 by primary, 1 attempt".to_owned(),
                why: why.map(str::to_owned),
                took: Duration::from_millis(12),
            },
            seen: Seen {
                primary: 1,
                fallback: 1,
            },
        }
    }

    fn card(route: &str) -> Scorecard {
        Scorecard {
            route: "m".to_owned(),
            policy: policy(route),
            lines: vec![line("a", None), line("longer", Some("it lied"))],
        }
    }

    #[test]
    fn lines_are_aligned_and_counted() {
        let card = card("fallbacks = [\"b/y\"]");
        let text = card.text();
        let wanted = [
            "ok    a       200 by primary, 1 attempt      12 ms\n",
            "FAIL  longer  200 by primary, 1 attempt      12 ms  it lied\n",
            "2 rows: 1 ok, 1 FAIL; the provider saw 4 attempts, 2.00 per client request\n",
            "first_byte 2s, first_token 2m, ",
            "note: drilled with a deadline of 30s; the route's own is 10m",
            "note: first_byte and first_token (2m 2s) are too long for the deadline",
        ];
        for part in wanted {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains("one target"), "{text}");
        assert!(!card.all_passed());
    }

    #[test]
    fn a_route_with_one_target_is_told_so() {
        assert!(card("").text().contains("note: the route has one target"));
    }

    #[test]
    fn the_object_says_the_same() {
        let json = card("").json();
        assert_eq!((&json["passed"], &json["failed"]), (&json!(1), &json!(1)));
        assert_eq!(json["rows"][1]["why"], "it lied");
        assert_eq!(json["attempts_per_request"], 2.0);
    }
}
