//! Arrays in memory: no files, no GDAL. For applications with I/O of their own.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut3, Axis, s};

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Padding, Size, Window};
use crate::segment::report::Report;
use crate::segment::segmenter::Segmenter;
use crate::segment::stream::{Block, Layout, Sink, Source};
use crate::tensor::{DataType, Sample, Samples, SamplesView, with_samples};

/// What scoring an array gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// `[bands, H, W]`: one band of class numbers, or one band a class or channel.
    pub samples: Samples,
    /// What marks invalid pixels in `samples`.
    pub nodata: f64,
    /// What was done, and how fast.
    pub report: Report,
}

impl Segmenter<'_> {
    /// Scores an image `[C, H, W]` of any sample type and any strides.
    ///
    /// `valid` `[H, W]` marks pixels that hold data; the others come back as nodata. Without it all pixels are
    /// valid whose samples are finite. The options' `bands` choose channels of the image, counted from 1; by
    /// default all are fed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]: an empty image, a mask of another size, an unknown band, or an option that
    /// does not fit the model's output; [`ErrorKind::Mismatch`]: model and image do not fit together;
    /// [`ErrorKind::ProviderUnavailable`], [`ErrorKind::Runtime`], [`ErrorKind::OutOfMemory`],
    /// [`ErrorKind::Cancelled`].
    pub fn array(
        &mut self,
        image: SamplesView<'_>,
        valid: Option<ArrayView2<'_, bool>>,
    ) -> Result<Prediction> {
        let [channels, height, width] = image.shape();
        if channels == 0 || height == 0 || width == 0 {
            return Err(Error::invalid(format!("the image [{channels}, {height}, {width}] is empty")));
        }
        if let Some(valid) = &valid
            && valid.dim() != (height, width)
        {
            return Err(Error::invalid(format!(
                "the validity mask is {:?}, the image has [{height}, {width}] pixels",
                valid.shape()
            )));
        }
        let chosen = match &self.options.bands {
            None => (0..channels).collect(),
            Some(bands) => bands
                .iter()
                .map(|band| {
                    let index = band.number() as usize - 1;
                    if index < channels {
                        Ok(index)
                    } else {
                        Err(Error::invalid(format!("no such channel: the image has {channels}"))
                            .at_band(band.number()))
                    }
                })
                .collect::<Result<Vec<_>>>()?,
        };
        let bands = chosen.len();
        let nodata = vec![None; bands];
        let mut source = ArraySource { image, valid, chosen, nodata, padding: self.options.padding };
        let mut sink = ArraySink::default();
        let report = self.run(bands, &mut source, &mut sink)?;
        let samples = sink.samples.ok_or_else(|| Error::internal("a job without output"))?;
        Ok(Prediction { samples, nodata: sink.nodata, report })
    }
}

struct ArraySource<'i, 'v> {
    image: SamplesView<'i>,
    valid: Option<ArrayView2<'v, bool>>,
    /// Channels of the image, from 0.
    chosen: Vec<usize>,
    nodata: Vec<Option<f64>>,
    padding: Padding,
}

impl Source for ArraySource<'_, '_> {
    fn size(&self) -> Size {
        let [_, height, width] = self.image.shape();
        Size::new(width, height)
    }

    fn data_type(&self) -> DataType {
        self.image.data_type()
    }

    fn nodata(&self) -> &[Option<f64>] {
        &self.nodata
    }

    fn read(&mut self, window: Window) -> Result<Block> {
        let size = self.size();
        let axis = |start: i64, length: usize, extent: usize| -> Vec<Option<usize>> {
            (start..start + length as i64).map(|at| self.padding.source(at, extent)).collect()
        };
        let columns = axis(window.x, window.width, size.width);
        let rows = axis(window.y, window.height, size.height);
        let fill = if let Padding::Constant(value) = self.padding { value } else { 0.0 };
        let samples = with_samples!(SamplesView, &self.image, image => gather(image, &self.chosen, &rows, &columns, fill));

        let on_raster = window.clip(size) == Some(window);
        let finite = match &samples {
            Samples::F32(block) => all_finite(block.view()),
            Samples::F64(block) => all_finite(block.view()),
            _ => None,
        };
        let valid = (!on_raster || self.valid.is_some() || finite.is_some()).then(|| {
            Array2::from_shape_fn((window.height, window.width), |(i, j)| {
                let (y, x) = (window.y + i as i64, window.x + j as i64);
                (0..size.height as i64).contains(&y)
                    && (0..size.width as i64).contains(&x)
                    && self.valid.as_ref().is_none_or(|valid| valid[[y as usize, x as usize]])
                    && finite.as_ref().is_none_or(|finite| finite[[i, j]])
            })
        });
        Ok(Block { samples, valid })
    }
}

/// Copies channels, rows and columns; `None` stands for the constant.
fn gather<T: Sample>(
    image: &ArrayView3<'_, T>,
    channels: &[usize],
    rows: &[Option<usize>],
    columns: &[Option<usize>],
    fill: f64,
) -> Samples {
    let fill = T::from_f64(fill);
    let mut out = Array3::from_elem((channels.len(), rows.len(), columns.len()), fill);
    for (mut out, channel) in out.axis_iter_mut(Axis(0)).zip(channels) {
        let image = image.index_axis(Axis(0), *channel);
        for (mut out, row) in out.rows_mut().into_iter().zip(rows) {
            let Some(row) = row else { continue };
            let line = image.row(*row);
            for (out, column) in out.iter_mut().zip(columns) {
                if let Some(column) = column {
                    *out = line[*column];
                }
            }
        }
    }
    T::wrap(out)
}

/// Pixels whose samples are finite in every channel; `None` where all are.
fn all_finite<T: Sample>(block: ArrayView3<'_, T>) -> Option<Array2<bool>> {
    if block.iter().all(|sample| sample.to_f64().is_finite()) {
        return None;
    }
    let (_, height, width) = block.dim();
    let mut finite = Array2::from_elem((height, width), true);
    for channel in block.axis_iter(Axis(0)) {
        finite.zip_mut_with(&channel, |finite, sample| *finite &= sample.to_f64().is_finite());
    }
    Some(finite)
}

#[derive(Default)]
struct ArraySink {
    samples: Option<Samples>,
    nodata: f64,
}

impl Sink for ArraySink {
    fn begin(&mut self, layout: &Layout, _: &mut dyn FnMut(&Samples)) -> Result<u64> {
        let shape = [layout.bands, layout.size.height, layout.size.width];
        let bytes = shape.iter().try_fold(layout.data_type.bytes(), |bytes, n| bytes.checked_mul(*n));
        // Zeroed pages cost nothing until they are written, so the size is checked by asking for it first.
        bytes.filter(|bytes| Vec::<u8>::new().try_reserve_exact(*bytes).is_ok()).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, format!("not enough memory for an output of {shape:?}"))
        })?;
        self.samples = Some(Samples::zeros(layout.data_type, shape));
        self.nodata = layout.nodata;
        Ok(0)
    }

    fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
        fn copy<T: Sample>(mut out: ArrayViewMut3<'_, T>, window: Window, block: &Array3<T>) {
            let (y, x) = (window.y as usize, window.x as usize);
            out.slice_mut(s![.., y..y + window.height, x..x + window.width]).assign(block);
        }
        match (&mut self.samples, &samples) {
            (Some(Samples::U8(out)), Samples::U8(block)) => copy(out.view_mut(), window, block),
            (Some(Samples::U16(out)), Samples::U16(block)) => copy(out.view_mut(), window, block),
            (Some(Samples::F32(out)), Samples::F32(block)) => copy(out.view_mut(), window, block),
            _ => return Err(Error::internal("output of another type than announced")),
        }
        Ok(())
    }
}
