//! SELECTs that are more than a condition and groups of one table: joins, windows, aggregates of several values, groups of
//! groups, SELECTs within values. They become a [`Relation`], a tree of steps over rows.
//!
//! ```text
//! FROM, JOIN ─ WHERE ─ GROUP BY ─ HAVING ─ windows ─ the select list ─ DISTINCT ─ ORDER BY, LIMIT
//! ```
//!
//! Values are bound as everywhere ([`Names::value`]); what a name, an aggregate or a SELECT inside stands for is said by a
//! [`Reading`], which gathers on the way what rows have to be joined with. Conditions of one table go to its index, as in a
//! SELECT of that table alone.
//!
//! | module | makes |
//! |---|---|
//! | `from` | of FROM and WHERE: rows, and what ties them to those of a SELECT around |
//! | `reading` | of terms: values of rows, groups and windows |
//! | `calls` | of aggregates and window functions: what the engine calls them, and their types |
//! | `frames` | of the frames of windows: the same |
//! | `sequences` | of funnels and patterns: the same |
//! | `pending` | of what a value on the way asks of other rows: joins |
//! | `sets` | of UNION, INTERSECT and EXCEPT: rows |
//! | `within` | of a SELECT inside a value: rows to join with |
//! | `outputs` | of the other clauses: the rows of the SELECT |

mod calls;
mod frames;
mod from;
mod outputs;
mod pending;
mod reading;
mod sequences;
mod sets;
mod within;

use super::{Context, Names, Source};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::outcome::OutcomeColumn;
use crate::select::HOLDS_ROWS;
use crate::statement::{ColumnName, Condition, Select};
use muster_engine::control::row_bytes;
use muster_engine::exec::{Stats, rows_of};
use muster_engine::expr::Expr;
use muster_engine::predicate::{Derived, Predicate, Relation, Scan, Tie};
use muster_engine::schema::{ColumnId, DataType, TableId, TableSchema};
use muster_engine::value::Value;
use muster_engine::{Cancel, Snapshot};
use pending::{OfPairs, Pending};
use reading::Reading;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

/// The most steps of one tree: evaluating it recurses.
const STEPS_MAX: usize = 80;

/// A value of rows under a name.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The table's name or alias.
    table: String,
    name: String,
    id: ColumnId,
    data_type: DataType,
    /// True of a column of USING on the right: the left one stands for both.
    merged: bool,
}

/// A SELECT as rows.
pub(crate) struct Made {
    pub(crate) relation: Relation,
    pub(crate) columns: Vec<OutcomeColumn>,
    /// The ids of the columns.
    pub(crate) ids: Vec<ColumnId>,
}

/// Binds the SELECTs of one tree.
struct Binder<'a> {
    context: Context<'a>,
    next: Cell<u32>,
    /// A source without columns: what values are bound over, for a [`Reading`] knows all names.
    nothing: Source,
}

/// Binds a SELECT that nothing around is named in.
pub(crate) fn select(select: &Select, context: &Context<'_>) -> Result<Made> {
    let binder = Binder::new(*context);
    let made = binder.select(select)?;
    Ok(binder.pruned(made))
}

impl<'a> Binder<'a> {
    fn new(context: Context<'a>) -> Binder<'a> {
        let schema = TableSchema {
            id: TableId(0),
            name: String::new(),
            columns: Vec::new(),
            key: None,
            ordinal_epoch: 0,
            next_column: ColumnId::FIRST,
            references: Vec::new(),
            owner: None,
            summaries: Vec::new(),
        };
        Binder { context, next: Cell::new(ColumnId::FIRST.0), nothing: Source::of_table(Arc::new(schema)) }
    }

    /// An id that no other value of the tree has.
    fn id(&self) -> ColumnId {
        let id = self.next.get();
        self.next.set(id + 1);
        ColumnId(id)
    }

    fn names(&self) -> Names<'_> {
        Names { source: &self.nothing, context: self.context }
    }

    /// Leaves out what is not needed for the columns.
    fn pruned(&self, mut made: Made) -> Made {
        made.relation.prune(&mut made.ids.iter().copied().collect::<HashSet<_>>());
        made
    }

    /// The rows of a table.
    fn scan(&self, source: &Source) -> (Scan, Vec<Field>) {
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for (name, column) in &source.visible {
            let Some(known) = source.schema.column(*column) else { continue };
            let id = self.id();
            columns.push((*column, id));
            let (table, name, data_type) = (source.name.clone(), name.clone(), known.data_type);
            fields.push(Field { table, name, id, data_type, merged: false });
        }
        let condition = source.members.clone().unwrap_or_else(Predicate::everyone);
        (Scan { table: source.schema.id, condition, columns }, fields)
    }
}

impl Names<'_> {
    /// A condition with SELECTs in it that has no simpler form: its truth of each member, from rows of the table itself.
    pub(super) fn derived(&self, condition: &Condition) -> Result<Predicate> {
        let binder = Binder::new(self.context);
        let whole = Source { members: None, ..self.source.clone() };
        let (mut scan, fields) = binder.scan(&whole);
        let ordinal = binder.id();
        scan.columns.push((ColumnId::LIVE, ordinal));
        let mut reading = Reading::of_rows(&binder, &fields, &[]);
        let truth = binder.names().truth(condition, &mut reading, 0)?;
        let rows = binder.joined(Relation::Scan(scan), reading.into_pending());
        let (member, answer) = (binder.id(), binder.id());
        let outputs = vec![(member, Expr::Column(ordinal)), (answer, truth)];
        let mut rows = Relation::Compute { input: Box::new(rows), outputs };
        rows.prune(&mut HashSet::from([member, answer]));
        check_steps(&rows, None)?;
        let tie = Tie::Truth { ordinal: member, truth: answer };
        Ok(Predicate::Derived(Arc::new(Derived { rows, tie, certainly: None })))
    }
}

impl Made {
    /// The rows.
    pub(crate) fn run(&self, snapshot: &Snapshot, cancel: &Cancel) -> Result<(Vec<Vec<Value>>, Stats)> {
        let (made, stats) = rows_of(snapshot, &self.relation, cancel)?;
        let places = self.ids.iter().map(|id| made.place(*id));
        let places: Vec<usize> = places.collect::<std::result::Result<_, _>>()?;
        let mut held = cancel.holder(HOLDS_ROWS);
        let mut rows = Vec::new();
        for at in 0..made.len() {
            let row: Vec<Value> = places.iter().map(|place| made.row(at)[*place].clone()).collect();
            held.add(size_of::<Vec<Value>>() + row_bytes(&row))?;
            rows.push(row);
        }
        Ok((rows, stats))
    }

    /// `column IN (SELECT …)` of these rows.
    pub(crate) fn members(&self, column: ColumnId) -> Option<Predicate> {
        let [value] = self.ids.as_slice() else { return None };
        let tie = Tie::In { column, value: *value };
        Some(Predicate::Derived(Arc::new(Derived { rows: self.relation.clone(), tie, certainly: None })))
    }
}

/// Refuses a tree that is too deep to be evaluated on a small stack.
fn check_steps(relation: &Relation, span: Option<Span>) -> Result<()> {
    fn depth(relation: &Relation) -> usize {
        1 + relation.inputs().into_iter().map(depth).max().unwrap_or(0)
    }
    if depth(relation) <= STEPS_MAX {
        return Ok(());
    }
    let message = format!("a SELECT takes more than {STEPS_MAX} steps of joins, groups and conditions");
    Err(Error::query(QueryErrorKind::Limit, span, message).advise("keep a part of it as an audience or view"))
}

/// The terms of a conjunction.
fn conjuncts(condition: &Condition) -> Vec<&Condition> {
    match condition {
        Condition::And(terms) => terms.iter().flat_map(conjuncts).collect(),
        one => vec![one],
    }
}

/// The field of a name; `None` where there is none.
fn field<'f>(fields: &'f [Field], name: &ColumnName) -> Result<Option<&'f Field>> {
    let mut found = fields.iter().filter(|field| {
        field.name == name.name.text
            && match &name.qualifier {
                Some(qualifier) => field.table == qualifier.text,
                None => !field.merged,
            }
    });
    let (first, second) = (found.next(), found.next());
    if let (Some(first), Some(second)) = (first, second) {
        let message = format!("\"{}\" is a column of several tables", name.name.text);
        let advice = format!("write {0}.{2} or {1}.{2}", first.table, second.table, name.name.text);
        return Err(Error::query(QueryErrorKind::Duplicate, name.name.span, message).advise(advice));
    }
    Ok(first)
}
