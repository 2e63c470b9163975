//! What was written is what is answered, whichever way the sums are made.

use super::*;
use crate::ledger::book::HOUR;
use std::collections::BTreeMap;

const MINUTE: Duration = Duration::from_secs(60);

/// Six hours of entries, one each minute from 10:00 on, of three users in turn;
/// every tenth in another feature.
async fn six_hours(file: &Path) {
    let (ledger, _) = Ledger::open(settings(file)).unwrap();
    for minute in 0..360u32 {
        let id = ledger.next_id();
        let mut begun = intent(id, TEN.plus(MINUTE * minute));
        begun.user = Some(format!("user {}", minute % 3).into());
        if minute % 10 == 0 {
            let tags = [("feature".to_owned(), "search".to_owned())];
            begun.tags = Arc::new(BTreeMap::from(tags));
            begun.endpoint = "chat_completions";
        }
        ledger.begin(begun, Need::Buffered).await.unwrap();
        let mut settled = settlement(id);
        settled.cost = MicroUsd(u64::from(minute));
        settled.attempts[0].cost = settled.cost;
        if minute % 90 == 0 {
            settled.source = UsageSource::Estimated;
            settled.outcome = "truncated";
        }
        ledger.settle(settled);
        if minute % 50 == 0 {
            ledger.flush().await.unwrap();
        }
    }
    drop(ledger);
}

fn ask(file: &Path, question: &Question) -> Vec<Row> {
    let reader = Reader::open(file).unwrap();
    let answer = reader.view().ask(question).unwrap();
    assert!(!answer.is_widened);
    answer.rows
}

/// Those of the minutes that are so.
fn sum(minutes: impl Iterator<Item = u32>) -> (u64, u64) {
    minutes.fold((0, 0), |(count, cost), minute| {
        (count + 1, cost + u64::from(minute))
    })
}

#[tokio::test]
async fn sums_are_exact_wherever_a_stretch_begins_and_ends() {
    let scratch = Scratch::new();
    let file = scratch.file();
    six_hours(&file).await;
    let ends = [0, 1, 59, 60, 61, 75, 119, 120, 200, 359, 360, 500];
    for since in ends {
        for until in ends.map(Some).into_iter().chain([None]) {
            for user in [None, Some(1), Some(7)] {
                let question = Question {
                    since: TEN.plus(MINUTE * since),
                    until: until.map(|until| TEN.plus(MINUTE * until)),
                    of: Filter {
                        user: user.map(|user| format!("user {user}")),
                        ..Filter::default()
                    },
                    by: Vec::new(),
                };
                let rows = ask(&file, &question);
                let expected = sum((0..360).filter(|minute| {
                    *minute >= since
                        && until.is_none_or(|until| *minute < until)
                        && user.is_none_or(|user| minute % 3 == user)
                }));
                let row = &rows[0];
                let found = (row.requests, row.cost.0);
                assert_eq!(found, expected, "{since} {until:?} {user:?}");
                assert_eq!(row.usage.prompt, 40 * expected.0);
            }
        }
    }
}

#[tokio::test]
async fn rows_are_by_what_was_asked_and_only_of_what_was_asked() {
    let scratch = Scratch::new();
    let file = scratch.file();
    six_hours(&file).await;
    let mut question = Question {
        since: TEN.plus(MINUTE * 30),
        by: vec![By::User, By::Tag("feature".to_owned())],
        ..Question::default()
    };
    let rows = ask(&file, &question);
    assert_eq!(rows.len(), 6);
    let text = |text: &str| Some(text.to_owned());
    let searched = rows
        .iter()
        .find(|row| row.by == [text("user 1"), text("search")])
        .unwrap();
    let expected = sum((30..360).filter(|minute| minute % 3 == 1 && minute % 10 == 0));
    assert_eq!((searched.requests, searched.cost.0), expected);
    assert!(rows.windows(2).all(|pair| pair[0].cost >= pair[1].cost));
    question.by = vec![By::Hour];
    question.of.tags = BTreeMap::from([("feature".to_owned(), "search".to_owned())]);
    question.of.endpoint = text("chat_completions");
    let rows = ask(&file, &question);
    let counts: Vec<_> = rows
        .iter()
        .map(|row| (row.by[0].clone().unwrap(), row.requests))
        .collect();
    assert_eq!(counts[0], ("2026-11-01T10:00:00Z".to_owned(), 3));
    assert_eq!(counts[5], ("2026-11-01T15:00:00Z".to_owned(), 6));
    question.of = Filter {
        outcome: text("truncated"),
        ..Filter::default()
    };
    question.by = vec![
        By::Day,
        By::Provider,
        By::Key,
        By::Team,
        By::Route,
        By::Model,
    ];
    let rows = ask(&file, &question);
    assert_eq!((rows[0].requests, rows[0].estimated), (3, 3));
    assert_eq!(rows[0].by[..2], [text("2026-11-01"), text("openai")]);
    question.of.outcome = text("no such outcome");
    assert_eq!(ask(&file, &question), []);
}

#[tokio::test]
async fn a_ledger_answers_while_it_is_written_also_in_memory() {
    let scratch = Scratch::new();
    for path in [scratch.file(), MEMORY.into()] {
        let (ledger, _) = Ledger::open(settings(path)).unwrap();
        ledger.begin(intent(1, TEN), Need::Durable).await.unwrap();
        ledger.settle(settlement(1));
        ledger.flush().await.unwrap();
        let answer = ledger.read(|view| view.ask(&Question::default())).unwrap();
        assert_eq!(answer.rows[0].cost, MicroUsd(700));
        ledger.close(Duration::from_secs(10)).unwrap();
        assert!(ledger.flush().await.is_err());
    }
}

#[tokio::test]
async fn the_story_of_a_request_has_all_of_it() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    let used = Usage {
        prompt: 10,
        ..Usage::default()
    };
    for (id, hours) in [(1, 0), (2, 5), (3, 9)] {
        let mut begun = intent(id, TEN.plus(MINUTE * 60 * hours));
        begun.request_id = "mine".into();
        begun.decided = (id == 2).then(|| Decided {
            rule: Some("code".into()),
            reason: "rule=code".into(),
            features: r#"{"stream":true}"#.into(),
        });
        ledger.begin(begun, Need::Durable).await.unwrap();
        if id != 3 {
            let mut settled = settlement(id);
            settled.attempts = vec![attempt("other", used, 100), attempt("openai", used, 600)];
            ledger.settle(settled);
        }
    }
    ledger.flush().await.unwrap();
    let stories = ledger.read(|view| view.stories("mine")).unwrap();
    assert_eq!(stories.len(), 3);
    assert_eq!(stories[0]["settled"], serde_json::Value::Null);
    let story = &stories[1];
    assert_eq!(story["time"], "2026-11-01T15:00:00Z");
    assert_eq!(story["settled"]["cost_usd"], "0.000700");
    assert_eq!(story["settled"]["usage"]["input_tokens"], 40);
    assert_eq!(story["settled"]["first_byte_ms"], 80.0);
    assert_eq!(story["attempts"][0]["provider"], "other");
    assert_eq!(story["attempts"][1]["cost_usd"], "0.000600");
    assert_eq!(story["bound"]["cost_usd"], "0.001000");
    assert_eq!(story["decision"]["rule"], "code");
    assert_eq!(story["decision"]["features"]["stream"], true);
    assert_eq!(stories[0]["decision"], serde_json::Value::Null);
    let none = ledger.read(|view| view.stories("yours")).unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn a_file_of_any_older_version_is_read_and_goes_on() {
    for version in 1..schema::VERSION {
        let scratch = Scratch::new();
        let file = scratch.file();
        let old = Connection::open(&file).unwrap();
        old.pragma_update(None, "journal_mode", "wal").unwrap();
        schema::migrate_to(&old, 0, version).unwrap();
        let hour = i64::try_from(TEN.0 / HOUR).unwrap();
        old.execute_batch(&format!(
            "INSERT INTO names (id, name) VALUES (1, 'search'), (2, '8473'), (3, 'embeddings'),
                 (4, 'fast'), (5, 'openai'), (6, 'small'), (7, 'ok');
             INSERT INTO intents (id, time, hour, request_id, request_crc, key, team, user, tags,
                 endpoint, route, asked, stream, request_bytes, bound, input_bound, output_bound)
                 VALUES (1, {}, {hour}, 'mine', {}, 1, 0, 2, 0, 3, 4, 4, 0, 9, 700, 1, 1);
             INSERT INTO settlements (id, outcome, error, status, duration, provider, model, prompt,
                 completion, cached, cache_write, cache_write_1h, reasoning, audio_in, audio_out,
                 images, source, cost, unpriced)
                 VALUES (1, 7, 0, 200, 5, 5, 6, 40, 0, 0, 0, 0, 0, 0, 0, 0, 1, 700, 0);
             INSERT INTO rollups (hour, user, key, team, endpoint, route, provider, model, outcome,
                 tags, requests, prompt, completion, cached, cache_write, cache_write_1h, reasoning,
                 audio_in, audio_out, images, cost, estimated, recovered, unpriced)
                 VALUES ({hour}, 2, 1, 0, 3, 4, 5, 6, 7, 0, 1, 40, 0, 0, 0, 0, 0, 0, 0, 0, 700, 0, 0, 0);
             UPDATE state SET settled_through = 1, latest = {0};",
            TEN.0,
            crc32fast::hash(b"mine"),
        ))
        .unwrap();
        drop(old);
        let cost = || {
            let reader = Reader::open(&file).unwrap();
            let everything = Question {
                since: Moment(0),
                until: None,
                of: Filter::default(),
                by: Vec::new(),
            };
            let answer = reader.view().ask(&everything).unwrap();
            let stories = reader.view().stories("mine").unwrap();
            assert_eq!(stories.len(), 1, "version {version}");
            answer.rows[0].cost.0
        };
        assert_eq!(cost(), 700, "version {version}");
        let (ledger, recovery) = Ledger::open(settings(&file)).unwrap();
        assert_eq!(recovery.recovered, 0);
        let id = ledger.next_id();
        ledger.begin(intent(id, TEN), Need::Durable).await.unwrap();
        ledger.settle(settlement(id));
        ledger.flush().await.unwrap();
        drop(ledger);
        assert_eq!(cost(), 1_400, "version {version}");
        let found = number(&file, "PRAGMA user_version");
        assert_eq!(usize::try_from(found), Ok(schema::VERSION));
    }
}

#[tokio::test]
async fn keys_that_were_made_first_leave_it_a_ledger() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let keys = Connection::open(&file).unwrap();
    keys.execute_batch("CREATE TABLE runtime_keys (name TEXT PRIMARY KEY)")
        .unwrap();
    let (ledger, _) = Ledger::open(settings(&file)).unwrap();
    ledger.begin(intent(1, TEN), Need::Durable).await.unwrap();
}
