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

/// Memory that can be had without swapping, in bytes; `None` where the system does not tell.
///
/// Linux: `MemAvailable` of `/proc/meminfo` (proc(5)), given in KiB; no more than what the control group has left (`memory.max`
/// less `memory.current` of cgroup v2), which is what a container may use.
pub fn available_memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    let number = |name: &str| {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok()
    };
    let group = number("memory.max").zip(number("memory.current"));
    let left = group.map_or(u64::MAX, |(most, used)| most.saturating_sub(used));
    Some((kib * 1024).min(left))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory_and_not_without_end() {
        let free = available_memory_bytes().unwrap();
        assert!((1 << 20..1 << 50).contains(&free), "{free}");
    }

    #[test]
    fn the_peak_grows_with_what_is_touched() {
        let before = peak_rss_bytes().unwrap();
        let touched = vec![1u8; 64 << 20];
        let after = peak_rss_bytes().unwrap();
        assert!(touched[touched.len() - 1] == 1 && after >= before && after > 64 << 20);
    }
}
