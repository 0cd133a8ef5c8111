//! Which windows become samples.

use serde::{Deserialize, Serialize};

use crate::data::counts::Counts;
use crate::data::grid::Cell;
use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::random::SplitMix64;

/// Where the windows of an epoch lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Sampling {
    /// Side by side, each once.
    #[default]
    Grid,
    /// Anywhere: every pixel whose label counts is as likely to be in a window as any other.
    Random,
    /// On classes: for each window a class is drawn, all with the same share or with given ones, and the window is laid
    /// over one of its pixels.
    Balanced,
}

impl std::fmt::Display for Sampling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Sampling::Grid => "grid",
            Sampling::Random => "random",
            Sampling::Balanced => "balanced",
        })
    }
}

impl std::str::FromStr for Sampling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Sampling> {
        [Sampling::Grid, Sampling::Random, Sampling::Balanced]
            .into_iter()
            .find(|own| own.to_string() == text)
            .ok_or_else(|| {
                Error::invalid(format!("unknown sampling {text:?}: expected grid, random or balanced"))
            })
    }
}

/// Pixels that windows may be laid over.
#[derive(Debug, Clone)]
struct Pool {
    /// Of this class, or of any.
    class: Option<u32>,
    /// Upper end of its share of the windows, 0 to 1.
    until: f64,
    /// Image, cell, and how many of the pixels there are up to the end of it.
    cells: Vec<(usize, Window, u64)>,
}

/// A pixel to lay a window over: the `nth` of its class (or of all that count) in a cell of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) scene: usize,
    pub(super) cell: Window,
    pub(super) class: Option<u32>,
    pub(super) nth: u64,
    /// Goes on with this seed.
    pub(super) seed: u64,
}

/// Draws pixels to lay windows over.
#[derive(Debug, Clone)]
pub(super) struct Picker {
    pools: Vec<Pool>,
}

impl Picker {
    /// For cells of each image with their counts. `shares` holds those of the classes in balanced sampling; empty: all the
    /// same. Classes without a pixel leave their share to the others.
    ///
    /// # Errors
    /// `InvalidArgument` where nothing counts, and for shares that are negative, not finite, of other classes only, or not
    /// one a class.
    pub(super) fn new(
        counts: &[Vec<Counts>],
        balanced: bool,
        shares: &[f64],
        classes: usize,
    ) -> Result<Picker> {
        let wanted: Vec<(Option<u32>, f64)> = if balanced {
            check_shares(shares, classes)?;
            let share = |class: u32| shares.get(class as usize).copied().unwrap_or(1.0);
            (0..classes as u32).map(|class| (Some(class), share(class))).collect()
        } else {
            vec![(None, 1.0)]
        };
        let mut pools: Vec<Pool> = Vec::new();
        let mut sum = 0.0;
        for (class, share) in wanted {
            let cells = pool(counts, class);
            if cells.is_empty() || share == 0.0 {
                continue;
            }
            sum += share;
            pools.push(Pool { class, until: sum, cells });
        }
        for pool in &mut pools {
            pool.until /= sum;
        }
        if pools.is_empty() {
            return Err(Error::invalid("none of the pixels has a label of a class that is to be drawn"));
        }
        Ok(Picker { pools })
    }

    /// What follows from this seed.
    pub(super) fn pick(&self, seed: u64) -> Option<Pick> {
        let mut random = SplitMix64::new(seed);
        let at = random.uniform();
        let pool = self.pools.iter().find(|pool| at < pool.until).or(self.pools.last())?;
        let all = pool.cells.last()?.2;
        let index = random.below(all);
        let place = pool.cells.partition_point(|(_, _, until)| *until <= index);
        let before = place.checked_sub(1).map_or(0, |before| pool.cells[before].2);
        let (scene, cell, _) = *pool.cells.get(place)?;
        Some(Pick { scene, cell, class: pool.class, nth: index - before, seed: random.next() })
    }
}

fn check_shares(shares: &[f64], classes: usize) -> Result<()> {
    if !shares.is_empty() && shares.len() != classes {
        let message =
            format!("class_shares: expected a share for each of {classes} classes, got {}", shares.len());
        return Err(Error::invalid(message));
    }
    if let Some(wrong) = shares.iter().find(|share| !(share.is_finite() && **share >= 0.0)) {
        return Err(Error::invalid(format!("expected shares of classes of 0 or more, got {wrong}")));
    }
    Ok(())
}

fn pool(counts: &[Vec<Counts>], class: Option<u32>) -> Vec<(usize, Window, u64)> {
    let mut sum = 0;
    let mut cells = Vec::new();
    for (scene, counts) in counts.iter().enumerate() {
        for own in counts {
            let pixels = class.map_or_else(|| own.counted(), |class| own.of_class(class));
            if pixels > 0 {
                sum += pixels;
                cells.push((scene, own.window, sum));
            }
        }
    }
    cells
}

/// A window of `size` over the pixel (`x`, `y`), which lies anywhere in it; within the raster where that is large enough.
pub(super) fn window_over((x, y): (i64, i64), size: Size, raster: Size, seed: u64) -> Window {
    let mut random = SplitMix64::new(seed);
    let mut along = |at: i64, size: usize, raster: usize| {
        let start = at - random.below(size as u64) as i64;
        start.clamp(0, raster.saturating_sub(size) as i64)
    };
    let (x, y) = (along(x, size.width, raster.width), along(y, size.height, raster.height));
    Window::new(x, y, size.width, size.height)
}

/// Windows of a grid that have enough labels, with their images.
pub(super) fn kept(
    cells: &[Vec<Cell>],
    counts: &[Vec<Counts>],
    is_kept: impl Fn(&Counts) -> bool,
) -> Vec<(usize, Cell)> {
    let pairs = cells.iter().zip(counts).enumerate();
    pairs
        .flat_map(|(scene, (cells, counts))| {
            cells.iter().zip(counts).map(move |(cell, own)| (scene, cell, own))
        })
        .filter(|(_, _, own)| is_kept(own))
        .map(|(scene, cell, _)| (scene, *cell))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Vec<Vec<Counts>> {
        let of =
            |x, classes: &[(u32, u64)]| Counts { window: Window::new(x, 0, 4, 4), classes: classes.to_vec() };
        vec![vec![of(0, &[(0, 12), (1, 4)]), of(4, &[])], vec![of(0, &[(0, 16)]), of(4, &[(0, 6), (2, 2)])]]
    }

    #[test]
    fn shares_of_classes_and_cells() {
        let picker = Picker::new(&counts(), true, &[1.0, 2.0, 1.0, 4.0], 4).unwrap();
        let mut seen = std::collections::BTreeMap::new();
        for seed in 0..20_000u64 {
            let pick = picker.pick(SplitMix64::new(seed).next()).unwrap();
            *seen.entry((pick.class, pick.scene, pick.cell.x, pick.nth)).or_insert(0) += 1;
        }
        // Class 3 has no pixel; the others have 1/4, 2/4, 1/4 of the windows.
        let of =
            |class: u32| seen.iter().filter(|(key, _)| key.0 == Some(class)).map(|(_, n)| n).sum::<i32>();
        assert!((4800..5200).contains(&of(0)) && (9700..10300).contains(&of(1)), "{} {}", of(0), of(1));
        assert_eq!(of(0) + of(1) + of(2), 20_000);
        // Every pixel has its turn: 34 of class 0, 4 of class 1, 2 of class 2.
        assert_eq!(seen.len(), 34 + 4 + 2);
        assert!(
            seen.iter().filter(|(key, _)| key.0 == Some(0)).all(|(_, n)| (90..220).contains(n)),
            "{seen:?}"
        );
        let any = Picker::new(&counts(), false, &[], 4).unwrap();
        assert!((0..100).all(|seed| any.pick(seed).unwrap().class.is_none()));
        assert_eq!(any.pick(5), any.pick(5));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        for shares in [&[1.0][..], &[-1.0, 0.0, 0.0], &[f64::NAN, 0.0, 0.0], &[0.0, 0.0, 0.0]] {
            assert!(Picker::new(&counts(), true, shares, 3).is_err(), "{shares:?}");
        }
        assert!(Picker::new(&[vec![]], false, &[], 3).is_err());
    }

    #[test]
    fn windows_hold_their_pixel_and_stay_within() {
        let raster = Size::new(20, 10);
        let mut starts = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let at = ((seed % 20) as i64, (seed / 20 % 10) as i64);
            let window = window_over(at, Size::new(6, 4), raster, seed);
            assert_eq!(window.clip(raster), Some(window));
            assert!(window.x <= at.0 && at.0 < window.x + 6 && window.y <= at.1 && at.1 < window.y + 4);
            starts.insert((window.x, window.y));
        }
        assert_eq!(starts.len(), 15 * 7);
        // A raster smaller than the window.
        assert_eq!(window_over((1, 1), Size::new(8, 8), Size::new(3, 9), 4).x, 0);
    }

    #[test]
    fn names() {
        for own in ["grid", "random", "balanced"] {
            assert_eq!(own.parse::<Sampling>().unwrap().to_string(), own);
        }
        assert!("Grid".parse::<Sampling>().is_err());
    }
}
