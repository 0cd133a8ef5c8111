//! Where a checkpoint comes from, and the line that says so when it is loaded.

use std::fmt;

/// What a checkpoint says about the training it was made in. `None` where the file has no such key; a key whose value is
/// Python's `None` is `Some(Scalar::None)`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct CheckpointOrigin {
    /// `epoch`.
    pub epoch: Option<Scalar>,
    /// `global_step`.
    pub global_step: Option<Scalar>,
    /// `pytorch-lightning_version`.
    pub lightning_version: Option<Scalar>,
    /// `best_loss`, as geo-deep-learning writes it.
    pub best_loss: Option<Scalar>,
}

impl CheckpointOrigin {
    /// An origin of an epoch and a step.
    pub fn new(epoch: Option<Scalar>, global_step: Option<Scalar>) -> CheckpointOrigin {
        CheckpointOrigin { epoch, global_step, ..CheckpointOrigin::default() }
    }

    /// What is there, by the names of the fields.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &Scalar)> {
        [
            ("epoch", &self.epoch),
            ("global_step", &self.global_step),
            ("lightning_version", &self.lightning_version),
            ("best_loss", &self.best_loss),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    /// The line that is logged when the checkpoint is loaded, before its weights are applied; empty where the file has
    /// neither epoch nor step.
    ///
    /// ```
    /// use glebe::weights::message::{CheckpointOrigin, Scalar};
    /// let origin = CheckpointOrigin::new(Some(Scalar::Int(2)), Some(Scalar::Int(4)));
    /// assert_eq!(origin.message(), "Loading checkpoint that was created at (epoch = 2, global_step = 4)");
    /// assert_eq!(CheckpointOrigin::default().message(), "");
    /// ```
    pub fn message(&self) -> String {
        let keys = [("epoch", &self.epoch), ("global_step", &self.global_step)];
        let present: Vec<String> = keys
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key} = {value}")))
            .collect();
        if present.is_empty() {
            return String::new();
        }
        format!("Loading checkpoint that was created at ({})", present.join(", "))
    }
}

/// A value of a checkpoint as Python has it; shown as Python's `str()` shows it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Scalar {
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// Anything else, in words: a tensor of one element as PyTorch prints it, what is in a list, the class of an object.
    Other(String),
}

impl Scalar {
    /// The number, where it is a whole one.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Scalar::Int(value) => Some(*value),
            Scalar::Bool(value) => Some(i128::from(*value)),
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::None => f.write_str("None"),
            Scalar::Bool(true) => f.write_str("True"),
            Scalar::Bool(false) => f.write_str("False"),
            Scalar::Int(value) => value.fmt(f),
            Scalar::Float(value) => f.write_str(&python_float(*value)),
            Scalar::Text(text) | Scalar::Other(text) => f.write_str(text),
        }
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Scalar {
        Scalar::Int(value.into())
    }
}

/// A float as Python's `repr` writes it: the fewest digits that lead back to it, with an exponent below 1e-4 and from
/// 1e16 on.
pub(crate) fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..16 => {
            let plain = format!("{value}");
            if plain.contains('.') { plain } else { format!("{plain}.0") }
        }
        exponent => format!("{digits}e{}", python_exponent(exponent)),
    }
}

/// An exponent with its sign and two digits at least, as Python writes it.
pub(crate) fn python_exponent(exponent: i32) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_keys_that_are_there() {
        let message =
            |epoch: Option<Scalar>, step: Option<Scalar>| CheckpointOrigin::new(epoch, step).message();
        let int = |value: i64| Some(Scalar::from(value));
        let start = "Loading checkpoint that was created at";
        assert_eq!(message(int(3), int(120)), format!("{start} (epoch = 3, global_step = 120)"));
        assert_eq!(message(int(3), None), format!("{start} (epoch = 3)"));
        assert_eq!(message(None, int(120)), format!("{start} (global_step = 120)"));
        assert_eq!(message(None, None), "");
        let none = Some(Scalar::None);
        assert_eq!(message(none.clone(), None), format!("{start} (epoch = None)"));
        assert_eq!(message(none.clone(), none), format!("{start} (epoch = None, global_step = None)"));
        let text = Some(Scalar::Text("last".into()));
        assert_eq!(message(text, int(-1)), format!("{start} (epoch = last, global_step = -1)"));
        assert_eq!(message(Some(Scalar::Bool(true)), None), format!("{start} (epoch = True)"));
    }

    /// What CPython 3.11 prints.
    #[test]
    fn floats_are_shown_as_python_shows_them() {
        for (value, text) in [
            (2.0, "2.0"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
            (999.0, "999.0"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }
}
