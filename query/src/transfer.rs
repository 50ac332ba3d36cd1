//! COPY executed: files into a table, and answers into files.

use crate::dialect::{self, keyword, span_of};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::outcome::Outcome;
use crate::select::{self, Plan};
use crate::session::Session;
use crate::statement::{CopyFormat, CopyFrom, CopyOptions, CopyTo, CopyWhat, Select, Statement};
use crate::{bind, parse};
use muster_engine::Snapshot;
use muster_engine::control::Progress;
use muster_engine::exec::{Count, Scope, evaluate};
use muster_engine::schema::TableSchema;
use muster_engine::transfer::export::{self, ExportOptions, Members};
use muster_engine::transfer::{Format, ReadOptions, Target, default_rejects, expand, open_source};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

impl Session {
    /// Refuses statements that read or write files from now on: for sessions of users who are not the machine's.
    pub fn forbid_files(&mut self) {
        self.files_forbidden = true;
    }

    /// An error where this session may not touch files.
    pub(crate) fn check_files(&self, span: Span) -> Result<()> {
        if self.files_forbidden {
            let message = "this session may not read or write files";
            return Err(Error::unsupported(span, message).advise("send or take the rows themselves"));
        }
        Ok(())
    }

    /// `COPY table FROM`
    pub(crate) fn copy_from(&mut self, copy: CopyFrom, snapshot: &Snapshot) -> Result<Outcome> {
        self.check_writable("COPY … FROM")?;
        let schema = bind::table(snapshot, &copy.table)?;
        let mut names = Vec::with_capacity(copy.columns.len());
        for name in &copy.columns {
            names.push(bind::column_named(&schema, name)?.name.clone());
        }
        copy.files.iter().try_for_each(|(_, span)| self.check_files(*span))?;
        let files = files_of(&copy)?;
        let rejects = rejects_of(&copy.options, &schema.name);
        let conflict = copy.options.conflict;
        let options = read_options(copy.options, names, rejects.clone());
        let targets = Target::of_table(&schema);
        let (delivered, mut source) = open_source(&files, &options, &targets)?;
        let columns: Vec<_> = delivered.into_iter().map(|target| schema.columns[target].id).collect();
        let mut unheard = |_: Progress| {};
        let progress: &mut dyn FnMut(Progress) = match &mut self.progress {
            Some(hear) => hear.as_mut(),
            None => &mut unheard,
        };
        let report =
            self.engine.import(schema.id, &columns, source.as_mut(), conflict, &self.cancel, progress)?;
        let mut message = format!("COPY {}", report.rows);
        if let (Some(rejects), Some(skipped @ 1..)) = (rejects, source.skipped()) {
            message += &format!(" ({skipped} skipped, see {})", rejects.display());
        }
        Ok(Outcome::Done { message })
    }

    /// `COPY … TO`
    pub(crate) fn copy_to(&mut self, copy: CopyTo, snapshot: &Snapshot) -> Result<Outcome> {
        self.check_files(copy.file_span)?;
        let file = PathBuf::from(&copy.file);
        let format = format_of(&copy)?;
        let (select, text) = self.selected(copy.what, snapshot)?;
        let ordered = !select.order_by.is_empty();
        let plan = select::plan(*select, &self.context(snapshot))?;
        let rows = match format {
            CopyFormat::Roaring if ordered => {
                let error = Error::unsupported(None, "a bitmap has no order");
                return Err(error.advise("leave out ORDER BY, or export the keys as CSV"));
            }
            CopyFormat::Roaring => self.write_members(plan, &text, &file, snapshot)?,
            CopyFormat::Csv => self.write_rows(plan, Format::Csv, &copy.options, &file, snapshot)?,
            CopyFormat::Jsonl => self.write_rows(plan, Format::Jsonl, &copy.options, &file, snapshot)?,
            CopyFormat::Parquet => self.write_rows(plan, Format::Parquet, &copy.options, &file, snapshot)?,
        };
        Ok(Outcome::Done { message: format!("COPY {rows}") })
    }

    /// The SELECT whose answer is written, and its text.
    fn selected(&self, what: CopyWhat, snapshot: &Snapshot) -> Result<(Box<Select>, String)> {
        let (table, columns) = match what {
            CopyWhat::Select { select, text, .. } => return Ok((select, text)),
            CopyWhat::Table { table, columns } => (table, columns),
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let mut items = Vec::with_capacity(columns.len());
        if !columns.is_empty() {
            let schema = bind::table(snapshot, &table)?;
            for column in &columns {
                items.push(quoted(&bind::column_named(&schema, column)?.name));
            }
        }
        let items = if items.is_empty() { "*".to_owned() } else { items.join(", ") };
        let text = format!("SELECT {items} FROM {}", quoted(&table.text));
        match parse::parse(&text, &[])? {
            Statement::Select(mut select) => {
                // An unknown name is shown where it stands in the statement.
                if let crate::statement::FromSource::Named(name) = &mut select.from.source {
                    name.span = table.span;
                }
                Ok((select, text))
            }
            _ => Err(Error::unsupported(table.span, "this is nothing to copy from")),
        }
    }

    fn write_rows(
        &mut self,
        plan: Plan,
        format: Format,
        options: &CopyOptions,
        file: &Path,
        snapshot: &Snapshot,
    ) -> Result<u64> {
        let options = export_options(options)?;
        let columns: Vec<_> =
            plan.columns().iter().map(|column| (column.name.clone(), column.data_type)).collect();
        let mut sink = export::create(file, format, &options, &columns)?;
        // Who hears of progress is told how much there is; a count costs next to nothing beside the rows.
        let total = match plan.set().filter(|_| self.progress.is_some()) {
            Some((table, predicate)) => {
                Some(evaluate(snapshot, table, predicate, &Scope::default(), &self.cancel, &Count)?.0)
            }
            None => None,
        };
        let (mut rows, mut told) = (0, Instant::now());
        let progress = &mut self.progress;
        plan.stream(snapshot, &self.cancel, &mut |some| {
            sink.write(&some)?;
            rows += some.len() as u64;
            if let Some(hear) = progress.as_mut().filter(|_| told.elapsed() > PROGRESS_EVERY) {
                told = Instant::now();
                let share = total.map_or(0.0, |total| rows as f64 / total.max(1) as f64);
                hear(Progress { rows, rows_total: total, share, phase: "rows" });
            }
            Ok(())
        })?;
        self.cancel.check()?;
        sink.finish()?;
        Ok(rows)
    }

    fn write_members(&mut self, plan: Plan, text: &str, file: &Path, snapshot: &Snapshot) -> Result<u64> {
        let Some((table, _)) = plan.set() else {
            return Err(Error::unsupported(None, "a bitmap holds all members of a condition")
                .advise("write SELECT id FROM members WHERE …, without aggregates, GROUP BY and LIMIT"));
        };
        let tables = snapshot.tables();
        let Some(table) = tables.iter().find(|schema| schema.id == table) else {
            return Err(Error::unsupported(None, "the table of this statement is not one of its own"));
        };
        let keys = keys_statement(text, table)?;
        let ordinals = plan.members(snapshot, &self.cancel)?;
        let rows = ordinals.len();
        self.cancel.check()?;
        let members = Members {
            ordinals,
            database_id: self.engine.id(),
            table,
            lsn: snapshot.lsn(),
            now_micros: snapshot.now_micros(),
            select: text,
            keys: keys.as_deref(),
        };
        export::write_members(file, members)?;
        Ok(rows)
    }
}

/// The statement with the table's key in place of its select list: the keys of the same members, in the order of their
/// ordinals. None for a table without a key, or a statement that needs parameters beside its text.
fn keys_statement(text: &str, table: &TableSchema) -> Result<Option<String>> {
    let Some(key) = table.key.and_then(|key| table.column(key)) else { return Ok(None) };
    let tokens = dialect::tokenize(text)?;
    if tokens.iter().any(|token| matches!(token.token, Token::Placeholder(_))) {
        return Ok(None);
    }
    let mut depth = 0;
    for token in &tokens {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if depth == 0 && keyword(&token.token) == Keyword::FROM => {
                let from = span_of(token.span).map(|span| &text[span.start..]);
                return Ok(from.map(|from| format!("SELECT \"{}\" {from}", key.name.replace('"', "\"\""))));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The files of a `COPY table FROM`, which are there.
pub(crate) fn files_of(copy: &CopyFrom) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for (file, span) in &copy.files {
        let refuse = |message: String| Error::query(QueryErrorKind::Value, *span, message);
        files.extend(expand(Path::new(file)).map_err(|error| refuse(error.to_string()))?);
        if let Some(Err(error)) = files.last().map(std::fs::metadata) {
            return Err(refuse(format!("cannot read {file}: {error}")));
        }
    }
    Ok(files)
}

/// Where the bad rows of a table's files go, if they are passed over.
pub(crate) fn rejects_of(options: &CopyOptions, table: &str) -> Option<PathBuf> {
    options.skips_bad_rows.then(|| match &options.rejects {
        Some(file) => PathBuf::from(file),
        None => default_rejects(table),
    })
}

/// The format that a `COPY … TO` writes.
pub(crate) fn format_of(copy: &CopyTo) -> Result<CopyFormat> {
    copy.options.format.or_else(|| format_of_path(Path::new(&copy.file))).ok_or_else(|| {
        let message = format!("the name of {} does not say its format", copy.file);
        Error::query(QueryErrorKind::Value, copy.file_span, message)
            .advise("end it in .csv, .jsonl, .parquet or .roaring, or state the FORMAT")
    })
}

pub(crate) fn export_options(options: &CopyOptions) -> Result<ExportOptions> {
    let defaults = ExportOptions::default();
    let Some(quote) = options.quote.unwrap_or(Some(defaults.quote)) else {
        return Err(Error::unsupported(None, "CSV is written with quotes").advise("leave out QUOTE ''"));
    };
    if options.nulls.len() > 1 {
        return Err(Error::unsupported(None, "NULL is written as one text").advise("state one NULL"));
    }
    Ok(ExportOptions {
        // As in PostgreSQL, a CSV file has a header only where the statement says so.
        header: options.header.unwrap_or(defaults.header),
        delimiter: options.delimiter.unwrap_or(defaults.delimiter),
        quote,
        escape: options.escape,
        null: options.nulls.first().cloned().unwrap_or(defaults.null),
    })
}

fn format_of_path(path: &Path) -> Option<CopyFormat> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("roaring")) {
        return Some(CopyFormat::Roaring);
    }
    Some(match Format::of_path(path)? {
        Format::Csv => CopyFormat::Csv,
        Format::Parquet => CopyFormat::Parquet,
        Format::Jsonl => CopyFormat::Jsonl,
    })
}

pub(crate) fn read_options(
    options: CopyOptions,
    columns: Vec<String>,
    rejects: Option<PathBuf>,
) -> ReadOptions {
    let defaults = ReadOptions::default();
    ReadOptions {
        format: options.format.and_then(|format| match format {
            CopyFormat::Csv => Some(Format::Csv),
            CopyFormat::Parquet => Some(Format::Parquet),
            CopyFormat::Jsonl => Some(Format::Jsonl),
            CopyFormat::Roaring => None,
        }),
        encoding: options.encoding.unwrap_or(defaults.encoding),
        // As in PostgreSQL, a CSV file has a header only where the statement says so.
        header: options.header.unwrap_or(false),
        delimiter: options.delimiter.unwrap_or(defaults.delimiter),
        quote: options.quote.unwrap_or(defaults.quote),
        escape: options.escape,
        nulls: if options.nulls.is_empty() { defaults.nulls } else { options.nulls },
        columns: (!columns.is_empty()).then_some(columns),
        rejects,
        ..ReadOptions::default()
    }
}
