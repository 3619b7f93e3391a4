//! From a checkpoint to an int8 one: what the inputs of each linear layer are like, and how much of their outliers to move
//! into the weights.
//!
//! Rows are quantised while running, with a scale a row: a channel that is fifty times larger than the others costs all of
//! them their digits, and trained transformers have such channels. Dividing an input by `s` and multiplying its weights
//! by `s` changes nothing but where the digits go (SmoothQuant, Xiao et al., arXiv 2211.10438). So a model is first run on
//! some pictures with its layers [observed](Observer); then each layer takes, of a few strengths of smoothing, the one with
//! the smallest error on a sample of its own inputs.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mplug_kernels::gemm::{MatrixView, PackedMatrix, Precision, Product, QuantizedWeight};

/// Rows of each layer's input that are kept to judge by.
const SAMPLE_ROWS: usize = 48;
/// Exponents of SmoothQuant: how much of an outlier moves into the weight.
const STRENGTHS: [f32; 4] = [0.25, 0.4, 0.55, 0.7];

/// What one layer's inputs were like, over all rows that it saw.
pub struct ObservedInput {
    in_features: usize,
    state: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Largest magnitude of each input.
    largest: Vec<f32>,
    /// Rows by a hash of their values, those of the smallest hashes: a sample that does not depend on the order in which
    /// threads bring the rows.
    rows: BTreeMap<u64, Vec<f32>>,
}

impl ObservedInput {
    fn new(in_features: usize) -> Self {
        let seen = Seen { largest: vec![0.0; in_features], rows: BTreeMap::new() };
        Self { in_features, state: Mutex::new(seen) }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of some rows.
    pub(crate) fn see(&self, x: &[f32]) {
        let mut seen = self.lock();
        for row in x.chunks_exact(self.in_features) {
            seen.largest.iter_mut().zip(row).for_each(|(largest, x)| *largest = largest.max(x.abs()));
            let mut hasher = DefaultHasher::new();
            for x in row {
                x.to_bits().hash(&mut hasher);
            }
            let hash = hasher.finish();
            let is_small = seen.rows.len() < SAMPLE_ROWS
                || seen.rows.last_key_value().is_some_and(|(last, _)| hash < *last);
            if is_small {
                seen.rows.insert(hash, row.to_vec());
                if seen.rows.len() > SAMPLE_ROWS {
                    seen.rows.pop_last();
                }
            }
        }
    }
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
    /// Factors of the inputs, `(in_features)`; `None` where smoothing gains nothing.
    pub smoothing: Option<Vec<f32>>,
    /// Error of the layer's output without smoothing, as a share of its norm.
    pub error_before: f32,
    /// The same with what was chosen.
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

/// Tries each strength on the sample.
fn choose(weight: &[f32], seen: &Seen, in_features: usize) -> SmoothingChoice {
    let sample: Vec<f32> = seen.rows.values().flatten().copied().collect(); // (rows, in_features)
    let exact = PackedMatrix::from_weight(weight, weight.len() / in_features, in_features, Precision::F32);
    let expected = product(&exact, &sample, in_features);
    let error = |smoothing: Option<Vec<f32>>| {
        let quantized = QuantizedWeight::new(weight, in_features, smoothing);
        let found = product(&PackedMatrix::from_quantized(&quantized, in_features), &sample, in_features);
        relative_error(&found, &expected)
    };
    let error_before = error(None);
    let mut choice = SmoothingChoice { smoothing: None, error_before, error_after: error_before };
    for strength in STRENGTHS {
        let smoothing = smoothing_factors(weight, &seen.largest, strength);
        let error_after = error(Some(smoothing.clone()));
        if error_after < choice.error_after {
            choice = SmoothingChoice { smoothing: Some(smoothing), error_before, error_after };
        }
    }
    choice
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

    #[test]
    fn outliers_move_into_the_weight_and_the_error_falls() {
        let (rows, width, outputs) = (64, 96, 40);
        let mut random = rand_pcg::Pcg64::seed_from_u64(7);
        let mut gaussian = |len: usize| -> Vec<f32> {
            (0..len).map(|_| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0).collect()
        };
        let (mut x, weight) = (gaussian(rows * width), gaussian(outputs * width));
        // As trained transformers have them: a few channels many times larger than the rest.
        for row in x.chunks_exact_mut(width) {
            for channel in [3, 50] {
                row[channel] *= 60.0;
            }
        }
        let observer = Observer::default();
        observer.add(vec!["layer.weight".into()], width).see(&x);
        let smoothings = observer.smoothings(|_| Ok::<_, ()>(weight.clone())).unwrap();
        let choice = smoothings.get("layer.weight").unwrap();
        assert!(choice.error_after < 0.5 * choice.error_before, "{choice:?}");
        assert!(choice.smoothing.as_ref().unwrap()[3] > 2.0);
    }

    #[test]
    fn the_sample_does_not_depend_on_the_order_of_the_rows() {
        let x: Vec<f32> = (0..400).map(|i| (i * 37 % 101) as f32).collect();
        let (forth, back) = (ObservedInput::new(2), ObservedInput::new(2));
        forth.see(&x);
        x.chunks(2).rev().for_each(|row| back.see(row));
        assert_eq!(forth.lock().rows, back.lock().rows);
        assert_eq!(forth.lock().rows.len(), SAMPLE_ROWS);
    }
}
