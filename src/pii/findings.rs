//! How often each kind was found.

use super::kind::{Group, Kind};

/// How often each kind was found in one text, or in all of a request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    counts: [u32; Kind::ALL.len()],
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            counts: [0; Kind::ALL.len()],
        }
    }
}

impl Findings {
    /// So many of each of these kinds.
    #[must_use]
    pub fn of(counts: impl IntoIterator<Item = (Kind, u32)>) -> Self {
        let mut findings = Self::default();
        for (kind, count) in counts {
            if let Some(known) = findings.counts.get_mut(kind as usize) {
                *known = known.saturating_add(count);
            }
        }
        findings
    }

    /// One more of that kind.
    pub fn add(&mut self, kind: Kind) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// What another text holds, on top.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// How many of that kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u32 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    /// How many of all kinds of a group.
    #[must_use]
    pub fn of_group(&self, group: Group) -> u32 {
        self.iter()
            .filter(|(kind, _)| kind.group() == group)
            .fold(0, |sum: u32, (_, count)| sum.saturating_add(count))
    }

    /// How many of all kinds.
    #[must_use]
    pub fn total(&self) -> u32 {
        let sum = |sum: u32, count: &u32| sum.saturating_add(*count);
        self.counts.iter().fold(0, sum)
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// The kinds that were found, with how often, in the order of [`Kind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u32)> + '_ {
        let counts = Kind::ALL.into_iter().zip(self.counts);
        counts.filter(|(_, count)| *count > 0)
    }
}
