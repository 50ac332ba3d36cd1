//! What clients send to the server, and what servers send to the shell: bytes of any kind in pieces of any size.
//!
//! The server is a program and no library; the three files of `server/src/resp` stand on their own, and are taken in as they are.

#![allow(dead_code, reason = "what the server uses of these files is more than what is fuzzed")]

#[path = "../../server/src/resp/replies.rs"]
mod replies;
#[path = "../../server/src/resp/reply.rs"]
mod reply;
#[path = "../../server/src/resp/request.rs"]
mod request;

use replies::{Replies, Token};
use reply::{Protocol, Reply};
use request::{Decoder, Limits, ProtocolError};
use std::io::{BufRead, BufReader};

/// The longest line that a decoder keeps; `request.rs` has it for itself.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Words of a request.
type Words = Vec<Vec<u8>>;

/// The first byte chooses limits, the second the sizes of the pieces. The rest is read as requests, as replies, and as a list of
/// replies to write.
pub fn run(data: &[u8]) {
    let [limits, pieces, stream @ ..] = data else { return };
    requests(stream, &chosen(*limits), *pieces);
    replies(stream, *pieces);
    round_trip(stream, Protocol::Resp2);
    round_trip(stream, Protocol::Resp3);
}

fn chosen(choice: u8) -> Limits {
    let from = |choices: [usize; 4], shift: u8| choices[usize::from(choice >> shift & 3)];
    Limits {
        arguments: from([1, 3, 10, 1 << 20], 0),
        argument_bytes: from([1, 7, 16 * 1024, 64 << 20], 2),
        request_bytes: from([8, 40, 64 * 1024, 128 << 20], 4),
    }
}

/// The same requests and the same error however the bytes arrive, within the limits; written again they are read the same.
fn requests(stream: &[u8], limits: &Limits, pieces: u8) {
    let whole = decoded(stream, limits, 0);
    let in_pieces = decoded(stream, limits, pieces);
    assert_eq!(whole, in_pieces, "pieces change what was said");
    let mut again = Vec::new();
    for words in &whole.0 {
        assert!(!words.is_empty() && words.len() <= limits.arguments);
        assert!(words.iter().all(|word| word.len() <= limits.argument_bytes));
        again.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            again.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            again.extend_from_slice(word);
            again.extend_from_slice(b"\r\n");
        }
    }
    let wide = Limits { request_bytes: usize::MAX, ..*limits };
    assert_eq!(decoded(&again, &wide, pieces), (whole.0, None));
}

/// All requests of some bytes, and what is wrong with what comes after them. Pieces are up to 64 bytes, or everything for 0. Some
/// requests are read where they lie, some are kept beyond the next, as the server does with those that wait.
fn decoded(stream: &[u8], limits: &Limits, pieces: u8) -> (Vec<Words>, Option<String>) {
    let (mut decoder, mut requests, mut rest) = (Decoder::default(), Vec::<Words>::new(), stream);
    let (mut kept, owned) =
        (Vec::new(), |words: request::Words<'_>| words.iter().map(<[u8]>::to_vec).collect::<Words>());
    let mut random = u32::from(pieces);
    while !rest.is_empty() {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = if pieces == 0 { rest.len() } else { (random >> 26) as usize + 1 };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        decoder.buffer.extend_from_slice(piece);
        rest = after;
        loop {
            match decoder.next(limits) {
                Ok(Some(words)) => {
                    let words = owned(words);
                    assert_eq!(words, owned(decoder.last()));
                    assert_eq!(words.get(1..).unwrap_or_default(), owned(decoder.last().from(1)));
                    if (random >> 8).wrapping_add(requests.len() as u32) % 3 == 0 {
                        kept.push((requests.len(), decoder.keep()));
                    }
                    requests.push(words);
                }
                Ok(None) => break,
                Err(ProtocolError(error)) => {
                    assert!(error.is_ascii() && !error.contains(['\r', '\n']), "{error:?} is no line");
                    let again = decoder.next(limits).err();
                    assert_eq!(again, Some(ProtocolError(error.clone())), "what is wrong stays wrong");
                    assert!(kept.iter().all(|(at, request)| owned(request.words()) == requests[*at]));
                    return (requests, Some(error));
                }
            }
        }
        // Whatever is still waited for: a request within its limits, and a line that has not ended.
        let most = limits.request_bytes.saturating_add(2).saturating_add(LINE_BYTES_MAX);
        assert!(decoder.buffer.len() <= most, "{} bytes are kept", decoder.buffer.len());
        assert_eq!(decoder.is_midway(), !decoder.buffer.is_empty());
        decoder.rest();
    }
    assert!(kept.iter().all(|(at, request)| owned(request.words()) == requests[*at]));
    (requests, None)
}

/// The same tokens however the bytes arrive; none is larger than what came; what is passed over ends where it is read to its end.
fn replies(stream: &[u8], pieces: u8) {
    let whole = tokens(stream);
    let capacity = usize::from(pieces % 64) + 1;
    let in_pieces = tokens(BufReader::with_capacity(capacity, stream));
    // As texts: not every number equals itself.
    assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"), "pieces change what was said");
    let bytes: usize = whole
        .0
        .iter()
        .map(|token| match token {
            Token::Text(text) => text.len(),
            Token::Error(text) => text.len() / 3, // A byte that is no UTF-8 becomes a sign of three.
            _ => 0,
        })
        .sum();
    assert!(bytes <= stream.len(), "texts of {bytes} bytes");
    let mut passed = Replies::new(stream);
    while passed.skip().is_ok() {
        let (at, mut read) = (passed.source().len(), Replies::new(stream));
        while read.source().len() > at {
            assert!(read_one(&mut read).is_some(), "what was passed over cannot be read");
        }
        assert_eq!(read.source().len(), at, "a reply ends elsewhere when it is passed over");
        passed.forget();
    }
}

/// All tokens of some bytes, and how they end.
fn tokens(from: impl BufRead) -> (Vec<Token>, String) {
    let (mut replies, mut found) = (Replies::new(from), Vec::new());
    loop {
        match replies.next() {
            Ok(token) => found.push(token),
            Err(error) => return (found, error.to_string()),
        }
    }
}

/// Reads one reply with all that is in it.
fn read_one(replies: &mut Replies<&[u8]>) -> Option<()> {
    let mut missing = 1u128;
    while missing > 0 {
        missing -= 1;
        missing += match replies.next().ok()? {
            Token::Array(count) => count as u128,
            Token::Map(pairs) => 2 * pairs as u128,
            _ => 0,
        };
    }
    Some(())
}

/// Replies that the server writes are what the shell reads.
fn round_trip(script: &[u8], protocol: Protocol) {
    let (mut reply, mut expected) = (Reply::new(), Vec::new());
    reply.protocol = protocol;
    let is_3 = protocol == Protocol::Resp3;
    let text = |text: &str| Token::Text(text.as_bytes().to_vec());
    let mut rest = script;
    while let [kind, after @ ..] = rest {
        // Every reply takes up to 16 bytes of the script.
        let (mut given, next) = after.split_at(after.len().min(usize::from(kind >> 4)));
        rest = next;
        let words = String::from_utf8_lossy(given).into_owned();
        let mut eight = [0; 8];
        given = &given[..given.len().min(8)];
        eight[..given.len()].copy_from_slice(given);
        let number = i64::from_le_bytes(eight);
        let count = number.unsigned_abs() as usize / 2;
        let line = words.replace(['\r', '\n'], " ");
        match kind & 15 {
            0 => {
                reply.ok();
                expected.push(text("OK"));
            }
            1 => {
                reply.simple(&line);
                expected.push(text(&line));
            }
            2 => {
                reply.error("ERR", &words);
                expected.push(Token::Error(format!("ERR {line}")));
            }
            3 => {
                reply.integer(number);
                expected.push(Token::Integer(number));
            }
            4 => {
                reply.bulk(words.as_bytes());
                expected.push(text(&words));
            }
            5 => {
                reply.null();
                expected.push(Token::Null);
            }
            6 => {
                let double = f64::from_bits(number as u64);
                reply.double(double);
                expected.push(match is_3 && !double.is_nan() {
                    true => Token::Double(double),
                    false => text(&double.to_string()),
                });
            }
            7 => {
                reply.boolean(number & 1 == 1);
                expected.push(match is_3 {
                    true => Token::Boolean(number & 1 == 1),
                    false => Token::Integer(number & 1),
                });
            }
            8 => {
                reply.verbatim(&words);
                expected.push(text(&words));
            }
            9 => {
                reply.array(count);
                expected.push(Token::Array(count));
            }
            10 => {
                reply.map(count);
                expected.push(if is_3 { Token::Map(count) } else { Token::Array(2 * count) });
            }
            _ => {
                reply.set(count);
                expected.push(Token::Array(count));
            }
        }
    }
    let (found, end) = tokens(&reply.bytes[..]);
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    assert_eq!(end, std::io::Error::from(std::io::ErrorKind::UnexpectedEof).to_string());
}
