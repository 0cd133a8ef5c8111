//! The scores of an evaluation as a table.

use glebe::Result;
use glebe::metrics::ClassScores;
use glebe::segment::Evaluation;

use crate::out::{line, printable};
use crate::table::Table;

/// Classes whose confusion matrix fits a terminal.
const SHOWN: usize = 12;

/// Prints a row a class, the means, and the confusion matrix of a few classes.
pub(crate) fn print(evaluation: &Evaluation) -> Result<()> {
    let names: Vec<String> = evaluation.class_names.iter().map(|name| printable(name)).collect();
    let matrix = &evaluation.matrix;
    let mut rows = vec![header("class", ["IoU", "Dice", "precision", "recall", "labelled", "predicted"])];
    for (class, (name, scores)) in names.iter().zip(&evaluation.scores.classes).enumerate() {
        let ClassScores { iou, dice, precision, recall, .. } = *scores;
        let mut row = vec![name.clone()];
        row.extend([iou, dice, precision, recall].map(score));
        row.extend([matrix.support(class), matrix.predicted(class)].map(|pixels| pixels.to_string()));
        rows.push(row);
    }
    columns(&rows)?;

    line("")?;
    let scores = &evaluation.scores;
    let mut table = Table::default();
    table.row("mean IoU", score(scores.mean_iou));
    table.row("mean Dice", score(scores.macro_mean.dice));
    table.row("overall accuracy", score(scores.accuracy));
    let (unlabelled, nodata) = (evaluation.unlabelled(), evaluation.nodata());
    let total = evaluation.pixels() + unlabelled + nodata;
    table.row(
        "pixels",
        format!(
            "{} of {total} count ({unlabelled} with a label that does not, {nodata} without data)",
            evaluation.pixels()
        ),
    );
    table.print()?;

    if names.len() > SHOWN {
        return Ok(());
    }
    line("")?;
    line("confusion matrix, rows: truth, columns: predicted")?;
    let mut rows = vec![header("", names.iter().map(String::as_str))];
    for (name, counts) in names.iter().zip(matrix.counts().chunks(names.len())) {
        rows.push([name.clone()].into_iter().chain(counts.iter().map(u64::to_string)).collect());
    }
    columns(&rows)
}

fn header<'a>(first: &'a str, others: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    [first].into_iter().chain(others).map(str::to_owned).collect()
}

/// Four decimals; a dash where there is nothing to score.
fn score(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.4}") }
}

/// Cells under each other, the first of a row to the left, the others to the right.
fn columns(rows: &[Vec<String>]) -> Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
