use super::*;
use crate::onnx::{ElementType, GraphBuilder, Limits};

/// A stack of convolutions and pools of square windows: kernel, stride, padding.
fn stack(layers: &[(&str, i64, i64, i64)]) -> ReceptiveField {
    let mut graph = GraphBuilder::new("stack");
    let mut x =
        graph.input("x", ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(1), "h".into(), "w".into()]);
    for (index, (kind, kernel, stride, pad)) in layers.iter().enumerate() {
        let weights = vec![1.0; (kernel * kernel) as usize];
        let w = graph.initializer_f32(&format!("w{index}"), &[1, 1, *kernel, *kernel], &weights);
        let inputs = [x.as_str(), &w];
        let node = match *kind {
            "Conv" => graph.node(kind, &inputs),
            _ => graph.node(kind, &inputs[..1]).ints("kernel_shape", &[*kernel; 2]),
        };
        x = node.ints("strides", &[*stride; 2]).ints("pads", &[*pad; 4]).output("y");
    }
    let dims = [Dim::Fixed(1), Dim::Fixed(1), "i".into(), "j".into()];
    graph.output(&x, ElementType::Float32, &dims);
    let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
    ReceptiveField::of(&document, None, 1).unwrap()
}

/// Sizes and strides that Araujo, Norris and Sim 2019 ("Computing Receptive Fields of Convolutional Neural Networks",
/// Distill) give for these networks.
#[test]
fn published_fields() {
    let (conv, pool) = (("Conv", 3, 1, 1), ("MaxPool", 2, 2, 0));
    let vgg: Vec<_> = [2, 2, 3, 3, 3].iter().flat_map(|n| [vec![conv; *n], vec![pool]].concat()).collect();
    let thirds = ("MaxPool", 3, 2, 0);
    let alex = [
        ("Conv", 11, 4, 0),
        thirds,
        ("Conv", 5, 1, 2),
        thirds,
        ("Conv", 3, 1, 1),
        ("Conv", 3, 1, 1),
        ("Conv", 3, 1, 1),
        thirds,
    ];
    for (layers, size, stride) in [(&vgg[..], 212, 32), (&alex[..], 195, 32)] {
        let field = stack(layers);
        let rows = field.rows.unwrap();
        // Its own pixels lie in the middle.
        assert_eq!((rows.before + rows.input_step + rows.after, rows.stride), (size, stride), "{field:?}");
        assert_eq!((rows.input_step, rows.output_step), (32, 1));
        assert_eq!(field.rows, field.columns);
    }
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    let mut graph = GraphBuilder::new("loop");
    let dims = [Dim::Fixed(1), Dim::Fixed(1), "h".into(), "w".into()];
    let x = graph.input("x", ElementType::Float32, &dims);
    let y = graph.node("NonZero", &[&x]).output("places");
    let shape = graph.node("Shape", &[&y]).output("shape");
    let y = graph.node("ConstantOfShape", &[&shape]).output("y");
    graph.output(&y, ElementType::Float32, &["a".into(), "b".into()]);
    let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
    let error = ReceptiveField::of(&document, None, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelUnsupported);
}
