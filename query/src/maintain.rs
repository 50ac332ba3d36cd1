//! CHECKPOINT: what changed in memory becomes parts, now. BACKUP: the database as it is, in another directory. REFRESH:
//! a reader sees what the writer has committed.

use crate::cursor::Cursor;
use crate::error::{Result, Span};
use crate::outcome::Outcome;
use crate::session::Session;
use crate::statement::Statement;
use muster_engine::catalog::Role;
use muster_engine::database::{BackedUp, Checkpointed};
use sqlparser::keywords::Keyword;
use std::path::Path;

/// `CHECKPOINT`
pub(crate) fn checkpoint(cursor: &mut Cursor) -> Result<Statement> {
    cursor.take();
    Ok(Statement::Checkpoint)
}

/// `REFRESH`
pub(crate) fn refresh(cursor: &mut Cursor) -> Result<Statement> {
    cursor.take();
    Ok(Statement::Refresh)
}

/// `BACKUP TO 'directory'`
pub(crate) fn backup(cursor: &mut Cursor) -> Result<Statement> {
    cursor.take();
    cursor.expect_keyword(Keyword::TO)?;
    let (directory, span) = cursor.text("the name of a directory in single quotes")?;
    Ok(Statement::Backup { directory, span })
}

impl Session {
    /// Carries out CHECKPOINT. The writer's own transaction would wait for itself.
    pub(crate) fn checkpoint(&mut self) -> Result<Outcome> {
        self.check_alone("CHECKPOINT")?;
        self.check_writable("CHECKPOINT")?;
        let Checkpointed { lsn, parts, bytes, .. } = self.engine.checkpoint(&self.cancel)?;
        Ok(done("CHECKPOINT", parts, bytes, lsn))
    }

    /// Carries out REFRESH. Who writes sees everything anyway.
    pub(crate) fn refresh(&mut self) -> Result<Outcome> {
        self.check_alone("REFRESH")?;
        Ok(Outcome::Done { message: format!("REFRESH (LSN {})", self.engine.refresh()?) })
    }

    /// Carries out BACKUP.
    pub(crate) fn backup(&mut self, directory: &str, span: Span) -> Result<Outcome> {
        self.check_files(span)?;
        self.check_alone("BACKUP")?;
        // The copy holds the users too.
        self.check_role("BACKUP", Role::Admin)?;
        self.check_writable("BACKUP")?;
        let BackedUp { lsn, parts, bytes } = self.engine.backup(Path::new(directory), &self.cancel)?;
        Ok(done("BACKUP", parts, bytes, lsn))
    }
}

fn done(tag: &str, parts: usize, bytes: u64, lsn: u64) -> Outcome {
    let parts = if parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") };
    Outcome::Done { message: format!("{tag} ({parts}, {bytes} bytes, LSN {lsn})") }
}
