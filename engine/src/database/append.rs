//! Rows of files for a table that has rows: a draft that takes them batch by batch, and one commit.
//!
//! The fast import writes parts of its own and knows no members before it. Here each row meets those that are there, by its
//! key, as an INSERT's does; so it takes the way of an INSERT, through the log.

use super::write::{Draft, Seated};
use super::{Database, ImportReport};
use crate::batch::{Batch, ColumnValues, RowSource};
use crate::control::{Cancel, OnProgress, Progress};
use crate::expr::Expr;
use crate::member::Key;
use crate::mutation::{Assignment, Insert, Mutation, OnConflict};
use crate::schema::{Column, ColumnId, DataType, TableSchema};
use crate::value::Value;
use crate::{Error, Result, Snapshot, code};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Rows that are resolved together: enough that looking keys up is cheap, few enough that they take little memory.
const ROWS_AT_ONCE: usize = 20_000;

/// Bytes of changes that one import may make: they are in memory until it ends, and become durable as one record.
const BYTES_MAX: u64 = 256 << 20;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What an import does with a row whose key a member has, or an earlier row of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    /// Refuses all rows.
    #[default]
    Refuse,
    /// Passes the row over.
    Nothing,
    /// Gives the member the row's values in all columns that the files have.
    Update,
}

/// What stays the same from batch to batch.
pub(super) struct Append<'a> {
    schema: &'a TableSchema,
    columns: Vec<&'a Column>,
    /// Which of `columns` is the key.
    key: Option<usize>,
    conflict: Conflict,
}

impl<'a> Append<'a> {
    pub(super) fn new(
        schema: &'a TableSchema,
        columns: &[ColumnId],
        conflict: Conflict,
    ) -> Result<Append<'a>> {
        if schema.key.is_none() && conflict != Conflict::Refuse {
            return Err(Error::Invalid(format!(
                "table \"{}\" has no key, so no row of it is in conflict",
                schema.name
            )));
        }
        let unknown = |id: &ColumnId| Error::Invalid(format!("there is no column {}", id.0));
        let found = columns.iter().map(|id| schema.column(*id).ok_or_else(|| unknown(id)));
        let columns = found.collect::<Result<Vec<_>>>()?;
        let key = columns.iter().position(|column| schema.key == Some(column.id));
        Ok(Append { schema, columns, key, conflict })
    }

    /// Takes rows into a table that has some, whole or not at all.
    pub(super) fn run(
        &self,
        database: &Database,
        seated: &mut Seated<'_>,
        source: &mut dyn RowSource,
        cancel: &Cancel,
        progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        let mut draft = Draft::of(&database.state());
        let before = draft.bytes(self.schema.id);
        let (mut read, mut changed, mut told) = (0u64, 0u64, Instant::now());
        while let Some(batch) = source.next()? {
            for start in (0..batch.rows).step_by(ROWS_AT_ONCE) {
                cancel.check()?;
                let end = batch.rows.min(start + ROWS_AT_ONCE);
                let rows = self.rows(&batch, start..end);
                changed += self.write(&mut draft, rows, read, source, cancel)?;
                read += (end - start) as u64;
                if draft.bytes(self.schema.id).saturating_sub(before) > BYTES_MAX {
                    return Err(Error::Invalid(format!(
                        "more than {} MiB of changes to \"{}\" at once, at row {read}; import the files in several parts",
                        BYTES_MAX >> 20,
                        self.schema.name
                    )));
                }
                if told.elapsed() > PROGRESS_EVERY {
                    told = Instant::now();
                    let (rows_total, share) = source.progress();
                    progress(Progress { rows: read, rows_total, share, phase: "rows" });
                }
            }
        }
        progress(Progress { rows: read, rows_total: Some(read), share: 1.0, phase: "sync" });
        cancel.check()?;
        draft.join();
        database.commit_seated(seated, draft)?;
        Ok(ImportReport { rows: changed, nobodys: 0 })
    }

    /// Rows of a batch as values.
    fn rows(&self, batch: &Batch, range: std::ops::Range<usize>) -> Vec<Vec<Value>> {
        let row = |row: usize| {
            let values = batch.columns.iter().zip(&self.columns).map(|(values, column)| {
                if values.nulls.as_ref().is_some_and(|nulls| nulls[row]) {
                    return Value::Null;
                }
                value(&values.values, column.data_type, row)
            });
            values.collect()
        };
        range.map(row).collect()
    }

    /// Writes rows to the draft, of which the first is row `first` of the source. How many took effect comes back.
    fn write(
        &self,
        draft: &mut Draft,
        mut rows: Vec<Vec<Value>>,
        first: u64,
        source: &dyn RowSource,
        cancel: &Cancel,
    ) -> Result<u64> {
        let mut repeated = 0;
        if let (Conflict::Refuse, Some(key)) = (self.conflict, self.key) {
            self.refuse_known(&draft.snapshot(), &rows, key, first, source)?;
        }
        if let (Conflict::Update, Some(key)) = (self.conflict, self.key) {
            // A later row has the last word, wherever a batch ends.
            let all = rows.len();
            rows = last_of_each(rows, key);
            repeated = (all - rows.len()) as u64;
        }
        let conflict = match self.conflict {
            Conflict::Refuse => OnConflict::Refuse,
            Conflict::Nothing => OnConflict::Nothing,
            Conflict::Update => {
                let others = self.columns.iter().filter(|column| self.schema.key != Some(column.id));
                let assigned = others.map(|column| Assignment {
                    column: column.id,
                    value: Expr::Column(column.id.excluded()),
                });
                OnConflict::Update(assigned.collect())
            }
        };
        let columns = self.columns.iter().map(|column| column.id).collect();
        let insert = Mutation::Insert(Insert { table: self.schema.id, columns, rows, conflict });
        let changed = draft.write(&insert, 0, cancel)?;
        Ok(changed.inserted + changed.updated + repeated)
    }

    /// An error that says where the first row stands whose key is there already.
    fn refuse_known(
        &self,
        snapshot: &Snapshot,
        rows: &[Vec<Value>],
        key: usize,
        first: u64,
        source: &dyn RowSource,
    ) -> Result<()> {
        let keys: Vec<Key<'_>> = rows.iter().filter_map(|row| Key::of_value(&row[key])).collect();
        let there = snapshot.lookup_keys(self.schema.id, &keys)?;
        let mut seen = HashSet::with_capacity(keys.len());
        for (number, (key_of_row, there)) in keys.iter().zip(there).enumerate() {
            if there.is_some() || !seen.insert(*key_of_row) {
                let name = &self.columns[key].name;
                return Err(Error::Row {
                    place: source.place(first + number as u64),
                    column: Some(name.clone()),
                    value: Some(rows[number][key].to_string()),
                    reason: "the key is there already; ON_CONFLICT update or nothing says what to do then"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The last row of each key, in the order of the rows.
fn last_of_each(rows: Vec<Vec<Value>>, key: usize) -> Vec<Vec<Value>> {
    let mut seen = HashSet::with_capacity(rows.len());
    let mut last: Vec<bool> =
        rows.iter().rev().map(|row| Key::of_value(&row[key]).is_none_or(|key| seen.insert(key))).collect();
    last.reverse();
    rows.into_iter().zip(last).filter_map(|(row, last)| last.then_some(row)).collect()
}

fn value(values: &ColumnValues, data_type: DataType, row: usize) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match values {
        ColumnValues::Boolean(values) => Value::Boolean(values[row]),
        ColumnValues::Code(codes) => code::decode(data_type, codes[row]),
        ColumnValues::Text(strings) => Value::Text(text(strings.get(row))),
        ColumnValues::TextDictionary { codes, dictionary } => {
            Value::Text(text(dictionary.get(codes[row] as usize)))
        }
        ColumnValues::Tags { ends, tags, dictionary } => {
            let start = if row == 0 { 0 } else { ends[row - 1] as usize };
            let tags = &tags[start..ends[row] as usize];
            Value::tags(tags.iter().map(|tag| text(dictionary.get(*tag as usize))))
        }
    }
}
