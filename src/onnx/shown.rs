//! Names out of a file, as messages show them: short, and without control characters.

use crate::onnx::proto::NodeProto;

/// Longest name that a message shows whole, in characters.
const LONGEST: usize = 80;

/// The name in quotes, escaped.
pub(crate) fn shown(name: &str) -> String {
    format!("{:?}", short(name))
}

/// The name, cut where it is too long.
pub(crate) fn short(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        None => name.to_owned(),
        Some((cut, _)) => format!("{}...", &name[..cut]),
    }
}

/// Which node: `node 3 (Conv "encoder/conv1")`.
pub(crate) fn place(index: usize, node: &NodeProto) -> String {
    let op_type = short(&node.op_type).escape_debug().to_string();
    match node.name.is_empty() {
        true => format!("node {index} ({op_type})"),
        false => format!("node {index} ({op_type} {})", shown(&node.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_spoil_a_message() {
        assert_eq!(shown("a\u{1b}[31m\n\"b"), r#""a\u{1b}[31m\n\"b""#);
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), LONGEST + 5);
        let node = NodeProto { op_type: "Conv".into(), name: "c1".into(), ..NodeProto::default() };
        assert_eq!(place(3, &node), "node 3 (Conv \"c1\")");
    }
}
