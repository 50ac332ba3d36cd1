//! Clauses on one column become one: `a <= x AND x <= b` is one range, `x = 1 OR x = 2` one list.
//!
//! A merged clause is asked once instead of several times, and its estimate is right: the two halves of a BETWEEN are
//! anything but independent. What is unknown stays so: the clauses are unknown for the same members, those whose value
//! is NULL.

use super::leaf::{Leaf, Test, TextMatch};
use super::{Node, Planner, combine};
use crate::Result;
use hashbrown::HashMap;
use std::mem::discriminant;

/// Terms of an AND that are compared with each other.
const RESOLVED_MAX: usize = 64;

impl Planner<'_, '_> {
    /// The children of an AND (`all`) or OR with those merged that can be.
    pub(super) fn merged(&mut self, children: Vec<Node>, all: bool) -> Result<Vec<Node>> {
        let mut kept: Vec<Node> = Vec::with_capacity(children.len());
        // Where the first of its kind is kept, and the tests to be merged with it.
        let mut places = HashMap::new();
        let mut tests: Vec<Vec<Test>> = Vec::with_capacity(children.len());
        for child in children {
            let place = match child {
                Node::Leaf { leaf, negated } if mergeable(&self.leaves[leaf].test, all == negated) => {
                    let Leaf { reader, test, .. } = &self.leaves[leaf];
                    let place = *places.entry((*reader, negated, discriminant(test))).or_insert(kept.len());
                    // NOT a AND NOT b is NOT (a OR b).
                    tests.resize(kept.len() + 1, Vec::new());
                    tests[place].push(test.clone());
                    place
                }
                _ => kept.len(),
            };
            if place == kept.len() {
                kept.push(child);
            }
        }
        for (node, tests) in kept.iter_mut().zip(tests).filter(|(_, tests)| tests.len() > 1) {
            if let Node::Leaf { leaf, negated } = *node {
                let column = self.leaves[leaf].column;
                *node = match merge(tests, all == negated) {
                    Test::Never if !negated => Node::Nobody,
                    test => self.leaf(column, test, negated)?,
                };
            }
        }
        Ok(kept)
    }

    /// The children of an AND without what the others decide: of `x AND (NOT x OR y)` is left `x AND y`, and nobody who is within
    /// some interval has to be asked whether there is a value.
    pub(super) fn resolved(&self, mut children: Vec<Node>) -> Vec<Node> {
        if children.len() > RESOLVED_MAX {
            return children;
        }
        let leaves: Vec<Node> =
            children.iter().filter(|child| matches!(child, Node::Leaf { .. })).cloned().collect();
        for child in &mut children {
            if let Node::Or(terms) = child {
                let decided = |term: &Node| match term {
                    Node::Leaf { leaf, negated } => {
                        leaves.contains(&Node::Leaf { leaf: *leaf, negated: !negated })
                    }
                    _ => false,
                };
                let left = terms.iter().filter(|term| !decided(term)).cloned().collect();
                *child = combine(left, false);
            }
        }
        let ranges: Vec<usize> = children
            .iter()
            .filter_map(|child| match child {
                Node::Leaf { leaf, .. } => Some(&self.leaves[*leaf]),
                _ => None,
            })
            .filter(|leaf| matches!(leaf.test, Test::Codes(_)))
            .map(|leaf| leaf.reader)
            .collect();
        children.retain(|child| match child {
            Node::Leaf { leaf, negated: true } => {
                let Leaf { reader, test, .. } = &self.leaves[*leaf];
                *test != Test::Null || !ranges.contains(reader)
            }
            _ => true,
        });
        children
    }

    /// Forgets the leaves that are no longer in the tree.
    pub(super) fn prune(&mut self, root: &mut Node) {
        let mut places = vec![None; self.leaves.len()];
        let mut kept = Vec::new();
        renumber(root, &mut |leaf| {
            *places[leaf].get_or_insert_with(|| {
                kept.push(self.leaves[leaf].clone());
                kept.len() - 1
            })
        });
        self.leaves = kept;
    }
}

fn renumber(node: &mut Node, place: &mut impl FnMut(usize) -> usize) {
    match node {
        Node::Nobody | Node::Everyone => {}
        Node::Leaf { leaf, .. } => *leaf = place(*leaf),
        Node::And(children) | Node::Or(children) => {
            children.iter_mut().for_each(|child| renumber(child, place));
        }
    }
}

/// True where tests of this kind on one column can become one.
fn mergeable(test: &Test, unite: bool) -> bool {
    match test {
        Test::Codes(_) => true,
        Test::Text { text: TextMatch::In(_), .. } | Test::Tags(_) | Test::Ordinals(_) => unite,
        _ => false,
    }
}

/// The union or intersection of tests of one kind, all mergeable.
fn merge(tests: Vec<Test>, unite: bool) -> Test {
    tests
        .into_iter()
        .reduce(|a, b| match (a, b) {
            (Test::Codes(mut a), Test::Codes(b)) if unite => {
                a.extend(b);
                Test::Codes(a)
            }
            (Test::Codes(a), Test::Codes(b)) => Test::Codes(intersection(&a, &b)),
            (
                Test::Text { mut codes, text: TextMatch::In(mut texts) },
                Test::Text { codes: more, text: TextMatch::In(others) },
            ) => {
                codes.extend(more);
                texts.extend(others);
                Test::Text { codes, text: TextMatch::In(texts) }
            }
            (Test::Tags(mut a), Test::Tags(b)) => {
                a.extend(b);
                Test::Tags(a)
            }
            (Test::Ordinals(mut a), Test::Ordinals(b)) => {
                a.extend(b);
                Test::Ordinals(a)
            }
            (a, _) => a,
        })
        .map_or(Test::Never, normalized)
}

/// What was put together, sorted and without repetition again.
fn normalized(test: Test) -> Test {
    fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
        all.sort_unstable();
        all.dedup();
        all
    }
    match test {
        Test::Codes(intervals) => {
            let mut disjoint: Vec<(i64, i64)> = Vec::with_capacity(intervals.len());
            for (low, high) in sorted(intervals) {
                match disjoint.last_mut() {
                    Some((_, end)) if low <= end.saturating_add(1) => *end = high.max(*end),
                    _ => disjoint.push((low, high)),
                }
            }
            if disjoint.is_empty() { Test::Never } else { Test::Codes(disjoint) }
        }
        Test::Text { codes, text: TextMatch::In(texts) } => {
            Test::Text { codes: sorted(codes), text: TextMatch::In(sorted(texts)) }
        }
        Test::Tags(codes) => Test::Tags(sorted(codes)),
        Test::Ordinals(ordinals) => Test::Ordinals(sorted(ordinals)),
        other => other,
    }
}

/// What lies in both of two ascending lists of disjoint closed intervals.
fn intersection(a: &[(i64, i64)], b: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let (mut i, mut j, mut both) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (low, high) = (x.0.max(y.0), x.1.min(y.1));
        if low <= high {
            both.push((low, high));
        }
        if x.1 < y.1 { i += 1 } else { j += 1 }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn intervals() -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::btree_set(0i64..60, 0..9).prop_map(|ends| {
            let ends: Vec<i64> = ends.into_iter().collect();
            ends.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
        })
    }

    fn codes(test: &Test) -> Vec<i64> {
        let Test::Codes(intervals) = test else { return Vec::new() };
        assert!(intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{intervals:?}");
        (0..60).filter(|code| intervals.iter().any(|(low, high)| (low..=high).contains(&code))).collect()
    }

    proptest! {
        #[test]
        fn intervals_merge_as_sets_do(lists in proptest::collection::vec(intervals(), 1..5), unite in any::<bool>()) {
            let holds = |code: i64| {
                let mut within = lists.iter().map(|list| list.iter().any(|(low, high)| (*low..=*high).contains(&code)));
                if unite { within.any(|w| w) } else { within.all(|w| w) }
            };
            let merged = merge(lists.iter().cloned().map(Test::Codes).collect(), unite);
            prop_assert_eq!(codes(&merged), (0..60).filter(|code| holds(*code)).collect::<Vec<_>>());
            prop_assert!(merged != Test::Codes(Vec::new()));
        }
    }

    #[test]
    fn the_ends_of_the_range_do_not_overflow() {
        let all = (i64::MIN, i64::MAX);
        let merged = merge(vec![Test::Codes(vec![all]), Test::Codes(vec![(i64::MAX, i64::MAX)])], true);
        assert_eq!(merged, Test::Codes(vec![all]));
    }
}
