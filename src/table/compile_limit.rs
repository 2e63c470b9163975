//! Limits and budgets: from what the operator wrote to rules.

use super::compile::{Compiler, path};
use crate::admission::{Dimension, Fleet, MOST_SHARED, Rule, Selector};
use crate::chat::Operation;
use crate::config::{self, Per, Store, is_plain};
use crate::units::{Allowance, Measure, Pattern, Window};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

impl Compiler<'_> {
    /// All `[[limit]]`s, with every problem of theirs.
    pub(super) fn limits(&mut self) -> Vec<Arc<Rule>> {
        let config = self.config;
        let mut names = BTreeSet::new();
        for (i, written) in config.limit.iter().enumerate() {
            let at = |key: &str| path(["limit", &i.to_string(), key]);
            if !is_plain(&written.name) {
                let hint = "1 to 64 letters, digits, \".\", \"_\", \"-\"";
                self.error(at("name"), "this is no name", hint);
            }
            if !names.insert(&written.name) {
                let hint = "what is used is kept by name, so that each needs its own";
                self.error(at("name"), "another limit has this name", hint);
            }
            let is_concurrent = written.allow.measure == Measure::Concurrent;
            if !is_concurrent && !written.wait.is_zero() {
                let hint = "only `concurrent` limits have a turn to wait for";
                self.warn(at("wait"), "nothing ever waits for this limit", hint);
            }
            self.names_of_limit(i, written);
        }
        self.shared_limits();
        config.limit.iter().map(|w| Arc::new(rule(w))).collect()
    }

    /// What a fleet's store can count exactly, and where it is.
    fn shared_limits(&mut self) {
        let config = self.config;
        if config.state.store != Store::Redis {
            return;
        }
        let limits = config.limit.iter().enumerate();
        let own = limits.map(|(i, one)| (path(["limit", &i.to_string(), "allow"]), one.allow));
        let keys = config.keys.iter().flat_map(|(name, key)| {
            let at = move |i: usize| path(["keys", name, "limits", &i.to_string()]);
            let limits = key.limits.iter().enumerate();
            limits.map(move |(i, allowance)| (at(i), *allowance))
        });
        let is_large = |allowance: &Allowance| allowance.amount > MOST_SHARED;
        let large: Vec<_> = own.chain(keys).filter(|(_, one)| is_large(one)).collect();
        for (at, _) in large {
            let hint = "Redis counts exactly to 2^53 - 1; money in millionths of a dollar";
            self.error(at, "this is more than can be shared", hint);
        }
        let url = config.state.url.as_deref();
        if let Some((text, hint)) = url.and_then(Fleet::fault_of) {
            self.error(path(["state", "url"]), text, hint);
        }
    }

    /// Names that nothing has: limits of nobody.
    fn names_of_limit(&mut self, i: usize, written: &config::Limit) {
        let config = self.config;
        let operations = Operation::ALL.map(Operation::name);
        let routes = |name: &str| name == super::DIRECT || config.models.contains_key(name);
        type Exists<'a> = &'a dyn Fn(&str) -> bool;
        let checks: [(&str, &[String], Exists<'_>); 3] = [
            ("routes", &written.routes, &routes),
            ("providers", &written.providers, &|name| {
                config.providers.contains_key(name)
            }),
            ("endpoints", &written.endpoints, &|name| {
                operations.contains(&name)
            }),
        ];
        for (key, names, exists) in checks {
            for (n, name) in names.iter().enumerate() {
                if !name.contains('*') && !exists(name) {
                    let at = path(["limit", &i.to_string(), key, &n.to_string()]);
                    let text = format!("nothing is called \"{}\"", name.escape_default());
                    self.warn(at, text, "the limit counts nothing by this name");
                }
            }
        }
    }
}

fn rule(written: &config::Limit) -> Rule {
    let patterns = |all: &[String]| all.iter().map(Pattern::new).collect();
    Rule {
        name: written.name.as_str().into(),
        allowance: written.allow,
        per: written.per.iter().copied().map(dimension).collect(),
        on: Selector {
            keys: patterns(&written.keys),
            teams: patterns(&written.teams),
            users: patterns(&written.users),
            routes: patterns(&written.routes),
            endpoints: patterns(&written.endpoints),
            models: patterns(&written.models),
            providers: patterns(&written.providers),
        },
        hard: written.hard.unwrap_or(is_hard(written.allow)),
        wait: written.wait,
        depth: written.depth,
    }
}

/// Budgets are, unless they say otherwise.
fn is_hard(allowance: Allowance) -> bool {
    allowance.measure == Measure::Usd
}

/// The rules of one key's own limits. What is used is kept under the key's name
/// and what the limit is of, so that a budget that is raised keeps what was
/// spent.
pub fn rules_of_key(key: &str, limits: &[Allowance]) -> Vec<Arc<Rule>> {
    let rule = |allowance: &Allowance| {
        let window = match allowance.window {
            Window::Total => "total".to_owned(),
            window => window.to_string(),
        };
        Arc::new(Rule {
            name: format!("key:{key}:{}:{window}", allowance.measure.name()).into(),
            allowance: *allowance,
            per: Vec::new(),
            on: Selector {
                keys: vec![Pattern::new(key)],
                ..Selector::default()
            },
            hard: is_hard(*allowance),
            wait: Duration::ZERO,
            depth: 0,
        })
    };
    limits.iter().map(rule).collect()
}

const fn dimension(per: Per) -> Dimension {
    match per {
        Per::Key => Dimension::Key,
        Per::Team => Dimension::Team,
        Per::User => Dimension::User,
        Per::Route => Dimension::Route,
        Per::Endpoint => Dimension::Endpoint,
        Per::Model => Dimension::Model,
        Per::Provider => Dimension::Provider,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::RoutingTable;

    fn said(text: &str) -> Vec<String> {
        let (config, found) = config::load(text);
        assert_eq!(found, [], "{text}");
        let (_, found) = RoutingTable::compile(&config.unwrap());
        let of_limits = found
            .iter()
            .filter(|d| d.path.to_string().starts_with("limit"));
        of_limits
            .map(|d| format!("{}: {}", d.path, d.message))
            .collect()
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let twice = "[[limit]]\nname = \"a\"\nallow = \"1 usd\"\n[[limit]]\nname = \"a\"\nallow = \"2 usd\"\n";
        assert_eq!(said(twice), ["limit[1].name: another limit has this name"]);
        let odd = "[[limit]]\nname = \"a b\"\nallow = \"1 usd\"\nwait = \"1s\"\nproviders = [\"x\", \"y*\"]\nendpoints = [\"chat\"]\n";
        assert_eq!(
            said(odd),
            [
                "limit[0].name: this is no name",
                "limit[0].wait: nothing ever waits for this limit",
                "limit[0].providers[0]: nothing is called \"x\"",
                "limit[0].endpoints[0]: nothing is called \"chat\"",
            ]
        );
    }

    #[test]
    fn budgets_are_hard_and_limits_are_not_unless_they_say_so() {
        let text = "[[limit]]\nname = \"a\"\nallow = \"1 usd\"\n[[limit]]\nname = \"b\"\nallow = \"1 requests / 1s\"\n\
                    [[limit]]\nname = \"c\"\nallow = \"1 usd\"\nhard = false\n";
        let config = config::load(text).0.unwrap();
        let hard: Vec<bool> = config.limit.iter().map(|w| rule(w).hard).collect();
        assert_eq!(hard, [true, false, false]);
    }

    #[test]
    fn a_keys_limits_are_of_that_key_alone() {
        let limits = [
            "10 usd / month".parse().unwrap(),
            "5 requests / 1m".parse().unwrap(),
        ];
        let rules = rules_of_key("a", &limits);
        let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
        assert_eq!(names, ["key:a:usd:month", "key:a:requests:1m"]);
        assert!(rules[0].on.keys[0].matches("a") && !rules[0].on.keys[0].matches("ab"));
    }
}
