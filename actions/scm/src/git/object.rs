//! Git's objects: names, trees, commits.

use std::fmt;

use sha1::{Digest, Sha1};

use super::{Author, scan::Mode};

/// An object's name, a SHA-1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Oid(pub(super) [u8; 20]);

impl Oid {
    pub(super) const ZERO: Self = Self([0; 20]);

    pub(super) fn parse(hex: &str) -> Option<Self> {
        let hex = hex.as_bytes();
        if hex.len() != 40 {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            // Two hex digits are below 256.
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kinds of objects a push holds, with their numbers in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }

    /// A hasher that has seen the object's header; the content, `size` bytes, is to follow.
    pub(super) fn hasher(self, size: u64) -> Sha1 {
        Sha1::new().chain_update(format!("{} {size}\0", self.name()))
    }

    pub(super) fn hash(self, content: &[u8]) -> Oid {
        Oid(self.hasher(content.len() as u64).chain_update(content).finalize().into())
    }
}

/// Adds an entry to a tree's content. Entries must come in order.
pub(super) fn add_tree_entry(tree: &mut Vec<u8>, mode: Mode, name: &str, oid: Oid) {
    tree.extend_from_slice(mode.text().as_bytes());
    tree.push(b' ');
    tree.extend_from_slice(name.as_bytes());
    tree.push(0);
    tree.extend_from_slice(&oid.0);
}

/// A root commit's content. `seconds` since 1970; the time zone is UTC.
pub(super) fn commit(tree: Oid, author: &Author, seconds: u64, message: &str) -> Vec<u8> {
    let who = format!("{} <{}> {seconds} +0000", identity(&author.name), identity(&author.email));
    let message = message.replace("\r\n", "\n").replace('\0', "");
    format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{}\n", message.trim_end_matches('\n')).into_bytes()
}

/// What can't stand in a name or an e-mail is dropped, as git does.
fn identity(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect();
    kept.trim_matches(|c: char| c.is_ascii_whitespace() || c.is_ascii_control() || ".,:;\"\\'".contains(c)).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_names() {
        assert_eq!(Kind::Blob.hash(b"").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(Kind::Tree.hash(b"").to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        assert_eq!(Kind::Blob.hash(b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        let hex = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(Oid::parse(hex).unwrap().to_string(), hex);
        for bad in ["", "ce01", "zz013625030ba8dba906f756967f9e9ca394464a", "é013625030ba8dba906f756967f9e9ca394464"] {
            assert_eq!(Oid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn commits_have_no_room_for_injection() {
        let author = Author { name: " A <x>\nB. ".into(), email: "a@b>\n".into() };
        let content = commit(Oid::ZERO, &author, 7, "subject\r\n\r\nbody\n\n");
        assert_eq!(
            String::from_utf8(content).unwrap(),
            "tree 0000000000000000000000000000000000000000\nauthor A xB <a@b> 7 +0000\ncommitter A xB <a@b> 7 \
             +0000\n\nsubject\n\nbody\n"
        );
    }
}
