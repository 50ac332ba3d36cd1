//! The civil calendar over microseconds since 1970-01-01 00:00:00: proleptic Gregorian, no zones, no leap seconds.
//!
//! Day numbers follow Howard Hinnant's `chrono`-compatible date algorithms (a year starts in March, an era has 400
//! years), which are exact for every year an `i64` of microseconds can reach. Zones are not this module's: a
//! TIMESTAMPTZ is read in UTC.

use crate::predicate::Interval;

/// Microseconds of a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// The day (since 1970-01-01) of a date. `month` is 1 to 12 and `day` 1 to the month's length; see [`is_date`].
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The (year, month, day) of a day since 1970-01-01. Year 0 is 1 BC.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The number of days of a month (1 to 12).
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// True where the calendar has this date.
pub fn is_date(year: i64, month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && day >= 1 && (day <= 28 || day <= days_in_month(year, month))
}

/// The day (since 1970-01-01) that an instant falls on; instants before 1970 round down.
pub fn days_of(micros: i64) -> i64 {
    micros.div_euclid(MICROS_PER_DAY)
}

/// The midnight at or before an instant; `None` where it lies before the first instant.
pub fn midnight(micros: i64) -> Option<i64> {
    days_of(micros).checked_mul(MICROS_PER_DAY)
}

/// An instant moved by an interval: first its months (a day the target month lacks becomes the month's last), then
/// its days, then its microseconds. `None` beyond the range of TIMESTAMP.
pub fn add_interval(micros: i64, interval: &Interval) -> Option<i64> {
    let mut moved = micros;
    if interval.months != 0 {
        let (year, month, day) = civil_from_days(days_of(micros));
        let months = year * 12 + i64::from(month - 1) + i64::from(interval.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let days = days_from_civil(year, month, day.min(days_in_month(year, month)));
        moved = days.checked_mul(MICROS_PER_DAY)?.checked_add(micros.rem_euclid(MICROS_PER_DAY))?;
    }
    i64::from(interval.days)
        .checked_mul(MICROS_PER_DAY)
        .and_then(|days| moved.checked_add(days))
        .and_then(|moved| moved.checked_add(interval.micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: u32, day: u32) -> i64 {
        days_from_civil(year, month, day) * MICROS_PER_DAY
    }

    #[test]
    fn days_and_dates_agree_with_jiff() {
        for days in (-719_162..2_932_896).step_by(37).chain([-719_162, -1, 0, 1, 59, 60, 11_016, 2_932_896]) {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(days);
            let expected = (i64::from(date.year()), date.month() as u32, date.day() as u32);
            assert_eq!(civil_from_days(days), expected);
            assert_eq!(days_from_civil(expected.0, expected.1, expected.2), days);
            assert!(is_date(expected.0, expected.1, expected.2));
        }
        assert!(
            !is_date(2025, 2, 29) && is_date(2024, 2, 29) && !is_date(1900, 2, 29) && is_date(2000, 2, 29)
        );
        assert!(
            !is_date(2025, 13, 1) && !is_date(2025, 0, 1) && !is_date(2025, 4, 31) && !is_date(2025, 4, 0)
        );
    }

    #[test]
    fn far_days_come_back() {
        for days in [-106_751_991, 106_751_991, i64::from(i32::MIN), i64::from(i32::MAX), -719_528, -719_163]
        {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn months_are_clamped_then_days_then_micros() {
        let month = Interval { months: 1, ..Interval::default() };
        assert_eq!(add_interval(at(2026, 1, 31), &month), Some(at(2026, 2, 28)));
        assert_eq!(add_interval(at(2024, 1, 31) + 5, &month), Some(at(2024, 2, 29) + 5));
        let back = Interval { months: -13, days: -1, micros: -1 };
        assert_eq!(add_interval(at(2026, 3, 31), &back), Some(at(2025, 2, 27) - 1));
        assert_eq!(add_interval(at(1969, 12, 31) + 7, &month), Some(at(1970, 1, 31) + 7));
        assert_eq!(add_interval(i64::MAX, &Interval { micros: 1, ..Interval::default() }), None);
        assert_eq!(add_interval(0, &Interval { months: i32::MAX, ..Interval::default() }), None);
        assert_eq!(add_interval(0, &Interval { days: i32::MIN, ..Interval::default() }), None);
    }

    #[test]
    fn days_round_down() {
        assert_eq!((days_of(-1), days_of(0), days_of(MICROS_PER_DAY - 1)), (-1, 0, 0));
        assert_eq!(midnight(-1), Some(-MICROS_PER_DAY));
        assert_eq!(midnight(i64::MIN), None);
    }
}
