//! Rows that are made of rows as SQL again: each step a SELECT of the one below, its values under names of their own.

use super::render::{Renderer, quoted, text};
use crate::bind::Source;
use crate::statement::aggregate_name;
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{
    Derived, Frame, FrameBound, FrameOffset, FrameUnit, FunnelModes, Interval, Join, JoinKind, Predicate,
    Relation, RowAggregate, RowFunction, Scan, SortKey, Tie, WindowCall, WindowFunction,
};
use muster_engine::schema::ColumnId;
use std::sync::Arc;

/// A step: the parts of one SELECT, filled from FROM upwards.
struct Step {
    /// The select list; `None` is all.
    list: Option<String>,
    from: String,
    filter: Option<String>,
    /// GROUP BY, ORDER BY, LIMIT.
    rest: String,
}

impl Step {
    fn text(&self) -> String {
        let list = self.list.as_deref().unwrap_or("*");
        let filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" WHERE {filter}"));
        format!("SELECT {list} FROM {}{filter}{}", self.from, self.rest)
    }

    /// What stands after FROM of the next step.
    fn source(&self) -> String {
        if self.list.is_none() && self.filter.is_none() && self.rest.is_empty() {
            return self.from.clone();
        }
        format!("({})", self.text())
    }
}

impl Renderer<'_> {
    /// Of whom rows say so, or say not so.
    pub(super) fn derived(&self, derived: &Derived, so: bool) -> String {
        let not = if so { "" } else { "NOT " };
        let names = self.names_of(&derived.rows);
        let renderer = Renderer { slots: &names, ..*self };
        let rows = renderer.step(&derived.rows);
        let name = |id: ColumnId| renderer.name(id);
        let whole = match derived.tie {
            Tie::In { column, value } => {
                format!("{} {not}IN (SELECT {} FROM {})", self.column(column), name(value), rows.source())
            }
            Tie::Truth { ordinal, truth } => {
                let key = self.source.schema.key.map_or_else(ordinal_text, |key| self.column(key));
                format!(
                    "{key} IN (SELECT {} FROM {} WHERE {not}{})",
                    name(ordinal),
                    rows.source(),
                    name(truth)
                )
            }
        };
        match derived.certainly {
            None => whole,
            Some(certain) => format!("({whole}) IS {}", if certain { "TRUE" } else { "FALSE" }),
        }
    }

    /// What a value is called: as it is rendered wherever it is named.
    fn name(&self, id: ColumnId) -> String {
        let known = (id.0 as usize).checked_sub(1).and_then(|at| self.slots.get(at));
        known.cloned().unwrap_or_else(|| format!("c{}", id.0))
    }

    fn step(&self, rows: &Relation) -> Step {
        match rows {
            Relation::Scan(scan) => self.scan(scan),
            Relation::Filter { input, condition } => {
                let mut step = self.step(input);
                if step.list.is_some() || step.filter.is_some() || !step.rest.is_empty() {
                    step = from(step.source());
                }
                step.filter = Some(self.expr(condition));
                step
            }
            Relation::Compute { input, outputs } => {
                let mut step = self.step(input);
                if step.list.is_some() || !step.rest.is_empty() {
                    step = from(step.source());
                }
                step.list = Some(if outputs.is_empty() { "1 AS c0".to_owned() } else { self.named(outputs) });
                step
            }
            Relation::Join(join) => self.join(join),
            Relation::Append { columns, inputs } => {
                let one = |(ids, input): &(Vec<ColumnId>, Relation)| {
                    let listed = ids.iter().zip(columns);
                    let listed = listed.map(|(id, column)| as_named(self.name(*id), &self.name(*column)));
                    let mut listed: Vec<String> = listed.collect();
                    if listed.is_empty() {
                        listed.push("1 AS c0".to_owned());
                    }
                    format!("SELECT {} FROM {}", listed.join(", "), self.step(input).source())
                };
                let parts: Vec<String> = inputs.iter().map(one).collect();
                from(format!("({})", parts.join(" UNION ALL ")))
            }
            Relation::Group { input, keys, aggregates } => {
                let mut step = self.step(input);
                if step.list.is_some() || !step.rest.is_empty() {
                    step = from(step.source());
                }
                let made =
                    aggregates.iter().map(|(id, one)| format!("{} AS {}", self.made_of(one), self.name(*id)));
                let mut list: Vec<String> = keys.iter().map(|(id, key)| self.alias(key, *id)).collect();
                list.extend(made);
                if list.is_empty() {
                    list.push("count(*)".to_owned());
                }
                step.list = Some(list.join(", "));
                if !keys.is_empty() {
                    let positions: Vec<String> = (1..=keys.len()).map(|at| at.to_string()).collect();
                    step.rest = format!(" GROUP BY {}", positions.join(", "));
                }
                step
            }
            Relation::Window { input, partition, order, outputs } => {
                let mut step = from(self.step(input).source());
                let mut over = Vec::new();
                if !partition.is_empty() {
                    let shown: Vec<String> = partition.iter().map(|expr| self.expr(expr)).collect();
                    over.push(format!("PARTITION BY {}", shown.join(", ")));
                }
                if !order.is_empty() {
                    over.push(format!("ORDER BY {}", self.order(order)));
                }
                let calls = outputs.iter().map(|(id, call)| {
                    let frame = call.frame.as_ref().map(|frame| self.frame(frame));
                    let over: Vec<&str> = over.iter().chain(&frame).map(String::as_str).collect();
                    format!(", {} OVER ({}) AS {}", self.call(call), over.join(" "), self.name(*id))
                });
                step.list = Some(format!("*{}", calls.collect::<String>()));
                step
            }
            Relation::Sort { input, order, offset, limit } => {
                let mut step = from(self.step(input).source());
                if !order.is_empty() {
                    step.rest = format!(" ORDER BY {}", self.order(order));
                }
                if let Some(limit) = limit {
                    step.rest += &format!(" LIMIT {limit}");
                }
                if *offset > 0 {
                    step.rest += &format!(" OFFSET {offset}");
                }
                step
            }
        }
    }

    fn scan(&self, scan: &Scan) -> Step {
        let Ok(schema) = self.snapshot.schema(scan.table) else {
            return from(format!("<table #{}>", scan.table.0));
        };
        let source = Source::of_table(Arc::clone(schema));
        let inner = Renderer { source: &source, snapshot: self.snapshot, slots: &[] };
        let columns = scan.columns.iter().map(|(column, id)| {
            let shown = match *column {
                ColumnId::LIVE => schema.key.map_or_else(ordinal_text, |key| inner.column(key)),
                column => inner.column(column),
            };
            as_named(shown, &self.name(*id))
        });
        let mut columns: Vec<String> = columns.collect();
        if columns.is_empty() {
            columns.push("1 AS c0".to_owned());
        }
        let filter = (scan.condition != Predicate::everyone()).then(|| inner.predicate(&scan.condition));
        // A list of its own: what stands above names these values.
        let own =
            Step { list: Some(columns.join(", ")), from: quoted(&source.name), filter, rest: String::new() };
        from(own.source())
    }

    fn join(&self, join: &Join) -> Step {
        let (left, right) = (self.step(&join.left).source(), self.step(&join.right));
        // A join on the right stands in parentheses.
        let right = if matches!(join.right, Relation::Join(_)) {
            format!("({})", right.text())
        } else {
            right.source()
        };
        let pairs = join.keys.iter().map(|(a, b)| format!("{} = {}", self.expr(a), self.expr(b)));
        let condition = join.condition.as_ref().map(|expr| match expr {
            Expr::Call { function: Function::Or, .. } => format!("({})", self.expr(expr)),
            expr => self.expr(expr),
        });
        let on: Vec<String> = pairs.chain(condition).collect();
        let condition = on.join(" AND ");
        match join.kind {
            JoinKind::Inner if on.is_empty() => from(format!("{left} CROSS JOIN {right}")),
            JoinKind::Inner => from(format!("{left} JOIN {right} ON {condition}")),
            JoinKind::Left | JoinKind::Single => {
                let on = if on.is_empty() { "TRUE" } else { &condition };
                from(format!("{left} LEFT JOIN {right} ON {on}"))
            }
            JoinKind::Full => {
                let on = if on.is_empty() { "TRUE" } else { &condition };
                from(format!("{left} FULL JOIN {right} ON {on}"))
            }
            JoinKind::Mark(mark) => {
                let filter = if on.is_empty() { String::new() } else { format!(" WHERE {condition}") };
                let mark = format!("*, EXISTS (SELECT 1 FROM {right}{filter}) AS {}", self.name(mark));
                Step { list: Some(mark), ..from(left) }
            }
            JoinKind::In(mark) => {
                let (value, of) = match join.keys.first() {
                    Some((value, of)) => (self.expr(value), self.expr(of)),
                    None => ("NULL".to_owned(), "NULL".to_owned()),
                };
                let ties = on.get(1..).unwrap_or_default().join(" AND ");
                let filter = if ties.is_empty() { String::new() } else { format!(" WHERE {ties}") };
                let mark = format!("*, {value} IN (SELECT {of} FROM {right}{filter}) AS {}", self.name(mark));
                Step { list: Some(mark), ..from(left) }
            }
        }
    }

    fn made_of(&self, aggregate: &RowAggregate) -> String {
        let arguments = self.exprs(&aggregate.arguments);
        let distinct = if aggregate.distinct { "DISTINCT " } else { "" };
        let call = match aggregate.function {
            RowFunction::Fold(function) if aggregate.arguments.is_empty() => {
                format!("{}(*)", aggregate_name(function))
            }
            RowFunction::Fold(function) => format!("{}({distinct}{arguments})", aggregate_name(function)),
            RowFunction::ArgMin => format!("arg_min({arguments})"),
            RowFunction::ArgMax => format!("arg_max({arguments})"),
            RowFunction::Median => format!("median({arguments})"),
            RowFunction::Funnel { micros, strict } => {
                let options = if strict { vec!["strict_increase"] } else { Vec::new() };
                funnel("funnel", micros, &options, &arguments)
            }
            RowFunction::Consecutive { micros } => funnel("funnel", micros, &["consecutive"], &arguments),
            RowFunction::WindowFunnel { micros, modes } => {
                let named = FunnelModes::NAMED.iter().filter(|(_, mode)| modes.has(*mode));
                let options: Vec<&str> = named.map(|(name, _)| *name).collect();
                funnel("window_funnel", micros, &options, &arguments)
            }
            RowFunction::Sequence { counts: false } => format!("sequence_match({arguments})"),
            RowFunction::Sequence { counts: true } => format!("sequence_count({arguments})"),
            RowFunction::CountDistinct => format!("count(DISTINCT {arguments})"),
            RowFunction::QuantileCont => format!("quantile_cont({arguments})"),
            RowFunction::QuantileDisc { descending: false } => format!("quantile_disc({arguments})"),
            RowFunction::QuantileDisc { descending: true } => match aggregate.arguments.as_slice() {
                [of, part] => format!(
                    "percentile_disc({}) WITHIN GROUP (ORDER BY {} DESC)",
                    self.expr(part),
                    self.expr(of)
                ),
                _ => format!("percentile_disc({arguments})"),
            },
            RowFunction::Mode { descending: false } => format!("mode({arguments})"),
            RowFunction::Mode { descending: true } => {
                format!("mode() WITHIN GROUP (ORDER BY {arguments} DESC)")
            }
        };
        match &aggregate.filter {
            None => call,
            Some(filter) => format!("{call} FILTER (WHERE {})", self.expr(filter)),
        }
    }

    fn call(&self, call: &WindowCall) -> String {
        let arguments = self.exprs(&call.arguments);
        let shifted = |name: &str, by: u32| match call.arguments.as_slice() {
            [value, default] => format!("{name}({}, {by}, {})", self.expr(value), self.expr(default)),
            _ => format!("{name}({arguments}, {by})"),
        };
        match call.function {
            WindowFunction::RowNumber => "row_number()".to_owned(),
            WindowFunction::Rank => "rank()".to_owned(),
            WindowFunction::DenseRank => "dense_rank()".to_owned(),
            WindowFunction::Ntile(parts) => format!("ntile({parts})"),
            WindowFunction::Lag(by) => shifted("lag", by),
            WindowFunction::Lead(by) => shifted("lead", by),
            WindowFunction::FirstValue => format!("first_value({arguments})"),
            WindowFunction::LastValue => format!("last_value({arguments})"),
            WindowFunction::NthValue(number) => format!("nth_value({arguments}, {number})"),
            WindowFunction::Fold(function) if call.arguments.is_empty() => {
                format!("{}(*)", aggregate_name(function))
            }
            WindowFunction::Fold(function) => format!("{}({arguments})", aggregate_name(function)),
        }
    }

    fn frame(&self, frame: &Frame) -> String {
        let unit = match frame.unit {
            FrameUnit::Rows => "ROWS",
            FrameUnit::Groups => "GROUPS",
            FrameUnit::Range => "RANGE",
        };
        let bound = |bound: &FrameBound| match bound {
            FrameBound::First => "UNBOUNDED PRECEDING".to_owned(),
            FrameBound::Before(offset) => format!("{} PRECEDING", self.offset(offset)),
            FrameBound::Current => "CURRENT ROW".to_owned(),
            FrameBound::After(offset) => format!("{} FOLLOWING", self.offset(offset)),
            FrameBound::Last => "UNBOUNDED FOLLOWING".to_owned(),
        };
        format!("{unit} BETWEEN {} AND {}", bound(&frame.start), bound(&frame.end))
    }

    /// How far, of what was computed of the value that orders.
    fn offset(&self, offset: &FrameOffset) -> String {
        match offset {
            FrameOffset::Count(count) => count.to_string(),
            FrameOffset::Value(Expr::Call { function: Function::AddInterval(by), .. }) => {
                let by = Interval {
                    months: by.months.saturating_abs(),
                    days: by.days.saturating_abs(),
                    micros: by.micros.saturating_abs(),
                };
                super::render::interval(&by)
            }
            FrameOffset::Value(Expr::Call { function: Function::Add | Function::Subtract, arguments }) => {
                arguments.get(1).map_or_else(|| "0".to_owned(), |by| self.expr(by))
            }
            FrameOffset::Value(expr) => self.expr(expr),
        }
    }

    fn order(&self, order: &[SortKey]) -> String {
        let keys = order.iter().map(|key| {
            let direction = if key.descending { " DESC" } else { "" };
            // As they come without a word, NULLs are the greatest.
            let nulls = match (key.nulls_first, key.descending) {
                (true, false) => " NULLS FIRST",
                (false, true) => " NULLS LAST",
                _ => "",
            };
            format!("{}{direction}{nulls}", self.expr(&key.value))
        });
        keys.collect::<Vec<_>>().join(", ")
    }

    fn named(&self, values: &[(ColumnId, Expr)]) -> String {
        values.iter().map(|(id, expr)| self.alias(expr, *id)).collect::<Vec<_>>().join(", ")
    }

    fn alias(&self, expr: &Expr, id: ColumnId) -> String {
        as_named(self.expr(expr), &self.name(id))
    }

    fn exprs(&self, exprs: &[Expr]) -> String {
        exprs.iter().map(|expr| self.expr(expr)).collect::<Vec<_>>().join(", ")
    }
}

fn from(from: String) -> Step {
    Step { list: None, from, filter: None, rest: String::new() }
}

fn funnel(name: &str, micros: i64, options: &[&str], arguments: &str) -> String {
    let window = super::render::interval(&Interval { months: 0, days: 0, micros });
    let options: String = options.iter().map(|option| format!("{}, ", text(option))).collect();
    format!("{name}({window}, {options}{arguments})")
}

fn ordinal_text() -> String {
    "<ordinal>".to_owned()
}

fn as_named(shown: String, name: &str) -> String {
    if shown == name { shown } else { format!("{shown} AS {name}") }
}
