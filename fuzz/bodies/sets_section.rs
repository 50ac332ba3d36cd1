//! A sets section of any bytes is refused; the containers of one that is not are within it and, where they pass their
//! check, what they say they are. Members packed into a section come out again.

use muster_storage::chunk::{ChunkRef, SetsBuilder, SetsRef, members_of};
use muster_storage::disk::Bytes;

/// The bytes as a section; and as members, two bytes each.
pub fn run(data: &[u8]) {
    read(&Bytes::copied(data));
    let mut members: Vec<u16> = data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    members.sort_unstable();
    members.dedup();
    let mut builder = SetsBuilder::default();
    builder.push_members(7, &members);
    let section = Bytes::copied(&builder.finish());
    let sets = SetsRef::open(&section).expect("a section just built");
    let set = sets.get(7).expect("a container just built");
    set.check().expect("a container just built");
    assert_eq!(members_in(set), members);
}

fn read(section: &Bytes) {
    let Ok(sets) = SetsRef::open(section) else { return };
    for (index, code) in sets.codes().iter().enumerate() {
        // Codes of a damaged table need not ascend, so that one may be missed; it must not be a panic.
        let _ = sets.find(*code);
        let Ok(container) = sets.container(index) else { continue };
        assert_eq!(container.cardinality(), sets.cardinality(index));
        if container.check().is_ok() {
            let members = members_in(container);
            assert_eq!(members.len(), container.cardinality() as usize);
            assert!(members.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(members.iter().all(|member| container.contains(*member)));
        }
    }
}

fn members_in(set: ChunkRef<'_>) -> Vec<u16> {
    match set {
        ChunkRef::Array(members) => members.to_vec(),
        ChunkRef::Bitset { words, .. } => members_of(words).collect(),
        ChunkRef::Runs { runs, .. } => runs.iter().flat_map(|run| run[0]..=run[1]).collect(),
    }
}
