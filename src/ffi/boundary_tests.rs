use std::ffi::CStr;
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::{glebe_error_code, glebe_error_free, glebe_error_message};
use crate::ffi::model::{glebe_model, glebe_model_free, glebe_model_inspect, glebe_model_open_bytes};
use crate::ffi::prediction::glebe_prediction;
use crate::ffi::runtime::{glebe_runtime, glebe_runtime_free, glebe_runtime_load, glebe_runtime_providers};
use crate::ffi::segment::glebe_segment_array;
use crate::ffi::status::{GLEBE_STATUS_INTERNAL, GLEBE_STATUS_INVALID_ARGUMENT, GLEBE_STATUS_INVALID_STATE};
use crate::onnx::{Dim, ElementType, GraphBuilder};

/// Status and message of a body, through the boundary.
fn run(body: impl FnOnce() -> Result<()>) -> (glebe_status, Option<String>) {
    let mut error: *mut glebe_error = null_mut();
    // SAFETY: error may be written; what is stored there is an error object, freed here.
    unsafe {
        let status = status(&raw mut error, body);
        assert_eq!(glebe_error_code(error), status);
        let message = (!error.is_null())
            .then(|| CStr::from_ptr(glebe_error_message(error)).to_str().unwrap().to_owned());
        glebe_error_free(error);
        (status, message)
    }
}

#[test]
fn a_panic_becomes_a_status_that_says_where() {
    let (status, message) = run(|| panic!("on {}", "purpose"));
    assert_eq!(status, GLEBE_STATUS_INTERNAL);
    let message = message.unwrap();
    assert!(message.contains("boundary_tests.rs:") && message.contains("on purpose"), "{message}");
}

#[test]
fn a_panic_in_a_neutral_function_gives_its_fallback() {
    assert_eq!(neutral(7, || panic!("on purpose")), 7);
    assert_eq!(neutral(7, || None), 7);
    assert_eq!(neutral(7, || Some(8)), 8);
}

#[test]
fn an_error_without_a_place_for_it_is_a_status() {
    // SAFETY: NULL is allowed.
    let code = unsafe { status(null_mut(), || Err(Error::invalid("x"))) };
    assert_eq!(code, GLEBE_STATUS_INVALID_ARGUMENT);
}

#[test]
fn success_leaves_the_error_alone() {
    assert_eq!(run(|| Ok(())), (GLEBE_STATUS_OK, None));
}

#[test]
fn a_panic_poisons_the_handle_and_an_error_does_not() {
    let handle = Handle::new(5);
    let (status, _) = run(|| handle.enter(|_| Err(Error::invalid("only wrong"))));
    assert_eq!(status, GLEBE_STATUS_INVALID_ARGUMENT);
    assert_eq!(handle.enter(|value| Ok(*value)).unwrap(), 5);
    let (status, _) = run(|| handle.enter(|_| panic!("on purpose")));
    assert_eq!(status, GLEBE_STATUS_INTERNAL);
    for _ in 0..2 {
        let (status, message) = run(|| handle.enter(|_| Ok(())));
        assert_eq!(status, GLEBE_STATUS_INVALID_STATE);
        assert!(message.unwrap().contains("internal error"));
    }
    assert_eq!(*handle.peek(), 5);
}

#[test]
fn a_handle_of_another_process_is_refused() {
    let handle = Handle { poisoned: AtomicBool::new(false), process: std::process::id() + 1, value: () };
    assert!(handle.is_foreign());
    let (status, message) = run(|| handle.enter(|()| Ok(())));
    assert_eq!(status, GLEBE_STATUS_INVALID_STATE);
    assert!(message.unwrap().contains("fork"));
}

/// Runtime and model of one 1 x 1 convolution.
fn opened() -> (*mut glebe_runtime, *mut glebe_model) {
    let mut graph = GraphBuilder::new("one");
    let shape = [Dim::Fixed(1), Dim::Fixed(1), "h".into(), "w".into()];
    let x = graph.input("x", ElementType::Float32, &shape);
    let w = graph.initializer_f32("w", &[1, 1, 1, 1], &[1.0]);
    let y = graph.node("Conv", &[&x, &w]).output("y");
    graph.output(&y, ElementType::Float32, &shape);
    let bytes = graph.finish().unwrap();
    let (mut runtime, mut model) = (null_mut(), null_mut());
    // SAFETY: outputs may be written; the bytes live.
    unsafe {
        assert_eq!(glebe_runtime_load(null(), &raw mut runtime, null_mut()), GLEBE_STATUS_OK);
        let status =
            glebe_model_open_bytes(runtime, bytes.as_ptr(), bytes.len(), null(), &raw mut model, null_mut());
        assert_eq!(status, GLEBE_STATUS_OK);
    }
    (runtime, model)
}

#[test]
fn every_class_with_a_handle_is_poisoned_by_a_panic() {
    let (runtime, model) = opened();
    let mut json = glebe_buffer { data: null_mut(), size: 0 };
    let mut prediction: *mut glebe_prediction = null_mut();
    let sample = [0u8];
    // SAFETY: handles come from the library and are freed last; outputs may be written.
    unsafe {
        assert_eq!(run(|| (*model).0.enter(|_| panic!("on purpose"))).0, GLEBE_STATUS_INTERNAL);
        let status = glebe_model_inspect(model, &raw mut json, null_mut());
        assert_eq!(status, GLEBE_STATUS_INVALID_STATE);
        let mut image = <crate::ffi::image::glebe_image as Versioned>::defaults();
        (image.channels, image.height, image.width) = (1, 1, 1);
        image.data_type = crate::ffi::image::GLEBE_DATA_TYPE_U8;
        image.data = sample.as_ptr().cast();
        let status = glebe_segment_array(model, &raw const image, null(), &raw mut prediction, null_mut());
        assert_eq!(status, GLEBE_STATUS_INVALID_STATE);

        // The model's panic is not the runtime's.
        assert_eq!((*runtime).0.enter(|_| Ok(1)).unwrap(), 1);
        assert_eq!(run(|| (*runtime).0.enter(|_| panic!("on purpose"))).0, GLEBE_STATUS_INTERNAL);
        let status = glebe_runtime_providers(runtime, &raw mut json, null_mut());
        assert_eq!(status, GLEBE_STATUS_INVALID_STATE);

        // Outputs were left alone, and both can be freed.
        assert!(json.data.is_null() && prediction.is_null());
        glebe_model_free(model);
        glebe_runtime_free(runtime);
    }
}

#[cfg(not(feature = "raster"))]
#[test]
fn files_need_the_feature_raster() {
    let (runtime, model) = opened();
    // SAFETY: handles come from the library and are freed last; the strings are constants.
    unsafe {
        let (file, report) = (c"a.tif".as_ptr(), null_mut());
        let status = crate::ffi::segment::glebe_segment_file(model, file, file, null(), report, null_mut());
        assert_eq!(status, ErrorKind::NotSupported.code());
        glebe_model_free(model);
        glebe_runtime_free(runtime);
    }
}

#[test]
fn a_panic_in_a_destructor_goes_nowhere() {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    // SAFETY: a box of its own.
    unsafe { free(Box::into_raw(Box::new(Loud)), |_| false) };
}

#[test]
fn user_data_is_released_exactly_once() {
    static RELEASED: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn destroy(pointer: *mut c_void) {
        RELEASED.fetch_add(pointer as usize, Ordering::SeqCst);
    }
    drop(UserData::new(std::ptr::without_provenance_mut(1), Some(destroy)));
    assert_eq!(RELEASED.load(Ordering::SeqCst), 1);
    let data = UserData::new(std::ptr::without_provenance_mut(10), Some(destroy));
    let (status, _) = run(move || {
        let _data = data;
        panic!("on purpose")
    });
    assert_eq!((status, RELEASED.load(Ordering::SeqCst)), (GLEBE_STATUS_INTERNAL, 11));
    drop(UserData::new(null_mut(), None));
}

/// A struct that has grown by `second` since its first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grown {
    struct_size: u32,
    first: u32,
    second: u64,
}

// SAFETY: repr(C), its size first, no gaps, integers.
unsafe impl Versioned for Grown {
    const NAME: &'static str = "grown";
    const FIRST_SIZE: usize = 8;

    fn defaults() -> Self {
        Grown { struct_size: 16, first: 1, second: 2 }
    }
}

fn read(words: &[u64], size: usize) -> Result<Grown> {
    let mut words = words.to_vec();
    let pointer = words.as_mut_ptr().cast::<u8>();
    // SAFETY: there are as many bytes as the callers below say.
    unsafe {
        pointer.cast::<u32>().write(size as u32);
        read_sized(pointer.cast(), "options")
    }
}

#[test]
fn a_smaller_struct_is_completed_with_defaults() {
    assert_eq!(read(&[5 << 32, u64::MAX], 8).unwrap(), Grown { struct_size: 8, first: 5, second: 2 });
}

#[test]
fn a_larger_struct_needs_zeros_in_its_tail() {
    assert_eq!(read(&[5 << 32, 6, 0, 0], 32).unwrap(), Grown { struct_size: 32, first: 5, second: 6 });
    for tail in [[1, 0], [0, 1 << 63]] {
        let error = read(&[5 << 32, 6, tail[0], tail[1]], 32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("grown of 32 bytes"), "{error}");
    }
}

#[test]
fn sizes_that_no_version_has_are_refused() {
    for size in [0, 4, 7, 9, 12, 15, LARGEST + 8, usize::from(u16::MAX), u32::MAX as usize] {
        let error = read(&[0, 0, 0, 0], size).unwrap_err();
        assert!(error.message().contains("struct_size"), "{size}: {error}");
    }
    // SAFETY: NULL is allowed.
    assert!(unsafe { read_sized::<Grown>(null(), "options") }.unwrap_err().message().contains("NULL"));
}

#[test]
fn init_writes_what_both_sides_know_and_zeros_behind() {
    let mut words = [u64::MAX; 4];
    // SAFETY: no more than there is.
    unsafe {
        let pointer = words.as_mut_ptr().cast::<Grown>();
        assert_eq!(init(pointer, 24), GLEBE_STATUS_OK);
        assert_eq!(words, [24 | (1 << 32), 2, 0, u64::MAX]);
        words = [u64::MAX; 4];
        let pointer = words.as_mut_ptr().cast::<Grown>();
        assert_eq!(init(pointer, 8), GLEBE_STATUS_OK);
        assert_eq!(words, [8 | (1 << 32), u64::MAX, u64::MAX, u64::MAX]);
        assert_eq!(init(words.as_mut_ptr().cast::<Grown>(), 4), GLEBE_STATUS_INVALID_ARGUMENT);
        assert_eq!(init::<Grown>(null_mut(), 16), GLEBE_STATUS_INVALID_ARGUMENT);
    }
}

#[test]
fn text_comes_in_as_utf8_and_goes_out_without_nul() {
    // SAFETY: terminated strings.
    unsafe {
        assert_eq!(text(c"m\u{fc}hle".as_ptr(), "path").unwrap(), "mühle");
        let error = text(c"\xff".as_ptr(), "path").unwrap_err();
        assert!(error.message().contains("path is not UTF-8"), "{error}");
        assert!(optional_text(null(), "path").unwrap().is_none());
        let list = [c"a".as_ptr(), null()];
        assert_eq!(texts(list.as_ptr(), 1, "names").unwrap(), ["a"]);
        let error = texts(list.as_ptr(), 2, "names").unwrap_err();
        assert_eq!(error.message(), "names[1] is NULL");
    }
    assert_eq!(c_text("a\0b").to_str().unwrap(), "a\u{fffd}b");
}

#[test]
fn slices_are_checked_before_they_exist() {
    let values = [1u32, 2];
    // SAFETY: as many as there are, or refused.
    unsafe {
        assert_eq!(slice(values.as_ptr(), 2, "bands").unwrap(), values);
        assert!(slice::<u32>(null(), 0, "bands").unwrap().is_empty());
        assert!(slice::<u32>(std::ptr::without_provenance(1), 0, "bands").unwrap().is_empty());
        assert_eq!(slice::<u32>(null(), 1, "bands").unwrap_err().message(), "bands is NULL");
        let askew = values.as_ptr().cast::<u8>().add(1).cast::<u32>();
        assert!(slice(askew, 1, "bands").unwrap_err().message().contains("aligned"));
        for length in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4 + 1] {
            assert!(slice(values.as_ptr(), length, "bands").unwrap_err().message().contains("length"));
        }
        assert!(borrow(askew, "x").unwrap_err().message().contains("aligned"));
    }
}
