//! Jobs that end before their time and are taken up again.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use glebe::ErrorKind;
use glebe::geometry::Size;
use glebe::model::Model;
use glebe::raster::Format;
use glebe::segment::{FileOptions, Product, Report, SegmentOptions, Segmenter};
use glebe::tiling::{Blend, Overlap};

use crate::fixtures::{
    golden_model, golden_options, identity_network, model, noise_image, read_raster, write_raster,
};

/// A job on a raster of its own.
struct Case {
    folder: tempfile::TempDir,
    model: Model,
    options: SegmentOptions,
    files: FileOptions,
}

impl Case {
    /// 8 x 8 tiles.
    fn new(blend: Blend, product: Product) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let mut image = noise_image::<u8>([3, 198, 201], 5, 255.0);
        // A part without data, some tiles of it whole.
        image.slice_mut(ndarray::s![.., 90..160, 60..170]).fill(0);
        write_raster(&folder.path().join("in.tif"), &image, Some(0.0));
        let mut options = golden_options();
        options.tile = Some(Size::new(32, 32));
        options.overlap = Overlap::Pixels(if blend == Blend::Exact { 0 } else { 8 });
        options.blend = blend;
        options.product = product;
        Case { folder, model: golden_model("conv.onnx"), options, files: FileOptions::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn part(&self) -> PathBuf {
        self.path("out.tif.part")
    }

    /// Runs the job, up to some number of tiles done.
    fn run(&self, output: &str, most: u64) -> glebe::Result<Report> {
        Segmenter::new(&self.model, self.options.clone())
            .unwrap()
            .on_progress(|progress| {
                if progress.done >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .file(self.path("in.tif"), self.path(output), &self.files)
    }

    fn whole(&self) -> (Vec<u8>, Report) {
        let report = self.run("whole.tif", u64::MAX).unwrap();
        (fs::read(self.path("whole.tif")).unwrap(), report)
    }
}

/// Stops after every tile in turn, each time in a job of its own, and goes on.
fn stopped_after_every_tile(case: &mut Case) {
    let (expected, whole) = case.whole();
    let tiles = whole.tiles_computed;
    assert!(tiles >= 64, "{tiles}");
    for stop in 1..tiles {
        case.files.resume = false;
        let error = case.run("out.tif", stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        let kept = format!("{stop} of {tiles} tiles are kept in out.tif.part");
        assert!(error.message().contains(&kept), "{error}");
        assert!(!case.path("out.tif").exists());
        case.files.resume = true;
        let report = case.run("out.tif", u64::MAX).unwrap();
        assert_eq!(report.tiles_resumed, stop);
        // The speed is that of what was done now.
        let new = report.pixels as f64 * (tiles - stop) as f64 / tiles as f64;
        assert!((report.mpx_per_s * report.wall_s * 1e6 / new - 1.0).abs() < 1e-9, "{}", report.mpx_per_s);
        assert!(fs::read(case.path("out.tif")).unwrap() == expected, "stopped after {stop}");
        // Counted over both parts.
        assert_eq!((&report.class_pixels, report.nodata_pixels), (&whole.class_pixels, whole.nodata_pixels));
        assert!(!case.part().exists());
        fs::remove_file(case.path("out.tif")).unwrap();
    }
}

/// Gives the job as little memory as it can do with; the number of its lanes.
fn in_lanes(case: &mut Case) -> usize {
    for memory in (1 << 20..8 << 20).step_by(1 << 15) {
        case.options.memory = Some(memory);
        match case.run("lanes.tif", u64::MAX) {
            Ok(report) => {
                fs::remove_file(case.path("lanes.tif")).unwrap();
                return report.lanes;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}"),
        }
    }
    0
}

#[test]
fn a_blended_job_in_lanes_may_stop_after_any_tile() {
    let mut case = Case::new(Blend::Hann, Product::Logits);
    // A COG would need more memory to be made than lanes save.
    case.files.format = Format::GTiff;
    let wide = case.whole();
    fs::remove_file(case.path("whole.tif")).unwrap();
    assert!(in_lanes(&mut case) > 1);
    stopped_after_every_tile(&mut case);
    // And memory changes nothing but the order of the work.
    let narrow = fs::read(case.path("whole.tif")).unwrap();
    assert!(narrow == wide.0);
}

#[test]
fn a_cropped_job_may_stop_after_any_tile() {
    stopped_after_every_tile(&mut Case::new(Blend::Crop, Product::Classes));
}

#[test]
fn a_blended_job_may_stop_after_any_tile() {
    stopped_after_every_tile(&mut Case::new(Blend::Gaussian, Product::Probabilities));
}

#[test]
fn an_exact_job_in_lanes_may_stop_after_any_tile() {
    let mut case = Case::new(Blend::Exact, Product::Classes);
    case.options.tile = Some(Size::new(28, 28));
    assert!(in_lanes(&mut case) > 1);
    stopped_after_every_tile(&mut case);
}

#[test]
fn batches_are_the_same_after_an_interruption() {
    for blend in [Blend::Hann, Blend::Crop] {
        let mut case = Case::new(blend, Product::Logits);
        case.options.batch = Some(3);
        let (expected, _) = case.whole();
        for stop in [1, 5, 17, 40] {
            case.files.resume = false;
            case.run("out.tif", stop).unwrap_err();
            case.files.resume = true;
            case.run("out.tif", u64::MAX).unwrap();
            assert!(fs::read(case.path("out.tif")).unwrap() == expected, "{blend}, stopped after {stop}");
            fs::remove_file(case.path("out.tif")).unwrap();
        }
    }
}

#[test]
fn a_job_may_stop_again_and_again() {
    let mut case = Case::new(Blend::Linear, Product::Classes);
    let (expected, whole) = case.whole();
    case.files.resume = true;
    let mut goes = 0;
    while goes < 2 * whole.tiles_computed {
        goes += 1;
        // One tile more each time; those that blending computes anew come before it.
        let done = (goes).min(whole.tiles_computed);
        match case.run("out.tif", done) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
        }
    }
    // The last tile is told of, too: the job ends with the go after it.
    let _ = case.run("out.tif", u64::MAX);
    assert!(goes >= whole.tiles_computed, "{goes}");
    assert!(fs::read(case.path("out.tif")).unwrap() == expected);
}

#[test]
fn leftovers_are_named_and_left_alone() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    let (expected, _) = case.whole();
    case.run("out.tif", 9).unwrap_err();
    let bytes = |name: &str| fs::read(case.part().join(name)).unwrap();
    let before = (bytes("journal"), bytes("samples"));
    let error = case.run("out.tif", u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let line = error.one_line();
    assert!(line.contains("out.tif.part") && line.contains("resume") && line.contains("overwrite"), "{line}");
    assert_eq!((bytes("journal"), bytes("samples")), before);
    // Afresh.
    case.files.overwrite = true;
    let report = case.run("out.tif", u64::MAX).unwrap();
    assert_eq!(report.tiles_resumed, 0);
    assert!(fs::read(case.path("out.tif")).unwrap() == expected && !case.part().exists());
}

/// What is somebody else's is not thrown away.
#[test]
fn folders_with_other_things_in_them_are_left_alone() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    fs::create_dir(case.part()).unwrap();
    fs::write(case.part().join("thesis.txt"), "x").unwrap();
    for (resume, overwrite) in [(false, false), (true, false), (false, true), (true, true)] {
        (case.files.resume, case.files.overwrite) = (resume, overwrite);
        let error = case.run("out.tif", u64::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.message().contains("thesis.txt"), "{error}");
        assert_eq!(fs::read_dir(case.part()).unwrap().count(), 1);
    }
}

/// A process may be killed while it removes its folder, which has another name then: the output counts as done, and the rest
/// goes with the next job of that output.
#[test]
fn a_folder_that_was_being_removed_is_in_nobodys_way() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    let (expected, _) = case.whole();
    let going = case.path("out.tif.part.done");
    fs::create_dir(&going).unwrap();
    fs::write(going.join("samples"), [1, 2, 3]).unwrap();
    fs::write(going.join("lock"), []).unwrap();
    case.files.resume = true;
    case.run("out.tif", 3).unwrap_err();
    assert!(!going.exists() && case.part().exists());
    // Of somebody else: neither touched nor in the way.
    fs::create_dir(&going).unwrap();
    fs::write(going.join("samples.csv"), "mine").unwrap();
    let report = case.run("out.tif", u64::MAX).unwrap();
    assert_eq!(report.tiles_resumed, 3);
    assert!(fs::read(case.path("out.tif")).unwrap() == expected);
    assert!(!case.part().exists());
    assert_eq!(fs::read_to_string(going.join("samples.csv")).unwrap(), "mine");
}

#[test]
fn work_of_another_job_is_refused_with_what_differs() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    case.run("out.tif", 9).unwrap_err();
    case.files.resume = true;
    let refused = |case: &Case, what: &[&str]| {
        let error = case.run("out.tif", u64::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        let line = error.one_line();
        for what in what {
            assert!(line.contains(what), "{line}");
        }
        assert!(!case.path("out.tif").exists());
    };
    let options = case.options.clone();
    case.options.blend = Blend::Gaussian;
    refused(&case, &["blend: crop then, gaussian now"]);
    case.options = options.clone();
    case.options.std = Some(vec![0.5]);
    refused(&case, &["std: 0.25 then, 0.5 now"]);
    case.options = options.clone();
    case.options.tile = Some(Size::new(48, 32));
    refused(&case, &["tile: 32 x 32 then, 48 x 32 now"]);
    case.options = options.clone();
    case.options.threads = 2;
    refused(&case, &["threads: 1 then, 2 now"]);
    case.options = options;
    let own = std::mem::replace(&mut case.model, model(identity_network(3)));
    refused(&case, &["model: "]);
    case.model = own;
    // Format and compression are of the file, not of the samples.
    case.files.format = glebe::raster::Format::GTiff;
    case.run("out.tif", u64::MAX).unwrap();
    // Another raster under the same name.
    fs::remove_file(case.path("out.tif")).unwrap();
    case.files.resume = false;
    case.run("out.tif", 9).unwrap_err();
    case.files.resume = true;
    fs::remove_file(case.path("in.tif")).unwrap();
    write_raster(&case.path("in.tif"), &noise_image::<u8>([3, 198, 201], 6, 255.0), Some(0.0));
    refused(&case, &["raster changed: "]);
}

#[test]
fn damaged_work_is_made_anew() {
    let mut case = Case::new(Blend::Gaussian, Product::Classes);
    let (expected, _) = case.whole();
    let part = case.part();
    let damage = |name: &str, at: usize, cut: Option<u64>| {
        let path = part.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).unwrap();
        if let Some(cut) = cut {
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        }
    };
    // In the middle of the samples, in the journal's middle, a torn end, samples that are cut off, no samples at all.
    type Damage<'a> = (&'a str, usize, Option<u64>);
    let cases: [Damage<'_>; 5] = [
        ("samples", 2500, None),
        ("journal", 2100, None),
        ("journal", 2100, Some(2101)),
        ("samples", 0, Some(3000)),
        ("samples", 0, Some(0)),
    ];
    for (name, at, cut) in cases {
        case.files.resume = false;
        case.run("out.tif", 40).unwrap_err();
        damage(name, at, cut);
        case.files.resume = true;
        let report = case.run("out.tif", u64::MAX).unwrap();
        assert!(report.tiles_resumed < 40, "{name}: {}", report.tiles_resumed);
        assert!(fs::read(case.path("out.tif")).unwrap() == expected, "{name} at {at}, cut {cut:?}");
        fs::remove_file(case.path("out.tif")).unwrap();
    }
}

#[test]
fn nothing_is_left_where_nothing_was_done() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    // An option that is wrong is told before there is a folder.
    case.options.nodata = Some(0.0);
    assert_eq!(case.run("out.tif", u64::MAX).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(!case.part().exists() && !case.path("out.tif").exists());
    case.options.nodata = None;
    // Of a raster whose first tile cannot be read, after it: the last band is damaged from its beginning on.
    let input = case.path("in.tif");
    let mut bytes = fs::read(&input).unwrap();
    let from = bytes.len() * 6 / 10;
    bytes[from..].fill(0xff);
    fs::write(&input, bytes).unwrap();
    let error = case.run("out.tif", u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RasterInvalid, "{error}");
    assert!(!error.message().contains("kept"), "{error}");
    assert!(!case.part().exists() && !case.path("out.tif").exists());
}

#[test]
fn one_job_at_a_time_has_an_output() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    let other = Case::new(Blend::Crop, Product::Classes);
    case.files.overwrite = true;
    let mut refused = Vec::new();
    Segmenter::new(&case.model, case.options.clone())
        .unwrap()
        .on_progress(|progress| {
            if progress.done == 5 {
                for (resume, overwrite) in [(false, false), (true, false), (false, true), (true, true)] {
                    let mut files = FileOptions::default();
                    (files.resume, files.overwrite) = (resume, overwrite);
                    let error = Segmenter::new(&other.model, other.options.clone())
                        .unwrap()
                        .file(case.path("in.tif"), case.path("out.tif"), &files)
                        .unwrap_err();
                    refused.push((error.kind(), error.one_line()));
                }
            }
            ControlFlow::Continue(())
        })
        .file(case.path("in.tif"), case.path("out.tif"), &case.files)
        .unwrap();
    assert_eq!(refused.len(), 4);
    for (kind, line) in refused {
        assert_eq!(kind, ErrorKind::AlreadyExists, "{line}");
        assert!(line.contains("another job is writing this output"), "{line}");
    }
    assert!(!case.part().exists());
}

#[test]
fn an_output_that_is_there_is_not_resumed() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    case.run("out.tif", u64::MAX).unwrap();
    let before = fs::read(case.path("out.tif")).unwrap();
    case.files.resume = true;
    assert_eq!(case.run("out.tif", u64::MAX).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(case.path("out.tif")).unwrap(), before);
    // With both it goes on, and the old output stays until the new one is whole.
    case.files.overwrite = true;
    fs::write(case.path("out.tif"), b"old").unwrap();
    case.run("out.tif", 7).unwrap_err();
    assert_eq!(fs::read(case.path("out.tif")).unwrap(), b"old");
    let report = case.run("out.tif", u64::MAX).unwrap();
    assert_eq!(report.tiles_resumed, 7);
    assert!(fs::read(case.path("out.tif")).unwrap() == before);
}

#[test]
fn a_raster_that_is_exchanged_is_noticed() {
    let case = Case::new(Blend::Crop, Product::Classes);
    let swap = |path: &Path| write_raster(path, &noise_image::<u8>([3, 198, 201], 9, 255.0), Some(0.0));
    let mut done = false;
    let error = Segmenter::new(&case.model, case.options.clone())
        .unwrap()
        .on_progress(|progress| {
            if progress.done == 20 && !std::mem::replace(&mut done, true) {
                fs::remove_file(case.path("in.tif")).unwrap();
                swap(&case.path("in.tif"));
            }
            ControlFlow::Continue(())
        })
        .file(case.path("in.tif"), case.path("out.tif"), &case.files)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.one_line().contains("in.tif: the raster was changed or replaced"), "{}", error.one_line());
    // What was scored of the old one is of no use.
    assert!(!case.part().exists() && !case.path("out.tif").exists());
}

#[test]
fn a_raster_that_is_cut_off_leaves_what_was_done() {
    let mut case = Case::new(Blend::Crop, Product::Classes);
    let input = case.path("in.tif");
    let (expected, _) = case.whole();
    let bytes = fs::read(&input).unwrap();
    let changed = fs::metadata(&input).unwrap().modified().unwrap();
    // The same length and time, but holes where the lower blocks were: what a bad disk gives.
    let mut torn = bytes.clone();
    // The bands lie one after the other: the lowest blocks of the last one.
    let from = bytes.len() * 95 / 100;
    torn[from..].fill(0xff);
    let put = |bytes: &[u8]| {
        fs::write(&input, bytes).unwrap();
        fs::File::options().write(true).open(&input).unwrap().set_modified(changed).unwrap();
    };
    put(&torn);
    let error = case.run("out.tif", u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RasterInvalid, "{error}");
    let line = error.one_line();
    assert!(line.contains("tiles are kept in out.tif.part"), "{line}");
    put(&bytes);
    case.files.resume = true;
    let report = case.run("out.tif", u64::MAX).unwrap();
    assert!(report.tiles_resumed > 0);
    assert!(fs::read(case.path("out.tif")).unwrap() == expected);
    assert!(matches!(read_raster(&case.path("out.tif")).shape(), [1, 198, 201]));
}
