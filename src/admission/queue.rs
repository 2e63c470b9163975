//! Who is next where requests wait for a place: three classes, and within each
//! the users one after the other, whatever each of them has waiting.
//!
//! A higher class goes first, but every eighth turn is the lowest class's that
//! waits, so that a stream of interactive requests does not starve a batch. A
//! user's own requests are served in the order in which they came.
//!
//! The queue is bounded. When it is full, who comes is refused, unless somebody
//! waits who has less right to: the last in the longest line of the lowest class
//! gives way to a higher class, or to a user who has two fewer waiting. So
//! neither a batch nor one user can shut the others out.

use super::Priority;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Of so many turns, one is the lowest class's.
const LOWEST_EVERY: u64 = 8;

/// Those who wait. `T` is how one of them is told.
pub(super) struct Queue<T> {
    /// The highest first.
    classes: [Class<T>; 3],
    turns: u64,
    tickets: u64,
}

struct Class<T> {
    /// The users who have somebody waiting, in the order of their turns.
    order: VecDeque<Arc<str>>,
    lines: HashMap<Arc<str>, VecDeque<(u64, T)>>,
}

/// With this one leaves the queue.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    number: u64,
    priority: Priority,
    who: Arc<str>,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self {
            classes: [Class::new(), Class::new(), Class::new()],
            turns: 0,
            tickets: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.classes.iter().map(Class::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.order.is_empty())
    }

    /// Lines up; `None` when the queue is full. Whoever has to give way is
    /// dropped.
    pub fn join(
        &mut self,
        priority: Priority,
        who: &str,
        depth: usize,
        waiter: T,
    ) -> Option<Ticket> {
        if depth == 0 || (self.len() >= depth && !self.make_way(priority, who)) {
            return None;
        }
        self.tickets += 1;
        let ticket = Ticket {
            number: self.tickets,
            priority,
            who: who.into(),
        };
        self.class(priority).push(&ticket, waiter);
        Some(ticket)
    }

    /// The next one, who waits no longer.
    pub fn next(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        self.turns += 1;
        let mut waiting = self.classes.iter_mut().filter(|c| !c.order.is_empty());
        let class = match self.turns % LOWEST_EVERY {
            0 => waiting.next_back(),
            _ => waiting.next(),
        };
        class.and_then(Class::pop)
    }

    /// Goes away without a turn; nothing happens when the turn has come.
    pub fn leave(&mut self, ticket: &Ticket) {
        self.class(ticket.priority).remove(ticket);
    }

    fn class(&mut self, priority: Priority) -> &mut Class<T> {
        let [interactive, normal, batch] = &mut self.classes;
        match priority {
            Priority::Interactive => interactive,
            Priority::Normal => normal,
            Priority::Batch => batch,
        }
    }

    /// Sends one away who has less right to wait than who comes.
    fn make_way(&mut self, priority: Priority, who: &str) -> bool {
        let Some(place) = self.classes.iter().rposition(|c| !c.order.is_empty()) else {
            return false;
        };
        let is_lower = place > priority as usize;
        let is_same = place == priority as usize;
        let Some(class) = self.classes.get_mut(place) else {
            return false;
        };
        let own = class.lines.get(who).map_or(0, VecDeque::len);
        let longest = class.lines.iter().max_by_key(|(_, line)| line.len());
        let Some((name, line)) = longest.map(|(name, line)| (Arc::clone(name), line)) else {
            return false;
        };
        let gives_way = is_lower || (is_same && line.len() >= own + 2);
        if gives_way {
            class.drop_last(&name);
        }
        gives_way
    }
}

impl<T> Class<T> {
    fn new() -> Self {
        Self {
            order: VecDeque::new(),
            lines: HashMap::new(),
        }
    }

    fn len(&self) -> usize {
        self.lines.values().map(VecDeque::len).sum()
    }

    fn push(&mut self, ticket: &Ticket, waiter: T) {
        let line = self.lines.entry(Arc::clone(&ticket.who)).or_default();
        if line.is_empty() {
            self.order.push_back(Arc::clone(&ticket.who));
        }
        line.push_back((ticket.number, waiter));
    }

    fn pop(&mut self) -> Option<T> {
        let who = self.order.pop_front()?;
        let line = self.lines.get_mut(&who)?;
        let (_, waiter) = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&who);
        } else {
            self.order.push_back(who);
        }
        Some(waiter)
    }

    fn remove(&mut self, ticket: &Ticket) {
        let Some(line) = self.lines.get_mut(&ticket.who) else {
            return;
        };
        line.retain(|(number, _)| *number != ticket.number);
        self.tidy(&ticket.who);
    }

    fn drop_last(&mut self, who: &Arc<str>) {
        if let Some(line) = self.lines.get_mut(who) {
            line.pop_back();
        }
        self.tidy(who);
    }

    /// Forgets a user who has nobody waiting.
    fn tidy(&mut self, who: &Arc<str>) {
        if self.lines.get(who).is_some_and(VecDeque::is_empty) {
            self.lines.remove(who);
            self.order.retain(|name| name != who);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
