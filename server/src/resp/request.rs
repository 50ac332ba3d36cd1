//! Requests: arrays of bulk strings, or a line of words (for people with telnet).
//!
//! A request is read in one pass however it arrives in pieces; it is used where it lies, or kept without a copy. What breaks a limit is refused at the
//! length that says so, before the bytes it announces are waited for.

use bytes::{Buf, Bytes, BytesMut};
use std::ops::Range;

/// The longest line: the head of an array or of a text, or an inline command. Redis's.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The first byte of a client that speaks TLS: the kind of the record that begins a handshake.
pub(crate) const TLS_HANDSHAKE: u8 = 0x16;

/// How much a client may send at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Words of a request.
    pub(crate) arguments: usize,
    /// Bytes of one word.
    pub(crate) argument_bytes: usize,
    /// Bytes of a request.
    pub(crate) request_bytes: usize,
}

impl Limits {
    /// Of clients that have not said who they are; Redis's.
    pub(crate) const BEFORE_AUTH: Limits =
        Limits { arguments: 10, argument_bytes: 16 * 1024, request_bytes: 64 * 1024 };
}

/// Bytes that are no request. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError(pub(crate) String);

impl ProtocolError {
    fn new(what: &str) -> ProtocolError {
        ProtocolError(format!("Protocol error: {what}"))
    }
}

/// The words of a request: the command's name, then its arguments. They lie where they arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'b> {
    bytes: &'b [u8],
    places: &'b [Range<usize>],
}

impl<'b> Words<'b> {
    pub(crate) fn len(self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(self, at: usize) -> Option<&'b [u8]> {
        self.places.get(at).map(|place| &self.bytes[place.clone()])
    }

    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = &'b [u8]> + Clone {
        self.places.iter().map(move |place| &self.bytes[place.clone()])
    }

    /// The words from one on.
    pub(crate) fn from(self, at: usize) -> Words<'b> {
        Words { places: self.places.get(at..).unwrap_or_default(), ..self }
    }
}

/// A request that outlives what arrives after it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Bytes,
    places: Vec<Range<usize>>,
}

impl Request {
    /// How long it is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn words(&self) -> Words<'_> {
        Words { bytes: &self.bytes, places: &self.places }
    }
}

/// Takes bytes as they arrive and gives requests.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What has arrived, from the first byte of the request that was given last on.
    pub(crate) buffer: BytesMut,
    /// The words of a request that are whole.
    places: Vec<Range<usize>>,
    /// How many are still to come; `None` before the head of an array.
    missing: Option<usize>,
    /// The bytes of the next word, where its head is read.
    length: Option<usize>,
    /// Where the next line or word begins.
    at: usize,
    /// Bytes after `at` known to have no end of line.
    scanned: usize,
    /// The bytes of the request that was given last; they go when the next one is asked for.
    given: usize,
    /// Its words without their quotes, where it was a line.
    line: Option<BytesMut>,
    /// What was found wrong, once and for all.
    failed: Option<ProtocolError>,
}

impl Decoder {
    /// True where a request has begun and not ended.
    pub(crate) fn is_midway(&self) -> bool {
        self.buffer.len() > self.given
    }

    /// The next whole request, if it has arrived. Limits are those of this moment: they grow when a client says who it is.
    pub(crate) fn next(&mut self, limits: &Limits) -> Result<Option<Words<'_>>, ProtocolError> {
        self.forget();
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.read(limits) {
            Ok(whole) => Ok(whole.then(|| self.last())),
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The request that was given last.
    pub(crate) fn last(&self) -> Words<'_> {
        Words { bytes: self.line.as_ref().unwrap_or(&self.buffer), places: &self.places }
    }

    /// The request that was given last, to be kept. Nothing of it is copied.
    pub(crate) fn keep(&mut self) -> Request {
        let bytes = match self.line.take() {
            Some(line) => line.freeze(),
            None => self.buffer.split_to(std::mem::take(&mut self.given)).freeze(),
        };
        Request { bytes, places: std::mem::take(&mut self.places) }
    }

    /// Keeps no memory for a client that says nothing.
    pub(crate) fn rest(&mut self) {
        self.forget();
        if self.buffer.is_empty() {
            (self.buffer, self.places) = (BytesMut::new(), Vec::new());
        }
    }

    fn forget(&mut self) {
        if self.given > 0 {
            self.buffer.advance(self.given);
            self.places.clear();
            (self.given, self.line) = (0, None);
        }
    }

    /// Reads on in what has arrived; true where a request is whole.
    fn read(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        loop {
            if self.missing.is_none() && self.at == 0 {
                match self.buffer.first() {
                    None => return Ok(false),
                    Some(b'*') => {}
                    // Nobody types this: it begins a handshake, whose end of line would be waited for in vain.
                    Some(&TLS_HANDSHAKE) => return Err(ProtocolError::new("this server speaks no TLS")),
                    Some(_) => match self.inline(limits)? {
                        Line::Request => return Ok(true),
                        Line::Nothing => continue,
                        Line::Unfinished => return Ok(false),
                    },
                }
            }
            let Some(missing) = self.missing else {
                let Some(count) = self.head(b'*', "multibulk")? else { return Ok(false) };
                let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
                    self.buffer.advance(self.at);
                    self.begin();
                    continue;
                };
                if count > limits.arguments {
                    return Err(match limits.arguments == Limits::BEFORE_AUTH.arguments {
                        true => ProtocolError::new("unauthenticated multibulk length"),
                        false => ProtocolError::new("invalid multibulk length"),
                    });
                }
                self.missing = Some(count);
                continue;
            };
            if missing == 0 {
                self.given = self.at;
                self.begin();
                return Ok(true);
            }
            let Some(length) = self.length else {
                let Some(length) = self.head(b'$', "bulk")? else { return Ok(false) };
                let length =
                    usize::try_from(length).map_err(|_| ProtocolError::new("invalid bulk length"))?;
                if length > limits.argument_bytes || self.at.saturating_add(length) > limits.request_bytes {
                    return Err(match limits.arguments == Limits::BEFORE_AUTH.arguments {
                        true => ProtocolError::new("unauthenticated bulk length"),
                        false => ProtocolError::new("invalid bulk length"),
                    });
                }
                self.length = Some(length);
                continue;
            };
            let Some(end) = self.buffer.get(self.at + length..self.at + length + 2) else { return Ok(false) };
            if end != b"\r\n" {
                return Err(ProtocolError::new("a bulk string is longer than it says"));
            }
            self.places.push(self.at..self.at + length);
            self.at += length + 2;
            (self.length, self.missing) = (None, Some(missing - 1));
        }
    }

    /// A number behind `sign` and before the end of its line; `None` where the line has not ended yet.
    fn head(&mut self, sign: u8, what: &str) -> Result<Option<i64>, ProtocolError> {
        if let Some(found) = self.buffer.get(self.at).filter(|found| **found != sign) {
            let found = char::from(*found).escape_default();
            return Err(ProtocolError(format!(
                "Protocol error: expected '{}', got '{found}'",
                char::from(sign)
            )));
        }
        let too_long = if sign == b'*' { "too big mbulk count string" } else { "too big bulk count string" };
        let Some(line) = self.line(too_long)? else { return Ok(None) };
        let bytes = &self.buffer[line.clone()];
        let number = bytes.strip_suffix(b"\r").and_then(|line| line.get(1..)).and_then(integer);
        self.at = line.end + 1;
        number.map(Some).ok_or_else(|| ProtocolError(format!("Protocol error: invalid {what} length")))
    }

    /// The line that begins at `at`, without its line feed.
    fn line(&mut self, too_long: &str) -> Result<Option<Range<usize>>, ProtocolError> {
        let from = self.at + self.scanned;
        let end = self.buffer[from..].iter().position(|byte| *byte == b'\n');
        let length = self.scanned + end.unwrap_or(self.buffer.len() - from);
        if length > LINE_BYTES_MAX {
            return Err(ProtocolError::new(too_long));
        }
        self.scanned = if end.is_some() { 0 } else { length };
        Ok(end.map(|_| self.at..self.at + length))
    }

    fn inline(&mut self, limits: &Limits) -> Result<Line, ProtocolError> {
        let Some(line) = self.line("too big inline request")? else { return Ok(Line::Unfinished) };
        let words = split(&self.buffer[line.clone()])
            .ok_or_else(|| ProtocolError::new("unbalanced quotes in request"))?;
        if words.is_empty() {
            self.buffer.advance(line.end + 1);
            return Ok(Line::Nothing);
        }
        if words.len() > limits.arguments || words.iter().any(|word| word.len() > limits.argument_bytes) {
            return Err(ProtocolError::new("too big inline request"));
        }
        let mut bytes = BytesMut::new();
        for word in words {
            self.places.push(bytes.len()..bytes.len() + word.len());
            bytes.extend_from_slice(&word);
        }
        (self.given, self.line) = (line.end + 1, Some(bytes));
        Ok(Line::Request)
    }

    /// A request begins with the next byte.
    fn begin(&mut self) {
        (self.at, self.scanned, self.missing, self.length) = (0, 0, None, None);
    }
}

enum Line {
    Request,
    Nothing,
    Unfinished,
}

/// A decimal as RESP writes it: no plus, no leading zeros, no spaces.
fn integer(digits: &[u8]) -> Option<i64> {
    let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
    let is_plain = !unsigned.is_empty() && unsigned.iter().all(u8::is_ascii_digit);
    if !is_plain || (unsigned[0] == b'0' && digits != b"0") {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The words of a line as redis-cli and telnet users write them; `None` where a quote has no end, or something behind it.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = rest.first().copied().filter(|byte| !byte.is_ascii_whitespace()) {
            rest = &rest[1..];
            if byte != b'"' && byte != b'\'' {
                word.push(byte);
                continue;
            }
            loop {
                let quoted = *rest.first()?;
                rest = &rest[1..];
                if quoted == byte {
                    break;
                }
                if quoted == b'\\' && (byte == b'"' || rest.first() == Some(&b'\'')) {
                    let escaped = *rest.first()?;
                    let hex = rest.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok());
                    let hex = hex
                        .filter(|hex| escaped == b'x' && hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
                    if let Some(code) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                        word.push(code);
                        rest = &rest[3..];
                        continue;
                    }
                    rest = &rest[1..];
                    word.push(match escaped {
                        b'n' if byte == b'"' => b'\n',
                        b'r' if byte == b'"' => b'\r',
                        b't' if byte == b'"' => b'\t',
                        other => other,
                    });
                    continue;
                }
                word.push(quoted);
            }
            if rest.first().is_some_and(|after| !after.is_ascii_whitespace()) {
                return None;
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { arguments: 1_000, argument_bytes: 1 << 20, request_bytes: 1 << 21 };

    /// All requests of some bytes, given in pieces of so many.
    fn decoded(bytes: &[u8], piece: usize, limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
        let (mut decoder, mut requests) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            decoder.buffer.extend_from_slice(piece);
            loop {
                match decoder.next(limits) {
                    Ok(Some(words)) => requests.push(words.iter().map(<[u8]>::to_vec).collect()),
                    Ok(None) => break,
                    Err(ProtocolError(error)) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    #[test]
    fn requests_come_in_pieces_of_every_size() {
        let bytes = b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\nbc\r\n\r\nPING \"a b\" c\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\nset 'it\\'s' \"\\x41\\n\"\n";
        let expected: Vec<Vec<&[u8]>> = vec![
            vec![b"ECHO", b"a\r\nbc"],
            vec![b"PING", b"a b", b"c"],
            vec![b""],
            vec![b"set", b"it's", b"A\n"],
        ];
        for piece in 1..bytes.len() {
            let (requests, error) = decoded(bytes, piece, &LIMITS);
            assert_eq!((requests.len(), error), (4, None), "pieces of {piece}");
            assert!(requests.iter().zip(&expected).all(|(request, expected)| request == expected));
        }
    }

    #[test]
    fn what_is_no_request_is_said_as_redis_says_it() {
        for (bytes, error) in [
            (&b"*1\r\n*1\r\n"[..], "expected '$', got '*'"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*1\n", "invalid multibulk length"),
            (b"*1001\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\n", "invalid bulk length"),
            (b"*1\r\n$1048577\r\n", "invalid bulk length"),
            (b"*1\r\n$4\r\nPINGxx", "a bulk string is longer than it says"),
            (b"\"a\"b\r\n", "unbalanced quotes in request"),
            (b"'a\r\n", "unbalanced quotes in request"),
        ] {
            for piece in [1, bytes.len()] {
                let (requests, found) = decoded(bytes, piece, &LIMITS);
                assert_eq!((requests.len(), found), (0, Some(format!("Protocol error: {error}"))));
            }
        }
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(decoded(&long, 999, &LIMITS).1.as_deref(), Some("Protocol error: too big inline request"));
        let strangers = decoded(b"*11\r\n", 9, &Limits::BEFORE_AUTH).1;
        assert_eq!(strangers.as_deref(), Some("Protocol error: unauthenticated multibulk length"));
        let whole = b"*2\r\n$1048576\r\n";
        assert_eq!(decoded(whole, 99, &LIMITS), (vec![], None), "waits for what is within the limits");
    }

    #[test]
    fn what_is_kept_outlives_what_comes_after_it() {
        let mut decoder = Decoder::default();
        decoder.buffer.extend_from_slice(b"*1\r\n$1\r\na\r\nb 'c d'\r\n*2\r\n$1\r\ne\r\n$0\r\n\r\n*x");
        let mut kept = Vec::new();
        while let Ok(Some(_)) = decoder.next(&LIMITS) {
            kept.push(decoder.keep());
        }
        let words = |request: &Request| request.words().iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(words(&kept[0]), [b"a"]);
        assert_eq!(words(&kept[1]), [&b"b"[..], b"c d"]);
        assert_eq!(words(&kept[2]), [&b"e"[..], b""]);
        // What is wrong stays wrong, whatever comes.
        decoder.buffer.extend_from_slice(b"1\r\n$4\r\nPING\r\n");
        let again = decoder.next(&LIMITS).unwrap_err();
        assert_eq!(decoder.next(&LIMITS).unwrap_err(), again);
    }
}
