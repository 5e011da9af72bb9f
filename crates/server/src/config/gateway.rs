//! What one workspace may ask of its API server through the gateway.

use serde::Deserialize;

use super::{ConfigError, invalid};
use crate::gateway::GatewaySettings;

/// Limits of every workspace, each for itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Bytes of the longest request body.
    pub max_request_bytes: u64,
    /// Requests per second, for long.
    pub requests_per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
    /// Requests in progress, streams included.
    pub requests_at_once: u32,
    /// Open streams among them: watch, logs, exec, port-forward, proxy.
    pub streams_at_once: u32,
    /// Bytes per second, both ways together. What is ahead of that waits.
    pub bytes_per_second: u64,
}

impl GatewayConfig {
    /// The gateway's settings with these limits.
    pub(crate) fn settings(&self) -> GatewaySettings {
        GatewaySettings {
            max_request_bytes: self.max_request_bytes,
            rate: self.requests_per_second,
            burst: self.burst,
            concurrency: self.requests_at_once,
            long_streams: self.streams_at_once,
            bytes_per_second: self.bytes_per_second,
            ..GatewaySettings::default()
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.max_request_bytes < 65_536 {
            return Err(invalid(
                "gateway.max_request_bytes",
                "must be at least 65536, or ordinary objects are refused",
            ));
        }
        if self.requests_per_second == 0 {
            return Err(invalid("gateway.requests_per_second", "must be at least 1"));
        }
        if self.burst == 0 {
            return Err(invalid("gateway.burst", "must be at least 1"));
        }
        if self.streams_at_once == 0 || self.streams_at_once >= self.requests_at_once {
            return Err(invalid(
                "gateway.streams_at_once",
                "must be at least 1 and less than gateway.requests_at_once, or streams leave no room for anything else",
            ));
        }
        if self.bytes_per_second < 65_536 {
            return Err(invalid("gateway.bytes_per_second", "must be at least 65536"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_gateway() {
        let (read, built_in) = (Config::load(None).unwrap().gateway.settings(), GatewaySettings::default());
        assert_eq!(read.max_request_bytes, built_in.max_request_bytes);
        assert_eq!((read.rate, read.burst), (built_in.rate, built_in.burst));
        assert_eq!((read.concurrency, read.long_streams), (built_in.concurrency, built_in.long_streams));
        assert_eq!(read.bytes_per_second, built_in.bytes_per_second);
    }

    #[test]
    fn limits_with_which_nothing_would_work_are_refused() {
        let good = Config::load(None).unwrap().gateway;
        assert!(good.validate().is_ok());
        for bad in [
            GatewayConfig { max_request_bytes: 1_000, ..good.clone() },
            GatewayConfig { requests_per_second: 0, ..good.clone() },
            GatewayConfig { burst: 0, ..good.clone() },
            GatewayConfig { streams_at_once: 0, ..good.clone() },
            GatewayConfig { streams_at_once: good.requests_at_once, ..good.clone() },
            GatewayConfig { bytes_per_second: 0, ..good.clone() },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
