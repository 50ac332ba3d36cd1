//! From rows that are made of rows to their bytes.

use super::numbers::{fold_number, frame_unit_number, tag};
use super::write::Writer;
use crate::expr::Expr;
use crate::predicate::{
    Derived, Frame, FrameBound, FrameOffset, Join, JoinKind, ROWS_DEPTH_MAX, Relation, RowAggregate,
    RowFunction, Scan, SortKey, Tie, WindowCall, WindowFunction,
};
use crate::schema::ColumnId;
use crate::{Error, Result};

impl Writer {
    pub(super) fn derived(&mut self, derived: &Derived) -> Result<()> {
        self.u16(tag::DERIVED);
        self.bytes.push(derived.certainly.map_or(0, |truth| 1 + u8::from(truth)));
        let (tie, first, second) = match derived.tie {
            Tie::In { column, value } => (tag::TIE_IN, column, value),
            Tie::Truth { ordinal, truth } => (tag::TIE_TRUTH, ordinal, truth),
        };
        self.u16(tie);
        self.u32(first.0);
        self.u32(second.0);
        self.rows(&derived.rows)
    }

    fn rows(&mut self, rows: &Relation) -> Result<()> {
        self.deeper()?;
        self.steps += 1;
        if self.steps > ROWS_DEPTH_MAX {
            return Err(Error::Invalid(format!("rows are made in at most {ROWS_DEPTH_MAX} steps")));
        }
        match rows {
            Relation::Scan(scan) => self.scan(scan)?,
            Relation::Filter { input, condition } => {
                self.u16(tag::ROWS_FILTER);
                self.rows(input)?;
                self.expr(condition)?;
            }
            Relation::Compute { input, outputs } => {
                self.u16(tag::ROWS_COMPUTE);
                self.rows(input)?;
                self.named(outputs)?;
            }
            Relation::Join(join) => self.join(join)?,
            Relation::Append { columns, inputs } => {
                self.u16(tag::ROWS_APPEND);
                self.ids(columns)?;
                self.count(inputs.len())?;
                for (ids, input) in inputs {
                    self.ids(ids)?;
                    self.rows(input)?;
                }
            }
            Relation::Group { input, keys, aggregates } => {
                self.u16(tag::ROWS_GROUP);
                self.rows(input)?;
                self.named(keys)?;
                self.count(aggregates.len())?;
                aggregates.iter().try_for_each(|(id, aggregate)| self.row_aggregate(*id, aggregate))?;
            }
            Relation::Window { input, partition, order, outputs } => {
                self.u16(tag::ROWS_WINDOW);
                self.rows(input)?;
                self.exprs(partition)?;
                self.order(order)?;
                self.count(outputs.len())?;
                outputs.iter().try_for_each(|(id, call)| self.window_call(*id, call))?;
            }
            Relation::Sort { input, order, offset, limit } => {
                self.u16(tag::ROWS_SORT);
                self.rows(input)?;
                self.order(order)?;
                self.i64(*offset as i64);
                self.bytes.push(u8::from(limit.is_some()));
                limit.iter().for_each(|limit| self.i64(*limit as i64));
            }
        }
        self.depth -= 1;
        self.steps -= 1;
        Ok(())
    }

    fn scan(&mut self, scan: &Scan) -> Result<()> {
        self.u16(tag::ROWS_SCAN);
        self.u32(scan.table.0);
        self.predicate(&scan.condition)?;
        self.count(scan.columns.len())?;
        for (column, id) in &scan.columns {
            self.u32(column.0);
            self.u32(id.0);
        }
        Ok(())
    }

    fn join(&mut self, join: &Join) -> Result<()> {
        self.u16(tag::ROWS_JOIN);
        let (kind, mark) = match join.kind {
            JoinKind::Inner => (tag::JOIN_INNER, None),
            JoinKind::Left => (tag::JOIN_LEFT, None),
            JoinKind::Full => (tag::JOIN_FULL, None),
            JoinKind::Single => (tag::JOIN_SINGLE, None),
            JoinKind::Mark(mark) => (tag::JOIN_MARK, Some(mark)),
            JoinKind::In(mark) => (tag::JOIN_IN, Some(mark)),
        };
        self.u16(kind);
        mark.iter().for_each(|mark| self.u32(mark.0));
        self.rows(&join.left)?;
        self.rows(&join.right)?;
        self.count(join.keys.len())?;
        for (left, right) in &join.keys {
            self.expr(left)?;
            self.expr(right)?;
        }
        self.perhaps(join.condition.as_ref())
    }

    fn row_aggregate(&mut self, id: ColumnId, aggregate: &RowAggregate) -> Result<()> {
        self.u32(id.0);
        match aggregate.function {
            RowFunction::Fold(function) => self.u16(fold_number(function)),
            RowFunction::ArgMin => self.u16(tag::ROW_ARG_MIN),
            RowFunction::ArgMax => self.u16(tag::ROW_ARG_MAX),
            RowFunction::Median => self.u16(tag::ROW_MEDIAN),
            RowFunction::Funnel { micros, strict } => {
                self.u16(tag::ROW_FUNNEL);
                self.i64(micros);
                self.bytes.push(u8::from(strict));
            }
            RowFunction::WindowFunnel { micros, modes } => {
                self.u16(tag::ROW_WINDOW_FUNNEL);
                self.i64(micros);
                self.bytes.push(modes.bits());
            }
            RowFunction::Consecutive { micros } => {
                self.u16(tag::ROW_CONSECUTIVE);
                self.i64(micros);
            }
            RowFunction::Sequence { counts } => {
                self.u16(tag::ROW_SEQUENCE);
                self.bytes.push(u8::from(counts));
            }
            RowFunction::CountDistinct => self.u16(tag::ROW_COUNT_DISTINCT),
            RowFunction::QuantileCont => self.u16(tag::ROW_QUANTILE_CONT),
            RowFunction::QuantileDisc { descending } => {
                self.u16(tag::ROW_QUANTILE_DISC);
                self.bytes.push(u8::from(descending));
            }
            RowFunction::Mode { descending } => {
                self.u16(tag::ROW_MODE);
                self.bytes.push(u8::from(descending));
            }
        }
        self.exprs(&aggregate.arguments)?;
        self.bytes.push(u8::from(aggregate.distinct));
        self.perhaps(aggregate.filter.as_ref())
    }

    fn window_call(&mut self, id: ColumnId, call: &WindowCall) -> Result<()> {
        self.u32(id.0);
        if let Some(frame) = &call.frame {
            self.u16(tag::WINDOW_FRAMED);
            self.frame(frame)?;
        }
        let (number, with) = match call.function {
            WindowFunction::Fold(function) => (fold_number(function), None),
            WindowFunction::RowNumber => (tag::WINDOW_ROW_NUMBER, None),
            WindowFunction::Rank => (tag::WINDOW_RANK, None),
            WindowFunction::DenseRank => (tag::WINDOW_DENSE_RANK, None),
            WindowFunction::Ntile(parts) => (tag::WINDOW_NTILE, Some(parts)),
            WindowFunction::Lag(by) => (tag::WINDOW_LAG, Some(by)),
            WindowFunction::Lead(by) => (tag::WINDOW_LEAD, Some(by)),
            WindowFunction::FirstValue => (tag::WINDOW_FIRST_VALUE, None),
            WindowFunction::LastValue => (tag::WINDOW_LAST_VALUE, None),
            WindowFunction::NthValue(number) => (tag::WINDOW_NTH_VALUE, Some(number)),
        };
        self.u16(number);
        with.iter().for_each(|with| self.u32(*with));
        self.exprs(&call.arguments)
    }

    fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.u16(frame_unit_number(frame.unit));
        for bound in [&frame.start, &frame.end] {
            let (number, offset) = match bound {
                FrameBound::First => (tag::BOUND_FIRST, None),
                FrameBound::Before(offset) => (tag::BOUND_BEFORE, Some(offset)),
                FrameBound::Current => (tag::BOUND_CURRENT, None),
                FrameBound::After(offset) => (tag::BOUND_AFTER, Some(offset)),
                FrameBound::Last => (tag::BOUND_LAST, None),
            };
            self.u16(number);
            match offset {
                None => {}
                Some(FrameOffset::Count(count)) => {
                    self.u16(tag::OFFSET_COUNT);
                    self.u32(*count);
                }
                Some(FrameOffset::Value(expr)) => {
                    self.u16(tag::OFFSET_VALUE);
                    self.expr(expr)?;
                }
            }
        }
        Ok(())
    }

    fn ids(&mut self, ids: &[ColumnId]) -> Result<()> {
        self.count(ids.len())?;
        ids.iter().for_each(|id| self.u32(id.0));
        Ok(())
    }

    fn order(&mut self, order: &[SortKey]) -> Result<()> {
        self.count(order.len())?;
        for key in order {
            self.expr(&key.value)?;
            self.bytes.extend([u8::from(key.descending), u8::from(key.nulls_first)]);
        }
        Ok(())
    }

    fn named(&mut self, values: &[(ColumnId, Expr)]) -> Result<()> {
        self.count(values.len())?;
        for (id, expr) in values {
            self.u32(id.0);
            self.expr(expr)?;
        }
        Ok(())
    }

    fn exprs(&mut self, exprs: &[Expr]) -> Result<()> {
        self.count(exprs.len())?;
        exprs.iter().try_for_each(|expr| self.expr(expr))
    }

    fn perhaps(&mut self, expr: Option<&Expr>) -> Result<()> {
        self.bytes.push(u8::from(expr.is_some()));
        expr.map_or(Ok(()), |expr| self.expr(expr))
    }
}
