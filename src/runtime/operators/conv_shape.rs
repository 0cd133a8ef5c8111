//! The sizes of a two-dimensional convolution.

use ort::operator::KernelContext;

/// The sizes of a two-dimensional convolution of `[n, c, h, w]` by `[m, c / groups, kernel]` to `[n, m, out]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConvShape {
    pub(super) images: usize,
    /// Channels in and out, of all groups.
    pub(super) channels: usize,
    pub(super) filters: usize,
    /// Heights and widths.
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilations: [usize; 2],
    /// Before the first row and column.
    pub(super) pads: [usize; 2],
    pub(super) groups: usize,
}

/// The attributes of Conv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConvAttributes {
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilations: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) pads: [usize; 4],
    pub(super) groups: usize,
}

impl ConvAttributes {
    /// Reads and checks what stands in the graph.
    pub(super) fn new(
        kernel: &[i64],
        strides: Option<&[i64]>,
        dilations: Option<&[i64]>,
        pads: Option<&[i64]>,
        groups: Option<i64>,
    ) -> Result<ConvAttributes, String> {
        Ok(ConvAttributes {
            kernel: numbers("kernel_shape", kernel, 1)?,
            strides: numbers("strides", strides.unwrap_or(&[1, 1]), 1)?,
            dilations: numbers("dilations", dilations.unwrap_or(&[1, 1]), 1)?,
            pads: numbers("pads", pads.unwrap_or(&[0; 4]), 0)?,
            groups: numbers::<1>("group", &[groups.unwrap_or(1)], 1)?[0],
        })
    }
}

impl ConvAttributes {
    /// Reads what stands at a node, all but the kernel as in Conv.
    pub(super) fn of(context: &KernelContext<'_>, kernel: &[i64]) -> ort::Result<ConvAttributes> {
        let list = |name: &str| context.get::<Vec<i64>>(name);
        let (strides, dilations, pads) = (list("strides"), list("dilations"), list("pads"));
        ConvAttributes::new(
            kernel,
            strides.as_deref(),
            dilations.as_deref(),
            pads.as_deref(),
            context.get("group"),
        )
        .map_err(ort::Error::new)
    }

    /// Height and width of the result for an input of these.
    pub(super) fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let size = |axis: usize| {
            let reach = self.dilations[axis].checked_mul(self.kernel[axis] - 1)?;
            let padded = input[axis].checked_add(self.pads[axis])?.checked_add(self.pads[axis + 2])?;
            Some(padded.checked_sub(reach)?.checked_sub(1)? / self.strides[axis] + 1)
        };
        Some([size(0)?, size(1)?])
    }
}

fn numbers<const N: usize>(name: &str, values: &[i64], least: i64) -> Result<[usize; N], String> {
    let list: Vec<usize> = values
        .iter()
        .filter(|value| (least..=i64::from(i32::MAX)).contains(value))
        .map(|value| *value as usize)
        .collect();
    list.try_into().map_err(|_| format!("{name}: expected {N} numbers from {least}, got {values:?}"))
}

impl ConvShape {
    /// The sizes, if tensors of these shapes fit the attributes.
    pub(super) fn new(attributes: &ConvAttributes, x: &[i64], dy: &[i64]) -> Result<ConvShape, String> {
        let ([images, channels, height, width], [images_out, filters, rows, columns]) = (dims(x)?, dims(dy)?);
        let a = attributes;
        if images != images_out
            || a.output([height, width]) != Some([rows, columns])
            || !channels.is_multiple_of(a.groups)
            || !filters.is_multiple_of(a.groups)
        {
            return Err(format!("an input {x:?} and an output {dy:?} do not belong to {a:?}"));
        }
        Ok(ConvShape {
            images,
            channels,
            filters,
            input: [height, width],
            output: [rows, columns],
            kernel: a.kernel,
            strides: a.strides,
            dilations: a.dilations,
            pads: [a.pads[0], a.pads[1]],
            groups: a.groups,
        })
    }

    /// Elements of a weight of one filter and one channel.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Channels of a group.
    pub(super) fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Filters of a group.
    pub(super) fn group_filters(&self) -> usize {
        self.filters / self.groups
    }
}

pub(super) fn dims(shape: &[i64]) -> Result<[usize; 4], String> {
    let list: Vec<usize> = shape.iter().filter_map(|dim| usize::try_from(*dim).ok()).collect();
    list.try_into().map_err(|_| format!("expected four dimensions, got {shape:?}"))
}
