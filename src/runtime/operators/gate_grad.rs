//! `GateGrad`.
#![allow(
    unsafe_code,
    reason = "threads write disjoint elements of one output; functions for vector instructions"
)]

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use crate::runtime::operators::lanes::Instructions;
use crate::runtime::operators::parallel::Shared;

/// Elements of a piece of a channel that are summed in single precision.
const PIECE: usize = 1024;

/// `GateGrad(dY [N, C, D…], Y [N, C, D…]) -> dX [N, C, D…], sums [C] (optional)`, all f32: dY where Y lies between the
/// attributes `low` and `high` (neither included; unbounded where absent), else 0: the gradient of Relu and of Clip. The
/// sums of dX over all but the second axis are the gradient of a bias before it.
pub(super) struct GateGrad {
    threads: usize,
}

impl GateGrad {
    pub(super) fn new(threads: usize) -> GateGrad {
        GateGrad { threads }
    }
}

impl Operator for GateGrad {
    type Kernel<'attr> = GateKernel;

    fn name(&self) -> &str {
        "GateGrad"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 2]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [
            OperatorOutput::required(TensorElementType::Float32),
            OperatorOutput::optional(TensorElementType::Float32),
        ]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<GateKernel> {
        let bound = |name: &str, absent: f32| context.get::<f32>(name).unwrap_or(absent);
        let bounds = [bound("low", f32::NEG_INFINITY), bound("high", f32::INFINITY)];
        Ok(GateKernel { bounds, threads: self.threads })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let Some(like @ ValueType::Tensor { shape, .. }) = inputs.first() else { return Ok(()) };
        context.set_output(0, like)?;
        if let Some(channels) = shape.get(1) {
            let sums = ValueType::Tensor {
                ty: TensorElementType::Float32,
                shape: Shape::new([*channels]),
                dimension_symbols: SymbolicDimensions::empty(1),
            };
            // Where the output is not asked for there is nothing to set.
            let _ = context.set_output(1, &sums);
        }
        Ok(())
    }
}

/// One node.
pub(super) struct GateKernel {
    bounds: [f32; 2],
    threads: usize,
}

impl Kernel for GateKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("an input is missing");
        let (dy, y) = (context.input(0)?.ok_or_else(missing)?, context.input(1)?.ok_or_else(missing)?);
        let (shape, dy) = dy.try_extract_tensor::<f32>()?;
        let (y_shape, y) = y.try_extract_tensor::<f32>()?;
        if shape[..] != y_shape[..] {
            return Err(ort::Error::new(format!("dY {shape} and Y {y_shape} do not belong together")));
        }
        let mut dx = context.output(0, shape.to_vec())?.ok_or_else(missing)?;
        let (_, dx) = dx.try_extract_tensor_mut::<f32>()?;
        let channels = if shape.len() > 1 { shape[1] as usize } else { 1 };
        let planes = if shape.is_empty() { 1 } else { shape[0] as usize * channels };
        let size = dy.len().checked_div(planes).unwrap_or(0);
        let mut sums = vec![0f64; planes];
        if size > 0 {
            let (dx, sums) = (Shared::new(dx), Shared::new(&mut sums));
            let plane = |index: usize| {
                let (first, end) = (index * size, (index + 1) * size);
                // SAFETY: the elements of this plane only.
                let to = unsafe { std::slice::from_raw_parts_mut(dx.pointer(first, end - 1), size) };
                let sum = gate(&dy[first..end], &y[first..end], to, self.bounds);
                // SAFETY: as above.
                unsafe { *sums.pointer(index, index) = sum };
            };
            let parts = if self.threads > 1 { planes.min(8 * self.threads) } else { 1 };
            let run = |part: usize| (planes * part / parts..planes * (part + 1) / parts).for_each(plane);
            if parts == 1 || dy.len() < 1 << 14 {
                (0..parts).for_each(run)
            } else {
                context.par_for(parts, parts, run)?
            }
        }
        if context.num_outputs()? > 1
            && let Some(mut output) = context.output(1, [channels as i64])?
        {
            let (_, output) = output.try_extract_tensor_mut::<f32>()?;
            for (channel, to) in output.iter_mut().enumerate() {
                // In the order of the images, whoever summed them.
                *to = sums.iter().skip(channel).step_by(channels).sum::<f64>() as f32;
            }
        }
        Ok(())
    }
}

/// One plane; gives its sum.
fn gate(dy: &[f32], y: &[f32], dx: &mut [f32], bounds: [f32; 2]) -> f64 {
    // SAFETY: the instructions are detected.
    unsafe {
        match Instructions::detect() {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => gate_avx512(dy, y, dx, bounds),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => gate_avx2(dy, y, dx, bounds),
            Instructions::Portable => gate_body(dy, y, dx, bounds),
        }
    }
}

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
unsafe fn gate_avx512(dy: &[f32], y: &[f32], dx: &mut [f32], bounds: [f32; 2]) -> f64 {
    gate_body(dy, y, dx, bounds)
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn gate_avx2(dy: &[f32], y: &[f32], dx: &mut [f32], bounds: [f32; 2]) -> f64 {
    gate_body(dy, y, dx, bounds)
}

/// In a form that becomes vector instructions: sums in sixteen places, added up piece by piece. The same operations in the
/// same order with any instructions.
#[inline(always)]
fn gate_body(dy: &[f32], y: &[f32], dx: &mut [f32], [low, high]: [f32; 2]) -> f64 {
    let mut total = 0f64;
    for ((dy, y), dx) in dy.chunks(PIECE).zip(y.chunks(PIECE)).zip(dx.chunks_mut(PIECE)) {
        let mut sums = [0f32; 16];
        let one = |dy: f32, y: f32| if y > low && y < high { dy } else { dy * 0.0 };
        let (blocks, rest) = dy.as_chunks::<16>();
        let (y_blocks, y_rest) = y.as_chunks::<16>();
        let (dx_blocks, dx_rest) = dx.as_chunks_mut::<16>();
        for ((dy, y), dx) in blocks.iter().zip(y_blocks).zip(dx_blocks) {
            for lane in 0..16 {
                let value = one(dy[lane], y[lane]);
                dx[lane] = value;
                sums[lane] += value;
            }
        }
        for (lane, ((dy, y), dx)) in rest.iter().zip(y_rest).zip(dx_rest).enumerate() {
            *dx = one(*dy, *y);
            sums[lane] += *dx;
        }
        total += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
    }
    total
}
