//! From a mutation to the rows that it changes and the values that they get, or to the reason why not.

use super::change::{CHANGED_BYTES, Change, ColumnChange, FORMS};
use crate::control::{Cancel, Held, row_bytes, value_bytes};
use crate::database::Snapshot;
use crate::exec::{self, Members, Scope, evaluate};
use crate::expr::{Compiled, Function, apply as call};
use crate::member::Key;
use crate::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
use crate::predicate::Predicate;
use crate::schema::{Column, ColumnId, DataType, KEY_BYTES_MAX, TableId, TableSchema};
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// Values that one statement may write: beyond, it is to be split. It bounds the memory that a statement takes.
pub(crate) const VALUES_MAX: u64 = 50_000_000;

/// What a mutation changes in a snapshot, and what the change holds.
pub(crate) fn resolve(
    snapshot: &Snapshot,
    mutation: &Mutation,
    cancel: &Cancel,
) -> Result<(Change, Changed, Held)> {
    let mut held = cancel.holder("the changes");
    let (change, changed) = match mutation {
        Mutation::Insert(insert) => resolve_insert(snapshot, insert, cancel, &mut held)?,
        Mutation::Update(update) => resolve_update(snapshot, update, cancel, &mut held)?,
        Mutation::Delete(delete) => resolve_delete(snapshot, delete, cancel, &mut held)?,
    };
    // What it was made of is gone.
    held.set(change.held())?;
    Ok((change, changed, held))
}

fn resolve_delete(
    snapshot: &Snapshot,
    delete: &Delete,
    cancel: &Cancel,
    held: &mut Held,
) -> Result<(Change, Changed)> {
    let deleted: Vec<u32> = members(snapshot, delete.table, &delete.predicate, cancel)?.iter().collect();
    too_many(deleted.len() as u64)?;
    held.add(deleted.len() * (size_of::<u32>() + CHANGED_BYTES))?;
    let changed = Changed { deleted: deleted.len() as u64, ..Changed::default() };
    Ok((Change { deleted, ..nothing(snapshot, delete.table)? }, changed))
}

fn resolve_update(
    snapshot: &Snapshot,
    update: &Update,
    cancel: &Cancel,
    held: &mut Held,
) -> Result<(Change, Changed)> {
    let schema = Arc::clone(snapshot.schema(update.table)?);
    let targets = Targets::new(&schema, &update.assignments, snapshot.now_micros())?;
    let ordinals: Vec<u32> = members(snapshot, update.table, &update.predicate, cancel)?.iter().collect();
    too_many(ordinals.len() as u64 * update.assignments.len() as u64)?;
    let changed = Changed { updated: ordinals.len() as u64, ..Changed::default() };
    let columns = targets.columns_of(snapshot, update.table, ordinals, None, (cancel, held))?;
    Ok((Change { columns, ..nothing(snapshot, update.table)? }, changed))
}

fn resolve_insert(
    snapshot: &Snapshot,
    insert: &Insert,
    cancel: &Cancel,
    held: &mut Held,
) -> Result<(Change, Changed)> {
    let schema = Arc::clone(snapshot.schema(insert.table)?);
    too_many(insert.rows.len() as u64 * schema.columns.len() as u64)?;
    let columns = insert.columns.iter().map(|id| column_of(&schema, *id)).collect::<Result<Vec<_>>>()?;
    if let Some(twice) =
        columns.iter().enumerate().find(|(at, one)| columns[..*at].iter().any(|other| other.id == one.id))
    {
        return Err(Error::Invalid(format!("column \"{}\" is given twice", twice.1.name)));
    }
    let missing = |column: &&Column| !column.nullable && !insert.columns.contains(&column.id);
    if let Some(column) = schema.columns.iter().find(missing) {
        return Err(null_refused(&schema, column));
    }
    // Refused whether or not there is a conflict: a statement is not right by chance.
    let targets = match &insert.conflict {
        OnConflict::Update(assignments) => Some(Targets::new(&schema, assignments, snapshot.now_micros())?),
        OnConflict::Refuse | OnConflict::Nothing => None,
    };
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(insert.rows.len());
    for row in &insert.rows {
        if row.len() != columns.len() {
            return Err(Error::Invalid(format!(
                "a row has {} values for {} columns",
                row.len(),
                columns.len()
            )));
        }
        let fitted = row.iter().zip(&columns).map(|(value, column)| fit(&schema, column, value.clone()));
        let fitted = fitted.collect::<Result<Vec<_>>>()?;
        held.add(size_of::<Vec<Value>>() + row_bytes(&fitted))?;
        rows.push(fitted);
    }
    let key = schema.key.and_then(|key| insert.columns.iter().position(|column| *column == key));
    let there = match key {
        Some(place) => {
            snapshot.lookup(insert.table, &rows.iter().map(|row| row[place].clone()).collect::<Vec<_>>())?
        }
        None => vec![None; rows.len()],
    };
    let first = next_ordinal(snapshot, insert.table)?;
    let mut fresh: Vec<Vec<Value>> = Vec::with_capacity(rows.len());
    let (mut conflicts, mut excluded) = (Vec::new(), Vec::new());
    let mut seen: HashMap<Value2<'_>, usize> = HashMap::new();
    for (number, (row, there)) in rows.iter().zip(there).enumerate() {
        if let Some(place) = key {
            let again = seen.insert(Value2::of(&row[place]), number).is_some();
            match (&insert.conflict, there.is_some(), again) {
                (_, false, false) => {}
                (OnConflict::Nothing, ..) => continue,
                (OnConflict::Update(_), _, true) => {
                    return Err(Error::Invalid(format!(
                        "key {} is twice among the rows: a member can be updated once a statement",
                        row[place]
                    )));
                }
                (OnConflict::Update(_), true, false) => {
                    conflicts.extend(there);
                    excluded.push(number);
                    continue;
                }
                (OnConflict::Refuse, is_there, _) => {
                    let column = &columns[place].name;
                    return Err(Error::Invalid(format!(
                        "key {} is {}: {column} is the key of \"{}\"; INSERT … ON CONFLICT ({column}) DO UPDATE SET … or DO NOTHING says what to do then",
                        row[place],
                        if is_there { "there already" } else { "twice among the rows" },
                        schema.name
                    )));
                }
            }
        }
        let row = row.clone();
        // The values become the columns of the change, one by one.
        held.add(size_of::<Vec<Value>>() + row_bytes(&row) + size_of_val(row.as_slice()))?;
        fresh.push(row);
    }
    drop(seen);
    let inserted = fresh.len() as u32;
    if u64::from(first) + u64::from(inserted) > u64::from(u32::MAX) {
        return Err(Error::Invalid(format!("table \"{}\" has no more ordinals", schema.name)));
    }
    let mut changes: Vec<ColumnChange> = Vec::new();
    if inserted > 0 {
        let mut by_column: Vec<Vec<Value>> =
            columns.iter().map(|_| Vec::with_capacity(fresh.len())).collect();
        for row in fresh {
            row.into_iter().zip(&mut by_column).for_each(|(value, column)| column.push(value));
        }
        let ordinals: Vec<u32> = (first..first + inserted).collect();
        for (column, values) in insert.columns.iter().zip(by_column) {
            changes.push(ColumnChange { column: *column, ordinals: ordinals.clone(), values });
        }
    }
    let updated = conflicts.len() as u64;
    if let Some(targets) = targets.filter(|_| !conflicts.is_empty()) {
        let mut both: Vec<(u32, usize)> = conflicts.into_iter().zip(excluded).collect();
        both.sort_unstable();
        let (ordinals, numbers): (Vec<u32>, Vec<usize>) = both.into_iter().unzip();
        let excluded = Excluded { columns: &insert.columns, rows: &rows, numbers: &numbers };
        for update in targets.columns_of(snapshot, insert.table, ordinals, Some(&excluded), (cancel, held))? {
            match changes.iter_mut().find(|change| change.column == update.column) {
                // The ordinals of new rows are above those of all others.
                Some(change) => {
                    change.ordinals.splice(0..0, update.ordinals);
                    change.values.splice(0..0, update.values);
                }
                None => changes.push(update),
            }
        }
    }
    changes.sort_by_key(|change| change.column);
    let changed = Changed { inserted: u64::from(inserted), updated, deleted: 0 };
    Ok((Change { first, inserted, columns: changes, ..nothing(snapshot, insert.table)? }, changed))
}

fn nothing(snapshot: &Snapshot, table: TableId) -> Result<Change> {
    let first = next_ordinal(snapshot, table)?;
    Ok(Change { table, first, inserted: 0, deleted: Vec::new(), columns: Vec::new() })
}

fn next_ordinal(snapshot: &Snapshot, table: TableId) -> Result<u32> {
    Ok(snapshot.table(table)?.extent().ordinals as u32)
}

fn members(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &Predicate,
    cancel: &Cancel,
) -> Result<RoaringBitmap> {
    Ok(evaluate(snapshot, table, predicate, &Scope::default(), cancel, &Members)?.0)
}

fn too_many(values: u64) -> Result<()> {
    if values > VALUES_MAX {
        return Err(Error::Invalid(format!(
            "the statement would write {values} values; at most {VALUES_MAX} at once: split it by a condition"
        )));
    }
    Ok(())
}

fn column_of(schema: &TableSchema, id: ColumnId) -> Result<&Column> {
    let missing = || Error::Invalid(format!("no column {} in table \"{}\"", id.0, schema.name));
    schema.column(id).ok_or_else(missing)
}

fn null_refused(schema: &TableSchema, column: &Column) -> Error {
    let name = &column.name;
    Error::Invalid(format!(
        "column \"{name}\" of \"{}\" is NOT NULL, and a row has no value for it",
        schema.name
    ))
}

/// A value as its column holds it.
fn fit(schema: &TableSchema, column: &Column, value: Value) -> Result<Value> {
    let fitted = match (&value, column.data_type) {
        (Value::Null, _) if column.nullable => value,
        (Value::Null, _) => return Err(null_refused(schema, column)),
        (Value::Boolean(_), DataType::Boolean)
        | (Value::Text(_), DataType::Text)
        | (Value::Tags(_), DataType::TextArray)
        | (Value::Integer(_), DataType::BigInt) => value,
        _ => call(&Function::Cast(column.data_type), &[value])
            .map_err(|error| Error::Invalid(format!("column \"{}\": {error}", column.name)))?,
    };
    if let (Value::Text(text), true) = (&fitted, schema.key == Some(column.id))
        && text.len() > KEY_BYTES_MAX
    {
        return Err(Error::Invalid(format!(
            "column \"{}\": a key of {} bytes is longer than {KEY_BYTES_MAX}",
            column.name,
            text.len()
        )));
    }
    Ok(fitted)
}

/// A key as something to look for.
#[derive(PartialEq, Eq, Hash)]
enum Value2<'v> {
    Integer(i64),
    Text(&'v [u8]),
    None,
}

impl<'v> Value2<'v> {
    fn of(value: &'v Value) -> Value2<'v> {
        match Key::of_value(value) {
            Some(Key::Integer(integer)) => Value2::Integer(integer),
            Some(Key::Text(text)) => Value2::Text(text),
            None => Value2::None,
        }
    }
}

/// The rows that were to be inserted where members are, by the number of each.
struct Excluded<'r> {
    columns: &'r [ColumnId],
    rows: &'r [Vec<Value>],
    numbers: &'r [usize],
}

/// What columns are assigned.
struct Targets<'s> {
    schema: &'s TableSchema,
    columns: Vec<(&'s Column, Compiled)>,
}

impl<'s> Targets<'s> {
    fn new(schema: &'s TableSchema, assignments: &[Assignment], now_micros: i64) -> Result<Targets<'s>> {
        let mut columns: Vec<(&Column, Compiled)> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let column = column_of(schema, assignment.column)?;
            if schema.key == Some(column.id) {
                return Err(Error::Invalid(format!(
                    "column \"{}\" is the key of \"{}\", which never changes: delete the member and insert it anew",
                    column.name, schema.name
                )));
            }
            if columns.iter().any(|(other, _)| other.id == column.id) {
                return Err(Error::Invalid(format!("column \"{}\" is assigned twice", column.name)));
            }
            columns.push((column, Compiled::new(&assignment.value, now_micros)?));
        }
        Ok(Targets { schema, columns })
    }

    /// The values that members get, column by column.
    fn columns_of(
        &self,
        snapshot: &Snapshot,
        table: TableId,
        ordinals: Vec<u32>,
        excluded: Option<&Excluded<'_>>,
        (cancel, held): (&Cancel, &mut Held),
    ) -> Result<Vec<ColumnChange>> {
        let state = snapshot.table(table)?;
        held.add(ordinals.len() * size_of::<u32>())?;
        let mut changes = Vec::with_capacity(self.columns.len());
        for (column, compiled) in &self.columns {
            held.add(ordinals.len() * (size_of::<u32>() + size_of::<Value>() + CHANGED_BYTES))?;
            let values = if let Some(constant) = compiled.constant() {
                let value = fit(self.schema, column, constant.clone())?;
                held.add(ordinals.len() * FORMS * value_bytes(&value))?;
                vec![value; ordinals.len()]
            } else {
                let excluded_place = |id: &ColumnId| {
                    let excluded = excluded?;
                    excluded.columns.iter().position(|column| column.excluded() == *id)
                };
                let is_excluded = |id: &ColumnId| id.excluded() == *id;
                let readers = compiled.columns().iter().map(|id| {
                    let own = (!is_excluded(id)).then(|| state.reader(*id)).transpose()?;
                    Ok((own, state.dictionary(*id), excluded_place(id)))
                });
                let readers = readers.collect::<Result<Vec<_>>>()?;
                let mut values = Vec::with_capacity(ordinals.len());
                let mut inputs = Vec::with_capacity(readers.len());
                for (number, ordinal) in ordinals.iter().enumerate() {
                    if number % 4096 == 0 {
                        cancel.check()?;
                    }
                    inputs.clear();
                    for (reader, dictionary, place) in &readers {
                        inputs.push(match (reader, excluded, place) {
                            (Some(reader), ..) => exec::value_at(reader, *dictionary, *ordinal)?,
                            (None, Some(excluded), Some(place)) => {
                                excluded.rows[excluded.numbers[number]][*place].clone()
                            }
                            // A column that the row does not give.
                            _ => Value::Null,
                        });
                    }
                    let value = fit(self.schema, column, compiled.eval(*ordinal, &inputs)?)?;
                    held.add(FORMS * value_bytes(&value))?;
                    values.push(value);
                }
                values
            };
            changes.push(ColumnChange { column: column.id, ordinals: ordinals.clone(), values });
        }
        changes.sort_by_key(|change| change.column);
        Ok(changes)
    }
}
