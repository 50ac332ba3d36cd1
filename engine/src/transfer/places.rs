//! Where the delivered rows of text files stood, kept as stretches of rows on consecutive lines.
//!
//! One stretch for most files, one more after each quoted newline, blank line or refused row. Memory is bounded by
//! [`STRETCHES_MAX`]; beyond it the place of a row is no longer known.

/// Stretches remembered, 24 bytes each.
const STRETCHES_MAX: usize = 1 << 20;

/// Rows from `row` on stand on the lines from `line` on, one each.
struct Stretch {
    row: u64,
    file: usize,
    line: u64,
}

/// Grows with each delivered row.
#[derive(Default)]
pub(super) struct Places {
    stretches: Vec<Stretch>,
    rows: u64,
    /// From this row on nothing is known.
    forgotten_from: Option<u64>,
}

impl Places {
    /// The next row stands there.
    pub(super) fn push(&mut self, file: usize, line: u64) {
        let follows = self
            .stretches
            .last()
            .is_some_and(|stretch| stretch.file == file && stretch.line + (self.rows - stretch.row) == line);
        if !follows {
            if self.stretches.len() < STRETCHES_MAX {
                self.stretches.push(Stretch { row: self.rows, file, line });
            } else {
                self.forgotten_from.get_or_insert(self.rows);
            }
        }
        self.rows += 1;
    }

    /// File and line of a row; `None` where it was not delivered or is not remembered.
    pub(super) fn find(&self, row: u64) -> Option<(usize, u64)> {
        if row >= self.rows || self.forgotten_from.is_some_and(|from| row >= from) {
            return None;
        }
        let stretch = &self.stretches[self.stretches.partition_point(|stretch| stretch.row <= row) - 1];
        Some((stretch.file, stretch.line + (row - stretch.row)))
    }

    /// The number of rows delivered.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_until_too_many_stretches_are_needed() {
        let mut places = Places::default();
        for (file, line) in [(0, 2), (0, 3), (0, 7), (1, 2), (1, 3)] {
            places.push(file, line);
        }
        let found: Vec<_> = (0..6).map(|row| places.find(row)).collect();
        let expected = [Some((0, 2)), Some((0, 3)), Some((0, 7)), Some((1, 2)), Some((1, 3)), None];
        assert_eq!(found, expected);
        for i in 0..STRETCHES_MAX as u64 + 5 {
            places.push(2, 2 * i);
        }
        assert_eq!(places.find(5), Some((2, 0)));
        assert_eq!(places.find(places.rows() - 1), None);
        assert_eq!(places.find(STRETCHES_MAX as u64), Some((2, 2 * (STRETCHES_MAX as u64 - 5))));
    }
}
