//! Replies, in the version of the protocol that the client speaks.

use bytes::BytesMut;
use redis_protocol::resp2;
use redis_protocol::resp3;
use redis_protocol::resp3::types::VerbatimStringFormat;

/// The longest error. Messages name what was sent, which may be megabytes; clients read them as a line.
const ERROR_BYTES_MAX: usize = 4 * 1024;

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Texts, integers, arrays and errors.
    Resp2,
    /// Maps, sets, doubles, booleans and pushes beside them.
    Resp3,
}

/// Replies of one connection that are not sent yet.
///
/// A reply is a scalar, or the head of an array and as many replies as it says.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: BytesMut,
    pub(crate) protocol: Protocol,
    /// The last error that was replied; who counts errors takes it.
    pub(crate) error: Option<String>,
}

impl Reply {
    pub(crate) fn new() -> Reply {
        Reply { bytes: BytesMut::new(), protocol: Protocol::Resp2, error: None }
    }

    fn is_3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// `+OK`
    pub(crate) fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A word of ours, without line ends.
    pub(crate) fn simple(&mut self, word: &str) {
        self.put_2(&resp2::types::BorrowedFrame::SimpleString(word.as_bytes()));
    }

    /// An error: a code in capitals and a sentence. Line ends become spaces, as they would end it; a long one is cut.
    pub(crate) fn error(&mut self, code: &str, message: &str) {
        let end = message.floor_char_boundary(ERROR_BYTES_MAX);
        let more = if end < message.len() { "…" } else { "" };
        let text = format!("{code} {}{more}", &message[..end]).replace(['\r', '\n'], " ");
        self.put_2(&resp2::types::BorrowedFrame::Error(&text));
        self.error = Some(text);
    }

    pub(crate) fn integer(&mut self, number: i64) {
        match number {
            0 => self.bytes.extend_from_slice(b":0\r\n"),
            1 => self.bytes.extend_from_slice(b":1\r\n"),
            number => self.put_2(&resp2::types::BorrowedFrame::Integer(number)),
        }
    }

    /// Bytes.
    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        self.put_2(&resp2::types::BorrowedFrame::BulkString(bytes));
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend_from_slice(if self.is_3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A DOUBLE PRECISION: a text for RESP2, and where it is no number, as common clients refuse that.
    pub(crate) fn double(&mut self, number: f64) {
        if self.is_3() && !number.is_nan() {
            self.put_3(&resp3::types::BorrowedFrame::Double { data: number, attributes: None });
        } else {
            self.bulk(number.to_string().as_bytes());
        }
    }

    /// `#t` and `#f`; 1 and 0 for RESP2.
    pub(crate) fn boolean(&mut self, truth: bool) {
        if self.is_3() {
            self.put_3(&resp3::types::BorrowedFrame::Boolean { data: truth, attributes: None });
        } else {
            self.integer(i64::from(truth));
        }
    }

    /// A text that is to be shown as it is, of several lines.
    pub(crate) fn verbatim(&mut self, text: &str) {
        if self.is_3() {
            let format = VerbatimStringFormat::Text;
            self.put_3(&resp3::types::BorrowedFrame::VerbatimString {
                data: text.as_bytes(),
                format,
                attributes: None,
            });
        } else {
            self.bulk(text.as_bytes());
        }
    }

    /// The head of so many replies.
    pub(crate) fn array(&mut self, count: usize) {
        self.head(b'*', count);
    }

    /// The head of so many pairs; a flat array for RESP2.
    pub(crate) fn map(&mut self, pairs: usize) {
        if self.is_3() { self.head(b'%', pairs) } else { self.head(b'*', 2 * pairs) }
    }

    /// The head of a set; an array for RESP2.
    pub(crate) fn set(&mut self, count: usize) {
        self.head(if self.is_3() { b'~' } else { b'*' }, count);
    }

    /// The head of news that answer no request; an array for RESP2.
    pub(crate) fn push(&mut self, count: usize) {
        self.head(if self.is_3() { b'>' } else { b'*' }, count);
    }

    fn head(&mut self, sign: u8, count: usize) {
        self.bytes.extend_from_slice(&[sign]);
        self.bytes.extend_from_slice(count.to_string().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn put_2(&mut self, frame: &resp2::types::BorrowedFrame<'_>) {
        let put = resp2::encode::extend_encode_borrowed(&mut self.bytes, frame, false);
        debug_assert!(put.is_ok(), "a buffer that grows holds every frame");
    }

    fn put_3(&mut self, frame: &resp3::types::BorrowedFrame<'_>) {
        let put = resp3::encode::complete::extend_encode_borrowed(&mut self.bytes, frame, false);
        debug_assert!(put.is_ok(), "a buffer that grows holds every frame");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replied(protocol: Protocol, say: impl Fn(&mut Reply)) -> String {
        let mut reply = Reply::new();
        reply.protocol = protocol;
        say(&mut reply);
        String::from_utf8(reply.bytes.to_vec()).unwrap()
    }

    #[test]
    fn replies_are_those_of_the_version() {
        let all = |reply: &mut Reply| {
            reply.map(1);
            reply.bulk(b"a");
            reply.double(1.5);
            reply.boolean(true);
            reply.null();
            reply.verbatim("x\ny");
            reply.set(1);
            reply.integer(-7);
        };
        assert_eq!(
            replied(Protocol::Resp2, all),
            "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n:1\r\n$-1\r\n$3\r\nx\ny\r\n*1\r\n:-7\r\n"
        );
        assert_eq!(
            replied(Protocol::Resp3, all),
            "%1\r\n$1\r\na\r\n,1.5\r\n#t\r\n_\r\n=7\r\ntxt:x\ny\r\n~1\r\n:-7\r\n"
        );
        assert_eq!(replied(Protocol::Resp3, |reply| reply.double(f64::NAN)), "$3\r\nNaN\r\n");
    }

    #[test]
    fn no_line_end_leaves_an_error() {
        assert_eq!(replied(Protocol::Resp2, |reply| reply.error("ERR", "a\r\n+OK")), "-ERR a  +OK\r\n");
        let long = replied(Protocol::Resp2, |reply| reply.error("ERR", &"ä".repeat(ERROR_BYTES_MAX)));
        assert_eq!(long, format!("-ERR {}…\r\n", "ä".repeat(ERROR_BYTES_MAX / 2)));
    }
}
