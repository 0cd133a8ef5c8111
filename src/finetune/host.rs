//! The step on the CPU provider: the graph gives loss and gradients, the update is one pass over host memory.

use crate::autodiff::compile::{Compiled, names};
use crate::autodiff::lowering::lowered;
use crate::autodiff::optimizer::Rates;
use crate::autodiff::{Optimizer, StepOptions};
use crate::error::{Error, Result};
use crate::finetune::batch::Targets;
use crate::finetune::update::{Slot, update};
use crate::onnx::ElementType;
use crate::runtime::{Binding, BoundSession, CancelToken, DeviceTensor, Place, Runtime, SessionOptions};

/// A trained tensor with everything that belongs to it.
#[derive(Debug)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) rates: Rates,
    pub(super) weight: DeviceTensor,
    pub(super) gradient: DeviceTensor,
    /// In the order of [`Optimizer::state_names`].
    pub(super) state: Vec<Vec<f32>>,
    pub(super) average: Option<Vec<f32>>,
    /// Sum of the gradients of the batches since the last update, where there was more than one.
    pub(super) accumulated: Vec<f32>,
}

/// A running statistic.
#[derive(Debug)]
pub(super) struct Statistic {
    pub(super) name: String,
    pub(super) current: DeviceTensor,
    pub(super) next: DeviceTensor,
}

/// Everything that a step changes, and what runs it.
#[derive(Debug)]
pub(super) struct Host {
    session: BoundSession,
    binding: Binding,
    image: DeviceTensor,
    labels: DeviceTensor,
    mask: DeviceTensor,
    scale: Option<DeviceTensor>,
    logits_name: String,
    pub(super) weights: Vec<Weight>,
    pub(super) statistics: Vec<Statistic>,
    /// Batches since the last update.
    pub(super) batches: u32,
    threads: usize,
}

impl Host {
    pub(super) fn new(
        runtime: &Runtime,
        compiled: Compiled,
        options: &StepOptions,
        session: &SessionOptions,
    ) -> Result<Host> {
        let Compiled { mut graph, image, targets, scale, logits, loss, trained, statistics, .. } = compiled;
        let mut outputs = vec![loss, logits];
        let mut gradient_names = Vec::with_capacity(trained.len());
        for own in &trained {
            // Two parameters may share a gradient, and a value is an output once.
            let output = graph.op("Identity", &[own.gradient], &[])?;
            graph.rename(output, &format!("gradient.{}", own.parameter.name));
            gradient_names.push(graph.name(output).to_owned());
            outputs.push(output);
        }
        outputs.extend(statistics.iter().map(|own| own.updated));
        graph.set_outputs(outputs);
        let bytes = lowered(&graph, options.kernels)?.to_bytes("train")?;
        let session = BoundSession::new(runtime, &bytes, session)?;
        drop(bytes);
        let mut binding = session.binding()?;
        let tensor = |id| session.zeros(graph.kind(id).element, graph.shape(id));
        let (image_tensor, labels, mask) = (tensor(image)?, tensor(targets.labels)?, tensor(targets.mask)?);
        binding.bind_input(graph.name(image), &image_tensor)?;
        binding.bind_input(names::LABELS, &labels)?;
        binding.bind_input(names::MASK, &mask)?;
        let scale = match scale {
            Some(id) => {
                let scale = tensor(id)?;
                scale.write(&[1.0f32])?;
                binding.bind_input(names::SCALE, &scale)?;
                Some(scale)
            }
            None => None,
        };
        let mut weights = Vec::with_capacity(trained.len());
        let count = options.optimizer.state_names().len();
        for (own, gradient_name) in trained.into_iter().zip(gradient_names) {
            let values =
                own.initial.to_f32().ok_or_else(|| Error::internal("a weight that is not float32"))?;
            let shape = &own.parameter.shape;
            let weight = session.tensor(shape, &values)?;
            let gradient = session.zeros(ElementType::Float32, shape)?;
            binding.bind_input(&own.parameter.name, &weight)?;
            binding.bind_output(&gradient_name, &gradient)?;
            weights.push(Weight {
                name: own.parameter.name,
                rates: own.rates,
                weight,
                gradient,
                state: vec![vec![0.0; values.len()]; count],
                average: options.optimizer.ema_decay.map(|_| values),
                accumulated: Vec::new(),
            });
        }
        let mut running = Vec::with_capacity(statistics.len());
        for own in statistics {
            let values =
                own.initial.to_f32().ok_or_else(|| Error::internal("a statistic that is not float32"))?;
            let current = session.tensor(graph.shape(own.input), &values)?;
            let next = session.zeros(ElementType::Float32, graph.shape(own.input))?;
            binding.bind_input(graph.name(own.input), &current)?;
            binding.bind_output(graph.name(own.updated), &next)?;
            running.push(Statistic { name: own.name, current, next });
        }
        binding.fetch_output(names::LOSS, Place::Host)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Host {
            logits_name: graph.name(logits).to_owned(),
            session,
            binding,
            image: image_tensor,
            labels,
            mask,
            scale,
            weights,
            statistics: running,
            batches: 0,
            threads,
        })
    }

    /// Runs the graph on a batch and adds its gradients. Nothing changes where it fails.
    pub(super) fn accumulate(
        &mut self,
        images: &[f32],
        targets: &Targets,
        scale: f32,
        wants_logits: bool,
    ) -> Result<(f32, Option<Vec<f32>>)> {
        self.image.write(images)?;
        match self.labels.element() {
            ElementType::Int64 => self.labels.write(&targets.classes)?,
            _ => self.labels.write(&targets.numbers)?,
        }
        self.mask.write(&targets.mask)?;
        if let Some(tensor) = &self.scale {
            tensor.write(&[scale])?;
        }
        if self.batches > 0 {
            // This batch's gradients will overwrite the first's. Where a run fails after this, the sum stands.
            for own in self.weights.iter_mut().filter(|own| own.accumulated.is_empty()) {
                own.accumulated = own.gradient.to_vec()?;
            }
        }
        if wants_logits {
            self.binding.fetch_output(&self.logits_name, Place::Host)?;
        }
        let mut fetched = self.session.run(&mut self.binding)?;
        let loss = fetched.take(names::LOSS)?.to_vec::<f32>()?.first().copied().unwrap_or(f32::NAN);
        let logits =
            if wants_logits { Some(fetched.take(&self.logits_name)?.to_vec::<f32>()?) } else { None };
        if self.batches > 0 {
            for own in &mut self.weights {
                let gradient = own.gradient.as_slice::<f32>()?;
                own.accumulated.iter_mut().zip(gradient.iter()).for_each(|(sum, part)| *sum += part);
            }
        }
        for own in &self.statistics {
            own.current.copy_from(&own.next)?;
        }
        self.batches += 1;
        Ok((loss, logits))
    }

    /// Updates the weights with the mean of the accumulated gradients.
    pub(super) fn apply(
        &mut self,
        optimizer: &Optimizer,
        lr: f32,
        step: u64,
        scale: f32,
    ) -> Result<(Option<f32>, bool)> {
        let factor = 1.0 / (scale * self.batches.max(1) as f32);
        let mut tensors = Vec::with_capacity(self.weights.len());
        for own in &self.weights {
            tensors.push((own.weight.clone(), own.gradient.clone()));
        }
        let mut views = Vec::with_capacity(tensors.len());
        for (weight, gradient) in &tensors {
            views.push((weight.as_slice_mut::<f32>()?, gradient.as_slice::<f32>()?));
        }
        let slots = self.weights.iter_mut().zip(&mut views).map(|(own, (weight, gradient))| Slot {
            weight,
            gradient: if own.accumulated.is_empty() { gradient } else { &own.accumulated },
            state: own.state.iter_mut().map(Vec::as_mut_slice).collect(),
            average: own.average.as_deref_mut(),
            rates: own.rates,
        });
        let mut slots: Vec<Slot<'_>> = slots.collect();
        let outcome = update(optimizer, &mut slots, lr, step, factor, self.threads);
        drop(slots);
        drop(views);
        self.discard();
        Ok((outcome.norm, outcome.skipped))
    }

    /// Forgets the accumulated gradients.
    pub(super) fn discard(&mut self) {
        self.batches = 0;
        for own in &mut self.weights {
            own.accumulated = Vec::new();
        }
    }

    pub(super) fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.session.cancel_with(token)
    }
}
