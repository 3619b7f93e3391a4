//! What a run reports to its caller while it runs, and how its batches are counted.

use std::ops::ControlFlow;

use mplug_data::batches;

use crate::error::EvalError;

/// Something that happened in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Some of the pictures have captions in the journal already. Comes before [`Started`](Self::Started).
    Resumed {
        /// How many have one.
        known: usize,
        /// How many pictures there are in all.
        count: usize,
    },
    /// A part of the run begins, which ends with the next one or with the run.
    Started {
        /// How many steps it has.
        count: usize,
        /// What they are: "pictures", "questions".
        what: &'static str,
    },
    /// A batch is done.
    Progress {
        /// How many steps it had.
        count: usize,
    },
    /// A picture, a question or a candidate failed; the run goes on without it.
    Failed {
        /// Its name, and what is wrong with it.
        message: &'a str,
    },
    /// Something that a reader of the figures should know.
    Note {
        /// What.
        message: &'a str,
    },
}

/// Hears the events of a run. `Break` stops it after the batch at hand, with [`EvalError::Stopped`]; what is in a journal stays.
pub type OnEvent<'o> = &'o mut dyn FnMut(Event<'_>) -> ControlFlow<()>;

/// Hands an event over.
///
/// # Errors
/// [`EvalError::Stopped`].
pub(crate) fn emit(on_event: OnEvent<'_>, event: Event<'_>) -> Result<(), EvalError> {
    match on_event(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(EvalError::Stopped),
    }
}

/// [`batches::each_batch`] with events: `items`, called `what`, are begun and counted; `done` gets the results of each batch
/// before it counts as done, and returns messages about what failed in it.
///
/// # Errors
/// What `work` and `done` fail with, and [`EvalError::Stopped`].
pub(crate) fn each_batch<'i, Item: Sync, Opened: Send, Output: Send>(
    items: &'i [Item],
    batch_size: usize,
    what: &'static str,
    on_event: OnEvent<'_>,
    open: impl Fn(&'i [Item]) -> Opened + Sync,
    work: impl Fn(&'i [Item], Opened) -> Result<Output, EvalError> + Sync,
    mut done: impl FnMut(&'i [Item], Output) -> Result<Vec<String>, EvalError>,
) -> Result<(), EvalError> {
    emit(on_event, Event::Started { count: items.len(), what })?;
    let report = |batch: &'i [Item], output: Output| {
        for message in done(batch, output)? {
            emit(on_event, Event::Failed { message: &message })?;
        }
        emit(on_event, Event::Progress { count: batch.len() })?;
        Ok(ControlFlow::Continue(()))
    };
    batches::each_batch(items, batch_size, open, work, report).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_stopped_after_the_batch_at_hand() {
        let (mut events, mut kept) = (Vec::new(), Vec::<i32>::new());
        let result = each_batch(
            &[1, 2, 3, 4, 5],
            2,
            "numbers",
            &mut |event| {
                events.push(format!("{event:?}"));
                if matches!(event, Event::Failed { .. }) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
            |_| (),
            |batch, ()| Ok(batch.to_vec()),
            |_, batch| {
                kept.extend(&batch);
                Ok(batch.into_iter().filter(|number| *number == 3).map(|number| number.to_string()).collect())
            },
        );
        assert!(matches!(result, Err(EvalError::Stopped)));
        assert_eq!(kept, [1, 2, 3, 4]);
        assert_eq!(
            events,
            ["Started { count: 5, what: \"numbers\" }", "Progress { count: 2 }", "Failed { message: \"3\" }"]
        );
    }
}
