//! The threads that models run on: one pool for each process, made on first use. A child that was forked makes its own, for the
//! threads of its parent's are not there.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::Fault;

/// Variables that say how many threads; the first that is set counts. Ray sets the second to the processors of an actor.
const VARIABLES: [&str; 2] = ["MPLUG_THREADS", "OMP_NUM_THREADS"];

/// The pool of a process.
struct Entry {
    process: u32,
    pool: Mutex<Arc<ThreadPool>>,
}

/// That of this process, or of the one that it was forked from. No lock is around it: a thread that held one would not be in
/// the child to give it back.
static ENTRY: ArcSwapOption<Entry> = ArcSwapOption::const_empty();

/// The pool of this process.
pub(crate) fn current() -> Result<Arc<ThreadPool>, Fault> {
    let process = std::process::id();
    if let Some(entry) = ENTRY.load_full().filter(|entry| entry.process == process) {
        return Ok(Arc::clone(&entry.pool.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    let pool = Arc::new(build(from_environment()?)?);
    replace(process, Arc::clone(&pool));
    Ok(pool)
}

/// Makes the pool of this process one of `threads` threads, or of one for each processor.
pub(crate) fn set_threads(threads: Option<usize>) -> Result<(), Fault> {
    let (process, pool) = (std::process::id(), Arc::new(build(threads)?));
    match ENTRY.load_full().filter(|entry| entry.process == process) {
        Some(entry) => *entry.pool.lock().unwrap_or_else(PoisonError::into_inner) = pool,
        None => replace(process, pool),
    }
    Ok(())
}

fn replace(process: u32, pool: Arc<ThreadPool>) {
    if let Some(of_parent) = ENTRY.swap(Some(Arc::new(Entry { process, pool: Mutex::new(pool) })))
        && of_parent.process != process
    {
        // Its threads are not in this process: to end them is to wait for ever.
        std::mem::forget(of_parent);
    }
}

fn build(threads: Option<usize>) -> Result<ThreadPool, Fault> {
    let pool = ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build(); // 0: one for each processor
    pool.map_err(|error| Fault::Internal(format!("cannot start the threads: {error}")))
}

fn from_environment() -> Result<Option<usize>, Fault> {
    for name in VARIABLES {
        let Ok(text) = std::env::var(name) else { continue };
        // OpenMP has lists, one number for each level of nesting.
        let number = text.split(',').next().unwrap_or_default().trim().parse();
        return match number {
            Ok(threads) if threads > 0 => Ok(Some(threads)),
            _ => Err(Fault::Option(format!("{name}: expected a number of threads, found `{text}`"))),
        };
    }
    Ok(None)
}
