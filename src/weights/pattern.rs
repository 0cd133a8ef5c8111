//! Which names are meant: patterns in a list.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Which tensors are loaded, by patterns over names, in order: `encoder.*,!*.bias`.
///
/// A pattern adds the names that it matches; with `!` before it, it takes them away. `*` stands for any text, `?` for one
/// character. A list that begins with a `!` starts from all names; so does the empty list.
///
/// ```
/// use glebe::weights::pattern::Filter;
/// let filter: Filter = "encoder.*,!*.bias".parse()?;
/// assert!(filter.takes(&["encoder.conv.weight"]));
/// assert!(!filter.takes(&["encoder.conv.bias"]) && !filter.takes(&["head.weight"]));
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Whether the pattern takes away, and the pattern.
    terms: Vec<(bool, String)>,
}

impl Filter {
    /// Whether something with these names (its own and others that it goes by) is meant.
    pub fn takes(&self, names: &[&str]) -> bool {
        let all = self.terms.first().is_none_or(|(exclude, _)| *exclude);
        self.terms.iter().fold(all, |taken, (exclude, pattern)| {
            match names.iter().any(|name| name_matches(pattern, name)) {
                true => !exclude,
                false => taken,
            }
        })
    }

    /// Whether every name is meant.
    pub fn is_all(&self) -> bool {
        self.terms.is_empty()
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Filter> {
        let term = |term: &str| {
            let term = term.trim();
            let (exclude, pattern) = match term.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, term),
            };
            match pattern {
                "" => Err(Error::invalid(format!("{text:?}: an empty pattern among the names"))),
                _ => Ok((exclude, pattern.to_owned())),
            }
        };
        Ok(Filter { terms: text.split(',').map(term).collect::<Result<_>>()? })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |(exclude, pattern): &(bool, String)| format!("{}{pattern}", if *exclude { "!" } else { "" });
        f.write_str(&self.terms.iter().map(shown).collect::<Vec<_>>().join(","))
    }
}

/// Whether `name` has the form of `pattern`, as a whole: `*` is any text, `?` one character. One row of the table of prefixes at a time, so that no pattern is slow.
pub(crate) fn name_matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // fits[n]: the pattern so far is the whole of the first n characters.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for letter in pattern.chars() {
        if letter == '*' {
            let first = fits.iter().position(|fits| *fits).unwrap_or(fits.len());
            fits[first..].fill(true);
            continue;
        }
        for n in (1..fits.len()).rev() {
            fits[n] = fits[n - 1] && (letter == '?' || letter == name[n - 1]);
        }
        fits[0] = false;
    }
    fits[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*.bias", "x.bias", true),
            ("*.bias", "x.bias2", false),
            ("a*b*c", "a__b__b_c", true),
            ("a*b*c", "a__c__b", false),
            ("?", "ä", true),
            ("?", "", false),
            ("**?", "ab", true),
            ("", "a", false),
        ] {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn later_terms_win() {
        let takes = |filter: &str, name: &str| filter.parse::<Filter>().unwrap().takes(&[name]);
        assert!(takes("!head.*", "encoder") && !takes("!head.*", "head.weight"));
        assert!(takes("!head.*,head.bias", "head.bias"));
        assert!(!takes("encoder.*", "head.bias"));
        assert!(Filter::default().takes(&["x"]) && Filter::default().is_all());
        assert!("a,,b".parse::<Filter>().is_err() && "!".parse::<Filter>().is_err());
        let filter: Filter = " a* , !*b".parse().unwrap();
        assert_eq!(filter.to_string(), "a*,!*b");
        // By either name.
        assert!(filter.takes(&["onnx::Conv_1", "abc"]));
    }
}
