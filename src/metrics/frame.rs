//! The table behind a metric file: records in, CSV bytes out.
//!
//! The bytes are those of the training side's frame logger, which makes a pandas frame of its records and writes it
//! with `%.6f`: the names of the first record are the columns, the values of a column decide together how each of
//! them is written.

use std::io;

use serde_json::json;

use crate::error::{Error, Result};
use crate::metrics::column_style::{Seen, Style};
use crate::metrics::csv_line::line;
use crate::metrics::number_text::{fixed, scientific, shortest};
use crate::metrics::record::Record;
use crate::metrics::value::Value;

/// The one column whose numbers are written with an exponent (`1.000000e-05`), and whose missing values read `nan`.
pub const SCIENTIFIC_COLUMN: &str = "LearningRate";

/// How a table is laid out as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Commas between cells, six decimals, [`SCIENTIFIC_COLUMN`] apart: the metric files of InnerEye.
    #[default]
    Csv,
    /// Tabs between cells, floats in the shortest form that reads back, no column apart: the tables of ClinicaDL.
    Tsv,
}

impl Layout {
    const fn separator(self) -> char {
        match self {
            Layout::Csv => ',',
            Layout::Tsv => '\t',
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Layout::Csv => "csv",
            Layout::Tsv => "tsv",
        }
    }

    fn is_scientific(self, column: &str) -> bool {
        self == Layout::Csv && column == SCIENTIFIC_COLUMN
    }
}

/// Records as a table that prints itself as the training side's `DataframeLogger` does.
///
/// - The columns are the names of the **first** record, in its order; the fixed columns are laid over every record
///   (a name that the record has keeps its place, others go to the end). Names that come only later are dropped,
///   names that are missing later give empty cells.
/// - A column of integers prints integers; one float or empty cell among them, and all print with `%.6f`. With a
///   truth value, a text or a list in it, a column prints every value as Python does (floats in the shortest form).
/// - Missing values and NaN are empty, infinities `inf` and `-inf`; in the column `LearningRate` numbers are `%.6e`
///   and missing values `nan`.
/// - A cell with a comma, a quote or a line feed is quoted; the only cell of a one-column row is `""` if it is empty.
/// - Without records or columns the text is one line feed.
///
/// ```
/// use glebe::metrics::{Frame, Record};
/// let mut frame = Frame::new(Record::new().with("cross_validation_split_index", 1));
/// frame.add(Record::new().with("bar", 3.1415927).with("LearningRate", 1e-5))?;
/// assert_eq!(
///     frame.to_csv(),
///     "bar,LearningRate,cross_validation_split_index\n3.141593,1.000000e-05,1\n"
/// );
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Frame {
    layout: Layout,
    fixed: Record,
    header: Option<Vec<String>>,
    seen: Vec<Seen>,
    rows: Vec<Vec<Value>>,
}

impl Frame {
    /// A table without records; `fixed_columns` are laid over each record that will be added.
    pub fn new(fixed_columns: Record) -> Frame {
        Frame { fixed: fixed_columns, ..Frame::default() }
    }

    /// A table without records that is laid out as `layout` says.
    pub fn with_layout(layout: Layout, fixed_columns: Record) -> Frame {
        Frame { layout, fixed: fixed_columns, ..Frame::default() }
    }

    /// Adds a record: one row.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the column [`SCIENTIFIC_COLUMN`] would get a text
    /// or a list, which has no such form; the record is not added.
    pub fn add(&mut self, record: Record) -> Result<()> {
        let mut record = record;
        record.overlay(&self.fixed);
        if self.layout.is_scientific(SCIENTIFIC_COLUMN)
            && let Some(value @ (Value::Text(_) | Value::List(_))) = record.get(SCIENTIFIC_COLUMN)
            && self.header.as_ref().is_none_or(|names| names.iter().any(|name| name == SCIENTIFIC_COLUMN))
        {
            return Err(Error::invalid(format!(
                "column {SCIENTIFIC_COLUMN}: expected a number, got {value}"
            )));
        }
        let header =
            self.header.get_or_insert_with(|| record.iter().map(|(name, _)| name.to_owned()).collect());
        let layout = self.layout;
        if self.seen.is_empty() {
            self.seen = header.iter().map(|name| Seen::of(layout.is_scientific(name))).collect();
        }
        let mut row = Vec::with_capacity(header.len());
        for (name, seen) in header.iter().zip(&mut self.seen) {
            let value = record.remove(name).unwrap_or(Value::None);
            seen.see(&value);
            row.push(value);
        }
        self.rows.push(row);
        Ok(())
    }

    /// How many records were added.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns, once there is a record.
    pub fn columns(&self) -> &[String] {
        self.header.as_deref().unwrap_or_default()
    }

    /// The values of row `index`, in the order of [`columns`](Frame::columns).
    pub fn row(&self, index: usize) -> Option<&[Value]> {
        self.rows.get(index).map(Vec::as_slice)
    }

    /// The whole table: header and rows.
    pub fn to_csv(&self) -> String {
        let mut out = self.header_line();
        self.write_rows(0, &mut out);
        out
    }

    /// Writes the whole table to `out`. Twice gives two tables, as flushing into a text buffer does there.
    ///
    /// # Errors
    /// What `out` answers.
    pub fn write_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        out.write_all(self.to_csv().as_bytes())
    }

    /// Fixed columns, names and rows for a file of state.
    pub fn to_json(&self) -> serde_json::Value {
        let rows: Vec<serde_json::Value> =
            self.rows.iter().map(|row| row.iter().map(Value::to_json).collect()).collect();
        json!({ "layout": self.layout.name(), "fixed": self.fixed.to_json(), "columns": self.header, "rows": rows })
    }

    /// The table that [`to_json`](Frame::to_json) wrote: it goes on as if it had never stopped.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if `state` is something else.
    pub fn from_json(state: &serde_json::Value) -> Result<Frame> {
        let wrong = || Error::invalid("not the state of a table of metrics");
        let layout = [Layout::Csv, Layout::Tsv]
            .into_iter()
            .find(|layout| state.get("layout").and_then(serde_json::Value::as_str) == Some(layout.name()))
            .ok_or_else(wrong)?;
        let fixed = Record::from_json(state.get("fixed").ok_or_else(wrong)?)?;
        let mut frame = Frame::with_layout(layout, fixed);
        frame.header = serde_json::from_value(state.get("columns").ok_or_else(wrong)?.clone())
            .map_err(|error| wrong().caused_by(error))?;
        let rows = state.get("rows").and_then(serde_json::Value::as_array).ok_or_else(wrong)?;
        let names = frame.columns();
        let mut seen: Vec<Seen> = names.iter().map(|name| Seen::of(layout.is_scientific(name))).collect();
        for row in rows {
            let row = row.as_array().filter(|row| row.len() == seen.len()).ok_or_else(wrong)?;
            let row = row.iter().map(Value::from_json).collect::<Result<Vec<_>>>()?;
            row.iter().zip(&mut seen).for_each(|(value, seen)| seen.see(value));
            frame.rows.push(row);
        }
        frame.seen = seen;
        Ok(frame)
    }

    /// How each column is written as things stand; as long as it stays, so do the bytes of the rows that are there.
    pub(crate) fn styles(&self) -> Vec<Style> {
        self.seen.iter().map(|seen| seen.style()).collect()
    }

    /// The first line of the file.
    pub(crate) fn header_line(&self) -> String {
        let mut out = String::new();
        line(self.layout.separator(), self.columns().iter().cloned(), &mut out);
        out
    }

    /// The lines of the rows from `first` on.
    pub(crate) fn write_rows(&self, first: usize, out: &mut String) {
        let styles = self.styles();
        if styles.is_empty() {
            return;
        }
        for row in self.rows.iter().skip(first) {
            let cells = row.iter().zip(&styles).map(|(value, style)| cell(value, *style, self.layout));
            line(self.layout.separator(), cells, out);
        }
    }
}

fn cell(value: &Value, style: Style, layout: Layout) -> String {
    match (style, value) {
        (Style::Scientific, value) => scientific(value.as_f64().unwrap_or(f64::NAN), 6),
        (_, value) if value.is_missing() => String::new(),
        (Style::Float, value) => value.as_f64().map_or_else(String::new, |value| match layout {
            Layout::Csv => fixed(value, 6),
            Layout::Tsv => shortest(value),
        }),
        (Style::Integer | Style::Object, value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rec<const N: usize>(entries: [(&str, Value); N]) -> Record {
        entries.into_iter().collect()
    }

    fn csv(fixed: Record, records: Vec<Record>) -> String {
        let mut frame = Frame::new(fixed);
        for record in records {
            frame.add(record).unwrap();
        }
        assert_eq!(Frame::from_json(&frame.to_json()).unwrap().to_csv(), frame.to_csv());
        frame.to_csv()
    }

    fn column(name: &str, values: Vec<Value>) -> String {
        csv(Record::new(), values.into_iter().map(|value| rec([(name, value)])).collect())
    }

    #[test]
    fn the_reference_with_fixed_columns() {
        let pi = std::f64::consts::PI;
        let cv = |index: i32| rec([("cross_validation_split_index", index.into())]);
        assert_eq!(csv(Record::new(), vec![]), "\n");
        assert_eq!(csv(cv(1), vec![]), "\n");
        assert_eq!(
            csv(
                cv(1),
                vec![
                    rec([("bar", pi.into()), ("LearningRate", 1e-5.into())]),
                    rec([("bar", pi.into()), ("LearningRate", 1.into())]),
                ]
            ),
            "bar,LearningRate,cross_validation_split_index\n3.141593,1.000000e-05,1\n3.141593,1.000000e+00,1\n"
        );
        let epoch = |loss: f64, rate: f64, epoch: i32| {
            rec([("loss", loss.into()), ("learning_rate", rate.into()), ("epoch", epoch.into())])
        };
        assert_eq!(
            csv(cv(-1), vec![epoch(0.5, 1e-5, 0), epoch(0.25, 9e-6, 1)]),
            "loss,learning_rate,epoch,cross_validation_split_index\n0.500000,0.000010,0,-1\n0.250000,0.000009,1,-1\n"
        );
        assert_eq!(
            csv(rec([("k", 7.into())]), vec![rec([("k", 5.into()), ("a", 1.0.into())])]),
            "k,a\n7,1.000000\n"
        );
        assert_eq!(csv(rec([("k", Value::None)]), vec![rec([("a", 1.0.into())])]), "a,k\n1.000000,\n");
    }

    #[test]
    fn numbers() {
        let row = rec([
            ("a", f64::NAN.into()),
            ("b", f64::INFINITY.into()),
            ("c", f64::NEG_INFINITY.into()),
            ("d", (-0.0).into()),
            ("e", (-1.5).into()),
            ("f", 1e-9.into()),
            ("g", 1e20.into()),
            ("h", 123_456_789.123_456_79.into()),
        ]);
        assert_eq!(
            csv(Record::new(), vec![row]),
            "a,b,c,d,e,f,g,h\n,inf,-inf,-0.000000,-1.500000,0.000000,100000000000000000000.000000,123456789.123457\n"
        );
        let row = rec([
            ("a", 5e-7.into()),
            ("b", 1.5e-6.into()),
            ("c", 2.500_000_5.into()),
            ("d", 0.123_456_5.into()),
            ("e", 1.000_000_5.into()),
            ("f", (-1e-7).into()),
        ]);
        assert_eq!(
            csv(Record::new(), vec![row]),
            "a,b,c,d,e,f\n0.000000,0.000002,2.500001,0.123456,1.000001,-0.000000\n"
        );
        let big = rec([
            ("a", (1_i128 << 63).into()),
            ("b", ((1_i128 << 53) + 1).into()),
            ("c", 10_i128.pow(25).into()),
        ]);
        assert_eq!(
            csv(Record::new(), vec![big]),
            "a,b,c\n9223372036854775808,9007199254740993,10000000000000000000000000\n"
        );
        let rates = [0.0, -1e-3, f64::NAN, f64::INFINITY, 1e-100, 9.999_999_5e-5, 1.0];
        assert_eq!(
            column("LearningRate", rates.map(Value::from).to_vec()),
            "LearningRate\n0.000000e+00\n-1.000000e-03\nnan\ninf\n1.000000e-100\n9.999999e-05\n1.000000e+00\n"
        );
    }

    #[test]
    fn the_values_of_a_column_decide_together() {
        let ab = |a: Value, b: Value| rec([("a", a), ("b", b)]);
        let none = Record::new;
        assert_eq!(
            csv(none(), vec![ab(1.into(), 2.5.into()), ab(2.into(), 3.into())]),
            "a,b\n1,2.500000\n2,3.000000\n"
        );
        assert_eq!(column("a", vec![1.into(), 2.5.into()]), "a\n1.000000\n2.500000\n");
        assert_eq!(
            csv(none(), vec![rec([("b", 1.0.into()), ("a", 1.into())]), rec([("b", 2.0.into())])]),
            "b,a\n1.000000,1.000000\n2.000000,\n"
        );
        assert_eq!(
            csv(none(), vec![rec([("a", 1.0.into())]), rec([("a", 2.0.into()), ("z", 9.0.into())])]),
            "a\n1.000000\n2.000000\n"
        );
        assert_eq!(
            csv(none(), vec![ab(Value::None, 1.0.into()), ab(2.0.into(), Value::None)]),
            "a,b\n,1.000000\n2.000000,\n"
        );
        assert_eq!(column("a", vec![Value::None, Value::None]), "a\n\"\"\n\"\"\n");
        assert_eq!(column("a", vec![f64::NAN.into(), 1.0.into()]), "a\n\"\"\n1.000000\n");
        assert_eq!(column("a", vec!["x".into(), 1.234_567_89.into()]), "a\nx\n1.23456789\n");
        assert_eq!(column("a", vec![true.into(), false.into()]), "a\nTrue\nFalse\n");
        assert_eq!(
            csv(
                none(),
                vec![rec([("LearningRate", 0.1.into()), ("a", 1.0.into())]), rec([("a", 2.0.into())])]
            ),
            "LearningRate,a\n1.000000e-01,1.000000\nnan,2.000000\n"
        );
        assert_eq!(column("a", vec![vec![1.0, 2.0].into()]), "a\n\"[1.0, 2.0]\"\n");
        assert_eq!(
            csv(none(), vec![ab(1.into(), 1.0.into()), rec([("a", 2.into())])]),
            "a,b\n1,1.000000\n2,\n"
        );
        // An integer above 63 bits and a negative one share no 64-bit type.
        assert_eq!(column("a", vec![(1_i128 << 63).into(), (-1).into()]), "a\n9223372036854775808\n-1\n");
        assert_eq!(
            column("a", vec![1.5.into(), (1_i128 << 63).into()]),
            "a\n1.500000\n9223372036854775808.000000\n"
        );
    }

    #[test]
    fn quoting() {
        let row = rec([
            ("s", "plain".into()),
            ("t", "a,b".into()),
            ("u", "q\"q".into()),
            ("v", "line\nbreak".into()),
            ("w", " sp ".into()),
            ("x", "".into()),
            ("y", "a/b".into()),
        ]);
        assert_eq!(
            csv(Record::new(), vec![row]),
            "s,t,u,v,w,x,y\nplain,\"a,b\",\"q\"\"q\",\"line\nbreak\", sp ,,a/b\n"
        );
        let names = rec([("a,b", 1.0.into()), ("c\"d", 2.0.into())]);
        assert_eq!(csv(Record::new(), vec![names]), "\"a,b\",\"c\"\"d\"\n1.000000,2.000000\n");
        assert_eq!(column("", vec![1.into()]), "\"\"\n1\n");
        assert_eq!(column("a", vec!["a\rb".into(), "".into()]), "a\na\rb\n\"\"\n");
        assert_eq!(csv(Record::new(), vec![Record::new(), rec([("a", 1.into())])]), "\n");
    }

    #[test]
    fn a_learning_rate_is_a_number() {
        let mut frame = Frame::default();
        let error = frame.add(rec([("LearningRate", "x".into())])).unwrap_err();
        assert_eq!(error.message(), "column LearningRate: expected a number, got x");
        assert!(frame.is_empty() && frame.columns().is_empty());
        frame.add(rec([("a", 1.into())])).unwrap();
        // Not a column of this table.
        frame.add(rec([("LearningRate", "x".into())])).unwrap();
        assert_eq!(frame.len(), 2);
        assert_eq!(frame.row(0), Some([Value::Int(1)].as_slice()));
    }

    #[test]
    fn a_buffer_gets_the_table_again() {
        let mut frame = Frame::default();
        frame.add(rec([("a", 1.into())])).unwrap();
        let mut buffer = Vec::new();
        frame.write_to(&mut buffer).unwrap();
        frame.write_to(&mut buffer).unwrap();
        assert_eq!(buffer, b"a\n1\na\n1\n");
    }

    #[test]
    fn tabs_and_the_shortest_form() {
        let mut frame = Frame::with_layout(Layout::Tsv, Record::new());
        for (loss, count) in [(0.1, Value::Int(1)), (1e-5, Value::None), (f64::NAN, Value::Int(3))] {
            let row =
                [("LearningRate", loss.into()), ("n", count), ("s", "a,b".into()), ("t", "a\tb".into())];
            frame.add(rec(row)).unwrap();
        }
        assert_eq!(
            frame.to_csv(),
            "LearningRate\tn\ts\tt\n0.1\t1.0\ta,b\t\"a\tb\"\n1e-05\t\ta,b\t\"a\tb\"\n\t3.0\ta,b\t\"a\tb\"\n"
        );
        assert_eq!(Frame::from_json(&frame.to_json()).unwrap().to_csv(), frame.to_csv());
    }

    #[test]
    fn foreign_state_is_refused() {
        for bad in [
            json!(null),
            json!({ "layout": "xml", "fixed": [], "columns": null, "rows": [] }),
            json!({ "layout": "csv", "fixed": [] }),
            json!({ "layout": "csv", "fixed": [], "columns": 1, "rows": [] }),
            json!({ "layout": "csv", "fixed": [], "columns": ["a"], "rows": [[]] }),
        ] {
            assert!(Frame::from_json(&bad).is_err(), "{bad}");
        }
    }
}
