//! BatchNormalization by the statistics of the batch.

use crate::autodiff::emit::Emit;
use crate::error::{ErrorKind, Result};
use crate::onnx::graph::{Graph, Node, Origin, Rebuild, ValueId, ValueMap};

/// Running statistics that a BatchNormalization moves on: state of the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    /// The statistic before the step: a parameter `[C]`, which the caller makes an input.
    pub(crate) before: ValueId,
    /// The same after the step, which the caller makes an output.
    pub(crate) after: ValueId,
}

/// The graph with batch statistics, and what has become of the values.
#[derive(Debug)]
pub(crate) struct WithBatchStatistics {
    /// The graph.
    pub(crate) graph: Graph,
    /// Its values that stand for those of the old graph.
    pub(crate) map: ValueMap,
    /// Mean and variance of every node that was replaced, in the order of the nodes. Where nodes share a statistic
    /// (a network that is applied twice), there is one entry, and the steps of the nodes follow one another in it.
    pub(crate) running: Vec<Running>,
}

/// Replaces the BatchNormalization nodes whose index `chosen` affirms by primitives over the statistics of the batch:
/// with n elements a channel (all axes but the second),
///
/// ```text
/// mean = Σ x / n,  variance = Σ (x - mean)² / n
/// y = (x - mean) / √(variance + ε) scale + bias
/// running mean' = m running mean + (1 - m) mean
/// running variance' = m running variance + (1 - m) variance n / (n - 1)
/// ```
///
/// m is ONNX's momentum, the weight of the old value: PyTorch's 0.1 is written as 0.9 in files. As in PyTorch the variance
/// that is kept is the unbiased one. The operator's own training mode is not used: the CUDA provider refuses it, and the
/// CPU provider keeps the biased variance.
///
/// The new statistics are left behind as values of the graph, and a pass that rebuilds it afterwards drops them unless
/// they have been made outputs before. They do not depend on the parameters as far as gradients
/// go, since nothing of the loss depends on them.
///
/// # Errors
/// `ModelUnsupported` where the running statistics are not parameters, and where a channel has a single element, which
/// has no variance (as PyTorch refuses it).
pub(crate) fn with_batch_statistics(
    graph: &Graph,
    chosen: &dyn Fn(usize) -> bool,
) -> Result<WithBatchStatistics> {
    let mut running: Vec<Running> = Vec::new();
    let (graph, map) = graph.rebuild(|rebuild, index, node| {
        if !node.is("BatchNormalization") || !chosen(index) {
            return rebuild.keep(node);
        }
        let name = node.output(0).map(|id| graph.name(id));
        replaced(rebuild, node, name.unwrap_or_default(), &mut running)
    })?;
    Ok(WithBatchStatistics { graph, map, running })
}

fn replaced(
    rebuild: &mut Rebuild<'_>,
    node: &Node,
    name: &str,
    running: &mut Vec<Running>,
) -> Result<Vec<Option<ValueId>>> {
    let node = Node { inputs: rebuild.inputs(node)?, ..node.clone() };
    let graph = &mut rebuild.new;
    let (x, scale, bias) = (node.needed(0)?, node.needed(1)?, node.needed(2)?);
    let statistics = [node.needed(3)?, node.needed(4)?];
    if statistics.iter().any(|&id| !matches!(graph.value(id).origin(), Origin::Parameter(_))) {
        return Err(node.error(
            ErrorKind::ModelUnsupported,
            "its running statistics are computed, so they cannot be moved on: train with frozen statistics",
        ));
    }
    let shape = graph.shape(x).to_vec();
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
    let count: usize = axes.iter().map(|&axis| shape[axis]).product();
    if count < 2 {
        return Err(node.error(
            ErrorKind::ModelUnsupported,
            format!("a batch of shape {shape:?} has one element a channel, which has no variance"),
        ));
    }
    // One entry a channel along the second axis.
    let channels = shape.get(1).copied().unwrap_or(1);
    let along: Vec<usize> = (0..shape.len()).map(|axis| if axis == 1 { channels } else { 1 }).collect();
    let mean = graph.mean(x, &axes)?;
    let centred = graph.minus(x, mean)?;
    let square = graph.times(centred, centred)?;
    let variance = graph.mean(square, &axes)?;
    let shifted = graph.shifted(variance, f64::from(node.float_or("epsilon", 1e-5)))?;
    let deviation = graph.unary("Sqrt", shifted)?;
    let inverse = graph.unary("Reciprocal", deviation)?;
    let scale = graph.reshape(scale, &along)?;
    let bias = graph.reshape(bias, &along)?;
    // Of one entry a channel, so that the tensors of all pixels are gone over as rarely as can be.
    let factor = graph.times(inverse, scale)?;
    let scaled = graph.times(centred, factor)?;
    let y = graph.plus(scaled, bias)?;
    graph.rename(y, name);

    let momentum = f64::from(node.float_or("momentum", 0.9));
    let unbiased = count as f64 / (count - 1) as f64;
    for (before, (statistic, correction)) in statistics.into_iter().zip([(mean, 1.0), (variance, unbiased)]) {
        let place = running.iter().position(|entry| entry.before == before);
        let old = place.map_or(before, |place| running[place].after);
        let fresh = graph.reshape(statistic, &[channels])?;
        let fresh = graph.scaled(fresh, (1.0 - momentum) * correction)?;
        let kept = graph.scaled(old, momentum)?;
        let after = graph.plus(kept, fresh)?;
        match place {
            Some(place) => running[place].after = after,
            None => running.push(Running { before, after }),
        }
    }
    Ok(vec![Some(y)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::ElementType;
    use crate::onnx::graph::{Constant, ValueType};
    use crate::onnx::proto::AttributeProto;
    use crate::runtime::{OutputData, Runtime, RuntimeOptions, Session, SessionOptions};

    const SHAPE: [usize; 4] = [2, 3, 2, 2];

    fn with_nodes(count: usize, shape: [usize; 4]) -> Graph {
        let mut graph = Graph::default();
        let mut x = graph.add_input("x", ValueType::new(ElementType::Float32, shape));
        let mut parameter =
            |name: &str, values: &[f32]| graph.add_parameter(name, Constant::from_f32([3], values).unwrap());
        let inputs = [
            parameter("scale", &[1.0, -2.0, 0.5]),
            parameter("bias", &[0.0, 1.0, -1.0]),
            parameter("running_mean", &[0.5, 0.0, -3.0]),
            parameter("running_var", &[1.0, 2.0, 0.25]),
        ];
        for _ in 0..count {
            let attributes =
                [AttributeProto::float("epsilon", 0.01), AttributeProto::float("momentum", 0.75)];
            let inputs = [&[x], &inputs[..]].concat();
            x = graph.op("BatchNormalization", &inputs, &attributes).unwrap();
        }
        graph.rename(x, "y");
        graph.set_outputs(vec![x]);
        graph
    }

    fn run(runtime: &Runtime, graph: &Graph, name: &str, x: &[f32]) -> Vec<f32> {
        let mut session =
            Session::new(runtime, &graph.to_bytes("t").unwrap(), &SessionOptions::default()).unwrap();
        session
            .run(x, SHAPE, name, |_, data| match data {
                OutputData::F32(data) => Ok(data.to_vec()),
                other => panic!("{other:?}"),
            })
            .unwrap()
    }

    /// Mean, and the sum of squares around it by n and by n - 1.
    fn statistics(x: &[f32], channel: usize) -> (f64, f64, f64) {
        let own: Vec<f64> = [0, 1]
            .iter()
            .flat_map(|image| &x[(image * 3 + channel) * 4..][..4])
            .map(|&x| f64::from(x))
            .collect();
        let mean = own.iter().sum::<f64>() / 8.0;
        let squares: f64 = own.iter().map(|x| (x - mean).powi(2)).sum();
        (mean, squares / 8.0, squares / 7.0)
    }

    #[test]
    fn the_batch_is_normalised_and_the_statistics_move_on_as_in_pytorch() {
        let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
        let graph = with_nodes(1, SHAPE);
        let made = with_batch_statistics(&graph, &|_| true).unwrap();
        let names: Vec<&str> = made.running.iter().map(|entry| made.graph.name(entry.before)).collect();
        assert_eq!(names, ["running_mean", "running_var"]);
        assert!(made.graph.nodes().iter().all(|node| !node.is("BatchNormalization")));
        let mut graph = made.graph;
        for entry in &made.running {
            graph.add_output(entry.after);
        }
        let x = crate::autodiff::decompose::tests::noise(24);
        let y = run(&runtime, &graph, "y", &x);
        let means = run(&runtime, &graph, graph.name(made.running[0].after), &x);
        let variances = run(&runtime, &graph, graph.name(made.running[1].after), &x);
        let old = [[0.5, 0.0, -3.0], [1.0, 2.0, 0.25]];
        let affine = [(1.0, 0.0), (-2.0, 1.0), (0.5, -1.0)];
        for (channel, (scale, bias)) in affine.into_iter().enumerate() {
            let (mean, variance, unbiased) = statistics(&x, channel);
            for image in 0..2 {
                for place in 0..4 {
                    let at = (image * 3 + channel) * 4 + place;
                    let expected = (f64::from(x[at]) - mean) / (variance + 0.01).sqrt() * scale + bias;
                    assert!((f64::from(y[at]) - expected).abs() < 1e-5, "{at}: {} {expected}", y[at]);
                }
            }
            assert!((f64::from(means[channel]) - (0.75 * old[0][channel] + 0.25 * mean)).abs() < 1e-6);
            assert!(
                (f64::from(variances[channel]) - (0.75 * old[1][channel] + 0.25 * unbiased)).abs() < 1e-6
            );
        }
    }

    #[test]
    fn a_shared_statistic_moves_on_twice() {
        let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
        let made = with_batch_statistics(&with_nodes(2, SHAPE), &|_| true).unwrap();
        assert_eq!(made.running.len(), 2);
        let mut graph = made.graph;
        graph.add_output(made.running[0].after);
        let x = crate::autodiff::decompose::tests::noise(24);
        let means = run(&runtime, &graph, graph.name(made.running[0].after), &x);
        // The mean of the first result is its bias.
        for (channel, (old, bias)) in [(0.5, 0.0), (0.0, 1.0), (-3.0, -1.0)].into_iter().enumerate() {
            let once = 0.75 * old + 0.25 * statistics(&x, channel).0;
            assert!((f64::from(means[channel]) - (0.75 * once + 0.25 * bias)).abs() < 1e-6);
        }
    }

    #[test]
    fn nodes_that_are_not_chosen_stay() {
        let made = with_batch_statistics(&with_nodes(2, SHAPE), &|index| index == 1).unwrap();
        assert_eq!(made.graph.nodes().iter().filter(|node| node.is("BatchNormalization")).count(), 1);
    }

    #[test]
    fn a_single_element_has_no_variance() {
        let error = with_batch_statistics(&with_nodes(1, [1, 3, 1, 1]), &|_| true).unwrap_err();
        assert!(error.to_string().contains("one element a channel"), "{error}");
    }
}
