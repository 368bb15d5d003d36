//! Points in time, as the catalog keeps them: UTC, whole milliseconds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
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
        f.write_str(&DateTime::<Utc>::from(*self).to_rfc3339_opts(SecondsFormat::Millis, true))
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
        serializer.collect_str(self)
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
    fn sub_milliseconds_are_cut_and_a_leap_second_is_taken() {
        let time: Timestamp = "1969-12-31T23:59:59.9999Z".parse().unwrap();
        assert_eq!(time.millis(), -1);
        assert!("2016-12-31T23:59:60Z".parse::<Timestamp>().is_ok());
    }
}
