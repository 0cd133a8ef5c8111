//! Names of a state dict and of a model, brought to a common form.

use std::collections::{HashMap, HashSet};

use crate::weights::mapping::Slot;

/// Prefixes that wrappers put before the names of a network's tensors: Lightning modules, data parallel modules, compiled
/// modules.
const PREFIXES: [&str; 4] = ["model.", "module.", "_orig_mod.", "net."];

/// How many wrappers around each other are looked through, on the side of the checkpoint and of the model.
const WRAPPERS: usize = 3;

/// Which prefixes are left out of the names, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    /// Of those of the checkpoint.
    pub(super) checkpoint: Vec<&'static str>,
    /// Of those of the model.
    pub(super) model: Vec<&'static str>,
}

impl Names {
    /// The prefixes without which most names are equal; none where that does not make a difference.
    pub(super) fn of(slots: &[Slot], keys: &[&str]) -> Names {
        let mut best = (0, Names::default());
        let own: Vec<&str> = slots.iter().map(|slot| slot.alias.as_str()).collect();
        for model in chains(&own, 1) {
            let wanted: HashSet<String> = aliases(slots, &model).into_iter().flatten().collect();
            for checkpoint in chains(keys, WRAPPERS) {
                let names: HashSet<&str> = keys.iter().map(|key| strip(key, &checkpoint)).collect();
                // Two tensors of one name: the prefix told them apart.
                if names.len() < keys.len() {
                    continue;
                }
                let equal = names.iter().filter(|name| wanted.contains(**name)).count();
                if equal > best.0 {
                    best = (equal, Names { checkpoint, model: model.clone() });
                }
            }
        }
        best.1
    }

    /// What is left out of the checkpoint's names, in one text.
    pub(super) fn shown(&self) -> String {
        self.checkpoint.concat()
    }
}

/// All orders of prefixes that a part of the names have, the shortest first.
fn chains(names: &[&str], longest: usize) -> Vec<Vec<&'static str>> {
    let mut found: Vec<Vec<&'static str>> = vec![vec![]];
    let mut from = 0;
    for _ in 0..longest {
        let until = found.len();
        for at in from..until {
            for prefix in PREFIXES {
                let having = names.iter().filter(|name| strip(name, &found[at]).starts_with(prefix)).count();
                // A module of the network that happens to be called `net` is not around all of it; what stands beside
                // the network in a checkpoint (losses, metrics) has other names.
                if having * 10 >= names.len().max(1) {
                    let mut chain = found[at].clone();
                    chain.push(prefix);
                    found.push(chain);
                }
            }
        }
        from = until;
    }
    found
}

/// The name without these prefixes, as far as it has them.
pub(super) fn strip<'a>(name: &'a str, prefixes: &[&str]) -> &'a str {
    prefixes.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

/// For each slot the names that its tensor may have in a state dict: its own first. Names of layers that several slots
/// have are left out.
pub(super) fn aliases(slots: &[Slot], prefixes: &[&str]) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = slots
        .iter()
        .map(|slot| {
            let mut names = vec![strip(&slot.name, prefixes).to_owned()];
            if slot.alias != slot.name {
                let alias = strip(&slot.alias, prefixes);
                let collapsed = collapsed(alias);
                for name in [alias.to_owned(), without_operators(&collapsed), collapsed] {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            names
        })
        .collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in all.iter().flatten() {
        *counts.entry(name.clone()).or_default() += 1;
    }
    for names in &mut all {
        let mut first = true;
        names.retain(|name| std::mem::take(&mut first) || counts.get(name) == Some(&1));
    }
    all
}

/// The prefix without which most names are those of slots, the shortest of several, if that is half of the slots at least.
pub(super) fn prefix_hint(slot_names: &[Vec<String>], names: &[&str]) -> Option<String> {
    let wanted: HashSet<&str> = slot_names.iter().flatten().map(String::as_str).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in names {
        for (at, _) in name.match_indices('.').filter(|(at, _)| wanted.contains(&name[at + 1..])) {
            *counts.entry(&name[..=at]).or_default() += 1;
        }
    }
    let (prefix, count) = counts.into_iter().max_by_key(|(prefix, count)| {
        (*count, std::cmp::Reverse(prefix.len()), std::cmp::Reverse(*prefix))
    })?;
    (2 * count >= slot_names.len()).then(|| prefix.to_owned())
}

/// A name made of scopes, in which a child of a Sequential has its parent's name again: `down.1.down.1.0.weight` is
/// `down.1.0.weight`.
fn collapsed(alias: &str) -> String {
    let is_number = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    let mut tokens: Vec<&str> = alias.split('.').collect();
    let mut at = 0;
    while at < tokens.len() {
        let rest = tokens.len() - at;
        let again = (1..=rest.saturating_sub(1) / 2).rev().find(|&run| {
            tokens[at..at + run] == tokens[at + run..at + 2 * run] && is_number(tokens[at + 2 * run])
        });
        match again {
            // A scope begins with a name, unless the network itself is a Sequential: `1.1.0` within a name is itself.
            Some(run) if !is_number(tokens[at]) => drop(tokens.drain(at..at + run)),
            Some(run) if at == 0 => {
                tokens.drain(..run);
                at = 1;
            }
            _ => at += 1,
        }
    }
    tokens.join(".")
}

/// A name made of scopes without those of operators before the last part: `fc1.MatMul.MatMulAddFusion.weight` is
/// `fc1.weight`.
fn without_operators(alias: &str) -> String {
    let Some((path, leaf)) = alias.rsplit_once('.') else { return alias.to_owned() };
    let is_operator = |scope: &str| {
        ["MatMul", "Gemm", "Conv", "Add"].iter().any(|operator| {
            scope
                .strip_prefix(operator)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with("Fusion") || rest.starts_with('_'))
        })
    };
    let mut scopes: Vec<&str> = path.split('.').collect();
    while scopes.len() > 1 && scopes.last().is_some_and(|scope| is_operator(scope)) {
        scopes.pop();
    }
    format!("{}.{leaf}", scopes.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_become_names() {
        for (alias, name) in [
            ("down.0.down.0.0.weight", "down.0.0.weight"),
            ("block.block.0.block.0.0.weight", "block.0.0.weight"),
            ("atrous.0.atrous.0.1.atrous.0.1.0.weight", "atrous.0.1.0.weight"),
            ("layer1.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
            ("blocks.0.mlp.mlp.2.weight", "blocks.0.mlp.2.weight"),
            ("head.weight", "head.weight"),
            ("a.a.weight", "a.a.weight"),
            ("atrous.1.atrous.1.1.atrous.1.1.0.weight", "atrous.1.1.0.weight"),
            ("layers.1.1.0.weight", "layers.1.1.0.weight"),
            ("a.a.a.0.weight", "a.a.0.weight"),
            // A Sequential of Sequentials.
            ("0.0.0.weight", "0.0.weight"),
            ("1.1.1.weight", "1.1.weight"),
        ] {
            assert_eq!(collapsed(alias), name);
        }
        assert_eq!(without_operators("blocks.0.kv.MatMul.MatMulAddFusion.weight"), "blocks.0.kv.weight");
        assert_eq!(without_operators("Conv.weight"), "Conv.weight");
        assert_eq!(without_operators("Convolution.weight"), "Convolution.weight");
    }

    #[test]
    fn a_prefix_is_named_where_the_names_fit_behind_it() {
        let slots =
            [vec!["a.w".to_owned()], vec!["onnx::1".to_owned(), "b.w".to_owned()], vec!["c".to_owned()]];
        let hint = |names: &[&str]| prefix_hint(&slots, names);
        assert_eq!(hint(&["ema.a.w", "backbone.a.w", "backbone.b.w"]).as_deref(), Some("backbone."));
        assert_eq!(hint(&["x.y.a.w", "x.y.b.w"]).as_deref(), Some("x.y."));
        assert_eq!(hint(&["x.a.w"]), None);
        assert_eq!(hint(&["a.x", "b"]), None);
    }

    #[test]
    fn prefixes_are_left_out_where_that_helps() {
        let slots =
            |names: &[&str]| -> Vec<Slot> { names.iter().map(|name| Slot::new(*name, &[1])).collect() };
        let of = |own: &[&str], keys: &[&str]| {
            let names = Names::of(&slots(own), keys);
            (names.checkpoint.concat(), names.model.concat())
        };
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of(&["a.w", "b.w"], &["model.a.w", "model.b.w", "loss.w"]), text("model.", ""));
        assert_eq!(
            of(&["a.w", "b.w"], &["module._orig_mod.a.w", "module._orig_mod.b.w"]),
            text("module._orig_mod.", "")
        );
        assert_eq!(of(&["a.w"], &["a.w"]), text("", ""));
        // The network's own module of that name.
        assert_eq!(of(&["model.a.w"], &["model.a.w"]), text("", ""));
        assert_eq!(of(&["model.a.w", "model.b.w"], &["a.w", "b.w"]), text("", "model."));
        assert_eq!(of(&["net.a.w"], &["module.a.w"]), text("module.", "net."));
        // Without the prefix two tensors would have one name.
        assert_eq!(of(&["a.w"], &["model.a.w", "a.w"]), text("", ""));
        assert_eq!(of(&["x"], &["model.y"]), text("", ""));
    }

    #[test]
    fn names_of_layers_that_are_not_unique_do_not_count() {
        let slot = |name: &str, alias: &str| Slot { alias: alias.into(), ..Slot::new(name, &[1]) };
        let slots = [slot("1", "a.weight"), slot("2", "a.weight"), slot("3", "b.weight")];
        assert_eq!(aliases(&slots, &[]), [vec!["1"], vec!["2"], vec!["3", "b.weight"]]);
    }
}
