//! The names of a graph's values.

use std::collections::HashSet;

/// Names that are taken.
#[derive(Debug, Clone, Default)]
pub(in crate::onnx) struct Names(HashSet<String>);

impl Names {
    /// Takes a name; false where it was taken.
    pub(in crate::onnx) fn insert(&mut self, name: String) -> bool {
        self.0.insert(name)
    }

    /// A name that nothing has yet, `like` itself if possible. It is taken from then on.
    pub(in crate::onnx) fn fresh(&mut self, like: &str) -> String {
        let mut name = like.to_owned();
        let mut number = 1u64;
        while !self.0.insert(name.clone()) {
            name = format!("{like}_{number}");
            number += 1;
        }
        name
    }
}

impl Extend<String> for Names {
    fn extend<T: IntoIterator<Item = String>>(&mut self, names: T) {
        self.0.extend(names);
    }
}
