//! `SoftmaxCrossEntropy`.

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use crate::runtime::operators::cross_entropy::CrossEntropy;
use crate::runtime::operators::parallel::Shared;

/// `SoftmaxCrossEntropy(logits [N, C, D…] f32, labels [N, D…] i64, weights [C] f32, mask [N, D…] f32)
/// -> loss_sum [] f32, weight_sum [] f32, dlogits [N, C, D…] f32`: the loss of all pixels added up, what to divide it
/// by for the mean of PyTorch's `cross_entropy` (the sum of the weights of the labels), and the gradient of the sum.
/// Attribute `label_smoothing` (0 by default). A pixel counts as often as its mask says; one whose mask is 0, or
/// whose label is no class, does not count at all, whatever its logits are.
pub(super) struct SoftmaxCrossEntropy {
    threads: usize,
}

impl SoftmaxCrossEntropy {
    pub(super) fn new(threads: usize) -> SoftmaxCrossEntropy {
        SoftmaxCrossEntropy { threads }
    }
}

impl Operator for SoftmaxCrossEntropy {
    type Kernel<'attr> = CrossEntropyKernel;

    fn name(&self) -> &str {
        "SoftmaxCrossEntropy"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Int64),
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [const { OperatorOutput::required(TensorElementType::Float32) }; 3]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<CrossEntropyKernel> {
        let smoothing = context.get::<f32>("label_smoothing").unwrap_or(0.0);
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(ort::Error::new(format!("label_smoothing: expected 0 to 1, got {smoothing}")));
        }
        Ok(CrossEntropyKernel { smoothing, threads: self.threads })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let scalar = ValueType::Tensor {
            ty: TensorElementType::Float32,
            shape: Shape::empty(0),
            dimension_symbols: SymbolicDimensions::empty(0),
        };
        context.set_output(0, &scalar)?;
        context.set_output(1, &scalar)?;
        match context.inputs().first() {
            Some(logits @ ValueType::Tensor { shape, .. }) if !shape.is_empty() => {
                context.set_output(2, logits)
            }
            _ => Ok(()),
        }
    }
}

/// One node.
pub(super) struct CrossEntropyKernel {
    smoothing: f32,
    threads: usize,
}

impl Kernel for CrossEntropyKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("an input is missing");
        let input = |index: usize| context.input(index)?.ok_or_else(missing);
        let (logits, labels, weights, mask) = (input(0)?, input(1)?, input(2)?, input(3)?);
        let (shape, logits) = logits.try_extract_tensor::<f32>()?;
        let (labels_shape, labels) = labels.try_extract_tensor::<i64>()?;
        let (weights_shape, weights) = weights.try_extract_tensor::<f32>()?;
        let (mask_shape, mask) = mask.try_extract_tensor::<f32>()?;
        let fits = shape.len() >= 2
            && labels_shape.len() + 1 == shape.len()
            && labels_shape[0] == shape[0]
            && labels_shape[1..] == shape[2..]
            && mask_shape[..] == labels_shape[..]
            && weights_shape[..] == shape[1..2];
        if !fits {
            return Err(ort::Error::new(format!(
                "logits {shape}, labels {labels_shape}, weights {weights_shape} and mask {mask_shape} do not belong together"
            )));
        }
        let classes = weights.len();
        let pixels = labels_shape[1..].iter().product::<i64>() as usize;
        let job = CrossEntropy { logits, labels, weights, mask, classes, pixels, smoothing: self.smoothing };
        let mut gradient = context.output(2, shape.to_vec())?.ok_or_else(missing)?;
        let (_, gradient) = gradient.try_extract_tensor_mut::<f32>()?;
        let gradient = Shared::new(gradient);
        let blocks = job.blocks();
        let mut sums = vec![[0f64; 2]; blocks];
        {
            let sums = Shared::new(&mut sums);
            let parts = if self.threads > 1 { blocks.min(8 * self.threads) } else { blocks.min(1) };
            let run = |part: usize| {
                for block in blocks * part / parts..blocks * (part + 1) / parts {
                    job.run(block, &gradient, &sums);
                }
            };
            match parts {
                0 => {}
                1 => run(0),
                _ => context.par_for(parts, parts, run)?,
            }
        }
        // In the order of the blocks, whoever computed them.
        let total = sums.iter().fold([0f64; 2], |[a, b], [c, d]| [a + c, b + d]);
        for (index, total) in total.into_iter().enumerate() {
            let mut output = context.output(index, Shape::empty(0))?.ok_or_else(missing)?;
            let (_, output) = output.try_extract_tensor_mut::<f32>()?;
            output.fill(total as f32);
        }
        Ok(())
    }
}
