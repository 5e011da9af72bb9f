//! The verbs of what runs inside a workspace.

use std::time::Duration;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use super::time::duration;
use super::workspaces::In;

fn lines(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (1..=5_000).contains(number));
    number.ok_or_else(|| "give a whole number from 1 to 5000".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pod {
    /// List pods.
    List {
        #[command(flatten)]
        place: In,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
    },
    /// Show the end of a log; `kubectl logs -f` follows one.
    Log {
        /// Name of the pod.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        pod: String,
        #[command(flatten)]
        place: In,
        /// Its namespace.
        #[arg(short, long, value_parser = NonEmptyStringValueParser::new())]
        namespace: String,
        /// The container, where the pod has several.
        #[arg(short, long)]
        container: Option<String>,
        /// The run before this one.
        #[arg(short, long)]
        previous: bool,
        /// Lines from the end.
        #[arg(long, value_name = "LINES", default_value_t = 200, value_parser = lines, allow_negative_numbers = true)]
        tail: u32,
        /// Only what was written since then, such as 90s or 5m.
        #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
        since: Option<Duration>,
        /// Show when each line was written.
        #[arg(long)]
        timestamps: bool,
    },
}
