//! Batches of work whose inputs are read ahead: while the model is busy with one, the next is opened. Knows neither models nor
//! pictures.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Goes through `items` in batches of `batch_size`: `open` reads what a batch needs, `work` makes results of that, and `done`
/// gets the results of each batch, in order, until it breaks. While one batch is worked on, the next is opened.
///
/// Returns how long `work` took in all.
///
/// # Errors
/// What `work` and `done` fail with.
pub fn each_batch<'i, Item: Sync, Opened: Send, Output: Send, E: Send>(
    items: &'i [Item],
    batch_size: usize,
    open: impl Fn(&'i [Item]) -> Opened + Sync,
    work: impl Fn(&'i [Item], Opened) -> Result<Output, E> + Sync,
    mut done: impl FnMut(&'i [Item], Output) -> Result<ControlFlow<()>, E>,
) -> Result<Duration, E> {
    let mut busy = Duration::ZERO;
    let mut batches = items.chunks(batch_size.max(1));
    let mut next = batches.next().map(|batch| (batch, open(batch)));
    while let Some((batch, opened)) = next {
        let following = batches.next();
        let timed = || {
            let started = Instant::now();
            (work(batch, opened), started.elapsed())
        };
        let ((results, took), prepared) = rayon::join(timed, || following.map(|batch| (batch, open(batch))));
        busy += took;
        if done(batch, results?)?.is_break() {
            break;
        }
        next = prepared;
    }
    Ok(busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums of numbers and their tenfold, up to the first of `limit` or more.
    fn sums(items: &[usize], batch_size: usize, limit: usize) -> Vec<usize> {
        let mut found = Vec::new();
        each_batch(
            items,
            batch_size,
            |batch| batch.iter().map(|item| 10 * item).collect::<Vec<_>>(),
            |batch, opened| Ok::<_, ()>(batch.iter().zip(opened).map(|(a, b)| a + b).collect::<Vec<_>>()),
            |batch, results| {
                assert_eq!(batch.len(), results.len());
                found.extend(results);
                let is_end = found.iter().any(|sum| *sum >= limit);
                Ok(if is_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )
        .unwrap();
        found
    }

    #[test]
    fn every_batch_is_worked_on_once_and_in_order() {
        let items: Vec<usize> = (0..7).collect();
        for batch_size in [1, 3, 7, 10] {
            assert_eq!(sums(&items, batch_size, 1000), [0, 11, 22, 33, 44, 55, 66]);
        }
        assert_eq!(sums(&items, 2, 22), [0, 11, 22, 33], "nothing after the batch that ends it");
        assert!(sums(&[], 2, 22).is_empty());
    }

    #[test]
    fn a_failure_ends_it() {
        let fails = |batch: &[i32], (): ()| if batch == [2] { Err("two") } else { Ok(()) };
        let mut done = 0;
        let result = each_batch(
            &[1, 2, 3],
            1,
            |_| (),
            fails,
            |_, ()| {
                done += 1;
                Ok(ControlFlow::Continue(()))
            },
        );
        assert_eq!((result.unwrap_err(), done), ("two", 1));
    }
}
