//! Statements become exactly the mutations that they say, or are refused with what to write instead.

use super::*;
use crate::parameter::Param;
use crate::statement::Statement;
use crate::{Database, parse};
use muster_engine::expr::Function;
use muster_engine::predicate::CompareOp;
use muster_engine::schema::{ColumnId, DataType, TableId};

/// 2026-03-31 12:00 UTC.
const NOW_MICROS: i64 = 1_774_958_400_000_000;

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, age SMALLINT, spend DECIMAL(8,2), score DOUBLE PRECISION, \
                     active BOOLEAN, birth DATE, seen TIMESTAMP, joined TIMESTAMPTZ, tags TEXT[])";

const ID: ColumnId = ColumnId(1);
const NAME: ColumnId = ColumnId(2);
const AGE: ColumnId = ColumnId(3);
const SPEND: ColumnId = ColumnId(4);
const SCORE: ColumnId = ColumnId(5);
const ACTIVE: ColumnId = ColumnId(6);
const BIRTH: ColumnId = ColumnId(7);
const SEEN: ColumnId = ColumnId(8);
const JOINED: ColumnId = ColumnId(9);
const TAGS: ColumnId = ColumnId(10);

struct Fixture {
    session: Session,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let mut session = Database::open(directory.path()).unwrap().session();
        session.set_now(NOW_MICROS);
        for sql in [
            TABLE,
            "CREATE TABLE keyless (a INTEGER)",
            "CREATE VIEW v AS SELECT * FROM t WHERE active",
            "CREATE AUDIENCE a AS SELECT id FROM t WHERE active",
        ] {
            session.execute(sql).unwrap();
        }
        Fixture { session, _directory: directory }
    }

    fn bind_with(&self, sql: &str, parameters: &[Param]) -> Result<Mutation> {
        match parse::parse(sql, parameters)? {
            Statement::Change(change) => {
                let (snapshot, mut held) =
                    (self.session.snapshot().unwrap(), self.session.cancel.holder(HOLDS));
                mutation(*change, &self.session.context(&snapshot), &mut held)
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn bind(&self, sql: &str) -> Mutation {
        self.bind_with(sql, &[]).unwrap_or_else(|error| panic!("{}", error.render(sql)))
    }

    #[track_caller]
    fn insert(&self, sql: &str) -> Insert {
        match self.bind(sql) {
            Mutation::Insert(insert) => insert,
            other => panic!("{other:?}"),
        }
    }

    /// The value of one assignment.
    #[track_caller]
    fn assigned(&self, set: &str) -> Expr {
        match self.bind(&format!("UPDATE t SET {set}")) {
            Mutation::Update(Update { mut assignments, .. }) => assignments.pop().unwrap().value,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refuses(&self, sql: &str, message: &str) {
        let error = self.bind_with(sql, &[]).unwrap_err();
        assert!(error.to_string().contains(message), "{sql}\n{}", error.render(sql));
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn integer(integer: i64) -> Value {
    Value::Integer(integer)
}

fn tags(tags: &[&str]) -> Value {
    Value::tags(tags.iter().map(|tag| (*tag).to_owned()))
}

#[test]
fn values_are_those_of_their_columns() {
    let t = Fixture::new();
    let insert = t.insert(
        "INSERT INTO t VALUES (1, 'Aiko', 30 + 1, 1.005, 2, 'yes', '1995-02-28', '2026-01-01 10:00', now(), '{b,a,b}'), \
         ($1, DEFAULT, '7', '12.5', NULL, TRUE, now(), current_date, DATE '2026-01-01', ARRAY['x'] || 'w')"
            .replace("$1", "2")
            .as_str(),
    );
    assert_eq!(insert.columns, [ID, NAME, AGE, SPEND, SCORE, ACTIVE, BIRTH, SEEN, JOINED, TAGS]);
    let noon = NOW_MICROS;
    let midnight = noon - 43_200_000_000;
    let cents = |unscaled| Value::Decimal { unscaled, scale: 2 };
    assert_eq!(
        insert.rows,
        [
            vec![
                integer(1),
                text("Aiko"),
                integer(31),
                cents(101),
                Value::Double(2.0),
                Value::Boolean(true),
                Value::parse("1995-02-28", DataType::Date).unwrap(),
                Value::parse("2026-01-01 10:00:00", DataType::Timestamp).unwrap(),
                Value::TimestampTz(noon),
                tags(&["a", "b"]),
            ],
            vec![
                integer(2),
                Value::Null,
                integer(7),
                cents(1250),
                Value::Null,
                Value::Boolean(true),
                Value::parse("2026-03-31", DataType::Date).unwrap(),
                Value::Timestamp(midnight),
                Value::parse("2026-01-01 00:00:00+00", DataType::TimestampTz).unwrap(),
                tags(&["w", "x"]),
            ],
        ]
    );
    assert_eq!(insert.conflict, OnConflict::Refuse);
}

#[test]
fn columns_may_be_named_and_parameters_given() {
    let t = Fixture::new();
    let parameters = [Param::from(7), Param::from("Zoë"), Param::from(vec!["b".to_owned(), "a".to_owned()])];
    let sql = "INSERT INTO t AS m (tags, id, name) VALUES ($3, $1, $2) ON CONFLICT DO NOTHING";
    let Mutation::Insert(insert) = t.bind_with(sql, &parameters).unwrap() else { panic!() };
    assert_eq!(insert.columns, [TAGS, ID, NAME]);
    assert_eq!(insert.rows, [[tags(&["a", "b"]), integer(7), text("Zoë")]]);
    assert_eq!((insert.table, insert.conflict), (TableId(1), OnConflict::Nothing));
}

#[test]
fn a_conflict_sees_the_member_and_the_row() {
    let t = Fixture::new();
    let insert = t.insert(
        "INSERT INTO t (id, age, tags) VALUES (1, 2, '{a}') ON CONFLICT (id) DO UPDATE \
         SET name = EXCLUDED.name, score = t.score + excluded.score, tags = tags || EXCLUDED.tags, active = DEFAULT",
    );
    let set = |column, value| Assignment { column, value };
    let (column, excluded) = (Expr::Column, |column: ColumnId| Expr::Column(column.excluded()));
    assert_eq!(
        insert.conflict,
        OnConflict::Update(vec![
            set(NAME, excluded(NAME)),
            set(SCORE, Expr::call(Function::Add, [column(SCORE), excluded(SCORE)])),
            set(TAGS, Expr::call(Function::AddTags, [column(TAGS), excluded(TAGS)])),
            set(ACTIVE, Expr::value(Value::Null)),
        ])
    );
}

#[test]
fn updates_and_deletes_have_the_conditions_of_a_select() {
    let t = Fixture::new();
    let lives = Predicate::compare(NAME, CompareOp::Eq, text("Aiko"));
    assert_eq!(
        t.bind("UPDATE t AS m SET active = m.age > 17, name = 'x' WHERE m.name = 'Aiko'"),
        Mutation::Update(Update {
            table: TableId(1),
            predicate: lives.clone(),
            assignments: vec![
                Assignment {
                    column: ACTIVE,
                    value: Expr::call(
                        Function::Compare(CompareOp::Gt),
                        [Expr::Column(AGE), Expr::value(integer(17))]
                    ),
                },
                Assignment { column: NAME, value: Expr::value(text("x")) },
            ],
        })
    );
    let deleted = |predicate| Mutation::Delete(Delete { table: TableId(1), predicate });
    assert_eq!(t.bind("DELETE FROM t WHERE name = 'Aiko'"), deleted(lives));
    assert_eq!(t.bind("DELETE FROM t"), deleted(Predicate::everyone()));
}

#[test]
fn what_is_assigned_is_cast_as_postgresql_casts() {
    let t = Fixture::new();
    let cast = |to, expr| Expr::call(Function::Cast(to), [expr]);
    let sum = Expr::call(Function::Add, [Expr::Column(AGE), Expr::value(integer(1))]);
    assert_eq!(t.assigned("age = age + 1"), cast(DataType::SmallInt, sum));
    assert_eq!(t.assigned("age = NULL"), Expr::value(Value::Null));
    assert_eq!(t.assigned("name = age"), cast(DataType::Text, Expr::Column(AGE)));
    assert_eq!(t.assigned("seen = birth"), cast(DataType::Timestamp, Expr::Column(BIRTH)));
    assert_eq!(t.assigned("birth = '2000-01-01'"), Expr::value(Value::Date(10_957)));
    let spend = DataType::Decimal { precision: 8, scale: 2 };
    assert_eq!(t.assigned("spend = score"), cast(spend, Expr::Column(SCORE)));
    assert_eq!(t.assigned("spend = spend"), Expr::Column(SPEND));
    // A local time is the session's.
    let utc = Expr::call(Function::AtZone("UTC".into()), [Expr::Column(SEEN)]);
    assert_eq!(t.assigned("joined = seen"), cast(DataType::TimestampTz, utc));
}

#[test]
fn tags_are_added_and_removed_in_every_spelling() {
    let t = Fixture::new();
    let column = || Expr::Column(TAGS);
    let add = |a, b| Expr::call(Function::AddTags, [a, b]);
    let value = Expr::value;
    let cases = [
        ("tags || 'vip'", add(column(), value(text("vip")))),
        ("'vip' || tags", add(value(text("vip")), column())),
        ("tags || '{a,b}'", add(column(), value(tags(&["a", "b"])))),
        ("tags || ARRAY['b', 'a']", add(column(), value(tags(&["a", "b"])))),
        ("tags || name", add(column(), Expr::Column(NAME))),
        ("tags || NULL", add(column(), value(Value::Null))),
        ("array_append(tags, '{a')", add(column(), value(text("{a")))),
        ("array_prepend('a', tags)", add(value(text("a")), column())),
        ("array_cat(tags, '{a}')", add(column(), value(tags(&["a"])))),
        ("array_remove(tags, 'a')", Expr::call(Function::RemoveTag, [column(), value(text("a"))])),
        ("array_append(NULL, 'a')", add(value(Value::Null), value(text("a")))),
    ];
    for (written, expected) in cases {
        assert_eq!(t.assigned(&format!("tags = {written}")), expected, "{written}");
    }
}

#[test]
fn refusals_say_what_to_write() {
    let t = Fixture::new();
    let cases = [
        ("INSERT INTO t (id) VALUES (1, 2)", "the row has 2 values for 1 columns: the columns are id"),
        ("INSERT INTO t (id, id) VALUES (1, 2)", "column \"id\" is assigned twice"),
        ("INSERT INTO t (id, nme) VALUES (1, 2)", "did you mean \"name\"?"),
        ("INSERT INTO t (id) VALUES (name)", "a column cannot stand in VALUES"),
        ("INSERT INTO t (id) VALUES (count(*))", "the aggregate count cannot stand here"),
        ("INSERT INTO t (id, age) VALUES (1, 'old')", "\"old\" is not"),
        ("INSERT INTO t (id, age) VALUES (1, 'old')", "column \"age\" is SMALLINT"),
        ("INSERT INTO t (id, age) VALUES (1, 40000)", "out of range"),
        ("INSERT INTO t (id, age) VALUES (1, TRUE)", "\"age\" is SMALLINT and cannot be assigned a boolean"),
        ("INSERT INTO t (id, spend) VALUES (1, 1000000)", "column \"spend\" is DECIMAL(8,2)"),
        ("INSERT INTO t (id, tags) VALUES (1, 'vip')", "column \"tags\" is TEXT[]"),
        ("INSERT INTO t (id, age) VALUES (1, 1 / 0)", "division by zero"),
        ("INSERT INTO t DEFAULT VALUES", "expected VALUES or SELECT"),
        ("INSERT INTO t (id) VALUES (1) RETURNING id", "RETURNING is not supported"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (name) DO NOTHING", "write ON CONFLICT (\"id\")"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT DO UPDATE SET age = 1", "names the key"),
        (
            "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 1",
            "the key \"id\" cannot be changed",
        ),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET age = 1 WHERE age = 2", "a CASE can"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT k DO NOTHING", "ON CONSTRAINT is not"),
        ("INSERT INTO keyless VALUES (1) ON CONFLICT (a) DO NOTHING", "has no key"),
        (
            "INSERT INTO v (id) VALUES (1)",
            "\"v\" is a view, whose rows are its table's: change them in \"t\"",
        ),
        ("DELETE FROM a", "\"a\" is an audience"),
        ("UPDATE tt SET age = 1", "unknown table \"tt\""),
        ("UPDATE t SET id = 1", "the key \"id\" cannot be changed"),
        ("UPDATE t SET age = 1, age = 2", "assigned twice"),
        ("UPDATE t SET age = name", "cannot be assigned TEXT: CAST(value AS SMALLINT)"),
        ("UPDATE t SET tags = name", "ARRAY['a', 'b'], or tags || 'a'"),
        ("UPDATE t SET tags = tags || 1", "a tag is a text, not a number"),
        ("UPDATE t SET age = EXCLUDED.age", "unknown table \"excluded\""),
        ("UPDATE t SET (age, name) = (1, 'x')", "write SET a = …, b = …"),
        ("UPDATE t SET t.age = 1", "a column stands without its table"),
        ("UPDATE t SET age = 1 FROM keyless", "UPDATE … FROM is not supported"),
        ("DELETE FROM t USING keyless", "DELETE … USING is not supported"),
        ("TRUNCATE t", "DELETE FROM table removes every row"),
        ("EXPLAIN UPDATE t SET age = 1", "EXPLAIN UPDATE is not supported"),
        ("INSERT INTO t (id, birth) SELECT id, age FROM t", "cannot be assigned SMALLINT"),
        ("INSERT INTO t (id) SELECT id, age FROM t", "the SELECT has 2 values for 1 columns"),
    ];
    for (sql, message) in cases {
        t.refuses(sql, message);
    }
}

#[test]
fn a_hundred_thousand_rows_are_one_statement() {
    let t = Fixture::new();
    let rows: Vec<String> = (0..100_000).map(|i| format!("({i}, 'n{i}', {})", i % 100)).collect();
    let insert = t.insert(&format!("INSERT INTO t (id, name, age) VALUES {}", rows.join(", ")));
    assert_eq!(insert.rows.len(), 100_000);
    assert_eq!(insert.rows[99_999], [integer(99_999), text("n99999"), integer(99)]);
}
