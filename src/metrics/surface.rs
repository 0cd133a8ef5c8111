//! How far two shapes are from each other: Hausdorff distance and mean surface distance.

use crate::error::{Error, Result};
use crate::metrics::distance_transform::squared_distances;

/// Distances between a true and a predicted shape, in the unit of the spacing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurfaceDistances {
    /// The largest distance from a pixel of one shape to the nearest pixel of the other, both ways (the symmetric
    /// Hausdorff distance of the two sets of pixels).
    pub hausdorff: f64,
    /// The mean distance from the surface of each shape to that of the other, over all surface pixels of both.
    pub mean: f64,
}

impl SurfaceDistances {
    /// Both distances unknown: neither shape is there, or there is no truth to compare with.
    pub const UNKNOWN: SurfaceDistances = SurfaceDistances { hausdorff: f64::NAN, mean: f64::NAN };
    /// Both infinite: only one of the shapes is there.
    pub const INFINITE: SurfaceDistances = SurfaceDistances { hausdorff: f64::INFINITY, mean: f64::INFINITY };
}

/// The distances between two shapes, as InnerEye computes them with SimpleITK.
///
/// `truth` and `predicted` are `size` = height x width pixels row by row, true inside the shape; `spacing` is the
/// distance between neighbouring pixels along y and x.
///
/// The surface of a shape are its pixels beside a pixel outside of it (face neighbours); the rim of the image is no
/// surface, since the shape may go on there. Distances are measured to pixels of the other shape that touch its
/// outside at a face or a corner, from inside and outside alike.
///
/// Neither shape there: NaN. One of them: infinite. If one fills the image and so has no surface, the mean is
/// infinite; if both do, it is NaN.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for arrays that are not of that size, or a spacing that is
/// not finite and above zero.
pub fn surface_distances(
    truth: &[bool],
    predicted: &[bool],
    size: [usize; 2],
    spacing: [f64; 2],
) -> Result<SurfaceDistances> {
    check(truth.len(), predicted.len(), size, spacing)?;
    match (truth.contains(&true), predicted.contains(&true)) {
        (false, false) => return Ok(SurfaceDistances::UNKNOWN),
        (true, true) => {}
        _ => return Ok(SurfaceDistances::INFINITE),
    }
    let farthest = |from: &[bool], to: &[bool]| {
        let distances = squared_distances(to, size, spacing);
        from.iter().zip(distances).filter(|(inside, _)| **inside).map(|(_, far)| far).fold(0.0, f64::max)
    };
    let hausdorff = farthest(truth, predicted).max(farthest(predicted, truth)).sqrt();
    let surface_sum = |from: &[bool], to: &[bool]| {
        let distances = squared_distances(&contour(to, size, true), size, spacing);
        let surface = contour(from, size, false);
        let on_surface = surface.iter().zip(distances).filter(|(surface, _)| **surface);
        on_surface.fold((0.0, 0.0), |(sum, count), (_, far)| (sum + far.sqrt(), count + 1.0))
    };
    // Each way summed by itself, so that the two shapes may change places without changing a bit.
    let ((forth, there), (back, here)) = (surface_sum(truth, predicted), surface_sum(predicted, truth));
    Ok(SurfaceDistances { hausdorff, mean: (forth + back) / (there + here) })
}

/// Lengths and spacing of [`surface_distances`] and what stands on it.
pub(crate) fn check(truth: usize, predicted: usize, size: [usize; 2], spacing: [f64; 2]) -> Result<()> {
    let pixels = size[0].checked_mul(size[1]);
    if pixels != Some(truth) || pixels != Some(predicted) {
        return Err(Error::invalid(format!(
            "distances in an image of {} x {} pixels: got {truth} true and {predicted} predicted labels",
            size[0], size[1]
        )));
    }
    if !spacing.iter().all(|step| step.is_finite() && *step > 0.0) {
        return Err(Error::invalid(format!(
            "pixel spacing {} x {}: expected numbers above zero",
            spacing[0], spacing[1]
        )));
    }
    Ok(())
}

/// Pixels of the shape with a neighbour inside the image that is outside of the shape: at a face, or at a corner too.
fn contour(shape: &[bool], [height, width]: [usize; 2], corners: bool) -> Vec<bool> {
    let mut out = vec![false; shape.len()];
    for y in 0..height {
        for x in 0..width {
            let here = y * width + x;
            if !shape[here] {
                continue;
            }
            let (rows, columns) = (y.saturating_sub(1)..=(y + 1).min(height - 1), x.saturating_sub(1));
            let columns = columns..=(x + 1).min(width - 1);
            out[here] = rows
                .into_iter()
                .any(|v| columns.clone().any(|u| (corners || u == x || v == y) && !shape[v * width + u]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(rows: &[&str]) -> (Vec<bool>, [usize; 2]) {
        let pixels = rows.iter().flat_map(|row| row.chars().map(|c| c == '#')).collect();
        (pixels, [rows.len(), rows[0].len()])
    }

    fn between(a: &[&str], b: &[&str], spacing: [f64; 2]) -> SurfaceDistances {
        let ((a, size), (b, _)) = (shape(a), shape(b));
        let forth = surface_distances(&a, &b, size, spacing).unwrap();
        let back = surface_distances(&b, &a, size, spacing).unwrap();
        assert_eq!(format!("{forth:?}"), format!("{back:?}"));
        forth
    }

    #[test]
    fn two_points() {
        let far = between(&["#....", "....."], &[".....", "...#."], [4.0, 1.0]);
        assert_eq!(far, SurfaceDistances { hausdorff: 5.0, mean: 5.0 });
    }

    #[test]
    fn a_disc_in_a_ring_is_far_in_its_middle() {
        let disc = [".......", ".......", "..###..", "..###..", "..###..", ".......", "......."];
        let ring = [".......", ".#####.", ".#...#.", ".#...#.", ".#...#.", ".#####.", "......."];
        let far = between(&disc, &ring, [1.0, 1.0]);
        // The middle is two from the ring; the surface is only one, but the corners of the ring are farther.
        assert_eq!(far.hausdorff, 2.0);
        assert!((far.mean - (20.0 + 4.0 * 2_f64.sqrt()) / 24.0).abs() < 1e-12);
    }

    #[test]
    fn empty_shapes() {
        let (nothing, something, all) = (["..", ".."], ["#.", ".."], ["##", "##"]);
        assert!(between(&nothing, &nothing, [1.0; 2]).hausdorff.is_nan());
        assert!(between(&nothing, &nothing, [1.0; 2]).mean.is_nan());
        assert_eq!(between(&nothing, &something, [1.0; 2]), SurfaceDistances::INFINITE);
        assert_eq!(between(&something, &something, [1.0; 2]), SurfaceDistances { hausdorff: 0.0, mean: 0.0 });
        let full = between(&all, &something, [1.0; 2]);
        assert_eq!((full.hausdorff, full.mean), (2_f64.sqrt(), f64::INFINITY));
        let both = between(&all, &all, [1.0; 2]);
        assert!(both.hausdorff == 0.0 && both.mean.is_nan());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(surface_distances(&[true], &[true], [1, 2], [1.0; 2]).is_err());
        assert!(surface_distances(&[true], &[], [1, 1], [1.0; 2]).is_err());
        assert!(surface_distances(&[true], &[true], [1, 1], [1.0, 0.0]).is_err());
        assert!(surface_distances(&[true], &[true], [1, 1], [f64::NAN, 1.0]).is_err());
    }
}
