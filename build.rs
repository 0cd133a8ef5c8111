//! Gives the shared library its versioned name, so that programs linked against one ABI never load another.

/// First part of the C ABI's version; equal to `GLEBE_ABI_VERSION` in `src/ffi` (a test compares them).
const ABI_VERSION: u32 = 1;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match target.as_str() {
        "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly" => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libglebe.so.{ABI_VERSION}");
        }
        "macos" | "ios" => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libglebe.{ABI_VERSION}.dylib");
        }
        _ => {}
    }
}
