//! The machine's stack, its memo and its containers, with the limits on how much they may hold.

use super::machine::{Machine, Step, bad};
use super::value::{Value, kind};

/// Values a pickle may push; a checkpoint of 2 400 tensors with its optimizer state pushes about 150 000.
pub(super) const MAX_VALUES: usize = 500_000;
/// Values a pickle may remember for reuse.
const MAX_MEMO: usize = 250_000;

impl<'p> Machine<'p> {
    pub(super) fn push(&mut self, value: Value<'p>) -> Step {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn count(&mut self, values: usize) -> Step {
        self.pushed += values;
        if self.pushed > MAX_VALUES {
            return bad(format!("it builds more than {MAX_VALUES} values, more than any checkpoint has"));
        }
        Ok(())
    }

    /// The stack index of the value `count` below the top, not reaching below the innermost mark.
    pub(super) fn depth_of(&self, count: usize) -> Step<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(at) if at >= floor => Ok(at),
            _ => bad("it takes more from the stack than there is"),
        }
    }

    pub(super) fn top(&self) -> Step<Value<'p>> {
        self.depth_of(1).map(|at| self.stack[at])
    }

    pub(super) fn pop(&mut self) -> Step<Value<'p>> {
        let at = self.depth_of(1)?;
        Ok(self.stack.swap_remove(at))
    }

    pub(super) fn pop_to_mark(&mut self) -> Step<Vec<Value<'p>>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => bad("it needs a mark that was never set"),
        }
    }

    pub(super) fn push_sequence(&mut self, items: Vec<Value<'p>>) -> Step {
        self.out.sequences.push(items);
        self.push(Value::Sequence(self.out.sequences.len() as u32 - 1))
    }

    pub(super) fn push_dict(&mut self, pairs: Vec<(Value<'p>, Value<'p>)>) -> Step {
        self.out.dicts.push(pairs);
        self.push(Value::Dict(self.out.dicts.len() as u32 - 1))
    }

    pub(super) fn extend(&mut self, items: &[Value<'p>]) -> Step {
        match self.top()? {
            Value::Sequence(index) => self.out.sequences[index as usize].extend_from_slice(items),
            Value::Opaque(_) => {}
            other => return bad(format!("it appends to {}", kind(other))),
        }
        Ok(())
    }

    pub(super) fn set_items(&mut self, items: &[Value<'p>]) -> Step {
        match self.top()? {
            Value::Dict(index) => self.out.dicts[index as usize].extend(pairs(items)?),
            Value::Opaque(_) => {}
            other => return bad(format!("it sets items of {}", kind(other))),
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, index: u32) -> Step {
        let value = self.top()?;
        self.memo.insert(index, value);
        if self.memo.len() > MAX_MEMO {
            return bad(format!("it remembers more than {MAX_MEMO} values, more than any checkpoint does"));
        }
        Ok(())
    }

    pub(super) fn recall(&mut self, index: u32) -> Step {
        match self.memo.get(&index) {
            Some(&value) => self.push(value),
            None => bad(format!("it recalls value {index}, which was never remembered")),
        }
    }
}

pub(super) fn pairs<'p>(items: &[Value<'p>]) -> Step<Vec<(Value<'p>, Value<'p>)>> {
    if !items.len().is_multiple_of(2) {
        return bad("a dict with a key that has no value");
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}
