//! Parameters with rates of their own.

use std::str::FromStr;

use crate::autodiff::optimizer::Optimizer;
use crate::autodiff::parameter::{Parameter, Role};
use crate::error::{Error, Result};
use crate::weights::pattern::name_matches;

/// Parameters whose name matches a pattern, with a learning rate or weight decay of their own.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ParameterGroup {
    /// Pattern over names: `*` is any text, `?` one character.
    pub pattern: String,
    /// Factor of the learning rate, 0 or more.
    pub lr_multiplier: f32,
    /// Weight decay in place of the optimizer's.
    pub weight_decay: Option<f32>,
}

impl ParameterGroup {
    /// A group with the optimizer's own rates.
    pub fn new(pattern: impl Into<String>) -> ParameterGroup {
        ParameterGroup { pattern: pattern.into(), lr_multiplier: 1.0, weight_decay: None }
    }

    pub(super) fn check(&self) -> Result<()> {
        let fine = |value: f32| value.is_finite() && value >= 0.0;
        if !fine(self.lr_multiplier) || !self.weight_decay.is_none_or(fine) {
            return Err(Error::invalid(format!("group {:?}: expected rates of 0 or more", self.pattern)));
        }
        Ok(())
    }
}

impl FromStr for ParameterGroup {
    type Err = Error;

    /// `PATTERN`, `PATTERN:lr=FACTOR`, `PATTERN:decay=RATE` or both: `encoder.*:lr=0.1:decay=0`. The pattern may have
    /// colons.
    fn from_str(text: &str) -> Result<ParameterGroup> {
        let mut group = ParameterGroup::new(text);
        let mut seen = Vec::new();
        while let Some((pattern, option)) = group.pattern.rsplit_once(':') {
            let Some((key, value)) = option.split_once('=') else { break };
            let number = || {
                let wrong = || Error::invalid(format!("group {text:?}: expected a number, got {value:?}"));
                value.parse::<f32>().map_err(|_| wrong())
            };
            if seen.contains(&key) {
                return Err(Error::invalid(format!("group {text:?}: {key} is given twice")));
            }
            match key {
                "lr" => group.lr_multiplier = number()?,
                "decay" => group.weight_decay = Some(number()?),
                _ => {
                    let message = format!("group {text:?}: expected lr or decay, got {key:?}");
                    return Err(Error::invalid(message));
                }
            }
            let rest = pattern.len();
            seen.push(&text[rest + 1..rest + 1 + key.len()]);
            group.pattern = text[..rest].to_owned();
        }
        if group.pattern.is_empty() {
            return Err(Error::invalid(format!("group {text:?}: expected a pattern over names")));
        }
        group.check()?;
        Ok(group)
    }
}

/// The rates of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    /// Factor of the learning rate.
    pub(crate) lr_multiplier: f32,
    /// Weight decay.
    pub(crate) weight_decay: f32,
}

/// The rates of every parameter, by the first group that matches it.
///
/// # Errors
/// `InvalidArgument` for a group that matches none.
pub(crate) fn rates(optimizer: &Optimizer, parameters: &[Parameter]) -> Result<Vec<Rates>> {
    let matches = |group: &ParameterGroup, own: &Parameter| {
        name_matches(&group.pattern, &own.name) || name_matches(&group.pattern, &own.alias)
    };
    for group in &optimizer.groups {
        if !parameters.iter().any(|own| matches(group, own)) {
            return Err(Error::invalid(format!(
                "group {:?} matches none of the trained tensors",
                group.pattern
            )));
        }
    }
    let rates_of = |own: &Parameter| {
        let group = optimizer.groups.iter().find(|group| matches(group, own));
        let is_plain = !matches!(own.role, Role::Bias | Role::NormBias | Role::NormScale);
        let default = if optimizer.decay_norm_and_bias || is_plain { optimizer.weight_decay } else { 0.0 };
        Rates {
            lr_multiplier: group.map_or(1.0, |group| group.lr_multiplier),
            weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(default),
        }
    };
    Ok(parameters.iter().map(rates_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read() {
        for (text, pattern, lr, decay) in [
            ("encoder.*", "encoder.*", 1.0, None),
            ("encoder.*:lr=0.1", "encoder.*", 0.1, None),
            ("onnx::MatMul_*:decay=0:lr=2", "onnx::MatMul_*", 2.0, Some(0.0)),
            ("onnx::MatMul_7", "onnx::MatMul_7", 1.0, None),
        ] {
            let group: ParameterGroup = text.parse().unwrap();
            assert_eq!(
                (group.pattern.as_str(), group.lr_multiplier, group.weight_decay),
                (pattern, lr, decay)
            );
        }
        for text in ["", ":lr=1", "a:lr=x", "a:lr=-1", "a:rate=1", "a:decay=nan", "a:lr=1:decay=0:lr=2"] {
            assert!(text.parse::<ParameterGroup>().is_err(), "{text:?}");
        }
    }
}
