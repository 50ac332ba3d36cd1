//! The shape of a SELECT: sqlparser's tree to ours, everything else refused.
//!
//! Every field of sqlparser's tree that changes an answer is named here, so that nothing is passed over in silence.
//! Conditions are lowered by [`crate::condition`].

use crate::condition::Lowering;
use crate::ddl::folded;
use crate::dialect::span_of;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::refusals::SELECT_SHAPE;
use crate::statement::{
    AggregateCall, ColumnName, Constant, Function, Item, Key, Name, Order, Output, Select, Term, TermKind,
};
use muster_engine::value::Value;
use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, LimitClause, OrderByKind,
};
use sqlparser::ast::{SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, TableFactor};

/// Lowers a query. `lists` are the long IN lists that were taken out of the tokens; `end` is where the text ends.
pub(crate) fn select(query: ast::Query, lists: Vec<Vec<Term>>, sql: &str, end: Span) -> Result<Select> {
    let SetExpr::Select(select) = *query.body else {
        return Err(shape(span_of(query.body.span()), "this is not supported"));
    };
    let select = *select;
    let keyword = span_of(select.select_token.0.span).unwrap_or(Span { start: 0, end: end.start });
    let plain = query.with.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty()
        && select.distinct.is_none()
        && select.select_modifiers.is_none()
        && select.top.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.having.is_none()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none()
        && select.flavor == ast::SelectFlavor::Standard;
    if !plain {
        return Err(shape(keyword, "a clause of this SELECT is not supported"));
    }
    let (table, alias) = from(select.from, keyword, end)?;
    let mut lowering = Lowering::new(lists, sql);
    let items =
        select.projection.into_iter().map(|item| self::item(item, keyword)).collect::<Result<Vec<_>>>()?;
    if items.is_empty() {
        return Err(Error::syntax(keyword, "expected columns after SELECT")
            .advise("write SELECT * or SELECT count(*)"));
    }
    let filter = select.selection.map(|condition| lowering.condition(condition, keyword)).transpose()?;
    let group_by = match select.group_by {
        GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => {
            keys.into_iter().map(|key| self::key(key, keyword, "GROUP BY")).collect::<Result<Vec<_>>>()?
        }
        _ => return Err(shape(keyword, "this GROUP BY is not supported").advise("name the columns")),
    };
    let order_by = match query.order_by {
        None => Vec::new(),
        Some(order_by) => self::order_by(order_by, keyword)?,
    };
    let (limit, offset) = limits(query.limit_clause, &mut lowering, keyword)?;
    Ok(Select { items, table, alias, filter, group_by, order_by, limit, offset })
}

fn shape(span: impl Into<Option<Span>>, message: &str) -> Error {
    Error::unsupported(span, message).advise(SELECT_SHAPE)
}

fn from(from: Vec<ast::TableWithJoins>, keyword: Span, end: Span) -> Result<(Name, Option<Name>)> {
    let mut tables = from.into_iter();
    let Some(first) = tables.next() else {
        let span = Span { start: end.start, end: end.start };
        return Err(Error::syntax(span, "expected FROM and a table").advise("SELECT count(*) FROM a_table"));
    };
    if let Some(second) = tables.next() {
        return Err(Error::unsupported(span_of(second.span()), "a second table is not supported")
            .advise("one statement asks one table"));
    }
    let whole = span_of(first.span()).unwrap_or(keyword);
    let refused = || shape(whole, "this FROM is not supported").advise("FROM takes the name of one table");
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = first.relation
    else {
        return Err(refused());
    };
    if !(first.joins.is_empty() && with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
        return Err(refused());
    }
    let alias = match alias {
        None => None,
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => Some(folded(&alias.name)),
        Some(alias) => {
            return Err(shape(span_of(alias.name.span), "column names after an alias are not supported"));
        }
    };
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => Ok((folded(ident), alias)),
        _ => Err(Error::unsupported(span_of(name.span()), "schemas and catalogs are not supported")
            .advise("a database has one space of table names: write the name alone")),
    }
}

fn item(item: SelectItem, within: Span) -> Result<Item> {
    match item {
        SelectItem::UnnamedExpr(expr) => {
            let span = span_of(expr.span()).unwrap_or(within);
            Ok(Item::Output { output: output(expr, within)?, alias: None, span })
        }
        SelectItem::ExprWithAlias { expr, alias } => {
            let span = span_of(expr.span()).unwrap_or(within);
            Ok(Item::Output { output: output(expr, within)?, alias: Some(folded(&alias)), span })
        }
        SelectItem::Wildcard(options) if plain_star(&options) => {
            Ok(Item::Star { qualifier: None, span: span_of(options.wildcard_token.0.span).unwrap_or(within) })
        }
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
            if plain_star(&options) =>
        {
            let span = span_of(name.span()).unwrap_or(within);
            match name.0.as_slice() {
                [ast::ObjectNamePart::Identifier(ident)] => {
                    Ok(Item::Star { qualifier: Some(folded(ident)), span })
                }
                _ => Err(shape(span, "this * is not supported")),
            }
        }
        other => Err(shape(span_of(other.span()).unwrap_or(within), "this entry is not supported")
            .advise("select columns, *, and count, sum, avg, min and max of columns")),
    }
}

fn plain_star(options: &ast::WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

/// A column or an aggregate.
fn output(expr: Expr, within: Span) -> Result<Output> {
    let span = span_of(expr.span()).unwrap_or(within);
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(Output::Column(column(expr, within)?)),
        Expr::Nested(inner) => output(*inner, within),
        Expr::Function(function) => aggregate(function, span).map(Output::Aggregate),
        _ => Err(Error::unsupported(span, "an expression is not supported here")
            .advise("name a column, or count, sum, avg, min or max of one")),
    }
}

/// A column's name, perhaps behind its table's.
pub(crate) fn column(expr: Expr, within: Span) -> Result<ColumnName> {
    match expr {
        Expr::Identifier(ident) => Ok(ColumnName { qualifier: None, name: folded(&ident) }),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] => Ok(ColumnName { qualifier: Some(folded(table)), name: folded(column) }),
            _ => {
                let span =
                    parts.iter().filter_map(|part| span_of(part.span)).reduce(Span::to).unwrap_or(within);
                Err(Error::unsupported(span, "schemas and catalogs are not supported")
                    .advise("write table.column"))
            }
        },
        Expr::Nested(inner) => column(*inner, within),
        other => Err(Error::syntax(span_of(other.span()).unwrap_or(within), "expected the name of a column")),
    }
}

fn aggregate(function: ast::Function, span: Span) -> Result<AggregateCall> {
    let name = match function.name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => folded(ident),
        _ => return Err(Error::unsupported(span, "this function is not supported")),
    };
    let Some(aggregate) = Function::named(&name.text) else {
        let error = Error::unsupported(span, format!("the function {} is not supported here", name.text));
        return Err(if matches!(function.args, FunctionArguments::None) {
            error.advise(format!("write \"{}\" in double quotes if it is a column", name.text))
        } else {
            error.advise("the functions of a SELECT are count, sum, avg, min and max")
        });
    };
    let refused =
        |what: &str| Err(Error::unsupported(span, format!("{what} is not supported in {}()", name.text)));
    if function.over.is_some() || function.filter.is_some() || function.null_treatment.is_some() {
        return refused("OVER or FILTER");
    }
    if !function.within_group.is_empty()
        || function.uses_odbc_syntax
        || function.parameters != FunctionArguments::None
    {
        return refused("this clause");
    }
    let FunctionArguments::List(list) = function.args else { return refused("leaving out the parentheses") };
    if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) {
        return refused("DISTINCT");
    }
    if !list.clauses.is_empty() {
        return refused("a clause");
    }
    let mut args = list.args.into_iter();
    let column = match (args.next(), args.next()) {
        (Some(FunctionArg::Unnamed(FunctionArgExpr::Wildcard)), None) if aggregate == Function::Count => None,
        (Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))), None) => {
            if let Expr::Value(value) = &expr {
                let error =
                    Error::unsupported(span_of(value.span), "an aggregate of a constant is not supported");
                return Err(error.advise("write count(*) or the name of a column"));
            }
            Some(column(expr, span)?)
        }
        _ => {
            let error = Error::syntax(span, format!("{}() takes one column", name.text));
            return Err(if aggregate == Function::Count { error.advise("or write count(*)") } else { error });
        }
    };
    Ok(AggregateCall { function: aggregate, column, span })
}

fn key(expr: Expr, within: Span, clause: &str) -> Result<Key> {
    if let Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), span }) = &expr {
        let span = span_of(*span).unwrap_or(within);
        return match digits.parse() {
            Ok(position) => Ok(Key::Position(position, span)),
            Err(_) => Err(Error::syntax(span, format!("{clause} takes names, and positions from 1"))),
        };
    }
    output(expr, within).map(Key::Output)
}

fn order_by(order_by: ast::OrderBy, within: Span) -> Result<Vec<Order>> {
    let (OrderByKind::Expressions(entries), None) = (order_by.kind, order_by.interpolate) else {
        return Err(shape(within, "this ORDER BY is not supported").advise("name the columns"));
    };
    let lower = |entry: ast::OrderByExpr| {
        let span = span_of(entry.expr.span()).unwrap_or(within);
        let descending = entry.options.asc == Some(false);
        // NULLs count as greater than every value: saying so again is allowed, asking for the contrary is not.
        if entry.options.nulls_first.is_some_and(|first| first != descending) || entry.with_fill.is_some() {
            return Err(Error::unsupported(span, "this order of NULLs is not supported")
                .advise("NULLs come last in ascending order and first in descending order"));
        }
        Ok(Order { key: key(entry.expr, within, "ORDER BY")?, descending })
    };
    entries.into_iter().map(lower).collect()
}

fn limits(
    clause: Option<LimitClause>,
    lowering: &mut Lowering<'_>,
    within: Span,
) -> Result<(Option<u64>, u64)> {
    let (limit, offset) = match clause {
        None => return Ok((None, 0)),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit, offset.map(|o| o.value))
        }
        Some(_) => return Err(shape(within, "this LIMIT is not supported").advise("write LIMIT n OFFSET n")),
    };
    let mut number = |expr: Option<Expr>, clause: &str| -> Result<Option<u64>> {
        let Some(expr) = expr else { return Ok(None) };
        let term = lowering.term(expr, within)?;
        let refuse = || {
            let message = format!("expected a whole number from 0 after {clause}");
            Err(Error::query(QueryErrorKind::Value, term.span, message))
        };
        match term.kind {
            TermKind::Constant(Constant::Null) => Ok(None),
            TermKind::Constant(Constant::Value(Value::Integer(integer))) => {
                u64::try_from(integer).map(Some).or_else(|_| refuse())
            }
            _ => refuse(),
        }
    };
    Ok((number(limit, "LIMIT")?, number(offset, "OFFSET")?.unwrap_or(0)))
}
