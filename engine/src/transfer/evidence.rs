//! What the values of one column of text have in common, and the type that follows from it.

use super::json::Json;
use crate::schema::{DECIMAL_PRECISION_MAX, DataType};
use crate::value::{code, for_each_tag, shortened};

/// The types whose text forms are tried one by one; a value that fails one ends its candidacy.
const TRIED: [DataType; 4] = [DataType::Date, DataType::Timestamp, DataType::TimestampTz, DataType::Double];

/// Grows value by value.
#[derive(Default)]
pub(super) struct Evidence {
    values: u64,
    words_of_booleans: u64,
    zeros_and_ones: u64,
    integers: u64,
    decimals: u64,
    whole_digits_max: usize,
    fraction_digits_max: usize,
    beyond_integer: bool,
    beyond_bigint: bool,
    /// A number written so that reading it as one would lose something: `007`, `+4930`.
    like_a_code: Option<String>,
    like_a_local_date: Option<String>,
    local_dates: u64,
    arrays: u64,
    /// How many values each of [`TRIED`] took.
    taken: [u64; 4],
}

impl Evidence {
    /// Takes in a value that is not NULL.
    pub(super) fn see(&mut self, value: &[u8]) {
        self.values += 1;
        let text = value.trim_ascii();
        let is_word = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
        self.words_of_booleans += u64::from(["true", "false", "t", "f"].into_iter().any(is_word));
        self.see_number(text);
        for (taken, data_type) in self.taken.iter_mut().zip(TRIED) {
            // Once refused it is out, so the costly parsers are mostly skipped.
            if *taken + 1 == self.values && code(text, data_type).is_ok() {
                *taken += 1;
            }
        }
        if is_local_date(text) {
            self.local_dates += 1;
            self.like_a_local_date.get_or_insert_with(|| shortened(text));
        }
        if self.arrays + 1 == self.values && matches!(text.first(), Some(b'{' | b'[')) {
            let parsed = std::str::from_utf8(text).map(|text| for_each_tag(text, &mut String::new(), |_| {}));
            self.arrays += u64::from(matches!(parsed, Ok(Ok(()))));
        }
    }

    fn see_number(&mut self, text: &[u8]) {
        let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        let (whole, fraction) = match unsigned.iter().position(|b| *b == b'.') {
            Some(point) => (&unsigned[..point], &unsigned[point + 1..]),
            None => (unsigned, &[][..]),
        };
        if whole.len() + fraction.len() == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return;
        }
        self.decimals += 1;
        let leading_zeros = whole.iter().take_while(|b| **b == b'0').count();
        self.whole_digits_max = self.whole_digits_max.max(whole.len() - leading_zeros);
        self.fraction_digits_max = self.fraction_digits_max.max(fraction.len());
        if whole.len() == unsigned.len() {
            self.integers += 1;
            self.zeros_and_ones += u64::from(matches!(text, b"0" | b"1"));
            self.beyond_integer |= code(text, DataType::Integer).is_err();
            self.beyond_bigint |= code(text, DataType::BigInt).is_err();
        }
        if (leading_zeros > 0 && whole.len() > 1) || text[0] == b'+' {
            self.like_a_code.get_or_insert_with(|| shortened(text));
        }
    }

    /// True before the first value.
    pub(super) fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// The types to choose from, the proposed one first, and what is unclear where anything is. `complete` says that
    /// no value is unseen: only then are decimals kept to the digits seen.
    pub(super) fn verdict(&self, complete: bool) -> (Vec<DataType>, Option<String>) {
        let all = |count: u64| self.values > 0 && count == self.values;
        let [dates, timestamps, timestamps_tz, doubles] = self.taken;
        if all(self.words_of_booleans) {
            return (vec![DataType::Boolean], None);
        }
        if all(self.decimals) {
            return self.number(all(self.integers), complete);
        }
        if all(doubles) {
            return (vec![DataType::Double], None);
        }
        if all(dates) {
            return (vec![DataType::Date], None);
        }
        if all(timestamps) {
            return (vec![DataType::Timestamp], None);
        }
        if all(timestamps_tz) {
            return (vec![DataType::TimestampTz], None);
        }
        if all(self.arrays) {
            let question = "looks like arrays: tags, or text that happens to be in brackets?";
            return (vec![DataType::TextArray, DataType::Text], Some(question.to_owned()));
        }
        if let (true, Some(example)) = (all(self.local_dates), &self.like_a_local_date) {
            let question = format!(
                "looks like dates of which day and month cannot be told apart, such as {example:?}: TEXT keeps them as \
                 they are; to have dates, write them as YYYY-MM-DD"
            );
            return (vec![DataType::Text], Some(question));
        }
        (vec![DataType::Text], None)
    }

    fn number(&self, integers: bool, complete: bool) -> (Vec<DataType>, Option<String>) {
        let digits = self.whole_digits_max + self.fraction_digits_max;
        let number = if integers && !self.beyond_bigint {
            if self.beyond_integer { DataType::BigInt } else { DataType::Integer }
        } else if digits <= usize::from(DECIMAL_PRECISION_MAX) {
            let precision = if complete { digits.max(1) as u8 } else { DECIMAL_PRECISION_MAX };
            DataType::Decimal { precision, scale: self.fraction_digits_max as u8 }
        } else {
            let question = format!("holds numbers of {digits} digits, more than a number keeps exactly");
            return (vec![DataType::Text, DataType::Double], Some(question));
        };
        if let Some(example) = &self.like_a_code {
            let question = format!(
                "holds digits such as {example:?}: a text (a phone number, a zip code), or a number?"
            );
            return (vec![DataType::Text, number], Some(question));
        }
        if integers && self.zeros_and_ones == self.values {
            return (
                vec![number, DataType::Boolean],
                Some("holds only 0 and 1: numbers, or booleans?".to_owned()),
            );
        }
        (vec![number], None)
    }
}

/// The same for a column of JSON, whose values say more of themselves: digits in quotes are a text.
#[derive(Default)]
pub(super) struct JsonEvidence {
    numbers: Evidence,
    texts: Evidence,
    booleans: u64,
    arrays: u64,
}

impl JsonEvidence {
    /// Takes in a value; NULL says nothing, and objects are refused by whoever reads.
    pub(super) fn see(&mut self, value: Json<'_>) {
        match value {
            Json::Null | Json::Object => {}
            Json::Boolean(_) => self.booleans += 1,
            Json::Number(number) => self.numbers.see(number.as_bytes()),
            Json::Text(text) => self.texts.see(text.as_bytes()),
            Json::Array(_) => self.arrays += 1,
        }
    }

    /// True before the first value.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds() == 0
    }

    fn kinds(&self) -> usize {
        let seen = [self.booleans > 0, self.arrays > 0, !self.numbers.is_empty(), !self.texts.is_empty()];
        seen.into_iter().filter(|seen| *seen).count()
    }

    /// As [`Evidence::verdict`].
    pub(super) fn verdict(&self, complete: bool) -> (Vec<DataType>, Option<String>) {
        let mixed = self.kinds() > 1;
        if self.arrays > 0 {
            let question = "holds arrays and other values, which no one type takes".to_owned();
            return (vec![DataType::TextArray], mixed.then_some(question));
        }
        if mixed || self.is_empty() {
            return (vec![DataType::Text], None);
        }
        if self.booleans > 0 {
            return (vec![DataType::Boolean], None);
        }
        if self.texts.is_empty() {
            let (choices, question) = self.numbers.verdict(complete);
            // Whoever writes 0 and 1 where JSON has true and false means numbers.
            let asked = question.filter(|_| choices[0] == DataType::Text);
            return (choices, asked);
        }
        match self.texts.verdict(complete) {
            (choices, question) if choices[0].is_time() => (choices, question),
            (_, question) if self.texts.local_dates == self.texts.values => (vec![DataType::Text], question),
            _ => (vec![DataType::Text], None),
        }
    }
}

/// `3/4/2020`, `03.04.2020`, `3-4-20`.
fn is_local_date(text: &[u8]) -> bool {
    [b'/', b'.', b'-'].into_iter().any(|separator| {
        let parts: Vec<&[u8]> = text.splitn(4, |b| *b == separator).collect();
        let lengths_fit = parts.len() == 3
            && (1..=2).contains(&parts[0].len())
            && (1..=2).contains(&parts[1].len())
            && matches!(parts[2].len(), 2 | 4);
        lengths_fit && parts.iter().all(|part| part.iter().all(u8::is_ascii_digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(values: &[&str]) -> (Vec<DataType>, bool) {
        let mut evidence = Evidence::default();
        values.iter().for_each(|value| evidence.see(value.as_bytes()));
        let (choices, question) = evidence.verdict(true);
        (choices, question.is_some())
    }

    #[track_caller]
    fn sure(values: &[&str], data_type: DataType) {
        assert_eq!(verdict(values), (vec![data_type], false));
    }

    #[test]
    fn clear_columns_get_their_narrowest_type() {
        sure(&["true", "F"], DataType::Boolean);
        sure(&["1", "-20"], DataType::Integer);
        sure(&["1", "3000000000"], DataType::BigInt);
        sure(&["1", "-20.50", "100"], DataType::Decimal { precision: 5, scale: 2 });
        sure(&["0.05"], DataType::Decimal { precision: 2, scale: 2 });
        sure(&["1", "1.5e9", "nan"], DataType::Double);
        sure(&["2020-01-02"], DataType::Date);
        sure(&["2020-01-02", "2020-01-02 03:04:05"], DataType::Timestamp);
        sure(&["2020-01-02T03:04:05Z"], DataType::TimestampTz);
        sure(&["2020-01-02", "2020-02-30"], DataType::Text);
        sure(&["yes", "no"], DataType::Text);
        sure(&["12", "a"], DataType::Text);
        sure(&["1.2.3"], DataType::Text);
    }

    #[test]
    fn unclear_columns_are_asked_about_with_the_safe_type_first() {
        assert_eq!(verdict(&["0", "1", "1"]), (vec![DataType::Integer, DataType::Boolean], true));
        assert_eq!(verdict(&["10115", "01067"]), (vec![DataType::Text, DataType::Integer], true));
        assert_eq!(verdict(&["+8613800000000"]), (vec![DataType::Text, DataType::BigInt], true));
        assert_eq!(verdict(&["03/04/2020", "3/4/20"]), (vec![DataType::Text], true));
        assert_eq!(verdict(&["{a,b}", "[\"a\"]"]), (vec![DataType::TextArray, DataType::Text], true));
        assert_eq!(verdict(&["12345678901234567890"]), (vec![DataType::Text, DataType::Double], true));
        sure(&["{a,b}", "{a"], DataType::Text);
        sure(&["0", "0.5"], DataType::Decimal { precision: 1, scale: 1 });
    }

    #[test]
    fn json_says_more_of_its_values() {
        let verdict = |values: &[Json<'_>]| {
            let mut evidence = JsonEvidence::default();
            values.iter().for_each(|value| evidence.see(*value));
            let (choices, question) = evidence.verdict(true);
            (choices[0], question.is_some())
        };
        let (text, number) = (Json::Text, Json::Number);
        assert_eq!(verdict(&[text("12"), text("007")]), (DataType::Text, false));
        assert_eq!(verdict(&[number("0"), number("1")]), (DataType::Integer, false));
        assert_eq!(
            verdict(&[number("1.50"), Json::Null]),
            (DataType::Decimal { precision: 3, scale: 2 }, false)
        );
        assert_eq!(verdict(&[number("1e3")]), (DataType::Double, false));
        assert_eq!(verdict(&[number("12345678901234567890")]), (DataType::Text, true));
        assert_eq!(verdict(&[Json::Boolean(true)]), (DataType::Boolean, false));
        assert_eq!(verdict(&[Json::Boolean(true), number("1")]), (DataType::Text, false));
        assert_eq!(verdict(&[text("2020-01-02T03:04:05Z")]), (DataType::TimestampTz, false));
        assert_eq!(verdict(&[text("2020-01-02")]), (DataType::Date, false));
        assert_eq!(verdict(&[text("3/4/2020")]), (DataType::Text, true));
        assert_eq!(verdict(&[Json::Array("[\"a\"]"), Json::Null]), (DataType::TextArray, false));
        assert_eq!(verdict(&[Json::Array("[]"), number("1")]), (DataType::TextArray, true));
        assert_eq!(verdict(&[text("{a}"), text("true")]), (DataType::Text, false));
    }

    #[test]
    fn a_sample_leaves_decimals_room() {
        let mut evidence = Evidence::default();
        evidence.see(b"1.25");
        assert_eq!(evidence.verdict(false).0, [DataType::Decimal { precision: 18, scale: 2 }]);
    }
}
