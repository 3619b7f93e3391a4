//! Curves for TensorBoard: an event file of scalars (records of TensorFlow's `tfrecord` framing around `Event` messages of
//! `event.proto`, of which four fields are needed).

use std::path::Path;

use chrono::{DateTime, Local};

use super::{Appended, Progress};
use crate::error::TrainError;

/// The version that readers expect first.
const VERSION: &[u8] = b"brain.Event:2";

/// Field numbers and wire types of the messages.
const EVENT_WALL_TIME: u8 = 1 << 3 | 1;
const EVENT_STEP: u8 = 2 << 3;
const EVENT_FILE_VERSION: u8 = 3 << 3 | 2;
const EVENT_SUMMARY: u8 = 5 << 3 | 2;
const SUMMARY_VALUE: u8 = 1 << 3 | 2;
const VALUE_TAG: u8 = 1 << 3 | 2;
const VALUE_SIMPLE: u8 = 2 << 3 | 5;

/// An event file.
pub(super) struct TensorBoard {
    file: Appended,
}

impl TensorBoard {
    /// A new file in the folder's `tensorboard`: TensorBoard joins the files of a run that was resumed.
    pub(super) fn open(folder: &Path, now: &DateTime<Local>) -> Result<Self, TrainError> {
        let folder = folder.join("tensorboard");
        std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder))?;
        let name = format!("events.out.tfevents.{}.mplug", now.timestamp());
        let mut board = Self { file: Appended::open(folder.join(name))? };
        let mut event = Vec::new();
        fixed_64(&mut event, EVENT_WALL_TIME, seconds(now));
        bytes(&mut event, EVENT_FILE_VERSION, VERSION);
        board.file.bytes(&record(&event))?;
        Ok(board)
    }

    pub(super) fn write(&mut self, event: &Progress, now: &DateTime<Local>) -> Result<(), TrainError> {
        let (step, scalars) = match event {
            Progress::Step(report) => {
                let mut scalars = vec![
                    ("train/loss".to_owned(), report.loss),
                    ("train/learning_rate".to_owned(), report.learning_rate),
                    ("train/gradient_norm".to_owned(), report.gradient_norm),
                    ("train/examples_per_second".to_owned(), report.examples_per_second),
                ];
                scalars.extend(report.parts.iter().map(|(name, value)| (format!("train/{name}"), *value)));
                scalars.extend(report.reward.map(|reward| ("train/reward".to_owned(), reward)));
                (report.step, scalars)
            }
            Progress::Evaluated { step, metrics, .. } => {
                let scalars = metrics.iter().map(|(name, value)| (format!("evaluation/{name}"), *value));
                (*step, scalars.collect())
            }
            _ => return Ok(()),
        };
        self.file.bytes(&record(&scalar_event(seconds(now), step, &scalars)))
    }
}

fn seconds(now: &DateTime<Local>) -> f64 {
    now.timestamp_micros() as f64 / 1e6
}

/// An event of scalars.
fn scalar_event(wall_time: f64, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut entry = Vec::new();
        bytes(&mut entry, VALUE_TAG, tag.as_bytes());
        entry.push(VALUE_SIMPLE);
        entry.extend((*value as f32).to_le_bytes());
        bytes(&mut summary, SUMMARY_VALUE, &entry);
    }
    let mut event = Vec::new();
    fixed_64(&mut event, EVENT_WALL_TIME, wall_time);
    event.push(EVENT_STEP);
    varint(&mut event, step);
    bytes(&mut event, EVENT_SUMMARY, &summary);
    event
}

fn fixed_64(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field);
    varint(out, value.len() as u64);
    out.extend(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A record: length, its checksum, the data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_checksum(&length), data, &masked_checksum(data)].concat()
}

/// TensorFlow masks checksums, so that data with checksums in it is no trap.
fn masked_checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_tensorflows() {
        // Written by TensorFlow's own writer for the payload "hello": length 5 and both checksums.
        let record = record(b"hello");
        assert_eq!(&record[..8], &5_u64.to_le_bytes());
        assert_eq!(record.len(), 8 + 4 + 5 + 4);
        // CRC-32C of "123456789" is the published check value e3069283.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_checksum(b"123456789"), 0xc78a_b0e5_u32.to_le_bytes());
    }

    #[test]
    fn an_event_is_the_protocol_buffer() {
        let event = scalar_event(1.0, 300, &[("a".to_owned(), 0.5)]);
        let expected = [
            &[9][..],
            &1.0_f64.to_le_bytes(),
            &[16, 0xac, 2],
            &[42, 10, 10, 8, 10, 1, b'a', 21, 0, 0, 0, 63],
        ];
        assert_eq!(event, expected.concat());
    }
}
