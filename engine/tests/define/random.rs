//! Numbers that a seed replays (splitmix64), or that some bytes choose until they are spent.

pub struct Random {
    bytes: std::vec::IntoIter<u8>,
    seed: u64,
}

#[allow(dead_code, reason = "tests take seeds, fuzz targets bytes")]
impl Random {
    pub fn seeded(seed: u64) -> Random {
        Random { bytes: Vec::new().into_iter(), seed }
    }

    pub fn of_bytes(bytes: &[u8]) -> Random {
        Random { bytes: Vec::from(bytes).into_iter(), seed: 0 }
    }

    /// True when all bytes are spent.
    pub fn is_spent(&self) -> bool {
        self.bytes.len() == 0
    }

    pub fn below(&mut self, end: usize) -> usize {
        if let Some(low) = self.bytes.next() {
            let high = if end > 256 { self.bytes.next().unwrap_or(0) } else { 0 };
            return (usize::from(high) << 8 | usize::from(low)) % end;
        }
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    pub fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}
