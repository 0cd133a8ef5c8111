//! `ConvWeightGrad`.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{SymbolicDimensions, TensorElementType, ValueType};

use crate::runtime::operators::conv_shape::{ConvAttributes, ConvShape};
use crate::runtime::operators::parallel::{Buffers, Shared};
use crate::runtime::operators::weight_grad::WeightGrad;

/// `ConvWeightGrad(X [N, C, H, W], dY [N, M, OH, OW]) -> dW [M, C / group, kH, kW]`, all f32: the gradient of Conv by
/// its weights. Attributes as those of Conv: `kernel_shape` (required), `strides`, `dilations`, `pads` (top, left,
/// bottom, right), `group`.
pub(super) struct ConvWeightGrad {
    threads: usize,
    buffers: Arc<Buffers>,
}

impl ConvWeightGrad {
    pub(super) fn new(threads: usize) -> ConvWeightGrad {
        ConvWeightGrad { threads, buffers: Arc::default() }
    }
}

impl Operator for ConvWeightGrad {
    type Kernel<'attr> = WeightGradKernel;

    fn name(&self) -> &str {
        "ConvWeightGrad"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 2]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<WeightGradKernel> {
        let kernel: Vec<i64> = context
            .get("kernel_shape")
            .ok_or_else(|| ort::Error::new("the attribute kernel_shape is missing"))?;
        Ok(WeightGradKernel {
            attributes: ConvAttributes::of(context, &kernel)?,
            threads: self.threads,
            buffers: Arc::clone(&self.buffers),
            plan: None,
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let (Some(x), Some(dy)) = (inputs.first().and_then(dims), inputs.get(1).and_then(dims)) else {
            return Ok(());
        };
        let Ok(kernel) = context.attr::<Vec<i64>>("kernel_shape") else { return Ok(()) };
        let group = context.attr::<i64>("group").unwrap_or(1).max(1);
        if let (&[_, c, ..], &[_, m, ..], &[height, width]) = (x, dy, kernel.as_slice())
            && c > 0
            && m > 0
        {
            let shape = ort::value::Shape::new([m, c / group, height, width]);
            let kind = ValueType::Tensor {
                ty: TensorElementType::Float32,
                dimension_symbols: SymbolicDimensions::empty(shape.len()),
                shape,
            };
            context.set_output(0, &kind)?;
        }
        Ok(())
    }
}

fn dims(kind: &ValueType) -> Option<&[i64]> {
    match kind {
        ValueType::Tensor { shape, .. } => Some(shape),
        _ => None,
    }
}

/// One node.
pub(super) struct WeightGradKernel {
    attributes: ConvAttributes,
    threads: usize,
    buffers: Arc<Buffers>,
    /// Of the last run, for the shapes of X and dY that it had.
    plan: Option<([Vec<i64>; 2], WeightGrad)>,
}

impl Kernel for WeightGradKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("an input is missing");
        let (x, dy) = (context.input(0)?.ok_or_else(missing)?, context.input(1)?.ok_or_else(missing)?);
        let (x_shape, x) = x.try_extract_tensor::<f32>()?;
        let (dy_shape, dy) = dy.try_extract_tensor::<f32>()?;
        if !self.plan.as_ref().is_some_and(|(shapes, _)| shapes[0] == **x_shape && shapes[1] == **dy_shape) {
            let shape = ConvShape::new(&self.attributes, x_shape, dy_shape).map_err(ort::Error::new)?;
            self.plan = Some(([x_shape.to_vec(), dy_shape.to_vec()], WeightGrad::new(shape, self.threads)));
        }
        let Some((_, plan)) = &self.plan else { return Err(missing()) };
        let mut dw = context.output(0, plan.weight_shape())?.ok_or_else(missing)?;
        let (_, dw) = dw.try_extract_tensor_mut::<f32>()?;
        if dw.is_empty() || dy.is_empty() || x.is_empty() {
            dw.fill(0.0);
            return Ok(());
        }
        let dw = Shared::new(dw);
        let parts = plan.parts();
        if parts == 1 {
            plan.run(0, x, dy, &dw, &self.buffers);
            return Ok(());
        }
        context.par_for(parts, parts, |part| plan.run(part, x, dy, &dw, &self.buffers))
    }
}
