//! Memory of this process.

/// The largest resident set this process has had so far, in bytes; `None` where the system does not tell.
///
/// Linux: `VmHWM` of `/proc/self/status` (proc(5)), given in KiB.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// [`peak_rss_bytes`] in MiB, as reports have it.
pub fn peak_rss_mib() -> Option<f64> {
    peak_rss_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_grows_with_what_is_touched() {
        let before = peak_rss_bytes().unwrap();
        let touched = vec![1u8; 64 << 20];
        let after = peak_rss_bytes().unwrap();
        assert!(touched[touched.len() - 1] == 1 && after >= before && after > 64 << 20);
    }
}
