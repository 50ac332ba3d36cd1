//! Random questions over a table: a predicate of depth up to five, a scope, and what every sink is asked for.

use crate::data::Table;
use crate::literals;
use crate::random::Random;
use muster_engine::exec::{Aggregate, OrderBy};
use muster_engine::predicate::{CompareOp, Literal, Predicate, Truth};
use muster_engine::schema::{ColumnId, DataType};
use muster_engine::value::Value;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

/// Which ordinals a mask holds.
#[derive(Clone, Copy, Debug)]
pub enum Mask {
    None,
    Empty,
    /// Nearly everybody, and ordinals that the table has not.
    Dense(u64),
    /// One in a thousand.
    Sparse(u64),
    /// A span.
    Span(u64),
}

/// All that is asked at once.
#[derive(Clone, Debug)]
pub struct Question {
    pub predicate: Predicate,
    /// What its members are compared with.
    pub others: Vec<Predicate>,
    pub chunks: Option<(u32, u32)>,
    pub mask: Mask,
    pub keys: Vec<ColumnId>,
    /// Keys again, of the types whose groups may be cells of an array.
    pub few: Vec<ColumnId>,
    /// What a profile is made of.
    pub profile: Vec<ColumnId>,
    pub aggregates: Vec<Aggregate>,
    pub order: Vec<OrderBy>,
    pub limit: usize,
    /// Decides what is drawn at check time: the cut into chunk spans, the members that are projected.
    pub dice: u64,
}

/// The id of a column by its place in the table: ids are dealt in the order of the columns.
pub fn id_of(column: usize) -> ColumnId {
    ColumnId(ColumnId::FIRST.0 + column as u32)
}

/// The place of a column by its id.
pub fn column_of(id: ColumnId) -> usize {
    (id.0 - ColumnId::FIRST.0) as usize
}

pub fn questions(table: &Table, random: &mut Random) -> BoxedStrategy<Question> {
    let types: Vec<DataType> = table.specs.iter().map(|spec| spec.data_type).collect();
    let with = |test: &dyn Fn(DataType) -> bool| -> Vec<ColumnId> {
        (0..types.len()).filter(|c| test(types[*c])).map(id_of).collect()
    };
    let ordered = with(&|t| t != DataType::TextArray);
    let mut coded = with(&|t| matches!(t, DataType::Boolean | DataType::Text));
    if coded.is_empty() {
        coded.clone_from(&ordered);
    }
    let mut aggregates = vec![Aggregate::CountAll];
    aggregates.extend(with(&|_| true).into_iter().map(Aggregate::Count));
    for column in with(&DataType::is_number) {
        aggregates.extend([Aggregate::Sum(column), Aggregate::Avg(column)]);
    }
    for column in with(&|t| !matches!(t, DataType::Boolean | DataType::TextArray)) {
        aggregates.extend([Aggregate::Min(column), Aggregate::Max(column)]);
    }
    let order = (select(ordered.clone()), any::<bool>(), any::<bool>());
    let order =
        order.prop_map(|(column, descending, nulls_first)| OrderBy { column, descending, nulls_first });
    let some = |max: usize, ids: Vec<ColumnId>| prop::collection::vec(select(ids), 0..=max);
    let mask = prop_oneof![
        3 => Just(Mask::None),
        1 => Just(Mask::Empty),
        2 => any::<u64>().prop_map(Mask::Dense),
        2 => any::<u64>().prop_map(Mask::Sparse),
        2 => any::<u64>().prop_map(Mask::Span),
    ];
    let chunks = prop_oneof![
        2 => Just(None),
        1 => (0..4_u32, 0..5_u32).prop_map(|(from, many)| Some((from, from + many))),
    ];
    (
        predicates(table, random),
        prop::collection::vec(predicates(table, random), 0..=2),
        chunks,
        mask,
        some(3, ordered),
        some(3, coded),
        some(4, with(&|_| true)),
        prop::collection::vec(select(aggregates), 0..=5),
        prop::collection::vec(order, 1..=3),
        select(vec![0, 1, 2, 10, 100, 1000, 5000, 70_000, usize::MAX]),
        any::<u64>(),
    )
        .prop_map(|(predicate, others, chunks, mask, keys, few, profile, aggregates, order, limit, dice)| {
            Question { predicate, others, chunks, mask, keys, few, profile, aggregates, order, limit, dice }
        })
        .boxed()
}

/// Predicates over the columns of a table, with literals drawn from its rows.
pub fn predicates(table: &Table, random: &mut Random) -> BoxedStrategy<Predicate> {
    let mut leaves: Vec<(u32, BoxedStrategy<Predicate>)> = Vec::new();
    for column in 0..table.specs.len() {
        leaves.push((10, column_leaves(table, column, random)));
    }
    leaves.push((
        3,
        select(vec![Truth::True, Truth::False, Truth::Unknown]).prop_map(Predicate::Const).boxed(),
    ));
    let leaves = Union::new_weighted(leaves);
    // Long conjunctions of plain clauses take ways of their own: merged ranges, covers, lists of few members.
    let plain = prop::collection::vec(leaves.clone(), 3..=8).prop_map(Predicate::And);
    let tree = leaves.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            10 => prop::collection::vec(inner.clone(), 1..=4).prop_map(Predicate::And),
            10 => prop::collection::vec(inner.clone(), 1..=4).prop_map(Predicate::Or),
            5 => inner.prop_map(Predicate::not),
            1 => select(vec![Predicate::And(vec![]), Predicate::Or(vec![])]),
        ]
    });
    prop_oneof![4 => tree, 1 => plain].boxed()
}

fn column_leaves(table: &Table, column: usize, random: &mut Random) -> BoxedStrategy<Predicate> {
    let id = id_of(column);
    let is_null = Just(Predicate::IsNull(id));
    match table.specs[column].data_type {
        DataType::TextArray => {
            let tags = prop::collection::vec(select(literals::tags(table, column, random)), 0..=5);
            prop_oneof![
                1 => is_null,
                3 => tags.clone().prop_map(move |tags| Predicate::HasAny { column: id, tags }),
                2 => tags.prop_map(move |tags| Predicate::HasAll { column: id, tags }),
            ]
            .boxed()
        }
        data_type => {
            let literals = literals::literals(table, column, random);
            let bare =
                if data_type == DataType::Boolean { Predicate::IsTrue(id) } else { Predicate::IsNull(id) };
            prop_oneof![
                1 => is_null,
                2 => Just(bare),
                8 => (select(operators()), one(&literals))
                    .prop_map(move |(op, literal)| Predicate::Compare { column: id, op, literal }),
                2 => (one(&literals), one(&literals)).prop_map(move |(low, high)| Predicate::And(vec![
                    Predicate::Compare { column: id, op: CompareOp::Ge, literal: low },
                    Predicate::Compare { column: id, op: CompareOp::Le, literal: high },
                ])),
                2 => (prop::collection::vec(select(literals.clone()), 0..=50), prop::bool::weighted(0.2)).prop_map(
                    move |(mut literals, null)| {
                        if null {
                            literals.insert(literals.len() / 2, Literal::Value(Value::Null));
                        }
                        Predicate::In { column: id, literals }
                    }
                ),
            ]
            .boxed()
        }
    }
}

fn operators() -> Vec<CompareOp> {
    vec![CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge]
}

fn one(literals: &[Literal]) -> impl Strategy<Value = Literal> + use<> {
    prop_oneof![
        15 => select(literals.to_vec()),
        1 => Just(Literal::Value(Value::Null)),
    ]
}
