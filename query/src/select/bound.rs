//! The clauses of a SELECT, bound: which shape it has, and what each clause names in it.

use super::groups::Groups;
use super::rows::Rows;
use super::{Direction, Shape};
use crate::bind::{Context, Names, Plain, Scope, Source, Typed};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::outcome::OutcomeColumn;
use crate::statement::{
    AggregateCall, Call, ColumnName, Condition, Item, Key, Name, Order, Term, TermKind, Windowed,
    aggregate_name,
};
use muster_engine::Predicate;
use muster_engine::exec::FoldFunction;
use muster_engine::expr::Expr;
use muster_engine::predicate::{GroupAggregate, slot_id};
use muster_engine::schema::{ColumnId, DataType};

/// The clauses after FROM.
pub(super) struct Clauses<'s> {
    pub(super) distinct: bool,
    pub(super) items: &'s [Item],
    pub(super) filter: Option<&'s Condition>,
    pub(super) group_by: &'s [Key],
    pub(super) having: Option<&'s Condition>,
    pub(super) order_by: &'s [Order],
}

/// What they come to.
pub(super) struct Bound {
    pub(super) predicate: Predicate,
    pub(super) columns: Vec<OutcomeColumn>,
    pub(super) shape: Shape,
}

/// An entry of the select list.
struct Entry<'s> {
    name: String,
    term: EntryTerm<'s>,
    span: Span,
}

enum EntryTerm<'s> {
    /// One of the columns of `*`.
    Column(ColumnId, DataType),
    Term(&'s Term),
}

/// Binds the clauses of a SELECT.
pub(super) fn bind(clauses: &Clauses<'_>, source: &Source, context: &Context<'_>) -> Result<Bound> {
    let names = Names { source, context: *context };
    let predicate = match clauses.filter {
        None => Predicate::everyone(),
        Some(filter) => names.predicate(filter)?,
    };
    let entries = entries(clauses.items, &names)?;
    let aggregates = |term: &Term| has_aggregate(term);
    let in_list = entries.iter().any(|entry| matches!(entry.term, EntryTerm::Term(term) if aggregates(term)));
    let in_order =
        clauses.order_by.iter().any(|order| matches!(&order.key, Key::Term(term) if aggregates(term)));
    let grouped = !clauses.group_by.is_empty() || clauses.having.is_some() || in_list || in_order;
    let binder = Binder { names, entries: &entries };
    let (types, shape) = if grouped { binder.groups(clauses)? } else { binder.rows(clauses)? };
    let columns = entries
        .iter()
        .zip(types)
        .map(|(entry, data_type)| OutcomeColumn { name: entry.name.clone(), data_type });
    Ok(Bound { predicate, columns: columns.collect(), shape })
}

fn entries<'s>(items: &'s [Item], names: &Names<'_>) -> Result<Vec<Entry<'s>>> {
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Item::Star { qualifier, span } => {
                names.check_qualifier(qualifier.as_ref())?;
                for (name, id) in &names.source.visible {
                    if let Some(column) = names.source.schema.column(*id) {
                        let term = EntryTerm::Column(*id, column.data_type);
                        entries.push(Entry { name: name.clone(), term, span: *span });
                    }
                }
            }
            Item::Output { term, alias } => {
                let name = alias.as_ref().map_or_else(|| name_of(term), |alias| alias.text.clone());
                entries.push(Entry { name, term: EntryTerm::Term(term), span: term.span });
            }
        }
    }
    Ok(entries)
}

/// The name of a value without one, as PostgreSQL gives it.
pub(crate) fn name_of(term: &Term) -> String {
    match &term.kind {
        TermKind::Column(name) => name.name.text.clone(),
        TermKind::Aggregate(call) => aggregate_name(call.function).to_owned(),
        TermKind::RowAggregate(call) => call.name.text().to_owned(),
        TermKind::Window(window) => match &window.call {
            Windowed::Function(name, _) => name.clone(),
            Windowed::Aggregate(call) => aggregate_name(call.function).to_owned(),
        },
        TermKind::Call(Call::Function(name), _) => name.clone(),
        TermKind::Call(Call::Case, _) => "case".to_owned(),
        TermKind::Call(Call::Extract, _) => "extract".to_owned(),
        TermKind::Call(Call::Cast(_), arguments) => arguments.first().map_or_else(String::new, name_of),
        TermKind::Call(Call::Zone, _) => "timezone".to_owned(),
        _ => "?column?".to_owned(),
    }
}

/// True where a value aggregates.
pub(crate) fn has_aggregate(term: &Term) -> bool {
    term.any(&mut |term| matches!(term.kind, TermKind::Aggregate(_) | TermKind::RowAggregate(_)))
}

struct Binder<'a, 's> {
    names: Names<'a>,
    entries: &'a [Entry<'s>],
}

impl<'s> Binder<'_, 's> {
    fn entry(&self, entry: &Entry<'s>, scope: &mut dyn Scope) -> Result<Typed> {
        match entry.term {
            EntryTerm::Column(id, data_type) => Ok(Typed::new(Expr::Column(id), data_type, entry.span)),
            EntryTerm::Term(term) => self.names.value(term, scope),
        }
    }

    fn rows(&self, clauses: &Clauses<'_>) -> Result<(Vec<DataType>, Shape)> {
        let mut outputs = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            outputs.push(self.entry(entry, &mut Plain)?);
        }
        let mut order = Vec::with_capacity(clauses.order_by.len());
        for one in clauses.order_by {
            let typed = match self.output_named(&one.key)? {
                Some(at) => outputs[at].clone(),
                None => match &one.key {
                    Key::Term(term) => self.names.value(term, &mut Plain)?,
                    Key::Position(..) => continue,
                },
            };
            check_ordered(&typed)?;
            order.push((typed, Direction { descending: one.descending, nulls_first: one.nulls_first }));
        }
        let types = outputs.iter().map(Typed::known_type).collect();
        if clauses.distinct {
            return Ok((types, Shape::Groups(self.distinct(&outputs, order)?)));
        }
        let outputs = outputs.into_iter().map(|typed| typed.expr).collect();
        let order = order.into_iter().map(|(typed, direction)| (typed.expr, direction)).collect();
        Ok((types, Shape::Rows(Rows::new(outputs, order))))
    }

    /// `SELECT DISTINCT a, b` is `SELECT a, b … GROUP BY a, b`.
    fn distinct(&self, outputs: &[Typed], order: Vec<(Typed, Direction)>) -> Result<Groups> {
        let mut keys: Vec<Expr> = Vec::new();
        let mut slot = |expr: &Expr| {
            let at = keys.iter().position(|key| key == expr).unwrap_or_else(|| {
                keys.push(expr.clone());
                keys.len() - 1
            });
            Expr::Column(slot_id(at))
        };
        let shown: Vec<Expr> = outputs.iter().map(|typed| slot(&typed.expr)).collect();
        let mut ordered = Vec::with_capacity(order.len());
        for (typed, direction) in order {
            if !outputs.iter().any(|output| output.expr == typed.expr) {
                let message = "with SELECT DISTINCT, ORDER BY names values of the select list";
                return Err(Error::query(QueryErrorKind::Grouping, typed.span, message));
            }
            ordered.push((slot(&typed.expr), direction));
        }
        Ok(Groups {
            keys,
            aggregates: Vec::new(),
            outputs: shown,
            having: None,
            order: ordered,
            distinct: false,
        })
    }

    fn groups(&self, clauses: &Clauses<'_>) -> Result<(Vec<DataType>, Shape)> {
        let mut keys: Vec<Typed> = Vec::with_capacity(clauses.group_by.len());
        for key in clauses.group_by {
            let typed = self.group_key(key)?;
            if typed.data_type == Some(DataType::TextArray) {
                return Err(Error::unsupported(typed.span, "a TEXT[] column cannot be grouped by")
                    .advise("count one tag at a time with 'vip' = ANY(tags), or PROFILE … BY tags"));
            }
            if !keys.iter().any(|known| known.expr == typed.expr) {
                keys.push(typed);
            }
        }
        let mut scope = Grouped { keys: &keys, aggregates: Vec::new() };
        let mut outputs = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            outputs.push(match entry.term {
                EntryTerm::Column(id, data_type) => {
                    let typed = Typed::new(Expr::Column(id), data_type, entry.span);
                    scope.key(&typed).ok_or_else(|| not_grouped(&entry.name, entry.span))?
                }
                EntryTerm::Term(term) => self.names.value(term, &mut scope)?,
            });
        }
        let having = match clauses.having {
            None => None,
            Some(condition) => Some(self.names.truth(condition, &mut scope, 0)?),
        };
        let mut order = Vec::with_capacity(clauses.order_by.len());
        for one in clauses.order_by {
            let typed = match self.output_named(&one.key)? {
                Some(at) => outputs[at].clone(),
                None => match &one.key {
                    Key::Term(term) => self.names.value(term, &mut scope)?,
                    Key::Position(..) => continue,
                },
            };
            check_ordered(&typed)?;
            order.push((typed.expr, Direction { descending: one.descending, nulls_first: one.nulls_first }));
        }
        let aggregates = scope.aggregates;
        let types = outputs.iter().map(Typed::known_type).collect();
        let only_counts = aggregates.iter().all(|one| *one == GroupAggregate::count());
        let only_slots = outputs.iter().all(|typed| matches!(typed.expr, Expr::Column(_)));
        if keys.is_empty() && order.is_empty() && having.is_none() && only_counts && only_slots {
            return Ok((types, Shape::Count));
        }
        let groups = Groups {
            keys: keys.into_iter().map(|typed| typed.expr).collect(),
            aggregates,
            outputs: outputs.into_iter().map(|typed| typed.expr).collect(),
            having,
            order,
            distinct: clauses.distinct,
        };
        Ok((types, Shape::Groups(groups)))
    }

    /// GROUP BY: a column of the table first, then an alias, as PostgreSQL has it.
    fn group_key(&self, key: &Key) -> Result<Typed> {
        let at = match key {
            Key::Position(position, span) => self.at_position(*position, *span)?,
            Key::Term(term) => {
                let unknown = match self.names.value(term, &mut Plain) {
                    Ok(typed) => return Ok(typed),
                    Err(unknown) => unknown,
                };
                let TermKind::Column(name) = &term.kind else { return Err(unknown) };
                self.aliased(name)?.ok_or(unknown)?
            }
        };
        let entry = &self.entries[at];
        if matches!(entry.term, EntryTerm::Term(term) if has_aggregate(term)) {
            return Err(Error::query(
                QueryErrorKind::Grouping,
                entry.span,
                "an aggregate cannot be grouped by",
            ));
        }
        self.entry(entry, &mut Plain)
    }

    /// ORDER BY: an alias or a name of the select list first, as PostgreSQL has it; `None` leaves it to be bound.
    fn output_named(&self, key: &Key) -> Result<Option<usize>> {
        match key {
            Key::Position(position, span) => self.at_position(*position, *span).map(Some),
            Key::Term(Term { kind: TermKind::Column(name), .. }) => self.aliased(name),
            Key::Term(_) => Ok(None),
        }
    }

    fn at_position(&self, position: usize, span: Span) -> Result<usize> {
        position.checked_sub(1).filter(|at| *at < self.entries.len()).ok_or_else(|| {
            let message = format!("there is no column {position} in the select list");
            Error::query(QueryErrorKind::UnknownColumn, span, message)
                .advise(format!("it has 1 to {}", self.entries.len()))
        })
    }

    fn aliased(&self, name: &ColumnName) -> Result<Option<usize>> {
        if name.qualifier.is_some() {
            return Ok(None);
        }
        let mut found = self.entries.iter().enumerate().filter(|(_, entry)| entry.name == name.name.text);
        let Some((first, _)) = found.next() else { return Ok(None) };
        for (other, _) in found {
            if !self.same(first, other) {
                return Err(ambiguous(&name.name));
            }
        }
        Ok(Some(first))
    }

    /// True where two entries are the same value.
    fn same(&self, a: usize, b: usize) -> bool {
        let bound = |at: usize| {
            let mut scope = Grouped { keys: &[], aggregates: Vec::new() };
            match self.entries[at].term {
                EntryTerm::Term(Term { kind: TermKind::Aggregate(call), .. }) => {
                    scope.aggregate(&self.names, call).ok().map(|_| (None, scope.aggregates))
                }
                _ => {
                    self.entry(&self.entries[at], &mut Plain).ok().map(|typed| (Some(typed.expr), Vec::new()))
                }
            }
        };
        let (a, b) = (bound(a), bound(b));
        a.is_some() && a == b
    }
}

fn ambiguous(name: &Name) -> Error {
    let message = format!("\"{}\" names several columns of the select list", name.text);
    Error::query(QueryErrorKind::Duplicate, name.span, message).advise("use positions: ORDER BY 2")
}

fn check_ordered(typed: &Typed) -> Result<()> {
    if typed.data_type == Some(DataType::TextArray) {
        return Err(Error::query(QueryErrorKind::Type, typed.span, "a TEXT[] column has no order"));
    }
    Ok(())
}

fn not_grouped(name: &str, span: Span) -> Error {
    let message = format!("column \"{name}\" is neither grouped by nor aggregated");
    Error::query(QueryErrorKind::Grouping, span, message)
        .advise(format!("add it to GROUP BY, or write max(\"{name}\")"))
}

/// What values over groups refer to: the keys and the aggregates, as the columns of a group.
struct Grouped<'k> {
    keys: &'k [Typed],
    aggregates: Vec<GroupAggregate>,
}

impl Grouped<'_> {
    fn key(&self, typed: &Typed) -> Option<Typed> {
        let at = self.keys.iter().position(|key| key.expr == typed.expr)?;
        Some(Typed::new(Expr::Column(slot_id(at)), self.keys[at].known_type(), typed.span))
    }

    fn aggregate(&mut self, names: &Names<'_>, call: &AggregateCall) -> Result<(usize, DataType)> {
        let filter = call.filter.as_ref().map(|filter| names.predicate(filter)).transpose()?;
        let (mut argument, mut data_type) = (None, DataType::BigInt);
        if let Some(term) = &call.argument {
            let typed = names.value(term, &mut Plain)?;
            data_type = aggregate_type(call.function, &typed, term)?;
            argument = Some(typed.expr);
        }
        let spec = GroupAggregate { function: call.function, argument, distinct: call.distinct, filter };
        let at = self.aggregates.iter().position(|known| *known == spec).unwrap_or_else(|| {
            self.aggregates.push(spec);
            self.aggregates.len() - 1
        });
        Ok((self.keys.len() + at, data_type))
    }
}

impl Scope for Grouped<'_> {
    fn take(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        if let TermKind::Aggregate(call) = &term.kind {
            let (slot, data_type) = self.aggregate(names, call)?;
            return Ok(Some(Typed::new(Expr::Column(slot_id(slot)), data_type, term.span)));
        }
        if let TermKind::Constant(_) = term.kind {
            return Ok(None);
        }
        if !has_aggregate(term) {
            let typed = names.value(term, &mut Plain)?;
            if let Some(key) = self.key(&typed) {
                return Ok(Some(key));
            }
        }
        if let TermKind::Column(name) = &term.kind {
            return Err(not_grouped(&name.name.text, term.span));
        }
        Ok(None)
    }
}

/// The type of an aggregate's answer; an argument that it does not take is refused.
pub(crate) fn aggregate_type(function: FoldFunction, argument: &Typed, term: &Term) -> Result<DataType> {
    let data_type = argument.known_type();
    let refuse = |takes: &str| {
        let what = match &term.kind {
            TermKind::Column(name) => format!("column \"{}\" is {data_type}", name.name.text),
            _ => format!("this is {}", argument.describe()),
        };
        let message = format!("{}() takes {takes}; {what}", aggregate_name(function));
        Err(Error::query(QueryErrorKind::Type, term.span, message))
    };
    Ok(match function {
        FoldFunction::Count => DataType::BigInt,
        FoldFunction::Sum | FoldFunction::Avg if !data_type.is_number() => return refuse("numbers"),
        FoldFunction::Avg => DataType::Double,
        FoldFunction::Sum => match data_type {
            DataType::Double => DataType::Double,
            DataType::Decimal { scale, .. } => DataType::Decimal { precision: 38, scale },
            _ => DataType::Decimal { precision: 38, scale: 0 },
        },
        FoldFunction::Min | FoldFunction::Max
            if matches!(data_type, DataType::Boolean | DataType::TextArray) =>
        {
            return refuse("numbers, texts, dates and times");
        }
        FoldFunction::Min | FoldFunction::Max => data_type,
    })
}
