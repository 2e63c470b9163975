//! What was used before, for budgets that are taken up again at a start.
//!
//! The further back, the coarser: a window that is as long as an hour never
//! sees less than was used in it.

use super::book::{HOUR, hour, uint};
use super::sources::{self, Conditions, Plan};
use super::view::{AskError, View};
use crate::units::{MicroUsd, Moment};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

/// How exactly what time is told.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// What was used before this is told as one sum: no window but `total`
    /// reaches further back.
    pub windows_from: Moment,
    /// From here on, it is told by `grain`; before, by the hour.
    pub fine_from: Moment,
    /// At least a microsecond.
    pub grain: Duration,
}

/// What one subject used, of whom with which target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub key: Arc<str>,
    pub team: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    pub route: Arc<str>,
    pub endpoint: Arc<str>,
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    /// The last moment of the time that it is the sum of: a window that still
    /// holds some of that time holds all of this.
    pub at: Moment,
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: MicroUsd,
}

impl View<'_> {
    /// Tells all that was ever used, in no order, sum by sum.
    ///
    /// # Errors
    /// SQLite's; what was told until then is then not all.
    pub fn used(&self, horizon: &Horizon, mut tell: impl FnMut(Used)) -> Result<(), AskError> {
        let read = self.connection.unchecked_transaction()?;
        let fine = Moment(uint(hour(horizon.fine_from)) * HOUR);
        let windows = Moment(uint(hour(horizon.windows_from)) * HOUR).min(fine);
        let raw_from = self.raw_from()?;
        // Single entries where there are any, else what the hour came to.
        let fine = fine.max(Moment(uint(raw_from).saturating_mul(HOUR)));
        let grain = i64::try_from(horizon.grain.as_micros()).unwrap_or(i64::MAX);
        let end = windows.0.saturating_sub(1);
        self.tell(
            &read,
            &Plan::rolled_up(Moment(0), windows),
            &end.to_string(),
            &mut tell,
        )?;
        self.tell(&read, &Plan::rolled_up(windows, fine), "time", &mut tell)?;
        let by_grain = format!("(time / {0}) * {0} + {0} - 1", grain.max(1));
        self.tell(&read, &Plan::raw(hour(fine)), &by_grain, &mut tell)
    }

    fn tell(
        &self,
        read: &Connection,
        plan: &Plan,
        time: &str,
        tell: &mut impl FnMut(Used),
    ) -> Result<(), AskError> {
        let entries = sources::entries(plan, self.hours()?, &Conditions::default());
        let mut statement = read.prepare(&format!(
            "SELECT key, team, user, route, endpoint, provider, model, {time}, sum(requests), \
             sum(prompt), sum(completion), sum(cost) FROM ({entries}) \
             GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
        ))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let name = |at| row.get(at).and_then(|number| self.name(number));
            let number = |at: usize| row.get(at).map(uint);
            tell(Used {
                key: name(0)?.unwrap_or_default(),
                team: name(1)?,
                user: name(2)?,
                route: name(3)?.unwrap_or_default(),
                endpoint: name(4)?.unwrap_or_default(),
                provider: name(5)?,
                model: name(6)?,
                at: Moment(number(7)?),
                requests: number(8)?,
                input_tokens: number(9)?,
                output_tokens: number(10)?,
                cost: MicroUsd(number(11)?),
            });
        }
        Ok(())
    }
}
