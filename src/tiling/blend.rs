//! The ways to make one map of overlapping tiles.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How overlapping tiles become one map.
///
/// [`Blend::Exact`] and [`Blend::Auto`] ask for more than a plan of tiles knows: a job settles them by the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Blend {
    /// Each pixel comes from one tile: overlaps are cut in the middle.
    Crop,
    /// Mean weighted by a Gaussian, σ = tile / 8 (the choice of nnU-Net and MONAI).
    Gaussian,
    /// Mean weighted by a Hann window, sampled at pixel centres so that it is nowhere zero.
    Hann,
    /// Mean weighted by a triangle, sampled at pixel centres so that it is nowhere zero.
    Linear,
    /// Plain mean.
    Constant,
    /// Each pixel comes from a tile that sees all that the network looks at for it, so that the map is that of one run over
    /// the whole raster. For networks that do not look at the whole tile.
    Exact,
    /// Exact where the network allows it at a bearable price, else Gaussian.
    #[default]
    Auto,
}

impl Blend {
    /// All ways.
    pub const ALL: [Blend; 7] = [
        Blend::Crop,
        Blend::Gaussian,
        Blend::Hann,
        Blend::Linear,
        Blend::Constant,
        Blend::Exact,
        Blend::Auto,
    ];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Blend::Crop => "crop",
            Blend::Gaussian => "gaussian",
            Blend::Hann => "hann",
            Blend::Linear => "linear",
            Blend::Constant => "constant",
            Blend::Exact => "exact",
            Blend::Auto => "auto",
        }
    }

    /// Whether each pixel comes from one tile.
    pub const fn is_cut(self) -> bool {
        matches!(self, Blend::Crop | Blend::Exact)
    }

    /// The weight at pixel `at` of a tile of `tile` pixels along one axis, before normalisation; in (0, 1].
    /// Where each pixel comes from one tile it is 1: what counts there is [`kept`](crate::tiling::Axis::kept).
    pub fn window(self, at: usize, tile: usize) -> f64 {
        let tile = tile as f64;
        let centre = at as f64 + 0.5;
        match self {
            Blend::Crop | Blend::Constant | Blend::Exact | Blend::Auto => 1.0,
            Blend::Gaussian => {
                let z = (centre - tile / 2.0) / (tile / 8.0);
                (-0.5 * z * z).exp()
            }
            Blend::Hann => (std::f64::consts::PI * centre / tile).sin().powi(2),
            Blend::Linear => 1.0 - (2.0 * centre / tile - 1.0).abs(),
        }
    }

    /// [`Blend::window`] at each pixel of a tile.
    pub(super) fn windows(self, tile: usize) -> Vec<f64> {
        (0..tile).map(|at| self.window(at, tile)).collect()
    }
}

impl fmt::Display for Blend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Blend {
    type Err = Error;

    fn from_str(text: &str) -> Result<Blend> {
        Blend::ALL.into_iter().find(|blend| blend.name() == text).ok_or_else(|| {
            Error::invalid(format!(
                "unknown blend {text:?}: expected auto, exact, crop, gaussian, hann, linear or constant"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_positive_symmetric_and_peak_in_the_middle() {
        for blend in Blend::ALL {
            for tile in [1, 2, 3, 7, 64, 511] {
                for at in 0..tile {
                    let weight = blend.window(at, tile);
                    assert!(weight > 0.0 && weight <= 1.0, "{blend} {at}/{tile}: {weight}");
                    assert!((weight - blend.window(tile - 1 - at, tile)).abs() < 1e-12);
                    assert!(weight <= blend.window(tile / 2, tile) + 1e-12);
                }
            }
        }
    }

    #[test]
    fn closed_forms() {
        // Gaussian one σ from the centre; Hann and triangle half way up.
        assert!((Blend::Gaussian.window(4, 9) - 1.0).abs() < 1e-12);
        let one_sigma = Blend::Gaussian.window(3, 8); // 0.5 px from the centre, σ = 1
        assert!((one_sigma - (-0.125f64).exp()).abs() < 1e-12);
        assert!((Blend::Hann.window(0, 2) - 0.5).abs() < 1e-12);
        assert!((Blend::Linear.window(0, 2) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn names_round_trip() {
        for blend in Blend::ALL {
            assert_eq!(blend.to_string().parse::<Blend>().unwrap(), blend);
        }
        assert!("gauss".parse::<Blend>().is_err());
    }
}
