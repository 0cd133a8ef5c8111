//! Normalisations that are drawn into convolutions, in `f64`: the result as a function of everything that may be trained
//! is the same, so its gradients are.

use super::array::Array;
use super::case::Case;
use super::choices::for_cases;
use super::interpreter::Interpreter;
use crate::autodiff::frozen_norm::drawn_into_convolutions;
use crate::onnx::proto::AttributeProto;

#[test]
fn the_function_stays_the_same() {
    let result = for_cases("Conv and BatchNormalization", 60, |mut c| {
        let mut case = Case::new();
        let (groups, channels, filters) = (c.within(1, 3), c.within(1, 3), c.within(1, 3));
        let rank = c.within(1, 2);
        let x = c.shape(rank, 4).iter().map(|size| size + 2).collect::<Vec<_>>();
        let x = case.x(c.floats(&[&[2, groups * channels], &x[..]].concat(), -1.0, 1.0));
        let maps = groups * filters;
        let kernel = c.shape(rank, 3);
        let w = case.x(c.floats(&[&[maps, channels], &kernel[..]].concat(), -1.0, 1.0));
        let mut inputs = vec![Some(x), Some(w)];
        if c.flip() {
            inputs.push(Some(case.x(c.floats(&[maps], -1.0, 1.0))));
        }
        let group = AttributeProto::int("group", groups as i64);
        let made = case.add("Conv", &inputs, &[group], 1).map_err(|error| error.to_string())?;
        let mut inputs = vec![Some(made[0])];
        // Scale, bias, mean; and a variance.
        for _ in 0..3 {
            inputs.push(Some(case.x(c.floats(&[maps], -2.0, 2.0))));
        }
        inputs.push(Some(case.x(c.floats(&[maps], 0.1, 2.0))));
        let epsilon = AttributeProto::float("epsilon", 0.01);
        let mut case =
            case.op("BatchNormalization", &inputs, &[epsilon]).map_err(|error| error.to_string())?;
        case.graph.set_outputs(case.ends.clone());
        let (graph, map) =
            drawn_into_convolutions(&case.graph, &|_| true).map_err(|error| error.to_string())?;
        if graph.nodes().iter().any(|node| node.is("BatchNormalization")) {
            return Err(format!("{}: a normalisation is left", case.describe()));
        }
        let given: Vec<(_, Array)> =
            case.given.iter().map(|(id, values)| (map.get(*id).unwrap(), values.clone())).collect();
        let before = Interpreter::new(&case.graph, &case.ends).run(&case.given);
        let after = Interpreter::new(&graph, graph.outputs()).run(&given);
        for (a, b) in before[0].f().iter().zip(after[0].f()) {
            if (a - b).abs() > 1e-12 * (1.0 + a.abs()) {
                return Err(format!("{}: {a} has become {b}", case.describe()));
            }
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn what_others_use_too_stays() {
    let mut case = Case::new();
    let x = case.x(Array::floats(&[1, 1, 2], vec![1.0, 2.0]));
    let w = case.x(Array::floats(&[1, 1, 1], vec![3.0]));
    let y = case.add("Conv", &[Some(x), Some(w)], &[], 1).unwrap()[0];
    let one = case.x(Array::floats(&[1], vec![1.0]));
    let normalised =
        case.add("BatchNormalization", &[Some(y), Some(one), Some(one), Some(one), Some(one)], &[], 1);
    let normalised = normalised.unwrap()[0];
    for ends in [vec![normalised, y], vec![normalised]] {
        let shared = ends.len() > 1;
        case.graph.set_outputs(ends);
        let (graph, _) = drawn_into_convolutions(&case.graph, &|_| true).unwrap();
        assert_eq!(graph.nodes().iter().any(|node| node.is("BatchNormalization")), shared);
        // And where it is not asked for.
        let (graph, _) = drawn_into_convolutions(&case.graph, &|_| false).unwrap();
        assert!(graph.nodes().iter().any(|node| node.is("BatchNormalization")));
    }
}
