//! Updates as nodes against PyTorch: by the interpreter, and by ONNX Runtime, whose kernels have to take them.

use super::array::Array;
use super::interpreter::Interpreter;
use crate::autodiff::optimizer::golden::{ALLOWED, Case, Golden, SHAPES, apart, cases};
use crate::autodiff::optimizer::{Optimizer, Rates, Update, emit};
use crate::onnx::ElementType;
use crate::onnx::graph::{Graph, ValueId, ValueType};
use crate::runtime::{BoundSession, Place, Runtime, RuntimeOptions, SessionOptions};

/// The update of both parameters as a graph.
struct Built {
    graph: Graph,
    /// lr, step, then of each parameter gradient, weight, state and average.
    inputs: Vec<ValueId>,
    /// Of each parameter weight, state and average: what `inputs` from the third on become, gradients left out.
    outputs: Vec<ValueId>,
    norm: Option<ValueId>,
}

fn build(optimizer: &Optimizer, rates: [Rates; 2]) -> Built {
    let mut graph = Graph::default();
    let float = |shape: &[usize]| ValueType::new(ElementType::Float32, shape);
    let lr = graph.add_input("lr", float(&[]));
    let step = graph.add_input("step", float(&[]));
    let mut inputs = vec![lr, step];
    let mut updates = Vec::new();
    for ((name, shape), rates) in SHAPES.iter().zip(rates) {
        let mut input = |what: &str| graph.add_input(&format!("{name}.{what}"), float(shape));
        let update = Update {
            gradient: input("gradient"),
            weight: input("weight"),
            state: optimizer.state_names().iter().map(|state| input(state)).collect(),
            average: optimizer.ema_decay.map(|_| input("average")),
            rates,
        };
        inputs.extend([update.gradient, update.weight].iter().chain(&update.state).chain(&update.average));
        updates.push(update);
    }
    let (updated, norm) = emit(&mut graph, optimizer, &updates, lr, step, None).unwrap();
    let mut outputs = Vec::new();
    for own in &updated {
        outputs.push(own.weight);
        outputs.extend(own.state.iter().chain(&own.average));
    }
    // An output has a name of its own, and no two share a value.
    let outputs: Vec<ValueId> = outputs.iter().map(|id| graph.op("Identity", &[*id], &[]).unwrap()).collect();
    graph.set_outputs(outputs.iter().copied().chain(norm).collect());
    Built { graph, inputs, outputs, norm }
}

/// The parameters' tensors before the first step.
fn beginning(golden: &Golden, optimizer: &Optimizer) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    for (name, _) in SHAPES {
        let weight: Vec<f64> = golden.all(name).iter().map(|&value| f64::from(value)).collect();
        all.push(weight.clone());
        all.extend(optimizer.state_names().iter().map(|_| vec![0.0; weight.len()]));
        all.extend(optimizer.ema_decay.map(|_| weight));
    }
    all
}

/// What the graph is given in a step: `current` with the gradients between.
fn given(built: &Built, golden: &Golden, current: &[Vec<f64>], lr: f64, step: usize) -> Vec<Vec<f64>> {
    let mut all = vec![vec![lr], vec![step as f64 + 1.0]];
    let each = current.len() / SHAPES.len();
    for ((name, _), own) in SHAPES.iter().zip(current.chunks(each)) {
        let gradient = golden.at(&format!("{name}.gradients"), step);
        all.push(gradient.iter().map(|&value| f64::from(value)).collect());
        all.extend_from_slice(own);
    }
    assert_eq!(all.len(), built.inputs.len());
    all
}

/// In `f64`, by the interpreter; the norm comes last if there is one.
fn interpreted(built: &Built, given: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let arrays = built.inputs.iter().zip(given);
    let arrays = arrays.map(|(id, values)| (*id, Array::floats(built.graph.shape(*id), values)));
    let wanted: Vec<ValueId> = built.outputs.iter().copied().chain(built.norm).collect();
    let made = Interpreter::new(&built.graph, &wanted).run(&arrays.collect::<Vec<_>>());
    made.iter().map(|array| array.f().to_vec()).collect()
}

/// In `f32`, by ONNX Runtime.
fn run(built: &Built, session: &mut BoundSession, given: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut binding = session.binding().unwrap();
    for (id, values) in built.inputs.iter().zip(given) {
        // An optimizer may have no use for the step.
        if !session.inputs().iter().any(|port| port.name == built.graph.name(*id)) {
            continue;
        }
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let tensor = session.tensor(built.graph.shape(*id), &values).unwrap();
        binding.bind_input(built.graph.name(*id), &tensor).unwrap();
    }
    for id in built.outputs.iter().chain(&built.norm) {
        binding.fetch_output(built.graph.name(*id), Place::Host).unwrap();
    }
    let mut fetched = session.run(&mut binding).unwrap();
    let mut take = |id: &ValueId| fetched.take(built.graph.name(*id)).unwrap().to_vec::<f32>().unwrap();
    built.outputs.iter().map(|id| take(id).into_iter().map(f64::from).collect()).collect()
}

fn compare(failures: &mut Vec<String>, golden: &Golden, case: &Case, step: usize, found: &[Vec<f64>]) {
    let each = found.len() / SHAPES.len();
    for ((name, _), own) in SHAPES.iter().zip(found.chunks(each)) {
        let error = apart(own[0].iter().copied(), golden.at(&format!("{}.{name}", case.name), step));
        if !matches!(error, 0.0..=ALLOWED) {
            failures.push(format!("{}: {name} at step {step}: {error:.1e}", case.name));
        }
    }
}

#[test]
fn updates_as_graphs_are_those_of_pytorch() {
    let golden = Golden::read();
    let runtime =
        Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)");
    let mut failures = Vec::new();
    for case in cases() {
        let built = build(&case.optimizer, case.rates);
        let bytes = built.graph.to_bytes("update").unwrap();
        let mut session = BoundSession::new(&runtime, &bytes, &SessionOptions::default()).unwrap();
        let (mut exact, mut single) =
            (beginning(&golden, &case.optimizer), beginning(&golden, &case.optimizer));
        for step in 0..10 {
            let lr = f64::from(golden.all("lr")[step]);
            exact = interpreted(&built, given(&built, &golden, &exact, lr, step));
            single = run(&built, &mut session, &given(&built, &golden, &single, lr, step));
            compare(&mut failures, &golden, &case, step, &exact);
            compare(&mut failures, &golden, &case, step, &single);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn averages_as_graphs_are_those_of_pytorch() {
    let golden = Golden::read();
    let mut case = cases().into_iter().find(|case| case.name == "adamw").unwrap();
    case.optimizer.ema_decay = Some(0.9);
    let built = build(&case.optimizer, case.rates);
    let mut current = beginning(&golden, &case.optimizer);
    for step in 0..10 {
        let lr = f64::from(golden.all("lr")[step]);
        current = interpreted(&built, given(&built, &golden, &current, lr, step));
        // Weight, two tensors of state, average.
        let error = apart(current[3].iter().copied(), golden.at("ema.matrix", step));
        assert!(error <= ALLOWED, "step {step}: {error:.1e}");
    }
}

/// With SGD and a learning rate of 1 the weights change by the clipped gradient.
#[test]
fn clipping_as_a_graph_is_that_of_pytorch() {
    let golden = Golden::read();
    for (name, norm, value) in
        [("norm_0.5", Some(0.5), None), ("norm_100", Some(100.0), None), ("value_0.3", None, Some(0.3))]
    {
        let mut case = cases().swap_remove(0);
        (case.optimizer.clip_norm, case.optimizer.clip_value) = (norm, value);
        let built = build(&case.optimizer, case.rates);
        let zeros: Vec<Vec<f64>> =
            beginning(&golden, &case.optimizer).iter().map(|values| vec![0.0; values.len()]).collect();
        let made = interpreted(&built, given(&built, &golden, &zeros, 1.0, 0));
        for ((parameter, _), weight) in SHAPES.iter().zip(&made) {
            let wanted = golden.all(&format!("clip.{name}.{parameter}"));
            let error = apart(weight.iter().map(|change| -change), wanted);
            assert!(error <= ALLOWED, "{name}: {parameter}: {error:.1e}");
        }
        if norm.is_some() {
            let error = apart(made[2].iter().copied(), golden.all(&format!("clip.{name}.total")));
            assert!(error <= ALLOWED, "{name}: {error:.1e}");
        }
    }
}
