//! One member's values, and changes of them.

use super::audience::ordinals;
use super::statement;
use super::{Call, Done, Refusal};
use muster_engine::exec::project;
use musterdb::{
    Assignment, Column, ColumnId, CompareOp, DataType, Delete, Expr, Function, Insert, Literal, Mutation,
    OnConflict, Predicate, TableSchema, Update, Value,
};
use std::sync::Arc;

/// Tags in a request: each is a step of an expression, and those are as deep as they are long.
const TAGS_MAX: usize = 1_000;

/// `GET table key [column ...]`
pub(super) fn get(call: &mut Call<'_>) -> Done {
    let snapshot = call.snapshot;
    let table = call.table(0)?;
    let [Some(ordinal)] = ordinals(snapshot, table.id, call.arguments.iter().skip(1).take(1))?[..] else {
        call.reply.null();
        return Ok(());
    };
    let columns = match call.arguments.len() {
        2 => table.columns.iter().collect(),
        words => (2..words).map(|at| column(&table, call.text(at)?)).collect::<Result<Vec<_>, _>>()?,
    };
    let ids: Vec<ColumnId> = columns.iter().map(|column| column.id).collect();
    let rows = project(snapshot, table.id, &[ordinal], &ids)?;
    call.reply.map(columns.len());
    for (column, value) in columns.iter().zip(rows.iter().flatten()) {
        call.reply.bulk(column.name.as_bytes());
        statement::value(call.reply, value);
    }
    Ok(())
}

/// `SET table key [column value ...]`
pub(super) fn set(call: &Call<'_>) -> Result<Mutation, Refusal> {
    let table = call.table(0)?;
    let key = key(&table)?;
    let (mut columns, mut row) = (vec![key.id], vec![parsed(key, call.text(1)?)?]);
    pairs(call, &table, 2, &mut columns, &mut row)?;
    let given = |column: &ColumnId| Assignment { column: *column, value: Expr::Column(column.excluded()) };
    let conflict = match &columns[1..] {
        [] => OnConflict::Nothing,
        given_columns => OnConflict::Update(given_columns.iter().map(given).collect()),
    };
    Ok(Mutation::Insert(Insert { table: table.id, columns, rows: vec![row], conflict }))
}

/// `EVENT table column value [column value ...]`
pub(super) fn event(call: &Call<'_>) -> Result<Mutation, Refusal> {
    let table = call.table(0)?;
    let (mut columns, mut row) = (Vec::new(), Vec::new());
    pairs(call, &table, 1, &mut columns, &mut row)?;
    let conflict = if table.key.is_some() { OnConflict::Nothing } else { OnConflict::Refuse };
    Ok(Mutation::Insert(Insert { table: table.id, columns, rows: vec![row], conflict }))
}

/// `DEL table key`
pub(super) fn del(call: &Call<'_>) -> Result<Mutation, Refusal> {
    let table = call.table(0)?;
    Ok(Mutation::Delete(Delete { table: table.id, predicate: is_member(&table, call.text(1)?)? }))
}

/// `TAG table key tag [tag ...]`
pub(super) fn tag(call: &Call<'_>) -> Result<Mutation, Refusal> {
    tags(call, |column, tags| {
        let tags = Expr::Literal(Literal::Value(Value::tags(tags)));
        Expr::call(Function::AddTags, [column, tags])
    })
}

/// `UNTAG table key tag [tag ...]`
pub(super) fn untag(call: &Call<'_>) -> Result<Mutation, Refusal> {
    tags(call, |column, tags| {
        tags.into_iter().fold(column, |tags, tag| {
            Expr::call(Function::RemoveTag, [tags, Expr::Literal(Literal::Value(Value::Text(tag)))])
        })
    })
}

fn tags(call: &Call<'_>, change: impl Fn(Expr, Vec<String>) -> Expr) -> Result<Mutation, Refusal> {
    let (snapshot, name) = (call.snapshot, call.text(0)?);
    // `table.column` where a table has several columns of tags.
    let (table, column) = match (snapshot.table_named(name), name.rsplit_once('.')) {
        (None, Some((table, column_name))) if let Some(table) = snapshot.table_named(table) => {
            let found = column(&table, column_name)?.clone();
            (table, found)
        }
        _ => {
            let table = call.table(0)?;
            let mut tags = table.columns.iter().filter(|column| column.data_type == DataType::TextArray);
            let column = match (tags.next(), tags.next()) {
                (Some(column), None) => column.clone(),
                (None, _) => {
                    return Err(Refusal::new(format!("table \"{name}\" has no column of tags (TEXT[])")));
                }
                (Some(one), Some(_)) => {
                    let advice = format!("name one, as in {name}.{}", one.name);
                    return Err(Refusal::new(format!(
                        "table \"{name}\" has several columns of tags: {advice}"
                    )));
                }
            };
            (table, column)
        }
    };
    if call.arguments.len() - 2 > TAGS_MAX {
        return Err(Refusal::new(format!(
            "at most {TAGS_MAX} tags at once; send the others in another request"
        )));
    }
    let given = (2..call.arguments.len()).map(|at| call.text(at).map(str::to_owned));
    let value = change(Expr::Column(column.id), given.collect::<Result<Vec<_>, _>>()?);
    let assignments = vec![Assignment { column: column.id, value }];
    Ok(Mutation::Update(Update {
        table: table.id,
        predicate: is_member(&table, call.text(1)?)?,
        assignments,
    }))
}

/// Reads `column value` from an argument on.
fn pairs(
    call: &Call<'_>,
    table: &Arc<TableSchema>,
    first: usize,
    columns: &mut Vec<ColumnId>,
    row: &mut Vec<Value>,
) -> Result<(), Refusal> {
    if !(call.arguments.len() - first).is_multiple_of(2) {
        return Err(Refusal::new("columns and values come in pairs: the last column has no value"));
    }
    for at in (first..call.arguments.len()).step_by(2) {
        let column = column(table, call.text(at)?)?;
        if columns.contains(&column.id) {
            return Err(Refusal::new(format!("column \"{}\" is given twice", column.name)));
        }
        columns.push(column.id);
        row.push(parsed(column, call.text(at + 1)?)?);
    }
    Ok(())
}

fn column<'t>(table: &'t TableSchema, name: &str) -> Result<&'t Column, Refusal> {
    table.column_named(name).ok_or_else(|| {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).take(20).collect();
        let advice = format!("it has {}", names.join(", "));
        Refusal::new(format!("table \"{}\" has no column \"{name}\": {advice}", table.name))
    })
}

fn key(table: &TableSchema) -> Result<&Column, Refusal> {
    let key = table.key.and_then(|key| table.column(key));
    key.ok_or_else(|| {
        let advice = "EVENT adds rows to it, and SQL changes them";
        Refusal::new(format!("table \"{}\" has no key: {advice}", table.name))
    })
}

fn is_member(table: &TableSchema, text: &str) -> Result<Predicate, Refusal> {
    let key = key(table)?;
    Ok(Predicate::compare(key.id, CompareOp::Eq, parsed(key, text)?))
}

fn parsed(column: &Column, text: &str) -> Result<Value, Refusal> {
    Value::parse(text, column.data_type)
        .map_err(|error| Refusal::new(format!("column \"{}\": {error}", column.name)))
}
