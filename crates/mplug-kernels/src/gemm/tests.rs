//! Every kernel that this CPU can run against its reference implementation, over odd sizes; and the invariant that a row's result has the
//! same bits in any company.

use proptest::prelude::*;

use super::convert::{from_bf16, quantize_row, to_bf16};
use super::*;

/// Values in [-1, 1) that depend on the index alone.
pub(crate) fn values(len: usize, salt: u32) -> Vec<f32> {
    (0..len as u32)
        .map(|i| {
            let hash = (i.wrapping_add(salt.wrapping_mul(7919))).wrapping_mul(2_654_435_761) ^ salt;
            (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance * (1.0 + e.abs()), "value {i}: {a} instead of {e}");
    }
}

/// The reference implementation: `scale · a · bᵀ + bias` with `b` as `(n, k)`, summed in f64.
pub(crate) fn naive_transposed(a: MatrixView, b: MatrixView, scale: f32, bias: Option<&[f32]>) -> Vec<f32> {
    let mut output = Vec::with_capacity(a.rows * b.rows);
    for i in 0..a.rows {
        for j in 0..b.rows {
            let dot: f64 = a.row(i).iter().zip(b.row(j)).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            output.push((f64::from(scale) * dot + bias.map_or(0.0, |bias| f64::from(bias[j]))) as f32);
        }
    }
    output
}

/// What a precision makes of the values of each row of a left-hand side.
fn rounded_rows(x: &[f32], width: usize, precision: Precision, set: InstructionSet) -> Vec<f32> {
    match precision {
        Precision::Bf16 if set.multiplies_bf16() => x.iter().map(|&x| from_bf16(to_bf16(x))).collect(),
        Precision::Int8 => x
            .chunks(width)
            .flat_map(|row| {
                let mut whole = vec![0_i16; width];
                let scale = quantize_row(row, None, &mut whole);
                whole.into_iter().map(move |q| f32::from(q) * scale)
            })
            .collect(),
        Precision::F32 | Precision::Bf16 => x.to_vec(),
    }
}

/// What a precision makes of a weight.
fn rounded_weight(weight: &[f32], in_features: usize, precision: Precision) -> Vec<f32> {
    match precision {
        Precision::F32 => weight.to_vec(),
        Precision::Bf16 => weight.iter().map(|&w| from_bf16(to_bf16(w))).collect(),
        Precision::Int8 => QuantizedWeight::new(weight, in_features, None).dequantize(in_features),
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn every_kernel_equals_its_reference(m in 1usize..60, n in 1usize..90, k in 1usize..900, salt in 0u32..1000, threads in 1usize..4) {
        let (x, w, bias, old) = (values(m * k, salt), values(n * k, salt + 1), values(n, salt + 2), values(m * n, salt + 3));
        for set in InstructionSet::available() {
            for precision in Precision::ALL {
                let packed = PackedMatrix::pack(&w, n, k, precision, set);
                let (rows, weight) = (rounded_rows(&x, k, precision, set), rounded_weight(&w, k, precision));
                let (rows, weight) = (MatrixView::new(&rows, m, k), MatrixView::new(&weight, n, k));
                let product = Product { bias: Some(&bias), accumulate: true, ..Product::default() };
                let mut output = old.clone();
                pool(threads).install(|| packed.multiply(MatrixView::new(&x, m, k), product, &mut output));
                let mut expected = naive_transposed(rows, weight, 1.0, Some(&bias));
                expected.iter_mut().zip(&old).for_each(|(e, old)| *e += old);
                assert_close(&output, &expected, 1e-4);

                let product = Product { activation: Some(Activation::QuickGelu), ..Product::default() };
                packed.multiply_here(MatrixView::new(&x, m, k), product, &mut output);
                let mut expected = naive_transposed(rows, weight, 1.0, None);
                Activation::QuickGelu.apply(&mut expected);
                assert_close(&output, &expected, 1e-4);
            }
        }
    }

    /// The invariant behind batch-independent captions: a row's result has the same bits alone and in company, on one
    /// thread and on several, at every precision.
    #[test]
    fn a_row_does_not_depend_on_its_neighbours_or_threads(m in 2usize..150, n in 1usize..300, k in 1usize..900) {
        let (x, w, bias) = (values(m * k, 3), values(n * k, 4), values(n, 5));
        for (set, precision) in InstructionSet::available().flat_map(|set| Precision::ALL.map(|p| (set, p))) {
            let packed = PackedMatrix::pack(&w, n, k, precision, set);
            let product = |rows: std::ops::Range<usize>| {
                let mut output = vec![0.25; rows.len() * n];
                let x = MatrixView::new(&x[rows.start * k..rows.end * k], rows.len(), k);
                packed.multiply(x, Product { bias: Some(&bias), accumulate: true, ..Product::default() }, &mut output);
                output
            };
            let all = pool(2).install(|| product(0..m));
            prop_assert_eq!(&all, &pool(1).install(|| product(0..m)));
            prop_assert_eq!(&all, &pool(3).install(|| product(0..m)));
            for row in [0, m / 2, m - 1] {
                prop_assert_eq!(&product(row..row + 1), &all[row * n..(row + 1) * n], "{} {}, row {}", set.name(), precision, row);
            }
        }
    }

    #[test]
    fn smoothing_changes_what_is_rounded_and_nothing_else(n in 1usize..40, k in 1usize..200, salt in 0u32..100) {
        let (mut x, w) = (values(3 * k, salt), values(n * k, salt + 1));
        let outlier = k / 2;
        x.iter_mut().skip(outlier).step_by(k).for_each(|x| *x *= 60.0);
        let exact = naive_transposed(MatrixView::new(&x, 3, k), MatrixView::new(&w, n, k), 1.0, None);
        let smoothing: Vec<f32> = (0..k).map(|i| if i == outlier { 8.0 } else { 1.0 }).collect();
        let smooth = QuantizedWeight::new(&w, k, Some(smoothing));
        let mut output = vec![0.0; 3 * n];
        PackedMatrix::from_quantized(&smooth, k).multiply(MatrixView::new(&x, 3, k), Product::default(), &mut output);
        // Half a step of 60 / 127 for the outlier's row, of 8 / 127 for its weight, over k values: a loose bound.
        assert_close(&output, &exact, 0.02 * (k as f32).sqrt() + 0.5);
    }
}

#[test]
fn strided_rows_are_read_where_they_are() {
    let data = values(7 * 50, 1);
    let x = MatrixView::columns(&data, 7, 20, 50, 13);
    let w = values(33 * 20, 2);
    let mut output = vec![0.0; 7 * 33];
    for precision in Precision::ALL {
        PackedMatrix::from_weight(&w, 33, 20, precision).multiply(x, Product::default(), &mut output);
        let weight = rounded_weight(&w, 20, precision);
        let expected = naive_transposed(x, MatrixView::new(&weight, 33, 20), 1.0, None);
        assert_close(&output, &expected, 0.05);
    }
}
