//! The step on the CPU provider: the graph gives loss and gradients, the update is one pass over host memory.

use std::collections::BTreeMap;

use crate::autodiff::compile::{Compiled, names};
use crate::autodiff::lowering::lowered;
use crate::autodiff::optimizer::Rates;
use crate::autodiff::{Optimizer, StepOptions};
use crate::error::{Error, Result};
use crate::finetune::engine::{Data, Engine, Forward, Rate, is_wanted};
use crate::finetune::state::{TrainState, elements};
use crate::finetune::update::{Outcome, Slot, update};
use crate::onnx::ElementType;
use crate::runtime::{Binding, BoundSession, CancelToken, DeviceTensor, Place, Runtime, SessionOptions};
use crate::weights::tensors::{NamedTensor, Tensors};

/// A trained tensor with everything that belongs to it.
#[derive(Debug)]
struct Weight {
    name: String,
    /// Names of its input and of its gradient's output.
    input: String,
    output: String,
    rates: Rates,
    weight: DeviceTensor,
    gradient: DeviceTensor,
    /// In the order of [`Optimizer::state_names`].
    state: Vec<Vec<f32>>,
    average: Option<Vec<f32>>,
    /// Sum of the gradients of the batches since the last update, where there was more than one.
    accumulated: Vec<f32>,
}

/// A running statistic.
#[derive(Debug)]
struct Statistic {
    name: String,
    input: String,
    output: String,
    current: DeviceTensor,
    next: DeviceTensor,
}

/// Everything that a step changes, and what runs it.
#[derive(Debug)]
pub(super) struct Host {
    session: BoundSession,
    /// Without and with the logits.
    bindings: [Option<Binding>; 2],
    inputs: Vec<(String, DeviceTensor)>,
    labels: DeviceTensor,
    mask: DeviceTensor,
    scale: Option<DeviceTensor>,
    logits_name: String,
    weights: Vec<Weight>,
    statistics: Vec<Statistic>,
    state_names: &'static [&'static str],
    /// Batches since the last update.
    batches: u32,
    threads: usize,
}

impl Host {
    pub(super) fn new(
        runtime: &Runtime,
        compiled: Compiled,
        options: &StepOptions,
        session_options: &SessionOptions,
    ) -> Result<Host> {
        let Compiled { mut graph, inputs, targets, scale, logits, loss, trained, statistics, .. } = compiled;
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
        let session = BoundSession::new(runtime, &bytes, session_options)?;
        drop(bytes);
        let tensor = |id| session.zeros(graph.kind(id).element, graph.shape(id));
        let mut given = Vec::with_capacity(inputs.len());
        for id in inputs {
            given.push((graph.name(id).to_owned(), tensor(id)?));
        }
        let (labels, mask) = (tensor(targets.labels)?, tensor(targets.mask)?);
        let scale = scale.map(tensor).transpose()?;
        let state_names = options.optimizer.state_names();
        let mut weights = Vec::with_capacity(trained.len());
        for (own, output) in trained.into_iter().zip(gradient_names) {
            let values =
                own.initial.to_f32().ok_or_else(|| Error::internal("a weight that is not float32"))?;
            let shape = &own.parameter.shape;
            weights.push(Weight {
                input: graph.name(own.input).to_owned(),
                output,
                rates: own.rates,
                weight: session.tensor(shape, &values)?,
                gradient: session.zeros(ElementType::Float32, shape)?,
                state: vec![vec![0.0; values.len()]; state_names.len()],
                average: options.optimizer.ema_decay.map(|_| values),
                accumulated: Vec::new(),
                name: own.parameter.name,
            });
        }
        let mut running = Vec::with_capacity(statistics.len());
        for own in statistics {
            let values =
                own.initial.to_f32().ok_or_else(|| Error::internal("a statistic that is not float32"))?;
            running.push(Statistic {
                name: own.name,
                input: graph.name(own.input).to_owned(),
                output: graph.name(own.updated).to_owned(),
                current: session.tensor(graph.shape(own.input), &values)?,
                next: session.zeros(ElementType::Float32, graph.shape(own.input))?,
            });
        }
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Host {
            logits_name: graph.name(logits).to_owned(),
            session,
            bindings: [None, None],
            inputs: given,
            labels,
            mask,
            scale,
            weights,
            statistics: running,
            state_names,
            batches: 0,
            threads: if session_options.threads > 0 { session_options.threads } else { available },
        })
    }

    fn bind(&self, wants_logits: bool) -> Result<Binding> {
        let mut binding = self.session.binding()?;
        for (name, tensor) in &self.inputs {
            binding.bind_input(name, tensor)?;
        }
        binding.bind_input(names::LABELS, &self.labels)?;
        binding.bind_input(names::MASK, &self.mask)?;
        if let Some(scale) = &self.scale {
            binding.bind_input(names::SCALE, scale)?;
        }
        for own in &self.weights {
            binding.bind_input(&own.input, &own.weight)?;
            binding.bind_output(&own.output, &own.gradient)?;
        }
        for own in &self.statistics {
            binding.bind_input(&own.input, &own.current)?;
            binding.bind_output(&own.output, &own.next)?;
        }
        binding.fetch_output(names::LOSS, Place::Host)?;
        if wants_logits {
            binding.fetch_output(&self.logits_name, Place::Host)?;
        }
        Ok(binding)
    }
}

impl Engine for Host {
    fn accumulate(&mut self, data: &Data<'_>) -> Result<Forward> {
        for ((_, tensor), values) in self.inputs.iter().zip(data.inputs) {
            tensor.write(values)?;
        }
        match self.labels.element() {
            ElementType::Int64 => self.labels.write(&data.targets.classes)?,
            _ => self.labels.write(&data.targets.numbers)?,
        }
        self.mask.write(&data.targets.mask)?;
        if let Some(tensor) = &self.scale {
            tensor.write(&[data.scale])?;
        }
        if self.batches > 0 {
            // This batch's gradients will overwrite the first's. Where a run fails after this, the sum stands.
            for own in self.weights.iter_mut().filter(|own| own.accumulated.is_empty()) {
                own.accumulated = own.gradient.to_vec()?;
            }
        }
        let mut binding = match self.bindings[usize::from(data.wants_logits)].take() {
            Some(binding) => binding,
            None => self.bind(data.wants_logits)?,
        };
        let fetched = self.session.run(&mut binding);
        self.bindings[usize::from(data.wants_logits)] = Some(binding);
        let mut fetched = fetched?;
        let loss = fetched.take(names::LOSS)?.to_vec::<f32>()?.first().copied().unwrap_or(f32::NAN);
        let logits = match data.wants_logits {
            true => Some(fetched.take(&self.logits_name)?.to_vec::<f32>()?),
            false => None,
        };
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
        Ok(Forward { loss, logits })
    }

    fn apply(&mut self, optimizer: &Optimizer, rate: Rate) -> Result<Outcome> {
        let factor = 1.0 / (rate.scale * self.batches.max(1) as f32);
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
        let outcome = update(optimizer, &mut slots, rate.lr, rate.step, factor, self.threads);
        drop(slots);
        drop(views);
        self.discard();
        Ok(outcome)
    }

    fn discard(&mut self) {
        self.batches = 0;
        for own in &mut self.weights {
            own.accumulated = Vec::new();
        }
    }

    fn waiting(&self) -> u32 {
        self.batches
    }

    fn gradients(&self, scale: f32, only: Option<&str>) -> Result<Tensors> {
        let factor = 1.0 / (scale * self.batches.max(1) as f32);
        let of = |own: &Weight| {
            let mut values = match own.accumulated.is_empty() {
                true => own.gradient.to_vec::<f32>()?,
                false => own.accumulated.clone(),
            };
            if factor != 1.0 {
                values.iter_mut().for_each(|value| *value *= factor);
            }
            Ok((own.name.clone(), NamedTensor::f32(own.gradient.shape(), values)))
        };
        self.weights.iter().filter(|own| is_wanted(&own.name, only)).map(of).collect()
    }

    fn weights(&self, only: Option<&str>) -> Result<Tensors> {
        let of =
            |own: &Weight| Ok((own.name.clone(), NamedTensor::f32(own.weight.shape(), own.weight.to_vec()?)));
        self.weights.iter().filter(|own| is_wanted(&own.name, only)).map(of).collect()
    }

    fn statistics(&self, only: Option<&str>) -> Result<Tensors> {
        let of = |own: &Statistic| {
            Ok((own.name.clone(), NamedTensor::f32(own.current.shape(), own.current.to_vec()?)))
        };
        self.statistics.iter().filter(|own| is_wanted(&own.name, only)).map(of).collect()
    }

    fn optimizer_state(&self) -> Result<BTreeMap<String, Tensors>> {
        let of = |(index, kind): (usize, &&str)| {
            let tensor = |own: &Weight| {
                (own.name.clone(), NamedTensor::f32(own.weight.shape(), own.state[index].clone()))
            };
            ((*kind).to_owned(), self.weights.iter().map(tensor).collect())
        };
        Ok(self.state_names.iter().enumerate().map(of).collect())
    }

    fn averages(&self, only: Option<&str>) -> Result<Tensors> {
        let of = |own: &Weight| {
            let average = own.average.as_ref()?;
            Some((own.name.clone(), NamedTensor::f32(own.weight.shape(), average.clone())))
        };
        Ok(self.weights.iter().filter(|own| is_wanted(&own.name, only)).filter_map(of).collect())
    }

    fn restore(&mut self, state: &TrainState) -> Result<()> {
        self.discard();
        for own in &mut self.weights {
            own.weight.write(elements(&state.weights, &own.name)?)?;
            for (values, kind) in own.state.iter_mut().zip(self.state_names) {
                values.copy_from_slice(elements(&state.optimizer[*kind], &own.name)?);
            }
            if let Some(average) = &mut own.average {
                average.copy_from_slice(elements(&state.averages, &own.name)?);
            }
        }
        for own in &self.statistics {
            own.current.write(elements(&state.statistics, &own.name)?)?;
        }
        Ok(())
    }

    fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.session.cancel_with(token)
    }
}
