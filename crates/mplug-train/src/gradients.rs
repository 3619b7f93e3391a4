//! The gradient of a batch, micro-batch by micro-batch, on several threads. Each thread has a replica of the parameters, so that
//! the threads' graphs share nothing, and always the same micro-batches, so that the sum does not depend on who is faster.

use std::sync::mpsc::{Sender, channel};

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

    /// Runs `work` on one worker's thread, so that the order of its sums does not depend on who is free when.
    pub fn run_on_one<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pools[0].install(work)
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
        self.gradients_with(model, objective, batch, mine, scale, &mut |_, _| {})
    }

    /// [`Workers::gradients`], with a call to `done` on this thread whenever a micro-batch is done: how many are, and of how many.
    ///
    /// # Panics
    /// If a worker panics.
    pub fn gradients_with(
        &self,
        model: &Mplug,
        objective: &dyn Objective,
        batch: &Batch,
        mine: impl Fn(usize) -> bool,
        scale: f32,
        done: &mut dyn FnMut(usize, usize),
    ) -> Outcome {
        let totals = Totals::of(batch);
        let micro_batches = batch.micro_batches.iter().enumerate().filter(|(number, _)| mine(*number));
        let micro_batches: Vec<&MicroBatch> = micro_batches.map(|(_, micro_batch)| micro_batch).collect();
        let workers = self.pools.len();
        let (sender, finished) = channel();
        let results: Vec<Outcome> = std::thread::scope(|scope| {
            let handles: Vec<_> = self
                .pools
                .iter()
                .enumerate()
                .map(|(worker, pool)| {
                    let micro_batches = micro_batches.iter().copied().skip(worker).step_by(workers);
                    let sender = sender.clone();
                    scope.spawn(move || {
                        pool.install(|| {
                            self.accumulate(model, objective, micro_batches, totals, scale, &sender)
                        })
                    })
                })
                .collect();
            drop(sender);
            // Ends when all workers have dropped their senders.
            for (before, ()) in finished.iter().enumerate() {
                done(before + 1, micro_batches.len());
            }
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
        finished: &Sender<()>,
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
            // Nobody listens where the calling thread has ended.
            let _ = finished.send(());
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
