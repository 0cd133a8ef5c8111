//! Curves of numbers over epochs, as an SVG file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::StagedFile;

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What it shows.
    pub name: String,
    /// Points by rising abscissa; a point whose ordinate is not finite is a gap.
    pub points: Vec<(f64, f64)>,
}

/// A plot of curves with a common scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// Its curves.
    pub curves: Vec<Curve>,
}

/// Plots below one another.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curves {
    plots: Vec<Plot>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;
/// Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008).
const COLORS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a800"];

impl Curves {
    /// No plot yet.
    pub fn new() -> Curves {
        Curves::default()
    }

    /// Adds a plot below the others.
    pub fn plot(mut self, plot: Plot) -> Curves {
        self.plots.push(plot);
        self
    }

    /// The picture. The same curves give the same text.
    pub fn to_svg(&self) -> String {
        let height = HEIGHT * self.plots.len().max(1) as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} \
             {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n"
        );
        for (index, plot) in self.plots.iter().enumerate() {
            draw(&mut svg, plot, HEIGHT * index as f64);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Writes the picture, as a whole or not at all, in the place of a file that is there.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let staged = StagedFile::replacing(path)?;
        fs::write(staged.path(), self.to_svg()).map_err(|error| Error::io("write", path, error))?;
        staged.commit(true)
    }
}

/// The smallest and largest of some numbers, apart.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match (low <= high, low == high) {
        (false, _) => None,
        (true, true) => Some((low - low.abs().max(1.0) * 0.05, high + high.abs().max(1.0) * 0.05)),
        (true, false) => Some((low, high)),
    }
}

/// Round numbers within a range, at most about six.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let raw = (high - low) / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|own| own * power).find(|own| *own >= raw);
    let step = step.unwrap_or(raw);
    let first = (low / step).ceil();
    (0..12)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

/// A number of a scale, short.
fn label(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e6).contains(&size) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.1e}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn draw(svg: &mut String, plot: &Plot, top: f64) {
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let (above, below) = (top + TOP, top + HEIGHT - BOTTOM);
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top + 20.0,
        escaped(&plot.title)
    );
    let points = || plot.curves.iter().flat_map(|own| &own.points).filter(|own| own.1.is_finite());
    let ranges = range(points().map(|own| own.0)).zip(range(points().map(|own| own.1)));
    let Some((across, up)) = ranges else {
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"{}\">no finite values</text>", top + HEIGHT / 2.0);
        return;
    };
    let x = |value: f64| left + (value - across.0) / (across.1 - across.0) * (right - left);
    let y = |value: f64| below - (value - up.0) / (up.1 - up.0) * (below - above);
    for tick in ticks(up) {
        let at = y(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#dddddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            label(tick)
        );
    }
    for tick in ticks(across).into_iter().filter(|tick| tick.fract() == 0.0) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(tick),
            below + 18.0,
            label(tick)
        );
    }
    let _ = writeln!(svg, "<path d=\"M{left} {above}V{below}H{right}\" fill=\"none\" stroke=\"#444444\"/>");
    for (index, curve) in plot.curves.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let mut path = String::new();
        let mut is_gap = true;
        for (at, value) in &curve.points {
            if value.is_finite() {
                let verb = if is_gap { 'M' } else { 'L' };
                let _ = write!(path, "{verb}{:.1} {:.1}", x(*at), y(*value));
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{color}\"/>",
                    x(*at),
                    y(*value)
                );
            }
            is_gap = !value.is_finite();
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\"/>");
        let at = above + 16.0 * index as f64 + 6.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{} {at}h18\" stroke=\"{color}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{}</text>",
            right + 14.0,
            right + 38.0,
            at + 4.0,
            escaped(&curve.name)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(points: &[(f64, f64)]) -> String {
        let curve = Curve { name: "a<b".to_owned(), points: points.to_vec() };
        Curves::new().plot(Plot { title: "Loss".to_owned(), curves: vec![curve] }).to_svg()
    }

    #[test]
    fn points_stand_where_they_belong() {
        let text = svg(&[(1.0, 0.0), (2.0, 1.0), (3.0, 0.5)]);
        // The plot is from 70 to 530 and from 206 up to 34.
        assert!(text.contains("d=\"M70.0 206.0L300.0 34.0L530.0 120.0\""), "{text}");
        assert!(text.contains("a&lt;b"));
        assert!(text.contains(">0.4<") && text.contains(">2<") && !text.contains(">2.5<"));
    }

    #[test]
    fn a_value_that_is_not_finite_is_a_gap() {
        let text = svg(&[(1.0, 0.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 1.0)]);
        assert!(text.contains("d=\"M70.0 206.0M376.7 34.0L530.0 34.0\""), "{text}");
        assert!(svg(&[(1.0, f64::NAN)]).contains("no finite values"));
        assert!(Curves::new().to_svg().ends_with("</svg>\n"));
    }

    #[test]
    fn constants_and_tiny_numbers_have_a_scale() {
        assert!(svg(&[(1.0, 2.0), (2.0, 2.0)]).contains("L530.0 120.0"));
        assert!(svg(&[(1.0, 1e-7), (2.0, 3e-7)]).contains("2.0e-7"));
        assert_eq!(ticks((0.0, 1.0)), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
    }
}
