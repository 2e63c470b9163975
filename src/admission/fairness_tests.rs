//! Whatever one key sends, the others have their turns and their places.

use super::tests::of;
use super::*;
use proptest::prelude::*;

use Priority::{Batch, Interactive, Normal};

#[derive(Debug, Clone)]
enum Move {
    Join(u8, u8, u8),
    Leave(usize),
    Next,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        // Key 0 comes most often, and with most users.
        6 => (0..3u8, 0..40u8).prop_map(|(class, user)| Move::Join(class, 0, user)),
        3 => (0..3u8, 1..4u8, 0..2u8).prop_map(|(class, key, user)| Move::Join(class, key, user)),
        1 => any::<usize>().prop_map(Move::Leave),
        2 => Just(Move::Next),
    ];
    prop::collection::vec(one, 1..200)
}

/// Who waits, as a model of the queue knows: class, key, user.
type Waiter = (u8, u8, u8);

fn waiting(all: &[Option<Waiter>], class: u8, key: u8) -> usize {
    let is_one = |one: &&Option<Waiter>| one.is_some_and(|(c, k, _)| (c, k) == (class, key));
    all.iter().filter(is_one).count()
}

proptest! {
    /// Whatever one key sends: within a class, a key that waits has its turn
    /// before any other has a second; nobody is refused a place, or loses it, to
    /// a key of the same class that has as many; and no class below the highest
    /// waits longer than sixteen turns.
    #[test]
    fn no_key_takes_anothers_turns_or_places(moves in moves(), depth in 1..12usize) {
        let mut queue = Queue::new();
        // By the number that each waiter has.
        let mut all: Vec<Option<Waiter>> = Vec::new();
        let mut tickets = Vec::new();
        // Turns of others in the class, since a key has waited without one.
        let mut passed = std::collections::HashMap::<(u8, u8), Vec<u8>>::new();
        let mut idle = [0; 3];
        for one in moves {
            match one {
                Move::Join(class, key, user) => {
                    let told = std::rc::Rc::new(all.len());
                    let priority = [Interactive, Normal, Batch][usize::from(class)];
                    let names = (key.to_string(), user.to_string());
                    let ticket = queue.join(priority, of(&names.0, &names.1), depth, told);
                    let before = all.clone();
                    tickets.push(ticket.clone());
                    all.push(ticket.as_ref().map(|_| (class, key, user)));
                    let stays = queue.numbers();
                    let gone: Vec<_> = (0..before.len())
                        .filter(|n| before[*n].is_some() && !stays.contains(n))
                        .collect();
                    prop_assert!(gone.len() <= 1);
                    prop_assert_eq!(ticket.is_some(), stays.contains(&before.len()));
                    let own = waiting(&before, class, key);
                    for n in gone {
                        let (c, k, _) = before[n].unwrap();
                        let theirs = waiting(&before, c, k);
                        prop_assert!(c > class || (c == class && (k == key || theirs >= own + 2)));
                        prop_assert!((0..4).all(|k| waiting(&before, c, k) <= theirs) || k == key);
                        all[n] = None;
                    }
                    if ticket.is_none() {
                        prop_assert_eq!(queue.len(), depth);
                        let most = (0..4).map(|k| waiting(&before, class, k)).max().unwrap();
                        prop_assert!(most <= own + 1, "{most} to {own}");
                        prop_assert!(before.iter().flatten().all(|(c, ..)| *c <= class));
                    }
                }
                Move::Leave(n) if !tickets.is_empty() => {
                    let n = n % tickets.len();
                    if let Some(ticket) = &tickets[n] {
                        queue.leave(ticket);
                        all[n] = None;
                    }
                }
                Move::Leave(_) => {}
                Move::Next => {
                    let next = queue.next().map(|n| *n);
                    prop_assert_eq!(next.is_none(), all.iter().all(Option::is_none));
                    let Some(n) = next else { continue };
                    let (class, key, _) = all[n].take().unwrap();
                    for other in 0..4 {
                        let turns = passed.entry((class, other)).or_default();
                        turns.push(key);
                        if other == key {
                            turns.clear();
                        }
                    }
                    for (c, idle) in (0..3u8).zip(&mut idle) {
                        *idle = if c == class { 0 } else { *idle + 1 };
                    }
                }
            }
            prop_assert!(queue.len() <= depth);
            for class in 0..3u8 {
                let any = (0..4).any(|key| waiting(&all, class, key) > 0);
                if !any {
                    idle[usize::from(class)] = 0;
                }
                prop_assert!(idle[usize::from(class)] <= 16, "class {class} is starved");
                for key in 0..4 {
                    let turns = passed.entry((class, key)).or_default();
                    if waiting(&all, class, key) == 0 {
                        turns.clear();
                    }
                    let twice = (0..4).find(|k| turns.iter().filter(|one| *one == k).count() > 1);
                    prop_assert_eq!(twice, None, "while {} waits", key);
                }
            }
        }
    }
}

impl Queue<std::rc::Rc<usize>> {
    /// The numbers of all that wait.
    fn numbers(&self) -> Vec<usize> {
        let tenants = self.classes.iter().flat_map(|class| class.tenants.values());
        let lines = tenants.flat_map(|tenant| tenant.lines.values());
        lines.flatten().map(|(_, n)| **n).collect()
    }
}
