//! Captions of freshly drawn pictures: how many are true, checked by program against what was drawn, and how similar they are to
//! the captions that the generator writes itself.

use std::io::{self, Write};

use mplug::generate::GenerationOptions;
use mplug::preprocess::image::RgbImage;
use mplug::tasks::Captioner;
use mplug_data::dataset::Language;
use mplug_data::synth::{FamilyTruth, Scene, Share, SynthExample, TruthReport, check_caption, draw};
use rayon::prelude::*;
use serde::Serialize;

use crate::agreement::Agreement;
use crate::drawn::{Drawn, json_name, write_share};
use crate::error::EvalError;
use crate::event::{OnEvent, each_batch};

/// Draws, captions and judges. The captions are compared with the generator's in `language`, in which `options` must have the
/// model write; `drawn` has no say in it.
///
/// # Errors
/// [`EvalError::Model`] for options that cannot be, and where the model computes no numbers; [`EvalError::Stopped`].
pub fn evaluate(
    drawn: &Drawn,
    language: Language,
    captioner: &Captioner,
    options: &GenerationOptions,
    batch_size: usize,
    on_event: OnEvent<'_>,
) -> Result<DrawnCaptions, EvalError> {
    let mut truth = TruthReport::default();
    let (mut captions, mut references) = (Vec::new(), Vec::new());
    each_batch(
        &drawn.indices(),
        batch_size,
        "pictures",
        on_event,
        |batch| {
            let examples: Vec<SynthExample> =
                batch.par_iter().map(|&index| draw(drawn.seed, index)).collect();
            examples
                .into_iter()
                .map(|example| {
                    (
                        example.image,
                        (example.scene, of_language([example.captions_zh, example.captions_en], language)),
                    )
                })
                .unzip()
        },
        |_, (images, drawn): (Vec<RgbImage>, Vec<(Scene, Vec<String>)>)| {
            let best = captioner
                .caption_batch(&images, options)?
                .into_iter()
                .map(|captions| captions.into_iter().next());
            let texts: Vec<String> =
                best.map(|best| best.map_or_else(String::new, |caption| caption.text)).collect();
            Ok((drawn, texts))
        },
        |_, (drawn, texts)| {
            for ((scene, of_generator), text) in drawn.into_iter().zip(texts) {
                truth.add(scene.family, check_caption(&scene, &text));
                references.push(of_generator);
                captions.push(text);
            }
            Ok(Vec::new())
        },
    )?;
    let agreement = Agreement::of(&captions, &references)?;
    let (cider, [.., bleu_4]) = (agreement.cider(), agreement.bleu());
    let (synth_seed, count, language) = (drawn.seed, drawn.count, language.code());
    Ok(DrawnCaptions { synth_seed, count, language, cider, bleu_4, truth })
}

/// The generator's captions in one of its languages.
fn of_language([chinese, english]: [Vec<String>; 2], language: Language) -> Vec<String> {
    match language {
        Language::Chinese => chinese,
        Language::English => english,
    }
}

/// How many captions are true, and how similar they are to the generator's.
#[derive(Debug, Serialize)]
pub struct DrawnCaptions {
    /// The seed of the pictures.
    pub synth_seed: u64,
    /// How many were drawn.
    pub count: usize,
    /// The code of the language of the captions that are expected and of those they are compared with.
    pub language: &'static str,
    /// CIDEr-D against the generator's captions, 0 to 10.
    pub cider: f64,
    /// BLEU-4 against the generator's captions, 0 to 1.
    pub bleu_4: f64,
    /// How many are true.
    #[serde(flatten)]
    pub truth: TruthReport,
}

/// A column of the table and where its figures are.
type Column = (&'static str, fn(&FamilyTruth) -> Share);

const COLUMNS: [Column; 8] = [
    ("true", |truth| truth.fully_true),
    ("understood", |truth| truth.understood),
    ("complete", |truth| truth.complete),
    ("kind", |truth| truth.kind),
    ("colour", |truth| truth.colour),
    ("count", |truth| truth.count),
    ("relation", |truth| truth.relation),
    ("place", |truth| truth.place),
];

impl DrawnCaptions {
    /// The text form: a table of shares in per cent.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} pictures of seed {}: per cent of captions that are right",
            self.count, self.synth_seed
        )?;
        write!(to, "{:<10} {:>8}", "family", "pictures")?;
        for (name, _) in COLUMNS {
            write!(to, " {name:>10}")?;
        }
        writeln!(to)?;
        write_row(to, "all", &self.truth.all)?;
        for (family, truth) in &self.truth.families {
            write_row(to, &json_name(family)?, truth)?;
        }
        writeln!(to, "against the generator's captions ({}):", self.language)?;
        writeln!(to, "{:<10} {:>8.4}", "CIDEr", self.cider)?;
        writeln!(to, "{:<10} {:>8.4}", "BLEU-4", self.bleu_4)
    }
}

fn write_row(to: &mut dyn Write, name: &str, truth: &FamilyTruth) -> io::Result<()> {
    write!(to, "{name:<10} {:>8}", truth.fully_true.judged)?;
    for (_, share_of) in COLUMNS {
        write_share(to, share_of(truth), 10)?;
    }
    writeln!(to)
}
