//! Running other programs, with errors that name the program and what it said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::settings;

/// Where system programs are looked for, whatever the caller's PATH says.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs to the end and gives the standard output; a failure carries the program's own words.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let result = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`"))?;
    finish(&name, result)
}

/// Like `output`, with a text given on standard input.
pub(crate) fn output_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    let name = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).with_context(|| format!("`{name}` does not read its input"))?;
    }
    finish(&name, child.wait_with_output()?)
}

/// True if the program ran and said yes.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|code| code.success())
}

/// A command found on the system path (for `ip`, `nft`, ..), or else on the caller's.
pub(crate) fn system(program: &str) -> Command {
    Command::new(which(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// Where a program lies: the system's folders first, then the caller's PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let own = settings::var("PATH").unwrap_or_default();
    SYSTEM_PATH
        .split(':')
        .chain(own.split(':'))
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

fn finish(name: &str, result: Output) -> Result<String> {
    if result.status.success() {
        return Ok(String::from_utf8_lossy(&result.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&result.stderr);
    let tail: Vec<&str> = said.trim().lines().rev().take(12).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    bail!("`{name}` failed ({}): {tail}", result.status)
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for argument in command.get_args().take(6) {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
