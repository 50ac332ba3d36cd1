//! Rows that are made of rows: a [`Relation`] evaluated bottom up, each node whole before the next.
//!
//! This is the general way, through values in memory, for what no index has a form for; it is for questions about a member's
//! rows, not for scans of everything. [`ROWS_VALUES_MAX`] bounds what a node holds, all of it counts into the memory of the
//! statement, and every loop over rows hears of a cancellation. What is damaged in a stored definition (a column that a row has not, a function with too few arguments) is
//! an error.

mod aggregate;
mod append;
mod by_owner;
mod frame;
mod funnel;
mod group;
mod join;
mod narrow;
mod sequence;
mod window;

pub use aggregate::FUNNEL_STEPS_MAX;
pub(in crate::exec) use by_owner::ByOwnerWorker;
pub(crate) use by_owner::{ByOwner, takes_derived};
pub(super) use narrow::narrowed;

use super::related::resolve_at;
use super::{Members, Scope, Stats, evaluate_resolved, key_bytes, project};
use crate::control::{Cancel, Held, row_bytes, value_bytes};
use crate::eval::compare;
use crate::expr::{Compiled, Expr};
use crate::predicate::{ROWS_DEPTH_MAX, Relation, Scan, SortKey};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use by_owner::Nobodys;
use std::cmp::Ordering;

/// The most values that rows made of rows may hold at once, some 32 bytes each.
pub const ROWS_VALUES_MAX: usize = 1 << 24;

/// Rows between two looks at the cancel flag.
const LOOK_ROWS: usize = 4_096;

/// Rows whose columns are read at once.
const PROJECTED_AT_ONCE: usize = 65_536;

/// The rows of a relation, and what finding them cost.
///
/// # Errors
/// Those of an evaluation, of what is computed, and more than [`ROWS_VALUES_MAX`] values.
pub fn rows_of(snapshot: &Snapshot, relation: &Relation, cancel: &Cancel) -> Result<(RowSet, Stats)> {
    rows_at(snapshot, relation, cancel, 0)
}

/// [`rows_of`] what is asked so many tables away.
pub(super) fn rows_at(
    snapshot: &Snapshot,
    relation: &Relation,
    cancel: &Cancel,
    tables: usize,
) -> Result<(RowSet, Stats)> {
    let mut run = Run::new(snapshot, cancel, tables);
    let rows = run.rows(relation)?;
    Ok((rows, run.stats))
}

/// What their memory is for, as [`Held`] says it.
const HOLDS: &str = "rows made of rows";

/// Rows of named values.
#[derive(Debug)]
pub struct RowSet {
    columns: Vec<ColumnId>,
    len: usize,
    /// Row by row.
    values: Vec<Value>,
    held: Held,
}

impl RowSet {
    fn new(columns: Vec<ColumnId>, cancel: &Cancel) -> RowSet {
        RowSet { columns, len: 0, values: Vec::new(), held: cancel.holder(HOLDS) }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values of a row.
    pub fn row(&self, at: usize) -> &[Value] {
        let width = self.columns.len();
        &self.values[at * width..(at + 1) * width]
    }

    /// Where a row has a value.
    ///
    /// # Errors
    /// Where it has none of that name.
    pub fn place(&self, column: ColumnId) -> Result<usize> {
        place(&self.columns, column)
    }

    /// Appends a row.
    fn push(&mut self, row: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut bytes = self.columns.len() * size_of::<Value>();
        self.values.extend(row.into_iter().inspect(|value| bytes += value_bytes(value)));
        self.held.add(bytes)?;
        self.len += 1;
        debug_assert_eq!(self.values.len(), self.len * self.columns.len());
        if self.values.len() > ROWS_VALUES_MAX { Err(too_many()) } else { Ok(()) }
    }

    /// Appends rows of the same columns.
    fn append(&mut self, other: RowSet) -> Result<()> {
        self.len += other.len;
        self.held.absorb(other.held)?;
        self.values.extend(other.values);
        if self.values.len() > ROWS_VALUES_MAX { Err(too_many()) } else { Ok(()) }
    }
}

fn too_many() -> Error {
    Error::Invalid(format!(
        "a SELECT within a condition makes more than {ROWS_VALUES_MAX} values of its rows; \
         narrow it by WHERE, or keep a part of it as an audience"
    ))
}

fn place(columns: &[ColumnId], column: ColumnId) -> Result<usize> {
    columns.iter().position(|known| *known == column).ok_or_else(|| {
        Error::Invalid(format!("rows have no value {}, which a condition names: it is damaged", column.0))
    })
}

/// An expression over the values of rows.
struct Computed {
    compiled: Compiled,
    inputs: Vec<usize>,
}

impl Computed {
    fn new(expr: &Expr, columns: &[ColumnId], now_micros: i64) -> Result<Computed> {
        let compiled = Compiled::new(expr, now_micros)?;
        let inputs = compiled.columns().iter().map(|column| place(columns, *column));
        let inputs = inputs.collect::<Result<_>>()?;
        Ok(Computed { compiled, inputs })
    }

    fn of(&self, row: &[Value]) -> Result<Value> {
        self.of_pair(row, &[])
    }

    /// Of the values of two rows, one after the other.
    fn of_pair(&self, left: &[Value], right: &[Value]) -> Result<Value> {
        let value = |at: usize| left.get(at).or_else(|| right.get(at - left.len())).cloned();
        let inputs: Vec<Value> = self.inputs.iter().map(|at| value(*at).unwrap_or(Value::Null)).collect();
        self.compiled.eval(0, &inputs)
    }
}

fn is_true(value: &Value) -> bool {
    *value == Value::Boolean(true)
}

/// Appends the bytes of a row's keys; `None` where one of them is NULL.
fn bytes_of(keys: &[Computed], row: &[Value], bytes: &mut Vec<u8>) -> Result<Option<()>> {
    bytes.clear();
    let mut some = Some(());
    for key in keys {
        let value = key.of(row)?;
        if value == Value::Null {
            some = None;
        }
        key_bytes(&value, bytes);
    }
    Ok(some)
}

/// An order of rows.
struct Order {
    keys: Vec<(Computed, SortKey)>,
}

impl Order {
    fn values(&self, row: &[Value]) -> Result<Vec<Value>> {
        self.keys.iter().map(|(key, _)| key.of(row)).collect()
    }

    fn compare(&self, a: &[Value], b: &[Value]) -> Ordering {
        let each = a.iter().zip(b).zip(&self.keys);
        let mut each = each.map(|((a, b), (_, key))| directed(a, b, key));
        each.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

fn directed(a: &Value, b: &Value, key: &SortKey) -> Ordering {
    let nulls = if key.nulls_first { Ordering::Less } else { Ordering::Greater };
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => nulls,
        (_, Value::Null) => nulls.reverse(),
        _ => {
            let order = compare(a, b).ok().flatten().unwrap_or_else(|| kind(a).cmp(&kind(b)));
            if key.descending { order.reverse() } else { order }
        }
    }
}

/// Values of one kind can be compared. Where what is damaged makes several, they are ordered by kind: a sort needs some order.
fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Boolean(_) => 1,
        Value::Integer(_) | Value::Decimal { .. } | Value::Double(_) => 2,
        Value::Text(_) => 3,
        Value::Date(_) | Value::Timestamp(_) | Value::TimestampTz(_) => 4,
        Value::Tags(_) => 5,
    }
}

/// An evaluation.
struct Run<'a> {
    snapshot: &'a Snapshot,
    cancel: &'a Cancel,
    tables: usize,
    /// Steps above this one.
    depth: usize,
    stats: Stats,
    /// Where only the rows of nobody are asked.
    nobodys: Option<Nobodys>,
}

impl<'a> Run<'a> {
    fn new(snapshot: &'a Snapshot, cancel: &'a Cancel, tables: usize) -> Run<'a> {
        Run { snapshot, cancel, tables, depth: 0, stats: Stats::default(), nobodys: None }
    }

    fn rows(&mut self, relation: &Relation) -> Result<RowSet> {
        self.cancel.check()?;
        self.depth += 1;
        if self.depth > ROWS_DEPTH_MAX {
            return Err(Error::Invalid(format!("rows are made in at most {ROWS_DEPTH_MAX} steps")));
        }
        let rows = match self.by_owner(relation)? {
            Some(rows) => rows,
            None => self.step(relation)?,
        };
        self.depth -= 1;
        Ok(rows)
    }

    #[inline(never)]
    fn step(&mut self, relation: &Relation) -> Result<RowSet> {
        match relation {
            Relation::Scan(scan) => self.scan(scan),
            Relation::Filter { input, condition } => {
                let rows = self.rows(input)?;
                self.filter(rows, condition)
            }
            Relation::Compute { input, outputs } => {
                let rows = self.rows(input)?;
                self.compute(&rows, outputs)
            }
            Relation::Join(join) => {
                let (left, right) = (self.rows(&join.left)?, self.rows(&join.right)?);
                self.join(join, &left, &right)
            }
            Relation::Append { columns, inputs } => self.append(columns, inputs),
            Relation::Group { input, keys, aggregates } => {
                let rows = self.rows(input)?;
                self.group(&rows, keys, aggregates)
            }
            Relation::Window { input, partition, order, outputs } => {
                let rows = self.rows(input)?;
                self.window(&rows, partition, order, outputs)
            }
            Relation::Sort { input, order, offset, limit } => {
                let rows = self.rows(input)?;
                self.sort(rows, order, *offset, *limit)
            }
        }
    }

    fn computed(&self, expr: &Expr, rows: &RowSet) -> Result<Computed> {
        Computed::new(expr, &rows.columns, self.snapshot.now_micros())
    }

    fn all_computed(&self, exprs: &[Expr], rows: &RowSet) -> Result<Vec<Computed>> {
        exprs.iter().map(|expr| self.computed(expr, rows)).collect()
    }

    fn order(&self, keys: &[SortKey], rows: &RowSet) -> Result<Order> {
        let one = |key: &SortKey| Ok((self.computed(&key.value, rows)?, key.clone()));
        Ok(Order { keys: keys.iter().map(one).collect::<Result<_>>()? })
    }

    /// Hears of a cancellation now and then.
    fn look(&self, at: usize) -> Result<()> {
        if at.is_multiple_of(LOOK_ROWS) { self.cancel.check() } else { Ok(()) }
    }

    fn scan(&mut self, scan: &Scan) -> Result<RowSet> {
        let Scan { table, condition, columns } = scan;
        let resolved = resolve_at(self.snapshot, *table, condition, self.cancel, self.tables + 1)?;
        let mask = self.nobodys.as_ref().and_then(|nobodys| nobodys.of(*table));
        let scope = Scope { mask, ..Scope::default() };
        let (members, cost) = evaluate_resolved(
            self.snapshot,
            *table,
            resolved,
            &scope,
            self.cancel,
            &Members,
            self.tables + 1,
        )?;
        self.stats.add(cost);
        let mut rows = RowSet::new(columns.iter().map(|(_, id)| *id).collect(), self.cancel);
        let stored: Vec<ColumnId> =
            columns.iter().map(|(column, _)| *column).filter(|column| *column != ColumnId::LIVE).collect();
        let ordinals: Vec<u32> = members.iter().collect();
        let mut held = self.cancel.holder(HOLDS);
        held.add(ordinals.len() * size_of::<u32>())?;
        for some in ordinals.chunks(PROJECTED_AT_ONCE) {
            self.cancel.check()?;
            self.snapshot.check()?;
            let read = project(self.snapshot, *table, some, &stored)?;
            for (ordinal, values) in some.iter().zip(read) {
                let mut values = values.into_iter();
                let whole = columns.iter().map(|(column, _)| match *column {
                    ColumnId::LIVE => Value::Integer(i64::from(*ordinal)),
                    _ => values.next().unwrap_or(Value::Null),
                });
                rows.push(whole)?;
            }
        }
        Ok(rows)
    }

    fn filter(&self, rows: RowSet, condition: &Expr) -> Result<RowSet> {
        let condition = self.computed(condition, &rows)?;
        let mut kept = RowSet::new(rows.columns.clone(), self.cancel);
        for at in 0..rows.len {
            self.look(at)?;
            if is_true(&condition.of(rows.row(at))?) {
                kept.push(rows.row(at).iter().cloned())?;
            }
        }
        Ok(kept)
    }

    fn compute(&self, rows: &RowSet, outputs: &[(ColumnId, Expr)]) -> Result<RowSet> {
        let columns: Vec<ColumnId> = outputs.iter().map(|(id, _)| *id).collect();
        let exprs: Vec<Expr> = outputs.iter().map(|(_, expr)| expr.clone()).collect();
        let computed = self.all_computed(&exprs, rows)?;
        let mut made = RowSet::new(columns, self.cancel);
        for at in 0..rows.len {
            self.look(at)?;
            let row: Vec<Value> = computed.iter().map(|one| one.of(rows.row(at))).collect::<Result<_>>()?;
            made.push(row)?;
        }
        Ok(made)
    }

    fn sort(&self, rows: RowSet, order: &[SortKey], offset: u64, limit: Option<u64>) -> Result<RowSet> {
        let order = self.order(order, &rows)?;
        let mut keyed = Vec::with_capacity(rows.len);
        let mut held = self.cancel.holder("what rows are ordered by");
        for at in 0..rows.len {
            self.look(at)?;
            let values = order.values(rows.row(at))?;
            held.add(size_of::<(Vec<Value>, usize)>() + row_bytes(&values))?;
            keyed.push((values, at));
        }
        keyed.sort_by(|a, b| order.compare(&a.0, &b.0));
        let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let mut sorted = RowSet::new(rows.columns.clone(), self.cancel);
        for (_, at) in keyed.into_iter().skip(size(offset)).take(limit.map_or(usize::MAX, size)) {
            sorted.push(rows.row(at).iter().cloned())?;
        }
        Ok(sorted)
    }
}
