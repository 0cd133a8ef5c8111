//! How the values of a column decide together how each is written: pandas' choice of a column's type.

use crate::metrics::value::Value;

/// How the cells of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// All are integers: their digits.
    Integer,
    /// Numbers of which one is a float or missing: all with six decimals.
    Float,
    /// Truth values, texts, lists, or integers that no 64-bit type holds together: each as Python prints it.
    Object,
    /// The column `LearningRate`.
    Scientific,
}

/// What has been seen in a column; decides its [`Style`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    object: bool,
    float: bool,
    negative: bool,
    above_i64: bool,
    scientific: bool,
}

impl Seen {
    /// Nothing yet, of the column written with exponents or of another.
    pub(crate) fn of(scientific: bool) -> Seen {
        Seen { scientific, ..Seen::default() }
    }

    /// Takes note of a value.
    pub(crate) fn see(&mut self, value: &Value) {
        match value {
            Value::None | Value::Float(_) => self.float = true,
            Value::Bool(_) | Value::Text(_) | Value::List(_) => self.object = true,
            Value::Int(value) => {
                self.negative |= *value < 0;
                self.above_i64 |= *value > i64::MAX.into();
                self.object |= *value < i64::MIN.into() || *value > u64::MAX.into();
            }
        }
    }

    /// What follows from the values so far.
    pub(crate) fn style(self) -> Style {
        if self.scientific {
            Style::Scientific
        } else if self.object || (self.negative && self.above_i64) {
            Style::Object
        } else if self.float {
            Style::Float
        } else {
            Style::Integer
        }
    }
}
