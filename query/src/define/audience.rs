//! CREATE AUDIENCE: by a condition, by whoever satisfies it now, or by a file of keys.

use super::{done, taken};
use crate::bind;
use crate::ddl::{AudienceMembers, CreateAudience, KeysFile};
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::select;
use crate::session::Session;
use crate::transfer::read_options;
use muster_engine::catalog::{Definition, Relation};
use muster_engine::database::AudienceSpec;
use muster_engine::schema::TableId;
use muster_engine::transfer::keys::read_keys;
use muster_engine::value::Value;
use muster_engine::{Cancel, Snapshot};
use roaring::RoaringBitmap;
use std::path::Path;

const TAG: &str = "CREATE AUDIENCE";

/// Keys of a file that are looked up together.
const KEYS_AT_ONCE: usize = 1 << 20;

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
                let (plan, views) = select::plan_kept(*select, &self.context(snapshot))?;
                let (table, predicate) = plan.predicate_of_set()?;
                self.engine.create_audience(spec(table), Definition::new(predicate, views)?, or_replace)?;
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
                members_of_file(file, snapshot, &self.cancel)?
            }
        };
        self.engine.create_static_audience(spec(table), &members, or_replace, &self.cancel)?;
        done(told)
    }
}

/// The members whose keys stand in a file, and how that went.
fn members_of_file(
    file: KeysFile,
    snapshot: &Snapshot,
    cancel: &Cancel,
) -> Result<(TableId, RoaringBitmap, String)> {
    let schema = bind::table(snapshot, &file.table)?;
    let Some(key) = schema.key.and_then(|key| schema.column(key)) else {
        let message = format!("table \"{}\" has no key by which a file could name its members", schema.name);
        return Err(Error::query(QueryErrorKind::UnknownColumn, file.table.span, message)
            .advise("write CREATE STATIC AUDIENCE name AS SELECT …"));
    };
    let path = Path::new(&file.file);
    if let Err(error) = std::fs::metadata(path) {
        let message = format!("cannot read {}: {error}", file.file);
        return Err(Error::query(QueryErrorKind::Value, file.file_span, message));
    }
    let options = read_options(file.options, Vec::new(), None);
    let first_is_key = !options.header;
    let mut keys = read_keys(path, &options, key.data_type)?;
    let (mut members, mut read, mut unknown, mut repeated) = (RoaringBitmap::new(), 0, 0, 0);
    loop {
        cancel.check()?;
        let some: Vec<Value> = keys
            .by_ref()
            .take(KEYS_AT_ONCE)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| match &error {
                muster_engine::Error::Row { place: Some(place), .. } if first_is_key && place.line == 1 => {
                    Error::query(QueryErrorKind::Value, file.file_span, error.to_string())
                        .advise("add (HEADER) if the first line names the column")
                }
                _ => error.into(),
            })?;
        if some.is_empty() {
            break;
        }
        read += some.len() as u64;
        for found in snapshot.lookup(schema.id, &some)? {
            match found {
                Some(ordinal) => repeated += u64::from(!members.insert(ordinal)),
                None => unknown += 1,
            }
        }
    }
    let told = format!(
        "{TAG}: {} of {} in the file ({unknown} unknown, {repeated} there more than once)",
        counted(members.len(), "member"),
        counted(read, "key"),
    );
    Ok((schema.id, members, told))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
