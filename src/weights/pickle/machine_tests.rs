//! Pickles of every protocol, and broken ones.

use super::*;
use crate::error::ErrorKind;

fn read(bytes: &[u8]) -> Result<(Arena, Id)> {
    let limits = Limits::default();
    let mut arena = Arena::new(limits.values);
    let id = run(&mut Input::new(bytes, limits.pickle_bytes), &mut arena, &limits)?;
    Ok((arena, id))
}

fn items(arena: &Arena, id: Id) -> Vec<Value> {
    match arena.get(id) {
        Value::List(items) | Value::Tuple(items) => items.iter().map(|id| arena.get(*id).clone()).collect(),
        other => panic!("{other:?}"),
    }
}

/// `[1, -2, 300, 70000, 2**70, True, None, 0.5, 'ä', b'x']`, as CPython writes it.
#[test]
fn every_protocol_is_read() {
    let expected = [
        Value::Int(1),
        Value::Int(-2),
        Value::Int(300),
        Value::Int(70000),
        Value::Int(1 << 70),
        Value::Bool(true),
        Value::None,
        Value::Float(0.5),
        Value::Text("a'b".into()),
    ];
    let pickles: [&[u8]; 3] = [
        b"(lp0\nI1\naI-2\naI300\naI70000\naL1180591620717411303424L\naI01\naNaF0.5\naVa'b\np1\na.",
        b"\x80\x02]q\x00(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@\x88NG?\xe0\x00\x00\x00\x00\x00\x00X\x03\x00\x00\x00a'bq\x01e.",
        b"\x80\x04\x950\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@\x88NG?\xe0\x00\x00\x00\x00\x00\x00\x8c\x03a'b\x94e.",
    ];
    for pickle in pickles {
        let (arena, id) = read(pickle).unwrap();
        assert_eq!(items(&arena, id), expected);
    }
}

#[test]
fn a_name_is_never_called() {
    // os.system('...'), by every instruction that calls something.
    for pickle in [
        &b"cposix\nsystem\n(S'touch /tmp/x'\ntR."[..],
        b"(cposix\nsystem\nS'touch /tmp/x'\no.",
        b"(S'touch /tmp/x'\niposix\nsystem\n.",
        b"\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85\x81.",
        b"\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85}\x92.",
    ] {
        let (arena, id) = read(pickle).unwrap();
        assert!(matches!(arena.get(id), Value::Opaque(_)), "{pickle:?}");
        assert_eq!(arena.class(id), "posix.system");
    }
}

#[test]
fn a_value_that_is_used_twice_is_there_once() {
    // a = OrderedDict(); [a, a] with a['k'] = 1 set after the first use.
    let (arena, id) = read(b"(ccollections\nOrderedDict\n)Rq\x00h\x00S'k'\nK\x01sl.").unwrap();
    let Value::List(own) = arena.get(id) else { panic!() };
    assert_eq!(own[0], own[1]);
    assert_eq!(arena.item(own[0], "k").map(|id| arena.get(id).clone()), Some(Value::Int(1)));
    // A list that holds itself.
    let (arena, id) = read(b"]q\x00h\x00a.").unwrap();
    assert_eq!(arena.get(id), &Value::List(vec![id]));
}

#[test]
fn damage_is_an_error() {
    for pickle in [
        &b""[..],
        b".",
        b"K",
        b"(.",
        b"a.",
        b"]a.",
        b"K\x01K\x02a.",
        b"h\x00.",
        b"}S'a'\ns.",
        b"}(S'a'\nu.",
        b"X\xff\xff\xff\xffabc",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc",
        b"Ixx\n.",
        b"Fxx\n.",
        b"S'x\n.",
        b"t.",
        b"R.",
        b"NQ.",
        b"(K\x01Q.",
        b"\xff.",
    ] {
        let error = read(pickle).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::LimitExceeded),
            "{pickle:?}: {error}"
        );
    }
}

#[test]
fn limits_hold() {
    let limits =
        Limits { values: 1000, opcodes: 5000, depth: 10, pickle_bytes: 100_000, ..Limits::default() };
    let kind = |bytes: &[u8]| {
        let mut arena = Arena::new(limits.values);
        run(&mut Input::new(bytes, limits.pickle_bytes), &mut arena, &limits).unwrap_err().kind()
    };
    assert_eq!(kind(&b"N".repeat(2000)), ErrorKind::LimitExceeded);
    assert_eq!(kind(&b"(".repeat(2000)), ErrorKind::LimitExceeded);
    assert_eq!(kind(&[b"N".as_slice(), &b"N0".repeat(5000)].concat()), ErrorKind::LimitExceeded);
    assert_eq!(kind(&[b"N".as_slice(), &b"2".repeat(2000)].concat()), ErrorKind::LimitExceeded);
    // A list of 100 that is copied again and again.
    let mut copies = [b"]q\x00(".as_slice(), &b"N".repeat(100), b"e0"].concat();
    copies.extend(b"cbuiltins\nlist\nh\x00\x85R0".repeat(100));
    assert_eq!(kind(&copies), ErrorKind::LimitExceeded);
    assert_eq!(kind(&vec![b'I'; 200_000]), ErrorKind::LimitExceeded);
}
