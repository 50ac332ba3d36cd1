//! What is asked of events one after another: the modes of a funnel, and patterns.
//!
//! A pattern is events with gaps between them:
//!
//! ```text
//! (?1)  (?t<=3600)(?!3)  (?2)
//! event       gap        event
//! ```
//!
//! `(?n)` is an event that meets condition n, `.` any event. Nothing between two of them: they are neighbours. `.*` between them: any
//! number of events may stand there. `(?t<=3600)` and its kin: the same, and the two are so many seconds apart. `(?!n)`: the
//! same, and none of those between meets condition n. What stands in one gap holds together. Only events that meet some condition count. The
//! syntax is that of ClickHouse's `sequenceMatch`, but for `(?!n)`.

/// The most conditions of a pattern: a bit each.
pub const PATTERN_CONDITIONS_MAX: usize = 32;

/// The most events of a pattern: a bit each.
pub const PATTERN_EVENTS_MAX: usize = 64;

/// The most bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4_096;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// How a funnel is counted, as ClickHouse's `windowFunnel` has it. The bits are stored, and never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunnelModes(u8);

impl FunnelModes {
    /// A step that comes again ends the chain.
    pub const STRICT_DEDUPLICATION: FunnelModes = FunnelModes(1);
    /// So does a row that is not the next step.
    pub const STRICT_ORDER: FunnelModes = FunnelModes(2);
    /// Each step is later than the one before.
    pub const STRICT_INCREASE: FunnelModes = FunnelModes(4);
    /// A row takes one step.
    pub const STRICT_ONCE: FunnelModes = FunnelModes(8);
    /// A step before its turn is passed over in strict order.
    pub const ALLOW_REENTRY: FunnelModes = FunnelModes(16);

    /// Each mode under its name in the language.
    pub const NAMED: [(&'static str, FunnelModes); 5] = [
        ("strict_deduplication", FunnelModes::STRICT_DEDUPLICATION),
        ("strict_order", FunnelModes::STRICT_ORDER),
        ("strict_increase", FunnelModes::STRICT_INCREASE),
        ("strict_once", FunnelModes::STRICT_ONCE),
        ("allow_reentry", FunnelModes::ALLOW_REENTRY),
    ];

    /// Both.
    pub fn and(self, other: FunnelModes) -> FunnelModes {
        FunnelModes(self.0 | other.0)
    }

    /// True where all of `other` are among these.
    pub fn has(self, other: FunnelModes) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The modes of these bits; `None` where one has no meaning.
    pub fn of_bits(bits: u8) -> Option<FunnelModes> {
        (bits < 32).then_some(FunnelModes(bits))
    }
}

/// A pattern of events, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencePattern {
    /// At least one.
    pub(crate) events: Vec<PatternEvent>,
    /// What follows each of them, up to the next one; after the last one up to the end.
    pub(crate) gaps: Vec<Gap>,
}

/// What an event of a pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternEvent {
    /// `.`
    Any,
    /// `(?n)`: the number of the condition, from 0.
    Meets(u32),
}

/// What stands between two events of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// False where they are neighbours.
    pub(crate) is_open: bool,
    /// The least and the most microseconds from the one to the other.
    pub(crate) least: i64,
    pub(crate) most: i64,
    /// Conditions that none of the events between meets: a bit each.
    pub(crate) forbidden: u32,
}

impl Gap {
    const CLOSED: Gap = Gap { is_open: false, least: 0, most: i64::MAX, forbidden: 0 };
}

impl SequencePattern {
    /// Reads a pattern over so many conditions.
    ///
    /// # Errors
    /// What is wrong, and at which byte of the text, from 1.
    pub fn parse(text: &str, conditions: usize) -> Result<SequencePattern, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let mut reader = Reader { text, at: 0, conditions };
        let mut pattern = SequencePattern { events: Vec::new(), gaps: Vec::new() };
        while let Some(element) = reader.element()? {
            pattern.take(element).map_err(|reason| reader.refuse(reason))?;
        }
        match pattern.gaps.last() {
            None => Err("a pattern names an event: (?1) is one that meets the first condition".into()),
            Some(last) if last.forbidden == 0 && (last.least > 0 || last.most < i64::MAX) => {
                Err("a time stands between two events, or beside (?!n)".into())
            }
            Some(_) => Ok(pattern),
        }
    }

    fn take(&mut self, element: Element) -> Result<(), &'static str> {
        let Element::Event(event) = element else {
            return match (self.gaps.last_mut(), element) {
                (Some(gap), element) => gap.take(element),
                // Events before the first one are of no account.
                (None, Element::Skip) => Ok(()),
                (None, _) => Err("a pattern begins with an event: (?1), or . for any"),
            };
        };
        if self.events.len() == PATTERN_EVENTS_MAX {
            return Err("a pattern has at most 64 events");
        }
        self.events.push(event);
        self.gaps.push(Gap::CLOSED);
        Ok(())
    }
}

/// A part of a pattern.
#[derive(Clone, Copy)]
enum Element {
    Event(PatternEvent),
    /// `.*`
    Skip,
    /// `(?t…)`: the least and the most microseconds.
    Apart(i64, i64),
    /// `(?!n)`
    Without(u32),
}

impl Gap {
    fn take(&mut self, element: Element) -> Result<(), &'static str> {
        self.is_open = true;
        match element {
            Element::Event(_) | Element::Skip => {}
            Element::Apart(least, most) => {
                (self.least, self.most) = (self.least.max(least), self.most.min(most));
            }
            Element::Without(condition) => self.forbidden |= 1 << condition,
        }
        Ok(())
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    conditions: usize,
}

impl Reader<'_> {
    fn element(&mut self) -> Result<Option<Element>, String> {
        self.skip_blanks();
        if self.rest().is_empty() {
            return Ok(None);
        }
        if self.eat(".*") {
            return Ok(Some(Element::Skip));
        }
        if self.eat(".") {
            return Ok(Some(Element::Event(PatternEvent::Any)));
        }
        let element = if self.eat("(?t") {
            self.apart()?
        } else if self.eat("(?!") {
            Element::Without(self.condition()?)
        } else if self.eat("(?") {
            Element::Event(PatternEvent::Meets(self.condition()?))
        } else {
            return Err(self.refuse("expected (?1), ., .*, (?t<=3600) or (?!1)"));
        };
        if !self.eat(")") {
            return Err(self.refuse("expected )"));
        }
        Ok(Some(element))
    }

    /// The number of a condition, from 1 in the text.
    fn condition(&mut self) -> Result<u32, String> {
        let number = self.digits().parse::<usize>().unwrap_or(0);
        if number == 0 || number > self.conditions.min(PATTERN_CONDITIONS_MAX) {
            return Err(self.refuse(&format!("conditions are numbered from 1 to {}", self.conditions)));
        }
        Ok(number as u32 - 1)
    }

    /// `<= 3600`
    fn apart(&mut self) -> Result<Element, String> {
        let operators = ["<=", ">=", "==", "<", ">", "="];
        self.skip_blanks();
        let Some(operator) = operators.into_iter().find(|operator| self.eat(operator)) else {
            return Err(self.refuse("expected <, <=, >, >= or =="));
        };
        self.skip_blanks();
        let micros = self.micros().ok_or_else(|| self.refuse("expected a number of seconds"))?;
        self.skip_blanks();
        Ok(match operator {
            "<=" => Element::Apart(0, micros),
            "<" => Element::Apart(0, micros - 1),
            ">=" => Element::Apart(micros, i64::MAX),
            ">" => Element::Apart(micros + 1, i64::MAX),
            _ => Element::Apart(micros, micros),
        })
    }

    /// Seconds, perhaps with up to six decimals.
    fn micros(&mut self) -> Option<i64> {
        let whole: i64 = self.digits().parse().ok()?;
        let mut micros = whole.checked_mul(MICROS_PER_SECOND)?;
        if self.eat(".") {
            let decimals = self.digits();
            let scale = u32::try_from(decimals.len()).ok().filter(|scale| (1..=6).contains(scale))?;
            micros = micros.checked_add(decimals.parse::<i64>().ok()? * 10_i64.pow(6 - scale))?;
        }
        // One more is a time, too.
        (micros < i64::MAX).then_some(micros)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn digits(&mut self) -> String {
        let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
        self.at += digits.len();
        digits
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest().len() - self.rest().trim_start().len();
        self.at += blanks;
    }

    fn refuse(&self, reason: &str) -> String {
        format!("at byte {} of the pattern: {reason}", self.at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_holds_all_that_stands_in_it() {
        let pattern = SequencePattern::parse(" .* (?1)(?t>1)(?!3).*(?t <= 1.5)(?2). (?!1)", 3).unwrap();
        assert_eq!(pattern.events, [PatternEvent::Meets(0), PatternEvent::Meets(1), PatternEvent::Any]);
        let between = Gap { is_open: true, least: 1_000_001, most: 1_500_000, forbidden: 4 };
        let last = Gap { is_open: true, forbidden: 1, ..Gap::CLOSED };
        assert_eq!(pattern.gaps, [between, Gap::CLOSED, last]);
    }

    #[test]
    fn what_is_no_pattern_says_where() {
        for (text, reason) in [
            ("", "a pattern names an event: (?1) is one that meets the first condition"),
            (".*", "a pattern names an event: (?1) is one that meets the first condition"),
            ("(?1)(?4)", "at byte 8 of the pattern: conditions are numbered from 1 to 3"),
            ("(?0)", "at byte 4 of the pattern: conditions are numbered from 1 to 3"),
            ("(?1)x", "at byte 5 of the pattern: expected (?1), ., .*, (?t<=3600) or (?!1)"),
            ("(?1", "at byte 4 of the pattern: expected )"),
            ("(?t<5)(?1)", "at byte 7 of the pattern: a pattern begins with an event: (?1), or . for any"),
            ("(?1)(?t~5)(?2)", "at byte 8 of the pattern: expected <, <=, >, >= or =="),
            ("(?1)(?t<)(?2)", "at byte 9 of the pattern: expected a number of seconds"),
            ("(?1)(?t<99999999999999999999)", "at byte 29 of the pattern: expected a number of seconds"),
            ("(?1)(?t<=60)", "a time stands between two events, or beside (?!n)"),
        ] {
            assert_eq!(SequencePattern::parse(text, 3).unwrap_err(), reason, "{text}");
        }
        assert!(SequencePattern::parse(&"(?1)".repeat(65), 1).unwrap_err().ends_with("at most 64 events"));
        assert!(SequencePattern::parse(&".".repeat(5_000), 1).unwrap_err().ends_with("4096 bytes"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[(?!t<>=.*)0-9 é]{0,40}") {
            let _ = SequencePattern::parse(&text, 3);
        }
    }
}
