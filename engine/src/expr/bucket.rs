//! Reproducible splits: a key falls into the same bucket wherever the same hash is computed.
//!
//! ```text
//! seed   = XXH64(the salt's UTF-8 bytes, seed 0)
//! hash   = XXH64(key, seed)       a BIGINT as its 8 bytes, little-endian, two's complement; a TEXT as its UTF-8 bytes
//! bucket = (hash * buckets) >> 64                                                            with 128-bit arithmetic
//! ```
//!
//! XXH64 is that of <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>. In Python, with the package
//! xxhash: `xxhash.xxh64_intdigest(key.to_bytes(8, "little", signed=True), xxhash.xxh64_intdigest(salt.encode())) * n >> 64`.

use super::Function;
use super::apply::wrong;
use crate::Result;
use crate::value::Value;
use xxhash_rust::xxh64::xxh64;

/// The seed that a salt gives.
pub(crate) fn seed(salt: &str) -> u64 {
    xxh64(salt.as_bytes(), 0)
}

/// The bucket of a BIGINT key.
#[inline]
pub(crate) fn of_integer(key: i64, seed: u64, buckets: u32) -> i64 {
    scaled(xxh64(&key.to_le_bytes(), seed), buckets)
}

/// The bucket of a TEXT key.
pub(crate) fn of_text(key: &[u8], seed: u64, buckets: u32) -> i64 {
    scaled(xxh64(key, seed), buckets)
}

#[inline]
fn scaled(hash: u64, buckets: u32) -> i64 {
    ((u128::from(hash) * u128::from(buckets)) >> 64) as i64
}

pub(super) fn of_value(key: &Value, salt: &str, buckets: u32) -> Result<Value> {
    match key {
        Value::Integer(key) => Ok(Value::Integer(of_integer(*key, seed(salt), buckets))),
        Value::Text(key) => Ok(Value::Integer(of_text(key.as_bytes(), seed(salt), buckets))),
        other => Err(wrong(&Function::Bucket { salt: salt.into(), buckets }, std::slice::from_ref(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's xxhash, as the module says.
    #[test]
    fn buckets_are_those_that_others_compute() {
        assert_eq!(seed("exp42"), 0x8f56_43c4_eed7_5da5);
        assert_eq!(of_integer(1, seed("exp42"), 10_000), 4175);
        assert_eq!(of_integer(-5, seed("exp42"), 10_000), 8728);
        assert_eq!(of_text(b"m-1", seed("exp42"), 10_000), 1646);
    }

    #[test]
    fn arms_are_even_and_salts_independent() {
        let (a, b) = (seed("a"), seed("b"));
        let mut cells = [[0u32; 4]; 4];
        for key in 0..160_000 {
            cells[of_integer(key, a, 4) as usize][of_integer(key, b, 4) as usize] += 1;
        }
        // 10,000 expected in each of 16 cells, with a standard deviation of 97.
        assert!(cells.iter().flatten().all(|count| (9_500..10_500).contains(count)), "{cells:?}");
    }
}
