//! FROM and WHERE: the rows of several tables, what is asked of each, and what ties them to a SELECT around.

use super::reading::Reading;
use super::{Binder, Field, Pending, conjuncts, field};
use crate::bind::related::are_equal_exactly;
use crate::bind::value::Typed;
use crate::bind::{Names, Source};
use crate::error::{Error, QueryErrorKind, Result};
use crate::statement::{
    ColumnName, Condition, From, FromSource, JoinWord, JoinedFrom, Name, On, Seen, Select, Term, TermKind,
};
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{CompareOp, Join, JoinKind, Predicate, Relation, Scan};
use muster_engine::schema::DataType;
use std::collections::BTreeSet;

/// Rows, and what ties them to a row of the SELECT around.
pub(super) struct Rows {
    pub(super) relation: Relation,
    pub(super) fields: Vec<Field>,
    /// Values of the row around that equal those of these rows.
    pub(super) keys: Vec<(Expr, Expr)>,
    /// What else is asked of both.
    pub(super) condition: Vec<Expr>,
}

/// One entry of FROM.
struct Part {
    relation: Relation,
    fields: Vec<Field>,
    /// The table that it is, whose indexes answer.
    source: Option<Source>,
    /// True on the right of a LEFT JOIN.
    optional: bool,
}

/// A condition, with the parts that it names.
struct Asked<'s> {
    condition: &'s Condition,
    parts: BTreeSet<usize>,
    done: bool,
}

impl Binder<'_> {
    /// The rows of FROM for which WHERE is true; names that are no fields may be of the row `outer`.
    pub(super) fn rows(&self, select: &Select, outer: &[Field]) -> Result<Rows> {
        let mut parts = vec![self.part(&select.from, false)?];
        for join in &select.joins {
            let part = self.part(&join.from, matches!(join.kind, JoinWord::Left | JoinWord::Full))?;
            if let Some(twice) = part.fields.first().filter(|field| names_table(&parts, &field.table)) {
                let message = format!("\"{}\" stands twice after FROM", twice.table);
                return Err(Error::query(QueryErrorKind::Duplicate, join.span, message)
                    .advise("give one of them another name: FROM t AS a JOIN t AS b"));
            }
            if matches!(join.kind, JoinWord::Right | JoinWord::Full) {
                parts.iter_mut().for_each(|part| part.optional = true);
            }
            parts.push(part);
        }
        let using = select.joins.iter().enumerate().map(|(at, join)| merge(&mut parts, at + 1, join));
        let using: Vec<Vec<(Expr, Expr)>> = using.collect::<Result<_>>()?;
        let mut asked = Vec::new();
        // Before a join that keeps rows of its right side, a condition of a pair is not one of the whole.
        let keeps_right = |join: &JoinedFrom| matches!(join.kind, JoinWord::Right | JoinWord::Full);
        let alone = select.joins.iter().rposition(keeps_right).map_or(0, |last| last + 1);
        let inner = select.joins[alone..].iter().filter(|join| join.kind == JoinWord::Inner);
        let inner = inner.filter_map(|join| if let On::Condition(on) = &join.on { Some(on) } else { None });
        for condition in select.filter.iter().chain(inner).flat_map(conjuncts) {
            let named = parts_of(&parts, condition)?;
            asked.push(Asked { condition, parts: named, done: false });
        }
        for one in &mut asked {
            one.done = self.is_pushed(one.condition, &one.parts, &mut parts);
        }
        let mut fields: Vec<Field> = Vec::new();
        let mut relation: Option<Relation> = None;
        for at in 0..parts.len() {
            let left_fields = fields.len();
            fields.extend(parts[at].fields.iter().cloned());
            relation = Some(match relation {
                None => parts[at].relation.clone(),
                Some(left) => {
                    let join = &select.joins[at - 1];
                    let kind = match join.kind {
                        JoinWord::Inner => JoinKind::Inner,
                        JoinWord::Left | JoinWord::Right => JoinKind::Left,
                        JoinWord::Full => JoinKind::Full,
                    };
                    let (right, keys) = (parts[at].relation.clone(), using[at - 1].clone());
                    let mut pending = Pending { right, kind, keys, condition: None, of_pairs: None };
                    if join.kind == JoinWord::Inner && at > alone {
                        self.inner_join(&parts, at, &mut asked, &fields, left_fields, &mut pending)?;
                    } else {
                        self.outer_join(&parts[at], join, &fields, left_fields, &mut pending)?;
                    }
                    if join.kind == JoinWord::Right {
                        turned(left, pending)
                    } else {
                        self.joined(left, vec![pending])
                    }
                }
            });
        }
        let Some(mut relation) = relation else {
            return Err(Error::unsupported(None, "a SELECT has a table after FROM"));
        };
        let (mut keys, mut condition) = (Vec::new(), Vec::new());
        // What is made of pairs has the rows twice: once for all conditions.
        let (mut of_pairs, mut truths) = (Vec::new(), Vec::new());
        for one in asked.iter().filter(|one| !one.done) {
            let mut reading = Reading::of_rows(self, &fields, outer);
            if let Some(pair) = self.tie(one.condition, &fields, outer)? {
                keys.push(pair);
                continue;
            }
            let truth = self.names().truth(one.condition, &mut reading, 0)?;
            let pending = reading.into_pending();
            if pending.iter().any(|pending| pending.of_pairs.is_some()) {
                of_pairs.extend(pending);
                truths.push(truth);
                continue;
            }
            relation = self.joined(relation, pending);
            if names_any(&truth, outer) {
                condition.push(truth);
            } else {
                relation = Relation::Filter { input: Box::new(relation), condition: truth };
            }
        }
        relation = self.joined(relation, of_pairs);
        for truth in truths {
            if names_any(&truth, outer) {
                condition.push(truth);
            } else {
                relation = Relation::Filter { input: Box::new(relation), condition: truth };
            }
        }
        Ok(Rows { relation, fields, keys, condition })
    }

    fn part(&self, from: &From, optional: bool) -> Result<Part> {
        let plain = match &from.source {
            FromSource::Named(_) => true,
            FromSource::Sets(_) => false,
            FromSource::Select(inner, _) => {
                !inner.is_relational() && inner.limit.is_none() && inner.offset == 0
            }
        };
        if plain {
            match Source::resolve(from.clone(), &self.context) {
                Ok(mut source) => {
                    if from.alias.is_none() && matches!(from.source, FromSource::Select(..)) {
                        source.name.clear();
                    }
                    let (scan, fields) = self.scan(&source);
                    return Ok(Part {
                        relation: Relation::Scan(scan),
                        fields,
                        source: Some(source),
                        optional,
                    });
                }
                Err(error) if matches!(from.source, FromSource::Named(_)) => return Err(error),
                Err(_) => {}
            }
        }
        let span = match &from.source {
            FromSource::Select(_, span) => *span,
            FromSource::Sets(sets) => sets.span,
            FromSource::Named(_) => {
                return Err(Error::unsupported(None, "a table or a SELECT stands after FROM"));
            }
        };
        if from.sample.is_some() {
            return Err(Error::unsupported(
                span,
                "TABLESAMPLE takes some of a table, not of what a SELECT makes",
            ));
        }
        let made = match &from.source {
            FromSource::Sets(sets) => self.sets(sets)?,
            FromSource::Select(inner, _) => self.select(inner)?,
            FromSource::Named(_) => return Err(Error::unsupported(span, "expected a SELECT")),
        };
        let table = from.alias.as_ref().map(|alias| alias.text.clone()).unwrap_or_default();
        let fields = made.columns.iter().zip(&made.ids).map(|(column, id)| Field {
            table: table.clone(),
            name: column.name.clone(),
            id: *id,
            data_type: column.data_type,
            merged: false,
        });
        Ok(Part { fields: fields.collect(), relation: made.relation, source: None, optional })
    }

    /// True where a condition of one table is left to its indexes.
    fn is_pushed(&self, condition: &Condition, named: &BTreeSet<usize>, parts: &mut [Part]) -> bool {
        let mut named = named.iter();
        let (Some(at), None) = (named.next(), named.next()) else { return false };
        !parts[*at].optional && self.narrow(&mut parts[*at], condition)
    }

    /// Asks a condition of a table where it is read; false where it cannot be.
    fn narrow(&self, part: &mut Part, condition: &Condition) -> bool {
        let (Part { source: Some(source), relation: Relation::Scan(scan), .. }, false) =
            (part, has_values(condition))
        else {
            return false;
        };
        match (Names { source, context: self.context }).predicate(condition) {
            Ok(predicate) => {
                also(scan, predicate);
                true
            }
            // It is bound again as a condition of rows, and refused there if it has to be.
            Err(_) => false,
        }
    }

    /// The conditions of a join that stand for themselves: what is asked of the right alone is asked of its table, unless its rows
    /// stay.
    fn outer_join(
        &self,
        part: &Part,
        join: &JoinedFrom,
        fields: &[Field],
        left: usize,
        pending: &mut Pending,
    ) -> Result<()> {
        let On::Condition(on) = &join.on else { return Ok(()) };
        let (lefts, rights) = fields.split_at(left);
        let mut right = Part {
            relation: part.relation.clone(),
            fields: part.fields.clone(),
            source: part.source.clone(),
            optional: false,
        };
        for condition in conjuncts(on) {
            let is_cut = matches!(join.kind, JoinWord::Inner | JoinWord::Left);
            let of_right = is_cut && of_fields(condition, rights) && self.narrow(&mut right, condition);
            if of_right {
                continue;
            }
            self.pair(condition, fields, lefts, rights, pending)?;
        }
        pending.right = right.relation;
        Ok(())
    }

    /// The conditions of WHERE and ON that can be asked as soon as a part is joined.
    fn inner_join(
        &self,
        parts: &[Part],
        at: usize,
        asked: &mut [Asked<'_>],
        fields: &[Field],
        left: usize,
        pending: &mut Pending,
    ) -> Result<()> {
        let (lefts, rights) = fields.split_at(left);
        for one in asked.iter_mut().filter(|one| !one.done && !has_selects(one.condition)) {
            let last = one.parts.last() == Some(&at);
            let optional = one.parts.iter().any(|part| parts[*part].optional);
            // Names of no part are of a row around.
            if !last || optional || one.parts.len() < 2 || !of_fields(one.condition, fields) {
                continue;
            }
            self.pair(one.condition, fields, lefts, rights, pending)?;
            one.done = true;
        }
        Ok(())
    }

    /// A condition of both sides of a join: a pair of keys, or what is asked of each pair.
    fn pair(
        &self,
        condition: &Condition,
        fields: &[Field],
        lefts: &[Field],
        rights: &[Field],
        pending: &mut Pending,
    ) -> Result<()> {
        if let Some((right, left)) = self.tie(condition, rights, lefts)?.map(|(outer, inner)| (inner, outer))
        {
            pending.keys.push((left, right));
            return Ok(());
        }
        let mut reading = Reading::of_rows(self, fields, &[]);
        let truth = self.names().truth(condition, &mut reading, 0)?;
        if !reading.into_pending().is_empty() {
            return Err(Error::unsupported(None, "a SELECT in the condition of a JOIN is not supported")
                .advise("ask it in WHERE"));
        }
        pending.condition = Some(match pending.condition.take() {
            None => truth,
            Some(known) => Expr::call(Function::And, [known, truth]),
        });
        Ok(())
    }

    /// An equality of a value of a row around and one of these rows, as keys.
    fn tie(&self, condition: &Condition, inner: &[Field], outer: &[Field]) -> Result<Option<(Expr, Expr)>> {
        let Condition::Compare { left, op: CompareOp::Eq, right } = condition else { return Ok(None) };
        if outer.is_empty() || has_selects(condition) {
            return Ok(None);
        }
        for (a, b) in [(left, right), (right, left)] {
            // A name is that of the inner rows first.
            let is_outer = of_terms(a, outer) && none_of_terms(a, inner);
            if !is_outer || !of_terms(b, inner) {
                continue;
            }
            let a = self.names().value(a, &mut Reading::of_rows(self, outer, &[]))?;
            let b = self.names().value(b, &mut Reading::of_rows(self, inner, &[]))?;
            return self.keys(a, b);
        }
        Ok(None)
    }

    /// Two values that are equal where their bytes are; `None` where only a comparison says so.
    pub(super) fn keys(&self, a: Typed, b: Typed) -> Result<Option<(Expr, Expr)>> {
        let (a_type, b_type) = (a.known_type(), b.known_type());
        let (a, b) = self.names().comparable(a, b)?;
        if a_type != DataType::TextArray && are_equal_exactly(a_type, b_type) {
            return Ok(Some((a, b)));
        }
        let both = |to: DataType| [&a, &b].map(|side| Expr::call(Function::Cast(to), [side.clone()]));
        let cast = match (a_type, b_type) {
            (DataType::Date | DataType::Timestamp, DataType::Date | DataType::Timestamp) => {
                both(DataType::Timestamp)
            }
            (a, b) if a.is_number() && b.is_number() => both(DataType::Double),
            _ => return Ok(None),
        };
        let [a, b] = cast;
        Ok(Some((a, b)))
    }
}

/// `left RIGHT JOIN …`: the right side comes first, and its rows stay.
fn turned(left: Relation, pending: Pending) -> Relation {
    let Pending { right, kind, keys, condition, .. } = pending;
    let keys = keys.into_iter().map(|(left, right)| (right, left)).collect();
    Relation::Join(Box::new(Join { left: right, right: left, kind, keys, condition }))
}

/// The pairs of USING; the right column is that of the left from then on.
fn merge(parts: &mut [Part], at: usize, join: &JoinedFrom) -> Result<Vec<(Expr, Expr)>> {
    let On::Using(names) = &join.on else { return Ok(Vec::new()) };
    if join.kind == JoinWord::Full {
        return Err(Error::unsupported(join.span, "USING is not supported after FULL JOIN")
            .advise("write ON a.x = b.x, and coalesce(a.x, b.x) for the value of both"));
    }
    let mut pairs = Vec::with_capacity(names.len());
    for name in names {
        let column = ColumnName { qualifier: None, name: name.clone() };
        let lefts: Vec<Field> = parts[..at].iter().flat_map(|part| part.fields.iter().cloned()).collect();
        let left = field(&lefts, &column)?.ok_or_else(|| not_in_both(name))?;
        let right = parts[at].fields.iter_mut().find(|field| field.name == name.text);
        let right = right.ok_or_else(|| not_in_both(name))?;
        if left.data_type == DataType::TextArray || !are_equal_exactly(left.data_type, right.data_type) {
            let message = format!(
                "\"{}\" is {} on one side and {} on the other",
                name.text, left.data_type, right.data_type
            );
            return Err(Error::query(QueryErrorKind::Type, name.span, message).advise("write ON a.x = b.y"));
        }
        let (left_id, right_id) = (left.id, right.id);
        // The side whose rows stay has the value.
        right.merged = join.kind != JoinWord::Right;
        if join.kind == JoinWord::Right {
            let merged = parts[..at].iter_mut().flat_map(|part| &mut part.fields);
            merged.filter(|field| field.id == left_id).for_each(|field| field.merged = true);
        }
        pairs.push((Expr::Column(left_id), Expr::Column(right_id)));
    }
    Ok(pairs)
}

fn not_in_both(name: &Name) -> Error {
    let message = format!("\"{}\" is no column of both sides of the JOIN", name.text);
    Error::query(QueryErrorKind::UnknownColumn, name.span, message)
}

fn names_table(parts: &[Part], table: &str) -> bool {
    !table.is_empty() && parts.iter().flat_map(|part| &part.fields).any(|field| field.table == table)
}

/// Narrows what is read of a table.
fn also(scan: &mut Scan, predicate: Predicate) {
    let known = std::mem::replace(&mut scan.condition, Predicate::everyone());
    scan.condition = if known == Predicate::everyone() { predicate } else { known.and(predicate) };
}

/// The parts whose columns a condition names, outside of SELECTs in it.
fn parts_of(parts: &[Part], condition: &Condition) -> Result<BTreeSet<usize>> {
    let all: Vec<Field> = parts.iter().flat_map(|part| part.fields.iter().cloned()).collect();
    let mut named = BTreeSet::new();
    let mut failed = None;
    condition.any_term(&mut |term| {
        let TermKind::Column(name) = &term.kind else { return false };
        match field(&all, name) {
            Ok(Some(found)) => {
                let has = |part: &Part| part.fields.iter().any(|field| field.id == found.id);
                named.extend(parts.iter().position(has));
                false
            }
            Ok(None) => false,
            Err(error) => {
                failed = Some(error);
                true
            }
        }
    });
    failed.map_or(Ok(named), Err)
}

/// True where a condition has a SELECT.
fn has_selects(condition: &Condition) -> bool {
    condition.any_select(&mut |_| true)
}

/// True where a condition has a SELECT that indexes of one table do not answer: EXISTS, a value, or one made of rows.
fn has_values(condition: &Condition) -> bool {
    condition.sees(&mut |seen| match seen {
        Seen::Condition(Condition::Exists { .. }) => true,
        Seen::Condition(Condition::InSelect { select, .. }) => select.is_relational(),
        Seen::Condition(_) => false,
        Seen::Term(term) => matches!(term.kind, TermKind::Select(_)),
    })
}

/// True where all columns of a term are among these, and there is one.
pub(super) fn of_terms(term: &Term, fields: &[Field]) -> bool {
    let (mut some, mut others) = (false, false);
    term.any(&mut |term| {
        if let TermKind::Column(name) = &term.kind {
            let known = matches!(field(fields, name), Ok(Some(_)));
            (some, others) = (some | known, others | !known);
        }
        false
    });
    some && !others
}

/// True where no column of a term is among these.
pub(super) fn none_of_terms(term: &Term, fields: &[Field]) -> bool {
    !term.any(
        &mut |term| matches!(&term.kind, TermKind::Column(name) if !matches!(field(fields, name), Ok(None))),
    )
}

/// True where all columns of a condition are among these.
fn of_fields(condition: &Condition, fields: &[Field]) -> bool {
    !condition.any_term(&mut |term| {
        matches!(&term.kind, TermKind::Column(name) if !matches!(field(fields, name), Ok(Some(_))))
    })
}

/// True where an expression names one of these.
pub(super) fn names_any(expr: &Expr, fields: &[Field]) -> bool {
    let mut found = false;
    expr.for_each_column(&mut |column| found |= fields.iter().any(|field| field.id == column));
    found
}
