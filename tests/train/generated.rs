//! Numbers that Rust and Python (`tests/golden/parity/generated.py`, which says what they are) make alike, to the bit,
//! out of a name and an index.

/// Entries of a gradient that the goldens have.
pub(crate) const PLACES: usize = 8;
/// Images are interpolated from a lattice of one point more than this a side.
const CELLS: usize = 8;
const BANDS: usize = 3;

/// The stream of a name: splitmix64, seeded by the name's FNV-1a hash.
#[derive(Debug, Clone)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn of(name: &str) -> Stream {
        let hash = |value: u64, byte: u8| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        Stream(name.bytes().fold(0xCBF2_9CE4_8422_2325, hash))
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A whole number of so many bits, with its sign.
    fn whole(&mut self, bits: u32) -> i64 {
        (self.draw() >> (64 - bits)) as i64 - (1 << (bits - 1))
    }
}

/// What weights are made of: offset and scale, and every how many-th has the other sign (none for 0).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) offset: f32,
    pub(crate) scale: f32,
    pub(crate) period: usize,
}

impl Recipe {
    /// Out of an initializer's text.
    pub(crate) fn read(text: &str) -> Option<Recipe> {
        let mut words = text.split(' ');
        let offset = words.next()?.parse().ok()?;
        let scale = words.next()?.parse().ok()?;
        Some(Recipe { offset, scale, period: words.next()?.parse().ok()? })
    }

    /// The weights of a name.
    pub(crate) fn weights(self, name: &str, count: usize) -> Vec<f32> {
        let mut stream = Stream::of(name);
        let unit = 2.0f32.powi(-23);
        let weight = |index: usize| {
            let weight = self.offset + self.scale * (stream.whole(24) as f32 * unit);
            if self.period > 0 && (index + 1).is_multiple_of(self.period) { -weight } else { weight }
        };
        (0..count).map(weight).collect()
    }
}

/// Of float32's bits: the sum of entry i times 2 i + 1.
pub(crate) fn checksum(values: &[f32]) -> u64 {
    let terms = (0u64..).zip(values).map(|(i, value)| u64::from(value.to_bits()).wrapping_mul(2 * i + 1));
    terms.fold(0, u64::wrapping_add)
}

/// Four sums of the entries, each with signs of its own.
pub(crate) fn projections(name: &str, values: impl Iterator<Item = f64>) -> [f64; 4] {
    let mut stream = Stream::of(&format!("signs of {name}"));
    let mut sums = [0.0; 4];
    for value in values {
        let signs = stream.draw() >> 60;
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum += if signs >> (3 - k) & 1 == 1 { -value } else { value };
        }
    }
    sums
}

/// Which entries of a gradient of so many the goldens have: all, where there are no more than [`PLACES`].
pub(crate) fn places(name: &str, size: usize) -> Vec<usize> {
    if size <= PLACES {
        return (0..size).collect();
    }
    let mut stream = Stream::of(&format!("places of {name}"));
    (0..PLACES).map(|_| (stream.draw() % size as u64) as usize).collect()
}

/// Images `[count, 3, size, size]` and labels `[count, size, size]`.
pub(crate) fn batch(number: u64, count: usize, size: usize) -> (Vec<f32>, Vec<u8>) {
    let step = size / CELLS;
    let stream = |what: &str| Stream::of(&format!("{what} {number}"));
    let (mut lattices, mut shifts, mut noise) = (stream("lattice"), stream("shift"), stream("noise"));
    let mut ignored = stream("ignored");
    let mut images: Vec<i64> = Vec::with_capacity(count * BANDS * size * size);
    for _ in 0..count * BANDS {
        let shift = shifts.whole(6);
        let lattice: Vec<i64> = (0..(CELLS + 1).pow(2)).map(|_| lattices.whole(8) + shift).collect();
        for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
            let between = |at: usize| (at % step) as i64;
            let row = |x: usize| {
                let point = |y: usize| lattice[y * (CELLS + 1) + x];
                point(y / step) * (step as i64 - between(y)) + point(y / step + 1) * between(y)
            };
            let sum = row(x / step) * (step as i64 - between(x)) + row(x / step + 1) * between(x);
            images.push(sum.div_euclid((step * step) as i64) + noise.whole(5));
        }
    }
    let mut labels = Vec::with_capacity(count * size * size);
    for (index, image) in images.chunks_exact(BANDS * size * size).enumerate() {
        for pixel in 0..size * size {
            let band = |band: usize| image[band * size * size + pixel];
            let score = band(0) + ((band(1) * band(2)) >> 7);
            let class = [-96, -32, 32, 96].iter().filter(|edge| score > **edge).count() as u8;
            let hidden = number % 4 == 1 && index == 0 && pixel < size / 4 * size;
            labels.push(if ignored.draw() >> 56 < 13 || hidden { 255 } else { class });
        }
    }
    (images.into_iter().map(|pixel| pixel as f32 / 64.0).collect(), labels)
}
