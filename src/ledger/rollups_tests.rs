//! Keys whose clients make up names.

use crate::ledger::book::Book;
use crate::ledger::database::{self, Durability};
use crate::ledger::retention::Retention;
use crate::ledger::tests::{Scratch, TEN, intent, number, settlement};
use crate::ledger::{By, Filter, Horizon, Intent, Question, Reader, Row};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// Each entry with a user and a tag of its own, and as many with neither.
fn made_up(id: u64) -> Intent {
    let mut begun = intent(id, TEN.plus(Duration::from_secs(id)));
    begun.key = "greedy".into();
    begun.user = Some(format!("u{id}").into());
    begun.tags = Arc::new([("t".to_owned(), format!("v{id}"))].into());
    begun
}

/// Writes them in one transaction, where a key may have so many rows.
fn write(file: &Path, most: u32, entries: impl IntoIterator<Item = Intent>) {
    let connection = database::to_write(file, Durability::Process).unwrap();
    let mut book = Book::bounded(&connection, most).unwrap();
    book.transaction(|book| {
        for begun in entries {
            book.begin(&begun)?;
            let subject = book.subject(&begun)?;
            book.settle(&subject, &settlement(begun.id))?;
            book.state(begun.id, begun.time)?;
        }
        Ok(())
    })
    .unwrap();
}

fn ask(file: &Path, of: Filter, by: &[By]) -> Vec<Row> {
    let question = Question {
        of,
        by: by.to_vec(),
        ..Question::default()
    };
    let reader = Reader::open(file).unwrap();
    reader.view().ask(&question).unwrap().rows
}

fn of_user(user: &str) -> Filter {
    Filter {
        user: Some(user.to_owned()),
        ..Filter::default()
    }
}

fn delete_all(file: &Path) -> usize {
    let connection = database::to_write(file, Durability::Process).unwrap();
    let all = Retention {
        time: Some(Duration::ZERO),
        bytes: None,
    };
    let mut names = 0;
    loop {
        let step = all.step(&connection, TEN.plus(HOUR * 100)).unwrap();
        names += step.names;
        if step.entries + step.names == 0 {
            return names;
        }
    }
}

#[test]
fn a_key_adds_so_many_rows_to_an_hour_and_the_sums_stay_exact() {
    let scratch = Scratch::new();
    let file = scratch.file();
    write(&file, 10, (1..=100).map(made_up));
    // Another key has rows of its own, after and in the same hour.
    write(&file, 10, (101..=105).map(|id| intent(id, TEN)));
    let rows = |what: &str| {
        let join = "rollups r JOIN names k ON k.id = r.key WHERE k.name = 'greedy'";
        number(&file, &format!("SELECT {what} FROM {join}"))
    };
    // Ten with all, ten without tags, and one for all others.
    assert_eq!(rows("count(*)"), 21);
    assert_eq!(rows("sum(r.cost)"), 100 * 700);
    assert_eq!(rows("count(DISTINCT r.user)"), 21);
    assert_eq!(rows("count(DISTINCT r.tags)"), 11);
    assert_eq!(number(&file, "SELECT count(*) FROM folded"), 1);
    // The same ones come again, by another connection: no row is new.
    let again = (1..=100).map(|id| Intent {
        id: id + 200,
        ..made_up(id)
    });
    write(&file, 10, again);
    assert_eq!((rows("count(*)"), rows("sum(r.requests)")), (21, 200));
    // In another hour there is room.
    let later = (1..=10).map(|id| Intent {
        time: TEN.plus(HOUR),
        id: id + 400,
        ..made_up(id)
    });
    write(&file, 10, later);
    assert_eq!(rows("count(*)"), 31);
}

#[test]
fn users_are_told_apart_while_there_are_single_entries() {
    let scratch = Scratch::new();
    let file = scratch.file();
    write(&file, 10, (1..=100).map(made_up));
    let cost = |user: &str| ask(&file, of_user(user), &[])[0].cost.0;
    assert_eq!(["u1", "u15", "u99"].map(cost), [700; 3]);
    assert_eq!(ask(&file, Filter::default(), &[By::User]).len(), 100);
    let by_tag = [By::Tag("t".to_owned())];
    assert_eq!(ask(&file, Filter::default(), &by_tag).len(), 100);
    let told = || {
        let reader = Reader::open(&file).unwrap();
        let horizon = Horizon {
            mark: None,
            windows_from: TEN,
            fine_from: TEN.plus(HOUR * 5),
            grain: Duration::from_secs(60),
        };
        let mut all = Vec::new();
        reader.view().used(&horizon, |used| all.push(used)).unwrap();
        all
    };
    let users = |name: &str| {
        let all = told().into_iter();
        all.filter(|used| used.user.as_deref() == Some(name))
            .map(|used| used.cost.0)
            .sum::<u64>()
    };
    assert_eq!((users("u99"), users("(other)")), (700, 0));
    delete_all(&file);
    assert_eq!(["u1", "u15", "u99"].map(cost), [700, 700, 0]);
    assert_eq!(cost("(other)"), 80 * 700);
    let tags = ask(&file, Filter::default(), &by_tag);
    let other = tags
        .iter()
        .find(|row| row.by[0].as_deref() == Some("(other)"));
    assert_eq!((tags.len(), other.unwrap().cost.0), (11, 90 * 700));
    assert_eq!(
        told().iter().map(|used| used.cost.0).sum::<u64>(),
        100 * 700
    );
    assert_eq!((users("u99"), users("(other)")), (0, 80 * 700));
}

#[test]
fn names_go_with_the_last_entry_that_has_them() {
    let scratch = Scratch::new();
    let file = scratch.file();
    write(&file, 10, (1..=100).map(made_up));
    let count = |of: &str| number(&file, &format!("SELECT count(*) FROM {of}"));
    assert_eq!(count("names WHERE name LIKE 'u%'"), 100);
    assert_eq!(count("tag_sets"), 101);
    // Eighty users, and ninety sets of a value each.
    assert_eq!(delete_all(&file), 80 + 90 + 90);
    assert_eq!(count("names WHERE name LIKE 'u%'"), 20);
    assert_eq!(count("names WHERE name LIKE 'v%'"), 10);
    assert_eq!((count("tag_sets"), count("tags")), (11, 11));
    // What is written next finds or makes what it needs.
    write(
        &file,
        10,
        [
            made_up(101),
            Intent {
                id: 102,
                ..made_up(99)
            },
        ],
    );
    assert_eq!(ask(&file, of_user("u5"), &[])[0].requests, 1);
    let unnamed = "rollups WHERE user NOT IN (SELECT id FROM names) \
         OR model NOT IN (SELECT id FROM names) OR tags NOT IN (SELECT id FROM tag_sets)";
    assert_eq!(count(unnamed), 0);
    let unnamed = "intents WHERE user NOT IN (SELECT id FROM names) \
         OR asked NOT IN (SELECT id FROM names) OR tags NOT IN (SELECT id FROM tag_sets)";
    assert_eq!(count(unnamed), 0);
}

#[test]
fn models_that_clients_make_up_are_bounded_too() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let connection = database::to_write(&file, Durability::Process).unwrap();
    let mut book = Book::bounded(&connection, 10).unwrap();
    book.transaction(|book| {
        for id in 1..=100 {
            let begun = intent(id, TEN);
            book.begin(&begun)?;
            let mut settled = settlement(id);
            settled.model = Some(format!("m{id}").into());
            settled.attempts.clear();
            let subject = book.subject(&begun)?;
            book.settle(&subject, &settled)?;
        }
        book.state(100, TEN)
    })
    .unwrap();
    assert_eq!(number(&file, "SELECT count(*) FROM rollups"), 31);
    assert_eq!(number(&file, "SELECT sum(cost) FROM rollups"), 100 * 700);
    assert_eq!(ask(&file, Filter::default(), &[By::Model]).len(), 100);
}
