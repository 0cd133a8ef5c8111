//! What a loss is made of, and how it is written.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A term of a loss; the formulas are in the [module](crate::autodiff::loss)'s table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum LossKind {
    /// `ce`: softmax cross-entropy, PyTorch's `cross_entropy`.
    CrossEntropy,
    /// `bce`: sigmoid cross-entropy of every channel, PyTorch's `binary_cross_entropy_with_logits`.
    BinaryCrossEntropy,
    /// `dice(smooth=1e-7)`: soft Dice.
    Dice {
        /// Added to numerator and denominator, above 0: see [`LossKind::SMOOTH`].
        smooth: f32,
    },
    /// `dice-squared(smooth=1e-7)`: soft Dice with squares in the denominator.
    DiceSquared {
        /// As for `dice`.
        smooth: f32,
    },
    /// `jaccard(smooth=1e-7)`: soft Jaccard (IoU).
    Jaccard {
        /// As for `dice`.
        smooth: f32,
    },
    /// `focal(gamma=2)`.
    Focal {
        /// Exponent, 0 or more.
        gamma: f32,
    },
    /// `lovasz`: Lovász-softmax.
    Lovasz,
    /// `mse`: mean squared error, for regression.
    Mse,
    /// `l1`: mean absolute error, for regression.
    L1,
    /// `huber(delta=1)`: for regression.
    Huber {
        /// Where the square passes into the line, above 0.
        delta: f32,
    },
    /// `innereye-softdice(power=0)`.
    InnerEyeSoftDice {
        /// Class weight power; 0 for no weights.
        power: f32,
    },
    /// `innereye-ce(power=0)`.
    InnerEyeCrossEntropy {
        /// Class weight power; 0 for no weights.
        power: f32,
    },
    /// `innereye-focal(gamma=1,power=0)`.
    InnerEyeFocal {
        /// Exponent, 0 or more.
        gamma: f32,
        /// Class weight power; 0 for no weights.
        power: f32,
    },
}

/// A term and its weight in the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossTerm {
    /// Factor, above 0.
    pub weight: f32,
    /// The term.
    pub kind: LossKind,
}

/// A loss: terms and the settings that they share.
///
/// ```
/// use glebe::autodiff::Loss;
/// let mut loss: Loss = "0.5*ce+0.5*dice".parse()?;
/// loss.label_smoothing = 0.1;
/// loss.class_weights = vec![1.0, 2.0];
/// assert_eq!(loss.to_string(), "0.5*ce+0.5*dice");
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loss {
    /// The terms; their weighted losses are added.
    pub terms: Vec<LossTerm>,
    /// Weight of every class (channel, for regression); empty for 1 each. With a single channel and two weights they
    /// are those of label 0 and 1.
    pub class_weights: Vec<f32>,
    /// Label that does not count, if any.
    pub ignore_index: Option<i64>,
    /// Share of the label that is spread over all classes, from 0 to below 1; for `ce`, `bce` and `innereye-ce`.
    pub label_smoothing: f32,
    /// Factor of the loss of an auxiliary output.
    pub auxiliary_weight: f32,
}

impl Loss {
    /// One term, and the settings' defaults: no weights, no ignored label, no smoothing, auxiliary weight 0.4.
    pub fn of(kind: LossKind) -> Loss {
        Loss {
            terms: vec![LossTerm { weight: 1.0, kind }],
            class_weights: Vec::new(),
            ignore_index: None,
            label_smoothing: 0.0,
            auxiliary_weight: 0.4,
        }
    }

    /// Whether the targets are numbers and not classes.
    pub fn is_regression(&self) -> bool {
        self.terms.iter().any(|term| term.kind.is_regression())
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `InvalidArgument` for weights, exponents and shares out of range, for terms of classes and of numbers in one
    /// loss, and for smoothing with a term that has no definition of it.
    pub fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::invalid(format!("loss: {what}")));
        if self.terms.is_empty() {
            return bad("no term".into());
        }
        for term in &self.terms {
            if !(term.weight.is_finite() && term.weight > 0.0) {
                return bad(format!("expected a weight above 0, got {}", term.weight));
            }
            if term.kind.is_regression() != self.is_regression() {
                return bad("terms for classes and terms for numbers cannot be mixed".into());
            }
            term.kind.check()?;
            if self.label_smoothing > 0.0 && !term.kind.has_smoothing() {
                return bad(format!("label smoothing has no meaning for {}", term.kind));
            }
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return bad(format!(
                "expected a label smoothing from 0 to below 1, got {}",
                self.label_smoothing
            ));
        }
        if let Some(weight) =
            self.class_weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0))
        {
            return bad(format!("expected class weights of 0 or more, got {weight}"));
        }
        if !self.class_weights.is_empty() && self.class_weights.iter().all(|weight| *weight == 0.0) {
            return bad("every class weight is 0".into());
        }
        if !(self.auxiliary_weight.is_finite() && self.auxiliary_weight >= 0.0) {
            return bad(format!("expected an auxiliary weight of 0 or more, got {}", self.auxiliary_weight));
        }
        Ok(())
    }
}

impl Default for Loss {
    fn default() -> Loss {
        Loss::of(LossKind::CrossEntropy)
    }
}

impl LossKind {
    /// What `dice` and `jaccard` add to numerator and denominator by default: enough that they are never 0 / 0, as the
    /// losses that are in use with PyTorch do. A class without a pixel in the batch then scores 0 wherever it is
    /// predicted, and has hardly any gradient. With 1 it scores the more the less is predicted of it, and what is
    /// predicted is pulled down.
    pub const SMOOTH: f32 = 1e-7;

    fn is_regression(self) -> bool {
        matches!(self, LossKind::Mse | LossKind::L1 | LossKind::Huber { .. })
    }

    /// InnerEye's SoftDice is never smoothed, and its focal loss refuses smoothed labels; the others have no definition.
    fn has_smoothing(self) -> bool {
        matches!(
            self,
            LossKind::CrossEntropy | LossKind::BinaryCrossEntropy | LossKind::InnerEyeCrossEntropy { .. }
        )
    }

    fn check(self) -> Result<()> {
        let (name, value, lowest) = match self {
            LossKind::Focal { gamma } | LossKind::InnerEyeFocal { gamma, .. } => ("gamma", gamma, 0.0),
            LossKind::Huber { delta } => ("delta", delta, f32::MIN_POSITIVE),
            LossKind::Dice { smooth } | LossKind::DiceSquared { smooth } | LossKind::Jaccard { smooth } => {
                ("smooth", smooth, 1e-12)
            }
            _ => ("power", 0.0, 0.0),
        };
        let power = match self {
            LossKind::InnerEyeSoftDice { power }
            | LossKind::InnerEyeCrossEntropy { power }
            | LossKind::InnerEyeFocal { power, .. } => power,
            _ => 0.0,
        };
        if !(value.is_finite() && value >= lowest) {
            return Err(Error::invalid(format!("loss: {name} of {value} is out of range")));
        }
        if !(0.0..=10.0).contains(&power) {
            return Err(Error::invalid(format!("loss: expected a power from 0 to 10, got {power}")));
        }
        Ok(())
    }
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let powered = |f: &mut fmt::Formatter<'_>, name: &str, power: f32| match power {
            0.0 => f.write_str(name),
            _ => write!(f, "{name}(power={power})"),
        };
        let smoothed = |f: &mut fmt::Formatter<'_>, name: &str, smooth: f32| match smooth {
            LossKind::SMOOTH => f.write_str(name),
            _ => write!(f, "{name}(smooth={smooth})"),
        };
        match *self {
            LossKind::CrossEntropy => f.write_str("ce"),
            LossKind::BinaryCrossEntropy => f.write_str("bce"),
            LossKind::Dice { smooth } => smoothed(f, "dice", smooth),
            LossKind::DiceSquared { smooth } => smoothed(f, "dice-squared", smooth),
            LossKind::Jaccard { smooth } => smoothed(f, "jaccard", smooth),
            LossKind::Focal { gamma } => write!(f, "focal(gamma={gamma})"),
            LossKind::Lovasz => f.write_str("lovasz"),
            LossKind::Mse => f.write_str("mse"),
            LossKind::L1 => f.write_str("l1"),
            LossKind::Huber { delta } => write!(f, "huber(delta={delta})"),
            LossKind::InnerEyeSoftDice { power } => powered(f, "innereye-softdice", power),
            LossKind::InnerEyeCrossEntropy { power } => powered(f, "innereye-ce", power),
            LossKind::InnerEyeFocal { gamma, power } => {
                write!(f, "innereye-focal(gamma={gamma},power={power})")
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let plus = if index > 0 { "+" } else { "" };
            match term.weight {
                1.0 => write!(f, "{plus}{}", term.kind)?,
                weight => write!(f, "{plus}{weight}*{}", term.kind)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Loss {
    type Err = Error;

    /// Terms with `+` between them, each with a factor and `*` before it if that is not 1, and settings in brackets
    /// behind it: `ce`, `0.5*ce+0.5*dice`, `focal(gamma=2)`.
    fn from_str(text: &str) -> Result<Loss> {
        let terms = text.split('+').map(|term| term_of(text, term.trim())).collect::<Result<Vec<_>>>()?;
        let loss = Loss { terms, ..Loss::default() };
        loss.check()?;
        Ok(loss)
    }
}

fn term_of(text: &str, term: &str) -> Result<LossTerm> {
    let wrong = |what: String| Error::invalid(format!("loss {text:?}: {what}"));
    let (weight, name) = match term.split_once('*') {
        None => (1.0, term),
        Some((weight, name)) => {
            let weight = weight.trim().parse::<f32>();
            (weight.map_err(|_| wrong(format!("{term:?} does not begin with a number")))?, name.trim())
        }
    };
    let (name, settings) = match name.split_once('(') {
        None => (name, ""),
        Some((name, rest)) => {
            let inside = rest.strip_suffix(')').ok_or_else(|| wrong("a bracket is not closed".into()))?;
            (name, inside)
        }
    };
    let mut given: Vec<(&str, f32)> = Vec::new();
    for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| wrong(format!("{setting:?}: expected name=number")))?;
        let value =
            value.trim().parse::<f32>().map_err(|_| wrong(format!("{setting:?}: expected a number")))?;
        given.push((key.trim(), value));
    }
    let mut take = |key: &str, default: f32| -> f32 {
        let found = given.iter().position(|(name, _)| *name == key);
        found.map_or(default, |at| given.swap_remove(at).1)
    };
    let kind = match name {
        "ce" => LossKind::CrossEntropy,
        "bce" => LossKind::BinaryCrossEntropy,
        "dice" => LossKind::Dice { smooth: take("smooth", LossKind::SMOOTH) },
        "dice-squared" => LossKind::DiceSquared { smooth: take("smooth", LossKind::SMOOTH) },
        "jaccard" => LossKind::Jaccard { smooth: take("smooth", LossKind::SMOOTH) },
        "focal" => LossKind::Focal { gamma: take("gamma", 2.0) },
        "lovasz" => LossKind::Lovasz,
        "mse" => LossKind::Mse,
        "l1" => LossKind::L1,
        "huber" => LossKind::Huber { delta: take("delta", 1.0) },
        "innereye-softdice" => LossKind::InnerEyeSoftDice { power: take("power", 0.0) },
        "innereye-ce" => LossKind::InnerEyeCrossEntropy { power: take("power", 0.0) },
        "innereye-focal" => LossKind::InnerEyeFocal { gamma: take("gamma", 1.0), power: take("power", 0.0) },
        _ => {
            return Err(wrong(format!(
                "unknown term {name:?}: expected ce, bce, dice, dice-squared, jaccard, focal, lovasz, mse, l1, huber, innereye-softdice, innereye-ce or innereye-focal"
            )));
        }
    };
    match given.first() {
        Some((key, _)) => Err(wrong(format!("{name} has no setting {key:?}"))),
        None => Ok(LossTerm { weight, kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_and_written() {
        for text in [
            "ce",
            "0.5*ce+0.5*dice",
            "dice-squared(smooth=1)+jaccard(smooth=0.5)",
            "focal(gamma=2)",
            "2*innereye-focal(gamma=1,power=1)",
            "innereye-softdice",
            "huber(delta=0.5)+l1",
        ] {
            assert_eq!(text.parse::<Loss>().unwrap().to_string(), text);
        }
        for (text, part) in [
            ("", "unknown term"),
            ("xent", "unknown term \"xent\""),
            ("ce+", "unknown term"),
            ("a*ce", "begin with a number"),
            ("0*ce", "weight above 0"),
            ("focal(gama=2)", "no setting \"gama\""),
            ("focal(gamma=2", "not closed"),
            ("focal(gamma=-1)", "out of range"),
            ("huber(delta=0)", "out of range"),
            ("dice(smooth=0)", "out of range"),
            ("ce+mse", "cannot be mixed"),
        ] {
            let error = text.parse::<Loss>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn settings_are_checked() {
        let wrong = |change: &dyn Fn(&mut Loss)| {
            let mut loss = Loss::default();
            change(&mut loss);
            assert!(loss.check().is_err(), "{loss:?}");
        };
        wrong(&|loss| loss.label_smoothing = 1.0);
        wrong(&|loss| loss.class_weights = vec![1.0, f32::NAN]);
        wrong(&|loss| loss.class_weights = vec![0.0, 0.0]);
        wrong(&|loss| loss.auxiliary_weight = -1.0);
        wrong(&|loss| {
            loss.terms[0].kind = LossKind::Dice { smooth: LossKind::SMOOTH };
            loss.label_smoothing = 0.1;
        });
    }
}
