//! SHA-256 sums in hex: keys of everything that is built once.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::digest;

/// The sum of several pieces; each is told apart from the next by its length.
pub(crate) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut sum = digest::Context::new(&digest::SHA256);
    for piece in pieces {
        sum.update(&(piece.len() as u64).to_be_bytes());
        sum.update(piece);
    }
    hex(sum.finish().as_ref())
}

/// The sum of a file's content.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(sum.finish().as_ref()));
        }
        sum.update(&buffer[..read]);
    }
}

/// How many characters of a sum are enough for a file name.
pub(crate) const SHORT: usize = 16;

/// The first characters of a sum, for a file name.
pub(crate) fn short(sum: &str) -> &str {
    sum.get(..SHORT).unwrap_or(sum)
}

/// Writes through to `inner` and sums what passes.
pub(crate) struct Hashing<W> {
    inner: W,
    sum: digest::Context,
}

impl<W: Write> Hashing<W> {
    /// Starts an empty sum.
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, sum: digest::Context::new(&digest::SHA256) }
    }

    /// The sum of all that was written.
    pub(crate) fn finish(self) -> String {
        hex(self.sum.finish().as_ref())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_run_into_each_other() {
        assert_ne!(of([b"ab".as_slice(), b"c"]), of([b"a".as_slice(), b"bc"]));
        assert_eq!(of([b"ab".as_slice()]), of([b"ab".as_slice()]));
    }

    #[test]
    fn hashing_writer_sums_like_the_file() {
        let mut writer = Hashing::new(Vec::new());
        writer.write_all(b"abc").unwrap();
        assert_eq!(writer.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
