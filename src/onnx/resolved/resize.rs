//! Resizes.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::{axis_of, distinct_axes, ints, numbers, size};

/// A Resize node (or an Upsample): how every axis of its input is sampled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resize {
    /// Every axis of the input.
    pub(crate) axes: Vec<ResizeAxis>,
    /// How the value at a place between elements is made.
    pub(crate) interpolation: Interpolation,
    /// Where the output's elements lie in the input.
    pub(crate) coordinates: Coordinates,
    /// Whether downscaling averages over the larger window of the output's element.
    pub(crate) antialias: bool,
    /// Whether the weights of elements outside of the input are 0 and the others rescaled (cubic, or antialias).
    pub(crate) exclude_outside: bool,
    /// What is outside of the input, for [`Coordinates::CropAndResize`].
    pub(crate) extrapolation_value: f32,
}

/// One axis of a [`Resize`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ResizeAxis {
    /// Size in the input.
    pub(crate) input: usize,
    /// Size in the output.
    pub(crate) output: usize,
    /// Output elements per input element, as coordinates are computed with it: the given scale, which the sizes may
    /// follow only up to rounding.
    pub(crate) scale: f32,
    /// Begin and end of the region of interest, as parts of the size.
    pub(crate) roi: (f32, f32),
}

impl ResizeAxis {
    /// Whether the axis is left as it is.
    pub(crate) fn is_kept(&self) -> bool {
        self.input == self.output && self.scale == 1.0
    }
}

/// The attribute `mode`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Interpolation {
    /// The nearest element; `nearest_mode` says which of two.
    Nearest(Nearest),
    /// Linear along every axis.
    Linear,
    /// Cubic along every axis, with the coefficient a.
    Cubic(f32),
}

/// The attribute `nearest_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nearest {
    /// The nearer one, the lower of two equally near.
    RoundPreferFloor,
    /// The nearer one, the upper of two equally near.
    RoundPreferCeil,
    /// The lower one.
    Floor,
    /// The upper one.
    Ceil,
}

/// The attribute `coordinate_transformation_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coordinates {
    /// `(x + 0.5) / scale - 0.5`.
    HalfPixel,
    /// The same about the middle of the input, where the output was rounded.
    HalfPixelSymmetric,
    /// As half_pixel, but 0 where the output has one element.
    PytorchHalfPixel,
    /// `x (input - 1) / (output - 1)`.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
    /// `(x + 0.5) / scale`; of operator set 10, in old files only.
    HalfPixelForNearest,
    /// From the begin to the end of the region of interest, corners aligned.
    CropAndResize,
}

impl Resize {
    /// Of a node with inputs X, roi, scales and sizes.
    ///
    /// # Errors
    /// `ModelInvalid` for lists of wrong lengths and sizes or scales below zero; `ModelUnsupported` where they depend on
    /// data.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Result<Resize> {
        let shape = graph.shape(node.needed(0)?);
        let rank = shape.len();
        let chosen: Vec<usize> = match node.ints("axes") {
            Some(axes) => {
                distinct_axes(node, axes, rank)?;
                axes.iter().map(|&axis| axis_of(node, axis, rank)).collect::<Result<_>>()?
            }
            None => (0..rank).collect(),
        };
        let mut axes: Vec<ResizeAxis> = shape
            .iter()
            .map(|&dim| ResizeAxis { input: dim, output: dim, scale: 1.0, roi: (0.0, 1.0) })
            .collect();
        let fits = |what: &str, count: usize, wanted: usize| match count == wanted {
            true => Ok(()),
            false => Err(node.invalid(format!("{count} {what} for {} axes", chosen.len()))),
        };
        let scales = numbers(graph, node, 2)?.unwrap_or_default();
        let sizes = ints(graph, node, 3)?.unwrap_or_default();
        match (scales.is_empty(), sizes.is_empty()) {
            (false, true) => {
                fits("scales", scales.len(), chosen.len())?;
                for (&axis, &scale) in chosen.iter().zip(&scales) {
                    scaled(node, &mut axes[axis], scale as f32)?;
                }
            }
            (true, false) => {
                fits("sizes", sizes.len(), chosen.len())?;
                let sizes = sizes.iter().map(|&dim| size(node, dim)).collect::<Result<Vec<_>>>()?;
                sized(node, &mut axes, &chosen, &sizes)?;
            }
            _ if rank == 0 || chosen.is_empty() => {}
            _ => return Err(node.invalid("expected either scales or sizes")),
        }
        if axes.iter().any(|axis| axis.input == 0 && axis.output != 0) {
            return Err(node.invalid(format!("makes elements out of none of shape {shape:?}")));
        }
        let coordinates = coordinates(node)?;
        if coordinates == Coordinates::CropAndResize {
            let roi = numbers(graph, node, 1)?.unwrap_or_default();
            fits("bounds of the region", roi.len(), 2 * chosen.len())?;
            for (index, &axis) in chosen.iter().enumerate() {
                axes[axis].roi = (roi[index] as f32, roi[chosen.len() + index] as f32);
            }
        }
        Ok(Resize {
            axes,
            interpolation: interpolation(node)?,
            coordinates,
            antialias: node.int_or("antialias", 0) != 0,
            exclude_outside: node.int_or("exclude_outside", 0) != 0,
            extrapolation_value: node.float_or("extrapolation_value", 0.0),
        })
    }

    /// Shape of the output.
    pub(crate) fn output(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.output).collect()
    }
}

/// By a scale: the size is rounded down, as a product in `float32`.
fn scaled(node: &Node, axis: &mut ResizeAxis, scale: f32) -> Result<()> {
    let output = (axis.input as f32 * scale).floor();
    // 2^40 is far beyond every limit and exact.
    if !(scale > 0.0 && output < (1u64 << 40) as f32) {
        return Err(node.invalid(format!("a scale of {scale} for {} elements", axis.input)));
    }
    axis.scale = scale;
    axis.output = if scale == 1.0 { axis.input } else { output as usize };
    Ok(())
}

/// By sizes, which `keep_aspect_ratio_policy` may make upper or lower bounds.
fn sized(node: &Node, axes: &mut [ResizeAxis], chosen: &[usize], sizes: &[usize]) -> Result<()> {
    let ratios = chosen.iter().zip(sizes).map(|(&axis, &size)| size as f32 / axes[axis].input as f32);
    let scale = match node.text_or("keep_aspect_ratio_policy", "stretch") {
        "stretch" => {
            for (&axis, &size) in chosen.iter().zip(sizes) {
                let axis = &mut axes[axis];
                axis.output = size;
                axis.scale = if axis.input == size { 1.0 } else { size as f32 / axis.input as f32 };
            }
            return Ok(());
        }
        "not_larger" => ratios.fold(f32::INFINITY, f32::min),
        "not_smaller" => ratios.fold(0.0, f32::max),
        other => return Err(node.invalid(format!("keep_aspect_ratio_policy {other:?}"))),
    };
    for &axis in chosen {
        let axis = &mut axes[axis];
        let output = (axis.input as f32 * scale).round();
        if !(output >= 0.0 && output < (1u64 << 40) as f32) {
            return Err(node.invalid(format!("a scale of {scale} for {} elements", axis.input)));
        }
        axis.scale = scale;
        axis.output = output as usize;
    }
    Ok(())
}

fn interpolation(node: &Node) -> Result<Interpolation> {
    Ok(match node.text_or("mode", "nearest") {
        "nearest" => Interpolation::Nearest(match node.text_or("nearest_mode", "round_prefer_floor") {
            "round_prefer_floor" => Nearest::RoundPreferFloor,
            "round_prefer_ceil" => Nearest::RoundPreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            other => return Err(node.invalid(format!("nearest_mode {other:?}"))),
        }),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic(node.float_or("cubic_coeff_a", -0.75)),
        other => return Err(node.invalid(format!("mode {other:?}"))),
    })
}

fn coordinates(node: &Node) -> Result<Coordinates> {
    Ok(match node.text_or("coordinate_transformation_mode", "half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::HalfPixelForNearest,
        "tf_crop_and_resize" => Coordinates::CropAndResize,
        other => return Err(node.invalid(format!("coordinate_transformation_mode {other:?}"))),
    })
}
