//! The stages that a tile goes through beside the model, each with bytes a second: `cargo bench --bench stages [-- NAME]`.
//!
//! In each group the first is glebe's own; `plain` is the loop that one writes down first, in one thread as well, and
//! `copy` is what memory allows. Tiles are of 512 x 512 pixels, networks of 5 classes. Bytes are those of the samples that
//! go in, for `encode` and `decode` those of the raster without compression.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use glebe::DataType;
use glebe::geometry::{Band, Padding, Size, Window};
use glebe::model::Normalisation;
use glebe::raster::{Compression, Format, OpenOptions, Raster, RasterWriter, WriteSpec};
use glebe::tensor::SamplesView;
use glebe::tiling::{Accumulator, Blend, Lanes, Plan};
use ndarray::{Array3, ArrayView3, s};

/// The loops themselves: they are no part of the public interface, so their files are compiled here once more.
#[path = "../src/tensor"]
#[allow(dead_code, unused_imports, reason = "their unit tests, and what only the library calls")]
mod tensor {
    pub(crate) mod activation;
    pub(crate) mod code;
    pub(crate) mod vectorised;
}

const TILE: usize = 512;
const PIXELS: usize = TILE * TILE;
const CLASSES: usize = 5;
const RASTER: usize = 2048;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    decode(&mut criterion);
    normalise(&mut criterion);
    softmax(&mut criterion);
    argmax(&mut criterion);
    quantise(&mut criterion);
    blend(&mut criterion);
    encode(&mut criterion);
    criterion.final_summary();
}

/// Tiles that share a quarter, weighted and summed; `plain` keeps sums and weights of the whole map.
fn blend(criterion: &mut Criterion) {
    let plan = Plan::new(Size::new(RASTER, RASTER), Size::new(TILE, TILE), (TILE / 4, TILE / 4), 1).unwrap();
    let lanes = Lanes::new(&plan, Blend::Gaussian, plan.x().len());
    let values = logits();
    let steps = lanes.len() as usize;
    let mut group = group(criterion, "blend", steps * CLASSES * PIXELS * 4);
    group.bench_function("glebe", |bench| {
        bench.iter_batched_ref(
            || Accumulator::new(&plan, &lanes, CLASSES, Blend::Gaussian).unwrap(),
            |sums| {
                for step in 0..lanes.len() {
                    black_box(sums.add(&lanes.step(step), values.view()).unwrap());
                }
            },
            BatchSize::LargeInput,
        );
    });
    let window: Vec<f32> = (0..TILE)
        .map(|at| {
            let from_centre = (at as f32 + 0.5 - TILE as f32 / 2.0) / (TILE as f32 / 8.0);
            (-0.5 * from_centre * from_centre).exp().max(1e-6)
        })
        .collect();
    group.bench_function("plain", |bench| {
        bench.iter_batched_ref(
            || (Array3::<f32>::zeros((CLASSES, RASTER, RASTER)), Array3::<f32>::zeros((1, RASTER, RASTER))),
            |(sums, weights)| {
                for step in 0..lanes.len() {
                    let own = lanes.step(step).tile.window;
                    let (y, x) = (own.y as usize, own.x as usize);
                    for c in 0..CLASSES {
                        for (i, j) in (0..own.height).flat_map(|i| (0..own.width).map(move |j| (i, j))) {
                            sums[[c, y + i, x + j]] += values[[c, i, j]] * window[i] * window[j];
                            if c == 0 {
                                weights[[0, y + i, x + j]] += window[i] * window[j];
                            }
                        }
                    }
                }
                *sums /= &*weights;
            },
            BatchSize::LargeInput,
        );
    });
    let mut copy = values.clone();
    group.bench_function("copy", |bench| {
        bench.iter(|| {
            for _ in 0..steps {
                copy.assign(black_box(&values));
            }
        });
    });
    group.finish();
}

fn group<'c>(criterion: &'c mut Criterion, name: &str, bytes: usize) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group
}

/// Whole numbers below 2²⁴ without an order.
fn numbers() -> impl FnMut() -> u32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    }
}

/// Logits from -8 to 8, `[C, H, W]`.
fn logits() -> Array3<f32> {
    let mut number = numbers();
    Array3::from_shape_simple_fn((CLASSES, TILE, TILE), || number() as f32 / (1u32 << 20) as f32 - 8.0)
}

/// Something like a picture: soft shapes with a little noise, so that it can be compressed about as well as one.
fn picture(bands: usize, side: usize) -> Array3<u8> {
    let mut number = numbers();
    Array3::from_shape_fn((bands, side, side), |(c, y, x)| {
        let (y, x) = (y as f32 / 60.0, x as f32 / 45.0);
        let shape = (y + c as f32).sin() * (x * 0.7).cos() + (x * y * 0.02).sin();
        (120.0 + 50.0 * shape) as u8 + (number() % 8) as u8
    })
}

/// A map of classes: areas with borders.
fn map(side: usize) -> Array3<u8> {
    Array3::from_shape_fn((1, side, side), |(_, y, x)| {
        let (y, x) = (y as f32 / 60.0, x as f32 / 45.0);
        ((y.sin() * (x * 0.7).cos() + 1.0) * 2.49) as u8
    })
}

fn write(path: &Path, samples: SamplesView<'_>, compression: Compression) {
    let [bands, height, width] = samples.shape();
    let mut spec = WriteSpec::new(Size::new(width, height), bands, DataType::U8);
    (spec.format, spec.compression, spec.overwrite) = (Format::GTiff, compression, true);
    let mut writer = RasterWriter::create(path, spec).unwrap();
    let SamplesView::U8(samples) = samples else { unreachable!("bytes") };
    for window in windows() {
        let (y, x) = (window.y as usize, window.x as usize);
        let part = samples.slice(s![.., y..y + TILE, x..x + TILE]);
        writer.write(window, part.into()).unwrap();
    }
    writer.finish().unwrap();
}

fn windows() -> impl Iterator<Item = Window> {
    let starts = || (0..RASTER as i64).step_by(TILE);
    starts().flat_map(move |y| starts().map(move |x| Window::new(x, y, TILE, TILE)))
}

fn decode(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let samples = picture(3, RASTER);
    let read = |raster: &Raster| {
        for window in windows() {
            black_box(raster.read(&Band::first(3), window, Padding::Reflect).unwrap());
        }
    };
    let mut group = group(criterion, "decode", samples.len());
    for compression in [Compression::Deflate, Compression::None] {
        let path = folder.path().join(format!("{compression}.tif"));
        write(&path, samples.view().into(), compression);
        // Opened each time, or all would be in GDAL's cache.
        group.bench_function(compression.to_string(), |bencher| {
            bencher.iter(|| read(&Raster::open(&path, &OpenOptions::default()).unwrap()));
        });
    }
    let mut copy = samples.clone();
    group.bench_function("copy", |bencher| bencher.iter(|| copy.assign(black_box(&samples))));
}

fn normalise(criterion: &mut Criterion) {
    let normalisation =
        Normalisation::new(vec![255.0], vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]).unwrap();
    let mut number = numbers();
    let bytes = Array3::from_shape_simple_fn((3, TILE, TILE), || number() as u8);
    let words = Array3::from_shape_simple_fn((3, TILE, TILE), || number() as u16);
    let floats = words.mapv(f32::from);
    let mut out = vec![0f32; 3 * PIXELS];
    let blocks: [(&str, usize, SamplesView<'_>); 3] = [
        ("uint8", 1, bytes.view().into()),
        ("uint16", 2, words.view().into()),
        ("float32", 4, floats.view().into()),
    ];
    for (name, size, block) in blocks {
        let mut group = group(criterion, &format!("normalise {name}"), size * 3 * PIXELS);
        group.bench_function("glebe", |bencher| {
            bencher.iter(|| normalisation.apply(black_box(&block), &[], &mut out).unwrap());
        });
        let at = |values: &[f64], band: usize| values[band % values.len()] as f32;
        group.bench_function("plain", |bencher| {
            bencher.iter(|| {
                for (band, out) in out.chunks_exact_mut(PIXELS).enumerate() {
                    let (scale, mean, std) = (
                        at(normalisation.scale(), band),
                        at(normalisation.mean(), band),
                        at(normalisation.std(), band),
                    );
                    let one = |sample: f32| (sample / scale - mean) / std;
                    match black_box(&block) {
                        SamplesView::U8(block) => plain(block, band, out, one),
                        SamplesView::U16(block) => plain(block, band, out, one),
                        SamplesView::F32(block) => plain(block, band, out, one),
                        _ => unreachable!("one of the three"),
                    }
                }
            });
        });
        let floats = floats.as_slice().unwrap();
        group.bench_function("copy", |bencher| bencher.iter(|| out.copy_from_slice(black_box(floats))));
    }
}

/// A band, sample by sample.
fn plain<T: Copy + Into<f32>>(
    block: &ArrayView3<'_, T>,
    band: usize,
    out: &mut [f32],
    one: impl Fn(f32) -> f32,
) {
    for ((y, x), sample) in block.index_axis(ndarray::Axis(0), band).indexed_iter() {
        out[y * TILE + x] = one((*sample).into());
    }
}

fn softmax(criterion: &mut Criterion) {
    let logits = logits();
    let mut group = group(criterion, "softmax", 4 * CLASSES * PIXELS);
    group.bench_function("glebe", |bencher| {
        let run = |mut values: Array3<f32>| {
            for mut line in values.axis_iter_mut(ndarray::Axis(1)) {
                let mut rows: Vec<_> = line.outer_iter_mut().map(|row| row.into_slice().unwrap()).collect();
                tensor::activation::softmax(&mut rows);
            }
            values
        };
        bencher.iter_batched(|| logits.clone(), run, BatchSize::LargeInput);
    });
    group.bench_function("plain", |bencher| {
        let run = |mut values: Array3<f32>| {
            for mut pixel in values.lanes_mut(ndarray::Axis(0)) {
                let greatest = pixel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                pixel.mapv_inplace(|value| (value - greatest).exp());
                let sum = pixel.sum();
                pixel.mapv_inplace(|value| value / sum);
            }
            values
        };
        bencher.iter_batched(|| logits.clone(), run, BatchSize::LargeInput);
    });
    group.bench_function("copy", |bencher| {
        bencher.iter_batched_ref(
            || logits.clone(),
            |values| values.assign(black_box(&logits)),
            BatchSize::LargeInput,
        );
    });
}

fn argmax(criterion: &mut Criterion) {
    let logits = logits();
    let mut classes = vec![0u8; PIXELS];
    let mut group = group(criterion, "argmax", 4 * CLASSES * PIXELS);
    group.bench_function("glebe", |bencher| {
        bencher.iter(|| {
            for (line, out) in
                black_box(&logits).axis_iter(ndarray::Axis(1)).zip(classes.chunks_exact_mut(TILE))
            {
                let rows: Vec<_> = line.outer_iter().map(|row| row.to_slice().unwrap()).collect();
                tensor::code::argmax(&rows, 255, out);
            }
        });
    });
    group.bench_function("plain", |bencher| {
        bencher.iter(|| {
            for (pixel, class) in black_box(&logits).lanes(ndarray::Axis(0)).into_iter().zip(&mut classes) {
                let mut best = 0;
                for (number, value) in pixel.iter().enumerate() {
                    if *value > pixel[best] {
                        best = number;
                    }
                }
                *class = best as u8;
            }
        });
    });
    let mut copy = logits.clone();
    group.bench_function("copy", |bencher| bencher.iter(|| copy.assign(black_box(&logits))));
}

fn quantise(criterion: &mut Criterion) {
    let probabilities = logits().mapv(|value| value / 16.0 + 0.5);
    let probabilities = probabilities.as_slice().unwrap();
    let mut steps = vec![0u8; CLASSES * PIXELS];
    let mut group = group(criterion, "quantise", 4 * CLASSES * PIXELS);
    group.bench_function("glebe", |bencher| {
        bencher.iter(|| tensor::code::quantise(black_box(probabilities), 254, 255, &mut steps));
    });
    group.bench_function("plain", |bencher| {
        bencher.iter(|| {
            for (step, p) in steps.iter_mut().zip(black_box(probabilities)) {
                *step = if p.is_nan() { 255 } else { (f64::from(*p).clamp(0.0, 1.0) * 254.0).round() as u8 };
            }
        });
    });
}

fn encode(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let classes = map(RASTER);
    let mut group = group(criterion, "encode", classes.len());
    for compression in [Compression::Deflate, Compression::Lzw, Compression::None] {
        let path = folder.path().join(format!("{compression}.tif"));
        group.bench_function(compression.to_string(), |bencher| {
            bencher.iter(|| write(&path, black_box(classes.view()).into(), compression));
        });
    }
}
