//! The words of the language: for colours and for completion. The parser does not read them; a word too many here is
//! coloured in vain and nothing else.

/// Words that begin a statement.
pub(super) const OPENINGS: [&str; 21] = [
    "SELECT",
    "SHOW",
    "DESCRIBE",
    "CREATE",
    "COPY",
    "EXPLAIN",
    "SET",
    "ALTER",
    "DROP",
    "PROFILE",
    "OVERLAP",
    "RESET",
    "INSERT",
    "UPDATE",
    "DELETE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "CHECKPOINT",
    "BACKUP",
    "REFRESH",
];

/// Words with a meaning of their own, sorted.
pub(super) const KEYWORDS: [&str; 137] = [
    "ABORT",
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "AT",
    "AUDIENCE",
    "AUDIENCES",
    "BACKUP",
    "BEGIN",
    "BERNOULLI",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "CASCADE",
    "CASE",
    "CAST",
    "CHECKPOINT",
    "COLUMN",
    "COMMIT",
    "CONFLICT",
    "COPY",
    "CREATE",
    "CROSS",
    "CSV",
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "DATE",
    "DAY",
    "DECIMAL",
    "DEFAULT",
    "DELETE",
    "DELIMITER",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DO",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCLUDED",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FIRST",
    "FORMAT",
    "FROM",
    "GROUP",
    "HAVING",
    "HEADER",
    "HOUR",
    "IF",
    "ILIKE",
    "IN",
    "INSERT",
    "INTEGER",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "JSONL",
    "KEY",
    "LAST",
    "LIKE",
    "LIMIT",
    "MINUTE",
    "MONTH",
    "NOT",
    "NOTHING",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "OVERLAP",
    "PARQUET",
    "PARTITION",
    "PASSWORD",
    "PRECISION",
    "PRIMARY",
    "PROFILE",
    "QUARTER",
    "REFRESH",
    "RENAME",
    "REPEATABLE",
    "REPLACE",
    "RESET",
    "RESTRICT",
    "ROARING",
    "ROLE",
    "ROLLBACK",
    "SECOND",
    "SELECT",
    "SET",
    "SHOW",
    "SMALLINT",
    "SOME",
    "START",
    "STATIC",
    "TABLE",
    "TABLES",
    "TABLESAMPLE",
    "TEXT",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TO",
    "TRANSACTION",
    "TRUE",
    "UNKNOWN",
    "UPDATE",
    "USER",
    "USERS",
    "USING",
    "VALUES",
    "VIEW",
    "VIEWS",
    "WEEK",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "YEAR",
    "ZONE",
];

/// What has a parenthesis like a function, and a grammar of its own.
const CALLS: [&str; 27] = [
    "arg_max(",
    "arg_min(",
    "avg(",
    "count(",
    "dense_rank(",
    "extract(",
    "first_value(",
    "funnel(",
    "in_audience(",
    "lag(",
    "last_value(",
    "lead(",
    "max(",
    "median(",
    "min(",
    "mode(",
    "now()",
    "nth_value(",
    "ntile(",
    "quantile_cont(",
    "quantile_disc(",
    "rank(",
    "row_number(",
    "sequence_count(",
    "sequence_match(",
    "sum(",
    "window_funnel(",
];

/// Functions, aggregates and their kin, with the parenthesis that follows them.
pub(super) fn functions() -> impl Iterator<Item = String> {
    let named = musterdb::FUNCTIONS.iter().map(|(name, _)| format!("{name}("));
    named.chain(CALLS.map(str::to_owned))
}

/// True for a keyword in any case.
pub(super) fn is_keyword(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    KEYWORDS.binary_search(&upper.as_str()).is_ok()
}

/// Letters to insert, delete or change until one word is the other; upper and lower case are alike.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let changed = last[j] + usize::from(letter != b[j]);
            row.push(changed.min(last[j + 1] + 1).min(row[j] + 1));
        }
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_and_found() {
        assert!(KEYWORDS.is_sorted());
        assert!(is_keyword("select") && is_keyword("Zone") && !is_keyword("city"));
        assert!(OPENINGS.iter().all(|word| is_keyword(word)));
    }

    #[test]
    fn distances_count_letters() {
        assert_eq!([distance("timing", "timing"), distance("tming", "timing")], [0, 1]);
        assert_eq!([distance("", "abc"), distance("城", "x")], [3, 1]);
    }
}
