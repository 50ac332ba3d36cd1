//! CREATE, ALTER and DROP of users. Each is one change of the catalog, as durable as a table.

use super::names::check_name;
use super::{Database, unchecked};
use crate::catalog::{Role, UserRecord, check_hash};
use crate::{Error, Result};
use std::sync::Arc;

/// What of a user changes; `None` stays.
#[derive(Clone, Default)]
pub struct UserChange {
    /// The role.
    pub role: Option<Role>,
    /// What the new password was hashed to: a PHC string.
    pub password_hash: Option<String>,
}

impl Database {
    /// Adds a user. A name that a user has is refused.
    pub fn create_user(&self, user: UserRecord) -> Result<()> {
        check_name(&user.name)?;
        check_hash(&user.password_hash)?;
        self.change(
            |state, catalog| {
                if catalog.users.iter().any(|other| other.name == user.name) {
                    return Err(Error::Invalid(format!("user \"{}\" already exists", user.name)));
                }
                catalog.users.push(Arc::new(user));
                catalog.users.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(((), state.part_refs.to_vec()))
            },
            unchecked,
        )
    }

    /// Changes a user.
    pub fn alter_user(&self, name: &str, change: UserChange) -> Result<()> {
        change.password_hash.as_deref().map_or(Ok(()), check_hash)?;
        self.change(
            |state, catalog| {
                let user = catalog.users.iter_mut().find(|user| user.name == name);
                let user = Arc::make_mut(user.ok_or_else(|| no_user(name))?);
                if let Some(role) = change.role {
                    user.role = role;
                }
                if let Some(hash) = change.password_hash {
                    user.password_hash = hash;
                }
                Ok(((), state.part_refs.to_vec()))
            },
            unchecked,
        )
    }

    /// Drops users, all or none.
    pub fn drop_users(&self, names: &[String]) -> Result<()> {
        self.change(
            |state, catalog| {
                for name in names {
                    let before = catalog.users.len();
                    catalog.users.retain(|user| user.name != *name);
                    if catalog.users.len() == before {
                        return Err(no_user(name));
                    }
                }
                Ok(((), state.part_refs.to_vec()))
            },
            unchecked,
        )
    }
}

fn no_user(name: &str) -> Error {
    Error::Invalid(format!("there is no user \"{name}\""))
}
