//! The scores of many images: `metrics.csv` a row an image and structure, `metrics_aggregates.csv` a row a structure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::csv_line::line;
use crate::metrics::logging_columns::PER_IMAGE;
use crate::metrics::number_text::fixed;

/// Which rows of the aggregates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AggregateRows {
    /// One of each structure.
    #[default]
    All,
    /// As the training side does it: of structures whose count, Dice and Hausdorff numbers are all the same, only
    /// the first. (Two structures that no image has lose one row that way.)
    DropEqual,
}

/// Collects the scores of a segmentation test (`MetricsPerPatientWriter`).
///
/// Numbers are rounded to three decimals as they come in; means are means of the rounded ones.
#[derive(Debug, Clone, Default)]
pub struct PerImageMetrics {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    image: String,
    structure: String,
    values: [f64; 3],
}

/// Names of the numbers in the aggregates, in order.
const NUMBERS: [&str; 3] = ["DiceNumeric", "HausdorffDistance_mm", "MeanDistance_mm"];

impl PerImageMetrics {
    /// No image yet.
    pub fn new() -> PerImageMetrics {
        PerImageMetrics::default()
    }

    /// Adds the scores of one structure in one image; NaN for what is not known.
    pub fn add(
        &mut self,
        image: impl Into<String>,
        structure: impl Into<String>,
        dice: f64,
        hausdorff: f64,
        mean: f64,
    ) {
        let values = [dice, hausdorff, mean].map(|value| fixed(value, 3).parse().unwrap_or(f64::NAN));
        self.rows.push(Row { image: image.into(), structure: structure.into(), values });
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// `metrics.csv`: `Patient,Structure,Dice,HausdorffDistance_mm,MeanDistance_mm` with three decimals, by
    /// structure, then from the worst Dice to the best, NaN last, then by the image's name (as text: 10 before 2).
    pub fn metrics_csv(&self) -> String {
        let mut rows = self.by_image();
        rows.sort_by(|a, b| a.structure.cmp(&b.structure).then_with(|| nan_last(a.values[0], b.values[0])));
        let mut out = String::new();
        line(',', PER_IMAGE.map(str::to_owned).into_iter(), &mut out);
        for row in rows {
            let numbers = row.values.map(number);
            line(',', [row.image.clone(), row.structure.clone()].into_iter().chain(numbers), &mut out);
        }
        out
    }

    /// `metrics_aggregates.csv`: of each structure the number of images with a Dice score, then mean, sample
    /// standard deviation (empty for one image), minimum and maximum of Dice, Hausdorff and mean distance.
    ///
    /// `total_patients` adds the column of that name: the number of images, whether or not they have the structure.
    pub fn aggregates_csv(&self, total_patients: bool, kept: AggregateRows) -> String {
        let mut out = String::new();
        let mut header = vec!["Structure".to_owned(), "count".to_owned()];
        if total_patients {
            header.push("total_patients".to_owned());
        }
        for name in NUMBERS {
            header.extend(["mean", "std", "min", "max"].map(|statistic| format!("{name}_{statistic}")));
        }
        line(',', header.into_iter(), &mut out);
        let images: BTreeSet<&str> = self.rows.iter().map(|row| row.image.as_str()).collect();
        let mut structures: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in self.by_image() {
            structures.entry(&row.structure).or_default().push(row);
        }
        let mut seen: BTreeSet<Vec<u64>> = BTreeSet::new();
        for (structure, rows) in structures {
            let of = |position: usize| Statistics::of(rows.iter().map(|row| row.values[position]).collect());
            let statistics = [of(0), of(1), of(2)];
            let key = std::iter::once(statistics[0].count)
                .chain(statistics[..2].iter().flat_map(|statistics| statistics.values()))
                .map(|value| if value.is_nan() { u64::MAX } else { (value + 0.0).to_bits() })
                .collect();
            if !seen.insert(key) && kept == AggregateRows::DropEqual {
                continue;
            }
            let mut cells = vec![structure.to_owned(), number(statistics[0].count)];
            if total_patients {
                cells.push(images.len().to_string());
            }
            cells.extend(statistics.iter().flat_map(Statistics::values).map(number));
            line(',', cells.into_iter(), &mut out);
        }
        out
    }

    /// The rows by image (as text), then structure, else in the order in which they came.
    fn by_image(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| (&a.image, &a.structure).cmp(&(&b.image, &b.structure)));
        rows
    }
}

/// What pandas' `describe` says of some numbers, NaN left out.
#[derive(Debug, Clone, Copy)]
struct Statistics {
    count: f64,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
}

impl Statistics {
    fn of(values: Vec<f64>) -> Statistics {
        let known: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        #[allow(clippy::cast_precision_loss, reason = "no test has 2^53 images")]
        let count = known.len() as f64;
        // Sums run over all places with zeros for NaN: three decimals of a mean show the order of additions.
        let filled: Vec<f64> = values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
        let mean = pairwise_sum(&filled) / count;
        let squares: Vec<f64> = values
            .iter()
            .map(|value| if value.is_nan() { 0.0 } else { (mean - value) * (mean - value) })
            .collect();
        let std = if count > 1.0 { (pairwise_sum(&squares) / (count - 1.0)).sqrt() } else { f64::NAN };
        Statistics {
            count,
            mean,
            std,
            min: known.iter().copied().reduce(f64::min).unwrap_or(f64::NAN),
            max: known.iter().copied().reduce(f64::max).unwrap_or(f64::NAN),
        }
    }

    fn values(&self) -> [f64; 4] {
        [self.mean, self.std, self.min, self.max]
    }
}

/// The sum in numpy's order: eight running sums in blocks of up to 128, halves above that.
fn pairwise_sum(values: &[f64]) -> f64 {
    match values.len() {
        0..8 => values.iter().sum(),
        8..=128 => {
            let (blocks, rest) = values.split_at(values.len() / 8 * 8);
            let mut sums = [0.0; 8];
            for block in blocks.chunks_exact(8) {
                sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value);
            }
            let [a, b, c, d, e, f, g, h] = sums;
            rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
        }
        length => {
            let half = length / 2 / 8 * 8;
            pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
        }
    }
}

fn nan_last(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn number(value: f64) -> String {
    if value.is_nan() { String::new() } else { fixed(value, 3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn sample() -> PerImageMetrics {
        let mut metrics = PerImageMetrics::new();
        for (image, structure, dice, hausdorff, mean) in [
            ("5", "lung_r", 0.5, INF, INF),
            ("2", "lung_r", 0.912_34, 1.0, 0.3),
            ("7", "lung_r", NAN, NAN, NAN),
            ("10", "lung_r", 0.5, 2.0, 1.5),
            ("1", "a,b", 1.0, 0.0, 0.0),
        ] {
            metrics.add(image, structure, dice, hausdorff, mean);
        }
        metrics
    }

    #[test]
    fn a_row_an_image_and_structure() {
        assert_eq!(
            sample().metrics_csv(),
            "Patient,Structure,Dice,HausdorffDistance_mm,MeanDistance_mm\n1,\"a,b\",1.000,0.000,0.000\n\
             10,lung_r,0.500,2.000,1.500\n5,lung_r,0.500,inf,inf\n2,lung_r,0.912,1.000,0.300\n7,lung_r,,,\n"
        );
        let empty = PerImageMetrics::new();
        assert!(empty.is_empty());
        assert_eq!(empty.metrics_csv(), "Patient,Structure,Dice,HausdorffDistance_mm,MeanDistance_mm\n");
    }

    #[test]
    fn a_row_a_structure() {
        let header = "DiceNumeric_mean,DiceNumeric_std,DiceNumeric_min,DiceNumeric_max,HausdorffDistance_mm_mean,\
                      HausdorffDistance_mm_std,HausdorffDistance_mm_min,HausdorffDistance_mm_max,\
                      MeanDistance_mm_mean,MeanDistance_mm_std,MeanDistance_mm_min,MeanDistance_mm_max\n";
        let mut metrics = sample();
        assert_eq!(
            metrics.aggregates_csv(true, AggregateRows::All),
            format!(
                "Structure,count,total_patients,{header}\
                 \"a,b\",1.000,5,1.000,,1.000,1.000,0.000,,0.000,0.000,0.000,,0.000,0.000\n\
                 lung_r,3.000,5,0.637,0.238,0.500,0.912,inf,,1.000,inf,inf,,0.300,inf\n"
            )
        );
        metrics.add("1", "x", NAN, NAN, NAN);
        metrics.add("1", "y", NAN, NAN, NAN);
        let lines = |kept| metrics.aggregates_csv(false, kept).lines().count();
        assert_eq!((lines(AggregateRows::All), lines(AggregateRows::DropEqual)), (5, 4));
        assert_eq!(metrics.len(), 7);
    }
}
