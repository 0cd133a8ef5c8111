//! Checkpoints that PyTorch wrote (tests/golden/checkpoints/make.py), and broken ones.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::weights::message::Scalar;
use crate::weights::tensors::{self, Elements};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints").join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(golden(name)).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

fn refused(name: &str) -> Error {
    Checkpoint::open(golden(name)).map(|_| ()).unwrap_err()
}

/// Every file that PyTorch wrote.
const FILES: [&str; 19] = [
    "lightning.ckpt",
    "geo.pth.tar",
    "delira.pth",
    "plain.pth",
    "legacy.pth",
    "legacy_views.pth",
    "half.pth",
    "views.pth",
    "parameters.pth",
    "protocol4.pth",
    "deflated.pth",
    "unchecked.pth",
    "none.ckpt",
    "foreign.pth",
    "foreign_beside.pth",
    "module.pth",
    "scripted.pth",
    "complex.pth",
    "expected.safetensors",
];

#[test]
fn checkpoints_of_every_kind_hold_the_same_tensors() {
    let expected = tensors::read(golden("expected.safetensors")).unwrap();
    for (name, format, container) in [
        ("lightning.ckpt", Format::Lightning, Container::Archive),
        ("geo.pth.tar", Format::GeoDeepLearning, Container::Archive),
        ("delira.pth", Format::Delira, Container::Archive),
        ("plain.pth", Format::StateDict, Container::Archive),
        ("legacy.pth", Format::StateDict, Container::Stream),
        ("protocol4.pth", Format::StateDict, Container::Archive),
        ("deflated.pth", Format::StateDict, Container::Archive),
        ("unchecked.pth", Format::StateDict, Container::Archive),
        ("none.ckpt", Format::Lightning, Container::Archive),
        ("foreign_beside.pth", Format::Training, Container::Archive),
        ("expected.safetensors", Format::Safetensors, Container::Safetensors),
    ] {
        let checkpoint = open(name);
        assert_eq!((checkpoint.format(), checkpoint.container()), (format, container), "{name}");
        let read: Tensors = checkpoint
            .read_all()
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("model.").unwrap_or(&name).to_owned(), tensor))
            .collect();
        assert_eq!(read, expected, "{name}");
        if container != Container::Safetensors {
            assert!(checkpoint.tensors()[0].name.ends_with("conv.weight"), "{name}: order of the file");
            assert!(checkpoint.tensors()[7].name.ends_with("head.weight"), "{name}: order of the file");
        }
    }
}

#[test]
fn origins_are_shown_as_python_shows_them() {
    let message = |name: &str| open(name).origin().message();
    let start = "Loading checkpoint that was created at";
    assert_eq!(message("lightning.ckpt"), format!("{start} (epoch = 2, global_step = 4)"));
    assert_eq!(message("geo.pth.tar"), format!("{start} (epoch = 11)"));
    assert_eq!(message("delira.pth"), format!("{start} (epoch = 3)"));
    assert_eq!(message("none.ckpt"), format!("{start} (epoch = None, global_step = tensor(120))"));
    assert_eq!(message("plain.pth"), "");
    assert_eq!(open("geo.pth.tar").origin().best_loss.as_ref().unwrap().to_string(), "0.4213");
    assert_eq!(open("lightning.ckpt").origin().lightning_version, Some(Scalar::Text("1.6.5".into())));
}

#[test]
fn keys_are_listed() {
    let keys = |name: &str| -> Vec<(String, String)> {
        open(name).keys().iter().map(|key| (key.name.clone(), key.summary.clone())).collect()
    };
    let has = |name: &str, key: &str, summary: &str| {
        let keys = keys(name);
        assert!(keys.contains(&(key.to_owned(), summary.to_owned())), "{name}: {keys:?}");
    };
    has("lightning.ckpt", "hyper_parameters", "object of argparse.Namespace, not made");
    has("lightning.ckpt", "state_dict", "dictionary of 8, 8 of them tensors");
    has("lightning.ckpt", "global_step", "4");
    has("foreign_beside.pth", "trap", "object of posix.system, not made");
    assert!(keys("plain.pth").is_empty());
}

#[test]
fn elements_of_every_type_are_read() {
    let checkpoint = open("half.pth");
    let read = |name: &str| checkpoint.read(name).unwrap().elements;
    // 6e-8 is the smallest that float16 has: 2^-24.
    assert_eq!(read("f16"), Elements::F32(vec![1.0, -0.5, 65504.0, 2f32.powi(-24)]));
    let Elements::F32(bfloats) = read("bf16") else { panic!() };
    assert_eq!(bfloats[..2], [1.0, 3.140625]);
    assert!((bfloats[2] / -2e30 - 1.0).abs() < 1.0 / 256.0);
    assert_eq!(read("f64"), Elements::F32(vec![0.1, 0.0]));
    assert_eq!(read("i64"), Elements::I64(vec![1 << 40, -1]));
    assert_eq!(read("i32"), Elements::I32(vec![7]));
    assert_eq!(read("i16"), Elements::I32(vec![-300]));
    assert_eq!(read("i8"), Elements::I32(vec![-128]));
    assert_eq!(read("u8"), Elements::U8(vec![255]));
    assert_eq!(read("bool"), Elements::U8(vec![1, 0]));
    let checkpoint = open("parameters.pth");
    let read = |name: &str| checkpoint.read(name).unwrap().elements;
    assert_eq!(read("parameter"), Elements::F32(vec![1.0, 2.0]));
    assert_eq!(read("attribute"), Elements::F32(vec![1.0, 1.0]));
    assert_eq!(read("u16"), Elements::I32(vec![65535, 1]));
    assert_eq!(read("buffer"), Elements::F32(vec![4.0]));
    let checkpoint = open("complex.pth");
    assert_eq!(checkpoint.read("a").unwrap().elements, Elements::F32(vec![1.0, 1.0]));
    assert_eq!(checkpoint.read("b").unwrap_err().kind(), ErrorKind::NotSupported);
    assert_eq!(checkpoint.read("c").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn views_are_read_as_pytorch_shows_them() {
    let expected = tensors::read(golden("views.safetensors")).unwrap();
    for name in ["views.pth", "legacy_views.pth"] {
        assert_eq!(open(name).read_all().unwrap(), expected, "{name}");
    }
}

#[test]
fn what_a_pickle_names_is_not_run() {
    let trace = Path::new("/tmp/glebe-pickle-was-run");
    let error = refused("foreign.pth");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let text = error.one_line();
    assert!(
        text.ends_with(
            "tensor \"head.weight\": expected a tensor, got an object of posix.system, which is not made from files"
        ),
        "{text}"
    );
    open("foreign_beside.pth").read_all().unwrap();
    assert!(!trace.exists());
}

#[test]
fn files_of_other_kinds_are_refused_in_one_line() {
    let text = |name: &str| refused(name).one_line();
    assert!(
        text("module.pth")
            .ends_with("(model.state_dict()), got object of torch.nn.modules.container.Sequential, not made"),
        "{}",
        text("module.pth")
    );
    assert_eq!(refused("scripted.pth").kind(), ErrorKind::NotSupported);
    assert_eq!(refused("make.py").kind(), ErrorKind::InvalidArgument);
    assert_eq!(refused("absent.pth").kind(), ErrorKind::NotFound);
    assert_eq!(refused("").kind(), ErrorKind::InvalidArgument);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ckpt");
    for (bytes, part) in [
        (&b""[..], "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x80\x04K\x01.", "torch.save"),
        (b"PK\x03\x04 and no more", "damaged archive"),
        (b"<html>", "expected a checkpoint"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(error.one_line().contains(part), "{error:?}");
        assert_eq!(error.path(), Some(path.as_path()));
    }
}

/// Files of views_and_folds.py.
#[test]
fn marked_views_and_tensors_without_elements_are_refused_with_the_reason() {
    for (name, kind, part) in [
        ("negated.pth", ErrorKind::NotSupported, "save what resolve_neg() gives"),
        ("conjugated.pth", ErrorKind::NotSupported, "save what resolve_conj() gives"),
        ("meta.pth", ErrorKind::InvalidArgument, "saved on the device \"meta\""),
        ("empty.pth", ErrorKind::InvalidArgument, "the file holds an empty dictionary"),
    ] {
        let error = refused(name);
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.one_line().contains(part), "{error:?}");
    }
}

#[test]
fn streams_of_every_protocol_are_read() {
    for name in ["stream3.pth", "stream4.pth", "stream5.pth"] {
        let checkpoint = open(name);
        assert_eq!(checkpoint.container(), Container::Stream);
        assert_eq!(checkpoint.read("w").unwrap().elements, Elements::F32(vec![1.0, 2.0, 3.0]), "{name}");
        // The sixteen bytes that are asked for suffice.
        let head = fs::read(golden(name)).unwrap();
        assert_eq!(Container::of_head(&head[..16]), Some(Container::Stream));
    }
}

#[test]
fn the_state_dict_may_be_told() {
    let with = |key: &str| {
        let options = OpenOptions { key: Some(key.into()), ..OpenOptions::default() };
        Checkpoint::open_with(golden("geo.pth.tar"), &options)
    };
    assert_eq!(with("model_state_dict").unwrap().tensors().len(), 8);
    let missing = with("ema").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.one_line().contains("epoch, params, model_state_dict"), "{missing:?}");
    assert_eq!(with("params").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_training_state_is_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let all: Tensors = ["weights/a", "statistics/b", "optimizer/m/a", "averages/a"]
        .into_iter()
        .map(|name| (name.to_owned(), NamedTensor::f32(&[1], vec![name.len() as f32])))
        .collect();
    let metadata = [("glebe.train_state", "1"), ("epoch", "2"), ("global_step", "None")];
    let metadata = metadata.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect();
    tensors::write(&path, &all, &metadata, false).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.format(), Format::TrainState);
    assert_eq!(
        checkpoint.origin().message(),
        "Loading checkpoint that was created at (epoch = 2, global_step = None)"
    );
    assert_eq!(checkpoint.read_all().unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(checkpoint.read("b").unwrap().elements, Elements::F32(vec![12.0]));
    assert_eq!(checkpoint.others().len(), 2);
}

/// Opens and reads whatever can be read: the result does not matter, that there is one does.
fn survives(path: &Path, limits: &Limits) -> Option<Tensors> {
    let options = OpenOptions { limits: limits.clone(), ..OpenOptions::default() };
    let started = Instant::now();
    let read = Checkpoint::open_with(path, &options).and_then(|checkpoint| checkpoint.read_all());
    assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", path.display(), started.elapsed());
    if let Err(error) = &read {
        assert_ne!(error.kind(), ErrorKind::Internal, "{error:?}");
        assert!(!error.one_line().contains('\n'));
    }
    read.ok()
}

/// Limits as a test has them: what a damaged length may take is little memory.
fn tight() -> Limits {
    Limits { tensor_elements: 1 << 20, tensor_bytes: 1 << 24, inflated_bytes: 1 << 24, ..Limits::default() }
}

#[test]
fn truncated_files_are_refused_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for name in FILES {
        let bytes = fs::read(golden(name)).unwrap();
        fs::write(&path, &bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for length in (0..bytes.len()).rev().filter(|length| length % 7 == 0 || length + 40 > bytes.len()) {
            file.set_len(length as u64).unwrap();
            assert!(survives(&path, &tight()).is_none(), "{name} cut to {length}");
        }
    }
}

#[test]
fn damaged_files_do_no_harm() {
    // More of it where a developer has the time.
    let rounds =
        std::env::var("GLEBE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(250);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for name in FILES {
        let mut bytes = fs::read(golden(name)).unwrap();
        // Without checksums, which would catch nearly all of it.
        for at in 0..bytes.len().saturating_sub(20) {
            if bytes[at..].starts_with(b"PK\x01\x02") {
                bytes[at + 16..at + 20].fill(0);
            }
        }
        fs::write(&path, &bytes).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for round in 0..rounds {
            let mut damaged = bytes.clone();
            for _ in 0..1 + round % 4 {
                let at = random(damaged.len());
                damaged[at] = match random(4) {
                    0 => 0xff,
                    1 => damaged[at] ^ (1 << random(8)),
                    2 => b"(]}tRbQhq.\x94\x93\x81"[random(13)],
                    _ => random(256) as u8,
                };
            }
            // In place: a file that is made anew each time costs a flush.
            file.rewind().unwrap();
            file.write_all(&damaged).unwrap();
            survives(&path, &tight());
        }
    }
}

/// An archive with a pickle and entries, stored or with bytes that are called compressed.
fn archive(entries: &[(&str, &[u8], Option<u32>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, unpacked) in entries {
        let offset = file.len() as u32;
        let size = unpacked.unwrap_or(bytes.len() as u32);
        let mut head = vec![20, 0, 0, 0, if unpacked.is_some() { 8 } else { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        head.extend((bytes.len() as u32).to_le_bytes());
        head.extend(size.to_le_bytes());
        head.extend((name.len() as u16).to_le_bytes());
        head.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&head);
        file.extend(name.as_bytes());
        file.extend(*bytes);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([(entries.len() as u16).to_le_bytes(), (entries.len() as u16).to_le_bytes()].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// `{'w': tensor}` of a float storage `0` of `elements` elements.
fn pickle(elements: u32, offset: u32, sizes: &[u32], strides: &[u32]) -> Vec<u8> {
    let number = |value: u32| [b"\x8a\x05".as_slice(), &value.to_le_bytes(), &[0]].concat();
    let tuple = |values: &[u32]| {
        [b"(".to_vec(), values.iter().flat_map(|value| number(*value)).collect(), b"t".to_vec()].concat()
    };
    [
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu"
            .to_vec(),
        number(elements),
        b"tQ".to_vec(),
        number(offset),
        tuple(sizes),
        tuple(strides),
        b"\x89}tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn absurd_shapes_and_sizes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let storage = [0u8; 64];
    let outcome = |pickle: &[u8]| {
        fs::write(&path, archive(&[("a/data.pkl", pickle, None), ("a/data/0", &storage, None)])).unwrap();
        Checkpoint::open(&path).map(|checkpoint| checkpoint.read("w").unwrap().shape)
    };
    let kind = |pickle: &[u8]| outcome(pickle).unwrap_err().kind();
    assert_eq!(outcome(&pickle(16, 0, &[4, 4], &[4, 1])).unwrap(), [4, 4]);
    assert_eq!(outcome(&pickle(16, 0, &[1000, 4], &[0, 1])).unwrap(), [1000, 4]);
    // Beyond the storage, or more than the file has of it.
    assert_eq!(kind(&pickle(16, 0, &[4, 5], &[4, 1])), ErrorKind::InvalidArgument);
    assert_eq!(kind(&pickle(16, 13, &[4], &[1])), ErrorKind::InvalidArgument);
    assert_eq!(kind(&pickle(17, 0, &[4, 4], &[4, 1])), ErrorKind::InvalidArgument);
    assert_eq!(kind(&pickle(u32::MAX, 0, &[u32::MAX], &[1])), ErrorKind::InvalidArgument);
    assert_eq!(kind(&pickle(16, u32::MAX, &[2], &[u32::MAX])), ErrorKind::InvalidArgument);
    assert_eq!(kind(&pickle(16, 0, &[2, 2], &[1])), ErrorKind::InvalidArgument);
    assert_eq!(kind(&pickle(16, 0, &[1; 40], &[1; 40])), ErrorKind::LimitExceeded);
    // 64 bytes that claim to be 400 MB.
    assert_eq!(kind(&pickle(16, 0, &[100_000_000], &[0])), ErrorKind::LimitExceeded);
    assert_eq!(kind(&pickle(16, 0, &[u32::MAX, u32::MAX, u32::MAX], &[0, 0, 0])), ErrorKind::LimitExceeded);
}

#[test]
fn bombs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let mut packing = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packing.write_all(&vec![0; 64 << 20]).unwrap();
    let packed = packing.finish().unwrap();
    assert!(packed.len() < 100_000);
    let sound = pickle(16, 0, &[4, 4], &[4, 1]);
    let kind = |entries: &[(&str, &[u8], Option<u32>)]| {
        fs::write(&path, archive(entries)).unwrap();
        let started = Instant::now();
        let read = Checkpoint::open(&path).and_then(|checkpoint| checkpoint.read("w"));
        assert!(started.elapsed() < Duration::from_secs(10));
        read.unwrap_err().kind()
    };
    let main = ("a/data.pkl", sound.as_slice(), None);
    // Honest about its size, and not.
    assert_eq!(kind(&[main, ("a/data/0", &packed, Some(64 << 20))]), ErrorKind::LimitExceeded);
    assert_eq!(kind(&[main, ("a/data/0", &packed, Some(64))]), ErrorKind::InvalidArgument);
    assert_eq!(kind(&[("a/data.pkl", &packed, Some(64 << 20))]), ErrorKind::LimitExceeded);
    assert_eq!(kind(&[("a/data.pkl", &packed, Some(100))]), ErrorKind::InvalidArgument);
    // Two entries of a name, of which two readers would take another one each.
    let twice = [main, ("a/data/0", &[0; 64], None), ("a/data/0", &[1; 64], None)];
    assert_eq!(kind(&twice), ErrorKind::InvalidArgument);
    let limits = Limits { entries: 2, ..Limits::default() };
    let entries = [main, ("a/data/0", &[0; 64], None), ("a/b", &[], None)];
    fs::write(&path, archive(&entries)).unwrap();
    let options = OpenOptions { limits, ..OpenOptions::default() };
    assert_eq!(Checkpoint::open_with(&path, &options).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn names_of_entries_are_no_paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let sound = pickle(16, 0, &[4, 4], &[4, 1]);
    let entries: [(&str, &[u8], Option<u32>); 4] = [
        ("a/data.pkl", &sound, None),
        ("a/data/0", &[0; 64], None),
        ("../../evil", b"x", None),
        ("/etc/evil", b"x", None),
    ];
    fs::write(&path, archive(&entries)).unwrap();
    Checkpoint::open(&path).unwrap().read_all().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn large_archives_are_read() {
    // The records of archives whose numbers do not fit in 32 bits, with numbers that would.
    let sound = pickle(16, 0, &[4, 4], &[4, 1]);
    let plain = archive(&[("a/data.pkl", &sound, None), ("a/data/0", &[0; 64], None)]);
    let end = plain.len() - 22;
    let number = |at: usize| u64::from(u32::from_le_bytes(*plain[at..].first_chunk().unwrap()));
    let (bytes, start) = (number(end + 12), number(end + 16));
    let mut large = plain[..end].to_vec();
    large.extend(b"PK\x06\x06");
    large.extend(44u64.to_le_bytes());
    large.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [2, 2, bytes, start] {
        large.extend(value.to_le_bytes());
    }
    large.extend(b"PK\x06\x07\0\0\0\0");
    large.extend((end as u64).to_le_bytes());
    large.extend([1, 0, 0, 0]);
    large.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    fs::write(&path, &large).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().read("w").unwrap().shape, [4, 4]);
}

/// Real checkpoints, where a developer has some: every file of the folder that the variable names.
#[test]
fn real_checkpoints_are_read() {
    let Some(folder) = std::env::var_os("GLEBE_CHECKPOINTS") else { return };
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let started = Instant::now();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let tensors = checkpoint.read_all().unwrap();
        println!(
            "{}: {}, {}, {} tensors, {:?}",
            path.display(),
            checkpoint.format(),
            checkpoint.container(),
            tensors.len(),
            started.elapsed()
        );
        count += 1;
    }
    assert!(count > 0);
}
