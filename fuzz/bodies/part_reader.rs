//! A part file of any bytes, or a sound one with changes, is refused or read exactly as it was written.

use muster_storage::disk::sim::SimDisk;
use muster_storage::disk::{Bytes, Disk};
use muster_storage::format::SectionKind;
use muster_storage::manifest::{PartId, PartRef, PartRole};
use muster_storage::part::{PartReader, PartWriter, SectionStats};

const NAME: &str = "part";

/// The first byte chooses: odd, the rest is the file; even, the rest is changes to a sound file, each an offset (u16,
/// little-endian) and a mask.
pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let (sound, expected) = sound();
    let file = if mode % 2 == 1 {
        rest.to_vec()
    } else {
        let mut file = sound.clone();
        for change in rest.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len();
            file[at] ^= change[2];
        }
        file
    };
    let expected = PartRef { bytes: file.len() as u64, ..expected };
    let Ok(reader) = PartReader::open(NAME, Bytes::copied(&file), 1, &expected) else { return };
    let sections = (0..reader.entries().len()).all(|index| reader.section_at(index).is_ok());
    if sections && reader.check_padding().is_ok() {
        assert!(file == sound, "a changed file was read without an error");
    }
}

fn sound() -> (Vec<u8>, PartRef) {
    let disk = SimDisk::new(1);
    let mut writer = PartWriter::create(&disk, NAME, 1, 1, 1).expect("an empty disk");
    for (column, kind, chunk, length) in [
        (1, SectionKind::Sets, 0, 100),
        (1, SectionKind::Sets, 1, 64),
        (1, SectionKind::Values, 0, 0),
        (2, SectionKind::Strings, 0, 1000),
        (2, SectionKind::Keys, 3, 1),
    ] {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + column) as u8).collect();
        let stats = SectionStats { cardinality: column, low: -1, high: 1 };
        writer.append(column, kind, chunk, &bytes, stats).expect("space");
    }
    let finished = writer.finish().expect("space");
    let bytes = disk.map(NAME).expect("just written").to_vec();
    let part = PartRef {
        id: PartId(1),
        role: PartRole::Base,
        table: 1,
        range: 0,
        columns: vec![1, 2],
        bytes: finished.bytes,
        toc_checksum: finished.toc_checksum,
    };
    (bytes, part)
}
