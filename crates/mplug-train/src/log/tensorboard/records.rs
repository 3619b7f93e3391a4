//! TensorFlow's `tfrecord` framing: length, its checksum, the data, its checksum.

/// A record around `data`.
pub(super) fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_checksum(&length), data, &masked_checksum(data)].concat()
}

/// TensorFlow masks checksums, so that data with checksums in it is no trap.
fn masked_checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The data of every record of a file.
///
/// # Panics
/// If a record is not whole or a checksum does not hold.
#[cfg(test)]
pub(super) fn read_all(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        assert_eq!(bytes[8..12], masked_checksum(&bytes[..8]), "the checksum of a length");
        let data = &bytes[12..12 + length];
        assert_eq!(bytes[12 + length..16 + length], masked_checksum(data), "the checksum of a record");
        found.push(data.to_vec());
        bytes = &bytes[16 + length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_tensorflows() {
        let record = record(b"hello");
        assert_eq!(&record[..8], &5_u64.to_le_bytes());
        assert_eq!(record.len(), 8 + 4 + 5 + 4);
        // CRC-32C of "123456789" is the published check value e3069283.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_checksum(b"123456789"), 0xc78a_b0e5_u32.to_le_bytes());
        assert_eq!(read_all(&record), [b"hello"]);
    }
}
