//! The verbs of what people sign in with.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// List them; the first one gives your name and address. Others are linked on the server's page, in a browser.
    List,
    /// Take one away; the last one stays.
    Unlink {
        /// Its id, or the id of its provider if you have one identity there.
        #[arg(value_name = "ID|PROVIDER")]
        identity: String,
    },
}
