//! Funnels and patterns: `window_funnel(…)`, `funnel(…)`, `sequence_match(…)`, `sequence_count(…)`.

use crate::bind::value::Typed;
use crate::bind::{Names, type_error};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::RowCallName;
use crate::suggest;
use muster_engine::exec::FUNNEL_STEPS_MAX;
use muster_engine::expr::Expr;
use muster_engine::predicate::{FunnelModes, Interval, PATTERN_CONDITIONS_MAX, RowFunction, SequencePattern};
use muster_engine::schema::DataType;

/// What is called, of which values, and the type of it.
type Bound = (RowFunction, Vec<Expr>, DataType);

/// The options of `funnel`.
const FUNNEL_OPTIONS: [&str; 2] = ["strict_increase", "consecutive"];

/// `window_funnel(interval, ['mode', …] time, step, …)`, `funnel(interval, ['option',] time, step, …)`
pub(super) fn funnel(
    names: &Names<'_>,
    name: RowCallName,
    arguments: Vec<Typed>,
    span: Span,
) -> Result<Bound> {
    let called = name.text();
    let shape = format!("write {called}(INTERVAL '7 days', time, first_step, second_step, …)");
    let mut arguments = arguments.into_iter().peekable();
    let window = arguments.next().and_then(|first| Some((first.interval()?, first.span)));
    let Some((window, window_span)) = window else {
        return Err(type_error(span, format!("{called}() begins with an INTERVAL")).advise(shape));
    };
    let micros = micros_of(window).ok_or_else(|| {
        type_error(window_span, "the window of a funnel is a length of time, without months")
            .advise("write INTERVAL '30 days'")
    })?;
    if micros < 0 {
        return Err(type_error(window_span, "the window of a funnel is not negative"));
    }
    let mut options = Vec::new();
    while let Some(option) = arguments.next_if(|next| next.text().is_some()) {
        options.push((option.text().unwrap_or_default().to_owned(), option.span));
    }
    let function = if name == RowCallName::WindowFunnel {
        RowFunction::WindowFunnel { micros, modes: modes(&options)? }
    } else {
        of_options(micros, &options)?
    };
    let Some(time) = arguments.next() else {
        return Err(type_error(span, format!("{called}() takes a time and its steps")).advise(shape));
    };
    let mut taken = vec![of_time(time, &shape)?];
    for step in arguments {
        taken.push(condition(names, step, &shape)?);
    }
    if !(2..=FUNNEL_STEPS_MAX + 1).contains(&taken.len()) {
        return Err(type_error(span, format!("a funnel has 1 to {FUNNEL_STEPS_MAX} steps")).advise(shape));
    }
    Ok((function, taken, DataType::BigInt))
}

/// The modes of `window_funnel`.
fn modes(options: &[(String, Span)]) -> Result<FunnelModes> {
    let mut modes = FunnelModes::default();
    for (option, span) in options {
        let known = FunnelModes::NAMED.iter().find(|(name, _)| name == option);
        let Some((_, mode)) = known else {
            return Err(no_option(option, *span, FunnelModes::NAMED.iter().map(|(name, _)| *name)));
        };
        modes = modes.and(*mode);
        let orders = [FunnelModes::STRICT_ORDER, FunnelModes::STRICT_DEDUPLICATION];
        if modes.has(FunnelModes::STRICT_ONCE) && orders.iter().any(|order| modes.has(*order)) {
            let message = "'strict_once' goes with 'strict_increase' only";
            return Err(Error::unsupported(*span, message)
                .advise("funnel(window, 'consecutive', time, …) takes neighbours, each row once"));
        }
    }
    Ok(modes)
}

/// The options of `funnel`, one at most.
fn of_options(micros: i64, options: &[(String, Span)]) -> Result<RowFunction> {
    match options {
        [] => Ok(RowFunction::Funnel { micros, strict: false }),
        [(option, _)] if option == FUNNEL_OPTIONS[0] => Ok(RowFunction::Funnel { micros, strict: true }),
        [(option, _)] if option == FUNNEL_OPTIONS[1] => Ok(RowFunction::Consecutive { micros }),
        [(option, span)] => Err(no_option(option, *span, FUNNEL_OPTIONS.into_iter())),
        [_, (_, span), ..] => Err(type_error(*span, "funnel() takes one option")),
    }
}

fn no_option(option: &str, span: Span, known: impl Iterator<Item = &'static str> + Clone) -> Error {
    let error = type_error(span, format!("a funnel has no option '{option}'"));
    match suggest::advice(option, known, "they are") {
        Some(advice) => error.advise(advice),
        None => error,
    }
}

/// `sequence_match('pattern', time, condition, …)`
pub(super) fn pattern(
    names: &Names<'_>,
    name: RowCallName,
    arguments: Vec<Typed>,
    span: Span,
) -> Result<Bound> {
    let shape = format!("write {}('(?1)(?t<=3600)(?2)', time, first, second)", name.text());
    let mut arguments = arguments.into_iter();
    let first = arguments.next();
    let pattern = first.as_ref().and_then(|first| Some((first.text()?.to_owned(), first.span)));
    let (Some((text, text_span)), Some(time)) = (pattern, arguments.next()) else {
        let message = format!("{}() takes a pattern in quotes, a time and conditions", name.text());
        return Err(type_error(span, message).advise(shape));
    };
    let mut taken = vec![Expr::value(muster_engine::Value::Text(text.clone())), of_time(time, &shape)?];
    for one in arguments {
        taken.push(condition(names, one, &shape)?);
    }
    if !(3..=PATTERN_CONDITIONS_MAX + 2).contains(&taken.len()) {
        let message = format!("a pattern has 1 to {PATTERN_CONDITIONS_MAX} conditions");
        return Err(type_error(span, message).advise(shape));
    }
    SequencePattern::parse(&text, taken.len() - 2)
        .map_err(|reason| Error::query(QueryErrorKind::Value, text_span, reason).advise(shape))?;
    let counts = name == RowCallName::SequenceCount;
    let data_type = if counts { DataType::BigInt } else { DataType::Boolean };
    Ok((RowFunction::Sequence { counts }, taken, data_type))
}

fn of_time(time: Typed, shape: &str) -> Result<Expr> {
    if !time.known_type().is_time() {
        let message = format!("expected a date or time, found {}", time.describe());
        return Err(type_error(time.span, message).advise(shape));
    }
    Ok(time.expr)
}

fn condition(names: &Names<'_>, step: Typed, shape: &str) -> Result<Expr> {
    let step = names.as_type(step, DataType::Boolean)?;
    if step.data_type.is_some_and(|data_type| data_type != DataType::Boolean) {
        let message = format!("a step is a condition, not {}", step.describe());
        return Err(type_error(step.span, message).advise(shape));
    }
    Ok(step.expr)
}

fn micros_of(interval: Interval) -> Option<i64> {
    let days = i64::from(interval.days).checked_mul(muster_engine::calendar::MICROS_PER_DAY)?;
    (interval.months == 0).then(|| days.checked_add(interval.micros)).flatten()
}
