//! Conditions and values: precedence climbing over the tokens.
//!
//! One function, [`expression`], reads both, for only what follows tells `(a)` of `(a) = 1` from `(a)` of `(a) AND b`.
//! Chains of AND and OR are gathered into one node each and arithmetic is folded as it is read, so recursion is as deep
//! as the nesting that [`crate::dialect`] has limited: two small frames a level.

use crate::calls::{call, case, extract};
use crate::constant::{self, Operator};
use crate::cursor::{Cursor, is_reserved, is_text};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{Call, Condition, Constant, Is, SetOp, Term, TermKind};
use crate::{grammar, interval, parameter, types};
use muster_engine::expr::PatternKind;
use muster_engine::predicate::CompareOp;
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// What a condition may be, for messages.
pub(crate) const CONDITIONS: &str =
    "a condition compares values: =, <>, <, <=, >, >=, BETWEEN, IN, LIKE, IS NULL, = ANY, @>, &&";

/// How tightly operators bind, as in PostgreSQL's table of precedence.
mod binding {
    pub(super) const NONE: u8 = 0;
    pub(super) const OR: u8 = 10;
    pub(super) const AND: u8 = 20;
    pub(super) const NOT: u8 = 30;
    pub(super) const IS: u8 = 40;
    pub(super) const COMPARE: u8 = 50;
    pub(super) const BETWEEN: u8 = 60;
    pub(super) const SETS: u8 = 70;
    pub(super) const SUM: u8 = 80;
    pub(super) const PRODUCT: u8 = 90;
    pub(super) const ZONE: u8 = 95;
    pub(super) const SIGN: u8 = 100;
    pub(super) const CAST: u8 = 110;
}

/// What has been read: a value, or a truth.
pub(crate) enum Node {
    Term(Term),
    Condition(Box<Condition>, Span),
}

/// Reads a condition.
pub(crate) fn condition(cursor: &mut Cursor) -> Result<Condition> {
    Ok(expression(cursor, binding::NONE)?.condition())
}

/// Reads a value: anything, a condition too.
pub(crate) fn value(cursor: &mut Cursor) -> Result<Term> {
    Ok(expression(cursor, binding::NONE)?.term())
}

/// Reads a value that is no comparison: an entry of a list.
pub(crate) fn term(cursor: &mut Cursor) -> Result<Term> {
    Ok(expression(cursor, binding::COMPARE)?.term())
}

impl Node {
    fn span(&self) -> Span {
        match self {
            Node::Term(term) => term.span,
            Node::Condition(_, span) => *span,
        }
    }

    fn condition(self) -> Condition {
        match self {
            Node::Condition(condition, _) => *condition,
            Node::Term(term) => match term.kind {
                TermKind::Condition(condition) => *condition,
                _ => Condition::Term(term),
            },
        }
    }

    fn term(self) -> Term {
        match self {
            Node::Term(term) => term,
            Node::Condition(condition, span) => Term { kind: TermKind::Condition(condition), span },
        }
    }
}

pub(crate) fn condition_node(condition: Condition, span: Span) -> Node {
    Node::Condition(Box::new(condition), span)
}

pub(crate) fn call_node(call: Call, arguments: Vec<Term>, span: Span) -> Node {
    Node::Term(Term { kind: TermKind::Call(call, arguments), span })
}

pub(crate) fn constant_node(constant: Constant, span: Span) -> Node {
    Node::Term(Term { kind: TermKind::Constant(constant), span })
}

/// Reads what binds more tightly than `min`.
fn expression(cursor: &mut Cursor, min: u8) -> Result<Node> {
    let mut left = prefix(cursor)?;
    while let Some(operator) = infix(cursor).filter(|operator| operator.binding() > min) {
        left = if matches!(operator, Infix::And | Infix::Or) {
            cursor.take();
            let right = expression(cursor, operator.binding())?;
            joined(left, operator, right)
        } else {
            operated(cursor, left, operator)?
        };
    }
    Ok(left)
}

/// After a value, an operator that is not AND or OR. Apart from them, so that nesting costs a small frame a level.
#[inline(never)]
fn operated(cursor: &mut Cursor, left: Node, operator: Infix) -> Result<Node> {
    Ok(match operator {
        Infix::And | Infix::Or => left,
        Infix::Arithmetic(arithmetic) => {
            cursor.take();
            let right = expression(cursor, operator.binding())?.term();
            calculated(left.term(), arithmetic, right)?
        }
        Infix::Matches(kind, negated) => matches(cursor, left, kind, negated)?,
        Infix::Zone => {
            cursor.take();
            cursor.expect_keyword(Keyword::TIME)?;
            cursor.expect_keyword(Keyword::ZONE)?;
            let (left, zone) = (left.term(), expression(cursor, operator.binding())?.term());
            let span = left.span.to(zone.span);
            call_node(Call::Zone, vec![left, zone], span)
        }
        Infix::Compare(op) => {
            cursor.take();
            compare(cursor, left, op)?
        }
        Infix::Sets(op) => {
            cursor.take();
            let (left, right) = (left.term(), expression(cursor, operator.binding())?.term());
            let span = left.span.to(right.span);
            condition_node(Condition::Sets { left, op, right }, span)
        }
        Infix::Between => between(cursor, left)?,
        Infix::In => in_list(cursor, left)?,
        Infix::Is => is(cursor, left)?,
        Infix::Cast => {
            cursor.take();
            let (data_type, span) = types::data_type(cursor)?;
            let span = left.span().to(span);
            cast(left, data_type, span)?
        }
    })
}

/// What can follow a term or condition.
#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Is,
    Compare(CompareOp),
    Between,
    In,
    Sets(SetOp),
    /// The pattern's kind, and true under a NOT that is part of the operator.
    Matches(PatternKind, bool),
    Arithmetic(Operator),
    Zone,
    Cast,
}

impl Infix {
    fn binding(self) -> u8 {
        match self {
            Infix::Or => binding::OR,
            Infix::And => binding::AND,
            Infix::Is => binding::IS,
            Infix::Compare(_) => binding::COMPARE,
            Infix::Between | Infix::In | Infix::Matches(PatternKind::Like | PatternKind::ILike, _) => {
                binding::BETWEEN
            }
            Infix::Matches(..) => binding::SETS,
            Infix::Arithmetic(Operator::Concat) => binding::SETS,
            Infix::Zone => binding::ZONE,
            Infix::Sets(_) => binding::SETS,
            Infix::Arithmetic(Operator::Plus | Operator::Minus) => binding::SUM,
            Infix::Arithmetic(Operator::Multiply | Operator::Divide | Operator::Modulo) => binding::PRODUCT,
            Infix::Cast => binding::CAST,
        }
    }
}

/// The operator ahead, if one is.
fn infix(cursor: &Cursor) -> Option<Infix> {
    Some(match cursor.peek() {
        Token::Word(word) => match word.keyword {
            Keyword::OR => Infix::Or,
            Keyword::AND => Infix::And,
            Keyword::IS => Infix::Is,
            Keyword::BETWEEN => Infix::Between,
            Keyword::IN => Infix::In,
            Keyword::LIKE => Infix::Matches(PatternKind::Like, false),
            Keyword::ILIKE => Infix::Matches(PatternKind::ILike, false),
            Keyword::AT if crate::dialect::keyword(cursor.peek_nth(1)) == Keyword::TIME => Infix::Zone,
            Keyword::NOT => match crate::dialect::keyword(cursor.peek_nth(1)) {
                Keyword::BETWEEN => Infix::Between,
                Keyword::IN => Infix::In,
                Keyword::LIKE => Infix::Matches(PatternKind::Like, false),
                Keyword::ILIKE => Infix::Matches(PatternKind::ILike, false),
                _ => return None,
            },
            _ => return None,
        },
        Token::Eq => Infix::Compare(CompareOp::Eq),
        Token::Neq => Infix::Compare(CompareOp::Ne),
        Token::Lt => Infix::Compare(CompareOp::Lt),
        Token::LtEq => Infix::Compare(CompareOp::Le),
        Token::Gt => Infix::Compare(CompareOp::Gt),
        Token::GtEq => Infix::Compare(CompareOp::Ge),
        Token::AtArrow => Infix::Sets(SetOp::Contains),
        Token::ArrowAt => Infix::Sets(SetOp::ContainedBy),
        Token::Overlap => Infix::Sets(SetOp::Overlaps),
        Token::Tilde => Infix::Matches(PatternKind::Regex, false),
        Token::TildeAsterisk => Infix::Matches(PatternKind::IRegex, false),
        Token::ExclamationMarkTilde => Infix::Matches(PatternKind::Regex, true),
        Token::ExclamationMarkTildeAsterisk => Infix::Matches(PatternKind::IRegex, true),
        Token::StringConcat => Infix::Arithmetic(Operator::Concat),
        Token::Mod => Infix::Arithmetic(Operator::Modulo),
        Token::Plus => Infix::Arithmetic(Operator::Plus),
        Token::Minus => Infix::Arithmetic(Operator::Minus),
        Token::Mul => Infix::Arithmetic(Operator::Multiply),
        Token::Div => Infix::Arithmetic(Operator::Divide),
        Token::DoubleColon => Infix::Cast,
        _ => return None,
    })
}

/// Gathers a chain: `a OR b OR c` becomes one node of three.
fn joined(left: Node, operator: Infix, right: Node) -> Node {
    let span = left.span().to(right.span());
    let right = right.condition();
    let joined = match (operator, left.condition()) {
        (Infix::And, Condition::And(mut terms)) => {
            terms.push(right);
            Condition::And(terms)
        }
        (Infix::And, first) => Condition::And(vec![first, right]),
        (_, Condition::Or(mut terms)) => {
            terms.push(right);
            Condition::Or(terms)
        }
        (_, first) => Condition::Or(vec![first, right]),
    };
    condition_node(joined, span)
}

/// `left operator right`: folded where both are constants.
fn calculated(left: Term, operator: Operator, right: Term) -> Result<Node> {
    let span = left.span.to(right.span);
    match (&left.kind, &right.kind) {
        (TermKind::Constant(a), TermKind::Constant(b))
            if !constant::is_left_to_be_computed(a, operator, b) =>
        {
            Ok(constant_node(constant::fold(a.clone(), operator, b.clone(), span)?, span))
        }
        _ => Ok(call_node(Call::Operator(operator), vec![left, right], span)),
    }
}

/// `[NOT] LIKE pattern`, `~ pattern`
fn matches(cursor: &mut Cursor, left: Node, kind: PatternKind, negated: bool) -> Result<Node> {
    let negated = cursor.eat_keyword(Keyword::NOT) || negated;
    cursor.take();
    let binding =
        if matches!(kind, PatternKind::Like | PatternKind::ILike) { binding::BETWEEN } else { binding::SETS };
    let (left, pattern) = (left.term(), expression(cursor, binding)?.term());
    if cursor.keyword() == Keyword::ESCAPE {
        return Err(Error::unsupported(cursor.span(), "ESCAPE is not supported")
            .advise("the escape of a LIKE pattern is the backslash"));
    }
    let span = left.span.to(pattern.span);
    Ok(condition_node(negate(Condition::Matches { left, kind, pattern }, negated), span))
}

/// After the operator of a comparison.
fn compare(cursor: &mut Cursor, left: Node, op: CompareOp) -> Result<Node> {
    let left = left.term();
    let all = cursor.keyword() == Keyword::ALL;
    if all || matches!(cursor.keyword(), Keyword::ANY | Keyword::SOME) {
        cursor.take();
        cursor.expect(&Token::LParen)?;
        let right = term(cursor)?;
        cursor.expect(&Token::RParen)?;
        let span = left.span.to(cursor.last_span());
        return Ok(condition_node(Condition::Quantified { left, op, all, right }, span));
    }
    let right = expression(cursor, binding::COMPARE)?.term();
    let span = left.span.to(right.span);
    if matches!(infix(cursor), Some(Infix::Compare(_))) {
        return Err(Error::syntax(cursor.span(), "a comparison cannot follow a comparison")
            .advise("put AND between them: 1 < a AND a < 5"));
    }
    Ok(condition_node(Condition::Compare { left, op, right }, span))
}

/// `[NOT] BETWEEN low AND high`
fn between(cursor: &mut Cursor, left: Node) -> Result<Node> {
    let negated = cursor.eat_keyword(Keyword::NOT);
    cursor.expect_keyword(Keyword::BETWEEN)?;
    let left = left.term();
    let low = expression(cursor, binding::BETWEEN)?.term();
    cursor.expect_keyword(Keyword::AND)?;
    let high = expression(cursor, binding::BETWEEN)?.term();
    let span = left.span.to(high.span);
    let between = Condition::And(vec![
        Condition::Compare { left: left.clone(), op: CompareOp::Ge, right: low },
        Condition::Compare { left, op: CompareOp::Le, right: high },
    ]);
    Ok(condition_node(negate(between, negated), span))
}

/// `[NOT] IN (value, …)`, `[NOT] IN (SELECT …)`
fn in_list(cursor: &mut Cursor, left: Node) -> Result<Node> {
    let negated = cursor.eat_keyword(Keyword::NOT);
    cursor.expect_keyword(Keyword::IN)?;
    let left = left.term();
    let encloses_select = grammar::encloses_select(cursor);
    cursor.expect(&Token::LParen)?;
    if encloses_select {
        let start = cursor.span();
        let select = grammar::select(cursor)?.into();
        cursor.expect(&Token::RParen)?;
        let span = start.to(cursor.last_span());
        let whole = left.span.to(span);
        return Ok(condition_node(negate(Condition::InSelect { left, select, span }, negated), whole));
    }
    let list = terms(cursor, &Token::RParen)?;
    let span = left.span.to(cursor.last_span());
    if list.is_empty() {
        return Err(Error::syntax(span, "expected a value in the list of IN"));
    }
    Ok(condition_node(negate(Condition::In { left, list }, negated), span))
}

/// Terms up to the closing token, which is passed.
fn terms(cursor: &mut Cursor, close: &Token) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    if cursor.eat(close) {
        return Ok(terms);
    }
    loop {
        terms.push(term(cursor)?);
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    if *cursor.peek() != *close {
        return Err(cursor.expected(&format!("',' or '{close}'")));
    }
    cursor.take();
    Ok(terms)
}

/// `IS [NOT] NULL | TRUE | FALSE | UNKNOWN`
fn is(cursor: &mut Cursor, left: Node) -> Result<Node> {
    cursor.expect_keyword(Keyword::IS)?;
    let negated = cursor.eat_keyword(Keyword::NOT);
    if cursor.eat_keywords(&[Keyword::DISTINCT, Keyword::FROM]) {
        let (left, right) = (left.term(), expression(cursor, binding::IS)?.term());
        let span = left.span.to(right.span);
        return Ok(condition_node(negate(Condition::Distinct { left, right }, negated), span));
    }
    let what = match cursor.keyword() {
        Keyword::NULL => Is::Null,
        Keyword::TRUE => Is::True,
        Keyword::FALSE => Is::False,
        Keyword::UNKNOWN => Is::Unknown,
        _ => return Err(cursor.expected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM after IS")),
    };
    cursor.take();
    let term = left.term();
    let span = term.span.to(cursor.last_span());
    Ok(condition_node(negate(Condition::Is { term, what }, negated), span))
}

fn negate(condition: Condition, negated: bool) -> Condition {
    if negated { Condition::Not(Box::new(condition)) } else { condition }
}

/// Reads what stands before operators: NOT, a sign, parentheses, a column, a constant.
fn prefix(cursor: &mut Cursor) -> Result<Node> {
    match cursor.peek() {
        Token::LParen => parenthesised(cursor),
        Token::Word(word) if word.keyword == Keyword::NOT => not(cursor),
        _ => operand(cursor),
    }
}

fn parenthesised(cursor: &mut Cursor) -> Result<Node> {
    let start = cursor.span();
    if grammar::encloses_select(cursor) {
        cursor.take();
        let select = grammar::select(cursor)?.into();
        cursor.expect(&Token::RParen)?;
        return Ok(Node::Term(Term { kind: TermKind::Select(select), span: start.to(cursor.last_span()) }));
    }
    cursor.take();
    let inner = expression(cursor, binding::NONE)?;
    if *cursor.peek() != Token::RParen {
        return Err(cursor.expected("an operator or ')'"));
    }
    cursor.take();
    let span = start.to(cursor.last_span());
    Ok(match inner {
        Node::Term(term) => Node::Term(Term { span, ..term }),
        Node::Condition(condition, _) => Node::Condition(condition, span),
    })
}

#[inline(never)]
fn operand(cursor: &mut Cursor) -> Result<Node> {
    let start = cursor.span();
    match cursor.peek() {
        Token::Number(..) => {
            let Token::Number(digits, _) = cursor.take() else { return Err(cursor.expected("a number")) };
            Ok(constant_node(constant::number(&digits, false, start)?, start))
        }
        Token::Minus | Token::Plus => sign(cursor, start),
        Token::Word(_) => word(cursor, start),
        Token::Placeholder(_) => {
            let Token::Placeholder(name) = cursor.take() else { return Err(cursor.expected("a parameter")) };
            Ok(Node::Term(Term { kind: parameter::term(&name, cursor.parameters(), start)?, span: start }))
        }
        token if is_text(token) => {
            let (text, span) = cursor.text("a text")?;
            Ok(constant_node(Constant::Unknown(text), span))
        }
        _ => Err(cursor.expected("an expression").advise(CONDITIONS)),
    }
}

/// NOTs in a row, counted instead of nested.
fn not(cursor: &mut Cursor) -> Result<Node> {
    let start = cursor.span();
    let mut nots = 0;
    while cursor.eat_keyword(Keyword::NOT) {
        nots += 1;
    }
    let inner = expression(cursor, binding::NOT)?;
    let span = start.to(inner.span());
    // Three NOTs are one: Kleene's NOT undoes itself.
    Ok(condition_node(negate(inner.condition(), nots % 2 == 1), span))
}

/// Signs in a row, counted instead of nested.
fn sign(cursor: &mut Cursor, start: Span) -> Result<Node> {
    let mut minuses = 0;
    loop {
        if cursor.eat(&Token::Minus) {
            minuses += 1;
        } else if !cursor.eat(&Token::Plus) {
            break;
        }
    }
    if let (true, Token::Number(..)) = (minuses == 1, cursor.peek())
        && *cursor.peek_nth(1) != Token::DoubleColon
    {
        // One literal, so that the least BIGINT can be written.
        let Token::Number(digits, _) = cursor.take() else { return Err(cursor.expected("a number")) };
        let span = start.to(cursor.last_span());
        return Ok(constant_node(constant::number(&digits, true, span)?, span));
    }
    let inner = expression(cursor, binding::SIGN)?.term();
    let span = start.to(inner.span);
    let TermKind::Constant(mut value) = inner.kind else {
        let even = minuses % 2 == 0;
        return Ok(if even { Node::Term(inner) } else { call_node(Call::Negate, vec![inner], span) });
    };
    for _ in 0..minuses {
        value = constant::negate(value, span)?;
    }
    Ok(constant_node(value, span))
}

/// What begins with a word: a keyword's constant, a function, a column.
fn word(cursor: &mut Cursor, start: Span) -> Result<Node> {
    let text_follows = is_text(cursor.peek_nth(1));
    let call_follows = *cursor.peek_nth(1) == Token::LParen;
    let simple = match cursor.keyword() {
        Keyword::NULL => Some(Constant::Null),
        Keyword::TRUE => Some(Constant::Value(Value::Boolean(true))),
        Keyword::FALSE => Some(Constant::Value(Value::Boolean(false))),
        Keyword::CURRENT_DATE => Some(now(true)),
        Keyword::CURRENT_TIMESTAMP => Some(now(false)),
        _ => None,
    };
    if let Some(constant) = simple {
        cursor.take();
        return Ok(constant_node(constant, start));
    }
    match cursor.keyword() {
        Keyword::INTERVAL if text_follows => interval(cursor, start),
        Keyword::ARRAY => {
            cursor.take();
            cursor.expect(&Token::LBracket)?;
            let items = terms(cursor, &Token::RBracket)?;
            Ok(Node::Term(Term { kind: TermKind::Array(items), span: start.to(cursor.last_span()) }))
        }
        Keyword::CAST if call_follows => {
            cursor.take();
            cursor.take();
            let inner = expression(cursor, binding::NONE)?;
            cursor.expect_keyword(Keyword::AS)?;
            let (data_type, _) = types::data_type(cursor)?;
            cursor.expect(&Token::RParen)?;
            cast(inner, data_type, start.to(cursor.last_span()))
        }
        Keyword::CASE => case(cursor, start),
        Keyword::EXISTS if call_follows => {
            cursor.take();
            cursor.take();
            let select = grammar::select(cursor)?.into();
            cursor.expect(&Token::RParen)?;
            let span = start.to(cursor.last_span());
            Ok(condition_node(Condition::Exists { select, span }, span))
        }
        Keyword::EXTRACT if call_follows => extract(cursor, start),
        Keyword::DATE | Keyword::TIMESTAMP | Keyword::TIMESTAMPTZ if text_follows || zoned(cursor) => {
            let (data_type, _) = types::data_type(cursor)?;
            let (text, end) = cursor.text("a text in single quotes")?;
            cast(constant_node(Constant::Unknown(text), end), data_type, start.to(end))
        }
        _ if call_follows => call(cursor, start),
        reserved if is_reserved(reserved) => {
            let error = cursor.expected("an expression");
            let Token::Word(word) = cursor.peek() else { return Err(error) };
            let advice =
                format!("write \"{}\" in double quotes if it is a column", word.value.to_lowercase());
            Err(error.advise(advice))
        }
        _ => {
            let column = grammar::column(cursor, "an expression")?;
            let span = start.to(cursor.last_span());
            if *cursor.peek() == Token::LBracket {
                return Err(Error::unsupported(cursor.span(), "an element of an array is not supported")
                    .advise("'vip' = ANY(tags) asks for a tag wherever it stands"));
            }
            Ok(Node::Term(Term { kind: TermKind::Column(column), span }))
        }
    }
}

/// True before `TIMESTAMP WITH TIME ZONE '…'`.
fn zoned(cursor: &Cursor) -> bool {
    crate::dialect::keyword(cursor.peek_nth(2)) == Keyword::TIME
}

pub(crate) fn now(is_date: bool) -> Constant {
    Constant::Now { offsets: Vec::new(), date: is_date, is_date }
}

/// `INTERVAL 'text' [unit]`
fn interval(cursor: &mut Cursor, start: Span) -> Result<Node> {
    cursor.take();
    let (text, end) = cursor.text("a text in single quotes")?;
    let mut span = start.to(end);
    let field = match cursor.peek() {
        Token::Word(word) if word.quote_style.is_none() && interval::is_unit(&word.value) => {
            Some(word.value.clone())
        }
        _ => None,
    };
    if field.is_some() {
        cursor.take();
        span = start.to(cursor.last_span());
    }
    let parsed = interval::parse(&text, field.as_deref()).map_err(|reason| {
        Error::query(QueryErrorKind::Value, span, format!("{text:?} is no INTERVAL: {reason}"))
    })?;
    Ok(constant_node(Constant::Interval(parsed), span))
}

fn cast(inner: Node, data_type: DataType, span: Span) -> Result<Node> {
    let inner = inner.term();
    match inner.kind {
        TermKind::Constant(ref constant) => Ok(match constant::cast(constant.clone(), data_type, span)? {
            Some(constant) => constant_node(constant, span),
            None => call_node(Call::Cast(data_type), vec![inner], span),
        }),
        TermKind::Array(_) if data_type == DataType::TextArray => Ok(Node::Term(Term { span, ..inner })),
        _ => Ok(call_node(Call::Cast(data_type), vec![inner], span)),
    }
}
