//! A look at a database from outside: what is stored, in how many bytes, and whether every byte is what was written.

use crate::control::Cancel;
use crate::database::Database;
use crate::delta::PatchRef;
use crate::exec::{Count, Scope, evaluate};
use crate::member::KeyLayout;
use crate::predicate::Predicate;
use crate::schema::{ColumnId, DataType, TableId, TableSchema};
use crate::table::TableState;
use crate::writer::record;
use crate::{Result, Snapshot};
use muster_storage::chunk::Malformed;
use muster_storage::format::{RANGE_CHUNKS, SectionKind};
use muster_storage::manifest::{PartId, PartRole, part_file_name};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What `muster inspect` shows.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The database's id.
    pub database_id: u64,
    /// The last change.
    pub lsn: u64,
    /// Every change up to this LSN is in parts; the log has the others.
    pub checkpoint: u64,
    /// The files of the log, with their bytes.
    pub log: Vec<(String, u64)>,
    /// Part files.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The tables, by name.
    pub tables: Vec<TableInspection>,
}

/// One table.
#[derive(Clone, Debug)]
pub struct TableInspection {
    /// Names and types.
    pub schema: Arc<TableSchema>,
    /// Live rows.
    pub rows: u64,
    /// Chunks of 65,536 ordinals.
    pub chunks: u32,
    /// How keys are found.
    pub keys: KeyLayout,
    /// Bytes of all its parts, tables of sections and padding included.
    pub bytes: u64,
    /// Parts that hold changes of others.
    pub patch_parts: usize,
    /// Bytes of memory that changes since the checkpoint take.
    pub changes_bytes: u64,
    /// The columns, in declaration order.
    pub columns: Vec<ColumnInspection>,
    /// The members of its static audiences, each as the BOOLEAN column that it is stored as, under the audience's name.
    pub audiences: Vec<ColumnInspection>,
    /// Of rows that belong to somebody: whose they are, and what is kept of each owner's.
    pub derived: Vec<ColumnInspection>,
}

/// One column.
#[derive(Clone, Debug)]
pub struct ColumnInspection {
    /// The id.
    pub id: ColumnId,
    /// The name.
    pub name: String,
    /// The type.
    pub data_type: DataType,
    /// Live rows that are NULL.
    pub nulls: u64,
    /// Rows whose value is in a patch, in memory or in a part, rather than in the base: changed ones and new ones.
    pub changed: u64,
    /// For TEXT and TEXT[] the strings of its dictionary, for BOOLEAN the members for which it is TRUE.
    pub cardinality: Option<u64>,
    /// Bytes by what they are for.
    pub bytes: BTreeMap<SectionKind, u64>,
}

/// What `muster verify` read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Part files.
    pub parts: u64,
    /// Sections whose checksum and form were checked.
    pub sections: u64,
    /// Bytes of the parts.
    pub bytes: u64,
    /// Files of the log.
    pub log_segments: u64,
    /// Records of the log after the checkpoint, each decoded.
    pub log_records: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
}

impl Database {
    /// Describes everything stored. Cost: the tables of sections, no section; of a table with changes also these, and a count
    /// for each of its columns.
    pub fn inspect(&self) -> Result<Inspection> {
        let snapshot = self.snapshot();
        let manifest = self.store().manifest();
        let tables = snapshot.tables().into_iter().map(|schema| inspect_table(&snapshot, &manifest, schema));
        Ok(Inspection {
            database_id: manifest.database_id,
            lsn: snapshot.lsn(),
            checkpoint: manifest.checkpoint.0,
            log: self.of_the_log(|| Ok(self.store().log_segments()?))?,
            parts: manifest.parts.len(),
            bytes: manifest.parts.iter().map(|part| part.bytes).sum(),
            tables: tables.collect::<Result<_>>()?,
        })
    }

    /// Reads every byte of every part and checks it: checksums, forms, padding; and the log as opening does. Stops at the
    /// first damage. A writer may go on meanwhile: parts that it replaces are passed over.
    ///
    /// `on_part` hears of each part done: its number, how many there are, its bytes.
    pub fn verify(
        &self,
        cancel: &Cancel,
        on_part: &mut dyn FnMut(usize, usize, u64),
    ) -> Result<Verification> {
        let manifest = self.store().manifest();
        let snapshot = self.snapshot();
        let mut done = Verification::default();
        for (number, part) in manifest.parts.iter().enumerate() {
            // A fresh reader: what was verified earlier is read again.
            let name = part_file_name(part.id);
            let bytes = match self.store().disk().map(&name) {
                Err(_) if !self.still_has(part.id)? => continue,
                mapped => mapped?,
            };
            let reader = muster_storage::part::PartReader::open(&name, bytes, manifest.database_id, part)?;
            for index in 0..reader.entries().len() {
                cancel.check()?;
                let section = reader.section_at(index)?;
                let entry = &reader.entries()[index];
                if entry.kind() == Some(SectionKind::Patch) {
                    PatchRef::open(section).map_err(|what| reader.malformed(entry.offset, what))?;
                }
            }
            reader.check_padding()?;
            done.parts += 1;
            done.sections += reader.entries().len() as u64;
            done.bytes += part.bytes;
            on_part(number + 1, manifest.parts.len(), part.bytes);
        }
        for schema in snapshot.tables() {
            verify_forms(&snapshot, &schema, cancel)?;
        }
        let (segments, records) = self.of_the_log(|| {
            let snapshot = self.snapshot();
            let type_of = |table: TableId, column: ColumnId| {
                snapshot.schema(table).ok()?.column(column).map(|column| column.data_type)
            };
            let read = self.store().read_log(|_, kind, payload| {
                cancel.check()?;
                record::decode(kind, payload, &type_of).map(drop)
            })?;
            Ok((self.store().log_segments()?, read.records))
        })?;
        done.log_segments = segments.len() as u64;
        done.log_bytes = segments.iter().map(|(_, bytes)| bytes).sum();
        done.log_records = records;
        Ok(done)
    }

    /// What is said of the log; once more where a checkpoint let segments go meanwhile.
    fn of_the_log<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
        loop {
            let checkpoint = self.store().manifest().checkpoint;
            let said = read();
            if said.is_ok() {
                return said;
            }
            self.refresh()?;
            if self.store().manifest().checkpoint == checkpoint {
                return said;
            }
        }
    }

    /// Whether a part is one of the database on disk now.
    fn still_has(&self, id: PartId) -> Result<bool> {
        self.refresh()?;
        Ok(self.store().manifest().parts.iter().any(|part| part.id == id))
    }
}

fn inspect_table(
    snapshot: &Snapshot,
    manifest: &muster_storage::manifest::Manifest,
    schema: Arc<TableSchema>,
) -> Result<TableInspection> {
    let table = snapshot.table(schema.id)?;
    let unseen = |id, name: &str, data_type| ColumnInspection {
        id,
        name: name.to_owned(),
        data_type,
        nulls: 0,
        changed: 0,
        cardinality: None,
        bytes: BTreeMap::new(),
    };
    let mut columns: Vec<ColumnInspection> =
        schema.columns.iter().map(|column| unseen(column.id, &column.name, column.data_type)).collect();
    let mut audiences = Vec::new();
    for audience in snapshot.audiences().iter().filter(|audience| audience.table == schema.id) {
        if let Some(column) = audience.hidden_column() {
            let mut members = unseen(column, &audience.name, DataType::Boolean);
            members.cardinality = Some(0);
            audiences.push(members);
        }
    }
    let derived = table.derived().into_iter().map(|(id, name, data_type)| unseen(id, &name, data_type));
    let mut derived: Vec<ColumnInspection> = derived.collect();
    let (mut bytes, mut patch_parts) = (0, 0);
    for part in manifest.parts.iter().filter(|part| part.table == schema.id.0) {
        bytes += part.bytes;
        patch_parts += usize::from(part.role == PartRole::Patch);
        for entry in snapshot.part(part.id).map_or(&[][..], |reader| reader.entries()) {
            let mut all = columns.iter_mut().chain(&mut audiences).chain(&mut derived);
            let (Some(column), Some(kind)) = (all.find(|column| column.id.0 == entry.column), entry.kind())
            else {
                continue;
            };
            *column.bytes.entry(kind).or_default() += entry.length;
            match (kind, column.data_type) {
                (SectionKind::Nulls, _) => column.nulls += u64::from(entry.cardinality),
                (SectionKind::Sets, DataType::Boolean) | (SectionKind::DictionaryStrings, _) => {
                    *column.cardinality.get_or_insert(0) += u64::from(entry.cardinality);
                }
                _ => {}
            }
        }
    }
    for column in &mut columns {
        column.nulls += table.rows_without(column.id);
    }
    let changes_bytes = table.layers.iter().map(|layer| layer.bytes() as u64).sum();
    if patch_parts > 0 || changes_bytes > 0 || table.has_dead() {
        // What the tables of sections say is of the base, and of rows that are gone too.
        for column in &mut columns {
            column.nulls = count(snapshot, schema.id, &Predicate::IsNull(column.id))?;
            if column.data_type == DataType::Boolean {
                column.cardinality = Some(count(snapshot, schema.id, &Predicate::IsTrue(column.id))?);
            } else if let Some(dictionary) = table.dictionary(column.id) {
                column.cardinality = Some(dictionary.view()?.len() as u64);
            }
        }
        for column in &mut audiences {
            column.cardinality = Some(count(snapshot, schema.id, &Predicate::IsTrue(column.id))?);
        }
        for column in columns.iter_mut().chain(&mut audiences) {
            column.changed = changed_rows(table, column.id)?;
        }
    }
    let keys = snapshot.key_layout(schema.id);
    Ok(TableInspection {
        rows: table.rows(),
        chunks: table.chunks(),
        keys,
        bytes,
        patch_parts,
        changes_bytes,
        columns,
        audiences,
        derived,
        schema,
    })
}

fn count(snapshot: &Snapshot, table: TableId, predicate: &Predicate) -> Result<u64> {
    Ok(evaluate(snapshot, table, predicate, &Scope::default(), &Cancel::default(), &Count)?.0)
}

/// Rows of a column that patches have, each once.
fn changed_rows(table: &TableState, column: ColumnId) -> Result<u64> {
    let reader = table.reader(column)?;
    let mut all = 0;
    for chunk in (0..table.chunks()).filter(|chunk| reader.is_changed(*chunk)) {
        let patches = reader.changes(chunk)?;
        let rows: HashSet<u16> = patches.iter().flat_map(|patch| patch.rows).copied().collect();
        all += rows.len() as u64;
    }
    Ok(all)
}

/// Opens every section as what it claims to be.
fn verify_forms(snapshot: &Snapshot, schema: &TableSchema, cancel: &Cancel) -> Result<()> {
    let table = snapshot.table(schema.id)?;
    let visible = schema.columns.iter().map(|column| column.id);
    let derived = table.derived().into_iter().map(|(id, ..)| id);
    // What is kept of owners has as many chunks as these.
    let chunks = table.chunks().max((table.ranges().len() * RANGE_CHUNKS) as u32);
    let hidden = table.hidden().iter().copied().chain(derived);
    for column in std::iter::once(ColumnId::LIVE).chain(visible).chain(hidden) {
        let reader = table.reader(column)?;
        for chunk in 0..chunks {
            cancel.check()?;
            reader.nulls(chunk)?;
            if let Some(sets) = reader.sets(chunk)? {
                for index in 0..sets.codes().len() {
                    let form = sets.container(index).and_then(|container| container.check());
                    form.map_err(|what| reader.malformed(chunk, SectionKind::Sets, what))?;
                }
            }
            if let Some(values) = reader.values(chunk)? {
                values.check().map_err(|what| reader.malformed(chunk, SectionKind::Values, what))?;
            }
            if let Some(thresholds) = reader.thresholds(chunk)? {
                let malformed = |what| reader.malformed(chunk, SectionKind::Thresholds, what);
                let numbers = reader.values(chunk)?.ok_or(Malformed("thresholds beside numbers"));
                numbers.and_then(|numbers| thresholds.check(&numbers)).map_err(malformed)?;
            }
            reader.order(chunk)?;
            reader.fences(chunk)?;
            reader.strings(chunk)?;
            reader.lists(chunk)?;
            reader.owners(chunk)?;
        }
        if let Some(dictionary) = table.dictionary(column) {
            dictionary.view()?;
        }
    }
    Ok(())
}
