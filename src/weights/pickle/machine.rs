//! The machine that a pickle is a program for: a stack, marks on it, and a memo.
//!
//! Instructions of protocols 0 to 5, after the documentation in CPython's `pickletools`.

use std::collections::HashMap;
use std::io::BufRead;

use crate::error::Result;
use crate::weights::limits::{Limits, within};
use crate::weights::pickle::callable::{build, persistent, reduce};
use crate::weights::pickle::input::Input;
use crate::weights::pickle::value::{Arena, Id, Value};

/// Longest integer in bytes that is read as one.
const INTEGER_BYTES: usize = 16;

/// Runs one pickle, up to its end instruction, and gives what it leaves. The input then stands behind it.
///
/// # Errors
/// `InvalidArgument` for what is no sound pickle; `LimitExceeded`; `Io`.
pub(crate) fn run<R: BufRead>(input: &mut Input<R>, arena: &mut Arena, limits: &Limits) -> Result<Id> {
    let mut machine = Machine { input, arena, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    let mut opcodes = 0u64;
    loop {
        opcodes += 1;
        within("instructions of the pickle", opcodes, limits.opcodes)?;
        within("open containers of the pickle", machine.marks.len() as u64, limits.depth as u64)?;
        let opcode = machine.input.array::<1>()?[0];
        if opcode == b'.' {
            return machine.pop();
        }
        machine.step(opcode)?;
    }
}

struct Machine<'a, R> {
    input: &'a mut Input<R>,
    arena: &'a mut Arena,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<R: BufRead> Machine<'_, R> {
    fn push(&mut self, value: Value) -> Result<()> {
        let id = self.arena.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.input.damaged("a value is missing on the stack"));
        }
        self.stack.pop().ok_or_else(|| self.input.damaged("the stack is empty"))
    }

    fn top(&mut self) -> Result<Id> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    /// What is above the last mark, which goes with it.
    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.input.damaged("a mark is missing on the stack")),
        }
    }

    fn pairs(&mut self, items: Vec<Id>) -> Result<Vec<(Id, Id)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.input.damaged("a key without a value"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<Id>>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    /// Adds to the list or set on top; objects of unknown classes take anything.
    fn extend(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        self.arena.charge(items.len())?;
        match self.arena.get_mut(top) {
            Some(Value::List(own) | Value::Set(own)) => own.extend_from_slice(items),
            Some(Value::Opaque(_)) => {}
            _ => return Err(self.input.damaged("elements for what is no list")),
        }
        Ok(())
    }

    /// Adds to the dictionary on top; objects of unknown classes take anything.
    fn insert(&mut self, items: Vec<Id>) -> Result<()> {
        let pairs = self.pairs(items)?;
        let top = self.top()?;
        self.arena.charge(pairs.len())?;
        match self.arena.get_mut(top) {
            Some(Value::Dict(own)) => own.extend_from_slice(&pairs),
            Some(Value::Opaque(_)) => {}
            _ => return Err(self.input.damaged("entries for what is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, index: u64) -> Result<()> {
        let top = self.top()?;
        if self.memo.insert(index, top).is_none() {
            self.arena.charge(1)?;
        }
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<()> {
        match self.memo.get(&index) {
            Some(id) => {
                self.stack.push(*id);
                // References are cells too: the stack is memory as well.
                self.arena.charge(1)
            }
            None => Err(self.input.damaged("a value is used before it was made")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        self.push(Value::Global(format!("{module}.{name}")))
    }

    /// An object of a class, made by whatever instruction: classes are not called, so that it is opaque, but for those
    /// that stand for plain data.
    fn object(&mut self, class: Id, arguments: Id) -> Result<()> {
        let made = reduce(self.arena, class, arguments)?;
        self.stack.push(made);
        Ok(())
    }

    fn integer(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > INTEGER_BYTES {
            return self.push(Value::Huge);
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = if negative { [0xff; INTEGER_BYTES] } else { [0; INTEGER_BYTES] };
        word[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(word)))
    }

    fn count<const N: usize>(&mut self) -> Result<u64> {
        let mut word = [0; 8];
        word[..N].copy_from_slice(&self.input.array::<N>()?);
        Ok(u64::from_le_bytes(word))
    }

    fn text(&mut self, count: u64) -> Result<()> {
        let text = self.input.text(count)?;
        self.push(Value::Text(text))
    }

    fn bytes(&mut self, count: u64) -> Result<()> {
        let bytes = self.input.bytes(count)?;
        self.push(Value::Bytes(bytes))
    }

    /// A number as text: the instructions of protocol 0.
    fn written(&mut self, line: &str) -> Result<()> {
        match line {
            "00" => self.push(Value::Bool(false)),
            "01" => self.push(Value::Bool(true)),
            _ => match line.trim_end_matches('L').parse() {
                Ok(value) => self.push(Value::Int(value)),
                Err(_) if !line.is_empty() && line.bytes().all(|byte| b"-0123456789L".contains(&byte)) => {
                    self.push(Value::Huge)
                }
                Err(_) => Err(self.input.damaged("expected an integer")),
            },
        }
    }

    fn index(&mut self) -> Result<u64> {
        self.input.line()?.trim().parse().map_err(|_| self.input.damaged("expected a number of the memo"))
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // Protocol and frames say nothing about the values.
            0x80 => self.input.array::<1>().map(|_| ()),
            0x95 => self.input.array::<8>().map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(|_| ()),
            },
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                self.arena.charge(1)
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' => {
                let line = self.input.line()?;
                self.written(line.trim())
            }
            b'J' => {
                let word = self.input.array()?;
                self.push(Value::Int(i32::from_le_bytes(word).into()))
            }
            b'K' => {
                let value = self.count::<1>()?;
                self.push(Value::Int(value.into()))
            }
            b'M' => {
                let value = self.count::<2>()?;
                self.push(Value::Int(value.into()))
            }
            0x8a => {
                let count = self.count::<1>()?;
                let bytes = self.input.bytes(count)?;
                self.integer(&bytes)
            }
            0x8b => {
                let count = self.count::<4>()?;
                let bytes = self.input.bytes(count)?;
                self.integer(&bytes)
            }
            b'F' => {
                let line = self.input.line()?;
                let value = line.trim().parse().map_err(|_| self.input.damaged("expected a float"))?;
                self.push(Value::Float(value))
            }
            b'G' => {
                let word = self.input.array()?;
                self.push(Value::Float(f64::from_be_bytes(word)))
            }
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.step_text(opcode),
            b'B' => self.count::<4>().and_then(|count| self.bytes(count)),
            b'C' => self.count::<1>().and_then(|count| self.bytes(count)),
            0x8e | 0x96 => self.count::<8>().and_then(|count| self.bytes(count)),
            _ => self.step_container(opcode),
        }
    }

    fn step_text(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'S' => {
                let line = self.input.line()?;
                let line = line.trim();
                let inside =
                    ['\'', '"'].iter().find_map(|quote| line.strip_prefix(*quote)?.strip_suffix(*quote));
                let text = inside
                    .map(str::to_owned)
                    .ok_or_else(|| self.input.damaged("expected a text in quotes"))?;
                self.push(Value::Text(text))
            }
            b'V' => {
                let text = self.input.line()?;
                self.push(Value::Text(text))
            }
            b'T' | b'X' => self.count::<4>().and_then(|count| self.text(count)),
            b'U' | 0x8c => self.count::<1>().and_then(|count| self.text(count)),
            _ => self.count::<8>().and_then(|count| self.text(count)),
        }
    }

    fn step_container(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b']' => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            b')' => self.push(Value::Tuple(vec![])),
            0x8f => self.push(Value::Set(vec![])),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' | b'l' | 0x91 | b'd' => {
                let items = self.pop_mark()?;
                let value = match opcode {
                    b't' => Value::Tuple(items),
                    b'l' => Value::List(items),
                    b'd' => Value::Dict(self.pairs(items)?),
                    _ => Value::Set(items),
                };
                self.push(value)
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![key, value])
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.insert(items)
            }
            b'p' => self.index().and_then(|index| self.remember(index)),
            b'q' => self.count::<1>().and_then(|index| self.remember(index)),
            b'r' => self.count::<4>().and_then(|index| self.remember(index)),
            0x94 => self.remember(self.memo.len() as u64),
            b'g' => self.index().and_then(|index| self.recall(index)),
            b'h' => self.count::<1>().and_then(|index| self.recall(index)),
            b'j' => self.count::<4>().and_then(|index| self.recall(index)),
            _ => self.step_object(opcode),
        }
    }

    fn step_object(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'c' => {
                let module = self.input.line()?;
                let name = self.input.line()?;
                self.global(&module, &name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.arena.text(module), self.arena.text(name)) {
                    (Some(module), Some(name)) => {
                        let (module, name) = (module.to_owned(), name.to_owned());
                        // Both texts are copied here, as often as the file likes.
                        self.arena.charge((module.len() + name.len()) / 32)?;
                        self.global(&module, &name)
                    }
                    _ => Err(self.input.damaged("expected the name of a class")),
                }
            }
            // Calls of a function, and objects of a class, with a tuple of arguments.
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.object(callable, arguments)
            }
            // With arguments by name as well, which nothing that is understood has.
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.object(class, arguments)
            }
            b'o' => {
                let items = self.pop_mark()?;
                let Some((class, rest)) = items.split_first() else {
                    return Err(self.input.damaged("an object without a class"));
                };
                let arguments = self.arena.add(Value::Tuple(rest.to_vec()))?;
                self.object(*class, arguments)
            }
            b'i' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                let items = self.pop_mark()?;
                let arguments = self.arena.add(Value::Tuple(items))?;
                let class = self.arena.add(Value::Global(format!("{module}.{name}")))?;
                self.object(class, arguments)
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                build(self.arena, object, state);
                Ok(())
            }
            b'Q' => {
                let id = self.pop()?;
                match persistent(self.arena, id)? {
                    Some(found) => {
                        self.stack.push(found);
                        Ok(())
                    }
                    None => Err(self.input.damaged("a storage of an unknown kind")),
                }
            }
            b'P' => Err(self.input.damaged("a storage without a description")),
            // Extension codes stand for names in a registry of the program that wrote the file.
            0x82..=0x84 => {
                match opcode {
                    0x82 => self.count::<1>()?,
                    0x83 => self.count::<2>()?,
                    _ => self.count::<4>()?,
                };
                self.global("copyreg", "extension")
            }
            0x98 => Ok(()),
            other => Err(self.input.damaged(&format!("unknown instruction {other:#04x}"))),
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
