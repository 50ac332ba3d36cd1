//! The memory that one statement may take: a counter that travels with [`Cancel`], and guards that count into it.
//!
//! Counted is what grows with the data or with the answer: rows, groups, sets, keys of joins. A few buffers of fixed size a
//! thread are not, nor are mapped files, which the system takes back when it needs them. Sizes are those of the allocations,
//! with what an allocator adds to each; text that is shared is counted where it is held.
//!
//! Holders count in steps of [`STEP`], after they grew: the most that is held beyond the limit is one step of one chunk's rows a
//! thread. Nothing is counted where nothing grows: counts of members never come here.

use super::Cancel;
use crate::value::Value;
use crate::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// A holder tells the shared counter once it has grown by so much.
const STEP: u64 = 64 << 10;

/// No limit.
const UNLIMITED: u64 = u64::MAX;

/// What a statement holds, and the most it may.
#[derive(Debug)]
pub(super) struct Budget {
    limit: AtomicU64,
    held: AtomicU64,
    /// What of it is held by nobody in particular, until [`Kept`] ends.
    kept: AtomicU64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { limit: AtomicU64::new(UNLIMITED), held: AtomicU64::new(0), kept: AtomicU64::new(0) }
    }
}

impl Cancel {
    /// The most bytes that a statement may hold from now on; `None` is any number. Beyond it ends with
    /// [`Error::OutOfMemory`].
    pub fn limit_memory(&self, bytes: Option<u64>) {
        self.0.memory.limit.store(bytes.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }

    /// What the statement that runs holds now, in bytes, as far as it is counted.
    pub fn memory_held(&self) -> u64 {
        self.0.memory.held.load(Ordering::Relaxed)
    }

    /// A holder of nothing yet; `what` completes "memory for …".
    pub fn holder(&self, what: &'static str) -> Held {
        Held { of: self.clone(), what, bytes: 0, counted: 0 }
    }

    /// What is kept from now on ([`Held::keep`]) is given back when this is dropped.
    pub fn keeping(&self) -> Kept {
        Kept { before: self.0.memory.kept.load(Ordering::Relaxed), of: self.clone() }
    }

    /// A holder of some rows.
    ///
    /// # Errors
    /// Where they are more than the statement may hold.
    pub fn hold_rows(&self, what: &'static str, rows: &[Vec<Value>]) -> Result<Held> {
        let mut held = self.holder(what);
        held.add(std::mem::size_of_val(rows))?;
        for row in rows {
            held.add(row_bytes(row))?;
        }
        Ok(held)
    }
}

/// Memory that is held by a part of a statement; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    of: Cancel,
    what: &'static str,
    /// What is held.
    bytes: u64,
    /// What of it the shared counter has.
    counted: u64,
}

impl Held {
    /// Holds so many bytes more.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the statement then holds more than it may.
    pub fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        if self.bytes < self.counted + STEP { Ok(()) } else { self.count() }
    }

    /// Holds so many bytes, whatever it held before.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the statement then holds more than it may.
    pub fn set(&mut self, bytes: usize) -> Result<()> {
        self.bytes = bytes as u64;
        if self.counted <= self.bytes && self.bytes < self.counted + STEP { Ok(()) } else { self.count() }
    }

    /// Takes over what another of the same statement holds.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the statement then holds more than it may: of many small holders each stays below the step
    /// in which they count.
    pub fn absorb(&mut self, mut other: Held) -> Result<()> {
        debug_assert!(other.is_of(&self.of), "what another statement holds is its own");
        self.bytes += std::mem::take(&mut other.bytes);
        self.counted += std::mem::take(&mut other.counted);
        self.add(0)
    }

    /// True of a holder of this statement.
    pub fn is_of(&self, cancel: &Cancel) -> bool {
        std::sync::Arc::ptr_eq(&self.of.0, &cancel.0)
    }

    /// What it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Another holder of the same statement, of nothing yet.
    pub fn another(&self) -> Held {
        self.of.holder(self.what)
    }

    /// Holds it on when the holder is gone, for what becomes a part of something that has none: until the [`Cancel::keeping`]
    /// around it ends.
    pub fn keep(mut self) {
        self.of.0.memory.kept.fetch_add(std::mem::take(&mut self.counted), Ordering::Relaxed);
    }

    fn count(&mut self) -> Result<()> {
        let budget = &self.of.0.memory;
        if self.bytes < self.counted {
            budget.held.fetch_sub(self.counted - self.bytes, Ordering::Relaxed);
            self.counted = self.bytes;
            return Ok(());
        }
        let more = self.bytes - self.counted;
        let held = budget.held.fetch_add(more, Ordering::Relaxed) + more;
        self.counted = self.bytes;
        let limit = budget.limit.load(Ordering::Relaxed);
        if held > limit { Err(Error::OutOfMemory { what: self.what, limit }) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.0.memory.held.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// The time in which something is kept.
#[derive(Debug)]
pub struct Kept {
    of: Cancel,
    before: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let budget = &self.of.0.memory;
        let kept = budget.kept.swap(self.before, Ordering::Relaxed).saturating_sub(self.before);
        budget.held.fetch_sub(kept, Ordering::Relaxed);
    }
}

/// What an allocation of so many bytes takes: glibc's chunks are multiples of 16 bytes, 32 at least, and 8 of each are its own.
pub fn allocation(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// What a value holds beside itself.
pub fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => allocation(text.capacity()),
        Value::Tags(tags) => {
            let texts: usize = tags.iter().map(|tag| allocation(tag.capacity())).sum();
            allocation(tags.capacity() * size_of::<String>()) + texts
        }
        _ => 0,
    }
}

/// What a row of values holds beside the vector itself.
pub fn row_bytes(row: &Vec<Value>) -> usize {
    allocation(row.capacity() * size_of::<Value>()) + row.iter().map(value_bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let cancel = Cancel::default();
        cancel.limit_memory(Some(1 << 20));
        let mut held = cancel.holder("a test");
        held.add(STEP as usize - 1).unwrap();
        assert_eq!(cancel.memory_held(), 0, "less than a step is not told");
        held.add(1).unwrap();
        assert_eq!(cancel.memory_held(), STEP);
        let mut other = held.another();
        other.set(900 << 10).unwrap();
        let error = other.set(1 << 20).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { what: "a test", limit } if limit == 1 << 20));
        other.set(10).unwrap();
        assert_eq!(cancel.memory_held(), STEP + 10);
        let kept = cancel.keeping();
        let mut third = held.another();
        third.set(STEP as usize).unwrap();
        third.keep();
        assert_eq!(cancel.memory_held(), 2 * STEP + 10, "kept without its holder");
        drop(kept);
        assert_eq!(cancel.memory_held(), STEP + 10);
        held.absorb(other).unwrap();
        assert_eq!(held.bytes() as u64, STEP + 10);
        drop(held);
        assert_eq!(cancel.memory_held(), 0);
    }

    #[test]
    fn values_hold_their_texts() {
        assert_eq!(value_bytes(&Value::Integer(7)), 0);
        assert_eq!(value_bytes(&Value::Text(String::new())), 0);
        assert_eq!(value_bytes(&Value::Text("a".to_owned())), 32);
        assert_eq!(value_bytes(&Value::Text("a".repeat(40))), 48);
        assert_eq!(value_bytes(&Value::Text("a".repeat(41))), 64);
        let tags = Value::Tags(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(value_bytes(&tags), allocation(2 * size_of::<String>()) + 64);
    }
}
