//! The leaves of a plan: one column, one test, resolved as far as a snapshot allows.

use super::cut::cut;
use super::holds::ComputedTest;
use super::owned::Asking;
use super::{Node, Others, Plan, Planner, asks_owners, constant};
use crate::exec::ByOwner;
use crate::expr::clock::{self, Beside};
use crate::index::fences;
use crate::member::{self, Key};
use crate::predicate::{CompareOp, Literal, Predicate, Related, Tie};
use crate::schema::{ColumnId, DataType};
use crate::table::ColumnReader;
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::format::{BITSET_BYTES, CHUNK_MEMBERS, SectionKind};
use std::ops::Bound;

/// One test of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The column.
    pub column: ColumnId,
    /// Its reader in the plan.
    pub reader: usize,
    /// The test.
    pub test: Test,
}

/// What is asked of a column's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A boolean is TRUE.
    True,
    /// The value is NULL. The only test that is never unknown.
    Null,
    /// The value's code lies in one of these closed intervals: ascending, disjoint, not empty.
    Codes(Vec<(i64, i64)>),
    /// The text matches; `codes` are the dictionary's codes that do, ascending.
    Text {
        /// For chunks stored by code.
        codes: Vec<u32>,
        /// For chunks stored as plain text.
        text: TextMatch,
    },
    /// The tags have one of these codes, ascending.
    Tags(Vec<u32>),
    /// The member is one of these ordinals, ascending: keys already looked up.
    Ordinals(Vec<u32>),
    /// TRUE for nobody, FALSE where the column is not NULL.
    Never,
    /// Computed member by member. Never unknown: what it says of a NULL is part of it.
    Computed(ComputedTest),
    /// Rows of other tables say so: the place in [`Plan::owned`]. Never unknown: the outcome that is wanted is part of it.
    Rows(usize),
    /// The owner of the row is one of some members: the place in [`Plan::in_owners`]. Never unknown, likewise.
    InOwners(usize),
    /// What rows made of the members' rows say of them: a place among the plan's.
    ByOwner(usize),
}

/// What text matches, byte by byte.
#[derive(Clone, Debug, PartialEq)]
pub enum TextMatch {
    /// One of these, ascending.
    In(Vec<String>),
    /// Within these bounds.
    Range(Bound<String>, Bound<String>),
    /// So says a computed test of this one column.
    Holds(ComputedTest),
}

impl TextMatch {
    /// True where `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            TextMatch::In(texts) => match texts.as_slice() {
                [one] => one.as_bytes() == text,
                many => many.binary_search_by(|probe| probe.as_bytes().cmp(text)).is_ok(),
            },
            TextMatch::Holds(test) => test.matches(text),
            TextMatch::Range(low, high) => {
                (match low {
                    Bound::Unbounded => true,
                    Bound::Included(low) => text >= low.as_bytes(),
                    Bound::Excluded(low) => text > low.as_bytes(),
                }) && (match high {
                    Bound::Unbounded => true,
                    Bound::Included(high) => text <= high.as_bytes(),
                    Bound::Excluded(high) => text < high.as_bytes(),
                })
            }
        }
    }
}

impl Planner<'_, '_> {
    pub(super) fn lower_leaf(&mut self, predicate: &Predicate, negated: bool) -> Result<Node> {
        match predicate {
            Predicate::IsTrue(column) => {
                self.expect(*column, DataType::Boolean)?;
                self.leaf(*column, Test::True, negated)
            }
            Predicate::IsNull(column) => {
                self.reader(*column)?;
                self.leaf(*column, Test::Null, negated)
            }
            Predicate::Compare { column, op, literal } => {
                // `<>` is the NOT of `=`, also in what it leaves unknown.
                let negated = negated != (*op == CompareOp::Ne);
                let op = if *op == CompareOp::Ne { CompareOp::Eq } else { *op };
                match self.literal(*column, literal)? {
                    Value::Null => Ok(Node::Nobody),
                    value => self.compare(*column, op, &value, negated),
                }
            }
            Predicate::In { column, literals } => self.membership(*column, literals, negated),
            Predicate::HasAny { column, tags } => {
                self.expect(*column, DataType::TextArray)?;
                let codes = self.tag_codes(*column, tags)?;
                let test = if codes.is_empty() { Test::Never } else { Test::Tags(codes) };
                self.leaf(*column, test, negated)
            }
            Predicate::HasAll { column, tags } => {
                self.expect(*column, DataType::TextArray)?;
                if tags.is_empty() {
                    // Everything contains nothing; only a NULL leaves it unknown.
                    return if negated { Ok(Node::Nobody) } else { self.leaf(*column, Test::Null, true) };
                }
                let mut children = Vec::new();
                for tag in tags {
                    let codes = self.tag_codes(*column, std::slice::from_ref(tag))?;
                    let test = if codes.is_empty() { Test::Never } else { Test::Tags(codes) };
                    children.push(self.leaf(*column, test, negated)?);
                }
                Ok(super::combine(children, !negated))
            }
            Predicate::Members(members) => {
                if members.is_empty() {
                    return Ok(constant(negated));
                }
                self.leaf(ColumnId::LIVE, Test::Ordinals(members.iter().collect()), negated)
            }
            Predicate::Related(related) => self.related(related, negated),
            Predicate::Derived(derived) if matches!(self.others, Others::Checked) => match derived.tie {
                Tie::In { column, .. } => {
                    self.reader(column)?;
                    self.leaf(column, Test::Null, negated)
                }
                Tie::Truth { .. } => Ok(constant(negated)),
            },
            Predicate::Derived(derived) if let Others::Of(asking, table) = &self.others => {
                let (wanted, negated) = match derived.certainly {
                    Some(truth) => (truth, negated),
                    None => (!negated, false),
                };
                let Asking { snapshot, cancel, tables } = *asking;
                let Some(rows) = ByOwner::new(snapshot, *table, derived, cancel, tables, wanted)? else {
                    return Ok(constant(negated));
                };
                self.by_owner.push(rows);
                self.leaf(ColumnId::LIVE, Test::ByOwner(self.by_owner.len() - 1), negated)
            }
            Predicate::Derived(_) => Err(Error::Invalid(
                "what rows of other tables say is not planned, but resolved before".into(),
            )),
            Predicate::Const(_)
            | Predicate::And(_)
            | Predicate::Or(_)
            | Predicate::Not(_)
            | Predicate::Holds(_)
            | Predicate::Audience(_) => {
                unreachable!("not a leaf")
            }
        }
    }

    /// What rows of other tables say.
    fn related(&mut self, related: &Related, negated: bool) -> Result<Node> {
        match &self.others {
            Others::Checked => {
                self.reader(related.column)?;
                self.leaf(related.column, Test::Null, negated)
            }
            Others::Of(asking, table) if asks_owners(asking.snapshot, *table, related) => {
                let (wanted, negated) = match related.certainly {
                    Some(truth) => (truth, negated),
                    None => (!negated, false),
                };
                let Some(rows) = asking.plan_rows(*table, related, wanted)? else {
                    return Ok(constant(wanted == negated));
                };
                self.in_owners.push(rows);
                self.leaf(ColumnId::LIVE, Test::InOwners(self.in_owners.len() - 1), negated)
            }
            // What is resolved beforehand leaves none but those that are taken.
            Others::Of(asking, table) => {
                // Where an outcome is asked for certain, all others are its NOT.
                let (wanted, negated) = match related.certainly {
                    Some(truth) => (truth, negated),
                    None => (!negated, false),
                };
                let Some(owned) = asking.plan(related, wanted)? else { return Ok(constant(negated)) };
                let rows = related.rows.first().map_or(*table, |rows| rows.table);
                // What is kept, that of owners with strays made anew; where they are too many, all rows are asked.
                if !negated
                    && owned.may_be_kept(related)
                    && let Some(rows) = asking.snapshot.kept(rows)?
                    && let Some(kept) = self.summarised(rows, related, &owned)?
                {
                    return Ok(kept);
                }
                self.owned.push(owned);
                self.leaf(ColumnId::LIVE, Test::Rows(self.owned.len() - 1), negated)
            }
            Others::Unasked => Err(Error::Invalid(
                "what rows of other tables say is not planned, but resolved before".into(),
            )),
        }
    }

    pub(super) fn data_type(&self, column: ColumnId) -> Result<DataType> {
        self.table.data_type(column)
    }

    fn expect(&self, column: ColumnId, expected: DataType) -> Result<()> {
        match self.data_type(column)? {
            found if found == expected => Ok(()),
            found => Err(self.mismatch(column, &format!("is {found}, expected {expected}"))),
        }
    }

    fn mismatch(&self, column: ColumnId, what: &str) -> Error {
        let name = self.table.schema().column(column).map_or("?", |c| &c.name);
        Error::Invalid(format!("column \"{name}\" {what}"))
    }

    /// The literal with this statement's clock put in, as it is read beside the column.
    fn literal(&self, column: ColumnId, literal: &Literal) -> Result<Value> {
        let local = matches!(self.data_type(column)?, DataType::Date | DataType::Timestamp);
        let beside = if local { Beside::Local } else { Beside::Instant };
        Ok(clock::resolve(literal, self.now_micros, beside)?.into_owned())
    }

    fn compare(&mut self, column: ColumnId, op: CompareOp, value: &Value, negated: bool) -> Result<Node> {
        match self.data_type(column)? {
            DataType::Boolean => {
                let Value::Boolean(literal) = value else { return Err(self.incomparable(column, value)) };
                let holds = |boolean: bool| match op {
                    CompareOp::Eq | CompareOp::Ne => boolean == *literal,
                    CompareOp::Lt => !boolean & literal,
                    CompareOp::Le => boolean <= *literal,
                    CompareOp::Gt => boolean & !literal,
                    CompareOp::Ge => boolean >= *literal,
                };
                match (holds(false), holds(true)) {
                    (false, true) => self.leaf(column, Test::True, negated),
                    (true, false) => self.leaf(column, Test::True, !negated),
                    (all, _) => self.leaf(column, Test::Never, negated != all),
                }
            }
            DataType::Text => {
                let Value::Text(text) = value else { return Err(self.incomparable(column, value)) };
                if op == CompareOp::Eq {
                    return self.texts(column, vec![text.clone()], negated);
                }
                let (low, high) = match op {
                    CompareOp::Lt => (Bound::Unbounded, Bound::Excluded(text.clone())),
                    CompareOp::Le => (Bound::Unbounded, Bound::Included(text.clone())),
                    CompareOp::Gt => (Bound::Excluded(text.clone()), Bound::Unbounded),
                    _ => (Bound::Included(text.clone()), Bound::Unbounded),
                };
                let mut codes = match self.table.dictionary(column) {
                    Some(dictionary) => {
                        let view = dictionary.view()?;
                        let rank = |bound: &Bound<String>, unbounded, upper| match bound {
                            Bound::Unbounded => unbounded,
                            Bound::Included(text) => view.rank(text.as_bytes(), upper),
                            Bound::Excluded(text) => view.rank(text.as_bytes(), !upper),
                        };
                        let (from, to) = (rank(&low, 0, false), rank(&high, view.len(), true));
                        view.order().get(from..to).unwrap_or(&[]).to_vec()
                    }
                    None => Vec::new(),
                };
                codes.sort_unstable();
                self.leaf(column, Test::Text { codes, text: TextMatch::Range(low, high) }, negated)
            }
            DataType::TextArray => {
                Err(self.mismatch(column, "is TEXT[]: ask for a tag with 'tag' = ANY(column)"))
            }
            data_type => {
                let Some(cut) = cut(data_type, value) else { return Err(self.incomparable(column, value)) };
                if let (CompareOp::Eq, super::cut::Cut::At(code), true) =
                    (op, cut, self.table.schema().key == Some(column))
                {
                    return self.keys(column, &[Key::Integer(code)], negated);
                }
                if let (CompareOp::Eq, super::cut::Cut::At(code), false) = (op, cut, negated)
                    && let Some(rows) = self.rows_of_owner(column, &Value::Integer(code))?
                {
                    return Ok(rows);
                }
                match cut.interval(op) {
                    Some(interval) => self.leaf(column, Test::Codes(vec![interval]), negated),
                    None => self.leaf(column, Test::Never, negated),
                }
            }
        }
    }

    fn incomparable(&self, column: ColumnId, value: &Value) -> Error {
        let found = match self.data_type(column) {
            Ok(data_type) => data_type.to_string(),
            Err(error) => return error,
        };
        self.mismatch(column, &format!("is {found} and cannot be compared with {value}"))
    }

    fn membership(&mut self, column: ColumnId, literals: &[Literal], negated: bool) -> Result<Node> {
        if let Some(keys) = self.literal_keys(column, literals) {
            return self.keys(column, &keys, negated);
        }
        let mut values = Vec::with_capacity(literals.len());
        let mut has_null = false;
        for literal in literals {
            match self.literal(column, literal)? {
                Value::Null => has_null = true,
                value => values.push(value),
            }
        }
        if negated && has_null {
            // A miss is unknown and a hit is false: nobody is certainly outside.
            return Ok(Node::Nobody);
        }
        if literals.is_empty() {
            return Ok(constant(negated));
        }
        match self.data_type(column)? {
            DataType::Boolean => {
                let (mut no, mut yes) = (false, false);
                for value in &values {
                    let Value::Boolean(boolean) = value else { return Err(self.incomparable(column, value)) };
                    (no, yes) = (no | !boolean, yes | boolean);
                }
                match (no, yes) {
                    (false, true) => self.leaf(column, Test::True, negated),
                    (true, false) => self.leaf(column, Test::True, !negated),
                    (all, _) => self.leaf(column, Test::Never, negated != all),
                }
            }
            DataType::Text => {
                let mut texts = Vec::with_capacity(values.len());
                for value in values {
                    let Value::Text(text) = value else { return Err(self.incomparable(column, &value)) };
                    texts.push(text);
                }
                self.texts(column, texts, negated)
            }
            DataType::TextArray => {
                Err(self.mismatch(column, "is TEXT[]: ask for any of some tags with column && ARRAY[…]"))
            }
            data_type => {
                let mut codes = Vec::with_capacity(values.len());
                for value in &values {
                    let Some(cut) = cut(data_type, value) else {
                        return Err(self.incomparable(column, value));
                    };
                    codes.extend(cut.interval(CompareOp::Eq).map(|(code, _)| code));
                }
                codes.sort_unstable();
                codes.dedup();
                if codes.is_empty() {
                    return self.leaf(column, Test::Never, negated);
                }
                if self.table.schema().key == Some(column) {
                    let keys: Vec<Key<'_>> = codes.iter().map(|code| Key::Integer(*code)).collect();
                    return self.keys(column, &keys, negated);
                }
                let mut intervals: Vec<(i64, i64)> = Vec::with_capacity(codes.len());
                for code in codes {
                    match intervals.last_mut() {
                        Some((_, last)) if last.checked_add(1) == Some(code) => *last = code,
                        _ => intervals.push((code, code)),
                    }
                }
                self.leaf(column, Test::Codes(intervals), negated)
            }
        }
    }

    /// The literals as keys, where the column is the key and all of them are constants that a key can be: a list of a
    /// million is looked up without being copied or sorted.
    fn literal_keys<'l>(&self, column: ColumnId, literals: &'l [Literal]) -> Option<Vec<Key<'l>>> {
        if self.table.schema().key != Some(column) || literals.is_empty() {
            return None;
        }
        let key = |literal: &'l Literal| match literal {
            Literal::Value(value @ (Value::Text(_) | Value::Integer(_))) => Key::of_value(value),
            _ => None,
        };
        let keys: Vec<Key<'l>> = literals.iter().map(key).collect::<Option<_>>()?;
        let is_text = self.data_type(column).ok()? == DataType::Text;
        keys.iter().all(|key| matches!(key, Key::Text(_)) == is_text).then_some(keys)
    }

    fn texts(&mut self, column: ColumnId, mut texts: Vec<String>, negated: bool) -> Result<Node> {
        texts.sort_unstable();
        texts.dedup();
        if texts.is_empty() {
            return self.leaf(column, Test::Never, negated);
        }
        if self.table.schema().key == Some(column) {
            let keys: Vec<Key<'_>> = texts.iter().map(|text| Key::Text(text.as_bytes())).collect();
            return self.keys(column, &keys, negated);
        }
        if let ([text], false) = (texts.as_slice(), negated)
            && let Some(rows) = self.rows_of_owner(column, &Value::Text(text.clone()))?
        {
            return Ok(rows);
        }
        let mut codes = Vec::new();
        if let Some(dictionary) = self.table.dictionary(column) {
            let view = dictionary.view()?;
            codes.extend(texts.iter().filter_map(|text| view.find(text.as_bytes())));
            codes.sort_unstable();
        }
        self.leaf(column, Test::Text { codes, text: TextMatch::In(texts) }, negated)
    }

    fn keys(&mut self, column: ColumnId, keys: &[Key<'_>], negated: bool) -> Result<Node> {
        let mut ordinals: Vec<u32> = member::lookup(self.table, keys)?.into_iter().flatten().collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        if ordinals.is_empty() {
            return self.leaf(column, Test::Never, negated);
        }
        self.leaf(column, Test::Ordinals(ordinals), negated)
    }

    /// The rows of the owner with a key, where the column says whose they are, somebody has the key, and finding the rows takes
    /// less than asking the column.
    fn rows_of_owner(&mut self, column: ColumnId, key: &Value) -> Result<Option<Node>> {
        let Others::Of(asking, table) = &self.others else { return Ok(None) };
        let is_owner = self.table.schema().owner.is_some_and(|owner| owner.column == column);
        if !is_owner || !asking.snapshot.is_settled(*table)? {
            return Ok(None);
        }
        let Some(mut rows) = asking.snapshot.rows_by_owner(*table)?.of_key(key)? else { return Ok(None) };
        rows.sort_unstable();
        let test = if rows.is_empty() { Test::Never } else { Test::Ordinals(rows) };
        self.leaf(ColumnId::LIVE, test, false).map(Some)
    }

    fn tag_codes(&self, column: ColumnId, tags: &[String]) -> Result<Vec<u32>> {
        let Some(dictionary) = self.table.dictionary(column) else { return Ok(Vec::new()) };
        let view = dictionary.view()?;
        let mut codes: Vec<u32> = tags.iter().filter_map(|tag| view.find(tag.as_bytes())).collect();
        codes.sort_unstable();
        codes.dedup();
        Ok(codes)
    }
}

impl Leaf {
    /// The share of members it holds for and its cost a chunk in bytes read, from one chunk in the middle of the table.
    pub(super) fn estimate(&self, plan: &Plan<'_>) -> Result<(f64, f64)> {
        let table = plan.table;
        if table.rows() == 0 {
            return Ok((0.0, 0.0));
        }
        let chunk = table.chunks() / 2;
        let rows = table.chunk_rows(chunk) as f64;
        let reader = plan.reader(self);
        // A bit set by itself takes the time of some seven bytes read in sequence.
        let set_bytes = |members: f64| (9.0 * members).min(BITSET_BYTES as f64);
        let entry_members =
            |kind| reader.entry(chunk, kind).map_or(0.0, |entry| f64::from(entry.cardinality));
        let (members, bytes) = match &self.test {
            Test::True => (entry_members(SectionKind::Sets), set_bytes(entry_members(SectionKind::Sets))),
            Test::Null => (entry_members(SectionKind::Nulls), set_bytes(entry_members(SectionKind::Nulls))),
            Test::Never => (0.0, 0.0),
            Test::Ordinals(ordinals) => {
                let members = ordinals.len() as f64 / f64::from(table.chunks());
                (members, members)
            }
            Test::Tags(codes) | Test::Text { codes, .. } => match reader.sets(chunk)? {
                Some(sets) => {
                    let cardinalities = sets.present(codes).map(|index| sets.cardinality(index));
                    cardinalities.fold((0.0, 0.0), |(members, bytes), cardinality| {
                        (members + f64::from(cardinality), bytes + set_bytes(f64::from(cardinality)))
                    })
                }
                // Codes in order, or plain text: a scan at worst.
                None => (rows * 0.1, rows * 8.0),
            },
            Test::Rows(owned) => {
                let passes = &plan.owned[*owned].passes;
                (rows * 0.1, passes.iter().map(|pass| 8.0 * pass.rows_a_chunk(table.chunks())).sum())
            }
            Test::ByOwner(place) => (rows * 0.1, 200.0 * plan.by_owner[*place].rows_a_chunk() as f64),
            Test::InOwners(place) => (rows * plan.in_owners[*place].share, rows * 8.0),
            // Every member is computed, at a cost far above its bytes: it is asked last.
            Test::Computed(test) => (rows * 0.3, rows * 40.0 * (test.count() + test.readers.len()) as f64),
            Test::Codes(intervals) => {
                // An end of a range costs a bitmap, and a thousand bits set one by one.
                let ends = intervals
                    .iter()
                    .take(8)
                    .map(|(low, high)| f64::from(u8::from(*low > i64::MIN) + u8::from(*high < i64::MAX)));
                let bytes = ends.sum::<f64>() * 2.0 * BITSET_BYTES as f64;
                match ranked(reader, chunk, intervals)? {
                    Some(members) => (members, bytes),
                    None => match thresholds(reader, chunk, intervals)? {
                        Some(members) => (members, 2.0 * BITSET_BYTES as f64),
                        // Without an index it is a scan.
                        None => (rows * 0.3, rows * 8.0),
                    },
                }
            }
        };
        let slow = self.computed().is_some() || matches!(self.test, Test::Rows(_) | Test::ByOwner(_));
        let most = if slow { f64::INFINITY } else { 8.0 * CHUNK_MEMBERS as f64 };
        Ok(((members / rows).min(1.0), bytes.min(most)))
    }
}

/// How many numbers of a chunk lie in the intervals; `None` where thresholds do not say it.
fn thresholds(reader: &ColumnReader<'_>, chunk: u32, intervals: &[(i64, i64)]) -> Result<Option<f64>> {
    let rows = |interval| Ok(reader.between(chunk, interval)?.map(|between| f64::from(between.rows())));
    intervals.iter().copied().map(rows).sum()
}

/// How many values of a chunk lie in the intervals; `None` without a range index.
fn ranked(reader: &ColumnReader<'_>, chunk: u32, intervals: &[(i64, i64)]) -> Result<Option<f64>> {
    let Some(zone) = reader.zone(chunk) else { return Ok(None) };
    let mut members = 0;
    for (low, high) in intervals.iter().take(16) {
        let below = reader.rank(chunk, zone, fences::Bound::Below(*low))?;
        members += reader.rank(chunk, zone, fences::Bound::up_to(*high))?.saturating_sub(below);
    }
    Ok(Some(f64::from(members) * (intervals.len() as f64 / intervals.len().clamp(1, 16) as f64)))
}
