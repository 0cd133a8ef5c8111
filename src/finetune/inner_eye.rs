//! Optimizer and learning rate as InnerEye's configurations give them.

use serde::Serialize;

use crate::autodiff::{Optimizer, OptimizerKind};
use crate::finetune::fit_options::FitOptions;
use crate::hooks::{Decay, Schedule};

/// InnerEye's `OptimizerParams`, under their names and with their defaults: an almost constant learning rate, a large epsilon
/// and a weight decay that is part of the gradient.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OptimizerParams {
    /// `l_rate`, the largest learning rate.
    pub l_rate: f64,
    /// `min_l_rate`, the smallest one.
    pub min_l_rate: f64,
    /// `l_rate_scheduler` with its parameters: Exponential gamma 0.9, Step 0.1 and 50 epochs, MultiStep 0.1, Polynomial 1e-4
    /// by default there.
    pub l_rate_scheduler: Decay,
    /// `l_rate_warmup_epochs`.
    pub l_rate_warmup_epochs: u64,
    /// `optimizer_type`: Adam, AMSGrad, SGD or RMSprop.
    #[serde(serialize_with = "as_name")]
    pub optimizer_type: OptimizerKind,
    /// `opt_eps`.
    pub opt_eps: f32,
    /// `rms_alpha`.
    pub rms_alpha: f32,
    /// `adam_betas`.
    pub adam_betas: [f32; 2],
    /// `momentum` of SGD and RMSprop.
    pub momentum: f32,
    /// `weight_decay`.
    pub weight_decay: f32,
}

fn as_name<S: serde::Serializer>(kind: &OptimizerKind, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(kind.name())
}

impl Default for OptimizerParams {
    fn default() -> OptimizerParams {
        OptimizerParams {
            l_rate: 1e-4,
            min_l_rate: 0.0,
            l_rate_scheduler: Decay::Polynomial { gamma: 1e-4 },
            l_rate_warmup_epochs: 0,
            optimizer_type: OptimizerKind::Adam,
            opt_eps: 1e-4,
            rms_alpha: 0.9,
            adam_betas: [0.9, 0.999],
            momentum: 0.6,
            weight_decay: 1e-4,
        }
    }
}

impl OptimizerParams {
    /// The optimizer.
    pub fn optimizer(&self) -> Optimizer {
        let mut own = Optimizer::new(self.optimizer_type);
        own.betas = self.adam_betas;
        own.alpha = self.rms_alpha;
        own.epsilon = self.opt_eps;
        own.weight_decay = self.weight_decay;
        if matches!(self.optimizer_type, OptimizerKind::Sgd | OptimizerKind::RmsProp) {
            own.momentum = self.momentum;
        }
        own
    }

    /// The learning rates, for [`FitOptions::schedule`].
    pub fn schedule(&self) -> Schedule {
        let mut own = Schedule::new(self.l_rate_scheduler.clone());
        (own.warm_up, own.least) = (self.l_rate_warmup_epochs, self.min_l_rate);
        own
    }

    /// InnerEye's options of a training of `num_epochs` (100 by default there).
    pub fn fit_options(&self, num_epochs: u64) -> FitOptions {
        let mut options = FitOptions::new(num_epochs, self.l_rate);
        options.schedule = Some(self.schedule());
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_inner_eyes() {
        let own = OptimizerParams::default();
        let optimizer = own.optimizer();
        assert_eq!((optimizer.kind, optimizer.epsilon), (OptimizerKind::Adam, 1e-4));
        assert_eq!((optimizer.weight_decay, optimizer.momentum), (1e-4, 0.0));
        let options = own.fit_options(4);
        let rate = |k| options.schedule.as_ref().unwrap().rate(options.learning_rate, k, 4);
        assert!((rate(3) / 9.998614e-5 - 1.0).abs() < 1e-7);
        let sgd = OptimizerParams { optimizer_type: OptimizerKind::Sgd, ..own };
        assert_eq!(sgd.optimizer().momentum, 0.6);
        sgd.optimizer().check().unwrap();
    }
}
