//! Random choices from integers: the same seed and index give the same choices on every machine.
//!
//! A thin wrapper over `rand_pcg`; it refuses to know what is being chosen.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

/// What the choices are for: each purpose has its own stream, so that pixel noise never moves an object.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Scene = 1,
    Pixels = 2,
    Questions = 3,
    Falsehood = 4,
}

/// One stream of choices.
pub(super) struct Choices {
    rng: Pcg64Mcg,
}

impl Choices {
    /// The stream of picture `index` under `seed`, independent of every other index.
    pub(super) fn new(seed: u64, index: u64, purpose: Purpose) -> Self {
        let high = mix(mix(seed) ^ index);
        let low = mix(high ^ (purpose as u64));
        Self { rng: Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low)) }
    }

    /// 32 random bits.
    pub(super) fn bits(&mut self) -> u32 {
        self.rng.next_u32()
    }

    /// A number in `0..n`; `n` must not be 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.bits()) * n as u64) >> 32) as usize
    }

    /// A number in `low..high`, from 24 random bits.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 8) as f32 / 16_777_216.0)
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// splitmix64's finaliser: neighbouring integers come out unrelated.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
