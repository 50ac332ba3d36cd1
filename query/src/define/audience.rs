//! CREATE AUDIENCE: by a condition, by whoever satisfies it now, or by a file of keys.

use super::keys::{Keys, read_keys};
use super::{done, taken};
use crate::bind::{self, Context};
use crate::ddl::{AudienceMembers, CreateAudience, KeysFile};
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::select;
use crate::session::Session;
use muster_engine::Snapshot;
use muster_engine::catalog::Relation;
use muster_engine::database::AudienceSpec;
use muster_engine::schema::TableId;
use roaring::RoaringBitmap;

const TAG: &str = "CREATE AUDIENCE";

impl Session {
    pub(super) fn create_audience(
        &mut self,
        audience: CreateAudience,
        snapshot: &Snapshot,
    ) -> Result<Outcome> {
        self.check_writable(TAG)?;
        let CreateAudience { name, or_replace, if_not_exists, members, source } = audience;
        match snapshot.named(&name.text) {
            Some(Relation::Audience(_)) if if_not_exists => return done(TAG),
            Some(Relation::Audience(_)) if or_replace => {}
            Some(Relation::Audience(_)) => {
                return Err(taken(snapshot, &name).advise("CREATE OR REPLACE AUDIENCE replaces it"));
            }
            Some(_) => return Err(taken(snapshot, &name)),
            None => {}
        }
        let spec = |table: TableId| AudienceSpec {
            name: name.text,
            table,
            source: source.text,
            created_micros: snapshot.now_micros(),
        };
        let (table, members, told) = match members {
            AudienceMembers::Dynamic(select) => {
                let context = Context { kept: true, ..self.context(snapshot) };
                let (table, predicate) = select::plan(*select, &context)?.predicate_of_set()?;
                self.engine.create_audience(spec(table), predicate, or_replace)?;
                return done(TAG);
            }
            AudienceMembers::Frozen(select) => {
                let plan = select::plan(*select, &self.context(snapshot))?;
                let table = plan.table();
                let members = plan.members(snapshot, &self.cancel)?;
                let told = format!("{TAG}: {}", counted(members.len(), "member"));
                (table, members, told)
            }
            AudienceMembers::Keys(file) => {
                self.check_files(file.file_span)?;
                members_of_file(&file, snapshot)?
            }
        };
        self.engine.create_static_audience(spec(table), &members, or_replace, &self.cancel)?;
        done(told)
    }
}

/// The members whose keys stand in a file, and how that went.
fn members_of_file(file: &KeysFile, snapshot: &Snapshot) -> Result<(TableId, RoaringBitmap, String)> {
    let schema = bind::table(snapshot, &file.table)?;
    let Some(key) = schema.key.and_then(|key| schema.column(key)) else {
        let message = format!("table \"{}\" has no key by which a file could name its members", schema.name);
        return Err(Error::query(QueryErrorKind::UnknownColumn, file.table.span, message)
            .advise("write CREATE STATIC AUDIENCE name AS SELECT …"));
    };
    let Keys { keys, repeated } = read_keys(file, key.data_type)?;
    let mut members = RoaringBitmap::new();
    let mut unknown = 0;
    for found in snapshot.lookup(schema.id, &keys)? {
        match found {
            Some(ordinal) => drop(members.insert(ordinal)),
            None => unknown += 1,
        }
    }
    let told = format!(
        "{TAG}: {} of {} in the file ({unknown} unknown, {repeated} there more than once)",
        counted(members.len(), "member"),
        counted(keys.len() as u64 + repeated, "key"),
    );
    Ok((schema.id, members, told))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
