//! What the colours of a class map mean, and how much of it each class covers.

use crate::picture::class_map::ClassMap;
use crate::picture::palette::Palette;

/// One row of a legend.
#[derive(Debug, Clone, PartialEq)]
pub struct LegendEntry {
    /// The colour of the swatch.
    pub color: [u8; 3],
    /// Class name, or whatever the colour stands for.
    pub label: String,
    /// Number beside it, ready to read: `12.5 %`. May be empty.
    pub share: String,
}

/// The rows under the panels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Legend {
    entries: Vec<LegendEntry>,
}

/// More rows than this are not read by anybody.
const MOST_ENTRIES: usize = 40;

impl Legend {
    /// A legend of these rows.
    pub fn new(entries: Vec<LegendEntry>) -> Legend {
        Legend { entries }
    }

    /// The legend of a class map. `names` are the classes' names by number; a class without one is `class 7`.
    ///
    /// Rows follow the class numbers: the named classes and the others that occur. Where these are more than 40,
    /// the largest are kept and one row sums up the rest. The share is that of the pixels that have a class; the
    /// shares in tenths of a percent sum to 100 % exactly. A last row tells how much of the whole has no class.
    pub fn of(map: &ClassMap, palette: &Palette, names: &[String]) -> Legend {
        Legend::from_counts(map.counts(), map.nodata_count(), palette, names)
    }

    /// The same from pixels counted elsewhere: `counts` by class number, and `empty` pixels without a class. For
    /// maps that are shown decimated.
    pub fn from_counts(counts: &[u64], empty: u64, palette: &Palette, names: &[String]) -> Legend {
        let count = |class: usize| counts.get(class).copied().unwrap_or(0);
        let mut classes: Vec<usize> = (0..counts.len().max(names.len()))
            .filter(|class| *class < names.len() || count(*class) > 0)
            .collect();
        let mut rest = Vec::new();
        if classes.len() > MOST_ENTRIES {
            classes.sort_by_key(|class| (std::cmp::Reverse(count(*class)), *class));
            rest = classes.split_off(MOST_ENTRIES - 1);
            classes.sort_unstable();
        }
        let mut areas: Vec<u64> = classes.iter().map(|class| count(*class)).collect();
        areas.push(rest.iter().map(|class| count(*class)).sum());
        let tenths = tenths_of_percent(&areas);

        let mut entries: Vec<LegendEntry> = classes
            .iter()
            .zip(areas.iter().zip(&tenths))
            .map(|(class, (area, tenths))| LegendEntry {
                color: palette.rgb(*class),
                label: names.get(*class).cloned().unwrap_or_else(|| format!("class {class}")),
                share: percent(*area, *tenths),
            })
            .collect();
        if let (Some(area), Some(tenths), false) = (areas.last(), tenths.last(), rest.is_empty()) {
            let label = format!("{} further classes", rest.len());
            entries.push(LegendEntry { color: [255; 3], label, share: percent(*area, *tenths) });
        }
        if empty > 0 {
            let valid: u64 = areas.iter().sum();
            let tenths = tenths_of_percent(&[valid, empty]).last().copied().unwrap_or(0);
            let label = "no data (of all)".to_string();
            entries.push(LegendEntry { color: Palette::NODATA_GREY, label, share: percent(empty, tenths) });
        }
        Legend { entries }
    }

    /// The rows.
    pub fn entries(&self) -> &[LegendEntry] {
        &self.entries
    }
}

fn percent(area: u64, tenths: u64) -> String {
    match (area, tenths) {
        (0, _) => "0 %".to_string(),
        (_, 0) => "<0.1 %".to_string(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// Shares in tenths of a percent that sum to 1000: rounded down, then the largest remainders get what is left.
/// All 0 where the areas are.
fn tenths_of_percent(areas: &[u64]) -> Vec<u64> {
    let whole: u128 = areas.iter().map(|area| u128::from(*area)).sum();
    if whole == 0 {
        return vec![0; areas.len()];
    }
    let scaled = |area: u64| u128::from(area) * 1000;
    let mut tenths: Vec<u64> = areas.iter().map(|area| (scaled(*area) / whole) as u64).collect();
    let left = 1000 - tenths.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..areas.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(scaled(areas[*index]) % whole), *index));
    order.into_iter().take(left as usize).for_each(|index| tenths[index] += 1);
    tenths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_the_whole() {
        for areas in
            [vec![1, 1, 1], vec![7], vec![0, 3, 0, 4], vec![1; 300], vec![u64::MAX / 4; 3], vec![1, 999_999]]
        {
            let tenths = tenths_of_percent(&areas);
            assert_eq!(tenths.iter().sum::<u64>(), 1000, "{areas:?}");
            let whole: f64 = areas.iter().map(|area| *area as f64).sum();
            for (area, tenths) in areas.iter().zip(tenths) {
                assert!((*area as f64 / whole * 1000.0 - tenths as f64).abs() < 1.0);
            }
        }
        assert_eq!(tenths_of_percent(&[0, 0]), [0, 0]);
    }

    #[test]
    fn rows_are_the_named_and_the_present_classes() {
        let names = ["water", "trees"].map(String::from);
        let legend = Legend::from_counts(&[600, 0, 0, 399, 0, 1], 250, &Palette::for_names(&names), &names);
        let rows: Vec<_> =
            legend.entries().iter().map(|row| (row.label.as_str(), row.share.as_str())).collect();
        assert_eq!(
            rows,
            [
                ("water", "60.0 %"),
                ("trees", "0 %"),
                ("class 3", "39.9 %"),
                ("class 5", "0.1 %"),
                ("no data (of all)", "20.0 %")
            ]
        );
    }

    #[test]
    fn long_legends_keep_the_largest() {
        let counts: Vec<u64> = (1..=300).collect();
        let legend = Legend::from_counts(&counts, 0, &Palette::for_classes(300), &[]);
        assert_eq!(legend.entries().len(), MOST_ENTRIES);
        assert_eq!(legend.entries()[0].label, "class 261");
        assert_eq!(legend.entries()[39].label, "261 further classes");
        let tenths: f64 = legend
            .entries()
            .iter()
            .map(|row| row.share.trim_end_matches(" %").parse::<f64>().unwrap() * 10.0)
            .sum();
        assert!((tenths - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_valid_is_no_division_by_zero() {
        let legend = Legend::from_counts(&[], 9, &Palette::for_classes(1), &["a".to_string()]);
        assert_eq!(legend.entries()[0].share, "0 %");
        assert_eq!(legend.entries()[1].share, "100.0 %");
        assert!(Legend::from_counts(&[], 0, &Palette::for_classes(0), &[]).entries().is_empty());
    }
}
