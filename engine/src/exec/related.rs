//! Rows of other tables in the place of what they say: a [`Related`] becomes a list of values of its column.
//!
//! Each table's rows are grouped by whose they are; every value that some row has is given its truth, once, and all others share
//! that of no rows. Definitions of audiences that ask other tables are put in the place of their names on the way.

use super::grouping::Grouping;
use super::key_bytes;
use crate::audience::expand::{too_deep, too_many, unknown};
use crate::audience::truth::certainly;
use crate::control::Cancel;
use crate::expr::{Compiled, Expr};
use crate::plan::{AUDIENCES_MAX, DEPTH_MAX};
use crate::predicate::{AudienceId, Literal, Predicate, Related, Truth, slot_id};
use crate::schema::{ColumnId, TableId};
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use hashbrown::HashSet;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The most values of a column that rows of other tables may speak of: beyond, a list of them is no way to ask.
pub const RELATED_VALUES_MAX: usize = 1_000_000;

/// A predicate of a table without [`Predicate::Related`], true of the same members of this snapshot. [`super::evaluate`] does this
/// itself: it is for who evaluates a predicate more than once.
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
) -> Result<Cow<'p, Predicate>> {
    let mut resolver = Resolver { snapshot, table, cancel, plain: HashSet::new(), replaced: 0 };
    Ok(if resolver.asks_others(predicate, 0)? {
        Cow::Owned(resolver.of(predicate, 0)?)
    } else {
        Cow::Borrowed(predicate)
    })
}

struct Resolver<'a> {
    snapshot: &'a Snapshot,
    table: TableId,
    cancel: &'a Cancel,
    /// Audiences that ask no other table.
    plain: HashSet<AudienceId>,
    /// Definitions put in the place of names.
    replaced: usize,
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
            Predicate::Related(_) => true,
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

    fn of(&mut self, predicate: &Predicate, depth: usize) -> Result<Predicate> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let mut each = |terms: &[Predicate]| -> Result<Vec<Predicate>> {
            terms.iter().map(|term| self.of(term, depth + 1)).collect()
        };
        Ok(match predicate {
            Predicate::And(terms) => Predicate::And(each(terms)?),
            Predicate::Or(terms) => Predicate::Or(each(terms)?),
            Predicate::Not(inner) => self.of(inner, depth + 1)?.not(),
            Predicate::Audience(_) if self.asks_others(predicate, depth)? => {
                let Predicate::Audience(audience) = predicate else { return Ok(predicate.clone()) };
                self.replaced += 1;
                if self.replaced > AUDIENCES_MAX {
                    return Err(too_many());
                }
                let definition = self.definition(*audience)?;
                self.of(&certainly(definition, true), depth + 1)?
            }
            Predicate::Related(related) => {
                let known = self.related(related)?;
                related.certainly.map_or(known.clone(), |truth| certainly(&known, truth))
            }
            leaf => leaf.clone(),
        })
    }

    /// The values of the column by their truth.
    fn related(&self, related: &Related) -> Result<Predicate> {
        let truth = Compiled::new(&related.truth, self.snapshot.now_micros())?;
        let aggregates = || related.rows.iter().flat_map(|rows| &rows.aggregates);
        let nothing: Vec<Value> = aggregates().map(|aggregate| aggregate.of_nothing()).collect();
        let truth_of = |values: &[Value]| -> Result<Truth> {
            let slot = |id: &ColumnId| values.get(id.0.checked_sub(slot_id(0).0)? as usize).cloned();
            let inputs = truth.columns().iter().map(|id| slot(id).unwrap_or(Value::Null));
            Ok(match truth.eval(0, &inputs.collect::<Vec<Value>>())? {
                Value::Boolean(true) => Truth::True,
                Value::Boolean(false) => Truth::False,
                _ => Truth::Unknown,
            })
        };
        // By the bytes of the value, so that a list is the same whenever it is made.
        let mut groups: BTreeMap<Vec<u8>, (Value, Vec<Value>)> = BTreeMap::new();
        let (mut first, mut some_null) = (0, false);
        for rows in &related.rows {
            let grouping =
                Grouping { keys: vec![Expr::Column(rows.by)], aggregates: rows.aggregates.clone() };
            let (found, _) = grouping.evaluate(self.snapshot, rows.table, &rows.condition, self.cancel)?;
            for mut group in found {
                let values = group.split_off(1);
                let key = group.pop().unwrap_or(Value::Null);
                if key == Value::Null {
                    // Of IN, such a row counts if the truth of its group says so.
                    some_null |= related.is_in && truth_of(&values)? == Truth::True;
                    continue;
                }
                let mut bytes = Vec::new();
                key_bytes(&key, &mut bytes);
                let (_, whole) = groups.entry(bytes).or_insert_with(|| (key, nothing.clone()));
                whole[first..first + values.len()].clone_from_slice(&values);
            }
            first += rows.aggregates.len();
        }
        if groups.len() > RELATED_VALUES_MAX {
            return Err(Error::Invalid(format!(
                "rows of another table speak of {} values, and a condition takes at most {RELATED_VALUES_MAX}",
                groups.len()
            )));
        }
        let (mut trues, mut falses, mut unknowns) = (Vec::new(), Vec::new(), Vec::new());
        for (key, values) in groups.into_values() {
            match truth_of(&values)? {
                Truth::True => trues.push(Literal::Value(key)),
                Truth::False => falses.push(Literal::Value(key)),
                Truth::Unknown => unknowns.push(Literal::Value(key)),
            }
        }
        if related.is_in {
            if some_null {
                trues.push(Literal::Value(Value::Null));
            }
            return Ok(Predicate::In { column: related.column, literals: trues });
        }
        let among = |literals| certainly(&Predicate::In { column: related.column, literals }, true);
        let unknown = || Predicate::Const(Truth::Unknown);
        Ok(match truth_of(&nothing)? {
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
