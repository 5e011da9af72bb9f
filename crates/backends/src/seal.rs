//! Secrets at rest: each value is encrypted with a key of its own, which is encrypted with the master key.
//!
//! Layout: `1 | length of key id | key id | nonce, wrapped data key, tag | nonce, ciphertext, tag`, AES-256-GCM both
//! times. The table and row a value belongs to are authenticated, so a value copied to another row does not open.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

const FORMAT: u8 = 1;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

/// Why a value could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not something that a sealer wrote.
    #[error("the sealed value is malformed")]
    Malformed,
    /// Sealed with a master key that this sealer does not hold.
    #[error("the value was sealed with master key \"{key_id}\", which is not configured")]
    UnknownKey {
        /// The id of the missing master key.
        key_id: String,
    },
    /// The value, its place, or the master key is not the one it was sealed with.
    #[error("the sealed value is not authentic: it was changed, moved, or sealed with another master key")]
    NotAuthentic,
    /// The key id is empty or longer than 255 bytes.
    #[error("a master key's id has 1 to 255 bytes")]
    InvalidKeyId,
    /// The cryptographic library refused; not expected in practice.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// Where a sealed value is kept; the value opens only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table and column, or another name of the purpose.
    pub purpose: &'a str,
    /// The row's key.
    pub row: &'a str,
}

impl Place<'_> {
    fn aad(&self, layer: u8, key_id: &str) -> Vec<u8> {
        let mut aad = vec![FORMAT, layer];
        for part in [key_id, self.purpose, self.row] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        aad
    }
}

struct MasterKey {
    id: String,
    key: RandomizedNonceKey,
}

/// Seals with the current master key; opens with it or with an earlier one. Clones share the keys.
#[derive(Clone)]
pub struct Sealer {
    current: Arc<MasterKey>,
    earlier: Vec<Arc<MasterKey>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("key_id", &self.current.id).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Seals with `master_key`, named `key_id` in every sealed value.
    pub fn new(master_key: &[u8; 32], key_id: &str) -> Result<Self, SealError> {
        Ok(Self { current: load(master_key, key_id)?, earlier: Vec::new() })
    }

    /// Also opens what was sealed with an earlier master key.
    pub fn with_earlier(mut self, master_key: &[u8; 32], key_id: &str) -> Result<Self, SealError> {
        self.earlier.push(load(master_key, key_id)?);
        Ok(self)
    }

    /// The id of the master key that new values are sealed with.
    pub fn key_id(&self) -> &str {
        &self.current.id
    }

    /// Encrypts `plaintext` for `place`.
    pub fn seal(&self, place: Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut data_key = Zeroizing::new([0u8; KEY_LEN]);
        aws_lc_rs::rand::fill(data_key.as_mut_slice()).map_err(|_| SealError::Crypto)?;
        let id = self.current.id.as_str();
        let mut sealed = vec![FORMAT, u8::try_from(id.len()).map_err(|_| SealError::InvalidKeyId)?];
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend(encrypt(&self.current.key, &place.aad(0, id), data_key.as_slice())?);
        sealed.extend(encrypt(&cipher(data_key.as_slice())?, &place.aad(1, id), plaintext)?);
        Ok(sealed)
    }

    /// Decrypts what [`seal`](Self::seal) wrote for the same `place`.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, rest) = split_key_id(sealed)?;
        let master = std::iter::once(&self.current)
            .chain(&self.earlier)
            .find(|master| master.id == id)
            .ok_or_else(|| SealError::UnknownKey { key_id: id.to_owned() })?;
        let (wrapped, body) = rest.split_at_checked(WRAPPED_LEN).ok_or(SealError::Malformed)?;
        let data_key = decrypt(&master.key, &place.aad(0, id), wrapped)?;
        decrypt(&cipher(&data_key)?, &place.aad(1, id), body)
    }
}

fn load(key: &[u8; 32], id: &str) -> Result<Arc<MasterKey>, SealError> {
    if id.is_empty() || id.len() > usize::from(u8::MAX) {
        return Err(SealError::InvalidKeyId);
    }
    Ok(Arc::new(MasterKey { id: id.to_owned(), key: cipher(key)? }))
}

fn cipher(key: &[u8]) -> Result<RandomizedNonceKey, SealError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError::Crypto)
}

fn split_key_id(sealed: &[u8]) -> Result<(&str, &[u8]), SealError> {
    let [FORMAT, length, rest @ ..] = sealed else { return Err(SealError::Malformed) };
    let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or(SealError::Malformed)?;
    Ok((std::str::from_utf8(id).map_err(|_| SealError::Malformed)?, rest))
}

fn encrypt(key: &RandomizedNonceKey, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    // Room for the tag, so that the buffer is not moved and no copy of the plaintext stays behind.
    let mut buffer = Vec::with_capacity(plaintext.len() + TAG_LEN);
    buffer.extend_from_slice(plaintext);
    let nonce = key.seal_in_place_append_tag(Aad::from(aad), &mut buffer).map_err(|_| SealError::Crypto)?;
    let mut out = nonce.as_ref().to_vec();
    out.extend_from_slice(&buffer);
    Ok(out)
}

fn decrypt(key: &RandomizedNonceKey, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::Malformed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
    let mut buffer = Zeroizing::new(body.to_vec());
    let length = key.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| SealError::NotAuthentic)?.len();
    buffer.truncate(length);
    Ok(buffer)
}
