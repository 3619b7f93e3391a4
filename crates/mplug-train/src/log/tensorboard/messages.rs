//! The protocol buffers of event files, written field by field: `Event` and `Summary` of TensorFlow's `event.proto` and `summary.proto`,
//! `TensorProto` for tables of texts, and the plugin data of `hparams`.

use serde_json::{Map, Value};

/// The version that readers expect first.
const VERSION: &[u8] = b"brain.Event:2";
/// `DT_STRING` of `types.proto`.
const DT_STRING: u64 = 7;
/// `DataClass.DATA_CLASS_TENSOR`.
const TENSOR: u64 = 2;
/// `SessionLog.START`.
const START: u64 = 1;
/// `Image.colorspace` of red, green and blue.
const RGB: u64 = 3;
/// The largest text that goes into a table's cell.
const MAX_CELL: usize = 4096;

/// A message under construction.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u8, wire_type: u8) {
        self.0.push(field << 3 | wire_type);
    }

    fn number(mut self, field: u8, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn double(mut self, field: u8, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u8, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn text(self, field: u8, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u8, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// An `Event`: wall time 1, step 2, file version 3, summary 5, session log 7.
pub(super) struct Event(Message);

impl Event {
    /// The first one of a file.
    pub(super) fn version(wall_time: f64) -> Self {
        Self(Message::default().double(1, wall_time).bytes(3, VERSION))
    }

    /// From here on, what is known of `step` and later ones no longer counts.
    pub(super) fn start(wall_time: f64, step: u64) -> Self {
        let session = Message::default().number(1, START);
        Self(Message::default().double(1, wall_time).number(2, step).message(7, &session))
    }

    /// Values of a step.
    pub(super) fn summary(wall_time: f64, step: u64, summary: &Summary) -> Self {
        Self(Message::default().double(1, wall_time).number(2, step).message(5, &summary.0))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.0
    }
}

/// A `Summary`: values 1, each with tag 1, simple value 2, image 4, tensor 8, metadata 9.
#[derive(Default)]
pub(super) struct Summary(Message);

impl Summary {
    fn add(&mut self, value: &Message) {
        self.0 = std::mem::take(&mut self.0).message(1, value);
    }

    /// A number.
    pub(super) fn scalar(&mut self, tag: &str, value: f64) {
        self.add(&Message::default().text(1, tag).float(2, value as f32));
    }

    /// A picture as a JPEG, with its width and height.
    pub(super) fn image(&mut self, tag: &str, [width, height]: [u32; 2], jpeg: &[u8]) {
        let image = Message::default().number(1, u64::from(height)).number(2, u64::from(width));
        self.add(&Message::default().text(1, tag).message(4, &image.number(3, RGB).bytes(4, jpeg)));
    }

    /// A table of texts, whose first row is the head, as one text of Markdown: `SwanLab`'s reader fails on a tensor of several strings.
    /// A cell has no line end, and no bar that is not escaped.
    pub(super) fn table(&mut self, tag: &str, rows: &[Vec<String>]) {
        let mut lines: Vec<String> =
            rows.iter().map(|row| line(row.iter().map(|cell| shortened(cell)))).collect();
        let columns = rows.first().map_or(0, Vec::len);
        lines.insert(lines.len().min(1), line(std::iter::repeat_n("---", columns)));
        // A shape without dimensions: one text.
        let tensor = Message::default().number(1, DT_STRING).message(2, &Message::default());
        let tensor = tensor.text(8, &lines.join("\n"));
        self.add(&Message::default().text(1, tag).message(8, &tensor).message(9, &metadata("text", &[])));
    }

    /// The settings of a run for the `hparams` plugin: `SessionStartInfo` with a `google.protobuf.Value` for each.
    pub(super) fn hyper_parameters(&mut self, settings: &Map<String, Value>, start: f64) {
        let mut info = Message::default();
        for (key, value) in settings {
            let value = match value {
                Value::Bool(value) => Message::default().number(4, u64::from(*value)),
                Value::Number(value) => Message::default().double(2, value.as_f64().unwrap_or_default()),
                Value::String(value) => Message::default().text(3, value),
                value => Message::default().text(3, &value.to_string()),
            };
            info = info.message(1, &Message::default().text(1, key).message(2, &value));
        }
        let content = Message::default().message(3, &info.double(5, start));
        let metadata = metadata("hparams", &content.0);
        self.add(&Message::default().text(1, "_hparams_/session_start_info").message(9, &metadata));
    }
}

/// A line of a table of Markdown.
fn line<'c>(cells: impl Iterator<Item = &'c str>) -> String {
    cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |"))
}

fn shortened(cell: &str) -> &str {
    &cell[..cell.floor_char_boundary(MAX_CELL)]
}

/// A `SummaryMetadata`: plugin data 1 (name 1, content 2), data class 4.
fn metadata(plugin: &str, content: &[u8]) -> Message {
    let data = Message::default().text(1, plugin).bytes(2, content);
    Message::default().message(1, &data).number(4, TENSOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_one_text() {
        let mut summary = Summary::default();
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        summary.table("t", &[row("a", "b"), row("\\|", "\u{732b}")]);
        let text = "| a | b |\n| --- | --- |\n| \\| | \u{732b} |";
        let tensor = [&[8, 7, 18, 0, 66, text.len() as u8][..], text.as_bytes()].concat();
        let bytes = Event::summary(1.0, 1, &summary).bytes().to_vec();
        assert!(bytes.windows(tensor.len()).any(|window| window == tensor), "{bytes:?}");
        assert_eq!(shortened(&"\u{732b}".repeat(2000)).len(), 4095);
    }

    #[test]
    fn an_event_is_the_protocol_buffer() {
        let mut summary = Summary::default();
        summary.scalar("a", 0.5);
        let event = Event::summary(1.0, 300, &summary);
        let expected = [
            &[9][..],
            &1.0_f64.to_le_bytes(),
            &[16, 0xac, 2],
            &[42, 10, 10, 8, 10, 1, b'a', 21, 0, 0, 0, 63],
        ];
        assert_eq!(event.bytes(), expected.concat());
    }
}
