//! The members of a SELECT, found twice: by the engine's indexes, and member by member. For tests of the language: the
//! answer of every statement in `tests/slt` must not depend on how it is found.

use crate::error::Result;
use crate::session::Session;
use crate::statement::Statement;
use crate::{parse, select};
use muster_engine::eval::eval;
use muster_engine::exec::{Members, project, resolve_naively};
use muster_engine::predicate::{Dependency, Predicate, Truth};
use muster_engine::schema::ColumnId;
use muster_engine::value::Value;
use roaring::RoaringBitmap;

/// Members whose values are held at once.
const MEMBERS_AT_ONCE: usize = 4_096;

impl Session {
    /// The members that the WHERE of a SELECT means, those of the views, audiences and samples that it reads from included:
    /// once as the engine finds them, once as the naive evaluator does. `None` for other statements.
    #[doc(hidden)]
    pub fn members_naively(&mut self, sql: &str) -> Result<Option<(RoaringBitmap, RoaringBitmap)>> {
        let Statement::Select(select) = parse::parse(sql, &[])? else { return Ok(None) };
        let snapshot = self.snapshot()?;
        let plan = select::plan(*select, &self.context(&snapshot))?;
        let table = plan.table();
        let ask =
            select::Ask { snapshot: &snapshot, table, predicate: plan.predicate(), cancel: &self.cancel };
        let (found, _) = ask.evaluate(&Members)?;

        let predicate = resolve_naively(&snapshot, table, plan.predicate(), &self.cancel)?;
        let predicate = snapshot.expand(table, &predicate)?;
        // Those that the schema has not are the lists of static audiences.
        let mut columns: Vec<ColumnId> = Vec::new();
        predicate.for_each_dependency(&mut |needed| match needed {
            Dependency::Column(column) if !columns.contains(&column) => columns.push(column),
            _ => {}
        });
        // Ordinals of members that are gone are nobody's.
        let everyone = select::Ask { predicate: &Predicate::everyone(), ..ask };
        let live: Vec<u32> = everyone.evaluate(&Members)?.0.iter().collect();
        let mut naively = RoaringBitmap::new();
        for ordinals in live.chunks(MEMBERS_AT_ONCE) {
            let rows = project(&snapshot, table, ordinals, &columns)?;
            for (ordinal, row) in ordinals.iter().zip(&rows) {
                let value_of = |id: ColumnId| match columns.iter().position(|known| *known == id) {
                    Some(at) => row[at].clone(),
                    None if id == ColumnId::LIVE => Value::Integer(i64::from(*ordinal)),
                    None => Value::Null,
                };
                if eval(&predicate, snapshot.now_micros(), &value_of)? == Truth::True {
                    naively.insert(*ordinal);
                }
            }
        }
        Ok(Some((found, naively)))
    }
}
