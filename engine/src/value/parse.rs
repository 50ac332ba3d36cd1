//! Text to the code of a value, over bytes and without allocating: an import calls this for every field of a CSV file.
//!
//! A reason is a predicate, its subject left out (`is not an integer`), so that an error that already shows the value
//! does not repeat it. Only a refusal allocates.

use crate::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil, is_date};
use crate::schema::DataType;
use std::borrow::Cow;

/// Why a text is refused, as a predicate: `is not an integer`.
pub(crate) type Reason = Cow<'static, str>;

/// The longest part of a value that an error shows, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// A value as errors show it: quoted, cut where it is long, invalid UTF-8 replaced.
pub(crate) fn quoted(text: &[u8]) -> String {
    format!("{:?}", shortened(text))
}

/// A value as errors carry it: cut where it is long, invalid UTF-8 replaced.
pub(crate) fn shortened(text: &[u8]) -> String {
    // A character has at most four bytes, so nothing beyond this is ever shown.
    let text = String::from_utf8_lossy(&text[..text.len().min(SHOWN_CHARS_MAX * 4 + 4)]);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// A boolean in any of PostgreSQL's spellings, without regard to case.
pub(crate) fn boolean(text: &[u8]) -> Result<bool, Reason> {
    let text = text.trim_ascii();
    let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    if ["true", "t", "1", "yes", "y", "on"].into_iter().any(is) {
        Ok(true)
    } else if ["false", "f", "0", "no", "n", "off"].into_iter().any(is) {
        Ok(false)
    } else {
        Err("is not a boolean (true, false, t, f, yes, no, 1, 0)".into())
    }
}

/// The `i64` code (see [`crate::code`]) of a text. The type must have codes.
pub(crate) fn code(text: &[u8], data_type: DataType) -> Result<i64, Reason> {
    let text = text.trim_ascii();
    match data_type {
        DataType::SmallInt => integer_within(text, data_type, i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Integer => integer_within(text, data_type, i64::from(i32::MIN), i64::from(i32::MAX)),
        DataType::BigInt => integer_within(text, data_type, i64::MIN, i64::MAX),
        DataType::Decimal { precision, scale } => decimal(text, precision, scale),
        DataType::Double => double(text).map(crate::code::double_to_code),
        DataType::Date => date(text),
        DataType::Timestamp => match timestamp(text, "TIMESTAMP")? {
            (micros, None) => Ok(micros),
            (_, Some(_)) => {
                Err("has a time zone, which a TIMESTAMP does not keep (make the column TIMESTAMPTZ)".into())
            }
        },
        DataType::TimestampTz => {
            let (micros, zone_seconds) = timestamp(text, "TIMESTAMPTZ")?;
            let east_micros = zone_seconds.unwrap_or(0) * MICROS_PER_SECOND;
            micros.checked_sub(east_micros).ok_or_else(|| out_of_range("TIMESTAMPTZ"))
        }
        DataType::Boolean | DataType::Text | DataType::TextArray => unreachable!("{data_type} has no codes"),
    }
}

fn out_of_range(type_name: &str) -> Reason {
    format!("is out of the range of {type_name}").into()
}

fn integer_within(text: &[u8], data_type: DataType, low: i64, high: i64) -> Result<i64, Reason> {
    match integer(text) {
        Some(Some(integer)) if (low..=high).contains(&integer) => Ok(integer),
        Some(_) => Err(format!("is out of the range of {data_type} ({low} to {high})").into()),
        None => Err("is not an integer".into()),
    }
}

/// `None` where the text is no integer, `Some(None)` where it is one beyond 64 bits.
fn integer(text: &[u8]) -> Option<Option<i64>> {
    let (negative, digits) = sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() <= 18 {
        let magnitude = digits.iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        return Some(Some(if negative { -magnitude } else { magnitude }));
    }
    // Built from the negative side, which reaches one further.
    let negated =
        digits.iter().try_fold(0i64, |sum, digit| sum.checked_mul(10)?.checked_sub(i64::from(digit - b'0')));
    Some(if negative { negated } else { negated.and_then(i64::checked_neg) })
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// The unscaled integer of a decimal, exact or refused. Zeros at the end of the fraction do not count.
fn decimal(text: &[u8], precision: u8, scale: u8) -> Result<i64, Reason> {
    const NOT: &str = "is not a decimal number";
    let (negative, number) = sign(text);
    let (number, exponent) = match number.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&number[..at], integer(&number[at + 1..]).flatten().ok_or(NOT)?.clamp(-9999, 9999)),
        None => (number, 0),
    };
    let (whole, fraction) = match number.iter().position(|b| *b == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &[][..]),
    };
    if whole.len() + fraction.len() == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(NOT.into());
    }
    // The digit of index i stands for 10^(point - 1 - i); the last one that is kept is that of 10^-scale.
    let point = whole.len() as i64 + exponent;
    let kept = point + i64::from(scale);
    let integer_digits_max = precision - scale;
    let too_large = || {
        format!(
            "has more than {integer_digits_max} digits before the point, too many for DECIMAL({precision},{scale})"
        )
    };
    let mut unscaled = 0i64;
    for (i, digit) in whole.iter().chain(fraction).enumerate() {
        if (i as i64) < kept {
            unscaled = unscaled
                .checked_mul(10)
                .and_then(|sum| sum.checked_add(i64::from(digit - b'0')))
                .ok_or_else(too_large)?;
        } else if *digit != b'0' {
            return Err(format!("has more than {scale} digits after the point").into());
        }
    }
    let given = (whole.len() + fraction.len()) as i64;
    if unscaled != 0 {
        for _ in given..kept {
            unscaled = unscaled.checked_mul(10).ok_or_else(too_large)?;
        }
    }
    if unscaled >= 10i64.pow(u32::from(precision)) {
        return Err(too_large().into());
    }
    Ok(if negative { -unscaled } else { unscaled })
}

fn double(text: &[u8]) -> Result<f64, Reason> {
    let double: f64 =
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or("is not a number")?;
    // `1e999` reads as infinity; only the word may.
    if double.is_infinite() && text.iter().any(u8::is_ascii_digit) {
        return Err(out_of_range("DOUBLE PRECISION"));
    }
    Ok(double)
}

/// A number of digits, all of `text`.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(sum * 10 + u32::from(digit))
    })
}

fn date(text: &[u8]) -> Result<i64, Reason> {
    const NOT: &str = "is not a date (YYYY-MM-DD)";
    let (text, before_christ) = without_era(text);
    match leading_date(text, before_christ) {
        Some((days, [])) => match days {
            Some(days) if i32::try_from(days).is_ok() => Ok(days),
            Some(_) => Err(out_of_range("DATE")),
            None => Err("is no day of the calendar".into()),
        },
        _ => Err(NOT.into()),
    }
}

/// PostgreSQL writes the years before 1 with ` BC` at the very end.
fn without_era(text: &[u8]) -> (&[u8], bool) {
    match text {
        [rest @ .., b' ', b'B' | b'b', b'C' | b'c'] => (rest.trim_ascii_end(), true),
        _ => (text, false),
    }
}

/// Reads `YYYY-MM-DD` (four to seven digits of year) off the front: the day, or `None` where the calendar has no such
/// date; and what follows.
fn leading_date(text: &[u8], before_christ: bool) -> Option<(Option<i64>, &[u8])> {
    let year_end = if text.get(4) == Some(&b'-') { 4 } else { text.iter().position(|b| *b == b'-')? };
    if !(4..=7).contains(&year_end) || text.len() < year_end + 6 || text[year_end + 3] != b'-' {
        return None;
    }
    let year = i64::from(digits(&text[..year_end])?);
    let month = digits(&text[year_end + 1..year_end + 3])?;
    let day = digits(&text[year_end + 4..year_end + 6])?;
    // There is no year 0: 1 BC stands before 1.
    let astronomical = if before_christ { 1 - year } else { year };
    let days =
        (year > 0 && is_date(astronomical, month, day)).then(|| days_from_civil(astronomical, month, day));
    Some((days, &text[year_end + 6..]))
}

/// The microseconds of the wall clock shown, and the offset of the zone in seconds where one is written.
fn timestamp(text: &[u8], type_name: &str) -> Result<(i64, Option<i64>), Reason> {
    let not = || Reason::from(format!("is not a {type_name} (YYYY-MM-DD HH:MM:SS)"));
    let (text, before_christ) = without_era(text);
    let (days, rest) = leading_date(text, before_christ).ok_or_else(not)?;
    let days = days.ok_or("is no day of the calendar")?;
    let (within, zone) = match rest {
        [] => (0, &[][..]),
        [b' ' | b'T' | b't', time @ ..] => time_of_day(time).ok_or_else(not)??,
        _ => return Err(not()),
    };
    let micros = match days.checked_mul(MICROS_PER_DAY) {
        Some(midnight) => midnight.checked_add(within),
        // Only the midnight of the first day lies before the first instant.
        None => {
            (days + 1).checked_mul(MICROS_PER_DAY).and_then(|next| next.checked_add(within - MICROS_PER_DAY))
        }
    };
    let micros = micros.ok_or_else(|| out_of_range(type_name))?;
    let zone = zone.trim_ascii();
    if zone.is_empty() { Ok((micros, None)) } else { Ok((micros, Some(zone_seconds(zone).ok_or_else(not)?))) }
}

/// Reads `HH:MM[:SS[.ffffff]]` off the front: microseconds since midnight, and what follows. 24:00:00 and a leap second
/// are the instant after, as in PostgreSQL.
fn time_of_day(text: &[u8]) -> Option<Result<(i64, &[u8]), Reason>> {
    let (clock, mut rest) = text.split_at_checked(5)?;
    let (hour, minute) = (digits(&clock[..2])?, digits(&clock[3..])?);
    let (mut second, mut micros) = (0, 0i64);
    if clock[2] != b':' || hour > 24 || minute > 59 {
        return None;
    }
    if let [b':', tens, ones, after @ ..] = rest {
        second = digits(&[*tens, *ones])?;
        rest = after;
        if let [b'.', after @ ..] = rest {
            let length = after.iter().position(|b| !b.is_ascii_digit()).unwrap_or(after.len());
            let (fraction, after) = after.split_at(length);
            rest = after;
            for i in 0..6 {
                micros = micros * 10 + fraction.get(i).map_or(0, |digit| i64::from(digit - b'0'));
            }
            if fraction.iter().skip(6).any(|digit| *digit != b'0') {
                return Some(Err("is finer than microseconds".into()));
            }
        }
    }
    if second > 60 || (hour == 24 && (minute > 0 || second > 0 || micros > 0)) || (second == 60 && micros > 0)
    {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some(Ok((seconds * MICROS_PER_SECOND + micros, rest)))
}

/// `Z`, `UTC`, `+HH`, `+HHMM`, `+HH:MM` or `+HH:MM:SS`, in seconds east of Greenwich.
fn zone_seconds(zone: &[u8]) -> Option<i64> {
    if ["Z", "UTC", "GMT"].into_iter().any(|name| zone.eq_ignore_ascii_case(name.as_bytes())) {
        return Some(0);
    }
    let (hours, minutes, seconds) = match zone.get(1..)? {
        [a, b] => (digits(&[*a, *b])?, 0, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (digits(&[*a, *b])?, digits(&[*c, *d])?, 0),
        [a, b, b':', c, d, b':', e, f] => (digits(&[*a, *b])?, digits(&[*c, *d])?, digits(&[*e, *f])?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return None;
    }
    let offset = i64::from(hours * 3600 + minutes * 60 + seconds);
    match zone[0] {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECIMAL: DataType = DataType::Decimal { precision: 5, scale: 2 };

    #[track_caller]
    fn takes(text: &str, data_type: DataType, expected: i64) {
        assert_eq!(code(text.as_bytes(), data_type), Ok(expected), "{text:?} as {data_type}");
    }

    #[track_caller]
    fn refuses(text: &str, data_type: DataType, reason: &str) {
        assert_eq!(
            code(text.as_bytes(), data_type),
            Err(reason.to_owned().into()),
            "{text:?} as {data_type}"
        );
    }

    #[test]
    fn booleans() {
        for (text, expected) in
            [("TRUE", true), ("t", true), ("1", true), (" Yes ", true), ("f", false), ("no", false)]
        {
            assert_eq!(boolean(text.as_bytes()), Ok(expected));
        }
        assert!(boolean(b"maybe").is_err() && boolean(b"").is_err() && boolean(b"2").is_err());
    }

    #[test]
    fn integers_keep_to_their_width() {
        takes(" +42 ", DataType::SmallInt, 42);
        takes("-32768", DataType::SmallInt, -32768);
        refuses("32768", DataType::SmallInt, "is out of the range of SMALLINT (-32768 to 32767)");
        takes("-2147483648", DataType::Integer, i64::from(i32::MIN));
        takes("-9223372036854775808", DataType::BigInt, i64::MIN);
        takes("0000000000000000000000007", DataType::BigInt, 7);
        let beyond = "is out of the range of BIGINT (-9223372036854775808 to 9223372036854775807)";
        refuses("9223372036854775808", DataType::BigInt, beyond);
        refuses("99999999999999999999999", DataType::BigInt, beyond);
        for text in ["", "-", "1.0", "1e3", "0x10", "１", "1 2"] {
            refuses(text, DataType::BigInt, "is not an integer");
        }
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        takes("123.45", DECIMAL, 12345);
        takes("-.5", DECIMAL, -50);
        takes("7.", DECIMAL, 700);
        takes("1.23000", DECIMAL, 123);
        takes("1.2e1", DECIMAL, 1200);
        takes("1234e-3", DataType::Decimal { precision: 5, scale: 3 }, 1234);
        takes("0e99999", DECIMAL, 0);
        takes("000000000000000000000000001.10", DECIMAL, 110);
        takes("-999999999999999999", DataType::Decimal { precision: 18, scale: 0 }, -999_999_999_999_999_999);
        refuses("1.234", DECIMAL, "has more than 2 digits after the point");
        refuses("1e-3", DECIMAL, "has more than 2 digits after the point");
        for text in ["1000", "1e3", "99999999999999999999", "1e9999"] {
            refuses(text, DECIMAL, "has more than 3 digits before the point, too many for DECIMAL(5,2)");
        }
        for text in ["", ".", "1,5", "--1", "1e", "NaN", "1.2.3"] {
            refuses(text, DECIMAL, "is not a decimal number");
        }
    }

    #[test]
    fn doubles() {
        for (text, expected) in
            [("1.5", 1.5), ("-inf", f64::NEG_INFINITY), ("Infinity", f64::INFINITY), (".5e1", 5.0)]
        {
            takes(text, DataType::Double, crate::code::double_to_code(expected));
        }
        takes("NaN", DataType::Double, crate::code::double_to_code(f64::NAN));
        refuses("1e999", DataType::Double, "is out of the range of DOUBLE PRECISION");
        refuses("1,5", DataType::Double, "is not a number");
    }

    #[test]
    fn dates() {
        takes("1970-01-01", DataType::Date, 0);
        takes("2000-02-29", DataType::Date, 11_016);
        takes("0001-01-01", DataType::Date, -719_162);
        takes("0001-12-31 BC", DataType::Date, -719_163);
        takes("10000-01-01", DataType::Date, 2_932_897);
        refuses("2001-02-29", DataType::Date, "is no day of the calendar");
        refuses("0000-01-01", DataType::Date, "is no day of the calendar");
        refuses("9999999-01-01", DataType::Date, "is out of the range of DATE");
        for text in ["", "2001-2-3", "01/02/2003", "2001-02-03 00:00", "20010203", "2001-02-0x", "-001-02-03"]
        {
            refuses(text, DataType::Date, "is not a date (YYYY-MM-DD)");
        }
    }

    #[test]
    fn timestamps() {
        let second = MICROS_PER_SECOND;
        takes("1970-01-02", DataType::Timestamp, MICROS_PER_DAY);
        takes("1970-01-01T00:01", DataType::Timestamp, 60 * second);
        takes("1970-01-01 00:00:01.5", DataType::Timestamp, second + 500_000);
        takes("1969-12-31 23:59:59.999999000", DataType::Timestamp, -1);
        takes("1969-12-31 24:00:00", DataType::Timestamp, 0);
        takes("1969-12-31 23:59:60", DataType::Timestamp, 0);
        takes("1970-01-01 02:00:00+02", DataType::TimestampTz, 0);
        takes("1970-01-01T00:00:00Z", DataType::TimestampTz, 0);
        takes("1970-01-01 00:00:00 UTC", DataType::TimestampTz, 0);
        takes("1970-01-01 00:00:00", DataType::TimestampTz, 0);
        takes("1970-01-01 00:00:00-05:30", DataType::TimestampTz, 19_800 * second);
        takes("1970-01-01 00:00:00.25 +0530", DataType::TimestampTz, -19_800 * second + 250_000);
        refuses(
            "1970-01-01T00:00:00Z",
            DataType::Timestamp,
            "has a time zone, which a TIMESTAMP does not keep (make the column TIMESTAMPTZ)",
        );
        refuses("1970-01-01 00:00:00.0000001", DataType::Timestamp, "is finer than microseconds");
        refuses("1970-13-01 00:00:00", DataType::Timestamp, "is no day of the calendar");
        refuses("0300000-01-01 00:00", DataType::Timestamp, "is out of the range of TIMESTAMP");
        for text in [
            "1970-01-01 ",
            "1970-01-01 1",
            "1970-01-01 25:00",
            "1970-01-01 24:00:01",
            "1970-01-01x00:00",
            "x",
        ] {
            if text != "1970-01-01 " {
                refuses(text, DataType::Timestamp, "is not a TIMESTAMP (YYYY-MM-DD HH:MM:SS)");
            }
        }
        refuses(
            "1970-01-01 00:00:00+99",
            DataType::TimestampTz,
            "is not a TIMESTAMPTZ (YYYY-MM-DD HH:MM:SS)",
        );
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shortened("é".repeat(80).as_bytes()), "é".repeat(80));
        assert_eq!(shortened("é".repeat(1000).as_bytes()), format!("{}…", "é".repeat(80)));
        assert_eq!(shortened(b"a\xff"), "a\u{fffd}");
    }
}
