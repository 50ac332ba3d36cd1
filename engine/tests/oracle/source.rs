//! Rows in memory as the importer wants them: in batches of odd sizes, texts with and without a dictionary, tags in any
//! order and more than once.

use crate::data::Table;
use crate::random::Random;
use muster_engine::batch::{Batch, ColumnValues, Place, RowSource, Strings, batch_of_values};
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use std::collections::HashMap;

const BATCH_ROWS: [usize; 7] = [1, 999, 0, 65_537, 7, 30_011, 65_536];

pub struct Rows<'a> {
    table: &'a Table,
    at: usize,
    batches: usize,
    random: Random,
}

impl<'a> Rows<'a> {
    pub fn new(table: &'a Table, seed: u64) -> Rows<'a> {
        Rows { table, at: 0, batches: seed as usize, random: Random::new(seed) }
    }

    fn as_delivered(&mut self, value: &Value) -> Value {
        match value {
            Value::Tags(tags) => {
                let mut tags = tags.clone();
                if !tags.is_empty() && self.random.chance(0.1) {
                    tags.push(self.random.pick(&tags).clone());
                    self.random.shuffle(&mut tags);
                }
                Value::Tags(tags)
            }
            other => other.clone(),
        }
    }
}

impl RowSource for Rows<'_> {
    fn next(&mut self) -> Result<Option<Batch>, muster_engine::Error> {
        if self.at == self.table.rows {
            return Ok(None);
        }
        let size = BATCH_ROWS[self.batches % BATCH_ROWS.len()];
        self.batches += 1;
        let end = (self.at + size).min(self.table.rows);
        let rows: Vec<Vec<Value>> = (self.at..end)
            .map(|row| {
                (0..self.table.specs.len()).map(|c| self.as_delivered(self.table.value(c, row))).collect()
            })
            .collect();
        self.at = end;
        let types: Vec<DataType> = self.table.specs.iter().map(|spec| spec.data_type).collect();
        let mut batch = batch_of_values(&types, &rows);
        for column in &mut batch.columns {
            match &column.values {
                ColumnValues::Text(strings) if self.random.chance(0.3) => {
                    let (codes, dictionary) = distinct(strings);
                    column.values = ColumnValues::TextDictionary { codes, dictionary };
                }
                ColumnValues::Tags { ends, tags, dictionary } => {
                    let (codes, distinct) = distinct(dictionary);
                    column.values = ColumnValues::Tags {
                        ends: ends.clone(),
                        tags: tags.iter().map(|tag| codes[*tag as usize]).collect(),
                        dictionary: distinct,
                    };
                }
                _ => {}
            }
        }
        Ok(Some(batch))
    }

    fn place(&self, row: u64) -> Option<Place> {
        Some(Place { file: "rows".into(), line: row + 1 })
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (Some(self.table.rows as u64), self.at as f64 / self.table.rows.max(1) as f64)
    }
}

fn distinct(strings: &Strings) -> (Vec<u32>, Strings) {
    let mut dictionary = Strings::default();
    let mut codes_of = HashMap::new();
    let codes = (0..strings.len())
        .map(|i| {
            *codes_of.entry(strings.get(i)).or_insert_with(|| {
                dictionary.push(std::str::from_utf8(strings.get(i)).expect("the text of a Value"));
                dictionary.len() as u32 - 1
            })
        })
        .collect();
    (codes, dictionary)
}
