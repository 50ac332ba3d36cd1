//! Rows that are made of rows, as bytes.

use super::*;
use crate::predicate::{
    Derived, Frame, FrameBound, FrameOffset, FrameUnit, FunnelModes, Join, JoinKind, ROWS_DEPTH_MAX,
    Relation, RowAggregate, RowFunction, Scan, SortKey, Tie, WindowCall, WindowFunction,
};

const JOINS: [JoinKind; 5] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Single, JoinKind::Mark(COLUMN), JoinKind::In(COLUMN)];

fn row_functions() -> Vec<RowFunction> {
    let mut functions: Vec<RowFunction> = AGGREGATES.map(RowFunction::Fold).into();
    functions.extend([RowFunction::ArgMin, RowFunction::ArgMax, RowFunction::Median]);
    functions.extend([true, false].map(|strict| RowFunction::Funnel { micros: 7, strict }));
    functions
}

/// Those that came later: in samples of their own.
fn later_row_functions() -> Vec<RowFunction> {
    let mut functions = Vec::new();
    functions.extend(FunnelModes::NAMED.map(|(_, modes)| RowFunction::WindowFunnel { micros: 7, modes }));
    functions.extend([true, false].map(|counts| RowFunction::Sequence { counts }));
    functions.extend([true, false].map(|descending| RowFunction::QuantileDisc { descending }));
    functions.extend([true, false].map(|descending| RowFunction::Mode { descending }));
    functions.extend([
        RowFunction::Consecutive { micros: 7 },
        RowFunction::CountDistinct,
        RowFunction::QuantileCont,
    ]);
    functions
}

fn window_functions() -> Vec<WindowFunction> {
    let mut functions: Vec<WindowFunction> = AGGREGATES.map(WindowFunction::Fold).into();
    functions.extend([WindowFunction::RowNumber, WindowFunction::Rank, WindowFunction::DenseRank]);
    functions.extend([WindowFunction::Ntile(5), WindowFunction::Lag(1), WindowFunction::Lead(2)]);
    functions
}

/// Each unit, and each kind of end.
fn frames() -> Vec<Frame> {
    let frame = |unit, start, end| Frame { unit, start, end };
    let (count, value) = (FrameOffset::Count(2), FrameOffset::Value(Expr::Column(COLUMN)));
    vec![
        frame(FrameUnit::Rows, FrameBound::First, FrameBound::Current),
        frame(FrameUnit::Groups, FrameBound::Before(count.clone()), FrameBound::After(count)),
        frame(FrameUnit::Range, FrameBound::Before(value.clone()), FrameBound::After(value)),
        frame(FrameUnit::Range, FrameBound::Current, FrameBound::Last),
    ]
}

fn scan() -> Relation {
    let columns = vec![(COLUMN, ColumnId(1)), (ColumnId::LIVE, ColumnId(2))];
    Relation::Scan(Scan { table: TableId(0x0506), condition: Predicate::IsTrue(COLUMN), columns })
}

fn key(descending: bool, nulls_first: bool) -> SortKey {
    SortKey { value: Expr::Column(COLUMN), descending, nulls_first }
}

/// A tree for each kind of step, and each number in it.
pub(super) fn samples() -> Vec<Predicate> {
    let (input, column) = (|| Box::new(scan()), || Expr::Column(COLUMN));
    let join = |kind| {
        let (keys, condition) = (vec![(column(), Expr::Ordinal)], Some(column()));
        Relation::Join(Box::new(Join { left: scan(), right: scan(), kind, keys, condition }))
    };
    let aggregate = |function| {
        let filter = (function == RowFunction::Median).then(column);
        let distinct = function == RowFunction::Fold(FoldFunction::Sum);
        (COLUMN, RowAggregate { function, arguments: vec![column()], distinct, filter })
    };
    let call = |function| (COLUMN, WindowCall { function, arguments: vec![column()], frame: None });
    let mut trees = vec![
        scan(),
        Relation::Filter { input: input(), condition: column() },
        Relation::Compute { input: input(), outputs: vec![(COLUMN, Expr::Ordinal)] },
        Relation::Group {
            input: input(),
            keys: vec![(COLUMN, column())],
            aggregates: row_functions().into_iter().map(aggregate).collect(),
        },
        Relation::Window {
            input: input(),
            partition: vec![column()],
            order: vec![key(true, false)],
            outputs: window_functions().into_iter().map(call).collect(),
        },
        Relation::Sort { input: input(), order: vec![key(false, true)], offset: 3, limit: Some(4) },
        Relation::Sort { input: input(), order: vec![], offset: 0, limit: None },
    ];
    trees.extend(JOINS.map(join));
    let tie = Tie::In { column: COLUMN, value: ColumnId(1) };
    let derived = |rows| Predicate::Derived(Arc::new(Derived { rows, tie, certainly: None }));
    let mut samples: Vec<Predicate> = trees.into_iter().map(derived).collect();
    samples.extend([false, true].map(|certainly| {
        let tie = Tie::Truth { ordinal: ColumnId(2), truth: ColumnId(1) };
        Predicate::Derived(Arc::new(Derived { rows: scan(), tie, certainly: Some(certainly) }))
    }));
    samples.push(derived(Relation::Group {
        input: input(),
        keys: vec![],
        aggregates: later_row_functions().into_iter().map(aggregate).collect(),
    }));
    samples.push(derived(join(JoinKind::Full)));
    let inputs = vec![(vec![ColumnId(1)], scan()), (vec![ColumnId(2)], scan())];
    samples.push(derived(Relation::Append { columns: vec![COLUMN], inputs }));
    let later = [WindowFunction::FirstValue, WindowFunction::LastValue, WindowFunction::NthValue(3)];
    let framed = frames().into_iter().map(|frame| {
        let function = WindowFunction::Fold(FoldFunction::Sum);
        (COLUMN, WindowCall { function, arguments: vec![column()], frame: Some(frame) })
    });
    samples.push(derived(Relation::Window {
        input: input(),
        partition: vec![],
        order: vec![key(false, false)],
        outputs: later.map(call).into_iter().chain(framed).collect(),
    }));
    samples
}

fn named<T: std::fmt::Debug>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<(ColumnId, T)>> + Clone {
    proptest::collection::vec((any::<u32>().prop_map(ColumnId), value), 0..3)
}

fn any_tree(
    condition: impl Strategy<Value = Predicate> + Clone + 'static,
) -> impl Strategy<Value = Relation> {
    let column = any::<u32>().prop_map(ColumnId);
    let columns = proptest::collection::vec((column.clone(), column), 0..4);
    let scan = (any::<u32>(), condition, columns).prop_map(|(table, condition, columns)| {
        Relation::Scan(Scan { table: TableId(table), condition, columns })
    });
    let expr = || any_expr().boxed();
    let exprs = move || proptest::collection::vec(expr(), 0..3).boxed();
    let keys = move || {
        let key = (expr(), any::<bool>(), any::<bool>())
            .prop_map(|(value, descending, nulls_first)| SortKey { value, descending, nulls_first });
        proptest::collection::vec(key, 0..3)
    };
    scan.prop_recursive(3, 8, 2, move |inner| {
        let input = || inner.clone().prop_map(Box::new);
        let maybe = || proptest::option::of(expr());
        let functions = [row_functions(), later_row_functions()].concat();
        let aggregate = (proptest::sample::select(functions), exprs(), any::<bool>(), maybe()).prop_map(
            |(function, arguments, distinct, filter)| RowAggregate { function, arguments, distinct, filter },
        );
        let frame = proptest::option::of(proptest::sample::select(frames()));
        let call = (proptest::sample::select(window_functions()), exprs(), frame)
            .prop_map(|(function, arguments, frame)| WindowCall { function, arguments, frame });
        let pairs = proptest::collection::vec((expr(), expr()), 0..2);
        prop_oneof![
            (input(), expr()).prop_map(|(input, condition)| Relation::Filter { input, condition }),
            (input(), named(expr())).prop_map(|(input, outputs)| Relation::Compute { input, outputs }),
            (
                inner.clone(),
                inner.clone(),
                proptest::sample::select([JOINS.as_slice(), &[JoinKind::Full]].concat()),
                pairs,
                maybe()
            )
                .prop_map(|(left, right, kind, keys, condition)| {
                    Relation::Join(Box::new(Join { left, right, kind, keys, condition }))
                }),
            (any::<u32>().prop_map(ColumnId), inner.clone(), inner.clone()).prop_map(
                |(id, first, second)| {
                    Relation::Append { columns: vec![id], inputs: vec![(vec![id], first), (vec![], second)] }
                }
            ),
            (input(), named(expr()), named(aggregate.boxed()))
                .prop_map(|(input, keys, aggregates)| Relation::Group { input, keys, aggregates }),
            (input(), exprs(), keys(), named(call.boxed())).prop_map(|(input, partition, order, outputs)| {
                Relation::Window { input, partition, order, outputs }
            }),
            (input(), keys(), any::<u64>(), any::<Option<u64>>())
                .prop_map(|(input, order, offset, limit)| Relation::Sort { input, order, offset, limit }),
        ]
    })
}

pub(super) fn any_derived(
    condition: impl Strategy<Value = Predicate> + Clone + 'static,
) -> impl Strategy<Value = Predicate> {
    (any_tree(condition), any::<[u32; 2]>(), any::<bool>(), any::<Option<bool>>()).prop_map(
        |(rows, [a, b], is_in, certainly)| {
            let (a, b) = (ColumnId(a), ColumnId(b));
            let tie =
                if is_in { Tie::In { column: a, value: b } } else { Tie::Truth { ordinal: a, truth: b } };
            Predicate::Derived(Arc::new(Derived { rows, tie, certainly }))
        },
    )
}

/// On the stack that a thread of Rust's has, unoptimised.
#[test]
fn steps_are_limited_both_ways() {
    let nested = |steps: usize| {
        let filter = |input| Relation::Filter { input: Box::new(input), condition: Expr::Ordinal };
        let rows = (1..steps).fold(scan(), |rows, _| filter(rows));
        let tie = Tie::In { column: COLUMN, value: COLUMN };
        Predicate::Derived(Arc::new(Derived { rows, tie, certainly: None }))
    };
    let deepest = nested(ROWS_DEPTH_MAX);
    let bytes = encode(&deepest).unwrap();
    assert_eq!(decode(&bytes).unwrap(), deepest);
    assert!(encode(&nested(ROWS_DEPTH_MAX + 1)).unwrap_err().to_string().contains("steps"));
    // One more before the first: the tag of the predicate, what it is for certain, and the tie come before.
    let mut deeper = bytes;
    let first = 2 + 2 + 1 + 2 + 4 + 4;
    deeper.splice(first..first, tag::ROWS_FILTER.to_le_bytes());
    assert!(decode(&deeper).unwrap_err().expected.contains("steps of rows"));
}
