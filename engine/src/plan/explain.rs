//! What the planner expects of a clause, in words and numbers that can be shown.

use super::{Leaf, Node, Plan, Test};
use crate::Result;
use crate::Snapshot;
use crate::control::Cancel;
use crate::exec::resolve;
use crate::predicate::Predicate;
use crate::schema::TableId;
use muster_storage::format::SectionKind;

/// What is expected of a clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The share of members for which it holds.
    pub share: f64,
    /// Bytes that asking it of everyone reads.
    pub bytes: u64,
    /// How it is asked.
    pub access: String,
    /// Bytes a chunk, as the order of clauses weighs them.
    chunk_bytes: f64,
    /// True where a part is computed member by member.
    computed: bool,
}

impl Explained {
    /// Clauses are asked in ascending order of this.
    pub fn rank(&self) -> f64 {
        super::rank(self.share, self.chunk_bytes) + if self.computed { super::COMPUTED_RANK } else { 0.0 }
    }
}

/// What is expected of a clause by itself. Cost: that of planning it.
pub fn explain(snapshot: &Snapshot, table: TableId, predicate: &Predicate) -> Result<Explained> {
    let (predicate, _) = resolve(snapshot, table, predicate, &Cancel::default())?;
    let (table_id, table) = (table, snapshot.table(table)?);
    let plan = Plan::in_snapshot(snapshot, table_id, &predicate, &Cancel::default(), 0)?;
    Ok(Explained {
        share: plan.share,
        bytes: (plan.chunk_bytes * f64::from(table.chunks())) as u64,
        access: access(&plan, &plan.root),
        chunk_bytes: plan.chunk_bytes,
        computed: plan.has_computed(&plan.root),
    })
}

fn access(plan: &Plan<'_>, node: &Node) -> String {
    match node {
        Node::Nobody => "nobody: no chunk is read".to_owned(),
        Node::Everyone => "everybody: no chunk is read".to_owned(),
        Node::Leaf { leaf, .. } => of_leaf(plan, &plan.leaves[*leaf]),
        Node::And(children) | Node::Or(children) => {
            let mut ways: Vec<String> = Vec::new();
            for way in children.iter().map(|child| access(plan, child)) {
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            if ways.len() > 3 { format!("{} ways", ways.len()) } else { ways.join(" + ") }
        }
    }
}

fn of_leaf(plan: &Plan<'_>, leaf: &Leaf) -> String {
    let middle = plan.table.chunks() / 2;
    let has = |kind| plan.reader(leaf).entry(middle, kind).is_some();
    let values = |count: usize| if count == 1 { "1 value".to_owned() } else { format!("{count} values") };
    match &leaf.test {
        Test::True | Test::Null => "bitmap".to_owned(),
        Test::Never => "no such value".to_owned(),
        Test::Tags(codes) => format!("bitmaps of {}", values(codes.len())),
        Test::Text { codes, .. } if has(SectionKind::Sets) => format!("bitmaps of {}", values(codes.len())),
        Test::Text { .. } if has(SectionKind::Strings) => "texts, one by one".to_owned(),
        Test::Text { codes, .. } => format!("dictionary, {}", values(codes.len())),
        Test::Codes(ranges) if has(SectionKind::Order) && ranges.len() == 1 => "range index".to_owned(),
        Test::Codes(ranges) if has(SectionKind::Order) => format!("range index, {} ranges", ranges.len()),
        Test::Codes(_) => "values, one by one".to_owned(),
        Test::Ordinals(ordinals) => format!("{} members, looked up", ordinals.len()),
        Test::Computed(test) if test.count() > 1 => {
            format!("{} expressions computed, member by member", test.count())
        }
        Test::Computed(_) => "computed, member by member".to_owned(),
        Test::Rows(owned) => of_rows(&plan.owned[*owned]),
        Test::ByOwner(place) => plan.by_owner[*place].way(),
        Test::InOwners(place) => format!("rows of {} owners", plan.in_owners[*place].members.len()),
    }
}

/// How rows of other tables are asked: `rows of orders by owner, runs by time`.
fn of_rows(owned: &super::Owned<'_>) -> String {
    let mut ways: Vec<String> = Vec::new();
    for pass in &owned.passes {
        let by_time = if pass.tests.iter().any(|test| test.is_time) { ", runs by time" } else { "" };
        let way = format!("rows of {} by owner{by_time}", pass.table.schema().name);
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways.join(" + ")
}
