//! What the kernel tells of processes, from `/proc`.

use std::fs;
use std::path::{Path, PathBuf};

/// Pids of all processes.
pub(crate) fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process's program and arguments; empty if it is gone or a kernel thread.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(folder(pid).join("cmdline")).unwrap_or_default();
    let mut parts: Vec<String> =
        bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into()).collect();
    // The last one ends with a zero too.
    parts.pop();
    parts
}

/// When a process started, in ticks after boot; none if it is gone or only waits to be reaped.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    Some(stat(pid)?.start)
}

/// The pid of the process that a process is a child of.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    Some(stat(pid)?.parent)
}

struct Stat {
    parent: u32,
    start: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(folder(pid).join("stat")).ok()?)
}

fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name in brackets may hold anything, also blanks and brackets.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    Some(Stat { parent: fields.next()?.parse().ok()?, start: fields.nth(17)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let stat = parse_stat(&format!("12 (a b) c) {rest}")).unwrap();
        assert_eq!((stat.parent, stat.start), (1, 4711));
        assert!(parse_stat(&format!("12 (a) {}", rest.replace('S', "Z"))).is_none());
    }

    #[test]
    fn this_very_process_is_found() {
        let own = std::process::id();
        assert!(pids().contains(&own) && start_time(own).is_some() && parent(own).is_some());
        assert!(command_line(own)[0].contains("xtask"));
        assert!(command_line(0).is_empty());
    }
}
