//! Users: who they are, whether a password is theirs, and what a session may do in their name.
//!
//! ```text
//! CREATE USER ─ grammar ─ password (argon2id) ─ engine: name, role, hash
//! a wire      ─ Database::authenticate ─ Role ─ Session::set_role ─ every statement
//! logs, errors, histories ─ secrets: the text without the password
//! ```
//!
//! A password is in the text of a statement or a parameter of it, and in no other place: what is stored is its hash, and what is
//! shown of a statement leaves it out. The library itself asks nobody who they are: whoever can open the directory is its admin.

pub(crate) mod grammar;
mod password;
pub(crate) mod secrets;

use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::session::Session;
use crate::statement::Name;
use crate::{Database, suggest};
use grammar::Change;
use muster_engine::Snapshot;
use muster_engine::catalog::{Role, UserRecord};
use muster_engine::database::UserChange;
use password::Password;

impl Database {
    /// The role of a user whose password this is; `None` where it is not, and where there is no such user.
    ///
    /// Cost: some 30 ms of one core and 7 MiB (never more than 64 MiB, whatever the database holds), the same for a user that
    /// does not exist. It is the caller's to run few of these at once, and to remember whom it let in.
    ///
    /// # Errors
    /// What is stored of the user's password is in no form that is verified here.
    pub fn authenticate(&self, user: &str, password: &[u8]) -> Result<Option<Role>> {
        let record = self.engine.snapshot().user_named(user);
        let hash = record.as_ref().map_or(password::NOBODYS, |record| &record.password_hash);
        let is_theirs = password::verify(password, hash).map_err(|reason| {
            let message = format!("the password of user \"{user}\" is stored in a form that is not verified");
            muster_engine::Error::Invalid(format!(
                "{message}, {reason}: ALTER USER … PASSWORD sets a new one"
            ))
        })?;
        Ok(record.filter(|_| is_theirs).map(|record| record.role))
    }

    /// The role of a user now, without asking for a password; `None` where there is no such user. Cost: a look-up in memory.
    pub fn role_of(&self, user: &str) -> Option<Role> {
        self.engine.snapshot().user_named(user).map(|record| record.role)
    }
}

impl Session {
    /// What the session may do from now on; [`Role::Admin`] where nothing is said, for whoever embeds the library.
    ///
    /// | | [`Role::Read`] | [`Role::Write`] | [`Role::Admin`] |
    /// |---|---|---|---|
    /// | SELECT, EXPLAIN, PROFILE, OVERLAP, SHOW, DESCRIBE, SET, COPY … TO, REFRESH | yes | yes | yes |
    /// | INSERT, UPDATE, DELETE, COPY … FROM, BEGIN, CHECKPOINT; tables, views and audiences made, altered and dropped | | yes | yes |
    /// | CREATE, ALTER and DROP USER, SHOW USERS, BACKUP | | | yes |
    ///
    /// Files of the machine are another matter: [`Session::forbid_files`].
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
    }

    /// What the session may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The role that the last statement asked for, allowed or not: more than [`Role::Read`] where it was to change something.
    pub fn needed_role(&self) -> Role {
        self.needed
    }

    /// Refuses what the session's role may not do.
    pub(crate) fn check_role(&mut self, statement: &str, needed: Role) -> Result<()> {
        self.needed = self.needed.max(needed);
        if self.role >= needed {
            return Ok(());
        }
        let message = match self.role {
            Role::Read => format!("this user may only read: {statement} needs the role {}", needed.word()),
            _ => format!("this user has the role {}: {statement} needs {}", self.role.word(), needed.word()),
        };
        let advice = format!("ask an admin for ALTER USER … ROLE {}", needed.word());
        Err(Error::query(QueryErrorKind::Forbidden, None, format!("{message}, {advice}")))
    }

    /// Carries out what [`grammar`] read.
    pub(crate) fn change_users(&mut self, change: Change, snapshot: &Snapshot) -> Result<Outcome> {
        let tag = change.tag();
        self.check_role(tag, Role::Admin)?;
        self.check_writable(tag)?;
        match change {
            Change::Create { name, if_not_exists, password, role } => match snapshot.user_named(&name.text) {
                Some(_) if if_not_exists => {}
                Some(_) => {
                    let message = format!("user \"{}\" exists already", name.text);
                    return Err(Error::query(QueryErrorKind::Duplicate, name.span, message)
                        .advise("ALTER USER changes the password and the role"));
                }
                None => {
                    let password_hash = password.hash()?;
                    self.engine.create_user(UserRecord { name: name.text, role, password_hash })?;
                }
            },
            Change::Alter { name, password, role } => {
                check_known(snapshot, &name)?;
                let password_hash = password.as_ref().map(Password::hash).transpose()?;
                self.engine.alter_user(&name.text, UserChange { role, password_hash })?;
            }
            Change::Drop { names, if_exists } => {
                let mut dropped: Vec<String> = Vec::with_capacity(names.len());
                for name in names {
                    if if_exists && snapshot.user_named(&name.text).is_none() {
                        continue;
                    }
                    check_known(snapshot, &name)?;
                    if !dropped.contains(&name.text) {
                        dropped.push(name.text);
                    }
                }
                if !dropped.is_empty() {
                    self.engine.drop_users(&dropped)?;
                }
            }
        }
        Ok(Outcome::Done { message: tag.to_owned() })
    }
}

fn check_known(snapshot: &Snapshot, name: &Name) -> Result<()> {
    if snapshot.user_named(&name.text).is_some() {
        return Ok(());
    }
    let error =
        Error::query(QueryErrorKind::UnknownUser, name.span, format!("unknown user \"{}\"", name.text));
    let names = snapshot.users().iter().map(|user| user.name.as_str());
    Err(match suggest::advice(&name.text, names, "the users are") {
        Some(advice) => error.advise(advice),
        None => error.advise("there is none yet: CREATE USER makes one"),
    })
}
