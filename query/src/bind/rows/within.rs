//! SELECTs inside values: EXISTS, IN, and those that are a value. Each becomes rows that the row at hand is joined with, and a
//! value of the join.

use super::from::Rows;
use super::reading::Reading;
use super::{Field, Pending, joined};
use crate::bind::type_error;
use crate::bind::value::Typed;
use crate::error::{Error, Result, Span};
use crate::select::has_aggregate;
use crate::statement::{Item, Key, Select, Term};
use muster_engine::exec::FoldFunction;
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{
    CompareOp, JoinKind, Relation, RowFunction, SortKey, WindowCall, WindowFunction,
};
use muster_engine::schema::ColumnId;
use muster_engine::value::Value;

impl Reading<'_> {
    /// `EXISTS (SELECT …)`
    pub(super) fn exists(&mut self, select: &Select, span: Span) -> Result<Expr> {
        let mark = self.binder.id();
        let kind = JoinKind::Mark(mark);
        let grouped = is_grouped(select);
        if grouped || select.limit.is_some() || select.offset > 0 {
            // Of its own, it is the same for every row.
            let right = self.binder.select(select)?.relation;
            self.join(Pending { right, kind, keys: Vec::new(), condition: None });
            return Ok(Expr::Column(mark));
        }
        let around = self.around();
        let rows = self.binder.rows(select, &around)?;
        self.check_list(select, &rows, span)?;
        let condition = all_of(rows.condition);
        self.join(Pending { right: rows.relation, kind, keys: rows.keys, condition });
        Ok(Expr::Column(mark))
    }

    /// What EXISTS lists is of no account, but has to be there.
    fn check_list(&self, select: &Select, rows: &Rows, _: Span) -> Result<()> {
        for item in &select.items {
            if let Item::Output { term, .. } = item {
                let around = self.around();
                let mut reading = Reading::of_rows(self.binder, &rows.fields, &around);
                self.binder.names().value(term, &mut reading)?;
            }
        }
        Ok(())
    }

    /// `left IN (SELECT …)`
    pub(super) fn is_in(&mut self, left: Typed, select: &Select, span: Span) -> Result<Expr> {
        let grouped = is_grouped(select) || select.distinct || !select.windows.is_empty();
        if !grouped && select.limit.is_none() && select.offset == 0 {
            let rows = self.binder.rows(select, &self.around())?;
            if !rows.keys.is_empty() || !rows.condition.is_empty() {
                return self.is_in_tied(left, rows, select, span);
            }
        }
        let made = self.binder.select(select)?;
        let ([column], [id]) = (made.columns.as_slice(), made.ids.as_slice()) else {
            let message = format!("the SELECT after IN has one column, not {}", made.columns.len());
            return Err(type_error(span, message));
        };
        let right = Typed::new(Expr::Column(*id), column.data_type, span);
        let Some(pair) = self.binder.keys(left, right)? else {
            return Err(Error::unsupported(span, format!("IN compares no {} here", column.data_type))
                .advise("CAST(value AS type) turns one into the other's type"));
        };
        let mark = self.binder.id();
        let (kind, keys) = (JoinKind::In(mark), vec![pair]);
        self.join(Pending { right: made.relation, kind, keys, condition: None });
        Ok(Expr::Column(mark))
    }

    /// The same of rows that are tied to the row at hand.
    fn is_in_tied(&mut self, left: Typed, rows: Rows, select: &Select, span: Span) -> Result<Expr> {
        let [Item::Output { term, .. }] = select.items.as_slice() else {
            return Err(type_error(span, "the SELECT after IN has one column"));
        };
        let mut reading = Reading::of_rows(self.binder, &rows.fields, &[]);
        let right = self.binder.names().value(term, &mut reading)?;
        let data_type = right.known_type();
        let Some(pair) = self.binder.keys(left, right)? else {
            return Err(Error::unsupported(span, format!("IN compares no {data_type} here"))
                .advise("CAST(value AS type) turns one into the other's type"));
        };
        let right = joined(rows.relation, reading.into_pending());
        let mark = self.binder.id();
        let keys = std::iter::once(pair).chain(rows.keys).collect();
        self.join(Pending { right, kind: JoinKind::In(mark), keys, condition: all_of(rows.condition) });
        Ok(Expr::Column(mark))
    }

    /// `(SELECT …)` as a value.
    pub(super) fn value_of(&mut self, select: &Select, span: Span) -> Result<Typed> {
        let [Item::Output { term, .. }] = select.items.as_slice() else {
            return Err(type_error(span, "a SELECT that is a value has one column"));
        };
        let around = self.around();
        let grouped = !select.group_by.is_empty() || select.having.is_some() || select.distinct;
        let made = if grouped {
            self.binder.select(select)?
        } else {
            let rows = self.binder.rows(select, &around)?;
            if !rows.keys.is_empty() || !rows.condition.is_empty() {
                let cut = select.limit.is_some() || select.offset > 0;
                return match has_aggregate(term) {
                    true if cut => {
                        Err(Error::unsupported(span, "an aggregate is one value: leave out LIMIT"))
                    }
                    true => self.aggregate_of(rows, term, span),
                    false => self.row_of(rows, select, term, span),
                };
            }
            self.binder.listed_of(select, rows)?
        };
        let (Some(column), Some(id)) = (made.columns.first(), made.ids.first()) else {
            return Err(type_error(span, "a SELECT that is a value has one column"));
        };
        let typed = Typed::new(Expr::Column(*id), column.data_type, span);
        self.join(Pending {
            right: made.relation,
            kind: JoinKind::Single,
            keys: Vec::new(),
            condition: None,
        });
        Ok(typed)
    }

    /// An aggregate of the rows that are tied to the row at hand: groups by what ties them, and counts of 0 where there is none.
    fn aggregate_of(&mut self, rows: Rows, term: &Term, span: Span) -> Result<Typed> {
        if !rows.condition.is_empty() {
            return Err(only_equal(span));
        }
        let mut reading = Reading::of_rows(self.binder, &rows.fields, &[]);
        let inner = rows.keys.iter().map(|(_, inner)| inner.clone());
        reading.group(inner.map(|key| Typed::new(key, muster_engine::DataType::Text, span)).collect());
        let typed = self.binder.names().value(term, &mut reading)?;
        let (pending, Some(groups)) = (std::mem::take(&mut reading.pending), reading.groups.take()) else {
            return Err(only_equal(span));
        };
        let id_of = |inner: &Expr| groups.keys.iter().find(|(key, _)| key.expr == *inner).map(|(_, id)| *id);
        let mut keys = Vec::with_capacity(rows.keys.len());
        for (outer, inner) in &rows.keys {
            let Some(id) = id_of(inner) else { return Err(only_equal(span)) };
            keys.push((outer.clone(), Expr::Column(id)));
        }
        let is_count = |id: ColumnId| {
            groups.aggregates.iter().any(|(known, aggregate)| {
                *known == id && aggregate.function == RowFunction::Fold(FoldFunction::Count)
            })
        };
        let expr = of_nothing(&typed.expr, &is_count);
        let data_type = typed.known_type();
        let group = Relation::Group {
            input: Box::new(joined(rows.relation, pending)),
            keys: groups.keys.iter().map(|(key, id)| (*id, key.expr.clone())).collect(),
            aggregates: groups.aggregates,
        };
        let right = joined(group, groups.pending);
        self.join(Pending { right, kind: JoinKind::Left, keys, condition: None });
        Ok(Typed::new(expr, data_type, span))
    }

    /// The value of one row: the only one, or the first of an order.
    fn row_of(&mut self, rows: Rows, select: &Select, term: &Term, span: Span) -> Result<Typed> {
        let mut reading = Reading::of_rows(self.binder, &rows.fields, &[]);
        let typed = self.binder.names().value(term, &mut reading)?;
        let mut order = Vec::with_capacity(select.order_by.len());
        for one in &select.order_by {
            let Key::Term(term) = &one.key else {
                return Err(Error::unsupported(span, "ORDER BY names a value here, not a position"));
            };
            let value = self.binder.names().value(term, &mut reading)?.expr;
            order.push(SortKey { value, descending: one.descending, nulls_first: one.nulls_first });
        }
        let mut right = joined(rows.relation, reading.into_pending());
        let first = match (select.limit, select.offset, order.is_empty()) {
            (None, 0, _) => false,
            (Some(1), 0, false) if rows.condition.is_empty() => true,
            _ => {
                return Err(Error::unsupported(
                    span,
                    "of the rows of a member, a value is the first one of an order",
                )
                .advise("write (SELECT x FROM t WHERE t.member_id = m.id ORDER BY time DESC LIMIT 1)"));
            }
        };
        if first {
            let number = self.binder.id();
            let partition = rows.keys.iter().map(|(_, inner)| inner.clone()).collect();
            let call = WindowCall { function: WindowFunction::RowNumber, arguments: Vec::new(), frame: None };
            let input = Box::new(right);
            let window = Relation::Window { input, partition, order, outputs: vec![(number, call)] };
            let is_first = Function::Compare(CompareOp::Eq);
            let condition = Expr::call(is_first, [Expr::Column(number), Expr::value(Value::Integer(1))]);
            right = Relation::Filter { input: Box::new(window), condition };
        }
        let data_type = typed.known_type();
        let (kind, condition) = (JoinKind::Single, all_of(rows.condition));
        self.join(Pending { right, kind, keys: rows.keys, condition });
        Ok(Typed::new(typed.expr, data_type, span))
    }
}

/// True where a SELECT makes groups.
fn is_grouped(select: &Select) -> bool {
    let aggregates = |item: &Item| matches!(item, Item::Output { term, .. } if has_aggregate(term));
    !select.group_by.is_empty() || select.having.is_some() || select.items.iter().any(aggregates)
}

/// A value of aggregates, where those of no rows are NULL: a count is 0.
fn of_nothing(expr: &Expr, is_count: &dyn Fn(ColumnId) -> bool) -> Expr {
    match expr {
        Expr::Column(id) if is_count(*id) => {
            Expr::call(Function::Coalesce, [expr.clone(), Expr::value(Value::Integer(0))])
        }
        Expr::Call { function, arguments } => {
            let arguments = arguments.iter().map(|argument| of_nothing(argument, is_count));
            Expr::call(function.clone(), arguments)
        }
        expr => expr.clone(),
    }
}

fn all_of(conditions: Vec<Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|all, one| Expr::call(Function::And, [all, one]))
}

fn only_equal(span: Span) -> Error {
    Error::unsupported(
        span,
        "an aggregate of a member's rows is tied to it by equal values, and nothing else",
    )
    .advise("write (SELECT count(*) FROM t WHERE t.member_id = m.id AND …)")
}

/// The fields of a SELECT's rows, for those who list them.
pub(super) fn listed<'f>(fields: &'f [Field], qualifier: Option<&str>) -> impl Iterator<Item = &'f Field> {
    let qualifier = qualifier.map(str::to_owned);
    fields.iter().filter(move |field| match &qualifier {
        Some(table) => field.table == *table,
        None => !field.merged,
    })
}
