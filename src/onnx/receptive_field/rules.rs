//! Operator by operator: from what the inputs know of the image to what the outputs know.

use crate::onnx::graph::{Graph, Node, ValueId};
use crate::onnx::proto::is_default_domain;
use crate::onnx::receptive_field::field::{Field, together};
use crate::onnx::receptive_field::track::{Sliding, Track};
use crate::onnx::resolved::{
    Convolution, Einsum, Pads, Pooling, Resize, TransposedConvolution, Windows, axis_of, reduced_axes, spans,
    split_sizes,
};

/// What a node makes of its inputs' fields.
pub(super) struct Outcome {
    /// One an output.
    pub(super) outputs: Vec<Field>,
    /// Why an output's value depends on all of the tile, or on where the tile lies; none where it does not.
    pub(super) reason: Option<String>,
}

/// A node at work.
struct Work<'a> {
    graph: &'a Graph,
    node: &'a Node,
    fields: &'a [Field],
}

/// What the outputs of a node know.
pub(super) fn outcome(graph: &Graph, node: &Node, fields: &[Field]) -> Outcome {
    let work = Work { graph, node, fields };
    let count = node.outputs.len();
    let is_seen = node.inputs.iter().flatten().any(|id| fields[id.index()].is_seen);
    let seen = |field: Field| Field { is_seen, ..field };
    if !work.inputs().any(|(_, field)| field.has_tracks()) {
        return Outcome { outputs: vec![seen(Field::default()); count], reason: None };
    }
    match work.apply() {
        Ok((mut outputs, reason)) => {
            // Outputs beyond those that a rule speaks of are statistics or masks of the first.
            let first = outputs.first().copied().unwrap_or_default();
            outputs.resize(count, first);
            Outcome { outputs: outputs.into_iter().map(seen).collect(), reason }
        }
        Err(reason) => Outcome { outputs: vec![seen(Field::default()); count], reason: Some(reason) },
    }
}

type Made = Result<(Vec<Field>, Option<String>), String>;

fn local(field: Field) -> Made {
    Ok((vec![field], None))
}

impl Work<'_> {
    fn inputs(&self) -> impl Iterator<Item = (ValueId, Field)> {
        self.node.inputs.iter().flatten().map(|id| (*id, self.fields[id.index()]))
    }

    fn input(&self, index: usize) -> Result<(ValueId, Field), String> {
        let id = self.node.input(index).ok_or("lacks an input")?;
        Ok((id, self.fields[id.index()]))
    }

    fn shape(&self, index: usize) -> Result<&[usize], String> {
        Ok(self.graph.shape(self.input(index)?.0))
    }

    fn output_shape(&self) -> &[usize] {
        self.node.output(0).map_or(&[], |id| self.graph.shape(id))
    }

    fn rank(&self) -> usize {
        self.output_shape().len()
    }

    fn axis(&self, default: i64) -> Result<usize, String> {
        let rank = self.shape(0)?.len();
        axis_of(self.node, self.node.int_or("axis", default), rank)
            .map_err(|error| error.message().to_owned())
    }

    fn apply(&self) -> Made {
        let is_own = is_default_domain(&self.node.domain);
        match (is_own, self.node.op_type.as_str()) {
            (
                true,
                "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitwiseNot" | "Ceil"
                | "Celu" | "Cos" | "Cosh" | "Elu" | "Erf" | "Exp" | "Floor" | "HardSigmoid" | "HardSwish"
                | "Identity" | "LeakyRelu" | "Log" | "Mish" | "Neg" | "Not" | "Reciprocal" | "Relu" | "Round"
                | "Selu" | "Shrink" | "Sigmoid" | "Sign" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Sqrt"
                | "Swish" | "Tan" | "Tanh" | "ThresholdedRelu" | "LRN" | "Clip" | "IsNaN" | "IsInf" | "Cast"
                | "CastLike" | "Dropout" | "QuantizeLinear" | "DequantizeLinear",
            )
            | (_, "Gelu" | "QuickGelu" | "FastGelu" | "BiasGelu") => local(self.input(0)?.1),
            (
                true,
                "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Max" | "Min" | "Sum" | "Mean" | "And" | "Or" | "Xor"
                | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Pow" | "PRelu" | "Equal"
                | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Where" | "Expand",
            ) => local(together(self.graph, self.rank(), self.inputs())?),
            (true, "BatchNormalization") if self.node.int_or("training_mode", 0) == 0 => {
                local(self.input(0)?.1)
            }
            (_, "Conv" | "FusedConv") if self.node.input(3).is_none() => {
                let own = Convolution::of(self.graph, self.node).map_err(told)?;
                self.windows(&own.windows)
            }
            (true, "ConvTranspose") => self.transposed_convolution(),
            (true, "MaxPool" | "AveragePool" | "LpPool") => {
                let own = Pooling::of(self.graph, self.node).map_err(told)?;
                self.windows(&own.windows)
            }
            (true, "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool") => {
                self.over(2..self.shape(0)?.len(), "is the mean or the maximum of the whole tile", Some)
            }
            (true, "InstanceNormalization" | "GroupNormalization") => {
                self.along(2..self.shape(0)?.len(), "normalises by statistics of the whole tile")
            }
            (true, "MeanVarianceNormalization") => {
                let axes = self.node.ints("axes").map_or(vec![0, 2, 3], <[i64]>::to_vec);
                let rank = self.shape(0)?.len();
                let axes =
                    axes.iter().map(|axis| axis_of(self.node, *axis, rank)).collect::<Result<Vec<_>, _>>();
                self.along(axes.map_err(told)?, "normalises by statistics of the whole tile")
            }
            (_, "LayerNormalization" | "SimplifiedLayerNormalization" | "RMSNormalization") => {
                self.along(self.axis(-1)?..self.shape(0)?.len(), "normalises by statistics of the whole tile")
            }
            (true, "LpNormalization") => {
                self.along([self.axis(-1)?], "normalises by statistics of the whole tile")
            }
            (true, "Softmax" | "LogSoftmax" | "Hardmax") => {
                self.along([self.axis(-1)?], "weighs all positions of the tile against each other")
            }
            (true, "CumSum") => self.along(0..self.shape(0)?.len(), "sums over the positions of the tile"),
            (true, "ArgMax" | "ArgMin") => {
                let (axis, keeps) = (self.axis(0)?, self.node.int_or("keepdims", 1) != 0);
                self.over([axis], "looks for the greatest of all positions of the tile", |dim| match dim {
                    dim if keeps || dim < axis => Some(dim),
                    dim => Some(dim - 1),
                })
            }
            (
                true,
                "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1"
                | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare",
            ) => {
                let axes = reduced_axes(self.graph, self.node).map_err(told)?;
                let keeps = self.node.int_or("keepdims", 1) != 0;
                self.over(axes.clone(), "reduces all positions of the tile to one", |dim| match keeps {
                    true => Some(dim),
                    false => Some(dim - axes.iter().filter(|axis| **axis < dim).count()),
                })
            }
            (true, "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze") => {
                local(self.input(0)?.1.reshaped(self.shape(0)?, self.output_shape())?)
            }
            (true, "Transpose") => self.transposed(),
            (true, "DepthToSpace" | "SpaceToDepth") => self.between_depth_and_space(),
            (true, "Resize") => self.resized(),
            (true, "Slice") => self.sliced(),
            (true, "Split") => self.split(),
            (true, "Pad") => self.padded(),
            (true, "Concat") => self.concatenated(),
            (true, "Gather") => self.gathered(),
            (true, "Tile") => self.tiled(),
            (true, "MatMul") | (_, "Gemm") => self.product(),
            (true, "Einsum") => self.einsum(),
            _ => Err("is not analysed: it may look at the whole tile".to_owned()),
        }
    }

    /// Makes one of all positions along some dimensions; the other dimensions may get other numbers.
    fn over(
        &self,
        dims: impl IntoIterator<Item = usize>,
        reason: &str,
        stays: impl Fn(usize) -> Option<usize>,
    ) -> Made {
        let mut field = self.input(0)?.1;
        let mut is_whole = false;
        for dim in dims {
            is_whole |= field.is_tracked(dim);
            field = field.without(dim);
        }
        Ok((vec![field.moved(stays)], is_whole.then(|| reason.to_owned())))
    }

    /// Takes all positions along some dimensions into account, and has as many itself.
    fn along(&self, dims: impl IntoIterator<Item = usize>, reason: &str) -> Made {
        let field = self.input(0)?.1;
        let is_whole = dims.into_iter().any(|dim| field.is_tracked(dim) || field.others == Some(dim));
        Ok((vec![field], is_whole.then(|| reason.to_owned())))
    }

    /// Windows over the dimensions behind batch and channels.
    fn windows(&self, windows: &Windows) -> Made {
        let (field, shape) = (self.input(0)?.1, self.shape(0)?);
        self.no_track_in_batch_or_channels(&field)?;
        let tracks = field.changed(|_, own| {
            let axis = own.dim - 2;
            let plain = field.plain(own.dim, shape[own.dim])?.ok_or("lost an axis")?;
            plain.slid(sliding(windows, axis, windows.outputs[axis])).ok_or_else(beyond)
        })?;
        local(tracks)
    }

    fn transposed_convolution(&self) -> Made {
        let own = TransposedConvolution::of(self.graph, self.node).map_err(told)?;
        let (field, shape) = (self.input(0)?.1, self.shape(0)?);
        self.no_track_in_batch_or_channels(&field)?;
        let output = own.output();
        local(field.changed(|_, track| {
            let plain = field.plain(track.dim, shape[track.dim])?.ok_or("lost an axis")?;
            plain.spread(sliding(&own.windows, track.dim - 2, output[track.dim])).ok_or_else(beyond)
        })?)
    }

    fn no_track_in_batch_or_channels(&self, field: &Field) -> Result<(), String> {
        match field.is_tracked(0) || field.is_tracked(1) {
            true => Err("has rows or columns of the image in its batch or channels".to_owned()),
            false => Ok(()),
        }
    }

    fn transposed(&self) -> Made {
        let rank = self.rank();
        let order: Vec<usize> = match self.node.ints("perm") {
            Some(order) => order.iter().filter_map(|dim| usize::try_from(*dim).ok()).collect(),
            None => (0..rank).rev().collect(),
        };
        local(self.input(0)?.1.moved(|dim| order.iter().position(|from| *from == dim)))
    }

    fn between_depth_and_space(&self) -> Made {
        let (field, shape) = (self.input(0)?.1, self.shape(0)?);
        let block = usize::try_from(self.node.int_or("blocksize", 1)).unwrap_or(1).max(1);
        self.no_track_in_batch_or_channels(&field)?;
        local(field.changed(|_, own| {
            let plain = field.plain(own.dim, shape[own.dim])?.ok_or("lost an axis")?;
            let made =
                if self.node.is("DepthToSpace") { plain.widened(block) } else { plain.narrowed(block) };
            made.ok_or_else(beyond)
        })?)
    }

    fn resized(&self) -> Made {
        let resize = Resize::of(self.graph, self.node).map_err(told)?;
        let (field, shape) = (self.input(0)?.1, self.shape(0)?);
        local(field.changed(|_, own| {
            let axis = &resize.axes[own.dim];
            if axis.is_kept() {
                return Ok(own);
            }
            let plain = field.plain(own.dim, shape[own.dim])?.ok_or("lost an axis")?;
            plain.resized(&resize, axis).map_err(str::to_owned)
        })?)
    }

    fn sliced(&self) -> Made {
        let spans = spans(self.graph, self.node).map_err(told)?;
        let (field, shape) = (self.input(0)?.1, self.shape(0)?);
        local(field.changed(|_, own| {
            let span = &spans[own.dim];
            if span.start == 0 && span.step == 1 && span.count == shape[own.dim] {
                return Ok(own);
            }
            if span.step < 1 {
                return Err(
                    "turns rows or columns round: where they come to lie depends on the tile".to_owned()
                );
            }
            let plain = field.plain(own.dim, shape[own.dim])?.ok_or("lost an axis")?;
            plain.sliced(span.start as i64, span.step, span.count).ok_or_else(beyond)
        })?)
    }

    fn split(&self) -> Made {
        let (axis, parts) = split_sizes(self.graph, self.node, self.node.outputs.len()).map_err(told)?;
        let field = self.input(0)?.1;
        if field.is_tracked(axis) {
            return Err("cuts the tile into parts: where they begin depends on the tile".to_owned());
        }
        Ok((vec![field; parts.len()], None))
    }

    fn padded(&self) -> Made {
        let pads = Pads::of(self.graph, self.node).map_err(told)?;
        let (field, shape) = (self.input(0)?.1, self.shape(0)?);
        local(field.changed(|_, own| {
            let (begin, end) = (pads.begin[own.dim], pads.end[own.dim]);
            if (begin, end) == (0, 0) {
                return Ok(own);
            }
            if self.node.text_or("mode", "constant") == "wrap" {
                return Err("pads with the other end of the tile".to_owned());
            }
            let plain = field.plain(own.dim, shape[own.dim])?.ok_or("lost an axis")?;
            plain.padded(begin, end).ok_or_else(beyond)
        })?)
    }

    fn concatenated(&self) -> Made {
        let axis = self.axis(0)?;
        if self.inputs().any(|(_, field)| field.is_tracked(axis)) {
            return Err("puts rows or columns beside others".to_owned());
        }
        local(together(self.graph, self.rank(), self.inputs())?)
    }

    fn gathered(&self) -> Made {
        let axis = self.axis(0)?;
        let (data, (index, indices)) = (self.input(0)?.1, self.input(1)?);
        if indices.is_seen || data.is_tracked(axis) {
            return Err("picks elements by their place in the tile".to_owned());
        }
        let rank = self.graph.shape(index).len();
        local(data.moved(|dim| if dim < axis { Some(dim) } else { Some(dim + rank - 1) }))
    }

    fn tiled(&self) -> Made {
        let (field, before, after) = (self.input(0)?.1, self.shape(0)?, self.output_shape());
        match (0..before.len()).any(|dim| field.is_tracked(dim) && before[dim] != after[dim]) {
            true => Err("repeats the tile".to_owned()),
            false => local(field),
        }
    }

    /// A product of matrices, of which the last two dimensions are rows and columns.
    fn product(&self) -> Made {
        let rank = self.rank();
        let is_turned = |name: &str| self.node.is("Gemm") && self.node.int_or(name, 0) != 0;
        let mut all = Field::default();
        let mut reason = None;
        for (index, turned) in [(0, is_turned("transA")), (1, is_turned("transB"))] {
            let (id, field) = self.input(index)?;
            let own = self.graph.shape(id).len();
            // Where the dimension that is summed over lies, and where the other one goes.
            let summed = match (index == 0) != turned {
                true => own - 1,
                false => own.saturating_sub(2),
            };
            if field.is_tracked(summed) {
                reason = Some("sums over the positions of the tile".to_owned());
            }
            let field = field.without(summed).moved(|dim| match dim + 2 >= own {
                true => Some(rank - if index == 0 { 2 } else { 1 }),
                false => Some(dim + rank - own),
            });
            for (joint, track) in all.tracks.iter_mut().zip(field.tracks) {
                *joint = match (*joint, track) {
                    (Some(one), Some(other)) => match one.joined(other) {
                        Some(joined) => Some(joined),
                        None => {
                            reason = Some("compares all positions of the tile with each other".to_owned());
                            all.others = Some(other.dim);
                            Some(one)
                        }
                    },
                    (one, other) => one.or(other),
                };
            }
        }
        Ok((vec![all], reason))
    }

    fn einsum(&self) -> Made {
        let own = Einsum::of(self.graph, self.node).map_err(told)?;
        let mut all = Field::default();
        let mut reason = None;
        for (labels, (_, field)) in own.operands.iter().zip(self.inputs()) {
            for (joint, track) in all.tracks.iter_mut().zip(field.tracks) {
                let Some(track) = track else { continue };
                let place = own.output.iter().position(|label| *label == labels[track.dim]);
                let Some(dim) = place else {
                    reason = Some("sums over the positions of the tile".to_owned());
                    continue;
                };
                let track = Track { dim, ..track };
                *joint = match joint.map(|one| one.joined(track)) {
                    None => Some(track),
                    Some(Some(joined)) => Some(joined),
                    Some(None) => {
                        reason = Some("compares all positions of the tile with each other".to_owned());
                        *joint
                    }
                };
            }
        }
        Ok((vec![all], reason))
    }
}

fn sliding(windows: &Windows, axis: usize, count: usize) -> Sliding {
    let reach = (windows.kernel[axis] - 1) * windows.dilations[axis] + 1;
    Sliding {
        reach: reach as i64,
        stride: windows.strides[axis] as i64,
        begin: windows.begin[axis] as i64,
        count,
    }
}

fn told(error: crate::error::Error) -> String {
    error.message().to_owned()
}

fn beyond() -> String {
    "its reach is beyond all bounds".to_owned()
}
