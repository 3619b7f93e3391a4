//! Maps of drawn pictures' captions: whether what a word stands on is the thing that it names, and whether the picture without it
//! takes the word away. The scene says where things are, so nobody has to look.
//!
//! Words that are looked at name things, colours or places. Only captions that are true count: of others nobody knows where their words should
//! stand.

use std::collections::BTreeMap;
use std::io::{self, Write};

use mplug::checkpoint::ModelFolder;
use mplug::explain::{ExplainOptions, Explanation, Heads, Method, WordMap};
use mplug::generate::Resolved;
use mplug::preprocess::image::{RgbImage, resize_bicubic};
use mplug::tasks::{Caption, CaptionRequest, Captioner};
use mplug::{EncodedPicture, Error};
use mplug_data::synth::{Colour, Named, Scene, Share, check_caption, draw};
use rayon::prelude::*;

use crate::drawn::{Drawn, write_share};
use crate::error::EvalError;
use crate::event::{OnEvent, each_batch};

/// Pictures that are looked at together.
const BATCH: usize = 8;
/// What is painted over a part of a picture.
const GREY: image::Rgb<u8> = image::Rgb([128; 3]);

/// What the maps of one kind find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapFigures {
    /// Nouns whose map is largest on a thing that they name: the centre of the patch lies in the thing's box.
    pub on_object: Share,
    /// Pairs of words of a caption of which the first loses more if the picture is painted grey where its own map is largest, in a
    /// tenth of the patches, than where the other's is.
    pub own_patches: Share,
    /// Those of these pairs whose words are about different things: not a noun and its colour.
    pub own_patches_apart: Share,
    /// Correlations of the maps of two words, their sum and number.
    correlation: (f64, usize),
    /// Those of two words about different things.
    correlation_apart: (f64, usize),
}

/// The figures of a run, by the name of what made the maps.
#[derive(Clone, Debug, Default)]
pub struct DrawnMaps {
    /// The seed of the pictures.
    pub seed: u64,
    /// How many were drawn.
    pub count: usize,
    /// How many of them have captions that are true.
    pub is_true: usize,
    /// By method; `random` and `caption mean` are what nobody should be content with.
    pub methods: BTreeMap<&'static str, MapFigures>,
}

/// Draws, captions, explains, and looks at what the maps find. `captioner` is that of `folder`.
///
/// # Errors
/// [`EvalError::Model`] where the model computes no numbers, [`EvalError::Stopped`].
pub fn evaluate(
    drawn: &Drawn,
    captioner: &Captioner,
    folder: &ModelFolder,
    on_event: OnEvent<'_>,
) -> Result<DrawnMaps, EvalError> {
    let mut found = DrawnMaps { seed: drawn.seed, count: drawn.count, ..DrawnMaps::default() };
    each_batch(
        &drawn.indices(),
        BATCH,
        "pictures",
        on_event,
        |_| (),
        |batch, ()| {
            let look = |&index: &u64| look_at(drawn, index, captioner, folder);
            Ok(batch.par_iter().map(look).collect::<Result<Vec<_>, Error>>()?)
        },
        |_, looked| {
            for methods in looked.into_iter().flatten() {
                found.is_true += 1;
                for (name, figures) in methods {
                    found.methods.entry(name).or_default().add(&figures);
                }
            }
            Ok(Vec::new())
        },
    )?;
    Ok(found)
}

/// The figures of one picture, if its caption is true.
fn look_at(
    drawn: &Drawn,
    index: u64,
    captioner: &Captioner,
    folder: &ModelFolder,
) -> Result<Option<BTreeMap<&'static str, MapFigures>>, Error> {
    let example = draw(drawn.seed, index);
    let request = CaptionRequest { languages: drawn.language_of(index).into(), ..CaptionRequest::default() };
    // A model of one language writes in that.
    let options = request.resolve(folder).unwrap_or_else(|_| captioner.default_options());
    let side = captioner.config().vision.image_size as u32;
    let image = resize_bicubic(&example.image, side, side);
    let picture = captioner.encode(std::slice::from_ref(&image)).remove(0);
    let captions = captioner.caption_encoded(std::slice::from_ref(&picture), &options)?.remove(0)?;
    let Some(caption) = captions.into_iter().next() else { return Ok(None) };
    if !check_caption(&example.scene, &caption.text).is_true() {
        return Ok(None);
    }
    let resolved = captioner.resolve(&options)?;
    let case = Case { captioner, image, scene: example.scene, caption, resolved };
    Ok(Some(case.figures(&picture, index)?))
}

/// A picture with a true caption.
struct Case<'c> {
    captioner: &'c Captioner,
    image: RgbImage,
    scene: Scene,
    caption: Caption,
    resolved: Resolved,
}

/// What a word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The scene's group of things of this number.
    Group(usize),
    Place,
}

/// A word that names something.
struct Content {
    /// Its number among the caption's words.
    word: usize,
    about: About,
    is_noun: bool,
}

impl Case<'_> {
    fn explain(&self, picture: &EncodedPicture, method: Method) -> Result<Explanation, Error> {
        let options = ExplainOptions { method, ..ExplainOptions::default() };
        Ok(self.captioner.explain(picture, &self.caption, &self.resolved, &options)?)
    }

    fn figures(
        &self,
        picture: &EncodedPicture,
        index: u64,
    ) -> Result<BTreeMap<&'static str, MapFigures>, Error> {
        let ablation = self.explain(picture, Method::Ablation)?;
        let attention = self.explain(picture, Method::Attention(Heads::Mean))?;
        let content = content_of(&self.scene, &ablation.words);
        let maps = |explanation: &Explanation| -> Vec<Vec<f32>> {
            explanation.words.iter().map(|word| word.values.clone()).collect()
        };
        let grid = ablation.grid;
        let [by_ablation, by_attention] = [maps(&ablation), maps(&attention)];
        let methods = [
            ("caption mean", vec![mean_of(&by_ablation, grid * grid); by_ablation.len()]),
            (
                "random",
                by_ablation.iter().zip(0..).map(|(_, word)| noise(index, word, grid * grid)).collect(),
            ),
            ("ablation", by_ablation),
            ("attention", by_attention),
        ];
        let judge =
            |(name, maps): (&'static str, Vec<Vec<f32>>)| Ok((name, self.judge(&maps, &content, grid)?));
        methods.into_iter().map(judge).collect()
    }

    fn judge(&self, maps: &[Vec<f32>], content: &[Content], grid: usize) -> Result<MapFigures, Error> {
        let mut figures = MapFigures::default();
        let tenth = (grid * grid).div_ceil(10);
        // Of each word's own patches painted grey: the log-probabilities of all words.
        let painted: Vec<Vec<f32>> = content
            .iter()
            .map(|content| self.log_probs_without(&largest(&maps[content.word], tenth), grid))
            .collect::<Result<_, _>>()?;
        for (number, one) in content.iter().enumerate() {
            if let (true, About::Group(group)) = (one.is_noun, one.about) {
                let peak = largest(&maps[one.word], 1)[0];
                figures.on_object.add(Some(lies_on(&self.scene, group, peak, grid)));
            }
            for (other_number, other) in content.iter().enumerate().filter(|(other, _)| *other != number) {
                let is_own = painted[number][one.word] < painted[other_number][one.word];
                let correlation = correlation(&maps[one.word], &maps[other.word]);
                figures.own_patches.add(Some(is_own));
                figures.correlation = (figures.correlation.0 + correlation, figures.correlation.1 + 1);
                if one.about != other.about {
                    let (sum, pairs) = figures.correlation_apart;
                    figures.own_patches_apart.add(Some(is_own));
                    figures.correlation_apart = (sum + correlation, pairs + 1);
                }
            }
        }
        Ok(figures)
    }

    /// Log-probabilities of the words with patches of the picture painted grey, which is encoded anew.
    fn log_probs_without(&self, patches: &[usize], grid: usize) -> Result<Vec<f32>, Error> {
        let mut image = self.image.clone();
        let side = image.width() as usize / grid;
        for patch in patches {
            let (left, top) = (patch % grid * side, patch / grid * side);
            for (x, y) in (top..top + side).flat_map(|y| (left..left + side).map(move |x| (x, y))) {
                image.put_pixel(x as u32, y as u32, GREY);
            }
        }
        let picture = self.captioner.encode(&[image]).remove(0);
        let words = self.explain(&picture, Method::Attention(Heads::Mean))?.words;
        Ok(words.into_iter().map(|word| word.log_prob).collect())
    }
}

/// The words that name something, and what. A colour is that of the next noun.
fn content_of(scene: &Scene, words: &[WordMap]) -> Vec<Content> {
    let groups = scene.groups();
    let mut content = Vec::new();
    let mut colour: Option<(usize, Colour)> = None;
    for (word, map) in words.iter().enumerate() {
        match Named::of(&map.text) {
            Some(Named::Colour(named)) => colour = Some((word, named)),
            Some(Named::Place(_)) => content.push(Content { word, about: About::Place, is_noun: false }),
            Some(Named::Kind(kind)) => {
                let is_meant = |group: &mplug_data::synth::Group| {
                    let is_coloured = colour.is_none_or(|(_, named)| group.colour == Some(named));
                    group.kind == kind && (group.colour.is_none() || is_coloured)
                };
                let Some(group) = groups.iter().position(is_meant) else { continue };
                let about = About::Group(group);
                if let Some((word, _)) = colour.take() {
                    content.push(Content { word, about, is_noun: false });
                }
                content.push(Content { word, about, is_noun: true });
            }
            None => {}
        }
    }
    content
}

/// Whether the centre of a patch lies in the box of one of a group's things.
fn lies_on(scene: &Scene, group: usize, patch: usize, grid: usize) -> bool {
    let group = scene.groups()[group];
    let [x, y] = [patch % grid, patch / grid].map(|place| (place as f32 + 0.5) / grid as f32);
    let things =
        scene.objects.iter().filter(|thing| thing.kind == group.kind && thing.colour == group.colour);
    things.into_iter().any(|thing| {
        let (half_width, half_height) = thing.half_box(scene.width as f32, scene.height as f32);
        (thing.x - x).abs() <= half_width && (thing.y - y).abs() <= half_height
    })
}

/// The patches with the largest values, the largest first.
fn largest(map: &[f32], count: usize) -> Vec<usize> {
    let mut patches: Vec<usize> = (0..map.len()).collect();
    patches.sort_by(|one, other| map[*other].total_cmp(&map[*one]));
    patches.truncate(count);
    patches
}

/// The mean of all maps.
fn mean_of(maps: &[Vec<f32>], len: usize) -> Vec<f32> {
    (0..len).map(|patch| maps.iter().map(|map| map[patch]).sum::<f32>() / maps.len() as f32).collect()
}

/// Numbers that say nothing, other ones for each word of each picture (splitmix64).
fn noise(picture: u64, word: u64, len: usize) -> Vec<f32> {
    let mix = |number: u64| {
        let mut bits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    };
    let first = mix(mix(picture + 1).wrapping_add(word));
    (0..len as u64).map(|patch| (mix(first.wrapping_add(patch)) >> 40) as f32).collect()
}

/// Pearson's correlation; 0 where a map is flat.
fn correlation(one: &[f32], other: &[f32]) -> f64 {
    let mean = |map: &[f32]| map.iter().map(|value| f64::from(*value)).sum::<f64>() / map.len() as f64;
    let (one_mean, other_mean) = (mean(one), mean(other));
    let (mut both, mut ones, mut others) = (0.0, 0.0, 0.0);
    for (one, other) in one.iter().zip(other) {
        let (one, other) = (f64::from(*one) - one_mean, f64::from(*other) - other_mean);
        both += one * other;
        ones += one * one;
        others += other * other;
    }
    if ones * others > 0.0 { both / (ones * others).sqrt() } else { 0.0 }
}

impl MapFigures {
    fn add(&mut self, other: &Self) {
        for (share, more) in [
            (&mut self.on_object, other.on_object),
            (&mut self.own_patches, other.own_patches),
            (&mut self.own_patches_apart, other.own_patches_apart),
        ] {
            share.right += more.right;
            share.judged += more.judged;
        }
        for (sum, more) in [
            (&mut self.correlation, other.correlation),
            (&mut self.correlation_apart, other.correlation_apart),
        ] {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
    }

    /// The mean correlation of the maps of two words of a caption.
    pub fn correlation(&self) -> f64 {
        self.correlation.0 / self.correlation.1 as f64
    }

    /// The mean correlation of the maps of two words of a caption that are about different things.
    pub fn correlation_apart(&self) -> f64 {
        self.correlation_apart.0 / self.correlation_apart.1 as f64
    }
}

impl DrawnMaps {
    /// The text form: a table, shares in per cent.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{} true captions of {} pictures of seed {}", self.is_true, self.count, self.seed)?;
        writeln!(
            to,
            "{:<14} {:>10} {:>12} {:>12} {:>12} {:>12}",
            "maps", "on object", "own patches", "(apart)", "correlation", "(apart)"
        )?;
        for (name, figures) in &self.methods {
            write!(to, "{name:<14}")?;
            write_share(to, figures.on_object, 10)?;
            write_share(to, figures.own_patches, 12)?;
            write_share(to, figures.own_patches_apart, 12)?;
            writeln!(to, " {:>12.3} {:>12.3}", figures.correlation(), figures.correlation_apart())?;
        }
        let judged = self.methods.values().next().map(|figures| {
            (figures.on_object.judged, figures.own_patches.judged, figures.own_patches_apart.judged)
        });
        let (nouns, pairs, apart) = judged.unwrap_or_default();
        writeln!(to, "{nouns} nouns, {pairs} pairs of words, {apart} of them about different things")
    }
}

#[cfg(test)]
mod tests {
    use mplug_data::synth::{Background, Family, Kind, Object};

    use super::*;

    fn scene() -> Scene {
        let object =
            |kind, colour, x| Object { kind, colour, x, y: 0.5, size: 0.4, rotation: 0.0, mirrored: false };
        let objects = vec![
            object(Kind::Circle, Some(Colour::Red), 0.25),
            object(Kind::Circle, Some(Colour::Blue), 0.75),
        ];
        let background = Background::Plain { rgb: [255; 3] };
        Scene { family: Family::Relations, width: 100, height: 100, background, objects, relation: None }
    }

    fn words(texts: &[&str]) -> Vec<WordMap> {
        let word = |(index, text): (usize, &&str)| WordMap {
            text: (*text).to_owned(),
            tokens: index..index + 1,
            log_prob: 0.0,
            most_lost: None,
            values: Vec::new(),
        };
        texts.iter().enumerate().map(word).collect()
    }

    #[test]
    fn words_are_about_the_things_that_they_name() {
        let content =
            content_of(&scene(), &words(&["a", "blue", "circle", "is", "above", "a", "red", "circle"]));
        let found: Vec<_> =
            content.iter().map(|content| (content.word, content.about, content.is_noun)).collect();
        let (red, blue) = (About::Group(0), About::Group(1));
        assert_eq!(found, [(1, blue, false), (2, blue, true), (6, red, false), (7, red, true)]);
        let place = content_of(&scene(), &words(&["草地", "上"]));
        assert_eq!((place.len(), place[0].about), (1, About::Place));
    }

    #[test]
    fn a_patch_lies_on_a_thing_by_its_centre() {
        // Boxes of 0.376: from 0.06 to 0.44 across, from 0.31 to 0.69 down.
        for (patch, expected) in [(5, true), (6, false), (1, false), (9, true)] {
            assert_eq!(lies_on(&scene(), 0, patch, 4), expected, "{patch}");
        }
    }

    #[test]
    fn maps_are_compared() {
        assert_eq!(largest(&[0.5, -1.0, 2.0, 0.75], 2), [2, 3]);
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[1.0; 3], &[1.0, 2.0, 3.0]), 0.0);
        assert_ne!(noise(0, 0, 4), noise(0, 1, 4));
        assert_ne!(noise(0, 0, 4), noise(1, 0, 4));
    }
}
