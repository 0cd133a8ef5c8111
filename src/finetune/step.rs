//! The training step.

use std::io::Write as _;

use crate::autodiff::compile::compile;
use crate::autodiff::{Kernels, Parameter, StepOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;
use crate::finetune::batch::{Batch, Targets};
use crate::finetune::export;
use crate::finetune::host::Host;
use crate::model::Model;
use crate::runtime::{CancelToken, ProviderKind, SessionOptions};
use crate::weights::tensors::{NamedTensor, Tensors};

/// How a step is run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// Where, with how many threads, how much optimized; `operators` is set by the step itself.
    pub session: SessionOptions,
    /// Standard operators and an update within the graph also where there are faster ways of our own: the path that
    /// every provider takes, on the CPU provider too.
    pub portable: bool,
}

/// What one batch gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepOutput {
    /// The loss of the batch, before the update.
    pub loss: f32,
    /// The logits `[N, K, H, W]`, where they were asked for.
    pub logits: Option<Vec<f32>>,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// Euclidean norm of the gradients before clipping, where the optimizer needs it.
    pub gradient_norm: Option<f32>,
    /// Whether it was skipped since the gradients were not finite (with a loss scale only).
    pub skipped: bool,
}

/// A training step on batches of one shape: loss, gradients and update of one model, with the state they change.
///
/// ```no_run
/// use glebe::autodiff::StepOptions;
/// use glebe::finetune::{Batch, Labels, RunOptions, TrainStep};
/// use glebe::model::{Model, ModelOptions};
/// use glebe::runtime::{Runtime, RuntimeOptions};
///
/// # fn main() -> glebe::Result<()> {
/// let runtime = Runtime::load(&RuntimeOptions::default())?;
/// let model = Model::open(&runtime, "unet.onnx", &ModelOptions::default())?;
/// let mut options = StepOptions::new(4, [256, 256]);
/// options.params = "decoder,head".parse()?;
/// let mut step = TrainStep::new(&model, &options, &RunOptions::default())?;
/// # let (images, labels) = (vec![0f32; 4 * 3 * 256 * 256], vec![0u8; 4 * 256 * 256]);
/// for _ in 0..100 {
///     let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None };
///     let output = step.step(&batch, 1e-4)?;
///     println!("{}", output.loss);
/// }
/// step.export_to("finetuned.onnx", false)?;
/// # Ok(())
/// # }
/// ```
///
/// A step that fails or is cancelled changes neither weights nor state. Threads: may be moved between threads, used by
/// one at a time.
#[derive(Debug)]
pub struct TrainStep {
    options: StepOptions,
    document: crate::onnx::Document,
    /// Trained tensors that are an Identity of another in the file, and that other.
    untied: Vec<(String, String)>,
    engine: Host,
    parameters: Vec<Parameter>,
    image_shape: Vec<usize>,
    logits_shape: Vec<usize>,
    targets: Targets,
    updates: u64,
    scale: f32,
    wants_logits: bool,
}

impl TrainStep {
    /// Builds the step: compiles the graph and prepares the session, which takes seconds.
    ///
    /// # Errors
    /// `ModelUnsupported` naming what stands in the way of training; `InvalidArgument` for settings out of range and
    /// patterns without a match; `Mismatch` for shapes that the model does not take; and the runtime's.
    pub fn new(model: &Model, options: &StepOptions, run: &RunOptions) -> Result<TrainStep> {
        let mut options = options.clone();
        let on_cpu = run.session.provider.kind() == ProviderKind::Cpu;
        if !on_cpu || run.portable {
            options.kernels = Kernels::NONE;
        }
        let located = |error: Error| match model.path() {
            Some(path) => error.at_path(path),
            None => error,
        };
        let compiled = compile(model.document(), &options).map_err(located)?;
        let mut session = run.session.clone();
        session.operators = options.kernels != Kernels::NONE;
        let parameters = compiled.parameters.clone();
        let image_shape = compiled.graph.shape(compiled.image).to_vec();
        let logits_shape = compiled.graph.shape(compiled.logits).to_vec();
        let untied = compiled.graph.untied().to_vec();
        let engine = Host::new(model.runtime(), compiled, &options, &session).map_err(located)?;
        Ok(TrainStep {
            options,
            document: model.document().clone(),
            untied,
            engine,
            parameters,
            image_shape,
            logits_shape,
            targets: Targets::default(),
            updates: 0,
            scale: 1.0,
            wants_logits: false,
        })
    }

    /// Shape `[N, C, H, W]` of the images.
    pub fn image_shape(&self) -> &[usize] {
        &self.image_shape
    }

    /// Shape `[N, K, H, W]` of the logits; labels have `[N, H, W]` of it.
    pub fn logits_shape(&self) -> &[usize] {
        &self.logits_shape
    }

    /// Loss and gradients of a batch, and the update: [`TrainStep::accumulate`] and [`TrainStep::apply`].
    ///
    /// # Errors
    /// As these two.
    pub fn step(&mut self, batch: &Batch<'_>, lr: f32) -> Result<StepOutput> {
        check_rate(lr)?;
        let output = self.accumulate(batch)?;
        self.apply(lr)?;
        Ok(output)
    }

    /// Computes loss and gradients of a batch and adds the gradients to those that wait for the next update.
    ///
    /// # Errors
    /// `Mismatch` and `InvalidArgument` for a batch that does not fit; `Cancelled`; the runtime's. Weights, state and
    /// waiting gradients stay as they were.
    pub fn accumulate(&mut self, batch: &Batch<'_>) -> Result<StepOutput> {
        let expected: usize = self.image_shape.iter().product();
        if batch.images.len() != expected {
            let message = format!(
                "expected {expected} samples for images {:?}, got {}",
                self.image_shape,
                batch.images.len()
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        self.targets.fill(batch, &self.options.loss, &self.logits_shape)?;
        let (loss, logits) =
            self.engine.accumulate(batch.images, &self.targets, self.scale, self.wants_logits)?;
        Ok(StepOutput { loss, logits })
    }

    /// Updates the weights with the mean of the waiting gradients.
    ///
    /// # Errors
    /// `InvalidState` where no gradients wait; `InvalidArgument` for a learning rate that is not a number of 0 or more.
    pub fn apply(&mut self, lr: f32) -> Result<Applied> {
        check_rate(lr)?;
        if self.engine.batches == 0 {
            return Err(Error::new(ErrorKind::InvalidState, "no gradients wait for an update"));
        }
        let (gradient_norm, skipped) =
            self.engine.apply(&self.options.optimizer, lr, self.updates + 1, self.scale)?;
        if !skipped {
            self.updates += 1;
        }
        Ok(Applied { gradient_norm, skipped })
    }

    /// Forgets the waiting gradients: the veto of an update.
    pub fn discard(&mut self) {
        self.engine.discard();
    }

    /// Number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The gradients of the last batch by the names of the initializers, divided by the loss scale.
    ///
    /// # Errors
    /// The runtime's.
    pub fn gradients(&self) -> Result<Tensors> {
        let of = |own: &crate::finetune::host::Weight| {
            let mut values = own.gradient.to_vec::<f32>()?;
            values.iter_mut().for_each(|value| *value /= self.scale);
            Ok((own.name.clone(), NamedTensor::f32(own.gradient.shape(), values)))
        };
        self.engine.weights.iter().map(of).collect()
    }

    /// The trained weights by the names of the initializers.
    ///
    /// # Errors
    /// The runtime's.
    pub fn weights(&self) -> Result<Tensors> {
        let mut all = Tensors::new();
        for own in &self.engine.weights {
            all.insert(own.name.clone(), NamedTensor::f32(own.weight.shape(), own.weight.to_vec()?));
        }
        for own in &self.engine.statistics {
            all.insert(own.name.clone(), NamedTensor::f32(own.current.shape(), own.current.to_vec()?));
        }
        Ok(all)
    }

    /// All floating point tensors of the model, with what they do.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether steps give their logits; not by default.
    pub fn want_logits(&mut self, wanted: bool) {
        self.wants_logits = wanted;
    }

    /// Lets `token` stop steps from now on, also in the middle of one.
    ///
    /// # Errors
    /// `Io` where no thread can be started.
    pub fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.engine.cancel_with(token)
    }

    /// Number of elements that are trained.
    pub fn trained_elements(&self) -> usize {
        self.engine.weights.iter().map(|own| own.weight.len()).sum()
    }

    /// Writes [`TrainStep::export`] to a file, as a whole or not at all.
    ///
    /// # Errors
    /// `AlreadyExists` for a file that is there unless `overwrite`; `Io`; as [`TrainStep::export`].
    pub fn export_to(&self, path: impl AsRef<std::path::Path>, overwrite: bool) -> Result<()> {
        let path = path.as_ref();
        let bytes = self.export()?;
        let staged = StagedFile::new(path, overwrite)?;
        let io = |error| Error::io("write", path, error);
        let mut file = std::fs::File::create(staged.path()).map_err(io)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
        drop(file);
        staged.commit(overwrite)
    }

    /// The finetuned model: the original file with the trained tensors' new elements and a note of what was trained in
    /// its metadata; every other byte is the file's. A trained tensor that the file gives as the Identity of an equal one
    /// gets elements of its own in that node's place, and elements in other files come into this one.
    ///
    /// # Errors
    /// `LimitExceeded` from 2 GiB on; the runtime's.
    pub fn export(&self) -> Result<Vec<u8>> {
        let note = format!(
            "{} updates of {} with {}",
            self.updates, self.options.params, self.options.optimizer.kind
        );
        export::export(&self.document, &self.untied, &self.weights()?, &note)
    }
}

fn check_rate(lr: f32) -> Result<()> {
    if lr.is_finite() && lr >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid(format!("expected a learning rate of 0 or more, got {lr}")))
}
