//! The same rows under other names: a tree that stands twice in another one, whose ids are unique there.

use super::{
    Frame, FrameBound, FrameOffset, Join, JoinKind, Relation, RowAggregate, Scan, SortKey, WindowCall,
};
use crate::expr::Expr;
use crate::schema::ColumnId;

/// What each value is called from now on.
type Name<'n> = &'n dyn Fn(ColumnId) -> ColumnId;

impl Relation {
    /// A copy whose values have other ids, those of its expressions too. Columns of tables stay what they are.
    pub fn renamed(&self, name: Name<'_>) -> Relation {
        let below = |input: &Relation| Box::new(input.renamed(name));
        let named = |values: &[(ColumnId, Expr)]| {
            values.iter().map(|(id, expr)| (name(*id), renamed(expr, name))).collect()
        };
        match self {
            Relation::Scan(Scan { table, condition, columns }) => {
                let columns = columns.iter().map(|(column, id)| (*column, name(*id))).collect();
                Relation::Scan(Scan { table: *table, condition: condition.clone(), columns })
            }
            Relation::Filter { input, condition } => {
                Relation::Filter { input: below(input), condition: renamed(condition, name) }
            }
            Relation::Compute { input, outputs } => {
                Relation::Compute { input: below(input), outputs: named(outputs) }
            }
            Relation::Join(join) => Relation::Join(Box::new(Join {
                left: join.left.renamed(name),
                right: join.right.renamed(name),
                kind: match join.kind {
                    JoinKind::Mark(mark) => JoinKind::Mark(name(mark)),
                    JoinKind::In(mark) => JoinKind::In(name(mark)),
                    kind => kind,
                },
                keys: join.keys.iter().map(|(a, b)| (renamed(a, name), renamed(b, name))).collect(),
                condition: join.condition.as_ref().map(|condition| renamed(condition, name)),
            })),
            Relation::Append { columns, inputs } => {
                let ids = |ids: &[ColumnId]| ids.iter().map(|id| name(*id)).collect::<Vec<_>>();
                let inputs = inputs.iter().map(|(values, input)| (ids(values), input.renamed(name)));
                Relation::Append { columns: ids(columns), inputs: inputs.collect() }
            }
            Relation::Group { input, keys, aggregates } => {
                let aggregates = aggregates.iter().map(|(id, one)| (name(*id), one.renamed(name)));
                Relation::Group { input: below(input), keys: named(keys), aggregates: aggregates.collect() }
            }
            Relation::Window { input, partition, order, outputs } => Relation::Window {
                input: below(input),
                partition: partition.iter().map(|expr| renamed(expr, name)).collect(),
                order: order.iter().map(|key| key.renamed(name)).collect(),
                outputs: outputs.iter().map(|(id, call)| (name(*id), call.renamed(name))).collect(),
            },
            Relation::Sort { input, order, offset, limit } => Relation::Sort {
                input: below(input),
                order: order.iter().map(|key| key.renamed(name)).collect(),
                offset: *offset,
                limit: *limit,
            },
        }
    }
}

impl RowAggregate {
    /// The same of values under other ids.
    pub fn renamed(&self, name: Name<'_>) -> RowAggregate {
        RowAggregate {
            function: self.function,
            arguments: self.arguments.iter().map(|expr| renamed(expr, name)).collect(),
            distinct: self.distinct,
            filter: self.filter.as_ref().map(|expr| renamed(expr, name)),
        }
    }
}

impl SortKey {
    /// The same of a value under another id.
    pub fn renamed(&self, name: Name<'_>) -> SortKey {
        SortKey { value: renamed(&self.value, name), ..self.clone() }
    }
}

impl WindowCall {
    fn renamed(&self, name: Name<'_>) -> WindowCall {
        let bound = |bound: &FrameBound| match bound {
            FrameBound::Before(FrameOffset::Value(expr)) => {
                FrameBound::Before(FrameOffset::Value(renamed(expr, name)))
            }
            FrameBound::After(FrameOffset::Value(expr)) => {
                FrameBound::After(FrameOffset::Value(renamed(expr, name)))
            }
            other => other.clone(),
        };
        let frame =
            |frame: &Frame| Frame { unit: frame.unit, start: bound(&frame.start), end: bound(&frame.end) };
        WindowCall {
            function: self.function,
            arguments: self.arguments.iter().map(|expr| renamed(expr, name)).collect(),
            frame: self.frame.as_ref().map(frame),
        }
    }
}

/// An expression over values under other ids.
fn renamed(expr: &Expr, name: Name<'_>) -> Expr {
    match expr {
        Expr::Column(id) => Expr::Column(name(*id)),
        Expr::Call { function, arguments } => {
            Expr::call(function.clone(), arguments.iter().map(|argument| renamed(argument, name)))
        }
        expr => expr.clone(),
    }
}
