//! Several processes that train one model: each computes the gradients of its micro-batches of every batch, and all take the same
//! step. Micro-batches are dealt out in turn, so that N processes do what one does with the same batch, to rounding. With the
//! feature `mpi` they are those that `mpirun` started (MPI over the `mpi` crate); else there is one.

use crate::error::TrainError;
use crate::gradients::Outcome;
use crate::objective::Findings;

/// Variables by which `mpirun` and its like inform a process how many there are.
const SIZE_VARIABLES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];

/// The processes of a run.
pub trait Ranks {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Replaces `values` by their sums over all processes.
    fn sum(&self, values: &mut [f32]);

    /// The values of every process, in their order.
    fn gather(&self, values: &[f64]) -> Vec<Vec<f64>>;

    /// Whether this process writes files and reports.
    fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// Whether the micro-batch number `micro_batch` of a batch is this process's.
    fn has_micro_batch(&self, micro_batch: usize) -> bool {
        micro_batch % self.size() == self.rank()
    }
}

/// One process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _: &mut [f32]) {}

    fn gather(&self, values: &[f64]) -> Vec<Vec<f64>> {
        vec![values.to_vec()]
    }
}

/// The processes that this one was started with.
///
/// # Errors
/// When there are several and this build knows nothing of MPI, or MPI does not start.
pub fn join() -> Result<Box<dyn Ranks>, TrainError> {
    let started = SIZE_VARIABLES.iter().find_map(|name| std::env::var(name).ok()?.parse::<usize>().ok());
    if started.unwrap_or(1) < 2 {
        return Ok(Box::new(Alone));
    }
    several()
}

#[cfg(feature = "mpi")]
fn several() -> Result<Box<dyn Ranks>, TrainError> {
    let started = mpi::initialize_with_threading(mpi::Threading::Funneled);
    let (universe, _) = started.ok_or_else(|| TrainError::Recipe("MPI does not start".to_owned()))?;
    Ok(Box::new(over_mpi::Processes::new(universe)))
}

#[cfg(not(feature = "mpi"))]
fn several() -> Result<Box<dyn Ranks>, TrainError> {
    let problem = "several processes were started together, and this build cannot let them train one model: build with \
                   the feature `mpi`";
    Err(TrainError::Recipe(problem.to_owned()))
}

#[cfg(feature = "mpi")]
mod over_mpi {
    use mpi::collective::{CommunicatorCollectives, SystemOperation};
    use mpi::datatype::PartitionMut;
    use mpi::environment::Universe;
    use mpi::topology::{Communicator, SimpleCommunicator};

    /// The processes of `MPI_COMM_WORLD`. MPI ends when this does.
    pub(super) struct Processes {
        world: SimpleCommunicator,
        _universe: Universe,
    }

    impl Processes {
        pub(super) fn new(universe: Universe) -> Self {
            Self { world: universe.world(), _universe: universe }
        }
    }

    impl super::Ranks for Processes {
        fn rank(&self) -> usize {
            self.world.rank() as usize
        }

        fn size(&self) -> usize {
            self.world.size() as usize
        }

        fn sum(&self, values: &mut [f32]) {
            let own = values.to_vec();
            self.world.all_reduce_into(&own[..], values, SystemOperation::sum());
        }

        fn gather(&self, values: &[f64]) -> Vec<Vec<f64>> {
            let mut counts = vec![0_i32; self.size()];
            self.world.all_gather_into(&(values.len() as i32), &mut counts[..]);
            let starts: Vec<i32> = counts
                .iter()
                .scan(0, |sum, count| {
                    *sum += count;
                    Some(*sum - count)
                })
                .collect();
            let mut all = vec![0.0; counts.iter().sum::<i32>() as usize];
            let mut parts = PartitionMut::new(&mut all[..], &counts[..], &starts[..]);
            self.world.all_gather_varcount_into(values, &mut parts);
            let part = |(start, count): (&i32, &i32)| all[*start as usize..(start + count) as usize].to_vec();
            starts.iter().zip(&counts).map(part).collect()
        }
    }
}

/// Makes of every process's part of a batch's outcome the whole one: losses and gradients summed, findings in the order of
/// the batch's `micro_batches`. `lens` are the parameters' numbers of values.
pub fn share(ranks: &dyn Ranks, own: Outcome, lens: &[usize], micro_batches: usize) -> Outcome {
    if ranks.size() == 1 {
        return own;
    }
    let mut loss = [own.loss];
    ranks.sum(&mut loss);
    let mut gradients = own.gradients;
    gradients.resize(lens.len(), None);
    let mut holders: Vec<f32> = gradients.iter().map(|g| f32::from(u8::from(g.is_some()))).collect();
    ranks.sum(&mut holders);
    for ((gradient, len), holders) in gradients.iter_mut().zip(lens).zip(holders) {
        // A micro-batch may have no gradient of a parameter that another micro-batch has one of.
        if holders > 0.0 {
            ranks.sum(gradient.get_or_insert_with(|| vec![0.0; *len]));
        }
    }
    let names: Vec<&'static str> = own
        .findings
        .first()
        .map(|found| found.parts.iter().map(|(name, _)| *name).collect())
        .unwrap_or_default();
    let numbers: Vec<f64> = own.findings.iter().flat_map(to_numbers).collect();
    let mut findings = vec![Findings::default(); micro_batches];
    for (rank, numbers) in ranks.gather(&numbers).into_iter().enumerate() {
        let mut numbers = numbers.into_iter();
        for micro_batch in (rank..micro_batches).step_by(ranks.size()) {
            findings[micro_batch] = from_numbers(&mut numbers, &names);
        }
    }
    Outcome { loss: loss[0], gradients, findings }
}

/// What a micro-batch brought along as numbers: the parts, the pictures, their features, each list behind its length.
fn to_numbers(found: &Findings) -> Vec<f64> {
    let mut numbers = vec![found.parts.len() as f64];
    numbers.extend(found.parts.iter().map(|(_, value)| value));
    numbers.push(found.picture_ids.len() as f64);
    numbers.extend(found.picture_ids.iter().map(|id| *id as f64));
    for side in &found.features {
        numbers.push(side.len() as f64);
        numbers.extend(side.iter().map(|value| f64::from(*value)));
    }
    numbers
}

/// And back; a process without micro-batches of its own does not know the parts' names and leaves them out.
fn from_numbers(numbers: &mut impl Iterator<Item = f64>, names: &[&'static str]) -> Findings {
    let mut list = || -> Vec<f64> {
        let len = numbers.next().unwrap_or_default() as usize;
        numbers.by_ref().take(len).collect()
    };
    let (parts, picture_ids, images, texts) = (list(), list(), list(), list());
    let values = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    Findings {
        parts: names.iter().copied().zip(parts).collect(),
        features: [values(images), values(texts)],
        picture_ids: picture_ids.into_iter().map(|id| id as u64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_survive_the_journey() {
        let found = Findings {
            parts: vec![("contrast", 0.25), ("matching", 3.0)],
            features: [vec![1.5, -2.0], vec![0.1, 0.2]],
            picture_ids: vec![7, 1 << 40],
        };
        let numbers = [to_numbers(&found), to_numbers(&Findings::default())].concat();
        let mut numbers = numbers.into_iter();
        assert_eq!(from_numbers(&mut numbers, &["contrast", "matching"]), found);
        assert_eq!(from_numbers(&mut numbers, &["contrast", "matching"]), Findings::default());
        assert_eq!(numbers.next(), None);
    }

    #[test]
    fn one_process_has_every_micro_batch() {
        assert!((0..5).all(|micro_batch| Alone.has_micro_batch(micro_batch)) && Alone.leads());
        assert_eq!(Alone.gather(&[1.0]), [[1.0]]);
    }
}
