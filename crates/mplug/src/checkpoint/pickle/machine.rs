//! The stack machine that a pickle is a program for: its state, and what each instruction does.

use std::collections::HashMap;

use super::Pickle;
use super::bytes::long;
use super::stack::{MAX_VALUES, pairs};
use super::value::Value;

/// Why the machine stopped before the end.
pub(super) enum Stop {
    Forbidden(String),
    Bad(String),
}

pub(super) type Step<T = ()> = Result<T, Stop>;

pub(super) fn bad<T>(reason: impl Into<String>) -> Step<T> {
    Err(Stop::Bad(reason.into()))
}

pub(super) struct Machine<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) at: usize,
    pub(super) stack: Vec<Value<'p>>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Value<'p>>,
    pub(super) pushed: usize,
    pub(super) interned: HashMap<String, u32>,
    pub(super) out: Pickle<'p>,
}

impl Machine<'_> {
    pub(super) fn run(&mut self) -> Step {
        loop {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                self.out.root = self.pop()?;
                self.out.len = self.at;
                return Ok(());
            }
            if !(self.scalar(opcode)? || self.container(opcode)? || self.object(opcode)?) {
                return bad(format!("instruction 0x{opcode:02x} is not among those that torch.save writes"));
            }
        }
    }

    /// Instructions that push a scalar, and those without effect. Whether `opcode` was one.
    fn scalar(&mut self, opcode: u8) -> Step<bool> {
        let value = match opcode {
            0x80 => {
                let version = self.take(1)?[0];
                return if version <= 5 { Ok(true) } else { bad(format!("pickle protocol {version}")) };
            }
            0x95 => {
                self.take(8)?; // FRAME: a hint for streaming readers
                return Ok(true);
            }
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.take(1)?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let len = self.take(1)?[0];
                long(self.take(len.into())?)
            }
            0x8b => {
                let len = self.length4()?;
                long(self.take(len)?)
            }
            b'G' => {
                self.take(8)?;
                Value::Float
            }
            0x8c => {
                let len = self.take(1)?[0];
                self.text(len.into())?
            }
            b'X' => {
                let len = self.length4()?;
                self.text(len)?
            }
            0x8d => {
                let len = self.length8()?;
                self.text(len)?
            }
            // Python 2's strings: text where they are UTF-8.
            b'U' => {
                let len = self.take(1)?[0];
                std::str::from_utf8(self.take(len.into())?).map_or(Value::Bytes, Value::Str)
            }
            b'T' => {
                let len = self.length4()?;
                std::str::from_utf8(self.take(len)?).map_or(Value::Bytes, Value::Str)
            }
            b'C' => {
                let len = self.take(1)?[0];
                self.skip_bytes(len.into())?
            }
            b'B' => {
                let len = self.length4()?;
                self.skip_bytes(len)?
            }
            0x8e => {
                let len = self.length8()?;
                self.skip_bytes(len)?
            }
            _ => return Ok(false),
        };
        self.push(value)?;
        Ok(true)
    }

    /// Instructions on containers, the stack and the memo. Whether `opcode` was one.
    fn container(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'(' => {
                if self.marks.len() >= MAX_VALUES {
                    return bad("more marks than any checkpoint has");
                }
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b']' | b')' | 0x8f => self.push_sequence(Vec::new())?,
            b'l' | b't' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push_sequence(items)?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let at = self.depth_of(count)?;
                let items = self.stack.split_off(at);
                self.push_sequence(items)?;
            }
            b'}' => self.push_dict(Vec::new())?,
            b'd' => {
                let items = self.pop_to_mark()?;
                let pairs = pairs(&items)?;
                self.push_dict(pairs)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let index = self.take(1)?[0];
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let index = self.take(1)?[0];
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Instructions on names and the objects made of them. Whether `opcode` was one.
    fn object(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = self.global(module, name)?;
                self.push(Value::Global(global))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Str(module), Value::Str(name)) = (module, name) else {
                    return bad("a name that is not a string");
                };
                let global = self.global(module, name)?;
                self.push(Value::Global(global))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let value = self.call(callable, arguments)?;
                self.push(value)?;
            }
            0x92 => {
                let (_keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let value = self.call(class, arguments)?;
                self.push(value)?;
            }
            // An object's attributes: a state dict's `_metadata`, a Namespace's fields. None is of use here.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let id = self.pop()?;
                let value = self.persistent(id)?;
                self.push(value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
