//! UNION, INTERSECT and EXCEPT: rows of several SELECTs as one.
//!
//! ```text
//! UNION ALL  append        INTERSECT, EXCEPT  append, each behind its side ─ group by all values ─ count each side
//! UNION      append ─ group by all values      … ALL  the same, with a number for each of several equal rows
//! ```
//!
//! So equal rows are those of GROUP BY: NULLs are equal to each other. Groups come as their first row does.

use super::{Binder, Made};
use crate::bind::value::Typed;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::outcome::OutcomeColumn;
use crate::statement::{SetPart, SetWord, Sets};
use muster_engine::exec::FoldFunction;
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{CompareOp, Relation, RowAggregate, RowFunction, WindowCall, WindowFunction};
use muster_engine::schema::{ColumnId, DataType};
use muster_engine::value::Value;

/// Rows, each behind the ids of its columns.
type Rows = (Vec<ColumnId>, Relation);

impl Binder<'_> {
    /// The rows of SELECTs joined from left to right.
    pub(super) fn sets(&self, sets: &Sets) -> Result<Made> {
        let first = self.select(&sets.first)?;
        let mut columns = first.columns;
        // Rows that are yet to be appended, and whether equal ones then become one.
        let mut parts: Vec<Rows> = vec![(first.ids, first.relation)];
        let mut is_distinct = false;
        for part in &sets.rest {
            let next = self.select(&part.select)?;
            if is_distinct && (part.all || part.word != SetWord::Union) {
                parts = vec![self.distinct(parts)];
                is_distinct = false;
            }
            let next = self.brought_together(&mut columns, &mut parts, next, part)?;
            if part.word == SetWord::Union {
                parts.push(next);
                is_distinct |= !part.all;
            } else {
                let known = self.appended(parts);
                parts = vec![self.counted(known, next, part)];
            }
        }
        let (ids, relation) = if is_distinct { self.distinct(parts) } else { self.appended(parts) };
        super::check_steps(&relation, Some(sets.span))?;
        Ok(Made { relation, columns, ids })
    }

    /// The columns of both become of one type each.
    fn brought_together(
        &self,
        columns: &mut [OutcomeColumn],
        parts: &mut [Rows],
        next: Made,
        part: &SetPart,
    ) -> Result<Rows> {
        if columns.len() != next.columns.len() {
            let message = format!("one SELECT has {}, the other {}", count(columns), count(&next.columns));
            return Err(Error::query(QueryErrorKind::Type, part.span, message)
                .advise("the SELECTs of UNION, INTERSECT and EXCEPT list as many values each"));
        }
        let known: Vec<DataType> = columns.iter().map(|column| column.data_type).collect();
        for (column, other) in columns.iter_mut().zip(&next.columns) {
            if column.data_type != other.data_type {
                let typed = |data_type| Typed::new(Expr::Column(ColumnId::FIRST), data_type, part.span);
                let both = [typed(column.data_type), typed(other.data_type)];
                column.data_type = self.names().common_type(both.iter(), part.span)?;
            }
            if column.data_type == DataType::TextArray && !(part.all && part.word == SetWord::Union) {
                let message = format!("\"{}\" is a TEXT[], which only UNION ALL takes", column.name);
                return Err(Error::unsupported(part.span, message));
            }
        }
        let common: Vec<DataType> = columns.iter().map(|column| column.data_type).collect();
        for rows in parts {
            let (ids, relation) = std::mem::replace(rows, (Vec::new(), nothing()));
            *rows = self.cast((ids, relation), &known, &common, part.span)?;
        }
        let types: Vec<DataType> = next.columns.iter().map(|column| column.data_type).collect();
        self.cast((next.ids, next.relation), &types, &common, part.span)
    }

    /// The same rows with values of other types.
    fn cast(&self, rows: Rows, from: &[DataType], to: &[DataType], span: Span) -> Result<Rows> {
        if from == to {
            return Ok(rows);
        }
        let (ids, relation) = rows;
        let mut outputs = Vec::with_capacity(ids.len());
        for ((id, from), to) in ids.iter().zip(from).zip(to) {
            let typed = Typed::new(Expr::Column(*id), *from, span);
            outputs.push((self.id(), self.names().brought_to(typed, *to)?));
        }
        let ids = outputs.iter().map(|(id, _)| *id).collect();
        Ok((ids, Relation::Compute { input: Box::new(relation), outputs }))
    }

    fn appended(&self, mut parts: Vec<Rows>) -> Rows {
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return only;
        }
        let width = parts.first().map_or(0, |(ids, _)| ids.len());
        let columns: Vec<ColumnId> = (0..width).map(|_| self.id()).collect();
        (columns.clone(), Relation::Append { columns, inputs: parts })
    }

    fn distinct(&self, parts: Vec<Rows>) -> Rows {
        let (ids, relation) = self.appended(parts);
        let keys: Vec<(ColumnId, Expr)> = ids.iter().map(|id| (self.id(), Expr::Column(*id))).collect();
        let ids = keys.iter().map(|(id, _)| *id).collect();
        (ids, Relation::Group { input: Box::new(relation), keys, aggregates: Vec::new() })
    }

    /// INTERSECT and EXCEPT, by how often a row is on each side.
    fn counted(&self, left: Rows, right: Rows, part: &SetPart) -> Rows {
        let sided = |(ids, relation): Rows, side: i64| {
            let mark = (self.id(), Expr::value(Value::Integer(side)));
            let outputs: Vec<_> = ids.iter().map(|id| (self.id(), Expr::Column(*id))).chain([mark]).collect();
            let ids: Vec<ColumnId> = outputs.iter().map(|(id, _)| *id).collect();
            (ids, Relation::Compute { input: Box::new(relation), outputs })
        };
        let (ids, mut relation) = self.appended(vec![sided(left, 0), sided(right, 1)]);
        let (side, values) = match ids.split_last() {
            Some((side, values)) => (Expr::Column(*side), values.to_vec()),
            None => (Expr::value(Value::Integer(0)), Vec::new()),
        };
        let width = values.len();
        let mut keys: Vec<(ColumnId, Expr)> =
            values.into_iter().map(|id| (self.id(), Expr::Column(id))).collect();
        if part.all {
            let number = self.id();
            let partition = keys.iter().map(|(_, key)| key.clone()).chain([side.clone()]).collect();
            let call = WindowCall { function: WindowFunction::RowNumber, arguments: Vec::new(), frame: None };
            let outputs = vec![(number, call)];
            relation = Relation::Window { input: Box::new(relation), partition, order: Vec::new(), outputs };
            keys.push((self.id(), Expr::Column(number)));
        }
        let ids = keys.iter().take(width).map(|(id, _)| *id).collect();
        let is = |op, a: Expr, b: i64| Expr::call(Function::Compare(op), [a, Expr::value(Value::Integer(b))]);
        let counts = [0, 1].map(|of| {
            let filter = Some(is(CompareOp::Eq, side.clone(), of));
            let function = RowFunction::Fold(FoldFunction::Count);
            (self.id(), RowAggregate { function, arguments: Vec::new(), distinct: false, filter })
        });
        let [left, right] = [&counts[0], &counts[1]].map(|(id, _)| Expr::Column(*id));
        let wanted = if part.word == SetWord::Intersect { CompareOp::Gt } else { CompareOp::Eq };
        let condition = Expr::call(Function::And, [is(CompareOp::Gt, left, 0), is(wanted, right, 0)]);
        let group = Relation::Group { input: Box::new(relation), keys, aggregates: counts.into() };
        (ids, Relation::Filter { input: Box::new(group), condition })
    }
}

fn count(columns: &[OutcomeColumn]) -> String {
    format!("{} column{}", columns.len(), if columns.len() == 1 { "" } else { "s" })
}

/// Stands where rows were taken from.
pub(super) fn nothing() -> Relation {
    Relation::Append { columns: Vec::new(), inputs: Vec::new() }
}
