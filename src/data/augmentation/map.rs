//! The map of geometry: where an output pixel looks.

/// From output to source, `source = matrix · output + shift`. Both are pixels from the centre of the window, x right and
/// y down, so that flips and turns have no shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Map {
    /// Rows: x and y of the source.
    pub(crate) matrix: [[f64; 2]; 2],
    /// x and y of the source where the output's centre looks.
    pub(crate) shift: [f64; 2],
}

/// One of the eight ways in which a rectangle lies on its pixels again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Symmetry {
    /// The output's rows are columns of the source.
    pub(crate) turns: bool,
    /// Columns of the source run backwards.
    pub(crate) backwards_x: bool,
    /// Rows of the source run backwards.
    pub(crate) backwards_y: bool,
}

impl Map {
    /// Looks at where it stands.
    pub(crate) const IDENTITY: Map = Map { matrix: [[1.0, 0.0], [0.0, 1.0]], shift: [0.0, 0.0] };

    /// Stretches what is looked at, without a shift.
    pub(crate) fn scale(x: f64, y: f64) -> Map {
        Map { matrix: [[x, 0.0], [0.0, y]], shift: [0.0, 0.0] }
    }

    /// `x += slope y`.
    pub(crate) fn shear_x(slope: f64) -> Map {
        Map { matrix: [[1.0, slope], [0.0, 1.0]], shift: [0.0, 0.0] }
    }

    /// `y += slope x`.
    pub(crate) fn shear_y(slope: f64) -> Map {
        Map { matrix: [[1.0, 0.0], [slope, 1.0]], shift: [0.0, 0.0] }
    }

    /// Moves by (x, y).
    pub(crate) fn shift(x: f64, y: f64) -> Map {
        Map { shift: [x, y], ..Map::IDENTITY }
    }

    /// Turns points by this angle in degrees, against the clock as seen on a screen (y down).
    pub(crate) fn rotation(degrees: f64) -> Map {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Map { matrix: [[cos, sin], [-sin, cos]], shift: [0.0, 0.0] }
    }

    /// Turns points by `turns` right angles against the clock, without rounding.
    pub(crate) fn quarter_turns(turns: usize) -> Map {
        let matrix = match turns % 4 {
            0 => [[1.0, 0.0], [0.0, 1.0]],
            1 => [[0.0, 1.0], [-1.0, 0.0]],
            2 => [[-1.0, 0.0], [0.0, -1.0]],
            _ => [[0.0, -1.0], [1.0, 0.0]],
        };
        Map { matrix, shift: [0.0, 0.0] }
    }

    /// This map after `first`.
    pub(crate) fn after(self, first: Map) -> Map {
        let [[a, b], [c, d]] = self.matrix;
        let [[e, f], [g, h]] = first.matrix;
        let matrix = [[a * e + b * g, a * f + b * h], [c * e + d * g, c * f + d * h]];
        Map { matrix, shift: self.of(first.shift) }
    }

    /// The way back. The determinant must not be 0.
    pub(crate) fn inverse(self) -> Map {
        let [[a, b], [c, d]] = self.matrix;
        let [x, y] = self.shift;
        let determinant = a * d - b * c;
        let matrix = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
        let back = Map { matrix, shift: [0.0, 0.0] };
        Map { shift: back.of([-x, -y]), ..back }
    }

    /// Where a point goes.
    pub(crate) fn of(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [[a, b], [c, d]] = self.matrix;
        [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]]
    }

    /// The symmetry that this map is, where it is one without any rounding.
    pub(crate) fn symmetry(self) -> Option<Symmetry> {
        let [[a, b], [c, d]] = self.matrix;
        let is_unit = |value: f64| value == 1.0 || value == -1.0;
        if self.shift != [0.0, 0.0] {
            return None;
        }
        if b == 0.0 && c == 0.0 && is_unit(a) && is_unit(d) {
            return Some(Symmetry { turns: false, backwards_x: a < 0.0, backwards_y: d < 0.0 });
        }
        if a == 0.0 && d == 0.0 && is_unit(b) && is_unit(c) {
            return Some(Symmetry { turns: true, backwards_x: b < 0.0, backwards_y: c < 0.0 });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12
    }

    #[test]
    fn positive_angles_turn_against_the_clock_on_a_screen() {
        // What lies to the right comes to lie above, where y is negative.
        assert!(near(Map::rotation(90.0).of([1.0, 0.0]), [0.0, -1.0]));
        assert_eq!(Map::quarter_turns(1).of([1.0, 0.0]), [0.0, -1.0]);
        for turns in 0..8 {
            let (exact, angle) = (Map::quarter_turns(turns), Map::rotation(90.0 * turns as f64));
            assert!(near(exact.of([2.0, 5.0]), angle.of([2.0, 5.0])), "{turns}");
        }
    }

    #[test]
    fn a_map_and_its_inverse_cancel() {
        let map = Map::shift(3.0, -1.5)
            .after(Map::rotation(33.0))
            .after(Map::shear_x(0.3))
            .after(Map::shear_y(-0.2))
            .after(Map::scale(0.7, 1.9));
        for point in [[0.0, 0.0], [10.0, -4.0], [-3.5, 8.25]] {
            assert!(near(map.inverse().of(map.of(point)), point));
            assert!(near(map.after(map.inverse()).of(point), point));
        }
        let direct = Map::shift(3.0, -1.5).of(Map::rotation(33.0).of([1.0, 2.0]));
        assert!(near(Map::shift(3.0, -1.5).after(Map::rotation(33.0)).of([1.0, 2.0]), direct));
    }

    #[test]
    fn only_exact_symmetries_are_symmetries() {
        let mut found = Vec::new();
        for flips in [Map::IDENTITY, Map::scale(-1.0, 1.0)] {
            for turns in 0..4 {
                let symmetry = Map::quarter_turns(turns).after(flips).symmetry().unwrap();
                assert!(!found.contains(&symmetry));
                found.push(symmetry);
            }
        }
        assert_eq!(found.len(), 8);
        assert_eq!(Map::rotation(90.0).symmetry(), None, "its cosine is not 0 but 6e-17");
        assert_eq!(Map::shift(1.0, 0.0).symmetry(), None);
        assert_eq!(Map::scale(1.0, 1.0 + 1e-15).symmetry(), None);
    }
}
