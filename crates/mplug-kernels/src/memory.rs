//! Memory for packed weights: aligned to cache lines and, on Linux, in huge pages, because a decoder reads all of its
//! weights at every step and spends up to half of that time on address translation with pages of 4 KiB.
//!
//! Huge pages are 2 MiB, many matrices are smaller: so matrices share chunks. A chunk is given back when the last matrix
//! in it is dropped.
#![expect(unsafe_code, reason = "hands out disjoint parts of one mapping; each block says why it is sound")]

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapMut, MmapOptions};

/// Bytes of a chunk; a larger matrix has one of its own.
const CHUNK_LEN: usize = 32 << 20;
/// Length of a cache line, at which every buffer begins.
const LINE: usize = 64;

/// A mapping that several buffers share. Only the buffers' own ranges are ever written, each by its owner.
struct Chunk {
    /// Never touched as a whole after it was made: it keeps the mapping alive.
    _mapping: MmapMut,
    start: *mut u8,
    len: usize,
}

// SAFETY: the pointer is to the mapping, which the chunk owns and which does not move; ranges are handed out once each.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(len: usize) -> Arc<Self> {
        let mut mapping = MmapOptions::new()
            .len(len)
            .map_anon()
            .unwrap_or_else(|error| panic!("cannot get {len} bytes for weights: {error}"));
        // Only advice: without huge pages everything works, slower.
        #[cfg(target_os = "linux")]
        let _ = mapping.advise(memmap2::Advice::HugePage);
        let start = mapping.as_mut_ptr();
        Arc::new(Self { _mapping: mapping, start, len })
    }
}

/// The chunk in use and how much of it is taken.
static CURRENT: Mutex<Option<(Arc<Chunk>, usize)>> = Mutex::new(None);

/// A range of a chunk that nobody else has, `len` bytes from a multiple of [`LINE`], zeroed.
fn reserve(len: usize) -> (Arc<Chunk>, *mut u8) {
    let len = len.max(1).next_multiple_of(LINE);
    if len >= CHUNK_LEN / 2 {
        let chunk = Chunk::new(len);
        let start = chunk.start;
        return (chunk, start);
    }
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    // A chunk that is held here alone has outlived its matrices: its memory is not zero any more, so it is dropped.
    let usable =
        current.take().filter(|(chunk, taken)| taken + len <= chunk.len && Arc::strong_count(chunk) > 1);
    let (chunk, taken) = usable.unwrap_or_else(|| (Chunk::new(CHUNK_LEN), 0));
    // SAFETY: `taken + len` is at most the chunk's length.
    let start = unsafe { chunk.start.add(taken) };
    *current = Some((Arc::clone(&chunk), taken + len));
    (chunk, start)
}

/// Plain numbers, for which zeroed memory is a value.
pub(crate) trait Number: Copy + Default + Send + Sync + 'static {}
impl Number for f32 {}
impl Number for u16 {}
impl Number for i16 {}
impl Number for i8 {}
impl Number for u8 {}

/// A zeroed array of numbers that begins at a cache line.
pub(crate) struct Buffer<T: Number> {
    _chunk: Arc<Chunk>,
    start: *mut T,
    len: usize,
    owns: PhantomData<T>,
}

// SAFETY: a buffer is the only one that reaches its range, and `T` is a plain number.
unsafe impl<T: Number> Send for Buffer<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Number> Sync for Buffer<T> {}

impl<T: Number> Buffer<T> {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let (chunk, start) = reserve(len * size_of::<T>());
        Self { _chunk: chunk, start: start.cast(), len, owns: PhantomData }
    }
}

impl<T: Number> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the range is inside the chunk, aligned to a line, holds zeros or numbers, and is this buffer's alone.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T: Number> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}
