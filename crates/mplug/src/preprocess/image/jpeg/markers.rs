//! The structure of a JPEG file: its markers from the start to the end of the image, without decoding any pixel.
//!
//! Source: ITU-T T.81, annex B, read as libjpeg reads it. The decoder finds its own way through a file; this walk is here to
//! say beforehand what a picture costs and to refuse, by name, what decoders read differently.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::super::ImageFault;
use super::Colours;

/// Most scans of a file: cjpeg's own limit for scan scripts. Each is a pass over all coefficients.
pub(super) const MAX_SCANS: usize = 100;
/// Most blocks of an interleaved unit, by the standard.
const MAX_BLOCKS_IN_UNIT: u64 = 10;
/// Coefficients that libjpeg predicts from neighbouring blocks where a file has not sent them.
const SMOOTHED_COEFFICIENTS: usize = 10;

/// Most bits that a progressive scan leaves to later ones.
const MAX_POINT_TRANSFORM: u8 = 13;

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const QUANTIZATION_TABLES: u8 = 0xDB;
const HUFFMAN_TABLES: u8 = 0xC4;
const ARITHMETIC_CONDITIONING: u8 = 0xCC;
const RESTART_INTERVAL: u8 = 0xDD;
const JFIF: u8 = 0xE0;
const EXIF: u8 = 0xE1;
const ADOBE: u8 = 0xEE;
const COMMENT: u8 = 0xFE;
const NUMBER_OF_LINES: u8 = 0xDC;
/// By the standard, until a file says otherwise.
const DEFAULT_CONDITIONING: [u8; 32] = [
    16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
    5, 5,
];
const EXIF_SIGNATURE: &[u8] = b"Exif\0\0";
const XMP_SIGNATURE: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What the markers say.
pub(super) struct Markers<'a> {
    pub(super) frame: Frame,
    /// The EXIF block before the first scan; of several, the first with the contents of the others behind it, as Pillow reads them.
    pub(super) exif: Option<Cow<'a, [u8]>>,
    /// The last XMP before the first scan.
    pub(super) xmp: Option<&'a [u8]>,
    /// The file without what decides no pixel: colour profiles, previews, comments, and whatever follows its end.
    pub(super) essential: Vec<u8>,
    /// Where each scan of a sequential file has one component of several: a gray file of each.
    pub(super) separate: Vec<Vec<u8>>,
    /// Samples that the scans pass over, all together.
    pub(super) scanned_samples: u64,
}

/// The frame header.
pub(super) struct Frame {
    pub(super) is_progressive: bool,
    is_arithmetic: bool,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: Vec<Component>,
}

/// One plane of samples.
pub(super) struct Component {
    id: u8,
    /// Blocks across and down in an interleaved unit.
    horizontal: u8,
    vertical: u8,
    quantization_table: u8,
    /// The table as it stood when the component's first scan began: libjpeg keeps that one.
    latched: Option<[u16; 64]>,
    /// Bits of each coefficient that the scans so far have left out; `None` where none has come.
    missing_bits: [Option<u8>; 64],
}

impl Frame {
    fn max_horizontal(&self) -> u8 {
        self.components.iter().map(|component| component.horizontal).max().unwrap_or(1)
    }

    fn max_vertical(&self) -> u8 {
        self.components.iter().map(|component| component.vertical).max().unwrap_or(1)
    }

    /// Interleaved units across and down.
    pub(super) fn units(&self) -> (u64, u64) {
        let across = u64::from(self.width).div_ceil(8 * u64::from(self.max_horizontal()));
        (across, u64::from(self.height).div_ceil(8 * u64::from(self.max_vertical())))
    }

    /// A component's own samples across and down.
    fn samples(&self, component: &Component) -> (u64, u64) {
        let part = |length: u16, factor: u8, max: u8| {
            (u64::from(length) * u64::from(factor)).div_ceil(u64::from(max))
        };
        (
            part(self.width, component.horizontal, self.max_horizontal()),
            part(self.height, component.vertical, self.max_vertical()),
        )
    }

    /// The units that a scan codes, and the blocks of each: interleaved ones of several components, or one block of one.
    fn size_of_scan(&self, scanned: &[usize]) -> (u64, u64) {
        if let [index] = *scanned {
            let (across, down) = self.samples(&self.components[index]);
            return (across.div_ceil(8) * down.div_ceil(8), 1);
        }
        let (across, down) = self.units();
        (across * down, scanned.iter().map(|&index| self.components[index].blocks()).sum())
    }

    /// The header of a file that has one component alone.
    fn gray_of(&self, index: usize) -> Vec<u8> {
        let component = &self.components[index];
        let (across, down) = self.samples(component);
        let [width, height] = [across as u16, down as u16].map(u16::to_be_bytes); // no more than the frame's
        let (start, size) = ([0xFF, 0xC1, 0, 11, 8], [height, width].concat());
        [&start[..], &size, &[1, component.id, 0x11, component.quantization_table]].concat()
    }
}

/// Walks a file from marker to marker, as far as the end of the image.
pub(super) fn read(bytes: &[u8], colours: Colours) -> Result<Markers<'_>, ImageFault> {
    if !bytes.starts_with(&[0xFF, START_OF_IMAGE]) {
        return Err(damaged("it does not begin as JPEG files do"));
    }
    let mut walk = Walk::new(bytes, colours);
    loop {
        let marker = walk.next_marker()?;
        match marker {
            END_OF_IMAGE => return walk.finish(),
            START_OF_SCAN => walk.scan()?,
            0xC0..=0xC2 | 0xC9 | 0xCA => walk.frame(marker)?,
            0xC3 | 0xCB => return Err(unsupported("it is lossless JPEG")),
            0xC5..=0xC7 | 0xCD..=0xCF | 0xDE | 0xDF => return Err(unsupported("it is hierarchical JPEG")),
            QUANTIZATION_TABLES => walk.quantization_tables()?,
            RESTART_INTERVAL => walk.restart_interval()?,
            HUFFMAN_TABLES => walk.keep(marker)?,
            ARITHMETIC_CONDITIONING => walk.arithmetic_conditioning()?,
            // The colours are settled when the first scan begins.
            JFIF | ADOBE if walk.scans == 0 && colours == Colours::OfFile => walk.keep(marker)?,
            EXIF => walk.exif()?,
            JFIF..=0xEF | COMMENT | NUMBER_OF_LINES => drop(walk.segment()?),
            _ => return Err(damaged(format!("marker 0x{marker:02X} stands where none may"))),
        }
    }
}

pub(super) fn unsupported(what: impl Into<String>) -> ImageFault {
    ImageFault::Unsupported { format: "JPEG", what: what.into() }
}

pub(super) fn damaged(what: impl Into<String>) -> ImageFault {
    ImageFault::Damaged { format: "JPEG", what: what.into() }
}

const TRUNCATED: ImageFault = ImageFault::Truncated { format: "JPEG" };

/// A 0xFF that stands before another byte.
struct Marker {
    start: usize,
    code: u8,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    quantization: [Option<[u16; 64]>; 4],
    /// Of 16 tables for mean levels, then of 16 for the other coefficients.
    conditioning: [u8; 32],
    restart_interval: u16,
    scans: usize,
    scanned_samples: u64,
    exif: Option<Cow<'a, [u8]>>,
    xmp: Option<&'a [u8]>,
    essential: Vec<u8>,
    /// The segments that hold tables, alone.
    tables: Vec<u8>,
    separate: Vec<Vec<u8>>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], colours: Colours) -> Self {
        let mut essential = Vec::with_capacity(bytes.len() + 16);
        essential.extend_from_slice(&[0xFF, START_OF_IMAGE]);
        if let Some(transform) = colours.adobe_transform() {
            essential.extend_from_slice(&[0xFF, ADOBE, 0, 14]);
            essential.extend_from_slice(b"Adobe\0\x64\0\0\0\0");
            essential.push(transform);
        }
        Self {
            bytes,
            at: 2,
            frame: None,
            quantization: [None; 4],
            conditioning: DEFAULT_CONDITIONING,
            restart_interval: 0,
            scans: 0,
            scanned_samples: 0,
            exif: None,
            xmp: None,
            essential,
            tables: Vec::new(),
            separate: Vec::new(),
        }
    }

    /// The next marker's code. What stands before it is skipped, as libjpeg does.
    fn next_marker(&mut self) -> Result<u8, ImageFault> {
        loop {
            match self.next_marker_in_data()?.code {
                0 => {}
                code => return Ok(code),
            }
        }
    }

    /// The next 0xFF, and the first byte after it that is another: 0 where it is data.
    fn next_marker_in_data(&mut self) -> Result<Marker, ImageFault> {
        let rest = self.bytes.get(self.at..).ok_or(TRUNCATED)?;
        let start = self.at + rest.iter().position(|&byte| byte == 0xFF).ok_or(TRUNCATED)?;
        let fill = self.bytes[start..].iter().position(|&byte| byte != 0xFF).ok_or(TRUNCATED)?;
        self.at = start + fill + 1;
        Ok(Marker { start, code: self.bytes[start + fill] })
    }

    /// The body of the segment that begins here; the walk goes on behind it.
    fn segment(&mut self) -> Result<&'a [u8], ImageFault> {
        let rest = self.bytes.get(self.at..).ok_or(TRUNCATED)?;
        let (length, body) = rest.split_first_chunk::<2>().ok_or(TRUNCATED)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let body_len =
            length.checked_sub(2).ok_or_else(|| damaged("a segment is shorter than its length"))?;
        self.at += length;
        body.get(..body_len).ok_or(TRUNCATED)
    }

    /// A segment that goes to the decoder.
    fn kept(&mut self, marker: u8) -> Result<&'a [u8], ImageFault> {
        let start = self.at;
        let body = self.segment()?;
        let segment = [&[0xFF, marker], &self.bytes[start..self.at]].concat();
        if matches!(marker, QUANTIZATION_TABLES | HUFFMAN_TABLES | RESTART_INTERVAL) {
            self.tables.extend_from_slice(&segment);
        }
        self.essential.extend_from_slice(&segment);
        Ok(body)
    }

    fn keep(&mut self, marker: u8) -> Result<(), ImageFault> {
        self.kept(marker).map(drop)
    }

    fn exif(&mut self) -> Result<(), ImageFault> {
        let body = self.segment()?;
        if self.scans > 0 {
            return Ok(());
        }
        if let Some(block) = body.strip_prefix(EXIF_SIGNATURE) {
            match &mut self.exif {
                Some(first) => first.to_mut().extend_from_slice(block),
                None => self.exif = Some(block.into()),
            }
        }
        self.xmp = body.strip_prefix(XMP_SIGNATURE).or(self.xmp);
        Ok(())
    }

    fn restart_interval(&mut self) -> Result<(), ImageFault> {
        let body = self.kept(RESTART_INTERVAL)?;
        let interval = body.try_into().map_err(|_| damaged("its restart interval is not of two bytes"))?;
        self.restart_interval = u16::from_be_bytes(interval);
        Ok(())
    }

    /// The decoder reads all scans by the last conditioning: it may not change once a scan has begun.
    fn arithmetic_conditioning(&mut self) -> Result<(), ImageFault> {
        let body = self.kept(ARITHMETIC_CONDITIONING)?;
        for pair in body.chunks_exact(2) {
            let [table, value] = [pair[0], pair[1]];
            let slot = self
                .conditioning
                .get_mut(usize::from(table))
                .ok_or_else(|| damaged(format!("arithmetic conditioning of table {table}, of 0 to 31")))?;
            if self.scans > 0 && *slot != value {
                return Err(unsupported("its arithmetic conditioning changes between scans"));
            }
            *slot = value;
        }
        Ok(())
    }

    fn quantization_tables(&mut self) -> Result<(), ImageFault> {
        let mut body = self.kept(QUANTIZATION_TABLES)?;
        while let Some((&kind, rest)) = body.split_first() {
            let (is_wide, slot) = (kind >> 4 != 0, usize::from(kind & 15));
            let (table, rest) = rest
                .split_at_checked(if is_wide { 128 } else { 64 })
                .ok_or_else(|| damaged("a quantization table is cut short"))?;
            let values: Vec<u16> = if is_wide {
                table.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
            } else {
                table.iter().map(|&value| u16::from(value)).collect()
            };
            let slot = self
                .quantization
                .get_mut(slot)
                .ok_or_else(|| damaged(format!("quantization table {slot}, of tables 0 to 3")))?;
            *slot = values.try_into().ok();
            body = rest;
        }
        Ok(())
    }

    fn frame(&mut self, marker: u8) -> Result<(), ImageFault> {
        let body = self.kept(marker)?;
        if self.frame.is_some() {
            return Err(damaged("it has two frame headers"));
        }
        let (header, components) =
            body.split_first_chunk::<6>().ok_or_else(|| damaged("its frame header is cut short"))?;
        let [bits, height_high, height_low, width_high, width_low, count] = *header;
        if bits != 8 {
            return Err(unsupported(format!("it has {bits} bits a sample, expected 8")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(format!("it has {count} components, expected 1, 3 or 4")));
        }
        if components.len() != usize::from(count) * 3 {
            return Err(damaged(format!(
                "its frame header has {} bytes for {count} components",
                components.len()
            )));
        }
        let frame = Frame {
            is_progressive: matches!(marker, 0xC2 | 0xCA),
            is_arithmetic: marker >= 0xC8,
            width: u16::from_be_bytes([width_high, width_low]),
            height: u16::from_be_bytes([height_high, height_low]),
            components: components.chunks_exact(3).map(|c| Component::new([c[0], c[1], c[2]])).collect(),
        };
        check_components(&frame.components)?;
        self.frame = Some(frame);
        Ok(())
    }

    /// A scan: its header, its coded data, its restart markers.
    fn scan(&mut self) -> Result<(), ImageFault> {
        let body = self.kept(START_OF_SCAN)?;
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(ImageFault::TooManyScans { limit: MAX_SCANS });
        }
        let frame = self.frame.as_mut().ok_or_else(|| damaged("a scan stands before the frame header"))?;
        let scanned = scanned_components(frame, body)?;
        let [first, last, bits] =
            body[body.len() - 3..].try_into().map_err(|_| damaged("a scan header is cut short"))?;
        if frame.is_progressive && !is_progressive_pass(first..=last, bits, scanned.len()) {
            return Err(damaged(format!(
                "a scan of coefficients {first} to {last}, bits 0x{bits:02X}, is no pass of a progressive file"
            )));
        }
        let range = if frame.is_progressive { usize::from(first)..=usize::from(last) } else { 0..=63 };
        for &index in &scanned {
            let component = &mut frame.components[index];
            component.latch(&self.quantization)?;
            // Two scans of one component are refinements in a progressive file, and else a fault of the file.
            if !frame.is_progressive && component.missing_bits[0].is_some() {
                return Err(damaged(format!("component {} is scanned twice", component.id)));
            }
            component.missing_bits[range.clone()].fill(Some(if frame.is_progressive {
                bits & 15
            } else {
                0
            }));
        }
        let is_separate = !frame.is_progressive && scanned.len() < frame.components.len();
        if frame.is_arithmetic && (self.restart_interval > 0 || is_separate) {
            // Damage there shows nowhere, and the decoder goes on otherwise than libjpeg.
            return Err(unsupported("its arithmetic coding is cut by restart markers or by component"));
        }
        let (units, blocks) = frame.size_of_scan(&scanned);
        self.scanned_samples += units * blocks * 64;
        let restarts = match u64::from(self.restart_interval) {
            0 => 0,
            interval => units.div_ceil(interval).saturating_sub(1),
        };
        let gray = is_separate.then(|| frame.gray_of(scanned[0]));
        let data = self.coded_data(restarts)?;
        if let Some(header) = gray {
            let selector = [0xFF, START_OF_SCAN, 0, 8, 1, body[1], body[2], 0, 63, 0];
            let end = [0xFF, END_OF_IMAGE];
            self.separate
                .push([&[0xFF, START_OF_IMAGE], &self.tables[..], &header, &selector, data, &end].concat());
        }
        Ok(())
    }

    /// Passes over coded data, whose restart markers must come in their order and number: where one is missing or doubled,
    /// decoders guess, each in its way.
    fn coded_data(&mut self, restarts: u64) -> Result<&'a [u8], ImageFault> {
        let start = self.at;
        let mut found = 0;
        let end = loop {
            let marker = self.next_marker_in_data()?;
            match marker.code {
                0 => {}
                // Some encoders write one more behind the last unit.
                code @ 0xD0..=0xD7 if u64::from(code - 0xD0) == found % 8 || found == restarts => found += 1,
                0xD0..=0xD7 => return Err(damaged("its restart markers are out of order")),
                _ => break marker.start,
            }
        };
        self.at = end;
        if found != restarts && found != restarts + 1 {
            return Err(damaged(format!("a scan has {found} restart markers, expected {restarts}")));
        }
        let data = &self.bytes[start..end];
        self.essential.extend_from_slice(data);
        Ok(data)
    }

    fn finish(mut self) -> Result<Markers<'a>, ImageFault> {
        self.essential.extend_from_slice(&[0xFF, END_OF_IMAGE]);
        let frame = self.frame.ok_or_else(|| damaged("it ends before its frame header"))?;
        for component in &frame.components {
            component.check_scans(&self.quantization)?;
        }
        let smoothed =
            |c: &Component| c.missing_bits[1..SMOOTHED_COEFFICIENTS].iter().any(|bits| *bits != Some(0));
        if frame.is_arithmetic && frame.components.iter().any(smoothed) {
            return Err(unsupported("its arithmetic scans leave out bits of the first coefficients"));
        }
        Ok(Markers {
            frame,
            exif: self.exif,
            xmp: self.xmp,
            essential: self.essential,
            separate: self.separate,
            scanned_samples: self.scanned_samples,
        })
    }
}

impl Component {
    fn new([id, sampling, quantization_table]: [u8; 3]) -> Self {
        let (horizontal, vertical) = (sampling >> 4, sampling & 15);
        Self { id, horizontal, vertical, quantization_table, latched: None, missing_bits: [None; 64] }
    }

    /// Blocks of an interleaved unit.
    pub(super) fn blocks(&self) -> u64 {
        u64::from(self.horizontal) * u64::from(self.vertical)
    }

    pub(super) fn sampling(&self) -> (u8, u8) {
        (self.horizontal, self.vertical)
    }

    fn latch(&mut self, tables: &[Option<[u16; 64]>; 4]) -> Result<(), ImageFault> {
        if self.latched.is_none() {
            self.latched = tables.get(usize::from(self.quantization_table)).copied().flatten();
        }
        match self.latched {
            Some(_) => Ok(()),
            None => Err(damaged(format!("component {} has no quantization table", self.id))),
        }
    }

    /// Every component must have come, and under the table that the decoder knows: the last of its number.
    fn check_scans(&self, tables: &[Option<[u16; 64]>; 4]) -> Result<(), ImageFault> {
        if self.missing_bits[0].is_none() {
            return Err(damaged(format!("no scan has the mean levels of component {}", self.id)));
        }
        if tables.get(usize::from(self.quantization_table)).copied().flatten() != self.latched {
            return Err(unsupported("its quantization tables change between scans"));
        }
        Ok(())
    }
}

fn check_components(components: &[Component]) -> Result<(), ImageFault> {
    let first = &components[0];
    for (index, component) in components.iter().enumerate() {
        if components[..index].iter().any(|other| other.id == component.id) {
            return Err(damaged(format!("two components have the id {}", component.id)));
        }
        let factors = [component.horizontal, component.vertical];
        if factors.iter().any(|factor| !(1..=4).contains(factor)) {
            return Err(damaged(format!("sampling factors {}x{}, of 1 to 4", factors[0], factors[1])));
        }
        if component.horizontal > first.horizontal || component.vertical > first.vertical {
            return Err(unsupported("its first component is sampled more coarsely than another"));
        }
        let divides = |whole: u8, part: u8| whole.is_multiple_of(part);
        if !divides(first.horizontal, component.horizontal) || !divides(first.vertical, component.vertical) {
            return Err(unsupported("its components are sampled at ratios that are no whole numbers"));
        }
    }
    // The decoder does not end the smoothing of subsampled colour where libjpeg does, if a fourth component follows.
    if components.len() == 4 && components.iter().any(|c| c.sampling() != first.sampling()) {
        return Err(unsupported("its four components (CMYK or YCCK) are not sampled alike"));
    }
    Ok(())
}

/// The indexes in the frame of the components that a scan header names.
fn scanned_components(frame: &Frame, body: &[u8]) -> Result<Vec<usize>, ImageFault> {
    let count = body.first().map_or(0, |&count| usize::from(count));
    if count == 0 || count > 4 || body.len() != 1 + 2 * count + 3 {
        return Err(damaged(format!("a scan header of {} bytes for {count} components", body.len())));
    }
    let mut scanned: Vec<usize> = Vec::with_capacity(count);
    for id in body[1..].chunks_exact(2).take(count).map(|selector| selector[0]) {
        let found = frame.components.iter().position(|component| component.id == id);
        match found {
            Some(index) if scanned.last().is_none_or(|&last| last < index) => scanned.push(index),
            _ => return Err(damaged(format!("a scan names component {id} where it may not"))),
        }
    }
    if !frame.is_progressive && count > 1 && count < frame.components.len() {
        return Err(unsupported(format!(
            "one of its scans has {count} of {} components",
            frame.components.len()
        )));
    }
    let blocks: u64 = scanned.iter().map(|&index| frame.components[index].blocks()).sum();
    if count > 1 && blocks > MAX_BLOCKS_IN_UNIT {
        return Err(damaged(format!("{blocks} blocks are interleaved, of at most {MAX_BLOCKS_IN_UNIT}")));
    }
    Ok(scanned)
}

/// Means of one or more components, or other coefficients of one; the first bits of them, or the next one bit.
fn is_progressive_pass(coefficients: RangeInclusive<u8>, bits: u8, components: usize) -> bool {
    let (first, last) = (*coefficients.start(), *coefficients.end());
    let (before, now) = (bits >> 4, bits & 15);
    let has_range = if first == 0 { last == 0 } else { (first..64).contains(&last) && components == 1 };
    has_range && now <= MAX_POINT_TRANSFORM && (before == 0 || before == now + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One gray block: start, a table, the frame, a scan whose coded data is `data`.
    fn gray(before_scan: &[u8], data: &[u8]) -> Vec<u8> {
        let mut file = vec![0xFF, START_OF_IMAGE, 0xFF, QUANTIZATION_TABLES, 0, 67, 0];
        file.extend([1; 64]);
        file.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        file.extend(before_scan);
        file.extend([0xFF, START_OF_SCAN, 0, 8, 1, 1, 0, 0, 63, 0]);
        file.extend(data);
        file
    }

    #[test]
    fn a_file_ends_with_its_marker_and_not_with_one_in_a_preview() {
        let preview = [0xFF, EXIF, 0, 6, 0xFF, START_OF_IMAGE, 0xFF, END_OF_IMAGE];
        let open = gray(&preview, &[7, 0xFF, 0, 9]);
        assert!(matches!(read(&open, Colours::OfFile), Err(ImageFault::Truncated { .. })));
        let closed = [&open[..], &[0xFF, END_OF_IMAGE, 1, 2, 3]].concat();
        let markers = read(&closed, Colours::OfFile).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!((markers.frame.width, markers.frame.height), (8, 8));
        // Neither the preview nor what follows the end goes to the decoder.
        assert_eq!(markers.essential, [&gray(&[], &[7, 0xFF, 0, 9])[..], &[0xFF, END_OF_IMAGE]].concat());
        assert_eq!(markers.scanned_samples, 64);
    }

    #[test]
    fn the_first_exif_block_counts_with_the_others_behind_it() {
        let block = |name: &[u8]| [&[0xFF, EXIF, 0, 8 + name.len() as u8], EXIF_SIGNATURE, name].concat();
        let other = [0xFF, EXIF, 0, 4, 1, 2];
        let segments = [&other[..], &block(b"first"), &block(b"second")].concat();
        let file = gray(&segments, &[0xFF, END_OF_IMAGE]);
        assert_eq!(
            read(&file, Colours::OfFile).unwrap_or_else(|fault| panic!("{fault}")).exif.as_deref(),
            Some(&b"firstsecond"[..])
        );
    }

    #[test]
    fn colours_that_a_tiff_prescribes_replace_those_of_the_file() {
        let jfif = [&[0xFF, JFIF, 0, 16][..], b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"].concat();
        let file = gray(&jfif, &[0xFF, END_OF_IMAGE]);
        let kept = |colours| read(&file, colours).unwrap_or_else(|fault| panic!("{fault}")).essential;
        let has = |essential: &[u8], word: &[u8]| essential.windows(word.len()).any(|window| window == word);
        assert!(has(&kept(Colours::OfFile), b"JFIF") && !has(&kept(Colours::OfFile), b"Adobe"));
        for (colours, transform) in [(Colours::Rgb, 0), (Colours::YCbCr, 1)] {
            let marker = [&[0xFF, ADOBE, 0, 14][..], b"Adobe\0\x64\0\0\0\0", &[transform]].concat();
            assert!(!has(&kept(colours), b"JFIF") && has(&kept(colours), &marker));
        }
    }
}
