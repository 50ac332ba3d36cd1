//! The model: what there is, in the plainest terms, and random changes of it.

use crate::random::Random;
use crate::rows::Rows;
use muster_engine::catalog::{Definition, ViewId};
use muster_engine::control::Cancel;
use muster_engine::database::{AudienceSpec, Dependents, ViewSpec};
use muster_engine::eval::eval;
use muster_engine::predicate::{AudienceId, CompareOp, Dependency, Truth};
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableId, TableSpec};
use muster_engine::{Database, Predicate, Result, Value};
use roaring::RoaringBitmap;

const TYPES: [DataType; 4] = [DataType::Text, DataType::Integer, DataType::Boolean, DataType::TextArray];
const ROWS: i64 = 150;

#[derive(Clone)]
pub struct Column {
    pub id: ColumnId,
    pub name: String,
    pub data_type: DataType,
    pub values: Vec<Value>,
}

#[derive(Clone)]
pub struct Table {
    pub id: TableId,
    pub name: String,
    pub rows: usize,
    pub columns: Vec<Column>,
}

#[derive(Clone)]
pub struct View {
    pub id: ViewId,
    pub name: String,
    pub table: TableId,
    pub columns: Vec<ColumnId>,
    pub definition: Definition,
}

#[derive(Clone)]
pub struct Audience {
    pub id: AudienceId,
    pub name: String,
    pub table: TableId,
    /// The condition, or the members of a static audience.
    pub kind: std::result::Result<Definition, RoaringBitmap>,
}

/// Something with a name.
#[derive(Clone)]
pub enum Named {
    Table(Table),
    View(View),
    Audience(Audience),
}

/// What may be needed.
#[derive(Clone, PartialEq)]
enum Subject {
    Named(String),
    Column(TableId, ColumnId),
}

#[derive(Default)]
pub struct Model {
    all: Vec<Named>,
    names: usize,
}

impl Named {
    fn name(&self) -> &String {
        match self {
            Named::Table(table) => &table.name,
            Named::View(view) => &view.name,
            Named::Audience(audience) => &audience.name,
        }
    }

    fn name_mut(&mut self) -> &mut String {
        match self {
            Named::Table(table) => &mut table.name,
            Named::View(view) => &mut view.name,
            Named::Audience(audience) => &mut audience.name,
        }
    }
}

fn value(data_type: DataType, row: i64) -> Value {
    match (row * row + row) % 11 {
        0 | 1 => Value::Null,
        n => match data_type {
            DataType::Text => Value::Text(format!("t{}", n % 3)),
            DataType::Integer => Value::Integer(n),
            DataType::Boolean => Value::Boolean(n % 2 == 0),
            _ => Value::tags((0..n % 3).map(|tag| format!("t{tag}"))),
        },
    }
}

impl Model {
    pub fn names(&self, of: impl Fn(&Named) -> bool) -> Vec<String> {
        let mut names: Vec<String> =
            self.all.iter().filter(|named| of(named)).map(|named| named.name().clone()).collect();
        names.sort();
        names
    }

    pub fn tables(&self) -> Vec<&Table> {
        self.all
            .iter()
            .filter_map(|named| if let Named::Table(table) = named { Some(table) } else { None })
            .collect()
    }

    pub fn table(&self, id: TableId) -> &Table {
        self.tables().into_iter().find(|table| table.id == id).unwrap()
    }

    pub fn audiences(&self) -> Vec<&Audience> {
        self.all
            .iter()
            .filter_map(|named| if let Named::Audience(audience) = named { Some(audience) } else { None })
            .collect()
    }

    pub fn members(&self, audience: &Audience) -> RoaringBitmap {
        (0..self.table(audience.table).rows as u32).filter(|row| self.is_member(audience, *row)).collect()
    }

    fn is_member(&self, audience: &Audience, row: u32) -> bool {
        match &audience.kind {
            Ok(definition) => self.truth(audience.table, definition.predicate(), row) == Truth::True,
            Err(members) => members.contains(row),
        }
    }

    /// The truth of a predicate for a row: connectives and audiences here, the rest by the naive evaluator.
    fn truth(&self, table: TableId, predicate: &Predicate, row: u32) -> Truth {
        let each = |terms: &[Predicate]| -> Vec<Truth> {
            terms.iter().map(|term| self.truth(table, term, row)).collect()
        };
        let any = |truths: &[Truth], decides: Truth, otherwise: Truth| {
            if truths.contains(&decides) {
                decides
            } else if truths.contains(&Truth::Unknown) {
                Truth::Unknown
            } else {
                otherwise
            }
        };
        match predicate {
            Predicate::And(terms) => any(&each(terms), Truth::False, Truth::True),
            Predicate::Or(terms) => any(&each(terms), Truth::True, Truth::False),
            Predicate::Not(inner) => match self.truth(table, inner, row) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
            },
            Predicate::Audience(id) => {
                let audience = self.audiences().into_iter().find(|audience| audience.id == *id).unwrap();
                if self.is_member(audience, row) { Truth::True } else { Truth::False }
            }
            leaf => {
                let columns = &self.table(table).columns;
                let value_of = |id: ColumnId| {
                    columns.iter().find(|column| column.id == id).unwrap().values[row as usize].clone()
                };
                eval(leaf, 0, &value_of).unwrap()
            }
        }
    }

    fn predicate(&self, table: &Table, random: &mut Random, depth: usize) -> Predicate {
        let audiences: Vec<AudienceId> =
            self.audiences().iter().filter(|audience| audience.table == table.id).map(|a| a.id).collect();
        let inner = |random: &mut Random| self.predicate(table, random, depth + 1);
        match random.below(if depth > 3 { 3 } else { 7 }) {
            0 if !audiences.is_empty() => Predicate::Audience(*random.pick(&audiences).unwrap()),
            0..=2 => {
                let column = random.pick(&table.columns).unwrap();
                let op = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Ge][random.below(4)];
                match column.data_type {
                    _ if random.below(6) == 0 => Predicate::IsNull(column.id),
                    DataType::Boolean => Predicate::IsTrue(column.id),
                    DataType::TextArray => Predicate::has_tag(column.id, format!("t{}", random.below(3))),
                    DataType::Text => {
                        Predicate::compare(column.id, op, Value::Text(format!("t{}", random.below(3))))
                    }
                    _ if random.below(4) == 0 => {
                        Predicate::any_of(column.id, [Value::Integer(4), Value::Null])
                    }
                    _ => Predicate::compare(column.id, op, Value::Integer(random.below(11) as i64)),
                }
            }
            3 | 4 => Predicate::And(vec![inner(random), inner(random)]),
            5 => Predicate::Or(vec![inner(random), inner(random)]),
            _ => inner(random).not(),
        }
    }

    fn views(&self) -> Vec<&View> {
        self.all
            .iter()
            .filter_map(|named| if let Named::View(view) = named { Some(view) } else { None })
            .collect()
    }

    /// A condition, now and then over views of the table, as the language makes one of them.
    fn definition(&self, table: &Table, random: &mut Random) -> Definition {
        let (mut predicate, mut used) = (self.predicate(table, random, 0), Vec::new());
        let views: Vec<&View> = self.views().into_iter().filter(|view| view.table == table.id).collect();
        for _ in 0..random.below(3) {
            let Some(view) = random.pick(&views) else { break };
            predicate = view.definition.predicate().clone().and(predicate);
            used.push(view.id);
        }
        Definition::new(predicate, used).unwrap()
    }

    fn needs(&self, named: &Named, subject: &Subject) -> bool {
        let (table, definition, columns): (_, Option<&Definition>, &[ColumnId]) = match named {
            Named::Table(_) => return false,
            Named::View(view) => (view.table, Some(&view.definition), &view.columns),
            Named::Audience(audience) => (audience.table, audience.kind.as_ref().ok(), &[]),
        };
        let mut needed: Vec<Subject> = columns.iter().map(|column| Subject::Column(table, *column)).collect();
        needed.push(Subject::Named(self.table(table).name.clone()));
        if let Some(definition) = definition {
            for id in definition.views() {
                let view = self.views().into_iter().find(|view| view.id == *id).unwrap();
                needed.push(Subject::Named(view.name.clone()));
            }
            definition.predicate().for_each_dependency(&mut |dependency| {
                needed.push(match dependency {
                    Dependency::Column(column) => Subject::Column(table, column),
                    Dependency::ColumnOf(table, column) => Subject::Column(table, column),
                    Dependency::Audience(id) => {
                        let audience = self.audiences().into_iter().find(|a| a.id == id).unwrap();
                        Subject::Named(audience.name.clone())
                    }
                });
            });
        }
        needed.contains(subject)
    }

    /// What needs `subject`, directly or not.
    fn users(&self, subject: &Subject) -> Vec<String> {
        let mut users: Vec<String> = Vec::new();
        let mut subjects = vec![subject.clone()];
        while let Some(subject) = subjects.pop() {
            for named in &self.all {
                if self.needs(named, &subject) && !users.contains(named.name()) {
                    users.push(named.name().clone());
                    subjects.push(Subject::Named(named.name().clone()));
                }
            }
        }
        users
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// A random change of both; true where it was one, false where both refuse.
    pub fn step(&mut self, database: &Database, random: &mut Random) -> bool {
        let tables: Vec<Table> = self.tables().into_iter().cloned().collect();
        let Some(table) = random.pick(&tables).cloned() else { return self.create_table(database, random) };
        match random.below(16) {
            0 if tables.len() < 3 => self.create_table(database, random),
            0..=2 => self.add_column(database, random, &table),
            3 | 4 => self.drop_column(database, random, &table),
            5 => {
                let column = random.pick(&table.columns).unwrap().id;
                let name = self.fresh();
                database.rename_column(table.id, column, &name).unwrap();
                let mine = self.table_mut(table.id).columns.iter_mut().find(|c| c.id == column);
                mine.unwrap().name = name;
                true
            }
            6 => {
                let at = random.below(self.all.len());
                // A name that is taken, now and then.
                let taken = random.below(4) == 0;
                let name = if taken { table.name.clone() } else { self.fresh() };
                let relation = database.snapshot().named(self.all[at].name()).unwrap();
                agree(database.rename(relation, &name).map(drop), !taken);
                if !taken {
                    *self.all[at].name_mut() = name;
                }
                !taken
            }
            7..=10 => self.put_audience(database, random, &table),
            11 | 12 => self.create_view(database, random, &table),
            _ => self.drop(database, random),
        }
    }

    fn table_mut(&mut self, id: TableId) -> &mut Table {
        let found = self.all.iter_mut().find_map(|named| match named {
            Named::Table(table) if table.id == id => Some(table),
            _ => None,
        });
        found.unwrap()
    }

    fn create_table(&mut self, database: &Database, random: &mut Random) -> bool {
        let name = self.fresh();
        let rows = if random.below(4) == 0 { 0 } else { ROWS };
        let types = [&[DataType::BigInt], &TYPES[..1 + random.below(4)]].concat();
        let specs: Vec<ColumnSpec> = (types.iter().enumerate())
            .map(|(i, data_type)| ColumnSpec {
                name: format!("c{i}"),
                data_type: *data_type,
                nullable: i > 0,
            })
            .collect();
        let row_types = types.clone();
        let row = move |row: i64| -> Vec<Value> {
            let rest = row_types[1..].iter().enumerate().map(|(i, t)| value(*t, row + i as i64));
            std::iter::once(Value::Integer(row * 3)).chain(rest).collect()
        };
        let all: Vec<Vec<Value>> = (0..rows).map(&row).collect();
        let mut source = Rows::of(types.clone(), rows, row);
        let cancel = Cancel::default();
        if rows == 0 {
            database.create_table(&TableSpec::new(&name, &specs, Some(0))).unwrap();
        } else {
            database
                .create_and_import(&TableSpec::new(&name, &specs, Some(0)), &mut source, &cancel, &mut |_| {})
                .unwrap();
        }
        let schema = database.snapshot().table_named(&name).unwrap();
        let columns = schema.columns.iter().enumerate().map(|(i, column)| Column {
            id: column.id,
            name: column.name.clone(),
            data_type: column.data_type,
            values: all.iter().map(|row| row[i].clone()).collect(),
        });
        let table = Table { id: schema.id, name, rows: rows as usize, columns: columns.collect() };
        self.all.push(Named::Table(table));
        true
    }

    fn add_column(&mut self, database: &Database, random: &mut Random, table: &Table) -> bool {
        let (name, data_type) = (self.fresh(), TYPES[random.below(4)]);
        let nullable = random.below(4) > 0;
        let spec = ColumnSpec { name: name.clone(), data_type, nullable };
        let added = database.add_column(table.id, &spec, false);
        let allowed = nullable || table.rows == 0;
        assert_eq!(added.is_ok(), allowed, "{added:?}");
        if let Ok(id) = added {
            let values = vec![Value::Null; table.rows];
            self.table_mut(table.id).columns.push(Column { id, name, data_type, values });
        }
        allowed
    }

    fn drop_column(&mut self, database: &Database, random: &mut Random, table: &Table) -> bool {
        let at = random.below(table.columns.len());
        let column = table.columns[at].id;
        let users = self.users(&Subject::Column(table.id, column));
        let cascade = random.chance();
        let allowed = at > 0 && table.columns.len() > 1 && (cascade || users.is_empty());
        let dropped = database.drop_column(table.id, column, dependents(cascade));
        assert_eq!(dropped.is_ok(), allowed, "{dropped:?}, users {users:?}");
        if let Ok(gone) = dropped {
            assert_eq!(gone.len(), users.len(), "{gone:?} went, {users:?} depend");
            self.all.retain(|named| !users.contains(named.name()));
            self.table_mut(table.id).columns.retain(|other| other.id != column);
        }
        allowed
    }

    fn put_audience(&mut self, database: &Database, random: &mut Random, table: &Table) -> bool {
        let of_table: Vec<Audience> =
            self.audiences().into_iter().filter(|a| a.table == table.id).cloned().collect();
        let replaced = random.pick(&of_table).filter(|_| random.below(3) == 0).cloned();
        let name = replaced.as_ref().map_or_else(|| self.fresh(), |old| old.name.clone());
        let spec =
            AudienceSpec { name: name.clone(), table: table.id, source: "S".into(), created_micros: 1 };
        let kind = if random.below(3) == 0 {
            let members = (0..table.rows as u32).filter(|_| random.below(3) == 0).collect();
            Err(members)
        } else {
            Ok(self.definition(table, random))
        };
        // A cycle: the new definition needs the audience that it replaces.
        let cyclic = match (&kind, &replaced) {
            (Ok(definition), Some(old)) => {
                let users = self.users(&Subject::Named(old.name.clone()));
                let mut cyclic = false;
                definition.predicate().for_each_dependency(&mut |dependency| {
                    if let Dependency::Audience(id) = dependency {
                        let needed = self.audiences().into_iter().find(|a| a.id == id).unwrap();
                        cyclic |= id == old.id || users.contains(&needed.name);
                    }
                });
                cyclic
            }
            _ => false,
        };
        let put = match &kind {
            Ok(definition) => database.create_audience(spec, definition.clone(), replaced.is_some()),
            Err(members) => {
                database.create_static_audience(spec, members, replaced.is_some(), &Cancel::default())
            }
        };
        assert_eq!(put.is_ok(), !cyclic, "{put:?}");
        if let Err(error) = &put {
            assert!(error.to_string().contains("defined by itself"), "{error}");
            return false;
        }
        let audience = Audience { id: put.unwrap(), name, table: table.id, kind };
        self.all.retain(|named| !matches!(named, Named::Audience(old) if old.id == audience.id));
        self.all.push(Named::Audience(audience));
        true
    }

    fn create_view(&mut self, database: &Database, random: &mut Random, table: &Table) -> bool {
        let views: Vec<View> = self.views().into_iter().cloned().collect();
        let replaced = random.pick(&views).filter(|_| random.below(3) == 0).cloned();
        let taken = replaced.is_none() && random.below(5) == 0;
        let name = match &replaced {
            Some(old) => old.name.clone(),
            None if taken => table.name.clone(),
            None => self.fresh(),
        };
        let mut definition = self.definition(table, random);
        let mut columns: Vec<ColumnId> =
            table.columns.iter().filter(|_| random.chance()).map(|column| column.id).collect();
        let mut table = table.id;
        // Its like, now and then, which may replace a view under others.
        let like = replaced.as_ref().filter(|_| random.chance());
        if let Some(old) = like {
            (table, definition, columns) = (old.table, old.definition.clone(), old.columns.clone());
        }
        let spec = ViewSpec {
            name: name.clone(),
            table,
            columns: columns.iter().map(|column| (*column, format!("v{}", column.0))).collect(),
            definition: definition.clone(),
            source: "S".into(),
        };
        let is_used = !self.users(&Subject::Named(name.clone())).is_empty();
        let of_itself = replaced.as_ref().is_some_and(|old| definition.views().contains(&old.id));
        let free = match &replaced {
            Some(old) => {
                (old.table, &old.columns, &old.definition) == (table, &columns, &definition) || !is_used
            }
            None => !taken,
        };
        let allowed = free && !of_itself && !columns.is_empty();
        let created = database.create_view(spec, replaced.is_some() || taken);
        assert_eq!(created.is_ok(), allowed, "{created:?}");
        if let Ok(id) = created {
            self.all.retain(|named| replaced.is_none() || *named.name() != name);
            self.all.push(Named::View(View { id, name, table, columns, definition }));
        }
        allowed
    }

    fn drop(&mut self, database: &Database, random: &mut Random) -> bool {
        let name = random.pick(&self.all).unwrap().name().clone();
        let users = self.users(&Subject::Named(name.clone()));
        let cascade = random.chance();
        let relation = database.snapshot().named(&name).unwrap();
        let dropped = database.drop_relations(&[relation], dependents(cascade));
        let allowed = cascade || users.is_empty();
        assert_eq!(dropped.is_ok(), allowed, "{dropped:?}, users {users:?}");
        if let Ok(gone) = dropped {
            assert_eq!(gone.len(), users.len(), "{gone:?} went, {users:?} depend");
            self.all.retain(|named| *named.name() != name && !users.contains(named.name()));
        }
        allowed
    }
}

fn dependents(cascade: bool) -> Dependents {
    if cascade { Dependents::Drop } else { Dependents::Refuse }
}

fn agree(done: Result<()>, allowed: bool) {
    assert_eq!(done.is_ok(), allowed, "{done:?}");
}
