//! What terms stand for while rows, groups and windows are bound.
//!
//! A [`Reading`] is at rows first: a name is a field. Where a SELECT groups, it is at groups: a name is a key, an aggregate a
//! value of the group, and only what stands within an aggregate is read at rows. SELECTs inside values are bound on the way, as
//! rows to join with those at hand.

use super::{Binder, Field, Pending, calls, field};
use crate::bind::value::{Scope, Typed};
use crate::bind::{Names, unknown_column};
use crate::error::{Error, QueryErrorKind, Result};
use crate::select::has_aggregate;
use crate::statement::{ColumnName, Condition, Name, Over, Seen, Term, TermKind};
use muster_engine::expr::Expr;
use muster_engine::predicate::{RowAggregate, SortKey, WindowCall};
use muster_engine::schema::ColumnId;

/// What a SELECT has on the way from its rows to its columns.
pub(super) struct Reading<'b> {
    pub(super) binder: &'b Binder<'b>,
    pub(super) fields: &'b [Field],
    /// The fields of a row around.
    pub(super) outer: &'b [Field],
    /// The clause WINDOW; `None` where windows cannot be asked.
    windows: Option<&'b [(Name, Over)]>,
    /// What rows are joined with.
    pub(super) pending: Vec<Pending>,
    /// Where they are grouped.
    pub(super) groups: Option<Groups>,
    /// True where terms are of groups.
    at_groups: bool,
    pub(super) windowed: Vec<Windows>,
}

/// Groups of rows.
#[derive(Default)]
pub(super) struct Groups {
    /// Each key, and its id in the group.
    pub(super) keys: Vec<(Typed, ColumnId)>,
    /// The keys that are fields, under their names: for SELECTs inside.
    pub(super) fields: Vec<Field>,
    pub(super) aggregates: Vec<(ColumnId, RowAggregate)>,
    /// What groups are joined with.
    pub(super) pending: Vec<Pending>,
}

/// Window functions over the same neighbours.
pub(super) struct Windows {
    pub(super) partition: Vec<Expr>,
    pub(super) order: Vec<SortKey>,
    pub(super) outputs: Vec<(ColumnId, WindowCall)>,
}

impl<'b> Reading<'b> {
    /// Of rows that are not grouped.
    pub(super) fn of_rows(binder: &'b Binder<'b>, fields: &'b [Field], outer: &'b [Field]) -> Reading<'b> {
        let (pending, windowed) = (Vec::new(), Vec::new());
        Reading { binder, fields, outer, windows: None, pending, groups: None, at_groups: false, windowed }
    }

    /// The same, where window functions may stand.
    pub(super) fn with_windows(self, windows: &'b [(Name, Over)]) -> Reading<'b> {
        Reading { windows: Some(windows), ..self }
    }

    /// The same without them.
    pub(super) fn without_windows(&mut self) -> Option<&'b [(Name, Over)]> {
        self.windows.take()
    }

    /// Allows them again.
    pub(super) fn allow_windows(&mut self, windows: Option<&'b [(Name, Over)]>) {
        self.windows = windows;
    }

    /// From here on terms are of groups by these keys.
    pub(super) fn group(&mut self, keys: Vec<Typed>) {
        let mut groups = Groups::default();
        for key in keys {
            if groups.keys.iter().any(|(known, _)| known.expr == key.expr) {
                continue;
            }
            let id = self.binder.id();
            if let Expr::Column(column) = key.expr
                && let Some(field) = self.fields.iter().find(|field| field.id == column)
            {
                groups.fields.push(Field { id, ..field.clone() });
            }
            groups.keys.push((key, id));
        }
        self.groups = Some(groups);
        self.at_groups = true;
    }

    pub(super) fn into_pending(self) -> Vec<Pending> {
        self.pending
    }

    /// What a SELECT inside may name of the row at hand.
    pub(super) fn around(&self) -> Vec<Field> {
        match &self.groups {
            Some(groups) if self.at_groups => groups.fields.clone(),
            _ => self.fields.to_vec(),
        }
    }

    /// Joins the row at hand with others.
    pub(super) fn join(&mut self, pending: Pending) {
        match &mut self.groups {
            Some(groups) if self.at_groups => groups.pending.push(pending),
            _ => self.pending.push(pending),
        }
    }

    /// Binds by `bind` what stands within an aggregate.
    pub(super) fn at_rows<T>(&mut self, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (at_groups, windows) = (std::mem::replace(&mut self.at_groups, false), self.windows.take());
        let bound = bind(self);
        (self.at_groups, self.windows) = (at_groups, windows);
        bound
    }

    fn column(&self, name: &ColumnName, term: &Term) -> Result<Typed> {
        let found = match field(self.fields, name)? {
            Some(found) => Some(found),
            None => field(self.outer, name)?,
        };
        match found {
            Some(field) => Ok(Typed::new(Expr::Column(field.id), field.data_type, term.span)),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &ColumnName) -> Error {
        let tables = || self.fields.iter().chain(self.outer).map(|field| field.table.as_str());
        if let Some(qualifier) = &name.qualifier
            && !tables().any(|table| table == qualifier.text)
        {
            let message = format!("unknown table \"{}\"", qualifier.text);
            let error = Error::query(QueryErrorKind::UnknownTable, qualifier.span, message);
            return error
                .advise("a SELECT names the tables of its own FROM, and of the SELECT right around it");
        }
        let fields = self.fields.iter().chain(self.outer).map(|field| field.name.as_str());
        unknown_column(&name.name, fields)
    }

    /// A key of the groups.
    fn key(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        let has_own = |term: &Term| {
            term.sees(&mut |seen| match seen {
                Seen::Term(term) => matches!(term.kind, TermKind::Window(_) | TermKind::Select(_)),
                Seen::Condition(condition) => {
                    matches!(condition, Condition::InSelect { .. } | Condition::Exists { .. })
                }
            })
        };
        if has_aggregate(term) || has_own(term) {
            return Ok(None);
        }
        let typed = self.at_rows(|reading| names.value(term, reading))?;
        let Some(groups) = &self.groups else { return Ok(None) };
        let found = groups.keys.iter().find(|(key, _)| key.expr == typed.expr);
        Ok(found.map(|(key, id)| Typed::new(Expr::Column(*id), key.known_type(), term.span)))
    }

    /// An aggregate of the group at hand.
    fn aggregate(&mut self, names: &Names<'_>, term: &Term) -> Result<Typed> {
        if !self.at_groups {
            let message = "an aggregate cannot stand here";
            return Err(Error::query(QueryErrorKind::Grouping, term.span, message)
                .advise("HAVING asks about aggregates, WHERE about rows"));
        }
        let (aggregate, data_type) = self.at_rows(|reading| calls::aggregate(reading, names, term))?;
        let id = self.binder.id();
        let Some(groups) = &mut self.groups else {
            return Err(Error::query(QueryErrorKind::Grouping, term.span, "there are no groups here"));
        };
        let known = groups.aggregates.iter().find(|(_, known)| *known == aggregate).map(|(id, _)| *id);
        let id = known.unwrap_or(id);
        if known.is_none() {
            groups.aggregates.push((id, aggregate));
        }
        Ok(Typed::new(Expr::Column(id), data_type, term.span))
    }

    /// A window function of the rows or groups at hand.
    fn window(&mut self, names: &Names<'_>, term: &Term) -> Result<Typed> {
        let (TermKind::Window(window), Some(named)) = (&term.kind, self.windows) else {
            let message = "a window function cannot stand here";
            return Err(Error::query(QueryErrorKind::Grouping, term.span, message)
                .advise("write SELECT … FROM (SELECT …, row_number() OVER (…) AS n FROM …) t WHERE n = 1"));
        };
        // No window stands within another.
        self.windows = None;
        let bound = calls::window(self, names, window, named, term.span);
        self.windows = Some(named);
        let (partition, order, call, data_type) = bound?;
        let id = self.binder.id();
        let same = |known: &&mut Windows| known.partition == partition && known.order == order;
        match self.windowed.iter_mut().find(same) {
            Some(known) => known.outputs.push((id, call)),
            None => self.windowed.push(Windows { partition, order, outputs: vec![(id, call)] }),
        }
        Ok(Typed::new(Expr::Column(id), data_type, term.span))
    }
}

impl Scope for Reading<'_> {
    fn take(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        match &term.kind {
            TermKind::Constant(_) | TermKind::Array(_) | TermKind::List(_) => Ok(None),
            TermKind::Aggregate(_) | TermKind::RowAggregate(_) => self.aggregate(names, term).map(Some),
            TermKind::Window(_) => self.window(names, term).map(Some),
            TermKind::Select(select) => self.value_of(select, term.span).map(Some),
            TermKind::Column(name) if !self.at_groups => self.column(name, term).map(Some),
            _ if self.at_groups => match (self.key(names, term)?, &term.kind) {
                // What the row around says is the same for all rows of a group.
                (None, TermKind::Column(name)) if field(self.fields, name)?.is_none() => {
                    self.column(name, term).map(Some)
                }
                (None, TermKind::Column(name)) => Err(not_grouped(name, term)),
                (found, _) => Ok(found),
            },
            _ => Ok(None),
        }
    }

    fn take_condition(&mut self, names: &Names<'_>, condition: &Condition) -> Result<Option<Expr>> {
        match condition {
            Condition::Exists { select, span } => self.exists(select, *span).map(Some),
            Condition::InSelect { left, select, span } => {
                let left = names.value(left, self)?;
                self.is_in(left, select, *span).map(Some)
            }
            Condition::Audience(name) => Err(Error::unsupported(
                name.span,
                "an audience beside rows of several tables is not supported",
            )
            .advise("write id IN (SELECT id FROM the_audience)")),
            Condition::Sets { left, .. } => Err(of_tags(left)),
            Condition::Quantified { right: right @ Term { kind: TermKind::Column(_), .. }, .. } => {
                Err(of_tags(right))
            }
            _ => Ok(None),
        }
    }
}

fn of_tags(term: &Term) -> Error {
    Error::unsupported(term.span, "tags are asked of their own table, not of what is made of its rows")
        .advise("ask in the WHERE of a SELECT of that table")
}

fn not_grouped(name: &ColumnName, term: &Term) -> Error {
    let name = &name.name.text;
    let message = format!("column \"{name}\" is neither grouped by nor aggregated");
    Error::query(QueryErrorKind::Grouping, term.span, message)
        .advise(format!("add it to GROUP BY, or write max(\"{name}\")"))
}
