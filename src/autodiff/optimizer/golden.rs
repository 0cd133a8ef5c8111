//! What PyTorch's optimizers do with two parameters over ten steps, for tests: `tests/golden/train/optimizers.py`.

use crate::autodiff::optimizer::{Optimizer, OptimizerKind, Rates};
use crate::weights::tensors::{self, Elements, Tensors};

/// Allowed of weights, by L2 norm: float32's rounding over ten steps.
pub(crate) const ALLOWED: f64 = 2e-6;

/// The golden file.
pub(crate) struct Golden(Tensors);

impl Golden {
    pub(crate) fn read() -> Golden {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/train/optimizers.safetensors");
        Golden(tensors::read(path).unwrap())
    }

    pub(crate) fn all(&self, name: &str) -> &[f32] {
        match self.0.get(name).map(|tensor| &tensor.elements) {
            Some(Elements::F32(values)) => values,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Part `step` of the outermost axis.
    pub(crate) fn at(&self, name: &str, step: usize) -> &[f32] {
        let length = self.0[name].shape[1..].iter().product();
        &self.all(name)[step * length..][..length]
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// An optimizer of the golden, with the rates of matrix and scalar.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) optimizer: Optimizer,
    pub(crate) rates: [Rates; 2],
}

/// Shapes of the two parameters.
pub(crate) const SHAPES: [(&str, &[usize]); 2] = [("matrix", &[7, 5]), ("scalar", &[])];

/// What PyTorch has and glebe does not offer: dampening, and AMSGrad with decay apart from the gradient.
pub(crate) const NOT_OFFERED: [&str; 2] = ["sgd.dampening", "adamw.amsgrad"];

pub(crate) fn cases() -> Vec<Case> {
    let make = |name, kind, change: &dyn Fn(&mut Optimizer)| {
        let mut optimizer = Optimizer::new(kind);
        change(&mut optimizer);
        optimizer.check().unwrap();
        let rates = Rates { lr_multiplier: 1.0, weight_decay: optimizer.weight_decay };
        Case { name, optimizer, rates: [rates, rates] }
    };
    use OptimizerKind::{Adam, AdamW, AmsGrad, RmsProp, Sgd};
    let mut cases = vec![
        make("sgd", Sgd, &|_| {}),
        make("sgd.momentum", Sgd, &|own| own.momentum = 0.9),
        make("sgd.nesterov", Sgd, &|own| (own.momentum, own.nesterov, own.weight_decay) = (0.9, true, 0.01)),
        make("adam", Adam, &|_| {}),
        make("adam.decay", Adam, &|own| (own.epsilon, own.weight_decay) = (1e-4, 0.1)),
        make("amsgrad", AmsGrad, &|own| own.betas = [0.8, 0.9]),
        make("adamw", AdamW, &|own| own.weight_decay = 0.01),
        make("adamw.betas", AdamW, &|own| {
            (own.betas, own.epsilon, own.weight_decay) = ([0.7, 0.95], 1e-3, 0.3);
        }),
        make("rmsprop", RmsProp, &|own| (own.alpha, own.epsilon) = (0.9, 1e-4)),
        make("rmsprop.momentum", RmsProp, &|own| {
            (own.alpha, own.epsilon, own.momentum, own.weight_decay) = (0.9, 1e-4, 0.6, 0.01);
        }),
    ];
    let mut groups = make("groups", AdamW, &|own| own.weight_decay = 0.2);
    groups.rates[1] = Rates { lr_multiplier: 0.1, weight_decay: 0.0 };
    cases.push(groups);
    cases
}

/// Norm of the difference by that of what is wanted.
pub(crate) fn apart(found: impl IntoIterator<Item = f64>, wanted: &[f32]) -> f64 {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), wanted.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(wanted).map(|(a, b)| a - f64::from(*b)));
    difference / norm(&mut wanted.iter().map(|&value| f64::from(value))).max(1e-30)
}

#[test]
fn nothing_in_the_golden_is_left_out() {
    let golden = Golden::read();
    let known: Vec<&str> = cases().iter().map(|case| case.name).chain(NOT_OFFERED).collect();
    for name in golden.names().filter_map(|name| name.strip_suffix(".matrix")) {
        let other = name.starts_with("clip.") || ["ema", "accumulated"].contains(&name);
        assert!(other || known.contains(&name), "{name} is not compared");
    }
}
