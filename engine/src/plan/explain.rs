//! What the planner expects of a clause, in words and numbers that can be shown.

use super::{Leaf, Node, Plan, RunsBy, Test, takes};
use crate::Result;
use crate::Snapshot;
use crate::control::Cancel;
use crate::exec::{resolve, takes_derived};
use crate::predicate::{Predicate, Related};
use crate::schema::TableId;
use muster_storage::format::SectionKind;

/// What is expected of a clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// What can be said without asking; `None` where rows of other tables would have to be asked first.
    pub expected: Option<Expected>,
    /// How it is asked.
    pub access: String,
}

/// What is expected of a clause in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The share of members for which it holds.
    pub share: f64,
    /// Bytes that asking it of everyone reads.
    pub bytes: u64,
    /// Bytes a chunk, as the order of clauses weighs them.
    chunk_bytes: f64,
    /// True where a part is computed member by member.
    computed: bool,
}

impl Explained {
    /// Clauses are asked in ascending order of this; those of which nothing is known come last.
    pub fn rank(&self) -> f64 {
        let Some(expected) = &self.expected else { return f64::INFINITY };
        let computed = if expected.computed { super::COMPUTED_RANK } else { 0.0 };
        super::rank(expected.share, expected.chunk_bytes) + computed
    }
}

/// What is expected of a clause by itself. Cost: that of planning it; rows of other tables that a plan is made of are asked only
/// where `asks` allows it.
pub fn explain(snapshot: &Snapshot, table: TableId, predicate: &Predicate, asks: bool) -> Result<Explained> {
    if !asks && let Some(access) = asked_first(snapshot, table, predicate)? {
        return Ok(Explained { expected: None, access });
    }
    let (predicate, _) = resolve(snapshot, table, predicate, &Cancel::default())?;
    let (table_id, table) = (table, snapshot.table(table)?);
    let plan = Plan::in_snapshot(snapshot, table_id, &predicate, &Cancel::default(), 0)?;
    let expected = Expected {
        share: plan.share,
        bytes: (plan.chunk_bytes * f64::from(table.chunks())) as u64,
        chunk_bytes: plan.chunk_bytes,
        computed: plan.has_computed(&plan.root),
    };
    Ok(Explained { expected: Some(expected), access: access(&plan, &plan.root) })
}

/// The rows of other tables that planning a predicate would ask, in words; `None` where it would ask none.
fn asked_first(snapshot: &Snapshot, table: TableId, predicate: &Predicate) -> Result<Option<String>> {
    let predicate = snapshot.expand(table, predicate)?;
    let (mut ways, mut failed) = (Vec::new(), None);
    let mut add = |way: Result<String>| match way {
        Ok(way) if !ways.contains(&way) => ways.push(way),
        Ok(_) => {}
        Err(error) => failed = Some(error),
    };
    let name = |table| snapshot.schema(table).map(|schema| schema.name.clone());
    predicate.for_each_related(&mut |related| {
        if takes(snapshot, table, related) && !asks_others(related) {
            return;
        }
        for rows in &related.rows {
            add(name(rows.table).map(|name| format!("rows of {name}, asked first")));
        }
    });
    predicate.for_each_derived(&mut |derived| {
        let by_owner = takes_derived(snapshot, table, derived);
        derived.rows.for_each_scan(&mut |scan| {
            let how = if by_owner && scan.table != table { " by owner" } else { "" };
            let first = if by_owner { "" } else { ", made first" };
            add(name(scan.table).map(|name| format!("steps over rows of {name}{how}{first}")));
        });
    });
    match failed {
        Some(error) => Err(error),
        None => Ok((!ways.is_empty()).then(|| ways.join(" + "))),
    }
}

/// True where the rows of a condition are themselves told by rows of other tables.
fn asks_others(related: &Related) -> bool {
    let mut asks = false;
    for rows in &related.rows {
        rows.condition.for_each_related(&mut |_| asks = true);
        rows.condition.for_each_derived(&mut |_| asks = true);
    }
    asks
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
        Test::Codes(ranges) => {
            let stored = plan.has_thresholds(leaf, ranges);
            (if stored { "bitmaps of thresholds" } else { "values, one by one" }).to_owned()
        }
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
        let by = |runs: RunsBy| pass.tests.iter().any(|test| test.by == runs);
        let runs = runs_by(by(RunsBy::Time), by(RunsBy::Cluster));
        let way = format!("rows of {} by owner{runs}", pass.table.schema().name);
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways.join(" + ")
}

/// By what runs are passed over.
pub(crate) fn runs_by(time: bool, cluster: bool) -> &'static str {
    match (time, cluster) {
        (true, true) => ", runs by time and cluster",
        (true, false) => ", runs by time",
        (false, true) => ", runs by cluster",
        (false, false) => "",
    }
}
