//! CHECKPOINT: what changed in memory becomes parts, now.

use crate::cursor::Cursor;
use crate::error::Result;
use crate::outcome::Outcome;
use crate::session::Session;
use crate::statement::Statement;
use muster_engine::database::Checkpointed;

/// `CHECKPOINT`
pub(crate) fn checkpoint(cursor: &mut Cursor) -> Result<Statement> {
    cursor.take();
    Ok(Statement::Checkpoint)
}

impl Session {
    /// Carries out CHECKPOINT. The writer's own transaction would wait for itself.
    pub(crate) fn checkpoint(&mut self) -> Result<Outcome> {
        self.check_alone("CHECKPOINT")?;
        self.check_writable("CHECKPOINT")?;
        let Checkpointed { lsn, parts, bytes, .. } = self.engine.checkpoint(&self.cancel)?;
        let parts = if parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") };
        Ok(Outcome::Done { message: format!("CHECKPOINT ({parts}, {bytes} bytes, LSN {lsn})") })
    }
}
