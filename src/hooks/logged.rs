//! Metrics that callbacks add to those of an epoch.

use crate::error::{Error, Result};

/// Means of numbers that callbacks log between the beginning of an epoch (or evaluation) and its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logged {
    /// Name, sum of value times weight, sum of weights; in the order of the first.
    sums: Vec<(String, f64, f64)>,
}

impl Logged {
    /// Adds a value to the mean of `name`.
    ///
    /// # Errors
    /// `InvalidArgument` for a name with more than one slash: `metric_name[/optional_suffix_for_hue]`; for an empty one and
    /// one with a line feed or another control character.
    pub fn add(&mut self, name: &str, value: f64, weight: f64) -> Result<()> {
        if name.matches('/').count() > 1 {
            // The sentence of the reference, which its users search for.
            return Err(Error::invalid(format!(
                "Expected key to have format 'metric_name[/optional_suffix_for_hue]', got {name}"
            )));
        }
        if name.is_empty() || name.contains(char::is_control) {
            return Err(Error::invalid(format!("expected the name of a metric, got {name:?}")));
        }
        match self.sums.iter_mut().find(|(own, _, _)| own == name) {
            Some((_, sum, weights)) => {
                *sum += value * weight;
                *weights += weight;
            }
            None => self.sums.push((name.to_owned(), value * weight, weight)),
        }
        Ok(())
    }

    /// The means, in the order in which the names came; none are left.
    pub fn take(&mut self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.sums).into_iter().map(|(name, sum, weight)| (name, sum / weight)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_averaged_by_weight() {
        let mut logged = Logged::default();
        logged.add("b", 1.0, 4.0).unwrap();
        logged.add("a/x", 7.0, 1.0).unwrap();
        logged.add("b", 3.0, 1.0).unwrap();
        assert_eq!(logged.take(), [("b".to_owned(), 1.4), ("a/x".to_owned(), 7.0)]);
        assert_eq!(logged.take(), []);
        assert!(logged.add("a/b/c", 1.0, 1.0).is_err());
    }
}
