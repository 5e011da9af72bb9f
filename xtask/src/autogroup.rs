//! What a session gets of the processor beside others: the kernel weighs each as a group (`autogroup`). Where it does not, nothing
//! changes.

use std::fs;

/// Gives the session of a process this priority, from 19, the least, to -20.
pub(crate) fn set(pid: u32, priority: i32) {
    let _ = fs::write(file(pid), priority.to_string());
}

/// Another priority of our own session, which is that of the shell we were started from: it is as before once this is dropped.
pub(crate) struct Borrowed(Option<i32>);

impl Borrowed {
    pub(crate) fn new(priority: i32) -> Self {
        let own = std::process::id();
        let before = fs::read_to_string(file(own)).ok().and_then(|text| priority_in(&text));
        if before.is_some() {
            set(own, priority);
        }
        Self(before)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            set(std::process::id(), before);
        }
    }
}

fn file(pid: u32) -> String {
    format!("/proc/{pid}/autogroup")
}

fn priority_in(text: &str) -> Option<i32> {
    text.trim_end().rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_read_as_the_kernel_tells_it() {
        assert_eq!(priority_in("/autogroup-42 nice 0\n"), Some(0));
        assert_eq!(priority_in("/autogroup-42 nice -10\n"), Some(-10));
        assert_eq!(priority_in(""), None);
    }
}
