//! Gradients that rules emit, computed in `f32` by ONNX Runtime, against the interpreter's in `f64`.

use std::sync::OnceLock;

use super::array::{Array, Data};
use super::case::Case;
use super::difference::Differentiated;
use super::interpreter::Interpreter;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueId;
use crate::runtime::{Binding, BoundSession, Place, Runtime, RuntimeOptions, SessionOptions};

/// Largest error of an element, relative to the largest of its gradient (at least [`FLOOR`]).
const TOLERANCE: f64 = 1e-3;
const FLOOR: f64 = 1e-2;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)")
    })
}

/// What `f32` holds of an array.
fn rounded(array: &Array) -> Array {
    match &array.data {
        Data::Floats(values) => {
            Array::floats(&array.shape, values.iter().map(|&value| f64::from(value as f32)).collect())
        }
        _ => array.clone(),
    }
}

fn bind(session: &BoundSession, binding: &mut Binding, name: &str, array: &Array, element: ElementType) {
    let tensor = match (&array.data, element) {
        (Data::Floats(values), _) => {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            session.tensor(&array.shape, &values)
        }
        (Data::Ints(values), ElementType::Int32) => {
            let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
            session.tensor(&array.shape, &values)
        }
        (Data::Ints(values), _) => session.tensor(&array.shape, values),
        (Data::Bools(values), _) => session.tensor(&array.shape, values),
    };
    binding.bind_input(name, &tensor.unwrap()).unwrap();
}

/// What the runtime cannot be asked: Swish is of set 24 and the cases are of 18, and its MaxPool forgets the dilation where
/// it pads by itself.
fn is_beyond_the_runtime(case: &Case) -> bool {
    case.graph.nodes().iter().any(|node| {
        let pads_itself = node.text_or("auto_pad", "NOTSET").starts_with("SAME");
        let is_dilated = node.ints("dilations").is_some_and(|sizes| sizes.iter().any(|&size| size > 1));
        node.is("Swish") || (node.is("MaxPool") && pads_itself && is_dilated)
    })
}

/// Compares all gradients of a case; whether there were any to compare.
pub(super) fn check(made: Differentiated) -> Result<bool, String> {
    let Differentiated { mut case, seeds, gradients } = made;
    if is_beyond_the_runtime(&case) {
        return Ok(false);
    }
    let present: Vec<ValueId> = gradients.into_iter().flatten().collect();
    let given: Vec<(ValueId, Array)> =
        case.given.iter().chain(&seeds).map(|(id, array)| (*id, rounded(array))).collect();
    let expected = Interpreter::new(&case.graph, &present).run(&given);
    // An output has a name of its own, and no two share a value.
    let mut outputs = Vec::new();
    for (index, id) in present.iter().enumerate() {
        let output = case.graph.op("Identity", &[*id], &[]).map_err(|error| error.to_string())?;
        case.graph.rename(output, &format!("gradient{index}"));
        outputs.push(output);
    }
    case.graph.set_outputs(outputs.clone());
    case.graph.drop_unused_inputs();
    if case.graph.needed_for(&outputs).is_empty() {
        // A seed that is the gradient.
        return Ok(false);
    }
    let failed = |what: &dyn std::fmt::Display| format!("{} in float32: {what}", case.describe());
    let bytes = case.graph.to_bytes("gradients").map_err(|error| failed(&error))?;
    let options = SessionOptions { threads: 1, ..SessionOptions::default() };
    let mut session =
        BoundSession::new(runtime(), &bytes, &options).map_err(|error| failed(&error.one_line()))?;
    let mut binding = session.binding().unwrap();
    for (id, array) in &given {
        let name = case.graph.name(*id);
        // What a gradient does not depend on is no input of the session.
        if session.inputs().iter().any(|port| port.name == name) {
            bind(&session, &mut binding, name, array, case.graph.kind(*id).element);
        }
    }
    for id in &outputs {
        binding.fetch_output(case.graph.name(*id), Place::Host).unwrap();
    }
    let mut fetched = session.run(&mut binding).map_err(|error| failed(&error.one_line()))?;
    for (id, expected) in outputs.iter().zip(&expected) {
        let found = fetched.take(case.graph.name(*id)).unwrap().to_vec::<f32>().unwrap();
        let most = expected.f().iter().fold(FLOOR, |most, g| most.max(g.abs()));
        for (at, (found, expected)) in found.iter().zip(expected.f()).enumerate() {
            let error = (f64::from(*found) - expected).abs() / most;
            if error.is_nan() || error > TOLERANCE {
                let name = case.graph.name(*id);
                return Err(failed(&format!("{name} at {at}: {found} for {expected}, error {error:.1e}")));
            }
        }
    }
    Ok(!outputs.is_empty())
}
