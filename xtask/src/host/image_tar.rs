//! Writes container images as archives that `ctr images import` reads: one layer, a configuration, a manifest.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::hash;

/// One entry of an image's file system.
pub(crate) enum Entry {
    Folder { path: String, mode: u32 },
    File { path: String, mode: u32, from: PathBuf },
    Text { path: String, content: String },
    Link { path: String, target: String },
}

/// An image to write.
pub(crate) struct Image {
    pub(crate) names: Vec<String>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
}

/// Writes the archive; an interrupted write leaves no file under the final name.
pub(crate) fn write(image: &Image, target: &Path) -> Result<()> {
    let layer = target.with_extension("layer");
    let staging = target.with_extension("writing");
    let sum = write_layer(&image.entries, &layer)?;
    let config = json!({
        "architecture": go_architecture(),
        "os": "linux",
        "config": { "Entrypoint": image.entrypoint, "Cmd": image.command, "Env": image.env, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
        "history": [{ "created_by": "cargo xtask up" }],
    })
    .to_string();
    let config_name = format!("{}.json", hash_of_text(&config)?);
    let manifest =
        json!([{ "Config": config_name, "RepoTags": image.names, "Layers": [format!("{sum}.tar")] }]).to_string();

    let mut archive = Builder::new(BufWriter::with_capacity(1 << 20, create(&staging)?));
    append_text(&mut archive, &config_name, &config)?;
    append_file(&mut archive, &format!("{sum}.tar"), 0o644, &layer)?;
    append_text(&mut archive, "manifest.json", &manifest)?;
    archive.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    fs::remove_file(&layer)?;
    fs::rename(&staging, target)?;
    Ok(())
}

fn write_layer(entries: &[Entry], target: &Path) -> Result<String> {
    let hashing = hash::Hashing::new(BufWriter::with_capacity(1 << 20, create(target)?));
    let mut archive = Builder::new(hashing);
    for entry in entries {
        match entry {
            Entry::Folder { path, mode } => {
                let mut header = header(EntryType::Directory, 0, *mode);
                archive.append_data(&mut header, path, std::io::empty())?;
            }
            Entry::File { path, mode, from } => append_file(&mut archive, path, *mode, from)?,
            Entry::Text { path, content } => append_text(&mut archive, path, content)?,
            Entry::Link { path, target } => {
                let mut header = header(EntryType::Symlink, 0, 0o777);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    let mut hashing = archive.into_inner()?;
    hashing.flush()?;
    Ok(hashing.finish())
}

fn append_file<W: Write>(archive: &mut Builder<W>, path: &str, mode: u32, from: &Path) -> Result<()> {
    let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut header = header(EntryType::Regular, file.metadata()?.len(), mode);
    archive.append_data(&mut header, path, file)?;
    Ok(())
}

fn append_text<W: Write>(archive: &mut Builder<W>, path: &str, content: &str) -> Result<()> {
    let mut header = header(EntryType::Regular, content.len() as u64, 0o644);
    archive.append_data(&mut header, path, content.as_bytes())?;
    Ok(())
}

/// Owner root and time zero, so that the same content always gives the same archive.
fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn create(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn hash_of_text(text: &str) -> Result<String> {
    let mut sum = hash::Hashing::new(std::io::sink());
    sum.write_all(text.as_bytes())?;
    Ok(sum.finish())
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn image() -> Image {
        Image {
            names: vec!["example.test/a:1".into(), "example.test/a:2".into()],
            entries: vec![
                Entry::Folder { path: "tmp".into(), mode: 0o1777 },
                Entry::Text { path: "etc/x".into(), content: "hello".into() },
                Entry::Link { path: "bin/sh".into(), target: "busybox".into() },
            ],
            entrypoint: vec!["/bin/sh".into()],
            command: vec![],
            env: vec!["PATH=/bin".into()],
        }
    }

    fn files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(entry.path().unwrap().display().to_string(), content);
        }
        found
    }

    #[test]
    fn archive_holds_manifest_config_and_the_layer_that_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.tar");
        write(&image(), &target).unwrap();
        let outer = files(&fs::read(&target).unwrap());
        let manifest: serde_json::Value = serde_json::from_slice(&outer["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["example.test/a:1", "example.test/a:2"]));
        let layer_name = manifest[0]["Layers"][0].as_str().unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&outer[manifest[0]["Config"].as_str().unwrap()]).unwrap();
        let mut sum = hash::Hashing::new(std::io::sink());
        sum.write_all(&outer[layer_name]).unwrap();
        let sum = sum.finish();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{sum}"));
        assert_eq!(files(&outer[layer_name])["etc/x"], b"hello");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no staging file may stay");
    }

    #[test]
    fn same_content_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        write(&image(), &first).unwrap();
        write(&image(), &second).unwrap();
        assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
    }
}
