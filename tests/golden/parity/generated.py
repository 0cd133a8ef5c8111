"""Numbers that Python and Rust (tests/train/generated.rs) make alike, to the bit, out of a name and an index.

Entry i of the stream of a name is output i of splitmix64 seeded by the name's FNV-1a hash (64 bits, UTF-8). Weights,
images and labels take its upper bits; all that follows is whole numbers, or float32 operations that round once.
"""
import numpy as np

U64 = np.uint64
GOLDEN, MIX1, MIX2 = U64(0x9E3779B97F4A7C15), U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)
# entries of a gradient that are kept
PLACES = 8
# images are interpolated from a lattice of CELLS + 1 points a side
CELLS = 8
BANDS = 3


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return U64(value)


def stream(name, shape):
    """uint64 of this shape: the first entries of the name's stream, the last axis fastest."""
    with np.errstate(over="ignore"):
        x = fnv(name) + (np.arange(int(np.prod(shape)), dtype=U64) + U64(1)) * GOLDEN
        x = (x ^ (x >> U64(30))) * MIX1
        x = (x ^ (x >> U64(27))) * MIX2
        return (x ^ (x >> U64(31))).reshape(shape)


def whole(name, shape, bits):
    """Whole numbers from -2^(bits - 1) to 2^(bits - 1) - 1."""
    return (stream(name, shape) >> U64(64 - bits)).astype(np.int64) - 2 ** (bits - 1)


def weight(name, shape, offset, scale, period):
    """float32: offset + scale * u, u in [-1, 1) in steps of 2^-23; entries period - 1, 2 period - 1 ... with the other
    sign, none if the period is 0."""
    u = whole(name, shape, 24).astype(np.float32) * np.float32(2.0**-23)
    made = np.float32(offset) + np.float32(scale) * u
    if period:
        made.reshape(-1)[period - 1 :: period] *= -1
    return made


def checksum(array):
    """Of float32's bits: the sum of entry i times 2 i + 1."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).ravel().astype(U64)
    return int(np.sum(bits * (U64(2) * np.arange(bits.size, dtype=U64) + U64(1)), dtype=U64))


def projections(name, array):
    """Four sums of the entries, each with signs of its own."""
    bits = stream(f"signs of {name}", array.size) >> U64(60)
    flat = np.float64(array).ravel()
    return np.array([np.sum(np.where(bits >> U64(3 - k) & U64(1), -flat, flat)) for k in range(4)])


def places(name, size):
    """Flat indices: all where there are no more than PLACES."""
    return np.arange(size) if size <= PLACES else (stream(f"places of {name}", PLACES) % U64(size)).astype(np.int64)


def batch(number, count, size):
    """Images [count, 3, size, size] float32, multiples of 1/64 that vary smoothly but for a little noise, and labels
    [count, size, size] uint8: classes 0 to 4 that follow from the image, and 255 for a twentieth of the pixels (every
    fourth batch, also for the upper quarter of its first image)."""
    step = size // CELLS
    assert step * CELLS == size
    lattice = whole(f"lattice {number}", (count, BANDS, CELLS + 1, CELLS + 1), 8)
    lattice += whole(f"shift {number}", (count, BANDS), 6)[:, :, None, None]
    at, between = np.arange(size) // step, np.arange(size) % step
    rows = lattice[:, :, at] * (step - between)[:, None] + lattice[:, :, at + 1] * between[:, None]
    smooth = (rows[..., at] * (step - between) + rows[..., at + 1] * between) // step**2
    pixels = smooth + whole(f"noise {number}", smooth.shape, 5)
    score = pixels[:, 0] + (pixels[:, 1] * pixels[:, 2] >> 7)
    labels = sum((score > edge).astype(np.uint8) for edge in (-96, -32, 32, 96))
    labels[stream(f"ignored {number}", labels.shape) >> U64(56) < 13] = 255
    if number % 4 == 1:
        labels[0, : size // 4] = 255
    return pixels.astype(np.float32) / np.float32(64), labels
