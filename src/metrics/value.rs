//! One value of a record: what a metric, a counter or a name may be.

use std::fmt;

use serde_json::json;

use crate::error::{Error, Result};
use crate::metrics::number_text::shortest;

/// A value as the loggers of the training side take them.
///
/// Python's integers have no bounds; 128 bits hold what a file of metrics can ask for.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing (Python's `None`); an empty cell.
    #[default]
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A floating point number; NaN is an empty cell in an ordinary column.
    Float(f64),
    /// A text, kept as it is.
    Text(String),
    /// A list; one cell of the form `[1.0, 2.0]`.
    List(Vec<Value>),
}

impl Value {
    /// Whether the value is missing in the sense of a table: nothing, or NaN.
    pub fn is_missing(&self) -> bool {
        match self {
            Value::None => true,
            Value::Float(value) => value.is_nan(),
            _ => false,
        }
    }

    /// The value as a number, if it is one: integers are rounded to the nearest float, true is 1, false 0.
    #[allow(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The value for a file of state, without loss (JSON itself has neither NaN nor 128-bit integers).
    ///
    /// Nothing, truth values, texts and lists are what they are in JSON; an integer is `{"int": "7"}`, a float
    /// `{"float": "0.1"}` with the shortest text that reads back as the same number.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::None => serde_json::Value::Null,
            Value::Bool(value) => json!(value),
            Value::Int(value) => json!({ "int": value.to_string() }),
            Value::Float(value) => json!({ "float": shortest(*value) }),
            Value::Text(text) => json!(text),
            Value::List(values) => values.iter().map(Value::to_json).collect(),
        }
    }

    /// The value that [`to_json`](Value::to_json) wrote.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for anything else.
    pub fn from_json(state: &serde_json::Value) -> Result<Value> {
        use serde_json::Value as Json;
        let number = |name: &str| state.get(name).and_then(Json::as_str);
        let value = match state {
            Json::Null => Some(Value::None),
            Json::Bool(value) => Some(Value::Bool(*value)),
            Json::String(text) => Some(Value::Text(text.clone())),
            Json::Array(values) => {
                return values.iter().map(Value::from_json).collect::<Result<_>>().map(Value::List);
            }
            Json::Object(_) => number("int")
                .and_then(|text| text.parse().ok().map(Value::Int))
                .or_else(|| number("float").and_then(|text| text.parse().ok().map(Value::Float))),
            Json::Number(_) => None,
        };
        value.ok_or_else(|| Error::invalid(format!("not a value of a record: {state}")))
    }
}

/// Python's `str` of the value: what stands in a column of mixed values.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => f.write_str(&shortest(*value)),
            Value::Text(text) => f.write_str(text),
            Value::List(values) => {
                f.write_str("[")?;
                for (position, value) in values.iter().enumerate() {
                    let comma = if position == 0 { "" } else { ", " };
                    match value {
                        Value::Text(text) => write!(f, "{comma}{}", quoted(text))?,
                        other => write!(f, "{comma}{other}")?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}

/// Python's `repr` of a text: single quotes unless only they occur inside, escapes for what cannot be printed.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            // Rust's own escaping knows which characters show nothing; only the way they are written differs.
            c if c.is_ascii_graphic() || c == ' ' || !c.escape_debug().to_string().starts_with("\\u") => {
                if c.is_ascii_control() {
                    out.push_str(&format!("\\x{:02x}", u32::from(c)))
                } else {
                    out.push(c)
                }
            }
            c => out.push_str(&match u32::from(c) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
    out
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(value.into())
    }
}

impl From<i128> for Value {
    fn from(value: i128) -> Value {
        Value::Int(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Value {
        Value::Float(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(values: Vec<V>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl<V: Into<Value>> From<Option<V>> for Value {
    fn from(value: Option<V>) -> Value {
        value.map_or(Value::None, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_in_python() {
        let list = Value::List(vec![
            f64::NAN.into(),
            f64::INFINITY.into(),
            1e16.into(),
            true.into(),
            Value::None,
            "it's".into(),
            "a\"b".into(),
            "a'\"\n\té\u{200b}\u{7}".into(),
            Value::List(vec![]),
            vec![vec![1]].into(),
            100_000_000_000_000_000_000_i128.into(),
        ]);
        // Python's str of the same list.
        let python = r#"[nan, inf, 1e+16, True, None, "it's", 'a"b', 'a\'"\n\té\u200b\x07', [], [[1]], 100000000000000000000]"#;
        assert_eq!(list.to_string(), python);
    }

    #[test]
    fn state_keeps_every_bit() {
        let all = Value::List(vec![
            Value::None,
            false.into(),
            i128::MIN.into(),
            0.1.into(),
            (-0.0).into(),
            f64::INFINITY.into(),
            5e-324.into(),
            "x".into(),
            vec![1.0, 2.0].into(),
        ]);
        let text = serde_json::to_string(&all.to_json()).unwrap();
        let back = Value::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{all:?}"));
        let nan = Value::from_json(&Value::Float(f64::NAN).to_json()).unwrap();
        assert!(matches!(nan, Value::Float(value) if value.is_nan()));
        for bad in [json!(1), json!({}), json!({ "int": "x" }), json!([{ "float": 1 }])] {
            assert!(Value::from_json(&bad).is_err(), "{bad}");
        }
    }
}
