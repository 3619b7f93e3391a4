//! The model at bf16 and int8: how far its stages move, that the promise of independence holds there too, and int8 files.

use mplug::Precision;
use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, ModelFolder, TensorEntry, TensorReader, Values,
    write_int8_model_folder, write_safetensors,
};
use mplug::config::{ConfigOverrides, Task};
use mplug::preprocess::image::RgbImage;
use mplug::smoothing::{Observer, Smoothings};
use mplug::tasks::{Answerer, Caption, Captioner, LoadOptions, Matcher};
use mplug_testing::golden::deviation;

use crate::golden::Golden;

fn at(precision: Precision) -> LoadOptions<'static> {
    LoadOptions { precision: Some(precision), observer: None }
}

/// What the stages of the golden models may move by, as a share of their standard deviation: 8 bits of mantissa, and 8 bits
/// of a row, through a handful of layers.
fn allowed(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::Bf16 => 0.05,
        Precision::Int8 => 0.25,
    }
}

#[test]
fn stages_move_no_further_than_their_bits_allow() {
    for model in ["tiny", "tiny_large"] {
        let golden = Golden::new(model);
        let exact = Captioner::load(&golden.folder).unwrap();
        let expected = golden.encode(exact.visual_encoder()).concat();
        for precision in Precision::ALL {
            let captioner = Captioner::load_with(&golden.folder, &at(precision)).unwrap();
            let found = golden.encode(captioner.visual_encoder()).concat();
            let moved = deviation(&found, &expected);
            assert!(moved <= allowed(precision), "{model} at {precision} moves by {moved}");
            assert_eq!(moved > 0.0, precision != Precision::F32, "{model} at {precision} moves by {moved}");
        }
    }
}

/// Pictures of stripes: each another one.
fn pictures() -> Vec<RgbImage> {
    let stripes = |i: u32| {
        RgbImage::from_fn(40 + i, 30, move |x, y| [(x * (i + 3)) as u8, (y * 9) as u8, (x * y) as u8].into())
    };
    (0..5).map(stripes).collect()
}

/// Every caption with the bits of its score.
fn bits(captions: &[Vec<Caption>]) -> Vec<Vec<(String, u32)>> {
    let of = |caption: &Caption| (caption.raw_text.clone(), caption.score.to_bits());
    captions.iter().map(|captions| captions.iter().map(of).collect()).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn batch_order_and_threads_change_no_bit_at_any_precision() {
    let golden = Golden::new("tiny");
    let pictures = pictures();
    for precision in Precision::ALL {
        let captioner = Captioner::load_with(&golden.folder, &at(precision)).unwrap();
        let options =
            mplug::generate::GenerationOptions { num_return_sequences: 3, ..captioner.default_options() };
        let caption = |pictures: &[RgbImage]| bits(&captioner.caption_batch(pictures, &options).unwrap());
        let single: Vec<_> = pictures.iter().flat_map(|p| caption(std::slice::from_ref(p))).collect();
        for threads in [1, 2, 3] {
            assert_eq!(
                pool(threads).install(|| caption(&pictures)),
                single,
                "{precision}, {threads} threads"
            );
        }
        let backwards: Vec<RgbImage> = pictures.iter().rev().cloned().collect();
        let mut found = caption(&backwards);
        found.reverse();
        assert_eq!(found, single, "{precision}, backwards");
    }
}

/// Runs the model on some pictures and chooses the smoothing of its layers.
fn smoothings(folder: &ModelFolder) -> Smoothings {
    let observer = Observer::default();
    let options = LoadOptions { precision: None, observer: Some(&observer) };
    let (pictures, texts) = (pictures(), ["what is it?"; 5]);
    match folder.config.task {
        Task::ImageCaptioning => {
            let captioner = Captioner::load_with(folder, &options).unwrap();
            captioner.caption_batch(&pictures, &captioner.default_options()).unwrap();
        }
        Task::VisualQuestionAnswering => {
            let answerer = Answerer::load_with(folder, &options).unwrap();
            answerer.answer_batch(&pictures, &texts, &answerer.default_options()).unwrap();
        }
        Task::ImageTextRetrieval => {
            Matcher::load_with(folder, &options).unwrap().match_batch(&pictures, &texts).unwrap();
        }
    }
    observer.smoothings(|name| folder.checkpoint().read_f32(name)).unwrap()
}

#[test]
fn int8_folders_of_every_task_load_and_are_int8_without_asking() {
    for model in ["tiny", "tiny_large_vqa", "tiny_itr"] {
        let golden = Golden::new(model);
        let smoothings = smoothings(&golden.folder);
        assert!(smoothings.iter().all(|(_, choice)| choice.error_after <= choice.error_before), "{model}");
        let temporary = tempfile::tempdir().unwrap();
        let dest = temporary.path().join("int8");
        write_int8_model_folder(&dest, &golden.folder, &smoothings, false).unwrap();
        let folder = ModelFolder::open(&dest, &ConfigOverrides::default()).unwrap();
        assert_eq!(folder.stored_precision(), Precision::Int8);
        let (pictures, texts) = (pictures(), ["what is it?"; 5]);
        match folder.config.task {
            Task::ImageCaptioning => {
                let captioner = Captioner::load(&folder).unwrap();
                let options = captioner.default_options();
                let found = captioner.caption_batch(&pictures, &options).unwrap();
                // The file's own bytes are used: at f32 their dequantised values give other scores.
                let exact = Captioner::load_with(&folder, &at(Precision::F32)).unwrap();
                let exact = exact.caption_batch(&pictures, &options).unwrap();
                assert!((found[0][0].score - exact[0][0].score).abs() < 0.5);
                assert_ne!(bits(&found), bits(&exact));
            }
            Task::VisualQuestionAnswering => {
                let answerer = Answerer::load(&folder).unwrap();
                answerer.answer_batch(&pictures, &texts, &answerer.default_options()).unwrap();
            }
            Task::ImageTextRetrieval => {
                let exact = Matcher::load(&golden.folder).unwrap().match_batch(&pictures, &texts).unwrap();
                let found = Matcher::load(&folder).unwrap().match_batch(&pictures, &texts).unwrap();
                let largest = exact.iter().zip(&found).map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
                assert!(largest < 0.1, "{exact:?} and {found:?}");
            }
        }
    }
}

/// Tensors in memory, each stored as what it is.
struct Given(Vec<(&'static str, Vec<usize>, Dtype, Values)>);

impl TensorReader for Given {
    fn entries(&self) -> Vec<TensorEntry> {
        let entry = |(name, shape, dtype, _): &(&str, Vec<usize>, Dtype, Values)| TensorEntry {
            name: (*name).to_owned(),
            shape: shape.clone(),
            fixed_dtype: Some(*dtype),
            same_as: None,
        };
        self.0.iter().map(entry).collect()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        Ok(self.0[index].3.clone())
    }
}

fn open(tensors: Vec<(&'static str, Vec<usize>, Dtype, Values)>) -> Result<Checkpoint, CheckpointError> {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.safetensors");
    write_safetensors(&path, &Given(tensors), Dtype::F32).unwrap();
    Checkpoint::from_bytes(std::fs::read(path).unwrap())
}

#[test]
fn a_damaged_int8_weight_is_named() {
    let bytes = ("w_int8", vec![2, 3], Dtype::I8, Values::I8(vec![1, 2, 3, -4, -5, 6]));
    let scale = ("w_scale", vec![2], Dtype::F32, Values::F32(vec![0.5, 2.0]));
    let smoothing = ("w_smoothing", vec![3], Dtype::F32, Values::F32(vec![1.0, 2.0, 4.0]));
    let whole = open(vec![bytes.clone(), scale.clone(), smoothing.clone()]).unwrap();
    assert_eq!(whole.read_f32("w").unwrap(), [0.5, 0.5, 0.375, -8.0, -5.0, 3.0]);
    assert_eq!(whole.names().collect::<Vec<_>>(), ["w"]);

    let message = |tensors| open(tensors).map(|c| c.read_f32("w")).unwrap_err().to_string();
    assert!(message(vec![bytes.clone()]).contains("w_scale"));
    let short = ("w_scale", vec![1], Dtype::F32, Values::F32(vec![0.5]));
    assert!(message(vec![bytes.clone(), short]).contains("shape [1], expected [2]"));
    let flat = ("w_int8", vec![6], Dtype::I8, Values::I8(vec![0; 6]));
    assert!(message(vec![flat, scale.clone()]).contains("w_int8"));
    let floats = ("w_int8", vec![2, 3], Dtype::F32, Values::F32(vec![0.0; 6]));
    assert!(message(vec![floats, scale.clone()]).contains("expected i8"));
    let zero = ("w_smoothing", vec![3], Dtype::F32, Values::F32(vec![1.0, 0.0, 4.0]));
    let read = open(vec![bytes.clone(), scale, zero]).unwrap().read_f32("w").unwrap_err().to_string();
    assert!(read.contains("w_smoothing") && read.contains("above 0"), "{read}");
    let infinite = ("w_scale", vec![2], Dtype::F32, Values::F32(vec![0.5, f32::INFINITY]));
    let read = open(vec![bytes.clone(), infinite]).unwrap().read_f32("w").unwrap_err().to_string();
    assert!(read.contains("w_scale") && read.contains("1 of 2, the first at [1] (inf)"), "{read}");
    let scale = ("w_scale", vec![2], Dtype::F32, Values::F32(vec![0.5, 2e38]));
    let large = open(vec![bytes, scale]).unwrap();
    assert!(large.read_quantized("w").is_ok(), "its parts are numbers");
    let read = large.read_f32("w").unwrap_err().to_string();
    assert!(read.contains("`w`") && read.contains("3 of 6, the first at [1, 0] (-inf)"), "{read}");
}
