//! One record of a logger: names with values, in order.

use crate::error::{Error, Result};
use crate::metrics::value::Value;

/// Names with their values in the order in which the names came first, as a Python dict.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    entries: Vec<(String, Value)>,
}

impl Record {
    /// An empty record.
    pub fn new() -> Record {
        Record::default()
    }

    /// Sets `name` to `value`. A name that is there keeps its place; a new one goes to the end.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Record {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
        self
    }

    /// The record with `name` set to `value`; for building one in a chain.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Record {
        self.set(name, value);
        self
    }

    /// Sets all that `other` has, in its order.
    pub fn overlay(&mut self, other: &Record) -> &mut Record {
        for (name, value) in other {
            self.set(name, value.clone());
        }
        self
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Takes `name` out; what follows moves up.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let position = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(position).1)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The record for a file of state: a list of pairs, since JSON objects have no order to rely on.
    pub fn to_json(&self) -> serde_json::Value {
        self.iter().map(|(name, value)| serde_json::json!([name, value.to_json()])).collect()
    }

    /// The record that [`to_json`](Record::to_json) wrote.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for anything else.
    pub fn from_json(state: &serde_json::Value) -> Result<Record> {
        let wrong = || Error::invalid("not a record: a list of pairs of name and value is expected");
        let mut record = Record::new();
        for pair in state.as_array().ok_or_else(wrong)? {
            match pair.as_array().map(Vec::as_slice) {
                Some([serde_json::Value::String(name), value]) => {
                    record.set(name.as_str(), Value::from_json(value)?);
                }
                _ => return Err(wrong()),
            }
        }
        Ok(record)
    }
}

impl<'a> IntoIterator for &'a Record {
    type Item = (&'a str, &'a Value);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, (String, Value)>,
        fn(&'a (String, Value)) -> (&'a str, &'a Value),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Record {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Record {
        let mut record = Record::new();
        for (name, value) in entries {
            record.set(name, value);
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_place() {
        let mut record = Record::new().with("a", 1).with("b", 2.5);
        record.overlay(&Record::new().with("c", "x").with("a", Value::None));
        let names: Vec<_> = record.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(record.get("a"), Some(&Value::None));
        assert_eq!(record.remove("b"), Some(Value::Float(2.5)));
        assert_eq!((record.get("b"), record.len(), record.is_empty()), (None, 2, false));
    }

    #[test]
    fn state_keeps_order_and_values() {
        let record = Record::new().with("z", 1).with("a", f64::INFINITY).with("", vec![0.5]);
        let text = serde_json::to_string(&record.to_json()).unwrap();
        assert_eq!(Record::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), record);
        assert!(Record::from_json(&serde_json::json!({ "a": 1 })).is_err());
        assert!(Record::from_json(&serde_json::json!([["a"]])).is_err());
    }
}
