//! Our statements: what the parser makes of a text, and what the binder reads.
//!
//! Small on purpose: it holds only what can be answered. AND and OR are n-ary, so a chain of ten thousand terms is one
//! level deep; depth comes from nesting alone, which [`crate::dialect`] limits. Constants are folded already. Every
//! part that can be refused later carries its span.

use crate::analysis::grammar::{Explain, Overlap, Profile, Setting};
use crate::constant::Operator;
use crate::ddl::Definition;
use crate::error::Span;
use crate::transaction::Control;
use crate::users;
use crate::write::grammar::Change;
use muster_engine::database::Conflict;
use muster_engine::exec::FoldFunction;
use muster_engine::expr::PatternKind;
use muster_engine::predicate::{CompareOp, FrameUnit, Interval};
use muster_engine::schema::DataType;
use muster_engine::transfer::TextEncoding;
use muster_engine::value::Value;
use std::sync::Arc;

/// One statement.
#[derive(Debug)]
pub(crate) enum Statement {
    CreateTable(CreateTable),
    Define(Box<Definition>),
    Users(Box<users::grammar::Change>),
    Copy(Box<CopyFrom>),
    CopyTo(Box<CopyTo>),
    Change(Box<Change>),
    Control(Control),
    Checkpoint,
    Refresh,
    Backup { directory: String, span: Span },
    Select(Box<Select>),
    Explain(Box<Explain>),
    Profile(Box<Profile>),
    Overlap(Box<Overlap>),
    Set(Setting),
    ShowTables,
    ShowViews,
    ShowAudiences,
    ShowUsers,
    Describe(Name),
}

/// An identifier, folded to lower case unless it was quoted.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Name {
    /// A name that stands in no text: it came as an argument.
    pub(crate) fn outside(text: &str) -> Name {
        Name { text: text.to_owned(), span: Span { start: 0, end: 0 } }
    }
}

#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ColumnDefinition>,
    /// The `PRIMARY KEY (column)` or the column marked so.
    pub(crate) key: Option<Name>,
    /// The columns with `REFERENCES table [(key)]`.
    pub(crate) references: Vec<References>,
    /// `WITH (owner = 'column')`; `None` in it is NONE.
    pub(crate) owner: Option<Option<Name>>,
    /// `WITH (time = 'column')`, likewise.
    pub(crate) time: Option<Option<Name>>,
    /// `WITH (sums = 'column, …')`
    pub(crate) sums: Vec<Name>,
    /// `WITH (cluster = 'column')`; NONE is as if it were not said.
    pub(crate) cluster: Option<Option<Name>>,
}

impl CreateTable {
    pub(crate) fn new(name: Name, if_not_exists: bool) -> CreateTable {
        CreateTable {
            name,
            if_not_exists,
            columns: Vec::new(),
            key: None,
            references: Vec::new(),
            owner: None,
            time: None,
            sums: Vec::new(),
            cluster: None,
        }
    }
}

/// `column REFERENCES table [(key)]`
#[derive(Debug)]
pub(crate) struct References {
    pub(crate) column: Name,
    pub(crate) table: Name,
    pub(crate) key: Option<Name>,
}

#[derive(Debug)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: Name,
    pub(crate) data_type: DataType,
    pub(crate) type_span: Span,
    pub(crate) not_null: bool,
}

/// `COPY table [(columns)] FROM files (options)`.
#[derive(Debug)]
pub(crate) struct CopyFrom {
    pub(crate) table: Name,
    pub(crate) columns: Vec<Name>,
    pub(crate) files: Vec<(String, Span)>,
    pub(crate) options: CopyOptions,
}

/// `COPY what TO file (options)`.
#[derive(Debug)]
pub(crate) struct CopyTo {
    pub(crate) what: CopyWhat,
    pub(crate) file: String,
    pub(crate) file_span: Span,
    pub(crate) options: CopyOptions,
}

/// What is written to a file.
#[derive(Debug)]
pub(crate) enum CopyWhat {
    Table {
        table: Name,
        columns: Vec<Name>,
    },
    Select {
        select: Box<Select>,
        span: Span,
        /// The text at the span, for who reads the file later.
        text: String,
    },
}

/// What stands in the parentheses after COPY's files; `None` where nothing does.
#[derive(Debug, Default)]
pub(crate) struct CopyOptions {
    pub(crate) format: Option<CopyFormat>,
    pub(crate) header: Option<bool>,
    pub(crate) delimiter: Option<u8>,
    /// `Some(None)` where nothing is quoted.
    pub(crate) quote: Option<Option<u8>>,
    pub(crate) escape: Option<u8>,
    pub(crate) nulls: Vec<String>,
    pub(crate) encoding: Option<TextEncoding>,
    pub(crate) skips_bad_rows: bool,
    pub(crate) rejects: Option<String>,
    pub(crate) conflict: Conflict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    Csv,
    Parquet,
    Jsonl,
    Roaring,
}

#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub(crate) distinct: bool,
    pub(crate) items: Vec<Item>,
    pub(crate) from: From,
    /// What FROM names besides, in order.
    pub(crate) joins: Vec<JoinedFrom>,
    pub(crate) filter: Option<Condition>,
    pub(crate) group_by: Vec<Key>,
    pub(crate) having: Option<Condition>,
    /// `WINDOW name AS (…)`
    pub(crate) windows: Vec<(Name, Over)>,
    pub(crate) order_by: Vec<Order>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
}

/// What a SELECT asks.
#[derive(Clone, Debug)]
pub(crate) struct From {
    pub(crate) source: FromSource,
    pub(crate) alias: Option<Name>,
    pub(crate) sample: Option<Sample>,
}

/// `JOIN b ON …`, and what stands after a comma.
#[derive(Clone, Debug)]
pub(crate) struct JoinedFrom {
    pub(crate) from: From,
    pub(crate) kind: JoinWord,
    pub(crate) on: On,
    pub(crate) span: Span,
}

/// Whose rows stay without a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinWord {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Clone, Debug)]
pub(crate) enum On {
    /// Every pair.
    Everything,
    Condition(Condition),
    Using(Vec<Name>),
}

#[derive(Clone, Debug)]
pub(crate) enum FromSource {
    /// A table, a view or an audience.
    Named(Name),
    /// `(SELECT …)`
    Select(Box<Select>, Span),
    /// `SELECT … UNION SELECT …`, whose order and limit are those of a SELECT around.
    Sets(Box<Sets>),
}

/// SELECTs joined by UNION, INTERSECT and EXCEPT, from left to right.
#[derive(Clone, Debug)]
pub(crate) struct Sets {
    pub(crate) first: Select,
    pub(crate) rest: Vec<SetPart>,
    pub(crate) span: Span,
}

/// `UNION ALL SELECT …`
#[derive(Clone, Debug)]
pub(crate) struct SetPart {
    pub(crate) word: SetWord,
    /// True where equal rows stay several.
    pub(crate) all: bool,
    pub(crate) select: Select,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetWord {
    Union,
    Intersect,
    Except,
}

/// `TABLESAMPLE BERNOULLI (percent) [REPEATABLE (seed)]`
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) percent: f64,
    pub(crate) seed: i64,
}

/// One entry of the select list.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// `*` or `t.*`
    Star { qualifier: Option<Name>, span: Span },
    /// An expression.
    Output { term: Term, alias: Option<Name> },
}

/// A column, perhaps under its table's name.
#[derive(Clone, Debug)]
pub(crate) struct ColumnName {
    pub(crate) qualifier: Option<Name>,
    pub(crate) name: Name,
}

#[derive(Clone, Debug)]
pub(crate) struct AggregateCall {
    pub(crate) function: FoldFunction,
    /// `None` is `count(*)`.
    pub(crate) argument: Option<Term>,
    pub(crate) distinct: bool,
    /// `FILTER (WHERE …)`
    pub(crate) filter: Option<Condition>,
}

/// An aggregate of several values of each row: `arg_max(x, t)`.
#[derive(Clone, Debug)]
pub(crate) struct RowCall {
    pub(crate) name: RowCallName,
    pub(crate) arguments: Vec<Term>,
    /// True after `WITHIN GROUP (ORDER BY x DESC)`.
    pub(crate) descending: bool,
    pub(crate) filter: Option<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowCallName {
    ArgMin,
    ArgMax,
    Median,
    QuantileCont,
    QuantileDisc,
    Mode,
    /// `count(DISTINCT a, b)`
    CountDistinct,
    WindowFunnel,
    Funnel,
    SequenceMatch,
    SequenceCount,
}

impl RowCallName {
    /// The aggregate of a name, where it is one of these.
    pub(crate) fn named(name: &str) -> Option<RowCallName> {
        Some(match name {
            "arg_min" | "argmin" | "min_by" => RowCallName::ArgMin,
            "arg_max" | "argmax" | "max_by" => RowCallName::ArgMax,
            "median" => RowCallName::Median,
            "quantile_cont" | "percentile_cont" => RowCallName::QuantileCont,
            "quantile_disc" | "percentile_disc" => RowCallName::QuantileDisc,
            "mode" => RowCallName::Mode,
            "window_funnel" | "windowfunnel" => RowCallName::WindowFunnel,
            "funnel" => RowCallName::Funnel,
            "sequence_match" | "sequencematch" => RowCallName::SequenceMatch,
            "sequence_count" | "sequencecount" => RowCallName::SequenceCount,
            _ => return None,
        })
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            RowCallName::ArgMin => "arg_min",
            RowCallName::ArgMax => "arg_max",
            RowCallName::Median => "median",
            RowCallName::QuantileCont => "quantile_cont",
            RowCallName::QuantileDisc => "quantile_disc",
            RowCallName::Mode => "mode",
            RowCallName::CountDistinct => "count",
            RowCallName::WindowFunnel => "window_funnel",
            RowCallName::Funnel => "funnel",
            RowCallName::SequenceMatch => "sequence_match",
            RowCallName::SequenceCount => "sequence_count",
        }
    }
}

/// `row_number() OVER (…)`
#[derive(Clone, Debug)]
pub(crate) struct WindowTerm {
    pub(crate) call: Windowed,
    pub(crate) over: Over,
}

#[derive(Clone, Debug)]
pub(crate) enum Windowed {
    /// A function by its name, in lower case.
    Function(String, Vec<Term>),
    Aggregate(Box<AggregateCall>),
}

/// Which rows are neighbours, and their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Over {
    /// A name of the WINDOW clause, whose order and partition it has.
    pub(crate) named: Option<Name>,
    pub(crate) partition: Vec<Term>,
    pub(crate) order: Vec<Order>,
    pub(crate) frame: Option<OverFrame>,
}

/// `ROWS BETWEEN 2 PRECEDING AND CURRENT ROW`
#[derive(Clone, Debug)]
pub(crate) struct OverFrame {
    pub(crate) unit: FrameUnit,
    pub(crate) start: OverBound,
    pub(crate) end: OverBound,
    pub(crate) span: Span,
}

/// An end of a frame.
#[derive(Clone, Debug)]
pub(crate) enum OverBound {
    First,
    Before(Term),
    Current,
    After(Term),
    Last,
}

impl Select {
    /// True where it asks what is made of rows: more than one table, a window, an aggregate of several values, groups of
    /// groups.
    pub(crate) fn is_relational(&self) -> bool {
        let of_rows = |term: &Term| {
            term.any(&mut |term| matches!(term.kind, TermKind::RowAggregate(_) | TermKind::Window(_)))
        };
        let item = |item: &Item| matches!(item, Item::Output { term, .. } if of_rows(term));
        let order = |order: &Order| matches!(&order.key, Key::Term(term) if of_rows(term));
        let inner = match &self.from.source {
            FromSource::Named(_) => false,
            FromSource::Sets(_) => true,
            FromSource::Select(inner, _) => {
                inner.is_relational()
                    || inner.distinct
                    || !inner.group_by.is_empty()
                    || inner.having.is_some()
            }
        };
        inner
            || !self.joins.is_empty()
            || self.items.iter().any(item)
            || self.order_by.iter().any(order)
            || self.having.as_ref().is_some_and(|having| {
                having.any_term(&mut |term| {
                    matches!(term.kind, TermKind::RowAggregate(_) | TermKind::Window(_))
                })
            })
    }
}

/// The aggregate of a name.
pub(crate) fn aggregate_named(name: &str) -> Option<FoldFunction> {
    Some(match name {
        "count" => FoldFunction::Count,
        "sum" => FoldFunction::Sum,
        "avg" => FoldFunction::Avg,
        "min" => FoldFunction::Min,
        "max" => FoldFunction::Max,
        _ => return None,
    })
}

/// The name of an aggregate.
pub(crate) fn aggregate_name(function: FoldFunction) -> &'static str {
    match function {
        FoldFunction::Count => "count",
        FoldFunction::Sum => "sum",
        FoldFunction::Avg => "avg",
        FoldFunction::Min => "min",
        FoldFunction::Max => "max",
    }
}

/// What a GROUP BY or ORDER BY entry names.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// A place in the select list, from 1.
    Position(usize, Span),
    /// A column, an alias or an expression.
    Term(Term),
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) descending: bool,
    /// `NULLS FIRST` is true; without a word NULLs are the greatest.
    pub(crate) nulls_first: bool,
}

/// A condition: WHERE, HAVING, FILTER, a branch of CASE.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    /// A bare term: a BOOLEAN column, TRUE, FALSE, NULL.
    Term(Term),
    Compare {
        left: Term,
        op: CompareOp,
        right: Term,
    },
    In {
        left: Term,
        list: Vec<Term>,
    },
    /// `left IN (SELECT …)`
    InSelect {
        left: Term,
        select: Arc<Select>,
        span: Span,
    },
    /// `EXISTS (SELECT …)`
    Exists {
        select: Arc<Select>,
        span: Span,
    },
    /// `left IS DISTINCT FROM right`
    Distinct {
        left: Term,
        right: Term,
    },
    /// `left LIKE right` and its kin; the pattern is a constant.
    Matches {
        left: Term,
        kind: PatternKind,
        pattern: Term,
    },
    Is {
        term: Term,
        what: Is,
    },
    /// `left op ANY (right)`, `left op ALL (right)`
    Quantified {
        left: Term,
        op: CompareOp,
        all: bool,
        right: Term,
    },
    /// `left @> right`, `left && right`
    Sets {
        left: Term,
        op: SetOp,
        right: Term,
    },
    /// `in_audience('name')`
    Audience(Name),
}

/// What `IS` asks; its negation is a [`Condition::Not`], for an answer of IS is never unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Null,
    True,
    False,
    /// `IS UNKNOWN`: as NULL, but of booleans only.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOp {
    /// `@>`
    Contains,
    /// `<@`
    ContainedBy,
    /// `&&`
    Overlaps,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) kind: TermKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum TermKind {
    Column(ColumnName),
    Constant(Constant),
    /// `ARRAY[…]` of constants.
    Array(Vec<Term>),
    /// A list that came as a parameter.
    List(Arc<[Value]>),
    /// An operator or a function of terms.
    Call(Call, Vec<Term>),
    /// A condition as a value.
    Condition(Box<Condition>),
    Aggregate(Box<AggregateCall>),
    RowAggregate(Box<RowCall>),
    Window(Box<WindowTerm>),
    /// `(SELECT …)`
    Select(Arc<Select>),
}

/// Something in a term or condition.
#[derive(Clone, Copy)]
pub(crate) enum Seen<'s> {
    Term(&'s Term),
    Condition(&'s Condition),
}

impl Term {
    /// True where this is so of the term or of one in it; what a SELECT in it says is not looked at.
    pub(crate) fn any(&self, is: &mut dyn FnMut(&Term) -> bool) -> bool {
        self.sees(&mut |seen| matches!(seen, Seen::Term(term) if is(term)))
    }

    /// True where this is so of the term, or of a term or condition in it.
    pub(crate) fn sees(&self, is: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        is(Seen::Term(self))
            || match &self.kind {
                TermKind::Column(_) | TermKind::Constant(_) | TermKind::List(_) | TermKind::Select(_) => {
                    false
                }
                TermKind::Array(terms) | TermKind::Call(_, terms) => terms.iter().any(|term| term.sees(is)),
                TermKind::Condition(condition) => condition.sees(is),
                TermKind::Aggregate(call) => call.sees(is),
                TermKind::RowAggregate(call) => {
                    call.arguments.iter().any(|term| term.sees(is))
                        || call.filter.as_ref().is_some_and(|filter| filter.sees(is))
                }
                TermKind::Window(window) => window.sees(is),
            }
    }
}

impl AggregateCall {
    fn sees(&self, is: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        self.argument.as_ref().is_some_and(|term| term.sees(is))
            || self.filter.as_ref().is_some_and(|filter| filter.sees(is))
    }
}

impl WindowTerm {
    fn sees(&self, is: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        let called = match &self.call {
            Windowed::Function(_, arguments) => arguments.iter().any(|term| term.sees(is)),
            Windowed::Aggregate(call) => call.sees(is),
        };
        called
            || self.over.partition.iter().any(|term| term.sees(is))
            || self.over.order.iter().any(|order| matches!(&order.key, Key::Term(term) if term.sees(is)))
    }
}

impl Condition {
    /// [`Term::any`] of its terms.
    pub(crate) fn any_term(&self, is: &mut dyn FnMut(&Term) -> bool) -> bool {
        self.sees(&mut |seen| matches!(seen, Seen::Term(term) if is(term)))
    }

    /// [`Term::sees`], of itself too.
    pub(crate) fn sees(&self, is: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        if is(Seen::Condition(self)) {
            return true;
        }
        match self {
            Condition::And(terms) | Condition::Or(terms) => terms.iter().any(|term| term.sees(is)),
            Condition::Not(inner) => inner.sees(is),
            Condition::Term(term) | Condition::Is { term, .. } | Condition::InSelect { left: term, .. } => {
                term.sees(is)
            }
            Condition::Compare { left, right, .. }
            | Condition::Distinct { left, right }
            | Condition::Quantified { left, right, .. }
            | Condition::Matches { left, pattern: right, .. }
            | Condition::Sets { left, right, .. } => left.sees(is) || right.sees(is),
            Condition::In { left, list } => left.sees(is) || list.iter().any(|term| term.sees(is)),
            Condition::Exists { .. } | Condition::Audience(_) => false,
        }
    }

    /// True where a SELECT in it, after IN, of EXISTS or as a value, is so.
    pub(crate) fn any_select(&self, is: &mut dyn FnMut(&Select) -> bool) -> bool {
        self.sees(&mut |seen| match seen {
            Seen::Condition(Condition::InSelect { select, .. } | Condition::Exists { select, .. })
            | Seen::Term(Term { kind: TermKind::Select(select), .. }) => is(select),
            _ => false,
        })
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// A function by its name, in lower case.
    Function(String),
    Operator(Operator),
    /// `-x`
    Negate,
    /// `x::type`
    Cast(DataType),
    /// `CASE`: condition, value, …, and perhaps a value for the rest.
    Case,
    /// `x AT TIME ZONE 'name'`
    Zone,
    /// `extract(field FROM x)`: the field's name, as a constant, comes first.
    Extract,
}

/// A folded constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    /// NULL.
    Null,
    /// A string literal whose type the other side decides, as in PostgreSQL.
    Unknown(String),
    /// A constant with a type.
    Value(Value),
    /// An INTERVAL.
    Interval(Interval),
    /// `now()`, moved; `date` where it was cut to its day first.
    Now {
        offsets: Vec<Interval>,
        date: bool,
        /// True while it is still a DATE (`current_date`), which counts in days.
        is_date: bool,
    },
}
