//! The clauses after WHERE: from rows to the columns of a SELECT.

use super::from::Rows;
use super::reading::Reading;
use super::within::listed;
use super::{Binder, Field, Made, check_steps, field};
use crate::bind::value::Typed;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::outcome::OutcomeColumn;
use crate::select::{has_aggregate, name_of};
use crate::statement::{Item, Key, Select, Term, TermKind};
use muster_engine::expr::Expr;
use muster_engine::predicate::{Relation, SortKey};
use muster_engine::schema::{ColumnId, DataType};

/// An entry of the select list.
struct Entry<'s> {
    name: String,
    value: EntryValue<'s>,
    span: Span,
}

enum EntryValue<'s> {
    /// One of the columns of `*`.
    Field(Field),
    Term(&'s Term),
}

impl Binder<'_> {
    /// A SELECT that names nothing around it.
    pub(super) fn select(&self, select: &Select) -> Result<Made> {
        let rows = self.rows(select, &[])?;
        self.listed_of(select, rows)
    }

    /// The same, of its rows.
    pub(super) fn listed_of(&self, select: &Select, rows: Rows) -> Result<Made> {
        let entries = entries(select, &rows.fields)?;
        let mut reading = Reading::of_rows(self, &rows.fields, &[]).with_windows(&select.windows);
        if is_grouped(select, &entries) {
            let keys = self.keys_of(select, &entries, &mut reading)?;
            reading.group(keys);
        }
        let mut outputs = Vec::with_capacity(entries.len());
        for entry in &entries {
            outputs.push(self.entry(entry, &mut reading)?);
        }
        let windows = reading.without_windows();
        let having = select.having.as_ref();
        let having = having.map(|having| self.names().truth(having, &mut reading, 0)).transpose()?;
        reading.allow_windows(windows);
        let mut order = Vec::with_capacity(select.order_by.len());
        for one in &select.order_by {
            let typed = match self.output_named(&one.key, &entries)? {
                Some(at) => outputs[at].clone(),
                None => match &one.key {
                    Key::Term(term) => self.names().value(term, &mut reading)?,
                    Key::Position(..) => continue,
                },
            };
            if typed.known_type() == DataType::TextArray {
                return Err(Error::query(QueryErrorKind::Type, typed.span, "a TEXT[] column has no order"));
            }
            order.push((typed, one.descending, one.nulls_first));
        }
        let columns = entries
            .iter()
            .zip(&outputs)
            .map(|(entry, typed)| OutcomeColumn { name: entry.name.clone(), data_type: typed.known_type() });
        let columns = columns.collect();
        let relation = self.steps(rows.relation, reading, having);
        self.listed(select, relation, columns, outputs, order)
    }

    /// The select list, DISTINCT, ORDER BY and LIMIT.
    fn listed(
        &self,
        select: &Select,
        relation: Relation,
        columns: Vec<OutcomeColumn>,
        outputs: Vec<Typed>,
        order: Vec<(Typed, bool, bool)>,
    ) -> Result<Made> {
        let mut computed: Vec<(ColumnId, Expr)> =
            outputs.iter().map(|typed| (self.id(), typed.expr.clone())).collect();
        let mut ids: Vec<ColumnId> = computed.iter().map(|(id, _)| *id).collect();
        let mut keys = Vec::with_capacity(order.len());
        for (typed, descending, nulls_first) in order {
            let shown = computed.iter().position(|(_, known)| *known == typed.expr);
            let at = match shown {
                Some(at) => at,
                None if select.distinct => {
                    let message = "with SELECT DISTINCT, ORDER BY names values of the select list";
                    return Err(Error::query(QueryErrorKind::Grouping, typed.span, message));
                }
                None => {
                    computed.push((self.id(), typed.expr));
                    computed.len() - 1
                }
            };
            keys.push((at, descending, nulls_first));
        }
        let mut places: Vec<ColumnId> = computed.iter().map(|(id, _)| *id).collect();
        let mut relation = Relation::Compute { input: Box::new(relation), outputs: computed };
        if select.distinct {
            if let Some(tags) = columns.iter().find(|column| column.data_type == DataType::TextArray) {
                let message = format!("\"{}\" is a TEXT[], which DISTINCT does not compare", tags.name);
                return Err(Error::unsupported(None, message));
            }
            ids = ids.iter().map(|_| self.id()).collect();
            let distinct = ids.iter().zip(&places).map(|(id, known)| (*id, Expr::Column(*known)));
            let keys = distinct.collect();
            relation = Relation::Group { input: Box::new(relation), keys, aggregates: Vec::new() };
            places.clone_from(&ids);
        }
        if !keys.is_empty() || select.limit.is_some() || select.offset > 0 {
            let order = keys.into_iter().map(|(at, descending, nulls_first)| SortKey {
                value: Expr::Column(places[at]),
                descending,
                nulls_first,
            });
            let (order, input) = (order.collect(), Box::new(relation));
            relation = Relation::Sort { input, order, offset: select.offset, limit: select.limit };
        }
        check_steps(&relation, None)?;
        Ok(Made { relation, columns, ids })
    }

    /// Joins, groups, HAVING and windows, in their order.
    fn steps(&self, relation: Relation, reading: Reading<'_>, having: Option<Expr>) -> Relation {
        let mut relation = self.joined(relation, reading.pending);
        if let Some(groups) = reading.groups {
            let keys = groups.keys.into_iter().map(|(key, id)| (id, key.expr)).collect();
            relation = Relation::Group { input: Box::new(relation), keys, aggregates: groups.aggregates };
            relation = self.joined(relation, groups.pending);
        }
        if let Some(condition) = having {
            relation = Relation::Filter { input: Box::new(relation), condition };
        }
        for windows in reading.windowed {
            relation = Relation::Window {
                input: Box::new(relation),
                partition: windows.partition,
                order: windows.order,
                outputs: windows.outputs,
            };
        }
        relation
    }

    fn entry(&self, entry: &Entry<'_>, reading: &mut Reading<'_>) -> Result<Typed> {
        match &entry.value {
            EntryValue::Term(term) => self.names().value(term, reading),
            EntryValue::Field(field) if reading.groups.is_none() => {
                Ok(Typed::new(Expr::Column(field.id), field.data_type, entry.span))
            }
            EntryValue::Field(field) => {
                let groups = reading.groups.iter().flat_map(|groups| &groups.keys);
                let mut keys = groups.filter(|(key, _)| key.expr == Expr::Column(field.id));
                match keys.next() {
                    Some((key, id)) => Ok(Typed::new(Expr::Column(*id), key.known_type(), entry.span)),
                    None => {
                        let message =
                            format!("column \"{}\" is neither grouped by nor aggregated", field.name);
                        Err(Error::query(QueryErrorKind::Grouping, entry.span, message))
                    }
                }
            }
        }
    }

    /// GROUP BY: a column of the rows first, then a name of the select list, as PostgreSQL has it.
    fn keys_of(
        &self,
        select: &Select,
        entries: &[Entry<'_>],
        reading: &mut Reading<'_>,
    ) -> Result<Vec<Typed>> {
        let mut keys = Vec::with_capacity(select.group_by.len());
        let windows = reading.without_windows();
        for key in &select.group_by {
            let typed = match key {
                Key::Position(position, span) => {
                    self.key_entry(&entries[at_position(*position, *span, entries)?], reading)?
                }
                Key::Term(term) => {
                    let is_field = match &term.kind {
                        TermKind::Column(name) => field(reading.fields, name)?.is_some(),
                        _ => true,
                    };
                    match self.output_named(key, entries)?.filter(|_| !is_field) {
                        Some(at) => self.key_entry(&entries[at], reading)?,
                        None => self.names().value(term, reading)?,
                    }
                }
            };
            if typed.known_type() == DataType::TextArray {
                return Err(Error::unsupported(typed.span, "a TEXT[] column cannot be grouped by"));
            }
            keys.push(typed);
        }
        reading.allow_windows(windows);
        Ok(keys)
    }

    fn key_entry(&self, entry: &Entry<'_>, reading: &mut Reading<'_>) -> Result<Typed> {
        if matches!(entry.value, EntryValue::Term(term) if has_aggregate(term)) {
            let message = "an aggregate cannot be grouped by";
            return Err(Error::query(QueryErrorKind::Grouping, entry.span, message));
        }
        self.entry(entry, reading)
    }

    /// ORDER BY: a position or a name of the select list; `None` leaves it to be bound.
    fn output_named(&self, key: &Key, entries: &[Entry<'_>]) -> Result<Option<usize>> {
        let name = match key {
            Key::Position(position, span) => return at_position(*position, *span, entries).map(Some),
            Key::Term(Term { kind: TermKind::Column(name), .. }) if name.qualifier.is_none() => &name.name,
            Key::Term(_) => return Ok(None),
        };
        let mut found = entries.iter().enumerate().filter(|(_, entry)| entry.name == name.text);
        let first = found.next().map(|(at, _)| at);
        if first.is_some() && found.next().is_some() {
            let message = format!("\"{}\" names several columns of the select list", name.text);
            return Err(Error::query(QueryErrorKind::Duplicate, name.span, message)
                .advise("use positions: ORDER BY 2"));
        }
        Ok(first)
    }
}

fn at_position(position: usize, span: Span, entries: &[Entry<'_>]) -> Result<usize> {
    position.checked_sub(1).filter(|at| *at < entries.len()).ok_or_else(|| {
        let message = format!("there is no column {position} in the select list");
        Error::query(QueryErrorKind::UnknownColumn, span, message)
            .advise(format!("it has 1 to {}", entries.len()))
    })
}

fn entries<'s>(select: &'s Select, fields: &[Field]) -> Result<Vec<Entry<'s>>> {
    let mut entries = Vec::with_capacity(select.items.len());
    for item in &select.items {
        match item {
            Item::Star { qualifier, span } => {
                let before = entries.len();
                let qualifier = qualifier.as_ref();
                for field in listed(fields, qualifier.map(|name| name.text.as_str())) {
                    let (name, value) = (field.name.clone(), EntryValue::Field(field.clone()));
                    entries.push(Entry { name, value, span: *span });
                }
                if let (Some(name), true) = (qualifier, entries.len() == before) {
                    let message = format!("unknown table \"{}\"", name.text);
                    return Err(Error::query(QueryErrorKind::UnknownTable, name.span, message));
                }
            }
            Item::Output { term, alias } => {
                let name = alias.as_ref().map_or_else(|| name_of(term), |alias| alias.text.clone());
                entries.push(Entry { name, value: EntryValue::Term(term), span: term.span });
            }
        }
    }
    Ok(entries)
}

fn is_grouped(select: &Select, entries: &[Entry<'_>]) -> bool {
    let in_list = |entry: &Entry<'_>| matches!(entry.value, EntryValue::Term(term) if has_aggregate(term));
    let mut in_order = select.order_by.iter().filter_map(|order| match &order.key {
        Key::Term(term) => Some(has_aggregate(term)),
        Key::Position(..) => None,
    });
    !select.group_by.is_empty()
        || select.having.is_some()
        || entries.iter().any(in_list)
        || in_order.any(|aggregates| aggregates)
}
