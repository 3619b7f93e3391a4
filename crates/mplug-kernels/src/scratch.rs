//! Memory that a thread keeps for its next piece of work.

use std::cell::Cell;
use std::thread::LocalKey;

/// A thread's scratch of one kind: `thread_local! { static S: Slot<T> = const { Cell::new(None) }; }`.
pub(crate) type Slot<T> = Cell<Option<Box<T>>>;

/// Lends this thread's scratch to `work`. It is taken while in use: work that the thread steals meanwhile finds none and
/// makes its own.
pub(crate) fn lend<T: Default, R>(slot: &'static LocalKey<Slot<T>>, work: impl FnOnce(&mut T) -> R) -> R {
    let mut scratch = slot.take().unwrap_or_default();
    let result = work(&mut scratch);
    slot.set(Some(scratch));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NUMBERS: Slot<Vec<u8>> = const { Cell::new(None) };
    }

    #[test]
    fn scratch_is_kept_and_never_shared() {
        lend(&NUMBERS, |numbers| {
            numbers.push(1);
            lend(&NUMBERS, |inner| assert!(inner.is_empty(), "the outer one is in use"));
        });
        lend(&NUMBERS, |numbers| assert_eq!(numbers.as_slice(), [1]));
    }
}
