//! Trees of rows as no SELECT makes them, as a damaged catalog might hold them: columns that are not there, arguments too many or
//! of another kind, windows of nothing. Each is answered or refused, never a panic.

use muster_engine::exec::{Count, FoldFunction, Scope, evaluate, rows_of};
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{
    CompareOp, Derived, Frame, FrameBound, FrameOffset, FrameUnit, FunnelModes, Join, JoinKind, Predicate,
    Relation, RowAggregate, RowFunction, Scan, SortKey, Tie, WindowCall, WindowFunction,
};
use muster_engine::schema::{ColumnId, TableId};
use muster_engine::{Cancel, Value};
use musterdb::Database;
use proptest::prelude::*;
use std::sync::Arc;

fn any_id() -> impl Strategy<Value = ColumnId> + Clone {
    (0u32..7).prop_map(ColumnId)
}

fn any_expr() -> BoxedStrategy<Expr> {
    let value = prop_oneof![
        Just(Value::Null),
        (-3i64..4).prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        Just(Value::Double(f64::NAN)),
        Just(Value::Text("a".into())),
        (-9i32..9).prop_map(Value::Date),
        Just(Value::Tags(vec!["b".into()])),
    ];
    let leaf = prop_oneof![3 => any_id().prop_map(Expr::Column), 1 => value.prop_map(Expr::value), 1 => Just(Expr::Ordinal)];
    let functions = vec![
        Function::Add,
        Function::Compare(CompareOp::Lt),
        Function::IsNull,
        Function::Case,
        Function::Coalesce,
        Function::Divide,
        Function::And,
        Function::Lower,
    ];
    leaf.prop_recursive(2, 6, 3, move |inner| {
        (proptest::sample::select(functions.clone()), proptest::collection::vec(inner, 0..4))
            .prop_map(|(function, arguments)| Expr::Call { function, arguments })
    })
    .boxed()
}

fn any_exprs() -> BoxedStrategy<Vec<Expr>> {
    proptest::collection::vec(any_expr(), 0..4).boxed()
}

fn any_order() -> impl Strategy<Value = Vec<SortKey>> {
    let key = (any_expr(), any::<bool>(), any::<bool>())
        .prop_map(|(value, descending, nulls_first)| SortKey { value, descending, nulls_first });
    proptest::collection::vec(key, 0..3)
}

fn any_fold() -> impl Strategy<Value = FoldFunction> {
    use FoldFunction::{Avg, Count, Max, Min, Sum};
    proptest::sample::select(vec![Count, Sum, Avg, Min, Max])
}

fn any_aggregate() -> impl Strategy<Value = (ColumnId, RowAggregate)> {
    let function = prop_oneof![
        any_fold().prop_map(RowFunction::Fold),
        Just(RowFunction::ArgMin),
        Just(RowFunction::ArgMax),
        Just(RowFunction::Median),
        (any::<i64>(), any::<bool>()).prop_map(|(micros, strict)| RowFunction::Funnel { micros, strict }),
        (any::<i64>(), 0u8..32).prop_map(|(micros, bits)| {
            let modes = FunnelModes::of_bits(bits).unwrap_or_default();
            RowFunction::WindowFunnel { micros, modes }
        }),
        any::<i64>().prop_map(|micros| RowFunction::Consecutive { micros }),
        any::<bool>().prop_map(|counts| RowFunction::Sequence { counts }),
        Just(RowFunction::CountDistinct),
        Just(RowFunction::QuantileCont),
        any::<bool>().prop_map(|descending| RowFunction::QuantileDisc { descending }),
        any::<bool>().prop_map(|descending| RowFunction::Mode { descending }),
    ];
    (any_id(), function, any_exprs(), any::<bool>(), proptest::option::of(any_expr())).prop_map(
        |(id, function, arguments, distinct, filter)| {
            (id, RowAggregate { function, arguments, distinct, filter })
        },
    )
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let offset = || {
        prop_oneof![
            prop_oneof![0u32..4, Just(u32::MAX)].prop_map(FrameOffset::Count),
            any_expr().prop_map(FrameOffset::Value)
        ]
    };
    let bound = || {
        prop_oneof![
            Just(FrameBound::First),
            offset().prop_map(FrameBound::Before),
            Just(FrameBound::Current),
            offset().prop_map(FrameBound::After),
            Just(FrameBound::Last),
        ]
    };
    let unit = proptest::sample::select(vec![FrameUnit::Rows, FrameUnit::Groups, FrameUnit::Range]);
    (unit, bound(), bound()).prop_map(|(unit, start, end)| Frame { unit, start, end })
}

fn any_call() -> impl Strategy<Value = (ColumnId, WindowCall)> {
    let function = prop_oneof![
        any_fold().prop_map(WindowFunction::Fold),
        Just(WindowFunction::RowNumber),
        Just(WindowFunction::Rank),
        Just(WindowFunction::DenseRank),
        (0u32..4).prop_map(WindowFunction::Ntile),
        any::<u32>().prop_map(WindowFunction::Lag),
        any::<u32>().prop_map(WindowFunction::Lead),
        Just(WindowFunction::FirstValue),
        Just(WindowFunction::LastValue),
        any::<u32>().prop_map(WindowFunction::NthValue),
    ];
    (any_id(), function, any_exprs(), proptest::option::of(any_frame()))
        .prop_map(|(id, function, arguments, frame)| (id, WindowCall { function, arguments, frame }))
}

fn any_rows() -> impl Strategy<Value = Relation> {
    let whole: Vec<(ColumnId, ColumnId)> = (0..6).map(|id| (ColumnId(id), ColumnId(id))).collect();
    let some = proptest::collection::vec((any_id(), any_id()), 0..6);
    let columns = prop_oneof![4 => Just(whole), 1 => some];
    let condition = prop_oneof![3 => Just(Predicate::everyone()), 1 => any_expr().prop_map(Predicate::Holds)];
    // Mostly the table that is there.
    let table = prop_oneof![9 => Just(1u32), 1 => Just(7)];
    let scan = (table, condition, columns).prop_map(|(table, condition, columns)| {
        Relation::Scan(Scan { table: TableId(table), condition, columns })
    });
    scan.prop_recursive(4, 10, 2, |inner| {
        let input = || inner.clone().prop_map(Box::new);
        let named = || proptest::collection::vec((any_id(), any_expr()), 0..3);
        let kind = prop_oneof![
            Just(JoinKind::Inner),
            Just(JoinKind::Left),
            Just(JoinKind::Full),
            Just(JoinKind::Single),
            any_id().prop_map(JoinKind::Mark),
            any_id().prop_map(JoinKind::In),
        ];
        let keys = proptest::collection::vec((any_expr(), any_expr()), 0..2);
        prop_oneof![
            (input(), any_expr()).prop_map(|(input, condition)| Relation::Filter { input, condition }),
            (input(), named()).prop_map(|(input, outputs)| Relation::Compute { input, outputs }),
            (inner.clone(), inner.clone(), kind, keys, proptest::option::of(any_expr())).prop_map(
                |(left, right, kind, keys, condition)| {
                    Relation::Join(Box::new(Join { left, right, kind, keys, condition }))
                }
            ),
            (proptest::collection::vec(any_id(), 0..3), any_id(), inner.clone(), inner.clone()).prop_map(
                |(columns, id, first, second)| {
                    let inputs = vec![(columns.clone(), first), (vec![id; columns.len()], second)];
                    Relation::Append { columns, inputs }
                }
            ),
            (input(), named(), proptest::collection::vec(any_aggregate(), 0..3))
                .prop_map(|(input, keys, aggregates)| Relation::Group { input, keys, aggregates }),
            (input(), any_exprs(), any_order(), proptest::collection::vec(any_call(), 0..3)).prop_map(
                |(input, partition, order, outputs)| Relation::Window { input, partition, order, outputs }
            ),
            (input(), any_order(), 0u64..9, proptest::option::of(0u64..9))
                .prop_map(|(input, order, offset, limit)| Relation::Sort { input, order, offset, limit }),
        ]
    })
}

#[test]
fn no_tree_of_rows_panics() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    session
        .execute("CREATE TABLE t (id BIGINT PRIMARY KEY, city TEXT, born DATE, tags TEXT[], n INTEGER)")
        .unwrap();
    let row = |id: usize| match id % 3 {
        0 => format!("({id}, NULL, NULL, NULL, NULL)"),
        kind => format!("({id}, 'c{}', '2000-01-0{kind}', '{{a}}', {kind})", id % 4),
    };
    let rows: Vec<String> = (0..23).map(row).collect();
    session.execute(&format!("INSERT INTO t VALUES {}", rows.join(", "))).unwrap();
    let snapshot = db.engine().snapshot();
    let table = snapshot.table_named("t").unwrap().id;
    assert_eq!(table, TableId(1), "the trees are of this table");
    let answered = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&(any_rows(), any_id(), any_id(), any::<bool>()), |(rows, a, b, is_in)| {
            let cancel = Cancel::default();
            answered.set(answered.get() + usize::from(rows_of(&snapshot, &rows, &cancel).is_ok()));
            let tie =
                if is_in { Tie::In { column: a, value: b } } else { Tie::Truth { ordinal: a, truth: b } };
            let derived = Predicate::Derived(Arc::new(Derived { rows, tie, certainly: None }));
            // An answer or an error: either will do.
            let _ = evaluate(&snapshot, table, &derived, &Scope::default(), &cancel, &Count);
            Ok(())
        })
        .unwrap();
    assert!(answered.get() > 400, "{} of 4000 trees were answered", answered.get());
}
