//! One thread pool for the whole run. Knows nothing of the work.

use anyhow::Context;

/// Runs `work` with `threads` threads in all, or with one per core. It runs inside the pool: work that is handed in from
/// outside, step by step, pays for the hand-over each time, and a decoder takes hundreds of steps a caption.
pub(crate) fn run<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0)) // 0: one per core
        .build()
        .context("cannot start the threads")?;
    pool.install(work)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_pool_has_the_requested_threads() {
        assert_eq!(super::run(Some(3), || Ok(rayon::current_num_threads())).unwrap(), 3);
    }
}
