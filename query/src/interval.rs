//! Reading INTERVALs: `'1 month 3 days'`, `'02:30:00'`, `'30' DAY`.

use muster_engine::calendar::MICROS_PER_SECOND;
use muster_engine::predicate::Interval;

const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;

/// True for the names of units.
pub(crate) fn is_unit(name: &str) -> bool {
    unit(name).is_some()
}

/// What a unit counts.
#[derive(Clone, Copy)]
enum Unit {
    Months(i32),
    Days(i32),
    Micros(i64),
}

/// Reads the text of an INTERVAL. `field` is the unit written after the literal; it counts a number that has none of
/// its own (without either it is seconds, as in PostgreSQL). The error ends the sentence `"…" is no INTERVAL: …`.
pub(crate) fn parse(text: &str, field: Option<&str>) -> Result<Interval, String> {
    let default = match field {
        None => Unit::Micros(MICROS_PER_SECOND),
        Some(field) => unit(field)
            .ok_or_else(|| format!("{field} is no unit; write DAY, MONTH, YEAR, HOUR or MINUTE"))?,
    };
    let folded = text.trim().to_ascii_lowercase();
    let (body, ago) = match folded.strip_suffix("ago") {
        Some(body) => (body.trim_end(), true),
        None => (folded.as_str(), false),
    };
    let mut words = body.split_ascii_whitespace().peekable();
    if words.peek().is_none() {
        return Err("it is empty; write it as '30 days'".to_owned());
    }
    let mut total = Interval::default();
    while let Some(word) = words.next() {
        if word.contains(':') {
            add(&mut total, "1", Unit::Micros(clock(word)?))?;
            continue;
        }
        let digits_end = word.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(word.len());
        let (number, own) = word.split_at(digits_end);
        let counted = if !own.is_empty() {
            named(own)?
        } else {
            match words.next_if(|next| next.starts_with(|letter: char| letter.is_ascii_alphabetic())) {
                Some(name) => named(name)?,
                None => default,
            }
        };
        add(&mut total, number, counted)?;
    }
    if ago {
        total = negate(total).ok_or_else(too_long)?;
    }
    Ok(total)
}

fn negate(interval: Interval) -> Option<Interval> {
    Some(Interval {
        months: interval.months.checked_neg()?,
        days: interval.days.checked_neg()?,
        micros: interval.micros.checked_neg()?,
    })
}

fn too_long() -> String {
    "it is too long".to_owned()
}

fn named(name: &str) -> Result<Unit, String> {
    unit(name).ok_or_else(|| format!("{name:?} is no unit; write it as '1 month 3 days' or '02:30:00'"))
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Unit::Micros(1),
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Unit::Micros(1_000),
        "second" | "seconds" | "s" | "sec" | "secs" => Unit::Micros(MICROS_PER_SECOND),
        "minute" | "minutes" | "m" | "min" | "mins" => Unit::Micros(MICROS_PER_MINUTE),
        "hour" | "hours" | "h" | "hr" | "hrs" => Unit::Micros(MICROS_PER_HOUR),
        "day" | "days" | "d" => Unit::Days(1),
        "week" | "weeks" | "w" => Unit::Days(7),
        "month" | "months" | "mon" | "mons" => Unit::Months(1),
        "year" | "years" | "y" | "yr" | "yrs" => Unit::Months(12),
        "decade" | "decades" => Unit::Months(120),
        "century" | "centuries" => Unit::Months(1_200),
        _ => return None,
    })
}

fn add(total: &mut Interval, number: &str, unit: Unit) -> Result<(), String> {
    let overflow = match unit {
        Unit::Months(each) => {
            let sum = whole(number)?.checked_mul(each).and_then(|months| total.months.checked_add(months));
            sum.map(|months| total.months = months)
        }
        Unit::Days(each) => {
            let sum = whole(number)?.checked_mul(each).and_then(|days| total.days.checked_add(days));
            sum.map(|days| total.days = days)
        }
        Unit::Micros(each) => {
            let sum = fractional(number, each)?.and_then(|micros| total.micros.checked_add(micros));
            sum.map(|micros| total.micros = micros)
        }
    };
    overflow.ok_or_else(too_long)
}

fn whole(number: &str) -> Result<i32, String> {
    number.parse().map_err(|_| match number.parse::<f64>() {
        Ok(fraction) if fraction.fract() != 0.0 => {
            format!("{number} is a fraction; days, weeks, months and years are whole")
        }
        Ok(_) => too_long(),
        Err(_) => format!("{number:?} is no number; write it as '1 month 3 days' or '02:30:00'"),
    })
}

/// `number × each` microseconds, exactly, digits beyond a microsecond cut; `None` beyond `i64`.
fn fractional(number: &str, each: i64) -> Result<Option<i64>, String> {
    let refuse = || format!("{number:?} is no number; write it as '1 month 3 days' or '02:30:00'");
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let well_formed = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !well_formed {
        return Err(refuse());
    }
    let fraction = &fraction[..fraction.len().min(15)];
    let all: i128 = format!("{whole}{fraction}").parse().map_err(|_| too_long())?;
    let micros = all.checked_mul(i128::from(each)).map(|micros| micros / 10_i128.pow(fraction.len() as u32));
    Ok(micros.and_then(|micros| i64::try_from(sign * micros).ok()))
}

/// `[-]hours:minutes[:seconds]`
fn clock(word: &str) -> Result<i64, String> {
    let refuse = || format!("{word:?} is no time; write it as '02:30:00'");
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let mut parts = digits.split(':');
    let mut next = |each: i64| match parts.next() {
        Some(part) if part.starts_with(|letter: char| letter.is_ascii_digit()) => {
            fractional(part, each)?.ok_or_else(too_long)
        }
        Some(_) => Err(refuse()),
        None => Ok(0),
    };
    let (hours, minutes, seconds) =
        (next(MICROS_PER_HOUR)?, next(MICROS_PER_MINUTE)?, next(MICROS_PER_SECOND)?);
    if parts.next().is_some() || minutes >= MICROS_PER_HOUR || seconds >= MICROS_PER_MINUTE {
        return Err(refuse());
    }
    hours.checked_add(minutes + seconds).map(|micros| sign * micros).ok_or_else(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (i32, i32, i64) {
        let interval = parse(text, None).unwrap();
        (interval.months, interval.days, interval.micros)
    }

    #[test]
    fn intervals_read_as_postgresql_reads_them() {
        assert_eq!(read("30 days"), (0, 30, 0));
        assert_eq!(read("1 month 3 days"), (1, 3, 0));
        assert_eq!(read("1y 2mon 3d"), (14, 3, 0));
        assert_eq!(read("-1 week"), (0, -7, 0));
        assert_eq!(read("1 day -02:30:00.5"), (0, 1, -9_000_500_000));
        assert_eq!(read("1.5 hours"), (0, 0, 5_400_000_000));
        assert_eq!(read("2 years ago"), (-24, 0, 0));
        assert_eq!(read("90"), (0, 0, 90_000_000));
        assert_eq!(parse("30", Some("DAY")).unwrap().days, 30);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "days",
            "1.5 months",
            "x",
            "1 fortnight",
            "1:99",
            "1:2:3:4",
            "99999999999 years",
            "--1 day",
            "1 day ago ago x",
        ] {
            assert!(parse(text, None).is_err(), "{text:?}");
        }
    }
}
