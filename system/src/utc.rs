//! Wall-clock time as text, for names of backups and lines of the log.

use core::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, to the second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Utc {
    seconds: u64,
}

impl Utc {
    pub(crate) fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Whole days since 1970-01-01.
    pub(crate) const fn days(self) -> u64 {
        self.seconds / 86_400
    }

    /// The same time of day, or the epoch, some seconds before.
    pub(crate) const fn before(self, seconds: u64) -> Self {
        Self {
            seconds: self.seconds.saturating_sub(seconds),
        }
    }

    /// `20261122T192200Z`: sorts by time and is safe in a file name.
    pub(crate) fn compact(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// Proleptic Gregorian date, counted in years that start in March, so that the leap day comes last.
    const fn date(self) -> (u64, u64, u64) {
        const DAYS_TO_1970: u64 = 719_468; // from 0000-03-01
        const DAYS_PER_ERA: u64 = 146_097; // 400 years

        let days = self.days() + DAYS_TO_1970;
        let era = days / DAYS_PER_ERA;
        let day_of_era = days % DAYS_PER_ERA;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
        (year, month, day)
    }

    const fn time(self) -> (u64, u64, u64) {
        let second = self.seconds % 86_400;
        (second / 3_600, second / 60 % 60, second % 60)
    }
}

impl From<SystemTime> for Utc {
    fn from(time: SystemTime) -> Self {
        Self {
            seconds: time
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }
}

/// RFC 3339: `2026-11-22T19:22:00Z`.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days_and_centuries_are_right() {
        // From `date -u -d @N +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Utc { seconds }.to_string(), text);
        }
        assert_eq!(
            Utc {
                seconds: 1_709_210_096
            }
            .compact(),
            "20240229T123456Z"
        );
    }
}
