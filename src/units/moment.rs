//! A point in time that can be stored and compared.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// The time from `earlier` to this; none when it is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A text that is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAMoment {
    #[error("expected a date such as 2026-11-01, or a time in UTC such as 2026-11-01T10:00Z")]
    Absolute,
    /// Where a length is allowed too.
    #[error(
        "expected a length such as 1h or 90d, a date such as 2026-11-01, or a time in UTC such as \
         2026-11-01T10:00Z"
    )]
    Relative,
}

impl FromStr for Moment {
    type Err = NotAMoment;

    /// Reads a day (`2026-11-01`, its beginning) or a time of RFC 3339, all in
    /// UTC: to the minute, the second or a part of it, with or without the `Z`,
    /// with `T` or a space before it.
    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let bare = text.strip_suffix('Z').unwrap_or(text);
        let full = match bare.len() {
            10 => format!("{bare}T00:00:00"),
            16 => format!("{bare}:00"),
            _ => text.to_owned(),
        };
        let time = humantime::parse_rfc3339_weak(&full);
        time.map(Self::from).map_err(|_| NotAMoment::Absolute)
    }
}

impl Moment {
    /// Reads a length before `now` (`1h`, `30d`), or what [`str::parse`] reads.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn before(now: Self, text: &str) -> Result<Self, NotAMoment> {
        Self::relative(text, |length| now.minus(length))
    }

    /// Reads a length after `now` (`90d`, `12h`), or what [`str::parse`] reads.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn after(now: Self, text: &str) -> Result<Self, NotAMoment> {
        Self::relative(text, |length| now.plus(length))
    }

    fn relative(text: &str, by: impl FnOnce(Duration) -> Self) -> Result<Self, NotAMoment> {
        match humantime::parse_duration(text) {
            Ok(length) => Ok(by(length)),
            Err(_) => text.parse().map_err(|_| NotAMoment::Relative),
        }
    }
}

impl From<SystemTime> for Moment {
    /// Times before 1970 are 1970.
    fn from(time: SystemTime) -> Self {
        Self::default().plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl From<Moment> for SystemTime {
    fn from(moment: Moment) -> Self {
        UNIX_EPOCH + Duration::from_micros(moment.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// 2026-11-01T10:00:00Z.
    const TEN: Moment = Moment(1_793_527_200_000_000);

    #[test]
    fn moments_are_read_in_every_form_that_people_write() {
        for (text, at) in [
            ("2026-11-01", TEN.minus(HOUR * 10)),
            ("2026-11-01Z", TEN.minus(HOUR * 10)),
            ("2026-11-01T10:00", TEN),
            ("2026-11-01T10:00Z", TEN),
            ("2026-11-01 10:00", TEN),
            ("2026-11-01T10:00:00", TEN),
            ("2026-11-01T10:00:00Z", TEN),
            ("2026-11-01 10:00:00Z", TEN),
            (
                "2026-11-01T10:00:00.25Z",
                TEN.plus(Duration::from_millis(250)),
            ),
        ] {
            assert_eq!(text.parse(), Ok(at), "{text}");
            assert_eq!(Moment::before(TEN, text), Ok(at), "{text}");
            assert_eq!(Moment::after(TEN, text), Ok(at), "{text}");
        }
        let now = TEN.plus(HOUR);
        assert_eq!(Moment::before(now, "1h"), Ok(TEN));
        assert_eq!(Moment::after(TEN, "1h"), Ok(now));
        assert_eq!("1h".parse::<Moment>(), Err(NotAMoment::Absolute));
    }

    #[test]
    fn all_else_is_no_moment() {
        for text in [
            "",
            "1",
            "90",
            "Z",
            "yesterday",
            "2026-13-01",
            "1970-13-01",
            "2026-11-01T10",
            "2026-11-01T10:00:00+02:00",
            "\u{20ac}\u{20ac}\u{20ac}\u{20ac}",
        ] {
            assert_eq!(text.parse::<Moment>(), Err(NotAMoment::Absolute), "{text}");
            let read = [Moment::before(TEN, text), Moment::after(TEN, text)];
            assert_eq!(read, [Err(NotAMoment::Relative); 2], "{text}");
        }
    }
}
