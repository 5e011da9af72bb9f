//! `hxb`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hexabase_cli::main()
}
