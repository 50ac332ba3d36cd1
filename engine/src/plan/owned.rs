//! What rows of other tables say of their owners, as a leaf of the owners' plan.
//!
//! ```text
//! Related ─ passes: the rows of one condition, with what is made of each owner's ┐
//!                                                                              ├─ check: comparisons of these ─ members
//!           slots: an aggregate each ─ the count or a lane of a pass ────────────┘
//! ```
//!
//! It takes rows by the column that says whose they are, where the key of the table asked stands on the other side; what it does
//! not take is resolved to a list of values beforehand ([`crate::exec::resolve`]).

use super::cut::cut;
use super::{Leaf, Node, Plan, Test};
use crate::control::Cancel;
use crate::events::Strays;
use crate::exec::{Chosen, FoldFunction, Loose, check_depth, members_of, resolve_at};
use crate::expr::clock::{self, Beside};
use crate::expr::{Compiled, Expr, Function};
use crate::predicate::{CompareOp, Predicate, Related, RelatedRows, Truth, slot_id};
use crate::schema::{ColumnId, DataType, Owner, TableId};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use muster_storage::format::SectionKind;
use std::sync::Arc;

/// What rows of other tables say of each owner.
pub struct Owned<'a> {
    /// The rows, of one condition each.
    pub(crate) passes: Vec<Pass<'a>>,
    /// Where the aggregates are found, in their order.
    pub(crate) slots: Vec<Slot>,
    /// What is asked of them.
    pub(crate) check: Check,
    /// What is to be the outcome.
    pub(crate) wanted: bool,
    /// Whether that is so of an owner without a row.
    pub(crate) of_nothing: bool,
    /// Whether the check alone would have the wanted outcome of an owner without a row.
    pub(crate) check_of_nothing: bool,
    /// True of IN: those in the list have a row of the first pass.
    pub(crate) is_in: bool,
    /// True where those are wanted who are not in the list.
    pub(crate) not_in: bool,
}

/// Rows of a table that satisfy a condition.
pub(crate) struct Pass<'a> {
    pub(crate) table: &'a TableState,
    pub(crate) ordinals: ColumnReader<'a>,
    pub(crate) strays: Arc<Strays>,
    /// The whole condition.
    pub(crate) plan: Plan<'a>,
    /// What is left of it beside the tests.
    pub(crate) rest: Node,
    /// Intervals that rows have to be in.
    pub(crate) tests: Vec<RowTest<'a>>,
    /// The columns of which something is made.
    pub(crate) lanes: Vec<Lane<'a>>,
    /// Rows that the runs of their owners do not have.
    pub(crate) loose: Loose,
}

/// Intervals of the codes of a column, one of which a row has to be in: ascending, disjoint.
pub(crate) struct RowTest<'a> {
    pub(crate) reader: ColumnReader<'a>,
    /// One, but of the cluster column.
    pub(crate) intervals: Vec<(i64, i64)>,
    /// What runs tell of the column.
    pub(crate) by: RunsBy,
}

/// What runs tell of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RunsBy {
    /// It is their rows' time.
    Time,
    /// It is the column by whose values they are apart within a span of time.
    Cluster,
    /// Nothing.
    Nothing,
}

/// A column of which something is made.
pub(crate) struct Lane<'a> {
    column: ColumnId,
    pub(crate) reader: ColumnReader<'a>,
    /// Which of its values are kept.
    pub(crate) makes: Makes,
    /// True where no row is NULL there.
    pub(crate) total: bool,
}

/// What is kept of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Makes {
    /// How many are not NULL.
    Count,
    Sum,
    Min,
    Max,
}

/// Where an aggregate is found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) pass: usize,
    /// Its lane; `None` is `count(*)`.
    pub(crate) lane: Option<usize>,
    pub(crate) function: FoldFunction,
    data_type: DataType,
}

/// A condition on aggregates.
pub(crate) enum Check {
    Const(Truth),
    /// The slot's number lies between these; unknown where it is NULL.
    Within {
        slot: usize,
        low: i64,
        high: i64,
    },
    Null {
        slot: usize,
    },
    Not(Box<Check>),
    And(Vec<Check>),
    Or(Vec<Check>),
    /// Anything else, owner by owner; its columns are slots.
    Computed(Box<Compiled>),
}

/// What an owner's aggregates are.
pub(crate) trait Aggregates {
    /// How many there are that are not NULL, and the count, the sum, the least or the greatest.
    fn get(&self, slot: &Slot) -> (u64, i64);
}

/// An owner without rows.
pub(crate) struct Nothing;

impl Aggregates for Nothing {
    fn get(&self, _: &Slot) -> (u64, i64) {
        (0, 0)
    }
}

impl Slot {
    /// The aggregate as an integer that comparisons with constants can be made of; `None` where it is NULL.
    fn number(&self, of: &impl Aggregates) -> Option<i64> {
        match (of.get(self), self.function) {
            ((count, _), FoldFunction::Count) => Some(count as i64),
            ((0, _), _) => None,
            ((_, number), _) => Some(number),
        }
    }

    fn value(&self, of: &impl Aggregates) -> Value {
        let scale = if let DataType::Decimal { scale, .. } = self.data_type { scale } else { 0 };
        match (of.get(self), self.function) {
            ((count, _), FoldFunction::Count) => Value::Integer(count as i64),
            ((0, _), _) => Value::Null,
            ((_, sum), FoldFunction::Sum) => Value::Decimal { unscaled: i128::from(sum), scale },
            ((count, sum), FoldFunction::Avg) => {
                Value::Double(sum as f64 / count as f64 / 10f64.powi(i32::from(scale)))
            }
            ((_, code), FoldFunction::Min | FoldFunction::Max) => crate::code::decode(self.data_type, code),
        }
    }
}

impl Slot {
    /// True of what is NULL where there are no values.
    pub(crate) fn makes_number(&self) -> bool {
        self.function != FoldFunction::Count
    }

    /// True of an average, which is no number that is made, but a quotient of two.
    pub(crate) fn is_mean(&self) -> bool {
        self.function == FoldFunction::Avg
    }
}

impl Check {
    /// True where arrays of aggregates are compared as a whole.
    pub(crate) fn by_vector(&self, slots: &[Slot]) -> bool {
        match self {
            Check::Const(_) => true,
            Check::Within { slot, .. } | Check::Null { slot } => slots[*slot].function != FoldFunction::Avg,
            Check::Not(inner) => inner.by_vector(slots),
            Check::And(terms) | Check::Or(terms) => terms.iter().all(|term| term.by_vector(slots)),
            Check::Computed(_) => false,
        }
    }
}

impl Owned<'_> {
    /// Whether an owner with these aggregates has the wanted outcome.
    pub(crate) fn holds(&self, of: &impl Aggregates) -> Result<bool> {
        let wanted = if self.wanted { Truth::True } else { Truth::False };
        Ok(self.check.truth(&self.slots, of)? == wanted)
    }
}

impl Check {
    fn truth(&self, slots: &[Slot], of: &impl Aggregates) -> Result<Truth> {
        Ok(match self {
            Check::Const(truth) => *truth,
            Check::Within { slot, low, high } => match slots[*slot].number(of) {
                None => Truth::Unknown,
                Some(number) if (*low..=*high).contains(&number) => Truth::True,
                Some(_) => Truth::False,
            },
            Check::Null { slot } if slots[*slot].number(of).is_none() => Truth::True,
            Check::Null { .. } => Truth::False,
            Check::Not(inner) => match inner.truth(slots, of)? {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
            },
            Check::And(terms) | Check::Or(terms) => {
                let all = matches!(self, Check::And(_));
                let (deciding, mut truth) =
                    if all { (Truth::False, Truth::True) } else { (Truth::True, Truth::False) };
                for term in terms {
                    match term.truth(slots, of)? {
                        decided if decided == deciding => return Ok(deciding),
                        Truth::Unknown => truth = Truth::Unknown,
                        _ => {}
                    }
                }
                truth
            }
            Check::Computed(compiled) => {
                let value = |id: &ColumnId| {
                    let slot = id.0.checked_sub(slot_id(0).0).and_then(|at| slots.get(at as usize));
                    slot.map_or(Value::Null, |slot| slot.value(of))
                };
                let inputs: Vec<Value> = compiled.columns().iter().map(value).collect();
                match compiled.eval(0, &inputs)? {
                    Value::Boolean(true) => Truth::True,
                    Value::Boolean(false) => Truth::False,
                    _ => Truth::Unknown,
                }
            }
        })
    }

    /// The check that an expression over slots is.
    fn of(expr: &Expr, slots: &[Slot], now_micros: i64) -> Result<Check> {
        match Check::simple(expr, slots, now_micros)? {
            Some(check) => Ok(check),
            None => Ok(Check::Computed(Box::new(Compiled::new(expr, now_micros)?))),
        }
    }

    fn simple(expr: &Expr, slots: &[Slot], now_micros: i64) -> Result<Option<Check>> {
        let Expr::Call { function, arguments } = expr else {
            return Ok(match expr {
                Expr::Literal(crate::predicate::Literal::Value(Value::Boolean(truth))) => {
                    Some(Check::Const(if *truth { Truth::True } else { Truth::False }))
                }
                _ => None,
            });
        };
        let all = || -> Result<Option<Vec<Check>>> {
            arguments.iter().map(|argument| Check::simple(argument, slots, now_micros)).collect()
        };
        Ok(match (function, arguments.as_slice()) {
            (Function::And, _) => all()?.map(Check::And),
            (Function::Or, _) => all()?.map(Check::Or),
            (Function::Not, [inner]) => {
                Check::simple(inner, slots, now_micros)?.map(|c| Check::Not(Box::new(c)))
            }
            (Function::IsNull, [Expr::Column(id)]) => slot_of(*id, slots).map(|slot| Check::Null { slot }),
            (Function::Compare(op), [Expr::Column(id), Expr::Literal(literal)]) => {
                compared(*id, *op, literal, slots, now_micros)?
            }
            (Function::Compare(op), [Expr::Literal(literal), Expr::Column(id)]) => {
                compared(*id, mirrored(*op), literal, slots, now_micros)?
            }
            _ => None,
        })
    }
}

fn slot_of(id: ColumnId, slots: &[Slot]) -> Option<usize> {
    id.0.checked_sub(slot_id(0).0).map(|at| at as usize).filter(|at| *at < slots.len())
}

/// The comparison with its sides exchanged.
fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq | CompareOp::Ne => op,
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
    }
}

fn compared(
    id: ColumnId,
    op: CompareOp,
    literal: &crate::predicate::Literal,
    slots: &[Slot],
    now_micros: i64,
) -> Result<Option<Check>> {
    let Some(at) = slot_of(id, slots) else { return Ok(None) };
    let slot = &slots[at];
    let data_type = match (slot.function, slot.data_type) {
        (FoldFunction::Avg, _) => return Ok(None),
        (FoldFunction::Count, _) => DataType::BigInt,
        (_, data_type) => data_type,
    };
    let local = matches!(data_type, DataType::Date | DataType::Timestamp);
    let value = clock::resolve(literal, now_micros, if local { Beside::Local } else { Beside::Instant })?;
    if *value == Value::Null {
        return Ok(Some(Check::Const(Truth::Unknown)));
    }
    let Some(cut) = cut(data_type, &value) else { return Ok(None) };
    // An empty interval is FALSE of every number.
    let (low, high) = cut.interval(op).unwrap_or((0, -1));
    let within = Check::Within { slot: at, low, high };
    Ok(Some(if op == CompareOp::Ne { Check::Not(Box::new(within)) } else { within }))
}

/// Rows whose owners are some members: `member_id IN (SELECT id FROM members WHERE …)`, asked of the rows.
pub struct InOwners<'a> {
    /// The members.
    pub(crate) members: Chosen,
    pub(crate) ordinals: ColumnReader<'a>,
    /// The column that says whose a row is.
    pub(crate) whose: ColumnReader<'a>,
    pub(crate) strays: Arc<Strays>,
    /// Whether it is wanted that the owner is one of them, or is not.
    pub(crate) wanted: bool,
    /// The share of owners that they are.
    pub(crate) share: f64,
}

/// True where a list of keys is asked of rows that belong to those who have them: [`InOwners`] answers.
pub(crate) fn asks_owners(snapshot: &Snapshot, table: TableId, related: &Related) -> bool {
    let Ok(schema) = snapshot.schema(table) else { return false };
    let ([rows], Some(owner)) = (related.rows.as_slice(), schema.owner) else { return false };
    let key = snapshot.schema(owner.table).ok().and_then(|owners| owners.key);
    let of_owner = related.column == owner.column && rows.table == owner.table && key == Some(rows.by);
    let everyone = related.truth == Expr::value(Value::Boolean(true)) && rows.aggregates.is_empty();
    of_owner && everyone && related.is_in
}

/// True where rows are taken by their owners: [`Owned`] answers, and nothing has to be resolved beforehand.
pub(crate) fn takes(snapshot: &Snapshot, table: TableId, related: &Related) -> bool {
    let key = snapshot.schema(table).ok().and_then(|schema| schema.key);
    if key != Some(related.column) {
        return false;
    }
    let mut columns_taken = true;
    for rows in &related.rows {
        let Ok(state) = snapshot.table(rows.table) else { return false };
        let owned = state.schema().owner.filter(|owner| owner.table == table && owner.column == rows.by);
        columns_taken &= owned.is_some() && rows.aggregates.iter().all(|aggregate| is_lane(state, aggregate));
    }
    columns_taken && !related.rows.is_empty()
}

/// True of an aggregate that numbers of 64 bits hold.
fn is_lane(table: &TableState, aggregate: &crate::predicate::GroupAggregate) -> bool {
    let column = match &aggregate.argument {
        _ if aggregate.distinct => return false,
        None => return aggregate.function == FoldFunction::Count,
        Some(Expr::Column(column)) => *column,
        Some(_) => return false,
    };
    let Ok(data_type) = table.data_type(column) else { return false };
    match aggregate.function {
        FoldFunction::Min | FoldFunction::Max => data_type.is_numeric_code(),
        FoldFunction::Count => data_type.is_numeric_code(),
        FoldFunction::Sum | FoldFunction::Avg => {
            let exact = data_type.is_number() && data_type != DataType::Double;
            exact && sums_fit(table, column)
        }
    }
}

/// True where no sum of a column's values can overflow.
fn sums_fit(table: &TableState, column: ColumnId) -> bool {
    let Ok(reader) = table.reader(column) else { return false };
    let entries = (0..table.chunks()).filter_map(|chunk| reader.entry(chunk, SectionKind::Values));
    let stored = entries.map(|entry| (entry.low, entry.high)).chain(reader.changed_bounds());
    let greatest = stored.map(|(low, high)| low.unsigned_abs().max(high.unsigned_abs())).max().unwrap_or(0);
    greatest.checked_mul(table.extent().ordinals.max(1)).is_some_and(|sum| sum < 1 << 62)
}

/// How owners are asked: where, for whom and how far away.
pub(crate) struct Asking<'a, 'c> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) cancel: &'c Cancel,
    /// How many tables away from the question.
    pub(crate) tables: usize,
}

impl<'a> Asking<'a, '_> {
    /// The plan of a leaf that [`takes`] says is taken, of the members for whom it is TRUE, or FALSE where that is wanted. `None`
    /// where it is so of nobody.
    pub(crate) fn plan(&self, related: &Related, wanted: bool) -> Result<Option<Owned<'a>>> {
        check_depth(self.tables)?;
        let now_micros = self.snapshot.now_micros();
        let (mut passes, mut slots) = (Vec::new(), Vec::new());
        for rows in &related.rows {
            self.passes(rows, related.is_in, &mut passes, &mut slots)?;
        }
        for pass in &mut passes {
            pass.loose = Loose::of(pass)?;
            for (at, lane) in pass.lanes.iter_mut().enumerate() {
                lane.total = lane.is_total(pass.table) && pass.loose.is_total(at);
            }
        }
        let check = Check::of(&related.truth, &slots, now_micros)?;
        let is_in = related.is_in;
        // Whoever is not in a list for certain: everybody else, unless some row is nobody's.
        if is_in && !wanted && self.has_null(related)? {
            return Ok(None);
        }
        let (wanted, not_in) = (wanted || is_in, is_in && !wanted);
        let mut owned =
            Owned { passes, slots, check, wanted, of_nothing: false, check_of_nothing: true, is_in, not_in };
        // A condition on groups may be an error of none: a division by their count.
        if !is_in || owned.check.by_vector(&owned.slots) {
            owned.check_of_nothing = owned.holds(&Nothing)?;
        }
        owned.of_nothing = !is_in && owned.check_of_nothing;
        Ok(Some(owned))
    }

    /// The plan of a leaf of which [`asks_owners`] is true; `None` where no member is in the list.
    pub(crate) fn plan_rows(
        &self,
        table: TableId,
        related: &Related,
        wanted: bool,
    ) -> Result<Option<InOwners<'a>>> {
        check_depth(self.tables)?;
        let (snapshot, [rows]) = (self.snapshot, related.rows.as_slice()) else { return Ok(None) };
        let state = snapshot.table(table)?;
        let owner = state.schema().owner.ok_or_else(|| Error::Invalid("rows of nobody were asked".into()))?;
        let members = members_of(snapshot, rows.table, &rows.condition, self.cancel, self.tables + 1)?;
        if members.is_empty() {
            return Ok(None);
        }
        let share = members.len() as f64 / snapshot.rows(rows.table).max(1) as f64;
        Ok(Some(InOwners {
            members,
            ordinals: state.reader(owner.ordinals)?,
            whose: state.reader(owner.column)?,
            strays: snapshot.strays(table)?,
            wanted,
            share: if wanted { share } else { 1.0 - share },
        }))
    }

    /// True where rows without an owner's key would be in the list of IN.
    fn has_null(&self, related: &Related) -> Result<bool> {
        let [rows] = related.rows.as_slice() else { return Ok(false) };
        let table = self.snapshot.table(rows.table)?;
        if table.schema().column(rows.by).is_some_and(|column| !column.nullable) {
            return Ok(false);
        }
        let condition = rows.condition.clone().and(Predicate::IsNull(rows.by));
        let rows = RelatedRows { condition, ..rows.clone() };
        crate::exec::is_in_list(self.snapshot, &rows, &related.truth, self.cancel, self.tables)
    }

    fn passes(
        &self,
        rows: &RelatedRows,
        is_in: bool,
        passes: &mut Vec<Pass<'a>>,
        slots: &mut Vec<Slot>,
    ) -> Result<()> {
        let first = passes.len();
        let mut filters: Vec<Option<&Predicate>> = Vec::new();
        if is_in {
            // Who has a row at all is in the list.
            filters.push(None);
            passes.push(self.pass(rows, None)?);
        }
        for aggregate in &rows.aggregates {
            let filter = aggregate.filter.as_ref();
            let at = match filters.iter().position(|known| *known == filter) {
                Some(at) => at,
                None => {
                    filters.push(filter);
                    passes.push(self.pass(rows, filter)?);
                    filters.len() - 1
                }
            };
            let pass = &mut passes[first + at];
            let (lane, data_type) = match &aggregate.argument {
                Some(Expr::Column(column)) => {
                    let (lane, data_type) = pass.lane(*column, aggregate.function)?;
                    (Some(lane), data_type)
                }
                _ => (None, DataType::BigInt),
            };
            slots.push(Slot { pass: first + at, lane, function: aggregate.function, data_type });
        }
        if passes.len() == first {
            passes.push(self.pass(rows, None)?);
        }
        Ok(())
    }

    fn pass(&self, rows: &RelatedRows, filter: Option<&Predicate>) -> Result<Pass<'a>> {
        let snapshot = self.snapshot;
        let table = snapshot.table(rows.table)?;
        let owner = table.schema().owner.ok_or_else(|| Error::Invalid("rows of nobody were asked".into()))?;
        let condition = match filter {
            Some(filter) => rows.condition.clone().and(filter.clone()),
            None => rows.condition.clone(),
        };
        let (condition, _) = resolve_at(snapshot, rows.table, &condition, self.cancel, self.tables + 1)?;
        let plan = Plan::in_snapshot(snapshot, rows.table, &condition, self.cancel, self.tables + 1)?;
        let mut tests = Vec::new();
        let terms = match &plan.root {
            Node::And(terms) => terms.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut left = Vec::new();
        for term in terms {
            let tested = match term {
                Node::Leaf { leaf, negated: false } => RowTest::of(table, &owner, &plan.leaves[*leaf])?,
                _ => None,
            };
            if let Some(test) = tested {
                tests.push(test);
            } else if *term != Node::Everyone {
                left.push(term.clone());
            }
        }
        tests.sort_by_key(|test| test.by);
        let rest = match left.len() {
            0 => Node::Everyone,
            // What is computed may be an error of rows that the tests exclude.
            _ if left.iter().any(|term| plan.has_computed(term)) => plan.root.clone(),
            1 => left.swap_remove(0),
            _ => Node::And(left),
        };
        let ordinals = table.reader(owner.ordinals)?;
        let strays = snapshot.strays(rows.table)?;
        Ok(Pass { table, ordinals, strays, plan, rest, tests, lanes: Vec::new(), loose: Loose::default() })
    }
}

impl<'a> RowTest<'a> {
    /// What a leaf of a condition on rows tests by their codes, if it does.
    fn of(table: &'a TableState, owner: &Owner, leaf: &Leaf) -> Result<Option<RowTest<'a>>> {
        if table.schema().column(leaf.column).is_none() {
            return Ok(None);
        }
        let by = match Some(leaf.column) {
            column if column == owner.time => RunsBy::Time,
            column if column == owner.cluster => RunsBy::Cluster,
            _ => RunsBy::Nothing,
        };
        let reader = table.reader(leaf.column)?;
        let intervals = match &leaf.test {
            Test::Codes(intervals) if intervals.len() == 1 => Some(intervals.clone()),
            _ if by != RunsBy::Cluster => None,
            test => test.codes_of_runs(&reader, table.chunks()),
        };
        Ok(intervals.map(|intervals| RowTest { reader, intervals, by }))
    }
}

impl Test {
    /// The codes that satisfy a test of the cluster column, as runs tell of them: ascending, disjoint. `None` where it asks
    /// something else, and of TEXT of which some chunk has no codes.
    pub(crate) fn codes_of_runs(&self, reader: &ColumnReader<'_>, chunks: u32) -> Option<Vec<(i64, i64)>> {
        match self {
            Test::Codes(intervals) => Some(intervals.clone()),
            Test::Text { codes, .. } => {
                let coded = (0..chunks).all(|chunk| reader.entry(chunk, SectionKind::Strings).is_none());
                let runs = codes.chunk_by(|a, b| a + 1 == *b);
                let interval = |codes: &[u32]| (i64::from(codes[0]), i64::from(codes[codes.len() - 1]));
                coded.then(|| runs.map(interval).collect())
            }
            _ => None,
        }
    }
}

impl Lane<'_> {
    /// True where no row that is stored is NULL.
    fn is_total(&self, table: &TableState) -> bool {
        (0..table.chunks()).all(|chunk| {
            self.reader.entry(chunk, SectionKind::Nulls).is_none() && self.reader.has_values(chunk)
        })
    }
}

impl<'a> Pass<'a> {
    /// The lane of an aggregate, and the type of its column.
    fn lane(&mut self, column: ColumnId, function: FoldFunction) -> Result<(usize, DataType)> {
        let makes = match function {
            FoldFunction::Count => Makes::Count,
            FoldFunction::Sum | FoldFunction::Avg => Makes::Sum,
            FoldFunction::Min => Makes::Min,
            FoldFunction::Max => Makes::Max,
        };
        let data_type = self.table.data_type(column)?;
        if let Some(known) = self.lanes.iter().position(|lane| lane.column == column && lane.makes == makes) {
            return Ok((known, data_type));
        }
        self.lanes.push(Lane { column, reader: self.table.reader(column)?, makes, total: false });
        Ok((self.lanes.len() - 1, data_type))
    }

    /// Rows of an owners' chunk on average: what asking it costs.
    pub(crate) fn rows_a_chunk(&self, owner_chunks: u32) -> f64 {
        self.table.rows() as f64 / f64::from(owner_chunks.max(1))
    }
}
