//! `ConvForward` and `ConvInputGrad`.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{SymbolicDimensions, TensorElementType, ValueType};

use crate::runtime::operators::conv_shape::{ConvAttributes, ConvShape, dims};
use crate::runtime::operators::gather::{Finish, Gather};
use crate::runtime::operators::lanes::Instructions;
use crate::runtime::operators::parallel::{Buffers, Shared};

/// Memory that all nodes of a session share, as only one of them runs at a time.
#[derive(Default)]
struct Scratch {
    weights: Buffers,
    blocks: Buffers,
}

/// `ConvForward(X [N, C, H, W], W [M, C / group, kH, kW], B [M] (optional)) -> Y [N, M, OH, OW]`, all f32: Conv, and what
/// is below the attribute `low` or above `high` becomes that (both absent by default). Other attributes as those of
/// Conv: `kernel_shape` (required), `strides`, `dilations`, `pads` (top, left, bottom, right), `group`.
pub(super) struct ConvForward {
    threads: usize,
    scratch: Arc<Scratch>,
}

/// `ConvInputGrad(dY [N, M, OH, OW], W [M, C / group, kH, kW]) -> dX [N, C, H, W]`, all f32: the gradient of Conv by its
/// input. Attributes as those of Conv, and `input_shape`: H and W.
pub(super) struct ConvInputGrad {
    threads: usize,
    scratch: Arc<Scratch>,
}

impl ConvForward {
    pub(super) fn new(threads: usize) -> ConvForward {
        ConvForward { threads, scratch: Arc::default() }
    }
}

impl ConvInputGrad {
    pub(super) fn new(threads: usize) -> ConvInputGrad {
        ConvInputGrad { threads, scratch: Arc::default() }
    }
}

impl Operator for ConvForward {
    type Kernel<'attr> = ForwardKernel;

    fn name(&self) -> &str {
        "ConvForward"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::optional(TensorElementType::Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<ForwardKernel> {
        let limit = |name: &str| context.get::<f32>(name);
        let limits = match (limit("low"), limit("high")) {
            (None, None) => None,
            (low, high) => Some([low.unwrap_or(f32::NEG_INFINITY), high.unwrap_or(f32::INFINITY)]),
        };
        Ok(ForwardKernel {
            attributes: ConvAttributes::of(context, &list(context, "kernel_shape")?)?,
            limits,
            job: Job { threads: self.threads, scratch: Arc::clone(&self.scratch), plan: None },
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let (Some(&[n, _, height, width]), Some(&[m, ..])) =
            (inputs.first().and_then(shape_of), inputs.get(1).and_then(shape_of))
        else {
            return Ok(());
        };
        let list = |name: &str| context.attr::<Vec<i64>>(name).ok();
        let Some(kernel) = list("kernel_shape") else { return Ok(()) };
        let (strides, dilations, pads) = (list("strides"), list("dilations"), list("pads"));
        let attributes =
            ConvAttributes::new(&kernel, strides.as_deref(), dilations.as_deref(), pads.as_deref(), None);
        let input = (usize::try_from(height), usize::try_from(width));
        if let (Ok(attributes), (Ok(height), Ok(width))) = (attributes, input)
            && let Some([rows, columns]) = attributes.output([height, width])
        {
            return context.set_output(0, &tensor(&[n, m, rows as i64, columns as i64]));
        }
        Ok(())
    }
}

impl Operator for ConvInputGrad {
    type Kernel<'attr> = InputGradKernel;

    fn name(&self) -> &str {
        "ConvInputGrad"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 2]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<InputGradKernel> {
        let size = list(context, "input_shape")?;
        let [height, width] = size[..] else {
            return Err(ort::Error::new(format!("input_shape: expected height and width, got {size:?}")));
        };
        Ok(InputGradKernel {
            attributes: ConvAttributes::of(context, &list(context, "kernel_shape")?)?,
            input: [height, width],
            job: Job { threads: self.threads, scratch: Arc::clone(&self.scratch), plan: None },
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let (Some(&[n, ..]), Some(&[_, c, ..])) =
            (inputs.first().and_then(shape_of), inputs.get(1).and_then(shape_of))
        else {
            return Ok(());
        };
        let Ok(size) = context.attr::<Vec<i64>>("input_shape") else { return Ok(()) };
        let group = context.attr::<i64>("group").unwrap_or(1);
        match size[..] {
            [height, width] => context.set_output(0, &tensor(&[n, c.saturating_mul(group), height, width])),
            _ => Ok(()),
        }
    }
}

fn list(context: &KernelContext<'_>, name: &str) -> ort::Result<Vec<i64>> {
    context.get(name).ok_or_else(|| ort::Error::new(format!("the attribute {name} is missing")))
}

fn shape_of(kind: &ValueType) -> Option<&[i64]> {
    match kind {
        ValueType::Tensor { shape, .. } => Some(shape),
        _ => None,
    }
}

fn tensor(shape: &[i64]) -> ValueType {
    ValueType::Tensor {
        ty: TensorElementType::Float32,
        dimension_symbols: SymbolicDimensions::empty(shape.len()),
        shape: ort::value::Shape::new(shape.iter().copied()),
    }
}

/// What runs a plan.
struct Job {
    threads: usize,
    scratch: Arc<Scratch>,
    /// Of the last run, for the shapes of the inputs that it had.
    plan: Option<([Vec<i64>; 2], Gather)>,
}

impl Job {
    /// The plan for inputs of these shapes.
    fn plan(
        &mut self,
        shapes: [&[i64]; 2],
        make: impl FnOnce(usize) -> Result<Gather, String>,
    ) -> ort::Result<()> {
        if !self.plan.as_ref().is_some_and(|(own, _)| own[0] == shapes[0] && own[1] == shapes[1]) {
            let plan = make(self.threads).map_err(ort::Error::new)?;
            self.plan = Some((shapes.map(<[i64]>::to_vec), plan));
        }
        Ok(())
    }

    fn run(
        &self,
        context: &ComputeContext,
        source: &[f32],
        weights: &[f32],
        finish: Finish<'_>,
        result: &mut [f32],
    ) -> ort::Result<()> {
        let Some((_, plan)) = &self.plan else { return Err(ort::Error::new("there is no plan")) };
        let parallel = |parts: usize, run: &(dyn Fn(usize) + Sync)| match parts {
            0 => Ok(()),
            1 => {
                run(0);
                Ok(())
            }
            _ if self.threads == 1 => {
                (0..parts).for_each(run);
                Ok(())
            }
            _ => context.par_for(parts, parts, run),
        };
        self.scratch.weights.with(plan.packed(), |packed| {
            {
                let packed = Shared::new(&mut *packed);
                let (packs, each) = (plan.packs(), plan.packs().div_ceil(4 * self.threads).max(1));
                parallel(packs.div_ceil(each), &|part| {
                    (part * each..packs.min((part + 1) * each))
                        .for_each(|part| plan.pack(part, weights, &packed));
                })?;
            }
            let result = Shared::new(result);
            parallel(plan.parts(), &|part| {
                plan.run(part, source, packed, finish, &result, &self.scratch.blocks);
            })
        })
    }
}

/// One node.
pub(super) struct ForwardKernel {
    attributes: ConvAttributes,
    limits: Option<[f32; 2]>,
    job: Job,
}

impl Kernel for ForwardKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("an input is missing");
        let (x, w) = (context.input(0)?.ok_or_else(missing)?, context.input(1)?.ok_or_else(missing)?);
        let (x_shape, x) = x.try_extract_tensor::<f32>()?;
        let (w_shape, w) = w.try_extract_tensor::<f32>()?;
        let bias = if context.num_inputs()? > 2 { context.input(2)? } else { None };
        let bias = match &bias {
            Some(bias) => Some(bias.try_extract_tensor::<f32>()?.1),
            None => None,
        };
        let ([n, _, height, width], [filters, ..]) =
            (dims(x_shape).map_err(ort::Error::new)?, dims(w_shape).map_err(ort::Error::new)?);
        let attributes = &self.attributes;
        let output = attributes.output([height, width]);
        let output = output.ok_or_else(|| ort::Error::new("the kernel is larger than the padded input"))?;
        let y_shape = [n, filters, output[0], output[1]];
        self.job.plan([x_shape, w_shape], |threads| {
            let shape = ConvShape::new(attributes, x_shape, &y_shape.map(|dim| dim as i64))?;
            fits(&shape, w_shape)?;
            Ok(Gather::forwards(&shape, threads, Instructions::detect()))
        })?;
        if bias.is_some_and(|bias| bias.len() != filters) {
            return Err(ort::Error::new(format!("expected a bias of {filters} elements")));
        }
        let mut y = context.output(0, y_shape)?.ok_or_else(missing)?;
        let (_, y) = y.try_extract_tensor_mut::<f32>()?;
        if y.is_empty() {
            return Ok(());
        }
        self.job.run(context, x, w, Finish { bias, limits: self.limits }, y)
    }
}

/// One node.
pub(super) struct InputGradKernel {
    attributes: ConvAttributes,
    input: [i64; 2],
    job: Job,
}

impl Kernel for InputGradKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("an input is missing");
        let (dy, w) = (context.input(0)?.ok_or_else(missing)?, context.input(1)?.ok_or_else(missing)?);
        let (dy_shape, dy) = dy.try_extract_tensor::<f32>()?;
        let (w_shape, w) = w.try_extract_tensor::<f32>()?;
        let ([n, ..], [_, per_group, ..]) =
            (dims(dy_shape).map_err(ort::Error::new)?, dims(w_shape).map_err(ort::Error::new)?);
        let (attributes, channels) = (&self.attributes, per_group * self.attributes.groups);
        let dx_shape = [n as i64, channels as i64, self.input[0], self.input[1]];
        self.job.plan([dy_shape, w_shape], |threads| {
            let shape = ConvShape::new(attributes, &dx_shape, dy_shape)?;
            fits(&shape, w_shape)?;
            Ok(Gather::backwards(&shape, threads, Instructions::detect()))
        })?;
        let mut dx = context.output(0, dx_shape.to_vec())?.ok_or_else(missing)?;
        let (_, dx) = dx.try_extract_tensor_mut::<f32>()?;
        if dx.is_empty() {
            return Ok(());
        }
        if dy.is_empty() || w.is_empty() {
            dx.fill(0.0);
            return Ok(());
        }
        self.job.run(context, dy, w, Finish::default(), dx)
    }
}

fn fits(shape: &ConvShape, weight: &[i64]) -> Result<(), String> {
    let own = [shape.filters, shape.group_channels(), shape.kernel[0], shape.kernel[1]];
    if weight.iter().map(|dim| *dim as usize).eq(own) {
        return Ok(());
    }
    Err(format!("a weight {weight:?} where {own:?} belongs"))
}
