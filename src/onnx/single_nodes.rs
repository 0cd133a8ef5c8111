//! Inference, folding and windows against what ONNX Runtime made of single nodes; `tests/golden/onnx/shapes.py` writes the cases.

use serde_json::Value as Json;

use crate::error::{ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::{Convolution, Pooling, TransposedConvolution, Windows};

fn element(letter: &Json) -> ElementType {
    match letter.as_str().unwrap() {
        "f" => ElementType::Float32,
        "d" => ElementType::Float64,
        "l" => ElementType::Int64,
        "i" => ElementType::Int32,
        "s" => ElementType::Int16,
        "c" => ElementType::Int8,
        "u" => ElementType::Uint8,
        "b" => ElementType::Bool,
        other => panic!("type {other}"),
    }
}

fn kind(json: &Json) -> ValueType {
    let shape = json[1].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap() as usize);
    ValueType::new(element(&json[0]), shape.collect::<Vec<_>>())
}

fn ints(list: &Json) -> Option<Vec<i64>> {
    list.as_array()?.iter().map(Json::as_i64).collect()
}

fn numbers(list: &Json) -> Vec<f64> {
    let one = |value: &Json| value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
    list.as_array().unwrap().iter().map(one).collect()
}

/// The elements that the case says, where it says them.
fn constant(json: &Json) -> Option<Constant> {
    let list = json.get(2)?;
    let kind = kind(json);
    Some(match ints(list) {
        Some(ints) if !kind.element.is_float() => Constant::from_ints(kind, &ints).unwrap(),
        _ => Constant::from_f64(kind, &numbers(list)).unwrap(),
    })
}

fn attribute(name: &str, value: &Json) -> AttributeProto {
    match value {
        Json::String(text) => AttributeProto::string(name, text),
        Json::Number(number) if number.is_i64() => AttributeProto::int(name, number.as_i64().unwrap()),
        Json::Number(number) => AttributeProto::float(name, number.as_f64().unwrap() as f32),
        Json::Array(_) => AttributeProto::ints(name, &ints(value).unwrap()),
        Json::Object(_) => AttributeProto::tensor(name, constant(&value["t"]).unwrap().to_proto("")),
        other => panic!("attribute {other}"),
    }
}

/// Adds the node of a case to an empty graph.
fn add(case: &Json) -> (Graph, Node, Result<Vec<Option<ValueId>>>) {
    let mut graph = Graph::new(case["v"].as_i64().unwrap_or(18));
    let mut node = Node::new(case["o"].as_str().unwrap());
    node.domain = case["d"].as_str().unwrap_or_default().to_owned();
    for input in case["i"].as_array().unwrap() {
        node.inputs.push(match (input, constant(input)) {
            (Json::Null, _) => None,
            (_, Some(constant)) => Some(graph.add_constant("c", constant)),
            (_, None) => Some(graph.add_input("x", kind(input))),
        });
    }
    for (name, value) in case["a"].as_object().into_iter().flatten() {
        node.attributes.push(attribute(name, value));
    }
    let count = case["y"].as_array().map_or(case["n"].as_u64().unwrap_or(1) as usize, Vec::len);
    let made = graph.add(node.clone(), &vec![Some(""); count]);
    (graph, node, made)
}

/// What is wrong with the outputs of a case, if anything.
fn difference(case: &Json) -> Option<String> {
    let (graph, _, made) = add(case);
    if case.get("e").is_some() {
        return match made {
            Ok(_) => Some("not refused".to_owned()),
            Err(error) => (error.kind() != ErrorKind::ModelInvalid).then(|| error.to_string()),
        };
    }
    let made = match made {
        Ok(made) => made,
        Err(error) => return Some(error.to_string()),
    };
    for (index, (id, expected)) in made.into_iter().zip(case["y"].as_array().unwrap()).enumerate() {
        let id = id.unwrap();
        if graph.kind(id) != &kind(expected) {
            return Some(format!("output {index}: {} for {expected}", graph.kind(id)));
        }
        let Some(expected) = constant(expected) else { continue };
        // What is not computed here the runtime folds; where windows lie another test tells.
        if case.get("f").is_none() {
            continue;
        }
        let Some(made) = graph.constant(id) else {
            return Some(format!("output {index} is not computed"));
        };
        let (made, expected) = (made.to_f64().unwrap(), expected.to_f64().unwrap());
        let is_float = graph.kind(id).element.is_float();
        let equal = |a: f64, b: f64| {
            a == b || a.is_nan() && b.is_nan() || is_float && (a - b).abs() <= 2e-6 * b.abs().max(1e-6)
        };
        if !made.iter().zip(&expected).all(|(&a, &b)| equal(a, b)) {
            return Some(format!("output {index}: {made:?} for {expected:?}"));
        }
    }
    None
}

fn cases() -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/onnx/shapes.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn outputs_are_those_of_the_runtime() {
    let cases = cases();
    assert!(cases.len() > 1000, "{} cases", cases.len());
    let wrong: Vec<String> =
        cases.iter().filter_map(|case| Some(format!("{}\n    {case}", difference(case)?))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The first output of a node whose windows lie along one axis, by the definition of [`Windows`].
fn slid(graph: &Graph, node: &Node) -> Vec<f64> {
    let values = |index: usize| -> Vec<f64> {
        let known = node.input(index).and_then(|id| graph.known(id));
        known.and_then(Constant::to_f64).unwrap_or_default()
    };
    let (x, w) = (values(0), values(1));
    match node.op_type.as_str() {
        "Conv" => {
            let windows = Convolution::of(graph, node).unwrap().windows;
            let sum = |taps: Vec<(usize, usize)>| taps.iter().map(|&(tap, place)| w[tap] * x[place]).sum();
            (0..windows.outputs[0]).map(|window| sum(taps(&windows, window))).collect()
        }
        "ConvTranspose" => {
            let windows = TransposedConvolution::of(graph, node).unwrap().windows;
            let mut y = vec![0.0; windows.inputs[0]];
            for (window, value) in x.iter().enumerate() {
                for (tap, place) in taps(&windows, window) {
                    y[place] += w[tap] * value;
                }
            }
            y
        }
        "MaxPool" => {
            let windows = Pooling::of(graph, node).unwrap().windows;
            let most =
                |taps: Vec<(usize, usize)>| taps.iter().map(|&(_, place)| x[place]).fold(0.0, f64::max);
            (0..windows.outputs[0]).map(|window| most(taps(&windows, window))).collect()
        }
        "AveragePool" => {
            let pooling = Pooling::of(graph, node).unwrap();
            let sum = |window: usize| -> f64 {
                taps(&pooling.windows, window).iter().map(|&(_, place)| x[place]).sum()
            };
            let divisors = pooling.divisors(0);
            (0..divisors.len()).map(|window| sum(window) / divisors[window] as f64).collect()
        }
        other => panic!("{other} has no windows"),
    }
}

/// The taps of a window that lie on the input, and where.
fn taps(windows: &Windows, window: usize) -> Vec<(usize, usize)> {
    let place = |tap: usize| {
        let place = window * windows.strides[0] + tap * windows.dilations[0];
        Some((tap, place.checked_sub(windows.begin[0]).filter(|&place| place < windows.inputs[0])?))
    };
    (0..windows.kernel[0]).filter_map(place).collect()
}

#[test]
fn windows_lie_where_the_runtime_has_them() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases().iter().filter(|case| case.get("w").is_some()) {
        let (graph, node, made) = add(case);
        made.unwrap();
        let (made, expected) = (slid(&graph, &node), numbers(&case["y"][0][2]));
        let equal = |a: f64, b: f64| (a - b).abs() <= 2e-6 * b.abs();
        if made.len() != expected.len() || !made.iter().zip(&expected).all(|(&a, &b)| equal(a, b)) {
            wrong.push(format!("{made:?}\n    {case}"));
        }
        count += 1;
    }
    assert!(count > 300, "{count} cases");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every place of a case where a number stands: attributes, sizes, and elements that are known.
fn places(case: &Json) -> Vec<String> {
    fn walk(json: &Json, path: String, found: &mut Vec<String>) {
        match json {
            Json::Number(_) => found.push(path),
            Json::Array(list) => {
                let inner = list.iter().enumerate();
                inner.for_each(|(index, json)| walk(json, format!("{path}/{index}"), found));
            }
            // Not the elements of a tensor, which would no longer be one.
            Json::Object(map) if !map.contains_key("t") => {
                map.iter().for_each(|(name, json)| walk(json, format!("{path}/{name}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&case["a"], "/a".to_owned(), &mut found);
    walk(&case["i"], "/i".to_owned(), &mut found);
    found
}

#[test]
fn absurd_numbers_are_refused_and_nothing_breaks() {
    const ABSURD: [i64; 11] =
        [0, -1, 1, 3, -7, 1 << 17, i32::MAX as i64, i32::MIN as i64, 1 << 40, i64::MAX, i64::MIN];
    let (mut made, mut refused) = (0, 0);
    for case in &cases() {
        for place in places(case) {
            for absurd in ABSURD {
                let mut case = case.clone();
                *case.pointer_mut(&place).unwrap() = absurd.into();
                if !is_sound(&case) {
                    continue;
                }
                match add(&case).2 {
                    Ok(_) => made += 1,
                    Err(error) => {
                        let kind = error.kind();
                        assert_ne!(kind, ErrorKind::Internal, "{error}: {case}");
                        assert!(!error.message().contains('\n'), "{error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(made > 1000 && refused > 1000, "{made} made, {refused} refused");
}

/// Whether the inputs are tensors at all: no negative size, and as many elements as the shape says.
fn is_sound(case: &Json) -> bool {
    case["i"].as_array().unwrap().iter().filter(|input| !input.is_null()).all(|input| {
        let dims = ints(&input[1]).unwrap();
        let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(usize::try_from(dim).ok()?));
        count.is_some_and(|count| input.get(2).is_none_or(|list| list.as_array().unwrap().len() == count))
    })
}

#[test]
fn what_depends_on_a_parameter_is_not_computed() {
    let mut graph = Graph::new(18);
    let parameter = graph.add_parameter("w", Constant::from_f32([2], &[1.0, 2.0]).unwrap());
    let one = graph.scalar(1.0).unwrap();
    let sum = graph.op("Add", &[parameter, one], &[]).unwrap();
    assert!(graph.constant(sum).is_none());
    assert_eq!(graph.nodes().len(), 1);
    // But its shape is known.
    let shape = graph.op("Shape", &[sum], &[]).unwrap();
    assert_eq!(graph.constant(shape).unwrap().to_ints().unwrap(), [2]);
    let error = graph.op("NonZero", &[parameter], &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelUnsupported);
}

#[test]
fn own_operators_have_types() {
    let mut graph = Graph::new(18);
    let float = |shape: &[usize]| ValueType::new(ElementType::Float32, shape);
    let x = graph.add_input("x", float(&[2, 6, 9, 9]));
    let g = graph.add_input("g", float(&[2, 4, 7, 7]));
    let mut node = Node::new("ConvWeightGrad");
    node.domain = "glebe".to_owned();
    node.inputs = vec![Some(x), Some(g)];
    node.attributes = vec![AttributeProto::ints("kernel_shape", &[3, 3]), AttributeProto::int("group", 2)];
    let made = graph.add_one(node.clone()).unwrap();
    assert_eq!(graph.kind(made), &float(&[4, 3, 3, 3]));
    node.set(AttributeProto::int("group", 4));
    assert!(graph.add_one(node).is_err());

    let w = graph.add_input("w", float(&[4, 3, 3, 3]));
    let mut node = Node::new("ConvForward");
    node.domain = "glebe".to_owned();
    node.inputs = vec![Some(x), Some(w)];
    node.attributes = vec![AttributeProto::ints("kernel_shape", &[3, 3]), AttributeProto::int("group", 2)];
    let made = graph.add_one(node.clone()).unwrap();
    assert_eq!(graph.kind(made), &float(&[2, 4, 7, 7]));
    node.op_type = "ConvInputGrad".to_owned();
    node.inputs = vec![Some(g), Some(w)];
    node.set(AttributeProto::ints("input_shape", &[9, 9]));
    let made = graph.add_one(node.clone()).unwrap();
    assert_eq!(graph.kind(made), &float(&[2, 6, 9, 9]));
    // Which gives no gradient of seven rows.
    node.set(AttributeProto::ints("input_shape", &[10, 9]));
    assert!(graph.add_one(node).is_err());

    let mut node = Node::new("GateGrad");
    node.domain = "glebe".to_owned();
    node.inputs = vec![Some(g), Some(g)];
    let made = graph.add(node.clone(), &[Some("dx"), Some("sums")]).unwrap();
    let kinds: Vec<&ValueType> = made.into_iter().map(|id| graph.kind(id.unwrap())).collect();
    assert_eq!(kinds, [&float(&[2, 4, 7, 7]), &float(&[4])]);
    node.inputs[1] = Some(x);
    assert!(graph.add_one(node).is_err());

    let labels = graph.add_input("labels", ValueType::new(ElementType::Int64, [2, 7, 7]));
    let mut node = Node::new("SoftmaxCrossEntropy");
    node.domain = "glebe".to_owned();
    node.inputs = vec![Some(g), Some(labels)];
    let made = graph.add(node, &[Some("loss"), Some("weight"), Some("dlogits")]).unwrap();
    let kinds: Vec<&ValueType> = made.into_iter().map(|id| graph.kind(id.unwrap())).collect();
    assert_eq!(kinds, [&float(&[]), &float(&[]), &float(&[2, 4, 7, 7])]);
}
