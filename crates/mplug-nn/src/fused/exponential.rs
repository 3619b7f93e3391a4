//! The exponential function without a branch, for loops that become vector instructions.

/// `eˣ` without a branch, so that loops over it become vector instructions: 2 to the whole part of `x / ln 2`, times a
/// polynomial of the rest (Cephes' `expf`). Relative error below 2e-7 from −87 to 88; outside it is held to those ends.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and taking away 1.5 · 2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let whole = x * std::f32::consts::LOG2_E + ROUND - ROUND;
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let poly = ((((1.987_569_1e-4 * rest + 1.398_199_9e-3) * rest + 8.333_452e-3) * rest + 4.166_579_6e-2)
        * rest
        + 1.666_666_5e-1)
        * rest
        + 0.5;
    let power = f32::from_bits(((whole as i32 + 127) << 23) as u32);
    (poly * rest * rest + rest + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_enough() {
        for step in -8700..=8800 {
            let x = step as f32 * 0.01;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) - right).abs() <= 3e-7 * right, "exp({x})");
        }
        assert!(exp(-1e9) < 1e-37, "masked scores vanish");
    }
}
