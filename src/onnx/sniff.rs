//! What a file that is no ONNX model probably is, so that the error can say what to do.

/// A hint for the reader of an error, `None` where the first bytes tell nothing.
pub(crate) fn hint(head: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    Some(if head.is_empty() {
        "the file is empty"
    } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        "looks like a PyTorch file (a zip archive); export it to ONNX"
    } else if head.len() > 1 && head[0] == 0x80 && (2..=5).contains(&head[1]) {
        "looks like an old PyTorch file (a pickle); export it to ONNX"
    } else if starts(b"\x89HDF\r\n\x1a\n") {
        "looks like an HDF5 file (Keras); export it to ONNX"
    } else if at(8, b"{\"") && head[4..8] == [0; 4] {
        "looks like a safetensors file; it has weights only, give the ONNX file as the model"
    } else if starts(b"GGUF") {
        "looks like a GGUF file, expected ONNX"
    } else if at(4, b"ORTM") {
        "looks like a file in ORT format; give the ONNX file that it was made from"
    } else if at(4, b"TFL3") {
        "looks like a TensorFlow Lite file; export it to ONNX"
    } else if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].into_iter().any(|magic| starts(magic)) {
        "looks like a TIFF image; model and raster may be swapped"
    } else if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"GIF8") || at(4, b"jP  ") {
        "looks like an image; model and raster may be swapped"
    } else if starts(b"\x1f\x8b") || starts(b"\x28\xb5\x2f\xfd") || starts(b"7z\xbc\xaf") || starts(b"BZh") {
        "looks like a compressed file; unpack it first"
    } else if starts(b"version https://git-lfs") {
        "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    } else if text(head, b"<!doctype html") || text(head, b"<html") {
        "looks like a web page; the download went wrong"
    } else if text(head, b"<?xml") {
        "looks like an XML file (OpenVINO?), expected ONNX"
    } else if text(head, b"{") || text(head, b"[") {
        "looks like a JSON file, expected ONNX"
    } else if is_text(head) {
        "looks like a text file, expected ONNX"
    } else if head.iter().all(|&byte| byte == 0) {
        "it begins with zeros only; the copy is incomplete"
    } else {
        return None;
    })
}

/// Whether `head` begins with `magic`, after white space and whatever the case.
fn text(head: &[u8], magic: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    head.len() >= magic.len() && head[..magic.len()].eq_ignore_ascii_case(magic) && is_text(head)
}

fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(512)];
    head.iter().all(|&byte| byte >= 0x20 && byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r'))
        && std::str::from_utf8(head).is_ok_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_mistakes_are_named() {
        for (head, word) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04rest", "PyTorch"),
            (b"\x80\x02\x8a\x0al", "pickle"),
            (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
            (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}", "safetensors"),
            (b"II*\0\x08\0\0\0", "TIFF"),
            (b"MM\0+\0\x08\0\0", "TIFF"),
            (b"\x89PNG\r\n\x1a\n", "image"),
            (b"version https://git-lfs.example/spec", "LFS"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"{\"a\": 1}", "JSON"),
            (b"name,epoch\n1,2\n", "text"),
            (b"\0\0\0\0\0\0\0\0", "zeros"),
        ] {
            assert!(hint(head).is_some_and(|text| text.contains(word)), "{head:?}: {:?}", hint(head));
        }
        assert_eq!(hint(&[0x08, 0x07, 0x12, 0x07, b'p', b'y']), None);
        assert_eq!(hint(&[0x80]), None);
    }
}
