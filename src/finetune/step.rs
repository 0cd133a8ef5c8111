//! The training step.

use std::sync::OnceLock;

use crate::autodiff::adapter::Adapter;
use crate::autodiff::compile::{compile, compile_prepared};
use crate::autodiff::frontier::{Cut, cut};
use crate::autodiff::{Kernels, Parameter, StepOptions};
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::checkpoint::fingerprint;
use crate::finetune::device::Device;
use crate::finetune::engine::{Data, Engine, Rate};
use crate::finetune::evaluator::Evaluator;
use crate::finetune::features::{CacheUse, FeatureCache, Features};
use crate::finetune::host::Host;
use crate::finetune::state::TrainState;
use crate::finetune::targets::Targets;
use crate::finetune::update::Outcome;
use crate::model::Model;
use crate::onnx::Document;
use crate::runtime::{CancelToken, ProviderKind, Runtime, SessionOptions};
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
    /// Keeps what the frozen part gives for an image; none by default.
    pub features: Option<FeatureCache>,
}

/// What one batch gave.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepOutput {
    /// The loss of the batch, before the update.
    pub loss: f32,
    /// The logits `[N, K, H, W]`, where they were asked for.
    pub logits: Option<Vec<f32>>,
    /// What the update did, where there was one.
    pub applied: Option<Applied>,
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
///     let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
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
    pub(super) options: StepOptions,
    pub(super) run: RunOptions,
    pub(super) document: Document,
    /// Trained tensors that are an Identity of another in the file, and that other.
    pub(super) untied: Vec<(String, String)>,
    pub(super) engine: Box<dyn Engine>,
    features: Option<Features>,
    parameters: Vec<Parameter>,
    pub(super) adapters: Vec<Adapter>,
    pub(super) image_shape: Vec<usize>,
    pub(super) logits_shape: Vec<usize>,
    trained: Vec<String>,
    fingerprint: OnceLock<String>,
    trained_elements: usize,
    pub(super) targets: Targets,
    pub(super) updates: u64,
    pub(super) scale: f32,
    pub(super) wants_logits: bool,
    pub(super) runtime: Runtime,
    pub(super) session: SessionOptions,
    pub(super) token: Option<CancelToken>,
    /// What evaluates, from the first evaluation on.
    pub(super) evaluator: Option<Evaluator>,
    /// Whether its weights are those of now.
    pub(super) is_current: bool,
    /// Whether it goes by the moving averages.
    pub(super) evaluates_averages: bool,
    /// How many images of the next batch count, the first ones; all without it.
    pub(super) counting: Option<usize>,
}

impl TrainStep {
    /// Builds the step: compiles the graph and prepares the session, which takes seconds.
    ///
    /// # Errors
    /// `ModelUnsupported` naming what stands in the way of training; `InvalidArgument` for settings out of range and
    /// patterns without a match; `Mismatch` for shapes that the model does not take; and the runtime's. With a feature
    /// cache also `InvalidArgument` where the trained part begins at the image, and `NotSupported` with batch statistics.
    pub fn new(model: &Model, options: &StepOptions, run: &RunOptions) -> Result<TrainStep> {
        let located = |error: Error| match model.path() {
            Some(path) => error.at_path(path),
            None => error,
        };
        TrainStep::build(model.runtime(), model.document(), options, run).map_err(located)
    }

    pub(super) fn build(
        runtime: &Runtime,
        document: &Document,
        options: &StepOptions,
        run: &RunOptions,
    ) -> Result<TrainStep> {
        let mut options = options.clone();
        let by_host = run.session.provider.kind() == ProviderKind::Cpu && !run.portable;
        if !by_host {
            options.kernels = Kernels::NONE;
        }
        let (compiled, features, image_shape) = match &run.features {
            None => {
                let compiled = compile(document, &options)?;
                let shape = compiled.inputs.first().map(|id| compiled.graph.shape(*id).to_vec());
                (compiled, None, shape)
            }
            Some(cache) => {
                let Cut { frozen, features, prepared } = cut(document, &options)?;
                let shape = frozen.inputs().first().map(|id| frozen.shape(*id).to_vec()).map(|mut shape| {
                    shape[0] = options.batch;
                    shape
                });
                let features =
                    Features::new(runtime, &frozen, &features, options.batch, cache, &run.session)?;
                (compile_prepared(prepared, &options)?, Some(features), shape)
            }
        };
        let mut session = run.session.clone();
        session.operators = options.kernels != Kernels::NONE;
        session.heap = true;
        // The block that the runtime plans from the second run on comes beside what the first run's arena keeps: twice the
        // memory, and no gain in time, since all shapes are fixed and the arena finds its blocks again.
        session.memory_pattern = false;
        let (parameters, adapters) = (compiled.parameters.clone(), compiled.adapters.clone());
        let logits_shape = compiled.graph.shape(compiled.logits).to_vec();
        let untied = compiled.graph.untied().to_vec();
        let trained = compiled.trained.iter().map(|own| own.parameter.shape.iter().product::<usize>());
        let trained_elements = trained.sum();
        let trained = compiled.trained.iter().map(|own| own.parameter.name.clone()).collect();
        let engine: Box<dyn Engine> = match by_host {
            true => Box::new(Host::new(runtime, compiled, &options, &session)?),
            false => Box::new(Device::new(runtime, compiled, &options, &session)?),
        };
        Ok(TrainStep {
            options,
            run: run.clone(),
            document: document.clone(),
            untied,
            engine,
            features,
            parameters,
            adapters,
            image_shape: image_shape.ok_or_else(|| Error::internal("a model without input"))?,
            logits_shape,
            trained,
            fingerprint: OnceLock::new(),
            trained_elements,
            targets: Targets::default(),
            updates: 0,
            scale: 1.0,
            wants_logits: false,
            runtime: runtime.clone(),
            session,
            token: None,
            evaluator: None,
            is_current: false,
            evaluates_averages: false,
            counting: None,
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

    /// Loss and gradients of a batch, and the update. With gradients waiting it is [`TrainStep::accumulate`] and
    /// [`TrainStep::apply`].
    ///
    /// # Errors
    /// As these two.
    pub fn step(&mut self, batch: &Batch<'_>, lr: f32) -> Result<StepOutput> {
        check_rate(lr)?;
        if self.engine.waiting() > 0 {
            let output = self.accumulate(batch)?;
            let applied = self.apply(lr)?;
            return Ok(StepOutput { applied: Some(applied), ..output });
        }
        self.prepare(batch)?;
        let rate = self.rate(lr);
        let own = [batch.images];
        let features = self.features.as_ref().map(Features::batch);
        let data = Data {
            inputs: features.as_deref().unwrap_or(&own),
            targets: &self.targets,
            scale: self.scale,
            wants_logits: self.wants_logits,
        };
        self.is_current = false;
        let (forward, outcome) = self.engine.step(&data, &self.options.optimizer, rate)?;
        let applied = self.applied(outcome);
        Ok(StepOutput { loss: forward.loss, logits: forward.logits, applied: Some(applied) })
    }

    /// Computes loss and gradients of a batch and adds the gradients to those that wait for the next update.
    ///
    /// # Errors
    /// `Mismatch` and `InvalidArgument` for a batch that does not fit; `Cancelled`; the runtime's. Weights, state and
    /// waiting gradients stay as they were.
    pub fn accumulate(&mut self, batch: &Batch<'_>) -> Result<StepOutput> {
        self.prepare(batch)?;
        let own = [batch.images];
        let features = self.features.as_ref().map(Features::batch);
        let data = Data {
            inputs: features.as_deref().unwrap_or(&own),
            targets: &self.targets,
            scale: self.scale,
            wants_logits: self.wants_logits,
        };
        // Running statistics move.
        self.is_current = false;
        let forward = self.engine.accumulate(&data)?;
        Ok(StepOutput { loss: forward.loss, logits: forward.logits, applied: None })
    }

    pub(super) fn wrong_images(&self, got: usize) -> Error {
        let expected: usize = self.image_shape.iter().product();
        let message = format!("expected {expected} samples for images {:?}, got {got}", self.image_shape);
        Error::new(ErrorKind::Mismatch, message)
    }

    /// Checks a batch and makes what the graph takes of it.
    fn prepare(&mut self, batch: &Batch<'_>) -> Result<()> {
        let expected: usize = self.image_shape.iter().product();
        let is_known =
            |features: &Features| batch.keys.is_some_and(|keys| keys.iter().all(|key| features.knows(*key)));
        let may_lack = batch.images.is_empty() && self.features.as_ref().is_some_and(is_known);
        if batch.images.len() != expected && !may_lack {
            return Err(self.wrong_images(batch.images.len()));
        }
        self.fill_targets(batch)?;
        match &mut self.features {
            Some(features) => features.fill(batch.images, batch.keys),
            None => Ok(()),
        }
    }

    /// Takes over labels and mask, and leaves images out that do not count.
    pub(super) fn fill_targets(&mut self, batch: &Batch<'_>) -> Result<()> {
        let counting = self.counting.take();
        self.targets.fill(batch, &self.options.loss, &self.logits_shape)?;
        if let Some(images) = counting {
            self.targets.only(images, self.logits_shape[0]);
        }
        Ok(())
    }

    fn rate(&self, lr: f32) -> Rate {
        Rate { lr, step: self.updates + 1, scale: self.scale }
    }

    fn applied(&mut self, outcome: Outcome) -> Applied {
        if !outcome.skipped {
            self.updates += 1;
        }
        Applied { gradient_norm: outcome.norm, skipped: outcome.skipped }
    }

    /// Updates the weights with the mean of the waiting gradients.
    ///
    /// # Errors
    /// `InvalidState` where no gradients wait; `InvalidArgument` for a learning rate that is not a number of 0 or more;
    /// the runtime's, and then the gradients wait on.
    pub fn apply(&mut self, lr: f32) -> Result<Applied> {
        check_rate(lr)?;
        if self.engine.waiting() == 0 {
            return Err(Error::new(ErrorKind::InvalidState, "no gradients wait for an update"));
        }
        let rate = self.rate(lr);
        self.is_current = false;
        let outcome = self.engine.apply(&self.options.optimizer, rate)?;
        Ok(self.applied(outcome))
    }

    /// Forgets the waiting gradients: the veto of an update.
    pub fn discard(&mut self) {
        self.engine.discard();
    }

    /// Number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Number of batches whose gradients wait for an update.
    pub fn waiting(&self) -> u32 {
        self.engine.waiting()
    }

    /// What the loss's gradient is multiplied with from the next batch on, and the gradients are divided by before the
    /// update; so small gradients of models in half precision do not vanish. An update whose gradients are not finite
    /// is skipped. The loss that steps give is never scaled.
    ///
    /// # Errors
    /// `InvalidArgument` for a scale that is not above 0; `InvalidState` unless
    /// [`Optimizer::loss_scale`](crate::autodiff::Optimizer) was set, and while gradients wait.
    pub fn set_loss_scale(&mut self, scale: f32) -> Result<()> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Error::invalid(format!("expected a loss scale above 0, got {scale}")));
        }
        if !self.options.optimizer.loss_scale {
            return Err(Error::new(ErrorKind::InvalidState, "the step was built without a loss scale"));
        }
        if self.engine.waiting() > 0 {
            return Err(Error::new(ErrorKind::InvalidState, "gradients of another loss scale wait"));
        }
        self.scale = scale;
        Ok(())
    }

    /// The mean of the waiting gradients by the names of the initializers, before clipping.
    ///
    /// # Errors
    /// `InvalidState` where none wait: they do between [`TrainStep::accumulate`] and [`TrainStep::apply`]; the runtime's.
    pub fn gradients(&self) -> Result<Tensors> {
        self.check_waiting()?;
        self.engine.gradients(self.scale, None)
    }

    /// The trained weights, and the running statistics that steps update, by the names of the initializers. Adapters come
    /// as they are, as `NAME.lora_A` and `NAME.lora_B` of the initializer `NAME` that they are beside, which is not trained.
    ///
    /// # Errors
    /// The runtime's.
    pub fn weights(&self) -> Result<Tensors> {
        let mut all = self.engine.weights(None)?;
        all.extend(self.engine.statistics(None)?);
        Ok(all)
    }

    /// The moving averages of the trained weights, with the running statistics as they are.
    ///
    /// # Errors
    /// `InvalidState` unless [`Optimizer::ema_decay`](crate::autodiff::Optimizer) was set; the runtime's.
    pub fn averages(&self) -> Result<Tensors> {
        self.check_averages()?;
        let mut all = self.engine.averages(None)?;
        all.extend(self.engine.statistics(None)?);
        Ok(all)
    }

    /// One tensor of [`TrainStep::weights`].
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none of them; the runtime's.
    pub fn weight(&self, name: &str) -> Result<NamedTensor> {
        let mut found = self.engine.weights(Some(name))?;
        found.extend(self.engine.statistics(Some(name))?);
        one(found, name)
    }

    /// One tensor of [`TrainStep::gradients`].
    ///
    /// # Errors
    /// As these, and `InvalidArgument` for a name that is none of them.
    pub fn gradient(&self, name: &str) -> Result<NamedTensor> {
        self.check_waiting()?;
        one(self.engine.gradients(self.scale, Some(name))?, name)
    }

    /// One tensor of [`TrainStep::averages`].
    ///
    /// # Errors
    /// As these, and `InvalidArgument` for a name that is none of them.
    pub fn average(&self, name: &str) -> Result<NamedTensor> {
        self.check_averages()?;
        let mut found = self.engine.averages(Some(name))?;
        found.extend(self.engine.statistics(Some(name))?);
        one(found, name)
    }

    fn check_waiting(&self) -> Result<()> {
        if self.engine.waiting() > 0 {
            return Ok(());
        }
        let message = "no gradients wait: they are kept between accumulate and apply only";
        Err(Error::new(ErrorKind::InvalidState, message))
    }

    pub(super) fn check_averages(&self) -> Result<()> {
        if self.options.optimizer.ema_decay.is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, "the step was built without a moving average"))
    }

    /// A copy of all that steps change.
    ///
    /// # Errors
    /// `InvalidState` while gradients wait, which are no part of it; the runtime's.
    pub fn state(&self) -> Result<TrainState> {
        if self.engine.waiting() > 0 {
            return Err(Error::new(ErrorKind::InvalidState, "gradients wait: apply or discard them first"));
        }
        self.current()
    }

    fn current(&self) -> Result<TrainState> {
        Ok(TrainState {
            updates: self.updates,
            loss_scale: self.scale,
            weights: self.engine.weights(None)?,
            statistics: self.engine.statistics(None)?,
            optimizer: self.engine.optimizer_state()?,
            averages: self.engine.averages(None)?,
            adapter_scale: self.adapters.first().map(|own| own.scale),
        })
    }

    /// Goes on from `state`; waiting gradients are forgotten.
    ///
    /// # Errors
    /// `Mismatch` naming the first tensor of another step; the runtime's. The step stays as it was.
    pub fn set_state(&mut self, state: &TrainState) -> Result<()> {
        self.check_state(state)?;
        self.is_current = false;
        self.engine.restore(state)?;
        (self.updates, self.scale) = (state.updates, state.loss_scale);
        Ok(())
    }

    /// That a state is one of this step.
    pub(super) fn check_state(&self, state: &TrainState) -> Result<()> {
        state.check_against(&self.current()?)
    }

    /// The [`fingerprint`](crate::finetune::fingerprint) of the model that was opened, with the weights
    /// that [`TrainStep::load_checkpoint`] has put into it.
    pub fn model_fingerprint(&self) -> String {
        self.fingerprint.get_or_init(|| fingerprint(self.document.bytes())).clone()
    }

    /// How the feature cache was used; all zeros without one.
    pub fn cache_use(&self) -> CacheUse {
        self.features.as_ref().map_or_else(CacheUse::default, Features::used)
    }

    /// Whether the features of the image with this key are kept, so that a batch with kept ones only may come without
    /// images.
    pub fn has_features(&self, key: u64) -> bool {
        self.features.as_ref().is_some_and(|features| features.knows(key))
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
        if let Some(features) = &mut self.features {
            features.cancel_with(token)?;
        }
        if let Some(evaluator) = &mut self.evaluator {
            evaluator.cancel_with(token)?;
        }
        self.token = Some(token.clone());
        self.engine.cancel_with(token)
    }

    /// Names of the tensors that are trained.
    pub fn trained_names(&self) -> &[String] {
        &self.trained
    }

    /// Number of elements that are trained.
    pub fn trained_elements(&self) -> usize {
        self.trained_elements
    }
}

fn one(mut found: Tensors, name: &str) -> Result<NamedTensor> {
    let unknown = || Error::invalid("the step trains no tensor of this name").at_tensor(name);
    found.remove(name).ok_or_else(unknown)
}

fn check_rate(lr: f32) -> Result<()> {
    if lr.is_finite() && lr >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid(format!("expected a learning rate of 0 or more, got {lr}")))
}
