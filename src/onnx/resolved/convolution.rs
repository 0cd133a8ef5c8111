//! Convolutions, and convolutions transposed.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::size;
use crate::onnx::resolved::windows::{AutoPad, Windows, pads};

/// A Conv node: `X [N, C, D...]`, `W [M, C / group, K...]`, `Y [N, M, D'...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Convolution {
    /// N.
    pub(crate) batch: usize,
    /// C: channels of the input.
    pub(crate) channels: usize,
    /// M: channels of the output.
    pub(crate) filters: usize,
    /// Groups: channels `g C / group ..` of the input give channels `g M / group ..` of the output.
    pub(crate) group: usize,
    /// Where the filters lie.
    pub(crate) windows: Windows,
}

impl Convolution {
    /// Of a node with inputs X, W and perhaps B, in this order (Conv, FusedConv).
    ///
    /// # Errors
    /// `ModelInvalid` where shapes and attributes contradict each other.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Result<Convolution> {
        let (x, w) = (graph.shape(node.needed(0)?), graph.shape(node.needed(1)?));
        let (x, w) = same_rank(node, x, w)?;
        let group = groups(node)?;
        let (channels, filters) = (x[1], w[0]);
        if w[1].checked_mul(group) != Some(channels) || filters % group != 0 {
            let message = format!("weight {w:?} and {group} groups do not fit input {x:?}");
            return Err(node.invalid(message));
        }
        check_kernel(node, &w[2..])?;
        check_bias(graph, node, filters)?;
        let windows = Windows::sliding(node, &x[2..], &w[2..])?;
        Ok(Convolution { batch: x[0], channels, filters, group, windows })
    }

    /// Shape of Y.
    pub(crate) fn output(&self) -> Vec<usize> {
        [&[self.batch, self.filters], &self.windows.outputs[..]].concat()
    }
}

/// A ConvTranspose node: `X [N, C, D...]`, `W [C, M / group, K...]`, `Y [N, M, D'...]`.
///
/// It is the gradient in the input of the convolution of `windows`, whose input is Y and whose output is X: along every
/// axis `Y = stride (X - 1) + output_padding + (kernel - 1) dilation + 1 - begin - end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransposedConvolution {
    /// N.
    pub(crate) batch: usize,
    /// C: channels of the input.
    pub(crate) channels: usize,
    /// M: channels of the output.
    pub(crate) filters: usize,
    /// Groups: channels `g C / group ..` of the input give channels `g M / group ..` of the output.
    pub(crate) group: usize,
    /// Where the filters lie: `inputs` are the sizes of Y, `outputs` those of X.
    pub(crate) windows: Windows,
    /// What is added behind the output, by `output_padding` or by a larger `output_shape`; where `output_padding` is not
    /// below the stride, a convolution with these windows has more outputs than X has elements.
    pub(crate) output_padding: Vec<usize>,
}

impl TransposedConvolution {
    /// Of a node with inputs X, W and perhaps B.
    ///
    /// Where `output_shape` is given the padding follows from it; its odd element goes to the beginning, with
    /// `SAME_UPPER` to the end. A negative padding, which the specification leaves open, becomes an output padding, as in
    /// ONNX Runtime.
    ///
    /// # Errors
    /// `ModelInvalid` where shapes and attributes contradict each other.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Result<TransposedConvolution> {
        let (x, w) = (graph.shape(node.needed(0)?), graph.shape(node.needed(1)?));
        let (x, w) = same_rank(node, x, w)?;
        let rank = x.len() - 2;
        let group = groups(node)?;
        let filters = w[1].checked_mul(group).ok_or_else(|| node.invalid("too many channels"))?;
        if w[0] != x[1] || x[1] % group != 0 {
            let message = format!("weight {w:?} and {group} groups do not fit input {x:?}");
            return Err(node.invalid(message));
        }
        check_kernel(node, &w[2..])?;
        check_bias(graph, node, filters)?;
        let mut windows = Windows::plain(node, &vec![0; rank], &w[2..])?;
        windows.outputs = x[2..].to_vec();
        let mut output_padding = list(node, "output_padding", rank)?.unwrap_or_else(|| vec![0; rank]);
        let wanted = match node.ints("output_shape") {
            // Some files give batch and channels too.
            Some(given) if given.len() == rank + 2 => {
                Some(given[2..].iter().map(|&dim| size(node, dim)).collect::<Result<Vec<_>>>()?)
            }
            _ => list(node, "output_shape", rank)?,
        };
        let auto = AutoPad::of(node)?;
        if auto == AutoPad::Explicit && wanted.is_none() {
            (windows.begin, windows.end) = pads(node, rank)?;
        }
        for axis in 0..rank {
            let (input, stride) = (windows.outputs[axis], windows.strides[axis]);
            let too_large = || node.invalid("the output is too large");
            let natural = input
                .checked_sub(1)
                .ok_or_else(|| node.invalid(format!("an input of shape {x:?}")))?
                .checked_mul(stride)
                .and_then(|sum| sum.checked_add(output_padding[axis]))
                .ok_or_else(too_large)?
                .checked_add(windows.reach(node, axis)?)
                .ok_or_else(too_large)?;
            let target = match (&wanted, auto) {
                (Some(wanted), _) => Some(wanted[axis]),
                (None, AutoPad::SameUpper | AutoPad::SameLower) => {
                    // More than is there is not added.
                    Some(input.checked_mul(stride).ok_or_else(too_large)?.min(natural))
                }
                _ => None,
            };
            if let Some(target) = target {
                let surplus = natural.saturating_sub(target);
                windows.begin[axis] =
                    if auto == AutoPad::SameUpper { surplus / 2 } else { surplus.div_ceil(2) };
                windows.end[axis] = surplus - windows.begin[axis];
                let lacking = target.saturating_sub(natural);
                output_padding[axis] = output_padding[axis].checked_add(lacking).ok_or_else(too_large)?;
                if lacking > 0 && output_padding[axis] >= stride {
                    return Err(node.invalid(format!("an output of {target} out of {input} elements")));
                }
                windows.inputs[axis] = target;
                continue;
            }
            let cut = windows.begin[axis].checked_add(windows.end[axis]);
            let output = cut.and_then(|cut| natural.checked_sub(cut)).filter(|&output| output > 0);
            windows.inputs[axis] =
                output.ok_or_else(|| node.invalid("the padding is larger than the output"))?;
        }
        Ok(TransposedConvolution { batch: x[0], channels: x[1], filters, group, windows, output_padding })
    }

    /// Shape of Y.
    pub(crate) fn output(&self) -> Vec<usize> {
        [&[self.batch, self.filters], &self.windows.inputs[..]].concat()
    }
}

fn same_rank<'a>(node: &Node, x: &'a [usize], w: &'a [usize]) -> Result<(&'a [usize], &'a [usize])> {
    if x.len() < 3 || w.len() != x.len() {
        return Err(node.invalid(format!("weight {w:?} does not fit input {x:?}")));
    }
    Ok((x, w))
}

fn groups(node: &Node) -> Result<usize> {
    let group = node.int_or("group", 1);
    match size(node, group) {
        Ok(group) if group > 0 => Ok(group),
        _ => Err(node.invalid(format!("{group} groups"))),
    }
}

fn check_kernel(node: &Node, kernel: &[usize]) -> Result<()> {
    let own: Vec<i64> = kernel.iter().map(|&dim| dim as i64).collect();
    match node.ints("kernel_shape") {
        Some(given) if given != own => {
            Err(node.invalid(format!("kernel_shape {given:?} with a weight of {kernel:?}")))
        }
        _ => Ok(()),
    }
}

fn check_bias(graph: &Graph, node: &Node, filters: usize) -> Result<()> {
    match node.input(2).map(|id| graph.shape(id)) {
        Some(shape) if shape != [filters] => {
            Err(node.invalid(format!("a bias of shape {shape:?} for {filters} channels")))
        }
        _ => Ok(()),
    }
}

/// A list of `rank` sizes.
fn list(node: &Node, name: &str, rank: usize) -> Result<Option<Vec<usize>>> {
    let Some(given) = node.ints(name) else { return Ok(None) };
    if given.len() != rank {
        return Err(node.invalid(format!("{name} {given:?} for {rank} spatial axes")));
    }
    given.iter().map(|&value| size(node, value)).collect::<Result<_>>().map(Some)
}
