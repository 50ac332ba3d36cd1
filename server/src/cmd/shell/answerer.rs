//! Who answers the shell's statements: a database in this process, or a server. All the rest of the shell is the same for both.

use super::complete::Names;
use crate::progress::Bar;
use musterdb::{Cancel, Database, Outcome, Param, Result, Session, TransactionState};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// From a statement to its outcome. Files that statements name are those of the shell's machine.
pub(super) trait Answerer {
    /// Executes one statement whose `$1`, `$2`, … are these.
    fn execute(&mut self, sql: &str, parameters: &[Param]) -> Result<Outcome>;
    /// What cancels the statement that runs.
    fn cancel_handle(&self) -> Cancel;
    /// Where it stands between BEGIN and COMMIT.
    fn transaction(&self) -> TransactionState;
    /// What completion asks for names.
    fn names(&self) -> Box<dyn Names>;
    /// What the database goes by: a directory, or an address.
    fn place(&self) -> String;
    /// From now on a person types the statements.
    fn is_interactive(&mut self) {}
}

/// A database in this process.
pub(super) struct Local {
    session: Session,
    database: Database,
    directory: String,
    progress: Arc<Mutex<Option<Bar>>>,
}

impl Local {
    pub(super) fn new(database: Database, directory: &Path, now: Option<i64>) -> Local {
        let mut session = database.session();
        session.set_now(now);
        let progress: Arc<Mutex<Option<Bar>>> = Arc::default();
        let shown = Arc::clone(&progress);
        session.on_progress(move |progress| {
            let mut bar = shown.lock().unwrap_or_else(PoisonError::into_inner);
            bar.get_or_insert_with(|| Bar::new("importing")).show(progress);
        });
        Local { session, database, directory: directory.display().to_string(), progress }
    }
}

impl Answerer for Local {
    fn execute(&mut self, sql: &str, parameters: &[Param]) -> Result<Outcome> {
        let result = self.session.execute_with(sql, parameters);
        // The bar of an import leaves the screen.
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
        result
    }

    fn cancel_handle(&self) -> Cancel {
        self.session.cancel_handle()
    }

    fn transaction(&self) -> TransactionState {
        self.session.transaction()
    }

    fn names(&self) -> Box<dyn Names> {
        Box::new(self.database.clone())
    }

    fn place(&self) -> String {
        self.directory.clone()
    }
}
