//! Points in time, as the catalog keeps them: UTC, whole milliseconds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time: UTC, in whole milliseconds, from year 0 to year 9999.
///
/// Displays, parses, and goes through serde as RFC 3339; any offset is taken, and UTC with milliseconds given.
///
/// ```
/// # use shelfmark::Timestamp;
/// let time: Timestamp = "2018-10-30T09:06:22+02:00".parse().unwrap();
/// assert_eq!(time.to_string(), "2018-10-30T07:06:22.000Z");
/// assert_eq!(time.millis(), 1_540_883_182_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// 0000-01-01T00:00:00.000Z
const MIN: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z
const MAX: i64 = 253_402_300_799_999;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// A text or a number is not a point in time between the years 0 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an RFC 3339 date-time between the years 0000 and 9999")
    }
}

impl std::error::Error for TimestampError {}

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub fn from_millis(millis: i64) -> Result<Self, TimestampError> {
        if (MIN..=MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(TimestampError)
        }
    }

    /// From milliseconds, clamped to the years 0 to 9999.
    pub(crate) const fn from_millis_lossy(millis: i64) -> Self {
        if millis < MIN {
            Self(MIN)
        } else if millis > MAX {
            Self(MAX)
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// As it displays. Lists write two of these an entity, so nothing is allocated for it.
    pub(crate) fn text(self) -> Text {
        let day = self.0.div_euclid(DAY);
        let within = self.0.rem_euclid(DAY);
        let (year, month, day) = date(day);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, digits: usize, mut number: i64| {
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, day);
        put(11, 2, within / 3_600_000);
        put(14, 2, within / 60_000 % 60);
        put(17, 2, within / 1_000 % 60);
        put(20, 3, within % 1_000);
        Text(text)
    }
}

/// Year, month and day of the Gregorian calendar, where day 0 is 1970-01-01. For the years 0 to 9999 that a [`Timestamp`] has.
fn date(day: i64) -> (i64, i64, i64) {
    // From 0000-03-01 minus one era of 400 years, so that nothing is negative and leap days end their years.
    let day = day + 719_468 + ERA;
    let (era, day) = (day / ERA - 1, day % ERA);
    // Without the leap days that have passed in the era.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on, of 153 days in each five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + later, month, day)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) struct Text([u8; 24]);

impl Text {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn as_str(&self) -> &str {
        // Digits and punctuation are always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_millis_lossy(time.timestamp_millis())
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(time: Timestamp) -> Self {
        // Every value between MIN and MAX is representable.
        DateTime::from_timestamp_millis(time.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimestampError)?;
        Self::from_millis(time.timestamp_millis())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;

    #[test]
    fn the_first_and_last_moments_display_and_parse() {
        for (millis, text) in [
            (MIN, "0000-01-01T00:00:00.000Z"),
            (MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_millis(millis).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        assert_eq!(Timestamp::from_millis(MAX + 1), Err(TimestampError));
        assert_eq!(
            "9999-12-31T23:59:59.999-01:00".parse::<Timestamp>(),
            Err(TimestampError)
        );
    }

    #[test]
    fn every_day_has_its_date() {
        use chrono::Datelike as _;
        for day in MIN / DAY..=MAX / DAY {
            let expected = DateTime::<Utc>::from_timestamp_millis(day * DAY).unwrap();
            let expected = (expected.year(), expected.month(), expected.day());
            let (year, month, day) = date(day);
            assert_eq!((year as i32, month as u32, day as u32), expected);
        }
    }

    #[test]
    fn a_time_displays_as_the_calendar_has_it() {
        // Steps that hit every digit, leap days and years before 1970.
        let step = 86_399_999 * 97 + 1;
        for millis in (MIN..=MAX).step_by(step) {
            let time = Timestamp::from_millis(millis).unwrap();
            let expected = DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true);
            assert_eq!(time.to_string(), expected);
            assert_eq!(serde_json::to_string(&time).unwrap(), format!("\"{expected}\""));
        }
    }

    #[test]
    fn sub_milliseconds_are_cut_and_a_leap_second_is_taken() {
        let time: Timestamp = "1969-12-31T23:59:59.9999Z".parse().unwrap();
        assert_eq!(time.millis(), -1);
        assert!("2016-12-31T23:59:60Z".parse::<Timestamp>().is_ok());
    }
}
