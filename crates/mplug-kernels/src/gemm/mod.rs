//! Products with weights that are packed once: `output = x · Wᵀ + bias`, at f32, bf16 or int8.
//!
//! [`PackedMatrix`] owns the weight in the form that its precision and this CPU want; [`Product`] says what is done to the
//! sums while they are still in registers or in the nearest cache. Where each form comes from:
//!
//! | | AVX2 | AVX-512 | elsewhere |
//! |---|---|---|---|
//! | f32 | `avx2` | `avx512` | `library` (rten-gemm: NEON, SSE) |
//! | bf16 | `avx2`, weights widened | `avx512` with BF16, elsewhere and on Intel weights widened | `portable`, weights widened |
//! | int8 | `avx2` in 16 bits | `avx512` with VNNI, else as AVX2 | `portable` |
//!
//! A row of the output has the same bits whatever other rows are there and however the work is split: the sum over the
//! inner dimension is taken in one order, in blocks that depend on its length alone, and int8 rows have scales of their own.

mod convert;
mod driver;
mod kernel;
pub(crate) mod library;
pub(crate) mod panels;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

pub use driver::row_block;
pub(crate) use driver::{PanelType, Target, multiply_rows};
use rten_tensor::{Matrix, NdTensorView};

use self::library::LibraryMatrix;
use self::panels::Panels;
use crate::InstructionSet;
use crate::activation::Activation;

/// How many bits the products of a matrix take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats: the original's tokens.
    #[default]
    F32,
    /// Weights as bfloat16 (8 bits of mantissa). Rows are rounded to bf16 too where the CPU multiplies bf16 as such.
    Bf16,
    /// Weights as bytes with a scale for each output, rows as bytes with a scale for each row, found while running.
    Int8,
}

impl Precision {
    /// All precisions, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// Its name in settings and in reports: `f32`, `bf16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPrecision {
    /// The text.
    pub found: String,
}

impl std::fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected a precision, `f32`, `bf16` or `int8`, found `{}`", self.found)
    }
}

impl std::error::Error for UnknownPrecision {}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let unknown = || UnknownPrecision { found: name.to_owned() };
        Self::ALL.into_iter().find(|precision| precision.name() == name).ok_or_else(unknown)
    }
}

/// What happens to the sums of a product: `output = activation(scale · sum + bias [+ output])`.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Factor of every sum; 1 for int8.
    pub scale: f32,
    /// One value for each output.
    pub bias: Option<&'a [f32]>,
    /// Whether the old output is added: a residual branch.
    pub accumulate: bool,
    /// Applied last.
    pub activation: Option<Activation>,
}

impl Default for Product<'_> {
    fn default() -> Self {
        Self { scale: 1.0, bias: None, accumulate: false, activation: None }
    }
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

    /// Rows `first..first + rows`.
    pub(crate) fn row_block(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows {first}+{rows} of {}", self.rows);
        let end = if rows == 0 { 0 } else { (first + rows - 1) * self.row_stride + self.cols };
        Self { data: &self.data[(first * self.row_stride).min(end)..end], rows, ..self }
    }

    /// One row.
    pub(crate) fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.row_stride..][..self.cols]
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

/// A weight as bytes: `weight[o][i] ≈ values[o][i] · scales[o] / smoothing[i]`, in PyTorch's order.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedWeight {
    /// `(out_features, in_features)`, from −127 to 127.
    pub values: Vec<i8>,
    /// What a step of each output is worth, `(out_features)`.
    pub scales: Vec<f32>,
    /// By what each input is divided before it is quantised, `(in_features)`: outliers move into the weight
    /// (SmoothQuant, Xiao et al., arXiv 2211.10438).
    pub smoothing: Option<Vec<f32>>,
}

impl QuantizedWeight {
    /// Quantises `weight`, `(out_features, in_features)`, each input multiplied by its `smoothing` first.
    ///
    /// # Panics
    /// If the smoothing is not as long as a row.
    pub fn new(weight: &[f32], in_features: usize, smoothing: Option<Vec<f32>>) -> Self {
        if let Some(smoothing) = &smoothing {
            assert_eq!(smoothing.len(), in_features, "one smoothing factor for each input");
        }
        let mut values = vec![0; weight.len()];
        let scales = weight
            .chunks_exact(in_features.max(1))
            .zip(values.chunks_exact_mut(in_features.max(1)))
            .map(|(row, to)| convert::quantize_row(row, smoothing.as_deref(), to))
            .collect();
        Self { values, scales, smoothing }
    }

    /// The values that the bytes stand for, `(out_features, in_features)`.
    pub fn dequantize(&self, in_features: usize) -> Vec<f32> {
        let mut weight = Vec::with_capacity(self.values.len());
        // A weight without inputs has no values, but chunks of none are an error.
        for (row, &scale) in self.values.chunks_exact(in_features.max(1)).zip(&self.scales) {
            match &self.smoothing {
                None => weight.extend(row.iter().map(|&q| f32::from(q) * scale)),
                Some(smoothing) => {
                    weight.extend(row.iter().zip(smoothing).map(|(&q, s)| f32::from(q) * scale / s));
                }
            }
        }
        weight
    }
}

/// What an int8 matrix knows of its columns, padded to whole panels.
struct Int8Columns {
    scales: Vec<f32>,
    /// 128 times the sum of each column.
    offsets: Vec<i32>,
    /// Factors of the inputs: the inverse of the smoothing.
    input_factors: Option<Vec<f32>>,
}

enum Storage {
    Library(LibraryMatrix),
    F32(Panels<f32>),
    Bf16(Panels<u16>),
    Int8(Panels<i8>, Int8Columns),
}

/// The right-hand side of a product, laid out for this machine.
pub struct PackedMatrix {
    storage: Storage,
    set: InstructionSet,
}

impl PackedMatrix {
    /// Packs a weight as PyTorch stores it, `(out_features, in_features)`: products with it compute `x · Wᵀ`.
    pub fn from_weight(
        weight: &[f32],
        out_features: usize,
        in_features: usize,
        precision: Precision,
    ) -> Self {
        Self::pack(weight, out_features, in_features, precision, InstructionSet::best())
    }

    /// Packs a weight for an instruction set that this CPU has.
    fn pack(
        weight: &[f32],
        out_features: usize,
        in_features: usize,
        precision: Precision,
        set: InstructionSet,
    ) -> Self {
        let matrix = MatrixView::new(weight, out_features, in_features);
        let storage = match precision {
            Precision::F32 if set == InstructionSet::Portable => {
                Storage::Library(LibraryMatrix::transposed(matrix))
            }
            Precision::F32 => Storage::F32(Panels::pack(weight, out_features, in_features, 1, |w| w)),
            Precision::Bf16 => {
                Storage::Bf16(Panels::pack(weight, out_features, in_features, 2, convert::to_bf16))
            }
            Precision::Int8 => {
                return Self::pack_quantized(
                    &QuantizedWeight::new(weight, in_features, None),
                    in_features,
                    set,
                );
            }
        };
        Self { storage, set }
    }

    /// Packs a weight that is quantised already.
    ///
    /// # Panics
    /// If the parts do not fit together.
    pub fn from_quantized(weight: &QuantizedWeight, in_features: usize) -> Self {
        Self::pack_quantized(weight, in_features, InstructionSet::best())
    }

    fn pack_quantized(weight: &QuantizedWeight, in_features: usize, set: InstructionSet) -> Self {
        let out_features = weight.scales.len();
        assert_eq!(weight.values.len(), out_features * in_features, "bytes of a quantised weight");
        // Sums of 127 · 127 products, and 128 times them, stay far inside 32 bits.
        assert!(in_features <= 1 << 16, "{in_features} inputs are too many for sums in 32 bits");
        let padded = out_features.next_multiple_of(panels::PANEL);
        let mut scales = weight.scales.clone();
        scales.resize(padded, 0.0);
        let sum = |row: &[i8]| 128 * row.iter().map(|&q| i32::from(q)).sum::<i32>();
        let mut offsets: Vec<i32> = weight.values.chunks_exact(in_features).map(sum).collect();
        offsets.resize(padded, 0);
        let input_factors = weight.smoothing.as_ref().map(|s| s.iter().map(|s| 1.0 / s).collect());
        let panels = Panels::pack(&weight.values, out_features, in_features, 4, |q| q);
        Self { storage: Storage::Int8(panels, Int8Columns { scales, offsets, input_factors }), set }
    }

    /// Length of the inner dimension: columns of the left-hand side.
    pub fn in_features(&self) -> usize {
        match &self.storage {
            Storage::Library(matrix) => matrix.in_features(),
            Storage::F32(panels) => panels.depth(),
            Storage::Bf16(panels) => panels.depth(),
            Storage::Int8(panels, _) => panels.depth(),
        }
    }

    /// Columns of the product.
    pub fn out_features(&self) -> usize {
        match &self.storage {
            Storage::Library(matrix) => matrix.out_features(),
            Storage::F32(panels) => panels.columns(),
            Storage::Bf16(panels) => panels.columns(),
            Storage::Int8(panels, _) => panels.columns(),
        }
    }

    /// Bytes that a product reads of this matrix.
    pub fn bytes(&self) -> usize {
        let values = self.in_features() * self.out_features();
        match &self.storage {
            Storage::Library(_) | Storage::F32(_) => 4 * values,
            Storage::Bf16(_) => 2 * values,
            Storage::Int8(..) => values,
        }
    }

    /// `output = activation(scale · x · self + bias [+ output])`, `output` being `(x.rows, out_features)`; split over the
    /// threads of the pool by rows where there are many, else by columns.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    pub fn multiply(&self, x: MatrixView, product: Product, output: &mut [f32]) {
        self.check(x, &product, output);
        match &self.storage {
            Storage::Library(matrix) => matrix.multiply(x, product, output),
            _ => driver::multiply(self, x, product, output),
        }
    }

    /// [`multiply`](Self::multiply) for callers that are split over threads by rows themselves: on this thread, but for what idle ones take.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    pub fn multiply_here(&self, x: MatrixView, product: Product, output: &mut [f32]) {
        self.check(x, &product, output);
        match &self.storage {
            Storage::Library(matrix) => matrix.multiply(x, product, output),
            _ => driver::multiply_here(self, x, product, output),
        }
    }

    fn check(&self, x: MatrixView, product: &Product, output: &[f32]) {
        let (k, n) = (self.in_features(), self.out_features());
        assert_eq!(x.cols, k, "product of {} x {} with {k} x {n}", x.rows, x.cols);
        assert_eq!(output.len(), x.rows * n, "output of a product of {} x {k} with {k} x {n}", x.rows);
        if let Some(bias) = product.bias {
            assert_eq!(bias.len(), n, "bias of a product with {n} columns");
        }
        let is_plain = (product.scale - 1.0).abs() <= f32::EPSILON;
        assert!(is_plain || !matches!(self.storage, Storage::Int8(..)), "int8 products have no factor");
    }
}

#[cfg(test)]
pub(crate) mod tests;
