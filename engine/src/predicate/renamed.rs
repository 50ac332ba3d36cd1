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

impl Relation {
    /// What it is made of, to be changed.
    pub(crate) fn inputs_mut(&mut self) -> Vec<&mut Relation> {
        match self {
            Relation::Scan(_) => Vec::new(),
            Relation::Filter { input, .. }
            | Relation::Compute { input, .. }
            | Relation::Group { input, .. }
            | Relation::Window { input, .. }
            | Relation::Sort { input, .. } => vec![input],
            Relation::Join(join) => vec![&mut join.left, &mut join.right],
            Relation::Append { inputs, .. } => inputs.iter_mut().map(|(_, input)| input).collect(),
        }
    }

    /// Changes the expressions of this node and of all below.
    pub(crate) fn change_exprs(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        match self {
            Relation::Scan(_) | Relation::Append { .. } => {}
            Relation::Filter { condition, .. } => change(condition),
            Relation::Compute { outputs, .. } => outputs.iter_mut().for_each(|(_, expr)| change(expr)),
            Relation::Join(join) => {
                for (left, right) in &mut join.keys {
                    change(left);
                    change(right);
                }
                join.condition.iter_mut().for_each(&mut *change);
            }
            Relation::Group { keys, aggregates, .. } => {
                keys.iter_mut().for_each(|(_, expr)| change(expr));
                for (_, aggregate) in aggregates {
                    aggregate.arguments.iter_mut().chain(&mut aggregate.filter).for_each(&mut *change);
                }
            }
            Relation::Window { partition, order, outputs, .. } => {
                partition.iter_mut().for_each(&mut *change);
                order.iter_mut().for_each(|key| change(&mut key.value));
                for (_, call) in outputs {
                    call.arguments.iter_mut().for_each(&mut *change);
                    if let Some(frame) = &mut call.frame {
                        for bound in [&mut frame.start, &mut frame.end] {
                            if let FrameBound::Before(FrameOffset::Value(expr))
                            | FrameBound::After(FrameOffset::Value(expr)) = bound
                            {
                                change(expr);
                            }
                        }
                    }
                }
            }
            Relation::Sort { order, .. } => order.iter_mut().for_each(|key| change(&mut key.value)),
        }
        self.inputs_mut().into_iter().for_each(|input| input.change_exprs(change));
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
