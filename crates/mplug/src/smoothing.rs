//! From a checkpoint to an int8 one: what the inputs of each linear layer are like, and how much of their outliers to move
//! into the weights.
//!
//! Rows are quantised while running, with a scale a row: a channel that is fifty times larger than the others costs all of
//! them their digits, and trained transformers have such channels. Dividing an input by `s` and multiplying its weights
//! by `s` changes nothing but where the digits go (SmoothQuant, Xiao et al., arXiv 2211.10438). So a model is first run on
//! some pictures with its layers [observed](Observer). A layer whose channels show no outliers stays as it is. Of the rows that
//! another one saw, one half chooses between a few strengths of smoothing, and the other half, which the choice has not seen,
//! accepts it if the layer's error falls clearly: a factor that only fits the rows at hand is worth nothing on new pictures.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mplug_kernels::gemm::{MatrixView, PackedMatrix, Precision, Product, QuantizedWeight};

/// Rows of each layer's input that are kept of either half.
const SAMPLE_ROWS: usize = 48;
/// Exponents of SmoothQuant: how much of an outlier moves into the weight.
const STRENGTHS: [f32; 4] = [0.25, 0.4, 0.55, 0.7];
/// A layer has outliers where the largest channel of its inputs is this many times larger than the median one.
///
/// Measured (docs/benchmarks.md): layers of drawn models have ratios up to 3.4, those of the demo models up to 5, where smoothing
/// gains little or loses; from 6 on it takes two fifths of the error of Gaussian inputs and more.
const LEAST_OUTLIER_RATIO: f32 = 6.0;
/// Smoothing is accepted where it leaves less than this share of the error.
const CLEARLY_LESS: f32 = 0.8;

/// What one layer's inputs were like, over all rows that it saw.
pub struct ObservedInput {
    in_features: usize,
    state: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Largest magnitude of each input in the rows of the choosing half.
    largest: Vec<f32>,
    choosing: Sample,
    judging: Sample,
}

/// Rows by a hash of their values, those of the smallest hashes: a sample that does not depend on the order in which threads
/// bring the rows.
#[derive(Default)]
struct Sample(BTreeMap<u64, Vec<f32>>);

impl Sample {
    fn offer(&mut self, hash: u64, row: &[f32]) {
        let is_small =
            self.0.len() < SAMPLE_ROWS || self.0.last_key_value().is_some_and(|(last, _)| hash < *last);
        if is_small {
            self.0.insert(hash, row.to_vec());
            if self.0.len() > SAMPLE_ROWS {
                self.0.pop_last();
            }
        }
    }
}

impl ObservedInput {
    fn new(in_features: usize) -> Self {
        let seen = Seen { largest: vec![0.0; in_features], ..Seen::default() };
        Self { in_features, state: Mutex::new(seen) }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of some rows.
    pub(crate) fn see(&self, x: &[f32]) {
        let mut seen = self.lock();
        for row in x.chunks_exact(self.in_features) {
            let hash = hash(row);
            if is_choosing(hash) {
                seen.largest.iter_mut().zip(row).for_each(|(largest, x)| *largest = largest.max(x.abs()));
                seen.choosing.offer(hash, row);
            } else {
                seen.judging.offer(hash, row);
            }
        }
    }
}

fn hash(row: &[f32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for x in row {
        x.to_bits().hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether a row of that hash chooses or judges.
fn is_choosing(hash: u64) -> bool {
    hash.is_multiple_of(2)
}

/// Layers that see the same rows (a fused projection of several tensors), by the full names of their weights.
struct ObservedLayer {
    names: Vec<String>,
    input: Arc<ObservedInput>,
}

/// Collects what the inputs of a model's layers are like, while the model runs.
#[derive(Default)]
pub struct Observer {
    layers: Mutex<Vec<ObservedLayer>>,
}

impl Observer {
    /// A layer of weights `names` joins.
    pub(crate) fn add(&self, names: Vec<String>, in_features: usize) -> Arc<ObservedInput> {
        let input = Arc::new(ObservedInput::new(in_features));
        let layer = ObservedLayer { names, input: Arc::clone(&input) };
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).push(layer);
        input
    }

    /// Chooses the smoothing of every observed weight; `read` gives a weight's values.
    ///
    /// # Errors
    /// What `read` fails with.
    pub fn smoothings<E>(&self, mut read: impl FnMut(&str) -> Result<Vec<f32>, E>) -> Result<Smoothings, E> {
        let mut smoothings = Smoothings::default();
        for layer in &*self.layers.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut weight = Vec::new();
            for name in &layer.names {
                weight.extend(read(name)?);
            }
            let choice = choose(&weight, &layer.input.lock(), layer.input.in_features);
            for name in &layer.names {
                smoothings.by_name.insert(name.clone(), choice.clone());
            }
        }
        Ok(smoothings)
    }
}

/// What was chosen for one weight, and what it is worth.
#[derive(Clone, Debug)]
pub struct SmoothingChoice {
    /// Factors of the inputs, `(in_features)`; `None` where there are no outliers or smoothing gains too little.
    pub smoothing: Option<Vec<f32>>,
    /// The largest channel of the inputs over the median one, by their largest magnitudes.
    pub outlier_ratio: f32,
    /// Error of the layer's output without smoothing, as a share of its norm, on rows that chose nothing.
    pub error_before: f32,
    /// Error of the layer's output with what was chosen, as `error_before` is measured.
    pub error_after: f32,
}

/// The choices for all weights of a model.
#[derive(Clone, Debug, Default)]
pub struct Smoothings {
    by_name: BTreeMap<String, SmoothingChoice>,
}

impl Smoothings {
    /// The choice for the weight of that full name, if it is one that int8 applies to.
    pub fn get(&self, name: &str) -> Option<&SmoothingChoice> {
        self.by_name.get(name)
    }

    /// All names and choices.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SmoothingChoice)> {
        self.by_name.iter().map(|(name, choice)| (name.as_str(), choice))
    }
}

/// Tries each strength on one half of the rows, and the best of them on the other.
fn choose(weight: &[f32], seen: &Seen, in_features: usize) -> SmoothingChoice {
    let judging = Trial::new(weight, &seen.judging, in_features);
    let (error_before, outlier_ratio) = (judging.error(None), outlier_ratio(&seen.largest));
    let unchanged =
        SmoothingChoice { smoothing: None, outlier_ratio, error_before, error_after: error_before };
    if outlier_ratio < LEAST_OUTLIER_RATIO {
        return unchanged;
    }
    let choosing = Trial::new(weight, &seen.choosing, in_features);
    let tried = STRENGTHS.map(|strength| {
        let smoothing = smoothing_factors(weight, &seen.largest, strength);
        (choosing.error(Some(smoothing.clone())), smoothing)
    });
    let best = tried.into_iter().min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, smoothing)| smoothing);
    let error_after = judging.error(best.clone());
    if error_after < CLEARLY_LESS * error_before {
        SmoothingChoice { smoothing: best, error_after, ..unchanged }
    } else {
        unchanged
    }
}

/// A layer's weight, some rows of its inputs and the outputs that belong to them.
struct Trial<'a> {
    weight: &'a [f32],
    in_features: usize,
    /// `(rows, in_features)`.
    inputs: Vec<f32>,
    /// `(rows, out_features)`.
    outputs: Vec<f32>,
}

impl<'a> Trial<'a> {
    fn new(weight: &'a [f32], sample: &Sample, in_features: usize) -> Self {
        let inputs: Vec<f32> = sample.0.values().flatten().copied().collect();
        let exact =
            PackedMatrix::from_weight(weight, weight.len() / in_features, in_features, Precision::F32);
        let outputs = product(&exact, &inputs, in_features);
        Self { weight, in_features, inputs, outputs }
    }

    /// Error of the quantised layer's outputs, as a share of their norm.
    fn error(&self, smoothing: Option<Vec<f32>>) -> f32 {
        let quantized = QuantizedWeight::new(self.weight, self.in_features, smoothing);
        let matrix = PackedMatrix::from_quantized(&quantized, self.in_features);
        relative_error(&product(&matrix, &self.inputs, self.in_features), &self.outputs)
    }
}

/// The largest of some channels' largest magnitudes over the median one; 1 where there is nothing but zeros.
fn outlier_ratio(largest_inputs: &[f32]) -> f32 {
    let mut sorted = largest_inputs.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    match (sorted.last(), sorted.get(sorted.len() / 2)) {
        (Some(&largest), Some(&median)) if largest > 0.0 => largest / median,
        _ => 1.0,
    }
}

fn product(matrix: &PackedMatrix, x: &[f32], in_features: usize) -> Vec<f32> {
    let rows = x.len() / in_features;
    let mut output = vec![0.0; rows * matrix.out_features()];
    matrix.multiply(MatrixView::new(x, rows, in_features), Product::default(), &mut output);
    output
}

/// `‖found − expected‖ / ‖expected‖`.
fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| square(f - e)).sum();
    let whole: f64 = expected.iter().map(|&e| square(e)).sum();
    (difference / whole.max(f64::MIN_POSITIVE)).sqrt() as f32
}

/// `max |x|^strength / max |w|^(1 − strength)` of each input, scaled to a geometric mean of 1; 1 for inputs that are always 0.
fn smoothing_factors(weight: &[f32], largest_inputs: &[f32], strength: f32) -> Vec<f32> {
    let mut largest_weights = vec![0.0_f32; largest_inputs.len()];
    for row in weight.chunks_exact(largest_inputs.len()) {
        largest_weights.iter_mut().zip(row).for_each(|(largest, w)| *largest = largest.max(w.abs()));
    }
    let factor = |(&x, &w): (&f32, &f32)| {
        let factor = x.powf(strength) / w.powf(1.0 - strength);
        if x > 0.0 && w > 0.0 && factor.is_finite() { factor.clamp(1e-4, 1e4) } else { 1.0 }
    };
    let factors: Vec<f32> = largest_inputs.iter().zip(&largest_weights).map(factor).collect();
    let mean = factors.iter().map(|f| f64::from(*f).ln()).sum::<f64>() / factors.len() as f64;
    factors.iter().map(|f| (f64::from(*f) / mean.exp()) as f32).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    const WIDTH: usize = 96;

    /// `rows` rows of Gaussian values.
    fn gaussian(rows: usize, seed: u64) -> Vec<f32> {
        let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
        (0..rows * WIDTH).map(|_| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0).collect()
    }

    /// Gaussian values with a few channels many times larger than the rest, as trained transformers have them.
    fn with_outliers(rows: usize, channels: &[usize]) -> Vec<f32> {
        let mut x = gaussian(rows, 7);
        x.chunks_exact_mut(WIDTH).for_each(|row| channels.iter().for_each(|&channel| row[channel] *= 60.0));
        x
    }

    /// What is chosen for a layer of Gaussian weights that saw `x`.
    fn choice(x: &[f32]) -> SmoothingChoice {
        let observer = Observer::default();
        observer.add(vec!["layer.weight".into()], WIDTH).see(x);
        let smoothings = observer.smoothings(|_| Ok::<_, ()>(gaussian(40, 8))).unwrap();
        smoothings.get("layer.weight").unwrap().clone()
    }

    #[test]
    fn outliers_move_into_the_weight_and_the_error_falls() {
        let choice = choice(&with_outliers(128, &[3, 50]));
        assert!(choice.outlier_ratio > 20.0, "{choice:?}");
        assert!(choice.error_after < 0.5 * choice.error_before, "{choice:?}");
        assert!(choice.smoothing.as_ref().unwrap()[3] > 2.0);
    }

    #[test]
    fn a_layer_without_outliers_stays_as_it_is() {
        let choice = choice(&gaussian(128, 7));
        assert!(choice.smoothing.is_none() && choice.outlier_ratio < 3.0, "{choice:?}");
        assert!(choice.error_before > 0.0 && choice.error_after.to_bits() == choice.error_before.to_bits());
    }

    /// The rows that choose have one outlier, those that judge another: a factor that fits the first only is not taken.
    #[test]
    fn rows_that_did_not_choose_a_factor_judge_it() {
        let (one, other) = (with_outliers(256, &[3]), with_outliers(256, &[50]));
        let one = one.chunks(WIDTH).filter(|row| is_choosing(hash(row)));
        let other = other.chunks(WIDTH).filter(|row| !is_choosing(hash(row)));
        let (one, other): (Vec<f32>, Vec<f32>) =
            (one.flatten().copied().collect(), other.flatten().copied().collect());
        let choice = choice(&[one, other].concat());
        assert!(choice.outlier_ratio > 20.0 && choice.smoothing.is_none(), "{choice:?}");
    }

    #[test]
    fn a_layer_that_saw_no_row_or_one_row_stays_as_it_is() {
        assert!(choice(&[]).smoothing.is_none());
        assert!(choice(&with_outliers(1, &[3])).smoothing.is_none());
    }

    #[test]
    fn the_sample_does_not_depend_on_the_order_of_the_rows() {
        let x: Vec<f32> = (0..400).map(|i| (i * 37 % 101) as f32).collect();
        let (forth, back) = (ObservedInput::new(2), ObservedInput::new(2));
        forth.see(&x);
        x.chunks(2).rev().for_each(|row| back.see(row));
        assert_eq!(forth.lock().choosing.0, back.lock().choosing.0);
    }
}
