//! Functions of dates and times on their numbers: days since 1970-01-01, and microseconds of a calendar without a zone.

use super::{TimeField, TimeUnit};
use crate::calendar::{
    MICROS_PER_DAY, MICROS_PER_SECOND, add_interval, civil_from_days, days_from_civil, days_in_month, days_of,
};
use crate::predicate::Interval;
pub use jiff::tz::TimeZone;
use std::sync::OnceLock;

/// Days from 1970-01-01 of which the beginnings of their months, quarters and years are known: to the end of 2099.
const DAYS_KNOWN: i64 = 47_482;

/// The beginnings of the months, quarters or years of these days: a civil date takes several divisions, a table a look.
fn known_beginnings(unit: TimeUnit) -> &'static [i64] {
    static BEGINNINGS: [OnceLock<Vec<i64>>; 3] = [const { OnceLock::new() }; 3];
    let place = match unit {
        TimeUnit::Month => 0,
        TimeUnit::Quarter => 1,
        TimeUnit::Year => 2,
        _ => return &[],
    };
    BEGINNINGS[place]
        .get_or_init(|| (0..DAYS_KNOWN).map(|day| beginning(unit, day) * MICROS_PER_DAY).collect())
}

/// Units of whole days, numbered: those of the days from 1970-01-01 to the end of 2099.
pub(crate) struct Units {
    /// The unit that each day lies in.
    pub(crate) of_day: Vec<u16>,
    /// The microsecond in which each begins, ascending.
    pub(crate) beginnings: Vec<i64>,
}

impl Units {
    /// The number of none.
    pub(crate) fn null(&self) -> u16 {
        self.beginnings.len() as u16
    }
}

/// The units of a kind; `None` of what is finer than days.
pub(crate) fn units(unit: TimeUnit) -> Option<&'static Units> {
    static UNITS: [OnceLock<Units>; 5] = [const { OnceLock::new() }; 5];
    let place = match unit {
        TimeUnit::Day => 0,
        TimeUnit::Week => 1,
        TimeUnit::Month => 2,
        TimeUnit::Quarter => 3,
        TimeUnit::Year => 4,
        _ => return None,
    };
    let number = || {
        let mut units = Units { of_day: Vec::new(), beginnings: Vec::new() };
        for beginning in (0..DAYS_KNOWN).filter_map(|day| truncated(unit, day * MICROS_PER_DAY)) {
            if units.beginnings.last() != Some(&beginning) {
                units.beginnings.push(beginning);
            }
            units.of_day.push((units.beginnings.len() - 1) as u16);
        }
        units
    };
    Some(UNITS[place].get_or_init(number))
}

/// [`truncated`] of many instants.
pub(crate) fn truncation(unit: TimeUnit) -> impl Fn(i64) -> Option<i64> {
    let known = known_beginnings(unit);
    move |micros| match known.get(days_of(micros) as usize) {
        Some(beginning) => Some(*beginning),
        None => truncated(unit, micros),
    }
}

/// The first day of the month, quarter or year of a day.
fn beginning(unit: TimeUnit, day: i64) -> i64 {
    let (year, month, _) = civil_from_days(day);
    let first = match unit {
        TimeUnit::Month => month,
        TimeUnit::Quarter => (month - 1) / 3 * 3 + 1,
        _ => 1,
    };
    days_from_civil(year, first, 1)
}

/// The beginning of the unit that an instant lies in; `None` where it lies before the first instant.
pub(crate) fn truncated(unit: TimeUnit, micros: i64) -> Option<i64> {
    let cut = |step: i64| micros.checked_sub(micros.rem_euclid(step));
    let day = days_of(micros);
    let day = match unit {
        TimeUnit::Microseconds => return Some(micros),
        TimeUnit::Milliseconds => return cut(1_000),
        TimeUnit::Second => return cut(MICROS_PER_SECOND),
        TimeUnit::Minute => return cut(60 * MICROS_PER_SECOND),
        TimeUnit::Hour => return cut(3_600 * MICROS_PER_SECOND),
        TimeUnit::Day => day,
        // 1970-01-01 was a Thursday.
        TimeUnit::Week => day - (day + 3).rem_euclid(7),
        TimeUnit::Month | TimeUnit::Quarter | TimeUnit::Year => beginning(unit, day),
    };
    day.checked_mul(MICROS_PER_DAY)
}

/// A field that is a whole number; `None` for [`TimeField::Second`] and [`TimeField::Epoch`], which have fractions.
pub(crate) fn whole_field(field: TimeField, micros: i64) -> Option<i64> {
    let day = days_of(micros);
    let within = micros.rem_euclid(MICROS_PER_DAY);
    Some(match field {
        TimeField::Hour => within / (3_600 * MICROS_PER_SECOND),
        TimeField::Minute => within / (60 * MICROS_PER_SECOND) % 60,
        TimeField::DayOfWeek => (day + 4).rem_euclid(7),
        TimeField::IsoDayOfWeek => (day + 3).rem_euclid(7) + 1,
        TimeField::Week => iso_week(day).1,
        TimeField::IsoYear => shown_year(iso_week(day).0),
        TimeField::Year => shown_year(civil_from_days(day).0),
        TimeField::Quarter => i64::from((civil_from_days(day).1 - 1) / 3 + 1),
        TimeField::Month => i64::from(civil_from_days(day).1),
        TimeField::Day => i64::from(civil_from_days(day).2),
        TimeField::DayOfYear => day - days_from_civil(civil_from_days(day).0, 1, 1) + 1,
        TimeField::Second | TimeField::Epoch => return None,
    })
}

/// As PostgreSQL counts: there is no year 0, the one before 1 is -1.
fn shown_year(year: i64) -> i64 {
    if year <= 0 { year - 1 } else { year }
}

/// The ISO year and week of a day: a week belongs to the year that its Thursday is in.
fn iso_week(day: i64) -> (i64, i64) {
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    let year = civil_from_days(thursday).0;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// Full years from one day to another, negative where the second comes first. A year is full on the same day of the same
/// month, after 29 February on 1 March in common years.
pub(crate) fn full_years(from: i64, to: i64) -> i64 {
    let of = |day| {
        let (year, month, day) = civil_from_days(day);
        (year, (month, day))
    };
    let ((a, within_a), (b, within_b)) = (of(from), of(to));
    let years = b - a;
    if years > 0 && within_b < within_a {
        years - 1
    } else if years < 0 && within_b > within_a {
        years + 1
    } else {
        years
    }
}

/// Days from `at` to the next yearly return of `birth`, 0 on the day itself.
pub(crate) fn days_to_birthday(birth: i64, at: i64) -> i64 {
    let (_, month, day) = civil_from_days(birth);
    let year = civil_from_days(at).0;
    let returns = |year: i64| {
        if day > days_in_month(year, month) {
            days_from_civil(year, 3, 1)
        } else {
            days_from_civil(year, month, day)
        }
    };
    let this_year = returns(year) - at;
    if this_year >= 0 { this_year } else { returns(year + 1) - at }
}

/// The zone of an IANA name, without regard to case.
pub fn zone_named(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok()
}

/// The local time that clocks of a zone show at an instant; `None` beyond the years 1 to 9999.
pub fn to_local(zone: &TimeZone, micros: i64) -> Option<i64> {
    if *zone == TimeZone::UTC {
        return Some(micros);
    }
    let instant = jiff::Timestamp::from_microsecond(micros).ok()?;
    micros.checked_add(i64::from(zone.to_offset(instant).seconds()) * MICROS_PER_SECOND)
}

/// The instant at which clocks of a zone show a local time. Of two, the first; a time that clocks skip is read with the
/// offset before the gap, as PostgreSQL does. `None` beyond the years 1 to 9999.
pub fn to_instant(zone: &TimeZone, local: i64) -> Option<i64> {
    if *zone == TimeZone::UTC {
        return Some(local);
    }
    let civil = TimeZone::UTC.to_datetime(jiff::Timestamp::from_microsecond(local).ok()?);
    zone.to_ambiguous_timestamp(civil).compatible().ok().map(|instant| instant.as_microsecond())
}

/// An instant moved by an interval: months and days by the zone's calendar, hours by the clock that never stops.
pub(crate) fn moved(zone: &TimeZone, instant: i64, interval: &Interval) -> Option<i64> {
    let mut moved = instant;
    if interval.months != 0 || interval.days != 0 {
        let calendar = Interval { micros: 0, ..*interval };
        moved = to_instant(zone, add_interval(to_local(zone, instant)?, &calendar)?)?;
    }
    moved.checked_add(interval.micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i64, month: u32, day: u32) -> i64 {
        days_from_civil(year, month, day)
    }

    #[test]
    fn fields_and_weeks_agree_with_jiff() {
        for days in (-719_000..2_900_000).step_by(97) {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            let (iso, micros) = (date.iso_week_date(), days * MICROS_PER_DAY + 5);
            let field = |field| whole_field(field, micros).unwrap();
            assert_eq!(
                (field(TimeField::IsoYear), field(TimeField::Week)),
                (iso.year().into(), iso.week().into())
            );
            assert_eq!(field(TimeField::DayOfYear), i64::from(date.day_of_year()));
            assert_eq!(field(TimeField::IsoDayOfWeek), i64::from(date.weekday().to_monday_one_offset()));
            assert_eq!(field(TimeField::DayOfWeek), i64::from(date.weekday().to_sunday_zero_offset()));
            assert_eq!(field(TimeField::Quarter), i64::from((date.month() - 1) / 3 + 1));
            let monday = truncated(TimeUnit::Week, micros).unwrap() / MICROS_PER_DAY;
            assert_eq!(days - monday, i64::from(date.weekday().to_monday_zero_offset()));
        }
    }

    #[test]
    fn years_are_full_on_the_day_and_leap_days_return_on_the_first_of_march() {
        assert_eq!(full_years(day(2000, 6, 30), day(2025, 6, 29)), 24);
        assert_eq!(full_years(day(2000, 6, 30), day(2025, 6, 30)), 25);
        assert_eq!(full_years(day(2000, 2, 29), day(2025, 2, 28)), 24);
        assert_eq!(full_years(day(2000, 2, 29), day(2025, 3, 1)), 25);
        assert_eq!(full_years(day(2025, 6, 30), day(2000, 7, 1)), -24);
        assert_eq!(days_to_birthday(day(1990, 1, 2), day(2025, 12, 30)), 3);
        assert_eq!(days_to_birthday(day(1990, 12, 30), day(2025, 12, 30)), 0);
        assert_eq!(days_to_birthday(day(1990, 12, 29), day(2025, 12, 30)), 364);
        assert_eq!(days_to_birthday(day(2000, 2, 29), day(2025, 2, 27)), 2);
        assert_eq!(days_to_birthday(day(2000, 2, 29), day(2024, 2, 27)), 2);
        assert_eq!(days_to_birthday(day(2000, 2, 29), day(2025, 3, 2)), 364);
    }

    #[test]
    fn zones_have_their_gaps_and_folds() {
        let berlin = zone_named("europe/berlin").unwrap();
        let at = |month, date, hour: i64, minute: i64| {
            day(2026, month, date) * MICROS_PER_DAY + (hour * 60 + minute) * 60 * MICROS_PER_SECOND
        };
        assert_eq!(to_local(&berlin, at(7, 1, 10, 0)), Some(at(7, 1, 12, 0)));
        assert_eq!(to_instant(&berlin, at(7, 1, 12, 0)), Some(at(7, 1, 10, 0)));
        // Clocks go from 02:00 to 03:00 on 29 March, and from 03:00 back to 02:00 on 25 October.
        assert_eq!(to_instant(&berlin, at(3, 29, 2, 30)), Some(at(3, 29, 1, 30)));
        assert_eq!(to_instant(&berlin, at(10, 25, 2, 30)), Some(at(10, 25, 0, 30)));
        assert_eq!(zone_named("Mars/Olympus"), None);
    }

    /// Hours were once added to what the clocks show, so that "48 hours ago" was an hour off when clocks had changed.
    #[test]
    fn hours_pass_whatever_the_clocks_do() {
        let berlin = zone_named("Europe/Berlin").unwrap();
        let hours =
            |hours: i64| Interval { micros: hours * 3_600 * MICROS_PER_SECOND, ..Interval::default() };
        // 03:30 on 29 March 2026, half an hour after clocks went from 02:00 to 03:00.
        let instant = (day(2026, 3, 29) * 24 + 1) * 3_600 * MICROS_PER_SECOND + 1_800 * MICROS_PER_SECOND;
        assert_eq!(moved(&berlin, instant, &hours(-1)), Some(instant - 3_600 * MICROS_PER_SECOND));
        assert_eq!(moved(&berlin, instant, &hours(-48)), Some(instant - 48 * 3_600 * MICROS_PER_SECOND));
        // A day before is 03:30 of the day before: 23 hours.
        let a_day = Interval { days: -1, ..Interval::default() };
        assert_eq!(moved(&berlin, instant, &a_day), Some(instant - 23 * 3_600 * MICROS_PER_SECOND));
    }
}
