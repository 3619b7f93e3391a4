//! Memory for packed weights: aligned to cache lines and, on Linux, in huge pages, because a decoder reads all of its
//! weights at every step and spends up to half of that time on address translation with pages of 4 KiB.
//!
//! Huge pages are 2 MiB, many matrices are smaller: so matrices share chunks; a few that became free are kept for
//! what comes next.
#![expect(unsafe_code, reason = "hands out disjoint parts of one mapping; each block says why it is sound")]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether it may hold what earlier buffers wrote.
    was_used: AtomicBool,
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
        Arc::new(Self { _mapping: mapping, start, len, was_used: AtomicBool::new(false) })
    }
}

/// Whether the system would grant `bytes` for weights now. It may still grant less a moment later.
pub fn can_reserve(bytes: usize) -> bool {
    // Matrices share chunks: the last one may be nearly empty.
    MmapOptions::new().len(bytes.saturating_add(CHUNK_LEN)).map_anon().is_ok()
}

/// Chunks between two uses.
#[derive(Default)]
struct Pool {
    /// The chunk that buffers are cut from now, and how much of it is taken.
    current: Option<(Arc<Chunk>, usize)>,
    /// Chunks that no buffer is in any more: new ones would have to be cleared by the system, page by page.
    free: Vec<Arc<Chunk>>,
}

/// Chunks kept for later: the keys and values of a few pictures.
const MOST_FREE: usize = 4;

static POOL: Mutex<Pool> = Mutex::new(Pool { current: None, free: Vec::new() });

/// A range of a chunk that nobody else has, of at least `len` bytes from a multiple of [`LINE`], and whether it is all zero.
fn reserve(len: usize) -> (Arc<Chunk>, *mut u8, bool) {
    let len = len.max(1).next_multiple_of(LINE);
    if len >= CHUNK_LEN / 2 {
        let chunk = Chunk::new(len);
        let start = chunk.start;
        return (chunk, start, true);
    }
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let (chunk, taken) = match pool.current.take() {
        Some((chunk, taken)) if taken + len <= chunk.len => (chunk, taken),
        _ => (pool.free.pop().unwrap_or_else(|| Chunk::new(CHUNK_LEN)), 0),
    };
    // SAFETY: `taken + len` is at most the chunk's length.
    let start = unsafe { chunk.start.add(taken) };
    let is_zero = !chunk.was_used.load(Ordering::Relaxed);
    pool.current = Some((Arc::clone(&chunk), taken + len));
    (chunk, start, is_zero)
}

/// Keeps a chunk whose last buffer goes.
fn give_back(chunk: &Arc<Chunk>) {
    // Two at once may both see the other: then the chunk simply goes back to the system.
    if Arc::strong_count(chunk) == 1 && chunk.len == CHUNK_LEN {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.free.len() < MOST_FREE {
            chunk.was_used.store(true, Ordering::Relaxed);
            pool.free.push(Arc::clone(chunk));
        }
    }
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
    chunk: Arc<Chunk>,
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
        let (chunk, start, is_zero) = reserve(len * size_of::<T>());
        let mut buffer = Self { chunk, start: start.cast(), len, owns: PhantomData };
        if !is_zero {
            buffer.fill(T::default());
        }
        buffer
    }
}

impl<T: Number> Drop for Buffer<T> {
    fn drop(&mut self) {
        give_back(&self.chunk);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_cannot_be_reserved() {
        assert!(can_reserve(1 << 20));
        assert!(!can_reserve(usize::MAX >> 1) && !can_reserve(usize::MAX));
    }

    #[test]
    fn buffers_are_zero_aligned_and_apart_however_often_their_memory_was_used() {
        for round in 0..40 {
            let mut buffers: Vec<Buffer<i16>> =
                (0..30).map(|i| Buffer::zeroed(1 + (i * 7919 + round) % 700_000)).collect();
            for buffer in &mut buffers {
                assert_eq!(buffer.as_ptr() as usize % LINE, 0);
                assert!(buffer.iter().all(|&value| value == 0));
            }
            for (i, buffer) in buffers.iter_mut().enumerate() {
                buffer.fill(1 + i as i16);
            }
            for (i, buffer) in buffers.iter().enumerate() {
                assert!(buffer.iter().all(|&value| value == 1 + i as i16));
            }
        }
    }
}
