//! A catalog of any bytes is refused, or means the same when it is written and read again; so does a stored condition.

use muster_engine::catalog::Catalog;
use muster_engine::predicate::codec;

/// As a catalog of any version, and as a condition alone.
pub fn run(data: &[u8]) {
    if let Ok(catalog) = Catalog::decode(data) {
        let written = catalog.encode();
        // Bytes are compared, since a NaN in a condition is not equal to itself.
        assert_eq!(Catalog::decode(&written).expect("what was written can be read").encode(), written);
    }
    if let Ok(condition) = codec::decode(data) {
        assert_eq!(codec::encode(&condition).expect("what was read can be written"), data);
    }
}
