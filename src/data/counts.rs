//! What labels a window has.

use ndarray::Array2;

use crate::geometry::Window;

/// Pixels of each class in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) window: Window,
    /// Class and number of its pixels, for those that there are, by class.
    pub(super) classes: Vec<(u32, u64)>,
}

impl Counts {
    /// Counts labels; negative ones do not count.
    pub(super) fn of(window: Window, labels: &Array2<i32>) -> Counts {
        let mut dense: Vec<u64> = Vec::new();
        for label in labels {
            let Ok(class) = usize::try_from(*label) else { continue };
            if class >= dense.len() {
                dense.resize(class + 1, 0);
            }
            dense[class] += 1;
        }
        let classes = (0..).zip(dense).filter(|(_, pixels)| *pixels > 0).collect();
        Counts { window, classes }
    }

    /// Pixels whose label counts.
    pub(super) fn counted(&self) -> u64 {
        self.classes.iter().map(|(_, pixels)| pixels).sum()
    }

    /// Pixels of one class.
    pub(super) fn of_class(&self, class: u32) -> u64 {
        self.classes.iter().find(|(own, _)| *own == class).map_or(0, |(_, pixels)| *pixels)
    }

    /// The annotated share of `all` pixels in per cent: those of all classes but the background, class 0, unless `whole`.
    pub(super) fn annotated(&self, all: u64, whole: bool) -> f64 {
        let background = if whole { 0 } else { self.of_class(0) };
        100.0 * (self.counted() - background) as f64 / all.max(1) as f64
    }
}

/// Position, row by row, of the `index`-th pixel whose label is `class`, or counts at all where none is given.
pub(super) fn nth(labels: &Array2<i32>, class: Option<u32>, index: u64) -> Option<(usize, usize)> {
    let fits = |label: i32| match class {
        Some(class) => i64::from(label) == i64::from(class),
        None => label >= 0,
    };
    let mut found = labels.indexed_iter().filter(|(_, label)| fits(**label));
    found.nth(usize::try_from(index).ok()?).map(|((y, x), _)| (x, y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn pixels_are_counted_and_found_again() {
        let labels = array![[0, 3, -1], [3, 0, 0]];
        let counts = Counts::of(Window::new(0, 0, 3, 2), &labels);
        assert_eq!(counts.classes, [(0, 3), (3, 2)]);
        assert_eq!((counts.counted(), counts.of_class(3), counts.of_class(1)), (5, 2, 0));
        assert_eq!((counts.annotated(8, false), counts.annotated(10, true)), (25.0, 50.0));
        assert_eq!(nth(&labels, Some(3), 1), Some((0, 1)));
        assert_eq!(nth(&labels, None, 2), Some((0, 1)));
        assert_eq!(nth(&labels, Some(3), 2), None);
    }
}
