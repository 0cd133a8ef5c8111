//! What makes a job this job and no other.

use serde::{Deserialize, Serialize};

/// Everything that the samples of a map depend on, as names and values: model, raster, options.
///
/// Two jobs of one fingerprint give the same samples, block by block.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::segment) struct Fingerprint(Vec<(String, String)>);

impl Fingerprint {
    /// Adds a fact.
    pub(in crate::segment) fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    /// As it stands in a journal.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Of a journal; none where it is of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Fingerprint> {
        serde_json::from_slice(bytes).ok()
    }

    /// What is not as it was `then`: "tile: 512 x 512 then, 256 x 256 now".
    pub(super) fn differences(&self, then: &Fingerprint) -> Vec<String> {
        let of = |own: &Fingerprint, name: &str| {
            own.0.iter().find(|(other, _)| other == name).map_or("nothing", |(_, value)| value).to_owned()
        };
        let mut names: Vec<&str> = self.0.iter().chain(&then.0).map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| (name, of(then, name), of(self, name)))
            .filter(|(_, then, now)| then != now)
            .map(|(name, then, now)| format!("{name}: {then} then, {now} now"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let mut then = Fingerprint::default();
        then.add("tile", "512 x 512");
        then.add("blend", "hann");
        let mut now = then.clone();
        assert!(now.differences(&then).is_empty());
        now.0[0].1 = "256 x 256".into();
        now.add("batch", 4);
        assert_eq!(
            now.differences(&then),
            ["batch: nothing then, 4 now", "tile: 512 x 512 then, 256 x 256 now"]
        );
        assert_eq!(Fingerprint::decode(&now.encode()), Some(now));
        assert_eq!(Fingerprint::decode(b"[[1]]"), None);
    }
}
