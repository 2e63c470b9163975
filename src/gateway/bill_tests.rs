use super::*;
use crate::admission::Selector;
use std::time::Duration;

#[tokio::test]
async fn what_is_given_up_before_it_was_had_costs_nothing() {
    let rule = Rule {
        name: "r".into(),
        allowance: "1 usd".parse().unwrap(),
        per: Vec::new(),
        on: Selector::default(),
        hard: true,
        wait: Duration::ZERO,
        depth: 0,
    };
    let (limiter, rules) = (Limiter::new(), [Arc::new(rule)]);
    let now = Moment(1_782_864_000_000_000);
    let names = Names {
        key: "k".into(),
        team: None,
        user: None,
        route: "r".into(),
        endpoint: "chat_completions",
        priority: Priority::Normal,
    };
    let desk = Desk {
        limiter: &limiter,
        now,
        until: Instant::now(),
    };
    let load = Load {
        requests: 1,
        cost: MicroUsd(10),
        ..Load::default()
    };
    let (subject, turn) = (names.subject(None), desk.turn(&names));
    let hold = limiter.reserve(&rules, &subject, Stage::Request, &load, turn, now);
    let unsent = Unsent(Some(hold.await.unwrap()));
    assert_eq!(limiter.left(&rules, now)[0].used, 10);
    drop(unsent);
    assert_eq!(limiter.left(&rules, now)[0].used, 0);
}
