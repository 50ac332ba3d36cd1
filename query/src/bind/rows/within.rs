//! SELECTs inside values: EXISTS, IN, and those that are a value. Each becomes rows that the row at hand is joined with, and a
//! value of the join.

use super::from::{Rows, names_any, none_of_terms, of_terms};
use super::reading::{Groups, Reading};
use super::{Field, OfPairs, Pending, field};
use crate::bind::type_error;
use crate::bind::value::Typed;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::select::has_aggregate;
use crate::statement::{FromSource, Item, Key, Select, Term, TermKind};
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{JoinKind, Relation, RowAggregate, SortKey};
use muster_engine::schema::ColumnId;
use muster_engine::value::Value;
use std::collections::HashMap;

impl Reading<'_> {
    /// `EXISTS (SELECT …)`
    pub(super) fn exists(&mut self, select: &Select, span: Span) -> Result<Expr> {
        let mark = self.binder.id();
        let kind = JoinKind::Mark(mark);
        let grouped = is_grouped(select);
        if grouped || select.limit.is_some() || select.offset > 0 {
            // Of its own, it is the same for every row.
            let right = self.binder.select(select)?.relation;
            self.join(Pending { right, kind, keys: Vec::new(), condition: None, of_pairs: None });
            return Ok(Expr::Column(mark));
        }
        let around = self.around();
        let rows = self.binder.rows(select, &around)?;
        self.check_list(select, &rows, span)?;
        let condition = all_of(rows.condition);
        self.join(Pending { right: rows.relation, kind, keys: rows.keys, condition, of_pairs: None });
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
        self.join(Pending { right: made.relation, kind, keys, condition: None, of_pairs: None });
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
        let right = self.binder.joined(rows.relation, reading.into_pending());
        let mark = self.binder.id();
        let keys = std::iter::once(pair).chain(rows.keys).collect();
        let (kind, condition) = (JoinKind::In(mark), all_of(rows.condition));
        self.join(Pending { right, kind, keys, condition, of_pairs: None });
        Ok(Expr::Column(mark))
    }

    /// `(SELECT …)` as a value.
    pub(super) fn value_of(&mut self, select: &Select, span: Span) -> Result<Typed> {
        let around = self.around();
        let grouped = !select.group_by.is_empty() || select.having.is_some() || select.distinct;
        let is_sets = matches!(select.from.source, FromSource::Sets(_));
        let made = if grouped || is_sets {
            self.binder.select(select)?
        } else {
            let [Item::Output { term, .. }] = select.items.as_slice() else { return Err(one_column(span)) };
            let rows = self.binder.rows(select, &around)?;
            let is_tied = !rows.keys.is_empty() || !rows.condition.is_empty();
            if is_tied || (has_aggregate(term) && names_around(term, &rows.fields, &around)) {
                let cut = select.limit == Some(0) || select.offset > 0;
                return match has_aggregate(term) {
                    true if cut => Err(Error::unsupported(
                        span,
                        "an aggregate is one value: leave out LIMIT 0 and OFFSET",
                    )),
                    true => self.aggregate_of(rows, term, span),
                    false => self.row_of(rows, select, term, span),
                };
            }
            self.binder.listed_of(select, rows)?
        };
        let ([column], [id]) = (made.columns.as_slice(), made.ids.as_slice()) else {
            return Err(one_column(span));
        };
        let typed = Typed::new(Expr::Column(*id), column.data_type, span);
        self.join(Pending {
            right: made.relation,
            kind: JoinKind::Single,
            keys: Vec::new(),
            condition: None,
            of_pairs: None,
        });
        Ok(typed)
    }

    /// An aggregate of the rows that are tied to the row at hand: groups by what ties them, or of the pairs that they make; counts
    /// are 0 where there is none.
    fn aggregate_of(&mut self, rows: Rows, term: &Term, span: Span) -> Result<Typed> {
        let around = self.around();
        let is_of_around = |term: &Term| {
            let is_aggregate = matches!(term.kind, TermKind::Aggregate(_) | TermKind::RowAggregate(_));
            is_aggregate && of_terms(term, &around) && none_of_terms(term, &rows.fields)
        };
        if term.any(&mut |term| is_of_around(term)) {
            let message = "an aggregate of nothing but the row around is no aggregate of these rows";
            return Err(Error::query(QueryErrorKind::Grouping, span, message)
                .advise("name a column of the SELECT's own tables in it"));
        }
        let mut reading = Reading::of_rows(self.binder, &rows.fields, &around);
        let inner = rows.keys.iter().map(|(_, inner)| inner.clone());
        reading.group(inner.map(|key| Typed::new(key, muster_engine::DataType::Text, span)).collect());
        let typed = self.binder.names().value(term, &mut reading)?;
        let (pending, groups) = (std::mem::take(&mut reading.pending), reading.groups.take());
        let Groups { keys: group_keys, aggregates, pending: of_groups, .. } = groups.unwrap_or_default();
        let of_nothing = |id: ColumnId| {
            let (_, aggregate) = aggregates.iter().find(|(known, _)| *known == id)?;
            Some(aggregate.function.of_nothing()).filter(|value| *value != Value::Null)
        };
        let expr = or_of_nothing(&typed.expr, &of_nothing);
        let data_type = typed.known_type();
        let right = self.binder.joined(rows.relation, pending);
        let keys = group_keys.iter().map(|(key, id)| (*id, key.expr.clone())).collect();
        let names_around = |(_, aggregate): &(ColumnId, RowAggregate)| {
            aggregate.arguments.iter().chain(&aggregate.filter).any(|expr| names_any(expr, &around))
        };
        let of_equal = rows.condition.is_empty() && !aggregates.iter().any(names_around);
        if of_equal {
            let id_of = |inner: &Expr| group_keys.iter().find(|(key, _)| key.expr == *inner);
            let ties = rows
                .keys
                .iter()
                .filter_map(|(outer, inner)| id_of(inner).map(|(_, id)| (outer.clone(), Expr::Column(*id))));
            let ties = ties.collect();
            let right =
                self.binder.joined(Relation::Group { input: Box::new(right), keys, aggregates }, of_groups);
            self.join(Pending { right, kind: JoinKind::Left, keys: ties, condition: None, of_pairs: None });
        } else {
            let of_pairs = Some(OfPairs::Group { keys, aggregates, pending: of_groups });
            let (kind, condition) = (JoinKind::Left, all_of(rows.condition));
            self.join(Pending { right, kind, keys: rows.keys, condition, of_pairs });
        }
        Ok(Typed::new(expr, data_type, span))
    }

    /// The value of one row: the only one, or the first of an order.
    fn row_of(&mut self, rows: Rows, select: &Select, term: &Term, span: Span) -> Result<Typed> {
        let around = self.around();
        let mut reading = Reading::of_rows(self.binder, &rows.fields, &around);
        let typed = self.binder.names().value(term, &mut reading)?;
        let mut order = Vec::with_capacity(select.order_by.len());
        for one in &select.order_by {
            let Key::Term(term) = &one.key else {
                return Err(Error::unsupported(span, "ORDER BY names a value here, not a position"));
            };
            let value = self.binder.names().value(term, &mut reading)?.expr;
            order.push(SortKey { value, descending: one.descending, nulls_first: one.nulls_first });
        }
        let mut right = self.binder.joined(rows.relation, reading.into_pending());
        let (mut value, mut keys, mut condition) = (typed.expr.clone(), rows.keys, all_of(rows.condition));
        let columns = right.columns();
        if !value.is_null_with(&|id| columns.contains(&id)) {
            // Where there is no row there is no value, whatever it would be of NULLs.
            let named: HashMap<ColumnId, ColumnId> =
                columns.iter().map(|id| (*id, self.binder.id())).collect();
            let name = |id: ColumnId| named.get(&id).copied().unwrap_or(id);
            let renamed =
                |expr: &Expr| expr.with_columns(&|id| Some(name(id))).unwrap_or_else(|| expr.clone());
            let is_there = self.binder.id();
            let outputs = columns.iter().map(|id| (name(*id), Expr::Column(*id)));
            let outputs = outputs.chain([(is_there, Expr::value(Value::Boolean(true)))]).collect();
            right = Relation::Compute { input: Box::new(right), outputs };
            value = Expr::call(Function::Case, [Expr::Column(is_there), renamed(&value)]);
            keys.iter_mut().for_each(|(_, inner)| *inner = renamed(inner));
            condition = condition.as_ref().map(renamed);
            order.iter_mut().for_each(|key| *key = key.renamed(&name));
        }
        let first = match (select.limit, select.offset, order.is_empty()) {
            (None, 0, _) => false,
            (Some(1), 0, false) => true,
            _ => {
                return Err(Error::unsupported(
                    span,
                    "of the rows of a member, a value is the first one of an order",
                )
                .advise("write (SELECT x FROM t WHERE t.member_id = m.id ORDER BY time DESC LIMIT 1)"));
            }
        };
        let (mut kind, mut of_pairs) = (JoinKind::Single, None);
        let names_around = |key: &SortKey| names_any(&key.value, &around);
        if first && (condition.is_some() || order.iter().any(names_around)) {
            (kind, of_pairs) = (JoinKind::Left, Some(OfPairs::First(order)));
        } else if first {
            let partition = keys.iter().map(|(_, inner)| inner.clone()).collect();
            right = self.binder.first_of(right, partition, order);
        }
        let data_type = typed.known_type();
        self.join(Pending { right, kind, keys, condition, of_pairs });
        Ok(Typed::new(value, data_type, span))
    }
}

/// True where a SELECT makes groups.
fn is_grouped(select: &Select) -> bool {
    let aggregates = |item: &Item| matches!(item, Item::Output { term, .. } if has_aggregate(term));
    !select.group_by.is_empty() || select.having.is_some() || select.items.iter().any(aggregates)
}

/// A value of aggregates, where those of no rows are NULL: a count is 0.
fn or_of_nothing(expr: &Expr, of_nothing: &dyn Fn(ColumnId) -> Option<Value>) -> Expr {
    match expr {
        Expr::Column(id) => match of_nothing(*id) {
            Some(value) => Expr::call(Function::Coalesce, [expr.clone(), Expr::value(value)]),
            None => expr.clone(),
        },
        Expr::Call { function, arguments } => {
            let arguments = arguments.iter().map(|argument| or_of_nothing(argument, of_nothing));
            Expr::call(function.clone(), arguments)
        }
        expr => expr.clone(),
    }
}

/// True where a term names the row around.
fn names_around(term: &Term, fields: &[Field], around: &[Field]) -> bool {
    term.any(&mut |term| {
        matches!(&term.kind, TermKind::Column(name)
            if matches!(field(fields, name), Ok(None)) && matches!(field(around, name), Ok(Some(_))))
    })
}

fn one_column(span: Span) -> Error {
    type_error(span, "a SELECT that is a value has one column")
}

fn all_of(conditions: Vec<Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|all, one| Expr::call(Function::And, [all, one]))
}

/// The fields of a SELECT's rows, for those who list them.
pub(super) fn listed<'f>(fields: &'f [Field], qualifier: Option<&str>) -> impl Iterator<Item = &'f Field> {
    let qualifier = qualifier.map(str::to_owned);
    fields.iter().filter(move |field| match &qualifier {
        Some(table) => field.table == *table,
        None => !field.merged,
    })
}
