//! Who is next where requests wait for a place: three classes, within each the
//! keys one after the other, and within each key its users one after the other,
//! whatever each of them has waiting.
//!
//! A client can invent users, but no keys: so a key has one turn in a round of
//! the keys that wait, however many users it names, and only shares its own turns
//! among them. A user's own requests are served in the order in which they came.
//!
//! A higher class goes first, but every eighth turn is for the class that has
//! waited through most turns of others, so that a stream of interactive requests
//! starves neither of those below: none waits longer than sixteen turns.
//!
//! The queue is bounded. When it is full, who comes is refused, unless somebody
//! waits who has less right to: one of the lowest class gives way to a higher
//! class; within a class one of the key that has most waiting gives way to a key
//! that has two fewer; and within a key one of the user who has most waiting to a
//! user who has two fewer. It is always the last of that key's user who has most
//! waiting. So no batch, no key and no user can shut the others out, and who has
//! one request waiting keeps its place within its class.

use super::Priority;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Of so many turns, one is for the class that was passed over most.
const LOWER_EVERY: u64 = 8;

/// Those who wait. `T` is how one of them is told.
pub(super) struct Queue<T> {
    /// The highest first.
    classes: [Class<T>; 3],
    turns: u64,
    tickets: u64,
}

/// Whose request it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub key: &'a str,
    /// One of the key's own; `None` is one of them too.
    pub user: Option<&'a str>,
}

/// A user of a key.
type User = Option<Arc<str>>;

struct Class<T> {
    /// The keys that have somebody waiting, in the order of their turns.
    order: VecDeque<Arc<str>>,
    tenants: HashMap<Arc<str>, Tenant<T>>,
    /// Turns of other classes, since it has had none while it waited.
    passed: u64,
}

/// Those of one key.
struct Tenant<T> {
    /// The users who have somebody waiting, in the order of their turns.
    order: VecDeque<User>,
    lines: HashMap<User, VecDeque<(u64, T)>>,
    /// How many wait in all lines.
    waiting: usize,
}

/// With this one leaves the queue.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    number: u64,
    priority: Priority,
    key: Arc<str>,
    user: User,
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

    /// Lines up; `None` when the queue is full. Whoever has to give way is
    /// dropped.
    pub fn join(
        &mut self,
        priority: Priority,
        who: Who<'_>,
        depth: usize,
        waiter: T,
    ) -> Option<Ticket> {
        let ticket = Ticket {
            number: self.tickets + 1,
            priority,
            key: who.key.into(),
            user: who.user.map(Arc::from),
        };
        if depth == 0 || (self.len() >= depth && !self.make_way(&ticket)) {
            return None;
        }
        self.tickets = ticket.number;
        self.class(priority).push(&ticket, waiter);
        Some(ticket)
    }

    /// The next one, who waits no longer.
    pub fn next(&mut self) -> Option<T> {
        let waiting = self.classes.iter().enumerate();
        let mut waiting = waiting.filter(|(_, class)| !class.order.is_empty());
        let is_lower = (self.turns + 1).is_multiple_of(LOWER_EVERY);
        let (place, _) = match is_lower {
            // Of equals, the higher one.
            true => waiting.rev().max_by_key(|(_, class)| class.passed),
            false => waiting.next(),
        }?;
        self.turns += 1;
        for class in &mut self.classes {
            class.passed = match class.order.is_empty() {
                true => 0,
                false => class.passed + 1,
            };
        }
        let class = self.classes.get_mut(place)?;
        class.passed = 0;
        class.pop()
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
    fn make_way(&mut self, comes: &Ticket) -> bool {
        let mut classes = self.classes.iter_mut().enumerate().rev();
        let lowest = classes.find(|(_, class)| !class.order.is_empty());
        let Some((place, class)) = lowest else {
            return false;
        };
        let own = comes.priority as usize;
        let gives_way = match place.cmp(&own) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => class.who_gives_way_to(comes),
            std::cmp::Ordering::Greater => class.largest(),
        };
        gives_way.is_some_and(|(key, user)| class.drop_last(&key, &user))
    }
}

impl<T> Class<T> {
    fn new() -> Self {
        Self {
            order: VecDeque::new(),
            tenants: HashMap::new(),
            passed: 0,
        }
    }

    fn len(&self) -> usize {
        self.tenants.values().map(|tenant| tenant.waiting).sum()
    }

    fn push(&mut self, ticket: &Ticket, waiter: T) {
        let tenant = self.tenants.entry(Arc::clone(&ticket.key)).or_default();
        if tenant.waiting == 0 {
            self.order.push_back(Arc::clone(&ticket.key));
        }
        tenant.push(ticket, waiter);
    }

    fn pop(&mut self) -> Option<T> {
        let key = self.order.pop_front()?;
        let tenant = self.tenants.get_mut(&key)?;
        let waiter = tenant.pop();
        if tenant.waiting == 0 {
            self.tenants.remove(&key);
        } else {
            self.order.push_back(key);
        }
        waiter
    }

    fn remove(&mut self, ticket: &Ticket) {
        if let Some(tenant) = self.tenants.get_mut(&ticket.key) {
            tenant.remove(ticket);
            self.tidy(&ticket.key);
        }
    }

    /// The user with most waiting of the key with most waiting; of several, the
    /// one that came last.
    fn largest(&self) -> Option<(Arc<str>, User)> {
        let size = |tenant: &Tenant<T>| (tenant.waiting, tenant.latest());
        let all = self.tenants.iter();
        let (key, tenant) = all.max_by_key(|(_, tenant)| size(tenant))?;
        let (user, _) = tenant.longest()?;
        Some((Arc::clone(key), user))
    }

    /// The one who has less right than who comes, in the same class.
    fn who_gives_way_to(&self, comes: &Ticket) -> Option<(Arc<str>, User)> {
        let own = self.tenants.get(&comes.key);
        let (key, user) = self.largest()?;
        let most = self.tenants.get(&key)?.waiting;
        if most >= own.map_or(0, |own| own.waiting) + 2 {
            return Some((key, user));
        }
        let own = own?;
        let (user, most) = own.longest()?;
        let line = own.lines.get(&comes.user).map_or(0, VecDeque::len);
        (most >= line + 2).then(|| (Arc::clone(&comes.key), user))
    }

    fn drop_last(&mut self, key: &Arc<str>, user: &User) -> bool {
        let dropped = match self.tenants.get_mut(key) {
            Some(tenant) => tenant.drop_last(user),
            None => false,
        };
        self.tidy(key);
        dropped
    }

    /// Forgets a key that has nobody waiting.
    fn tidy(&mut self, key: &Arc<str>) {
        if self.tenants.get(key).is_some_and(|one| one.waiting == 0) {
            self.tenants.remove(key);
            self.order.retain(|name| name != key);
        }
    }
}

impl<T> Default for Tenant<T> {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            lines: HashMap::new(),
            waiting: 0,
        }
    }
}

impl<T> Tenant<T> {
    fn push(&mut self, ticket: &Ticket, waiter: T) {
        let line = self.lines.entry(ticket.user.clone()).or_default();
        if line.is_empty() {
            self.order.push_back(ticket.user.clone());
        }
        line.push_back((ticket.number, waiter));
        self.waiting += 1;
    }

    fn pop(&mut self) -> Option<T> {
        let user = self.order.pop_front()?;
        let line = self.lines.get_mut(&user)?;
        let (_, waiter) = line.pop_front()?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(&user);
        } else {
            self.order.push_back(user);
        }
        Some(waiter)
    }

    fn remove(&mut self, ticket: &Ticket) {
        let Some(line) = self.lines.get_mut(&ticket.user) else {
            return;
        };
        let before = line.len();
        line.retain(|(number, _)| *number != ticket.number);
        self.waiting -= before - line.len();
        self.tidy(&ticket.user);
    }

    /// The ticket that came last.
    fn latest(&self) -> u64 {
        let last = self.lines.values().filter_map(VecDeque::back);
        last.map(|(number, _)| *number).max().unwrap_or_default()
    }

    /// The user with most waiting, and how many; of several, the one that came
    /// last.
    fn longest(&self) -> Option<(User, usize)> {
        let size = |line: &VecDeque<(u64, T)>| (line.len(), line.back().map(|(n, _)| *n));
        let longest = self.lines.iter().max_by_key(|(_, line)| size(line));
        longest.map(|(user, line)| (user.clone(), line.len()))
    }

    fn drop_last(&mut self, user: &User) -> bool {
        let line = self.lines.get_mut(user);
        let is_dropped = line.and_then(VecDeque::pop_back).is_some();
        self.waiting -= usize::from(is_dropped);
        self.tidy(user);
        is_dropped
    }

    /// Forgets a user who has nobody waiting.
    fn tidy(&mut self, user: &User) {
        if self.lines.get(user).is_some_and(VecDeque::is_empty) {
            self.lines.remove(user);
            self.order.retain(|name| name != user);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "fairness_tests.rs"]
mod fairness_tests;
