//! METEOR's statistics for lines of a file, in the form of the official jar's protocol, for comparison with it.
//!
//! Reads lines `SCORE ||| reference ||| … ||| candidate` from standard input and prints 23 numbers for each. Arguments:
//! the jar and a cache file for the paraphrase table, or `--without-resources`. Used by `reference/compare_meteor.py`.

use std::io::{BufRead, Write};
use std::path::Path;

use caption_metrics::meteor::{Meteor, MeteorData};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let data = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--without-resources"] => MeteorData::without_resources(),
        [jar, cache] => MeteorData::load(Path::new(jar), None, Some(Path::new(cache)))?,
        _ => return Err("usage: meteor_statistics (<jar> <cache> | --without-resources)".into()),
    };
    let meteor = Meteor::new(&data);
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut parts: Vec<&str> = line.split("|||").collect();
        let candidate = parts.pop().unwrap_or_default();
        writeln!(output, "{}", meteor.score(candidate, parts.get(1..).unwrap_or_default()))?;
    }
    Ok(output.flush()?)
}
