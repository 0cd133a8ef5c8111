//! The few calls into GDAL that the `gdal` crate does not offer, each behind a safe function.
//!
//! Nothing in here is process-wide: error handlers are pushed on the calling thread's stack and popped again.
#![allow(
    unsafe_code,
    reason = "GDAL's C interface: error handler stack, multi-band reads and writes, copies with progress, curves"
)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use gdal::cpl::CslStringList;
use gdal::raster::RasterBand;
use gdal::vector::{Feature, Geometry};
use gdal::{Dataset, Driver};
use gdal_sys::{CPLErr, GDALDataType, GDALRWFlag, GDALRasterBandH};

use super::messages::{Message, Severity};
use crate::geometry::{Band, Window};
use crate::tensor::{DataType, Sample};

/// GDAL's messages kept for one call; a damaged file can produce one a block.
const MAX_MESSAGES: usize = 32;

/// A GDAL call that failed; what GDAL says about it is in the messages.
#[derive(Debug)]
pub(super) struct Failed(pub(super) &'static str);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failed", self.0)
    }
}

/// While it lives, GDAL's messages of this thread come here and nowhere else (no handler of the host, no stderr).
pub(super) struct Listener {
    // Boxed: GDAL holds its address.
    heard: Box<RefCell<Vec<Message>>>,
    // The handler stack is the thread's.
    not_send: PhantomData<*const ()>,
}

impl Listener {
    pub(super) fn new() -> Listener {
        let heard = Box::new(RefCell::new(Vec::new()));
        let address: *const RefCell<Vec<Message>> = &*heard;
        // SAFETY: the handler has the signature GDAL wants, and the box outlives its place on the stack (see Drop).
        unsafe {
            gdal_sys::CPLErrorReset();
            gdal_sys::CPLPushErrorHandlerEx(Some(hear), address.cast_mut().cast::<c_void>());
        }
        Listener { heard, not_send: PhantomData }
    }

    /// What was heard so far.
    pub(super) fn take(&self) -> Vec<Message> {
        self.heard.take()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.not_send;
        // SAFETY: pops what `new` pushed on this very thread (the type is not Send); scopes nest, so it is on top.
        unsafe { gdal_sys::CPLPopErrorHandler() }
    }
}

unsafe extern "C" fn hear(class: CPLErr::Type, number: c_int, text: *const c_char) {
    // SAFETY: called by GDAL only, inside an error report.
    let user = unsafe { gdal_sys::CPLGetErrorHandlerUserData() };
    if user.is_null() || text.is_null() {
        return;
    }
    // SAFETY: `user` is the address given in `Listener::new`, alive while the handler is on the stack, and of this
    // thread; shared access only.
    let heard = unsafe { &*user.cast_const().cast::<RefCell<Vec<Message>>>() };
    // SAFETY: GDAL passes a NUL-terminated string that lives for the call.
    let text = unsafe { CStr::from_ptr(text) };
    // A panic (of a log subscriber) must not cross into C.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let severity = match class {
            CPLErr::CE_None | CPLErr::CE_Debug => Severity::Debug,
            CPLErr::CE_Warning => Severity::Warning,
            _ => Severity::Failure,
        };
        let message = Message { severity, number, text: text.to_string_lossy().trim().to_owned() };
        message.log();
        if severity != Severity::Debug
            && let Ok(mut heard) = heard.try_borrow_mut()
            // Warnings leave room for the failure that they may end in.
            && heard.len() < if severity == Severity::Failure { 2 * MAX_MESSAGES } else { MAX_MESSAGES }
        {
            heard.push(message);
        }
    }));
}

/// GDAL's number for a sample type.
pub(super) fn ordinal(data_type: DataType) -> GDALDataType::Type {
    match data_type {
        DataType::U8 => GDALDataType::GDT_Byte,
        DataType::U16 => GDALDataType::GDT_UInt16,
        DataType::I16 => GDALDataType::GDT_Int16,
        DataType::U32 => GDALDataType::GDT_UInt32,
        DataType::I32 => GDALDataType::GDT_Int32,
        DataType::U64 => GDALDataType::GDT_UInt64,
        DataType::I64 => GDALDataType::GDT_Int64,
        DataType::F32 => GDALDataType::GDT_Float32,
        DataType::F64 => GDALDataType::GDT_Float64,
    }
}

/// The sample type of a band, or GDAL's name of a type that has none here (complex, signed byte, half).
pub(super) fn data_type(band: &RasterBand<'_>) -> Result<DataType, String> {
    // SAFETY: the band handle is valid while `band` borrows its dataset; the name is a static C string.
    let (number, name) = unsafe {
        let number = gdal_sys::GDALGetRasterDataType(band.c_rasterband());
        (number, text(gdal_sys::GDALGetDataTypeName(number)))
    };
    use DataType::*;
    [U8, U16, I16, U32, I32, U64, I64, F32, F64]
        .into_iter()
        .find(|&kind| ordinal(kind) == number)
        .ok_or_else(|| name.unwrap_or_else(|| format!("number {number}")))
}

/// The name of a band's colour interpretation, `Alpha` for an alpha band. (The `gdal` crate panics on values that
/// newer versions of GDAL have added.)
pub(super) fn color_interpretation(band: &RasterBand<'_>) -> String {
    // SAFETY: the band handle is valid while `band` borrows its dataset; the name is a static C string.
    let name = unsafe {
        let number = gdal_sys::GDALGetRasterColorInterpretation(band.c_rasterband());
        text(gdal_sys::GDALGetColorInterpretationName(number))
    };
    name.unwrap_or_default()
}

/// Reads `bands` in `window` (which lies on the raster) into `buffer` as `[C, H, W]`.
pub(super) fn read<T: Sample>(
    dataset: &Dataset,
    bands: &[Band],
    window: Window,
    buffer: &mut [T],
) -> Result<(), Failed> {
    transfer(dataset, GDALRWFlag::GF_Read, bands, window, buffer)
}

/// Writes `buffer`, `[C, H, W]`, to `bands` in `window` (which lies on the raster). GDAL may swap bytes in the buffer
/// meanwhile, hence `&mut`.
pub(super) fn write<T: Sample>(
    dataset: &mut Dataset,
    bands: &[Band],
    window: Window,
    buffer: &mut [T],
) -> Result<(), Failed> {
    transfer(dataset, GDALRWFlag::GF_Write, bands, window, buffer)
}

fn transfer<T: Sample>(
    dataset: &Dataset,
    direction: GDALRWFlag::Type,
    bands: &[Band],
    window: Window,
    buffer: &mut [T],
) -> Result<(), Failed> {
    const TOO_LARGE: Failed = Failed("conversion of a window to GDAL's 32 bits");
    let int = |value: u64| c_int::try_from(value).map_err(|_| TOO_LARGE);
    let mut numbers = Vec::with_capacity(bands.len());
    for band in bands {
        numbers.push(int(u64::from(band.number()))?);
    }
    let x = int(u64::try_from(window.x).map_err(|_| TOO_LARGE)?)?;
    let y = int(u64::try_from(window.y).map_err(|_| TOO_LARGE)?)?;
    let (width, height) = (int(window.width as u64)?, int(window.height as u64)?);
    let samples = window.width.checked_mul(window.height).and_then(|pixels| pixels.checked_mul(bands.len()));
    if samples != Some(buffer.len()) {
        return Err(Failed("match of buffer and window"));
    }
    // SAFETY: the handle is valid while `dataset` is borrowed, and a Dataset is used by one thread only; `buffer`
    // holds exactly bands x height x width samples of the type named, and spacings of 0 mean densely packed; GDAL
    // itself checks window and band numbers against the raster.
    let result = unsafe {
        gdal_sys::GDALDatasetRasterIOEx(
            dataset.c_dataset(),
            direction,
            x,
            y,
            width,
            height,
            buffer.as_mut_ptr().cast::<c_void>(),
            width,
            height,
            ordinal(T::DATA_TYPE),
            int(numbers.len() as u64)?,
            numbers.as_mut_ptr(),
            0,
            0,
            0,
            std::ptr::null_mut(),
        )
    };
    if result == CPLErr::CE_None { Ok(()) } else { Err(Failed("GDALDatasetRasterIOEx")) }
}

/// Copies `source` to `path` with `driver`. `progress` gets the share done, 0 to 1, and stops the copy with `false`.
pub(super) fn create_copy(
    driver: &Driver,
    path: &Path,
    source: &Dataset,
    options: &CslStringList,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<Dataset, Failed> {
    struct Reporter<'a> {
        progress: &'a mut dyn FnMut(f64) -> bool,
        panic: Option<Box<dyn std::any::Any + Send>>,
    }

    unsafe extern "C" fn report(done: f64, _: *const c_char, user: *mut c_void) -> c_int {
        // SAFETY: `user` is the reporter below, alive for the whole copy; GDAL reports on the calling thread, one
        // call at a time.
        let reporter = unsafe { &mut *user.cast::<Reporter<'_>>() };
        match catch_unwind(AssertUnwindSafe(|| (reporter.progress)(done))) {
            Ok(go_on) => c_int::from(go_on),
            Err(panic) => {
                reporter.panic = Some(panic);
                0
            }
        }
    }

    let name =
        path.to_str().and_then(|path| CString::new(path).ok()).ok_or(Failed("conversion of a path"))?;
    let mut reporter = Reporter { progress, panic: None };
    // SAFETY: all handles are valid for the call; `options` is a NULL-terminated list; the reporter outlives the
    // call, after which GDAL keeps neither its address nor the function's.
    let copy = unsafe {
        gdal_sys::GDALCreateCopy(
            driver.c_driver(),
            name.as_ptr(),
            source.c_dataset(),
            0,
            options.as_ptr(),
            Some(report),
            (&raw mut reporter).cast::<c_void>(),
        )
    };
    // SAFETY: a non-null handle is a new dataset that no one else owns.
    let copy = (!copy.is_null()).then(|| unsafe { Dataset::from_c_dataset(copy) });
    if let Some(panic) = reporter.panic.take() {
        drop(copy);
        resume_unwind(panic);
    }
    copy.ok_or(Failed("GDALCreateCopy"))
}

/// Adds a band to `dataset`; `options` are those of its format.
pub(super) fn add_band(
    dataset: &mut Dataset,
    data_type: DataType,
    options: &CslStringList,
) -> Result<(), Failed> {
    // SAFETY: the handle is valid while `dataset` is borrowed; `options` is a NULL-terminated list.
    let result = unsafe { gdal_sys::GDALAddBand(dataset.c_dataset(), ordinal(data_type), options.as_ptr()) };
    if result == CPLErr::CE_None { Ok(()) } else { Err(Failed("GDALAddBand")) }
}

// From gdal_vrt.h, which the bindings leave out.
unsafe extern "system" {
    fn VRTAddSimpleSource(
        band: GDALRasterBandH,
        source: GDALRasterBandH,
        source_x: c_int,
        source_y: c_int,
        source_width: c_int,
        source_height: c_int,
        x: c_int,
        y: c_int,
        width: c_int,
        height: c_int,
        resampling: *const c_char,
        nodata: f64,
    ) -> CPLErr::Type;
}

/// Lets `band`, of a raster in memory that has none of its own, show `window` of `source`. The dataset of `source` must
/// be dropped after that of `band`.
pub(super) fn show_window(
    band: &RasterBand<'_>,
    source: &RasterBand<'_>,
    window: Window,
) -> Result<(), Failed> {
    /// Stands for "no such value".
    const NO_NODATA: f64 = -1234.56;
    let int =
        |value: i64| c_int::try_from(value).map_err(|_| Failed("conversion of a window to GDAL's 32 bits"));
    let (x, y) = (int(window.x)?, int(window.y)?);
    let (width, height) = (int(window.width as i64)?, int(window.height as i64)?);
    // SAFETY: both handles are valid while the bands borrow their datasets; a NULL resampling is nearest neighbour, and
    // GDAL keeps a counted reference to the dataset of `source`, which the caller keeps alive for as long.
    let result = unsafe {
        VRTAddSimpleSource(
            band.c_rasterband(),
            source.c_rasterband(),
            x,
            y,
            width,
            height,
            0,
            0,
            width,
            height,
            std::ptr::null(),
            NO_NODATA,
        )
    };
    if result == CPLErr::CE_None { Ok(()) } else { Err(Failed("VRTAddSimpleSource")) }
}

/// The bytes of numbers, as they lie in memory.
pub(super) fn bytes<T: Sample>(samples: &[T]) -> &[u8] {
    // SAFETY: samples are the primitive numbers of `DataType`, so they have no padding and any byte is initialised; the
    // slice covers exactly theirs and borrows them.
    unsafe { std::slice::from_raw_parts(samples.as_ptr().cast::<u8>(), size_of_val(samples)) }
}

/// The same, to be written: any bytes are a number.
pub(super) fn bytes_mut<T: Sample>(samples: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are a value of these types.
    unsafe { std::slice::from_raw_parts_mut(samples.as_mut_ptr().cast::<u8>(), size_of_val(samples)) }
}

/// Writes a whole block of a band, past GDAL's block cache. `at` counts blocks: column, row. GDAL may swap bytes in the
/// buffer meanwhile, hence `&mut`.
pub(super) fn write_block<T: Sample>(
    band: &RasterBand<'_>,
    at: [usize; 2],
    block: &mut [T],
) -> Result<(), Failed> {
    const NOT_THERE: Failed = Failed("finding a block");
    let (width, height) = band.block_size();
    if width.checked_mul(height) != Some(block.len()) || data_type(band) != Ok(T::DATA_TYPE) {
        return Err(Failed("match of buffer and block"));
    }
    let (across, down) = (band.x_size().div_ceil(width), band.y_size().div_ceil(height));
    if at[0] >= across || at[1] >= down {
        return Err(NOT_THERE);
    }
    let [x, y] = at.map(|number| c_int::try_from(number).map_err(|_| NOT_THERE));
    // SAFETY: the band handle is valid while `band` borrows its dataset, which one thread only uses; the block is there,
    // and `block` holds its samples in the type of the band.
    let result =
        unsafe { gdal_sys::GDALWriteBlock(band.c_rasterband(), x?, y?, block.as_mut_ptr().cast::<c_void>()) };
    if result == CPLErr::CE_None { Ok(()) } else { Err(Failed("GDALWriteBlock")) }
}

/// Drops the blocks of a dataset opened for reading from GDAL's block cache.
pub(super) fn drop_blocks(dataset: &Dataset) {
    // SAFETY: the handle is valid while `dataset` is borrowed, and a Dataset is used by one thread only. (Nothing is
    // written: it is open for reading. What newer versions return is about writing.)
    unsafe {
        gdal_sys::GDALFlushCache(dataset.c_dataset());
    }
}

/// The most bytes that GDAL's block cache may hold.
pub(super) fn cache_limit() -> i64 {
    // SAFETY: takes nothing; guarded by a lock of GDAL's own.
    unsafe { gdal_sys::GDALGetCacheMax64() }
}

/// Sets the most bytes that GDAL's block cache may hold, and drops blocks until it does.
pub(super) fn set_cache_limit(bytes: i64) {
    // SAFETY: any number is taken; any thread may drop blocks of any dataset, as each does that reads one.
    unsafe { gdal_sys::GDALSetCacheMax64(bytes) }
}

/// Bytes that GDAL's block cache holds now.
#[cfg(test)]
pub(super) fn cache_used() -> i64 {
    // SAFETY: takes nothing, reads one number.
    unsafe { gdal_sys::GDALGetCacheUsed64() }
}

/// While it lives, GDAL's requests over HTTP on this thread fail before anything is sent: the CRS of a GeoJSON file may
/// be a link, which GDAL follows.
pub(super) struct Offline {
    // The stack of callbacks is the thread's.
    not_send: PhantomData<*const ()>,
}

type Fetch = unsafe extern "C" fn(
    *const c_char,
    *const *const c_char,
    *const c_void,
    *mut c_void,
    *const c_void,
    *mut c_void,
    *mut c_void,
) -> *mut c_void;

// From cpl_http.h, which the bindings leave out; in GDAL since version 3.2.
unsafe extern "C" {
    fn CPLHTTPPushFetchCallback(fetch: Fetch, user: *mut c_void) -> c_int;
    fn CPLHTTPPopFetchCallback() -> c_int;
}

impl Offline {
    pub(super) fn new() -> Offline {
        // SAFETY: the callback has the signature GDAL wants and uses none of its arguments.
        unsafe { CPLHTTPPushFetchCallback(refuse, std::ptr::null_mut()) };
        Offline { not_send: PhantomData }
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        let _ = self.not_send;
        // SAFETY: pops what `new` pushed on this very thread (the type is not Send); scopes nest, so it is on top.
        unsafe { CPLHTTPPopFetchCallback() };
    }
}

/// An answer that says nothing but that it failed. (NULL would mean "ask the one before", which is the network.)
unsafe extern "C" fn refuse(
    _: *const c_char,
    _: *const *const c_char,
    _: *const c_void,
    _: *mut c_void,
    _: *const c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> *mut c_void {
    // More than the structure has in any version; its pointers are NULL, so GDAL frees the block alone.
    const BYTES: usize = 256;
    // SAFETY: GDAL's own allocator, since GDAL frees it.
    let answer = unsafe { gdal_sys::VSICalloc(1, BYTES) };
    if !answer.is_null() {
        // SAFETY: the first field is the status as an `int`, 0 for success; the block is aligned for any type.
        unsafe { answer.cast::<c_int>().write(1) };
    }
    answer
}

/// Whether a feature has a value in a field: neither null nor left out. (The `gdal` crate reads the latter as 0.)
pub(super) fn has_value(feature: &Feature<'_>, field: usize) -> bool {
    let Ok(field) = c_int::try_from(field) else { return false };
    // SAFETY: the handle is valid while `feature` lives; GDAL answers no for a field that is not there.
    unsafe { gdal_sys::OGR_F_IsFieldSetAndNotNull(feature.c_feature(), field) != 0 }
}

/// A geometry in the plane and without curves, as ISO WKB in little-endian order.
pub(super) fn plane_wkb(geometry: &Geometry) -> Result<Vec<u8>, Failed> {
    // 0: the step along arcs that GDAL takes by itself.
    // SAFETY: the handle is valid while `geometry` lives; the result is a geometry of its own, or NULL.
    let plane =
        unsafe { gdal_sys::OGR_G_GetLinearGeometry(geometry.c_geometry(), 0.0, std::ptr::null_mut()) };
    if plane.is_null() {
        return Err(Failed("OGR_G_GetLinearGeometry"));
    }
    // SAFETY: `plane` is valid until it is destroyed below, once on every way out; the buffer has the size that GDAL
    // names after the geometry was flattened.
    unsafe {
        gdal_sys::OGR_G_FlattenTo2D(plane);
        let bytes = gdal_sys::OGR_G_WkbSize(plane);
        let mut wkb = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let order = gdal_sys::OGRwkbByteOrder::wkbNDR;
        let status = match wkb.is_empty() {
            false => gdal_sys::OGR_G_ExportToIsoWkb(plane, order, wkb.as_mut_ptr()),
            true => gdal_sys::OGRErr::OGRERR_FAILURE,
        };
        gdal_sys::OGR_G_DestroyGeometry(plane);
        if status == gdal_sys::OGRErr::OGRERR_NONE { Ok(wkb) } else { Err(Failed("OGR_G_ExportToIsoWkb")) }
    }
}

/// # Safety
/// `pointer` is NULL or a NUL-terminated string that lives for the call.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    Some(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}
