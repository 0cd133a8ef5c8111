//! Resize: along one axis after the other, by the weights that the specification's formulas give for every new
//! element.

use super::{Call, Operator, axis_of};
use crate::autodiff::tests::array::{Array, each};
use crate::onnx::graph::Node;

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Resize" => resize,
        _ => return None,
    })
}

/// One axis to be resized.
struct Axis {
    old: usize,
    new: usize,
    scale: f64,
    /// For `tf_crop_and_resize`: begin and end of the region, as parts of the axis.
    roi: (f64, f64),
}

fn resize(call: &Call<'_>) -> Vec<Array> {
    let (x, node) = (call.x(0), call.node);
    let axes: Vec<usize> = match node.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, x.rank())).collect(),
        None => (0..x.rank()).collect(),
    };
    let roi = call.get(1).filter(|roi| roi.len() > 0).map(|roi| roi.f().to_vec());
    let scales = call.get(2).filter(|scales| scales.len() > 0).map(|scales| scales.f().to_vec());
    let mut y = x.clone();
    let policy = node.text_or("keep_aspect_ratio_policy", "stretch");
    let sizes = call.ints(3).filter(|sizes| !sizes.is_empty());
    let ratios: Option<Vec<f64>> = sizes.as_ref().map(|sizes| {
        sizes.iter().zip(&axes).map(|(&size, &axis)| size as f64 / x.shape[axis] as f64).collect()
    });
    let common = ratios.as_ref().and_then(|ratios| match policy {
        "not_larger" => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(ratios.iter().copied().fold(0.0, f64::max)),
        _ => None,
    });
    let cropped = node.text_or("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize";
    // Elements that a coordinate outside of the map gives the extrapolation value.
    let mut outside: Vec<Vec<bool>> = x.shape.iter().map(|&dim| vec![false; dim]).collect();
    for (index, &at) in axes.iter().enumerate() {
        let old = x.shape[at];
        let (new, scale) = match (&scales, &sizes, common) {
            (Some(scales), _, _) => ((old as f64 * scales[index]).floor() as usize, scales[index]),
            (_, Some(_), Some(common)) => ((old as f64 * common + 0.5).floor() as usize, common),
            (_, Some(sizes), None) => (sizes[index] as usize, sizes[index] as f64 / old as f64),
            _ => panic!("Resize without scales and sizes"),
        };
        let roi = roi.as_ref().map_or((0.0, 1.0), |roi| (roi[index], roi[index + axes.len()]));
        let axis = Axis { old, new, scale, roi };
        outside[at] = (0..new)
            .map(|new| {
                let x = axis.coordinate(node, new);
                cropped && (x < 0.0 || x > (old - 1) as f64)
            })
            .collect();
        // An axis that stays as it is takes part in nothing.
        if new != old || scale != 1.0 || cropped {
            y = along(&y, at, &axis, node);
        }
    }
    let value = call.number("extrapolation_value", 0.0);
    let mut places = Vec::new();
    each(&y.shape, |at| places.push(at.iter().zip(&outside).any(|(&at, outside)| outside[at])));
    for (y, outside) in y.f_mut().iter_mut().zip(places) {
        if outside {
            *y = value;
        }
    }
    vec![y]
}

fn along(x: &Array, at: usize, axis: &Axis, node: &Node) -> Array {
    let mut shape = x.shape.clone();
    shape[at] = axis.new;
    let weights: Vec<Vec<(usize, f64)>> = (0..axis.new).map(|new| axis.weights(node, new)).collect();
    Array::of_floats(&shape, |index| {
        let mut own = index.to_vec();
        weights[index[at]]
            .iter()
            .map(|&(place, weight)| {
                own[at] = place;
                weight * x.at(&own)
            })
            .sum()
    })
}

impl Axis {
    /// The coordinate in the old map of element `new` of the new one. In single precision, as ONNX Runtime computes it:
    /// where a coordinate is a whole number or a half but for rounding, the rounding decides.
    fn coordinate(&self, node: &Node, new: usize) -> f64 {
        let (x, old, size, scale) = (new as f32, self.old as f32, self.new as f32, self.scale as f32);
        let (begin, end) = (self.roi.0 as f32, self.roi.1 as f32);
        f64::from(match node.text_or("coordinate_transformation_mode", "half_pixel") {
            "asymmetric" => x / scale,
            "align_corners" if self.new == 1 => 0.0,
            "align_corners" => x * (old - 1.0) / (size - 1.0),
            "pytorch_half_pixel" if self.new <= 1 => 0.0,
            "half_pixel_symmetric" => {
                // The new size is cut to a whole number; the map stays centred nevertheless.
                let adjustment = size / (scale * old);
                let offset = old / 2.0 * (1.0 - adjustment);
                offset + (x + 0.5) / scale - 0.5
            }
            "tf_crop_and_resize" if self.new > 1 => {
                begin * (old - 1.0) + x * (end - begin) * (old - 1.0) / (size - 1.0)
            }
            "tf_crop_and_resize" => 0.5 * (begin + end) * (old - 1.0),
            _ => (x + 0.5) / scale - 0.5,
        })
    }

    /// Old elements and their weights; an element may occur more than once.
    fn weights(&self, node: &Node, new: usize) -> Vec<(usize, f64)> {
        let x = self.coordinate(node, new);
        // Antialiasing widens the filter when the map becomes smaller.
        let narrow = if node.int_or("antialias", 0) == 1 { self.scale.min(1.0) } else { 1.0 };
        let a = f64::from(node.float_or("cubic_coeff_a", -0.75));
        let (filter, reach): (Box<dyn Fn(f64) -> f64>, f64) = match node.text_or("mode", "nearest") {
            "linear" => (Box::new(|d: f64| (1.0 - d.abs()).max(0.0)), 1.0),
            "cubic" => (Box::new(move |d: f64| cubic(d.abs(), a)), 2.0),
            _ => return vec![(self.nearest(node, x), 1.0)],
        };
        let first = (x - reach / narrow).floor() as i64;
        let last = (x + reach / narrow).ceil() as i64;
        let mut all: Vec<(i64, f64)> = (first..=last)
            .map(|at| (at, filter((at as f64 - x) * narrow)))
            .filter(|(_, w)| *w != 0.0)
            .collect();
        if node.int_or("exclude_outside", 0) == 1 {
            all.retain(|(at, _)| (0..self.old as i64).contains(at));
        }
        let total: f64 = all.iter().map(|(_, weight)| weight).sum();
        let inside = |at: i64| at.clamp(0, self.old as i64 - 1) as usize;
        all.into_iter().map(|(at, weight)| (inside(at), weight / total)).collect()
    }

    fn nearest(&self, node: &Node, x: f64) -> usize {
        let at = match node.text_or("nearest_mode", "round_prefer_floor") {
            "floor" => x.floor(),
            "ceil" => x.ceil(),
            "round_prefer_ceil" => (x + 0.5).floor(),
            _ => (x - 0.5).ceil(),
        };
        (at.max(0.0) as usize).min(self.old - 1)
    }
}

/// The cubic convolution kernel at distance `d`.
fn cubic(d: f64, a: f64) -> f64 {
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}
