use super::*;
use crate::geometry::{Band, Padding};

/// The cache is one for the whole process, and tests run side by side: a process of one's own.
fn alone(test: &str, work: impl FnOnce()) {
    const INNER: &str = "GLEBE_TEST_CACHE";
    if std::env::var(INNER).is_ok_and(|inner| inner == test) {
        return work();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("raster::tests::cache::{test}"), "--test-threads=1"])
        .env(INNER, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn the_smallest_limit_holds_and_what_was_there_comes_back() {
    alone("the_smallest_limit_holds_and_what_was_there_comes_back", || {
        const MIB: i64 = 1 << 20;
        sys::set_cache_limit(200 * MIB);
        let large = CacheLimit::new(100 << 20);
        assert_eq!(sys::cache_limit(), 100 * MIB);
        let small = CacheLimit::new(30 << 20);
        let larger = CacheLimit::new(u64::MAX);
        assert_eq!((sys::cache_limit(), larger.bytes()), (30 * MIB, i64::MAX as u64));
        drop(large);
        assert_eq!(sys::cache_limit(), 30 * MIB);
        drop(small);
        // Never more than the host allows.
        assert_eq!(sys::cache_limit(), 200 * MIB);
        let tiny = CacheLimit::new(0);
        assert_eq!(sys::cache_limit(), MIB);
        drop((tiny, larger));
        assert_eq!(sys::cache_limit(), 200 * MIB);
        // What the host sets meanwhile stays.
        let guard = CacheLimit::new(30 << 20);
        sys::set_cache_limit(77 * MIB);
        drop(guard);
        assert_eq!(sys::cache_limit(), 77 * MIB);
    });
}

#[test]
fn guards_of_many_threads_leave_what_was_there() {
    alone("guards_of_many_threads_leave_what_was_there", || {
        sys::set_cache_limit(99 << 20);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = (1 + (thread * 7 + round) % 60) << 20;
                        let _guard = CacheLimit::new(bytes);
                        assert!(sys::cache_limit() <= bytes as i64);
                    }
                });
            }
        });
        assert_eq!(sys::cache_limit(), 99 << 20);
    });
}

#[test]
fn reading_stays_below_the_limit_and_forgetting_frees() {
    alone("reading_stays_below_the_limit_and_forgetting_frees", || {
        let folder = folder();
        let path = folder.path().join("a.tif");
        let size = Size::new(4096, 2048);
        let spec = WriteSpec { block: 256, ..WriteSpec::new(size, 1, DataType::U8) };
        write(&path, spec, &ramp(DataType::U8, [1, 2048, 4096]));
        let raster = open(&path);
        let whole = || raster.read(&Band::first(1), Window::of(size), Padding::Edge).unwrap();
        let first = whole();
        assert!(sys::cache_used() >= 8 << 20, "{}", sys::cache_used());
        raster.forget();
        assert_eq!(sys::cache_used(), 0);
        assert_eq!(whole(), first);
        let limit = CacheLimit::new(2 << 20);
        assert!(sys::cache_used() <= 2 << 20, "{}", sys::cache_used());
        assert_eq!(whole(), first);
        assert!((1..=2 << 20).contains(&sys::cache_used()), "{}", sys::cache_used());
        drop(limit);
        raster.forget();
        assert_eq!(sys::cache_used(), 0);
    });
}
