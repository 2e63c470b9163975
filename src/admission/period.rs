//! Where a window's buckets begin, and until when they count. Pure arithmetic
//! on [`Moment`]s, in UTC; leap seconds are not counted, as nowhere in Unix time.
//!
//! - Rolling: a bucket is a sixtieth of the window. It counts in full until the
//!   whole window has passed since its end, so that no stretch of the window's
//!   length holds more than is counted. The price: what was used early in a
//!   bucket counts for up to a sixtieth longer than it would have to.
//! - Calendar: a bucket is the hour, day, ISO week or month itself.
//! - Total: one bucket, for ever.

use crate::units::{Calendar, Moment, Window};

const HOUR: u64 = 3_600_000_000;
const DAY: u64 = 24 * HOUR;

/// Buckets in a rolling window.
const PARTS: u64 = 60;

/// The bucket of a moment: since when it takes, in microseconds since 1970.
pub(super) fn start(window: Window, at: Moment) -> u64 {
    let Moment(at) = at;
    match window {
        Window::Rolling(_) => at - at % width(window),
        Window::Calendar(part) => begin(part, at),
        Window::Total => 0,
    }
}

/// The first moment at which the bucket that begins at `from` counts no more;
/// `None` when it counts for ever.
pub(super) fn end(window: Window, from: u64) -> Option<Moment> {
    match window {
        Window::Rolling(length) => Some(Moment(from.saturating_add(width(window))).plus(length)),
        Window::Calendar(part) => Some(Moment(next(part, from))),
        Window::Total => None,
    }
}

/// A bucket's length in a rolling window, in microseconds; never 0.
pub(super) fn width(window: Window) -> u64 {
    match window {
        Window::Rolling(length) => u64::try_from(length.as_micros())
            .unwrap_or(u64::MAX)
            .div_ceil(PARTS)
            .max(1),
        Window::Calendar(_) | Window::Total => 1,
    }
}

fn begin(part: Calendar, at: u64) -> u64 {
    let days = at / DAY;
    match part {
        Calendar::Hour => at - at % HOUR,
        Calendar::Day => days * DAY,
        // 1970-01-01 was a Thursday, three days after a Monday.
        Calendar::Week => days.saturating_sub((days + 3) % 7) * DAY,
        Calendar::Month => month(days).first * DAY,
    }
}

fn next(part: Calendar, from: u64) -> u64 {
    match part {
        Calendar::Hour => from.saturating_add(HOUR),
        Calendar::Day => from.saturating_add(DAY),
        Calendar::Week => {
            let days = from / DAY;
            (days + 7 - (days + 3) % 7).saturating_mul(DAY)
        }
        Calendar::Month => {
            let month = month(from / DAY);
            (month.first + month.days).saturating_mul(DAY)
        }
    }
}

/// A month of the Gregorian calendar: its first day, counted from 1970-01-01,
/// and how many it has.
struct Month {
    first: u64,
    days: u64,
}

/// The month of a day that is counted from 1970-01-01.
///
/// The calendar repeats every 146,097 days (400 years); a year that begins in
/// March has its leap day last, and its months go 31, 30, 31, 30, 31 by fives.
fn month(day: u64) -> Month {
    // Days from 0000-03-01 to 1970-01-01.
    let since_march_0 = day + 719_468;
    let of_era = since_march_0 % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // 0 is March, 11 is February.
    let index = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * index + 2) / 5;
    // The year in which the February falls that ends this one.
    let ends_in = year + 1;
    let divides = |by: u64| ends_in.is_multiple_of(by);
    let is_leap = divides(4) && (!divides(100) || divides(400));
    let days = match index {
        11 => 28 + u64::from(is_leap),
        1 | 3 | 6 | 8 => 30,
        _ => 31,
    };
    Month {
        first: day.saturating_sub(day_of_month),
        days,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn at(text: &str) -> Moment {
        humantime::parse_rfc3339(text).unwrap().into()
    }

    fn shown(micros: u64) -> String {
        humantime::format_rfc3339_seconds(SystemTime::from(Moment(micros))).to_string()
    }

    #[test]
    fn the_calendar_is_the_gregorian_in_utc_and_weeks_begin_on_monday() {
        use Calendar::{Day, Hour, Month, Week};
        for (part, now, from, to) in [
            (
                Hour,
                "2026-07-26T23:59:59Z",
                "2026-07-26T23",
                "2026-07-27T00",
            ),
            (
                Day,
                "2026-12-31T23:59:59Z",
                "2026-12-31T00",
                "2027-01-01T00",
            ),
            (
                Week,
                "2026-11-29T12:00:00Z",
                "2026-11-23T00",
                "2026-11-30T00",
            ),
            (
                Week,
                "2026-11-30T00:00:00Z",
                "2026-11-30T00",
                "2026-12-07T00",
            ),
            (
                Week,
                "2027-01-03T23:00:00Z",
                "2026-12-28T00",
                "2027-01-04T00",
            ),
            (
                Week,
                "1970-01-02T00:00:00Z",
                "1970-01-01T00",
                "1970-01-05T00",
            ),
            (
                Month,
                "1970-01-31T00:00:00Z",
                "1970-01-01T00",
                "1970-02-01T00",
            ),
            (
                Month,
                "2026-02-28T23:59:59Z",
                "2026-02-01T00",
                "2026-03-01T00",
            ),
            (
                Month,
                "2028-02-29T00:00:00Z",
                "2028-02-01T00",
                "2028-03-01T00",
            ),
            (
                Month,
                "2000-02-29T00:00:00Z",
                "2000-02-01T00",
                "2000-03-01T00",
            ),
            (
                Month,
                "2100-02-28T00:00:00Z",
                "2100-02-01T00",
                "2100-03-01T00",
            ),
            (
                Month,
                "2026-12-31T23:59:59Z",
                "2026-12-01T00",
                "2027-01-01T00",
            ),
        ] {
            let window = Window::Calendar(part);
            let begun = start(window, at(now));
            let Moment(ends) = end(window, begun).unwrap();
            assert_eq!(shown(begun), format!("{from}:00:00Z"), "{part:?} {now}");
            assert_eq!(shown(ends), format!("{to}:00:00Z"), "{part:?} {now}");
        }
    }

    #[test]
    fn each_period_begins_where_the_one_before_ends_for_four_centuries() {
        for part in Calendar::ALL {
            let window = Window::Calendar(part);
            let step = Duration::from_micros(if part == Calendar::Hour { HOUR } else { DAY });
            let Moment(mut begun) = Moment(0);
            let mut now = Moment(0);
            let days = if part == Calendar::Hour {
                1_000
            } else {
                150_000
            };
            for _ in 0..days {
                now = now.plus(step);
                let from = start(window, now);
                if from != begun {
                    assert_eq!(end(window, begun), Some(Moment(from)), "{part:?}");
                    assert_eq!(now, Moment(from), "{part:?}");
                    begun = from;
                }
            }
        }
    }

    #[test]
    fn nothing_overflows_at_the_ends_of_time() {
        let rolling = Window::Rolling(Duration::MAX);
        let parts = Calendar::ALL.map(Window::Calendar);
        for window in parts.into_iter().chain([rolling, Window::Total]) {
            for now in [0, 1, u64::MAX - 1, u64::MAX] {
                let from = start(window, Moment(now));
                assert!(from <= now);
                assert!(end(window, from).is_none_or(|end| end >= Moment(now)));
            }
        }
    }
}
