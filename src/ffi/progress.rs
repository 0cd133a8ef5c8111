//! Being told how far a job is.

use std::ffi::c_void;
use std::ops::ControlFlow;

use crate::ffi::boundary::{UserData, layout};
use crate::segment::Progress;

/// How far a job is. The library fills it; struct_size tells how much of it the library knows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_progress {
    /// Bytes of this struct that the library filled.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Tiles done.
    pub done: u64,
    /// Tiles of the job.
    pub total: u64,
    /// Seconds since the job began.
    pub elapsed_s: f64,
    /// The image at work, from 0, where several are evaluated: each is a job of its own.
    pub image: u64,
    /// Their number; 1 elsewhere.
    pub images: u64,
}

layout!(glebe_progress, 48; struct_size 0, reserved 4, done 8, total 16, elapsed_s 24, image 32, images 40);

/// Told after every batch of tiles, on the thread that called the job. A return value other than 0 cancels the job,
/// which then returns GLEBE_STATUS_CANCELLED. `progress` is valid during the call only.
///
/// It may call functions of the library, also on the job's model, but must not free what the job was given. It must
/// return normally: no C++ exception and no longjmp may leave it.
pub type glebe_progress_fn =
    Option<unsafe extern "C" fn(progress: *const glebe_progress, user_data: *mut c_void) -> i32>;

/// The callback of one job with its user data.
pub(super) struct Listener {
    pub(super) told: glebe_progress_fn,
    pub(super) data: UserData,
}

impl Listener {
    pub(super) fn tell(&self, progress: &Progress) -> ControlFlow<()> {
        let Some(told) = self.told else { return ControlFlow::Continue(()) };
        let progress = glebe_progress {
            struct_size: size_of::<glebe_progress>() as u32,
            reserved: 0,
            done: progress.done,
            total: progress.total,
            elapsed_s: progress.elapsed.as_secs_f64(),
            image: progress.image as u64,
            images: progress.images as u64,
        };
        // SAFETY: the program gave the two together for this call.
        match unsafe { told(&raw const progress, self.data.pointer()) } {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}
