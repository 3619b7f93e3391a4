//! `mplug caption`: pictures in, sentences out.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use mplug::{
    checkpoint::ModelFolder,
    config::Task,
    generate::GenerationOptions,
    preprocess::image::RgbImage,
    tasks::{Caption, Captioner},
};
use serde::Serialize;

use crate::{
    args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SamplingArgs, SearchArgs, between},
    inputs::{Input, Inputs, JsonPath},
    model,
    output::{OutputArgs, Record, RecordWriter},
    pictures::{self, PictureLoader},
    pool, precision,
    progress::Progress,
    report,
    status::Status,
};

/// Describe pictures
#[derive(Args, Debug)]
#[command(after_help = "\
Text: the caption alone for one file; lines of `path<TAB>caption` for several inputs, a folder or
a list. With --captions N each picture has N lines, best first, with the score before the caption:
`[path<TAB>]score<TAB>caption`. Line breaks and other control characters of names are escaped.
JSON: {\"path\", \"caption\", \"score\", \"token_ids\"} for each input, in input order, with \"captions\"
where --captions is given, or {\"path\", \"error\"}. A name that is not UTF-8 has U+FFFD for each bad
byte in \"path\", and its exact bytes in hexadecimal in \"path_bytes\".
Pictures of a folder: files ending in jpg, png, webp, gif, bmp or tiff, by name, hidden ones left out.

Examples:
  mplug caption photo.jpg
  mplug caption --model ./mplug_base_zh --captions 3 photo.jpg
  mplug caption photos/ --recursive --format jsonl --output captions.jsonl
  find . -name '*.png' -print0 | mplug caption - --batch-size 8")]
pub(crate) struct CaptionArgs {
    /// Picture files, folders of them, or `-` for a list of names on standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Look into the subfolders of folders too
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    output: OutputArgs,
    /// Text as the original spaces it, in place of joined Chinese
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArg,
    #[command(flatten)]
    search: SearchArgs,
    /// Captions for each picture, best first, with their scores; at most as many as beams
    #[arg(long, value_name = "N", help_heading = "Generation", value_parser = between::<1, 64>)]
    captions: Option<usize>,
    /// Language of the captions, for a model that writes several: `zh`, `en` [default: the model's first]
    #[arg(long, value_name = "CODE", help_heading = "Generation")]
    language: Option<String>,
    /// Begin every caption with TEXT
    #[arg(long, value_name = "TEXT", help_heading = "Generation")]
    prefix: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl CaptionArgs {
    /// What was typed, over the model's own settings.
    fn options(
        &self,
        folder: &ModelFolder,
        defaults: GenerationOptions,
    ) -> anyhow::Result<GenerationOptions> {
        let mut options = self.search.options(defaults)?;
        options.prompt = model::prompt(folder, self.language.as_deref())?;
        options.sampling = self.sampling.options();
        options.num_return_sequences = self.captions.unwrap_or(1);
        options.prefix.clone_from(&self.prefix);
        anyhow::ensure!(
            options.sampling.is_some() || options.num_return_sequences <= options.num_beams,
            "`--captions {}` needs `--beams {0}` or more; this run has {}",
            options.num_return_sequences,
            options.num_beams
        );
        Ok(options)
    }
}

/// Runs the command.
pub(crate) fn run(args: CaptionArgs) -> anyhow::Result<Status> {
    pool::run(args.engine.threads, move || CaptionRun::prepare(&args)?.run())
}

/// A run as meant: everything is found, opened and checked.
struct CaptionRun {
    inputs: Inputs,
    loader: PictureLoader,
    captioner: Captioner,
    options: GenerationOptions,
    batch_size: usize,
    style: Style,
    writer: RecordWriter,
}

impl CaptionRun {
    fn prepare(args: &CaptionArgs) -> anyhow::Result<Self> {
        let inputs = Inputs::collect(&args.inputs, args.recursive)?;
        let writer = RecordWriter::create(&args.output)?;
        writer.refuse_inputs(inputs.list.iter().map(|input| input.path.as_path()))?;
        let folder =
            model::open_or_demo(args.model.model.as_deref(), args.engine.image_size, Task::ImageCaptioning)?;
        let captioner =
            Captioner::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
        let options = args.options(&folder, captioner.default_options())?;
        let style = Style {
            is_raw: args.raw,
            has_path: !inputs.is_single_file,
            lists_captions: args.captions.is_some(),
        };
        let loader = PictureLoader {
            limits: args.limits.limits(),
            image_size: captioner.config().vision.image_size as u32,
        };
        Ok(Self { inputs, loader, captioner, options, batch_size: args.batch.batch_size, style, writer })
    }

    /// While one batch is captioned, the pictures of the next are opened and resized beside it.
    fn run(mut self) -> anyhow::Result<Status> {
        let list = std::mem::take(&mut self.inputs.list);
        let progress = Progress::new(list.len(), "pictures");
        let mut failed = 0;
        let mut batches = list.chunks(self.batch_size);
        let mut next = batches.next().map(|batch| (batch, self.loader.load_batch(batch)));
        while let Some((batch, loaded)) = next {
            let following = batches.next();
            let (captioner, options, loader) = (&self.captioner, &self.options, &self.loader);
            let (answers, prepared) = rayon::join(
                || answer(captioner, options, loaded),
                || following.map(|batch| (batch, loader.load_batch(batch))),
            );
            failed += self.write(batch, &answers?, &progress)?;
            progress.advance(batch.len());
            next = prepared;
        }
        self.writer.finish()?;
        if failed > 0 && list.len() > 1 {
            progress.message(&format!("{failed} of {} inputs failed", list.len()));
        }
        Ok(Status::of_failures(failed))
    }

    /// Writes the answers of one batch in its order; returns how many of it failed.
    fn write(
        &mut self,
        batch: &[Input],
        answers: &[Result<Vec<Caption>, String>],
        progress: &Progress,
    ) -> anyhow::Result<usize> {
        for (input, answer) in batch.iter().zip(answers) {
            if let Err(reason) = answer {
                progress.message(&report::about(&input.path, reason));
            }
        }
        progress.aside(self.writer.is_terminal(), || {
            for (input, answer) in batch.iter().zip(answers) {
                let outcome = answer.as_ref().map(Vec::as_slice);
                self.writer.write(&CaptionRecord::new(&input.path, outcome, self.style))?;
            }
            self.writer.flush()
        })?;
        Ok(answers.iter().filter(|answer| answer.is_err()).count())
    }
}

/// The captions of each picture of a batch, or why there is none.
fn answer(
    captioner: &Captioner,
    options: &GenerationOptions,
    loaded: Vec<Result<RgbImage, String>>,
) -> anyhow::Result<Vec<Result<Vec<Caption>, String>>> {
    let (images, places) = pictures::split(loaded);
    let mut captions =
        if images.is_empty() { Vec::new() } else { captioner.caption_batch(&images, options)? };
    Ok(places.into_iter().map(|place| place.map(|place| std::mem::take(&mut captions[place]))).collect())
}

/// What of a caption is shown.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// The original's spaced text.
    is_raw: bool,
    /// Whether text lines begin with the path.
    has_path: bool,
    /// Whether every caption found is listed, or the best alone is told.
    lists_captions: bool,
}

/// One picture's answer.
#[derive(Serialize)]
struct CaptionRecord {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(skip)]
    text_path: Option<String>,
    #[serde(flatten)]
    best: Option<CaptionEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captions: Option<Vec<CaptionEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One caption.
#[derive(Clone, Serialize)]
struct CaptionEntry {
    caption: String,
    score: f32,
    token_ids: Vec<u32>,
}

impl CaptionRecord {
    fn new(path: &Path, outcome: Result<&[Caption], &String>, style: Style) -> Self {
        let text_path = style.has_path.then(|| report::one_line(&path.to_string_lossy()));
        let mut record = Self { path: path.into(), text_path, best: None, captions: None, error: None };
        match outcome {
            Ok(captions) => {
                let entries: Vec<_> =
                    captions.iter().map(|caption| CaptionEntry::new(caption, style)).collect();
                record.best = entries.first().cloned();
                record.captions = style.lists_captions.then_some(entries);
            }
            Err(reason) => record.error = Some(report::one_line(reason)),
        }
        record
    }
}

impl CaptionEntry {
    fn new(caption: &Caption, style: Style) -> Self {
        let text = if style.is_raw { &caption.raw_text } else { &caption.text };
        Self { caption: text.clone(), score: caption.score, token_ids: caption.token_ids.clone() }
    }
}

impl Record for CaptionRecord {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let path = self.text_path.as_ref().map_or_else(String::new, |path| format!("{path}\t"));
        match (&self.captions, &self.best) {
            (Some(entries), _) => entries
                .iter()
                .try_for_each(|entry| writeln!(to, "{path}{:.4}\t{}", entry.score, entry.caption)),
            (None, Some(entry)) => writeln!(to, "{path}{}", entry.caption),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions() -> Vec<Caption> {
        ["一 只 猫", "两 只 猫"]
            .into_iter()
            .zip([-0.5, -0.75])
            .map(|(raw, score)| Caption {
                text: raw.replace(' ', ""),
                raw_text: raw.to_owned(),
                score,
                token_ids: vec![7, 102],
            })
            .collect()
    }

    fn text(record: &CaptionRecord) -> String {
        let mut bytes = Vec::new();
        record.write_text(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    const ALONE: Style = Style { is_raw: false, has_path: false, lists_captions: false };

    #[test]
    fn text_lines() {
        let (path, captions) = (Path::new("a\nb.jpg"), captions());
        assert_eq!(text(&CaptionRecord::new(path, Ok(&captions), ALONE)), "一只猫\n");
        let raw = Style { is_raw: true, has_path: true, ..ALONE };
        assert_eq!(text(&CaptionRecord::new(path, Ok(&captions), raw)), "a\\nb.jpg\t一 只 猫\n");
        let all = Style { lists_captions: true, ..ALONE };
        assert_eq!(text(&CaptionRecord::new(path, Ok(&captions), all)), "-0.5000\t一只猫\n-0.7500\t两只猫\n");
        assert_eq!(text(&CaptionRecord::new(path, Err(&"broken".to_owned()), ALONE)), "");
    }

    #[test]
    fn json_objects() {
        let (path, captions) = (Path::new("a\nb.jpg"), captions());
        let json = |record: &CaptionRecord| serde_json::to_string(record).unwrap();
        let best = r#"{"path":"a\nb.jpg","caption":"一只猫","score":-0.5,"token_ids":[7,102]}"#;
        assert_eq!(json(&CaptionRecord::new(path, Ok(&captions), ALONE)), best);
        let all = json(&CaptionRecord::new(path, Ok(&captions), Style { lists_captions: true, ..ALONE }));
        let list = r#","captions":[{"caption":"一只猫","score":-0.5,"token_ids":[7,102]},{"caption":"两只猫","score":-0.75,"token_ids":[7,102]}]}"#;
        assert_eq!(all, format!("{}{list}", &best[..best.len() - 1]));
        let failed = json(&CaptionRecord::new(path, Err(&"empty file".to_owned()), ALONE));
        assert_eq!(failed, r#"{"path":"a\nb.jpg","error":"empty file"}"#);
    }
}
