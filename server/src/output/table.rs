//! Rows for people: a table, or a column per line where a table would be too wide.
//!
//! Numbers stand right, everything else left. Away from a terminal nothing is cut. On one, long texts are cut as far as
//! the table needs to fit, numbers and times never; [`Shape`] tells the caller, who tells the reader.

use super::text::{cut, padding, visible, width};
use super::{Expanded, Shape, Style, shown};
use musterdb::{DataType, OutcomeColumn, Value};
use std::borrow::Cow;
use std::io::{self, Write};

/// The fewest cells that a text is cut to.
const TEXT_CELLS_MIN: usize = 8;
/// The fewest cells that the name of a column is cut to.
const NAME_CELLS_MIN: usize = 4;
/// How far the line above a record goes where nobody says how wide the terminal is.
const RULE_CELLS_MAX: usize = 80;

const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// Writes the rows as the style wants them.
pub(super) fn write(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
    style: &Style,
) -> io::Result<Shape> {
    if columns.is_empty() {
        writeln!(out, "(no columns)")?;
        return Ok(Shape::Whole);
    }
    if style.expanded == Expanded::On {
        write_records(out, columns, rows, style)?;
        return Ok(Shape::Whole);
    }
    let natural = widths(columns, rows, style);
    let cells: Vec<usize> = natural.iter().map(|column| column.natural).collect();
    let (cells, shape) = match style.width {
        Some(room) if table_width(&cells) > room => match fitted(&natural, room) {
            Some(fitted) => (fitted, Shape::Cut),
            None if style.expanded == Expanded::Auto && !rows.is_empty() => {
                write_records(out, columns, rows, style)?;
                return Ok(Shape::Expanded);
            }
            None => (cells, Shape::Whole),
        },
        _ => (cells, Shape::Whole),
    };
    write_table(out, columns, rows, style, &cells)?;
    Ok(shape)
}

/// What a column would take, and the least it can be cut to.
struct Width {
    natural: usize,
    least: usize,
}

fn widths(columns: &[OutcomeColumn], rows: &[Vec<Value>], style: &Style) -> Vec<Width> {
    let of_column = |(c, column): (usize, &OutcomeColumn)| {
        let name = width(&visible(&column.name));
        let values = rows.iter().map(|row| width(&cell(&row[c], style))).max().unwrap_or(0);
        let least = match column.data_type {
            DataType::Text | DataType::TextArray => name.max(values).min(TEXT_CELLS_MIN),
            _ => values.max(name.min(NAME_CELLS_MIN)),
        };
        Width { natural: name.max(values), least }
    };
    columns.iter().enumerate().map(of_column).collect()
}

/// The cells of a whole line: each column has a space on both sides and a line before it, the last one one after it.
fn table_width(cells: &[usize]) -> usize {
    cells.iter().sum::<usize>() + 3 * cells.len() + 1
}

/// The widths that fit in `room`: the widest columns give way first. `None` where even the least ones do not fit.
fn fitted(columns: &[Width], room: usize) -> Option<Vec<usize>> {
    let least: Vec<usize> = columns.iter().map(|column| column.least).collect();
    if table_width(&least) > room {
        return None;
    }
    let mut cells: Vec<usize> =
        columns.iter().map(|column| column.natural.min(room).max(column.least)).collect();
    while table_width(&cells) > room {
        let widest = (0..cells.len()).filter(|c| cells[*c] > least[*c]).max_by_key(|c| cells[*c])?;
        cells[widest] -= 1;
    }
    Some(cells)
}

fn write_table(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
    style: &Style,
    cells: &[usize],
) -> io::Result<()> {
    let rule = |out: &mut dyn Write, left: &str, line: &str, between: &str, right: &str| {
        let lines: Vec<String> = cells.iter().map(|cells| line.repeat(cells + 2)).collect();
        writeln!(out, "{left}{}{right}", lines.join(between))
    };
    rule(out, "┌", "─", "┬", "┐")?;
    for (c, column) in columns.iter().enumerate() {
        let name = visible(&column.name);
        let name = cut(&name, cells[c]);
        let opening = if c == 0 { "│" } else { "┆" };
        write!(out, "{opening} {name}{} ", padding(&name, cells[c]))?;
    }
    writeln!(out, "│")?;
    rule(out, "╞", "═", "╪", "╡")?;
    for row in rows {
        for (c, value) in row.iter().enumerate() {
            let text = cell(value, style);
            let text = cut(&text, cells[c]);
            let space = padding(&text, cells[c]);
            let text = dimmed(text, value, style);
            let opening = if c == 0 { "│" } else { "┆" };
            if columns[c].data_type.is_number() {
                write!(out, "{opening} {space}{text} ")?;
            } else {
                write!(out, "{opening} {text}{space} ")?;
            }
        }
        writeln!(out, "│")?;
    }
    rule(out, "└", "─", "┴", "┘")
}

/// A record per row, a line per column; nothing is cut.
fn write_records(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
    style: &Style,
) -> io::Result<()> {
    let names: Vec<Cow<'_, str>> = columns.iter().map(|column| visible(&column.name)).collect();
    let names_width = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let values = rows.iter().flatten().map(|value| width(&cell(value, style))).max().unwrap_or(0);
    let rule = (names_width + 3 + values).min(style.width.unwrap_or(RULE_CELLS_MAX));
    for (r, row) in rows.iter().enumerate() {
        let title = format!("─[ {} ]", r + 1);
        writeln!(out, "{title}{}", "─".repeat(rule.saturating_sub(width(&title))))?;
        for (name, value) in names.iter().zip(row) {
            let text = dimmed(cell(value, style), value, style);
            writeln!(out, "{name}{} │ {text}", padding(name, names_width))?;
        }
    }
    Ok(())
}

fn cell<'a>(value: &'a Value, style: &'a Style) -> Cow<'a, str> {
    match value {
        Value::Null => visible(style.null.as_deref().unwrap_or("NULL")),
        Value::Text(text) => visible(text),
        other => Cow::Owned(shown(other)),
    }
}

fn dimmed<'a>(text: Cow<'a, str>, value: &Value, style: &Style) -> Cow<'a, str> {
    if style.colour && *value == Value::Null { Cow::Owned(format!("{DIM}{text}{PLAIN}")) } else { text }
}
