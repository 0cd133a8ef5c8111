use super::*;
use crate::onnx::{Dim, GraphBuilder};
use crate::runtime::{Optimization, Place, RuntimeOptions};

fn runtime() -> Runtime {
    Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)")
}

/// `new_w = w + lr · x`, `loss = sum(w · x)`.
fn step(shape: &[u64]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("step");
    let dims: Vec<Dim> = shape.iter().map(|dim| Dim::Fixed(*dim)).collect();
    let w = graph.input("w", ElementType::Float32, &dims);
    let x = graph.input("x", ElementType::Float32, &dims);
    let lr = graph.input("lr", ElementType::Float32, &[]);
    let scaled = graph.node("Mul", &[&x, &lr]).output("scaled");
    let new = graph.node("Add", &[&w, &scaled]).output("new_w");
    let product = graph.node("Mul", &[&w, &x]).output("product");
    let loss = graph.node("ReduceSum", &[&product]).int("keepdims", 0).output("loss");
    graph.output(&new, ElementType::Float32, &dims).output(&loss, ElementType::Float32, &[]);
    graph.opset(17);
    graph.finish().unwrap()
}

fn session(options: &SessionOptions) -> BoundSession {
    BoundSession::new(&runtime(), &step(&[3]), options).unwrap()
}

#[test]
fn ports_have_names_types_and_shapes() {
    let session = session(&SessionOptions::default());
    let port = |name: &str, shape: &[usize]| Port {
        name: name.into(),
        element: Some(ElementType::Float32),
        shape: shape.iter().copied().map(Some).collect(),
    };
    assert_eq!(session.inputs(), [port("w", &[3]), port("x", &[3]), port("lr", &[])]);
    assert_eq!(session.outputs(), [port("new_w", &[3]), port("loss", &[])]);
}

#[test]
fn two_bindings_of_one_session_take_turns_without_copies() {
    for (memory_pattern, arena, optimization) in
        [(true, true, Optimization::All), (false, false, Optimization::Basic)]
    {
        let options = SessionOptions {
            threads: 1,
            memory_pattern,
            arena,
            optimization,
            deterministic: true,
            disabled_optimizers: vec!["CommonSubexpressionElimination".into()],
            config: vec![("session.disable_prepacking".into(), "1".into())],
            ..SessionOptions::default()
        };
        let mut session = session(&options);
        let a = session.tensor(&[3], &[1.0f32, 2.0, 3.0]).unwrap();
        let b = session.zeros(ElementType::Float32, &[3]).unwrap();
        let x = session.tensor(&[3], &[1.0f32, 0.0, -1.0]).unwrap();
        let lr = session.tensor(&[], &[0.5f32]).unwrap();
        let mut turns = [session.binding().unwrap(), session.binding().unwrap()];
        for (binding, (from, to)) in turns.iter_mut().zip([(&a, &b), (&b, &a)]) {
            binding.bind_input("w", from).unwrap();
            binding.bind_input("x", &x).unwrap();
            binding.bind_input("lr", &lr).unwrap();
            binding.bind_output("new_w", to).unwrap();
            binding.fetch_output("loss", Place::Host).unwrap();
        }
        let address = b.as_slice::<f32>().unwrap().as_ptr();
        let loss = |session: &mut BoundSession, binding: &mut Binding| {
            session.run(binding).unwrap().take("loss").unwrap().to_vec::<f32>().unwrap()
        };
        assert_eq!(loss(&mut session, &mut turns[0]), [-2.0]);
        assert_eq!(*b.as_slice::<f32>().unwrap(), [1.5, 2.0, 2.5]);
        assert_eq!(loss(&mut session, &mut turns[1]), [-1.0]);
        assert_eq!(*a.as_slice::<f32>().unwrap(), [2.0, 2.0, 2.0]);
        // What is bound is the tensor itself: a change between runs is seen, and results come in its place.
        lr.write(&[-1.0f32]).unwrap();
        x.as_slice_mut::<f32>().unwrap()[1] = 1.0;
        assert_eq!(loss(&mut session, &mut turns[0]), [2.0]);
        assert_eq!(b.to_vec::<f32>().unwrap(), [1.0, 1.0, 3.0]);
        assert_eq!(b.as_slice::<f32>().unwrap().as_ptr(), address);
    }
}

#[test]
fn fetched_outputs_are_the_callers() {
    let mut session = session(&SessionOptions::default());
    let tensor = |values: &[f32]| session.tensor(&[3], values).unwrap();
    let (w, x, lr) = (tensor(&[0.0; 3]), tensor(&[1.0; 3]), session.tensor(&[], &[1.0f32]).unwrap());
    let mut binding = session.binding().unwrap();
    for (name, tensor) in [("w", &w), ("x", &x), ("lr", &lr)] {
        binding.bind_input(name, tensor).unwrap();
    }
    binding.fetch_output("new_w", Place::Device).unwrap();
    let first = session.run(&mut binding).unwrap().take("new_w").unwrap();
    x.write(&[5.0f32; 3]).unwrap();
    let mut outputs = session.run(&mut binding).unwrap();
    assert_eq!(outputs.names().collect::<Vec<_>>(), ["new_w"]);
    let second = outputs.take("new_w").unwrap();
    assert!(outputs.take("new_w").is_err());
    assert_eq!(first.to_vec::<f32>().unwrap(), [1.0; 3]);
    assert_eq!(second.to_vec::<f32>().unwrap(), [5.0; 3]);
    // One run's output is the next one's input.
    binding.bind_input("w", &second).unwrap();
    let third = session.run(&mut binding).unwrap().take("new_w").unwrap();
    assert_eq!(third.to_vec::<f32>().unwrap(), [10.0; 3]);
}

#[test]
fn what_does_not_fit_is_named() {
    let mut session = session(&SessionOptions::default());
    let mut binding = session.binding().unwrap();
    let three = session.tensor(&[3], &[0.0f32; 3]).unwrap();
    let kind = |result: Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(binding.bind_input("z", &three)), ErrorKind::InvalidArgument);
    let four = session.zeros(ElementType::Float32, &[4]).unwrap();
    assert_eq!(kind(binding.bind_input("w", &four)), ErrorKind::Mismatch);
    let whole = session.zeros(ElementType::Int64, &[3]).unwrap();
    let error = binding.bind_input("w", &whole).unwrap_err();
    assert!(
        error.to_string().contains("expected float32 [3], got DeviceTensor(int64 [3] on host)"),
        "{error}"
    );
    binding.bind_input("w", &three).unwrap();
    binding.bind_output("new_w", &three).unwrap();
    let error = session.run(&mut binding).unwrap_err();
    assert_eq!((error.kind(), error.tensor()), (ErrorKind::InvalidState, Some("x")));
    binding.bind_input("x", &three).unwrap();
    binding.bind_input("lr", &session.tensor(&[], &[0.0f32]).unwrap()).unwrap();
    // The same tensor read and written: refused, not run.
    let error = session.run(&mut binding).unwrap_err();
    assert_eq!((error.kind(), error.tensor()), (ErrorKind::InvalidState, Some("new_w")));
    let other = super::BoundSession::new(&runtime(), &step(&[3]), &SessionOptions::default()).unwrap();
    assert_eq!(session.run(&mut other.binding().unwrap()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(session.zeros(ElementType::Uint32, &[1]).is_err());
    assert_eq!(three.as_slice::<i64>().unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(three.write(&[0.0f32]).unwrap_err().kind(), ErrorKind::Mismatch);
    let view = three.as_slice::<f32>().unwrap();
    assert_eq!(three.write(&[0.0f32; 3]).unwrap_err().kind(), ErrorKind::InvalidState);
    drop(view);
    assert!(three.write(&[0.0f32; 3]).is_ok());
}

#[test]
fn all_element_types_round_trip() {
    let runtime = runtime();
    fn check<T: Element + PartialEq + std::fmt::Debug>(runtime: &Runtime, values: &[T]) {
        let tensor = DeviceTensor::from_slice(runtime, &[values.len()], values).unwrap();
        assert_eq!(tensor.to_vec::<T>().unwrap(), values);
        let copy = DeviceTensor::zeros(runtime, T::ELEMENT, &[values.len()]).unwrap();
        assert!(copy.to_vec::<T>().unwrap().iter().all(|value| *value == T::default()));
        copy.copy_from(&tensor).unwrap();
        assert_eq!(copy.to_vec::<T>().unwrap(), values);
        assert_eq!(copy.bytes(), size_of_val(values));
    }
    check(&runtime, &[1.5f32, -2.0]);
    check(&runtime, &[1.5f64, -2.0]);
    check(&runtime, &[half::f16::ONE]);
    check(&runtime, &[i64::MIN, i64::MAX]);
    check(&runtime, &[i32::MIN, 7]);
    check(&runtime, &[0u8, 255]);
    check(&runtime, &[true, false]);
}

#[test]
fn a_token_stops_a_run_and_leaves_the_inputs() {
    let mut graph = GraphBuilder::new("long");
    let dims = [Dim::Fixed(512), Dim::Fixed(512)];
    let mut value = graph.input("x", ElementType::Float32, &dims);
    for _ in 0..1000 {
        value = graph.node("MatMul", &[&value, "x"]).output("y");
    }
    graph.output(&value, ElementType::Float32, &dims).opset(17);
    let options = SessionOptions { threads: 1, ..SessionOptions::default() };
    let mut session = BoundSession::new(&runtime(), &graph.finish().unwrap(), &options).unwrap();
    let x = session.zeros(ElementType::Float32, &[512, 512]).unwrap();
    let mut binding = session.binding().unwrap();
    binding.bind_input("x", &x).unwrap();
    binding.fetch_output(&value, Place::Host).unwrap();
    let token = CancelToken::new();
    session.cancel_with(&token).unwrap();
    let stop = {
        let token = token.clone();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            token.cancel();
        })
    };
    assert_eq!(session.run(&mut binding).unwrap_err().kind(), ErrorKind::Cancelled);
    stop.join().unwrap();
    assert_eq!(session.run(&mut binding).unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(x.to_vec::<f32>().unwrap().iter().all(|value| *value == 0.0));
}

#[test]
fn a_profile_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = SessionOptions { profile: Some(folder.path().join("p")), ..SessionOptions::default() };
    let file = session(&options).end_profile().unwrap();
    assert!(file.starts_with(folder.path()) && file.is_file(), "{}", file.display());
}
