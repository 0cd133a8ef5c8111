//! What nodes ask for, resolved: attributes and known inputs with the sizes of the other inputs put in.
//!
//! Shape inference, folding and gradient rules need the same numbers: the padding that `auto_pad` stands for, the axes
//! that a reduction goes over, where a slice begins. Each of them is worked out in one place here, from the node and
//! the graph that has its inputs.

mod axes;
mod convolution;
mod einsum;
mod operands;
mod pads;
mod pooling;
mod resize;
mod slices;
mod split;
mod windows;

pub(crate) use axes::{axis_of, by_input, distinct_axes, reduced_axes};
pub(crate) use convolution::{Convolution, TransposedConvolution};
pub(crate) use einsum::Einsum;
pub(crate) use operands::{count, ints, numbers, size};
pub(crate) use pads::Pads;
pub(crate) use pooling::Pooling;
pub(crate) use resize::{Coordinates, Interpolation, Nearest, Resize, ResizeAxis};
pub(crate) use slices::spans;
pub(crate) use split::split_sizes;
pub(crate) use windows::Windows;
