//! Threads that stay together through many short pieces of parallel work.
//!
//! A decoder's step is a hundred products of some ten microseconds each. Handing each of them to the pool costs as much again: between
//! two products the other threads fall asleep and are woken. So for the length of a step [`together`] borrows the pool's threads: those that are free
//! come and wait, awake, for the next piece. Nobody has to come: whoever is there takes parts, and where all others are
//! busy (with another caller's step, say) the caller does everything itself. So two callers never wait for each other, and a thread that the
//! system takes away delays no more than the part that it had begun.
#![expect(
    unsafe_code,
    reason = "work that borrows is handed to other threads; each block says why it has ended before the borrow does"
)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

/// Turns of waiting before a thread offers its core to others: some ten microseconds, more than most serial pieces between two
/// products take.
const SPINS: u32 = 2_000;
/// After this time without work a thread goes back to the pool: the caller was taken off its core.
const PATIENCE: Duration = Duration::from_millis(1);

/// Most threads that come to help: pieces are small, and all who wait look at one cache line. (A guess: no machine with more than two cores
/// was at hand to measure it.)
const MOST_HELPERS: usize = 15;

/// A piece of work: called with the number of each part.
type Task<'a> = &'a (dyn Fn(usize) + Sync + 'a);

/// What those who are together share.
struct Team {
    /// Which piece of work (from bit 32 on), how many parts it has (from bit 16 on), and which is the next.
    ticket: AtomicU64,
    /// The piece of work of the ticket; none before the first.
    task: UnsafeCell<Option<Task<'static>>>,
    /// Parts of it that are done.
    done: AtomicUsize,
    /// There will be no more work.
    is_over: AtomicBool,
    /// What a part panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: the task is written by the caller alone, while no part of the last one is left to be taken or unfinished, and read by those who hold a part of it.
unsafe impl Sync for Team {}

const MOST_PARTS: usize = (1 << 16) - 1;

thread_local! {
    /// The team that this thread leads, while it is not at a part itself.
    static LED: Cell<*const Team> = const { Cell::new(ptr::null()) };
}

impl Team {
    fn new() -> Self {
        Self {
            ticket: AtomicU64::new(0),
            task: UnsafeCell::new(None),
            done: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// Does all parts of `task`, with those who are there.
    fn run(&self, parts: usize, task: Task<'_>) {
        // SAFETY: only the lifetime changes. Whoever reads the task holds a part of it, and this function returns when all parts are done.
        let task = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        // SAFETY: all parts of the last task are done, and nobody reads before the ticket offers parts of this one.
        unsafe { *self.task.get() = Some(task) };
        self.done.store(0, Ordering::Relaxed);
        let number = (self.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.ticket.store(number << 32 | (parts as u64) << 16, Ordering::Release);
        while self.take_part() {}
        let mut waiting = Waiting::default();
        while self.done.load(Ordering::Acquire) < parts {
            waiting.turn();
        }
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Does the next part, if there is one.
    fn take_part(&self) -> bool {
        let ticket = self.ticket.load(Ordering::Acquire);
        let (part, parts) = (ticket as usize & MOST_PARTS, (ticket >> 16) as usize & MOST_PARTS);
        if part == parts {
            return false;
        }
        if self.ticket.compare_exchange(ticket, ticket + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return true; // Somebody else has it; there may be others.
        }
        // SAFETY: the task was written before the ticket, and is not written again before this part is done.
        let task = unsafe { *self.task.get() };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task.map(|task| task(part)))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        self.done.fetch_add(1, Ordering::Release);
        true
    }

    /// Does parts of whatever comes, until it is over or nothing comes.
    fn help(&self) {
        let mut waiting = Waiting::default();
        while !self.is_over.load(Ordering::Acquire) {
            if self.take_part() {
                waiting = Waiting::default();
            } else if waiting.turn() > PATIENCE {
                return;
            }
        }
    }
}

/// Waiting that is short most of the time.
#[derive(Default)]
struct Waiting {
    turns: u32,
    since: Option<Instant>,
}

impl Waiting {
    /// Waits a moment; returns how long it has been, once that is more than a moment.
    fn turn(&mut self) -> Duration {
        if self.turns < SPINS {
            self.turns += 1;
            std::hint::spin_loop();
            return Duration::ZERO;
        }
        std::thread::yield_now();
        self.since.get_or_insert_with(Instant::now).elapsed()
    }
}

/// Ends a team when its caller is done, or panics.
struct Lead<'a>(&'a Team);

impl<'a> Lead<'a> {
    fn new(team: &'a Team) -> Self {
        LED.set(team);
        Self(team)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        LED.set(ptr::null());
        self.0.is_over.store(true, Ordering::Release);
    }
}

/// Runs `work` on this thread, with the free threads of the current pool at hand for all parallel work of this crate in it. Nothing
/// but speed depends on it.
pub fn together<R>(work: impl FnOnce() -> R) -> R {
    let others = (rayon::current_num_threads() - 1).min(MOST_HELPERS);
    if others == 0 || !LED.get().is_null() {
        return work();
    }
    let team = Team::new();
    rayon::in_place_scope(|scope| {
        for _ in 0..others {
            scope.spawn(|_| team.help());
        }
        let _lead = Lead::new(&team);
        work()
    })
}

/// Whether this thread is in [`together`], and not at a part.
pub(crate) fn is_together() -> bool {
    !LED.get().is_null()
}

/// Calls `work` with each number below `parts`, on several threads at once: with those of [`together`], else with the pool's.
pub fn for_each_part(parts: usize, work: impl Fn(usize) + Sync) {
    let team = LED.get();
    if team.is_null() || parts > MOST_PARTS {
        (0..parts).into_par_iter().with_max_len(1).for_each(&work);
    } else if parts == 1 {
        work(0);
    } else if parts > 1 {
        // Work inside a part is not for this team, which is at this piece.
        LED.set(ptr::null());
        // SAFETY: the pointer is set for as long as the team lives, on the thread that leads it.
        let team = unsafe { &*team };
        let outcome = catch_unwind(AssertUnwindSafe(|| team.run(parts, &work)));
        LED.set(team);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }
}

/// Calls `work` with each chunk of `len` values (the last may be shorter) and its number, on several threads at once, as
/// [`for_each_part`].
///
/// # Panics
/// If `len` is 0.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    struct Start<T>(*mut T);
    // SAFETY: each part takes values that no other part takes, and values that may be sent.
    unsafe impl<T: Send> Sync for Start<T> {}
    impl<T> Start<T> {
        /// Where a chunk begins, inside of the data.
        fn at(&self, first: usize) -> *mut T {
            self.0.wrapping_add(first)
        }
    }
    let all = data.len();
    let start = Start(data.as_mut_ptr());
    for_each_part(all.div_ceil(len), |part| {
        let first = part * len;
        // SAFETY: every part is called once, and chunks do not overlap; the data is borrowed mutably until all parts are done.
        work(part, unsafe { std::slice::from_raw_parts_mut(start.at(first), len.min(all - first)) });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    /// Every part is done once, whatever the number of threads, pieces and parts.
    #[test]
    fn every_part_is_done_once() {
        for threads in [1, 2, 3, 5] {
            pool(threads).install(|| {
                together(|| {
                    for piece in 0..2000 {
                        let parts = piece % 7;
                        let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                        for_each_part(parts, |part| {
                            done[part].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
                    }
                });
            });
        }
    }

    #[test]
    fn chunks_are_all_of_the_data() {
        pool(3).install(|| {
            together(|| {
                for len in 0..50 {
                    let mut data: Vec<usize> = vec![0; len];
                    for_each_chunk(&mut data, 7, |chunk, values| {
                        for (index, value) in values.iter_mut().enumerate() {
                            *value += chunk * 7 + index;
                        }
                    });
                    assert_eq!(data, (0..len).collect::<Vec<_>>());
                }
            });
        });
    }

    /// More callers than threads, each of which would wait for ever if it needed the others.
    #[test]
    fn callers_do_not_wait_for_each_other() {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    pool.install(|| {
                        for _ in 0..200 {
                            together(|| {
                                let sum = AtomicUsize::new(0);
                                for _ in 0..5 {
                                    for_each_part(3, |part| {
                                        sum.fetch_add(part, Ordering::Relaxed);
                                    });
                                }
                                assert_eq!(sum.into_inner(), 15);
                            });
                        }
                    });
                });
            }
        });
    }

    /// Outside of a pool, inside of each other, and inside of parts.
    #[test]
    fn it_can_be_nested() {
        let sum = AtomicUsize::new(0);
        together(|| {
            together(|| {
                for_each_part(4, |_| {
                    for_each_part(3, |part| {
                        sum.fetch_add(part, Ordering::Relaxed);
                    });
                });
            });
        });
        assert_eq!(sum.into_inner(), 12);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_the_other_parts() {
        let pool = pool(2);
        for _ in 0..50 {
            let done = AtomicUsize::new(0);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| {
                    together(|| {
                        for_each_part(4, |part| {
                            done.fetch_add(1, Ordering::Relaxed);
                            assert_ne!(part, 2, "the third part");
                        });
                    });
                });
            }));
            assert!(outcome.is_err());
            assert_eq!(done.into_inner(), 4);
        }
        pool.install(|| together(|| for_each_part(2, |_| ()))); // the pool is well
    }
}
