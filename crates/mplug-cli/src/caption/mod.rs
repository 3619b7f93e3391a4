//! `mplug caption`: pictures in, sentences out. This file has what can be typed and joins the parts: `answers` opens and captions,
//! `journal` keeps what was done, `record`, `output` and `sidecar` tell it; `parquet` is both an input and an output.

mod answers;
mod journal;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet.rs"]
mod parquet;
mod record;
mod run;
mod sidecar;
#[cfg(feature = "jieba")]
mod tags;
#[cfg(not(feature = "jieba"))]
#[path = "no_tags.rs"]
mod tags;

use std::{ops::Range, path::PathBuf};

use clap::{Args, ValueEnum};
use mplug::{checkpoint::ModelFolder, generate::GenerationOptions};

use self::output::CaptionOutputArgs;
use crate::{
    args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SamplingArgs, SearchArgs, between, share},
    model, pool,
    status::Status,
    web::WebArgs,
};

/// Describe pictures
#[derive(Args, Debug)]
#[command(after_help = "\
Text: the caption alone for one file; lines of `path<TAB>caption` for several inputs, a folder, an
archive or a list. With --captions N each picture has N lines, best first, with the score before the caption:
`[path<TAB>]score<TAB>caption`. Line breaks and other control characters of names are escaped.
JSON: {\"path\", \"caption\", \"score\", \"token_ids\"} for each input, in input order, with \"captions\"
where --captions is given and \"tags\" where --tags is, or {\"path\", \"error\"}. A name that is not UTF-8 has U+FFFD for each bad
byte in \"path\", and its exact bytes in hexadecimal in \"path_bytes\".
Pictures of a folder: files ending in jpg, png, webp, gif, bmp or tiff, by name, hidden ones left out.
Of a zip: the same by name; of a tar (WebDataset): in its order. Files with the same bytes are captioned
once. Of a .parquet (builds with the feature parquet): its rows, named FILE.parquet/0 and so on; the column
of --image-column holds files' bytes, paths from the file's folder, or both ({bytes, path}).
Parquet (--format parquet --output FILE), the same columns whatever was captioned: path string, path_bytes
binary, caption string, score float, token_ids list<uint32>, captions list<struct<caption string, score
float, token_ids list<uint32>>> (null without --captions), error string; all but path may be null.
With --output, answers are kept in FILE.part until the end: a run that was stopped goes on with
--resume. Where a failure passes (a server that is down, too many open files), FILE.part stays and
--resume tries that input again. --shard I/N takes the I-th of N parts (from 0): the parts' lines behind
each other are the whole. Exit code: 0, or 1 where inputs failed; with FILE.part gone the part is finished.

Examples:
  mplug caption photo.jpg
  mplug caption --model ./mplug_base_zh --captions 3 photo.jpg
  mplug caption photos/ --recursive --format jsonl --output captions.jsonl
  find . -name '*.png' -print0 | mplug caption - --batch-size 8
  mplug caption shards/*.tar --shard 3/64 --format jsonl --output captions.3.jsonl --resume
  mplug caption photos/ -r --format sidecar --on-existing append
  mplug caption --allow-urls https://example.org/cat.jpg")]
pub(crate) struct CaptionArgs {
    /// Picture files, folders, zip or tar archives of them, Parquet files, patterns, web addresses (--allow-urls), or `-` for a list of
    /// such names on standard input
    #[arg(required_unless_present = "dataset", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Caption the pictures of an annotation file (COCO and every other format of `mplug eval`)
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "inputs")]
    dataset: Option<PathBuf>,
    /// Where its pictures are: a folder, a zip or a tar [default: the annotation file's folder]
    #[arg(long, value_name = "DIR|ZIP|TAR", requires = "dataset")]
    images: Option<PathBuf>,
    /// The column of Parquet files that holds the pictures [default: image, or the first that is there of img, picture, photo, jpg,
    /// jpeg, png, webp, image_bytes, bytes, image_path, file_name, filename, path]
    #[arg(long, value_name = "NAME", conflicts_with = "dataset")]
    image_column: Option<String>,
    /// Look into the subfolders of folders too
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    output: CaptionOutputArgs,
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
    /// Keep WORD, or several in a row, out of every caption; can be given again
    #[arg(long, value_name = "WORD", help_heading = "Generation")]
    forbid: Vec<String>,
    /// Bring WORD, or several in a row, into every caption; can be given again
    #[arg(long, value_name = "WORD", help_heading = "Generation", conflicts_with = "sample")]
    include: Vec<String>,
    /// Of --captions, leave out those that differ from a better one in less than this share of their tokens [without a share: 0.3]
    #[arg(long, value_name = "SHARE", help_heading = "Generation", requires = "captions", value_parser = share,
        num_args = 0..=1, require_equals = true, default_missing_value = "0.3")]
    diverse: Option<f32>,
    /// Add up to N keywords, weighted by the scores of the captions that have them [without N: 10]
    #[arg(long, value_name = "N", help_heading = "Generation", value_parser = between::<1, 1000>,
        num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    tags: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Caption the I-th of N parts of the inputs, I from 0
    #[arg(long, value_name = "I/N", value_parser = shard, help_heading = "Bulk")]
    shard: Option<Shard>,
    /// What a picture that fails does to the run
    #[arg(long, value_enum, default_value = "skip", help_heading = "Bulk")]
    errors: OnError,
    #[command(flatten)]
    web: WebArgs,
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
        // Keywords are those of every caption that the search found.
        let found = if self.tags.is_some() && options.sampling.is_none() { options.num_beams } else { 1 };
        options.num_return_sequences = self.captions.unwrap_or(1).max(found);
        options.prefix.clone_from(&self.prefix);
        options.forbidden_words.clone_from(&self.forbid);
        options.required_words.clone_from(&self.include);
        options.min_difference = self.diverse.unwrap_or(0.0);
        anyhow::ensure!(
            options.sampling.is_some() || options.num_return_sequences <= options.num_beams,
            "`--captions {}` needs `--beams {0}` or more; this run has {}",
            options.num_return_sequences,
            options.num_beams
        );
        Ok(options)
    }
}

/// A part of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    number: usize,
    count: usize,
}

impl Shard {
    /// The part of `len` inputs: neighbours, so that the parts' outputs behind each other are the whole output.
    fn range(self, len: usize) -> Range<usize> {
        let end = |number: usize| (len as u128 * number as u128 / self.count as u128) as usize;
        end(self.number)..end(self.number + 1)
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parsed = text.split_once('/').and_then(|(number, count)| {
        Some(Shard { number: number.trim().parse().ok()?, count: count.trim().parse().ok()? })
    });
    match parsed {
        Some(shard) if shard.number < shard.count => Ok(shard),
        _ => Err("I/N is wanted, I from 0 to N - 1, such as 0/3".to_owned()),
    }
}

/// What a picture that fails does to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// It is named, and the others go on
    Skip,
    /// The run ends there; with --output it can be resumed
    Fail,
}

/// Runs the command.
pub(crate) fn run(args: CaptionArgs) -> anyhow::Result<Status> {
    args.output.check()?;
    args.tags.map_or(Ok(()), |_| tags::check())?;
    pool::run(args.engine.threads, move || run::CaptionRun::prepare(&args)?.run())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_neighbours_and_make_the_whole() {
        for len in [0, 1, 7, 10_050] {
            for count in [1, 3, 64] {
                let ranges: Vec<_> = (0..count).map(|number| Shard { number, count }.range(len)).collect();
                assert_eq!((ranges[0].start, ranges[count - 1].end), (0, len));
                assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
                let (least, most) = (len / count, len.div_ceil(count));
                assert!(ranges.iter().all(|range| (least..=most).contains(&range.len())));
            }
        }
        assert_eq!(shard("2/3"), Ok(Shard { number: 2, count: 3 }));
        assert!(["3/3", "-1/3", "1", "a/b", "0/0"].iter().all(|text| shard(text).is_err()));
    }
}
