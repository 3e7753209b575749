//! A key and the namespace that it lives in, as one value.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::identity::check_name;
use crate::limits::{MAX_KEY_BYTES, MAX_NAMESPACE_BYTES};

/// What names a record: a namespace and 1 to 4,096 bytes within it. Cheap to clone.
///
/// Both live in one allocation, encoded as they are stored and hashed:
/// one byte with the length of the namespace, the namespace, the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

/// Bytes that cannot be a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKey {
    /// The key has no bytes.
    Empty,
    /// The key is longer than [`MAX_KEY_BYTES`].
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The namespace is empty, too long, or has a character outside `A-Z a-z 0-9 . _ -`.
    Namespace,
    /// The encoding is cut short, or its namespace is not text.
    Encoding,
}

impl Key {
    /// The namespace of a request that names none.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// The checked key.
    ///
    /// # Errors
    /// Says which part breaks which rule.
    pub fn new(namespace: &str, key: &[u8]) -> Result<Self, InvalidKey> {
        check_name(namespace, MAX_NAMESPACE_BYTES).map_err(|_| InvalidKey::Namespace)?;
        check_key(key)?;
        let length = u8::try_from(namespace.len()).map_err(|_| InvalidKey::Namespace)?;
        let mut encoded = Vec::with_capacity(1 + namespace.len() + key.len());
        encoded.push(length);
        encoded.extend_from_slice(namespace.as_bytes());
        encoded.extend_from_slice(key);
        Ok(Self(encoded.into()))
    }

    /// The key whose [`encoded`](Self::encoded) form this is.
    ///
    /// # Errors
    /// The bytes come from a disk or a peer, so they are checked like new ones.
    pub fn from_encoded(encoded: &[u8]) -> Result<Self, InvalidKey> {
        let (&length, rest) = encoded.split_first().ok_or(InvalidKey::Encoding)?;
        let (namespace, key) =
            rest.split_at_checked(usize::from(length)).ok_or(InvalidKey::Encoding)?;
        let namespace = core::str::from_utf8(namespace).map_err(|_| InvalidKey::Encoding)?;
        check_name(namespace, MAX_NAMESPACE_BYTES).map_err(|_| InvalidKey::Namespace)?;
        check_key(key)?;
        Ok(Self(encoded.into()))
    }

    /// Length byte, namespace, key: the bytes that are hashed to a partition and stored.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let end = 1 + usize::from(self.0[0]);
        core::str::from_utf8(&self.0[1..end]).unwrap_or_default()
    }

    /// The key within its namespace.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0[1 + usize::from(self.0[0])..]
    }
}

fn check_key(key: &[u8]) -> Result<(), InvalidKey> {
    match key.len() {
        0 => Err(InvalidKey::Empty),
        bytes if bytes > MAX_KEY_BYTES => Err(InvalidKey::TooLarge { bytes }),
        _ => Ok(()),
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.bytes().escape_ascii())
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the key is empty; give it at least one byte"),
            Self::TooLarge { bytes } => {
                write!(f, "the key has {bytes} bytes, the most is {MAX_KEY_BYTES}")
            }
            Self::Namespace => write!(
                f,
                "the namespace must be 1 to {MAX_NAMESPACE_BYTES} letters, digits, '.', '_' or '-'"
            ),
            Self::Encoding => f.write_str("the key's encoding is cut short"),
        }
    }
}

impl core::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_key_gives_back_its_parts_and_its_encoding() {
        let key = Key::new("users", b"souls\0").unwrap();
        assert_eq!(key.namespace(), "users");
        assert_eq!(key.bytes(), b"souls\0");
        assert_eq!(key.encoded(), b"\x05userssouls\0");
        assert_eq!(Key::from_encoded(key.encoded()), Ok(key));
    }

    #[test]
    fn a_key_has_one_to_4096_bytes() {
        assert_eq!(Key::new("default", b""), Err(InvalidKey::Empty));
        assert!(Key::new("default", &vec![0; MAX_KEY_BYTES]).is_ok());
        let bytes = MAX_KEY_BYTES + 1;
        assert_eq!(Key::new("default", &vec![0; bytes]), Err(InvalidKey::TooLarge { bytes }));
        assert_eq!(Key::new("", b"k"), Err(InvalidKey::Namespace));
        assert_eq!(Key::new("a/b", b"k"), Err(InvalidKey::Namespace));
    }

    #[test]
    fn no_bytes_of_a_broken_disk_make_a_key_panic() {
        for bytes in [&b""[..], b"\x05ab", b"\x01", b"\x00k", b"\x01\xffk", b"\x01ab"] {
            if let Ok(key) = Key::from_encoded(bytes) {
                assert_eq!((key.namespace(), key.bytes()), ("a", &b"b"[..]));
            }
        }
    }
}
