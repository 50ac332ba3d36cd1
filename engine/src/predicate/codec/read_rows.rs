//! From bytes to rows that are made of rows.

use super::numbers::{fold_of, frame_unit_of, tag};
use super::read::{Read, Reader};
use crate::expr::Expr;
use crate::predicate::{
    Derived, Frame, FrameBound, FrameOffset, FunnelModes, Join, JoinKind, ROWS_DEPTH_MAX, Relation,
    RowAggregate, RowFunction, Scan, SortKey, Tie, WindowCall, WindowFunction,
};
use crate::schema::{ColumnId, TableId};

impl Reader<'_> {
    #[inline(never)]
    pub(super) fn derived(&mut self) -> Read<Derived> {
        let certainly = self.certainly()?;
        let at = self.at;
        let (tie, first, second) = (self.u16()?, self.column()?, self.column()?);
        let tie = match tie {
            tag::TIE_IN => Tie::In { column: first, value: second },
            tag::TIE_TRUTH => Tie::Truth { ordinal: first, truth: second },
            other => return Err(self.refuse(at, "1 or 2, what rows say of members", other)),
        };
        Ok(Derived { rows: self.rows()?, tie, certainly })
    }

    fn rows(&mut self) -> Read<Relation> {
        self.deeper()?;
        self.steps += 1;
        if self.steps > ROWS_DEPTH_MAX {
            return Err(self.refuse(self.at, &format!("at most {ROWS_DEPTH_MAX} steps of rows"), "one more"));
        }
        let at = self.at;
        let rows = match self.u16()? {
            tag::ROWS_SCAN => Relation::Scan(self.scan()?),
            tag::ROWS_FILTER => Relation::Filter { input: self.input()?, condition: self.expr()? },
            tag::ROWS_COMPUTE => Relation::Compute { input: self.input()?, outputs: self.named()? },
            tag::ROWS_JOIN => Relation::Join(Box::new(self.join()?)),
            tag::ROWS_GROUP => Relation::Group {
                input: self.input()?,
                keys: self.named()?,
                aggregates: self.list(Self::row_aggregate)?,
            },
            tag::ROWS_WINDOW => Relation::Window {
                input: self.input()?,
                partition: self.list(Self::expr)?,
                order: self.list(Self::sort_key)?,
                outputs: self.list(Self::window_call)?,
            },
            tag::ROWS_SORT => Relation::Sort {
                input: self.input()?,
                order: self.list(Self::sort_key)?,
                offset: self.i64()? as u64,
                limit: if self.boolean()? { Some(self.i64()? as u64) } else { None },
            },
            tag::ROWS_APPEND => Relation::Append {
                columns: self.list(Self::column)?,
                inputs: self.list(|reader| Ok((reader.list(Self::column)?, reader.rows()?)))?,
            },
            other => return Err(self.refuse(at, "the tag of rows", other)),
        };
        self.depth -= 1;
        self.steps -= 1;
        Ok(rows)
    }

    fn input(&mut self) -> Read<Box<Relation>> {
        self.rows().map(Box::new)
    }

    fn scan(&mut self) -> Read<Scan> {
        Ok(Scan {
            table: TableId(self.u32()?),
            condition: self.predicate()?,
            columns: self.list(|reader| Ok((reader.column()?, reader.column()?)))?,
        })
    }

    fn join(&mut self) -> Read<Join> {
        let at = self.at;
        let kind = match self.u16()? {
            tag::JOIN_INNER => JoinKind::Inner,
            tag::JOIN_LEFT => JoinKind::Left,
            tag::JOIN_FULL => JoinKind::Full,
            tag::JOIN_SINGLE => JoinKind::Single,
            tag::JOIN_MARK => JoinKind::Mark(self.column()?),
            tag::JOIN_IN => JoinKind::In(self.column()?),
            other => return Err(self.refuse(at, "a kind of join", other)),
        };
        Ok(Join {
            kind,
            left: self.rows()?,
            right: self.rows()?,
            keys: self.list(|reader| Ok((reader.expr()?, reader.expr()?)))?,
            condition: self.perhaps()?,
        })
    }

    fn row_aggregate(&mut self) -> Read<(ColumnId, RowAggregate)> {
        let (id, at) = (self.column()?, self.at);
        let function = match self.u16()? {
            tag::ROW_ARG_MIN => RowFunction::ArgMin,
            tag::ROW_ARG_MAX => RowFunction::ArgMax,
            tag::ROW_MEDIAN => RowFunction::Median,
            tag::ROW_FUNNEL => RowFunction::Funnel { micros: self.i64()?, strict: self.boolean()? },
            tag::ROW_WINDOW_FUNNEL => {
                RowFunction::WindowFunnel { micros: self.i64()?, modes: self.funnel_modes()? }
            }
            tag::ROW_CONSECUTIVE => RowFunction::Consecutive { micros: self.i64()? },
            tag::ROW_SEQUENCE => RowFunction::Sequence { counts: self.boolean()? },
            tag::ROW_COUNT_DISTINCT => RowFunction::CountDistinct,
            tag::ROW_QUANTILE_CONT => RowFunction::QuantileCont,
            tag::ROW_QUANTILE_DISC => RowFunction::QuantileDisc { descending: self.boolean()? },
            tag::ROW_MODE => RowFunction::Mode { descending: self.boolean()? },
            other => match fold_of(other) {
                Some(function) => RowFunction::Fold(function),
                None => return Err(self.refuse(at, "an aggregate of rows", other)),
            },
        };
        let (arguments, distinct) = (self.list(Self::expr)?, self.boolean()?);
        Ok((id, RowAggregate { function, arguments, distinct, filter: self.perhaps()? }))
    }

    fn funnel_modes(&mut self) -> Read<FunnelModes> {
        let at = self.at;
        let bits = self.u8()?;
        FunnelModes::of_bits(bits).ok_or_else(|| self.refuse(at, "the modes of a funnel", bits))
    }

    fn window_call(&mut self) -> Read<(ColumnId, WindowCall)> {
        let (id, mut at) = (self.column()?, self.at);
        let (mut number, mut frame) = (self.u16()?, None);
        if number == tag::WINDOW_FRAMED {
            frame = Some(self.frame()?);
            at = self.at;
            number = self.u16()?;
        }
        let function = match number {
            tag::WINDOW_ROW_NUMBER => WindowFunction::RowNumber,
            tag::WINDOW_RANK => WindowFunction::Rank,
            tag::WINDOW_DENSE_RANK => WindowFunction::DenseRank,
            tag::WINDOW_NTILE => WindowFunction::Ntile(self.u32()?),
            tag::WINDOW_LAG => WindowFunction::Lag(self.u32()?),
            tag::WINDOW_LEAD => WindowFunction::Lead(self.u32()?),
            tag::WINDOW_FIRST_VALUE => WindowFunction::FirstValue,
            tag::WINDOW_LAST_VALUE => WindowFunction::LastValue,
            tag::WINDOW_NTH_VALUE => WindowFunction::NthValue(self.u32()?),
            other => match fold_of(other) {
                Some(function) => WindowFunction::Fold(function),
                None => return Err(self.refuse(at, "a window function", other)),
            },
        };
        Ok((id, WindowCall { function, arguments: self.list(Self::expr)?, frame }))
    }

    fn frame(&mut self) -> Read<Frame> {
        let at = self.at;
        let number = self.u16()?;
        let unit = frame_unit_of(number).ok_or_else(|| self.refuse(at, "what a frame counts", number))?;
        Ok(Frame { unit, start: self.bound()?, end: self.bound()? })
    }

    fn bound(&mut self) -> Read<FrameBound> {
        let at = self.at;
        Ok(match self.u16()? {
            tag::BOUND_FIRST => FrameBound::First,
            tag::BOUND_BEFORE => FrameBound::Before(self.offset()?),
            tag::BOUND_CURRENT => FrameBound::Current,
            tag::BOUND_AFTER => FrameBound::After(self.offset()?),
            tag::BOUND_LAST => FrameBound::Last,
            other => return Err(self.refuse(at, "an end of a frame", other)),
        })
    }

    fn offset(&mut self) -> Read<FrameOffset> {
        let at = self.at;
        Ok(match self.u16()? {
            tag::OFFSET_COUNT => FrameOffset::Count(self.u32()?),
            tag::OFFSET_VALUE => FrameOffset::Value(self.expr()?),
            other => return Err(self.refuse(at, "1 or 2, how far a frame goes", other)),
        })
    }

    fn sort_key(&mut self) -> Read<SortKey> {
        Ok(SortKey { value: self.expr()?, descending: self.boolean()?, nulls_first: self.boolean()? })
    }

    fn named(&mut self) -> Read<Vec<(ColumnId, Expr)>> {
        self.list(|reader| Ok((reader.column()?, reader.expr()?)))
    }

    fn perhaps(&mut self) -> Read<Option<Expr>> {
        if self.boolean()? { self.expr().map(Some) } else { Ok(None) }
    }
}
