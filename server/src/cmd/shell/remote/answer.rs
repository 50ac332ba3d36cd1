//! The map that STATEMENT replies, read into what the library would have given.

use crate::resp::{Replies, Token};
use musterdb::{
    DataType, Error, Outcome, OutcomeColumn, QueryErrorKind, Span, Stats, TransactionState, Value,
};
use std::io::{self, BufRead};

/// Rows that are handed over at once.
const BATCH_ROWS: usize = 4_096;

/// Takes columns and rows, and leaves no rows behind.
pub(super) type Hear<'h> = dyn FnMut(&[OutcomeColumn], &mut Vec<Vec<Value>>) -> musterdb::Result<()> + 'h;

/// Why an answer was not read to its end.
pub(super) enum Broken {
    Connection(io::Error),
    /// Whoever took the rows took no more.
    Heard(Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Connection(error)
    }
}

/// An answer but for its rows.
pub(super) struct ServersAnswer {
    columns: Vec<OutcomeColumn>,
    stats: Stats,
    message: Option<String>,
    pub(super) refusal: Option<Error>,
    pub(super) transaction: TransactionState,
}

impl ServersAnswer {
    pub(super) fn into_outcome(self, rows: Vec<Vec<Value>>) -> Outcome {
        match self.message {
            Some(message) => Outcome::Done { message },
            None => Outcome::Rows { columns: self.columns, rows, stats: self.stats },
        }
    }
}

/// Reads an answer.
pub(super) fn read<R: BufRead>(
    replies: &mut Replies<R>,
    hear: &mut Hear<'_>,
) -> Result<ServersAnswer, Broken> {
    let mut answer = ServersAnswer {
        columns: Vec::new(),
        stats: Stats::default(),
        message: None,
        refusal: None,
        transaction: TransactionState::None,
    };
    let pairs = match replies.next()? {
        Token::Map(pairs) => pairs,
        // The server has not come to execute it.
        Token::Error(message) => {
            let message = message.strip_prefix("ERR ").unwrap_or(&message).to_owned();
            answer.refusal = Some(error(message, None, None));
            return Ok(answer);
        }
        _ => return Err(wrong("expected a map")),
    };
    let (mut refused, mut start, mut end, mut suggestion) = (None, None, None, None);
    let mut has_columns = false;
    for _ in 0..pairs {
        match text(replies)?.as_deref() {
            Some("transaction") => {
                answer.transaction = match text(replies)?.as_deref() {
                    Some("open") => TransactionState::Open,
                    Some("failed") => TransactionState::Failed,
                    _ => TransactionState::None,
                };
            }
            Some("columns") => {
                answer.columns = columns(replies)?;
                has_columns = true;
            }
            Some("rows") if has_columns => rows(replies, &answer.columns, hear)?,
            Some("chunks") => answer.stats.chunks = integer(replies)?.unwrap_or_default(),
            Some("bytes") => answer.stats.bytes = integer(replies)?.unwrap_or_default(),
            Some("message") => answer.message = text(replies)?,
            Some("error") => refused = text(replies)?,
            Some("start") => start = integer(replies)?,
            Some("end") => end = integer(replies)?,
            Some("suggestion") => suggestion = text(replies)?,
            _ => replies.skip()?,
        }
    }
    let span = start.zip(end).map(|(start, end)| Span { start: start as usize, end: end as usize });
    answer.refusal = refused.map(|message| error(message, span, suggestion));
    if answer.refusal.is_none() && answer.message.is_none() && !has_columns {
        return Err(wrong("the map has neither columns nor a message"));
    }
    Ok(answer)
}

fn error(message: String, span: Option<Span>, suggestion: Option<String>) -> Error {
    Error::Query { kind: QueryErrorKind::Value, message, span, suggestion }
}

fn columns<R: BufRead>(replies: &mut Replies<R>) -> Result<Vec<OutcomeColumn>, Broken> {
    let mut columns = Vec::new();
    for _ in 0..array(replies)? {
        if array(replies)? != 2 {
            return Err(wrong("a column is a name and a type"));
        }
        let (name, type_name) = (text(replies)?.unwrap_or_default(), text(replies)?.unwrap_or_default());
        let data_type = data_type(&type_name)
            .ok_or_else(|| wrong(&format!("there is no type {}", type_name.escape_debug())))?;
        columns.push(OutcomeColumn { name, data_type });
    }
    Ok(columns)
}

fn rows<R: BufRead>(
    replies: &mut Replies<R>,
    columns: &[OutcomeColumn],
    hear: &mut Hear<'_>,
) -> Result<(), Broken> {
    let count = array(replies)?;
    let mut some = Vec::new();
    for _ in 0..count {
        if array(replies)? != columns.len() {
            return Err(wrong("a row has a value for each column"));
        }
        let mut row = Vec::with_capacity(columns.len());
        for column in columns {
            row.push(match text(replies)? {
                None => Value::Null,
                Some(text) => value(&text, column.data_type).ok_or_else(|| {
                    wrong(&format!("a value of column {} is none", column.name.escape_debug()))
                })?,
            });
        }
        some.push(row);
        if some.len() == BATCH_ROWS {
            hear(columns, &mut some).map_err(Broken::Heard)?;
        }
    }
    hear(columns, &mut some).map_err(Broken::Heard)
}

/// The value that a text of SQL is. Sums have more digits than a column of DECIMAL may.
fn value(text: &str, data_type: DataType) -> Option<Value> {
    match data_type {
        DataType::Decimal { .. } => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            if whole.is_empty() || !plain(whole) || !plain(fraction) {
                return None;
            }
            let unscaled = text.replacen('.', "", 1).parse().ok()?;
            Some(Value::Decimal { unscaled, scale: u8::try_from(fraction.len()).ok()? })
        }
        other => Value::parse(text, other).ok(),
    }
}

/// The type of a name, as the server writes it.
pub(super) fn data_type(name: &str) -> Option<DataType> {
    const SIMPLE: [DataType; 10] = [
        DataType::Boolean,
        DataType::SmallInt,
        DataType::Integer,
        DataType::BigInt,
        DataType::Double,
        DataType::Text,
        DataType::Date,
        DataType::Timestamp,
        DataType::TimestampTz,
        DataType::TextArray,
    ];
    let simple = SIMPLE.into_iter().find(|simple| simple.to_string() == name);
    simple.or_else(|| {
        let (precision, scale) = name.strip_prefix("DECIMAL(")?.strip_suffix(')')?.split_once(',')?;
        Some(DataType::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? })
    })
}

fn text<R: BufRead>(replies: &mut Replies<R>) -> Result<Option<String>, Broken> {
    match replies.next()? {
        Token::Null => Ok(None),
        Token::Text(bytes) => {
            String::from_utf8(bytes).map(Some).map_err(|_| wrong("a text that is not valid UTF-8"))
        }
        _ => Err(wrong("expected a text")),
    }
}

fn integer<R: BufRead>(replies: &mut Replies<R>) -> Result<Option<u64>, Broken> {
    match replies.next()? {
        Token::Null => Ok(None),
        Token::Integer(number) => {
            u64::try_from(number).map(Some).map_err(|_| wrong("expected a number from 0 on"))
        }
        _ => Err(wrong("expected a number")),
    }
}

fn array<R: BufRead>(replies: &mut Replies<R>) -> Result<usize, Broken> {
    match replies.next()? {
        Token::Array(count) => Ok(count),
        _ => Err(wrong("expected an array")),
    }
}

fn wrong(what: &str) -> Broken {
    Broken::Connection(io::Error::new(io::ErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(bytes: &[u8]) -> Result<Outcome, io::ErrorKind> {
        let mut all = Vec::new();
        let answer = read(&mut Replies::new(bytes), &mut |_, rows| {
            all.append(rows);
            Ok(())
        });
        match answer {
            Ok(answer) => Ok(answer.into_outcome(all)),
            Err(Broken::Connection(error)) => Err(error.kind()),
            Err(Broken::Heard(_)) => panic!("nobody refuses"),
        }
    }

    const ROWS: &[u8] = b"%3\r\n$7\r\ncolumns\r\n*1\r\n*2\r\n$1\r\nn\r\n$13\r\nDECIMAL(38,0)\r\n$6\r\nfuture\r\n*1\r\n_\r\n$4\r\nrows\r\n*2\r\n*1\r\n$21\r\n-99999999999999999999\r\n*1\r\n_\r\n";

    #[test]
    fn an_answer_is_whole_or_none() {
        let Ok(Outcome::Rows { rows, .. }) = outcome(ROWS) else { panic!("rows") };
        let large = Value::Decimal { unscaled: -99_999_999_999_999_999_999, scale: 0 };
        assert_eq!(rows, [vec![large], vec![Value::Null]]);
        for end in 0..ROWS.len() {
            assert_eq!(outcome(&ROWS[..end]), Err(io::ErrorKind::UnexpectedEof), "{end} bytes");
        }
        for byte in 0..ROWS.len() {
            for changed in [b'*', b'9', b'\n', 0] {
                let mut hostile = ROWS.to_vec();
                hostile[byte] = changed;
                let _ = outcome(&hostile);
            }
        }
    }

    #[test]
    fn values_are_those_that_were_written() {
        let decimal = |precision, scale| DataType::Decimal { precision, scale };
        for (written, data_type) in [
            (Value::Decimal { unscaled: -5, scale: 2 }, decimal(12, 2)),
            (Value::Decimal { unscaled: i128::MAX, scale: 6 }, decimal(38, 6)),
            (Value::Double(f64::INFINITY), DataType::Double),
            (Value::Double(-0.0), DataType::Double),
            (Value::Double(1.5e300), DataType::Double),
            (Value::Date(-800_000), DataType::Date),
            (Value::TimestampTz(-1), DataType::TimestampTz),
            (Value::tags(["b c", "a", "", "NULL"].map(String::from)), DataType::TextArray),
        ] {
            assert_eq!(value(&written.to_string(), data_type), Some(written));
            assert_eq!(super::data_type(&data_type.to_string()), Some(data_type));
        }
        assert!(matches!(value("NaN", DataType::Double), Some(Value::Double(nan)) if nan.is_nan()));
        for none in ["", "-", "1.2.3", "+1", "1e5", "٣"] {
            assert_eq!(value(none, decimal(38, 0)), None, "{none}");
        }
        assert_eq!(super::data_type("DECIMAL(999,0)"), None);
    }
}
