//! A manifest of any bytes is refused, or means the same when it is written and read again.

use muster_storage::format::MANIFEST_MAGIC;
use muster_storage::frame;
use muster_storage::manifest::Manifest;

/// As a file, which the checksum mostly refuses, and as a body in a sound envelope.
pub fn run(data: &[u8]) {
    for file in [data.to_vec(), frame::seal(MANIFEST_MAGIC, data)] {
        let Ok(manifest) = Manifest::decode("manifest", &file) else { continue };
        let written = manifest.encode().expect("what was read can be written");
        assert_eq!(Manifest::decode("manifest", &written).expect("what was written can be read"), manifest);
    }
}
