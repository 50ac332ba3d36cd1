//! The parser at its limits, on a stack of 2 MiB, and against nonsense.

use super::*;
use crate::dialect::{DEPTH_MAX, LIST_ITEMS_MAX, TERMS_MAX};
use crate::error::QueryErrorKind;
use crate::statement::Condition;

/// Runs on the stack that Rust gives to threads, whatever the environment says.
fn on_two_mebibytes<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn filter(condition: &str) -> Result<Condition> {
    match parse(&format!("SELECT count(*) FROM t WHERE {condition}"), &[])? {
        Statement::Select(select) => Ok(select.filter.unwrap()),
        other => panic!("{other:?}"),
    }
}

fn kind(error: Error) -> QueryErrorKind {
    match error {
        Error::Query { kind, .. } => kind,
        other => panic!("{other}"),
    }
}

/// Conditions nested to a depth, in every way that nests.
fn nested(depth: usize) -> Vec<String> {
    let wrap = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        wrap("(", "a = 1", ")"),
        wrap("NOT ", "a", ""),
        wrap("NOT (", "a = 1", ")"),
        wrap("(b OR ", "a = 1", ")"),
        wrap("(b = 1 AND ", "a = 1", ")"),
        wrap("(", "a", " AND b = 2)"),
        format!("a = {}1{}", "(".repeat(depth), ")".repeat(depth)),
        format!("a = {}1{}", "-(".repeat(depth), ")".repeat(depth)),
    ]
}

#[test]
fn two_hundred_levels_are_answered_and_more_are_refused() {
    on_two_mebibytes(|| {
        for condition in nested(DEPTH_MAX) {
            filter(&condition).unwrap_or_else(|error| panic!("{error}: {condition}"));
        }
        for depth in [DEPTH_MAX + 1, 10_000, 200_000] {
            for condition in nested(depth) {
                assert_eq!(kind(filter(&condition).unwrap_err()), QueryErrorKind::Limit, "{depth}");
            }
        }
    });
}

#[test]
fn ten_thousand_terms_are_answered_and_more_are_refused() {
    on_two_mebibytes(|| {
        for (joint, term) in
            [(" OR ", "a = 1"), (" AND ", "a BETWEEN 1 AND 2"), (" OR ", "NOT a"), (" AND ", "(a = 1 OR b)")]
        {
            let own = if term.contains("OR") { 2 } else { 1 };
            let terms = TERMS_MAX / own;
            let condition = filter(&vec![term; terms].join(joint)).unwrap();
            match condition {
                // A BETWEEN at the start of a chain brings two.
                Condition::And(found) | Condition::Or(found) => assert!(found.len() - terms <= 1),
                other => panic!("{other:?}"),
            }
            for more in [terms + 1, 200_000] {
                assert_eq!(kind(filter(&vec![term; more].join(joint)).unwrap_err()), QueryErrorKind::Limit);
            }
        }
    });
}

#[test]
fn other_chains_are_limited_too() {
    on_two_mebibytes(|| {
        filter(&format!("a = 1{}", " + 1".repeat(900))).unwrap();
        for condition in [
            format!("a = 1{}", " + 1".repeat(100_000)),
            format!("a{}", " IS NULL".repeat(100_000)),
            format!("a = '1'{}", "::TEXT".repeat(100_000)),
            format!("a = {}'1 day'", "INTERVAL ".repeat(100_000)),
            format!("a = {}1", "- ".repeat(100_000)),
            format!("a{}", "[1]".repeat(100_000)),
            format!("{} 1", "a BETWEEN 1 AND ".repeat(100_000)),
            format!("a = CAST('' AS {}TEXT", "ARRAY<".repeat(100_000)),
            format!("a = '' :: TEXT{}", "[]".repeat(100_000)),
            format!("a = {}", "f(".repeat(100_000)),
        ] {
            assert_eq!(kind(filter(&condition).unwrap_err()), QueryErrorKind::Limit, "{}", &condition[..40]);
        }
        // What recurses without parentheses is refused before the stack ends, whatever its name.
        for word in [
            "CASE WHEN ",
            "PRIOR ",
            "INTERVAL ",
            "EXISTS ",
            "DISTINCT ",
            "ARRAY ",
            "STRUCT ",
            "DATE ",
            "@",
            "~",
            "!",
            "|/",
        ] {
            for times in [10, 50, 100, 500, 1000] {
                let _ = filter(&format!("a = {}1", word.repeat(times)));
            }
        }
    });
}

#[test]
fn a_million_literals_make_one_list() {
    on_two_mebibytes(|| {
        let list =
            |items: usize| (0..items).map(|i| format!("{}", i as i64 - 5)).collect::<Vec<_>>().join(",");
        match filter(&format!("a IN ({})", list(LIST_ITEMS_MAX))).unwrap() {
            Condition::In { list, .. } => assert_eq!(list.len(), LIST_ITEMS_MAX),
            other => panic!("{other:?}"),
        }
        let more = filter(&format!("a IN ({})", list(LIST_ITEMS_MAX + 1)));
        assert_eq!(kind(more.unwrap_err()), QueryErrorKind::Limit);
    });
}

#[test]
fn long_and_short_lists_read_alike() {
    let short = filter("a NOT IN (-1, 2.5, 'x', NULL)").unwrap();
    let long = filter(&format!("a NOT IN (-1, 2.5, 'x', NULL{})", ", 0".repeat(30))).unwrap();
    let kinds = |condition: Condition| match condition {
        Condition::Not(inner) => match *inner {
            Condition::In { list, .. } => list
                .into_iter()
                .take(4)
                .map(|term| format!("{:?} {:?}", term.kind, term.span))
                .collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(kinds(short), kinds(long));
}

/// Pieces of statements in any order never panic, and every error's span lies within the text.
#[test]
fn nonsense_is_refused_without_a_panic() {
    let pieces = [
        "SELECT",
        "count(*)",
        "FROM",
        "t",
        "WHERE",
        "a",
        "=",
        "1",
        "'x'",
        "AND",
        "OR",
        "NOT",
        "(",
        ")",
        ",",
        "IN",
        "BETWEEN",
        "IS",
        "NULL",
        "TRUE",
        "ANY",
        "ALL",
        "ARRAY",
        "[",
        "]",
        "@>",
        "&&",
        "GROUP",
        "BY",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "DATE",
        "INTERVAL",
        "'1 day'",
        "now()",
        "-",
        "+",
        "::",
        "CREATE",
        "TABLE",
        "COPY",
        "*",
        ".",
        ";",
        "城市",
        "\"城\"",
        "DECIMAL(12,2)",
        "PRIMARY",
        "KEY",
        "1.5e3",
        "AS",
        "\n",
        "--c\n",
        "DESC",
        "$1",
        "CASE",
        "END",
        "'",
        "\"",
        "E'\\''",
        "/*",
        "TEXT[]",
    ];
    let mut state = 42_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let start =
            ["SELECT count(*) FROM t WHERE", "SELECT", "CREATE TABLE t (", "COPY t FROM", ""][next(5)];
        let mut sql = start.to_owned();
        for _ in 0..next(12) {
            sql += " ";
            sql += pieces[next(pieces.len())];
        }
        if let Err(error) = parse(&sql, &[]) {
            if let Error::Query { span: Some(span), .. } = &error {
                assert!(span.start <= span.end && span.end <= sql.len(), "{span:?} in {sql:?}: {error}");
            }
            error.render(&sql);
        }
    }
}
