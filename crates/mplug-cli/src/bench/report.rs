//! What was measured at one precision, as text and as JSON.

use std::io::{self, Write};

use mplug_bulk::Record;
use serde::Serialize;

use super::measure::Seconds;

/// Pictures a second at one batch size.
#[derive(Serialize)]
pub(super) struct Throughput {
    pub(super) batch_size: usize,
    pub(super) value: f64,
}

/// Everything measured at one precision.
#[derive(Serialize)]
pub(super) struct Benchmark {
    pub(super) precision: String,
    pub(super) instruction_set: &'static str,
    pub(super) threads: usize,
    pub(super) image_size: usize,
    pub(super) num_beams: usize,
    pub(super) load_s: f64,
    pub(super) encoder_s: Seconds,
    /// Share of the machine's product rate, attention and everything else included.
    pub(super) encoder_share: f64,
    pub(super) cross_key_values_s: Seconds,
    pub(super) decode_step_s: Seconds,
    /// Share of the machine's memory bandwidth that the step's weights take.
    pub(super) decode_step_share: f64,
    pub(super) decode_step_10_rows_s: Seconds,
    pub(super) end_to_end_s: Seconds,
    pub(super) tokens: usize,
    pub(super) token_ids: Vec<u32>,
    pub(super) pictures_per_s: Vec<Throughput>,
    pub(super) product_rate: f64,
    pub(super) read_bandwidth: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_memory_bytes: Option<u64>,
}

impl Record for Benchmark {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} on {}, {} threads, {} px, {} beams, {} tokens",
            self.precision, self.instruction_set, self.threads, self.image_size, self.num_beams, self.tokens
        )?;
        let mut line = |name: &str, seconds: Seconds, note: String| {
            writeln!(
                to,
                "  {name:<26}{:>9.1} ms  ({:.1} to {:.1}){note}",
                1e3 * seconds.median,
                1e3 * seconds.min,
                1e3 * seconds.max
            )
        };
        let encoder =
            format!("  {:.0} % of {:.0} Gop/s", 100.0 * self.encoder_share, self.product_rate / 1e9);
        line("encoder", self.encoder_s, encoder)?;
        line("cross-attention keys", self.cross_key_values_s, String::new())?;
        let step =
            format!("  {:.0} % of {:.1} GB/s", 100.0 * self.decode_step_share, self.read_bandwidth / 1e9);
        line("decoder step, 5 rows", self.decode_step_s, step)?;
        line("decoder step, 10 rows", self.decode_step_10_rows_s, String::new())?;
        line("one picture, end to end", self.end_to_end_s, String::new())?;
        for throughput in &self.pictures_per_s {
            writeln!(to, "  batch of {:<16}{:>9.2} pictures/s", throughput.batch_size, throughput.value)?;
        }
        writeln!(to, "  loading the model {:>16.0} ms", 1e3 * self.load_s)?;
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(to, "  peak memory so far{:>16} MB", bytes / 1_000_000)?;
        }
        Ok(())
    }
}
