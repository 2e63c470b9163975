//! The time that budgets go by: it never jumps and never goes back.
//!
//! A wall clock can be set: an hour forward, and a budget of this hour would be
//! open again; an hour back, and it would be spent twice. This clock begins at
//! the wall clock's time or the ledger's latest, whichever is later. From there
//! it goes on with the monotonic clock and leans towards the wall clock: never
//! slower than half of real time, never faster than double. A day's jump of the
//! wall clock takes a day or two to follow. In the meantime an hour's allowance
//! may be had in half an hour, but never at once.
//!
//! One exception: a machine without a battery begins in 1970 and is set once,
//! when the network is there. Until the wall clock has once been in 2026 or
//! later it is not believed, and the first later time that it shows is taken at
//! once.

use crate::units::Moment;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// 2026-01-01 in UTC, in microseconds since 1970. Before it no clock was set.
const SET: Moment = Moment(1_767_225_600_000_000);

/// The time of budgets, shared by all threads. Reading it takes a lock for some
/// ten nanoseconds and no system call.
pub struct Clock {
    began: Instant,
    course: Mutex<Course>,
}

impl Clock {
    /// Begins now, or at the latest time that the ledger knows.
    pub fn starting(latest: Moment) -> Self {
        Self {
            began: Instant::now(),
            course: Mutex::new(Course::starting(SystemTime::now().into(), latest)),
        }
    }

    /// What time it is for budgets.
    pub fn now(&self) -> Moment {
        self.read().0
    }

    /// How far it is ahead of the wall clock, in microseconds; negative when it
    /// is behind. More than a little means that somebody set the clock.
    pub fn ahead(&self) -> i64 {
        let (now, wall) = self.read();
        let Moment(lead) = Moment(now.0.saturating_sub(wall.0));
        let Moment(lag) = Moment(wall.0.saturating_sub(now.0));
        let micros = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        micros(lead) - micros(lag)
    }

    fn read(&self) -> (Moment, Moment) {
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that no thread comes with an earlier time.
        let wall = SystemTime::now().into();
        (course.step(self.began.elapsed(), wall), wall)
    }
}

/// The clock without its clocks.
#[derive(Debug, Clone)]
struct Course {
    now: Moment,
    /// Microseconds of the monotonic clock up to `now`.
    elapsed: u64,
    /// The wall clock has been set.
    is_set: bool,
}

impl Course {
    fn starting(wall: Moment, latest: Moment) -> Self {
        Self {
            now: wall.max(latest),
            elapsed: 0,
            is_set: wall >= SET,
        }
    }

    /// The time when the monotonic clock has gone on for `elapsed` since the
    /// beginning and the wall clock says `wall`.
    fn step(&mut self, elapsed: Duration, wall: Moment) -> Moment {
        let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let passed = elapsed.saturating_sub(self.elapsed);
        self.elapsed = self.elapsed.max(elapsed);
        let Moment(straight) = Moment(self.now.0.saturating_add(passed));
        let Moment(aim) = wall;
        let next = match self.is_set {
            true => {
                let earliest = straight - passed / 2;
                aim.clamp(earliest, straight.saturating_add(passed))
            }
            false => straight.max(aim),
        };
        self.is_set |= wall >= SET;
        self.now = Moment(next);
        self.now
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
