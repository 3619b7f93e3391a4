//! `--explain`: which part of the picture each word of a caption stands on, as a page or as a sheet.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use mplug::explain::{ExplainOptions, Heads, Method};
use mplug_bulk::{BulkPlan, Destination, Event, Explained};
use mplug_eval::explanation_page::{ExplainedPicture, ExplanationPage};
use mplug_eval::explanation_sheet;

use crate::{hint, report};

/// Most pictures on a page: each takes some 50 KB of it.
const MOST_PICTURES: usize = 100;

/// How captions are explained.
#[derive(Args, Debug)]
#[command(next_help_heading = "Explanation")]
pub(super) struct ExplainArgs {
    /// Write to FILE which part of the picture each word of the best caption stands on: a page (.html) of up to 100 pictures, or
    /// numbered tiles (.png) of one. FILE is complete when it appears, and replaces an existing one
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    explain: Option<PathBuf>,
    /// How to find out where a word stands
    #[arg(long, value_enum, default_value = "ablation", requires = "explain")]
    explain_method: MethodArg,
}

/// How it is found out where a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// Leave parts of the picture out and measure how much less likely the word becomes
    Ablation,
    /// Take the decoder's attention while it writes the word: faster, and less exact
    Attention,
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Sheet,
}

impl Kind {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("html" | "htm") => Ok(Self::Page),
            Some("png") => Ok(Self::Sheet),
            _ => bail!("`--explain`: expected a name that ends in .html or .png, found {}", path.display()),
        }
    }
}

impl ExplainArgs {
    /// Has the plan explain its captions, if that is requested, and opens the file at once: one that cannot be written is found before
    /// the work.
    pub(super) fn prepare(&self, plan: &mut BulkPlan) -> anyhow::Result<Option<Explaining>> {
        let Some(path) = &self.explain else { return Ok(None) };
        let kind = Kind::of(path)?;
        let languages = plan.style.languages;
        let inputs = plan.inputs_mut();
        let (most, what) = match kind {
            Kind::Page => (MOST_PICTURES, "a page of at most 100 pictures"),
            Kind::Sheet => (1, "one picture for a .png file, or a name that ends in .html"),
        };
        ensure!(
            kind == Kind::Page || !languages.are_several(),
            "`--explain`: expected one language for a .png file, or a name that ends in .html, found {languages}"
        );
        ensure!(inputs.len() <= most, "`--explain`: expected {what}, found {} pictures", inputs.len());
        let destination = Destination::file(path).map_err(hint::of_bulk)?;
        destination.refuse_inputs(inputs.iter().map(|input| input.path.as_path())).map_err(hint::of_bulk)?;
        let method = match self.explain_method {
            MethodArg::Ablation => Method::Ablation,
            MethodArg::Attention => Method::Attention(Heads::Mean),
        };
        plan.explain = Some(ExplainOptions { method, ..ExplainOptions::default() });
        let page =
            ExplanationPage { title: "What the words stand on".to_owned(), method, pictures: Vec::new() };
        Ok(Some(Explaining { path: path.clone(), destination, kind, page, sheet: None, problem: None }))
    }
}

/// An explanation in the making.
pub(super) struct Explaining {
    path: PathBuf,
    destination: Destination,
    kind: Kind,
    page: ExplanationPage,
    sheet: Option<Vec<u8>>,
    problem: Option<image::ImageError>,
}

impl Explaining {
    /// Keeps what an event says of a picture.
    pub(super) fn hear(&mut self, event: &Event<'_>) {
        let Event::Explained { path, explained } = event else { return };
        let Explained { image, caption, explanation } = explained;
        let kept = match self.kind {
            Kind::Page => {
                let picture = ExplainedPicture::new(
                    path.display().to_string(),
                    image,
                    caption.text.clone(),
                    explanation,
                );
                picture.map(|picture| self.page.pictures.push(picture))
            }
            Kind::Sheet => {
                let legend = explanation_sheet::legend(explanation);
                report::info(format!("{}: {legend}", self.path.display()));
                explanation_sheet::png(image, explanation).map(|png| self.sheet = Some(png))
            }
        };
        self.problem = self.problem.take().or(kept.err());
    }

    /// Writes the file; nothing where no picture has a caption.
    pub(super) fn write(mut self) -> anyhow::Result<()> {
        if let Some(problem) = self.problem {
            return Err(problem).with_context(|| self.path.display().to_string());
        }
        let bytes = match self.kind {
            Kind::Page if self.page.pictures.is_empty() => None,
            Kind::Page => Some(self.page.render().into_bytes()),
            Kind::Sheet => self.sheet,
        };
        let Some(bytes) = bytes else {
            report::message(format!("{}: not written: no picture has a caption", self.path.display()));
            return Ok(());
        };
        let mut write = || self.destination.write_with(|to| to.write_all(&bytes));
        write().and_then(|()| self.destination.finish()).map_err(hint::of_bulk)
    }
}
