//! From what a column holds to what it means, strictly: what is not understood is an error, never a default.

use std::error::Error;
use std::str::FromStr;

use hexabase_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::StoreError;

/// A table whose columns are being read.
#[derive(Clone, Copy)]
pub(super) struct Table(pub(super) &'static str);

impl Table {
    pub(super) fn parse<T>(self, column: &'static str, text: &str) -> Result<T, StoreError>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        text.parse().map_err(|source: T::Err| StoreError::Corrupt { table: self.0, column, source: Box::new(source) })
    }

    pub(super) fn parse_opt<T>(self, column: &'static str, text: Option<&str>) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: Error + Send + Sync + 'static>,
    {
        text.map(|text| self.parse(column, text)).transpose()
    }

    pub(super) fn json(self, column: &'static str, text: &str) -> Result<Value, StoreError> {
        self.parse(column, text)
    }

    /// A column that holds a whole object of core's.
    pub(super) fn object<T: DeserializeOwned>(self, column: &'static str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|source| StoreError::Corrupt {
            table: self.0,
            column,
            source: Box::new(source),
        })
    }

    pub(super) fn number<N, T>(self, column: &'static str, number: N) -> Result<T, StoreError>
    where
        T: TryFrom<N, Error: Error + Send + Sync + 'static>,
    {
        T::try_from(number).map_err(|source| StoreError::Corrupt { table: self.0, column, source: Box::new(source) })
    }
}

/// What such a column holds.
pub(super) fn json_of(object: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(object).map_err(|error| StoreError::Other(Box::new(error)))
}

pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(super) fn time_opt(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

pub(super) fn micros_opt(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}

/// For numbers that have a limit far below `i64::MAX` by their meaning.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
