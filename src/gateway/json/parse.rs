//! Reading a body.

use super::{fault::Fault, scan, tree};
use serde::de::DeserializeOwned;

/// Reads one JSON object.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    scan::check(bytes)?;
    let tree = serde_json::from_slice::<tree::Tree>(bytes).map_err(|_| Fault::syntax())?;
    tree.check()?;
    if !tree.is_object() {
        return Err(Fault::shape("the body must be a JSON object"));
    }
    T::deserialize(tree)
}
