//! What a cascade reads of each set, of which there may be many.

use super::skim::{self, SCHEMA_ROW, STORED_SECURE_QRI};
use super::{DataSet, Stored as _};
use crate::sortkey::Scalar;

/// What a cascade needs of a set that goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leaving<'a> {
    pub(crate) version: u64,
    pub(crate) schema_row: bool,
    pub(crate) secure_qri: &'a str,
}

/// Reads that out of encoded heads, without decoding the rest.
pub(crate) struct LeavingReader {
    version: usize,
    schema_row: usize,
    secure_qri: usize,
    qri: usize,
}

impl LeavingReader {
    /// `None` where the layout lacks a field.
    pub(crate) fn new() -> Option<Self> {
        let at = |path| skim::position(DataSet::LAYOUT, path);
        Some(Self {
            version: at("version")?,
            schema_row: at(SCHEMA_ROW)?,
            secure_qri: at(STORED_SECURE_QRI)?,
            qri: at("qri")?,
        })
    }

    /// `None` where the bytes are no head.
    pub(crate) fn read<'a>(&self, body: &'a [u8]) -> Option<Leaving<'a>> {
        let skim = |at| skim::scalar(DataSet::LAYOUT, body, at);
        let version = match skim(self.version)? {
            Scalar::Integer(version) => u64::try_from(version).ok()?,
            _ => return None,
        };
        let schema_row = skim(self.schema_row)? == Scalar::Boolean(true);
        let secure_qri = match skim(self.secure_qri)? {
            Scalar::Missing => skim(self.qri)?,
            own => own,
        };
        match secure_qri {
            Scalar::Text(secure_qri) => Some(Leaving {
                version,
                schema_row,
                secure_qri,
            }),
            _ => None,
        }
    }
}
