//! METEOR of a file of images, with the time it takes.
//!
//! Arguments: the official jar, a cache file for the paraphrase table, and a text file with an image a line: candidate
//! and references, separated by tabs. Prints the corpus score, then seconds for loading the data and for scoring.

use std::path::Path;
use std::time::Instant;

use caption_metrics::meteor::{MeteorData, meteor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [jar, cache, images] = &arguments[..] else {
        return Err("usage: meteor_corpus <jar> <cache> <images.tsv>".into());
    };
    let (mut candidates, mut references) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(images)?.lines() {
        let mut captions = line.split('\t').map(str::to_owned);
        candidates.push(captions.next().unwrap_or_default());
        references.push(captions.collect::<Vec<_>>());
    }
    let start = Instant::now();
    let data = MeteorData::load(Path::new(jar), None, Some(Path::new(cache)))?;
    let loaded = Instant::now();
    let scores = meteor(&data, &candidates, &references)?;
    let (loading, scoring) = (loaded - start, loaded.elapsed());
    #[expect(clippy::print_stdout, reason = "an example prints")]
    {
        println!("{} {} over {} images", scores.label, scores.corpus, candidates.len());
        println!("loading {:.2} s, scoring {:.2} s", loading.as_secs_f64(), scoring.as_secs_f64());
    }
    Ok(())
}
