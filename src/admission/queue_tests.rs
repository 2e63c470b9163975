use super::super::{Limiter, Load, Refusal, Rule, Selector, Stage, Subject, Turn, Why};
use super::*;
use crate::admission::Hold;
use crate::units::Moment;
use proptest::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

use Priority::{Batch, Interactive, Normal};

const NOW: Moment = Moment(1_782_864_000_000_000);

/// A user of one key.
fn user(name: &str) -> Who<'_> {
    of("k", name)
}

pub(super) fn of<'a>(key: &'a str, name: &'a str) -> Who<'a> {
    Who {
        key,
        user: Some(name),
    }
}

/// All that wait, in the order of their turns.
fn turns(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
    std::iter::from_fn(|| queue.next()).collect()
}

#[test]
fn users_take_turns_and_each_users_requests_keep_their_order() {
    let mut queue = Queue::new();
    for (who, waiter) in [
        ("a", "a1"),
        ("a", "a2"),
        ("a", "a3"),
        ("b", "b1"),
        ("c", "c1"),
        ("b", "b2"),
    ] {
        queue.join(Normal, user(who), 10, waiter).unwrap();
    }
    assert_eq!(turns(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn higher_classes_go_first_and_every_eighth_turn_is_for_those_below() {
    let mut queue = Queue::new();
    for _ in 0..20 {
        queue.join(Interactive, user("a"), 99, "i").unwrap();
    }
    queue.join(Batch, user("b"), 99, "b").unwrap();
    queue.join(Batch, user("b"), 99, "b").unwrap();
    for _ in 0..3 {
        queue.join(Normal, user("n"), 99, "n").unwrap();
    }
    assert_eq!(turns(&mut queue).concat(), "iiiiiiiniiiiiiibiiiiiinbn");
}

#[test]
fn who_leaves_has_no_turn_and_costs_none() {
    let mut queue = Queue::new();
    let first = queue.join(Normal, user("a"), 10, "a1").unwrap();
    queue.join(Normal, user("b"), 10, "b1").unwrap();
    queue.join(Normal, user("a"), 10, "a2").unwrap();
    queue.leave(&first);
    queue.leave(&first);
    assert_eq!(queue.len(), 2);
    assert_eq!(turns(&mut queue), ["a2", "b1"]);
    let last = queue.join(Normal, user("a"), 10, "a3").unwrap();
    queue.leave(&last);
    assert!(queue.len() == 0 && queue.next().is_none());
}

#[test]
fn a_full_queue_is_not_one_users_nor_a_batchs() {
    let mut queue = Queue::new();
    for waiter in ["b1", "b2", "b3"] {
        queue.join(Batch, user("b"), 3, waiter).unwrap();
    }
    assert!(queue.join(Batch, user("b"), 3, "b4").is_none());
    queue.join(Batch, user("c"), 3, "c1").unwrap();
    assert!(
        queue.join(Batch, user("d"), 3, "d1").is_some(),
        "b has two of three"
    );
    assert!(queue.join(Batch, user("d"), 3, "d2").is_none());
    queue.join(Normal, user("n"), 3, "n1").unwrap();
    queue.join(Interactive, user("i"), 3, "i1").unwrap();
    assert_eq!(queue.len(), 3);
    assert!(queue.join(Batch, user("x"), 3, "x1").is_none());
    queue.join(Interactive, user("i"), 3, "i2").unwrap();
    queue.join(Interactive, user("i"), 3, "i3").unwrap();
    assert!(queue.join(Normal, user("n"), 3, "n2").is_none());
    assert_eq!(turns(&mut queue), ["i1", "i2", "i3"]);
    assert!(queue.join(Normal, user("n"), 0, "n").is_none());
}

#[test]
fn a_key_has_one_turn_in_a_round_whatever_users_it_invents() {
    let mut queue = Queue::new();
    let invented: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    for name in &invented {
        queue.join(Normal, of("a", name), 99, "a").unwrap();
    }
    for waiter in ["b1", "b2"] {
        queue.join(Normal, of("b", "0"), 99, waiter).unwrap();
    }
    let itself = Who {
        key: "c",
        user: None,
    };
    queue.join(Normal, itself, 99, "c").unwrap();
    let order = ["a", "b1", "c", "a", "b2", "a", "a", "a", "a"];
    assert_eq!(turns(&mut queue), order);
}

#[test]
fn a_full_queue_is_not_one_keys_whatever_users_it_invents() {
    let mut queue = Queue::new();
    let invented: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let come = invented.iter();
    let are_in = come.filter(|name| queue.join(Normal, of("a", name), 5, "a").is_some());
    assert_eq!(are_in.count(), 5);
    // The most numerous user of the key with most gives way, and of equals the last.
    assert!(queue.join(Normal, of("b", "x"), 5, "b1").is_some());
    assert!(queue.join(Normal, of("b", "x"), 5, "b2").is_some());
    assert!(
        queue.join(Normal, of("b", "x"), 5, "b3").is_none(),
        "3 to 2"
    );
    assert!(queue.join(Normal, of("c", "y"), 5, "c").is_some());
    assert!(
        queue.join(Normal, of("a", "new"), 5, "a").is_none(),
        "2 to 2"
    );
    // A class below gives way first, its key with most before the others.
    for waiter in ["i1", "i2", "i3"] {
        queue.join(Interactive, of("d", "z"), 5, waiter).unwrap();
    }
    assert_eq!(turns(&mut queue), ["i1", "i2", "i3", "a", "b1"]);
}

#[test]
fn of_one_keys_users_the_most_numerous_gives_way() {
    let mut queue = Queue::new();
    for waiter in ["a1", "a2", "a3"] {
        queue.join(Normal, of("k", "a"), 4, waiter).unwrap();
    }
    queue.join(Normal, of("other", "a"), 4, "o1").unwrap();
    queue.join(Normal, of("k", "b"), 4, "b1").unwrap();
    queue.join(Normal, of("k", "c"), 4, "c1").unwrap();
    assert!(queue.join(Normal, of("k", "d"), 4, "d1").is_none());
    assert_eq!(turns(&mut queue), ["a1", "o1", "b1", "c1"]);
}

// ---- With the limiter ------------------------------------------------------------------

fn rule(name: &str, allow: &str, depth: usize) -> Arc<Rule> {
    Arc::new(Rule {
        name: name.into(),
        allowance: allow.parse().unwrap(),
        per: Vec::new(),
        on: Selector::default(),
        hard: false,
        wait: Duration::from_secs(10),
        depth,
    })
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Hold, Refusal>> + 'a>>;

/// A user's request for a place.
fn asking<'a>(
    limiter: &'a Limiter,
    rules: &'a [Arc<Rule>],
    user: &'a str,
    priority: Priority,
) -> Asking<'a> {
    let turn = Turn {
        priority,
        until: (Instant::now() + Duration::from_secs(5)).into_std(),
    };
    Box::pin(async move {
        let subject = Subject {
            key: "k",
            team: None,
            user: Some(user),
            route: "r",
            endpoint: "e",
            target: None,
        };
        let one = Load {
            requests: 1,
            ..Load::default()
        };
        let reserve = limiter.reserve(rules, &subject, Stage::Request, &one, turn, NOW);
        tokio::task::unconstrained(reserve).await
    })
}

/// Goes on with it as far as it goes now.
fn look(asking: &mut Asking<'_>) -> Poll<Result<Hold, Refusal>> {
    asking
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

fn waits(asking: &mut Asking<'_>) -> bool {
    look(asking).is_pending()
}

fn admitted(asking: &mut Asking<'_>) -> Hold {
    match look(asking) {
        Poll::Ready(outcome) => outcome.unwrap_or_else(|refusal| panic!("{refusal:?}")),
        Poll::Pending => panic!("it waits"),
    }
}

/// Under way, and waiting.
fn seen(limiter: &Limiter, rules: &[Arc<Rule>]) -> (u64, usize) {
    let left = limiter.left(&rules[..1], NOW);
    (left[0].used, left[0].waiting)
}

#[tokio::test(start_paused = true)]
async fn a_free_place_goes_to_the_next_who_waits() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 10)]);
    let hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    let mut batch = asking(&limiter, &rules, "a", Batch);
    let mut normal = asking(&limiter, &rules, "b", Normal);
    assert!(waits(&mut batch) && waits(&mut normal));
    assert_eq!(seen(&limiter, &rules), (1, 2));
    hold.settle(&Load::default());
    assert!(waits(&mut batch));
    // Who comes now does not overtake who has the place or waits for it.
    let mut late = asking(&limiter, &rules, "c", Interactive);
    assert!(waits(&mut late));
    let hold = admitted(&mut normal);
    drop(hold);
    let hold = admitted(&mut late);
    hold.release();
    admitted(&mut batch).release();
    assert_eq!(seen(&limiter, &rules), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_loses_no_place_for_others() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 10)]);
    let hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    let mut left_before = asking(&limiter, &rules, "b", Normal);
    let mut left_after = asking(&limiter, &rules, "c", Normal);
    let mut stays = asking(&limiter, &rules, "d", Normal);
    for asking in [&mut left_before, &mut left_after, &mut stays] {
        assert!(waits(asking));
    }
    drop(left_before);
    assert_eq!(seen(&limiter, &rules), (1, 2));
    drop(hold);
    // The place is on its way to this one, who goes before it is there.
    assert_eq!(seen(&limiter, &rules), (1, 1));
    drop(left_after);
    let hold = admitted(&mut stays);
    assert_eq!(seen(&limiter, &rules), (1, 0));
    drop(hold);
    assert_eq!(seen(&limiter, &rules), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_rules_patience_or_the_requests() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 10)]);
    let hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    let began = Instant::now();
    let refused = asking(&limiter, &rules, "b", Normal).await.err().unwrap();
    assert_eq!((refused.why, refused.left), (Why::Waited, 0));
    assert!(refused.retry_after.is_some());
    assert_eq!(began.elapsed().as_secs(), 5, "until, before wait");
    let mut hasty = Rule::clone(&rules[0]);
    hasty.wait = Duration::from_secs(2);
    let hasty = [Arc::new(hasty)];
    let began = Instant::now();
    let refused = asking(&limiter, &hasty, "b", Normal).await.err().unwrap();
    assert_eq!(refused.why, Why::Waited);
    assert_eq!(began.elapsed().as_secs(), 2, "wait, before until");
    assert_eq!(seen(&limiter, &rules), (1, 0));
    drop(hold);
    assert_eq!(seen(&limiter, &rules), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_goes_back_when_a_budget_says_no() {
    let limiter = Limiter::new();
    let rules = [
        rule("c", "1 concurrent", 10),
        rule("r", "1 requests / 1m", 0),
    ];
    let hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    let mut second = asking(&limiter, &rules, "b", Normal);
    let mut third = asking(&limiter, &rules, "c", Normal);
    assert!(waits(&mut second) && waits(&mut third));
    hold.settle(&Load {
        requests: 1,
        ..Load::default()
    });
    for asking in [&mut second, &mut third] {
        let Poll::Ready(Err(refused)) = look(asking) else {
            panic!("the budget is used");
        };
        assert_eq!((&*refused.rule, refused.why), ("r", Why::Exhausted));
    }
    assert_eq!(seen(&limiter, &rules), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_raised_limit_lets_in_who_waits() {
    let limiter = Limiter::new();
    let one = [rule("c", "1 concurrent", 1)];
    let three = [rule("c", "3 concurrent", 1)];
    let _first = admitted(&mut asking(&limiter, &one, "a", Normal));
    let mut second = asking(&limiter, &one, "b", Normal);
    assert!(waits(&mut second));
    let refused = asking(&limiter, &one, "b", Normal).await.err().unwrap();
    assert_eq!(refused.why, Why::QueueFull);
    let mut more = Rule::clone(&three[0]);
    more.depth = 2;
    let three = [Arc::new(more)];
    let mut third = asking(&limiter, &three, "c", Normal);
    let _third = admitted(&mut third);
    let _second = admitted(&mut second);
    assert_eq!(seen(&limiter, &three), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn who_gives_way_is_told() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 1)]);
    let _hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    let mut batch = asking(&limiter, &rules, "b", Batch);
    let mut person = asking(&limiter, &rules, "c", Interactive);
    assert!(waits(&mut batch) && waits(&mut person));
    let Poll::Ready(Err(refused)) = look(&mut batch) else {
        panic!("its place in the queue is taken");
    };
    assert_eq!(refused.why, Why::QueueFull);
    assert_eq!(seen(&limiter, &rules), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_time_takes_nobodys_place_in_the_queue() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 1)]);
    let hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    let mut batch = asking(&limiter, &rules, "b", Batch);
    assert!(waits(&mut batch));
    let turn = Turn {
        priority: Interactive,
        until: Instant::now().into_std(),
    };
    let subject = Subject {
        key: "k",
        team: None,
        user: Some("c"),
        route: "r",
        endpoint: "e",
        target: None,
    };
    let load = Load::default();
    let hurried = limiter.reserve(&rules, &subject, Stage::Request, &load, turn, NOW);
    let refused = hurried.await.err().unwrap();
    assert_eq!(refused.why, Why::Exhausted);
    assert_eq!(seen(&limiter, &rules), (1, 1));
    drop(hold);
    admitted(&mut batch);
}

#[tokio::test(start_paused = true)]
async fn nobody_stands_in_the_line_of_another_keys_user() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 10)]);
    let hold = admitted(&mut asking(&limiter, &rules, "x", Normal));
    let of_key = |key: &'static str| -> Asking<'_> {
        let turn = Turn {
            priority: Normal,
            until: (Instant::now() + Duration::from_secs(5)).into_std(),
        };
        let (limiter, rules) = (&limiter, &rules);
        Box::pin(async move {
            let subject = Subject {
                key,
                team: None,
                user: Some("8473"),
                route: "r",
                endpoint: "e",
                target: None,
            };
            let load = Load::default();
            let reserve = limiter.reserve(rules, &subject, Stage::Request, &load, turn, NOW);
            tokio::task::unconstrained(reserve).await
        })
    };
    let mut others: Vec<_> = (0..3).map(|_| of_key("other")).collect();
    assert!(others.iter_mut().all(waits));
    let mut own = of_key("own");
    assert!(waits(&mut own));
    drop(hold);
    drop(admitted(&mut others[0]));
    // Not behind the two more that somebody else sent in the same name.
    admitted(&mut own);
}

#[tokio::test(start_paused = true)]
async fn a_place_can_be_given_back_before_the_rest_is_settled() {
    let (limiter, rules) = (Limiter::new(), [rule("c", "1 concurrent", 0)]);
    let mut hold = admitted(&mut asking(&limiter, &rules, "a", Normal));
    hold.leave();
    let _next = admitted(&mut asking(&limiter, &rules, "a", Normal));
    hold.settle(&Load::default());
    assert_eq!(seen(&limiter, &rules), (1, 0));
}

#[derive(Debug, Clone)]
enum Deed {
    Come(u8, u8),
    Leave(usize),
    Look(usize),
    Finish(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..3u8, 0..4u8).prop_map(|(class, who)| Deed::Come(class, who)),
        1 => any::<usize>().prop_map(Deed::Leave),
        2 => any::<usize>().prop_map(Deed::Look),
        2 => any::<usize>().prop_map(Deed::Finish),
    ]
}

proptest! {
    /// Whoever comes, leaves, looks late or finishes: there are never more than
    /// three under way, nobody waits while a place is free, and in the end all
    /// places are.
    #[test]
    fn no_place_is_lost_and_none_is_given_twice(deeds in prop::collection::vec(deed(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let (limiter, rules) = (Limiter::new(), [rule("c", "3 concurrent", 5)]);
        let (mut asked, mut holds): (Vec<Asking<'_>>, Vec<Hold>) = (Vec::new(), Vec::new());
        for deed in deeds {
            match deed {
                Deed::Come(class, who) => {
                    let priority = [Interactive, Normal, Batch][usize::from(class)];
                    let user = ["a", "b", "c", "d"][usize::from(who)];
                    let mut new = asking(&limiter, &rules, user, priority);
                    match look(&mut new) {
                        Poll::Ready(Ok(hold)) => holds.push(hold),
                        Poll::Ready(Err(refused)) => prop_assert_eq!(refused.why, Why::QueueFull),
                        Poll::Pending => asked.push(new),
                    }
                }
                Deed::Leave(who) if !asked.is_empty() => {
                    drop(asked.swap_remove(who % asked.len()));
                }
                Deed::Look(who) if !asked.is_empty() => {
                    let who = who % asked.len();
                    if let Poll::Ready(outcome) = look(&mut asked[who]) {
                        holds.extend(outcome);
                        drop(asked.swap_remove(who));
                    }
                }
                Deed::Finish(who) if !holds.is_empty() => {
                    holds.swap_remove(who % holds.len()).release();
                }
                _ => {}
            }
            let (under_way, waiting) = seen(&limiter, &rules);
            prop_assert!(holds.len() as u64 <= under_way && under_way <= 3);
            prop_assert!(waiting == 0 || under_way == 3, "{waiting} wait for nothing");
            prop_assert!(waiting <= 5);
        }
        drop(asked);
        drop(holds);
        prop_assert_eq!(seen(&limiter, &rules), (0, 0));
    }
}

/// With real wakers and threads: everybody has a turn, never more at once than
/// there are places.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_wait_for_places_all_have_a_turn() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let limiter = Arc::new(Limiter::new());
    let rules = Arc::new([rule("c", "3 concurrent", 100)]);
    let (under_way, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..40)
        .map(|task| {
            let (limiter, rules) = (Arc::clone(&limiter), Arc::clone(&rules));
            let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
            tokio::spawn(async move {
                let user = (task % 7).to_string();
                for _ in 0..50 {
                    let hold = patient(&limiter, &*rules, &user).await.unwrap();
                    let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    drop(hold);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(seen(&limiter, &*rules), (0, 0));
}

/// A request that waits for two minutes, if the machine is slow; a place that is
/// lost is a failure then, not a test that hangs.
async fn patient(limiter: &Limiter, rules: &[Arc<Rule>], user: &str) -> Result<Hold, Refusal> {
    let long = Duration::from_secs(120);
    let mut rule = Rule::clone(&rules[0]);
    rule.wait = long;
    let subject = Subject {
        key: "k",
        team: None,
        user: Some(user),
        route: "r",
        endpoint: "e",
        target: None,
    };
    let turn = Turn {
        priority: Normal,
        until: (Instant::now() + long).into_std(),
    };
    let nothing = Load::default();
    let rules = [Arc::new(rule)];
    let reserve = limiter.reserve(&rules, &subject, Stage::Request, &nothing, turn, NOW);
    reserve.await
}
