//! Sums in 16 lanes.

/// A sum in 16 lanes, which the compiler turns into vector instructions.
pub(super) fn sum(numbers: impl ExactSizeIterator<Item = f32> + Clone) -> f32 {
    let numbers: Vec<f32> = numbers.collect();
    lanes(&numbers, &numbers, |x, _| x)
}

/// The sum of `term` over pairs, in 16 lanes.
pub(super) fn lanes(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (left, left_rest) = left.as_chunks::<16>();
    let (right, right_rest) = right.as_chunks::<16>();
    for (left, right) in left.iter().zip(right) {
        for i in 0..16 {
            lanes[i] += term(left[i], right[i]);
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(l, r)| term(*l, *r)).sum();
    lanes.iter().sum::<f32>() + rest
}
