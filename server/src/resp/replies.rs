//! Replies as a client reads them, token by token: an array or a map is its head, and as many replies as it says follow.
//!
//! Whoever sends them may be hostile. Lengths are bounded before anything is kept, nothing is set aside for what was only announced, all
//! tokens of a reply weigh on one budget, and what is passed over is nested so deep at most.

use std::io::{self, BufRead, Read};

/// The longest line: of a head, a number, an error.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest text.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// How deep arrays and maps stand in each other at most.
const DEPTH_MAX: usize = 8;
/// What a token weighs beside its bytes: about what a value takes in memory.
const TOKEN_BYTES: usize = 32;
/// What a reply weighs at most.
pub(crate) const REPLY_BYTES_MAX: usize = 1 << 30;

/// A part of a reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Null,
    Integer(i64),
    Double(f64),
    Boolean(bool),
    /// A word or bytes.
    Text(Vec<u8>),
    Error(String),
    /// So many replies follow.
    Array(usize),
    /// So many pairs of replies follow.
    Map(usize),
}

/// Replies of a server.
#[derive(Debug)]
pub(crate) struct Replies<R> {
    from: R,
    /// What the reply that is being read may still weigh.
    left: usize,
}

impl<R: BufRead> Replies<R> {
    pub(crate) fn new(from: R) -> Replies<R> {
        Replies { from, left: REPLY_BYTES_MAX }
    }

    /// Gives back the whole budget: another reply begins, or what was read of this one is not kept.
    pub(crate) fn forget(&mut self) {
        self.left = REPLY_BYTES_MAX;
    }

    /// Where the bytes come from.
    pub(crate) fn source(&mut self) -> &mut R {
        &mut self.from
    }

    /// The next part. An error of the kind `InvalidData` says what is wrong with the server's bytes.
    pub(crate) fn next(&mut self) -> io::Result<Token> {
        let line = self.line()?;
        let Some((sign, rest)) = line.split_first() else { return Err(wrong("an empty line")) };
        Ok(match sign {
            b'_' if rest.is_empty() => Token::Null,
            b':' => Token::Integer(number(rest)?),
            b',' => Token::Double(double(rest)?),
            b'#' if rest == b"t" => Token::Boolean(true),
            b'#' if rest == b"f" => Token::Boolean(false),
            b'+' => Token::Text(rest.to_vec()),
            b'-' => Token::Error(String::from_utf8_lossy(rest).into_owned()),
            b'$' | b'*' if rest == b"-1" => Token::Null,
            b'$' => Token::Text(self.text(length(rest)?)?),
            b'=' => {
                // `txt:` stands before the text.
                let text = self.text(length(rest)?)?;
                let text = text.get(4..).ok_or_else(|| wrong("a text without its format"))?;
                Token::Text(text.to_vec())
            }
            b'*' | b'~' | b'>' => Token::Array(length(rest)?),
            b'%' => Token::Map(length(rest)?),
            other => return Err(wrong(&format!("a reply that begins with {:?}", char::from(*other)))),
        })
    }

    /// Passes over one reply.
    pub(crate) fn skip(&mut self) -> io::Result<()> {
        // How many replies are missing, at each depth.
        let mut missing = vec![1usize];
        while let Some(count) = missing.last_mut() {
            let Some(less) = count.checked_sub(1) else {
                missing.pop();
                continue;
            };
            *count = less;
            let inside = match self.next()? {
                Token::Array(count) => count,
                Token::Map(pairs) => pairs.saturating_mul(2),
                _ => continue,
            };
            if missing.len() > DEPTH_MAX {
                return Err(wrong("replies nested too deep"));
            }
            missing.push(inside);
        }
        Ok(())
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.from.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        self.weigh(line.len() + TOKEN_BYTES)?;
        if line.len() == LINE_BYTES_MAX && !line.ends_with(b"\r\n") {
            return Err(wrong("a line without end"));
        }
        if !line.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.ends_with(b"\r\n") {
            return Err(wrong("a line that ends without a carriage return"));
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    /// So many bytes, and the line's end behind them.
    fn text(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > TEXT_BYTES_MAX {
            return Err(wrong(&format!("a text of {length} bytes")));
        }
        self.weigh(length)?;
        let mut text = Vec::new();
        let read = self.from.by_ref().take(length as u64 + 2).read_to_end(&mut text)?;
        if read < length + 2 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !text.ends_with(b"\r\n") {
            return Err(wrong("a text that is longer than it says"));
        }
        text.truncate(length);
        Ok(text)
    }

    fn weigh(&mut self, bytes: usize) -> io::Result<()> {
        let left = self.left.checked_sub(bytes);
        let size = REPLY_BYTES_MAX >> 30;
        let advice = "ask for less with LIMIT, or COPY it to a file";
        self.left =
            left.ok_or_else(|| wrong(&format!("an answer that takes more than {size} GiB: {advice}")))?;
        Ok(())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> io::Result<T> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| wrong("a number that is none"))
}

fn length(digits: &[u8]) -> io::Result<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong("a length that is no number"));
    }
    number(digits)
}

fn double(digits: &[u8]) -> io::Result<f64> {
    match digits {
        b"inf" => Ok(f64::INFINITY),
        b"-inf" => Ok(f64::NEG_INFINITY),
        digits => number(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All tokens of some bytes, and how they end.
    fn tokens(bytes: &[u8]) -> (Vec<Token>, io::ErrorKind, String) {
        let (mut replies, mut found) = (Replies::new(bytes), Vec::new());
        loop {
            match replies.next() {
                Ok(token) => found.push(token),
                Err(error) => return (found, error.kind(), error.to_string()),
            }
        }
    }

    const ALL: &[u8] = b"%1\r\n$7\r\ncolumns\r\n*3\r\n:-7\r\n,1.5\r\n,-inf\r\n#t\r\n_\r\n$-1\r\n=7\r\ntxt:x\ny\r\n~1\r\n+OK\r\n-ERR no\r\n$0\r\n\r\n";

    #[test]
    fn every_prefix_of_replies_is_read_as_far_as_it_goes() {
        use Token::*;
        let text = |text: &str| Text(text.as_bytes().to_vec());
        let expected = [
            Map(1),
            text("columns"),
            Array(3),
            Integer(-7),
            Double(1.5),
            Double(f64::NEG_INFINITY),
            Boolean(true),
            Null,
            Null,
            text("x\ny"),
            Array(1),
            text("OK"),
            Error("ERR no".into()),
            text(""),
        ];
        for end in 0..=ALL.len() {
            let (found, kind, said) = tokens(&ALL[..end]);
            assert_eq!(kind, io::ErrorKind::UnexpectedEof, "{end} bytes: {said}");
            assert_eq!(found, expected[..found.len()], "{end} bytes");
            assert_eq!(found.len() == expected.len(), end == ALL.len());
        }
    }

    #[test]
    fn what_was_only_announced_takes_no_memory_and_what_is_wrong_is_said() {
        for (bytes, said) in [
            (&b"$67108865\r\nx"[..], "a text of 67108865 bytes"),
            (b"$99999999999999999999\r\n", "a number that is none"),
            (b"$-2\r\n", "a length that is no number"),
            (b"*\r\n", "a length that is no number"),
            (b":1.5\r\n", "a number that is none"),
            (b"\r\n", "an empty line"),
            (b":1\n", "a line that ends without a carriage return"),
            (b"$1\r\nxyz", "a text that is longer than it says"),
            (b"=2\r\nab\r\n", "a text without its format"),
            (b"HTTP/1.1 200 OK\r\n", "a reply that begins with 'H'"),
        ] {
            let (found, kind, message) = tokens(bytes);
            assert_eq!((found.len(), kind, message.as_str()), (0, io::ErrorKind::InvalidData, said));
        }
        assert_eq!(tokens(&vec![b'+'; LINE_BYTES_MAX + 1]).2, "a line without end");
        let (heads, kind, _) = tokens(b"*18446744073709551615\r\n");
        assert_eq!((heads, kind), (vec![Token::Array(usize::MAX)], io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn what_is_passed_over_is_nested_so_deep_at_most() {
        let nested = |depth: usize| "*1\r\n".repeat(depth) + ":1\r\n+next\r\n";
        for depth in 0..=DEPTH_MAX {
            let bytes = nested(depth);
            let mut replies = Replies::new(bytes.as_bytes());
            replies.skip().unwrap();
            assert_eq!(replies.next().unwrap(), Token::Text(b"next".to_vec()));
        }
        let too_deep = nested(DEPTH_MAX + 1);
        assert!(Replies::new(too_deep.as_bytes()).skip().is_err());
        assert!(Replies::new(&b"%9223372036854775808\r\n"[..]).skip().is_err());
    }

    #[test]
    fn a_reply_that_never_ends_is_refused_at_its_weight() {
        let mut replies = Replies::new(io::BufReader::new(io::repeat(b'x').take(64 << 20)));
        replies.left = 1 << 20;
        assert_eq!(replies.text(2 << 20).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let nulls = "_\r\n".repeat(100);
        let mut replies = Replies::new(nulls.as_bytes());
        replies.left = 10 * (TOKEN_BYTES + 3);
        assert_eq!((0..100).take_while(|_| replies.next().is_ok()).count(), 10);
    }
}
