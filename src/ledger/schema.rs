//! The tables, and how a file of an older version becomes one of this.
//!
//! What happened stands in `intents`, `attempts`, `settlements`, `shares` and
//! `repricings`, to which rows are only ever added (until retention deletes
//! them, the oldest first). `rollups` are their sums by the hour of the intent;
//! they change in the same transaction, and stay. Whatever is asked is a sum,
//! so that a correction is one more row.
//!
//! `counts` has what limits need beside those sums, and stays with them;
//! `candidates` is of open intents alone.
//!
//! Names are kept once, in `names`; 0 stands for none. An hour has so many sums of
//! one key and no more; what comes then is summed up under `(other)`, and the hour
//! stands in `folded`. Times are microseconds
//! since 1970, durations microseconds, money micro-dollars.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// Marks a file as one of tollgate's: "tgld".
pub(super) const APPLICATION: i32 = 0x7467_6c64;

/// The version that this build reads and writes: one for each migration.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// What was used, in the order of [`super::book::usage`].
pub(super) const USAGE: [&str; 9] = [
    "prompt",
    "completion",
    "cached",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "audio_in",
    "audio_out",
    "images",
];

/// Each makes a file one version newer. A released one is never changed.
const MIGRATIONS: [&str; 4] = [FIRST, COUNTED, FOLDED, DECIDED];

const FIRST: &str = "
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- The tags of a request together, as a JSON object with sorted keys.
CREATE TABLE tag_sets (id INTEGER PRIMARY KEY, tags TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE tags (
    tag_set INTEGER NOT NULL REFERENCES tag_sets,
    name INTEGER NOT NULL REFERENCES names,
    value INTEGER NOT NULL REFERENCES names,
    PRIMARY KEY (tag_set, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_value ON tags (name, value, tag_set);

CREATE TABLE intents (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    request_crc INTEGER NOT NULL,
    key INTEGER NOT NULL,
    team INTEGER NOT NULL,
    user INTEGER NOT NULL,
    tags INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    route INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    bound INTEGER NOT NULL,
    input_bound INTEGER NOT NULL,
    output_bound INTEGER NOT NULL
) STRICT;
-- Both begin with the hour, so that what is written now touches few pages.
CREATE INDEX intents_by_user ON intents (hour, user);
CREATE INDEX intents_by_request ON intents (hour, request_crc);

CREATE TABLE attempts (
    id INTEGER NOT NULL REFERENCES intents,
    n INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    model INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    role INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    status INTEGER,
    duration INTEGER NOT NULL,
    first_token INTEGER,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    source INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    price INTEGER NOT NULL,
    PRIMARY KEY (id, n)
) STRICT, WITHOUT ROWID;

-- Usage and cost are those of who served; what others used is in shares.
CREATE TABLE settlements (
    id INTEGER PRIMARY KEY REFERENCES intents,
    outcome INTEGER NOT NULL,
    error INTEGER NOT NULL,
    status INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    first_byte INTEGER,
    provider INTEGER NOT NULL,
    model INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    source INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    unpriced INTEGER NOT NULL
) STRICT;

CREATE TABLE shares (
    id INTEGER NOT NULL REFERENCES settlements,
    provider INTEGER NOT NULL,
    model INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (id, provider, model)
) STRICT, WITHOUT ROWID;

-- What a later price makes of an attempt: the difference to before.
CREATE TABLE repricings (
    id INTEGER NOT NULL REFERENCES settlements,
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    time INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    model INTEGER NOT NULL,
    price INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollups (
    hour INTEGER NOT NULL,
    user INTEGER NOT NULL,
    key INTEGER NOT NULL,
    team INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    route INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    model INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    tags INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    images INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    recovered INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (hour, user, key, team, endpoint, route, provider, model, outcome, tags)
) STRICT, WITHOUT ROWID;

-- settled_through: every intent up to this id has its settlement.
-- latest: the latest time of any intent.
-- raw_from: of hours before this one, single entries may have been deleted.
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    settled_through INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    raw_from INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 0, 0, 0);
";

/// What limits count: see [`super::counts`].
const COUNTED: &str = "
-- Whom an intent may be sent to, as a JSON array of pairs of names; only while it
-- is open.
CREATE TABLE candidates (id INTEGER PRIMARY KEY, targets TEXT NOT NULL) STRICT;

-- What limits count and the sums of an hour do not show; see counts.rs. Stays
-- as roll-ups do.
CREATE TABLE counts (
    hour INTEGER NOT NULL,
    key INTEGER NOT NULL,
    team INTEGER NOT NULL,
    user INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    route INTEGER NOT NULL,
    targets TEXT NOT NULL,
    void INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    recovered INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (hour, key, team, user, endpoint, route, targets)
) STRICT, WITHOUT ROWID;
-- Of what was recovered before, nobody knows whose it was.
INSERT INTO counts SELECT hour, key, team, user, endpoint, route, '', 0, 0,
    sum(recovered), sum(prompt), sum(completion), sum(cost)
    FROM rollups WHERE recovered > 0 AND provider = 0
    GROUP BY hour, key, team, user, endpoint, route;
";

/// What clients make up is bounded: see [`super::rollups`] and [`super::names`].
const FOLDED: &str = "
-- Hours of which some sums stand under '(other)' instead of their own names.
CREATE TABLE folded (hour INTEGER PRIMARY KEY) STRICT;

-- hour: of what no sum has, the last hour with a single entry that has it. What
-- a sum has, and what the operator named, has none, and stays.
ALTER TABLE names ADD COLUMN hour INTEGER;
ALTER TABLE tag_sets ADD COLUMN hour INTEGER;
CREATE INDEX names_by_hour ON names (hour) WHERE hour IS NOT NULL;
CREATE INDEX tag_sets_by_hour ON tag_sets (hour) WHERE hour IS NOT NULL;
-- Whoever deletes a name has to know that no tag has it.
CREATE INDEX tags_of_value ON tags (value);
";

/// Why requests went where they went. Deleted with their single entries.
const DECIDED: &str = "
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY REFERENCES intents,
    rule TEXT,
    reason TEXT NOT NULL,
    features TEXT NOT NULL
) STRICT;
";

/// Makes the file one of this version, a transaction for each step.
///
/// # Errors
/// SQLite's; the file is then as before.
pub(super) fn migrate(connection: &Connection, found: usize) -> rusqlite::Result<()> {
    migrate_to(connection, found, VERSION)
}

/// The same, to any version.
pub(super) fn migrate_to(
    connection: &Connection,
    found: usize,
    wanted: usize,
) -> rusqlite::Result<()> {
    let steps = MIGRATIONS.iter().enumerate().take(wanted);
    for (at, migration) in steps.skip(found) {
        let version = at + 1;
        let change = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        // Somebody else may have been first: a command beside a gateway.
        let reached: i64 = change.query_row("PRAGMA user_version", (), |row| row.get(0))?;
        if usize::try_from(reached).is_ok_and(|reached| reached < version) {
            change.execute_batch(&format!(
                "{migration}
                 PRAGMA application_id = {APPLICATION};
                 PRAGMA user_version = {version};"
            ))?;
        }
        change.commit()?;
    }
    Ok(())
}
