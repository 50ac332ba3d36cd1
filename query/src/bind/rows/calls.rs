//! Aggregates and window functions: what the engine calls them, what they take and give.

use super::reading::Reading;
use super::{frames, sequences};
use crate::bind::value::Typed;
use crate::bind::{Names, type_error};
use crate::error::{Error, Result, Span};
use crate::select::aggregate_type;
use crate::statement::{
    AggregateCall, Key, Name, Order, Over, RowCall, RowCallName, Term, TermKind, WindowTerm, Windowed,
};
use crate::suggest;
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{RowAggregate, RowFunction, SortKey, WindowCall, WindowFunction};
use muster_engine::schema::DataType;
use muster_engine::value::Value;

/// Neighbours and their order, and what they say.
type Bound = (Vec<Expr>, Vec<SortKey>, WindowCall, DataType);

/// Binds an aggregate over rows.
pub(super) fn aggregate(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    term: &Term,
) -> Result<(RowAggregate, DataType)> {
    match &term.kind {
        TermKind::Aggregate(call) => {
            let (argument, data_type) = folded(reading, names, call)?;
            let filter = call.filter.as_ref().map(|filter| names.truth(filter, reading, 0)).transpose()?;
            let function = RowFunction::Fold(call.function);
            let arguments = argument.into_iter().collect();
            Ok((RowAggregate { function, arguments, distinct: call.distinct, filter }, data_type))
        }
        TermKind::RowAggregate(call) => {
            let (function, arguments, data_type) = of_several(reading, names, call, term.span)?;
            let filter = call.filter.as_ref().map(|filter| names.truth(filter, reading, 0)).transpose()?;
            Ok((RowAggregate { function, arguments, distinct: false, filter }, data_type))
        }
        _ => Err(type_error(term.span, "expected an aggregate")),
    }
}

/// The argument and the type of an aggregate.
fn folded(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    call: &AggregateCall,
) -> Result<(Option<Expr>, DataType)> {
    let Some(term) = &call.argument else { return Ok((None, DataType::BigInt)) };
    let typed = names.value(term, reading)?;
    let data_type = aggregate_type(call.function, &typed, term)?;
    Ok((Some(typed.expr), data_type))
}

fn of_several(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    call: &RowCall,
    span: Span,
) -> Result<(RowFunction, Vec<Expr>, DataType)> {
    let mut arguments = Vec::with_capacity(call.arguments.len());
    for term in &call.arguments {
        arguments.push(names.value(term, reading)?);
    }
    let takes = |advice: &str| {
        let message = format!("{}() does not take {} values", call.name.text(), call.arguments.len());
        Err(type_error(span, message).advise(advice))
    };
    match call.name {
        RowCallName::ArgMin | RowCallName::ArgMax => {
            let [shown, by] = arguments.as_slice() else {
                return takes("write arg_max(x, t): the x of the row with the greatest t");
            };
            if by.known_type() == DataType::TextArray {
                return Err(type_error(by.span, "a TEXT[] column has no order"));
            }
            let function =
                if call.name == RowCallName::ArgMin { RowFunction::ArgMin } else { RowFunction::ArgMax };
            let data_type = shown.known_type();
            Ok((function, vec![shown.expr.clone(), by.expr.clone()], data_type))
        }
        RowCallName::Median => {
            let [of] = arguments.as_slice() else { return takes("write median(number)") };
            names.number(of)?;
            Ok((RowFunction::Median, vec![of.expr.clone()], DataType::Double))
        }
        RowCallName::QuantileCont | RowCallName::QuantileDisc => {
            let [of, part] = arguments.as_slice() else {
                return takes(
                    "write quantile_cont(x, 0.8), or percentile_cont(0.8) WITHIN GROUP (ORDER BY x)",
                );
            };
            quantile(names, call, of, part)
        }
        RowCallName::Mode => {
            let [of] = arguments.as_slice() else { return takes("write mode(x)") };
            with_order(of)?;
            let function = RowFunction::Mode { descending: call.descending };
            Ok((function, vec![of.expr.clone()], of.known_type()))
        }
        RowCallName::CountDistinct => {
            arguments.iter().try_for_each(with_order)?;
            let arguments = arguments.into_iter().map(|typed| typed.expr).collect();
            Ok((RowFunction::CountDistinct, arguments, DataType::BigInt))
        }
        RowCallName::WindowFunnel | RowCallName::Funnel => {
            sequences::funnel(names, call.name, arguments, span)
        }
        RowCallName::SequenceMatch | RowCallName::SequenceCount => {
            sequences::pattern(names, call.name, arguments, span)
        }
    }
}

/// `quantile_cont(of, part)`: the number at a part of the way, or the value there.
fn quantile(
    names: &Names<'_>,
    call: &RowCall,
    of: &Typed,
    part: &Typed,
) -> Result<(RowFunction, Vec<Expr>, DataType)> {
    let fraction =
        part.constant_number().filter(|fraction| (0.0..=1.0).contains(fraction)).ok_or_else(|| {
            type_error(part.span, format!("{}() takes a constant part from 0 to 1", call.name.text()))
        })?;
    let (function, fraction, data_type) = if call.name == RowCallName::QuantileCont {
        names.number(of)?;
        let fraction = if call.descending { 1.0 - fraction } else { fraction };
        (RowFunction::QuantileCont, fraction, DataType::Double)
    } else {
        with_order(of)?;
        (RowFunction::QuantileDisc { descending: call.descending }, fraction, of.known_type())
    };
    Ok((function, vec![of.expr.clone(), Expr::value(Value::Double(fraction))], data_type))
}

fn with_order(typed: &Typed) -> Result<()> {
    if typed.known_type() == DataType::TextArray {
        return Err(type_error(typed.span, "a TEXT[] column has no order"));
    }
    Ok(())
}

/// Binds a window function.
pub(super) fn window(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    window: &WindowTerm,
    named: &[(Name, Over)],
    span: Span,
) -> Result<Bound> {
    let whole = whole(&window.over, named)?;
    let mut partition = Vec::with_capacity(whole.partition.len());
    for term in &whole.partition {
        partition.push(names.value(term, reading)?.expr);
    }
    let mut order = Vec::with_capacity(whole.order.len());
    for key in &whole.order {
        order.push(sort_key(reading, names, key)?);
    }
    let (call, data_type) = match &window.call {
        Windowed::Aggregate(call) => aggregate_over(reading, names, call, span)?,
        Windowed::Function(name, arguments) => function_over(reading, names, name, arguments, span)?,
    };
    let frame = frames::frame(reading, names, &whole)?;
    let call = WindowCall { frame: frame.filter(|_| is_of_frame(call.function)), ..call };
    Ok((partition, order, call, data_type))
}

/// OVER, with what its name says.
fn whole(over: &Over, named: &[(Name, Over)]) -> Result<Over> {
    let Some(name) = &over.named else { return Ok(over.clone()) };
    let Some((_, base)) = named.iter().find(|(known, _)| known.text == name.text) else {
        let error = Error::query(
            crate::error::QueryErrorKind::UnknownColumn,
            name.span,
            format!("unknown window \"{}\"", name.text),
        );
        let known = named.iter().map(|(name, _)| name.text.as_str());
        return Err(match suggest::advice(&name.text, known, "the windows are") {
            Some(advice) => error.advise(advice),
            None => error.advise("WINDOW name AS (PARTITION BY … ORDER BY …) stands after HAVING"),
        });
    };
    if base.named.is_some()
        || !over.partition.is_empty()
        || (!over.order.is_empty() && !base.order.is_empty())
    {
        return Err(Error::unsupported(name.span, "a named window is taken as it is, or given an order"));
    }
    let order = if over.order.is_empty() { base.order.clone() } else { over.order.clone() };
    let frame = over.frame.clone().or_else(|| base.frame.clone());
    Ok(Over { named: None, partition: base.partition.clone(), order, frame })
}

/// True of functions that a frame is of account for.
fn is_of_frame(function: WindowFunction) -> bool {
    matches!(
        function,
        WindowFunction::Fold(_)
            | WindowFunction::FirstValue
            | WindowFunction::LastValue
            | WindowFunction::NthValue(_)
    )
}

fn sort_key(reading: &mut Reading<'_>, names: &Names<'_>, order: &Order) -> Result<SortKey> {
    let Key::Term(term) = &order.key else {
        return Err(Error::unsupported(None, "the ORDER BY of a window names values, not positions"));
    };
    let typed = names.value(term, reading)?;
    if typed.known_type() == DataType::TextArray {
        return Err(type_error(typed.span, "a TEXT[] column has no order"));
    }
    Ok(SortKey { value: typed.expr, descending: order.descending, nulls_first: order.nulls_first })
}

fn aggregate_over(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    call: &AggregateCall,
    span: Span,
) -> Result<(WindowCall, DataType)> {
    if call.distinct {
        return Err(Error::unsupported(span, "an aggregate OVER a window is without DISTINCT"));
    }
    let (mut argument, data_type) = folded(reading, names, call)?;
    if let Some(filter) = &call.filter {
        // What does not pass is NULL, and passed over.
        let value = argument.take().unwrap_or_else(|| Expr::value(Value::Integer(1)));
        argument = Some(Expr::call(Function::Case, [names.truth(filter, reading, 0)?, value]));
    }
    let function = WindowFunction::Fold(call.function);
    Ok((WindowCall { function, arguments: argument.into_iter().collect(), frame: None }, data_type))
}

fn function_over(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    name: &str,
    terms: &[Term],
    span: Span,
) -> Result<(WindowCall, DataType)> {
    let mut arguments = Vec::with_capacity(terms.len());
    for term in terms {
        arguments.push(names.value(term, reading)?);
    }
    let plain = |function, arguments: Vec<Expr>, data_type| {
        Ok((WindowCall { function, arguments, frame: None }, data_type))
    };
    let number = |at: usize| {
        let given = arguments.get(at).map(Typed::whole_number);
        let number = given.map(|number| number.and_then(|number| u32::try_from(number).ok()));
        number.map(|number| {
            number.ok_or_else(|| type_error(arguments[at].span, "expected a constant whole number from 0"))
        })
    };
    match (name, arguments.len()) {
        ("row_number", 0) => plain(WindowFunction::RowNumber, Vec::new(), DataType::BigInt),
        ("rank", 0) => plain(WindowFunction::Rank, Vec::new(), DataType::BigInt),
        ("dense_rank", 0) => plain(WindowFunction::DenseRank, Vec::new(), DataType::BigInt),
        ("ntile", 1) => match number(0).transpose()? {
            Some(parts) if parts > 0 => plain(WindowFunction::Ntile(parts), Vec::new(), DataType::BigInt),
            _ => Err(type_error(arguments[0].span, "ntile takes a constant whole number from 1")),
        },
        ("lag" | "lead", 1..=3) => {
            let by = number(1).transpose()?.unwrap_or(1);
            let function =
                if name == "lag" { WindowFunction::Lag(by) } else { WindowFunction::Lead(by) };
            let shown = &arguments[0];
            let mut taken = vec![shown.expr.clone()];
            let mut data_type = shown.known_type();
            if let Some(default) = arguments.get(2) {
                data_type = names.common_type([shown, default].into_iter(), span)?;
                taken = vec![
                    names.brought_to(shown.clone(), data_type)?,
                    names.brought_to(default.clone(), data_type)?,
                ];
            }
            plain(function, taken, data_type)
        }
        ("first_value" | "last_value", 1) => {
            let first = name == "first_value";
            let function = if first { WindowFunction::FirstValue } else { WindowFunction::LastValue };
            plain(function, vec![arguments[0].expr.clone()], arguments[0].known_type())
        }
        ("nth_value", 2) => match number(1).transpose()? {
            Some(number) if number > 0 => {
                let function = WindowFunction::NthValue(number);
                plain(function, vec![arguments[0].expr.clone()], arguments[0].known_type())
            }
            _ => Err(type_error(arguments[1].span, "nth_value takes a constant whole number from 1")),
        },
        _ => Err(Error::unsupported(span, format!("{name} with {} values is no window function", terms.len()))
            .advise("they are row_number(), rank(), dense_rank(), ntile(n), lag(x [, n [, default]]), lead(…), first_value(x), last_value(x), nth_value(x, n), and aggregates")),
    }
}
