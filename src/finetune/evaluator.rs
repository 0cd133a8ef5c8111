//! A model with the weights of a step, run without training.

use crate::autodiff::StepOptions;
use crate::autodiff::compile::names;
use crate::autodiff::evaluation::{Evaluation, compile_evaluation};
use crate::autodiff::lowering::lowered;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::finetune::engine::Forward;
use crate::finetune::step::{StepOutput, TrainStep};
use crate::finetune::targets::Targets;
use crate::onnx::{Document, ElementType};
use crate::runtime::{Binding, BoundSession, CancelToken, DeviceTensor, Place, Runtime, SessionOptions};
use crate::weights::tensors::{Elements, Tensors};

impl TrainStep {
    /// Loss and logits of a batch by the weights as they are now, as the model is used: by the running statistics of
    /// BatchNormalization, without gradients. The loss is that of the main output. Changes nothing.
    ///
    /// The first call builds a session for it, which takes as long as opening the model.
    ///
    /// # Errors
    /// As [`TrainStep::accumulate`]; `Mismatch` for a batch without images also where its features are kept.
    pub fn evaluate(&mut self, batch: &Batch<'_>) -> Result<StepOutput> {
        let expected: usize = self.image_shape.iter().product();
        if batch.images.len() != expected {
            return Err(self.wrong_images(batch.images.len()));
        }
        self.fill_targets(batch)?;
        let mut evaluator = match self.evaluator.take() {
            Some(evaluator) => evaluator,
            None => {
                let mut made = Evaluator::new(&self.runtime, &self.document, &self.options, &self.session)?;
                if let Some(token) = &self.token {
                    made.cancel_with(token)?;
                }
                self.is_current = false;
                made
            }
        };
        let output = self.evaluated(&mut evaluator, batch);
        self.evaluator = Some(evaluator);
        output
    }

    /// Whether [`TrainStep::evaluate`] goes by the moving averages of the weights from now on.
    ///
    /// # Errors
    /// `InvalidState` unless [`Optimizer::ema_decay`](crate::autodiff::Optimizer) was set.
    pub fn evaluate_averages(&mut self, wanted: bool) -> Result<()> {
        if wanted {
            self.check_averages()?;
        }
        self.is_current &= self.evaluates_averages == wanted;
        self.evaluates_averages = wanted;
        Ok(())
    }

    fn evaluated(&mut self, evaluator: &mut Evaluator, batch: &Batch<'_>) -> Result<StepOutput> {
        if !self.is_current {
            let weights = match self.evaluates_averages {
                true => self.engine.averages(None)?,
                false => self.engine.weights(None)?,
            };
            evaluator.load(&[&weights, &self.engine.statistics(None)?])?;
            self.is_current = true;
        }
        let Forward { loss, logits } = evaluator.run(batch.images, &self.targets)?;
        Ok(StepOutput { loss, logits, applied: None })
    }
}

/// The session that gives loss and logits, and a copy of the weights.
#[derive(Debug)]
pub(super) struct Evaluator {
    session: BoundSession,
    binding: Option<Binding>,
    images: (String, DeviceTensor),
    labels: DeviceTensor,
    mask: DeviceTensor,
    /// Names of tensors and of their inputs.
    weights: Vec<(String, String, DeviceTensor)>,
    logits: String,
}

impl Evaluator {
    pub(super) fn new(
        runtime: &Runtime,
        document: &Document,
        options: &StepOptions,
        session: &SessionOptions,
    ) -> Result<Evaluator> {
        let Evaluation { graph, inputs, targets, logits, weights } = compile_evaluation(document, options)?;
        let bytes = lowered(&graph, options.kernels)?.to_bytes("evaluate")?;
        let session = BoundSession::new(runtime, &bytes, session)?;
        drop(bytes);
        let tensor = |id| session.zeros(graph.kind(id).element, graph.shape(id));
        let &[images] = &inputs[..] else {
            return Err(Error::internal("an evaluation of several inputs"));
        };
        let mut bound = Vec::with_capacity(weights.len());
        for (name, id) in weights {
            bound.push((name, graph.name(id).to_owned(), tensor(id)?));
        }
        Ok(Evaluator {
            images: (graph.name(images).to_owned(), tensor(images)?),
            labels: tensor(targets.labels)?,
            mask: tensor(targets.mask)?,
            weights: bound,
            logits: graph.name(logits).to_owned(),
            binding: None,
            session,
        })
    }

    /// Takes over the weights of a step: those of the first list that has them.
    pub(super) fn load(&mut self, lists: &[&Tensors]) -> Result<()> {
        for (name, _, tensor) in &self.weights {
            let found = lists.iter().find_map(|list| list.get(name));
            match found.map(|own| &own.elements) {
                Some(Elements::F32(values)) => tensor.write(values)?,
                _ => return Err(Error::internal(format!("no weights for {name}"))),
            }
        }
        Ok(())
    }

    /// Loss and logits of a batch.
    pub(super) fn run(&mut self, images: &[f32], targets: &Targets) -> Result<Forward> {
        self.images.1.write(images)?;
        match self.labels.element() {
            ElementType::Int64 => self.labels.write(&targets.classes)?,
            _ => self.labels.write(&targets.numbers)?,
        }
        self.mask.write(&targets.mask)?;
        let mut binding = match self.binding.take() {
            Some(binding) => binding,
            None => self.bind()?,
        };
        let fetched = self.session.run(&mut binding);
        self.binding = Some(binding);
        let mut fetched = fetched?;
        let loss = fetched.take(names::LOSS)?.to_vec::<f32>()?.first().copied().unwrap_or(f32::NAN);
        let logits = fetched.take(&self.logits)?.to_vec::<f32>()?;
        Ok(Forward { loss, logits: Some(logits) })
    }

    fn bind(&self) -> Result<Binding> {
        let mut binding = self.session.binding()?;
        binding.bind_input(&self.images.0, &self.images.1)?;
        binding.bind_input(names::LABELS, &self.labels)?;
        binding.bind_input(names::MASK, &self.mask)?;
        for (_, input, tensor) in &self.weights {
            binding.bind_input(input, tensor)?;
        }
        binding.fetch_output(names::LOSS, Place::Host)?;
        binding.fetch_output(&self.logits, Place::Host)?;
        Ok(binding)
    }

    /// Lets `token` stop runs.
    pub(super) fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.session.cancel_with(token)
    }
}
