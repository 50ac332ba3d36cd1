//! Names and types of what is defined: what they may be, and that nothing has them yet.

use super::columns::take_column_id;
use crate::catalog::Catalog;
use crate::schema::{
    Column, ColumnId, ColumnSpec, DECIMAL_PRECISION_MAX, DataType, NAME_BYTES_MAX, Owner, Summary,
    SummaryKind, TableId, TableLinks, TableSchema, TableSpec,
};
use crate::{Error, Result};
use std::collections::HashSet;

fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

/// A name that a table, view, audience or column may have.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return invalid(format!("a name has 1 to {NAME_BYTES_MAX} bytes, \"{name}\" has {}", name.len()));
    }
    Ok(())
}

/// A name that no table, view or audience has.
pub(super) fn check_free(catalog: &Catalog, name: &str) -> Result<()> {
    check_name(name)?;
    match catalog.named(name) {
        Some(relation) => invalid(format!("{} already exists", catalog.describe(relation))),
        None => Ok(()),
    }
}

/// A column as it may be declared.
pub(super) fn check_column(column: &ColumnSpec, is_key: bool) -> Result<()> {
    check_name(&column.name)?;
    if let DataType::Decimal { precision, scale } = column.data_type
        && (precision == 0 || precision > DECIMAL_PRECISION_MAX || scale > precision)
    {
        return invalid(format!(
            "column \"{}\": DECIMAL({precision},{scale}) is not supported; precision is 1 to {DECIMAL_PRECISION_MAX} \
             and scale 0 to the precision",
            column.name
        ));
    }
    if is_key && !matches!(column.data_type, DataType::BigInt | DataType::Text) {
        return invalid(format!(
            "column \"{}\" cannot be the key: a key is BIGINT or TEXT, not {}",
            column.name, column.data_type
        ));
    }
    Ok(())
}

/// Checks names and types and gives out ids.
pub(super) fn new_schema(catalog: &mut Catalog, table: &TableSpec<'_>) -> Result<TableSchema> {
    let TableSpec { name, columns, key, ref links } = *table;
    check_free(catalog, name)?;
    if columns.is_empty() {
        return invalid(format!("table \"{name}\" needs at least one column"));
    }
    for (index, column) in columns.iter().enumerate() {
        check_column(column, key == Some(index))?;
    }
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|c| !seen.insert(&c.name)) {
        return invalid(format!("column \"{}\" is declared twice", twice.name));
    }
    let columns: Vec<Column> = (columns.iter().enumerate())
        .map(|(index, spec)| Column {
            id: ColumnId(ColumnId::FIRST.0 + index as u32),
            name: spec.name.clone(),
            data_type: spec.data_type,
            nullable: spec.nullable && key != Some(index),
        })
        .collect();
    let id = catalog.next_table;
    catalog.next_table = TableId(id.0 + 1);
    let next_column = ColumnId(ColumnId::FIRST.0 + columns.len() as u32);
    let key = key.and_then(|key| columns.get(key)).map(|column| column.id);
    let mut schema = TableSchema {
        id,
        name: name.into(),
        columns,
        key,
        ordinal_epoch: 1,
        next_column,
        references: Vec::new(),
        owner: None,
        summaries: Vec::new(),
    };
    link(catalog, &mut schema, links)?;
    Ok(schema)
}

/// Checks what a table refers to, and notes it in the schema.
fn link(catalog: &Catalog, schema: &mut TableSchema, links: &TableLinks) -> Result<()> {
    let column_at = |schema: &TableSchema, at: usize| match schema.columns.get(at) {
        Some(column) => Ok(column.clone()),
        None => Err(Error::Invalid(format!("table \"{}\" has no column {at}", schema.name))),
    };
    for (at, table) in &links.references {
        let column = column_at(schema, *at)?;
        let other = &catalog.table(*table)?.schema;
        let Some(key) = other.key.and_then(|key| other.column(key)) else {
            return invalid(format!(
                "column \"{}\" cannot refer to \"{}\", which has no PRIMARY KEY",
                column.name, other.name
            ));
        };
        let both_integers = key.data_type.is_integer() && column.data_type.is_integer();
        if !both_integers && key.data_type != column.data_type {
            return invalid(format!(
                "column \"{}\" is {} and the key of \"{}\" is {}: no key would ever be equal",
                column.name, column.data_type, other.name, key.data_type
            ));
        }
        schema.references.push((column.id, *table));
    }
    let Some((at, time)) = links.owner else {
        let name = &schema.name;
        return match () {
            () if !links.sums.is_empty() => {
                invalid(format!("sums are kept for each owner, and the rows of \"{name}\" have none"))
            }
            () if links.cluster.is_some() => invalid(format!(
                "rows are clustered within those of their owners, and the rows of \"{name}\" have none"
            )),
            () => Ok(()),
        };
    };
    let column = column_at(schema, at)?;
    let time = time.map(|time| column_at(schema, time)).transpose()?;
    let Some((_, table)) = schema.references.iter().find(|(referring, _)| *referring == column.id).copied()
    else {
        return invalid(format!(
            "column \"{}\" refers to no table, so it cannot say whose a row is; write REFERENCES members(id) after it",
            column.name
        ));
    };
    if let Some(time) = time.as_ref().filter(|time| !time.data_type.is_time()) {
        return invalid(format!(
            "column \"{}\" is {}, and no time: rows happen at a DATE, TIMESTAMP or TIMESTAMPTZ",
            time.name, time.data_type
        ));
    }
    let cluster = links.cluster.map(|at| column_at(schema, at)).transpose()?;
    if let Some(cluster) = &cluster {
        check_cluster(cluster, column.id, time.as_ref().map(|time| time.id))?;
    }
    let ordinals = take_column_id(schema);
    schema.owner = Some(Owner {
        column: column.id,
        table,
        time: time.as_ref().map(|time| time.id),
        ordinals,
        known: 0,
        cluster: cluster.map(|cluster| cluster.id),
    });
    let mut kinds = vec![SummaryKind::Count];
    if time.is_some() {
        kinds.extend([SummaryKind::First, SummaryKind::Last]);
    }
    for at in &links.sums {
        let column = column_at(schema, *at)?;
        if !column.data_type.is_number() || column.data_type == DataType::Double {
            return invalid(format!(
                "column \"{}\" is {}: sums are kept of whole numbers and DECIMALs, which add up exactly",
                column.name, column.data_type
            ));
        }
        kinds.push(SummaryKind::Sum(column.id));
    }
    for kind in kinds {
        let column = take_column_id(schema);
        schema.summaries.push(Summary { column, kind });
    }
    Ok(())
}

/// Checks the column by whose values rows are clustered.
fn check_cluster(cluster: &Column, owner: ColumnId, time: Option<ColumnId>) -> Result<()> {
    let what = if cluster.id == owner { Some("owner") } else { None };
    let what = what.or_else(|| time.filter(|time| *time == cluster.id).map(|_| "time"));
    if let Some(what) = what {
        return invalid(format!(
            "column \"{}\" is the {what} of the rows, by which they are clustered in any case",
            cluster.name
        ));
    }
    if !cluster.data_type.is_clusterable() {
        return invalid(format!(
            "column \"{}\" is {}: rows are clustered by a column of few values that is TEXT or of whole numbers",
            cluster.name, cluster.data_type
        ));
    }
    Ok(())
}
