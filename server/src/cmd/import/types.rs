//! Types and names as the command line has them: `--types city=TEXT,spend=DECIMAL(12,2)`.

use muster_engine::DataType;
use muster_engine::schema::DECIMAL_PRECISION_MAX;

/// The columns that one `--types` decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided(pub(super) Vec<(String, DataType)>);

/// Reads `column=TYPE,…`. Commas in parentheses belong to the type.
pub(super) fn decided(text: &str) -> Result<Decided, String> {
    let mut depth = 0;
    let pairs = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((column, data_type)) if !column.trim().is_empty() => {
                Ok((column.trim().to_owned(), parse(data_type)?))
            }
            _ => Err(format!("expected column=TYPE, found {pair:?}")),
        })
        .collect::<Result<_, _>>()
        .map(Decided)
}

/// Reads a type by its PostgreSQL name or a usual short form, in any case.
pub(super) fn parse(text: &str) -> Result<DataType, String> {
    let name = text.trim().to_ascii_uppercase().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(match name.as_str() {
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "SMALLINT" | "INT2" => DataType::SmallInt,
        "INTEGER" | "INT" | "INT4" => DataType::Integer,
        "BIGINT" | "INT8" => DataType::BigInt,
        "DOUBLE PRECISION" | "DOUBLE" | "FLOAT8" => DataType::Double,
        "TEXT" | "VARCHAR" => DataType::Text,
        "DATE" => DataType::Date,
        "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => DataType::Timestamp,
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => DataType::TimestampTz,
        "TEXT[]" => DataType::TextArray,
        _ => decimal(&name).ok_or_else(|| {
            format!(
                "{:?} is no type; there are BOOLEAN, SMALLINT, INTEGER, BIGINT, DECIMAL(p,s) with p up to \
                 {DECIMAL_PRECISION_MAX}, DOUBLE, TEXT, DATE, TIMESTAMP, TIMESTAMPTZ and TEXT[]",
                text.trim()
            )
        })?,
    })
}

fn decimal(name: &str) -> Option<DataType> {
    let digits = name.strip_prefix("DECIMAL").or_else(|| name.strip_prefix("NUMERIC"))?.trim();
    let digits = digits.strip_prefix('(')?.strip_suffix(')')?;
    let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let possible = (1..=DECIMAL_PRECISION_MAX).contains(&precision) && scale <= precision;
    possible.then_some(DataType::Decimal { precision, scale })
}

/// A type in one word, as `--types` takes it without further thought about blanks.
pub(super) fn compact(data_type: DataType) -> String {
    match data_type {
        DataType::Double => "DOUBLE".to_owned(),
        other => other.to_string(),
    }
}

/// A name as SQL: quoted unless it is plainly an identifier in lower case.
pub(super) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_their_commas() {
        let Decided(pairs) =
            decided("city=text, spend=DECIMAL(12,2),at=timestamp with time zone,x=Double").unwrap();
        let expected = [
            ("city", DataType::Text),
            ("spend", DataType::Decimal { precision: 12, scale: 2 }),
            ("at", DataType::TimestampTz),
            ("x", DataType::Double),
        ];
        assert_eq!(pairs, expected.map(|(name, data_type)| (name.to_owned(), data_type)));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in ["city", "city=", "=TEXT", "city=STRING", "x=DECIMAL(19,2)", "x=DECIMAL(2,3)", ""] {
            assert!(decided(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_type_reads_back_from_its_compact_name() {
        for data_type in [
            DataType::Boolean,
            DataType::Double,
            DataType::Decimal { precision: 18, scale: 18 },
            DataType::TextArray,
            DataType::TimestampTz,
        ] {
            assert_eq!(parse(&compact(data_type)), Ok(data_type));
        }
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(
            ["city", "\"City\"", "\"a \"\"b\"\"\"", "\"1st\""],
            ["city", "City", "a \"b\"", "1st"].map(identifier)[..]
        );
    }
}
