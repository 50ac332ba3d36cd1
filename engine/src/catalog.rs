//! What the manifest carries for the engine: every table's schema, and what is true of all its parts together.

use crate::member::KeyLayout;
use crate::schema::{TableId, TableSchema};
use crate::{Error, Result};
use bincode::{Decode, Encode};
use muster_storage::codec;

/// The version of the catalog's encoding.
const CATALOG_VERSION: u16 = 1;

/// All tables of a database.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Catalog {
    version: u16,
    /// The id of the next table: ids are never reused.
    pub next_table: TableId,
    /// The tables, by id.
    pub tables: Vec<TableRecord>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableRecord {
    /// Names and types.
    pub schema: TableSchema,
    /// Live rows.
    pub rows: u64,
    /// How keys are found.
    pub keys: KeyLayout,
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog { version: CATALOG_VERSION, next_table: TableId(1), tables: Vec::new() }
    }
}

impl Catalog {
    /// The catalog of a manifest; an empty one is that of a new database.
    pub fn decode(bytes: &[u8]) -> Result<Catalog> {
        if bytes.is_empty() {
            return Ok(Catalog::default());
        }
        let refuse =
            |found: String| Error::Invalid(format!("the catalog is not one this muster reads: {found}"));
        // The version comes first and is looked at before anything it might have changed.
        match bytes.first_chunk::<2>().map(|b| u16::from_le_bytes(*b)) {
            Some(CATALOG_VERSION) => codec::decode(bytes).map_err(|error| refuse(error.to_string())),
            version => Err(refuse(format!("version {version:?}, expected {CATALOG_VERSION}"))),
        }
    }

    /// The bytes for a manifest.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::DataType;

    /// Whatever the declarations look like, these bytes are what databases hold.
    #[test]
    fn the_numbers_of_types_and_key_layouts_are_those_on_disk() {
        let types = [
            (DataType::Boolean, 0),
            (DataType::SmallInt, 1),
            (DataType::Integer, 2),
            (DataType::BigInt, 3),
            (DataType::Double, 5),
            (DataType::Text, 6),
            (DataType::Date, 7),
            (DataType::Timestamp, 8),
            (DataType::TimestampTz, 9),
            (DataType::TextArray, 10),
        ];
        for (data_type, number) in types {
            assert_eq!(codec::encode(&data_type), [number, 0, 0, 0], "{data_type}");
            assert_eq!(codec::decode::<DataType>(&[number, 0, 0, 0]).unwrap(), data_type);
        }
        assert_eq!(codec::encode(&DataType::Decimal { precision: 12, scale: 2 }), [4, 0, 0, 0, 12, 2]);
        assert_eq!(codec::encode(&KeyLayout::None), [0, 0, 0, 0]);
        assert_eq!(codec::encode(&KeyLayout::Sequence { first: 7 }), [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(codec::encode(&KeyLayout::Hashed), [2, 0, 0, 0]);
    }
}
