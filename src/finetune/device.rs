//! The step where a provider works: weights and state stay on its device, and the update is a graph too.
//!
//! Everything that a step changes is there twice. A run reads one of each and writes the other, and only when it has
//! succeeded do they change roles; so a run that fails or is cancelled leaves everything as it was.

use std::collections::{BTreeMap, HashMap};

use crate::autodiff::compile::{Compiled, names};
use crate::autodiff::{Optimizer, StepOptions};
use crate::error::{Error, Result};
use crate::finetune::device_graph::{DeviceGraphs, Ports};
use crate::finetune::engine::{Data, Engine, Forward, Rate, is_wanted};
use crate::finetune::state::{TrainState, elements};
use crate::finetune::update::Outcome;
use crate::onnx::ElementType;
use crate::runtime::{Binding, BoundSession, CancelToken, DeviceTensor, Place, Runtime, SessionOptions};
use crate::weights::tensors::{NamedTensor, Tensors};

/// A tensor and the one that the next run writes.
type Twice = [DeviceTensor; 2];

/// A trained tensor with everything that belongs to it.
#[derive(Debug)]
struct Weight {
    name: String,
    weight: Twice,
    /// In the order of [`Optimizer::state_names`].
    state: Vec<Twice>,
    average: Option<Twice>,
}

/// What exists once gradients were asked to wait.
#[derive(Debug)]
struct Waiting {
    gradient: BoundSession,
    apply: BoundSession,
    /// Adds gradients to a sum; made when the first batch is added to another.
    add: Option<BoundSession>,
    /// Gradients of the last batch, in the order of the weights.
    gradients: Vec<DeviceTensor>,
    /// Sums of gradients.
    sums: Vec<Twice>,
    bindings: HashMap<Turn, Binding>,
}

/// What a binding depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Turn {
    what: What,
    weights: usize,
    statistics: usize,
    sums: usize,
    wants_logits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Fused,
    Gradient,
    Add,
    Apply,
}

/// Everything that a step changes, and what runs it.
#[derive(Debug)]
pub(super) struct Device {
    runtime: Runtime,
    options: SessionOptions,
    graphs: DeviceGraphs,
    fused: BoundSession,
    bindings: HashMap<Turn, Binding>,
    waiting: Option<Waiting>,
    inputs: Vec<(String, DeviceTensor)>,
    labels: DeviceTensor,
    mask: DeviceTensor,
    scale: DeviceTensor,
    lr: DeviceTensor,
    step: DeviceTensor,
    divisor: DeviceTensor,
    weights: Vec<Weight>,
    statistics: Vec<(String, Twice)>,
    state_names: &'static [&'static str],
    /// Which of each two is the one to read.
    turn: usize,
    statistics_turn: usize,
    sums_turn: usize,
    /// Batches since the last update.
    batches: u32,
    watch: Option<CancelToken>,
}

impl Device {
    pub(super) fn new(
        runtime: &Runtime,
        compiled: Compiled,
        options: &StepOptions,
        session_options: &SessionOptions,
    ) -> Result<Device> {
        let graphs = DeviceGraphs::new(&compiled, &options.optimizer)?;
        let fused = BoundSession::new(runtime, &graphs.fused()?, session_options)?;
        let Compiled { graph, inputs, targets, trained, statistics, .. } = compiled;
        let zeros = |id| fused.zeros(graph.kind(id).element, graph.shape(id));
        let scalar = || fused.zeros(ElementType::Float32, &[]);
        let wide = || Error::internal("a trained tensor that is not float32");
        let state_names = options.optimizer.state_names();
        let mut given = Vec::with_capacity(inputs.len());
        for id in inputs {
            given.push((graph.name(id).to_owned(), zeros(id)?));
        }
        let mut weights = Vec::with_capacity(trained.len());
        for own in trained {
            let values = own.initial.to_f32().ok_or_else(wide)?;
            let shape = &own.parameter.shape;
            let empty = || fused.zeros(ElementType::Float32, shape);
            let mut state = Vec::with_capacity(state_names.len());
            for _ in state_names {
                state.push([empty()?, empty()?]);
            }
            let average = match options.optimizer.ema_decay {
                Some(_) => Some([fused.tensor(shape, &values)?, empty()?]),
                None => None,
            };
            let weight = [fused.tensor(shape, &values)?, empty()?];
            weights.push(Weight { name: own.parameter.name, weight, state, average });
        }
        let mut running = Vec::with_capacity(statistics.len());
        for own in statistics {
            let values = own.initial.to_f32().ok_or_else(wide)?;
            let shape = graph.shape(own.input);
            let next = fused.zeros(ElementType::Float32, shape)?;
            running.push((own.name, [fused.tensor(shape, &values)?, next]));
        }
        Ok(Device {
            labels: zeros(targets.labels)?,
            mask: zeros(targets.mask)?,
            scale: scalar()?,
            lr: scalar()?,
            step: scalar()?,
            divisor: scalar()?,
            runtime: runtime.clone(),
            options: session_options.clone(),
            fused,
            bindings: HashMap::new(),
            waiting: None,
            graphs,
            inputs: given,
            weights,
            statistics: running,
            state_names,
            turn: 0,
            statistics_turn: 0,
            sums_turn: 0,
            batches: 0,
            watch: None,
        })
    }

    fn key(&self, what: What, wants_logits: bool) -> Turn {
        let (weights, statistics, sums) = (self.turn, self.statistics_turn, self.sums_turn);
        Turn { what, weights, statistics, sums, wants_logits }
    }

    /// Copies a batch to the device.
    fn give(&self, data: &Data<'_>) -> Result<()> {
        for ((_, tensor), values) in self.inputs.iter().zip(data.inputs) {
            tensor.write(values)?;
        }
        match self.labels.element() {
            ElementType::Int64 => self.labels.write(&data.targets.classes)?,
            _ => self.labels.write(&data.targets.numbers)?,
        }
        self.mask.write(&data.targets.mask)?;
        self.scale.write(&[data.scale])
    }

    fn rate(&self, rate: Rate, batches: u32) -> Result<()> {
        self.lr.write(&[rate.lr])?;
        self.step.write(&[rate.step as f32])?;
        self.divisor.write(&[rate.scale * batches as f32])
    }

    /// Binds what the forward part reads and gives.
    fn bind_forward(&self, binding: &mut Binding, wants_logits: bool) -> Result<()> {
        for (name, tensor) in &self.inputs {
            binding.bind_input(name, tensor)?;
        }
        binding.bind_input(names::LABELS, &self.labels)?;
        binding.bind_input(names::MASK, &self.mask)?;
        if self.graphs.has_scale {
            binding.bind_input(names::SCALE, &self.scale)?;
        }
        for ((_, tensors), (input, output)) in self.statistics.iter().zip(&self.graphs.statistics) {
            binding.bind_input(input, &tensors[self.statistics_turn])?;
            binding.bind_output(output, &tensors[1 - self.statistics_turn])?;
        }
        binding.fetch_output(names::LOSS, Place::Host)?;
        if wants_logits {
            binding.fetch_output(&self.graphs.logits, Place::Host)?;
        }
        Ok(())
    }

    /// Binds what an update reads and writes, the gradients apart.
    fn bind_update(&self, binding: &mut Binding, ports: &Ports) -> Result<()> {
        binding.bind_input(&ports.lr, &self.lr)?;
        for (name, tensor) in [(&ports.step, &self.step), (&ports.divisor, &self.divisor)] {
            if let Some(name) = name {
                binding.bind_input(name, tensor)?;
            }
        }
        let (now, next) = (self.turn, 1 - self.turn);
        for (own, ports) in self.weights.iter().zip(&ports.weights) {
            let twice = std::iter::once(&own.weight).chain(&own.state).chain(&own.average);
            for (tensors, (input, output)) in twice.zip(ports) {
                binding.bind_input(input, &tensors[now])?;
                binding.bind_output(output, &tensors[next])?;
            }
        }
        if ports.norm {
            binding.fetch_output(DeviceGraphs::NORM, Place::Host)?;
        }
        Ok(())
    }

    fn bind(&self, waiting: Option<&Waiting>, what: What, wants_logits: bool) -> Result<Binding> {
        let gone = || Error::internal("a step without its graphs");
        match what {
            What::Fused => {
                let mut binding = self.fused.binding()?;
                self.bind_forward(&mut binding, wants_logits)?;
                self.bind_update(&mut binding, &self.graphs.fused_ports)?;
                Ok(binding)
            }
            What::Gradient => {
                let waiting = waiting.ok_or_else(gone)?;
                let mut binding = waiting.gradient.binding()?;
                self.bind_forward(&mut binding, wants_logits)?;
                let trained = self.weights.iter().zip(&self.graphs.gradients).zip(&waiting.gradients);
                for ((own, (input, output)), gradient) in trained {
                    binding.bind_input(input, &own.weight[self.turn])?;
                    binding.bind_output(output, gradient)?;
                }
                Ok(binding)
            }
            What::Add => {
                let waiting = waiting.ok_or_else(gone)?;
                let mut binding = waiting.add.as_ref().ok_or_else(gone)?.binding()?;
                for (index, (gradient, sums)) in waiting.gradients.iter().zip(&waiting.sums).enumerate() {
                    binding.bind_input(&DeviceGraphs::gradient(index), gradient)?;
                    binding.bind_input(&DeviceGraphs::sum(index), &sums[self.sums_turn])?;
                    binding.bind_output(&DeviceGraphs::next_sum(index), &sums[1 - self.sums_turn])?;
                }
                Ok(binding)
            }
            What::Apply => {
                let waiting = waiting.ok_or_else(gone)?;
                let mut binding = waiting.apply.binding()?;
                for index in 0..self.weights.len() {
                    let sum = match waiting.sums.get(index) {
                        Some(sums) => &sums[self.sums_turn],
                        None => &waiting.gradients[index],
                    };
                    binding.bind_input(&DeviceGraphs::gradient(index), sum)?;
                }
                self.bind_update(&mut binding, &self.graphs.apply_ports)?;
                Ok(binding)
            }
        }
    }

    /// The graphs for gradients that wait.
    fn waiting(&mut self) -> Result<Waiting> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(waiting);
        }
        let session = |bytes: Vec<u8>| BoundSession::new(&self.runtime, &bytes, &self.options);
        let mut gradient = session(self.graphs.gradient_bytes()?)?;
        let apply = session(self.graphs.apply()?)?;
        if let Some(token) = &self.watch {
            gradient.cancel_with(token)?;
        }
        let zeros = |own: &Weight| self.fused.zeros(ElementType::Float32, own.weight[0].shape());
        let gradients = self.weights.iter().map(zeros).collect::<Result<_>>()?;
        let (sums, bindings) = (Vec::new(), HashMap::new());
        Ok(Waiting { gradient, apply, add: None, gradients, sums, bindings })
    }

    fn accumulate_in(&mut self, waiting: &mut Waiting, data: &Data<'_>) -> Result<Forward> {
        self.give(data)?;
        if self.batches > 0 && waiting.sums.is_empty() {
            let zeros = |own: &Weight| self.fused.zeros(ElementType::Float32, own.weight[0].shape());
            let twice = |own: &Weight| Ok([zeros(own)?, zeros(own)?]);
            let sums = self.weights.iter().map(twice).collect::<Result<Vec<Twice>>>()?;
            waiting.add = Some(BoundSession::new(&self.runtime, &self.graphs.add()?, &self.options)?);
            waiting.sums = sums;
            // Updates are made of the sums from now on.
            waiting.bindings.clear();
        }
        if self.batches == 1 {
            // The first batch's gradients are the sum so far.
            for (sums, gradient) in waiting.sums.iter().zip(&waiting.gradients) {
                sums[self.sums_turn].copy_from(gradient)?;
            }
        }
        let key = self.key(What::Gradient, data.wants_logits);
        let mut binding = match waiting.bindings.remove(&key) {
            Some(binding) => binding,
            None => self.bind(Some(waiting), key.what, data.wants_logits)?,
        };
        let fetched = waiting.gradient.run(&mut binding);
        waiting.bindings.insert(key, binding);
        let forward = forward(fetched?, data.wants_logits, &self.graphs.logits)?;
        if self.batches > 0 {
            let key = self.key(What::Add, false);
            let mut binding = match waiting.bindings.remove(&key) {
                Some(binding) => binding,
                None => self.bind(Some(waiting), key.what, false)?,
            };
            let add = waiting.add.as_mut().ok_or_else(|| Error::internal("a sum without its graph"))?;
            let added = add.run(&mut binding);
            waiting.bindings.insert(key, binding);
            added?;
            self.sums_turn = 1 - self.sums_turn;
        } else {
            // An update reads the sums where there are any.
            for (sums, gradient) in waiting.sums.iter().zip(&waiting.gradients) {
                sums[self.sums_turn].copy_from(gradient)?;
            }
        }
        self.statistics_turn = 1 - self.statistics_turn;
        self.batches += 1;
        Ok(forward)
    }

    fn apply_in(&mut self, waiting: &mut Waiting, rate: Rate, loss_scale: bool) -> Result<Outcome> {
        self.rate(rate, self.batches.max(1))?;
        let key = self.key(What::Apply, false);
        let mut binding = match waiting.bindings.remove(&key) {
            Some(binding) => binding,
            None => self.bind(Some(waiting), key.what, false)?,
        };
        let fetched = waiting.apply.run(&mut binding);
        waiting.bindings.insert(key, binding);
        let outcome = outcome(&mut fetched?, self.graphs.apply_ports.norm, loss_scale)?;
        self.turn = 1 - self.turn;
        self.batches = 0;
        Ok(outcome)
    }

    fn named(
        &self,
        only: Option<&str>,
        of: impl Fn(&Weight) -> Result<Option<&DeviceTensor>>,
    ) -> Result<Tensors> {
        let mut all = Tensors::new();
        for own in self.weights.iter().filter(|own| is_wanted(&own.name, only)) {
            if let Some(tensor) = of(own)? {
                all.insert(own.name.clone(), NamedTensor::f32(tensor.shape(), tensor.to_vec()?));
            }
        }
        Ok(all)
    }
}

fn forward(mut fetched: crate::runtime::Fetched, wants_logits: bool, logits: &str) -> Result<Forward> {
    let loss = fetched.take(names::LOSS)?.to_vec::<f32>()?.first().copied().unwrap_or(f32::NAN);
    let logits = match wants_logits {
        true => Some(fetched.take(logits)?.to_vec::<f32>()?),
        false => None,
    };
    Ok(Forward { loss, logits })
}

fn outcome(fetched: &mut crate::runtime::Fetched, has_norm: bool, loss_scale: bool) -> Result<Outcome> {
    let norm = match has_norm {
        true => fetched.take(DeviceGraphs::NORM)?.to_vec::<f32>()?.first().copied(),
        false => None,
    };
    Ok(Outcome { norm, skipped: loss_scale && norm.is_some_and(|norm| !norm.is_finite()) })
}

impl Engine for Device {
    fn accumulate(&mut self, data: &Data<'_>) -> Result<Forward> {
        let mut waiting = self.waiting()?;
        let forward = self.accumulate_in(&mut waiting, data);
        self.waiting = Some(waiting);
        forward
    }

    fn apply(&mut self, optimizer: &Optimizer, rate: Rate) -> Result<Outcome> {
        let mut waiting = self.waiting()?;
        let outcome = self.apply_in(&mut waiting, rate, optimizer.loss_scale);
        self.waiting = Some(waiting);
        outcome
    }

    fn step(&mut self, data: &Data<'_>, optimizer: &Optimizer, rate: Rate) -> Result<(Forward, Outcome)> {
        self.give(data)?;
        self.rate(rate, 1)?;
        let key = self.key(What::Fused, data.wants_logits);
        let mut binding = match self.bindings.remove(&key) {
            Some(binding) => binding,
            None => self.bind(None, key.what, data.wants_logits)?,
        };
        let fetched = self.fused.run(&mut binding);
        self.bindings.insert(key, binding);
        let mut fetched = fetched?;
        let outcome = outcome(&mut fetched, self.graphs.fused_ports.norm, optimizer.loss_scale)?;
        let forward = forward(fetched, data.wants_logits, &self.graphs.logits)?;
        self.turn = 1 - self.turn;
        self.statistics_turn = 1 - self.statistics_turn;
        Ok((forward, outcome))
    }

    fn discard(&mut self) {
        self.batches = 0;
    }

    fn waiting(&self) -> u32 {
        self.batches
    }

    fn gradients(&self, scale: f32, only: Option<&str>) -> Result<Tensors> {
        let factor = 1.0 / (scale * self.batches.max(1) as f32);
        let mut all = Tensors::new();
        let Some(waiting) = &self.waiting else { return Ok(all) };
        for (index, own) in self.weights.iter().enumerate().filter(|(_, own)| is_wanted(&own.name, only)) {
            let tensor = match waiting.sums.get(index) {
                Some(sums) => &sums[self.sums_turn],
                None => &waiting.gradients[index],
            };
            let mut values = tensor.to_vec::<f32>()?;
            if factor != 1.0 {
                values.iter_mut().for_each(|value| *value *= factor);
            }
            all.insert(own.name.clone(), NamedTensor::f32(tensor.shape(), values));
        }
        Ok(all)
    }

    fn weights(&self, only: Option<&str>) -> Result<Tensors> {
        self.named(only, |own| Ok(Some(&own.weight[self.turn])))
    }

    fn statistics(&self, only: Option<&str>) -> Result<Tensors> {
        let of = |(name, tensors): &(String, Twice)| {
            let tensor = &tensors[self.statistics_turn];
            Ok((name.clone(), NamedTensor::f32(tensor.shape(), tensor.to_vec()?)))
        };
        self.statistics.iter().filter(|(name, _)| is_wanted(name, only)).map(of).collect()
    }

    fn optimizer_state(&self) -> Result<BTreeMap<String, Tensors>> {
        let of = |(index, kind): (usize, &&str)| {
            let tensors =
                self.named(None, |own| Ok(own.state.get(index).map(|tensors| &tensors[self.turn])))?;
            Ok(((*kind).to_owned(), tensors))
        };
        self.state_names.iter().enumerate().map(of).collect()
    }

    fn averages(&self, only: Option<&str>) -> Result<Tensors> {
        self.named(only, |own| Ok(own.average.as_ref().map(|tensors| &tensors[self.turn])))
    }

    fn restore(&mut self, state: &TrainState) -> Result<()> {
        // Into those that the next run would write, so that a device that fails half-way has changed nothing.
        let next = 1 - self.turn;
        for own in &self.weights {
            own.weight[next].write(elements(&state.weights, &own.name)?)?;
            for (tensors, kind) in own.state.iter().zip(self.state_names) {
                tensors[next].write(elements(&state.optimizer[*kind], &own.name)?)?;
            }
            if let Some(average) = &own.average {
                average[next].write(elements(&state.averages, &own.name)?)?;
            }
        }
        for (name, tensors) in &self.statistics {
            tensors[1 - self.statistics_turn].write(elements(&state.statistics, name)?)?;
        }
        self.turn = next;
        self.statistics_turn = 1 - self.statistics_turn;
        self.batches = 0;
        Ok(())
    }

    fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.fused.cancel_with(token)?;
        if let Some(waiting) = &mut self.waiting {
            waiting.gradient.cancel_with(token)?;
        }
        self.watch = Some(token.clone());
        Ok(())
    }
}
