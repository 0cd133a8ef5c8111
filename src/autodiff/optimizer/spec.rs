//! Which optimizer, with which settings.

use std::fmt;
use std::str::FromStr;

use crate::autodiff::optimizer::ParameterGroup;
use crate::error::{Error, Result};

/// The rule of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptimizerKind {
    /// `sgd`: stochastic gradient descent.
    Sgd,
    /// `adam`: weight decay is added to the gradient.
    Adam,
    /// `amsgrad`: Adam with the largest second moment so far (Reddi et al. 2018).
    AmsGrad,
    /// `adamw`: weight decay apart from the gradient (arXiv 1711.05101).
    AdamW,
    /// `rmsprop`.
    RmsProp,
}

impl OptimizerKind {
    /// All kinds.
    pub const ALL: [OptimizerKind; 5] = [
        OptimizerKind::Sgd,
        OptimizerKind::Adam,
        OptimizerKind::AmsGrad,
        OptimizerKind::AdamW,
        OptimizerKind::RmsProp,
    ];

    /// The name: `sgd`, `adam`, `amsgrad`, `adamw`, `rmsprop`.
    pub const fn name(self) -> &'static str {
        match self {
            OptimizerKind::Sgd => "sgd",
            OptimizerKind::Adam => "adam",
            OptimizerKind::AmsGrad => "amsgrad",
            OptimizerKind::AdamW => "adamw",
            OptimizerKind::RmsProp => "rmsprop",
        }
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OptimizerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<OptimizerKind> {
        OptimizerKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            Error::invalid(format!(
                "unknown optimizer {text:?}: expected sgd, adam, amsgrad, adamw or rmsprop"
            ))
        })
    }
}

/// An optimizer with its settings; the formulas are in the [module](crate::autodiff::optimizer)'s table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Optimizer {
    /// The rule.
    pub kind: OptimizerKind,
    /// μ of SGD and RMSprop, from 0 to below 1.
    pub momentum: f32,
    /// Nesterov's form of SGD's momentum.
    pub nesterov: bool,
    /// β1 and β2 of the Adam family, from 0 to below 1.
    pub betas: [f32; 2],
    /// α of RMSprop, from 0 to below 1.
    pub alpha: f32,
    /// ε of the Adam family and RMSprop, above 0.
    pub epsilon: f32,
    /// λ, 0 or more.
    pub weight_decay: f32,
    /// Whether scales and shifts of normalisation layers and biases are decayed too, as PyTorch does by default.
    pub decay_norm_and_bias: bool,
    /// Parameters with a learning rate or weight decay of their own; the first group that matches counts.
    pub groups: Vec<ParameterGroup>,
    /// Largest absolute value of a gradient's element.
    pub clip_value: Option<f32>,
    /// Largest Euclidean norm of all gradients together.
    pub clip_norm: Option<f32>,
    /// d of the moving average of the weights, from 0 to below 1; no average without it.
    pub ema_decay: Option<f32>,
    /// Whether the gradients come scaled and a step with gradients that are not finite is skipped.
    pub loss_scale: bool,
}

impl Optimizer {
    /// An optimizer with PyTorch's defaults, with which AdamW alone decays weights (0.01).
    pub fn new(kind: OptimizerKind) -> Optimizer {
        Optimizer {
            kind,
            momentum: 0.0,
            nesterov: false,
            betas: [0.9, 0.999],
            alpha: 0.99,
            epsilon: 1e-8,
            weight_decay: if kind == OptimizerKind::AdamW { 0.01 } else { 0.0 },
            decay_norm_and_bias: true,
            groups: Vec::new(),
            clip_value: None,
            clip_norm: None,
            ema_decay: None,
            loss_scale: false,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `InvalidArgument` naming the setting, its range and what it is.
    pub fn check(&self) -> Result<()> {
        let share = |name: &str, value: f32| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => {
                Err(Error::invalid(format!("optimizer: expected {name} from 0 to below 1, got {value}")))
            }
        };
        share("momentum", self.momentum)?;
        share("beta1", self.betas[0])?;
        share("beta2", self.betas[1])?;
        share("alpha", self.alpha)?;
        if let Some(decay) = self.ema_decay {
            share("the decay of the average", decay)?;
        }
        let positive = |name: &str, value: f32| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::invalid(format!("optimizer: expected {name} above 0, got {value}"))),
        };
        positive("epsilon", self.epsilon)?;
        if let Some(value) = self.clip_value {
            positive("the clipping value", value)?;
        }
        if let Some(norm) = self.clip_norm {
            positive("the clipping norm", norm)?;
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            let message =
                format!("optimizer: expected a weight decay of 0 or more, got {}", self.weight_decay);
            return Err(Error::invalid(message));
        }
        if self.nesterov && (self.kind != OptimizerKind::Sgd || self.momentum == 0.0) {
            return Err(Error::invalid("optimizer: Nesterov's momentum needs sgd with a momentum"));
        }
        self.groups.iter().try_for_each(ParameterGroup::check)
    }

    /// Names of the tensors that the rule keeps for every parameter, as PyTorch calls them.
    pub fn state_names(&self) -> &'static [&'static str] {
        match self.kind {
            OptimizerKind::Sgd if self.momentum > 0.0 => &["momentum_buffer"],
            OptimizerKind::Sgd => &[],
            OptimizerKind::Adam | OptimizerKind::AdamW => &["exp_avg", "exp_avg_sq"],
            OptimizerKind::AmsGrad => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
            OptimizerKind::RmsProp if self.momentum > 0.0 => &["square_avg", "momentum_buffer"],
            OptimizerKind::RmsProp => &["square_avg"],
        }
    }

    /// Whether the norm of the gradients is needed.
    pub(crate) fn needs_norm(&self) -> bool {
        self.clip_norm.is_some() || self.loss_scale
    }
}

impl Default for Optimizer {
    /// AdamW.
    fn default() -> Optimizer {
        Optimizer::new(OptimizerKind::AdamW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for kind in OptimizerKind::ALL {
            assert_eq!(kind.name().parse::<OptimizerKind>().unwrap(), kind);
        }
        assert!("Adam".parse::<OptimizerKind>().is_err());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let wrong = |change: &dyn Fn(&mut Optimizer)| {
            let mut optimizer = Optimizer::default();
            assert!(optimizer.check().is_ok());
            change(&mut optimizer);
            assert!(optimizer.check().is_err(), "{optimizer:?}");
        };
        wrong(&|own| own.betas = [0.9, 1.0]);
        wrong(&|own| own.momentum = -0.1);
        wrong(&|own| own.epsilon = 0.0);
        wrong(&|own| own.weight_decay = f32::NAN);
        wrong(&|own| own.clip_norm = Some(0.0));
        wrong(&|own| own.ema_decay = Some(1.0));
        wrong(&|own| own.nesterov = true);
    }
}
