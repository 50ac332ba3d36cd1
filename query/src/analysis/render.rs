//! Predicates and expressions as SQL again: what EXPLAIN shows, and definitions whose text no
//! longer means them; under the names that columns have now.

use crate::bind::Source;
use crate::cursor::is_reserved;
use crate::statement::aggregate_name;
use muster_engine::Snapshot;
use muster_engine::expr::{Expr, Function, PatternKind};
use muster_engine::predicate::{
    CompareOp, GroupAggregate, Interval, Literal, Predicate, Related, Truth, slot_id,
};
use muster_engine::schema::{ColumnId, DataType};
use muster_engine::value::Value;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;
use std::fmt::Write;
use std::sync::Arc;

/// Entries of a list that are shown.
const LISTED_MAX: usize = 6;

/// Renders over the names of one source.
#[derive(Clone, Copy)]
pub(crate) struct Renderer<'a> {
    pub(crate) source: &'a Source,
    pub(crate) snapshot: &'a Snapshot,
    /// What stands for the columns of a group, where these are named.
    pub(crate) slots: &'a [String],
}

impl Renderer<'_> {
    /// The members of a condition: some columns, each under a name.
    pub(crate) fn select(&self, columns: &[(ColumnId, &str)], predicate: &Predicate) -> String {
        let shown = columns.iter().map(|(id, name)| {
            let (column, name) = (self.column(*id), quoted(name));
            if column == name { name } else { format!("{column} AS {name}") }
        });
        let shown: Vec<String> = shown.collect();
        let whole = format!("SELECT {} FROM {}", shown.join(", "), quoted(&self.source.name));
        if *predicate == Predicate::everyone() {
            return whole;
        }
        format!("{whole} WHERE {}", self.predicate(predicate))
    }

    /// A condition.
    pub(crate) fn predicate(&self, predicate: &Predicate) -> String {
        self.bound(predicate, 0)
    }

    /// `strength` is how tightly what stands around binds: 1 AND, 2 NOT.
    fn bound(&self, predicate: &Predicate, strength: u8) -> String {
        let parenthesised = |text: String, own: u8| if own < strength { format!("({text})") } else { text };
        match predicate {
            Predicate::Const(Truth::True) => "TRUE".to_owned(),
            Predicate::Const(Truth::False) => "FALSE".to_owned(),
            Predicate::Const(Truth::Unknown) => "NULL".to_owned(),
            Predicate::And(terms) => match self.between(terms) {
                Some(between) => between,
                None if terms.is_empty() => "TRUE".to_owned(),
                None => parenthesised(self.joined(terms, " AND ", 1), 1),
            },
            Predicate::Or(terms) if terms.is_empty() => "FALSE".to_owned(),
            Predicate::Or(terms) => parenthesised(self.joined(terms, " OR ", 1), 0),
            Predicate::Not(inner) => match &**inner {
                Predicate::IsNull(column) => format!("{} IS NOT NULL", self.column(*column)),
                Predicate::In { column, literals } => {
                    format!("{} NOT IN ({})", self.column(*column), self.literals(literals))
                }
                Predicate::HasAny { column, tags } if tags.len() == 1 => {
                    format!("{} <> ALL({})", text(&tags[0]), self.column(*column))
                }
                // Its truth may be unknown, which being IN rows is not.
                Predicate::Derived(derived) if derived.certainly.is_none() => self.derived(derived, false),
                inner => format!("NOT {}", self.bound(inner, 2)),
            },
            Predicate::IsTrue(column) => self.column(*column),
            Predicate::IsNull(column) => format!("{} IS NULL", self.column(*column)),
            Predicate::Compare { column, op, literal } => {
                format!("{} {} {}", self.column(*column), symbol(*op), self.literal(literal))
            }
            Predicate::In { column, literals } => {
                format!("{} IN ({})", self.column(*column), self.literals(literals))
            }
            Predicate::HasAny { column, tags } if tags.len() == 1 => {
                format!("{} = ANY({})", text(&tags[0]), self.column(*column))
            }
            Predicate::HasAny { column, tags } => {
                format!("{} && ARRAY[{}]", self.column(*column), texts(tags))
            }
            Predicate::HasAll { column, tags } => {
                format!("{} @> ARRAY[{}]", self.column(*column), texts(tags))
            }
            Predicate::Holds(expr) => {
                let own = match expr {
                    Expr::Call { function: Function::And | Function::Or, .. } => 0,
                    _ => 2,
                };
                parenthesised(self.expr(expr), own)
            }
            Predicate::Audience(id) => match self.snapshot.audiences().iter().find(|known| known.id == *id) {
                Some(audience) => format!("in_audience({})", text(&audience.name)),
                None => format!("in_audience(#{})", id.0),
            },
            Predicate::Related(related) => self.related(related),
            Predicate::Derived(derived) => self.derived(derived, true),
            Predicate::Members(members) => format!("<{} chosen members>", members.len()),
        }
    }

    /// What rows of other tables say: a comparison of SELECTs, or IN one.
    fn related(&self, related: &Related) -> String {
        let own = self.column(related.column);
        let all = related.truth == Expr::value(Value::Boolean(true));
        let (mut slots, mut among) = (Vec::new(), String::new());
        for rows in &related.rows {
            let Ok(schema) = self.snapshot.schema(rows.table) else { continue };
            let source = Source::of_table(Arc::clone(schema));
            let inner = Renderer { source: &source, snapshot: self.snapshot, slots: &[] };
            let (table, by) = (quoted(&source.name), inner.column(rows.by));
            let condition =
                (rows.condition != Predicate::everyone()).then(|| inner.bound(&rows.condition, 1));
            let aggregates = rows.aggregates.iter().map(|one| inner.aggregate(one));
            if related.is_in {
                let filter = condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
                let groups = if all { String::new() } else { format!(" GROUP BY {by} HAVING ") };
                among = format!("SELECT {by} FROM {table}{filter}{groups}");
                slots.extend(aggregates);
                continue;
            }
            // The rows of the same table need a name of their own.
            let (from, name) = match source.name == self.source.name {
                true => (format!("{table} AS others"), "others".to_owned()),
                false => (table.clone(), table),
            };
            let filter = condition.map_or_else(String::new, |condition| format!(" AND {condition}"));
            let tie = format!("{name}.{by} = {}.{own}{filter}", quoted(&self.source.name));
            slots.extend(aggregates.map(|one| format!("(SELECT {one} FROM {from} WHERE {tie})")));
        }
        let truth = Renderer { slots: &slots, ..*self }.expr(&related.truth);
        let text = match (related.is_in, all) {
            (false, _) => truth,
            (true, true) => format!("{own} IN ({among})"),
            (true, false) => format!("{own} IN ({among}{truth})"),
        };
        match related.certainly {
            None => text,
            Some(certain) => format!("({text}) IS {}", if certain { "TRUE" } else { "FALSE" }),
        }
    }

    fn aggregate(&self, aggregate: &GroupAggregate) -> String {
        let distinct = if aggregate.distinct { "DISTINCT " } else { "" };
        let argument = aggregate.argument.as_ref().map_or_else(|| "*".to_owned(), |one| self.expr(one));
        let call = format!("{}({distinct}{argument})", aggregate_name(aggregate.function));
        match &aggregate.filter {
            None => call,
            Some(filter) => format!("{call} FILTER (WHERE {})", self.predicate(filter)),
        }
    }

    fn joined(&self, terms: &[Predicate], word: &str, strength: u8) -> String {
        let shown: Vec<String> = terms.iter().take(64).map(|term| self.bound(term, strength)).collect();
        let more = terms.len().saturating_sub(64);
        let rest = if more > 0 { format!("{word}<{more} more>") } else { String::new() };
        shown.join(word) + &rest
    }

    /// `low <= x AND x <= high`
    fn between(&self, terms: &[Predicate]) -> Option<String> {
        let [
            Predicate::Compare { column: a, op: CompareOp::Ge, literal: low },
            Predicate::Compare { column: b, op: CompareOp::Le, literal: high },
        ] = terms
        else {
            return None;
        };
        let shown =
            || format!("{} BETWEEN {} AND {}", self.column(*a), self.literal(low), self.literal(high));
        (a == b).then(shown)
    }

    pub(super) fn column(&self, id: ColumnId) -> String {
        if !self.slots.is_empty() {
            let slot = id.0.checked_sub(slot_id(0).0).and_then(|at| self.slots.get(at as usize));
            return slot.cloned().unwrap_or_else(|| "NULL".to_owned());
        }
        let visible =
            self.source.visible.iter().find(|(_, known)| *known == id).map(|(name, _)| name.as_str());
        let name = visible.or_else(|| self.source.schema.column(id).map(|column| column.name.as_str()));
        match name {
            Some(name) => quoted(name),
            None => format!("<frozen members #{}>", id.0),
        }
    }

    fn literals(&self, literals: &[Literal]) -> String {
        let shown: Vec<String> =
            literals.iter().take(LISTED_MAX).map(|literal| self.literal(literal)).collect();
        let more = literals.len().saturating_sub(LISTED_MAX);
        if more > 0 { format!("{}, <{more} more>", shown.join(", ")) } else { shown.join(", ") }
    }

    fn literal(&self, literal: &Literal) -> String {
        match literal {
            Literal::Value(value) => constant(value),
            Literal::Now { offsets, date, .. } => {
                let mut shown = if *date { "current_date" } else { "now()" }.to_owned();
                for offset in offsets {
                    let _ = write!(shown, " {}", signed(offset));
                }
                shown
            }
        }
    }

    /// A value.
    pub(crate) fn expr(&self, expr: &Expr) -> String {
        let (function, arguments) = match expr {
            Expr::Column(column) => return self.column(*column),
            Expr::Literal(literal) => return self.literal(literal),
            Expr::Ordinal => return "<ordinal>".to_owned(),
            Expr::Call { function, arguments } => (function, arguments),
        };
        let shown: Vec<String> = arguments.iter().take(64).map(|argument| self.expr(argument)).collect();
        let side = |at: usize| match arguments.get(at) {
            Some(Expr::Call { function, .. }) if is_operator(function) => format!("({})", shown[at]),
            _ => shown.get(at).cloned().unwrap_or_default(),
        };
        let infix =
            |operator: &str| (0..shown.len()).map(side).collect::<Vec<_>>().join(&format!(" {operator} "));
        let call = |name: &str| format!("{name}({})", shown.join(", "));
        match function {
            Function::Compare(op) => infix(symbol(*op)),
            Function::Same => infix("IS NOT DISTINCT FROM"),
            Function::IsNull => format!("{} IS NULL", side(0)),
            Function::And => infix("AND"),
            Function::Or => infix("OR"),
            Function::Not => format!("NOT {}", side(0)),
            Function::In => format!("{} IN ({})", side(0), shown.get(1..).unwrap_or_default().join(", ")),
            Function::HasAny(tags) => format!("{} && ARRAY[{}]", side(0), texts(tags)),
            Function::HasAll(tags) => format!("{} @> ARRAY[{}]", side(0), texts(tags)),
            Function::Add => infix("+"),
            Function::Subtract => infix("-"),
            Function::Multiply => infix("*"),
            Function::Divide => infix("/"),
            Function::Modulo => infix("%"),
            Function::Negate => format!("-{}", side(0)),
            Function::AddInterval(by) => format!("{} {}", side(0), signed(by)),
            Function::Concat | Function::AddTags => infix("||"),
            Function::RemoveTag => call("array_remove"),
            Function::Like(pattern) => {
                let operator = match pattern.kind {
                    PatternKind::Like => "LIKE",
                    PatternKind::ILike => "ILIKE",
                    PatternKind::Regex => "~",
                    PatternKind::IRegex => "~*",
                };
                format!("{} {operator} {}", side(0), text(&pattern.pattern))
            }
            Function::DateTrunc(unit) => format!("date_trunc('{}', {})", lower(unit), side(0)),
            Function::Extract(field) => format!("extract({} FROM {})", lower(field), side(0)),
            Function::Years => call("age_in_years"),
            Function::DaysToBirthday => call("days_to_birthday"),
            Function::Bucket { salt, buckets } => format!("bucket({}, {}, {buckets})", side(0), text(salt)),
            Function::AtZone(zone) => format!("{} AT TIME ZONE {}", side(0), text(zone)),
            Function::Cast(data_type) => format!("CAST({} AS {})", shown.join(", "), type_name(*data_type)),
            Function::Case => {
                let mut case = String::from("CASE");
                for branch in shown.chunks(2) {
                    match branch {
                        [when, then] => case += &format!(" WHEN {when} THEN {then}"),
                        rest => case += &format!(" ELSE {}", rest.join("")),
                    }
                }
                case + " END"
            }
            named => call(&lower(named)),
        }
    }
}

/// A name, in quotes where it needs them.
pub(super) fn quoted(name: &str) -> String {
    let word =
        if let Token::Word(word) = Token::make_keyword(name) { word.keyword } else { Keyword::NoKeyword };
    let is_number = name.starts_with(|c: char| c.is_ascii_digit());
    if !is_reserved(word)
        && !is_number
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn is_operator(function: &Function) -> bool {
    matches!(
        function,
        Function::Compare(_)
            | Function::Same
            | Function::And
            | Function::Or
            | Function::Not
            | Function::In
            | Function::Add
            | Function::Subtract
            | Function::Multiply
            | Function::Divide
            | Function::Modulo
            | Function::AddInterval(_)
            | Function::Concat
            | Function::AddTags
            | Function::Like(_)
    )
}

/// The name of a variant as the language writes it: `SplitPart` is split_part.
fn lower(named: &impl std::fmt::Debug) -> String {
    let shown = format!("{named:?}");
    let mut name = String::with_capacity(shown.len() + 4);
    for (at, letter) in shown.chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    match name.as_str() {
        "null_if" => "nullif".to_owned(),
        "day_of_week" => "dow".to_owned(),
        "iso_day_of_week" => "isodow".to_owned(),
        "day_of_year" => "doy".to_owned(),
        "iso_year" => "isoyear".to_owned(),
        _ => name,
    }
}

fn symbol(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn constant(value: &Value) -> String {
    match value {
        Value::Text(shown) => text(shown),
        Value::Date(_) => format!("DATE '{value}'"),
        Value::Timestamp(_) => format!("TIMESTAMP '{value}'"),
        Value::TimestampTz(_) => format!("TIMESTAMPTZ '{value}'"),
        value => value.to_string(),
    }
}

/// `+ INTERVAL '…'`, or `- INTERVAL '…'` where nothing in it is positive.
fn signed(by: &Interval) -> String {
    match by.checked_neg() {
        Some(negated) if by.months <= 0 && by.days <= 0 && by.micros <= 0 => {
            format!("- {}", interval(&negated))
        }
        _ => format!("+ {}", interval(by)),
    }
}

pub(super) fn interval(interval: &Interval) -> String {
    let mut parts = Vec::new();
    for (number, unit) in [(i64::from(interval.months), "months"), (i64::from(interval.days), "days")] {
        if number != 0 {
            parts.push(format!("{number} {unit}"));
        }
    }
    if interval.micros != 0 || parts.is_empty() {
        parts.push(match interval.micros {
            micros if micros % 3_600_000_000 == 0 => format!("{} hours", micros / 3_600_000_000),
            micros if micros % 1_000_000 == 0 => format!("{} seconds", micros / 1_000_000),
            micros => format!("{micros} microseconds"),
        });
    }
    format!("INTERVAL '{}'", parts.join(" "))
}

pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn texts(tags: &[String]) -> String {
    let shown: Vec<String> = tags.iter().take(LISTED_MAX).map(|tag| text(tag)).collect();
    let more = tags.len().saturating_sub(LISTED_MAX);
    if more > 0 { format!("{}, <{more} more>", shown.join(", ")) } else { shown.join(", ") }
}

fn type_name(data_type: DataType) -> String {
    data_type.to_string()
}
