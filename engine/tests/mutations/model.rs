//! The model: rows in plain vectors by ordinal, and what each statement does to them.

use super::make::{self, MOMENT, TYPES};
use super::random::Random;
use super::rows::Rows;
use muster_engine::catalog::Definition;
use muster_engine::control::Cancel;
use muster_engine::database::{AudienceSpec, Dependents};
use muster_engine::eval::eval;
use muster_engine::expr::Compiled;
use muster_engine::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{AudienceId, Truth};
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Database, Predicate, TableId, Value};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashSet};

#[derive(Clone, Debug)]
pub struct Column {
    pub id: ColumnId,
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
}

pub type Row = BTreeMap<u32, Value>;

#[derive(Clone)]
pub struct Table {
    pub id: TableId,
    pub name: String,
    pub key: Option<ColumnId>,
    pub columns: Vec<Column>,
    /// By ordinal; those that are gone with `None`.
    pub rows: Vec<Option<Row>>,
    pub audiences: Vec<Audience>,
}

#[derive(Clone)]
pub struct Audience {
    pub id: AudienceId,
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone)]
pub enum Kind {
    Dynamic(Predicate, ColumnId),
    Static(RoaringBitmap),
}

#[derive(Clone, Default)]
pub struct Model {
    pub tables: Vec<Table>,
    names: usize,
}

impl Table {
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    pub fn live(&self) -> RoaringBitmap {
        (0..self.rows.len() as u32).filter(|row| self.rows[*row as usize].is_some()).collect()
    }

    pub fn members(&self, predicate: &Predicate, truth: Truth) -> RoaringBitmap {
        let is = |row: &u32| {
            self.rows[*row as usize].as_ref().is_some_and(|row| {
                eval(predicate, MOMENT, &|id| row.get(&id.0).cloned().unwrap_or(Value::Null)).unwrap()
                    == truth
            })
        };
        (0..self.rows.len() as u32).filter(is).collect()
    }

    pub fn with_key(&self, key: &Value) -> Option<u32> {
        let column = self.key?;
        let has = |row: &Option<Row>| row.as_ref().is_some_and(|row| row[&column.0] == *key);
        self.rows.iter().position(has).map(|row| row as u32)
    }

    /// A value as a column holds it.
    fn fit(&self, column: &Column, value: Value) -> Option<Value> {
        match (&value, column.data_type) {
            (Value::Null, _) => column.nullable.then_some(value),
            (Value::Integer(integer), DataType::Integer) => i32::try_from(*integer).is_ok().then_some(value),
            (Value::Text(text), DataType::Text) => {
                (self.key != Some(column.id) || text.len() <= 256).then_some(value)
            }
            (Value::Integer(_), DataType::BigInt)
            | (Value::Boolean(_), DataType::Boolean)
            | (Value::Tags(_), DataType::TextArray)
            | (Value::Double(_), DataType::Double)
            | (Value::Date(_), DataType::Date) => Some(value),
            _ => None,
        }
    }

    fn check(&self, assignments: &[Assignment]) -> Option<()> {
        let mut seen = HashSet::new();
        let fits = |one: &Assignment| {
            self.column(one.column).is_some() && self.key != Some(one.column) && seen.insert(one.column)
        };
        assignments.iter().all(fits).then_some(())
    }

    /// The values that a row gets.
    fn assigned(
        &self,
        ordinal: usize,
        assignments: &[Assignment],
        excluded: &dyn Fn(ColumnId) -> Value,
    ) -> Option<Row> {
        let old = self.rows[ordinal].as_ref()?;
        let mut new = Row::new();
        for Assignment { column, value } in assignments {
            let compiled = Compiled::new(value, MOMENT).ok()?;
            let input = |id: &ColumnId| match self.column(*id) {
                Some(column) => old.get(&column.id.0).cloned().unwrap_or(Value::Null),
                None => excluded(*id),
            };
            let inputs: Vec<Value> = compiled.columns().iter().map(input).collect();
            let value = match compiled.constant() {
                Some(constant) => constant.clone(),
                None => compiled.eval(ordinal as u32, &inputs).ok()?,
            };
            new.insert(column.0, self.fit(self.column(*column)?, value)?);
        }
        Some(new)
    }

    fn update(&mut self, update: &Update) -> Option<Changed> {
        self.check(&update.assignments)?;
        // A constant that does not fit is refused for nobody too.
        for Assignment { column, value } in &update.assignments {
            if let Some(constant) = Compiled::new(value, MOMENT).ok()?.constant() {
                self.fit(self.column(*column)?, constant.clone())?;
            }
        }
        let rows = self.members(&update.predicate, Truth::True);
        let changed = Changed { updated: rows.len(), ..Changed::default() };
        let new: Option<Vec<(u32, Row)>> = rows
            .iter()
            .map(|row| Some((row, self.assigned(row as usize, &update.assignments, &|_| Value::Null)?)))
            .collect();
        self.put(new?);
        Some(changed)
    }

    fn put(&mut self, new: Vec<(u32, Row)>) {
        for (ordinal, values) in new {
            if let Some(row) = &mut self.rows[ordinal as usize] {
                row.extend(values);
            }
        }
    }

    fn delete(&mut self, delete: &Delete) -> Changed {
        let rows = self.members(&delete.predicate, Truth::True);
        rows.iter().for_each(|row| self.rows[row as usize] = None);
        Changed { deleted: rows.len(), ..Changed::default() }
    }

    fn insert(&mut self, insert: &Insert) -> Option<Changed> {
        let mut given = HashSet::new();
        if !insert.columns.iter().all(|id| self.column(*id).is_some() && given.insert(*id))
            || self.columns.iter().any(|column| !column.nullable && !given.contains(&column.id))
        {
            return None;
        }
        if let OnConflict::Update(assignments) = &insert.conflict {
            self.check(assignments)?;
        }
        let (mut fresh, mut updated, mut seen): (Vec<Row>, _, Vec<Value>) =
            (Vec::new(), Vec::new(), Vec::new());
        for values in &insert.rows {
            if values.len() != insert.columns.len() {
                return None;
            }
            let mut row = Row::new();
            for (id, value) in insert.columns.iter().zip(values) {
                row.insert(id.0, self.fit(self.column(*id)?, value.clone())?);
            }
            if let Some(key) = self.key {
                let key = row[&key.0].clone();
                let (there, again) = (self.with_key(&key), seen.contains(&key));
                seen.push(key);
                match (&insert.conflict, there) {
                    (_, None) if !again => {}
                    (OnConflict::Nothing, _) => continue,
                    (OnConflict::Update(assignments), Some(ordinal)) if !again => {
                        let excluded = |id: ColumnId| {
                            let given = insert.columns.iter().find(|column| column.excluded() == id);
                            given.map_or(Value::Null, |column| row[&column.0].clone())
                        };
                        updated.push((ordinal, self.assigned(ordinal as usize, assignments, &excluded)));
                        continue;
                    }
                    _ => return None,
                }
            }
            for column in &self.columns {
                row.entry(column.id.0).or_insert(Value::Null);
            }
            fresh.push(row);
        }
        let updated = updated.into_iter().map(|(ordinal, row)| Some((ordinal, row?)));
        let updated: Vec<(u32, Row)> = updated.collect::<Option<_>>()?;
        let changed =
            Changed { inserted: fresh.len() as u64, updated: updated.len() as u64, ..Changed::default() };
        self.put(updated);
        self.rows.extend(fresh.into_iter().map(Some));
        Some(changed)
    }
}

impl Model {
    /// What a mutation does; `None` where it is refused.
    pub fn write(&mut self, mutation: &Mutation) -> Option<Changed> {
        let id = match mutation {
            Mutation::Insert(insert) => insert.table,
            Mutation::Update(update) => update.table,
            Mutation::Delete(delete) => delete.table,
        };
        let table = self.tables.iter_mut().find(|table| table.id == id)?;
        match mutation {
            Mutation::Insert(insert) => table.insert(insert),
            Mutation::Update(update) => table.update(update),
            Mutation::Delete(delete) => Some(table.delete(delete)),
        }
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// A random change of the tables.
    pub fn define(&mut self, database: &Database, random: &mut Random) {
        if self.tables.is_empty() || (self.tables.len() < 3 && random.below(4) == 0) {
            return self.create_table(database, random);
        }
        let at = random.below(self.tables.len());
        let name = self.fresh();
        let table = &mut self.tables[at];
        match random.below(10) {
            0 if random.chance() => {
                let relation = database.snapshot().named(&table.name).unwrap();
                database.drop_relations(&[relation], Dependents::Drop).unwrap();
                self.tables.remove(at);
            }
            0..=2 => {
                let data_type = TYPES[random.below(TYPES.len())];
                let is_key = table.key.is_none() && data_type == DataType::BigInt && random.chance();
                let nullable = !is_key && random.below(3) > 0;
                let spec = ColumnSpec { name: name.clone(), data_type, nullable };
                let added = database.add_column(table.id, &spec, is_key);
                let allowed = nullable || table.live().is_empty();
                assert_eq!(added.is_ok(), allowed, "{added:?}, {spec:?}, of {} rows", table.live().len());
                if let Ok(id) = added {
                    table.key = table.key.or(is_key.then_some(id));
                    table.columns.push(Column { id, name, data_type, nullable });
                    table.rows.iter_mut().flatten().for_each(|row| drop(row.insert(id.0, Value::Null)));
                }
            }
            3 => {
                let id = table.columns[random.below(table.columns.len())].id;
                let dropped = database.drop_column(table.id, id, Dependents::Drop);
                let allowed = table.key != Some(id) && table.columns.len() > 1;
                assert_eq!(dropped.is_ok(), allowed, "{dropped:?}");
                if allowed {
                    table.columns.retain(|column| column.id != id);
                    table.rows.iter_mut().flatten().for_each(|row| drop(row.remove(&id.0)));
                    table.audiences.retain(|one| !matches!(&one.kind, Kind::Dynamic(_, of) if *of == id));
                }
            }
            4 => {
                let column = random.below(table.columns.len());
                database.rename_column(table.id, table.columns[column].id, &name).unwrap();
                table.columns[column].name = name;
            }
            5 | 6 => {
                let column = table.columns[random.below(table.columns.len())].clone();
                let predicate = make::about(table, &column, random);
                let spec = AudienceSpec {
                    name: name.clone(),
                    table: table.id,
                    source: "S".into(),
                    created_micros: 1,
                };
                let definition = Definition::new(predicate.clone(), []).unwrap();
                let id = database.create_audience(spec, definition, false).unwrap();
                table.audiences.push(Audience { id, name, kind: Kind::Dynamic(predicate, column.id) });
            }
            7 | 8 => {
                let beyond = u32::from(random.below(5) == 0);
                let ordinals = table.rows.len() as u32;
                let mut members: RoaringBitmap = (0..ordinals).filter(|_| random.chance()).collect();
                members.extend((0..beyond).map(|_| ordinals));
                let spec = AudienceSpec {
                    name: name.clone(),
                    table: table.id,
                    source: "S".into(),
                    created_micros: 1,
                };
                let created = database.create_static_audience(spec, &members, false, &Cancel::default());
                assert_eq!(created.is_ok(), beyond == 0, "{created:?} of {members:?} of {ordinals}");
                if let Ok(id) = created {
                    table.audiences.push(Audience { id, name, kind: Kind::Static(members) });
                }
            }
            _ => {
                if let Some(audience) = table.audiences.pop() {
                    let relation = database.snapshot().named(&audience.name).unwrap();
                    database.drop_relations(&[relation], Dependents::Refuse).unwrap();
                }
            }
        }
    }

    fn create_table(&mut self, database: &Database, random: &mut Random) {
        let name = self.fresh();
        let key = [None, Some(DataType::BigInt), Some(DataType::Text)][random.below(3)];
        let mut specs: Vec<ColumnSpec> = Vec::new();
        specs.extend(key.map(|data_type| ColumnSpec { name: "id".into(), data_type, nullable: false }));
        for number in 0..1 + random.below(4) {
            let data_type = TYPES[random.below(TYPES.len())];
            specs.push(ColumnSpec { name: format!("c{number}"), data_type, nullable: random.below(4) > 0 });
        }
        let rows = if random.chance() { 0 } else { random.below(60) };
        let mut all: Vec<Vec<Value>> = Vec::new();
        for row in 0..rows {
            let value = |(number, spec): (usize, &ColumnSpec)| match key {
                Some(data_type) if number == 0 => make::key(data_type, row * 2),
                _ if spec.nullable && random.below(4) == 0 => Value::Null,
                _ => make::value(spec.data_type, random),
            };
            all.push(specs.iter().enumerate().map(value).collect());
        }
        let key_at = key.map(|_| 0);
        let types: Vec<DataType> = specs.iter().map(|spec| spec.data_type).collect();
        if rows == 0 {
            database.create_table(&TableSpec::new(&name, &specs, key_at)).unwrap();
        } else {
            let imported = all.clone();
            let mut source = Rows::of(types, rows as i64, move |row| imported[row as usize].clone());
            let cancel = Cancel::default();
            database
                .create_and_import(&TableSpec::new(&name, &specs, key_at), &mut source, &cancel, &mut |_| {})
                .unwrap();
        }
        let schema = database.snapshot().table_named(&name).unwrap();
        let columns: Vec<Column> = (schema.columns.iter().zip(&specs))
            .map(|(column, spec)| Column {
                id: column.id,
                name: spec.name.clone(),
                data_type: spec.data_type,
                nullable: spec.nullable,
            })
            .collect();
        let ids = columns.iter().map(|column| column.id.0);
        let rows = all.into_iter().map(|row| Some(ids.clone().zip(row).collect())).collect();
        let audiences = Vec::new();
        self.tables.push(Table { id: schema.id, name, key: schema.key, columns, rows, audiences });
    }
}
