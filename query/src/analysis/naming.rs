//! Names for the values of rows that are made of rows: that of the column or of the function that each comes from, with a number
//! where another value has it. A name means the same wherever it stands in a tree.

use super::render::{Renderer, quoted};
use crate::statement::aggregate_name;
use muster_engine::expr::Expr;
use muster_engine::predicate::{JoinKind, Relation, RowFunction, WindowFunction};
use muster_engine::schema::ColumnId;
use std::collections::{HashMap, HashSet};

/// Ids beyond this are not of a tree that was bound: what is damaged has no name.
const IDS_MAX: usize = 1 << 16;

/// The names given so far.
#[derive(Default)]
struct Naming {
    /// Without quotes.
    words: HashMap<ColumnId, String>,
    taken: HashSet<String>,
}

impl Renderer<'_> {
    /// The names of all values of a tree, by their ids from 1.
    pub(super) fn names_of(&self, rows: &Relation) -> Vec<String> {
        let mut naming = Naming::default();
        self.name_all(rows, &mut naming);
        let last = naming.words.keys().map(|id| id.0 as usize).max().unwrap_or(0).min(IDS_MAX);
        let name = |id: usize| match naming.words.get(&ColumnId(id as u32)) {
            Some(word) => quoted(word),
            None => format!("c{id}"),
        };
        (1..=last).map(name).collect()
    }

    fn name_all(&self, rows: &Relation, naming: &mut Naming) {
        rows.inputs().into_iter().for_each(|input| self.name_all(input, naming));
        match rows {
            Relation::Scan(scan) => {
                let schema = self.snapshot.schema(scan.table).ok();
                for (column, id) in &scan.columns {
                    let column = if *column == ColumnId::LIVE {
                        schema.and_then(|schema| schema.key)
                    } else {
                        Some(*column)
                    };
                    let column = column.and_then(|column| schema?.column(column));
                    naming.give(*id, column.map_or("row", |column| &column.name));
                }
            }
            Relation::Compute { outputs, .. } => naming.give_all(outputs),
            Relation::Group { keys, aggregates, .. } => {
                naming.give_all(keys);
                for (id, aggregate) in aggregates {
                    naming.give(*id, of_aggregate(aggregate.function));
                }
            }
            Relation::Window { outputs, .. } => {
                for (id, call) in outputs {
                    naming.give(*id, of_window(call.function));
                }
            }
            Relation::Join(join) => {
                if let JoinKind::Mark(mark) | JoinKind::In(mark) = join.kind {
                    naming.give(mark, "found");
                }
            }
            Relation::Append { columns, inputs } => {
                for (at, id) in columns.iter().enumerate() {
                    let first = inputs.first().and_then(|(ids, _)| naming.words.get(ids.get(at)?));
                    let word = first.cloned().unwrap_or_else(|| "value".to_owned());
                    naming.give(*id, &word);
                }
            }
            Relation::Filter { .. } | Relation::Sort { .. } => {}
        }
    }
}

impl Naming {
    fn give_all(&mut self, values: &[(ColumnId, Expr)]) {
        for (id, expr) in values {
            let known = if let Expr::Column(column) = expr { self.words.get(column) } else { None };
            let word = known.cloned().unwrap_or_else(|| "value".to_owned());
            self.give(*id, &word);
        }
    }

    fn give(&mut self, id: ColumnId, word: &str) {
        // A name that has a number already counts on.
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let stem = stem.strip_suffix('_').filter(|stem| !stem.is_empty() && stem.len() + 1 < word.len());
        let stem = stem.unwrap_or(word);
        let numbered = (2u32..).map(|number| format!("{stem}_{number}"));
        let mut names = std::iter::once(word.to_owned()).chain(numbered);
        let free = names.find(|name| !self.taken.contains(name));
        let Some(name) = free.filter(|_| !self.words.contains_key(&id)) else { return };
        self.taken.insert(name.clone());
        self.words.insert(id, name);
    }
}

fn of_aggregate(function: RowFunction) -> &'static str {
    match function {
        RowFunction::Fold(function) => aggregate_name(function),
        RowFunction::CountDistinct => "count",
        RowFunction::ArgMin => "arg_min",
        RowFunction::ArgMax => "arg_max",
        RowFunction::Median => "median",
        RowFunction::Funnel { .. } | RowFunction::Consecutive { .. } | RowFunction::WindowFunnel { .. } => {
            "steps"
        }
        RowFunction::Sequence { .. } => "pattern",
        RowFunction::QuantileCont | RowFunction::QuantileDisc { .. } => "quantile",
        RowFunction::Mode { .. } => "mode",
    }
}

fn of_window(function: WindowFunction) -> &'static str {
    match function {
        WindowFunction::RowNumber => "row_number",
        WindowFunction::Rank => "rank",
        WindowFunction::DenseRank => "dense_rank",
        WindowFunction::Ntile(_) => "ntile",
        WindowFunction::Lag(_) => "lag",
        WindowFunction::Lead(_) => "lead",
        WindowFunction::Fold(function) => aggregate_name(function),
        WindowFunction::FirstValue => "first_value",
        WindowFunction::LastValue => "last_value",
        WindowFunction::NthValue(_) => "nth_value",
    }
}
