//! The encodings of text files, by name, and the stream that turns any of them into UTF-8.
//!
//! A byte order mark wins over the stated encoding. Bytes that the encoding does not know become one [`MALFORMED`]
//! byte, which UTF-8 never has: the row that holds it is refused like any other row that is not UTF-8, and no
//! replacement character ever passes for data.

use std::fmt;
use std::io::{self, BufRead, Read};

/// Stands in the UTF-8 stream where the file had bytes that mean nothing in its encoding.
pub(super) const MALFORMED: u8 = 0xff;

/// What is decoded at a time.
const DECODED_BYTES: usize = 64 << 10;

/// The encoding of a text file; UTF-8 unless stated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TextEncoding(&'static encoding_rs::Encoding);

impl TextEncoding {
    /// UTF-8.
    pub const UTF_8: TextEncoding = TextEncoding(encoding_rs::UTF_8);

    /// The encoding of a name, in any case: the names of the WHATWG standard (`gb18030`, `gbk`, `big5`, `shift_jis`,
    /// `euc-kr`, `windows-1252`, `utf-16le` …) and PostgreSQL's (`UTF8`, `EUC_KR`, `WIN1252`, `LATIN1` …).
    ///
    /// ```
    /// use muster_engine::transfer::TextEncoding;
    /// assert_eq!(TextEncoding::named("GBK").unwrap().to_string(), "GBK");
    /// assert_eq!(TextEncoding::named("EUC_KR"), TextEncoding::named("euc-kr"));
    /// assert_eq!(TextEncoding::named("klingon"), None);
    /// ```
    pub fn named(name: &str) -> Option<TextEncoding> {
        let name = name.trim().to_ascii_lowercase();
        let dashed = match name.as_str() {
            "uhc" => "euc-kr".to_owned(),
            "euc_cn" => "gbk".to_owned(),
            "koi8" => "koi8-r".to_owned(),
            _ => match name.strip_prefix("win").filter(|digits| digits.parse::<u16>().is_ok()) {
                Some(page) => format!("windows-{page}"),
                None => name.replace('_', "-"),
            },
        };
        let found = [name.as_str(), dashed.as_str()]
            .into_iter()
            .find_map(|name| encoding_rs::Encoding::for_label_no_replacement(name.as_bytes()));
        found.map(TextEncoding)
    }

    /// The words in which a field with [`MALFORMED`] bytes is refused.
    pub(super) fn refusal(self) -> String {
        format!("holds bytes that are no {}", self.0.name())
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// A stream as UTF-8, its byte order mark passed over, and the encoding that it turned out to have.
///
/// UTF-8 is handed on as it is: whoever reads it checks it.
pub(super) fn as_utf8(
    mut raw: Box<dyn Read + Send>,
    stated: TextEncoding,
) -> io::Result<(Box<dyn Read + Send>, TextEncoding)> {
    let mut head = Vec::with_capacity(4);
    raw.by_ref().take(4).read_to_end(&mut head)?;
    let (encoding, mark_bytes) = match encoding_rs::Encoding::for_bom(&head) {
        Some((encoding, bytes)) => (TextEncoding(encoding), bytes),
        // GB18030's own mark.
        None if head == [0x84, 0x31, 0x95, 0x33] && stated.0 == encoding_rs::GB18030 => (stated, 4),
        None => (stated, 0),
    };
    let rest = io::Cursor::new(head.split_off(mark_bytes)).chain(raw);
    if encoding == TextEncoding::UTF_8 {
        return Ok((Box::new(rest), encoding));
    }
    let decoder = encoding.0.new_decoder_without_bom_handling();
    let source = io::BufReader::with_capacity(DECODED_BYTES, rest);
    let decoded = vec![0; DECODED_BYTES];
    Ok((Box::new(Decoding { source, decoder, decoded, start: 0, end: 0, at_end: false }), encoding))
}

/// Decodes a buffer at a time.
struct Decoding<R> {
    source: io::BufReader<R>,
    decoder: encoding_rs::Decoder,
    /// `decoded[start..end]` waits to be read.
    decoded: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
}

impl<R: Read> Decoding<R> {
    fn decode(&mut self) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        while self.end == 0 && !self.at_end {
            let bytes = self.source.fill_buf()?;
            let last = bytes.is_empty();
            // One byte of room is kept for the mark of what is malformed.
            let room = self.decoded.len() - 1;
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.decoded[..room], last);
            self.source.consume(read);
            self.end = written;
            match result {
                encoding_rs::DecoderResult::Malformed(..) => {
                    self.decoded[self.end] = MALFORMED;
                    self.end += 1;
                }
                encoding_rs::DecoderResult::InputEmpty => self.at_end = last,
                encoding_rs::DecoderResult::OutputFull => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            self.decode()?;
        }
        let count = into.len().min(self.end - self.start);
        into[..count].copy_from_slice(&self.decoded[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], stated: &str) -> (Vec<u8>, String) {
        let raw = Box::new(io::Cursor::new(bytes.to_vec()));
        let (mut text, encoding) = as_utf8(raw, TextEncoding::named(stated).unwrap()).unwrap();
        let mut all = Vec::new();
        text.read_to_end(&mut all).unwrap();
        (all, encoding.to_string())
    }

    #[test]
    fn marks_win_and_are_passed_over() {
        let utf8 = |text: &str| text.as_bytes().to_vec();
        assert_eq!(decoded(b"\xef\xbb\xbfa", "gbk"), (utf8("a"), "UTF-8".into()));
        assert_eq!(decoded(b"\xff\xfea\0\x1a\x4f", "utf8"), (utf8("a会"), "UTF-16LE".into()));
        assert_eq!(decoded(b"\xfe\xff\0a\x4f\x1a", "utf8"), (utf8("a会"), "UTF-16BE".into()));
        assert_eq!(decoded(b"\x84\x31\x95\x33a", "gb18030"), (utf8("a"), "gb18030".into()));
        assert_eq!(decoded(b"a\0", "utf-16le"), (utf8("a"), "UTF-16LE".into()));
        assert_eq!(decoded(b"", "gbk"), (utf8(""), "GBK".into()));
    }

    #[test]
    fn each_encoding_is_known_by_its_names() {
        for (name, bytes, text) in [
            ("GB18030", &b"\xbb\xe1\xd4\xb1"[..], "会员"),
            ("gbk", b"\xbb\xe1\xd4\xb1", "会员"),
            ("Big5", b"\xb7\x7c\xad\xfb", "會員"),
            ("SJIS", b"\x89\xef\x88\xf5", "会員"),
            ("EUC_JP", b"\xb2\xf1\xb0\xf7", "会員"),
            ("EUC_KR", b"\xc8\xb8\xbf\xf8", "회원"),
            ("UHC", b"\xc8\xb8\xbf\xf8", "회원"),
            ("WIN1252", b"K\xf6ln \x80", "Köln €"),
            ("latin1", b"K\xf6ln", "Köln"),
            ("WIN1251", b"\xcc\xee\xf1\xea\xe2\xe0", "Москва"),
        ] {
            assert_eq!(decoded(bytes, name).0, text.as_bytes(), "{name}");
        }
        assert!(
            ["klingon", "", "utf-7", "replacement"].iter().all(|name| TextEncoding::named(name).is_none())
        );
    }

    /// What is malformed is one byte that UTF-8 does not have, wherever the buffers end.
    #[test]
    fn malformed_bytes_are_marked() {
        assert_eq!(decoded(b"a\xff\xffb", "gbk").0, b"a\xff\xffb");
        assert_eq!(decoded(b"a\xbb", "gbk").0, b"a\xff");
        assert_eq!(decoded(b"\xff\xfea\0\0\xd8b\0c", "utf8").0, b"a\xffb\xff");
        let long =
            [vec![b'x'; 2 * DECODED_BYTES - 1], b"\xbb\xe1\xff".to_vec(), vec![b'y'; DECODED_BYTES]].concat();
        let expected =
            [vec![b'x'; 2 * DECODED_BYTES - 1], "会\u{0}".into(), vec![b'y'; DECODED_BYTES]].concat();
        let expected: Vec<u8> =
            expected.into_iter().map(|byte| if byte == 0 { MALFORMED } else { byte }).collect();
        assert!(decoded(&long, "gb18030").0 == expected);
    }
}
