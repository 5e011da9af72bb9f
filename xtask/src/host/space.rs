//! How much room the devhost needs, and on which file systems: what is built already needs none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::images;
use super::layout::{Kept, State};
use crate::settings;
use crate::tools::{self, Tool};

/// Less than this and the kubelet runs nothing.
const TO_RUN: u64 = 1;
/// Archives of the images, and their files once more in containerd.
const IMAGES: u64 = 2;
/// Their files in the second node's containerd.
const IMAGES_AGAIN: u64 = 1;
/// What one build leaves in Go's caches, in MiB: measured over all of them, and rounded up.
const BUILD_CACHE_MIB: u64 = 1400;
const MODULE_CACHE_MIB: u64 = 700;

/// A file system, with what is free on it and what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Folders on it, with the variable that moves each.
    pub(crate) folders: Vec<(PathBuf, &'static str)>,
    pub(crate) free_gib: u64,
    pub(crate) needed_gib: u64,
}

/// One folder's need.
struct Need {
    folder: PathBuf,
    variable: &'static str,
    gib: u64,
    device: u64,
    free_gib: u64,
}

impl Space {
    /// What is in the way, as a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { folders, free_gib, needed_gib } = self;
        let paths: Vec<String> = folders.iter().map(|(path, _)| path.display().to_string()).collect();
        let variables: Vec<&str> = folders.iter().map(|(_, variable)| *variable).collect();
        (free_gib < needed_gib).then(|| {
            format!(
                "Only {free_gib} GiB are free where {} will lie and {needed_gib} GiB are needed: make room, or set {} to a \
                 folder on a larger disk.",
                paths.join(" and "),
                variables.join(" or ")
            )
        })
    }
}

/// What a devhost in this state needs when these tools must be built, with or without a second node.
pub(crate) fn wanted(state: Option<&State>, second: bool, missing: &[Tool]) -> Result<Vec<Space>> {
    let built = missing.iter().filter(|tool| tool.is_compiled()).count() as u64;
    let lacks_images =
        |kept: Option<&Kept>, is_first| !kept.is_some_and(|kept| images::are_imported(kept, is_first).unwrap_or(false));
    let mut own = TO_RUN + u64::from(built > 0);
    if lacks_images(state.map(|state| &state.first), true) {
        own += IMAGES;
    }
    if second && lacks_images(state.and_then(|state| state.second.as_ref()), false) {
        own += IMAGES_AGAIN;
    }
    let mut needs = vec![need(settings::cache_root()?, "HEXABASE_CACHE", own)];
    if built > 0
        && let Some((builds, modules)) = tools::go_caches()
    {
        needs.push(need(builds, "GOCACHE", (built * BUILD_CACHE_MIB).div_ceil(1024)));
        needs.push(need(modules, "GOMODCACHE", (built * MODULE_CACHE_MIB).div_ceil(1024)));
    }
    Ok(by_file_system(needs))
}

fn need(folder: PathBuf, variable: &'static str, gib: u64) -> Need {
    // Where the folder lies or will lie.
    let existing = folder.ancestors().find(|path| fs::exists(path).unwrap_or(false)).unwrap_or(Path::new("/"));
    let free_gib = rustix::fs::statvfs(existing).map_or(0, |found| (found.f_bavail * found.f_frsize) >> 30);
    let device = rustix::fs::stat(existing).map_or(0, |found| found.st_dev);
    Need { folder, variable, gib, device, free_gib }
}

fn by_file_system(needs: Vec<Need>) -> Vec<Space> {
    let mut found: Vec<(u64, Space)> = Vec::new();
    for Need { folder, variable, gib, device, free_gib } in needs {
        match found.iter_mut().find(|(known, _)| *known == device) {
            Some((_, space)) => {
                space.folders.push((folder, variable));
                space.needed_gib += gib;
            }
            None => {
                found.push((device, Space { folders: vec![(folder, variable)], free_gib, needed_gib: gib }));
            }
        }
    }
    found.into_iter().map(|(_, space)| space).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(device: u64, variable: &'static str, gib: u64) -> Need {
        Need { folder: PathBuf::from("/x"), variable, gib, device, free_gib: 9 }
    }

    #[test]
    fn needs_on_one_file_system_add_up() {
        let spaces = by_file_system(vec![on(1, "HEXABASE_CACHE", 4), on(2, "GOCACHE", 7), on(1, "GOMODCACHE", 4)]);
        let needed: Vec<u64> = spaces.iter().map(|space| space.needed_gib).collect();
        assert_eq!(needed, [8, 7]);
        assert!(spaces.iter().all(|space| space.problem().is_none()));
    }

    #[test]
    fn too_little_room_is_one_sentence_that_names_all_ways_out() {
        let spaces = by_file_system(vec![on(1, "HEXABASE_CACHE", 4), on(1, "GOCACHE", 7)]);
        let said = spaces[0].problem().unwrap();
        assert!(said.starts_with("Only 9 GiB are free where /x and /x will lie and 11 GiB are needed"), "{said}");
        assert!(said.contains("set HEXABASE_CACHE or GOCACHE to"), "{said}");
    }

    #[test]
    fn what_is_built_needs_no_room_for_building() {
        let needed = |second| wanted(None, second, &[]).unwrap().iter().map(|space| space.needed_gib).sum::<u64>();
        assert_eq!(needed(false), TO_RUN + IMAGES);
        assert_eq!(needed(true), TO_RUN + IMAGES + IMAGES_AGAIN);
    }
}
