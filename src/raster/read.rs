//! Reading windows, past the edges as well.

use std::ops::Range;

use ndarray::Array3;

use super::messages::Call;
use super::open::Raster;
use super::{sys, with_type};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Padding, Size, Window};
use crate::tensor::{DataType, Sample, Samples, with_samples};

impl Raster {
    /// Reads `bands`, in this order, in `window`: `[C, H, W]` in the bands' own type.
    ///
    /// The window may reach past the raster on any side, or lie beside it altogether; `padding` says what stands
    /// there. Each pixel of the file is read once, at most from the smallest rectangle that holds all that are needed.
    /// Memory: the block itself, twice where the window reaches past an edge.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for no bands, a band that the raster lacks, or a window without
    /// pixels; [`RasterUnsupported`](ErrorKind::RasterUnsupported) if the bands are of several types;
    /// [`OutOfMemory`](ErrorKind::OutOfMemory); [`RasterInvalid`](ErrorKind::RasterInvalid), caused by what GDAL says,
    /// if the file is damaged or cut off.
    pub fn read(&self, bands: &[Band], window: Window, padding: Padding) -> Result<Samples> {
        let data_type = self.common_type(bands)?;
        with_type!(data_type, T => Ok(T::wrap(self.read_as::<T>(bands, window, padding)?)))
    }

    /// The type that all `bands` share.
    ///
    /// # Errors
    /// As [`Raster::read`] for the bands.
    pub fn common_type(&self, bands: &[Band]) -> Result<DataType> {
        let Some(first) = bands.first() else {
            return Err(Error::invalid("no bands are chosen").at_path(&self.info.path));
        };
        let data_type = self.info.band(*first)?.data_type;
        for band in bands {
            let other = self.info.band(*band)?.data_type;
            if other != data_type {
                return Err(Error::new(
                    ErrorKind::RasterUnsupported,
                    format!(
                        "bands of several types cannot be read together: band {first} is {data_type}, band {band} is {other}"
                    ),
                )
                .at_path(&self.info.path));
            }
        }
        Ok(data_type)
    }

    fn read_as<T: Sample>(&self, bands: &[Band], window: Window, padding: Padding) -> Result<Array3<T>> {
        let size = self.info.size;
        check_window(window).map_err(|error| error.at_path(&self.info.path))?;
        let (xs, ys) = (
            Axis::new(window.x, window.width, size.width, padding),
            Axis::new(window.y, window.height, size.height, padding),
        );
        let (xs, ys) = match (xs, ys) {
            (Some(xs), Some(ys)) => (xs, ys),
            _ => (Axis::default(), Axis::default()),
        };
        let shape = [bands.len(), window.height, window.width];
        let hull = Window::new(
            xs.hull.start as i64,
            ys.hull.start as i64,
            xs.hull.end - xs.hull.start,
            ys.hull.end - ys.hull.start,
        );
        let real = self.read_real::<T>(bands, hull)?;
        if hull == window {
            return array(shape, real);
        }
        let fill = match padding {
            Padding::Constant(value) => T::from_f64(value),
            Padding::Reflect | Padding::Edge => T::default(),
        };
        let mut block = filled(shape, fill)?;
        if hull.width > 0 && hull.height > 0 {
            let rows = real.chunks_exact(hull.width);
            let planes = real.chunks_exact(hull.width * hull.height);
            debug_assert_eq!((rows.len(), planes.len()), (bands.len() * hull.height, bands.len()));
            for (plane, out) in planes.zip(block.chunks_exact_mut(window.width * window.height)) {
                for (y, out) in ys.sources().zip(out.chunks_exact_mut(window.width)) {
                    let Some(y) = y else { continue };
                    let row = &plane[y * hull.width..(y + 1) * hull.width];
                    for (x, out) in xs.sources().zip(out) {
                        if let Some(x) = x {
                            *out = row[x];
                        }
                    }
                }
            }
        }
        array(shape, block)
    }

    /// Room for `bands` of so many pixels: `[C, H, W]` of zeros, of the bands' type.
    ///
    /// # Errors
    /// As [`Raster::read`].
    pub(crate) fn room(&self, bands: &[Band], size: Size) -> Result<Samples> {
        let shape = [bands.len(), size.height, size.width];
        with_type!(self.common_type(bands)?, T => Ok(T::wrap(array(shape, filled(shape, T::default())?)?)))
    }

    /// Reads a window that lies on the raster into samples of its shape and the bands' type.
    ///
    /// # Errors
    /// As [`Raster::read`]; `Internal` for samples of another shape or type and a window that reaches past an edge.
    pub(crate) fn read_into(&self, bands: &[Band], window: Window, samples: &mut Samples) -> Result<()> {
        let unfit = || Error::internal("samples that a window does not fit into").at_path(&self.info.path);
        let shape = [bands.len(), window.height, window.width];
        if !is_inside(window, self.info.size)
            || samples.shape() != shape
            || samples.data_type() != self.common_type(bands)?
        {
            return Err(unfit());
        }
        with_samples!(Samples, samples, own => {
            self.fill_real(bands, window, own.as_slice_mut().ok_or_else(unfit)?)
        })
    }

    /// Reads a window that lies on the raster, or has no pixels.
    pub(super) fn read_real<T: Sample>(&self, bands: &[Band], window: Window) -> Result<Vec<T>> {
        let mut buffer = filled([bands.len(), window.height, window.width], T::default())?;
        self.fill_real(bands, window, &mut buffer)?;
        Ok(buffer)
    }

    fn fill_real<T: Sample>(&self, bands: &[Band], window: Window, buffer: &mut [T]) -> Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let what = match bands {
            [band] => format!("cannot read band {band} in window {window}"),
            _ => format!("cannot read window {window}"),
        };
        Call { kind: ErrorKind::RasterInvalid, what: &what, path: &self.info.path }
            .run(|| sys::read(&self.dataset, bands, window, buffer))
    }
}

/// Where the pixels of a window come from along one axis.
#[derive(Default)]
struct Axis {
    /// First coordinate of the window.
    start: i64,
    /// Pixels of the window.
    length: usize,
    /// Pixels of the raster.
    extent: usize,
    padding: Padding,
    /// The raster's pixels from the first to the last that are needed.
    hull: Range<usize>,
}

impl Axis {
    /// `None` where no pixel of the raster is needed.
    fn new(start: i64, length: usize, extent: usize, padding: Padding) -> Option<Axis> {
        let mut axis = Axis { start, length, extent, padding, hull: 0..0 };
        // From the raster's own coordinates, since the hull is still at 0.
        let (first, last) =
            axis.sources().flatten().fold(None, |range: Option<(usize, usize)>, at| match range {
                None => Some((at, at)),
                Some((first, last)) => Some((first.min(at), last.max(at))),
            })?;
        axis.hull = first..last + 1;
        Some(axis)
    }

    /// For each pixel of the window the pixel of the hull that stands there; `None` where the constant does.
    fn sources(&self) -> impl Iterator<Item = Option<usize>> {
        let offset = self.hull.start;
        (0..self.length as i64)
            .map(move |step| self.padding.source(self.start + step, self.extent).map(|at| at - offset))
    }
}

/// The window has pixels, not too many, and its far corner has coordinates.
pub(super) fn check_window(window: Window) -> Result<()> {
    if window.width == 0 || window.height == 0 {
        return Err(Error::invalid(format!("window {window} has no pixels")));
    }
    // GDAL's own limit; it also keeps the far corner within 64 bits.
    let far = |start: i64, length: usize| start.unsigned_abs() >= 1 << 62 || length > i32::MAX as usize;
    if far(window.x, window.width) || far(window.y, window.height) {
        return Err(Error::invalid(format!("window {window} is too large or too far away")));
    }
    Ok(())
}

/// `shape` samples of one value, or an error instead of an abort where memory ends.
pub(super) fn filled<T: Copy>(shape: [usize; 3], value: T) -> Result<Vec<T>> {
    let too_large = || {
        let [bands, height, width] = shape;
        let bytes = size_of::<T>();
        Error::new(
            ErrorKind::OutOfMemory,
            format!("no memory for {bands} x {height} x {width} samples of {bytes} bytes"),
        )
    };
    let count =
        shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent)).ok_or_else(too_large)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(count).map_err(|_| too_large())?;
    buffer.resize(count, value);
    Ok(buffer)
}

fn array<T>(shape: [usize; 3], samples: Vec<T>) -> Result<Array3<T>> {
    Array3::from_shape_vec(shape, samples)
        .map_err(|error| Error::internal("a block does not have its shape").caused_by(error))
}

/// Whether a window lies wholly on a raster of this size.
pub(super) fn is_inside(window: Window, size: Size) -> bool {
    window.clip(size) == Some(window)
}
