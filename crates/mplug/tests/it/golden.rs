//! Every stage of every golden model against the numbers of the original.

use std::ops::Deref;

use mplug::EncodedPicture;
use mplug::checkpoint::{Dtype, ModelFolder, Weights, write_pytorch};
use mplug::config::{ConfigOverrides, Task};
use mplug::fusion_encoder::FusionEncoder;
use mplug::generate::sampling::{SamplingOptions, filter_logits};
use mplug::model::Multimodal;
use mplug::preprocess::image::{ImageLimits, RgbImage, load_image};
use mplug::tasks::{Answerer, Captioner, Matcher, tokenizer};
use mplug::text_decoder::TextDecoder;
use mplug::text_encoder::TextEncoder;
use mplug::visual_encoder::VisualEncoder;
use mplug_testing::golden::{self, deviation, fixture, resized};
use mplug_testing::stepping::Stepping;
use serde_json::Value;

/// Of the standard deviation of the original's values: what the issue allows.
const TOLERANCE: f32 = 1e-4;

/// A golden model in a folder, with the original's numbers.
pub(crate) struct Golden {
    numbers: golden::Golden,
    pub(crate) folder: ModelFolder,
    _temporary: tempfile::TempDir,
}

impl Golden {
    /// Draws the weights and writes them as a PyTorch file into a model folder, as the original would find it.
    pub(crate) fn new(model: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        golden::write_folder(model, temporary.path(), |folder, recipe| {
            write_pytorch(&folder.join("pytorch_model.bin"), recipe, Dtype::F32).unwrap();
        });
        Self {
            numbers: golden::Golden::open(model),
            folder: ModelFolder::open(temporary.path(), &ConfigOverrides::default()).unwrap(),
            _temporary: temporary,
        }
    }

    /// The embeddings of all pictures, `(image_len, hidden_size)` each.
    pub(crate) fn encode(&self, encoder: &VisualEncoder) -> Vec<Vec<f32>> {
        self.pixels().iter().map(|pixels| encoder.forward(pixels)).collect()
    }
}

impl Deref for Golden {
    type Target = golden::Golden;

    fn deref(&self) -> &golden::Golden {
        &self.numbers
    }
}

fn assert_stage(stage: &str, actual: &[f32], expected: &[f32]) {
    let found = deviation(actual, expected);
    assert!(found <= TOLERANCE, "{stage} deviates by {found} of its standard deviation");
}

/// The encoders: what each gives for the last two of the four pictures and questions.
fn check_encoders(golden: &Golden) {
    let config = &golden.folder.config;
    let root = Weights::new(golden.folder.checkpoint());
    let image_embeds = golden.encode(&VisualEncoder::load(&root, config).unwrap()).split_off(2);
    let stage = if config.has_visual_projection { "image_embeds" } else { "visual_out" };
    assert_stage(stage, &image_embeds.concat(), &golden.floats(stage));

    let text_encoder = TextEncoder::load(&root, config).unwrap();
    let fusion_encoder = FusionEncoder::load(&root, config).unwrap();
    let (mut texts, mut fused_images, mut fused_texts) = (vec![], vec![], vec![]);
    for (i, image_embeds) in image_embeds.into_iter().enumerate() {
        let (ids, valid) = golden.question(2 + i);
        let text = text_encoder.forward(&ids, valid);
        texts.push(text.clone());
        let fused = fusion_encoder.forward(&fusion_encoder.attend_to(image_embeds), text, valid);
        fused_images.push(fused.image);
        fused_texts.push(fused.text);
    }
    assert_stage("text_out", &texts.concat(), &golden.floats("text_out"));
    assert_stage("fusion_image", &fused_images.concat(), &golden.floats("fusion_image"));
    assert_stage("fusion_text", &fused_texts.concat(), &golden.floats("fusion_text"));
}

/// Logits of the given prefixes, token by token through the cache and all tokens in one step, against those of the original.
fn check_logits(golden: &Golden, decoder: &TextDecoder, pictures: &[EncodedPicture]) {
    let (ids, mask) = (golden.ids("prefix.ids"), golden.ids("prefix.mask"));
    let (expected, masked) = (golden.floats("prefix.logits"), golden.floats("prefix.logits_masked"));
    let (rows, len) = (pictures.len(), ids.len() / pictures.len());
    let vocab_size = expected.len() / ids.len();
    let whole: Vec<f32> = pictures
        .iter()
        .zip(ids.chunks(len))
        .flat_map(|(picture, ids)| decoder.logits(picture, ids))
        .collect();
    let mut state = Stepping::new(decoder, pictures);
    for position in 0..len {
        let tokens: Vec<u32> = (0..rows).map(|row| ids[row * len + position]).collect();
        let logits = state.step(&tokens).to_vec();
        for (row, logits) in logits.chunks_exact(vocab_size).enumerate() {
            let at = row * len + position;
            let range = at * vocab_size..(at + 1) * vocab_size;
            assert_eq!(logits, &whole[range.clone()], "a token's logits depend on how it was read");
            assert_stage("logits", logits, &expected[range.clone()]);
            if mask[at] == 1 {
                assert_stage("masked logits", logits, &masked[range]);
            }
        }
    }
}

/// Runs `generate(batch, beams, min, max)` for every recorded beam search and compares ids and scores of every hypothesis.
fn check_beam_searches(
    golden: &Golden,
    bos_token_id: u32,
    generate: impl Fn(&[usize], usize, usize, usize) -> Vec<Vec<mplug::tasks::Caption>>,
) {
    let searches = golden.json["beam"].as_array().unwrap();
    assert!(searches.len() >= 20, "only {} searches recorded", searches.len());
    for search in searches {
        let number = |key: &str| search[key].as_u64().unwrap() as usize;
        let batch: Vec<usize> =
            search["batch"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as usize).collect();
        let found = generate(&batch, number("beam"), number("min_length"), number("max_length"));
        for (i, captions) in found.iter().enumerate() {
            let expected = search["ids"][i].as_array().unwrap();
            assert!(captions.len() >= expected.len(), "{} hypotheses of {}", captions.len(), expected.len());
            for (j, caption) in captions.iter().take(expected.len()).enumerate() {
                let ids: Vec<u32> = serde_json::from_value(expected[j].clone()).unwrap();
                let all: Vec<u32> =
                    std::iter::once(bos_token_id).chain(caption.token_ids.iter().copied()).collect();
                assert_eq!(all, ids, "{search}");
                let score = search["scores"][i][j].as_f64().unwrap() as f32;
                // As a share of scores above 1: the original's own rounding alone moves sums of ten logits by 1e-4, and a
                // softmax in f64 lands as far from it as one in f32.
                let tolerance = 1e-4 * score.abs().max(1.0);
                assert!((caption.score - score).abs() <= tolerance, "{} for {score}", caption.score);
            }
            assert_eq!(captions[0].raw_text, search["text"][i].as_str().unwrap());
        }
    }
}

fn options(
    mut options: mplug::generate::GenerationOptions,
    beams: usize,
    min: usize,
    max: usize,
) -> mplug::generate::GenerationOptions {
    (options.num_beams, options.min_new_tokens, options.max_new_tokens) = (beams, min, max);
    options.num_return_sequences = beams;
    options
}

fn check_captioning(model: &str) {
    let golden = Golden::new(model);
    assert_eq!(golden.folder.config.task, Task::ImageCaptioning);
    check_encoders(&golden);
    let captioner = Captioner::load(&golden.folder).unwrap();
    let image_len = golden.folder.config.vision.image_len();
    let embeds = golden.encode(captioner.visual_encoder());
    let pictures: Vec<_> =
        embeds.into_iter().map(|embeds| captioner.decoder().attend_to(embeds, image_len)).collect();
    check_logits(&golden, captioner.decoder(), &pictures);
    check_beam_searches(&golden, captioner.tokenizer().bos_token_id(), |batch, beams, min, max| {
        let pictures: Vec<_> = batch.iter().map(|&i| pictures[i].clone()).collect();
        let options = options(captioner.default_options(), beams, min, max);
        let found = captioner.caption_encoded(&pictures, &options).unwrap();
        found.into_iter().map(Result::unwrap).collect()
    });
}

#[test]
fn tiny_captioning_model() {
    check_captioning("tiny");
}

#[test]
fn tiny_large_captioning_model() {
    check_captioning("tiny_large");
}

/// The pipeline's own captions, from the pixels that the original resized: all 29 kinds of picture.
#[test]
fn pipeline_captions_are_identical() {
    let golden = Golden::new("tiny");
    let captioner = Captioner::load(&golden.folder).unwrap();
    let entries = golden.json["pipeline"].as_array().unwrap();
    assert_eq!(entries.len(), 29);
    let pictures: Vec<RgbImage> = entries.iter().map(|e| resized(e["image"].as_str().unwrap())).collect();
    let captions = captioner.caption_batch(&pictures, &captioner.default_options()).unwrap();
    for (entry, captions) in entries.iter().zip(captions) {
        assert_eq!(captions[0].raw_text, entry["result"]["caption"].as_str().unwrap(), "{}", entry["image"]);
    }
}

/// Whether our pixels of a fixture are the original's: 16-bit gray is shown right here, while the original clips it to white.
fn has_identical_pixels(image: &str) -> bool {
    !image.contains("gray16")
}

/// The entries of a pipeline's record whose pictures can be compared, with the pictures read from their files.
fn pipeline_entries(golden: &Golden) -> Vec<(Value, RgbImage)> {
    let entries = golden.json["pipeline"].as_array().unwrap().clone();
    let image = |entry: &Value| entry["image"].as_str().unwrap().to_owned();
    let comparable = entries.into_iter().filter(|entry| has_identical_pixels(&image(entry)));
    comparable
        .map(|entry| {
            let path = fixture("images").join(image(&entry));
            (entry, load_image(&path, &ImageLimits::default()).unwrap())
        })
        .collect()
}

/// The pipelines of all tasks, from picture files and strings to texts and scores.
#[test]
fn pipelines_from_files_are_identical() {
    for model in ["tiny", "tiny_large"] {
        let golden = Golden::new(model);
        let captioner = Captioner::load(&golden.folder).unwrap();
        let entries = pipeline_entries(&golden);
        assert_eq!(entries.len(), 28, "all pictures but one can be compared");
        for (entry, picture) in entries {
            let captions = captioner.caption_batch(&[picture], &captioner.default_options()).unwrap();
            assert_eq!(captions[0][0].raw_text, entry["result"]["caption"].as_str().unwrap(), "{entry}");
        }
    }
    for model in ["tiny_vqa", "tiny_large_vqa"] {
        let golden = Golden::new(model);
        let answerer = Answerer::load(&golden.folder).unwrap();
        for (entry, picture) in pipeline_entries(&golden) {
            let question = entry["text"].as_str().unwrap();
            let answers =
                answerer.answer_batch(&[picture], &[question], &answerer.default_options()).unwrap();
            assert_eq!(answers[0][0].raw_text, entry["result"]["text"].as_str().unwrap(), "{entry}");
        }
    }
    let golden = Golden::new("tiny_large_itr");
    let matcher = Matcher::load(&golden.folder).unwrap();
    for (entry, picture) in pipeline_entries(&golden) {
        let score = matcher.match_texts(&picture, &[entry["text"].as_str().unwrap()]).unwrap()[0];
        let expected = entry["result"]["scores"][1].as_f64().unwrap() as f32;
        assert!((score - expected).abs() <= 1e-5, "{score}: {entry}");
    }
}

/// A caption depends neither on its batch neighbours, nor on their order, nor on the number of threads: same bits.
#[test]
fn captions_do_not_depend_on_batch_order_or_threads() {
    let golden = Golden::new("tiny");
    let captioner = Captioner::load(&golden.folder).unwrap();
    let names = ["shapes_rgb.png", "noise_rgb.png", "photo_like.jpg", "wide.png", "one_pixel.png"];
    let pictures: Vec<RgbImage> = names.into_iter().map(resized).collect();
    let defaults = captioner.default_options();
    let mut sampled = defaults.clone();
    sampled.sampling = Some(SamplingOptions { seed: 7, ..SamplingOptions::default() });
    for options in [options(defaults, 5, 1, 12), sampled] {
        let caption = |pictures: &[RgbImage]| captioner.caption_batch(pictures, &options).unwrap();
        let expected: Vec<_> = pictures.iter().flat_map(|p| caption(std::slice::from_ref(p))).collect();
        for batch_size in [2, 5] {
            let found: Vec<_> = pictures.chunks(batch_size).flat_map(caption).collect();
            assert_eq!(found, expected, "batches of {batch_size}");
        }
        let mut reversed = pictures.clone();
        reversed.reverse();
        let mut found = caption(&reversed);
        found.reverse();
        assert_eq!(found, expected, "in reverse order");
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| caption(&pictures)), expected, "{threads} threads");
        }
    }
}

#[test]
fn sampling_filters_like_the_original() {
    let golden = Golden::new("tiny_large");
    let mut logits = golden.floats("sample.logits_in");
    let options = SamplingOptions { temperature: 1.0, top_k: 10, top_p: 0.9, seed: 0 };
    filter_logits(&mut logits, &options);
    assert_eq!(logits, golden.floats("sample.top_k10_top_p0.9"));
}

fn check_answering(model: &str) {
    let golden = Golden::new(model);
    assert_eq!(golden.folder.config.task, Task::VisualQuestionAnswering);
    check_encoders(&golden);
    let answerer = Answerer::load(&golden.folder).unwrap();
    let pictures = encode(&golden, answerer.visual_encoder(), answerer.multimodal());
    let read: Vec<EncodedPicture> = (0..4).map(|i| read_question(&golden, &answerer, &pictures, i)).collect();
    check_logits(&golden, answerer.decoder(), &read);
    let questions = golden.questions();
    let bos = tokenizer(&golden.folder).unwrap().bos_token_id();
    check_beam_searches(&golden, bos, |batch, beams, min, max| {
        let pictures: Vec<_> = batch.iter().map(|&i| pictures[i].clone()).collect();
        let questions: Vec<&str> = batch.iter().map(|&i| questions[i]).collect();
        answerer
            .answer_encoded(&pictures, &questions, &options(answerer.default_options(), beams, min, max))
            .unwrap()
    });
}

/// What the decoder reads of picture and question `i`, without the question's padding.
fn read_question(
    golden: &Golden,
    answerer: &Answerer,
    pictures: &[EncodedPicture],
    i: usize,
) -> EncodedPicture {
    let (ids, valid) = golden.question(i);
    let fused = answerer.multimodal().fuse(&pictures[i], &ids[..valid], valid);
    let joined = [fused.image, fused.text].concat();
    let len = joined.len() / golden.folder.config.text.hidden_size;
    answerer.decoder().attend_to(joined, len)
}

/// All pictures as the fusion encoder takes them.
fn encode(golden: &Golden, encoder: &VisualEncoder, multimodal: &Multimodal) -> Vec<EncodedPicture> {
    let embeds = golden.encode(encoder).into_iter();
    embeds.map(|embeds| multimodal.fusion_encoder.attend_to(embeds)).collect()
}

#[test]
fn tiny_answering_model() {
    check_answering("tiny_vqa");
}

#[test]
fn tiny_large_answering_model() {
    check_answering("tiny_large_vqa");
}

/// The features of all four pictures and texts.
fn check_features(golden: &Golden, matcher: &Matcher) {
    let head = matcher.contrastive_head().unwrap();
    let embeds = golden.encode(matcher.visual_encoder());
    let images: Vec<f32> = embeds.iter().flat_map(|embeds| head.image_features(embeds)).collect();
    assert_stage("image_feat", &images, &golden.floats("image_feat"));
    let texts = matcher.text_features(&golden.questions()).unwrap().concat();
    assert_stage("text_feat", &texts, &golden.floats("text_feat"));
}

#[test]
fn retrieval_models() {
    let golden = Golden::new("tiny_itr");
    check_encoders(&golden);
    check_features(&golden, &Matcher::load(&golden.folder).unwrap());
    let golden = Golden::new("tiny_large_itr");
    check_encoders(&golden);
    let matcher = Matcher::load(&golden.folder).unwrap();
    check_features(&golden, &matcher);
    let pictures = encode(&golden, matcher.visual_encoder(), matcher.multimodal());
    let expected = golden.floats("itm"); // (4 pictures, 4 texts, [no match, match])
    for (i, question) in golden.questions().into_iter().enumerate() {
        for (j, picture) in pictures.iter().enumerate() {
            let score = matcher.score(picture, question).unwrap();
            let expected = expected[(j * 4 + i) * 2 + 1];
            let odds = matcher.log_odds(picture, question).unwrap();
            assert!((score - 1.0 / (1.0 + (-odds).exp())).abs() <= 1e-6, "{odds} for {score}");
            assert!((score - expected).abs() <= 1e-5, "picture {j}, text {i}: {score} instead of {expected}");
        }
    }
}
