//! The groups of options that several commands share. Nothing is looked up here.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use mplug::generate::GenerationOptions;
use mplug::generate::sampling::SamplingOptions;
use mplug::preprocess::image::{Background, ImageLimits};
use mplug::tasks::SearchRequest;

use crate::hint;
use crate::precision::PrecisionArg;

/// What is written to standard error.
#[derive(Args, Debug)]
#[command(next_help_heading = "Messages")]
pub(crate) struct MessageArgs {
    /// Leave out notes and progress; failures and warnings stay
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// How messages on standard error are written
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        env = "MPLUG_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for a person
    Text,
    /// A JSON object a line
    Json,
}

/// How the engine runs.
#[derive(Args, Debug)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// Number of threads. Affects speed, not results [default: one per core]
    #[arg(long, value_name = "N", env = "MPLUG_THREADS", value_parser = between::<1, 1024>)]
    pub(crate) threads: Option<usize>,
    /// Side in pixels of the square that pictures are resized to, a multiple of the patch size [default: the model's]
    #[arg(long, value_name = "N", env = "MPLUG_IMAGE_SIZE", value_parser = between::<1, 4096>)]
    pub(crate) image_size: Option<usize>,
    /// Number format of the matrix products [default: int8 if the weights are stored as int8, else f32]
    #[arg(long, value_enum, env = "MPLUG_PRECISION")]
    pub(crate) precision: Option<PrecisionArg>,
}

/// How much runs at once.
#[derive(Args, Debug)]
#[command(next_help_heading = "Engine")]
pub(crate) struct BatchArg {
    /// Number of inputs processed together. Affects speed and memory, not results
    #[arg(long, value_name = "N", env = "MPLUG_BATCH_SIZE", default_value = "4", value_parser = between::<1, 1024>)]
    pub(crate) batch_size: usize,
}

/// What a picture file may cost, and what is seen where it is transparent.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Largest number of pixels of a picture, such as 150M [default: 100 million]
    #[arg(long, value_name = "N", env = "MPLUG_MAX_PIXELS", value_parser = quantity)]
    max_pixels: Option<u64>,
    /// Largest size of a picture file in bytes, such as 500M or 1G [default: 256 MiB]
    #[arg(long, value_name = "N", env = "MPLUG_MAX_FILE_BYTES", value_parser = quantity)]
    max_file_bytes: Option<u64>,
    /// Lay transparent pictures over this colour: white, black, gray or #RRGGBB [default: drop alpha, as the original does]
    #[arg(long, value_name = "COLOUR", env = "MPLUG_BACKGROUND", help_heading = "Pictures")]
    background: Option<Background>,
}

impl LimitArgs {
    /// The limits meant: what was not typed is the library's default.
    pub(crate) fn limits(&self) -> ImageLimits {
        let default = ImageLimits::default();
        ImageLimits {
            max_pixels: self.max_pixels.unwrap_or(default.max_pixels),
            max_file_bytes: self.max_file_bytes.unwrap_or(default.max_file_bytes),
            background: self.background,
        }
    }
}

/// The search for the best sentence.
#[derive(Args, Debug)]
#[command(next_help_heading = "Generation")]
pub(crate) struct SearchArgs {
    /// Beam width of the beam search [default: the model's]
    #[arg(long, value_name = "N", value_parser = between::<1, 64>)]
    pub(crate) beams: Option<usize>,
    /// Largest number of generated tokens, including the end token [default: the model's]
    #[arg(long, value_name = "N", value_parser = between::<1, 1024>)]
    pub(crate) max_new_tokens: Option<usize>,
    /// Smallest number of generated tokens before the end token [default: the model's]
    #[arg(long, value_name = "N", value_parser = between::<0, 1024>)]
    pub(crate) min_new_tokens: Option<usize>,
}

impl SearchArgs {
    /// What was typed.
    pub(crate) fn request(&self) -> SearchRequest {
        let Self { beams, max_new_tokens, min_new_tokens } = *self;
        SearchRequest { beams, max_new_tokens, min_new_tokens }
    }

    /// The model's own options with what was typed in their place.
    ///
    /// # Errors
    /// When the shortest length is above the longest.
    pub(crate) fn options(&self, options: GenerationOptions) -> anyhow::Result<GenerationOptions> {
        self.request().resolve(options).map_err(hint::of_request)
    }
}

/// Drawing words by chance in place of the search.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Sample tokens at random by their probabilities instead of beam search
    #[arg(long, conflicts_with = "beams")]
    sample: bool,
    /// Sampling temperature: below 1 favours likely tokens, above 1 unlikely ones
    #[arg(long, value_name = "F", default_value = "1.0", requires = "sample", allow_negative_numbers = true, value_parser = above_zero)]
    temperature: f32,
    /// Sample from the N most likely tokens; 0 for all
    #[arg(long, value_name = "N", default_value = "10", requires = "sample")]
    top_k: usize,
    /// Sample from the most likely tokens whose probabilities sum to this value
    #[arg(long, value_name = "F", default_value = "1.0", requires = "sample", value_parser = share)]
    top_p: f32,
    /// Seed of the random numbers; the same seed gives the same captions
    #[arg(long, value_name = "N", default_value = "0", requires = "sample")]
    seed: u64,
}

impl SamplingArgs {
    /// The sampling meant, if any.
    pub(crate) fn options(&self) -> Option<SamplingOptions> {
        self.sample.then_some(SamplingOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        })
    }
}

/// `--model` of the commands that a demo model can serve.
#[derive(Args, Debug)]
pub(crate) struct OptionalModelArg {
    /// Model folder, a weight file in such a folder, or the name of a downloaded model [default: the built-in demo model]
    #[arg(long, short, value_name = "DIR|FILE|NAME", env = "MPLUG_MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// Folder of a LoRA adapter (PEFT's files) that was trained on the model
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) strict: StrictArg,
}

/// `--model` of a command that several models can serve together.
#[derive(Args, Debug)]
pub(crate) struct OptionalModelsArg {
    /// Model folder, a weight file in such a folder, or the name of a downloaded model; may be repeated for models of different
    /// languages [default: the built-in demo model]
    #[arg(long, short, value_name = "DIR|FILE|NAME", env = "MPLUG_MODEL")]
    pub(crate) model: Vec<PathBuf>,
    /// Folder of a LoRA adapter (PEFT's files) that was trained on the model; with several models one each, in their order
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) strict: StrictArg,
}

impl OptionalModelsArg {
    /// The adapter of each model.
    ///
    /// # Errors
    /// When some models have one and others have not.
    pub(crate) fn adapters(&self) -> anyhow::Result<Vec<Option<PathBuf>>> {
        let (models, found) = (self.model.len().max(1), self.adapter.len());
        anyhow::ensure!(
            found == 0 || found == models,
            "--adapter: expected one for each of {models} models, found {found}"
        );
        Ok((0..models).map(|number| self.adapter.get(number).cloned()).collect())
    }
}

/// What happens to a model with weights that it does not know.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct StrictArg {
    /// Fail instead of warning if the weights have unexpected tensors
    #[arg(long, env = "MPLUG_STRICT", value_parser = FalseyValueParser::new())]
    pub(crate) strict: bool,
}

/// A whole number from `MIN` to `MAX`, as clap wants its parsers.
pub(crate) fn between<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (MIN..=MAX).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {MIN} to {MAX}")),
    }
}

/// A whole number, which may be given in thousands, millions or billions (`150M`, `1.5G`), or in powers of 1024 (`256Mi`).
pub(crate) fn quantity(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("K", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    let wrong = || "expected a whole number, with K, M or G (or Ki, Mi, Gi) behind it if you like".to_owned();
    let plain = text
        .strip_suffix(['B', 'b'])
        .filter(|rest| !rest.ends_with(|c: char| c.is_ascii_digit()))
        .unwrap_or(text);
    let ends = |unit: &str| {
        let (number, end) = plain.split_at_checked(plain.len().checked_sub(unit.len())?)?;
        end.eq_ignore_ascii_case(unit).then_some(number)
    };
    let Some((number, unit)) = UNITS.iter().find_map(|(unit, times)| Some((ends(unit)?, *times))) else {
        return plain.parse().map_err(|_| wrong());
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |text: &str| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) || number.ends_with('.') {
        return Err(wrong());
    }
    let part_of = part.parse::<u64>().unwrap_or(0) * unit / 10_u64.pow(part.len() as u32);
    whole
        .parse::<u64>()
        .ok()
        .and_then(|whole| whole.checked_mul(unit)?.checked_add(part_of))
        .ok_or_else(wrong)
}

fn above_zero(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f32::is_finite(number) => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

pub(crate) fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1.0 => Ok(number),
        _ => Err("expected a number above 0, at most 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked_where_they_are_typed() {
        assert_eq!(between::<1, 64>("64"), Ok(64));
        for bad in ["0", "65", "-1", "1.5", "", "five", "99999999999999999999"] {
            assert!(between::<1, 64>(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "nan", "inf", "warm"] {
            assert!(above_zero(bad).is_err(), "{bad}");
        }
        for (text, expected) in [
            ("0", 0),
            ("123456", 123_456),
            ("150M", 150_000_000),
            ("1.5g", 1_500_000_000),
            ("256Mi", 256 << 20),
            ("1GiB", 1 << 30),
            ("20kb", 20_000),
            ("0.0005M", 500),
        ] {
            assert_eq!(quantity(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "M",
            "-1M",
            "1.M",
            ".5M",
            "1,5M",
            "150 M",
            "1e9",
            "5T",
            "5B",
            "99999999999G",
            "猫M",
            "1.1234567890M",
        ] {
            assert!(quantity(bad).is_err(), "{bad}");
        }
        assert_eq!(share("1"), Ok(1.0));
        assert!(share("1.01").is_err() && share("0").is_err());
    }
}
