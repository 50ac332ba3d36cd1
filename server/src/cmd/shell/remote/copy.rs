//! COPY with the files of this machine and the table of a server.
//!
//! TO writes the rows as they come. FROM reads the files as an import does, and sends their rows as INSERTs of one transaction: all of
//! them are there in the end, or none.

use super::{Remote, answer, failed};
use muster_engine::batch::{Batch, ColumnValues};
use muster_engine::code;
use muster_engine::database::Conflict;
use muster_engine::schema::ColumnSpec;
use muster_engine::transfer::export::{self, ExportOptions};
use muster_engine::transfer::{Format, ReadOptions, Target, open_source};
use musterdb::{
    ClientCopy, ClientFiles, DataType, Error, Outcome, Param, QueryErrorKind, Result, TransactionState, Value,
};
use std::path::{Path, PathBuf};

/// Bytes of an INSERT's rows, about. A row more may stand in it.
const INSERT_BYTES: usize = 1 << 20;
/// Rows of an INSERT.
const INSERT_ROWS: usize = 10_000;

impl Remote {
    pub(super) fn copy(&mut self, copy: &ClientCopy, parameters: &[Param]) -> Result<Outcome> {
        let rows = match &copy.files {
            ClientFiles::To { file, format, options } => {
                self.copy_to(copy, (file, *format, options), parameters)?
            }
            ClientFiles::From { files, options, conflict } => {
                return self.copy_from(copy, files, options, *conflict);
            }
        };
        Ok(Outcome::Done { message: format!("COPY {rows}") })
    }

    fn copy_to(
        &mut self,
        copy: &ClientCopy,
        (file, format, options): (&Path, Format, &ExportOptions),
        parameters: &[Param],
    ) -> Result<u64> {
        let (mut sink, mut rows) = (None, 0);
        let asked = self.asked(&copy.select, parameters, &mut |columns, some| {
            let sink = match &mut sink {
                Some(sink) => sink,
                none => {
                    let columns: Vec<_> =
                        columns.iter().map(|column| (column.name.clone(), column.data_type)).collect();
                    none.insert(export::create(file, format, options, &columns)?)
                }
            };
            sink.write(some)?;
            rows += some.len() as u64;
            some.clear();
            Ok(())
        });
        asked.map_err(|error| copy.of_select(error))?;
        match sink {
            Some(sink) => sink.finish()?,
            None => return Err(failed("the server answered no rows to write")),
        }
        Ok(rows)
    }

    fn copy_from(
        &mut self,
        copy: &ClientCopy,
        files: &[PathBuf],
        options: &ReadOptions,
        conflict: Conflict,
    ) -> Result<Outcome> {
        if self.transaction != TransactionState::None {
            return Err(Error::Query {
                kind: QueryErrorKind::Transaction,
                message: "COPY … FROM cannot be part of a transaction".to_owned(),
                span: None,
                suggestion: Some("write it before BEGIN or after COMMIT".to_owned()),
            });
        }
        self.ask(&copy.select, &[]).map_err(|error| copy.of_select(error))?;
        let (columns, key) = self.described(&copy.table)?;
        let (delivered, mut source) = open_source(files, options, &Target::of_specs(&columns, key))?;
        let types: Vec<DataType> = delivered.iter().map(|at| columns[*at].data_type).collect();
        let names: Vec<String> = delivered.iter().map(|at| quoted(&columns[*at].name)).collect();
        let insert = format!("INSERT INTO {} ({}) VALUES ", quoted(&copy.table), names.join(", "));
        let conflict = match (conflict, key) {
            (Conflict::Update, Some(key)) => {
                let updated = delivered.iter().filter(|at| **at != key).map(|at| {
                    let name = quoted(&columns[*at].name);
                    format!("{name} = EXCLUDED.{name}")
                });
                match updated.collect::<Vec<_>>() {
                    none if none.is_empty() => " ON CONFLICT DO NOTHING".to_owned(),
                    updated => {
                        format!(
                            " ON CONFLICT ({}) DO UPDATE SET {}",
                            quoted(&columns[key].name),
                            updated.join(", ")
                        )
                    }
                }
            }
            (Conflict::Nothing, Some(_)) => " ON CONFLICT DO NOTHING".to_owned(),
            _ => String::new(),
        };
        self.ask("BEGIN", &[])?;
        let mut sent = 0;
        let mut send = |remote: &mut Remote, rows: &mut Vec<String>| -> Result<()> {
            if !rows.is_empty() {
                let inserted = remote.ask(&format!("{insert}{}{conflict}", rows.join(",")), &[])?;
                sent += inserted.rows_changed().unwrap_or_default();
                rows.clear();
            }
            Ok(())
        };
        let all = (|| {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while let Some(batch) = source.next()? {
                for row in 0..batch.rows {
                    rows.push(literals(&batch, &types, row));
                    bytes += rows.last().map_or(0, String::len);
                    if bytes >= INSERT_BYTES || rows.len() == INSERT_ROWS {
                        send(self, &mut rows)?;
                        bytes = 0;
                    }
                }
            }
            send(self, &mut rows)?;
            self.ask("COMMIT", &[])
        })();
        if let Err(error) = all {
            // What has failed is rolled back, unless that went with the connection.
            if self.connection.is_some() && self.transaction != TransactionState::None {
                self.ask("ROLLBACK", &[])?;
            }
            // The transaction was this COPY's, and nobody is to end it.
            self.lost_transaction = false;
            return Err(error);
        }
        let mut message = format!("COPY {sent}");
        if let (Some(rejects), Some(skipped @ 1..)) = (&options.rejects, source.skipped()) {
            message += &format!(" ({skipped} skipped, see {})", rejects.display());
        }
        Ok(Outcome::Done { message })
    }

    /// The columns of a table, and which one is the key.
    fn described(&mut self, table: &str) -> Result<(Vec<ColumnSpec>, Option<usize>)> {
        let outcome = self.ask(&format!("DESCRIBE {}", quoted(table)), &[])?;
        let (mut columns, mut key) = (Vec::new(), None);
        for (at, row) in outcome.rows().enumerate() {
            let read = |name: &str| row.get_named::<String>(name).map_err(|error| failed(error.to_string()));
            let is = |name: &str| row.get_named::<bool>(name).unwrap_or_default();
            let data_type = answer::data_type(&read("type")?).ok_or_else(|| {
                failed(format!("\"{table}\" has a column of a type that is not known here"))
            })?;
            columns.push(ColumnSpec { name: read("column")?, data_type, nullable: is("nullable") });
            key = key.or(is("key").then_some(at));
        }
        Ok((columns, key))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A row of a batch as `('1',NULL,'{a,b}')`: texts that take the types of their columns.
fn literals(batch: &Batch, types: &[DataType], row: usize) -> String {
    let mut text = String::from("(");
    for (column, data_type) in batch.columns.iter().zip(types) {
        text.push_str(if text.len() > 1 { "," } else { "" });
        if column.nulls.as_ref().is_some_and(|nulls| nulls[row]) {
            text.push_str("NULL");
            continue;
        }
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = match &column.values {
            ColumnValues::Boolean(values) => Value::Boolean(values[row]),
            ColumnValues::Code(codes) => code::decode(*data_type, codes[row]),
            ColumnValues::Text(texts) => Value::Text(string(texts.get(row))),
            ColumnValues::TextDictionary { codes, dictionary } => {
                Value::Text(string(dictionary.get(codes[row] as usize)))
            }
            ColumnValues::Tags { ends, tags, dictionary } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                let tags = &tags[start..ends[row] as usize];
                Value::tags(tags.iter().map(|tag| string(dictionary.get(*tag as usize))))
            }
        };
        text.push('\'');
        text.push_str(&value.to_string().replace('\'', "''"));
        text.push('\'');
    }
    text.push(')');
    text
}
