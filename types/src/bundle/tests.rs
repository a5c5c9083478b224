//! The real thing is tested on a real network; here are the steps that need none.

use super::*;

#[test]
fn a_file_without_the_magic_is_no_bundle() {
    assert!(Bundle::from_bytes(b"").is_err());
    assert!(Bundle::from_bytes(b"dmdl/bundle/v2\n\0").is_err());
    assert!(Bundle::from_bytes(MAGIC).is_err());
}
