//! Products of the library `rten-gemm`: f32 on any CPU (NEON, SSE, AVX2, AVX-512), the form for instruction sets that have
//! no kernel here, and the form of products in which nothing stays packed.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};

use super::{MatrixView, Product};

thread_local! {
    /// The library's kernel for this machine. One a thread, because its handle is not `Send`.
    static EXECUTOR: GemmExecutor<f32> = GemmExecutor::new();
}

/// A right-hand side in the library's own layout.
pub(super) struct LibraryMatrix {
    packed: PackedBMatrix<f32>,
}

impl LibraryMatrix {
    /// Packs the transpose of `matrix`: products compute `x · matrixᵀ`.
    pub(super) fn transposed(matrix: MatrixView) -> Self {
        Self { packed: EXECUTOR.with(|executor| executor.prepack_b(matrix.transposed_view())) }
    }

    pub(super) fn in_features(&self) -> usize {
        self.packed.rows()
    }

    pub(super) fn out_features(&self) -> usize {
        self.packed.cols()
    }

    pub(super) fn multiply(&self, x: MatrixView, product: Product, output: &mut [f32]) {
        run(x, GemmInputB::Packed(&self.packed), product, output);
    }
}

/// `output = scale · a · bᵀ`, nothing packed beforehand. `a` is `(m, k)`, `b` `(n, k)`, `output` `(m, n)`.
pub(crate) fn multiply_transposed(a: MatrixView, b: MatrixView, scale: f32, output: &mut [f32]) {
    run(a, GemmInputB::Unpacked(b.transposed_view()), Product { scale, ..Product::default() }, output);
}

/// `output = a · b`, nothing packed beforehand. `a` is `(m, k)`, `b` `(k, n)`, `output` `(m, n)`.
pub(crate) fn multiply(a: MatrixView, b: MatrixView, output: &mut [f32]) {
    run(a, GemmInputB::Unpacked(b.view()), Product::default(), output);
}

fn run(a: MatrixView, b: GemmInputB<f32>, product: Product, output: &mut [f32]) {
    // Beta weighs the old output, bias is added after: both at once is what the residual branches need.
    let options = GemmOptions {
        alpha: product.scale,
        beta: if product.accumulate { 1.0 } else { 0.0 },
        bias: product.bias.map(BiasVector::Row),
        ..GemmOptions::default()
    };
    EXECUTOR
        .with(|executor| executor.gemm(output, GemmInputA::Unpacked(a.view()), b, options))
        .unwrap_or_else(|error| {
            panic!("product of {} x {} with {} x {}: {error}", a.rows, a.cols, b.rows(), b.cols())
        });
    if let Some(activation) = product.activation {
        activation.apply(output);
    }
}
