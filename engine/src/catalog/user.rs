//! Who may do what: users, their roles, and what their passwords were hashed to.
//!
//! The engine keeps users and lets nobody in or out: whoever speaks to people asks for passwords, hashes and compares them. A
//! password itself never comes this far down.

use crate::{Error, Result};
use bincode::{Decode, Encode};
use std::fmt;

/// The longest hash of a password, in bytes; argon2id in the PHC format takes about a hundred.
pub const PASSWORD_HASH_BYTES_MAX: usize = 512;

/// What a user may do; each role may do what those before it may. The numbers are those of the catalog, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Role {
    /// 0: asks.
    Read,
    /// 1: changes rows, and defines tables, views and audiences.
    Write,
    /// 2: manages users, and copies the database.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 3] = [Role::Read, Role::Write, Role::Admin];

    /// Its word in a statement.
    pub fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Write => "write",
            Role::Admin => "admin",
        }
    }

    /// The role of a word, in small or capital letters.
    pub fn named(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word().eq_ignore_ascii_case(word))
    }
}

/// A user. What is shown for debugging leaves the hash out.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserRecord {
    /// The name, in a space of its own: a table may have the same.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// What the password was hashed to: a PHC string.
    pub password_hash: String,
}

impl fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Refuses what is no hash: the message leaves it out.
pub(crate) fn check_hash(hash: &str) -> Result<()> {
    let form = hash.starts_with('$') && hash.len() <= PASSWORD_HASH_BYTES_MAX;
    if !form || !hash.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "the hash of a password is a PHC string of at most";
        return Err(Error::Invalid(format!("{message} {PASSWORD_HASH_BYTES_MAX} bytes")));
    }
    Ok(())
}
