//! All that happens at the boundary: panics stop here, pointers become references here, sized structs are read
//! here.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::AssertUnwindSafe;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::error::glebe_error;
use crate::ffi::status::{GLEBE_STATUS_OK, glebe_status};

/// Releases what `user_data` points to.
///
/// Called exactly once for every registration, whatever its outcome; may be NULL where there is nothing to release.
/// Like every callback it must return normally: no C++ exception and no longjmp may leave it.
pub type glebe_destroy_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The body of a function that returns a status: errors and panics become a status and, where the caller wants one,
/// an error object.
///
/// # Safety
/// `error` is NULL or may be written.
pub(super) unsafe fn status(error: *mut *mut glebe_error, body: impl FnOnce() -> Result<()>) -> glebe_status {
    let Err(failure) = caught(body).unwrap_or_else(Err) else { return GLEBE_STATUS_OK };
    let code = failure.kind().code();
    if !error.is_null() {
        // Building the object is plain string work; should it panic nevertheless, the status still tells.
        if let Ok(object) = caught(|| glebe_error::boxed(failure)) {
            // SAFETY: not NULL, and writable by this function's contract.
            unsafe { error.write_unaligned(object) };
        }
    }
    code
}

/// The body of a function that cannot fail but for a NULL handle: `fallback` then, and after a panic.
pub(super) fn neutral<R>(fallback: R, body: impl FnOnce() -> Option<R>) -> R {
    match caught(body) {
        Ok(Some(value)) => value,
        _ => fallback,
    }
}

/// Runs `body`; a panic becomes an [`ErrorKind::Internal`] that says where it happened.
fn caught<R>(body: impl FnOnce() -> R) -> Result<R> {
    thread_local! {
        /// Whether this thread is inside a body, so that its panics are reported through the boundary.
        static INSIDE: Cell<bool> = const { Cell::new(false) };
        static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if INSIDE.get() {
                let place = panic.location().map(|place| format!(" at {place}"));
                let _ = PLACE.try_with(|slot| *slot.borrow_mut() = place);
            } else {
                before(panic);
            }
        }));
    });
    // Not simply false afterwards: a callback may call into the library while a body is at work.
    let outer = INSIDE.replace(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    result.map_err(|payload| {
        let place = PLACE.try_with(|slot| slot.borrow_mut().take()).ok().flatten().unwrap_or_default();
        Error::internal(format!("panic{place}: {}", panic_text(&*payload)))
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// What stands behind a pointer that a program holds: the value, whether a panic went through it, and the process
/// that it belongs to.
pub(super) struct Handle<T> {
    poisoned: AtomicBool,
    process: u32,
    value: T,
}

impl<T> Handle<T> {
    pub(super) fn new(value: T) -> Handle<T> {
        Handle { poisoned: AtomicBool::new(false), process: std::process::id(), value }
    }

    /// The value for what cannot go wrong: reading what was settled when the handle was made.
    pub(super) fn peek(&self) -> &T {
        &self.value
    }

    /// Works with the value; a panic poisons the handle.
    ///
    /// # Errors
    /// What `work` gives; [`ErrorKind::InvalidState`] for a poisoned handle, and in a child made by fork, which has
    /// the memory of ONNX Runtime but none of its threads.
    pub(super) fn enter<R>(&self, work: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        struct Poison<'a>(&'a AtomicBool);
        impl Drop for Poison<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.store(true, Ordering::Release);
                }
            }
        }
        self.check()?;
        let _poison = Poison(&self.poisoned);
        work(&self.value)
    }

    fn check(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Acquire) {
            let message = "the handle cannot be used any more: an earlier call ended in an internal error";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        if self.is_foreign() {
            let message = "the handle was made before fork, by the parent process: make a new one after exec";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        Ok(())
    }

    /// Whether the handle came into this process by fork.
    pub(super) fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }
}

/// Frees what [`Out::put`] handed out. In a child made by fork a handle with threads is leaked on purpose: its
/// destructor would wait for threads that the child does not have (microsoft/onnxruntime#31961).
///
/// # Safety
/// `pointer` is NULL or came from [`Box::into_raw`] and is not used afterwards.
pub(super) unsafe fn free<T: ?Sized>(pointer: *mut T, leak: impl FnOnce(&T) -> bool) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    let value = unsafe { Box::from_raw(pointer) };
    if leak(&value) {
        std::mem::forget(value);
        return;
    }
    // A panic in a destructor has nobody to tell it to.
    let _ = caught(move || drop(value));
}

/// An output: checked before the work, written after it.
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] that names the parameter, for NULL.
    pub(super) fn new(pointer: *mut T, name: &str) -> Result<Out<T>> {
        if pointer.is_null() { Err(null(name)) } else { Ok(Out(pointer)) }
    }

    /// # Safety
    /// The pointer may be written.
    pub(super) unsafe fn put(self, value: T) {
        // SAFETY: not NULL (checked in new), and writable by this function's contract.
        unsafe { self.0.write_unaligned(value) }
    }

    /// # Safety
    /// As many values may be written from the pointer on.
    pub(super) unsafe fn fill(self, values: &[T])
    where
        T: Copy,
    {
        for (index, value) in values.iter().enumerate() {
            // SAFETY: not NULL (checked in new), and within what this function's contract gives.
            unsafe { self.0.add(index).write_unaligned(*value) }
        }
    }
}

fn null(name: &str) -> Error {
    Error::invalid(format!("{name} is NULL"))
}

/// # Errors
/// [`ErrorKind::InvalidArgument`] that names the parameter, for NULL and for a pointer that is not aligned.
///
/// # Safety
/// A pointer that is neither must point to a valid `T` for as long as the call lasts.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    if !pointer.is_null() && !pointer.is_aligned() {
        return Err(Error::invalid(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    // SAFETY: aligned; valid by this function's contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// As [`borrow`] for functions without an error: `None` for NULL.
///
/// # Safety
/// As [`borrow`].
pub(super) unsafe fn peek<'a, T>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: by this function's contract.
    unsafe { borrow(pointer, "") }.ok()
}

/// # Errors
/// [`ErrorKind::InvalidArgument`] that names the parameter, for NULL and for text that is not UTF-8.
///
/// # Safety
/// `pointer` is NULL or points to a NUL-terminated string that stays as it is during the call.
pub(super) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL; terminated by this function's contract.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map_err(|_| Error::invalid(format!("{name} is not UTF-8: {:?}", bytes.to_string_lossy())))
}

/// As [`text`], for a parameter that may be NULL.
///
/// # Safety
/// As [`text`].
pub(super) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract.
    unsafe { text(pointer, name) }.map(Some)
}

/// `length` elements; the pointer is not looked at where `length` is 0.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] that names the parameter: NULL, not aligned, more bytes than an address space has.
///
/// # Safety
/// `pointer` points to that many valid elements, which stay as they are during the call.
pub(super) unsafe fn slice<'a, T>(pointer: *const T, length: usize, name: &str) -> Result<&'a [T]> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(name));
    }
    if !pointer.is_aligned() {
        return Err(Error::invalid(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Error::invalid(format!("{name}: a length of {length} is more than memory can hold")));
    }
    // SAFETY: not NULL, aligned, of a possible length; valid by this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// `values` for C, which has room for `length` of them; NULL is no room.
///
/// # Safety
/// `target` is NULL, or `length` values may be written there.
pub(super) unsafe fn some_of<T: Copy>(values: &[T], target: *mut T, length: usize) -> usize {
    if let Ok(target) = Out::new(target, "") {
        // SAFETY: by this function's contract.
        unsafe { target.fill(&values[..values.len().min(length)]) };
    }
    values.len()
}

/// # Errors
/// [`ErrorKind::Mismatch`] for room for another number of values.
///
/// # Safety
/// `length` values may be written to the target.
pub(super) unsafe fn copy(values: &[f32], target: Out<f32>, length: usize) -> Result<()> {
    if values.len() != length {
        let message = format!("expected room for {} values, got {length}", values.len());
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    // SAFETY: by this function's contract.
    unsafe { target.fill(values) };
    Ok(())
}

/// `length` strings.
///
/// # Errors
/// As [`slice`] and [`text`].
///
/// # Safety
/// As [`slice`] and, for each element, [`text`].
pub(super) unsafe fn texts<'a>(
    pointer: *const *const c_char,
    length: usize,
    name: &str,
) -> Result<Vec<&'a str>> {
    // SAFETY: by this function's contract.
    let pointers = unsafe { slice(pointer, length, name)? };
    pointers
        .iter()
        .enumerate()
        // SAFETY: by this function's contract.
        .map(|(index, pointer)| unsafe { text(*pointer, &format!("{name}[{index}]")) })
        .collect()
}

/// Text for C. A NUL inside, which C would take for the end, becomes U+FFFD.
pub(super) fn c_text(text: impl Into<String>) -> CString {
    CString::new(text.into()).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).replace('\0', "\u{fffd}");
        CString::new(text).unwrap_or_default()
    })
}

/// A struct that grows at its end and says in its first field how large its caller knows it.
///
/// # Safety
/// `repr(C)`, no padding between or after fields, the first field is `struct_size: u32`, and every pattern of bits is
/// a valid value.
pub(super) unsafe trait Versioned: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// Size in the first version that had it; nobody can know a smaller one.
    const FIRST_SIZE: usize;

    /// The defaults.
    fn defaults() -> Self;
}

/// `layout!(name, size; field offset, ...)`: fails to compile unless the struct lies in memory as `tests/abi/offsets.c`
/// has it for C, without gaps. For pointers of 64 bits.
macro_rules! layout {
    ($kind:ty, $size:literal; $($field:ident $offset:literal),+ $(,)?) => {
        #[cfg(target_pointer_width = "64")]
        const _: () = {
            assert!(size_of::<$kind>() == $size);
            $(assert!(std::mem::offset_of!($kind, $field) == $offset, stringify!($field));)+
        };
    };
}
pub(super) use layout;

/// Larger than any options struct will get; a size beyond is an uninitialised field.
const LARGEST: usize = 4096;

/// The part of the struct that both sides know, the defaults for what only this side knows.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`]: NULL; a size that no version has; anything but zeros in what only the caller
/// knows, since it asks for something that this version cannot do.
///
/// # Safety
/// `pointer` is NULL or points to as many bytes as its first field says.
pub(super) unsafe fn read_sized<T: Versioned>(pointer: *const T, name: &str) -> Result<T> {
    // SAFETY: by this function's contract.
    let (value, size) = unsafe { read_known(pointer, name)? };
    // SAFETY: the caller has `size` bytes, of which those past T are looked at.
    let tail = unsafe { bytes_past::<T>(pointer, size) };
    if tail.iter().any(|byte| *byte != 0) {
        return Err(Error::invalid(format!(
            "{name}: a {} of {size} bytes sets options that this version of glebe ({} bytes) does not know",
            T::NAME,
            size_of::<T>()
        )));
    }
    Ok(value)
}

/// As [`read_sized`] without the check of the tail; with the caller's size.
///
/// # Errors
/// As [`read_sized`].
///
/// # Safety
/// As [`read_sized`].
pub(super) unsafe fn read_known<T: Versioned>(pointer: *const T, name: &str) -> Result<(T, usize)> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL; the first field of every such struct is its size.
    let size = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    check_size::<T>(size).map_err(|why| {
        Error::invalid(format!("{name}: struct_size is {size}, {why}: call {}_init first", T::NAME))
    })?;
    let mut value = T::defaults();
    let known = size.min(size_of::<T>());
    // SAFETY: both sides have `known` bytes, and T takes every pattern of bits by the trait's contract.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
    }
    Ok((value, size))
}

/// # Safety
/// `pointer` points to `size` bytes.
unsafe fn bytes_past<'a, T>(pointer: *const T, size: usize) -> &'a [u8] {
    let known = size_of::<T>().min(size);
    // SAFETY: within `size` bytes by this function's contract.
    unsafe { std::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) }
}

fn check_size<T: Versioned>(size: usize) -> std::result::Result<(), String> {
    if size < T::FIRST_SIZE {
        return Err(format!("expected at least {}", T::FIRST_SIZE));
    }
    if size > LARGEST || !size.is_multiple_of(align_of::<T>()) {
        return Err(format!("expected a multiple of {} up to {LARGEST}", align_of::<T>()));
    }
    Ok(())
}

/// The body of the `_init` functions: defaults into `size` bytes, zeros where only the caller knows what stands there.
///
/// # Safety
/// `pointer` is NULL or `size` bytes there may be written.
pub(super) unsafe fn init<T: Versioned>(pointer: *mut T, size: usize) -> glebe_status {
    if pointer.is_null() || check_size::<T>(size).is_err() {
        return ErrorKind::InvalidArgument.code();
    }
    let value = T::defaults();
    let known = size.min(size_of::<T>());
    let bytes = pointer.cast::<u8>();
    // SAFETY: `size` bytes may be written by this function's contract, and all of them are within `size`; check_size
    // has seen to it that the first field, a u32, is among them and that `size` fits it.
    unsafe {
        bytes.write_bytes(0, size);
        std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), bytes, known);
        pointer.cast::<u32>().write_unaligned(size as u32);
    }
    GLEBE_STATUS_OK
}

/// Fills a struct that the caller has initialised, as far as the caller knows it.
pub(super) struct SizedOut<T: Versioned> {
    pointer: *mut T,
    size: usize,
}

impl<T: Versioned> SizedOut<T> {
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]: NULL; a size that no version has.
    ///
    /// # Safety
    /// `pointer` is NULL or points to as many bytes as its first field says, which may be written.
    pub(super) unsafe fn new(pointer: *mut T, name: &str) -> Result<SizedOut<T>> {
        // SAFETY: by this function's contract.
        let (_, size) = unsafe { read_known(pointer.cast_const(), name)? };
        Ok(SizedOut { pointer, size })
    }

    /// # Safety
    /// The struct of [`SizedOut::new`] may be written still.
    pub(super) unsafe fn put(self, value: T) {
        let bytes = self.pointer.cast::<u8>();
        let known = self.size.min(size_of::<T>());
        // SAFETY: `size` bytes may be written by the contract of `new`; `known` is within them, and holds the first field,
        // a u32, which stays what the caller said.
        unsafe {
            std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), bytes, known);
            self.pointer.cast::<u32>().write_unaligned(self.size as u32);
        }
    }
}

/// What a program's function returned: the error that ends the run, unless it is 0.
///
/// # Errors
/// Of the kind that the number stands for; [`ErrorKind::Cancelled`] for others and for [`ErrorKind::Internal`], which is
/// no defect of this library.
pub(super) fn returned(code: i32, function: impl FnOnce() -> String) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let kind = ErrorKind::from_code(code).filter(|kind| *kind != ErrorKind::Internal);
    Err(Error::new(kind.unwrap_or(ErrorKind::Cancelled), format!("{} returned {code}", function())))
}

/// What a program gave along with a callback; released when dropped, and so exactly once.
pub(super) struct UserData {
    pointer: *mut c_void,
    destroy: glebe_destroy_fn,
}

// SAFETY: the pointer is only handed to the program's own functions, which by the header's contract are ready for
// the threads that it names.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(super) fn new(pointer: *mut c_void, destroy: glebe_destroy_fn) -> UserData {
        UserData { pointer, destroy }
    }

    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy.take() {
            // SAFETY: the program gave the two together for this call.
            unsafe { destroy(self.pointer) };
        }
    }
}

#[cfg(test)]
#[path = "boundary_tests.rs"]
mod tests;
