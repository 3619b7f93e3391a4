//! Dropout: each value is zeroed with a probability, the others scaled up so that the mean stays. The masks are drawn from
//! a seed of one's own, so that a resumed run drops what the first run would have dropped, on any number of threads.
//! Knows nothing of when training happens: a rate of zero does nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// How often values are dropped, by part of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DropoutRates {
    /// Everywhere on the text side, and after the visual projection of large models (0.1 in the original).
    pub text: f32,
    /// On the attention probabilities of the visual encoder (0.1 in the research code, 0 in ModelScope's).
    pub visual_attention: f32,
}

/// The dropout of one pass through a network: its rates, and its stream of random numbers.
#[derive(Debug)]
pub struct Dropout {
    rates: DropoutRates,
    random: Mutex<Pcg64>,
    /// Whether nothing is ever dropped.
    is_off: bool,
}

impl Dropout {
    /// None at all.
    pub fn off() -> Self {
        Self { is_off: true, ..Self::new(DropoutRates::default(), 0) }
    }

    /// Dropout with rates from 0 to 1, 1 excluded; what is dropped depends on `seed` and on the order of the calls.
    pub fn new(rates: DropoutRates, seed: u64) -> Self {
        Self { rates, random: Mutex::new(Pcg64::seed_from_u64(seed)), is_off: false }
    }

    /// One that will drop what this one drops from now on.
    pub(crate) fn fork(&self) -> Self {
        Self { rates: self.rates, random: Mutex::new(self.random().clone()), is_off: self.is_off }
    }

    fn random(&self) -> MutexGuard<'_, Pcg64> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the text side.
    pub(crate) fn text<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.drop(input, self.rates.text)
    }

    /// On attention probabilities of the visual encoder.
    pub(crate) fn visual_attention<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.drop(input, self.rates.visual_attention)
    }

    /// At a rate of the caller's, where anything is dropped in this pass at all.
    pub(crate) fn at_rate<const D: usize>(&self, input: Tensor<D>, rate: f32) -> Tensor<D> {
        if self.is_off { input } else { self.drop(input, rate) }
    }

    fn drop<const D: usize>(&self, input: Tensor<D>, rate: f32) -> Tensor<D> {
        if rate == 0.0 {
            return input;
        }
        let shape = input.shape();
        let mask = self.mask(shape.num_elements(), rate);
        let mask = Tensor::from_data(TensorData::new(mask, shape), &input.device());
        input * mask
    }

    /// Zeros at the rate, and else what keeps the mean. Rates are met to 2^-16.
    fn mask(&self, len: usize, rate: f32) -> Vec<f32> {
        let dropped = (rate * 65536.0).round() as u64;
        let kept = 65536.0 / (65536 - dropped) as f32;
        let mut random = self.random();
        let mut mask = Vec::with_capacity(len.next_multiple_of(4));
        while mask.len() < len {
            let bits = random.next_u64();
            mask.extend([0, 16, 32, 48].map(|at| if (bits >> at) & 0xffff < dropped { 0.0 } else { kept }));
        }
        mask.truncate(len);
        mask
    }
}

impl Clone for Dropout {
    fn clone(&self) -> Self {
        self.fork()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_and_the_mean_are_right_and_the_seed_decides() {
        let rates = DropoutRates { text: 0.1, visual_attention: 0.0 };
        let mask = |seed| Dropout::new(rates, seed).mask(100_003, 0.1);
        let (first, again, other) = (mask(1), mask(1), mask(2));
        assert!(first == again && first != other);
        let dropped = first.iter().filter(|x| **x == 0.0).count() as f32 / first.len() as f32;
        assert!((dropped - 0.1).abs() < 0.005, "{dropped}");
        let mean = first.iter().sum::<f32>() / first.len() as f32;
        assert!((mean - 1.0).abs() < 0.005, "{mean}");
    }
}
