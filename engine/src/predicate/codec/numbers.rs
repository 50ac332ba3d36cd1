//! The numbers on disk: tags of nodes, and what stands for each case of an enum. Never renumbered.

use crate::exec::FoldFunction;
use crate::expr::{Function, PatternKind, TimeField, TimeUnit};
use crate::predicate::{CompareOp, FrameUnit, Truth};
use crate::value::Value;

pub(super) mod tag {
    pub const CONST: u16 = 1;
    pub const AND: u16 = 2;
    pub const OR: u16 = 3;
    pub const NOT: u16 = 4;
    pub const IS_TRUE: u16 = 5;
    pub const IS_NULL: u16 = 6;
    pub const COMPARE: u16 = 7;
    pub const IN: u16 = 8;
    pub const HAS_ANY: u16 = 9;
    pub const HAS_ALL: u16 = 10;
    pub const HOLDS: u16 = 11;
    pub const AUDIENCE: u16 = 12;
    pub const RELATED: u16 = 0x0100;
    pub const DERIVED: u16 = 0x0101;

    pub const ROWS_SCAN: u16 = 1;
    pub const ROWS_FILTER: u16 = 2;
    pub const ROWS_COMPUTE: u16 = 3;
    pub const ROWS_JOIN: u16 = 4;
    pub const ROWS_GROUP: u16 = 5;
    pub const ROWS_WINDOW: u16 = 6;
    pub const ROWS_SORT: u16 = 7;
    pub const ROWS_APPEND: u16 = 8;

    pub const TIE_IN: u16 = 1;
    pub const TIE_TRUTH: u16 = 2;

    pub const JOIN_INNER: u16 = 1;
    pub const JOIN_LEFT: u16 = 2;
    pub const JOIN_SINGLE: u16 = 3;
    pub const JOIN_MARK: u16 = 4;
    pub const JOIN_IN: u16 = 5;
    pub const JOIN_FULL: u16 = 6;

    // Below stand those of FoldFunction.
    pub const ROW_ARG_MIN: u16 = 16;
    pub const ROW_ARG_MAX: u16 = 17;
    pub const ROW_MEDIAN: u16 = 18;
    pub const ROW_FUNNEL: u16 = 19;
    pub const ROW_WINDOW_FUNNEL: u16 = 20;
    pub const ROW_CONSECUTIVE: u16 = 21;
    pub const ROW_SEQUENCE: u16 = 22;
    pub const ROW_COUNT_DISTINCT: u16 = 23;
    pub const ROW_QUANTILE_CONT: u16 = 24;
    pub const ROW_QUANTILE_DISC: u16 = 25;
    pub const ROW_MODE: u16 = 26;

    // Below stand those of FoldFunction.
    pub const WINDOW_ROW_NUMBER: u16 = 16;
    pub const WINDOW_RANK: u16 = 17;
    pub const WINDOW_DENSE_RANK: u16 = 18;
    pub const WINDOW_NTILE: u16 = 19;
    pub const WINDOW_LAG: u16 = 20;
    pub const WINDOW_LEAD: u16 = 21;
    /// A frame follows, and then the function.
    pub const WINDOW_FRAMED: u16 = 22;
    pub const WINDOW_FIRST_VALUE: u16 = 23;
    pub const WINDOW_LAST_VALUE: u16 = 24;
    pub const WINDOW_NTH_VALUE: u16 = 25;

    pub const BOUND_FIRST: u16 = 1;
    pub const BOUND_BEFORE: u16 = 2;
    pub const BOUND_CURRENT: u16 = 3;
    pub const BOUND_AFTER: u16 = 4;
    pub const BOUND_LAST: u16 = 5;

    pub const OFFSET_COUNT: u16 = 1;
    pub const OFFSET_VALUE: u16 = 2;

    pub const EXPR_COLUMN: u16 = 1;
    pub const EXPR_LITERAL: u16 = 2;
    pub const EXPR_ORDINAL: u16 = 3;
    pub const EXPR_CALL: u16 = 4;

    pub const LITERAL_VALUE: u16 = 1;
    pub const LITERAL_NOW: u16 = 2;
}

/// The numbers of an enum without fields, both ways.
macro_rules! numbers {
    ($type:ident, $to:ident, $from:ident, $($variant:ident = $number:literal),+ $(,)?) => {
        pub(super) fn $to(value: $type) -> u16 {
            match value {
                $($type::$variant => $number,)+
            }
        }

        pub(super) fn $from(number: u16) -> Option<$type> {
            match number {
                $($number => Some($type::$variant),)+
                _ => None,
            }
        }
    };
}

numbers!(FoldFunction, fold_number, fold_of, Count = 1, Sum = 2, Avg = 3, Min = 4, Max = 5);
numbers!(FrameUnit, frame_unit_number, frame_unit_of, Rows = 1, Groups = 2, Range = 3);
numbers!(Truth, truth_number, truth_of, False = 0, True = 1, Unknown = 2);
numbers!(CompareOp, op_number, op_of, Eq = 1, Ne = 2, Lt = 3, Le = 4, Gt = 5, Ge = 6);
numbers!(PatternKind, pattern_number, pattern_of, Like = 1, ILike = 2, Regex = 3, IRegex = 4);
numbers!(
    TimeUnit,
    unit_number,
    unit_of,
    Microseconds = 1,
    Milliseconds = 2,
    Second = 3,
    Minute = 4,
    Hour = 5,
    Day = 6,
    Week = 7,
    Month = 8,
    Quarter = 9,
    Year = 10,
);
numbers!(
    TimeField,
    field_number,
    field_of,
    Year = 1,
    Quarter = 2,
    Month = 3,
    Week = 4,
    IsoYear = 5,
    Day = 6,
    DayOfWeek = 7,
    IsoDayOfWeek = 8,
    DayOfYear = 9,
    Hour = 10,
    Minute = 11,
    Second = 12,
    Epoch = 13,
);

pub(super) fn value_number(value: &Value) -> u16 {
    match value {
        Value::Null => 1,
        Value::Boolean(_) => 2,
        Value::Integer(_) => 3,
        Value::Decimal { .. } => 4,
        Value::Double(_) => 5,
        Value::Text(_) => 6,
        Value::Date(_) => 7,
        Value::Timestamp(_) => 8,
        Value::TimestampTz(_) => 9,
        Value::Tags(_) => 10,
    }
}

/// The numbers of functions: of those without fields both ways, of the others one way, since their fields follow.
macro_rules! functions {
    (plain: $($plain:ident = $number:literal),+; with_fields: $($variant:pat => $tag:literal),+ $(,)?) => {
        pub(super) fn function_number(function: &Function) -> u16 {
            match function {
                $(Function::$plain => $number,)+
                $($variant => $tag,)+
            }
        }

        pub(super) fn plain_function(number: u16) -> Option<Function> {
            match number {
                $($number => Some(Function::$plain),)+
                _ => None,
            }
        }
    };
}

functions!(
    plain: Same = 2, IsNull = 3, And = 4, Or = 5, Not = 6, Add = 7, Subtract = 8, Multiply = 9, Divide = 10,
    Modulo = 11, Negate = 12, Abs = 13, Floor = 14, Ceil = 15, Round = 16, Lower = 18, Upper = 19, Length = 20,
    Substr = 21, Trim = 22, Concat = 23, Cardinality = 25, Years = 28, DaysToBirthday = 29, Coalesce = 33, NullIf = 34,
    Case = 35, Greatest = 36, Least = 37, In = 38, Power = 41, Sqrt = 42, Ln = 43, Log10 = 44, Replace = 45,
    SplitPart = 46, AddTags = 47, RemoveTag = 48, Sin = 49, Cos = 50, Asin = 51, Acos = 52, Radians = 53, Md5 = 54;
    with_fields:
    Function::Compare(_) => 1,
    Function::AddInterval(_) => 17,
    Function::Like(_) => 24,
    Function::DateTrunc(_) => 26,
    Function::Extract(_) => 27,
    Function::Bucket { .. } => 30,
    Function::AtZone(_) => 31,
    Function::Cast(_) => 32,
    Function::HasAny(_) => 39,
    Function::HasAll(_) => 40,
);
