//! Numbers of many rows of which few are different: two bytes each.

use super::NONE;

/// For each row the place of its number among some that ascend; the place behind all of them is NULL's.
#[derive(Clone)]
pub(crate) struct Coded {
    pub(in crate::exec) codes: Vec<u16>,
    /// Fewer than 65,536.
    pub(in crate::exec) of: &'static [i64],
}

impl Coded {
    /// The code of NULL.
    pub(in crate::exec) fn null(&self) -> u16 {
        self.of.len() as u16
    }

    pub(in crate::exec) fn get(&self, row: usize) -> Option<i64> {
        self.of.get(usize::from(self.codes[row])).copied()
    }

    pub(in crate::exec) fn iter(&self) -> impl Iterator<Item = Option<i64>> + '_ {
        self.codes.iter().map(|code| self.of.get(usize::from(*code)).copied())
    }

    /// Those of some rows, in their order; NULL in the place of [`NONE`].
    pub(in crate::exec) fn select(&self, rows: &[u32]) -> Coded {
        let null = self.null();
        let code = |row: &u32| self.codes.get(*row as usize).copied().unwrap_or(null);
        debug_assert!(self.codes.len() < NONE as usize, "so that no row is where there is none");
        Coded { codes: rows.iter().map(code).collect(), of: self.of }
    }

    /// The least or the greatest number of each group, NULL where all are; `groups` says which each row is in, of so many.
    pub(in crate::exec) fn best(&self, groups: &[u32], count: usize, least: bool) -> Coded {
        let null = self.null();
        let codes = if least {
            // NULL is behind all others.
            let mut best = vec![null; count];
            for (group, code) in groups.iter().zip(&self.codes) {
                let best = &mut best[*group as usize];
                *best = (*best).min(*code);
            }
            best
        } else {
            // Counted from 1, so that NULL is before all others.
            let mut best = vec![0u16; count];
            for (group, code) in groups.iter().zip(&self.codes) {
                let best = &mut best[*group as usize];
                *best = (*best).max(if *code == null { 0 } else { code + 1 });
            }
            best.iter_mut().for_each(|best| *best = best.checked_sub(1).unwrap_or(null));
            best
        };
        Coded { codes, of: self.of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbers_and_what_has_none_is_null() {
        let coded = Coded { codes: vec![1, 2, 0, 0, 2], of: &[-5, 7] };
        assert_eq!(coded.iter().collect::<Vec<_>>(), [Some(7), None, Some(-5), Some(-5), None]);
        assert_eq!(coded.select(&[0, NONE, 2]).iter().collect::<Vec<_>>(), [Some(7), None, Some(-5)]);
        let best = |least| coded.best(&[0, 0, 0, 1, 2], 4, least).iter().collect::<Vec<_>>();
        assert_eq!(best(true), [Some(-5), Some(-5), None, None]);
        assert_eq!(best(false), [Some(7), Some(-5), None, None]);
    }
}
