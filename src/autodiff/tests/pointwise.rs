//! Pointwise convolutions before enlargements, in `f64`: the same function of everything that may be trained.

use super::case::Case;
use super::choices::for_cases;
use super::interpreter::Interpreter;
use crate::autodiff::pointwise::before_enlargements;
use crate::onnx::graph::ValueId;
use crate::onnx::proto::AttributeProto;

/// Images of several sizes, joined at 8 × 8, and what mixes them.
fn mixture(c: &mut super::choices::Choices, channels: &[usize], enlarged: &[bool], filters: usize) -> Case {
    let mut case = Case::new();
    let mut parts: Vec<Option<ValueId>> = Vec::new();
    for (&channels, &enlarged) in channels.iter().zip(enlarged) {
        let size = if enlarged { c.within(1, 3) } else { 8 };
        let x = case.x(c.floats(&[2, channels, size, size], -1.0, 1.0));
        if !enlarged {
            parts.push(Some(x));
            continue;
        }
        let mode = c.one(&["linear", "nearest", "cubic"]);
        let places = c.one(&["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]);
        let attributes = [
            AttributeProto::string("mode", mode),
            AttributeProto::string("coordinate_transformation_mode", places),
        ];
        let large = if c.flip() {
            let sizes = case.ints(&[2, channels as i64, 8, 8]);
            case.add("Resize", &[Some(x), None, None, Some(sizes)], &attributes, 1)
        } else if c.flip() {
            let sizes = case.ints(&[8, 8]);
            let axes = AttributeProto::ints("axes", &[2, -1]);
            let attributes = [&attributes[..], &[axes]].concat();
            case.add("Resize", &[Some(x), None, None, Some(sizes)], &attributes, 1)
        } else {
            let scale = 8.0 / size as f64 + 1e-6;
            let scales = super::array::Array::floats(&[4], vec![1.0, 1.0, scale, scale]);
            let scales = case.constant(&scales);
            case.add("Resize", &[Some(x), None, Some(scales)], &attributes, 1)
        };
        parts.push(Some(large.unwrap()[0]));
    }
    let joined = match &parts[..] {
        [one] => *one,
        all => {
            let axis = AttributeProto::int("axis", c.one(&[1, -3]));
            case.add("Concat", all, &[axis], 1).ok().map(|made| made[0])
        }
    };
    let total: usize = channels.iter().sum();
    let w = case.x(c.floats(&[filters, total, 1, 1], -1.0, 1.0));
    let mut inputs = vec![joined, Some(w)];
    if c.flip() {
        inputs.push(Some(case.x(c.floats(&[filters], -1.0, 1.0))));
    }
    let mut case = case.op("Conv", &inputs, &[]).unwrap();
    case.graph.set_outputs(case.ends.clone());
    case
}

fn count(graph: &crate::onnx::graph::Graph, op_type: &str) -> usize {
    graph.nodes().iter().filter(|node| node.is(op_type)).count()
}

#[test]
fn the_function_stays_the_same() {
    let forms: [(&[usize], &[bool]); 5] = [
        (&[40], &[true]),
        (&[40, 50], &[true, true]),
        (&[3, 60], &[false, true]),
        (&[2, 45, 3, 60], &[false, true, false, true]),
        (&[64, 2, 41], &[true, false, true]),
    ];
    let result = for_cases("Conv of enlarged images", 40, |mut c| {
        let (channels, enlarged) = forms[c.below(forms.len())];
        let filters = c.within(1, 4);
        let case = mixture(&mut c, channels, enlarged, filters);
        let (graph, map) = before_enlargements(&case.graph).map_err(|error| error.to_string())?;
        let convolutions =
            enlarged.iter().filter(|own| **own).count() + usize::from(enlarged.contains(&false));
        if count(&graph, "Conv") != convolutions {
            return Err(format!("{}: {} convolutions", case.describe(), count(&graph, "Conv")));
        }
        let given: Vec<_> =
            case.given.iter().map(|(id, values)| (map.get(*id).unwrap(), values.clone())).collect();
        let before = Interpreter::new(&case.graph, &case.ends).run(&case.given);
        let after = Interpreter::new(&graph, graph.outputs()).run(&given);
        for (a, b) in before[0].f().iter().zip(after[0].f()) {
            if (a - b).abs() > 1e-11 {
                return Err(format!("{}: {a} has become {b}", case.describe()));
            }
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn what_would_not_pay_or_is_used_elsewhere_stays() {
    let mut choices = super::choices::Choices::new(&[], 3);
    // Few channels.
    let case = mixture(&mut choices, &[5, 8], &[true, false], 20);
    let (graph, _) = before_enlargements(&case.graph).unwrap();
    assert_eq!((count(&graph, "Conv"), count(&graph, "Concat")), (1, 1));
    // The joined image is an output too.
    let mut case = mixture(&mut choices, &[60, 60], &[true, true], 4);
    let joined = case.graph.nodes().iter().find(|node| node.is("Concat")).unwrap().output(0).unwrap();
    case.graph.add_output(joined);
    let (graph, _) = before_enlargements(&case.graph).unwrap();
    assert_eq!((count(&graph, "Conv"), count(&graph, "Concat")), (1, 1));
}
