//! Rows of other tables in the place of what they say: a [`Related`] becomes a list of values of its column.
//!
//! Each table's rows are grouped by whose they are; every value that some row has is given its truth, once, and all others share
//! that of no rows. Definitions of audiences that ask other tables are put in the place of their names on the way.

use super::grouping::Grouping;
use super::relation::{narrowed, rows_at, takes_derived};
use super::{Stats, key_bytes};
use crate::audience::expand::{too_deep, unknown, with_leaves};
use crate::audience::truth::certainly;
use crate::control::{Cancel, Held, allocation, value_bytes};
use crate::expr::{Compiled, Expr};
use crate::plan::{DEPTH_MAX, asks_owners, takes};
use crate::predicate::{AudienceId, Derived, Literal, Predicate, Related, RelatedRows, Tie, Truth, slot_id};
use crate::schema::{ColumnId, TableId};
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::sync::Arc;

/// The most values of a column that rows of other tables may speak of: beyond, a list of them is no way to ask.
pub const RELATED_VALUES_MAX: usize = 1_000_000;

/// What their memory is for, as [`Held`] says it.
const HOLDS_GROUPS: &str = "the groups of another table";
const HOLDS_VALUES: &str = "the values of another table";

/// What a value of a list takes in the condition and in its plan, beside its text.
const LISTED_BYTES: usize = size_of::<Literal>() + 2 * size_of::<(i64, i64)>();

/// What a group takes in a table that may be half empty, beside its key and its values.
const GROUP_BYTES: usize = 2 * (size_of::<(Vec<u8>, Vec<Value>)>() + 1);

/// How often rows may be asked of rows in turn, by definitions of audiences too.
pub const RELATED_DEPTH_MAX: usize = 16;

/// A predicate of a table without [`Predicate::Related`], true of the same members of this snapshot, and what finding it cost.
/// [`super::evaluate`] does this itself: it is for who evaluates a predicate more than once.
///
/// Cost: a grouping of the rows of each table that is asked; nothing where there is none.
///
/// # Errors
/// Those of an evaluation, and more than [`RELATED_VALUES_MAX`] values.
pub fn resolve<'p>(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &'p Predicate,
    cancel: &Cancel,
) -> Result<(Cow<'p, Predicate>, Stats)> {
    resolve_at(snapshot, table, predicate, cancel, 0)
}

/// [`resolve`] of what rows are asked that many tables away.
pub(crate) fn resolve_at<'p>(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &'p Predicate,
    cancel: &Cancel,
    tables: usize,
) -> Result<(Cow<'p, Predicate>, Stats)> {
    resolve_with(snapshot, table, predicate, cancel, tables, false)
}

/// [`resolve`] to what needs no other table, also where rows are found by their owners: what the naive evaluator takes.
pub fn resolve_naively<'p>(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &'p Predicate,
    cancel: &Cancel,
) -> Result<Cow<'p, Predicate>> {
    resolve_with(snapshot, table, predicate, cancel, 0, true).map(|(resolved, _)| resolved)
}

fn resolve_with<'p>(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &'p Predicate,
    cancel: &Cancel,
    tables: usize,
    naively: bool,
) -> Result<(Cow<'p, Predicate>, Stats)> {
    let (plain, stats) = (HashSet::new(), Stats::default());
    let mut resolver = Resolver { snapshot, table, cancel, tables, plain, stats };
    if !resolver.asks_others(predicate, 0)? {
        return Ok((Cow::Borrowed(predicate), stats));
    }
    let expanded = narrowed(snapshot.expand(table, predicate)?);
    let resolved = with_leaves(&expanded, 0, &mut |leaf, _| {
        let (known, known_certainly) = match leaf {
            Predicate::Related(related)
                if !naively && (takes(snapshot, table, related) || asks_owners(snapshot, table, related)) =>
            {
                return Ok(leaf.clone());
            }
            Predicate::Derived(derived) if !naively && takes_derived(snapshot, table, derived) => {
                return Ok(leaf.clone());
            }
            Predicate::Related(related) => (resolver.related(related)?, related.certainly),
            Predicate::Derived(derived) => (resolver.derived(derived)?, derived.certainly),
            leaf => return Ok(leaf.clone()),
        };
        Ok(match known_certainly {
            Some(truth) => certainly(&known, truth),
            None => known,
        })
    })?;
    Ok((Cow::Owned(resolved), resolver.stats))
}

/// True where the groups of some rows have one for which a condition on their aggregates is TRUE, or there is none and rows.
pub(crate) fn is_in_list(
    snapshot: &Snapshot,
    rows: &RelatedRows,
    truth: &Expr,
    cancel: &Cancel,
    tables: usize,
) -> Result<bool> {
    let grouping = Grouping { keys: vec![Expr::Column(rows.by)], aggregates: rows.aggregates.clone() };
    let (groups, _) = grouping.evaluate_at(snapshot, rows.table, &rows.condition, cancel, tables + 1)?;
    let _held = cancel.hold_rows(HOLDS_GROUPS, &groups)?;
    let truth = Compiled::new(truth, snapshot.now_micros())?;
    for group in groups {
        if truth_of(&truth, &group[1..])? == Truth::True {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The truth of a group's aggregates.
fn truth_of(truth: &Compiled, values: &[Value]) -> Result<Truth> {
    let slot = |id: &ColumnId| values.get(id.0.checked_sub(slot_id(0).0)? as usize).cloned();
    let inputs = truth.columns().iter().map(|id| slot(id).unwrap_or(Value::Null));
    Ok(match truth.eval(0, &inputs.collect::<Vec<Value>>())? {
        Value::Boolean(true) => Truth::True,
        Value::Boolean(false) => Truth::False,
        _ => Truth::Unknown,
    })
}

/// An error where rows are asked too many tables away.
pub(crate) fn check_depth(tables: usize) -> Result<()> {
    if tables < RELATED_DEPTH_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "rows of other tables are asked of rows of other tables at most {RELATED_DEPTH_MAX} times in a row; \
         make one of the audiences in between a static one"
    )))
}

struct Resolver<'a> {
    snapshot: &'a Snapshot,
    table: TableId,
    cancel: &'a Cancel,
    /// How many tables away this one is asked.
    tables: usize,
    /// Audiences that ask no other table.
    plain: HashSet<AudienceId>,
    stats: Stats,
}

impl<'a> Resolver<'a> {
    fn definition(&self, audience: AudienceId) -> Result<&'a Predicate> {
        self.snapshot.table(self.table)?.audience(audience).ok_or_else(|| unknown(audience))
    }

    /// True where a predicate asks other tables, by itself or by an audience that it names.
    fn asks_others(&mut self, predicate: &Predicate, depth: usize) -> Result<bool> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        Ok(match predicate {
            Predicate::Related(_) | Predicate::Derived(_) => true,
            Predicate::And(terms) | Predicate::Or(terms) => {
                for term in terms {
                    if self.asks_others(term, depth + 1)? {
                        return Ok(true);
                    }
                }
                false
            }
            Predicate::Not(inner) => self.asks_others(inner, depth + 1)?,
            Predicate::Audience(audience) if !self.plain.contains(audience) => {
                let asks = self.asks_others(self.definition(*audience)?, depth + 1)?;
                if !asks {
                    self.plain.insert(*audience);
                }
                asks
            }
            _ => false,
        })
    }

    /// The groups of some rows: whose they are, then the aggregates.
    fn groups(&mut self, rows: &RelatedRows) -> Result<(Vec<Vec<Value>>, Held)> {
        let (keys, aggregates) = (vec![Expr::Column(rows.by)], rows.aggregates.clone());
        let grouping = Grouping { keys, aggregates };
        let (snapshot, cancel) = (self.snapshot, self.cancel);
        let (groups, cost) =
            grouping.evaluate_at(snapshot, rows.table, &rows.condition, cancel, self.tables + 1)?;
        self.stats.add(cost);
        let held = cancel.hold_rows(HOLDS_GROUPS, &groups)?;
        Ok((groups, held))
    }

    /// The groups of several tables' rows side by side; who has none in one has the aggregates of nothing there.
    fn joined(&mut self, many: &[RelatedRows], nothing: &[Value]) -> Result<(Vec<Vec<Value>>, Held)> {
        let (mut joined, mut first) = (HashMap::new(), 1);
        let type_of = |rows: &RelatedRows| self.snapshot.column_type(rows.table, rows.by);
        // Equal numbers of different types have different bytes.
        if many.windows(2).any(|pair| type_of(&pair[0]) != type_of(&pair[1])) {
            return Err(Error::Invalid("rows of several tables are whose by columns of one type".into()));
        }
        let mut held = self.cancel.holder(HOLDS_GROUPS);
        let width = allocation((1 + nothing.len()) * size_of::<Value>());
        for rows in many {
            let (groups, _held) = self.groups(rows)?;
            for group in groups {
                let mut bytes = Vec::new();
                key_bytes(&group[0], &mut bytes);
                if !joined.contains_key(&bytes) {
                    held.add(GROUP_BYTES + allocation(bytes.capacity()) + width + value_bytes(&group[0]))?;
                }
                let none = || group[..1].iter().chain(nothing).cloned().collect();
                let whole: &mut Vec<Value> = joined.entry(bytes).or_insert_with(none);
                whole[first..first + group.len() - 1].clone_from_slice(&group[1..]);
            }
            first += rows.aggregates.len();
        }
        Ok((joined.into_values().collect(), held))
    }

    /// The values that rows have, or the members that they name.
    fn derived(&mut self, derived: &Derived) -> Result<Predicate> {
        check_depth(self.tables)?;
        let (rows, cost) = rows_at(self.snapshot, &derived.rows, self.cancel, self.tables)?;
        self.stats.add(cost);
        match derived.tie {
            Tie::In { column, value } => {
                let place = rows.place(value)?;
                let (mut seen, mut literals, mut bytes) = (HashSet::new(), Vec::new(), Vec::new());
                let (mut held, mut held_by_seen) =
                    (self.cancel.holder(HOLDS_VALUES), self.cancel.holder(HOLDS_VALUES));
                for at in 0..rows.len() {
                    let value = &rows.row(at)[place];
                    bytes.clear();
                    key_bytes(value, &mut bytes);
                    if !seen.contains(&bytes) {
                        held_by_seen.add(2 * (size_of::<Vec<u8>>() + 1) + allocation(bytes.len()))?;
                        held.add(LISTED_BYTES + value_bytes(value))?;
                        seen.insert(bytes.clone());
                        literals.push(Literal::Value(value.clone()));
                    }
                    if literals.len() > RELATED_VALUES_MAX {
                        return Err(too_many_values());
                    }
                }
                held.keep();
                Ok(Predicate::In { column, literals })
            }
            Tie::Truth { ordinal, truth } => {
                let (ordinal, truth) = (rows.place(ordinal)?, rows.place(truth)?);
                let (mut trues, mut unknowns) = (RoaringBitmap::new(), RoaringBitmap::new());
                let mut held = self.cancel.holder(HOLDS_VALUES);
                held.add(rows.len() * size_of::<u16>())?;
                for at in 0..rows.len() {
                    let row = rows.row(at);
                    let Value::Integer(member) = row[ordinal] else { continue };
                    let Ok(member) = u32::try_from(member) else { continue };
                    match row[truth] {
                        Value::Boolean(true) => trues.insert(member),
                        Value::Null => unknowns.insert(member),
                        _ => false,
                    };
                }
                held.keep();
                let among = |members| Predicate::Members(Arc::new(members));
                let known = among(trues);
                let unknown = Predicate::Const(Truth::Unknown);
                Ok(if unknowns.is_empty() { known } else { known.or(unknown.and(among(unknowns))) })
            }
        }
    }

    /// The values of the column by their truth.
    fn related(&mut self, related: &Related) -> Result<Predicate> {
        check_depth(self.tables)?;
        let truth = Compiled::new(&related.truth, self.snapshot.now_micros())?;
        let aggregates = || related.rows.iter().flat_map(|rows| &rows.aggregates);
        let nothing: Vec<Value> = aggregates().map(|aggregate| aggregate.of_nothing()).collect();
        let truth_of = |values: &[Value]| truth_of(&truth, values);
        let (groups, _held) = match related.rows.as_slice() {
            [rows] => self.groups(rows)?,
            many => self.joined(many, &nothing)?,
        };
        // IN asks nothing of those without rows: a division by their count may be an error.
        let of_nothing = if related.is_in { Truth::False } else { truth_of(&nothing)? };
        let (mut trues, mut falses, mut unknowns) = (Vec::new(), Vec::new(), Vec::new());
        let mut some_null = false;
        let mut held = self.cancel.holder(HOLDS_VALUES);
        for mut group in groups {
            if group[0] == Value::Null {
                // Nobody's rows; of IN they count if the truth of their group says so.
                some_null |= related.is_in && truth_of(&group[1..])? == Truth::True;
                continue;
            }
            let truth = truth_of(&group[1..])?;
            let key = group.swap_remove(0);
            let list = match truth {
                Truth::True => &mut trues,
                Truth::False => &mut falses,
                Truth::Unknown => &mut unknowns,
            };
            // What is as of those without rows needs no list; of IN, who is in it is all.
            let listed = if related.is_in { truth == Truth::True } else { truth != of_nothing };
            if listed {
                held.add(LISTED_BYTES + value_bytes(&key))?;
                list.push(Literal::Value(key));
            }
            if list.len() > RELATED_VALUES_MAX {
                return Err(too_many_values());
            }
        }
        held.keep();
        if related.is_in {
            if some_null {
                trues.push(Literal::Value(Value::Null));
            }
            return Ok(Predicate::In { column: related.column, literals: trues });
        }
        let among = |literals| certainly(&Predicate::In { column: related.column, literals }, true);
        let unknown = || Predicate::Const(Truth::Unknown);
        Ok(match of_nothing {
            Truth::True => {
                let mut others = falses;
                others.extend_from_slice(&unknowns);
                among(others).not().or(unknown().and(among(unknowns)))
            }
            Truth::False => among(trues).or(unknown().and(among(unknowns))),
            Truth::Unknown => among(trues).or(unknown().and(among(falses).not())),
        })
    }
}

fn too_many_values() -> Error {
    Error::Invalid(format!(
        "rows of another table speak of more than {RELATED_VALUES_MAX} values, more than a condition takes"
    ))
}
