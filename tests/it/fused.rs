//! Models with the work around them in their graph, against scoring without.

use glebe::ErrorKind;
use glebe::geometry::Size;
use glebe::model::{Model, ModelOptions, Normalisation};
use glebe::onnx::proto::TensorProto;
use glebe::onnx::{
    Dim, Document, ElementType, Facts, FusedClasses, Fusion, GraphBuilder, Limits, MOST_FUSED_CLASSES, fused,
};
use glebe::runtime::{OutputData, RawSamples, Session, SessionOptions};
use glebe::segment::{Activation, SegmentOptions, Segmenter};
use glebe::tensor::{DataType, Sample, Samples, SamplesView};
use glebe::tiling::{Blend, Overlap};
use half::f16;
use ndarray::Array3;

use crate::fixtures::{golden, golden_picture, identity_network, model, noise, noise_image, runtime};

/// A normalisation for each band, none of whose steps can be left out.
fn per_band(bands: usize) -> [Vec<f64>; 3] {
    let list = |start: f64, step: f64| (0..bands).map(|band| start + step * band as f64).collect();
    [list(255.0, -13.7), list(0.485, -0.031), list(0.229, 0.0137)]
}

fn fusion(samples: DataType, [scale, mean, std]: &[Vec<f64>; 3], classes: Option<FusedClasses>) -> Fusion {
    Fusion { samples, scale: scale.clone(), mean: mean.clone(), std: std.clone(), classes }
}

fn decided(channels: usize) -> FusedClasses {
    FusedClasses { channels, data_type: DataType::U8, nodata: 255, threshold: 0.5, sigmoid: true }
}

/// Options that score an image in one tile, as one run does.
fn in_one_tile(size: Size, [scale, mean, std]: &[Vec<f64>; 3]) -> SegmentOptions {
    let mut options = SegmentOptions::default();
    (options.scale, options.mean, options.std) = (Some(scale.clone()), Some(mean.clone()), Some(std.clone()));
    options.blend = Blend::Crop;
    options.tile = Some(size);
    options.overlap = Overlap::Share(0.0);
    options.threads = 1;
    options
}

fn session(bytes: &[u8]) -> Session {
    let mut options = SessionOptions::default();
    options.threads = 1;
    Session::new(runtime(), bytes, &options).unwrap()
}

fn raw(image: SamplesView<'_>) -> Samples {
    match image {
        SamplesView::U8(image) => u8::wrap(image.as_standard_layout().into_owned()),
        SamplesView::U16(image) => u16::wrap(image.as_standard_layout().into_owned()),
        SamplesView::I16(image) => i16::wrap(image.as_standard_layout().into_owned()),
        other => panic!("{:?}", other.data_type()),
    }
}

/// What the fused model gives for the image: shape and class numbers.
fn run(bytes: &[u8], image: SamplesView<'_>, output: &str) -> (Vec<usize>, Vec<f64>) {
    let image = raw(image);
    let [channels, height, width] = image.shape();
    let input = match &image {
        Samples::U8(image) => RawSamples::U8(image.as_slice().unwrap()),
        Samples::U16(image) => RawSamples::U16(image.as_slice().unwrap()),
        Samples::I16(image) => RawSamples::I16(image.as_slice().unwrap()),
        other => panic!("{:?}", other.data_type()),
    };
    let got = session(bytes).score_raw(input, [1, channels, height, width], output).unwrap();
    let values = match got.data() {
        OutputData::U8(values) => values.iter().map(|value| f64::from(*value)).collect(),
        OutputData::U16(values) => values.iter().map(|value| f64::from(*value)).collect(),
        OutputData::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        OutputData::F16(values) => values.iter().map(|value| value.to_f64()).collect(),
        other => panic!("{other:?}"),
    };
    (got.shape().to_vec(), values)
}

/// Scores the image with and without fusion and gives the classes, which are the same.
fn same_labels(
    what: &str,
    model: &Model,
    image: SamplesView<'_>,
    numbers: &[Vec<f64>; 3],
    classes: FusedClasses,
    change: impl Fn(&mut SegmentOptions),
) -> Vec<f64> {
    let output = model.contract().output().to_owned();
    let [_, height, width] = image.shape();
    let mut options = in_one_tile(Size::new(width, height), numbers);
    options.threshold = f64::from(classes.threshold);
    options.nodata = Some(f64::from(classes.nodata));
    options.data_type = Some(classes.data_type);
    change(&mut options);
    let expected = Segmenter::new(model, options).unwrap().array(image, None).unwrap();
    let bytes = fused(model.document(), &output, &fusion(image.data_type(), numbers, Some(classes))).unwrap();
    let (shape, got) = run(&bytes, image, &output);
    let [_, height, width] = expected.samples.shape();
    assert_eq!(shape, [1, 1, height, width], "{what}");
    let expected: Vec<f64> = expected.samples.to_f64().into_iter().collect();
    let wrong = got.iter().zip(&expected).filter(|(got, expected)| got != expected).count();
    assert_eq!(wrong, 0, "{what}: {wrong} of {} pixels", got.len());
    // What the file says is what it gives.
    let facts = Facts::of(&Document::from_bytes(bytes, &Limits::default()).unwrap());
    assert_eq!(facts.inputs[0].r#type, image.data_type().name());
    assert_eq!(facts.outputs[0].r#type, classes.data_type.name());
    got
}

fn network(element: ElementType, bands: i64, hidden: i64, channels: i64, opset: i64) -> Vec<u8> {
    let mut next = noise(bands as u64 + channels as u64);
    let mut weights = |graph: &mut GraphBuilder, name: &str, dims: &[i64]| {
        let values: Vec<f32> = (0..dims.iter().product::<i64>()).map(|_| (next() - 0.5) as f32).collect();
        let tensor = match element {
            ElementType::Float16 => {
                let bytes: Vec<u8> =
                    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
                TensorProto::raw(name, element, dims, bytes)
            }
            _ => TensorProto::from_f32(name, dims, &values),
        };
        graph.initializer(tensor)
    };
    let mut graph = GraphBuilder::new("network");
    graph.opset(opset);
    let shape = |channels: i64| [Dim::from("n"), Dim::Fixed(channels as u64), "h".into(), "w".into()];
    let x = graph.input("image", element, &shape(bands));
    let (w, b) = (weights(&mut graph, "w", &[hidden, bands, 3, 3]), weights(&mut graph, "b", &[hidden]));
    let v = weights(&mut graph, "v", &[channels, hidden, 1, 1]);
    let a = graph.node("Conv", &[&x, &w, &b]).ints("pads", &[1; 4]).output("a");
    let r = graph.node("Relu", &[&a]).output("r");
    // A second output that uses the first one's values, and a name that fusing would like to give.
    let extra = graph.node("Tanh", &[&r]).output("logits_scores");
    let y = graph.node("Conv", &[&r, &v]).output("logits");
    let other = graph.node("Neg", &[&y]).output("other");
    graph.output(&y, element, &shape(channels));
    graph.output(&extra, element, &shape(hidden)).output(&other, element, &shape(channels));
    graph.finish().unwrap()
}

/// Scores taken from tables by the number of the sample: any float can be a score.
fn lookup(tables: &[Vec<f32>]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("lookup");
    let shape = |channels: u64| [Dim::from("n"), Dim::Fixed(channels), "h".into(), "w".into()];
    let x = graph.input("image", ElementType::Float32, &shape(1));
    let number = graph.node("Cast", &[&x]).int("to", i64::from(ElementType::Int64.number())).output("number");
    let scores: Vec<String> = tables
        .iter()
        .map(|table| {
            let table = graph.initializer_f32("table", &[table.len() as i64], table);
            graph.node("Gather", &[&table, &number]).output("score")
        })
        .collect();
    let scores: Vec<&str> = scores.iter().map(String::as_str).collect();
    let y = graph.node("Concat", &scores).int("axis", 1).output("logits");
    graph.output(&y, ElementType::Float32, &shape(tables.len() as u64));
    graph.finish().unwrap()
}

/// An image of one row that has the numbers `0..count` in one band.
fn counting(count: usize) -> Array3<u16> {
    Array3::from_shape_fn((1, 1, count), |(_, _, x)| x as u16)
}

const AS_THEY_ARE: fn() -> [Vec<f64>; 3] = || [vec![1.0], vec![0.0], vec![1.0]];

#[test]
fn networks_give_the_same_labels() {
    let goldens = [("conv.onnx", 5, [131, 150]), ("stride.onnx", 3, [128, 148])];
    for (name, channels, [height, width]) in goldens {
        let model = Model::open(runtime(), golden(name), &ModelOptions::default()).unwrap();
        let picture = golden_picture("image.png").slice_move(ndarray::s![.., ..height, ..width]);
        let random: Array3<u8> = noise_image([3, height, width], 5, 255.0);
        let wide: Array3<u16> = noise_image([3, height, width], 6, 65_535.0);
        let signed: Array3<i16> = wide.mapv(|value| (i32::from(value) - 32_768) as i16);
        for numbers in [per_band(3), [vec![255.0], vec![0.5], vec![0.25]], [vec![1.0], vec![9.5], vec![1.0]]]
        {
            let views: [SamplesView<'_>; 4] =
                [picture.view().into(), random.view().into(), wide.view().into(), signed.view().into()];
            for image in views {
                let got = same_labels(name, &model, image, &numbers, decided(channels), |_| {});
                let several = got.iter().any(|class| *class != got[0]);
                assert!(several || numbers[0] != per_band(3)[0], "{name}: one class everywhere");
            }
        }
    }
    for element in [ElementType::Float32, ElementType::Float16] {
        for (bands, channels, opset) in [(3, 4, 17), (4, 1, 17), (2, 1, 12), (1, 7, 12), (3, 2, 21)] {
            let model = model(network(element, bands, 6, channels, opset));
            let what = format!("{element:?}, {bands} bands, {channels} channels, operator set {opset}");
            let image: Array3<u8> = noise_image([bands as usize, 67, 93], 3, 255.0);
            let numbers = per_band(bands as usize);
            let mut classes = decided(channels as usize);
            for threshold in [0.5, 0.37] {
                classes.threshold = threshold;
                same_labels(&what, &model, image.view().into(), &numbers, classes, |_| {});
            }
        }
    }
}

#[test]
fn all_samples_are_normalised_to_the_same_bits() {
    // 65,536 samples in each of three bands, and the bytes among them.
    let all = Array3::from_shape_fn((3, 256, 256), |(_, y, x)| (y * 256 + x) as u16);
    let signed = all.mapv(|value| value as i16);
    let bytes = Array3::from_shape_fn((3, 16, 16), |(_, y, x)| (y * 16 + x) as u8);
    let document =
        Document::from_bytes(network(ElementType::Float32, 3, 2, 2, 17), &Limits::default()).unwrap();
    let identity = Document::from_bytes(identity_network(3), &Limits::default()).unwrap();
    for numbers in [
        per_band(3),
        AS_THEY_ARE(),
        [vec![10_000.0], vec![0.0], vec![1.0]],
        [vec![1.0], vec![123.675, 116.28, 103.53], vec![58.395, 57.12, 57.375]],
        [vec![3.0], vec![-0.0], vec![-0.1, 7.0, 1.0]],
    ] {
        let normalisation =
            Normalisation::new(numbers[0].clone(), numbers[1].clone(), numbers[2].clone()).unwrap();
        let views: [SamplesView<'_>; 3] = [all.view().into(), signed.view().into(), bytes.view().into()];
        for image in views {
            let [c, h, w] = image.shape();
            let mut values = vec![0f32; c * h * w];
            normalisation.apply(&image, &[], &mut values).unwrap();
            let fusion = fusion(image.data_type(), &numbers, None);
            let (shape, got) = run(&fused(&identity, "logits", &fusion).unwrap(), image, "logits");
            assert_eq!(shape, [1, c, h, w]);
            for (got, expected) in got.iter().zip(&values) {
                assert_eq!((*got as f32).to_bits(), expected.to_bits());
            }
            // And the network makes the same of them.
            let (_, got) = run(&fused(&document, "logits", &fusion).unwrap(), image, "logits");
            let expected = session(document.bytes()).score(&values, [1, c, h, w], "logits").unwrap();
            let OutputData::F32(expected) = expected.data() else { panic!("floats") };
            assert!(got.iter().zip(expected).all(|(got, expected)| *got as f32 == *expected));
        }
    }
}

#[test]
fn ties_infinities_and_nan_are_decided_as_without_fusion() {
    let special = [f32::NAN, f32::NEG_INFINITY, -2.5, -0.0, 0.0, 1e-40, 3.0, f32::MAX, f32::INFINITY];
    let count = special.len().pow(4);
    let tables: Vec<Vec<f32>> = (0..4)
        .map(|channel| {
            (0..count).map(|at| special[at / special.len().pow(channel) % special.len()]).collect()
        })
        .collect();
    let image = counting(count);
    let model = model(lookup(&tables));
    let got = same_labels("four", &model, image.view().into(), &AS_THEY_ARE(), decided(4), |_| {});
    // By the definition: the first of those that no other is greater than, NaN apart.
    for (at, got) in got.iter().enumerate() {
        let best = (0..4)
            .filter(|channel| !tables[*channel][at].is_nan())
            .find(|channel| !tables.iter().any(|other| other[at] > tables[*channel][at]));
        assert_eq!(*got, best.map_or(255.0, |channel| channel as f64), "{at}");
    }
    assert_eq!(got.iter().filter(|class| **class == 255.0).count(), 1);
    let mut classes = decided(4);
    for (data_type, nodata) in [(DataType::U8, 77), (DataType::U16, 4), (DataType::U16, 65_535)] {
        (classes.data_type, classes.nodata) = (data_type, nodata);
        let got = same_labels("four", &model, image.view().into(), &AS_THEY_ARE(), classes, |_| {});
        assert_eq!(got[0], f64::from(nodata));
    }
}

#[test]
fn thresholds_part_scores_where_they_do_without_fusion() {
    let mut classes = decided(1);
    for threshold in [0.0f32, 1e-6, 0.25, 0.5, 0.731, 0.999_999, 1.0] {
        // Scores close around the place where the sigmoid reaches the threshold, and all over the line.
        let edge = (f64::from(threshold) / (1.0 - f64::from(threshold))).ln() as f32;
        let mut table = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-8, -1e-8, f32::MAX];
        for centre in [edge, threshold].into_iter().filter(|centre| centre.is_finite()) {
            let (mut up, mut down) = (centre, centre);
            for _ in 0..500 {
                table.extend([up, down]);
                (up, down) = (up.next_up(), down.next_down());
            }
            table.extend((-2000..2000).map(|step| centre + step as f32 * 1e-8));
        }
        table.extend((-1000..1000).map(|step| step as f32 / 10.0));
        let image = counting(table.len());
        let model = model(lookup(&[table]));
        for data_type in [DataType::U8, DataType::U16] {
            classes = FusedClasses { threshold, data_type, ..classes };
            let what = format!("threshold {threshold}");
            for (sigmoid, activation) in [(true, Activation::Sigmoid), (false, Activation::None)] {
                let classes = FusedClasses { sigmoid, ..classes };
                let got =
                    same_labels(&what, &model, image.view().into(), &AS_THEY_ARE(), classes, |options| {
                        options.activation = activation;
                    });
                assert_eq!(got[0], 255.0);
                assert!(got[1..].iter().all(|class| [0.0, 1.0].contains(class)));
                assert!(got.contains(&0.0) && (got.contains(&1.0) || threshold == 1.0));
            }
        }
    }
}

#[test]
fn many_classes_and_several_tiles_at_once() {
    let tables: Vec<Vec<f32>> = (0..300)
        .map(|class| (0..900).map(|at| ((at * 7919 + class * 104_729) % 8191) as f32).collect())
        .collect();
    let classes = FusedClasses { data_type: DataType::U16, nodata: 65_535, ..decided(300) };
    let image = counting(900);
    let model = model(lookup(&tables));
    let got = same_labels("300", &model, image.view().into(), &AS_THEY_ARE(), classes, |_| {});
    assert!(got.iter().any(|class| *class > 255.0));

    // Two tiles in a batch give what each gives alone.
    let document = Document::open(golden("conv.onnx"), &Limits::default()).unwrap();
    let bytes = fused(&document, "logits", &fusion(DataType::U8, &per_band(3), Some(decided(5)))).unwrap();
    let tiles: [Array3<u8>; 2] = [noise_image([3, 40, 33], 1, 255.0), noise_image([3, 40, 33], 2, 255.0)];
    let both: Vec<u8> = tiles.iter().flatten().copied().collect();
    let got = session(&bytes).score_raw(RawSamples::U8(&both), [2, 3, 40, 33], "logits").unwrap();
    assert_eq!(got.shape(), [2, 1, 40, 33]);
    let OutputData::U8(got) = got.data() else { panic!("bytes") };
    for (tile, got) in tiles.iter().zip(got.chunks(40 * 33)) {
        let (_, expected) = run(&bytes, tile.view().into(), "logits");
        assert!(got.iter().zip(&expected).all(|(got, expected)| f64::from(*got) == *expected));
    }
}

#[test]
fn a_half_precision_model_is_fed_its_largest_value_at_most() {
    let shape = [Dim::from("n"), Dim::Fixed(1), "h".into(), "w".into()];
    let mut graph = GraphBuilder::new("halves");
    let x = graph.input("image", ElementType::Float16, &shape);
    let y = graph.node("Identity", &[&x]).output("y");
    graph.output(&y, ElementType::Float16, &shape);
    let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
    let all = Array3::from_shape_fn((1, 256, 256), |(_, y, x)| (y * 256 + x) as u16);
    for numbers in [AS_THEY_ARE(), [vec![7.0], vec![3.0], vec![0.01]], [vec![255.0], vec![0.4], vec![0.3]]] {
        let normalisation =
            Normalisation::new(numbers[0].clone(), numbers[1].clone(), numbers[2].clone()).unwrap();
        let mut values = vec![0f32; all.len()];
        normalisation.apply(&all.view().into(), &[], &mut values).unwrap();
        let expected = session(document.bytes()).score(&values, [1, 1, 256, 256], "y").unwrap();
        let OutputData::F16(expected) = expected.data() else { panic!("halves") };
        let bytes = fused(&document, "y", &fusion(DataType::U16, &numbers, None)).unwrap();
        let (_, got) = run(&bytes, all.view().into(), "y");
        assert!(got.iter().zip(expected).all(|(got, expected)| *got == expected.to_f64()));
        assert!(got.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn what_the_output_does_not_need_is_gone_and_what_does_nothing_is_not_added() {
    let document =
        Document::from_bytes(network(ElementType::Float32, 3, 2, 4, 17), &Limits::default()).unwrap();
    let facts = |fusion: &Fusion| {
        let bytes = fused(&document, "logits", fusion).unwrap();
        Facts::of(&Document::from_bytes(bytes, &Limits::default()).unwrap())
    };
    let plain = facts(&fusion(DataType::U8, &AS_THEY_ARE(), None));
    let operators = |facts: &Facts| -> Vec<(String, u64)> {
        facts.operators.iter().map(|(name, count)| (name.clone(), *count)).collect()
    };
    let count = |name: &str, count: u64| (name.to_owned(), count);
    assert_eq!(operators(&plain), [count("Cast", 1), count("Conv", 2), count("Relu", 1)]);
    assert_eq!(plain.outputs.len(), 1);
    assert_eq!(plain.inputs[0].shape, Facts::of(&document).inputs[0].shape);
    let whole = facts(&fusion(DataType::U8, &per_band(3), Some(decided(4))));
    let expected = [
        count("Cast", 1),
        count("Conv", 2),
        count("Div", 2),
        count("GreaterOrEqual", 4),
        count("Relu", 1),
        count("Split", 1),
        count("Sub", 1),
        count("Where", 7),
    ];
    assert_eq!(operators(&whole), expected);
    // The same bytes each time.
    let fusion = fusion(DataType::U8, &per_band(3), Some(decided(4)));
    assert_eq!(fused(&document, "logits", &fusion).unwrap(), fused(&document, "logits", &fusion).unwrap());
}

#[test]
fn what_cannot_be_fused_is_refused() {
    let document = |bytes: Vec<u8>| Document::from_bytes(bytes, &Limits::default()).unwrap();
    let conv = document(network(ElementType::Float32, 3, 2, 4, 17));
    let good = fusion(DataType::U8, &per_band(3), Some(decided(4)));
    let kind = |document: &Document, output: &str, fusion: &Fusion| {
        let error = fused(document, output, fusion).unwrap_err();
        assert!(!error.message().is_empty() && !error.message().contains('\n'));
        error.kind()
    };
    assert!(fused(&conv, "logits", &good).is_ok());
    assert_eq!(kind(&conv, "nothing", &good), ErrorKind::InvalidArgument);
    let with = |change: &dyn Fn(&mut Fusion)| {
        let mut fusion = good.clone();
        change(&mut fusion);
        kind(&conv, "logits", &fusion)
    };
    use ErrorKind::{InvalidArgument, Mismatch, ModelUnsupported};
    assert_eq!(with(&|fusion| fusion.samples = DataType::F32), InvalidArgument);
    assert_eq!(with(&|fusion| fusion.scale = vec![]), InvalidArgument);
    assert_eq!(with(&|fusion| fusion.std = vec![1.0; 2]), InvalidArgument);
    // Not finite in f32, though finite in f64.
    assert_eq!(with(&|fusion| fusion.scale = vec![1e-60]), InvalidArgument);
    assert_eq!(with(&|fusion| fusion.mean = vec![f64::NAN]), InvalidArgument);
    assert_eq!(
        with(&|fusion| {
            for list in [&mut fusion.scale, &mut fusion.mean, &mut fusion.std] {
                list.push(1.0);
            }
        }),
        Mismatch
    );
    let classes =
        |change: &dyn Fn(&mut FusedClasses)| with(&|fusion| change(fusion.classes.as_mut().unwrap()));
    assert_eq!(classes(&|classes| classes.channels = 3), Mismatch);
    assert_eq!(classes(&|classes| classes.nodata = 3), InvalidArgument);
    assert_eq!(classes(&|classes| classes.nodata = 256), InvalidArgument);
    assert_eq!(classes(&|classes| classes.data_type = DataType::F32), InvalidArgument);
    assert_eq!(classes(&|classes| classes.channels = 0), InvalidArgument);
    assert_eq!(
        classes(&|classes| {
            classes.channels = MOST_FUSED_CLASSES + 1;
            (classes.data_type, classes.nodata) = (DataType::U16, 65_535);
        }),
        ModelUnsupported
    );
    let old = document(network(ElementType::Float32, 3, 2, 4, 11));
    let error = fused(&old, "logits", &good).unwrap_err();
    assert_eq!(error.kind(), ModelUnsupported);
    assert!(error.message().contains("needs operator set 12") && error.message().contains("has 11"));
    assert!(fused(&old, "logits", &Fusion { classes: None, ..good.clone() }).is_ok());
    let older = document(network(ElementType::Float32, 3, 2, 4, 10));
    assert_eq!(kind(&older, "logits", &Fusion { classes: None, ..good.clone() }), ModelUnsupported);

    // Samples of another type than the model takes.
    let bytes = fused(&conv, "logits", &good).unwrap();
    let error = session(&bytes).score_raw(RawSamples::U16(&[0; 12]), [1, 3, 2, 2], "logits").unwrap_err();
    assert_eq!((error.kind(), error.tensor()), (Mismatch, Some("image")));
    let error =
        session(conv.bytes()).score_raw(RawSamples::U8(&[0; 12]), [1, 3, 2, 2], "logits").unwrap_err();
    assert_eq!(error.kind(), Mismatch);
    let error = session(&bytes).score(&[0.0; 12], [1, 3, 2, 2], "logits").unwrap_err();
    assert_eq!(error.kind(), ModelUnsupported);
    assert!(session(&bytes).score_raw(RawSamples::U8(&[0; 11]), [1, 3, 2, 2], "logits").is_err());
}

/// Real networks, where a folder with them is named.
#[test]
fn real_networks_give_the_same_labels() {
    let Some(folder) = std::env::var_os("GLEBE_TEST_MODELS") else { return };
    let image: Array3<u8> = noise_image([3, 128, 128], 8, 255.0);
    // Smooth, as rasters are: noise alone leaves a network at the edge of its decisions.
    let image = Array3::from_shape_fn(image.dim(), |(c, y, x)| {
        image[[c, y / 16 * 16, x / 16 * 16]] / 2 + (x + y) as u8 / 2
    });
    for name in ["tiny", "deeplab_mnv2", "segformer_b0", "unet_r18"] {
        let path = std::path::Path::new(&folder).join(format!("{name}.dynamic.onnx"));
        let model = Model::open(runtime(), &path, &ModelOptions::default()).unwrap();
        let numbers = [vec![255.0], vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]];
        same_labels(name, &model, image.view().into(), &numbers, decided(5), |_| {});
    }
}
