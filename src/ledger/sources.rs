//! Where the sums of a stretch of time come from: whole hours from the
//! roll-ups, the rest from single entries.

use super::book::{HOUR, hour};
use super::rollups::sums;
use super::schema::USAGE;
use super::view::Hours;
use crate::units::Moment;

/// A stretch of time, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Hours from the first to before the second, by roll-ups.
    pub whole: Option<(i64, i64)>,
    /// Parts of one hour, by entry: the hour, from, until.
    pub parts: Vec<(i64, i64, i64)>,
    /// Of an hour at an end, single entries have been deleted: all of that hour
    /// is counted.
    pub is_widened: bool,
}

fn micros(hours: i64) -> i64 {
    hours.saturating_mul(HOUR as i64)
}

fn signed(time: Moment) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

impl Plan {
    /// From `since` to before `until`, where of hours before `raw_from` only
    /// roll-ups are left.
    pub fn new(since: Moment, until: Option<Moment>, raw_from: i64) -> Self {
        let mut plan = Self::default();
        let until = until.map_or(i64::MAX, signed);
        let since = signed(since);
        if since >= until {
            return plan;
        }
        let (mut first, mut last) = (
            since.div_ceil_hour(),
            if until == i64::MAX {
                i64::MAX
            } else {
                until.div_euclid(HOUR as i64)
            },
        );
        let mut part = |at: i64, from: i64, until: i64| {
            let is_left = at >= raw_from;
            if is_left {
                plan.parts.push((at, from, until));
            }
            plan.is_widened |= !is_left;
            is_left
        };
        if first > last {
            // Within one hour.
            if !part(last, since, until) {
                first = last;
                last += 1;
            }
        } else {
            if since < micros(first) && !part(first - 1, since, micros(first)) {
                first -= 1;
            }
            if until > micros(last) && until != i64::MAX && !part(last, micros(last), until) {
                last += 1;
            }
        }
        plan.whole = (first < last).then_some((first, last));
        plan
    }
}

trait InHours {
    fn div_ceil_hour(self) -> i64;
}

impl InHours for i64 {
    fn div_ceil_hour(self) -> i64 {
        let at = hour(Moment(self.unsigned_abs()));
        if micros(at) < self { at + 1 } else { at }
    }
}

/// Which names the rows have to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Detail {
    /// All: of an hour in which some are missing from the sums, single entries
    /// are read for as long as there are any.
    #[default]
    Names,
    /// None of users, models and tags.
    Sums,
}

/// What entries have to be, by the numbers of their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub detail: Detail,
    /// Of the intent: `key`, `team`, `endpoint`, `route`.
    pub intent: Vec<(&'static str, i64)>,
    pub user: Option<i64>,
    /// Of who served: `provider`, `model`.
    pub target: Vec<(&'static str, i64)>,
    pub outcome: Option<i64>,
    /// Names and values of tags.
    pub tags: Vec<(i64, i64)>,
}

impl Conditions {
    /// In SQL, beginning with `AND`, for tables that are called so.
    fn text(&self, intent: &str, target: &str, outcome: &str) -> String {
        let mut text = String::new();
        let mut add = |one: String| text.push_str(&format!(" AND {one}"));
        for (column, number) in &self.intent {
            add(format!("{intent}.{column} = {number}"));
        }
        if let Some(user) = self.user {
            add(format!("{intent}.user = {user}"));
        }
        for (column, number) in &self.target {
            add(format!("{target}.{column} = {number}"));
        }
        if let Some(number) = self.outcome {
            add(format!("{outcome}.outcome = {number}"));
        }
        for (name, value) in &self.tags {
            add(format!(
                "{intent}.tags IN (SELECT tag_set FROM tags WHERE name = {name} AND value = {value})"
            ));
        }
        text
    }
}

/// A SELECT of all that a plan is about: `time` (of whole hours their end),
/// `hour`, the numbers of names, and [`sums`]. `hours` are those that have
/// roll-ups. All that stands in it are numbers and names of this file.
pub(super) fn entries(plan: &Plan, hours: Option<Hours>, on: &Conditions) -> String {
    let whole = plan.whole.zip(hours);
    let (first, last, folded) = match (whole, on.detail) {
        (None, _) => (0, 0, Vec::new()),
        (Some(((first, last), hours)), detail) => {
            let (first, last) = (first.max(hours.first), last.min(hours.last + 1));
            let mut folded = hours.folded;
            folded.retain(|hour| detail == Detail::Names && (first..last).contains(hour));
            (first, last, folded)
        }
    };
    let folded: Vec<_> = folded.iter().map(i64::to_string).collect();
    let folded = folded.join(", ");
    // Also where it has no rows: it names the columns.
    let mut selects = vec![rolled_up(first, last, &folded, on)];
    for (hour, from, until) in &plan.parts {
        let is_in = match *until == i64::MAX {
            true => ">=",
            false => "=",
        };
        let of = format!("i.hour {is_in} {hour} AND i.time >= {from} AND i.time < {until}");
        selects.extend(raw("i.time", &of, on));
    }
    if !folded.is_empty() {
        let end = format!("(i.hour + 1) * {HOUR} - 1");
        selects.extend(raw(&end, &format!("i.hour IN ({folded})"), on));
    }
    selects.join(" UNION ALL ")
}

/// Without the hours that are `folded`.
fn rolled_up(first: i64, last: i64, folded: &str, on: &Conditions) -> String {
    let sums: Vec<_> = sums().iter().map(|sum| format!("r.{sum}")).collect();
    let conditions = on.text("r", "r", "r");
    // With a user, hour by hour: the key begins with both.
    let from = match on.user {
        Some(_) => format!(
            "(WITH RECURSIVE hours (h) AS (SELECT {first} UNION ALL SELECT h + 1 FROM hours \
             WHERE h + 1 < {last}) SELECT h FROM hours WHERE h < {last} AND h NOT IN ({folded})) \
             hours \
             CROSS JOIN rollups r WHERE r.hour = hours.h"
        ),
        None => format!(
            "rollups r WHERE r.hour >= {first} AND r.hour < {last} AND r.hour NOT IN ({folded})"
        ),
    };
    format!(
        "SELECT (r.hour + 1) * {HOUR} - 1 AS time, r.hour AS hour, r.user AS user, r.key AS key, \
         r.team AS team, r.endpoint AS endpoint, r.route AS route, r.provider AS provider, \
         r.model AS model, r.outcome AS outcome, r.tags AS tags, {} FROM {from}{conditions}",
        sums.join(", ")
    )
}

/// Settlements, what others used, and what later prices made of it.
fn raw(time: &str, of: &str, on: &Conditions) -> [String; 3] {
    let usage = |table: &str| USAGE.map(|column| format!("{table}.{column}")).join(", ");
    let settled = format!(
        "1, {}, s.cost, s.source = 2, s.source = 3, s.unpriced",
        usage("s")
    );
    let nothing = USAGE.map(|_| "0").join(", ");
    let select = |join: &str, target: &str, sums: &str| {
        let conditions = on.text("i", target, "s");
        format!(
            "SELECT {time}, i.hour, i.user, i.key, i.team, i.endpoint, i.route, \
             {target}.provider, {target}.model, s.outcome, i.tags, {sums} \
             FROM intents i CROSS JOIN settlements s ON s.id = i.id {join} \
             WHERE {of}{conditions}"
        )
    };
    [
        select("", "s", &settled),
        select(
            "CROSS JOIN shares o ON o.id = i.id",
            "o",
            &format!("0, {}, o.cost, 0, 0, 0", usage("o")),
        ),
        select(
            "CROSS JOIN repricings o ON o.id = i.id",
            "o",
            &format!("0, {nothing}, o.cost, 0, 0, o.unpriced"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: u64 = HOUR;

    #[test]
    fn whole_hours_are_rolled_up_and_their_ends_are_not() {
        let plan = |since: u64, until: Option<u64>, raw_from: i64| {
            Plan::new(Moment(since), until.map(Moment), raw_from)
        };
        let (h, half) = (H as i64, H as i64 / 2);
        let all = plan(0, None, 0);
        assert_eq!((all.whole, all.parts.len()), (Some((0, i64::MAX)), 0));
        let ends = plan(5 * H + H / 2, Some(8 * H + H / 2), 0);
        assert_eq!(ends.whole, Some((6, 8)));
        assert_eq!(
            ends.parts,
            [(5, 5 * h + half, 6 * h), (8, 8 * h, 8 * h + half)]
        );
        let two = plan(5 * H + H / 2, Some(6 * H + H / 2), 0);
        assert_eq!((two.whole, two.parts.len()), (None, 2));
        let inside = plan(5 * H + 1, Some(5 * H + 2), 0);
        assert_eq!(inside.parts, [(5, 5 * h + 1, 5 * h + 2)]);
        assert_eq!(plan(5 * H, Some(6 * H), 0).whole, Some((5, 6)));
        assert_eq!(plan(5 * H, Some(5 * H), 0), Plan::default());
        // Where entries are gone, the hour is counted as a whole.
        let widened = plan(5 * H + H / 2, Some(8 * H + H / 2), 8);
        assert!(widened.is_widened);
        assert_eq!((widened.whole, widened.parts.len()), (Some((5, 8)), 1));
        let widened = plan(5 * H + 1, Some(5 * H + 2), 9);
        assert_eq!((widened.whole, widened.parts.len()), (Some((5, 6)), 0));
    }
}
