//! Losses: from logits and targets to a scalar and the gradient of the logits.
//!
//! A [`Loss`] is a weighted sum of terms ([`LossTerm`]) with settings that they share. Labels come as classes
//! `[N, H, W]`, for regression as numbers `[N, C, H, W]`; beside them stands a mask `[N, H, W]` that is 1 where the
//! pixel counts and 0 elsewhere (ignored label, nodata). Every mean is over the pixels that count; where none does, loss
//! and gradient are 0.
//!
//! | term | formula over the pixels that count; p is the softmax of the logits (sigmoid where C = 1), t the one-hot label |
//! |---|---|
//! | `ce` | Σ w_y (-log p_y) / Σ w_y; with label smoothing s as PyTorch: (1 - s) of it and s/C Σ_c w_c (-log p_c) |
//! | `bce` | mean over pixels and channels of w_c (softplus(x) - x t), t smoothed to t (1 - s) + s/2 |
//! | `dice` | 1 - Σ_c w_c (2 Σ p t + s) / (Σ p + Σ t + s) / Σ_c w_c, sums over the batch; s of `smooth`, 1e-7 |
//! | `dice-squared` | the same with p² and t² in the denominator (V-Net, arXiv 1606.04797) |
//! | `jaccard` | 1 - Σ_c w_c (Σ p t + s) / (Σ p + Σ t - Σ p t + s) / Σ_c w_c |
//! | `focal(gamma=2)` | mean of w_y (1 - p_y)^γ (-log p_y) (arXiv 1708.02002) |
//! | `lovasz` | Lovász-softmax over the classes present, mean over them (arXiv 1705.08790, Alg. 1) |
//! | `mse`, `l1`, `huber(delta=1)` | mean over pixels and channels of w_c d², w_c abs d, w_c times Huber's function |
//! | `innereye-softdice(power=1)` | per image and class I = Σ (p t + ε), S = Σ (p² + ε) + Σ (t² + ε), ε = 1e-10: 1 - 2 mean(w_c I / S) |
//! | `innereye-ce(power=0)` | plain mean of w_y (-log p_y), not divided by the weights; see the function for smoothing |
//! | `innereye-focal(gamma=1,power=0)` | plain mean of w_y q (-log p_y), q = (1 - p_y + 1e-6)^γ rescaled to mean 1 and without gradient |
//!
//! `power` of the InnerEye terms computes class weights from the batch: n_c^-power, scaled to mean 1, n_c being the
//! number of pixels of the class (at least 1).

mod cross_entropy;
mod innereye;
mod lovasz;
mod region;
mod regression;
mod spec;

pub use spec::{Loss, LossKind, LossTerm};

use crate::autodiff::backward::gradients;
use crate::autodiff::emit::Emit;
use crate::autodiff::kernels::Kernels;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueId};
use crate::onnx::proto::AttributeProto;

/// What a loss is computed against: inputs of the graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets {
    /// Classes `[N, H, W]`, `int64`, each within 0 and C-1; or numbers `[N, C, H, W]`, `float32`.
    pub(crate) labels: ValueId,
    /// `[N, H, W]`, `float32`: 1 where the pixel counts, 0 elsewhere.
    pub(crate) mask: ValueId,
}

/// A loss in a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Emitted {
    /// The loss, a scalar.
    pub(crate) loss: ValueId,
    /// Its gradient with respect to the logits, of their shape.
    pub(crate) gradient: ValueId,
}

/// Emits the loss of `logits` `[N, C, H, W]`.
///
/// # Errors
/// `Mismatch` where logits and targets do not fit, or the class weights are not as many as the classes.
pub(crate) fn emit(
    graph: &mut Graph,
    loss: &Loss,
    logits: ValueId,
    targets: Targets,
    kernels: Kernels,
) -> Result<Emitted> {
    check(graph, loss, logits, targets)?;
    let mut total: Option<Emitted> = None;
    for term in &loss.terms {
        let mut context = Context::new(graph, loss, logits, targets, kernels)?;
        let emitted = context.term(term.kind)?;
        let weighted = Emitted {
            loss: graph.scaled(emitted.loss, f64::from(term.weight))?,
            gradient: graph.scaled(emitted.gradient, f64::from(term.weight))?,
        };
        total = Some(match total {
            None => weighted,
            Some(sum) => Emitted {
                loss: graph.plus(sum.loss, weighted.loss)?,
                gradient: graph.plus(sum.gradient, weighted.gradient)?,
            },
        });
    }
    total.ok_or_else(|| Error::invalid("a loss without terms"))
}

fn check(graph: &Graph, loss: &Loss, logits: ValueId, targets: Targets) -> Result<()> {
    let shape = graph.shape(logits);
    let mismatch = |message: String| Error::new(ErrorKind::Mismatch, message).at_tensor(graph.name(logits));
    let &[n, c, ref spatial @ ..] = shape else {
        return Err(mismatch(format!("expected logits [N, C, H, W], got {shape:?}")));
    };
    let plain: Vec<usize> = [&[n], spatial].concat();
    let expected = if loss.is_regression() { shape.to_vec() } else { plain.clone() };
    if graph.shape(targets.labels) != expected || graph.shape(targets.mask) != plain {
        return Err(mismatch(format!(
            "the model gives {shape:?}: expected labels {expected:?}, got {:?}",
            graph.shape(targets.labels)
        )));
    }
    if !loss.class_weights.is_empty() && loss.class_weights.len() != c.max(2) && loss.class_weights.len() != c
    {
        return Err(mismatch(format!("expected {c} class weights, got {}", loss.class_weights.len())));
    }
    Ok(())
}

/// What the terms share.
#[derive(Debug)]
struct Context<'a> {
    graph: &'a mut Graph,
    loss: &'a Loss,
    logits: ValueId,
    targets: Targets,
    kernels: Kernels,
    /// N, C and the rest.
    shape: Vec<usize>,
    /// The mask as `[N, 1, H, W]`.
    mask: ValueId,
}

impl<'a> Context<'a> {
    fn new(
        graph: &'a mut Graph,
        loss: &'a Loss,
        logits: ValueId,
        targets: Targets,
        kernels: Kernels,
    ) -> Result<Context<'a>> {
        let shape = graph.shape(logits).to_vec();
        let mut one = shape.clone();
        one[1] = 1;
        let mask = graph.reshape(targets.mask, &one)?;
        Ok(Context { graph, loss, logits, targets, kernels, shape, mask })
    }

    fn term(&mut self, kind: LossKind) -> Result<Emitted> {
        match kind {
            LossKind::CrossEntropy => cross_entropy::cross_entropy(self),
            LossKind::BinaryCrossEntropy => cross_entropy::binary(self),
            LossKind::Focal { gamma } => cross_entropy::focal(self, gamma),
            LossKind::Dice { smooth } => region::dice(self, false, smooth),
            LossKind::DiceSquared { smooth } => region::dice(self, true, smooth),
            LossKind::Jaccard { smooth } => region::jaccard(self, smooth),
            LossKind::Lovasz => lovasz::lovasz(self),
            LossKind::Mse => regression::mse(self),
            LossKind::L1 => regression::l1(self),
            LossKind::Huber { delta } => regression::huber(self, delta),
            LossKind::InnerEyeSoftDice { power } => innereye::soft_dice(self, power),
            LossKind::InnerEyeCrossEntropy { power } => innereye::cross_entropy(self, power),
            LossKind::InnerEyeFocal { gamma, power } => innereye::focal(self, gamma, power),
        }
    }

    fn classes(&self) -> usize {
        self.shape[1]
    }

    /// All axes but that of the classes.
    fn pixels(&self) -> Vec<usize> {
        (0..self.shape.len()).filter(|&axis| axis != 1).collect()
    }

    /// The labels as `[N, C, H, W]` of zeros and ones; for one channel, the labels themselves.
    fn one_hot(&mut self) -> Result<ValueId> {
        if self.classes() == 1 {
            let labels = self.graph.cast(self.targets.labels, ElementType::Float32)?;
            return self.graph.reshape(labels, &self.shape);
        }
        let depth = self.graph.ints(&[self.classes() as i64])?;
        let values = self.graph.add_constant("off_on", Constant::from_f32([2], &[0.0, 1.0])?);
        self.graph.op("OneHot", &[self.targets.labels, depth, values], &[AttributeProto::int("axis", 1)])
    }

    /// The given class weights as `[1, C, 1, 1]`, of one channel and two weights that of class 1 over that of class 0
    /// cannot be expressed and is left to the terms; `None` where all are 1.
    fn class_weights(&mut self) -> Result<Option<ValueId>> {
        let weights = &self.loss.class_weights;
        if weights.len() != self.classes() || weights.iter().all(|weight| *weight == 1.0) {
            return Ok(None);
        }
        let mut shape = vec![1; self.shape.len()];
        shape[1] = weights.len();
        Ok(Some(self.graph.add_constant("class_weights", Constant::from_f32(shape, weights)?)))
    }

    /// Weight of every pixel by the class it has, `[N, 1, H, W]`; `None` where all are 1.
    fn pixel_weights(&mut self, one_hot: ValueId) -> Result<Option<ValueId>> {
        let weights = &self.loss.class_weights;
        if self.classes() == 1 && weights.len() == 2 && weights[..] != [1.0, 1.0] {
            // w_0 + t (w_1 - w_0).
            let (low, high) = (f64::from(weights[0]), f64::from(weights[1]));
            let slope = self.graph.scaled(one_hot, high - low)?;
            return self.graph.shifted(slope, low).map(Some);
        }
        let Some(weights) = self.class_weights()? else { return Ok(None) };
        let weighted = self.graph.times(one_hot, weights)?;
        self.graph.sum(weighted, &[1]).map(Some)
    }

    /// Softmax over the classes, or the sigmoid of a single channel.
    fn probabilities(&mut self) -> Result<ValueId> {
        if self.classes() == 1 {
            return self.graph.unary("Sigmoid", self.logits);
        }
        self.graph.op("Softmax", &[self.logits], &[AttributeProto::int("axis", 1)])
    }

    /// -log p of the labelled class, `[N, 1, H, W]`, in a form that does not overflow.
    fn negative_log_likelihood(&mut self, one_hot: ValueId) -> Result<ValueId> {
        if self.classes() == 1 {
            // softplus(x) - x t.
            let all = self.graph.unary("Softplus", self.logits)?;
            let own = self.graph.times(self.logits, one_hot)?;
            return self.graph.minus(all, own);
        }
        let log = self.graph.op("LogSoftmax", &[self.logits], &[AttributeProto::int("axis", 1)])?;
        let own = self.graph.times(log, one_hot)?;
        let own = self.graph.sum(own, &[1])?;
        self.graph.unary("Neg", own)
    }

    /// Number of pixels that count, at least a little more than nothing, a scalar: for a denominator.
    fn count(&mut self) -> Result<ValueId> {
        let count = self.graph.total(self.mask)?;
        self.at_least_tiny(count)
    }

    /// The larger of `a` and 1e-12: a denominator of nothing gives 0 and not NaN.
    fn at_least_tiny(&mut self, a: ValueId) -> Result<ValueId> {
        let tiny = self.graph.scalar(1e-12)?;
        self.graph.binary("Max", a, tiny)
    }

    /// A loss whose gradient is that of the nodes it was emitted with.
    fn differentiate(&mut self, loss: ValueId) -> Result<Emitted> {
        let one = self.graph.scalar(1.0)?;
        let made = gradients(self.graph, &[(loss, one)], &[self.logits], self.kernels)?;
        let gradient = match made.first().copied().flatten() {
            Some(gradient) => gradient,
            None => self.graph.zeros(&self.shape, self.logits)?,
        };
        Ok(Emitted { loss, gradient })
    }

    /// A node of our own domain.
    fn kernel(&mut self, op_type: &str, inputs: &[ValueId], attributes: &[AttributeProto]) -> Node {
        let mut node = Node::new(op_type);
        node.domain = "glebe".to_owned();
        node.inputs = inputs.iter().copied().map(Some).collect();
        node.attributes = attributes.to_vec();
        node
    }
}
