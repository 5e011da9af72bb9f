//! Our long-running child processes: each in its own session, with a log file and a record of its pid and start time,
//! so that a pid that was given to somebody else is never taken for ours.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, boot_id};
use super::{cgroups, netns, proc};
use crate::{cmd, hash};

const LOG_LIMIT: u64 = 32 << 20;

/// A process to run.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
    /// The file of the network namespace it lives in; none for the machine's own.
    pub(crate) netns: Option<PathBuf>,
    /// Text of its configuration files: it is restarted when one changes.
    pub(crate) config: String,
}

/// What is kept about a running process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Zero from before it is started until its pid is known.
    pid: u32,
    /// Clock ticks from boot to the process's start.
    start: u64,
    boot: String,
    /// Key of program, arguments and configuration.
    key: String,
    /// Program and arguments; they name files of ours.
    #[serde(default)]
    command: Vec<String>,
}

impl Spec {
    fn command(&self) -> Vec<String> {
        [self.program.display().to_string()].into_iter().chain(self.args.iter().cloned()).collect()
    }

    fn key(&self) -> String {
        let program = self.program.display().to_string();
        let env = self.env.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let args = self.args.iter().map(|arg| arg.as_bytes());
        let netns = self.netns.as_deref().map(netns::identity);
        let parts = [program.as_bytes(), self.config.as_bytes()].into_iter().chain(args).chain(env);
        hash::of(parts.chain(netns.iter().map(String::as_bytes)))
    }
}

/// True if the process runs with exactly this program, arguments and configuration.
pub(crate) fn is_current(layout: &Layout, spec: &Spec) -> bool {
    read(layout, spec.name).is_some_and(|record| record.key == spec.key() && record.is_alive())
}

/// The process's pid, if it runs.
pub(crate) fn running(layout: &Layout, name: &str) -> Option<u32> {
    read(layout, name).filter(Record::is_alive).map(|record| record.pid)
}

/// Starts the process unless it runs as wanted. True if it was started.
pub(crate) fn ensure(layout: &Layout, spec: &Spec) -> Result<bool> {
    if is_current(layout, spec) {
        return Ok(false);
    }
    stop(layout, spec.name, Duration::from_secs(10))?;
    let log = open_log(layout, spec.name)?;
    // Written before it is started: if we are interrupted, it is found by its command line.
    let mut record = Record { pid: 0, start: 0, boot: boot_id(), key: spec.key(), command: spec.command() };
    record.write(layout, spec.name)?;
    // setsid(1) and nsenter(1) replace themselves with the program, so the pid stays the child's.
    let mut command = cmd::system("setsid");
    if let Some(netns) = &spec.netns {
        command.arg("nsenter").arg(format!("--net={}", netns.display())).arg("--");
    }
    command
        .args(&record.command)
        .current_dir(layout.root())
        .env_clear()
        .env("PATH", cmd::SYSTEM_PATH)
        .env("HOME", layout.root())
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", spec.name))?;
    let noted = note(layout, spec.name, &mut record, child.id());
    if noted.is_err() {
        // It may have ended by itself already.
        let _ = child.kill();
        child.wait()?;
        fs::remove_file(layout.path(&record_path(spec.name)))?;
    }
    noted.map(|()| true)
}

/// Puts a process that was just started where it belongs, and completes its record.
fn note(layout: &Layout, name: &str, record: &mut Record, pid: u32) -> Result<()> {
    cgroups::adopt(pid).with_context(|| format!("cannot move {name} to its cgroup"))?;
    record.pid = pid;
    record.start =
        proc::start_time(pid).with_context(|| format!("{name} ended at once: see {}", log_path(layout, name)))?;
    record.write(layout, name)
}

/// Ends the process, if it runs, and forgets it.
pub(crate) fn stop(layout: &Layout, name: &str, patience: Duration) -> Result<()> {
    if let Some(record) = read(layout, name) {
        record.started().into_iter().for_each(kill);
        record.signal(Signal::TERM);
        let begun = Instant::now();
        while record.is_alive() && begun.elapsed() < patience {
            sleep(Duration::from_millis(20));
        }
        record.signal(Signal::KILL);
        while record.is_alive() && begun.elapsed() < patience + Duration::from_secs(5) {
            sleep(Duration::from_millis(20));
        }
        if record.is_alive() {
            bail!("{name} (pid {}) does not end, even after SIGKILL", record.pid);
        }
        fs::remove_file(layout.path(&record_path(name)))?;
    }
    Ok(())
}

/// Asks `ready` until it says yes; gives up early if the process ends.
pub(crate) fn wait(layout: &Layout, name: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !ready() {
        if running(layout, name).is_none() {
            bail!("{name} ended while starting. Last lines of {}:\n{}", log_path(layout, name), log_tail(layout, name));
        }
        if begun.elapsed() > limit {
            let said = log_tail(layout, name);
            bail!("{name} is not ready after {} s. Last lines of {}:\n{said}", limit.as_secs(), log_path(layout, name));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Names of all processes that a record exists for.
pub(crate) fn recorded(layout: &Layout) -> Vec<String> {
    let Ok(entries) = fs::read_dir(layout.path("run")) else { return Vec::new() };
    let names =
        entries.flatten().filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Pids of a process that was started, or may have been, by an xtask that was interrupted before it noted the pid.
pub(crate) fn pending(layout: &Layout, name: &str) -> Vec<u32> {
    read(layout, name).map(|record| record.started()).unwrap_or_default()
}

/// Ends a process at once that is known by its pid and, from our cgroup, to be ours.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Already gone is as good.
        let _ = kill_process(pid, Signal::KILL);
    }
}

impl Record {
    fn is_alive(&self) -> bool {
        self.boot == boot_id() && proc::start_time(self.pid) == Some(self.start)
    }

    /// For a record without a pid: the processes with its command line, as long as what starts it is in front of it too.
    fn started(&self) -> Vec<u32> {
        if self.pid != 0 || self.command.is_empty() {
            return Vec::new();
        }
        proc::pids().into_iter().filter(|pid| proc::command_line(*pid).ends_with(&self.command)).collect()
    }

    fn write(&self, layout: &Layout, name: &str) -> Result<()> {
        layout.write(&record_path(name), &serde_json::to_string(self)?)?;
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may end between the check and the signal; that is what we want anyway.
            let _ = kill_process(pid, signal);
        }
    }
}

fn read(layout: &Layout, name: &str) -> Option<Record> {
    serde_json::from_str(&fs::read_to_string(layout.path(&record_path(name))).ok()?).ok()
}

fn record_path(name: &str) -> String {
    format!("run/{name}.json")
}

fn log_path(layout: &Layout, name: &str) -> String {
    layout.text(&format!("logs/{name}.log"))
}

fn log_tail(layout: &Layout, name: &str) -> String {
    let bytes = fs::read(log_path(layout, name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

fn open_log(layout: &Layout, name: &str) -> Result<File> {
    let path = PathBuf::from(log_path(layout, name));
    fs::create_dir_all(layout.path("logs"))?;
    let large = fs::metadata(&path).is_ok_and(|found| found.len() > LOG_LIMIT);
    let mut options = OpenOptions::new();
    if large {
        options.write(true).truncate(true)
    } else {
        options.append(true)
    };
    options.create(true).open(&path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_reused_pid_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path());
        let own = std::process::id();
        let start = proc::start_time(own).unwrap();
        let mut record = Record { pid: own, start, boot: boot_id(), key: "k".into(), command: vec![] };
        record.write(&layout, "x").unwrap();
        assert_eq!(running(&layout, "x"), Some(own));
        assert_eq!(recorded(&layout), ["x"]);
        record.start += 1;
        record.write(&layout, "x").unwrap();
        assert_eq!(running(&layout, "x"), None);
        // Must not signal this very test.
        stop(&layout, "x", Duration::ZERO).unwrap();
        assert!(recorded(&layout).is_empty());
    }

    #[test]
    fn a_process_that_was_started_but_not_noted_is_found_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path());
        // Nobody else's arguments: they hold the folder's name.
        let told = folder.path().display().to_string();
        let command = vec!["/bin/sh".to_owned(), "-c".into(), "read line".into(), told];
        let mut child = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::piped()).spawn().unwrap();
        // Between the start and its arguments' arrival the kernel shows none.
        while proc::command_line(child.id()).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let record = Record { pid: 0, start: 0, boot: boot_id(), key: "k".into(), command };
        record.write(&layout, "x").unwrap();
        assert_eq!(running(&layout, "x"), None);
        assert_eq!(pending(&layout, "x"), [child.id()]);
        stop(&layout, "x", Duration::ZERO).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(recorded(&layout).is_empty());
    }

    #[test]
    fn a_torn_record_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path());
        layout.write(&record_path("x"), "{\"pid\": 1,").unwrap();
        assert_eq!(running(&layout, "x"), None);
    }
}
