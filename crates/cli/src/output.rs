//! What is printed: tables for people, the API's own objects for programs.

use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use hexabase_core::plans::Price;
use hexabase_core::time::Timestamp;
use serde::Serialize;

use crate::error::{Error, Kind, Result};

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// The API's objects as JSON.
    Json,
    /// The API's objects as YAML.
    Yaml,
}

/// Text of others, made safe for a terminal: control characters, which could move the cursor, become visible.
pub(crate) fn printable(text: &str) -> String {
    let replace =
        |letter: char| if letter.is_control() && letter != '\n' { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().map(replace).collect()
}

/// A line for the user, on stderr.
pub(crate) fn say(line: &str) {
    // Nobody to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Failure, "cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

impl Format {
    /// Prints `object` as it is, or `text` for people.
    pub(crate) fn show(self, object: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(Kind::Failure, "cannot print the answer").because(error)
        };
        let mut text = match self {
            Self::Table => text(),
            Self::Json => serde_json::to_string_pretty(object).map_err(|error| failed(error.into()))?,
            Self::Yaml => serde_saphyr::to_string(object).map_err(|error| failed(error.to_string().into()))?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        write(&text)
    }
}

/// Rows below a header, without lines, like kubectl's. No rows, no table: `none` is said instead.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    none: &str,
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    if rows.is_empty() {
        say(none);
        return String::new();
    }
    let mut table = bare();
    table.set_header(header);
    table.add_rows(rows.iter().map(|row| row.each_ref().map(|cell| cell_text(cell))));
    finish(&mut table)
}

/// One object's fields, a line each; empty ones are left out.
pub(crate) fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    let mut table = bare();
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    table.add_rows(given.map(|(name, value)| [format!("{name}:"), cell_text(value)]));
    finish(&mut table)
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn cell_text(text: &str) -> String {
    printable(text).replace('\n', " ")
}

fn finish(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

/// How long ago, like kubectl's AGE.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.millis_since(then).max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// An amount of money, as the currency is written.
pub(crate) fn price(amount_minor: i64, currency: &str) -> String {
    Price { amount_minor, currency: currency.to_owned() }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_columns_and_nothing_else() {
        let text = table(
            ["NAME", "PHASE"],
            "none",
            [["shop".to_owned(), "ready".to_owned()], ["a".to_owned(), "b\u{1b}[2J\nc".to_owned()]],
        );
        assert_eq!(text, "NAME   PHASE\nshop   ready\na      b\u{fffd}[2J c");
    }

    #[test]
    fn fields_without_a_value_are_left_out() {
        assert_eq!(fields([("Name", "shop".to_owned()), ("Message", String::new())]), "Name:   shop");
    }

    #[test]
    fn ages_and_prices_read_as_people_write_them() {
        let at = Timestamp::from_seconds;
        let ages = [5, 119, 120, 7_199, 7_200, 172_800].map(|seconds| age(at(0), at(seconds)));
        assert_eq!(ages, ["5s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!(price(4_900, "USD"), "49.00 USD");
        assert_eq!(price(5_000, "JPY"), "5000 JPY");
    }
}
