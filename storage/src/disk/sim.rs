//! A disk in memory that can lose power, run full and fail, the same way again for the same seed. For tests.
//!
//! It keeps apart what a running process sees and what is durable: of each file the bytes that were synced and the
//! writes that were not; of the directory the names that were synced and the changes that were not. A power cut
//! ([`SimDisk::crash`]) decides by the seed which of the rest arrive: writes whole, cut short, some of their sectors or
//! nothing, in any combination (what is lost under a later write leaves zeros, and so do lost sectors at the end of a file
//! whose length arrived), and changes of names in any combination too. That is
//! harsher than any one file system.
//!
//! A sync that fails makes some of the unsynced writes durable, and the others are forgotten by later syncs, as Linux
//! forgets them: they are seen until the power cut and may be gone after it, even though a second sync succeeded. A
//! failed sync of the directory leaves it to the next one, because file systems do not go on after losing a journal.
//!
//! Like [`super::real`], it makes a new file for each create and does not map one that has a writer; and stricter, it
//! does not move or create anew one that has a writer, because no correct store does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Bytes, DirectoryLock, Disk, WriteFile};
use crate::manifest::LOCK;
use crate::{Error, Result};

/// Bytes that arrive whole or not at all when a power cut meets a write.
const SECTOR_BYTES: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies: this operation, which may still take effect, and every later one fails.
    Crash,
    /// The next operation that takes space fails, a write perhaps after a part of its bytes. Then there is space again.
    NoSpace,
    /// One operation fails, whether it took effect or not.
    IoError,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk, whose accidents are those of the seed.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::of(State { random: Random(seed), ..State::default() })
    }

    /// The disk after a power cut now. This one is not changed, and cut again it will come out differently.
    pub fn crash(&self) -> SimDisk {
        let mut state = self.state();
        let mut random = Random(state.random.next());
        let mut names = state.durable_names.clone();
        let fate = random.fate();
        for change in &state.pending_names {
            if random.keeps(fate) {
                change.apply(&mut names);
            }
        }
        let files = state.files.iter().map(|file| file.after_power_cut(&mut random)).collect();
        SimDisk::of(State { random, files, durable_names: names.clone(), names, ..State::default() })
    }

    /// The disk after the process died and the machine did not: everything done is seen, nothing more is durable. This
    /// one is not changed.
    pub fn restart(&self) -> SimDisk {
        let mut state = self.state();
        SimDisk::of(State {
            random: Random(state.random.next()),
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            ..State::default()
        })
    }

    /// Lets this many operations from now succeed, and the fault meet the one after them; `u64::MAX` for no fault.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations.saturating_add(operations), fault));
    }

    /// The operations so far, of the disk and of files being written.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The bytes of a file as a process sees them, without counting as an operation.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|&file| state.files[file].bytes.clone())
    }

    /// Puts a file there durably, without counting as an operation: a damaged one, or one from elsewhere.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.files.push(SimFile { bytes: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() });
        let change = NameChange::Create { name: name.to_owned(), file: state.files.len() - 1 };
        change.apply(&mut state.names);
        change.apply(&mut state.durable_names);
    }

    fn of(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked elsewhere says so itself; the drops on its way out need the state all the same.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct State {
    random: Random,
    operations: u64,
    /// How many operations succeed before the fault.
    fault: Option<(u64, Fault)>,
    dead: bool,
    locked: bool,
    /// Every file that ever was; names are indexes into it.
    files: Vec<SimFile>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    /// The names with a writer.
    writing: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct SimFile {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
    /// A failed sync gave it up: only a power cut decides whether it arrives.
    forgotten: bool,
}

#[derive(Clone)]
enum NameChange {
    Create { name: String, file: usize },
    Rename { from: String, to: String, file: usize },
    Remove { name: String, file: usize },
}

impl NameChange {
    /// Makes the change, also to names in which earlier changes did not happen.
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            NameChange::Remove { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
        }
    }
}

impl SimFile {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.bytes, offset, bytes);
        self.pending.push(Write { offset, bytes: bytes.to_vec(), forgotten: false });
    }

    fn sync(&mut self) {
        for write in self.pending.extract_if(.., |write| !write.forgotten) {
            put(&mut self.durable, write.offset, &write.bytes);
        }
    }

    fn fail_sync(&mut self, random: &mut Random) {
        for write in self.pending.iter_mut() {
            write.forgotten |= random.below(2) == 0;
        }
        self.sync();
    }

    fn after_power_cut(&self, random: &mut Random) -> SimFile {
        let mut bytes = self.durable.clone();
        let fate = random.fate();
        for write in &self.pending {
            match fate {
                Fate::EachItsOwn if random.below(3) == 0 => {
                    let kept = random.below(write.bytes.len() as u64 + 1) as usize;
                    put(&mut bytes, write.offset, &write.bytes[..kept]);
                }
                Fate::EachItsOwn if random.below(3) == 0 => {
                    let end = write.offset + write.bytes.len();
                    bytes.resize(bytes.len().max(end), 0);
                    let mut from = write.offset;
                    while from < end {
                        let to = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
                        if random.below(2) == 0 {
                            put(&mut bytes, from, &write.bytes[from - write.offset..to - write.offset]);
                        }
                        from = to;
                    }
                }
                _ if random.keeps(fate) => put(&mut bytes, write.offset, &write.bytes),
                _ => {}
            }
        }
        SimFile { durable: bytes.clone(), bytes, pending: Vec::new() }
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

/// An operation under way: whether its effect comes about, and what the caller hears.
struct Step {
    takes_effect: bool,
    result: Result<()>,
}

impl State {
    fn step(&mut self, action: &'static str, name: &str, takes_space: bool) -> Step {
        let failed = |takes_effect, source| Step {
            takes_effect,
            result: Err(Error::Io { action, file: name.to_owned(), source }),
        };
        if self.dead {
            return failed(false, io::Error::other("simulated: the process is dead"));
        }
        self.operations += 1;
        let fault = self.fault.filter(|(succeed, _)| self.operations > *succeed).map(|(_, fault)| fault);
        let takes_effect = fault.is_none() || self.random.below(2) == 0;
        match fault {
            Some(Fault::Crash) => {
                self.dead = true;
                failed(takes_effect, io::Error::other("simulated: the process dies"))
            }
            Some(Fault::IoError) => {
                self.fault = None;
                failed(takes_effect, io::Error::other("simulated: input/output error"))
            }
            Some(Fault::NoSpace) if takes_space => {
                self.fault = None;
                failed(takes_effect, ErrorKind::StorageFull.into())
            }
            Some(Fault::NoSpace) | None => Step { takes_effect: true, result: Ok(()) },
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn create(&mut self, name: &str) -> usize {
        self.files.push(SimFile::default());
        let file = self.files.len() - 1;
        self.change(NameChange::Create { name: name.to_owned(), file });
        file
    }

    fn find(&self, action: &'static str, name: &str) -> Result<usize> {
        let missing = || Error::Io { action, file: name.to_owned(), source: ErrorKind::NotFound.into() };
        self.names.get(name).copied().ok_or_else(missing)
    }

    fn refuse_while_writing(&self, action: &'static str, name: &str) -> Result<()> {
        if self.writing.contains(name) {
            let source = io::Error::new(ErrorKind::ResourceBusy, "it is still being written");
            return Err(Error::Io { action, file: name.to_owned(), source });
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.refuse_while_writing("create", name)?;
        let step = state.step("create", name, true);
        let file = step.takes_effect.then(|| state.create(name));
        step.result?;
        let file = file.expect("an operation that succeeds takes effect");
        state.writing.insert(name.to_owned());
        Ok(Box::new(SimWrite { disk: self.clone(), file, name: name.to_owned() }))
    }

    fn read(&self, name: &str) -> Result<Bytes> {
        let mut state = self.state();
        state.step("read", name, false).result?;
        let file = state.find("read", name)?;
        Ok(Bytes::copied(&state.files[file].bytes))
    }

    fn map(&self, name: &str) -> Result<Bytes> {
        let mut state = self.state();
        state.refuse_while_writing("map", name)?;
        state.step("map", name, false).result?;
        let file = state.find("map", name)?;
        Ok(Bytes::copied(&state.files[file].bytes))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        state.refuse_while_writing("rename", from)?;
        state.refuse_while_writing("replace", to)?;
        let step = state.step("rename", from, true);
        if step.takes_effect {
            let file = state.find("rename", from)?;
            state.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
        }
        step.result
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        let step = state.step("remove", name, false);
        if step.takes_effect {
            let file = state.find("remove", name)?;
            state.change(NameChange::Remove { name: name.to_owned(), file });
        }
        step.result
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut state = self.state();
        state.step("list", "the directory", false).result?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync_directory(&self) -> Result<()> {
        let mut state = self.state();
        let step = state.step("sync", "the directory", true);
        if step.takes_effect {
            state.pending_names.clear();
            state.durable_names = state.names.clone();
        }
        step.result
    }

    fn lock(&self) -> Result<Box<dyn DirectoryLock>> {
        let mut state = self.state();
        state.step("lock", LOCK, true).result?;
        if state.locked {
            return Err(Error::Locked { directory: self.describe() });
        }
        if !state.names.contains_key(LOCK) {
            state.create(LOCK);
        }
        state.locked = true;
        Ok(Box::new(SimLock { disk: self.clone() }))
    }

    fn describe(&self) -> String {
        "a simulated disk".to_owned()
    }
}

struct SimLock {
    disk: SimDisk,
}

impl DirectoryLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked = false;
    }
}

/// A file being written.
struct SimWrite {
    disk: SimDisk,
    file: usize,
    name: String,
}

impl SimWrite {
    /// Writes all bytes, or some where the operation fails.
    fn write(&mut self, offset: impl FnOnce(usize) -> usize, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.state();
        let offset = offset(state.files[self.file].bytes.len());
        let step = state.step("write", &self.name, true);
        let written = match (&step.result, step.takes_effect) {
            (Ok(()), _) => bytes.len(),
            (Err(_), true) => state.random.below(bytes.len() as u64 + 1) as usize,
            (Err(_), false) => 0,
        };
        state.files[self.file].write(offset, &bytes[..written]);
        step.result
    }
}

impl WriteFile for SimWrite {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(|end| end, bytes)
    }

    fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let offset = offset as usize;
        self.write(
            |end| {
                assert!(
                    offset + bytes.len() <= end,
                    "{} bytes at {offset} are not below the end at {end}",
                    bytes.len()
                );
                offset
            },
            bytes,
        )
    }

    fn sync(&mut self) -> Result<()> {
        let mut state = self.disk.state();
        let step = state.step("sync", &self.name, true);
        let State { files, random, dead, .. } = &mut *state;
        match step.result {
            Ok(()) => files[self.file].sync(),
            Err(_) if *dead && !step.takes_effect => {}
            Err(_) => files[self.file].fail_sync(random),
        }
        step.result
    }
}

impl Drop for SimWrite {
    fn drop(&mut self) {
        self.disk.state().writing.remove(&self.name);
    }
}

/// What a power cut does to a set of things: the extremes are as likely as all mixtures together.
#[derive(Clone, Copy)]
enum Fate {
    AllKept,
    AllLost,
    EachItsOwn,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn fate(&mut self) -> Fate {
        match self.below(4) {
            0 => Fate::AllKept,
            1 => Fate::AllLost,
            _ => Fate::EachItsOwn,
        }
    }

    fn keeps(&mut self, fate: Fate) -> bool {
        match fate {
            Fate::AllKept => true,
            Fate::AllLost => false,
            Fate::EachItsOwn => self.below(2) == 0,
        }
    }
}

#[cfg(test)]
mod tests;
