//! Batches of work whose inputs are opened beside it: while the model is busy with one, the next is read. Knows neither
//! models nor pictures.

use crate::progress::Progress;

/// Goes through `items` in batches of `batch_size`: `open` reads what a batch needs, `work` makes results of that, and `done`
/// gets the results of each batch, in order. While one batch is worked on, the next is opened.
///
/// # Errors
/// What `work` and `done` fail with.
pub(super) fn each_batch<'i, Item: Sync, Opened: Send, Output: Send>(
    items: &'i [Item],
    batch_size: usize,
    progress: &Progress,
    open: impl Fn(&'i [Item]) -> Opened + Sync,
    work: impl Fn(&'i [Item], Opened) -> anyhow::Result<Output> + Sync,
    mut done: impl FnMut(&'i [Item], Output) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut batches = items.chunks(batch_size.max(1));
    let mut next = batches.next().map(|batch| (batch, open(batch)));
    while let Some((batch, opened)) = next {
        let following = batches.next();
        let (results, prepared) =
            rayon::join(|| work(batch, opened), || following.map(|batch| (batch, open(batch))));
        done(batch, results?)?;
        progress.advance(batch.len());
        next = prepared;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_is_worked_on_once_and_in_order() {
        let items: Vec<usize> = (0..7).collect();
        for batch_size in [1, 3, 7, 10] {
            let mut found = Vec::new();
            each_batch(
                &items,
                batch_size,
                &Progress::new(items.len(), "numbers"),
                |batch| batch.iter().map(|item| 10 * item).collect::<Vec<_>>(),
                |batch, opened| Ok(batch.iter().zip(opened).map(|(a, b)| a + b).collect::<Vec<_>>()),
                |batch, results| {
                    assert_eq!(batch.len(), results.len());
                    found.extend(results);
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(found, [0, 11, 22, 33, 44, 55, 66]);
        }
    }

    #[test]
    fn a_failure_ends_the_work() {
        let failed = each_batch(
            &[1, 2, 3],
            1,
            &Progress::new(3, "numbers"),
            |batch| batch[0],
            |_, opened| if opened == 2 { anyhow::bail!("two") } else { Ok(opened) },
            |_, result| {
                assert_eq!(result, 1);
                Ok(())
            },
        );
        assert_eq!(failed.unwrap_err().to_string(), "two");
    }
}
