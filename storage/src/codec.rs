//! The one door to bincode: how the bodies of small metadata files become bytes and values again.
//!
//! Integers are little-endian with fixed widths, sequences carry a u64 length, options a tag byte. These bytes are
//! part of the file format: a golden test holds them still, and another encoder that writes the same may take
//! bincode's place.
//!
//! Decoding is bounded: no more than [`DECODED_BYTES_MAX`] are taken for one value, whatever its lengths claim, and
//! bytes left over are an error. Neither checks that the bytes are the ones written; [`crate::frame`] does. Columns,
//! bitmaps and anything large or read in place do not come through here.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::de::read::Reader;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

/// The most bytes that decoding one value may claim.
pub const DECODED_BYTES_MAX: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<DECODED_BYTES_MAX>> =
    bincode::config::legacy().with_limit::<DECODED_BYTES_MAX>();

/// Why bytes did not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: expected {expected}, found {found}")]
pub struct CodecError {
    /// Where in the bytes decoding stopped.
    pub offset: u64,
    /// What should have come there.
    pub expected: String,
    /// What came.
    pub found: String,
}

/// The bytes of a value.
///
/// Whether they decode again is up to the caller where a value may be large: see [`DECODED_BYTES_MAX`].
///
/// # Panics
/// When a type's own `Encode` fails. Those of this workspace do not.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, CONFIG)
        .expect("memory takes every byte and no type here refuses to be encoded")
}

/// The value of bytes that hold it and nothing more.
///
/// # Errors
/// With the offset at which the bytes end early, carry on too long, or say what no value says.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = Rest(bytes);
    let decoded = bincode::decode_from_reader::<T, _, _>(&mut rest, CONFIG);
    let offset = (bytes.len() - rest.0.len()) as u64;
    match decoded {
        Ok(value) if rest.0.is_empty() => Ok(value),
        Ok(_) => Err(CodecError {
            offset,
            expected: "the end".to_owned(),
            found: format!("{} more bytes", rest.0.len()),
        }),
        Err(error) => {
            Err(CodecError { offset, expected: format!("a {}", short_name::<T>()), found: describe(&error) })
        }
    }
}

/// A reader that shows how far decoding came, which bincode's own does not.
struct Rest<'a>(&'a [u8]);

impl Reader for Rest<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), DecodeError> {
        let Some((taken, rest)) = self.0.split_at_checked(into.len()) else {
            return Err(DecodeError::UnexpectedEnd { additional: into.len() - self.0.len() });
        };
        into.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

fn describe(error: &DecodeError) -> String {
    match error {
        DecodeError::UnexpectedEnd { additional } => format!("the end, {additional} bytes early"),
        DecodeError::LimitExceeded => format!("a length beyond {DECODED_BYTES_MAX} bytes"),
        DecodeError::OtherString(said) => said.clone(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Sample {
        small: u16,
        signed: i32,
        large: u64,
        text: String,
        bytes: Vec<u8>,
        present: Option<u32>,
        absent: Option<u32>,
        yes: bool,
        pair: (u8, i64),
    }

    fn sample() -> Sample {
        Sample {
            small: 0x0102,
            signed: -2,
            large: 0x0102_0304_0506_0708,
            text: "né".to_owned(),
            bytes: vec![9, 8],
            present: Some(7),
            absent: None,
            yes: true,
            pair: (5, -1),
        }
    }

    /// These bytes are in people's files. If this test fails, the encoder changed, not the test.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        0x02, 0x01,
        0xfe, 0xff, 0xff, 0xff,
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
        3, 0, 0, 0, 0, 0, 0, 0, b'n', 0xc3, 0xa9,
        2, 0, 0, 0, 0, 0, 0, 0, 9, 8,
        1, 7, 0, 0, 0,
        0,
        1,
        5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];

    #[test]
    fn the_bytes_are_golden() {
        assert_eq!(encode(&sample()), GOLDEN);
        assert_eq!(decode::<Sample>(GOLDEN).unwrap(), sample());
    }

    #[test]
    fn a_truncation_is_an_error_at_its_place() {
        for length in 0..GOLDEN.len() {
            let error = decode::<Sample>(&GOLDEN[..length]).unwrap_err();
            assert!(error.offset <= length as u64, "{error}");
            assert!(error.to_string().contains("the end"), "{error}");
        }
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut bytes = GOLDEN.to_vec();
        bytes.push(0);
        let error = decode::<Sample>(&bytes).unwrap_err();
        assert_eq!(error.offset, GOLDEN.len() as u64);
        assert_eq!(error.found, "1 more bytes");
    }

    #[test]
    fn a_length_out_of_all_proportion_takes_no_memory() {
        for claimed in [u64::MAX, 1 << 40, DECODED_BYTES_MAX as u64 + 1] {
            let error = decode::<Vec<u64>>(&claimed.to_le_bytes()).unwrap_err();
            assert!(error.found.contains("beyond"), "{error}");
        }
    }
}
