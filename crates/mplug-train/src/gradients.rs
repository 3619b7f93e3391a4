//! The gradient of a batch, micro-batch by micro-batch, on several threads. Each thread has a replica of the parameters, so that
//! the threads' graphs share nothing, and always the same micro-batches, so that the sum does not depend on who is faster.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor};
use mplug_nn::{Dropout, DropoutRates, Mplug};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::batch::{Batch, MicroBatch};
use crate::error::TrainError;
use crate::objective::{Findings, Objective, Pass, Totals};

/// A gradient per parameter, in the model's order; none where the loss does not depend on the parameter. Flat, on the host.
pub type Gradients = Vec<Option<Vec<f32>>>;

/// What a batch gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The loss.
    pub loss: f32,
    /// Its gradients.
    pub gradients: Gradients,
    /// What the micro-batches brought along, in their order.
    pub findings: Vec<Findings>,
}

/// Threads for gradients.
pub struct Workers {
    /// One pool of one thread each: the backend's own parallelism stays inside the worker.
    pools: Vec<ThreadPool>,
    device: Device,
    dropout: DropoutRates,
}

impl Workers {
    /// `threads` workers on `device`, which records gradients.
    pub fn new(threads: usize, device: Device, dropout: DropoutRates) -> Result<Self, TrainError> {
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        let pools = (0..threads).map(pool).collect::<Result<_, _>>().map_err(|error| TrainError::Value {
            field: "run.threads",
            expected: "as many threads as the system gives".to_owned(),
            found: format!("{threads} ({error})"),
        })?;
        Ok(Self { pools, device, dropout })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pools.len()
    }

    /// Does `work` for each number below `count`, each on one worker's thread alone, and gives the results in the order of their
    /// numbers. A worker that is done takes the next number, so that a result must not depend on who makes it.
    ///
    /// # Errors
    /// The first by its number; no further work is begun then.
    ///
    /// # Panics
    /// If a worker panics.
    pub fn deal<T: Send>(
        &self,
        count: usize,
        work: impl Fn(usize) -> Result<T, TrainError> + Sync,
    ) -> Result<Vec<T>, TrainError> {
        let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let take = || {
            let mut done = Vec::new();
            // Whatever is below a number that was taken has been taken too, so the first error is always found.
            while !has_failed.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let result = work(number);
                has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
                done.push((number, result));
            }
            done
        };
        let mut done: Vec<(usize, Result<T, TrainError>)> = std::thread::scope(|scope| {
            let handles: Vec<_> = self.pools.iter().map(|pool| scope.spawn(|| pool.install(take))).collect();
            handles.into_iter().flat_map(|handle| handle.join().expect("a worker panicked")).collect()
        });
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs `work` with as many threads together as there are workers: what it computes must not depend on their number.
    pub fn run_together<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match ThreadPoolBuilder::new().num_threads(self.pools.len()).build() {
            Ok(pool) => pool.install(work),
            Err(_) => self.pools[0].install(work),
        }
    }

    /// The loss under `objective` of the batch's micro-batches that are `mine` by their number, as shares of the whole batch's,
    /// and their gradients; on the way these are `scale` (at least 1) times as large.
    ///
    /// # Panics
    /// If a worker panics.
    pub fn gradients(
        &self,
        model: &Mplug,
        objective: &dyn Objective,
        batch: &Batch,
        mine: impl Fn(usize) -> bool,
        scale: f32,
    ) -> Outcome {
        let totals = Totals::of(batch);
        let micro_batches = batch.micro_batches.iter().enumerate().filter(|(number, _)| mine(*number));
        let micro_batches: Vec<&MicroBatch> = micro_batches.map(|(_, micro_batch)| micro_batch).collect();
        let workers = self.pools.len();
        let results: Vec<Outcome> = std::thread::scope(|scope| {
            let handles: Vec<_> = self
                .pools
                .iter()
                .enumerate()
                .map(|(worker, pool)| {
                    let micro_batches = micro_batches.iter().copied().skip(worker).step_by(workers);
                    scope.spawn(move || {
                        pool.install(|| self.accumulate(model, objective, micro_batches, totals, scale))
                    })
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().expect("a worker panicked")).collect()
        });
        combine(results, micro_batches.len())
    }

    /// The summed losses and gradients of some micro-batches.
    fn accumulate<'a>(
        &self,
        model: &Mplug,
        objective: &dyn Objective,
        micro_batches: impl Iterator<Item = &'a MicroBatch>,
        totals: Totals,
        scale: f32,
    ) -> Outcome {
        let mut replica = model.clone();
        for parameter in replica.parameters_mut() {
            parameter.update(|value| value);
        }
        let parameters = replica.parameters();
        let mut whole = Outcome::default();
        // On the device, so that they travel once, however many the micro-batches.
        let mut sums: Vec<Option<Tensor<1>>> = vec![None; parameters.len()];
        for micro_batch in micro_batches {
            let dropout = Dropout::new(self.dropout, micro_batch.seed);
            let pass = Pass { model: &replica, micro_batch, totals, device: &self.device, dropout: &dropout };
            let (loss, findings) = objective.loss(&pass);
            whole.loss += loss.clone().into_scalar::<f32>();
            whole.findings.push(findings);
            let mut gradients = if scale > 1.0 { loss.mul_scalar(scale) } else { loss }.backward();
            for (sum, parameter) in sums.iter_mut().zip(&parameters) {
                *sum = match (sum.take(), parameter.value().grad_remove(&mut gradients)) {
                    (Some(sum), Some(gradient)) => Some(sum + gradient),
                    (sum, gradient) => sum.or(gradient),
                };
            }
        }
        whole.gradients = sums.into_iter().map(|sum| Some(to_host(sum?, scale))).collect();
        whole
    }
}

/// The values of a gradient that is `scale` times as large as it should be.
fn to_host(gradient: Tensor<1>, scale: f32) -> Vec<f32> {
    let mut values: Vec<f32> = gradient.try_into_vec_as().expect("gradients are f32 and readable");
    if scale > 1.0 {
        for value in &mut values {
            *value /= scale;
        }
    }
    values
}

/// The workers' sums together, findings in the micro-batches' order.
fn combine(results: Vec<Outcome>, micro_batches: usize) -> Outcome {
    let workers = results.len();
    let mut whole = Outcome { findings: vec![Findings::default(); micro_batches], ..Outcome::default() };
    for (worker, result) in results.into_iter().enumerate() {
        whole.loss += result.loss;
        whole.gradients = add(std::mem::take(&mut whole.gradients), result.gradients);
        for (number, findings) in result.findings.into_iter().enumerate() {
            whole.findings[worker + number * workers] = findings;
        }
    }
    whole
}

/// The loss of a micro-batch without gradients: its share of the mean over `totals`.
pub fn plain_loss(
    model: &Mplug,
    objective: &dyn Objective,
    micro_batch: &MicroBatch,
    totals: Totals,
    device: &Device,
) -> f64 {
    let pass = Pass { model, micro_batch, totals, device, dropout: &Dropout::off() };
    f64::from(objective.loss(&pass).0.into_scalar::<f32>())
}

/// Adds gradients pairwise; an empty list is zero.
fn add(left: Gradients, right: Gradients) -> Gradients {
    if left.is_empty() {
        return right;
    }
    if right.is_empty() {
        return left;
    }
    left.into_iter()
        .zip(right)
        .map(|pair| match pair {
            (Some(mut left), Some(right)) => {
                left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
                Some(left)
            }
            (left, right) => left.or(right),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(threads: usize) -> Workers {
        Workers::new(threads, Device::flex(), DropoutRates::default()).expect("threads")
    }

    #[test]
    fn work_is_dealt_out_once_each_and_its_first_error_counts() {
        for threads in 1..=4 {
            let workers = workers(threads);
            let squares = workers.deal(100, |number| Ok(number * number)).expect("no error");
            assert_eq!(squares, (0..100).map(|number| number * number).collect::<Vec<_>>());
            assert_eq!(workers.deal(0, Ok).expect("nothing"), Vec::<usize>::new());
            for _ in 0..20 {
                let failed = workers.deal(100, |number| match number {
                    7 | 8 | 30.. => Err(TrainError::Recipe(number.to_string())),
                    _ => Ok(()),
                });
                assert!(matches!(&failed, Err(TrainError::Recipe(number)) if number == "7"), "{failed:?}");
            }
            assert_eq!(workers.run_together(rayon::current_num_threads), threads);
        }
    }
}
