//! Whether values are numbers: NaN and infinity, found at the speed of memory.

/// Whether none of `values` is NaN or infinite. In integers and without a branch, so that the compiler vectorises it.
pub fn are_finite(values: &[f32]) -> bool {
    // An exponent of ones, and no other, carries into the sign bit.
    let carried = |value: &f32| (value.to_bits() & 0x7fff_ffff) + 0x0080_0000;
    values.iter().fold(0, |all, value| all | carried(value)) >> 31 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_naive_one(bits in prop::collection::vec(any::<u32>(), 0..70), odd in any::<bool>(), at in 0usize..70) {
            // Drawn bits are nearly always finite; some are made to be nearly infinite.
            let mut values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            if let Some(value) = values.get_mut(at) {
                *value = if odd { f32::MAX } else { f32::NEG_INFINITY };
            }
            prop_assert_eq!(are_finite(&values), values.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn every_kind_of_number_is_known() {
        assert!(are_finite(&[0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1)]));
        assert!(are_finite(&[]));
        for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)] {
            for at in 0..40 {
                let mut values = [1.5; 40];
                values[at] = odd;
                assert!(!are_finite(&values), "{odd} at {at}");
            }
        }
    }
}
