//! Matrix products at f32, on `rten-gemm`: AVX2, AVX-512, NEON or generic code is chosen when the program runs.
//!
//! Weights are packed once, when a model is loaded. The sum over the inner dimension is taken in the same order for
//! every output element, whatever the number of rows and threads (a test below holds the library to it).

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_tensor::{Matrix, NdTensorView};

thread_local! {
    /// The kernel for this machine's instruction set. One a thread, because the library's handle is not `Send`.
    static EXECUTOR: GemmExecutor<f32> = GemmExecutor::new();
}

/// The name of the kernel in use, such as `avx512`, for self-checks and reports.
pub fn kernel_name() -> String {
    EXECUTOR.with(|executor| executor.kernel_name().to_owned())
}

/// A row-major matrix seen through a stride: `rows` rows of `cols` values, each row `row_stride` values after the last.
#[derive(Clone, Copy)]
pub struct MatrixView<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatrixView<'a> {
    /// All of `data` as `rows` contiguous rows.
    ///
    /// # Panics
    /// If the rows do not divide the data.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix data of {} values is not {rows} x {cols}", data.len());
        Self { data, rows, cols, row_stride: cols }
    }

    /// Columns `offset..offset + cols` of rows that are `row_stride` values apart: one attention head, say.
    ///
    /// # Panics
    /// If the columns do not fit into a row or the rows into the data.
    pub fn columns(data: &'a [f32], rows: usize, cols: usize, row_stride: usize, offset: usize) -> Self {
        assert!(offset + cols <= row_stride, "columns {offset}+{cols} exceed the row of {row_stride}");
        assert!(data.len() >= rows * row_stride, "{} values hold no {rows} rows of {row_stride}", data.len());
        let end = if rows == 0 { 0 } else { (rows - 1) * row_stride + offset + cols };
        Self { data: &data[offset.min(end)..end], rows, cols, row_stride }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn view(self) -> Matrix<'a> {
        NdTensorView::from_data_with_strides([self.rows, self.cols], self.data, [self.row_stride, 1])
            .expect("checked by the constructors")
    }

    fn transposed_view(self) -> Matrix<'a> {
        NdTensorView::from_data_with_strides([self.cols, self.rows], self.data, [1, self.row_stride])
            .expect("checked by the constructors")
    }
}

/// The right-hand side of a product, laid out for the machine's kernel.
pub struct PackedMatrix {
    packed: PackedBMatrix<f32>,
}

impl PackedMatrix {
    /// Packs a weight as PyTorch stores it, `(out_features, in_features)`: products with it compute `x · Wᵀ`.
    pub fn from_weight(weight: &[f32], out_features: usize, in_features: usize) -> Self {
        Self::transposed(MatrixView::new(weight, out_features, in_features))
    }

    /// Packs the transpose of `matrix`, so that products compute `x · matrixᵀ` (keys of attention).
    pub fn transposed(matrix: MatrixView) -> Self {
        Self { packed: EXECUTOR.with(|executor| executor.prepack_b(matrix.transposed_view())) }
    }

    /// Packs `matrix` as it is, so that products compute `x · matrix` (values of attention).
    pub fn plain(matrix: MatrixView) -> Self {
        Self { packed: EXECUTOR.with(|executor| executor.prepack_b(matrix.view())) }
    }

    /// Length of the inner dimension: columns of the left-hand side.
    pub fn in_features(&self) -> usize {
        self.packed.rows()
    }

    /// Columns of the product.
    pub fn out_features(&self) -> usize {
        self.packed.cols()
    }

    /// `output = scale · x · self + bias`, where `output` is `(x.rows, out_features)`.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    pub fn multiply(&self, x: MatrixView, scale: f32, bias: Option<&[f32]>, output: &mut [f32]) {
        run(x, GemmInputB::Packed(&self.packed), scale, bias, 0.0, output);
    }

    /// `output += x · self + bias`: a residual branch.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    pub fn multiply_add(&self, x: MatrixView, bias: Option<&[f32]>, output: &mut [f32]) {
        run(x, GemmInputB::Packed(&self.packed), 1.0, bias, 1.0, output);
    }
}

/// `output = scale · a · bᵀ`, nothing packed beforehand. `a` is `(m, k)`, `b` `(n, k)`, `output` `(m, n)`.
pub fn multiply_transposed(a: MatrixView, b: MatrixView, scale: f32, output: &mut [f32]) {
    run(a, GemmInputB::Unpacked(b.transposed_view()), scale, None, 0.0, output);
}

/// `output = a · b`, nothing packed beforehand. `a` is `(m, k)`, `b` `(k, n)`, `output` `(m, n)`.
pub fn multiply(a: MatrixView, b: MatrixView, output: &mut [f32]) {
    run(a, GemmInputB::Unpacked(b.view()), 1.0, None, 0.0, output);
}

fn run(a: MatrixView, b: GemmInputB<f32>, scale: f32, bias: Option<&[f32]>, beta: f32, output: &mut [f32]) {
    // Beta weighs the old output, bias is added after: both at once is what the residual branches need.
    let options =
        GemmOptions { alpha: scale, beta, bias: bias.map(BiasVector::Row), ..GemmOptions::default() };
    EXECUTOR
        .with(|executor| executor.gemm(output, GemmInputA::Unpacked(a.view()), b, options))
        .unwrap_or_else(|error| panic!("product of {} x {} with {} x {}: {error}", a.rows, a.cols, b.rows(), b.cols()));
}

/// The naive twin: `scale · a · bᵀ + bias` with `b` as `(n, k)`, summed in f64.
#[cfg(test)]
pub(crate) fn naive_transposed(a: MatrixView, b: MatrixView, scale: f32, bias: Option<&[f32]>) -> Vec<f32> {
    let mut output = Vec::with_capacity(a.rows * b.rows);
    for i in 0..a.rows {
        for j in 0..b.rows {
            let dot: f64 = (0..a.cols)
                .map(|k| f64::from(a.data[i * a.row_stride + k]) * f64::from(b.data[j * b.row_stride + k]))
                .sum();
            output.push((f64::from(scale) * dot + bias.map_or(0.0, |bias| f64::from(bias[j]))) as f32);
        }
    }
    output
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn packed_product_equals_the_naive_one(m in 1usize..20, n in 1usize..70, k in 1usize..600, salt in 0u32..1000) {
            let (x, w, bias) = (values(m * k, salt), values(n * k, salt + 1), values(n, salt + 2));
            let (x, w) = (MatrixView::new(&x, m, k), MatrixView::new(&w, n, k));
            let mut output = vec![0.0; m * n];
            PackedMatrix::transposed(w).multiply(x, 0.5, Some(&bias), &mut output);
            assert_close(&output, &naive_transposed(x, w, 0.5, Some(&bias)), 1e-4);
            multiply_transposed(x, w, 0.5, &mut output);
            assert_close(&output, &naive_transposed(x, w, 0.5, None), 1e-4);
        }

        /// The invariant behind batch-independent captions: a row's result has the same bits alone and in company,
        /// on one thread and on several.
        #[test]
        fn a_row_does_not_depend_on_its_neighbours_or_threads(m in 2usize..150, n in 1usize..300, k in 1usize..700) {
            let (x, w, bias) = (values(m * k, 3), values(n * k, 4), values(n, 5));
            let packed = PackedMatrix::from_weight(&w, n, k);
            let product = |rows: std::ops::Range<usize>| {
                let mut output = vec![0.25; rows.len() * n];
                packed.multiply_add(MatrixView::new(&x[rows.start * k..rows.end * k], rows.len(), k), Some(&bias), &mut output);
                output
            };
            let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let all = pool(2).install(|| product(0..m));
            prop_assert_eq!(&all, &pool(1).install(|| product(0..m)));
            for row in [0, m / 2, m - 1] {
                prop_assert_eq!(&product(row..row + 1), &all[row * n..(row + 1) * n]);
            }
        }
    }
}
