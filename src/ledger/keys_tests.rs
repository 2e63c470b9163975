use super::*;
use crate::identity::{KeyRing, RuntimeKeys};
use std::path::PathBuf;

/// A place of its own for each test, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("tollgate-keys-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("tollgate.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000)
}

fn order(name: &str) -> Order {
    Order {
        name: name.to_owned(),
        expires: None,
        rights: Rights::default(),
    }
}

fn opens(ring: &KeyRing, key: &str, now: u64) -> bool {
    ring.find(key.as_bytes(), at(now)).is_some()
}

#[test]
fn what_was_made_is_read_as_it_was_ordered() {
    let place = Place::new("made");
    let order = Order {
        name: "search.v1".to_owned(),
        expires: Some(at(100)),
        rights: Rights {
            team: Some("t\u{e4}m".to_owned()),
            models: vec!["fast".to_owned(), "a \"b\\*".to_owned()],
            routes: vec!["fast".to_owned()],
            endpoints: vec!["chat_completions".to_owned()],
            direct: true,
            priority: identity::Priority::Batch,
            limits: vec![
                "10 usd / month".parse().unwrap(),
                "8 concurrent".parse().unwrap(),
            ],
            metadata: [("feature".to_owned(), "search".to_owned())].into(),
        },
    };
    let mut store = Store::open(&place.file()).unwrap();
    let made = store.create(&order, Actor::Cli, at(1)).unwrap();
    let listed = read_file(&place.file()).unwrap();
    let [record] = &listed.records[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(record.rights, order.rights);
    assert_eq!((record.created, record.expires), (at(1), Some(at(100))));
    let digest = identity::digest(made.key.as_bytes());
    assert_eq!(record.digests, [(digest, None)]);
    assert_eq!(record.state(at(99)), "active");
    assert_eq!(record.state(at(100)), "expired");
    let who = listed.in_force().next().unwrap().principal;
    assert_eq!(
        (&*who.name, who.team.as_deref()),
        ("search.v1", Some("t\u{e4}m"))
    );
    assert!(who.may_use("fast") && who.direct && !who.may_call("embeddings"));
}

#[test]
fn the_key_is_nowhere_in_the_files_and_only_the_owner_reads_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new("rest");
    let mut store = Store::open(&place.file()).unwrap();
    let made = store.create(&order("a"), Actor::Cli, at(1)).unwrap();
    let second = store
        .rotate("a", Duration::ZERO, Actor::Cli, at(2))
        .unwrap();
    assert!(!format!("{made:?}").contains(&*made.key));
    let mut files = 0;
    for entry in std::fs::read_dir(&place.0).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for key in [&made.key, &second.key] {
            // Without its prefix too, which is no secret.
            let secret = key.trim_start_matches("tg-").as_bytes();
            let found = bytes.windows(secret.len()).any(|part| part == secret);
            assert!(!found, "{}", path.display());
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        files += 1;
    }
    assert!(files >= 2, "the write-ahead log was not looked at");
}

#[test]
fn a_name_is_given_once() {
    let place = Place::new("once");
    let mut store = Store::open(&place.file()).unwrap();
    store.create(&order("a"), Actor::Cli, at(1)).unwrap();
    let again = store.create(&order("a"), Actor::Cli, at(2));
    assert!(matches!(again, Err(Refused::Taken(name)) if name == "a"));
    store.revoke("a", Actor::Cli, at(3)).unwrap();
    store.revoke("a", Actor::Cli, at(4)).unwrap();
    let again = store.create(&order("a"), Actor::Cli, at(5));
    assert!(matches!(again, Err(Refused::Taken(_))));
    let rotated = store.rotate("a", Duration::ZERO, Actor::Cli, at(6));
    assert!(matches!(rotated, Err(Refused::Revoked(_))));
    let unknown = store.revoke("b", Actor::Cli, at(7));
    assert!(matches!(unknown, Err(Refused::Unknown(_))));
    let listed = store.list().unwrap();
    assert_eq!(
        listed.records[0].revoked,
        Some(at(3)),
        "the first time counts"
    );
    assert_eq!(listed.in_force().count(), 0);
}

#[test]
fn of_many_who_make_a_key_of_one_name_at_once_one_does() {
    for round in 0..20 {
        race(&format!("race-{round}"));
    }
}

fn race(name: &str) {
    let place = Place::new(name);
    let start = std::sync::Barrier::new(8);
    let made: Vec<_> = std::thread::scope(|scope| {
        let one = || {
            start.wait();
            // Each makes the file and its tables too, if it is the first.
            Store::open(&place.file())?.create(&order("a"), Actor::Cli, at(1))
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let refused = |one: &Result<Made, Refused>| matches!(one, Err(Refused::Taken(_)));
    let told = format!("{made:?}");
    assert_eq!(made.iter().filter(|one| one.is_ok()).count(), 1, "{told}");
    assert_eq!(made.iter().filter(|one| refused(one)).count(), 7, "{told}");
    assert_eq!(
        read_file(&place.file()).unwrap().records[0].digests.len(),
        1
    );
}

#[test]
fn a_rotated_key_has_two_keys_for_a_time_and_then_one() {
    let place = Place::new("rotated");
    let ring = KeyRing::default();
    let live = Live::new(place.file(), Arc::clone(ring.runtime()));
    let overlap = Duration::from_secs(10);
    let first = live
        .change(|s| s.create(&order("a"), Actor::Cli, at(1)))
        .unwrap();
    let second = live
        .change(|s| s.rotate("a", overlap, Actor::Cli, at(2)))
        .unwrap();
    assert_eq!(second.old_until, Some(at(12)));
    assert!(opens(&ring, &first.key, 11) && opens(&ring, &second.key, 11));
    assert!(!opens(&ring, &first.key, 12) && opens(&ring, &second.key, 12));
    // A longer overlap later does not prolong the first one.
    let year = Duration::from_secs(1_000_000);
    let third = live
        .change(|s| s.rotate("a", year, Actor::Cli, at(3)))
        .unwrap();
    assert!(!opens(&ring, &first.key, 12));
    assert!(opens(&ring, &second.key, 12) && opens(&ring, &third.key, 12));
    // None at all ends them all, at once.
    let last = live
        .change(|s| s.rotate("a", Duration::ZERO, Actor::Cli, at(5)))
        .unwrap();
    for old in [&first, &second, &third] {
        assert!(!opens(&ring, &old.key, 5));
    }
    assert!(opens(&ring, &last.key, 5));
    assert_eq!(live.list().unwrap().records[0].digests.len(), 1);
}

#[test]
fn an_expired_key_is_not_rotated() {
    let place = Place::new("expired");
    let mut store = Store::open(&place.file()).unwrap();
    let order = Order {
        expires: Some(at(10)),
        ..order("a")
    };
    store.create(&order, Actor::Cli, at(1)).unwrap();
    let late = store.rotate("a", Duration::ZERO, Actor::Cli, at(10));
    assert!(matches!(late, Err(Refused::Expired(_))));
    let past = store.create(
        &Order {
            name: "b".to_owned(),
            ..order
        },
        Actor::Cli,
        at(10),
    );
    assert!(matches!(past, Err(Refused::Invalid(_))));
}

#[test]
fn every_change_is_in_the_journal_and_stays_there() {
    let place = Place::new("journal");
    let mut store = Store::open(&place.file()).unwrap();
    store.create(&order("a"), Actor::Cli, at(1)).unwrap();
    store
        .rotate("a", Duration::from_secs(60), Actor::Admin, at(2))
        .unwrap();
    store.revoke("a", Actor::Admin, at(3)).unwrap();
    // What changes nothing is not a change.
    store.revoke("a", Actor::Admin, at(4)).unwrap();
    store.create(&order("a"), Actor::Admin, at(5)).unwrap_err();
    let mut statement = store
        .0
        .prepare("SELECT time, actor, action, name, detail FROM runtime_key_journal ORDER BY id")
        .unwrap();
    let lines: Vec<(i64, String, String, String, String)> = statement
        .query_map([], |row| row.try_into())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|(time, actor, action, name, _)| (*time, &**actor, &**action, &**name))
        .collect();
    assert_eq!(
        told,
        [
            (1_000_000, "cli", "create", "a"),
            (2_000_000, "admin", "rotate", "a"),
            (3_000_000, "admin", "revoke", "a"),
        ]
    );
    assert!(lines[0].4.contains("\"models\":[\"*\"]"));
    assert_eq!(lines[1].4, "{\"overlap_s\":60}");
    for touch in [
        "DELETE FROM runtime_key_journal",
        "UPDATE runtime_key_journal SET name = 'b'",
    ] {
        let error = store.0.execute(touch, []).unwrap_err();
        assert!(error.to_string().contains("only grows"), "{error}");
    }
}

#[test]
fn a_process_sees_what_another_does() {
    let place = Place::new("live");
    let ring = KeyRing::default();
    let live = Live::new(place.file(), Arc::clone(ring.runtime()));
    // Nobody has made a file yet: that is no failure, and none is made.
    assert_eq!(live.look().unwrap(), Change::None);
    assert!(!place.file().exists());
    let mut other = Store::open(&place.file()).unwrap();
    assert!(matches!(live.look().unwrap(), Change::Keys(listed) if listed.records.is_empty()));
    let made = other.create(&order("a"), Actor::Cli, at(1)).unwrap();
    assert!(!opens(&ring, &made.key, 1));
    assert!(matches!(live.look().unwrap(), Change::Keys(_)));
    assert!(opens(&ring, &made.key, 1));
    assert_eq!(live.look().unwrap(), Change::None);
    assert!(matches!(live.look_again().unwrap(), Change::Keys(_)));
    other.revoke("a", Actor::Cli, at(2)).unwrap();
    assert!(matches!(live.look().unwrap(), Change::Keys(_)));
    assert!(!opens(&ring, &made.key, 1));
}

#[test]
fn a_file_of_a_ledger_without_keys_has_none() {
    let place = Place::new("ledger");
    let connection = Connection::open(place.file()).unwrap();
    connection
        .execute_batch("CREATE TABLE entries (id INTEGER)")
        .unwrap();
    assert_eq!(read_file(&place.file()).unwrap(), Listed::default());
    let keys = Arc::new(RuntimeKeys::default());
    let live = Live::new(place.file(), keys);
    live.look().unwrap();
    assert_eq!(live.look().unwrap(), Change::None);
}

#[test]
fn the_known_keys_stay_while_the_file_cannot_be_read() {
    let place = Place::new("broken");
    let ring = KeyRing::default();
    let live = Live::new(place.file(), Arc::clone(ring.runtime()));
    let made = live
        .change(|s| s.create(&order("a"), Actor::Cli, at(1)))
        .unwrap();
    let aside = place.0.join("aside.db");
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_file(to);
        let connection = Connection::open(from).unwrap();
        connection
            .execute("VACUUM INTO ?1", [to.to_str().unwrap()])
            .unwrap();
    };
    copy(&place.file(), &aside);
    let gone = || {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(place.0.join(format!("tollgate.db{end}")));
        }
    };
    gone();
    assert!(matches!(live.look(), Err(Refused::File(_))));
    assert!(opens(&ring, &made.key, 1));
    std::fs::write(
        place.file(),
        "this is no database, whatever its name says. ".repeat(40),
    )
    .unwrap();
    assert!(matches!(live.look(), Err(Refused::Database(_))));
    assert!(opens(&ring, &made.key, 1));
    // Mended without a restart: another file in its place, with a revocation.
    gone();
    copy(&aside, &place.file());
    Store::open(&place.file())
        .unwrap()
        .revoke("a", Actor::Cli, at(2))
        .unwrap();
    assert!(matches!(live.look(), Ok(Change::Keys(_))));
    assert!(!opens(&ring, &made.key, 1));
}

#[test]
fn a_key_whose_rights_are_unreadable_opens_nothing_and_the_others_do() {
    let place = Place::new("damaged");
    let ring = KeyRing::default();
    let live = Live::new(place.file(), Arc::clone(ring.runtime()));
    let keys = ["a", "b", "c"].map(|name| {
        live.change(|s| s.create(&order(name), Actor::Cli, at(1)))
            .unwrap()
    });
    let connection = Connection::open(place.file()).unwrap();
    for damage in [
        "UPDATE runtime_keys SET limits = '[\"10 euro\"]' WHERE name = 'a'",
        "UPDATE runtime_keys SET models = 'all' WHERE name = 'c'",
    ] {
        connection.execute(damage, []).unwrap();
    }
    let Change::Keys(listed) = live.look_again().unwrap() else {
        panic!("nothing was read")
    };
    assert_eq!(listed.damaged, ["a", "c"]);
    let open = keys.each_ref().map(|made| opens(&ring, &made.key, 1));
    assert_eq!(open, [false, true, false]);
}

#[test]
fn orders_are_read_from_json() {
    let text = r#"{"name":"a","expires":"90d","team":"t","models":["fast"],"endpoints":["embeddings"],
        "limits":["10 usd / month"],"priority":"batch","metadata":{"feature":"search"}}"#;
    let order = Order::from_json(text.as_bytes(), at(0)).unwrap();
    assert_eq!(order.expires, Some(at(90 * 86_400)));
    assert_eq!(order.rights.routes, ["*"]);
    assert_eq!(order.rights.limits, ["10 usd / month".parse().unwrap()]);
    assert_eq!(order.rights.metadata["feature"], "search");
    for (text, why) in [
        ("", "body"),
        ("[]", "body"),
        ("{}", "name: is missing"),
        (r#"{"name":1}"#, "name: is not a string"),
        (r#"{"name":"a b"}"#, "name"),
        (r#"{"name":""}"#, "name"),
        (r#"{"name":"a","modells":["x"]}"#, "modells"),
        (r#"{"name":"a","models":[]}"#, "models"),
        (r#"{"name":"a","models":["a\nb"]}"#, "models"),
        (r#"{"name":"a","endpoints":["embedings"]}"#, "endpoints"),
        (r#"{"name":"a","limits":["10 euro"]}"#, "euro"),
        (r#"{"name":"a","team":""}"#, "team"),
        (r#"{"name":"a","metadata":{"a b":"c"}}"#, "metadata"),
        (r#"{"name":"a","expires":"soon"}"#, "expires"),
        (r#"{"name":"a","expires":"1969-12-31"}"#, "expires"),
        (r#"{"name":"a","priority":"urgent"}"#, "urgent"),
    ] {
        let refused = Order::from_json(text.as_bytes(), at(0)).unwrap_err();
        let told = refused.to_string();
        assert!(told.contains(why), "{text}: {told}");
    }
    let many = format!(r#"{{"name":"a","models":{:?}}}"#, vec!["m"; 65]);
    assert!(Order::from_json(many.as_bytes(), at(0)).is_err());
}

#[test]
fn times_are_read_as_people_write_them() {
    for (text, expected) in [
        ("90d", 90 * 86_400 + 7),
        ("12h", 12 * 3_600 + 7),
        ("1970-01-02", 86_400),
        ("1970-01-02T01:00:00Z", 86_400 + 3_600),
    ] {
        assert_eq!(expiry(text, at(7)).unwrap(), at(expected), "{text}");
    }
    for text in ["", "tomorrow", "1970-13-01", "90"] {
        assert!(expiry(text, at(7)).is_err(), "{text}");
    }
    assert_eq!(overlap("24h").unwrap(), Duration::from_secs(86_400));
    assert_eq!(overlap("0s").unwrap(), Duration::ZERO);
    assert!(overlap("2y").is_err() && overlap("-1s").is_err());
}
