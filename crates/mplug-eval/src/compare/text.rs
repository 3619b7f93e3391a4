//! A comparison as text for people.

use std::io::{self, Write};

use mplug_data::message::one_line;
use serde_json::Value;

use super::result_comparison::{Different, FigureDifference, ResultComparison, Said};
use super::run_comparison::{RunComparison, RunFacts, RunValues};
use crate::chart::{grouped, number};
use crate::run_history::duration;

/// References that are shown of each picture.
const REFERENCES: usize = 3;

pub(super) fn results(found: &ResultComparison, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "A: {}\nB: {}", one_line(&found.a), one_line(&found.b))?;
    writeln!(to, "{}", facts(found))?;
    if !found.figures.is_empty() {
        writeln!(to)?;
        let has_bootstrap = found.figures.iter().any(|figure| figure.bootstrap.is_some());
        let width = found.figures.iter().map(|figure| figure.key.chars().count()).max().unwrap_or(0).max(18);
        let head = if has_bootstrap { "   95 % interval of B - A         p" } else { "" };
        writeln!(to, "{:<width$} {:>9} {:>9} {:>9}{head}", "", "A", "B", "B - A")?;
        found.figures.iter().try_for_each(|figure| row(figure, width, to))?;
    }
    if !found.not_in_both.is_empty() {
        writeln!(to, "in one of the two alone: {}", found.not_in_both.join(", "))?;
    }
    for note in notes(found) {
        writeln!(to, "note: {note}")?;
    }
    if let (Some(by), false) = (&found.by, found.most_different.is_empty()) {
        let count = found.most_different.len();
        writeln!(to, "\nthe {count} that differ most, by {by}:")?;
        found.most_different.iter().try_for_each(|one| different(one, to))?;
    }
    Ok(())
}

/// How many pictures, how many equal texts, which tokens.
pub(super) fn facts(found: &ResultComparison) -> String {
    if found.pictures == 0 {
        return "figures of two reports".to_owned();
    }
    let mut facts = format!(
        "{} in both, {} with equal texts",
        grouped(found.pictures as u64),
        grouped(found.equal_texts as u64)
    );
    if found.left_out > 0 {
        facts
            .push_str(&[", ", &grouped(found.left_out as u64), " left out, for they failed in one"].concat());
    }
    if let Some(tokens) = found.tokenization {
        facts.push_str(&["; tokens: ", tokens].concat());
    }
    facts
}

/// What a reader should know of the figures.
pub(super) fn notes(found: &ResultComparison) -> Vec<String> {
    let mut notes = Vec::new();
    if found.resamples > 0 {
        notes.push(format!(
            "paired bootstrap of {} resamples with seed {}: interval by percentiles (Koehn 2004), two-sided p as by \
             Berg-Kirkpatrick et al. 2012",
            grouped(found.resamples as u64),
            found.seed
        ));
    }
    let of_figures =
        found.figures.iter().filter_map(|one| Some(format!("{}: {}", one.key, one.note.as_ref()?)));
    notes.extend(of_figures);
    notes.extend(found.notes.iter().cloned());
    notes
}

fn row(figure: &FigureDifference, width: usize, to: &mut dyn Write) -> io::Result<()> {
    let FigureDifference { key, a, b, difference, bootstrap, .. } = figure;
    write!(to, "{key:<width$} {a:>9.4} {b:>9.4} {difference:>+9.4}")?;
    if let Some(found) = bootstrap {
        write!(to, "   {:>+9.4} to {:>+9.4}   {:>8.4}", found.low, found.high, found.p_value)?;
    }
    writeln!(to)
}

fn different(one: &Different, to: &mut dyn Write) -> io::Result<()> {
    let name = one.name.as_deref().unwrap_or(&one.id);
    writeln!(to, "  {}: {:+.3}", one_line(name), one.difference)?;
    if let Some(question) = &one.question {
        writeln!(to, "    question: {}", one_line(question))?;
    }
    let score = |said: &Said| said.score.map_or_else(String::new, |score| format!("  ({score:.3})"));
    writeln!(to, "    A: {}{}", one_line(&one.a.text), score(&one.a))?;
    writeln!(to, "    B: {}{}", one_line(&one.b.text), score(&one.b))?;
    let more = one.references.len().saturating_sub(REFERENCES);
    for reference in one.references.iter().take(REFERENCES) {
        writeln!(to, "    reference: {}", one_line(reference))?;
    }
    if more > 0 { writeln!(to, "    and {more} more references") } else { Ok(()) }
}

pub(super) fn runs(found: &RunComparison, to: &mut dyn Write) -> io::Result<()> {
    for (name, run) in [("A", &found.a), ("B", &found.b)] {
        writeln!(to, "{name}: {}", one_line(&run.path))?;
        writeln!(to, "   {}", in_short(run))?;
    }
    writeln!(to)?;
    match &found.settings[..] {
        [] => writeln!(to, "settings: the same")?,
        settings => {
            let width = settings.iter().map(|one| one.key.chars().count()).max().unwrap_or(0).max(18);
            writeln!(to, "{:<width$} {:>20} {:>20}", "settings", "A", "B")?;
            for one in settings {
                writeln!(to, "{:<width$} {:>20} {:>20}", one.key, setting(&one.a), setting(&one.b))?;
            }
        }
    }
    writeln!(to)?;
    writeln!(
        to,
        "{:<18} {:>20} {:>20} {:>20} {:>20}",
        "figures", "A best (step)", "B best (step)", "A last", "B last"
    )?;
    for figure in &found.figures {
        let [a, b] = [&figure.a, &figure.b].map(best);
        let [last_a, last_b] = [&figure.a, &figure.b].map(|values| value(values.last));
        writeln!(to, "{:<18} {a:>20} {b:>20} {last_a:>20} {last_b:>20}", figure.key)?;
    }
    found.notes.iter().try_for_each(|note| writeln!(to, "note: {note}"))?;
    if !found.samples.is_empty() {
        writeln!(to, "\nsamples of the last evaluations that differ:")?;
    }
    for sample in &found.samples {
        let [expected, a, b] = [&sample.expected, &sample.a, &sample.b].map(|text| one_line(text));
        writeln!(to, "  expected: {expected}\n    A: {a}\n    B: {b}")?;
    }
    Ok(())
}

/// A run in one line.
pub(super) fn in_short(run: &RunFacts) -> String {
    let mut facts = vec![
        format!("step {} of {}", grouped(run.step), grouped(run.steps)),
        format!("{} parameters", grouped(run.parameters)),
    ];
    if run.seconds > 0.0 {
        facts.push(duration(run.seconds));
    }
    if let Some(speed) = run.examples_per_second {
        facts.push(format!("{} examples/s", number(speed)));
    }
    if let Some(bytes) = run.peak_memory {
        facts.push(format!("{:.2} GB", bytes / 1e9));
    }
    if run.starts > 1 {
        facts.push(format!("{} starts", run.starts));
    }
    if run.skipped_steps > 0 {
        facts.push(format!("{} steps skipped", run.skipped_steps));
    }
    facts.join(", ")
}

pub(super) fn best(values: &RunValues) -> String {
    match (values.best, values.best_step) {
        (Some(best), Some(step)) => format!("{} ({step})", number(best)),
        _ => "-".to_owned(),
    }
}

pub(super) fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// A setting's value; a dash for none.
pub(super) fn setting(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => one_line(text),
        value => value.to_string(),
    }
}
