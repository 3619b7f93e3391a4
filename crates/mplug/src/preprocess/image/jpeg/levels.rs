//! Whether the levels of a JPEG file stay within what every build of libjpeg computes the same.
//!
//! Coded data that was damaged often decodes to levels far outside of those that an encoder can write. There libjpeg's
//! vector code clamps and its plain code wraps around, so that Pillow's own pixels differ from machine to machine.

use libjpeg_turbo_rs::ComponentCoefficients;

/// Levels lie between -128 and 127; what rounding coefficients adds is far from four times as much.
const LARGEST_LEVEL: f32 = 511.0;

/// Whether each block of a component has such levels only.
pub(super) fn are_plausible(component: &ComponentCoefficients, quantization: &[u16; 64]) -> bool {
    let steps = ZIGZAG.map(|index| f32::from(quantization[index]));
    component.blocks.iter().all(|block| {
        let scaled: [f32; 64] = std::array::from_fn(|i| f32::from(block[i]) * steps[i]);
        // No cosine is larger than one: most blocks need no more than this sum.
        scaled.iter().map(|value| value.abs()).sum::<f32>() <= 4.0 * LARGEST_LEVEL
            || largest_level(&scaled) <= LARGEST_LEVEL
    })
}

/// The largest of a block's levels, whatever its sign.
fn largest_level(scaled: &[f32; 64]) -> f32 {
    let mut rows = [[0.0f32; 8]; 8]; // rows of frequencies, columns of levels
    for (value, index) in scaled.iter().zip(ZIGZAG) {
        add_scaled(&mut rows[index / 8], &WAVES[index % 8], *value);
    }
    let mut largest = 0.0f32;
    for y in 0..8 {
        let mut levels = [0.0f32; 8];
        for (row, wave) in rows.iter().zip(&WAVES) {
            add_scaled(&mut levels, row, wave[y]);
        }
        largest = levels.iter().fold(largest, |largest, level| largest.max(level.abs()));
    }
    largest
}

fn add_scaled(sums: &mut [f32; 8], values: &[f32; 8], factor: f32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value * factor;
    }
}

/// What a coefficient of each frequency adds at each position: the cosine transform.
const WAVES: [[f32; 8]; 8] = {
    /// Half the cosines of sixteenths of half a turn.
    const HALF_COSINES: [f32; 9] = [
        0.5,
        0.490_392_64,
        0.461_939_77,
        0.415_734_8,
        0.353_553_39,
        0.277_785_12,
        0.191_341_72,
        0.097_545_16,
        0.0,
    ];
    let mut waves = [[HALF_COSINES[4]; 8]; 8];
    let mut at = 8;
    while at < 64 {
        let (frequency, position) = (at / 8, at % 8);
        waves[frequency][position] = match (2 * position + 1) * frequency % 32 {
            turn @ 0..=8 => HALF_COSINES[turn],
            turn @ 9..=16 => -HALF_COSINES[16 - turn],
            turn @ 17..=24 => -HALF_COSINES[turn - 16],
            turn => HALF_COSINES[32 - turn],
        };
        at += 1;
    }
    waves
};

/// Where the coefficients of a file, in their order, stand in a block.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn component(blocks: Vec<[i16; 64]>) -> ComponentCoefficients {
        let blocks_x = blocks.len();
        ComponentCoefficients {
            blocks,
            blocks_x,
            blocks_y: 1,
            h_sampling: 1,
            v_sampling: 1,
            quant_table_index: 0,
            component_id: 1,
        }
    }

    /// The transform by its definition.
    fn level(scaled: &[f32; 64], x: usize, y: usize) -> f32 {
        let cosine = |position: usize, frequency: usize| {
            let norm = if frequency == 0 { 0.5f32.sqrt() } else { 1.0 };
            norm * ((2 * position + 1) as f32 * frequency as f32 * std::f32::consts::PI / 16.0).cos()
        };
        let terms =
            scaled.iter().zip(ZIGZAG).map(|(value, at)| value * cosine(x, at % 8) * cosine(y, at / 8));
        terms.sum::<f32>() / 4.0
    }

    #[test]
    fn the_largest_level_is_the_transforms() {
        for seed in 1u32..40 {
            let scaled: [f32; 64] = std::array::from_fn(|i| {
                ((i as u32 + 7).wrapping_mul(seed * 2_654_435_761) >> 20) as f32 - 2048.0
            });
            let levels = (0..64).map(|at| level(&scaled, at % 8, at / 8).abs());
            let expected = levels.fold(0.0, f32::max);
            let found = largest_level(&scaled);
            assert!((found - expected).abs() <= 1e-4 * expected, "{found} for {expected}");
        }
    }

    #[test]
    fn means_and_edges_within_the_range_pass_and_others_do_not() {
        let mean = |value: i16| {
            let mut block = [0; 64];
            block[0] = value;
            block
        };
        let steps = |step: u16| [step; 64];
        // A mean is an eighth of its coefficient.
        assert!(are_plausible(&component(vec![mean(0), mean(4 * 511), mean(-4 * 511)]), &steps(2)));
        assert!(!are_plausible(&component(vec![mean(0), mean(4 * 511 + 4)]), &steps(2)));
        // A single point of level 400: 64 coefficients that add up to more than any level.
        let point: [i16; 64] =
            std::array::from_fn(|i| (400.0 * WAVES[ZIGZAG[i] % 8][0] * WAVES[ZIGZAG[i] / 8][0]) as i16);
        assert!(point.iter().map(|value| i32::from(*value).abs()).sum::<i32>() > 4 * 511);
        assert!(are_plausible(&component(vec![point]), &steps(1)));
        assert!(!are_plausible(&component(vec![point]), &steps(3)));
    }
}
