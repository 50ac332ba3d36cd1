//! Names and types of what is defined: what they may be, and that nothing has them yet.

use crate::catalog::Catalog;
use crate::schema::{
    Column, ColumnId, ColumnSpec, DECIMAL_PRECISION_MAX, DataType, NAME_BYTES_MAX, TableId, TableSchema,
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
pub(super) fn new_schema(
    catalog: &mut Catalog,
    name: &str,
    columns: &[ColumnSpec],
    key: Option<usize>,
) -> Result<TableSchema> {
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
    Ok(TableSchema { id, name: name.into(), columns, key, ordinal_epoch: 1, next_column })
}
