//! What is expected follows from the policy.

use super::super::policy::tests::policy;
use super::*;
use crate::config::is_plain;
use std::collections::BTreeSet;

const TOLERANCE: Duration = Duration::from_millis(100);

const SHORT: &str =
    "timeouts = { first_byte = \"1s\", first_token = \"1s\", idle = \"1s\", stall = \"1s\" }\n";

fn come(route: &str, name: &str) -> Vec<Come> {
    of(route, name).come
}

fn of(route: &str, name: &str) -> Expected {
    let policy = policy(&format!("{SHORT}{route}"));
    let rows = rows(&policy);
    let row = rows.iter().find(|row| row.name == name);
    expected(
        row.unwrap_or_else(|| panic!("no row {name}")),
        &policy,
        TOLERANCE,
    )
}

const BOTH: &str = "fallbacks = [\"b/y\"]\n";
const SAVED: [Come; 1] = [Come::Whole(By::Fallback)];
const SAME: [Come; 1] = [Come::Whole(By::Primary)];

#[test]
fn names_are_plain_and_each_stands_once() {
    let rows = rows(&policy(""));
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len());
    assert!(rows.len() > 40, "{} rows", rows.len());
    for name in names {
        assert!(is_plain(&format!("fallback-{name}")), "{name}");
    }
}

#[test]
fn what_fails_before_the_first_token_is_saved() {
    for name in [
        "refused-connection",
        "reset-before-head-streamed",
        "silence",
        "head-then-silence-streamed",
        "comments-only-streamed",
        "role-then-silence-streamed",
        "byte-drip-streamed",
        "500-always",
        "503-retry-after",
        "429-short",
        "429-long",
        "401",
        "402",
        "404",
        "html-200",
        "not-json-200",
        "truncated-body",
        "error-in-200",
        "error-first-streamed",
    ] {
        assert_eq!(come(BOTH, name), SAVED, "{name}");
    }
    for name in ["500-once", "500-once-streamed", "409-once"] {
        assert_eq!(come(BOTH, name), SAME, "{name}");
        assert_eq!(come(&format!("{BOTH}retries = 0"), name), SAVED, "{name}");
    }
    for name in ["healthy", "healthy-streamed", "no-done-streamed"] {
        assert_eq!(come(BOTH, name), SAME, "{name}");
    }
}

#[test]
fn with_nobody_else_an_error_is_honest() {
    assert_eq!(come("", "401"), [Come::Refused(&[502])]);
    assert_eq!(come("", "429-long"), [Come::Refused(&[429])]);
    assert_eq!(come("", "silence"), [OUT_OF_TIME]);
    assert_eq!(come("", "500-once"), SAME);
    assert!(come("", "429-short").contains(&Come::Whole(By::Primary)));
    // No time to wait for so long.
    let short = "deadline = \"1s\"";
    assert_eq!(come(short, "429-short"), [Come::Refused(&[429])]);
}

#[test]
fn each_kind_of_failure_has_its_own_fallbacks() {
    assert_eq!(come(BOTH, "content-policy"), [Come::Refused(&[400])]);
    let told = "on_content_policy = [\"b/y\"]\non_error = []\non_rate_limit = [\"b/y\"]";
    assert_eq!(come(told, "content-policy"), SAVED);
    assert_eq!(come(told, "401"), [Come::Refused(&[502])]);
    assert_eq!(come(told, "402"), SAVED);
    let perhaps = [Come::Whole(By::Fallback), Come::Refused(&[400])];
    assert_eq!(come(BOTH, "context-length"), perhaps);
    let nobody = format!("{BOTH}on_context_length = []");
    assert_eq!(come(&nobody, "context-length"), [Come::Refused(&[400])]);
}

#[test]
fn a_limit_that_leaves_no_time_excuses() {
    let late = format!("{BOTH}deadline = \"1200ms\"");
    let excused = [Come::Whole(By::Fallback), OUT_OF_TIME];
    assert_eq!(come(&late, "silence"), excused);
    // One that fails at once has no excuse.
    assert_eq!(come(&late, "500-always"), SAVED);
}

#[test]
fn a_break_is_told_continued_or_held_back() {
    let honest = [Come::Whole(By::Anyone), Come::Broken];
    let held = format!("{BOTH}on_break = \"hold\"");
    for name in [
        "cut-close-streamed",
        "stall-streamed",
        "tool-call-cut-streamed",
    ] {
        assert_eq!(come(BOTH, name), honest, "{name}");
        assert_eq!(come("", name), honest, "{name}");
        assert_eq!(come(&held, name), [Come::Whole(By::Anyone)], "{name}");
    }
    let hedged = format!("{BOTH}hedge = {{ after = \"1s\" }}");
    assert_eq!(come(&hedged, "silence"), [Come::Whole(By::Anyone)]);
    assert!(!come("on_break = \"hold\"", "cut-close-streamed").contains(&Come::Broken));
}

#[test]
fn a_pace_that_is_asked_for_has_to_be_kept() {
    let slow = "slow-tokens-streamed";
    assert_eq!(come(BOTH, slow), [Come::Whole(By::Anyone), Come::Broken]);
    let paced = policy(
        "fallbacks = [\"b/y\"]\ntimeouts = { min_tokens_per_second = 8.0, rate_window = \"2s\" }",
    );
    let rows = rows(&paced);
    let row = rows.iter().find(|row| row.name == slow).unwrap();
    let come = expected(row, &paced, TOLERANCE).come;
    assert_eq!(come, [Come::Whole(By::Fallback), Come::Broken]);
    let Fault::SlowTokens(pause) = row.fault else {
        panic!("{:?}", row.fault);
    };
    assert!(pause >= Duration::from_millis(500), "{pause:?}");
}

#[test]
fn the_deadline_covers_what_the_route_says() {
    let deadline = Duration::from_secs(30) + TOLERANCE;
    let stall = of(BOTH, "stall-streamed");
    assert_eq!(stall.first_by, deadline);
    assert_eq!(stall.all_by, deadline + Duration::from_secs(1));
    let whole = format!("{BOTH}deadline_covers = \"answer\"");
    assert_eq!(of(&whole, "stall-streamed").all_by, deadline);
}

#[test]
fn an_error_may_come_in_band_only_after_the_head() {
    assert!(!of(BOTH, "silence-streamed").told_in_stream);
    let early = format!("{BOTH}early_headers = true");
    assert!(of(&early, "silence-streamed").told_in_stream);
    assert!(!of(&early, "silence").told_in_stream);
}
