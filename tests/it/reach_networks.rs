//! Small networks of every kind that reaches over pixels, with weights above 0: nothing that reaches is cancelled out.

use glebe::onnx::{Dim, ElementType, GraphBuilder};

/// A network in the making.
pub(crate) struct Net {
    graph: GraphBuilder,
    weights: u32,
}

impl Net {
    fn new() -> (Net, String) {
        let mut graph = GraphBuilder::new("reach");
        graph.opset(18);
        let x =
            graph.input("image", ElementType::Float32, &["n".into(), Dim::Fixed(2), "h".into(), "w".into()]);
        (Net { graph, weights: 0 }, x)
    }

    fn done(mut self, y: &str) -> Vec<u8> {
        let y = self.graph.node("Identity", &[y]).output("logits");
        let free = ["n".into(), "k".into(), "y".into(), "x".into()];
        self.graph.output(&y, ElementType::Float32, &free);
        self.graph.finish().unwrap()
    }

    /// Numbers from 0.2 to 1.2, others for every tensor.
    fn weight(&mut self, shape: &[i64]) -> String {
        self.weights += 1;
        let seed = self.weights;
        let count = shape.iter().product::<i64>() as u32;
        let values: Vec<f32> = (0..count)
            .map(|at| {
                0.2 + ((at.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)) % 1000) as f32 / 1000.0
            })
            .collect();
        self.graph.initializer_f32(&format!("w{seed}"), shape, &values)
    }

    fn conv(
        &mut self,
        x: &str,
        shape: [i64; 4],
        strides: [i64; 2],
        pads: [i64; 4],
        dilations: [i64; 2],
    ) -> String {
        let w = self.weight(&shape);
        let conv = self.graph.node("Conv", &[x, &w]).ints("strides", &strides).ints("pads", &pads);
        let y = conv.ints("dilations", &dilations).output("conv");
        self.graph.node("Relu", &[&y]).output("relu")
    }

    fn conv3(&mut self, x: &str, from: i64, to: i64) -> String {
        self.conv(x, [to, from, 3, 3], [1, 1], [1; 4], [1, 1])
    }

    fn transposed(&mut self, x: &str, shape: [i64; 4], stride: i64, pads: [i64; 4], more: i64) -> String {
        let w = self.weight(&shape);
        let node = self.graph.node("ConvTranspose", &[x, &w]).ints("strides", &[stride, stride]);
        node.ints("pads", &pads).ints("output_padding", &[more, more]).output("up")
    }

    fn pool(&mut self, kind: &str, x: &str, side: i64, stride: i64, pad: i64) -> String {
        let node = self.graph.node(kind, &[x]).ints("kernel_shape", &[side, side]);
        node.ints("strides", &[stride, stride]).ints("pads", &[pad; 4]).output("pool")
    }

    fn resize(&mut self, x: &str, scale: f32, mode: &str, coordinates: &str, nearest: &str) -> String {
        let scales = self.graph.initializer_f32("scales", &[4], &[1.0, 1.0, scale, scale]);
        let node = self.graph.node("Resize", &[x, "", &scales]).string("mode", mode);
        node.string("coordinate_transformation_mode", coordinates)
            .string("nearest_mode", nearest)
            .output("resized")
    }

    fn shape(&mut self, name: &str, dims: &[i64]) -> String {
        self.graph.initializer_i64(name, &[dims.len() as i64], dims)
    }

    fn add(&mut self, a: &str, b: &str) -> String {
        self.graph.node("Add", &[a, b]).output("sum")
    }

    /// Elements of the shape of `x` at these axes, as a shape of its own.
    fn sizes_of(&mut self, x: &str, axes: &[i64]) -> String {
        let shape = self.graph.node("Shape", &[x]).output("shape");
        let axes = self.shape("axes", axes);
        self.graph.node("Gather", &[&shape, &axes]).int("axis", 0).output("sizes")
    }
}

/// A layer on an input of two channels, or several.
type Layers = fn(&mut Net, &str) -> String;

fn network(layers: Layers) -> Vec<u8> {
    let (mut net, x) = Net::new();
    let y = layers(&mut net, &x);
    net.done(&y)
}

/// A convolution of 3 x 3 for images of this size only.
pub(crate) fn of_size(side: u64) -> Vec<u8> {
    let mut graph = GraphBuilder::new("fixed");
    graph.opset(18);
    let size = ["n".into(), Dim::Fixed(2), Dim::Fixed(side), Dim::Fixed(side)];
    let x = graph.input("image", ElementType::Float32, &size);
    let w = graph.initializer_f32("w", &[2, 2, 3, 3], &[0.1; 36]);
    let y = graph.node("Conv", &[&x, &w]).ints("pads", &[1; 4]).output("logits");
    graph.output(&y, ElementType::Float32, &size);
    graph.finish().unwrap()
}

/// A network that sees 96 pixels on each side and needs no memory but for what goes in and comes out.
pub(crate) fn far_and_light() -> Vec<u8> {
    network(|net, x| {
        let w = net.weight(&[2, 1, 3, 3]);
        let conv = net.graph.node("Conv", &[x, &w]).int("group", 2);
        conv.ints("pads", &[96; 4]).ints("dilations", &[96, 96]).output("y")
    })
}

/// Local networks by their names.
pub(crate) fn local() -> Vec<(&'static str, Vec<u8>)> {
    let all: [(&str, Layers); 25] = [
        ("pointwise", |net, x| net.conv(x, [3, 2, 1, 1], [1, 1], [0; 4], [1, 1])),
        ("plain", |net, x| {
            let y = net.conv3(x, 2, 3);
            net.conv3(&y, 3, 2)
        }),
        ("dilated", |net, x| net.conv(x, [2, 2, 3, 3], [1, 1], [2, 5, 2, 5], [2, 5])),
        ("asymmetric pads", |net, x| net.conv(x, [2, 2, 3, 4], [1, 1], [2, 0, 0, 3], [1, 1])),
        ("even kernel", |net, x| {
            let w = net.weight(&[2, 2, 4, 2]);
            net.graph.node("Conv", &[x, &w]).string("auto_pad", "SAME_LOWER").output("y")
        }),
        ("without padding", |net, x| net.conv(x, [2, 2, 5, 3], [1, 1], [0; 4], [1, 1])),
        ("strided to a quarter", |net, x| {
            let y = net.conv(x, [2, 2, 7, 7], [2, 2], [3; 4], [1, 1]);
            net.conv(&y, [2, 2, 3, 3], [2, 2], [1; 4], [1, 1])
        }),
        ("patches", |net, x| {
            let y = net.conv(x, [4, 2, 4, 4], [4, 4], [0; 4], [1, 1]);
            net.conv3(&y, 4, 2)
        }),
        ("u-net, nearest", |net, x| {
            let a = net.conv3(x, 2, 2);
            let b = net.pool("MaxPool", &a, 2, 2, 0);
            let b = net.conv3(&b, 2, 2);
            let c = net.pool("MaxPool", &b, 2, 2, 0);
            let c = net.conv3(&c, 2, 2);
            let up = net.resize(&c, 2.0, "nearest", "asymmetric", "floor");
            let b = net.graph.node("Concat", &[&b, &up]).int("axis", 1).output("joined");
            let b = net.conv3(&b, 4, 2);
            let up = net.resize(&b, 2.0, "nearest", "asymmetric", "floor");
            let a = net.graph.node("Concat", &[&a, &up]).int("axis", 1).output("joined");
            net.conv3(&a, 4, 2)
        }),
        ("u-net, sized by its skips", |net, x| {
            let a = net.conv3(x, 2, 2);
            let b = net.pool("MaxPool", &a, 2, 2, 0);
            let b = net.conv3(&b, 2, 2);
            let (head, tail) = (net.sizes_of(&b, &[0, 1]), net.sizes_of(&a, &[2, 3]));
            let sizes = net.graph.node("Concat", &[&head, &tail]).int("axis", 0).output("wanted");
            let up = net.graph.node("Resize", &[&b, "", "", &sizes]).string("mode", "linear").output("up");
            let a = net.add(&a, &up);
            net.conv3(&a, 2, 2)
        }),
        ("u-net, transposed", |net, x| {
            let a = net.conv3(x, 2, 2);
            let b = net.conv(&a, [2, 2, 2, 2], [2, 2], [0; 4], [1, 1]);
            let b = net.conv3(&b, 2, 2);
            let up = net.transposed(&b, [2, 2, 2, 2], 2, [0; 4], 0);
            net.add(&a, &up)
        }),
        ("transposed 4", |net, x| {
            let y = net.conv(x, [2, 2, 3, 3], [2, 2], [1; 4], [1, 1]);
            net.transposed(&y, [2, 2, 4, 4], 2, [1; 4], 0)
        }),
        ("transposed 3 with output padding", |net, x| {
            let y = net.conv(x, [2, 2, 3, 3], [2, 2], [1; 4], [1, 1]);
            net.transposed(&y, [2, 2, 3, 3], 2, [1; 4], 1)
        }),
        ("twice the resolution", |net, x| net.resize(x, 2.0, "linear", "half_pixel", "floor")),
        ("linear back", |net, x| {
            let y = net.pool("AveragePool", x, 4, 4, 0);
            let y = net.conv3(&y, 2, 2);
            net.resize(&y, 4.0, "linear", "half_pixel", "floor")
        }),
        ("linear, asymmetric", |net, x| {
            let y = net.pool("AveragePool", x, 2, 2, 0);
            net.resize(&y, 2.0, "linear", "asymmetric", "floor")
        }),
        ("nearest, rounded", |net, x| {
            let y = net.pool("MaxPool", x, 3, 3, 0);
            net.resize(&y, 3.0, "nearest", "half_pixel", "round_prefer_floor")
        }),
        ("three halves", |net, x| {
            let y = net.pool("MaxPool", x, 3, 3, 0);
            let y = net.resize(&y, 1.5, "linear", "half_pixel", "floor");
            net.conv3(&y, 2, 2)
        }),
        ("cubic", |net, x| {
            let y = net.pool("AveragePool", x, 2, 2, 0);
            net.resize(&y, 2.0, "cubic", "half_pixel", "floor")
        }),
        ("pool that overlaps", |net, x| {
            let y = net.pool("MaxPool", x, 3, 2, 1);
            let y = net.pool("AveragePool", &y, 3, 1, 1);
            net.resize(&y, 2.0, "nearest", "asymmetric", "floor")
        }),
        ("depth and space", |net, x| {
            let y = net.graph.node("SpaceToDepth", &[x]).int("blocksize", 2).output("deep");
            let y = net.conv3(&y, 8, 8);
            net.graph.node("DepthToSpace", &[&y]).int("blocksize", 2).output("wide")
        }),
        ("pixels shuffled by reshapes", |net, x| {
            let y = net.pool("MaxPool", x, 2, 2, 0);
            let y = net.conv3(&y, 2, 8);
            let (rows, columns) = (net.sizes_of(&y, &[2]), net.sizes_of(&y, &[3]));
            let parts = net.shape("parts", &[0, 2, 2, 2]);
            let apart = net.graph.node("Concat", &[&parts, &rows, &columns]).int("axis", 0).output("apart");
            let y = net.graph.node("Reshape", &[&y, &apart]).output("six");
            let y = net.graph.node("Transpose", &[&y]).ints("perm", &[0, 1, 4, 2, 5, 3]).output("turned");
            let whole = net.sizes_of(x, &[0, 1, 2, 3]);
            let y = net.graph.node("Reshape", &[&y, &whole]).output("four");
            net.conv3(&y, 2, 2)
        }),
        ("tokens", |net, x| {
            let y = net.conv(x, [4, 2, 3, 3], [2, 2], [1; 4], [1, 1]);
            let shape = net.graph.node("Shape", &[&y]).output("shape");
            let flat = net.shape("flat", &[0, 0, -1]);
            let t = net.graph.node("Reshape", &[&y, &flat]).output("flat");
            let t = net.graph.node("Transpose", &[&t]).ints("perm", &[0, 2, 1]).output("tokens");
            let w = net.weight(&[4, 4]);
            let t = net.graph.node("MatMul", &[&t, &w]).output("mixed");
            let (scale, bias) = (net.weight(&[4]), net.weight(&[4]));
            let t = net.graph.node("LayerNormalization", &[&t, &scale, &bias]).output("normal");
            let t = net.graph.node("Transpose", &[&t]).ints("perm", &[0, 2, 1]).output("turned");
            let y = net.graph.node("Reshape", &[&t, &shape]).output("map");
            net.transposed(&y, [4, 2, 2, 2], 2, [0; 4], 0)
        }),
        ("padded by reflection", |net, x| {
            let pads = net.shape("pads", &[0, 0, 3, 1, 0, 0, 2, 2]);
            let y = net.graph.node("Pad", &[x, &pads]).string("mode", "reflect").output("padded");
            net.conv(&y, [2, 2, 6, 4], [1, 1], [0; 4], [1, 1])
        }),
        ("cut off and padded", |net, x| {
            let (starts, ends) = (net.shape("starts", &[3, 2]), net.shape("ends", &[-1, -4]));
            let axes = net.shape("axes", &[2, 3]);
            let y = net.graph.node("Slice", &[x, &starts, &ends, &axes]).output("cut");
            net.conv3(&y, 2, 2)
        }),
    ];
    all.into_iter().map(|(name, layers)| (name, network(layers))).collect()
}

/// Networks that are not local, with the operators that are to be named, in their order.
pub(crate) fn global() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let all: [(&str, Layers, &[&str]); 12] = [
        (
            "squeeze and excitation",
            |net, x| {
                let y = net.conv3(x, 2, 2);
                let s = net.graph.node("GlobalAveragePool", &[&y]).output("squeezed");
                let s = net.conv(&s, [2, 2, 1, 1], [1, 1], [0; 4], [1, 1]);
                net.graph.node("Mul", &[&y, &s]).output("scaled")
            },
            &["GlobalAveragePool"],
        ),
        (
            "two of them",
            |net, x| {
                let axes = net.shape("space", &[2, 3]);
                let m = net.graph.node("ReduceMean", &[x, &axes]).output("mean");
                let y = net.add(x, &m);
                let m = net.graph.node("GlobalMaxPool", &[&y]).output("most");
                let y = net.add(&y, &m);
                net.conv3(&y, 2, 2)
            },
            &["ReduceMean", "GlobalMaxPool"],
        ),
        (
            "instance norm",
            |net, x| {
                let (scale, bias) = (net.weight(&[2]), net.weight(&[2]));
                net.graph.node("InstanceNormalization", &[x, &scale, &bias]).output("normal")
            },
            &["InstanceNormalization"],
        ),
        (
            "attention over positions",
            |net, x| {
                let flat = net.shape("flat", &[0, 0, -1]);
                let k = net.graph.node("Reshape", &[x, &flat]).output("keys");
                let q = net.graph.node("Transpose", &[&k]).ints("perm", &[0, 2, 1]).output("queries");
                let scores = net.graph.node("MatMul", &[&q, &k]).output("scores");
                let share = net.graph.node("Softmax", &[&scores]).int("axis", -1).output("shares");
                let mixed = net.graph.node("MatMul", &[&share, &q]).output("mixed");
                let back = net.graph.node("Transpose", &[&mixed]).ints("perm", &[0, 2, 1]).output("back");
                let shape = net.graph.node("Shape", &[x]).output("shape");
                net.graph.node("Reshape", &[&back, &shape]).output("map")
            },
            &["MatMul", "Softmax", "MatMul"],
        ),
        (
            "softmax over columns",
            |net, x| net.graph.node("Softmax", &[x]).int("axis", 3).output("y"),
            &["Softmax"],
        ),
        (
            "resized to fixed sizes",
            |net, x| {
                let sizes = net.shape("sizes", &[1, 2, 64, 64]);
                let y =
                    net.graph.node("Resize", &[x, "", "", &sizes]).string("mode", "nearest").output("small");
                let back = net.sizes_of(x, &[0, 1, 2, 3]);
                net.graph.node("Resize", &[&y, "", "", &back]).string("mode", "nearest").output("large")
            },
            &["Resize"],
        ),
        (
            "corners aligned",
            |net, x| {
                let y = net.pool("MaxPool", x, 2, 2, 0);
                net.resize(&y, 2.0, "linear", "align_corners", "floor")
            },
            &["Resize"],
        ),
        (
            "numbers for every column",
            |net, x| {
                let w = net.weight(&[1, 2, 1, 1]);
                let columns = net.sizes_of(x, &[3]);
                let head = net.shape("head", &[1, 2, 1]);
                let shape = net.graph.node("Concat", &[&head, &columns]).int("axis", 0).output("wide");
                let grown = net.graph.node("Expand", &[&w, &shape]).output("grown");
                let sums = net.shape("last", &[3]);
                let axis = net.graph.node("Squeeze", &[&sums]).output("axis");
                let place = net.graph.node("CumSum", &[&grown, &axis]).output("place");
                net.add(x, &place)
            },
            &["Add"],
        ),
        (
            "the last rows",
            |net, x| {
                let (starts, ends) = (net.shape("starts", &[-64]), net.shape("ends", &[i64::MAX]));
                let axes = net.shape("axes", &[2]);
                net.graph.node("Slice", &[x, &starts, &ends, &axes]).output("last")
            },
            &["Slice"],
        ),
        (
            "turned round",
            |net, x| {
                let (starts, ends) = (net.shape("starts", &[-1]), net.shape("ends", &[i64::MIN]));
                let (axes, steps) = (net.shape("axes", &[3]), net.shape("steps", &[-1]));
                net.graph.node("Slice", &[x, &starts, &ends, &axes, &steps]).output("mirrored")
            },
            &["Slice"],
        ),
        (
            "windows of its own",
            |net, x| {
                let (rows, columns) = (net.sizes_of(x, &[2]), net.sizes_of(x, &[3]));
                let seven = net.shape("eight", &[8]);
                let count = net.graph.node("Div", &[&rows, &seven]).output("count");
                let head = net.shape("head", &[1, 2]);
                let apart = [head.as_str(), &count, &seven, &columns];
                let shape = net.graph.node("Concat", &apart).int("axis", 0).output("apart");
                let parts = net.graph.node("Reshape", &[x, &shape]).output("parts");
                let within = net.graph.node("Softmax", &[&parts]).int("axis", 3).output("within");
                let whole = net.graph.node("Shape", &[x]).output("whole");
                net.graph.node("Reshape", &[&within, &whole]).output("map")
            },
            &["Reshape"],
        ),
        (
            "quantised by the tile's range",
            |net, x| {
                let [q, scale, zero] =
                    net.graph.node("DynamicQuantizeLinear", &[x]).outputs(["q", "scale", "zero"]);
                net.graph.node("DequantizeLinear", &[&q, &scale, &zero]).output("y")
            },
            &["DynamicQuantizeLinear"],
        ),
    ];
    all.into_iter().map(|(name, layers, named)| (name, network(layers), named.to_vec())).collect()
}
