//! Times as options.

use std::time::Duration;

use clap::Args as ClapArgs;

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Timeout {
    /// How long to wait at most, such as 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Duration,
}

/// How long; days are of 24 hours each.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::Span>().ok();
    let exact = parsed.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
    let time = exact.and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| "write a time such as 90s, 5m, 12h, 30d or 1d 12h".to_owned())
}

/// The same, of more than nothing.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("that is no time at all".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h 30s"), Ok(Duration::from_secs(3_630)));
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("1d 12h"), Ok(Duration::from_secs(36 * 3_600)));
        for bad in ["", "5", "-5m", "-1d", "soon", "1month", "1y"] {
            assert!(duration(bad).is_err() && lifetime(bad).is_err(), "{bad:?}");
        }
        assert!(duration("0s").is_ok() && lifetime("0s").is_err());
    }
}
