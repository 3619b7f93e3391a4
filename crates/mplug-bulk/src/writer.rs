//! The models of a run: each looks at a picture once and writes about it in the languages that are its own.

use std::sync::Arc;

use mplug::EncodedPicture;
use mplug::config::{Language, Languages};
use mplug::explain::{ExplainOptions, Explanation};
use mplug::generate::{GenerationOptions, NotANumber, Resolved};
use mplug::preprocess::image::{ImageLimits, RgbImage};
use mplug::tasks::{Caption, Captioner, Captions, LanguageOptions};
use mplug_data::picture::{Failure, PictureLoader, Remedy};

use crate::answer::{Answer, Found};
use crate::error::BulkError;

/// Why a picture has no caption though it was opened.
const NO_CAPTION: &str = "no caption with every required word was found";

/// A model that captions the pictures of a run.
pub struct Writer<'m> {
    /// The model.
    pub captioner: &'m Captioner,
    /// Which model it is, in words that change with its files: only a run with the same words goes on where another one was
    /// stopped.
    pub model: String,
    /// What it writes about each picture: one text, or one for each of its languages.
    pub texts: Vec<LanguageOptions>,
}

impl<'m> Writer<'m> {
    /// A model that writes one text about each picture.
    pub fn new(captioner: &'m Captioner, options: GenerationOptions, model: impl Into<String>) -> Self {
        let texts = vec![LanguageOptions { language: None, options }];
        Self { captioner, model: model.into(), texts }
    }

    fn image_size(&self) -> usize {
        self.captioner.config().vision.image_size
    }
}

/// One of the texts about a picture.
struct Text {
    /// The language that its record says.
    language: Option<Language>,
    /// Its writer's index.
    writer: usize,
    /// Its index among what that one writes.
    index: usize,
}

/// All models of a run, and the order of what they write.
pub(crate) struct Writers<'m> {
    list: &'m [Writer<'m>],
    /// What each of them writes.
    options: Vec<Vec<GenerationOptions>>,
    /// In the order of the records.
    texts: Vec<Text>,
    /// How pictures are opened, for each of the sizes that the models read.
    loaders: Vec<PictureLoader>,
}

impl<'m> Writers<'m> {
    /// The models of a run with those languages.
    ///
    /// # Errors
    /// [`BulkError::Writers`] where they write other languages.
    pub(crate) fn new(
        list: &'m [Writer<'m>],
        languages: Languages,
        limits: ImageLimits,
    ) -> Result<Self, BulkError> {
        let all: Vec<Text> = (0..)
            .zip(list)
            .flat_map(|(writer, Writer { texts, .. })| {
                let text = move |(index, text): (usize, &LanguageOptions)| Text {
                    language: text.language,
                    writer,
                    index,
                };
                texts.iter().enumerate().map(text)
            })
            .collect();
        let mut loaders: Vec<PictureLoader> = Vec::new();
        for image_size in list.iter().map(|writer| writer.image_size() as u32) {
            if loaders.iter().all(|loader| loader.image_size != image_size) {
                loaders.push(PictureLoader { limits, image_size });
            }
        }
        let options = |writer: &Writer<'_>| writer.texts.iter().map(|text| text.options.clone()).collect();
        let options = list.iter().map(options).collect();
        Ok(Self { list, options, texts: in_order(all, languages)?, loaders })
    }

    /// How pictures are opened, for each of the sizes that the models read.
    pub(crate) fn loaders(&self) -> &[PictureLoader] {
        &self.loaders
    }

    /// Captions pictures of all sizes (`images` has a list of them for each loader), and explains the best captions as `explain`
    /// says. A caption that cannot be explained fails.
    pub(crate) fn write(
        &self,
        images: &[Vec<RgbImage>],
        explain: Option<&ExplainOptions>,
    ) -> Result<Vec<Written>, BulkError> {
        let mut seen: Vec<Seen<'_>> = Vec::with_capacity(self.list.len());
        for (writer, options) in self.list.iter().zip(&self.options) {
            let is_its_own = |loader: &&PictureLoader| loader.image_size as usize == writer.image_size();
            let own = self.loaders.iter().zip(images).find(|(loader, _)| is_its_own(loader));
            let images = own.map_or(&[][..], |(_, images)| images);
            let pictures = writer.captioner.encode(images);
            let written = writer.captioner.caption_with(&pictures, options)?;
            seen.push(Seen { images, pictures, written });
        }
        let resolve = |text: &Text| {
            let (how, options) = (explain?, &self.options[text.writer][text.index]);
            let resolved = self.list[text.writer].captioner.resolve(options);
            Some(resolved.map(|resolved| (how, resolved)))
        };
        let resolved: Vec<Option<(&ExplainOptions, Resolved)>> =
            self.texts.iter().map(|text| resolve(text).transpose()).collect::<Result<_, _>>()?;
        let mut answer = |picture: usize| {
            let (mut found, mut explained) = (Vec::with_capacity(self.texts.len()), Vec::new());
            for (text, resolved) in self.texts.iter().zip(&resolved) {
                let seen = &mut seen[text.writer];
                let mut captions = judged(seen.take(picture, text.index));
                if let (Ok(written), Some((how, resolved))) = (&captions, resolved) {
                    match seen.explain(self.list[text.writer].captioner, picture, &written[0], resolved, how)
                    {
                        Ok(explanation) => explained.push(Arc::new(explanation)),
                        Err(reason) => captions = Err(Failure::lasting(reason.to_string())),
                    }
                }
                found.push(Found { language: text.language, captions });
            }
            Written { answer: Answer::new(found), explained }
        };
        Ok((0..images.first().map_or(0, Vec::len)).map(&mut answer).collect())
    }

    /// What each text depends on, in words.
    pub(crate) fn describe(&self) -> String {
        let describe = |text: &Text| {
            let writer = &self.list[text.writer];
            let language = text.language.map_or_else(String::new, |language| format!("{language} by "));
            format!(
                "{language}{} in mplug {} at {} pixels, {:?}",
                writer.model,
                env!("CARGO_PKG_VERSION"),
                writer.image_size(),
                self.options[text.writer][text.index],
            )
        };
        self.texts.iter().map(describe).collect::<Vec<_>>().join("; ")
    }
}

/// Pictures that a model has looked at, and what it wrote about them.
struct Seen<'i> {
    images: &'i [RgbImage],
    pictures: Vec<EncodedPicture>,
    /// Of each picture, what each of the model's options gave.
    written: Vec<Vec<Captions>>,
}

impl Seen<'_> {
    fn take(&mut self, picture: usize, text: usize) -> Captions {
        std::mem::replace(&mut self.written[picture][text], Ok(Vec::new()))
    }

    fn explain(
        &self,
        captioner: &Captioner,
        picture: usize,
        caption: &Caption,
        resolved: &Resolved,
        how: &ExplainOptions,
    ) -> Result<Explained, NotANumber> {
        let explanation = captioner.explain(&self.pictures[picture], caption, resolved, how)?;
        Ok(Explained { image: self.images[picture].clone(), caption: caption.clone(), explanation })
    }
}

/// What was found for a picture.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) answer: Answer,
    /// Where captions are explained: the best in each language.
    pub(crate) explained: Vec<Arc<Explained>>,
}

/// A picture whose best caption was explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its pixels, as they were opened.
    pub image: RgbImage,
    /// The best caption.
    pub caption: Caption,
    /// Which part of the picture each of the caption's words stands on.
    pub explanation: Explanation,
}

/// The texts in the order of the languages, each once; where there is one, its record says no language.
fn in_order(all: Vec<Text>, languages: Languages) -> Result<Vec<Text>, BulkError> {
    let place = |text: &Text| languages.iter().position(|language| Some(language) == text.language);
    let mut places: Vec<Option<usize>> = all.iter().map(place).collect();
    places.sort_unstable();
    if !languages.are_several() && all.len() == 1 {
        return Ok(all.into_iter().map(|text| Text { language: None, ..text }).collect());
    }
    if !languages.are_several() || !places.into_iter().eq((0..languages.len()).map(Some)) {
        let expected = if languages.are_several() { languages.to_string() } else { "one text".to_owned() };
        let code = |text: &Text| text.language.map_or("no language", Language::code);
        let found = all.iter().map(code).collect::<Vec<_>>().join(",");
        return Err(BulkError::Writers { expected, found });
    }
    let mut all = all;
    all.sort_by_key(place);
    Ok(all)
}

/// Captions, where none is a failure too.
fn judged(captions: Captions) -> Result<Vec<Caption>, Failure> {
    match captions {
        Ok(captions) if captions.is_empty() => {
            Err(Failure::lasting(NO_CAPTION).with_remedy(Remedy::WiderSearch))
        }
        Ok(captions) => Ok(captions),
        Err(reason) => Err(Failure::lasting(reason.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_in_the_order_of_the_languages() {
        let texts = |languages: &[Option<Language>]| -> Vec<Text> {
            (0..).zip(languages).map(|(index, &language)| Text { language, writer: 0, index }).collect()
        };
        let (chinese, english) = (Some(Language::Chinese), Some(Language::English));
        let ordered = |found: &[Option<Language>], languages: &str| {
            let ordered = in_order(texts(found), languages.parse().unwrap_or_default());
            ordered.map(|texts| texts.iter().map(|text| (text.language, text.index)).collect::<Vec<_>>())
        };
        assert_eq!(ordered(&[None], "").unwrap(), [(None, 0)]);
        assert_eq!(ordered(&[english], "en").unwrap(), [(None, 0)]);
        assert_eq!(ordered(&[chinese, english], "en,zh").unwrap(), [(english, 1), (chinese, 0)]);
        for (found, languages) in [
            (&[][..], ""),
            (&[chinese, english], "zh"),
            (&[chinese], "zh,en"),
            (&[chinese, chinese], "zh,en"),
            (&[chinese, english, english], "zh,en"),
            (&[chinese, None], "zh,en"),
        ] {
            assert!(matches!(ordered(found, languages), Err(BulkError::Writers { .. })), "{found:?}");
        }
    }
}
