//! An expression ready to be computed: the clock is put in, constants are folded, patterns and zones prepared.

use super::apply::apply;
use super::clock::{Beside, resolve};
use super::pattern::Matcher;
use super::{Expr, Function, time};
use crate::eval::{compare, kind_of};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Error, Result};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jiff::tz::TimeZone;
use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash, Hasher};

/// An expression deeper than this is refused: computing it recurses.
pub const DEPTH_MAX: usize = 1_200;

/// A prepared expression. Its columns are numbered in the order in which [`Compiled::columns`] names them.
pub struct Compiled {
    columns: Vec<ColumnId>,
    root: Node,
}

/// Prepared conditions that are asked together: all of them are to be as wanted, or any.
pub(crate) struct Terms {
    columns: Vec<ColumnId>,
    terms: Vec<(Node, bool)>,
    all: bool,
}

impl Terms {
    /// Prepares conditions, each with the truth that is wanted of it; errors as [`Compiled::new`].
    pub(crate) fn new(terms: &[(Expr, bool)], all: bool, now_micros: i64) -> Result<Terms> {
        let mut preparing = Preparing::new(now_micros);
        if terms.len() > 1 {
            preparing.share(terms);
        }
        let prepared = terms.iter().map(|(expr, wanted)| Ok((preparing.node(expr, 0)?, *wanted)));
        let terms = prepared.collect::<Result<_>>()?;
        Ok(Terms { columns: preparing.columns, terms, all })
    }

    /// The columns that are read, each once.
    pub(crate) fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    /// Each condition, and the truth that is wanted of it.
    pub(crate) fn each(&self) -> &[(Node, bool)] {
        &self.terms
    }

    /// The condition, where it is one.
    pub(crate) fn single(&self) -> Option<&(Node, bool)> {
        if let [term] = self.terms.as_slice() { Some(term) } else { None }
    }

    /// True where all are to be as wanted; else any.
    pub(crate) fn all(&self) -> bool {
        self.all
    }

    /// True where the values are as wanted. What decides ends the asking: later terms make no error.
    pub(crate) fn hold(&self, ordinal: u32, inputs: &[Value]) -> Result<bool> {
        for (node, wanted) in &self.terms {
            if (node.eval(ordinal, inputs)? == Value::Boolean(*wanted)) != self.all {
                return Ok(!self.all);
            }
        }
        Ok(self.all)
    }

    /// True where a text, the only column's value, is as wanted; an error is not.
    pub(crate) fn match_text(&self, text: &[u8]) -> bool {
        let mut value = None;
        let mut holds = |(node, wanted): &(Node, bool)| match node {
            Node::Match(inner, matcher) if matches!(**inner, Node::Input(_)) => {
                matcher.matches(text) == *wanted
            }
            node => {
                let value =
                    value.get_or_insert_with(|| [Value::Text(String::from_utf8_lossy(text).into_owned())]);
                node.eval(0, value).is_ok_and(|truth| truth == Value::Boolean(*wanted))
            }
        };
        if self.all { self.terms.iter().all(holds) } else { self.terms.iter().any(&mut holds) }
    }
}

/// A node of a prepared expression.
pub(crate) enum Node {
    /// The value of a column, by its number.
    Input(usize),
    /// A constant.
    Value(Value),
    /// The member's ordinal.
    Ordinal,
    /// A text against a pattern.
    Match(Box<Node>, Matcher),
    /// [`Function::AtZone`].
    Zone(Box<Node>, TimeZone),
    /// [`Function::In`] of a long list of constants.
    Among(Box<Node>, Box<Among>),
    /// What several terms compute, by its number.
    Shared(usize, Box<Node>),
    /// Anything else.
    Call(Function, Vec<Node>),
}

/// Constants that can be compared with each other, in order.
pub(crate) struct Among {
    list: Vec<Value>,
    has_null: bool,
}

/// A list of fewer constants is compared one by one.
const AMONG_MIN: usize = 9;

impl Among {
    /// `None` where the list is short, or of several kinds.
    fn new(nodes: &[Node]) -> Option<Among> {
        let mut list = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Node::Value(value) = node else { return None };
            list.push(value.clone());
        }
        let has_null = list.contains(&Value::Null);
        list.retain(|value| *value != Value::Null);
        if list.len() < AMONG_MIN || list.iter().any(|value| !matches!(compare(&list[0], value), Ok(Some(_))))
        {
            return None;
        }
        list.sort_by(|a, b| compare(a, b).ok().flatten().unwrap_or(Ordering::Equal));
        Some(Among { list, has_null })
    }

    /// `value IN (list)`, with SQL's rule for NULLs.
    pub(crate) fn holds(&self, value: &Value) -> Result<Option<bool>> {
        if *value == Value::Null {
            return Ok(None);
        }
        compare(value, &self.list[0])?;
        let order = |item: &Value| compare(item, value).ok().flatten().unwrap_or(Ordering::Equal);
        let found = self.list.binary_search_by(order).is_ok();
        Ok((found || !self.has_null).then_some(found))
    }
}

impl Compiled {
    /// Prepares an expression for a statement whose clock shows `now_micros`.
    ///
    /// Errors: a pattern or zone that is none, a constant part that cannot be computed, more than `DEPTH_MAX` levels.
    pub fn new(expr: &Expr, now_micros: i64) -> Result<Compiled> {
        let mut preparing = Preparing::new(now_micros);
        let root = preparing.node(expr, 0)?;
        Ok(Compiled { columns: preparing.columns, root })
    }

    /// The columns that are read, each once.
    pub fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    /// The tree.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// The value, where it is the same for every member.
    pub fn constant(&self) -> Option<&Value> {
        if let Node::Value(value) = &self.root { Some(value) } else { None }
    }

    /// The value for a member whose columns' values are `inputs`, in the order of [`Self::columns`].
    pub fn eval(&self, ordinal: u32, inputs: &[Value]) -> Result<Value> {
        self.root.eval(ordinal, inputs)
    }
}

/// Prepares expressions over the same columns.
struct Preparing<'e> {
    now_micros: i64,
    columns: Vec<ColumnId>,
    /// Where arguments stand several times, each by its fingerprint.
    fingerprints: HashMap<*const Expr, u64>,
    /// The first of those that are equal, and its number.
    shared: HashMap<u64, (&'e Expr, usize)>,
}

impl<'e> Preparing<'e> {
    fn new(now_micros: i64) -> Preparing<'e> {
        Preparing { now_micros, columns: Vec::new(), fingerprints: HashMap::new(), shared: HashMap::new() }
    }

    /// Looks for functions that are arguments several times.
    fn share(&mut self, terms: &[(Expr, bool)]) {
        let mut places = HashMap::new();
        for (expr, _) in terms {
            fingerprint(expr, 0, &mut places);
        }
        let mut times: HashMap<u64, usize> = HashMap::new();
        places.values().for_each(|fingerprint| *times.entry(*fingerprint).or_default() += 1);
        places.retain(|_, fingerprint| times[fingerprint] > 1);
        self.fingerprints = places;
    }

    /// An argument; one that stands elsewhere too is computed once for both.
    fn argument(&mut self, expr: &'e Expr, depth: usize) -> Result<Node> {
        let node = self.node(expr, depth)?;
        let Some(fingerprint) = self.fingerprints.get(&std::ptr::from_ref(expr)) else { return Ok(node) };
        let next = self.shared.len();
        let (first, number) = *self.shared.entry(*fingerprint).or_insert((expr, next));
        let same = first == expr && !matches!(node, Node::Value(_));
        Ok(if same { Node::Shared(number, Box::new(node)) } else { node })
    }

    fn node(&mut self, expr: &'e Expr, depth: usize) -> Result<Node> {
        if depth > DEPTH_MAX {
            return Err(Error::Invalid(format!("an expression is at most {DEPTH_MAX} levels deep")));
        }
        Ok(match expr {
            Expr::Ordinal => Node::Ordinal,
            Expr::Literal(literal) => {
                Node::Value(resolve(literal, self.now_micros, Beside::Function)?.into_owned())
            }
            Expr::Column(column) => {
                let known = self.columns.iter().position(|known| known == column);
                Node::Input(known.unwrap_or_else(|| {
                    self.columns.push(*column);
                    self.columns.len() - 1
                }))
            }
            Expr::Call { function, arguments } => {
                let mut nodes = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    nodes.push(self.argument(argument, depth + 1)?);
                }
                call(function, nodes)?
            }
        })
    }
}

/// A number that is the same for equal expressions, and hardly ever for others; those of functions are kept by place.
fn fingerprint(expr: &Expr, depth: usize, places: &mut HashMap<*const Expr, u64>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    match expr {
        // Deeper ones are refused.
        Expr::Call { function, arguments } if depth <= DEPTH_MAX => {
            format!("{function:?}").hash(&mut hasher);
            arguments.iter().for_each(|argument| fingerprint(argument, depth + 1, places).hash(&mut hasher));
            places.insert(std::ptr::from_ref(expr), hasher.finish());
        }
        Expr::Call { .. } => {}
        leaf => format!("{leaf:?}").hash(&mut hasher),
    }
    hasher.finish()
}

fn call(function: &Function, mut nodes: Vec<Node>) -> Result<Node> {
    let constant = nodes.iter().all(|node| matches!(node, Node::Value(_)));
    let mut one = || match (nodes.pop(), nodes.is_empty()) {
        (Some(node), true) => Ok(Box::new(node)),
        _ => Err(Error::Invalid(format!("{function:?} takes one argument"))),
    };
    let node = match function {
        Function::Like(pattern) => Node::Match(one()?, Matcher::new(pattern)?),
        Function::AtZone(name) => {
            let zone = time::zone_named(name)
                .ok_or_else(|| Error::Invalid(format!("there is no time zone {name:?}")))?;
            Node::Zone(one()?, zone)
        }
        Function::In if nodes.len() > AMONG_MIN => match Among::new(&nodes[1..]) {
            Some(among) => Node::Among(Box::new(nodes.swap_remove(0)), Box::new(among)),
            None => Node::Call(Function::In, nodes),
        },
        function => Node::Call(function.clone(), nodes),
    };
    Ok(if constant { Node::Value(node.eval(0, &[])?) } else { node })
}

impl Node {
    /// The value for one member.
    pub(crate) fn eval(&self, ordinal: u32, inputs: &[Value]) -> Result<Value> {
        match self {
            Node::Input(number) => Ok(inputs.get(*number).cloned().unwrap_or(Value::Null)),
            Node::Value(value) => Ok(value.clone()),
            Node::Ordinal => Ok(Value::Integer(i64::from(ordinal))),
            Node::Shared(_, node) => node.eval(ordinal, inputs),
            Node::Match(text, matcher) => match text.eval(ordinal, inputs)? {
                Value::Null => Ok(Value::Null),
                Value::Text(text) => Ok(Value::Boolean(matcher.matches(text.as_bytes()))),
                other => Err(Error::Invalid(format!("LIKE does not take {}", kind_of(&other)))),
            },
            Node::Zone(value, zone) => at_zone(value.eval(ordinal, inputs)?, zone),
            Node::Among(value, among) => {
                Ok(among.holds(&value.eval(ordinal, inputs)?)?.map_or(Value::Null, Value::Boolean))
            }
            // Only what decides is computed: a branch not taken has no error.
            Node::Call(function @ (Function::And | Function::Or), terms) => {
                let decisive = Value::Boolean(*function == Function::Or);
                let mut values = Vec::with_capacity(terms.len());
                for term in terms {
                    let value = term.eval(ordinal, inputs)?;
                    if value == decisive {
                        return Ok(decisive);
                    }
                    values.push(value);
                }
                apply(function, &values)
            }
            Node::Call(Function::Case, branches) => {
                let pairs = branches.chunks_exact(2);
                let rest = pairs.remainder().first();
                for pair in pairs {
                    if pair[0].eval(ordinal, inputs)? == Value::Boolean(true) {
                        return pair[1].eval(ordinal, inputs);
                    }
                }
                rest.map_or(Ok(Value::Null), |rest| rest.eval(ordinal, inputs))
            }
            Node::Call(Function::Coalesce, terms) => {
                for term in terms {
                    let value = term.eval(ordinal, inputs)?;
                    if value != Value::Null {
                        return Ok(value);
                    }
                }
                Ok(Value::Null)
            }
            Node::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(argument.eval(ordinal, inputs)?);
                }
                apply(function, &values)
            }
        }
    }
}

/// A TIMESTAMPTZ as the zone's local TIMESTAMP, or the reverse.
pub(crate) fn at_zone(value: Value, zone: &TimeZone) -> Result<Value> {
    let beyond = || Error::Invalid("time zones are known for the years 1 to 9999".into());
    match value {
        Value::Null => Ok(Value::Null),
        Value::TimestampTz(micros) => time::to_local(zone, micros).map(Value::Timestamp).ok_or_else(beyond),
        Value::Timestamp(micros) => time::to_instant(zone, micros).map(Value::TimestampTz).ok_or_else(beyond),
        Value::Date(days) => {
            let midnight = i64::from(days).checked_mul(crate::calendar::MICROS_PER_DAY).ok_or_else(beyond)?;
            time::to_instant(zone, midnight).map(Value::TimestampTz).ok_or_else(beyond)
        }
        other => Err(Error::Invalid(format!("AT TIME ZONE does not take {}", kind_of(&other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn constant() -> impl Strategy<Value = Value> {
        prop_oneof![
            (0i64..40).prop_map(Value::Integer),
            (0i128..400).prop_map(|unscaled| Value::Decimal { unscaled, scale: 1 }),
            (0i32..160).prop_map(|quarters| Value::Double(f64::from(quarters) / 4.0)),
            Just(Value::Double(f64::NAN)),
            Just(Value::Null),
        ]
    }

    proptest! {
        /// A long list is looked up, a short one compared: the answers are those of the definition.
        #[test]
        fn in_is_as_defined_however_long(
            list in prop_oneof![
                proptest::collection::vec((0i64..40).prop_map(Value::Integer), 1..40),
                proptest::collection::vec(constant(), 1..40),
            ],
            value in constant(),
        ) {
            let arguments = std::iter::once(Expr::Column(ColumnId(1))).chain(list.iter().cloned().map(Expr::value));
            let compiled = Compiled::new(&Expr::call(Function::In, arguments), 0).unwrap();
            let mut whole = vec![value.clone()];
            whole.extend(list);
            prop_assert_eq!(compiled.eval(0, &[value]).unwrap(), apply(&Function::In, &whole).unwrap());
        }
    }
}
