//! The gradient of a batch, portion by portion, on several threads. Each thread has a replica of the parameters, so that
//! the threads' graphs share nothing, and always the same portions, so that the sum does not depend on who is faster.

use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug_nn::CaptioningModel;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::batch::{Batch, MicroBatch};
use crate::error::TrainError;
use crate::loss::cross_entropy;

/// A gradient per parameter, in the model's order; none where the loss does not depend on the parameter. Flat, on the host.
pub type Gradients = Vec<Option<Vec<f32>>>;

/// Threads for gradients.
pub struct Workers {
    /// One pool of one thread each: the backend's own parallelism stays inside the worker.
    pools: Vec<ThreadPool>,
    device: Device,
}

impl Workers {
    /// `threads` workers on `device`.
    pub fn new(threads: usize, device: Device) -> Result<Self, TrainError> {
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        let pools = (0..threads).map(pool).collect::<Result<_, _>>().map_err(|error| TrainError::Value {
            field: "run.threads",
            expected: "as many threads as the system gives".to_owned(),
            found: format!("{threads} ({error})"),
        })?;
        Ok(Self { pools, device })
    }

    /// Runs `work` on one worker's thread, so that the order of its sums does not depend on who is free when.
    pub fn run_on_one<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pools[0].install(work)
    }

    /// The mean loss over the batch's labels, and its gradients.
    ///
    /// # Panics
    /// If a worker panics.
    pub fn gradients(&self, model: &CaptioningModel, batch: &Batch) -> (f32, Gradients) {
        let tokens = batch.tokens();
        let workers = self.pools.len();
        let results: Vec<(f32, Gradients)> = std::thread::scope(|scope| {
            let handles: Vec<_> = self
                .pools
                .iter()
                .enumerate()
                .map(|(worker, pool)| {
                    let portions = batch.micro_batches.iter().skip(worker).step_by(workers);
                    scope.spawn(move || pool.install(|| accumulate(model, portions, tokens, &self.device)))
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().expect("a worker panicked")).collect()
        });
        let sum = |(loss, gradients), (more, others)| (loss + more, add(gradients, others));
        results.into_iter().reduce(sum).unwrap_or_default()
    }
}

/// The summed losses and gradients of some portions.
fn accumulate<'a>(
    model: &CaptioningModel,
    portions: impl Iterator<Item = &'a MicroBatch>,
    tokens: usize,
    device: &Device,
) -> (f32, Gradients) {
    let mut replica = model.clone();
    for parameter in replica.parameters_mut() {
        parameter.update(|value| value);
    }
    let parameters = replica.parameters();
    let (mut total, mut sum) = (0.0, Gradients::new());
    for portion in portions {
        let loss = portion_loss(&replica, portion, tokens, device);
        total += loss.clone().into_scalar::<f32>();
        let mut gradients = loss.backward();
        let host = |gradient: Tensor<1>| gradient.try_into_vec_as().expect("gradients are f32 and readable");
        let gradients = parameters.iter().map(|p| p.value().grad_remove(&mut gradients).map(host)).collect();
        sum = add(sum, gradients);
    }
    (total, sum)
}

/// The part of a portion in the mean loss over `tokens` labels.
pub fn portion_loss(
    model: &CaptioningModel,
    portion: &MicroBatch,
    tokens: usize,
    device: &Device,
) -> Tensor<1> {
    let (rows, len) = (portion.rows, portion.len);
    let size = ((portion.pixel_values.len() / (3 * rows)) as f64).sqrt().round() as usize;
    let pixels = TensorData::new(portion.pixel_values.clone(), [rows, 3, size, size]);
    let ids = TensorData::new(portion.input_ids.clone(), [rows, len]);
    let mask = TensorData::new(portion.attention_mask.clone(), [rows, len]);
    let labels = TensorData::new(portion.labels.clone(), [rows, len]);
    let logits = model.forward(
        Tensor::from_data(pixels, device),
        Tensor::<2, Int>::from_data(ids, device),
        Tensor::from_data(mask, device),
    );
    cross_entropy(logits, Tensor::from_data(labels, device), tokens)
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
