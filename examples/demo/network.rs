//! The demo's classifier as an ONNX model: band ratios, then a 1 x 1 convolution, in seven nodes.

use glebe::onnx::{ElementType, GraphBuilder};

use crate::classifier::{BIAS, CLASSES, EPSILON, WEIGHTS};
use crate::scene;

/// The model's file: `[N, 4, H, W]` reflectances 0 to 1 in, `[N, 4, H, W]` scores out. Its metadata says which bands
/// it wants, how they are scaled, and what the classes are called, so that `glebe segment` needs no option.
pub(crate) fn bytes() -> glebe::Result<Vec<u8>> {
    let mut graph = GraphBuilder::new("land cover");
    let free = |channels: u64| ["n".into(), channels.into(), "height".into(), "width".into()];
    let image = graph.input("image", ElementType::Float32, &free(4));

    let split = graph.initializer_i64("bands", &[4], &[1; 4]);
    let [red, green, _blue, nir] =
        graph.node("Split", &[&image, &split]).int("axis", 1).outputs(["red", "green", "blue", "nir"]);
    let epsilon = graph.initializer_f32("epsilon", &[], &[EPSILON]);
    let mut ratio = |a: &str, b: &str, name: &str| {
        let difference = graph.node("Sub", &[a, b]).output("difference");
        let sum = graph.node("Add", &[a, b]).output("sum");
        let sum = graph.node("Add", &[&sum, &epsilon]).output("sum");
        graph.node("Div", &[&difference, &sum]).output(name)
    };
    let ndvi = ratio(&nir, &red, "ndvi");
    let ndwi = ratio(&green, &nir, "ndwi");
    let features = graph.node("Concat", &[&image, &ndvi, &ndwi]).int("axis", 1).output("features");

    let weights = graph.initializer_f32("weights", &[4, 6, 1, 1], WEIGHTS.as_flattened());
    let bias = graph.initializer_f32("bias", &[4], &BIAS);
    let scores = graph.node("Conv", &[&features, &weights, &bias]).output("scores");
    graph.output(&scores, ElementType::Float32, &free(4));

    graph.metadata("glebe.bands", "[1, 2, 3, 4]");
    graph.metadata("glebe.scale", scene::SCALE.to_string());
    graph.metadata("glebe.class_names", format!("{CLASSES:?}"));
    graph.finish()
}
