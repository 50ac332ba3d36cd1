//! The shape of a SELECT: its list, its table, and its clauses in their order.
//!
//! Conditions are read by [`crate::condition`]. Keywords of clauses that are not answered have been refused on the
//! tokens ([`crate::refusals`]); what remains is told here by what was expected.

use crate::condition;
use crate::constant::{as_double, is_number};
use crate::cursor::{Cursor, is_reserved, is_text};
use crate::dialect::keyword;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::refusals::SELECT_SHAPE;
use crate::statement::{
    ColumnName, Constant, From, FromSource, Item, JoinWord, JoinedFrom, Key, Name, On, Order, Over, Sample,
    Select, SetPart, SetWord, Sets, TermKind,
};
use muster_engine::value::Value;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// The most entries of a select list, GROUP BY or ORDER BY: PostgreSQL's limit.
const ENTRIES_MAX: usize = 1_664;

/// The most SELECTs that UNION and its kin join in a row.
const SETS_MAX: usize = 64;

/// Reads a SELECT up to what cannot be part of it.
pub(crate) fn select(cursor: &mut Cursor) -> Result<Select> {
    cursor.nested(|cursor| {
        let known = cursor.known();
        let read = with(cursor).and_then(|()| clauses(cursor));
        cursor.forget(known);
        read
    })
}

/// `WITH name AS (SELECT …), …`
fn with(cursor: &mut Cursor) -> Result<()> {
    if !cursor.eat_keyword(Keyword::WITH) {
        return Ok(());
    }
    if cursor.keyword() == Keyword::RECURSIVE {
        return Err(Error::unsupported(cursor.span(), "WITH RECURSIVE is not supported"));
    }
    loop {
        let name = cursor.name("a name after WITH")?;
        if *cursor.peek() == Token::LParen {
            return Err(Error::unsupported(
                cursor.span(),
                "names of columns after a name of WITH are not supported",
            )
            .advise("name them in its SELECT: SELECT a AS b"));
        }
        cursor.expect_keyword(Keyword::AS)?;
        cursor.expect(&Token::LParen)?;
        cursor.learn(name, select)?;
        cursor.expect(&Token::RParen)?;
        if !cursor.eat(&Token::Comma) {
            return Ok(());
        }
    }
}

/// SELECTs, perhaps joined by UNION and its kin, with the order and limit of all.
fn clauses(cursor: &mut Cursor) -> Result<Select> {
    let start = cursor.span();
    let first = intersected(cursor)?;
    let mut rest = Vec::new();
    while let Some(word @ (SetWord::Union | SetWord::Except)) = set_word(cursor) {
        rest.push(set_part(cursor, word, &rest, intersected)?);
    }
    let mut select = joined_sets(first, rest, start, cursor);
    if matches!(cursor.keyword(), Keyword::ORDER | Keyword::LIMIT | Keyword::OFFSET) {
        // One in parentheses keeps an order and limit of its own.
        if is_cut_or_ordered(&select) {
            select = all_of(select, Vec::new(), start, cursor);
        }
        order_and_limit(cursor, &mut select)?;
    }
    // What follows the SELECT of an INSERT.
    let conflict = cursor.keyword() == Keyword::ON && keyword(cursor.peek_nth(1)) == Keyword::CONFLICT;
    if !matches!(cursor.peek(), Token::EOF | Token::SemiColon | Token::RParen) && !conflict {
        return Err(unexpected(cursor));
    }
    Ok(select)
}

/// INTERSECT binds more tightly than UNION and EXCEPT.
fn intersected(cursor: &mut Cursor) -> Result<Select> {
    let start = cursor.span();
    let first = operand(cursor)?;
    let mut rest = Vec::new();
    while set_word(cursor) == Some(SetWord::Intersect) {
        rest.push(set_part(cursor, SetWord::Intersect, &rest, operand)?);
    }
    Ok(joined_sets(first, rest, start, cursor))
}

/// A SELECT up to its ORDER BY, or one in parentheses.
fn operand(cursor: &mut Cursor) -> Result<Select> {
    if !cursor.eat(&Token::LParen) {
        return core(cursor);
    }
    let start = cursor.span();
    let inner = select(cursor)?;
    cursor.expect(&Token::RParen)?;
    // What follows is not to take the place of its order and limit.
    let is_sets = matches!(inner.from.source, FromSource::Sets(_));
    let is_apart = is_sets && is_cut_or_ordered(&inner);
    Ok(if is_apart { all_of(inner, Vec::new(), start, cursor) } else { inner })
}

fn is_cut_or_ordered(select: &Select) -> bool {
    !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0
}

/// True where what the parentheses ahead hold is a SELECT, perhaps in more of them or joined with others: not a value that has
/// one in it. Cost: a look at what is in them, where a SELECT begins it.
pub(crate) fn encloses_select(cursor: &Cursor) -> bool {
    let mut open = 0;
    while *cursor.peek_nth(open) == Token::LParen {
        open += 1;
    }
    if open == 0 || !matches!(keyword(cursor.peek_nth(open)), Keyword::SELECT | Keyword::WITH) {
        return false;
    }
    let (mut depth, mut at) = (open, open);
    while open > 1 {
        at += 1;
        match cursor.peek_nth(at) {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::EOF => break,
            _ => continue,
        }
        if depth < open {
            // What begins the SELECT ends here.
            open -= 1;
            let follows = cursor.peek_nth(at + 1);
            let of_select = matches!(
                keyword(follows),
                Keyword::UNION
                    | Keyword::INTERSECT
                    | Keyword::EXCEPT
                    | Keyword::ORDER
                    | Keyword::LIMIT
                    | Keyword::OFFSET
            );
            if !of_select && *follows != Token::RParen {
                return false;
            }
        }
    }
    true
}

fn set_word(cursor: &Cursor) -> Option<SetWord> {
    Some(match cursor.keyword() {
        Keyword::UNION => SetWord::Union,
        Keyword::INTERSECT => SetWord::Intersect,
        Keyword::EXCEPT => SetWord::Except,
        _ => return None,
    })
}

/// `UNION [ALL | DISTINCT] SELECT …`
fn set_part(
    cursor: &mut Cursor,
    word: SetWord,
    known: &[SetPart],
    operand: impl Fn(&mut Cursor) -> Result<Select>,
) -> Result<SetPart> {
    let span = cursor.span();
    if known.len() == SETS_MAX {
        let message = format!("at most {SETS_MAX} SELECTs are joined by UNION, INTERSECT or EXCEPT in a row");
        return Err(Error::query(QueryErrorKind::Limit, span, message));
    }
    cursor.take();
    let all = cursor.eat_keyword(Keyword::ALL);
    if !all {
        cursor.eat_keyword(Keyword::DISTINCT);
    }
    Ok(SetPart { word, all, select: operand(cursor)?, span })
}

/// SELECTs joined, as a SELECT of all that they make; one alone is itself.
fn joined_sets(first: Select, rest: Vec<SetPart>, start: Span, cursor: &Cursor) -> Select {
    if rest.is_empty() { first } else { all_of(first, rest, start, cursor) }
}

fn all_of(first: Select, rest: Vec<SetPart>, start: Span, cursor: &Cursor) -> Select {
    let span = start.to(cursor.last_span());
    let source = FromSource::Sets(Box::new(Sets { first, rest, span }));
    Select {
        distinct: false,
        items: vec![Item::Star { qualifier: None, span }],
        from: From { source, alias: None, sample: None },
        joins: Vec::new(),
        filter: None,
        group_by: Vec::new(),
        having: None,
        windows: Vec::new(),
        order_by: Vec::new(),
        limit: None,
        offset: 0,
    }
}

fn order_and_limit(cursor: &mut Cursor, select: &mut Select) -> Result<()> {
    if cursor.eat_keywords(&[Keyword::ORDER, Keyword::BY]) {
        select.order_by = list(cursor, order)?;
    }
    let (mut limit, mut offset) = (None, None);
    loop {
        if limit.is_none() && cursor.eat_keyword(Keyword::LIMIT) {
            limit =
                Some(if cursor.eat_keyword(Keyword::ALL) { None } else { whole_number(cursor, "LIMIT")? });
        } else if offset.is_none() && cursor.eat_keyword(Keyword::OFFSET) {
            offset = Some(whole_number(cursor, "OFFSET")?);
            if !cursor.eat_keyword(Keyword::ROWS) {
                cursor.eat_keyword(Keyword::ROW);
            }
        } else {
            break;
        }
    }
    (select.limit, select.offset) = (limit.flatten(), offset.flatten().unwrap_or(0));
    Ok(())
}

/// A SELECT up to its ORDER BY.
fn core(cursor: &mut Cursor) -> Result<Select> {
    cursor.expect_keyword(Keyword::SELECT)?;
    let distinct = cursor.eat_keyword(Keyword::DISTINCT);
    if distinct && cursor.keyword() == Keyword::ON {
        return Err(Error::unsupported(cursor.span(), "DISTINCT ON is not supported")
            .advise("GROUP BY with min or max tells one value of each group"));
    }
    if !distinct {
        cursor.eat_keyword(Keyword::ALL);
    }
    let items = list(cursor, item)?;
    if *cursor.peek() == Token::EOF || *cursor.peek() == Token::SemiColon {
        return Err(
            Error::syntax(cursor.span(), "expected FROM and a table").advise("SELECT count(*) FROM a_table")
        );
    }
    if cursor.keyword() != Keyword::FROM {
        let error = cursor.expected("',' or FROM");
        return Err(error.advise("a SELECT lists columns, *, and what is computed of them"));
    }
    cursor.take();
    let from = one_from(cursor)?;
    let joins = joins(cursor)?;
    let filter = if cursor.eat_keyword(Keyword::WHERE) { Some(condition::condition(cursor)?) } else { None };
    let group_by =
        if cursor.eat_keywords(&[Keyword::GROUP, Keyword::BY]) { list(cursor, key)? } else { Vec::new() };
    let having = if cursor.eat_keyword(Keyword::HAVING) { Some(condition::condition(cursor)?) } else { None };
    let windows = if cursor.eat_keyword(Keyword::WINDOW) { list(cursor, window)? } else { Vec::new() };
    let (order_by, limit, offset) = (Vec::new(), None, 0);
    Ok(Select { distinct, items, from, joins, filter, group_by, having, windows, order_by, limit, offset })
}

/// `name AS (…)` after WINDOW.
fn window(cursor: &mut Cursor) -> Result<(Name, Over)> {
    let name = cursor.name("the name of a window")?;
    cursor.expect_keyword(Keyword::AS)?;
    Ok((name, crate::calls::over(cursor)?))
}

/// `, b`, `JOIN b ON …`, `LEFT JOIN b USING (…)`, `FULL JOIN b ON …`, `CROSS JOIN b`
fn joins(cursor: &mut Cursor) -> Result<Vec<JoinedFrom>> {
    let mut joins = Vec::new();
    loop {
        let start = cursor.span();
        let word = cursor.keyword();
        if cursor.eat(&Token::Comma) || cursor.eat_keywords(&[Keyword::CROSS, Keyword::JOIN]) {
            let from = one_from(cursor)?;
            joins.push(JoinedFrom { from, kind: JoinWord::Inner, on: On::Everything, span: start });
            continue;
        }
        let kind = match word {
            Keyword::LEFT => JoinWord::Left,
            Keyword::RIGHT => JoinWord::Right,
            Keyword::FULL => JoinWord::Full,
            Keyword::NATURAL => {
                return Err(Error::unsupported(start, "a NATURAL JOIN is not supported")
                    .advise("write JOIN … USING (column)"));
            }
            Keyword::INNER | Keyword::JOIN => JoinWord::Inner,
            _ => return Ok(joins),
        };
        if word != Keyword::JOIN {
            cursor.take();
        }
        if kind != JoinWord::Inner {
            cursor.eat_keyword(Keyword::OUTER);
        }
        cursor.expect_keyword(Keyword::JOIN)?;
        let from = one_from(cursor)?;
        let on = if cursor.eat_keyword(Keyword::ON) {
            On::Condition(condition::condition(cursor)?)
        } else if cursor.eat_keyword(Keyword::USING) {
            cursor.expect(&Token::LParen)?;
            let names = list(cursor, |cursor| cursor.name("a column of both tables"))?;
            cursor.expect(&Token::RParen)?;
            On::Using(names)
        } else {
            return Err(cursor
                .expected("ON or USING")
                .advise("write JOIN b ON b.id = a.id, or JOIN b USING (id)"));
        };
        joins.push(JoinedFrom { from, kind, on, span: start });
    }
}

/// After FROM: one name or SELECT, its alias, a sample of it.
pub(crate) fn from(cursor: &mut Cursor) -> Result<From> {
    let from = one_from(cursor)?;
    if *cursor.peek() == Token::Comma {
        return Err(Error::unsupported(cursor.span(), "a second table is not supported")
            .advise("this statement asks one table"));
    }
    Ok(from)
}

fn one_from(cursor: &mut Cursor) -> Result<From> {
    let start = cursor.span();
    let mut with_name = None;
    let source = if cursor.eat(&Token::LParen) {
        let inner = select(cursor)?;
        cursor.expect(&Token::RParen)?;
        FromSource::Select(Box::new(inner), start.to(cursor.last_span()))
    } else {
        let name = cursor.table_name()?;
        match cursor.named_select(&name)? {
            None => FromSource::Named(name),
            Some(inner) => {
                let span = name.span;
                with_name = Some(name);
                FromSource::Select(Box::new(inner), span)
            }
        }
    };
    let mut alias = alias(cursor)?;
    let sample = sample(cursor)?;
    if alias.is_none() {
        alias = self::alias(cursor)?;
    }
    Ok(From { source, alias: alias.or(with_name), sample })
}

/// `TABLESAMPLE BERNOULLI (percent) [REPEATABLE (seed)]`
fn sample(cursor: &mut Cursor) -> Result<Option<Sample>> {
    if !cursor.eat_keyword(Keyword::TABLESAMPLE) {
        return Ok(None);
    }
    let bernoulli =
        matches!(cursor.peek(), Token::Word(word) if word.value.eq_ignore_ascii_case("bernoulli"));
    if !bernoulli {
        return Err(cursor.expected("BERNOULLI").advise("TABLESAMPLE BERNOULLI (10) REPEATABLE (42)"));
    }
    cursor.take();
    cursor.expect(&Token::LParen)?;
    let term = condition::term(cursor)?;
    let percent = match &term.kind {
        TermKind::Constant(Constant::Value(value)) if is_number(value) => as_double(value),
        _ => f64::NAN,
    };
    if !(0.0..=100.0).contains(&percent) {
        let message = "the sample's percentage is a number from 0 to 100";
        return Err(Error::query(QueryErrorKind::Value, term.span, message));
    }
    cursor.expect(&Token::RParen)?;
    let mut seed = 0;
    if matches!(cursor.peek(), Token::Word(word) if word.value.eq_ignore_ascii_case("repeatable")) {
        cursor.take();
        cursor.expect(&Token::LParen)?;
        let term = condition::term(cursor)?;
        let TermKind::Constant(Constant::Value(Value::Integer(integer))) = term.kind else {
            return Err(Error::query(QueryErrorKind::Value, term.span, "the seed is a whole number"));
        };
        seed = integer;
        cursor.expect(&Token::RParen)?;
    }
    Ok(Some(Sample { percent, seed }))
}

/// What is ahead is no clause: an operator that no condition has, or something out of place.
fn unexpected(cursor: &Cursor) -> Error {
    match cursor.peek() {
        Token::Word(_) | Token::Number(..) | Token::LParen | Token::RParen | Token::Comma => {
            cursor.expected("the end of the statement").advise(SELECT_SHAPE)
        }
        token if is_text(token) => cursor.expected("the end of the statement").advise(SELECT_SHAPE),
        operator => Error::unsupported(cursor.span(), format!("the operator {operator} is not supported"))
            .advise(condition::CONDITIONS),
    }
}

pub(crate) fn list<T>(cursor: &mut Cursor, one: impl Fn(&mut Cursor) -> Result<T>) -> Result<Vec<T>> {
    let mut list = vec![one(cursor)?];
    while cursor.eat(&Token::Comma) {
        if list.len() == ENTRIES_MAX {
            let message = format!("a clause has at most {ENTRIES_MAX} entries");
            return Err(Error::query(QueryErrorKind::Limit, cursor.span(), message));
        }
        list.push(one(cursor)?);
    }
    Ok(list)
}

/// `[AS] name`
pub(crate) fn alias(cursor: &mut Cursor) -> Result<Option<Name>> {
    if cursor.eat_keyword(Keyword::AS) {
        return cursor.name("a name after AS").map(Some);
    }
    match cursor.peek() {
        Token::Word(word)
            if !is_reserved(word.keyword)
                && !begins_join(word.keyword)
                && word.keyword != Keyword::TABLESAMPLE =>
        {
            cursor.name("an alias").map(Some)
        }
        _ => Ok(None),
    }
}

/// Words that are no alias without AS: a join begins with them.
fn begins_join(word: Keyword) -> bool {
    use Keyword::{CROSS, FULL, INNER, JOIN, LEFT, NATURAL, RIGHT};
    matches!(word, JOIN | INNER | LEFT | RIGHT | FULL | CROSS | NATURAL)
}

fn item(cursor: &mut Cursor) -> Result<Item> {
    let start = cursor.span();
    if cursor.eat(&Token::Mul) {
        return Ok(Item::Star { qualifier: None, span: start });
    }
    let stars = matches!(cursor.peek(), Token::Word(_))
        && *cursor.peek_nth(1) == Token::Period
        && *cursor.peek_nth(2) == Token::Mul;
    if stars {
        let qualifier = cursor.name("a table name")?;
        cursor.take();
        cursor.take();
        return Ok(Item::Star { qualifier: Some(qualifier), span: start.to(cursor.last_span()) });
    }
    if matches!(cursor.peek(), Token::EOF | Token::SemiColon | Token::Comma | Token::RParen)
        || cursor.keyword() == Keyword::FROM
    {
        return Err(cursor.expected("a column").advise("name a column, *, or what is computed of columns"));
    }
    let term = condition::value(cursor)?;
    Ok(Item::Output { term, alias: alias(cursor)? })
}

/// A column's name, perhaps behind its table's.
pub(crate) fn column(cursor: &mut Cursor, what: &str) -> Result<ColumnName> {
    let first = cursor.name(what)?;
    if !cursor.eat(&Token::Period) {
        return Ok(ColumnName { qualifier: None, name: first });
    }
    let name = cursor.name("a column name")?;
    if *cursor.peek() == Token::Period {
        let error = Error::unsupported(first.span.to(name.span), "schemas and catalogs are not supported");
        return Err(error.advise("write table.column"));
    }
    Ok(ColumnName { qualifier: Some(first), name })
}

fn key(cursor: &mut Cursor) -> Result<Key> {
    let span = cursor.span();
    if let Token::Number(digits, _) = cursor.peek() {
        let Ok(position) = digits.parse() else {
            return Err(cursor.expected("a name, or a position from 1"));
        };
        cursor.take();
        return Ok(Key::Position(position, span));
    }
    condition::value(cursor).map(Key::Term)
}

pub(crate) fn order(cursor: &mut Cursor) -> Result<Order> {
    let key = key(cursor)?;
    let descending = cursor.eat_keyword(Keyword::DESC);
    if !descending {
        cursor.eat_keyword(Keyword::ASC);
    }
    // NULLs count as greater than every value, unless a word says where they go.
    let nulls_first = if cursor.eat_keywords(&[Keyword::NULLS, Keyword::FIRST]) {
        true
    } else if cursor.eat_keywords(&[Keyword::NULLS, Keyword::LAST]) {
        false
    } else {
        descending
    };
    Ok(Order { key, descending, nulls_first })
}

/// The constant of LIMIT and OFFSET; NULL is none.
fn whole_number(cursor: &mut Cursor, clause: &str) -> Result<Option<u64>> {
    let term = condition::term(cursor)?;
    let refuse = || {
        let message = format!("expected a whole number from 0 after {clause}");
        Err(Error::query(QueryErrorKind::Value, term.span, message))
    };
    match &term.kind {
        TermKind::Constant(Constant::Null) => Ok(None),
        TermKind::Constant(Constant::Value(Value::Integer(integer))) => {
            u64::try_from(*integer).map(Some).or_else(|_| refuse())
        }
        _ => refuse(),
    }
}
