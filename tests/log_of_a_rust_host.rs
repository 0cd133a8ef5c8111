//! A Rust program that has a log subscriber of its own keeps it; the C callback is refused, and released. Alone in a
//! program, since a subscriber is for the whole process.
#![allow(unsafe_code, reason = "the C function is called as C does")]

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use glebe::ErrorKind;

type Told = unsafe extern "C" fn(i32, *const c_char, *const c_char, *mut c_void);
type Destroy = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn glebe_log_set_callback(
        level: i32,
        function: Option<Told>,
        user_data: *mut c_void,
        destroy: Option<Destroy>,
        error: *mut *mut c_void,
    ) -> i32;
}

static RELEASED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn told(_: i32, _: *const c_char, _: *const c_char, _: *mut c_void) {}

unsafe extern "C" fn destroy(_: *mut c_void) {
    RELEASED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn the_hosts_subscriber_stays() {
    tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::default()).unwrap();
    // SAFETY: the functions are of the types of glebe.h; error may be NULL.
    let status = unsafe { glebe_log_set_callback(2, Some(told), null_mut(), Some(destroy), null_mut()) };
    assert_eq!(status, ErrorKind::InvalidState.code());
    assert_eq!(RELEASED.load(Ordering::SeqCst), 1);
    // Removing a callback needs no subscriber.
    // SAFETY: as above.
    let status = unsafe { glebe_log_set_callback(0, None, null_mut(), Some(destroy), null_mut()) };
    assert_eq!((status, RELEASED.load(Ordering::SeqCst)), (0, 2));
}
