//! Random numbers that depend on a place only: the same seed gives the same scene, whatever its size and whichever
//! pixel is asked first.

/// A well-mixed number of a seed and a grid point.
pub(crate) fn hash(seed: u32, x: i32, y: i32) -> u32 {
    let mut bits =
        (u64::from(seed) << 32) ^ (u64::from(x as u32) << 16) ^ u64::from(y as u32).rotate_left(40);
    bits = bits.wrapping_add(u64::from(y as u32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 29)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (bits >> 32) as u32
}

/// Uniform in [0, 1) at a grid point.
pub(crate) fn unit(seed: u32, x: i32, y: i32) -> f32 {
    (hash(seed, x, y) >> 8) as f32 / (1 << 24) as f32
}

/// Roughly normal with standard deviation 1 at a grid point.
pub(crate) fn normal(seed: u32, x: i32, y: i32) -> f32 {
    let bits = hash(seed, x, y);
    let sum = (0..4).map(|part| ((bits >> (8 * part)) & 255) as f32).sum::<f32>();
    (sum / 255.0 - 2.0) * 3f32.sqrt()
}

/// Smooth noise in [-1, 1] with features of size 1.
pub(crate) fn value(seed: u32, x: f32, y: f32) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let ease = |part: f32| part * part * (3.0 - 2.0 * part);
    let (ex, ey) = (ease(x - x0), ease(y - y0));
    let (x0, y0) = (x0 as i32, y0 as i32);
    let mix = |a: f32, b: f32, part: f32| a + (b - a) * part;
    let upper = mix(unit(seed, x0, y0), unit(seed, x0 + 1, y0), ex);
    let lower = mix(unit(seed, x0, y0 + 1), unit(seed, x0 + 1, y0 + 1), ex);
    2.0 * mix(upper, lower, ey) - 1.0
}

/// Fractal noise, roughly in [-1, 1]: each octave is half as large and half as strong as the one before.
pub(crate) fn fractal(seed: u32, x: f32, y: f32, octaves: u32) -> f32 {
    let (mut sum, mut scale, mut strength) = (0.0, 1.0, 0.5);
    for octave in 0..octaves {
        sum += strength * value(seed.wrapping_add(octave * 7919), x * scale, y * scale);
        scale *= 2.03;
        strength *= 0.5;
    }
    sum * 1.4
}

/// The cell of the scattered point nearest to a place, the distance to that point, and how much further the next
/// one is. Points are a unit apart on average.
pub(crate) fn cells(seed: u32, x: f32, y: f32) -> ((i32, i32), f32, f32) {
    let (cell_x, cell_y) = (x.floor() as i32, y.floor() as i32);
    let (mut nearest, mut first, mut second) = ((cell_x, cell_y), f32::MAX, f32::MAX);
    for j in cell_y - 1..=cell_y + 1 {
        for i in cell_x - 1..=cell_x + 1 {
            let bits = hash(seed, i, j);
            let dx = i as f32 + (bits & 0xffff) as f32 / 65536.0 - x;
            let dy = j as f32 + (bits >> 16) as f32 / 65536.0 - y;
            let distance = dx * dx + dy * dy;
            if distance < first {
                (nearest, second, first) = ((i, j), first, distance);
            } else if distance < second {
                second = distance;
            }
        }
    }
    (nearest, first.sqrt(), second.sqrt() - first.sqrt())
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(crate) fn step(low: f32, high: f32, at: f32) -> f32 {
    let part = ((at - low) / (high - low)).clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}
