//! Rates of the product and attention kernels at the shapes of the base model, as a share of what this machine can do.
//!
//! ```text
//! cargo bench -p mplug-kernels --bench kernels [-- THREADS [rows]]
//! ```
//!
//! With `rows`, only what is done row by row on one thread: a decoder's own past, log-softmax.
//!
//! Best of many runs: on a shared machine the fastest run says most about the code. Encoder shapes have 577 rows; decoder
//! shapes have 5 and go through many copies of the weight, so that it comes from memory.

use std::hint::black_box;
use std::time::Instant;

use mplug_kernels::attention::{
    CrossAttentionGroup, HeadShape, PackedKeyValues, attend_entries, cross_attention, self_attention,
};
use mplug_kernels::gemm::{MatrixView, PackedMatrix, Precision, Product};
use mplug_kernels::softmax::{log_softmax_row, log_sum_exp_row};
use mplug_kernels::{InstructionSet, limits};

/// Bytes of weights that decoder shapes go through.
const COLD_BYTES: usize = 128 << 20;

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn main() {
    let threads = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    println!("{} threads, {}", threads, InstructionSet::best().name());
    cached_attention();
    log_softmax();
    if std::env::args().any(|argument| argument == "rows") {
        return;
    }
    pool.install(|| {
        let bandwidth = limits::read_bandwidth();
        println!("memory: {:.1} GB/s", bandwidth / 1e9);
        for precision in Precision::ALL {
            products(precision, bandwidth);
            attention(precision);
        }
    });
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 2_654_435_761) >> 8 & 0xffff) as f32 / 65536.0 - 0.5).collect()
}

fn best(repeats: usize, mut work: impl FnMut()) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..=repeats).map(timed).skip(1).fold(f64::INFINITY, f64::min)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn products(precision: Precision, bandwidth: f64) {
    let limit = limits::product_rate(precision);
    println!("{precision}: at most {:.0} Gop/s", limit / 1e9);
    for (rows, k, n) in [(577, 768, 768), (577, 768, 2304), (577, 768, 3072), (577, 3072, 768)] {
        let matrix = PackedMatrix::from_weight(&values(n * k), n, k, precision);
        let (x, mut output) = (values(rows * k), vec![0.0; rows * n]);
        let seconds = best(20, || {
            matrix.multiply(MatrixView::new(&x, rows, k), Product::default(), &mut output);
            black_box(&output);
        });
        let rate = (2 * rows * k * n) as f64 / seconds;
        println!("  {rows} x {k} x {n}: {:.0} Gop/s, {:.0} % of the limit", rate / 1e9, 100.0 * rate / limit);
    }
    for (rows, k, n) in [(5, 768, 768), (5, 768, 3072), (5, 3072, 768), (5, 768, 21128), (10, 768, 3072)] {
        let weight = values(n * k);
        let one = PackedMatrix::from_weight(&weight, n, k, precision);
        let copies: Vec<_> = std::iter::once(one)
            .chain((1..64).map(|_| PackedMatrix::from_weight(&weight, n, k, precision)))
            .scan(0, |bytes, matrix| {
                *bytes += matrix.bytes();
                (*bytes < COLD_BYTES + matrix.bytes()).then_some(matrix)
            })
            .collect();
        let (x, mut output) = (values(rows * k), vec![0.0; rows * n]);
        let seconds = best(15, || {
            for matrix in &copies {
                matrix.multiply(MatrixView::new(&x, rows, k), Product::default(), &mut output);
                black_box(&output);
            }
        }) / copies.len() as f64;
        let rate = copies[0].bytes() as f64 / seconds;
        println!(
            "  {rows} x {k} x {n}: {:.0} us, {:.1} GB/s, {:.0} % of the bandwidth",
            seconds * 1e6,
            rate / 1e9,
            100.0 * rate / bandwidth
        );
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn attention(precision: Precision) {
    let shape = HeadShape { heads: 12, head_dim: 64 };
    let (len, width) = (577, shape.width());
    let (fused, mut output) = (values(len * 3 * width), vec![0.0; len * width]);
    let seconds = best(20, || {
        self_attention(&fused, len, shape, precision, &mut output);
        black_box(&output);
    });
    let operations = (4 * len * len * width) as f64;
    println!("  self-attention of {len}: {:.2} ms, {:.0} Gop/s", seconds * 1e3, operations / seconds / 1e9);
    let packed: Vec<_> =
        (0..12).map(|_| PackedKeyValues::new(&fused[..len * 2 * width], len, shape, precision)).collect();
    let (queries, mut output) = (values(5 * width), vec![0.0; 5 * width]);
    let seconds = best(20, || {
        for key_values in &packed {
            cross_attention(&queries, &mut [CrossAttentionGroup::new(key_values, 5)], shape, &mut output);
            black_box(&output);
        }
    }) / 12.0;
    println!("  cross-attention of 5 to {len}: {:.0} us", seconds * 1e6);
}

/// Five beams over their last 20 tokens: once where the caches hold all of it, once through enough layers that it comes
/// from memory, as it does between two steps of a decoder.
#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn cached_attention() {
    let shape = HeadShape { heads: 12, head_dim: 64 };
    let (rows, len, width) = (5, 20, shape.width());
    for (kind, layers) in [("warm", 1), ("cold", COLD_BYTES / (rows * len * width * 8))] {
        let (keys, values_) = (values(layers * rows * len * width), values(layers * rows * len * width));
        let entries: Vec<u32> = (0..(layers * rows * len) as u32).collect();
        let (queries, mut output, mut scores) = (values(rows * width), vec![0.0; rows * width], Vec::new());
        let seconds = best(10_000 / layers + 5, || {
            for layer in 0..layers {
                for (row, output) in output.chunks_exact_mut(width).enumerate() {
                    let past = &entries[(layer * rows + row) * len..][..len];
                    let query = &queries[row * width..][..width];
                    attend_entries(query, &keys, &values_, past, shape, &mut scores, output);
                }
                black_box(&output);
            }
        }) / layers as f64;
        println!("  cached attention of {rows} to {len}, {kind}: {:.0} ns", seconds * 1e9);
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn log_softmax() {
    let logits: Vec<f32> = values(21128).iter().map(|x| 20.0 * x).collect();
    let mut row = logits.clone();
    let seconds = best(1000, || {
        row.copy_from_slice(&logits);
        log_softmax_row(&mut row);
        black_box(&row);
    });
    println!("  log-softmax of {}: {:.1} us", row.len(), seconds * 1e6);
    let seconds = best(1000, || {
        black_box(log_sum_exp_row(black_box(&logits)));
    });
    println!("  its sum alone: {:.1} us", seconds * 1e6);
}
