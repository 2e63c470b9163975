//! Rules, pools and qualities: from what the operator wrote to what decides.

use super::compile::{Compiler, path};
use super::policy::{Containment, Policies, Policy};
use super::{Route, TargetPattern};
use crate::classify::{Model, Sketch};
use crate::config::{self, OnNone, Path, Prefer, Unknown, is_plain};
use crate::route::policy::{Need, Preference, Quality, Rule};
use crate::route::when::Predicate;
use crate::units::Pattern;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Compiler<'_> {
    /// What rules are about; with every problem of it.
    pub(super) fn policies(&mut self) -> Policies {
        let config = self.config;
        let mut policies = Policies {
            qualities: Policies::qualities(&config.quality),
            model: self.classifier(),
            ..Policies::default()
        };
        for (name, pool) in &config.pools {
            if pool.targets.is_empty() {
                let hint = "targets = [\"provider/*\"]";
                self.error(path(["pools", name, "targets"]), "an empty pool", hint);
            }
            self.patterns(&["pools", name, "targets"], &pool.targets);
            let patterns = pool.targets.iter().map(Pattern::new).collect();
            policies.pools.insert(name.as_str().into(), patterns);
        }
        let lists = [
            ("strong", &config.quality.strong),
            ("medium", &config.quality.medium),
            ("budget", &config.quality.budget),
        ];
        for (name, list) in lists {
            self.patterns(&["quality", name], list);
        }
        policies.everywhere = self.everywhere();
        policies
    }

    /// `provider/model`, where either may hold stars.
    fn patterns(&mut self, place: &[&str], all: &[String]) {
        for (i, pattern) in all.iter().enumerate() {
            let at = Path(
                place
                    .iter()
                    .map(|s| (*s).to_owned())
                    .chain([i.to_string()])
                    .collect(),
            );
            let Some((provider, _)) = pattern.split_once('/') else {
                let hint = "write it as provider/model; \"*\" matches any run of characters";
                self.error(at, "this names no target", hint);
                continue;
            };
            let provider = Pattern::new(provider);
            if !self
                .config
                .providers
                .keys()
                .any(|name| provider.matches(name))
            {
                self.warn(at, "no provider has this name", "see [providers]");
            }
        }
    }

    /// The operator's weights, or those that come with the gateway.
    fn classifier(&mut self) -> Option<Arc<Model>> {
        let Some(file) = &self.config.classifier.weights else {
            return Model::built_in();
        };
        let read = std::fs::read(file).map_err(|e| e.to_string());
        match read.and_then(|bytes| Model::read(&bytes).map_err(|e| e.to_string())) {
            Ok(model) => Some(Arc::new(model)),
            Err(e) => {
                let text = format!("{}: {e}", file.display());
                let hint = "tollgate train and tollgate calibrate make such files";
                self.error(path(["classifier", "weights"]), text, hint);
                None
            }
        }
    }

    fn everywhere(&mut self) -> Vec<Containment> {
        let config = self.config;
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for (i, written) in config.rules.iter().enumerate() {
            let i = i.to_string();
            let at = |key: &str| path(["rules", &i, key]);
            self.rule_name(at("name"), &written.name, &mut names);
            self.names_pool(at("pool"), &written.pool);
            if let Some(when) = self.predicate(at("when"), &written.when) {
                rules.push(Containment {
                    name: written.name.as_str().into(),
                    when,
                    holds_unknown: written.unknown == Unknown::Match,
                    pool: written.pool.as_str().into(),
                });
            }
        }
        rules
    }

    fn rule_name<'n>(&mut self, at: Path, name: &'n str, names: &mut BTreeSet<&'n str>) {
        if !is_plain(name) {
            let hint = "1 to 64 letters, digits, \".\", \"_\", \"-\"";
            self.error(at, "this is no name", hint);
        } else if !names.insert(name) {
            self.error(at, "another rule has this name", "decisions are told by it");
        }
    }

    fn names_pool(&mut self, at: Path, name: &str) {
        if !self.config.pools.contains_key(name) {
            let known: Vec<_> = self.config.pools.keys().map(String::as_str).collect();
            let text = format!("there is no pool \"{}\"", name.escape_default());
            let hint = match known.is_empty() {
                true => format!("write [pools.{}]", "NAME"),
                false => format!("known pools: {}", known.join(", ")),
            };
            self.error(at, text, &hint);
        }
    }

    fn predicate(&mut self, at: Path, text: &str) -> Option<Predicate> {
        match Predicate::compile(text) {
            Ok(predicate) => Some(predicate),
            Err(e) => {
                self.error(
                    at,
                    e.to_string(),
                    "for example: kind == \"code\" && turns < 3",
                );
                None
            }
        }
    }

    /// The rules of one route.
    pub(super) fn policy(&mut self, alias: &str, written: &config::Model) -> Option<Policy> {
        if written.rules.is_empty() {
            if written.strong_share.is_some() {
                let hint = "write a rule with when = \"hard\"";
                self.warn(
                    path(["models", alias, "strong_share"]),
                    "no rule asks for it",
                    hint,
                );
            }
            return None;
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for (i, one) in written.rules.iter().enumerate() {
            let i = i.to_string();
            let at = |key: &str| path(["models", alias, "rules", &i, key]);
            self.rule_name(at("name"), &one.name, &mut names);
            if let Some(pool) = &one.pool {
                self.names_pool(at("pool"), pool);
            }
            if one
                .quality
                .zip(one.max_quality)
                .is_some_and(|(least, most)| quality(least) > quality(most))
            {
                self.error(
                    at("max_quality"),
                    "below quality: no target will do",
                    "leave one out",
                );
            }
            if let Some(rule) = self
                .predicate(at("when"), &one.when)
                .map(|when| rule(one, when))
            {
                rules.push(rule);
            }
        }
        self.unreachable(alias, &rules);
        let asks_hard = rules.iter().any(|rule| rule.when.asks_hard());
        if asks_hard && written.strong_share.is_none() {
            let hint = "strong_share = 0.3 makes the hardest 30 % of requests hard";
            let at = path(["models", alias, "rules"]);
            self.error(
                at,
                "a rule asks for hard, and nobody says how many are",
                hint,
            );
        }
        Some(Policy {
            rules,
            strong: self.strong(alias, written.strong_share),
        })
    }

    /// What the previous table has seen of a route's scores is not forgotten.
    fn strong(&self, alias: &str, share: Option<f64>) -> Option<(f32, Arc<Sketch>)> {
        let share = share? as f32;
        let previous = self
            .previous
            .and_then(|table| table.route(alias)?.policy.as_ref());
        let known = previous.and_then(|policy| policy.strong.as_ref());
        let sketch = known.map(|(_, sketch)| Arc::clone(sketch)).or_else(|| {
            let model = Model::built_in()?;
            Some(Arc::new(Sketch::new(model.quantiles())))
        });
        Some((share, sketch?))
    }

    /// Rules after one that always holds, and always leaves something or refuses.
    fn unreachable(&mut self, alias: &str, rules: &[Rule]) {
        let is_last = |rule: &Rule| rule.when.is_always() && !rule.passes_on;
        let Some(last) = rules.iter().position(is_last) else {
            return;
        };
        for (i, rule) in rules.iter().enumerate().skip(last.saturating_add(1)) {
            let at = path(["models", alias, "rules", &i.to_string()]);
            let text = format!("the rule '{}' is never reached", rule.name);
            self.warn(at, text, "a rule before it always holds");
        }
    }

    /// That a rule's pool leaves anything, for routes whose targets are all known.
    pub(super) fn closures(&mut self, route: &Route, policies: &Policies) {
        let pooled = route
            .policy
            .iter()
            .flat_map(|policy| policy.rules.iter().enumerate());
        let mut empty = Vec::new();
        for (i, rule) in pooled {
            let Some(pool) = &rule.pool else { continue };
            let inside = |target: &TargetPattern| {
                let name = format!("{}/{}", target.provider.name, target.model);
                target.model.contains('*') || policies.is_in(pool, &name)
            };
            if !route.targets.iter().any(inside) {
                empty.push((i, Arc::clone(pool)));
            }
        }
        for (i, pool) in empty {
            let at = path(["models", &route.alias, "rules", &i.to_string(), "pool"]);
            let text =
                format!("no target of this route is in the pool \"{pool}\": all are refused");
            self.warn(at, text, "add one to targets or fallbacks");
        }
    }
}

const fn quality(written: config::Quality) -> Quality {
    match written {
        config::Quality::Budget => Quality::Budget,
        config::Quality::Medium => Quality::Medium,
        config::Quality::Strong => Quality::Strong,
    }
}

fn rule(written: &config::Rule, when: Predicate) -> Rule {
    let contains = written.pool.is_some();
    let unknown = written.unknown.unwrap_or(match contains {
        true => Unknown::Match,
        false => Unknown::Skip,
    });
    Rule {
        name: written.name.as_str().into(),
        when,
        holds_unknown: unknown == Unknown::Match,
        pool: written.pool.as_deref().map(Into::into),
        need: Need {
            quality: written.quality.map(quality),
            max_quality: written.max_quality.map(quality),
            max_first_token: written.max_first_token,
            max_price: written.max_price,
        },
        prefer: match written.prefer {
            Prefer::Listed => Preference::Listed,
            Prefer::Cheapest => Preference::Cheapest,
            Prefer::Fastest => Preference::Fastest,
            Prefer::Balanced => Preference::Balanced {
                price: written.price_weight,
                time: 1.0 - written.price_weight,
            },
            Prefer::LeastLoaded => Preference::LeastLoaded,
        },
        passes_on: written.on_none == OnNone::Next && !contains,
    }
}
