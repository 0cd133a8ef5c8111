//! Loops that are compiled three times: for the vector instructions that every processor has, and for the wider ones of two
//! generations.
#![allow(
    unsafe_code,
    reason = "a function with more instructions may be called only where the processor has them"
)]

/// A loop over slices in a form that becomes vector instructions.
///
/// The same operations in the same order with any instructions, and nothing that contracts a product and a sum into
/// one rounding, so every processor gives the same bits.
pub(crate) trait Loop {
    /// Goes over the slices. `#[inline(always)]`, as is all that it calls: code that is not inlined is not compiled
    /// again.
    fn run(self);
}

/// Runs a loop with the widest instructions at hand.
pub(crate) fn vectorised(body: impl Loop) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        // SAFETY: the processor has all of them.
        return unsafe { with_avx512(body) };
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { with_avx2(body) };
    }
    body.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512(body: impl Loop) {
    body.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(body: impl Loop) {
    body.run();
}
