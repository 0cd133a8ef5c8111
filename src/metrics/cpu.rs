//! Processor time of this process.

use std::time::Duration;

/// The processor time that all threads of this process have used so far, their own and the system's for them; `None`
/// where the system does not tell.
///
/// Linux: fields 14 and 15 of `/proc/self/stat` (proc(5)), in hundredths of a second.
pub fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let (own, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Duration::from_millis(10 * (own + system)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let before = cpu_time().unwrap();
        let mut sum = 0u64;
        while cpu_time().unwrap() < before + Duration::from_millis(50) {
            sum = (0..1000).fold(sum, |sum, at| std::hint::black_box(sum ^ at));
        }
        assert!(cpu_time().unwrap() - before >= Duration::from_millis(50), "{sum}");
    }
}
