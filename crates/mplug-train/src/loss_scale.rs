//! The factor that a loss is multiplied with before its gradients are computed in IEEE half, whose smallest number is 6e-8, and that
//! they are divided by afterwards (Micikevicius et al., arXiv 1710.03740, section 3.2). It halves when a gradient overflows and doubles
//! after a while without. Always a power of two, so that scaling rounds nothing.

/// The first factor's exponent, and the largest.
const FIRST: i32 = 16;
const LARGEST: i32 = 24;
/// Steps without an overflow before the factor doubles.
const PATIENCE: u32 = 2000;

/// The factor: 1 for ever by default, for types with the range of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossScale {
    exponent: i32,
    /// Steps since it changed.
    good_steps: u32,
    /// Whether it may change.
    follows: bool,
}

impl LossScale {
    /// One that follows the gradients.
    pub fn following() -> Self {
        Self { exponent: FIRST, good_steps: 0, follows: true }
    }

    /// The factor.
    pub fn factor(self) -> f32 {
        (self.exponent as f32).exp2()
    }

    /// Notes a step without an overflow.
    pub fn stepped(&mut self) {
        self.good_steps += u32::from(self.follows);
        if self.good_steps >= PATIENCE {
            self.good_steps = 0;
            self.exponent = (self.exponent + 1).min(LARGEST);
        }
    }

    /// Halves after an overflow, down to 1.
    pub fn shrink(&mut self) {
        self.exponent = (self.exponent - 1).max(0);
        self.good_steps = 0;
    }

    /// As whole numbers, for a checkpoint.
    pub(crate) fn to_numbers(self) -> [i64; 3] {
        [i64::from(self.exponent), i64::from(self.good_steps), i64::from(self.follows)]
    }

    /// What [`to_numbers`](Self::to_numbers) wrote.
    pub(crate) fn from_numbers([exponent, good_steps, follows]: [i64; 3]) -> Self {
        Self {
            exponent: exponent.clamp(0, i64::from(LARGEST)) as i32,
            good_steps: good_steps.clamp(0, i64::from(PATIENCE)) as u32,
            follows: follows != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_at_an_overflow_down_to_one_and_doubles_after_a_while() {
        let mut scale = LossScale::following();
        assert_eq!(scale.exponent, 16);
        (0..PATIENCE).for_each(|_| scale.stepped());
        assert_eq!(scale.exponent, 17);
        (0..16).for_each(|_| scale.shrink());
        assert_eq!(scale.exponent, 1);
        (0..2).for_each(|_| scale.shrink());
        assert!((scale.factor() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_checkpoint_brings_it_back_and_one_stays_one() {
        let mut scale = LossScale::following();
        scale.shrink();
        (0..5).for_each(|_| scale.stepped());
        assert_eq!(LossScale::from_numbers(scale.to_numbers()), scale);
        let mut one = LossScale::default();
        (0..2 * PATIENCE).for_each(|_| one.stepped());
        assert!((one.factor() - 1.0).abs() < 1e-9);
    }
}
