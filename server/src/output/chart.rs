//! Bars for an answer of groups: labels at the left, a bar of eighths of a cell, the value at the right.
//!
//! The value is the column asked for, or `count`, or the first number that is not itself the label. Bars begin at zero;
//! where values are negative, zero moves to the right and they grow to the left. Labels stand before: all columns that
//! hold no numbers, or the first one where all do. Of several labels, one that repeats the line above is left out.

use super::text::{cut, padding, visible, width};
use super::{Style, shown};
use musterdb::{FromValue, OutcomeColumn, Value};
use std::io::{self, Write};

/// The cells of a chart where nobody says how wide the terminal is.
const CELLS_DEFAULT: usize = 80;
/// Wider bars are no clearer.
const CELLS_MAX: usize = 120;
/// The fewest cells of a bar.
const BAR_CELLS_MIN: usize = 10;
/// The most cells of one label.
const LABEL_CELLS_MAX: usize = 32;

/// The parts of a cell, from one eighth to seven.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const FULL: char = '█';

/// Which columns a chart shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    labels: Vec<usize>,
    value: usize,
}

/// Chooses the columns of a chart; the error says why there is none, as a sentence without a full stop.
pub(crate) fn choose(columns: &[OutcomeColumn], value: Option<&str>) -> Result<Choice, String> {
    let numbers: Vec<usize> = (0..columns.len()).filter(|c| columns[*c].data_type.is_number()).collect();
    let others: Vec<usize> = (0..columns.len()).filter(|c| !numbers.contains(c)).collect();
    let value = match value {
        Some(name) => {
            let found = columns.iter().position(|column| column.name == name);
            match found {
                Some(c) if numbers.contains(&c) => c,
                Some(_) => return Err(format!("the column {name} holds no numbers")),
                None => return Err(format!("the answer has no column {name}")),
            }
        }
        None => {
            let label = usize::from(others.is_empty() && columns.len() > 1);
            let named = |c: &&usize| columns[**c].name == "count";
            let after = || numbers.iter().find(|c| **c >= label);
            let none = "a chart needs a column of numbers, as in SELECT city, count(*) … GROUP BY city";
            *numbers.iter().find(named).or_else(after).ok_or(none)?
        }
    };
    let labels = match others.is_empty() {
        false => others,
        true => numbers.into_iter().filter(|c| *c != value).take(1).collect(),
    };
    Ok(Choice { labels, value })
}

/// Writes the chart. Errors: what the writer says.
pub(crate) fn write(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
    choice: &Choice,
    style: &Style,
) -> io::Result<()> {
    let null = style.null.as_deref().unwrap_or("NULL");
    let text = |value: &Value| match value {
        Value::Null => visible(null).into_owned(),
        other => shown(other),
    };
    let mut labels: Vec<Vec<String>> = Vec::with_capacity(rows.len());
    for row in rows {
        labels
            .push(choice.labels.iter().map(|c| cut(&text(&row[*c]), LABEL_CELLS_MAX).into_owned()).collect());
    }
    let widths: Vec<usize> = (0..choice.labels.len())
        .map(|l| labels.iter().map(|row| width(&row[l])).max().unwrap_or(0))
        .collect();
    let values: Vec<String> = rows.iter().map(|row| text(&row[choice.value])).collect();
    let values_width = values.iter().map(|value| width(value)).max().unwrap_or(0);
    let numbers: Vec<f64> = rows.iter().map(|row| number(&row[choice.value])).collect();

    let line = style.width.unwrap_or(CELLS_DEFAULT).min(CELLS_MAX);
    let labels_width: usize = widths.iter().map(|width| width + 1).sum();
    let room = line.saturating_sub(labels_width + values_width + 1).max(BAR_CELLS_MIN);
    let axis = Axis::of(&numbers, room);
    writeln!(out, "{}", visible(&columns[choice.value].name))?;
    let mut above: Option<&Vec<String>> = None;
    for (r, row) in labels.iter().enumerate() {
        // Only what stands left of the first difference repeats: city 'a' of another country is another city.
        let repeats = above.map_or(0, |above| {
            let same = row.iter().zip(above).take_while(|(here, above)| here == above).count();
            same.min(row.len().saturating_sub(1))
        });
        for (l, label) in row.iter().enumerate() {
            let label = if l < repeats { "" } else { label };
            write!(out, "{label}{} ", padding(label, widths[l]))?;
        }
        writeln!(out, "{} {}{}", axis.bar(numbers[r]), padding(&values[r], values_width), values[r])?;
        above = Some(row);
    }
    Ok(())
}

/// The value as a length; what has none (NULL, NaN, an infinity) has no bar.
fn number(value: &Value) -> f64 {
    Option::<f64>::from_value(value).flatten().filter(|number| number.is_finite()).unwrap_or(0.0)
}

/// Where zero stands, and how long one is.
struct Axis {
    cells_below: usize,
    cells_above: usize,
    per_cell: f64,
}

impl Axis {
    fn of(numbers: &[f64], cells: usize) -> Axis {
        let highest = numbers.iter().copied().fold(0.0, f64::max);
        let lowest = numbers.iter().copied().fold(0.0, f64::min);
        // Halved, so that the span of the greatest doubles is no infinity.
        let span = (highest / 2.0 - lowest / 2.0) / cells as f64;
        let below = if span > 0.0 { (-lowest / 2.0 / span).ceil() as usize } else { 0 };
        let cells_below = below.min(cells);
        // A cell that zero falls into belongs to the side below, so what is above may be a cell shorter.
        Axis { cells_below, cells_above: cells - cells_below, per_cell: span * 2.0 }
    }

    /// The bar of a number and the space around it. Whatever is not zero shows at least an eighth.
    fn bar(&self, number: f64) -> String {
        let cells = if self.per_cell > 0.0 { number / self.per_cell } else { 0.0 };
        if number < 0.0 {
            // There are no eighths that grow to the left: whole cells.
            let full = (-cells).round().clamp(1.0, self.cells_below as f64) as usize;
            let bar = " ".repeat(self.cells_below - full) + &FULL.to_string().repeat(full);
            return bar + &" ".repeat(self.cells_above);
        }
        let least = if number > 0.0 { 1.0 } else { 0.0 };
        let eighths = (cells * 8.0).round().max(least).min(self.cells_above as f64 * 8.0) as usize;
        let mut bar = " ".repeat(self.cells_below) + &FULL.to_string().repeat(eighths / 8);
        if !eighths.is_multiple_of(8) {
            bar.push(EIGHTHS[eighths % 8 - 1]);
        }
        bar + &" ".repeat(self.cells_above - eighths.div_ceil(8))
    }
}
