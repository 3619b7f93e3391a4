//! The report of a search among pictures and texts: as text for people, and as JSON whose form is fixed by a schema
//! ([`schema`](crate::report::schema)). Counts nothing.

use std::io::{self, Write};

use caption_metrics::retrieval::{Recall, RetrievalReport};
use schemars::JsonSchema;
use serde::Serialize;

/// The form of the JSON; raised whenever a key changes its meaning or goes.
const VERSION: u32 = 1;

/// How well pictures and texts find each other. Higher is better.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PairsReport {
    /// Version of this form.
    version: u32,
    /// Pictures that were searched among.
    images: usize,
    /// Texts that were searched among.
    texts: usize,
    /// Pictures that cannot be read; they and their texts are left out.
    pub failed: usize,
    /// How many candidates of each query, the best by contrast, the matching head ordered.
    rerank: usize,
    #[serde(flatten)]
    recalls: Recalls,
    /// What only drawn pictures have.
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<DrawnPairs>,
}

/// Recall both ways.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Recalls {
    /// Finding a text of a given picture.
    text_retrieval: Ranks,
    /// Finding the picture of a given text.
    image_retrieval: Ranks,
    /// The mean of the six.
    r_mean: f64,
}

/// Shares of queries, 0 to 1, whose best right answer is among the first 1, 5 and 10.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Ranks {
    /// First.
    r1: f64,
    /// Among the first five.
    r5: f64,
    /// Among the first ten.
    r10: f64,
}

/// Drawn pictures are often alike, so that a text may be true of several.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct DrawnPairs {
    /// The seed they are drawn with.
    pub synth_seed: u64,
    /// Texts that are true of another picture as well.
    pub texts_of_others: usize,
    /// Recall if every picture of which a text is true counts as its own.
    pub counting_others: Recalls,
}

impl From<Recall> for Ranks {
    fn from(recall: Recall) -> Self {
        Self { r1: recall.r1, r5: recall.r5, r10: recall.r10 }
    }
}

impl Recalls {
    /// Recall both ways, with its mean.
    pub fn of(report: RetrievalReport) -> Self {
        let (texts, images) = (report.text_retrieval, report.image_retrieval);
        let r_mean =
            [texts.r1, texts.r5, texts.r10, images.r1, images.r5, images.r10].iter().sum::<f64>() / 6.0;
        Self { text_retrieval: texts.into(), image_retrieval: images.into(), r_mean }
    }

    /// A line for each way, in per cent.
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{:<22} {:>7} {:>7} {:>7}", "per cent", "R@1", "R@5", "R@10")?;
        for (name, ranks) in
            [("text of a picture", self.text_retrieval), ("picture of a text", self.image_retrieval)]
        {
            let [r1, r5, r10] = [ranks.r1, ranks.r5, ranks.r10].map(|share| 100.0 * share);
            writeln!(to, "{name:<22} {r1:>7.1} {r5:>7.1} {r10:>7.1}")?;
        }
        writeln!(to, "{:<22} {:>7.1}", "mean", 100.0 * self.r_mean)
    }
}

impl PairsReport {
    /// The report of a search among `images` pictures and `texts` texts, of which `failed` pictures could not be read.
    pub fn new([images, texts]: [usize; 2], failed: usize, rerank: usize, recalls: Recalls) -> Self {
        Self { version: VERSION, images, texts, failed, rerank, recalls, drawn: None }
    }

    /// Adds what only drawn pictures have.
    #[must_use]
    pub fn with_drawn(self, drawn: DrawnPairs) -> Self {
        Self { drawn: Some(drawn), ..self }
    }

    /// The text form.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let how = match self.rerank {
            0 => "by contrast alone".to_owned(),
            rerank => format!("the best {rerank} of each ordered by the matching head"),
        };
        writeln!(to, "{} pictures, {} texts, {how}", self.images, self.texts)?;
        self.recalls.write_text(to)?;
        let Some(drawn) = &self.drawn else { return Ok(()) };
        writeln!(
            to,
            "{} of the texts are true of another drawn picture as well; if every such picture counts as right:",
            drawn.texts_of_others
        )?;
        drawn.counting_others.write_text(to)
    }
}
