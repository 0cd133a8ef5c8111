//! Windows that slide over the spatial axes of a tensor: what convolutions and pools have in common.

use crate::error::Result;
use crate::onnx::graph::Node;
use crate::onnx::resolved::size;

/// Windows along every spatial axis (the axes after batch and channels).
///
/// Element `t` of window `o` of an axis lies at `o * stride + t * dilation - begin` of the input, for `o` below
/// `outputs` and `t` below `kernel`; what lies outside of the input is padding. For a transposed convolution input and
/// output change places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Sizes of the input.
    pub(crate) inputs: Vec<usize>,
    /// Number of windows: sizes of the output.
    pub(crate) outputs: Vec<usize>,
    /// Elements of a window.
    pub(crate) kernel: Vec<usize>,
    /// Distance between windows, at least 1.
    pub(crate) strides: Vec<usize>,
    /// Distance between the elements of a window, at least 1.
    pub(crate) dilations: Vec<usize>,
    /// Padding before the input.
    pub(crate) begin: Vec<usize>,
    /// Padding behind the input. In ceil mode windows may reach beyond it.
    pub(crate) end: Vec<usize>,
}

/// What `auto_pad` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// As `pads` says.
    Explicit,
    /// None.
    Valid,
    /// As many windows as the input divided by the stride, rounded up; the odd element goes to the end.
    SameUpper,
    /// The same with the odd element at the beginning.
    SameLower,
}

impl AutoPad {
    pub(super) fn of(node: &Node) -> Result<AutoPad> {
        Ok(match node.text_or("auto_pad", "NOTSET") {
            "" | "NOTSET" => AutoPad::Explicit,
            "VALID" => AutoPad::Valid,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            other => return Err(node.invalid(format!("auto_pad {other:?}"))),
        })
    }
}

impl Windows {
    /// Windows of size `kernel` over an input of sizes `inputs`, by the attributes `strides`, `dilations`, `pads`,
    /// `auto_pad` and `ceil_mode` of the node.
    ///
    /// In ceil mode the last window is left out where it would begin in the padding at the end (operator set 22; ONNX
    /// Runtime does so for older sets too).
    ///
    /// # Errors
    /// `ModelInvalid` for attributes of wrong lengths, strides or dilations of 0, negative padding, and windows that
    /// are larger than the padded input.
    pub(crate) fn sliding(node: &Node, inputs: &[usize], kernel: &[usize]) -> Result<Windows> {
        let mut windows = Windows::plain(node, inputs, kernel)?;
        let auto = AutoPad::of(node)?;
        let ceil = node.int_or("ceil_mode", 0) != 0;
        if auto == AutoPad::Explicit {
            (windows.begin, windows.end) = pads(node, inputs.len())?;
        }
        for (axis, &input) in inputs.iter().enumerate() {
            let stride = windows.strides[axis];
            let reach = windows.reach(node, axis)?;
            if matches!(auto, AutoPad::SameUpper | AutoPad::SameLower) {
                windows.outputs[axis] = input.div_ceil(stride);
                let covered = windows.outputs[axis].saturating_sub(1).saturating_mul(stride);
                let missing = covered.saturating_add(reach).saturating_sub(input);
                windows.begin[axis] =
                    if auto == AutoPad::SameUpper { missing / 2 } else { missing.div_ceil(2) };
                windows.end[axis] = missing - windows.begin[axis];
                continue;
            }
            let padded = input
                .checked_add(windows.begin[axis])
                .and_then(|sum| sum.checked_add(windows.end[axis]))
                .ok_or_else(|| node.invalid("the padding is too large"))?;
            let Some(room) = padded.checked_sub(reach) else {
                let message = format!("a window of {reach} over {padded} padded elements");
                return Err(node.invalid(message));
            };
            windows.outputs[axis] = if ceil {
                let steps = room.div_ceil(stride);
                let begins_in_padding = steps.saturating_mul(stride) >= input + windows.begin[axis];
                if begins_in_padding { steps } else { steps + 1 }
            } else {
                room / stride + 1
            };
        }
        Ok(windows)
    }

    /// Windows of size `kernel` of which there are `outputs`, by the attributes `strides` and `pads`: over the
    /// smallest input that has as many (of a MaxUnpool).
    ///
    /// # Errors
    /// As [`Windows::sliding`].
    pub(crate) fn over(node: &Node, outputs: &[usize], kernel: &[usize]) -> Result<Windows> {
        let mut windows = Windows::plain(node, outputs, kernel)?;
        (windows.begin, windows.end) = pads(node, outputs.len())?;
        windows.outputs = outputs.to_vec();
        for axis in 0..outputs.len() {
            let last = outputs[axis].checked_sub(1).and_then(|last| last.checked_mul(windows.strides[axis]));
            let padded = last.and_then(|last| last.checked_add(kernel[axis]));
            let input = padded
                .and_then(|padded| padded.checked_sub(windows.begin[axis]))
                .and_then(|input| input.checked_sub(windows.end[axis]));
            windows.inputs[axis] =
                input.ok_or_else(|| node.invalid(format!("{outputs:?} windows of {kernel:?}")))?;
        }
        Ok(windows)
    }

    /// With strides and dilations, but without padding and outputs.
    pub(super) fn plain(node: &Node, inputs: &[usize], kernel: &[usize]) -> Result<Windows> {
        let rank = inputs.len();
        if kernel.len() != rank || kernel.contains(&0) {
            return Err(node.invalid(format!("windows of shape {kernel:?} over {rank} spatial axes")));
        }
        Ok(Windows {
            inputs: inputs.to_vec(),
            outputs: vec![0; rank],
            kernel: kernel.to_vec(),
            strides: steps(node, "strides", rank)?,
            dilations: steps(node, "dilations", rank)?,
            begin: vec![0; rank],
            end: vec![0; rank],
        })
    }

    /// Elements from the first to the last of a window along an axis.
    pub(super) fn reach(&self, node: &Node, axis: usize) -> Result<usize> {
        (self.kernel[axis] - 1)
            .checked_mul(self.dilations[axis])
            .and_then(|reach| reach.checked_add(1))
            .ok_or_else(|| node.invalid("the dilation is too large"))
    }

    /// `begin` and `end` as the attribute `pads` has them.
    pub(crate) fn pads(&self) -> Vec<i64> {
        self.begin.iter().chain(&self.end).map(|&pad| pad as i64).collect()
    }

    /// For every window along an axis: how many of its elements lie on the input.
    pub(crate) fn inside(&self, axis: usize) -> Vec<usize> {
        self.between(axis, self.begin[axis], self.begin[axis] + self.inputs[axis])
    }

    /// For every window along an axis: how many of its elements lie on the input or its padding.
    #[cfg(test)]
    pub(crate) fn inside_padded(&self, axis: usize) -> Vec<usize> {
        self.between(axis, 0, self.begin[axis] + self.inputs[axis] + self.end[axis])
    }

    /// For every window along an axis: how many of its elements lie from `low` to before `high`, counted from the
    /// beginning of the padding.
    fn between(&self, axis: usize, low: usize, high: usize) -> Vec<usize> {
        let place = |window: usize, tap: usize| window * self.strides[axis] + tap * self.dilations[axis];
        let count = |window: usize| {
            (0..self.kernel[axis]).filter(|&tap| (low..high).contains(&place(window, tap))).count()
        };
        (0..self.outputs[axis]).map(count).collect()
    }
}

/// A list of `rank` positive steps, 1 where the attribute is absent.
fn steps(node: &Node, name: &str, rank: usize) -> Result<Vec<usize>> {
    let Some(given) = node.ints(name) else { return Ok(vec![1; rank]) };
    if given.len() != rank || given.iter().any(|&step| step < 1) {
        return Err(node.invalid(format!("{name} {given:?} for {rank} spatial axes")));
    }
    given.iter().map(|&step| size(node, step)).collect()
}

/// The attribute `pads`: before and behind every axis.
pub(super) fn pads(node: &Node, rank: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    let Some(given) = node.ints("pads") else { return Ok((vec![0; rank], vec![0; rank])) };
    if given.len() != 2 * rank || given.iter().any(|&pad| pad < 0) {
        return Err(node.invalid(format!("pads {given:?} for {rank} spatial axes")));
    }
    let sizes = given.iter().map(|&pad| size(node, pad)).collect::<Result<Vec<_>>>()?;
    Ok((sizes[..rank].to_vec(), sizes[rank..].to_vec()))
}
