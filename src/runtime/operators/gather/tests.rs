//! Convolutions against plain sums in double precision, with every set of instructions that there is.

use super::{Finish, Gather};
use crate::runtime::operators::conv_shape::ConvShape;
use crate::runtime::operators::lanes::Instructions;
use crate::runtime::operators::parallel::{Buffers, Shared};

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.below(1 << 22) as f32 / (1 << 21) as f32 - 1.0).collect()
    }
}

fn all_instructions() -> Vec<Instructions> {
    let mut all = vec![Instructions::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        if Instructions::detect() == Instructions::Avx512 {
            all.push(Instructions::Avx512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(Instructions::Avx2);
        }
    }
    all
}

/// Every product of the convolution: of which elements of input, weight and output, as indices.
fn each(shape: &ConvShape, mut product: impl FnMut(usize, usize, usize)) {
    let (channels, filters) = (shape.group_channels(), shape.group_filters());
    let ([height, width], [rows, columns]) = (shape.input, shape.output);
    for (n, m) in (0..shape.images).flat_map(|n| (0..shape.filters).map(move |m| (n, m))) {
        for (c, tap) in (0..channels).flat_map(|c| (0..shape.taps()).map(move |tap| (c, tap))) {
            let (i, j) = (tap / shape.kernel[1], tap % shape.kernel[1]);
            let channel = n * shape.channels + m / filters * channels + c;
            for (r, q) in (0..rows).flat_map(|r| (0..columns).map(move |q| (r, q))) {
                let y = (r * shape.strides[0] + i * shape.dilations[0]).wrapping_sub(shape.pads[0]);
                let x = (q * shape.strides[1] + j * shape.dilations[1]).wrapping_sub(shape.pads[1]);
                if y < height && x < width {
                    product(
                        (channel * height + y) * width + x,
                        (m * channels + c) * shape.taps() + tap,
                        ((n * shape.filters + m) * rows + r) * columns + q,
                    );
                }
            }
        }
    }
}

fn computed(plan: &Gather, source: &[f32], weights: &[f32], finish: Finish<'_>, len: usize) -> Vec<f32> {
    let mut result = vec![f32::NAN; len];
    let mut packed = vec![f32::NAN; plan.packed()];
    {
        let packed = Shared::new(&mut packed);
        (0..plan.packs()).for_each(|part| plan.pack(part, weights, &packed));
    }
    let (shared, buffers) = (Shared::new(&mut result), Buffers::default());
    // In an order that no thread pool has either.
    (0..plan.parts()).rev().for_each(|part| plan.run(part, source, &packed, finish, &shared, &buffers));
    result
}

fn check(shape: &ConvShape, random: &mut Random) {
    let weights = random.values(shape.filters * shape.group_channels() * shape.taps());
    let x = random.values(shape.images * shape.channels * shape.input[0] * shape.input[1]);
    let dy = random.values(shape.images * shape.filters * shape.output[0] * shape.output[1]);
    let bias = random.values(shape.filters);
    // Sums, and the sums of the magnitudes that went into them.
    let (mut y, mut dx) = (vec![(0f64, 0f64); dy.len()], vec![(0f64, 0f64); x.len()]);
    each(shape, |at_x, at_w, at_y| {
        let add = |sum: &mut (f64, f64), a: f32| {
            let product = f64::from(a) * f64::from(weights[at_w]);
            *sum = (sum.0 + product, sum.1 + product.abs());
        };
        add(&mut y[at_y], x[at_x]);
        add(&mut dx[at_x], dy[at_y]);
    });
    let pixels = shape.output[0] * shape.output[1];
    let limits = random.pick(&[None, Some([-0.5, 1.5]), Some([0.0, f32::INFINITY])]);
    for instructions in all_instructions() {
        let mut first: Option<[Vec<f32>; 2]> = None;
        for threads in [1, 2, 5] {
            let forwards = Gather::forwards(shape, threads, instructions);
            let backwards = Gather::backwards(shape, threads, instructions);
            let finish = Finish { bias: Some(&bias), limits };
            let made = [
                computed(&forwards, &x, &weights, finish, y.len()),
                computed(&backwards, &dy, &weights, Finish::default(), dx.len()),
            ];
            if let Some(first) = &first {
                assert!(*first == made, "{shape:?} {instructions:?}: other bits with {threads} threads");
                continue;
            }
            for (at, (have, (sum, size))) in made[0].iter().zip(&y).enumerate() {
                let bias = f64::from(bias[at / pixels % shape.filters]);
                let [low, high] = limits.unwrap_or([f32::MIN, f32::MAX]);
                let want = (sum + bias).clamp(f64::from(low), f64::from(high));
                let error = (f64::from(*have) - want).abs();
                assert!(
                    error <= 1e-6 * (size + bias.abs()),
                    "{shape:?} {instructions:?} y[{at}]: {have} {want}"
                );
            }
            for (at, (have, (want, size))) in made[1].iter().zip(&dx).enumerate() {
                let error = (f64::from(*have) - want).abs();
                assert!(error <= 1e-6 * size, "{shape:?} {instructions:?} dx[{at}]: {have} {want}");
            }
            first = Some(made);
        }
    }
}

fn shape(
    [images, channels, filters, groups]: [usize; 4],
    input: [usize; 2],
    [kernel, strides, dilations]: [[usize; 2]; 3],
    pads: [usize; 4],
) -> Option<ConvShape> {
    let axis = |axis: usize| {
        let reach = dilations[axis] * (kernel[axis] - 1) + 1;
        Some((input[axis] + pads[axis] + pads[axis + 2]).checked_sub(reach)? / strides[axis] + 1)
    };
    Some(ConvShape {
        images,
        channels,
        filters,
        input,
        output: [axis(0)?, axis(1)?],
        kernel,
        strides,
        dilations,
        pads: [pads[0], pads[1]],
        groups,
    })
}

#[test]
fn usual_layers() {
    let random = &mut Random(7);
    let plain = |sizes: [usize; 4], size: usize, kernel: usize, stride: usize| {
        shape(sizes, [size; 2], [[kernel; 2], [stride; 2], [1; 2]], [kernel / 2; 4]).unwrap()
    };
    let cases = [
        plain([2, 5, 17, 1], 33, 3, 1),
        plain([1, 16, 16, 1], 64, 3, 1),
        // Wide enough for several blocks of channels.
        plain([1, 300, 9, 1], 8, 3, 1),
        plain([1, 200, 3, 1], 40, 3, 1),
        plain([2, 3, 8, 1], 45, 7, 2),
        plain([2, 70, 40, 1], 8, 1, 1),
        plain([2, 24, 40, 1], 16, 1, 1),
        plain([1, 6, 10, 1], 31, 2, 2),
        plain([2, 12, 5, 1], 33, 1, 2),
        plain([2, 40, 40, 40], 24, 3, 1),
        plain([1, 8, 16, 4], 18, 3, 1),
        shape([2, 6, 6, 6], [37; 2], [[3; 2], [2; 2], [2; 2]], [2; 4]).unwrap(),
        shape([1, 4, 9, 1], [20; 2], [[3; 2], [1; 2], [6; 2]], [6; 4]).unwrap(),
        shape([2, 3, 10, 1], [40; 2], [[4; 2], [4; 2], [1; 2]], [0; 4]).unwrap(),
        shape([1, 3, 4, 1], [21; 2], [[3; 2], [1; 2], [1; 2]], [0, 1, 2, 3]).unwrap(),
        shape([1, 2, 3, 1], [1, 600], [[3; 2], [1; 2], [1; 2]], [1; 4]).unwrap(),
    ];
    for case in cases {
        check(&case, random);
    }
}

#[test]
fn random_layers() {
    let random = &mut Random(42);
    let count = std::env::var("GLEBE_CASES").map_or(120, |count| count.parse().unwrap());
    let mut checked = 0;
    while checked < count {
        let groups = random.pick(&[1, 1, 1, 2, 3, 8]);
        let sizes = [
            1 + random.below(2),
            groups * random.pick(&[1, 1, 2, 5, 9]),
            groups * random.pick(&[1, 1, 2, 4, 7, 18]),
            groups,
        ];
        let input = [1 + random.below(30), random.pick(&[1, 3, 8, 15, 16, 17, 32, 50])];
        let of = [
            [random.pick(&[1, 2, 3, 5]), random.pick(&[1, 2, 3, 4])],
            [random.pick(&[1, 1, 2, 3]), random.pick(&[1, 1, 2, 4])],
            [random.pick(&[1, 1, 2, 3]), random.pick(&[1, 1, 2, 5])],
        ];
        let pads = std::array::from_fn(|_| random.pick(&[0, 1, 1, 2, 4]));
        if let Some(shape) = shape(sizes, input, of, pads) {
            check(&shape, random);
            checked += 1;
        }
    }
}

#[test]
fn what_is_no_number_is_not_cut_off() {
    let shape = shape([1, 1, 1, 1], [1, 3], [[1; 2]; 3], [0; 4]).unwrap();
    for instructions in all_instructions() {
        let plan = Gather::forwards(&shape, 1, instructions);
        let finish = Finish { bias: None, limits: Some([0.0, 6.0]) };
        let made = computed(&plan, &[f32::NAN, -1.0, f32::INFINITY], &[1.0], finish, 3);
        assert!(made[0].is_nan() && made[1..] == [0.0, 6.0], "{made:?}");
    }
}
