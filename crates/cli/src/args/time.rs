//! Times as options.

use std::time::Duration;

use clap::Args as ClapArgs;

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Timeout {
    /// How long to wait at most, such as 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Duration,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    parsed.ok_or_else(|| "write a time such as 90s, 5m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h 30s"), Ok(Duration::from_secs(3_630)));
        for bad in ["", "5", "-5m", "soon"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
