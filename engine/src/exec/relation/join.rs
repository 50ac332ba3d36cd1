//! Rows of two sides that belong together: the right side by the bytes of its keys, then each left row in turn.

use super::{Computed, RowSet, Run, bytes_of, is_true};
use crate::control::{Held, allocation};
use crate::predicate::{Join, JoinKind};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;

/// What their memory is for, as [`Held`] says it.
pub(super) const HOLDS_KEYS: &str = "the keys of a join";

/// What a key takes in a table that may be half empty, beside its bytes and its places.
pub(super) const KEY_BYTES: usize = 2 * (size_of::<(Vec<u8>, Vec<usize>)>() + 1);

/// The right side of a join.
struct Right<'a> {
    rows: &'a RowSet,
    /// Where its rows are, by their keys; `None` where there are no keys.
    places: Option<HashMap<Vec<u8>, Vec<usize>>>,
    /// True where a key of some row is NULL.
    has_null: bool,
    _held: Held,
}

/// What IN compares, where other keys or a condition say with whom.
struct Compared {
    left: Computed,
    /// The bytes of each right row's value; `None` where it is NULL.
    rights: Vec<Option<Vec<u8>>>,
    _held: Held,
}

/// What IN has seen for a row.
#[derive(Default)]
struct Seen {
    found: bool,
    null: bool,
    any: bool,
}

impl Run<'_> {
    pub(super) fn join(&self, join: &Join, left: &RowSet, right: &RowSet) -> Result<RowSet> {
        let lefts: Vec<_> = join.keys.iter().map(|(left, _)| left.clone()).collect();
        let rights: Vec<_> = join.keys.iter().map(|(_, right)| right.clone()).collect();
        let (mut lefts, mut rights) = (self.all_computed(&lefts, left)?, self.all_computed(&rights, right)?);
        let both: Vec<ColumnId> = left.columns.iter().chain(&right.columns).copied().collect();
        let now = self.snapshot.now_micros();
        let condition = join.condition.as_ref().map(|expr| Computed::new(expr, &both, now)).transpose()?;
        let mark = match join.kind {
            JoinKind::Mark(mark) | JoinKind::In(mark) => Some(mark),
            JoinKind::Inner | JoinKind::Left | JoinKind::Full | JoinKind::Single => None,
        };
        if matches!(join.kind, JoinKind::In(_)) && lefts.is_empty() {
            return Err(Error::Invalid("IN compares a value: this condition is damaged".into()));
        }
        let mut compared = None;
        if matches!(join.kind, JoinKind::In(_)) && (lefts.len() > 1 || condition.is_some()) {
            let mut held = self.cancel.holder(HOLDS_KEYS);
            let rights = self.values(right, &rights.remove(0), &mut held)?;
            compared = Some(Compared { left: lefts.remove(0), rights, _held: held });
        }
        let columns = mark.map_or(both, |mark| left.columns.iter().copied().chain([mark]).collect());
        let mut joined = RowSet::new(columns, self.cancel);
        let side = self.right(right, &rights)?;
        let mut looked = 0;
        let mut bytes = Vec::new();
        let mut paired = vec![false; if join.kind == JoinKind::Full { right.len() } else { 0 }];
        for at in 0..left.len() {
            self.look(at)?;
            let row = left.row(at);
            let known = bytes_of(&lefts, row, &mut bytes)?.is_some();
            let (mut seen, mut own) = (Seen::default(), None);
            if let Some(compared) = &compared {
                let mut value = Vec::new();
                own = bytes_of(std::slice::from_ref(&compared.left), row, &mut value)?.map(|()| value);
                seen.null = own.is_none();
            }
            let mut pairs = 0_usize;
            let mut candidate = |other: usize| -> Result<bool> {
                looked += 1;
                self.look(looked)?;
                let (place, other) = (other, right.row(other));
                if let Some(condition) = &condition
                    && !is_true(&condition.of_pair(row, other)?)
                {
                    return Ok(false);
                }
                pairs += 1;
                if let Some(compared) = &compared {
                    let value = &compared.rights[place];
                    seen.any = true;
                    seen.found |= value.is_some() && *value == own;
                    seen.null |= value.is_none();
                    return Ok(seen.found);
                }
                if let Some(paired) = paired.get_mut(place) {
                    *paired = true;
                }
                match join.kind {
                    JoinKind::Single if pairs > 1 => Err(several()),
                    JoinKind::Inner | JoinKind::Left | JoinKind::Full | JoinKind::Single => {
                        joined.push(row.iter().chain(other).cloned())?;
                        Ok(false)
                    }
                    // One is enough.
                    JoinKind::Mark(_) | JoinKind::In(_) => Ok(true),
                }
            };
            if known {
                side.for_each(&bytes, &mut candidate)?;
            }
            let found = pairs > 0;
            match join.kind {
                JoinKind::Inner => {}
                JoinKind::Left | JoinKind::Full | JoinKind::Single if found => {}
                JoinKind::Left | JoinKind::Full | JoinKind::Single => {
                    let nulls = std::iter::repeat_n(Value::Null, right.columns.len());
                    joined.push(row.iter().cloned().chain(nulls))?;
                }
                JoinKind::Mark(_) => joined.push(row.iter().cloned().chain([Value::Boolean(found)]))?,
                JoinKind::In(_) => {
                    let truth = if compared.is_some() { seen.truth() } else { side.is_in(known, found) };
                    joined.push(row.iter().cloned().chain([truth]))?;
                }
            }
        }
        for (at, _) in paired.iter().enumerate().filter(|(_, paired)| !**paired) {
            self.look(at)?;
            let nulls = std::iter::repeat_n(Value::Null, left.columns.len());
            joined.push(nulls.chain(right.row(at).iter().cloned()))?;
        }
        Ok(joined)
    }

    /// The bytes of a value of each row.
    fn values(&self, rows: &RowSet, value: &Computed, held: &mut Held) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(rows.len());
        for at in 0..rows.len() {
            self.look(at)?;
            let mut bytes = Vec::new();
            let known = bytes_of(std::slice::from_ref(value), rows.row(at), &mut bytes)?;
            held.add(size_of::<Option<Vec<u8>>>() + allocation(bytes.capacity()))?;
            values.push(known.map(|()| bytes));
        }
        Ok(values)
    }

    fn right<'r>(&self, rows: &'r RowSet, keys: &[Computed]) -> Result<Right<'r>> {
        let mut held = self.cancel.holder(HOLDS_KEYS);
        if keys.is_empty() {
            return Ok(Right { rows, places: None, has_null: false, _held: held });
        }
        let (mut places, mut has_null) = (HashMap::<Vec<u8>, Vec<usize>>::new(), false);
        let mut bytes = Vec::new();
        for at in 0..rows.len() {
            self.look(at)?;
            if bytes_of(keys, rows.row(at), &mut bytes)?.is_none() {
                has_null = true;
                continue;
            }
            match places.get_mut(&bytes) {
                Some(known) => {
                    held.add(2 * size_of::<usize>())?;
                    known.push(at);
                }
                None => {
                    held.add(KEY_BYTES + allocation(bytes.len()) + allocation(size_of::<usize>()))?;
                    places.insert(bytes.clone(), vec![at]);
                }
            }
        }
        Ok(Right { rows, places: Some(places), has_null, _held: held })
    }
}

impl Right<'_> {
    /// Hears of rows with these keys until it has heard enough.
    fn for_each(&self, keys: &[u8], hear: &mut dyn FnMut(usize) -> Result<bool>) -> Result<()> {
        let some = match &self.places {
            None => return self.all(hear),
            Some(places) => places.get(keys).map_or(&[][..], Vec::as_slice),
        };
        for at in some {
            if hear(*at)? {
                break;
            }
        }
        Ok(())
    }

    fn all(&self, hear: &mut dyn FnMut(usize) -> Result<bool>) -> Result<()> {
        for at in 0..self.rows.len() {
            if hear(at)? {
                break;
            }
        }
        Ok(())
    }

    /// SQL's IN: of nothing FALSE; a miss is unknown beside a NULL on either side.
    fn is_in(&self, known: bool, found: bool) -> Value {
        if found || self.rows.is_empty() {
            return Value::Boolean(found);
        }
        if !known || self.has_null { Value::Null } else { Value::Boolean(false) }
    }
}

impl Seen {
    fn truth(&self) -> Value {
        if self.found || !self.any {
            return Value::Boolean(self.found);
        }
        if self.null { Value::Null } else { Value::Boolean(false) }
    }
}

pub(super) fn several() -> Error {
    Error::Invalid(
        "a SELECT that is a value has more than one row; write an aggregate, or ORDER BY … LIMIT 1".into(),
    )
}
