//! Parameters: `$1`, `$2`, … of a statement, given beside its text.

use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{Constant, TermKind};
use muster_engine::value::Value;
use std::sync::Arc;

/// What a `$n` of a statement stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// One value. A text takes the type of what it stands beside, as a text in quotes does.
    Value(Value),
    /// A list, for `column = ANY($1)`. Sharing it costs nothing, so a statement can be asked again with the same million.
    List(Arc<[Value]>),
}

impl From<Value> for Param {
    fn from(value: Value) -> Param {
        Param::Value(value)
    }
}

impl From<&str> for Param {
    fn from(text: &str) -> Param {
        Param::Value(Value::Text(text.to_owned()))
    }
}

impl From<i64> for Param {
    fn from(integer: i64) -> Param {
        Param::Value(Value::Integer(integer))
    }
}

impl From<Vec<Value>> for Param {
    fn from(values: Vec<Value>) -> Param {
        Param::List(values.into())
    }
}

impl From<Vec<i64>> for Param {
    fn from(integers: Vec<i64>) -> Param {
        Param::List(integers.into_iter().map(Value::Integer).collect())
    }
}

impl From<Vec<String>> for Param {
    fn from(texts: Vec<String>) -> Param {
        Param::List(texts.into_iter().map(Value::Text).collect())
    }
}

/// The term that a `$n` is.
pub(crate) fn term(name: &str, parameters: &[Param], span: Span) -> Result<TermKind> {
    let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()).filter(|n| *n > 0);
    let Some(number) = number else {
        return Err(
            Error::syntax(span, format!("{name} is no parameter")).advise("parameters are written $1, $2, …")
        );
    };
    let Some(parameter) = parameters.get(number - 1) else {
        let message = format!("the statement asks for parameter {name}, but {} were given", parameters.len());
        return Err(Error::query(QueryErrorKind::Value, span, message));
    };
    Ok(match parameter {
        Param::Value(Value::Null) => TermKind::Constant(Constant::Null),
        Param::Value(Value::Text(text)) => TermKind::Constant(Constant::Unknown(text.clone())),
        Param::Value(value) => TermKind::Constant(Constant::Value(value.clone())),
        Param::List(values) => TermKind::List(Arc::clone(values)),
    })
}
